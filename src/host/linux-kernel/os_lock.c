// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core's locks are the kernel's own.
 *
 * lockdep tells locks apart by where they are initialised, which for these is here and
 * nowhere else. So each caller of an init function gets a class of its own; the core
 * initialises each kind of lock in one place.
 */
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>

#include "kernel.h"

static_assert(sizeof(struct mutex) <= sizeof(struct gm_os_mutex));
static_assert(sizeof(spinlock_t) <= sizeof(struct gm_os_spin));
/* The core unlocks without saying which way it had locked. */
struct gm_rwsem {
	struct rw_semaphore sem;
	bool written; /* a writer holds it; no reader does then */
};
static_assert(sizeof(struct gm_rwsem) <= sizeof(struct gm_os_rwlock));

#define MUTEX(m) ((struct mutex *)(m)->word)
#define SPIN(s) ((spinlock_t *)(s)->word)
#define RWSEM(l) ((struct gm_rwsem *)(l)->word)

#ifdef CONFIG_LOCKDEP
static struct {
	unsigned long caller;
	struct lock_class_key key;
} classes[32];
static DEFINE_SPINLOCK(classes_lock);

static struct lock_class_key *class_of(unsigned long caller)
{
	unsigned int i;

	spin_lock(&classes_lock);
	for (i = 0; i < ARRAY_SIZE(classes) - 1; i++)
		if (!classes[i].caller || classes[i].caller == caller)
			break;
	classes[i].caller = caller;
	spin_unlock(&classes_lock);
	return &classes[i].key;
}
#define set_class(lock, name)                                                                      \
	lockdep_set_class_and_name(lock, class_of((unsigned long)__builtin_return_address(0)), name)
#else
#define set_class(lock, name)                                                                      \
	do {                                                                                       \
	} while (0)
#endif

void gm_os_mutex_init(struct gm_os_mutex *m)
{
	mutex_init(MUTEX(m));
	set_class(MUTEX(m), "gmem mutex");
}

void gm_os_mutex_destroy(struct gm_os_mutex *m)
{
	mutex_destroy(MUTEX(m));
}

void gm_os_mutex_lock(struct gm_os_mutex *m)
{
	mutex_lock(MUTEX(m));
}

bool gm_os_mutex_trylock(struct gm_os_mutex *m)
{
	return mutex_trylock(MUTEX(m));
}

void gm_os_mutex_unlock(struct gm_os_mutex *m)
{
	mutex_unlock(MUTEX(m));
}

void gm_os_spin_init(struct gm_os_spin *s)
{
	spin_lock_init(SPIN(s));
	set_class(SPIN(s), "gmem spinlock");
}

void gm_os_spin_destroy(struct gm_os_spin *s)
{
}

void gm_os_spin_lock(struct gm_os_spin *s)
{
	spin_lock(SPIN(s));
}

void gm_os_spin_unlock(struct gm_os_spin *s)
{
	spin_unlock(SPIN(s));
}

void gm_os_rwlock_init(struct gm_os_rwlock *l)
{
	init_rwsem(&RWSEM(l)->sem);
	set_class(&RWSEM(l)->sem, "gmem rwsem");
	RWSEM(l)->written = false;
}

void gm_os_rwlock_destroy(struct gm_os_rwlock *l)
{
}

void gm_os_rwlock_rdlock(struct gm_os_rwlock *l)
{
	down_read(&RWSEM(l)->sem);
}

void gm_os_rwlock_wrlock(struct gm_os_rwlock *l)
{
	down_write(&RWSEM(l)->sem);
	RWSEM(l)->written = true;
}

void gm_os_rwlock_unlock(struct gm_os_rwlock *l)
{
	if (RWSEM(l)->written) {
		RWSEM(l)->written = false;
		up_write(&RWSEM(l)->sem);
	} else {
		up_read(&RWSEM(l)->sem);
	}
}

uint64_t *gm_os_lock_state(void)
{
	return NULL; /* lockdep's affair */
}
