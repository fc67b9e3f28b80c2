// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Migration: each way, in parts, and with failing steps. */
#include "unit.h"

#include "core/core.h"

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
		cmocka_unit_test_setup_teardown(pins_travel, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
