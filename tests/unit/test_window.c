// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Windows: a context that sees parts of an address space, at addresses of its own, and in a
 * mode of their own. Device 0 is sparse and can map host memory in place; device 1 is ordinary.
 */
#include "unit.h"

#include "core/core.h"

#define AT 0x40000000ULL /* where device 0 sees things */
#define BITS 36

static int setup(void **state)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .table_memory = 1 << 20,
				      .lanes = 1,
				      .va_bits = BITS,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK | GM_SIM_SPARSE };
	struct unit *u;

	unit_setup_as(state);
	u = *state;
	assert_int_equal(gm_sim_create(&opt, &u->sim[0]), 0);
	u->sim[1] = unit_sim(4, 1);
	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
		unit_tune(unit_dev(u, i), PAGE, true, true);
	}
	return 0;
}

static int teardown(void **state)
{
	struct unit *u = *state;
	struct gm_sim_stats s = { .size = sizeof(s) };

	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		gm_sim_stats(u->sim[i], &s);
		assert_int_equal(s.stale, 0);
	}
	return unit_teardown(state);
}

static int add(struct unit *u, uint64_t va, uint64_t len, uint64_t dev_va)
{
	return gm_sim_window_add(u->ctx[0], (void *)(uintptr_t)va, len, dev_va);
}

static int hide(struct unit *u, uint64_t va, uint64_t len)
{
	return gm_sim_window_remove(u->ctx[0], (void *)(uintptr_t)va, len);
}

static int set_mode(struct unit *u, unsigned int dev, uint64_t va, uint64_t len, enum gm_mode mode)
{
	return gm_sim_set_mode(u->ctx[dev], (void *)(uintptr_t)va, len, mode);
}

static struct gm_stats stats(struct unit *u, unsigned int dev)
{
	return unit_dev_stats(unit_dev(u, dev));
}

/* unit_fill()'s word of the page at @va, as device 0 sees it at @dev_va. */
static void verify_at(struct unit *u, uint64_t dev_va, uint64_t va, uint64_t len, uint64_t tag)
{
	uint64_t copy[PAGE / 8], there[PAGE / 8];

	for (uint64_t off = 0; off < len; off += PAGE) {
		assert_int_equal(unit_access(u, 0, dev_va + off, there, PAGE, GM_READ), 0);
		assert_int_equal(unit_access(u, CPU, va + off, copy, PAGE, GM_READ), 0);
		assert_memory_equal(copy, there, PAGE);
	}
	unit_verify(u, CPU, va, len, tag);
}

/* ---------------------------------------------------------------------- what is seen */

static void nothing_is_seen_unasked(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v;

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(unit_access(u, 0, va, &v, 8, GM_READ), -EFAULT);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), -EFAULT);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PIN), -EFAULT);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(add(u, va + PAGE, PAGE, AT), 0);
	assert_int_equal(unit_access(u, 0, AT, &v, 8, GM_READ), 0);
	assert_int_equal(unit_access(u, 0, AT + PAGE, &v, 8, GM_READ), -EFAULT);
	assert_int_equal(unit_access(u, 0, AT - PAGE, &v, 8, GM_READ), -EFAULT);
	assert_int_equal(unit_access(u, 0, va + PAGE, &v, 8, GM_READ), -EFAULT);
	/* Neighbours did not come along, though they are of one block. */
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 1);
	/* A range that is seen in part is refused as a whole. */
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + PAGE, 2 * PAGE, GM_PREFETCH),
			 -EFAULT);
	unit_verify(u, CPU, va, BLOCK, 1);
}

/* Two pieces far apart in the address space, next to each other at the device, the other way round. */
static void offset_and_sparse(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 3 * BLOCK), v;

	unit_fill(u, CPU, va, 3 * BLOCK, 1);
	assert_int_equal(add(u, va + 2 * BLOCK, BLOCK, AT), 0);
	assert_int_equal(add(u, va, BLOCK, AT + BLOCK), 0);
	verify_at(u, AT, va + 2 * BLOCK, BLOCK, 1);
	verify_at(u, AT + BLOCK, va, BLOCK, 1);
	/* What the device writes is there, and the hole it does not see is untouched. */
	for (uint64_t off = 0; off < BLOCK; off += PAGE) {
		v = off;
		assert_int_equal(unit_access(u, 0, AT + off + 8, &v, 8, GM_WRITE), 0);
	}
	for (uint64_t off = 0; off < BLOCK; off += PAGE)
		assert_int_equal(unit_load(u, CPU, va + 2 * BLOCK + off + 8), off);
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
	unit_check();
}

