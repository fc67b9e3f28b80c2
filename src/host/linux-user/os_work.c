// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Threads of the host's, and deferred work.
 *
 * Tasks, which take long, have threads of their own (os_task.c).
 *
 * One worker runs all deferred work, in the order in which it was scheduled. It
 * lives while there is an address space: only then are there pages to manage, and
 * starting it there keeps thread creation, which allocates, off the fault path. It
 * sleeps while there is nothing to do. When the last address space goes it finishes
 * what is queued and ends. Work scheduled without one stays queued for the next.
 *
 * While much host memory is retained, and only then, the worker looks every second
 * whether the machine still has enough: between two pieces of work, or when nothing
 * else happens.
 *
 * Each thread gets a stack that we map and unmap: the C library would keep the
 * stack of an ended thread for another.
 *
 * Locking. queue.lock guards the queue; it is a leaf, so that work may be scheduled
 * under any lock. life_lock, taken before it, is held while the worker is started
 * and joined; the worker never takes it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "user.h"

#define STACK_SIZE (1U << 20) /* a driver's operations run on it */
#define GUARD_SIZE 4096U

int gm_thread_start(struct gm_user_thread *t, const char *name, void *(*fn)(void *), void *arg)
{
	sigset_t all, saved;
	pthread_attr_t attr;
	char *stack;
	int err;

	stack = mmap(NULL, STACK_SIZE + GUARD_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED)
		return -ENOMEM;
	if (mprotect(stack + GUARD_SIZE, STACK_SIZE, PROT_READ | PROT_WRITE))
		goto err_stack;
	if (pthread_attr_init(&attr))
		goto err_stack;
	pthread_attr_setstack(&attr, stack + GUARD_SIZE, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	err = pthread_create(&t->id, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	pthread_attr_destroy(&attr);
	if (err)
		goto err_stack;
	pthread_setname_np(t->id, name);
	t->stack = stack;
	return 0;

err_stack:
	munmap(stack, STACK_SIZE + GUARD_SIZE);
	return -ENOMEM;
}

void gm_thread_join(struct gm_user_thread *t)
{
	pthread_join(t->id, NULL);
	munmap(t->stack, STACK_SIZE + GUARD_SIZE);
}

/* ----------------------------------------------------------------- deferred work */

#define WORK_QUEUED 1U
#define LOOK_BYTES (64U << 20)
#define LOOK_NS 1000000000ULL

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more; /* something was queued, or stop was set */
	pthread_cond_t done; /* a run has ended */
	struct gm_os_work *head, **tail;
	struct gm_os_work *running;
	bool stop; /* end when the queue is empty */
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER,
	    .more = PTHREAD_COND_INITIALIZER,
	    .done = PTHREAD_COND_INITIALIZER,
	    .tail = &queue.head };

static pthread_mutex_t life_lock = PTHREAD_MUTEX_INITIALIZER;
static struct gm_user_thread worker; /* life_lock */
static unsigned int users;	     /* life_lock */

/* Queue locked; it is unlocked meanwhile. */
static void look_at_memory(void)
{
	pthread_mutex_unlock(&queue.lock);
	if (gm_os_host_memory_low())
		gm_memory_low();
	pthread_mutex_lock(&queue.lock);
}

/* Queue locked; it is unlocked meanwhile. */
static void run_first(void)
{
	struct gm_os_work *w = queue.head;

	queue.head = w->next;
	if (!queue.head)
		queue.tail = &queue.head;
	w->state = 0; /* what is scheduled from now on is another run */
	queue.running = w;
	pthread_mutex_unlock(&queue.lock);

	w->fn(w);

	pthread_mutex_lock(&queue.lock);
	queue.running = NULL;
	pthread_cond_broadcast(&queue.done);
}

/* Queue locked; it is unlocked meanwhile. */
static void wait_for_work(bool watch, uint64_t until)
{
	struct timespec t = { .tv_sec = (time_t)(until / 1000000000),
			      .tv_nsec = (long)(until % 1000000000) };

	if (watch)
		pthread_cond_clockwait(&queue.more, &queue.lock, CLOCK_MONOTONIC, &t);
	else
		pthread_cond_wait(&queue.more, &queue.lock);
}

static void *work_loop(void *arg)
{
	uint64_t look_at = gm_os_now_ns() + LOOK_NS;

	(void)arg;
	pthread_mutex_lock(&queue.lock);
	while (queue.head || !queue.stop) {
		bool watch = gm_retained_bytes() >= LOOK_BYTES;

		if (watch && gm_os_now_ns() >= look_at) {
			look_at_memory();
			look_at = gm_os_now_ns() + LOOK_NS;
		} else if (queue.head) {
			run_first();
		} else {
			wait_for_work(watch, look_at);
		}
	}
	pthread_mutex_unlock(&queue.lock);
	return NULL;
}

int gm_worker_get(void)
{
	int err = 0;

	pthread_mutex_lock(&life_lock);
	if (!users) {
		queue.stop = false;
		err = gm_thread_start(&worker, "gmem/work", work_loop, NULL);
	}
	if (!err)
		users++;
	pthread_mutex_unlock(&life_lock);
	return err;
}

void gm_worker_put(void)
{
	pthread_mutex_lock(&life_lock);
	if (!--users) {
		gm_tasks_stop();
		pthread_mutex_lock(&queue.lock);
		queue.stop = true;
		pthread_cond_signal(&queue.more);
		pthread_mutex_unlock(&queue.lock);
		gm_thread_join(&worker);
	}
	pthread_mutex_unlock(&life_lock);
}

void gm_os_work_schedule(struct gm_os_work *work)
{
	pthread_mutex_lock(&queue.lock);
	if (!(work->state & WORK_QUEUED)) {
		work->state = WORK_QUEUED;
		work->next = NULL;
		*queue.tail = work;
		queue.tail = &work->next;
		pthread_cond_signal(&queue.more);
	}
	pthread_mutex_unlock(&queue.lock);
}

void gm_os_work_cancel(struct gm_os_work *work)
{
	pthread_mutex_lock(&queue.lock);
	for (;;) {
		if (work->state & WORK_QUEUED) {
			struct gm_os_work **at = &queue.head;

			while (*at != work)
				at = &(*at)->next;
			*at = work->next;
			if (queue.tail == &work->next)
				queue.tail = at;
			work->state = 0;
		}
		if (queue.running != work)
			break;
		pthread_cond_wait(&queue.done, &queue.lock); /* it may have scheduled itself */
	}
	pthread_mutex_unlock(&queue.lock);
}
