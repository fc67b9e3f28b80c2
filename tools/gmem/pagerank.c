// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * PageRank over a graph of linked structures.
 *
 * In every pass a node's rank becomes (1 - d) / n + d * (the shares of all nodes with
 * an edge to it + the ranks of nodes without edges out / n). A pass has two halves, with
 * a barrier between: gather new ranks from the shares, then make new shares. Each node
 * is written by one lane; its edges in are followed in the order of its list, and the
 * lost ranks are summed chunk by chunk: every sum has one order, whatever the number of
 * lanes, and it is the order of the plain run.
 *
 * Both runs are the same algorithm over the same layout; they are written twice because
 * a device follows a pointer with a load of its own.
 */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "graph.h"
#include "progress.h"
#include "util.h"

#define DAMPING 0.85
#define TOLERANCE 1e-12
#define TOP 10U

struct top {
	char *name;
	char *version; /* NULL: none */
	double rank;
	uint64_t needed_by;
	uint64_t needs;
};

struct pagerank {
	struct graph managed, plain;
	uint64_t nr_files;
	struct top top[TOP];
	unsigned int nr_top;
	uint64_t nr_wrong; /* nodes whose rank differs from the plain run's by too much */
	double worst;	   /* the largest difference between the two runs */
	double sum;	   /* of all ranks */
};

static int pagerank_prepare(struct demo *d)
{
	struct edges edges = { 0 };
	struct pagerank *pr;
	int err;

	pr = xrealloc(NULL, 1, sizeof(*pr));
	*pr = (struct pagerank){ 0 };
	d->data = pr;
	err = d->opt.input ? edges_read_list(d->opt.input, &edges)
			   : edges_read_debian(d->opt.root, &edges);
	if (err)
		return err;
	pr->nr_files = edges.nr_files;
	err = demo_arenas(d, graph_size(&edges));
	if (!err) {
		progress_phase("building the graph",
			       2 * ((uint64_t)edges.nr_nodes + edges.nr_edges));
		graph_build(&pr->managed, &d->managed, &edges);
		graph_build(&pr->plain, &d->plain, &edges);
	}
	edges_free(&edges);
	return err;
}

/* ------------------------------------------------------------------- the CPU's */

/* New shares of a chunk's nodes. */
static void cpu_scatter(struct graph *g, uint64_t chunk)
{
	struct node *node = &g->nodes[chunk * GRAPH_CHUNK];
	struct node *end = &g->nodes[graph_chunk_end(g, chunk)];
	double lost = 0;

	for (; node < end; node++) {
		node->share = node->rank * node->weight;
		if (node->weight == 0)
			lost += node->rank;
	}
	g->lost[chunk] = lost;
}

static void cpu_gather(struct graph *g, uint64_t chunk, double base)
{
	struct node *node = &g->nodes[chunk * GRAPH_CHUNK];
	struct node *end = &g->nodes[graph_chunk_end(g, chunk)];
	const struct edge *edge;
	double sum;

	for (; node < end; node++) {
		sum = 0;
		for (edge = node->in; edge; edge = edge->next_in)
			sum += edge->from->share;
		node->rank = base + DAMPING * sum;
	}
}

static int pagerank_run_cpu(struct demo *d)
{
	struct graph *g = &((struct pagerank *)d->data)->plain;
	double n = (double)g->nr_nodes, lost;
	uint64_t pass, i;

	for (i = 0; i < g->nr_nodes; i++)
		g->nodes[i].rank = 1 / n;
	for (i = 0; i < g->nr_chunks; i++)
		cpu_scatter(g, i);
	progress_phase("plain run", d->opt.iterations * g->nr_chunks);
	for (pass = 1; pass <= d->opt.iterations; pass++) {
		progress_pass(pass, d->opt.iterations);
		lost = 0;
		for (i = 0; i < g->nr_chunks; i++)
			lost += g->lost[i];
		for (i = 0; i < g->nr_chunks; i++)
			cpu_gather(g, i, (1 - DAMPING) / n + DAMPING * lost / n);
		for (i = 0; i < g->nr_chunks; i++)
			cpu_scatter(g, i);
		progress_add(g->nr_chunks);
	}
	return RUN_OK;
}

/* ---------------------------------------------------------------- the device's */

