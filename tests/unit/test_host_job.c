// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Jobs and tasks of the linux-user host, over a core that ends jobs when a test says so. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host_user_core.h"

#define MS 1000000ULL

static struct gm_hint hint(uint64_t va)
{
	return (struct gm_hint){ .addr = (void *)(uintptr_t)va,
				 .len = PAGE,
				 .advice = GM_PREFETCH };
}

static struct gm_job *start(struct tc_bench *b)
{
	struct gm_hint h = hint(b->va);
	struct gm_job *job;

	assert_int_equal(gm_job_start(&h, 1, &job), 0);
	return job;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_true(poll(&p, 1, 0) >= 0);
	return p.revents & POLLIN;
}

static unsigned int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void ends_before_anybody_looks(void **state)
{
	struct tc_bench b = tc_set_up(0);
	struct gm_job *job;

	(void)state;
	tc.job_err = -ENOSPC;
	job = start(&b);
	assert_int_equal(gm_job_wait(job, 0), -ENOSPC);
	assert_int_equal(gm_job_wait(job, GM_FOREVER), -ENOSPC);
	assert_true(readable(gm_job_fd(job)));
	assert_int_equal(gm_job_fd(job), gm_job_fd(job));
	assert_int_equal(gm_job_cancel(job), 0);
	assert_int_equal(gm_job_wait(job, 0), -ENOSPC);
	gm_job_free(job);
	tc_tear_down(&b);
}

static void waits_no_longer_than_told(void **state)
{
	struct tc_bench b = tc_set_up(0);
	uint64_t begin;
	struct gm_job *job;

	(void)state;
	tc.hold = true;
	job = start(&b);
	assert_int_equal(gm_job_wait(job, 0), -ETIMEDOUT);
	begin = gm_os_now_ns();
	assert_int_equal(gm_job_wait(job, 20 * MS), -ETIMEDOUT);
	assert_true(gm_os_now_ns() - begin >= 20 * MS);
	assert_false(readable(gm_job_fd(job)));
	assert_int_equal(gm_job_cancel(job), 0);
	assert_true(readable(gm_job_fd(job)));
	assert_int_equal(gm_job_wait(job, GM_FOREVER - 1), -ECANCELED);
	gm_job_free(job);
	tc_tear_down(&b);
}

static void *cancel_later(void *job)
{
	usleep(20000);
	assert_int_equal(gm_job_cancel(job), 0);
	return NULL;
}

/* Several wait, each in his way; the end wakes all of them. */
static void *wait_for_it(void *job)
{
	return (void *)(intptr_t)gm_job_wait(job, GM_FOREVER);
}

static void wakes_all_who_wait(void **state)
{
	struct tc_bench b = tc_set_up(0);
	struct epoll_event event = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	pthread_t waiter[3], canceller;
	struct gm_job *job;
	void *got;

	(void)state;
	assert_true(ep >= 0);
	tc.hold = true;
	job = start(&b);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, gm_job_fd(job), &event), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&waiter[i], NULL, wait_for_it, job), 0);
	assert_int_equal(pthread_create(&canceller, NULL, cancel_later, job), 0);
	assert_int_equal(epoll_wait(ep, &event, 1, -1), 1);
	for (int i = 0; i < 3; i++) {
		pthread_join(waiter[i], &got);
		assert_int_equal((int)(intptr_t)got, -ECANCELED);
	}
	pthread_join(canceller, NULL);
	gm_job_free(job);
	close(ep);
	tc_tear_down(&b);
}

/* A handle may go before the end, and need not be asked for. */
static void nobody_waits(void **state)
{
	struct tc_bench b = tc_set_up(0);
	struct gm_hint h = hint(b.va);
	unsigned int before = descriptors();
	struct gm_job *job;

	(void)state;
	assert_int_equal(gm_job_start(&h, 1, NULL), 0);
	job = start(&b);
	assert_true(gm_job_fd(job) >= 0);
	gm_job_free(job);
	gm_job_free(NULL);
	assert_int_equal(descriptors(), before);
	tc_tear_down(&b);
}

