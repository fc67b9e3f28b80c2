// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * s3fifo: what is used once passes through a small part of the memory and leaves the rest alone.
 *
 * S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction",
 * SOSP 2023), by groups of 64 KiB. A group that came is in the small queue, which is to hold a
 * tenth of the device; what was used more than once there moves on to the main queue, what
 * was not leaves, and is remembered as a ghost; a ghost that comes back goes to the main queue at
 * once. In the main queue what was used is spared as often as it was used, up to three times.
 * A scan thus never pushes out what is used again and again.
 *
 * How it differs from the paper. There are no queues: a byte for each group says which it would
 * be in, how often it was used, and as a ghost since when; and two sums say how many are in
 * either. The order is the mechanism's, of blocks by their last fault, where the paper's is that
 * of insertion; from a block all groups of the queue whose turn it is are judged at once. A
 * ghost is not pushed out by others but forgotten when as many pages have come as the
 * device holds, in steps of a quarter of that, and with four bits for the step: one that is four
 * times as old is taken for a young one, if its block was no candidate meanwhile.
 * "Used" is what the mechanism tells: faults, and accessed bits when the block is a candidate; a
 * device without them is probed, as by clock.
 *
 * The byte: bits 0-1 how often it was used, 2-3 the queue, 4-7 the step in which it became a ghost.
 * It is the first of the group's 16. Without memory for it the whole block goes.
 */
#include "core/policy/group.h"

enum queue { NEW, SMALL, MAIN, GHOST };

#define USES 3U
#define STEPS_KEPT 4U /* as many quarters of the device's pages */

struct state {
	uint64_t in[4]; /* groups in each queue; NEW and GHOST are not counted */
};

static uint8_t *byte_of(struct gm_policy_block *block, unsigned int g)
{
	return &block->bytes[g * GM_GROUP_PAGES];
}

static enum queue queue_of(uint8_t b)
{
	return (enum queue)(b >> 2 & 3);
}

static unsigned int uses_of(uint8_t b)
{
	return b & 3;
}

static unsigned int step_now(const struct gm_policy_block *block)
{
	uint64_t quarter = block->frames / 4;

	return (unsigned int)(block->clock / (quarter ? quarter : 1)) & 15;
}

static void set(struct state *s, uint8_t *b, enum queue to, unsigned int uses, unsigned int step)
{
	enum queue from = queue_of(*b);

	if (from == SMALL || from == MAIN)
		s->in[from]--;
	if (to == SMALL || to == MAIN)
		s->in[to]++;
	*b = (uint8_t)(step << 4 | (unsigned int)to << 2 | uses);
}

static bool is_young(const struct gm_policy_block *block, uint8_t b)
{
	return ((step_now(block) - (b >> 4)) & 15) < STEPS_KEPT;
}

/* It is here: which queue it is in, by what is remembered of it. */
static void admit(struct state *s, struct gm_policy_block *block, unsigned int g)
{
	uint8_t *b = byte_of(block, g);
	enum queue q = queue_of(*b);

	if (q == NEW || q == GHOST)
		set(s, b, q == GHOST && is_young(block, *b) ? MAIN : SMALL, 0, 0);
}

static void count_use(uint8_t *b)
{
	if (uses_of(*b) < USES)
		++*b;
}

static void came(void *state, struct gm_policy_block *block, unsigned int first, unsigned int n,
		 enum gm_policy_why why)
{
	uint32_t groups = gm_groups_in(first, n);

	(void)why;
	if (!block->bytes) /* as long as there is room for all it is no matter */
		block->want_bytes = block->free < block->frames / 4;
	for (unsigned int g = 0; block->bytes && g < GM_GROUPS; g++)
		if (groups >> g & 1)
			admit(state, block, g);
}

static void used(void *state, struct gm_policy_block *block, const struct gm_mask *pages,
		 uint64_t times)
{
	uint32_t groups = gm_groups_of(pages);

	(void)state;
	for (unsigned int g = 0; block->bytes && g < GM_GROUPS; g++)
		for (unsigned int i = 0; (groups >> g & 1) && i < times && i < USES; i++)
			count_use(byte_of(block, g));
}

/* By another way than evict() has said: no ghost, unless nothing of the group is left for that. */
static void went(void *state, struct gm_policy_block *block, unsigned int first, unsigned int n,
		 enum gm_policy_why why)
{
	uint32_t groups = gm_groups_in(first, n) & ~gm_groups_of(&block->here);

	for (unsigned int g = 0; block->bytes && g < GM_GROUPS; g++) {
		uint8_t *b = byte_of(block, g);
		bool ghost = why == GM_POLICY_EVICT && queue_of(*b) == SMALL;

		if (groups >> g & 1)
			set(state, b, ghost ? GHOST : NEW, 0, ghost ? step_now(block) : 0);
	}
}

/* Is it this group's turn, of the queue that is judged? Then it goes, or has earned its stay. */
static bool judge(struct state *s, uint8_t *b, enum queue turn)
{
	unsigned int uses = uses_of(*b);

	if (queue_of(*b) != turn)
		return false;
	if (turn == SMALL) {
		if (uses > 1)
			set(s, b, MAIN, 0, 0);
		return uses <= 1;
	}
	if (uses)
		set(s, b, MAIN, uses - 1, 0);
	return !uses;
}

static void evict(void *state, struct gm_policy_block *block, uint64_t want, unsigned int pressure,
		  struct gm_policy_victims *victims)
{
	uint32_t here = gm_groups_of(&block->here), now = gm_groups_of(&block->used), go = 0;
	struct state *s = state;
	enum queue turn = s->in[SMALL] * GM_GROUP_PAGES * 10 > block->frames ? SMALL : MAIN;

	(void)want;
	if (!block->bytes) {
		victims->go = block->here;
		return;
	}
	for (unsigned int g = 0; g < GM_GROUPS; g++) {
		if (!(here >> g & 1))
			continue;
		admit(s, block, g);
		if (now >> g & 1)
			count_use(byte_of(block, g));
	}
	for (unsigned int g = 0; g < GM_GROUPS; g++)
		if ((here >> g & 1) && judge(s, byte_of(block, g), turn))
			go |= 1U << g;
	/* What is coldest may have none of that queue, time and again. */
	for (unsigned int g = 0; !go && pressure >= GM_PRESSURE_MAX / 4 && g < GM_GROUPS; g++)
		if ((here >> g & 1) && judge(s, byte_of(block, g), turn == SMALL ? MAIN : SMALL))
			go |= 1U << g;
	gm_groups_pages(go, &victims->go);
	if (!block->aged)
		gm_groups_pages(~go, &victims->probe);
}

const struct gm_evict_policy gm_evict_s3fifo = {
	.size = sizeof(gm_evict_s3fifo),
	.name = "s3fifo",
	.text = "groups of 64 KiB: a small queue for what is new, a main one for what is used "
		"again",
	.state_size = sizeof(struct state),
	.page_bytes = 1,
	.flags = GM_EVICT_AGE,
	.came = came,
	.used = used,
	.went = went,
	.evict = evict,
};
