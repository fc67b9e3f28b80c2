// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * gmem in a process that has a life of its own: system calls, signals, fork, a device
 * that fails, a kernel that refuses.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conformance.h"

static bool is_inline(void)
{
	return cf_flags & GM_AS_INLINE;
}

/* read(2) and write(2) on memory that the device holds. */
static void test_syscalls(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK), *q = cf_alloc(cf, BLOCK);
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	cf_fill(cf, 0, p, BLOCK, 1);
	cf_fill(cf, 0, q, BLOCK, 2);
	if (is_inline()) {
		assert_int_equal(write(fds[1], p, 3 * PAGE), -1);
		assert_int_equal(errno, EFAULT);
		cf_check(cf, CPU, p, BLOCK, 1); /* home now: the same call works */
		cf_check(cf, CPU, q, BLOCK, 2);
	}
	assert_int_equal(write(fds[1], p, 3 * PAGE), 3 * PAGE);
	assert_int_equal(read(fds[0], q, 3 * PAGE), 3 * PAGE);
	cf_check(cf, 0, q, 3 * PAGE, 1);
	cf_check_at(cf, 0, q + 3 * PAGE, BLOCK - 3 * PAGE, 2, 3 * PAGE);
	close(fds[0]);
	close(fds[1]);
	cf_unmap(cf, p, BLOCK);
	cf_unmap(cf, q, BLOCK);
}

/* -------------------------------------------------------------------------- own signals */

static void *beyond_end(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	close(fd);
	return p;
}

static sigjmp_buf env;
static volatile int nr_signals;

static void on_signal(int sig)
{
	(void)sig;
	nr_signals++;
	siglongjmp(env, 1);
}

static void touch(const void *p)
{
	if (!sigsetjmp(env, 1))
		(void)*(volatile const char *)p;
}

/* Handlers that were there before gmem get what is theirs, and nothing else. */
static void test_own_signals(void **state)
{
	struct sigaction act = { .sa_handler = on_signal }, bus, segv, now;
	void *end = beyond_end();
	struct cf *cf;
	char *p;

	(void)state;
	sigaction(SIGBUS, &act, &bus);
	sigaction(SIGSEGV, &act, &segv);
	cf = cf_setup();
	p = cf_alloc(cf, BLOCK);
	nr_signals = 0;
	for (int i = 1; i <= 3; i++) {
		cf_fill(cf, 0, p, BLOCK, (uint64_t)i);
		touch(end);
		assert_int_equal(nr_signals, 2 * i - 1);
		cf_check(cf, CPU, p, BLOCK, (uint64_t)i);
		touch((void *)(uintptr_t)PAGE);
		assert_int_equal(nr_signals, 2 * i);
	}
	cf_unmap(cf, p, BLOCK);
	cf_teardown(cf);
	sigaction(SIGBUS, NULL, &now);
	assert_ptr_equal(now.sa_handler, on_signal);
	touch(end);
	assert_int_equal(nr_signals, 7);
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	munmap(end, PAGE);
}

/* --------------------------------------------------------------------------------- fork */

static int forked(struct cf *cf, char *p, int what)
{
	struct gm_page_info info;
	struct gm_as *as;
	void *q;

	signal(SIGSEGV, SIG_DFL);
	if (what)
		return *(volatile char *)p & 0;
	if (hmadvise(0, p, PAGE, GM_COLD) != -EPERM || gm_query(p, PAGE, &info) != -EPERM ||
	    hmemcpy(0, p, p, 8) != -EPERM)
		return 1;
	if (gm_alloc(cf->as, PAGE, 0, &q) != -EPERM || gm_as_create(NULL, &as) != -EPERM ||
	    gm_as_unmap(cf->as, p, PAGE) != -EPERM || gm_as_destroy(cf->as) != -EPERM)
		return 2;
	if (!strstr(gm_strerror(-EPERM), "fork") || proc_has_fd("memfd:gmem"))
		return 3;
	return 0;
}

