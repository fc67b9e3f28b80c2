// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* A device's memory that fails: one page is lost, nothing else, its frame is not used again. */
#include "poison_lib.h"
#include "toy.h"

/* ------------------------------------------------------------------------- frames */

/* A free frame: nobody gets it, and it is in no sum but its own. */
static void free_frame(void **state)
{
	struct unit *u = *state;
	struct gm_hnode_info before = unit_hnode(unit_node(u, 0)), now;
	uint64_t va = unit_alloc(u, (BLOCKS + 1) * BLOCK), base = 1ULL << 32;
	uint64_t bad = base + BLOCK + 33 * PAGE;

	assert_int_equal(gm_dev_poison(unit_dev(u, 0), bad + 100), 0);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), bad), 0);
	now = unit_hnode(unit_node(u, 0));
	assert_int_equal(now.total, before.total - PAGE);
	assert_int_equal(now.free, before.free - PAGE);
	assert_int_equal(now.poisoned, PAGE);
	assert_int_equal(now.metadata, before.metadata + PAGE); /* a bit a frame */
	unit_check();
	unit_fill(u, 0, va, (BLOCKS + 1) * BLOCK, 1);
	assert_true(unit_dev_stats(unit_dev(u, 0)).evictions > 0);
	for (uint64_t off = 0; off < (BLOCKS + 1) * BLOCK; off += PAGE)
		if (unit_info(u->as, va + off).node == unit_node(u, 0))
			assert_true(pa_of(u->as, va + off) != bad);
	unit_verify(u, CPU, va, (BLOCKS + 1) * BLOCK, 1);
	assert_int_equal(unit_hnode(unit_node(u, 1)).poisoned, 0);
}

static void bad_calls(void **state)
{
	struct unit *u = *state;
	uint64_t base = 1ULL << 32;

	assert_int_equal(gm_dev_poison(NULL, base), -EINVAL);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), base - 1), -ENOENT);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), base + BLOCKS * BLOCK), -ENOENT);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), UINT64_MAX), -ENOENT);
	gm_fake_set_usable(-EPERM);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), base), -EPERM);
	assert_int_equal(gm_aperture_poison(base), -EPERM);
	gm_fake_set_usable(0);
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), base), -ENOMEM);
	assert_int_equal(unit_hnode(unit_node(u, 0)).poisoned, 0);
}

/* A frame that a fault has taken, and no block has yet, is waited for, not for ever. */
static void frame_in_hand(void **state)
{
	struct gm_charge *limit;
	struct unit *u = *state;
	struct gm_dev *dev = unit_dev(u, 0);
	uint64_t pfn;

	assert_true(gm_hnode_alloc(dev, NULL, 4, &pfn, &limit));
	assert_int_equal(gm_dev_poison(dev, (pfn + 3) << 12), -EBUSY);
	assert_int_equal(unit_hnode(unit_node(u, 0)).poisoned, 0);
	gm_hnode_free(dev, NULL, pfn, 16);
	assert_int_equal(gm_dev_poison(dev, (pfn + 3) << 12), 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).poisoned, PAGE);
}

