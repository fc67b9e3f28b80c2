// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What becomes of memory: remapped, limited, kept off by a device's own addresses, and ended
 * with work in flight.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gmem/policy.h>

#include "conformance.h"

#define FIXED (GM_REMAP_MAYMOVE | GM_REMAP_FIXED)

/* Addresses that nobody else gets, until they are unmapped. */
static char *kept(uint64_t len)
{
	char *p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

/* Addresses of nobody's, to be used at once. */
static char *nowhere(uint64_t len)
{
	char *p = kept(len);

	munmap(p, len);
	return p;
}

static void *remap(struct cf *cf, void *p, uint64_t old_len, uint64_t new_len, uint32_t flags,
		   void *to)
{
	assert_int_equal(gm_as_remap(cf->as, p, old_len, new_len, flags, &to), 0);
	return to;
}

static void gone(struct cf *cf, void *p)
{
	uint64_t v;

	assert_int_equal(cf_dev_load(cf, 0, p, &v), -EFAULT);
	assert_true(cf_cpu_dies(p, false, SIGSEGV) >= 0);
}

/* Pages in every place go with their mapping, and nothing is copied. */
static void test_remap_moves(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK), *to;
	uint64_t copied;

	cf_fill(cf, CPU, p, 2 * BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(hmadvise(cf_node(cf, 1), p + BLOCK, 9 * PAGE, GM_PIN), 0);
	assert_int_equal(hmadvise(0, p + 3 * PAGE, PAGE, GM_DONTNEED), 0);
	copied = cf_dev_stats(cf, 0).bytes_to_host + cf_dev_stats(cf, 1).bytes_to_host;
	to = nowhere(3 * BLOCK) + PAGE;
	assert_ptr_equal(remap(cf, p, 2 * BLOCK, 2 * BLOCK, FIXED, to), to);
	assert_int_equal(cf_dev_stats(cf, 0).bytes_to_host + cf_dev_stats(cf, 1).bytes_to_host,
			 copied);
	gone(cf, p);
	gone(cf, p + 2 * BLOCK - PAGE);
	cf_on(to, PAGE, cf_node(cf, 0));
	cf_on(to + BLOCK, 9 * PAGE, cf_node(cf, 1));
	cf_on(to + 3 * PAGE, PAGE, GM_NODE_NONE);
	cf_check_zero(cf, 0, to + 3 * PAGE, PAGE);
	cf_check(cf, 0, to, 3 * PAGE, 1);
	cf_check_at(cf, 1, to + 4 * PAGE, BLOCK, 1, 4 * PAGE);
	cf_check_at(cf, CPU, to + 4 * PAGE, 2 * BLOCK - 4 * PAGE, 1, 4 * PAGE);
	cf_fill(cf, CPU, to, 2 * BLOCK, 2);
	cf_check(cf, 1, to, 2 * BLOCK, 2);
	/* A part of it, out of the middle. */
	p = nowhere(BLOCK);
	assert_ptr_equal(remap(cf, to + 7 * PAGE, 5 * PAGE, 5 * PAGE, FIXED, p), p);
	gone(cf, to + 7 * PAGE);
	cf_check_at(cf, 0, p, 5 * PAGE, 2, 7 * PAGE);
	cf_check(cf, CPU, to, 7 * PAGE, 2);
	cf_check_at(cf, 0, to + 12 * PAGE, BLOCK, 2, 12 * PAGE);
	cf_unmap(cf, p, 5 * PAGE);
	cf_unmap(cf, to, 7 * PAGE);
	cf_unmap(cf, to + 12 * PAGE, 2 * BLOCK - 12 * PAGE);
}

static void test_remap_grows(struct cf *cf)
{
	uint64_t len = 3 * PAGE, more;
	char *p = cf_alloc(cf, len), *was;

	cf_fill(cf, CPU, p, len, 1);
	for (unsigned int i = 0; len < 2 * BLOCK; i++, len += more) {
		more = len / 2 / PAGE * PAGE + PAGE;
		p = remap(cf, p, len, len + more, GM_REMAP_MAYMOVE, NULL);
		cf_check_zero(cf, (int)(i % 3) - 1, p + len, more);
		cf_fill(cf, (int)(i % 2), p, len + more, i);
		cf_check(cf, CPU, p, len, i);
	}
	cf_fill(cf, 0, p, len, 3);
	/* What it loses is gone, and does not come back. */
	assert_ptr_equal(remap(cf, p, len, 5 * PAGE, 0, NULL), p);
	gone(cf, p + 5 * PAGE);
	p = remap(cf, p, 5 * PAGE, len, GM_REMAP_MAYMOVE, NULL);
	cf_check(cf, 1, p, 5 * PAGE, 3);
	cf_check_zero(cf, 0, p + 5 * PAGE, len - 5 * PAGE);
	cf_fill(cf, 1, p, len, 4);
	/* All of it, of several objects by now, elsewhere. */
	was = p;
	p = nowhere(len);
	assert_ptr_equal(remap(cf, was, len, len, FIXED, p), p);
	gone(cf, was);
	gone(cf, was + len - PAGE);
	cf_check(cf, 0, p, len, 4);
	cf_check(cf, CPU, p, len, 4);
	cf_unmap(cf, p, len);
}

/* Where it is if nothing is behind it, and only if. */
static void test_remap_walls(struct cf *cf)
{
	char *hole = kept(8 * BLOCK), *p = hole, *q;
	void *wall, *to = NULL;
	struct gm_object *obj;

	assert_int_equal(gm_object_create(4 * BLOCK, 0, &obj), 0);
	munmap(hole, 8 * BLOCK);
	assert_int_equal(gm_as_map(cf->as, obj, BLOCK, BLOCK, GM_READ | GM_WRITE, GM_MAP_FIXED,
				   (void **)&p),
			 0);
	cf_fill(cf, 0, p, BLOCK, 1);
	assert_ptr_equal(remap(cf, p, BLOCK, 2 * BLOCK, 0, NULL), p);
	cf_check_zero(cf, 1, p + BLOCK, BLOCK);
	cf_fill(cf, 1, p, 2 * BLOCK, 2);
	/* No more than the object has. */
	assert_int_equal(gm_as_remap(cf->as, p, 2 * BLOCK, 4 * BLOCK, GM_REMAP_MAYMOVE, &to),
			 -EINVAL);
	cf_check(cf, 0, p, 2 * BLOCK, 2);
	/* Somebody else's memory. */
	wall = mmap(p + 2 * BLOCK, PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(wall, p + 2 * BLOCK);
	*(volatile char *)wall = 9;
	assert_int_equal(gm_as_remap(cf->as, p, 2 * BLOCK, 3 * BLOCK, 0, &to), -ENOMEM);
	cf_check(cf, 0, p, 2 * BLOCK, 2);
	to = p + BLOCK;
	assert_int_equal(gm_as_remap(cf->as, p, BLOCK, BLOCK + PAGE, FIXED, &to), -EEXIST);
	q = remap(cf, p, 2 * BLOCK, 3 * BLOCK, GM_REMAP_MAYMOVE, NULL);
	assert_true(q != p);
	gone(cf, p);
	cf_check(cf, 1, q, 2 * BLOCK, 2);
	cf_check_zero(cf, 0, q + 2 * BLOCK, BLOCK);
	assert_int_equal(*(volatile char *)wall, 9);
	/* A part of a mapping: only elsewhere, for its rest is behind it. */
	assert_int_equal(gm_as_remap(cf->as, q, BLOCK, 2 * BLOCK, 0, &to), -ENOMEM);
	p = remap(cf, q, BLOCK, 2 * BLOCK, GM_REMAP_MAYMOVE, NULL);
	cf_check(cf, 0, p, 2 * BLOCK, 2);
	cf_fill(cf, 1, p + BLOCK, BLOCK, 7);
	cf_check(cf, CPU, q + BLOCK, BLOCK, 7); /* the same bytes */
	cf_unmap(cf, p, 2 * BLOCK);
	cf_unmap(cf, q + BLOCK, 2 * BLOCK);
	munmap(wall, PAGE);
	gm_object_put(obj);
}

static void test_remap_bad_input(struct cf *cf)
{
	char *p = cf_alloc(cf, 8 * PAGE), local[8];
	void *to = NULL;

	cf_fill(cf, 0, p, 8 * PAGE, 1);
	assert_int_equal(gm_as_remap(NULL, p, PAGE, PAGE, 0, &to), -EINVAL);
	assert_int_equal(gm_as_remap(cf->as, p, PAGE, PAGE, 0, NULL), -EINVAL);
	assert_int_equal(gm_as_remap(cf->as, p + 1, PAGE, PAGE, 0, &to), -EINVAL);
	assert_int_equal(gm_as_remap(cf->as, p, PAGE, PAGE + 1, 0, &to), -EINVAL);
	assert_int_equal(gm_as_remap(cf->as, p, 0, PAGE, GM_REMAP_MAYMOVE, &to), -EINVAL);
	assert_int_equal(gm_as_remap(cf->as, p, PAGE, 0, 0, &to), -EINVAL);
	assert_int_equal(gm_as_remap(cf->as, p, PAGE, -PAGE, GM_REMAP_MAYMOVE, &to), -EINVAL);
	assert_int_equal(gm_as_remap(cf->as, p, PAGE, PAGE, 4, &to), -EINVAL);
	to = nowhere(BLOCK);
	assert_int_equal(gm_as_remap(cf->as, p, PAGE, PAGE, GM_REMAP_FIXED, &to), -EINVAL);
	to = p + PAGE;
	assert_int_equal(gm_as_remap(cf->as, p, 2 * PAGE, 2 * PAGE, FIXED, &to), -EINVAL);
	/* Not mapped; a hole; of two protections. */
	assert_int_equal(gm_as_remap(cf->as, (void *)((uintptr_t)local & -PAGE), PAGE, 2 * PAGE,
				     GM_REMAP_MAYMOVE, &to),
			 -EFAULT);
	cf_unmap(cf, p + 6 * PAGE, PAGE);
	assert_int_equal(gm_as_remap(cf->as, p, 8 * PAGE, PAGE, 0, &to), -EFAULT);
	assert_int_equal(gm_as_protect(cf->as, p + PAGE, PAGE, GM_READ), 0);
	assert_int_equal(gm_as_remap(cf->as, p, 6 * PAGE, PAGE, 0, &to), -EFAULT);
	cf_check(cf, 1, p, 6 * PAGE, 1);
	/* What was made as it was is one mapping again. */
	assert_int_equal(gm_as_protect(cf->as, p + PAGE, PAGE, GM_READ | GM_WRITE), 0);
	to = nowhere(BLOCK);
	assert_int_equal(gm_as_remap(cf->as, p, 6 * PAGE, 6 * PAGE, FIXED, &to), 0);
	cf_check(cf, 0, to, 6 * PAGE, 1);
	cf_unmap(cf, to, 6 * PAGE);
	cf_unmap(cf, p + 7 * PAGE, PAGE);
}

/* Unmap and protect parts of what is on a device, pinned, in a large leaf. */
static void test_parts(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);
	struct gm_page_info info;
	uint64_t v;

	cf_fill(cf, CPU, p, 2 * BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, 2 * BLOCK, GM_PIN), 0);
	assert_int_equal(gm_as_protect(cf->as, p + 9 * PAGE, 3 * PAGE, GM_READ), 0);
	assert_int_equal(cf_dev_store(cf, 0, p + 10 * PAGE, 1), -EACCES);
	assert_int_equal(cf_dev_load(cf, 0, p + 10 * PAGE, &v), 0);
	assert_true(cf_cpu_dies(p + 10 * PAGE, true, SIGSEGV) >= 0);
	assert_int_equal(cf_dev_store(cf, 1, p + 11 * PAGE, 1), -EACCES);
	cf_unmap(cf, p + BLOCK - 2 * PAGE, 4 * PAGE);
	gone(cf, p + BLOCK);
	cf_check(cf, 0, p, BLOCK - 2 * PAGE, 1);
	assert_int_equal(gm_query(p + 20 * PAGE, PAGE, &info), 0);
	assert_int_equal(info.flags & GM_PAGE_PINNED, GM_PAGE_PINNED);
	cf_check_at(cf, 1, p + BLOCK + 2 * PAGE, BLOCK - 2 * PAGE, 1, BLOCK + 2 * PAGE);
	assert_int_equal(gm_as_protect(cf->as, p + 9 * PAGE, 3 * PAGE, GM_READ | GM_WRITE), 0);
	cf_fill(cf, 1, p, BLOCK - 2 * PAGE, 2);
	cf_check(cf, CPU, p, BLOCK - 2 * PAGE, 2);
	cf_unmap(cf, p, BLOCK - 2 * PAGE);
	cf_unmap(cf, p + BLOCK + 2 * PAGE, BLOCK - 2 * PAGE);
}

