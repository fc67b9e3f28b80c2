// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* See host_shelf.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "host_shelf.h"

/* ------------------------------------------------------------- calls that can fail */

struct plan plan[NR_CALLS];
bool target_goes, target_taken;
unsigned int moves;

void fail_next(enum call call, unsigned int skip, unsigned int count, int err)
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

struct tc_bench set_up(uint32_t flags)
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

void tear_down(struct tc_bench *b)
{
	memset(plan, 0, sizeof(plan));
	tc_tear_down(b);
	assert_int_equal(gm_os_metadata_bytes(), 0);
}

uint64_t *alias(const struct tc_bench *b, uint64_t page)
{
	uint64_t bus, got;

	assert_int_equal(gm_os_backing_get(b->obj, BLOCK + page * PAGE, PAGE, true, &bus, &got), 0);
	gm_os_backing_put(b->obj, BLOCK + page * PAGE, PAGE);
	return (uint64_t *)(uintptr_t)bus;
}

void rewrite(const struct tc_bench *b, uint64_t add)
{
	for (uint64_t page = 0; page < PAGES; page++)
		*alias(b, page) += add;
}

unsigned int faults_to_read(const struct tc_bench *b, uint64_t plus)
{
	unsigned int before = tc.faults;

	for (uint64_t page = 0; page < PAGES; page++) {
		assert_int_equal(*tc_word(b->va + page * PAGE), page + plus);
		*tc_word(b->va + page * PAGE) = page + plus;
	}
	return tc.faults - before;
}

void round_trip(const struct tc_bench *b, uint64_t *plus, unsigned int moved)
{
	moves = 0;
	assert_int_equal(gm_os_cpu_revoke(b->r, b->va, BLOCK), 0);
	rewrite(b, 1000);
	*plus += 1000;
	assert_int_equal(gm_os_cpu_map(b->r, b->va, BLOCK), 0);
	assert_int_equal(moves, moved);
	assert_int_equal(faults_to_read(b, *plus), 0);
}

void is_armed(const struct tc_bench *b, uint64_t plus)
{
	assert_int_equal(gm_os_cpu_revoke(b->r, b->va, BLOCK), 0);
	assert_int_equal(faults_to_read(b, plus), PAGES);
}

void rights(uint64_t va, char perms[5], const char *flag, bool *has)
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

void assert_rights(uint64_t va, const char *expect, const char *flag, bool has)
{
	char perms[5];
	bool got;

	rights(va, perms, flag, &got);
	assert_string_equal(perms, expect);
	assert_int_equal(got, has);
}

int warm_up(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);

	(void)state;
	tear_down(&b);
	tc_as_free(tc_as(0));
	return 0;
}
