// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sudden ends: a process killed for want of memory, a device removed under load, a process
 * that exits while its device goes on. What was shared stays, with its bytes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

static uint64_t *word(void *p)
{
	return p;
}

static void write_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, value, strlen(value)), (ssize_t)strlen(value));
	close(fd);
}

static unsigned long oom_kills(void)
{
	char text[16384], *at;
	int fd = open("/proc/vmstat", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	CHECK(n > 0);
	close(fd);
	text[n] = 0;
	at = strstr(text, "\noom_kill ");
	CHECK(at);
	return strtoul(at + 10, NULL, 10);
}

struct lane {
	struct kt t;
	unsigned int nr;
};

/* A lane that uses what is on the device already, for ever. */
static void *use(void *arg)
{
	struct lane *l = arg;
	uint64_t one = 1;

	for (uint64_t i = 0;; i += 7)
		kt_dev_lane(l->t.sim, l->t.ctx, l->nr, GMEM_SIM_ADD64,
			    l->t.mem + i % (l->t.len / PAGE) * PAGE + 8, &one, 8);
	return NULL;
}

/* What the test of OOM does: lanes at work, and memory taken until the kernel has had enough. */
static void eat_all(struct kt *t)
{
	static struct lane lane[2];
	pthread_t thread;

	write_file("/proc/self/oom_score_adj", "1000");
	t->as = kt_as(0);
	t->ctx = kt_attach(t->sim, t->as);
	t->mem = kt_map(t->as, t->obj, 0, t->len, RW);
	CHECK_EQ(kt_advise(t->as, GMEM_PREFETCH, t->node, t->mem, t->len), 0);
	for (unsigned int i = 0; i < 2; i++) {
		lane[i] = (struct lane){ *t, i };
		CHECK(!pthread_create(&thread, NULL, use, &lane[i]));
	}
	for (;;)
		mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

static void oom_kill(void)
{
	struct gmem_info before = { .size = sizeof(before) }, after = before;
	unsigned long kills = oom_kills();
	struct gmem_hnode_info info;
	struct kt t;
	pid_t pid;

	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_INFO, &before), 0);
	kt_begin(&t, 4 * BLOCK, 8 * BLOCK);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		*word(t.mem + i) = i + 1;
	pid = fork();
	if (!pid)
		eat_all(&t);
	CHECK_EQ(kt_wait(pid), -SIGKILL);
	CHECK_EQ(oom_kills(), kills + 1);
	/* Its mappings are gone, its context is not until the device lets go of it. */
	CHECK_EQ(kt_node(t.as, t.mem), t.node);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_DETACH, &(struct gmem_sim_detach){ 8, 1 }), 0);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i), i + 1);
	kt_hnode(t.node, &info);
	CHECK_EQ(info.total - info.free, t.len);
	kt_end(&t);
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_INFO, &after), 0);
	CHECK_EQ(after.metadata, before.metadata);
}

/* -------------------------------------------------------- a device removed under load */

#define WORDS 48U

static void count(struct kt *t, unsigned int id, uint64_t times, bool lane)
{
	for (uint64_t i = 0; i < times; i++) {
		uint64_t one = 1, *p = word(t->mem + (i * 5 + id) % WORDS * 21 * PAGE);

		if (lane)
			CHECK_EQ(kt_dev_lane(t->sim, t->ctx, id % 4, GMEM_SIM_ADD64, p, &one, 8),
				 0);
		else
			__atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST);
	}
}

static void attach_own(struct kt *t, int sim)
{
	t->sim = sim;
	t->as = kt_as(0);
	t->ctx = kt_attach(sim, t->as);
	CHECK(t->as >= 0 && t->ctx >= 0);
	t->mem = kt_map(t->as, t->obj, 0, t->len, RW);
}

/*
 * A device comes, is used by two processes, and goes by the close of its last descriptor,
 * fifteen times; the first of them dies with it in hand. Meanwhile another device's lanes,
 * in a third process, and the CPU, here, fault on the same pages. Every addition counts.
 */
