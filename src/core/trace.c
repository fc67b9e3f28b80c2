// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Events: which kinds the host wants, and the names of what they happen to.
 *
 * The word is apart from gm_core: a host may be asked for events before gm_core_init() and
 * after gm_core_exit(). It guards nothing. Who finds a bit set just before it is cleared
 * tells one event more, and the host must bear it.
 */
#include "core/trace.h"

uint32_t gm_traced;

void gm_trace(enum gm_event_kind kind, bool on)
{
	if (on)
		__atomic_fetch_or(&gm_traced, 1U << kind, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&gm_traced, ~(1U << kind), __ATOMIC_RELAXED);
}

void gm_trace_end(struct gm_event *event, uint64_t begin, int err)
{
	event->ns = gm_os_now_ns() - begin;
	event->err = err;
	gm_os_trace(event);
}

uint64_t gm_as_id(const struct gm_as *as)
{
	return as->id;
}

uint64_t gm_object_id(const struct gm_object *obj)
{
	return obj->id;
}
