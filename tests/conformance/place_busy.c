// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Private memory, registered in place: it is the program's own before, meanwhile and after. Threads
 * store to it all the while, fork() copies it, and the program's calls do with it what they always do.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "place.h"

/* ----------------------------------------------------- threads that go on all the while */

#define NR_STORERS 3

struct storer {
	pthread_t id;
	volatile uint64_t *words; /* one in each page */
	uint64_t pages, rounds, lost;
	const uint32_t *stop;
};

/* A counter in every page, that nobody else writes: what was stored last is what is read. */
static void *store_all(void *arg)
{
	struct storer *s = arg;

	while (!__atomic_load_n(s->stop, __ATOMIC_RELAXED)) {
		for (uint64_t i = 0; i < s->pages; i++) {
			s->lost += s->words[i * PAGE / 8] != s->rounds;
			s->words[i * PAGE / 8] = s->rounds + 1;
		}
		__atomic_store_n(&s->rounds, s->rounds + 1, __ATOMIC_RELEASE);
		sched_yield(); /* to who services the faults */
	}
	return NULL;
}

static void storers_start(struct storer *s, char *p, uint64_t pages, uint32_t *stop)
{
	*stop = 0;
	for (unsigned int i = 0; i < NR_STORERS; i++) {
		s[i] = (struct storer){ .words = (uint64_t *)(void *)p + i,
					.pages = pages,
					.stop = stop };
		assert_int_equal(pthread_create(&s[i].id, NULL, store_all, &s[i]), 0);
	}
}

static void storers_end(struct storer *s, uint32_t *stop)
{
	__atomic_store_n(stop, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < NR_STORERS; i++) {
		pthread_join(s[i].id, NULL);
		assert_int_equal(s[i].lost, 0);
		for (uint64_t page = 0; page < s[i].pages; page++)
			assert_int_equal(s[i].words[page * PAGE / 8], s[i].rounds);
	}
}

/* Threads store while the memory is registered, moves to and fro, and is given back. */
static void test_place_storers(struct cf *cf)
{
	struct storer s[NR_STORERS];
	uint64_t len = BLOCK + 8 * PAGE, v;
	uint32_t stop;
	char *p;

	if (place_not_in_parts(cf))
		return;
	p = place_map_private(len);
	storers_start(s, p, len / PAGE, &stop);
	for (unsigned int round = 0; round < 5; round++) {
		assert_int_equal(gm_register(cf->as, p, len), 0);
		for (unsigned int i = 0; i < 4; i++) {
			int node = cf_node(cf, (int)i % 2);

			assert_int_equal(hmadvise(node, p, len, GM_PREFETCH), 0);
			for (uint64_t at = 512; at < len; at += 8 * PAGE) {
				v = at + round;
				assert_int_equal(cf_dev_store(cf, (int)i % 2, p + at, v), 0);
				assert_int_equal(cf_dev_load(cf, !(i % 2), p + at, &v), 0);
				assert_int_equal(v, at + round);
			}
		}
		assert_int_equal(gm_unregister(cf->as, p, len), 0);
	}
	storers_end(s, &stop);
	munmap(p, len);
}

/* -------------------------------------------------------------------------------- fork */

/* The child: its bytes are those of the fork, and its own. */
static int child_of(char *p, uint64_t len, uint64_t seed)
{
	volatile uint64_t *w = (volatile uint64_t *)(void *)p;

	for (uint64_t i = 0; i < len / 8; i += 64)
		if (w[i] != seed + i)
			return 1;
	for (unsigned int round = 0; round < 20; round++) {
		for (uint64_t i = 0; i < len / 8; i += 64)
			w[i] = seed + i + round + 1000;
		sched_yield();
		for (uint64_t i = 0; i < len / 8; i += 64)
			if (w[i] != seed + i + round + 1000)
				return 2;
	}
	return gm_register(NULL, p, len) == -EPERM && gm_unregister(NULL, p, len) == -EPERM ? 0 : 3;
}

static void dev_words(struct cf *cf, char *p, uint64_t len, uint64_t seed)
{
	assert_int_equal(hmadvise(cf_node(cf, 0), p, len, GM_PREFETCH), 0);
	for (uint64_t i = 0; i < len / 8; i += 64)
		assert_int_equal(cf_dev_store(cf, 0, p + 8 * i, seed + i), 0);
}

