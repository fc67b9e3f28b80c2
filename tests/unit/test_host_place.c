// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The linux-user host: memory of the application's, registered in place. Where its bytes are,
 * by each way in which a kernel puts them back; what the application does to it behind the
 * host's back; fork; what may be refused.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/linux-user/user.h"
#include "host_user_core.h"

#define PAGES 24ULL
#define OFFSET (5 * PAGE)

struct bench {
	struct gm_as *as;
	struct gm_object *obj;
	struct gm_region *r;
	char *p;
	uint64_t va;
};

static uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

static char *private(uint64_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

/* As the core does it for gm_as_register(); the region has no more than tc_map() gives one. */
static struct bench set_up(uint32_t flags)
{
	struct bench b = { .as = tc_as(flags), .p = private(PAGES * PAGE) };

	memset(&tc, 0, sizeof(tc));
	b.va = address(b.p);
	b.obj = tc_object(OFFSET + PAGES * PAGE, GM_OBJECT_REGISTERED);
	b.r = calloc(1, sizeof(*b.r));
	assert_non_null(b.r);
	*b.r = (struct gm_region){ .as = b.as,
				   .obj = b.obj,
				   .va = b.va,
				   .offset = OFFSET,
				   .len = PAGES * PAGE,
				   .prot = GM_READ | GM_WRITE };
	assert_int_equal(gm_os_region_map(b.r, true), 0);
	tc_add(b.r);
	for (uint64_t page = 0; page < PAGES; page++)
		*tc_word(b.va + page * PAGE) = page + 1;
	return b;
}

static void tear_down(struct bench *b)
{
	assert_int_equal(gm_as_home(b->as, b->va, PAGES * PAGE), 0);
	tc_unmap(b->r);
	tc_object_free(b->obj);
	tc_as_free(b->as);
	assert_int_equal(gm_os_metadata_bytes(), 0);
	munmap(b->p, PAGES * PAGE);
}

static uint64_t off(uint64_t page)
{
	return OFFSET + page * PAGE;
}

static void words(const struct bench *b, uint64_t from, uint64_t end)
{
	for (uint64_t page = from; page < end; page++)
		assert_int_equal(*tc_word(b->va + page * PAGE), page + 1);
}

static void present(struct gm_object *obj, uint64_t at, uint64_t len, bool is)
{
	bool got;

	assert_int_equal(gm_os_backing_run(obj, at, len, &got), len);
	assert_int_equal(got, is);
}

static const uint64_t no_move = UFFD_FEATURE_MOVE;

/* To a device and back, with and without UFFDIO_MOVE, by a service thread and inline. */
static void test_to_and_fro(void **state)
{
	struct bench b = set_up(0);

	(void)state;
	tear_down(&b); /* what the C library and a sanitizer need once */
	for (unsigned int way = 0; way < 4; way++) {
		struct proc_resources before = proc_settled();

		b = set_up(way & 1 ? GM_AS_INLINE : 0);

		if (way & 2)
			gm_user_as(b.as)->features &= ~no_move;
		for (uint64_t page = 0; page < PAGES; page += 2)
			tc_to_dev(b.r, b.va + page * PAGE);
		assert_int_equal(tc.faults, 0);
		words(&b, 0, PAGES);
		assert_int_equal(tc.faults, PAGES / 2);
		for (uint64_t page = 0; page < PAGES; page++) {
			tc_to_dev(b.r, b.va + page * PAGE);
			*tc_word(b.va + page * PAGE) += 1;
		}
		for (uint64_t page = 0; page < PAGES; page++)
			assert_int_equal(*tc_word(b.va + page * PAGE), page + 2);
		tear_down(&b);
		proc_assert_same(before);
	}
}

/* Revoked pages are staged: they exist, their bytes are at the bus address, and they come back. */
static void test_staged(void **state)
{
	char text[] = "across the end of a page", back[sizeof(text)];
	uint64_t bus, got;
	struct bench b;

	(void)state;
	b = set_up(0);
	present(b.obj, 0, OFFSET, false);
	present(b.obj, OFFSET, PAGES * PAGE, true);
	madvise(b.p + 7 * PAGE, PAGE, MADV_DONTNEED);
	present(b.obj, off(0), 7 * PAGE, true);
	present(b.obj, off(7), PAGE, false);
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, PAGES * PAGE), 0);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, 4 * PAGE), 0);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va + 2 * PAGE, 4 * PAGE), 0);
	present(b.obj, off(0), 7 * PAGE, true);
	assert_int_equal(gm_os_backing_get(b.obj, off(0), 6 * PAGE, true, &bus, &got), 0);
	assert_int_equal(got, 6 * PAGE);
	for (uint64_t page = 0; page < 6; page++)
		assert_int_equal(*tc_word(bus + page * PAGE), page + 1);
	gm_os_backing_put(b.obj, off(0), 6 * PAGE);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, PAGES * PAGE), 0);
	words(&b, 0, 7);
	assert_int_equal(*tc_word(b.va + 7 * PAGE), 0); /* filled, with the rest passed over */
	words(&b, 8, PAGES);
	assert_int_equal(tc.faults, 0);

	assert_int_equal(gm_os_backing_write(b.obj, off(9) - 5, text, sizeof(text)), 0);
	assert_int_equal(gm_os_backing_read(b.obj, off(9) - 5, back, sizeof(text)), 0);
	assert_string_equal(back, text);
	assert_string_equal(b.p + 9 * PAGE - 5, text);
	assert_int_equal(tc.faults, 0);

	/* Freed, where it is staged and where it is not. */
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, PAGE), 0);
	gm_os_backing_free(b.obj, off(0), 2 * PAGE);
	present(b.obj, off(0), 2 * PAGE, false);
	assert_int_equal(*tc_word(b.va), 0);
	assert_int_equal(*tc_word(b.va + PAGE), 0);
	assert_int_equal(*tc_word(b.va + 2 * PAGE), 3);
	tear_down(&b);
}

