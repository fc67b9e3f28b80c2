// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The linux-user host's shelf: page tables of whole blocks that are moved aside and put back. What
 * the CPU sees is the same as if they were dropped and made, in all that a program may do to its
 * mappings, and if the kernel refuses; that they were moved is counted.
 *
 * Linked with -Wl,--wrap for the calls of enum call, so that each of them can be made to fail.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/linux-user/user.h"
#include "host_user_core.h"

#define PAGES (BLOCK / PAGE)

/* ------------------------------------------------------------- calls that can fail */

enum call { MMAP, MADVISE, MREMAP, MPROTECT, REGISTER, UNREGISTER, NR_CALLS };

static struct plan {
	unsigned int skip, count;
	int err;
} plan[NR_CALLS];
static bool target_goes;   /* a move that fails has unmapped its target */
static bool target_taken;  /* and something else was mapped there */
static unsigned int moves; /* that were made */

static void fail_next(enum call call, unsigned int skip, unsigned int count, int err)
{
	plan[call] = (struct plan){ .skip = skip, .count = count, .err = err };
}

static bool fails(enum call call)
{
	struct plan *p = &plan[call];

	if (!p->count)
		return false;
	if (p->skip) {
		p->skip--;
		return false;
	}
	p->count--;
	errno = p->err;
	return true;
}

void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return fails(MMAP) ? MAP_FAILED : __real_mmap64(addr, len, prot, flags, fd, off);
}

int __real_madvise(void *addr, size_t len, int advice);
int __wrap_madvise(void *addr, size_t len, int advice);
int __wrap_madvise(void *addr, size_t len, int advice)
{
	return fails(MADVISE) ? -1 : __real_madvise(addr, len, advice);
}

void *__real_mremap(void *from, size_t len, size_t new_len, int flags, ...);
void *__wrap_mremap(void *from, size_t len, size_t new_len, int flags, void *to);
void *__wrap_mremap(void *from, size_t len, size_t new_len, int flags, void *to)
{
	if (!fails(MREMAP)) {
		moves++;
		return __real_mremap(from, len, new_len, flags, to);
	}
	if (target_goes)
		munmap(to, new_len);
	if (target_taken)
		__real_mmap64(to, new_len, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	errno = ENOMEM;
	return MAP_FAILED;
}

int __real_mprotect(void *addr, size_t len, int prot);
int __wrap_mprotect(void *addr, size_t len, int prot);
int __wrap_mprotect(void *addr, size_t len, int prot)
{
	return fails(MPROTECT) ? -1 : __real_mprotect(addr, len, prot);
}

int __real_ioctl(int fd, unsigned long cmd, ...);
int __wrap_ioctl(int fd, unsigned long cmd, void *arg);
int __wrap_ioctl(int fd, unsigned long cmd, void *arg)
{
	if ((cmd == UFFDIO_REGISTER && fails(REGISTER)) ||
	    (cmd == UFFDIO_UNREGISTER && fails(UNREGISTER)))
		return -1;
	return __real_ioctl(fd, cmd, arg);
}

/* -------------------------------------------------------------------------------- bench */

/* Of four blocks the second is used; all its words are written, and it is armed. */
static struct tc_bench set_up(uint32_t flags)
{
	struct tc_bench b = tc_set_up(flags);

	memset(plan, 0, sizeof(plan));
	target_goes = target_taken = false;
	b.va += BLOCK;
	for (uint64_t page = 0; page < PAGES; page++)
		*tc_word(b.va + page * PAGE) = page;
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, BLOCK), 0);
	moves = 0;
	return b;
}

static void tear_down(struct tc_bench *b)
{
	memset(plan, 0, sizeof(plan));
	tc_tear_down(b);
	assert_int_equal(gm_os_metadata_bytes(), 0);
}

