// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem bench`: what gmem costs over the bare operations it is made of.
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

#include <jansson.h>

#include "bench.h"
#include "bench_main.h"
#include "util.h"

enum {
	KEY_CSV = 256,
	KEY_JSON,
	KEY_POLICIES,
};

static const struct argp_option options[] = {
	{ "policies", KEY_POLICIES, NULL, 0, "What each of the policies costs a fault, alone", 1 },
	{ "csv", KEY_CSV, NULL, 0, "Print comma-separated values", 2 },
	{ "json", KEY_JSON, NULL, 0, "Print one JSON object", 2 },
	{ "quiet", 'q', NULL, 0, "Show no progress", 2 },
	{ "help", 'h', NULL, 0, "Print this help", 3 },
	{ 0 },
};

static const char doc[] =
	"What gmem costs beside the bare operations it is made of, measured in turns with them in "
	"the "
	"same process. Ratios hardly differ from machine to machine; a quiet one helps. GROUPs "
	"choose "
	"what is measured, all is about half a minute."
	"\v"
	"GROUP is one of:\n"
	"  fault     faults of the CPU and of devices, first touches, two threads\n"
	"  move      2 MiB to a device and home, private memory too\n"
	"  prefetch  256 MiB, there and home\n"
	"  peer      from device to device\n"
	"  leaf      many small buffers at once, and leaves of 1 GiB\n"
	"  metadata  what is kept of memory, in bytes\n"
	"  policy    what the policies cost a fault\n"
	"\n"
	"Examples:\n"
	"  gmem bench                       everything, as a table\n"
	"  gmem bench fault move            faults, and moves of 2 MiB\n"
	"  gmem bench --json | jq .rows     for a program\n"
	"\n"
	"Exit status: 0 measured, whatever the figures are; 1 it could not be; 2 misuse.";

static struct line {
	const char *mistake;
	bool csv, json, quiet, policies, help;
	uint32_t groups;
	json_t *rows;
} line;

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
	exit(fail(RUN_FAILED, "bench: %s: %s", what, gm_strerror(err)));
}

void progress(const char *what)
{
	if (isatty(2) && !line.quiet)
		fprintf(stderr, "\r\033[K%s", what);
}

void row(const char *what, double got, double limit, const char *unit, double ratio,
	 const char *goal, bool met)
{
	const char *verdict = !goal ? "" : met ? "met" : "MISSED";

	progress("");
	if (line.json) {
		json_array_append_new(line.rows,
				      json_pack("{s:s, s:f, s:f, s:s, s:f, s:s?, s:o}", "row", what,
						"gmem", got, "bare", limit, "unit", unit, "ratio",
						ratio, "goal", goal, "met",
						goal ? json_boolean(met) : json_null()));
	} else if (line.csv) {
		printf("\"%s\",%.4f,%.4f,%s,%.4f,%s,%s\n", what, got, limit, unit, ratio,
		       goal ? goal : "", verdict);
	} else {
		printf("%-58s %9.2f %9.2f %-3s %7.2f  %-8s %s\n", what, got, limit, unit, ratio,
		       goal ? goal : "", verdict);
	}
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

/* ------------------------------------------------------------------------ what there is */

static void faults(void)
{
	bench_cpu_fault(false);
	bench_cpu_fault(true);
	bench_dev_fault();
	bench_first_touch();
	bench_two_threads();
}

static void moves(void)
{
	bench_move_block(true);
	bench_move_block(false);
	bench_place();
}

static void leaves(void)
{
	bench_bulk();
	bench_large_leaf();
}

static void policy(void)
{
	bench_policy(line.policies);
}

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "fault", faults },	{ "move", moves },  { "prefetch", bench_prefetch },
	{ "peer", bench_peer }, { "leaf", leaves }, { "metadata", bench_metadata },
	{ "policy", policy },
};
#define NR_GROUPS (sizeof(groups) / sizeof(groups[0]))

static error_t choose(const char *name)
{
	for (unsigned int i = 0; i < NR_GROUPS; i++) {
		if (!strcmp(groups[i].name, name)) {
			line.groups |= 1U << i;
			return 0;
		}
	}
	return USAGE(
		"'%s': no such group: there are fault, move, prefetch, peer, leaf, metadata and "
		"policy",
		name);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case KEY_CSV:
		line.csv = true;
		return 0;
	case KEY_JSON:
		line.json = true;
		return 0;
	case KEY_POLICIES:
		line.policies = true;
		return choose("policy");
	case 'q':
		line.quiet = true;
		return 0;
	case 'h':
		line.help = true;
		return 0;
	case ARGP_KEY_ARG:
		return choose(arg);
	case ARGP_KEY_ERROR:
		line.mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void machine(char *text, size_t size)
{
	char buf[256], *model = NULL;
	FILE *f = fopen("/proc/cpuinfo", "re");
	struct utsname u;

	while (f && !model && fgets(buf, sizeof(buf), f))
		if (!strncmp(buf, "model name", 10) && strchr(buf, ':'))
			model = strchr(buf, ':') + 2;
	if (f)
		fclose(f);
	if (model)
		model[strcspn(model, "\n")] = 0;
	uname(&u);
	snprintf(text, size, "%s, %ld CPUs, %s %s", model ? model : u.machine,
		 sysconf(_SC_NPROCESSORS_ONLN), u.sysname, u.release);
}

static int print_json(const char *where)
{
	json_t *root = json_pack("{s:s, s:o}", "machine", where, "rows", line.rows);
	int err = json_dumpf(root, stdout, JSON_INDENT(2)) || putchar('\n') == EOF;

	json_decref(root);
	return err;
}

int bench_main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "[GROUP...]",
		.doc = doc,
	};
	int status = RUN_BAD_INPUT, err = 0;
	char where[512];

	if (!line_parse(&argp, 0, "gmem bench", argc, argv, &line, &line.mistake, &line.help,
			&status))
		return status;
	if (line.csv && line.json)
		return fail(RUN_BAD_INPUT, "--csv and --json exclude each other: give one");
	machine(where, sizeof(where));
	line.rows = json_array();
	if (line.csv)
		puts("row,gmem,bare,unit,ratio,goal,met");
	else if (!line.json)
		printf("%s\n%-58s %9s %9s %-3s %7s  %-8s\n", where, "", "gmem", "bare", "", "ratio",
		       "goal");
	for (unsigned int i = 0; i < NR_GROUPS; i++)
		if (!line.groups || (line.groups >> i & 1))
			groups[i].run();
	if (line.json)
		err = print_json(where);
	else
		json_decref(line.rows);
	if (err || fflush(stdout) || ferror(stdout))
		return fail(RUN_FAILED, "cannot write the result");
	return RUN_OK;
}
