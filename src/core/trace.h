/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Events for whoever studies what gmem does. A place that has one to tell asks
 * gm_tracing() first, once, before anything is done for it: with nobody looking an event
 * costs the reading of one word. struct gm_event, in os.h, has the fields.
 */
#ifndef GM_CORE_TRACE_H
#define GM_CORE_TRACE_H

#include "core/core.h"

extern uint32_t gm_traced[GM_EVENT_ALL]; /* how many listen (a) */

static inline bool gm_tracing(enum gm_event_kind kind)
{
	return __builtin_expect(gm_load(&gm_traced[kind]) != 0, 0);
}

static inline int gm_dev_node(const struct gm_dev *dev)
{
	return gm_core.first_hnode + (int)dev->index;
}

/* The node that an entry says a page is at. */
static inline int gm_entry_node(uint64_t e)
{
	if (gm_entry_state(e) == GM_DEV)
		return gm_core.first_hnode + (int)gm_entry_dev(e);
	return gm_entry_state(e) == GM_HOST ? GM_NODE_HOST : GM_NODE_NONE;
}

/* record.c: a hint was carried out, all of it. No lock is held. */
void gm_note_hint(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice);

/* record.c: GM_EVENT_PRESENT and DISCARD; whoever calls has asked gm_tracing(). */
void gm_note_pages(enum gm_event_kind kind, struct gm_object *obj, uint64_t off, uint64_t len);

/* The last fields, and out with it. */
void gm_trace_end(struct gm_event *event, uint64_t begin, int err);
/* The same, and an address for the offset. maps_lock of the object is not held. */
void gm_trace_end_at(struct gm_event *event, uint64_t begin, int err);

#endif
