// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Threads over the fake host, made for the thread sanitizer: CPU threads and devices
 * write words of their own on shared pages, one thread hints, one maps and unmaps, one
 * runs deferred work. No word may be lost.
 */
#include <pthread.h>
#include <stdio.h>

#include "unit.h"

#define BLOCKS 6
#define WORDS_A_PAGE 4
#define ROUNDS 300

struct shared {
	struct unit *u;
	struct gm_object *obj;
	uint64_t va;
	bool stop;	       /* atomic */
	unsigned int failures; /* atomic */
};

struct writer {
	struct shared *s;
	int who;
	unsigned int slot, seed;
	uint64_t expect[BLOCKS * 512]; /* what this one wrote last in each page */
};

#define check(s, cond)                                                                             \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			__atomic_fetch_add(&(s)->failures, 1, __ATOMIC_RELAXED);                   \
		}                                                                                  \
	} while (0)

/* Threads contend for the device: only memory full of other faults' blocks is no failure. */
static int access_until(struct writer *w, uint64_t va, uint64_t *value, uint32_t access)
{
	int err;

	do {
		err = unit_access(w->s->u, w->who, va, value, 8, access);
	} while (err == -EBUSY);
	return err;
}

static void *write_words(void *arg)
{
	struct writer *w = arg;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned int page = (unsigned int)rand_r(&w->seed) % (BLOCKS * 512);
		uint64_t va = w->s->va + page * PAGE + w->slot * 8, value = ~0ULL;

		check(w->s, access_until(w, va, &value, GM_READ) == 0);
		check(w->s, value == w->expect[page]);
		value = w->expect[page] = (uint64_t)i << 8 | w->slot;
		check(w->s, access_until(w, va, &value, GM_WRITE) == 0);
	}
	return NULL;
}

static bool stopped(struct shared *s)
{
	return __atomic_load_n(&s->stop, __ATOMIC_RELAXED);
}

static void *hint(void *arg)
{
	static const uint32_t advice[] = { GM_PREFETCH, GM_WILLNEED, GM_COLD, GM_PIN, GM_UNPIN };
	struct shared *s = arg;
	unsigned int seed = 5;

	while (!stopped(s)) {
		uint64_t va = s->va + (uint64_t)rand_r(&seed) % (BLOCKS * 512 - 64) * PAGE;
		uint32_t a = advice[rand_r(&seed) % 5];
		int err = gm_advise(s->u->as, unit_node(s->u, (unsigned int)rand_r(&seed) % 2), va,
				    64 * PAGE, a);

		check(s, !err || err == -ENOSPC || err == -EBUSY);
		if (a == GM_PIN)
			check(s, gm_advise(s->u->as, 0, va, 64 * PAGE, GM_UNPIN) == 0);
		gm_retain_trim(16 * PAGE);
	}
	return NULL;
}

static void *map_and_unmap(void *arg)
{
	struct shared *s = arg;
	unsigned int seed = 6;

	while (!stopped(s)) {
		uint64_t first = (uint64_t)rand_r(&seed) % (BLOCKS * 512 - 300), value;
		struct gm_page_info info;
		void *addr, *anon;

		check(s, gm_as_map(s->u->as, s->obj, first * PAGE, 300 * PAGE, GM_READ, 0, &addr) ==
				 0);
		check(s, gm_fake_cpu_access(s->u->as, (uintptr_t)addr, &value, 8, GM_READ) == 0);
		check(s, gm_as_query(s->u->as, (uintptr_t)addr, PAGE, &info) == 0);
		check(s, gm_alloc(s->u->as, BLOCK, 0, &anon) == 0);
		value = 1;
		check(s, gm_copy(GM_NODE_NONE, s->u->as, (uintptr_t)anon, s->u->as, (uintptr_t)addr,
				 PAGE) == 0);
		check(s, gm_as_protect(s->u->as, anon, PAGE, GM_READ) == 0);
		check(s, gm_as_unmap(s->u->as, (char *)addr + 100 * PAGE, 100 * PAGE) == 0);
		check(s, gm_as_unmap(s->u->as, anon, BLOCK) == 0);
		check(s, gm_as_unmap(s->u->as, addr, 100 * PAGE) == 0);
		check(s, gm_as_unmap(s->u->as, (char *)addr + 200 * PAGE, 100 * PAGE) == 0);
	}
	return NULL;
}

static void *work(void *arg)
{
	struct shared *s = arg;

	while (!stopped(s)) {
		if (!gm_fake_run_work())
			gm_os_yield();
		gm_memory_low();
	}
	return NULL;
}

static void all_at_once(void **state)
{
	static struct writer w[4];
	struct unit *u = *state;
	struct shared s = { .u = u };
	void *(*const others[])(void *) = { hint, map_and_unmap, work };
	pthread_t threads[7];

	memset(w, 0, sizeof(w));
	gm_fake_set_threaded(true);
	assert_int_equal(gm_object_create(BLOCKS * BLOCK, 0, &s.obj), 0);
	s.va = unit_map(u->as, s.obj, 0, BLOCKS * BLOCK, GM_READ | GM_WRITE);
	unit_tune(unit_dev(u, 0), 64 << 10, false, false);
	unit_tune(unit_dev(u, 1), 256 << 10, true, false);
	for (unsigned int i = 0; i < 4; i++) {
		w[i] = (struct writer){
			.s = &s, .slot = i, .seed = i + 1, .who = i < 2 ? CPU : (int)i - 2
		};
		assert_int_equal(pthread_create(&threads[i], NULL, write_words, &w[i]), 0);
	}
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[4 + i], NULL, others[i], &s), 0);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 4; i < 7; i++)
		pthread_join(threads[i], NULL);
	gm_fake_set_threaded(false);

	assert_int_equal(s.failures, 0);
	for (unsigned int i = 0; i < 4; i++)
		for (unsigned int page = 0; page < BLOCKS * 512; page++)
			assert_int_equal(unit_load(u, (int)(page % 3) - 1,
						   s.va + page * PAGE + i * 8),
					 w[i].expect[page]);
	gm_object_put(s.obj);
}

/* Distinct address spaces and devices that share one object, created and destroyed all the time. */
static void *come_and_go(void *arg)
{
	struct shared *s = arg;

	for (unsigned int i = 0; i < 20; i++) {
		struct unit mine = { .as = NULL };
		uint64_t va, value = i;

		check(s, gm_as_create(NULL, &mine.as) == 0);
		check(s, gm_sim_attach(s->u->sim[i % 2], mine.as, &mine.ctx[0]) == 0);
		va = unit_map(mine.as, s->obj, 0, BLOCK, GM_READ | GM_WRITE);
		for (uint64_t p = 0; p < 40; p++) {
			int err = unit_access(&mine, (int)(p % 2) - 1, va + p * PAGE, &value, 8,
					      GM_READ);

			check(s, !err || err == -EBUSY);
		}
		check(s, gm_as_destroy(mine.as) == 0);
	}
	return NULL;
}

static void spaces_come_and_go(void **state)
{
	struct unit *u = *state;
	struct shared s = { .u = u };
	pthread_t threads[3];
	uint64_t va;

	gm_fake_set_threaded(true);
	assert_int_equal(gm_object_create(BLOCK, 0, &s.obj), 0);
	va = unit_map(u->as, s.obj, 0, BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, CPU, va, BLOCK, 1);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &s), 0);
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	gm_fake_set_threaded(false);
	assert_int_equal(s.failures, 0);
	unit_verify(u, CPU, va, BLOCK, 1);
	gm_object_put(s.obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_at_once, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(spaces_come_and_go, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
