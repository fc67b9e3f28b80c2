// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The simulated accelerator: its copy engine, what it finds stale, and what it is told to fail. See test_sim.h. */
#include "test_sim.h"

/* ----------------------------------------------------- failures and their check */

static void missing_invalidation(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_CHECK | GM_SIM_SYNC_FAULTS);
	struct gm_extent ext = { .pa = BASE + PAGE, .len = 8 };
	struct gm_fence fence;
	char c = 'x';
	struct rig r;

	(void)state;
	rig_open(&r, &opt);
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_WRITE), 0);
	assert_int_equal(stats_of(&r).stale, 0);
	assert_int_equal(page_home(r.gm, 0, false), 0);
	assert_int_equal(stats_of(&r).stale, 1);
	/* Wrong data: the write by the stale translation is lost. */
	c = 'y';
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_WRITE), 0);
	assert_int_equal(r.gm->host[0], 'x');
	assert_int_equal(mmu_of(r.gm->dev)->tlb_invl(r.ctx, (uintptr_t)VA, PAGE), 0);
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_READ), 0);
	assert_int_equal(c, 'x');

	/* Mapped, though in no TLB. */
	assert_int_equal(mmu_of(r.gm->dev)->pmap_enter(r.ctx, (uintptr_t)VA + PAGE, BASE + PAGE,
						       PAGE, PAGE, GM_READ),
			 0);
	fence_init(&fence);
	assert_int_equal(mmu_of(r.gm->dev)->zero(r.gm->dev, &ext, 1, &fence), 0);
	assert_int_equal(fence_wait(&fence), 0);
	assert_int_equal(stats_of(&r).stale, 2);
	rig_close(&r);
}

/* The translation comes to life after the copy has begun and before its fence. */
static void mapped_too_early(void **state)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct gm_extent ext = { .pa = BASE, .len = PAGE };
	struct gm_sim_options opt = small(GM_SIM_CHECK);
	struct gm_fence first, second;
	const struct gm_mmu *mmu;
	struct rig r;

	(void)state;
	opt.copy_threads = 1;
	rig_open(&r, &opt);
	mmu = mmu_of(r.gm->dev);
	fence_init(&first);
	fence_init(&second);
	first.gate = &gate;
	pthread_mutex_lock(&gate);
	assert_int_equal(mmu->zero(r.gm->dev, &ext, 1, &first), 0);
	ext.pa += PAGE; /* waits in the queue until the first fence is signalled */
	assert_int_equal(mmu->zero(r.gm->dev, &ext, 1, &second), 0);
	assert_int_equal(mmu->pmap_enter(r.ctx, (uintptr_t)VA, BASE + PAGE, PAGE, PAGE, GM_READ),
			 0);
	assert_int_equal(stats_of(&r).stale, 0);
	pthread_mutex_unlock(&gate);
	assert_int_equal(fence_wait(&first), 0);
	assert_int_equal(fence_wait(&second), 0);
	assert_int_equal(stats_of(&r).stale, 1);
	rig_close(&r);
}

static int peer_copy(struct rig *to, struct rig *from, uint64_t pa, uint64_t peer_pa, uint64_t len)
{
	struct gm_extent ext = { .pa = pa, .host = peer_pa, .len = len };
	struct gm_dev *dev = gm_sim_dev(to->sim);
	struct gm_fence fence;
	int err;

	fence_init(&fence);
	err = mmu_of(dev)->copy_peer(dev, gm_sim_dev(from->sim), &ext, 1, &fence);
	if (err)
		assert_int_equal(fence.done, 0);
	else
		err = fence_wait(&fence);
	return err;
}

