// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * hnodes: watermarks, frames in several ranges, and the lists of who has pages there. The
 * blocks of some tests are not any object's: nothing but their residents is looked at.
 */
#include "unit.h"

#include "core/core.h"
#include "toy.h"

static struct toy toy;

/* A device with so much memory. */
static struct gm_dev *plug(unsigned int blocks)
{
	toy_init(&toy, blocks);
	assert_int_equal(toy_plug(&toy), 0);
	return toy.dev;
}

/* In pages: as tuned, never above half; the low one never above the high one. */
static void watermarks(void **state)
{
	static const struct {
		uint64_t low, high, is_low, is_high;
	} rows[] = {
		{ 0, 0, 32, 64 }, /* a 64th and twice that, of 2048 pages */
		{ 100, 0, 100, 200 },  { 700, 0, 700, 1024 }, { 0, 48, 32, 48 },
		{ 0, 8, 8, 8 },	       { 5, 5, 5, 5 },	      { 1024, 1024, 1024, 1024 },
		{ 0, 1024, 32, 1024 }, { 1, 1000, 1, 1000 },
	};
	struct gm_dev *dev = plug(4);

	(void)state;
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gm_dev_tunables t = { .size = sizeof(t),
					     .low = rows[i].low * PAGE,
					     .high = rows[i].high * PAGE };

		assert_int_equal(gm_dev_tune(dev, &t), 0);
		assert_int_equal(dev->hnode.low, rows[i].is_low);
		assert_int_equal(dev->hnode.high, rows[i].is_high);
	}
	assert_int_equal(toy_unplug(&toy), 0);
}

/* Memory comes and goes: the marks with it, tuned ones as far as there is room. */
static void watermarks_follow_memory(void **state)
{
	struct gm_dev *dev = plug(4);
	struct gm_dev_tunables t = { .size = sizeof(t), .low = BLOCK, .high = 2 * BLOCK };
	uint64_t more = toy.base + 8 * BLOCK;

	(void)state;
	assert_int_equal(gm_dev_register_physmem(dev, more, more + 8 * BLOCK), 0);
	assert_int_equal(dev->hnode.low, 12 * 512 / 64);
	assert_int_equal(dev->hnode.high, 12 * 512 / 32);
	assert_int_equal(gm_dev_tune(dev, &t), 0);
	assert_int_equal(gm_dev_unregister_physmem(dev, more, more + 8 * BLOCK), 0);
	assert_int_equal(dev->hnode.low, 512);
	assert_int_equal(dev->hnode.high, 1024);
	assert_int_equal(gm_dev_register_physmem(dev, more, more + BLOCK), 0);
	assert_int_equal(gm_dev_unregister_physmem(dev, toy.base, toy.base + 4 * BLOCK), 0);
	assert_int_equal(dev->hnode.low, 256); /* half of what is left */
	assert_int_equal(dev->hnode.high, 256);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* Frames of any range, but not of one that is closing, nor of a device that is. */
static void frames_of_ranges(void **state)
{
	struct gm_charge *limit;
	struct gm_dev *dev = plug(2);
	struct gm_hnode *h = &dev->hnode;
	uint64_t pfn[3], page, end = (toy.base + 2 * BLOCK) >> GM_PAGE_SHIFT;

	(void)state;
	assert_int_equal(gm_dev_register_physmem(dev, toy.base + 2 * BLOCK, toy.base + 3 * BLOCK),
			 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(gm_hnode_alloc(dev, NULL, GM_BLOCK_ORDER, &pfn[i], &limit));
		assert_int_equal(pfn[i] % GM_BLOCK_PAGES, 0);
		assert_int_equal(h->free, (2 - i) * 512);
	}
	assert_int_equal(pfn[0], end); /* the newest range first */
	assert_false(gm_hnode_alloc(dev, NULL, 0, &page, &limit));
	gm_hnode_free(dev, NULL, end - 3, 6); /* over the border between two */
	assert_int_equal(h->free, 6);
	h->ranges->closing = true;
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(gm_hnode_alloc(dev, NULL, 0, &page, &limit));
		assert_in_range(page, end - 3, end - 1);
	}
	assert_false(gm_hnode_alloc(dev, NULL, 0, &page, &limit));
	h->ranges->closing = false;
	h->closing = true;
	assert_false(gm_hnode_alloc(dev, NULL, 0, &page, &limit));
	assert_int_equal(gm_hnode_attached(dev), -ENODEV);
	h->closing = false;
	gm_hnode_free(dev, NULL, end + 3, 509);
	gm_hnode_free(dev, NULL, end - 1024, 1024);
	assert_int_equal(h->free, h->total);
	assert_int_equal(gm_hnode_attached(dev), 0);
	assert_int_equal(gm_dev_destroy(dev), -EBUSY);
	gm_hnode_detached(dev);
	assert_int_equal(toy_unplug(&toy), 0);
}

