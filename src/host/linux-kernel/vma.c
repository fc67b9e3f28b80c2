// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of objects, and their faults.
 *
 * A mapping's file is the object's shmem file, so that the kernel's reverse map finds
 * it; its operations are ours. A fault asks the core first: is the page on a device? It is
 * brought home, and the block stays locked until the page is found and locked, or `fill`
 * is held if no device has touched the block. The kernel then maps the page and unlocks
 * it; revoke.c says why that cannot race.
 *
 * A mapping holds its object, and its address space if it is in one. The kernel tells us
 * what happens to it:
 *
 *	mremap	it was moved, and may be longer; this may refuse, and it is moved back
 *	open	a copy came to be: by fork(), in a child that shares the bytes and has no
 *		address space here; by mremap(), at a new place; or by a split
 *	may_split, mprotect	before the fact; these may refuse
 *	close	it is gone, in whole: what is unmapped in part was split before
 *
 * mremap() that makes a mapping longer where it is tells nobody; devices find nothing in
 * what was added until mprotect() is called for it, or GMEM_MAPPING (mapping.c).
 *
 * A mapping made while there is device memory that the CPU can address (aperture.c) is
 * VM_MIXEDMAP, so that it can be mapped into it; into others pages come home. mlock() does
 * nothing for such mappings, nor for those of huge objects.
 *
 * Pages with replicas on devices may be read, not written. A mapping in which somebody has said
 * READ_MOSTLY tells of writes from then on: it has other operations, with page_mkwrite, and maps
 * everything for reading first, as files on disks do. In all others any fault may end in a write
 * that nobody hears of, so there it drops the replicas. It need not be undone: a mapping
 * that tells of writes costs a fault more for a page that is read before it is written.
 *
 * Locking: mmap_lock held by the kernel, for writing but in faults.
 */
#include <linux/memcontrol.h>
#include <linux/mman.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>

#include "kernel.h"

static struct gm_object *obj_of(const struct vm_area_struct *vma)
{
	return vma->vm_file->private_data;
}

static u64 off_of(const struct vm_area_struct *vma, unsigned long va)
{
	return ((u64)vma->vm_pgoff << PAGE_SHIFT) + (va - vma->vm_start);
}

static u32 prot_of(unsigned long flags)
{
	if (flags & VM_WRITE)
		return GM_READ | GM_WRITE;
	return flags & VM_READ ? GM_READ : 0;
}

/* ------------------------------------------------------------------------ coming, going */

static int add_region(struct vm_area_struct *vma, struct gm_kas *kas, struct gm_object *obj)
{
	return gm_kas_map(kas, obj, off_of(vma, vma->vm_start), vma->vm_start,
			  vma->vm_end - vma->vm_start, prot_of(vma->vm_flags));
}

static void vma_open(struct vm_area_struct *vma)
{
	struct gm_kas *kas = vma->vm_private_data;
	u64 n;

	gm_object_get(obj_of(vma));
	if (kas && kas->mm != vma->vm_mm)
		vma->vm_private_data = kas = NULL;
	if (!kas)
		return;
	gm_kas_get(kas);
	/* Without memory for a region devices fault with -EFAULT here; the CPU does not. */
	if (gm_as_next(kas->as, vma->vm_start, vma->vm_end, &n) >= vma->vm_end &&
	    !add_region(vma, kas, obj_of(vma)))
		gm_as_attrs_follow(kas->as, vma->vm_start);
}

static void vma_close(struct vm_area_struct *vma)
{
	struct gm_kas *kas = vma->vm_private_data;

	if (kas) {
		/* What a device does not let go of is left behind, see as.c. */
		(void)gm_kas_unmap(kas, vma->vm_start, vma->vm_end - vma->vm_start);
		gm_kas_put(kas);
	}
	gm_aperture_flush(obj_of(vma)); /* the memory may be somebody else's soon */
	gm_object_put(obj_of(vma));
}

/* Huge pages are unmapped as a whole, as those of hugetlbfs are. */
static int vma_may_split(struct vm_area_struct *vma, unsigned long va)
{
	struct gm_kas *kas = vma->vm_private_data;

	if (gm_is_huge(obj_of(vma)) && !IS_ALIGNED(va, PMD_SIZE))
		return -EINVAL;
	return kas ? gm_as_carve(kas->as, va) : 0;
}

