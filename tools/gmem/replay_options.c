// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The command line of `gmem replay`. As in options.c argp makes the help, and mistakes are
 * reported here, in one line.
 */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gmem/gmem.h>

#include "progress.h"
#include "replay.h"
#include "util.h"

#define MAX_JOBS 1024U

enum key {
	KEY_CSV = 256,
	KEY_JSON,
	KEY_MARKDOWN,
	KEY_BANDWIDTH,
	KEY_ZERO_BANDWIDTH,
	KEY_LATENCY,
	KEY_FAULT,
	KEY_CPU_FAULT,
	KEY_INVALIDATION,
	KEY_BACKGROUND,
	KEY_IN_PLACE,
};

static const struct argp_option options[] = {
	{ "policy", 'p', "NAME,...", 0,
	  "Policies to run: MOVE[:SIZE]/EVICT, SIZE being the granule, 4k to 2m; default: those "
	  "listed below",
	  1 },
	{ "memory", 'm', "SIZE,...", 0,
	  "Memory of a device: bytes, with or without a suffix K, M, G or T, or N% of the pages "
	  "that it touches; default: 50%,75%,90%",
	  1 },
	{ "background", KEY_BACKGROUND, NULL, 0, "Evict ahead of need, too", 1 },
	{ "in-place", KEY_IN_PLACE, NULL, 0,
	  "Devices can use host memory in place, and count what they use so", 1 },
	{ "bandwidth", KEY_BANDWIDTH, "SIZE", 0, "Bytes a second over the link; default: 25 GB",
	  2 },
	{ "zero-bandwidth", KEY_ZERO_BANDWIDTH, "SIZE", 0,
	  "Bytes a second that a device fills with zeros; default: 1 TB", 2 },
	{ "latency", KEY_LATENCY, "NS", 0, "Of a copy, or a fill; default: 1500", 2 },
	{ "fault", KEY_FAULT, "NS", 0, "Cost of a device's fault; default: 20000", 2 },
	{ "cpu-fault", KEY_CPU_FAULT, "NS", 0, "Cost of a fault of the CPU; default: 5000", 2 },
	{ "invalidation", KEY_INVALIDATION, "NS", 0,
	  "Cost of an invalidation of a device's TLB; default: 2000", 2 },
	{ "jobs", 'j', "N", 0, "Run so many at once; default: as many as there are processors", 3 },
	{ "csv", KEY_CSV, NULL, 0, "Print comma-separated values", 3 },
	{ "json", KEY_JSON, NULL, 0, "Print one JSON object", 3 },
	{ "markdown", KEY_MARKDOWN, NULL, 0,
	  "Print one table, of bytes moved to those of the optimum", 3 },
	{ "quiet", 'q', NULL, 0, "Do not show progress", 3 },
	{ "help", 'h', NULL, 0, "Print this help", 4 },
	{ 0 },
};

static const char doc[] =
	"Run recorded traces through policies, in virtual time and without hardware, and compare "
	"what they move with what Belady's optimum and some other policies would have moved.\n"
	"\v"
	"Examples:\n"
	"  gmem replay traces/*.gmt                         all policies, three sizes\n"
	"  gmem replay -p density/lru-2m -m 32M stream.gmt  one policy, 32 MiB\n"
	"  gmem replay --csv -j 4 traces/*.gmt >all.csv     for a spreadsheet\n"
	"\n"
	"Exit status: 0 all is well; 1 a run failed; 2 misuse, or a trace that cannot be used.";

/* Puts the names of policies at the end of what help says first. */
static char *help_filter(int key, const char *text, void *input)
{
	char *out = NULL;
	size_t size;
	FILE *f;

	(void)input;
	if (key != ARGP_KEY_HELP_PRE_DOC || !text)
		return (char *)(uintptr_t)text;
	f = open_memstream(&out, &size);
	if (!f)
		return (char *)(uintptr_t)text;
	fprintf(f, "%s\nPolicies:\n", text);
	for (unsigned int i = 0; gm_replay_policy(i); i++)
		fprintf(f, "  %s\n", gm_replay_policy(i));
	fprintf(f, "In any case, as the baseline:\n  %s\n", REPLAY_BASELINE);
	fprintf(f, "For comparison, page by page:\n  %-10s %s\n", paging_optimum.name,
		paging_optimum.text);
	for (unsigned int i = 0; paging_policies[i]; i++)
		fprintf(f, "  %-10s %s\n", paging_policies[i]->name, paging_policies[i]->text);
	fclose(f);
	return out;
}

static void add_entrant(struct replay_options *o, const char *name, enum replay_kind kind,
			const struct paging_policy *paging)
{
	for (unsigned int i = 0; i < o->nr_entrants; i++)
		if (!strcmp(o->entrants[i].name, name) && o->entrants[i].kind == kind)
			return;
	o->entrants = xrealloc(o->entrants, o->nr_entrants + 1U, sizeof(*o->entrants));
	o->entrants[o->nr_entrants++] =
		(struct replay_entrant){ .name = name, .kind = kind, .paging = paging };
}

static int parse_policies(struct replay_options *o, char *arg)
{
	const char *wrong;
	char *name, *end;

	for (name = strtok_r(arg, ",", &end); name; name = strtok_r(NULL, ",", &end)) {
		wrong = gm_replay_policy_check(name);
		if (wrong)
			return USAGE("--policy %s: %s; see 'gmem replay --help'", name, wrong);
		add_entrant(o, name, REPLAY_GMEM, NULL);
	}
	return 0;
}

