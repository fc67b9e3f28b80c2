// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem report`: what the page shows, as JSON.
 *
 * Time is cut into bins. Of a move the bytes go to the bins that its span covers, by their share; of a
 * track each bin says how long it was at what. A span within another is part of that too, so what is
 * drawn is what is deepest: that comes first in a file, for it ends first.
 */
#include <stdlib.h>
#include <string.h>

#include "report_html.h"
#include "util.h"

#define MAX_ROWS 48U   /* of the map of faults */
#define MAX_TRACKS 24U /* the busiest */
#define HEAT_BINS 120U

struct bins {
	double bytes[REPORT_WAYS][REPORT_BINS];
	uint64_t faults[2][REPORT_BINS];
};

static uint64_t bin_time(const struct report *r, unsigned int bin)
{
	return r->begin + (uint64_t)((double)(r->end - r->begin) * bin / REPORT_BINS);
}

static unsigned int bin_at(const struct report *r, uint64_t time, unsigned int bins)
{
	unsigned int b = (unsigned int)((double)(time - r->begin) / (double)(r->end - r->begin) *
					(double)bins);

	return b < bins ? b : bins - 1;
}

/* ---------------------------------------------------------------------------- series */

static void add_span(const struct report *r, const struct report_event *e, struct bins *bins)
{
	uint64_t end = e->begin + e->took, from, to, *busy;
	unsigned int b = bin_at(r, e->begin, REPORT_BINS), last = bin_at(r, end, REPORT_BINS);
	bool moves = e->class != REPORT_EVICT && e->class != REPORT_CPU_FAULT &&
		     e->class != REPORT_DEV_FAULT && e->class != REPORT_THRASH;
	double share;

	for (; b <= last; b++) {
		from = bin_time(r, b) > e->begin ? bin_time(r, b) : e->begin;
		to = b < last ? bin_time(r, b + 1) : end;
		to = to > from ? to : from;
		share = e->took ? (double)(to - from) / (double)e->took : b == last;
		if (moves && !e->failed)
			bins->bytes[e->way][b] += (double)e->bytes * share;
		busy = r->tracks[e->track].bin_busy;
		busy[b * REPORT_CLASSES + e->class] += to - from;
	}
}

static void add_event(struct report *r, const struct report_event *e, struct bins *bins)
{
	struct report_track *t = &r->tracks[e->track];
	uint64_t end = e->begin + e->took;

	if (!t->bin_busy) {
		t->bin_busy = xrealloc(NULL, REPORT_BINS * REPORT_CLASSES, sizeof(*t->bin_busy));
		memset(t->bin_busy, 0, REPORT_BINS * REPORT_CLASSES * sizeof(*t->bin_busy));
	}
	if (e->class == REPORT_CPU_FAULT || e->class == REPORT_DEV_FAULT)
		bins->faults[e->class == REPORT_DEV_FAULT][bin_at(r, e->begin, REPORT_BINS)]++;
	if (end > t->last) {
		t->busy += end - (e->begin > t->last ? e->begin : t->last);
		t->last = end;
	}
	add_span(r, e, bins);
}

static json_t *numbers(const double *v, unsigned int n)
{
	json_t *a = json_array();
	unsigned int i;

	for (i = 0; i < n; i++)
		json_array_append_new(a, json_integer((json_int_t)(v[i] + 0.5)));
	return a;
}

static json_t *counts(const uint64_t *v, unsigned int n)
{
	json_t *a = json_array();
	unsigned int i;

	for (i = 0; i < n; i++)
		json_array_append_new(a, json_integer((json_int_t)v[i]));
	return a;
}

/* ---------------------------------------------------------------------------- tracks */

static int by_busy(const void *a, const void *b)
{
	const struct report_track *const *x = a, *const *y = b;

	return ((*x)->busy < (*y)->busy) - ((*x)->busy > (*y)->busy);
}

static int by_place(const void *a, const void *b)
{
	const struct report_track *const *x = a, *const *y = b;

	if ((*x)->pid != (*y)->pid)
		return (*x)->pid < (*y)->pid ? -1 : 1;
	return ((*x)->tid > (*y)->tid) - ((*x)->tid < (*y)->tid);
}

