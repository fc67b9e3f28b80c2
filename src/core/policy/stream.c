// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * stream: ahead of whoever goes through memory in order, and nothing besides for others.
 *
 * Theory. A fault brings the granule around its page. Where it goes on from what another fault
 * of the context brought, forward or backward, or is as far from the one before it as that was from
 * the one before that, it belongs to a stream. Two steps of one are chance; from the third on a
 * window is brought, which doubles with each step, for the next fault is only where the window
 * ended if all of it was used. Streams are known by the page of the object, so they
 * go on from block to block with the window they have, though a window ends with its block. Up to
 * GM_STREAMS of them are followed at once, so several arrays, or lanes, do not hide one another. It
 * is the idea of Linux's readahead and of hardware prefetchers with a table of strides.
 *
 * Backing off. A stream that ends leaves a window of which nobody knows that it was used; it
 * is seen when its place in the table is wanted. And a fault in a window that was brought says
 * that it was evicted before its time. Either takes from the trust that all windows
 * of the device are bounded by; steps that are confirmed restore it.
 */
#include "core/policy/stream.h"

#define TRUST_MAX 9U   /* windows of up to 1 << this granules, and a block */
#define TRUST_BEGIN 5U /* 2 MiB, of granules of 64 KiB */
#define STEPS_FOR_TRUST 8U
#define STEPS_MAX 0xffffU
#define FAR (2ULL * GM_POLICY_PAGES) /* the longest stride */
#define KEPT 64U		     /* faults that a stream is kept longer than what is none */

static int start(void *state)
{
	((struct gm_stream_state *)state)->trust = TRUST_BEGIN;
	return 0;
}

static void distrust(struct gm_stream_state *s)
{
	s->steps = 0;
	s->trust -= s->trust > 0;
}

static bool follows(const struct gm_stream *st, uint64_t page, uint64_t granule,
		    enum gm_stream_way *way)
{
	if (page - st->hi < granule)
		*way = GM_STREAM_AHEAD;
	else if (st->lo - 1 - page < granule)
		*way = GM_STREAM_BACK;
	else if (st->stride && page == st->next)
		*way = GM_STREAM_STRIDE;
	else
		return false;
	return true;
}

/* What the table has to say of a fault: the streams of its context and object, looked at once. */
struct found {
	struct gm_stream *again; /* the same fault once more: the mechanism was in somebody's way */
	struct gm_stream *follows; /* the stream that goes on with the page, in this way */
	enum gm_stream_way way;
	struct gm_stream *latest; /* whose last fault was near */
	bool ahead;		  /* some have brought the page ahead */
	struct gm_stream *oldest; /* of all: that nobody came by for longest */
};

/* Once for each fault, and of memory used in no order nothing is to be foreseen: few branches. */
static void find(struct gm_stream_state *s, const struct gm_policy_fault *fault, uint64_t object,
		 uint64_t page, struct found *found)
{
	uint64_t when = 0, until = UINT64_MAX;

	*found = (struct found){ .again = NULL };
	for (unsigned int i = 0; i < GM_STREAMS; i++) {
		struct gm_stream *st = &s->stream[i];
		uint64_t kept = st->at + (st->steps > 1 ? KEPT : 0), near;

		found->oldest = kept < until ? st : found->oldest;
		until = kept < until ? kept : until;
		if (st->object != object || st->ctx != fault->ctx)
			continue;
		if (st->last == page) {
			found->again = st;
			return;
		}
		if (!found->follows && follows(st, page, fault->granule, &found->way))
			found->follows = st;
		near = page - st->last + FAR <= 2 * FAR ? st->at : 0;
		found->latest = near > when ? st : found->latest;
		when = near > when ? near : when;
		found->ahead |= (st->window > 1) & (page - st->lo < st->hi - st->lo);
	}
}