/*
 * The new mapping of mremap(), which is open already. What it says no to is undone: memory for
 * a region, a device that uses the addresses itself, or more than there is of the object.
 */
static int vma_mremap(struct vm_area_struct *vma)
{
	struct gm_kas *kas = vma->vm_private_data;
	u64 len = vma->vm_end - vma->vm_start, n;

	if (gm_is_huge(obj_of(vma)) && !IS_ALIGNED(vma->vm_start, PMD_SIZE))
		return -EINVAL;
	if (off_of(vma, vma->vm_end) > gm_object_size(obj_of(vma)))
		return -EINVAL;
	if (!kas || !prot_of(vma->vm_flags) ||
	    (gm_as_next(kas->as, vma->vm_start, vma->vm_end, &n) == vma->vm_start && n == len))
		return 0;
	return add_region(vma, kas, obj_of(vma));
}

static int vma_mprotect(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			unsigned long flags)
{
	struct gm_kas *kas = vma->vm_private_data;

	if (!kas)
		return 0;
	return gm_kas_protect(kas, obj_of(vma), off_of(vma, start), start, end - start,
			      prot_of(flags));
}

/* ------------------------------------------------------------------------------ faults */

/* The page, locked and still the file's. */
static struct page *locked_page(struct gm_object *obj, pgoff_t index)
{
	struct page *page = gm_backing_find(obj, index);

	while (!page) {
		page = gm_backing_page(obj, index);
		if (IS_ERR(page))
			return page;
		lock_page(page);
		if (page_mapping(page) == gm_mapping(obj))
			return page;
		unlock_page(page); /* swapped out a moment ago */
		put_page(page);
		page = NULL;
	}
	return page;
}

/*
 * The block is locked, and pages of offset [from, to) are home: map what of it lies in this
 * mapping and in this page table at once, if there is a page table.
 */
static vm_fault_t map_around(struct vm_fault *vmf, u64 from, u64 to)
{
	struct vm_area_struct *vma = vmf->vma;
	pgoff_t first = vma->vm_pgoff, last = first + vma_pages(vma) - 1;
	pgoff_t before = (vmf->address & ~PMD_MASK) >> PAGE_SHIFT; /* in the table */

	if (to - from <= PAGE_SIZE || pmd_none(*vmf->pmd))
		return 0;
	if (vmf->pgoff - first > before)
		first = vmf->pgoff - before;
	first = max_t(pgoff_t, first, from >> PAGE_SHIFT);
	last = min3(last, vmf->pgoff + (PTRS_PER_PTE - 1 - before),
		    (pgoff_t)(to >> PAGE_SHIFT) - 1);
	return filemap_map_pages(vmf, first, last) & VM_FAULT_NOPAGE;
}

/*
 * What was on a device could not be brought home, for want of memory or else. VM_FAULT_OOM
 * would have the access made again until it can be, and a device may say -ENOMEM for ever;
 * it is right only where the memory cgroup makes the task wait.
 */
static vm_fault_t fault_error(int err)
{
	if (err == -EHWPOISON)
		return VM_FAULT_HWPOISON; /* SIGBUS with BUS_MCEERR_AR */
	return err == -ENOMEM && task_in_memcg_oom(current) ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

/*
 * A page that somebody holds for a moment (I/O, reclaim) does not move; mostly it does soon. Who
 * holds it for long, as RDMA does, makes the fault fail.
 */
#define BUSY_TRIES 64U

static bool try_again(unsigned int *tries)
{
	if (++*tries > BUSY_TRIES || fatal_signal_pending(current))
		return false;
	gm_os_yield(*tries);
	return true;
}

static bool tells_writes(const struct vm_area_struct *vma);

/*
 * A device holds the page for a time (core's pingpong.c). Waiting takes letting mmap_lock go, which the
 * kernel allows once for a fault; who may not wait does not, and gets the page at once.
 */
static bool can_wait(const struct vm_fault *vmf)
{
	return fault_flag_allow_retry_first(vmf->flags) && !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT);
}

static vm_fault_t wait_until(struct vm_fault *vmf, u64 until)
{
	u64 now = gm_os_now_ns();

	mmap_read_unlock(vmf->vma->vm_mm); /* and with it go the mapping, the object and all */
	if (now < until)
		gm_os_sleep(until - now);
	return VM_FAULT_RETRY;
}