/* The device goes, or a range of it, with what was retired. */
static void range_goes(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), half, value = 5;
	struct gm_hnode_info info;
	struct gm_context *ctx;
	struct toy toy;
	int node;

	toy_init(&toy, 4);
	half = toy.base + 2 * BLOCK;
	toy.memory = malloc(toy.size);
	assert_non_null(toy.memory);
	assert_int_equal(gm_dev_create(&toy.mmu, "two", &toy, &toy.dev), 0);
	assert_int_equal(gm_dev_register_physmem(toy.dev, toy.base, half), 0);
	assert_int_equal(gm_dev_register_physmem(toy.dev, half, toy.base + 4 * BLOCK), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	node = gm_dev_hnode(toy.dev);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(gm_dev_poison(toy.dev, half + BLOCK + i * 13 * PAGE), 0);
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, node, va, BLOCK, GM_PREFETCH), 0);
	assert_true(pa_of(u->as, va) >= half); /* the last range is the first asked */
	assert_int_equal(gm_dev_poison(toy.dev, pa_of(u->as, va + 5 * PAGE)), 0);
	info = unit_hnode(node);
	assert_int_equal(info.poisoned, 11 * PAGE);
	assert_int_equal(info.total, 4 * BLOCK - 11 * PAGE);
	assert_int_equal(gm_dev_unregister_physmem(toy.dev, half, toy.base + 4 * BLOCK), 0);
	info = unit_hnode(node);
	assert_int_equal(info.poisoned, 0);
	assert_int_equal(info.total, 2 * BLOCK);
	assert_int_equal(info.free, 2 * BLOCK);
	is_lost(u, va + 5 * PAGE);
	rest_verify(u, CPU, va, BLOCK, va + 5 * PAGE, 1);
	/* Registered anew, it is what the driver says it is. */
	assert_int_equal(gm_dev_register_physmem(toy.dev, half, toy.base + 4 * BLOCK), 0);
	assert_int_equal(unit_hnode(node).poisoned, 0);
	unit_check();
	assert_int_equal(toy_access(ctx, va, &value, 8, GM_WRITE), 0);
	assert_int_equal(gm_dev_poison(toy.dev, pa_of(u->as, va)), 0);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
	is_lost(u, va);
	is_lost(u, va + 5 * PAGE);
	unit_verify(u, 1, va + PAGE, 4 * PAGE, 1);
	unit_verify(u, 0, va + 6 * PAGE, BLOCK - 6 * PAGE, 1);
}

/* Nothing is left: the device is full, and still goes. */
static void all_of_it(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), base = 1ULL << 32, value = 1;

	for (uint64_t off = 0; off < BLOCKS * BLOCK; off += PAGE)
		assert_int_equal(gm_dev_poison(unit_dev(u, 0), base + off), 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).total, 0);
	unit_tune(unit_dev(u, 0), PAGE, true, true);
	assert_int_equal(unit_access(u, 0, va, &value, 8, GM_WRITE), -ENOSPC);
	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 1, va, BLOCK, 1);
	unit_check();
}

/* ------------------------------------------------------------------- a page of a leaf */

/* Of a leaf of 2 MiB one page goes; the rest stays where it is, and mapped. */
static void in_a_leaf(void **state)
{
	static const unsigned int at[] = { 0, 77, 511 };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 3 * BLOCK), faults, moved;

	unit_fill(u, CPU, va, 3 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 3 * BLOCK, GM_PREFETCH), 0);
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t block = va + i * BLOCK, bad = block + at[i] * PAGE;

		unit_verify(u, 0, block, BLOCK, 1); /* translations are cached */
		faults = unit_dev_stats(unit_dev(u, 0)).dev_faults;
		moved = unit_as_stats(u->as).pages_to_host;
		lose(u, 0, bad);
		rest_on(u, block, BLOCK, bad, unit_node(u, 0));
		rest_verify(u, 0, block, BLOCK, bad, 1);
		assert_int_equal(unit_dev_stats(unit_dev(u, 0)).dev_faults, faults);
		assert_int_equal(unit_as_stats(u->as).pages_to_host, moved);
		assert_int_equal(unit_hnode(unit_node(u, 0)).poisoned, (i + 1) * PAGE);
		is_lost(u, bad);
	}
	for (unsigned int i = 0; i < 3; i++)
		rest_verify(u, CPU, va + i * BLOCK, BLOCK, va + i * BLOCK + at[i] * PAGE, 1);
}

/* The leaves that are left are as large as can be. */
static void leaves(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), bad = va + 200 * PAGE;
	struct gm_context *ctx;
	struct toy toy;

	toy_init(&toy, 2);
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(toy_find(ctx, va)->leaf, BLOCK);
	assert_int_equal(gm_dev_poison(toy.dev, pa_of(u->as, bad)), 0);
	assert_null(toy_find(ctx, bad));
	for (uint64_t at = va; at < va + BLOCK; at += PAGE)
		assert_true(at == bad || toy_find(ctx, at));
	assert_int_equal(toy_find(ctx, va)->leaf, 65536);
	assert_int_equal(toy_find(ctx, va + BLOCK - PAGE)->leaf, 65536);
	assert_int_equal(toy_find(ctx, bad + PAGE)->leaf, PAGE);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* A page by itself; pinned; with its host frame kept. Twice is once. */
