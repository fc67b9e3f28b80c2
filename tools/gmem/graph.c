// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Building the linked structures, by the CPU, in whichever memory the arena has.
 *
 * What PageRank reads at random, the nodes, lies together; the edges lie in the order
 * in which the lists of edges in lead through them; names and versions, which only the
 * printing of results needs, come last. A device that holds a quarter of it all then
 * streams through the edges and keeps the nodes.
 */
#include <string.h>

#include "graph.h"
#include "progress.h"

static uint64_t string_size(const char *s)
{
	return arena_round(strlen(s) + 1);
}

static uint64_t chunks(uint64_t nodes)
{
	return (nodes + GRAPH_CHUNK - 1) / GRAPH_CHUNK;
}

uint64_t graph_size(const struct edges *edges)
{
	uint64_t size = arena_round(edges->nr_nodes * sizeof(struct node)) +
			arena_round(chunks(edges->nr_nodes) * sizeof(double)) +
			arena_round(edges->nr_edges * sizeof(struct edge));
	uint32_t i;

	for (i = 0; i < edges->nr_nodes; i++) {
		size += arena_round(sizeof(struct package)) + string_size(edges->name[i]);
		if (edges->version)
			size += string_size(edges->version[i]);
	}
	return size;
}

static void add_package(struct arena *arena, struct node *node, const struct edges *edges,
			uint32_t i)
{
	struct package *package = arena_alloc(arena, sizeof(*package));

	package->name = arena_strdup(arena, edges->name[i]);
	if (edges->version)
		package->version = arena_strdup(arena, edges->version[i]);
	node->package = package;
}

void graph_build(struct graph *g, struct arena *arena, const struct edges *edges)
{
	struct edge *edge, *last = NULL;
	struct node *from, *to;
	uint64_t i;

	g->nr_nodes = edges->nr_nodes;
	g->nr_edges = edges->nr_edges;
	g->nr_chunks = chunks(g->nr_nodes);
	g->nodes = arena_alloc(arena, g->nr_nodes * sizeof(*g->nodes));
	g->lost = arena_alloc(arena, g->nr_chunks * sizeof(*g->lost));
	edge = arena_alloc(arena, g->nr_edges * sizeof(*edge));
	for (i = 0; i < g->nr_nodes; i++) {
		add_package(arena, &g->nodes[i], edges, (uint32_t)i);
		progress_add(1);
	}
	/* They come sorted by where they lead to. */
	for (i = 0; i < g->nr_edges; i++, edge++) {
		from = &g->nodes[edge_from(edges->edge[i])];
		to = &g->nodes[edge_to(edges->edge[i])];
		*edge = (struct edge){ .from = from, .to = to, .next_out = from->package->out };
		from->package->out = edge;
		from->package->nr_out++;
		if (to->package->nr_in++)
			last->next_in = edge;
		else
			to->in = edge;
		last = edge;
		progress_add(1);
	}
	for (i = 0; i < g->nr_nodes; i++)
		if (g->nodes[i].package->nr_out)
			g->nodes[i].weight = 1.0 / g->nodes[i].package->nr_out;
}
