// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Races that are made to happen: where one thread is at its weakest point a hook, of the
 * fake host's locks or of the toy driver's copies, lets another do its worst. Each has
 * one order of events, so each fails always or never. What cannot be brought about so is
 * in test_threads.c.
 *
 * A hook runs in whatever thread comes by; it looks only for the one that the test is
 * about, and what it changes is that thread's alone.
 */
#include <pthread.h>
#include <sched.h>

#include "unit.h"

#include "core/core.h"
#include "toy.h"

/* A device of the toy driver's, and an object that is mapped at va. */
struct race {
	struct gm_as *as;
	struct gm_context *ctx;
	struct gm_object *obj;
	uint64_t va;
	struct toy toy;
	pthread_t self;		 /* the thread that the hooks wait for */
	void *(*other)(void *r); /* what another thread does meanwhile */
	pthread_t other_thread;
	struct gm_as *other_as;	      /* for it */
	struct gm_context *other_ctx; /* for it */
	uint64_t other_va;	      /* for it */
	unsigned int step, steps;     /* how often a hook came, and how often it matters */
	uint32_t advice;
	int err; /* the other thread's */
};

static bool mine(const struct race *r)
{
	return pthread_equal(pthread_self(), r->self);
}

static struct race *race_begin(struct unit *u, unsigned int dev_blocks, unsigned int blocks)
{
	struct race *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	gm_fake_set_threaded(true);
	r->as = u->as;
	r->self = pthread_self();
	toy_init(&r->toy, dev_blocks);
	r->toy.arg = r;
	assert_int_equal(toy_plug(&r->toy), 0);
	unit_tune(r->toy.dev, PAGE, true, true);
	assert_int_equal(gm_as_attach(u->as, r->toy.dev, GM_EXCLUSIVE, &r->ctx), 0);
	assert_int_equal(gm_object_create(blocks * BLOCK, 0, &r->obj), 0);
	r->va = unit_map(u->as, r->obj, 0, blocks * BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, CPU, r->va, blocks * BLOCK, 1);
	return r;
}

/* The same object in a second address space, on the same device or not. */
static void race_second(struct race *r, bool attached)
{
	struct gm_as_options opt = { .size = sizeof(opt), .cpu_granule = PAGE };

	assert_int_equal(gm_as_create(&opt, &r->other_as), 0);
	r->other_va = unit_map(r->other_as, r->obj, 0, gm_object_size(r->obj), GM_READ | GM_WRITE);
	if (attached)
		assert_int_equal(gm_as_attach(r->other_as, r->toy.dev, GM_EXCLUSIVE, &r->other_ctx),
				 0);
}

static void race_end(struct race *r)
{
	gm_fake_on_lock(NULL, NULL);
	r->toy.on_copy = NULL;
	gm_object_put(r->obj);
	if (r->other_as)
		assert_int_equal(gm_as_destroy(r->other_as), 0);
	if (r->ctx)
		assert_int_equal(gm_as_detach(r->ctx), 0);
	if (r->toy.dev)
		assert_int_equal(toy_unplug(&r->toy), 0);
	gm_fake_set_threaded(false);
	free(r);
}

static int prefetch(struct race *r, unsigned int block, unsigned int n)
{
	return gm_advise(r->as, gm_dev_hnode(r->toy.dev), r->va + block * BLOCK, n * BLOCK,
			 GM_PREFETCH);
}

/* ------------------------------------------------- a block is wanted while it is evicted */

/* Start the other thread and let it go as far as it gets: to the lock of the first block. */
static void start_other(struct race *r)
{
	if (pthread_create(&r->other_thread, NULL, r->other, r))
		abort();
	while (!gm_load(&gm_lpt_peek(r->obj, 0)->willneed))
		sched_yield();
}

static void *advise_first(void *arg)
{
	struct race *r = arg;

	r->err = gm_advise(r->as, gm_dev_hnode(r->toy.dev), r->va, BLOCK, r->advice);
	return NULL;
}

static void *fault_first(void *arg)
{
	struct race *r = arg;

	r->err = gm_dev_fault(r->ctx, r->va + 5 * PAGE, GM_READ);
	return NULL;
}

