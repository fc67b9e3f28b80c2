// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Events as a program reads them, each kind with what is known of it here; and pages that go back
 * and forth, whose moves are counted against their bound.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <gmem/events.h>

#include "conformance.h"

#define KIND(kind) (1U << GM_EVENT_##kind)

static struct gm_events *listen_to(uint32_t kinds)
{
	struct gm_events_options opt = { .size = sizeof(opt), .kinds = kinds };
	struct gm_events *e;

	assert_int_equal(gm_events_open(&opt, &e), 0);
	return e;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

/* The next event: a service thread may tell of a fault when the access has gone on already. */
static struct gm_event_record next(struct gm_events *e, enum gm_event_kind kind)
{
	struct pollfd fd = { .fd = gm_events_fd(e), .events = POLLIN };
	struct gm_event_record r;
	int n;

	while (!(n = gm_events_read(e, &r, 1)))
		assert_int_equal(poll(&fd, 1, 10000), 1);
	assert_int_equal(n, 1);
	assert_int_equal(r.version, GM_EVENT_VERSION);
	assert_int_equal(r.size, sizeof(r));
	assert_int_equal(r.kind, kind);
	assert_true(r.time <= now_ns() && r.took < r.time);
	return r;
}

static void no_more(struct gm_events *e)
{
	struct gm_event_record r;
	uint64_t lost;

	assert_int_equal(gm_events_read(e, &r, 1), 0);
	assert_int_equal(gm_events_lost(e, &lost), 0);
	assert_int_equal(lost, 0);
}

static void is_at(const struct gm_event_record *r, const void *p, uint64_t offset)
{
	assert_true(r->addr == (uintptr_t)p);
	assert_true(r->offset == offset);
	assert_true(r->as && r->object);
	assert_int_equal(r->pid, getpid());
	assert_true(r->tid > 0);
}

/* A device's fault, then the CPU's: what was asked for, what moved, and what went from its TLB. */
static void test_events(struct cf *cf)
{
	struct gm_dev_tunables t = { .size = sizeof(t), .granule = PAGE, .no_grow = 1 };
	uint64_t unit = cf_unit(), begin = now_ns(), at, v;
	struct gm_events *faults, *moves, *invl;
	struct gm_event_record r, m;
	int node = cf_node(cf, 0);
	char *p, *q;

	assert_int_equal(gm_dev_tune(cf_dev(cf, 0), &t), 0);
	p = cf_alloc(cf, 2 * BLOCK);
	at = BLOCK + unit % BLOCK; /* inside a block, if it can be */
	q = p + at;
	cf_fill(cf, CPU, q, PAGE, 1);
	faults = listen_to(KIND(FAULT));
	moves = listen_to(KIND(MIGRATE) | KIND(EVICT));
	invl = listen_to(KIND(INVALIDATE));
	assert_int_equal(cf_dev_store(cf, 0, q + 8, 5), 0);
	r = next(faults, GM_EVENT_FAULT);
	assert_true(r.time > begin);
	is_at(&r, q + (r.addr - (uintptr_t)q), at);
	assert_in_range(r.addr, (uintptr_t)q, (uintptr_t)q + 8);
	assert_in_range(r.dev_addr, (uintptr_t)q, (uintptr_t)q + 8);
	assert_int_equal(r.why, GM_WHY_DEV_FAULT);
	assert_int_equal(r.count, GM_WRITE);
	assert_int_equal(r.from, GM_NODE_HOST);
	assert_int_equal(r.to, node);
	assert_int_equal(r.err, 0);
	m = next(moves, GM_EVENT_MIGRATE);
	is_at(&m, q, at);
	assert_true(m.as == r.as && m.object == r.object && m.time <= r.time);
	assert_int_equal(m.why, GM_WHY_DEV_FAULT);
	assert_int_equal(m.from, GM_NODE_HOST);
	assert_int_equal(m.to, node);
	assert_int_equal(m.len, unit);
	assert_int_equal(m.pages, unit / PAGE);
	assert_int_equal(m.bytes, PAGE); /* the others of its base page were zero */

	assert_int_equal(*(volatile uint64_t *)(void *)(q + 8), 5);
	r = next(faults, GM_EVENT_FAULT);
	is_at(&r, q + (r.addr - (uintptr_t)q), at);
	assert_in_range(r.addr, (uintptr_t)q, (uintptr_t)q + 8);
	assert_int_equal(r.dev_addr, 0);
	assert_int_equal(r.why, GM_WHY_CPU_FAULT);
	assert_int_equal(r.from, node);
	assert_int_equal(r.to, GM_NODE_HOST);
	m = next(moves, GM_EVENT_MIGRATE);
	is_at(&m, q, at);
	assert_int_equal(m.why, GM_WHY_CPU_FAULT);
	assert_int_equal(m.from, node);
	assert_int_equal(m.to, GM_NODE_HOST);
	assert_int_equal(m.bytes, unit);
	no_more(faults);
	no_more(moves);
	if (!cf_dev_flags) { /* by one message there is no invalidation of its own */
		r = next(invl, GM_EVENT_INVALIDATE);
		assert_true(r.dev_addr == (uintptr_t)q && r.as == m.as);
		assert_int_equal(r.len, unit);
		assert_int_equal(r.count, 1);
		assert_int_equal(r.from, node);
		no_more(invl);
	}

	assert_int_equal(cf_dev_load(cf, 0, p + 2 * BLOCK, &v), -EFAULT);
	r = next(faults, GM_EVENT_FAULT);
	assert_int_equal(r.err, -EFAULT);
	assert_true(r.dev_addr == (uintptr_t)p + 2 * BLOCK && !r.addr && !r.object && r.as);
	gm_events_close(faults);
	gm_events_close(moves);
	gm_events_close(invl);
	cf_unmap(cf, p, 2 * BLOCK);
}

/* More than the device has: what is evicted is the process's own, and it is told where. */
static void test_events_evict(struct cf *cf)
{
	struct gm_events *e = listen_to(KIND(EVICT));
	uint64_t len = DEV_MEMORY + 2 * BLOCK;
	struct gm_event_record r;
	unsigned int n = 0;
	char *p = cf_alloc(cf, len);
	struct pollfd fd = { .fd = gm_events_fd(e), .events = POLLIN };

	cf_fill(cf, 0, p, len, 1);
	assert_int_equal(poll(&fd, 1, 10000), 1);
	while (gm_events_read(e, &r, 1) == 1) {
		is_at(&r, p + r.offset, r.offset);
		assert_true(r.offset % BLOCK == 0 && r.offset < len);
		assert_int_equal(r.from, cf_node(cf, 0));
		assert_int_equal(r.to, GM_NODE_HOST);
		assert_int_equal(r.why, GM_WHY_EVICT);
		n++;
	}
	assert_true(n > 0);
	gm_events_close(e);
	cf_check(cf, CPU, p, len, 1);
	cf_unmap(cf, p, len);
}

/* A device goes, and its copy engine with it. */
static void test_events_remove(struct cf *cf)
{
	struct gm_events *e = listen_to(KIND(POISON) | KIND(REMOVE));
	char *p = cf_alloc(cf, BLOCK);
	struct gm_event_record r;
	uint64_t n = cf_unit() / PAGE;

	cf_fill(cf, 0, p, PAGE, 1);
	assert_int_equal(hmadvise(GM_NODE_HOST, p, BLOCK, GM_PREFETCH), 0);
	cf_fill(cf, 0, p, PAGE, 1);
	for (uint64_t off = cf_unit(); off < BLOCK; off += cf_unit()) /* just the first unit */
		assert_int_equal(hmadvise(GM_NODE_HOST, p + off, cf_unit(), GM_PREFETCH), 0);
	gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_sim_unplug(cf->sim[0]), 0);
	for (uint64_t i = 0; i < n; i++) {
		r = next(e, GM_EVENT_POISON);
		is_at(&r, p + i * PAGE, i * PAGE);
		assert_int_equal(r.why, GM_WHY_DRAIN);
		assert_int_equal(r.pages, 1);
		assert_int_equal(r.from, cf_node(cf, 0));
	}
	r = next(e, GM_EVENT_REMOVE);
	assert_int_equal(r.from, cf_node(cf, 0));
	assert_int_equal(r.why, GM_WHY_DRAIN);
	assert_int_equal(r.err, 0);
	assert_true(!r.as && !r.object);
	no_more(e);
	gm_events_close(e);
	cf_unmap(cf, p, BLOCK);
}

