// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A buddy allocator for memory that cannot be reached.
 *
 * Theory. Device memory cannot hold a free list, and an array with an entry a frame
 * would be what reviewers asked us not to build. Here an order is a set of bits, one
 * for each aligned extent of that size, set while the extent is free and not part of
 * a larger free one. All orders together take 2 bits a frame (1 + 1/2 + 1/4 + ...),
 * and the summaries above the sets 1/63 of that: a quarter of a byte, where 16 bytes
 * were allowed. Finding a free extent walks down the summary, so allocating and
 * freeing cost a few cache lines, whatever the size of the memory. The lowest
 * address is taken first, which keeps high memory whole.
 *
 * Since nothing is remembered of an allocation, any part of it may be freed: a 2 MiB
 * extent page by page, in any order.
 *
 * Invariant: a frame lies in at most one set extent over all orders; two buddies are
 * never both set below the highest order.
 *
 * Locking: the caller's (gm_hnode.lock).
 */
#include "core/buddy.h"

static uint64_t words_of(uint64_t bits)
{
	return (bits + 63) / 64;
}

/* Words for a set of so many bits with its summaries. */
static uint64_t bitset_words(uint64_t bits)
{
	uint64_t total = 0;

	do {
		bits = words_of(bits);
		total += bits;
	} while (bits > 1);
	return total;
}

/* Lay the set out in zeroed memory; returns what is behind it. */
static uint64_t *bitset_init(struct gm_bitset *s, uint64_t bits, uint64_t *memory)
{
	s->bits = bits;
	s->count = 0;
	s->levels = 0;
	do {
		gm_bug_on(s->levels == GM_BITSET_LEVELS);
		s->level[s->levels++] = memory;
		bits = words_of(bits);
		memory += bits;
	} while (bits > 1);
	return memory;
}

static bool bitset_test(const struct gm_bitset *s, uint64_t bit)
{
	return bit < s->bits && (s->level[0][bit / 64] >> (bit % 64) & 1);
}

static void bitset_set(struct gm_bitset *s, uint64_t bit)
{
	gm_assert(!bitset_test(s, bit));
	s->count++;
	for (uint32_t i = 0; i < s->levels; i++) {
		uint64_t *word = &s->level[i][bit / 64];
		uint64_t before = *word;

		*word = before | 1ULL << (bit % 64);
		if (before)
			break; /* the summary has it already */
		bit /= 64;
	}
}

static void bitset_clear(struct gm_bitset *s, uint64_t bit)
{
	gm_assert(bitset_test(s, bit));
	s->count--;
	for (uint32_t i = 0; i < s->levels; i++) {
		uint64_t *word = &s->level[i][bit / 64];

		*word &= ~(1ULL << (bit % 64));
		if (*word)
			break;
		bit /= 64;
	}
}

static uint64_t bitset_first(const struct gm_bitset *s)
{
	uint64_t bit = 0;

	for (uint32_t i = s->levels; i-- > 0;)
		bit = bit * 64 + gm_ctz(s->level[i][bit]);
	return bit;
}

int gm_buddy_init(struct gm_buddy *b, uint64_t begin, uint64_t end)
{
	uint64_t frames, words = 0, *memory;

	b->base = gm_round_down(begin, 1ULL << GM_MAX_ORDER);
	b->begin = begin;
	b->end = end;
	b->free = 0;
	frames = end - b->base;
	for (unsigned int o = 0; o <= GM_MAX_ORDER; o++)
		words += bitset_words((frames >> o) + 1);
	b->memory_size = gm_round_up(words * sizeof(uint64_t), 4096);
	b->memory = gm_os_alloc(b->memory_size);
	if (!b->memory)
		return -ENOMEM;
	memory = b->memory;
	for (unsigned int o = 0; o <= GM_MAX_ORDER; o++)
		memory = bitset_init(&b->order[o], (frames >> o) + 1, memory);
	gm_buddy_free(b, begin, end - begin);
	return 0;
}

