// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Access counters: how much lanes use of host memory that is mapped in place (GM_SIM_COUNTERS).
 *
 * A page's counter counts lines of 64 bytes, for that is what goes over the link; a line that a lane
 * uses several times in a row goes there once. When a counter has reached GM_SIM_TELL lines the
 * driver hands it on to gmem, and it begins anew. Counting comes before the access: gmem may take
 * the page to the device for it, and then it is made there.
 *
 * A table by page, with open addressing, half full at most; what has no place in it for want of
 * memory is not counted. What another device has and this one reads there is counted too, and is
 * nothing to gmem.
 *
 * Locking. sim->count_lock guards the tables of all contexts. gmem is called without it.
 */
#include <stdlib.h>

#include "sim_dev.h"

#define SLOTS_MIN 64U

static struct gm_sim_slot *find(struct gm_sim_counts *c, uint64_t page)
{
	uint64_t at = page * 0x9e3779b97f4a7c15ULL >> 32;

	while (c->slot[at % c->size].key && c->slot[at % c->size].key != page + 1)
		at++;
	return &c->slot[at % c->size];
}

/* See to it that one more page has room. */
static bool make_room(struct gm_sim_counts *c)
{
	struct gm_sim_counts old = *c;

	if (2 * (old.used + 1) <= old.size)
		return true;
	c->size = old.size ? 2 * old.size : SLOTS_MIN;
	c->slot = calloc(c->size, sizeof(*c->slot));
	if (!c->slot) {
		*c = old;
		return false;
	}
	for (uint64_t i = 0; i < old.size; i++)
		if (old.slot[i].key)
			*find(c, old.slot[i].key - 1) = old.slot[i];
	free(old.slot);
	return true;
}

/* The page has had a line more; how many there are to be told of. */
static uint32_t count(struct gm_sim_counts *c, uint64_t page)
{
	struct gm_sim_slot *slot;
	uint32_t lines;

	if (!make_room(c))
		return 0;
	slot = find(c, page);
	c->used += !slot->key;
	slot->key = page + 1;
	if (++slot->lines < GM_SIM_TELL)
		return 0;
	lines = slot->lines;
	slot->lines = 0;
	return lines;
}

/* The lane is about to use the line at @va in place, or a part of it. It holds no lock. */
void gm_sim_count_line(struct gm_sim_lane *lane, uint64_t va)
{
	uint32_t lines;

	if (lane->counted_line == va / GM_SIM_LINE)
		return;
	lane->counted_line = va / GM_SIM_LINE;
	pthread_mutex_lock(&lane->sim->count_lock);
	lines = count(&lane->ctx->counts, va / GM_SIM_4K);
	pthread_mutex_unlock(&lane->sim->count_lock);
	if (lines) /* a hint: what gmem makes of it is its affair */
		gm_dev_accessed(lane->ctx->gm, va & ~(GM_SIM_4K - 1), GM_SIM_4K, lines);
}
