// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device memory that the CPU can address: RAM that memmap= on the kernel's command line
 * keeps from the kernel. Mappings of it are looked at by their faults, which gmem counts,
 * and by /proc/self/pagemap.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)
#define BLOCKS 4

static volatile uint64_t *at(void *p)
{
	return p;
}

/* memmap=SIZE$ADDRESS */
static uint64_t reserved(void)
{
	char line[2048] = "";
	int fd = open("/proc/cmdline", O_RDONLY);
	ssize_t n = read(fd, line, sizeof(line) - 1);
	const char *s = strstr(line, "memmap=");

	close(fd);
	CHECK(n > 0 && s);
	s = strchr(s, '$');
	CHECK(s);
	return strtoull(s + 1, NULL, 0);
}

static int sim_at(uint64_t cpu, uint64_t memory, int *node)
{
	struct gmem_sim_create c = {
		.size = sizeof(c), .flags = GMEM_SIM_CHECK, .memory = memory, .cpu = cpu
	};
	int fd = open("/dev/gmem_sim", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	*node = kt_ioctl(fd, GMEM_SIM_IOC_CREATE, &c);
	if (*node >= 0)
		return fd;
	close(fd);
	return *node;
}

/* As kt_begin(), with a device in the reserved memory. */
void kt_begin_aperture(struct kt *t, uint64_t len)
{
	t->len = len;
	t->as = kt_as(0);
	t->sim = sim_at(reserved(), BLOCKS * BLOCK, &t->node);
	CHECK(t->as >= 0);
	CHECK(t->sim >= 0);
	t->ctx = kt_attach(t->sim, t->as);
	CHECK(t->ctx >= 0);
	t->obj = kt_object(len);
	t->mem = kt_map(t->as, t->obj, 0, len, RW);
}

/* The frame that the CPU has mapped at @va, 0: none. */
static uint64_t mapped(void *va)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t e;

	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &e, 8, (off_t)((uintptr_t)va / PAGE * 8)), 8);
	close(fd);
	return e >> 63 ? e & ((1ULL << 55) - 1) : 0;
}

static uint64_t faults(struct kt *t)
{
	struct gmem_stats s;

	kt_stats(t->as, &s);
	return s.cpu_faults;
}

static void fill(struct kt *t, uint64_t seed)
{
	for (uint64_t i = 0; i < t->len; i += PAGE)
		*at(t->mem + i) = kt_pattern(seed, i);
}

static void check(struct kt *t, unsigned char *p, uint64_t from, uint64_t to, uint64_t seed)
{
	for (uint64_t i = from; i < to; i += PAGE) {
		CHECK_EQ(*at(p + i), kt_pattern(seed, i));
		CHECK_EQ(kt_dev_load(t->sim, t->ctx, p + i), kt_pattern(seed, i));
	}
}

/* One fault for 2 MiB, nothing moves, and what is mapped is the device's memory. */
static void aperture_in_place(void)
{
	struct gmem_sim_lookup l;
	uint64_t before;
	struct kt t;

	kt_begin_aperture(&t, 2 * BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	before = faults(&t);
	fill(&t, 1);
	CHECK_EQ(faults(&t) - before, 2);
	check(&t, t.mem, 0, t.len, 1);
	CHECK_EQ(kt_went_home(&t), 0);
	CHECK_EQ(kt_node(t.as, t.mem), t.node);
	for (uint64_t i = 0; i < t.len; i += 37 * PAGE) {
		l = kt_look(&t, t.mem + i + 8);
		CHECK_EQ(l.node, t.node);
		CHECK_EQ(l.cpu / PAGE, mapped(t.mem + i));
		CHECK_EQ(l.cpu % PAGE, 8);
		CHECK_EQ(l.len, BLOCK - i % BLOCK - 8);
		CHECK(l.cpu >= reserved() && l.cpu < reserved() + BLOCKS * BLOCK);
	}
	for (uint64_t i = 0; i < 64; i++) { /* in turn, on the same words */
		*at(t.mem + i * 8) = i;
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i * 8), i);
		kt_dev_store(t.sim, t.ctx, t.mem + i * 8, i + 1);
		CHECK_EQ(*at(t.mem + i * 8), i + 1);
	}
	CHECK_EQ(faults(&t) - before, 2);
	kt_end(&t);
}

