// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that fails: a device's, told by its driver or by the kernel's own handling of such
 * memory; and the host's. One page is lost, and whoever touches it is told in the way that
 * Linux tells of its own. A kernel without CONFIG_MEMORY_FAILURE has no
 * such way: there the signal is as for any page that cannot be had, and the kernel's own
 * handling cannot be tested.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)
#define BLOCKS 4

#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif

static volatile uint64_t *at(void *p)
{
	return p;
}

/* ------------------------------------------------------------------------ SIGBUS */

static __thread sigjmp_buf env;
static __thread siginfo_t got;

static void on_sigbus(int sig, siginfo_t *si, void *uc)
{
	got = *si;
	(void)uc;
	siglongjmp(env, sig);
}

static void catch_sigbus(void)
{
	struct sigaction act = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	CHECK_EQ(sigaction(SIGBUS, &act, NULL), 0);
}

/* CONFIG_MEMORY_FAILURE */
static bool handles_failures(void)
{
	return !madvise(NULL, 0, MADV_HWPOISON);
}

/* Was it the signal of failed memory, with the right address? */
static bool says_failed(const void *va)
{
	if (got.si_addr != va)
		return false;
	if (!handles_failures())
		return got.si_code == BUS_ADRERR;
	return got.si_code == BUS_MCEERR_AR && got.si_addr_lsb == 12;
}

/* Does the CPU's access end in a signal? */
static bool raises(void *va, bool write)
{
	if (sigsetjmp(env, 1))
		return true;
	if (write)
		*at(va) = 1;
	else
		(void)*at(va);
	return false;
}

static uint64_t hnode_poisoned(struct kt *t)
{
	struct gmem_hnode_info info;

	kt_hnode(t->node, &info);
	return info.poisoned;
}

static int copy_from(struct kt *t, void *va, void *buf)
{
	struct gmem_copy c = { .size = sizeof(c),
			       .hnode = GMEM_NODE_NONE,
			       .dst = (uintptr_t)buf,
			       .src = (uintptr_t)va,
			       .len = 8 };

	return kt_ioctl(t->as, GMEM_COPY, &c);
}

/* The CPU gets the signal of failed memory with the right address, the device -EHWPOISON. */
static void is_lost(struct kt *t, unsigned char *page)
{
	uint64_t word = 1;
	int fd[2];

	for (int write = 0; write < 2; write++) {
		CHECK(raises(page + 24, write));
		CHECK(says_failed(page + 24));
	}
	CHECK_EQ(kt_dev(t->sim, t->ctx, GMEM_SIM_READ, page, &word, 8), -EHWPOISON);
	CHECK_EQ(kt_dev(t->sim, t->ctx, GMEM_SIM_WRITE, page + 8, &word, 8), -EHWPOISON);
	CHECK_EQ(copy_from(t, page, &word), -EHWPOISON);
	CHECK_EQ(pipe(fd), 0);
	CHECK(write(fd[1], page, 8) < 0);
	CHECK(errno == EFAULT || errno == EHWPOISON);
	close(fd[0]);
	close(fd[1]);
}

/* And the query says so, of a device's. */
static void is_lost_of_dev(struct kt *t, unsigned char *page)
{
	CHECK_EQ(kt_node(t->as, page), GMEM_NODE_NONE);
	CHECK_EQ(kt_flags(t->as, page), GMEM_PAGE_POISONED);
	is_lost(t, page);
}

static int poison_pa(struct kt *t, uint64_t pa)
{
	struct gmem_sim_poison p = { .size = sizeof(p), .pa = pa };

	return kt_ioctl(t->sim, GMEM_SIM_IOC_POISON, &p);
}

static void fill(struct kt *t)
{
	for (uint64_t i = 0; i < t->len; i += PAGE)
		*at(t->mem + i) = kt_pattern(9, i);
}

/* All but one page is as it was, and on the device: it has it mapped or gets it mapped there. */
static void rest_on_dev(struct kt *t, uint64_t bad)
{
	for (uint64_t i = 0; i < t->len; i += PAGE) {
		if (i == bad)
			continue;
		CHECK_EQ(kt_dev_load(t->sim, t->ctx, t->mem + i), kt_pattern(9, i));
		CHECK_EQ(kt_node(t->as, t->mem + i), t->node);
	}
}

