// SPDX-License-Identifier: GPL-2.0-only
/* Several processes: shared bytes, passed descriptors, sudden ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

static uint64_t *at(void *p)
{
	return p;
}

static void msleep(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* A child shares the bytes, coherently with the parent's device; the address space is the parent's. */
static void fork_shares(void)
{
	struct kt t;
	pid_t pid;

	kt_begin(&t, 2 * BLOCK, 0);
	*at(t.mem) = 1;
	kt_dev_store(t.sim, t.ctx, t.mem + BLOCK, 2);
	pid = fork();
	if (!pid) {
		uint64_t va = 0;

		CHECK_EQ(*at(t.mem), 1);
		CHECK_EQ(*at(t.mem + BLOCK), 2); /* it was on the device */
		*at(t.mem + PAGE) = 3;
		CHECK_EQ(kt_advise(t.as, GMEM_COLD, 0, t.mem, PAGE), -EPERM);
		CHECK_EQ(kt_map_at(t.as, t.obj, 0, PAGE, RW, &va), -EPERM);
		CHECK_EQ(kt_attach(t.sim, t.as), -EPERM);
		kt_dev_store(t.sim, t.ctx, t.mem + BLOCK, 4); /* the parent's addresses */
		CHECK_EQ(*at(t.mem + BLOCK), 4);
		munmap(t.mem, BLOCK);
		_exit(0);
	}
	CHECK_EQ(kt_wait(pid), 0);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + PAGE), 3);
	CHECK_EQ(*at(t.mem + BLOCK), 4);
	CHECK_EQ(*at(t.mem), 1);
	kt_end(&t);
}

/* An address space of the child's own, the same object and the same device. */
static void child_attaches(void)
{
	struct kt t;
	pid_t pid;

	kt_begin(&t, BLOCK, 0);
	pid = fork();
	if (!pid) {
		int as = kt_as(0), ctx = kt_attach(t.sim, as);
		unsigned char *mem = kt_map(as, t.obj, 0, BLOCK, RW);

		CHECK(ctx >= 0 && ctx != t.ctx);
		kt_dev_store(t.sim, ctx, mem, 5);
		_exit(0); /* with what it has on the device */
	}
	CHECK_EQ(kt_wait(pid), 0);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 5);
	CHECK_EQ(*at(t.mem), 5);
	/* Its context is left until the device goes, or says so. */
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_DETACH, &(struct gmem_sim_detach){ 8, 1 }), 0);
	kt_end(&t);
}

static void passed_descriptor(void)
{
	int sock[2], obj, as;
	unsigned char *mem;
	struct kt t;
	char byte;
	pid_t pid;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	pid = fork();
	if (!pid) { /* knows nothing of the device; a plain mapping */
		obj = kt_receive_fd(sock[1]);
		as = kt_receive_fd(sock[1]);
		mem = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, obj, 0);
		CHECK(mem != MAP_FAILED);
		for (uint64_t i = 0; i < 200; i++) {
			CHECK_EQ(read(sock[1], &byte, 1), 1);
			CHECK_EQ(*at(mem + i % 100 * PAGE), i);
			*at(mem + i % 100 * PAGE) = i + 1000;
			CHECK_EQ(write(sock[1], &byte, 1), 1);
		}
		CHECK_EQ(kt_advise(as, GMEM_COLD, 0, mem, PAGE), -EPERM);
		_exit(0);
	}
	kt_begin(&t, BLOCK, 0);
	kt_send_fd(sock[0], t.obj);
	kt_send_fd(sock[0], t.as);
	for (uint64_t i = 0; i < 200; i++) {
		kt_dev_store(t.sim, t.ctx, t.mem + i % 100 * PAGE, i);
		CHECK_EQ(write(sock[0], "", 1), 1);
		CHECK_EQ(read(sock[0], &byte, 1), 1);
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i % 100 * PAGE), i + 1000);
	}
	CHECK_EQ(kt_wait(pid), 0);
	kt_end(&t);
}

/* The device goes while it holds the only copy; the descriptor of the address space before. */
static void sudden_closes(void)
{
	struct kt t;
	int sim2;

	kt_begin(&t, 4 * BLOCK, 0);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		kt_dev_store(t.sim, t.ctx, t.mem + i, i + 1);
	close(t.as); /* the mappings keep it, and so does the device */
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 1);
	close(t.sim);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(*at(t.mem + i), i + 1);
	close(t.obj);
	CHECK_EQ(*at(t.mem + PAGE), PAGE + 1);
	munmap(t.mem, t.len);

	/* A device that holds bytes of an object nobody maps any more. */
	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 7);
	munmap(t.mem, t.len);
	close(t.as);
	close(t.sim);
	t.as = kt_as(0);
	sim2 = kt_sim(0, 0, NULL);
	t.mem = kt_map(t.as, t.obj, 0, t.len, RW);
	CHECK_EQ(kt_dev_load(sim2, kt_attach(sim2, t.as), t.mem), 7);
}