/* From one device to another, which is checked too: bounds, failures, stale translations, no link. */
static void peers_with(unsigned int threads)
{
	struct gm_sim_options opt = small(GM_SIM_CHECK | GM_SIM_SYNC_FAULTS);
	char in[2 * PAGE], out[2 * PAGE];
	struct rig a, b, c;

	opt.copy_threads = threads;
	rig_open(&a, &opt);
	rig_open(&b, &opt);
	opt.flags |= GM_SIM_NO_LINK;
	rig_open(&c, &opt);
	for (unsigned int i = 0; i < sizeof(in); i++)
		in[i] = (char)(i * 7 + i / 256);
	assert_int_equal(gm_sim_access(a.ctx, VA, in, 2 * PAGE, GM_WRITE), 0);
	assert_int_equal(gm_sim_access(b.ctx, VA + 5 * PAGE, out, 2 * PAGE, GM_READ), 0);
	assert_int_equal(page_home(b.gm, 5, true) + page_home(b.gm, 6, true), 0);

	/* Mapped by the source; by the target; in a TLB of the source. */
	assert_int_equal(peer_copy(&b, &a, BASE + 5 * PAGE, BASE, PAGE), 0);
	assert_int_equal(stats_of(&a).stale, 1);
	assert_int_equal(stats_of(&b).stale, 0);
	assert_int_equal(peer_copy(&a, &b, BASE, BASE + 5 * PAGE, PAGE), 0);
	assert_int_equal(stats_of(&a).stale, 2);
	assert_int_equal(mmu_of(a.gm->dev)->pmap_release(a.ctx, (uintptr_t)VA, 2 * PAGE), 0);
	assert_int_equal(peer_copy(&b, &a, BASE + 5 * PAGE, BASE, PAGE), 0);
	assert_int_equal(stats_of(&a).stale, 3);
	assert_int_equal(mmu_of(a.gm->dev)->tlb_invl(a.ctx, (uintptr_t)VA, 2 * PAGE), 0);
	assert_int_equal(peer_copy(&b, &a, BASE + 5 * PAGE + 3, BASE + 3, 2 * PAGE - 3), 0);
	assert_int_equal(stats_of(&a).stale + stats_of(&b).stale, 3);
	assert_int_equal(mmu_of(b.gm->dev)->pmap_enter(b.ctx, (uintptr_t)VA + 5 * PAGE,
						       BASE + 5 * PAGE, 2 * PAGE, PAGE, GM_READ),
			 0);
	assert_int_equal(gm_sim_access(b.ctx, VA + 5 * PAGE, out, 2 * PAGE, GM_READ), 0);
	assert_memory_equal(in, out, 2 * PAGE);

	/* It is the target's engine that fails, and counts. */
	gm_sim_inject(a.sim, GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(peer_copy(&b, &a, BASE + 9 * PAGE, BASE, PAGE), 0);
	assert_int_equal(peer_copy(&a, &b, BASE, BASE + 9 * PAGE, PAGE), -EIO);
	gm_sim_inject(b.sim, GM_SIM_COPY_FENCE, 0, 1, -ENOMEM);
	assert_int_equal(peer_copy(&b, &a, BASE + 9 * PAGE, BASE, PAGE), -ENOMEM);
	gm_sim_inject(a.sim, GM_SIM_COPY_START, 0, 0, 0);
	assert_int_equal(peer_copy(&b, &a, BASE - PAGE, BASE, PAGE), -EINVAL);
	assert_int_equal(peer_copy(&b, &a, BASE, BASE + PAGES * PAGE, PAGE), -EINVAL);
	assert_int_equal(peer_copy(&b, &a, BASE, BASE + PAGES * PAGE - 1, 2), -EINVAL);
	assert_int_equal(peer_copy(&b, &c, BASE, BASE, PAGE), -EOPNOTSUPP);
	assert_int_equal(peer_copy(&c, &b, BASE, BASE, PAGE), -EOPNOTSUPP);
	rig_close(&a);
	rig_close(&b);
	rig_close(&c);
}

static void peers(void **state)
{
	(void)state;
	peers_with(0);
	peers_with(2);
}

static void injection(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_SYNC_FAULTS);
	const struct gm_mmu *mmu;
	struct rig r;
	char c = 1;

	(void)state;
	rig_open(&r, &opt);
	mmu = mmu_of(r.gm->dev);
	gm_sim_inject(r.sim, GM_SIM_PMAP_ENTER, 1, 2, -EIO);
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_WRITE), 0);
	assert_int_equal(gm_sim_access(r.ctx, VA + PAGE, &c, 1, GM_WRITE), -EIO);
	assert_int_equal(gm_sim_access(r.ctx, VA + PAGE, &c, 1, GM_WRITE), -EIO);
	assert_int_equal(gm_sim_access(r.ctx, VA + PAGE, &c, 1, GM_WRITE), 0);
	gm_sim_inject(r.sim, GM_SIM_COPY_START, 0, UINT32_MAX, -ENOMEM);
	assert_int_equal(gm_sim_access(r.ctx, VA + 2 * PAGE, &c, 1, GM_WRITE), -ENOMEM);
	assert_int_equal(gm_sim_access(r.ctx, VA + 2 * PAGE, &c, 1, GM_WRITE), -ENOMEM);
	gm_sim_inject(r.sim, GM_SIM_COPY_START, 0, 0, 0);
	gm_sim_inject(r.sim, GM_SIM_NR_OPS, 0, 1, -EIO);
	assert_int_equal(gm_sim_access(r.ctx, VA + 2 * PAGE, &c, 1, GM_WRITE), 0);

	gm_sim_inject(r.sim, GM_SIM_PMAP_RELEASE, 0, 1, -EIO);
	assert_int_equal(page_home(r.gm, 0, true), -EIO);
	gm_sim_inject(r.sim, GM_SIM_TLB_INVL, 0, 2, -EIO);
	assert_int_equal(page_home(r.gm, 0, true), -EIO);
	assert_int_equal(mmu->tlb_invl_coalesced(r.ctx, NULL, 0), -EIO);
	assert_int_equal(page_home(r.gm, 0, true), 0);
	gm_sim_inject(r.sim, GM_SIM_PMAP_PROTECT, 0, 1, -EIO);
	assert_int_equal(mmu->pmap_protect(r.ctx, (uintptr_t)VA, PAGE, GM_READ), -EIO);
	assert_int_equal(mmu->pmap_protect(r.ctx, (uintptr_t)VA, PAGE, GM_READ), 0);
	rig_close(&r);
}