/* What cannot be told is taken to exist; what cannot be read is tried. */
static void test_no_pagemap(void **state)
{
	struct bench b;
	int fd;

	(void)state;
	b = set_up(0);
	fd = gm_user_as(b.as)->pagemap.fd;
	gm_user_as(b.as)->pagemap.fd = -1;
	madvise(b.p, 2 * PAGE, MADV_DONTNEED);
	present(b.obj, OFFSET, PAGES * PAGE, true);
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, PAGES * PAGE), 0);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, PAGES * PAGE), 0);
	assert_int_equal(*tc_word(b.va), 0);
	words(&b, 2, PAGES);
	gm_user_as(b.as)->pagemap.fd = fd;
	tear_down(&b);
}

/* Split, protected, unmapped and replaced by the application. */
static void behind_our_back(uint64_t without)
{
	struct bench b = set_up(0);
	char *q;

	gm_user_as(b.as)->features &= ~without;
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, PAGES * PAGE), 0);
	assert_int_equal(mprotect(b.p + 3 * PAGE, 2 * PAGE, PROT_NONE), 0);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, 8 * PAGE), 0);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, 8 * PAGE), 0);
	assert_int_equal(mprotect(b.p, PAGES * PAGE, PROT_READ | PROT_WRITE), 0);
	words(&b, 0, PAGES);

	/* Gone while it is away: its bytes go when they come home, and what is there now stays. */
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, 8 * PAGE), 0);
	munmap(b.p + 2 * PAGE, 2 * PAGE);
	q = mmap(b.p + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(q, b.p + 2 * PAGE);
	*tc_word(b.va + 2 * PAGE) = 77;
	assert_int_equal(gm_os_cpu_map(b.r, b.va, 8 * PAGE), 0);
	words(&b, 0, 2);
	assert_int_equal(*tc_word(b.va + 2 * PAGE), 77);
	words(&b, 4, PAGES);
	/* Nor is it taken, nor what is not there at all. */
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, 8 * PAGE), -EFAULT);
	assert_int_equal(*tc_word(b.va + 2 * PAGE), 77);
	words(&b, 0, 2);
	tear_down(&b);
}

static void test_behind_our_back(void **state)
{
	(void)state;
	behind_our_back(0);
	behind_our_back(no_move);
}

/* ------------------------------------------------------------------------------ refused */

static void with_limit(int what, uint64_t more, struct rlimit *saved)
{
	struct rlimit l;

	assert_int_equal(getrlimit((__rlimit_resource_t)what, saved), 0);
	l = *saved;
	l.rlim_cur = more;
	assert_int_equal(setrlimit((__rlimit_resource_t)what, &l), 0);
}

