// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A device's memory that fails where the CPU has it mapped, while something else fails too, and while
 * it is on its way.
 */
#include <pthread.h>

#include "poison_lib.h"
#include "toy.h"

/* ---------------------------------------------------------------------------- apertures */

/* The CPU has it mapped, and loses that page alone; the machine says so by its own address. */
static void in_aperture(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), bad = va + 6 * PAGE, cpu, value, moved;

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
	moved = unit_as_stats(u->as).pages_to_host;
	lose(u, 0, bad);
	assert_int_equal(gm_fake_page(u->as, bad - PAGE) & GM_FAKE_APERTURE, GM_FAKE_APERTURE);
	assert_int_equal(gm_fake_page(u->as, bad + PAGE) & GM_FAKE_APERTURE, GM_FAKE_APERTURE);
	is_lost(u, bad);
	rest_on(u, va, BLOCK, bad, unit_node(u, 0));
	rest_verify(u, CPU, va, BLOCK, bad, 1);
	rest_verify(u, 0, va, BLOCK, bad, 1);

	bad = va + BLOCK + 3 * PAGE;
	cpu = unit_cpu_of(u, bad);
	assert_int_equal(gm_aperture_poison(cpu + 77), 0);
	is_lost(u, bad);
	assert_int_equal(gm_aperture_poison(cpu), 0);
	assert_int_equal(gm_aperture_poison(1), -ENOENT);
	assert_int_equal(gm_aperture_poison(UINT64_MAX), -ENOENT);
	rest_verify(u, CPU, va + BLOCK, BLOCK, bad, 1);
	assert_int_equal(unit_as_stats(u->as).pages_to_host, moved);

	/* Who has gm_core.lock may wait for us: it is tried for, and not for ever. */
	bad += PAGE;
	gm_fake_inject(GM_FAKE_TRYLOCK, 0, UINT32_MAX, -EBUSY);
	assert_int_equal(gm_aperture_poison(unit_cpu_of(u, bad)), -EBUSY);
	assert_int_equal(unit_access(u, CPU, bad, &value, 8, GM_READ), 0);
	gm_fake_inject(GM_FAKE_TRYLOCK, 0, 3, -EBUSY);
	assert_int_equal(gm_aperture_poison(unit_cpu_of(u, bad)), 0);
	is_lost(u, bad);
}

/* Somebody holds the page: it is lost all the same, and its memory stays until he lets go. */
static void held(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	uint8_t *page;

	unit_fill(u, 0, va, BLOCK, 1);
	page = (uint8_t *)(uintptr_t)unit_cpu_of(u, va + 5 * PAGE);
	gm_fake_hold(page, true);
	lose(u, 0, va + 5 * PAGE);
	memset(page, 0x77, PAGE);
	is_lost(u, va + 5 * PAGE);
	unit_unmap(u->as, va, BLOCK);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	u->ctx[0] = NULL;
	assert_int_equal(gm_dev_destroy(unit_dev(u, 0)), -EBUSY);
	gm_fake_hold(page, false);
	unit_check();
}

/* ---------------------------------------------------------------------------- failures */

/* It failed with @err; the page is as it was, and everything else. */
static void nothing_lost(struct unit *u, uint64_t va, uint64_t pa, int err)
{
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), pa), err);
	assert_int_equal(gm_fake_locks_held(), 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).poisoned, 0);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	unit_verify(u, 0, va, BLOCK, 1);
	unit_check();
}

static void steps_fail(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), bad = va + 66 * PAGE, pa, n;

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	pa = pa_of(u->as, bad);
	unit_verify(u, CPU, va, BLOCK, 1); /* where the device's memory is an aperture's */
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, 1, -EIO);
	nothing_lost(u, va, pa, -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_TLB_INVL, 0, 1, -EIO);
	nothing_lost(u, va, pa, -EIO);
	/* Every call of the host's that may fail, one by one, but for locks that are busy. */
	for (n = 1;; n++) {
		uint64_t before = gm_fake_injected();
		int err;

		assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
		unit_verify(u, CPU, va, BLOCK, 1);
		gm_fake_inject_nth(n);
		err = gm_dev_poison(unit_dev(u, 0), pa);
		gm_fake_inject_clear();
		if (!err)
			break;
		assert_int_equal(gm_fake_injected(), before + 1);
		assert_int_equal(err, -ENOMEM);
		unit_on(u->as, va, BLOCK, unit_node(u, 0));
		unit_verify(u, 0, va, BLOCK, 1);
		unit_check();
	}
	assert_true(n >= 2); /* the revoking, at least: memory was there already */
	is_lost(u, bad);
	rest_verify(u, CPU, va, BLOCK, bad, 1);
}

