// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * rrip: by how soon pages are likely to be used again, page by page; a scan or a loop larger than
 * the memory does not push out what is used.
 *
 * Re-reference interval prediction (Jaleel, Theobald, Steely, Emer: "High performance cache
 * replacement using re-reference interval prediction", ISCA 2010) with the bimodal insertion of
 * Qureshi, Jaleel, Patt, Steely, Emer ("Adaptive insertion policies for high performance
 * caching", ISCA 2007), as a clock over blocks. Each page has a heat, from 0, its next use is
 * distant, to 7. The hand, which is the mechanism's list, comes by a block: what was used
 * since it last did is at 7, what was not loses one, and what had none to lose goes. A page
 * that comes has 0, and one of sixteen 1: it goes soon if it is not used again, before what
 * was there, and has been used again, has cooled down. So of a loop that does not fit a part stays, and
 * is hit every time, where recency alone would miss every time.
 *
 * The access that a page came for sets its accessed bit too. So the first time that the hand finds
 * a page used says nothing, and only spares it. Of a device that has no accessed bits
 * what is spared is unmapped, and if it is used a fault says so.
 *
 * Pace. Whoever asks whether anything is cold, and would else leave a page where it is
 * (GM_MOVE_IF_COLD), must not by asking often make everything look cold: the hand moves a few pages
 * a question. Who must have room is not held up.
 */
#include "core/policy.h"

#define HEAT 7U	 /* bits of a page's byte: its heat */
#define NEW 8U	 /* it came, and the hand was not there since */
#define USED 16U /* a fault said so */

#define SECOND_LOOK 16U /* one page of so many that come */
#define PACE 8U		/* pages the hand may look at, a question */
#define CREDIT_MAX (2 * GM_POLICY_PAGES)
#define COOLER 8U /* blocks passed over, until pages with one degree more may go */
#define BATCH_MIN 16U
#define BATCH_MAX 64U

struct state {
	uint32_t came, visits;
	uint32_t credit;
};

static void came(void *state, struct gm_policy_block *block, unsigned int first, unsigned int n,
		 enum gm_policy_why why)
{
	struct state *s = state;

	(void)why;
	if (!block->bytes) {
		block->want_bytes = block->free < block->frames / 8;
		return;
	}
	for (unsigned int page = first; page < first + n; page++)
		block->bytes[page] = (uint8_t)(NEW | !(s->came++ % SECOND_LOOK));
}

static void used(void *state, struct gm_policy_block *block, const struct gm_mask *pages,
		 uint64_t times)
{
	(void)state;
	(void)times;
	for (unsigned int page = 0; block->bytes && page < GM_POLICY_PAGES; page++)
		if (gm_mask_test(pages, page) && !(block->bytes[page] & NEW))
			block->bytes[page] |= USED;
}

/* May the hand go on, for somebody who can do without? */
static bool has_credit(struct state *s, unsigned int pages)
{
	s->credit = s->credit + PACE < CREDIT_MAX ? s->credit + PACE : CREDIT_MAX;
	if (s->credit < pages)
		return false;
	s->credit -= pages;
	return true;
}

/* The hand is at a page: does it go? */
static bool visit(uint8_t *byte, bool was_used, unsigned int limit, bool may_go)
{
	unsigned int b = *byte, heat = b & HEAT;

	*byte = (uint8_t)heat;
	if (was_used) {
		if (!(b & NEW))
			*byte = HEAT;
		return false;
	}
	if (heat > limit) {
		*byte = (uint8_t)(heat - 1);
		return false;
	}
	return may_go;
}

static void evict(void *state, struct gm_policy_block *block, uint64_t want, unsigned int pressure,
		  struct gm_policy_victims *victims)
{
	unsigned int here = gm_mask_count(&block->here, 0, GM_POLICY_PAGES), at, gone = 0;
	uint64_t batch = block->frames / 128;
	struct state *s = state;

	if (!pressure && !has_credit(s, here)) {
		victims->stays = 1;
		return;
	}
	if (!block->bytes) { /* no memory for them: as if nothing were known */
		victims->go = block->here;
		return;
	}
	batch = batch < BATCH_MIN ? BATCH_MIN : batch > BATCH_MAX ? BATCH_MAX : batch;
	batch = batch < want ? want : batch;
	at = s->visits++ * 61 % GM_POLICY_PAGES; /* lest the first pages always go first */
	for (unsigned int i = 0; i < GM_POLICY_PAGES; i++, at = (at + 1) % GM_POLICY_PAGES) {
		uint8_t *byte = &block->bytes[at];
		bool was_used;

		if (!gm_mask_test(&block->here, at))
			continue;
		if (!block->word) /* the first visit: all that is here came meanwhile */
			*byte |= NEW;
		was_used = gm_mask_test(&block->used, at) || *byte & USED ||
			   (!block->aged && *byte & NEW);
		if (visit(byte, was_used, pressure / COOLER,
			  gone < batch && !gm_mask_test(&block->pinned, at))) {
			gm_mask_set(&victims->go, at, 1);
			gone++;
		} else if (!block->aged) {
			gm_mask_set(&victims->probe, at, 1);
		}
	}
	block->word = 1;
}

const struct gm_evict_policy gm_evict_rrip = {
	.size = sizeof(gm_evict_rrip),
	.name = "rrip",
	.text = "pages whose next use is likely to be the most distant",
	.state_size = sizeof(struct state),
	.page_bytes = 1,
	.flags = GM_EVICT_AGE,
	.came = came,
	.used = used,
	.evict = evict,
};
