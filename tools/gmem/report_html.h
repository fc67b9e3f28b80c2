/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem report`: what is made of a trace, for its page. */
#ifndef GMEM_TOOL_REPORT_HTML_H
#define GMEM_TOOL_REPORT_HTML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#define REPORT_BINS 240U
#define REPORT_BLOCK (2ULL << 20)
#define REPORT_DEVICE_GROUP (1ULL << 29) /* processes of the trace that are devices, from here on */

/* What a span or an instant says; spans that begin later stand later, and are drawn over these. */
enum report_class {
	REPORT_CPU_FAULT,
	REPORT_DEV_FAULT,
	REPORT_IN,   /* to a device, for a fault of its */
	REPORT_HOME, /* to the host, for a fault of the CPU's; and to save it */
	REPORT_PREFETCH,
	REPORT_EVICT, /* a victim */
	REPORT_OUT,   /* its pages */
	REPORT_THRASH,
	REPORT_CLASSES,
};

enum report_reason { REPORT_BY_CPU, REPORT_BY_EVICTION, REPORT_REASONS };

enum report_way { REPORT_TO_DEVICE, REPORT_TO_HOST, REPORT_BETWEEN, REPORT_WAYS };

struct report_event {
	uint64_t begin, took; /* nanoseconds */
	uint64_t bytes;
	uint32_t track, block; /* of arrays; block UINT32_MAX: of no object */
	uint8_t class, way;
	bool write, failed;
};

struct report_track {
	uint64_t pid, tid;
	char name[48];	    /* of the thread */
	uint64_t busy;	    /* nanoseconds of spans that are not within others */
	uint64_t last;	    /* the end of these */
	uint64_t *bin_busy; /* REPORT_BINS x REPORT_CLASSES */
};

struct report_group {
	uint64_t pid;
	char name[64];
};

/* 2 MiB of an object. */
struct report_block {
	uint64_t process, object, index;
	uint32_t number;    /* as events have it, before they are sorted */
	uint64_t addr;	    /* of its begin; 0: nobody maps it */
	uint64_t faults[2]; /* of the CPU; of devices */
	uint64_t writes[2]; /* of these */
	uint64_t bytes[REPORT_WAYS];
	/* By why pages leave a device: the CPU touches them, or something else needs the room. */
	uint64_t away[REPORT_REASONS], away_bytes[REPORT_REASONS]; /* pages, copied so */
	uint64_t back_bytes[REPORT_REASONS]; /* copied to leave and to come again */
	uint64_t trips[REPORT_REASONS];	     /* how often */
	uint64_t fault_moves, fault_bytes;   /* first moves, that a device's fault waited for */
	uint64_t thrash;
	int device; /* hnode that it was at; or -1 */
	bool left;  /* since pages came last */
};

struct report {
	const char *file;
	struct report_event *events;
	size_t nr_events, room_events;
	struct report_track *tracks;
	size_t nr_tracks;
	struct report_group *groups;
	size_t nr_groups;
	struct report_block *blocks;
	size_t nr_blocks, room_blocks;
	uint32_t *index; /* a hash table of the blocks */
	size_t room_index;
	uint64_t begin, end; /* nanoseconds */
	uint64_t lost, failed, other;
	uint64_t faults[2], evictions, thrash;
	uint64_t bytes[REPORT_WAYS], prefetched, evicted;
};

int report_load(struct report *r, const char *path); /* RUN_*, with a message */
void report_free(struct report *r);

/* report_html_data.c: all that the page shows; the caller's. */
json_t *report_json(struct report *r);
/* report_html_advice.c: what could be told gmem, most useful first; @blocks are sorted by address. */
json_t *report_advice(const struct report_block *blocks, size_t n);

#endif
