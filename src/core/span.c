// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Leaves larger than a block.
 *
 * Theory. Whoever maps a block holds its lock and no other's, so which leaf larger than a
 * block may be there cannot follow from blocks' entries, as it does for smaller ones
 * (leaf.c). A context therefore has a bit for each block that is mapped whole: one contiguous
 * piece of the device's memory, all of it in one view. Bits are kept in spans. A span is 1 GiB
 * of the device's addresses, aligned, and where in its memory the first byte of it would be;
 * bit i says that block i is mapped where that makes it lie. Blocks that lie otherwise are in
 * another span of the same addresses. Which leaves there are follows from the bits: block i is
 * mapped by the largest leaf that is aligned in address and memory, lies in the view, crosses no
 * cut, and has all its bits set. Nothing else is remembered.
 *
 * A bit is set when its block is entered, and what is entered is the leaf that fits then. It
 * takes the place of smaller ones that map the same memory, without the locks of their blocks:
 * a block does not move, nor does its protection change, before its bit is cleared. The bit is
 * cleared before anything of the block is released; if the leaf is larger than the block all
 * of it is released and invalidated, and the rest entered again, in leaves as large as the
 * bits that are left allow.
 *
 * What is mapped is always a part of what the bits say, never more. So a leaf that could not be
 * entered needs no undoing (the device faults, and it is tried again), an error between
 * release and invalidation leaves the bit, and there may be more room in the view than
 * there was when a leaf was entered. Without memory for a span the block is mapped alone.
 *
 * A cut is an address that a view is about to end at (gm_leaf_cut()). Only one view of a context
 * is being cut at a time, under as->lock for writing; that the last cut is remembered for
 * longer costs a larger leaf, until the next.
 *
 * Only devices with leaves larger than a block have any of this, and only for blocks that lie
 * as such a leaf would need it; all others pay for two comparisons.
 *
 * Locking. gm_spans.lock, a mutex of the context, under the block's lock and whatever else
 * is held there; the driver is called under it. It is taken for whole blocks only.
 */
#include "core/span.h"

#define SPAN_SIZE (1ULL << 30)
#define SPAN_BLOCKS 512U
#define BUCKETS 256U

struct gm_span {
	uint64_t va;   /* the device's, of the first block */
	uint64_t base; /* where that lies, or would: modulo 2^64 */
	uint64_t bits[SPAN_BLOCKS / 64];
	uint32_t nr; /* bits that are set */
	struct gm_span *next;
};

struct gm_spans {
	struct gm_mutex lock;
	uint64_t sizes;	     /* leaves larger than a block, a bit each (c) */
	uint64_t least;	     /* of these (c) */
	uint64_t block_leaf; /* the largest that is not (c) */
	struct gm_span *bucket[BUCKETS];
};

size_t gm_span_size(void)
{
	return sizeof(struct gm_span);
}

int gm_spans_new(const struct gm_dev *dev, struct gm_spans **out)
{
	uint64_t small = dev->mmu->pgsize_bitmap & (2 * GM_BLOCK_SIZE - 1);
	uint64_t sizes = dev->mmu->pgsize_bitmap & ~(2 * GM_BLOCK_SIZE - 1);
	struct gm_spans *spans;

	*out = NULL;
	if (!sizes)
		return 0;
	spans = gm_os_alloc(sizeof(*spans));
	if (!spans)
		return -ENOMEM;
	gm_mutex_init(&spans->lock);
	spans->sizes = sizes;
	spans->least = 1ULL << gm_ctz(sizes);
	spans->block_leaf = 1ULL << gm_log2(small);
	*out = spans;
	return 0;
}

/* Nobody uses the pmap any more. */
void gm_spans_free(struct gm_spans *spans)
{
	if (!spans)
		return;
	for (unsigned int i = 0; i < BUCKETS; i++) {
		while (spans->bucket[i]) {
			struct gm_span *span = spans->bucket[i];

			spans->bucket[i] = span->next;
			gm_pool_put(&gm_core.spans, span);
		}
	}
	gm_mutex_destroy(&spans->lock);
	gm_os_free(spans, sizeof(*spans));
}

