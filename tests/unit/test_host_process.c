// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The linux-user host in a process that has a life of its own: signals of the
 * application's, fork, what a kernel may refuse; and the public functions. Tests that
 * need a process of another kind run in a child (see children[]).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/linux-user/user.h"
#include "host_user_core.h"

/* ------------------------------------------------------- the application's own signals */

static volatile unsigned int nr_plain;
static volatile bool was_blocked, usr1_blocked;
static sigjmp_buf plain_env;

static void plain(int sig)
{
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	was_blocked = sigismember(&now, sig);
	usr1_blocked = sigismember(&now, SIGUSR1);
	nr_plain++;
	siglongjmp(plain_env, 1);
}

static uint64_t beyond_end(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	close(fd);
	return (uint64_t)(uintptr_t)p;
}

/* Does an access end in a signal? */
static bool dies(uint64_t va)
{
	if (sigsetjmp(plain_env, 1))
		return true;
	(void)*tc_word(va);
	return false;
}

static bool plain_taken(uint64_t va)
{
	unsigned int before = nr_plain;

	return dies(va) && nr_plain == before + 1;
}

/* A SIGBUS of the application's own reaches the handler that it had, as if we were not there. */
static void test_own_sigbus(void **state)
{
	struct sigaction act = { .sa_handler = plain }, saved, now;
	uint64_t end = beyond_end();
	struct tc_bench b;
	sigset_t mask;

	(void)state;
	sigaddset(&act.sa_mask, SIGUSR1);
	sigaction(SIGBUS, &act, &saved);
	b = tc_set_up(GM_AS_INLINE);
	tc_to_dev(b.r, b.va);
	assert_true(plain_taken(end));
	assert_true(was_blocked);
	assert_true(usr1_blocked);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_false(sigismember(&mask, SIGUSR1));
	assert_int_equal(*tc_word(b.va), 0);
	assert_int_equal(tc.faults, 1);
	tc_tear_down(&b);
	sigaction(SIGBUS, NULL, &now);
	assert_ptr_equal(now.sa_handler, plain);

	act.sa_flags = SA_NODEFER | (int)SA_RESETHAND;
	sigemptyset(&act.sa_mask);
	sigaction(SIGBUS, &act, NULL);
	b = tc_set_up(GM_AS_INLINE);
	assert_true(plain_taken(end));
	assert_false(was_blocked);
	assert_false(usr1_blocked);
	tc_tear_down(&b);
	sigaction(SIGBUS, NULL, &now);
	assert_ptr_equal(now.sa_handler, SIG_DFL); /* it was for once */
	sigaction(SIGBUS, &saved, NULL);
	munmap((void *)(uintptr_t)end, PAGE);
}

static volatile unsigned int passed, refused;

static void asks_gmem(int sig, siginfo_t *si, void *uc)
{
	if (gm_sigbus(sig, si, uc)) {
		passed++;
		return;
	}
	refused++;
	siglongjmp(plain_env, 1);
}

/* A handler that the application installs later asks gm_sigbus(), and stays when we go. */
static void test_handler_of_later(void **state)
{
	struct sigaction act = { .sa_flags = SA_SIGINFO | SA_NODEFER }, now, before;
	uint64_t end = beyond_end();
	struct tc_bench b, c;

	(void)state;
	sigaction(SIGBUS, NULL, &before);
	b = tc_set_up(GM_AS_INLINE);
	c = tc_set_up(GM_AS_INLINE);
	act.sa_sigaction = asks_gmem;
	sigaction(SIGBUS, &act, NULL);
	tc_to_dev(b.r, b.va);
	tc_to_dev(c.r, c.va + PAGE);
	assert_int_equal(*tc_word(b.va), 0);
	assert_int_equal(*tc_word(c.va + PAGE), 0);
	assert_int_equal(passed, 2);
	assert_true(dies(end));
	assert_int_equal(refused, 1);
	tc_tear_down(&c);
	tc_tear_down(&b);
	sigaction(SIGBUS, NULL, &now);
	assert_ptr_equal(now.sa_sigaction, asks_gmem);
	sigaction(SIGBUS, &before, NULL);
	munmap((void *)(uintptr_t)end, PAGE);
}

