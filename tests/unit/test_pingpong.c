// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Pages that go back and forth, by the virtual clock: it is noticed, the moves are bounded, both
 * sides get on, and nobody waits where there is nothing of the kind.
 */
#include "unit.h"

#include "core/core.h"
#include "toy.h"

#define US 1000ULL
#define LAPSE (500 * US)
#define HOLD (1000 * US)
#define TIMES 3U

/* Everything by default but how much moves. */
static void tune(struct gm_dev *dev, const struct gm_dev_tunables *as)
{
	struct gm_dev_tunables t = *as;

	t.size = sizeof(t);
	t.granule = t.granule ? t.granule : PAGE;
	t.no_grow = t.no_background = 1;
	assert_int_equal(gm_dev_tune(dev, &t), 0);
}

static struct unit *usual(void **state)
{
	struct unit *u = *state;

	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		tune(unit_dev(u, i), &(struct gm_dev_tunables){ 0 });
	gm_fake_set_no_in_place(true);
	return u;
}

/* The same with devices that can use host memory in place. */
static struct unit *able(void **state)
{
	struct unit *u = usual(state);

	gm_fake_set_no_in_place(false);
	return u;
}

static void pass(uint64_t ns)
{
	gm_os_sleep(ns);
}

/* One fault of a device: no replay. */
static int dev_fault(struct unit *u, int i, uint64_t va, uint32_t access)
{
	return gm_dev_fault(gm_context_find(u->as, unit_dev(u, (unsigned int)i)), va, access);
}

/* One of the CPU's that does not wait: 0, or how long it would have. */
static uint64_t cpu_fault(struct unit *u, uint64_t va)
{
	uint64_t now = gm_os_now_ns(), until;
	int err = gm_cpu_fault_try(u->as, va, GM_WRITE, &until);

	assert_int_equal(err, until ? -EAGAIN : 0);
	assert_true(!until || until > now);
	return until ? until - now : 0;
}

/*
 * What the CPU has goes to the device, and comes back; to the device again, for the first time back;
 * and again, three times, the last to the CPU, which then holds it.
 */
#define MOVES 6U

static void provoke_cpu(struct unit *u, uint64_t va)
{
	for (unsigned int i = 0; i < MOVES / 2; i++) {
		assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
		assert_int_equal(cpu_fault(u, va), 0);
	}
}

/* And one more: the device holds it. */
static void provoke(struct unit *u, uint64_t va)
{
	provoke_cpu(u, va);
	pass(HOLD);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
}

static uint64_t moves(struct unit *u)
{
	struct gm_stats s = unit_as_stats(u->as);

	return s.pages_to_dev + s.pages_to_host + s.pages_peer;
}

static void detected(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, BLOCK), begin;
	struct gm_event ev[4];

	gm_fake_trace(1U << GM_EVENT_THRASH);
	unit_store(u, CPU, va, 1);
	provoke(u, va);
	assert_int_equal(unit_as_stats(u->as).thrashes, 1);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).thrashes, 1);
	assert_int_equal(gm_fake_events(ev, 4), 1);
	assert_int_equal(ev[0].kind, GM_EVENT_THRASH);
	assert_int_equal(ev[0].why, GM_WHY_CPU_FAULT);
	assert_ptr_equal(ev[0].as, u->as);
	assert_ptr_equal(ev[0].at, u->as);
	assert_true(ev[0].addr == va && ev[0].offset == 0 && ev[0].len == PAGE);
	assert_int_equal(ev[0].from, unit_node(u, 0));
	assert_int_equal(ev[0].to, GM_NODE_HOST);
	assert_int_equal(ev[0].n, TIMES);
	gm_fake_trace(0);

	/* The CPU waits for the rest of the hold, and then it is the device's turn to. */
	assert_in_range(cpu_fault(u, va), HOLD / 2, HOLD);
	assert_int_equal(unit_as_stats(u->as).faults_held, 1);
	begin = gm_os_now_ns();
	assert_int_equal(gm_cpu_fault(u->as, va, GM_WRITE), 0);
	assert_in_range(gm_os_now_ns() - begin, HOLD / 2, HOLD + 100 * US);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), -EBUSY);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).faults_held, 1);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).fault_errors, 0);
	pass(HOLD);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
	unit_on(u->as, va, PAGE, unit_node(u, 0));
	assert_int_equal(unit_as_stats(u->as).thrashes, 1); /* the same one */
}