static void on_pick(enum gm_fake_event event, void *arg)
{
	struct race *r = arg;

	if (mine(r) && event == GM_FAKE_PICKED && !r->step++)
		start_other(r);
}

static int on_copy_out(struct toy *toy, enum gm_copy_dir dir)
{
	struct race *r = toy->arg;

	if (mine(r) && dir == GM_TO_HOST && !r->step++)
		start_other(r);
	return 0;
}

/* The first block is the coldest; it stays, because it is wanted, and the second goes. */
static void wanted(struct unit *u, void *(*other)(void *), bool at_pick)
{
	struct race *r = race_begin(u, 2, 3);
	int node = gm_dev_hnode(r->toy.dev);
	struct gm_stats s;

	assert_int_equal(prefetch(r, 0, 2), 0);
	r->other = other;
	r->advice = GM_WILLNEED;
	if (at_pick)
		gm_fake_on_lock(on_pick, r);
	else
		r->toy.on_copy = on_copy_out;
	assert_int_equal(prefetch(r, 2, 1), 0);
	assert_true(r->step > 0);
	pthread_join(r->other_thread, NULL);
	assert_int_equal(r->err, 0);
	unit_on(u->as, r->va, BLOCK, node);
	unit_on(u->as, r->va + BLOCK, BLOCK, GM_NODE_HOST);
	unit_on(u->as, r->va + 2 * BLOCK, BLOCK, node);
	s = unit_dev_stats(r->toy.dev);
	assert_int_equal(s.evictions_cancelled, 1);
	assert_int_equal(s.evictions, 1);
	/* Nobody waits for it any more: the next time it goes. */
	assert_int_equal(gm_advise(u->as, 0, r->va, BLOCK, GM_COLD), 0);
	assert_int_equal(prefetch(r, 1, 1), 0);
	unit_on(u->as, r->va, BLOCK, GM_NODE_HOST);
	unit_peek(u->as, r->va, 3 * BLOCK, 1);
	unit_verify(u, CPU, r->va, 3 * BLOCK, 1);
	race_end(r);
}

static void wanted_while_copied(void **state)
{
	wanted(*state, advise_first, false);
	wanted(*state, fault_first, false);
}

/* The word came when the victim had been locked and nothing else was done yet. */
static void wanted_when_picked(void **state)
{
	wanted(*state, advise_first, true);
	wanted(*state, fault_first, true);
}

/* The victim that was called off is unlocked: let the other thread finish with it. */
static void on_unlock_join(enum gm_fake_event event, void *arg)
{
	struct race *r = arg;

	if (!mine(r) || event != GM_FAKE_UNLOCKED || r->step != 1)
		return;
	r->step++;
	pthread_join(r->other_thread, NULL);
}

/*
 * The only victim is called off by somebody who pins it: for want of room, says who asked
 * for it, and nothing of what went on inside.
 */
static void called_off_for_good(void **state)
{
	struct unit *u = *state;
	struct race *r = race_begin(u, 1, 2);

	assert_int_equal(prefetch(r, 0, 1), 0);
	r->other = advise_first;
	r->advice = GM_PIN;
	r->toy.on_copy = on_copy_out;
	gm_fake_on_lock(on_unlock_join, r);
	assert_int_equal(prefetch(r, 1, 1), -ENOSPC);
	assert_int_equal(r->step, 2);
	assert_int_equal(r->err, 0);
	assert_int_equal(unit_dev_stats(r->toy.dev).evictions_cancelled, 1);
	assert_int_equal(unit_hnode(gm_dev_hnode(r->toy.dev)).pinned, BLOCK);
	unit_on(u->as, r->va, BLOCK, gm_dev_hnode(r->toy.dev));
	race_end(r);
}

static void *willneed_first(void *arg)
{
	struct race *r = arg;

	r->err = gm_advise(r->as, 0, r->va, BLOCK, GM_WILLNEED);
	return NULL;
}