/* Leaves as large as the device's addresses allow: a window aligned to 2 MiB, and one that is not. */
static void leaves(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	struct gm_sim_stats s = { .size = sizeof(s) };
	uint64_t tables;

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(add(u, va, BLOCK, AT), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	gm_sim_stats(u->sim[0], &s);
	tables = s.tables;
	assert_int_equal(add(u, va + BLOCK, BLOCK, AT + BLOCK + PAGE), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + BLOCK, BLOCK, GM_PREFETCH), 0);
	gm_sim_stats(u->sim[0], &s);
	assert_true(s.tables > tables); /* it straddles two blocks of the device's: small leaves */
	for (uint64_t off = 0; off < BLOCK; off += PAGE) {
		uint64_t v;

		assert_int_equal(unit_access(u, 0, AT + BLOCK + PAGE + off, &v, 8, GM_READ), 0);
	}
	assert_int_equal(stats(u, 0).dev_faults, 0);
	verify_at(u, AT + BLOCK + PAGE, va + BLOCK, BLOCK, 1);
	verify_at(u, AT, va, BLOCK, 1);
}

/* One object at two addresses, each with a window: to unmap a page is to unmap it from both. */
static void two_windows_of_one_page(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t a = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	uint64_t b = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE), v = 7;
	struct gm_stats before;

	gm_object_put(obj);
	assert_int_equal(add(u, a, BLOCK, AT), 0);
	assert_int_equal(add(u, b, BLOCK, AT + BLOCK), 0);
	assert_int_equal(unit_access(u, 0, AT, &v, 8, GM_WRITE), 0);
	assert_int_equal(unit_access(u, 0, AT + BLOCK, &v, 8, GM_READ), 0);
	before = stats(u, 0);
	unit_store(u, CPU, a, 8);
	/* One invalidation for the two. */
	assert_int_equal(stats(u, 0).tlb_invls - before.tlb_invls, 1);
	assert_int_equal(unit_access(u, 0, AT + BLOCK, &v, 8, GM_READ), 0);
	assert_int_equal(v, 8);
}

/* A window may be there before what it shows, and stay when that goes. */
static void windows_outlive_mappings(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v = 1;
	struct gm_object *obj = unit_object(BLOCK);

	assert_int_equal(add(u, va, BLOCK, AT), 0);
	assert_int_equal(unit_access(u, 0, AT, &v, 8, GM_WRITE), 0);
	unit_unmap(u->as, va, BLOCK);
	assert_int_equal(unit_access(u, 0, AT, &v, 8, GM_READ), -EFAULT);
	unit_map_at(u->as, obj, 0, BLOCK, va);
	gm_object_put(obj);
	assert_int_equal(unit_access(u, 0, AT, &v, 8, GM_READ), 0);
	assert_int_equal(v, 0);
}

/* What is on the device already is mapped as the window comes, and needs no fault. */
static void populated(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), faults;

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(add(u, va, 2 * BLOCK, AT), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(hide(u, va, 2 * BLOCK), 0);
	unit_on(u->as, va, 2 * BLOCK, unit_node(u, 0)); /* nothing moved */
	assert_int_equal(add(u, va, 2 * BLOCK, AT + BLOCK), 0);
	faults = stats(u, 0).dev_faults;
	for (uint64_t off = 0; off < 2 * BLOCK; off += PAGE) {
		uint64_t v;

		assert_int_equal(unit_access(u, 0, AT + BLOCK + off, &v, 8, GM_READ), 0);
	}
	assert_int_equal(stats(u, 0).dev_faults, faults);
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
}

/* ------------------------------------------------------------------------ taken away */

