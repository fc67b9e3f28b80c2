// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Events: which kinds the host wants, and the names of what they happen to.
 *
 * The words are apart from gm_core: a host may be asked for events before gm_core_init() and
 * after gm_core_exit(). They guard nothing. Who finds that somebody listens just before he ceases
 * tells one event more, and the host must bear it.
 */
#include "core/trace.h"

/* Weak: a host has its own where others can raise the upper halves, which count too (USDT). */
__attribute__((weak)) uint32_t gm_traced[GM_EVENT_ALL];

void gm_trace(enum gm_event_kind kind, bool on)
{
	if (on)
		gm_add(&gm_traced[kind], 1);
	else
		gm_sub(&gm_traced[kind], 1);
}

void gm_trace_end(struct gm_event *event, uint64_t begin, int err)
{
	event->time = gm_os_now_ns();
	event->ns = event->time - begin;
	event->err = err;
	gm_os_trace(event);
}

/* The first region that maps the event's offset, of the event's address space if there is one. */
static const struct gm_region *region_of(const struct gm_event *event)
{
	const struct gm_region *found = NULL;

	for (const struct gm_region *r = event->obj->regions; r; r = r->next) {
		if (event->offset < r->offset || event->offset - r->offset >= r->len)
			continue;
		if (!found)
			found = r;
		if (!event->as || r->as == event->as)
			return r;
	}
	return found;
}

/*
 * As gm_trace_end(), of an event that knows an object and an offset but no address. The region is
 * in the list as long as maps_lock is held, and its address space is there as long as it has one.
 */
void gm_trace_end_at(struct gm_event *event, uint64_t begin, int err)
{
	const struct gm_region *r;

	if (!event->obj) {
		gm_trace_end(event, begin, err);
		return;
	}
	gm_rwlock_rdlock(&event->obj->maps_lock, GM_RANK_MAPS);
	r = region_of(event);
	if (r) {
		event->at = r->as;
		event->addr = r->va + (event->offset - r->offset);
	}
	gm_trace_end(event, begin, err);
	gm_rwlock_unlock(&event->obj->maps_lock, GM_RANK_MAPS);
}

void gm_event_record(struct gm_event_record *to, const struct gm_event *event)
{
	const struct gm_as *as = event->as ? event->as : event->at;

	*to = (struct gm_event_record){
		.version = GM_EVENT_VERSION,
		.size = sizeof(*to),
		.kind = event->kind,
		.time = event->time,
		.took = event->ns,
		.as = as ? as->id : 0,
		.object = event->obj ? event->obj->id : 0,
		.offset = event->offset,
		.addr = event->addr,
		.dev_addr = event->va,
		.len = event->len,
		.bytes = event->bytes,
		.pages = event->pages,
		.count = event->n,
		.from = event->from,
		.to = event->to,
		.why = event->why,
		.err = event->err,
	};
	/* Of a fault of the CPU's that is the one address there is. */
	if (event->kind == GM_EVENT_FAULT && event->why == GM_WHY_CPU_FAULT)
		to->dev_addr = 0;
}

uint64_t gm_as_id(const struct gm_as *as)
{
	return as->id;
}

uint64_t gm_object_id(const struct gm_object *obj)
{
	return obj->id;
}
