// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Eviction: under oversubscription, in order of recency, ahead of need, never of what is pinned. */
#include <sys/mman.h>

#include "unit.h"

#include "toy.h"

#define PAGES_OF_DEV (4 * BLOCK / PAGE)

static void oversubscribed(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 12 * BLOCK);
	struct gm_stats s;

	unit_tune(unit_dev(u, 0), BLOCK, false, true);
	unit_fill(u, 0, va, 12 * BLOCK, 1);
	unit_verify(u, 0, va, 12 * BLOCK, 1);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_true(s.evictions >= 16);
	assert_int_equal(s.evictions_direct, s.evictions);
	assert_int_equal(unit_count_on(u->as, va, 12 * BLOCK, unit_node(u, 0)), PAGES_OF_DEV);
	unit_verify(u, CPU, va, 12 * BLOCK, 1);
}

/* The coldest goes: blocks are touched in order, and the first is touched again. */
static void coldest_first(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);
	int node = unit_node(u, 0);

	unit_tune(unit_dev(u, 0), PAGE, true, true);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(gm_advise(u->as, node, va + i * BLOCK, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_WILLNEED), 0);
	unit_load(u, 0, va + 4 * BLOCK);
	unit_on(u->as, va, BLOCK, node);
	unit_on(u->as, va + BLOCK, BLOCK, GM_NODE_HOST);
	assert_int_equal(gm_advise(u->as, 0, va + 3 * BLOCK, BLOCK, GM_COLD), 0);
	assert_int_equal(gm_advise(u->as, node, va + 5 * BLOCK, BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va + 3 * BLOCK, BLOCK, GM_NODE_HOST);
	unit_on(u->as, va + 2 * BLOCK, BLOCK, node);
	unit_on(u->as, va, BLOCK, node);
}

static void pinned_stays(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 9 * BLOCK);
	int node = unit_node(u, 0);

	unit_tune(unit_dev(u, 0), BLOCK, false, true);
	unit_fill(u, CPU, va, 9 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, node, va, BLOCK, GM_PIN), 0);
	assert_int_equal(gm_advise(u->as, node, va + BLOCK + 9 * PAGE, PAGE, GM_PIN), 0);
	assert_int_equal(gm_advise(u->as, node, va + BLOCK, 100 * PAGE, GM_PREFETCH), 0);
	for (unsigned int round = 0; round < 3; round++)
		unit_verify(u, 0, va + 2 * BLOCK, 7 * BLOCK, 1);
	unit_on(u->as, va, BLOCK, node);
	unit_on(u->as, va + BLOCK + 9 * PAGE, PAGE, node);
	unit_on(u->as, va + BLOCK + 10 * PAGE, PAGE, GM_NODE_HOST); /* the rest of its block went */
	unit_verify(u, 0, va, 2 * BLOCK, 1);
	unit_verify(u, CPU, va, 9 * BLOCK, 1);
}

/* Below the low mark a worker evicts up to the high one, before anybody has to wait. */
static void background(void **state)
{
	struct unit *u = *state;
	struct gm_dev_tunables t = {
		.size = sizeof(t), .low = BLOCK, .high = 2 * BLOCK, .granule = BLOCK
	};
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	int node = unit_node(u, 0);
	struct gm_stats s;

	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), 0);
	unit_fill(u, 0, va, 4 * BLOCK, 1);
	assert_true(unit_hnode(node).free < BLOCK);
	assert_true(gm_fake_run_work() >= 1);
	assert_true(unit_hnode(node).free >= 2 * BLOCK);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(s.evictions_direct, 0);
	assert_true(s.evictions >= 2);
	assert_int_equal(s.pages_evicted, s.pages_to_host);
	unit_peek(u->as, va, 4 * BLOCK, 1);
	unit_verify(u, CPU, va, 4 * BLOCK, 1);

	t.no_background = 1;
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), 0);
	unit_fill(u, 0, va, 4 * BLOCK, 2);
	assert_int_equal(gm_fake_run_work(), 0);
	assert_true(unit_hnode(node).free < BLOCK);
}

/* A victim that cannot be moved is passed over; if none can, the fault says why. */
static void failing_victims(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 5 * BLOCK), value;
	struct gm_stats s;

	unit_fill(u, CPU, va + 4 * BLOCK, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 4 * BLOCK, GM_PREFETCH), 0);
	unit_fill(u, 0, va, 4 * BLOCK, 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -EIO);
	unit_verify(u, 0, va + 4 * BLOCK, PAGE, 1);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(s.evictions_cancelled, 1);
	assert_int_equal(s.evictions, 1);
	unit_peek(u->as, va, 5 * BLOCK, 1);

	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 4 * BLOCK, GM_PREFETCH), 0);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	assert_int_equal(unit_access(u, 0, va + 4 * BLOCK + 9 * PAGE, &value, 8, GM_READ), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
	unit_peek(u->as, va, 5 * BLOCK, 1);
	unit_verify(u, 0, va, 5 * BLOCK, 1);
}

