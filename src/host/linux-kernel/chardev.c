// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/gmem and what is made from it.
 *
 * A request's number says which it is; how long its struct is the struct says itself
 * (include/uapi/gmem.h). It is copied in whole, checked, carried out on the copy, and
 * copied back if it has results. Nothing of an address space is done for a process that
 * it does not belong to, whoever passed the descriptor on.
 *
 * Long requests are carried out in pieces, between which a kill is noticed.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <uapi/gmem.h>

#include "kernel.h"

#define PIECE (1ULL << 30)

static const struct file_operations object_fops, as_fops;

struct gm_kas *gm_kas_of_file(struct file *file)
{
	return file->f_op == &as_fops ? file->private_data : NULL;
}

/* ---------------------------------------------------------------------- requests */

struct request {
	u32 cmd;
	u32 size;
	bool out; /* the struct has results, or the copy back says nothing */
	long (*fn)(struct file *file, void *arg);
	u32 least; /* its size when it was new; 0: as now */
};

#define REQUEST(cmd, type, out, fn)                                                                \
	{                                                                                          \
		cmd, sizeof(struct type), out, fn                                                  \
	}
/* Of a struct that has grown since, from @member on. */
#define REQUEST_GROWN(cmd, type, member, out, fn)                                                  \
	{                                                                                          \
		cmd, sizeof(struct type), out, fn, offsetof(struct type, member)                   \
	}

union any {
	u32 size;
	u8 bytes[256];
};

static int copy_out(void __user *to, const void *from, u32 room, u32 size)
{
	if (copy_to_user(to, from, min(room, size)))
		return -EFAULT;
	return room > size && clear_user(to + size, room - size) ? -EFAULT : 0;
}

static long carry_out(struct file *file, unsigned int cmd, void __user *user,
		      const struct request *r, unsigned int n)
{
	union any arg;
	long ret;
	u32 size;
	int err;

	while (n && _IOC_NR(r->cmd) != _IOC_NR(cmd)) {
		r++;
		n--;
	}
	if (!n || _IOC_TYPE(cmd) != GMEM_IOC_MAGIC || _IOC_DIR(cmd) != _IOC_DIR(r->cmd))
		return -ENOTTY;
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < (r->least ?: r->size))
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	err = copy_struct_from_user(&arg, r->size, user, size);
	if (err)
		return err;
	arg.size = size; /* it may have changed in between */
	ret = r->fn(file, &arg);
	if (ret < 0 || !r->out)
		return ret;
	err = copy_out(user, &arg, size, r->size);
	return err ? err : ret;
}

/* ------------------------------------------------------------------- address spaces */

static struct gm_kas *own_kas(struct file *file)
{
	struct gm_kas *kas = file->private_data;

	return kas->mm == current->mm ? kas : ERR_PTR(-EPERM);
}

struct view {
	struct gm_object *obj;
	struct gm_kas *kas;
};

static int view_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct view *view = file->private_data;

	return gm_vma_map(vma, view->obj, view->kas);
}

static const struct file_operations view_fops = {
	.owner = THIS_MODULE,
	.mmap = view_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
};

/* A file that lives for this call only tells mmap() which address space is meant. */
static long map_object(struct gm_kas *kas, struct gm_object *obj, struct gmem_map *m)
{
	struct view view = { .obj = obj, .kas = kas };
	struct file *file = anon_inode_getfile("[gmem]", &view_fops, &view, O_RDWR);
	unsigned long prot, flags = MAP_SHARED, va;

	if (IS_ERR(file))
		return PTR_ERR(file);
	prot = PROT_READ | (m->prot & GMEM_PROT_WRITE ? PROT_WRITE : 0);
	if (m->flags & GMEM_MAP_FIXED)
		flags |= MAP_FIXED_NOREPLACE;
	va = vm_mmap(file, m->addr, m->len, prot, flags, m->offset);
	fput(file);
	if (IS_ERR_VALUE(va))
		return (long)va;
	m->addr = va;
	return 0;
}

static long as_map(struct file *file, void *arg)
{
	struct gmem_map *m = arg;
	struct gm_kas *kas = own_kas(file);
	struct fd f;
	long err;

	if (IS_ERR(kas))
		return PTR_ERR(kas);
	if ((m->flags & ~GMEM_MAP_FIXED) || (m->prot & ~(GMEM_PROT_READ | GMEM_PROT_WRITE)) ||
	    !(m->prot & GMEM_PROT_READ) || !m->len || !PAGE_ALIGNED(m->len | m->offset | m->addr) ||
	    !(m->flags & GMEM_MAP_FIXED) != !m->addr)
		return -EINVAL;
	f = fdget(m->fd);
	if (!f.file)
		return -EBADF;
	if (f.file->f_op != &object_fops)
		err = -EBADF;
	else
		err = map_object(kas, f.file->private_data, m);
	fdput(f);
	return err;
}

