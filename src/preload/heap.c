// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Where a program's heap gets its memory: one range of addresses, registered in place.
 *
 * Theory. The allocator is jemalloc, which asks hooks of ours for extents of memory, and tells
 * them what it does not need for now. Hooks run amid the allocator, with its locks held; so they do
 * as little as there is. All of the range is reserved and registered at the beginning; handing out
 * an extent moves a counter on, and what was handed out is never taken back: the allocator keeps
 * free extents and uses them again. Bytes that nobody needs are dropped: by the kernel if there
 * is no device, else by gmem, which knows where they are.
 *
 * The allocator's own structures are asked for aligned to 2 MiB, as nothing else is. They
 * are memory of the kernel's, not managed: they are needed all the time, and under locks.
 * A program's memory is too where the range is used up.
 *
 * Locking. None: one counter. A hook waits for gmem to drop bytes, and, for a bounded time, to arm what
 * it hands out; never for a fork(): drop.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include <jemalloc/jemalloc.h>

#include "preload.h"

#define SMALLEST_RANGE (256ULL << 20)

struct gm_heap gm_heap;

/*
 * Few arenas, for each costs a program that starts; threads have caches of their own. And none
 * apart for what is large, which would be made later and not have our hooks.
 */
__attribute__((visibility("default"))) const char *malloc_conf = "narenas:4,oversize_threshold:0";

static void *pointer(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

static uint64_t align_up(uint64_t va, uint64_t align)
{
	return (va + align - 1) & ~(align - 1);
}

/* ------------------------------------------------------------------------- the range */

/*
 * A range as large as four times the machine's memory; where a process may not have so many
 * addresses, a quarter of them, for gmem needs as many again and the program has some of its own.
 */
int gm_heap_reserve(void)
{
	struct rlimit limit;
	struct sysinfo info;
	uint64_t size;
	void *p;

	if (sysinfo(&info) || getrlimit(RLIMIT_AS, &limit))
		return -errno;
	size = (uint64_t)info.totalram * info.mem_unit * 4;
	if (limit.rlim_cur / 4 < size)
		size = limit.rlim_cur / 4;
	size = align_up(size, GM_BLOCK_SIZE);
	if (size < SMALLEST_RANGE)
		return -ENOMEM;
	do {
		p = mmap(NULL, size + GM_BLOCK_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p != MAP_FAILED)
			break;
		size = align_up(size / 2, GM_BLOCK_SIZE);
	} while (size >= SMALLEST_RANGE);
	if (p == MAP_FAILED)
		return -ENOMEM;
	gm_heap.begin = align_up((uint64_t)(uintptr_t)p, GM_BLOCK_SIZE);
	gm_heap.end = gm_heap.begin + size;
	gm_heap.next = gm_heap.begin;
	return 0;
}

/* --------------------------------------------------------------------------- the hooks */

static void *map_apart(size_t size, size_t align)
{
	uint64_t room = size + align, base, va;
	void *p = mmap(NULL, room, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED || room < size)
		return NULL;
	base = (uint64_t)(uintptr_t)p;
	va = align_up(base, align);
	if (va > base)
		munmap(p, va - base);
	if (base + room > va + size)
		munmap(pointer(va + size), base + room - va - size);
	return pointer(va);
}

/* At @at exactly, if it is not 0. */
void *gm_heap_hand_out(uint64_t at, size_t size, size_t align)
{
	uint64_t next = __atomic_load_n(&gm_heap.next, __ATOMIC_RELAXED), va;

	do {
		va = align_up(next, align);
		if ((at && at != next) || va > gm_heap.end || size > gm_heap.end - va)
			return NULL;
	} while (!__atomic_compare_exchange_n(&gm_heap.next, &next, va + size, false,
					      __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	gm_limit_wait(va + size);
	return pointer(va);
}

static void *extent_alloc(extent_hooks_t *hooks, void *new_addr, size_t size, size_t align,
			  bool *zero, bool *commit, unsigned int arena)
{
	void *p = NULL;

	(void)hooks;
	(void)arena;
	if (align < GM_BLOCK_SIZE)
		p = gm_heap_hand_out((uint64_t)(uintptr_t)new_addr, size, align);
	if (!p && !new_addr)
		p = map_apart(size, align);
	if (p) {
		*zero = true; /* nobody has had it before */
		*commit = true;
	}
	return p;
}

static bool extent_purge(extent_hooks_t *hooks, void *addr, size_t size, size_t offset, size_t len,
			 unsigned int arena)
{
	(void)hooks;
	(void)size;
	(void)arena;
	return gm_heap_drop((char *)addr + offset, len, false);
}

static bool extent_split(extent_hooks_t *hooks, void *addr, size_t size, size_t size_a,
			 size_t size_b, bool committed, unsigned int arena)
{
	(void)hooks;
	(void)addr;
	(void)size;
	(void)size_a;
	(void)size_b;
	(void)committed;
	(void)arena;
	return false;
}

/* What is not of the range stays as it was mapped. */
static bool extent_merge(extent_hooks_t *hooks, void *addr_a, size_t size_a, void *addr_b,
			 size_t size_b, bool committed, unsigned int arena)
{
	(void)hooks;
	(void)size_a;
	(void)size_b;
	(void)committed;
	(void)arena;
	return !gm_heap_has(addr_a) || !gm_heap_has(addr_b);
}

/* What is missing the allocator does without: it keeps what it has, and all of it is committed. */
static extent_hooks_t hooks = {
	.alloc = extent_alloc,
	.purge_forced = extent_purge,
	.split = extent_split,
	.merge = extent_merge,
};

/* From now on. An arena that does not exist yet is made by it. */
int gm_heap_install(void)
{
	extent_hooks_t *mine = &hooks;
	size_t size = sizeof(unsigned int);
	unsigned int n, i;
	char name[48];
	int err = mallctl("opt.narenas", &n, &size, NULL, 0);

	for (i = 0; i < n && !err; i++) {
		snprintf(name, sizeof(name), "arena.%u.extent_hooks", i);
		err = mallctl(name, NULL, NULL, (void *)&mine, sizeof(extent_hooks_t *));
	}
	return -err;
}
