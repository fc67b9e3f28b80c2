// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Policies that leave pages in host memory, and have them brought when the device's access
 * counters say so.
 */
#include "unit.h"

#include <gmem/policy.h>

#include "core/core.h"
#include "toy.h"

/* A policy that says what the test wants, and notes what it was asked. */
static struct own {
	struct gm_policy_move say, say_counted;
	struct gm_policy_fault seen, seen_counted;
	unsigned int faults, counted;
	struct gm_mask go;
	uint32_t stays;
	unsigned int asked, pressed, modest; /* evict(); of these, with pressure, and not in need */
} own;

static void answer(struct gm_policy_move *move, const struct gm_policy_move *say, uint32_t page)
{
	if (say->n)
		*move = *say;
	else
		move->first = page;
	if (!say->n)
		move->n = 1;
	move->in_place = say->in_place;
	move->modest = say->modest;
}

static void own_fault(void *state, struct gm_policy_block *block,
		      const struct gm_policy_fault *fault, struct gm_policy_move *move)
{
	(void)state;
	(void)block;
	if (fault->flags & GM_FAULT_COUNTED) {
		own.seen_counted = *fault;
		own.counted++;
		answer(move, &own.say_counted, fault->page);
	} else {
		own.seen = *fault;
		own.faults++;
		answer(move, &own.say, fault->page);
	}
}

static void own_evict(void *state, struct gm_policy_block *block, uint64_t want,
		      unsigned int pressure, struct gm_policy_victims *victims)
{
	(void)state;
	(void)want;
	own.asked++;
	own.modest += block->modest;
	own.pressed += pressure > 0;
	victims->go = own.go;
	victims->stays = own.stays;
}

static const struct gm_move_policy own_move = {
	.size = sizeof(own_move),
	.name = "own",
	.text = "as the test says",
	.fault = own_fault,
};

static const struct gm_evict_policy own_evictor = {
	.size = sizeof(own_evictor),
	.name = "own",
	.text = "as the test says",
	.evict = own_evict,
};

/* Device 0 of @blocks, which counts, and does as the test says; nothing else moves. */
static struct unit *counting(void **state, unsigned int blocks, uint32_t flags)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = blocks * BLOCK,
				      .base = 1ULL << 40,
				      .lanes = 2,
				      .flags = GM_SIM_CHECK | GM_SIM_SYNC_FAULTS | GM_SIM_COUNTERS |
					       flags };
	struct unit *u = *state;

	own = (struct own){ .faults = 0 };
	assert_int_equal(gm_policy_register(&own_move, &own_evictor), 0);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	assert_int_equal(gm_sim_create(&opt, &u->sim[0]), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	unit_tune(unit_dev(u, 0), PAGE, false, true);
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "own/own"), 0);
	return u;
}

static void done(void)
{
	assert_int_equal(gm_policy_unregister(&own_move, &own_evictor), 0);
}

/* The device reads @n lines of the page. */
static void lines(struct unit *u, uint64_t va, unsigned int n)
{
	uint8_t buf[PAGE];

	assert_int_equal(unit_access(u, 0, va, buf, n * 64, GM_READ), 0);
}

static void in_place(void **state)
{
	struct unit *u = counting(state, 4, 0);
	uint64_t va = unit_alloc(u, 2 * BLOCK), p = va + 20 * PAGE;
	struct gm_stats s;

	own.say = own.say_counted = (struct gm_policy_move){ .first = 16, .n = 16, .in_place = 1 };
	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 0, p, PAGE, 1);
	assert_int_equal(own.faults, 1);
	assert_int_equal(own.seen.flags, GM_FAULT_IN_PLACE);
	assert_int_equal(own.seen.page, 20);
	assert_int_equal(own.seen.access, GM_READ);
	assert_int_equal(own.seen.times, 0);
	unit_verify(u, 0, va + 16 * PAGE, 16 * PAGE, 1); /* the others came mapped with it */
	unit_fill(u, 0, va + 16 * PAGE, 16 * PAGE, 2);
	unit_verify(u, CPU, va + 16 * PAGE, 16 * PAGE, 2);
	assert_int_equal(own.faults, 1);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	s = unit_as_stats(u->as);
	assert_int_equal(s.remote_maps, 1);
	assert_int_equal(s.dev_faults_map, 1);
	assert_int_equal(s.pages_to_dev + s.dev_faults_moved, 0);
	assert_int_equal(s.remote_bytes, 0);

	/* The eighth line, and each time anew. */
	lines(u, p, 9);
	assert_int_equal(own.counted, 1);
	assert_int_equal(own.seen_counted.flags, GM_FAULT_IN_PLACE | GM_FAULT_COUNTED);
	assert_int_equal(own.seen_counted.page, 20);
	assert_int_equal(own.seen_counted.times, 8);
	s = unit_as_stats(u->as);
	assert_int_equal(s.remote_bytes, 64 * own.seen_counted.times);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).remote_bytes, s.remote_bytes);
	unit_on(u->as, p, PAGE, GM_NODE_HOST);
	lines(u, p, 64);
	assert_int_equal(own.counted, 9);
	assert_int_equal(own.seen_counted.times, 8);

	/* What nobody has had yet is zeros, in host memory too. */
	own.say = (struct gm_policy_move){ .first = 0, .n = 512, .in_place = 1 };
	assert_int_equal(unit_load(u, 0, va + BLOCK + 3 * PAGE), 0);
	unit_on(u->as, va + BLOCK + 3 * PAGE, PAGE, GM_NODE_HOST);
	assert_int_equal(unit_count_on(u->as, va + BLOCK, BLOCK, GM_NODE_HOST), 1);
	unit_store(u, CPU, va + BLOCK + 3 * PAGE, 5);
	assert_int_equal(unit_load(u, 0, va + BLOCK + 3 * PAGE), 5);
	done();
}

