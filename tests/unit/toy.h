/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A toy driver, for what the simulated accelerator cannot show: a table without the
 * optional operations, or with few page sizes, and the order in which the core calls
 * a driver. Its page table is an array, it has no TLB but a note of what should have
 * been invalidated, and its memory is an array too.
 *
 * It is strict: what the core asks for against the contract is refused (-EINVAL), and
 * toy_unplug() fails the test. Several threads may use it, and its hook may keep an
 * operation up for as long as it likes.
 */
#ifndef TOY_H
#define TOY_H

#include <pthread.h>

#include <gmem/driver.h>

#define TOY_PTES 16384

struct toy_pte {
	uint64_t va, pa, leaf;
	uint32_t prot;
	bool valid, stale; /* stale: released, and not invalidated yet */
};

struct toy {
	struct gm_mmu mmu; /* a copy, to be changed before toy_plug() */
	/* Called before a copy; what it returns, if not 0, is the copy's error. */
	int (*on_copy)(struct toy *toy, enum gm_copy_dir dir);
	void *arg; /* on_copy's own */
	struct gm_dev *dev;
	uint8_t *memory;
	uint64_t base, size;
	bool hollow; /* it has no bytes, for what is large; not to be accessed */
	/* The fail_at-th call of an operation that may fail does, with -EIO; 0: none. Counted down. */
	unsigned int fail_at;
	pthread_mutex_t lock; /* over the list of pmaps, fail_at */
	struct toy_pmap *pmaps;
	bool strict;	       /* what is copied or filled must not be mapped */
	uint64_t bad, bad_end; /* memory that cannot be read any more */
	bool removed;	       /* gm_dev_remove() has returned 0: nothing works on a pmap; atomic */
	/* All atomic. */
	unsigned int enters, entered, releases, released, /* calls, leaves */
		protects, invls, coalesced, ranges, copies, zeros;
	unsigned int broken; /* calls against the contract */
};

struct toy_pmap {
	struct toy *toy;
	struct toy_pmap *next;
	pthread_mutex_t lock; /* over what follows, and accesses by way of it */
	struct toy_pte pte[TOY_PTES];
	unsigned int nr;
};

void toy_init(struct toy *toy, uint64_t blocks);
int toy_plug(struct toy *toy);
int toy_unplug(struct toy *toy);
/* One access of up to a page's rest; -EAGAIN if the page is taken away again and again. */
int toy_access(struct gm_context *ctx, uint64_t va, void *buf, uint64_t len, uint32_t access);
/* The leaf that maps va, or NULL. Not while other threads are at work. */
struct toy_pte *toy_find(struct gm_context *ctx, uint64_t va);
/* How many leaves map anything of [begin, end) of the device's memory. */
unsigned int toy_leaves(struct gm_context *ctx, uint64_t begin, uint64_t end);

#endif
