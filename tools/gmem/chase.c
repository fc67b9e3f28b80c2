// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Pointer chasing: nodes that are linked to one cycle in random order, followed around several
 * times. A step tells where the next one goes, so nothing can be fetched ahead but by who
 * remembers the last round.
 *
 * Each lane follows the cycle from a node of its own and adds up the values it meets, which
 * after whole rounds is the same whatever the order.
 */
#include <stdlib.h>

#include "demo.h"
#include "progress.h"
#include "util.h"

#define STEP 1024U /* nodes between two reports of progress */

struct node {
	const struct node *next;
	uint64_t value;
	uint64_t other[30]; /* what else a record may have: a page holds 16 */
};

struct chase {
	struct node *managed, *plain;
	uint64_t nodes;
	uint64_t sum;	    /* of the plain run, a round */
	uint64_t sums[256]; /* of each lane, all rounds */
	uint64_t nr_wrong;
};

/* Sattolo's shuffle gives a permutation of one cycle. */
static void link_nodes(struct chase *c, uint64_t seed)
{
	uint64_t *order = xrealloc(NULL, c->nodes, sizeof(*order)), i, j, t;

	for (i = 0; i < c->nodes; i++)
		order[i] = i;
	for (i = c->nodes - 1; i > 0; i--) {
		j = random_at(seed, i) % i;
		t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
	for (i = 0; i < c->nodes; i++) {
		c->plain[i] = (struct node){ &c->plain[order[i]], random_at(~seed, i), { 0 } };
		c->managed[i] = (struct node){ &c->managed[order[i]], random_at(~seed, i), { 0 } };
	}
	free(order);
}

static int chase_prepare(struct demo *d)
{
	struct chase *c = xrealloc(NULL, 1, sizeof(*c));
	int err;

	*c = (struct chase){ .nodes = d->opt.size / sizeof(struct node) };
	d->data = c;
	if (c->nodes < 2)
		return fail(RUN_BAD_INPUT,
			    "--size %llu is too small for chase: give at least %zu "
			    "bytes",
			    (unsigned long long)d->opt.size, 2 * sizeof(struct node));
	err = demo_arenas(d, c->nodes * sizeof(struct node));
	if (err)
		return err;
	progress_phase("linking the nodes", 0);
	c->managed = arena_alloc(&d->managed, c->nodes * sizeof(struct node));
	c->plain = arena_alloc(&d->plain, c->nodes * sizeof(struct node));
	link_nodes(c, d->opt.seed);
	return RUN_OK;
}

static int chase_run_cpu(struct demo *d)
{
	struct chase *c = d->data;
	const struct node *node = c->plain;
	uint64_t i;

	progress_phase("plain run", 0);
	for (i = 0; i < c->nodes; i++) {
		c->sum += node->value;
		node = node->next;
	}
	return RUN_OK;
}

struct kernel_arg {
	struct chase *chase;
	uint64_t steps;
	unsigned int lanes;
};

static void chase_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	struct chase *c = arg->chase;
	unsigned int id = gm_sim_lane_id(lane);
	const struct node *node = &c->managed[c->nodes * id / arg->lanes];
	uint64_t i, sum = 0;

	for (i = 0; i < arg->steps; i++) {
		sum += gm_sim_load64(lane, &node->value);
		node = gm_sim_loadptr(lane, &node->next);
		if ((i + 1) % STEP == 0)
			progress_add(STEP);
	}
	c->sums[id] = sum;
}

static int chase_run_device(struct demo *d)
{
	struct chase *c = d->data;
	struct kernel_arg arg = { .chase = c,
				  .steps = c->nodes * d->opt.iterations,
				  .lanes = gm_sim_lanes(d->sim) };

	progress_phase("accelerator", arg.steps * arg.lanes);
	return demo_launch(d, chase_kernel, &arg);
}

/* The sums, and that the CPU finds the same cycle in place. */
static int chase_verify(struct demo *d)
{
	struct chase *c = d->data;
	uint64_t i;

	for (i = 0; i < gm_sim_lanes(d->sim); i++)
		if (c->sums[i] != c->sum * d->opt.iterations)
			c->nr_wrong++;
	for (i = 0; i < c->nodes; i++)
		if (c->managed[i].next - c->managed != c->plain[i].next - c->plain)
			c->nr_wrong++;
	d->verified = !c->nr_wrong;
	return RUN_OK;
}

static void chase_print(const struct demo *d, FILE *out)
{
	const struct chase *c = d->data;

	fprintf(out, "a cycle of %s nodes at random, followed around %llu %s by each lane\n\n",
		count_text(c->nodes).s, (unsigned long long)d->opt.iterations,
		d->opt.iterations == 1 ? "time" : "times");
	if (c->nr_wrong)
		fprintf(out, "  %s nodes or sums are wrong\n\n", count_text(c->nr_wrong).s);
}

static int chase_describe(const struct demo *d, json_t *object)
{
	const struct chase *c = d->data;

	if (json_object_set_new(object, "nodes", json_integer((json_int_t)c->nodes)) ||
	    json_object_set_new(object, "wrong", json_integer((json_int_t)c->nr_wrong)))
		return -1;
	return 0;
}

static void chase_release(struct demo *d)
{
	free(d->data);
}

const struct workload workload_chase = {
	.name = "chase",
	.summary = "pointers followed around a cycle in random order",
	.takes = TAKES_ITERATIONS | TAKES_SIZE | TAKES_SEED,
	.default_size = 16ULL << 20,
	.default_iterations = 1,
	.prepare = chase_prepare,
	.run_cpu = chase_run_cpu,
	.run_device = chase_run_device,
	.verify = chase_verify,
	.print = chase_print,
	.describe = chase_describe,
	.release = chase_release,
};
