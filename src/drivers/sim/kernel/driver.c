// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * All that a driver in the kernel has to do with gmem besides its MMU functions: the
 * table of these functions, probe and remove, attach and detach, and the service of
 * faults. The user-space driver's twin; docs/driver-guide.md explains it.
 */
#include "sim_k.h"

static const struct gm_mmu ksim_ops = {
	.size = sizeof(struct gm_mmu),
	.pmap_create = gm_ksim_pmap_create,
	.pmap_destroy = gm_ksim_pmap_destroy,
	.pmap_enter = gm_ksim_pmap_enter,
	.pmap_release = gm_ksim_pmap_release,
	.pmap_protect = gm_ksim_pmap_protect,
	.tlb_invl = gm_ksim_tlb_invl,
	.tlb_invl_coalesced = gm_ksim_tlb_invl_coalesced,
	.copy = gm_ksim_copy,
	.zero = gm_ksim_zero,
	.copy_peer = gm_ksim_copy_peer,
	.pmap_enter_host = gm_ksim_pmap_enter_host,
	.pmap_enter_peer = gm_ksim_pmap_enter_peer,
	.pmap_share = gm_ksim_pmap_share,
	.peer_va_alloc_fixed = gm_ksim_peer_va_alloc_fixed,
	.peer_va_free = gm_ksim_peer_va_free,
};

/* The id of its node, or -errno. */
int gm_ksim_probe(struct gm_ksim *sim)
{
	uint64_t begin = sim->mmu.base, end = begin + sim->mmu.data;
	struct gm_dev *dev;
	int err;

	sim->ops = ksim_ops;
	sim->ops.pgsize_bitmap = sim->mmu.pgsizes;
	sim->ops.va_bits = sim->va_bits;
	gm_ksim_peer_ops(sim, &sim->ops);
	sim->ops.cookie = sim->flags & GMEM_SIM_NO_ATOMICS ? 0 : GM_SIM_COOKIE;
	err = gm_dev_create(&sim->ops, sim->name, sim, &dev);
	if (err)
		return err;
	if (sim->cpu)
		err = gm_dev_register_physmem_cpu(dev, begin, end, sim->cpu);
	else
		err = gm_dev_register_physmem(dev, begin, end);
	if (err)
		gm_dev_destroy(dev);
	sim->dev = err ? NULL : dev;
	return err ? err : gm_dev_hnode(dev);
}

/* Its device is no more in use, or is pulled out all the same. */
int gm_ksim_remove(struct gm_ksim *sim, bool in_use)
{
	return in_use ? gm_dev_remove(sim->dev) : gm_dev_destroy(sim->dev);
}

int gm_ksim_attach(struct gm_ksim *sim, int as_fd, struct gm_ksim_ctx **ctx)
{
	struct gm_context *gm;
	struct gm_as *as;
	int err = gm_as_from_fd(as_fd, &as);

	if (err)
		return err;
	err = (sim->flags & GMEM_SIM_SPARSE ? gm_as_attach_sparse : gm_as_attach)(as, sim->dev,
										  sim->mode, &gm);
	gm_as_release(as);
	if (err)
		return err;
	*ctx = gm_context_pmap(gm);
	(*ctx)->gm = gm;
	return 0;
}

int gm_ksim_detach(struct gm_ksim_ctx *ctx)
{
	return gm_as_detach(ctx->gm); /* frees ctx */
}

int gm_ksim_service(struct gm_ksim_ctx *ctx, u64 va, u32 access)
{
	return gm_dev_fault(ctx->gm, va, access);
}
