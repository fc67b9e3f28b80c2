// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * openEuler's six functions, on the simulated accelerator: what they promise there holds here, and
 * where they differ they do so as libgmem(3) says.
 *
 * One device and the process's one address space for all tests. Calls of the library, and malloc(),
 * can be made to fail, by --wrap.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <gmem/libgmem.h>
#include <gmem/sim.h>

#include "other.h"

#define MIB (1UL << 20)
#define PAGE 4096UL

static struct gm_sim *sim;
static struct gm_sim_ctx *ctx;
static struct gm_as *space;
static int device;

/* ----------------------------------------------------------------- what fails */

static const char *failing; /* the function that does, once */

static bool fails(const char *name)
{
	if (!failing || strcmp(failing, name) != 0)
		return false;
	failing = NULL;
	return true;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return fails("malloc") ? NULL : __real_malloc(size);
}

int __real_gm_as_create(const struct gm_as_options *opt, struct gm_as **as);
int __wrap_gm_as_create(const struct gm_as_options *opt, struct gm_as **as);
int __wrap_gm_as_create(const struct gm_as_options *opt, struct gm_as **as)
{
	return fails("gm_as_create") ? -ENOMEM : __real_gm_as_create(opt, as);
}

int __real_gm_alloc(struct gm_as *as, uint64_t len, uint32_t flags, void **addr);
int __wrap_gm_alloc(struct gm_as *as, uint64_t len, uint32_t flags, void **addr);
int __wrap_gm_alloc(struct gm_as *as, uint64_t len, uint32_t flags, void **addr)
{
	return fails("gm_alloc") ? -ENOMEM : __real_gm_alloc(as, len, flags, addr);
}

int __real_gm_as_unmap(struct gm_as *as, void *addr, uint64_t len);
int __wrap_gm_as_unmap(struct gm_as *as, void *addr, uint64_t len);
int __wrap_gm_as_unmap(struct gm_as *as, void *addr, uint64_t len)
{
	return fails("gm_as_unmap") ? -EIO : __real_gm_as_unmap(as, addr, len);
}

int __real_gm_as_remap(struct gm_as *as, void *addr, uint64_t old_len, uint64_t new_len,
		       uint32_t flags, void **new_addr);
int __wrap_gm_as_remap(struct gm_as *as, void *addr, uint64_t old_len, uint64_t new_len,
		       uint32_t flags, void **new_addr);
int __wrap_gm_as_remap(struct gm_as *as, void *addr, uint64_t old_len, uint64_t new_len,
		       uint32_t flags, void **new_addr)
{
	return fails("gm_as_remap")
		       ? -ENOMEM
		       : __real_gm_as_remap(as, addr, old_len, new_len, flags, new_addr);
}

/* ------------------------------------------------------------------- helpers */

static bool managed(const void *p)
{
	struct gm_page_info info;
	void *page = (void *)((uintptr_t)p & ~(PAGE - 1));

	return gm_query(page, PAGE, &info) == 0;
}

static int node_of(const char *page)
{
	struct gm_page_info info;

	assert_int_equal(gm_query(page, PAGE, &info), 0);
	return info.node;
}

static uint64_t device_faults(void)
{
	struct gm_stats stats = { .size = sizeof(stats) };

	assert_int_equal(gm_as_stats(space, &stats), 0);
	return stats.dev_faults;
}

/* All that gmem_malloc() has from the library now; of each order one block may stay. */
static size_t heap_bytes(void)
{
	size_t sum = 0;

	for (unsigned int i = 0; i < GMEM_HASHES; i++)
		for (const struct gmem_piece *p = gmem_state.piece[i]; p; p = p->next)
			sum += p->len;
	return sum;
}

static void fill(void *object, size_t len, unsigned int seed)
{
	unsigned char *p = object;

	for (size_t i = 0; i < len; i += i + 64 < len ? 61 : 1)
		p[i] = (unsigned char)(seed + i);
}

static bool holds(const void *object, size_t len, unsigned int seed)
{
	const unsigned char *p = object;

	for (size_t i = 0; i < len; i += i + 64 < len ? 61 : 1)
		if (p[i] != (unsigned char)(seed + i))
			return false;
	return true;
}

/* --------------------------------------------------------------------- tests */

