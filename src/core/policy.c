// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Policy: how much to move for a fault, and asking the policies of a device.
 *
 * A fault of the CPU moves the aligned granule around the page, or a part of it if the address
 * space is adaptive. For a device its policies are
 * asked (gmem/policy.h, policy/): how much to bring, and whom to evict. They are shown a view of
 * one block, which is made here, and told what becomes of its pages; they decide, and change
 * nothing but what they remember.
 *
 * Cost. What nobody listens to is not told: with the built-in policies that go by recency alone
 * a fault costs one view and one lock. Which pages are on devices is a bitmap beside the block's
 * array (lpt.c), so a view is made without looking at 512 entries, unless several devices
 * have pages of the block or some are pinned.
 *
 * Locking. Block locked. What policies are there, and all that they remember, is guarded by the
 * device's policies' spinlock: a policy that was exchanged (policy_set.c) is called no more once
 * the lock was had. Words and bytes are of a generation of policies; those of another are not
 * shown.
 */
#include "core/policy.h"

/* Narrow pages of a block to what the region maps of it; rounded to the object's granule. */
void gm_clip(const struct gm_region *region, uint64_t index, unsigned int *first, unsigned int *n)
{
	uint64_t base = index << GM_BLOCK_SHIFT;
	uint64_t lo = base + ((uint64_t)*first << GM_PAGE_SHIFT);
	uint64_t hi = lo + ((uint64_t)*n << GM_PAGE_SHIFT);

	lo = GM_MAX(gm_round_down(lo, region->obj->granule), region->offset);
	hi = GM_MIN(gm_round_up(hi, region->obj->granule), region->offset + region->len);
	gm_assert(lo < hi);
	*first = (unsigned int)((lo - base) >> GM_PAGE_SHIFT);
	*n = (unsigned int)((hi - lo) >> GM_PAGE_SHIFT);
}

static void granule_around(unsigned int page, unsigned int granule, unsigned int *first,
			   unsigned int *n)
{
	*first = page & ~(granule - 1);
	*n = granule;
}

static bool is_home(const struct gm_block *block, unsigned int page)
{
	return gm_entry_state(gm_block_entry(block, page)) == GM_HOST;
}

/* So much is used here: the run of pages at home beside @page, before it or behind, up to @most. */
static unsigned int used_beside(const struct gm_block *block, unsigned int page, unsigned int most)
{
	unsigned int before = 0, behind = 0;

	while (before < most && before < page && is_home(block, page - before - 1))
		before++;
	while (behind < most && page + behind + 1 < GM_BLOCK_PAGES &&
	       is_home(block, page + behind + 1))
		behind++;
	return GM_MAX(before, behind);
}

/*
 * How many pages a fault on @page brings home, or makes. Adaptive: as many as lie there beside it already,
 * so that what is used in order doubles with each fault, as readahead does, and what is used here and
 * there comes page by page. No memory of it is kept but where the pages are.
 */
unsigned int gm_cpu_granule(const struct gm_as *as, const struct gm_block *block, unsigned int page)
{
	unsigned int beside, n = 1;

	if (!as->adaptive || is_home(block, page))
		return as->cpu_granule;
	beside = used_beside(block, page, as->cpu_granule);
	while (2 * n <= beside)
		n *= 2;
	return n;
}

void gm_policy_cpu(const struct gm_as *as, const struct gm_block *block, unsigned int page,
		   unsigned int *first, unsigned int *n)
{
	unsigned int end;

	granule_around(page, GM_MAX(gm_cpu_granule(as, block, page), gm_unit_at(block, page)),
		       first, n);
	/* It is mapped in one piece, so it does not reach across a bad page. */
	end = *first + *n;
	for (unsigned int good; (good = *first + gm_good_run(block, *first, end)) <= page;)
		*first = good + 1;
	*n = gm_good_run(block, page, end) + page - *first;
}

/* ------------------------------------------------------------------------- views */

static bool is_on(const struct gm_dev *dev, uint64_t e)
{
	return gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == dev->index;
}

static void mask_fill(struct gm_mask *m, uint64_t with)
{
	for (unsigned int i = 0; i < GM_POLICY_WORDS; i++)
		m->word[i] = with;
}

/* Entry by entry: what of the block is on @dev, and has all of @flags. */
static void scan(const struct gm_block *block, const struct gm_dev *dev, uint64_t flags,
		 struct gm_mask *m)
{
	unsigned int n;
	uint64_t e;

	mask_fill(m, 0);
	for (unsigned int page = 0; page < GM_BLOCK_PAGES; page += n) {
		n = gm_block_run(block, page, GM_BLOCK_PAGES, &e);
		if (is_on(dev, e) && (e & flags) == flags)
			gm_mask_set(m, page, n);
	}
}

