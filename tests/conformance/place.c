// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Private memory, registered in place: what is promised of managed memory holds of it, and what
 * cannot be registered is refused.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "place.h"

char *place_map_private(uint64_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

char *place_registered(struct cf *cf, uint64_t len)
{
	char *p = place_map_private(len);

	assert_int_equal(gm_register(cf->as, p, len), 0);
	return p;
}

void place_give_back(struct cf *cf, char *p, uint64_t len)
{
	assert_int_equal(gm_unregister(cf->as, p, len), 0);
	assert_int_equal(munmap(p, len), 0);
}

char *place_registered_blocks(struct cf *cf, unsigned int n, char **all)
{
	*all = place_registered(cf, (n + 1) * BLOCK);
	return (char *)(((uintptr_t)*all + BLOCK - 1) & ~(BLOCK - 1));
}

bool place_not_here(struct cf *cf)
{
	char page[1];

	if (!cf_not_here(cf_kernel, "the module maps its own files only"))
		return false;
	assert_int_equal(gm_register(cf->as, page, PAGE), -EOPNOTSUPP);
	assert_non_null(strstr(gm_strerror(-EOPNOTSUPP), "user host"));
	assert_int_equal(gm_unregister(cf->as, page, PAGE), -EOPNOTSUPP);
	return true;
}

bool place_not_in_parts(struct cf *cf)
{
	return place_not_here(cf) || cf_not_here(cf_unit() > PAGE, "see test_place_units");
}

/* ------------------------------------------------------------------------ data, both ways */

/* Memory that begins and ends in a base page: of these the device has none, of others all. */
static void test_place_units(struct cf *cf)
{
	uint64_t unit = cf_unit(), len = 2 * BLOCK + 5 * PAGE, v, had = 0;
	char *all, *p;

	if (place_not_here(cf))
		return;
	all = place_map_private(len + 6 * PAGE);
	p = all + 3 * PAGE;
	cf_fill(cf, CPU, all, len + 6 * PAGE, 1);
	assert_int_equal(gm_register(cf->as, p, len), 0);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, len, GM_PREFETCH), 0);
	for (uint64_t at = 0; at < len; at += PAGE) {
		uintptr_t begin = (uintptr_t)(p + at) & ~(unit - 1);
		bool whole = begin >= (uintptr_t)p && begin + unit <= (uintptr_t)p + len;

		assert_int_equal(cf_count_on(p + at, PAGE, cf_node(cf, 0)), whole);
		assert_int_equal(cf_dev_load(cf, 0, p + at, &v), whole ? 0 : -EADDRNOTAVAIL);
		had += whole;
	}
	assert_true(had * PAGE > len - 2 * unit);
	for (uint64_t round = 0; round < 8; round++) {
		cf_check_at(cf, round % 2 ? 1 : CPU, p, len, round ? 100 + round - 1 : 1,
			    round ? 0 : 3 * PAGE);
		cf_fill(cf, round % 2 ? CPU : 1, p, len, 100 + round);
		assert_int_equal(hmadvise(cf_node(cf, 0), p, len, GM_PREFETCH), 0);
	}
	assert_int_equal(gm_unregister(cf->as, p, len), 0);
	cf_check(cf, CPU, p, len, 107);
	cf_check_at(cf, CPU, all, 3 * PAGE, 1, 0);
	cf_check_at(cf, CPU, p + len, 3 * PAGE, 1, 3 * PAGE + len);
	munmap(all, len + 6 * PAGE);
}

static void test_place_both_ways(struct cf *cf)
{
	uint64_t len = 2 * BLOCK + 5 * PAGE, at = 3 * PAGE;
	char *all, *p;

	if (place_not_in_parts(cf))
		return;
	all = place_map_private(len + 6 * PAGE);
	p = all + at;
	cf_fill(cf, CPU, all, len + 6 * PAGE, 1);
	assert_int_equal(gm_register(cf->as, p, len), 0);
	cf_check_at(cf, CPU, all, len + 6 * PAGE, 1, 0);
	cf_on(p, len, GM_NODE_HOST);
	cf_check_at(cf, 0, p, len, 1, at);
	cf_on(p, len, cf_node(cf, 0));
	cf_check_at(cf, CPU, p, len, 1, at);
	cf_on(p, len, GM_NODE_HOST);
	for (uint64_t round = 2; round < 6; round++) {
		cf_fill(cf, 0, p, len, round);
		cf_check(cf, CPU, p, len, round);
		cf_fill(cf, CPU, p, len, round + 10);
		cf_check(cf, 1, p, len, round + 10);
	}
	for (uint64_t i = 0; i < 64; i++) {
		cf_fill(cf, i % 2 ? CPU : 0, p + i * PAGE, PAGE, 100 + i);
		cf_check(cf, i % 2 ? 0 : CPU, p + i * PAGE, PAGE, 100 + i);
	}
	cf_fill(cf, 0, p, len, 7);
	assert_int_equal(gm_unregister(cf->as, p, len), 0);
	cf_check(cf, CPU, p, len, 7);
	cf_check_at(cf, CPU, all, at, 1, 0);
	cf_check_at(cf, CPU, p + len, at, 1, at + len);
	assert_int_equal(gm_query(p, len, &(struct gm_page_info){ 0 }), -EFAULT);
	munmap(all, len + 6 * PAGE);
}

