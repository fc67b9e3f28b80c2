// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Whole-state checks of the invariants, in debug builds.
 *
 * gm_check_block() runs at every unlock of a block: its counts are what its entries
 * say, and devices have whole units. gm_check_all() runs when nothing else does: every frame is
 * free, or held by exactly one page; every hnode's sums and lists are what the blocks say.
 */
#include "core/check.h"
#include "core/core.h"

#ifdef GM_DEBUG

/*
 * What a device has is whole units: aligned, in frames that follow one another and are aligned
 * alike.
 */
static void check_units(const struct gm_block *block)
{
	for (unsigned int page = 0; page < GM_BLOCK_PAGES; page++) {
		uint64_t e = gm_block_entry(block, page), first;
		unsigned int unit, in;

		if (gm_entry_state(e) != GM_DEV)
			continue;
		unit = gm_core.dev[gm_entry_dev(e)]->unit;
		in = page & (unit - 1);
		first = gm_block_entry(block, page - in);
		gm_bug_on(gm_entry_pfn(e) % unit != in);
		gm_bug_on(gm_entry_state(first) != GM_DEV ||
			  gm_entry_dev(first) != gm_entry_dev(e) ||
			  gm_entry_pfn(first) + in != gm_entry_pfn(e));
		if (in + 1 < unit) /* the next one looks back */
			gm_bug_on(gm_entry_state(gm_block_entry(block, page + 1)) != GM_DEV);
	}
}

void gm_check_block(const struct gm_block *block)
{
	unsigned int dev = 0, retained = 0, n, nr = 0;
	uint64_t e;

	for (unsigned int page = 0; page < GM_BLOCK_PAGES; page += n) {
		n = gm_block_run(block, page, GM_BLOCK_PAGES, &e);
		if (gm_entry_state(e) == GM_DEV) {
			dev += n;
			gm_bug_on(!gm_core.dev[gm_entry_dev(e)]);
		}
		retained += gm_entry_retained(e) ? n : 0;
		gm_bug_on((e & GM_E_RETAINED) && gm_entry_state(e) == GM_NONE);
		gm_bug_on(gm_entry_state(e) == GM_BAD && e != GM_BAD);
	}
	dev += gm_block_copies(block);
	gm_bug_on(dev != block->nr_dev || retained != block->nr_retained);
	if (dev)
		check_units(block);
	gm_check_replicas(block);
	gm_bug_on(block->more && gm_more_empty(block->more)); /* I9 */
	for (const struct gm_resident *res = block->residents; res; res = res->next) {
		gm_bug_on(res->block != block || res->nr_pinned > res->nr);
		nr += res->nr;
	}
	gm_bug_on(nr != dev);
	for (unsigned int page = 0; block->pages && page < GM_BLOCK_PAGES; page++)
		gm_bug_on(gm_mask_test(gm_block_mask(block), page) !=
			  (gm_entry_state(block->pages[page]) == GM_DEV));
}

/* What one device's blocks hold, counted anew. */
struct gm_tally {
	uint64_t pages, pinned, blocks;
};

static void frame_seen(struct gm_dev *dev, uint64_t pfn)
{
	for (struct gm_physmem *r = dev->hnode.ranges; r; r = r->next) {
		if (pfn < r->buddy.begin || pfn >= r->buddy.end)
			continue;
		gm_bug_on(gm_buddy_is_free(&r->buddy, pfn) || gm_frame_bad(r, pfn)); /* I5 */
		return;
	}
	gm_bug_on(true); /* a frame that is nobody's */
}

static void tally_block(struct gm_dev *dev, const struct gm_block *block, struct gm_tally *t)
{
	struct gm_resident *res = gm_resident_find((struct gm_block *)block, dev);
	uint64_t pages = 0, pinned = 0;

	for (unsigned int page = 0; page < GM_BLOCK_PAGES; page++) {
		uint64_t e = gm_block_entry(block, page);

		if (gm_entry_state(e) != GM_DEV || gm_entry_dev(e) != dev->index)
			continue;
		frame_seen(dev, gm_entry_pfn(e));
		t->pages++;
		pages++;
		pinned += !!(e & GM_E_PINNED);
	}
	for (unsigned int page = 0; res && res->copies && page < GM_BLOCK_PAGES; page++) {
		if (!res->copies[page])
			continue;
		frame_seen(dev, gm_entry_pfn(res->copies[page]));
		t->pages++;
		pages++;
	}
	if (dev->unit > 1)
		pinned = gm_units_pinned(block, dev);
	gm_bug_on(pages != (res ? res->nr : 0) || pinned != (res ? res->nr_pinned : 0));
	gm_bug_on(res && gm_list_empty(&res->lru) != !res->nr);
	t->pinned += pinned;
	t->blocks += pages != 0;
}

