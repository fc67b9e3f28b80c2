/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Pages that go back and forth: pingpong.c. A party is the host, or a device. */
#ifndef GM_CORE_PINGPONG_H
#define GM_CORE_PINGPONG_H

#include "core/core.h"

#define GM_PARTY_HOST 0U
#define GM_PINGPONG_PAGES 16U /* of a piece, 64 KiB: 32 of them, a bit each */

static inline unsigned int gm_party(const struct gm_dev *dev)
{
	return dev->index + 1;
}

/* Who has a page; pages that are nowhere go to anybody without a move from the host. */
static inline unsigned int gm_party_of(uint64_t e)
{
	return gm_entry_state(e) == GM_DEV ? gm_entry_dev(e) + 1 : GM_PARTY_HOST;
}

size_t gm_pingpong_size(void);

/* See gm_pingpong_held(), gm_pingpong_clip(): of a block that has a history. */
uint64_t gm_pingpong_held_for(const struct gm_block *block, unsigned int party, unsigned int first,
			      unsigned int n, uint64_t now);
void gm_pingpong_clip_to(const struct gm_block *block, unsigned int party, unsigned int page,
			 unsigned int *first, unsigned int *n, uint64_t now);

/*
 * For how many nanoseconds from @now on a fault of @party's that needs pages [first, first+n)
 * has to wait, since another holds some of them; 0: not at all. Block locked.
 */
static inline uint64_t gm_pingpong_held(const struct gm_block *block, unsigned int party,
					unsigned int first, unsigned int n, uint64_t now)
{
	return gm_block_pingpong(block) ? gm_pingpong_held_for(block, party, first, n, now) : 0;
}

bool gm_pingpong_share(struct gm_block *block, const struct gm_dev *dev, unsigned int page,
		       uint64_t now);

/* Is it so already, and for how long it may be is not over? */
bool gm_pingpong_shares(const struct gm_block *block, unsigned int page, uint64_t now);

/* There are pieces of which it is over; they are to be unmapped. Block locked. */
bool gm_pingpong_is_over(const struct gm_block *block, uint64_t now);
void gm_pingpong_unshare(struct gm_block *block);

/* Narrow what is to move to @party for a fault on @page to what nobody else holds. Block locked. */
static inline void gm_pingpong_clip(const struct gm_block *block, unsigned int party,
				    unsigned int page, unsigned int *first, unsigned int *n,
				    uint64_t now)
{
	if (gm_block_pingpong(block))
		gm_pingpong_clip_to(block, party, page, first, n, now);
}

/* Pieces of [first, first+n) that @party has pages of: to be asked before a fault moves them. */
uint32_t gm_pingpong_with(const struct gm_block *block, unsigned int party, unsigned int first,
			  unsigned int n);

/*
 * A move that a fault is about to make, and what counts of the device with it: taken while that is
 * certain, for one whose last pages have left may be destroyed before gm_pingpong_moved() is
 * called.
 */
struct gm_pingpong_move {
	unsigned int from, to; /* parties */
	uint32_t before;       /* pieces of which @from has pages */
	uint32_t times;	       /* the device's tunables */
	uint64_t lapse, hold;
	uint64_t dev_id;
};

/*
 * Pages of [first, first+n) are about to move; @dev, which is certain, is one of the parties: the
 * one whose tunables count. Block locked.
 */
static inline void gm_pingpong_moving(struct gm_pingpong_move *move, const struct gm_block *block,
				      const struct gm_dev *dev, unsigned int from, unsigned int to,
				      unsigned int first, unsigned int n)
{
	move->from = from;
	move->to = to;
	move->times = gm_load(&dev->thrash_times);
	move->lapse = gm_load(&dev->thrash_lapse);
	move->hold = gm_load(&dev->thrash_hold);
	move->dev_id = dev->id;
	/* What the host has of a block without a history is not worth knowing. */
	move->before = gm_block_pingpong(block) || from != GM_PARTY_HOST
			       ? gm_pingpong_with(block, from, first, n)
			       : 0;
}

/*
 * A fault of @as's on @page has made the move, of [first, first+n) or less of it. @dev: the device
 * whose fault it was; NULL: it was the CPU's, and nobody holds the device for us. Block locked.
 */
void gm_pingpong_moved(const struct gm_pingpong_move *move, struct gm_block *block,
		       struct gm_as *as, struct gm_dev *dev, unsigned int page, unsigned int first,
		       unsigned int n);

#endif
