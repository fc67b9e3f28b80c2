// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Hints that stay with addresses: READ_MOSTLY, PREFERRED_LOCATION, ACCESSED_BY.
 *
 * Theory. Such a hint is an attribute of mapped addresses, apart from where pages are. A region
 * has a sorted array of ranges, of offsets in its object, for what has any; a region of which
 * nothing was said has none, and a fault pays one load to see that. So hints go where their
 * region goes: unmapping drops them with it, remapping carries them along with it, and a region
 * that is cut in two takes its array apart. No range reaches beyond its region, which is why
 * none of that needs memory, but the cut. A query joins again what a region's end has parted.
 *
 * The last hint wins: a range has one preferred location, and each device is in the set of those
 * that access it or is not. READ_MOSTLY overrides the other two as long as it is set, as in
 * CUDA; they are kept, and are what holds once it is unset.
 *
 * All or nothing. A change builds new arrays for all regions that it concerns, then puts them
 * in their place, which cannot fail. Arrays are never written but by who holds the locks below
 * for writing.
 *
 * A device is named by its index. It keeps that as long as a context of it is attached, and with
 * the context go its attributes; those of a device that was removed say nothing any more from then
 * on.
 *
 * Locking. Written under as->lock and as->ctx_lock, both for writing; read under either.
 */
#include "core/attr.h"

/* ------------------------------------------------------------------------- arrays */

static size_t bytes_of(uint32_t max)
{
	return sizeof(struct gm_attrs) + max * sizeof(struct gm_attr_range);
}

static struct gm_attrs *attrs_new(struct gm_region *region, uint32_t max)
{
	struct gm_attrs *a = gm_os_alloc(bytes_of(max));

	if (!a)
		return NULL;
	a->max = max;
	a->region = region;
	return a;
}

void gm_attrs_free(struct gm_attrs *a)
{
	if (a)
		gm_os_free(a, bytes_of(a->max));
}

static bool same(const struct gm_range_hint *a, const struct gm_range_hint *b)
{
	return a->accessed == b->accessed && a->prefer == b->prefer &&
	       a->read_mostly == b->read_mostly;
}

static bool is_nothing(const struct gm_range_hint *h)
{
	return !h->accessed && h->prefer == GM_PREFER_NONE && !h->read_mostly;
}

/* Add a range behind all others. */
static void add(struct gm_attrs *a, uint64_t lo, uint64_t hi, struct gm_range_hint hint)
{
	struct gm_attr_range *last = a->nr ? &a->range[a->nr - 1] : NULL;

	if (lo >= hi || is_nothing(&hint))
		return;
	if (last && last->hi == lo && same(&last->hint, &hint)) {
		last->hi = hi;
		return;
	}
	gm_assert(a->nr < a->max);
	a->range[a->nr++] = (struct gm_attr_range){ .lo = lo, .hi = hi, .hint = hint };
}

