/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A graph as it is read: names, and pairs of numbers. In ordinary memory. */
#ifndef GMEM_TOOL_EDGES_H
#define GMEM_TOOL_EDGES_H

#include <stddef.h>
#include <stdint.h>

/* Names, numbered in the order in which they were first met. */
struct names {
	char **name;
	uint32_t nr;
	uint32_t cap;
	uint32_t *slot; /* hash table: number + 1, or 0 */
	uint32_t slots; /* a power of two, or 0 */
};

uint32_t names_intern(struct names *names, const char *s, size_t len);
void names_free(struct names *names);

struct edges {
	char **name;	/* of each node */
	char **version; /* of each node; NULL where nodes have none */
	uint32_t nr_nodes;
	uint64_t *edge; /* to << 32 | from; sorted and unique after edges_finish() */
	size_t nr_edges;
	size_t cap;
	size_t nr_files; /* read */
};

static inline uint32_t edge_from(uint64_t edge)
{
	return (uint32_t)edge;
}

static inline uint32_t edge_to(uint64_t edge)
{
	return (uint32_t)(edge >> 32);
}

void edges_add(struct edges *edges, uint32_t from, uint32_t to);
void edges_finish(struct edges *edges);
void edges_free(struct edges *edges);

/* Both return RUN_*, and an edge list that is finished and not empty. */
int edges_read_list(const char *path, struct edges *edges);
int edges_read_debian(const char *root, struct edges *edges);

#endif
