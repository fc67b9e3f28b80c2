// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* hmemcpy from device to device: straight where there is a link, else as ever. */
#include <pthread.h>

#include "core/core.h"

#include "unit.h"

#define LEN (BLOCK + 40 * PAGE)

static uint64_t copies(struct unit *u, unsigned int dev)
{
	struct gm_sim_stats s = { .size = sizeof(s) };

	gm_sim_stats(u->sim[dev], &s);
	assert_int_equal(s.stale, 0);
	return s.copies;
}

/* @len bytes of @tag on device @dev. */
static uint64_t put_on(struct unit *u, unsigned int dev, uint64_t len, uint64_t tag)
{
	uint64_t va = unit_alloc(u, len);

	unit_fill(u, CPU, va, len, tag);
	assert_int_equal(gm_advise(u->as, unit_node(u, dev), va, len, GM_PREFETCH), 0);
	return va;
}

static int copy(struct unit *u, uint64_t dst, uint64_t src, uint64_t len)
{
	return gm_copy(GM_NODE_NONE, u->as, dst, u->as, src, len);
}

/* [dst+at, +len) is what is at @src + @at + @shift, the rest of the LEN bytes is what it was. */
static void verify(struct unit *u, uint64_t dst, const uint8_t *before, uint64_t src, uint64_t at,
		   uint64_t shift, uint64_t len)
{
	static uint8_t got[LEN], from[LEN];

	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)got, u->as, dst, LEN), 0);
	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)from, u->as, src, LEN), 0);
	assert_memory_equal(got, before, at);
	assert_memory_equal(got + at, from + at + shift, len);
	assert_memory_equal(got + at + len, before + at + len, LEN - at - len);
}

/* No buffer, no copy by way of the host, one of the target's; nothing moves or loses its mapping. */
static void straight(void **state)
{
	static const struct {
		uint64_t at, shift, len, copies;
	} part[] = { { 0, 0, LEN, 2 },
		     { 5 * PAGE, 0, 3 * PAGE, 1 },
		     { 77, 0, 1, 1 },
		     { PAGE - 9, 0, 18, 1 },
		     { 3 * PAGE + 5, 2 * PAGE + 1000, 9 * PAGE, 1 } };
	struct unit *u = *state;
	uint64_t src = put_on(u, 0, LEN, 1), dst = put_on(u, 1, LEN, 2);
	static uint8_t before[LEN];

	unit_verify(u, 0, src, LEN, 1); /* it has translations of it, */
	unit_verify(u, 1, dst, LEN, 2); /* and of this */
	for (unsigned int i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		struct gm_stats as = unit_as_stats(u->as);
		uint64_t done;

		assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)before, u->as, dst, LEN),
				 0);
		done = copies(u, 0) << 32 | copies(u, 1);
		gm_fake_inject(GM_FAKE_BOUNCE_ALLOC, 0, 100, -ENOMEM);
		assert_int_equal(copy(u, dst + part[i].at, src + part[i].at + part[i].shift,
				      part[i].len),
				 0);
		gm_fake_inject_clear();
		assert_int_equal((copies(u, 0) << 32 | copies(u, 1)) - done, part[i].copies);
		unit_on(u->as, src, LEN, unit_node(u, 0));
		unit_on(u->as, dst, LEN, unit_node(u, 1));
		assert_int_equal(unit_as_stats(u->as).pages_peer, as.pages_peer);
		verify(u, dst, before, src, part[i].at, part[i].shift, part[i].len);
	}
	unit_verify(u, 0, src, LEN, 1);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).dev_faults, 0);
	unit_check();
}

/* Both ends in one block, of one object; then of one page each. */
static void one_block(void **state)
{
	struct unit *u = *state;
	uint64_t va = put_on(u, 0, BLOCK, 1);
	static uint8_t a[4 * PAGE], b[4 * PAGE];

	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va + 100 * PAGE, 4 * PAGE, GM_PREFETCH),
			 0);
	gm_fake_inject(GM_FAKE_BOUNCE_ALLOC, 0, 100, -ENOMEM);
	assert_int_equal(copy(u, va + 100 * PAGE, va + 7 * PAGE, 4 * PAGE), 0);
	gm_fake_inject_clear();
	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)a, u->as, va + 7 * PAGE, 4 * PAGE),
			 0);
	assert_int_equal(
		gm_copy(GM_NODE_NONE, NULL, (uintptr_t)b, u->as, va + 100 * PAGE, 4 * PAGE), 0);
	assert_memory_equal(a, b, sizeof(a));
	unit_verify(u, CPU, va, 100 * PAGE, 1);
	unit_verify(u, CPU, va + 104 * PAGE, BLOCK - 104 * PAGE, 1);
}

