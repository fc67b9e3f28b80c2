// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A device that is pulled out: at rest, and under load, with a copy engine that works and with
 * one that is dead.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>

#include "conformance.h"

static void pull_out(struct cf *cf)
{
	struct gm_hnode_info info = { .size = sizeof(info) };

	assert_int_equal(gm_sim_unplug(cf->sim[0]), 0);
	assert_int_equal(gm_hnode_info(cf_node(cf, 0), &info), 0);
	assert_int_equal(info.free, info.total);
	assert_int_equal(info.blocks, 0);
}

/* What it has comes home, pinned too, and it takes nothing any more; the other goes on. */
static void test_remove(struct cf *cf)
{
	uint64_t len = 3 * BLOCK, v;
	char *p = cf_alloc(cf, len);
	struct gm_sim_ctx *ctx;

	cf_fill(cf, 0, p, len, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, 4 * PAGE, GM_PIN), 0);
	pull_out(cf);
	cf_on(p, BLOCK, GM_NODE_HOST);
	assert_int_equal(cf_dev_load(cf, 0, p, &v), -ENODEV);
	assert_int_equal(cf_dev_store(cf, 0, p + 9 * PAGE, 1), -ENODEV);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, PAGE, GM_PREFETCH), -ENODEV);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, PAGE, GM_PIN), -ENODEV);
	assert_int_equal(gm_sim_attach(cf->sim[0], cf->as, &ctx), -EBUSY);
	pull_out(cf);
	cf_check(cf, CPU, p, len, 1);
	cf_check(cf, 1, p, len, 1);
	cf_fill(cf, 1, p, len, 2);
	assert_int_equal(gm_sim_detach(cf->ctx[0]), 0);
	cf->ctx[0] = NULL;
	assert_int_equal(gm_sim_attach(cf->sim[0], cf->as, &ctx), -ENODEV);
	cf_check(cf, CPU, p, len, 2);
	cf_unmap(cf, p, len);

	/* Plugged in anew it is a device like any other. */
	assert_int_equal(gm_sim_destroy(cf->sim[0]), 0);
	cf->sim[0] = cf_sim();
	assert_int_equal(gm_sim_attach(cf->sim[0], cf->as, &cf->ctx[0]), 0);
	p = cf_alloc(cf, BLOCK);
	cf_fill(cf, 0, p, BLOCK, 3);
	cf_check(cf, CPU, p, BLOCK, 3);
	cf_unmap(cf, p, BLOCK);
}

/* Its copy engine is dead: what it has is lost, and says so; what it has not is not. */
static void test_remove_dead(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);
	struct gm_page_info info;
	uint64_t v;

	cf_fill(cf, CPU, p, 2 * BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, BLOCK, GM_PREFETCH), 0);
	gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	gm_sim_inject(cf->sim[0], GM_SIM_PMAP_RELEASE, 0, UINT32_MAX, -EIO);
	gm_sim_inject(cf->sim[0], GM_SIM_TLB_INVL, 0, UINT32_MAX, -EIO);
	pull_out(cf);
	for (uint64_t off = 0; off < BLOCK; off += PAGE) {
		assert_int_equal(gm_query(p + off, PAGE, &info), 0);
		assert_int_equal(info.flags, GM_PAGE_POISONED);
		assert_int_equal(info.node, GM_NODE_NONE);
	}
	assert_int_equal(cf_cpu_dies(p + 5 * PAGE + 8, false, SIGBUS), BUS_MCEERR_AR);
	assert_int_equal(cf_dev_load(cf, 1, p + 5 * PAGE, &v), -EHWPOISON);
	assert_int_equal(hmemcpy(GM_NODE_NONE, &v, p, 8), -EHWPOISON);
	cf_check_at(cf, CPU, p + BLOCK, BLOCK, 1, BLOCK);
	cf_check_at(cf, 1, p + BLOCK, BLOCK, 1, BLOCK);
	assert_int_equal(hmadvise(0, p, BLOCK, GM_DONTNEED), 0);
	cf_check_zero(cf, 1, p, BLOCK);
	cf_check_zero(cf, CPU, p, BLOCK);
	cf_unmap(cf, p, 2 * BLOCK);
}

/* ---------------------------------------------------------------------------- under load */

/*
 * The CPU, device 1 and the lanes of device 0 each count in a word of their own, in places all
 * over more memory than a device has, so that faults, direct copies and evictions are under
 * way all the time. What each has counted it knows too.
 */
#define PLACES 48
#define STRIDE (64 * PAGE)
enum { WORD_CPU, WORD_DEV, WORD_LANE, WORDS = WORD_LANE + 2 };

struct load {
	struct cf *cf;
	char *p;
	uint64_t done[WORDS][PLACES]; /* each its own thread's */
	uint64_t tries[WORDS];	      /* atomic */
	int stop;		      /* atomic */
	bool gone[2][PLACES];	      /* the CPU's or device 1's access has failed */
	uint64_t failed;	      /* such accesses; atomic */
	int err;		      /* of the lanes */
};

static uint64_t *word(struct load *l, unsigned int who, uint64_t i)
{
	return (uint64_t *)(void *)(l->p + i * STRIDE + i % 16 * PAGE) + who;
}

static bool goes_on(struct load *l, unsigned int who)
{
	__atomic_fetch_add(&l->tries[who], 1, __ATOMIC_RELAXED);
	return !__atomic_load_n(&l->stop, __ATOMIC_RELAXED);
}

