// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The simulated accelerator's TLB: what it keeps, and what an invalidation must not leave. */
#include "test_sim_mmu.h"

static void tlb_caches(void **state)
{
	static const uint64_t leaf[] = { GM_SIM_4K, GM_SIM_64K, GM_SIM_2M };
	struct rig *r = rig_new(16);
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, leaf[i], leaf[i], RW), 0);
		assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);
		assert_int_equal(gm_sim_pmap_release(&r->a, VA, leaf[i]), 0);
		/* Stale, on the lane that touched it only. */
		assert_int_equal(touch(r, &r->a, 0, VA + leaf[i] - 1, GM_WRITE),
				 BASE + leaf[i] - 1);
		assert_int_equal(touch(r, &r->a, 1, VA, GM_READ), GM_SIM_NO_PA);
		/* Neighbours and other pmaps do not matter. */
		invl(&r->a, VA + leaf[i], leaf[i]);
		invl(&r->a, VA - GM_SIM_4K, GM_SIM_4K);
		invl(&r->b, VA, leaf[i]);
		assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);
		/* Any part of it does. */
		invl(&r->a, VA + leaf[i] - GM_SIM_4K, GM_SIM_4K);
		assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), GM_SIM_NO_PA);
	}
	rig_free(r);
}

static void tlb_invalidates_much(void **state)
{
	struct rig *r = rig_new(16);
	uint64_t i;

	(void)state;
	/* More pages than the TLB holds, and a range that wraps around its sets. */
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_2M, GM_SIM_4K, RW), 0);
	for (i = 0; i < 512; i++)
		assert_int_equal(touch(r, &r->a, 2, VA + i * GM_SIM_4K, GM_READ),
				 BASE + i * GM_SIM_4K);
	assert_int_equal(r->tlb[2].misses, 512);
	assert_int_equal(gm_sim_pmap_release(&r->a, VA, GM_SIM_2M), 0);
	invl(&r->a, VA + 500 * GM_SIM_4K, 10 * GM_SIM_4K);
	for (i = 496; i < 512; i++)
		assert_int_equal(touch(r, &r->a, 2, VA + i * GM_SIM_4K, GM_READ),
				 i < 500 || i >= 510 ? BASE + i * GM_SIM_4K : GM_SIM_NO_PA);
	invl(&r->a, 0, GM_SIM_VA_END);
	for (i = 0; i < 512; i++)
		assert_int_equal(touch(r, &r->a, 2, VA + i * GM_SIM_4K, GM_READ), GM_SIM_NO_PA);
	rig_free(r);
}

static void tlb_coalesced(void **state)
{
	const struct gm_tlb_range ranges[] = { { VA, GM_SIM_4K },
					       { VA + 2 * GM_SIM_4K, 0 },
					       { VA + 4 * GM_SIM_4K, 2 * GM_SIM_4K } };
	struct rig *r = rig_new(16);
	unsigned int lane;
	uint64_t i;

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, 8 * GM_SIM_4K, GM_SIM_4K, RW), 0);
	for (lane = 0; lane < LANES; lane++)
		for (i = 0; i < 8; i++)
			touch(r, &r->a, lane, VA + i * GM_SIM_4K, GM_WRITE);
	assert_int_equal(gm_sim_pmap_release(&r->a, VA, 8 * GM_SIM_4K), 0);
	gm_sim_tlb_invl(&r->a, ranges, 3);
	for (lane = 0; lane < LANES; lane++)
		for (i = 0; i < 8; i++)
			assert_int_equal(touch(r, &r->a, lane, VA + i * GM_SIM_4K, GM_WRITE),
					 i == 0 || i == 4 || i == 5 ? GM_SIM_NO_PA
								    : BASE + i * GM_SIM_4K);
	rig_free(r);
}