/* A bit of a unit is all of them. */
static void round_out(const struct gm_dev *dev, struct gm_mask *m)
{
	if (dev->unit == 1)
		return;
	for (unsigned int page = 0; page < GM_BLOCK_PAGES; page += dev->unit)
		if (gm_mask_count(m, page, dev->unit))
			gm_mask_set(m, page, dev->unit);
}

static void look(struct gm_block *block, const struct gm_dev *dev, const struct gm_resident *res,
		 struct gm_policy_block *v)
{
	if (!res || block->nr_dev == gm_block_copies(block))
		mask_fill(&v->here, 0);
	else if (!block->pages)
		mask_fill(&v->here, is_on(dev, block->uniform) ? ~0ULL : 0);
	else if (!block->residents->next)
		v->here = *gm_block_mask(block);
	else
		scan(block, dev, 0, &v->here);
	for (unsigned int page = 0; res && gm_resident_copies(res) && page < GM_BLOCK_PAGES; page++)
		if (res->copies[page])
			gm_mask_set(&v->here, page, 1);
	if (res && res->nr_pinned) {
		scan(block, dev, GM_E_PINNED, &v->pinned);
		round_out(dev, &v->pinned);
	} else {
		mask_fill(&v->pinned, 0);
	}
	mask_fill(&v->used, 0);
	v->object = block->obj->id;
	v->index = block->index;
	v->clock = gm_load(&dev->policy.clock);
	v->free = gm_hnode_avail(&dev->hnode);
	v->frames = gm_load(&dev->hnode.total);
	if (gm_load(&dev->hnode.limit))
		v->frames = GM_MIN(v->frames, gm_load(&dev->hnode.limit));
	v->want_bytes = 0;
	v->aged = v->hottest = v->modest = 0;
}

/* One call of a policy's: between begin() and end(). */
struct asking {
	struct gm_policy_block view;
	struct gm_block *block;
	struct gm_dev *dev;
	uint32_t *word; /* where it is from; NULL: nowhere */
};

static void begin(struct asking *a, struct gm_block *block, struct gm_dev *dev)
{
	struct gm_resident *res = gm_resident_find(block, dev);
	struct gm_history *h = gm_history_find(block, dev);
	struct gm_policies *p = &dev->policy;

	a->block = block;
	a->dev = dev;
	look(block, dev, res, &a->view);
	gm_spin_lock(&p->lock, GM_RANK_POLICY);
	if (h && h->generation != p->generation)
		h = NULL;
	a->word = h ? &h->word : res ? &res->word : NULL;
	a->view.word = a->word ? *a->word : 0;
	a->view.bytes = h ? h->bytes : NULL;
	a->view.move = p->move;
	a->view.evict = p->evict;
	a->view.move_state = p->move_state;
	a->view.evict_state = p->evict_state;
}

static void end(struct asking *a)
{
	if (a->word)
		*a->word = a->view.word;
	gm_spin_unlock(&a->dev->policy.lock, GM_RANK_POLICY);
	if (a->view.want_bytes && !a->view.bytes)
		gm_history_make(a->block, a->dev);
}

/* ----------------------------------------------------------------------- questions */

/* What is asked for is of the block, and holds the page; else it is the granule. */
static void sanitize(struct gm_policy_move *move, const struct gm_policy_fault *fault)
{
	if (move->first > fault->page || move->n > GM_BLOCK_PAGES - move->first ||
	    fault->page - move->first >= move->n) {
		*move = (struct gm_policy_move){ .n = 0 };
		granule_around(fault->page, fault->granule, &move->first, &move->n);
	}
	if (move->more >= GM_BLOCK_PAGES || !move->stride || move->stride >= (int)GM_BLOCK_PAGES ||
	    move->stride <= -(int)GM_BLOCK_PAGES)
		move->more = 0;
	if (!(fault->flags & GM_FAULT_IN_PLACE))
		move->in_place = move->modest = 0;
}

static void ask_move(struct gm_dev *dev, struct gm_block *block, struct gm_policy_fault *fault,
		     struct gm_policy_move *move)
{
	struct asking a gm_uninitialized;

	fault->granule = gm_load(&dev->granule);
	*move = (struct gm_policy_move){ .n = 0 };
	granule_around(fault->page, fault->granule, &move->first, &move->n);
	if (gm_load(&dev->no_grow)) /* there is nothing to ask */
		return;
	begin(&a, block, dev);
	a.view.move->fault(a.view.move_state, &a.view, fault, move);
	end(&a);
	sanitize(move, fault);
}

