/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * libgmem_preload: what `gmem run` preloads into a program, so that its heap is managed memory.
 *
 *	start.c		the beginning, and fork()
 *	heap.c		the range of addresses that the allocator gets its memory from
 *	drop.c		bytes that nobody needs, dropped
 *	map.c		memory that the program asks the kernel for
 *	limit.c		the limit: who is cold, and out with him
 *	own.c		memory of gmem's own, in the same process
 *	fds.c		descriptors of gmem's own, in the same process
 */
#ifndef GM_PRELOAD_H
#define GM_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gmem/gmem.h>

#define GM_HEAP_UNIT (64ULL << 10) /* what comes home for a fault, and is judged as one */

/* heap.c */
struct gm_heap {
	uint64_t begin, end; /* the range; constant once the hooks are in place */
	uint64_t next;	     /* atomic: what is behind it was never handed out */
	bool devices;	     /* pages may be on a device: to drop them is gmem's to do */
};
extern struct gm_heap gm_heap;

int gm_heap_reserve(void);
int gm_heap_install(void);
void *gm_heap_hand_out(uint64_t at, size_t size, size_t align);
static inline bool gm_heap_has(const void *addr)
{
	return (uint64_t)(uintptr_t)addr - gm_heap.begin < gm_heap.end - gm_heap.begin;
}

/* drop.c: true if it failed, as with hooks; @wait: for a fork() that is under way, to end */
bool gm_heap_drop(void *addr, size_t len, bool wait);
int gm_drop_start(void);
void gm_drop_before_fork(void);
void gm_drop_in_parent(void);
void gm_drop_in_child(void);

/* map.c */
int gm_map_start(void);
void gm_map_before_fork(void);
void gm_map_after_fork(void);

/* limit.c */
int gm_limit_start(struct gm_as *as, int hnode, uint64_t limit);
void gm_limit_wait(uint64_t end);
void gm_limit_in_child(void);

/* fds.c */
int gm_own_fd(int fd);
void gm_own_fds_in_child(void);

/* own.c: what calls of malloc() and the like become in all that is linked with it */
void *gm_own_alloc(size_t align, size_t size);
void gm_own_free(void *p);

#endif
