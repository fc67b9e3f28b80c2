// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Devices: what is asked of a driver's table, memory that comes and goes, attach and detach. */
#include "unit.h"

#include "core/core.h"

#include "toy.h"

/* ------------------------------------------------------------ a driver's table */

static void required_functions(void **state)
{
	static const size_t required[] = {
		offsetof(struct gm_mmu, pmap_create), offsetof(struct gm_mmu, pmap_destroy),
		offsetof(struct gm_mmu, pmap_enter),  offsetof(struct gm_mmu, pmap_release),
		offsetof(struct gm_mmu, tlb_invl),    offsetof(struct gm_mmu, copy),
		offsetof(struct gm_mmu, zero),
	};
	struct gm_fake_usage u;
	struct gm_dev *dev;
	struct toy toy;

	(void)state;
	for (unsigned int i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
		toy_init(&toy, 1);
		memset((char *)&toy.mmu + required[i], 0, sizeof(void *));
		assert_int_equal(gm_dev_create(&toy.mmu, "bad", NULL, &dev), -EINVAL);
		gm_fake_usage(&u);
		assert_int_equal(u.warnings, i + 1); /* whoever runs it is told */
	}
}

static void tables_that_cannot_be(void **state)
{
	static const uint64_t sizes[] = {
		0, 1 << 22, 1 << 30, 1 << 12 | 1 << 11, 1 << 12 | 1ULL << 31, 1 << 12 | 1ULL << 63
	};
	struct gm_dev *dev;
	struct toy toy;

	(void)state;
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		toy_init(&toy, 1);
		toy.mmu.pgsize_bitmap = sizes[i];
		assert_int_equal(gm_dev_create(&toy.mmu, "bad", NULL, &dev), -EINVAL);
	}
	assert_int_equal(gm_dev_create(NULL, "bad", NULL, &dev), -EINVAL);
	toy_init(&toy, 1);
	assert_int_equal(gm_dev_create(&toy.mmu, NULL, NULL, &dev), -EINVAL);
	assert_int_equal(gm_dev_create(&toy.mmu, "bad", NULL, NULL), -EINVAL);
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	assert_int_equal(gm_dev_create(&toy.mmu, "good", NULL, &dev), -ENOMEM);
}

/*
 * Tables grow at their end. One of an older driver's is taken, and nothing behind its end is
 * looked at; one of a newer's if it makes no use of what is not known here.
 */
static void tables_of_other_sizes(void **state)
{
	static struct {
		struct gm_mmu mmu;
		uint64_t more[4];
	} table;
	struct gm_dev *dev;
	struct toy toy;

	(void)state;
	toy_init(&toy, 1);
	for (size_t size = 0; size <= sizeof(table); size += 4) {
		bool ok = size >= offsetof(struct gm_mmu, copy_peer) && size % 8 == 0;

		memset(&table, 0, sizeof(table));
		table.mmu = toy.mmu;
		table.mmu.size = size;
		memset((char *)&table.mmu.copy_peer, 0xff, sizeof(table.mmu.copy_peer));
		assert_int_equal(gm_dev_create(&table.mmu, "toy", NULL, &dev), ok ? 0 : -EINVAL);
		if (!ok)
			continue;
		memset(&table.mmu, 0, sizeof(table.mmu)); /* it was copied */
		assert_ptr_equal(dev->mmu->copy, toy.mmu.copy);
		assert_int_equal(!!dev->mmu->copy_peer, size > offsetof(struct gm_mmu, copy_peer));
		assert_int_equal(gm_dev_destroy(dev), 0);
	}
	table.mmu = toy.mmu;
	table.mmu.size = sizeof(table);
	table.more[3] = 1ULL << 63;
	assert_int_equal(gm_dev_create(&table.mmu, "new", NULL, &dev), -EINVAL);
	table.mmu.size = 1ULL << 40;
	assert_int_equal(gm_dev_create(&table.mmu, "mad", NULL, &dev), -EINVAL);
}

