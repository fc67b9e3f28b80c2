/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The fake host: core/os.h for tests, in one process, without userfaultfd.
 *
 * The CPU's page table is simulated: gm_fake_cpu_access() is the only CPU that can
 * touch managed memory, whose addresses are numbers and no pointers. Time and
 * deferred work move only when a test says so, every call that may fail can be made
 * to fail, and everything that the core takes from its host is counted until it is
 * given back. Objects with GM_OBJECT_HUGETLB have a granule of 2 MiB, without a pool to
 * run out of. A use of the host against its contract ends the test by gm_os_bug().
 */
#ifndef GM_FAKE_H
#define GM_FAKE_H

#include <stdio.h>

#include <gmem/gmem.h>

#include "core/os.h"

/* Forget all of a test: options, injections, counters. Nothing of the host may be in use. */
void gm_fake_reset(void);

/*
 * A test has only one thread unless it says otherwise. With one, waiting for what no
 * other thread can bring about is a bug, and so is retrying without an end.
 */
void gm_fake_set_threaded(bool threaded);

/* One step of a test begins: the limit on yields, a million a step, starts anew. */
void gm_fake_step(void);

/* ----------------------------------------------------------------- the CPU */

/*
 * Read or write @len bytes at @va as the CPU would, page by page; what was done
 * before the page that fails stays done. -EFAULT: not mapped; -EACCES: not writable;
 * else what gm_cpu_fault() returned.
 */
int gm_fake_cpu_access(struct gm_as *as, uint64_t va, void *buf, uint64_t len, uint32_t access);

#define GM_FAKE_PRESENT 1U   /* exists in host backing */
#define GM_FAKE_MAPPED 2U    /* the CPU reaches it without a fault */
#define GM_FAKE_ARMED 4U     /* where it does not, the core is asked */
#define GM_FAKE_APERTURE 8U  /* mapped, and on a device */
#define GM_FAKE_READONLY 16U /* mapped for reading only, by gm_os_cpu_map_read() */

/* What is at @va, without touching it: GM_FAKE_*; 0 where no region is. */
uint32_t gm_fake_page(struct gm_as *as, uint64_t va);
/* The number of faults delivered to the core. */
uint64_t gm_fake_cpu_faults(void);

/*
 * Somebody unmaps addresses behind the core's back: the CPU reaches them no longer, and
 * to the host they are free, though regions of the core's still cover them.
 */
void gm_fake_forget(struct gm_as *as, uint64_t va, uint64_t len);

/*
 * Memory of a device's that the CPU can address (gm_os_aperture_open()) is memory of this
 * process. Hold a page of it, as direct I/O would, or let it go; at most 16 are.
 */
void gm_fake_hold(const void *page, bool hold);

/* ------------------------------------------------------ freedoms of a host */

/* backing_get gives at most so many contiguous bytes; 0: any number. */
void gm_fake_set_max_run(uint64_t bytes);
/* At most so many bytes are held for devices that map them in place; 0: any number. */
void gm_fake_set_max_held(uint64_t bytes);
/* How many are. */
uint64_t gm_fake_held(void);
/* Arm whole aligned pieces of so many bytes, as a host may; 0: as asked. */
void gm_fake_set_arm_granule(uint64_t bytes);
void gm_fake_set_memory_low(bool low);
/* Pages cannot be mapped for reading only, as on an old kernel. */
void gm_fake_set_no_map_read(bool no);
/* No device can use host memory in place, as if no link were coherent. */
void gm_fake_set_no_in_place(bool no);
/* What gm_os_usable() says: 0, or why this process may not use gmem. */
void gm_fake_set_usable(int err);
void gm_fake_set_memory_total(uint64_t bytes); /* 1 GiB at first */

/* ------------------------------------------------------------------- locks */

/* Takings, tries and releases since the reset: what a test of scaling counts. */
uint64_t gm_fake_lock_calls(void);
/* How many locks this thread holds. */
unsigned int gm_fake_locks_held(void);

