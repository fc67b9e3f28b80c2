// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Time, waiting, and deferred work.
 *
 * The clock advances by a microsecond a call, and by as long as anybody sleeps; a test that sleeps
 * sets it forward. Where a test has one thread nobody
 * could wake it, so waiting is a bug; a core that retries for ever is found by the
 * limit on yields. Work runs in gm_fake_run_work(), on the test's own thread.
 *
 * Locking: one mutex for sleepers, one for the queue of work; neither is held over
 * a call of the core's.
 */
#include <sched.h>
#include <unistd.h>

#include "host/fake/internal.h"

enum work_state { WORK_IDLE, WORK_PENDING };

static uint64_t clock_ns;
static uint32_t yields;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
} sleepers = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t ran;
	struct gm_os_work *first, **last;
	struct gm_os_work *running;
	uint64_t pending;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .ran = PTHREAD_COND_INITIALIZER };

void fake_wait_reset(void)
{
	clock_ns = 0;
	yields = 0;
	queue.first = NULL;
	queue.last = &queue.first;
	queue.running = NULL;
	queue.pending = 0;
}

uint64_t gm_os_now_ns(void)
{
	return __atomic_add_fetch(&clock_ns, 1000, __ATOMIC_RELAXED);
}

void gm_os_sleep(uint64_t ns)
{
	fake_check_no_lock("sleep");
	__atomic_add_fetch(&clock_ns, ns, __ATOMIC_RELAXED);
	if (fake_opt.threaded)
		sched_yield();
}

void gm_fake_step(void)
{
	__atomic_store_n(&yields, 0, __ATOMIC_RELAXED);
}

/* Every call another, so that sums are tested. */
unsigned int gm_os_cpu(void)
{
	static unsigned int cpu;

	return __atomic_fetch_add(&cpu, 1, __ATOMIC_RELAXED);
}

void gm_os_yield(unsigned int tries)
{
	fake_check_may_sleep("yield");
	if (fake_opt.threaded && tries < 16)
		sched_yield();
	else if (fake_opt.threaded)
		usleep(tries < 64 ? 50 : 1000);
	else if (__atomic_add_fetch(&yields, 1, __ATOMIC_RELAXED) > FAKE_MAX_YIELDS)
		fake_bug("endless retry");
}

void gm_os_wait(uint32_t *word, uint32_t value)
{
	fake_check_may_sleep("wait");
	pthread_mutex_lock(&sleepers.lock);
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value) {
		if (!fake_opt.threaded) {
			pthread_mutex_unlock(&sleepers.lock);
			fake_bug("waiting, and there is no other thread");
		}
		pthread_cond_wait(&sleepers.cond, &sleepers.lock);
	}
	pthread_mutex_unlock(&sleepers.lock);
}

void gm_os_wake(uint32_t *word)
{
	(void)word; /* all sleepers look at their words again */
	pthread_mutex_lock(&sleepers.lock);
	pthread_cond_broadcast(&sleepers.cond);
	pthread_mutex_unlock(&sleepers.lock);
}

void gm_os_work_schedule(struct gm_os_work *work)
{
	pthread_mutex_lock(&queue.lock);
	if (work->state == WORK_IDLE) {
		work->state = WORK_PENDING;
		work->next = NULL;
		*queue.last = work;
		queue.last = &work->next;
		queue.pending++;
	}
	pthread_mutex_unlock(&queue.lock);
}

static void unqueue(struct gm_os_work *work)
{
	struct gm_os_work **p = &queue.first;

	while (*p != work)
		p = &(*p)->next;
	*p = work->next;
	if (!*p)
		queue.last = p;
	work->state = WORK_IDLE;
	queue.pending--;
}

void gm_os_work_cancel(struct gm_os_work *work)
{
	fake_check_may_sleep("work_cancel");
	pthread_mutex_lock(&queue.lock);
	if (work->state == WORK_PENDING)
		unqueue(work);
	while (queue.running == work) {
		if (!fake_opt.threaded) {
			pthread_mutex_unlock(&queue.lock);
			fake_bug("work cancelled by itself");
		}
		pthread_cond_wait(&queue.ran, &queue.lock);
	}
	pthread_mutex_unlock(&queue.lock);
}

unsigned int gm_fake_run_work(void)
{
	unsigned int n = 0;
	struct gm_os_work *work;
	uint64_t limit;

	fake_check_no_lock("run_work with a lock held");
	pthread_mutex_lock(&queue.lock);
	limit = queue.pending;
	/* What reschedules itself runs again at the next call; so does what a second runner would. */
	while (!queue.running && (work = queue.first) && n < limit) {
		unqueue(work);
		queue.running = work;
		pthread_mutex_unlock(&queue.lock);
		work->fn(work);
		fake_check_no_lock("work returned with a lock held");
		pthread_mutex_lock(&queue.lock);
		queue.running = NULL;
		pthread_cond_broadcast(&queue.ran);
		n++;
	}
	pthread_mutex_unlock(&queue.lock);
	return n;
}

/* Tasks are work here: a test says when they run, and how many threads there seem to be. */
unsigned int gm_os_tasks(void)
{
	return fake_opt.tasks;
}

void gm_os_task_schedule(struct gm_os_work *task)
{
	fake_check_no_lock("task_schedule with a lock held");
	gm_os_work_schedule(task);
}

void gm_os_task_cancel(struct gm_os_work *task)
{
	gm_os_work_cancel(task);
}

void gm_os_job_done(void *host, int err)
{
	struct gm_fake_job *job = host;

	fake_check_no_lock("job_done with a lock held");
	job->err = err;
	__atomic_add_fetch(&job->done, 1, __ATOMIC_RELEASE);
}

uint64_t fake_works(void)
{
	uint64_t n;

	pthread_mutex_lock(&queue.lock);
	n = queue.pending;
	pthread_mutex_unlock(&queue.lock);
	return n;
}
