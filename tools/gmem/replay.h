/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * `gmem replay`: traces through policies, at several sizes of device memory.
 *
 * A cell is a trace with a size of memory. In each cell all entrants run: the policies of
 * gmem's that were asked for and the baseline, by the replay host; Belady's optimum and
 * other policies of paging for comparison, see paging.h.
 */
#ifndef GMEM_TOOL_REPLAY_H
#define GMEM_TOOL_REPLAY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "host/replay/replay.h"
#include "paging.h"

/* Recency by 2 MiB, without a filter on what is brought: a fault moves the whole block. */
#define REPLAY_BASELINE "fixed:2m/lru-2m"

/* The CPU's granule, in pages, as it is by default (struct gm_as_options). */
#define REPLAY_CPU_GRANULE 16U

/* Of each device. */
struct replay_memory {
	const char *text;
	uint64_t percent; /* of the pages that the device touches, or 0: */
	uint64_t bytes;
};

enum replay_kind { REPLAY_GMEM, REPLAY_OPTIMUM, REPLAY_ONLINE };

struct replay_entrant {
	const char *name;
	enum replay_kind kind;
	const struct paging_policy *paging; /* for the last two */
};

struct replay_options {
	char **traces; /* paths */
	unsigned int nr_traces;
	struct replay_memory *memories;
	unsigned int nr_memories;
	struct replay_entrant *entrants;
	unsigned int nr_entrants;
	struct gm_replay_costs costs;
	uint64_t jobs;
	bool background, in_place;
	bool csv, json, markdown, quiet, help;
	const char *mistake; /* an option that is none */
};

/* What one entrant did in one cell. */
struct replay_score {
	int err; /* then nothing but @failed_op counts */
	uint64_t failed_op;
	uint64_t in, zeroed, out;   /* pages: copied in, come without a copy, copied out */
	uint64_t faults, soft, cpu; /* that moved pages; that mapped; of the CPU's */
	uint64_t evicted;	    /* pages, for want of room */
	uint64_t evictions;	    /* how they went: blocks, or pages */
	uint64_t remote;	    /* bytes that devices used in place, in host memory */
	uint64_t ns;
	uint64_t hints_failed;
};

struct replay_cell {
	const char *trace;  /* its name */
	const char *memory; /* as it was asked for */
	uint64_t pages;	    /* of all devices' memory */
	uint64_t footprint; /* pages that devices touch, each counted for itself */
	uint64_t touches;
	struct replay_score *scores; /* of each entrant */
};

/* A trace in memory. */
struct replay_trace {
	struct gm_replay_trace t;
	struct gm_replay_object *objects;
	struct gm_replay_op *ops;
};

/* These return RUN_*, and have said what is wrong. */
int replay_load(const char *path, struct replay_trace *trace);
void replay_unload(struct replay_trace *trace);
/* All cells, trace by trace, of each all memories; the caller frees them. */
int replay_cells(const struct replay_options *opt, struct replay_cell **cells);
void replay_cells_free(struct replay_cell *cells, const struct replay_options *opt);

/* 0 or -1. */
int replay_print(const struct replay_options *opt, const struct replay_cell *cells, FILE *out);
int replay_print_markdown(const struct replay_options *opt, const struct replay_cell *cells,
			  FILE *out);
int replay_print_csv(const struct replay_options *opt, const struct replay_cell *cells, FILE *out);
int replay_print_json(const struct replay_options *opt, const struct replay_cell *cells, FILE *out);

/* Pages copied. */
static inline uint64_t replay_moved(const struct replay_score *s)
{
	return s->in + s->out;
}

/* Bytes that went over the link. */
static inline uint64_t replay_bytes(const struct replay_score *s)
{
	return replay_moved(s) * GM_PAGE_SIZE + s->remote;
}

/* The entrant that is the baseline, and the optimum; each is there once. */
unsigned int replay_baseline(const struct replay_options *opt);
unsigned int replay_optimum(const struct replay_options *opt);
/* The online policy that moved least in a cell. */
unsigned int replay_best(const struct replay_options *opt, const struct replay_cell *cell);
/* How many times as much as entrant @to did @of move? Negative: that moved nothing. */
double replay_ratio(const struct replay_cell *cell, unsigned int of, unsigned int to);
/* The mean of that over cells where it can be said; negative: there are none. */
double replay_mean(const struct replay_options *opt, const struct replay_cell *cells,
		   unsigned int of, unsigned int to);
/* The same for the best online policy of each cell. */
double replay_mean_best(const struct replay_options *opt, const struct replay_cell *cells,
			unsigned int to);

int replay_main(int argc, char **argv); /* returns the exit status */

#endif
