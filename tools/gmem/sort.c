// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Merge sort of keys, bottom up: runs of a page are sorted in a lane's own memory, then in each
 * pass two runs become one, from one array to another and back. Each pass goes through all of the
 * data, in two places at once for reading and in one for writing.
 *
 * Lanes take pairs of runs in turn; in the last passes there is work for few of them.
 */
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "progress.h"
#include "util.h"

#define CHUNK 512U /* keys: a page */

struct sort {
	uint64_t *managed[2], *plain; /* the second is where passes merge to, in turn */
	uint64_t n;
	unsigned int result; /* which of managed */
	uint64_t nr_wrong;
};

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int sort_prepare(struct demo *d)
{
	struct sort *s = xrealloc(NULL, 1, sizeof(*s));
	uint64_t i;
	int err;

	*s = (struct sort){ .n = d->opt.size / (2 * CHUNK * sizeof(uint64_t)) * CHUNK };
	d->data = s;
	if (!s->n)
		return fail(RUN_BAD_INPUT,
			    "--size %llu is too small for sort: give at least %zu bytes",
			    (unsigned long long)d->opt.size, 2 * CHUNK * sizeof(uint64_t));
	err = demo_arenas(d, 2 * s->n * sizeof(uint64_t));
	if (err)
		return err;
	progress_phase("making the keys", 0);
	s->managed[0] = arena_alloc(&d->managed, s->n * sizeof(uint64_t));
	s->managed[1] = arena_alloc(&d->managed, s->n * sizeof(uint64_t));
	s->plain = arena_alloc(&d->plain, s->n * sizeof(uint64_t));
	for (i = 0; i < s->n; i++) {
		s->managed[0][i] = random_at(d->opt.seed, i);
		s->plain[i] = s->managed[0][i];
	}
	return RUN_OK;
}

static int sort_run_cpu(struct demo *d)
{
	struct sort *s = d->data;

	progress_phase("plain run", 0);
	qsort(s->plain, s->n, sizeof(uint64_t), compare);
	return RUN_OK;
}

struct kernel_arg {
	const uint64_t *from;
	uint64_t *to;
	uint64_t n, run; /* keys in all, and of a run */
	unsigned int lanes;
};

static void runs_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	uint64_t keys[CHUNK], at;

	for (at = gm_sim_lane_id(lane) * CHUNK; at < arg->n; at += arg->lanes * CHUNK) {
		gm_sim_read(lane, keys, arg->from + at, sizeof(keys));
		qsort(keys, CHUNK, sizeof(*keys), compare);
		gm_sim_write(lane, arg->to + at, keys, sizeof(keys));
		progress_add(1);
	}
}

/* Keys of a run, a page at a time. */
struct input {
	const uint64_t *next, *end; /* what is not in the buffer yet */
	uint64_t keys[CHUNK];
	unsigned int at, n;
};

static bool input_has(struct gm_sim_lane *lane, struct input *in)
{
	if (in->at == in->n && in->next < in->end) {
		gm_sim_read(lane, in->keys, in->next, sizeof(in->keys));
		in->next += CHUNK;
		in->at = 0;
		in->n = CHUNK;
	}
	return in->at < in->n;
}

static void merge(struct gm_sim_lane *lane, struct input *a, struct input *b, uint64_t *to)
{
	uint64_t keys[CHUNK];
	unsigned int n = 0;

	for (;;) {
		bool has_a = input_has(lane, a), has_b = input_has(lane, b);
		struct input *from = has_a && (!has_b || a->keys[a->at] <= b->keys[b->at]) ? a : b;

		if (!has_a && !has_b)
			break;
		keys[n++] = from->keys[from->at++];
		if (n == CHUNK) {
			gm_sim_write(lane, to, keys, sizeof(keys));
			to += CHUNK;
			n = 0;
			progress_add(1);
		}
	}
}

static void merge_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	uint64_t pair = 2 * arg->run, at;

	for (at = gm_sim_lane_id(lane) * pair; at < arg->n; at += arg->lanes * pair) {
		uint64_t middle = at + arg->run < arg->n ? at + arg->run : arg->n;
		uint64_t end = at + pair < arg->n ? at + pair : arg->n;
		struct input a = { .next = arg->from + at, .end = arg->from + middle };
		struct input b = { .next = arg->from + middle, .end = arg->from + end };

		merge(lane, &a, &b, arg->to + at);
	}
}

static int sort_run_device(struct demo *d)
{
	struct sort *s = d->data;
	struct kernel_arg arg = { .from = s->managed[0],
				  .to = s->managed[0],
				  .n = s->n,
				  .run = CHUNK,
				  .lanes = gm_sim_lanes(d->sim) };
	uint64_t passes = 1, run;
	int err;

	for (run = CHUNK; run < s->n; run *= 2)
		passes++;
	progress_phase("accelerator", passes * (s->n / CHUNK));
	err = demo_launch(d, runs_kernel, &arg);
	for (; !err && arg.run < s->n; arg.run *= 2) {
		arg.from = s->managed[s->result];
		s->result = !s->result;
		arg.to = s->managed[s->result];
		err = demo_launch(d, merge_kernel, &arg);
	}
	return err;
}

static int sort_verify(struct demo *d)
{
	struct sort *s = d->data;
	uint64_t i;

	for (i = 0; i < s->n; i++)
		if (s->managed[s->result][i] != s->plain[i])
			s->nr_wrong++;
	d->verified = !s->nr_wrong;
	return RUN_OK;
}

static void sort_print(const struct demo *d, FILE *out)
{
	const struct sort *s = d->data;

	fprintf(out, "%s keys merged, from runs of %u on\n\n", count_text(s->n).s, CHUNK);
	if (s->nr_wrong)
		fprintf(out, "  %s keys are wrong\n\n", count_text(s->nr_wrong).s);
}

static int sort_describe(const struct demo *d, json_t *object)
{
	const struct sort *s = d->data;

	if (json_object_set_new(object, "keys", json_integer((json_int_t)s->n)) ||
	    json_object_set_new(object, "wrong", json_integer((json_int_t)s->nr_wrong)))
		return -1;
	return 0;
}

static void sort_release(struct demo *d)
{
	free(d->data);
}

const struct workload workload_sort = {
	.name = "sort",
	.summary = "merge sort of keys, bottom up",
	.takes = TAKES_SIZE | TAKES_SEED,
	.default_size = 16ULL << 20,
	.prepare = sort_prepare,
	.run_cpu = sort_run_cpu,
	.run_device = sort_run_device,
	.verify = sort_verify,
	.print = sort_print,
	.describe = sort_describe,
	.release = sort_release,
};
