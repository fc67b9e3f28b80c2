// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The linux-user host: faults in both kinds of delivery, address spaces that leave each
 * other alone, and devices that fail. What ends a process runs in a child (see children[]).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/linux-user/user.h"
#include "host_user_core.h"

/* --------------------------------------------------------------------- both deliveries */

static void coherent(uint32_t flags)
{
	struct proc_resources before = proc_resources();
	struct tc_bench b = tc_set_up(flags);

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
	tc_tear_down(&b);
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

/* ------------------------------------------------------------- pages that are held */

#define HELD_THREADS 40U /* more than a service thread puts aside */

struct waiter {
	uint64_t va, done; /* when it was read, atomic */
};

static void *touch(void *arg)
{
	struct waiter *w = arg;

	assert_int_equal(*tc_word(w->va), 7);
	__atomic_store_n(&w->done, gm_os_now_ns(), __ATOMIC_RELEASE);
	return NULL;
}

/*
 * Threads touch pages that are held: none goes on before its time, and all do then. One that touches
 * another page meanwhile waits for nobody, though there is one service thread; that may be seen only
 * if the machine was not too slow for it, so it is tried again.
 */
static bool held(unsigned int n, uint64_t ns)
{
	struct tc_bench b = tc_set_up(0);
	struct waiter w[HELD_THREADS];
	pthread_t thread[HELD_THREADS];
	uint64_t until, other;

	for (uint64_t i = 0; i <= n; i++) {
		*tc_word(b.va + i * PAGE) = 7;
		tc_to_dev(b.r, b.va + i * PAGE);
	}
	tc.hold_below = b.va + n * PAGE;
	until = gm_os_now_ns() + ns;
	__atomic_store_n(&tc.hold_until, until, __ATOMIC_RELEASE);
	for (uint64_t i = 0; i < n; i++) {
		w[i] = (struct waiter){ .va = b.va + i * PAGE };
		assert_int_equal(pthread_create(&thread[i], NULL, touch, &w[i]), 0);
	}
	assert_int_equal(*tc_word(b.va + n * PAGE), 7);
	other = gm_os_now_ns();
	for (unsigned int i = 0; i < n; i++) {
		pthread_join(thread[i], NULL);
		assert_true(w[i].done >= until);
	}
	tc_tear_down(&b);
	return other < until;
}

static void test_put_aside(void **state)
{
	static const unsigned int threads[] = { 1, 3, HELD_THREADS };

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t ns = 20000000;

		while (!held(threads[i], ns))
			ns *= 2;
	}
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
	struct tc_bench b = tc_set_up(0);
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
	tc_tear_down(&b);

	b = tc_set_up(GM_AS_INLINE);
	tc_to_dev(b.r, b.va);
	assert_int_equal(write(fds[1], (char *)(uintptr_t)b.va, 16), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(*tc_word(b.va), 0);
	assert_int_equal(write(fds[1], (char *)(uintptr_t)b.va, 16), 16);
	tc_tear_down(&b);
	close(fds[0]);
	close(fds[1]);
}

/* ------------------------------------------------------ address spaces do not meet */

static void *read_word(void *arg)
{
	return (void *)(uintptr_t)*tc_word(*(uint64_t *)arg);
}

static void hold(struct gm_as *as)
{
	__atomic_store_n(&tc.let_go, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&tc.waiting, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&tc.held, as, __ATOMIC_RELEASE);
}

static void await_held(void)
{
	while (!__atomic_load_n(&tc.waiting, __ATOMIC_ACQUIRE))
		gm_os_wait(&tc.waiting, 0);
}

static void let_go(void)
{
	__atomic_store_n(&tc.held, NULL, __ATOMIC_RELEASE);
	__atomic_store_n(&tc.let_go, 1, __ATOMIC_RELEASE);
	gm_os_wake(&tc.let_go);
}

/*
 * While one address space is locked for long, and a fault of it waits, all others go on:
 * faults, calls, creation, destruction. Else this does not end.
 */
static void nobody_waits(uint32_t flags)
{
	struct tc_bench b = tc_set_up(flags), locked = tc_set_up(flags), c;
	void *p = (void *)(uintptr_t)b.va;
	struct gm_page_info info;
	pthread_t t;

	*tc_word(locked.va) = 1;
	tc_to_dev(locked.r, locked.va);
	tc_to_dev(b.r, b.va);
	tc_to_dev(b.r, b.va + PAGE);
	hold(locked.as);
	pthread_create(&t, NULL, read_word, &locked.va);
	await_held();

	assert_int_equal(*tc_word(b.va), 0);
	assert_int_equal(hmadvise(0, p, PAGE, GM_COLD), 0);
	assert_int_equal(hmemcpy(GM_NODE_NONE, p, (void *)(uintptr_t)locked.va, 8), 0);
	assert_int_equal(tc.copied, 3);
	assert_int_equal(gm_query(p, PAGE, &info), 0);
	c.as = tc_as(flags);
	c.obj = tc_object(BLOCK, 0);
	c.r = tc_map(c.as, c.obj, 0, BLOCK);
	tc_to_dev(c.r, c.r->va);
	assert_int_equal(*tc_word(c.r->va), 0);
	tc_tear_down(&c);
	assert_int_equal(*tc_word(b.va + PAGE), 0);
	assert_int_equal(tc.waiting, 1); /* it was asked for nothing but its own */
	assert_int_equal(tc.faults, 3);

	let_go();
	pthread_join(t, NULL);
	tc_tear_down(&locked);
	tc_tear_down(&b);
}

static void test_nobody_waits(void **state)
{
	(void)state;
	nobody_waits(GM_AS_INLINE);
	nobody_waits(0);
}

static void *stop_it(void *arg)
{
	struct gm_as *as = arg;

	gm_os_as_stop(as);
	return (void *)(uintptr_t)__atomic_load_n(&tc.let_go, __ATOMIC_ACQUIRE);
}

/* An address space is not stopped while a fault of it is being serviced. */
static void stop_waits(uint32_t flags)
{
	struct tc_bench b = tc_set_up(flags);
	pthread_t faulter, stopper;
	void *let;

	tc_to_dev(b.r, b.va);
	hold(b.as);
	pthread_create(&faulter, NULL, read_word, &b.va);
	await_held();
	pthread_create(&stopper, NULL, stop_it, b.as);
	usleep(20000);
	let_go();
	pthread_join(stopper, &let);
	assert_ptr_equal(let, 1);
	pthread_join(faulter, NULL);
	tc_tear_down(&b);
}

static void test_stop_waits(void **state)
{
	(void)state;
	stop_waits(GM_AS_INLINE);
	stop_waits(0);
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

static void failing(uint32_t flags, int err)
{
	struct sigaction saved;
	struct tc_bench b;

	catch (SIGBUS, &saved); /* first, so that inline delivery finds it there */
	b = tc_set_up(flags);
	*tc_word(b.va + 8) = 77;
	tc_to_dev(b.r, b.va);
	tc.fail = err;
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
	tc_tear_down(&b);
	sigaction(SIGBUS, &saved, NULL);
}

static void test_device_fails(void **state)
{
	(void)state;
	failing(0, -EIO);
	failing(GM_AS_INLINE, -EIO);
	alarm(60);	     /* ends what would fault for ever */
	failing(0, -EFAULT); /* a driver's: the memory is managed all the same */
	alarm(0);
	failing(GM_AS_INLINE, -EFAULT);
}

/* What can never be mapped is a failure, and no endless loop, which the alarm would end. */
static int child_no_page(uint32_t flags)
{
	struct tc_bench b = tc_set_up(flags);

	tc_to_dev(b.r, b.va);
	if (*tc_word(b.va))
		return 1;
	tc.no_page = true;
	gm_os_backing_free(b.obj, 0, BLOCK);
	mprotect(gm_user_object(b.obj)->alias, BLOCK, PROT_NONE); /* or it would be made */
	alarm(20);
	(void)*tc_word(b.va);
	return 2;
}

static void test_cannot_be_mapped(void **state)
{
	(void)state;
	proc_dies("no-page", SIGBUS);
	proc_dies("no-page-inline", SIGBUS);
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
	struct tc_bench b;
	int fds[2];

	(void)state;
	if (!kernel_can_poison())
		skip(); /* Linux 6.6: until then the system call waits for the device */
	b = tc_set_up(0);
	catch (SIGBUS, &saved);
	assert_int_equal(pipe(fds), 0);
	*tc_word(b.va) = 77;
	*tc_word(b.va + PAGE) = 78;
	assert_int_equal(mlock((void *)(uintptr_t)b.va, 2 * PAGE), 0);
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
	tc_tear_down(&b);
	sigaction(SIGBUS, &saved, NULL);
}

struct writer {
	int fd;
	uint64_t va;
	int err;
	pthread_t t;
};

static void *write_it(void *arg)
{
	struct writer *w = arg;

	w->err = write(w->fd, (void *)(uintptr_t)w->va, 8) < 0 ? -errno : 0;
	return NULL;
}

static void start_writer(struct writer *w)
{
	tc.faults = 0;
	pthread_create(&w->t, NULL, write_it, w);
	while (tc.faults < 6)
		usleep(1000);
}

/*
 * A kernel that cannot poison: a system call tries until the device works again, or the
 * memory goes; a thread of user code is told each time.
 */
static void test_device_fails_no_poison(void **state)
{
	struct sigaction saved;
	struct tc_bench b = tc_set_up(0);
	struct writer w = { .va = b.va };
	uint64_t word;
	int fds[2];

	(void)state;
	gm_user_as(b.as)->features &= ~(1ULL << 14);
	catch (SIGBUS, &saved);
	assert_int_equal(pipe(fds), 0);
	w.fd = fds[1];
	*tc_word(b.va) = 77;
	tc_to_dev(b.r, b.va);
	tc.fail = -EIO;
	for (unsigned int i = 0; i < 8; i++)
		assert_true(faults(b.va));
	stay = true;
	start_writer(&w);
	tc.fail = 0;
	pthread_join(w.t, NULL);
	assert_int_equal(w.err, 0);
	assert_int_equal(read(fds[0], &word, 8), 8);
	assert_int_equal(word, 77);

	tc_to_dev(b.r, b.va);
	tc.fail = -EIO;
	start_writer(&w);
	tc_unmap(b.r);
	pthread_join(w.t, NULL);
	assert_int_equal(w.err, -EFAULT);
	stay = false;
	tc_object_free(b.obj);
	tc_as_free(b.as);
	close(fds[0]);
	close(fds[1]);
	sigaction(SIGBUS, &saved, NULL);
}

/*
 * The bytes of a page are gone: as if the machine's own memory had failed there, each time,
 * until the page is dropped. With the kernel's mark or, where it has none, without.
 */
static void gone(uint32_t flags, bool mark)
{
	struct sigaction saved;
	struct tc_bench b;
	int fds[2];

	catch (SIGBUS, &saved);
	b = tc_set_up(flags);
	if (!mark)
		gm_user_as(b.as)->features &= ~(1ULL << 14);
	assert_int_equal(pipe(fds), 0);
	*tc_word(b.va + 8) = 77;
	tc_to_dev(b.r, b.va);
	tc.fail = -EHWPOISON;
	for (unsigned int i = 1; i <= 6; i++) {
		assert_true(faults(b.va + 8));
		assert_int_equal(nr_got, i);
		assert_int_equal(got.si_signo, SIGBUS);
		assert_int_equal(got.si_code, BUS_MCEERR_AR);
		assert_int_equal(got.si_addr_lsb, 12);
		assert_ptr_equal(got.si_addr, tc_word(b.va + 8));
	}
	if (mark && !flags)
		assert_int_equal(write_word(fds[1], b.va), -EFAULT);
	tc.fail = 0;
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, PAGE), 0);
	assert_false(faults(b.va + 8));
	assert_int_equal(*tc_word(b.va + 8), 77);
	assert_int_equal(__atomic_load_n(&gm_user_as(b.as)->nr_poisoned, __ATOMIC_RELAXED), 0);
	close(fds[0]);
	close(fds[1]);
	tc_tear_down(&b);
	sigaction(SIGBUS, &saved, NULL);
}

