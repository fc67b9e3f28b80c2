// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Events of the core, recorded for a test to look at.
 *
 * Locking: one mutex over the record, held over no call.
 */
#include <string.h>

#include <gmem/driver.h>

#include "host/fake/internal.h"

#define EVENTS 4096U

static struct {
	pthread_mutex_t lock;
	struct gm_event event[EVENTS];
	unsigned int n; /* that happened; the first EVENTS are kept */
	uint32_t kinds;
} record = { .lock = PTHREAD_MUTEX_INITIALIZER };

void gm_os_trace(const struct gm_event *event)
{
	fake_check_may_sleep("trace"); /* not under a spinlock */
	pthread_mutex_lock(&record.lock);
	fake_bug_on(!(record.kinds & 1U << event->kind)); /* nobody asked */
	if (record.n < EVENTS)
		record.event[record.n] = *event;
	record.n++;
	pthread_mutex_unlock(&record.lock);
}

/* While one thread runs: an event that is on its way would not have been asked for. */
void gm_fake_trace(uint32_t kinds)
{
	uint32_t was = record.kinds;

	pthread_mutex_lock(&record.lock);
	record.kinds = kinds;
	record.n = 0;
	pthread_mutex_unlock(&record.lock);
	for (unsigned int kind = 0; kind < GM_EVENT_ALL; kind++)
		if ((was ^ kinds) >> kind & 1)
			gm_trace((enum gm_event_kind)kind, kinds >> kind & 1);
}

unsigned int gm_fake_events(struct gm_event *to, unsigned int max)
{
	unsigned int n;

	pthread_mutex_lock(&record.lock);
	n = record.n;
	memcpy(to, record.event, (n < max ? n : max) * sizeof(*to));
	pthread_mutex_unlock(&record.lock);
	return n;
}

void gm_record_access(struct gm_context *ctx, uint64_t va, uint32_t access, uint32_t lines)
{
	gm_note_access(ctx, va, access, lines);
}
