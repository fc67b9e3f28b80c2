// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address spaces.
 *
 * One belongs to the process that made it; its addresses are that process's. It is held
 * by its descriptor, by each mapping in it, and by drivers for each context, and goes
 * with the last of them: then no mapping and no context is left.
 *
 * Its regions follow the process's mappings: they are made by mmap() and vm_operations,
 * under mmap_lock, so the kernel's record and ours change as one. Where the process may
 * not even read (PROT_NONE) there is no region: a device finds nothing there.
 *
 * A device that fails to let go of a mapping cannot keep the process from unmapping it.
 * The region is then left behind, and with it the object's bytes, so that what the device
 * still reaches is never somebody else's. It goes when the device lets go: with the next
 * mapping at that place, or with the context.
 */
#include <linux/file.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <gmem/kernel.h>

#include "kernel.h"

int gm_kas_create(const struct gm_as_options *opt, struct gm_kas **out)
{
	struct gm_kas *kas = kzalloc(sizeof(*kas), GFP_KERNEL_ACCOUNT);
	int err;

	if (!kas)
		return -ENOMEM;
	err = gm_as_create(opt, &kas->as);
	if (err) {
		kfree(kas);
		return err;
	}
	kref_init(&kas->ref);
	kas->mm = current->mm;
	kas->pid = task_tgid_nr(current);
	mmgrab(kas->mm);
	*gm_as_host(kas->as) = kas;
	*out = kas;
	return 0;
}

void gm_kas_get(struct gm_kas *kas)
{
	kref_get(&kas->ref);
}

static void kas_free(struct kref *ref)
{
	struct gm_kas *kas = container_of(ref, struct gm_kas, ref);

	/* Drivers detach before they let go; a region left behind goes now. */
	if (WARN_ON_ONCE(gm_as_destroy(kas->as)))
		return;
	mmdrop(kas->mm);
	kfree(kas);
}

void gm_kas_put(struct gm_kas *kas)
{
	kref_put(&kas->ref, kas_free);
}

/* --------------------------------------------------------------------------- regions */

int gm_kas_unmap(struct gm_kas *kas, u64 va, u64 len)
{
	u64 end = va + len, n;
	int err = 0;

	while (!err && (va = gm_as_next(kas->as, va, end, &n)) < end) {
		err = gm_as_unmap(kas->as, (void *)va, n);
		va += n;
	}
	return err;
}

int gm_kas_map(struct gm_kas *kas, struct gm_object *obj, u64 off, u64 va, u64 len, u32 prot)
{
	void *addr = (void *)va;

	if (!prot)
		return 0;
	/* The process has nothing here; a region that was left behind may be. */
	if (gm_kas_unmap(kas, va, len))
		return -EBUSY;
	gm_kobject_use(obj, off + len);
	return gm_as_map(kas->as, obj, off, len, prot, GM_MAP_FIXED, &addr);
}

/* All of [va, va+len) maps @obj from @off; regions where there is none are made. */
int gm_kas_protect(struct gm_kas *kas, struct gm_object *obj, u64 off, u64 va, u64 len, u32 prot)
{
	u64 end = va + len, at = va, next, n;
	int err = 0;

	if (!prot)
		return gm_kas_unmap(kas, va, len);
	while (!err && at < end) {
		next = gm_as_next(kas->as, at, end, &n);
		if (next > at)
			err = gm_kas_map(kas, obj, off + (at - va), at, next - at, prot);
		if (!err && next < end)
			err = gm_as_protect(kas->as, (void *)next, n, prot);
		at = next < end ? next + n : end;
	}
	return err;
}

/* ----------------------------------------------------------------------- for drivers */

int gm_as_from_fd(int fd, struct gm_as **as)
{
	struct file *file = fget(fd);
	struct gm_kas *kas = file ? gm_kas_of_file(file) : NULL;
	int err = -EBADF;

	if (kas && kas->mm != current->mm)
		err = -EPERM;
	else if (kas)
		err = 0;
	if (!err) {
		gm_kas_get(kas);
		*as = kas->as;
	}
	if (file)
		fput(file);
	return err;
}

void gm_as_release(struct gm_as *as)
{
	gm_kas_put(*gm_as_host(as));
}

/* ---------------------------------------------------- what the core asks of its host */

int gm_os_as_create(struct gm_as *as, const struct gm_as_options *opt)
{
	return 0;
}

void gm_os_as_stop(struct gm_as *as)
{
}

void gm_os_as_destroy(struct gm_as *as)
{
}

/* The kernel has mapped it, or will have before anybody can see it. */
int gm_os_region_map(struct gm_region *region, bool fixed)
{
	return fixed ? 0 : -EINVAL;
}

int gm_os_region_unmap(struct gm_region *region, uint64_t va, uint64_t len)
{
	return 0;
}

int gm_os_region_split(struct gm_region *low, struct gm_region *high)
{
	return 0;
}

void gm_os_region_free(struct gm_region *region)
{
}

int gm_os_region_protect(struct gm_region *region, uint64_t va, uint64_t len, uint32_t prot)
{
	return 0;
}