static void test_refused(void **state)
{
	struct gm_object obj = { .size = 1ULL << 40, .flags = GM_OBJECT_REGISTERED };
	struct gm_region r = { .len = PAGE, .prot = GM_READ };
	char *p, *q;
	struct proc_resources before;
	struct rlimit saved;
	struct gm_as *as;
	int free_fd, fd;

	(void)state;
	before = proc_settled();
	p = private(4 * PAGE);
	with_limit(RLIMIT_AS, 1ULL << 36, &saved);
	assert_int_equal(gm_os_object_create(&obj, obj.flags), -ENOMEM);
	setrlimit(RLIMIT_AS, &saved);
	assert_int_equal(gm_os_metadata_bytes(), 0);

	as = tc_as(0);
	obj.size = PAGE;
	assert_int_equal(gm_os_object_create(&obj, obj.flags), 0);
	r.as = as;
	r.obj = &obj;
	r.va = address(p);
	free_fd = dup(0);
	close(free_fd);
	with_limit(RLIMIT_NOFILE, (uint64_t)free_fd, &saved);
	assert_int_equal(gm_os_region_map(&r, true), -ENOMEM);
	assert_int_equal(gm_register(as, p, PAGE), -ENOMEM); /* no descriptor for the list either */
	setrlimit(RLIMIT_NOFILE, &saved);
	assert_int_equal(gm_os_region_map(&r, true), 0);
	assert_int_equal(gm_register(as, p, PAGE), -EEXIST);
	assert_int_equal(gm_register(as, p - PAGE, 4 * PAGE), -EEXIST);

	/* Not what it was, by the time that a device wants it. */
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	q = mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
	close(fd);
	assert_ptr_equal(q, p);
	assert_int_equal(gm_os_cpu_arm(&r, r.va, PAGE), -EOPNOTSUPP);
	munmap(p, PAGE);
	assert_int_equal(gm_os_cpu_arm(&r, r.va, PAGE), -ENOMEM);
	assert_int_equal(gm_os_region_unmap(&r, r.va, PAGE), 0);
	gm_os_region_free(&r);
	gm_os_object_destroy(&obj);

	/* The core's answer is handed on. */
	tc.fail = -EIO;
	assert_int_equal(gm_register(as, p + PAGE, PAGE), -EIO);
	assert_int_equal(gm_unregister(as, p + PAGE, PAGE), -EIO);
	tc.fail = 0;
	tc_as_free(as);
	munmap(p, 4 * PAGE);
	proc_assert_same(before);
}

/* -------------------------------------------------------------------------------- fork */

/* From before the fork to after nothing leaves, and nothing is armed; then all is as it was. */
static void test_gate(void **state)
{
	struct bench b;

	(void)state;
	b = set_up(0);
	tc_to_dev(b.r, b.va);
	gm_place_before_fork();
	assert_int_equal(tc.faults, 0);
	assert_true(gm_place_gate_shut());
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va + PAGE, PAGE), -EBUSY);
	words(&b, 0, PAGES); /* home */
	assert_int_equal(tc.faults, 0);
	assert_false(gm_place_call_begin()); /* would wait for this very thread */
	gm_place_call_end(false);
	gm_place_after_fork();
	assert_false(gm_place_gate_shut());
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va + PAGE, PAGE), 0);
	words(&b, 0, PAGES);
	tear_down(&b);

	/* Arming too; nobody holds the gate for memory that is not there. */
	b = set_up(0);
	gm_place_before_fork();
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, PAGE), -EBUSY);
	gm_place_after_fork();
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, PAGE), 0);
	tear_down(&b);
	gm_place_before_fork();
	assert_false(gm_place_gate_shut());
	gm_place_after_fork();
}

static int child_reads(const struct bench *b)
{
	for (uint64_t page = 0; page < PAGES; page++)
		if (*tc_word(b->va + page * PAGE) != page + 1)
			return 1;
	return 0;
}

static void test_fork(void **state)
{
	struct bench b;
	pid_t pid;

	(void)state;
	b = set_up(0);
	tc_to_dev(b.r, b.va);
	tc_to_dev(b.r, b.va + 3 * PAGE);
	pid = fork();
	if (!pid) {
		pid = fork(); /* a grandchild's is an ordinary fork() */
		if (!pid)
			_exit(child_reads(&b));
		_exit(child_reads(&b) || proc_wait(pid));
	}
	assert_int_equal(proc_wait(pid), 0);
	words(&b, 0, PAGES);

	/* A device fails: no child gets zeros for its pages, and the parent has them. */
	tc_to_dev(b.r, b.va);
	tc.fail = -EIO;
	setenv("GMEM_QUIET", "1", 1);
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(child_reads(&b));
	}
	unsetenv("GMEM_QUIET");
	tc.fail = 0;
	assert_true(proc_died_of(proc_wait(pid), SIGSEGV));
	words(&b, 0, PAGES);
	tear_down(&b);
}

/* An access whose SIGBUS came before memory was given back is made again, once. */
static void test_given_back(void **state)
{
	struct bench b;

	(void)state;
	b = set_up(GM_AS_INLINE);
	gm_place_given_back();
	assert_int_equal(gm_user_as_fault(b.va - PAGE, GM_READ), -EFAULT);
	tear_down(&b);
	assert_int_equal(gm_user_as_fault(b.va, GM_READ), 0);
	assert_int_equal(gm_user_as_fault(b.va, GM_READ), -EFAULT);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_to_and_fro), cmocka_unit_test(test_staged),
		cmocka_unit_test(test_no_pagemap), cmocka_unit_test(test_behind_our_back),
		cmocka_unit_test(test_refused),	   cmocka_unit_test(test_gate),
		cmocka_unit_test(test_fork),	   cmocka_unit_test(test_given_back),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
