// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The linux-user host: host backing, and the CPU's mappings of it. Faults are in test_host_faults.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/linux-user/user.h"
#include "host_user_core.h"

/* --------------------------------------------------------------------------- backing */

static uint64_t run_at(struct gm_object *obj, uint64_t off, uint64_t len, bool expect)
{
	bool present;
	uint64_t n = gm_os_backing_run(obj, off, len, &present);

	assert_int_equal(present, expect);
	return n;
}

static void test_backing(void **state)
{
	struct proc_resources before = proc_resources();
	struct gm_object *obj = tc_object(8 * BLOCK, 0);
	uint64_t bus, got, meta = gm_os_metadata_bytes();
	char buf[16] = "sixteen bytes!!";

	(void)state;
	assert_int_equal(gm_os_backing_granule(obj), PAGE);
	assert_int_equal(meta, 0);
	assert_int_equal(run_at(obj, 0, BLOCK, false), BLOCK);
	assert_int_equal(run_at(obj, PAGE, PAGE, false), PAGE);

	assert_int_equal(gm_os_backing_get(obj, BLOCK, BLOCK, false, &bus, &got), 0);
	assert_int_equal(got, BLOCK);
	assert_int_equal(*tc_word(bus + BLOCK - 8), 0);
	memset((void *)(uintptr_t)bus, 3, BLOCK);
	gm_os_backing_put(obj, BLOCK, BLOCK);
	assert_int_equal(run_at(obj, 0, 8 * BLOCK, false), BLOCK);
	assert_int_equal(run_at(obj, BLOCK, 7 * BLOCK, true), BLOCK);
	assert_int_equal(run_at(obj, BLOCK + 5 * PAGE, PAGE, true), PAGE);

	/* A hole in it; the rest keeps its bytes. */
	gm_os_backing_free(obj, BLOCK + PAGE, 2 * PAGE);
	assert_int_equal(run_at(obj, BLOCK, BLOCK, true), PAGE);
	assert_int_equal(run_at(obj, BLOCK + PAGE, BLOCK, false), 2 * PAGE);
	assert_int_equal(run_at(obj, BLOCK + 3 * PAGE, BLOCK, true), BLOCK - 3 * PAGE);
	assert_int_equal(gm_os_backing_get(obj, BLOCK, 4 * PAGE, false, &bus, &got), 0);
	assert_int_equal(*(char *)(uintptr_t)bus, 3);
	assert_int_equal(*(char *)(uintptr_t)(bus + PAGE), 0);
	assert_int_equal(*(char *)(uintptr_t)(bus + 3 * PAGE), 3);

	/* Bytes, across a page's end. */
	assert_int_equal(gm_os_backing_write(obj, 5 * BLOCK - 7, buf, sizeof(buf)), 0);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(gm_os_backing_read(obj, 5 * BLOCK - 7, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "sixteen bytes!!");
	assert_int_equal(run_at(obj, 5 * BLOCK - PAGE, BLOCK, true), 2 * PAGE);

	tc_object_free(obj);
	assert_int_equal(gm_os_metadata_bytes(), 0);
	proc_assert_same(before);
}

/* Pages that came to be by the CPU's hand, of which no bitmap knows. */
static void test_backing_seen_by_cpu(void **state)
{
	struct gm_as *as = tc_as(0);
	struct gm_object *obj = tc_object(4 * BLOCK, 0);
	struct gm_region *r = tc_map(as, obj, 0, 4 * BLOCK);
	uint64_t off, n, pages = 0, bus, got;
	bool present;

	(void)state;
	for (off = 0; off < BLOCK; off += 2 * PAGE) /* chequered */
		*tc_word(r->va + off) = off;
	for (off = BLOCK; off < 2 * BLOCK; off += PAGE)
		*tc_word(r->va + off) = off;
	for (off = 0; off < BLOCK; off += n) {
		n = gm_os_backing_run(obj, off, BLOCK - off, &present);
		assert_int_equal(n, PAGE);
		assert_int_equal(present, off % (2 * PAGE) == 0);
		pages += present;
	}
	assert_int_equal(pages, 256);
	assert_int_equal(run_at(obj, BLOCK, 3 * BLOCK, true), BLOCK);
	assert_int_equal(run_at(obj, 2 * BLOCK, 2 * BLOCK, false), 2 * BLOCK);

	/* Some known, some not: the answer is the same. */
	assert_int_equal(gm_os_backing_get(obj, BLOCK + 100 * PAGE, 50 * PAGE, false, &bus, &got),
			 0);
	for (off = BLOCK, n = 0; off < 2 * BLOCK; off += n)
		n = run_at(obj, off, 2 * BLOCK - off, true);
	assert_int_equal(*tc_word(bus), BLOCK + 100 * PAGE);
	gm_os_backing_free(obj, 0, 4 * BLOCK);
	assert_int_equal(run_at(obj, 0, 4 * BLOCK, false), 4 * BLOCK);
	assert_int_equal(*tc_word(r->va + BLOCK), 0);
	tc_unmap(r);
	tc_object_free(obj);
	tc_as_free(as);
}

/* An object's pages go before its descriptor, not by the closing of it, which is done under a lock. */
static void test_freed_before_close(void **state)
{
	struct gm_object *obj = tc_object(BLOCK, 0);
	int other = dup(gm_user_object(obj)->mem.fd);
	uint64_t bus, got;
	struct stat st;

	(void)state;
	assert_int_equal(gm_os_backing_get(obj, 0, BLOCK, false, &bus, &got), 0);
	assert_int_equal(fstat(other, &st), 0);
	assert_int_equal(st.st_blocks, BLOCK / 512);
	tc_object_free(obj);
	assert_int_equal(fstat(other, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	close(other);
}

/* A huge object costs what is used of it. */
static void test_sparse(void **state)
{
	struct gm_object *obj = tc_object(1ULL << 39, 0);
	uint64_t bus, got;

	(void)state;
	assert_int_equal(run_at(obj, 0, 1ULL << 39, false), 1ULL << 39);
	assert_int_equal(gm_os_backing_get(obj, 1ULL << 38, PAGE, false, &bus, &got), 0);
	assert_int_equal(run_at(obj, 0, 1ULL << 39, false), 1ULL << 38);
	assert_int_equal(gm_os_metadata_bytes(), 0);
	tc_object_free(obj);
}

static void with_limit(enum __rlimit_resource what, rlim_t to, struct rlimit *saved)
{
	struct rlimit l;

	assert_int_equal(getrlimit(what, saved), 0);
	l = *saved;
	l.rlim_cur = to;
	assert_int_equal(setrlimit(what, &l), 0);
}

static void test_object_refused(void **state)
{
	struct gm_object obj = { .size = 1ULL << 46 };
	struct rlimit saved;

	(void)state;
	with_limit(RLIMIT_NOFILE, 3, &saved);
	obj.size = PAGE;
	assert_int_equal(gm_os_object_create(&obj, 0), -ENOMEM);
	setrlimit(RLIMIT_NOFILE, &saved);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	with_limit(RLIMIT_AS, 1ULL << 30, &saved);
	obj.size = 1ULL << 40; /* its bitmap fits, its alias does not */
	assert_int_equal(gm_os_object_create(&obj, 0), -ENOMEM);
	obj.size = 1ULL << 46; /* nor its bitmap */
	assert_int_equal(gm_os_object_create(&obj, 0), -ENOMEM);
	setrlimit(RLIMIT_AS, &saved);
#endif
	assert_null(obj.host);
}

/* ---------------------------------------------------------------------------- mapping */

static void test_map(void **state)
{
	struct proc_resources before = proc_resources();
	struct gm_as *as = tc_as(0);
	struct gm_object *obj = tc_object(8 * BLOCK, 0);
	struct gm_region *r = tc_map(as, obj, 0, 4 * BLOCK);
	struct gm_region *odd = tc_map(as, obj, BLOCK + 3 * PAGE, 2 * BLOCK);
	struct gm_region *small = tc_map(as, obj, PAGE, PAGE);
	struct gm_region fixed = *small;
	void *hole;

	(void)state;
	assert_int_equal(r->va % BLOCK, 0);
	assert_int_equal(odd->va % BLOCK, 3 * PAGE);

	/* One page, three addresses. */
	*tc_word(r->va + PAGE) = 42;
	assert_int_equal(*tc_word(small->va), 42);
	*tc_word(odd->va) = 43;
	assert_int_equal(*tc_word(r->va + BLOCK + 3 * PAGE), 43);

	/* Fixed: taken, free, impossible. */
	assert_int_equal(gm_os_region_map(&fixed, true), -EEXIST);
	tc_unmap(small);
	assert_int_equal(gm_os_region_map(&fixed, true), 0);
	assert_int_equal(*tc_word(fixed.va), 42);
	assert_int_equal(gm_os_region_unmap(&fixed, fixed.va, fixed.len), 0);
	gm_os_region_free(&fixed);
#ifndef __SANITIZE_THREAD__ /* which maps where it likes */
	fixed.va = 1ULL << 60;
	assert_int_equal(gm_os_region_map(&fixed, true), -ENOMEM);
#endif
	fixed.va = 0;
	fixed.len = 1ULL << 47;
	assert_int_equal(gm_os_region_map(&fixed, false), -ENOMEM);

	/* Protection is the CPU's. */
	assert_int_equal(gm_os_region_protect(r, r->va, PAGE, GM_READ), 0);
	assert_int_equal(gm_os_copy_plain((void *)(uintptr_t)r->va, "x", 1), -EFAULT);
	assert_int_equal(gm_os_region_protect(r, r->va, PAGE, GM_READ | GM_WRITE), 0);
	assert_int_equal(gm_os_copy_plain((void *)(uintptr_t)r->va, "x", 1), 0);
	hole = gm_os_alloc(PAGE);
	gm_os_free(hole, PAGE);
	assert_int_equal(gm_os_region_protect(r, (uint64_t)(uintptr_t)hole, PAGE, GM_READ),
			 -ENOMEM);
	assert_int_equal(tc.faults, 0);

	tc_unmap(odd);
	tc_unmap(r);
	tc_object_free(obj);
	tc_as_free(as);
	proc_assert_same(before);
}

static unsigned int vmas_of(const struct gm_region *r)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long begin, end;
	unsigned int n = 0;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &begin, &end) == 2 && begin >= r->va &&
		    end <= r->va + r->len)
			n++;
	fclose(f);
	return n;
}

