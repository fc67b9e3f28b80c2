/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef GM_CORE_POOL_H
#define GM_CORE_POOL_H

#include "core/lock.h"

struct gm_pool {
	struct gm_spin lock;
	uint32_t size;		 /* of an object (c) */
	void (*ctor)(void *obj); /* once, when its memory is new (c) */
	void (*dtor)(void *obj); /* once, before its memory goes (c) */
	void *free;		 /* free objects, linked by a trailing word [lock] */
	void *chunks;		 /* all memory, linked by the first word [lock] */
	uint64_t in_use;	 /* objects [lock] */
};

void gm_pool_init(struct gm_pool *pool, uint32_t size, void (*ctor)(void *), void (*dtor)(void *));
void gm_pool_destroy(struct gm_pool *pool);
void *gm_pool_get(struct gm_pool *pool); /* NULL: no memory */
void gm_pool_put(struct gm_pool *pool, void *obj);
void gm_pool_reap(struct gm_pool *pool);
uint64_t gm_pool_bytes(struct gm_pool *pool);

#endif
