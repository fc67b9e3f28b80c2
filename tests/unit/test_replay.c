// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The replay host: what a short list of operations costs and moves, by hand; what it refuses.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "host/replay/replay.h"

/* The n-th allocation from now on fails; 0: none does. */
static unsigned int fail_at;

static bool fails(void)
{
	return fail_at && !--fail_at;
}

void *__real_calloc(size_t n, size_t size);
int __real_posix_memalign(void **p, size_t align, size_t size);
void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_calloc(size_t n, size_t size);
int __wrap_posix_memalign(void **p, size_t align, size_t size);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

int __wrap_posix_memalign(void **p, size_t align, size_t size)
{
	return fails() ? ENOMEM : __real_posix_memalign(p, align, size);
}

void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	return fails() ? MAP_FAILED : __real_mmap64(at, len, prot, flags, fd, off);
}

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define BLOCK_PAGES 512U

static const struct gm_replay_options plain = {
	.costs = { .bandwidth = 4096000000ULL, /* a page takes a microsecond */
		   .zero_bandwidth = 40960000000ULL,
		   .latency_ns = 500,
		   .dev_fault_ns = 20000,
		   .cpu_fault_ns = 7000,
		   .invl_ns = 300 },
	.memory = { 2 },
	.policy = "fixed:4k/lru-2m",
};

static struct gm_replay_op touch(uint32_t page, uint32_t n, unsigned int access)
{
	return (struct gm_replay_op){
		.kind = GM_REPLAY_ACCESS, .dev = 1, .access = (uint8_t)access, .page = page, .n = n
	};
}

static struct gm_replay_op present(uint32_t page, uint32_t n)
{
	return (struct gm_replay_op){ .kind = GM_REPLAY_PRESENT, .page = page, .n = n };
}

static struct gm_replay_op cpu(uint32_t page, unsigned int access)
{
	return (struct gm_replay_op){
		.kind = GM_REPLAY_CPU_FAULT, .access = (uint8_t)access, .page = page, .n = 1
	};
}

static struct gm_replay_op hint(unsigned int advice, uint8_t dev, uint32_t page, uint32_t n)
{
	return (struct gm_replay_op){
		.kind = GM_REPLAY_HINT, .advice = (uint8_t)advice, .dev = dev, .page = page, .n = n
	};
}

static int run_on(uint64_t pages, const struct gm_replay_op *ops, size_t n,
		  const struct gm_replay_options *opt, struct gm_replay_result *result)
{
	const struct gm_replay_object object = { .pages = pages };
	const struct gm_replay_trace trace = {
		.objects = &object, .nr_objects = 1, .nr_devs = 1, .ops = ops, .nr_ops = n
	};

	return gm_replay_run(&trace, opt, result);
}

static void test_time(void **state)
{
	const struct gm_replay_op ops[] = {
		present(0, 2),
		touch(0, 2, GM_READ),	/* two faults, a page copied for each */
		touch(0, 1, GM_WRITE),	/* it is there */
		touch(600, 1, GM_READ), /* a third page: the other block goes, two pages at once */
		cpu(0, GM_READ),	/* it is home, and not mapped */
		cpu(1, GM_READ),	/* came along */
		cpu(600, GM_WRITE),	/* comes home */
	};
	struct gm_replay_result r;

	(void)state;
	assert_int_equal(run_on(1024, ops, COUNT(ops), &plain, &r), 0);
	assert_int_equal(r.accesses, 4);
	assert_int_equal(r.dev.dev_faults, 3);
	assert_int_equal(r.dev.dev_faults_moved, 3);
	assert_int_equal(r.dev.pages_to_dev, 2);
	assert_int_equal(r.dev.pages_zeroed, 1);
	assert_int_equal(r.dev.pages_to_host, 3);
	assert_int_equal(r.dev.evictions, 1);
	assert_int_equal(r.as.cpu_faults, 2);
	assert_int_equal(r.as.cpu_faults_moved, 1);
	assert_int_equal(r.ns, 2 * (20000 + 500 + 1000)		  /* in */
				       + 20000 + 300 + 500 + 2000 /* out */
				       + 500 + 100		  /* zeroed */
				       + 2 * 7000 + 300 + 500 + 1000 /* the CPU's */);
}