/* ------------------------------------------------------- what the application does by itself */

static int access_of(struct cf *cf, int who, char *p)
{
	uint64_t v;

	if (who == CPU)
		return cf_cpu_dies(p, false, SIGSEGV) >= 0 ? -EFAULT : 0;
	return cf_dev_load(cf, who, p, &v);
}

/* mprotect(2): on the user host of the CPU only; of whatever is where it is all the same. */
static void test_own_mprotect(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);

	cf_fill(cf, 0, p, BLOCK, 1);
	cf_fill(cf, CPU, p + BLOCK, BLOCK, 2);
	assert_int_equal(mprotect(p + 3 * PAGE, 2 * PAGE, PROT_READ), 0);
	assert_int_equal(mprotect(p + BLOCK - PAGE, 2 * PAGE, PROT_READ), 0);
	assert_true(cf_cpu_dies(p + 3 * PAGE, true, SIGSEGV) >= 0);
	assert_int_equal(cf_dev_store(cf, 1, p + 4 * PAGE, 5), cf_kernel ? -EACCES : 0);
	cf_check(cf, CPU, p, 4 * PAGE, 1);
	cf_check_at(cf, CPU, p + 5 * PAGE, BLOCK - 5 * PAGE, 1, 5 * PAGE);
	cf_check(cf, 1, p + BLOCK, BLOCK, 2);
	cf_check(cf, CPU, p + BLOCK, BLOCK, 2);
	assert_int_equal(mprotect(p, 2 * BLOCK, PROT_READ | PROT_WRITE), 0);
	cf_fill(cf, CPU, p, 2 * BLOCK, 3);
	cf_check(cf, 0, p, 2 * BLOCK, 3);
	cf_fill(cf, 1, p, 2 * BLOCK, 4);
	cf_check(cf, CPU, p, 2 * BLOCK, 4);
	cf_unmap(cf, p, 2 * BLOCK);
}

