// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The options of `gmem demo`.
 *
 * argp makes the help; it would answer a mistake with two lines, so it is told to keep
 * quiet and mistakes are reported here, in one.
 */
#include <argp.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <gmem/gmem.h>

#include "demo.h"
#include "picture.h"
#include "util.h"

#define MAX_LANES 256U
#define MAX_ITERATIONS 1000000U

enum key {
	KEY_HBM = 256,
	KEY_LANES,
	KEY_INLINE,
	KEY_JSON,
	KEY_INPUT,
	KEY_ROOT,
	KEY_ITERATIONS,
	KEY_SIZE,
	KEY_SEED,
	KEY_PICTURE,
	KEY_RECORD = 'o',
};

static const struct argp_option options[] = {
	{ "hbm", KEY_HBM, "SIZE", 0,
	  "Memory of the accelerator, rounded up to 2 MiB; default: a quarter of the data", 1 },
	{ "lanes", KEY_LANES, "N", 0, "Lanes (threads) of the accelerator; default: 4", 1 },
	{ "inline", KEY_INLINE, NULL, 0,
	  "Service CPU faults in the thread that faults, not in a service thread", 1 },
	{ "input", KEY_INPUT, "FILE", 0,
	  "pagerank: an edge list (lines 'from<TAB>to' of integer ids, comments after '#'), plain "
	  "or gzip",
	  2 },
	{ "root", KEY_ROOT, "DIR", 0, "pagerank: the package lists of the system under DIR", 2 },
	{ "iterations", KEY_ITERATIONS, "N", 0,
	  "pagerank: passes; stream, chase: rounds; gups, kv: thousands (1024) of updates or "
	  "operations",
	  2 },
	{ "size", KEY_SIZE, "SIZE", 0,
	  "Bytes of data, with or without a suffix K, M, G or T; not for pagerank", 2 },
	{ "seed", KEY_SEED, "N", 0, "Seed of the data; not for pagerank; default: 1", 2 },
	{ "record", KEY_RECORD, "FILE", 0,
	  "Record what the accelerator touches as a trace, see gmem-trace(5); its memory then is "
	  "larger than the data by default",
	  3 },
	{ "picture", KEY_PICTURE, "FILE", 0,
	  "Draw the picture at the end to a file too: FILE.svg, or FILE.png", 3 },
	{ "json", KEY_JSON, NULL, 0, "Print the result as one JSON object", 3 },
	{ "quiet", 'q', NULL, 0, "Do not show progress", 3 },
	{ "help", 'h', NULL, 0, "Print this help", 4 },
	{ 0 },
};

static const char doc[] =
	"Run a workload on the simulated accelerator, over data that the CPU has put into managed "
	"memory, check the result against a plain run on the CPU, and draw what moved, and when.\n"
	"\n"
	"WORKLOAD is one of:\n"
	"\v"
	"Examples:\n"
	"  gmem demo                                   rank this system's packages\n"
	"  gmem demo --input web-Google.txt.gz         rank the nodes of a graph\n"
	"  gmem demo stream --size 256M --hbm 32M      stream through a small device\n"
	"  gmem demo sort --picture sort.svg           what it did, as a picture\n"
	"  gmem demo gups --inline --json              for programs\n"
	"  gmem record sort -o sort.gmt                the same as demo, with one lane, recorded\n"
	"\n"
	"Exit status: 0 the result is right; 1 it is wrong, or the run failed; 2 misuse, or input "
	"that cannot be used.";

/* Puts the table of workloads at the end of what help says first. */
static char *help_filter(int key, const char *text, void *input)
{
	const struct workload *const *w;
	char *out = NULL;
	size_t size;
	FILE *f;

	(void)input;
	if (key != ARGP_KEY_HELP_PRE_DOC || !text)
		return (char *)(uintptr_t)text;
	f = open_memstream(&out, &size);
	if (!f)
		return (char *)(uintptr_t)text;
	fputs(text, f);
	for (w = workloads; *w; w++) {
		fprintf(f, "  %-9s %s\n%12sdefault:", (*w)->name, (*w)->summary, "");
		if ((*w)->takes & TAKES_SIZE)
			fprintf(f, " --size %lluM", (unsigned long long)(*w)->default_size >> 20);
		if ((*w)->takes & TAKES_ITERATIONS)
			fprintf(f, " --iterations %llu",
				(unsigned long long)(*w)->default_iterations);
		fputc('\n', f);
	}
	fprintf(f, "Without one it is %s.", workloads[0]->name);
	fclose(f);
	return out;
}

static const struct workload *find_workload(const char *name)
{
	const struct workload *const *w;

	for (w = workloads; *w; w++)
		if (!strcmp((*w)->name, name))
			return *w;
	return NULL;
}