static void test_bytes_gone(void **state)
{
	(void)state;
	gone(GM_AS_INLINE, false);
	gone(0, false);
	if (kernel_can_poison())
		gone(0, true);
}

/* More failing pages at a time than the table holds; poison that is there at unmap. */
static void test_many_fail(void **state)
{
	struct sigaction saved;
	struct tc_bench b = tc_set_up(0);
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
	tc_tear_down(&b);
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
static int child_blocked(uint32_t flags)
{
	struct tc_bench b = tc_set_up(flags);
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
	struct tc_bench b = tc_set_up(flags);

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

static const struct {
	const char *name;
	int (*run)(uint32_t arg);
	uint32_t arg;
} children[] = {
	{ "blocked", child_blocked, 0 },
	{ "no-page", child_no_page, 0 },
	{ "no-page-inline", child_no_page, GM_AS_INLINE },
	{ "unmanaged-inline", child_unmanaged, GM_AS_INLINE },
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
		cmocka_unit_test(test_thread),
		cmocka_unit_test(test_inline),
		cmocka_unit_test(test_put_aside),
		cmocka_unit_test(test_contended),
		cmocka_unit_test(test_syscalls),
		cmocka_unit_test(test_nobody_waits),
		cmocka_unit_test(test_stop_waits),
		cmocka_unit_test(test_device_fails),
		cmocka_unit_test(test_cannot_be_mapped),
		cmocka_unit_test(test_device_fails_syscall),
		cmocka_unit_test(test_device_fails_no_poison),
		cmocka_unit_test(test_bytes_gone),
		cmocka_unit_test(test_many_fail),
		cmocka_unit_test(test_dies),
	};

	if (argc == 3 && !strcmp(argv[1], "child"))
		_exit(run_child(argv[2])); /* no look for leaks: it has given up its rights */
	return cmocka_run_group_tests_name("host_faults", tests, warm_up, NULL);
}
