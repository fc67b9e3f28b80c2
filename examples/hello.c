// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include <stdio.h>
#include <gmem/sim.h>

static void increment(struct gm_sim_lane *lane, void *counter)
{
	gm_sim_add64(lane, counter, 1); /* runs on each of the device's four lanes */
}

int main(void)
{
	struct gm_sim *sim;
	struct gm_as *as;
	struct gm_sim_ctx *ctx;
	void *mem;

	if (gm_sim_create(NULL, &sim) || gm_as_create(NULL, &as) || gm_sim_attach(sim, as, &ctx) ||
	    gm_alloc(as, 1 << 20, 0, &mem))
		return 1;
	uint64_t *counter = mem;
	*counter = 38;					  /* the CPU writes */
	int err = gm_sim_launch(ctx, increment, counter); /* the device increments */
	printf("%lu\n", *counter);			  /* the CPU reads 42 */
	return err || *counter != 42 || gm_as_destroy(as) || gm_sim_destroy(sim);
}
