// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The lanes. An access holds its lane's word from the lookup in the TLB until it is
 * made, as sim_mmu.c asks; one that finds no translation faults, and is made again.
 */
#include <linux/sched/signal.h>

#include "sim_k.h"

/* One access within a page. False: it faults. */
static bool try_access(struct gm_ksim_ctx *ctx, struct gm_sim_tlb *tlb, u32 op, u64 va, void *buf,
		       size_t len)
{
	struct gm_sim_mmu *mmu = ctx->pmap.mmu;
	u64 pa, before;
	void *mem;

	gm_sim_tlb_lock(tlb);
	pa = gm_sim_translate(&ctx->pmap, tlb, va, op == GMEM_SIM_READ ? GM_READ : GM_WRITE);
	if (pa != GM_SIM_NO_PA) {
		mem = gm_sim_mem(mmu, pa);
		if (op == GMEM_SIM_READ) {
			memcpy(buf, mem, len);
		} else if (op == GMEM_SIM_WRITE) {
			memcpy(mem, buf, len);
		} else {
			before = __atomic_fetch_add((u64 *)mem, *(u64 *)buf, __ATOMIC_SEQ_CST);
			*(u64 *)buf = before;
		}
	}
	gm_sim_tlb_unlock(tlb);
	return pa != GM_SIM_NO_PA;
}

int gm_ksim_access(struct gm_ksim_ctx *ctx, unsigned int lane, u32 op, u64 va, void *buf,
		   size_t len)
{
	struct gm_sim_tlb *tlb = &ctx->pmap.mmu->tlb[lane];
	int err = 0;

	while (len && !err) {
		size_t n = min_t(u64, len, GM_SIM_4K - (va & (GM_SIM_4K - 1)));

		while (!err && !try_access(ctx, tlb, op, va, buf, n)) {
			atomic64_inc(&ctx->sim->faults);
			err = gm_ksim_service(ctx, va, op == GMEM_SIM_READ ? GM_READ : GM_WRITE);
			if (!err && fatal_signal_pending(current))
				err = -EINTR;
		}
		va += n;
		buf += n;
		len -= n;
		cond_resched();
	}
	return err;
}