/* What was brought ahead is not there any more, and was wanted only now. */
static void came_too_early(struct gm_stream_state *s, const struct gm_policy_fault *fault,
			   uint64_t object, uint64_t page)
{
	for (unsigned int i = 0; i < GM_STREAMS; i++) {
		struct gm_stream *st = &s->stream[i];

		if (st->object != object || st->ctx != fault->ctx || st->window < 2 ||
		    page < st->lo || page >= st->hi)
			continue;
		st->window = 1;
		distrust(s);
	}
}

/* One step more. */
static void step(struct gm_stream_state *s, struct gm_stream *st, enum gm_stream_way way)
{
	unsigned int window;

	if (st->steps && st->way != way) /* it turned */
		st->steps = 0;
	if (st->steps < STEPS_MAX)
		st->steps++;
	if (way == GM_STREAM_STRIDE && st->steps < 2) /* the same distance was seen twice by now */
		st->steps = 2;
	st->way = (uint8_t)way;
	/* A window was used; or would have been, where there is no trust left for any. */
	if ((st->window > 1 || (!s->trust && st->steps > 2)) && ++s->steps >= STEPS_FOR_TRUST) {
		s->steps = 0;
		s->trust += s->trust < TRUST_MAX;
	}
	window = st->steps < 2 ? 1 : 2U * st->window;
	st->window = (uint16_t)(window < 1U << s->trust ? window : 1U << s->trust);
}

/* The window, as far as the block goes: in pages of the block. */
static void reach(struct gm_stream *st, const struct gm_policy_fault *fault,
		  struct gm_policy_move *move, uint64_t base)
{
	unsigned int granule = fault->granule, window = st->window * granule;
	unsigned int first = fault->page & ~(granule - 1);

	move->first = first;
	move->n = granule;
	if (st->way == GM_STREAM_AHEAD) {
		move->n = window < GM_POLICY_PAGES - first ? window : GM_POLICY_PAGES - first;
	} else if (st->way == GM_STREAM_BACK) {
		unsigned int end = first + granule;

		move->first = window < end ? end - window : 0;
		move->n = end - move->first;
	} else {
		int64_t at = (int64_t)fault->page;

		/*
		 * Pieces that hold the page where it is in the granule, so that the last fits too.
		 */
		move->first = fault->page;
		move->n = GM_POLICY_PAGES - fault->page < granule ? GM_POLICY_PAGES - fault->page
								  : granule;
		move->stride = st->stride;
		for (at += st->stride;
		     move->more + 1 < st->window && at >= 0 && at < (int64_t)GM_POLICY_PAGES;
		     at += st->stride)
			move->more++;
		st->next = (uint64_t)((int64_t)(base + fault->page) +
				      st->stride * (int64_t)(move->more + 1));
	}
	st->lo = base + move->first;
	st->hi = base + move->first + move->n;
}

static void fault(void *state, struct gm_policy_block *block, const struct gm_policy_fault *fault,
		  struct gm_policy_move *move)
{
	uint64_t base = block->index * GM_POLICY_PAGES, page = base + fault->page;
	struct gm_stream_state *s = state;
	struct gm_stream *st;
	struct found found;

	s->faults++;
	find(s, fault, block->object, page, &found);
	if (found.again) {
		reach(found.again, fault, move, base);
		return;
	}
	st = found.follows;
	if (st) {
		step(s, st, found.way);
	} else {
		int64_t stride = found.latest ? (int64_t)(page - found.latest->last) : 0;

		if (found.ahead)
			came_too_early(s, fault, block->object, page);
		st = found.oldest;
		if (st->window > 1)
			distrust(s);
		*st = (struct gm_stream){ .ctx = fault->ctx,
					  .object = block->object,
					  .stride = (int16_t)stride,
					  .next = (uint64_t)((int64_t)page + stride),
					  .window = 1 };
	}
	st->last = page;
	st->at = s->faults;
	reach(st, fault, move, base);
}

const struct gm_move_policy gm_move_stream = {
	.size = sizeof(gm_move_stream),
	.name = "stream",
	.text = "the granule; ahead of streams and strides a window that doubles",
	.state_size = sizeof(struct gm_stream_state),
	.start = start,
	.fault = fault,
};
