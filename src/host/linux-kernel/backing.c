// SPDX-License-Identifier: GPL-2.0-only
/*
 * Host backing: an object's bytes are a shmem file of the kernel's own.
 *
 * Nobody gets a descriptor of that file. Mappings do refer to it (vma.c), so that the
 * kernel finds them by it when it swaps a page out; its operations are replaced by ours,
 * which hold the module in memory as long as a mapping is left, and which let nobody
 * open it by way of /proc/PID/map_files.
 *
 * The file lies on a tmpfs of our own. What a page of 2 MiB maps as a whole must not be on
 * a device in part, so there are two kinds of objects, and two mounts:
 *
 * Ordinary ones have pages of 4 KiB, and never others: not even MADV_COLLAPSE, which asks
 * no mount option, makes huge pages of a file that is not regular; so theirs is not.
 *
 * Huge ones have pages of 2 MiB, where the kernel has them to give, and a granule of 2 MiB
 * (gm_os_backing_granule()): the core brings such a block home, and takes it away, as a
 * whole. MADV_COLLAPSE would map what is on a device all the same; their mappings are
 * VM_DONTEXPAND, which keeps it off.
 *
 * A page is charged to the process that asks for it, as any of shmem. Where none does, for a
 * worker evicts or a driver's thread services a fault, it is charged to the memory cgroup that
 * the object was made in: else oversubscribing a device would be a way out of a cgroup's limit.
 *
 * A page exists if the file's tree has an entry for it, be it a page or a place in swap.
 * A page that is held stays where it is: the kernel neither swaps nor moves what somebody
 * else holds too. The bus address that a copy gets is the physical address; a driver of
 * hardware maps it for its struct device (docs/kernel.md).
 *
 * Locking: the core holds the block, so nobody else makes or frees these pages but the
 * kernel, which swaps them out and in.
 */
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "kernel.h"

static struct vfsmount *mount, *huge_mount;
static atomic64_t metadata;

static int denied_open(struct inode *inode, struct file *file)
{
	return -EACCES;
}

static const struct file_operations denied_fops = {
	.owner = THIS_MODULE,
	.open = denied_open,
};

static const struct file_operations backing_fops = {
	.owner = THIS_MODULE,
	.fsync = noop_fsync,
	.get_unmapped_area = thp_get_unmapped_area, /* for mremap() */
};

int gm_os_object_create(struct gm_object *obj, uint32_t flags)
{
	bool huge = flags & GM_OBJECT_HUGETLB;
	struct gm_kobject *o;
	struct file *file;

	o = kzalloc(sizeof(*o), GFP_KERNEL_ACCOUNT);
	if (!o)
		return -ENOMEM;
	file = shmem_file_setup_with_mnt(huge ? huge_mount : mount, "gmem", gm_object_size(obj),
					 VM_NORESERVE);
	if (IS_ERR(file)) {
		kfree(o);
		/* No memory for an inode is told so; here it would mean a full device. */
		return PTR_ERR(file) == -ENOSPC ? -ENOMEM : PTR_ERR(file);
	}
	__module_get(THIS_MODULE); /* we run on behalf of a descriptor that holds it */
	file->f_op = &backing_fops;
	file_inode(file)->i_fop = &denied_fops;
	if (!huge)
		file_inode(file)->i_mode &= ~S_IFMT;
	/* Its size is the object's, whoever may truncate it by /proc/PID/map_files. */
	SHMEM_I(file_inode(file))->seals |= F_SEAL_SHRINK | F_SEAL_GROW;
	file->private_data = obj;
	o->file = file;
	o->memcg = get_mem_cgroup_from_mm(current->mm);
	init_rwsem(&o->fill);
	gm_in_place_init(o);
	*gm_object_host(obj) = o;
	atomic64_add(sizeof(*o), &metadata);
	return 0;
}

void gm_os_object_destroy(struct gm_object *obj)
{
	struct gm_kobject *o = gm_kobject(obj);

	gm_in_place_exit(o);
	fput(o->file);
	gm_user_put(o->user);
	mem_cgroup_put(o->memcg);
	kfree(o);
	*gm_object_host(obj) = NULL;
	atomic64_sub(sizeof(*o), &metadata);
}

uint64_t gm_os_metadata_bytes(void)
{
	return atomic64_read(&metadata) + gm_in_place_metadata();
}

uint64_t gm_os_backing_granule(struct gm_object *obj)
{
	return gm_is_huge(obj) ? PMD_SIZE : PAGE_SIZE;
}

/* ------------------------------------------------------------------------ pages */

/* shmem keeps a page whose memory has failed, and says -EIO, as it does of a swap that fails. */
static bool has_failed(struct address_space *mapping, pgoff_t index)
{
	struct page *page = find_get_page(mapping, index);
	bool failed = page && PageHWPoison(page);

	if (page)
		put_page(page);
	return failed;
}

struct page *gm_backing_page(struct gm_object *obj, pgoff_t index)
{
	struct address_space *mapping = gm_mapping(obj);
	struct mem_cgroup *old;
	struct page *page;

