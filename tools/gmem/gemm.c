// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * C = A * B of square matrices of doubles, by tiles. A lane copies a tile of A and one
 * of B into memory of its own, as a kernel on a GPU does, multiplies, and writes a tile
 * of C when it is complete. Lanes take the tiles of C in turn, row by row: a row of
 * tiles of A stays on the device while B streams by.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "progress.h"
#include "util.h"

#define TILE 64U
#define TOLERANCE 1e-12 /* relative to the number of terms, each of magnitude below one */

struct tile {
	double v[TILE][TILE];
};

struct matrices {
	double *a, *b, *c;
};

struct gemm {
	struct matrices managed, plain;
	uint64_t n;	      /* rows and columns, a multiple of TILE */
	struct tile *scratch; /* three for each lane */
	uint64_t nr_wrong;
	double worst;
};

/* c += a * b. Both runs do their arithmetic here. */
static void multiply(struct tile *c, const struct tile *a, const struct tile *b)
{
	unsigned int i, j, k;

	for (i = 0; i < TILE; i++)
		for (k = 0; k < TILE; k++)
			for (j = 0; j < TILE; j++)
				c->v[i][j] += a->v[i][k] * b->v[k][j];
}

static double *tile_row(double *m, uint64_t n, uint64_t row, uint64_t column, unsigned int i)
{
	return m + (row * TILE + i) * n + column * TILE;
}

static int gemm_prepare(struct demo *d)
{
	struct gemm *g = xrealloc(NULL, 1, sizeof(*g));
	uint64_t i, elements;
	int err;

	*g = (struct gemm){ 0 };
	d->data = g;
	g->n = (uint64_t)sqrt((double)d->opt.size / (3 * sizeof(double))) / TILE * TILE;
	if (!g->n)
		return fail(RUN_BAD_INPUT,
			    "--size %llu is too small for gemm: give at least %u bytes",
			    (unsigned long long)d->opt.size,
			    (unsigned int)(3 * sizeof(struct tile)));
	elements = g->n * g->n;
	err = demo_arenas(d, 3 * elements * sizeof(double));
	if (err)
		return err;
	g->scratch = xrealloc(NULL, 3 * (d->opt.lanes + 1), sizeof(*g->scratch));
	g->managed.a = arena_alloc(&d->managed, elements * sizeof(double));
	g->managed.b = arena_alloc(&d->managed, elements * sizeof(double));
	g->managed.c = arena_alloc(&d->managed, elements * sizeof(double));
	g->plain.a = arena_alloc(&d->plain, elements * sizeof(double));
	g->plain.b = arena_alloc(&d->plain, elements * sizeof(double));
	g->plain.c = arena_alloc(&d->plain, elements * sizeof(double));
	progress_phase("filling the matrices", 0);
	for (i = 0; i < elements; i++) {
		g->plain.a[i] = random_double_at(d->opt.seed, i);
		g->plain.b[i] = random_double_at(~d->opt.seed, i);
	}
	memcpy(g->managed.a, g->plain.a, elements * sizeof(double));
	memcpy(g->managed.b, g->plain.b, elements * sizeof(double));
	return RUN_OK;
}

static void cpu_load(struct tile *t, double *m, uint64_t n, uint64_t row, uint64_t column)
{
	unsigned int i;

	for (i = 0; i < TILE; i++)
		memcpy(t->v[i], tile_row(m, n, row, column, i), sizeof(t->v[i]));
}

static int gemm_run_cpu(struct demo *d)
{
	struct gemm *g = d->data;
	struct matrices *m = &g->plain;
	uint64_t tiles = g->n / TILE, row, column, k;
	struct tile *t = g->scratch;
	unsigned int i;

	progress_phase("plain run", tiles * tiles);
	for (row = 0; row < tiles; row++) {
		for (column = 0; column < tiles; column++) {
			memset(&t[2], 0, sizeof(t[2]));
			for (k = 0; k < tiles; k++) {
				cpu_load(&t[0], m->a, g->n, row, k);
				cpu_load(&t[1], m->b, g->n, k, column);
				multiply(&t[2], &t[0], &t[1]);
			}
			for (i = 0; i < TILE; i++)
				memcpy(tile_row(m->c, g->n, row, column, i), t[2].v[i],
				       sizeof(t[2].v[i]));
			progress_add(1);
		}
	}
	return RUN_OK;
}

