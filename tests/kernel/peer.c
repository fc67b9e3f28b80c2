// SPDX-License-Identifier: GPL-2.0-only
/* From device to device, straight or by way of the host, with copies done at once or later. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "kt.h"

/* A second device, attached to the same address space. */
struct second {
	int sim, ctx, node;
};

static void second_begin(struct second *s, struct kt *t, uint32_t flags)
{
	s->sim = kt_sim(4 * BLOCK, flags, &s->node);
	s->ctx = kt_attach(s->sim, t->as);
	CHECK(s->ctx >= 0);
}

static void second_end(struct second *s)
{
	struct gmem_sim_detach d = { .size = sizeof(d), .ctx = (uint32_t)s->ctx };
	struct gmem_sim_stats stats;

	CHECK_EQ(kt_ioctl(s->sim, GMEM_SIM_IOC_DETACH, &d), 0);
	kt_sim_stats(s->sim, &stats);
	CHECK_EQ(stats.stale, 0);
	close(s->sim);
}

static volatile uint64_t *at(struct kt *t, uint64_t off)
{
	return (volatile uint64_t *)(void *)(t->mem + off);
}

static void fill(struct kt *t, uint64_t seed)
{
	for (uint64_t off = 0; off < t->len; off += PAGE)
		*at(t, off) = kt_pattern(seed, off);
}

static void check_dev(struct kt *t, int sim, int ctx, uint64_t seed)
{
	for (uint64_t off = 0; off < t->len; off += PAGE)
		CHECK_EQ(kt_dev_load(sim, ctx, t->mem + off), kt_pattern(seed, off));
}

/* There and back, page by page and whole: nothing is copied to the host. */
static void straight(uint32_t flags)
{
	struct gmem_stats before, after;
	struct second s;
	struct kt t;

	kt_begin(&t, 2 * BLOCK, 4 * BLOCK);
	second_begin(&s, &t, flags);
	fill(&t, 1);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	kt_stats(t.as, &before);
	kt_tune(s.sim, PAGE, false);
	for (uint64_t i = 0; i < 300; i++)
		kt_dev_store(s.sim, s.ctx, t.mem + i * PAGE, kt_pattern(1, i * PAGE));
	CHECK_EQ(kt_node(t.as, t.mem + 299 * PAGE), s.node);
	CHECK_EQ(kt_node(t.as, t.mem + 300 * PAGE), t.node);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, s.node, t.mem, t.len), 0);
	check_dev(&t, s.sim, s.ctx, 1);
	CHECK_EQ(kt_advise(t.as, GMEM_PIN, t.node, t.mem, BLOCK), 0);
	CHECK_EQ(kt_flags(t.as, t.mem), GMEM_PAGE_PINNED | GMEM_PAGE_RETAINED);
	CHECK_EQ(kt_advise(t.as, GMEM_UNPIN, 0, t.mem, BLOCK), 0);
	kt_stats(t.as, &after);
	CHECK_EQ(after.pages_to_host, before.pages_to_host);
	CHECK_EQ(after.pages_to_dev, before.pages_to_dev);
	CHECK_EQ(after.pages_peer - before.pages_peer, 3 * BLOCK / PAGE);
	for (uint64_t off = 0; off < t.len; off += PAGE)
		CHECK_EQ(*at(&t, off), kt_pattern(1, off));
	second_end(&s);
	kt_end(&t);
}

static void peer_straight(void)
{
	straight(0);
	straight(GMEM_SIM_ASYNC);
}

static void peer_no_link(void)
{
	struct gmem_stats stats;
	struct second s;
	struct kt t;

	kt_begin(&t, BLOCK, 4 * BLOCK);
	second_begin(&s, &t, GMEM_SIM_NO_LINK);
	fill(&t, 1);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	check_dev(&t, s.sim, s.ctx, 1);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	check_dev(&t, t.sim, t.ctx, 1);
	kt_stats(t.as, &stats);
	CHECK_EQ(stats.pages_peer, 0);
	CHECK_EQ(stats.pages_to_host, 2 * BLOCK / PAGE);
	second_end(&s);
	kt_end(&t);
}

/* Each operation of either device fails: the page is on the device it was on, with its bytes. */
static void peer_failures(void)
{
	static const uint32_t ops[] = { GMEM_SIM_PMAP_RELEASE, GMEM_SIM_TLB_INVL,
					GMEM_SIM_COPY_START, GMEM_SIM_COPY_FENCE };
	struct second s;
	struct kt t;
	uint64_t v;

	kt_begin(&t, BLOCK, 4 * BLOCK);
	second_begin(&s, &t, GMEM_SIM_ASYNC);
	kt_tune(s.sim, PAGE, false);
	for (unsigned int i = 0; i < 4; i++) {
		int sim = i < 2 ? t.sim : s.sim;

		fill(&t, i);
		CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
		CHECK_EQ(kt_inject(sim, ops[i], 0, UINT32_MAX, EIO), 0);
		CHECK_EQ(kt_dev(s.sim, s.ctx, GMEM_SIM_READ, t.mem + 5 * PAGE, &v, 8), -EIO);
		CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, s.node, t.mem, t.len), -EIO);
		CHECK_EQ(kt_node(t.as, t.mem), t.node);
		CHECK_EQ(kt_node(t.as, t.mem + 5 * PAGE), t.node);
		CHECK_EQ(kt_inject(sim, ops[i], 0, 0, 0), 0);
		check_dev(&t, t.sim, t.ctx, i);
		check_dev(&t, s.sim, s.ctx, i);
	}
	second_end(&s);
	kt_end(&t);
}

struct mover {
	struct kt *t;
	int node[2];
	uint64_t off, failures;
};

static void *move(void *arg)
{
	struct mover *m = arg;

	for (unsigned int i = 0; i < 60; i++) {
		int err = kt_advise(m->t->as, GMEM_PREFETCH, m->node[i % 2], m->t->mem + m->off,
				    2 * BLOCK);

		m->failures += err && err != -EBUSY;
	}
	return NULL;
}

/* Opposite ways at once, between devices that have no room for all of it. */
static void peer_crossing(void)
{
	struct mover m[3];
	pthread_t thread[3];
	struct second s;
	struct kt t;

	kt_begin(&t, 6 * BLOCK, 4 * BLOCK);
	second_begin(&s, &t, GMEM_SIM_ASYNC);
	fill(&t, 7);
	for (unsigned int i = 0; i < 3; i++) {
		m[i] = (struct mover){ .t = &t, .off = 2 * i * BLOCK };
		m[i].node[i % 2] = t.node;
		m[i].node[!(i % 2)] = s.node;
		CHECK_EQ(pthread_create(&thread[i], NULL, move, &m[i]), 0);
	}
	for (unsigned int i = 0; i < 3; i++) {
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
		CHECK_EQ(m[i].failures, 0);
	}
	check_dev(&t, s.sim, s.ctx, 7);
	check_dev(&t, t.sim, t.ctx, 7);
	second_end(&s);
	kt_end(&t);
}

const struct kt_test kt_peer[] = {
	{ "peer_straight", peer_straight, 60 },
	{ "peer_no_link", peer_no_link, 60 },
	{ "peer_failures", peer_failures, 60 },
	{ "peer_crossing", peer_crossing, 120 },
	{ 0 },
};
