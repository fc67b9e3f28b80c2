// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Jobs: hints in the background, waited for in every way, and what may happen meanwhile. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "conformance.h"

static struct gm_job *prefetch(int node, char *p, uint64_t len)
{
	struct gm_job *job;

	assert_int_equal(hmadvise_async(node, p, len, GM_PREFETCH, &job), 0);
	return job;
}

static bool readable(struct gm_job *job, int ms)
{
	struct pollfd p = { .fd = gm_job_fd(job), .events = POLLIN };

	assert_true(p.fd >= 0);
	assert_true(poll(&p, 1, ms) >= 0);
	return p.revents & POLLIN;
}

/* It ended one way or the other, and says the same again. */
static int end_of(struct gm_job *job)
{
	int err = gm_job_wait(job, GM_FOREVER);

	assert_true(readable(job, 0));
	assert_int_equal(gm_job_wait(job, 0), err);
	gm_job_free(job);
	return err;
}

static void test_async(struct cf *cf)
{
	char *p = cf_alloc(cf, 3 * BLOCK);
	struct gm_job *job;

	cf_fill(cf, CPU, p, 3 * BLOCK, 1);
	job = prefetch(cf_node(cf, 0), p, 3 * BLOCK);
	assert_int_equal(end_of(job), 0);
	cf_on(p, 3 * BLOCK, cf_node(cf, 0));
	cf_check(cf, 0, p, 3 * BLOCK, 1);
	assert_int_equal(cf_dev_stats(cf, 0).dev_faults, 0);
	job = prefetch(GM_NODE_HOST, p, 3 * BLOCK);
	assert_true(readable(job, -1));
	assert_int_equal(end_of(job), 0);
	cf_on(p, 3 * BLOCK, GM_NODE_HOST);
	cf_check(cf, CPU, p, 3 * BLOCK, 1);
	cf_unmap(cf, p, 3 * BLOCK);
}

/* Several ranges in one job: in order where it matters. */
static void test_ranges(struct cf *cf)
{
	char *p = cf_alloc(cf, 4 * BLOCK);
	int node = cf_node(cf, 1);
	struct gm_hint h[] = {
		{ p, BLOCK, node, GM_PREFETCH }, { p + BLOCK, BLOCK, node, GM_PIN },
		{ p, BLOCK, 0, GM_DONTNEED },	 { p + 3 * BLOCK, BLOCK, node, GM_PREFETCH },
		{ p, 4 * BLOCK, 0, GM_UNPIN },
	};
	struct gm_job *job;

	cf_fill(cf, CPU, p, 4 * BLOCK, 1);
	assert_int_equal(gm_job_start(h, 5, &job), 0);
	assert_int_equal(end_of(job), 0);
	cf_on(p, BLOCK, GM_NODE_NONE);
	cf_on(p + BLOCK, BLOCK, node);
	cf_on(p + 2 * BLOCK, BLOCK, GM_NODE_HOST);
	cf_on(p + 3 * BLOCK, BLOCK, node);
	cf_check_zero(cf, CPU, p, BLOCK);
	cf_check_at(cf, CPU, p + BLOCK, 3 * BLOCK, 1, BLOCK);
	cf_unmap(cf, p, 4 * BLOCK);
}

/* Each waits for his own: one epoll, many jobs. */
static void test_epoll(struct cf *cf)
{
	char *p = cf_alloc(cf, 4 * BLOCK);
	int ep = epoll_create1(EPOLL_CLOEXEC), n = 0;
	struct gm_job *job[8];
	struct epoll_event got;

	assert_true(ep >= 0);
	cf_fill(cf, CPU, p, 4 * BLOCK, 1);
	for (uint32_t i = 0; i < 8; i++) {
		struct epoll_event want = { .events = EPOLLIN, .data.u32 = i };

		job[i] = prefetch(cf_node(cf, (int)i % 2), p + i * BLOCK / 2, BLOCK / 2);
		assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, gm_job_fd(job[i]), &want), 0);
	}
	for (; n < 8; n++) {
		assert_int_equal(epoll_wait(ep, &got, 1, -1), 1);
		assert_in_range(got.data.u32, 0, 7);
		assert_int_equal(epoll_ctl(ep, EPOLL_CTL_DEL, gm_job_fd(job[got.data.u32]), NULL),
				 0);
		assert_int_equal(end_of(job[got.data.u32]), 0);
	}
	close(ep);
	cf_check(cf, CPU, p, 4 * BLOCK, 1);
	cf_unmap(cf, p, 4 * BLOCK);
}

