// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Jobs of the kernel host: a descriptor each, which the kernel makes readable at the end.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"

struct gm_job {
	int fd;
};

int gm_k_job_start(const struct gm_hint *hints, unsigned int n, struct gm_job **out)
{
	struct gmem_job_start s = { .size = sizeof(s),
				    .n = n,
				    .hints = (uint64_t)(uintptr_t)hints };
	struct gm_job *job = NULL;
	int fd;

	_Static_assert(
		sizeof(struct gm_hint) == sizeof(struct gmem_hint) &&
			offsetof(struct gm_hint, hnode) == offsetof(struct gmem_hint, hnode) &&
			offsetof(struct gm_hint, advice) == offsetof(struct gmem_hint, advice),
		"the kernel's is the same");
	if (!hints)
		return -EINVAL;
	if (out) {
		job = malloc(sizeof(*job));
		if (!job)
			return -ENOMEM;
	}
	fd = gm_request(gm_kernel_fd, GMEM_JOB_START, &s);
	if (fd < 0) {
		free(job);
		return fd;
	}
	if (!out) {
		close(fd);
		return 0;
	}
	job->fd = fd;
	*out = job;
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int gm_k_job_wait(struct gm_job *job, uint64_t ns)
{
	uint64_t begin = now_ns(), gone = 0;
	struct gmem_job j = { .size = sizeof(j) };
	int err = job ? 0 : -EINVAL;

	for (;;) {
		uint64_t left = ns - gone;
		struct timespec t = { .tv_sec = (time_t)(left / 1000000000),
				      .tv_nsec = (long)(left % 1000000000) };
		struct pollfd p = { .events = POLLIN };

		if (!err)
			err = gm_request(job->fd, GMEM_JOB, &j);
		if (err || j.ended)
			return err ? err : j.err;
		if (ns != GM_FOREVER && gone >= ns)
			return -ETIMEDOUT;
		p.fd = job->fd;
		if (ppoll(&p, 1, ns == GM_FOREVER ? NULL : &t, NULL) < 0 && errno != EINTR)
			return -errno;
		gone = now_ns() - begin;
	}
}

int gm_k_job_fd(struct gm_job *job)
{
	return job ? job->fd : -EINVAL;
}

int gm_k_job_cancel(struct gm_job *job)
{
	struct gmem_job j = { .size = sizeof(j), .flags = GMEM_JOB_CANCEL };

	return job ? gm_request(job->fd, GMEM_JOB, &j) : -EINVAL;
}

void gm_k_job_free(struct gm_job *job)
{
	if (!job)
		return;
	close(job->fd);
	free(job);
}