/* What hints move costs no fault; what they drop costs nothing. */
static void test_hints(void **state)
{
	const struct gm_replay_op ops[] = {
		present(0, 512),
		hint(GM_PREFETCH, 1, 0, 16),
		touch(0, 16, GM_WRITE),
		hint(GM_DONTNEED, 0, 0, 8),
		touch(0, 1, GM_READ), /* is zero now */
		hint(GM_PREFETCH, 0, 8, 4),
		hint(GM_PIN, 0, 8, 4), /* cannot be done */
	};
	struct gm_replay_options opt = plain;
	struct gm_replay_result r;

	(void)state;
	opt.memory[0] = 64;
	assert_int_equal(run_on(512, ops, COUNT(ops), &opt, &r), 0);
	assert_int_equal(r.dev.dev_faults, 1);
	assert_int_equal(r.dev.pages_to_dev, 16);
	assert_int_equal(r.dev.pages_prefetched, 16 + 4);
	assert_int_equal(r.dev.pages_zeroed, 1);
	assert_int_equal(r.dev.pages_to_host, 4);
	assert_int_equal(r.hints_failed, 1);
	assert_int_equal(r.ns,
			 500 + 16000 + 300 /* DONTNEED's */ + 20000 + 500 + 100 + 300 + 500 + 4000);
}

/* A policy that comes to a page sooner than what was recorded finds its bytes all the same. */
static void test_present(void **state)
{
	const struct gm_replay_op ops[] = {
		touch(0, 1, GM_READ),	present(0, 512), /* told late, with the fault that asked */
		touch(300, 1, GM_READ), hint(GM_DONTNEED, 0, 0, 512),
		present(0, 3), /* the CPU has filled these again */
		touch(0, 4, GM_READ),
	};
	struct gm_replay_options opt = plain;
	struct gm_replay_result r;

	(void)state;
	opt.memory[0] = 512;
	assert_int_equal(run_on(512, ops, COUNT(ops), &opt, &r), 0);
	assert_int_equal(r.dev.pages_to_dev, 2 + 3);
	assert_int_equal(r.dev.pages_zeroed, 1);
	opt.policy = "fixed:2m/lru-2m";
	assert_int_equal(run_on(512, ops, COUNT(ops), &opt, &r), 0);
	assert_int_equal(r.dev.pages_to_dev, 512 + 3);
	assert_int_equal(r.dev.pages_zeroed, 509);
	assert_int_equal(r.dev.dev_faults, 2);
}

static void test_unmap(void **state)
{
	struct gm_replay_op ops[] = {
		present(0, 512),
		touch(0, 8, GM_WRITE),
		{ .kind = GM_REPLAY_UNMAP, .page = 0, .n = 256 },
		touch(300, 8, GM_WRITE),
		{ .kind = GM_REPLAY_UNMAP, .page = 256, .n = 256 },
		touch(0, 1, GM_READ),
	};
	struct gm_replay_options opt = plain;
	struct gm_replay_result r;

	(void)state;
	opt.memory[0] = 8;
	assert_int_equal(run_on(512, ops, COUNT(ops) - 1, &opt, &r), 0);
	assert_int_equal(r.dev.pages_to_host, 0);
	assert_int_equal(r.dev.pages_to_dev, 16);
	/* After its end an object cannot be touched. */
	assert_int_equal(run_on(512, ops, COUNT(ops), &opt, &r), -EFAULT);
	assert_int_equal(r.failed_op, 5);
	ops[4] = touch(255, 1, GM_READ); /* nor can a part of it */
	assert_int_equal(run_on(512, ops, COUNT(ops), &opt, &r), -EFAULT);
	assert_int_equal(r.failed_op, 4);
}

/* Two devices: without a link pages go by way of the host. */
static void test_devices(void **state)
{
	const struct gm_replay_object object = { .pages = 512 };
	struct gm_replay_op ops[] = { present(0, 4), touch(0, 4, GM_WRITE), touch(0, 4, GM_WRITE),
				      touch(0, 4, GM_READ) };
	const struct gm_replay_trace trace = {
		.objects = &object, .nr_objects = 1, .nr_devs = 2, .ops = ops, .nr_ops = COUNT(ops)
	};
	struct gm_replay_options opt = plain;
	struct gm_replay_result r;

	(void)state;
	ops[2].dev = 2;
	opt.memory[0] = opt.memory[1] = 4;
	assert_int_equal(gm_replay_run(&trace, &opt, &r), 0);
	assert_int_equal(r.dev.pages_to_dev, 12);
	assert_int_equal(r.dev.pages_to_host, 8);
	assert_int_equal(r.dev.dev_faults_moved, 12);
	assert_int_equal(r.dev.evictions, 0);
}