/* Without the optional operations, and with any page sizes, all works the same. */
static void variant(struct unit *u, bool protect, bool coalesced, uint64_t sizes)
{
	struct gm_context *ctx;
	struct toy toy;
	uint64_t va = unit_alloc(u, 3 * BLOCK), value = 5;

	toy_init(&toy, 2);
	toy.mmu.pgsize_bitmap = sizes;
	if (!protect)
		toy.mmu.pmap_protect = NULL;
	if (!coalesced)
		toy.mmu.tlb_invl_coalesced = NULL;
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	unit_fill(u, CPU, va, 3 * BLOCK, 1);
	for (uint64_t i = 0; i < 3 * BLOCK / PAGE; i += 5)
		assert_int_equal(toy_access(ctx, va + i * PAGE, &value, 4, GM_READ), 0);
	unit_verify(u, CPU, va + BLOCK + 7 * PAGE, 99 * PAGE, 1);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va + BLOCK, BLOCK, GM_PREFETCH),
			 0);
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)(va + BLOCK), BLOCK, GM_READ), 0);
	assert_int_equal(toy_access(ctx, va + BLOCK, &value, 8, GM_WRITE), -EACCES);
	assert_int_equal(toy.protects > 0, protect);
	assert_int_equal(toy_access(ctx, va + BLOCK, &value, 4, GM_READ), 0);
	for (uint64_t i = 0; i < BLOCK / PAGE; i += 2)
		assert_int_equal(toy_access(ctx, va + i * PAGE, &value, 4, GM_READ), 0);
	unit_verify(u, CPU, va, 3 * BLOCK, 1);
	assert_int_equal(gm_as_detach(ctx), 0);
	unit_unmap(u->as, va, 3 * BLOCK);
	assert_int_equal(toy_unplug(&toy), 0);
}

static void optional_operations(void **state)
{
	variant(*state, true, true, 1 << 12 | 1 << 16 | 1 << 21);
	variant(*state, false, true, 1 << 12 | 1 << 16 | 1 << 21);
	variant(*state, true, false, 1 << 12 | 1 << 21);
	variant(*state, false, false, 1 << 12);
	variant(*state, false, false, 1 << 12 | 1 << 13 | 1 << 14 | 1 << 20 | 1 << 30);
	variant(*state, true, true, 1 << 16 | 1 << 21);
	variant(*state, false, true, 1 << 14 | 1 << 18);
	variant(*state, true, false, 1 << 21);
	variant(*state, false, false, 1 << 13);
}

/* --------------------------------------------------------------------- memory */

static void physmem_comes_and_goes(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct toy toy;
	uint64_t va = unit_alloc(u, 4 * BLOCK), value, base;

	toy_init(&toy, 6);
	base = toy.base;
	assert_int_equal(gm_dev_create(&toy.mmu, "toy", &toy, &toy.dev), 0);
	toy.memory = malloc(toy.size);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(unit_hnode(gm_dev_hnode(toy.dev)).total, 0);
	unit_fill(u, CPU, va, 4 * BLOCK, 1);
	assert_int_equal(toy_access(ctx, va, &value, 4, GM_READ),
			 -ENOSPC); /* it has no memory yet */

	assert_int_equal(gm_dev_register_physmem(toy.dev, base, base + 2 * BLOCK), 0);
	assert_int_equal(gm_dev_register_physmem(toy.dev, base + PAGE, base + 4 * BLOCK), -EEXIST);
	assert_int_equal(gm_dev_register_physmem(toy.dev, base, base + 2 * BLOCK), -EEXIST);
	assert_int_equal(gm_dev_register_physmem(toy.dev, base + 3 * BLOCK, base + 6 * BLOCK), 0);
	assert_int_equal(unit_hnode(gm_dev_hnode(toy.dev)).total, 5 * BLOCK);
	assert_true(unit_hnode(gm_dev_hnode(toy.dev)).metadata > 0);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, 4 * BLOCK, GM_PREFETCH), 0);

	unit_check();
	assert_int_equal(gm_dev_unregister_physmem(toy.dev, base, base + BLOCK), -ENOENT);
	assert_int_equal(gm_dev_unregister_physmem(toy.dev, base + 1, base + 2 * BLOCK), -EINVAL);
	assert_int_equal(gm_dev_unregister_physmem(toy.dev, base, base + 2 * BLOCK), 0);
	/* What was there is home; the newer range was filled first, and keeps its three blocks. */
	unit_on(u->as, va, 3 * BLOCK, gm_dev_hnode(toy.dev));
	unit_on(u->as, va + 3 * BLOCK, BLOCK, GM_NODE_HOST);
	assert_int_equal(unit_hnode(gm_dev_hnode(toy.dev)).total, 3 * BLOCK);
	assert_int_equal(unit_hnode(gm_dev_hnode(toy.dev)).free, 0);
	unit_peek(u->as, va, 4 * BLOCK, 1);
	assert_int_equal(toy_access(ctx, va, &value, 4, GM_READ), 0);
	assert_true(toy_find(ctx, va)->pa >= base + 3 * BLOCK);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
	unit_verify(u, CPU, va, 4 * BLOCK, 1);
}

