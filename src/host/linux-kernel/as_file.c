// SPDX-License-Identifier: GPL-2.0-only
/*
 * The descriptor of an address space.
 *
 * Nothing is done by it for a process that the address space does not belong to, whoever
 * passed the descriptor on. Long requests are carried out in pieces, between which a kill
 * is noticed.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "request.h"

#define PIECE (1ULL << 30)

static struct gm_kas *own_kas(struct file *file)
{
	struct gm_kas *kas = file->private_data;

	return kas->mm == current->mm ? kas : ERR_PTR(-EPERM);
}

struct view {
	struct gm_object *obj;
	struct gm_kas *kas;
	u64 va; /* where mmap() has tried it */
};

static int view_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct view *view = file->private_data;

	view->va = vma->vm_start;
	return gm_vma_map(vma, view->obj, view->kas);
}

static const struct file_operations view_fops = {
	.owner = THIS_MODULE,
	.mmap = view_mmap,
	.get_unmapped_area = gm_unmapped_area,
};

#define ADDRESS_TRIES 10

/*
 * Anywhere. A device may use addresses itself (EADDRINUSE): then others are tried, further and
 * further below those that it has refused first.
 */
static unsigned long map_anywhere(struct file *file, struct gmem_map *m, unsigned long prot)
{
	const struct view *view = file->private_data;
	unsigned long va = vm_mmap(file, 0, m->len, prot, MAP_SHARED, m->offset);
	u64 first = view->va, step = m->len + PMD_SIZE;
	unsigned int tries;

	for (tries = 1; va == -EADDRINUSE && tries < ADDRESS_TRIES && first > step * tries; tries++)
		va = vm_mmap(file, (first - step * tries) & PMD_MASK, m->len, prot, MAP_SHARED,
			     m->offset);
	return va;
}

/* A file that lives for this call only tells mmap() which address space is meant. */
static long map_object(struct gm_kas *kas, struct gm_object *obj, struct gmem_map *m)
{
	struct view view = { .obj = obj, .kas = kas };
	struct file *file = anon_inode_getfile("[gmem]", &view_fops, &view, O_RDWR);
	unsigned long prot, va;

	if (IS_ERR(file))
		return PTR_ERR(file);
	prot = PROT_READ | (m->prot & GMEM_PROT_WRITE ? PROT_WRITE : 0);
	if (m->flags & GMEM_MAP_FIXED)
		va = vm_mmap(file, m->addr, m->len, prot, MAP_SHARED | MAP_FIXED_NOREPLACE,
			     m->offset);
	else
		va = map_anywhere(file, m, prot);
	fput(file);
	if (IS_ERR_VALUE(va))
		return (long)va;
	m->addr = va;
	return 0;
}

/* What may complete a mapping that ends at @end of the object. */
static u64 spare_of(struct gm_object *obj, u64 end)
{
	u64 size = gm_object_size(obj);

	return end < size && size - end < GM_BLOCK_SIZE ? size - end : 0;
}