/* A part from the middle, in the middle of a 2 MiB leaf; the rest stays mapped. */
static void hidden_in_part(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v, faults;

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(add(u, va, BLOCK, AT), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(hide(u, va + 100 * PAGE, 3 * PAGE), 0);
	faults = stats(u, 0).dev_faults;
	for (uint64_t i = 0; i < 512; i++) {
		int err = unit_access(u, 0, AT + i * PAGE, &v, 8, GM_READ);

		assert_int_equal(err, i >= 100 && i < 103 ? -EFAULT : 0);
	}
	assert_int_equal(stats(u, 0).dev_faults, faults + 3);
	assert_int_equal(hide(u, va, BLOCK), -ENOENT); /* it has a hole now */
	assert_int_equal(unit_access(u, 0, AT, &v, 8, GM_READ), 0);
	/* The hole can be filled with something else. */
	assert_int_equal(add(u, va + 100 * PAGE, PAGE, AT + 101 * PAGE), 0);
	verify_at(u, AT + 101 * PAGE, va + 100 * PAGE, PAGE, 1);
	unit_verify(u, CPU, va, BLOCK, 1);
}

/* An ordinary context is denied a part; its CPU-side mapping and other devices do not care. */
static void denied(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v;

	unit_fill(u, 1, va, BLOCK, 1);
	assert_int_equal(gm_sim_window_remove(u->ctx[1], (void *)(uintptr_t)(va + PAGE), PAGE), 0);
	assert_int_equal(unit_access(u, 1, va + PAGE, &v, 8, GM_READ), -EFAULT);
	assert_int_equal(unit_access(u, 1, va, &v, 8, GM_READ), 0);
	assert_int_equal(unit_access(u, 1, va + 2 * PAGE, &v, 8, GM_READ), 0);
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_int_equal(
		gm_sim_window_add(u->ctx[1], (void *)(uintptr_t)(va + PAGE), PAGE, va + PAGE), 0);
	unit_verify(u, 1, va, BLOCK, 1);
}

/* Many windows at once: one invalidation. */
static void in_bulk(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), v;
	struct gm_context *ctx = u->as->contexts;
	struct gm_window w[64];
	struct gm_stats before;

	while (ctx->dev != unit_dev(u, 0))
		ctx = ctx->next;
	for (unsigned int i = 0; i < 64; i++)
		w[i] = (struct gm_window){ .va = va + (63 - i) * 16 * PAGE,
					   .len = 8 * PAGE,
					   .dev_va = AT + i * 64 * PAGE };
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_window_add(ctx, w, 64), 0);
	for (unsigned int i = 0; i < 64; i++)
		verify_at(u, w[i].dev_va, w[i].va, 8 * PAGE, 1);
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(unit_access(u, 0, w[i].dev_va, &v, 8, GM_WRITE), 0);
	before = stats(u, 0);
	assert_int_equal(gm_window_remove(ctx, w, 64), 0);
	assert_int_equal(stats(u, 0).tlb_invls - before.tlb_invls, 1);
	assert_int_equal(stats(u, 0).tlb_ranges - before.tlb_ranges, 64);
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(unit_access(u, 0, w[i].dev_va, &v, 8, GM_READ), -EFAULT);
	assert_int_equal(ctx->nr_windows, 0);

	/* The same one twice, and in any order. */
	assert_int_equal(gm_window_add(ctx, w, 3), 0);
	w[2] = w[0];
	assert_int_equal(gm_window_remove(ctx, w, 3), 0);
	assert_int_equal(ctx->nr_windows, 1);
}

/* Some of many, one cut, one named twice, one in another mode: the others stay as they are. */
static void some_of_many(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v;
	struct gm_context *ctx = u->as->contexts;
	struct gm_window w[60], away[32];

	while (ctx->dev != unit_dev(u, 0))
		ctx = ctx->next;
	unit_fill(u, CPU, va, BLOCK, 1);
	for (unsigned int i = 0; i < 60; i++)
		w[i] = (struct gm_window){ va + i * 8 * PAGE, 4 * PAGE, AT + (59 - i) * 8 * PAGE };
	assert_int_equal(gm_window_add(ctx, w, 60), 0);
	assert_int_equal(gm_context_set_mode(ctx, w[4].va, w[4].len, GM_REPLICATE), 0);
	assert_int_equal(gm_context_set_mode(ctx, w[5].va, w[5].len, GM_REPLICATE), 0);
	for (unsigned int i = 0; i < 30; i++)
		away[i] = w[2 * i];
	away[30] = w[4];
	away[31] = (struct gm_window){ .va = w[7].va + PAGE, .len = 2 * PAGE };
	away[31].len = 20 * PAGE; /* not all of it is seen */
	assert_int_equal(gm_window_remove(ctx, away, 32), -ENOENT);
	away[31].len = 2 * PAGE;
	assert_int_equal(gm_window_remove(ctx, away, 32), 0);
	assert_int_equal(ctx->nr_windows, 31);
	assert_int_equal(ctx->nr_in_place, 1);
	for (unsigned int i = 0; i < 60; i++) {
		bool gone = i % 2 == 0, cut = i == 7;

		assert_int_equal(unit_access(u, 0, w[i].dev_va, &v, 8, GM_READ),
				 gone ? -EFAULT : 0);
		assert_int_equal(unit_access(u, 0, w[i].dev_va + 2 * PAGE, &v, 8, GM_READ),
				 gone || cut ? -EFAULT : 0);
	}
	assert_int_equal(gm_window_add(ctx, away, 30), 0); /* there is room for them again */
	unit_verify(u, CPU, va, BLOCK, 1);
	unit_check();
}