/* What was never touched reads as zero, moves without a copy, and need not be made. */
static void test_place_zero(struct cf *cf)
{
	struct gm_stats s;
	char *p;

	if (place_not_here(cf))
		return;
	p = place_registered(cf, 2 * BLOCK);
	cf_on(p, 2 * BLOCK, GM_NODE_NONE);
	cf_check_zero(cf, 0, p, BLOCK / 2);
	s = cf_dev_stats(cf, 0);
	assert_true(s.pages_zeroed >= BLOCK / 2 / PAGE);
	cf_check_zero(cf, CPU, p, 2 * BLOCK);
	cf_fill(cf, CPU, p + BLOCK, PAGE, 3);
	cf_check_zero(cf, 0, p + BLOCK + PAGE, BLOCK - PAGE);
	cf_check(cf, CPU, p + BLOCK, PAGE, 3);
	place_give_back(cf, p, 2 * BLOCK);
}

static void test_place_oversubscribed(struct cf *cf)
{
	uint64_t len = 3 * DEV_MEMORY;
	char *p;

	if (place_not_here(cf))
		return;
	p = place_registered(cf, len);
	cf_fill(cf, CPU, p, len / 2, 7);
	cf_fill(cf, 0, p + len / 2, len / 2, 8);
	cf_check(cf, 0, p, len / 2, 7);
	cf_check(cf, 0, p + len / 2, len / 2, 8);
	assert_true(cf_dev_stats(cf, 0).evictions > 0);
	cf_check(cf, CPU, p, len / 2, 7);
	assert_int_equal(gm_unregister(cf->as, p, len), 0);
	cf_check(cf, CPU, p, len / 2, 7);
	cf_check(cf, CPU, p + len / 2, len / 2, 8);
	munmap(p, len);
}

/* With no host frame kept, and with frames given back while pages are away. */
static void test_place_not_retained(struct cf *cf)
{
	uint64_t len = BLOCK + 3 * PAGE, limit = 1ULL << 32;
	char *p;

	if (place_not_in_parts(cf))
		return;
	p = place_registered(cf, len);
	gm_retain_limit(0);
	for (uint64_t round = 1; round < 4; round++) {
		cf_fill(cf, CPU, p, len, round);
		cf_check(cf, 0, p, len, round);
		assert_int_equal(gm_retained_bytes(), 0);
		cf_fill(cf, 0, p, len, round + 10);
		cf_check(cf, CPU, p, len, round + 10);
	}
	gm_retain_limit(limit);
	cf_fill(cf, CPU, p, len, 5);
	cf_fill(cf, 0, p, len, 6);
	assert_int_equal(gm_retained_bytes(), len);
	assert_int_equal(gm_retain_trim(len), len);
	cf_check(cf, CPU, p, len, 6);
	place_give_back(cf, p, len);
}