/* While the child writes, the parent does, by the CPU and by a device. */
static void test_place_fork(struct cf *cf)
{
	uint64_t len = BLOCK + BLOCK / 2;
	char *p;

	if (place_not_here(cf))
		return;
	p = place_registered(cf, 3 * BLOCK);
	for (uint64_t seed = 1; seed < 6; seed++) {
		volatile uint64_t *w = (volatile uint64_t *)(void *)p;
		pid_t pid;

		dev_words(cf, p, len, seed);
		pid = fork();
		if (!pid)
			_exit(child_of(p, len, seed));
		cf_on(p, len, GM_NODE_HOST);
		for (unsigned int round = 0; round < 3; round++) {
			for (uint64_t i = 0; i < len / 8; i += 64)
				w[i] = seed + i + 7;
			dev_words(cf, p, len, seed + 50);
			for (uint64_t i = 0; i < len / 8; i += 64)
				assert_int_equal(w[i], seed + i + 50);
		}
		assert_int_equal(proc_wait(pid), 0);
		for (uint64_t i = 0; i < len / 8; i += 64)
			assert_int_equal(w[i], seed + i + 50);
	}
	place_give_back(cf, p, 3 * BLOCK);
}

/*
 * Two that lie side by side, and little of them is away: in blocks far from each other, and in the last
 * page of the one and the first of the other.
 */
static void test_place_fork_sparse(struct cf *cf)
{
	static const uint64_t away[] = { 0, 5 * BLOCK, 16 * BLOCK - PAGE, 16 * BLOCK, 31 * BLOCK };
	const uint64_t half = 16 * BLOCK;
	pid_t pid;
	char *p;

	if (place_not_here(cf))
		return;
	p = place_map_private(2 * half);
	assert_int_equal(gm_register(cf->as, p, half), 0);
	assert_int_equal(gm_register(cf->as, p + half, half), 0);
	for (unsigned int i = 0; i < sizeof(away) / sizeof(away[0]); i++)
		dev_words(cf, p + away[i], PAGE, i);
	pid = fork();
	if (!pid) {
		for (unsigned int i = 0; i < sizeof(away) / sizeof(away[0]); i++)
			if (child_of(p + away[i], PAGE, i))
				_exit(1);
		_exit(0);
	}
	for (unsigned int i = 0; i < sizeof(away) / sizeof(away[0]); i++)
		cf_on(p + away[i], PAGE, GM_NODE_HOST);
	assert_int_equal(proc_wait(pid), 0);
	assert_int_equal(gm_unregister(cf->as, p, half), 0);
	place_give_back(cf, p + half, half);
	munmap(p, half);
}

struct forker {
	struct cf *cf;
	char *p;
	uint64_t len;
	uint32_t stop;
	uint64_t moved;
};

/* What a device that is kept off gets is an error that devices replay. */
static void *keep_moving(void *arg)
{
	struct forker *f = arg;
	uint64_t v;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		for (uint64_t at = 1024; at < f->len; at += 4 * PAGE) {
			int err = cf_dev_load(f->cf, 0, f->p + at, &v);

			if (err && err != -EBUSY)
				return "an access of the device failed";
			f->moved++;
		}
	}
	return NULL;
}

/*
 * Threads store while the memory is copied, so pages differ in age; but none has less than it
 * had when the fork began, and nothing changes any more but by the child.
 */
static int snapshot_of(char *p, uint64_t len, const uint64_t *before)
{
	volatile uint64_t *w = (volatile uint64_t *)(void *)p;
	uint64_t sum[2] = { 0, 0 };

	for (unsigned int look = 0; look < 2; look++) {
		for (uint64_t page = 0; page < len / PAGE; page++) {
			for (unsigned int n = 0; n < NR_STORERS; n++) {
				if (w[page * PAGE / 8 + n] < before[n])
					return 1;
				sum[look] += w[page * PAGE / 8 + n];
			}
		}
		sched_yield();
	}
	for (uint64_t page = 0; page < len / PAGE; page++)
		w[page * PAGE / 8] = 0;
	return sum[0] == sum[1] ? 0 : 2;
}

