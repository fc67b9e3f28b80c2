// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory, locks, time and deferred work of the replay host.
 *
 * There is one thread. So a lock is a count, which a trylock looks at and which finds a
 * deadlock; to wait is to run what work is scheduled, and a bug if that does not help. Work is
 * run between two operations of the trace, never inside the core, and in the order in which it
 * was scheduled: a run is the same every time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host/replay/internal.h"

#define MAX_YIELDS 1000000U /* by one operation: the core retries without an end */

struct replay_host replay_host;
static uint64_t lock_state;
static uint32_t yields;

void replay_host_reset(const struct gm_replay_costs *costs)
{
	replay_host = (struct replay_host){ .costs = *costs, .va_end = REPLAY_VA };
	replay_host.last = &replay_host.work;
	lock_state = 0;
}

/* ------------------------------------------------------------------- memory */

void *gm_os_alloc(size_t size)
{
	void *p;

	if (posix_memalign(&p, GM_PAGE_SIZE, size))
		return NULL;
	return memset(p, 0, size);
}

void gm_os_free(void *p, size_t size)
{
	(void)size;
	free(p);
}

void *replay_sparse_alloc(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void replay_sparse_free(void *p, uint64_t bytes)
{
	if (p)
		munmap(p, bytes);
}

/* -------------------------------------------------------------------- locks */

static void take(uint64_t *word)
{
	replay_bug_on(*word); /* nobody else would ever release it */
	*word = 1;
}

static void drop(uint64_t *word)
{
	replay_bug_on(!*word);
	*word = 0;
}

void gm_os_mutex_init(struct gm_os_mutex *m)
{
	m->word[0] = 0;
}

void gm_os_mutex_destroy(struct gm_os_mutex *m)
{
	replay_bug_on(m->word[0]);
}

void gm_os_mutex_lock(struct gm_os_mutex *m)
{
	take(&m->word[0]);
}

bool gm_os_mutex_trylock(struct gm_os_mutex *m)
{
	if (m->word[0])
		return false;
	m->word[0] = 1;
	return true;
}

void gm_os_mutex_unlock(struct gm_os_mutex *m)
{
	drop(&m->word[0]);
}

void gm_os_spin_init(struct gm_os_spin *s)
{
	s->word[0] = 0;
}

void gm_os_spin_destroy(struct gm_os_spin *s)
{
	replay_bug_on(s->word[0]);
}

void gm_os_spin_lock(struct gm_os_spin *s)
{
	take(&s->word[0]);
}

void gm_os_spin_unlock(struct gm_os_spin *s)
{
	drop(&s->word[0]);
}

void gm_os_rwlock_init(struct gm_os_rwlock *l)
{
	l->word[0] = 0;
}

void gm_os_rwlock_destroy(struct gm_os_rwlock *l)
{
	replay_bug_on(l->word[0]);
}

/* Readers do not nest (os.h), so one thread has it once, for whatever. */
void gm_os_rwlock_rdlock(struct gm_os_rwlock *l)
{
	take(&l->word[0]);
}

void gm_os_rwlock_wrlock(struct gm_os_rwlock *l)
{
	take(&l->word[0]);
}

void gm_os_rwlock_unlock(struct gm_os_rwlock *l)
{
	drop(&l->word[0]);
}

uint64_t *gm_os_lock_state(void)
{
	return &lock_state;
}

/* ---------------------------------------------------------- time and waiting */

uint64_t gm_os_now_ns(void)
{
	return replay_host.now;
}

unsigned int gm_os_cpu(void)
{
	return 0;
}

void gm_os_yield(unsigned int tries)
{
	if (tries <= 1)
		yields = 0;
	replay_bug_on(++yields > MAX_YIELDS);
}

static bool run_one(void)
{
	struct gm_os_work *work = replay_host.work;

	if (!work)
		return false;
	gm_os_work_cancel(work);
	work->fn(work);
	return true;
}

void gm_os_wait(uint32_t *word, uint32_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
		replay_bug_on(!run_one()); /* nobody could wake it */
}

void gm_os_wake(uint32_t *word)
{
	(void)word;
}

void gm_os_work_schedule(struct gm_os_work *work)
{
	if (work->state)
		return;
	work->state = 1;
	work->next = NULL;
	*replay_host.last = work;
	replay_host.last = &work->next;
}

void gm_os_work_cancel(struct gm_os_work *work)
{
	struct gm_os_work **p = &replay_host.work;

	if (!work->state)
		return;
	while (*p != work)
		p = &(*p)->next;
	*p = work->next;
	if (!*p)
		replay_host.last = p;
	work->state = 0;
}

void replay_run_work(void)
{
	while (run_one())
		;
}

/* --------------------------------------------------------------- diagnostics */

void gm_os_bug(const char *file, int line, const char *what)
{
	fprintf(stderr, "gmem: broken invariant in replay: %s (%s:%d)\n", what, file, line);
	abort();
}

void gm_os_warn(const char *what, const char *arg)
{
	fprintf(stderr, "gmem: %s%s%s\n", what, arg ? ": " : "", arg ? arg : "");
}

/* Nobody has asked for any. */
void gm_os_trace(const struct gm_event *event)
{
	(void)event;
}

int gm_os_usable(void)
{
	return 0;
}

int gm_os_numa_nodes(void)
{
	return 1;
}

/* There is always enough: frames are kept, as on a machine that has more than the trace needs. */
bool gm_os_host_memory_low(void)
{
	return false;
}

uint64_t gm_os_host_memory_total(void)
{
	return 1ULL << 60;
}