/* Did a touch of this page, never touched before, come to the core? */
static bool delivers(uint64_t va)
{
	unsigned int before = tc.faults;

	assert_int_equal(*tc_word(va), 0);
	return tc.faults != before;
}

/* What is less than a block is aligned to what devices map at least, in step with its offset. */
static void test_map_aligned(void **state)
{
	struct gm_as *as = tc_as(0);
	struct gm_object *obj = tc_object(BLOCK, 0);
	struct gm_region *r[4];

	(void)state;
	tc_align = 1 << 16;
	for (unsigned int i = 0; i < 4; i++) {
		r[i] = tc_map(as, obj, i * 5 * PAGE, (i + 1) * PAGE);
		assert_int_equal((r[i]->va - r[i]->offset) % tc_align, 0);
		*(volatile char *)(uintptr_t)r[i]->va = 1;
	}
	tc_align = PAGE;
	for (unsigned int i = 0; i < 4; i++)
		tc_unmap(r[i]);
	tc_object_free(obj);
	tc_as_free(as);
}

static void test_arm(void **state)
{
	struct gm_as *as = tc_as(GM_AS_INLINE);
	struct gm_object *obj = tc_object(256 * BLOCK, 0);
	struct gm_region *r = tc_map(as, obj, 3 * PAGE, 255 * BLOCK);
	uint64_t b = r->va + BLOCK - 3 * PAGE; /* where the object's block 1 is */

	(void)state;
	/* Exactly the block asked for, cut to the region. */
	assert_false(delivers(b));
	assert_int_equal(gm_os_cpu_arm(r, b + BLOCK + 9 * PAGE, PAGE), 0);
	assert_false(delivers(b + BLOCK - PAGE));
	assert_true(delivers(b + BLOCK));
	assert_true(delivers(b + 2 * BLOCK - PAGE));
	assert_false(delivers(b + 2 * BLOCK));
	assert_int_equal(gm_os_cpu_arm(r, r->va, PAGE), 0);
	assert_true(delivers(b - PAGE));
	assert_false(delivers(b + PAGE));
	assert_int_equal(vmas_of(r), 4);

	/* Filling the gap makes one piece of three. */
	assert_int_equal(gm_os_cpu_arm(r, r->va, 3 * BLOCK), 0);
	assert_int_equal(vmas_of(r), 2);
	assert_int_equal(gm_os_cpu_arm(r, r->va, 3 * BLOCK), 0);

	/* Every second block: at the 33rd piece the whole region is armed. */
	for (uint64_t i = 5; i < 5 + 2 * 31; i += 2)
		assert_int_equal(gm_os_cpu_arm(r, b + i * BLOCK, PAGE), 0);
	assert_false(delivers(b + 200 * BLOCK));
	assert_int_equal(vmas_of(r), 2 * 32);
	assert_int_equal(gm_os_cpu_arm(r, b + 100 * BLOCK, PAGE), 0);
	assert_int_equal(vmas_of(r), 1);
	assert_true(delivers(b + 201 * BLOCK));
	assert_int_equal(gm_os_cpu_arm(r, b + 210 * BLOCK, PAGE), 0);

	tc_unmap(r);
	tc_object_free(obj);
	tc_as_free(as);
}