static int parse_memory(const char *arg, struct replay_memory *m)
{
	size_t len = strlen(arg);
	char *number;
	int err;

	*m = (struct replay_memory){ .text = arg };
	if (!len || arg[len - 1] != '%')
		return size_parse(arg, &m->bytes) || m->bytes < GM_PAGE_SIZE ||
				       m->bytes > GM_OBJECT_MAX_SIZE
			       ? -1
			       : 0;
	number = xstrndup(arg, len - 1);
	err = number_parse(number, 1, 1000, &m->percent);
	free(number);
	return err;
}

static int parse_memories(struct replay_options *o, char *arg)
{
	char *one, *end;

	o->nr_memories = 0;
	for (one = strtok_r(arg, ",", &end); one; one = strtok_r(NULL, ",", &end)) {
		o->memories = xrealloc(o->memories, o->nr_memories + 1U, sizeof(*o->memories));
		if (parse_memory(one, &o->memories[o->nr_memories++]))
			return USAGE("--memory %s: give bytes, a page or more, with or without a "
				     "suffix K, M, G or T; or 1%% to 1000%%",
				     one);
	}
	return o->nr_memories ? 0 : USAGE("--memory: give at least one size");
}

static int parse_ns(const char *name, const char *arg, uint64_t *ns)
{
	if (number_parse(arg, 0, 1000000000, ns))
		return USAGE("--%s %s: give nanoseconds, from 0 to 1000000000", name, arg);
	return 0;
}

static int parse_bandwidth(const char *name, const char *arg, uint64_t *bandwidth)
{
	if (size_parse(arg, bandwidth) || *bandwidth < 1000000 || *bandwidth > 1ULL << 50)
		return USAGE("--%s %s: give bytes a second, 1000000 or more, with or without a "
			     "suffix K, M, G or T",
			     name, arg);
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct replay_options *o = state->input;

	switch (key) {
	case 'p':
		return parse_policies(o, arg);
	case 'm':
		return parse_memories(o, arg);
	case 'j':
		if (number_parse(arg, 1, MAX_JOBS, &o->jobs))
			return USAGE("--jobs %s: give a number from 1 to %u", arg, MAX_JOBS);
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	case 'h':
		o->help = true;
		return 0;
	case KEY_CSV:
		o->csv = true;
		return 0;
	case KEY_JSON:
		o->json = true;
		return 0;
	case KEY_MARKDOWN:
		o->markdown = true;
		return 0;
	case KEY_BACKGROUND:
		o->background = true;
		return 0;
	case KEY_IN_PLACE:
		o->in_place = true;
		return 0;
	case KEY_BANDWIDTH:
		return parse_bandwidth("bandwidth", arg, &o->costs.bandwidth);
	case KEY_ZERO_BANDWIDTH:
		return parse_bandwidth("zero-bandwidth", arg, &o->costs.zero_bandwidth);
	case KEY_LATENCY:
		return parse_ns("latency", arg, &o->costs.latency_ns);
	case KEY_FAULT:
		return parse_ns("fault", arg, &o->costs.dev_fault_ns);
	case KEY_CPU_FAULT:
		return parse_ns("cpu-fault", arg, &o->costs.cpu_fault_ns);
	case KEY_INVALIDATION:
		return parse_ns("invalidation", arg, &o->costs.invl_ns);
	case ARGP_KEY_ERROR:
		o->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	case ARGP_KEY_ARG:
		o->traces = xrealloc(o->traces, o->nr_traces + 1U, sizeof(*o->traces));
		o->traces[o->nr_traces++] = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What was not said; and who runs beside the policies that were asked for. */
static void complete(struct replay_options *o)
{
	static char memories[] = "50%,75%,90%";
	bool all = !o->nr_entrants;

	if (!o->nr_memories)
		parse_memories(o, memories);
	for (unsigned int i = 0; all && gm_replay_policy(i); i++)
		add_entrant(o, gm_replay_policy(i), REPLAY_GMEM, NULL);
	add_entrant(o, REPLAY_BASELINE, REPLAY_GMEM, NULL);
	add_entrant(o, paging_optimum.name, REPLAY_OPTIMUM, &paging_optimum);
	for (unsigned int i = 0; paging_policies[i]; i++)
		add_entrant(o, paging_policies[i]->name, REPLAY_ONLINE, paging_policies[i]);
	if (!o->jobs) {
		long cpus = sysconf(_SC_NPROCESSORS_ONLN);

		o->jobs = cpus > 0 ? (uint64_t)cpus : 1;
	}
}

static int run(const struct replay_options *o)
{
	struct replay_cell *cells;
	int status, err;

	if (!o->quiet)
		progress_start();
	status = replay_cells(o, &cells);
	progress_stop();
	if (status)
		return status;
	err = o->json	    ? replay_print_json(o, cells, stdout)
	      : o->csv	    ? replay_print_csv(o, cells, stdout)
	      : o->markdown ? replay_print_markdown(o, cells, stdout)
			    : replay_print(o, cells, stdout);
	if (err)
		status = fail(RUN_FAILED, "cannot write the result");
	replay_cells_free(cells, o);
	return status;
}

int replay_main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "TRACE...",
		.doc = doc,
		.help_filter = help_filter,
	};
	struct replay_options opt = { .costs = GM_REPLAY_COSTS };
	int status = RUN_BAD_INPUT;

	if (!line_parse(&argp, 0, "gmem replay", argc, argv, &opt, &opt.mistake, &opt.help,
			&status)) {
		; /* all is said */
	} else if (!opt.nr_traces) {
		status = fail(RUN_BAD_INPUT, "which trace? Try 'gmem replay --help'");
	} else if (opt.csv + opt.json + opt.markdown > 1) {
		status = fail(RUN_BAD_INPUT,
			      "--csv, --json and --markdown exclude each other: give one");
	} else {
		complete(&opt);
		status = run(&opt);
	}
	free(opt.traces);
	free(opt.memories);
	free(opt.entrants);
	return status;
}
