// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem top`: its options, and -b, which prints what the terminal would show.
 *
 * What counts is between two looks, so the first shows no rates; -b does not print it.
 */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "top.h"
#include "util.h"

static const struct argp_option options[] = {
	{ "batch", 'b', NULL, 0, "Print to standard output, for scripts", 1 },
	{ "iterations", 'n', "N", 0, "End after so many; default: never", 1 },
	{ "delay", 'd', "SECONDS", 0, "Between two, 0.1 at least; default: 2", 1 },
	{ "pid", 'p', "PID", 0, "This process alone", 1 },
	{ "help", 'h', NULL, 0, "Print this help", 2 },
	{ 0 },
};

static const char doc[] =
	"What gmem does now: how full the devices' memories are, faults and moves of each process, "
	"and the memory that is hottest. A blank asks for the next look at once; q quits."
	"\v"
	"Examples:\n"
	"  gmem top                    all processes of this user, or root: of all\n"
	"  gmem top -d 0.5 -p 4711     one of them, twice a second\n"
	"  gmem top -b -n 1            once, to standard output\n"
	"\n"
	"Exit status: 0 all is well; 1 it failed; 2 misuse, or a process that cannot be looked at.";

struct line {
	struct top *top;
	uint64_t n;
	bool batch, help;
	const char *mistake;
};

static int parse_delay(struct top *t, const char *arg)
{
	char *end;

	t->delay = strtod(arg, &end);
	if (*arg < '.' || *arg > '9' || *end || !(t->delay >= 0.1 && t->delay <= 86400))
		return USAGE("-d %s: give seconds, 0.1 or more", arg);
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;
	uint64_t pid;

	switch (key) {
	case 'b':
		line->batch = true;
		return 0;
	case 'n':
		if (number_parse(arg, 1, UINT32_MAX, &line->n))
			return USAGE("-n %s: give a number, 1 or more", arg);
		return 0;
	case 'd':
		return parse_delay(line->top, arg);
	case 'p':
		if (number_parse(arg, 1, INT32_MAX, &pid))
			return USAGE("-p %s: that is no number of a process", arg);
		line->top->only = (pid_t)pid;
		return 0;
	case 'h':
		line->help = true;
		return 0;
	case ARGP_KEY_ARG:
		return USAGE("'%s': gmem top takes no argument; of one process: -p PID", arg);
	case ARGP_KEY_ERROR:
		line->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int print(const struct top *t)
{
	struct top_line *lines;
	size_t n = top_lines(t, &lines);

	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(lines[i].s);

		while (len && lines[i].s[len - 1] == ' ')
			len--;
		printf("%.*s\n", (int)len, lines[i].s);
	}
	putchar('\n');
	free(lines);
	return fflush(stdout) || ferror(stdout) ? fail(RUN_FAILED, "cannot write the result")
						: RUN_OK;
}

static int batch(struct top *t, uint64_t n)
{
	struct timespec delay = { .tv_sec = (time_t)t->delay };
	int err = RUN_OK;

	delay.tv_nsec = (long)((t->delay - (double)delay.tv_sec) * 1e9);
	top_look(t);
	for (uint64_t i = 0; !err && (!n || i < n); i++) {
		nanosleep(&delay, NULL);
		top_look(t);
		err = print(t);
	}
	return err;
}

/* What is the matter with the one process, before anything is shown. */
static int check(const struct top *t)
{
	struct live live;
	enum live_error error = t->only ? live_open(&live, t->only) : LIVE_OK;

	if (error)
		return live_fail(RUN_BAD_INPUT, error, t->only);
	if (t->only)
		live_close(&live);
	return RUN_OK;
}

int top_main(int argc, char **argv)
{
	static const struct argp argp = { .options = options, .parser = parse, .doc = doc };
	struct top top = { .delay = 2 };
	struct line line = { .top = &top };
	int status = RUN_BAD_INPUT, err;

	if (!line_parse(&argp, 0, "gmem top", argc, argv, &line, &line.mistake, &line.help,
			&status))
		return status;
	if (!line.batch && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		return fail(RUN_BAD_INPUT, "this is no terminal: give -b");
	err = check(&top);
	if (err)
		return err;
	err = line.batch ? batch(&top, line.n) : top_screen(&top, line.n);
	top_end(&top);
	return err;
}