static void free_foreign_frame(void *arg)
{
	gm_hnode_free(arg, NULL, 1, 1);
}

static void frame_of_nobody(void **state)
{
	(void)state;
	unit_expect_bug(free_foreign_frame, plug(1), "!r");
	assert_int_equal(toy_unplug(&toy), 0);
}

/* --------------------------------------------------------------------- residents */

static void list_is(const struct gm_list *list, const char *names, const struct gm_block *blocks)
{
	const struct gm_list *l = list->next;

	for (; *names; names++, l = l->next) {
		assert_ptr_not_equal(l, list);
		assert_ptr_equal(gm_container(l, struct gm_resident, lru)->block,
				 &blocks[*names - 'a']);
	}
	assert_ptr_equal(l, list);
}

static void lists_are(const struct gm_hnode *h, const char *cold, const char *pinned,
		      const struct gm_block *blocks)
{
	list_is(&h->cold, cold, blocks);
	list_is(&h->pinned_list, pinned, blocks);
	assert_int_equal(h->blocks, strlen(cold) + strlen(pinned));
}

static void come(struct gm_block *block, struct gm_dev *dev, int pages)
{
	assert_non_null(gm_resident_get(block, dev));
	gm_resident_count(block, dev, pages, 0);
}

static void leave(struct gm_block *block, struct gm_dev *dev)
{
	struct gm_resident *res = gm_resident_find(block, dev);

	gm_resident_count(block, dev, -(int)res->nr, -(int)res->nr_pinned);
	gm_resident_put_idle(block);
	assert_null(gm_resident_find(block, dev));
}

