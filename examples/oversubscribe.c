// SPDX-License-Identifier: GPL-2.0-only OR MIT
// A device works on four times as much memory as it has: what is cold moves out by itself.
#include <errno.h>
#include <stdio.h>
#include <gmem/sim.h>

#define DEVICE (8UL << 20)
#define DATA (4 * DEVICE)
#define N (DATA / sizeof(uint64_t))

struct job {
	uint64_t *data;
	uint64_t *sums; /* one for each lane */
	unsigned int lanes;
};

/* Runs on every lane: each has a part of the data, squares it and adds it up. */
static void square(struct gm_sim_lane *lane, void *arg)
{
	const struct job *job = arg;
	unsigned int id = gm_sim_lane_id(lane);
	uint64_t line[GM_PAGE_SIZE / sizeof(uint64_t)], sum = 0;
	uint64_t part = N / job->lanes, per_line = sizeof(line) / sizeof(line[0]);

	for (uint64_t i = id * part; i < (id + 1) * part; i += per_line) {
		gm_sim_read(lane, line, job->data + i, sizeof(line));
		for (uint64_t k = 0; k < per_line; k++) {
			line[k] *= line[k];
			sum += line[k];
		}
		gm_sim_write(lane, job->data + i, line, sizeof(line));
	}
	gm_sim_store64(lane, job->sums + id, sum);
}

static int work(struct gm_as *as, struct gm_sim *sim, struct gm_sim_ctx *ctx)
{
	struct gm_stats stats = { .size = sizeof(stats) };
	struct job job = { .lanes = gm_sim_lanes(sim) };
	uint64_t cpu = 0, device = 0;
	void *data, *sums;
	int err;

	err = gm_alloc(as, DATA, 0, &data);
	if (!err)
		err = gm_alloc(as, GM_PAGE_SIZE, 0, &sums);
	if (err)
		return err;
	job.data = data;
	job.sums = sums;
	for (uint64_t i = 0; i < N; i++)
		job.data[i] = i % 1000;
	err = gm_sim_launch(ctx, square, &job);
	if (err)
		return err;
	for (unsigned int i = 0; i < job.lanes; i++)
		device += job.sums[i];
	for (uint64_t i = 0; i < N; i++)
		cpu += job.data[i];
	err = gm_dev_stats(gm_sim_dev(sim), &stats);
	if (err)
		return err;
	printf("%lu MiB of data, %lu MiB of device memory: %llu MiB went in, %llu MiB were "
	       "evicted\n",
	       DATA >> 20, DEVICE >> 20, (unsigned long long)stats.bytes_to_dev >> 20,
	       (unsigned long long)stats.pages_evicted * GM_PAGE_SIZE >> 20);
	printf("the device's sum %llu, the CPU's %llu\n", (unsigned long long)device,
	       (unsigned long long)cpu);
	return cpu == device && stats.evictions ? 0 : -EIO;
}

int main(void)
{
	struct gm_sim_options opt = { .size = sizeof(opt), .memory = DEVICE };
	struct gm_as *as;
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
	int err;

	err = gm_sim_create(&opt, &sim);
	if (err)
		goto err_say;
	err = gm_as_create(NULL, &as);
	if (err)
		goto err_sim;
	err = gm_sim_attach(sim, as, &ctx);
	if (!err)
		err = work(as, sim, ctx);
	gm_as_destroy(as);
err_sim:
	gm_sim_destroy(sim);
err_say:
	if (err)
		fprintf(stderr, "oversubscribe: %s\n", gm_strerror(err));
	return err ? 1 : 0;
}