/* What was moved stays where it is, what was not is where it was, and no byte is lost. */
static void test_cancel(struct cf *cf)
{
	char *p = cf_alloc(cf, 4 * BLOCK);
	int node = cf_node(cf, 0), err;
	uint64_t there;

	for (uint64_t i = 0; i < 20; i++) {
		struct gm_job *job;

		cf_fill(cf, CPU, p, 4 * BLOCK, i);
		job = prefetch(node, p, 4 * BLOCK);
		if (i % 4)
			gm_job_wait(job, i * 20000);
		assert_int_equal(gm_job_cancel(job), 0);
		err = end_of(job);
		there = cf_count_on(p, 4 * BLOCK, node);
		if (err != -ECANCELED)
			assert_int_equal(err, 0);
		assert_true(err || there == 4 * BLOCK / PAGE);
		assert_int_equal(there + cf_count_on(p, 4 * BLOCK, GM_NODE_HOST), 4 * BLOCK / PAGE);
		cf_check(cf, CPU, p, 4 * BLOCK, i);
	}
	cf_unmap(cf, p, 4 * BLOCK);
}

static void test_job_errors(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK), local;
	struct gm_hint h[2] = { { p, BLOCK, cf_node(cf, 0), GM_PREFETCH },
				{ p, BLOCK, 1000, GM_PREFETCH } };
	struct gm_as *other;
	struct gm_job *job;
	void *q;

	assert_int_equal(gm_job_start(NULL, 1, &job), -EINVAL);
	assert_int_equal(gm_job_start(h, 0, &job), -EINVAL);
	assert_int_equal(gm_job_start(h, GM_HINTS_MAX + 1, &job), -EINVAL);
	assert_int_equal(hmadvise_async(0, p, 0, GM_COLD, &job), -EINVAL);
	assert_int_equal(hmadvise_async(0, p, SIZE_MAX, GM_COLD, &job), -EINVAL);
	assert_int_equal(hmadvise_async(0, p, PAGE, (enum gm_advice)1000, &job), -EINVAL);
	assert_int_equal(hmadvise_async(0, &local, 1, GM_COLD, &job), -EFAULT);
	assert_int_equal(gm_job_wait(NULL, 0), -EINVAL);
	assert_int_equal(gm_job_fd(NULL), -EINVAL);
	assert_int_equal(gm_job_cancel(NULL), -EINVAL);
	gm_job_free(NULL);
	other = cf_as();
	assert_int_equal(gm_alloc(other, BLOCK, 0, &q), 0);
	h[1].addr = q;
	assert_int_equal(gm_job_start(h, 2, &job), -EINVAL);
	assert_int_equal(gm_as_destroy(other), 0);
	/* All are looked at before the first is begun. */
	h[1].addr = p;
	assert_int_equal(gm_job_start(h, 2, &job), 0);
	assert_int_equal(end_of(job), -ENODEV);
	cf_on(p, BLOCK, GM_NODE_NONE);
	assert_int_equal(gm_job_start(h, 1, NULL), 0); /* and nobody waits */
	cf_unmap(cf, p, BLOCK);
}

/* ------------------------------------------------------------ what goes meanwhile */

static void test_job_unmap(struct cf *cf)
{
	for (int i = 0; i < 10; i++) {
		char *p = cf_alloc(cf, 4 * BLOCK);
		struct gm_job *job = prefetch(cf_node(cf, i % 2), p, 4 * BLOCK);
		int err;

		cf_unmap(cf, p, 4 * BLOCK);
		err = end_of(job);
		if (err != -EFAULT)
			assert_int_equal(err, 0);
	}
}