/* What to bring to the context's device for a fault on @page, which is not there. */
void gm_policy_fault(struct gm_context *ctx, struct gm_block *block, unsigned int page,
		     uint32_t access, uint32_t flags, struct gm_policy_move *move)
{
	struct gm_policy_fault fault = {
		.ctx = ctx->id,
		.page = page,
		.access = access,
		.flags = flags,
	};

	ask_move(ctx->dev, block, &fault, move);
}

/* The same of a page that is mapped in place, and was used so often there. */
void gm_policy_counted(struct gm_context *ctx, struct gm_block *block, unsigned int page,
		       uint64_t times, struct gm_policy_move *move)
{
	struct gm_policy_fault fault = {
		.ctx = ctx->id,
		.page = page,
		.access = GM_READ,
		.flags = GM_FAULT_IN_PLACE | GM_FAULT_COUNTED,
		.times = times,
	};

	ask_move(ctx->dev, block, &fault, move);
}

/* Which pages are to go, whole units, all of which may: none, if the block is to be passed over. */
void gm_policy_evict(struct gm_block *block, struct gm_dev *dev, uint64_t want,
		     unsigned int pressure, bool hottest, bool modest,
		     struct gm_policy_victims *victims)
{
	const struct gm_resident *res = gm_resident_find(block, dev);
	struct gm_mask used = { { 0 } };
	struct asking a gm_uninitialized;
	bool aged = false;

	if (gm_load(&dev->policy.page_bytes))
		gm_history_make(block, dev);
	if (gm_load(&dev->policy.flags) & GM_EVICT_AGE)
		aged = gm_age_block(block, dev, &used);
	*victims = (struct gm_policy_victims){ .go = { { 0 } } };
	begin(&a, block, dev);
	a.view.aged = aged;
	a.view.hottest = hottest;
	a.view.modest = modest;
	for (unsigned int i = 0; i < GM_POLICY_WORDS; i++)
		a.view.used.word[i] = used.word[i] & a.view.here.word[i];
	a.view.evict->evict(a.view.evict_state, &a.view, GM_MAX(want, dev->unit), pressure,
			    victims);
	end(&a);
	round_out(dev, &victims->go);
	round_out(dev, &victims->probe);
	for (unsigned int i = 0; i < GM_POLICY_WORDS; i++) {
		victims->go.word[i] &= a.view.here.word[i] & ~a.view.pinned.word[i];
		victims->probe.word[i] &= a.view.here.word[i] & ~victims->go.word[i];
	}
	/* Replicas are mapped, and released, by their own rules (replica.c). */
	for (unsigned int page = 0; res && gm_resident_copies(res) && page < GM_BLOCK_PAGES; page++)
		if (res->copies[page])
			gm_mask_clear(&victims->probe, page, 1);
}

/* -------------------------------------------------------------------------- tidings */

enum gm_policy_why gm_policy_why(enum gm_why why)
{
	switch (why) {
	case GM_WHY_CPU_FAULT:
	case GM_WHY_DEV_FAULT:
		return GM_POLICY_FAULT;
	case GM_WHY_PREFETCH:
		return GM_POLICY_HINT;
	case GM_WHY_EVICT:
		return GM_POLICY_EVICT;
	default:
		return GM_POLICY_DROP;
	}
}

static bool hears(const struct gm_dev *dev, uint32_t what)
{
	return gm_load(&dev->policy.hears) & what;
}

/* Pages are on @dev now, and their entries say so. */
void gm_policy_came(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n,
		    enum gm_why why)
{
	struct asking a gm_uninitialized;

	gm_add(&dev->policy.clock, n);
	if (!hears(dev, GM_HEARS_CAME))
		return;
	begin(&a, block, dev);
	if (a.view.evict->came)
		a.view.evict->came(a.view.evict_state, &a.view, first, n, gm_policy_why(why));
	end(&a);
}

/* Pages of these that are on @dev were used there. */
void gm_policy_used(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n,
		    uint64_t times)
{
	struct gm_mask pages = { { 0 } };
	struct asking a gm_uninitialized;

	if (!hears(dev, GM_HEARS_USED))
		return;
	begin(&a, block, dev);
	gm_mask_set(&pages, first, n);
	for (unsigned int i = 0; i < GM_POLICY_WORDS; i++)
		pages.word[i] &= a.view.here.word[i];
	if (a.view.evict->used)
		a.view.evict->used(a.view.evict_state, &a.view, &pages, times);
	end(&a);
}

/* Pages are on @dev no more, as their entries say; they are counted there still. */
void gm_policy_went(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n,
		    enum gm_policy_why why)
{
	struct asking a gm_uninitialized;

	if (!hears(dev, GM_HEARS_WENT))
		return;
	begin(&a, block, dev);
	if (a.view.evict->went)
		a.view.evict->went(a.view.evict_state, &a.view, first, n, why);
	end(&a);
}