/* A ring that is full counts, and no reader waits for another, nor anybody for a reader. */
static void test_events_lost(struct cf *cf)
{
	struct gm_events_options opt = { .size = sizeof(opt), .kinds = KIND(FAULT), .records = 4 };
	struct gm_events *few, *many = listen_to(KIND(FAULT));
	struct gm_event_record r[64];
	/* Pieces that are not taken for the same one, which would go back and forth. */
	uint64_t lost, unit = cf_unit() < (64 << 10) ? 64 << 10 : cf_unit();
	char *p = cf_alloc(cf, BLOCK);
	int got, all = 0;

	assert_int_equal(gm_events_open(&opt, &few), 0);
	opt.kinds = 1U << 31;
	assert_int_equal(gm_events_open(&opt, &(struct gm_events *){ NULL }), -EINVAL);
	opt.kinds = 0;
	opt.records = GM_EVENTS_MAX + 1;
	assert_int_equal(gm_events_open(&opt, &(struct gm_events *){ NULL }), -EINVAL);
	for (uint64_t i = 0; i < 20; i++) {
		char *q = p + i * unit % BLOCK;

		assert_int_equal(cf_dev_store(cf, 0, q, i), 0);
		assert_int_equal(*(volatile uint64_t *)(void *)q, i);
	}
	while (all < 40) { /* the last may still be on its way */
		(void)next(many, GM_EVENT_FAULT);
		all++;
	}
	no_more(many);
	do
		assert_int_equal(gm_events_lost(few, &lost), 0);
	while (lost < 36);
	assert_int_equal(lost, 36);
	got = gm_events_read(few, r, 64);
	assert_int_equal(got, 4);
	gm_events_close(few);
	gm_events_close(many);
	cf_unmap(cf, p, BLOCK);
}

