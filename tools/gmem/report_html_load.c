// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem report`: a trace in memory.
 *
 * Events are kept as little as they can be, for their times are known only when all were read; what is
 * told of 2 MiB of an object is summed up at once. A block comes back if it has been at a device, has
 * left, and is moved there again: what left and what came then could have been saved.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_html.h"
#include "trace.h"
#include "util.h"

/* ----------------------------------------------------------------- members of an event */

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static uint64_t number_of(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v < 0 ? 0 : (uint64_t)v;
}

static int node_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) && json_integer_value(v) >= 0 ? (int)json_integer_value(v) : -1;
}

/* Microseconds to nanoseconds; false: it is no time. */
static bool time_of(const json_t *o, const char *key, uint64_t *ns)
{
	const json_t *v = json_object_get(o, key);
	double us = json_number_value(v);

	if (!json_is_number(v) || !(us >= 0) || us > 1e15)
		return false;
	*ns = (uint64_t)llround(us * 1e3);
	return true;
}

static uint64_t process_of(uint64_t pid)
{
	return pid < REPORT_DEVICE_GROUP ? pid : (pid - REPORT_DEVICE_GROUP) >> 6;
}

/* ------------------------------------------------------------------- tracks and blocks */

static struct report_track *track_of(struct report *r, uint64_t pid, uint64_t tid)
{
	struct report_track *t;

	for (t = r->tracks; t < r->tracks + r->nr_tracks; t++)
		if (t->pid == pid && t->tid == tid)
			return t;
	r->tracks = xrealloc(r->tracks, r->nr_tracks + 1, sizeof(*r->tracks));
	t = &r->tracks[r->nr_tracks++];
	*t = (struct report_track){ .pid = pid, .tid = tid };
	return t;
}

static void name_group(struct report *r, uint64_t pid, const char *name)
{
	struct report_group *g;

	for (g = r->groups; g < r->groups + r->nr_groups; g++)
		if (g->pid == pid)
			break;
	if (g == r->groups + r->nr_groups) {
		r->groups = xrealloc(r->groups, r->nr_groups + 1, sizeof(*r->groups));
		g = &r->groups[r->nr_groups++];
	}
	g->pid = pid;
	snprintf(g->name, sizeof(g->name), "%s", name);
}

static void read_name(struct report *r, const json_t *event)
{
	const char *name = text_of(json_object_get(event, "args"), "name");
	uint64_t pid = number_of(event, "pid");
	struct report_track *t;

	if (!strcmp(text_of(event, "name"), "process_name")) {
		name_group(r, pid, name);
	} else if (!strcmp(text_of(event, "name"), "thread_name")) {
		t = track_of(r, pid, number_of(event, "tid"));
		snprintf(t->name, sizeof(t->name), "%s", name);
	}
}

static uint32_t *slot_of(const struct report *r, uint64_t process, uint64_t object, uint64_t index)
{
	size_t i = (size_t)random_at(process << 32 ^ object, index);
	const struct report_block *b;

	for (;; i++) {
		i &= r->room_index - 1;
		if (r->index[i] == UINT32_MAX)
			return &r->index[i];
		b = &r->blocks[r->index[i]];
		if (b->process == process && b->object == object && b->index == index)
			return &r->index[i];
	}
}

static void grow_index(struct report *r)
{
	size_t i;

	r->room_index = r->room_index ? 2 * r->room_index : 1024;
	r->index = xrealloc(r->index, r->room_index, sizeof(*r->index));
	memset(r->index, 0xff, r->room_index * sizeof(*r->index));
	for (i = 0; i < r->nr_blocks; i++)
		*slot_of(r, r->blocks[i].process, r->blocks[i].object,
			 r->blocks[i].index) = (uint32_t)i;
}

static uint32_t block_of(struct report *r, uint64_t process, const json_t *args)
{
	uint64_t object = number_of(args, "object"), offset = number_of(args, "offset");
	uint64_t addr = strtoull(text_of(args, "addr"), NULL, 16);
	struct report_block *b;
	uint32_t *slot;

	if (!object)
		return UINT32_MAX;
	if (2 * r->nr_blocks >= r->room_index)
		grow_index(r);
	slot = slot_of(r, process, object, offset / REPORT_BLOCK);
	if (*slot == UINT32_MAX) {
		if (r->nr_blocks == r->room_blocks) {
			r->room_blocks = r->room_blocks ? 2 * r->room_blocks : 256;
			r->blocks = xrealloc(r->blocks, r->room_blocks, sizeof(*r->blocks));
		}
		*slot = (uint32_t)r->nr_blocks++;
		r->blocks[*slot] = (struct report_block){ .number = *slot,
							  .process = process,
							  .object = object,
							  .index = offset / REPORT_BLOCK,
							  .device = -1 };
	}
	b = &r->blocks[*slot];
	offset %= REPORT_BLOCK;
	if (addr >= offset && !b->addr)
		b->addr = (addr - offset) & ~4095ULL;
	return *slot;
}

/* ------------------------------------------------------------------------------ events */

static const struct {
	const char *name;
	enum report_class class;
} names[] = {
	{ "CPU fault", REPORT_CPU_FAULT }, { "device fault", REPORT_DEV_FAULT },
	{ "move in", REPORT_IN },	   { "move home", REPORT_HOME },
	{ "rescue", REPORT_HOME },	   { "prefetch", REPORT_PREFETCH },
	{ "evict", REPORT_EVICT },	   { "move out", REPORT_OUT },
	{ "thrash", REPORT_THRASH },
};