static void test_place_hints(struct cf *cf)
{
	uint64_t len = 2 * BLOCK;
	char *p, *q;

	if (place_not_here(cf))
		return;
	p = place_registered(cf, len);
	q = place_map_private(len);
	cf_fill(cf, CPU, p, len, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, len, GM_PREFETCH), 0);
	cf_on(p, len, cf_node(cf, 0));
	assert_int_equal(hmemcpy(GM_NODE_NONE, q, p, len), 0); /* from the device */
	cf_check(cf, CPU, q, len, 1);
	assert_int_equal(hmadvise(GM_NODE_HOST, p, len, GM_PREFETCH), 0);
	cf_on(p, len, GM_NODE_HOST);
	cf_fill(cf, CPU, p, len, 2);
	assert_int_equal(hmemcpy(GM_NODE_NONE, q + 5, p + 5, len - 10), 0); /* from the host */
	assert_memory_equal(q + 5, p + 5, len - 10);
	memset(q, 9, len);
	assert_int_equal(hmemcpy(GM_NODE_NONE, p + 100, q, PAGE), 0);
	assert_memory_equal(p + 100, q, PAGE);
	cf_check(cf, CPU, p, 64, 2);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, BLOCK, GM_PIN), 0);
	assert_int_equal(hmadvise(0, p, len, GM_DONTNEED), 0);
	cf_check_zero(cf, 0, p, BLOCK);
	cf_check_zero(cf, CPU, p, len);
	assert_int_equal(hmadvise(0, p, len, GM_UNPIN), 0);
	/* Into, and out of, what no device has seen, nor anybody touched. */
	place_give_back(cf, p, len);
	p = place_registered(cf, len);
	assert_int_equal(hmemcpy(GM_NODE_NONE, q, p, BLOCK), 0);
	cf_check_zero(cf, CPU, q, BLOCK);
	memset(q, 3, BLOCK);
	assert_int_equal(hmemcpy(GM_NODE_NONE, p + 8, q, BLOCK), 0);
	assert_memory_equal(p + 8, q, BLOCK);
	assert_int_equal(*(volatile uint64_t *)(void *)p, 0);
	munmap(q, len);
	place_give_back(cf, p, len);
}

/* ------------------------------------------------------------------- what is refused */

static void refused(struct cf *cf, void *p, uint64_t len, int err, const char *why)
{
	assert_int_equal(gm_register(cf->as, p, len), err);
	if (!strstr(gm_strerror(err), why))
		fail_msg("%s: %s", gm_strerror(err), why);
}

static void test_place_refused(struct cf *cf)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *p, *shared, *file, *managed;
	struct gm_as *other;
	int fd;

	if (place_not_here(cf))
		return;
	p = place_map_private(8 * PAGE);
	refused(cf, NULL, PAGE, -EINVAL, "whole pages");
	refused(cf, p, 0, -EINVAL, "whole pages");
	refused(cf, p + 1, PAGE, -EINVAL, "whole pages");
	refused(cf, p, PAGE + 1, -EINVAL, "whole pages");
	refused(cf, p, -PAGE, -EINVAL, "whole pages");
	assert_int_equal(gm_register(NULL, p, PAGE), -EINVAL);
	assert_int_equal(gm_unregister(NULL, p, PAGE), -EINVAL);
	assert_int_equal(gm_unregister(cf->as, p + 1, PAGE), -EINVAL);
	assert_int_equal(gm_unregister(cf->as, p, PAGE), -EFAULT);

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	refused(cf, shared, PAGE, -EINVAL, "shared");
	munmap(shared, PAGE);
	fd = open("/proc/self/exe", O_RDONLY);
	file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	assert_true(file != MAP_FAILED);
	refused(cf, file, PAGE, -EINVAL, "file");
	munmap(file, PAGE);
	refused(cf, (void *)((uintptr_t)__builtin_frame_address(0) & ~(PAGE - 1)), PAGE, -EINVAL,
		"stack");
	assert_int_equal(mprotect(p + 4 * PAGE, PAGE, PROT_READ), 0);
	refused(cf, p, 8 * PAGE, -EINVAL, "writable");
	assert_int_equal(munmap(p + 4 * PAGE, PAGE), 0);
	refused(cf, p, 8 * PAGE, -EFAULT, "not mapped");
	refused(cf, p + 4 * PAGE, PAGE, -EFAULT, "not mapped");
	managed = cf_alloc(cf, PAGE);
	refused(cf, managed, PAGE, -EEXIST, "already");
	assert_int_equal(gm_unregister(cf->as, managed, PAGE), -EINVAL);
	cf_unmap(cf, managed, PAGE);

	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1); /* user-mode faults: all may */
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	reg.range = (struct uffdio_range){ .start = (uintptr_t)p + PAGE, .len = PAGE };
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	refused(cf, p, 2 * PAGE, -EBUSY, "userfaultfd");
	close(fd);

	/* Nothing of all this has left a trace; and twice is once too often. */
	assert_int_equal(gm_register(cf->as, p, 4 * PAGE), 0);
	refused(cf, p + 3 * PAGE, PAGE, -EEXIST, "already");
	other = cf_as();
	assert_int_equal(gm_register(other, p, 4 * PAGE), -EEXIST);
	assert_int_equal(gm_unregister(other, p, 4 * PAGE), -EFAULT);
	assert_int_equal(gm_as_destroy(other), 0);
	assert_int_equal(gm_unregister(cf->as, p, 4 * PAGE), 0);
	munmap(p, 8 * PAGE);
}