static void device_scatter(struct gm_sim_lane *lane, const struct graph *g, uint64_t chunk)
{
	struct node *node = &g->nodes[chunk * GRAPH_CHUNK];
	struct node *end = &g->nodes[graph_chunk_end(g, chunk)];
	double lost = 0, rank, weight;

	for (; node < end; node++) {
		rank = gm_sim_loadf64(lane, &node->rank);
		weight = gm_sim_loadf64(lane, &node->weight);
		gm_sim_storef64(lane, &node->share, rank * weight);
		if (weight == 0)
			lost += rank;
	}
	gm_sim_storef64(lane, &g->lost[chunk], lost);
}

static void device_gather(struct gm_sim_lane *lane, const struct graph *g, uint64_t chunk,
			  double base)
{
	struct node *node = &g->nodes[chunk * GRAPH_CHUNK];
	struct node *end = &g->nodes[graph_chunk_end(g, chunk)];
	const struct edge *edge;
	const struct node *from;
	double sum;

	for (; node < end; node++) {
		sum = 0;
		edge = gm_sim_loadptr(lane, &node->in);
		while (edge) {
			from = gm_sim_loadptr(lane, &edge->from);
			edge = gm_sim_loadptr(lane, &edge->next_in);
			sum += gm_sim_loadf64(lane, &from->share);
		}
		gm_sim_storef64(lane, &node->rank, base + DAMPING * sum);
	}
}

struct kernel_arg {
	const struct graph *graph;
	unsigned int lanes;
};

/* Every node has the same rank to begin with. */
static void start_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	const struct graph *g = arg->graph;
	uint64_t chunk, i;

	for (chunk = gm_sim_lane_id(lane); chunk < g->nr_chunks; chunk += arg->lanes) {
		for (i = chunk * GRAPH_CHUNK; i < graph_chunk_end(g, chunk); i++)
			gm_sim_storef64(lane, &g->nodes[i].rank, 1 / (double)g->nr_nodes);
		device_scatter(lane, g, chunk);
	}
}

static void pass_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	const struct graph *g = arg->graph;
	double n = (double)g->nr_nodes, lost = 0;
	uint64_t chunk;

	for (chunk = 0; chunk < g->nr_chunks; chunk++)
		lost += gm_sim_loadf64(lane, &g->lost[chunk]);
	for (chunk = gm_sim_lane_id(lane); chunk < g->nr_chunks; chunk += arg->lanes) {
		device_gather(lane, g, chunk, (1 - DAMPING) / n + DAMPING * lost / n);
		progress_add(1);
	}
	gm_sim_barrier(lane);
	for (chunk = gm_sim_lane_id(lane); chunk < g->nr_chunks; chunk += arg->lanes)
		device_scatter(lane, g, chunk);
}

static int pagerank_run_device(struct demo *d)
{
	struct graph *g = &((struct pagerank *)d->data)->managed;
	struct kernel_arg arg = { .graph = g, .lanes = gm_sim_lanes(d->sim) };
	uint64_t pass;
	int err;

	progress_phase("accelerator", d->opt.iterations * g->nr_chunks);
	err = demo_launch(d, start_kernel, &arg);
	for (pass = 1; !err && pass <= d->opt.iterations; pass++) {
		progress_pass(pass, d->opt.iterations);
		err = demo_launch(d, pass_kernel, &arg);
	}
	return err;
}

/* ------------------------------------------------------------------ the result */

/* Keep the nodes of highest rank, the first of equals first. */
static void take_top(struct pagerank *pr)
{
	struct node *best[TOP], *node;
	unsigned int nr = 0, i;
	uint64_t n;

	for (n = 0; n < pr->managed.nr_nodes; n++) {
		node = &pr->managed.nodes[n];
		for (i = nr; i > 0 && best[i - 1]->rank < node->rank; i--)
			if (i < TOP)
				best[i] = best[i - 1];
		if (i < TOP)
			best[i] = node;
		if (nr < TOP)
			nr++;
	}
	for (i = 0; i < nr; i++) {
		const struct package *p = best[i]->package;

		pr->top[i].name = xstrndup(p->name, strlen(p->name));
		if (p->version)
			pr->top[i].version = xstrndup(p->version, strlen(p->version));
		pr->top[i].rank = best[i]->rank;
		pr->top[i].needed_by = p->nr_in;
		pr->top[i].needs = p->nr_out;
	}
	pr->nr_top = nr;
}

