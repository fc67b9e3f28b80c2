// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Makes a trace for the tests of `gmem replay`:
 * make_trace FILE PATTERN PAGES ACCESSES SEED; PATTERN is loop, random, skewed, pair (of devices),
 * or pinned (half of the pages, at first).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace/trace.h"

static uint64_t rng;

static uint64_t any(uint64_t n)
{
	rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
	return (rng >> 16) % n;
}

static uint64_t page_of(const char *pattern, uint64_t i, uint64_t pages)
{
	if (!strcmp(pattern, "loop"))
		return i % pages;
	if (!strcmp(pattern, "skewed"))
		return any(any(any(pages) + 1) + 1);
	return any(pages);
}

static int write_all(struct gm_trace_writer *w, const char *pattern, uint64_t pages, uint64_t n)
{
	uint32_t devs = !strcmp(pattern, "pair") ? 2 : 1;
	int object;

	for (uint32_t i = 0; i < devs; i++)
		gm_trace_writer_dev(w, pages, 1);
	object = gm_trace_writer_object(w, pages, 0);
	if (object < 0)
		return object;
	gm_trace_writer_put(w, &(struct gm_trace_record){ .kind = GM_TRACE_PRESENT,
							  .object = (uint32_t)object,
							  .pages = pages / 2 + 1 });
	if (!strcmp(pattern, "pinned"))
		gm_trace_writer_put(w, &(struct gm_trace_record){ .kind = GM_TRACE_HINT,
								  .dev = 1,
								  .object = (uint32_t)object,
								  .what = GM_PIN,
								  .pages = pages / 2 });
	for (uint64_t i = 0; i < n; i++)
		gm_trace_writer_put(w, &(struct gm_trace_record){
					       .kind = GM_TRACE_ACCESS,
					       .dev = 1 + (uint32_t)(devs > 1 ? any(devs) : 0),
					       .object = (uint32_t)object,
					       .what = i % 3 ? GM_READ : GM_WRITE,
					       .page = page_of(pattern, i, pages),
					       .pages = 1,
					       .lines = 1 });
	for (uint64_t page = 0; page < pages; page += 16)
		gm_trace_writer_put(w, &(struct gm_trace_record){ .kind = GM_TRACE_CPU_FAULT,
								  .object = (uint32_t)object,
								  .what = GM_READ,
								  .page = page,
								  .pages = 1 });
	return 0;
}

int main(int argc, char **argv)
{
	struct gm_trace_writer *w;
	int err;

	if (argc != 6)
		return 2;
	rng = strtoull(argv[5], NULL, 10);
	err = gm_trace_writer_open(argv[1], &w);
	if (err)
		return 1;
	err = write_all(w, argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
	return gm_trace_writer_close(w) || err ? 1 : 0;
}