static vm_fault_t vma_fault(struct vm_fault *vmf)
{
	struct gm_object *obj = obj_of(vmf->vma);
	struct gm_kas *kas = vmf->vma->vm_private_data;
	bool apertures = vmf->vma->vm_flags & VM_MIXEDMAP;
	struct gm_kobject *o = gm_kobject(obj);
	u64 off = (u64)vmf->pgoff << PAGE_SHIFT;
	struct gm_found found = {
		.write = (vmf->flags & FAULT_FLAG_WRITE) || !tells_writes(vmf->vma),
		.waits = can_wait(vmf),
	};
	struct page *page;
	unsigned int tries = 0;
	vm_fault_t ret = 0;
	int err;

	if (off >= gm_object_size(obj))
		return VM_FAULT_SIGBUS;
	gm_kobject_use(obj, off + PAGE_SIZE);
	for (;;) {
		err = gm_object_fault(obj, kas ? kas->as : NULL, off, apertures, &found);
		if (err == -EBUSY && try_again(&tries))
			continue;
		if (err && found.until)
			return wait_until(vmf, found.until);
		if (err)
			return fault_error(err);
		if (found.block)
			break;
		gm_test_delay(); /* a block may come to be */
		down_read(&o->fill);
		if (!gm_object_touched(obj, off))
			break;
		up_read(&o->fill);
	}
	if (found.block && found.cpu)
		ret = gm_aperture_map(vmf, &found);
	else if (found.block)
		ret = map_around(vmf, found.from, found.to);
	if (ret) {
		gm_block_unlock(found.block);
		return ret;
	}
	gm_test_delay(); /* no block, and no page yet */
	page = locked_page(obj, vmf->pgoff);
	if (found.block)
		gm_block_unlock(found.block);
	else
		up_read(&o->fill);
	if (IS_ERR(page))
		return PTR_ERR(page) == -EHWPOISON ? VM_FAULT_HWPOISON : vmf_error(PTR_ERR(page));
	gm_test_delay(); /* the block is let go, the page not mapped */
	vmf->page = page;
	return VM_FAULT_LOCKED;
}

/* Pages around a read fault that are there already; in blocks that no device has touched. */
static vm_fault_t vma_map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	struct gm_object *obj = obj_of(vmf->vma);
	struct gm_kobject *o = gm_kobject(obj);
	pgoff_t per_block = GM_BLOCK_SIZE >> PAGE_SHIFT;
	pgoff_t block = vmf->pgoff & ~(per_block - 1);
	vm_fault_t ret = 0;

	if (!down_read_trylock(&o->fill))
		return 0;
	if (!gm_object_touched(obj, (u64)vmf->pgoff << PAGE_SHIFT))
		ret = filemap_map_pages(vmf, max(start, block), min(end, block + per_block - 1));
	up_read(&o->fill);
	return ret;
}

/*
 * A page is about to be mapped for writing, that was mapped for reading or was found a moment ago.
 * The block is locked until the page is: who makes a replica unmaps it after that, waiting for
 * the page's lock, which the kernel has until it is mapped.
 */
static vm_fault_t vma_mkwrite(struct vm_fault *vmf)
{
	struct gm_object *obj = obj_of(vmf->vma);
	struct gm_kas *kas = vmf->vma->vm_private_data;
	struct gm_kobject *o = gm_kobject(obj);
	u64 off = (u64)vmf->pgoff << PAGE_SHIFT;
	struct gm_found found = { .write = true };
	struct page *page = vmf->page;
	unsigned int tries = 0;
	int err;

	for (;;) {
		err = gm_object_fault(obj, kas ? kas->as : NULL, off, false, &found);
		if (err == -EBUSY && try_again(&tries))
			continue;
		if (err)
			return fault_error(err);
		if (found.block)
			break;
		down_read(&o->fill); /* as in vma_fault() */
		if (!gm_object_touched(obj, off))
			break;
		up_read(&o->fill);
	}
	lock_page(page);
	if (found.block)
		gm_block_unlock(found.block);
	else
		up_read(&o->fill);
	if (page_mapping(page) != gm_mapping(obj) || page_index(page) != vmf->pgoff) {
		unlock_page(page); /* it went to a device and came back, as another: fault again */
		return VM_FAULT_NOPAGE;
	}
	return VM_FAULT_LOCKED;
}

