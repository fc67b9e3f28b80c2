// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A replay does what the run did that was recorded: programs on the simulated accelerator, with
 * one lane and one thread of the CPU's, are recorded where memory is scarce, and what moved is
 * compared with a replay under the same policy and with as much memory, to the last page.
 *
 * What the CPU touches without a fault is in no trace, nor does it move anything. The device has
 * no accessed bits here: its TLB hides uses from them, and a replay has none. Where it counts what
 * it uses of host memory in place, the trace says how much of each page that can be.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <gmem/driver.h>
#include <gmem/gmem.h>
#include <gmem/policy.h>
#include <gmem/sim.h>

#include "replay.h"

#define PAGE GM_PAGE_SIZE
#define BLOCK GM_BLOCK_SIZE
#define BASE (4ULL << 30)
#define SEED 77U

struct live {
	struct gm_as *as;
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
	int node;
	uint8_t *a, *b; /* the data, and more of it */
	uint64_t pages; /* of a */
	uint64_t rng;
};

static uint64_t any(struct live *l, uint64_t n)
{
	l->rng = l->rng * 6364136223846793005ULL + 1442695040888963407ULL;
	return (l->rng >> 16) % n;
}

static void ok(int err)
{
	if (err)
		fail_msg("%s", gm_strerror(err));
}

/* ------------------------------------------------------------------ the programs */

static void copy_kernel(struct gm_sim_lane *lane, void *arg)
{
	struct live *l = arg;
	uint64_t x[64];

	for (uint64_t i = 0; i < l->pages / 2; i++) {
		gm_sim_read(lane, x, l->a + i * PAGE, sizeof(x));
		gm_sim_write(lane, l->a + (i + l->pages / 2) * PAGE, x, sizeof(x));
	}
}

/* Through memory in order, three times; the CPU reads a part in between. */
static void stream(struct live *l)
{
	volatile uint8_t sum = 0;

	memset(l->a, 1, l->pages / 2 * PAGE);
	for (unsigned int round = 0; round < 3; round++) {
		ok(gm_sim_launch(l->ctx, copy_kernel, l));
		for (uint64_t i = 0; i < l->pages; i += 7)
			sum = (uint8_t)(sum + l->a[i * PAGE]);
	}
}

static void look_kernel(struct gm_sim_lane *lane, void *arg)
{
	struct live *l = arg;
	uint8_t x[1000];

	for (unsigned int i = 0; i < 300; i++) {
		uint8_t *p = l->a + any(l, l->pages - 2) * PAGE;

		for (uint64_t n = any(l, 12); n; n--)
			gm_sim_load8(lane, p + any(l, 4) * 40);
		gm_sim_read(lane, x, p + any(l, 2 * PAGE), any(l, sizeof(x)));
	}
}

/* Much or little of a page, and of one page after another. */
static void looks(struct live *l)
{
	memset(l->a, 1, l->pages * PAGE);
	ok(gm_sim_launch(l->ctx, copy_kernel, l));
	for (unsigned int round = 0; round < 4; round++)
		ok(gm_sim_launch(l->ctx, look_kernel, l));
}

static void update_kernel(struct gm_sim_lane *lane, void *arg)
{
	struct live *l = arg;

	for (unsigned int i = 0; i < 500; i++) {
		uint64_t *p = (uint64_t *)(void *)(l->a + any(l, l->pages) * PAGE);

		if (i % 3)
			(void)gm_sim_load64(lane, p);
		else
			gm_sim_xor64(lane, p, i);
	}
}

/* Anywhere; some of the pages had bytes before. */
static void updates(struct live *l)
{
	for (uint64_t i = 0; i < l->pages; i += 1 + any(l, 3))
		l->a[i * PAGE] = 1;
	ok(gm_sim_launch(l->ctx, update_kernel, l));
	for (uint64_t i = 0; i < l->pages; i += 50)
		l->a[i * PAGE] = 2;
	ok(gm_sim_launch(l->ctx, update_kernel, l));
}

static void stride_kernel(struct gm_sim_lane *lane, void *arg)
{
	struct live *l = arg;

	for (uint64_t from = 0; from < 48; from += 6)
		for (uint64_t i = from; i < l->pages; i += 48)
			gm_sim_store8(lane, l->a + i * PAGE, 3);
}

/* The CPU writes what the device has just written, page by page. */
static void strides(struct live *l)
{
	ok(gm_sim_launch(l->ctx, stride_kernel, l));
	for (uint64_t i = 0; i < l->pages; i += 1 + any(l, 40))
		l->a[i * PAGE + 8] = 9;
	ok(gm_sim_launch(l->ctx, stride_kernel, l));
}

