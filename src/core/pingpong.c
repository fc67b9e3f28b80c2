// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Ping-pong: pages that two parties, the host and a device or two devices, take from one
 * another again and again.
 *
 * Theory. Who touches a page has it moved to where he is, so two who touch it in turn move it
 * at every turn, and do nothing else. That is detected for each block, in pieces of 64 KiB: a
 * piece comes back if a fault of one moves it that went to the other by a fault a short time ago
 * (the lapse; what is remembered is remembered for one to two of these). Once is nothing: who
 * computes on a device and reads the result has it so. A piece that comes back again counts; so
 * many times in a row (the threshold, with no longer pause than two lapses) is ping-pong. The
 * numbers that are there by default are those of NVIDIA's UVM: 3 times, 500 microseconds.
 *
 * The cure, where the devices among the parties can use host memory in place: the next fault of one
 * on such a piece brings it home, if it is not there, and maps it where it is. All parties use it
 * there and nothing moves any more, nor does anybody wait. That is for a bounded time (256 holds
 * from the first such piece of the block on), for sides may fall out of step, and the link is
 * slower than the device's memory. Nothing watches a clock: a fault of a device on the block that
 * comes later has the pieces unmapped, and they move when they are touched again; of a device that
 * counts its uses a counted notice does, and the policy has its say. Whoever still uses them in
 * turn pays for as many moves as it took to detect it, once in this time.
 *
 * The cure for others. Whoever has got such pieces of the block holds them for a time (the hold). A
 * fault of another party that wants one of them waits until that is over: a device's is -EBUSY,
 * which devices replay, the CPU's sleeps with nothing locked, once at most. What a fault moves by a
 * guess leaves out what others hold. When the hold is over the first to come gets the pieces, and
 * holds them in turn; it was one of those who waited, for the holder has them mapped. So of two
 * parties each has its turn, and for as long as its turn lasts it works at full speed. It ends when
 * the pieces stay where they are for two lapses beyond the hold.
 *
 * The bound. A party's hold begins with a piece that comes to it when none is running, and is
 * not made longer by what comes meanwhile, lest it never end. What comes while it runs leaves when
 * it is over, so a page comes to a party once in each of its holds at most, and these do not
 * overlap: of two parties' faults, two moves in the time of a hold, and one where a single piece is
 * at issue. Before it is detected it is as many in two lapses as the threshold says, and three. The
 * machine's speed does not come into it. (A CPU's fault that has waited does not wait for a third
 * party's hold again: with three parties there may be one move more a hold and thread.)
 *
 * Where a party uses pages where they are (an aperture, a peer that is read, mode GM_REPLICATE)
 * nothing moves in the first place, and nothing is noticed here.
 *
 * Only faults count, and only faults wait: hints, pins, evictions, draining and removal
 * move what they move. So what a mask says went to a party may be elsewhere by now; therefore a
 * fault waits only for what is with the holder still.
 *
 * What it costs. A block gets its history, twice as large as a resident (more.c), when a fault
 * takes pages from a device; one that is only loaded has none. If there is no memory for it,
 * nothing is noticed. A fault of a block without it reads one pointer, one that moves nothing reads
 * it too.
 *
 * Locking. The block's lock guards all of it. Nobody waits here. What a device's fault names is
 * held by its context. A device that the CPU takes pages from is held by these alone, and
 * gm_dev_destroy() needs no block's lock once they have left; so what counts of it is taken before
 * (struct gm_pingpong_move), and what is counted at it afterwards goes by way of a context, if the
 * address space has one: under its ctx_lock a context does not leave, nor therefore its device.
 */
#include "core/pingpong.h"

#include "core/fault.h"

#define PIECE_PAGES GM_PINGPONG_PAGES
#define SHARED_HOLDS 256U

struct gm_pingpong {
	uint64_t since;	     /* the masks' younger halves began */
	uint64_t last;	     /* a piece came back again */
	uint64_t until[2];   /* what went to a party stays with it */
	uint32_t went[2][2]; /* pieces that faults moved to a party: lately, and before that */
	uint32_t came[2];    /* pieces that came back, whoever to: the same */
	uint32_t again[2];   /* ... more than once */
	uint32_t times;	     /* pieces came back again, in a row */
	uint8_t party[2];
	bool shares[2];	 /* it can use host memory in place, as was seen when it took a piece */
	uint32_t shared; /* pieces that devices use in host memory, in place */
	uint64_t shared_until; /* of all of these */
};

size_t gm_pingpong_size(void)
{
	return sizeof(struct gm_pingpong);
}

static uint32_t pieces(unsigned int first, unsigned int n)
{
	unsigned int lo = first / PIECE_PAGES, hi = (first + n - 1) / PIECE_PAGES;

	return (uint32_t)((2ULL << hi) - (1ULL << lo));
}