static void what_is_refused(void **state)
{
	struct tc_bench b = tc_set_up(0), c = { 0 };
	struct gm_hint h[2] = { hint(b.va), hint(b.va) };
	struct gm_job *job = NULL;
	struct rlimit limit, none;
	int local, fd;

	(void)state;
	assert_int_equal(gm_job_start(NULL, 1, &job), -EINVAL);
	assert_int_equal(gm_job_start(h, 0, &job), -EINVAL);
	assert_int_equal(gm_job_start(h, GM_HINTS_MAX + 1, &job), -EINVAL);
	h[1].len = 0;
	assert_int_equal(gm_job_start(h, 2, &job), -EINVAL);
	h[1].len = SIZE_MAX;
	assert_int_equal(gm_job_start(h, 2, &job), -EINVAL);
	h[1] = hint((uint64_t)(uintptr_t)&local);
	assert_int_equal(gm_job_start(h, 2, &job), -EFAULT);
	c.as = tc_as(0);
	c.r = tc_map(c.as, b.obj, 0, BLOCK);
	h[1] = hint(c.r->va);
	assert_int_equal(gm_job_start(h, 2, &job), -EINVAL);
	assert_int_equal(gm_job_start(&h[1], 1, &job), 0);
	gm_job_free(job);
	tc_unmap(c.r);
	tc_as_free(c.as);
	tc.refuse = -EAGAIN;
	assert_int_equal(gm_job_start(h, 1, &job), -EAGAIN);
	tc.refuse = 0;
	assert_int_equal(gm_job_wait(NULL, 0), -EINVAL);
	assert_int_equal(gm_job_fd(NULL), -EINVAL);
	assert_int_equal(gm_job_cancel(NULL), -EINVAL);

	job = start(&b);
	fd = dup(0);
	close(fd); /* the next one */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = (rlim_t)fd;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(gm_job_fd(job), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(gm_job_fd(job) >= 0);
	gm_job_free(job);
	tc_tear_down(&b);
}

static int in_child(void *arg)
{
	struct gm_hint h = hint(0);
	struct gm_job *job = arg;

	if (gm_job_wait(job, GM_FOREVER) != -EPERM || gm_job_cancel(job) != -EPERM ||
	    gm_job_fd(job) != -EPERM || gm_job_start(&h, 1, &job) != -EPERM)
		return 1;
	gm_job_free(job);
	return 0;
}

/* A child has none of it, and does not hold the descriptor. */
static void fork_inherits_nothing(void **state)
{
	struct tc_bench b = tc_set_up(0);
	struct gm_job *job;
	int fd, status;
	pid_t pid;

	(void)state;
	tc.hold = true;
	job = start(&b);
	fd = gm_job_fd(job);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(in_child(job) || !dup(fd) || errno != EBADF);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(gm_job_wait(job, 0), -ETIMEDOUT);
	assert_int_equal(gm_job_cancel(job), 0);
	assert_int_equal(gm_job_wait(job, GM_FOREVER), -ECANCELED);
	gm_job_free(job);
	tc_tear_down(&b);
}

/* ------------------------------------------------------------------------------ tasks */

struct meeting {
	struct gm_os_work task;
	uint32_t *arrived;
	uint32_t wanted, runs;
};

static void meet(struct gm_os_work *task)
{
	struct meeting *m = (struct meeting *)task;

	__atomic_add_fetch(&m->runs, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(m->arrived, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(m->arrived, __ATOMIC_ACQUIRE) < m->wanted)
		usleep(100);
}

/* As many run at once as gm_os_tasks() says, and no end of an address space loses one. */
static void tasks_run_side_by_side(void **state)
{
	struct meeting m[8] = { 0 };
	uint32_t arrived = 0;
	unsigned int n = gm_os_tasks();

	(void)state;
	assert_in_range(n, 2, 4);
	for (unsigned int round = 0; round < 20; round++) {
		struct tc_bench b = tc_set_up(0);

		arrived = 0;
		for (unsigned int i = 0; i < n; i++) {
			m[i] = (struct meeting){ { .fn = meet }, &arrived, n, 0 };
			gm_os_task_schedule(&m[i].task);
		}
		tc_tear_down(&b); /* waits for all */
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(m[i].runs, 1);
	}
}

static void again(struct gm_os_work *task)
{
	struct meeting *m = (struct meeting *)task;

	__atomic_add_fetch(&m->runs, 1, __ATOMIC_RELAXED);
	gm_os_task_schedule(task);
}

static void tasks_are_cancelled(void **state)
{
	struct tc_bench b = tc_set_up(0);
	struct meeting m = { .task.fn = again };
	uint32_t runs;

	(void)state;
	gm_os_task_cancel(&m.task);
	gm_os_task_schedule(&m.task);
	while (__atomic_load_n(&m.runs, __ATOMIC_RELAXED) < 10)
		usleep(100);
	gm_os_task_cancel(&m.task);
	runs = m.runs;
	usleep(10000);
	assert_int_equal(m.runs, runs);
	tc_tear_down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_before_anybody_looks),
		cmocka_unit_test(waits_no_longer_than_told),
		cmocka_unit_test(wakes_all_who_wait),
		cmocka_unit_test(nobody_waits),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(fork_inherits_nothing),
		cmocka_unit_test(tasks_run_side_by_side),
		cmocka_unit_test(tasks_are_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
