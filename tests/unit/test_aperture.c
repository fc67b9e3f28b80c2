// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Apertures: device memory that the CPU uses where it is. */
#include "core/core.h"

#include "unit.h"

#include "toy.h"

#define BLOCKS 4 /* see unit_setup_aperture() */

/* Another, without an aperture. */
static void second_device(struct unit *u)
{
	u->sim[1] = unit_sim(BLOCKS, 1);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
	unit_tune(unit_dev(u, 1), PAGE, true, true);
}

/* Both sides use the page where it is, and nothing moves. */
static void used_in_place(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), moved;

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_fake_page(u->as, va) & GM_FAKE_MAPPED, 0);
	moved = unit_as_stats(u->as).pages_to_host;
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_fake_page(u->as, va) & GM_FAKE_APERTURE, GM_FAKE_APERTURE);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	for (unsigned int i = 2; i < 6; i++) {
		unit_fill(u, i % 2 ? CPU : 0, va, BLOCK, i);
		unit_verify(u, i % 2 ? 0 : CPU, va, BLOCK, i);
	}
	assert_int_equal(unit_as_stats(u->as).pages_to_host, moved);
	assert_int_equal(unit_as_stats(u->as).cpu_faults, BLOCK / 65536); /* a granule each */
	unit_check();
}

/* What moves takes the CPU's mapping with it: home, to another device, away. */
static void leaves(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	second_device(u);
	unit_fill(u, 0, va, BLOCK, 1);
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va + 3 * PAGE, PAGE, GM_PREFETCH), 0);
	/* Only what went was unmapped; the rest is where it was, and mapped. */
	assert_int_equal(gm_fake_page(u->as, va + 3 * PAGE) & GM_FAKE_APERTURE, 0);
	assert_int_equal(gm_fake_page(u->as, va + 2 * PAGE) & GM_FAKE_APERTURE, GM_FAKE_APERTURE);
	assert_int_equal(gm_fake_page(u->as, va + 4 * PAGE) & GM_FAKE_APERTURE, GM_FAKE_APERTURE);
	unit_on(u->as, va + 4 * PAGE, BLOCK - 4 * PAGE, unit_node(u, 0));
	unit_fill(u, CPU, va, BLOCK, 2);
	unit_verify(u, 1, va, BLOCK, 2);
	unit_on(u->as, va, BLOCK, unit_node(u, 1));
	unit_verify(u, CPU, va, BLOCK, 2); /* no aperture: home */
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);

	unit_fill(u, 0, va, BLOCK, 3);
	unit_fill(u, CPU, va, BLOCK, 4);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK / 2, GM_DONTNEED), 0);
	unit_verify(u, CPU, va, BLOCK / 2, 0);
	unit_verify(u, CPU, va + BLOCK / 2, BLOCK / 2, 4);
	unit_verify(u, 0, va + BLOCK / 2, BLOCK / 2, 4);
	unit_check();
}

static void evicted(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 3 * BLOCKS * BLOCK);

	for (unsigned int i = 0; i < 3 * BLOCKS; i++) {
		unit_fill(u, 0, va + i * BLOCK, BLOCK, i + 1);
		unit_fill(u, CPU, va + i * BLOCK, BLOCK, i + 2);
	}
	assert_true(unit_dev_stats(unit_dev(u, 0)).evictions >= BLOCKS);
	for (unsigned int i = 0; i < 3 * BLOCKS; i++)
		unit_verify(u, i % 2 ? CPU : 0, va + i * BLOCK, BLOCK, i + 2);
	unit_check();
}

/* Another mapping, and another protection, of the same pages. */
static void aliases(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t a = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	uint64_t b = unit_map(u->as, obj, 7 * PAGE, BLOCK - 7 * PAGE, GM_READ), value = 1;

	unit_fill(u, 0, a, BLOCK, 1);
	unit_verify(u, CPU, a, BLOCK, 1);
	unit_store(u, CPU, a + 9 * PAGE, 77);
	assert_int_equal(unit_load(u, CPU, b + 2 * PAGE), 77);
	assert_int_equal(unit_access(u, CPU, b, &value, 8, GM_WRITE), -EACCES);
	assert_int_equal(unit_access(u, 0, b, &value, 8, GM_WRITE), -EACCES);
	unit_store(u, 0, a + 9 * PAGE, 78);
	assert_int_equal(unit_load(u, CPU, b + 2 * PAGE), 78);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, a, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_fake_page(u->as, b) & GM_FAKE_MAPPED, 0);
	assert_int_equal(unit_load(u, CPU, b + 2 * PAGE), 78);
	gm_object_put(obj);
}

