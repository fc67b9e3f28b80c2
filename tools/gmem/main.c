// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The gmem command: `gmem [OPTION] COMMAND [ARGUMENT...]`. Everything after the name of
 * the command is the command's.
 */
#include <argp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bench_main.h"
#include "check.h"
#include "demo.h"
#include "live.h"
#include "map.h"
#include "replay.h"
#include "run.h"
#include "topo.h"
#include "trace.h"
#include "util.h"

#define VERSION_TEXT "gmem " GMEM_VERSION

static const struct argp_option options[] = {
	{ "help", 'h', NULL, 0, "Print this help", 0 },
	{ "version", 'V', NULL, 0, "Print the version", 0 },
	{ 0 },
};

static const char doc[] = "One coherent address space over the CPU and accelerators.\n"
			  "\n"
			  "Commands:\n"
			  "  bench     what gmem costs beside the bare operations it is made of\n"
			  "  check     is this machine ready? What is missing, and what mends it\n"
			  "  demo      run a workload on the simulated accelerator and check it\n"
			  "  map       where the pages of a process are, as a picture\n"
			  "  record    the same, and record what it touches as a trace\n"
			  "  replay    run recorded traces through policies, without hardware\n"
			  "  report    a page of HTML of what 'gmem trace' has written\n"
			  "  run       run a program with its heap in managed memory\n"
			  "  stat      what gmem counts of a program, or of a process\n"
			  "  top       the same of all processes, live, and how full devices are\n"
			  "  topo      CPU nodes, hnodes, and how fast the links between them are\n"
			  "  trace     what happens to a program's memory, for trace viewers\n"
			  "\v"
			  "Examples:\n"
			  "  gmem check               the first thing to run\n"
			  "  gmem demo                rank this Debian system's packages\n"
			  "  gmem demo stream         stream through a small device memory\n"
			  "  gmem demo --help         all there is to choose\n"
			  "  gmem run --host-limit 1G -- python3 big.py\n"
			  "                           a program in less memory than it needs\n"
			  "  gmem replay --help       the same, of replaying\n"
			  "  gmem stat -- ./program   run it, and say what moved and why\n"
			  "  gmem top                 what is going on now\n"
			  "\n"
			  "Exit status: 0 all is well; 1 the run failed; 2 misuse, or input that "
			  "cannot be used.";

struct command_line {
	int command;	     /* where its name is in argv; 0: nowhere */
	const char *mistake; /* the option that is none */
	bool help;
	bool version;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct command_line *line = state->input;

	(void)arg;
	switch (key) {
	case 'h':
		line->help = true;
		return 0;
	case 'V':
		line->version = true;
		return 0;
	case ARGP_KEY_ARG:
		/* The rest is not for this parser. */
		line->command = state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_ERROR:
		line->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "COMMAND [ARGUMENT...]",
		.doc = doc,
	};
	struct command_line line = { 0 };
	char name[] = "gmem";

	/* argp says two lines about a mistake; one is enough. */
	if (argp_parse(&argp, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | ARGP_IN_ORDER, NULL, &line))
		return fail(RUN_BAD_INPUT, "%s: unknown option; see 'gmem --help'", line.mistake);
	if (line.help)
		argp_help(&argp, stdout, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK, name);
	if (line.version)
		puts(VERSION_TEXT);
	if (line.help || line.version)
		return RUN_OK;
	if (!line.command)
		return fail(RUN_BAD_INPUT,
			    "which command? Try 'gmem demo'; 'gmem --help' lists them");
	if (!strcmp(argv[line.command], "bench"))
		return bench_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "check"))
		return check_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "stat"))
		return stat_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "top"))
		return top_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "topo"))
		return topo_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "run"))
		return run_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "demo"))
		return demo_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "record"))
		return record_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "replay"))
		return replay_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "map"))
		return map_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "trace"))
		return trace_main(argc - line.command, argv + line.command);
	if (!strcmp(argv[line.command], "report"))
		return report_main(argc - line.command, argv + line.command);
	return fail(RUN_BAD_INPUT, "unknown command '%s': 'gmem --help' lists them",
		    argv[line.command]);
}
