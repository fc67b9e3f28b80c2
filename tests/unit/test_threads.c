// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Threads over the fake host, made for the thread sanitizer: CPU threads and devices
 * write words of their own on shared pages, one thread hints, one maps and unmaps, one
 * runs deferred work. No word may be lost. And threads against one another on a device
 * of the toy driver's, which sees what the simulated one forgives.
 */
#include <pthread.h>
#include <stdio.h>

#include "unit.h"

#include "core/core.h"
#include "toy.h"

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
			gm_os_yield(0);
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

/* ------------------------------------------------- a device that is too small for all */

struct toy_user {
	struct shared *s;
	struct gm_as *as;
	struct gm_dev *dev;
	struct gm_context *ctx;
	uint64_t va, blocks;
	unsigned int rounds, seed;
};

static int let_others_run(struct toy *toy, enum gm_copy_dir dir)
{
	(void)toy;
	(void)dir;
	gm_os_yield(0);
	return 0;
}

/* What cannot be serviced now because all is in others' hands is made again, as devices do. */
static int fault_until(struct gm_context *ctx, uint64_t va)
{
	unsigned int tries = 0;
	int err;

	do {
		err = gm_dev_fault(ctx, va, GM_READ);
	} while (err == -EBUSY && ++tries < 10000);
	return err;
}

static void *fault_blocks(void *arg)
{
	struct toy_user *w = arg;

	for (unsigned int i = 0; i < w->rounds; i++)
		check(w->s, fault_until(w->ctx, w->va + i % w->blocks * BLOCK) == 0);
	return NULL;
}

