// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Pools of equal objects: the core's only source of metadata (I7).
 *
 * Theory. Memory comes from the host in chunks and is cut into objects. A freed
 * object goes to the front of the free list; its memory goes back to the host only
 * when the whole pool is idle and its owner says so (gm_pool_reap()). A pool is
 * therefore type-stable: the memory of a freed object still holds an object of the
 * same type, constructed, perhaps in use again. Lookups lean on this: they may
 * lock a block that was freed a moment ago, see that it is no longer theirs, and
 * look again (lpt.c). The free list's link lies behind the object, never in it.
 *
 * Locking. pool->lock, a spinlock, over every operation; the host's allocator is
 * called without it.
 */
#include "core/pool.h"

#define CHUNK_SIZE 65536U
#define CHUNK_HEAD 64U

static void **link_of(const struct gm_pool *pool, void *obj)
{
	return (void **)((char *)obj + pool->size);
}

static uint32_t stride_of(const struct gm_pool *pool)
{
	return pool->size + (uint32_t)sizeof(void *);
}

static uint32_t per_chunk(const struct gm_pool *pool)
{
	return (CHUNK_SIZE - CHUNK_HEAD) / stride_of(pool);
}

static void *chunk_object(const struct gm_pool *pool, void *chunk, uint32_t i)
{
	return (char *)chunk + CHUNK_HEAD + i * stride_of(pool);
}

void gm_pool_init(struct gm_pool *pool, uint32_t size, void (*ctor)(void *), void (*dtor)(void *))
{
	gm_spin_init(&pool->lock);
	pool->size = (uint32_t)gm_round_up(size, sizeof(void *));
	pool->ctor = ctor;
	pool->dtor = dtor;
	pool->free = NULL;
	pool->chunks = NULL;
	pool->in_use = 0;
}

void gm_pool_destroy(struct gm_pool *pool)
{
	gm_bug_on(pool->in_use);
	gm_pool_reap(pool);
	gm_spin_destroy(&pool->lock);
}

static void *take_free(struct gm_pool *pool)
{
	void *obj;

	gm_spin_lock(&pool->lock, GM_RANK_POOL);
	obj = pool->free;
	if (obj) {
		pool->free = *link_of(pool, obj);
		pool->in_use++;
	}
	gm_spin_unlock(&pool->lock, GM_RANK_POOL);
	return obj;
}

static void add_chunk(struct gm_pool *pool, void *chunk)
{
	uint32_t n = per_chunk(pool);

	for (uint32_t i = 0; i < n; i++) {
		void *obj = chunk_object(pool, chunk, i);

		if (pool->ctor)
			pool->ctor(obj);
		*link_of(pool, obj) = i + 1 < n ? chunk_object(pool, chunk, i + 1) : NULL;
	}
	gm_spin_lock(&pool->lock, GM_RANK_POOL);
	*link_of(pool, chunk_object(pool, chunk, n - 1)) = pool->free;
	pool->free = chunk_object(pool, chunk, 0);
	*(void **)chunk = pool->chunks;
	pool->chunks = chunk;
	gm_spin_unlock(&pool->lock, GM_RANK_POOL);
}

/* The object is as its last user left it, or as its constructor did. */
void *gm_pool_get(struct gm_pool *pool)
{
	void *obj, *chunk;

	while (!(obj = take_free(pool))) {
		gm_lock_check_may_sleep();
		chunk = gm_os_alloc(CHUNK_SIZE);
		if (!chunk)
			return NULL;
		add_chunk(pool, chunk);
	}
	return obj;
}

void gm_pool_put(struct gm_pool *pool, void *obj)
{
	if (!obj)
		return;
	gm_spin_lock(&pool->lock, GM_RANK_POOL);
	gm_assert(pool->in_use);
	*link_of(pool, obj) = pool->free;
	pool->free = obj;
	pool->in_use--;
	gm_spin_unlock(&pool->lock, GM_RANK_POOL);
}

/* Give all memory back if no object is in use; the caller knows that nobody may look one up. */
void gm_pool_reap(struct gm_pool *pool)
{
	void *chunk = NULL;

	gm_spin_lock(&pool->lock, GM_RANK_POOL);
	if (!pool->in_use) {
		chunk = pool->chunks;
		pool->chunks = pool->free = NULL;
	}
	gm_spin_unlock(&pool->lock, GM_RANK_POOL);

	while (chunk) {
		void *next = *(void **)chunk;

		for (uint32_t i = 0; pool->dtor && i < per_chunk(pool); i++)
			pool->dtor(chunk_object(pool, chunk, i));
		gm_os_free(chunk, CHUNK_SIZE);
		chunk = next;
	}
}

uint64_t gm_pool_bytes(struct gm_pool *pool)
{
	uint64_t n;

	gm_spin_lock(&pool->lock, GM_RANK_POOL);
	n = pool->in_use * stride_of(pool);
	gm_spin_unlock(&pool->lock, GM_RANK_POOL);
	return n;
}
