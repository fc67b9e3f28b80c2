// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The progress line.
 *
 * A thread of its own draws it, ten times a second on a terminal; the work itself
 * only sets counters. Where stderr is not a terminal it prints a plain line when a
 * phase begins and one every few seconds while a phase lasts, so that a log stays
 * short and still shows life.
 *
 * Locking: state.lock guards the phase and everything the thread looks at but the
 * counters that kernels bump, which are atomic. The thread reads an address space's
 * counters under the lock, so after progress_watch(NULL) it does not use it any more.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <gmem/gmem.h>

#include "progress.h"
#include "util.h"

#define TICK_TERMINAL_MS 100
#define TICK_LOG_MS 5000

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool running;  /* the thread exists */
	bool stop;     /* and is to end */
	bool terminal; /* stderr is one */
	bool drawn;    /* a line is on it */
	const char *what;
	uint64_t total;
	uint64_t pass, passes;
	struct gm_as *as;
	_Atomic uint64_t done;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The line as it stands; state.lock held. */
static void draw(void)
{
	uint64_t done = atomic_load(&state.done);
	struct gm_stats stats = { .size = sizeof(stats) };

	if (!state.what)
		return;
	fprintf(stderr, state.terminal ? "\r\033[K%s" : "gmem: %s", state.what);
	if (state.passes)
		fprintf(stderr, ", pass %llu of %llu", (unsigned long long)state.pass,
			(unsigned long long)state.passes);
	if (state.total && done)
		fprintf(stderr, ", %u%%",
			(unsigned int)(done >= state.total ? 100 : done * 100 / state.total));
	if (state.as && !gm_as_stats(state.as, &stats) && stats.cpu_faults + stats.dev_faults)
		fprintf(stderr, ", %s faults", count_text(stats.cpu_faults + stats.dev_faults).s);
	if (!state.terminal)
		fputc('\n', stderr);
	fflush(stderr);
	state.drawn = true;
}

/* state.lock held */
static void wipe(void)
{
	if (state.terminal && state.drawn)
		fputs("\r\033[K", stderr);
	fflush(stderr);
	state.drawn = false;
}

static void *progress_thread(void *arg)
{
	long tick_ms = state.terminal ? TICK_TERMINAL_MS : TICK_LOG_MS;
	struct timespec ts;

	(void)arg;
	pthread_mutex_lock(&state.lock);
	while (!state.stop) {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_nsec += tick_ms % 1000 * 1000000;
		ts.tv_sec += tick_ms / 1000 + ts.tv_nsec / 1000000000;
		ts.tv_nsec %= 1000000000;
		if (pthread_cond_timedwait(&state.wake, &state.lock, &ts) && !state.stop)
			draw();
	}
	pthread_mutex_unlock(&state.lock);
	return NULL;
}

void progress_start(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&state.wake, &attr);
	pthread_condattr_destroy(&attr);
	state.terminal = isatty(STDERR_FILENO);
	/* Without the thread there is no progress line; that is no reason not to run. */
	state.running = !pthread_create(&state.thread, NULL, progress_thread, NULL);
}

void progress_stop(void)
{
	pthread_mutex_lock(&state.lock);
	if (!state.running) {
		pthread_mutex_unlock(&state.lock);
		return;
	}
	state.running = false;
	state.stop = true;
	wipe();
	pthread_cond_signal(&state.wake);
	pthread_mutex_unlock(&state.lock);
	pthread_join(state.thread, NULL);
}

void progress_phase(const char *what, uint64_t total)
{
	pthread_mutex_lock(&state.lock);
	state.what = what;
	state.total = total;
	state.pass = 0;
	state.passes = 0;
	atomic_store(&state.done, 0);
	if (state.running)
		draw();
	pthread_mutex_unlock(&state.lock);
}

void progress_add(uint64_t steps)
{
	atomic_fetch_add_explicit(&state.done, steps, memory_order_relaxed);
}

void progress_pass(uint64_t n, uint64_t of)
{
	pthread_mutex_lock(&state.lock);
	state.pass = n;
	state.passes = of;
	pthread_mutex_unlock(&state.lock);
}

void progress_watch(struct gm_as *as)
{
	pthread_mutex_lock(&state.lock);
	state.as = as;
	pthread_mutex_unlock(&state.lock);
}
