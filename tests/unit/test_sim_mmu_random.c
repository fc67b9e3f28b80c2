// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The simulated accelerator's MMU: random operations against an array, and threads that walk. */
#include "test_sim_mmu.h"

/* ------------------------------------------------------------ against a model */

#define MODEL_PAGES 1024
#define MODEL_OPS 20000

static uint64_t seed;

static uint64_t rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

struct model_page {
	uint64_t pa;   /* 0: not mapped */
	uint64_t leaf; /* it is part of */
	uint32_t prot;
};

static bool model_may_enter(const struct model_page *m, uint64_t n, uint64_t pa, uint64_t leaf)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		if (m[i].pa && (m[i].leaf > leaf || m[i].pa != pa + i * GM_SIM_4K))
			return false;
	return true;
}

static bool model_may_cut(const struct model_page *m, uint64_t from, uint64_t to)
{
	uint64_t i;

	for (i = from; i < to; i++) {
		uint64_t per = m[i].leaf / GM_SIM_4K;

		if (m[i].pa && (i / per * per < from || i / per * per + per > to))
			return false;
	}
	return true;
}

static void model_step(struct gm_sim_pmap *pmap, struct model_page *m)
{
	static const uint64_t leaves[] = { GM_SIM_4K,	  GM_SIM_64K,	 GM_SIM_2M,
					   2 * GM_SIM_4K, GM_SIM_2M / 2, 2 * GM_SIM_2M };
	uint64_t leaf = leaves[rnd(pmap->mmu->pgsizes & (2 * GM_SIM_4K) ? 6 : 3)],
		 per = leaf / GM_SIM_4K;
	uint64_t from = rnd(MODEL_PAGES / per) * per;
	uint64_t n = (1 + rnd(leaf == GM_SIM_4K ? 40 : 3)) * per, i;
	/* Often the one place where everything agrees, so that leaves replace each other. */
	uint64_t pa = BASE + (rnd(4) ? from : rnd(MODEL_PAGES / per) * per) * GM_SIM_4K;
	uint32_t prot = rnd(2) ? RW : GM_READ;
	int err;

	if (from + n > MODEL_PAGES)
		n = MODEL_PAGES - from;
	switch (rnd(4)) {
	case 0:
	case 1:
		err = gm_sim_pmap_enter(pmap, VA + from * GM_SIM_4K, pa, n * GM_SIM_4K, leaf, prot);
		assert_int_equal(err, model_may_enter(m + from, n, pa, leaf) ? 0 : -EEXIST);
		for (i = from; !err && i < from + n; i++)
			m[i] = (struct model_page){ pa + (i - from) * GM_SIM_4K, leaf, prot };
		break;
	case 2:
		if (!model_may_cut(m, from, from + n))
			return;
		assert_int_equal(gm_sim_pmap_release(pmap, VA + from * GM_SIM_4K, n * GM_SIM_4K),
				 0);
		memset(m + from, 0, n * sizeof(*m));
		break;
	case 3:
		if (!model_may_cut(m, from, from + n))
			return;
		assert_int_equal(
			gm_sim_pmap_protect(pmap, VA + from * GM_SIM_4K, n * GM_SIM_4K, prot), 0);
		for (i = from; i < from + n; i++)
			m[i].prot = prot;
		break;
	}
	invl(pmap, VA + from * GM_SIM_4K, n * GM_SIM_4K);
}

static void model_compare(struct rig *r, struct gm_sim_pmap *pmap, const struct model_page *m,
			  unsigned int lane)
{
	uint64_t i;

	for (i = 0; i < MODEL_PAGES; i++) {
		uint64_t va = VA + i * GM_SIM_4K, off = rnd(GM_SIM_4K);
		uint64_t pa = m[i].pa ? m[i].pa + off : GM_SIM_NO_PA;

		assert_int_equal(touch(r, pmap, lane, va + off, GM_READ), pa);
		assert_int_equal(touch(r, pmap, lane, va + off, GM_WRITE),
				 m[i].prot & GM_WRITE ? pa : GM_SIM_NO_PA);
	}
}

static void random_run(struct rig *r)
{
	static struct model_page model[2][MODEL_PAGES];
	const char *given = getenv("GM_TEST_SEED");
	struct gm_sim_pmap *pmap[2] = { &r->a, &r->b };
	unsigned int i, k;

	memset(model, 0, sizeof(model));
	seed = given ? strtoull(given, NULL, 0) : 20240607;
	seed = seed ? seed : 1;
	print_message("seed %llu (GM_TEST_SEED=)\n", (unsigned long long)seed);
	for (i = 0; i < MODEL_OPS; i++) {
		k = (unsigned int)rnd(2);
		model_step(pmap[k], model[k]);
		touch(r, pmap[k], (unsigned int)rnd(LANES), VA + rnd(MODEL_PAGES) * GM_SIM_4K,
		      GM_READ);
		if (i % 50 == 0)
			model_compare(r, pmap[k], model[k], (unsigned int)rnd(LANES));
	}
	/* Frames are counted as often as the model maps them. */
	for (i = 0; i < MODEL_PAGES; i++)
		for (k = 0; k < 2; k++)
			if (model[k][i].pa)
				r->mmu.frame[(model[k][i].pa - BASE) / GM_SIM_4K].maps--;
	for (i = 0; i < MODEL_PAGES; i++)
		assert_int_equal(r->mmu.frame[i].maps, 0);
	for (i = 0; i < MODEL_PAGES; i++)
		for (k = 0; k < 2; k++)
			if (model[k][i].pa)
				r->mmu.frame[(model[k][i].pa - BASE) / GM_SIM_4K].maps++;
	release(&r->a, VA, MODEL_PAGES * GM_SIM_4K);
	release(&r->b, VA, MODEL_PAGES * GM_SIM_4K);
	assert_int_equal(r->mmu.used, 2);
	rig_free(r);
}

