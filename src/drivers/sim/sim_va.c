// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Addresses that the device uses for itself, as one with an operating system of its own does.
 *
 * Which these are a test says, by gm_sim_occupy(). Any others gmem may have; how many bytes
 * of them it has now is counted, for whoever looks for addresses that were not given back.
 *
 * Locking: inject_lock over the list.
 */
#include "sim_dev.h"

int gm_sim_occupy(struct gm_sim *sim, uint64_t va, uint64_t len, int on)
{
	unsigned int i = 0;
	int err = -EINVAL;

	if (!sim || !len || va + len < va)
		return err;
	pthread_mutex_lock(&sim->inject_lock);
	while (i < GM_SIM_OCCUPIED &&
	       (on ? sim->occupied[i].size
		   : sim->occupied[i].va != va || sim->occupied[i].size != len))
		i++;
	if (i < GM_SIM_OCCUPIED) {
		sim->occupied[i] = (struct gm_tlb_range){ .va = on ? va : 0, .size = on ? len : 0 };
		err = 0;
	}
	pthread_mutex_unlock(&sim->inject_lock);
	return err;
}

int gm_sim_op_peer_va_alloc_fixed(void *pmap, uint64_t va, uint64_t size, uint32_t prot)
{
	struct gm_sim *sim = ((struct gm_sim_ctx *)pmap)->sim;
	int err = 0;

	(void)prot;
	pthread_mutex_lock(&sim->inject_lock);
	for (unsigned int i = 0; i < GM_SIM_OCCUPIED; i++) {
		const struct gm_tlb_range *r = &sim->occupied[i];

		if (r->va < va + size && va < r->va + r->size)
			err = -EEXIST;
	}
	pthread_mutex_unlock(&sim->inject_lock);
	if (!err)
		gm_sim_count(&sim->stats.addresses, size);
	return err;
}

void gm_sim_op_peer_va_free(void *pmap, uint64_t va, uint64_t size)
{
	struct gm_sim *sim = ((struct gm_sim_ctx *)pmap)->sim;

	(void)va;
	gm_sim_count(&sim->stats.addresses, -size);
}