void gm_buddy_destroy(struct gm_buddy *b)
{
	gm_os_free(b->memory, b->memory_size);
	b->memory = NULL;
}

bool gm_buddy_alloc(struct gm_buddy *b, unsigned int order, uint64_t *pfn)
{
	unsigned int o = order;
	uint64_t bit;

	while (o <= GM_MAX_ORDER && !b->order[o].count)
		o++;
	if (o > GM_MAX_ORDER)
		return false;
	bit = bitset_first(&b->order[o]);
	bitset_clear(&b->order[o], bit);
	while (o > order) { /* keep the lower half, free the upper */
		o--;
		bit *= 2;
		bitset_set(&b->order[o], bit + 1);
	}
	b->free -= 1ULL << order;
	*pfn = b->base + (bit << order);
	return true;
}

bool gm_buddy_alloc_at(struct gm_buddy *b, unsigned int order, uint64_t pfn)
{
	uint64_t frame = pfn - b->base;
	unsigned int o = order;

	if (pfn < b->begin || pfn >= b->end || !gm_aligned(frame, 1ULL << order))
		return false;
	while (o <= GM_MAX_ORDER && !bitset_test(&b->order[o], frame >> o))
		o++;
	if (o > GM_MAX_ORDER)
		return false;
	bitset_clear(&b->order[o], frame >> o);
	while (o-- > order) /* keep the half it lies in, free the other */
		bitset_set(&b->order[o], (frame >> o) ^ 1);
	b->free -= 1ULL << order;
	return true;
}

bool gm_buddy_alloc_in(struct gm_buddy *b, unsigned int order, unsigned int in, uint64_t at,
		       uint64_t *pfn)
{
	unsigned int o = in;

	while (o <= GM_MAX_ORDER && !b->order[o].count)
		o++;
	if (o > GM_MAX_ORDER)
		return false;
	*pfn = b->base + (bitset_first(&b->order[o]) << o) + at;
	return gm_buddy_alloc_at(b, order, *pfn);
}

static void free_extent(struct gm_buddy *b, uint64_t frame, unsigned int order)
{
	uint64_t bit = frame >> order;

	gm_assert(!gm_buddy_is_free(b, b->base + frame)); /* freed twice */
	b->free += 1ULL << order;
	while (order < GM_MAX_ORDER && bitset_test(&b->order[order], bit ^ 1)) {
		bitset_clear(&b->order[order], bit ^ 1);
		bit /= 2;
		order++;
	}
	bitset_set(&b->order[order], bit);
}

void gm_buddy_free(struct gm_buddy *b, uint64_t pfn, uint64_t n)
{
	uint64_t frame = pfn - b->base;

	gm_bug_on(pfn < b->begin || pfn + n > b->end);
	while (n) { /* the largest aligned extent that fits, from the front */
		unsigned int order = GM_MIN(gm_log2(n), GM_MAX_ORDER);

		if (frame)
			order = GM_MIN(order, gm_ctz(frame));
		free_extent(b, frame, order);
		frame += 1ULL << order;
		n -= 1ULL << order;
	}
}

bool gm_buddy_take(struct gm_buddy *b, uint64_t pfn)
{
	uint64_t frame = pfn - b->base;
	unsigned int o = 0;

	gm_bug_on(pfn < b->begin || pfn >= b->end);
	while (o <= GM_MAX_ORDER && !bitset_test(&b->order[o], frame >> o))
		o++;
	if (o > GM_MAX_ORDER)
		return false;
	bitset_clear(&b->order[o], frame >> o);
	while (o-- > 0) /* keep the half it lies in, free the other */
		bitset_set(&b->order[o], (frame >> o) ^ 1);
	b->free--;
	return true;
}

bool gm_buddy_is_free(const struct gm_buddy *b, uint64_t pfn)
{
	for (unsigned int o = 0; o <= GM_MAX_ORDER; o++)
		if (bitset_test(&b->order[o], (pfn - b->base) >> o))
			return true;
	return false;
}
