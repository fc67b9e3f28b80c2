// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Paging by single pages: Belady's optimum against all choices there are, every policy against
 * one that is written to be read, and the accounting by hand.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "paging.h"

#define SEED 20231120U
#define MAX_OPS 4000U
#define MAX_PAGES 64U

static uint64_t rng;

static uint32_t any(uint32_t n)
{
	rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)((rng >> 32) * n >> 32);
}

/* ------------------------------------------------------------------ random traces */

static struct gm_replay_op ops[MAX_OPS];
static const struct gm_replay_object object = { .pages = MAX_PAGES };
static struct gm_replay_trace trace = {
	.objects = &object, .nr_objects = 1, .nr_devs = 1, .ops = ops
};

/* @others: of a hundred operations, how many are not touches; the page differs with its kind. */
static void make(struct paging *p, uint32_t n, uint32_t pages, uint32_t others, uint32_t devs)
{
	uint32_t shape = any(3), at = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t what = any(100), page;

		at = (at + 1) % pages;
		page = shape == 0 ? any(pages) : shape == 1 ? any(any(pages) + 1) : at;
		ops[i] = (struct gm_replay_op){ .page = page, .n = 1, .access = GM_READ };
		if (what >= others) {
			ops[i].kind = GM_REPLAY_ACCESS;
			ops[i].dev = (uint8_t)(1 + any(devs));
		} else if (what % 3 == 0) {
			ops[i].kind = GM_REPLAY_CPU_FAULT;
		} else if (what % 3 == 1) {
			ops[i].kind = GM_REPLAY_HINT;
			ops[i].advice = GM_DONTNEED;
		} else {
			ops[i].kind = GM_REPLAY_PRESENT;
		}
	}
	trace.nr_ops = n;
	trace.nr_devs = devs;
	assert_int_equal(paging_build(&trace, 1, p), 0);
}

/* ------------------------------------------------------- all choices that there are */

/* The fewest misses from step @i on with the pages in @have. */
static uint32_t fewest(const struct paging *p, uint64_t i, uint32_t have, uint32_t frames)
{
	uint32_t best = UINT32_MAX, bit = 0;

	for (; i < p->nr_steps; i++) {
		bit = 1U << p->page[i];
		if (p->what[i] != 1 && p->what[i] != PAGING_FILL)
			have &= ~bit;
		else if (p->what[i] == 1 && !(have & bit))
			break;
	}
	if (i == p->nr_steps)
		return 0;
	if ((uint32_t)__builtin_popcount(have) < frames)
		return 1 + fewest(p, i + 1, have | bit, frames);
	for (uint32_t victim = have; victim; victim &= victim - 1) {
		uint32_t n = fewest(p, i + 1, (have & ~(victim & -victim)) | bit, frames);

		best = n < best ? n : best;
	}
	return 1 + best;
}

static void test_optimum(void **state)
{
	struct paging_result r;
	struct paging p;

	(void)state;
	printf("seed %u\n", SEED);
	rng = SEED;
	for (unsigned int i = 0; i < 2000; i++) {
		uint64_t frames = 1 + any(3);
		uint32_t others = any(2) ? 20 : 0;

		make(&p, 12 + any(8), 2 + any(4), others, 1);
		assert_int_equal(paging_run(&p, &frames, &paging_optimum, &r), 0);
		if (r.misses != fewest(&p, 0, 0, (uint32_t)frames))
			fail_msg("case %u: %llu misses, %u would do", i,
				 (unsigned long long)r.misses, fewest(&p, 0, 0, (uint32_t)frames));
		paging_release(&p);
	}
}

/* ------------------------------------------------------ each policy, to be read */

/* A row of pages, oldest first. */
struct row {
	uint32_t page[4 * MAX_PAGES], n;
};

static bool row_has(const struct row *r, uint32_t page)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (r->page[i] == page)
			return true;
	return false;
}

static void row_del(struct row *r, uint32_t page)
{
	uint32_t i = 0;

	while (i < r->n && r->page[i] != page)
		i++;
	if (i == r->n)
		return;
	r->n--;
	memmove(&r->page[i], &r->page[i + 1], (r->n - i) * sizeof(*r->page));
}