static long as_map(struct file *file, void *arg)
{
	struct gmem_map *m = arg;
	struct gm_kas *kas = own_kas(file);
	struct gm_object *obj;
	struct fd f;
	u64 spare = 0;
	long err;

	if (IS_ERR(kas))
		return PTR_ERR(kas);
	if ((m->flags & ~(GMEM_MAP_FIXED | GMEM_MAP_WHOLE)) ||
	    (m->prot & ~(GMEM_PROT_READ | GMEM_PROT_WRITE)) || !(m->prot & GMEM_PROT_READ) ||
	    !m->len || !PAGE_ALIGNED(m->len | m->offset | m->addr) ||
	    !(m->flags & GMEM_MAP_FIXED) != !m->addr)
		return -EINVAL;
	f = fdget(m->fd);
	if (!f.file)
		return -EBADF;
	obj = gm_object_of_file(f.file);
	if (obj && (m->flags & GMEM_MAP_WHOLE))
		spare = spare_of(obj, m->offset + m->len);
	m->len += spare;
	err = obj ? map_object(kas, obj, m) : -EBADF;
	if (!err && spare)
		gm_as_set_spare(kas->as, m->addr + m->len, spare);
	m->len -= spare;
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

long gm_kas_advise(struct gm_kas *kas, struct gmem_advise *a)
{
	u64 va = a->addr, left = a->len;
	/* What goes to a device is bounded by it, and told apart as a whole; what stays is all or nothing. */
	bool whole = a->advice == GMEM_PREFETCH || a->advice == GMEM_PIN ||
		     a->advice >= GMEM_READ_MOSTLY || left <= PIECE;
	int err = 0;

	if (a->pad || a->advice > GMEM_UNSET_ACCESSED_BY || !left)
		return -EINVAL;
	if (!whole)
		err = check_range(kas, va, left);
	if (a->advice == GMEM_READ_MOSTLY)
		err = gm_vma_tell_writes(kas, va, left);
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
long gm_kas_copy(struct gm_kas *to, struct gm_kas *from, const struct gmem_copy *c)
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

long gm_kas_query(struct gm_kas *kas, const struct gmem_query *q)
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

long gm_kas_attr(struct gm_kas *kas, struct gmem_attr *a)
{
	struct gm_attr now = { .size = sizeof(now) };
	int err = gm_as_attr(kas->as, a->addr, a->len, &now);

	static_assert(GMEM_ATTR_READ_MOSTLY == GM_ATTR_READ_MOSTLY);
	if (err)
		return err;
	a->flags = now.flags;
	a->len = now.len;
	a->preferred = now.preferred;
	a->first_node = now.first_node;
	a->accessed_by = now.accessed_by;
	return 0;
}

void gm_stats_out(struct gmem_stats *to, const struct gm_stats *stats)
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
	gm_stats_out(arg, &stats);
	return 0;
}

static long as_advise(struct file *file, void *arg)
{
	struct gm_kas *kas = own_kas(file);

	return IS_ERR(kas) ? PTR_ERR(kas) : gm_kas_advise(kas, arg);
}

static long as_job_start(struct file *file, void *arg)
{
	struct gm_kas *kas = own_kas(file);

	return IS_ERR(kas) ? PTR_ERR(kas) : gm_kas_job_start(kas, arg);
}

static long as_copy(struct file *file, void *arg)
{
	struct gm_kas *kas = own_kas(file);

	return IS_ERR(kas) ? PTR_ERR(kas) : gm_kas_copy(kas, kas, arg);
}

static long as_query(struct file *file, void *arg)
{
	struct gm_kas *kas = own_kas(file);

	return IS_ERR(kas) ? PTR_ERR(kas) : gm_kas_query(kas, arg);
}

static long as_attr(struct file *file, void *arg)
{
	struct gm_kas *kas = own_kas(file);

	return IS_ERR(kas) ? PTR_ERR(kas) : gm_kas_attr(kas, arg);
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
		return err ? err : vm_munmap(va, n + gm_as_spare(kas->as, va + n));
	}
	if (va || n)
		return -EINVAL;
	for (end = TASK_SIZE, err = 0; !err && (va = gm_as_next(kas->as, va, end, &n)) < end;
	     va += n)
		err = vm_munmap(va, n);
	return err;
}

static long as_mapping(struct file *file, void *arg)
{
	struct gm_kas *kas = own_kas(file);

	return IS_ERR(kas) ? PTR_ERR(kas) : gm_kas_mapping(kas, arg);
}

static long as_limit(struct file *file, void *arg)
{
	const struct gmem_limit *l = arg;
	struct gm_kas *kas = own_kas(file);

	return IS_ERR(kas) ? PTR_ERR(kas) : gm_as_limit(kas->as, l->hnode, l->bytes);
}

static const struct gm_request as_requests[] = {
	REQUEST(GMEM_MAPPING, gmem_mapping, true, as_mapping),
	REQUEST(GMEM_LIMIT, gmem_limit, false, as_limit),
	REQUEST(GMEM_MAP, gmem_map, true, as_map),
	REQUEST(GMEM_ADVISE, gmem_advise, false, as_advise),
	REQUEST(GMEM_JOB_START, gmem_job_start, false, as_job_start),
	REQUEST(GMEM_COPY, gmem_copy, false, as_copy),
	REQUEST(GMEM_QUERY, gmem_query, false, as_query),
	REQUEST(GMEM_ATTR, gmem_attr, true, as_attr),
	REQUEST_GROWN(GMEM_STATS, gmem_stats, pages_peer, true, as_stats),
	REQUEST(GMEM_UNMAP, gmem_unmap, false, as_unmap),
};

static long as_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return gm_carry_out(file, cmd, (void __user *)arg, as_requests, ARRAY_SIZE(as_requests));
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

struct gm_kas *gm_kas_of_file(struct file *file)
{
	return file->f_op == &as_fops ? file->private_data : NULL;
}

/* The descriptor holds the address space from now on, if there is one. */
int gm_as_fd_create(struct gm_kas *kas)
{
	return anon_inode_getfd("[gmem-as]", &as_fops, kas, O_RDWR | O_CLOEXEC);
}