/*
 * Where the program has unmapped something by itself gmem goes on dropping pages, on the user host,
 * and gmem(7) forbids to map anything else there. ThreadSanitizer maps memory wherever it is free.
 */
static bool holes_are_filled(void)
{
#if defined(__SANITIZE_THREAD__)
	return !cf_kernel;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
	return !cf_kernel;
#endif
#endif
	return false;
}

/*
 * munmap(2) of begin, middle and end: the CPU gets a signal there, and the rest goes on. On the
 * user host gmem knows nothing of it until gm_as_unmap() is called for it; devices get an
 * error for what would have to be taken from the CPU, and whatever is elsewhere stays right.
 */
static void test_own_munmap(struct cf *cf)
{
	static const uint64_t at[] = { 0, 100 * PAGE, 2 * BLOCK - 2 * PAGE };
	char *p;

	if (cf_not_here(holes_are_filled(), "what is unmapped is mapped by the sanitizer"))
		return;
	p = cf_alloc(cf, 2 * BLOCK);
	cf_fill(cf, CPU, p, 2 * BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, 50 * PAGE, GM_PREFETCH), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(munmap(p + at[i], 2 * PAGE), 0);
		assert_int_equal(access_of(cf, CPU, p + at[i]), -EFAULT);
		if (cf_kernel)
			assert_int_equal(access_of(cf, 1, p + at[i]), -EFAULT);
		else
			(void)access_of(cf, 1, p + at[i]);
	}
	for (int who = 1; who >= CPU; who--) {
		cf_check_at(cf, who, p + 2 * PAGE, 64 * PAGE, 1, 2 * PAGE);
		cf_check_at(cf, who, p + 128 * PAGE, BLOCK, 1, 128 * PAGE);
	}
	if (cf_kernel) {
		cf_unmap(cf, p + 2 * PAGE, 98 * PAGE);
		cf_unmap(cf, p + 102 * PAGE, 2 * BLOCK - 104 * PAGE);
	} else {
		cf_unmap(cf, p, 2 * BLOCK);
	}
}

