// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The runs of `gmem replay`: each in a process of its own, several at once.
 *
 * The core is one a process, so is a run; and a run that breaks down takes no other with it. A
 * child finds the trace in the memory that it inherits and leaves its score in memory that
 * is shared. Scores have their places, so the order in which children end is seen nowhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmem/gmem.h>

#include "progress.h"
#include "replay.h"
#include "util.h"

/* One trace, while it is in memory. */
struct runs {
	const struct replay_options *opt;
	const char *path;
	struct replay_trace trace;
	struct paging paging;
	struct replay_cell *cells; /* of this trace, one a memory */
};

static uint64_t frames_of(const struct replay_memory *m, uint64_t touched)
{
	uint64_t n = m->percent ? touched * m->percent / 100 : m->bytes / GM_PAGE_SIZE;

	return n ? n : 1;
}

static void score_gmem(const struct runs *r, const uint64_t *frames, const char *policy,
		       struct replay_score *score)
{
	struct gm_replay_options opt = { .costs = r->opt->costs,
					 .policy = policy,
					 .background = r->opt->background,
					 .in_place = r->opt->in_place,
					 .cpu_granule = REPLAY_CPU_GRANULE * GM_PAGE_SIZE };
	struct gm_replay_result result;

	memcpy(opt.memory, frames, sizeof(opt.memory));
	score->err = gm_replay_run(&r->trace.t, &opt, &result);
	*score = (struct replay_score){
		.err = score->err,
		.failed_op = result.failed_op,
		.in = result.dev.pages_to_dev,
		.zeroed = result.dev.pages_zeroed,
		.out = result.dev.pages_to_host,
		.faults = result.dev.dev_faults_moved,
		.soft = result.dev.dev_faults_map,
		.cpu = result.as.cpu_faults,
		.evicted = result.dev.pages_evicted,
		.evictions = result.dev.evictions,
		.remote = result.remote_bytes,
		.ns = result.ns,
		.hints_failed = result.hints_failed,
	};
}

static void score_paging(const struct runs *r, const uint64_t *frames,
			 const struct paging_policy *policy, struct replay_score *score)
{
	struct paging_result result;
	int err = paging_run(&r->paging, frames, policy, &result);

	*score = (struct replay_score){
		.err = err,
		.in = result.in,
		.zeroed = result.zeroed,
		.out = result.out,
		.faults = result.misses,
		.cpu = result.homes,
		.evicted = result.evicted,
		.evictions = result.evicted,
		.ns = paging_ns(&result, &r->opt->costs),
	};
}

static void score(const struct runs *r, unsigned int memory, unsigned int entrant)
{
	const struct replay_entrant *e = &r->opt->entrants[entrant];
	struct replay_score *s = &r->cells[memory].scores[entrant];
	uint64_t frames[GM_REPLAY_DEVS] = { 0 };

	for (uint32_t i = 0; i < r->trace.t.nr_devs; i++)
		frames[i] = frames_of(&r->opt->memories[memory], r->paging.touched[i]);
	if (e->kind == REPLAY_GMEM)
		score_gmem(r, frames, e->name, s);
	else
		score_paging(r, frames, e->paging, s);
}