/* Is all of the range mapped here? Then pieces of it fail for other reasons only. */
static int check_range(struct gm_kas *kas, u64 va, u64 len)
{
	u64 end = va + len, n;

	if (!len || end < va)
		return -EINVAL;
	for (; va < end; va += n)
		if (gm_as_next(kas->as, va, end, &n) != va)
			return -EFAULT;
	return 0;
}

static long advise(struct gm_kas *kas, struct gmem_advise *a)
{
	u64 va = a->addr, left = a->len;
	/* What goes to a device is bounded by it, and told apart as a whole. */
	bool whole = a->advice == GMEM_PREFETCH || a->advice == GMEM_PIN || left <= PIECE;
	int err = 0;

	if (a->pad || a->advice > GMEM_UNPIN || !left)
		return -EINVAL;
	if (!whole)
		err = check_range(kas, va, left);
	while (!err && left) {
		/* Pieces end at whole pages, for DONTNEED rounds inward. */
		u64 n = whole ? left : min(left, PIECE - (va & (PIECE - 1)));

		err = gm_advise(kas->as, a->hnode, va, n, a->advice);
		va += n;
		left -= n;
		if (!err && left && fatal_signal_pending(current))
			err = -EINTR;
	}
	return err;
}

/* Either address space may be NULL: no address is managed memory there. */
static long copy(struct gm_kas *to, struct gm_kas *from, const struct gmem_copy *c)
{
	u64 dst = c->dst, src = c->src, left = c->len;
	int err = 0;

	if (!left || dst + left < dst || src + left < src || (dst < src + left && src < dst + left))
		return -EINVAL;
	if (!access_ok((void __user *)dst, left) || !access_ok((void __user *)src, left))
		return -EFAULT;
	while (!err && left) {
		u64 n = min(left, PIECE >> 6);

		err = gm_copy(c->hnode, to && gm_as_covers(to->as, dst) ? to->as : NULL, dst,
			      from && gm_as_covers(from->as, src) ? from->as : NULL, src, n);
		dst += n;
		src += n;
		left -= n;
		if (!err && left && fatal_signal_pending(current))
			err = -EINTR;
	}
	return err;
}

static long query(struct gm_kas *kas, const struct gmem_query *q)
{
	struct gmem_page_info __user *to = u64_to_user_ptr(q->info);
	struct gm_page_info *info;
	u64 va = q->addr, left = q->len, n;
	int err;

	static_assert(sizeof(struct gm_page_info) == sizeof(struct gmem_page_info));
	if (q->pad || !PAGE_ALIGNED(va | left))
		return -EINVAL;
	err = check_range(kas, va, left);
	if (err || !to)
		return err;
	info = (void *)__get_free_page(GFP_KERNEL);
	if (!info)
		return -ENOMEM;
	for (; !err && left; left -= n, va += n) {
		u64 pages;

		n = min_t(u64, left, PAGE_SIZE / sizeof(*info) << PAGE_SHIFT);
		pages = n >> PAGE_SHIFT;
		err = gm_as_query(kas->as, va, n, info);
		if (!err && copy_to_user(to, info, pages * sizeof(*info)))
			err = -EFAULT;
		if (!err && fatal_signal_pending(current))
			err = -EINTR;
		to += pages;
	}
	free_page((unsigned long)info);
	return err;
}

static void stats_out(struct gmem_stats *to, const struct gm_stats *stats)
{
	u32 size = to->size;

	static_assert(sizeof(*stats) == sizeof(*to));
	static_assert(offsetof(struct gm_stats, pages_peer) ==
		      offsetof(struct gmem_stats, pages_peer));
	memcpy(to, stats, sizeof(*to));
	to->size = size;
	to->hnode = 0;
}

static long as_stats(struct file *file, void *arg)
{
	struct gm_kas *kas = own_kas(file);
	struct gm_stats stats = { .size = sizeof(stats) };

	if (IS_ERR(kas))
		return PTR_ERR(kas);
	gm_as_stats(kas->as, &stats);
	stats_out(arg, &stats);
	return 0;
}