/* Parts of a region that was split know of themselves whether they are armed. */
static void test_split(void **state)
{
	struct gm_as *as = tc_as(GM_AS_INLINE);
	struct gm_object *obj = tc_object(8 * BLOCK, 0);
	struct gm_region *r = tc_map(as, obj, 0, 8 * BLOCK);
	struct gm_region *high = calloc(1, sizeof(*high));
	uint64_t cut = 4 * BLOCK + 7 * PAGE;

	(void)state;
	assert_int_equal(gm_os_cpu_arm(r, r->va + 2 * BLOCK, BLOCK), 0);
	assert_int_equal(gm_os_cpu_arm(r, r->va + 6 * BLOCK, BLOCK), 0);
	*high = *r;
	high->host = NULL;
	high->va += cut;
	high->offset += cut;
	high->len -= cut;
	r->len = cut;
	assert_int_equal(gm_os_region_split(r, high), 0);
	as->regions[1] = high;

	/* The block with the cut in it was not armed: each part arms its own. */
	assert_int_equal(gm_os_cpu_arm(r, r->va + 4 * BLOCK, 7 * PAGE), 0);
	assert_true(delivers(r->va + 4 * BLOCK));
	assert_false(delivers(high->va));
	assert_int_equal(gm_os_cpu_arm(high, high->va + PAGE, PAGE), 0);
	assert_true(delivers(high->va + PAGE));
	/* What was armed before is known to be. */
	assert_int_equal(gm_os_cpu_map(high, high->va + 2 * BLOCK - 7 * PAGE, PAGE), 0);
	assert_false(delivers(high->va + 2 * BLOCK - 7 * PAGE));
	assert_int_equal(run_at(obj, 6 * BLOCK, PAGE, true), PAGE);
	/* Not armed: nothing to do. */
	assert_int_equal(gm_os_cpu_map(high, high->va + 3 * BLOCK - 7 * PAGE, PAGE), 0);
	assert_int_equal(run_at(obj, 7 * BLOCK, PAGE, false), PAGE);

	tc_unmap(high);
	tc_unmap(r);
	tc_object_free(obj);
	tc_as_free(as);
}