static void flags_go(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), pa, kept;

	unit_fill(u, CPU, va, 4 * PAGE, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 3 * PAGE, GM_PIN), 0);
	assert_int_equal(unit_info(u->as, va).flags, GM_PAGE_PINNED | GM_PAGE_RETAINED);
	assert_int_equal(gm_fake_page(u->as, va + PAGE) & GM_FAKE_PRESENT, GM_FAKE_PRESENT);
	kept = gm_retained_bytes();
	pa = lose(u, 0, va + PAGE);
	assert_int_equal(gm_retained_bytes(), kept - PAGE);
	assert_int_equal(unit_hnode(unit_node(u, 0)).pinned, 2 * PAGE);
	is_lost(u, va + PAGE);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), pa), 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).poisoned, PAGE);
	lose(u, 0, va);
	lose(u, 0, va + 2 * PAGE); /* the block's last page there */
	assert_int_equal(unit_hnode(unit_node(u, 0)).blocks, 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).pinned, 0);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_UNPIN), 0);
	for (unsigned int i = 0; i < 3; i++)
		is_lost(u, va + i * PAGE);
	unit_verify(u, 0, va + 3 * PAGE, PAGE, 1);
}

/* Two address spaces and two addresses see one loss. */
static void aliases(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t a = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE), value;
	uint64_t b = unit_map(u->as, obj, 7 * PAGE, BLOCK - 7 * PAGE, GM_READ | GM_WRITE), c;
	struct gm_sim_ctx *ctx;
	struct gm_as *other;

	assert_int_equal(gm_as_create(NULL, &other), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], other, &ctx), 0);
	c = unit_map(other, obj, 0, BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, 0, a, BLOCK, 1);
	for (uint64_t off = 0; off < BLOCK; off += PAGE)
		assert_int_equal(
			gm_sim_access(ctx, (void *)(uintptr_t)(c + off), &value, 8, GM_READ), 0);
	assert_int_equal(unit_access(u, 0, b, &value, 8, GM_READ), 0);
	lose(u, 0, b + 13 * PAGE);
	is_lost(u, a + 20 * PAGE);
	is_lost(u, b + 13 * PAGE);
	assert_int_equal(unit_info(other, c + 20 * PAGE).flags, GM_PAGE_POISONED);
	assert_int_equal(gm_sim_access(ctx, (void *)(uintptr_t)(c + 20 * PAGE), &value, 8, GM_READ),
			 -EHWPOISON);
	assert_int_equal(gm_fake_cpu_access(other, c + 20 * PAGE, &value, 8, GM_READ), -EHWPOISON);
	rest_verify(u, 1, a, BLOCK, a + 20 * PAGE, 1); /* the other device gets all else */
	rest_verify(u, CPU, a, BLOCK, a + 20 * PAGE, 1);
	assert_int_equal(gm_as_destroy(other), 0);
	gm_object_put(obj);
}

/* -------------------------------------------------------------------------- afterwards */

