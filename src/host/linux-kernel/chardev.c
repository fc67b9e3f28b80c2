// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/gmem, and how a request is carried out.
 *
 * A request's number says which it is; how long its struct is the struct says itself
 * (include/uapi/gmem.h). It is copied in whole, checked, carried out on the copy, and
 * copied back if it has results.
 */
#include <linux/capability.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "request.h"

/* ---------------------------------------------------------------------- requests */

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

long gm_carry_out(struct file *file, unsigned int cmd, void __user *user,
		  const struct gm_request *r, unsigned int n)
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

	if (c->flags & GMEM_AS_ADAPTIVE)
		opt.flags = GM_AS_ADAPTIVE;
	if ((c->flags & ~GMEM_AS_ADAPTIVE) || c->pad)
		return -EINVAL;
	err = gm_kas_create(&opt, &kas);
	if (err)
		return err;
	fd = gm_as_fd_create(kas);
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
	if (c->flags & ~(GMEM_OBJECT_HUGE | GMEM_OBJECT_WHOLE))
		return -EINVAL;
	if ((c->flags & GMEM_OBJECT_WHOLE) && PAGE_ALIGNED(c->bytes) &&
	    c->bytes <= GM_OBJECT_MAX_SIZE)
		c->bytes = gm_units_complete(c->bytes);
	err = gm_user_object_create(c->bytes, c->flags & GMEM_OBJECT_HUGE, &obj);
	if (err)
		return err;
	gm_kobject(obj)->tag = c->tag;
	fd = gm_object_fd_create(obj);
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
	to->poisoned = info.poisoned;
	to->usable = info.limit;
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
		.limit = t->limit,
		.thrash_times = t->thrash_times,
		.thrash_lapse_us = t->thrash_lapse_us,
		.thrash_hold_us = t->thrash_hold_us,
		.no_thrash = t->no_thrash,
	};

	if (t->pad)
		return -EINVAL;
	return capable(CAP_SYS_ADMIN) ? gm_hnode_tune(t->hnode, &to) : -EPERM;
}

static long policy_name(struct gmem_policy *p)
{
	struct gm_policy_info info = { .size = sizeof(info) };
	int err = gm_policy_name(p->index, &info);

	static_assert(sizeof(p->text) == sizeof(info.text));
	if (err)
		return err;
	p->kind = info.kind;
	strscpy(p->names, info.name, sizeof(p->names));
	memcpy(p->text, info.text, sizeof(p->text));
	return 0;
}

static long main_policy(struct file *file, void *arg)
{
	struct gmem_policy *p = arg;

	static_assert(sizeof(p->names) == 2 * GM_POLICY_NAME);
	if (p->pad || p->op > GMEM_POLICY_NAME || p->names[sizeof(p->names) - 1] ||
	    (p->op == GMEM_POLICY_NAME ? p->hnode : p->index))
		return -EINVAL;
	if (p->op == GMEM_POLICY_NAME)
		return policy_name(p);
	if (p->op == GMEM_POLICY_GET)
		return gm_hnode_policy(p->hnode, p->names, sizeof(p->names));
	return capable(CAP_SYS_ADMIN) ? gm_hnode_set_policy(p->hnode, p->names) : -EPERM;
}

static long main_hnode_stats(struct file *file, void *arg)
{
	struct gmem_stats *to = arg;
	struct gm_stats stats = { .size = sizeof(stats) };
	char name[GM_DEV_NAME];
	int err = gm_hnode_stats(to->hnode, name, &stats);

	if (!err)
		gm_stats_out(to, &stats);
	return err;
}

/* A library knows an address, but not whose it is. */
static long main_advise(struct file *file, void *arg)
{
	struct gm_kas *kas = gm_kas_at(((struct gmem_advise *)arg)->addr);
	long err;

	if (!kas)
		return -EFAULT;
	err = gm_kas_advise(kas, arg);
	gm_kas_put(kas);
	return err;
}

static long main_job_start(struct file *file, void *arg)
{
	return gm_kas_job_start(NULL, arg);
}

static long main_query(struct file *file, void *arg)
{
	struct gm_kas *kas = gm_kas_at(((struct gmem_query *)arg)->addr);
	long err;

	if (!kas)
		return -EFAULT;
	err = gm_kas_query(kas, arg);
	gm_kas_put(kas);
	return err;
}

static long main_attr(struct file *file, void *arg)
{
	struct gm_kas *kas = gm_kas_at(((struct gmem_attr *)arg)->addr);
	long err;

	if (!kas)
		return -EFAULT;
	err = gm_kas_attr(kas, arg);
	gm_kas_put(kas);
	return err;
}

static long main_copy(struct file *file, void *arg)
{
	const struct gmem_copy *c = arg;
	struct gm_kas *to = gm_kas_at(c->dst), *from = gm_kas_at(c->src);
	long err = gm_kas_copy(to, from, c);

	if (to)
		gm_kas_put(to);
	if (from)
		gm_kas_put(from);
	return err;
}

static const struct gm_request main_requests[] = {
	REQUEST_GROWN(GMEM_HNODE_STATS, gmem_stats, pages_peer, true, main_hnode_stats),
	REQUEST(GMEM_POLICY, gmem_policy, true, main_policy),
	REQUEST(GMEM_RETAIN, gmem_retain, true, main_retain),
	REQUEST_GROWN(GMEM_HNODE_TUNE, gmem_tune, limit, false, main_hnode_tune),
	REQUEST(GMEM_EVENTS, gmem_events, false, gm_events_fd_create),
	REQUEST(GMEM_ADVISE, gmem_advise, false, main_advise),
	REQUEST(GMEM_JOB_START, gmem_job_start, false, main_job_start),
	REQUEST(GMEM_COPY, gmem_copy, false, main_copy),
	REQUEST(GMEM_QUERY, gmem_query, false, main_query),
	REQUEST(GMEM_ATTR, gmem_attr, true, main_attr),
	REQUEST(GMEM_INFO, gmem_info, true, main_info),
	REQUEST(GMEM_AS_CREATE, gmem_as_create, false, main_as_create),
	REQUEST_GROWN(GMEM_OBJECT_CREATE, gmem_object_create, tag, false, main_object_create),
	REQUEST_GROWN(GMEM_HNODE_INFO, gmem_hnode_info, used, true, main_hnode_info),
};

static long main_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return gm_carry_out(file, cmd, (void __user *)arg, main_requests,
			    ARRAY_SIZE(main_requests));
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
