// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hints that stay with addresses: what is read mostly is read by the CPU and four devices where it
 * is, in whatever process, and written by any of them; what is preferred at home stays there.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kt.h"

#define MORE 3

/* Further devices of the same address space. */
struct more {
	int sim[MORE], ctx[MORE], node[MORE];
};

static void more_begin(struct more *m, struct kt *t, uint32_t flags)
{
	for (int i = 0; i < MORE; i++) {
		m->sim[i] = kt_sim(4 * BLOCK, flags, &m->node[i]);
		m->ctx[i] = kt_attach(m->sim[i], t->as);
		CHECK(m->ctx[i] >= 0);
	}
}

static void more_end(struct more *m)
{
	struct gmem_sim_stats stats;

	for (int i = 0; i < MORE; i++) {
		struct gmem_sim_detach d = { .size = sizeof(d), .ctx = (uint32_t)m->ctx[i] };

		CHECK_EQ(kt_ioctl(m->sim[i], GMEM_SIM_IOC_DETACH, &d), 0);
		kt_sim_stats(m->sim[i], &stats);
		CHECK_EQ(stats.stale, 0);
		close(m->sim[i]);
	}
}

static volatile uint64_t *at(const struct kt *t, uint64_t off)
{
	return (volatile uint64_t *)(void *)(t->mem + off);
}

static void fill(const struct kt *t, uint64_t seed)
{
	for (uint64_t off = 0; off < t->len; off += PAGE)
		*at(t, off) = kt_pattern(seed, off);
}

static void check_cpu(const struct kt *t, uint64_t seed)
{
	for (uint64_t off = 0; off < t->len; off += PAGE)
		CHECK_EQ(*at(t, off), kt_pattern(seed, off));
}

static void check_dev(const struct kt *t, int sim, int ctx, uint64_t seed)
{
	for (uint64_t off = 0; off < t->len; off += PAGE)
		CHECK_EQ(kt_dev_load(sim, ctx, t->mem + off), kt_pattern(seed, off));
}

static void check_devs(const struct kt *t, const struct more *m, uint64_t seed)
{
	check_dev(t, t->sim, t->ctx, seed);
	for (int i = 0; i < MORE; i++)
		check_dev(t, m->sim[i], m->ctx[i], seed);
}

static unsigned int copied(const struct kt *t)
{
	unsigned int n = 0;

	for (uint64_t off = 0; off < t->len; off += PAGE)
		n += !!(kt_flags(t->as, t->mem + off) & GMEM_PAGE_REPLICATED);
	return n;
}

/* After the first read of each nothing moves, and nobody faults; a write is seen by all. */
static void attr_mostly(void)
{
	struct gmem_stats first, last;
	struct more m;
	struct kt t;

	kt_begin(&t, 2 * BLOCK, 4 * BLOCK);
	more_begin(&m, &t, 0);
	fill(&t, 1);
	CHECK_EQ(kt_advise(t.as, GMEM_READ_MOSTLY, 0, t.mem, t.len), 0);
	check_devs(&t, &m, 1);
	check_cpu(&t, 1);
	CHECK_EQ(copied(&t), t.len / PAGE);
	kt_stats(t.as, &first);
	CHECK_EQ(first.pages_to_host, 0);
	CHECK_EQ(first.pages_to_dev, (MORE + 1) * t.len / PAGE);
	CHECK_EQ(first.pages_replicated, (MORE + 1) * t.len / PAGE);
	for (int round = 0; round < 3; round++) {
		check_devs(&t, &m, 1);
		check_cpu(&t, 1);
	}
	kt_stats(t.as, &last);
	CHECK_EQ(last.pages_to_dev, first.pages_to_dev);
	CHECK_EQ(last.pages_to_host, 0);
	CHECK_EQ(last.dev_faults, first.dev_faults);
	CHECK_EQ(last.cpu_faults, first.cpu_faults);
	fill(&t, 2);
	CHECK_EQ(copied(&t), 0);
	check_devs(&t, &m, 2);
	check_cpu(&t, 2);
	for (uint64_t off = 0; off < t.len; off += PAGE)
		kt_dev_store(m.sim[1], m.ctx[1], t.mem + off, kt_pattern(3, off));
	check_devs(&t, &m, 3);
	check_cpu(&t, 3);
	more_end(&m);
	kt_end(&t);
}