/* mremap(2) shrinks as munmap(2); on the kernel host it moves and grows, and devices know. */
static void test_own_mremap(struct cf *cf)
{
	char *p, *to;

	if (cf_not_here(holes_are_filled(), "what is unmapped is mapped by the sanitizer"))
		return;
	p = cf_alloc(cf, 2 * BLOCK);
	cf_fill(cf, 0, p, 2 * BLOCK, 1);
	assert_ptr_equal(mremap(p, 2 * BLOCK, BLOCK, 0), p);
	assert_int_equal(access_of(cf, CPU, p + BLOCK), -EFAULT);
	cf_check(cf, 1, p, BLOCK, 1);
	cf_check(cf, CPU, p, BLOCK, 1);
	if (cf_kernel) {
		to = mremap(p, BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, nowhere(BLOCK));
		assert_true(to != MAP_FAILED);
		gone(cf, p);
		cf_check(cf, 0, to, BLOCK, 1);
		cf_fill(cf, 1, to, BLOCK, 2);
		cf_check(cf, CPU, to, BLOCK, 2);
		cf_unmap(cf, to, BLOCK);
		return;
	}
	/* On the user host it may be given back all the same. */
	cf_unmap(cf, p, 2 * BLOCK);
}

/* ---------------------------------------------------------------------------------- limits */