/* It is over when the page has stayed for a while; later it is a new one. */
static void ends(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	unit_store(u, CPU, va, 1);
	provoke(u, va);
	pass(2 * (LAPSE + HOLD) + US);
	for (unsigned int i = 0; i < 8; i++) { /* slowly: not the same */
		assert_int_equal(cpu_fault(u, va), 0);
		pass(2 * LAPSE);
		assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
		pass(2 * LAPSE);
	}
	assert_int_equal(unit_as_stats(u->as).thrashes, 1);
	assert_int_equal(unit_as_stats(u->as).faults_held, 0);
	provoke(u, va + BLOCK);
	assert_int_equal(unit_as_stats(u->as).thrashes, 2);
}

/*
 * The CPU and a device write a page in turn, as fast as they can: moves are bounded by time, and each
 * gets its turn in every two holds.
 */
static void bounded(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, BLOCK), begin, longest = 0, time = 100 * HOLD, turns = 0;

	unit_store(u, CPU, va, 0);
	begin = gm_os_now_ns();
	while (gm_os_now_ns() - begin < time) {
		uint64_t turn = gm_os_now_ns();

		assert_int_equal(unit_load(u, 0, va), turns); /* the lane replays */
		unit_store(u, 0, va, ++turns);
		assert_int_equal(unit_load(u, CPU, va), turns);
		unit_store(u, CPU, va, ++turns);
		turn = gm_os_now_ns() - turn;
		longest = turn > longest ? turn : longest;
	}
	time = gm_os_now_ns() - begin;
	assert_true(moves(u) <= MOVES + 1 + time / HOLD);
	assert_true(turns >= time / HOLD / 2);
	assert_true(longest <= 3 * HOLD);
	assert_int_equal(unit_as_stats(u->as).thrashes, 1);
	assert_true(unit_as_stats(u->as).faults_held > 0);
}

/* The same of two devices, with a link and without. */
static void two_devices(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, BLOCK), begin = gm_os_now_ns(), turns = 0, time;

	while (gm_os_now_ns() - begin < 50 * HOLD) {
		unit_store(u, 0, va, ++turns);
		assert_int_equal(unit_load(u, 1, va), turns);
		unit_store(u, 1, va, ++turns);
		assert_int_equal(unit_load(u, 0, va), turns);
	}
	time = gm_os_now_ns() - begin;
	assert_true(turns >= time / HOLD / 2);
	assert_true(moves(u) <= 2 * (MOVES + 1 + time / HOLD)); /* by way of the host it is two */
	assert_int_equal(unit_as_stats(u->as).thrashes, 1);
}

/* Nobody waits for pages that are used once by each, in whatever order and however fast. */
static void no_delay_for_streams(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	tune(unit_dev(u, 0), &(struct gm_dev_tunables){ .granule = 64 << 10 });
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	for (uint64_t off = 0; off < 2 * BLOCK; off += 64 << 10) {
		assert_int_equal(dev_fault(u, 0, va + off, GM_WRITE), 0);
		if (off >= 128 << 10)
			assert_int_equal(cpu_fault(u, va + off - (128 << 10)), 0);
	}
	for (unsigned int round = 0; round < 10; round++) { /* there and back, with a pause */
		assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
		assert_int_equal(cpu_fault(u, va), 0);
		pass(2 * LAPSE + US);
	}
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(unit_as_stats(u->as).thrashes, 0);
	assert_int_equal(unit_as_stats(u->as).faults_held, 0);
}

/* Evicted and fetched again and again: that is want of memory. */
static void no_delay_for_eviction(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, 6 * BLOCK);

	tune(unit_dev(u, 0), &(struct gm_dev_tunables){ .granule = BLOCK });
	for (unsigned int round = 0; round < 4; round++)
		for (uint64_t b = 0; b < 6; b++)
			assert_int_equal(dev_fault(u, 0, va + b * BLOCK, GM_WRITE), 0);
	assert_true(unit_dev_stats(unit_dev(u, 0)).evictions > 10);
	assert_int_equal(unit_as_stats(u->as).thrashes, 0);
	assert_int_equal(unit_as_stats(u->as).faults_held, 0);
}

