/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the tests of the simulated accelerator share: the stand-in for gmem, calls that fail,
 * and a device with a context. All of it is in test_sim.c.
 */
#ifndef TEST_SIM_H
#define TEST_SIM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include <gmem/driver.h>
#include <gmem/sim.h>

#define VA ((char *)0x7f1234000000ULL)
#define PAGES 512
#define PAGE 4096ULL
#define BASE (4ULL << 30)

struct gm_fence {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int done; /* how often */
	int err;
	pthread_mutex_t *gate; /* whoever signals passes through here first, if there is one */
};

struct gm_context {
	struct gm_dev *dev;
	void *pmap;
	pthread_mutex_t lock;
	uint8_t *host; /* the bytes of VA, where a page is not on the device */
	bool on_dev[PAGES];
	int busy;     /* so many more faults meet -EBUSY */
	int readonly; /* page that may not be written, or -1 */
	unsigned int faults, largest_batch;
};

/* Wait for a fence that was signalled once. */
void fence_init(struct gm_fence *f);
int fence_wait(struct gm_fence *f);

const struct gm_mmu *mmu_of(const struct gm_dev *dev);
/* Bring page @i home; @invl false: without the invalidation, a bug. */
int page_home(struct gm_context *c, uint64_t i, bool invl);

extern int calls_left; /* until one fails that allocates or starts a thread; -1: none does */

/* What the device has told of its accesses. */
struct recorded {
	uint64_t page[64]; /* of VA */
	uint32_t access[64];
	uint32_t lines[64];
	unsigned int n;
};
extern struct recorded recorded;

/* What it has told of its counters. */
struct counted {
	uint64_t page[16], times[16];
	unsigned int n;
	bool take; /* and what has become of the page: it went, and comes with the next fault */
};
extern struct counted counted;

struct rig {
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
	struct gm_context *gm; /* behind ctx */
};

struct gm_sim_options small(uint32_t flags);
void rig_open(struct rig *r, const struct gm_sim_options *opt);
struct gm_sim_stats stats_of(struct rig *r);
void rig_close(struct rig *r);

extern const struct CMUnitTest sim_lanes_tests[], sim_engine_tests[], sim_count_tests[];
extern const size_t nr_sim_lanes_tests, nr_sim_engine_tests, nr_sim_count_tests;

#endif