/* First of all: there is neither a device nor an address space. */
static void nothing_there(void **state)
{
	struct gm_as *as;

	(void)state;
	assert_int_equal(gmemGetNumaId(), -ENODEV);
	assert_int_equal(other_device(), -ENODEV);
	gmem_free(NULL);
	assert_int_equal(gmemPrefetch((unsigned long)state, PAGE, 0, NULL), -EFAULT);

	assert_int_equal(gm_sim_create(NULL, &sim), 0);
	failing = "gm_as_create";
	assert_int_equal(gmemAddressSpace(&as), -ENOMEM);
	failing = "gm_as_create";
	assert_null(gmem_malloc(1));
	assert_int_equal(errno, ENOMEM);

	assert_int_equal(gmemAddressSpace(&space), 0);
	assert_int_equal(gmemAddressSpace(&as), 0);
	assert_ptr_equal(as, space);
	assert_int_equal(gm_sim_attach(sim, space, &ctx), 0);
	device = gm_dev_hnode(gm_sim_dev(sim));
	gmemSetDevice(device, NULL);
	assert_int_equal(gmemGetNumaId(), device);
	assert_int_equal(other_device(), device);
}

static void prefetch(void **state)
{
	char *p = gmem_malloc(4 * MIB), byte;
	uint64_t faults;

	(void)state;
	assert_non_null(p);
	memset(p, 7, 4 * MIB);
	/* Outward: from a byte in the first page to one in the last. */
	assert_int_equal(gmemPrefetch((unsigned long)p + 100, 4 * MIB - 200, device, NULL), 0);
	for (size_t at = 0; at < 4 * MIB; at += PAGE)
		assert_int_equal(node_of(p + at), device);
	faults = device_faults();
	for (size_t at = 0; at < 4 * MIB; at += MIB / 2) {
		assert_int_equal(gm_sim_access(ctx, p + at, &byte, 1, GM_READ), 0);
		assert_int_equal(byte, 7);
	}
	assert_int_equal(device_faults(), faults);
	/* Again, and home. A stream changes nothing. */
	assert_int_equal(gmemPrefetch((unsigned long)p, 4 * MIB, device, &byte), 0);
	assert_int_equal(gmemPrefetch((unsigned long)p, 4 * MIB, GM_NODE_HOST, NULL), 0);
	assert_int_equal(node_of(p), GM_NODE_HOST);
	assert_int_equal(p[4 * MIB - 1], 7);

	assert_int_equal(gmemPrefetch((unsigned long)p, 0, device, NULL), 0);
	assert_int_equal(gmemPrefetch((unsigned long)p, PAGE, 12345, NULL), -ENODEV);
	assert_int_equal(gmemPrefetch((unsigned long)&byte, 1, device, NULL), -EFAULT);
	gmem_free(p);
}

static const char *queued; /* what the stream has yet to write, and where */
static char *queue_to;
static int wait_error;

static int wait_for(void *stream)
{
	assert_ptr_equal(stream, &queued);
	if (!wait_error && queued)
		memcpy(queue_to, queued, strlen(queued));
	return wait_error;
}

static void free_eager(void **state)
{
	char *p = gmem_malloc(2 * MIB);
	unsigned long addr = (unsigned long)p;

	(void)state;
	memset(p, 7, 2 * MIB);
	assert_int_equal(gmemPrefetch(addr, MIB, device, NULL), 0);
	/* Inward: pages that are in the range as a whole, on the device or not. */
	assert_int_equal(gmemFreeEager(addr + 1, 2 * MIB - 2, NULL), 0);
	assert_int_equal(p[0], 7);
	assert_int_equal(p[PAGE - 1], 7);
	assert_int_equal(p[PAGE], 0);
	assert_int_equal(p[2 * MIB - PAGE - 1], 0);
	assert_int_equal(p[2 * MIB - PAGE], 7);
	assert_int_equal(gmemFreeEager(addr, 2 * MIB, NULL), 0);
	assert_int_equal(node_of(p), GM_NODE_NONE);
	assert_int_equal(p[0] | p[2 * MIB - 1], 0);

	/* No whole page. */
	p[0] = 8;
	assert_int_equal(gmemFreeEager(addr, PAGE - 1, NULL), 0);
	assert_int_equal(gmemFreeEager(addr + 1, PAGE, NULL), 0);
	assert_int_equal(gmemFreeEager(addr, 0, NULL), 0);
	assert_int_equal(p[0], 8);

	assert_int_equal(gmemFreeEager(addr, ~0UL, NULL), -EINVAL);
	assert_int_equal(gmemFreeEager(~0UL - 10, 5, NULL), -EINVAL);
	assert_int_equal(gmemFreeEager(PAGE, PAGE, NULL), -EFAULT);
	gmem_free(p);
}

