// SPDX-License-Identifier: GPL-2.0-only
/*
 * peer_map and peer_unmap of a device in the kernel: sim_peer_os.c's twin, which says what it
 * does. The fence is signalled before either returns.
 *
 * Locking: none of its own.
 */
#include "sim_k.h"

static unsigned int piece(const struct gm_peer_map *ops, unsigned int n, u64 *len)
{
	unsigned int i = 0;

	*len = 0;
	do
		*len += ops[i++].len;
	while (i < n && ops[i].va == ops->va + *len && ops[i].pa == ops->pa + *len);
	return i;
}

static int enter(struct gm_ksim_ctx *ctx, u64 va, u64 pa, u64 len, u32 prot)
{
	u64 leaf, sizes = ctx->sim->mmu.pgsizes;
	int err = 0;

	for (; len && !err; va += leaf, pa += leaf, len -= leaf) {
		leaf = GM_SIM_2M;
		while (leaf > PAGE_SIZE &&
		       (!(sizes & leaf) || ((va | pa) & (leaf - 1)) || leaf > len))
			leaf /= 2;
		err = gm_ksim_fails(ctx->sim, GMEM_SIM_PMAP_ENTER);
		if (!err)
			err = gm_sim_pmap_enter(&ctx->pmap, va, pa, leaf, leaf, prot);
	}
	return err;
}

/* Without @fail, which an operation that undoes another cannot have, it succeeds. */
static int leave(struct gm_ksim_ctx *ctx, u64 va, u64 len, bool fail)
{
	struct gm_tlb_range range = { .va = va, .size = len };
	int err = fail ? gm_ksim_fails(ctx->sim, GMEM_SIM_PMAP_RELEASE) : 0;

	if (!err)
		err = gm_sim_pmap_release(&ctx->pmap, va, len);
	if (!err && fail)
		err = gm_ksim_fails(ctx->sim, GMEM_SIM_TLB_INVL);
	if (!err)
		gm_sim_tlb_invl(&ctx->pmap, &range, 1);
	return err;
}

static int peer_map(void *pmap, const struct gm_peer_map *ops, unsigned int n, uint32_t prot,
		    struct gm_fence *fence)
{
	struct gm_ksim_ctx *ctx = pmap;
	int err = gm_ksim_fails(ctx->sim, GMEM_SIM_COPY_START);
	unsigned int i, k;
	u64 len;

	if (err)
		return err;
	for (i = 0; i < n && !err; i++)
		err = gm_ksim_copy_now(ctx->sim, &ops[i], false);
	for (i = 0; i < n && !err; i += k) {
		k = piece(&ops[i], n - i, &len);
		err = enter(ctx, ops[i].va, ops[i].pa, len, prot);
	}
	for (i = 0; i < n && err; i += k) {
		k = piece(&ops[i], n - i, &len);
		leave(ctx, ops[i].va, len, false);
	}
	gm_fence_signal(fence, err);
	return 0;
}

static int peer_unmap(void *pmap, const struct gm_peer_map *ops, unsigned int n,
		      struct gm_fence *fence)
{
	struct gm_ksim_ctx *ctx = pmap;
	int err = gm_ksim_fails(ctx->sim, GMEM_SIM_COPY_START);
	unsigned int i, k;
	u64 len;

	for (i = 0; i < n && !err; i += k) {
		k = piece(&ops[i], n - i, &len);
		err = leave(ctx, ops[i].va, len, true);
	}
	if (err)
		return err;
	for (i = 0; i < n && !err; i++)
		if (ops[i].host != GM_NO_ADDRESS)
			err = gm_ksim_copy_now(ctx->sim, &ops[i], true);
	gm_fence_signal(fence, err);
	return 0;
}

void gm_ksim_peer_ops(const struct gm_ksim *sim, struct gm_mmu *ops)
{
	if (!(sim->flags & GMEM_SIM_NO_ACCESSED))
		ops->pmap_age = gm_ksim_pmap_age;
	if (!(sim->flags & GMEM_SIM_PEER_OPS))
		return;
	ops->peer_map = peer_map;
	ops->peer_unmap = peer_unmap;
}
