// SPDX-License-Identifier: GPL-2.0-only OR MIT
// One pointer for the CPU and an accelerator: gcc hello.c $(pkg-config --cflags --libs gmem-sim)
#include <stdio.h>
#include <gmem/sim.h>

static void increment(struct gm_sim_lane *lane, void *counter)
{
	gm_sim_add64(lane, counter, 1); /* runs on every lane of the device */
}

int main(void)
{
	struct gm_as *as;
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
	void *mem;

	if (gm_sim_create(NULL, &sim) || gm_as_create(NULL, &as) || gm_sim_attach(sim, as, &ctx) ||
	    gm_alloc(as, 1 << 20, 0, &mem))
		return 1;
	uint64_t *counter = mem;
	*counter = 38;					  /* the CPU writes */
	int err = gm_sim_launch(ctx, increment, counter); /* the device increments */
	printf("%llu\n", (unsigned long long)*counter);	  /* the CPU reads 42 */
	return err || gm_sim_detach(ctx) || gm_sim_destroy(sim) || gm_as_destroy(as);
}
