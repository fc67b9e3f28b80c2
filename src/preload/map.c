// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A heap that is not the allocator's: private anonymous memory that a program asks mmap() for.
 *
 * Theory. Interpreters and compilers with a memory management of their own take large pieces from the
 * kernel, and malloc() sees little of what they use. So such a piece, readable and writable and
 * of no particular place, comes from the heap's range too. What is not all that (a stack, a
 * reservation, a file) is the kernel's as ever.
 *
 * Addresses of the range stay mapped for good. munmap() drops the bytes, makes the addresses accessible,
 * and keeps them in a table for the next to ask; mremap() moves by copying; MADV_DONTNEED drops.
 * What a program maps over a part of the range (MAP_FIXED) is not managed: such addresses
 * are noted, and when they are unmapped they are gone for good.
 *
 * In the dynamic linker and the C library mmap() is not these, and so not in what runs before
 * main() and for threads.
 *
 * Locking. map_lock over the two tables: a leaf, held over fork(). Bytes are dropped without it, before
 * their addresses are free.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload.h"

#define SMALLEST (64UL << 10) /* pieces below that are not worth it */
#define MAX_RANGES 65536U
#define VISIBLE __attribute__((visibility("default")))

struct range {
	uint64_t begin, end;
};

/* By address; they neither overlap nor touch. Where one does not fit any more it is not in it. */
struct ranges {
	struct range *at;
	unsigned int n;
};

static pthread_mutex_t map_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ranges unused, foreign; /* map_lock */

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *addr, size_t len);
int __wrap_madvise(void *addr, size_t len, int advice);
void *__wrap_mremap(void *old, size_t old_len, size_t len, int flags, void *to);
VISIBLE void *gm_map(void *addr, size_t len, int prot, int flags, int fd,
		     off_t off) __asm__("mmap");
VISIBLE void *gm_map64(void *addr, size_t len, int prot, int flags, int fd,
		       off_t off) __asm__("mmap64");
VISIBLE int gm_unmap(void *addr, size_t len) __asm__("munmap");
VISIBLE int gm_map_advise(void *addr, size_t len, int advice) __asm__("madvise");
VISIBLE void *gm_remap(void *old, size_t old_len, size_t len, int flags, ...) __asm__("mremap");

/* ------------------------------------------------------------- what gmem's own calls are */

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
}

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return __wrap_mmap(addr, len, prot, flags, fd, off);
}

int __wrap_munmap(void *addr, size_t len)
{
	return (int)syscall(SYS_munmap, addr, len);
}

int __wrap_madvise(void *addr, size_t len, int advice)
{
	return (int)syscall(SYS_madvise, addr, len, advice);
}

void *__wrap_mremap(void *old, size_t old_len, size_t len, int flags, void *to)
{
	return (void *)syscall(SYS_mremap, old, old_len, len, flags, to);
}

/* ----------------------------------------------------------------------------- tables */

static uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

