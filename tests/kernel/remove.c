// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that is pulled out while processes use it. That the modules can be unloaded
 * afterwards the last test of all shows.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "kt.h"

#define LEN (6 * BLOCK)
#define PLACES 48UL
#define STRIDE (LEN / PLACES)

static int pull_out(int sim)
{
	struct gmem_sim_remove r = { .size = sizeof(r) };

	return kt_ioctl(sim, GMEM_SIM_IOC_REMOVE, &r);
}

static void is_empty(struct kt *t)
{
	struct gmem_hnode_info info;

	kt_hnode(t->node, &info);
	CHECK_EQ(info.free, info.total);
	CHECK_EQ(info.blocks, 0);
}

static volatile uint64_t *at(void *p)
{
	return p;
}

static void fill(struct kt *t)
{
	for (uint64_t i = 0; i < t->len; i += PAGE)
		*at(t->mem + i) = kt_pattern(3, i);
}

/* It is no place for anything any more; what it had is home, its MMU need not answer. */
static void remove_idle(void)
{
	struct gmem_sim_remove bad = { .size = sizeof(bad), .pad = 1 };
	struct gmem_sim_attach a = { .size = sizeof(a) };
	uint64_t word = 1;
	struct kt t;

	kt_begin(&t, 2 * BLOCK, 4 * BLOCK);
	fill(&t);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_PIN, t.node, t.mem, 8 * PAGE), 0);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + PAGE), kt_pattern(3, PAGE));
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_REMOVE, &bad), -EINVAL);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_PMAP_RELEASE, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_TLB_INVL, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(pull_out(t.sim), 0);
	is_empty(&t);
	CHECK_EQ(pull_out(t.sim), 0);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem, &word, 8), -ENODEV);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_WRITE, t.mem, &word, 8), -ENODEV);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, PAGE), -ENODEV);
	CHECK_EQ(kt_advise(t.as, GMEM_PIN, t.node, t.mem, PAGE), -ENODEV);
	a.as = kt_as(0);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_ATTACH, &a), -ENODEV);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(*at(t.mem + i), kt_pattern(3, i));
	kt_end(&t);
}

