/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem stat`: what is counted of which processes, and how it is printed. */
#ifndef GMEM_TOOL_STAT_H
#define GMEM_TOOL_STAT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <jansson.h>

#include "live.h"

/* env(1)'s, for what is wrong with the command itself; the program's status is passed on. */
#define STAT_FAILED 125
#define STAT_CANNOT_RUN 126
#define STAT_NOT_FOUND 127

struct stat_process {
	struct live live;
	json_t *base; /* what it had when we came; NULL: nothing */
	json_t *last; /* what it said last; NULL: nothing yet */
	json_t *seen; /* of these, what the last interval had */
	bool cut;     /* it ended, and what it said last it did not say at its end */
	bool whole;   /* it was there from the start: all that it counts is ours */
};

struct stat_run {
	/* options */
	char **command; /* NULL: of process @pid */
	pid_t pid;
	uint64_t interval_ms; /* 0: none */
	uint64_t duration_ms; /* 0: until it ends */
	const char *path;     /* NULL: stderr */
	bool json;

	FILE *out;
	struct stat_process *process;
	size_t nr;
	double began;
	unsigned int lines; /* of intervals */
	int status;	    /* the program's */
};

/* stat_print.c. Sums of what all processes count, and of the devices. */
json_t *stat_total(const struct stat_run *s);
void stat_print_interval(struct stat_run *s, double seconds);
int stat_print(const struct stat_run *s, double seconds);

#endif