static uint64_t on_dev(struct cf *cf)
{
	struct gm_hnode_info info = { .size = sizeof(info) };

	assert_int_equal(gm_hnode_info(cf_node(cf, 0), &info), 0);
	return info.total - info.free;
}

static void test_as_limit(struct cf *cf)
{
	struct gm_dev_tunables t = { .size = sizeof(t), .no_background = 1 }; /* it is to be full */
	struct gm_sim_ctx *ctx;
	struct gm_as *other = cf_as();
	char *p = cf_alloc(cf, 3 * BLOCK);
	uint64_t v = 1;
	void *q;

	assert_int_equal(gm_dev_tune(gm_sim_dev(cf->sim[0]), &t), 0);
	assert_int_equal(gm_sim_attach(cf->sim[0], other, &ctx), 0);
	assert_int_equal(gm_alloc(other, BLOCK, 0, &q), 0);
	for (uint64_t off = 0; off < BLOCK; off += PAGE)
		assert_int_equal(gm_sim_access(ctx, (char *)q + off, &v, 8, GM_WRITE), 0);
	assert_int_equal(gm_as_limit(cf->as, cf_node(cf, 0), BLOCK), 0);
	cf_fill(cf, 0, p, 3 * BLOCK, 1);
	assert_int_equal(on_dev(cf), 2 * BLOCK);
	assert_true(cf_count_on(p, 3 * BLOCK, cf_node(cf, 0)) <= BLOCK / PAGE);
	cf_on(q, BLOCK, cf_node(cf, 0)); /* the neighbour's, colder, stays */
	assert_int_equal(hmadvise(cf_node(cf, 0), p, BLOCK + PAGE, GM_PIN), -ENOSPC);
	assert_int_equal(hmadvise(0, p, 2 * BLOCK, GM_UNPIN), 0);
	assert_int_equal(gm_as_limit(cf->as, cf_node(cf, 0), cf_unit()), 0);
	assert_true(cf_count_on(p, 3 * BLOCK, cf_node(cf, 0)) <= cf_unit() / PAGE);
	cf_check(cf, 0, p, 3 * BLOCK, 1);
	assert_int_equal(gm_as_limit(cf->as, cf_node(cf, 0), 0), 0);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, 3 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(on_dev(cf), 4 * BLOCK);
	assert_int_equal(gm_as_limit(NULL, cf_node(cf, 0), 0), -EINVAL);
	assert_int_equal(gm_as_limit(cf->as, cf_node(cf, 0), 77), -EINVAL);
	assert_int_equal(gm_as_limit(cf->as, cf_node(cf, 0) + 60, PAGE), -ENODEV);
	assert_int_equal(gm_as_destroy(other), 0);
	cf_unmap(cf, p, 3 * BLOCK);
}

