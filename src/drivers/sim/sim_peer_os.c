// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * peer_map and peer_unmap: what a device with an operating system of its own does when it is
 * sent one message, where others are sent one for each of enter, release, invalidate, copy and
 * zero.
 *
 * Its system does these one after another, before it answers. So the fence is signalled here;
 * what can be refused before anything has happened is the call's own error. What it has mapped
 * when it fails it unmaps again, which no injection makes fail: that is its word.
 *
 * Locking: none of its own.
 */
#include "sim_dev.h"

/* How many of @ops are one piece, each beginning where the one before it ends; its bytes. */
static unsigned int piece(const struct gm_peer_map *ops, unsigned int n, uint64_t *len)
{
	unsigned int i = 0;

	*len = 0;
	do
		*len += ops[i++].len;
	while (i < n && ops[i].va == ops->va + *len && ops[i].pa == ops->pa + *len);
	return i;
}

static bool all_data(const struct gm_sim *sim, const struct gm_peer_map *ops, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (!gm_sim_is_data(&sim->mmu, ops[i].pa, ops[i].len))
			return false;
	return true;
}

static int start(struct gm_sim *sim, const struct gm_peer_map *ops, unsigned int n)
{
	gm_sim_count(&sim->stats.messages, 1);
	gm_sim_count(&sim->stats.peer_messages, 1);
	if (!all_data(sim, ops, n))
		return -EINVAL;
	return gm_sim_fails(sim, GM_SIM_COPY_START);
}

static int copy(struct gm_sim *sim, enum gm_sim_verb verb, const struct gm_peer_map *op)
{
	struct gm_extent ext = { .pa = op->pa, .host = op->host, .len = op->len };

	return gm_sim_engine_run(sim, verb, &ext);
}

/* The largest leaf that may begin at @va. */
static uint64_t leaf_at(const struct gm_sim *sim, uint64_t va, uint64_t pa, uint64_t len)
{
	uint64_t leaf = GM_SIM_2M;

	while (leaf > GM_SIM_4K &&
	       (!(sim->mmu.pgsizes & leaf) || ((va | pa) & (leaf - 1)) || leaf > len))
		leaf /= 2;
	return leaf;
}

static int enter(struct gm_sim_ctx *ctx, uint64_t va, uint64_t pa, uint64_t len, uint32_t prot)
{
	uint64_t leaf;
	int err = 0;

	for (; len && !err; va += leaf, pa += leaf, len -= leaf) {
		leaf = leaf_at(ctx->sim, va, pa, len);
		err = gm_sim_fails(ctx->sim, GM_SIM_PMAP_ENTER);
		if (!err)
			err = gm_sim_pmap_enter(&ctx->pmap, va, pa, leaf, leaf, prot);
	}
	return err;
}

static void undo(struct gm_sim_ctx *ctx, const struct gm_peer_map *ops, unsigned int n)
{
	struct gm_tlb_range range;

	for (unsigned int i = 0, k; i < n; i += k) {
		k = piece(&ops[i], n - i, &range.size);
		range.va = ops[i].va;
		gm_sim_pmap_release(&ctx->pmap, range.va, range.size);
		gm_sim_tlb_invl(&ctx->pmap, &range, 1);
	}
}

static int peer_map(void *pmap, const struct gm_peer_map *ops, unsigned int n, uint32_t prot,
		    struct gm_fence *fence)
{
	struct gm_sim_ctx *ctx = pmap;
	struct gm_sim *sim = ctx->sim;
	int err = start(sim, ops, n);
	uint64_t len;

	if (err)
		return err;
	for (unsigned int i = 0; i < n && !err; i++)
		err = copy(sim, ops[i].host == GM_NO_ADDRESS ? GM_SIM_ZERO : GM_SIM_COPY_IN,
			   &ops[i]);
	for (unsigned int i = 0, k; i < n && !err; i += k) {
		k = piece(&ops[i], n - i, &len);
		err = enter(ctx, ops[i].va, ops[i].pa, len, prot);
	}
	if (err)
		undo(ctx, ops, n);
	gm_fence_signal(fence, err);
	return 0;
}

static int unmap(struct gm_sim_ctx *ctx, uint64_t va, uint64_t len)
{
	struct gm_tlb_range range = { .va = va, .size = len };
	int err = gm_sim_fails(ctx->sim, GM_SIM_PMAP_RELEASE);

	if (!err)
		err = gm_sim_pmap_release(&ctx->pmap, va, len);
	if (!err)
		err = gm_sim_fails(ctx->sim, GM_SIM_TLB_INVL);
	if (!err)
		gm_sim_tlb_invl(&ctx->pmap, &range, 1);
	return err;
}

static int peer_unmap(void *pmap, const struct gm_peer_map *ops, unsigned int n,
		      struct gm_fence *fence)
{
	struct gm_sim_ctx *ctx = pmap;
	int err = start(ctx->sim, ops, n);
	uint64_t len;

	for (unsigned int i = 0, k; i < n && !err; i += k) {
		k = piece(&ops[i], n - i, &len);
		err = unmap(ctx, ops[i].va, len);
	}
	if (err)
		return err;
	for (unsigned int i = 0; i < n && !err; i++)
		if (ops[i].host != GM_NO_ADDRESS)
			err = copy(ctx->sim, GM_SIM_COPY_OUT, &ops[i]);
	gm_fence_signal(fence, err);
	return 0;
}

void gm_sim_peer_ops(const struct gm_sim *sim, struct gm_mmu *ops)
{
	if (!(sim->flags & GM_SIM_NO_ACCESSED))
		ops->pmap_age = gm_sim_op_pmap_age;
	if (sim->flags & GM_SIM_COUNTERS)
		ops->flags = GM_MMU_COUNTS;
	if (!(sim->flags & GM_SIM_PEER_OPS))
		return;
	ops->peer_map = peer_map;
	ops->peer_unmap = peer_unmap;
}