static long as_advise(struct file *file, void *arg)
{
	struct gm_kas *kas = own_kas(file);

	return IS_ERR(kas) ? PTR_ERR(kas) : advise(kas, arg);
}

static long as_copy(struct file *file, void *arg)
{
	struct gm_kas *kas = own_kas(file);

	return IS_ERR(kas) ? PTR_ERR(kas) : copy(kas, kas, arg);
}

static long as_query(struct file *file, void *arg)
{
	struct gm_kas *kas = own_kas(file);

	return IS_ERR(kas) ? PTR_ERR(kas) : query(kas, arg);
}

static long as_unmap(struct file *file, void *arg)
{
	const struct gmem_unmap *u = arg;
	struct gm_kas *kas = own_kas(file);
	u64 va = u->addr, end = va + u->len, n = u->len;
	long err;

	if (IS_ERR(kas))
		return PTR_ERR(kas);
	if (u->flags & ~GMEM_UNMAP_ALL || !PAGE_ALIGNED(va | n))
		return -EINVAL;
	if (!u->flags) {
		err = check_range(kas, va, n);
		return err ? err : vm_munmap(va, n);
	}
	if (va || n)
		return -EINVAL;
	for (end = TASK_SIZE, err = 0; !err && (va = gm_as_next(kas->as, va, end, &n)) < end;
	     va += n)
		err = vm_munmap(va, n);
	return err;
}

static const struct request as_requests[] = {
	REQUEST(GMEM_MAP, gmem_map, true, as_map),
	REQUEST(GMEM_ADVISE, gmem_advise, false, as_advise),
	REQUEST(GMEM_COPY, gmem_copy, false, as_copy),
	REQUEST(GMEM_QUERY, gmem_query, false, as_query),
	REQUEST_GROWN(GMEM_STATS, gmem_stats, pages_peer, true, as_stats),
	REQUEST(GMEM_UNMAP, gmem_unmap, false, as_unmap),
};

static long as_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return carry_out(file, cmd, (void __user *)arg, as_requests, ARRAY_SIZE(as_requests));
}

static int as_release(struct inode *inode, struct file *file)
{
	gm_kas_put(file->private_data);
	return 0;
}

static const struct file_operations as_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = as_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.release = as_release,
	.llseek = noop_llseek,
};

/* -------------------------------------------------------------------------- objects */

static long object_info(struct file *file, void *arg)
{
	struct gm_object *obj = file->private_data;
	struct gmem_object_info *info = arg;

	info->flags = gm_object_flags(obj);
	info->bytes = gm_object_size(obj);
	return 0;
}

static const struct request object_requests[] = {
	REQUEST(GMEM_OBJECT_INFO, gmem_object_info, true, object_info),
};

static long object_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return carry_out(file, cmd, (void __user *)arg, object_requests,
			 ARRAY_SIZE(object_requests));
}

static int object_mmap(struct file *file, struct vm_area_struct *vma)
{
	return gm_vma_map(vma, file->private_data, NULL);
}

static int object_release(struct inode *inode, struct file *file)
{
	gm_object_put(file->private_data);
	return 0;
}

static const struct file_operations object_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = object_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = object_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.release = object_release,
	.llseek = noop_llseek,
};

/* ------------------------------------------------------------------------ /dev/gmem */

static long main_info(struct file *file, void *arg)
{
	struct gmem_info *info = arg;

	if (info->pad)
		return -EINVAL;
	info->version = 1;
	info->first_hnode = gm_os_numa_nodes();
	info->metadata = gm_metadata_bytes() + gm_os_metadata_bytes();
	info->retained = gm_retained_bytes();
	return 0;
}

