// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Objects: bytes with an identity of their own.
 *
 * An object is held by its handle and by each region that maps it. When the last of
 * them goes no pmap and no CPU mapping can reach it any more, and its frames are
 * freed, on whatever device they are.
 *
 * Locking: maps_lock over the list of regions (lock.h); the count is atomic.
 */
#include "core/core.h"

int gm_object_new(uint64_t size, uint32_t flags, bool anonymous, struct gm_object **out)
{
	struct gm_object *obj;
	int err = gm_enter();

	if (err)
		return err;
	obj = gm_pool_get(&gm_core.small);
	if (!obj)
		return -ENOMEM;
	*obj = (struct gm_object){
		.id = gm_add(&gm_core.ids, 1) + 1,
		.size = size,
		.flags = flags,
		.anonymous = anonymous,
		.refs = 1,
	};
	obj->family = anonymous ? obj->id : 0;
	err = gm_os_object_create(obj, flags);
	if (err)
		goto err_obj;
	obj->granule = gm_os_backing_granule(obj);
	gm_rwlock_init(&obj->maps_lock);
	gm_lpt_init(obj);
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE); /* not while gm_core_reap() looks */
	gm_spin_lock(&gm_core.objects_lock, GM_RANK_HNODE);
	gm_list_add_tail(&obj->all, &gm_core.objects);
	gm_core.nr_objects++;
	gm_spin_unlock(&gm_core.objects_lock, GM_RANK_HNODE);
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	*out = obj;
	return 0;

err_obj:
	gm_pool_put(&gm_core.small, obj);
	return err;
}

int gm_object_create(uint64_t size, uint32_t flags, struct gm_object **obj)
{
	uint64_t unit = flags & GM_OBJECT_HUGETLB ? GM_BLOCK_SIZE : GM_PAGE_SIZE;

	if (!obj || (flags & ~GM_OBJECT_HUGETLB) || !size || size > GM_OBJECT_MAX_SIZE ||
	    !gm_aligned(size, unit))
		return -EINVAL;
	return gm_object_new(size, flags, false, obj);
}

void gm_object_get(struct gm_object *obj)
{
	gm_add(&obj->refs, 1);
}

/* Nothing reaches the object any more: its frames on devices go, then its metadata. */
static void forget_blocks(struct gm_object *obj)
{
	uint64_t end = (obj->size + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT, index = 0;
	struct gm_block *block;

	while ((index = gm_lpt_next(obj, index, end)) < end) {
		block = gm_block_find(obj, index, false);
		gm_forget(block, 0, GM_BLOCK_PAGES);
		gm_block_free(block);
	}
}

void gm_object_put(struct gm_object *obj)
{
	if (!obj || gm_os_usable() || __atomic_sub_fetch(&obj->refs, 1, __ATOMIC_ACQ_REL))
		return;
	gm_bug_on(obj->regions);
	forget_blocks(obj);
	gm_lpt_destroy(obj);
	gm_object_unaccount(obj);
	gm_os_object_destroy(obj);
	gm_rwlock_destroy(&obj->maps_lock);
	gm_spin_lock(&gm_core.objects_lock, GM_RANK_HNODE);
	gm_list_del(&obj->all);
	gm_core.nr_objects--;
	gm_spin_unlock(&gm_core.objects_lock, GM_RANK_HNODE);
	gm_pool_put(&gm_core.small, obj);
}

void **gm_object_host(struct gm_object *obj)
{
	return &obj->host;
}

uint64_t gm_object_size(const struct gm_object *obj)
{
	return obj->size;
}

uint32_t gm_object_flags(const struct gm_object *obj)
{
	return obj->flags;
}