static void protection(void **state)
{
	struct rig *r = rig_new(16);

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_64K, GM_SIM_64K, RW), 0);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA + 2 * GM_SIM_64K, BASE + GM_SIM_64K, GM_SIM_4K,
					   GM_SIM_4K, GM_READ),
			 0);
	assert_int_equal(touch(r, &r->a, 0, VA, RW), BASE);
	/* Over both, the hole between them, and nothing behind. */
	assert_int_equal(gm_sim_pmap_protect(&r->a, VA, 4 * GM_SIM_64K, GM_READ), 0);
	assert_int_equal(touch(r, &r->a, 1, VA + GM_SIM_4K, GM_WRITE), GM_SIM_NO_PA);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), BASE); /* cached */
	invl(&r->a, VA, GM_SIM_4K);
	assert_int_equal(touch(r, &r->a, 0, VA, RW), GM_SIM_NO_PA);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);
	assert_int_equal(pte_at(r, &r->a, VA + 2 * GM_SIM_64K, 0), (BASE + GM_SIM_64K) | 1 | 2 | 8);
	assert_int_equal(touch(r, &r->a, 0, VA + GM_SIM_64K, GM_READ), GM_SIM_NO_PA);

	/* A right that is added needs no invalidation. */
	assert_int_equal(gm_sim_pmap_protect(&r->a, VA, GM_SIM_64K, RW), 0);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), BASE);
	rig_free(r);
}

static void several_pmaps(void **state)
{
	struct rig *r = rig_new(16);
	struct gm_sim_pmap c;

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);
	assert_int_equal(touch(r, &r->b, 0, VA, GM_READ), GM_SIM_NO_PA);
	assert_int_equal(gm_sim_pmap_enter(&r->b, VA, BASE + GM_SIM_4K, GM_SIM_4K, GM_SIM_4K, RW),
			 0);
	assert_int_equal(touch(r, &r->b, 0, VA, GM_READ), BASE + GM_SIM_4K);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);

	/* A new pmap in an old one's place does not inherit its translations. */
	assert_int_equal(gm_sim_pmap_init(&c, &r->mmu), 0);
	assert_int_equal(gm_sim_pmap_enter(&c, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	assert_int_equal(r->mmu.frame[0].maps, 2);
	touch(r, &c, 0, VA, GM_READ);
	gm_sim_pmap_fini(&c);
	assert_int_equal(gm_sim_pmap_init(&c, &r->mmu), 0);
	assert_int_equal(touch(r, &c, 0, VA, GM_READ), GM_SIM_NO_PA);
	gm_sim_pmap_fini(&c);
	rig_free(r);
}

static void finding_the_stale(void **state)
{
	struct rig *r = rig_new(16);
	uint64_t frame, va;
	unsigned int lane;

	(void)state;
	assert_int_equal(
		gm_sim_pmap_enter(&r->a, VA, BASE + GM_SIM_64K, GM_SIM_64K, GM_SIM_64K, RW), 0);
	assert_false(gm_sim_tlb_find(&r->mmu, BASE, DATA, &lane, &va));
	assert_true(gm_sim_frame_find(&r->mmu, BASE, DATA, &frame, &va));
	assert_int_equal(frame, BASE + GM_SIM_64K);
	assert_int_equal(va, VA);
	assert_true(gm_sim_frame_find(&r->mmu, BASE + GM_SIM_64K + 0x2fff, 1, &frame, &va));
	assert_int_equal(frame, BASE + GM_SIM_64K + 0x2000);
	assert_int_equal(va, VA + 0x2000);
	assert_false(gm_sim_frame_find(&r->mmu, BASE, GM_SIM_64K, &frame, &va));

	touch(r, &r->a, 1, VA, GM_READ);
	assert_int_equal(gm_sim_pmap_release(&r->a, VA, GM_SIM_64K), 0);
	assert_false(gm_sim_frame_find(&r->mmu, BASE, DATA, &frame, &va));
	assert_true(gm_sim_tlb_find(&r->mmu, BASE + GM_SIM_64K + 0x3000, GM_SIM_4K, &lane, &va));
	assert_int_equal(lane, 1);
	assert_int_equal(va, VA + 0x3000);
	assert_false(gm_sim_tlb_find(&r->mmu, BASE, GM_SIM_64K, &lane, &va));
	assert_false(gm_sim_tlb_find(&r->mmu, BASE + 2 * GM_SIM_64K, GM_SIM_4K, &lane, &va));
	invl(&r->a, VA, GM_SIM_64K);
	assert_false(gm_sim_tlb_find(&r->mmu, BASE, DATA, &lane, &va));
	rig_free(r);
}

const struct CMUnitTest sim_tlb_tests[] = {
	cmocka_unit_test(tlb_caches),	 cmocka_unit_test(tlb_invalidates_much),
	cmocka_unit_test(tlb_coalesced), cmocka_unit_test(protection),
	cmocka_unit_test(several_pmaps), cmocka_unit_test(finding_the_stale),
};
const size_t nr_sim_tlb_tests = sizeof(sim_tlb_tests) / sizeof(sim_tlb_tests[0]);