/* What is held is the piece: not the block's others; and a guess leaves it out, for either. */
static void others_go_on(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, BLOCK), hot = va + 100 * PAGE, near = va + 96 * PAGE;
	struct gm_as_options opt = { .size = sizeof(opt), .cpu_granule = BLOCK };

	assert_int_equal(gm_as_destroy(u->as), 0); /* the CPU's guess is a block */
	assert_int_equal(gm_as_create(&opt, &u->as), 0);
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	va = unit_alloc(u, BLOCK);
	hot = va + 100 * PAGE;
	near = va + 96 * PAGE;
	unit_fill(u, CPU, va, BLOCK, 1);
	provoke(u, hot);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
	assert_int_equal(dev_fault(u, 0, va + 500 * PAGE, GM_WRITE), 0);
	assert_int_equal(cpu_fault(u, va), 0); /* all before what is held */
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	unit_on(u->as, hot, PAGE, unit_node(u, 0));
	unit_on(u->as, va + 500 * PAGE, PAGE, unit_node(u, 0));
	assert_int_equal(cpu_fault(u, va + 500 * PAGE), 0); /* and behind */
	unit_on(u->as, va + 500 * PAGE, PAGE, GM_NODE_HOST);
	unit_on(u->as, hot, PAGE, unit_node(u, 0));
	/* In the piece, and not with the holder: alone. */
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, near, PAGE, GM_PREFETCH), 0);
	assert_int_equal(cpu_fault(u, near), 0);
	unit_on(u->as, hot, PAGE, unit_node(u, 0));
	assert_true(cpu_fault(u, hot) > 0);

	/* The CPU holds it: a device's guess of a block leaves it out. */
	assert_int_equal(gm_cpu_fault(u->as, hot, GM_WRITE), 0);
	tune(unit_dev(u, 0), &(struct gm_dev_tunables){ .granule = BLOCK });
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
	unit_on(u->as, va, PAGE, unit_node(u, 0));
	unit_on(u->as, hot, PAGE, GM_NODE_HOST);
	assert_int_equal(dev_fault(u, 0, va + 500 * PAGE, GM_WRITE), 0);
	unit_on(u->as, hot, PAGE, GM_NODE_HOST);
	assert_int_equal(dev_fault(u, 0, hot, GM_WRITE), -EBUSY);
	unit_verify(u, CPU, va, BLOCK, 1);
}

/* A hold keeps off faults only: hints, eviction, draining, removal and unmapping do as ever. */
static void only_faults_wait(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, 2 * BLOCK), other = va + BLOCK;

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	provoke(u, va);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, PAGE, GM_PREFETCH), 0);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	assert_int_equal(cpu_fault(u, va), 0); /* it is not there any more */
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
	assert_true(cpu_fault(u, va) > 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, PAGE, GM_PIN), 0);
	unit_on(u->as, va, PAGE, unit_node(u, 1));
	assert_int_equal(gm_advise(u->as, 0, va, PAGE, GM_UNPIN), 0);

	provoke(u, other);
	assert_true(cpu_fault(u, other) > 0);
	assert_int_equal(gm_sim_unplug(u->sim[0]), 0); /* all comes home */
	assert_int_equal(cpu_fault(u, other), 0);
	assert_int_equal(dev_fault(u, 0, other, GM_READ), -ENODEV);
	assert_int_equal(dev_fault(u, 1, other, GM_WRITE), 0);
}

/* The batch's other faults are serviced. */
static void in_a_batch(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	struct gm_fault f[] = { { .va = va, .access = GM_WRITE },
				{ .va = va + 40 * PAGE, .access = GM_WRITE },
				{ .va = va + BLOCK, .access = GM_READ } };

	unit_store(u, CPU, va, 1);
	provoke_cpu(u, va);
	assert_int_equal(gm_dev_fault_batch(gm_context_find(u->as, unit_dev(u, 0)), f, 3), 1);
	assert_int_equal(f[0].err, -EBUSY);
	assert_int_equal(f[1].err, 0);
	assert_int_equal(f[2].err, 0);
}

