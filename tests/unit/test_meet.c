// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Where two features meet: a context that leaves while it reads what a peer has, a device that is
 * removed while it enters such mappings, protection that grows over them, windows over regions that
 * are no whole base pages.
 */
#include <pthread.h>
#include <sched.h>

#include "unit.h"

#include "core/core.h"
#include "toy.h"

#define RW (GM_READ | GM_WRITE)

/* -------------------------------------------------- reading what a peer has, by toys */

/* What the reader's driver does besides, the first time it is asked. */
static struct reader {
	struct toy toy, peer;
	struct gm_context *ctx, *peer_ctx;
	int (*release)(void *pmap, uint64_t va, uint64_t size);
	unsigned int peers, unlisted; /* calls */
	bool removes;
	pthread_t thread;
	int err; /* of the removal */
} rd;

static void *remove_reader(void *arg)
{
	(void)arg;
	rd.err = gm_dev_remove(rd.toy.dev);
	return NULL;
}

/* The removal has begun before the second call, in another thread. */
static int enter_peer(void *pmap, uint64_t va, struct gm_dev *peer, uint64_t pa, uint64_t size)
{
	(void)pmap;
	(void)va;
	(void)peer;
	(void)pa;
	(void)size;
	if (rd.peers++ || !rd.removes)
		return 0;
	if (pthread_create(&rd.thread, NULL, remove_reader, NULL))
		return -EAGAIN;
	while (!gm_dev_gone(rd.toy.dev))
		sched_yield();
	return 0;
}

/* Whoever moves a page meanwhile must find the context, or its mapping is overlooked. */
static int release(void *pmap, uint64_t va, uint64_t size)
{
	rd.unlisted += !gm_context_find(rd.ctx->as, rd.toy.dev);
	return rd.release(pmap, va, size);
}

static void plug(struct unit *u, struct toy *toy, struct gm_context **ctx)
{
	toy->mmu.pmap_enter_peer = enter_peer;
	assert_int_equal(toy_plug(toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy->dev, GM_EXCLUSIVE, ctx), 0);
}

/* Two pages of a block on the peer, not side by side. */
static uint64_t readers_begin(struct unit *u, bool removes)
{
	uint64_t va = unit_alloc(u, BLOCK);

	rd = (struct reader){ .removes = removes };
	toy_init(&rd.toy, 2);
	toy_init(&rd.peer, 2);
	rd.peer.base += rd.toy.size;
	rd.release = rd.toy.mmu.pmap_release;
	rd.toy.mmu.pmap_release = release;
	plug(u, &rd.peer, &rd.peer_ctx);
	plug(u, &rd.toy, &rd.ctx);
	unit_tune(rd.toy.dev, 16 * PAGE, true, true);
	unit_fill(u, CPU, va, BLOCK, 1);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(gm_advise(u->as, gm_dev_hnode(rd.peer.dev), va + 8 * i * PAGE,
					   PAGE, GM_PREFETCH),
				 0);
	return va;
}

static void detach_and_peer(void **state)
{
	struct unit *u = *state;
	uint64_t va = readers_begin(u, false);

	assert_int_equal(gm_dev_fault(rd.ctx, va, GM_READ), 0);
	assert_int_equal(rd.peers, 2);
	assert_int_equal(gm_as_detach(rd.ctx), 0);
	assert_int_equal(rd.unlisted, 0);
	assert_int_equal(gm_as_detach(rd.peer_ctx), 0);
	assert_int_equal(toy_unplug(&rd.toy), 0);
	assert_int_equal(toy_unplug(&rd.peer), 0);
}

static void remove_and_peer(void **state)
{
	struct unit *u = *state;
	uint64_t va = readers_begin(u, true);

	assert_int_equal(gm_dev_fault(rd.ctx, va, GM_READ), -ENODEV);
	assert_int_equal(rd.peers, 1);
	pthread_join(rd.thread, NULL);
	assert_int_equal(rd.err, 0);
	rd.toy.removed = true;
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_as_detach(rd.ctx), 0);
	assert_int_equal(gm_as_detach(rd.peer_ctx), 0);
	assert_int_equal(toy_unplug(&rd.toy), 0);
	assert_int_equal(toy_unplug(&rd.peer), 0);
}

/* --------------------------------------------------------------- simulated devices */

static struct gm_sim *sim_with(unsigned int nr, uint64_t sizes, uint32_t flags)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = (1ULL + nr) << 32,
				      .pgsize_bitmap = sizes,
				      .lanes = 1,
				      .table_memory = 256 << 10,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK | flags };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	unit_tune(gm_sim_dev(sim), PAGE, true, true);
	return sim;
}

static void begin(struct unit *u, uint64_t sizes, uint32_t flags)
{
	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		u->sim[i] = sim_with(i, sizes, flags);
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	}
}

static int protect(struct unit *u, uint64_t va, uint64_t len, uint32_t prot)
{
	return gm_as_protect(u->as, (void *)(uintptr_t)va, len, prot);
}

