/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A graph as a program has it: structures that point at each other. */
#ifndef GMEM_TOOL_GRAPH_H
#define GMEM_TOOL_GRAPH_H

#include <stdint.h>

#include "arena.h"
#include "edges.h"

/* From one package to one it depends on. */
struct edge {
	struct node *from;
	struct edge *next_in; /* the next edge to the same node */
	struct node *to;
	struct edge *next_out; /* the next edge from the same node */
};

/* What is known of a package, and seldom looked at. */
struct package {
	const char *name;
	const char *version; /* NULL: has none */
	struct edge *out;
	uint32_t nr_in;
	uint32_t nr_out;
};

/* What PageRank works on. */
struct node {
	double rank;
	double share;  /* of its rank, for each edge out */
	double weight; /* 1 / edges out, or 0 without any */
	struct edge *in;
	struct package *package;
};

/* The nodes are worked on in chunks; sums are taken chunk by chunk, whoever takes them. */
#define GRAPH_CHUNK 128U

struct graph {
	struct node *nodes;
	uint64_t nr_nodes;
	uint64_t nr_edges;
	uint64_t nr_chunks;
	double *lost; /* of each chunk: the rank of its nodes without an edge out */
};

uint64_t graph_size(const struct edges *edges); /* bytes it takes in an arena */
void graph_build(struct graph *g, struct arena *arena, const struct edges *edges);

static inline uint64_t graph_chunk_end(const struct graph *g, uint64_t chunk)
{
	uint64_t end = (chunk + 1) * GRAPH_CHUNK;

	return end < g->nr_nodes ? end : g->nr_nodes;
}

#endif
