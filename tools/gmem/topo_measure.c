// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What links do: pages are moved, as a program's are, by hmadvise(GM_PREFETCH), and that is
 * timed. So it is the way of the bytes together with what gmem does to mappings on it.
 *
 * A bandwidth is that of the best of several rounds, for all that disturbs makes it smaller.
 * A latency is the median of the times that one page takes. What was not where it should be
 * when a round began (a device may evict at any time) does not count as moved.
 */
#include <stdlib.h>
#include <string.h>

#include "topo.h"
#include "util.h"

#define LATENCY_ROUNDS 5U /* for each of a bandwidth's */

struct range {
	char *addr;
	struct gm_page_info *info; /* for each of its pages */
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Move [addr, addr+len) to @to once it is at @from; how many bytes that were, and how long. */
static int move(const struct range *r, uint64_t len, int from, int to, uint64_t *bytes,
		double *seconds)
{
	double begin;
	uint64_t i;
	int err;

	err = hmadvise(from, r->addr, len, GM_PREFETCH);
	if (!err)
		err = gm_query(r->addr, len, r->info);
	if (err)
		return err;
	*bytes = 0;
	for (i = 0; i < len / GM_PAGE_SIZE; i++)
		if (r->info[i].node == from)
			*bytes += GM_PAGE_SIZE;
	begin = seconds_now();
	err = hmadvise(to, r->addr, len, GM_PREFETCH);
	*seconds = seconds_now() - begin;
	return err;
}

/* Half of the smaller device at most, in whole blocks: it is to fit without an eviction. */
static uint64_t fitting(const struct topo *t, unsigned int i, uint64_t size)
{
	uint64_t half;

	if (!i)
		return size;
	half = t->hnodes[i - 1].total / 2 & ~(GM_BLOCK_SIZE - 1);
	if (half < GM_BLOCK_SIZE)
		half = GM_BLOCK_SIZE;
	return half < size ? half : size;
}

static int measure_link(struct topo *t, const struct range *r, unsigned int i, unsigned int j)
{
	uint64_t len = fitting(t, i, fitting(t, j, t->size)), rounds = t->repeat * LATENCY_ROUNDS;
	int err, from = topo_place(t, i), to = topo_place(t, j);
	double *times = xrealloc(NULL, rounds, sizeof(*times)), seconds;
	struct topo_link *link = &t->links[i][j];
	uint64_t bytes, k, nr = 0;

	/* The first round also makes what later ones find, and does not count. */
	err = move(r, len, from, to, &bytes, &seconds);
	for (k = 0; !err && k < t->repeat; k++) {
		err = move(r, len, from, to, &bytes, &seconds);
		if (!err && seconds > 0 && (double)bytes > link->bandwidth * seconds)
			link->bandwidth = (double)bytes / seconds;
	}
	for (k = 0; !err && k < rounds; k++) {
		err = move(r, GM_PAGE_SIZE, from, to, &bytes, &seconds);
		if (!err && bytes)
			times[nr++] = seconds;
	}
	if (nr) {
		qsort(times, nr, sizeof(*times), compare);
		link->latency = times[nr / 2];
	}
	free(times);
	return err;
}

static int measure_all(struct topo *t, const struct range *r)
{
	unsigned int i, j;
	int err = 0;

	for (i = 0; i <= t->nr; i++) {
		for (j = 0; j <= t->nr; j++) {
			if (i == j || !topo_reached(t, i) || !topo_reached(t, j))
				continue;
			err = measure_link(t, r, i, j);
			if (err)
				return fail(RUN_FAILED, "cannot measure from node %d to %d: %s",
					    topo_place(t, i), topo_place(t, j), gm_strerror(err));
		}
	}
	return RUN_OK;
}

int topo_measure(struct topo *t)
{
	struct range r = { .addr = NULL };
	unsigned int i = 1;
	void *addr = NULL;
	int err;

	while (i <= t->nr && !topo_reached(t, i))
		i++;
	if (i > t->nr)
		return RUN_OK; /* there is nothing but what others have made */
	err = gm_alloc(t->as, t->size, 0, &addr);
	if (err)
		return fail(RUN_FAILED, "cannot get %s of managed memory: %s", size_text(t->size).s,
			    gm_strerror(err));
	r.addr = addr;
	r.info = xrealloc(NULL, t->size / GM_PAGE_SIZE, sizeof(*r.info));
	memset(addr, 1, t->size); /* what nobody has written is nowhere */
	err = measure_all(t, &r);
	t->measured = !err;
	free(r.info);
	if (gm_as_unmap(t->as, addr, t->size) && !err)
		err = fail(RUN_FAILED, "cannot give back %s of managed memory",
			   size_text(t->size).s);
	return err;
}