/* Wait for any child; RUN_*. */
static int reap(unsigned int *running)
{
	int status;
	pid_t pid;

	do {
		pid = wait(&status);
	} while (pid < 0 && errno == EINTR);
	if (pid < 0)
		return fail(RUN_FAILED, "cannot wait for a run: %s", strerror(errno));
	--*running;
	progress_add(1);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return RUN_OK;
	return fail(RUN_FAILED,
		    WIFSIGNALED(status) ? "a run was ended by signal %d"
					: "a run ended with status %d",
		    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static int start(const struct runs *r, unsigned int memory, unsigned int entrant,
		 unsigned int *running)
{
	pid_t pid = fork();

	if (pid < 0)
		return fail(RUN_FAILED, "cannot start a run: %s", strerror(errno));
	if (!pid) {
		score(r, memory, entrant);
		_exit(0);
	}
	++*running;
	return RUN_OK;
}

static int run_all(const struct runs *r)
{
	unsigned int running = 0, n = r->opt->nr_memories * r->opt->nr_entrants;
	int status = RUN_OK, last;

	for (unsigned int i = 0; i < n && !status; i++) {
		if (running == r->opt->jobs)
			status = reap(&running);
		if (!status)
			status = start(r, i / r->opt->nr_entrants, i % r->opt->nr_entrants,
				       &running);
	}
	while (running) {
		last = reap(&running);
		status = status ? status : last;
	}
	return status;
}

/* Did every run get to its end? */
static int check_scores(const struct runs *r)
{
	const struct replay_options *opt = r->opt;

	for (unsigned int m = 0; m < opt->nr_memories; m++) {
		for (unsigned int e = 0; e < opt->nr_entrants; e++) {
			const struct replay_score *s = &r->cells[m].scores[e];

			if (s->err)
				return fail(RUN_FAILED,
					    "%s, %s, memory %s: operation %llu failed: %s", r->path,
					    opt->entrants[e].name, opt->memories[m].text,
					    (unsigned long long)s->failed_op, strerror(-s->err));
		}
	}
	return RUN_OK;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void describe(const struct runs *r)
{
	for (unsigned int m = 0; m < r->opt->nr_memories; m++) {
		struct replay_cell *cell = &r->cells[m];

		cell->trace = base_name(r->path);
		cell->memory = r->opt->memories[m].text;
		cell->touches = r->paging.touches;
		for (uint32_t i = 0; i < r->trace.t.nr_devs; i++) {
			cell->pages += frames_of(&r->opt->memories[m], r->paging.touched[i]);
			cell->footprint += r->paging.touched[i];
		}
	}
}

static int run_trace(struct runs *r)
{
	int status, err;

	status = replay_load(r->path, &r->trace);
	if (status)
		goto out;
	err = paging_build(&r->trace.t, REPLAY_CPU_GRANULE, &r->paging);
	if (err)
		status = fail(err == -EFBIG ? RUN_BAD_INPUT : RUN_FAILED, "%s: %s", r->path,
			      err == -EFBIG ? "more accesses than can be replayed"
					    : strerror(-err));
	else if (!r->paging.touches)
		status = fail(RUN_BAD_INPUT, "%s: no device accesses anything: nothing to replay",
			      r->path);
	if (status)
		goto out;
	describe(r);
	status = run_all(r);
	if (!status)
		status = check_scores(r);
out:
	paging_release(&r->paging);
	replay_unload(&r->trace);
	return status;
}

static size_t scores_size(const struct replay_options *opt)
{
	return (size_t)opt->nr_traces * opt->nr_memories * opt->nr_entrants *
	       sizeof(struct replay_score);
}

int replay_cells(const struct replay_options *opt, struct replay_cell **cells)
{
	struct replay_score *scores = mmap(NULL, scores_size(opt), PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int n = opt->nr_traces * opt->nr_memories;
	int status = RUN_OK;

	if (scores == MAP_FAILED)
		return fail(RUN_FAILED, "no memory: %s", strerror(errno));
	*cells = xrealloc(NULL, n, sizeof(**cells));
	for (unsigned int i = 0; i < n; i++)
		(*cells)[i] = (struct replay_cell){ .scores = scores + i * opt->nr_entrants };
	progress_phase("replay", (uint64_t)n * opt->nr_entrants);
	for (unsigned int i = 0; i < opt->nr_traces && !status; i++) {
		struct runs r = { .opt = opt,
				  .path = opt->traces[i],
				  .cells = *cells + i * opt->nr_memories };

		status = run_trace(&r);
	}
	if (status)
		replay_cells_free(*cells, opt);
	return status;
}

void replay_cells_free(struct replay_cell *cells, const struct replay_options *opt)
{
	munmap(cells[0].scores, scores_size(opt));
	free(cells);
}