static void test_dev_limit(struct cf *cf)
{
	struct gm_dev_tunables t = { .size = sizeof(t), .limit = BLOCK };
	struct gm_hnode_info info = { .size = sizeof(info) };
	char *p = cf_alloc(cf, 4 * BLOCK);
	struct gm_dev *dev = gm_sim_dev(cf->sim[0]);

	cf_fill(cf, 0, p, 4 * BLOCK, 1);
	assert_true(on_dev(cf) > BLOCK);
	assert_int_equal(gm_dev_tune(dev, &t), 0);
	assert_true(on_dev(cf) <= BLOCK);
	assert_int_equal(gm_hnode_info(cf_node(cf, 0), &info), 0);
	assert_int_equal(info.limit, BLOCK);
	assert_int_equal(info.total, DEV_MEMORY);
	cf_check(cf, 0, p, 4 * BLOCK, 1);
	assert_true(on_dev(cf) <= BLOCK);
	t.limit = 1;
	assert_int_equal(gm_dev_tune(dev, &t), -EINVAL);
	t.limit = 0;
	assert_int_equal(gm_dev_tune(dev, &t), 0);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, 3 * BLOCK, GM_PREFETCH), 0);
	cf_on(p, 3 * BLOCK, cf_node(cf, 0));
	cf_check(cf, CPU, p, 4 * BLOCK, 1);
	cf_unmap(cf, p, 4 * BLOCK);
}

/* By each policy, with more memory than the device has; unknown ones change nothing. */
static void test_dev_policies(struct cf *cf)
{
	static const char *const names[] = { "fixed/clock", "stream/s3fifo", "density/lru-2m" };
	uint64_t len = DEV_MEMORY + 2 * BLOCK;
	struct gm_policy_info info = { .size = sizeof(info) };
	struct gm_dev *dev = cf_dev(cf, 0);
	char *p = cf_alloc(cf, len), now[2 * GM_POLICY_NAME];
	unsigned int n = 0;

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(gm_dev_set_policy(dev, names[i]), 0);
		cf_fill(cf, 0, p, len, i + 1);
		cf_check(cf, 0, p, len, i + 1);
		cf_check(cf, CPU, p, len, i + 1);
	}
	assert_int_equal(gm_dev_set_policy(dev, "stream/nobody"), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, "stream"), -EINVAL);
	assert_int_equal(gm_dev_set_policy(dev, NULL), -EINVAL);
	assert_int_equal(gm_dev_policy(dev, now, sizeof(now)), 0);
	assert_string_equal(now, "density/lru-2m");
	assert_int_equal(gm_dev_policy(dev, now, 3), -ERANGE);
	while (!gm_policy_name(n, &info))
		n++;
	assert_true(n >= 6);
	assert_int_equal(gm_policy_name(n, &info), -ENOENT);
	cf_unmap(cf, p, len);
}

/* ------------------------------------------------------------- addresses of a device's own */

static uint64_t addresses(struct cf *cf, int i)
{
	struct gm_sim_stats s = { .size = sizeof(s) };

	gm_sim_stats(cf->sim[i], &s);
	return s.addresses;
}

