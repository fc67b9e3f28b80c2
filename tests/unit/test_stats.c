// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Counters: each says what happened, to the device and to the address space. */
#include "unit.h"

#include "toy.h"

static void cpu_and_device_faults(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	struct gm_stats as, dev;

	unit_fill(u, CPU, va, 32 * PAGE, 1);
	as = unit_as_stats(u->as);
	assert_int_equal(as.cpu_faults, 0); /* the kernel's own */
	unit_verify(u, 0, va, 32 * PAGE, 1);
	as = unit_as_stats(u->as);
	dev = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(dev.dev_faults, 32);
	assert_int_equal(dev.dev_faults_moved, 32);
	assert_int_equal(dev.dev_faults_map, 0);
	assert_int_equal(dev.pages_to_dev, 32);
	assert_int_equal(dev.bytes_to_dev, 32 * PAGE);
	assert_true(dev.ns_dev_fault > 0 && dev.ns_copy > 0);
	assert_int_equal(as.dev_faults, 32);
	assert_int_equal(as.pages_to_dev, 32);

	unit_verify(u, CPU, va, 32 * PAGE, 1);
	as = unit_as_stats(u->as);
	dev = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(as.cpu_faults, 2);
	assert_int_equal(as.cpu_faults_moved, 2);
	assert_int_equal(as.pages_to_host, 32);
	assert_int_equal(as.bytes_to_host, 32 * PAGE);
	assert_true(as.ns_cpu_fault > 0);
	assert_int_equal(dev.pages_to_host, 32);
	assert_true(dev.tlb_ranges >= 2 && dev.tlb_invls >= 2 && dev.ns_invl > 0);
	assert_int_equal(as.fault_errors + dev.fault_errors, 0);
	assert_int_equal(unit_dev_stats(unit_dev(u, 1)).dev_faults, 0);
}

static void evictions(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);
	struct gm_stats dev;

	unit_tune(unit_dev(u, 0), BLOCK, false, true);
	unit_fill(u, 0, va, 6 * BLOCK, 1);
	dev = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(dev.evictions, 2);
	assert_int_equal(dev.evictions_direct, 2);
	assert_int_equal(dev.pages_evicted, 1024);
	assert_int_equal(dev.pages_to_host, 1024);
	assert_int_equal(dev.pages_zeroed, 6 * 512);
	assert_true(dev.ns_evict > 0);
}

static void errors_are_counted(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, PAGE), value;

	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(unit_access(u, 0, va, &value, 8, GM_READ), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 0, 0);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).fault_errors, 1);
	assert_int_equal(unit_as_stats(u->as).fault_errors, 1);
}

/* Several ranges, one invalidation: what tlb_invl_coalesced is for. */
static void invalidations_are_gathered(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct gm_object *obj;
	struct gm_stats before, after;
	struct toy toy;
	uint64_t va = 0x7000000000ULL, value;

	toy_init(&toy, 2);
	assert_int_equal(toy_plug(&toy), 0);
	unit_tune(toy.dev, PAGE, true, true);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_object_create(BLOCK, 0, &obj), 0);
	for (uint64_t i = 0; i < 8; i++)
		unit_map_at(u->as, obj, 0, 64 * PAGE, va + i * BLOCK);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(toy_access(ctx, va + i * PAGE, &value, 8, GM_READ), 0);
	before = unit_dev_stats(toy.dev);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, 64 * PAGE, GM_PREFETCH), 0);
	after = unit_dev_stats(toy.dev);
	assert_true(after.tlb_ranges > before.tlb_ranges);
	assert_true(after.tlb_invls - before.tlb_invls <= after.tlb_ranges - before.tlb_ranges);
	assert_int_equal(after.tlb_invls - before.tlb_invls <= 8, 1); /* 64 pages at 8 addresses */
	gm_object_put(obj);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/*
 * An object mapped several times in an address space: its block leaves the device by one
 * operation for up to 16 addresses, or by one for each.
 */