/* What is moved, mapped, pinned or copied around it leaves it out. */
static void around(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), bad = va + 21 * PAGE, other = unit_alloc(u, BLOCK);
	uint64_t value;

	unit_tune(unit_dev(u, 1), 65536, false, true);
	unit_fill(u, 0, va, BLOCK, 1);
	lose(u, 0, bad);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, BLOCK, GM_PREFETCH), 0);
	rest_on(u, va, BLOCK, bad, unit_node(u, 1));
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	rest_on(u, va, BLOCK, bad, GM_NODE_HOST);
	assert_int_equal(gm_fake_page(u->as, bad) & GM_FAKE_MAPPED, 0);
	for (uint64_t at = va; at < va + BLOCK; at += PAGE)
		assert_true(at == bad || (gm_fake_page(u->as, at) & GM_FAKE_MAPPED));
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PIN), 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).pinned, BLOCK - PAGE);
	is_lost(u, bad);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), bad, PAGE, GM_PIN), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_UNPIN), 0);

	/* A granule of the CPU's, on either side; of a device's; the whole of a block that fills up. */
	unit_verify(u, CPU, va + 17 * PAGE, PAGE, 1);
	unit_on(u->as, va + 16 * PAGE, 5 * PAGE, GM_NODE_HOST);
	unit_on(u->as, bad + PAGE, 10 * PAGE, unit_node(u, 0));
	unit_verify(u, CPU, bad + PAGE, PAGE, 1);
	unit_on(u->as, bad + PAGE, 10 * PAGE, GM_NODE_HOST);
	unit_verify(u, CPU, va, 16 * PAGE, 1);
	unit_verify(u, 1, va + 16 * PAGE, PAGE, 1);
	unit_on(u->as, bad + PAGE, 10 * PAGE, unit_node(u, 1));
	rest_verify(u, 1, va, BLOCK, bad, 1);
	rest_on(u, va, BLOCK, bad, unit_node(u, 1));
	is_lost(u, bad);

	/* Copies stop at it, and go on beside it. */
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, other, u->as, va, 21 * PAGE), 0);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, other, u->as, va, BLOCK), -EHWPOISON);
	assert_int_equal(gm_copy(unit_node(u, 0), u->as, va, u->as, other, BLOCK), -EHWPOISON);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, bad - 8, u->as, other, 16), -EHWPOISON);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, bad + PAGE, u->as, other, 16), 0);
	assert_int_equal(unit_access(u, CPU, bad + PAGE, &value, 8, GM_READ), 0);
}

/* Dropped as a whole it is a page like any other, and zero. */
static void mended(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_alloc(u, BLOCK), a, bad = va + 9 * PAGE;
	uint64_t kept = gm_metadata_bytes();

	unit_fill(u, 0, va, BLOCK, 1);
	lose(u, 0, bad);
	assert_int_equal(gm_advise(u->as, 0, bad + 8, PAGE, GM_DONTNEED), 0); /* no whole page */
	is_lost(u, bad);
	assert_int_equal(gm_advise(u->as, 0, bad, PAGE, GM_DONTNEED), 0);
	assert_int_equal(unit_info(u->as, bad).flags, 0);
	unit_verify(u, 0, bad, PAGE, 0);
	unit_fill(u, CPU, bad, PAGE, 2);
	unit_verify(u, 0, bad, PAGE, 2);
	rest_verify(u, 1, va, BLOCK, bad, 1);

	/* A block of which nothing else is left, and then nothing. */
	lose(u, 1, va);
	assert_int_equal(gm_advise(u->as, 0, va + PAGE, BLOCK - PAGE, GM_DONTNEED), 0);
	is_lost(u, va);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_DONTNEED), 0);
	unit_verify(u, CPU, va, BLOCK, 0);

	/* Every page of a block. */
	unit_fill(u, 0, va, BLOCK, 3);
	for (uint64_t off = 0; off < BLOCK; off += PAGE)
		lose(u, 0, va + off);
	is_lost(u, va + 511 * PAGE);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, 0, va, 2 * PAGE, GM_DONTNEED), 0);
	unit_verify(u, 1, va, 2 * PAGE, 0);
	is_lost(u, va + 2 * PAGE);

	/* Unmapped: in part, as a whole, and the end of an object that has a name. */
	unit_unmap(u->as, va, 300 * PAGE);
	is_lost(u, va + 300 * PAGE);
	unit_unmap(u->as, va + 300 * PAGE, BLOCK - 300 * PAGE);
	a = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, 0, a, BLOCK, 4);
	lose(u, 0, a);
	unit_unmap(u->as, a, BLOCK);
	a = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	is_lost(u, a);
	unit_unmap(u->as, a, BLOCK);
	gm_object_put(obj);
	assert_true(gm_metadata_bytes() <= kept);
}

