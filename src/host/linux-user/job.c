// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Jobs: the handles of hints that are carried out in the background (core's async.c).
 *
 * A job has a word, on which those sleep who wait for it, and an eventfd once somebody has asked
 * for a descriptor. The word is PENDING, SLEEPING if somebody sleeps, then DONE, for good; the
 * error is written before DONE (release) and read after it (acquire). Two hold a job: its handle,
 * and the core until it has told of the end.
 *
 * Locking: job->lock over the end, and over the making of the descriptor: whoever comes second
 * sees what the first has done. Whoever has been told of the end, by the word or by the
 * descriptor, finds the other say so too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "user.h"

enum { PENDING, SLEEPING, DONE };

struct gm_job {
	struct gm_sweep *sweep;
	uint32_t refs, word;
	int err;
	pthread_mutex_t lock;
	struct gm_user_fd event; /* or fd is -1 [lock] */
	bool told;		 /* event is readable, if there is one [lock] */
};

static void put(struct gm_job *job)
{
	if (__atomic_sub_fetch(&job->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (job->event.fd >= 0)
		gm_fd_close(&job->event);
	pthread_mutex_destroy(&job->lock);
	free(job);
}

/* ------------------------------------------------------------------------- beginning */

/* The address space that all of them are in. */
static int find_as(const struct gm_hint *hints, unsigned int n, struct gm_as **as)
{
	*as = NULL;
	for (unsigned int i = 0; i < n; i++) {
		struct gm_as *of = gm_ranges_find((uint64_t)(uintptr_t)hints[i].addr);

		if (!of)
			return -EFAULT;
		if (*as && of != *as)
			return -EINVAL;
		*as = of;
	}
	return 0;
}

static bool sound(const struct gm_hint *hints, unsigned int n)
{
	if (!hints || !n || n > GM_HINTS_MAX)
		return false;
	for (unsigned int i = 0; i < n; i++)
		if (!hints[i].len || (uintptr_t)hints[i].addr + hints[i].len < hints[i].len)
			return false;
	return true;
}

int gm_job_start(const struct gm_hint *hints, unsigned int n, struct gm_job **out)
{
	struct gm_job *job;
	struct gm_as *as;
	int err = gm_os_usable();

	if (!err && !sound(hints, n))
		err = -EINVAL;
	if (!err)
		err = find_as(hints, n, &as);
	if (!err)
		err = gm_tasks_start();
	if (err)
		return err;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->refs = 2;
	job->event.fd = -1;
	pthread_mutex_init(&job->lock, NULL);
	err = gm_sweep_start(as, hints, n, job, &job->sweep);
	if (err) {
		pthread_mutex_destroy(&job->lock);
		free(job);
		return err;
	}
	if (out)
		*out = job;
	else
		gm_job_free(job);
	return 0;
}

/* ------------------------------------------------------------------------------- end */

static void ring(struct gm_job *job)
{
	uint64_t one = 1;

	if (write(job->event.fd, &one, sizeof(one)) != sizeof(one))
		gm_os_bug(__FILE__, __LINE__, "an eventfd takes no 1");
}

void gm_os_job_done(void *host, int err)
{
	struct gm_job *job = host;

	gm_record_drain();
	pthread_mutex_lock(&job->lock);
	job->err = err;
	if (__atomic_exchange_n(&job->word, DONE, __ATOMIC_ACQ_REL) == SLEEPING)
		gm_os_wake(&job->word);
	job->told = true;
	if (job->event.fd >= 0)
		ring(job);
	pthread_mutex_unlock(&job->lock);
	put(job);
}

/* --------------------------------------------------------------------------- waiting */

/* Until the word is not SLEEPING any more, or the time, on the monotonic clock, has come. */
static void nap(struct gm_job *job, uint64_t until)
{
	struct timespec t = { .tv_sec = (time_t)(until / 1000000000),
			      .tv_nsec = (long)(until % 1000000000) };

	syscall(SYS_futex, &job->word, FUTEX_WAIT_BITSET_PRIVATE, SLEEPING,
		until == GM_FOREVER ? NULL : &t, NULL, FUTEX_BITSET_MATCH_ANY);
}

int gm_job_wait(struct gm_job *job, uint64_t ns)
{
	uint64_t now = gm_os_now_ns(), until = now + ns < now ? GM_FOREVER : now + ns;
	uint32_t word;
	int err = gm_os_usable();

	if (err)
		return err;
	if (!job)
		return -EINVAL;
	while ((word = __atomic_load_n(&job->word, __ATOMIC_ACQUIRE)) != DONE) {
		if (until != GM_FOREVER && gm_os_now_ns() >= until)
			return -ETIMEDOUT;
		if (word == SLEEPING ||
		    __atomic_compare_exchange_n(&job->word, &word, SLEEPING, false,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			nap(job, until);
	}
	pthread_mutex_lock(&job->lock); /* the descriptor is readable by now */
	err = job->err;
	pthread_mutex_unlock(&job->lock);
	return err;
}

int gm_job_fd(struct gm_job *job)
{
	int fd, err = gm_os_usable();

	if (err)
		return err;
	if (!job)
		return -EINVAL;
	pthread_mutex_lock(&job->lock);
	if (job->event.fd < 0) {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd < 0)
			err = -errno;
		else
			gm_fd_adopt(&job->event, fd);
		if (fd >= 0 && job->told)
			ring(job);
	}
	fd = job->event.fd;
	pthread_mutex_unlock(&job->lock);
	return err ? err : fd;
}

int gm_job_cancel(struct gm_job *job)
{
	int err = gm_os_usable();

	if (err)
		return err;
	if (!job)
		return -EINVAL;
	gm_sweep_cancel(job->sweep);
	return 0;
}

void gm_job_free(struct gm_job *job)
{
	if (!job || gm_os_usable())
		return;
	gm_sweep_put(job->sweep);
	put(job);
}