/* When it is counted it comes, with what the policy wants besides; the access goes on there. */
static void comes(void **state)
{
	struct unit *u = counting(state, 4, 0);
	uint64_t va = unit_alloc(u, BLOCK);

	own.say.in_place = 1;
	unit_fill(u, CPU, va, BLOCK, 1);
	own.say_counted = (struct gm_policy_move){ .first = 0, .n = 2, .more = 1, .stride = 10 };
	lines(u, va, 7);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	unit_verify(u, 0, va + 1 * PAGE, PAGE, 1);
	lines(u, va, 64);
	assert_int_equal(own.counted, 1);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 4);
	unit_on(u->as, va, 2 * PAGE, unit_node(u, 0));
	unit_on(u->as, va + 10 * PAGE, 2 * PAGE, unit_node(u, 0));
	lines(u, va, 64);
	assert_int_equal(own.counted, 1);
	unit_verify(u, 0, va, PAGE, 1);
	assert_int_equal(unit_as_stats(u->as).pages_to_dev, 4);
	assert_int_equal(unit_as_stats(u->as).dev_faults_moved, 0);
	unit_verify(u, CPU, va, BLOCK, 1);
	done();
}

/* It is modest: it comes where there is room, or something is let go of; nobody is pressed. */
static void modest(void **state)
{
	struct unit *u = counting(state, 2, 0);
	uint64_t va = unit_alloc(u, 4 * BLOCK), p = va + 3 * BLOCK;
	int node = unit_node(u, 0);

	unit_fill(u, CPU, va, 4 * BLOCK, 1);
	own.say.modest = 1;
	unit_verify(u, 0, va + 3 * PAGE, PAGE, 1); /* a fault too: there is room */
	unit_on(u->as, va + 3 * PAGE, PAGE, node);
	assert_int_equal(gm_advise(u->as, node, va, 2 * BLOCK, GM_PREFETCH), 0);

	own.say_counted.modest = 1;
	unit_verify(u, 0, p, PAGE, 1); /* none is left, and nothing goes: it stays in place */
	unit_on(u->as, p, PAGE, GM_NODE_HOST);
	assert_int_equal(own.asked, 1);
	lines(u, p, 8);
	assert_int_equal(own.counted, 1);
	unit_on(u->as, p, PAGE, GM_NODE_HOST);
	assert_int_equal(own.asked, 2);
	assert_int_equal(own.modest, 2);
	own.stays = 1;
	lines(u, p, 8);
	unit_on(u->as, p, PAGE, GM_NODE_HOST);
	unit_on(u->as, va, 2 * BLOCK, node);
	assert_int_equal(unit_as_stats(u->as).evictions, 0);

	gm_mask_set(&own.go, 7, 3); /* now it does */
	lines(u, p, 8);
	assert_int_equal(own.counted, 3);
	unit_on(u->as, p, PAGE, node);
	assert_int_equal(unit_count_on(u->as, va, 2 * BLOCK, GM_NODE_HOST), 3);
	assert_int_equal(unit_as_stats(u->as).evictions, 1);
	own.asked = 0; /* and has left room for two more */
	for (uint64_t i = 1; i < 3; i++) {
		lines(u, p + i * PAGE, 8);
		unit_on(u->as, p + i * PAGE, PAGE, node);
	}
	assert_int_equal(own.asked, 0);
	own.go = (struct gm_mask){ { 0 } };
	lines(u, p + 3 * PAGE, 8);
	unit_on(u->as, p + 3 * PAGE, PAGE, GM_NODE_HOST);
	/* What went fails, or is in somebody's hands: it stays too. */
	gm_mask_set(&own.go, 100, 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	lines(u, p + 3 * PAGE, 8);
	unit_on(u->as, p + 3 * PAGE, PAGE, GM_NODE_HOST);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 0, 0);
	gm_fake_inject(GM_FAKE_TRYLOCK, 1, UINT32_MAX, -EBUSY);
	lines(u, p + 3 * PAGE, 8);
	gm_fake_inject_clear();
	unit_on(u->as, p + 3 * PAGE, PAGE, GM_NODE_HOST);
	/* More than goes at once: not for that. */
	own.say_counted = (struct gm_policy_move){ .first = 0, .n = 16, .modest = 1 };
	lines(u, p + 3 * PAGE, 8);
	unit_on(u->as, p + 3 * PAGE, PAGE, GM_NODE_HOST);
	assert_int_equal(own.pressed, 0);
	unit_verify(u, CPU, va, 4 * BLOCK, 1);
	done();
}