/* fork() while threads store and a device takes pages: the child's snapshot is whole and its own. */
static void test_place_fork_busy(struct cf *cf)
{
	struct forker f = { .cf = cf, .len = BLOCK };
	struct storer s[NR_STORERS];
	pthread_t mover;
	uint32_t stop;
	void *why;

	if (place_not_here(cf))
		return;
	f.p = place_registered(cf, f.len);
	storers_start(s, f.p, f.len / PAGE, &stop);
	assert_int_equal(pthread_create(&mover, NULL, keep_moving, &f), 0);
	for (unsigned int i = 0; i < 6; i++) {
		uint64_t before[NR_STORERS];
		pid_t pid;

		for (unsigned int n = 0; n < NR_STORERS; n++)
			while (!(before[n] = __atomic_load_n(&s[n].rounds, __ATOMIC_ACQUIRE)))
				sched_yield();
		pid = fork();
		if (!pid)
			_exit(snapshot_of(f.p, f.len, before));
		assert_int_equal(proc_wait(pid), 0);
	}
	storers_end(s, &stop);
	__atomic_store_n(&f.stop, 1, __ATOMIC_RELAXED);
	pthread_join(mover, &why);
	if (why)
		fail_msg("%s", (char *)why);
	place_give_back(cf, f.p, f.len);
}

static int touch_in_child(void *arg)
{
	return *(volatile char *)arg & 0;
}

/* A child for whose making no handler ran, or a device failed, gets no zeros for what is away. */
static void test_place_fork_unprepared(struct cf *cf)
{
	uint64_t len = BLOCK;
	char *p, *all;
	pid_t pid;

	if (place_not_here(cf))
		return;
	p = place_registered_blocks(cf, 1, &all);
	cf_fill(cf, 0, p, len, 1);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(touch_in_child(p));
	}
	assert_true(proc_died_of(proc_wait(pid), SIGSEGV));
	setenv("GMEM_QUIET", "1", 1);
	gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(touch_in_child(p));
	}
	gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
	unsetenv("GMEM_QUIET");
	assert_true(proc_died_of(proc_wait(pid), SIGSEGV));
	cf_check(cf, CPU, p, len, 1);
	pid = fork();
	if (!pid)
		_exit(touch_in_child(p));
	assert_int_equal(proc_wait(pid), 0);
	assert_int_equal(gm_as_unmap(cf->as, p, len), 0);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (!pid)
		_exit(touch_in_child(p)); /* plain memory again */
	assert_int_equal(proc_wait(pid), 0);
	if (p > all)
		assert_int_equal(gm_unregister(cf->as, all, (uint64_t)(p - all)), 0);
	if (p + len < all + 2 * BLOCK)
		assert_int_equal(gm_unregister(cf->as, p + len, (uint64_t)(all + BLOCK - p)), 0);
	munmap(all, 2 * BLOCK);
}

/* ----------------------------------------------- what the program does to its own memory */

