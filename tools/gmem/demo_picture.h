/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The picture at the end of `gmem demo`: what moved over time, and where the pages are. */
#ifndef GMEM_TOOL_DEMO_PICTURE_H
#define GMEM_TOOL_DEMO_PICTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "map.h"
#include "timeline.h"

struct demo_picture {
	const char *workload;
	uint64_t data, memory; /* bytes: of the workload, of the device */
	double seconds_plain;
	double seconds[TIMELINE_PARTS]; /* the accelerator works, the CPU checks */
	struct timeline timeline;	/* of these */
	struct map map;
};

/* Look where the pages of [addr, addr+len) are. RUN_*, with a message. */
int demo_picture_look(struct demo_picture *p, const void *addr, uint64_t len, int hnode);
void demo_picture_free(struct demo_picture *p);

/* As text, with block elements or in ASCII; 0, or -1 if it could not be written. */
int demo_picture_print(const struct demo_picture *p, FILE *out, unsigned int width, bool color,
		       bool blocks);
/* A struct demo_picture as SVG, for picture_write(). */
int demo_picture_draw(const void *picture, FILE *out);

#endif