/*
 * A child that exits with its parent's memory leaks nothing, but the sanitizer, which
 * does not look into gmem's pools, thinks so; it asks this.
 */
static int is_child;

int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return is_child;
}

/* A child gets a plain fault, never stale bytes; its calls fail and do not hang. */
static void test_fork(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);
	int status;
	pid_t pid;

	cf_fill(cf, 0, p, BLOCK, 1);
	cf_fill(cf, CPU, p + BLOCK, BLOCK, 2);
	for (int what = 0; what < 3; what++) {
		pid = fork();
		if (!pid)
			_exit(forked(cf, what == 1 ? p : p + BLOCK, what));
		status = proc_wait(pid);
		if (what)
			assert_true(proc_died_of(status, SIGSEGV));
		else
			assert_int_equal(status, 0);
	}
	fflush(NULL);
	pid = fork();
	if (!pid) {
		is_child = 1;
		exit(0);
	}
	assert_int_equal(proc_wait(pid), 0);
	cf_check(cf, CPU, p, BLOCK, 1);
	cf_check(cf, 0, p + BLOCK, BLOCK, 2);
	cf_unmap(cf, p, 2 * BLOCK);
}

/* ------------------------------------------------------------------ a device that fails */

/* The page cannot come home: SIGBUS, as for any other bad page; the bytes are still there. */
static void cpu_fault_fails(struct cf *cf, enum gm_sim_op op, int err)
{
	char *p = cf_alloc(cf, BLOCK);

	cf_fill(cf, 0, p, BLOCK, 1);
	gm_sim_inject(cf->sim[0], op, 0, UINT32_MAX, err);
	assert_int_equal(cf_cpu_dies(p + 5 * PAGE + 8, false, SIGBUS), BUS_ADRERR);
	assert_int_equal(cf_cpu_dies(p + 5 * PAGE + 8, true, SIGBUS), BUS_ADRERR);
	gm_sim_inject(cf->sim[0], op, 0, 0, 0);
	cf_on(p + 5 * PAGE, PAGE, cf_node(cf, 0));
	cf_check(cf, CPU, p, BLOCK, 1);
	cf_fill(cf, 0, p, BLOCK, 2);
	cf_check(cf, CPU, p, BLOCK, 2);
	cf_unmap(cf, p, BLOCK);
}

static void test_cpu_fault_fails(struct cf *cf)
{

	assert_true(cf_as_stats(cf).fault_errors == 0);
	cpu_fault_fails(cf, GM_SIM_COPY_START, -EIO);
	cpu_fault_fails(cf, GM_SIM_COPY_FENCE, -EIO);
	cpu_fault_fails(cf, GM_SIM_PMAP_RELEASE, -EIO);
	cpu_fault_fails(cf, GM_SIM_TLB_INVL, -EIO);
	assert_true(cf_as_stats(cf).fault_errors > 0);
}

/* The page cannot get to the device: the device's access fails, the CPU's does not. */
static void test_dev_fault_fails(struct cf *cf)
{
	static const enum gm_sim_op ops[] = { GM_SIM_COPY_START, GM_SIM_COPY_FENCE,
					      GM_SIM_PMAP_ENTER };
	char *p = cf_alloc(cf, BLOCK);
	uint64_t v;

	for (uint64_t i = 0; i < 3; i++) {
		cf_fill(cf, CPU, p, BLOCK, i);
		gm_sim_inject(cf->sim[0], ops[i], 0, UINT32_MAX, -EIO);
		assert_int_equal(cf_dev_load(cf, 0, p + PAGE, &v), -EIO);
		cf_check(cf, CPU, p, BLOCK, i);
		assert_int_equal(hmadvise(cf_node(cf, 0), p, BLOCK, GM_PREFETCH), -EIO);
		cf_check(cf, CPU, p, BLOCK, i);
		gm_sim_inject(cf->sim[0], ops[i], 0, 0, 0);
		cf_check(cf, 0, p, BLOCK, i);
		cf_check(cf, CPU, p, BLOCK, i);
	}
	cf_unmap(cf, p, BLOCK);
}