/* Nothing is pinned: there is room for whoever waits for it, be it but for one block. */
static void never_full(struct unit *u, unsigned int dev_blocks)
{
	struct shared s = { .u = u };
	struct toy_user w[6];
	pthread_t threads[6];
	struct toy toy;
	struct gm_context *ctx;
	uint64_t va = unit_alloc(u, 12 * BLOCK);

	toy_init(&toy, dev_blocks);
	toy.on_copy = let_others_run;
	assert_int_equal(toy_plug(&toy), 0);
	unit_tune(toy.dev, BLOCK, true, true);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	unit_fill(u, CPU, va, 12 * BLOCK, 1);
	for (unsigned int i = 0; i < 6; i++) {
		w[i] = (struct toy_user){
			.s = &s, .ctx = ctx, .va = va + 2 * i * BLOCK, .blocks = 2, .rounds = 20
		};
		assert_int_equal(pthread_create(&threads[i], NULL, fault_blocks, &w[i]), 0);
	}
	for (unsigned int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s.failures, 0);
	assert_int_equal(unit_dev_stats(toy.dev).fault_errors, 0);
	unit_verify(u, CPU, va, 12 * BLOCK, 1);
	unit_unmap(u->as, va, 12 * BLOCK);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

static void full_but_not_pinned(void **state)
{
	gm_fake_set_threaded(true);
	never_full(*state, 4);
	never_full(*state, 1);
	gm_fake_set_threaded(false);
}

/* ----------------------------------------------------- memory that is taken back */

static int toy_access_until(struct gm_context *ctx, uint64_t va, uint64_t *value, uint32_t access)
{
	int err;

	do {
		err = toy_access(ctx, va, value, 8, access);
	} while (err == -EBUSY || err == -EAGAIN);
	return err;
}

/* Counts in each page; nobody else does. */
static void *count_pages(void *arg)
{
	struct toy_user *w = arg;
	uint64_t expect[4 * 512] = { 0 };

	while (!stopped(w->s)) {
		uint64_t page = (uint64_t)rand_r(&w->seed) % (w->blocks * 512), value = ~0ULL;
		uint64_t va = w->va + page * PAGE + page % 500 * 8;

		check(w->s, toy_access_until(w->ctx, va, &value, GM_READ) == 0);
		check(w->s, value == expect[page]);
		value = ++expect[page];
		check(w->s, toy_access_until(w->ctx, va, &value, GM_WRITE) == 0);
	}
	return NULL;
}

/* A part of a device's memory comes and goes; faults go on, and nothing stays behind there. */
static void memory_comes_and_goes(void **state)
{
	struct unit *u = *state;
	struct shared s = { .u = u };
	struct toy_user w[2];
	pthread_t threads[2];
	struct gm_context *ctx;
	struct toy toy;
	uint64_t middle;

	gm_fake_set_threaded(true);
	toy_init(&toy, 4);
	toy.on_copy = let_others_run;
	assert_int_equal(toy_plug(&toy), 0);
	unit_tune(toy.dev, 64 << 10, false, true);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	middle = toy.base + 2 * BLOCK;
	assert_int_equal(gm_dev_unregister_physmem(toy.dev, toy.base, toy.base + 4 * BLOCK), 0);
	assert_int_equal(gm_dev_register_physmem(toy.dev, middle, toy.base + 4 * BLOCK), 0);
	for (unsigned int i = 0; i < 2; i++) {
		w[i] = (struct toy_user){ .s = &s, .ctx = ctx, .blocks = 4, .seed = 7 + i };
		w[i].va = unit_alloc(u, 4 * BLOCK);
		assert_int_equal(pthread_create(&threads[i], NULL, count_pages, &w[i]), 0);
	}
	for (unsigned int i = 0; i < 15; i++) {
		int err;

		check(&s, gm_dev_register_physmem(toy.dev, toy.base, middle) == 0);
		for (unsigned int spins = 0; spins < 1000 && !toy_leaves(ctx, toy.base, middle);
		     spins++)
			gm_os_yield(0);
		do {
			err = gm_dev_unregister_physmem(toy.dev, toy.base, middle);
		} while (err == -EBUSY);
		check(&s, err == 0);
		check(&s, toy_leaves(ctx, toy.base, middle) == 0);
		memset(toy.memory, 0xBD, 2 * BLOCK);
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	gm_fake_set_threaded(false);
	assert_int_equal(s.failures, 0);
	assert_int_equal(unit_dev_stats(toy.dev).fault_errors, 0);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* ------------------------------------- one object, one device, two address spaces */

/* Uses the object on the device and on the CPU, in turns. */
static void *share(void *arg)
{
	struct toy_user *w = arg;
	struct gm_as *as = w->as;

	while (!stopped(w->s)) {
		uint64_t va = w->va + (uint64_t)rand_r(&w->seed) % (w->blocks * 512) * PAGE, value;
		unsigned int what = (unsigned int)rand_r(&w->seed) % 8;
		int err;

		if (!what)
			err = gm_advise(as, gm_dev_hnode(w->dev), w->va, w->blocks * BLOCK,
					GM_PREFETCH);
		else if (what < 4)
			err = fault_until(w->ctx, va);
		else
			err = gm_fake_cpu_access(as, va, &value, 8, GM_READ);
		check(w->s, !err || err == -EBUSY);
	}
	return NULL;
}

/* Maps the object, cuts it at places of no meaning, and leaves; with another order each time. */
static void cut_and_leave(struct shared *s, struct toy *toy, struct gm_as *as, unsigned int *seed)
{
	uint64_t va, from = (uint64_t)rand_r(seed) % 900, n = 1 + (uint64_t)rand_r(seed) % 100;
	bool leave_first = rand_r(seed) % 2;
	struct gm_context *ctx;
	int err;

	check(s, gm_as_attach(as, toy->dev, GM_EXCLUSIVE, &ctx) == 0);
	va = unit_map(as, s->obj, 0, 2 * BLOCK, GM_READ | GM_WRITE);
	err = gm_advise(as, gm_dev_hnode(toy->dev), va, 2 * BLOCK, GM_PREFETCH);
	check(s, !err || err == -EBUSY);
	check(s, gm_as_unmap(as, (char *)(uintptr_t)va + from * PAGE, n * PAGE) == 0);
	if (from)
		check(s, fault_until(ctx, va + (from - 1) * PAGE) == 0);
	check(s, fault_until(ctx, va + (from + n) * PAGE) == 0);
	if (leave_first)
		check(s, gm_as_detach(ctx) == 0);
	if (from)
		check(s, gm_as_unmap(as, (char *)(uintptr_t)va, from * PAGE) == 0);
	check(s, gm_as_unmap(as, (char *)(uintptr_t)va + (from + n) * PAGE,
			     2 * BLOCK - (from + n) * PAGE) == 0);
	if (!leave_first)
		check(s, gm_as_detach(ctx) == 0);
}

static void cut_while_shared(void **state)
{
	struct unit *u = *state;
	struct gm_as_options opt = { .size = sizeof(opt), .cpu_granule = PAGE };
	struct shared s = { .u = u };
	struct toy_user w = { .s = &s, .blocks = 2, .seed = 11 };
	unsigned int seed = 12;
	struct gm_as *other;
	struct toy toy;
	pthread_t t;

	gm_fake_set_threaded(true);
	toy_init(&toy, 4);
	toy.on_copy = let_others_run;
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_create(&opt, &other), 0);
	assert_int_equal(gm_as_attach(other, toy.dev, GM_EXCLUSIVE, &w.ctx), 0);
	assert_int_equal(gm_object_create(2 * BLOCK, 0, &s.obj), 0);
	w.as = other;
	w.dev = toy.dev;
	w.va = unit_map(other, s.obj, 0, 2 * BLOCK, GM_READ | GM_WRITE);
	assert_int_equal(pthread_create(&t, NULL, share, &w), 0);
	for (unsigned int i = 0; i < 60; i++)
		cut_and_leave(&s, &toy, u->as, &seed);
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	gm_fake_set_threaded(false);
	assert_int_equal(s.failures, 0);
	gm_object_put(s.obj);
	assert_int_equal(gm_as_destroy(other), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_at_once, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(spaces_come_and_go, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(full_but_not_pinned, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(memory_comes_and_goes, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(cut_while_shared, unit_setup_as, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
