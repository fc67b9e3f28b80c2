// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The linux-user host: faults in both kinds of delivery, failures of a device, signals
 * of the application's own, fork, and what a kernel may refuse. Tests that need a
 * process of another kind run in a child of their own (see children[]).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/linux-user/user.h"
#include "host_user_core.h"

/* An address space with one object of four blocks mapped. */
struct bench {
	struct gm_as *as;
	struct gm_object *obj;
	struct gm_region *r;
	uint64_t va;
};

static struct bench set_up(uint32_t flags)
{
	struct bench b = { .as = tc_as(flags), .obj = tc_object(4 * BLOCK, 0) };

	b.r = tc_map(b.as, b.obj, 0, 4 * BLOCK);
	b.va = b.r->va;
	memset(&tc, 0, sizeof(tc));
	return b;
}

static void tear_down(struct bench *b)
{
	tc_unmap(b->r);
	tc_object_free(b->obj);
	tc_as_free(b->as);
}

/* --------------------------------------------------------------------- both deliveries */

static void coherent(uint32_t flags)
{
	struct proc_resources before = proc_resources();
	struct bench b = set_up(flags);

	for (uint64_t i = 0; i < 32; i++)
		*tc_word(b.va + i * PAGE) = i + 1;
	assert_int_equal(tc.faults, 0); /* no device has seen it */
	for (uint64_t i = 0; i < 32; i++)
		tc_to_dev(b.r, b.va + i * PAGE);
	for (uint64_t i = 0; i < 32; i++)
		assert_int_equal(*tc_word(b.va + i * PAGE), i + 1);
	assert_int_equal(tc.faults, 32);
	assert_int_equal(tc.last_access, GM_READ);
	assert_int_equal(tc.last_va, b.va + 31 * PAGE);

	for (uint64_t i = 0; i < 32; i++)
		tc_to_dev(b.r, b.va + i * PAGE);
	for (uint64_t i = 0; i < 32; i++)
		*tc_word(b.va + i * PAGE + 8) = i;
	assert_int_equal(tc.last_access, GM_WRITE);
	for (uint64_t i = 0; i < 32; i++)
		assert_int_equal(*tc_word(b.va + i * PAGE), i + 1);
	assert_int_equal(tc.faults, 64);
	/* A page that never was, in an armed block. */
	assert_int_equal(*tc_word(b.va + 100 * PAGE), 0);
	assert_int_equal(tc.faults, 65);
	tear_down(&b);
	proc_assert_same(before);
}

static void test_thread(void **state)
{
	(void)state;
	coherent(0);
	coherent(0);
}

static void test_inline(void **state)
{
	(void)state;
	coherent(GM_AS_INLINE);
	coherent(GM_AS_INLINE);
}

static void *add_ones(void *arg)
{
	uint64_t va = *(uint64_t *)arg;

	for (unsigned int n = 0; n < 200; n++)
		for (uint64_t i = 0; i < 8; i++)
			__atomic_fetch_add(tc_word(va + i * PAGE), 1, __ATOMIC_RELAXED);
	return NULL;
}

/* Threads and a "device" pull at the same pages: no increment is lost. */
static void contended(uint32_t flags, uint32_t threads, uint32_t spin_us)
{
	struct gm_as_options opt = { .flags = flags,
				     .service_threads = threads,
				     .spin_us = spin_us };
	struct gm_as *as = calloc(1, sizeof(*as));
	struct gm_object *obj;
	struct gm_region *r;
	pthread_t t[3];

	assert_int_equal(gm_os_as_create(as, &opt), 0);
	obj = tc_object(BLOCK, 0);
	r = tc_map(as, obj, 0, BLOCK);
	for (unsigned int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, add_ones, &r->va);
	for (unsigned int i = 0; i < 400; i++)
		tc_to_dev(r, r->va + i % 8 * PAGE);
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(*tc_word(r->va + i * PAGE), 600);
	tc_unmap(r);
	tc_object_free(obj);
	tc_as_free(as);
}

static void test_contended(void **state)
{
	(void)state;
	contended(0, 0, 0);
	contended(0, 3, UINT32_MAX);
	contended(0, 2, 200);
	contended(GM_AS_INLINE, 0, 0);
}

