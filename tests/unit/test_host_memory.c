// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * When the machine runs short of memory the host frames that gmem retains go back: all
 * the way from /proc/meminfo, or what stands in for it here, to the memfd's pages.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gmem/sim.h>

#include "core/core.h"
#include "host/linux-user/user.h"

#define BLOCKS 48U /* 96 MiB: more than the core and the worker take for little */
#define BYTES (BLOCKS * (size_t)GM_BLOCK_SIZE)

static char path[] = "/tmp/gmem-meminfo-XXXXXX";

static void say_available(unsigned int permille)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "MemTotal: 1000 kB\nMemAvailable: %u kB\n", permille);
	fclose(f);
	gm_memory_low_reset();
}

static uint64_t backing_bytes(const void *p)
{
	struct gm_as *as = gm_ranges_find((uint64_t)(uintptr_t)p);
	struct gm_object *obj = gm_region_find(as, (uint64_t)(uintptr_t)p)->obj;
	uint64_t bytes = 0, n;
	bool present;

	for (uint64_t off = 0; off < BYTES; off += n) {
		n = gm_os_backing_run(obj, off, BYTES - off, &present);
		bytes += present ? n : 0;
	}
	return bytes;
}

static void await_retained_below(uint64_t bytes)
{
	for (unsigned int i = 0; i < 600 && gm_retained_bytes() >= bytes; i++)
		usleep(100000);
	assert_true(gm_retained_bytes() < bytes);
}

static void test_retained_goes_back(void **state)
{
	struct gm_sim_options opt = { .size = sizeof(opt), .memory = BYTES, .lanes = 1 };
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	struct gm_as *as;
	void *mem;

	(void)state;
	close(mkstemp(path));
	gm_path_meminfo = path;
	gm_path_self_cgroup = "/nonexistent";
	say_available(900);
	gm_retain_limit(BYTES);
	assert_int_equal(gm_as_create(NULL, &as), 0);
	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	assert_int_equal(gm_sim_attach(sim, as, &ctx), 0);
	assert_int_equal(gm_alloc(as, BYTES, 0, &mem), 0);
	memset(mem, 7, BYTES);

	/* There is plenty: all is kept, though the worker looks. */
	assert_int_equal(hmadvise(gm_dev_hnode(gm_sim_dev(sim)), mem, BYTES, GM_PREFETCH), 0);
	usleep(1500000);
	assert_int_equal(gm_retained_bytes(), BYTES);
	assert_int_equal(backing_bytes(mem), BYTES);

	/* Nothing happens but that the machine runs short: a part goes at a time. */
	say_available(10);
	await_retained_below(BYTES / 3 * 2);
	say_available(900);
	assert_true(gm_retained_bytes() > 0);

	/* The frames went, not only the count, once the worker is through; no byte is lost. */
	for (unsigned int i = 0; i < 600 && backing_bytes(mem) != gm_retained_bytes(); i++)
		usleep(100000);
	assert_int_equal(backing_bytes(mem), gm_retained_bytes());
	for (size_t i = 0; i < BYTES; i += GM_PAGE_SIZE)
		assert_int_equal(((volatile char *)mem)[i], 7);

	assert_int_equal(gm_as_destroy(as), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_retained_goes_back),
	};

	return cmocka_run_group_tests_name("host_memory", tests, NULL, NULL);
}
