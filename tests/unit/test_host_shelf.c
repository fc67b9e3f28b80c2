// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The linux-user host's shelf: page tables of whole blocks that are moved aside and put back. What
 * the CPU sees is the same as if they were dropped and made, in all that a program may do to its
 * mappings; that they were moved is counted. test_host_shelf_refused.c has what the kernel refuses.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host_shelf.h"

/* ------------------------------------------------------------------------ there and back */

static void there_and_back(void **state)
{
	static const uint32_t modes[] = { 0, GM_AS_INLINE };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct tc_bench b = set_up(modes[i]);
		unsigned int maps;
		uint64_t plus = 0;

		for (unsigned int round = 0; round < 3; round++)
			round_trip(&b, &plus, 2);
		maps = proc_resources().maps;
		for (unsigned int round = 0; round < 3; round++)
			round_trip(&b, &plus, 2);
		assert_int_equal(proc_resources().maps, maps);
		assert_rights(b.va, "rw-s", " dc", true);
		is_armed(&b, plus);
		tear_down(&b);
	}
}

/* The CPU had a part of it mapped, or nothing: it has all of it after, as if it was made. */
static void was_not_full(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	uint64_t plus = 0;

	(void)state;
	for (uint64_t part = 0; part < 3; part++) {
		for (uint64_t half = 0; half < part; half++)
			assert_int_equal(gm_os_cpu_revoke(b.r, b.va + half * BLOCK / 2, BLOCK / 2),
					 0);
		round_trip(&b, &plus, 2);
		assert_int_equal(gm_os_cpu_revoke(b.r, b.va + PAGE, PAGE), 0);
		round_trip(&b, &plus, 2);
	}
	/* Some came back one by one, and go again with the rest: the rest alone is dropped. */
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, 16 * PAGE), 0);
	round_trip(&b, &plus, 1);
	/* If it is not to be filled up, faults do that. */
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va + PAGE, PAGE), 0);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
	fail_next(MADVISE, 2, 1, EFAULT); /* of one page, and MADV_NORMAL, go before */
	assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
	assert_int_equal(plan[MADVISE].count, 0);
	assert_int_equal(faults_to_read(&b, plus), 1);
	round_trip(&b, &plus, 2);
	is_armed(&b, plus);
	tear_down(&b);
}

/* What was on the shelf is worth nothing if pages were freed. */
static void freed_meanwhile(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	uint64_t bus, got, plus = 0;

	(void)state;
	round_trip(&b, &plus, 2);
	for (unsigned int round = 0; round < 2; round++) {
		assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
		gm_os_backing_free(b.obj, BLOCK, BLOCK);
		assert_int_equal(gm_os_backing_get(b.obj, BLOCK, BLOCK, false, &bus, &got), 0);
		gm_os_backing_put(b.obj, BLOCK, BLOCK);
		for (uint64_t page = 0; page < PAGES; page++)
			*alias(&b, page) = page;
		plus = 0;
		moves = 0;
		assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
		assert_int_equal(moves, 0);
		assert_int_equal(faults_to_read(&b, 0), 0);
	}
	/* All of it was mapped by other means, and is known to be full. */
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
	fail_next(MADVISE, 2, 1, EFAULT); /* it would be filled up by this */
	assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
	assert_int_equal(plan[MADVISE].count, 1);
	assert_int_equal(faults_to_read(&b, 0), 0);
	tear_down(&b);
}

/* Two regions show it: the page table of one of them is moved, and all see the same. */
static void seen_twice(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	struct gm_region *other = tc_map(b.as, b.obj, BLOCK, BLOCK);
	uint64_t plus = 0;

	(void)state;
	assert_int_equal(gm_os_cpu_arm(other, other->va, BLOCK), 0);
	for (unsigned int round = 0; round < 3; round++) {
		assert_int_equal(gm_os_cpu_revoke(other, other->va, BLOCK), 0);
		assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
		rewrite(&b, 1000);
		plus += 1000;
		assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
		assert_int_equal(faults_to_read(&b, plus), 0);
		assert_int_equal(gm_os_cpu_map(other, other->va, BLOCK), 0);
		for (uint64_t page = 0; page < PAGES; page++)
			assert_int_equal(*tc_word(other->va + page * PAGE), page + plus);
	}
	assert_int_equal(tc.faults, 0);
	tc_unmap(other);
	is_armed(&b, plus);
	tear_down(&b);
}

