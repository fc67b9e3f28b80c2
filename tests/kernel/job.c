// SPDX-License-Identifier: GPL-2.0-only
/* Jobs of the kernel host: a descriptor's life, and what may go before it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

static int start(int fd, const struct gmem_hint *hints, uint32_t n)
{
	struct gmem_job_start s = { .size = sizeof(s),
				    .n = n,
				    .hints = (uint64_t)(uintptr_t)hints };

	return kt_ioctl(fd, GMEM_JOB_START, &s);
}

static struct gmem_hint prefetch(const struct kt *t, int node)
{
	return (struct gmem_hint){ (uint64_t)(uintptr_t)t->mem, t->len, node, GMEM_PREFETCH };
}

/* How a job ended, once poll() says that it has. */
static int end_of(int job)
{
	struct gmem_job j = { .size = sizeof(j) };
	struct pollfd p = { .fd = job, .events = POLLIN };

	CHECK_EQ(poll(&p, 1, 20000), 1);
	CHECK_EQ(p.revents, POLLIN);
	CHECK_EQ(kt_ioctl(job, GMEM_JOB, &j), 0);
	CHECK_EQ(j.ended, 1);
	return j.err;
}

static void ends(void)
{
	struct gmem_hint h[2];
	struct kt t;
	int job;

	kt_begin(&t, 4 * BLOCK, 8 * BLOCK);
	memset(t.mem, 1, t.len);
	h[0] = prefetch(&t, t.node);
	job = start(t.as, h, 1);
	CHECK(job >= 0);
	CHECK(fcntl(job, F_GETFD) & FD_CLOEXEC);
	CHECK_EQ(end_of(job), 0);
	CHECK_EQ(kt_node(t.as, t.mem + 3 * BLOCK), t.node);
	close(job);
	h[0] = prefetch(&t, GMEM_NODE_HOST);
	h[1] = (struct gmem_hint){ h[0].addr, BLOCK, 0, GMEM_DONTNEED };
	job = start(kt_gmem(), h, 2);
	CHECK_EQ(end_of(job), 0);
	CHECK_EQ(kt_node(t.as, t.mem), GMEM_NODE_NONE);
	CHECK_EQ(kt_node(t.as, t.mem + BLOCK), GMEM_NODE_HOST);
	CHECK_EQ(t.mem[0], 0);
	CHECK_EQ(t.mem[BLOCK], 1);
	/* What only the job can find: what is before it is done, what is behind it is not. */
	h[0].addr += BLOCK;
	h[1].len = 64 * BLOCK;
	CHECK_EQ(end_of(start(t.as, &h[1], 1)), -EFAULT);
	h[0] = prefetch(&t, t.node + 40);
	CHECK_EQ(end_of(start(t.as, h, 1)), -ENODEV);
	kt_end(&t);
}

static void cancelled(void)
{
	struct gmem_job j = { .size = sizeof(j), .flags = GMEM_JOB_CANCEL };
	struct kt t;
	struct gmem_hint h;

	kt_begin(&t, 8 * BLOCK, 16 * BLOCK);
	for (int i = 0; i < 8; i++) {
		int job, err;

		memset(t.mem, i, t.len);
		h = prefetch(&t, t.node);
		job = start(t.as, &h, 1);
		usleep((unsigned int)i * 500);
		CHECK_EQ(kt_ioctl(job, GMEM_JOB, &j), 0);
		err = end_of(job);
		if (err != -ECANCELED)
			CHECK_EQ(err, 0);
		for (uint64_t at = 0; at < t.len; at += 16 * PAGE)
			CHECK_EQ(t.mem[at], i);
		close(job);
	}
	kt_end(&t);
}

/* Nobody holds the descriptor, or none is to be had. */
static void descriptors(void)
{
	struct rlimit limit, none;
	struct gmem_hint h;
	struct kt t;
	int fd;

	kt_begin(&t, 2 * BLOCK, 4 * BLOCK);
	h = prefetch(&t, t.node);
	for (int i = 0; i < 50; i++)
		close(start(t.as, &h, 1));
	fd = dup(0);
	close(fd);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = (rlim_t)fd;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	CHECK_EQ(start(t.as, &h, 1), -EMFILE);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	CHECK_EQ(end_of(start(t.as, &h, 1)), 0);
	kt_end(&t);
}

/* More hints at once than there may be: a later one is let in again. */
static void bounded(void)
{
	static struct gmem_hint h[1024];
	int job[64], n = 0, fd = 0;
	struct kt t;

	kt_begin(&t, 4 * BLOCK, 8 * BLOCK);
	for (unsigned int i = 0; i < 1024; i++)
		h[i] = prefetch(&t, i % 2 ? t.node : GMEM_NODE_HOST);
	for (; n < 64; n++) {
		fd = start(t.as, h, 1024);
		if (fd < 0)
			break;
		job[n] = fd;
	}
	CHECK_EQ(fd, -EAGAIN); /* 4096 blocks to move each, and no time for them */
	for (int i = 0; i < n; i++) {
		struct gmem_job j = { .size = sizeof(j), .flags = GMEM_JOB_CANCEL };

		CHECK_EQ(kt_ioctl(job[i], GMEM_JOB, &j), 0);
		CHECK_EQ(end_of(job[i]), -ECANCELED);
	}
	CHECK_EQ(end_of(start(t.as, h, 1)), 0);
	kt_end(&t);
}

/* Another process is told of the end of a job whose own was killed with its address space. */
static void killed(void)
{
	for (int i = 0; i < 6; i++) {
		int sock[2], job, err;
		pid_t pid;

		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
		pid = fork();
		if (!pid) {
			struct gmem_hint h;
			struct kt t;

			kt_begin(&t, 8 * BLOCK, 16 * BLOCK);
			memset(t.mem, 1, t.len);
			h = prefetch(&t, t.node);
			kt_send_fd(sock[1], start(t.as, &h, 1));
			pause();
		}
		close(sock[1]);
		job = kt_receive_fd(sock[0]);
		usleep((unsigned int)i * 1000);
		kill(pid, SIGKILL);
		CHECK_EQ(kt_wait(pid), -SIGKILL);
		err = end_of(job);
		if (err && err != -EFAULT)
			CHECK_EQ(err, -ECANCELED);
		close(job);
		close(sock[0]);
	}
}

/* Nothing of a job is left that would hold the module; the tests that follow want it back. */
static void unload(void)
{
	kt_module_gone();
	CHECK_EQ(kt_load("gmem"), 0);
	CHECK_EQ(kt_load("gmem_sim"), 0);
}

const struct kt_test kt_job[] = {
	{ "job_ends", ends, 60 },
	{ "job_cancelled", cancelled, 60 },
	{ "job_descriptors", descriptors, 60 },
	{ "job_bounded", bounded, 60 },
	{ "job_killed", killed, 60 },
	{ "job_unload", unload, 0 },
	{ 0 },
};
