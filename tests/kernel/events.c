// SPDX-License-Identifier: GPL-2.0-only
/*
 * Readers of events in the kernel: the descriptor, and who hears of what. What is in the events, the
 * conformance suite looks at. The tests run as root; a user is a child with another uid.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)
enum { FAULT, MIGRATE, EVICT, INVALIDATE, POISON, THRASH, REMOVE, KINDS };

static int listen_to(uint32_t kinds, uint32_t flags, uint32_t records)
{
	struct gmem_events e = {
		.size = sizeof(e), .flags = flags, .kinds = kinds, .records = records
	};

	return kt_ioctl(kt_gmem(), GMEM_EVENTS, &e);
}

static int must_listen(uint32_t kinds, uint32_t flags)
{
	int fd = listen_to(kinds, flags, 0);

	CHECK(fd >= 0);
	return fd;
}

/* How many there are: all are read into @r, of which there is room for @max. */
static int take(int fd, struct gmem_event *r, unsigned int max)
{
	ssize_t n = read(fd, r, max * sizeof(*r));

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	CHECK_EQ(n % (ssize_t)sizeof(*r), 0);
	return (int)((size_t)n / sizeof(*r));
}

static uint64_t lost(int fd)
{
	struct gmem_events_lost l = { .size = sizeof(l) };

	CHECK_EQ(kt_ioctl(fd, GMEM_EVENTS_LOST, &l), 0);
	return l.lost;
}

static void become(uid_t uid)
{
	CHECK_EQ(setgroups(0, NULL), 0);
	CHECK_EQ(setresgid(uid, uid, uid), 0);
	CHECK_EQ(setresuid(uid, uid, uid), 0);
}

/* A device's fault and the CPU's. */
static void there_and_back(struct kt *t, uint64_t at)
{
	kt_dev_store(t->sim, t->ctx, t->mem + at, 1);
	CHECK_EQ(*(volatile uint64_t *)(void *)(t->mem + at), 1);
}

static void bad_requests(void)
{
	struct gmem_events_lost l = { .size = sizeof(l), .pad = 1 };
	struct gmem_event r[2];
	int fd, full;

	CHECK_EQ(listen_to(0, 2, 0), -EINVAL);
	CHECK_EQ(listen_to(1U << KINDS, 0, 0), -EINVAL);
	CHECK_EQ(listen_to(0, 0, 65537), -EINVAL);
	fd = must_listen(0, 0);
	CHECK_EQ(kt_ioctl(fd, GMEM_EVENTS_LOST, &l), -EINVAL);
	CHECK_EQ(kt_ioctl(fd, GMEM_STATS, &l), -ENOTTY);
	CHECK(read(fd, r, sizeof(r[0]) - 1) < 0 && errno == EINVAL);
	CHECK(read(fd, r, sizeof(r)) < 0 && errno == EAGAIN);
	CHECK(write(fd, r, sizeof(r)) < 0);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
	close(fd);
	/* No descriptor to be had: nothing is left that is told. */
	while ((full = dup(0)) >= 0)
		fd = full;
	CHECK_EQ(listen_to(0, 0, 0), -EMFILE);
	for (; fd > 2 + 32; fd--)
		close(fd);
}

static void reads_and_polls(void)
{
	int few, fd;
	struct gmem_event r[64];
	struct pollfd p;
	struct kt t;
	int n;

	kt_begin(&t, BLOCK, 0);
	kt_tune(t.sim, PAGE, false);
	fd = must_listen(1U << FAULT, 0);
	few = listen_to(0, 0, 2);
	CHECK(few >= 0);
	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	CHECK_EQ(poll(&p, 1, 0), 0);
	there_and_back(&t, 5 * PAGE);
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(p.revents, POLLIN);
	CHECK_EQ(take(fd, r, 1), 1);
	CHECK_EQ(take(fd, r + 1, 63), 1);
	CHECK_EQ(poll(&p, 1, 0), 0);
	CHECK_EQ(r[0].size, sizeof(r[0]));
	CHECK_EQ(r[0].version, 1);
	CHECK_EQ(r[0].pid, getpid());
	CHECK_EQ(r[0].to, t.node);
	CHECK_EQ(r[1].from, t.node);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(r[i].kind, FAULT);
		CHECK_EQ(r[i].offset, 5 * PAGE);
		CHECK_EQ(r[i].addr, (uintptr_t)t.mem + 5 * PAGE);
	}
	CHECK(lost(few) > 0);
	CHECK_EQ(lost(fd), 0);
	/* A bad buffer takes no more than is read of it. */
	there_and_back(&t, 6 * PAGE);
	CHECK(read(fd, (void *)PAGE, sizeof(r)) < 0 && errno == EFAULT);
	CHECK_EQ(take(fd, r, 64), 1);
	/* The buffer may be on the device: bringing it home is an event, of its own. */
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), 0);
	there_and_back(&t, 7 * PAGE);
	CHECK_EQ(take(fd, r, 64), 1); /* it was there: the CPU's */
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), 0);
	there_and_back(&t, 8 * PAGE);
	CHECK_EQ(take(fd, (struct gmem_event *)(void *)(t.mem + 64 * PAGE), 1), 1);
	n = take(fd, r, 64);
	CHECK(n == 1 && r[0].offset == 64 * PAGE);
	close(few);
	close(fd);
	there_and_back(&t, 9 * PAGE);
	kt_end(&t);
}