/* ------------------------------------------------------------------- modes of a range */

/* In the middle of what migrates, a range that is mapped where it is; and back. */
static void mode_of_a_range(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), mid = va + BLOCK / 2;
	struct gm_stats before;

	unit_fill(u, 1, va, 2 * BLOCK, 1);
	unit_on(u->as, va, 2 * BLOCK, unit_node(u, 1));
	assert_int_equal(set_mode(u, 1, mid, BLOCK, GM_REPLICATE), 0);
	unit_on(u->as, mid, BLOCK, GM_NODE_HOST);
	assert_int_equal(unit_count_on(u->as, va, 2 * BLOCK, unit_node(u, 1)), BLOCK / PAGE);
	before = stats(u, 1);
	unit_fill(u, 1, va, 2 * BLOCK, 2);
	assert_int_equal(stats(u, 1).dev_faults, before.dev_faults); /* mapped as it changed */
	unit_on(u->as, mid, BLOCK, GM_NODE_HOST);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, 2 * BLOCK, GM_PIN), -EOPNOTSUPP);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, 2 * BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, mid, BLOCK, GM_NODE_HOST);
	unit_verify(u, CPU, va, 2 * BLOCK, 2);

	assert_int_equal(set_mode(u, 1, va, 2 * BLOCK, GM_EXCLUSIVE), 0);
	unit_fill(u, 1, va, 2 * BLOCK, 3);
	unit_on(u->as, va, 2 * BLOCK, unit_node(u, 1));
	unit_verify(u, CPU, va, 2 * BLOCK, 3);
	assert_int_equal(gm_load(&gm_core.in_place), 0);
	unit_check();
}

/* ------------------------------------------------------------------------- bad input */

static void refused(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v;
	struct gm_window w = { .va = va, .len = PAGE, .dev_va = AT };

	assert_int_equal(gm_window_add(NULL, &w, 1), -EINVAL);
	assert_int_equal(gm_window_remove(NULL, &w, 1), -EINVAL);
	assert_int_equal(gm_context_set_mode(NULL, va, PAGE, GM_REPLICATE), -EINVAL);
	assert_int_equal(gm_window_add(u->as->contexts, NULL, 1), -EINVAL);
	assert_int_equal(add(u, va, 0, AT), -EINVAL);
	assert_int_equal(add(u, va + 1, PAGE, AT), -EINVAL);
	assert_int_equal(add(u, va, PAGE + 1, AT), -EINVAL);
	assert_int_equal(add(u, va, PAGE, AT + 1), -EINVAL);
	assert_int_equal(add(u, -PAGE, 2 * PAGE, AT), -EINVAL);
	assert_int_equal(add(u, va, PAGE, 1ULL << BITS), -ERANGE);
	assert_int_equal(add(u, va, 2 * PAGE, (1ULL << BITS) - PAGE), -ERANGE);
	assert_int_equal(add(u, va, PAGE, (1ULL << BITS) - PAGE), 0);
	assert_int_equal(unit_access(u, 0, (1ULL << BITS) - PAGE, &v, 8, GM_READ), 0);
	/* Overlaps, on either side. */
	assert_int_equal(add(u, va, PAGE, AT), -EEXIST);
	assert_int_equal(add(u, va + PAGE, PAGE, (1ULL << BITS) - PAGE), -EEXIST);
	assert_int_equal(add(u, va + PAGE, 2 * PAGE, AT), 0);
	assert_int_equal(add(u, va + 8 * PAGE, 2 * PAGE, AT + PAGE), -EEXIST);
	assert_int_equal(add(u, va + 2 * PAGE, 2 * PAGE, AT + 8 * PAGE), -EEXIST);
	/* An ordinary context sees everything. */
	assert_int_equal(gm_sim_window_add(u->ctx[1], (void *)(uintptr_t)va, PAGE, AT), -EEXIST);
	assert_int_equal(hide(u, va + 8 * PAGE, PAGE), -ENOENT);
	assert_int_equal(set_mode(u, 0, va + 8 * PAGE, PAGE, GM_REPLICATE), -ENOENT);
	assert_int_equal(set_mode(u, 0, va, PAGE, GM_SHARE), -EINVAL);
	assert_int_equal(set_mode(u, 0, va, PAGE / 2, GM_REPLICATE), -EINVAL);
	/* One of many that is refused takes the others with it. */
	assert_int_equal(gm_window_add(u->as->contexts->next,
				       (struct gm_window[]){ { va + 16 * PAGE, PAGE, AT + BLOCK },
							     { va, PAGE, AT + 2 * BLOCK } },
				       2),
			 -EEXIST);
	assert_int_equal(unit_access(u, 0, AT + BLOCK, &v, 8, GM_READ), -EFAULT);
}

