// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Reading in place what another device has: by a coherent link the page stays where it is until
 * somebody writes it elsewhere, or it is evicted; whoever takes it from its device takes it from
 * its readers too.
 */
#include "unit.h"

#include "core/core.h"

static struct gm_sim *sim_with(unsigned int nr, uint32_t flags)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = (1ULL + nr) << 32,
				      .table_memory = 256 << 10,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK | flags };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	unit_tune(gm_sim_dev(sim), 16 * PAGE, true, true);
	return sim;
}

static int setup(void **state)
{
	struct unit *u;

	unit_setup_as(state);
	u = *state;
	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		u->sim[i] = sim_with(i, GM_SIM_READ_PEER);
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	struct unit *u = *state;
	struct gm_sim_stats s = { .size = sizeof(s) };

	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		gm_sim_stats(u->sim[i], &s);
		assert_int_equal(s.stale, 0);
	}
	return unit_teardown(state);
}

static struct gm_stats stats(struct unit *u, unsigned int dev)
{
	return unit_dev_stats(unit_dev(u, dev));
}

/* All of it on device 0, of @tag; and then read by device 1. */
static uint64_t read_there(struct unit *u, uint64_t len, uint64_t tag)
{
	uint64_t va = unit_alloc(u, len);

	unit_fill(u, CPU, va, len, tag);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, len, GM_PREFETCH), 0);
	unit_verify(u, 1, va, len, tag);
	return va;
}

static void stays(void **state)
{
	struct unit *u = *state;
	uint64_t va = read_there(u, BLOCK, 1);

	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	assert_int_equal(stats(u, 1).pages_peer, 0);
	assert_int_equal(stats(u, 1).dev_faults, BLOCK / (16 * PAGE)); /* a granule each */
	/* What its device writes is seen. */
	unit_fill(u, 0, va, BLOCK, 2);
	unit_verify(u, 1, va, BLOCK, 2);
	unit_verify(u, 0, va, BLOCK, 2);
	assert_int_equal(stats(u, 1).dev_faults, BLOCK / (16 * PAGE));
	assert_int_equal(stats(u, 0).dev_faults, 0);
	unit_check();
}

/* To write is to have it: the granule moves, the rest stays to be read there. */
static void moves_when_written(void **state)
{
	struct unit *u = *state;
	uint64_t va = read_there(u, BLOCK, 1), v;

	unit_store(u, 1, va + 20 * PAGE + 8, 7);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 1)), 16);
	unit_on(u->as, va + 16 * PAGE, 16 * PAGE, unit_node(u, 1));
	/* And the other way round. */
	v = unit_load(u, 0, va + 20 * PAGE + 8);
	assert_int_equal(v, 7);
	unit_on(u->as, va + 16 * PAGE, 16 * PAGE, unit_node(u, 1));
	unit_store(u, 0, va + 20 * PAGE + 8, 8);
	assert_int_equal(unit_load(u, 1, va + 20 * PAGE + 8), 8);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
}

/* Home, to a third place, dropped, evicted, poisoned, unmapped: the reader loses it first. */
static void taken_from_both(void **state)
{
	struct unit *u = *state;
	uint64_t va = read_there(u, BLOCK, 1), other, v;

	unit_fill(u, CPU, va, BLOCK, 2);
	unit_verify(u, 1, va, BLOCK, 2);
	unit_on(u->as, va, BLOCK, unit_node(u, 1)); /* it came from the host, not from a peer */
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	unit_verify(u, 1, va, BLOCK, 2);
	assert_int_equal(gm_advise(u->as, GM_NODE_NONE, va, BLOCK, GM_DONTNEED), 0);
	unit_verify(u, 1, va, BLOCK, 0);
	unit_unmap(u->as, va, BLOCK);

	va = read_there(u, 4 * BLOCK, 3);
	other = unit_alloc(u, 4 * BLOCK);
	unit_fill(u, 0, other, 4 * BLOCK, 4);
	assert_int_equal(unit_count_on(u->as, va, 4 * BLOCK, unit_node(u, 0)), 0);
	unit_verify(u, 1, va, 4 * BLOCK, 3);
	unit_unmap(u->as, other, 4 * BLOCK);
	unit_unmap(u->as, va, 4 * BLOCK);

	va = read_there(u, BLOCK, 5);
	struct gm_lookup at = { .size = sizeof(at) };
	assert_int_equal(gm_as_lookup(u->as, va + 3 * PAGE, &at), 0);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), at.pa), 0);
	assert_int_equal(unit_access(u, 1, va + 3 * PAGE, &v, 8, GM_READ), -EHWPOISON);
	assert_int_equal(unit_access(u, 1, va + 4 * PAGE, &v, 8, GM_READ), 0);
	unit_check();
}

