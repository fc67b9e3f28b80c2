// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device memory that the CPU can address, mapped where it is.
 *
 * Such memory gets struct pages (memremap_pages()), a 64th of its size in host memory, so
 * that what the kernel does with user pages works with these: direct I/O and RDMA reach
 * them by get_user_pages(), in a mapping of whatever size. Without them a leaf of 2 MiB
 * would not be safe: page tables of this kernel cannot mark it as being of no struct
 * page, and get_user_pages_fast() looks at nothing else.
 *
 * A page is held by nobody when its count is one, ours. A mapping does not count, for
 * these entries are special to the kernel (VM_MIXEDMAP, devmap): unmap_mapping_pages()
 * finds them by their address in the file alone. get_user_pages_fast() counts first and
 * looks at the entry again then; so who unmaps first and looks at the count second sees
 * it, or is seen.
 *
 * A leaf of 2 MiB is entered by the ordinary fault: this kernel asks huge_fault() of DAX
 * files only. It fits if no page table is there yet; where part of a leaf must go the
 * kernel drops it whole, and the next touch maps what is left around it. fork() copies no
 * leaf of 2 MiB, the child faults; entries of 4 KiB it copies, under the same locks as
 * those of any file.
 *
 * madvise() with MADV_COLD or MADV_PAGEOUT does not know such leaves: it calls them bad, forgets
 * them, and does not flush the TLB. So an object that had leaves has the TLBs of all CPUs flushed
 * whenever it is unmapped, for no page table tells whether there is something left in them.
 *
 * Memory that fails. The kernel's handling of machine checks, and MADV_HWPOISON, tell us by
 * dev_pagemap_ops, once they have let go of the page; the core then takes it away from
 * everybody, and whoever touches it gets SIGBUS by the fault. The page's address range is
 * kept meanwhile, so gm_os_aperture_close(), which holds a lock of the core's, waits for us,
 * and gm_aperture_poison() waits for no such lock.
 *
 * Locking: `lock` over the list of apertures. Mapping is done under the block's lock.
 */
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mutex.h>
#include <linux/pfn_t.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/smp.h>

#include <asm/tlbflush.h>

#include "kernel.h"

struct aperture {
	struct list_head list;
	struct dev_pagemap pgmap; /* ends in a flexible array */
};

static LIST_HEAD(apertures);
static DEFINE_MUTEX(lock);
static atomic_t nr_apertures;

/* Shall a new mapping be one that apertures can be mapped into? */
bool gm_has_apertures(void)
{
	return atomic_read(&nr_apertures) > 0;
}

static int aperture_failed(struct dev_pagemap *pgmap, unsigned long pfn, unsigned long nr_pages,
			   int mf_flags)
{
	int err = 0;

	for (; nr_pages && !err; nr_pages--, pfn++)
		err = gm_aperture_poison(PFN_PHYS(pfn));
	return err;
}

static const struct dev_pagemap_ops pgmap_ops = {
	.memory_failure = aperture_failed,
};

int gm_os_aperture_open(uint64_t cpu, uint64_t len)
{
	struct aperture *w;
	void *at;

	if (cpu + len < cpu || cpu + len > 1ULL << boot_cpu_data.x86_phys_bits ||
	    region_intersects(cpu, len, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) != REGION_DISJOINT)
		return -EINVAL;
	w = kzalloc(sizeof(*w), GFP_KERNEL);
	if (!w)
		return -ENOMEM;
	w->pgmap.type = MEMORY_DEVICE_GENERIC;
	w->pgmap.ops = &pgmap_ops;
	w->pgmap.range.start = cpu;
	w->pgmap.range.end = cpu + len - 1;
	w->pgmap.nr_range = 1;
	at = memremap_pages(&w->pgmap, NUMA_NO_NODE);
	if (IS_ERR(at)) {
		kfree(w);
		return PTR_ERR(at);
	}
	mutex_lock(&lock);
	list_add(&w->list, &apertures);
	mutex_unlock(&lock);
	atomic_inc(&nr_apertures);
	return 0;
}