static uint64_t *alias(const struct tc_bench *b, uint64_t page)
{
	uint64_t bus, got;

	assert_int_equal(gm_os_backing_get(b->obj, BLOCK + page * PAGE, PAGE, true, &bus, &got), 0);
	gm_os_backing_put(b->obj, BLOCK + page * PAGE, PAGE);
	return (uint64_t *)(uintptr_t)bus;
}

/* What the CPU has written is there; what is written while it may not, it finds. */
static void rewrite(const struct tc_bench *b, uint64_t add)
{
	for (uint64_t page = 0; page < PAGES; page++)
		*alias(b, page) += add;
}

/* How many faults does it take to read all, each page being @plus more than its number, and to write it? */
static unsigned int faults_to_read(const struct tc_bench *b, uint64_t plus)
{
	unsigned int before = tc.faults;

	for (uint64_t page = 0; page < PAGES; page++) {
		assert_int_equal(*tc_word(b->va + page * PAGE), page + plus);
		*tc_word(b->va + page * PAGE) = page + plus;
	}
	return tc.faults - before;
}

/* There and back once, @moved times by moving; nothing is mapped between, and all of it after. */
static void round_trip(const struct tc_bench *b, uint64_t *plus, unsigned int moved)
{
	moves = 0;
	assert_int_equal(gm_os_cpu_revoke(b->r, b->va, BLOCK), 0);
	rewrite(b, 1000);
	*plus += 1000;
	assert_int_equal(gm_os_cpu_map(b->r, b->va, BLOCK), 0);
	assert_int_equal(moves, moved);
	assert_int_equal(faults_to_read(b, *plus), 0);
}

/* It is armed still: what is revoked faults. */
static void is_armed(const struct tc_bench *b, uint64_t plus)
{
	assert_int_equal(gm_os_cpu_revoke(b->r, b->va, BLOCK), 0);
	assert_int_equal(faults_to_read(b, plus), PAGES);
}

/* The permissions ("rw-s") of the mapping at @va, "" if there is none; @flags: has it those of smaps, too? */
static void rights(uint64_t va, char perms[5], const char *flag, bool *has)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long long begin, end;
	char line[512], p[5];
	bool here = false;

	assert_non_null(f);
	*perms = 0;
	*has = false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx %4s", &begin, &end, p) == 3) {
			here = begin <= va && va < end;
			if (here)
				strcpy(perms, p);
		} else if (here && !strncmp(line, "VmFlags:", 8)) {
			*has = strstr(line, flag) != NULL;
		}
	}
	fclose(f);
}

static void assert_rights(uint64_t va, const char *expect, const char *flag, bool has)
{
	char perms[5];
	bool got;

	rights(va, perms, flag, &got);
	assert_string_equal(perms, expect);
	assert_int_equal(got, has);
}

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

/* ------------------------------------------------------------------- what the kernel refuses */

static void no_shelf(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct tc_bench b = set_up(GM_AS_INLINE);
		struct proc_resources before = proc_resources();
		uint64_t plus = 0;

		fail_next(i < 2 ? MMAP : MADVISE, i % 2, 1, ENOMEM);
		round_trip(&b, &plus, 0);
		assert_int_equal(plan[i < 2 ? MMAP : MADVISE].count, 0);
		proc_assert_same(before);
		round_trip(&b, &plus, 2);
		is_armed(&b, plus);
		tear_down(&b);
	}
}

/* Not there: its place is as it was, or empty, or somebody else's; that is never touched again. */
static void cannot_be_put(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct tc_bench b = set_up(GM_AS_INLINE);
		uint64_t plus = 0;

		target_goes = i > 0;
		target_taken = i == 2;
		fail_next(MREMAP, 0, 1, ENOMEM);
		if (i == 3)
			fail_next(MADVISE, 2, 1, ENOMEM); /* two for the shelf, this for the slot */
		round_trip(&b, &plus, 0);
		round_trip(&b, &plus, i % 2 ? 2 : 0);
		is_armed(&b, plus);
		tear_down(&b);
	}
}

