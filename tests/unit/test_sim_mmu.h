/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What the tests of the simulated accelerator's MMU share; the functions are in test_sim_mmu.c. */
#ifndef TEST_SIM_MMU_H
#define TEST_SIM_MMU_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/mman.h>

#include "../../src/drivers/sim/sim_mmu.h"

#define BASE (4ULL << 30)
#define DATA (8ULL << 20)
#define VA 0x7f1234000000ULL /* a multiple of 2 MiB */
#define LANES 3
#define TLB 16
#define RW (GM_READ | GM_WRITE)

struct rig {
	struct gm_sim_mmu mmu;
	struct gm_sim_pmap a, b;
	struct gm_sim_tlb tlb[LANES];
	struct gm_sim_tlb_entry entry[LANES][GM_SIM_MAX_SIZES * TLB];
};

struct rig *rig_new(uint64_t tables);
struct rig *rig_of(uint64_t tables, uint64_t data, uint64_t pgsizes);
void rig_free(struct rig *r);
/* What lane @lane gets to by an access, through its TLB. */
uint64_t touch(struct rig *r, struct gm_sim_pmap *pmap, unsigned int lane, uint64_t va,
	       uint32_t access);
void invl(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size);
void release(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size);
/* The entry for @va in the table of @level, found the way the format says; 0 if there is none. */
uint64_t pte_at(struct rig *r, const struct gm_sim_pmap *pmap, uint64_t va, unsigned int level);

extern const struct CMUnitTest sim_tlb_tests[], sim_mmu_random_tests[];
extern const size_t nr_sim_tlb_tests, nr_sim_mmu_random_tests;

#endif
