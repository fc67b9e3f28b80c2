// SPDX-License-Identifier: GPL-2.0-only OR MIT
// The six functions of openEuler's libgmem, as a program that was written for them uses them.
#include <stdio.h>
#include <gmem/sim.h>
#define GMEM_MALLOC /* malloc, free and realloc are gmem's from here on, in this file */
#include <gmem/libgmem.h>

#define N 100000

struct job {
	double *x;
	unsigned int lanes;
};

static void halve(struct gm_sim_lane *lane, void *arg)
{
	const struct job *job = arg;

	for (unsigned int i = gm_sim_lane_id(lane); i < N; i += job->lanes)
		gm_sim_storef64(lane, job->x + i, gm_sim_loadf64(lane, job->x + i) / 2);
}

/* What is there the runtime library's: to put a device into use. */
static int open_device(struct gm_sim **sim, struct gm_as **as, struct gm_sim_ctx **ctx)
{
	int err = gm_sim_create(NULL, sim);

	if (!err)
		err = gmemAddressSpace(as);
	if (!err)
		err = gm_sim_attach(*sim, *as, ctx);
	if (!err)
		gmemSetDevice(gm_dev_hnode(gm_sim_dev(*sim)), NULL);
	return err;
}

int main(void)
{
	struct gm_sim *sim;
	struct gm_as *as;
	struct gm_sim_ctx *ctx;
	struct job job;
	double sum = 0;
	int err = open_device(&sim, &as, &ctx);

	if (err) {
		fprintf(stderr, "no device: %s\n", gm_strerror(err));
		return 1;
	}
	job.lanes = gm_sim_lanes(sim);
	job.x = malloc(N / 2 * sizeof(*job.x));
	if (job.x)
		job.x = realloc(job.x, N * sizeof(*job.x));
	if (!job.x)
		return 1;
	for (unsigned int i = 0; i < N; i++)
		job.x[i] = i;
	if (gmemPrefetch((unsigned long)job.x, N * sizeof(*job.x), gmemGetNumaId(), NULL) ||
	    gm_sim_launch(ctx, halve, &job))
		return 1;
	for (unsigned int i = 0; i < N; i++)
		sum += job.x[i];
	printf("%.1f\n", sum);
	err = gmemFreeEager((unsigned long)job.x, N * sizeof(*job.x), NULL);
	free(job.x);
	return err || gm_sim_detach(ctx) || gm_sim_destroy(sim) || gm_as_destroy(as);
}
