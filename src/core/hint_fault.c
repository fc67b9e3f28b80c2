// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Faults of devices where hints that stay (attr.c) have a word in it.
 *
 * Theory. A fault asks here first, once it is known that the device can have the page at all. With
 * nothing said of the page, and no replica of it, that is two loads. Else, in this order:
 *
 *	the device has a replica		it is mapped, for reading
 *	READ_MOSTLY, and it reads		it gets a replica (replica.c)
 *	the page is on the device		as ever: it is mapped
 *	ACCESSED_BY the device, or		it maps host memory where it is, and nothing moves
 *	preferred in host memory		there; what another device has it reads there, if it
 *						can, or it comes home first
 *	preferred on another device		what is there already it reads there, if it can;
 *						what nobody has, or the host, goes there first
 *
 * A device that cannot map what is elsewhere has the page moved to it, as ever: so it is for a
 * write to what another device has, and where memory for the mapping cannot be had.
 *
 * In place, without the mode. What mode GM_REPLICATE does for a window (in_place.c) is done for
 * pages of other windows here. A block remembers which devices may have host memory of it mapped so
 * (gm_block_remote()), and whoever takes pages from the CPU takes them from these too. They are
 * kept: what comes home again is entered anew at once for those that access it (gm_mirror()), and
 * what goes to a device that they can read is entered there (gm_hint_moved()).
 *
 * Locking: as dev_fault.c; block locked, the address space read-locked.
 */
#include "core/attr.h"
#include "core/fault.h"
#include "core/move.h"

/* --------------------------------------------------------------------- duplicating */

/* Is the page to be duplicated, rather than moved, where a device reads it? */
bool gm_is_duplicated(const struct gm_place *place)
{
	const struct gm_range_hint *hint = gm_attr_at(place->region, place->index, place->page);

	return hint && hint->read_mostly && place->window->mode != GM_REPLICATE;
}

/* The device has a replica of the piece, mapped, but of what is there itself. */
int gm_replica_piece(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		     unsigned int first, unsigned int n, enum gm_why why)
{
	int err;

	if (n > 1)
		gm_place_clip(place, &first, &n);
	if (ctx->dev->unit > 1 && !gm_unit_clip(ctx, place->region, place->index, &first, &n))
		return 0; /* a hint for what the device cannot map */
	err = gm_replicate(ctx, block, first, n, why);
	if (!err)
		err = gm_map_evicting(gm_replica_map, ctx, place->region, block, first, n);
	if (!err && why == GM_WHY_PREFETCH) /* a fault is about a page that is elsewhere */
		err = gm_map_evicting(gm_map_dev, ctx, place->region, block, first, n);
	return err;
}

static int read_replica(struct gm_context *ctx, struct gm_block *block,
			const struct gm_place *place)
{
	struct gm_dev *dev = ctx->dev;
	struct gm_policy_move move;
	int err;

	if (gm_replica_on(block, dev, place->page)) {
		err = gm_map_evicting(gm_replica_map, ctx, place->region, block, place->page, 1);
		if (!err)
			gm_count(dev, ctx->as, dev_faults_map, 1);
		return err;
	}
	if (gm_is_on(dev, block, place->page) || !gm_is_duplicated(place))
		return -EOPNOTSUPP;
	gm_policy_fault(ctx, block, place->page, GM_READ, 0, &move);
	err = gm_replica_piece(ctx, block, place, move.first, move.n, GM_WHY_DEV_FAULT);
	if (err && move.n > dev->unit)
		err = gm_replica_piece(ctx, block, place, place->page, 1, GM_WHY_DEV_FAULT);
	if (!err)
		gm_count(dev, ctx->as, dev_faults_moved, 1);
	gm_evict_kick(dev);
	return err;
}

/* ------------------------------------------------------------------- where it is */

/* Can the device use host memory of the object in place? */
bool gm_can_use_host(const struct gm_dev *dev, const struct gm_object *obj)
{
	return !gm_mode_check(dev, GM_REPLICATE) && gm_os_backing_in_place(obj);
}

/* Does the device use host memory in place there, and can it? */
static bool wants_host(const struct gm_context *ctx, const struct gm_block *block,
		       const struct gm_range_hint *hint)
{
	const struct gm_dev *dev = ctx->dev;
	bool here = hint->prefer == GM_PREFER_DEV + dev->index;

	if (hint->read_mostly || here ||
	    (hint->prefer != GM_PREFER_HOST && !(hint->accessed >> dev->index & 1)))
		return false;
	return gm_can_use_host(dev, block->obj);
}

/*
 * Is it the policy's to say where the device uses the page? Not where hints have a word in it, nor
 * of a device that would not tell of its uses.
 */
bool gm_policy_may_leave(const struct gm_context *ctx, const struct gm_block *block,
			 const struct gm_place *place)
{
	const struct gm_dev *dev = ctx->dev;
	const struct gm_range_hint *hint;

	if (!(dev->mmu->flags & GM_MMU_COUNTS) || place->window->mode == GM_REPLICATE ||
	    gm_entry_state(gm_block_entry(block, place->page)) == GM_DEV ||
	    !gm_can_use_host(dev, block->obj))
		return false;
	hint = gm_attr_at(place->region, place->index, place->page);
	return !hint || (!hint->read_mostly && hint->prefer != GM_PREFER_DEV + dev->index &&
			 !wants_host(ctx, block, hint));
}