static void tally_object(struct gm_dev *dev, struct gm_object *obj, struct gm_tally *t)
{
	uint64_t end = (obj->size + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT, index = 0;

	for (; (index = gm_lpt_next(obj, index, end)) < end; index++)
		tally_block(dev, gm_lpt_peek(obj, index), t);
}

/* What an account is charged for is what the blocks of its objects hold, and those are its list. */
static void check_account(struct gm_dev *dev, const struct gm_account *account)
{
	const struct gm_charge *charge = &account->charge[dev->index];
	uint64_t pages = 0, cold = 0, listed = 0;

	for (struct gm_list *l = gm_core.objects.next; l != &gm_core.objects; l = l->next) {
		struct gm_object *obj = gm_container(l, struct gm_object, all);
		uint64_t end = (obj->size + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT, index = 0;

		for (; (index = gm_lpt_next(obj, index, end)) < end; index++) {
			struct gm_resident *res = gm_resident_find(gm_lpt_peek(obj, index), dev);

			if (!res || obj->account[account->payer] != account)
				continue;
			pages += res->nr;
			cold += res->nr_pinned < res->nr;
		}
	}
	for (struct gm_list *l = charge->cold.next; l != &charge->cold; l = l->next, listed++) {
		struct gm_resident *res = gm_resident_of(charge, l);

		gm_bug_on(res->dev != dev || res->block->obj->account[account->payer] != account);
	}
	gm_bug_on(charge->used != pages || charge->resident != pages || listed != cold);
}

/* Retired frames are counted, and not free. */
static uint64_t check_bad(const struct gm_physmem *r)
{
	uint64_t n = 0;

	for (uint64_t pfn = r->buddy.begin; r->bad && pfn < r->buddy.end; pfn++) {
		if (!gm_frame_bad(r, pfn))
			continue;
		gm_bug_on(gm_buddy_is_free(&r->buddy, pfn));
		n++;
	}
	gm_bug_on(n != r->nr_bad);
	return n;
}

static void check_dev(struct gm_dev *dev)
{
	struct gm_hnode *h = &dev->hnode;
	struct gm_tally t = { .pages = 0 };
	uint64_t free = 0, total = 0, listed = 0, bad = 0;

	for (struct gm_list *l = gm_core.objects.next; l != &gm_core.objects; l = l->next)
		tally_object(dev, gm_container(l, struct gm_object, all), &t);
	for (struct gm_physmem *r = h->ranges; r; r = r->next) {
		free += r->buddy.free;
		total += r->buddy.end - r->buddy.begin - r->nr_bad;
		bad += check_bad(r);
	}
	for (struct gm_list *l = h->cold.next; l != &h->cold; l = l->next)
		listed++;
	for (struct gm_list *l = h->pinned_list.next; l != &h->pinned_list; l = l->next)
		listed++;
	gm_bug_on(free != h->free || total != h->total || bad != h->poisoned);
	gm_bug_on(t.pages != h->resident);
	gm_bug_on(h->free + t.pages != h->total); /* as many frames in use as pages: one each */
	gm_bug_on(t.pinned != h->pinned || t.blocks != h->blocks || listed != h->blocks);
}

/* Each context once: with the first region of its address space. */
static uint64_t check_contexts(const struct gm_object *obj)
{
	uint64_t spans = 0;

	for (const struct gm_region *r = obj->regions; r; r = r->next)
		for (struct gm_context *ctx = r->as->regions[0] == r ? r->as->contexts : NULL; ctx;
		     ctx = ctx->next)
			spans += gm_check_spans(ctx);
	return spans;
}

void gm_check_all(void)
{
	uint64_t retained = 0, spans = 0;

	for (struct gm_list *l = gm_core.objects.next; l != &gm_core.objects; l = l->next) {
		struct gm_object *obj = gm_container(l, struct gm_object, all);
		uint64_t end = (obj->size + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT, index = 0, n = 0;

		for (; (index = gm_lpt_next(obj, index, end)) < end; index++, n++) {
			struct gm_block *block = gm_lpt_peek(obj, index);

			gm_check_block(block);
			gm_bug_on(block->obj != obj || block->index != index);
			if (obj->granule == GM_PAGE_SIZE)
				retained += block->nr_retained;
		}
		gm_bug_on(n != obj->nr_blocks);
		spans += check_contexts(obj);
	}
	gm_bug_on(spans != gm_core.spans.in_use); /* none without a region */
	gm_bug_on(retained != gm_core.retained);
	for (unsigned int i = 0; i < GM_MAX_DEVS; i++) {
		if (!gm_core.dev[i])
			continue;
		check_dev(gm_core.dev[i]);
		for (struct gm_list *l = gm_core.objects.next; l != &gm_core.objects; l = l->next) {
			struct gm_object *obj = gm_container(l, struct gm_object, all);

			for (unsigned int p = 0; p < GM_NR_PAYERS; p++)
				if (obj->account[p])
					check_account(gm_core.dev[i], obj->account[p]);
		}
	}
}

#endif