/* What a device only reads at a peer does not become writable with the region. */
static void protect_and_peer(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * PAGE);

	begin(u, 0, GM_SIM_READ_PEER);
	unit_fill(u, 0, va, 4 * PAGE, 1);
	unit_verify(u, 1, va, 4 * PAGE, 1);
	unit_on(u->as, va, 4 * PAGE, unit_node(u, 0));
	assert_int_equal(protect(u, va, 4 * PAGE, GM_READ), 0);
	unit_verify(u, 1, va, 4 * PAGE, 1);
	assert_int_equal(protect(u, va, 4 * PAGE, RW), 0);
	unit_store(u, 1, va, 7);
	unit_on(u->as, va, PAGE, unit_node(u, 1));
	assert_int_equal(unit_load(u, 0, va), 7);
	unit_check();
}

/* A window of whole base pages, over a region that has them in part. */
static void window_and_unit(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t k64 = 16 * PAGE, at = unit_map(u->as, obj, 0, BLOCK, RW), va;

	begin(u, k64 | BLOCK, 0);
	unit_unmap(u->as, at, BLOCK);
	va = unit_map_at(u->as, obj, 0, 37 * PAGE, gm_round_up(at, k64));
	gm_object_put(obj);
	unit_fill(u, 0, va, 32 * PAGE, 1);
	assert_int_equal(gm_sim_window_remove(u->ctx[0], (void *)(uintptr_t)va, 48 * PAGE), 0);
	unit_verify(u, 1, va, 32 * PAGE, 1);
	unit_verify(u, CPU, va, 32 * PAGE, 1);
	unit_check();
}

/* What a device has for itself, it has in a table of its own. */
static void share_and_exclusive(void **state)
{
	struct unit *u = *state;
	struct gm_sim_ctx *ctx;

	u->sim[0] = sim_with(0, 0, GM_SIM_IN_PLACE | GM_SIM_NO_ATOMICS);
	u->sim[1] = sim_with(1, 0, GM_SIM_SHARE);
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	/* It has found nobody to share with. */
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	u->sim[0] = sim_with(0, 0, GM_SIM_SHARE | GM_SIM_NO_ATOMICS);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &ctx), -EOPNOTSUPP);
	u->ctx[0] = NULL;
	gm_sim_destroy(u->sim[0]);
	u->sim[0] = NULL;
}

/* Ranges that name the same: what one of them leaves goes with the other. */
static void windows_overlap(void **state)
{
	struct unit *u = *state;
	struct gm_window w[] = { { .va = BLOCK, .len = PAGE, .dev_va = 4 * BLOCK },
				 { .va = BLOCK + PAGE, .len = PAGE, .dev_va = BLOCK } };
	struct gm_window gone[] = { { .va = BLOCK, .len = PAGE },
				    { .va = BLOCK, .len = 2 * PAGE } };
	struct gm_context *ctx;
	struct toy toy;

	toy_init(&toy, 2);
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach_sparse(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_window_add(ctx, w, 2), 0);
	assert_int_equal(gm_window_remove(ctx, gone, 2), 0);
	assert_int_equal(gm_window_remove(ctx, &w[1], 1), -ENOENT);
	assert_int_equal(gm_window_add(ctx, w, 2), 0);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/*
 * A block that is on the device, by a leaf in a window where host memory is mapped in place: what
 * takes host memory away from there, of a part of the block, does not cut the leaf.
 */
static void in_place_and_leaf(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(2 * BLOCK);
	uint64_t half = unit_map(u->as, obj, 0, BLOCK / 2, RW);
	uint64_t va = unit_map(u->as, obj, 0, 2 * BLOCK, RW);
	uint64_t moves = unit_map(u->as, obj, 0, BLOCK, RW);
	struct gm_sim_stats s = { .size = sizeof(s) };

	gm_object_put(obj);
	assert_true(half < va); /* it is emptied first */
	begin(u, 0, GM_SIM_IN_PLACE);
	assert_int_equal(gm_sim_set_mode(u->ctx[0], (void *)(uintptr_t)moves, BLOCK, GM_EXCLUSIVE),
			 0);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), moves, BLOCK, GM_PREFETCH), 0);
	unit_load(u, 0, va);
	/* One page may be held at a time, so the table is emptied for each. */
	gm_fake_set_max_held(PAGE);
	unit_verify(u, 0, va + BLOCK, 3 * PAGE, 1);
	gm_fake_set_max_held(0);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	unit_verify(u, 0, va, 2 * BLOCK, 1);
	gm_sim_stats(u->sim[0], &s);
	assert_int_equal(s.stale, 0);
	unit_check();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, unit_setup_as, unit_teardown)
		T(detach_and_peer),   T(remove_and_peer),     T(protect_and_peer),
		T(window_and_unit),   T(share_and_exclusive), T(windows_overlap),
		T(in_place_and_leaf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
