// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPU's mappings, as the core sees them: armed, mapped, revoked.
 *
 * Every fault of ours asks the core first (vma.c), so there is nothing to arm but one
 * thing: a fault that saw no block may be filling a page at this moment. It holds `fill`
 * for reading until the page is in the file; taking it for writing waits for that. The
 * block was published before, so who comes later sees it.
 *
 * Nor is there anything to map: the fault, or the next one, does.
 *
 * Revoking unmaps the range from every process that has the object mapped, in a region or
 * not, at once: a process that maps one block sixty thousand times cannot make it take longer
 * than the walk over these mappings. A fault that has left the core may have found its page
 * and not mapped it yet. It holds the page's lock until it has; so whoever finds the page
 * neither locked nor mapped, in this order, knows that it will not be: the block is locked
 * against new ones.
 * (Was it not waited for, the reference it holds would make its page count as pinned.)
 *
 * Pinned pages. What get_user_pages() has handed out is reached without any mapping. It
 * shows in the page's reference count: the file holds one, and we do. The kernel's own
 * batches hold pages too, for a short time that nothing bounds; they are drained before
 * a page is called pinned.
 */
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/pagevec.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "kernel.h"

int gm_os_cpu_arm(struct gm_region *region, uint64_t va, uint64_t len)
{
	struct gm_kobject *o = gm_kobject(region->obj);

	down_write(&o->fill);
	up_write(&o->fill);
	return 0;
}

int gm_os_cpu_map(struct gm_region *region, uint64_t va, uint64_t len)
{
	return 0;
}

/* A fault that only reads maps so where the mapping tells of writes, and else drops replicas (vma.c). */
int gm_os_cpu_map_read(struct gm_region *region, uint64_t va, uint64_t len)
{
	return 0;
}

/* --------------------------------------------------------------------- pinned pages */

/* This CPU's batches of pages for the LRU lists let go of them. */
static void drain_here(struct page *page)
{
	struct pagevec pvec;

	pagevec_init(&pvec);
	get_page(page);
	pagevec_add(&pvec, page);
	__pagevec_release(&pvec);
}

struct drain {
	struct work_struct work;
	struct page *page;
};

static void drain_work(struct work_struct *work)
{
	drain_here(container_of(work, struct drain, work)->page);
}

static void drain_everywhere(struct page *page)
{
	struct drain *drains = kcalloc(nr_cpu_ids, sizeof(*drains), GFP_KERNEL);
	unsigned int cpu;

	if (!drains)
		return; /* the page counts as pinned for once */
	cpus_read_lock();
	for_each_online_cpu(cpu)
	{
		INIT_WORK(&drains[cpu].work, drain_work);
		drains[cpu].page = page;
		gm_work_on((int)cpu, &drains[cpu].work);
	}
	for_each_online_cpu(cpu) flush_work(&drains[cpu].work);
	cpus_read_unlock();
	kfree(drains);
}

/*
 * More references than the file's, one a page of 4 KiB, and ours. Whoever has taken the page
 * off the LRU lists, or not put it there yet, has one too. PageLRU() cannot tell it from a
 * pin, for it may change between the two looks, whichever comes first: with it a page that
 * is pinned would now and then pass for one that is not, and what is written there be lost.
 */
static bool held_by_others(struct page *page)
{
	return page_count(page) > (int)compound_nr(compound_head(page)) + 1;
}

#define LRU_TRIES 20U

static bool is_pinned(struct page *page)
{
	unsigned int tries = 0;

	if (!held_by_others(page))
		return false;
	drain_here(page);
	if (!held_by_others(page))
		return false;
	drain_everywhere(page);
	/* Off the lists: reclaim or compaction looks at it, and mostly puts it back soon. */
	while (held_by_others(page)) {
		if (PageLRU(page) || tries++ == LRU_TRIES)
			return true;
		usleep_range(50, 100);
	}
	return false;
}

/* ------------------------------------------------------------------------ revoking */

/* The page at *@index, which moves on behind it; pages of 2 MiB are looked at once. */
static int settle(struct address_space *mapping, pgoff_t *index)
{
	pgoff_t at = (*index)++, nr;
	struct page *page = find_get_page(mapping, at);
	bool pinned;

	if (!page)
		return 0;
	if (PageLocked(page)) { /* by a fault of ours, or the kernel's affairs */
		lock_page(page);
		unlock_page(page);
	}
	nr = compound_nr(compound_head(page));
	at &= ~(nr - 1);
	*index = at + nr;
	smp_rmb(); /* locked first, mapped second */
	if (page_mapped(page))
		unmap_mapping_pages(mapping, at, nr, true);
	/* What has failed the kernel holds for ever. */
	pinned = page_mapping(page) == mapping && !PageHWPoison(page) && is_pinned(page);
	put_page(page);
	return pinned ? -EBUSY : 0;
}

int gm_os_object_revoke(struct gm_object *obj, uint64_t off, uint64_t len)
{
	struct address_space *mapping = gm_mapping(obj);
	pgoff_t index = off >> PAGE_SHIFT, end = (off + len) >> PAGE_SHIFT;
	int err = 0;

	unmap_mapping_pages(mapping, index, end - index, true); /* marks of failed pages too */
	while (index < end && !err)
		err = settle(mapping, &index);
	gm_aperture_flush(obj);
	return err;
}

/* Never asked: gm_os_object_revoke() has done it. */
int gm_os_cpu_revoke(struct gm_region *region, uint64_t va, uint64_t len)
{
	return 0;
}
