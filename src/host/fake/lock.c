// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Locks with checks.
 *
 * The core's storage holds a pointer to the real lock, which lies on the heap, and a
 * mark made of its own address: a lock that was never made, that was destroyed, or
 * that was copied, is found at its next use, and one that is never destroyed is a
 * leak. Each thread lists what it holds, so that it is a bug, and no hang, to take a
 * lock twice, to release one that is not held, or to sleep under a spinlock (I6).
 *
 * What is held is known to the thread alone: nothing here is shared but the locks
 * themselves, which are pthread's, so the thread sanitizer sees the core's own order
 * and no other. A spinlock is a mutex: tests have more threads than processors.
 */
#include <stdio.h>
#include <stdlib.h>

#include "host/fake/internal.h"

#define MARK 0x6b636f6c2d6d67ULL
#define MAX_HELD 64

struct fake_lock {
	union {
		pthread_mutex_t mutex;
		pthread_rwlock_t rwlock;
	};
};

struct held {
	const void *lock;
	bool spin;
};

static __thread struct held held[MAX_HELD];
static __thread unsigned int nr_held, nr_spins;
static __thread uint64_t lock_state;

uint64_t *gm_os_lock_state(void)
{
	return &lock_state;
}

void fake_check_may_sleep(const char *where)
{
	if (nr_spins)
		gm_os_bug(__FILE__, __LINE__, where); /* under a spinlock */
}

void fake_check_no_lock(const char *where)
{
	if (nr_held)
		gm_os_bug(__FILE__, __LINE__, where); /* a lock is held that should not be */
}

static struct fake_lock *lock_make(uint64_t *word)
{
	struct fake_lock *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	word[0] = MARK ^ (uintptr_t)word;
	word[1] = (uintptr_t)l;
	fake_add(locks, 1);
	return l;
}

static struct fake_lock *lock_of(const uint64_t *word)
{
	if (word[0] != (MARK ^ (uintptr_t)word))
		fake_bug("a lock that was not initialised");
	return (struct fake_lock *)(uintptr_t)word[1];
}

static struct fake_lock *lock_of_idle(const uint64_t *word)
{
	for (unsigned int i = 0; i < nr_held; i++)
		if (held[i].lock == word)
			fake_bug("a lock destroyed while it is held");
	return lock_of(word);
}

static void lock_unmake(uint64_t *word)
{
	free(lock_of(word));
	word[0] = word[1] = 0;
	fake_sub(locks, 1);
}

static void check_not_held(const void *lock)
{
	for (unsigned int i = 0; i < nr_held; i++)
		if (held[i].lock == lock)
			fake_bug("a lock taken twice by one thread");
}

unsigned int gm_fake_locks_held(void)
{
	return nr_held;
}

static void tell(enum gm_fake_event event)
{
	if (fake_opt.on_lock)
		fake_opt.on_lock(event, fake_opt.on_lock_arg);
}

static void tell_of_last(void)
{
	if (!nr_held)
		tell(GM_FAKE_LET_GO);
}

static void hold(const void *lock, bool spin)
{
	fake_add(lock_calls, 1);
	if (nr_held == MAX_HELD)
		fake_bug("more locks held than any sound program holds");
	held[nr_held++] = (struct held){ .lock = lock, .spin = spin };
	nr_spins += spin;
}

static void drop(const void *lock)
{
	fake_add(lock_calls, 1);
	for (unsigned int i = nr_held; i-- > 0;) {
		if (held[i].lock != lock)
			continue;
		nr_spins -= held[i].spin;
		held[i] = held[--nr_held];
		return;
	}
	fake_bug("a lock released by a thread that does not hold it");
}

/* -------------------------------------------------------------------- mutex */

void gm_os_mutex_init(struct gm_os_mutex *m)
{
	pthread_mutex_init(&lock_make(m->word)->mutex, NULL);
}

void gm_os_mutex_destroy(struct gm_os_mutex *m)
{
	pthread_mutex_destroy(&lock_of_idle(m->word)->mutex);
	lock_unmake(m->word);
}

void gm_os_mutex_lock(struct gm_os_mutex *m)
{
	struct fake_lock *l = lock_of(m->word);

	fake_check_may_sleep("mutex_lock");
	check_not_held(m);
	pthread_mutex_lock(&l->mutex);
	hold(m, false);
}

bool gm_os_mutex_trylock(struct gm_os_mutex *m)
{
	struct fake_lock *l = lock_of(m->word);

	/* One's own lock may be tried; unlike the other calls this one tells. */
	if (fake_fail(GM_FAKE_TRYLOCK) || pthread_mutex_trylock(&l->mutex)) {
		fake_add(lock_calls, 1);
		return false;
	}
	hold(m, false);
	if (nr_spins)
		tell(GM_FAKE_PICKED);
	return true;
}

void gm_os_mutex_unlock(struct gm_os_mutex *m)
{
	struct fake_lock *l = lock_of(m->word);

	drop(m);
	pthread_mutex_unlock(&l->mutex);
	if (!nr_spins)
		tell(GM_FAKE_UNLOCKED);
	tell_of_last();
}

/* --------------------------------------------------------------------- spin */

void gm_os_spin_init(struct gm_os_spin *s)
{
	pthread_mutex_init(&lock_make(s->word)->mutex, NULL);
}

void gm_os_spin_destroy(struct gm_os_spin *s)
{
	pthread_mutex_destroy(&lock_of_idle(s->word)->mutex);
	lock_unmake(s->word);
}

void gm_os_spin_lock(struct gm_os_spin *s)
{
	struct fake_lock *l = lock_of(s->word);

	check_not_held(s);
	pthread_mutex_lock(&l->mutex);
	hold(s, true);
}

void gm_os_spin_unlock(struct gm_os_spin *s)
{
	struct fake_lock *l = lock_of(s->word);

	drop(s);
	pthread_mutex_unlock(&l->mutex);
	if (!nr_spins)
		tell(GM_FAKE_SPUN);
	tell_of_last();
}

/* ------------------------------------------------------------------- rwlock */

void gm_os_rwlock_init(struct gm_os_rwlock *l)
{
	pthread_rwlock_init(&lock_make(l->word)->rwlock, NULL);
}

void gm_os_rwlock_destroy(struct gm_os_rwlock *l)
{
	pthread_rwlock_destroy(&lock_of_idle(l->word)->rwlock);
	lock_unmake(l->word);
}

void gm_os_rwlock_rdlock(struct gm_os_rwlock *l)
{
	struct fake_lock *real = lock_of(l->word);

	fake_check_may_sleep("rwlock_rdlock");
	check_not_held(l); /* readers must not nest: a writer between them would wait for ever */
	pthread_rwlock_rdlock(&real->rwlock);
	hold(l, false);
}

void gm_os_rwlock_wrlock(struct gm_os_rwlock *l)
{
	struct fake_lock *real = lock_of(l->word);

	fake_check_may_sleep("rwlock_wrlock");
	check_not_held(l);
	pthread_rwlock_wrlock(&real->rwlock);
	hold(l, false);
}

void gm_os_rwlock_unlock(struct gm_os_rwlock *l)
{
	struct fake_lock *real = lock_of(l->word);

	drop(l);
	pthread_rwlock_unlock(&real->rwlock);
	tell_of_last();
}
