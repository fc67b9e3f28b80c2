// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The fault buffer and the fault thread.
 *
 * A lane without a translation puts a fault into the buffer, or waits for room in
 * it, and sleeps until it is told to make its access again. The fault thread takes
 * all that is in the buffer, strikes out what is there twice, has gmem service the
 * rest and replays the lanes. A fault that is serviced may fault again: the page
 * may have been taken away before the replay.
 *
 * A lane has at most one fault, and only one context uses the lanes at a time, so a
 * batch belongs to one context and is never longer than the number of lanes.
 *
 * With GM_SIM_SYNC_FAULTS there is no thread: the lane services its fault itself.
 */
#include "sim_dev.h"

#include <stdlib.h>

static int fault_queue(struct gm_sim_lane *lane, uint64_t va, uint32_t access)
{
	struct gm_sim_faults *fb = &lane->sim->fault;
	int err;

	pthread_mutex_lock(&fb->lock);
	while (fb->n == fb->size)
		pthread_cond_wait(&fb->room, &fb->lock);
	fb->buffer[fb->n++] = (struct gm_sim_fault){ .lane = lane, .va = va, .access = access };
	gm_sim_count(&lane->sim->stats.faults, 1);
	pthread_cond_signal(&fb->work);
	lane->waiting = true;
	while (lane->waiting)
		pthread_cond_wait(&lane->replay, &fb->lock);
	err = lane->fault_err;
	pthread_mutex_unlock(&fb->lock);
	return err;
}

int gm_sim_fault(struct gm_sim_lane *lane, uint64_t va, uint32_t access)
{
	/* What changes memory is a write, what else it may be. */
	access = access & GM_WRITE ? access & (GM_WRITE | GM_ATOMIC) : GM_READ;
	if (!(lane->sim->flags & GM_SIM_SYNC_FAULTS))
		return fault_queue(lane, va, access);
	gm_sim_count(&lane->sim->stats.faults, 1);
	gm_sim_count(&lane->sim->stats.fault_batches, 1);
	return gm_sim_service_one(lane->ctx, va, access);
}

/* The report of the same page and access among the first @n, or NULL. */
static struct gm_fault *report_find(struct gm_sim_faults *fb, unsigned int n,
				    const struct gm_sim_fault *f)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (fb->reports[i].va / GM_SIM_4K == f->va / GM_SIM_4K &&
		    fb->reports[i].access == f->access)
			return &fb->reports[i];
	return NULL;
}

static void batch_service(struct gm_sim *sim, unsigned int n)
{
	struct gm_sim_faults *fb = &sim->fault;
	unsigned int i, nr_reports = 0;

	for (i = 0; i < n; i++)
		if (!report_find(fb, nr_reports, &fb->batch[i]))
			fb->reports[nr_reports++] = (struct gm_fault){
				.va = fb->batch[i].va, .access = fb->batch[i].access
			};
	gm_sim_count(&sim->stats.fault_batches, 1);
	gm_sim_service(fb->batch[0].lane->ctx, fb->reports, nr_reports);

	pthread_mutex_lock(&fb->lock);
	for (i = 0; i < n; i++) {
		struct gm_sim_lane *lane = fb->batch[i].lane;

		/* gmem has sorted the reports. */
		lane->fault_err = report_find(fb, nr_reports, &fb->batch[i])->err;
		lane->waiting = false;
		pthread_cond_signal(&lane->replay);
	}
	pthread_mutex_unlock(&fb->lock);
}

/* Empty the buffer into the batch; returns how many, 0: the device is taken down. */
static unsigned int batch_take(struct gm_sim_faults *fb)
{
	unsigned int n;

	pthread_mutex_lock(&fb->lock);
	while (!fb->n && !fb->stop)
		pthread_cond_wait(&fb->work, &fb->lock);
	n = fb->n;
	memcpy(fb->batch, fb->buffer, n * sizeof(*fb->batch));
	fb->n = 0;
	pthread_cond_broadcast(&fb->room);
	pthread_mutex_unlock(&fb->lock);
	return n;
}

static void *fault_thread(void *arg)
{
	struct gm_sim *sim = arg;
	unsigned int n;

	while ((n = batch_take(&sim->fault)))
		batch_service(sim, n);
	return NULL;
}

int gm_sim_faults_init(struct gm_sim *sim, unsigned int size)
{
	struct gm_sim_faults *fb = &sim->fault;
	int err;

	pthread_mutex_init(&fb->lock, NULL);
	pthread_cond_init(&fb->work, NULL);
	pthread_cond_init(&fb->room, NULL);
	if (sim->flags & GM_SIM_SYNC_FAULTS)
		return 0;

	fb->size = size < sim->nr_lanes ? size : sim->nr_lanes;
	fb->buffer = calloc(fb->size, sizeof(*fb->buffer));
	fb->batch = calloc(fb->size, sizeof(*fb->batch));
	fb->reports = calloc(fb->size, sizeof(*fb->reports));
	err = -ENOMEM;
	if (!fb->buffer || !fb->batch || !fb->reports)
		goto err_fini;
	err = gm_sim_thread(&fb->thread, fault_thread, sim);
	if (err)
		goto err_fini;
	fb->started = true;
	return 0;

err_fini:
	gm_sim_faults_fini(sim);
	return err;
}

void gm_sim_faults_fini(struct gm_sim *sim)
{
	struct gm_sim_faults *fb = &sim->fault;

	pthread_mutex_lock(&fb->lock);
	fb->stop = true;
	pthread_cond_signal(&fb->work);
	pthread_mutex_unlock(&fb->lock);
	if (fb->started)
		pthread_join(fb->thread, NULL);
	free(fb->reports);
	free(fb->batch);
	free(fb->buffer);
	pthread_cond_destroy(&fb->room);
	pthread_cond_destroy(&fb->work);
	pthread_mutex_destroy(&fb->lock);
}