struct kernel_arg {
	const struct gemm *gemm;
	unsigned int lanes;
};

static void device_load(struct gm_sim_lane *lane, struct tile *t, double *m, uint64_t n,
			uint64_t row, uint64_t column)
{
	unsigned int i;

	for (i = 0; i < TILE; i++)
		gm_sim_read(lane, t->v[i], tile_row(m, n, row, column, i), sizeof(t->v[i]));
}

static void gemm_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	const struct gemm *g = arg->gemm;
	const struct matrices *m = &g->managed;
	struct tile *t = &g->scratch[3 * gm_sim_lane_id(lane)];
	uint64_t tiles = g->n / TILE, at, k;
	unsigned int i;

	for (at = gm_sim_lane_id(lane); at < tiles * tiles; at += arg->lanes) {
		memset(&t[2], 0, sizeof(t[2]));
		for (k = 0; k < tiles; k++) {
			device_load(lane, &t[0], m->a, g->n, at / tiles, k);
			device_load(lane, &t[1], m->b, g->n, k, at % tiles);
			multiply(&t[2], &t[0], &t[1]);
		}
		for (i = 0; i < TILE; i++)
			gm_sim_write(lane, tile_row(m->c, g->n, at / tiles, at % tiles, i),
				     t[2].v[i], sizeof(t[2].v[i]));
		progress_add(1);
	}
}

static int gemm_run_device(struct demo *d)
{
	struct gemm *g = d->data;
	struct kernel_arg arg = { .gemm = g, .lanes = gm_sim_lanes(d->sim) };

	progress_phase("accelerator", (g->n / TILE) * (g->n / TILE));
	return demo_launch(d, gemm_kernel, &arg);
}

static int gemm_verify(struct demo *d)
{
	struct gemm *g = d->data;
	double diff;
	uint64_t i;

	for (i = 0; i < g->n * g->n; i++) {
		diff = fabs(g->managed.c[i] - g->plain.c[i]);
		/* So that not-a-number counts as wrong. */
		if (!(diff <= TOLERANCE * (double)g->n))
			g->nr_wrong++;
		if (diff > g->worst)
			g->worst = diff;
	}
	d->verified = !g->nr_wrong;
	return RUN_OK;
}

static void gemm_print(const struct demo *d, FILE *out)
{
	const struct gemm *g = d->data;
	double flop = 2.0 * (double)g->n * (double)g->n * (double)g->n;

	fprintf(out, "C = A B of %llu x %llu doubles: %.2f Gflop/s, %.2f in the plain run\n\n",
		(unsigned long long)g->n, (unsigned long long)g->n, flop / d->seconds_device * 1e-9,
		flop / d->seconds_plain * 1e-9);
	if (g->nr_wrong)
		fprintf(out, "  %s elements are wrong\n\n", count_text(g->nr_wrong).s);
}

static int gemm_describe(const struct demo *d, json_t *object)
{
	const struct gemm *g = d->data;

	if (json_object_set_new(object, "n", json_integer((json_int_t)g->n)) ||
	    json_object_set_new(object, "wrong", json_integer((json_int_t)g->nr_wrong)) ||
	    json_object_set_new(object, "max_difference", json_real(g->worst)))
		return -1;
	return 0;
}

static void gemm_release(struct demo *d)
{
	struct gemm *g = d->data;

	if (g)
		free(g->scratch);
	free(g);
}

const struct workload workload_gemm = {
	.name = "gemm",
	.summary = "C = A B of square matrices, by tiles",
	.takes = TAKES_SIZE | TAKES_SEED,
	.default_size = 12ULL << 20,
	.prepare = gemm_prepare,
	.run_cpu = gemm_run_cpu,
	.run_device = gemm_run_device,
	.verify = gemm_verify,
	.print = gemm_print,
	.describe = gemm_describe,
	.release = gemm_release,
};