/* Without memory for the array; and that what is left cannot be entered again is no failure. */
static void more_steps(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), bad = va + 66 * PAGE, pa;

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	pa = pa_of(u->as, bad);
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM); /* the bits */
	nothing_lost(u, va, pa, -ENOMEM);
	gm_fake_inject(GM_FAKE_ALLOC, 1, 1, -ENOMEM); /* the array, after the bits */
	nothing_lost(u, va, pa, -ENOMEM);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, 2, -EIO);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), pa), 0);
	is_lost(u, bad);
	rest_verify(u, 0, va, BLOCK, bad, 1);
}

/* Host memory fails: what is there is lost, what was only kept there is not. */
static void host_memory(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value = 1;

	unit_fill(u, CPU, va, BLOCK, 1);
	gm_fake_inject(GM_FAKE_BACKING_GET, 0, 1, -EHWPOISON);
	assert_int_equal(unit_access(u, 0, va, &value, 8, GM_READ), -EHWPOISON);
	unit_verify(u, 0, va, BLOCK, 1);
	assert_true(gm_retained_bytes() >= BLOCK);
	gm_fake_inject(GM_FAKE_BACKING_GET, 0, 1, -EHWPOISON);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_retained_bytes(), 0);
	unit_verify(u, CPU, va, BLOCK, 1);
	/* It has no kept frames to blame; and with them, the array cannot be had again. */
	gm_retain_limit(0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	gm_fake_inject(GM_FAKE_BACKING_GET, 0, 1, -EHWPOISON);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), -EHWPOISON);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	unit_verify(u, CPU, va, BLOCK, 1);
	unit_check();
}

/* ------------------------------------------------------------------------------- races */

struct race {
	pthread_t thread;
	uint64_t pa;
	bool started;
	int err;
};

static void *poison_it(void *arg)
{
	struct toy *toy = arg;
	struct race *r = toy->arg;

	r->err = gm_dev_poison(toy->dev, r->pa);
	return NULL;
}

/* The page is on its way home: its block is locked, so the poison comes when it is there. */
static int while_copied(struct toy *toy, enum gm_copy_dir dir)
{
	struct race *r = toy->arg;

	if (dir != GM_TO_HOST || r->started)
		return 0;
	r->started = true;
	return -pthread_create(&r->thread, NULL, poison_it, toy);
}

static void while_evicted(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), value;
	struct gm_context *ctx;
	struct race r = { .started = false };
	struct toy toy;

	gm_fake_set_threaded(true);
	toy_init(&toy, 1);
	toy.on_copy = while_copied;
	toy.arg = &r;
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, BLOCK, GM_PREFETCH), 0);
	r.pa = pa_of(u->as, va + 77 * PAGE);
	/* Too large for both: the first goes home, and meanwhile one of its frames fails. */
	assert_int_equal(toy_access(ctx, va + BLOCK, &value, 8, GM_READ), 0);
	assert_true(r.started);
	pthread_join(r.thread, NULL);
	assert_int_equal(r.err, 0);
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_int_equal(unit_hnode(gm_dev_hnode(toy.dev)).poisoned, PAGE);
	/* The frame was free by then, or the other block's already. */
	for (uint64_t off = 0; off < BLOCK; off += PAGE)
		if (unit_info(u->as, va + BLOCK + off).flags != GM_PAGE_POISONED)
			unit_verify(u, CPU, va + BLOCK + off, PAGE, 1);
	unit_check();
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
	gm_fake_set_threaded(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_aperture, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(held, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(steps_fail, unit_setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(more_steps, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(host_memory, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(while_evicted, unit_setup_as, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