static void physmem_that_cannot_be(void **state)
{
	struct toy toy;
	uint64_t base;

	(void)state;
	toy_init(&toy, 2);
	base = toy.base;
	assert_int_equal(gm_dev_create(&toy.mmu, "toy", &toy, &toy.dev), 0);
	assert_int_equal(gm_dev_register_physmem(toy.dev, base, base), -EINVAL);
	assert_int_equal(gm_dev_register_physmem(toy.dev, base + BLOCK, base), -EINVAL);
	assert_int_equal(gm_dev_register_physmem(toy.dev, base + 1, base + BLOCK + 1), -EINVAL);
	assert_int_equal(gm_dev_register_physmem(toy.dev, base, base + BLOCK - PAGE), -EINVAL);
	assert_int_equal(gm_dev_register_physmem(toy.dev, base + PAGE, base + BLOCK + PAGE),
			 -EINVAL);
	assert_int_equal(gm_dev_register_physmem(toy.dev, ~0ULL - BLOCK + 1, 0), -EINVAL);
	/* Sums that overflow, addresses that no entry can hold, more than can be managed. */
	assert_int_equal(gm_dev_register_physmem(toy.dev, 0 - 2 * PAGE, 0 - PAGE), -EINVAL);
	assert_int_equal(gm_dev_register_physmem(toy.dev, 0 - BLOCK, 0 - PAGE), -EINVAL);
	assert_int_equal(gm_dev_register_physmem(toy.dev, PAGE, 0 - PAGE), -EINVAL);
	assert_int_equal(gm_dev_register_physmem(toy.dev, 1ULL << 58, (1ULL << 58) + BLOCK),
			 -EINVAL);
	assert_int_equal(gm_dev_register_physmem(toy.dev, 0, (1ULL << 48) + PAGE), -EINVAL);
	assert_int_equal(gm_dev_register_physmem(toy.dev, 1ULL << 57, 1ULL << 58), -EINVAL);
	assert_int_equal(gm_dev_unregister_physmem(toy.dev, 0 - BLOCK, 0), -ENOENT);
	assert_int_equal(gm_dev_register_physmem(NULL, base, base + BLOCK), -EINVAL);
	assert_int_equal(gm_dev_unregister_physmem(NULL, base, base + BLOCK), -EINVAL);
	for (unsigned int n = 1; n <= 2; n++) {
		gm_fake_inject_nth(n);
		assert_int_equal(gm_dev_register_physmem(toy.dev, base, base + BLOCK), -ENOMEM);
		gm_fake_inject_clear();
	}
	assert_int_equal(unit_hnode(gm_dev_hnode(toy.dev)).total, 0);
	assert_int_equal(gm_dev_register_physmem(toy.dev, base, base + BLOCK), 0);
	/* The highest that there can be. */
	assert_int_equal(gm_dev_register_physmem(toy.dev, (1ULL << 58) - BLOCK, 1ULL << 58), 0);
	assert_int_equal(unit_hnode(gm_dev_hnode(toy.dev)).free, 2 * BLOCK);
	assert_int_equal(gm_dev_destroy(toy.dev), 0);
}