static void test_sigbus_refuses(void **state)
{
	siginfo_t si = { .si_signo = SIGBUS, .si_code = SI_USER };

	(void)state;
	assert_int_equal(gm_sigbus(SIGBUS, &si, NULL), 0);
	assert_int_equal(gm_sigbus(SIGSEGV, &si, NULL), 0);
}

/* With no handler of the application's: a fault kills, be it "ignored" or not; so does kill(). */
static int child_default(void (*action)(int), bool sent)
{
	struct tc_bench b;

	signal(SIGBUS, action);
	b = tc_set_up(GM_AS_INLINE);
	tc_to_dev(b.r, b.va);
	if (*tc_word(b.va))
		return 1;
	if (sent)
		kill(getpid(), SIGBUS);
	else
		(void)*tc_word(beyond_end());
	tc_tear_down(&b);
	return 0;
}

static void test_default_action(void **state)
{
	char said[256];

	(void)state;
	proc_dies("default-fault", SIGBUS);
	proc_dies("ignored-fault", SIGBUS);
	proc_dies("default-sent", SIGBUS);
	proc_ends_well("ignored-sent", said, sizeof(said));
}

/* ------------------------------------------------------------------------------- fork */

static int in_forked_child(uint64_t va, bool touch)
{
	struct gm_page_info info;
	void *p = (void *)(uintptr_t)va;

	signal(SIGSEGV, SIG_DFL);
	if (touch)
		return (int)*tc_word(va) & 0;
	if (gm_os_usable() != -EPERM || !strstr(gm_strerror(-EPERM), "fork"))
		return 1;
	if (hmadvise(0, p, PAGE, GM_COLD) != -EPERM || hmemcpy(0, p, p, 1) != -EPERM ||
	    gm_query(p, PAGE, &info) != -EPERM)
		return 2;
	if (proc_has_fd("memfd:gmem") || proc_has_fd("userfaultfd") || proc_has_fd("eventfd"))
		return 3;
	return 0;
}

static void forked(uint32_t flags)
{
	struct tc_bench b = tc_set_up(flags);
	int status;
	pid_t pid;

	*tc_word(b.va) = 5;
	tc_to_dev(b.r, b.va + PAGE);
	assert_true(proc_has_fd("memfd:gmem"));
	for (unsigned int touch = 0; touch < 3; touch++) {
		pid = fork();
		if (!pid)
			_exit(in_forked_child(touch == 2 ? b.va + PAGE : b.va, touch));
		status = proc_wait(pid);
		if (touch)
			assert_true(proc_died_of(status, SIGSEGV));
		else
			assert_int_equal(status, 0);
	}
	/* A child that leaves by exit() does not hang on what it did not inherit. */
	fflush(NULL);
	pid = fork();
	if (!pid)
		exit(0);
	assert_int_equal(proc_wait(pid), 0);
	/* The parent goes on. */
	assert_int_equal(*tc_word(b.va), 5);
	assert_int_equal(*tc_word(b.va + PAGE), 0);
	assert_int_equal(tc.faults, 1);
	tc_tear_down(&b);
}

static void test_fork(void **state)
{
	(void)state;
	forked(0);
	forked(GM_AS_INLINE);
}

/* ---------------------------------------------------------------------------- refusals */

/* Says what gm_as_create() would: the error, and gm_strerror() of it. */
static int try_create(uint32_t flags)
{
	struct gm_as_options opt = { .flags = flags };
	struct gm_as as = { .host = NULL };
	int err = gm_os_as_create(&as, &opt);

	fprintf(stderr, "%d: %s\n", err, gm_strerror(err));
	if (!err)
		gm_os_as_destroy(&as);
	return err || !as.host ? 0 : 1;
}

static int child_seccomp(uint32_t err)
{
	proc_filter_userfaultfd(err);
	proc_drop_privileges();
	return try_create(0);
}

