// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Counters: each says what happened, to the device and to the address space. */
#include "unit.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cpu_and_device_faults, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(evictions, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(errors_are_counted, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