/* A device that has no memory left for its page table: evict, and try again. */
static void table_is_full(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 3 * BLOCK);

	unit_fill(u, 0, va, 2 * BLOCK, 1);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, 1, -ENOSPC);
	unit_fill(u, 0, va + 2 * BLOCK, PAGE, 1);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).evictions, 1);
	unit_verify(u, 0, va, 2 * BLOCK + PAGE, 1);
	unit_verify(u, CPU, va, 2 * BLOCK + PAGE, 1);
}

/* A look at a word that moves nothing. */
static void peek_word(struct unit *u, uint64_t va, uint64_t is)
{
	uint64_t v;

	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)&v, u->as, va, sizeof(v)), 0);
	assert_int_equal(v, is);
}

#define MANY_BLOCKS 300ULL

static bool table_full;
static unsigned int refusals;
static int (*toys_enter)(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
			 uint32_t prot);

static int enter_unless_full(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
			     uint32_t prot)
{
	refusals += table_full;
	return table_full ? -ENOSPC : toys_enter(pmap, va, pa, size, leaf, prot);
}

/*
 * A driver that has no memory for its table however much is evicted, of a device with more
 * blocks than there are tries: they are bounded, and no byte is lost.
 */
static void table_is_full_for_ever(void **state)
{
	struct unit *u = *state;
	uint64_t len = (MANY_BLOCKS - 1) * BLOCK, va = unit_alloc(u, len + BLOCK), v = 7;
	struct gm_context *ctx;
	struct toy toy;

	toy_init(&toy, MANY_BLOCKS);
	toys_enter = toy.mmu.pmap_enter;
	toy.mmu.pmap_enter = enter_unless_full;
	assert_int_equal(gm_dev_create(&toy.mmu, "toy", &toy, &toy.dev), 0);
	toy.memory = mmap(NULL, toy.size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(toy.memory != MAP_FAILED);
	assert_int_equal(gm_dev_register_physmem(toy.dev, toy.base, toy.base + toy.size), 0);
	unit_tune(toy.dev, PAGE, true, true);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	for (uint64_t at = 0; at < len; at += BLOCK)
		assert_int_equal(toy_access(ctx, va + at, &at, 8, GM_WRITE), 0);
	assert_int_equal(unit_dev_stats(toy.dev).evictions, 0);

	unit_store(u, CPU, va + len, 5);
	table_full = true;
	assert_int_equal(gm_dev_fault(ctx, va + len, GM_READ), -ENOSPC);
	assert_int_equal(refusals, 257);
	assert_int_equal(unit_dev_stats(toy.dev).evictions, 256);
	unit_check();
	peek_word(u, va + len, 5);
	for (uint64_t at = 0; at < len; at += BLOCK)
		peek_word(u, va + at, at);
	/* With few victims left it ends with the last of them; a hint ends likewise. */
	assert_int_equal(gm_dev_fault(ctx, va + len, GM_READ), -ENOSPC);
	assert_true(refusals < 2 * 257);
	assert_int_equal(unit_dev_stats(toy.dev).evictions, MANY_BLOCKS - 1);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, PAGE, GM_PREFETCH), -ENOSPC);
	table_full = false;
	assert_int_equal(toy_access(ctx, va + len, &v, 8, GM_READ), 0);
	assert_int_equal(v, 5);
	for (uint64_t at = 0; at < len; at += BLOCK)
		assert_int_equal(unit_load(u, CPU, va + at), at);
	unit_unmap(u->as, va, len + BLOCK);
	assert_int_equal(gm_as_detach(ctx), 0);
	munmap(toy.memory, toy.size);
	toy.memory = NULL;
	assert_int_equal(toy_unplug(&toy), 0);
}

/* A trylock that fails makes a victim pass, not the fault fail. */
static void victim_is_locked(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 5 * BLOCK);

	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 4 * BLOCK, GM_PREFETCH), 0);
	for (uint32_t skip = 0; skip < 4; skip++) {
		gm_fake_inject(GM_FAKE_TRYLOCK, skip, 1, -EBUSY);
		unit_store(u, 0, va + 4 * BLOCK + skip * PAGE, skip);
		gm_fake_inject_clear();
	}
	unit_check();
}