static void test_own_addresses(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK), *q, *free_here = kept(4 * BLOCK);
	struct gm_object *obj;
	void *to = free_here;

	assert_int_equal(addresses(cf, 0), BLOCK);
	cf_fill(cf, 0, p, BLOCK, 1);
	cf_unmap(cf, p, BLOCK);
	assert_int_equal(addresses(cf, 0), 0);
	/* Where it would come again is the device's own now. */
	assert_int_equal(gm_sim_occupy(cf->sim[1], (uintptr_t)p, BLOCK, 1), 0);
	q = cf_alloc(cf, 2 * BLOCK);
	assert_true(q >= p + BLOCK || q + 2 * BLOCK <= p);
	cf_fill(cf, 1, q, BLOCK, 2);
	assert_int_equal(addresses(cf, 0) + addresses(cf, 1), 4 * BLOCK);
	/* A place that was named. */
	assert_int_equal(gm_sim_occupy(cf->sim[0], (uintptr_t)free_here + BLOCK, PAGE, 1), 0);
	assert_int_equal(gm_object_create(2 * BLOCK, 0, &obj), 0);
	munmap(free_here, 4 * BLOCK);
	assert_int_equal(gm_as_map(cf->as, obj, 0, 2 * BLOCK, GM_READ, GM_MAP_FIXED, &to),
			 -EADDRINUSE);
	assert_int_equal(gm_as_remap(cf->as, q, 2 * BLOCK, 2 * BLOCK, FIXED, &to), -EADDRINUSE);
	cf_check(cf, 0, q, BLOCK, 2);
	assert_int_equal(gm_as_map(cf->as, obj, 0, BLOCK, GM_READ, GM_MAP_FIXED, &to), 0);
	assert_int_equal(addresses(cf, 0) + addresses(cf, 1), 6 * BLOCK);
	/* It cannot grow there, and can elsewhere. */
	assert_int_equal(gm_as_remap(cf->as, to, BLOCK, 2 * BLOCK, 0, &to), -ENOMEM);
	p = remap(cf, to, BLOCK, 2 * BLOCK, GM_REMAP_MAYMOVE, NULL);
	cf_check_zero(cf, 0, p, 2 * BLOCK);
	assert_int_equal(addresses(cf, 0) + addresses(cf, 1), 8 * BLOCK);
	/* Nor is it attached where its own addresses are in use. */
	assert_int_equal(gm_sim_detach(cf->ctx[0]), 0);
	assert_int_equal(addresses(cf, 0), 0);
	assert_int_equal(gm_sim_occupy(cf->sim[0], (uintptr_t)q, PAGE, 1), 0);
	assert_int_equal(gm_sim_attach(cf->sim[0], cf->as, &cf->ctx[0]), -EADDRINUSE);
	assert_int_equal(gm_sim_occupy(cf->sim[0], (uintptr_t)q, PAGE, 0), 0);
	assert_int_equal(gm_sim_attach(cf->sim[0], cf->as, &cf->ctx[0]), 0);
	assert_int_equal(addresses(cf, 0), 4 * BLOCK);
	cf_check(cf, 0, q, BLOCK, 2);
	cf_unmap(cf, p, 2 * BLOCK);
	cf_unmap(cf, q, 2 * BLOCK);
	assert_int_equal(addresses(cf, 0) + addresses(cf, 1), 0);
	gm_object_put(obj);
}

/* -------------------------------------------------------------- the end, with work in flight */

struct worker {
	struct cf *cf;
	char *p;
	int kind;
	uint32_t *stop;
	uint64_t done;
};