static int pagerank_verify(struct demo *d)
{
	struct pagerank *pr = d->data;
	double diff;
	uint64_t i;

	for (i = 0; i < pr->managed.nr_nodes; i++) {
		diff = fabs(pr->managed.nodes[i].rank - pr->plain.nodes[i].rank);
		/* So that not-a-number counts as wrong. */
		if (!(diff <= TOLERANCE))
			pr->nr_wrong++;
		if (diff > pr->worst)
			pr->worst = diff;
		pr->sum += pr->managed.nodes[i].rank;
	}
	take_top(pr);
	d->verified = !pr->nr_wrong && fabs(pr->sum - 1) <= 1e-9;
	return RUN_OK;
}

static void pagerank_print(const struct demo *d, FILE *out)
{
	const struct pagerank *pr = d->data;
	unsigned int i, width = 8;
	bool packages = !d->opt.input;

	if (packages)
		fprintf(out, "%s packages, %s dependencies, from %llu %s\n",
			count_text(pr->managed.nr_nodes).s, count_text(pr->managed.nr_edges).s,
			(unsigned long long)pr->nr_files, pr->nr_files == 1 ? "file" : "files");
	else
		fprintf(out, "%s nodes, %s edges, from %s\n", count_text(pr->managed.nr_nodes).s,
			count_text(pr->managed.nr_edges).s, d->opt.input);
	for (i = 0; i < pr->nr_top; i++)
		if (strlen(pr->top[i].name) > width)
			width = (unsigned int)strlen(pr->top[i].name);
	fprintf(out, "\n      PageRank  %-*s  %10s  %8s%s\n", (int)width,
		packages ? "package" : "node", packages ? "needed by" : "edges in",
		packages ? "needs" : "out", packages ? "  version" : "");
	for (i = 0; i < pr->nr_top; i++)
		fprintf(out, "  %2u  %.6f  %-*s  %10s  %8s%s%s\n", i + 1, pr->top[i].rank,
			(int)width, pr->top[i].name, count_text(pr->top[i].needed_by).s,
			count_text(pr->top[i].needs).s, pr->top[i].version ? "  " : "",
			pr->top[i].version ? pr->top[i].version : "");
	fputc('\n', out);
}

static int pagerank_describe(const struct demo *d, json_t *object)
{
	const struct pagerank *pr = d->data;
	json_t *top = json_array(), *entry;
	unsigned int i;
	int err = 0;

	for (i = 0; i < pr->nr_top; i++) {
		entry = json_pack("{s:s, s:s*, s:f, s:I, s:I}", "name", pr->top[i].name, "version",
				  pr->top[i].version, "rank", pr->top[i].rank, "needed_by",
				  (json_int_t)pr->top[i].needed_by, "needs",
				  (json_int_t)pr->top[i].needs);
		err |= json_array_append_new(top, entry);
	}
	err |= json_object_set_new(object, "nodes", json_integer((json_int_t)pr->managed.nr_nodes));
	err |= json_object_set_new(object, "edges", json_integer((json_int_t)pr->managed.nr_edges));
	err |= json_object_set_new(object, "files", json_integer((json_int_t)pr->nr_files));
	err |= json_object_set_new(object, "wrong", json_integer((json_int_t)pr->nr_wrong));
	err |= json_object_set_new(object, "max_difference", json_real(pr->worst));
	err |= json_object_set_new(object, "rank_sum",
				   isfinite(pr->sum) ? json_real(pr->sum) : json_null());
	err |= json_object_set_new(object, "top", top);
	return err ? -1 : 0;
}

static void pagerank_release(struct demo *d)
{
	struct pagerank *pr = d->data;
	unsigned int i;

	if (!pr)
		return;
	for (i = 0; i < pr->nr_top; i++) {
		free(pr->top[i].name);
		free(pr->top[i].version);
	}
	free(pr);
}

const struct workload workload_pagerank = {
	.name = "pagerank",
	.summary = "rank the packages of this Debian system, or the nodes of --input",
	.takes = TAKES_INPUT | TAKES_ITERATIONS,
	.default_iterations = 20,
	.prepare = pagerank_prepare,
	.run_cpu = pagerank_run_cpu,
	.run_device = pagerank_run_device,
	.verify = pagerank_verify,
	.print = pagerank_print,
	.describe = pagerank_describe,
	.release = pagerank_release,
};
