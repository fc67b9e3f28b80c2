// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What few blocks have: memories of policies and of ping-pong, devices that map what is elsewhere,
 * replicas.
 *
 * Theory. Most blocks that a device uses are moved there and stay, and need to say no more than
 * where their pages are. So the rest is in a struct of its own, that a block gets when the first of
 * it comes to be and gives back with the last (I9). It is read by functions in core.h, to which a
 * block without it is one where all of it is empty.
 *
 * No memory. Who is to map what is elsewhere must be known first, for what takes the page away goes
 * by that (I1, I3): the mapping fails, and so does making a replica. What is only remembered is
 * done without. It is as large as a resident, nearly, and comes from the same pool, so that no
 * fault needs a chunk for it alone.
 *
 * Locking. The block's lock guards all of it.
 */
#include "core/core.h"

/*
 * The block's, made if there was none; who puts nothing into it calls gm_more_trim(). NULL: no
 * memory.
 */
struct gm_more *gm_more_get(struct gm_block *block)
{
	if (block->more)
		return block->more;
	block->more = gm_pool_get(&gm_core.residents);
	if (block->more)
		*block->more = (struct gm_more){ .history = NULL };
	return block->more;
}

bool gm_more_empty(const struct gm_more *more)
{
	return !more->history && !more->pingpong && !more->readers && !more->remote &&
	       !more->nr_copies;
}

/* Something of it may have gone. */
void gm_more_trim(struct gm_block *block)
{
	if (!block->more || !gm_more_empty(block->more))
		return;
	gm_pool_put(&gm_core.residents, block->more);
	block->more = NULL;
}

/* The block goes, and nobody maps anything of it. */
void gm_more_free(struct gm_block *block)
{
	if (!block->more)
		return;
	gm_history_free(block);
	gm_pool_put(&gm_core.residents, block->more->pingpong);
	gm_pool_put(&gm_core.residents, block->more);
	block->more = NULL;
}

int gm_block_add_reader(struct gm_block *block, const struct gm_dev *dev)
{
	struct gm_more *more = gm_more_get(block);

	if (!more)
		return -ENOMEM;
	more->readers |= 1ULL << dev->index;
	return 0;
}

int gm_block_add_remote(struct gm_block *block, const struct gm_dev *dev)
{
	struct gm_more *more = gm_more_get(block);

	if (!more)
		return -ENOMEM;
	more->remote |= 1ULL << dev->index;
	return 0;
}

/* No device has a page of the block, so none reads what another has. */
void gm_block_no_readers(struct gm_block *block)
{
	if (!block->more)
		return;
	block->more->readers = 0;
	gm_more_trim(block);
}