/* Read-only mappings of a region that is split, protected, and left by the reader. */
static void lifecycle(void **state)
{
	struct unit *u = *state;
	uint64_t va = read_there(u, BLOCK, 1);

	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)(va + PAGE), PAGE, GM_READ), 0);
	unit_verify(u, 1, va, BLOCK, 1);
	unit_unmap(u->as, va + 8 * PAGE, 8 * PAGE);
	unit_verify(u, 1, va, 8 * PAGE, 1);
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	unit_on(u->as, va, 8 * PAGE, unit_node(u, 0));
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
	unit_verify(u, 1, va, 8 * PAGE, 1);
	/* The owner leaves: it comes home, from both. */
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	unit_fill(u, CPU, va, PAGE, 2);
	unit_verify(u, 1, va, PAGE, 2);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
}

/* Host memory in place, and peers' too: both are read where they are. */
static void in_place_as_well(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	assert_int_equal(gm_sim_set_mode(u->ctx[1], (void *)(uintptr_t)va, BLOCK, GM_REPLICATE), 0);
	unit_fill(u, 0, va, BLOCK / 2, 1);
	unit_fill(u, CPU, va + BLOCK / 2, BLOCK / 2, 1);
	unit_verify(u, 1, va, BLOCK, 1);
	unit_on(u->as, va, BLOCK / 2, unit_node(u, 0));
	unit_on(u->as, va + BLOCK / 2, BLOCK / 2, GM_NODE_HOST);
	unit_fill(u, 1, va, BLOCK, 2); /* a write brings it home */
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	unit_verify(u, 0, va, BLOCK, 2);
	unit_verify(u, CPU, va, BLOCK, 2);
}

/* No link of that kind: it moves. */
static void no_link(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	u->sim[0] = sim_with(0, 0);
	u->sim[1] = sim_with(1, GM_SIM_READ_PEER);
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	unit_fill(u, 0, va, BLOCK, 1);
	unit_verify(u, 1, va, BLOCK, 1);
	unit_on(u->as, va, BLOCK, unit_node(u, 1));
}

/* The reader's driver fails: to enter, it is the reader's error; to let go, whoever wants the page. */
static void failing(void **state)
{
	struct unit *u = *state;
	uint64_t va = read_there(u, BLOCK, 1), v;

	for (int op = GM_SIM_PMAP_RELEASE; op <= GM_SIM_TLB_INVL; op += 2) {
		gm_sim_inject(u->sim[1], (enum gm_sim_op)op, 0, UINT32_MAX, -EIO);
		assert_int_equal(unit_access(u, CPU, va, &v, 8, GM_READ), -EIO);
		unit_on(u->as, va, BLOCK, unit_node(u, 0));
		gm_sim_inject(u->sim[1], (enum gm_sim_op)op, 0, 0, 0);
		unit_verify(u, 0, va, BLOCK, 1);
		unit_verify(u, 1, va, BLOCK, 1);
	}
	unit_fill(u, CPU, va, BLOCK, 2);
	unit_fill(u, 0, va, BLOCK, 3);
	gm_sim_inject(u->sim[1], GM_SIM_PMAP_ENTER, 0, 2, -EIO);
	assert_int_equal(unit_access(u, 1, va, &v, 8, GM_READ), -EIO);
	unit_verify(u, 1, va, BLOCK, 3);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	/* The guess fails, the page alone is mapped. */
	unit_fill(u, 0, va, BLOCK, 4);
	unit_check();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		T(stays),
		T(moves_when_written),
		T(taken_from_both),
		T(lifecycle),
		T(in_place_as_well),
		T(failing),
		cmocka_unit_test_setup_teardown(no_link, unit_setup_as, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