bool gm_span_may(const struct gm_spans *spans, uint64_t dva, uint64_t pa)
{
	return spans && gm_aligned(dva - pa, spans->least);
}

/* ---------------------------------------------------------------------------- spans */

static struct gm_span **bucket_of(struct gm_spans *spans, uint64_t va)
{
	return &spans->bucket[va / SPAN_SIZE % BUCKETS];
}

/* The span of a block at @dva in memory at @pa; made, if asked for. NULL: none, or no memory. */
static struct gm_span *span_get(struct gm_spans *spans, uint64_t dva, uint64_t pa, bool create)
{
	uint64_t va = gm_round_down(dva, SPAN_SIZE), base = pa - (dva - va);
	struct gm_span **bucket = bucket_of(spans, va), *span = *bucket;

	while (span && (span->va != va || span->base != base))
		span = span->next;
	if (span || !create)
		return span;
	span = gm_pool_get(&gm_core.spans);
	if (!span)
		return NULL;
	*span = (struct gm_span){ .va = va, .base = base, .next = *bucket };
	*bucket = span;
	return span;
}

/* One without bits goes. */
static void span_put(struct gm_spans *spans, struct gm_span *span)
{
	struct gm_span **link = bucket_of(spans, span->va);

	if (span->nr)
		return;
	while (*link != span)
		link = &(*link)->next;
	*link = span->next;
	gm_pool_put(&gm_core.spans, span);
}

static unsigned int bit_of(const struct gm_span *span, uint64_t dva)
{
	return (unsigned int)((dva - span->va) >> GM_BLOCK_SHIFT);
}

static bool bit_test(const struct gm_span *span, unsigned int i)
{
	return span->bits[i / 64] >> (i % 64) & 1;
}

static void bit_set(struct gm_span *span, unsigned int i)
{
	span->nr += !bit_test(span, i);
	span->bits[i / 64] |= 1ULL << (i % 64);
}

static void bit_clear(struct gm_span *span, unsigned int i)
{
	span->nr -= bit_test(span, i);
	span->bits[i / 64] &= ~(1ULL << (i % 64));
}

/* Are all of @n bits from @i on set? Both are powers of two, or multiples of @n. */
static bool bits_all(const struct gm_span *span, unsigned int i, unsigned int n)
{
	if (n < 64)
		return (span->bits[i / 64] >> (i % 64) & ((1ULL << n) - 1)) == (1ULL << n) - 1;
	for (unsigned int end = i + n; i < end; i += 64)
		if (span->bits[i / 64] != UINT64_MAX)
			return false;
	return true;
}

/* --------------------------------------------------------------------------- leaves */

static bool in_view(const struct gm_view *v, uint64_t dva, uint64_t leaf)
{
	uint64_t off = dva - v->delta, cut = v->ctx->cut;

	/* Sizes, not ends: either may be at the end of the device's addresses. */
	return off >= v->lo && off <= v->hi && v->hi - off >= leaf &&
	       !(cut > dva && cut - dva < leaf);
}

/* What maps the block at @dva, whose bit is set: the size of the leaf, or a block's. */
static uint64_t leaf_of(const struct gm_view *v, const struct gm_span *span, uint64_t dva)
{
	for (uint64_t left = v->ctx->spans->sizes; left;) {
		uint64_t leaf = 1ULL << gm_log2(left), at = gm_round_down(dva, leaf);

		if (gm_aligned(span->base, leaf) && in_view(v, at, leaf) &&
		    bits_all(span, bit_of(span, at), (unsigned int)(leaf >> GM_BLOCK_SHIFT)))
			return leaf;
		left &= ~leaf;
	}
	return GM_BLOCK_SIZE;
}

/*
 * Enter [dva, dva+size), whole blocks that lie where @span says, in leaves of @leaf or a block's.
 */
static int enter(const struct gm_view *v, uint64_t dva, uint64_t pa, uint64_t size, uint64_t leaf)
{
	struct gm_context *ctx = v->ctx;

	if (leaf <= GM_BLOCK_SIZE)
		leaf = ctx->spans->block_leaf;
	gm_lock_check_may_sleep();
	return ctx->dev->mmu->pmap_enter(ctx->pmap, dva, pa, size, leaf, v->region->prot);
}

