// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * gmem-bench: what gmem costs over the bare operations it is made of.
 *
 * Every figure is a ratio to a raw limit, coded in bare.c, that is measured in the same
 * process, in turns with it: ROUNDS rounds of limit and gmem, the ratio taken round by
 * round and the median printed. Bare times differ from machine to machine, ratios
 * hardly do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *v, unsigned int n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "gmem-bench: %s: %s\n", what, gm_strerror(err));
	exit(1);
}

void progress(const char *what)
{
	if (isatty(2))
		fprintf(stderr, "\r\033[K%s", what);
}

void row(const char *what, double got, double limit, const char *unit, double ratio,
	 const char *goal, bool met)
{
	progress("");
	printf("%-58s %9.2f %9.2f %-3s %7.2f  %-8s %s\n", what, got, limit, unit, ratio,
	       goal ? goal : "",
	       !goal ? ""
	       : met ? "met"
		     : "MISSED");
	fflush(stdout);
}

void setup_create(struct setup *s, size_t size, uint32_t flags, uint32_t spin_us,
		  uint32_t cpu_granule)
{
	struct gm_as_options opt = {
		.size = sizeof(opt), .flags = flags, .spin_us = spin_us, .cpu_granule = cpu_granule
	};
	struct gm_sim_options sim = { .size = sizeof(sim),
				      .memory = size + 16 * MIB,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS };
	void *mem;

	must(gm_as_create(&opt, &s->as), "gm_as_create");
	must(gm_sim_create(&sim, &s->sim), "gm_sim_create");
	must(gm_sim_attach(s->sim, s->as, &s->ctx), "gm_sim_attach");
	must(gm_alloc(s->as, size, 0, &mem), "gm_alloc");
	s->mem = mem;
	s->size = size;
	s->node = gm_dev_hnode(gm_sim_dev(s->sim));
	memset(s->mem, 1, size);
}

void setup_destroy(struct setup *s)
{
	must(gm_sim_detach(s->ctx), "gm_sim_detach");
	must(gm_as_destroy(s->as), "gm_as_destroy");
	must(gm_sim_destroy(s->sim), "gm_sim_destroy");
}

static void machine(void)
{
	char line[256], *model = NULL;
	FILE *f = fopen("/proc/cpuinfo", "re");
	struct utsname u;

	while (f && !model && fgets(line, sizeof(line), f))
		if (!strncmp(line, "model name", 10) && strchr(line, ':'))
			model = strchr(line, ':') + 2;
	if (f)
		fclose(f);
	if (model)
		model[strcspn(model, "\n")] = 0;
	uname(&u);
	printf("%s, %ld CPUs, %s %s\n", model ? model : u.machine, sysconf(_SC_NPROCESSORS_ONLN),
	       u.sysname, u.release);
}

int main(int argc, char **argv)
{
	bool policies = argc == 2 && !strcmp(argv[1], "--policies");

	if (argc > 1 && !policies) {
		printf("Usage: gmem-bench [--policies]\n\n"
		       "Prints what gmem costs beside the bare operations it is made of, measured\n"
		       "in the same process. Takes about half a minute; a quiet machine helps.\n"
		       "See docs/performance.md for what each row means.\n\n"
		       "  --policies  only what each of the policies costs a fault\n");
		return strcmp(argv[1], "--help") ? 2 : 0;
	}
	machine();
	printf("%-58s %9s %9s %-3s %7s  %-8s\n", "", "gmem", "bare", "", "ratio", "goal");
	if (policies) {
		bench_policy(true);
		return 0;
	}
	bench_cpu_fault(false);
	bench_cpu_fault(true);
	bench_move_block(true);
	bench_move_block(false);
	bench_prefetch();
	bench_peer();
	bench_dev_fault();
	bench_first_touch();
	bench_place();
	bench_bulk();
	bench_large_leaf();
	bench_two_threads();
	bench_metadata();
	bench_policy(false);
	return 0;
}