/* Of @pages that come, those that had left for @why; what that cost is counted. */
static uint64_t come_back(struct report_block *b, enum report_reason why, uint64_t pages,
			  uint64_t bytes)
{
	uint64_t back = pages < b->away[why] ? pages : b->away[why], out;

	if (!back)
		return 0;
	out = b->away_bytes[why] * back / b->away[why];
	b->back_bytes[why] += out + bytes * back / pages;
	b->away_bytes[why] -= out;
	b->away[why] -= back;
	b->trips[why] += b->left;
	b->left = false;
	return back;
}

static void count_block(struct report_block *b, const struct report_event *e, const json_t *args)
{
	enum report_reason why = e->class == REPORT_OUT ? REPORT_BY_EVICTION : REPORT_BY_CPU;
	uint64_t pages = number_of(args, "pages"), back;

	b->bytes[e->way] += e->bytes;
	if (e->way == REPORT_TO_HOST) {
		if (b->device >= 0) {
			b->away[why] += pages;
			b->away_bytes[why] += e->bytes;
			b->left = true;
		}
		return;
	}
	b->device = node_of(args, "to");
	back = come_back(b, REPORT_BY_CPU, pages, e->bytes);
	back += come_back(b, REPORT_BY_EVICTION, pages - back,
			  pages ? e->bytes * (pages - back) / pages : 0);
	if (e->class == REPORT_IN && back < pages) {
		b->fault_moves++;
		b->fault_bytes += e->bytes * (pages - back) / pages;
	}
}

static void count_move(struct report *r, struct report_block *b, const struct report_event *e,
		       const json_t *args)
{
	r->bytes[e->way] += e->bytes;
	r->prefetched += e->class == REPORT_PREFETCH ? e->bytes : 0;
	r->evicted += e->class == REPORT_OUT ? e->bytes : 0;
	if (b)
		count_block(b, e, args);
}

static void count_event(struct report *r, const struct report_event *e, const json_t *args)
{
	struct report_block *b = e->block == UINT32_MAX ? NULL : &r->blocks[e->block];
	unsigned int by = e->class == REPORT_DEV_FAULT;

	if (e->failed)
		r->failed++;
	switch (e->class) {
	case REPORT_CPU_FAULT:
	case REPORT_DEV_FAULT:
		r->faults[by]++;
		if (b) {
			b->faults[by]++;
			b->writes[by] += e->write;
		}
		break;
	case REPORT_EVICT:
		r->evictions++;
		break;
	case REPORT_THRASH:
		r->thrash++;
		if (b)
			b->thrash++;
		break;
	default:
		if (!e->failed)
			count_move(r, b, e, args);
	}
}

static int read_event(void *data, const json_t *event)
{
	const json_t *args = json_object_get(event, "args");
	const char *ph = text_of(event, "ph"), *name = text_of(event, "name");
	struct report *r = data;
	struct report_event e = { 0 };
	uint64_t pid = number_of(event, "pid");
	size_t i;

	if (*ph == 'M')
		read_name(r, event);
	if (*ph == 'i' && !strcmp(name, "events lost"))
		r->lost += number_of(args, "events");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i].name, name))
			break;
	if ((*ph != 'X' && *ph != 'i') || i == sizeof(names) / sizeof(names[0]) ||
	    !time_of(event, "ts", &e.begin) || (*ph == 'X' && !time_of(event, "dur", &e.took))) {
		r->other += *ph != 'M' && *ph != 'C';
		return RUN_OK;
	}
	e.class = (uint8_t)names[i].class;
	e.bytes = number_of(args, "bytes");
	e.way = node_of(args, "to") < 0	    ? REPORT_TO_HOST
		: node_of(args, "from") < 0 ? REPORT_TO_DEVICE
					    : REPORT_BETWEEN;
	e.write = strcmp(text_of(args, "access"), "read");
	e.failed = json_object_get(args, "err") != NULL;
	e.track = (uint32_t)(track_of(r, pid, number_of(event, "tid")) - r->tracks);
	e.block = block_of(r, process_of(pid), args);
	if (r->nr_events == r->room_events) {
		r->room_events = r->room_events ? 2 * r->room_events : 4096;
		r->events = xrealloc(r->events, r->room_events, sizeof(*r->events));
	}
	r->events[r->nr_events++] = e;
	count_event(r, &e, args);
	return RUN_OK;
}

int report_load(struct report *r, const char *path)
{
	const struct report_event *e;
	int err = trace_read(path, read_event, r);

	if (err)
		return err;
	if (!r->nr_events)
		return fail(RUN_BAD_INPUT, "%s: there is no event of gmem's in this trace", path);
	r->begin = UINT64_MAX;
	for (e = r->events; e < r->events + r->nr_events; e++) {
		r->begin = e->begin < r->begin ? e->begin : r->begin;
		r->end = e->begin + e->took > r->end ? e->begin + e->took : r->end;
	}
	r->end += r->end == r->begin;
	return RUN_OK;
}

void report_free(struct report *r)
{
	size_t i;

	for (i = 0; i < r->nr_tracks; i++)
		free(r->tracks[i].bin_busy);
	free(r->tracks);
	free(r->groups);
	free(r->events);
	free(r->blocks);
	free(r->index);
}
