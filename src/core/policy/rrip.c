// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * rrip: by how soon pages are likely to be used again, page by page; a scan or a loop larger than
 * the memory does not push out what is used.
 *
 * Re-reference interval prediction (Jaleel, Theobald, Steely, Emer: "High performance cache
 * replacement using re-reference interval prediction", ISCA 2010), as a clock over blocks. Each
 * page has a heat. When the hand comes by a block, what was used since it last did is as hot as
 * can be, and what was not is one degree colder; then what has none left goes, in batches, for
 * as long as the block has such. The hand is the mechanism's list, and moves one page for each
 * that comes: else the harder memory is sought the sooner everything would look cold.
 *
 * What is used in place in host memory and would come if something were cold
 * (gm_policy_move.modest) moves the hand too, or nothing would cool; by as much for a page's worth
 * of use as for a page.
 *
 * Where all that the hand has come by is in use, what came last goes first, having been used
 * once, but for one page of four (bimodal insertion: Qureshi, Jaleel, Patt, Steely, Emer: "Adaptive
 * insertion policies for high performance caching", ISCA 2007). So of a loop that does not fit a
 * part stays, and is hit every time around, where recency would miss all of it every time.
 *
 * The access that a page came for sets its accessed bit too. So the first time that the hand finds
 * a page it is only noted that it may go the next. Of a device that has no accessed bits all of
 * the block is unmapped when the hand is at it, and a fault says what is used.
 */
#include "core/policy.h"

#define HEAT 7U	 /* bits of a page's byte: its heat */
#define NEW 8U	 /* it came, and the hand was not there since */
#define USED 16U /* since then */

#define HOT 7U
#define SECOND_LOOK 4U /* one page of so many that come */
#define PACE 8U	       /* pages the hand may look at, a question */
#define MODEST_PACE 1U /* of a modest one: an eighth of a page was used in place */
#define CREDIT_MAX (2 * GM_POLICY_PAGES)
#define COOLER 8U /* blocks passed over, until pages with one degree more may go */
#define BATCH_MIN 16U
#define BATCH_MAX 64U

/* Bits of a block's word. */
#define SEEN 1U	  /* its bytes say something */
#define LOOKED 2U /* the hand is at it */

struct state {
	uint32_t came, visits;
	uint32_t credit; /* pages that the hand may look at */
};

static void earn(struct state *s, unsigned int pages)
{
	s->credit = s->credit + pages < CREDIT_MAX ? s->credit + pages : CREDIT_MAX;
}

static void came(void *state, struct gm_policy_block *block, unsigned int first, unsigned int n,
		 enum gm_policy_why why)
{
	struct state *s = state;

	(void)why;
	earn(s, n);
	if (!block->bytes) {
		block->want_bytes = block->free < block->frames / 8;
		return;
	}
	for (unsigned int page = first; page < first + n; page++)
		block->bytes[page] = (uint8_t)(NEW | !(s->came++ % SECOND_LOOK));
}

static void note(struct gm_policy_block *block, const struct gm_mask *pages)
{
	for (unsigned int w = 0; w < GM_POLICY_WORDS; w++)
		for (uint64_t bits = pages->word[w]; bits; bits &= bits - 1)
			block->bytes[64 * w + gm_ctz(bits)] |= USED;
}

static void used(void *state, struct gm_policy_block *block, const struct gm_mask *pages,
		 uint64_t times)
{
	(void)state;
	(void)times;
	if (block->bytes)
		note(block, pages);
}

/* The hand comes by: what was used again is hot, all else is one degree colder. */
static void look(const struct gm_policy_block *block)
{
	for (unsigned int page = 0; page < GM_POLICY_PAGES; page++) {
		unsigned int b = block->bytes[page], heat = b & HEAT;

		if (b & NEW)
			heat++; /* spared this once */
		else if (b & USED)
			heat = HOT;
		else if (heat)
			heat--;
		block->bytes[page] = (uint8_t)heat;
	}
}

/* Of the pages that may go up to @batch whose byte is from @least to @limit. */
static unsigned int choose(struct state *s, const struct gm_policy_block *block, unsigned int least,
			   unsigned int limit, uint64_t batch, struct gm_mask *go)
{
	unsigned int at = s->visits++ * 61 % GM_POLICY_PAGES; /* lest the first always go first */
	unsigned int n = 0;

	for (unsigned int i = 0; i < GM_POLICY_PAGES && n < batch; i++) {
		if (block->bytes[at] <= limit && block->bytes[at] >= least &&
		    gm_mask_test(&block->here, at) && !gm_mask_test(&block->pinned, at)) {
			gm_mask_set(go, at, 1);
			n++;
		}
		at = (at + 1) % GM_POLICY_PAGES;
	}
	return n;
}

static void evict(void *state, struct gm_policy_block *block, uint64_t want, unsigned int pressure,
		  struct gm_policy_victims *victims)
{
	uint64_t batch = block->frames / 128;
	struct state *s = state;

	if (!block->bytes) { /* no memory for them: as if nothing were known */
		victims->go = block->here;
		return;
	}
	batch = batch < BATCH_MIN ? BATCH_MIN : batch > BATCH_MAX ? BATCH_MAX : batch;
	batch = batch < want ? want : batch;
	if (!(block->word & SEEN)) { /* all that is here came meanwhile */
		for (unsigned int page = 0; page < GM_POLICY_PAGES; page++)
			block->bytes[page] |= NEW;
		block->word = SEEN;
	}
	note(block, &block->used);
	if (block->hottest) {
		victims->stays = 1;
		choose(s, block, NEW | USED, NEW | USED, batch, &victims->go);
		return;
	}
	if (!(block->word & LOOKED)) {
		unsigned int here = gm_mask_count(&block->here, 0, GM_POLICY_PAGES);

		earn(s, block->modest ? MODEST_PACE : PACE);
		if (!pressure && s->credit < here) {
			victims->stays = victims->hottest = 1;
			return;
		}
		s->credit -= here < s->credit ? here : s->credit;
		look(block);
		block->word |= LOOKED;
		if (!block->aged)
			victims->probe = block->here;
	}
	victims->stays = choose(s, block, 0, pressure / COOLER, batch, &victims->go) > 0;
	if (!victims->stays) {
		block->word &= ~LOOKED;
		victims->hottest = !pressure;
	}
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