/* For a host that maps by itself: who can wait is told, who cannot gets the page. */
static void by_object(void **state)
{
	struct unit *u = usual(state);
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE), now;
	struct gm_found found = { .waits = true };

	unit_store(u, CPU, va, 1);
	for (unsigned int i = 0; i < MOVES / 2; i++) {
		assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
		assert_int_equal(gm_object_fault(obj, u->as, 0, true, &found), 0);
		gm_block_unlock(found.block);
	}
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), -EBUSY);
	pass(HOLD);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
	now = gm_os_now_ns();
	assert_int_equal(gm_object_fault(obj, u->as, 0, true, &found), -EAGAIN);
	assert_true(found.until > now);
	assert_int_equal(gm_object_fault(obj, NULL, 0, true, &found), -EAGAIN);
	assert_int_equal(unit_as_stats(u->as).faults_held, 2);
	found.waits = false;
	assert_int_equal(gm_object_fault(obj, u->as, 0, true, &found), 0);
	assert_true(!found.until);
	gm_block_unlock(found.block);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	unit_unmap(u->as, va, BLOCK);
	gm_object_put(obj);
}

/* Host memory that comes back in huge pages comes as a whole, and waits as a whole. */
static void huge(void **state)
{
	struct unit *u = usual(state);
	uint64_t va;
	void *addr;

	assert_int_equal(gm_alloc(u->as, BLOCK, GM_OBJECT_HUGETLB, &addr), 0);
	va = (uintptr_t)addr;
	unit_store(u, CPU, va, 1);
	provoke(u, va);
	assert_true(cpu_fault(u, va) > 0);
	assert_true(cpu_fault(u, va + 300 * PAGE) > 0);
	assert_int_equal(gm_cpu_fault(u->as, va + 300 * PAGE, GM_READ), 0);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), -EBUSY);
}

/* Device 0 becomes one that cannot use host memory in place, for its base page is larger. */
static void large_pages(struct unit *u)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = 1ULL << 40,
				      .pgsize_bitmap = 1 << 16 | 1 << 21,
				      .lanes = 2,
				      .flags = GM_SIM_CHECK | GM_SIM_SYNC_FAULTS };

	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	assert_int_equal(gm_sim_create(&opt, &u->sim[0]), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	tune(unit_dev(u, 0), &(struct gm_dev_tunables){ .granule = 64 << 10 });
}

/* A device that maps host memory in place is on the host's side. */
static void in_place(void **state)
{
	struct unit *u = usual(state);
	struct gm_context *ctx = gm_context_find(u->as, unit_dev(u, 1));
	uint64_t va = unit_alloc(u, BLOCK);

	gm_fake_set_no_in_place(false);
	large_pages(u);
	assert_int_equal(gm_context_set_mode(ctx, va, BLOCK, GM_REPLICATE), 0);
	unit_store(u, CPU, va, 1);
	for (unsigned int i = 0; i < MOVES / 2; i++) {
		assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
		assert_int_equal(dev_fault(u, 1, va, GM_WRITE), 0);
		unit_on(u->as, va, PAGE, GM_NODE_HOST);
	}
	assert_int_equal(unit_as_stats(u->as).thrashes, 1);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), -EBUSY);
	assert_int_equal(cpu_fault(u, va), 0); /* the same side */
	pass(HOLD);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
	assert_int_equal(dev_fault(u, 1, va, GM_WRITE), -EBUSY);
}

/* ------------------------------------------------------------ where devices can share */

#define SHARED (256 * HOLD)

/*
 * The CPU and a device that can use host memory in place write a page in turn: once it is noticed
 * nothing moves any more, and nobody waits.
 */
static void shared(void **state)
{
	struct unit *u = able(state);
	uint64_t va = unit_alloc(u, BLOCK), before, faults;

	unit_fill(u, CPU, va, BLOCK, 1);
	provoke_cpu(u, va);
	before = moves(u);
	assert_int_equal(before, MOVES);
	for (uint64_t i = 0; i < 100; i++) {
		unit_store(u, 0, va, 2 * i);
		assert_int_equal(unit_load(u, CPU, va), 2 * i);
		unit_store(u, CPU, va, 2 * i + 1);
		assert_int_equal(unit_load(u, 0, va), 2 * i + 1);
	}
	assert_int_equal(moves(u), before);
	assert_int_equal(unit_as_stats(u->as).faults_held, 0);
	assert_int_equal(unit_as_stats(u->as).remote_maps, 1);
	assert_int_equal(unit_as_stats(u->as).thrashes, 1);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	/* The rest of the piece came mapped with it; the next one moves as ever. */
	faults = unit_as_stats(u->as).dev_faults;
	unit_load(u, 0, va + 15 * PAGE);
	assert_int_equal(unit_as_stats(u->as).dev_faults, faults);
	unit_load(u, 0, va + 16 * PAGE);
	unit_on(u->as, va + 16 * PAGE, PAGE, unit_node(u, 0));
	unit_on(u->as, va, 16 * PAGE, GM_NODE_HOST);
	/* Another device comes to share it, or takes it for a hint. */
	unit_store(u, 1, va, 7);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	assert_int_equal(unit_load(u, 0, va), 7);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, PAGE, GM_PREFETCH), 0);
	unit_on(u->as, va, PAGE, unit_node(u, 1));
	assert_int_equal(unit_load(u, CPU, va), 7);
}