/* Where memory is kept free ahead of need that is not room; nor is what an account may not have. */
static void modest_bounds(void **state)
{
	struct unit *u = counting(state, 2, 0);
	struct gm_dev_tunables t = {
		.size = sizeof(t), .granule = PAGE, .low = BLOCK, .high = BLOCK
	};
	uint64_t va = unit_alloc(u, 3 * BLOCK);
	int node = unit_node(u, 0);

	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), 0);
	unit_fill(u, CPU, va, 3 * BLOCK, 1);
	own.say.modest = 1;
	for (uint64_t i = 0; i < 600; i++)
		unit_load(u, 0, va + i * PAGE);
	assert_int_equal(unit_count_on(u->as, va, 3 * BLOCK, node), 512);
	assert_int_equal(gm_fake_run_work(), 0); /* there is nothing for it to do */
	t = (struct gm_dev_tunables){
		.size = sizeof(t), .granule = PAGE, .no_background = 1, .limit = BLOCK
	};
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), 0);
	unit_load(u, 0, va + 2 * BLOCK);
	unit_on(u->as, va + 2 * BLOCK, PAGE, GM_NODE_HOST);
	t.limit = 0;
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), 0);
	unit_load(u, 0, va + 2 * BLOCK + PAGE);
	unit_on(u->as, va + 2 * BLOCK + PAGE, PAGE, node);
	assert_int_equal(own.pressed, 0);
	done();
}

/* Who is not asked: hints, other modes and other places have their say first. */
static void not_asked(void **state)
{
	struct unit *u = counting(state, 4, GM_SIM_NO_ATOMICS);
	uint64_t va = unit_alloc(u, 8 * BLOCK), at = va;
	struct gm_context *ctx = gm_context_find(u->as, unit_dev(u, 0));
	int node = unit_node(u, 0);

	own.say.in_place = own.say_counted.in_place = 1;
	unit_fill(u, CPU, va, 8 * BLOCK, 1);
	/* ACCESSED_BY: mapped for that; the counter counts, and the policy is not asked. */
	assert_int_equal(gm_advise(u->as, node, at, BLOCK, GM_ACCESSED_BY), 0);
	lines(u, at, 64);
	assert_int_equal(own.faults + own.counted, 0);
	lines(u, at, 64);
	assert_int_equal(own.counted, 0);
	assert_true(unit_as_stats(u->as).remote_bytes >= 64 * 64);
	/* PREFERRED here, and READ_MOSTLY: it comes. */
	at += BLOCK;
	assert_int_equal(gm_advise(u->as, node, at, BLOCK, GM_PREFERRED_LOCATION), 0);
	lines(u, at, 64);
	assert_int_equal(own.seen.flags, 0);
	unit_on(u->as, at, PAGE, node);
	at += BLOCK;
	assert_int_equal(gm_advise(u->as, node, at, BLOCK, GM_READ_MOSTLY), 0);
	unit_store(u, 0, at, 1);
	assert_int_equal(own.seen.flags, 0);
	/* Another device has it: it moves. */
	at += BLOCK;
	unit_store(u, 1, at, 3);
	lines(u, at, 64);
	assert_int_equal(own.seen.flags, 0);
	unit_on(u->as, at, PAGE, node);
	/* A page that it wants alone, by a link without atomic operations: it moves. */
	at += BLOCK;
	assert_int_equal(gm_dev_fault(ctx, at, GM_WRITE | GM_ATOMIC), 0);
	assert_int_equal(own.seen.flags, 0);
	unit_on(u->as, at, PAGE, node);
	/* A window that is all in place. */
	at += BLOCK;
	own.faults = own.counted = 0;
	assert_int_equal(gm_context_set_mode(ctx, at, BLOCK, GM_REPLICATE), 0);
	lines(u, at, 64);
	lines(u, at, 64);
	assert_int_equal(own.faults + own.counted, 0);
	/* No memory to map it there: it moves. */
	at += BLOCK;
	gm_fake_inject(GM_FAKE_IN_PLACE_HOLD, 0, UINT32_MAX, -ENOMEM);
	unit_load(u, 0, at);
	gm_fake_inject_clear();
	assert_int_equal(own.seen.flags, GM_FAULT_IN_PLACE);
	unit_on(u->as, at, PAGE, node);
	/* With no_grow nobody is asked. */
	own.faults = 0;
	unit_tune(unit_dev(u, 0), PAGE, true, true);
	unit_load(u, 0, at + PAGE);
	unit_on(u->as, at + PAGE, PAGE, node);
	assert_int_equal(own.faults, 0);
	done();
}