/* The CPU's mappings go too, of whatever size. */
static void remove_aperture(void)
{
	struct kt t;

	kt_begin_aperture(&t, BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	fill(&t);
	CHECK_EQ(kt_node(t.as, t.mem + PAGE), t.node);
	CHECK_EQ(pull_out(t.sim), 0);
	is_empty(&t);
	CHECK_EQ(kt_node(t.as, t.mem + PAGE), GMEM_NODE_HOST);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(*at(t.mem + i), kt_pattern(3, i));
	fill(&t);
	kt_end(&t);
}

/* Nobody detaches it; the process dies with it. */
static void remove_and_die(void)
{
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	fill(&t);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_COPY_FENCE, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(pull_out(t.sim), 0);
	is_empty(&t);
	raise(SIGKILL);
}

static void remove_killed(void)
{
	pid_t pid = fork();

	if (!pid)
		remove_and_die();
	CHECK_EQ(kt_wait(pid), -SIGKILL);
}

/* ------------------------------------------------------------------------ under load */

enum { WORD_CPU, WORD_LANE, WORD_OTHER = WORD_LANE + 2, WORDS };

struct worker {
	struct load *load;
	unsigned int word;
	pthread_t thread;
	uint64_t tries; /* atomic */
	uint64_t failed;
	uint64_t done[PLACES];
	bool gone[PLACES];
};

struct load {
	struct kt t;
	int other, other_ctx, other_node; /* a second device, with a link to the first */
	bool dead;
	int stop; /* atomic */
	struct worker worker[WORDS];
};

static __thread sigjmp_buf env;

static void on_sigbus(int sig, siginfo_t *si, void *uc)
{
	(void)si;
	(void)uc;
	siglongjmp(env, sig);
}

static bool cpu_counts(volatile uint64_t *word)
{
	if (sigsetjmp(env, 1))
		return false;
	*word = *word + 1;
	return true;
}

static uint64_t *place(struct load *l, uint64_t i)
{
	return (uint64_t *)(void *)(l->t.mem + i * STRIDE + i % 16 * PAGE);
}

/* 0, or an access has failed. */
static int count(struct worker *w, uint64_t i)
{
	struct load *l = w->load;
	uint64_t one = 1, *word = place(l, i) + w->word;

	if (w->word == WORD_CPU)
		return cpu_counts(word) ? 0 : -EFAULT;
	if (w->word == WORD_OTHER)
		return kt_dev(l->other, l->other_ctx, GMEM_SIM_ADD64, word, &one, 8);
	return kt_dev_lane(l->t.sim, l->t.ctx, w->word - WORD_LANE, GMEM_SIM_ADD64, word, &one, 8);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;
	int err;

	for (uint64_t i = 0; !__atomic_load_n(&l->stop, __ATOMIC_RELAXED); i = (i + 1) % PLACES) {
		__atomic_fetch_add(&w->tries, 1, __ATOMIC_RELAXED);
		err = w->gone[i] ? 0 : count(w, i);
		if (w->gone[i])
			sched_yield();
		else if (!err)
			w->done[i]++;
		else if (err != -EBUSY) {
			w->gone[i] = true;
			w->failed++;
		}
		if (err == -ENODEV)
			break;
	}
	return NULL;
}

static void wait_for(struct load *l, unsigned int word, uint64_t more)
{
	struct worker *w = &l->worker[word];
	uint64_t begin = __atomic_load_n(&w->tries, __ATOMIC_RELAXED);

	while (__atomic_load_n(&w->tries, __ATOMIC_RELAXED) < begin + more)
		sched_yield();
}

/* Every count is what who made it knows, or the page is lost, which it may be if @dead. */
static void check(struct load *l)
{
	uint64_t v[WORDS];

	for (uint64_t i = 0; i < PLACES; i++) {
		struct gmem_copy c = { .size = sizeof(c),
				       .hnode = GMEM_NODE_NONE,
				       .dst = (uintptr_t)v,
				       .src = (uintptr_t)place(l, i),
				       .len = sizeof(v) };

		if (kt_flags(l->t.as, place(l, i)) & GMEM_PAGE_POISONED) {
			CHECK(l->dead);
			continue;
		}
		CHECK_EQ(kt_ioctl(l->t.as, GMEM_COPY, &c), 0);
		for (unsigned int w = 0; w < WORDS; w++)
			CHECK_EQ(v[w], l->worker[w].done[i]);
	}
}

static void under_load(bool dead)
{
	struct sigaction act = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct gmem_sim_detach d = { .size = sizeof(d) };
	static struct load l;

	CHECK_EQ(sigaction(SIGBUS, &act, NULL), 0);
	memset(&l, 0, sizeof(l));
	l.dead = dead;
	kt_begin(&l.t, LEN, 4 * BLOCK);
	l.other = kt_sim(4 * BLOCK, 0, &l.other_node);
	l.other_ctx = kt_attach(l.other, l.t.as);
	for (unsigned int w = 0; w < WORDS; w++) {
		l.worker[w].load = &l;
		l.worker[w].word = w;
		CHECK_EQ(pthread_create(&l.worker[w].thread, NULL, work, &l.worker[w]), 0);
	}
	for (unsigned int w = 0; w < WORDS; w++)
		wait_for(&l, w, PLACES);
	if (dead)
		CHECK_EQ(kt_inject(l.t.sim, GMEM_SIM_COPY_FENCE, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(pull_out(l.t.sim), 0);
	is_empty(&l.t);
	wait_for(&l, WORD_CPU, PLACES);
	wait_for(&l, WORD_OTHER, PLACES);
	__atomic_store_n(&l.stop, 1, __ATOMIC_RELAXED);
	for (unsigned int w = 0; w < WORDS; w++)
		pthread_join(l.worker[w].thread, NULL);
	CHECK(dead || !l.worker[WORD_CPU].failed);
	CHECK(dead || !l.worker[WORD_OTHER].failed);
	check(&l);
	d.ctx = (uint32_t)l.other_ctx;
	CHECK_EQ(kt_ioctl(l.other, GMEM_SIM_IOC_DETACH, &d), 0);
	close(l.other);
	kt_end(&l.t);
}

static void remove_load(void)
{
	under_load(false);
}

static void remove_load_dead(void)
{
	under_load(true);
}

const struct kt_test kt_remove[] = {
	{ "remove_idle", remove_idle, 0 },
	{ "remove_aperture", remove_aperture, 0 },
	{ "remove_killed", remove_killed, 0 },
	{ "remove_load", remove_load, 60 },
	{ "remove_load_dead", remove_load_dead, 60 },
	{ 0 },
};