/* The device has it when it is noticed: it is the next to ask who brings it home. */
static void shared_devices(void **state)
{
	struct unit *u = able(state);
	uint64_t va = unit_alloc(u, BLOCK), before;

	for (uint64_t i = 0; i < MOVES / 2 + 1; i++) {
		unit_store(u, 0, va, i);
		assert_int_equal(unit_load(u, 1, va), i);
		unit_store(u, 1, va, i);
	}
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	before = moves(u);
	assert_true(before <= 2 * MOVES); /* each may be by way of the host */
	for (uint64_t i = 0; i < 100; i++) {
		unit_store(u, (int)(i % 3) - 1, va, i);
		assert_int_equal(unit_load(u, (int)((i + 1) % 3) - 1, va), i);
	}
	assert_int_equal(moves(u), before);
	assert_int_equal(unit_as_stats(u->as).faults_held, 0);
}

/* It is for a while: a fault on the block that comes later ends it, and the page moves again. */
static void shared_ends(void **state)
{
	struct unit *u = able(state);
	uint64_t va = unit_alloc(u, BLOCK), other = va + 100 * PAGE, before;

	unit_fill(u, CPU, va, BLOCK, 1);
	provoke_cpu(u, va);
	unit_store(u, 0, va, 3);
	before = moves(u);
	pass(SHARED - 100 * US);
	assert_int_equal(dev_fault(u, 0, other, GM_WRITE), 0);
	assert_int_equal(unit_load(u, 0, va), 3); /* by the mapping that it has */
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	pass(100 * US);
	/* It cannot be taken away: it stays, and what is asked for is had all the same. */
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, 1, -EIO);
	assert_int_equal(dev_fault(u, 0, other, GM_WRITE), 0);
	assert_int_equal(unit_load(u, 0, va), 3);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	assert_int_equal(moves(u), before + 1);
	assert_int_equal(dev_fault(u, 0, other, GM_WRITE), 0);
	assert_int_equal(unit_load(u, 0, va), 3);
	unit_on(u->as, va, PAGE, unit_node(u, 0));
	assert_int_equal(moves(u), before + 2);
	/* It has to be noticed again. */
	for (unsigned int i = 0; i < MOVES / 2 - 1; i++) {
		assert_int_equal(cpu_fault(u, va), 0);
		assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
		unit_on(u->as, va, PAGE, unit_node(u, 0));
	}
}

/* Who cannot is held, and so is who can: else the one would take it from the other at every turn. */
static void mixed(void **state)
{
	struct unit *u = able(state);
	uint64_t va = unit_alloc(u, BLOCK), begin, time, turns = 0, before;

	large_pages(u);
	unit_fill(u, CPU, va, BLOCK, 1);
	before = moves(u);
	begin = gm_os_now_ns();
	while (gm_os_now_ns() - begin < 50 * HOLD) {
		unit_store(u, 0, va, ++turns);
		assert_int_equal(unit_load(u, 1, va), turns);
		unit_store(u, 1, va, ++turns);
		assert_int_equal(unit_load(u, 0, va), turns);
	}
	time = gm_os_now_ns() - begin;
	assert_true(turns >= time / HOLD / 2);
	assert_true((moves(u) - before) / 16 <= 2 * (MOVES + 1 + time / HOLD));
	assert_true(unit_as_stats(u->as).faults_held > 0);
	assert_int_equal(unit_as_stats(u->as).remote_maps, 0);
}