/* A device with fewer address bits than the CPU sees what is within its reach. */
static void few_bits(void **state)
{
	struct unit *u = *state;
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = 3ULL << 32,
				      .lanes = 1,
				      .va_bits = 32,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK };
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t low = unit_map_at(u->as, obj, 0, BLOCK, 0x10000000), v = 5;
	uint64_t high = unit_map_at(u->as, obj, 0, BLOCK, 1ULL << 32);
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;

	gm_object_put(obj);
	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	assert_int_equal(gm_sim_attach(sim, u->as, &ctx), 0);
	assert_int_equal(gm_sim_access(ctx, (void *)(uintptr_t)low, &v, 8, GM_WRITE), 0);
	assert_int_equal(gm_sim_access(ctx, (void *)(uintptr_t)high, &v, 8, GM_READ), -EFAULT);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(gm_sim_dev(sim)), high, BLOCK, GM_PREFETCH),
			 -EFAULT);
	assert_int_equal(unit_load(u, CPU, high), 5);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
	opt.va_bits = 21;
	assert_int_equal(gm_sim_create(&opt, &sim), -EINVAL);
}

/* ------------------------------------------------------------------- what may fail, fails */

/* Each allocation, and each operation of the driver's: afterwards all or nothing is as it was. */
static void failing(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v;

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(add(u, va, BLOCK, AT), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	for (int op = GM_SIM_PMAP_RELEASE; op <= GM_SIM_TLB_INVL; op++) {
		if (op == GM_SIM_PMAP_PROTECT)
			continue;
		/* The first such operation cuts a leaf, the third is the removal's own. */
		for (uint32_t skip = 0; skip < 3; skip++) {
			gm_sim_inject(u->sim[0], (enum gm_sim_op)op, skip, 1, -EIO);
			assert_int_equal(hide(u, va + 7 * PAGE, 10 * PAGE), -EIO);
			gm_sim_inject(u->sim[0], (enum gm_sim_op)op, 0, 0, 0);
			verify_at(u, AT, va, BLOCK, 1);
			assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH),
					 0);
			unit_check();
			/* The window may have been cut by now: make it one again. */
			assert_int_equal(hide(u, va, BLOCK), 0);
			assert_int_equal(add(u, va, BLOCK, AT), 0);
		}
	}
	/* Going home fails: the mode is as it was. */
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	assert_int_equal(set_mode(u, 0, va, BLOCK, GM_REPLICATE), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	assert_int_equal(unit_access(u, 0, AT, &v, 8, GM_READ), 0);
	unit_verify(u, CPU, va, BLOCK, 1);
}

/* Memory runs out at every place where any is asked for. */
static void no_memory(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	unsigned int failed = 0;
	int err = -ENOMEM;

	for (unsigned int after = 0; err; after++) {
		struct gm_window *w = calloc(2048, sizeof(*w));

		for (unsigned int i = 0; i < 2048; i++)
			w[i] = (struct gm_window){ va + i * PAGE, PAGE, AT + i * 2 * PAGE };
		gm_fake_inject(GM_FAKE_ALLOC, after, 1, -ENOMEM);
		err = gm_window_add(u->as->contexts->next, w, 2048);
		gm_fake_inject_clear();
		assert_true(!err || err == -ENOMEM);
		if (err)
			assert_int_equal(u->as->contexts->next->nr_windows, 0);
		failed += err != 0;
		free(w);
	}
	assert_true(failed > 1);
	assert_int_equal(u->as->contexts->next->nr_windows, 2048);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		TEST(nothing_is_seen_unasked),
		TEST(offset_and_sparse),
		TEST(leaves),
		TEST(two_windows_of_one_page),
		TEST(windows_outlive_mappings),
		TEST(populated),
		TEST(hidden_in_part),
		TEST(denied),
		TEST(in_bulk),
		TEST(some_of_many),
		TEST(mode_of_a_range),
		TEST(refused),
		TEST(few_bits),
		TEST(failing),
		TEST(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
