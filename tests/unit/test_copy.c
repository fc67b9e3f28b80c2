// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* hmemcpy between any two places, at any alignment, without moving anything. */
#include "unit.h"

#define LEN (BLOCK + 300 * PAGE)

/* Where the pages of a range are put before a copy: page i at place i % 4. */
static void scatter(struct unit *u, uint64_t va, uint64_t len, uint64_t tag)
{
	for (uint64_t i = 0; i < len / PAGE; i++)
		if (i % 4 < 3)
			unit_fill(u, (int)(i % 4) - 1, va + i * PAGE, PAGE, tag);
}

static void read_all(struct unit *u, uint64_t va, uint64_t len, uint8_t *buf)
{
	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)buf, u->as, va, len), 0);
}

static void between_all_places(void **state)
{
	static const uint64_t shifts[] = { 0, 1, PAGE - 3, 5 * PAGE + 77 };
	static uint8_t a[LEN], b[LEN], expect[LEN];
	struct unit *u = *state;
	struct gm_page_info src_before[LEN / PAGE], src_after[LEN / PAGE];

	for (unsigned int s = 0; s < 4; s++) {
		uint64_t src = unit_alloc(u, LEN), dst = unit_alloc(u, LEN);
		uint64_t n = LEN - 6 * PAGE;

		scatter(u, src, LEN, 1);
		scatter(u, dst + PAGE, LEN - PAGE, 2);
		read_all(u, src, LEN, a);
		read_all(u, dst, LEN, expect);
		memcpy(expect + shifts[s], a + 11, n);
		assert_int_equal(gm_as_query(u->as, src, LEN, src_before), 0);
		assert_int_equal(gm_copy(GM_NODE_NONE, u->as, dst + shifts[s], u->as, src + 11, n),
				 0);
		assert_int_equal(gm_as_query(u->as, src, LEN, src_after), 0);
		assert_memory_equal(src_before, src_after, sizeof(src_before));
		read_all(u, dst, LEN, b);
		assert_memory_equal(b, expect, LEN);
		for (uint64_t i = 0; i < LEN; i += PAGE)
			assert_int_equal(unit_access(u, (int)(i / PAGE % 3) - 1, dst + i, b + i,
						     PAGE, GM_READ),
					 0);
		assert_memory_equal(b, expect, LEN);
		unit_unmap(u->as, src, LEN);
		unit_unmap(u->as, dst, LEN);
	}
}

static void plain_memory(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * PAGE);
	char text[] = "across a page", back[sizeof(text)] = "";

	unit_fill(u, 0, va, PAGE, 1);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, va + PAGE - 5, NULL, (uintptr_t)text,
				 sizeof(text)),
			 0);
	unit_on(u->as, va, PAGE, unit_node(u, 0)); /* it stayed there */
	unit_verify(u, 0, va, PAGE, 1);
	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)back, u->as, va + PAGE - 5,
				 sizeof(text)),
			 0);
	assert_string_equal(back, text);
	back[0] = 0;
	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)back, NULL, (uintptr_t)text,
				 sizeof(text)),
			 0);
	assert_string_equal(back, text);
	unit_peek(u->as, va + 2 * PAGE, 2 * PAGE, 0); /* reading what is nowhere gives zeros */
	unit_on(u->as, va + 2 * PAGE, 2 * PAGE, GM_NODE_NONE);
}

static void no_fault_is_taken(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	struct gm_stats before, after;

	unit_fill(u, 0, va, 64 * PAGE, 1);
	before = unit_as_stats(u->as);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, va + 100 * PAGE, u->as, va, 64 * PAGE), 0);
	after = unit_as_stats(u->as);
	assert_int_equal(after.cpu_faults, before.cpu_faults);
	assert_int_equal(after.dev_faults, before.dev_faults);
	assert_int_equal(after.pages_to_host, before.pages_to_host);
	for (uint64_t i = 0; i < 64; i++) {
		uint64_t off = i * PAGE + (va + i * PAGE) / PAGE % 500 * 8;

		assert_int_equal(unit_load(u, 1, va + 100 * PAGE + off),
				 unit_load(u, CPU, va + off));
	}
}