/* Mapping many pages, some of which are mapped already, and across a piece that is not armed. */
static void test_cpu_map(void **state)
{
	struct gm_as *as = tc_as(GM_AS_INLINE);
	struct gm_object *obj = tc_object(4 * BLOCK, 0);
	struct gm_region *r = tc_map(as, obj, 0, 4 * BLOCK);
	uint64_t bus, got;

	(void)state;
	tc.faults = 0;
	assert_int_equal(gm_os_cpu_arm(r, r->va, BLOCK), 0);
	assert_int_equal(gm_os_cpu_arm(r, r->va + 2 * BLOCK, BLOCK), 0);
	assert_int_equal(gm_os_backing_get(obj, 0, 3 * BLOCK, false, &bus, &got), 0);
	assert_int_equal(gm_os_cpu_map(r, r->va + 5 * PAGE, 2 * PAGE), 0);
	assert_int_equal(gm_os_cpu_map(r, r->va + 9 * PAGE, PAGE), 0);
	assert_int_equal(gm_os_cpu_map(r, r->va, 3 * BLOCK), 0);
	assert_int_equal(gm_os_cpu_map(r, r->va, 3 * BLOCK), 0);
	for (uint64_t off = 0; off < 3 * BLOCK; off += PAGE)
		*tc_word(r->va + off) = off;
	assert_int_equal(tc.faults, 0);
	assert_int_equal(gm_os_cpu_map(r, r->va + 2 * BLOCK, 2 * BLOCK), 0);

	/* Revoked: gone for the CPU, and still there. Locked memory too. */
	assert_int_equal(mlock((void *)(uintptr_t)r->va, 4 * PAGE), 0);
	assert_int_equal(gm_os_cpu_revoke(r, r->va, BLOCK), 0);
	assert_int_equal(*tc_word(r->va + PAGE), PAGE);
	assert_int_equal(tc.faults, 1);
	assert_int_equal(tc.last_access, GM_READ);
	*tc_word(r->va + BLOCK - PAGE) = 1;
	assert_int_equal(tc.faults, 2);
	assert_int_equal(tc.last_access, GM_WRITE);

	tc_unmap(r);
	tc_object_free(obj);
	tc_as_free(as);
}

