// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A hash join: for each row of a large table, the payload of the row of a small one that has
 * the same key; one in eight has no such row.
 *
 * Build: count how many keys fall into each bucket, add the counts up, and put each row of the
 * small table into its bucket. Probe: read the large table in order, and look into one
 * bucket for each row. So half of what is touched is touched in order and once, and the rest
 * at random.
 *
 * Keys of the small table differ, so the result does not depend on the order in which lanes
 * fill a bucket.
 */
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "progress.h"
#include "util.h"

#define CHUNK 32U     /* rows: a page */
#define PROBES 4U     /* rows of the large table for each of the small one */
#define PER_BUCKET 2U /* rows, on average */
#define MISSING 8U    /* one row of so many finds nothing */

struct row {
	uint64_t key, payload;
	uint64_t other[14]; /* columns that nobody asked for */
};

/* Of the small table: in both its places, a head at most, and what it is probed with. */
#define BYTES_PER_ROW                                                                              \
	(2 * sizeof(struct row) + sizeof(uint64_t) +                                               \
	 PROBES * (sizeof(struct row) + sizeof(uint64_t)))

/* All of it: in managed memory, or in ordinary. */
struct tables {
	struct row *build, *probe;
	uint64_t *head;	    /* where each bucket ends; while it is filled, begins */
	struct row *bucket; /* rows of the small table, by bucket */
	uint64_t *result;   /* for each row of the large table */
};

struct join {
	struct tables managed, plain;
	uint64_t rows, probes, buckets;
	uint64_t nr_wrong;
};

static uint64_t key_of(uint64_t seed, uint64_t row)
{
	return (seed + row + 1) * 0x9e3779b97f4a7c15ULL; /* they differ, for it is odd */
}

static uint64_t bucket_of(const struct join *j, uint64_t key)
{
	return (key ^ key >> 29) * 0xbf58476d1ce4e5b9ULL >> 20 & (j->buckets - 1);
}

static void tables_alloc(struct tables *t, struct arena *a, const struct join *j)
{
	t->build = arena_alloc(a, j->rows * sizeof(struct row));
	t->head = arena_alloc(a, (j->buckets + 1) * sizeof(uint64_t));
	t->bucket = arena_alloc(a, j->rows * sizeof(struct row));
	t->probe = arena_alloc(a, j->probes * sizeof(struct row));
	t->result = arena_alloc(a, j->probes * sizeof(uint64_t));
}

static void tables_fill(struct tables *t, const struct join *j, uint64_t seed)
{
	uint64_t i;

	for (i = 0; i < j->rows; i++)
		t->build[i] = (struct row){ key_of(seed, i), random_at(seed, i) | 1, { 0 } };
	for (i = 0; i < j->probes; i++) {
		uint64_t r = random_at(~seed, i);

		/* Rows past the last have keys that nothing has. */
		r = r % MISSING ? (r >> 3) % j->rows : j->rows + i;
		t->probe[i] = (struct row){ key_of(seed, r), i, { 0 } };
	}
}

static int join_prepare(struct demo *d)
{
	struct join *j = xrealloc(NULL, 1, sizeof(*j));
	int err;

	*j = (struct join){ .rows = d->opt.size / BYTES_PER_ROW / CHUNK * CHUNK };
	d->data = j;
	if (!j->rows)
		return fail(RUN_BAD_INPUT,
			    "--size %llu is too small for join: give at least %zu "
			    "bytes",
			    (unsigned long long)d->opt.size, BYTES_PER_ROW * CHUNK);
	j->probes = PROBES * j->rows;
	for (j->buckets = 1; PER_BUCKET * j->buckets < j->rows;)
		j->buckets *= 2;
	err = demo_arenas(d, j->rows * (2 * sizeof(struct row)) +
				     j->probes * (sizeof(struct row) + sizeof(uint64_t)) +
				     (j->buckets + 1) * sizeof(uint64_t) + 8 * ARENA_ALIGN);
	if (err)
		return err;
	progress_phase("filling the tables", 0);
	tables_alloc(&j->managed, &d->managed, j);
	tables_alloc(&j->plain, &d->plain, j);
	tables_fill(&j->managed, j, d->opt.seed);
	tables_fill(&j->plain, j, d->opt.seed);
	return RUN_OK;
}

static int join_run_cpu(struct demo *d)
{
	struct join *j = d->data;
	struct tables *t = &j->plain;
	uint64_t i, at, b;

	progress_phase("plain run", 0);
	for (i = 0; i < j->rows; i++)
		t->head[bucket_of(j, t->build[i].key) + 1]++;
	for (b = 0; b < j->buckets; b++)
		t->head[b + 1] += t->head[b];
	for (i = j->rows; i--;)
		t->bucket[--t->head[bucket_of(j, t->build[i].key) + 1]] = t->build[i];
	/* Each head is now where its bucket begins, one further on. */
	for (i = 0; i < j->probes; i++) {
		b = bucket_of(j, t->probe[i].key);
		for (at = t->head[b + 1]; at < (b + 2 <= j->buckets ? t->head[b + 2] : j->rows);
		     at++)
			if (t->bucket[at].key == t->probe[i].key)
				t->result[i] = t->bucket[at].payload;
	}
	return RUN_OK;
}