/* What a counter says too late, or of what is in somebody's hands, does no harm. */
static void late(void **state)
{
	struct unit *u = counting(state, 4, 0);
	struct gm_context *ctx = gm_context_find(u->as, unit_dev(u, 0));
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	own.say.in_place = 1;
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_dev_accessed(ctx, va, PAGE, 8), 0); /* nothing is mapped */
	assert_int_equal(own.counted, 0);
	unit_load(u, 0, va);
	gm_fake_inject(GM_FAKE_TRYLOCK, 0, 1, -EBUSY);
	assert_int_equal(gm_dev_accessed(ctx, va, PAGE, 8), 0);
	assert_int_equal(own.counted, 0);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -EIO);
	assert_int_equal(gm_dev_accessed(ctx, va, PAGE, 8), 0); /* it cannot come */
	assert_int_equal(own.counted, 1);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	unit_verify(u, 0, va, PAGE, 1);
	assert_int_equal(gm_dev_accessed(ctx, va + PAGE, 3 * PAGE, 2),
			 0); /* a range, of each page */
	assert_int_equal(own.counted, 4);
	assert_int_equal(unit_as_stats(u->as).remote_bytes, 64 * (8 + 3 * 2));
	unit_on(u->as, va + PAGE, 3 * PAGE, unit_node(u, 0));
	assert_int_equal(gm_sim_unplug(u->sim[0]), 0);
	assert_int_equal(gm_dev_accessed(ctx, va, PAGE, 8), 0);
	assert_int_equal(own.counted, 4);
	unit_verify(u, CPU, va, BLOCK, 1);
	done();
}

/* What goes back and forth stays though it is counted, for as long as that is so. */
static void shared(void **state)
{
	struct unit *u = counting(state, 4, 0);
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	for (uint64_t i = 0; i < 5; i++) {
		unit_store(u, 0, va, i);
		assert_int_equal(unit_load(u, CPU, va), i);
	}
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	lines(u, va, 64);
	lines(u, va, 64);
	assert_int_equal(own.counted, 0);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	gm_os_sleep(256 * 1000000ULL);
	lines(u, va, 64);
	assert_int_equal(own.counted, 1);
	unit_on(u->as, va, PAGE, unit_node(u, 0));
	done();
}

/* auto: as ever while there is room; then in place, and what is counted is modest. */
static void by_default(void **state)
{
	struct unit *u = counting(state, 2, 0);
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	int node = unit_node(u, 0);

	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "auto/own"), 0);
	unit_fill(u, CPU, va, 4 * BLOCK, 1);
	unit_load(u, 0, va);
	unit_on(u->as, va, PAGE, node);
	assert_int_equal(gm_advise(u->as, node, va, 2 * BLOCK, GM_PREFETCH), 0);
	lines(u, va + 3 * BLOCK, 9);
	lines(u, va + 3 * BLOCK, 64);
	unit_on(u->as, va + 3 * BLOCK, PAGE, GM_NODE_HOST);
	assert_true(own.asked > 0);
	assert_int_equal(unit_as_stats(u->as).evictions, 0);
	gm_mask_set(&own.go, 0, 8);
	lines(u, va + 3 * BLOCK, 64);
	unit_on(u->as, va + 3 * BLOCK, PAGE, node);
	assert_int_equal(own.pressed, 0);
	unit_verify(u, 0, va, 4 * BLOCK, 1);
	unit_verify(u, CPU, va, 4 * BLOCK, 1);
	done();
}

/* A table that says it counts must be able to use what it counts; and nothing unknown is said. */
static void tables(void **state)
{
	struct toy toy;

	(void)state;
	toy_init(&toy, 1);
	toy.mmu.flags = GM_MMU_COUNTS;
	assert_int_equal(gm_dev_create(&toy.mmu, "toy", &toy, &toy.dev), -EINVAL);
	toy.mmu.flags = GM_MMU_COUNTS << 1;
	assert_int_equal(gm_dev_create(&toy.mmu, "toy", &toy, &toy.dev), -EINVAL);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(in_place),	     TEST(comes),      TEST(modest),
		TEST(modest_bounds), TEST(not_asked),  TEST(late),
		TEST(shared),	     TEST(by_default), TEST(tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
