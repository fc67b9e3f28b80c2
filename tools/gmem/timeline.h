/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What moved while a program ran, and how full a device was: counters, looked at again and again. */
#ifndef GMEM_TOOL_TIMELINE_H
#define GMEM_TOOL_TIMELINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct gm_as;

#define TIMELINE_SAMPLES 512U
#define TIMELINE_PARTS 2U

/* Bytes. Of a sample: so far; of a slice: in it. */
struct timeline_bytes {
	uint64_t to_dev, to_host, in_place;
	uint64_t used; /* of the device's memory: now; the most */
};

struct timeline {
	struct gm_as *as;
	int hnode;
	struct {
		double at; /* seconds; what is between two parts takes none */
		struct timeline_bytes bytes;
	} sample[TIMELINE_SAMPLES];
	unsigned int nr;
	double step;		     /* seconds between two */
	double part[TIMELINE_PARTS]; /* when each ended */
	unsigned int parts;
	/* While a part goes on: */
	double begin; /* of the clock, less what parts before have taken */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool running, stop;
};

void timeline_init(struct timeline *t, struct gm_as *as, int hnode);
/* A part begins; nobody but the timeline looks at *@t until it ends. There are TIMELINE_PARTS at most. */
void timeline_begin(struct timeline *t);
void timeline_end(struct timeline *t);

/* Cut what was from @from to @to seconds into @n slices of the same length. */
void timeline_cut(const struct timeline *t, double from, double to, struct timeline_bytes *slice,
		  unsigned int n);

#endif