static void row_add(struct row *r, uint32_t page)
{
	r->page[r->n++] = page;
}

static uint32_t row_pop(struct row *r)
{
	uint32_t page = r->page[0];

	row_del(r, page);
	return page;
}

struct naive {
	uint32_t frames;
	struct row here; /* in order of use */
	uint64_t count[MAX_PAGES];
	uint64_t x;		       /* random */
	struct row t1, t2, b1, b2;     /* arc */
	uint32_t p;		       /* arc */
	struct row small, main, ghost; /* s3-fifo */
	uint32_t freq[MAX_PAGES];
};

static void naive_touch(struct naive *s, uint32_t page)
{
	s->count[page]++;
	row_del(&s->here, page);
	row_add(&s->here, page);
}

static uint32_t naive_lru(struct naive *s, uint32_t page)
{
	(void)page;
	return s->here.page[0];
}

static uint32_t naive_mru(struct naive *s, uint32_t page)
{
	(void)page;
	return s->here.page[s->here.n - 1];
}

static uint32_t naive_lfu(struct naive *s, uint32_t page)
{
	uint32_t best = s->here.page[0];

	(void)page;
	for (uint32_t i = 1; i < s->here.n; i++)
		if (s->count[s->here.page[i]] < s->count[best])
			best = s->here.page[i];
	return best;
}

/* Steps of the paper's figure 4. */
static uint32_t naive_arc_replace(struct naive *s, bool in_b2)
{
	uint32_t victim;

	if (s->t1.n + s->t2.n < s->frames)
		return PAGING_NONE;
	if (s->t1.n && ((in_b2 && s->t1.n == s->p) || s->t1.n > s->p || !s->t2.n)) {
		victim = row_pop(&s->t1);
		row_add(&s->b1, victim);
	} else {
		victim = row_pop(&s->t2);
		row_add(&s->b2, victim);
	}
	return victim;
}

static uint32_t naive_arc_miss(struct naive *s, uint32_t page)
{
	uint32_t victim = PAGING_NONE, by;

	if (row_has(&s->b1, page)) {
		by = s->b2.n / s->b1.n > 1 ? s->b2.n / s->b1.n : 1;
		s->p = s->p + by > s->frames ? s->frames : s->p + by;
		victim = naive_arc_replace(s, false);
		row_del(&s->b1, page);
		row_add(&s->t2, page);
		return victim;
	}
	if (row_has(&s->b2, page)) {
		by = s->b1.n / s->b2.n > 1 ? s->b1.n / s->b2.n : 1;
		s->p = s->p > by ? s->p - by : 0;
		victim = naive_arc_replace(s, true);
		row_del(&s->b2, page);
		row_add(&s->t2, page);
		return victim;
	}
	if (s->t1.n + s->b1.n == s->frames) {
		if (s->t1.n < s->frames) {
			row_pop(&s->b1);
			victim = naive_arc_replace(s, false);
		} else {
			victim = row_pop(&s->t1);
		}
	} else {
		if (s->t1.n + s->t2.n + s->b1.n + s->b2.n == 2 * s->frames)
			row_pop(&s->b2);
		victim = naive_arc_replace(s, false);
	}
	row_add(&s->t1, page);
	return victim;
}

static uint32_t naive_s3_miss(struct naive *s, uint32_t page)
{
	uint32_t small = s->frames / 10 ? s->frames / 10 : 1;
	uint32_t room = s->frames > small ? s->frames - small : 1;
	uint32_t victim = PAGING_NONE, t;
	bool ghost = row_has(&s->ghost, page);

	row_del(&s->ghost, page);
	if (s->small.n + s->main.n == s->frames) {
		bool from_main = s->small.n < small;

		while (victim == PAGING_NONE && !from_main) {
			if (!s->small.n) {
				from_main = true;
				break;
			}
			t = row_pop(&s->small);
			if (s->freq[t] > 1) {
				s->freq[t] = 0;
				row_add(&s->main, t);
				from_main = s->main.n > room;
			} else {
				if (s->ghost.n == room)
					row_pop(&s->ghost);
				row_add(&s->ghost, t);
				victim = t;
			}
		}
		while (victim == PAGING_NONE) {
			t = row_pop(&s->main);
			if (s->freq[t]) {
				s->freq[t]--;
				row_add(&s->main, t);
			} else {
				victim = t;
			}
		}
	}
	s->freq[page] = 0;
	row_add(ghost ? &s->main : &s->small, page);
	return victim;
}

