// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* `gmem check`: is this machine ready? Its options. */
#include <argp.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "util.h"

enum key {
	KEY_JSON = 256,
};

static const struct argp_option options[] = {
	{ "json", KEY_JSON, NULL, 0, "Print what was found as one JSON object", 1 },
	{ "help", 'h', NULL, 0, "Print this help", 2 },
	{ 0 },
};

static const char doc[] =
	"Is this machine ready for gmem? For each thing that is missing it says what goes without "
	"it, and the command that mends it. It changes nothing."
	"\v"
	"Examples:\n"
	"  gmem check                            what is here, and what is missing\n"
	"  gmem check >/dev/null || exit         in a script\n"
	"  gmem check --json | jq -r '.checks[].mend // empty'\n"
	"                                        nothing but the commands\n"
	"\n"
	"Exit status: 0 ready; 1 it works, and something is missing; 2 it does not work, or "
	"misuse.";

struct line {
	const char *mistake;
	const char *extra;
	bool json, help;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;

	switch (key) {
	case KEY_JSON:
		line->json = true;
		return 0;
	case 'h':
		line->help = true;
		return 0;
	case ARGP_KEY_ARG:
		line->extra = arg;
		return 0;
	case ARGP_KEY_ERROR:
		line->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* https://no-color.org has the variable. */
static bool want_color(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) && term && *term;
}

int check_main(int argc, char **argv)
{
	static const struct argp argp = { .options = options, .parser = parse, .doc = doc };
	struct check c = { .sys = &check_machine, .wish = getenv("GMEM_HOST") };
	struct line line = { 0 };
	int status = RUN_BAD_INPUT;

	if (!line_parse(&argp, 0, "gmem check", argc, argv, &line, &line.mistake, &line.help,
			&status))
		return status;
	if (line.extra)
		return fail(RUN_BAD_INPUT, "'%s': gmem check takes no argument", line.extra);
	check_run(&c);
	if (line.json ? check_print_json(&c, stdout)
		      : check_print(&c, stdout, want_color(), !geteuid()))
		return fail(RUN_FAILED, "cannot write the result");
	return c.status;
}
