// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem stat`: what gmem counts of a program, or of a process that runs already; as perf-stat(1).
 *
 * Of a process, by its socket (live.c). Of a program, all processes that come of it and use gmem:
 * GMEM_STAT in their environment has the name of a socket of ours, to which each connects when it has
 * an address space. Either way a process is asked for "stats" now and then, and has been asked for
 * "final", which it says when it exits. Of one that is killed there is what it said last.
 *
 * One thread, which sleeps in poll(2). Signals: those of the terminal are the program's to act upon,
 * and those that would end us are passed on to it; with a process of somebody else's they end the watching.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stat.h"
#include "util.h"

#define SAMPLE_MS 250U /* what is lost at most of a process that is killed */

static volatile sig_atomic_t stop; /* a signal said so */
static volatile sig_atomic_t child;

static void on_signal(int sig)
{
	if (child)
		kill((pid_t)child, sig);
	else
		stop = 1;
}

/* What is ignored stays ignored, as under nohup(1), here and in the program. */
static bool ignored[NSIG];

static void handle(int sig, void (*how)(int))
{
	ignored[sig] = signal(sig, how) == SIG_IGN;
	if (ignored[sig])
		signal(sig, SIG_IGN);
}

/* In the child. */
static void give_back(int sig)
{
	signal(sig, ignored[sig] ? SIG_IGN : SIG_DFL);
}

/* ---------------------------------------------------------------------------- processes */

static struct stat_process *add_process(struct stat_run *s, struct live live)
{
	struct stat_process *p;

	s->process = xrealloc(s->process, s->nr + 1, sizeof(*s->process));
	p = &s->process[s->nr++];
	*p = (struct stat_process){ .live = live };
	return p;
}

static void take(struct stat_process *p, json_t *answer)
{
	json_decref(p->last);
	p->last = answer;
	/* Devices of the machine's have counted for others before; what came with the process has not. */
	if (!p->base)
		p->base = p->whole && strcmp(json_string_value(json_object_get(answer, "host"))
						     ?: "",
					     "kernel") != 0
				  ? json_object()
				  : json_incref(answer);
}

/* What has come, without waiting. */
static void read_process(struct stat_process *p)
{
	json_t *answer;
	int end = 0;

	while (p->live.fd >= 0 && (answer = live_receive(&p->live, 0, &end)))
		take(p, answer);
	if (!end)
		return;
	live_close(&p->live);
	p->cut = !p->last || !json_is_true(json_object_get(p->last, "final"));
}

static void ask_all(struct stat_run *s)
{
	for (size_t i = 0; i < s->nr; i++)
		if (s->process[i].live.fd >= 0)
			live_send(&s->process[i].live, "stats");
}

/* What was asked, in time; a process that hangs is not waited for. */
static void settle(struct stat_run *s)
{
	int end;

	ask_all(s);
	for (size_t i = 0; i < s->nr; i++) {
		struct stat_process *p = &s->process[i];
		json_t *answer = p->live.fd >= 0 ? live_receive(&p->live, SAMPLE_MS, &end) : NULL;

		if (answer)
			take(p, answer);
		if (answer)
			read_process(p);
	}
}

/* -------------------------------------------------------------------------------- waiting */

static int alive(const struct stat_run *s)
{
	int n = 0;

	for (size_t i = 0; i < s->nr; i++)
		n += s->process[i].live.fd >= 0;
	return n;
}

/* Who connects has asked itself for "final". */
static void accept_process(struct stat_run *s, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct ucred who;
	socklen_t len = sizeof(who);
	struct stat_process *p;
	struct live live;

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) ||
	    (who.uid != geteuid() && geteuid())) {
		close(fd);
		return;
	}
	live_init(&live, fd);
	p = add_process(s, live);
	p->whole = true;
	live_send(&p->live, "stats");
}

/*
 * Until @done is readable (a process's end; -1: until all have said their last), or a signal, or the time
 * is over. @listener: where more come from, or -1.
 */