static void naive_hit(struct naive *s, uint32_t page)
{
	if (row_has(&s->t1, page) || row_has(&s->t2, page)) {
		row_del(&s->t1, page);
		row_del(&s->t2, page);
		row_add(&s->t2, page);
	}
	if (s->freq[page] < 3)
		s->freq[page]++;
}

static void naive_leave(struct naive *s, uint32_t page)
{
	row_del(&s->here, page);
	row_del(&s->t1, page);
	row_del(&s->t2, page);
	row_del(&s->small, page);
	row_del(&s->main, page);
}

enum { LRU, MRU, LFU, ARC, S3 };

/* All of it in one function, for one device. */
static struct paging_result naive_run(const struct paging *p, uint32_t frames, int which)
{
	static struct naive s;
	bool bytes[MAX_PAGES] = { false };
	struct paging_result r = { 0 };

	s = (struct naive){ .frames = frames };
	for (uint64_t i = 0; i < p->nr_steps; i++) {
		uint32_t page = p->page[i], victim = PAGING_NONE;
		bool here = row_has(&s.here, page);

		if (p->what[i] == PAGING_FILL) {
			bytes[page] = true;
		} else if (p->what[i] != 1) {
			r.out += here && p->what[i] == PAGING_HOME;
			r.homes += here && p->what[i] == PAGING_HOME;
			naive_leave(&s, page);
			bytes[page] = p->what[i] == PAGING_HOME;
		} else if (here) {
			naive_hit(&s, page);
			naive_touch(&s, page);
		} else {
			bool full = s.here.n == frames;

			if (which == ARC)
				victim = naive_arc_miss(&s, page);
			else if (which == S3)
				victim = naive_s3_miss(&s, page);
			else if (full)
				victim = which == LRU	? naive_lru(&s, page)
					 : which == MRU ? naive_mru(&s, page)
							: naive_lfu(&s, page);
			assert_int_equal(victim != PAGING_NONE, full);
			row_del(&s.here, victim);
			r.evicted += full;
			r.out += full;
			r.misses++;
			r.in += bytes[page];
			r.zeroed += !bytes[page];
			bytes[page] = true;
			naive_touch(&s, page);
		}
	}
	return r;
}

static void test_policies(void **state)
{
	static const struct {
		const struct paging_policy *policy;
		int which;
	} pairs[] = { { &paging_lru, LRU },
		      { &paging_mru, MRU },
		      { &paging_lfu, LFU },
		      { &paging_arc, ARC },
		      { &paging_s3fifo, S3 } };
	struct paging p;

	(void)state;
	printf("seed %u\n", SEED + 1);
	rng = SEED + 1;
	for (unsigned int i = 0; i < 600; i++) {
		uint64_t frames = 1 + any(24);
		uint32_t others = any(2) ? 10 : 0;

		make(&p, 200 + any(800), 2 + any(MAX_PAGES - 2), others, 1);
		for (size_t k = 0; k < sizeof(pairs) / sizeof(*pairs); k++) {
			struct paging_result is, want;

			want = naive_run(&p, (uint32_t)frames, pairs[k].which);
			assert_int_equal(paging_run(&p, &frames, pairs[k].policy, &is), 0);
			if (memcmp(&is, &want, sizeof(is)))
				fail_msg("case %u, %s: %llu misses, not %llu", i,
					 pairs[k].policy->name, (unsigned long long)is.misses,
					 (unsigned long long)want.misses);
		}
		paging_release(&p);
	}
}

/*
 * With several devices, for all of them: no policy beats the optimum, each gives the same again,
 * and what came in is what went or is there.
 */