/* A piece, a block that is not aligned, and one for reading only are revoked as ever. */
static void not_for_the_shelf(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	struct gm_region odd = { .as = b.as,
				 .obj = b.obj,
				 .va = b.va + 64 * BLOCK + PAGE,
				 .len = BLOCK,
				 .offset = BLOCK,
				 .prot = GM_READ | GM_WRITE };
	uint64_t plus = 0;

	(void)state;
	round_trip(&b, &plus, 2);
	moves = 0;
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK - PAGE), 0);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK - PAGE), 0);
	assert_int_equal(faults_to_read(&b, plus), 0);
	assert_int_equal(gm_os_region_protect(b.r, b.r->va, b.r->len, GM_READ), 0);
	b.r->prot = GM_READ;
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
	assert_rights(b.va, "r--s", " dc", true);
	assert_int_equal(gm_os_region_protect(b.r, b.r->va, b.r->len, GM_READ | GM_WRITE), 0);
	b.r->prot = GM_READ | GM_WRITE;
	assert_int_equal(gm_os_region_map(&odd, true), 0);
	tc_add(&odd);
	assert_int_equal(gm_os_cpu_arm(&odd, odd.va, BLOCK), 0);
	assert_int_equal(gm_os_cpu_revoke(&odd, odd.va, BLOCK), 0);
	assert_int_equal(gm_os_cpu_map(&odd, odd.va, BLOCK), 0);
	assert_int_equal(moves, 0);
	round_trip(&b, &plus, 2);
	assert_int_equal(*tc_word(odd.va + 5 * PAGE), 5 + plus);
	assert_int_equal(gm_os_region_unmap(&odd, odd.va, BLOCK), 0);
	gm_os_region_free(&odd);
	for (unsigned int i = 0; i < TC_REGIONS; i++)
		if (b.as->regions[i] == &odd)
			b.as->regions[i] = NULL;
	tear_down(&b);
}

/* A block that is split off the region it was shelved for, and one whose rest is unmapped. */
static void region_is_cut(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	struct gm_region *high = calloc(1, sizeof(*high));
	uint64_t plus = 0;

	(void)state;
	round_trip(&b, &plus, 2);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
	assert_non_null(high);
	*high = *b.r;
	high->va += BLOCK;
	high->offset += BLOCK;
	high->len -= BLOCK;
	b.r->len = BLOCK;
	assert_int_equal(gm_os_region_split(b.r, high), 0);
	tc_add(high);
	assert_int_equal(gm_os_cpu_map(high, b.va, BLOCK), 0);
	assert_int_equal(faults_to_read(&b, plus), 0);
	tc_unmap(b.r);
	b.r = high;
	for (unsigned int round = 0; round < 2; round++)
		round_trip(&b, &plus, 2);
	is_armed(&b, plus);
	tear_down(&b);
}

/* ------------------------------------------------------- what a program does to its mappings */

static void program_unmaps(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	char perms[5];
	bool has;

	(void)state;
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
	munmap((void *)(uintptr_t)b.va, BLOCK);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), -EIO);
	rights(b.va, perms, " dc", &has);
	assert_string_equal(perms, "");
	assert_int_equal(moves, 1);
	assert_int_equal(*alias(&b, 7), 7);
	tear_down(&b);

	/* A part of it only. */
	b = set_up(GM_AS_INLINE);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
	munmap((void *)(uintptr_t)(b.va + 8 * PAGE), PAGE);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), -EIO);
	rights(b.va + 8 * PAGE, perms, " dc", &has);
	assert_string_equal(perms, "");
	assert_int_equal(moves, 1);
	tear_down(&b);
}