/* Where it is not from one device to another, the buffer: nothing else has changed. */
static void not_straight(void **state)
{
	struct unit *u = *state;
	uint64_t src = put_on(u, 0, LEN, 1), same = put_on(u, 0, 4 * PAGE, 2);
	uint64_t host = unit_alloc(u, 4 * PAGE), dst = put_on(u, 1, 8 * PAGE, 3), n;
	uint64_t bad[][2] = { { same, src }, { host, src }, { dst, host }, { dst, 16 * PAGE } };
	struct gm_sim_ctx *ctx;
	struct gm_as *other;
	uint64_t there;

	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(gm_copy_direct(u->as, bad[i][0], bad[i][1], 4 * PAGE, &n), 0);
		assert_int_equal(n, 0);
	}
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(copy(u, bad[i][0], bad[i][1], 4 * PAGE), 0);
	assert_int_equal(copy(u, dst, 16 * PAGE, PAGE), -EFAULT);
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)dst, 4 * PAGE, GM_READ), 0);
	assert_int_equal(gm_copy_direct(u->as, dst, src, 4 * PAGE, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(copy(u, dst, src, 4 * PAGE), -EACCES);

	/* Somebody has one of the blocks: the buffer waits for it. */
	for (uint32_t skip = 0; skip < 2; skip++) {
		gm_fake_inject(GM_FAKE_TRYLOCK, skip, 1, -EBUSY);
		assert_int_equal(gm_copy_direct(u->as, dst + 4 * PAGE, src, PAGE, &n), 0);
		assert_int_equal(n, 0);
		gm_fake_inject_clear();
	}
	assert_int_equal(gm_copy_direct(u->as, dst + 4 * PAGE, src, 2 * PAGE, &n), 0);
	assert_int_equal(n, 2 * PAGE);

	/* Of two address spaces. */
	assert_int_equal(gm_as_create(NULL, &other), 0);
	assert_int_equal(gm_sim_attach(u->sim[1], other, &ctx), 0);
	assert_int_equal(gm_alloc(other, PAGE, 0, (void **)&there), 0);
	assert_int_equal(gm_advise(other, unit_node(u, 1), there, PAGE, GM_PREFETCH), 0);
	assert_int_equal(gm_copy(GM_NODE_NONE, other, there, u->as, src, PAGE), 0);
	assert_int_equal(gm_as_destroy(other), 0);

	/* Of a device that is gone nothing is read so, if it has anything still. */
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -ENOMEM);
	assert_int_equal(gm_sim_unplug(u->sim[0]), -ENOMEM);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 0, 0);
	assert_int_equal(gm_copy_direct(u->as, dst + 4 * PAGE, src, PAGE, &n), 0);
	assert_int_equal(n, 0);
	unit_verify(u, CPU, src, LEN, 1);
}

/* The drivers have no link after all, from the start or by the fence. */
static void no_link(void **state)
{
	static const enum gm_sim_op ops[] = { GM_SIM_COPY_START, GM_SIM_COPY_FENCE };
	struct unit *u = *state;
	uint64_t src = put_on(u, 0, LEN, 1), dst = put_on(u, 1, LEN, 2);
	static uint8_t before[LEN];

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t was = copies(u, 0);

		assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)before, u->as, dst, LEN),
				 0);
		was = copies(u, 0);
		gm_sim_inject(u->sim[1], ops[i], 0, 1, -EOPNOTSUPP);
		assert_int_equal(copy(u, dst + 9, src + 9, LEN - 20), 0);
		assert_true(copies(u, 0) > was); /* out of it, to the host */
		verify(u, dst, before, src, 9, 0, LEN - 20);
		unit_fill(u, 1, dst, LEN, 3);
	}
}

/* Each step of either driver fails: the error is told, the source is whole, all goes on. */
static void steps_fail(void **state)
{
	static const struct {
		unsigned int dev;
		enum gm_sim_op op;
	} step[] = { { 1, GM_SIM_PMAP_RELEASE }, { 1, GM_SIM_TLB_INVL },
		     { 0, GM_SIM_PMAP_RELEASE }, { 0, GM_SIM_TLB_INVL },
		     { 1, GM_SIM_COPY_START },	 { 1, GM_SIM_COPY_FENCE } };
	struct unit *u = *state;
	uint64_t src = put_on(u, 0, LEN, 1), dst = put_on(u, 1, LEN, 2);

	for (unsigned int i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		unit_verify(u, 0, src, LEN, 1);
		unit_verify(u, 1, dst + BLOCK, PAGE, i ? 1 : 2);
		gm_sim_inject(u->sim[step[i].dev], step[i].op, 0, UINT32_MAX, -EIO);
		assert_int_equal(copy(u, dst, src, LEN), -EIO);
		gm_sim_inject(u->sim[step[i].dev], step[i].op, 0, 0, 0);
		unit_check();
		unit_on(u->as, src, LEN, unit_node(u, 0));
		unit_on(u->as, dst, LEN, unit_node(u, 1));
		assert_int_equal(copy(u, dst, src, LEN), 0);
		unit_peek(u->as, src, LEN, 1);
		for (uint64_t off = 0; off < LEN; off += PAGE)
			unit_fill(u, 1, dst + off, PAGE, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(straight, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(one_block, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(not_straight, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(no_link, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(steps_fail, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