static void random_against_model(void **state)
{
	(void)state;
	random_run(rig_new(64));
	random_run(rig_of(64, DATA, GM_SIM_ALL_SIZES));
}

/* --------------------------------------------------------- walkers and writers */

struct walker {
	struct rig *r;
	unsigned int lane;
	bool stop; /* atomic */
};

/* Writes its own word of whatever is mapped, as a lane does. */
static void *walker(void *arg)
{
	struct walker *w = arg;
	struct rig *r = w->r;
	uint64_t i = 0;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		uint64_t pa;

		gm_sim_tlb_lock(&r->tlb[w->lane]);
		pa = gm_sim_translate(&r->a, &r->tlb[w->lane],
				      VA + i++ % 16 * GM_SIM_4K + w->lane * 8, GM_WRITE);
		if (pa != GM_SIM_NO_PA)
			__atomic_store_n((uint64_t *)gm_sim_mem(&r->mmu, pa), ~0ULL,
					 __ATOMIC_RELAXED);
		gm_sim_tlb_unlock(&r->tlb[w->lane]);
	}
	return NULL;
}

/*
 * After release and invalidation nobody writes: plain accesses to the memory do not
 * race (ThreadSanitizer checks the claim) and find it as they left it. The range's
 * tables come and go meanwhile.
 */
static void nobody_is_left_behind(void **state)
{
	struct rig *r = rig_new(8);
	struct walker w[2] = { { .r = r, .lane = 0 }, { .r = r, .lane = 1 } };
	uint8_t *mem = r->mmu.mem;
	pthread_t thread[2];
	unsigned int i, k;

	(void)state;
	for (k = 0; k < 2; k++)
		assert_int_equal(pthread_create(&thread[k], NULL, walker, &w[k]), 0);
	for (i = 0; i < 300; i++) {
		memset(mem, (int)i, GM_SIM_64K);
		assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_64K,
						   i % 2 ? GM_SIM_4K : GM_SIM_64K, RW),
				 0);
		sched_yield();
		release(&r->a, VA, GM_SIM_64K);
		assert_int_equal(r->mmu.used, 2);
		memset(mem, (int)i, GM_SIM_64K);
		sched_yield();
		for (k = 0; k < GM_SIM_64K; k++)
			if (mem[k] != (uint8_t)i)
				fail_msg("round %u: byte %u was written", i, k);
	}
	for (k = 0; k < 2; k++) {
		__atomic_store_n(&w[k].stop, true, __ATOMIC_RELAXED);
		pthread_join(thread[k], NULL);
	}
	rig_free(r);
}

struct releaser {
	struct rig *r;
	bool done; /* atomic */
};

static void *releaser(void *arg)
{
	struct releaser *a = arg;

	gm_sim_pmap_release(&a->r->a, VA, GM_SIM_4K);
	__atomic_store_n(&a->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* A release waits for a lane that is in the middle of an access, and frees tables after that. */
static void release_waits_for_walkers(void **state)
{
	struct rig *r = rig_new(8);
	struct releaser a = { .r = r };
	pthread_t thread;

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	gm_sim_tlb_lock(&r->tlb[1]);
	assert_int_equal(pthread_create(&thread, NULL, releaser, &a), 0);
	while (!__atomic_load_n(&r->tlb[1].waiting, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&a.done, __ATOMIC_ACQUIRE))
		sched_yield();
	assert_false(__atomic_load_n(&a.done, __ATOMIC_ACQUIRE));
	assert_int_equal(__atomic_load_n(&r->mmu.used, __ATOMIC_RELAXED), 5);
	gm_sim_tlb_unlock(&r->tlb[1]);
	pthread_join(thread, NULL);
	assert_int_equal(r->mmu.used, 2);
	rig_free(r);
}

const struct CMUnitTest sim_mmu_random_tests[] = {
	cmocka_unit_test(random_against_model),
	cmocka_unit_test(release_waits_for_walkers),
	cmocka_unit_test(nobody_is_left_behind),
};
const size_t nr_sim_mmu_random_tests = sizeof(sim_mmu_random_tests) /
				       sizeof(sim_mmu_random_tests[0]);
