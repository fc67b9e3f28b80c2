// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core's events as tracepoints, events/gmem/ of tracefs; and on to who reads them (events.c).
 *
 * The first who enables one makes the kernel call its _on function, the last who disables
 * it _off; both under a lock of the kernel's, perhaps before the module's init or after
 * its exit, which gm_trace() bears. In between an event goes from the core to whoever
 * enabled it; when nobody did, the core does not call.
 *
 * An address space's number says which it is, the process's which made it: the host's
 * record of it, struct gm_kas, is there as long as the core can name the address space.
 */
#include "kernel.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* What trace.h prints by number, for a format string that a tool can read. */
static_assert(GM_WHY_CPU_FAULT == 0 && GM_WHY_DEV_FAULT == 1 && GM_WHY_PREFETCH == 2 &&
	      GM_WHY_EVICT == 3 && GM_WHY_DRAIN == 4 && GM_WHY_POISON == 5);
static_assert(GM_READ == 1 && GM_WRITE == 2);

#define ON_OFF(name, kind)                                                                         \
	int gm_trace_##name##_on(void)                                                             \
	{                                                                                          \
		gm_trace(kind, true);                                                              \
		return 0;                                                                          \
	}                                                                                          \
	void gm_trace_##name##_off(void)                                                           \
	{                                                                                          \
		gm_trace(kind, false);                                                             \
	}

ON_OFF(fault, GM_EVENT_FAULT)
ON_OFF(migrate, GM_EVENT_MIGRATE)
ON_OFF(evict, GM_EVENT_EVICT)
ON_OFF(invalidate, GM_EVENT_INVALIDATE)
ON_OFF(poison, GM_EVENT_POISON)
ON_OFF(thrash, GM_EVENT_THRASH)
ON_OFF(remove, GM_EVENT_REMOVE)

u64 gm_trace_as(const struct gm_event *e)
{
	return e->as ? gm_as_id(e->as) : 0;
}

u64 gm_trace_obj(const struct gm_event *e)
{
	return e->obj ? gm_object_id(e->obj) : 0;
}

pid_t gm_trace_pid(const struct gm_event *e)
{
	struct gm_kas *kas = e->as ? *gm_as_host(e->as) : NULL;

	return kas ? kas->pid : 0;
}

void gm_os_trace(const struct gm_event *event)
{
	gm_events_tell(event);
	switch (event->kind) {
	case GM_EVENT_FAULT:
		trace_fault(event);
		break;
	case GM_EVENT_MIGRATE:
		trace_migrate(event);
		break;
	case GM_EVENT_EVICT:
		trace_evict(event);
		break;
	case GM_EVENT_POISON:
		trace_poison(event);
		break;
	case GM_EVENT_THRASH:
		trace_thrash(event);
		break;
	case GM_EVENT_REMOVE:
		trace_remove(event);
		break;
	default:
		trace_invalidate(event);
	}
}
