// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The lanes. An access holds its lane's word from the lookup in the TLB until it is
 * made, as sim_mmu.c asks; one that finds no translation faults, and is made again.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>

#include "sim_k.h"

/* Whole words are whole for other lanes too. */
static void copy_words(void *to, const void *from, size_t len)
{
	if (len == 8 && IS_ALIGNED((unsigned long)to | (unsigned long)from, 8))
		WRITE_ONCE(*(u64 *)to, READ_ONCE(*(const u64 *)from));
	else if (len == 4 && IS_ALIGNED((unsigned long)to | (unsigned long)from, 4))
		WRITE_ONCE(*(u32 *)to, READ_ONCE(*(const u32 *)from));
	else
		memcpy(to, from, len);
}

/* What changes a word as a whole: @buf has the operands, and gets what was there before. */
static void change_word(u64 *mem, u32 op, u64 *buf)
{
	if (op == GMEM_SIM_ADD64)
		*buf = __atomic_fetch_add(mem, *buf, __ATOMIC_SEQ_CST);
	else if (op == GMEM_SIM_XOR64)
		*buf = __atomic_fetch_xor(mem, *buf, __ATOMIC_SEQ_CST);
	else
		__atomic_compare_exchange_n(mem, &buf[0], buf[1], false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST);
}

/* What a translation gave: a byte of the device's, or, by its physical address, of the host's. */
static void *byte_at(const struct gm_sim_mmu *mmu, u64 pa)
{
	return pa & GM_SIM_HOST_PA ? gm_host_ptr(pa & ~GM_SIM_HOST_PA) : gm_sim_mem(mmu, pa);
}

/* What an operation asks of a translation. */
static u32 access_of(const struct gm_ksim *sim, u32 op)
{
	if (op == GMEM_SIM_READ)
		return GM_READ;
	return op >= GMEM_SIM_ADD64 && (sim->flags & GMEM_SIM_NO_ATOMICS) ? GM_WRITE | GM_ATOMIC
									  : GM_WRITE;
}

/* One access within a page. False: it faults. */
static bool try_access(struct gm_ksim_ctx *ctx, struct gm_sim_tlb *tlb, u32 op, u64 va, void *buf,
		       size_t len)
{
	struct gm_sim_mmu *mmu = ctx->pmap.mmu;
	u64 pa;
	void *mem;

	gm_sim_tlb_lock(tlb);
	pa = gm_sim_translate(&ctx->pmap, tlb, va, access_of(ctx->sim, op));
	if (pa != GM_SIM_NO_PA) {
		mem = byte_at(mmu, pa);
		if (op == GMEM_SIM_READ) {
			copy_words(buf, mem, len);
		} else if (op == GMEM_SIM_WRITE) {
			copy_words(mem, buf, len);
		} else {
			change_word(mem, op, buf);
		}
	}
	gm_sim_tlb_unlock(tlb);
	return pa != GM_SIM_NO_PA;
}

#define REPLAY_MS 50 /* longer than anybody holds a page (thrash_hold_us) */

/* A fault that meets -EBUSY is made again, for a time. */
static int fault(struct gm_ksim_ctx *ctx, u64 va, u32 access)
{
	unsigned long end = jiffies + msecs_to_jiffies(REPLAY_MS);
	int err;

	for (;;) {
		atomic64_inc(&ctx->sim->faults);
		err = gm_ksim_service(ctx, va, access);
		if (err != -EBUSY || time_after(jiffies, end) || fatal_signal_pending(current))
			return err;
		usleep_range(50, 200);
	}
}

int gm_ksim_access(struct gm_ksim_ctx *ctx, unsigned int lane, u32 op, u64 va, void *buf,
		   size_t len)
{
	struct gm_sim_tlb *tlb = &ctx->pmap.walker->tlb[lane];
	int err = 0;

	while (len && !err) {
		size_t n = min_t(u64, len, GM_SIM_4K - (va & (GM_SIM_4K - 1)));

		while (!err && !try_access(ctx, tlb, op, va, buf, n)) {
			err = fault(ctx, va, access_of(ctx->sim, op));
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