/* System calls on memory that the device holds. */
static void test_syscalls(void **state)
{
	struct bench b = set_up(0);
	char *p = (char *)(uintptr_t)b.va;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	strcpy(p, "from the device");
	tc_to_dev(b.r, b.va);
	assert_int_equal(write(fds[1], p, 16), 16);
	tc_to_dev(b.r, b.va);
	assert_int_equal(read(fds[0], p + 100, 16), 16);
	assert_string_equal(p + 100, "from the device");
	assert_int_equal(tc.faults, 2);
	tear_down(&b);

	b = set_up(GM_AS_INLINE);
	tc_to_dev(b.r, b.va);
	assert_int_equal(write(fds[1], (char *)(uintptr_t)b.va, 16), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(*tc_word(b.va), 0);
	assert_int_equal(write(fds[1], (char *)(uintptr_t)b.va, 16), 16);
	tear_down(&b);
	close(fds[0]);
	close(fds[1]);
}

/* -------------------------------------------------------------------------- failures */

static sigjmp_buf env;
static volatile siginfo_t got;
static volatile unsigned int nr_got;
static volatile bool stay; /* do not jump out of the handler */

static void on_signal(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	(void)uc;
	nr_got++;
	got = *si;
	if (si->si_code > 0 && !stay)
		siglongjmp(env, 1);
}

static void catch (int sig, struct sigaction *saved)
{
	struct sigaction act = { .sa_flags = SA_SIGINFO };

	act.sa_sigaction = on_signal;
	sigaction(sig, &act, saved);
	nr_got = 0;
}

/* Does an access end in a signal? */
static bool faults(uint64_t va)
{
	if (sigsetjmp(env, 1))
		return true;
	(void)*tc_word(va);
	return false;
}

static void failing(uint32_t flags)
{
	struct sigaction saved;
	struct bench b;

	catch (SIGBUS, &saved); /* first, so that inline delivery finds it there */
	b = set_up(flags);
	*tc_word(b.va + 8) = 77;
	tc_to_dev(b.r, b.va);
	tc.fail = -EIO;
	for (unsigned int i = 1; i <= 3; i++) {
		assert_true(faults(b.va + 8));
		assert_int_equal(nr_got, i);
		assert_int_equal(got.si_signo, SIGBUS);
		assert_int_equal(got.si_code, BUS_ADRERR);
		assert_ptr_equal(got.si_addr, tc_word(b.va + 8));
	}
	tc.fail = 0;
	assert_false(faults(b.va + 8));
	assert_int_equal(*tc_word(b.va + 8), 77);
	assert_int_equal(nr_got, 3);
	tear_down(&b);
	sigaction(SIGBUS, &saved, NULL);
}

static void test_device_fails(void **state)
{
	(void)state;
	failing(0);
	failing(GM_AS_INLINE);
}

static bool kernel_can_poison(void)
{
	struct gm_as *as = tc_as(0);
	bool can = gm_user_as(as)->features & (1 << 14);

	tc_as_free(as);
	return can;
}

/* write(2) of a word of managed memory: 0 or -errno; a signal that it brings is counted. */
static int write_word(int fd, uint64_t va)
{
	int err;

	stay = true;
	err = write(fd, (void *)(uintptr_t)va, 8) < 0 ? -errno : 0;
	stay = false;
	return err;
}

/* A system call on a page that cannot come home fails, and works when it can again. */
static void test_device_fails_syscall(void **state)
{
	struct sigaction saved;
	struct bench b;
	int fds[2];

	(void)state;
	if (!kernel_can_poison())
		skip(); /* Linux 6.6: until then the system call waits for the device */
	b = set_up(0);
	catch (SIGBUS, &saved);
	assert_int_equal(pipe(fds), 0);
	*tc_word(b.va) = 77;
	*tc_word(b.va + PAGE) = 78;
	for (unsigned int i = 0; i < 2; i++) {
		tc_to_dev(b.r, b.va + i * PAGE);
		tc.fail = -EIO;
		assert_int_equal(write_word(fds[1], b.va + i * PAGE), -EFAULT);
		tc.fail = 0;
		assert_true(nr_got > 0);
	}
	/* The mark goes by itself; until then, or if it is mapped before, no byte is lost. */
	while (faults(b.va))
		usleep(10000);
	assert_int_equal(*tc_word(b.va), 77);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va + PAGE, PAGE), 0);
	assert_false(faults(b.va + PAGE));
	assert_int_equal(*tc_word(b.va + PAGE), 78);
	assert_int_equal(write_word(fds[1], b.va), 0);
	assert_int_equal(__atomic_load_n(&gm_user_as(b.as)->nr_poisoned, __ATOMIC_RELAXED), 0);
	assert_int_equal(__atomic_load_n(&gm_user_as(b.as)->nr_fails, __ATOMIC_RELAXED), 0);
	close(fds[0]);
	close(fds[1]);
	tear_down(&b);
	sigaction(SIGBUS, &saved, NULL);
}