/* A block is forgotten while somebody waits for its lock; what he gets is not the block he sought. */
static void gone_while_waited_for(void **state)
{
	struct unit *u = *state;
	struct race *r = race_begin(u, 2, 1);
	struct gm_block *block;

	assert_int_equal(prefetch(r, 0, 1), 0);
	unit_verify(u, CPU, r->va, BLOCK, 1);
	block = gm_block_find(r->obj, 0, false);
	assert_non_null(block);
	r->other = willneed_first;
	start_other(r);
	gm_block_free(block);
	pthread_join(r->other_thread, NULL);
	assert_int_equal(r->err, 0);
	assert_null(gm_block_find(r->obj, 0, false));
	race_end(r);
}

/* Whenever a frame was freed the other thread takes it, for this block or that. */
static void *take_the_frame(void *arg)
{
	struct race *r = arg;

	r->err = gm_dev_fault(r->ctx, r->va + (1 + r->step % 2) * BLOCK, GM_READ);
	return NULL;
}

static void on_unlock_run(enum gm_fake_event event, void *arg)
{
	struct race *r = arg;

	if (!mine(r) || event != GM_FAKE_UNLOCKED || r->err || r->step == r->steps)
		return;
	r->step++;
	unit_in_thread(r->other, r);
}

/* One frame is not pinned. What is evicted for a fault others take, many times, and then not. */
static void others_take_the_frame(void **state)
{
	struct unit *u = *state;
	struct race *r = race_begin(u, 1, 4);

	assert_int_equal(gm_advise(u->as, gm_dev_hnode(r->toy.dev), r->va, BLOCK - PAGE, GM_PIN),
			 0);
	assert_int_equal(gm_dev_fault(r->ctx, r->va + BLOCK, GM_READ), 0);
	r->other = take_the_frame;
	r->steps = 200;
	gm_fake_on_lock(on_unlock_run, r);
	assert_int_equal(gm_dev_fault(r->ctx, r->va + 3 * BLOCK, GM_READ), 0);
	gm_fake_on_lock(NULL, NULL);
	assert_int_equal(r->step, 200);
	assert_int_equal(r->err, 0);
	unit_on(u->as, r->va + 3 * BLOCK, PAGE, gm_dev_hnode(r->toy.dev));
	assert_int_equal(unit_dev_stats(r->toy.dev).fault_errors, 0);
	unit_peek(u->as, r->va, 4 * BLOCK, 1);
	race_end(r);
}

/* ----------------------------------------------------- a range goes while it is looked at */

/* Between two pieces no lock is held: the rest of the range goes. */
static void on_let_go(enum gm_fake_event event, void *arg)
{
	struct race *r = arg;

	if (!mine(r) || event != GM_FAKE_LET_GO || ++r->step != r->steps)
		return;
	r->err = gm_as_unmap(r->as, (void *)(uintptr_t)(r->va + BLOCK), BLOCK);
}

static int look_or_hint(struct race *r, int advice, struct gm_page_info *info)
{
	return advice < 0 ? gm_as_query(r->as, r->va, 2 * BLOCK, info)
			  : gm_advise(r->as, gm_dev_hnode(r->toy.dev), r->va, 2 * BLOCK,
				      (uint32_t)advice);
}

/* A query (-1) and every hint find the hole, wherever they are just then. */
static void hole_in_between(void **state)
{
	static struct gm_page_info info[1024];
	struct unit *u = *state;

	for (int advice = -1; advice <= GM_UNPIN; advice++) {
		for (unsigned int steps = 1; steps <= 2; steps++) {
			struct race *r = race_begin(u, 2, 2);

			r->steps = steps;
			gm_fake_on_lock(on_let_go, r);
			assert_int_equal(look_or_hint(r, advice, info), -EFAULT);
			gm_fake_on_lock(NULL, NULL);
			assert_int_equal(r->err, 0);
			unit_peek(u->as, r->va, BLOCK, advice == GM_DONTNEED ? 0 : 1);
			assert_int_equal(gm_advise(r->as, 0, r->va, BLOCK, GM_UNPIN), 0);
			race_end(r);
		}
	}
}

/* ------------------------------------------------------------ cutting a region in two */

/* A page of the block comes home by way of the other address space: its leaf is cut. */
static void *page_home(void *arg)
{
	struct race *r = arg;
	uint64_t value;

	r->err = gm_fake_cpu_access(r->other_as, r->other_va + (511 - r->step) * PAGE, &value, 8,
				    GM_READ);
	return NULL;
}

