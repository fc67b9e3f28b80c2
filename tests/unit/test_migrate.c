// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Migration: each way, in parts, with failing steps, and with host frames retained. */
#include <pthread.h>
#include <sched.h>

#include "unit.h"

#include "core/core.h"
#include "toy.h"

static void there_and_back(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	int node = unit_node(u, 0);
	struct gm_stats s;

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, node, va, 2 * BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, 2 * BLOCK, node);
	unit_verify(u, 0, va, 2 * BLOCK, 1);
	unit_fill(u, 0, va, 2 * BLOCK, 2);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, 2 * BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, 2 * BLOCK, GM_NODE_HOST);
	unit_verify(u, CPU, va, 2 * BLOCK, 2);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(s.pages_to_dev, 1024);
	assert_int_equal(s.pages_to_host, 1024);
	assert_int_equal(s.bytes_to_dev, 2 * BLOCK);
	assert_int_equal(s.dev_faults, 0);
}

/* A block of which every second page is on a device, then all of it moves. */
static void checkered(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	for (uint64_t i = 0; i < 512; i += 2)
		unit_verify(u, 0, va + i * PAGE, PAGE, 1);
	for (uint64_t i = 1; i < 512; i += 4)
		unit_verify(u, 1, va + i * PAGE, PAGE, 1);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 256);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 1)), 128);
	unit_peek(u->as, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, BLOCK, unit_node(u, 1));
	unit_verify(u, 1, va, BLOCK, 1);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_int_equal(unit_hnode(unit_node(u, 1)).free, 4 * BLOCK);
}

/* A copy engine that takes small pieces only, because host memory is scattered. */
static void scattered_host(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	gm_fake_set_max_run(3 * PAGE);
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	unit_verify(u, 0, va, BLOCK, 1);
	unit_verify(u, CPU, va, BLOCK, 1);
}

/* Every operation of the device fails in turn: the access fails, the bytes stay. */
static void device_steps_fail(void **state)
{
	static const enum gm_sim_op ops[] = { GM_SIM_PMAP_ENTER, GM_SIM_COPY_START,
					      GM_SIM_COPY_FENCE, GM_SIM_PMAP_RELEASE,
					      GM_SIM_TLB_INVL };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;

	unit_fill(u, CPU, va, 32 * PAGE, 1);
	for (unsigned int i = 0; i < 5; i++) {
		bool in = i < 3;
		int err;

		assert_int_equal(gm_advise(u->as, in ? GM_NODE_HOST : unit_node(u, 0), va,
					   32 * PAGE, GM_PREFETCH),
				 0);
		gm_sim_inject(u->sim[0], ops[i], 0, UINT32_MAX, -EIO);
		err = unit_access(u, in ? 0 : CPU, va, &value, 8, GM_READ);
		assert_int_equal(err, -EIO);
		gm_sim_inject(u->sim[0], ops[i], 0, 0, 0);
		unit_check();
		unit_peek(u->as, va, 32 * PAGE, 1);
		unit_verify(u, in ? 0 : CPU, va, 32 * PAGE, 1);
		unit_verify(u, in ? CPU : 0, va, 32 * PAGE, 1);
	}
}

static void host_steps_fail(void **state)
{
	static const enum gm_fake_op ops[] = { GM_FAKE_CPU_REVOKE, GM_FAKE_BACKING_GET,
					       GM_FAKE_BACKING_GET, GM_FAKE_CPU_MAP };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;

	unit_fill(u, CPU, va, 32 * PAGE, 1);
	for (unsigned int i = 0; i < 4; i++) {
		bool in = i < 2;

		assert_int_equal(gm_advise(u->as, in ? GM_NODE_HOST : unit_node(u, 0), va,
					   32 * PAGE, GM_PREFETCH),
				 0);
		gm_fake_inject(ops[i], 0, UINT32_MAX, -ENOMEM);
		assert_int_equal(unit_access(u, in ? 0 : CPU, va, &value, 8, GM_READ), -ENOMEM);
		gm_fake_inject_clear();
		unit_check();
		unit_peek(u->as, va, 32 * PAGE, 1);
		unit_verify(u, in ? 0 : CPU, va, 32 * PAGE, 1);
		unit_verify(u, in ? CPU : 0, va, 32 * PAGE, 1);
	}
}