static void *pointer(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

/* Index of the first range that ends at @va or behind it. */
static unsigned int lower(const struct ranges *r, uint64_t va)
{
	unsigned int lo = 0, hi = r->n;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (r->at[mid].end < va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Whatever of it is there already. */
static void ranges_add(struct ranges *r, uint64_t begin, uint64_t end)
{
	unsigned int i = lower(r, begin), last = i;

	for (; last < r->n && r->at[last].begin <= end; last++) {
		begin = r->at[last].begin < begin ? r->at[last].begin : begin;
		end = r->at[last].end > end ? r->at[last].end : end;
	}
	if (last == i && r->n == MAX_RANGES)
		return;
	memmove(&r->at[i + 1], &r->at[last], (r->n - last) * sizeof(r->at[0]));
	r->at[i] = (struct range){ begin, end };
	r->n += 1 - (last - i);
}

static bool ranges_overlap(const struct ranges *r, uint64_t begin, uint64_t end)
{
	unsigned int i = lower(r, begin + 1);

	return i < r->n && r->at[i].begin < end;
}

/* The first that is large enough; 0: there is none. */
static uint64_t ranges_take(struct ranges *r, uint64_t len)
{
	for (unsigned int i = 0; i < r->n; i++) {
		uint64_t va = r->at[i].begin;

		if (r->at[i].end - va < len)
			continue;
		r->at[i].begin += len;
		if (r->at[i].begin == r->at[i].end) {
			r->n--;
			memmove(&r->at[i], &r->at[i + 1], (r->n - i) * sizeof(r->at[0]));
		}
		return va;
	}
	return 0;
}

/* ------------------------------------------------------------------------ the program's */

static void *take(uint64_t len)
{
	uint64_t va;

	pthread_mutex_lock(&map_lock);
	va = ranges_take(&unused, len);
	pthread_mutex_unlock(&map_lock);
	return va ? pointer(va) : gm_heap_hand_out(0, len, SMALLEST);
}

static bool managed(size_t len, int prot, int flags)
{
	const int wrong = MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN | MAP_STACK | MAP_32BIT |
			  MAP_HUGETLB | MAP_LOCKED | MAP_POPULATE;
	const int right = MAP_PRIVATE | MAP_ANONYMOUS;

	return unused.at && len >= SMALLEST && len <= GM_OBJECT_MAX_SIZE &&
	       prot == (PROT_READ | PROT_WRITE) && (flags & right) == right && !(flags & wrong);
}

static uint64_t whole_pages(uint64_t len)
{
	return (len + GM_PAGE_SIZE - 1) & ~(GM_PAGE_SIZE - 1);
}

/* A part of the range becomes something else. */
static void *map_over(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	gm_heap_drop(addr, len, true);
	pthread_mutex_lock(&map_lock);
	ranges_add(&foreign, address(addr), address(addr) + whole_pages(len));
	pthread_mutex_unlock(&map_lock);
	return __wrap_mmap(addr, len, prot, flags, fd, off);
}

void *gm_map(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	void *p;

	if (managed(len, prot, flags)) {
		p = take(whole_pages(len));
		if (p)
			return p;
	}
	if (flags & MAP_FIXED && gm_heap_has(addr))
		return map_over(addr, len, prot, flags, fd, off);
	return __wrap_mmap(addr, len, prot, flags, fd, off);
}

void *gm_map64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return gm_map(addr, len, prot, flags, fd, off);
}

int gm_unmap(void *addr, size_t len)
{
	uint64_t va = address(addr), end = va + whole_pages(len);
	bool gone;

	if (!unused.at || !len || va % GM_PAGE_SIZE || end < va || !gm_heap_has(addr) ||
	    !gm_heap_has(pointer(end - 1)))
		return __wrap_munmap(addr, len);
	pthread_mutex_lock(&map_lock);
	gone = ranges_overlap(&foreign, va, end);
	pthread_mutex_unlock(&map_lock);
	if (gm_heap_drop(addr, end - va, true) || mprotect(addr, end - va, PROT_READ | PROT_WRITE))
		return 0; /* the addresses are not used again */
	if (gone)
		return __wrap_munmap(addr, len);
	pthread_mutex_lock(&map_lock);
	ranges_add(&unused, va, end);
	pthread_mutex_unlock(&map_lock);
	return 0;
}

int gm_map_advise(void *addr, size_t len, int advice)
{
	uint64_t va = address(addr);

	if (advice != MADV_DONTNEED || !gm_heap_has(addr) || va % GM_PAGE_SIZE || !len)
		return __wrap_madvise(addr, len, advice);
	if (gm_heap_drop(addr, whole_pages(len), true)) {
		errno = EAGAIN;
		return -1;
	}
	return 0;
}

void *gm_remap(void *old, size_t old_len, size_t len, int flags, ...)
{
	void *to = NULL, *p;
	va_list ap;

	if (flags & MREMAP_FIXED) {
		va_start(ap, flags);
		to = va_arg(ap, void *);
		va_end(ap);
	}
	if (!gm_heap_has(old))
		return __wrap_mremap(old, old_len, len, flags, to);
	old_len = whole_pages(old_len);
	len = whole_pages(len);
	if (len && len <= old_len && !(flags & ~MREMAP_MAYMOVE)) {
		if (len < old_len)
			gm_unmap((char *)old + len, old_len - len);
		return old;
	}
	p = flags == MREMAP_MAYMOVE && len && old_len ? take(len) : NULL;
	if (!p) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	memcpy(p, old, old_len);
	gm_unmap(old, old_len);
	return p;
}

/* -------------------------------------------------------------------------- life, fork */

int gm_map_start(void)
{
	size_t bytes = MAX_RANGES * sizeof(struct range);
	char *p = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	foreign.at = (struct range *)(void *)(p + bytes);
	unused.at = (struct range *)(void *)p;
	return 0;
}

void gm_map_before_fork(void)
{
	pthread_mutex_lock(&map_lock);
}

void gm_map_after_fork(void)
{
	pthread_mutex_unlock(&map_lock);
}