/* Device faults, prefetches, and the CPU's own, until what they work on is gone. */
static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t v = 0;

	while (!__atomic_load_n(w->stop, __ATOMIC_ACQUIRE)) {
		int err = 0, node = cf_node(w->cf, (int)(w->done % 2));
		char *at = __atomic_load_n(&w->p, __ATOMIC_RELAXED) + w->done * 37 % 1024 * PAGE;

		if (w->kind < 2)
			err = gm_sim_access(w->cf->ctx[w->kind], at, &v, 8,
					    w->done % 3 ? GM_WRITE : GM_READ);
		else
			err = hmadvise(node, at, BLOCK / 2, GM_PREFETCH);
		/* What is unmapped, read-only for a moment, or in others' hands. */
		if (err && err != -EFAULT && err != -EACCES && err != -EBUSY && err != -ENOSPC &&
		    err != -EADDRNOTAVAIL) /* what protection has cut, of larger pages */
			abort();
		__atomic_fetch_add(&w->done, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* To addresses that were free a moment ago. Others' threads map memory, too: then nothing has changed. */
static bool moved(struct cf *cf, char *p, char *to)
{
	void *at = to;
	int err = gm_as_remap(cf->as, p, 2 * BLOCK, 2 * BLOCK, FIXED, &at);

	assert_true(!err || err == -EEXIST);
	assert_ptr_equal(at, to);
	return !err;
}

/* Unmapping, and moving, while devices work on it: they get -EFAULT, and nothing else happens. */
static void test_unmap_under_load(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK), *to;
	struct worker w[3];
	pthread_t t[3];
	uint32_t stop = 0;

	for (int i = 0; i < 3; i++) {
		w[i] = (struct worker){ .cf = cf, .p = p, .kind = i, .stop = &stop };
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (unsigned int i = 0; i < 6; i++) {
		do
			to = nowhere(2 * BLOCK);
		while (!moved(cf, p, to));
		*(volatile uint64_t *)to = i;
		if (!moved(cf, to, p)) {
			p = to;
			for (int k = 0; k < 3; k++)
				__atomic_store_n(&w[k].p, p, __ATOMIC_RELAXED);
		}
		assert_int_equal(gm_as_protect(cf->as, p + i * PAGE, BLOCK, GM_READ), 0);
		assert_int_equal(gm_as_protect(cf->as, p + i * PAGE, BLOCK, GM_READ | GM_WRITE), 0);
	}
	cf_unmap(cf, p + BLOCK, 3 * PAGE);
	cf_unmap(cf, p, BLOCK);
	cf_unmap(cf, p + BLOCK + 3 * PAGE, BLOCK - 3 * PAGE);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

/* ---------------------------------------------------------------------- the process ends */

/* Workers in the middle of faults, prefetches and copies, which nobody stops. */
static struct cf *leave_at_work(uint32_t *stop)
{
	static struct worker w[3];
	struct cf *cf;
	pthread_t t;

	cf_leaves = true;
	cf_warm_up();
	cf = cf_setup();
	for (int i = 0; i < 3; i++) {
		w[i] = (struct worker){
			.cf = cf, .p = cf_alloc(cf, 4 * BLOCK), .kind = i, .stop = stop
		};
		cf_fill(cf, CPU, w[i].p, 4 * BLOCK, 1);
		if (pthread_create(&t, NULL, work, &w[i]))
			abort();
	}
	/* Until each has done something, and the devices are full. */
	for (int i = 0; i < 3; i++)
		while (__atomic_load_n(&w[i].done, __ATOMIC_RELAXED) < 40)
			sched_yield();
	return cf;
}

int cf_exit_child(const char *name)
{
	static uint32_t stop;

	leave_at_work(&stop);
	if (strstr(name, "_exit"))
		_exit(0);
	exit(0);
}

/* The process ends, by exit(3) or at once, with work in flight: neither hangs, nor crashes. */
static void test_exit_under_load(struct cf *cf)
{
	static const char *const names[] = { "exit", "_exit" };
	char name[32], said[1024];

	(void)cf;
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s-%s", names[i],
			 cf_kernel  ? "kernel"
			 : cf_flags ? "inline"
				    : "thread");
		proc_ends_well(name, said, sizeof(said));
	}
}

/* The address space goes while devices that it has wrote to it a moment ago, asynchronously. */
static void test_destroy_with_copies(struct cf *cf)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = DEV_MEMORY,
				      .copy_threads = 2 };
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	struct gm_as *as;
	uint64_t v = 1;
	void *p;

	(void)cf;
	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	for (unsigned int i = 0; i < 3; i++) {
		as = cf_as();
		assert_int_equal(gm_sim_attach(sim, as, &ctx), 0);
		assert_int_equal(gm_alloc(as, 6 * BLOCK, 0, &p), 0);
		for (uint64_t off = 0; off < 6 * BLOCK; off += 16 * PAGE)
			assert_int_equal(gm_sim_access(ctx, (char *)p + off, &v, 8, GM_WRITE), 0);
		assert_int_equal(gm_as_destroy(as), 0);
	}
	assert_int_equal(gm_sim_destroy(sim), 0);
}

const struct CMUnitTest cf_lifecycle_tests[] = {
	CF_TEST_PAGES(test_remap_moves), CF_TEST_PAGES(test_remap_grows),
	CF_TEST_PAGES(test_remap_walls), CF_TEST_PAGES(test_remap_bad_input),
	CF_TEST_PAGES(test_parts),	 CF_TEST_PAGES(test_own_mprotect),
	CF_TEST_PAGES(test_own_munmap),	 CF_TEST_PAGES(test_own_mremap),
	CF_TEST(test_exit_under_load),	 CF_TEST(test_destroy_with_copies),
	CF_TEST(test_as_limit),		 CF_TEST(test_dev_limit),
	CF_TEST(test_dev_policies),	 CF_TEST(test_own_addresses),
	CF_TEST(test_unmap_under_load),
};
const size_t cf_nr_lifecycle_tests = sizeof(cf_lifecycle_tests) / sizeof(cf_lifecycle_tests[0]);