static void recency(void **state)
{
	struct gm_dev *dev = plug(4);
	struct gm_hnode *h = &dev->hnode;
	struct gm_block b[4];

	(void)state;
	memset(b, 0, sizeof(b));
	for (unsigned int i = 0; i < 4; i++)
		come(&b[i], dev, 10);
	lists_are(h, "abcd", "", b);
	gm_resident_touch(&b[1], dev, true);
	lists_are(h, "acdb", "", b);
	gm_resident_touch(&b[3], dev, false);
	lists_are(h, "dacb", "", b);
	gm_resident_touch(&b[3], dev, false);
	gm_resident_touch(&b[1], dev, true);
	come(&b[0], dev, 5); /* pages more are no use of it */
	gm_resident_count(&b[0], dev, -3, 0);
	lists_are(h, "dacb", "", b);
	assert_int_equal(h->resident, 42);
	assert_int_equal(b[0].nr_dev, 12);
	leave(&b[2], dev);
	lists_are(h, "dab", "", b);
	gm_resident_touch(&b[2], dev, true); /* is not there: nothing */
	lists_are(h, "dab", "", b);
	/* A walk that stands at an entry goes on with the next when that one leaves. */
	h->cursor = &gm_resident_find(&b[0], dev)->lru;
	gm_resident_touch(&b[3], dev, true);
	assert_ptr_equal(h->cursor, &gm_resident_find(&b[0], dev)->lru);
	gm_resident_touch(&b[0], dev, true);
	assert_ptr_equal(h->cursor, &gm_resident_find(&b[1], dev)->lru);
	h->cursor = NULL;
	leave(&b[0], dev);
	leave(&b[1], dev);
	leave(&b[3], dev);
	lists_are(h, "", "", b);
	assert_int_equal(gm_pool_bytes(&gm_core.residents), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* What is wholly pinned stands apart, and comes back as the hottest. */
static void pinned_apart(void **state)
{
	struct gm_dev *dev = plug(4);
	struct gm_hnode *h = &dev->hnode;
	struct gm_block b[3];

	(void)state;
	memset(b, 0, sizeof(b));
	for (unsigned int i = 0; i < 3; i++)
		come(&b[i], dev, 10);
	gm_resident_count(&b[1], dev, 0, 9);
	lists_are(h, "abc", "", b);
	gm_resident_count(&b[1], dev, 0, 1);
	lists_are(h, "ac", "b", b);
	gm_resident_count(&b[0], dev, 2, 12);
	lists_are(h, "c", "ba", b);
	assert_int_equal(h->pinned, 22);
	gm_resident_touch(&b[1], dev, false); /* pinned is pinned */
	lists_are(h, "c", "ab", b);
	gm_resident_count(&b[0], dev, 1, 0); /* a page that is not */
	lists_are(h, "ca", "b", b);
	gm_resident_count(&b[0], dev, -1, 0); /* which went */
	lists_are(h, "c", "ba", b);
	gm_resident_count(&b[1], dev, 0, -1);
	lists_are(h, "cb", "a", b);
	for (unsigned int i = 0; i < 3; i++)
		leave(&b[i], dev);
	assert_int_equal(h->pinned, 0);
	assert_int_equal(h->resident, 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* A resident a device; one that counts nothing yet is on no list, and goes when asked. */
static void on_two_devices(void **state)
{
	struct unit *u = *state;
	struct gm_dev *d0 = unit_dev(u, 0), *d1 = unit_dev(u, 1);
	struct gm_resident *res;
	struct gm_block b;

	memset(&b, 0, sizeof(b));
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	assert_null(gm_resident_get(&b, d0));
	res = gm_resident_get(&b, d0);
	assert_non_null(res);
	assert_ptr_equal(gm_resident_get(&b, d0), res);
	assert_null(gm_resident_find(&b, d1));
	come(&b, d1, 7);
	lists_are(&d0->hnode, "", "", &b);
	lists_are(&d1->hnode, "a", "", &b);
	gm_resident_put_idle(&b);
	assert_null(gm_resident_find(&b, d0));
	come(&b, d0, 3);
	assert_int_equal(b.nr_dev, 10);
	assert_int_equal(d0->hnode.resident, 3);
	assert_int_equal(d1->hnode.resident, 7);
	leave(&b, d1);
	lists_are(&d0->hnode, "a", "", &b);
	leave(&b, d0);
	assert_int_equal(b.nr_dev, 0);
	assert_null(b.residents);
}

/* Two pages that follow one another lie in two ranges that do: no extent for the allocators. */
static void ranges_that_adjoin(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), other = unit_alloc(u, BLOCK), value;
	struct gm_context *ctx;

	toy_init(&toy, 2);
	toy.size = BLOCK; /* toy_plug() registers one, the second */
	toy.base += BLOCK;
	assert_int_equal(toy_plug(&toy), 0);
	toy.base -= BLOCK;
	toy.size = 2 * BLOCK;
	toy.memory = realloc(toy.memory, toy.size);
	assert_int_equal(gm_dev_register_physmem(toy.dev, toy.base, toy.base + BLOCK), 0);
	unit_tune(toy.dev, PAGE, true, true);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	unit_fill(u, CPU, va, BLOCK, 1);
	for (uint64_t i = 0; i < 511; i++)
		assert_int_equal(toy_access(ctx, other + i * PAGE, &value, 8, GM_READ), 0);
	assert_int_equal(toy_access(ctx, va + 8 * PAGE, &value, 8, GM_READ), 0);
	assert_int_equal(toy_access(ctx, va + 9 * PAGE, &value, 8, GM_READ), 0);
	assert_int_equal(toy_find(ctx, va + 8 * PAGE)->pa, toy.base + BLOCK - PAGE);
	assert_int_equal(toy_find(ctx, va + 9 * PAGE)->pa, toy.base + BLOCK);
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_int_equal(unit_hnode(gm_dev_hnode(toy.dev)).free, 2 * BLOCK - 511 * PAGE);
	/* Either can be taken back alone. */
	assert_int_equal(toy_access(ctx, va + 9 * PAGE, &value, 8, GM_READ), 0);
	assert_int_equal(gm_dev_unregister_physmem(toy.dev, toy.base + BLOCK, toy.base + 2 * BLOCK),
			 0);
	assert_int_equal(unit_count_on(u->as, other, BLOCK, gm_dev_hnode(toy.dev)), 511);
	unit_check();
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/*
 * A high mark below the low one's default: the low one goes down with it, for a worker
 * that is called and has nothing to do would be called for ever.
 */
static void high_below_default_low(void **state)
{
	struct unit *u = *state;
	struct gm_dev_tunables t = { .size = sizeof(t), .granule = PAGE, .no_grow = 1 };
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	int node = unit_node(u, 0);

	t.high = 8 * PAGE; /* the default of low: a 64th of 8 MiB, 32 pages */
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), 0);
	unit_fill(u, 0, va, 4 * BLOCK - 8 * PAGE, 1);
	assert_int_equal(unit_hnode(node).free, 8 * PAGE);
	assert_int_equal(gm_fake_run_work(), 0);
	unit_fill(u, 0, va + 4 * BLOCK - 8 * PAGE, PAGE, 1);
	assert_int_equal(gm_fake_run_work(), 1);
	assert_true(unit_hnode(node).free >= BLOCK);
	assert_int_equal(gm_fake_run_work(), 0);
	unit_verify(u, 0, va, 4 * BLOCK - 7 * PAGE, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ranges_that_adjoin, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(high_below_default_low, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(watermarks, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(watermarks_follow_memory, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(frames_of_ranges, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(frame_of_nobody, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(recency, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(pinned_apart, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(on_two_devices, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