/* If the guess around the page cannot be had, the page alone will do. */
static void page_alone_if_piece_fails(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_tune(unit_dev(u, 0), 64 << 10, true, true);
	unit_fill(u, CPU, va, BLOCK, 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -EIO);
	unit_verify(u, 0, va + 5 * PAGE, PAGE, 1);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, 1, -EIO);
	unit_verify(u, CPU, va + 5 * PAGE, PAGE, 1);
}

/* A copy engine that is done only when somebody sleeps for it: each copy is seen to be waited for. */
static struct {
	int (*copy)(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		    unsigned int n, struct gm_fence *fence);
	struct gm_fence *fence;
	pthread_t thread;
	unsigned int copies;
	int err;
} slow;

static void *signal_late(void *arg)
{
	(void)arg;
	while (gm_load(&slow.fence->state) != 1) /* SLEEPING, of fence.c */
		sched_yield();
	gm_fence_signal(slow.fence, slow.err);
	return NULL;
}

static int slow_copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		     unsigned int n, struct gm_fence *fence)
{
	struct gm_fence done;

	if (slow.copies++)
		pthread_join(slow.thread, NULL);
	gm_fence_init(&done);
	slow.copy(dev, dir, ext, n, &done);
	slow.fence = fence;
	return pthread_create(&slow.thread, NULL, signal_late, NULL) ? -EIO : 0;
}

static void copies_that_take_long(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct toy toy;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	int node;

	gm_fake_set_threaded(true);
	memset(&slow, 0, sizeof(slow));
	toy_init(&toy, 2);
	slow.copy = toy.mmu.copy;
	toy.mmu.copy = slow_copy;
	assert_int_equal(toy_plug(&toy), 0);
	node = gm_dev_hnode(toy.dev);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, node, va, 2 * BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, 2 * BLOCK, node);
	slow.err = -EIO;
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), -EIO);
	unit_on(u->as, va, BLOCK, node);
	slow.err = 0;
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
	assert_true(slow.copies > 4);
	assert_int_equal(gm_as_detach(ctx), 0);
	pthread_join(slow.thread, NULL);
	assert_int_equal(toy_unplug(&toy), 0);
	gm_fake_set_threaded(false);
}

/* ----------------------------------------------------------------- retention */

static void retained_up_to_a_bound(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	gm_retain_limit(600 * PAGE);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	assert_true(gm_retained_bytes() <= 600 * PAGE);
	assert_true(gm_retained_bytes() >= BLOCK);
	assert_true(unit_info(u->as, va).flags & GM_PAGE_RETAINED);
	assert_true(gm_fake_page(u->as, va) & GM_FAKE_PRESENT);
	unit_fill(u, 0, va, 2 * BLOCK, 2); /* the frames that were kept are stale now */
	unit_verify(u, CPU, va, 2 * BLOCK, 2);
	assert_int_equal(gm_retained_bytes(), 0);
}

static void retained_none(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	gm_retain_limit(0);
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_retained_bytes(), 0);
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(gm_fake_page(u->as, va + i * PAGE) & GM_FAKE_PRESENT, 0);
	unit_verify(u, CPU, va, BLOCK, 1);
}

static void retained_trimmed(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), got;

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_retained_bytes(), 2 * BLOCK);
	got = gm_retain_trim(PAGE);
	assert_true(got >= PAGE);
	assert_int_equal(gm_retained_bytes(), 2 * BLOCK - got);
	gm_retain_limit(PAGE);
	assert_true(gm_retained_bytes() <= PAGE);
	assert_int_equal(gm_retain_trim(BLOCK), gm_retained_bytes() ? PAGE : 0);
	assert_int_equal(gm_retain_trim(BLOCK), 0);
	unit_verify(u, 0, va, 2 * BLOCK, 1);
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
}

static void memory_low_gives_back(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), before;

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	before = gm_retained_bytes();
	gm_memory_low();
	assert_true(gm_retained_bytes() < before);
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
}