static void mapped_often(struct unit *u, unsigned int times, bool coalesced)
{
	struct gm_stats before, after, as_before, as_after;
	unsigned int calls = coalesced ? (times + 15) / 16 : times;
	struct gm_context *ctx;
	struct gm_object *obj;
	struct toy toy;
	uint64_t va = 0, value;

	toy_init(&toy, 2);
	if (!coalesced)
		toy.mmu.tlb_invl_coalesced = NULL;
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_object_create(BLOCK, 0, &obj), 0);
	for (unsigned int i = 0; i < times; i++) {
		unit_alloc(u, BLOCK); /* lest two of them adjoin: another object's, not concerned */
		va = unit_map(u->as, obj, 0, BLOCK, i ? GM_READ : GM_READ | GM_WRITE);
		assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, BLOCK, GM_PREFETCH),
				 0);
		assert_int_equal(toy_access(ctx, va, &value, 8, GM_READ), 0);
		assert_int_equal(toy_find(ctx, va)->leaf, BLOCK);
	}
	before = unit_dev_stats(toy.dev);
	as_before = unit_as_stats(u->as);
	toy.invls = toy.coalesced = toy.ranges = 0;

	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	after = unit_dev_stats(toy.dev);
	as_after = unit_as_stats(u->as);
	assert_int_equal(toy_leaves(ctx, 0, UINT64_MAX), 0);
	assert_int_equal(toy.ranges, times);
	assert_int_equal(toy.coalesced, coalesced ? calls : 0);
	assert_int_equal(toy.invls, coalesced ? 0 : calls);
	assert_int_equal(after.tlb_ranges - before.tlb_ranges, times);
	assert_int_equal(after.tlb_invls - before.tlb_invls, calls);
	assert_int_equal(as_after.tlb_ranges - as_before.tlb_ranges, times);
	assert_int_equal(as_after.tlb_invls - as_before.tlb_invls, calls);
	gm_object_put(obj);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

static void invalidations_of_aliases(void **state)
{
	mapped_often(*state, 2, true);
	mapped_often(*state, 2, false);
	mapped_often(*state, 20, true);
	mapped_often(*state, 20, false);
}

/* A caller built against another version of the struct. */
static void other_sizes(void **state)
{
	struct unit *u = *state;
	struct {
		struct gm_stats stats;
		uint64_t tail[4];
	} large;
	struct gm_stats small;

	memset(&large, 0xAA, sizeof(large));
	large.stats.size = sizeof(large);
	assert_int_equal(gm_as_stats(u->as, &large.stats), 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(large.tail[i], 0);
	memset(&small, 0xAA, sizeof(small));
	small.size = offsetof(struct gm_stats, dev_faults);
	assert_int_equal(gm_dev_stats(unit_dev(u, 0), &small), 0);
	assert_int_equal(small.cpu_faults, 0);
	assert_int_equal(small.dev_faults, 0xAAAAAAAAAAAAAAAAULL); /* not his */
	small.size = 0;
	assert_int_equal(gm_as_stats(u->as, &small), -EINVAL);
	assert_int_equal(gm_as_stats(NULL, &small), -EINVAL);
	assert_int_equal(gm_as_stats(u->as, NULL), -EINVAL);
	assert_int_equal(gm_dev_stats(NULL, &small), -EINVAL);
}

/* Untouched: 0. Whole blocks: next to nothing. Every second page: 8 bytes a page and a little. */
static void metadata(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 64 * BLOCK), total = 64 * BLOCK, bytes;

	unit_fill(u, CPU, va, total, 1);
	assert_int_equal(gm_metadata_bytes(), 0);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(
			gm_advise(u->as, unit_node(u, 0), va + i * BLOCK, BLOCK, GM_PREFETCH), 0);
	bytes = gm_metadata_bytes();
	assert_true(bytes <= total / 1000);
	for (uint64_t i = 0; i < 64 * 512; i += 2)
		unit_verify(u, 1, va + i * PAGE, PAGE, 1);
	assert_true(gm_metadata_bytes() <= total / 250);
	unit_unmap(u->as, va, total);
	assert_int_equal(gm_metadata_bytes(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cpu_and_device_faults, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(evictions, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(errors_are_counted, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(invalidations_are_gathered, unit_setup,
						unit_teardown),
		cmocka_unit_test_setup_teardown(invalidations_of_aliases, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(other_sizes, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(metadata, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