/* What is in host memory still comes to whoever touches it. */
static void aperture_mixed(void)
{
	struct kt t;

	kt_begin_aperture(&t, BLOCK);
	kt_tune(t.sim, PAGE, false);
	fill(&t, 1); /* on the host, in pages of 4 KiB */
	for (uint64_t i = 0; i < 512; i += 2)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i * PAGE), kt_pattern(1, i * PAGE));
	for (uint64_t i = 0; i < 512; i++)
		CHECK_EQ(*at(t.mem + i * PAGE), kt_pattern(1, i * PAGE));
	for (uint64_t i = 0; i < 512; i++) {
		CHECK_EQ(kt_node(t.as, t.mem + i * PAGE), i % 2 ? GMEM_NODE_HOST : t.node);
		CHECK(mapped(t.mem + i * PAGE));
	}
	CHECK_EQ(kt_went_home(&t), 0);
	check(&t, t.mem, 0, BLOCK, 1);
	kt_end(&t);
}

/* Unmapped, protected or moved in part: what is left stays where it is. */
static void aperture_splits(void)
{
	struct gmem_stats s;
	unsigned char *p;
	struct kt t;

	kt_begin_aperture(&t, 2 * BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	fill(&t, 1);
	CHECK_EQ(munmap(t.mem + 100 * PAGE, PAGE), 0);
	CHECK_EQ(mapped(t.mem + 100 * PAGE), 0);
	CHECK(mapped(t.mem + BLOCK)); /* the other leaf is whole */
	check(&t, t.mem, 0, 100 * PAGE, 1);
	check(&t, t.mem, 101 * PAGE, t.len, 1);
	CHECK_EQ(mprotect(t.mem + BLOCK, PAGE, PROT_READ), 0);
	check(&t, t.mem, BLOCK, 2 * BLOCK, 1);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_WRITE, t.mem + BLOCK, "12345678", 8), -EACCES);
	CHECK_EQ(mprotect(t.mem + BLOCK, PAGE, PROT_READ | PROT_WRITE), 0);
	*at(t.mem + BLOCK) = kt_pattern(1, BLOCK);
	CHECK_EQ(kt_went_home(&t), 0);
	/* One page goes home: it alone. */
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, GMEM_NODE_HOST, t.mem + 5 * PAGE, PAGE), 0);
	kt_stats(t.as, &s);
	CHECK_EQ(s.pages_to_host, 1);
	CHECK_EQ(*at(t.mem + 5 * PAGE), kt_pattern(1, 5 * PAGE));
	CHECK_EQ(kt_node(t.as, t.mem + 5 * PAGE), GMEM_NODE_HOST);
	CHECK_EQ(kt_node(t.as, t.mem + 6 * PAGE), t.node);
	check(&t, t.mem, 0, 100 * PAGE, 1);
	/* Moved to another address; such mappings do not grow together again where they were cut. */
	p = mremap(t.mem + BLOCK + PAGE, BLOCK - PAGE, BLOCK - PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   (void *)0x300000000000UL);
	CHECK(p == (void *)0x300000000000UL);
	check(&t, p - BLOCK - PAGE, BLOCK + PAGE, 2 * BLOCK, 1);
	munmap(p, BLOCK - PAGE);
	kt_end(&t);
}

/* More than fits: what is evicted leaves the CPU's page table first. */
static void aperture_evicted(void)
{
	struct gmem_sim_stats s;
	struct kt t;

	kt_begin_aperture(&t, 4 * BLOCKS * BLOCK);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		kt_dev_store(t.sim, t.ctx, t.mem + i, kt_pattern(2, i));
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(*at(t.mem + i), kt_pattern(2, i));
	fill(&t, 3);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i), kt_pattern(3, i));
	kt_sim_stats(t.sim, &s);
	CHECK(s.evictions >= 3 * BLOCKS);
	kt_end(&t);
}

/* The child shares the bytes, whoever of the three writes them. */
static void aperture_fork(void)
{
	struct kt t;
	pid_t pid;

	kt_begin_aperture(&t, BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	fill(&t, 1);
	CHECK_EQ(munmap(t.mem + 9 * PAGE, PAGE), 0); /* so that there are leaves of 4 KiB, too */
	*at(t.mem) = 1;
	pid = fork();
	if (!pid) {
		CHECK_EQ(*at(t.mem), 1);
		CHECK_EQ(*at(t.mem + PAGE), kt_pattern(1, PAGE));
		*at(t.mem) = 2;
		while (*at(t.mem) == 2)
			;
		CHECK_EQ(*at(t.mem), 3);
		_exit(0);
	}
	while (kt_dev_load(t.sim, t.ctx, t.mem) != 2)
		;
	CHECK_EQ(*at(t.mem), 2);
	/* It goes home and comes back under the child's eyes. */
	for (int i = 0; i < 20; i++)
		CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, i % 2 ? t.node : GMEM_NODE_HOST, t.mem,
				   9 * PAGE),
			 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 3);
	CHECK_EQ(kt_wait(pid), 0);
	kt_end(&t);
}