/* What one of the two holds now. */
static uint32_t holds(const struct gm_pingpong *p, unsigned int i, uint64_t now)
{
	if (now >= p->until[i])
		return 0;
	return (p->went[i][0] | p->went[i][1]) & (p->again[0] | p->again[1]);
}

uint32_t gm_pingpong_with(const struct gm_block *block, unsigned int party, unsigned int first,
			  unsigned int n)
{
	uint32_t mask = 0;
	unsigned int len;
	uint64_t e;

	for (unsigned int page = first; page < first + n; page += len) {
		len = gm_block_run(block, page, first + n, &e);
		if (gm_party_of(e) == party && gm_entry_state(e) != GM_NONE)
			mask |= pieces(page, len);
	}
	return mask;
}

uint64_t gm_pingpong_held_for(const struct gm_block *block, unsigned int party, unsigned int first,
			      unsigned int n, uint64_t now)
{
	const struct gm_pingpong *p = gm_block_pingpong(block);
	uint64_t wait = 0;

	for (unsigned int i = 0; i < 2; i++)
		if (p->party[i] != party && (holds(p, i, now) & pieces(first, n)) &&
		    gm_pingpong_with(block, p->party[i], first, n))
			wait = GM_MAX(wait, p->until[i] - now);
	return wait;
}

void gm_pingpong_clip_to(const struct gm_block *block, unsigned int party, unsigned int page,
			 unsigned int *first, unsigned int *n, uint64_t now)
{
	const struct gm_pingpong *p = gm_block_pingpong(block);
	uint32_t mask = 0;
	unsigned int lo = *first, hi = *first + *n;

	for (unsigned int i = 0; i < 2; i++)
		if (p->party[i] != party)
			mask |= holds(p, i, now);
	if (!(mask & pieces(lo, hi - lo)))
		return;
	if (mask & pieces(page, 1)) { /* the page itself is not with the holder, or would wait */
		*first = page;
		*n = 1;
		return;
	}
	for (unsigned int at = lo; at < hi; at++) {
		if (!(mask & pieces(at, 1)))
			continue;
		if (at < page)
			lo = at + 1;
		else
			hi = at;
	}
	*first = lo;
	*n = hi - lo;
}

/*
 * Is the piece of @page one that goes back and forth? Then @dev, whose fault it is, uses it in host
 * memory for now, if it can, and all others too: who cannot would take it away at every turn.
 */
bool gm_pingpong_share(struct gm_block *block, const struct gm_dev *dev, unsigned int page,
		       uint64_t now)
{
	uint64_t lapse = gm_load(&dev->thrash_lapse), hold = gm_load(&dev->thrash_hold);
	uint32_t threshold = gm_load(&dev->thrash_times), piece = pieces(page, 1);
	struct gm_pingpong *p = gm_block_pingpong(block);

	if (!threshold || !gm_can_use_host(dev, block->obj) || !p->shares[0] || !p->shares[1])
		return false;
	if (p->shared & piece)
		return now < p->shared_until;
	if (p->times < threshold || now - p->last > 2 * (lapse + hold) ||
	    !((p->again[0] | p->again[1]) & piece))
		return false;
	if (!p->shared)
		p->shared_until = now + SHARED_HOLDS * hold;
	p->shared |= piece;
	return now < p->shared_until;
}

bool gm_pingpong_shares(const struct gm_block *block, unsigned int page, uint64_t now)
{
	const struct gm_pingpong *p = gm_block_pingpong(block);

	return p && (p->shared & pieces(page, 1)) && now < p->shared_until;
}

/* The time in place of the block's pieces is over: nobody has them mapped there any more. */
void gm_pingpong_unshare(struct gm_block *block)
{
	struct gm_pingpong *p = gm_block_pingpong(block);

	for (unsigned int first = 0; first < GM_BLOCK_PAGES; first += PIECE_PAGES) {
		if (!(p->shared & pieces(first, 1)))
			continue;
		if (gm_unmap_in_place(block, first, PIECE_PAGES))
			return; /* the rest stays, and the next fault tries again */
		gm_mirror(block, first, PIECE_PAGES); /* those who are not here by our leave */
		p->shared &= ~pieces(first, 1);
	}
}

bool gm_pingpong_is_over(const struct gm_block *block, uint64_t now)
{
	const struct gm_pingpong *p = gm_block_pingpong(block);

	return p && p->shared && now >= p->shared_until;
}

/* Which of the two @party is; if none yet, it takes the place of whoever is not @other. */
static unsigned int place_of(struct gm_pingpong *p, unsigned int party, unsigned int other)
{
	unsigned int i;

	if (p->party[0] == party)
		return 0;
	if (p->party[1] == party)
		return 1;
	i = p->party[0] == other;
	p->party[i] = (uint8_t)party;
	p->shares[i] = party == GM_PARTY_HOST;
	p->went[i][0] = p->went[i][1] = 0;
	p->until[i] = 0;
	return i;
}