/* Its rights are what it has made them, then and later. */
static void program_protects(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	void *p = (void *)(uintptr_t)b.va;
	uint64_t plus = 0;

	(void)state;
	for (unsigned int round = 0; round < 2; round++) {
		round_trip(&b, &plus, 2);
		/* While it is away. */
		assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
		mprotect(p, BLOCK, PROT_READ);
		assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
		assert_rights(b.va, "r--s", " dc", true);
		assert_int_equal(*tc_word(b.va + 9 * PAGE), 9 + plus);
		/* Before, and taken back while it is away. */
		assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
		mprotect(p, BLOCK, PROT_READ | PROT_WRITE);
		assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
		assert_int_equal(faults_to_read(&b, plus), 0);
		/* Before, and so it stays. */
		mprotect(p, BLOCK, PROT_NONE);
		assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
		assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
		assert_rights(b.va, "---s", " dc", true);
		mprotect(p, BLOCK, PROT_READ | PROT_WRITE);
		assert_int_equal(faults_to_read(&b, plus), 0);
		/* A part of it. */
		assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
		mprotect((char *)p + 64 * PAGE, PAGE, PROT_READ);
		assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), -EIO); /* but by pieces */
		assert_int_equal(gm_os_cpu_map(b.r, b.va, 64 * PAGE), 0);
		assert_int_equal(gm_os_cpu_map(b.r, b.va + 64 * PAGE, PAGE), 0);
		assert_int_equal(gm_os_cpu_map(b.r, b.va + 65 * PAGE, BLOCK - 65 * PAGE), 0);
		assert_rights(b.va + 63 * PAGE, "rw-s", " dc", true);
		assert_rights(b.va + 64 * PAGE, "r--s", " dc", true);
		/* The same, before: the kernel does not move what is several mappings. */
		moves = 0;
		assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
		mprotect(p, BLOCK, PROT_READ | PROT_WRITE);
		assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
		assert_int_equal(faults_to_read(&b, plus), 0);
	}
	is_armed(&b, plus);
	tear_down(&b);
}

/* By number: sanitizers make nothing of the C library's. */
static int lock(void *p)
{
	return (int)syscall(SYS_mlock2, p, BLOCK, MLOCK_ONFAULT);
}

static int unlock(void *p)
{
	return (int)syscall(SYS_munlock, p, BLOCK);
}

/* What it has locked stays so. */
static void program_locks(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	void *p = (void *)(uintptr_t)b.va;
	struct rlimit limit;
	uint64_t plus = 0;

	(void)state;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur < BLOCK && geteuid()) {
		tear_down(&b);
		skip();
	}
	assert_int_equal(lock(p), 0);
	round_trip(&b, &plus, 0);
	assert_rights(b.va, "rw-s", " lo", true);
	assert_int_equal(unlock(p), 0);
	round_trip(&b, &plus, 2);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
	assert_int_equal(lock(p), 0);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
	assert_rights(b.va, "rw-s", " lo", true);
	assert_int_equal(faults_to_read(&b, plus), 0);
	assert_int_equal(unlock(p), 0);
	is_armed(&b, plus);
	tear_down(&b);
}

/* Where addresses are limited the kernel may refuse what cannot be mended. */
static void program_is_limited(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	struct rlimit was, limit;
	uint64_t plus = 0;

	(void)state;
	getrlimit(RLIMIT_AS, &was);
	limit = was;
	limit.rlim_cur = 1ULL << 46;
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	round_trip(&b, &plus, 0);
	setrlimit(RLIMIT_AS, &was);
	round_trip(&b, &plus, 2);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
	setrlimit(RLIMIT_AS, &limit);
	moves = 0;
	assert_int_equal(gm_os_cpu_map(b.r, b.va, BLOCK), 0);
	assert_int_equal(moves, 0);
	setrlimit(RLIMIT_AS, &was);
	assert_int_equal(faults_to_read(&b, plus), 0);
	is_armed(&b, plus);
	tear_down(&b);
}

/* A child has neither the memory nor the shelf. */
static void program_forks(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	pid_t pid;

	(void)state;
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), 0);
	assert_true(proc_resources().memfds > 0);
	pid = fork();
	if (!pid) {
		FILE *f = fopen("/proc/self/maps", "re");
		char line[512];
		int found = 0;

		while (f && fgets(line, sizeof(line), f))
			found |= strstr(line, "memfd:gmem") != NULL;
		_exit(f ? found : 2);
	}
	assert_int_equal(proc_wait(pid), 0);
	tear_down(&b);
}

/* ------------------------------------------------------------------------ many, and at once */