/* What the kernel has handed out is the device's page itself; it does not move meanwhile. */
static void aperture_pinned(void)
{
	char page[PAGE];
	struct iovec v;
	struct kt t;
	int fd[2];

	kt_begin_aperture(&t, BLOCKS * BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), 0);
	fill(&t, 1);
	CHECK_EQ(pipe(fd), 0);
	v = (struct iovec){ t.mem + 3 * PAGE, 2 * PAGE };
	CHECK_EQ(vmsplice(fd[1], &v, 1, 0), 2 * PAGE);
	CHECK_EQ(kt_node(t.as, t.mem + 3 * PAGE), t.node);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, GMEM_NODE_HOST, t.mem, BLOCK), -EBUSY);
	CHECK_EQ(kt_node(t.as, t.mem + 3 * PAGE), t.node);
	kt_dev_store(t.sim, t.ctx, t.mem + 3 * PAGE, 7);
	/* Dropped: its frame is nobody's, however much else is wanted. */
	CHECK_EQ(kt_advise(t.as, GMEM_DONTNEED, 0, t.mem, BLOCK), 0);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		kt_dev_store(t.sim, t.ctx, t.mem + i, kt_pattern(5, i));
	CHECK_EQ(read(fd[0], page, PAGE), PAGE);
	CHECK_EQ(*at(page), 7);
	CHECK_EQ(read(fd[0], page, PAGE), PAGE);
	CHECK_EQ(*at(page), kt_pattern(1, 4 * PAGE));
	check(&t, t.mem, 0, t.len, 5);
	kt_end(&t);
}

/* System calls read and write it in place. */
static void aperture_syscalls(void)
{
	struct kt t;
	int fd;

	kt_begin_aperture(&t, BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	fill(&t, 1);
	fd = open("/tmp/aperture", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, t.mem, 64 * PAGE), 64 * PAGE);
	CHECK_EQ(pread(fd, t.mem + 64 * PAGE, 64 * PAGE, 0), 64 * PAGE);
	close(fd);
	unlink("/tmp/aperture");
	for (uint64_t i = 0; i < 64; i++)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + (64 + i) * PAGE),
			 kt_pattern(1, i * PAGE));
	/* Direct I/O: the disk writes from, and into, the device's memory. */
	fd = open("/dev/vda", O_RDWR | O_DIRECT);
	CHECK(fd >= 0);
	CHECK_EQ(pwrite(fd, t.mem, 8 * PAGE, 0), 8 * PAGE);
	CHECK_EQ(pread(fd, t.mem + 200 * PAGE, 8 * PAGE, 0), 8 * PAGE);
	close(fd);
	for (uint64_t i = 0; i < 8; i++)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + (200 + i) * PAGE),
			 kt_pattern(1, i * PAGE));
	CHECK_EQ(kt_went_home(&t), 0);
	kt_end(&t);
}

struct race {
	struct kt *t;
	int stop;
	uint64_t done;
};

static void *race_cpu(void *arg)
{
	struct race *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		for (uint64_t i = 0; i < 64; i++)
			__atomic_fetch_add((uint64_t *)(void *)(r->t->mem + i * 5 * PAGE), 1,
					   __ATOMIC_RELAXED);
		r->done++;
	}
	return NULL;
}

static void *race_dev(void *arg)
{
	struct race *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		for (uint64_t i = 0; i < 64; i++) {
			uint64_t one = 1;

			CHECK_EQ(kt_dev_lane(r->t->sim, r->t->ctx, 1, GMEM_SIM_ADD64,
					     r->t->mem + i * 5 * PAGE, &one, 8),
				 0);
		}
		r->done++;
	}
	return NULL;
}