/* 16 MiB of a device's memory: no fault before, none after, and few invalidations. */
static void device_keeps_its_mappings(void **state)
{
	const uint64_t len = 8 * BLOCK;
	struct unit *u = *state;
	struct gm_stats before, after;
	uint64_t src, dst;
	uint8_t *buf = malloc(len);
	int node;

	assert_non_null(buf);
	u->sim[0] = unit_sim(20, 0);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	unit_tune(unit_dev(u, 0), PAGE, true, true);
	node = unit_node(u, 0);
	src = unit_alloc(u, len + BLOCK);
	dst = unit_alloc(u, len + BLOCK);
	unit_fill(u, CPU, src, len + BLOCK, 1);
	assert_int_equal(gm_advise(u->as, node, src, len + BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, node, dst, len + BLOCK, GM_PREFETCH), 0);
	for (unsigned int i = 0; i < 3; i++) {
		const uint64_t from = src + (i ? 77 * PAGE + 5 : 0);
		const uint64_t to = i < 2 ? 0 : dst + 300 * PAGE + 11;

		before = unit_dev_stats(unit_dev(u, 0));
		assert_int_equal(gm_copy(GM_NODE_NONE, to ? u->as : NULL, to ? to : (uintptr_t)buf,
					 u->as, from, len),
				 0);
		after = unit_dev_stats(unit_dev(u, 0));
		/* Two a block, in 8 or 9 blocks, on one side or on both. */
		assert_true(after.tlb_invls - before.tlb_invls <= (to ? 4 : 2) * (i ? 9 : 8));
		unit_on(u->as, src, len + BLOCK, node);
		unit_verify(u, 0, src, len + BLOCK, 1);
		for (uint64_t off = 0; off < len + BLOCK; off += PAGE)
			unit_load(u, 0, dst + off);
		before = after;
		after = unit_dev_stats(unit_dev(u, 0));
		assert_int_equal(after.dev_faults - before.dev_faults, 0);
		assert_int_equal(after.dev_faults_map, 0);
		if (to)
			read_all(u, to, len, buf);
		for (uint64_t off = 0; off + 8 <= len; off += 5000) {
			uint64_t word;

			read_all(u, from + off, 8, (uint8_t *)&word);
			assert_memory_equal(buf + off, &word, 8);
		}
	}
	free(buf);
}

/* With a node the destination ends up there. */
static void destination_is_placed(void **state)
{
	struct unit *u = *state;
	uint64_t src = unit_alloc(u, BLOCK), dst = unit_alloc(u, BLOCK);
	static uint8_t a[BLOCK], b[BLOCK];

	unit_fill(u, CPU, src, BLOCK, 1);
	assert_int_equal(gm_copy(unit_node(u, 1), u->as, dst, u->as, src, BLOCK), 0);
	unit_on(u->as, dst, BLOCK, unit_node(u, 1));
	unit_on(u->as, src, BLOCK, GM_NODE_HOST);
	read_all(u, src, BLOCK, a);
	assert_int_equal(unit_access(u, 1, dst, b, BLOCK, GM_READ), 0);
	assert_memory_equal(a, b, BLOCK);
	assert_int_equal(gm_copy(GM_NODE_HOST, u->as, dst, u->as, src, BLOCK), 0);
	unit_on(u->as, dst, BLOCK, GM_NODE_HOST);
}

/* Between address spaces, and between two mappings of one object. */
static void between_spaces(void **state)
{
	struct unit *u = *state;
	struct unit other = { .as = NULL };
	struct gm_object *obj;
	uint64_t a, b, c;

	assert_int_equal(gm_as_create(NULL, &other.as), 0);
	assert_int_equal(gm_object_create(BLOCK, 0, &obj), 0);
	a = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	b = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	c = unit_alloc(&other, BLOCK);
	unit_store(u, 0, a, 77);
	assert_int_equal(gm_copy(GM_NODE_NONE, other.as, c + 8, u->as, b, 8), 0);
	assert_int_equal(unit_load(&other, CPU, c + 8), 77);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, b + 3 * PAGE, u->as, a, 8), 0);
	assert_int_equal(unit_load(u, 1, a + 3 * PAGE), 77);
	gm_object_put(obj);
	assert_int_equal(gm_as_destroy(other.as), 0);
}

static void failing_copies(void **state)
{
	struct unit *u = *state;
	uint64_t src = unit_alloc(u, 4 * PAGE), dst = unit_alloc(u, 4 * PAGE);
	static uint8_t buf[4 * PAGE];

	unit_fill(u, 0, src, 4 * PAGE, 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, 1, -EIO);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, dst, u->as, src, 4 * PAGE), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_TLB_INVL, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, dst, u->as, src, 4 * PAGE), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_TLB_INVL, 0, 0, 0);
	gm_fake_inject(GM_FAKE_BOUNCE_ALLOC, 0, 1, -ENOMEM);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, dst, u->as, src, 4 * PAGE), -ENOMEM);
	gm_fake_inject(GM_FAKE_COPY_PLAIN, 0, 1, -EFAULT);
	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)buf, u->as, src, 4 * PAGE),
			 -EFAULT);
	gm_fake_inject(GM_FAKE_BACKING_WRITE, 0, 1, -ENOMEM);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, dst, u->as, src, 4 * PAGE), -ENOMEM);
	unit_check();
	unit_verify(u, 0, src, 4 * PAGE, 1);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, dst, u->as, src, 4 * PAGE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(between_all_places, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(plain_memory, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(no_fault_is_taken, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(device_keeps_its_mappings, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(destination_is_placed, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(between_spaces, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(failing_copies, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