static long main_as_create(struct file *file, void *arg)
{
	struct gmem_as_create *c = arg;
	struct gm_as_options opt = { .size = sizeof(opt), .cpu_granule = c->cpu_granule };
	struct gm_kas *kas;
	int err, fd;

	if (c->flags || c->pad)
		return -EINVAL;
	err = gm_kas_create(&opt, &kas);
	if (err)
		return err;
	fd = anon_inode_getfd("[gmem-as]", &as_fops, kas, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		gm_kas_put(kas);
	return fd;
}

static long main_object_create(struct file *file, void *arg)
{
	struct gmem_object_create *c = arg;
	struct gm_object *obj;
	int err, fd;

	static_assert(GMEM_OBJECT_HUGE == GM_OBJECT_HUGETLB);
	if (c->flags & ~GMEM_OBJECT_HUGE)
		return -EINVAL;
	err = gm_user_object_create(c->bytes, c->flags, &obj);
	if (err)
		return err;
	fd = anon_inode_getfd("[gmem-object]", &object_fops, obj, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		gm_object_put(obj);
	return fd;
}

static long main_hnode_info(struct file *file, void *arg)
{
	struct gmem_hnode_info *to = arg;
	struct gm_hnode_info info = { .size = sizeof(info) };
	int err = gm_hnode_info(to->hnode, &info);

	if (err)
		return err;
	to->total = info.total;
	to->free = info.free;
	to->pinned = info.pinned;
	to->blocks = info.blocks;
	to->metadata = info.metadata;
	gm_user_usage(to->hnode, info.total, &to->used, &to->limit);
	return 0;
}

/* What concerns all of the machine is root's. */
static long main_retain(struct file *file, void *arg)
{
	struct gmem_retain *r = arg;

	if (r->op > GMEM_RETAIN_TRIM)
		return -EINVAL;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (r->op == GMEM_RETAIN_LIMIT)
		gm_retain_limit(r->bytes);
	else
		r->bytes = gm_retain_trim(r->bytes);
	return 0;
}

static long main_hnode_tune(struct file *file, void *arg)
{
	const struct gmem_tune *t = arg;
	struct gm_dev_tunables to = {
		.size = sizeof(to),
		.low = t->low,
		.high = t->high,
		.granule = t->granule,
		.no_grow = t->no_grow,
		.no_background = t->no_background,
	};

	if (t->pad)
		return -EINVAL;
	return capable(CAP_SYS_ADMIN) ? gm_hnode_tune(t->hnode, &to) : -EPERM;
}

static long main_hnode_stats(struct file *file, void *arg)
{
	struct gmem_stats *to = arg;
	struct gm_stats stats = { .size = sizeof(stats) };
	char name[GM_DEV_NAME];
	int err = gm_hnode_stats(to->hnode, name, &stats);

	if (!err)
		stats_out(to, &stats);
	return err;
}

/* A library knows an address, but not whose it is. */
static long main_advise(struct file *file, void *arg)
{
	struct gm_kas *kas = gm_kas_at(((struct gmem_advise *)arg)->addr);
	long err;

	if (!kas)
		return -EFAULT;
	err = advise(kas, arg);
	gm_kas_put(kas);
	return err;
}

static long main_query(struct file *file, void *arg)
{
	struct gm_kas *kas = gm_kas_at(((struct gmem_query *)arg)->addr);
	long err;

	if (!kas)
		return -EFAULT;
	err = query(kas, arg);
	gm_kas_put(kas);
	return err;
}

static long main_copy(struct file *file, void *arg)
{
	const struct gmem_copy *c = arg;
	struct gm_kas *to = gm_kas_at(c->dst), *from = gm_kas_at(c->src);
	long err = copy(to, from, c);

	if (to)
		gm_kas_put(to);
	if (from)
		gm_kas_put(from);
	return err;
}

static const struct request main_requests[] = {
	REQUEST_GROWN(GMEM_HNODE_STATS, gmem_stats, pages_peer, true, main_hnode_stats),
	REQUEST(GMEM_RETAIN, gmem_retain, true, main_retain),
	REQUEST(GMEM_HNODE_TUNE, gmem_tune, false, main_hnode_tune),
	REQUEST(GMEM_ADVISE, gmem_advise, false, main_advise),
	REQUEST(GMEM_COPY, gmem_copy, false, main_copy),
	REQUEST(GMEM_QUERY, gmem_query, false, main_query),
	REQUEST(GMEM_INFO, gmem_info, true, main_info),
	REQUEST(GMEM_AS_CREATE, gmem_as_create, false, main_as_create),
	REQUEST(GMEM_OBJECT_CREATE, gmem_object_create, false, main_object_create),
	REQUEST_GROWN(GMEM_HNODE_INFO, gmem_hnode_info, used, true, main_hnode_info),
};

static long main_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return carry_out(file, cmd, (void __user *)arg, main_requests, ARRAY_SIZE(main_requests));
}

static const struct file_operations main_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = main_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "gmem",
	.fops = &main_fops,
	.mode = 0666,
};

int gm_chardev_init(void)
{
	return misc_register(&misc);
}

void gm_chardev_exit(void)
{
	misc_deregister(&misc);
}