/* Enter all blocks of [dva, end) whose bits are set; leaves of one size that adjoin, at once. */
static void enter_cover(const struct gm_view *v, const struct gm_span *span, uint64_t dva,
			uint64_t end)
{
	uint64_t leaf, size;

	for (; dva < end; dva += size) {
		size = GM_BLOCK_SIZE;
		if (!bit_test(span, bit_of(span, dva)))
			continue;
		leaf = size = leaf_of(v, span, dva);
		while (dva + size < end && bit_test(span, bit_of(span, dva + size)) &&
		       leaf_of(v, span, dva + size) == leaf)
			size += leaf;
		/* Should it fail, the device faults. */
		(void)enter(v, dva, span->base + (dva - span->va), size, leaf);
	}
}

/* Release a leaf and see to it that no translation of it is alive. */
static int release(const struct gm_view *v, uint64_t dva, uint64_t leaf)
{
	struct gm_context *ctx = v->ctx;
	struct gm_gather g gm_uninitialized;
	int err;

	gm_gather_init(&g);
	gm_lock_check_may_sleep();
	err = ctx->dev->mmu->pmap_release(ctx->pmap, dva, leaf);
	if (!err)
		err = gm_gather_add(&g, ctx, dva, leaf);
	return err ? err : gm_gather_flush(&g);
}

/* Map the block, and with it whatever makes up a leaf larger than a block now. */
int gm_span_enter(const struct gm_view *v, uint64_t dva, uint64_t pa)
{
	struct gm_spans *spans = v->ctx->spans;
	uint64_t leaf = GM_BLOCK_SIZE, at;
	struct gm_span *span;
	bool was = false;
	int err;

	gm_mutex_lock(&spans->lock, GM_RANK_SPAN);
	span = span_get(spans, dva, pa, true);
	if (span) {
		was = bit_test(span, bit_of(span, dva));
		bit_set(span, bit_of(span, dva));
		leaf = leaf_of(v, span, dva);
	}
	at = gm_round_down(dva, leaf);
	err = enter(v, at, pa - (dva - at), leaf, leaf);
	/* It was not in a larger leaf before, and need not be. */
	if (err && leaf > GM_BLOCK_SIZE && !was)
		err = enter(v, dva, pa, GM_BLOCK_SIZE, GM_BLOCK_SIZE);
	if (err && span && !was) {
		bit_clear(span, bit_of(span, dva));
		span_put(spans, span);
	}
	gm_mutex_unlock(&spans->lock, GM_RANK_SPAN);
	return err;
}

/*
 * Something of the block is about to be released: it is in no leaf with others any more. *torn:
 * it was, and so it is mapped no longer, and invalidated.
 */
int gm_span_leave(const struct gm_view *v, uint64_t dva, uint64_t pa, bool *torn)
{
	struct gm_spans *spans = v->ctx->spans;
	struct gm_span *span;
	uint64_t leaf, at;
	int err = 0;

	*torn = false;
	gm_mutex_lock(&spans->lock, GM_RANK_SPAN);
	span = span_get(spans, dva, pa, false);
	if (!span || !bit_test(span, bit_of(span, dva)))
		goto out;
	leaf = leaf_of(v, span, dva);
	at = gm_round_down(dva, leaf);
	if (leaf > GM_BLOCK_SIZE)
		err = release(v, at, leaf);
	if (err)
		goto out;
	*torn = leaf > GM_BLOCK_SIZE;
	bit_clear(span, bit_of(span, dva));
	if (*torn)
		enter_cover(v, span, at, at + leaf);
	span_put(spans, span);
out:
	gm_mutex_unlock(&spans->lock, GM_RANK_SPAN);
	return err;
}

