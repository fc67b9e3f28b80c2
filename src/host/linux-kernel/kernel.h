/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the linux-kernel host share.
 *
 * Lock order, first to last, with the core's and the kernel's own between ours:
 *
 *	mmap_lock
 *	core's: gm_as.lock, gm_block.lock, gm_object.maps_lock, gm_as.ctx_lock
 *	gm_kobject.fill; users_lock (account.c), under which none of these is taken
 *	i_mmap_rwsem, the locks of pages and of page tables
 *	core's spinlocks
 *
 * So nothing that holds a lock of the core's touches user memory, or maps or unmaps
 * any; regions come and go in the kernel's own calls of mmap() and vm_operations, which
 * hold mmap_lock already. A page's lock may be held while its fault returns to the
 * kernel, which waits for none of ours with it.
 */
#ifndef GM_HOST_LINUX_KERNEL_H
#define GM_HOST_LINUX_KERNEL_H

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rwsem.h>
#include <linux/xarray.h>

#include <gmem/driver.h>
#include <gmem/gmem.h>
#include <gmem/policy.h>

#include "core/os.h"

/* backing.c */
struct gm_kobject {
	struct file *file; /* shmem; its private_data is the object; it holds the module */
	/*
	 * Held for reading while a CPU fault fills a page of a block that no device has
	 * touched; taken for writing, and let go, by the first device to touch one: then
	 * all who saw no block are done.
	 */
	struct rw_semaphore fill;
	struct gm_user *user;	  /* whom it is charged to, or NULL */
	struct mem_cgroup *memcg; /* its maker's, for what no process asks for; held */
	bool leaves;		  /* leaves of an aperture were entered, gm_aperture_flush() */
	u64 tag;		  /* its maker's, for GMEM_MAPPING */
	atomic64_t top; /* nothing behind this offset was ever touched, or seen by a device */
	/* Pages that devices map in place, in_place.c */
	struct xarray held;
	atomic_long_t nr_held;
	struct user_struct *locker; /* whose locked memory they are, held; NULL: nobody's */
	unsigned long max_locked;   /* which is so many pages at most */
};

static inline struct gm_kobject *gm_kobject(struct gm_object *obj)
{
	return *gm_object_host(obj);
}

/* Host backing in huge pages, where the kernel has them to give. */
static inline bool gm_is_huge(struct gm_object *obj)
{
	return gm_object_flags(obj) & GM_OBJECT_HUGETLB;
}

static inline struct address_space *gm_mapping(struct gm_object *obj)
{
	return gm_kobject(obj)->file->f_mapping;
}

/* Bytes up to @end are somebody's from now on. */
static inline void gm_kobject_use(struct gm_object *obj, u64 end)
{
	atomic64_t *top = &gm_kobject(obj)->top;
	s64 was = atomic64_read(top);

	while (was < (s64)end && !atomic64_try_cmpxchg(top, &was, end))
		;
}

/* The page, held; made if there was none. */
struct page *gm_backing_page(struct gm_object *obj, pgoff_t index);
struct page *gm_backing_find(struct gm_object *obj, pgoff_t index);
int gm_backing_init(void);
void gm_backing_exit(void);

/* in_place.c */
void gm_in_place_init(struct gm_kobject *o);
void gm_in_place_exit(struct gm_kobject *o);
void gm_in_place_stay(struct gm_kobject *o);
u64 gm_in_place_pages(void);
u64 gm_in_place_metadata(void);

/* account.c */
int gm_user_object_create(u64 bytes, u32 flags, struct gm_object **obj);
void gm_user_put(struct gm_user *user);
void gm_user_usage(int hnode, u64 total, u64 *used, u64 *limit);

/* as.c: an address space, held by its descriptor, its mappings and drivers */
struct gm_kas {
	struct kref ref;
	struct gm_as *as;
	struct mm_struct *mm; /* whose addresses these are; held by mmgrab() */
	pid_t pid;	      /* of the process that made it, for events */
};

int gm_kas_create(const struct gm_as_options *opt, struct gm_kas **kas);
void gm_kas_get(struct gm_kas *kas);
void gm_kas_put(struct gm_kas *kas);
int gm_kas_map(struct gm_kas *kas, struct gm_object *obj, u64 off, u64 va, u64 len, u32 prot);
int gm_kas_unmap(struct gm_kas *kas, u64 va, u64 len);
int gm_kas_protect(struct gm_kas *kas, struct gm_object *obj, u64 off, u64 va, u64 len, u32 prot);

/* aperture.c */
bool gm_has_apertures(void);
void gm_aperture_flush(struct gm_object *obj);
vm_fault_t gm_aperture_map(struct vm_fault *vmf, const struct gm_found *found);

/* vma.c */
int gm_vma_map(struct vm_area_struct *vma, struct gm_object *obj, struct gm_kas *kas);
unsigned long gm_unmapped_area(struct file *file, unsigned long addr, unsigned long len,
			       unsigned long pgoff, unsigned long flags);
/* The address space that this is a mapping in; NULL: none, or a mapping of somebody else's. */
struct gm_kas *gm_vma_kas(const struct vm_area_struct *vma);
/* The address space of this process that @va is mapped in, held; or NULL. */
struct gm_kas *gm_kas_at(u64 va);

/* main.c: debug builds, on demand, stay where a fault can be overtaken */
#ifdef GM_DEBUG
void gm_test_delay(void);
#else
static inline void gm_test_delay(void)
{
}
#endif

/* as_file.c */
struct gm_kas *gm_kas_of_file(struct file *file);

/* chardev.c */
int gm_chardev_init(void);
void gm_chardev_exit(void);

/* For metadata: charged to whoever asks, and -ENOMEM is an answer (os_misc.c). */
#define GM_GFP_BASE (GFP_KERNEL_ACCOUNT | __GFP_NOWARN)
#define GM_GFP (GM_GFP_BASE | __GFP_RETRY_MAYFAIL)

#define GM_KDEVS 64 /* devices at most, by <gmem/driver.h> */

/* debugfs.c */
void gm_debugfs_init(void);
void gm_debugfs_exit(void);

/* os_work.c */
struct work_struct;
void gm_work_on(int cpu, struct work_struct *item);
int gm_work_init(void);
void gm_work_exit(void);

#endif
