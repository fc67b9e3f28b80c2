// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Tasks: what takes long, in threads of their own.
 *
 * The threads are started as they are needed, no more than TASKS_MAX and no more than there are
 * processors, but two: while one waits for a copy engine another gets on. They end with the last
 * address space (os_work.c). If none can be started what is scheduled stays in the queue: those
 * who wait for a hint do it all themselves then, and no job begins (gm_tasks_start()).
 *
 * A task is run as a call of the application's is, with what keeps calls off while a thread
 * forks (place_fork.c); so between two of its runs, but not within one, a fork may happen.
 *
 * Locking: pool.lock over the queue and the threads; a leaf, but that a thread is started under
 * it. A task is nobody's but its owner's once it runs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>

#include "user.h"

#define TASKS_MAX 4U
#define QUEUED 1U

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more; /* something was queued, or stop was set */
	pthread_cond_t done; /* a run has ended */
	struct gm_os_work *head, **tail;
	struct gm_user_thread thread[TASKS_MAX];
	struct gm_os_work *running[TASKS_MAX];
	unsigned int nr, idle, queued;
	bool stop; /* end when the queue is empty */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER,
	   .more = PTHREAD_COND_INITIALIZER,
	   .done = PTHREAD_COND_INITIALIZER,
	   .tail = &pool.head };

static __thread bool is_task __attribute__((tls_model("initial-exec")));

unsigned int gm_os_tasks(void)
{
	static unsigned int tasks; /* whoever comes first finds the same */
	unsigned int n = __atomic_load_n(&tasks, __ATOMIC_RELAXED);
	cpu_set_t set;

	if (n)
		return n;
	n = sched_getaffinity(0, sizeof(set), &set) ? 2 : (unsigned int)CPU_COUNT(&set);
	n = n < 2 ? 2 : n > TASKS_MAX ? TASKS_MAX : n;
	__atomic_store_n(&tasks, n, __ATOMIC_RELAXED);
	return n;
}

/* Pool locked; it is unlocked meanwhile. */
static void run_first(struct gm_os_work **running)
{
	struct gm_os_work *task = pool.head;
	bool begun;

	pool.head = task->next;
	if (!pool.head)
		pool.tail = &pool.head;
	pool.queued--;
	task->state = 0;
	*running = task;
	pthread_mutex_unlock(&pool.lock);

	begun = gm_place_call_begin();
	task->fn(task);
	gm_place_call_end(begun);

	pthread_mutex_lock(&pool.lock);
	*running = NULL;
	pthread_cond_broadcast(&pool.done);
}

static void *task_loop(void *arg)
{
	struct gm_os_work **running = arg;

	is_task = true;
	pthread_mutex_lock(&pool.lock);
	while (pool.head || !pool.stop) {
		if (pool.head) {
			run_first(running);
			continue;
		}
		pool.idle++;
		pthread_cond_wait(&pool.more, &pool.lock);
		pool.idle--;
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

/*
 * Pool locked. One thread more, if there is more to do than idle ones and there may be one. Not
 * by a task: the C library would give its thread an arena for what it allocates.
 */
static void add_thread(unsigned int wanted)
{
	if (!is_task && pool.idle < wanted && pool.nr < gm_os_tasks() && !pool.stop &&
	    !gm_thread_start(&pool.thread[pool.nr], "gmem/task", task_loop, &pool.running[pool.nr]))
		pool.nr++;
}

int gm_tasks_start(void)
{
	int err;

	pthread_mutex_lock(&pool.lock);
	if (!pool.nr)
		add_thread(1);
	err = pool.nr ? 0 : -ENOMEM;
	pthread_mutex_unlock(&pool.lock);
	return err;
}

void gm_os_task_schedule(struct gm_os_work *task)
{
	pthread_mutex_lock(&pool.lock);
	if (!(task->state & QUEUED)) {
		task->state = QUEUED;
		task->next = NULL;
		*pool.tail = task;
		pool.tail = &task->next;
		pool.queued++;
		add_thread(pool.queued);
		pthread_cond_signal(&pool.more);
	}
	pthread_mutex_unlock(&pool.lock);
}

/* Pool locked. */
static bool runs(const struct gm_os_work *task)
{
	for (unsigned int i = 0; i < TASKS_MAX; i++)
		if (pool.running[i] == task)
			return true;
	return false;
}

void gm_os_task_cancel(struct gm_os_work *task)
{
	pthread_mutex_lock(&pool.lock);
	for (;;) {
		struct gm_os_work **at = &pool.head;

		while (*at && *at != task)
			at = &(*at)->next;
		if (*at) {
			*at = task->next;
			if (!*at)
				pool.tail = at;
			pool.queued--;
			task->state = 0;
		}
		if (!runs(task))
			break;
		pthread_cond_wait(&pool.done, &pool.lock); /* it may have scheduled itself */
	}
	pthread_mutex_unlock(&pool.lock);
}

void gm_tasks_stop(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.stop = true;
	pthread_cond_broadcast(&pool.more);
	pthread_mutex_unlock(&pool.lock);
	/* No more are started. */
	for (unsigned int i = 0; i < pool.nr; i++)
		gm_thread_join(&pool.thread[i]);
	pthread_mutex_lock(&pool.lock);
	pool.nr = 0;
	pool.stop = false;
	pthread_mutex_unlock(&pool.lock);
}
