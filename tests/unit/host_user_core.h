/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A core just big enough to exercise the linux-user host alone: address spaces of a
 * few regions, and a "device" that is an array of pages taken out of host backing.
 * The real core decides what is armed, mapped and revoked; here a test does.
 */
#ifndef TESTS_HOST_USER_CORE_H
#define TESTS_HOST_USER_CORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <gmem/gmem.h>

#include "core/os.h"
#include "process.h"

#define PAGE 4096ULL
#define BLOCK (2ULL << 20)
#define TC_REGIONS 4
#define TC_PAGES 64

struct gm_object {
	void *host;
	uint64_t size;
	uint32_t flags;
};

struct gm_as {
	void *host;
	struct gm_region *regions[TC_REGIONS];
};

/* What the fake core counts, and what it is told to do; faults change it in other threads and in handlers. */
struct tc {
	_Atomic volatile unsigned int faults; /* gm_cpu_fault() calls */
	_Atomic volatile uint32_t last_access;
	_Atomic volatile uint64_t last_va;
	_Atomic volatile int fail;     /* not 0: a page on the device cannot come home */
	_Atomic volatile bool no_page; /* a page that is nowhere is not made before it is mapped */
	struct gm_as *held;	       /* faults of this one wait ... */
	uint32_t waiting;	       /* ... and this many do or did ... */
	uint32_t let_go;	       /* ... until this is 1 */
	uint64_t hold_until;	       /* until then faults that can wait do, atomic ... */
	uint64_t hold_below;	       /* ... below this address */
	unsigned int advised, copied, queried;
	bool hold;		/* a job ends when it is cancelled ... */
	int job_err;		/* ... else at once, so */
	int refuse;		/* not 0: none begins */
	uint64_t retained;	/* what gm_retained_bytes() says */
	unsigned int low_calls; /* of gm_memory_low() */
};
extern struct tc tc;

/* What the host asks of the core beside os.h. */
int gm_options_copy(void *to, size_t size, const void *from, size_t from_size);

/* An address space, an object mapped into it; released by the tc_*_free() functions. */
struct gm_as *tc_as(uint32_t flags);
void tc_as_free(struct gm_as *as);
struct gm_object *tc_object(uint64_t size, uint32_t flags);
void tc_object_free(struct gm_object *obj);
/* What an address that the host chooses is aligned to, if it is of less than a block. */
extern uint64_t tc_align;
struct gm_region *tc_map(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len);
/* The core knows of a region that a test has mapped by itself; tc_unmap() ends it. */
void tc_add(struct gm_region *r);
void tc_unmap(struct gm_region *r);

/* An address space with one object of four blocks mapped; nothing counted yet, nothing told. */
struct tc_bench {
	struct gm_as *as;
	struct gm_object *obj;
	struct gm_region *r;
	uint64_t va;
};
struct tc_bench tc_set_up(uint32_t flags);
void tc_tear_down(struct tc_bench *b);

/* Move the page at @va to the device: arm its block, revoke, copy out, free the frame. */
void tc_to_dev(struct gm_region *r, uint64_t va);

/* As the core that has a block locked: no fault is serviced meanwhile. */
void tc_lock(void);
void tc_unlock(void);

static inline volatile uint64_t *tc_word(uint64_t va)
{
	return (volatile uint64_t *)(uintptr_t)va;
}

#endif