/* Both add to the same words where they are, while these move to and fro. */
static void aperture_race(void)
{
	struct race r[2];
	pthread_t thread[2];
	struct kt t;

	kt_begin_aperture(&t, BLOCK);
	for (int i = 0; i < 2; i++)
		r[i] = (struct race){ .t = &t };
	pthread_create(&thread[0], NULL, race_cpu, &r[0]);
	pthread_create(&thread[1], NULL, race_dev, &r[1]);
	for (int i = 0; i < 60; i++) {
		int err = kt_advise(t.as, GMEM_PREFETCH, i % 2 ? t.node : GMEM_NODE_HOST, t.mem,
				    i % 3 ? BLOCK : 37 * PAGE);

		CHECK(!err || err == -EBUSY);
		usleep(2000);
	}
	for (int i = 0; i < 2; i++) {
		__atomic_store_n(&r[i].stop, 1, __ATOMIC_RELAXED);
		pthread_join(thread[i], NULL);
	}
	for (uint64_t i = 0; i < 64; i++)
		CHECK_EQ(*at(t.mem + i * 5 * PAGE), r[0].done + r[1].done);
	kt_end(&t);
}

/* Claims that overlap, or that are the kernel's own memory, are refused, and change nothing. */
static void aperture_claims(void)
{
	struct kt t;
	int node;

	CHECK_EQ(sim_at(reserved() + PAGE, BLOCK, &node), -EINVAL);
	CHECK_EQ(sim_at(32UL << 20, BLOCK, &node), -EINVAL); /* the kernel's */
	CHECK_EQ(sim_at(1ULL << 60, BLOCK, &node), -EBUSY);  /* there is no such address */
	kt_begin_aperture(&t, BLOCK);
	CHECK_EQ(sim_at(reserved(), BLOCK, &node), -EBUSY);
	CHECK_EQ(sim_at(reserved() + BLOCK, BLOCK, &node), -EBUSY);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	fill(&t, 1);
	check(&t, t.mem, 0, t.len, 1);
	kt_end(&t);
	kt_begin_aperture(&t, BLOCK); /* and again, for it was given back */
	kt_end(&t);
}

/* The device goes while its memory is mapped: the bytes come home. */
static void aperture_goes(void)
{
	struct kt t;

	kt_begin_aperture(&t, 2 * BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	fill(&t, 1);
	close(t.sim);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(*at(t.mem + i), kt_pattern(1, i));
	CHECK_EQ(kt_node(t.as, t.mem), GMEM_NODE_HOST);
	munmap(t.mem, t.len);
	close(t.obj);
	close(t.as);
}

/* Straight to a device without one, and back: the CPU's mapping goes, and nothing by the host. */
static void aperture_peer(void)
{
	int sim, ctx, node;
	struct iovec v;
	struct kt t;
	int fd[2];

	kt_begin_aperture(&t, 2 * BLOCK);
	sim = kt_sim(4 * BLOCK, GMEM_SIM_ASYNC, &node);
	ctx = kt_attach(sim, t.as);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	fill(&t, 1);
	CHECK_EQ(kt_dev_load(sim, ctx, t.mem), kt_pattern(1, 0));
	CHECK_EQ(kt_node(t.as, t.mem), node);
	CHECK_EQ(mapped(t.mem), 0);
	CHECK(mapped(t.mem + BLOCK));
	CHECK_EQ(pipe(fd), 0);
	v = (struct iovec){ t.mem + BLOCK, PAGE };
	CHECK_EQ(vmsplice(fd[1], &v, 1, 0), PAGE);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, node, t.mem + BLOCK, BLOCK), -EBUSY);
	CHECK_EQ(kt_node(t.as, t.mem + BLOCK), t.node);
	close(fd[0]);
	close(fd[1]);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, node, t.mem, t.len), 0);
	CHECK_EQ(mapped(t.mem + BLOCK), 0);
	CHECK_EQ(kt_went_home(&t), 0);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(kt_dev_load(sim, ctx, t.mem + i), kt_pattern(1, i));
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	check(&t, t.mem, 0, t.len, 1);
	CHECK(mapped(t.mem));
	CHECK_EQ(kt_went_home(&t), 0);
	close(sim);
	kt_end(&t);
}

const struct kt_test kt_aperture[] = {
	{ "aperture_in_place", aperture_in_place, 0 }, { "aperture_mixed", aperture_mixed, 0 },
	{ "aperture_splits", aperture_splits, 0 },     { "aperture_evicted", aperture_evicted, 0 },
	{ "aperture_fork", aperture_fork, 0 },	       { "aperture_pinned", aperture_pinned, 0 },
	{ "aperture_syscalls", aperture_syscalls, 0 }, { "aperture_race", aperture_race, 0 },
	{ "aperture_claims", aperture_claims, 0 },     { "aperture_goes", aperture_goes, 0 },
	{ "aperture_peer", aperture_peer, 0 },	       { 0 },
};