static void watch(struct stat_run *s, int done, int listener)
{
	double step = (double)(s->interval_ms ? s->interval_ms : SAMPLE_MS) / 1e3;
	double next = s->began + step, now, until;
	struct pollfd *fds = NULL;
	size_t n;

	while (!stop && (done >= 0 || alive(s))) {
		now = seconds_now();
		if (s->duration_ms && now - s->began >= (double)s->duration_ms / 1e3)
			break;
		if (now >= next) {
			if (s->interval_ms) {
				settle(s);
				stat_print_interval(s, next - s->began);
			} else {
				ask_all(s);
			}
			next += step * (double)(1 + (uint64_t)((now - next) / step));
		}
		n = s->nr;
		fds = xrealloc(fds, n + 2, sizeof(*fds));
		for (size_t i = 0; i < n; i++)
			fds[i] = (struct pollfd){ .fd = s->process[i].live.fd, .events = POLLIN };
		fds[n] = (struct pollfd){ .fd = done, .events = POLLIN };
		fds[n + 1] = (struct pollfd){ .fd = listener, .events = POLLIN };
		until = next;
		if (s->duration_ms && s->began + (double)s->duration_ms / 1e3 < until)
			until = s->began + (double)s->duration_ms / 1e3;
		now = seconds_now();
		if (poll(fds, n + 2, until > now ? (int)((until - now) * 1e3) + 1 : 0) <= 0)
			continue;
		for (size_t i = 0; i < n; i++)
			if (fds[i].revents)
				read_process(&s->process[i]);
		if (fds[n + 1].revents)
			accept_process(s, listener);
		else if (fds[n].revents) /* all that came before the end has been seen to */
			break;
	}
	free(fds);
}

/* ------------------------------------------------------------------------------- two ways */

/* A socket without a file: it is gone with us, and there in a chroot(2) too. */
static int open_socket(char *name, size_t size)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), len;

	len = snprintf(name, size, "@gmem-stat-%d-%llx", (int)getpid(),
		       (unsigned long long)(seconds_now() * 1e9));
	memcpy(at.sun_path + 1, name + 1, (size_t)len - 1);
	if (fd >= 0 &&
	    !bind(fd, (const struct sockaddr *)&at,
		  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)) &&
	    !listen(fd, 1024))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* In the child. It tells why it cannot, by the pipe. */
static void execute(const struct stat_run *s, const char *name, const sigset_t *mask, int tell)
{
	int err;

	give_back(SIGINT);
	give_back(SIGQUIT);
	give_back(SIGTERM);
	give_back(SIGHUP);
	sigprocmask(SIG_SETMASK, mask, NULL);
	setenv("GMEM_STAT", name, 1);
	execvp(s->command[0], s->command);
	err = errno;
	if (write(tell, &err, sizeof(err)) < 0)
		_exit(STAT_FAILED);
	_exit(err == ENOENT ? STAT_NOT_FOUND : STAT_CANNOT_RUN);
}

/* 0, or why it cannot be run. */
static int start(const struct stat_run *s, const char *name, pid_t *pid)
{
	sigset_t all, mask;
	int tell[2], err = 0;

	if (pipe2(tell, O_CLOEXEC))
		return errno;
	/* A signal that comes meanwhile is for the child, whose number we do not know yet. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask);
	*pid = fork();
	if (!*pid)
		execute(s, name, &mask, tell[1]);
	if (*pid < 0)
		err = errno;
	else
		child = *pid;
	sigprocmask(SIG_SETMASK, &mask, NULL);
	close(tell[1]);
	if (!err && read(tell[0], &err, sizeof(err)) != sizeof(err))
		err = 0;
	close(tell[0]);
	if (err && *pid > 0)
		waitpid(*pid, NULL, 0);
	return err;
}

static int run_command(struct stat_run *s)
{
	char name[96];
	int listener = open_socket(name, sizeof(name)), done, status, err;
	pid_t pid = 0;

	if (listener < 0)
		return fail(STAT_FAILED, "cannot make a socket: %s", strerror(errno));
	handle(SIGINT, SIG_IGN);
	handle(SIGQUIT, SIG_IGN);
	err = start(s, name, &pid);
	if (err) {
		child = 0;
		close(listener);
		return fail(err == ENOENT ? STAT_NOT_FOUND : STAT_CANNOT_RUN, "cannot run %s: %s",
			    s->command[0], strerror(err));
	}
	done = (int)syscall(SYS_pidfd_open, pid, 0);
	watch(s, done, listener);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	child = 0;
	s->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	/* Whoever has connected before the end is behind the listener still. */
	for (size_t n = s->nr + 1; s->nr != n;) {
		n = s->nr;
		accept_process(s, listener);
	}
	settle(s);
	for (size_t i = 0; i < s->nr; i++)
		read_process(&s->process[i]);
	close(listener);
	close(done);
	return 0;
}

static int watch_process(struct stat_run *s)
{
	enum live_error error;
	struct stat_process *p;
	struct live live;
	json_t *first;

	handle(SIGINT, on_signal);
	error = live_open(&live, s->pid);
	first = error ? NULL : live_ask(&live, "stats");
	if (!first || live_send(&live, "final")) {
		json_decref(first);
		live_close(&live);
		return live_fail(STAT_FAILED, error ? error : LIVE_FAILED, s->pid);
	}
	p = add_process(s, live);
	take(p, first);
	watch(s, -1, -1);
	settle(s);
	return 0;
}