/* Of each bin what it was at: what is deepest of what takes at least a quarter of what is busy. */
static json_t *track_json(const struct report *r, const struct report_track *t)
{
	json_t *class = json_array(), *part = json_array(), *o;
	const char *group = t->pid < REPORT_DEVICE_GROUP ? "process" : "device";
	unsigned int b, c;
	size_t g;

	for (g = 0; g < r->nr_groups; g++)
		if (r->groups[g].pid == t->pid)
			group = r->groups[g].name;
	for (b = 0; b < REPORT_BINS; b++) {
		const uint64_t *busy = &t->bin_busy[b * REPORT_CLASSES];
		uint64_t most = 0, width = bin_time(r, b + 1) - bin_time(r, b);

		for (c = 0; c < REPORT_CLASSES; c++)
			most = busy[c] > most ? busy[c] : most;
		for (c = REPORT_CLASSES - 1; c > 0 && busy[c] * 4 <= most; c--)
			;
		json_array_append_new(class, json_integer(most ? (json_int_t)c : -1));
		json_array_append_new(
			part,
			json_integer(
				(json_int_t)(width ? 100 * (most < width ? most : width) / width
						   : 0)));
	}
	o = json_pack("{s:s, s:s, s:I, s:b, s:I, s:o, s:o}", "group", group, "name", t->name, "tid",
		      (json_int_t)t->tid, "device", t->pid >= REPORT_DEVICE_GROUP, "busy",
		      (json_int_t)t->busy, "class", class, "part", part);
	return o;
}

static json_t *tracks_json(const struct report *r)
{
	const struct report_track **order = xrealloc(NULL, r->nr_tracks,
						     sizeof(struct report_track *));
	json_t *out = json_array();
	size_t n = 0, i;

	for (i = 0; i < r->nr_tracks; i++)
		if (r->tracks[i].bin_busy)
			order[n++] = &r->tracks[i];
	qsort(order, n, sizeof(*order), by_busy);
	n = n < MAX_TRACKS ? n : MAX_TRACKS;
	qsort(order, n, sizeof(*order), by_place);
	for (i = 0; i < n; i++)
		json_array_append_new(out, track_json(r, order[i]));
	free(order);
	return out;
}

/* ---------------------------------------------------------------------------- ranges */

