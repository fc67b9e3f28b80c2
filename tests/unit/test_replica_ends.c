// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Read duplication: whatever ends it, and what it meets. Nothing is lost, and no frame is kept. */
#include "replicas.h"

/* ------------------------------------------------------------------- room, and no room */

/* Replicas make room like anything else, and nothing is copied for it. */
static void evicted(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, 3 * BLOCK, 1), other = unit_alloc(&t->u, 4 * BLOCK);
	struct gm_stats before = stats(t, 0);

	write_by(t, 0, other, 4 * BLOCK, 2);
	assert_int_equal(stats(t, 0).pages_to_host, before.pages_to_host);
	assert_int_equal(stats(t, 0).evictions - before.evictions, 3);
	unit_on(t->u.as, other, 4 * BLOCK, node_of(t, 0));
	/* The others have theirs still. */
	before = stats(t, 1);
	read_by(t, 1, va, 3 * BLOCK, 1);
	assert_int_equal(stats(t, 1).dev_faults, before.dev_faults);
	assert_int_equal(copied(t, va, 3 * BLOCK), 3 * 512);
	/* And a replica makes room for another. */
	read_by(t, 0, va, 3 * BLOCK, 1);
	unit_peek(t->u.as, other, 4 * BLOCK, 2);
	unit_check();
}

/* No other block is there to be evicted: the block's own make room. */
static void of_one_block(void **state)
{
	struct duplication *t = *state;
	struct gm_dev_tunables tune = { .size = sizeof(tune),
					.granule = GRANULE,
					.no_grow = 1,
					.no_background = 1,
					.limit = 3 * GRANULE };
	uint64_t va = mostly(t, BLOCK, 1);

	assert_int_equal(gm_dev_tune(gm_sim_dev(t->sim[0]), &tune), 0);
	read_by(t, 0, va, BLOCK, 1);
	assert_true(used(t, 0) <= 3 * GRANULE);
	/* So do they for a page that moves. */
	write_by(t, 0, va, 3 * GRANULE, 2);
	unit_on(t->u.as, va, 3 * GRANULE, node_of(t, 0));
	assert_int_equal(used(t, 0), 3 * GRANULE);
	/* And pages that have moved for a replica. */
	read_by(t, 0, va + 3 * GRANULE, GRANULE, 1);
	assert_true(replicated(t, va + 3 * GRANULE));
	read_by_all(t, va, 3 * GRANULE, 2);
	unit_check();
}

/* Replicas count for their object's accounts. */
static void limited(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, 3 * BLOCK, 1);

	assert_int_equal(gm_as_limit(t->u.as, node_of(t, 0), 2 * BLOCK), 0);
	read_by(t, 0, va, 3 * BLOCK, 1);
	assert_true(used(t, 0) <= 2 * BLOCK);
	unit_check();
	assert_int_equal(gm_as_limit(t->u.as, node_of(t, 0), BLOCK), 0);
	assert_true(used(t, 0) <= BLOCK);
	assert_int_equal(gm_as_limit(t->u.as, node_of(t, 0), 0), 0);
	read_by_all(t, va, 3 * BLOCK, 1);
	unit_check();
}

/* A pin is the page's: it moves there, and replicas that others get of it are not pinned. */
static void pinned(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1), other = unit_alloc(&t->u, 4 * BLOCK);

	assert_int_equal(gm_advise(t->u.as, node_of(t, 0), va, GRANULE, GM_PIN), 0);
	unit_on(t->u.as, va, GRANULE, node_of(t, 0));
	assert_int_equal(copied(t, va, BLOCK), 512 - 16);
	assert_int_equal(unit_hnode(node_of(t, 0)).pinned, GRANULE);
	read_by(t, 1, va, GRANULE, 1);
	unit_on(t->u.as, va, GRANULE, GM_NODE_HOST);
	assert_true(unit_info(t->u.as, va).flags & GM_PAGE_PINNED);
	assert_int_equal(unit_hnode(node_of(t, 0)).pinned, 0);
	assert_int_equal(unit_hnode(node_of(t, 1)).pinned, 0);
	assert_int_equal(gm_advise(t->u.as, GM_NODE_NONE, va, BLOCK, GM_UNPIN), 0);
	/* Those of a wholly pinned block can be evicted, too. */
	assert_int_equal(gm_advise(t->u.as, node_of(t, 0), va, BLOCK, GM_PIN), 0);
	read_by(t, 2, va, BLOCK, 1);
	write_by(t, 2, other, 4 * BLOCK, 2);
	assert_int_equal(used(t, 2), 4 * BLOCK);
	unit_on(t->u.as, other, 4 * BLOCK, node_of(t, 2));
	unit_check();
	read_by_all(t, va, BLOCK, 1);
}

/* ---------------------------------------------------------------- devices that go, or fail */

