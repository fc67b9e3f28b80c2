/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What every core file uses: assertions, atomics, lists, bit arithmetic. */
#ifndef GM_CORE_UTIL_H
#define GM_CORE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/errno.h"
#include "core/os.h"

/* A broken invariant stops a debug build; gm_bug_on() stops every build. */
#define gm_bug_on(cond)                                                                            \
	do {                                                                                       \
		if (__builtin_expect(!!(cond), 0))                                                 \
			gm_os_bug(__FILE__, __LINE__, #cond);                                      \
	} while (0)
#ifdef GM_DEBUG
#define gm_assert(cond) gm_bug_on(!(cond))
#else
#define gm_assert(cond) ((void)sizeof(cond))
#endif

/* For what is large, on the stack and set by its owner: a kernel may fill all else with zeros. */
#define gm_uninitialized __attribute__((uninitialized))

/*
 * Atomics. Counters and hints need no order; a pointer is published with release
 * and read with acquire. The builtins are the same in kernel and user space.
 */
#define gm_load(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define gm_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define gm_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define gm_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define gm_add(p, v) __atomic_fetch_add(p, v, __ATOMIC_RELAXED)
#define gm_sub(p, v) __atomic_fetch_sub(p, v, __ATOMIC_RELAXED)
#define gm_publish(p, expected, v)                                                                 \
	__atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

/* Doubly linked list with a head; an entry out of any list points at itself. */
struct gm_list {
	struct gm_list *prev, *next;
};

static inline void gm_list_init(struct gm_list *l)
{
	l->prev = l->next = l;
}

static inline bool gm_list_empty(const struct gm_list *l)
{
	return l->next == l;
}

static inline void gm_list_add_tail(struct gm_list *entry, struct gm_list *head)
{
	entry->prev = head->prev;
	entry->next = head;
	head->prev->next = entry;
	head->prev = entry;
}

static inline void gm_list_del(struct gm_list *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	gm_list_init(entry);
}

#define gm_container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define GM_MIN(a, b) ((a) < (b) ? (a) : (b))
#define GM_MAX(a, b) ((a) > (b) ? (a) : (b))

static inline uint64_t gm_round_down(uint64_t v, uint64_t to)
{
	return v & ~(to - 1);
}

static inline uint64_t gm_round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

static inline bool gm_aligned(uint64_t v, uint64_t to)
{
	return (v & (to - 1)) == 0;
}

static inline unsigned int gm_log2(uint64_t v)
{
	return 63U - (unsigned int)__builtin_clzll(v);
}

static inline unsigned int gm_ctz(uint64_t v)
{
	return (unsigned int)__builtin_ctzll(v);
}

static inline bool gm_power_of_two(uint64_t v)
{
	return v && !(v & (v - 1));
}

#endif