	if (current->mm) {
		page = shmem_read_mapping_page_gfp(mapping, index, mapping_gfp_mask(mapping));
	} else {
		old = set_active_memcg(gm_kobject(obj)->memcg);
		page = shmem_read_mapping_page_gfp(mapping, index, mapping_gfp_mask(mapping));
		set_active_memcg(old);
	}
	if (page == ERR_PTR(-EIO) && has_failed(mapping, index))
		return ERR_PTR(-EHWPOISON);
	return page;
}

/* The page, locked and held, if it is in memory and as it should be; shmem takes longer to say so. */
struct page *gm_backing_find(struct gm_object *obj, pgoff_t index)
{
	struct page *page = find_lock_page(gm_mapping(obj), index);

	if (!page || (PageUptodate(page) && !PageHWPoison(page)))
		return page;
	unlock_page(page);
	put_page(page);
	return NULL;
}

/* As gm_backing_page(), for one that is thought to exist. */
static struct page *present_page(struct gm_object *obj, pgoff_t index)
{
	struct page *page = gm_backing_find(obj, index);

	if (!page)
		return gm_backing_page(obj, index);
	unlock_page(page); /* and not swapped out: it was locked, and is held now */
	return page;
}

int gm_os_backing_get(struct gm_object *obj, uint64_t off, uint64_t len, bool exist, uint64_t *bus,
		      uint64_t *got)
{
	pgoff_t index = off >> PAGE_SHIFT;
	struct page *page = exist ? present_page(obj, index) : gm_backing_page(obj, index);

	if (IS_ERR(page))
		return PTR_ERR(page);
	*bus = page_to_phys(page);
	/* Further pages count as long as they follow in memory; others come with the next call. */
	for (*got = PAGE_SIZE; *got < len; *got += PAGE_SIZE) {
		++index;
		page = exist ? present_page(obj, index) : gm_backing_page(obj, index);
		if (IS_ERR(page))
			break;
		if (page_to_phys(page) != *bus + *got) {
			put_page(page);
			break;
		}
	}
	return 0;
}

void gm_os_backing_put(struct gm_object *obj, uint64_t off, uint64_t len)
{
	pgoff_t index = off >> PAGE_SHIFT, end = (off + len) >> PAGE_SHIFT;

	for (; index < end; index++) {
		struct page *page = find_get_page(gm_mapping(obj), index);

		/* It is held, so it is there. Only a dirty page is kept in want of memory. */
		if (WARN_ON_ONCE(!page))
			continue;
		set_page_dirty(page);
		put_page(page);
		put_page(page); /* gm_os_backing_get()'s */
	}
}

static int backing_rw(struct gm_object *obj, uint64_t off, void *buf, uint64_t len, bool write)
{
	while (len) {
		u64 in = off & ~PAGE_MASK, n = min_t(u64, len, PAGE_SIZE - in);
		struct page *page = gm_backing_page(obj, off >> PAGE_SHIFT);

		if (IS_ERR(page))
			return PTR_ERR(page);
		if (write) {
			memcpy_to_page(page, in, buf, n);
			set_page_dirty(page);
		} else {
			memcpy_from_page(buf, page, in, n);
		}
		put_page(page);
		off += n;
		buf += n;
		len -= n;
	}
	return 0;
}

int gm_os_backing_read(struct gm_object *obj, uint64_t off, void *buf, uint64_t len)
{
	return backing_rw(obj, off, buf, len, false);
}

int gm_os_backing_write(struct gm_object *obj, uint64_t off, const void *buf, uint64_t len)
{
	return backing_rw(obj, off, (void *)buf, len, true);
}

uint64_t gm_os_backing_run(struct gm_object *obj, uint64_t off, uint64_t len, bool *present)
{
	struct xarray *pages = &gm_mapping(obj)->i_pages;
	pgoff_t first = off >> PAGE_SHIFT, n = 1, max = (len + PAGE_SIZE - 1) >> PAGE_SHIFT;

	*present = xa_load(pages, first) != NULL;
	while (n < max && (xa_load(pages, first + n) != NULL) == *present)
		n++;
	return min_t(u64, (u64)n << PAGE_SHIFT, len);
}

void gm_os_backing_free(struct gm_object *obj, uint64_t off, uint64_t len)
{
	shmem_truncate_range(file_inode(gm_kobject(obj)->file), off, off + len - 1);
}

static struct vfsmount *mount_tmpfs(char *options)
{
	struct file_system_type *type = get_fs_type("tmpfs");

	return type ? vfs_kern_mount(type, SB_KERNMOUNT, "gmem", options) : ERR_PTR(-ENODEV);
}

int gm_backing_init(void)
{
	char never[] = "huge=never", always[] = "huge=always";

	mount = mount_tmpfs(never);
	if (IS_ERR(mount))
		return PTR_ERR(mount);
	huge_mount = mount_tmpfs(always);
	if (!IS_ERR(huge_mount))
		return 0;
	kern_unmount(mount);
	return PTR_ERR(huge_mount);
}

void gm_backing_exit(void)
{
	kern_unmount(huge_mount);
	kern_unmount(mount);
}