/*
 * Another address space's fault on a shared object takes leaves apart, and enters what is
 * left of them, at every moment of an unmap: none ever lies across the end of a region.
 */
static void cut_while_leaves_change(void **state)
{
	struct unit *u = *state;

	for (unsigned int steps = 1; steps <= 3; steps++) {
		struct race *r = race_begin(u, 2, 1);

		race_second(r, false);
		assert_int_equal(prefetch(r, 0, 1), 0);
		assert_int_equal(toy_find(r->ctx, r->va)->leaf, BLOCK);
		r->other = page_home;
		r->steps = steps;
		gm_fake_on_lock(on_unlock_run, r);
		unit_unmap(u->as, r->va + 100 * PAGE, 50 * PAGE);
		gm_fake_on_lock(NULL, NULL);
		assert_true(r->step > 0);
		assert_int_equal(r->err, 0);
		assert_null(toy_find(r->ctx, r->va + 100 * PAGE));
		assert_null(toy_find(r->ctx, r->va + 149 * PAGE));
		unit_peek(u->as, r->va, 100 * PAGE, 1);
		unit_peek(u->as, r->va + 150 * PAGE, 362 * PAGE, 1);
		unit_unmap(u->as, r->va, 100 * PAGE);
		unit_unmap(u->as, r->va + 150 * PAGE, 362 * PAGE);
		race_end(r);
	}
}

/* --------------------------------------------------------------------------- detaching */

/*
 * The other address space uses the block on the device, and on the CPU again: what is
 * left of the leaf is entered wherever the block is mapped, here too.
 */
static void *use_and_cut(void *arg)
{
	struct race *r = arg;
	uint64_t value;

	r->err = gm_advise(r->other_as, gm_dev_hnode(r->toy.dev), r->other_va, BLOCK, GM_PREFETCH);
	if (!r->err)
		r->err = gm_fake_cpu_access(r->other_as, r->other_va, &value, 8, GM_READ);
	return NULL;
}

/* What is in the pmap that goes is seen by the toy driver, when it goes. */
static void detach_while_shared(void **state)
{
	struct unit *u = *state;
	struct race *r = race_begin(u, 4, 2);

	race_second(r, true);
	assert_int_equal(prefetch(r, 0, 2), 0);
	r->other = use_and_cut;
	r->steps = 4;
	gm_fake_on_lock(on_unlock_run, r);
	assert_int_equal(gm_as_detach(r->ctx), 0);
	gm_fake_on_lock(NULL, NULL);
	r->ctx = NULL;
	assert_true(r->step > 0);
	assert_int_equal(r->err, 0);
	assert_int_equal(r->toy.broken, 0);
	assert_true(toy_leaves(r->other_ctx, 0, UINT64_MAX) > 0); /* he goes on */
	unit_verify(u, CPU, r->va, 2 * BLOCK, 1);
	unit_unmap(u->as, r->va, 2 * BLOCK);
	race_end(r);
}

/* ------------------------------------------------------------ a device, or memory, goes */

static void *attach(void *arg)
{
	struct race *r = arg;

	r->err = gm_as_attach(r->other_as, r->toy.dev, GM_EXCLUSIVE, &r->other_ctx);
	return NULL;
}

static int on_drain(struct toy *toy, enum gm_copy_dir dir)
{
	struct race *r = toy->arg;

	if (!mine(r) || dir != GM_TO_HOST || r->step++)
		return 0;
	unit_in_thread(r->other, r);
	return r->step == r->steps ? -EIO : 0;
}