/* Without memory for the mapping, or for what is held in place, it is as if none could be made. */
static void shared_without_memory(void **state)
{
	struct unit *u = able(state);
	uint64_t va = unit_alloc(u, BLOCK);

	unit_store(u, CPU, va, 1);
	provoke_cpu(u, va);
	gm_fake_inject(GM_FAKE_IN_PLACE_HOLD, 0, UINT32_MAX, -ENOMEM);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), -EBUSY);
	pass(HOLD);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
	unit_on(u->as, va, PAGE, unit_node(u, 0));
	gm_fake_inject_clear();
	assert_int_equal(unit_as_stats(u->as).remote_maps, 0);
}

static void tunables(void **state)
{
	struct unit *u = usual(state);
	struct gm_dev_tunables t = { .size = sizeof(t),
				     .thrash_lapse_us = GM_THRASH_LAPSE_MAX + 1 };
	uint64_t va = unit_alloc(u, BLOCK);

	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), -EINVAL);
	t.thrash_lapse_us = GM_THRASH_LAPSE_MAX;
	t.thrash_hold_us = GM_THRASH_HOLD_MAX + 1;
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), -EINVAL);
	t.thrash_hold_us = GM_THRASH_HOLD_MAX;
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), 0);

	tune(unit_dev(u, 0), &(struct gm_dev_tunables){ .no_thrash = 1 });
	unit_store(u, CPU, va, 1);
	for (unsigned int i = 0; i < 5; i++)
		provoke_cpu(u, va);
	assert_int_equal(unit_as_stats(u->as).thrashes, 0);

	/* The first time is enough, and for long. */
	tune(unit_dev(u, 0), &(struct gm_dev_tunables){ .thrash_times = 1,
							.thrash_lapse_us = 100000,
							.thrash_hold_us = 5000 });
	va = unit_alloc(u, BLOCK);
	unit_store(u, CPU, va, 1);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
		pass(50000 * US);
		assert_int_equal(cpu_fault(u, va), 0);
		pass(i ? 4000 * US : 50000 * US);
	}
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), -EBUSY);
	pass(1000 * US);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
	assert_in_range(cpu_fault(u, va), 4000 * US, 5000 * US);
}

/* Without memory for the history nothing is noticed, and nothing fails; with it, it goes with the block. */
static void history(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, BLOCK);
	void **taken = NULL, **next;

	unit_store(u, CPU, va, 1);
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
	assert_int_equal(dev_fault(u, 0, va + 100 * PAGE, GM_WRITE), 0); /* it stays resident */
	while (gm_core.residents.free) {
		next = gm_pool_get(&gm_core.residents);
		*next = taken;
		taken = next;
	}
	gm_fake_inject(GM_FAKE_ALLOC, 0, UINT32_MAX, -ENOMEM);
	assert_int_equal(cpu_fault(u, va), 0);
	assert_int_equal(gm_fake_injected(), 1);
	gm_fake_inject_clear();
	for (; taken; taken = next) {
		next = *taken;
		gm_pool_put(&gm_core.residents, taken);
	}
	assert_int_equal(dev_fault(u, 0, va, GM_WRITE), 0);
	assert_int_equal(gm_core.residents.in_use, 1); /* once there and back again leaves none */
	assert_int_equal(cpu_fault(u, va), 0);
	assert_int_equal(gm_core.residents.in_use, 2);
	unit_unmap(u->as, va, BLOCK);
	assert_int_equal(gm_core.residents.in_use, 0);
}

/* Three who want it: each gets it. */
static void three(void **state)
{
	struct unit *u = usual(state);
	uint64_t va = unit_alloc(u, BLOCK), n = 0, begin = gm_os_now_ns(), time;

	while (n < 120) {
		unit_store(u, 0, va, ++n);
		assert_int_equal(unit_load(u, CPU, va), n);
		unit_store(u, 1, va, ++n);
		assert_int_equal(unit_load(u, 0, va), n);
		unit_store(u, CPU, va, ++n);
		assert_int_equal(unit_load(u, 1, va), n);
	}
	time = gm_os_now_ns() - begin;
	assert_true(time < 400 * HOLD);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(detected),
		TEST(ends),
		TEST(bounded),
		TEST(two_devices),
		TEST(no_delay_for_streams),
		TEST(no_delay_for_eviction),
		TEST(others_go_on),
		TEST(only_faults_wait),
		TEST(in_a_batch),
		TEST(by_object),
		TEST(huge),
		TEST(in_place),
		TEST(tunables),
		TEST(history),
		TEST(three),
		TEST(shared),
		TEST(shared_devices),
		TEST(shared_ends),
		TEST(mixed),
		TEST(shared_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
