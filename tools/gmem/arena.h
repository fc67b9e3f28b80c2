/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A bump allocator over managed memory, or, for the run that is compared with, over
 * ordinary memory: one structure is built by the same code in either.
 */
#ifndef GMEM_TOOL_ARENA_H
#define GMEM_TOOL_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct gm_as;

struct arena {
	struct gm_as *as; /* NULL: ordinary memory */
	char *base;
	uint64_t size;
	uint64_t used;
};

#define ARENA_ALIGN 16ULL

/* What arena_alloc() takes for @size bytes. */
static inline uint64_t arena_round(uint64_t size)
{
	return (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
}

int arena_init(struct arena *a, struct gm_as *as, uint64_t size); /* 0 or -errno */
int arena_free(struct arena *a);				  /* 0 or -errno */
/* Zeroed; the arena was made large enough for all that is asked of it. */
void *arena_alloc(struct arena *a, uint64_t size);
char *arena_strdup(struct arena *a, const char *s);

#endif
