// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem report`: advice.
 *
 * For each 2 MiB: what was copied again after it had been at the device once, and why it had left,
 * says what a hint could have saved. If the CPU took it, and nobody but the CPU wrote, replicas would do
 * (READ_MOSTLY); else it should stay in one place, used from the other side where it is
 * (PREFERRED_LOCATION). If it was evicted, the device is too small for what it is used with, and
 * what comes back most should be kept (PIN). What came by one fault after another could have come at
 * once (PREFETCH). Neighbours of which the same is said become one range. All this is what the
 * past would have saved, if nothing else had changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_html.h"
#include "util.h"

#define MAX_ADVICE 12U
#define MIN_TRIPS 2U
#define MIN_FAULT_MOVES 8U
#define MIN_BYTES (256U << 10)

enum kind { NONE, READ_MOSTLY, PREFERRED, PIN, PREFETCH };

static const struct {
	const char *hint, *why;
} kinds[] = {
	[READ_MOSTLY] = { "GM_READ_MOSTLY", "the CPU and a device take it from each other, only to "
					    "read: replicas would serve both" },
	[PREFERRED] = { "GM_PREFERRED_LOCATION", "this range ping-pongs between the CPU and a "
						 "device: let it stay at one place, "
						 "where the other side can use it over the link" },
	[PIN] = { "GM_PIN",
		  "it was evicted and came back: keep it, or give the device more memory, or "
		  "work on less at a time" },
	[PREFETCH] = { "GM_PREFETCH",
		       "the device waited for it piece by piece: bring it before it is "
		       "used" },
};

struct advice {
	enum kind kind;
	const struct report_block *first;
	uint64_t addr, len, bytes, times;
	int device;
};

static enum kind kind_of(const struct report_block *b, uint64_t *bytes, uint64_t *times)
{
	const uint64_t *back = b->back_bytes;
	enum report_reason why = back[REPORT_BY_CPU] >= back[REPORT_BY_EVICTION]
					 ? REPORT_BY_CPU
					 : REPORT_BY_EVICTION;

	*bytes = back[why];
	*times = b->trips[why];
	if (*times >= MIN_TRIPS && *bytes) {
		if (why == REPORT_BY_EVICTION)
			return PIN;
		return b->writes[1] || b->writes[0] * 8 > b->faults[0] ? PREFERRED : READ_MOSTLY;
	}
	*bytes = b->fault_bytes;
	*times = b->fault_moves;
	return *times >= MIN_FAULT_MOVES && *bytes ? PREFETCH : NONE;
}

static bool joins(const struct advice *a, const struct report_block *b, enum kind kind)
{
	uint64_t next = a->first->index + a->len / REPORT_BLOCK;

	return a->kind == kind && a->device == b->device && a->first->process == b->process &&
	       a->first->object == b->object && next == b->index && (!a->addr) == (!b->addr) &&
	       (!a->addr || a->addr + a->len == b->addr);
}

/* What saves copies first, by how much; then what saves waiting. */
static int compare(const void *pa, const void *pb)
{
	const struct advice *a = pa, *b = pb;

	if ((a->kind == PREFETCH) != (b->kind == PREFETCH))
		return a->kind == PREFETCH ? 1 : -1;
	return (a->bytes < b->bytes) - (a->bytes > b->bytes);
}

static json_t *advice_json(const struct advice *a)
{
	char gain[128];

	if (a->kind == PREFETCH)
		snprintf(gain, sizeof(gain), "would bring %s without %s faults",
			 size_text(a->bytes).s, count_text(a->times).s);
	else
		snprintf(gain, sizeof(gain), "would save %s of copies, of %s round trips",
			 size_text(a->bytes).s, count_text(a->times).s);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:i, s:s, s:s}", "hint",
			 kinds[a->kind].hint, "addr", (json_int_t)a->addr, "len",
			 (json_int_t)a->len, "object", (json_int_t)a->first->object, "bytes",
			 (json_int_t)a->bytes, "times", (json_int_t)a->times, "device", a->device,
			 "gain", gain, "why", kinds[a->kind].why);
}

json_t *report_advice(const struct report_block *blocks, size_t n)
{
	struct advice *all = xrealloc(NULL, n, sizeof(*all)), *a = NULL;
	json_t *out = json_array();
	uint64_t bytes, times;
	size_t nr = 0, i;

	for (i = 0; i < n; i++) {
		const struct report_block *b = &blocks[i];
		enum kind kind = kind_of(b, &bytes, &times);

		if (kind == NONE)
			continue;
		if (!a || !joins(a, b, kind)) {
			a = &all[nr++];
			*a = (struct advice){
				.kind = kind, .first = b, .addr = b->addr, .device = b->device
			};
		}
		a->len += REPORT_BLOCK;
		a->bytes += bytes;
		a->times += times;
	}
	qsort(all, nr, sizeof(*all), compare);
	for (i = 0; i < nr && json_array_size(out) < MAX_ADVICE; i++)
		if (all[i].bytes >= MIN_BYTES)
			json_array_append_new(out, advice_json(&all[i]));
	free(all);
	return out;
}
