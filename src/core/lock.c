// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The check of the lock order, in debug builds.
 *
 * Each thread has a word in which four bits a rank count the locks of that rank
 * it holds. Waiting for a lock is right if the thread holds none of the same rank
 * or a later one. A trylock never waits, so it may be taken in any order.
 */
#include "core/lock.h"

#ifdef GM_DEBUG

#define RANK_BITS 4

static uint64_t rank_one(enum gm_lock_rank rank)
{
	return 1ULL << (RANK_BITS * (unsigned int)rank);
}

void gm_lock_check_take(enum gm_lock_rank rank, bool waits)
{
	uint64_t *held = gm_os_lock_state();

	if (!held)
		return;
	if (waits)
		gm_bug_on(*held >= rank_one(rank)); /* lock order: see enum gm_lock_rank */
	*held += rank_one(rank);
}

void gm_lock_check_drop(enum gm_lock_rank rank)
{
	uint64_t *held = gm_os_lock_state();

	if (!held)
		return;
	gm_bug_on(!((*held >> (RANK_BITS * (unsigned int)rank)) & 15)); /* not held */
	*held -= rank_one(rank);
}

/* I6: nothing sleeps, copies or calls a driver under a spinlock. */
void gm_lock_check_may_sleep(void)
{
	uint64_t *held = gm_os_lock_state();

	gm_bug_on(held && *held >= rank_one(GM_RANK_HNODE));
}

/* Entry from outside: a fault, a call of the application's. */
void gm_lock_check_none(void)
{
	uint64_t *held = gm_os_lock_state();

	gm_bug_on(held && *held);
}

#endif