struct kernel_arg {
	const struct join *join;
	unsigned int lanes;
};

/* How many rows of each bucket, at the head of the next. */
static void count_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	const struct join *j = arg->join;
	struct row rows[CHUNK];
	uint64_t at, i;

	for (at = gm_sim_lane_id(lane) * CHUNK; at < j->rows; at += arg->lanes * CHUNK) {
		gm_sim_read(lane, rows, &j->managed.build[at], sizeof(rows));
		for (i = 0; i < CHUNK; i++)
			gm_sim_add64(lane, &j->managed.head[bucket_of(j, rows[i].key) + 1], 1);
		progress_add(CHUNK);
	}
}

/* One lane adds them up; then the head of a bucket is where the one before ends. */
static void sum_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	const struct join *j = arg->join;
	uint64_t b, sum = 0;

	for (b = 0; b < j->buckets && !gm_sim_lane_id(lane); b++) {
		sum += gm_sim_load64(lane, &j->managed.head[b + 1]);
		gm_sim_store64(lane, &j->managed.head[b + 1], sum);
	}
}

/* Fill the buckets from their ends; then a head is where its own bucket begins, one further on. */
static void build_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	const struct join *j = arg->join;
	struct row rows[CHUNK];
	uint64_t at, i, to;

	for (at = gm_sim_lane_id(lane) * CHUNK; at < j->rows; at += arg->lanes * CHUNK) {
		gm_sim_read(lane, rows, &j->managed.build[at], sizeof(rows));
		for (i = 0; i < CHUNK; i++) {
			to = gm_sim_add64(lane, &j->managed.head[bucket_of(j, rows[i].key) + 1],
					  UINT64_MAX) -
			     1;
			gm_sim_write(lane, &j->managed.bucket[to], &rows[i], sizeof(rows[i]));
		}
		progress_add(CHUNK);
	}
}

static uint64_t probe_one(struct gm_sim_lane *lane, const struct join *j, uint64_t key)
{
	uint64_t b = bucket_of(j, key), at, end;
	struct row row;

	at = gm_sim_load64(lane, &j->managed.head[b + 1]);
	end = b + 2 <= j->buckets ? gm_sim_load64(lane, &j->managed.head[b + 2]) : j->rows;
	for (; at < end; at++) {
		gm_sim_read(lane, &row, &j->managed.bucket[at], sizeof(row));
		if (row.key == key)
			return row.payload;
	}
	return 0;
}

static void probe_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	const struct join *j = arg->join;
	struct row rows[CHUNK];
	uint64_t found[CHUNK], at, i;

	for (at = gm_sim_lane_id(lane) * CHUNK; at < j->probes; at += arg->lanes * CHUNK) {
		gm_sim_read(lane, rows, &j->managed.probe[at], sizeof(rows));
		for (i = 0; i < CHUNK; i++)
			found[i] = probe_one(lane, j, rows[i].key);
		gm_sim_write(lane, &j->managed.result[at], found, sizeof(found));
		progress_add(CHUNK);
	}
}

static int join_run_device(struct demo *d)
{
	static gm_sim_kernel_fn *const kernels[] = { count_kernel, sum_kernel, build_kernel,
						     probe_kernel };
	struct join *j = d->data;
	struct kernel_arg arg = { .join = j, .lanes = gm_sim_lanes(d->sim) };
	unsigned int i;
	int err = RUN_OK;

	progress_phase("accelerator", 2 * j->rows + j->probes);
	for (i = 0; !err && i < sizeof(kernels) / sizeof(*kernels); i++)
		err = demo_launch(d, kernels[i], &arg);
	return err;
}

static int join_verify(struct demo *d)
{
	struct join *j = d->data;
	uint64_t i;

	for (i = 0; i < j->probes; i++)
		if (j->managed.result[i] != j->plain.result[i])
			j->nr_wrong++;
	d->verified = !j->nr_wrong;
	return RUN_OK;
}

static void join_print(const struct demo *d, FILE *out)
{
	const struct join *j = d->data;

	fprintf(out, "%s rows joined with %s, by a hash table of %s buckets\n\n",
		count_text(j->probes).s, count_text(j->rows).s, count_text(j->buckets).s);
	if (j->nr_wrong)
		fprintf(out, "  %s rows are wrong\n\n", count_text(j->nr_wrong).s);
}

static int join_describe(const struct demo *d, json_t *object)
{
	const struct join *j = d->data;

	if (json_object_set_new(object, "rows", json_integer((json_int_t)j->rows)) ||
	    json_object_set_new(object, "probes", json_integer((json_int_t)j->probes)) ||
	    json_object_set_new(object, "wrong", json_integer((json_int_t)j->nr_wrong)))
		return -1;
	return 0;
}

static void join_release(struct demo *d)
{
	free(d->data);
}

const struct workload workload_join = {
	.name = "join",
	.summary = "a hash join: build a table of one relation, probe it with another",
	.takes = TAKES_SIZE | TAKES_SEED,
	.default_size = 16ULL << 20,
	.prepare = join_prepare,
	.run_cpu = join_run_cpu,
	.run_device = join_run_device,
	.verify = join_verify,
	.print = join_print,
	.describe = join_describe,
	.release = join_release,
};