/* A page that somebody holds stays; dropped, its frame is nobody's until it is let go of. */
static void held(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCKS * BLOCK), other = unit_alloc(u, BLOCK);
	struct gm_dev *dev = unit_dev(u, 0);
	uint8_t *page;

	unit_fill(u, 0, va, BLOCK, 1);
	page = (uint8_t *)(uintptr_t)unit_cpu_of(u, va + 5 * PAGE);
	gm_fake_hold(page, true);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), -EBUSY);
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_int_equal(unit_info(u->as, va + 5 * PAGE).node, unit_node(u, 0));
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_DONTNEED), 0);
	unit_verify(u, CPU, va, BLOCK, 0);
	memset(page, 0x77, PAGE); /* a late write of the holder's harms nobody */
	unit_fill(u, 0, va, BLOCKS * BLOCK - BLOCK, 2);
	unit_fill(u, 0, other, BLOCK - PAGE, 3);
	memset(page, 0x78, PAGE);
	unit_verify(u, 0, va, BLOCKS * BLOCK - BLOCK, 2);
	unit_verify(u, CPU, other, BLOCK - PAGE, 3);

	/* It is not given back either. */
	unit_unmap(u->as, va, BLOCKS * BLOCK);
	unit_unmap(u->as, other, BLOCK);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	u->ctx[0] = NULL;
	assert_int_equal(gm_dev_destroy(dev), -EBUSY);
	gm_fake_hold(page, false);
	unit_check();
}

static void looked_up(void **state)
{
	struct gm_lookup at = { .size = sizeof(at) };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	second_device(u);
	assert_int_equal(gm_as_lookup(u->as, va, &at), 0); /* no block */
	assert_int_equal(at.node, GM_NODE_NONE);
	assert_int_equal(at.len, PAGE);
	assert_true(at.pa == GM_NO_ADDRESS && at.cpu == GM_NO_ADDRESS);
	unit_fill(u, CPU, va + BLOCK, PAGE, 1);
	assert_int_equal(gm_as_lookup(u->as, va + BLOCK, &at), 0);
	assert_int_equal(at.node, GM_NODE_HOST);

	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	unit_fill(u, CPU, va, BLOCK, 2);
	assert_int_equal(gm_as_lookup(u->as, va + 3 * PAGE + 8, &at), 0);
	assert_int_equal(at.node, unit_node(u, 0));
	assert_int_equal(at.len, BLOCK - 3 * PAGE - 8);
	assert_int_equal(at.pa % BLOCK, 3 * PAGE + 8);
	assert_int_equal(at.cpu % BLOCK, 3 * PAGE + 8);
	assert_int_equal(*(uint64_t *)(uintptr_t)(at.cpu - 8), unit_load(u, 0, va + 3 * PAGE));
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, 4 * PAGE, GM_PIN), 0);
	assert_int_equal(gm_as_lookup(u->as, va + PAGE, &at), 0);
	assert_int_equal(at.node, unit_node(u, 1));
	assert_int_equal(at.flags & GM_PAGE_PINNED, GM_PAGE_PINNED);
	assert_int_equal(at.len, 3 * PAGE);
	assert_true(at.pa != GM_NO_ADDRESS && at.cpu == GM_NO_ADDRESS);

	assert_int_equal(gm_as_lookup(u->as, va + 2 * BLOCK, &at), -EFAULT);
	assert_int_equal(gm_as_lookup(u->as, UINT64_MAX, &at), -EFAULT);
	assert_int_equal(gm_as_lookup(NULL, va, &at), -EINVAL);
	assert_int_equal(gm_as_lookup(u->as, va, NULL), -EINVAL);
	gm_fake_set_usable(-EPERM);
	assert_int_equal(gm_as_lookup(u->as, va, &at), -EPERM);
	gm_fake_set_usable(0);
}