/* Mapped for reading only: a write is told of, and makes what it touches writable; by thread and in line. */
static void test_map_read(void **state)
{
	(void)state;
	for (unsigned int flags = 0; flags <= GM_AS_INLINE; flags += GM_AS_INLINE) {
		struct tc_bench b = tc_set_up(flags);
		struct gm_region *high = calloc(1, sizeof(*high));
		uint64_t bus, got;
		int err;

		assert_non_null(high);
		assert_int_equal(gm_os_cpu_arm(b.r, b.va, BLOCK), 0);
		assert_int_equal(gm_os_backing_get(b.obj, 0, BLOCK, false, &bus, &got), 0);
		err = gm_os_cpu_map_read(b.r, b.va, 16 * PAGE);
		if (err) { /* as an old kernel, where nothing is mapped then */
			assert_int_equal(err, -EOPNOTSUPP);
			*tc_word(b.va) = 1;
			assert_int_equal(tc.faults, 1);
			free(high);
			tc_tear_down(&b);
			continue;
		}
		assert_int_equal(gm_os_cpu_map_read(b.r, b.va + 8 * PAGE, 16 * PAGE), 0);
		for (uint64_t i = 0; i < 24; i++)
			assert_int_equal(*tc_word(b.va + i * PAGE), 0);
		assert_int_equal(tc.faults, 0);
		for (uint64_t i = 0; i < 4; i++)
			*tc_word(b.va + i * PAGE) = i + 1;
		assert_int_equal(tc.faults, 4);
		assert_int_equal(tc.last_access, GM_WRITE);
		*tc_word(b.va) = 9;
		assert_int_equal(tc.faults, 4);
		/* Taken away and mapped again, either way. */
		assert_int_equal(gm_os_cpu_revoke(b.r, b.va, 8 * PAGE), 0);
		assert_int_equal(gm_os_cpu_map(b.r, b.va, 16 * PAGE), 0);
		for (uint64_t i = 0; i < 16; i++)
			*tc_word(b.va + i * PAGE) = 50 + i;
		assert_int_equal(tc.faults, 4);
		assert_int_equal(gm_os_cpu_revoke(b.r, b.va, 16 * PAGE), 0);
		assert_int_equal(gm_os_cpu_map_read(b.r, b.va, 16 * PAGE), 0);
		assert_int_equal(*tc_word(b.va + 3 * PAGE), 53);
		assert_int_equal(tc.faults, 4);
		/* What is cut off stays as it is. */
		*high = *b.r;
		high->va += 8 * PAGE;
		high->offset += 8 * PAGE;
		high->len -= 8 * PAGE;
		high->host = NULL;
		b.r->len = 8 * PAGE;
		assert_int_equal(gm_os_region_split(b.r, high), 0);
		tc_add(high);
		*tc_word(b.va + 9 * PAGE) = 1;
		*tc_word(b.va + 7 * PAGE) = 1;
		assert_int_equal(tc.faults, 6);
		assert_int_equal(gm_os_cpu_map(high, high->va, 8 * PAGE), 0);
		*tc_word(b.va + 10 * PAGE) = 1;
		assert_int_equal(tc.faults, 6);
		tc_unmap(high);
		tc_tear_down(&b);
	}
}

