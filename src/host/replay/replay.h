/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The replay host: the core without hardware, in virtual time.
 *
 * What a program and its devices once did (a list of operations) is done again to the real
 * core, over a host and a device that have page tables and a clock, but no bytes. The clock
 * moves by what things are said to cost, so a run depends on nothing but its input: it is
 * the same on every machine, at every time. One thread, one run at a time in a process.
 *
 * Whoever replays includes this; the rest of the host is private.
 */
#ifndef GM_HOST_REPLAY_H
#define GM_HOST_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include <gmem/gmem.h>

#define GM_REPLAY_DEVS 64U	     /* at most */
#define GM_REPLAY_PAGES (1ULL << 30) /* of all objects together, at most */
#define GM_REPLAY_CPU 0U	     /* number of the host, where devices have theirs, from 1 on */

enum gm_replay_kind {
	GM_REPLAY_ACCESS,    /* device @dev accesses @n pages in order */
	GM_REPLAY_CPU_FAULT, /* the CPU accesses a page; it faulted when this was recorded */
	GM_REPLAY_PRESENT, /* the pages are in host backing when a device first comes to their block */
	GM_REPLAY_HINT,	   /* @advice, for what @dev names */
	GM_REPLAY_UNMAP, /* all pages, or a part; nobody touches them again */
};

/* @n pages from @page on of object number @object, be they of many blocks. */
struct gm_replay_op {
	uint8_t kind;
	uint8_t dev;
	uint8_t access; /* GM_READ, GM_WRITE, with or without GM_ATOMIC */
	uint8_t advice; /* enum gm_advice */
	uint8_t lines;	/* ACCESS: of 64 bytes, that it uses of each page */
	uint32_t object;
	uint32_t page, n;
};

struct gm_replay_object {
	uint64_t pages;
	uint32_t flags; /* GM_OBJECT_* */
};

struct gm_replay_trace {
	const struct gm_replay_object *objects;
	const struct gm_replay_op *ops;
	uint64_t nr_ops;
	uint32_t nr_objects, nr_devs;
	uint32_t base_page[GM_REPLAY_DEVS]; /* of each device, in pages; 0: 1 */
};

/* Bytes a second, and nanoseconds. */
struct gm_replay_costs {
	uint64_t bandwidth;	 /* of the link, in either direction, one at a time */
	uint64_t zero_bandwidth; /* of device memory that is filled with zeros */
	uint64_t latency_ns;	 /* of a copy or a fill of zeros, however many pieces it has */
	uint64_t dev_fault_ns;	 /* of a fault, beside what moves for it */
	uint64_t cpu_fault_ns;
	uint64_t invl_ns; /* of an invalidation, however many ranges it has */
};

/* What hardware of the year 2023 costs, more or less: see gmem-replay(1). */
#define GM_REPLAY_COSTS                                                                            \
	{                                                                                          \
		.bandwidth = 25000000000ULL, .zero_bandwidth = 1000000000000ULL,                   \
		.latency_ns = 1500, .dev_fault_ns = 20000, .cpu_fault_ns = 5000, .invl_ns = 2000   \
	}

struct gm_replay_options {
	struct gm_replay_costs costs;
	uint64_t memory[GM_REPLAY_DEVS]; /* of each device, in pages */
	const char *policy;		 /* see gm_replay_policy_check() */
	bool background;		 /* evict ahead of need, too */
	bool no_accessed;		 /* the devices' page tables have no accessed bits */
	bool in_place;	      /* they can use host memory in place, and count it: GM_MMU_COUNTS */
	uint32_t cpu_granule; /* as in struct gm_as_options */
	uint64_t base;	      /* physical address of their memory */
};

struct gm_replay_result {
	struct gm_stats as;    /* the address space's counters */
	struct gm_stats dev;   /* sums over the devices */
	uint64_t ns;	       /* virtual time */
	uint64_t accesses;     /* pages touched by devices */
	uint64_t remote_bytes; /* used in place in host memory, be it told to the core or not */
	uint64_t hints_failed;
	uint64_t failed_op; /* if the run failed: at which operation */
};

/*
 * Which policy a name stands for; NULL, or what is wrong with it, a static string. A name is
 * MOVE[:SIZE]/EVICT: how much to move for a fault, in granules of SIZE (4k to 2m, 64k if it is
 * not said), and whom to evict.
 */
const char *gm_replay_policy_check(const char *name);
/* The policies there are, one a call; NULL at the end. */
const char *gm_replay_policy(unsigned int i);

/* 0; -ENOMEM; -EINVAL: options; or what the operation result->failed_op failed with. */
int gm_replay_run(const struct gm_replay_trace *trace, const struct gm_replay_options *opt,
		  struct gm_replay_result *result);

#endif