/* Neighbours are one mapping; of those that lie apart there are only so many. */
static void number_of_mappings(void **state)
{
	const uint64_t runs = 4096, blocks = 2 * runs + 4;
	struct gm_as *as = tc_as(GM_AS_INLINE);
	struct gm_object *obj = tc_object(blocks * BLOCK, 0);
	struct gm_region *r = tc_map(as, obj, 0, blocks * BLOCK);
	unsigned int maps;

	(void)state;
	assert_int_equal(gm_os_cpu_arm(r, r->va, r->len), 0);
	maps = proc_resources().memfds;
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(gm_os_cpu_revoke(r, r->va + i * BLOCK, BLOCK), 0);
	assert_true(proc_resources().memfds <= maps + 1);
	/* Every second one, up to the bound and beyond; then what joins two of them. */
	moves = 0;
	for (uint64_t i = 64; i < blocks; i += 2)
		assert_int_equal(gm_os_cpu_revoke(r, r->va + i * BLOCK, BLOCK), 0);
	assert_int_equal(moves, blocks / 2 - 32);
	tc_unmap(r);
	tc_object_free(obj);

	obj = tc_object(2 * blocks * BLOCK, 0);
	r = tc_map(as, obj, 0, 2 * blocks * BLOCK);
	assert_int_equal(gm_os_cpu_arm(r, r->va, r->len), 0);
	moves = 0;
	for (uint64_t i = 0; i < blocks; i += 2)
		assert_int_equal(gm_os_cpu_revoke(r, r->va + i * BLOCK, BLOCK), 0);
	assert_int_equal(moves, runs);
	assert_true(proc_resources().memfds <= maps + runs);
	assert_int_equal(gm_os_cpu_revoke(r, r->va + (blocks + 1) * BLOCK, BLOCK), 0);
	assert_int_equal(moves, runs);
	assert_int_equal(gm_os_cpu_revoke(r, r->va + BLOCK, BLOCK), 0);
	assert_int_equal(moves, runs + 1);
	assert_int_equal(gm_os_cpu_revoke(r, r->va + (blocks + 1) * BLOCK, BLOCK), 0);
	assert_int_equal(moves, runs + 2); /* there is room for one again */
	tc_unmap(r);
	tc_object_free(obj);
	tc_as_free(as);
}

static struct tc_bench worked; /* on by who counts */
static _Atomic bool stop;

/* Counts up in all pages, and finds what it has written, or what was added meanwhile. */
static void *count_up(void *arg)
{
	volatile uint64_t *word = arg;

	while (!stop)
		for (uint64_t page = 0; page < PAGES && !stop; page += 37)
			(*(volatile uint64_t *)((uintptr_t)word + page * PAGE))++;
	return NULL;
}

/*
 * A thread writes all the while. Between revoking and mapping nobody can write (I3), and nothing
 * that was written before is lost: the faults of the thread are held until the block is home.
 */
static void held_while_away(void **state)
{
	static const uint32_t modes[] = { 0, GM_AS_INLINE };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t seen[PAGES], last[PAGES] = { 0 };
		pthread_t thread;

		worked = set_up(modes[i]);
		stop = false;
		assert_int_equal(
			pthread_create(&thread, NULL, count_up, (void *)(uintptr_t)worked.va), 0);
		for (unsigned int round = 0; round < 50; round++) {
			tc_lock();
			assert_int_equal(gm_os_cpu_revoke(worked.r, worked.va, BLOCK), 0);
			for (uint64_t page = 0; page < PAGES; page++)
				seen[page] = *(volatile uint64_t *)alias(&worked, page);
			for (unsigned int spin = 0; spin < 10; spin++)
				sched_yield();
			for (uint64_t page = 0; page < PAGES; page++) {
				assert_int_equal(*(volatile uint64_t *)alias(&worked, page),
						 seen[page]);
				assert_true(seen[page] >= last[page]);
				last[page] = seen[page];
			}
			assert_int_equal(gm_os_cpu_map(worked.r, worked.va, BLOCK), 0);
			tc_unlock();
		}
		assert_true(moves >= 100);
		stop = true;
		pthread_join(thread, NULL);
		tear_down(&worked);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),    cmocka_unit_test(was_not_full),
		cmocka_unit_test(freed_meanwhile),   cmocka_unit_test(seen_twice),
		cmocka_unit_test(not_for_the_shelf), cmocka_unit_test(region_is_cut),
		cmocka_unit_test(program_unmaps),    cmocka_unit_test(program_protects),
		cmocka_unit_test(program_locks),     cmocka_unit_test(program_is_limited),
		cmocka_unit_test(program_forks),     cmocka_unit_test(number_of_mappings),
		cmocka_unit_test(held_while_away),
	};

	return cmocka_run_group_tests_name("host_shelf", tests, warm_up, NULL);
}
