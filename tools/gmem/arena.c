// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The bump allocator: a pointer that moves. Both kinds of memory come zeroed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <gmem/gmem.h>

#include "arena.h"

int arena_init(struct arena *a, struct gm_as *as, uint64_t size)
{
	void *base;
	int err;

	size = (size + GM_PAGE_SIZE - 1) & ~(GM_PAGE_SIZE - 1);
	if (as) {
		err = gm_alloc(as, size, 0, &base);
		if (err)
			return err;
	} else {
		base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (base == MAP_FAILED)
			return -errno;
	}
	*a = (struct arena){ .as = as, .base = base, .size = size };
	return 0;
}

int arena_free(struct arena *a)
{
	int err = 0;

	if (!a->base)
		return 0;
	if (a->as)
		err = gm_as_unmap(a->as, a->base, a->size);
	else if (munmap(a->base, a->size))
		err = -errno;
	if (!err)
		*a = (struct arena){ 0 };
	return err;
}

void *arena_alloc(struct arena *a, uint64_t size)
{
	void *p = a->base + a->used;

	size = arena_round(size);
	if (size > a->size - a->used)
		abort();
	a->used += size;
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	size_t len = strlen(s) + 1;

	return memcpy(arena_alloc(a, len), s, len);
}