static void poisoned(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1), total = unit_hnode(node_of(t, 0)).total;
	uint64_t unit = gm_unit_bytes(gm_sim_dev(t->sim[0]));

	assert_int_equal(gm_dev_poison(gm_sim_dev(t->sim[0]), frame_of(t, 0, va + 9 * PAGE)), 0);
	assert_int_equal(unit_hnode(node_of(t, 0)).total, total - unit);
	assert_int_equal(unit_hnode(node_of(t, 0)).poisoned, unit);
	assert_int_equal(used(t, 0), BLOCK - unit);
	unit_check();
	read_by_all(t, va, BLOCK, 1); /* nothing is lost */
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by_all(t, va, BLOCK, 2);
	/* A driver that does not let go has the frame as it was. */
	gm_sim_inject(t->sim[0], GM_SIM_TLB_INVL, 0, 1, -EIO);
	assert_int_equal(gm_dev_poison(gm_sim_dev(t->sim[0]), frame_of(t, 0, va + 50 * PAGE)),
			 -EIO);
	unit_check();
	read_by_all(t, va, BLOCK, 2);
}

static void removed(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	/* Its copy engine is dead, and nothing is lost. */
	gm_sim_inject(t->sim[1], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_sim_unplug(t->sim[1]), 0);
	assert_int_equal(used(t, 1), 0);
	assert_int_equal(copied(t, va, BLOCK), 512);
	unit_verify(&t->u, CPU, va, BLOCK, 1);
	read_by(t, 0, va, BLOCK, 1);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by(t, 3, va, BLOCK, 2);
}

static void detached(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	assert_int_equal(gm_sim_detach(t->ctx[2]), 0);
	assert_int_equal(used(t, 2), 0);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by(t, 0, va, BLOCK, 2);
	assert_int_equal(gm_sim_attach(t->sim[2], t->u.as, &t->ctx[2]), 0);
	read_by_all(t, va, BLOCK, 2);
	/* Its memory goes while it is attached. */
	assert_int_equal(gm_dev_unregister_physmem(gm_sim_dev(t->sim[3]), 4ULL << 32,
						   (4ULL << 32) + 4 * BLOCK),
			 0);
	assert_int_equal(copied(t, va, BLOCK), 512);
	unit_check();
	assert_int_equal(gm_dev_register_physmem(gm_sim_dev(t->sim[3]), 4ULL << 32,
						 (4ULL << 32) + 4 * BLOCK),
			 0);
	read_by_all(t, va, BLOCK, 2);
}

/* ------------------------------------------------------------------------- addresses */

static void unmapped(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	unit_unmap(t->u.as, va + 100 * PAGE, 56 * PAGE);
	for (unsigned int i = 0; i < DEVS; i++)
		assert_int_equal(used(t, i), BLOCK - 56 * PAGE);
	read_by_all(t, va, 96 * PAGE, 1);
	read_by_all(t, va + 160 * PAGE, BLOCK - 160 * PAGE, 1);
	assert_int_equal(say(t, va, BLOCK, GM_READ_MOSTLY), -EFAULT);
	unit_check();
}

/* What becomes writable is not so for those who have replicas. */
static void protected(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1), v = 5;
	void *addr = (void *)(uintptr_t)va;

	assert_int_equal(gm_as_protect(t->u.as, addr, BLOCK, GM_READ), 0);
	assert_int_equal(dev_access(t, 0, va, &v, 8, GM_WRITE), -EACCES);
	read_by_all(t, va, BLOCK, 1);
	assert_int_equal(gm_as_protect(t->u.as, addr, BLOCK, GM_READ | GM_WRITE), 0);
	assert_int_equal(copied(t, va, BLOCK), 512);
	assert_int_equal(dev_access(t, 0, va, &v, 8, GM_WRITE), 0);
	assert_int_equal(copied(t, va, BLOCK), 512 - 16);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by_all(t, va, BLOCK, 2);
}

static void remapped(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1), before;
	void *to;

	assert_int_equal(gm_as_remap(t->u.as, (void *)(uintptr_t)va, BLOCK, 2 * BLOCK,
				     GM_REMAP_MAYMOVE, &to),
			 0);
	va = (uintptr_t)to;
	before = stats(t, 0).pages_to_dev;
	read_by_all(t, va, BLOCK, 1);
	assert_int_equal(stats(t, 0).pages_to_dev, before); /* only mapped again */
	assert_int_equal(copied(t, va, BLOCK), 512);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by_all(t, va, BLOCK, 2);
	assert_int_equal(copied(t, va, BLOCK), 512); /* the hint has come along */
}

