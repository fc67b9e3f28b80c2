// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The four loops of the STREAM benchmark over three arrays: c = a, b = 3 c, c = a + b,
 * a = b + 3 c. Everything is touched once and in order, so what is measured is how well
 * data streams through a small device memory.
 *
 * Lanes take chunks in turn and so move through the arrays side by side.
 */
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "progress.h"
#include "util.h"

#define CHUNK 512U /* elements: a page */
#define SCALAR 3.0

enum op { COPY, SCALE, ADD, TRIAD, NR_OPS };

struct stream {
	double *managed[3], *plain[3];
	uint64_t n; /* elements of an array */
	uint64_t nr_wrong;
};

/* Which arrays an operation reads and which it writes. */
static const struct {
	unsigned int in[2], out;
} arrays[NR_OPS] = {
	[COPY] = { { 0, 0 }, 2 },
	[SCALE] = { { 2, 2 }, 1 },
	[ADD] = { { 0, 1 }, 2 },
	[TRIAD] = { { 1, 2 }, 0 },
};

/* Both runs do their arithmetic here, so that they are equal to the last bit. */
static void compute(enum op op, double *out, const double *x, const double *y, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		switch (op) {
		case COPY:
			out[i] = x[i];
			break;
		case SCALE:
			out[i] = SCALAR * x[i];
			break;
		case ADD:
			out[i] = x[i] + y[i];
			break;
		case TRIAD:
		default:
			out[i] = x[i] + SCALAR * y[i];
			break;
		}
	}
}

static int stream_prepare(struct demo *d)
{
	struct stream *s = xrealloc(NULL, 1, sizeof(*s));
	unsigned int array;
	uint64_t i;
	int err;

	*s = (struct stream){ .n = d->opt.size / (3 * CHUNK * sizeof(double)) * CHUNK };
	d->data = s;
	if (!s->n)
		return fail(RUN_BAD_INPUT,
			    "--size %llu is too small for stream: give at least %u bytes",
			    (unsigned long long)d->opt.size,
			    (unsigned int)(3 * CHUNK * sizeof(double)));
	err = demo_arenas(d, 3 * s->n * sizeof(double));
	if (err)
		return err;
	progress_phase("filling the arrays", 3 * s->n);
	for (array = 0; array < 3; array++) {
		s->managed[array] = arena_alloc(&d->managed, s->n * sizeof(double));
		s->plain[array] = arena_alloc(&d->plain, s->n * sizeof(double));
		for (i = 0; i < s->n; i++) {
			s->plain[array][i] = random_double_at(d->opt.seed + array, i);
			s->managed[array][i] = s->plain[array][i];
		}
		progress_add(s->n);
	}
	return RUN_OK;
}

static int stream_run_cpu(struct demo *d)
{
	struct stream *s = d->data;
	uint64_t pass;
	enum op op;

	progress_phase("plain run", d->opt.iterations);
	for (pass = 0; pass < d->opt.iterations; pass++) {
		for (op = 0; op < NR_OPS; op++)
			compute(op, s->plain[arrays[op].out], s->plain[arrays[op].in[0]],
				s->plain[arrays[op].in[1]], s->n);
		progress_add(1);
	}
	return RUN_OK;
}

struct kernel_arg {
	const struct stream *stream;
	unsigned int lanes;
	enum op op;
};

static void stream_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	double *const *array = arg->stream->managed;
	const double *x = array[arrays[arg->op].in[0]];
	const double *y = array[arrays[arg->op].in[1]];
	double *out = array[arrays[arg->op].out];
	double xs[CHUNK], ys[CHUNK], outs[CHUNK];
	uint64_t at;

	for (at = gm_sim_lane_id(lane) * CHUNK; at < arg->stream->n; at += arg->lanes * CHUNK) {
		gm_sim_read(lane, xs, x + at, sizeof(xs));
		if (x != y)
			gm_sim_read(lane, ys, y + at, sizeof(ys));
		compute(arg->op, outs, xs, x != y ? ys : xs, CHUNK);
		gm_sim_write(lane, out + at, outs, sizeof(outs));
		progress_add(1);
	}
}

static int stream_run_device(struct demo *d)
{
	struct stream *s = d->data;
	struct kernel_arg arg = { .stream = s, .lanes = gm_sim_lanes(d->sim) };
	uint64_t pass;
	int err = RUN_OK;

	progress_phase("accelerator", d->opt.iterations * NR_OPS * (s->n / CHUNK));
	for (pass = 0; !err && pass < d->opt.iterations; pass++) {
		progress_pass(pass + 1, d->opt.iterations);
		for (arg.op = 0; !err && arg.op < NR_OPS; arg.op++)
			err = demo_launch(d, stream_kernel, &arg);
	}
	return err;
}

static int stream_verify(struct demo *d)
{
	struct stream *s = d->data;
	unsigned int array;
	uint64_t i;

	for (array = 0; array < 3; array++)
		for (i = 0; i < s->n; i++)
			if (memcmp(&s->managed[array][i], &s->plain[array][i], sizeof(double)))
				s->nr_wrong++;
	d->verified = !s->nr_wrong;
	return RUN_OK;
}

static void stream_print(const struct demo *d, FILE *out)
{
	const struct stream *s = d->data;

	fprintf(out, "copy, scale, add and triad over three arrays of %s numbers, %llu %s\n\n",
		count_text(s->n).s, (unsigned long long)d->opt.iterations,
		d->opt.iterations == 1 ? "time" : "times");
	if (s->nr_wrong)
		fprintf(out, "  %s numbers are wrong\n\n", count_text(s->nr_wrong).s);
}

static int stream_describe(const struct demo *d, json_t *object)
{
	const struct stream *s = d->data;

	if (json_object_set_new(object, "elements", json_integer((json_int_t)s->n)) ||
	    json_object_set_new(object, "wrong", json_integer((json_int_t)s->nr_wrong)))
		return -1;
	return 0;
}

static void stream_release(struct demo *d)
{
	free(d->data);
}

const struct workload workload_stream = {
	.name = "stream",
	.summary = "copy, scale, add and triad over three arrays",
	.takes = TAKES_ITERATIONS | TAKES_SIZE | TAKES_SEED,
	.default_size = 24ULL << 20,
	.default_iterations = 2,
	.prepare = stream_prepare,
	.run_cpu = stream_run_cpu,
	.run_device = stream_run_device,
	.verify = stream_verify,
	.print = stream_print,
	.describe = stream_describe,
	.release = stream_release,
};