/* What a stress process does for ever: device and CPU at random places of all of the memory. */
static void *hammer(void *arg)
{
	struct kt *t = arg;
	uint64_t seed = (uint64_t)getpid() * 31 + (uint64_t)(uintptr_t)&seed;

	for (;;) {
		uint64_t r = kt_random(&seed), one = 1;
		unsigned char *p = t->mem + r % (t->len / PAGE) * PAGE + 8 * (r >> 40 & 7);

		switch (r >> 56 & 7) {
		case 0:
			kt_advise(t->as, (uint32_t)(r >> 50 & 7), t->node, p, r >> 20 & 0xfffff);
			break;
		case 1:
			*at(p + 64) = 1;
			break;
		case 2:
			madvise(p - 8 * (r >> 40 & 7), PAGE, MADV_DONTNEED);
			break;
		default:
			kt_dev_lane(t->sim, t->ctx, r >> 48 & 3, GMEM_SIM_ADD64, p, &one, 8);
		}
	}
	return NULL;
}

/* Killed in the middle of it, twenty times; what was shared goes on. */
static void sigkill(void)
{
	struct gmem_hnode_info info;
	struct kt t;

	kt_begin(&t, 8 * BLOCK, 4 * BLOCK);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (!pid) {
			pthread_t thread;
			struct kt own = t;

			own.as = kt_as(0);
			own.ctx = kt_attach(t.sim, own.as);
			CHECK(own.as >= 0 && own.ctx >= 0);
			own.mem = kt_map(own.as, t.obj, 0, t.len, RW);
			if (i & 1)
				munmap(t.mem, t.len);
			for (int k = 0; k < 2; k++)
				pthread_create(&thread, NULL, hammer, &own);
			hammer(&own);
		}
		msleep(20 + i * 7);
		*at(t.mem + (unsigned int)i * PAGE + 512) = (uint64_t)i;
		kill(pid, SIGKILL);
		CHECK_EQ(kt_wait(pid), -SIGKILL);
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + (unsigned int)i * PAGE + 512), i);
		/* The device keeps a context of a process that is gone until it is told. */
		CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_DETACH, &(struct gmem_sim_detach){ 8, 1 }),
			 0);
	}
	kt_hnode(t.node, &info);
	CHECK(info.free <= info.total);
	kt_end(&t);
}

/* Processes that share an object and a device add to the same words. */
static void stress(void)
{
	enum { PROCESSES = 4, TIMES = 1500, WORDS = 40 };
	pid_t pid[PROCESSES];
	uint64_t sum = 0;
	struct kt t;

	kt_begin(&t, 4 * BLOCK, 2 * BLOCK);
	kt_tune(t.sim, 64 << 10, true);
	for (unsigned int i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			int as = kt_as(i & 1 ? BLOCK : PAGE), ctx = kt_attach(t.sim, as);
			unsigned char *mem = kt_map(as, t.obj, 0, t.len, RW);
			uint64_t seed = i + 1;

			CHECK(ctx >= 0);
			for (int k = 0; k < TIMES; k++) {
				uint64_t r = kt_random(&seed), one = 1;
				uint64_t *p = at(mem + r % WORDS * 51 * PAGE);

				if (r >> 60 & 1)
					CHECK_EQ(kt_dev_lane(t.sim, ctx, i, GMEM_SIM_ADD64, p, &one,
							     8),
						 0);
				else
					__atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST);
				if (!(r >> 40 & 63))
					kt_advise(as, r >> 48 & 1 ? GMEM_PREFETCH : GMEM_COLD,
						  t.node, mem + (r >> 50 & 3) * BLOCK, BLOCK);
			}
			_exit(0);
		}
	}
	for (unsigned int i = 0; i < PROCESSES; i++)
		CHECK_EQ(kt_wait(pid[i]), 0);
	for (unsigned int i = 0; i < WORDS; i++)
		sum += *at(t.mem + i * 51 * PAGE);
	CHECK_EQ(sum, PROCESSES * TIMES);
	for (unsigned int i = 1; i <= PROCESSES; i++)
		CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_DETACH, &(struct gmem_sim_detach){ 8, i }),
			 0);
	kt_end(&t);
}

const struct kt_test kt_proc[] = {
	{ "fork_shares", fork_shares, 0 },
	{ "child_attaches", child_attaches, 0 },
	{ "passed_descriptor", passed_descriptor, 0 },
	{ "sudden_closes", sudden_closes, 0 },
	{ "sigkill", sigkill, 120 },
	{ "stress", stress, 120 },
	{ 0 },
};