/* -------------------------------------------------------------------------------- options */

enum key {
	KEY_JSON = 256,
};

static const struct argp_option options[] = {
	{ "interval", 'I', "MS", 0, "Print what was counted every so many milliseconds", 1 },
	{ "duration", 'd', "SECONDS", 0, "Of a process: watch it so long, and not to its end", 1 },
	{ "output", 'o', "FILE", 0, "Write to a file instead of standard error", 2 },
	{ "json", KEY_JSON, NULL, 0, "Print JSON objects, one a line", 2 },
	{ "help", 'h', NULL, 0, "Print this help", 3 },
	{ 0 },
};

static const char doc[] =
	"What gmem counts: faults, what moves, evictions, the time they take. Of PROGRAM and all "
	"that it starts, from beginning to end; or of process PID, from now on."
	"\v"
	"Examples:\n"
	"  gmem stat -- ./program -x 5           run it, then print\n"
	"  gmem stat -I 1000 -- ./program        every second besides\n"
	"  gmem stat 4711                        until it ends, or Ctrl-C\n"
	"  gmem stat 4711 -d 10 --json -o f.json ten seconds of it\n"
	"\n"
	"Exit status: PROGRAM's, 128 and the signal that killed it; 125 gmem stat itself failed, "
	"126 PROGRAM cannot be run, 127 it cannot be found.";

struct line {
	struct stat_run *s;
	const char *mistake;
	bool help, pid;
};

static error_t parse_argument(struct line *line, char *arg, struct argp_state *state)
{
	uint64_t pid;

	/* Behind "--" is a command; so is what is no number. */
	if (!line->pid && (state->quoted || number_parse(arg, 0, UINT64_MAX, &pid))) {
		line->s->command = &state->argv[state->next - 1];
		state->next = state->argc;
		return 0;
	}
	if (line->pid)
		return USAGE("'%s': one process, or a program with its arguments", arg);
	if (number_parse(arg, 1, INT32_MAX, &pid))
		return USAGE("'%s' is no number of a process", arg);
	line->s->pid = (pid_t)pid;
	line->pid = true;
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;
	struct stat_run *s = line->s;

	switch (key) {
	case 'I':
		if (number_parse(arg, 10, 86400000, &s->interval_ms))
			return USAGE("-I %s: give milliseconds, 10 or more", arg);
		return 0;
	case 'd':
		if (number_parse(arg, 1, 86400 * 365, &s->duration_ms))
			return USAGE("-d %s: give seconds, 1 or more", arg);
		s->duration_ms *= 1000;
		return 0;
	case 'o':
		s->path = arg;
		return 0;
	case KEY_JSON:
		s->json = true;
		return 0;
	case 'h':
		line->help = true;
		return 0;
	case ARGP_KEY_ARG:
		return parse_argument(line, arg, state);
	case ARGP_KEY_ERROR:
		line->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void clean_up(struct stat_run *s)
{
	for (size_t i = 0; i < s->nr; i++) {
		live_close(&s->process[i].live);
		json_decref(s->process[i].base);
		json_decref(s->process[i].last);
		json_decref(s->process[i].seen);
	}
	free(s->process);
}

static int run(struct stat_run *s)
{
	double seconds;
	int err;

	s->out = s->path ? fopen(s->path, "we") : stderr;
	if (!s->out)
		return fail(STAT_FAILED, "cannot write %s: %s", s->path, strerror(errno));
	handle(SIGTERM, on_signal);
	handle(SIGHUP, on_signal);
	s->began = seconds_now();
	err = s->command ? run_command(s) : watch_process(s);
	seconds = seconds_now() - s->began;
	if (!err && s->interval_ms)
		stat_print_interval(s, seconds);
	if (!err && stat_print(s, seconds))
		err = fail(STAT_FAILED, "cannot write the result");
	if (s->path && fclose(s->out) && !err)
		err = fail(STAT_FAILED, "cannot write %s: %s", s->path, strerror(errno));
	clean_up(s);
	return err ? err : s->status;
}

int stat_main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options, .parser = parse, .doc = doc, .args_doc = "PID\n-- PROGRAM..."
	};
	struct stat_run s = { .pid = 0 };
	struct line line = { .s = &s };
	int status = STAT_FAILED;

	if (!line_parse(&argp, ARGP_IN_ORDER, "gmem stat", argc, argv, &line, &line.mistake,
			&line.help, &status))
		return status;
	if (!s.command && !s.pid)
		return fail(STAT_FAILED, "of what? Give a process's number, or -- and a program");
	if (s.command && s.duration_ms)
		return fail(STAT_FAILED, "-d is for a process: a program is watched to its end");
	return run(&s);
}