static uint64_t dev_faults(struct kt *t)
{
	struct gmem_stats s;

	kt_stats(t->as, &s);
	return s.dev_faults;
}

/* ------------------------------------------------------------------------- tests */

static void poison_device(void)
{
	uint64_t bad = 77 * PAGE, pa, before;
	struct gmem_sim_poison p = { .size = sizeof(p), .pad = 1 };
	struct kt t;

	catch_sigbus();
	kt_begin(&t, 2 * BLOCK, BLOCKS * BLOCK);
	fill(&t);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	pa = kt_look(&t, t.mem + bad).pa;
	before = dev_faults(&t);
	CHECK_EQ(poison_pa(&t, pa + 99), 0);
	CHECK_EQ(poison_pa(&t, pa), 0);
	CHECK_EQ(hnode_poisoned(&t), PAGE);
	rest_on_dev(&t, bad);
	CHECK_EQ(dev_faults(&t), before); /* it was mapped all the time */
	is_lost_of_dev(&t, t.mem + bad);
	CHECK_EQ(kt_went_home(&t), 0);
	/* The CPU's granules leave it out. */
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK(i == bad || *at(t.mem + i) == kt_pattern(9, i));
	is_lost_of_dev(&t, t.mem + bad);
	CHECK_EQ(kt_advise(t.as, GMEM_PIN, t.node, t.mem, t.len), 0);
	rest_on_dev(&t, bad);
	/* Dropped, it is a page again. */
	CHECK_EQ(kt_advise(t.as, GMEM_DONTNEED, 0, t.mem + bad, PAGE), 0);
	CHECK_EQ(kt_flags(t.as, t.mem + bad), 0);
	CHECK_EQ(*at(t.mem + bad), 0);
	kt_dev_store(t.sim, t.ctx, t.mem + bad, 5);
	CHECK_EQ(*at(t.mem + bad), 5);
	CHECK_EQ(poison_pa(&t, 0), -ENOENT);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_POISON, &p), -EINVAL);
	kt_end(&t);
}

/* A mapping of a leaf of 2 MiB, in place: it is cut, and nothing leaves the device. */
static void poison_in_place(void)
{
	uint64_t bad = 300 * PAGE;
	struct kt t;
	pid_t pid;

	catch_sigbus();
	kt_begin_aperture(&t, BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	fill(&t);
	CHECK_EQ(poison_pa(&t, kt_look(&t, t.mem + bad).pa), 0);
	is_lost_of_dev(&t, t.mem + bad);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK(i == bad || *at(t.mem + i) == kt_pattern(9, i));
	rest_on_dev(&t, bad);
	CHECK_EQ(kt_went_home(&t), 0);
	pid = fork(); /* a child finds the same */
	if (!pid) {
		CHECK(raises(t.mem + bad, false));
		CHECK(says_failed(t.mem + bad));
		CHECK_EQ(*at(t.mem + bad + PAGE), kt_pattern(9, bad + PAGE));
		_exit(0);
	}
	CHECK_EQ(kt_wait(pid), 0);
	kt_end(&t);
}

/* The kernel itself says that a page of the aperture has failed, as after a machine check. */
static void poison_madvise(void)
{
	uint64_t bad = 5 * PAGE, other = 400 * PAGE;
	struct kt t;

	if (!handles_failures())
		return;
	catch_sigbus();
	kt_begin_aperture(&t, BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	fill(&t);
	CHECK_EQ(madvise(t.mem + bad, PAGE, MADV_HWPOISON), 0);
	CHECK_EQ(hnode_poisoned(&t), PAGE);
	is_lost_of_dev(&t, t.mem + bad);
	rest_on_dev(&t, bad);
	CHECK_EQ(kt_went_home(&t), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_DONTNEED, 0, t.mem + bad, PAGE), 0);
	CHECK_EQ(*at(t.mem + bad), 0);
	CHECK_EQ(madvise(t.mem + other, PAGE, MADV_HWPOISON), 0);
	is_lost_of_dev(&t, t.mem + other);
	CHECK_EQ(hnode_poisoned(&t), 2 * PAGE);
	kt_end(&t);
	kt_begin_aperture(&t, BLOCK); /* it was given back, and is what it was */
	kt_end(&t);
}

/* Host memory fails, before a device has seen the block, and after. */
static void poison_host_page(void)
{
	struct kt t;

	if (!handles_failures())
		return;
	catch_sigbus();
	kt_begin(&t, 2 * BLOCK, BLOCKS * BLOCK);
	fill(&t);
	for (uint64_t bad = 3 * PAGE; bad < t.len; bad += BLOCK) {
		uint64_t next = bad + PAGE;

		CHECK_EQ(madvise(t.mem + bad, PAGE, MADV_HWPOISON), 0);
		is_lost(&t, t.mem + bad);
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + next), kt_pattern(9, next));
		CHECK_EQ(madvise(t.mem + bad + 100 * PAGE, PAGE, MADV_HWPOISON), 0);
		is_lost(&t, t.mem + bad + 100 * PAGE);
	}
	for (uint64_t i = 0; i < t.len; i += PAGE) {
		if (i % BLOCK == 3 * PAGE || i % BLOCK == 103 * PAGE)
			continue;
		CHECK_EQ(*at(t.mem + i), kt_pattern(9, i));
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i), kt_pattern(9, i));
		CHECK_EQ(*at(t.mem + i), kt_pattern(9, i));
	}
	/* Dropped, they get other memory. */
	CHECK_EQ(kt_advise(t.as, GMEM_DONTNEED, 0, t.mem, t.len), 0);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(*at(t.mem + i), 0);
	fill(&t);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 3 * PAGE), kt_pattern(9, 3 * PAGE));
	kt_end(&t);
}

