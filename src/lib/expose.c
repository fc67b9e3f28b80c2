// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What a process has that others may ask about: its address spaces and its devices.
 *
 * Both hosts are the same here: what passes through dispatch.c is noted, and asked by public
 * functions. What has ended still counts, for whoever asks at the program's end.
 *
 * Nothing that the thread of expose_serve.c reads is memory of malloc()'s: that may be managed
 * itself, and a thread that blocks SIGBUS must not touch such memory.
 *
 * Locking. things_lock guards the tables. What is in them can be called with as long as it is held:
 * who ends an address space or a device takes it out first. Held over calls that look, so nobody waits
 * for longer than one of these takes. A child of fork() begins with nothing: on either host its
 * parent's address spaces are not its own.
 */
#define _GNU_SOURCE
#include <string.h>

#include "core/os.h"
#include "expose.h"

pthread_mutex_t gm_expose_things_lock = PTHREAD_MUTEX_INITIALIZER;
struct gm_expose_things gm_expose_things;

static struct gm_expose_things *const things = &gm_expose_things;

void gm_stats_add(struct gm_stats *to, const struct gm_stats *from)
{
	uint64_t *sum = &to->cpu_faults;
	const uint64_t *more = &from->cpu_faults;

	for (size_t i = 0; i < (sizeof(*to) - offsetof(struct gm_stats, cpu_faults)) / 8; i++)
		sum[i] += more[i];
}

/* ---------------------------------------------------------------------- address spaces */

/* Locked. */
static bool reserve(void)
{
	size_t max = things->max ? 2 * things->max : GM_PAGE_SIZE / sizeof(*things->space);
	struct gm_expose_space *to;

	if (things->nr < things->max)
		return true;
	to = gm_os_alloc(max * sizeof(*to));
	if (!to)
		return false;
	if (things->nr)
		memcpy(to, things->space, things->nr * sizeof(*to));
	gm_os_free(things->space, things->max * sizeof(*to));
	things->space = to;
	things->max = max;
	return true;
}

/* Locked. Without memory for it the address space is not told of, and nothing else. */
static void add(struct gm_as *as, uint64_t id)
{
	if (reserve())
		things->space[things->nr++] = (struct gm_expose_space){ as, id };
}

void gm_expose_as_created(struct gm_as *as)
{
	pthread_mutex_lock(&gm_expose_things_lock);
	add(as, ++things->ids);
	pthread_mutex_unlock(&gm_expose_things_lock);
	gm_expose_serve();
}

void gm_expose_as_ending(struct gm_as *as, struct gm_expose_ending *end)
{
	*end = (struct gm_expose_ending){ .last.size = sizeof(end->last) };
	pthread_mutex_lock(&gm_expose_things_lock);
	for (size_t i = 0; i < things->nr && !end->id; i++) {
		if (things->space[i].as != as)
			continue;
		end->id = things->space[i].id;
		things->space[i] = things->space[--things->nr];
		gm_host()->as_stats(as, &end->last);
	}
	pthread_mutex_unlock(&gm_expose_things_lock);
}

void gm_expose_as_ended(struct gm_as *as, const struct gm_expose_ending *end, int err)
{
	if (!end->id)
		return;
	pthread_mutex_lock(&gm_expose_things_lock);
	if (err) {
		add(as, end->id);
	} else {
		gm_stats_add(&things->ended_sum, &end->last);
		things->ended++;
	}
	pthread_mutex_unlock(&gm_expose_things_lock);
}

/* ----------------------------------------------------------------------------- devices */

/* Locked: a place that is free, or that of the device that ended first. NULL: all are in use. */
static struct gm_expose_dev *place(void)
{
	struct gm_expose_dev *found = NULL;

	for (unsigned int i = 0; i < GM_EXPOSE_DEVS; i++) {
		struct gm_expose_dev *d = &things->dev[i];

		if (!d->dev && (!found || d->seq < found->seq))
			found = d;
	}
	return found;
}

void gm_expose_dev_created(struct gm_dev *dev, const char *name)
{
	struct gm_expose_dev *d;
	size_t len = strnlen(name, sizeof(d->name) - 1);

	pthread_mutex_lock(&gm_expose_things_lock);
	d = place();
	if (d) {
		*d = (struct gm_expose_dev){ .dev = dev, .seq = ++things->ids };
		d->hnode = gm_host()->dev_hnode(dev);
		memcpy(d->name, name, len);
	}
	pthread_mutex_unlock(&gm_expose_things_lock);
}

void gm_expose_dev_ending(struct gm_dev *dev, struct gm_expose_ending *end)
{
	*end = (struct gm_expose_ending){ .last.size = sizeof(end->last) };
	if (!dev)
		return;
	pthread_mutex_lock(&gm_expose_things_lock);
	for (unsigned int i = 0; i < GM_EXPOSE_DEVS && !end->slot; i++) {
		if (things->dev[i].dev != dev)
			continue;
		end->slot = &things->dev[i];
		end->id = end->slot->seq;
		gm_host()->dev_stats(dev, &end->last);
		end->slot->stats = end->last;
		end->slot->dev = NULL;
	}
	pthread_mutex_unlock(&gm_expose_things_lock);
}

/* The place may be another's by now: a device that could not end is then not told of any more. */
void gm_expose_dev_ended(struct gm_dev *dev, const struct gm_expose_ending *end, int err)
{
	if (!err || !end->slot)
		return;
	pthread_mutex_lock(&gm_expose_things_lock);
	if (end->slot->seq == end->id)
		end->slot->dev = dev;
	pthread_mutex_unlock(&gm_expose_things_lock);
}

/* ------------------------------------------------------------------------------- fork */

void gm_expose_forget(void)
{
	gm_os_free(things->space, things->max * sizeof(*things->space));
	*things = (struct gm_expose_things){ .nr = 0 };
}