/* Never a wrong byte, no hang: gmem(7) says what each of these does. */
static void test_place_own_calls(struct cf *cf)
{
	char *p, *q, *to, *all;
	uint64_t v;

	if (place_not_in_parts(cf))
		return;
	p = place_registered_blocks(cf, 3, &all);
	cf_fill(cf, CPU, p, 3 * BLOCK, 1);
	assert_int_equal(cf_dev_load(cf, 0, p, &v), 0); /* armed, and a part is away */
	cf_on(p, PAGE, cf_node(cf, 0));
	cf_check(cf, CPU, p, BLOCK, 1);

	/* DONTNEED of what is home: zeros, for the CPU and for a device. */
	assert_int_equal(madvise(p, 32 * PAGE, MADV_DONTNEED), 0);
	cf_check_zero(cf, CPU, p, 16 * PAGE);
	cf_check_zero(cf, 0, p + 16 * PAGE, 16 * PAGE);
	cf_check_at(cf, CPU, p + 32 * PAGE, PAGE, 1, 32 * PAGE);
	/* Of what is away: nothing happens. */
	cf_fill(cf, 0, p, BLOCK, 2);
	assert_int_equal(madvise(p, BLOCK, MADV_DONTNEED), 0);
	cf_check(cf, CPU, p, BLOCK, 2);

	/* mprotect: the CPU's own affair, wherever the pages are; and it splits the mapping. */
	assert_int_equal(mprotect(p + PAGE, 3 * PAGE, PROT_READ), 0);
	assert_int_equal(mprotect(p + 9 * PAGE, PAGE, PROT_NONE), 0);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, BLOCK, GM_PREFETCH), 0);
	cf_on(p, BLOCK, cf_node(cf, 0));
	cf_check(cf, 0, p, BLOCK, 2);
	cf_check(cf, CPU, p, 9 * PAGE, 2);
	assert_true(cf_cpu_dies(p + PAGE, true, SIGSEGV) > 0);
	assert_true(cf_cpu_dies(p + 9 * PAGE, false, SIGSEGV) > 0);
	assert_int_equal(mprotect(p, BLOCK, PROT_READ | PROT_WRITE), 0);
	cf_check(cf, CPU, p, BLOCK, 2);

	/* munmap: gone for the CPU; a device cannot take it; what a device has is dropped. */
	assert_int_equal(hmadvise(cf_node(cf, 0), p, PAGE, GM_PREFETCH), 0);
	assert_int_equal(munmap(p, 2 * PAGE), 0);
	assert_true(cf_cpu_dies(p, false, SIGSEGV) > 0);
	assert_int_equal(cf_dev_load(cf, 0, p + PAGE, &v), -EFAULT);
	assert_int_equal(cf_dev_load(cf, 0, p + 2 * PAGE, &v), 0);
	/* Something else there is not touched. */
	q = mmap(p, 2 * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(q, p);
	memset(q, 77, 2 * PAGE);
	assert_int_equal(hmadvise(GM_NODE_HOST, p, BLOCK, GM_PREFETCH), 0);
	for (uint64_t i = 0; i < 2 * PAGE; i++)
		assert_int_equal(q[i], 77);

	/* mremap: what moves is plain memory, with what was home; the rest stays behind. */
	assert_int_equal(cf_dev_load(cf, 0, p + BLOCK, &v), 0);
	cf_check_at(cf, CPU, p + BLOCK, BLOCK, 1, BLOCK);
	to = place_map_private(BLOCK);
	q = mremap(p + BLOCK, BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	assert_true(q != MAP_FAILED);
	cf_check_at(cf, CPU, q, BLOCK, 1, BLOCK);
	munmap(q, BLOCK);
	assert_int_equal(cf_dev_load(cf, 0, p + BLOCK, &v), -EFAULT);
	cf_check_at(cf, 0, p + 2 * BLOCK, BLOCK, 1, 2 * BLOCK);
	assert_int_equal(gm_unregister(cf->as, all, 4 * BLOCK), 0);
	cf_check_at(cf, CPU, p + 2 * BLOCK, BLOCK, 1, 2 * BLOCK);
	munmap(all, 4 * BLOCK);
}

/* ---------------------------------------------------------------------- huge pages */

static uint64_t anon_huge(const char *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	uint64_t begin, end, kib = 0, sum = 0;
	bool here = false;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			here = begin < (uintptr_t)p + 64 * BLOCK / 2 && (uintptr_t)p < end;
		else if (here && sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			sum += kib;
	}
	fclose(f);
	return sum;
}

/* 64 MiB that no device uses keep their huge pages; two blocks that one does, by whole moves. */
static void test_place_huge_pages(struct cf *cf)
{
	uint64_t len = 32 * BLOCK, before;
	char *all, *p;

	if (place_not_here(cf))
		return;
	all = place_map_private(len + BLOCK);
	p = (char *)(((uintptr_t)all + BLOCK - 1) & ~(BLOCK - 1));
	madvise(p, len, MADV_HUGEPAGE);
	cf_fill(cf, CPU, p, len, 1);
	before = anon_huge(p);
	if (!cf_not_here(!before, "the kernel gives no huge pages")) {
		assert_int_equal(gm_register(cf->as, p, len), 0);
		cf_check(cf, CPU, p, len, 1);
		assert_int_equal(anon_huge(p), before);
		assert_int_equal(hmadvise(cf_node(cf, 0), p, 2 * BLOCK, GM_PREFETCH), 0);
		assert_int_equal(anon_huge(p), before - 2 * BLOCK / 1024);
		assert_int_equal(hmadvise(GM_NODE_HOST, p, 2 * BLOCK, GM_PREFETCH), 0);
		print_message(
			"[ HUGE PAGES ] %lu of 2 blocks are huge still\n",
			(unsigned long)((anon_huge(p) + 2 * BLOCK / 1024 - before) * 1024 / BLOCK));
		assert_true(anon_huge(p) >= before - 2 * BLOCK / 1024);
		assert_int_equal(gm_unregister(cf->as, p, len), 0);
		cf_check(cf, CPU, p, len, 1);
	}
	munmap(all, len + BLOCK);
}

const struct CMUnitTest cf_place_busy_tests[] = {
	CF_TEST(test_place_storers),	     CF_TEST(test_place_fork),
	CF_TEST(test_place_fork_sparse),     CF_TEST(test_place_fork_busy),
	CF_TEST(test_place_fork_unprepared), CF_TEST(test_place_own_calls),
	CF_TEST(test_place_huge_pages),
};
const size_t cf_nr_place_busy_tests = sizeof(cf_place_busy_tests) / sizeof(cf_place_busy_tests[0]);