int gm_span_cut(const struct gm_view *v, uint64_t dva, uint64_t pa)
{
	struct gm_spans *spans = v->ctx->spans;
	struct gm_span *span;
	uint64_t leaf = 0, at = dva;
	int err = 0;

	gm_mutex_lock(&spans->lock, GM_RANK_SPAN);
	span = span_get(spans, dva, pa, false);
	if (span && bit_test(span, bit_of(span, dva))) {
		leaf = leaf_of(v, span, dva);
		at = gm_round_down(dva, leaf);
	}
	if (at < dva)
		err = release(v, at, leaf);
	if (!err) {
		v->ctx->cut = dva;
		if (at < dva)
			enter_cover(v, span, at, at + leaf);
	}
	gm_mutex_unlock(&spans->lock, GM_RANK_SPAN);
	return err;
}

/* Clear the span's bits of [dva, end). */
static void forget_part(struct gm_span *span, uint64_t dva, uint64_t end)
{
	uint64_t lo = GM_MAX(dva, span->va) - span->va, hi = GM_MIN(end - span->va, SPAN_SIZE);
	unsigned int last = (unsigned int)(hi >> GM_BLOCK_SHIFT);

	for (unsigned int i = (unsigned int)(gm_round_up(lo, GM_BLOCK_SIZE) >> GM_BLOCK_SHIFT);
	     i < last; i++)
		bit_clear(span, i);
}

/* Whoever could enter something there is kept out by what the caller holds. */
void gm_span_forget(struct gm_context *ctx, uint64_t dva, uint64_t end)
{
	struct gm_spans *spans = ctx->spans;
	uint64_t n;

	if (!spans)
		return;
	n = (end - 1) / SPAN_SIZE - dva / SPAN_SIZE + 1;
	gm_mutex_lock(&spans->lock, GM_RANK_SPAN);
	for (uint64_t i = 0; i < GM_MIN(n, BUCKETS); i++) {
		struct gm_span *span = *bucket_of(spans, dva + i * SPAN_SIZE), *next;

		for (; span; span = next) {
			next = span->next;
			if (span->va < end && (dva < span->va || dva - span->va < SPAN_SIZE))
				forget_part(span, dva, end);
			span_put(spans, span);
		}
	}
	gm_mutex_unlock(&spans->lock, GM_RANK_SPAN);
}

/* ------------------------------------------------------------------------- checking */

#ifdef GM_DEBUG

/* The block at @dva is seen, and whole, where the span has it. */
static void check_bit(const struct gm_context *ctx, uint64_t dva, uint64_t pa)
{
	const struct gm_seen *w = gm_window_at_dev(ctx, dva);
	uint64_t va = w ? dva - w->dev_va + w->va : 0, off;
	const struct gm_region *r = w ? gm_region_find(ctx->as, va) : NULL;
	const struct gm_block *block;

	gm_bug_on(!r || w->end - va < GM_BLOCK_SIZE || gm_region_end(r) - va < GM_BLOCK_SIZE);
	off = va - r->va + r->offset;
	gm_bug_on(!gm_aligned(off, GM_BLOCK_SIZE));
	block = gm_lpt_peek(r->obj, off >> GM_BLOCK_SHIFT);
	gm_bug_on(!block);
	for (unsigned int page = 0; page < GM_BLOCK_PAGES; page++) {
		uint64_t e = gm_block_entry(block, page);

		gm_bug_on(gm_entry_state(e) != GM_DEV || gm_entry_dev(e) != ctx->dev->index ||
			  gm_entry_pfn(e) != (pa >> GM_PAGE_SHIFT) + page);
	}
}

/* When nothing else runs: bits are what blocks are; how many spans the context has. */
uint64_t gm_check_spans(const struct gm_context *ctx)
{
	uint64_t found = 0;

	for (unsigned int b = 0; ctx->spans && b < BUCKETS; b++) {
		for (struct gm_span *s = ctx->spans->bucket[b]; s; s = s->next, found++) {
			uint32_t nr = 0;

			for (unsigned int i = 0; i < SPAN_BLOCKS; i++) {
				if (!bit_test(s, i))
					continue;
				check_bit(ctx, s->va + i * GM_BLOCK_SIZE,
					  s->base + i * GM_BLOCK_SIZE);
				nr++;
			}
			gm_bug_on(!nr || nr != s->nr);
		}
	}
	return found;
}

#endif
