// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The checks of the whole state: each count that is broken on purpose stops a debug
 * build, in a child, by the fake host's bug; other builds do not look.
 */
#include <unistd.h>

#include "unit.h"

#include "core/check.h"
#include "core/core.h"

/* Three blocks, wholly, partly and not on a device, with pins and retained frames. */
static struct scene {
	struct gm_object *obj;
	struct gm_dev *dev;
	struct gm_block *block; /* its pages in an array */
	uint64_t va;
} s;

static void scene_make(struct unit *u)
{
	s.obj = unit_object(3 * BLOCK);
	s.dev = unit_dev(u, 0);
	s.va = unit_map(u->as, s.obj, 0, 3 * BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, CPU, s.va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), s.va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), s.va + BLOCK, 5 * PAGE, GM_PIN), 0);
	unit_store(u, 1, s.va + BLOCK + 40 * PAGE, 1);
	unit_store(u, CPU, s.va + BLOCK + 50 * PAGE, 1);
	unit_store(u, 0, s.va + BLOCK + 50 * PAGE, 1); /* retained */
	s.block = gm_lpt_peek(s.obj, 1);
	assert_non_null(s.block->pages);
}

#ifdef GM_DEBUG

static struct gm_resident *resident(void)
{
	return gm_resident_find(s.block, s.dev);
}

static void page_more(void)
{
	s.block->nr_dev++;
}

static void retained_more(void)
{
	s.block->nr_retained++;
}

static void resident_less(void)
{
	resident()->nr--;
}

static void resident_elsewhere(void)
{
	resident()->block = gm_lpt_peek(s.obj, 0);
}

static void more_pins_than_pages(void)
{
	resident()->nr_pinned = (uint16_t)(resident()->nr + 1);
}

static void pins_less(void)
{
	resident()->nr_pinned--;
}

static void bad_and_more(void)
{
	s.block->pages[300] = GM_BAD | GM_E_PINNED;
}

static void retained_nowhere(void)
{
	s.block->pages[300] = GM_NONE | GM_E_RETAINED;
}

static void device_of_none(void)
{
	s.block->pages[0] = gm_entry_on_dev(50, gm_entry_pfn(s.block->pages[0]), GM_E_PINNED);
}

static void frame_of_none(void)
{
	s.block->pages[0] = gm_entry_on_dev(s.dev->index, 1, GM_E_PINNED);
}

static void frame_that_is_free(void)
{
	gm_hnode_free(s.dev, NULL, gm_entry_pfn(s.block->pages[0]), 1);
}

static void frame_that_nobody_has(void)
{
	struct gm_charge *limit;
	uint64_t pfn;

	gm_hnode_alloc(s.dev, NULL, 0, &pfn, &limit);
}

static void pin_of_a_page(void)
{
	s.block->pages[0] &= ~GM_E_PINNED;
}

static void index_of_another(void)
{
	s.block->index = 2;
}

static void block_more(void)
{
	s.obj->nr_blocks++;
}

static void retained_of_all(void)
{
	gm_core.retained--;
}

static void free_more(void)
{
	s.dev->hnode.free++;
}

static void total_less(void)
{
	s.dev->hnode.total--;
}

static void resident_of_all(void)
{
	s.dev->hnode.resident--;
}

static void pinned_of_all(void)
{
	s.dev->hnode.pinned++;
}

static void blocks_of_all(void)
{
	s.dev->hnode.blocks--;
}

static void off_the_list(void)
{
	gm_list_del(&resident()->lru);
}

/* What is broken, and the check that sees it first. */
static const struct broken {
	void (*make)(void);
	const char *text;
} broken[] = {
	{ page_more, "dev != block->nr_dev" },
	{ retained_more, "retained != block->nr_retained" },
	{ resident_less, "nr != dev" },
	{ resident_elsewhere, "res->block != block" },
	{ more_pins_than_pages, "res->nr_pinned > res->nr" },
	{ pins_less, "pinned != (res ? res->nr_pinned : 0)" },
	{ bad_and_more, "e != GM_BAD" },
	{ retained_nowhere, "gm_entry_state(e) == GM_NONE" },
	{ device_of_none, "!gm_core.dev[" },
	{ frame_of_none, "true" },
	{ frame_that_is_free, "gm_buddy_is_free" },
	{ frame_that_nobody_has, "h->free + t.pages != h->total" },
	{ pin_of_a_page, "pinned != (res ? res->nr_pinned : 0)" },
	{ index_of_another, "block->index != index" },
	{ block_more, "n != obj->nr_blocks" },
	{ retained_of_all, "retained != gm_core.retained" },
	{ free_more, "free != h->free" },
	{ total_less, "total != h->total" },
	{ resident_of_all, "t.pages != h->resident" },
	{ pinned_of_all, "t.pinned != h->pinned" },
	{ blocks_of_all, "t.blocks != h->blocks" },
	{ off_the_list, "gm_list_empty(&res->lru)" },
};

static void break_and_look(void *arg)
{
	const struct broken *b = arg;

	b->make();
	gm_check_all();
}

static void each_is_found(void **state)
{
	scene_make(*state);
	gm_check_all();
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct broken b = broken[i];

		unit_expect_bug(break_and_look, &b, b.text);
	}
	gm_check_all(); /* nothing of that happened here */
	gm_object_put(s.obj);
}

static void break_and_unlock(void *arg)
{
	struct gm_block *block = gm_block_find(s.obj, 1, false);

	(void)arg;
	block->nr_dev++;
	gm_block_unlock(block);
}

/* A block is looked at each time it is unlocked. */
static void found_at_unlock(void **state)
{
	scene_make(*state);
	unit_expect_bug(break_and_unlock, NULL, "dev != block->nr_dev");
	gm_object_put(s.obj);
}

/* The bug hook of the fake host runs before the end. */
static void on_bug(void)
{
	static const char text[] = "the hook ran\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		abort();
}

static void break_with_hook(void *arg)
{
	gm_fake_on_bug(on_bug);
	break_and_look(arg);
}

static void told_by_the_host(void **state)
{
	struct broken b = { free_more, "" };

	scene_make(*state);
	unit_expect_bug(break_with_hook, &b, "the hook ran");
	gm_object_put(s.obj);
}

#else

/* Not a debug build: a count that is wrong for a moment is nobody's business. */
static void nobody_looks(void **state)
{
	struct gm_block *block;

	scene_make(*state);
	block = gm_block_find(s.obj, 1, false);
	assert_ptr_equal(block, s.block);
	block->nr_retained++;
	gm_check_block(block);
	gm_block_unlock(block);
	block->nr_retained--;
	unit_verify(*state, CPU, s.va, BLOCK, 1);
	gm_object_put(s.obj);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef GM_DEBUG
		cmocka_unit_test_setup_teardown(each_is_found, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(found_at_unlock, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(told_by_the_host, unit_setup, unit_teardown),
#else
		cmocka_unit_test_setup_teardown(nobody_looks, unit_setup, unit_teardown),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