/* Twice the same, and a run leaves nothing behind that the next would see. */
static void test_again(void **state)
{
	static struct gm_replay_op ops[20000];
	struct gm_replay_options opt = plain;
	struct gm_replay_result a, b;
	uint64_t x = 1;

	(void)state;
	ops[0] = present(0, 5000);
	for (size_t i = 1; i < COUNT(ops); i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		ops[i] = touch((uint32_t)((x >> 33) % 5000), 1, x >> 63 ? GM_WRITE : GM_READ);
	}
	opt.memory[0] = 3000;
	opt.background = true;
	opt.policy = "density/lru-2m";
	assert_int_equal(run_on(5120, ops, COUNT(ops), &opt, &a), 0);
	assert_int_equal(run_on(5120, ops, COUNT(ops), &opt, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_true(a.dev.evictions > 0);
	assert_true(a.dev.evictions_direct < a.dev.evictions);
}

static void test_refused(void **state)
{
	struct gm_replay_op ops[] = { touch(0, 1, GM_READ), touch(0, 1, GM_READ) };
	struct gm_replay_options opt = plain;
	struct gm_replay_result r;

	(void)state;
	ops[1] = touch(512, 1, GM_READ);
	assert_int_equal(run_on(512, ops, 2, &opt, &r), -EINVAL);
	assert_int_equal(r.failed_op, 1);
	ops[1] = touch(511, 2, GM_READ);
	assert_int_equal(run_on(512, ops, 2, &opt, &r), -EINVAL);
	ops[1] = touch(0, 0, GM_READ);
	assert_int_equal(run_on(512, ops, 2, &opt, &r), -EINVAL);
	ops[1] = touch(0, 1, GM_READ);
	ops[1].dev = 2;
	assert_int_equal(run_on(512, ops, 2, &opt, &r), -EINVAL);
	ops[1].dev = 0;
	assert_int_equal(run_on(512, ops, 2, &opt, &r), -EINVAL);
	ops[1] = touch(0, 1, GM_READ);
	ops[1].object = 1;
	assert_int_equal(run_on(512, ops, 2, &opt, &r), -EINVAL);
	ops[1] = touch(0, 1, GM_READ);
	ops[1].kind = GM_REPLAY_UNMAP + 1;
	assert_int_equal(run_on(512, ops, 2, &opt, &r), -EINVAL);
	assert_int_equal(run_on(GM_REPLAY_PAGES + 1, ops, 1, &opt, &r), -EINVAL);
	opt.memory[0] = 0;
	assert_int_equal(run_on(512, ops, 1, &opt, &r), -EINVAL);
	opt = plain;
	opt.costs.bandwidth = 0;
	assert_int_equal(run_on(512, ops, 1, &opt, &r), -EINVAL);
	opt = plain;
	opt.policy = "lru";
	assert_int_equal(run_on(512, ops, 1, &opt, &r), -EINVAL);
	/* A pin that fills the device leaves no room for anything else. */
	opt = plain;
	ops[0] = hint(GM_PIN, 1, 0, 2);
	ops[1] = touch(8, 1, GM_READ);
	assert_int_equal(run_on(512, ops, 2, &opt, &r), -ENOSPC);
	assert_int_equal(r.failed_op, 1);
}

/* Three blocks fit; one is used all the time, which faults do not tell, but accessed bits do. */
static void test_accessed(void **state)
{
	static struct gm_replay_op ops[400];
	struct gm_replay_options opt = plain;
	struct gm_replay_result with, without;

	(void)state;
	for (uint32_t i = 0; i < COUNT(ops); i += 2) {
		ops[i] = touch(5, 1, GM_READ); /* of a leaf of 64 KiB */
		ops[i + 1] = touch(BLOCK_PAGES * (1 + i / 2 % 5), 1, GM_READ);
	}
	opt.memory[0] = 48;
	opt.policy = "fixed:64k/clock";
	assert_int_equal(run_on(6 * BLOCK_PAGES, ops, COUNT(ops), &opt, &with), 0);
	opt.no_accessed = true;
	assert_int_equal(run_on(6 * BLOCK_PAGES, ops, COUNT(ops), &opt, &without), 0);
	print_message("moved for %llu faults, without for %llu and %llu soft ones\n",
		      (unsigned long long)with.dev.dev_faults_moved,
		      (unsigned long long)without.dev.dev_faults_moved,
		      (unsigned long long)without.dev.dev_faults_map);
	assert_int_equal(with.dev.dev_faults_map, 0);
	assert_true(with.dev.dev_faults < without.dev.dev_faults);
}

/* Wherever memory is refused the run goes on or fails, and the next knows nothing of it. */
/* What a run that ends with @op has used in place, and how long it took, beyond one without. */
static void with_and_without(const struct gm_replay_options *opt, struct gm_replay_op op,
			     uint64_t *bytes, uint64_t *told, uint64_t *ns)
{
	/* Memory is full, and all that is there has just been used; page 700 has been looked at. */
	const struct gm_replay_op ops[] = { present(0, 1024), touch(0, 512, GM_READ),
					    touch(700, 1, GM_READ), op };
	struct gm_replay_result r[2];

	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(run_on(1024, ops, COUNT(ops) - 1 + i, opt, &r[i]), 0);
	*bytes = r[1].remote_bytes - r[0].remote_bytes;
	*told = r[1].dev.remote_bytes - r[0].dev.remote_bytes;
	*ns = r[1].ns - r[0].ns;
}

/* Host memory in place, line by line: 64 bytes take 15.6 ns. */
static void test_in_place(void **state)
{
	struct gm_replay_options opt = plain;
	struct gm_replay_op op = touch(700, 1, GM_READ);
	uint64_t bytes, told, ns;

	(void)state;
	opt.policy = "auto/rrip";
	opt.memory[0] = BLOCK_PAGES;
	opt.in_place = true;
	for (uint8_t lines = 0; lines < 8; lines++) {
		op.lines = lines;
		with_and_without(&opt, op, &bytes, &told, &ns);
		assert_int_equal(bytes, 64 * lines);
		assert_int_equal(told, 0);
		assert_int_equal(ns, 64 * lines * 1000 / 4096);
	}
	op.lines = 8; /* it tells, and whether the page comes then is the policy's affair */
	with_and_without(&opt, op, &bytes, &told, &ns);
	assert_int_equal(bytes, 512);
	assert_int_equal(told, 512);
	op.page = 1000; /* a fault maps it, and moves nothing */
	op.lines = 2;
	with_and_without(&opt, op, &bytes, &told, &ns);
	assert_int_equal(bytes, 128);
	assert_int_equal(ns, 20000 + 31);

	opt.in_place = false;
	with_and_without(&opt, op, &bytes, &told, &ns);
	assert_int_equal(bytes, 0);
	assert_true(ns > 21000);
}

/* A device whose pages are larger than the CPU's can use none of its in place. */
static void test_in_place_large(void **state)
{
	const struct gm_replay_op ops[] = { present(0, 1024), touch(0, 1024, GM_READ) };
	const struct gm_replay_object object = { .pages = 1024 };
	struct gm_replay_options opt = plain;
	struct gm_replay_trace trace = { .objects = &object,
					 .nr_objects = 1,
					 .nr_devs = 1,
					 .ops = ops,
					 .nr_ops = COUNT(ops),
					 .base_page = { 16 } };
	struct gm_replay_result r;

	(void)state;
	opt.policy = "auto/rrip";
	opt.memory[0] = BLOCK_PAGES;
	opt.in_place = true;
	assert_int_equal(gm_replay_run(&trace, &opt, &r), 0);
	assert_int_equal(r.dev.remote_maps, 0);
	trace.base_page[0] = 1;
	assert_int_equal(gm_replay_run(&trace, &opt, &r), 0);
	assert_true(r.dev.remote_maps > 0);
}

static void test_no_memory(void **state)
{
	static struct gm_replay_op ops[600];
	struct gm_replay_options opt = plain;
	struct gm_replay_result want, r;
	unsigned int failed = 0;
	uint64_t x = 1;

	(void)state;
	ops[0] = present(0, 700);
	for (size_t i = 1; i < COUNT(ops); i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		ops[i] = touch((uint32_t)((x >> 33) % 1500), 1, GM_WRITE);
	}
	opt.memory[0] = 600;
	opt.policy = "fixed:16k/s3fifo";
	assert_int_equal(run_on(1500, ops, COUNT(ops), &opt, &want), 0);
	for (unsigned int n = 1;; n++) {
		int err;

		fail_at = n;
		err = run_on(1500, ops, COUNT(ops), &opt, &r);
		assert_true(err == 0 || err == -ENOMEM);
		failed += err != 0;
		if (fail_at)
			break; /* there are not so many */
	}
	fail_at = 0;
	assert_true(failed > 8);
	assert_int_equal(run_on(1500, ops, COUNT(ops), &opt, &r), 0);
	assert_memory_equal(&r, &want, sizeof(r));
}

static void test_names(void **state)
{
	static const char *const bad[] = { "",
					   "density",
					   "/lru-2m",
					   "density/",
					   "densit/lru-2m",
					   "density/lru-2",
					   "fixed:/lru-2m",
					   "fixed:3k/lru-2m",
					   "fixed:4m/lru-2m",
					   "fixed:2k/lru-2m",
					   "fixed:64kk/lru-2m",
					   "fixed/lru-2m/x" };

	(void)state;
	for (unsigned int i = 0; gm_replay_policy(i); i++)
		assert_null(gm_replay_policy_check(gm_replay_policy(i)));
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_non_null(gm_replay_policy_check(bad[i]));
	assert_null(gm_replay_policy_check("fixed:65536/lru-2m"));
	assert_null(gm_replay_policy_check("density:1M/lru-2m"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_time),	 cmocka_unit_test(test_hints),
		cmocka_unit_test(test_present),	 cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_devices),	 cmocka_unit_test(test_again),
		cmocka_unit_test(test_refused),	 cmocka_unit_test(test_names),
		cmocka_unit_test(test_in_place), cmocka_unit_test(test_in_place_large),
		cmocka_unit_test(test_accessed), cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