/* The address space goes: its jobs have ended by then, and their handles are good. */
static void test_job_destroy(struct cf *cf)
{
	for (int i = 0; i < 10; i++) {
		struct gm_as *as = cf_as();
		struct gm_sim_ctx *ctx;
		struct gm_job *job[3];
		void *p;
		int err;

		assert_int_equal(gm_sim_attach(cf->sim[0], as, &ctx), 0);
		assert_int_equal(gm_alloc(as, 4 * BLOCK, 0, &p), 0);
		for (int j = 0; j < 3; j++)
			job[j] = prefetch(j ? cf_node(cf, 0) : GM_NODE_HOST, p, 4 * BLOCK);
		if (i % 2)
			gm_job_free(job[2]);
		assert_int_equal(gm_as_destroy(as), 0);
		for (int j = 0; j < (i % 2 ? 2 : 3); j++) {
			err = gm_job_wait(job[j], cf_kernel ? GM_FOREVER : 0);
			/* A driver's library may have detached its device first. */
			if (err != -ECANCELED && err != -EFAULT && err != -ENODEV)
				assert_int_equal(err, 0);
			assert_int_equal(gm_job_cancel(job[j]), 0);
			assert_int_equal(end_of(job[j]), err);
		}
	}
}

struct owner {
	struct cf *cf;
	pthread_t thread;
	char *p;
	int node, err;
};

/* One thread of many, with jobs of its own: each ends, as it may. */
static void *own_jobs(void *arg)
{
	struct owner *o = arg;

	for (int i = 0; i < 30 && !o->err; i++) {
		struct gm_job *job;
		int err = hmadvise_async(i % 3 ? o->node : GM_NODE_HOST, o->p, BLOCK, GM_PREFETCH,
					 &job);

		if (err) {
			o->err = err;
			break;
		}
		if (i % 5 == 4)
			gm_job_cancel(job);
		if (i % 7)
			err = gm_job_wait(job, i % 2 ? GM_FOREVER : 1000);
		gm_job_free(job);
		if (err && err != -ECANCELED && err != -ENODEV && err != -ETIMEDOUT &&
		    err != -EBUSY && err != -ENOSPC)
			o->err = err;
	}
	return NULL;
}

/* Four threads with jobs, while memory comes and goes and a device is pulled out. */
static void test_job_storm(struct cf *cf)
{
	char *p = cf_alloc(cf, 4 * BLOCK);
	struct owner o[4];

	cf_fill(cf, CPU, p, 4 * BLOCK, 1);
	for (int i = 0; i < 4; i++) {
		o[i] = (struct owner){ .cf = cf,
				       .p = p + i * (int64_t)BLOCK,
				       .node = cf_node(cf, i % 2) };
		assert_int_equal(pthread_create(&o[i].thread, NULL, own_jobs, &o[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		char *q = cf_alloc(cf, 2 * BLOCK);

		assert_int_equal(hmadvise_async(cf_node(cf, 1), q, 2 * BLOCK, GM_PREFETCH, NULL),
				 0);
		cf_unmap(cf, q, 2 * BLOCK);
		if (i == 2)
			assert_int_equal(gm_sim_unplug(cf->sim[0]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(o[i].thread, NULL);
		assert_int_equal(o[i].err, 0);
	}
	cf_check(cf, CPU, p, 4 * BLOCK, 1);
	cf_unmap(cf, p, 4 * BLOCK);
}

const struct CMUnitTest cf_async_tests[] = {
	CF_TEST(test_async),	   CF_TEST(test_ranges),     CF_TEST(test_epoll),
	CF_TEST(test_cancel),	   CF_TEST(test_job_errors), CF_TEST(test_job_unmap),
	CF_TEST(test_job_destroy), CF_TEST(test_job_storm),
};
const size_t cf_nr_async_tests = sizeof(cf_async_tests) / sizeof(cf_async_tests[0]);