/* A device that fails cannot be detached; when it works again no byte is missing. */
static void test_detach_fails(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);

	cf_fill(cf, 0, p, 2 * BLOCK, 1);
	gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 1, UINT32_MAX, -EIO);
	assert_int_equal(gm_sim_detach(cf->ctx[0]), -EIO);
	gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
	cf_check(cf, 0, p, 2 * BLOCK, 1);
	assert_int_equal(gm_sim_detach(cf->ctx[0]), 0);
	cf->ctx[0] = NULL;
	cf_check(cf, CPU, p, 2 * BLOCK, 1);
	cf_unmap(cf, p, 2 * BLOCK);
}

/* ------------------------------------------------------------- a kernel that refuses it */

static int try_create(void)
{
	struct gm_as_options opt = { .size = sizeof(opt), .flags = cf_flags };
	struct gm_as *as;
	int err = gm_as_create(&opt, &as);

	fprintf(stderr, "%d: %s\n", err, gm_strerror(err));
	if (!err)
		gm_as_destroy(as);
	return 0;
}

static int refused_by_filter(uint32_t err)
{
	proc_filter_userfaultfd(err);
	proc_drop_privileges();
	return try_create();
}

/* Without rights it works, but for system calls, and says so once. */
static int user_mode_only(void)
{
	struct cf *cf;
	char *p;

	cf_warm_up();
	proc_drop_privileges();
	for (int i = 0; i < 2; i++) {
		cf = cf_setup();
		p = cf_alloc(cf, BLOCK);
		cf_fill(cf, 0, p, BLOCK, 1);
		if (write(STDOUT_FILENO, p, 8) != -1 || errno != EFAULT)
			return 1;
		cf_check(cf, CPU, p, BLOCK, 1);
		cf_unmap(cf, p, BLOCK);
		cf_teardown(cf);
	}
	return 0;
}

int cf_run_child(const char *name)
{
	cf_flags = strstr(name, "inline") ? GM_AS_INLINE : 0;
	if (strstr(name, "eperm"))
		return refused_by_filter(EPERM);
	if (strstr(name, "enosys"))
		return refused_by_filter(ENOSYS);
	return user_mode_only();
}

static void test_refused(void **state)
{
	(void)state;
	proc_says(is_inline() ? "eperm-inline" : "eperm", "-1: a seccomp filter refuses",
		  "/dev/userfaultfd");
	proc_says(is_inline() ? "enosys-inline" : "enosys", "-1: a seccomp filter refuses",
		  "/dev/userfaultfd");
}

static void test_user_mode_only(void **state)
{
	char said[1024];

	(void)state;
	if (proc_unprivileged_may())
		skip(); /* vm.unprivileged_userfaultfd is 1: nobody is refused anything */
	proc_ends_well(is_inline() ? "user-inline" : "user", said, sizeof(said));
	if (is_inline()) {
		assert_string_equal(said, "");
	} else {
		char *first = strstr(said, "gmem: system calls");

		assert_non_null(first);
		assert_null(strstr(first + 1, "gmem: "));
	}
}

const struct CMUnitTest cf_process_tests[] = {
	CF_TEST(test_syscalls),
	cmocka_unit_test(test_own_signals),
	CF_TEST(test_cpu_fault_fails),
	CF_TEST(test_dev_fault_fails),
	CF_TEST(test_detach_fails),
	cmocka_unit_test(test_refused),
	cmocka_unit_test(test_user_mode_only),
	CF_TEST(test_fork),
};
const size_t cf_nr_process_tests = sizeof(cf_process_tests) / sizeof(cf_process_tests[0]);