/* Each time 64 MiB more are retained the host is asked whether it can spare them. */
static void much_retained(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct toy toy;
	uint64_t va = unit_alloc(u, 32 * BLOCK);
	int node;

	toy_init(&toy, 33);
	assert_int_equal(toy_plug(&toy), 0);
	unit_tune(toy.dev, PAGE, true, true);
	node = gm_dev_hnode(toy.dev);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	for (unsigned int low = 0; low < 2; low++) {
		gm_fake_set_memory_low(low);
		unit_fill(u, CPU, va, 32 * BLOCK, 1);
		assert_int_equal(gm_advise(u->as, node, va, 31 * BLOCK, GM_PREFETCH), 0);
		assert_int_equal(gm_fake_run_work(), 0);
		assert_int_equal(gm_advise(u->as, node, va + 31 * BLOCK, BLOCK, GM_PREFETCH), 0);
		assert_int_equal(gm_fake_run_work(), 1);
		if (low)
			assert_in_range(gm_retained_bytes(), 1, 24 * BLOCK);
		else
			assert_int_equal(gm_retained_bytes(), 32 * BLOCK);
		unit_verify(u, CPU, va, 32 * BLOCK, 1);
	}
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* Trimming looks at each block once, whether it gives back much or little at a time. */
static void trimming_is_linear(void **state)
{
	const uint64_t blocks = 3000;
	struct unit *u = *state;
	struct gm_context *ctx;
	struct toy toy;
	uint64_t va, calls;
	int node;

	toy_init(&toy, 6);
	assert_int_equal(toy_plug(&toy), 0);
	node = gm_dev_hnode(toy.dev);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	va = unit_alloc(u, blocks * BLOCK);
	for (uint64_t i = 0; i < blocks; i++) {
		unit_store(u, CPU, va + i * BLOCK, i);
		assert_int_equal(gm_advise(u->as, node, va + i * BLOCK, PAGE,
					   i % 10 ? GM_PREFETCH : GM_PIN),
				 0);
	}
	assert_int_equal(gm_retained_bytes(), blocks * PAGE);
	calls = gm_fake_lock_calls();
	assert_int_equal(gm_retain_trim(blocks * PAGE), blocks * PAGE);
	calls = gm_fake_lock_calls() - calls;
	print_message("%llu lock operations for %llu blocks\n", (unsigned long long)calls,
		      (unsigned long long)blocks);
	assert_true(calls >= blocks && calls < 10 * blocks);
	/* With nothing left to give back: the same walk, and cheaper. */
	calls = gm_fake_lock_calls();
	assert_int_equal(gm_retain_trim(PAGE), 0);
	assert_true(gm_fake_lock_calls() - calls < 10 * blocks);
	for (uint64_t i = 0; i < blocks; i += 97)
		assert_int_equal(unit_load(u, CPU, va + i * BLOCK), i);
	unit_unmap(u->as, va, blocks * BLOCK);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* A pinned page keeps its pin wherever it goes. */
static void pins_travel(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	int node = unit_node(u, 0);

	unit_fill(u, CPU, va, 4 * PAGE, 1);
	assert_int_equal(gm_advise(u->as, node, va, 4 * PAGE, GM_PIN), 0);
	assert_int_equal(unit_hnode(node).pinned, 4 * PAGE);
	unit_verify(u, CPU, va, 4 * PAGE, 1);
	assert_true(unit_info(u->as, va).flags & GM_PAGE_PINNED);
	assert_int_equal(unit_hnode(node).pinned, 0);
	unit_verify(u, 1, va, 4 * PAGE, 1);
	assert_true(unit_info(u->as, va).flags & GM_PAGE_PINNED);
	assert_int_equal(unit_hnode(unit_node(u, 1)).pinned, 4 * PAGE);
	assert_int_equal(gm_advise(u->as, node, va, 4 * PAGE, GM_UNPIN), 0);
	assert_int_equal(unit_hnode(unit_node(u, 1)).pinned, 0);
	unit_verify(u, 0, va, 4 * PAGE, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(there_and_back, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(checkered, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(scattered_host, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(device_steps_fail, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(host_steps_fail, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(page_alone_if_piece_fails, unit_setup,
						unit_teardown),
		cmocka_unit_test_setup_teardown(copies_that_take_long, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(retained_up_to_a_bound, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(retained_none, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(retained_trimmed, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(much_retained, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(trimming_is_linear, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(memory_low_gives_back, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(pins_travel, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