/* Its rights cannot be made what they should be: it is not put back. */
static void rights_are_refused(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	uint64_t plus = 0;

	(void)state;
	fail_next(MPROTECT, 0, 1, ENOMEM);
	round_trip(&b, &plus, 1);
	assert_int_equal(plan[MPROTECT].count, 0);
	round_trip(&b, &plus, 2);
	is_armed(&b, plus);
	tear_down(&b);
}

/* Not back: it is mapped page by page, at addresses that are mapped anew if they have to be. */
static void cannot_be_put_back(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct tc_bench b = set_up(GM_AS_INLINE);
		uint64_t plus = 0;

		target_goes = i;
		fail_next(MREMAP, 1, 1, ENOMEM);
		round_trip(&b, &plus, 1);
		assert_int_equal(plan[MREMAP].count, 0);
		assert_rights(b.va, "rw-s", " dc", true);
		round_trip(&b, &plus, 2);
		is_armed(&b, plus);
		fail_next(UNREGISTER, 0, 1, ENOMEM);
		round_trip(&b, &plus, 0);
		assert_int_equal(plan[UNREGISTER].count, 0);
		round_trip(&b, &plus, 2);
		is_armed(&b, plus);
		tear_down(&b);
	}
}

/* Not armed again: nothing of the region is revoked before it is. */
static void cannot_be_armed(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	uint64_t plus = 0;

	(void)state;
	fail_next(REGISTER, 0, 3, ENOMEM);
	round_trip(&b, &plus, 2);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), -ENOMEM);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va + PAGE, PAGE), -ENOMEM);
	assert_int_equal(plan[REGISTER].count, 0);
	assert_int_equal(faults_to_read(&b, plus), 0);
	round_trip(&b, &plus, 2);
	is_armed(&b, plus);
	tear_down(&b);
}

static int child_hole(void)
{
	struct tc_bench b = set_up(GM_AS_INLINE);

	gm_os_cpu_revoke(b.r, b.va, BLOCK);
	target_goes = true;
	fail_next(MREMAP, 0, 1, ENOMEM);
	fail_next(MMAP, 0, 1, ENOMEM);
	return gm_os_cpu_map(b.r, b.va, BLOCK);
}

static void cannot_be_mended(void **state)
{
	char said[512];

	(void)state;
	assert_true(proc_died_of(proc_child("hole", said, sizeof(said)), SIGABRT));
	assert_non_null(strstr(said, "a part of managed memory is lost"));
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
 * A thread writes all the while. Between revoking and mapping nobody can write (I3), and nothing that was
 * written before is lost: the faults of the thread are held until the block is home.
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
		for (unsigned int round = 0; round < 200; round++) {
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
		assert_true(moves >= 400);
		stop = true;
		pthread_join(thread, NULL);
		tear_down(&worked);
	}
}

static int warm_up(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);

	(void)state;
	tear_down(&b);
	tc_as_free(tc_as(0));
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),     cmocka_unit_test(was_not_full),
		cmocka_unit_test(freed_meanwhile),    cmocka_unit_test(seen_twice),
		cmocka_unit_test(not_for_the_shelf),  cmocka_unit_test(region_is_cut),
		cmocka_unit_test(program_unmaps),     cmocka_unit_test(program_protects),
		cmocka_unit_test(program_locks),      cmocka_unit_test(program_is_limited),
		cmocka_unit_test(program_forks),      cmocka_unit_test(no_shelf),
		cmocka_unit_test(cannot_be_put),      cmocka_unit_test(rights_are_refused),
		cmocka_unit_test(cannot_be_put_back), cmocka_unit_test(cannot_be_armed),
		cmocka_unit_test(cannot_be_mended),   cmocka_unit_test(number_of_mappings),
		cmocka_unit_test(held_while_away),
	};

	if (argc == 3 && !strcmp(argv[1], "child"))
		return child_hole();
	return cmocka_run_group_tests_name("host_shelf", tests, warm_up, NULL);
}