static int by_address(const void *a, const void *b)
{
	const struct report_block *x = a, *y = b;

	if (x->process != y->process)
		return x->process < y->process ? -1 : 1;
	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

/* By address; events say where their block is then. */
static void sort_blocks(struct report *r)
{
	uint32_t *where = xrealloc(NULL, r->nr_blocks, sizeof(*where)), i;
	struct report_event *e;

	qsort(r->blocks, r->nr_blocks, sizeof(*r->blocks), by_address);
	for (i = 0; i < r->nr_blocks; i++)
		where[r->blocks[i].number] = i;
	for (e = r->events; e < r->events + r->nr_events; e++)
		if (e->block != UINT32_MAX)
			e->block = where[e->block];
	free(where);
}

struct row {
	uint32_t first, last; /* blocks */
	uint64_t heat[HEAT_BINS];
};

/* Neighbours share a row where there are more blocks than rows; an object has its own. */
static size_t make_rows(const struct report *r, struct row **out, uint32_t *row_of)
{
	size_t per = (r->nr_blocks + MAX_ROWS - 1) / MAX_ROWS, nr = 0;
	struct row *rows = xrealloc(NULL, r->nr_blocks, sizeof(*rows));
	uint32_t i;

	for (i = 0; i < r->nr_blocks; i++) {
		const struct report_block *b = &r->blocks[i];
		const struct report_block *f = nr ? &r->blocks[rows[nr - 1].first] : NULL;

		if (!f || f->process != b->process || f->object != b->object ||
		    b->index >= f->index + per) {
			memset(&rows[nr], 0, sizeof(rows[nr]));
			rows[nr++].first = i;
		}
		rows[nr - 1].last = i;
		row_of[i] = (uint32_t)nr - 1;
	}
	*out = rows;
	return nr;
}

static json_t *row_json(const struct report_block *blocks, const struct row *row)
{
	const struct report_block *f = &blocks[row->first], *l = &blocks[row->last], *b;
	struct report_block sum = { 0 };
	unsigned int i;

	for (b = f; b <= l; b++) {
		for (i = 0; i < 2; i++)
			sum.faults[i] += b->faults[i];
		for (i = 0; i < REPORT_WAYS; i++)
			sum.bytes[i] += b->bytes[i];
		for (i = 0; i < REPORT_REASONS; i++)
			sum.trips[i] += b->trips[i];
		sum.thrash += b->thrash;
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "addr",
			 (json_int_t)f->addr, "object", (json_int_t)f->object, "offset",
			 (json_int_t)(f->index * REPORT_BLOCK), "len",
			 (json_int_t)((l->index + 1 - f->index) * REPORT_BLOCK), "cpu",
			 (json_int_t)sum.faults[0], "dev", (json_int_t)sum.faults[1], "in",
			 (json_int_t)(sum.bytes[REPORT_TO_DEVICE] + sum.bytes[REPORT_BETWEEN]),
			 "out", (json_int_t)sum.bytes[REPORT_TO_HOST], "trips_cpu",
			 (json_int_t)sum.trips[REPORT_BY_CPU], "trips_evict",
			 (json_int_t)sum.trips[REPORT_BY_EVICTION], "thrash",
			 (json_int_t)sum.thrash, "heat", counts(row->heat, HEAT_BINS));
}

/* In the order of addresses. */
static json_t *ranges_json(const struct report *r)
{
	uint32_t *row_of = xrealloc(NULL, r->nr_blocks, sizeof(*row_of));
	struct row *rows;
	size_t n = make_rows(r, &rows, row_of), i;
	const struct report_event *e;
	json_t *out = json_array();

	for (e = r->events; e < r->events + r->nr_events; e++)
		if (e->block != UINT32_MAX &&
		    (e->class == REPORT_CPU_FAULT || e->class == REPORT_DEV_FAULT))
			rows[row_of[e->block]].heat[bin_at(r, e->begin, HEAT_BINS)]++;
	for (i = 0; i < n; i++)
		json_array_append_new(out, row_json(r->blocks, &rows[i]));
	free(row_of);
	free(rows);
	return out;
}

static json_t *totals_json(const struct report *r)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "events",
			 (json_int_t)r->nr_events, "lost", (json_int_t)r->lost, "failed",
			 (json_int_t)r->failed, "cpu_faults", (json_int_t)r->faults[0],
			 "dev_faults", (json_int_t)r->faults[1], "to_device",
			 (json_int_t)r->bytes[REPORT_TO_DEVICE], "to_host",
			 (json_int_t)r->bytes[REPORT_TO_HOST], "between",
			 (json_int_t)r->bytes[REPORT_BETWEEN], "evictions",
			 (json_int_t)r->evictions, "evicted", (json_int_t)r->evicted, "prefetched",
			 (json_int_t)r->prefetched, "thrash", (json_int_t)r->thrash);
}

json_t *report_json(struct report *r)
{
	struct bins *bins = xrealloc(NULL, 1, sizeof(*bins));
	json_t *bytes, *faults, *out;
	size_t i;

	memset(bins, 0, sizeof(*bins));
	sort_blocks(r);
	for (i = 0; i < r->nr_events; i++)
		add_event(r, &r->events[i], bins);
	bytes = json_pack("{s:o, s:o, s:o}", "to_device",
			  numbers(bins->bytes[REPORT_TO_DEVICE], REPORT_BINS), "to_host",
			  numbers(bins->bytes[REPORT_TO_HOST], REPORT_BINS), "between",
			  numbers(bins->bytes[REPORT_BETWEEN], REPORT_BINS));
	faults = json_pack("{s:o, s:o}", "cpu", counts(bins->faults[0], REPORT_BINS), "device",
			   counts(bins->faults[1], REPORT_BINS));
	out = json_pack("{s:s, s:s, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "version",
			GMEM_VERSION, "file", r->file, "ns", (json_int_t)(r->end - r->begin),
			"bins", (int)REPORT_BINS, "totals", totals_json(r), "bytes", bytes,
			"faults", faults, "tracks", tracks_json(r), "ranges", ranges_json(r),
			"advice", report_advice(r->blocks, r->nr_blocks));
	free(bins);
	return out;
}