/* The kernel drops pages that have only been read; they are there again when they are mapped. */
static void test_dropped(void **state)
{
	struct gm_as *as = tc_as(GM_AS_INLINE);
	struct gm_object *obj = tc_object(BLOCK, 0);
	struct gm_region *r = tc_map(as, obj, 0, BLOCK);

	(void)state;
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(*tc_word(r->va + i * PAGE), 0);
	*tc_word(r->va + 2 * PAGE) = 7;
	assert_int_equal(gm_os_cpu_arm(r, r->va, BLOCK), 0);
	assert_int_equal(gm_os_cpu_revoke(r, r->va, BLOCK), 0);
	/* As memory that is short does it, but for certain. */
	gm_os_backing_free(obj, PAGE, PAGE);
	gm_os_backing_free(obj, 4 * PAGE, 2 * PAGE);

	tc.faults = 0;
	assert_int_equal(gm_os_cpu_map(r, r->va, 8 * PAGE), 0);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(*tc_word(r->va + i * PAGE), i == 2 ? 7 : 0);
	assert_int_equal(tc.faults, 0);

	/* One that cannot be made, for its alias may not be touched, is an error. */
	assert_int_equal(gm_os_cpu_revoke(r, r->va, BLOCK), 0);
	gm_os_backing_free(obj, PAGE, PAGE);
	assert_int_equal(mprotect(gm_user_object(obj)->alias, BLOCK, PROT_NONE), 0);
	assert_int_equal(gm_os_cpu_map(r, r->va, 8 * PAGE), -ENOMEM);

	tc_unmap(r);
	tc_object_free(obj);
	tc_as_free(as);
}

/* Use up all mappings that a process may have, in the reserved 1 GiB at @p. */
static bool exhaust_vmas(char *p)
{
#ifdef __SANITIZE_THREAD__
	(void)p;
	return false; /* it needs mappings too, and gives up without */
#else
	for (uint64_t used = 0; used < 1ULL << 30; used += 2 * PAGE)
		if (mprotect(p + used, PAGE, PROT_READ))
			return true;
	return false; /* the limit (vm.max_map_count) is higher here */
#endif
}