static void touch_some(struct live *l)
{
	uint8_t x = 0;

	for (unsigned int i = 0; i < 30; i++)
		ok(gm_sim_access(l->ctx, l->a + any(l, l->pages) * PAGE, &x, 1,
				 any(l, 2) ? GM_READ : GM_WRITE));
}

/* Hints of all kinds, and memory that comes and goes. */
static void hints(struct live *l)
{
	static const enum gm_advice advices[] = { GM_PREFETCH, GM_DONTNEED, GM_WILLNEED,
						  GM_COLD,     GM_PIN,	    GM_UNPIN };
	uint64_t x = 0;
	void *p;

	memset(l->a, 1, l->pages / 2 * PAGE);
	for (unsigned int i = 0; i < 60; i++) {
		enum gm_advice advice = advices[any(l, 6)];
		uint64_t first = any(l, l->pages), n = 1 + any(l, 300);
		int node = advice == GM_PREFETCH && any(l, 2) ? GM_NODE_HOST : l->node;

		n = n < l->pages - first ? n : l->pages - first;
		if (advice == GM_PIN)
			n = n < 40 ? n : 40;
		ok(hmadvise(node, l->a + first * PAGE, n * PAGE, advice));
		touch_some(l);
		if (advice == GM_PIN)
			ok(hmadvise(node, l->a + first * PAGE, n * PAGE, GM_UNPIN));
		l->a[any(l, l->pages) * PAGE] = 1;
		if (i % 20)
			continue;
		ok(gm_alloc(l->as, 3 * BLOCK / 2, 0, &p));
		memset(p, 1, BLOCK);
		ok(gm_sim_access(l->ctx, (uint8_t *)p + BLOCK - 64, &x, 8, GM_READ));
		ok(gm_sim_access(l->ctx, (uint8_t *)p + BLOCK + PAGE, &x, 8, GM_WRITE));
		ok(gm_as_unmap(l->as, l->b, BLOCK));
		ok(gm_alloc(l->as, BLOCK, 0, &p));
		l->b = p;
		ok(gm_sim_access(l->ctx, l->b, &x, 8, GM_WRITE));
	}
}

/* ------------------------------------------------------------ live, and once more */

struct setting {
	const char *policy; /* for the replay, and for the device */
	const char *names;
	uint32_t granule;
	uint64_t blocks; /* of device memory; the data have six */
	bool counts;	 /* what it uses of host memory in place */
};

static void live_start(struct live *l, const struct setting *s, const char *path)
{
	const struct gm_sim_options sim = { .size = sizeof(sim),
					    .memory = s->blocks * BLOCK,
					    .base = BASE,
					    .lanes = 1,
					    .flags = GM_SIM_SYNC_FAULTS | GM_SIM_NO_ACCESSED |
						     (s->counts ? GM_SIM_COUNTERS : 0) };
	/* Another thread that services faults may hold a lock for a while after that. */
	const struct gm_as_options as = { .size = sizeof(as), .flags = GM_AS_INLINE };
	const struct gm_dev_tunables tune = {
		.size = sizeof(tune), .granule = s->granule, .no_background = 1, .no_thrash = 1
	}; /* which goes by the clock */
	void *p;

	*l = (struct live){ .pages = 5 * BLOCK / PAGE, .rng = SEED };
	ok(gm_sim_create(&sim, &l->sim));
	ok(gm_dev_tune(gm_sim_dev(l->sim), &tune));
	ok(gm_dev_set_policy(gm_sim_dev(l->sim), s->names));
	ok(gm_as_create(&as, &l->as));
	ok(gm_sim_attach(l->sim, l->as, &l->ctx));
	l->node = gm_dev_hnode(gm_sim_dev(l->sim));
	ok(gm_record_start(path));
	ok(gm_alloc(l->as, l->pages * PAGE, 0, &p));
	l->a = p;
	ok(gm_alloc(l->as, BLOCK, 0, &p));
	l->b = p;
}

static void live_end(struct live *l, struct gm_stats *as, struct gm_stats *dev)
{
	ok(gm_record_stop());
	as->size = dev->size = sizeof(*as);
	ok(gm_as_stats(l->as, as));
	ok(gm_dev_stats(gm_sim_dev(l->sim), dev));
	ok(gm_sim_detach(l->ctx));
	ok(gm_as_destroy(l->as));
	ok(gm_sim_destroy(l->sim));
}