static void removed_under_load(void)
{
	enum { DEVICES = 15, TIMES = 120 };
	uint64_t sum = 0, want = 0, stop = 0;
	pid_t other;
	struct kt t;
	int up[2];

	kt_begin(&t, 4 * BLOCK, 2 * BLOCK);
	CHECK_EQ(pipe2(up, O_NONBLOCK), 0);
	other = fork();
	if (!other) {
		uint64_t rounds = 0;

		attach_own(&t, t.sim);
		do {
			count(&t, 3, TIMES, true);
			rounds++;
		} while (read(up[0], &stop, 8) != 8);
		/* Not an exit status: it has but eight bits. */
		*word(t.mem + t.len - 8) = rounds;
		_exit(0);
	}
	for (unsigned int i = 0; i < DEVICES; i++) {
		pid_t pid[2];
		int sim = kt_sim(2 * BLOCK, i & 1 ? GMEM_SIM_ASYNC : 0, NULL);

		for (unsigned int k = 0; k < 2; k++) {
			pid[k] = fork();
			if (!pid[k]) {
				attach_own(&t, sim);
				count(&t, k, TIMES, true);
				_exit(0);
			}
		}
		close(sim); /* the last of the two takes it along */
		count(&t, i, TIMES, false);
		CHECK_EQ(kt_wait(pid[0]), 0);
		CHECK_EQ(kt_wait(pid[1]), 0);
		want += 3 * TIMES;
	}
	CHECK_EQ(write(up[1], &stop, 8), 8);
	CHECK_EQ(kt_wait(other), 0);
	want += *word(t.mem + t.len - 8) * TIMES;
	for (unsigned int i = 0; i < WORDS; i++)
		sum += *word(t.mem + i * 21 * PAGE);
	CHECK_EQ(sum, want);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_DETACH, &(struct gmem_sim_detach){ 8, 1 }), 0);
	kt_end(&t);
}

/* ------------------------------------------------- its maker exits, the device goes on */

static void exit_attached(void)
{
	int go[2], done[2];
	struct kt t;
	pid_t pid;
	char byte;

	t.len = 2 * BLOCK;
	t.obj = kt_object(t.len);
	t.sim = kt_sim(0, 0, &t.node);
	CHECK_EQ(pipe(go), 0);
	CHECK_EQ(pipe(done), 0);
	pid = fork();
	if (!pid) { /* attaches first, leaves bytes on the device, and goes */
		attach_own(&t, t.sim);
		CHECK_EQ(t.ctx, 0);
		for (uint64_t i = 0; i < t.len; i += PAGE)
			kt_dev_store(t.sim, t.ctx, t.mem + i, i + 3);
		CHECK_EQ(write(done[1], "", 1), 1);
		CHECK_EQ(read(go[0], &byte, 1), 1);
		_exit(0);
	}
	CHECK_EQ(read(done[0], &byte, 1), 1);
	attach_own(&t, t.sim);
	CHECK_EQ(t.ctx, 1);
	CHECK_EQ(kt_node(t.as, t.mem), t.node);
	CHECK_EQ(write(go[1], "", 1), 1);
	/* While it goes, and when it is gone. */
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i), i + 3);
	CHECK_EQ(kt_wait(pid), 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 9);
	CHECK_EQ(*word(t.mem), 9);
	/* Its context finds nothing: the process has no mappings any more. */
	CHECK_EQ(kt_dev(t.sim, 0, GMEM_SIM_READ, t.mem, &byte, 1), -EFAULT);
	close(t.sim); /* with the context of a process that is gone */
	CHECK_EQ(*word(t.mem + BLOCK), BLOCK + 3);
}

const struct kt_test kt_oom[] = {
	{ "oom_kill", oom_kill, 60 },
	{ "removed_under_load", removed_under_load, 120 },
	{ "exit_attached", exit_attached, 0 },
	{ 0 },
};