static int parse_hbm(struct options *o, const char *arg)
{
	if (size_parse(arg, &o->hbm))
		return USAGE("--hbm %s: not a size: give a number of bytes, with or without a "
			     "suffix K, M, G or T",
			     arg);
	if (o->hbm < GM_BLOCK_SIZE)
		return USAGE("--hbm %s: the accelerator's memory must hold a block: give 2M or "
			     "more",
			     arg);
	if (o->hbm > GM_OBJECT_MAX_SIZE)
		return USAGE("--hbm %s: that is too much: give at most %s", arg,
			     size_text(GM_OBJECT_MAX_SIZE).s);
	return 0;
}

static int parse_number(const char *name, const char *arg, uint64_t max, uint64_t *value)
{
	if (number_parse(arg, 1, max, value))
		return USAGE("--%s %s: give a number from 1 to %llu", name, arg,
			     (unsigned long long)max);
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case KEY_HBM:
		return parse_hbm(o, arg);
	case KEY_LANES:
		return parse_number("lanes", arg, MAX_LANES, &o->lanes);
	case KEY_INLINE:
		o->inline_faults = true;
		return 0;
	case KEY_RECORD:
		o->record = arg;
		return 0;
	case KEY_PICTURE:
		if (!picture_name_ok(arg))
			return USAGE("--picture %s: give a name that ends in .svg or .png", arg);
		o->picture = arg;
		return 0;
	case KEY_JSON:
		o->json = true;
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	case 'h':
		o->help = true;
		return 0;
	case ARGP_KEY_ERROR:
		o->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	case KEY_INPUT:
		o->input = arg;
		o->given |= TAKES_INPUT;
		return 0;
	case KEY_ROOT:
		o->root = arg;
		o->given |= TAKES_INPUT;
		return 0;
	case KEY_ITERATIONS:
		o->given |= TAKES_ITERATIONS;
		return parse_number("iterations", arg, MAX_ITERATIONS, &o->iterations);
	case KEY_SIZE:
		o->given |= TAKES_SIZE;
		if (size_parse(arg, &o->size) || !o->size || o->size > GM_OBJECT_MAX_SIZE)
			return USAGE("--size %s: give a number of bytes up to %s, with or without "
				     "a suffix K, M, G or T",
				     arg, size_text(GM_OBJECT_MAX_SIZE).s);
		return 0;
	case KEY_SEED:
		o->given |= TAKES_SEED;
		if (number_parse(arg, 0, UINT64_MAX, &o->seed))
			return USAGE("--seed %s: give a number from 0 to %llu", arg,
				     (unsigned long long)UINT64_MAX);
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			return USAGE("'%s': one workload at a time; see 'gmem demo --help'", arg);
		o->workload = find_workload(arg);
		if (!o->workload)
			return USAGE("unknown workload '%s': 'gmem demo --help' lists them", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Options that would have no effect are mistakes. */
static int check(struct options *o)
{
	static const struct {
		unsigned int bit;
		const char *names;
	} special[] = {
		{ TAKES_INPUT, "--input and --root" },
		{ TAKES_ITERATIONS, "--iterations" },
		{ TAKES_SIZE, "--size" },
		{ TAKES_SEED, "--seed" },
	};
	size_t i;

	for (i = 0; i < sizeof(special) / sizeof(*special); i++)
		if (o->given & ~o->workload->takes & special[i].bit)
			return fail(RUN_BAD_INPUT,
				    "%s has no use for %s: leave it out, or see 'gmem demo --help'",
				    o->workload->name, special[i].names);
	if (o->record_only && !o->record)
		return fail(RUN_BAD_INPUT,
			    "record what to? Give -o FILE; see 'gmem record --help'");
	if (o->record && !*o->record)
		return fail(RUN_BAD_INPUT, "--record '': give the name of a file");
	if (o->input && o->root)
		return fail(RUN_BAD_INPUT, "--input and --root exclude each other: give one");
	if (!o->root)
		o->root = "";
	if (!(o->given & TAKES_ITERATIONS))
		o->iterations = o->workload->default_iterations;
	if (!(o->given & TAKES_SIZE))
		o->size = o->workload->default_size;
	return RUN_OK;
}

static int options_main(int argc, char **argv, bool record_only)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "[WORKLOAD]",
		.doc = doc,
		.help_filter = help_filter,
	};
	struct options opt = { .workload = workloads[0],
			       .lanes = record_only ? 1 : 4,
			       .seed = 1,
			       .record_only = record_only };
	int status = RUN_BAD_INPUT, err;

	if (!line_parse(&argp, 0, record_only ? "gmem record" : "gmem demo", argc, argv, &opt,
			&opt.mistake, &opt.help, &status))
		return status;
	err = check(&opt);
	return err ? err : demo_run(&opt);
}

int demo_main(int argc, char **argv)
{
	return options_main(argc, argv, false);
}

int record_main(int argc, char **argv)
{
	return options_main(argc, argv, true);
}
