/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A toy driver, for what the simulated accelerator cannot show: a table without the
 * optional operations, or with few page sizes, and the order in which the core calls
 * a driver. Its page table is an array, it has no TLB but a count of what should have
 * been invalidated, and its memory is an array too.
 */
#ifndef TOY_H
#define TOY_H

#include <gmem/driver.h>

#define TOY_PTES 16384

struct toy_pte {
	uint64_t va, pa, leaf;
	uint32_t prot;
	bool valid, stale; /* stale: released, and not invalidated yet */
};

struct toy {
	struct gm_mmu mmu; /* a copy, to be changed before toy_plug() */
	struct gm_dev *dev;
	uint8_t *memory;
	uint64_t base, size;
	unsigned int enters, releases, protects, invls, coalesced, copies, zeros;
};

struct toy_pmap {
	struct toy *toy;
	struct toy_pte pte[TOY_PTES];
	unsigned int nr;
};

void toy_init(struct toy *toy, uint64_t blocks);
int toy_plug(struct toy *toy);
int toy_unplug(struct toy *toy);
/* One access of up to a page's rest, faulting as often as it takes. */
int toy_access(struct gm_context *ctx, uint64_t va, void *buf, uint64_t len, uint32_t access);
/* The leaf that maps va, or NULL. */
struct toy_pte *toy_find(struct gm_context *ctx, uint64_t va);

#endif
