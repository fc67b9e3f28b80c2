// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * All that a driver has to do with gmem besides its MMU functions: the table of
 * these functions, probe and remove, attach and detach, and the service of faults.
 * docs/driver-guide.md explains it; tests/unit/check_driver_size.py counts it.
 */
#include "sim_dev.h"

static const struct gm_mmu sim_ops = {
	.size = sizeof(struct gm_mmu),
	.pmap_create = gm_sim_op_pmap_create,
	.pmap_destroy = gm_sim_op_pmap_destroy,
	.pmap_enter = gm_sim_op_pmap_enter,
	.pmap_release = gm_sim_op_pmap_release,
	.pmap_protect = gm_sim_op_pmap_protect,
	.tlb_invl = gm_sim_op_tlb_invl,
	.tlb_invl_coalesced = gm_sim_op_tlb_invl_coalesced,
	.copy = gm_sim_op_copy,
	.zero = gm_sim_op_zero,
	.copy_peer = gm_sim_op_copy_peer,
	.pmap_enter_host = gm_sim_op_pmap_enter_host,
	.pmap_enter_peer = gm_sim_op_pmap_enter_peer,
	.pmap_share = gm_sim_op_pmap_share,
	.peer_va_alloc_fixed = gm_sim_op_peer_va_alloc_fixed,
	.peer_va_free = gm_sim_op_peer_va_free,
};

int gm_sim_probe(struct gm_sim *sim)
{
	uint64_t begin = sim->mmu.base, end = begin + sim->mmu.data;
	int err;

	sim->ops = sim_ops;
	sim->ops.pgsize_bitmap = sim->mmu.pgsizes;
	sim->ops.va_bits = sim->va_bits;
	gm_sim_peer_ops(sim, &sim->ops);
	sim->ops.cookie = sim->flags & GM_SIM_NO_ATOMICS ? 0 : GM_SIM_COOKIE;
	err = gm_dev_create(&sim->ops, sim->name, sim, &sim->dev);
	if (err)
		return err;
	if (sim->flags & GM_SIM_APERTURE)
		err = gm_dev_register_physmem_cpu(sim->dev, begin, end, (uintptr_t)sim->mmu.mem);
	else
		err = gm_dev_register_physmem(sim->dev, begin, end);
	if (err)
		gm_dev_destroy(sim->dev);
	return err;
}

/* Its device is no more in use, or is pulled out all the same. */
int gm_sim_remove(struct gm_sim *sim, bool in_use)
{
	return in_use ? gm_dev_remove(sim->dev) : gm_dev_destroy(sim->dev);
}

int gm_sim_attach(struct gm_sim *sim, struct gm_as *as, struct gm_sim_ctx **ctx)
{
	struct gm_context *gm;
	int err;

	if (!sim || !ctx)
		return -EINVAL;
	err = (sim->flags & GM_SIM_SPARSE ? gm_as_attach_sparse : gm_as_attach)(as, sim->dev,
										sim->mode, &gm);
	if (err)
		return err;
	*ctx = gm_context_pmap(gm);
	(*ctx)->gm = gm;
	return 0;
}

int gm_sim_leave(struct gm_sim_ctx *ctx)
{
	return gm_as_detach(ctx->gm);
}

/* For the fault thread: what it found in the device's fault buffer. */
void gm_sim_service(struct gm_sim_ctx *ctx, struct gm_fault *faults, unsigned int n)
{
	gm_dev_fault_batch(ctx->gm, faults, n);
}

/* For a device without a fault thread. */
int gm_sim_service_one(struct gm_sim_ctx *ctx, uint64_t va, uint32_t access)
{
	return gm_dev_fault(ctx->gm, va, access);
}