static void compare(const char *what, const struct setting *s, uint64_t live, uint64_t replayed)
{
	if (live != replayed)
		fail_msg("%s, %llu blocks: %s: %llu live, %llu replayed", s->policy,
			 (unsigned long long)s->blocks, what, (unsigned long long)live,
			 (unsigned long long)replayed);
}

static void check(void (*program)(struct live *l), const struct setting *s, struct gm_stats *seen)
{
	struct gm_replay_options opt = {
		.costs = GM_REPLAY_COSTS,
		.policy = s->policy,
		.memory = { s->blocks * BLOCK / PAGE },
		.base = BASE,
		.no_accessed = true,
		.in_place = s->counts,
	};
	struct gm_replay_result r;
	struct replay_trace trace;
	struct gm_stats as, dev;
	struct live l;
	char path[] = "/tmp/gmem-live-XXXXXX";
	int fd = mkstemp(path), loaded;

	assert_true(fd >= 0);
	close(fd);
	live_start(&l, s, path);
	program(&l);
	live_end(&l, &as, &dev);
	loaded = replay_load(path, &trace);
	unlink(path);
	assert_int_equal(loaded, 0);
	assert_int_equal(gm_replay_run(&trace.t, &opt, &r), 0);
	replay_unload(&trace);
#define SAME(set, field) compare(#field, s, set.field, r.set.field)
	SAME(dev, pages_to_dev);
	SAME(dev, pages_to_host);
	SAME(dev, pages_zeroed);
	SAME(dev, pages_evicted);
	SAME(dev, pages_prefetched);
	SAME(dev, dev_faults);
	SAME(dev, dev_faults_moved);
	SAME(dev, dev_faults_map);
	SAME(dev, evictions);
	SAME(dev, evictions_direct);
	SAME(dev, remote_maps);
	SAME(dev, remote_bytes);
	SAME(as, cpu_faults_moved);
	SAME(as, fault_errors);
	assert_int_equal(r.hints_failed, 0);
	seen->evictions += dev.evictions;
	seen->pages_to_dev += dev.pages_to_dev;
	seen->pages_zeroed += dev.pages_zeroed;
	seen->cpu_faults_moved += as.cpu_faults_moved;
	seen->remote_maps += dev.remote_maps;
	seen->remote_bytes += dev.remote_bytes;
	assert_true(s->counts || !dev.remote_maps);
}

static struct gm_stats check_all(void (*program)(struct live *l))
{
	static const struct setting policies[] = {
		{ "density/lru-2m", "density/lru-2m", 0, 0, false },
		{ "fixed:4k/lru-2m", "fixed/lru-2m", 4096, 0, false },
		{ "fixed:2m/clock", "fixed/clock", 2 << 20, 0, false },
		{ "stream:4k/s3fifo", "stream/s3fifo", 4096, 0, false },
		{ "density:16k/clock", "density/clock", 16384, 0, false },
		{ "auto/rrip", "auto/rrip", 0, 0, false },
		{ "auto/rrip", "auto/rrip", 0, 0, true },
	};
	struct gm_stats seen = { 0 };

	for (size_t i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		for (uint64_t blocks = 2; blocks <= 4; blocks += 2) {
			struct setting s = policies[i];

			s.blocks = blocks;
			check(program, &s, &seen);
		}
	}
	print_message("%llu mapped in place, %llu bytes used so\n",
		      (unsigned long long)seen.remote_maps, (unsigned long long)seen.remote_bytes);
	/* Otherwise it would show nothing. */
	assert_true(seen.evictions && seen.pages_to_dev && seen.remote_maps);
	return seen;
}

static void moves_all_ways(struct gm_stats seen)
{
	assert_true(seen.pages_zeroed && seen.cpu_faults_moved);
}

static void test_stream(void **state)
{
	(void)state;
	moves_all_ways(check_all(stream));
}

static void test_updates(void **state)
{
	(void)state;
	moves_all_ways(check_all(updates));
}

static void test_looks(void **state)
{
	(void)state;
	assert_true(check_all(looks).remote_bytes);
}

static void test_strides(void **state)
{
	(void)state;
	moves_all_ways(check_all(strides));
}

static void test_hints(void **state)
{
	(void)state;
	moves_all_ways(check_all(hints));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream), cmocka_unit_test(test_updates),
		cmocka_unit_test(test_looks),  cmocka_unit_test(test_strides),
		cmocka_unit_test(test_hints),
	};
	struct gm_as *as;

	if (gm_as_create(NULL, &as)) {
		puts("no userfaultfd here");
		return 77;
	}
	gm_as_destroy(as);
	printf("seed %u\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
