// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much host memory may be held for devices that map it in place: RLIMIT_MEMLOCK of the
 * maker. And what is when such memory fails. The tests run as root; a user is a child with
 * another uid, which uses a device of root's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)
#define LIMIT (100 * PAGE)

#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif

static void become(uid_t uid)
{
	CHECK_EQ(setgroups(0, NULL), 0);
	CHECK_EQ(setresgid(uid, uid, uid), 0);
	CHECK_EQ(setresuid(uid, uid, uid), 0);
}

static void set_limit(uint64_t bytes)
{
	struct rlimit r = { bytes, bytes };

	CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &r), 0);
}

/* An address space with the device attached, and an object mapped, filled by the CPU. */
static void begin(struct kt *t, int sim, uint64_t len)
{
	t->sim = sim;
	t->as = kt_as(0);
	CHECK(t->as >= 0);
	t->ctx = kt_attach(sim, t->as);
	CHECK(t->ctx >= 0);
	t->obj = kt_object(len);
	CHECK(t->obj >= 0);
	t->len = len;
	t->mem = kt_map(t->as, t->obj, 0, len, RW);
	for (uint64_t i = 0; i < len; i += PAGE)
		*(uint64_t *)(void *)(t->mem + i) = kt_pattern(1, i);
}

static void end(struct kt *t)
{
	struct gmem_sim_detach d = { .size = sizeof(d), .ctx = (uint32_t)t->ctx };

	munmap(t->mem, t->len);
	close(t->obj);
	CHECK_EQ(kt_ioctl(t->sim, GMEM_SIM_IOC_DETACH, &d), 0);
	close(t->as);
}

static int see(struct kt *t, uint64_t at)
{
	uint64_t v;
	int err = kt_dev(t->sim, t->ctx, GMEM_SIM_READ, t->mem + at, &v, 8);

	if (!err)
		CHECK_EQ(v, kt_pattern(1, at));
	return err;
}

static void in_child(void (*fn)(int sim, int arg), int sim, int arg)
{
	pid_t pid = fork();

	if (!pid) {
		fn(sim, arg);
		_exit(0);
	}
	CHECK_EQ(kt_wait(pid), 0);
}

static void no_more_than(uint64_t bytes)
{
	uint64_t now = kt_held();

	if (now > bytes)
		kt_fail(__FILE__, __LINE__, "%llu held, of %llu", (unsigned long long)now,
			(unsigned long long)bytes);
}

static int sims(void)
{
	int sim = kt_sim(2 * BLOCK, GMEM_SIM_IN_PLACE, NULL);

	CHECK_EQ(kt_held(), 0);
	return sim;
}

/* The device sees more than may be held: it begins anew. What is held comes back to the user. */
static void streams(int sim, int unused)
{
	struct kt t;

	(void)unused;
	set_limit(LIMIT);
	become(1001);
	for (int round = 0; round < 3; round++) {
		begin(&t, sim, 3 * BLOCK);
		for (uint64_t i = 0; i < t.len; i += PAGE)
			CHECK_EQ(see(&t, i), 0);
		end(&t);
	}
}

/* Every look by root, between the user's steps. */
static void memlock_streams(void)
{
	int sim = sims();
	pid_t pid = fork();

	if (!pid) {
		streams(sim, 0);
		_exit(0);
	}
	for (int i = 0; i < 200; i++) {
		no_more_than(LIMIT);
		usleep(500);
	}
	CHECK_EQ(kt_wait(pid), 0);
	CHECK_EQ(kt_held(), 0);
	close(sim);
}

/* Too little for a page, and for a hint; the error is the device's alone, and nothing else suffers. */
static void too_little(int sim, int unused)
{
	struct kt t, other;

	(void)unused;
	set_limit(PAGE - 1);
	become(1002);
	begin(&t, sim, BLOCK);
	CHECK_EQ(see(&t, 0), -ENOMEM);
	CHECK_EQ(see(&t, 0), -ENOMEM);
	for (uint64_t i = 0; i < BLOCK; i += PAGE)
		CHECK_EQ(*(uint64_t *)(void *)(t.mem + i), kt_pattern(1, i));
	/* The limit is an object's, from its making on. */
	set_limit(0);
	begin(&other, sim, BLOCK);
	CHECK_EQ(see(&other, 0), -ENOMEM);
	end(&other);
	end(&t);
}

static void hint(int sim, int node)
{
	struct kt t;

	set_limit(LIMIT);
	become(1002);
	begin(&t, sim, BLOCK);
	CHECK_EQ(see(&t, 0), 0);
	/* All of it cannot be; what was asked for may be there in part. */
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, node, t.mem, t.len), -ENOMEM);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, GMEM_NODE_HOST, t.mem, t.len), 0);
	for (uint64_t i = 0; i < BLOCK; i += PAGE)
		CHECK_EQ(see(&t, i), 0);
	end(&t);
}

static void memlock_too_little(void)
{
	int node, sim = kt_sim(2 * BLOCK, GMEM_SIM_IN_PLACE, &node);
	struct kt t;

	in_child(too_little, sim, 0);
	CHECK_EQ(kt_held(), 0);
	in_child(hint, sim, node);
	CHECK_EQ(kt_held(), 0);
	/* Root may, whatever its limit. */
	set_limit(PAGE);
	begin(&t, sim, BLOCK);
	CHECK_EQ(see(&t, 0), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, node, t.mem, t.len), 0);
	CHECK_EQ(kt_held(), BLOCK);
	end(&t);
	close(sim);
}

