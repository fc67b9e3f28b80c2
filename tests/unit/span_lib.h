/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A device with leaves larger than a block: shared by test_span.c and test_span_fail.c. */
#ifndef SPAN_LIB_H
#define SPAN_LIB_H

#include "unit.h"

#include "core/core.h"
#include "toy.h"

#define GIB (1ULL << 30)
#define MIB (1ULL << 20)
#define POWERS (2 * GIB - PAGE) /* all sizes from 4 KiB to 1 GiB */
#define AT 0x7000000000ULL

extern struct span_scene {
	struct toy toy;
	struct gm_context *ctx;
	struct gm_object *obj;
	uint64_t va, len;
	uint64_t offset;      /* of the device's addresses to these */
	uint64_t gone[16][2]; /* what is not mapped, or a region's end */
	unsigned int nr_gone;
} s;

/* A device of @blocks, and an object of @len bytes at @va. */
void scene_begin(struct unit *u, uint64_t sizes, uint64_t blocks, uint64_t len, uint64_t va);
int prefetch(struct unit *u, uint64_t va, uint64_t len);
int home(struct unit *u, uint64_t va, uint64_t len);
void scene_end(struct unit *u);
unsigned int leaves(void);
/* [va, va+len) is not mapped any more, or no leaf crosses its ends for another reason. */
void gone(uint64_t va, uint64_t len);
/* Where the device has the page at @va. */
uint64_t where(uint64_t va);
/*
 * All of the region is mapped, what is gone only if it is for @another reason, where it is, and
 * with the largest leaves. Returns how many these are.
 */
unsigned int mapped_well(bool another);

#endif
