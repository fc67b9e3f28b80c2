/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The lock order, and what each lock protects.
 *
 * A thread takes locks in the order of this enum, one of a kind at a time, and
 * debug builds check it. docs/locking.md tells the same with the reasons.
 */
#ifndef GM_CORE_LOCK_H
#define GM_CORE_LOCK_H

#include "core/util.h"

enum gm_lock_rank {
	/*
	 * gm_core.lock (mutex): the list of devices and the table of hnodes, their
	 * registered ranges. Held over the eviction of a whole device.
	 */
	GM_RANK_CORE = 1,
	/*
	 * gm_as.lock (rwlock): the address space's regions and contexts. Read by
	 * faults and hints for as long as they last, so that nothing they have
	 * looked up goes away; written by map, unmap, protect, attach, detach.
	 * Sleeping, copying and calling a driver are allowed.
	 */
	GM_RANK_AS,
	/*
	 * gm_block.lock (mutex): where the pages of a 2 MiB block of an object are, in
	 * whose page tables they are mapped, and the block's existence. Held over
	 * copies, invalidations and calls of a driver. Eviction takes it by trylock
	 * while it holds GM_RANK_HNODE, hence never waits against the order.
	 */
	GM_RANK_BLOCK,
	/*
	 * gm_object.maps_lock (rwlock): the list of an object's regions, of all address
	 * spaces. Read while pages are unmapped from them (CPU and pmaps), written
	 * when a region comes or goes. Sleeping is allowed.
	 */
	GM_RANK_MAPS,
	/*
	 * gm_as.ctx_lock (rwlock): the address space's contexts, for those who come
	 * from a block and do not hold gm_as.lock. Written by attach and detach, who
	 * hold gm_as.lock for writing too. Sleeping is allowed.
	 */
	GM_RANK_CTX,
	/*
	 * gm_spans.lock (mutex): which leaves larger than a block a context has. The
	 * driver is called under it, to put one in the place of others, or others in its.
	 */
	GM_RANK_SPAN,
	/*
	 * gm_policies.lock (spin): which policies a device has, what they remember. All
	 * functions of theirs are called under it, but start and stop.
	 */
	GM_RANK_POLICY,
	/*
	 * gm_hnode.lock (spin): free frames, the recency lists and the residents on
	 * them, what accounts are charged. No sleeping, copying or calling a driver (I6).
	 */
	GM_RANK_HNODE,
	/* gm_pool.lock (spin): a pool's free list. */
	GM_RANK_POOL,
	GM_NR_RANKS,
};

struct gm_mutex {
	struct gm_os_mutex os;
};

struct gm_spin {
	struct gm_os_spin os;
};

struct gm_rwlock {
	struct gm_os_rwlock os;
};

#ifdef GM_DEBUG
void gm_lock_check_take(enum gm_lock_rank rank, bool waits);
void gm_lock_check_drop(enum gm_lock_rank rank);
void gm_lock_check_may_sleep(void);
void gm_lock_check_none(void);
#else
static inline void gm_lock_check_take(enum gm_lock_rank rank, bool waits)
{
	(void)rank;
	(void)waits;
}
static inline void gm_lock_check_drop(enum gm_lock_rank rank)
{
	(void)rank;
}
static inline void gm_lock_check_may_sleep(void)
{
}
static inline void gm_lock_check_none(void)
{
}
#endif

static inline void gm_mutex_init(struct gm_mutex *m)
{
	gm_os_mutex_init(&m->os);
}

static inline void gm_mutex_destroy(struct gm_mutex *m)
{
	gm_os_mutex_destroy(&m->os);
}

static inline void gm_mutex_lock(struct gm_mutex *m, enum gm_lock_rank rank)
{
	gm_lock_check_take(rank, true);
	gm_os_mutex_lock(&m->os);
}

static inline bool gm_mutex_trylock(struct gm_mutex *m, enum gm_lock_rank rank)
{
	if (!gm_os_mutex_trylock(&m->os))
		return false;
	gm_lock_check_take(rank, false);
	return true;
}

static inline void gm_mutex_unlock(struct gm_mutex *m, enum gm_lock_rank rank)
{
	gm_lock_check_drop(rank);
	gm_os_mutex_unlock(&m->os);
}

static inline void gm_spin_init(struct gm_spin *s)
{
	gm_os_spin_init(&s->os);
}

static inline void gm_spin_destroy(struct gm_spin *s)
{
	gm_os_spin_destroy(&s->os);
}

static inline void gm_spin_lock(struct gm_spin *s, enum gm_lock_rank rank)
{
	gm_lock_check_take(rank, true);
	gm_os_spin_lock(&s->os);
}

static inline void gm_spin_unlock(struct gm_spin *s, enum gm_lock_rank rank)
{
	gm_lock_check_drop(rank);
	gm_os_spin_unlock(&s->os);
}

static inline void gm_rwlock_init(struct gm_rwlock *l)
{
	gm_os_rwlock_init(&l->os);
}

static inline void gm_rwlock_destroy(struct gm_rwlock *l)
{
	gm_os_rwlock_destroy(&l->os);
}

static inline void gm_rwlock_rdlock(struct gm_rwlock *l, enum gm_lock_rank rank)
{
	gm_lock_check_take(rank, true);
	gm_os_rwlock_rdlock(&l->os);
}

static inline void gm_rwlock_wrlock(struct gm_rwlock *l, enum gm_lock_rank rank)
{
	gm_lock_check_take(rank, true);
	gm_os_rwlock_wrlock(&l->os);
}

static inline void gm_rwlock_unlock(struct gm_rwlock *l, enum gm_lock_rank rank)
{
	gm_lock_check_drop(rank);
	gm_os_rwlock_unlock(&l->os);
}

#endif