/* The engine itself: extents of any length, its bounds, and a fence that fails half-way. */
static void engine_with(unsigned int threads)
{
	static uint8_t host[PAGES * PAGE], back[PAGES * PAGE];
	static struct gm_extent ext[600];
	struct gm_sim_options opt = small(GM_SIM_CHECK);
	struct gm_fence fence[8];
	const struct gm_mmu *mmu;
	struct gm_sim *sim;
	struct gm_dev *dev;
	unsigned int i;

	opt.copy_threads = threads;
	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	dev = gm_sim_dev(sim);
	mmu = mmu_of(dev);
	for (i = 0; i < sizeof(host); i++)
		host[i] = (uint8_t)(i * 11 + i / 256);

	/* 600 pieces of uneven length, end to end: more than a request of the pool holds. */
	for (i = 0; i < 600; i++)
		ext[i] = (struct gm_extent){ .pa = BASE + 7 + i * 33,
					     .host = (uintptr_t)host + i * 33,
					     .len = i ? 33 : 0 };
	fence_init(&fence[0]);
	assert_int_equal(mmu->copy(dev, GM_TO_DEV, ext, 600, &fence[0]), 0);
	assert_int_equal(fence_wait(&fence[0]), 0);
	ext[0] = (struct gm_extent){ BASE + 7 + 33, (uintptr_t)back, 599 * 33 };
	fence_init(&fence[0]);
	assert_int_equal(mmu->copy(dev, GM_TO_HOST, ext, 1, &fence[0]), 0);
	assert_int_equal(fence_wait(&fence[0]), 0);
	assert_memory_equal(back, host + 33, 599 * 33);

	/* More at once than the pool has. The list of extents is gone when copy returns. */
	for (i = 0; i < 8; i++) {
		fence_init(&fence[i]);
		ext[0] = (struct gm_extent){ BASE + i * 64 * PAGE, (uintptr_t)host + i * 64 * PAGE,
					     64 * PAGE };
		assert_int_equal(mmu->copy(dev, GM_TO_DEV, ext, 1, &fence[i]), 0);
		memset(ext, 0, sizeof(ext[0]));
	}
	for (i = 0; i < 8; i++)
		assert_int_equal(fence_wait(&fence[i]), 0);
	ext[0] = (struct gm_extent){ BASE, (uintptr_t)back, PAGES * PAGE };
	fence_init(&fence[0]);
	assert_int_equal(mmu->copy(dev, GM_TO_HOST, ext, 1, &fence[0]), 0);
	assert_int_equal(fence_wait(&fence[0]), 0);
	assert_memory_equal(back, host, PAGES * PAGE);

	/* Half of what was asked for, nothing else, and the error. */
	gm_sim_inject(sim, GM_SIM_COPY_FENCE, 0, 1, -EIO);
	ext[0] = (struct gm_extent){ BASE + PAGE, 0, PAGE };
	ext[1] = (struct gm_extent){ BASE + 4 * PAGE, 0, PAGE };
	fence_init(&fence[0]);
	assert_int_equal(mmu->zero(dev, ext, 2, &fence[0]), 0);
	assert_int_equal(fence_wait(&fence[0]), -EIO);
	memset(host + PAGE, 0, PAGE);
	ext[0] = (struct gm_extent){ BASE, (uintptr_t)back, PAGES * PAGE };
	fence_init(&fence[0]);
	assert_int_equal(mmu->copy(dev, GM_TO_HOST, ext, 1, &fence[0]), 0);
	assert_int_equal(fence_wait(&fence[0]), 0);
	assert_memory_equal(back, host, PAGES * PAGE);

	/* What is not data is refused: tables, and what is not there. */
	ext[0] = (struct gm_extent){ BASE + PAGES * PAGE - 1, (uintptr_t)back, 2 };
	assert_int_equal(mmu->copy(dev, GM_TO_DEV, ext, 1, &fence[0]), -EINVAL);
	ext[0] = (struct gm_extent){ BASE - 1, (uintptr_t)back, 2 };
	assert_int_equal(mmu->zero(dev, ext, 1, &fence[0]), -EINVAL);
	ext[0] = (struct gm_extent){ BASE, (uintptr_t)back, UINT64_MAX };
	assert_int_equal(mmu->copy(dev, GM_TO_HOST, ext, 1, &fence[0]), -EINVAL);
	assert_int_equal(gm_sim_destroy(sim), 0);
}

static void engine(void **state)
{
	(void)state;
	engine_with(0);
	engine_with(1);
	engine_with(3);
}

const struct CMUnitTest sim_engine_tests[] = {
	cmocka_unit_test(missing_invalidation),
	cmocka_unit_test(mapped_too_early),
	cmocka_unit_test(peers),
	cmocka_unit_test(injection),
	cmocka_unit_test(engine),
};
const size_t nr_sim_engine_tests = sizeof(sim_engine_tests) / sizeof(sim_engine_tests[0]);
