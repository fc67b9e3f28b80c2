/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Paging by single pages: what a trace costs with policies that are not gmem's, for
 * comparison.
 *
 * A device of so many frames gets a page when it touches it, and no other; where all frames are
 * taken a policy says which page goes. Belady's optimum is one such policy, which knows what
 * comes, and the bound for what moves on demand; the others are textbook policies, and
 * the best of them is a hint at what a policy that does not know could do.
 *
 * The accounting is gmem's own. A page that comes is copied in, unless it has no bytes yet: then
 * it is zeroed, and nothing is copied. A page that goes is copied out, be it for want of room
 * or because the CPU or another device wants it; one whose bytes are dropped is not. What is on
 * a device in the end stays there. The CPU takes home its granule, as it does with gmem: the
 * trace does not tell what else of it the CPU would have touched. Hints that move to a
 * device are passed over.
 */
#ifndef GMEM_TOOL_PAGING_H
#define GMEM_TOOL_PAGING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/replay/replay.h"

/* A step that is no touch of device 1, 2, ...: what the page does. */
#define PAGING_HOME 0U	  /* the CPU wants it; it has bytes from now on */
#define PAGING_ALONG 253U /* the same, with what went before it */
#define PAGING_DROP 254U  /* its bytes are gone */
#define PAGING_FILL 255U  /* it has bytes, on the host */

#define PAGING_NEVER UINT32_MAX		/* is it touched again while it stays */
#define PAGING_DROPPED (UINT32_MAX - 1) /* alike, and then it need not be copied out */
#define PAGING_NONE UINT32_MAX		/* no page */

/* A trace, page by page. Pages that devices touch are numbered from 0 on. */
struct paging {
	uint64_t nr_steps; /* below PAGING_DROPPED */
	uint32_t *page;	   /* of each step */
	uint8_t *what;	   /* device, or PAGING_* */
	uint32_t *next;	   /* of each touch: the device's next of the same page, or PAGING_* */
	uint32_t nr_pages;
	uint32_t nr_devs;
	uint32_t touched[GM_REPLAY_DEVS]; /* by each device: how many pages */
	uint64_t touches;
};

/* 0, -ENOMEM, or -EFBIG: more steps than can be numbered. @cpu_granule: in pages. */
int paging_build(const struct gm_replay_trace *trace, uint32_t cpu_granule, struct paging *p);
void paging_release(struct paging *p);

/* A policy of one device. */
struct paging_policy {
	const char *name, *text;
	void *(*create)(const struct paging *p, uint32_t frames); /* NULL: no memory */
	void (*destroy)(void *state);
	/* At step @now the device touches a page that it has. */
	void (*hit)(void *state, uint32_t page, uint32_t now);
	/* ... or has not: it comes; which goes for it, or PAGING_NONE if there is room. */
	uint32_t (*miss)(void *state, uint32_t page, uint32_t now);
	/* It has left by itself. */
	void (*leave)(void *state, uint32_t page);
};

extern const struct paging_policy paging_optimum;
extern const struct paging_policy paging_lru, paging_mru, paging_lfu, paging_random, paging_arc,
	paging_s3fifo;
extern const struct paging_policy *const paging_policies[]; /* all but the optimum; NULL */

struct paging_result {
	uint64_t misses;
	uint64_t in, zeroed;   /* misses that were copied, or were not */
	uint64_t out, evicted; /* pages copied out; of these, for want of room */
	uint64_t homes;	       /* how often the CPU wanted pages that were there */
};

/* @frames of each device, 1 at least. 0 or -ENOMEM. */
int paging_run(const struct paging *p, const uint64_t *frames, const struct paging_policy *policy,
	       struct paging_result *result);

/* How long that takes if everything is done one page at a time. */
uint64_t paging_ns(const struct paging_result *result, const struct gm_replay_costs *costs);

#endif