/* More failing pages at a time than the table holds; poison that is there at unmap. */
static void test_many_fail(void **state)
{
	struct sigaction saved;
	struct bench b = set_up(0);
	uint64_t n = GM_NR_FAILS + 3;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	catch (SIGBUS, &saved);
	for (uint64_t i = 0; i < n; i++) {
		*tc_word(b.va + i * PAGE) = i;
		tc_to_dev(b.r, b.va + i * PAGE);
	}
	tc.fail = -EIO;
	for (uint64_t i = 0; i < 2 * n; i++)
		assert_true(faults(b.va + i % n * PAGE));
	assert_int_equal(__atomic_load_n(&gm_user_as(b.as)->nr_fails, __ATOMIC_RELAXED),
			 GM_NR_FAILS);
	if (kernel_can_poison())
		assert_int_equal(write_word(fds[1], b.va), -EFAULT);
	tc.fail = 0;
	for (uint64_t i = 1; i < n; i++) {
		assert_false(faults(b.va + i * PAGE));
		assert_int_equal(*tc_word(b.va + i * PAGE), i);
	}
	tear_down(&b);
	sigaction(SIGBUS, &saved, NULL);
	close(fds[0]);
	close(fds[1]);
}

static void *fault_blocked(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)*tc_word(*(uint64_t *)arg);
	return NULL;
}

/* A thread that blocks SIGBUS is not let off with an endless loop. */
static int child_blocked(void)
{
	struct bench b = set_up(0);
	pthread_t t;

	if (!(gm_user_as(b.as)->features & (1 << 14)))
		raise(SIGBUS);
	tc_to_dev(b.r, b.va);
	tc.fail = -EIO;
	pthread_create(&t, NULL, fault_blocked, &b.va);
	pthread_join(t, NULL);
	return 1;
}

/* A fault on memory that the core says is not managed: it is not serviced, and not for ever. */
static int child_unmanaged(uint32_t flags)
{
	struct bench b = set_up(flags);

	if (gm_os_cpu_arm(b.r, b.va, PAGE))
		return 1;
	b.as->regions[0] = NULL;
	(void)*tc_word(b.va);
	return 2;
}

static void test_dies(void **state)
{
	(void)state;
	proc_dies("blocked", SIGBUS);
	proc_dies("unmanaged-inline", SIGBUS);
}

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

static bool plain_taken(uint64_t va)
{
	unsigned int before = nr_plain;

	if (!sigsetjmp(plain_env, 1))
		(void)*tc_word(va);
	return nr_plain == before + 1;
}

/* A SIGBUS of the application's own reaches the handler that it had, as if we were not there. */
static void test_own_sigbus(void **state)
{
	struct sigaction act = { .sa_handler = plain }, saved, now;
	uint64_t end = beyond_end();
	struct bench b;
	sigset_t mask;

	(void)state;
	sigaddset(&act.sa_mask, SIGUSR1);
	sigaction(SIGBUS, &act, &saved);
	b = set_up(GM_AS_INLINE);
	tc_to_dev(b.r, b.va);
	assert_true(plain_taken(end));
	assert_true(was_blocked);
	assert_true(usr1_blocked);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_false(sigismember(&mask, SIGUSR1));
	assert_int_equal(*tc_word(b.va), 0);
	assert_int_equal(tc.faults, 1);
	tear_down(&b);
	sigaction(SIGBUS, NULL, &now);
	assert_ptr_equal(now.sa_handler, plain);

	act.sa_flags = SA_NODEFER | (int)SA_RESETHAND;
	sigemptyset(&act.sa_mask);
	sigaction(SIGBUS, &act, NULL);
	b = set_up(GM_AS_INLINE);
	assert_true(plain_taken(end));
	assert_false(was_blocked);
	assert_false(usr1_blocked);
	tear_down(&b);
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
	siglongjmp(env, 1);
}

