// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Looking: where pages are, and what has been counted.
 *
 * A query locks one block at a time; pages may move behind it. Counters are relaxed
 * atomics and are read without a lock.
 */
#include "core/core.h"

#define SOME 64U /* pages a look */

static void set_info(struct gm_page_info *info, unsigned int n, uint64_t e)
{
	struct gm_page_info one = { .node = GM_NODE_NONE };

	if (gm_entry_state(e) == GM_HOST)
		one.node = GM_NODE_HOST;
	else if (gm_entry_state(e) == GM_DEV)
		one.node = gm_core.first_hnode + (int)gm_entry_dev(e);
	else if (gm_entry_state(e) == GM_BAD)
		one.flags |= GM_PAGE_POISONED;
	if (e & GM_E_PINNED)
		one.flags |= GM_PAGE_PINNED;
	if (gm_entry_exclusive(e))
		one.flags |= GM_PAGE_EXCLUSIVE;
	if (gm_entry_retained(e))
		one.flags |= GM_PAGE_RETAINED;
	for (unsigned int i = 0; i < n; i++)
		info[i] = one;
}

static void set_copied(const struct gm_block *block, unsigned int page, unsigned int n,
		       struct gm_page_info *info)
{
	unsigned int len;
	bool has;

	for (unsigned int i = 0; i < n; i += len) {
		len = gm_replica_run(block, page + i, page + n, &has);
		for (unsigned int j = i; has && j < i + len; j++)
			info[j].flags |= GM_PAGE_REPLICATED;
	}
}

static void query_piece(const struct gm_piece *piece, struct gm_page_info *info)
{
	struct gm_object *obj = piece->region->obj;
	struct gm_block *block = gm_block_find(obj, piece->index, false);
	uint64_t off = (piece->index << GM_BLOCK_SHIFT) + ((uint64_t)piece->first << GM_PAGE_SHIFT);
	unsigned int len;

	for (unsigned int i = 0; i < piece->n; i += len) {
		uint64_t e, left = (uint64_t)(piece->n - i) << GM_PAGE_SHIFT;
		bool present;

		if (block) {
			len = gm_block_run(block, piece->first + i, piece->first + piece->n, &e);
		} else {
			left = gm_os_backing_run(obj, off + ((uint64_t)i << GM_PAGE_SHIFT), left,
						 &present);
			len = (unsigned int)(left >> GM_PAGE_SHIFT);
			e = present ? GM_HOST : GM_NONE;
		}
		set_info(info + i, len, e);
		if (block)
			set_copied(block, piece->first + i, len, info + i);
	}
	if (block)
		gm_block_unlock(block);
}

/* The pages at *va that fit into @info, in one piece; *va moves on. -EFAULT: not managed. */
static int query_some(struct gm_as *as, uint64_t *va, uint64_t end, struct gm_page_info *info)
{
	struct gm_piece piece;
	int err = 0;

	end = GM_MIN(end, *va + SOME * GM_PAGE_SIZE);
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	if (gm_piece_next(as, va, end, &piece))
		query_piece(&piece, info);
	else
		err = -EFAULT;
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

/* @info may be managed memory itself, so it is written with no lock held (I7). */
int gm_as_query(struct gm_as *as, uint64_t va, uint64_t len, struct gm_page_info *info)
{
	struct gm_page_info some[SOME];
	uint64_t end = va + len, from;
	int err;

	if (!info || !gm_aligned(va | len, GM_PAGE_SIZE))
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	err = gm_range_check(as, va, len, 0);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	while (!err && va < end) {
		from = va;
		err = query_some(as, &va, end, some);
		for (unsigned int i = 0; !err && i < (va - from) >> GM_PAGE_SHIFT; i++)
			*info++ = some[i];
	}
	return err;
}

/*
 * The pages that follow @piece's first in one place; what is there is said in @at, for its
 * beginning.
 */
static uint64_t lookup_piece(const struct gm_piece *piece, struct gm_lookup *at)
{
	struct gm_block *block = gm_block_find(piece->region->obj, piece->index, false);
	unsigned int page = piece->first, n = 1, lo, hi;
	struct gm_page_info info;
	uint64_t e, cpu;

	if (!block) {
		query_piece(&(struct gm_piece){ piece->region, piece->index, page, 1 }, &info);
		at->node = info.node;
		return 1;
	}
	n = gm_block_run(block, page, page + piece->n, &e);
	set_info(&info, 1, e);
	set_copied(block, page, 1, &info);
	at->node = info.node;
	at->flags = info.flags;
	if (gm_entry_state(e) == GM_DEV)
		at->pa = gm_entry_pfn(e) << GM_PAGE_SHIFT;
	if (gm_aperture_run(block, page, &lo, &hi, &cpu)) {
		at->cpu = cpu + ((uint64_t)(page - lo) << GM_PAGE_SHIFT);
		n = GM_MIN(n, hi - page);
	}
	gm_block_unlock(block);
	return n;
}

int gm_as_lookup(struct gm_as *as, uint64_t va, struct gm_lookup *info)
{
	struct gm_lookup at = { .size = sizeof(at), .pa = GM_NO_ADDRESS, .cpu = GM_NO_ADDRESS };
	uint64_t in = va & (GM_PAGE_SIZE - 1), page = va - in;
	struct gm_piece piece;
	int err;

	if (!as || !info)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	if (gm_piece_next(as, &page, page + GM_BLOCK_SIZE, &piece))
		at.len = (lookup_piece(&piece, &at) << GM_PAGE_SHIFT) - in;
	else
		err = -EFAULT;
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	at.pa += at.pa == GM_NO_ADDRESS ? 0 : in;
	at.cpu += at.cpu == GM_NO_ADDRESS ? 0 : in;
	return err ? err : gm_struct_out(info, &at, sizeof(at));
}

/* Counters only grow, so a sum that is taken while they do is one of some moment. */
static int stats_out(struct gm_stats *to, const struct gm_counters *from)
{
	struct gm_stats now = { .size = sizeof(now) };
	uint64_t *sum = &now.cpu_faults;

	_Static_assert(sizeof(now) % sizeof(uint64_t) == 0, "counters only");
	for (unsigned int shard = 0; shard < GM_SHARDS; shard++) {
		const uint64_t *count = &from->shard[shard].stats.cpu_faults;

		for (size_t i = 0; i < (sizeof(now) - offsetof(struct gm_stats, cpu_faults)) / 8;
		     i++)
			sum[i] += gm_load(&count[i]);
	}
	return gm_struct_out(to, &now, sizeof(now));
}

int gm_as_stats(struct gm_as *as, struct gm_stats *stats)
{
	return as && stats ? stats_out(stats, &as->counters) : -EINVAL;
}

int gm_dev_stats(struct gm_dev *dev, struct gm_stats *stats)
{
	return dev && stats ? stats_out(stats, &dev->counters) : -EINVAL;
}