/* What is queued before must find the bytes, and may not write into what was dropped. */
static void streams(void **state)
{
	char *p = gmem_malloc(PAGE * 2);
	unsigned long addr = ((unsigned long)p + PAGE - 1) & ~(PAGE - 1);

	(void)state;
	p = (char *)addr;
	queue_to = p;
	strcpy(p, "before");
	assert_int_equal(gmemFreeEager(addr, PAGE, &queued), -EOPNOTSUPP);
	assert_string_equal(p, "before");
	gmemSetDevice(device, wait_for);
	wait_error = -EIO;
	assert_int_equal(gmemFreeEager(addr, PAGE, &queued), -EIO);
	assert_string_equal(p, "before");
	wait_error = 0;
	queued = "queued";
	assert_int_equal(gmemFreeEager(addr, PAGE, &queued), 0);
	assert_int_equal(p[0], 0);
	/* Nothing to drop: nothing to wait for. */
	wait_error = -EIO;
	assert_int_equal(gmemFreeEager(addr, 1, &queued), 0);
	gmemSetDevice(device, NULL);
	gmem_free(p);
}

static void add_one(struct gm_sim_lane *lane, void *arg)
{
	gm_sim_add64(lane, arg, 1);
}

/* Objects of all sizes: they are apart, keep their bytes, and are the device's as well. */
static void objects(void **state)
{
	enum { N = 150 };
	static struct {
		unsigned char *p;
		size_t len;
	} o[N];
	unsigned int seed = 20261120;
	size_t before = heap_bytes();

	(void)state;
	print_message("seed %u\n", seed);
	for (unsigned int step = 0; step < 3000; step++) {
		unsigned int i, r;
		size_t len;

		seed = seed * 1664525 + 1013904223;
		i = (seed >> 8) % N;
		r = seed >> 24;
		len = r < 240 ? r * r : (size_t)r << 12;
		if (o[i].p)
			assert_true(holds(o[i].p, o[i].len, i));
		if (r % 3 == 0 && o[i].p) {
			unsigned char *p = (i & 1 ? other_realloc : gmem_realloc)(o[i].p, len + 1);
			size_t kept = len + 1 < o[i].len ? len + 1 : o[i].len;

			assert_non_null(p);
			o[i].p = p;
			/* The stride of the pattern's end differs, so look at the common part. */
			for (size_t k = 0; k + 64 < kept; k += 61)
				assert_int_equal(p[k], (unsigned char)(i + k));
			o[i].len = len + 1;
		} else {
			(i & 1 ? gmem_free : other_free)(o[i].p);
			o[i].p = (i & 2 ? gmem_malloc : other_malloc)(len);
			assert_non_null(o[i].p);
			assert_int_equal((uintptr_t)o[i].p % 16, 0);
			o[i].len = len;
		}
		fill(o[i].p, o[i].len, i);
	}
	for (unsigned int i = 0; i < N; i++) {
		uint64_t *count = o[i].p ? (uint64_t *)(void *)o[i].p : NULL;

		if (count && o[i].len >= sizeof(*count) && i % 16 == 0) {
			*count = 0;
			assert_int_equal(gm_sim_launch(ctx, add_one, count), 0);
			assert_int_equal(*count, gm_sim_lanes(sim));
		} else if (o[i].p) {
			assert_true(holds(o[i].p, o[i].len, i));
		}
		gmem_free(o[i].p);
	}
	assert_true(heap_bytes() <= before + GMEM_ORDERS * GM_BLOCK_SIZE);
}

/* A large object that grows moves no bytes, be they on the device; a small one is copied. */
static void growing(void **state)
{
	char *p = gmem_malloc(3 * MIB), *q, *between;

	(void)state;
	assert_int_equal((uintptr_t)p % GM_BLOCK_SIZE, 0);
	memset(p, 5, 3 * MIB);
	assert_int_equal(gmemPrefetch((unsigned long)p, 3 * MIB, device, NULL), 0);
	between = gmem_malloc(MIB);
	q = gmem_realloc(p, 9 * MIB);
	assert_non_null(q);
	assert_int_equal(node_of(q), device);
	assert_int_equal(node_of(q + 3 * MIB - PAGE), device);
	assert_int_equal(q[3 * MIB - 1], 5);
	assert_int_equal(q[9 * MIB - 1], 0);
	/* In its own block; then out of it; to a small one, and back. */
	assert_ptr_equal(gmem_realloc(q, 9 * MIB + 1), q);
	q = gmem_realloc(q, MIB);
	assert_int_equal(q[MIB - 1], 5);
	q = gmem_realloc(q, 100);
	assert_int_equal(q[99], 5);
	assert_ptr_equal(gmem_realloc(q, 128), q);
	q = gmem_realloc(q, 2 * MIB);
	assert_int_equal(q[99], 5);
	assert_null(gmem_realloc(q, 0));
	q = gmem_realloc(NULL, 10);
	assert_non_null(q);
	gmem_free(q);
	gmem_free(between);
}

