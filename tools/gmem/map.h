/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem map`: where the pages of a process are. */
#ifndef GMEM_TOOL_MAP_H
#define GMEM_TOOL_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define MAP_NOWHERE (-2)
#define MAP_HOST (-1)
#define MAP_MAX_NODES 66U /* the host, devices, nowhere */
#define MAP_MAX_CELLS 1024U

/* GM_PAGE_* of gmem/gmem.h that are worth a mark. */
#define MAP_PINNED 1U
#define MAP_POISONED 4U

struct map_node {
	int id;
	char mark;
	char name[48];
	uint64_t bytes;
};

struct map_run {
	uint64_t first, pages; /* of the region */
	uint32_t node;	       /* of the nodes */
	uint32_t flags;
};

struct map_region {
	uint64_t as, addr, len;
	uint64_t shown; /* bytes at its begin that are worth a picture */
	struct map_run *runs;
	size_t nr_runs;
};

struct map {
	char program[64];
	int pid;
	uint64_t page, pinned, poisoned;
	struct map_node nodes[MAP_MAX_NODES]; /* the host, devices, nowhere */
	unsigned int nr_nodes;
	struct map_region *regions;
	size_t nr_regions;
};

/* A part of a region: a place that pages of it are at; poisoned if any is. */
struct map_cell {
	uint32_t node;
	bool poisoned;
};

/* map_load.c: of a process's answer. RUN_*, with a message that begins with @name. */
int map_load(struct map *m, const char *name, const json_t *answer);
void map_free(struct map *m);
void map_cells(const struct map *m, const struct map_region *r, struct map_cell *cells,
	       unsigned int n);

/* map_print.c; 0, or -1 if it could not be written. */
int map_print(const struct map *m, FILE *out, unsigned int width, bool color);
int map_print_svg(const struct map *m, FILE *out);

/* What these are made of, for other pictures with a map in them. */
#define MAP_SVG_WIDTH 960U /* of the whole */
#define MAP_SVG_LEFT 240U  /* where bars begin */
#define MAP_SVG_CELLS 700U /* how long they are */
extern const char map_svg_style[];
void map_print_bar(const struct map *m, const struct map_region *r, FILE *out, unsigned int width,
		   bool color);
void map_print_legend(const struct map *m, FILE *out, bool color);
void map_svg_bar(const struct map *m, const struct map_region *r, unsigned int y, FILE *out);
void map_svg_legend(const struct map *m, unsigned int y, FILE *out);

int map_main(int argc, char **argv); /* returns the exit status */

#endif
