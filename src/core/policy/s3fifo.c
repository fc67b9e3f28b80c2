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
 * What a device uses is seen by faults, and by accessed bits, or a probe, when the block is a
 * candidate; both say no more than "used since", and the use for which a group came is none. So in
 * the small queue a group is looked at twice: the first time begins the count.
 *
 * The byte: bits 0-1 how often it was used, 2-3 the queue; 4-7 of a ghost the step in which it
 * became one, of one in the small queue 1: it was looked at. It is the first of the group's 16.
 * The word: not 0 from what a fault brought to the use for which it came. Without memory for
 * the bytes the whole block goes.
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
		set(s, b, q == GHOST && is_young(block, *b) ? MAIN : SMALL, uses_of(*b), 0);
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

	block->word = why == GM_POLICY_FAULT;
	block->want_bytes = 1; /* from the first use on, not from the first eviction */
	for (unsigned int g = 0; block->bytes && g < GM_GROUPS; g++)
		if (groups >> g & 1)
			admit(state, block, g);
}

static void used(void *state, struct gm_policy_block *block, const struct gm_mask *pages,
		 uint64_t times)
{
	uint32_t groups = block->word ? 0 : gm_groups_of(pages);

	(void)state;
	block->word = 0;
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

static bool looked_at(uint8_t b)
{
	return b >> 4;
}

/* Is it this group's turn, of the queue that is judged? Then it goes, or has earned its stay. */
static bool judge(struct state *s, uint8_t *b, enum queue turn, bool hurry)
{
	unsigned int uses = uses_of(*b);

	if (queue_of(*b) != turn)
		return false;
	if (turn == SMALL) {
		if (uses > 1 || (uses && looked_at(*b)))
			set(s, b, MAIN, 0, 0);
		else if (!looked_at(*b) && !hurry)
			set(s, b, SMALL, 0, 1);
		else
			return true;
		return false;
	}
	if (uses)
		set(s, b, MAIN, uses - 1, 0);
	return !uses;
}

static uint32_t judge_all(struct state *s, struct gm_policy_block *block, uint32_t here,
			  enum queue turn, bool hurry)
{
	uint32_t go = 0;

	for (unsigned int g = 0; g < GM_GROUPS; g++)
		if ((here >> g & 1) && judge(s, byte_of(block, g), turn, hurry))
			go |= 1U << g;
	return go;
}

static void evict(void *state, struct gm_policy_block *block, uint64_t want, unsigned int pressure,
		  struct gm_policy_victims *victims)
{
	uint32_t here = gm_groups_of(&block->here), now = gm_groups_of(&block->used), go;
	struct state *s = state;
	bool hurry = pressure >= GM_PRESSURE_MAX / 4;
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
		if ((now >> g & 1) &&
		    (queue_of(*byte_of(block, g)) == MAIN || looked_at(*byte_of(block, g))))
			count_use(byte_of(block, g));
	}
	go = judge_all(s, block, here, turn, hurry);
	/* What is coldest may have none of that queue, time and again. */
	if (!go && hurry)
		go = judge_all(s, block, here, turn == SMALL ? MAIN : SMALL, hurry);
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