static const struct vm_operations_struct vma_ops = {
	.open = vma_open,
	.close = vma_close,
	.may_split = vma_may_split,
	.mremap = vma_mremap,
	.mprotect = vma_mprotect,
	.fault = vma_fault,
	.map_pages = vma_map_pages,
};

static const struct vm_operations_struct vma_ops_tell = {
	.open = vma_open,
	.close = vma_close,
	.may_split = vma_may_split,
	.mremap = vma_mremap,
	.mprotect = vma_mprotect,
	.fault = vma_fault,
	.map_pages = vma_map_pages,
	.page_mkwrite = vma_mkwrite,
};

static bool tells_writes(const struct vm_area_struct *vma)
{
	return vma->vm_ops == &vma_ops_tell;
}

/*
 * Mappings of [va, va+len) tell of writes from now on. What is mapped for writing stays so: those
 * pages have no replicas, and lose their mappings before they get any. Not for apertures, whose
 * pages are mapped otherwise, nor for huge objects.
 */
int gm_vma_tell_writes(struct gm_kas *kas, u64 va, u64 len)
{
	struct vm_area_struct *vma;
	u64 end = va + len;

	if (end < va)
		return -EINVAL;
	if (mmap_write_lock_killable(kas->mm))
		return -EINTR;
	for (; va < end && (vma = find_vma(kas->mm, va)) && vma->vm_start < end; va = vma->vm_end) {
		if (gm_vma_kas(vma) != kas || vma->vm_ops != &vma_ops ||
		    (vma->vm_flags & VM_MIXEDMAP) || gm_is_huge(obj_of(vma)))
			continue;
		vma->vm_ops = &vma_ops_tell;
		/* As the kernel has it for mappings that tell of writes. */
		WRITE_ONCE(vma->vm_page_prot, vm_get_page_prot(vma->vm_flags & ~VM_SHARED));
	}
	mmap_write_unlock(kas->mm);
	return 0;
}

int gm_vma_map(struct vm_area_struct *vma, struct gm_object *obj, struct gm_kas *kas)
{
	u64 len = vma->vm_end - vma->vm_start, off = off_of(vma, vma->vm_start);
	int err;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (off + len < off || off + len > gm_object_size(obj))
		return -EINVAL;
	if (gm_is_huge(obj) && !IS_ALIGNED(vma->vm_start | len | off, PMD_SIZE))
		return -EINVAL;
	if (kas) {
		if (kas->mm != vma->vm_mm)
			return -EPERM;
		err = add_region(vma, kas, obj);
		if (err)
			return err;
		gm_kas_get(kas);
	}
	/* Huge pages of shmem in a mapping for apertures would not be unmapped right. */
	if (gm_is_huge(obj))
		vma->vm_flags |= VM_DONTEXPAND; /* keeps MADV_COLLAPSE off, see backing.c */
	else if (gm_has_apertures())
		vma->vm_flags |= VM_MIXEDMAP;
	gm_object_get(obj);
	vma_set_file(vma, gm_kobject(obj)->file);
	vma->vm_ops = &vma_ops;
	vma->vm_private_data = kas;
	return 0;
}

struct gm_kas *gm_vma_kas(const struct vm_area_struct *vma)
{
	return vma->vm_ops == &vma_ops || tells_writes(vma) ? vma->vm_private_data : NULL;
}

struct gm_kas *gm_kas_at(u64 va)
{
	struct vm_area_struct *vma;
	struct gm_kas *kas = NULL;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, va);
	if (vma)
		kas = gm_vma_kas(vma);
	if (kas)
		gm_kas_get(kas);
	mmap_read_unlock(current->mm);
	return kas;
}

/*
 * For get_unmapped_area: addresses that agree with the offset as gm_map_align() says, and as those
 * of huge pages do.
 */
unsigned long gm_unmapped_area(struct file *file, unsigned long addr, unsigned long len,
			       unsigned long pgoff, unsigned long flags)
{
	struct gm_region like = { .len = len };
	unsigned long align = gm_map_align(&like), off = pgoff << PAGE_SHIFT, at;

	if (align != PAGE_SIZE && align != PMD_SIZE && !addr && !(flags & MAP_FIXED) &&
	    len + align > len) {
		at = current->mm->get_unmapped_area(file, 0, len + align, pgoff, flags);
		if (!IS_ERR_VALUE(at))
			return at + ((off - at) & (align - 1));
	}
	return thp_get_unmapped_area(file, addr, len, pgoff, flags);
}