/* In a mapping where nothing was said the CPU's accesses drop replicas: a child's, and another of ours. */
static void attr_elsewhere(void)
{
	struct more m;
	struct kt t;
	pid_t pid;
	void *q;

	kt_begin(&t, BLOCK, 4 * BLOCK);
	more_begin(&m, &t, 0);
	q = kt_map(t.as, t.obj, 0, BLOCK, GMEM_PROT_READ | GMEM_PROT_WRITE);
	fill(&t, 1);
	CHECK_EQ(kt_advise(t.as, GMEM_READ_MOSTLY, 0, t.mem, t.len), 0);
	check_devs(&t, &m, 1);
	CHECK_EQ(*(volatile uint64_t *)q, kt_pattern(1, 0));
	CHECK(copied(&t) < BLOCK / PAGE);
	for (uint64_t off = 0; off < BLOCK; off += PAGE)
		*(volatile uint64_t *)((char *)q + off) = kt_pattern(2, off);
	check_devs(&t, &m, 2);
	check_cpu(&t, 2);
	pid = fork();
	if (!pid) {
		check_cpu(&t, 2);
		fill(&t, 3);
		_exit(0);
	}
	CHECK_EQ(kt_wait(pid), 0);
	check_devs(&t, &m, 3);
	check_cpu(&t, 3);
	more_end(&m);
	kt_end(&t);
}

/* Rights that go and come; the kernel's own accesses; pages that are pinned while they are written. */
static void attr_rights(void)
{
	struct more m;
	struct kt t;
	int fd[2];

	kt_begin(&t, BLOCK, 4 * BLOCK);
	more_begin(&m, &t, 0);
	fill(&t, 1);
	CHECK_EQ(kt_advise(t.as, GMEM_READ_MOSTLY, 0, t.mem, t.len), 0);
	check_devs(&t, &m, 1);
	check_cpu(&t, 1);
	CHECK_EQ(mprotect(t.mem, t.len, PROT_READ), 0);
	check_devs(&t, &m, 1);
	check_cpu(&t, 1);
	CHECK_EQ(mprotect(t.mem, t.len, PROT_READ | PROT_WRITE), 0);
	CHECK_EQ(copied(&t), BLOCK / PAGE);
	check_cpu(&t, 1);
	fill(&t, 2);
	check_devs(&t, &m, 2);
	CHECK_EQ(pipe(fd), 0);
	CHECK_EQ(write(fd[1], t.mem, PAGE), PAGE);
	CHECK_EQ(read(fd[0], t.mem + 7 * PAGE, PAGE), PAGE);
	CHECK(!(kt_flags(t.as, t.mem + 7 * PAGE) & GMEM_PAGE_REPLICATED));
	for (int i = 0; i < MORE; i++)
		CHECK_EQ(kt_dev_load(m.sim[i], m.ctx[i], t.mem + 7 * PAGE), kt_pattern(2, 0));
	close(fd[0]);
	close(fd[1]);
	more_end(&m);
	kt_end(&t);
}

struct race {
	struct kt *t;
	struct more *m;
	unsigned int stop;
};

/* One device after another reads words that only grow. */
static void *race_reader(void *arg)
{
	uint64_t seen[MORE][8] = { 0 }, i = 0;
	struct race *r = arg;

	for (; !__atomic_load_n(&r->stop, __ATOMIC_RELAXED); i++) {
		uint64_t page = i / MORE % 8, v;
		unsigned int d = (unsigned int)(i % MORE);

		v = kt_dev_load(r->m->sim[d], r->m->ctx[d], r->t->mem + page * PAGE);
		CHECK(v >= seen[d][page]);
		seen[d][page] = v;
	}
	return (void *)(uintptr_t)(i > 100);
}

/* The CPU and one device write while others read; nobody ever sees an old value after a new one. */
static void attr_race(void)
{
	struct race r = { .stop = 0 };
	struct more m;
	struct kt t;
	pthread_t thread;
	void *enough;

	kt_begin(&t, BLOCK, 4 * BLOCK);
	more_begin(&m, &t, 0);
	for (uint64_t page = 0; page < 8; page++)
		*at(&t, page * PAGE) = 1;
	CHECK_EQ(kt_advise(t.as, GMEM_READ_MOSTLY, 0, t.mem, t.len), 0);
	r.t = &t;
	r.m = &m;
	CHECK_EQ(pthread_create(&thread, NULL, race_reader, &r), 0);
	for (uint64_t v = 2; v < 1500; v++) {
		uint64_t page = v % 8;

		CHECK(*at(&t, page * PAGE) < v);
		if (v % 5)
			*at(&t, page * PAGE) = v;
		else
			kt_dev_store(t.sim, t.ctx, t.mem + page * PAGE, v);
		CHECK_EQ(*at(&t, page * PAGE), v);
	}
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(thread, &enough), 0);
	CHECK(enough);
	more_end(&m);
	kt_end(&t);
}