/* Forget what is old; @lapse is how long what is young stays so. */
static void age(struct gm_pingpong *p, uint64_t now, uint64_t lapse)
{
	uint64_t old = now - p->since;

	if (now - p->last > 2 * lapse)
		p->times = 0;
	if (old <= lapse)
		return;
	for (unsigned int i = 0; i < 2; i++) {
		p->went[i][1] = old <= 2 * lapse ? p->went[i][0] : 0;
		p->went[i][0] = 0;
	}
	p->came[1] = old <= 2 * lapse ? p->came[0] : 0;
	p->again[1] = old <= 2 * lapse ? p->again[0] : 0;
	p->came[0] = p->again[0] = 0;
	p->since = now;
}

/*
 * At the device that the CPU took pages from: found by an id, for it may be gone, or another in its
 * place.
 */
static void count_by_context(struct gm_as *as, uint64_t dev_id)
{
	struct gm_context *ctx;

	gm_rwlock_rdlock(&as->ctx_lock, GM_RANK_CTX);
	for (ctx = as->contexts; ctx && ctx->dev->id != dev_id; ctx = ctx->next)
		;
	if (ctx)
		gm_tally(&ctx->dev->counters, thrashes, 1);
	gm_rwlock_unlock(&as->ctx_lock, GM_RANK_CTX);
}

static void count_thrash(const struct gm_pingpong_move *move, struct gm_as *as, struct gm_dev *dev)
{
	if (dev)
		gm_tally(&dev->counters, thrashes, 1);
	else if (as)
		count_by_context(as, move->dev_id);
	if (as)
		gm_tally(&as->counters, thrashes, 1);
}

static int node_of(unsigned int party)
{
	return party == GM_PARTY_HOST ? GM_NODE_HOST : gm_core.first_hnode + (int)party - 1;
}

static void trace_thrash(const struct gm_pingpong_move *move, const struct gm_block *block,
			 struct gm_as *as, unsigned int page)
{
	struct gm_event ev = {
		.kind = GM_EVENT_THRASH,
		.why = move->to == GM_PARTY_HOST ? GM_WHY_CPU_FAULT : GM_WHY_DEV_FAULT,
		.as = as,
		.obj = block->obj,
		.offset = (block->index << GM_BLOCK_SHIFT) + ((uint64_t)page << GM_PAGE_SHIFT),
		.len = GM_PAGE_SIZE,
		.n = move->times,
		.from = node_of(move->from),
		.to = node_of(move->to),
	};

	if (gm_tracing(GM_EVENT_THRASH))
		gm_trace_end_at(&ev, gm_os_now_ns(), 0);
}

static struct gm_pingpong *begin(struct gm_block *block, unsigned int from, unsigned int to,
				 uint64_t now)
{
	struct gm_more *more = gm_more_get(block);
	struct gm_pingpong *p = more ? gm_pool_get(&gm_core.residents) : NULL;

	if (!p) {
		gm_more_trim(block);
		return NULL;
	}
	*p = (struct gm_pingpong){
		.since = now,
		.party = { (uint8_t)from, (uint8_t)to },
		.shares = { from == GM_PARTY_HOST, to == GM_PARTY_HOST },
	};
	more->pingpong = p;
	return p;
}

void gm_pingpong_moved(const struct gm_pingpong_move *move, struct gm_block *block,
		       struct gm_as *as, struct gm_dev *dev, unsigned int page, unsigned int first,
		       unsigned int n)
{
	uint32_t threshold = move->times, moved = pieces(first, n) & move->before;
	struct gm_pingpong *p = gm_block_pingpong(block);
	unsigned int mine, other, from = move->from, to = move->to;
	uint64_t now, lapse = move->lapse;
	uint32_t back, again;

	if (!threshold || from == to || !moved || (!p && from == GM_PARTY_HOST))
		return;
	now = gm_os_now_ns();
	if (!p)
		p = begin(block, from, to, now);
	if (!p)
		return;
	if (p->times >= threshold)
		lapse += move->hold;
	age(p, now, lapse);
	other = place_of(p, from, to);
	mine = place_of(p, to, from);
	if (to != GM_PARTY_HOST) /* @dev: of the other one nothing is known to be there still */
		p->shares[mine] = gm_can_use_host(dev, block->obj);
	back = (p->went[other][0] | p->went[other][1]) & moved;
	for (unsigned int i = 0; i < 2; i++)
		p->went[other][i] &= ~moved;
	p->went[mine][0] |= moved;
	again = back & (p->came[0] | p->came[1]);
	p->came[0] |= back;
	p->again[0] |= again;
	if (!again)
		return;
	p->last = now;
	p->times += p->times < UINT32_MAX;
	if (p->times < threshold)
		return;
	if (now >= p->until[mine])
		p->until[mine] = now + move->hold;
	if (p->times != threshold)
		return;
	count_thrash(move, as, dev);
	trace_thrash(move, block, as, page);
}