static void *sleeps_in_read(void *arg)
{
	struct gmem_event r;

	return (void *)(intptr_t)read(*(int *)arg, &r, sizeof(r));
}

/* A descriptor that fcntl(2) has made block. */
static void blocks(void)
{
	int fd = must_listen(1U << FAULT, 0);
	pthread_t thread;
	struct kt t;
	void *ret;

	kt_begin(&t, BLOCK, 0);
	CHECK_EQ(fcntl(fd, F_SETFL, 0), 0);
	CHECK_EQ(pthread_create(&thread, NULL, sleeps_in_read, &fd), 0);
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	kt_dev_store(t.sim, t.ctx, t.mem, 1);
	CHECK_EQ(pthread_join(thread, &ret), 0);
	CHECK_EQ((intptr_t)ret, sizeof(struct gmem_event));
	close(fd);
	kt_end(&t);
}

/* What a user may hear of: his own, and that a device has gone; nothing of root's. */
static void as_a_user(const struct kt *root, int go, int gone)
{
	struct gmem_sim_detach d = { .size = sizeof(d) };
	struct gmem_event r[64];
	struct kt t = *root;
	int fd;
	char c;

	become(1000);
	CHECK_EQ(listen_to(0, GMEM_EVENTS_ALL, 0), -EPERM);
	fd = must_listen(0, 0);
	CHECK_EQ(write(go, "x", 1), 1);
	CHECK_EQ(read(gone, &c, 1), 1); /* root has made some */
	CHECK_EQ(take(fd, r, 64), 0);
	t.as = kt_as(0);
	t.ctx = kt_attach(t.sim, t.as);
	t.obj = kt_object(BLOCK);
	CHECK(t.as >= 0 && t.ctx >= 0 && t.obj >= 0);
	t.mem = kt_map(t.as, t.obj, 0, BLOCK, RW);
	there_and_back(&t, 0);
	CHECK(take(fd, r, 64) >= 2);
	CHECK_EQ(r[0].pid, getpid());
	munmap(t.mem, BLOCK);
	d.ctx = (uint32_t)t.ctx;
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_DETACH, &d), 0);
	CHECK_EQ(write(go, "x", 1), 1);
	CHECK_EQ(read(gone, &c, 1), 1); /* root has had the device removed */
	for (int n = take(fd, r, 64);; n = take(fd, r, 64)) {
		CHECK(n > 0);
		if (r[n - 1].kind == REMOVE)
			break;
	}
	CHECK_EQ(lost(fd), 0);
	_exit(0);
}

static void permissions(void)
{
	struct gmem_sim_remove rm = { .size = sizeof(rm) };
	struct gmem_event r[64];
	int own, all, go[2], gone[2], n, others = 0;
	struct kt t;
	pid_t pid;
	char c;

	kt_begin(&t, BLOCK, 0);
	CHECK_EQ(pipe(go), 0);
	CHECK_EQ(pipe(gone), 0);
	own = must_listen(0, 0);
	all = must_listen(1U << FAULT, GMEM_EVENTS_ALL);
	pid = fork();
	if (!pid)
		as_a_user(&t, go[1], gone[0]);
	CHECK_EQ(read(go[0], &c, 1), 1);
	there_and_back(&t, 0);
	CHECK(take(own, r, 64) > 0);
	CHECK_EQ(take(all, r, 64), 2);
	CHECK_EQ(r[0].pid, getpid());
	CHECK_EQ(write(gone[1], "x", 1), 1);
	CHECK_EQ(read(go[0], &c, 1), 1); /* the user has made some */
	CHECK_EQ(take(own, r, 64), 0);
	n = take(all, r, 64);
	for (int i = 0; i < n; i++)
		others += r[i].pid == pid;
	CHECK(others >= 2);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_REMOVE, &rm), 0);
	CHECK_EQ(write(gone[1], "x", 1), 1);
	CHECK_EQ(kt_wait(pid), 0);
	n = take(own, r, 64);
	CHECK(n > 0 && r[n - 1].kind == REMOVE && r[n - 1].from == t.node);
	CHECK_EQ(take(all, r, 64), 0);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(gone[i]);
	}
	close(own);
	close(all);
	kt_end(&t);
}

/* Who is given a descriptor reads what it tells: of the process that made it, whoever that is by now. */
static void handed_on(void)
{
	struct gmem_event r[64];
	struct kt t;
	pid_t pid;
	int fd;

	kt_begin(&t, BLOCK, 0);
	fd = must_listen(1U << FAULT, 0);
	there_and_back(&t, 0);
	pid = fork();
	if (!pid) {
		CHECK_EQ(take(fd, r, 64), 2);
		/* Its own access is to the parent's memory: that is who it is told to. */
		CHECK_EQ(*(volatile uint64_t *)(void *)t.mem, 1);
		CHECK_EQ(take(fd, r, 64), 1);
		CHECK_EQ(r[0].tid, getpid());
		CHECK_EQ(r[0].pid, getppid());
		_exit(0);
	}
	CHECK_EQ(kt_wait(pid), 0);
	CHECK_EQ(take(fd, r, 64), 0);
	close(fd);
	kt_end(&t);
}

const struct kt_test kt_events[] = {
	{ "events_bad_requests", bad_requests, 0 },
	{ "events_reads_and_polls", reads_and_polls, 0 },
	{ "events_blocks", blocks, 0 },
	{ "events_permissions", permissions, 0 },
	{ "events_handed_on", handed_on, 0 },
	{ 0 },
};
