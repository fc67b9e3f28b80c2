// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is mapped at an address: GMEM_MAPPING, which a library asks that remaps.
 *
 * mremap(2) is the kernel's, and does with our mappings what it does with others. But where
 * it makes one longer it tells nobody (vma.c); so who has done that says so, and devices see
 * what was added from then on. Nor does it know what else of an object is mapped: whether the
 * bytes behind a mapping's end were ever anybody's, the object remembers (gm_kobject.top).
 *
 * Locking: mmap_lock, for writing where regions change.
 */
#include "request.h"

/* The mapping of @kas's that has @va; mmap_lock held. */
static struct vm_area_struct *own_vma(struct gm_kas *kas, u64 va)
{
	struct vm_area_struct *vma = vma_lookup(kas->mm, va);

	return vma && gm_vma_kas(vma) == kas ? vma : NULL;
}

static void look(struct gm_kas *kas, const struct vm_area_struct *vma, struct gmem_mapping *m)
{
	struct gm_object *obj = vma->vm_file->private_data;
	struct gm_kobject *o = gm_kobject(obj);

	m->begin = vma->vm_start;
	m->len = vma->vm_end - vma->vm_start;
	m->offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	m->prot = (vma->vm_flags & VM_READ ? GMEM_PROT_READ : 0) |
		  (vma->vm_flags & VM_WRITE ? GMEM_PROT_WRITE : 0);
	m->object_flags = gm_object_flags(obj);
	m->bytes = gm_object_size(obj);
	m->object = gm_object_id(obj);
	m->tag = o->tag;
	m->top = atomic64_read(&o->top);
	m->spare = gm_as_spare_in(kas->as, vma->vm_end);
}

/* As mprotect() to what it is. */
static int show_devices(struct gm_kas *kas, struct vm_area_struct *vma)
{
	struct gm_object *obj = vma->vm_file->private_data;
	u64 len = vma->vm_end - vma->vm_start;
	u32 prot = vma->vm_flags & VM_WRITE  ? GM_READ | GM_WRITE
		   : vma->vm_flags & VM_READ ? GM_READ
					     : 0;

	return gm_kas_protect(kas, obj, (u64)vma->vm_pgoff << PAGE_SHIFT, vma->vm_start, len, prot);
}

long gm_kas_mapping(struct gm_kas *kas, struct gmem_mapping *m)
{
	bool show = m->flags & GMEM_MAPPING_SHOW;
	struct vm_area_struct *vma;
	int err = -EFAULT;

	if (m->flags & ~GMEM_MAPPING_SHOW)
		return -EINVAL;
	if (show ? mmap_write_lock_killable(kas->mm) : mmap_read_lock_killable(kas->mm))
		return -EINTR;
	vma = own_vma(kas, m->addr);
	if (vma)
		err = show ? show_devices(kas, vma) : 0;
	if (!err)
		look(kas, vma, m);
	if (show)
		mmap_write_unlock(kas->mm);
	else
		mmap_read_unlock(kas->mm);
	return err;
}
