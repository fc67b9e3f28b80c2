// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GMEM_TRACE: what gmem does for a program that does not ask for it, as a file.
 *
 * Theory. A reader of events (gmem/events.h) like any other: a thread takes what there is,
 * makes text of it (trace_json.c), and appends that. It is woken once a burst, and waits a little
 * before it looks, so that an event costs whoever tells it no more than its place in the ring.
 *
 * The file is an array of JSON at any time that it is not being written: what is new is written over
 * the bracket at its end, and a new bracket behind it, by one call. So a program may be killed. Several
 * processes may have the same file, one after another or at once; who writes has it locked. Where
 * the disk is full the end is put back, and tracing ends there.
 *
 * Locking. None: the thread has all to itself, and who stops it has waited for its end. A child of
 * fork() has no such thread, and leaves the file alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/os.h"
#include "host.h"
#include "trace_json.h"

#define GATHER_MS 5
#define BATCH 256U
#define END "\n]\n"
#define END_LEN ((off_t)sizeof(END) - 1)

static struct {
	const struct gm_host *host;
	struct gm_events *events;
	pid_t pid; /* who began; 0: nobody */
	pthread_t thread;
	int fd, stop;
	bool failed;
	uint64_t lost;
	struct gm_event_record batch[BATCH];
	struct gm_trace_json json;
} trace;

/* ------------------------------------------------------------------------------ file */

/* The size of what is there, if that is a trace, or nothing; or -errno. Locked. */
static off_t size_of(int fd)
{
	char end[END_LEN];
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (!st.st_size)
		return 0;
	if (st.st_size < END_LEN + 1 ||
	    pread(fd, end, sizeof(end), st.st_size - END_LEN) != (ssize_t)sizeof(end) ||
	    memcmp(end, END, sizeof(end)) || pread(fd, end, 1, 0) != 1 || *end != '[')
		return -EEXIST;
	return st.st_size;
}

/* @text begins with a comma, and has room for the end behind it. */
static int append(int fd, char *text, size_t len)
{
	off_t size, at;
	ssize_t n;
	int err;

	while (flock(fd, LOCK_EX))
		if (errno != EINTR)
			return -errno;
	size = size_of(fd);
	err = size < 0 ? (int)size : 0;
	if (err)
		goto out;
	at = size ? size - END_LEN : 0;
	if (!size)
		*text = '[';
	memcpy(text + len, END, END_LEN);
	len += END_LEN;
	errno = ENOSPC;
	n = pwrite(fd, text, len, at);
	if (n != (ssize_t)len) {
		err = -errno;
		if (ftruncate(fd, size) || (size && pwrite(fd, END, END_LEN, at) != END_LEN))
			err = -EIO;
	}
out:
	flock(fd, LOCK_UN);
	return err;
}

static void flush(void)
{
	int err;

	if (!trace.json.len)
		return;
	err = trace.failed ? 0 : append(trace.fd, trace.json.text, trace.json.len);
	trace.json.len = 0;
	if (!err)
		return;
	trace.failed = true;
	gm_os_warn("GMEM_TRACE: the trace is not whole", strerror(-err));
}

/* ---------------------------------------------------------------------------- events */

static void make_room(void)
{
	if (!gm_trace_json_room(&trace.json))
		flush();
}

/* All there is, and what was lost meanwhile. */
static void drain(void)
{
	uint64_t lost = trace.lost;
	int n;

	do {
		n = trace.host->events_read(trace.events, trace.batch, BATCH);
		for (int i = 0; i < n; i++) {
			make_room();
			gm_trace_json_event(&trace.json, &trace.batch[i]);
		}
	} while (n == (int)BATCH);
	make_room();
	gm_trace_json_counters(&trace.json, gm_os_now_ns());
	if (!trace.host->events_lost(trace.events, &lost) && lost != trace.lost) {
		make_room();
		gm_trace_json_lost(&trace.json, gm_os_now_ns(), lost - trace.lost);
		trace.lost = lost;
	}
	flush();
}

static void *trace_loop(void *arg)
{
	struct pollfd fds[2] = { { .fd = trace.stop, .events = POLLIN },
				 { .fd = trace.host->events_fd(trace.events), .events = POLLIN } };

	(void)arg;
	do {
		drain();
		poll(fds, 2, -1);
	} while (!(fds[0].revents & POLLIN) && poll(fds, 1, GATHER_MS) != 1);
	return NULL;
}

/* ---------------------------------------------------------------------- begin and end */

/* It blocks all signals: those are for the program's threads. */
static int start_thread(void)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&trace.thread, NULL, trace_loop, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!err)
		pthread_setname_np(trace.thread, "gmem/trace");
	return err;
}

static int open_file(const char *path)
{
	off_t size;

	trace.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
	if (trace.fd < 0)
		return -errno;
	while (flock(trace.fd, LOCK_EX))
		if (errno != EINTR)
			break;
	size = size_of(trace.fd);
	flock(trace.fd, LOCK_UN);
	if (size < 0)
		close(trace.fd);
	return size < 0 ? (int)size : 0;
}

int gm_trace_start(const struct gm_host *host, const char *path)
{
	const struct gm_events_options opt = {
		.size = sizeof(opt),
		.kinds = ((1U << GM_EVENT_KINDS) - 1) & ~(1U << GM_EVENT_INVALIDATE),
		.records = GM_EVENTS_MAX,
	};
	int err = open_file(path);

	if (err)
		return err;
	trace.stop = eventfd(0, EFD_CLOEXEC);
	if (trace.stop < 0) {
		err = -errno;
		goto err_file;
	}
	err = host->events_open(&opt, &trace.events);
	if (err)
		goto err_stop;
	trace.host = host;
	trace.failed = false;
	trace.lost = 0;
	trace.json.pid = getpid();
	err = start_thread();
	if (err)
		goto err_events;
	trace.pid = getpid();
	return 0;

err_events:
	host->events_close(trace.events);
err_stop:
	close(trace.stop);
err_file:
	close(trace.fd);
	return err;
}

/* By itself with the program, when all of its own is done. */
__attribute__((destructor)) void gm_trace_stop(void)
{
	char text[64];

	if (!trace.pid || trace.pid != getpid())
		return;
	trace.pid = 0;
	eventfd_write(trace.stop, 1);
	pthread_join(trace.thread, NULL);
	drain();
	trace.host->events_close(trace.events);
	close(trace.stop);
	close(trace.fd);
	if (!trace.lost)
		return;
	snprintf(text, sizeof(text), "%llu were lost", (unsigned long long)trace.lost);
	gm_os_warn("GMEM_TRACE: not all events are in the trace", text);
}
