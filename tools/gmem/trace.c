// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem trace`: run a program, with GMEM_TRACE in its environment.
 *
 * The library in the program does the rest (src/lib/trace_file.c). So do libraries in the programs
 * that it starts: they append to the same file, which is why it is made anew here.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trace.h"
#include "util.h"

enum {
	EXIT_CANNOT_RUN = 126,
	EXIT_NOT_FOUND = 127,
	EXIT_SIGNAL = 128,
};

static const struct argp_option options[] = {
	{ "output", 'o', "FILE", 0, "Where the trace goes; what is there is gone", 1 },
	{ "quiet", 'q', NULL, 0, "Do not say at the end how many events there were", 2 },
	{ "help", 'h', NULL, 0, "Print this help", 3 },
	{ 0 },
};

static const char doc[] =
	"Run a program that uses gmem, and write what happens to its memory as a trace: faults of "
	"the CPU and of devices, what is moved for whom, evictions, prefetches, thrashing. "
	"Perfetto (https://ui.perfetto.dev) and Chrome (chrome://tracing) open it; 'gmem report' "
	"makes "
	"a page of it. This is not the trace of what touches memory, which 'gmem record' makes and "
	"'gmem replay' reads."
	"\v"
	"Examples:\n"
	"  gmem trace -o demo.json -- gmem demo stream     a demo\n"
	"  gmem trace -o app.json -- ./app --its-option    a program that uses libgmem\n"
	"  gmem report demo.json -o demo.html              a page of it\n"
	"\n"
	"Exit status: the program's; 128 and the signal's number if one ended it; 127 there is no "
	"such "
	"program; 126 it cannot be run; 1 the trace cannot be written; 2 misuse.";

struct line {
	const char *output, *mistake;
	char **program;
	bool quiet, help;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;

	switch (key) {
	case 'o':
		line->output = arg;
		return 0;
	case 'q':
		line->quiet = true;
		return 0;
	case 'h':
		line->help = true;
		return 0;
	case ARGP_KEY_ARG:
		/* The rest is the program's. */
		line->program = state->argv + state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_ERROR:
		line->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Empty, and by a name that is good in any directory; RUN_*, with a message. */
static int make_file(const char *path, char **absolute)
{
	struct stat st;
	int fd;

	if (!stat(path, &st) && !S_ISREG(st.st_mode))
		return fail(RUN_BAD_INPUT, "%s: not a regular file, which a trace must be", path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return fail(RUN_BAD_INPUT, "cannot write %s: %s", path, strerror(errno));
	close(fd);
	*absolute = realpath(path, NULL);
	return *absolute ? RUN_OK
			 : fail(RUN_BAD_INPUT, "cannot write %s: %s", path, strerror(errno));
}

static volatile sig_atomic_t child;

static void pass_on(int sig)
{
	if (child)
		kill((pid_t)child, sig);
}

/*
 * What the terminal sends is for the program, and what would end this one is passed on to it: this one
 * waits for its end. What is ignored stays so. @deflt: what the program is to have as it was.
 */
static void handle_signals(sigset_t *deflt)
{
	static const struct {
		int sig;
		void (*how)(int);
	} all[] = {
		{ SIGINT, SIG_IGN }, { SIGQUIT, SIG_IGN }, { SIGTERM, pass_on }, { SIGHUP, pass_on }
	};
	struct sigaction was;

	sigemptyset(deflt);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct sigaction how = { .sa_handler = all[i].how, .sa_flags = SA_RESTART };

		sigaction(all[i].sig, NULL, &was);
		if (was.sa_handler == SIG_IGN)
			continue;
		sigaction(all[i].sig, &how, NULL);
		sigaddset(deflt, all[i].sig);
	}
}

/* Its exit status. Signals wait until it is known whom to pass them on to. */
static int run(char **program)
{
	posix_spawnattr_t attr;
	sigset_t deflt, all, mask;
	int err, status;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask);
	handle_signals(&deflt);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &deflt);
	posix_spawnattr_setsigmask(&attr, &mask);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	err = posix_spawnp(&pid, program[0], NULL, &attr, program, environ);
	posix_spawnattr_destroy(&attr);
	if (err)
		return fail(err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN, "cannot run %s: %s",
			    program[0], strerror(err));
	child = pid;
	sigprocmask(SIG_SETMASK, &mask, NULL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail(RUN_FAILED, "cannot wait for %s: %s", program[0],
				    strerror(errno));
	child = 0;
	return WIFSIGNALED(status) ? EXIT_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The library writes a line an event. */
static int summary(const char *path, const char *program)
{
	uint64_t events = 0, lost = 0;
	FILE *f = fopen(path, "re");
	char *text = NULL, *at;
	size_t room = 0;

	if (!f)
		return fail(RUN_FAILED, "cannot read %s: %s", path, strerror(errno));
	while (getline(&text, &room, f) > 0) {
		if (!strstr(text, "\"ph\":\"X\"") && !strstr(text, "\"ph\":\"i\""))
			continue;
		events++;
		at = strstr(text, "\"args\":{\"events\":");
		if (at && strstr(text, "\"events lost\""))
			lost += strtoull(strrchr(at, ':') + 1, NULL, 10);
	}
	free(text);
	fclose(f);
	if (!events) {
		fail(0,
		     "%s: no events: %s did not use gmem, or is setuid, or was given no right to "
		     "userfaultfd",
		     path, program);
		return RUN_OK;
	}
	fprintf(stderr, "gmem: %s: %s events", path, count_text(events).s);
	if (lost)
		fprintf(stderr, ", and %s were lost", count_text(lost).s);
	fprintf(stderr, "; 'gmem report %s' or https://ui.perfetto.dev shows them\n", path);
	return RUN_OK;
}

int trace_main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "PROGRAM [ARGUMENT...]",
		.doc = doc,
	};
	struct line line = { 0 };
	char *absolute = NULL;
	int status = RUN_BAD_INPUT, err;

	if (!line_parse(&argp, ARGP_IN_ORDER, "gmem trace", argc, argv, &line, &line.mistake,
			&line.help, &status))
		return status;
	if (!line.program)
		return fail(RUN_BAD_INPUT, "trace which program? See 'gmem trace --help'");
	if (!line.output || !*line.output)
		return fail(RUN_BAD_INPUT, "trace to where? Give -o FILE; see 'gmem trace --help'");
	err = make_file(line.output, &absolute);
	if (err)
		return err;
	setenv("GMEM_TRACE", absolute, 1);
	free(absolute);
	status = run(line.program);
	if (status != EXIT_NOT_FOUND && status != EXIT_CANNOT_RUN && !line.quiet &&
	    summary(line.output, line.program[0]) && !status)
		status = RUN_FAILED;
	return status;
}
