/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem record`: what is said of the trace. */
#ifndef GMEM_TOOL_RECORD_H
#define GMEM_TOOL_RECORD_H

#include <stdint.h>

struct record_summary {
	uint64_t bytes;	   /* of the file */
	uint64_t records;  /* of all kinds */
	uint64_t accesses; /* pages accessed, counted each time */
	uint64_t pages;	   /* pages accessed, counted once */
};

int record_summary(const char *path, struct record_summary *sum); /* RUN_*, with a message */

#endif