struct race {
	struct kt *t;
	int stop;
};

static void *race_cpu(void *arg)
{
	static bool seen[BLOCK / PAGE]; /* the kernel's log has a line for each signal */
	struct race *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED))
		for (uint64_t i = 0; i < BLOCK / PAGE; i++) {
			seen[i] = seen[i] || raises(r->t->mem + i * PAGE, false);
			CHECK(!seen[i] || kt_flags(r->t->as, r->t->mem + i * PAGE));
		}
	return NULL;
}

static void *race_dev(void *arg)
{
	struct race *r = arg;
	uint64_t word;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED))
		for (uint64_t i = 0; i < r->t->len; i += 7 * PAGE) {
			int err = kt_dev_lane(r->t->sim, r->t->ctx, 1, GMEM_SIM_READ, r->t->mem + i,
					      &word, 8);

			CHECK(!err || err == -EHWPOISON || err == -EBUSY);
		}
	return NULL;
}

/* While both use the memory, pages of it fail, and move; nothing else is lost. */
static void poison_race(void)
{
	static bool bad[BLOCK / PAGE];
	uint64_t state = 4, lost = 0;
	struct race r = { .stop = 0 };
	pthread_t thread[2];
	struct kt t;

	catch_sigbus();
	kt_begin_aperture(&t, BLOCK);
	fill(&t);
	r.t = &t;
	pthread_create(&thread[0], NULL, race_cpu, &r);
	pthread_create(&thread[1], NULL, race_dev, &r);
	for (int i = 0; i < 30; i++) {
		uint64_t page = kt_random(&state) % (BLOCK / PAGE);
		struct gmem_sim_lookup l;
		int err = kt_advise(t.as, GMEM_PREFETCH, i % 3 ? t.node : GMEM_NODE_HOST, t.mem,
				    BLOCK);

		CHECK(!err || err == -EBUSY);
		l = kt_look(&t, t.mem + page * PAGE);
		if (l.node == t.node) {
			CHECK_EQ(poison_pa(&t, l.pa), 0);
			CHECK_EQ(kt_flags(t.as, t.mem + page * PAGE), GMEM_PAGE_POISONED);
			bad[page] = true;
			lost++;
		}
		usleep(1000);
	}
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	CHECK(lost > 0);
	CHECK_EQ(hnode_poisoned(&t), lost * PAGE);
	for (uint64_t i = 0; i < BLOCK / PAGE; i++) {
		CHECK_EQ(raises(t.mem + i * PAGE, false), bad[i]);
		CHECK(bad[i] || *at(t.mem + i * PAGE) == kt_pattern(9, i * PAGE));
	}
	kt_end(&t);
}

const struct kt_test kt_poison[] = {
	{ "poison_device", poison_device, 0 },	 { "poison_in_place", poison_in_place, 0 },
	{ "poison_madvise", poison_madvise, 0 }, { "poison_host_page", poison_host_page, 0 },
	{ "poison_race", poison_race, 60 },	 { 0 },
};
