/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Events as JSON in the format of Chrome's trace viewer: trace_json.c. */
#ifndef GM_LIB_TRACE_JSON_H
#define GM_LIB_TRACE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gmem/events.h>

#define GM_TRACE_TEXT (128U << 10) /* bytes of text that are collected at most */
#define GM_TRACE_EVENT 1024U	   /* bytes that an event takes at most, with names */
#define GM_TRACE_TRACKS 1024U	   /* a power of two */
#define GM_TRACE_SPANS 4U

/* Of a track the spans that no other one contains, youngest last. */
struct gm_trace_track {
	uint32_t group, tid; /* group 0: free */
	unsigned int n;
	uint64_t begin[GM_TRACE_SPANS], end[GM_TRACE_SPANS];
};

struct gm_trace_json {
	int pid; /* whose events they are, unless they say */
	unsigned int nr_tracks;
	bool moved;	   /* since the last counters */
	uint64_t bytes[3]; /* copied so far: to devices, to the host, between devices */
	size_t len;	   /* of text */
	char program[64];
	char text[GM_TRACE_TEXT + 4]; /* and the array's end */
	struct gm_trace_track tracks[GM_TRACE_TRACKS];
};

/* Is there room for one event more? */
static inline bool gm_trace_json_room(const struct gm_trace_json *t)
{
	return t->len + GM_TRACE_EVENT <= GM_TRACE_TEXT;
}

/* Each appends text, for which there is room: whole objects, each after ",\n". */
void gm_trace_json_event(struct gm_trace_json *t, const struct gm_event_record *r);
void gm_trace_json_counters(struct gm_trace_json *t, uint64_t now);
void gm_trace_json_lost(struct gm_trace_json *t, uint64_t now, uint64_t events);

#endif