static int child_device(void)
{
	proc_filter_userfaultfd(EPERM);
	return try_create(0); /* by /dev/userfaultfd */
}

static int child_no_fds(void)
{
	struct rlimit l = { .rlim_cur = 3, .rlim_max = 3 };

	proc_drop_privileges();
	setrlimit(RLIMIT_NOFILE, &l);
	return try_create(0);
}

static int child_no_fd_for_stop(void)
{
	struct rlimit l = { .rlim_cur = 4, .rlim_max = 4 };

	setrlimit(RLIMIT_NOFILE, &l);
	return try_create(0);
}

static int child_no_threads(void)
{
	struct rlimit l = { .rlim_cur = 0, .rlim_max = 0 };

	proc_drop_privileges();
	setrlimit(RLIMIT_NPROC, &l);
	return try_create(0);
}

static int child_user_only(uint32_t flags)
{
	struct tc_bench b;

	proc_drop_privileges();
	for (unsigned int i = 0; i < 2; i++) { /* what cannot work is said once */
		b = tc_set_up(flags);
		*tc_word(b.va) = 9;
		tc_to_dev(b.r, b.va);
		if (*tc_word(b.va) != 9 || tc.faults != 1)
			return 1;
		tc_to_dev(b.r, b.va);
		if (write(STDOUT_FILENO, (void *)(uintptr_t)b.va, 8) != -1 || errno != EFAULT)
			return 2;
		tc_tear_down(&b);
	}
	return 0;
}

static void test_refused(void **state)
{
	(void)state;
	proc_says("seccomp-eperm", "-1: a seccomp filter refuses", "--device /dev/userfaultfd");
	proc_says("seccomp-enosys", "-1: a seccomp filter refuses", "--device /dev/userfaultfd");
	proc_says("no-fds", "-12: no file descriptor is left", "ulimit");
	proc_says("no-fd-for-stop", "-12: ", "");
	proc_says("no-threads", "-12: ", "");
	if (!geteuid() && !access("/dev/userfaultfd", R_OK | W_OK))
		proc_says("device", "0: success", "");
}

static void test_user_only(void **state)
{
	char said[1024];
	const char *first;

	(void)state;
	if (proc_unprivileged_may())
		skip(); /* vm.unprivileged_userfaultfd is 1 here: nothing is refused to anybody */
	proc_ends_well("user-only", said, sizeof(said));
	first = strstr(said, "gmem: system calls such as read(2)");
	assert_non_null(first);
	assert_null(strstr(first + 1, "gmem: "));
	assert_non_null(strstr(first, "vm.unprivileged_userfaultfd=1"));
	proc_ends_well("user-only-inline", said, sizeof(said));
	assert_string_equal(said, "");
}

static void test_options_refused(void **state)
{
	struct proc_resources before = proc_resources();
	struct gm_as_options opt = { .service_threads = 65 };
	struct gm_as as = { .host = NULL };

	(void)state;
	assert_int_equal(gm_os_as_create(&as, &opt), -EINVAL);
	assert_null(as.host);
	assert_int_equal(gm_os_as_create(&as, NULL), 0);
	gm_os_as_stop(&as);
	gm_os_as_stop(&as);
	gm_os_as_destroy(&as);
	proc_assert_same(before);
}

/* --------------------------------------------------------------------- public functions */