void gm_os_aperture_close(uint64_t cpu, uint64_t len)
{
	struct aperture *w;

	atomic_dec(&nr_apertures);
	mutex_lock(&lock);
	list_for_each_entry(w, &apertures, list) if (w->pgmap.range.start == cpu) break;
	list_del(&w->list);
	mutex_unlock(&lock);
	memunmap_pages(&w->pgmap);
	kfree(w);
}

bool gm_os_aperture_idle(uint64_t cpu, uint64_t len)
{
	unsigned long pfn = PHYS_PFN(cpu), end = PHYS_PFN(cpu + len);

	smp_mb(); /* unmapped first, counted second */
	for (; pfn < end; pfn++)
		if (page_count(pfn_to_page(pfn)) != 1)
			return false;
	return true;
}

static void flush_cpu(void *unused)
{
	__flush_tlb_all();
}

/* After unmapping: no CPU reaches by its TLB what was mapped. */
void gm_aperture_flush(struct gm_object *obj)
{
	if (READ_ONCE(gm_kobject(obj)->leaves))
		on_each_cpu(flush_cpu, NULL, 1);
}

/* Regions have no mappings of their own here: gm_aperture_map(). */
int gm_os_cpu_map_aperture(struct gm_region *region, uint64_t va, uint64_t len, uint64_t cpu)
{
	return 0;
}

static pfn_t pfn_at(const struct gm_found *found, u64 off)
{
	return phys_to_pfn_t(found->cpu + (off - found->from), PFN_DEV | PFN_MAP);
}

/* The leaf of 2 MiB around the fault lies in the mapping, and in one piece in memory. */
static bool leaf_fits(struct vm_fault *vmf, const struct gm_found *found)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long va = vmf->address & PMD_MASK;
	u64 in = vmf->address - va, off = ((u64)vmf->pgoff << PAGE_SHIFT) - (in & PAGE_MASK);

	return pmd_none(*vmf->pmd) && va >= vma->vm_start && va + PMD_SIZE <= vma->vm_end &&
	       off >= found->from && off + PMD_SIZE <= found->to &&
	       IS_ALIGNED(found->cpu + (off - found->from), PMD_SIZE);
}

/* What was found is on a device where the CPU reaches it, and its block is locked. */
vm_fault_t gm_aperture_map(struct vm_fault *vmf, const struct gm_found *found)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long va = vmf->address & PAGE_MASK, first, last;
	u64 off = (u64)vmf->pgoff << PAGE_SHIFT;
	vm_fault_t ret;

	if (leaf_fits(vmf, found)) {
		WRITE_ONCE(gm_kobject(vma->vm_file->private_data)->leaves, true);
		return vmf_insert_pfn_pmd(vmf, pfn_at(found, off - (va & ~PMD_MASK)),
					  vmf->flags & FAULT_FLAG_WRITE);
	}
	/*
	 * Of two faults that came when there was nothing, the second finds the first one's leaf,
	 * and would take the memory behind it for a page table. Who enters a leaf holds the
	 * block's lock, as we do; so what is none here will not be one.
	 */
	if (pmd_devmap(READ_ONCE(*vmf->pmd)))
		return VM_FAULT_NOPAGE;
	ret = vmf_insert_mixed(vma, va, pfn_at(found, off));
	/* 64 KiB around it come along, if they can. */
	first = max3(vma->vm_start, va & ~(SZ_64K - 1UL), va - (unsigned long)(off - found->from));
	last = min3(vma->vm_end, (va | (SZ_64K - 1UL)) + 1, va + (unsigned long)(found->to - off));
	for (; ret == VM_FAULT_NOPAGE && first < last; first += PAGE_SIZE)
		if (vmf_insert_mixed(vma, first, pfn_at(found, off + first - va)) !=
		    VM_FAULT_NOPAGE)
			break;
	return ret;
}