/* What the host maps as a whole fails as a whole; the devices have the rest. */
static void huge(void **state)
{
	struct unit *u = *state;
	struct gm_found found = { .write = true };
	struct gm_object *obj;
	uint64_t va, bad, value;
	void *addr = NULL;

	assert_int_equal(gm_object_create(2 * BLOCK, GM_OBJECT_HUGETLB, &obj), 0);
	assert_int_equal(gm_as_map(u->as, obj, 0, 2 * BLOCK, GM_READ | GM_WRITE, 0, &addr), 0);
	va = (uint64_t)(uintptr_t)addr;
	bad = va + 300 * PAGE;
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	lose(u, 0, bad);
	assert_int_equal(unit_info(u->as, bad).flags, GM_PAGE_POISONED);
	assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_READ), -EHWPOISON);
	assert_int_equal(gm_object_fault(obj, u->as, 0, false, &found), -EHWPOISON);
	assert_int_equal(gm_object_fault(obj, u->as, 300 * PAGE, true, &found), -EHWPOISON);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), -EHWPOISON);
	unit_on(u->as, va, 300 * PAGE, unit_node(u, 0)); /* nothing was moved for it */
	rest_verify(u, 0, va, BLOCK, bad, 1);
	rest_verify(u, 1, va, BLOCK, bad, 1);
	unit_verify(u, CPU, va + BLOCK, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_DONTNEED), 0);
	unit_verify(u, CPU, va, BLOCK, 0);
	gm_object_put(obj);
}

/* A host that maps what it finds by itself. */
static void by_object(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	struct gm_found found = { .write = true };

	unit_fill(u, 0, va, BLOCK, 1);
	lose(u, 0, va + 20 * PAGE);
	assert_int_equal(gm_object_fault(obj, u->as, 20 * PAGE, false, &found), -EHWPOISON);
	assert_int_equal(gm_object_fault(obj, NULL, 20 * PAGE, true, &found), -EHWPOISON);
	assert_int_equal(gm_fake_locks_held(), 0);
	assert_int_equal(gm_object_fault(obj, u->as, 18 * PAGE, false, &found), 0);
	assert_int_equal(found.from, 16 * PAGE);
	assert_int_equal(found.to, 20 * PAGE);
	gm_block_unlock(found.block);
	gm_object_put(obj);
}

/* What is retired is charged to nobody. */
static void account(void **state)
{
	static const uint32_t percent = 50;
	struct unit *u = *state;
	struct gm_object *obj = unit_object(3 * BLOCK);
	struct gm_account *acc;
	uint64_t va;

	assert_int_equal(gm_account_create(&percent, &acc), 0);
	gm_object_set_account(obj, acc);
	va = unit_map(u->as, obj, 0, 3 * BLOCK, GM_READ | GM_WRITE);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_account_used(acc, unit_node(u, 0)), BLOCK);
	lose(u, 0, va + 100 * PAGE);
	lose(u, 0, va + 101 * PAGE);
	assert_int_equal(gm_account_used(acc, unit_node(u, 0)), BLOCK - 2 * PAGE);
	unit_check();
	unit_fill(u, 0, va + BLOCK, 2 * BLOCK, 1); /* at the limit, it makes room */
	assert_true(gm_account_used(acc, unit_node(u, 0)) <= 2 * BLOCK - PAGE);
	assert_true(unit_dev_stats(unit_dev(u, 0)).evictions > 0);
	unit_check();
	unit_verify(u, CPU, va + BLOCK, 2 * BLOCK, 1);
	unit_unmap(u->as, va, 3 * BLOCK);
	gm_object_put(obj);
	assert_int_equal(gm_account_used(acc, unit_node(u, 0)), 0);
	gm_account_destroy(acc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(free_frame, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(bad_calls, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(frame_in_hand, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(range_goes, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(all_of_it, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(in_a_leaf, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(leaves, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(flags_go, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(aliases, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(around, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(mended, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(huge, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(by_object, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(account, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