/* ---------------------------------------------------- attach, detach, destroy */

/* A device that holds pages of an object that nobody maps: they come home first. */
static void destroy_brings_home(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj;
	uint64_t va;

	assert_int_equal(gm_object_create(BLOCK, 0, &obj), 0);
	va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, 0, va, BLOCK, 1);
	unit_unmap(u->as, va, BLOCK);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_true(unit_hnode(unit_node(u, 0)).free < 4 * BLOCK);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -EIO);
	assert_int_equal(gm_sim_destroy(u->sim[0]), -EIO);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	u->sim[0] = NULL;
	unit_map_at(u->as, obj, 0, BLOCK, va);
	unit_verify(u, CPU, va, BLOCK, 1);
	gm_object_put(obj);
}

static void node_ids(void **state)
{
	struct unit *u = *state;
	struct gm_hnode_info info = { .size = sizeof(info) };

	assert_true(unit_node(u, 0) >= 1); /* behind the one NUMA node there is */
	assert_int_not_equal(unit_node(u, 0), unit_node(u, 1));
	assert_int_equal(gm_hnode_info(0, &info), -ENODEV);
	assert_int_equal(gm_hnode_info(-1, &info), -ENODEV);
	assert_int_equal(gm_hnode_info(4711, &info), -ENODEV);
	assert_int_equal(gm_hnode_info(unit_node(u, 1) + 1, &info), -ENODEV);
	assert_int_equal(gm_hnode_info(unit_node(u, 0), NULL), -EINVAL);
	assert_int_equal(gm_hnode_info(unit_node(u, 0), &info), 0);
	assert_int_equal(info.total, 4 * BLOCK);
	assert_true(info.metadata <= info.total / PAGE * 16);
}

static void too_many_devices(void **state)
{
	static struct toy toys[100];
	unsigned int n;

	(void)state;
	for (n = 0; n < 100; n++) {
		toy_init(&toys[n], 1);
		if (gm_dev_create(&toys[n].mmu, "one of many, with a name that is rather long",
				  NULL, &toys[n].dev))
			break;
	}
	assert_in_range(n, 2, 99);
	while (n--)
		assert_int_equal(gm_dev_destroy(toys[n].dev), 0);
}

static void tunables(void **state)
{
	struct unit *u = *state;
	static const uint32_t granules[] = { 1, 2048, 4097, 12288, 4 << 20 };
	struct gm_dev_tunables t = { .size = sizeof(t) };

	for (unsigned int i = 0; i < 5; i++) {
		t.granule = granules[i];
		assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), -EINVAL);
	}
	t = (struct gm_dev_tunables){ .size = sizeof(t), .low = 2 * BLOCK, .high = BLOCK };
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), -EINVAL);
	t = (struct gm_dev_tunables){ .size = sizeof(t), .high = 3 * BLOCK };
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), -EINVAL);
	t = (struct gm_dev_tunables){ .size = sizeof(t), .low = BLOCK, .high = 2 * BLOCK };
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), 0);
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), NULL), -EINVAL);
	assert_int_equal(gm_dev_tune(NULL, &t), -EINVAL);
	t.size = 0;
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(required_functions, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(tables_of_other_sizes, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(tables_that_cannot_be, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(optional_operations, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(physmem_comes_and_goes, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(physmem_that_cannot_be, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(destroy_brings_home, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(node_ids, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(too_many_devices, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(tunables, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
