// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Random updates of a table, as in the RandomAccess benchmark: each update XORs a number
 * into a word, and both come from the number of the update. It is the worst there is for
 * a device memory smaller than the table: nearly every update finds its page gone.
 *
 * XOR undoes itself and no order matters, so the CPU checks by applying all updates
 * again, in place: the table must then be what it was at first.
 */
#include <stdlib.h>

#include "demo.h"
#include "progress.h"
#include "util.h"

#define BATCH 1024U /* updates: what --iterations counts */
#define STEP 64U    /* updates between two reports of progress */

struct gups {
	uint64_t *managed, *plain;
	uint64_t words;
	uint64_t updates;
	uint64_t seed;
	uint64_t nr_differ; /* words that differ from the plain run's */
	uint64_t nr_wrong;  /* words that are not what they were after undoing */
};

static uint64_t update_value(const struct gups *g, uint64_t update)
{
	return random_at(g->seed, update);
}

static uint64_t update_word(const struct gups *g, uint64_t update)
{
	return random_at(~g->seed, update) % g->words;
}

static int gups_prepare(struct demo *d)
{
	struct gups *g = xrealloc(NULL, 1, sizeof(*g));
	uint64_t i;
	int err;

	*g = (struct gups){
		.words = d->opt.size / sizeof(uint64_t),
		.updates = d->opt.iterations * BATCH,
		.seed = d->opt.seed,
	};
	d->data = g;
	if (!g->words)
		return fail(RUN_BAD_INPUT,
			    "--size %llu is too small for gups: give at least 8 bytes",
			    (unsigned long long)d->opt.size);
	err = demo_arenas(d, g->words * sizeof(uint64_t));
	if (err)
		return err;
	g->managed = arena_alloc(&d->managed, g->words * sizeof(uint64_t));
	g->plain = arena_alloc(&d->plain, g->words * sizeof(uint64_t));
	progress_phase("filling the table", 0);
	for (i = 0; i < g->words; i++) {
		g->managed[i] = i;
		g->plain[i] = i;
	}
	return RUN_OK;
}

static int gups_run_cpu(struct demo *d)
{
	struct gups *g = d->data;
	uint64_t i;

	progress_phase("plain run", 0);
	for (i = 0; i < g->updates; i++)
		g->plain[update_word(g, i)] ^= update_value(g, i);
	return RUN_OK;
}

struct kernel_arg {
	const struct gups *gups;
	unsigned int lanes;
};

static void gups_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	const struct gups *g = arg->gups;
	uint64_t i, nr = 0;

	for (i = gm_sim_lane_id(lane); i < g->updates; i += arg->lanes) {
		gm_sim_xor64(lane, &g->managed[update_word(g, i)], update_value(g, i));
		if (++nr % STEP == 0)
			progress_add(STEP);
	}
}

static int gups_run_device(struct demo *d)
{
	struct gups *g = d->data;
	struct kernel_arg arg = { .gups = g, .lanes = gm_sim_lanes(d->sim) };

	progress_phase("accelerator", g->updates);
	return demo_launch(d, gups_kernel, &arg);
}

static int gups_verify(struct demo *d)
{
	struct gups *g = d->data;
	uint64_t i;

	for (i = 0; i < g->words; i++)
		if (g->managed[i] != g->plain[i])
			g->nr_differ++;
	for (i = 0; i < g->updates; i++)
		g->managed[update_word(g, i)] ^= update_value(g, i);
	for (i = 0; i < g->words; i++)
		if (g->managed[i] != i)
			g->nr_wrong++;
	d->verified = !g->nr_differ && !g->nr_wrong;
	return RUN_OK;
}

static void gups_print(const struct demo *d, FILE *out)
{
	const struct gups *g = d->data;

	fprintf(out, "%s updates at random of %s words: %.6f GUPS, %.6f in the plain run\n\n",
		count_text(g->updates).s, count_text(g->words).s,
		(double)g->updates / d->seconds_device * 1e-9,
		(double)g->updates / d->seconds_plain * 1e-9);
	if (g->nr_differ || g->nr_wrong)
		fprintf(out,
			"  %s words differ from the plain run's, %s are wrong after undoing\n\n",
			count_text(g->nr_differ).s, count_text(g->nr_wrong).s);
}

static int gups_describe(const struct demo *d, json_t *object)
{
	const struct gups *g = d->data;

	if (json_object_set_new(object, "words", json_integer((json_int_t)g->words)) ||
	    json_object_set_new(object, "updates", json_integer((json_int_t)g->updates)) ||
	    json_object_set_new(object, "differ", json_integer((json_int_t)g->nr_differ)) ||
	    json_object_set_new(object, "wrong", json_integer((json_int_t)g->nr_wrong)))
		return -1;
	return 0;
}

static void gups_release(struct demo *d)
{
	free(d->data);
}

const struct workload workload_gups = {
	.name = "gups",
	.summary = "random updates of a table by atomic XOR",
	.takes = TAKES_ITERATIONS | TAKES_SIZE | TAKES_SEED,
	.default_size = 16ULL << 20,
	.default_iterations = 16,
	.prepare = gups_prepare,
	.run_cpu = gups_run_cpu,
	.run_device = gups_run_device,
	.verify = gups_verify,
	.print = gups_print,
	.describe = gups_describe,
	.release = gups_release,
};