/* ---------------------------------------------------------------------- ping-pong */

#define HOLD_NS 4000000ULL
#define ENOUGH 24U /* moves to watch */

struct game {
	struct cf *cf;
	char *page;
	int who;      /* the player's partner is device 0 */
	int stop;     /* atomic */
	uint64_t err; /* atomic */
};

static void tune_game(struct cf *cf, int dev)
{
	struct gm_dev_tunables t = { .size = sizeof(t),
				     .granule = PAGE,
				     .no_grow = 1,
				     .thrash_lapse_us = GM_THRASH_LAPSE_MAX, /* on any machine */
				     .thrash_hold_us = HOLD_NS / 1000 };

	assert_int_equal(gm_dev_tune(cf_dev(cf, dev), &t), 0);
}

/* Count in a word of one's own, as fast as one can. */
static void *play(void *arg)
{
	struct game *g = arg;
	uint64_t n = 0, v;

	while (!__atomic_load_n(&g->stop, __ATOMIC_RELAXED)) {
		if (g->who == CPU) {
			volatile uint64_t *w = (volatile uint64_t *)(void *)g->page;

			if (*w != n)
				break;
			*w = ++n;
		} else {
			if (cf_dev_load(g->cf, g->who, g->page, &v) || v != n ||
			    cf_dev_store(g->cf, g->who, g->page, ++n))
				break;
		}
	}
	if (!__atomic_load_n(&g->stop, __ATOMIC_RELAXED))
		__atomic_store_n(&g->err, n + 1, __ATOMIC_RELAXED);
	return (void *)(uintptr_t)n;
}