/* A handler that the application installs later asks gm_sigbus(), and stays when we go. */
static void test_handler_of_later(void **state)
{
	struct sigaction act = { .sa_flags = SA_SIGINFO | SA_NODEFER }, now, before;
	uint64_t end = beyond_end();
	struct bench b, c;

	(void)state;
	sigaction(SIGBUS, NULL, &before);
	b = set_up(GM_AS_INLINE);
	c = set_up(GM_AS_INLINE);
	act.sa_sigaction = asks_gmem;
	sigaction(SIGBUS, &act, NULL);
	tc_to_dev(b.r, b.va);
	tc_to_dev(c.r, c.va + PAGE);
	assert_int_equal(*tc_word(b.va), 0);
	assert_int_equal(*tc_word(c.va + PAGE), 0);
	assert_int_equal(passed, 2);
	assert_true(faults(end));
	assert_int_equal(refused, 1);
	tear_down(&c);
	tear_down(&b);
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
	struct bench b;

	signal(SIGBUS, action);
	b = set_up(GM_AS_INLINE);
	tc_to_dev(b.r, b.va);
	if (*tc_word(b.va))
		return 1;
	if (sent)
		kill(getpid(), SIGBUS);
	else
		(void)*tc_word(beyond_end());
	tear_down(&b);
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
	struct bench b = set_up(flags);
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
	tear_down(&b);
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
	struct bench b;

	proc_drop_privileges();
	for (unsigned int i = 0; i < 2; i++) { /* what cannot work is said once */
		b = set_up(flags);
		*tc_word(b.va) = 9;
		tc_to_dev(b.r, b.va);
		if (*tc_word(b.va) != 9 || tc.faults != 1)
			return 1;
		tc_to_dev(b.r, b.va);
		if (write_word(STDOUT_FILENO, b.va) != -EFAULT)
			return 2;
		tear_down(&b);
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
	struct bench b = set_up(0), c = set_up(GM_AS_INLINE);
	void *p = (void *)(uintptr_t)b.va, *q = (void *)(uintptr_t)c.va;
	struct gm_page_info info;
	char plain_memory[8];

	(void)state;
	assert_int_equal(hmadvise(0, p, PAGE, GM_COLD), 0);
	assert_int_equal(hmadvise(0, q, PAGE, GM_UNPIN), 0);
	assert_int_equal(tc.advised, 2);
	assert_int_equal(hmadvise(0, p, 0, GM_COLD), -EINVAL);
	assert_int_equal(hmadvise(0, p, SIZE_MAX, GM_COLD), -EINVAL);
	assert_int_equal(hmadvise(0, p, PAGE, GM_UNPIN + 1), -EINVAL);
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
	assert_int_equal(gm_query(p, PAGE, p), -EINVAL); /* not into managed memory */
	assert_int_equal(gm_query(plain_memory, PAGE, &info), -EFAULT);

	assert_string_equal(gm_strerror(0), "success");
	assert_non_null(strstr(gm_strerror(-ENOSPC), "device memory is full"));
	assert_string_equal(gm_strerror(-12345), "unknown error");
	assert_string_equal(gm_strerror(12), "unknown error");
	tear_down(&b);
	tear_down(&c);
}

static int run_default(uint32_t arg)
{
	return child_default(arg & 1 ? SIG_IGN : SIG_DFL, arg & 2);
}

static int run_simple(uint32_t arg)
{
	switch (arg) {
	case 0:
		return child_blocked();
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
	{ "blocked", run_simple, 0 },
	{ "device", run_simple, 1 },
	{ "no-fds", run_simple, 2 },
	{ "no-fd-for-stop", run_simple, 3 },
	{ "no-threads", run_simple, 4 },
	{ "unmanaged-inline", child_unmanaged, GM_AS_INLINE },
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
		cmocka_unit_test(test_thread),	       cmocka_unit_test(test_inline),
		cmocka_unit_test(test_contended),      cmocka_unit_test(test_syscalls),
		cmocka_unit_test(test_device_fails),   cmocka_unit_test(test_device_fails_syscall),
		cmocka_unit_test(test_many_fail),      cmocka_unit_test(test_dies),
		cmocka_unit_test(test_own_sigbus),     cmocka_unit_test(test_handler_of_later),
		cmocka_unit_test(test_sigbus_refuses), cmocka_unit_test(test_default_action),
		cmocka_unit_test(test_fork),	       cmocka_unit_test(test_refused),
		cmocka_unit_test(test_user_only),      cmocka_unit_test(test_options_refused),
		cmocka_unit_test(test_public),
	};

	if (argc == 3 && !strcmp(argv[1], "child"))
		_exit(run_child(argv[2])); /* no look for leaks: it has given up its rights */
	return cmocka_run_group_tests_name("host_faults", tests, warm_up, NULL);
}
