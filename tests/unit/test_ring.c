// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Rings of events: order, wrap, what is lost, and writers and readers at once. */
#include <pthread.h>
#include <sched.h>

#include "unit.h"

static struct gm_event_record numbered(uint64_t n)
{
	return (struct gm_event_record){ .time = n, .took = ~n };
}

static struct gm_ring *ring_of(uint32_t records)
{
	struct gm_ring *ring;

	assert_int_equal(gm_ring_create(records, &ring), 0);
	assert_true(gm_ring_empty(ring));
	return ring;
}

static void expect_next(struct gm_ring *ring, uint64_t n)
{
	struct gm_event_record r;

	assert_true(gm_ring_get(ring, &r));
	assert_int_equal(r.time, n);
	assert_int_equal(r.took, ~n);
}

static void sizes(void **state)
{
	static const struct {
		uint32_t asked, got;
	} of[] = { { 1, 2 }, { 2, 2 }, { 3, 4 }, { 4, 4 }, { 100, 128 }, { 0, 4096 } };
	struct gm_event_record r = numbered(0);
	struct gm_ring *ring;

	(void)state;
	for (unsigned int i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		ring = ring_of(of[i].asked);
		for (uint32_t n = 0; n < of[i].got; n++)
			assert_true(gm_ring_put(ring, &r));
		assert_false(gm_ring_put(ring, &r));
		assert_int_equal(gm_ring_lost(ring), 1);
		gm_ring_destroy(ring);
	}
	assert_int_equal(gm_ring_create(GM_EVENTS_MAX + 1, &ring), -EINVAL);
	assert_int_equal(gm_ring_create(GM_EVENTS_MAX, &ring), 0);
	gm_ring_destroy(ring);
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	assert_int_equal(gm_ring_create(4, &ring), -ENOMEM);
	gm_fake_inject_clear();
}

/* What is full loses the newest; what is read leaves room, round and round. */
static void wraps_and_loses(void **state)
{
	struct gm_ring *ring = ring_of(8);
	uint64_t put = 0, got = 0, lost = 0;
	struct gm_event_record r;

	(void)state;
	for (unsigned int round = 0; round < 50; round++) {
		uint64_t first = put;

		for (unsigned int i = 0; i < 3 + round % 9; i++, put++) {
			r = numbered(put);
			lost += !gm_ring_put(ring, &r);
			assert_int_equal(gm_ring_lost(ring), lost);
			assert_false(gm_ring_empty(ring));
		}
		while (gm_ring_get(ring, &r)) {
			assert_int_equal(r.time, first++);
			got++;
		}
		assert_true(gm_ring_empty(ring));
		assert_int_equal(got + lost, put);
	}
	assert_true(lost > 0 && got > 100);
	for (uint64_t i = 0; i < 8; i++) {
		r = numbered(i);
		assert_true(gm_ring_put(ring, &r));
	}
	expect_next(ring, 0);
	r = numbered(8);
	assert_true(gm_ring_put(ring, &r)); /* just the one that was read */
	assert_false(gm_ring_put(ring, &r));
	for (uint64_t i = 1; i < 9; i++)
		expect_next(ring, i);
	gm_ring_destroy(ring);
}

/* ----------------------------------------------------------------- threads at once */

#define WRITERS 3U
#define READERS 2U
#define EACH 20000U

static struct {
	struct gm_ring *ring;
	unsigned int writing; /* atomic */
	uint64_t got[READERS], sum[READERS];
	uint64_t put[WRITERS], put_sum[WRITERS]; /* that were taken */
	bool bad;				 /* atomic */
} many;

static void *write_many(void *arg)
{
	unsigned int w = (unsigned int)(uintptr_t)arg;

	for (uint64_t i = 0; i < EACH; i++) {
		struct gm_event_record r = numbered(i * WRITERS + w);

		if (gm_ring_put(many.ring, &r)) {
			many.put[w]++;
			many.put_sum[w] += r.time;
		} else {
			sched_yield();
		}
	}
	__atomic_fetch_sub(&many.writing, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Of one writer a reader sees each later than the one before. */
static void *read_many(void *arg)
{
	unsigned int me = (unsigned int)(uintptr_t)arg;
	uint64_t last[WRITERS] = { 0 };
	struct gm_event_record r;
	bool over;

	do {
		over = !__atomic_load_n(&many.writing, __ATOMIC_ACQUIRE);
		while (gm_ring_get(many.ring, &r)) {
			uint64_t *l = &last[r.time % WRITERS];

			if (r.took != ~r.time || (*l && *l > r.time))
				__atomic_store_n(&many.bad, true, __ATOMIC_RELAXED);
			*l = r.time + 1;
			many.got[me]++;
			many.sum[me] += r.time;
		}
		sched_yield();
	} while (!over);
	return NULL;
}

/* Nothing is torn, told twice, or gone without being counted. */
static void many_at_once(void **state)
{
	uint64_t got = 0, sum = 0, put = 0, put_sum = 0;
	pthread_t thread[WRITERS + READERS];

	(void)state;
	gm_fake_set_threaded(true);
	many.ring = ring_of(64);
	many.writing = WRITERS;
	for (uintptr_t i = 0; i < WRITERS + READERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL,
						i < WRITERS ? write_many : read_many,
						(void *)(i < WRITERS ? i : i - WRITERS)),
				 0);
	for (unsigned int i = 0; i < WRITERS + READERS; i++)
		pthread_join(thread[i], NULL);
	gm_fake_set_threaded(false);
	for (unsigned int i = 0; i < WRITERS; i++) {
		put += many.put[i];
		put_sum += many.put_sum[i];
	}
	for (unsigned int i = 0; i < READERS; i++) {
		got += many.got[i];
		sum += many.sum[i];
	}
	assert_false(many.bad);
	assert_int_equal(got, put);
	assert_int_equal(sum, put_sum);
	assert_int_equal(got + gm_ring_lost(many.ring), WRITERS * EACH);
	assert_true(gm_ring_empty(many.ring));
	gm_ring_destroy(many.ring);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup_core, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sizes),
		TEST(wraps_and_loses),
		TEST(many_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
