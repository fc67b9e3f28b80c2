// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Leaves larger than a block, where something fails, and where several threads make and take them. */
#include <pthread.h>

#include "span_lib.h"

/* ---------------------------------------------------------------------------- errors */

/* Without memory for it there is no large leaf, and no error. */
static void no_memory(void **state)
{
	struct unit *u = *state;

	scene_begin(u, POWERS, 64, 8 * MIB, AT);
	unit_fill(u, CPU, s.va, s.len, 1); /* blocks and residents have their memory */
	assert_int_equal(prefetch(u, s.va, BLOCK), 0);
	assert_int_equal(home(u, s.va, BLOCK), 0);
	gm_pool_reap(&gm_core.spans);
	gm_fake_inject(GM_FAKE_ALLOC, 0, UINT32_MAX, -ENOMEM);
	for (uint64_t off = 0; off < s.len; off += BLOCK)
		(void)prefetch(u, s.va + off, BLOCK);
	gm_fake_inject_clear();
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	for (uint64_t off = 0; off < s.len; off += BLOCK)
		assert_int_equal(gm_dev_fault(s.ctx, s.va + off, GM_READ), 0);
	assert_int_equal(leaves(), 1);
	unit_verify(u, CPU, s.va, s.len, 1);
	scene_end(u);
}

static unsigned int failed;

#define again(call)                                                                                \
	do {                                                                                       \
		if (call) {                                                                        \
			failed++;                                                                  \
			assert_int_equal(call, 0);                                                 \
		}                                                                                  \
	} while (0)

/* The last word of a page, beside unit_fill()'s; what the device must see of it. */
static void write_last(struct unit *u)
{
	for (uint64_t va = s.va; va < s.va + s.len; va += PAGE)
		unit_store(u, CPU, va + PAGE - 8, ~va);
}

static void must_read(uint64_t va)
{
	uint64_t v = 0;

	again(toy_access(s.ctx, va + PAGE - 8, &v, 8, GM_READ));
	assert_int_equal(v, ~va);
}

/* Moves, cuts, and what changes a large leaf, of 8 blocks with bytes. Was the call made? */
static bool scenario(struct unit *u, unsigned int dev_fails, uint64_t host_fails)
{
	struct gm_window part = { .va = AT + 6 * MIB, .len = BLOCK };
	bool made;

	scene_begin(u, POWERS, 8, 16 * MIB, AT);
	unit_fill(u, CPU, s.va, s.len, 3);
	write_last(u);
	s.toy.fail_at = dev_fails;
	gm_fake_inject_nth(host_fails);
	again(prefetch(u, s.va, s.len));
	must_read(s.va + 5 * MIB);
	again(home(u, s.va + 3 * BLOCK + PAGE, PAGE));
	again(prefetch(u, s.va, s.len));
	must_read(s.va + 3 * BLOCK + PAGE);
	again(gm_as_protect(u->as, (void *)(uintptr_t)(s.va + BLOCK), BLOCK, GM_READ));
	must_read(s.va + BLOCK + 9 * PAGE);
	again(gm_window_remove(s.ctx, &part, 1));
	part.dev_va = part.va;
	again(gm_window_add(s.ctx, &part, 1));
	must_read(part.va + 7 * PAGE);
	again(home(u, s.va + 6 * BLOCK, BLOCK));
	must_read(s.va + 6 * BLOCK + 80 * PAGE);
	again(gm_as_unmap(u->as, (void *)(uintptr_t)(s.va + 4 * BLOCK), BLOCK));
	must_read(s.va + 5 * BLOCK);
	for (unsigned int b = 0; b < 8; b++)
		if (b != 4)
			again(prefetch(u, s.va + b * BLOCK, BLOCK));
	made = !s.toy.fail_at;
	s.toy.fail_at = 0;
	gm_fake_inject_nth(0);
	unit_check();
	unit_verify(u, CPU, s.va, 4 * BLOCK, 3);
	unit_verify(u, CPU, s.va + 5 * BLOCK, 3 * BLOCK, 3);
	scene_end(u);
	return made;
}

static void every_call_of_the_driver(void **state)
{
	unsigned int n = 1;

	for (failed = 0; scenario(*state, n, 0); n++)
		;
	print_message("%u calls, %u failed operations\n", n - 1, failed);
	assert_true(failed > 10);
}

static void every_call_of_the_host(void **state)
{
	uint64_t n = 0, before;

	failed = 0;
	do {
		before = gm_fake_injected();
		scenario(*state, 0, ++n);
	} while (gm_fake_injected() > before);
	print_message("%llu calls, %u failed operations\n", (unsigned long long)n - 1, failed);
	assert_true(failed > 10);
}

/* --------------------------------------------------------------------------- threads */

#define WORKERS 3
#define TURNS 1000

static unsigned int lost;

struct worker {
	struct unit *u;
	unsigned int nr, seed;
};

/* Each has words of its own on every page of a large leaf; all take parts of it away. */
static void *work(void *arg)
{
	static uint64_t expect[WORKERS][8 * 512];
	struct worker *w = arg;

	for (unsigned int i = 0; i < TURNS; i++) {
		unsigned int page = (unsigned int)rand_r(&w->seed) % (8 * 512);
		uint64_t va = s.va + page * PAGE + w->nr * 8, v = 0;
		int err = toy_access(s.ctx, va, &v, 8, GM_READ);

		if (err == -EAGAIN || err == -EBUSY)
			continue;
		if (err || v != expect[w->nr][page])
			__atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
		v = (uint64_t)i << 8 | w->nr | 128;
		if (i % 2)
			err = gm_fake_cpu_access(w->u->as, va, &v, 8, GM_WRITE);
		else
			err = toy_access(s.ctx, va, &v, 8, GM_WRITE);
		if (!err)
			expect[w->nr][page] = v;
		if (i % 4 == 0)
			(void)prefetch(w->u, va & ~(BLOCK - 1), BLOCK);
		if (i % 16 == 0)
			(void)home(w->u, va & ~(BLOCK - 1), i % 32 ? PAGE : BLOCK);
	}
	return NULL;
}

static void neighbours(void **state)
{
	struct worker w[WORKERS];
	pthread_t threads[WORKERS];
	struct unit *u = *state;

	scene_begin(u, POWERS, 8, 16 * MIB, AT);
	s.toy.strict = false; /* looks at what others are changing */
	gm_fake_set_threaded(true);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	assert_int_equal(leaves(), 1);
	for (unsigned int i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){ .u = u, .nr = i, .seed = i + 1 };
		assert_int_equal(pthread_create(&threads[i], NULL, work, &w[i]), 0);
	}
	for (unsigned int i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	gm_fake_set_threaded(false);
	assert_int_equal(lost, 0);
	for (uint64_t off = 0; off < s.len; off += BLOCK) {
		assert_int_equal(home(u, s.va + off, BLOCK), 0);
		assert_int_equal(prefetch(u, s.va + off, BLOCK), 0);
	}
	unit_check();
	scene_end(u);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup_as, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_memory),
		TEST(every_call_of_the_driver),
		TEST(every_call_of_the_host),
		TEST(neighbours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