/* Parts are given back; the rest goes with the address space, with what is on the device. */
static void test_place_parts(struct cf *cf)
{
	uint64_t len = 2 * BLOCK, v;
	struct gm_sim_ctx *ctx;
	struct gm_as *as;
	char *p;

	if (place_not_in_parts(cf))
		return;
	as = cf_as();
	p = place_map_private(len);
	assert_int_equal(gm_sim_attach(cf->sim[0], as, &ctx), 0);
	assert_int_equal(gm_register(as, p, len), 0);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, len, GM_PREFETCH), 0);
	for (uint64_t at = 0; at < len; at += PAGE) {
		v = at + 1;
		assert_int_equal(gm_sim_access(ctx, p + at, &v, 8, GM_WRITE), 0);
	}
	assert_int_equal(gm_unregister(as, p + BLOCK / 2, BLOCK / 4), 0);
	assert_int_equal(gm_unregister(as, p, BLOCK), -EFAULT);
	assert_int_equal(gm_sim_access(ctx, p + BLOCK / 2, &v, 8, GM_READ), -EFAULT);
	assert_int_equal(gm_as_protect(as, p, PAGE, GM_READ), 0);
	assert_int_equal(gm_sim_access(ctx, p, &v, 8, GM_WRITE), -EACCES);
	assert_int_equal(gm_sim_access(ctx, p, &v, 8, GM_READ), 0);
	assert_int_equal(gm_as_unmap(as, p + BLOCK, PAGE), 0); /* as gm_unregister() */
	assert_int_equal(gm_as_destroy(as), 0);
	assert_true(cf_cpu_dies(p, true, SIGSEGV) > 0);
	for (uint64_t at = 0; at < len; at += PAGE)
		assert_int_equal(*(volatile uint64_t *)(void *)(p + at), at + 1);
	munmap(p, len);
}

/* A device that does not give pages back: the memory stays registered, with every byte. */
static void test_place_failures(struct cf *cf)
{
	static const unsigned int points[] = { GM_SIM_COPY_START, GM_SIM_COPY_FENCE,
					       GM_SIM_PMAP_RELEASE, GM_SIM_TLB_INVL };
	uint64_t len = 2 * BLOCK;
	char *p;

	if (place_not_here(cf))
		return;
	p = place_registered(cf, len);
	for (unsigned int i = 0; i < 4; i++) {
		cf_fill(cf, 0, p, len, i);
		gm_sim_inject(cf->sim[0], points[i], 0, UINT32_MAX, -EIO);
		assert_int_equal(gm_unregister(cf->as, p, len), -EIO);
		gm_sim_inject(cf->sim[0], points[i], 0, 0, 0);
		cf_check(cf, i % 2 ? 0 : CPU, p, len, i);
		cf_fill(cf, CPU, p, len, i + 10);
		/* To the device; what could not go is the CPU's still. */
		gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
		assert_int_equal(hmadvise(cf_node(cf, 0), p, len, GM_PREFETCH), -EIO);
		gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
		cf_check(cf, CPU, p, len, i + 10);
	}
	/* Once, half-way. */
	cf_fill(cf, 0, p, len, 5);
	gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 1, 1, -EIO);
	assert_int_equal(gm_unregister(cf->as, p, len), -EIO);
	assert_int_equal(gm_unregister(cf->as, p, len), 0);
	cf_check(cf, CPU, p, len, 5);
	munmap(p, len);
}

const struct CMUnitTest cf_place_tests[] = {
	CF_TEST(test_place_units),	  CF_TEST(test_place_both_ways),
	CF_TEST(test_place_zero),	  CF_TEST(test_place_oversubscribed),
	CF_TEST(test_place_not_retained), CF_TEST(test_place_hints),
	CF_TEST(test_place_refused),	  CF_TEST(test_place_parts),
	CF_TEST(test_place_failures),
};
const size_t cf_nr_place_tests = sizeof(cf_place_tests) / sizeof(cf_place_tests[0]);