static void test_devices(void **state)
{
	struct paging_result r, best, again;
	struct paging p;

	(void)state;
	printf("seed %u\n", SEED + 2);
	rng = SEED + 2;
	for (unsigned int i = 0; i < 300; i++) {
		uint64_t frames[2] = { 1 + any(20), 1 + any(20) };

		make(&p, 500 + any(MAX_OPS - 500), 2 + any(MAX_PAGES - 2), any(10), 2);
		assert_int_equal(paging_run(&p, frames, &paging_optimum, &best), 0);
		for (size_t k = 0; paging_policies[k]; k++) {
			assert_int_equal(paging_run(&p, frames, paging_policies[k], &r), 0);
			assert_int_equal(paging_run(&p, frames, paging_policies[k], &again), 0);
			assert_memory_equal(&r, &again, sizeof(r));
			assert_true(r.misses >= best.misses);
			assert_int_equal(r.in + r.zeroed, r.misses);
			assert_true(r.misses - r.evicted <= p.touches);
			assert_true(r.out >= r.evicted);
		}
		paging_release(&p);
	}
}

/* Frames for all pages: each comes once, nothing goes. */
static void test_room(void **state)
{
	const uint64_t frames = MAX_PAGES;
	struct paging_result r;
	struct paging p;

	(void)state;
	rng = SEED;
	make(&p, 3000, MAX_PAGES, 0, 1);
	for (size_t k = 0; paging_policies[k]; k++) {
		assert_int_equal(paging_run(&p, &frames, paging_policies[k], &r), 0);
		assert_int_equal(r.misses, p.nr_pages);
		assert_int_equal(r.zeroed, p.nr_pages);
		assert_int_equal(r.in + r.out, 0);
	}
	paging_release(&p);
}

/* Two pages in three; the CPU's granule is two pages. */
static void test_accounting(void **state)
{
	const struct gm_replay_op list[] = {
		{ .kind = GM_REPLAY_PRESENT, .page = 0, .n = 2 },
		{ .kind = GM_REPLAY_ACCESS, .dev = 1, .page = 0, .n = 3, .access = GM_WRITE },
		/* 0 and 1 were copied in, 2 was zeroed, and 0, say, went for it */
		{ .kind = GM_REPLAY_CPU_FAULT, .page = 3, .n = 1 }, /* 2 goes home, 3 is nobody's */
		{ .kind = GM_REPLAY_ACCESS, .dev = 1, .page = 2, .n = 1, .access = GM_READ },
		{ .kind = GM_REPLAY_HINT, .advice = GM_DONTNEED, .page = 2, .n = 2 },
		{ .kind = GM_REPLAY_ACCESS, .dev = 1, .page = 2, .n = 1, .access = GM_READ },
		{ .kind = GM_REPLAY_HINT, .advice = GM_PREFETCH, .page = 2, .n = 1 }, /* home */
		{ .kind = GM_REPLAY_HINT, .advice = GM_PREFETCH, .dev = 1, .page = 0, .n = 4 },
	};
	const struct gm_replay_trace t = {
		.objects = &object,
		.nr_objects = 1,
		.nr_devs = 1,
		.ops = list,
		.nr_ops = sizeof(list) / sizeof(*list),
	};
	const struct gm_replay_costs costs = { .bandwidth = 4096000000ULL,
					       .zero_bandwidth = 40960000000ULL,
					       .latency_ns = 500,
					       .dev_fault_ns = 20000,
					       .cpu_fault_ns = 7000,
					       .invl_ns = 300 };
	const uint64_t frames = 2;
	struct paging_result r;
	struct paging p;

	(void)state;
	assert_int_equal(paging_build(&t, 2, &p), 0);
	assert_int_equal(p.nr_pages, 3);
	assert_int_equal(p.touched[0], 3);
	assert_int_equal(p.touches, 5);
	assert_int_equal(paging_run(&p, &frames, &paging_lru, &r), 0);
	assert_int_equal(r.misses, 5);
	assert_int_equal(r.in, 3);
	assert_int_equal(r.zeroed, 2);
	assert_int_equal(r.evicted, 1);
	assert_int_equal(r.homes, 2);
	assert_int_equal(r.out, 3);
	assert_int_equal(paging_ns(&r, &costs),
			 5 * 20000 + 3 * 1500 + 2 * 600 + 3 * 1800 + 2 * 7000);
	paging_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_optimum),	   cmocka_unit_test(test_policies),
		cmocka_unit_test(test_devices),	   cmocka_unit_test(test_room),
		cmocka_unit_test(test_accounting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