static void is_gone(struct load *l, unsigned int who, uint64_t i)
{
	l->gone[who][i] = true;
	__atomic_fetch_add(&l->failed, 1, __ATOMIC_RELAXED);
}

static __thread sigjmp_buf load_env;

static void on_sigbus(int sig, siginfo_t *si, void *uc)
{
	if (!gm_sigbus(sig, si, uc))
		siglongjmp(load_env, 1);
}

static bool cpu_counts(volatile uint64_t *w)
{
	if (sigsetjmp(load_env, 1))
		return false;
	*w = *w + 1;
	return true;
}

static void *cpu_load(void *arg)
{
	struct load *l = arg;

	for (uint64_t i = 0; goes_on(l, WORD_CPU); i = (i + 1) % PLACES) {
		if (l->gone[WORD_CPU][i])
			sched_yield();
		else if (cpu_counts(word(l, WORD_CPU, i)))
			l->done[WORD_CPU][i]++;
		else
			is_gone(l, WORD_CPU, i);
	}
	return NULL;
}

static void *dev_load(void *arg)
{
	struct load *l = arg;
	uint64_t v;

	for (uint64_t i = 0; goes_on(l, WORD_DEV); i = (i + 1) % PLACES) {
		if (l->gone[WORD_DEV][i])
			sched_yield();
		else if (!cf_dev_load(l->cf, 1, word(l, WORD_DEV, i), &v) &&
			 !cf_dev_store(l->cf, 1, word(l, WORD_DEV, i), v + 1))
			l->done[WORD_DEV][i]++;
		else
			is_gone(l, WORD_DEV, i);
	}
	return NULL;
}

static void lane_load(struct gm_sim_lane *lane, void *arg)
{
	unsigned int who = WORD_LANE + gm_sim_lane_id(lane);
	struct load *l = arg;

	for (uint64_t i = 0; goes_on(l, who); i = (i + 1) % PLACES) {
		gm_sim_add64(lane, word(l, who, i), 1);
		l->done[who][i]++;
	}
}

static void *lanes_load(void *arg)
{
	struct load *l = arg;

	l->err = gm_sim_launch(l->cf->ctx[0], lane_load, l);
	return NULL;
}

/* Until each of the first @n has tried @more times. */
static void wait_for(struct load *l, unsigned int n, uint64_t more)
{
	for (unsigned int who = 0; who < n; who++) {
		uint64_t begin = __atomic_load_n(&l->tries[who], __ATOMIC_RELAXED);

		while (__atomic_load_n(&l->tries[who], __ATOMIC_RELAXED) < begin + more)
			sched_yield();
	}
}

/* Every count is what its owner has counted, or the page is lost, and that only if it may be. */
static void check_counts(struct load *l, bool may_be_lost)
{
	struct gm_page_info info;
	uint64_t w[WORDS];

	for (uint64_t i = 0; i < PLACES; i++) {
		assert_int_equal(gm_query(word(l, 0, i), PAGE, &info), 0);
		if (info.flags & GM_PAGE_POISONED) {
			assert_true(may_be_lost);
			continue;
		}
		assert_int_equal(hmemcpy(GM_NODE_NONE, w, word(l, 0, i), sizeof(w)), 0);
		for (unsigned int who = 0; who < WORDS; who++)
			assert_int_equal(w[who], l->done[who][i]);
	}
}

static void under_load(struct cf *cf, bool dead)
{
	static void *(*const fn[])(void *) = { cpu_load, dev_load, lanes_load };
	struct sigaction act = { .sa_flags = SA_SIGINFO }, saved;
	char *kept = cf_alloc(cf, BLOCK);
	static struct load l;
	pthread_t t[3];

	memset(&l, 0, sizeof(l));
	l.cf = cf;
	l.p = cf_alloc(cf, PLACES * STRIDE);
	cf_fill(cf, 0, kept, BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), kept, BLOCK, GM_PIN), 0);
	act.sa_sigaction = on_sigbus;
	sigaction(SIGBUS, &act, &saved);
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, fn[i], &l);
	wait_for(&l, WORDS, PLACES);
	if (dead)
		gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	pull_out(cf);
	wait_for(&l, WORD_LANE, PLACES);
	__atomic_store_n(&l.stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	sigaction(SIGBUS, &saved, NULL);
	if (!dead) {
		assert_int_equal(l.err, -ENODEV);
		assert_int_equal(l.failed, 0);
		cf_check(cf, CPU, kept, BLOCK, 1);
	} else {
		assert_int_not_equal(l.err, 0);
		assert_int_equal(cf_cpu_dies(kept + 7 * PAGE, true, SIGBUS), BUS_MCEERR_AR);
	}
	check_counts(&l, dead);
	cf_unmap(cf, l.p, PLACES * STRIDE);
	cf_unmap(cf, kept, BLOCK);
}

static void test_remove_under_load(struct cf *cf)
{
	under_load(cf, false);
}

static void test_remove_dead_under_load(struct cf *cf)
{
	under_load(cf, true);
}

const struct CMUnitTest cf_remove_tests[] = {
	CF_TEST(test_remove),
	CF_TEST(test_remove_dead),
	CF_TEST(test_remove_under_load),
	CF_TEST(test_remove_dead_under_load),
};
const size_t cf_nr_remove_tests = sizeof(cf_remove_tests) / sizeof(cf_remove_tests[0]);
