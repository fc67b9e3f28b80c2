// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory of gmem's own, in a process whose heap it manages.
 *
 * Theory. What gmem needs to service a fault must never be on a device, for who touched it would
 * wait for himself. So nothing of gmem's may come from the program's heap: the linker turns each
 * call of malloc(), calloc(), aligned_alloc() and free() in what is linked into this library
 * into one of these (the allocator itself is not concerned: it defines those names, and
 * calls none of them). gmem asks for little and seldom: sizes are rounded to powers of two, what is
 * freed is kept in a list for each, and pieces of a page and more are the kernel's.
 *
 * Before each piece stands a header, which says what it is.
 *
 * Locking. own_lock over the lists; a leaf. A child of fork() never comes here, for gmem is dead there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "preload.h"

#define SMALLEST 5U /* 32 bytes, as powers of two from here on */
#define LARGEST 11U
#define CHUNK (64UL << 10)
#define PAGE 4096UL

struct header {
	uint64_t length; /* of the mapping, if it is one of its own; else 0 */
	uint32_t power;
	uint32_t before; /* bytes of the mapping before the piece */
};

struct piece {
	struct piece *next;
};

static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;
static struct piece *lists[LARGEST + 1];
static char *chunk; /* what is left of it */
static size_t chunk_left;

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void __wrap_free(void *p);

static void *map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void *alloc_mapping(size_t align, size_t size)
{
	size_t room = align > sizeof(struct header) ? align : sizeof(struct header);
	size_t length = (size + room + PAGE - 1) & ~(PAGE - 1);
	struct header *h;
	char *p;

	/* A mapping begins at a page; more than that nobody asks for. */
	if (align > PAGE || length < size)
		return NULL;
	p = map(length);
	if (!p)
		return NULL;
	h = (struct header *)(void *)(p + room) - 1;
	h->length = length;
	h->before = (uint32_t)room;
	return p + room;
}

/* own_lock is held. */
static struct piece *cut(unsigned int power)
{
	size_t size = (1UL << power) + sizeof(struct header);
	struct header *h;

	if (chunk_left < size) {
		chunk = map(CHUNK);
		chunk_left = chunk ? CHUNK : 0;
	}
	if (!chunk)
		return NULL;
	h = (struct header *)(void *)chunk;
	h->power = power;
	chunk += size;
	chunk_left -= size;
	return (struct piece *)(h + 1);
}

void *gm_own_alloc(size_t align, size_t size)
{
	unsigned int power = SMALLEST;
	struct piece *p;

	while (power <= LARGEST && 1UL << power < size)
		power++;
	if (power > LARGEST || align > sizeof(struct header))
		return alloc_mapping(align, size);
	pthread_mutex_lock(&own_lock);
	p = lists[power];
	if (p)
		lists[power] = p->next;
	else
		p = cut(power);
	pthread_mutex_unlock(&own_lock);
	if (p)
		memset(p, 0, 1UL << power);
	return p;
}

void gm_own_free(void *p)
{
	struct header *h = (struct header *)p - 1;
	struct piece *piece = p;

	if (!p)
		return;
	if (h->length) {
		munmap((char *)p - h->before, h->length);
		return;
	}
	pthread_mutex_lock(&own_lock);
	piece->next = lists[h->power];
	lists[h->power] = piece;
	pthread_mutex_unlock(&own_lock);
}

/* ------------------------------------------------------------ what the linker puts in */

void *__wrap_malloc(size_t size)
{
	return gm_own_alloc(1, size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : gm_own_alloc(1, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return gm_own_alloc(align, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	const struct header *h = (struct header *)p - 1;
	size_t bytes, old;
	void *q;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	q = gm_own_alloc(1, bytes);
	if (q && p) {
		old = h->length ? h->length - h->before : 1UL << h->power;
		memcpy(q, p, old < bytes ? old : bytes);
		gm_own_free(p);
	}
	return q;
}

void __wrap_free(void *p)
{
	gm_own_free(p);
}