static int host_piece(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		      unsigned int first, unsigned int n, uint32_t access)
{
	int err;

	gm_place_clip(place, &first, &n);
	err = gm_bring_home(block, first, n, ctx->dev, ctx->as, GM_WHY_DEV_FAULT);
	if (!err && (access & GM_WRITE))
		err = gm_collapse(block, first, n);
	if (!err && (access & GM_ATOMIC))
		err = gm_exclusive_begin(block, first, n, ctx->dev);
	if (err)
		return err;
	err = gm_block_add_remote(block, ctx->dev); /* from the first mapping on: I3 */
	if (err)
		return err;
	return gm_map_evicting(gm_map_host, ctx, place->region, block, first, n);
}

/*
 * A fault on a page that is not on the device: bring [first, first+n) home, of whoever else has it,
 * or failing that the page alone, and map it there. -EOPNOTSUPP: no more can be mapped so.
 */
int gm_use_host(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		unsigned int first, unsigned int n, uint32_t access)
{
	bool away = gm_entry_state(gm_block_entry(block, place->page)) == GM_DEV;
	int err = host_piece(ctx, block, place, first, n, access);

	if (err && n > 1)
		err = host_piece(ctx, block, place, place->page, 1, access);
	if (err == -ENOMEM || err == -ENOSPC)
		return -EOPNOTSUPP;
	if (err)
		return err;
	gm_count(ctx->dev, ctx->as, remote_maps, 1);
	if (away)
		gm_count(ctx->dev, ctx->as, dev_faults_moved, 1);
	else
		gm_count(ctx->dev, ctx->as, dev_faults_map, 1);
	return 0;
}

/* -EOPNOTSUPP: it moves, as it does without a hint. */
static int use_as_hinted(struct gm_context *ctx, struct gm_block *block,
			 const struct gm_place *place, uint32_t access)
{
	unsigned int first, n;
	int err = -EOPNOTSUPP;

	if (access == GM_READ && gm_entry_state(gm_block_entry(block, place->page)) == GM_DEV)
		err = gm_read_peer(ctx, block, place);
	if (!err)
		gm_count(ctx->dev, ctx->as, dev_faults_map, 1);
	if (err != -EOPNOTSUPP)
		return err;
	gm_policy_cpu(ctx->as, block, place->page, &first, &n);
	return gm_use_host(ctx, block, place, first, n, access);
}

/* Can @dev read what @peer has? Their drivers say for each mapping; this is what tables say. */
static bool reads(const struct gm_dev *dev, const struct gm_dev *peer)
{
	return dev->mmu->pmap_enter_peer && dev->unit == 1 &&
	       dev->mmu->pmap_enter_peer == peer->mmu->pmap_enter_peer;
}

/* What is to be on another device and is on none goes there, to be read there. -EOPNOTSUPP: no. */
static int read_preferred(struct gm_context *ctx, struct gm_block *block,
			  const struct gm_place *place, const struct gm_range_hint *hint)
{
	struct gm_place there = *place;
	struct gm_policy_move move;
	struct gm_context *other;
	uint64_t va;
	int err;

	if (hint->read_mostly || hint->prefer < GM_PREFER_DEV ||
	    gm_entry_state(gm_block_entry(block, place->page)) == GM_DEV)
		return -EOPNOTSUPP;
	other = gm_context_find(ctx->as, gm_core.dev[hint->prefer - GM_PREFER_DEV]);
	if (!other || other == ctx || gm_dev_gone(other->dev) || !reads(ctx->dev, other->dev))
		return -EOPNOTSUPP;
	va = gm_page_off(block, place->page) - place->region->offset + place->region->va;
	there.window = gm_window_at(other, va);
	if (!there.window || there.window->mode == GM_REPLICATE)
		return -EOPNOTSUPP;
	gm_policy_fault(other, block, place->page, GM_READ, 0, &move);
	err = gm_dev_piece(other, block, &there, move.first, move.n, GM_WHY_DEV_FAULT);
	if (err && move.n > other->dev->unit)
		err = gm_dev_piece(other, block, &there, place->page, 1, GM_WHY_DEV_FAULT);
	if (!err)
		err = gm_read_peer(ctx, block, place);
	else if (err != -EBUSY) /* it is full, or fails: that is no reason for this one to */
		err = -EOPNOTSUPP;
	if (!err)
		gm_count(ctx->dev, ctx->as, dev_faults_map, 1);
	return err;
}

/* Service the fault as hints say. -EOPNOTSUPP: they say nothing, or nothing that can be done. */
int gm_hint_fault(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		  uint32_t access)
{
	const struct gm_range_hint *hint = gm_attr_at(place->region, place->index, place->page);
	int err = -EOPNOTSUPP;

	if ((!hint && !gm_block_copies(block)) || place->window->mode == GM_REPLICATE)
		return err;
	if (access == GM_READ)
		err = read_replica(ctx, block, place);
	if (err == -EOPNOTSUPP && hint && !gm_is_on(ctx->dev, block, place->page)) {
		if (wants_host(ctx, block, hint))
			err = use_as_hinted(ctx, block, place, access);
		else if (access == GM_READ)
			err = read_preferred(ctx, block, place, hint);
	}
	if (!err)
		gm_resident_touch(block, ctx->dev, true);
	return err;
}

/* ------------------------------------------------------------------------ kept mapped */

/*
 * @ctx's device has [first, first+n) now: others that access it, and can read it there, have it
 * mapped.
 */
void gm_hint_moved(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		   unsigned int first, unsigned int n)
{
	const struct gm_range_hint *hint = gm_attr_at(place->region, place->index, place->page);

	if (!hint || hint->read_mostly || !hint->accessed)
		return;
	for (struct gm_context *c = ctx->as->contexts; c; c = c->next)
		if (c != ctx && c->owner == c && (hint->accessed >> c->dev->index & 1) &&
		    reads(c->dev, ctx->dev)) /* should it fail, the device faults */
			(void)gm_map_peer(c, place->region, block, ctx->dev, first, n);
}