static struct gmem_attr ask(int fd, void *va, uint64_t len, int expect)
{
	struct gmem_attr a = { .size = sizeof(a), .addr = (uintptr_t)va, .len = len };

	CHECK_EQ(kt_ioctl(fd, GMEM_ATTR, &a), expect);
	return a;
}

/* Asked by either descriptor; they go with what is unmapped; bad input changes nothing. */
static void attr_asked(void)
{
	struct kt t;

	kt_begin(&t, 2 * BLOCK, 4 * BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFERRED_LOCATION, t.node, t.mem, BLOCK), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_ACCESSED_BY, t.node, t.mem, 2 * BLOCK), 0);
	CHECK_EQ(ask(t.as, t.mem, 2 * BLOCK, 0).len, BLOCK);
	CHECK_EQ(ask(kt_gmem(), t.mem, 2 * BLOCK, 0).preferred, t.node);
	CHECK_EQ(ask(t.as, t.mem + BLOCK, BLOCK, 0).preferred, GMEM_NODE_NONE);
	CHECK_EQ(ask(t.as, t.mem + BLOCK, BLOCK, 0).accessed_by,
		 1ULL << (t.node - ask(t.as, t.mem, 1, 0).first_node));
	ask(t.as, &t, 8, -EFAULT);
	ask(kt_gmem(), &t, 8, -EFAULT);
	ask(t.as, t.mem, 0, -EINVAL);
	CHECK_EQ(kt_advise(t.as, GMEM_ACCESSED_BY, GMEM_NODE_HOST, t.mem, BLOCK), -EOPNOTSUPP);
	CHECK_EQ(kt_advise(t.as, GMEM_ACCESSED_BY, t.node + 1, t.mem, BLOCK), -ENODEV);
	CHECK_EQ(kt_advise(t.as, GMEM_READ_MOSTLY, 0, t.mem, 3 * BLOCK), -EFAULT);
	CHECK_EQ(ask(t.as, t.mem, 2 * BLOCK, 0).flags, 0);
	CHECK_EQ(munmap(t.mem + PAGE, PAGE), 0);
	CHECK_EQ(ask(t.as, t.mem, 2 * BLOCK, 0).len, PAGE);
	CHECK_EQ(ask(t.as, t.mem + 2 * PAGE, 2 * BLOCK, 0).preferred, t.node);
	kt_end(&t);
}

/* What is preferred at home is used there; what may not be held there for a device moves. */
static void attr_at_home(void)
{
	struct gmem_stats stats;
	struct more m;
	struct kt t;

	kt_begin(&t, BLOCK, 4 * BLOCK);
	more_begin(&m, &t, 0);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFERRED_LOCATION, GMEM_NODE_HOST, t.mem, t.len), 0);
	fill(&t, 1);
	check_devs(&t, &m, 1);
	for (uint64_t off = 0; off < t.len; off += PAGE)
		kt_dev_store(m.sim[0], m.ctx[0], t.mem + off, kt_pattern(2, off));
	check_devs(&t, &m, 2);
	check_cpu(&t, 2);
	kt_stats(t.as, &stats);
	CHECK_EQ(stats.pages_to_dev, 0);
	CHECK_EQ(kt_held(), t.len);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, m.node[2], t.mem, t.len), 0);
	CHECK_EQ(kt_held(), 0);
	check_cpu(&t, 2);
	more_end(&m);
	CHECK_EQ(kt_held(), 0);
	kt_end(&t);
}

const struct kt_test kt_attr[] = {
	{ "attr_mostly", attr_mostly, 120 },
	{ "attr_elsewhere", attr_elsewhere, 120 },
	{ "attr_rights", attr_rights, 120 },
	{ "attr_race", attr_race, 120 },
	{ "attr_asked", attr_asked, 0 },
	{ "attr_at_home", attr_at_home, 120 },
	{ 0 },
};
