/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What `gmem run` tells the library that it preloads, in the environment: numbers, by
 * run_env_format(), and the directory that the device's memory is a file in, to the end.
 */
#ifndef GM_RUN_ENV_H
#define GM_RUN_ENV_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define GM_RUN_ENV "GMEM_RUN"
#define GM_RUN_ENV_MAX 4400 /* with a path */

struct gm_run_env {
	uint64_t limit;	 /* bytes; 0: none, and no device either */
	uint64_t memory; /* of the device, as are the rest: see struct gm_sim_options */
	uint64_t pgsize_bitmap;
	uint32_t lanes, copy_threads, flags;
	const char *directory;
};

static inline int gm_run_env_format(const struct gm_run_env *e, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%" PRIu64 ":%" PRIu64 ":%" PRIu64 ":%u:%u:%u:%s", e->limit,
			 e->memory, e->pgsize_bitmap, e->lanes, e->copy_threads, e->flags,
			 e->directory);

	return n < 0 || (size_t)n >= size ? -1 : 0;
}

/* e->directory points into @text. */
static inline int gm_run_env_parse(const char *text, struct gm_run_env *e)
{
	int at = -1;

	if (sscanf(text, "%" SCNu64 ":%" SCNu64 ":%" SCNu64 ":%u:%u:%u:%n", &e->limit, &e->memory,
		   &e->pgsize_bitmap, &e->lanes, &e->copy_threads, &e->flags, &at) != 6 ||
	    at < 0)
		return -1;
	e->directory = text + at;
	return 0;
}

#endif