/* While a device brings home what it holds nobody can be attached to it any more. */
static void attach_while_destroyed(void **state)
{
	struct unit *u = *state;
	struct race *r = race_begin(u, 2, 1);

	assert_int_equal(gm_as_create(NULL, &r->other_as), 0);
	assert_int_equal(prefetch(r, 0, 1), 0);
	unit_unmap(u->as, r->va, BLOCK);
	assert_int_equal(gm_as_detach(r->ctx), 0);
	r->ctx = NULL;
	r->other = attach;
	r->toy.on_copy = on_drain;

	r->steps = 1; /* the device stays, for its copy failed: then it can be attached again */
	assert_int_equal(gm_dev_destroy(r->toy.dev), -EIO);
	assert_int_equal(r->err, -ENODEV);
	r->toy.on_copy = NULL;
	attach(r);
	assert_int_equal(r->err, 0);
	assert_int_equal(gm_dev_destroy(r->toy.dev), -EBUSY);
	assert_int_equal(gm_as_detach(r->other_ctx), 0);

	r->step = r->steps = 0;
	r->toy.on_copy = on_drain;
	assert_int_equal(toy_unplug(&r->toy), 0);
	assert_int_equal(r->err, -ENODEV);
	assert_int_equal(r->step, 1);
	r->toy.dev = NULL;
	unit_map_at(u->as, r->obj, 0, BLOCK, r->va);
	unit_verify(u, CPU, r->va, BLOCK, 1);
	race_end(r);
}

static void *run_work(void *arg)
{
	(void)arg;
	gm_fake_run_work();
	return NULL;
}

/* Nor is anything evicted from it ahead of need: the worker finds the door closed. */
static void eviction_while_destroyed(void **state)
{
	struct unit *u = *state;
	struct race *r = race_begin(u, 2, 3);
	struct gm_dev_tunables t = { .size = sizeof(t), .low = BLOCK, .high = BLOCK };

	assert_int_equal(gm_dev_tune(r->toy.dev, &t), 0);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(r->toy.dev), r->va, 2 * BLOCK, GM_PIN), 0);
	assert_int_equal(gm_dev_fault(r->ctx, r->va + 2 * BLOCK, GM_READ), -ENOSPC);
	unit_unmap(u->as, r->va, 3 * BLOCK);
	assert_int_equal(gm_as_detach(r->ctx), 0);
	r->ctx = NULL;
	r->other = run_work;
	r->toy.on_copy = on_drain;
	assert_int_equal(toy_unplug(&r->toy), 0);
	assert_true(r->step > 0);
	assert_int_equal(gm_fake_run_work(), 0);
	r->toy.dev = NULL;
	unit_map_at(u->as, r->obj, 0, 3 * BLOCK, r->va);
	unit_verify(u, CPU, r->va, 3 * BLOCK, 1);
	race_end(r);
}

static void *fault_fifth(void *arg)
{
	struct race *r = arg;

	r->err = gm_dev_fault(r->ctx, r->va + 4 * BLOCK, GM_READ);
	return NULL;
}

/* While a part of a device's memory is taken back the rest of it goes on. */
static void range_while_faulting(void **state)
{
	struct unit *u = *state;
	struct race *r = race_begin(u, 4, 5);
	uint64_t begin = r->toy.base, middle = begin + 2 * BLOCK, end = begin + 4 * BLOCK;
	int node = gm_dev_hnode(r->toy.dev);

	assert_int_equal(gm_dev_unregister_physmem(r->toy.dev, begin, end), 0);
	assert_int_equal(gm_dev_register_physmem(r->toy.dev, middle, end), 0);
	assert_int_equal(gm_dev_register_physmem(r->toy.dev, begin, middle), 0);
	assert_int_equal(prefetch(r, 0, 4), 0);
	assert_int_equal(unit_hnode(node).free, 0);
	r->other = fault_fifth;
	r->toy.on_copy = on_drain;
	assert_int_equal(gm_dev_unregister_physmem(r->toy.dev, begin, middle), 0);
	assert_true(r->step > 0);
	assert_int_equal(r->err, 0);
	unit_on(u->as, r->va + 4 * BLOCK, PAGE, node);
	assert_int_equal(unit_hnode(node).total, 2 * BLOCK);
	assert_int_equal(toy_leaves(r->ctx, begin, middle), 0);
	unit_peek(u->as, r->va, 5 * BLOCK, 1);
	race_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wanted_while_copied, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(wanted_when_picked, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(called_off_for_good, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(gone_while_waited_for, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(others_take_the_frame, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(hole_in_between, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(cut_while_leaves_change, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(detach_while_shared, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(attach_while_destroyed, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(eviction_while_destroyed, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(range_while_faulting, unit_setup_as, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
