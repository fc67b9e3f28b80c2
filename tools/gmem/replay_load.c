// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* A trace, from its file to what the replay host runs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trace/trace.h"

#include "replay.h"
#include "util.h"

struct loader {
	const char *path;
	struct replay_trace *to;
	uint64_t pages, room_objects, room_ops;
};

static int add_object(struct loader *l, const struct gm_trace_record *r)
{
	struct replay_trace *to = l->to;

	if (r->pages > GM_REPLAY_PAGES - l->pages)
		return fail(RUN_BAD_INPUT, "%s: its objects have more than %s: too much to replay",
			    l->path, size_text(GM_REPLAY_PAGES * GM_PAGE_SIZE).s);
	l->pages += r->pages;
	if (to->t.nr_objects == l->room_objects) {
		l->room_objects = l->room_objects ? 2 * l->room_objects : 16;
		to->objects = xrealloc(to->objects, l->room_objects, sizeof(*to->objects));
	}
	to->objects[to->t.nr_objects++] = (struct gm_replay_object){ .pages = r->pages,
								     .flags = r->what };
	return RUN_OK;
}

static int add_op(struct loader *l, const struct gm_trace_record *r)
{
	static const enum gm_replay_kind kinds[GM_TRACE_KINDS] = {
		[GM_TRACE_PRESENT] = GM_REPLAY_PRESENT,	    [GM_TRACE_ACCESS] = GM_REPLAY_ACCESS,
		[GM_TRACE_CPU_FAULT] = GM_REPLAY_CPU_FAULT, [GM_TRACE_HINT] = GM_REPLAY_HINT,
		[GM_TRACE_DISCARD] = GM_REPLAY_HINT,	    [GM_TRACE_UNMAP] = GM_REPLAY_UNMAP,
	};
	struct replay_trace *to = l->to;
	struct gm_replay_op op = {
		.kind = (uint8_t)kinds[r->kind],
		.dev = (uint8_t)r->dev,
		.object = r->object,
		.page = (uint32_t)r->page,
		.n = (uint32_t)r->pages,
	};

	if (r->kind == GM_TRACE_HINT)
		op.advice = (uint8_t)r->what;
	else if (r->kind == GM_TRACE_DISCARD)
		op.advice = GM_DONTNEED;
	else
		op.access = (uint8_t)r->what;
	op.lines = (uint8_t)r->lines;
	if (to->t.nr_ops == l->room_ops) {
		l->room_ops = l->room_ops ? 2 * l->room_ops : 4096;
		to->ops = xrealloc(to->ops, l->room_ops, sizeof(*to->ops));
	}
	to->ops[to->t.nr_ops++] = op;
	return RUN_OK;
}

static int take(struct loader *l, const struct gm_trace_record *r)
{
	return r->kind == GM_TRACE_OBJECT ? add_object(l, r) : add_op(l, r);
}

int replay_load(const char *path, struct replay_trace *trace)
{
	struct loader l = { .path = path, .to = trace };
	const struct gm_trace_info *info;
	struct gm_trace_reader *reader;
	struct gm_trace_record record;
	struct gm_trace_error error;
	int err, status = RUN_OK;

	*trace = (struct replay_trace){ 0 };
	err = gm_trace_reader_open(path, &reader, &error);
	if (err)
		goto err_read;
	info = gm_trace_reader_info(reader);
	trace->t.nr_devs = info->nr_devs;
	for (uint32_t i = 0; i < info->nr_devs; i++)
		trace->t.base_page[i] = (uint32_t)info->dev[i].base_page;
	while (!status && (err = gm_trace_reader_next(reader, &record, &error)) > 0)
		status = take(&l, &record);
	gm_trace_reader_close(reader);
	trace->t.objects = trace->objects;
	trace->t.ops = trace->ops;
	if (status || !err)
		return status;
err_read:
	if (err == -EBADMSG || err == -EPROTONOSUPPORT)
		return fail(RUN_BAD_INPUT, "%s: at byte %llu: %s", path,
			    (unsigned long long)error.offset, error.text);
	return fail(RUN_BAD_INPUT, "%s: %s", path, strerror(-err));
}

void replay_unload(struct replay_trace *trace)
{
	free(trace->objects);
	free(trace->ops);
	*trace = (struct replay_trace){ 0 };
}
