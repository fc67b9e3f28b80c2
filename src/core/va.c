// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Addresses that a device has a say in.
 *
 * Theory. A device with an operating system of its own uses addresses for itself too. Its
 * driver is asked for those of every region before anybody can use it (peer_va_alloc_fixed),
 * and told when it is over (peer_va_free), perhaps in parts. What a device has taken is no
 * record of ours: it is what the regions are, of an address space in which it has a context.
 *
 * Who is asked: a context that sees all its device can name. Where windows are added one by one
 * (gm_as_attach_sparse()) whoever adds them names the device's addresses too. Of contexts that
 * share a pmap its owner is asked.
 *
 * All devices or none: what some have given when another refuses is given back. A refusal
 * (-EEXIST) is -EADDRINUSE for whoever named the addresses; where they are ours to choose
 * others are tried, a bounded number of times (region.c, remap.c).
 *
 * Locking. The address space's, for writing: neither regions nor contexts change meanwhile.
 */
#include "core/core.h"

/* How much of [va, va+len) the device can name at all. */
static uint64_t within(const struct gm_mmu *mmu, uint64_t va, uint64_t len)
{
	uint64_t end = mmu->va_bits && mmu->va_bits < 64 ? 1ULL << mmu->va_bits : UINT64_MAX;

	return va < end ? GM_MIN(len, end - va) : 0;
}

static int take(struct gm_context *ctx, uint64_t va, uint64_t len, uint32_t prot)
{
	const struct gm_mmu *mmu = ctx->dev->mmu;
	int err;

	len = within(mmu, va, len);
	if (!ctx->asked || !mmu->peer_va_alloc_fixed || !len)
		return 0;
	gm_lock_check_may_sleep();
	err = mmu->peer_va_alloc_fixed(ctx->pmap, va, len, prot);
	return err == -EEXIST ? -EADDRINUSE : err;
}

static void give(struct gm_context *ctx, uint64_t va, uint64_t len)
{
	const struct gm_mmu *mmu = ctx->dev->mmu;

	len = within(mmu, va, len);
	if (!ctx->asked || !mmu->peer_va_free || !len)
		return;
	gm_lock_check_may_sleep();
	mmu->peer_va_free(ctx->pmap, va, len);
}

/* Ask all of @as's devices for [va, va+len). */
int gm_va_take(struct gm_as *as, uint64_t va, uint64_t len, uint32_t prot)
{
	struct gm_context *ctx;
	int err = 0;

	for (ctx = as->contexts; ctx; ctx = ctx->next) {
		err = take(ctx, va, len, prot);
		if (err)
			break;
	}
	for (struct gm_context *c = as->contexts; err && c != ctx; c = c->next)
		give(c, va, len);
	return err;
}

void gm_va_give(struct gm_as *as, uint64_t va, uint64_t len)
{
	for (struct gm_context *ctx = as->contexts; ctx; ctx = ctx->next)
		give(ctx, va, len);
}

/* A context comes: what is mapped already. */
int gm_va_attach(struct gm_context *ctx)
{
	struct gm_as *as = ctx->as;
	uint32_t i;
	int err = 0;

	for (i = 0; i < as->nr_regions; i++) {
		const struct gm_region *r = as->regions[i];

		err = take(ctx, r->va, r->len, r->prot);
		if (err)
			break;
	}
	while (err && i--)
		give(ctx, as->regions[i]->va, as->regions[i]->len);
	return err;
}

void gm_va_detach(struct gm_context *ctx)
{
	struct gm_as *as = ctx->as;

	for (uint32_t i = 0; i < as->nr_regions; i++)
		give(ctx, as->regions[i]->va, as->regions[i]->len);
}