/* What malloc(3) has given is its own, by whatever name it is given back. */
static void of_others(void **state)
{
	char *theirs = strdup("theirs"), *more;

	(void)state;
	assert_non_null(theirs);
	more = other_realloc(theirs, 100);
	assert_non_null(more);
	assert_string_equal(more, "theirs");
	assert_false(managed(more));
	other_free(more);
	more = other_malloc(100);
	assert_true(managed(more));
	other_free(more);
}

static void failures(void **state)
{
	volatile size_t too_much = SIZE_MAX; /* compilers know that it is */
	static const char *const call[] = { "malloc", "gm_alloc" };
	char *p, *q, *between = NULL;
	size_t before;

	(void)state;
	assert_null(gmem_malloc(SIZE_MAX));
	assert_int_equal(errno, ENOMEM);
	assert_null(gmem_malloc(GM_OBJECT_MAX_SIZE + 1));
	before = heap_bytes();
	for (unsigned int i = 0; i < 2; i++) {
		failing = call[i];
		errno = 0;
		assert_null(gmem_malloc(MIB));
		assert_null(failing);
		assert_int_equal(errno, ENOMEM);
	}
	/* Small objects until their block is full and another cannot be had. */
	failing = NULL;
	for (p = NULL, q = p;; p = q) {
		failing = "gm_alloc";
		q = gmem_malloc(MIB / 2);
		if (!q)
			break;
		*(char **)(void *)q = p;
	}
	for (; p; p = q) {
		q = *(char **)(void *)p;
		gmem_free(p);
	}
	assert_true(heap_bytes() <= before + GM_BLOCK_SIZE);

	/* realloc() that fails leaves what it was to replace. */
	p = gmem_malloc(MIB);
	strcpy(p, "kept");
	failing = "gm_as_remap";
	assert_null(gmem_realloc(p, 8 * MIB));
	assert_int_equal(errno, ENOMEM);
	assert_null(gmem_realloc(p, too_much));
	assert_string_equal(p, "kept");
	q = gmem_malloc(100);
	strcpy(q, "kept");
	failing = "gm_alloc";
	assert_null(gmem_realloc(q, 8 * MIB));
	assert_int_equal(errno, ENOMEM);
	assert_string_equal(q, "kept");
	gmem_free(q);
	/* free() that fails keeps it, and says nothing; it can be tried again. */
	failing = "gm_as_unmap";
	errno = 99;
	gmem_free(p);
	assert_null(failing);
	assert_int_equal(errno, 99);
	assert_string_equal(p, "kept");
	gmem_free(p);
	assert_false(managed(p));
	/* The same of a block of small ones, which is used again. */
	q = gmem_malloc(MIB / 2);
	do {
		*(char **)(void *)q = between;
		between = q;
		q = gmem_malloc(MIB / 2);
	} while ((uintptr_t)q / GM_BLOCK_SIZE == (uintptr_t)between / GM_BLOCK_SIZE);
	before = heap_bytes();
	failing = "gm_as_unmap";
	for (; between; between = p) {
		p = *(char **)(void *)between;
		gmem_free(between);
	}
	assert_null(failing);
	assert_int_equal(heap_bytes(), before);
	p = gmem_malloc(MIB / 2);
	assert_true(managed(p));
	gmem_free(p);
	gmem_free(q);
}

static void *use_heap(void *arg)
{
	unsigned int seed = *(unsigned int *)arg;
	unsigned char *p[16] = { NULL };

	for (unsigned int step = 0; step < 500; step++) {
		unsigned int i = step % 16;

		seed = seed * 1664525 + 1013904223;
		if (p[i] && *p[i] != (unsigned char)i)
			return arg;
		p[i] = gmem_realloc(p[i], 1 + (seed >> (step % 100 ? 20 : 11)));
		if (!p[i])
			return arg;
		*p[i] = (unsigned char)i;
	}
	for (unsigned int i = 0; i < 16; i++)
		gmem_free(p[i]);
	return NULL;
}

static void threads(void **state)
{
	unsigned int seed[3] = { 1, 2, 3 };
	pthread_t thread[3];
	void *failed;

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, use_heap, &seed[i]), 0);
	for (unsigned int i = 0; i < 3; i++) {
		pthread_join(thread[i], &failed);
		assert_null(failed);
	}
}

static void the_end(void **state)
{
	(void)state;
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_as_destroy(space), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
	for (unsigned int i = 0; i < GMEM_HASHES; i++) {
		struct gmem_piece *next, *p;

		for (p = gmem_state.piece[i]; p; p = next) {
			next = p->next;
			free(p);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_there), cmocka_unit_test(prefetch),
		cmocka_unit_test(free_eager),	 cmocka_unit_test(streams),
		cmocka_unit_test(objects),	 cmocka_unit_test(growing),
		cmocka_unit_test(of_others),	 cmocka_unit_test(failures),
		cmocka_unit_test(threads),	 cmocka_unit_test(the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