static uint64_t moves(struct cf *cf)
{
	struct gm_stats s = cf_as_stats(cf);

	return (s.pages_to_dev + s.pages_to_host + s.pages_peer) / (cf_unit() / PAGE);
}

/*
 * Two count in a page at once until it has moved so often, or stays in host memory, where both
 * can use it: no count is lost, both get on, and it moved no more often than in pingpong.c's
 * bound, however fast the machine.
 */
static void ping_pong(struct cf *cf, int other)
{
	struct gm_events *e = listen_to(KIND(THRASH));
	uint64_t begin, time, first, n = 0, v, theirs, limit, more = 0;
	bool share = cf_unit() == PAGE;
	struct game g = { .cf = cf, .who = other };
	struct gm_event_record r;
	struct gm_stats s;
	pthread_t thread;
	void *ret;

	tune_game(cf, 0);
	tune_game(cf, 1);
	g.page = cf_alloc(cf, BLOCK);
	cf_fill(cf, CPU, g.page, PAGE, 1);
	*(volatile uint64_t *)(void *)g.page = 0;
	*(volatile uint64_t *)(void *)(g.page + 64) = 0;
	first = moves(cf);
	begin = now_ns();
	assert_int_equal(pthread_create(&thread, NULL, play, &g), 0);
	/* On a busy machine one may not run for as long as the other holds the page. */
	while ((share ? more < 1000 : moves(cf) - first < ENOUGH || !cf_as_stats(cf).faults_held) &&
	       !__atomic_load_n(&g.err, __ATOMIC_RELAXED)) {
		more += more || cf_as_stats(cf).remote_maps;
		assert_int_equal(cf_dev_load(cf, 0, g.page + 64, &v), 0);
		assert_int_equal(v, n);
		assert_int_equal(cf_dev_store(cf, 0, g.page + 64, ++n), 0);
	}
	__atomic_store_n(&g.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, &ret);
	theirs = (uintptr_t)ret;
	time = now_ns() - begin;
	assert_int_equal(g.err, 0);
	assert_true(n > 0 && theirs > 0);
	assert_int_equal(*(volatile uint64_t *)(void *)g.page, theirs);
	assert_int_equal(*(volatile uint64_t *)(void *)(g.page + 64), n);
	/* What is shared moves until it is noticed, once in so long, and once again by who is first. */
	limit = share ? 12 * (time / (256 * HOLD_NS) + 1) : 6 + 2 * (time / HOLD_NS + 1);
	if (other != CPU)
		limit *= 2; /* it may be by way of the host, and is where they have no link */
	if (moves(cf) - first > limit)
		print_message("%llu moves in %llu us\n", (unsigned long long)(moves(cf) - first),
			      (unsigned long long)(time / 1000));
	assert_true(moves(cf) - first <= limit);
	s = cf_as_stats(cf);
	assert_true(s.thrashes > 0 && (share ? s.remote_maps : s.faults_held) > 0);
	r = next(e, GM_EVENT_THRASH);
	assert_true(r.addr >= (uintptr_t)g.page && r.addr < (uintptr_t)g.page + cf_unit());
	assert_true(r.from == cf_node(cf, 0) || r.to == cf_node(cf, 0));
	assert_int_equal(r.count, 3);
	gm_events_close(e);
	cf_unmap(cf, g.page, BLOCK);
}

static void test_ping_pong_cpu(struct cf *cf)
{
	ping_pong(cf, CPU);
}

static void test_ping_pong_devices(struct cf *cf)
{
	ping_pong(cf, 1);
}

const struct CMUnitTest cf_events_tests[] = {
	CF_TEST(test_events),	   CF_TEST(test_events_evict),	CF_TEST(test_events_remove),
	CF_TEST(test_events_lost), CF_TEST(test_ping_pong_cpu), CF_TEST(test_ping_pong_devices),
};
const size_t cf_nr_events_tests = sizeof(cf_events_tests) / sizeof(cf_events_tests[0]);
