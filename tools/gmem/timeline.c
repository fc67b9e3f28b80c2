// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Counters, looked at again and again.
 *
 * A thread looks every millisecond at first. When there are as many samples as may be every
 * other one goes, and it looks half as often: so however long a run is, it has samples enough for
 * a picture, and these cost it little. Counters only grow, so a slice between any two times has the
 * difference of what was counted until each; between samples they are taken to grow evenly.
 * Slices that meet have no byte twice and leave none out.
 *
 * Locking: while a part goes on the thread alone writes samples; before and after there is no thread.
 * t->lock guards t->stop.
 */
#include <time.h>

#include <gmem/gmem.h>

#include "timeline.h"
#include "util.h"

#define FIRST_STEP 1e-3

void timeline_init(struct timeline *t, struct gm_as *as, int hnode)
{
	*t = (struct timeline){ .as = as, .hnode = hnode, .step = FIRST_STEP };
}

static void make_room(struct timeline *t)
{
	unsigned int i;

	if (t->nr < TIMELINE_SAMPLES)
		return;
	for (i = 0; i < TIMELINE_SAMPLES / 2; i++)
		t->sample[i] = t->sample[2 * i];
	t->nr = TIMELINE_SAMPLES / 2;
	t->step *= 2;
}

/* Without an answer there is no sample: the slices are longer then. */
static void look(struct timeline *t)
{
	struct gm_stats stats = { .size = sizeof(stats) };
	struct gm_hnode_info info = { .size = sizeof(info) };

	if (gm_as_stats(t->as, &stats) || gm_hnode_info(t->hnode, &info))
		return;
	make_room(t);
	t->sample[t->nr].at = seconds_now() - t->begin;
	t->sample[t->nr].bytes = (struct timeline_bytes){
		.to_dev = stats.bytes_to_dev,
		.to_host = stats.bytes_to_host,
		.in_place = stats.remote_bytes,
		.used = info.total - info.free,
	};
	t->nr++;
}

static void *timeline_thread(void *arg)
{
	struct timeline *t = arg;
	struct timespec ts;
	long ns;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ns = ts.tv_nsec + (long)(t->step * 1e9);
		ts.tv_sec += ns / 1000000000;
		ts.tv_nsec = ns % 1000000000;
		if (pthread_cond_timedwait(&t->wake, &t->lock, &ts) && !t->stop)
			look(t);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

void timeline_begin(struct timeline *t)
{
	pthread_condattr_t attr;

	t->stop = false;
	t->begin = seconds_now() - (t->parts ? t->part[t->parts - 1] : 0);
	look(t);
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &attr);
	pthread_condattr_destroy(&attr);
	/* Without the thread there are the samples of the ends, and a picture of them. */
	t->running = !pthread_create(&t->thread, NULL, timeline_thread, t);
}

void timeline_end(struct timeline *t)
{
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	if (t->running)
		pthread_join(t->thread, NULL);
	t->running = false;
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	look(t);
	t->part[t->parts++] = seconds_now() - t->begin;
}

/* ---------------------------------------------------------------------------- slices */

static uint64_t between(uint64_t a, uint64_t b, double share)
{
	return b > a ? a + (uint64_t)((double)(b - a) * share)
		     : a - (uint64_t)((double)(a - b) * share);
}

/* What had been counted by then. */
static struct timeline_bytes count_at(const struct timeline *t, double at)
{
	const struct timeline_bytes *a, *b;
	unsigned int i = 0;
	double share;

	if (!t->nr)
		return (struct timeline_bytes){ 0 };
	while (i + 1 < t->nr && t->sample[i + 1].at <= at)
		i++;
	a = &t->sample[i].bytes;
	if (i + 1 == t->nr || at < t->sample[i].at)
		return *a;
	b = &t->sample[i + 1].bytes;
	share = (at - t->sample[i].at) / (t->sample[i + 1].at - t->sample[i].at);
	return (struct timeline_bytes){
		.to_dev = between(a->to_dev, b->to_dev, share),
		.to_host = between(a->to_host, b->to_host, share),
		.in_place = between(a->in_place, b->in_place, share),
		.used = between(a->used, b->used, share),
	};
}

static uint64_t most_used(const struct timeline *t, double from, double to)
{
	uint64_t most = 0;
	unsigned int i;

	for (i = 0; i < t->nr; i++)
		if (t->sample[i].at >= from && t->sample[i].at <= to &&
		    t->sample[i].bytes.used > most)
			most = t->sample[i].bytes.used;
	return most;
}

void timeline_cut(const struct timeline *t, double from, double to, struct timeline_bytes *slice,
		  unsigned int n)
{
	struct timeline_bytes a = count_at(t, from), b;
	double begin = from, end;
	unsigned int i;

	for (i = 0; i < n; i++) {
		end = i + 1 == n ? to : from + (to - from) * (i + 1) / n;
		b = count_at(t, end);
		slice[i] = (struct timeline_bytes){
			.to_dev = b.to_dev - a.to_dev,
			.to_host = b.to_host - a.to_host,
			.in_place = b.in_place - a.in_place,
			.used = most_used(t, begin, end),
		};
		slice[i].used = slice[i].used > a.used ? slice[i].used : a.used;
		slice[i].used = slice[i].used > b.used ? slice[i].used : b.used;
		a = b;
		begin = end;
	}
}