/* The index of the first range that ends behind @off. */
static uint32_t lower(const struct gm_attrs *a, uint64_t off)
{
	uint32_t lo = 0, hi = a->nr;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (a->range[mid].hi <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* What was said of offset @off, which the region maps, and how far the same was: *end. */
static struct gm_range_hint hint_at(const struct gm_region *r, uint64_t off, uint64_t *end)
{
	static const struct gm_range_hint nothing = { .prefer = GM_PREFER_NONE };
	const struct gm_attrs *a = r->attrs;
	uint32_t i = a ? lower(a, off) : 0;

	*end = r->offset + r->len;
	if (!a || i == a->nr)
		return nothing;
	if (a->range[i].lo > off) {
		*end = a->range[i].lo;
		return nothing;
	}
	*end = a->range[i].hi;
	return a->range[i].hint;
}

/* --------------------------------------------------------------------- looking up */

const struct gm_range_hint *gm_attr_find(const struct gm_region *r, uint64_t off)
{
	const struct gm_attrs *a = r->attrs;
	uint32_t i = lower(a, off);

	return i < a->nr && a->range[i].lo <= off ? &a->range[i].hint : NULL;
}

void gm_attr_narrow(const struct gm_region *r, uint64_t index, unsigned int page,
		    unsigned int *first, unsigned int *n)
{
	uint64_t base = index << GM_BLOCK_SHIFT, off = base + ((uint64_t)page << GM_PAGE_SHIFT);
	uint64_t lo = base + ((uint64_t)*first << GM_PAGE_SHIFT);
	uint64_t hi = lo + ((uint64_t)*n << GM_PAGE_SHIFT);
	const struct gm_attrs *a = r->attrs;
	uint32_t i = lower(a, off);

	if (i < a->nr && a->range[i].lo <= off) {
		lo = GM_MAX(lo, a->range[i].lo);
		hi = GM_MIN(hi, a->range[i].hi);
	} else {
		lo = i ? GM_MAX(lo, a->range[i - 1].hi) : lo;
		hi = i < a->nr ? GM_MIN(hi, a->range[i].lo) : hi;
	}
	*first = (unsigned int)((lo - base) >> GM_PAGE_SHIFT);
	*n = (unsigned int)((hi - lo) >> GM_PAGE_SHIFT);
}

/* The end of the addresses from @va on, in the region, of which the same was said. */
uint64_t gm_attr_end(const struct gm_region *r, uint64_t va)
{
	uint64_t end;

	hint_at(r, va - r->va + r->offset, &end);
	return end - r->offset + r->va;
}

/* ------------------------------------------------------------------------ changing */

/* What an advice makes of what was said before. */
struct change {
	uint32_t advice;
	uint32_t prefer;
	uint64_t accessed;
};

static struct gm_range_hint changed(struct gm_range_hint h, const struct change *c)
{
	switch (c->advice) {
	case GM_READ_MOSTLY:
	case GM_UNSET_READ_MOSTLY:
		h.read_mostly = c->advice == GM_READ_MOSTLY;
		break;
	case GM_PREFERRED_LOCATION:
	case GM_UNSET_PREFERRED_LOCATION:
		h.prefer = c->prefer;
		break;
	case GM_ACCESSED_BY:
		h.accessed |= c->accessed;
		break;
	default:
		h.accessed &= ~c->accessed;
	}
	return h;
}

/* The region's attributes as they will be; what is unset where nothing is set is no change. */
static int build(struct gm_region *r, uint64_t lo, uint64_t hi, const struct change *c,
		 struct gm_attrs **out)
{
	uint64_t end = r->offset + r->len, next;
	struct gm_attrs *a = attrs_new(r, r->attrs ? 2 * r->attrs->nr + 3 : 3);

	*out = a;
	if (!a)
		return -ENOMEM;
	for (uint64_t at = r->offset; at < end; at = next) {
		struct gm_range_hint h = hint_at(r, at, &next);

		if (at < lo)
			next = GM_MIN(next, lo);
		else if (at < hi)
			next = GM_MIN(next, hi);
		add(a, at, next, at >= lo && at < hi ? changed(h, c) : h);
	}
	return 0;
}

/* Put what was built, one for each region, in its place. as->lock held for writing. */
static void commit(struct gm_as *as, struct gm_attrs *list)
{
	struct gm_attrs *next;

	gm_rwlock_wrlock(&as->ctx_lock, GM_RANK_CTX);
	for (struct gm_attrs *a = list; a; a = a->next) {
		a->old = a->region->attrs;
		a->region->attrs = a->nr ? a : NULL;
	}
	gm_rwlock_unlock(&as->ctx_lock, GM_RANK_CTX);
	for (; list; list = next) {
		next = list->next;
		gm_attrs_free(list->old);
		list->old = list->next = NULL;
		if (!list->nr)
			gm_attrs_free(list);
	}
}

static int change_range(struct gm_as *as, uint64_t va, uint64_t end, const struct change *c)
{
	struct gm_attrs *list = NULL, **link = &list, *next;
	bool unset = c->advice == GM_UNSET_READ_MOSTLY ||
		     c->advice == GM_UNSET_PREFERRED_LOCATION || c->advice == GM_UNSET_ACCESSED_BY;
	int err = 0;

	while (va < end && !err) {
		struct gm_region *r = gm_region_find(as, va);
		uint64_t stop = GM_MIN(end, gm_region_end(r));

		if (r->attrs || !unset) {
			err = build(r, va - r->va + r->offset, stop - r->va + r->offset, c, link);
			link = err ? link : &(*link)->next;
		}
		va = stop;
	}
	if (!err) {
		commit(as, list);
		return 0;
	}
	for (; list; list = next) {
		next = list->next;
		gm_attrs_free(list);
	}
	return err;
}

/* -ENODEV: no device with this node is attached here; -EOPNOTSUPP. as->lock held. */
static int find_device(struct gm_as *as, int hnode, struct gm_dev **dev)
{
	struct gm_context *ctx = as->contexts;

	while (ctx && gm_dev_hnode(ctx->dev) != hnode)
		ctx = ctx->next;
	if (!ctx || gm_dev_gone(ctx->dev))
		return -ENODEV;
	if (ctx->owner != ctx) /* its pages are at the owner's node, its faults the owner's */
		return -EOPNOTSUPP;
	*dev = ctx->dev;
	return 0;
}

/* What the node of an advice means. as->lock held. */
static int resolve(struct gm_as *as, int hnode, struct change *c)
{
	bool host = hnode == GM_NODE_HOST || (hnode >= 0 && hnode < gm_core.first_hnode);
	struct gm_dev *dev;
	int err;

	if (c->advice != GM_PREFERRED_LOCATION && c->advice != GM_ACCESSED_BY &&
	    c->advice != GM_UNSET_ACCESSED_BY)
		return 0;
	if (host && c->advice == GM_PREFERRED_LOCATION) {
		c->prefer = GM_PREFER_HOST;
		return 0;
	}
	if (host)
		return -EOPNOTSUPP; /* the CPU maps what it can reach anyway */
	if (hnode < 0)
		return -EINVAL;
	err = find_device(as, hnode, &dev);
	if (err)
		return err;
	c->prefer = GM_PREFER_DEV + dev->index;
	c->accessed = 1ULL << dev->index;
	return c->advice == GM_ACCESSED_BY ? gm_mode_check(dev, GM_REPLICATE) : 0;
}

/* Host memory that devices cannot map where it is cannot be accessed so. as->lock held. */
static int check_objects(struct gm_as *as, uint64_t va, uint64_t end)
{
	int err = 0;

	while (va < end && !err) {
		const struct gm_region *r = gm_region_find(as, va);

		err = gm_os_backing_in_place(r->obj) ? 0 : -EOPNOTSUPP;
		va = gm_region_end(r);
	}
	return err;
}

int gm_attr_set(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice)
{
	struct change c = { .advice = advice, .prefer = GM_PREFER_NONE };
	int err;

	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	err = gm_range_check(as, va, len, 0);
	if (!err)
		err = resolve(as, hnode, &c);
	if (!err && advice == GM_ACCESSED_BY)
		err = check_objects(as, va, va + len);
	if (!err)
		err = change_range(as, va, va + len, &c);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

/* ---------------------------------------------------------- regions that come and go */

/* @low is to be cut at offset @cut: what it has from there on, in an array of its own. */
int gm_attrs_cut(const struct gm_region *low, uint64_t cut, struct gm_attrs **high)
{
	const struct gm_attrs *a = low->attrs;
	uint32_t i = a ? lower(a, cut) : 0;
	struct gm_attrs *new;

	*high = NULL;
	if (!a || i == a->nr)
		return 0;
	new = attrs_new(NULL, a->nr - i);
	if (!new)
		return -ENOMEM;
	for (; i < a->nr; i++)
		add(new, GM_MAX(cut, a->range[i].lo), a->range[i].hi, a->range[i].hint);
	*high = new;
	return 0;
}

/*
 * The region now ends at offset @end: what it had behind is another's. as->lock held for writing.
 */
void gm_attrs_trim(struct gm_region *r, uint64_t end)
{
	struct gm_attrs *a = r->attrs;

	if (!a)
		return;
	gm_rwlock_wrlock(&r->as->ctx_lock, GM_RANK_CTX);
	while (a->nr && a->range[a->nr - 1].lo >= end)
		a->nr--;
	if (a->nr)
		a->range[a->nr - 1].hi = GM_MIN(a->range[a->nr - 1].hi, end);
	else
		r->attrs = NULL;
	gm_rwlock_unlock(&r->as->ctx_lock, GM_RANK_CTX);
	if (!r->attrs)
		gm_attrs_free(a);
}

/*
 * For a host that makes a new region before the one that moves there goes: the region at @va gets
 * what was said of the same bytes in another region, if there is one. Without memory, nothing.
 */
void gm_as_attrs_follow(struct gm_as *as, uint64_t va)
{
	struct gm_region *to, *from = NULL;
	struct gm_attrs *a = NULL;

	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	to = gm_region_find(as, va);
	for (uint32_t i = 0; to && !from && i < as->nr_regions; i++) {
		from = as->regions[i];
		if (from == to || from->obj != to->obj || !from->attrs ||
		    from->offset >= to->offset + to->len || to->offset >= from->offset + from->len)
			from = NULL;
	}
	if (from && !to->attrs)
		a = attrs_new(to, from->attrs->nr);
	for (uint32_t i = 0; a && i < from->attrs->nr; i++) {
		const struct gm_attr_range *x = &from->attrs->range[i];

		add(a, GM_MAX(x->lo, to->offset), GM_MIN(x->hi, to->offset + to->len), x->hint);
	}
	if (a)
		commit(as, a);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
}

/* A context of the device leaves: as->lock held for writing, its index means nobody soon. */
void gm_attr_forget(struct gm_as *as, const struct gm_dev *dev)
{
	for (uint32_t i = 0; i < as->nr_regions; i++) {
		struct gm_attrs *a = as->regions[i]->attrs;
		uint32_t nr = a ? a->nr : 0;

		if (!a)
			continue;
		gm_rwlock_wrlock(&as->ctx_lock, GM_RANK_CTX);
		a->nr = 0; /* what is written was read: there never is more than before */
		for (uint32_t j = 0; j < nr; j++) {
			struct gm_attr_range x = a->range[j];

			x.hint.accessed &= ~(1ULL << dev->index);
			if (x.hint.prefer == GM_PREFER_DEV + dev->index)
				x.hint.prefer = GM_PREFER_NONE;
			add(a, x.lo, x.hi, x.hint);
		}
		if (!a->nr)
			as->regions[i]->attrs = NULL;
		gm_rwlock_unlock(&as->ctx_lock, GM_RANK_CTX);
		if (!a->nr)
			gm_attrs_free(a);
	}
}

/* -------------------------------------------------------------------------- asking */

/* For an application, who is not told of devices that are gone. */
static struct gm_range_hint shown(struct gm_range_hint h)
{
	for (unsigned int i = 0; i < GM_MAX_DEVS; i++) {
		bool named = (h.accessed >> i & 1) || h.prefer == GM_PREFER_DEV + i;

		/* One with attributes is attached here, so it is there. */
		if (!named || !gm_dev_gone(gm_core.dev[i]))
			continue;
		h.accessed &= ~(1ULL << i);
		if (h.prefer == GM_PREFER_DEV + i)
			h.prefer = GM_PREFER_NONE;
	}
	return h;
}

static void say(struct gm_attr *to, const struct gm_range_hint *h)
{
	to->flags = h->read_mostly ? GM_ATTR_READ_MOSTLY : 0;
	to->preferred = h->prefer == GM_PREFER_NONE ? GM_NODE_NONE
			: h->prefer == GM_PREFER_HOST
				? GM_NODE_HOST
				: gm_core.first_hnode + (int)(h->prefer - GM_PREFER_DEV);
	to->accessed_by = h->accessed;
	to->first_node = gm_core.first_hnode;
}

int gm_as_attr(struct gm_as *as, uint64_t va, uint64_t len, struct gm_attr *attr)
{
	struct gm_attr now = { .size = sizeof(now) };
	uint64_t at = gm_round_down(va, GM_PAGE_SIZE), end = va + len, stop;
	struct gm_range_hint first = { .prefer = GM_PREFER_NONE }, h;
	struct gm_region *r;
	int err;

	if (!attr || !len || end < va)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	r = gm_region_find(as, at);
	err = r ? 0 : -EFAULT;
	for (bool begun = false; r && at < end; r = gm_region_find(as, at), begun = true) {
		h = shown(hint_at(r, at - r->va + r->offset, &stop));
		if (!begun)
			first = h;
		else if (!same(&first, &h))
			break;
		at = stop - r->offset + r->va;
	}
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	if (err)
		return err;
	say(&now, &first);
	now.len = GM_MIN(at, end) - va;
	return gm_struct_out(attr, &now, sizeof(now));
}