/* All victims are locked for ever: bounded tries, then -EBUSY. */
static void all_victims_locked(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 5 * BLOCK), value;

	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 4 * BLOCK, GM_PREFETCH), 0);
	gm_fake_inject(GM_FAKE_TRYLOCK, 0, UINT32_MAX, -EBUSY);
	gm_fake_step();
	assert_int_equal(unit_access(u, 0, va + 4 * BLOCK, &value, 8, GM_READ), -EBUSY);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + 4 * BLOCK, 1, GM_PREFETCH), -EBUSY);
	gm_fake_inject_clear();
	unit_store(u, 0, va + 4 * BLOCK, 1);
}

/*
 * What is not pinned of the device is less than a block: the block that needs room makes
 * it from what else it has there. Nothing but pins: no room, and no waiting for any.
 */
static void room_beside_pins(void **state)
{
	struct unit *u = *state;
	uint64_t pinned = unit_alloc(u, 4 * BLOCK), va = unit_alloc(u, BLOCK), value, calls;
	int node = unit_node(u, 0);
	static const uint32_t granules[] = { PAGE, 64 << 10, BLOCK };

	unit_fill(u, CPU, va, BLOCK, 1);
	for (unsigned int i = 0; i < 3; i++) {
		unit_tune(unit_dev(u, 0), granules[i], false, true);
		assert_int_equal(gm_advise(u->as, node, pinned, 4 * BLOCK - BLOCK / 2, GM_PIN), 0);
		unit_verify(u, 0, va, BLOCK, i + 1);
		unit_fill(u, 0, va, BLOCK, i + 2);
		assert_int_equal(unit_hnode(node).pinned, 4 * BLOCK - BLOCK / 2);
		assert_true(unit_count_on(u->as, va, BLOCK, node) <= 256);

		assert_int_equal(gm_advise(u->as, node, pinned, 4 * BLOCK, GM_PIN), 0);
		calls = gm_fake_lock_calls();
		assert_int_equal(unit_access(u, 0, va, &value, 8, GM_READ), -ENOSPC);
		assert_true(gm_fake_lock_calls() - calls < 100);
		assert_int_equal(gm_advise(u->as, node, va, PAGE, GM_PREFETCH), -ENOSPC);
		unit_peek(u->as, va, BLOCK, i + 2);
		unit_verify(u, 0, pinned, 4 * BLOCK, 0);
		assert_int_equal(gm_advise(u->as, 0, pinned, 4 * BLOCK, GM_UNPIN), 0);
	}
}

/* The same block on two devices: one evicts its part, the other's stays. */
static void part_of_a_block(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 5 * BLOCK);

	unit_fill(u, CPU, va, 5 * BLOCK, 1);
	unit_verify(u, 1, va, 256 * PAGE, 1);
	unit_verify(u, 0, va + BLOCK / 2, 256 * PAGE, 1);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_COLD), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + BLOCK, 4 * BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, 256 * PAGE, unit_node(u, 1));
	unit_on(u->as, va + BLOCK / 2, 256 * PAGE, GM_NODE_HOST);
	unit_verify(u, 0, va, 5 * BLOCK, 1);
}

/*
 * The piece finds a few frames, then none: what it had in hand is given back, the rest of
 * its block goes, and it begins anew, from its first page.
 */
static void rest_makes_room_half_way(void **state)
{
	struct unit *u = *state;
	uint64_t pinned = unit_alloc(u, 4 * BLOCK), va = unit_alloc(u, BLOCK);
	int node = unit_node(u, 0);

	unit_tune(unit_dev(u, 0), PAGE, true, true);
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, node, pinned, 4 * BLOCK - 128 * PAGE, GM_PIN), 0);
	assert_int_equal(gm_advise(u->as, node, va + 256 * PAGE, 118 * PAGE, GM_PREFETCH), 0);
	assert_int_equal(unit_hnode(node).free, 10 * PAGE);
	assert_int_equal(gm_advise(u->as, node, va, 64 * PAGE, GM_PREFETCH), 0);
	unit_on(u->as, va, 64 * PAGE, node);
	unit_peek(u->as, va, BLOCK, 1);
	unit_check();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(oversubscribed, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(coldest_first, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(rest_makes_room_half_way, unit_setup,
						unit_teardown),
		cmocka_unit_test_setup_teardown(pinned_stays, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(background, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(failing_victims, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(table_is_full, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(table_is_full_for_ever, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(victim_is_locked, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(all_victims_locked, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(room_beside_pins, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(part_of_a_block, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
