// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Address spaces: their beginning and end; and the structs whose size tells their version.
 *
 * An address space is regions (region.c) and contexts (context.c) under one lock, and
 * whatever its host needs to deliver the CPU's faults. It is destroyed from the outside
 * in: hints in the background, regions, contexts, the host's delivery of faults, the lock.
 */
#include "core/async.h"

/* Hand out a struct whose first field is its size: as much as the caller has room for. */
int gm_struct_out(void *to, const void *from, size_t size)
{
	size_t room = *(size_t *)to;

	if (room < sizeof(size_t))
		return -EINVAL;
	for (size_t i = sizeof(size_t); i < room; i++)
		((unsigned char *)to)[i] = i < size ? ((const unsigned char *)from)[i] : 0;
	return 0;
}

/* Options of a size we do not know: what we know, if the rest is zero. */
int gm_options_copy(void *to, size_t size, const void *from, size_t from_size)
{
	const unsigned char *tail = (const unsigned char *)from + size;

	if (from_size < sizeof(size_t))
		return -EINVAL;
	if (from_size > GM_PAGE_SIZE)
		return -E2BIG;
	for (size_t i = size; i < from_size; i++)
		if (*tail++)
			return -E2BIG;
	for (size_t i = 0; i < size; i++)
		((unsigned char *)to)[i] = i < from_size ? ((const unsigned char *)from)[i] : 0;
	return 0;
}

static int check_options(const struct gm_as_options *from, struct gm_as_options *opt)
{
	int err = 0;

	*opt = (struct gm_as_options){ .size = sizeof(*opt) };
	if (from)
		err = gm_options_copy(opt, sizeof(*opt), from, from->size);
	if (err)
		return err;
	if (!opt->cpu_granule)
		opt->cpu_granule = 65536;
	if ((opt->flags & ~(GM_AS_INLINE | GM_AS_ADAPTIVE)) || !gm_power_of_two(opt->cpu_granule) ||
	    opt->cpu_granule < GM_PAGE_SIZE || opt->cpu_granule > GM_BLOCK_SIZE ||
	    opt->service_threads > 64)
		return -EINVAL;
	return 0;
}

int gm_as_create(const struct gm_as_options *options, struct gm_as **out)
{
	struct gm_as_options opt;
	struct gm_as *as;
	int err;

	if (!out)
		return -EINVAL;
	err = check_options(options, &opt);
	if (!err)
		err = gm_enter();
	if (err)
		return err;
	as = gm_os_alloc(sizeof(*as));
	if (!as)
		return -ENOMEM;
	gm_rwlock_init(&as->lock);
	gm_rwlock_init(&as->ctx_lock);
	as->cpu_granule = opt.cpu_granule >> GM_PAGE_SHIFT;
	as->adaptive = opt.flags & GM_AS_ADAPTIVE;
	as->id = gm_add(&gm_core.ids, 1) + 1;
	gm_list_init(&as->sweeps);
	err = gm_account_new(GM_PAYER_AS, NULL, &as->account);
	if (err)
		goto err_as;
	err = gm_os_as_create(as, &opt);
	if (err)
		goto err_account;
	*out = as;
	return 0;

err_account:
	gm_account_put(as->account);
err_as:
	gm_rwlock_destroy(&as->ctx_lock);
	gm_rwlock_destroy(&as->lock);
	gm_os_free(as, sizeof(*as));
	return err;
}

int gm_as_destroy(struct gm_as *as)
{
	int err;

	if (!as)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_sweeps_stop(as);
	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	while (as->nr_regions && !err)
		err = gm_region_unmap(as, as->regions[as->nr_regions - 1]);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	while (as->contexts && !err)
		err = gm_as_detach(as->contexts);
	if (err)
		return err;
	gm_os_as_stop(as);
	gm_os_as_destroy(as);
	gm_account_unlimit(as->account);
	gm_account_put(as->account);
	if (as->regions)
		gm_os_free(as->regions, as->max_regions * sizeof(*as->regions));
	gm_rwlock_destroy(&as->ctx_lock);
	gm_rwlock_destroy(&as->lock);
	gm_os_free(as, sizeof(*as));
	gm_core_reap();
	return 0;
}

void **gm_as_host(struct gm_as *as)
{
	return &as->host;
}
