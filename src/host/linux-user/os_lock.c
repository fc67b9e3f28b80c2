// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Locks, and sleeping on a word.
 *
 * All are pthread locks in the core's opaque storage, so that the sanitizers and
 * debuggers know them. A "spin" lock is an adaptive mutex: it spins while its holder
 * is about to let go, and does not burn the CPU of a holder that was preempted. A
 * reader-writer lock prefers writers, or faults that never cease would keep map and
 * unmap out for ever; hence readers must not nest.
 *
 * With inline delivery these run in a SIGBUS handler. That is safe because the
 * signal is synchronous: it interrupts an access to managed memory, and no code of
 * ours makes one (I7), so that no lock operation is ever interrupted by it.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "user.h"

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(struct gm_os_mutex), "mutex does not fit");
_Static_assert(sizeof(pthread_mutex_t) <= sizeof(struct gm_os_spin), "spinlock does not fit");
_Static_assert(sizeof(pthread_rwlock_t) <= sizeof(struct gm_os_rwlock), "rwlock does not fit");
_Static_assert(_Alignof(pthread_rwlock_t) <= _Alignof(struct gm_os_rwlock), "alignment");

#define must(call)                                                                                 \
	do {                                                                                       \
		if (__builtin_expect((call) != 0, 0))                                              \
			gm_os_bug(__FILE__, __LINE__, #call);                                      \
	} while (0)

static pthread_mutex_t *mutex_of(struct gm_os_mutex *m)
{
	return (pthread_mutex_t *)m->word;
}

static pthread_mutex_t *spin_of(struct gm_os_spin *s)
{
	return (pthread_mutex_t *)s->word;
}

static pthread_rwlock_t *rwlock_of(struct gm_os_rwlock *l)
{
	return (pthread_rwlock_t *)l->word;
}

static void init_mutex(pthread_mutex_t *m, int type)
{
	pthread_mutexattr_t attr;

	must(pthread_mutexattr_init(&attr));
	must(pthread_mutexattr_settype(&attr, type));
	must(pthread_mutex_init(m, &attr));
	pthread_mutexattr_destroy(&attr);
}

void gm_os_mutex_init(struct gm_os_mutex *m)
{
	init_mutex(mutex_of(m), PTHREAD_MUTEX_NORMAL);
}

void gm_os_mutex_destroy(struct gm_os_mutex *m)
{
	must(pthread_mutex_destroy(mutex_of(m)));
}

void gm_os_mutex_lock(struct gm_os_mutex *m)
{
	must(pthread_mutex_lock(mutex_of(m)));
}

bool gm_os_mutex_trylock(struct gm_os_mutex *m)
{
	return pthread_mutex_trylock(mutex_of(m)) == 0;
}

void gm_os_mutex_unlock(struct gm_os_mutex *m)
{
	must(pthread_mutex_unlock(mutex_of(m)));
}

void gm_os_spin_init(struct gm_os_spin *s)
{
	init_mutex(spin_of(s), PTHREAD_MUTEX_ADAPTIVE_NP);
}

void gm_os_spin_destroy(struct gm_os_spin *s)
{
	must(pthread_mutex_destroy(spin_of(s)));
}

void gm_os_spin_lock(struct gm_os_spin *s)
{
	must(pthread_mutex_lock(spin_of(s)));
}

void gm_os_spin_unlock(struct gm_os_spin *s)
{
	must(pthread_mutex_unlock(spin_of(s)));
}

void gm_os_rwlock_init(struct gm_os_rwlock *l)
{
	pthread_rwlockattr_t attr;

	must(pthread_rwlockattr_init(&attr));
	must(pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP));
	must(pthread_rwlock_init(rwlock_of(l), &attr));
	pthread_rwlockattr_destroy(&attr);
}

void gm_os_rwlock_destroy(struct gm_os_rwlock *l)
{
	must(pthread_rwlock_destroy(rwlock_of(l)));
}

void gm_os_rwlock_rdlock(struct gm_os_rwlock *l)
{
	must(pthread_rwlock_rdlock(rwlock_of(l)));
}

void gm_os_rwlock_wrlock(struct gm_os_rwlock *l)
{
	must(pthread_rwlock_wrlock(rwlock_of(l)));
}

void gm_os_rwlock_unlock(struct gm_os_rwlock *l)
{
	must(pthread_rwlock_unlock(rwlock_of(l)));
}

uint64_t *gm_os_lock_state(void)
{
	/* Initial-exec: the first use in a thread must not allocate, it may be in a handler. */
	static __thread uint64_t state __attribute__((tls_model("initial-exec")));

	return &state;
}

void gm_os_wait(uint32_t *word, uint32_t value)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
	errno = saved;
}

void gm_os_wake(uint32_t *word)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	errno = saved;
}