static void step(int sock)
{
	char byte = 0;

	CHECK_EQ(write(sock, &byte, 1), 1);
	CHECK_EQ(read(sock, &byte, 1), 1);
}

/* Takes all of the user's, and keeps it for a while. */
static void hog(int sim, int sock)
{
	struct kt t;

	set_limit(LIMIT);
	become(1003);
	begin(&t, sim, BLOCK);
	CHECK_EQ(see(&t, 0), 0);
	step(sock); /* all held */
	end(&t);
	step(sock); /* let go */
}

/* Meanwhile another process of the same user's has nothing, and another user all. */
static void neighbour(int sim, int sock)
{
	struct kt t;
	char byte;

	set_limit(LIMIT);
	become(1003);
	begin(&t, sim, BLOCK);
	CHECK_EQ(see(&t, 0), -ENOMEM);
	CHECK_EQ(write(sock, "", 1), 1);
	CHECK_EQ(read(sock, &byte, 1), 1);
	CHECK_EQ(see(&t, 0), 0);
	end(&t);
}

static void other_user(int sim, int unused)
{
	struct kt t;

	(void)unused;
	set_limit(LIMIT);
	become(1004);
	begin(&t, sim, BLOCK);
	for (uint64_t i = 0; i < BLOCK; i += PAGE)
		CHECK_EQ(see(&t, i), 0);
	end(&t);
}

static void memlock_is_a_users(void)
{
	int a[2], b[2], sim = sims();
	pid_t pid[2];
	char byte;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	pid[0] = fork();
	if (!pid[0]) {
		hog(sim, a[1]);
		_exit(0);
	}
	CHECK_EQ(read(a[0], &byte, 1), 1);
	CHECK_EQ(kt_held(), LIMIT);
	in_child(other_user, sim, 0);
	pid[1] = fork();
	if (!pid[1]) {
		neighbour(sim, b[1]);
		_exit(0);
	}
	CHECK_EQ(read(b[0], &byte, 1), 1); /* it has been refused */
	CHECK_EQ(write(a[0], "", 1), 1);
	CHECK_EQ(read(a[0], &byte, 1), 1); /* the other has let go */
	CHECK_EQ(write(b[0], "", 1), 1);
	CHECK_EQ(kt_wait(pid[1]), 0);
	CHECK_EQ(write(a[0], "", 1), 1);
	CHECK_EQ(kt_wait(pid[0]), 0);
	CHECK_EQ(kt_held(), 0);
	close(sim);
}

/* ----------------------------------------------------------------------- memory that fails */

static sigjmp_buf env;

static void on_sigbus(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	siglongjmp(env, sig == SIGBUS && si->si_code == BUS_MCEERR_AR ? 2 : 1);
}

/* How the CPU's access ends: 0, or 2 for the signal of failed memory. */
static int touch(void *va)
{
	int how = sigsetjmp(env, 1);

	if (!how)
		(void)*(volatile uint64_t *)va;
	return how;
}

/*
 * Memory that a device has mapped fails: the CPU is told at once, the device, here a simulated
 * one, sees what is left of it until it has to map it anew. Dropped, it gets other memory.
 */
static void in_place_poison(void)
{
	struct sigaction act = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	int sim = sims();
	struct kt t;

	if (madvise(NULL, 0, MADV_HWPOISON)) {
		printf("  left out: this kernel does not handle failures of memory\n");
		return;
	}
	CHECK_EQ(sigaction(SIGBUS, &act, NULL), 0);
	begin(&t, sim, BLOCK);
	CHECK_EQ(see(&t, 0), 0);
	CHECK_EQ(kt_held(), BLOCK);
	(void)madvise(t.mem + 5 * PAGE, PAGE, MADV_HWPOISON); /* says that somebody has it */
	CHECK_EQ(touch(t.mem + 5 * PAGE), 2);
	CHECK_EQ(touch(t.mem + 6 * PAGE), 0);
	for (uint64_t i = 0; i < BLOCK; i += PAGE)
		CHECK_EQ(i == 5 * PAGE ? 0 : see(&t, i), 0);
	/* The mapping is made anew: the page itself is not, what is around it is. */
	end(&t);
	CHECK_EQ(kt_held(), 0);
	begin(&t, sim, BLOCK);
	CHECK_EQ(see(&t, 0), 0);
	(void)madvise(t.mem + 5 * PAGE, PAGE, MADV_HWPOISON);
	munmap(t.mem, BLOCK);
	CHECK_EQ(kt_held(), 0);
	t.mem = kt_map(t.as, t.obj, 0, BLOCK, RW);
	CHECK_EQ(see(&t, 5 * PAGE), -EHWPOISON);
	for (uint64_t i = 0; i < BLOCK; i += PAGE)
		CHECK_EQ(i == 5 * PAGE ? 0 : see(&t, i), 0);
	CHECK_EQ(kt_held(), BLOCK - PAGE);
	CHECK_EQ(kt_advise(t.as, GMEM_DONTNEED, 0, t.mem, BLOCK), 0);
	CHECK_EQ(touch(t.mem + 5 * PAGE), 0);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 5 * PAGE), 0);
	end(&t);
	CHECK_EQ(kt_held(), 0);
	close(sim);
}

const struct kt_test kt_memlock[] = {
	{ "memlock_streams", memlock_streams, 60 },
	{ "memlock_too_little", memlock_too_little, 0 },
	{ "memlock_is_a_users", memlock_is_a_users, 0 },
	{ "in_place_poison", in_place_poison, 0 },
	{ 0 },
};
