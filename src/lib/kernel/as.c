// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Address spaces of the kernel host: a descriptor each.
 *
 * Devices are attached by requests of their own drivers, of which this library knows
 * nothing. Whoever made one leaves a hook, and detaches when the address space goes.
 *
 * Locking: a hook comes or goes under as->lock. It is called without: it is the end of the
 * address space, and nobody else uses it any more.
 */
#include <stdlib.h>
#include <unistd.h>

#include "kernel.h"

int gm_as_request(struct gm_as *as, unsigned long cmd, void *arg)
{
	int ret = gm_request(as->fd, cmd, arg);

	if (ret == -EPERM)
		gm_set_detail(ret,
			      "an address space belongs to the process that made it: it is not "
			      "inherited over fork(), nor passed on with its descriptor");
	return ret;
}

int gm_k_as_create(const struct gm_as_options *from, struct gm_as **out)
{
	struct gm_as_options opt = { .size = sizeof(opt) };
	struct gmem_as_create c = { .size = sizeof(c) };
	struct gm_as *as;
	int err = 0;

	if (!out)
		return -EINVAL;
	if (from)
		err = gm_options_copy(&opt, sizeof(opt), from, from->size);
	if (err)
		return err;
	/* How faults are delivered is the kernel's affair; what makes no sense is an error still. */
	if ((opt.flags & ~(GM_AS_INLINE | GM_AS_ADAPTIVE)) || opt.service_threads > 64)
		return -EINVAL;
	as = calloc(1, sizeof(*as));
	if (!as)
		return -ENOMEM;
	c.cpu_granule = opt.cpu_granule;
	c.flags = opt.flags & GM_AS_ADAPTIVE ? GMEM_AS_ADAPTIVE : 0;
	as->fd = gm_request(gm_kernel_fd, GMEM_AS_CREATE, &c);
	if (as->fd < 0) {
		err = as->fd;
		free(as);
		return err;
	}
	pthread_mutex_init(&as->lock, NULL);
	*out = as;
	return 0;
}

/* Mappings first, as the core does it: devices then have nothing to bring home. */
int gm_k_as_destroy(struct gm_as *as)
{
	struct gmem_unmap u = { .size = sizeof(u), .flags = GMEM_UNMAP_ALL };
	struct gm_hook *hook;
	int err;

	if (!as)
		return -EINVAL;
	err = gm_as_request(as, GMEM_UNMAP, &u);
	while (!err && (hook = as->hooks)) {
		err = hook->fn(hook->data);
		if (!err) {
			as->hooks = hook->next;
			free(hook);
		}
	}
	if (err)
		return err;
	close(as->fd);
	pthread_mutex_destroy(&as->lock);
	free(as);
	return 0;
}

int gm_k_as_fd(struct gm_as *as)
{
	return as ? as->fd : -EINVAL;
}

static void hook_forget(struct gm_as *as, const void *data)
{
	struct gm_hook **link = &as->hooks, *hook;

	pthread_mutex_lock(&as->lock);
	while (*link && (*link)->data != data)
		link = &(*link)->next;
	hook = *link;
	if (hook)
		*link = hook->next;
	pthread_mutex_unlock(&as->lock);
	free(hook);
}

int gm_k_as_on_destroy(struct gm_as *as, int (*fn)(void *data), void *data)
{
	struct gm_hook *hook;

	if (!as)
		return -EINVAL;
	if (!fn) {
		hook_forget(as, data);
		return 0;
	}
	hook = malloc(sizeof(*hook));
	if (!hook)
		return -ENOMEM;
	*hook = (struct gm_hook){ .fn = fn, .data = data };
	pthread_mutex_lock(&as->lock);
	hook->next = as->hooks;
	as->hooks = hook;
	pthread_mutex_unlock(&as->lock);
	return 0;
}

int gm_k_as_attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode, struct gm_context **ctx)
{
	if (!as || !dev || !ctx || (unsigned int)mode > GM_SHARE)
		return -EINVAL;
	return gm_k_no_driver(-EOPNOTSUPP);
}

int gm_k_as_detach(struct gm_context *ctx)
{
	return ctx ? gm_k_no_driver(-EOPNOTSUPP) : -EINVAL;
}

int gm_k_as_limit(struct gm_as *as, int hnode, uint64_t bytes)
{
	struct gmem_limit l = { .size = sizeof(l), .hnode = hnode, .bytes = bytes };

	return as ? gm_as_request(as, GMEM_LIMIT, &l) : -EINVAL;
}