enum gm_fake_event {
	GM_FAKE_PICKED,	  /* a mutex was taken by trylock under a spinlock: a victim */
	GM_FAKE_UNLOCKED, /* a mutex was released */
	GM_FAKE_SPUN,	  /* a spinlock was released */
	GM_FAKE_LET_GO,	  /* the thread released its last lock, of whatever kind */
};
/* Call fn(event, arg), in the thread it happens in, after each event; NULL: no more. */
void gm_fake_on_lock(void (*fn)(enum gm_fake_event event, void *arg), void *arg);

/* ----------------------------------------------------------- deferred work */

/* Run what is scheduled, and what that schedules, once each; returns how many ran. */
unsigned int gm_fake_run_work(void);
/* Let each gm_fake_cpu_access() begin with gm_fake_run_work(). */
void gm_fake_set_auto_work(bool on);

/* How many tasks the core is told run at once, 1 at first; they are deferred work. */
void gm_fake_set_tasks(unsigned int n);

/* What a test gives to gm_sweep_start() as @host. */
struct gm_fake_job {
	uint32_t done; /* how often it was told of the end: 1 at most; atomic */
	int err;
};

/* --------------------------------------------------------------- injection */

enum gm_fake_op {
	GM_FAKE_ALLOC,
	GM_FAKE_TRYLOCK, /* fails for no reason but that another thread might have held it */
	GM_FAKE_OBJECT_CREATE,
	GM_FAKE_BACKING_GET,
	GM_FAKE_BACKING_READ,
	GM_FAKE_BACKING_WRITE,
	GM_FAKE_IN_PLACE_HOLD,
	GM_FAKE_BOUNCE_ALLOC,
	GM_FAKE_COPY_PLAIN,
	GM_FAKE_AS_CREATE,
	GM_FAKE_REGION_MAP,
	GM_FAKE_REGION_UNMAP,
	GM_FAKE_REGION_SPLIT,
	GM_FAKE_REGION_PROTECT,
	GM_FAKE_CPU_ARM,
	GM_FAKE_CPU_MAP,
	GM_FAKE_CPU_REVOKE,
	GM_FAKE_APERTURE_OPEN,
	GM_FAKE_VA_RESERVE,
	GM_FAKE_NR_OPS,
};

const char *gm_fake_op_name(enum gm_fake_op op);
/* The next @count calls of @op, after @skip more, fail with @err; count 0 undoes it. */
void gm_fake_inject(enum gm_fake_op op, uint32_t skip, uint32_t count, int err);
/* The @n-th call from now on that may fail does, whatever it is; 0 undoes it. */
void gm_fake_inject_nth(uint64_t n);
void gm_fake_inject_clear(void);
uint64_t gm_fake_injected(void);       /* failures injected since the reset */
uint64_t gm_fake_fallible_calls(void); /* calls since the reset that might have failed */

/* ----------------------------------------------------------------- tracing */

/* From now on record events of these kinds (1 << kind each), and no others; none is recorded yet. */
void gm_fake_trace(uint32_t kinds);
/* The events since, oldest first: copies the first @max, and returns how many there were. */
unsigned int gm_fake_events(struct gm_event *to, unsigned int max);

/* -------------------------------------------------------------- accounting */

struct gm_fake_usage {
	uint64_t bytes; /* of gm_os_alloc() */
	uint64_t objects, regions, spaces, locks, works, apertures;
	uint64_t warnings; /* calls of gm_os_warn() since the reset */
};
void gm_fake_usage(struct gm_fake_usage *usage);
/* Is nothing in use any more? Names what is on stderr. Call after gm_core_exit(). */
bool gm_fake_check_clean(void);

/* Print warnings, or only count them (the default). */
void gm_fake_set_verbose(bool on);
/* Called by gm_os_bug() before it aborts. */
void gm_fake_on_bug(void (*fn)(void));

#endif
