/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem demo`: a run of one workload, and what a workload is. */
#ifndef GMEM_TOOL_DEMO_H
#define GMEM_TOOL_DEMO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include <gmem/gmem.h>
#include <gmem/sim.h>

#include "arena.h"
#include "demo_picture.h"
#include "record.h"

/* Options a workload may or may not have a use for. */
#define TAKES_INPUT 1U
#define TAKES_ITERATIONS 2U
#define TAKES_SIZE 4U
#define TAKES_SEED 8U

struct options {
	const struct workload *workload;
	unsigned int given; /* TAKES_* */
	const char *input;  /* NULL: the packages of this system */
	const char *root;   /* whose system is under this directory */
	uint64_t hbm;	    /* bytes of device memory; 0: a quarter of the data */
	uint64_t lanes;
	uint64_t iterations;
	uint64_t size;
	uint64_t seed;
	bool inline_faults;
	bool json;
	bool quiet;
	bool help;
	bool record_only;    /* gmem record */
	const char *record;  /* the file of the trace; NULL: none */
	const char *picture; /* the file of the picture; NULL: none */
	const char *mistake; /* an option that is none */
};

/* One run. */
struct demo {
	struct options opt;
	struct gm_as *as;
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
	struct arena managed; /* the data */
	struct arena plain;   /* the same in ordinary memory, for comparison */
	uint64_t hbm;
	double seconds_plain;
	double seconds_device;
	double seconds_read;	   /* the CPU reads the result in place and checks it */
	struct gm_stats stats;	   /* of the address space, at the end */
	struct gm_stats dev_stats; /* of the device */
	struct gm_sim_stats sim_stats;
	struct record_summary trace; /* of opt.record */
	struct demo_picture picture;
	bool verified;
	void *data; /* the workload's */
};

/*
 * The functions return RUN_* and have said what is wrong. They are called in this
 * order; release also after a failure.
 */
struct workload {
	const char *name;
	const char *summary;
	unsigned int takes; /* TAKES_* */
	uint64_t default_size;
	uint64_t default_iterations;

	/* Fill both arenas with the same data. */
	int (*prepare)(struct demo *d);
	/* Work on the plain arena. */
	int (*run_cpu)(struct demo *d);
	/* Work on the managed arena, by kernels on d->ctx. */
	int (*run_device)(struct demo *d);
	/* The CPU compares, in place: sets d->verified. */
	int (*verify)(struct demo *d);
	/* What is special about it, as text and as members of an object. */
	void (*print)(const struct demo *d, FILE *out);
	int (*describe)(const struct demo *d, json_t *object); /* 0 or -1 */
	void (*release)(struct demo *d);
};

extern const struct workload workload_pagerank, workload_stream, workload_gups, workload_gemm,
	workload_join, workload_chase, workload_sort, workload_kv;
extern const struct workload *const workloads[]; /* all, NULL at the end */

int demo_main(int argc, char **argv);		      /* returns the exit status */
int record_main(int argc, char **argv);		      /* likewise */
int demo_run(const struct options *opt);	      /* likewise */
int demo_print(const struct demo *d, FILE *out);      /* 0 or -1 */
int demo_print_json(const struct demo *d, FILE *out); /* 0 or -1 */

/* For workloads: RUN_*, with a message. */
int demo_arenas(struct demo *d, uint64_t size);
int demo_launch(struct demo *d, gm_sim_kernel_fn *kernel, void *arg);

#endif