static void test_public(void **state)
{
	struct tc_bench b = tc_set_up(0), c = tc_set_up(GM_AS_INLINE);
	void *p = (void *)(uintptr_t)b.va, *q = (void *)(uintptr_t)c.va;
	struct gm_page_info info;
	char plain_memory[8];

	(void)state;
	assert_int_equal(hmadvise(0, p, PAGE, GM_COLD), 0);
	assert_int_equal(hmadvise(0, q, PAGE, GM_UNPIN), 0);
	assert_int_equal(tc.advised, 2);
	assert_int_equal(hmadvise(0, p, 0, GM_COLD), -EINVAL);
	assert_int_equal(hmadvise(0, p, SIZE_MAX, GM_COLD), -EINVAL);
	assert_int_equal(hmadvise(0, p, PAGE, GM_UNSET_ACCESSED_BY + 1), -EINVAL);
	assert_int_equal(hmadvise(0, plain_memory, 8, GM_COLD), -EFAULT);
	assert_int_equal(tc.advised, 2);

	assert_int_equal(hmemcpy(GM_NODE_NONE, p, q, 8), 0);
	assert_int_equal(tc.copied, 3);
	assert_int_equal(hmemcpy(GM_NODE_NONE, p, plain_memory, 8), 0);
	assert_int_equal(tc.copied, 1);
	assert_int_equal(hmemcpy(GM_NODE_NONE, plain_memory, p, 8), 0);
	assert_int_equal(tc.copied, 2);
	assert_int_equal(hmemcpy(GM_NODE_NONE, p, q, 0), -EINVAL);
	assert_int_equal(hmemcpy(GM_NODE_NONE, p, q, SIZE_MAX - 5), -EINVAL);

	assert_int_equal(gm_query(p, PAGE, &info), 0);
	assert_int_equal(tc.queried, 1);
	assert_int_equal(gm_query(p, PAGE, NULL), -EINVAL);
	assert_int_equal(gm_query(p, 0, &info), -EINVAL);
	assert_int_equal(gm_query(p, PAGE, p), 0); /* into managed memory too */
	assert_int_equal(tc.queried, 2);
	assert_int_equal(gm_query(plain_memory, PAGE, &info), -EFAULT);

	assert_string_equal(gm_strerror(0), "success");
	assert_non_null(strstr(gm_strerror(-ENOSPC), "device memory is full"));
	assert_string_equal(gm_strerror(-12345), "unknown error");
	assert_string_equal(gm_strerror(12), "unknown error");
	tc_tear_down(&b);
	tc_tear_down(&c);
}

static int run_default(uint32_t arg)
{
	return child_default(arg & 1 ? SIG_IGN : SIG_DFL, arg & 2);
}

static int run_simple(uint32_t arg)
{
	switch (arg) {
	case 1:
		return child_device();
	case 2:
		return child_no_fds();
	case 3:
		return child_no_fd_for_stop();
	default:
		return child_no_threads();
	}
}

static const struct {
	const char *name;
	int (*run)(uint32_t arg);
	uint32_t arg;
} children[] = {
	{ "device", run_simple, 1 },
	{ "no-fds", run_simple, 2 },
	{ "no-fd-for-stop", run_simple, 3 },
	{ "no-threads", run_simple, 4 },
	{ "default-fault", run_default, 0 },
	{ "ignored-fault", run_default, 1 },
	{ "default-sent", run_default, 2 },
	{ "ignored-sent", run_default, 3 },
	{ "seccomp-eperm", child_seccomp, EPERM },
	{ "seccomp-enosys", child_seccomp, ENOSYS },
	{ "user-only", child_user_only, 0 },
	{ "user-only-inline", child_user_only, GM_AS_INLINE },
};

static int run_child(const char *name)
{
	for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++)
		if (!strcmp(children[i].name, name))
			return children[i].run(children[i].arg);
	return 126;
}

/* What the C library and sanitizers set up with the first thread is there from here on. */
static int warm_up(void **state)
{
	(void)state;
	tc_as_free(tc_as(0));
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_sigbus),     cmocka_unit_test(test_handler_of_later),
		cmocka_unit_test(test_sigbus_refuses), cmocka_unit_test(test_default_action),
		cmocka_unit_test(test_fork),	       cmocka_unit_test(test_refused),
		cmocka_unit_test(test_user_only),      cmocka_unit_test(test_options_refused),
		cmocka_unit_test(test_public),
	};

	if (argc == 3 && !strcmp(argv[1], "child"))
		_exit(run_child(argv[2])); /* no look for leaks: it has given up its rights */
	return cmocka_run_group_tests_name("host_process", tests, warm_up, NULL);
}