/* With no mapping left, arming a block arms the region. */
static void test_no_vma_left(void **state)
{
	struct gm_as *as = tc_as(GM_AS_INLINE);
	struct gm_object *obj = tc_object(4 * BLOCK, 0);
	struct gm_region *r = tc_map(as, obj, 0, 4 * BLOCK), fresh = *r;
	char *p = mmap(NULL, 1 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		       0);
	bool exhausted;
	int map_err = 0;

	(void)state;
	assert_ptr_not_equal(p, MAP_FAILED);
	exhausted = exhaust_vmas(p);
	if (exhausted) {
		assert_int_equal(gm_os_cpu_arm(r, r->va + BLOCK, BLOCK), 0);
		map_err = gm_os_region_map(&fresh, false);
	}
	munmap(p, 1 << 30);
	if (exhausted) {
		assert_int_equal(map_err, -ENOMEM);
		assert_true(delivers(r->va + 3 * BLOCK));
	}
	tc_unmap(r);
	tc_object_free(obj);
	tc_as_free(as);
	if (!exhausted)
		skip();
}

static void test_hugetlb(void **state)
{
	struct gm_object none = { .size = 1ULL << 40, .flags = GM_OBJECT_HUGETLB };
	struct gm_object *obj;
	struct gm_region *r;
	struct gm_as *as;
	uint64_t bus, got;
	long before;
	void *probe;

	(void)state;
	before = proc_huge_pages(8);
	assert_true(gm_os_object_create(&none, GM_OBJECT_HUGETLB) < 0);
	probe = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
	if (probe == MAP_FAILED) {
		proc_huge_pages(before);
		skip(); /* nobody may, or memory is too scattered */
	}
	munmap(probe, 2 * BLOCK);

	as = tc_as(GM_AS_INLINE);
	obj = tc_object(2 * BLOCK, GM_OBJECT_HUGETLB);
	r = tc_map(as, obj, 0, 2 * BLOCK);
	assert_int_equal(gm_os_backing_granule(obj), BLOCK);
	assert_int_equal(run_at(obj, 0, 2 * BLOCK, false), 2 * BLOCK);
	assert_true(delivers(r->va + BLOCK + 5 * PAGE)); /* armed from the first */
	assert_false(delivers(r->va + BLOCK));
	assert_int_equal(run_at(obj, 0, 2 * BLOCK, false), BLOCK);
	assert_int_equal(run_at(obj, BLOCK, BLOCK, true), BLOCK);
	*tc_word(r->va + BLOCK + 8) = 5;
	assert_int_equal(gm_os_cpu_revoke(r, r->va, 2 * BLOCK), 0);
	assert_int_equal(gm_os_backing_get(obj, 0, 2 * BLOCK, false, &bus, &got), 0);
	assert_int_equal(*tc_word(bus + BLOCK + 8), 5);
	assert_int_equal(gm_os_cpu_map(r, r->va, 2 * BLOCK), 0);
	assert_int_equal(gm_os_cpu_map(r, r->va, 2 * BLOCK), 0);
	assert_int_equal(*tc_word(r->va + BLOCK + 8), 5);
	gm_os_backing_free(obj, BLOCK, BLOCK);
	assert_true(delivers(r->va + BLOCK + 8));
	/* Gone behind our back, which the kernel does not do to huge pages. */
	assert_int_equal(fallocate(gm_user_object(obj)->mem.fd,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)BLOCK),
			 0);
	assert_int_equal(gm_os_cpu_map(r, r->va, BLOCK), -EIO);
	tc_unmap(r);
	tc_object_free(obj);
	tc_as_free(as);
	proc_huge_pages(before);
}

/* What the C library and sanitizers set up with the first thread is there from here on. */
static int warm_up(void **state)
{
	(void)state;
	tc_as_free(tc_as(0));
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backing),
		cmocka_unit_test(test_backing_seen_by_cpu),
		cmocka_unit_test(test_freed_before_close),
		cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_object_refused),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_map_aligned),
		cmocka_unit_test(test_arm),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_cpu_map),
		cmocka_unit_test(test_map_read),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_no_vma_left),
		cmocka_unit_test(test_hugetlb),
	};

	return cmocka_run_group_tests_name("host_map", tests, warm_up, NULL);
}
