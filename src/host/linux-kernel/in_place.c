// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that devices map in place: they are held.
 *
 * What somebody else holds the kernel neither swaps, moves nor merges: reclaim, compaction and
 * migration look at a page's reference count and leave it. So the object holds one reference of
 * each page that some device maps where it is, however often it is mapped, and a tree of its
 * own has them. The core says when (core/in_place.c): it is taken before a device can reach the
 * page, and given back after the last invalidation, before the page is revoked from the CPU,
 * where it would count as pinned (revoke.c).
 *
 * Dirty. Nobody sees what a device writes, so a page is dirty as long as it is held and when it
 * is let go: it goes to swap, and is not dropped.
 *
 * Where pages come from. What stays for long must not be in memory that is to be emptied on
 * demand (ZONE_MOVABLE, CMA). Once any device maps host memory in place new objects take no
 * pages from there, and an object of which a page is held takes none any more. A page that was
 * there before stays there, and keeps its place from being emptied until it is let go.
 *
 * The limit. What is held cannot be swapped, so it counts against the maker's RLIMIT_MEMLOCK, as
 * that was when the object was made: in user_struct.locked_vm, with what io_uring and AF_XDP have
 * of the same user. Who has CAP_IPC_LOCK then is not counted. A fault is no good time to ask:
 * it may be serviced by a thread of the kernel's.
 *
 * A page whose memory fails while it is held stays in the file, unmapped from all processes; a
 * device that has it mapped learns it from its link. It is not entered anew.
 *
 * Locking: the core holds the block, so a page is not held and let go at once. The tree has its
 * own lock; sums are atomic.
 */
#include <linux/cred.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>

#include "kernel.h"

static atomic64_t held; /* pages, of all objects */

void gm_in_place_init(struct gm_kobject *o)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK);

	xa_init(&o->held);
	if (limit != RLIM_INFINITY && !ns_capable_noaudit(&init_user_ns, CAP_IPC_LOCK)) {
		o->locker = get_uid(current_user());
		o->max_locked = limit >> PAGE_SHIFT;
	}
	if (gm_in_place())
		gm_in_place_stay(o);
}

void gm_in_place_exit(struct gm_kobject *o)
{
	WARN_ON_ONCE(!xa_empty(&o->held));
	if (o->locker)
		free_uid(o->locker);
}

/* No pages of memory that is to be emptied on demand from now on. */
void gm_in_place_stay(struct gm_kobject *o)
{
	struct address_space *mapping = o->file->f_mapping;

	mapping_set_gfp_mask(mapping, mapping_gfp_mask(mapping) & ~__GFP_MOVABLE);
}

u64 gm_in_place_pages(void)
{
	return atomic64_read(&held);
}

/* As gm_os_metadata_bytes() counts it: a slot of the tree each. */
u64 gm_in_place_metadata(void)
{
	return gm_in_place_pages() * (sizeof(struct xa_node) / XA_CHUNK_SIZE);
}

static int charge(struct gm_kobject *o)
{
	if (o->locker && atomic_long_inc_return(&o->locker->locked_vm) > o->max_locked) {
		atomic_long_dec(&o->locker->locked_vm);
		return -ENOMEM;
	}
	atomic_long_inc(&o->nr_held);
	atomic64_inc(&held);
	return 0;
}

static void uncharge(struct gm_kobject *o)
{
	atomic64_dec(&held);
	atomic_long_dec(&o->nr_held);
	if (o->locker)
		atomic_long_dec(&o->locker->locked_vm);
}

static int hold_page(struct gm_kobject *o, pgoff_t index)
{
	struct page *page;
	int err;

	if (xa_load(&o->held, index))
		return 0;
	err = charge(o);
	if (err)
		return err;
	page = find_get_page(o->file->f_mapping, index); /* there, for a copy of it is got */
	if (WARN_ON_ONCE(!page)) {
		err = -EIO;
		goto err_charge;
	}
	err = xa_err(xa_store(&o->held, index, page, GM_GFP));
	if (err)
		goto err_page;
	set_page_dirty(page);
	return 0;

err_page:
	put_page(page);
err_charge:
	uncharge(o);
	return err;
}

int gm_os_in_place_hold(struct gm_object *obj, uint64_t off, uint64_t len)
{
	pgoff_t index = off >> PAGE_SHIFT, end = (off + len) >> PAGE_SHIFT;
	struct gm_kobject *o = gm_kobject(obj);
	int err = 0;

	if (!atomic_long_read(&o->nr_held))
		gm_in_place_stay(o);
	for (; index < end && !err; index++)
		err = hold_page(o, index);
	return err;
}

void gm_os_in_place_drop(struct gm_object *obj, uint64_t off, uint64_t len)
{
	unsigned long index, first = off >> PAGE_SHIFT, last = first + (len >> PAGE_SHIFT) - 1;
	struct gm_kobject *o = gm_kobject(obj);
	struct page *page;

	if (!atomic_long_read(&o->nr_held))
		return;
	xa_for_each_range(&o->held, index, page, first, last)
	{
		xa_erase(&o->held, index);
		set_page_dirty(page);
		put_page(page);
		uncharge(o);
	}
}

bool gm_os_in_place_any(struct gm_object *obj)
{
	return atomic_long_read(&gm_kobject(obj)->nr_held) != 0;
}

/* What is held stays. */
bool gm_os_backing_in_place(const struct gm_object *obj)
{
	return true;
}