/* An object that is mapped twice, and in a second address space where nothing was said. */
static void shared(void **state)
{
	struct duplication *t = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t a = unit_map(t->u.as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	uint64_t b = unit_map(t->u.as, obj, 0, BLOCK, GM_READ | GM_WRITE), c, v;
	struct gm_sim_ctx *ctx;
	struct gm_as *as;

	assert_int_equal(gm_as_create(NULL, &as), 0);
	c = unit_map(as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	assert_int_equal(gm_sim_attach(t->sim[0], as, &ctx), 0);
	unit_fill(&t->u, CPU, a, PAGE, 1);
	unit_store(&t->u, CPU, a + 8, 1);
	assert_int_equal(say(t, a, BLOCK, GM_READ_MOSTLY), 0);
	for (uint64_t round = 1; round < 4; round++) {
		for (unsigned int i = 0; i < DEVS; i++) {
			assert_int_equal(dev_access(t, i, a + 8, &v, 8, GM_READ), 0);
			assert_int_equal(v, round);
			assert_int_equal(dev_access(t, i, b + 8, &v, 8, GM_READ), 0);
			assert_int_equal(v, round);
		}
		assert_true(replicated(t, b));
		/* Where nothing was said it moves, unless the device has a replica. */
		assert_int_equal(gm_sim_access(ctx, (void *)(uintptr_t)(c + 8), &v, 8, GM_READ), 0);
		assert_int_equal(v, round);
		assert_int_equal(gm_fake_cpu_access(as, c + 8, &v, 8, GM_READ), 0);
		v = round + 1;
		if (round & 1)
			assert_int_equal(gm_fake_cpu_access(as, c + 8, &v, 8, GM_WRITE), 0);
		else
			assert_int_equal(
				gm_sim_access(ctx, (void *)(uintptr_t)(c + 8), &v, 8, GM_WRITE), 0);
	}
	assert_int_equal(gm_as_destroy(as), 0);
	gm_object_put(obj);
	unit_check();
}

/* Huge pages of the host's: the CPU has all of one or nothing. */
static void huge(void **state)
{
	struct duplication *t = *state;
	void *addr;
	uint64_t va;

	assert_int_equal(gm_alloc(t->u.as, 2 * BLOCK, GM_OBJECT_HUGETLB, &addr), 0);
	va = (uintptr_t)addr;
	unit_fill(&t->u, CPU, va, BLOCK, 1);
	assert_int_equal(say(t, va, 2 * BLOCK, GM_READ_MOSTLY), 0);
	for (unsigned int i = 0; i < DEVS; i++) {
		read_by(t, i, va, BLOCK, 1);
		read_by(t, i, va + BLOCK, GRANULE, 0);
	}
	assert_int_equal(copied(t, va, BLOCK), 512);
	unit_verify(&t->u, CPU, va, BLOCK, 1);
	assert_int_equal(copied(t, va, BLOCK), 0);
	unit_fill(&t->u, CPU, va, 2 * BLOCK, 2);
	read_by_all(t, va, 2 * BLOCK, 2);
}

/* One that maps host memory in place reads the page where it is; what it writes others see. */
static void in_place(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, BLOCK, 1);

	assert_int_equal(gm_sim_set_mode(t->ctx[3], (void *)(uintptr_t)va, BLOCK, GM_REPLICATE), 0);
	read_by_all(t, va, BLOCK, 1);
	assert_int_equal(used(t, 3), 0);
	assert_int_equal(copied(t, va, BLOCK), 512);
	write_by(t, 3, va, BLOCK, 2);
	assert_int_equal(copied(t, va, BLOCK), 0);
	read_by_all(t, va, BLOCK, 2);
	unit_fill(&t->u, CPU, va, BLOCK, 3);
	read_by_all(t, va, BLOCK, 3);
	write_by(t, 0, va, BLOCK, 4);
	read_by_all(t, va, BLOCK, 4);
	/* It had replicas in the other mode. */
	va = spread(t, BLOCK, 5);
	assert_int_equal(gm_sim_set_mode(t->ctx[3], (void *)(uintptr_t)va, BLOCK, GM_REPLICATE), 0);
	assert_int_equal(used(t, 3), 0);
	read_by_all(t, va, BLOCK, 5);
	write_by(t, 3, va, BLOCK, 6);
	read_by_all(t, va, BLOCK, 6);
	unit_check();
}

/* A base page that is cut: its replica goes, and nothing is mapped across the cut. */
static void units(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	assert_int_equal(used(t, 0), BLOCK);
	unit_store(&t->u, CPU, va + 40 * PAGE, 7);
	assert_int_equal(copied(t, va, BLOCK), 512 - 16);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by_all(t, va, BLOCK, 2);
	unit_unmap(t->u.as, va + 100 * PAGE, PAGE);
	assert_int_equal(used(t, 0), BLOCK - 16 * PAGE);
	unit_verify(&t->u, CPU, va, 100 * PAGE, 2);
	read_by(t, 0, va, 96 * PAGE, 2);
	unit_check();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define T_WITH(fn, with) cmocka_unit_test_setup_teardown(fn, with, teardown)
		T(evicted),
		T(of_one_block),
		T(limited),
		T(pinned),
		T(poisoned),
		T(removed),
		T(detached),
		T(unmapped),
		T(protected),
		T(remapped),
		T(shared),
		T(huge),
		T_WITH(in_place, setup),
		T_WITH(evicted, setup_messages),
		T_WITH(units, setup_units),
		T_WITH(evicted, setup_units),
		T_WITH(pinned, setup_units),
		T_WITH(poisoned, setup_units),
		T_WITH(removed, setup_units),
		T_WITH(detached, setup_units),
		T_WITH(remapped, setup_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