/* Ranges that adjoin on the device, and not for the CPU: a run ends where a range does. */
static void two_apertures(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct gm_lookup at = { .size = sizeof(at) };
	struct toy toy;
	uint64_t va = unit_alloc(u, 2 * BLOCK), cpu, value = 5;
	char *map = aligned_alloc(BLOCK, 5 * BLOCK);

	assert_non_null(map);
	cpu = (uint64_t)(uintptr_t)map;
	toy_init(&toy, 4);
	toy.memory = malloc(toy.size);
	assert_non_null(toy.memory);
	assert_int_equal(gm_dev_create(&toy.mmu, "two", &toy, &toy.dev), 0);
	assert_int_equal(gm_dev_register_physmem_cpu(toy.dev, toy.base, toy.base + BLOCK, cpu), 0);
	assert_int_equal(gm_dev_register_physmem_cpu(toy.dev, toy.base + BLOCK,
						     toy.base + 2 * BLOCK, cpu + 3 * BLOCK),
			 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	unit_tune(toy.dev, PAGE, true, true);
	/* The second block of memory, beginning in the middle: frames of either range. */
	for (uint64_t off = 0; off < 2 * BLOCK; off += PAGE)
		assert_int_equal(toy_access(ctx, va + off, &value, 8, GM_WRITE), 0);
	for (uint64_t off = 0; off < 2 * BLOCK; off += PAGE) {
		uint64_t pa;

		assert_int_equal(gm_as_lookup(u->as, va + off, &at), 0);
		pa = at.pa - toy.base;
		assert_int_equal(at.cpu, cpu + pa + (pa >= BLOCK ? 2 * BLOCK : 0));
		assert_true(pa / BLOCK == (pa + at.len - 1) / BLOCK);
		assert_int_equal(gm_fake_cpu_access(u->as, va + off, &value, 8, GM_READ), 0);
	}
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(gm_dev_unregister_physmem(toy.dev, toy.base, toy.base + BLOCK), 0);
	assert_int_equal(toy_unplug(&toy), 0);
	free(map);
}

static void bad_apertures(void **state)
{
	struct gm_fake_usage usage;
	struct unit *u = *state;
	struct gm_dev *dev = unit_dev(u, 0);
	uint64_t begin = 1ULL << 40, cpu = 1ULL << 46;

	assert_int_equal(gm_dev_register_physmem_cpu(dev, begin, begin + BLOCK, 0), -EINVAL);
	assert_int_equal(gm_dev_register_physmem_cpu(dev, begin, begin + BLOCK, cpu + PAGE),
			 -EINVAL);
	assert_int_equal(gm_dev_register_physmem_cpu(dev, begin + PAGE, begin + 2 * BLOCK, cpu),
			 -EINVAL);
	assert_int_equal(gm_dev_register_physmem_cpu(dev, begin, begin + BLOCK, -BLOCK), -EINVAL);
	assert_int_equal(gm_dev_register_physmem_cpu(NULL, begin, begin + BLOCK, cpu), -EINVAL);
	assert_int_equal(gm_dev_register_physmem_cpu(dev, begin, begin + 2 * BLOCK, cpu), 0);
	second_device(u);
	gm_fake_usage(&usage);
	assert_int_equal(usage.warnings, 0);
	assert_int_equal(gm_dev_register_physmem_cpu(unit_dev(u, 1), begin, begin + BLOCK,
						     cpu + BLOCK),
			 -EBUSY);
	assert_int_equal(gm_dev_register_physmem_cpu(unit_dev(u, 1), begin, begin + 2 * BLOCK,
						     cpu - BLOCK),
			 -EBUSY);
	gm_fake_usage(&usage);
	assert_int_equal(usage.warnings, 2); /* a line each, for the driver is wrong */
	gm_fake_inject(GM_FAKE_APERTURE_OPEN, 0, 1, -ENOMEM);
	assert_int_equal(gm_dev_register_physmem_cpu(unit_dev(u, 1), begin, begin + BLOCK,
						     cpu - BLOCK),
			 -ENOMEM);
	gm_fake_usage(&usage);
	assert_int_equal(usage.apertures, 2);
	assert_int_equal(gm_dev_unregister_physmem(dev, begin, begin + 2 * BLOCK), 0);
	gm_fake_usage(&usage);
	assert_int_equal(usage.apertures, 1);
}

/* Each step fails in turn; the bytes are where they were, and the next try works. */
static void steps_fail(void **state)
{
	static const enum gm_fake_op ops[] = { GM_FAKE_CPU_MAP, GM_FAKE_CPU_REVOKE };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;

	unit_fill(u, 0, va, BLOCK, 1);
	gm_fake_inject(ops[0], 0, 1, -ENOMEM);
	assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_READ), -ENOMEM);
	unit_verify(u, CPU, va, BLOCK, 1);
	gm_fake_inject(ops[1], 0, 1, -ENOMEM);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), -ENOMEM);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, 1, -EIO);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), -EIO);
	unit_fill(u, CPU, va, BLOCK, 2);
	unit_verify(u, 0, va, BLOCK, 2);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	unit_verify(u, CPU, va, BLOCK, 2);
	unit_check();
}

/* A host that maps what it finds by itself. */
static void by_object(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	struct gm_found found = { .write = true };
	uint64_t cpu;

	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	cpu = unit_cpu_of(u, va);
	assert_int_equal(gm_object_fault(obj, u->as, 9 * PAGE, true, &found), 0);
	assert_int_equal(found.from, 0);
	assert_int_equal(found.to, BLOCK);
	gm_block_unlock(found.block);
	assert_int_equal(found.cpu, cpu);
	/* One that cannot map it gets it home. */
	assert_int_equal(gm_object_fault(obj, u->as, 9 * PAGE, false, &found), 0);
	assert_int_equal(found.cpu, 0);
	assert_int_equal(found.to - found.from, 65536);
	gm_block_unlock(found.block);
	assert_int_equal(gm_object_fault(obj, u->as, 40 * PAGE, true, &found), 0);
	assert_int_equal(found.from, 16 * PAGE);
	assert_int_equal(found.to, BLOCK);
	assert_int_equal(found.cpu, cpu + 16 * PAGE);
	gm_block_unlock(found.block);
	gm_object_put(obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(used_in_place, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(leaves, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(evicted, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(aliases, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(held, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(looked_up, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(two_apertures, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(bad_apertures, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(steps_fail, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(by_object, unit_setup_aperture, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
