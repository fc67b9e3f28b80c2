/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the files of the fake host share.
 *
 * Locking. fake_as.lock covers the list of regions, fake_object.lock what is known
 * of each page, in backing and in regions, and is taken inside it. No lock of the
 * fake host is held when it calls the core. Locks are one an object, so that the
 * thread sanitizer does not take the host's own order for the core's.
 */
#ifndef GM_FAKE_INTERNAL_H
#define GM_FAKE_INTERNAL_H

#include <pthread.h>

#include "host/fake/fake.h"

#define FAKE_PAGE GM_PAGE_SIZE
#define FAKE_POISON 0xDD
#define FAKE_FIRST_VA 0x100000000ULL
#define FAKE_MAX_YIELDS 1000000U
#define FAKE_MAX_RETRIES 1000U

/*
 * A page of an object: does it exist, is it held for devices that map it in place, and how often
 * has backing_get been called for it?
 */
#define FAKE_EXISTS 0x8000U
#define FAKE_HELD 0x4000U
#define FAKE_GETS 0x3fffU

struct fake_object {
	pthread_mutex_t lock;
	uint64_t size;
	uint64_t granule; /* FAKE_PAGE, or GM_BLOCK_SIZE for GM_OBJECT_HUGETLB */
	uint8_t *bytes;
	uint16_t *page;		     /* [lock] */
	uint64_t held;		     /* pages; written under [lock] (atomic) */
	struct fake_region *regions; /* [lock] */
};

/* A page of a region, beside GM_FAKE_MAPPED and GM_FAKE_ARMED and its protection, two bits, << 4. */
#define FAKE_GONE 1U
#define FAKE_FORGOTTEN 8U /* gm_fake_forget() */
#define FAKE_PROT_SHIFT 4
#define FAKE_READONLY 0x40U /* mapped by gm_os_cpu_map_read() */

/* Keeps the addresses it was made with; what was unmapped of it is GONE. */
struct fake_region {
	uint64_t va, len, offset;
	struct fake_object *obj;
	struct gm_region *owner;
	uint8_t *page;			 /* [obj->lock] */
	uint8_t **aperture;		 /* each page's bytes on a device, or NULL [obj->lock] */
	struct fake_region *next_of_obj; /* [obj->lock] */
	struct fake_region *next;	 /* [as->lock] */
	bool used; /* mapped, protected or split since it came; gm_os_region_unmap() [obj->lock] */
};

#define FAKE_RESERVED 16U

struct fake_as {
	pthread_mutex_t lock;
	struct fake_region *regions; /* [lock] */
	bool stopped;
	struct {
		uint64_t va, len;
	} reserved[FAKE_RESERVED]; /* gm_os_va_reserve(); len 0: free [lock] */
};

struct fake_count {
	uint64_t bytes, objects, regions, spaces, locks, lock_calls, warnings, cpu_faults,
		apertures, held;
};
extern struct fake_count fake_count; /* atomic */

struct fake_options {
	bool threaded, auto_work, memory_low, verbose, no_map_read, no_in_place;
	unsigned int tasks;
	uint64_t max_run, arm_granule, memory_total, max_held;
	int usable;
	void (*on_bug)(void);
	void (*on_lock)(enum gm_fake_event event, void *arg);
	void *on_lock_arg;
};
extern struct fake_options fake_opt; /* written while one thread runs */

#define fake_add(counter, n) __atomic_fetch_add(&fake_count.counter, n, __ATOMIC_RELAXED)
#define fake_sub(counter, n) __atomic_fetch_sub(&fake_count.counter, n, __ATOMIC_RELAXED)
#define fake_bug(what) gm_os_bug(__FILE__, __LINE__, what)
#define fake_bug_on(cond)                                                                          \
	do {                                                                                       \
		if (cond)                                                                          \
			fake_bug(#cond);                                                           \
	} while (0)

/* 0, or the error that was injected. */
int fake_fail(enum gm_fake_op op);
void fake_inject_reset(void);
void fake_wait_reset(void);
uint64_t fake_works(void);

/* I6: called where the host may sleep. */
void fake_check_may_sleep(const char *where);
/* No lock of the core is held by this thread. */
void fake_check_no_lock(const char *where);

struct fake_object *fake_object(struct gm_object *obj);
struct fake_as *fake_as(struct gm_as *as);
struct fake_region *fake_find(struct fake_as *fas, uint64_t va); /* as->lock held */

static inline uint8_t *fake_region_page(const struct fake_region *r, uint64_t va)
{
	return &r->page[(va - r->va) / FAKE_PAGE];
}

static inline uint16_t *fake_object_page(const struct fake_region *r, uint64_t va)
{
	return &r->obj->page[(va - r->va + r->offset) / FAKE_PAGE];
}

static inline uint8_t **fake_region_aperture(const struct fake_region *r, uint64_t va)
{
	return &r->aperture[(va - r->va) / FAKE_PAGE];
}

/* Let the page, or the huge page around it, exist; zero if it did not. obj->lock held. */
void fake_page_make(struct fake_object *o, uint64_t off);

#endif
