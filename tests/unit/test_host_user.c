// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The linux-user host: locks, deferred work, what the machine is like, diagnostics.
 * Backing and mappings are in test_host_map.c, faults in test_host_faults.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/linux-user/user.h"
#include "host_user_core.h"

/* ------------------------------------------------------------------- locks and waiting */

struct shared {
	struct gm_os_mutex mutex;
	struct gm_os_spin spin;
	struct gm_os_rwlock rw;
	uint32_t word;
	uint64_t by_mutex, by_spin, by_rw; /* each guarded by one lock */
	uint64_t *state;
	bool got;
};

static void *try_it(void *arg)
{
	struct shared *s = arg;

	s->got = gm_os_mutex_trylock(&s->mutex);
	s->state = gm_os_lock_state();
	*s->state = 1;
	return NULL;
}

static void *count_up(void *arg)
{
	struct shared *s = arg;

	for (unsigned int i = 0; i < 5000; i++) {
		gm_os_mutex_lock(&s->mutex);
		s->by_mutex++;
		gm_os_mutex_unlock(&s->mutex);
		gm_os_spin_lock(&s->spin);
		s->by_spin++;
		gm_os_spin_unlock(&s->spin);
		gm_os_rwlock_wrlock(&s->rw);
		s->by_rw++;
		gm_os_rwlock_unlock(&s->rw);
	}
	return NULL;
}

static void test_locks(void **state)
{
	struct shared s = { .got = false };
	pthread_t t[2];

	(void)state;
	gm_os_mutex_init(&s.mutex);
	gm_os_spin_init(&s.spin);
	gm_os_rwlock_init(&s.rw);

	gm_os_mutex_lock(&s.mutex);
	s.got = true;
	pthread_create(&t[0], NULL, try_it, &s);
	pthread_join(t[0], NULL);
	assert_false(s.got);
	assert_ptr_not_equal(s.state, gm_os_lock_state());
	assert_int_equal(*gm_os_lock_state(), 0);
	gm_os_mutex_unlock(&s.mutex);
	assert_true(gm_os_mutex_trylock(&s.mutex));
	gm_os_mutex_unlock(&s.mutex);

	for (unsigned int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, count_up, &s);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	gm_os_rwlock_rdlock(&s.rw);
	assert_int_equal(s.by_rw, 10000);
	gm_os_rwlock_unlock(&s.rw);
	assert_int_equal(s.by_mutex, 10000);
	assert_int_equal(s.by_spin, 10000);

	gm_os_rwlock_destroy(&s.rw);
	gm_os_spin_destroy(&s.spin);
	gm_os_mutex_destroy(&s.mutex);
}

static void *write_once(void *arg)
{
	struct shared *s = arg;

	gm_os_rwlock_wrlock(&s->rw);
	s->by_rw++;
	gm_os_rwlock_unlock(&s->rw);
	return NULL;
}

static void *read_for_ever(void *arg)
{
	struct shared *s = arg;
	uint64_t seen = 0;

	while (!seen) {
		gm_os_rwlock_rdlock(&s->rw);
		seen = s->by_rw;
		gm_os_rwlock_unlock(&s->rw);
	}
	return NULL;
}

/* Readers that never cease do not keep a writer out: else this does not end. */
static void test_writer_gets_in(void **state)
{
	struct shared s = { .by_rw = 0 };
	pthread_t readers[2], writer;

	(void)state;
	gm_os_rwlock_init(&s.rw);
	for (unsigned int i = 0; i < 2; i++)
		pthread_create(&readers[i], NULL, read_for_ever, &s);
	pthread_create(&writer, NULL, write_once, &s);
	pthread_join(writer, NULL);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	gm_os_rwlock_destroy(&s.rw);
}

static void *wait_on_word(void *arg)
{
	struct shared *s = arg;

	while (!__atomic_load_n(&s->word, __ATOMIC_ACQUIRE))
		gm_os_wait(&s->word, 0);
	return NULL;
}

static void test_wait_and_time(void **state)
{
	struct shared s = { .word = 0 };
	uint64_t before = gm_os_now_ns();
	pthread_t t;

	(void)state;
	gm_os_wait(&s.word, 1); /* it is not 1: returns at once */
	pthread_create(&t, NULL, wait_on_word, &s);
	usleep(2000);
	gm_os_yield(0);
	__atomic_store_n(&s.word, 1, __ATOMIC_RELEASE);
	gm_os_wake(&s.word);
	pthread_join(t, NULL);
	assert_true(gm_os_now_ns() - before >= 2000000);
}

static void test_alloc(void **state)
{
	struct proc_resources before = proc_resources();
	uint64_t bus;
	char *p;

	(void)state;
	p = gm_os_alloc(5000);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % PAGE, 0);
	for (unsigned int i = 0; i < 5000; i++)
		assert_int_equal(p[i], 0);
	gm_os_free(p, 5000);
	gm_os_free(NULL, 5000);
	assert_null(gm_os_alloc((size_t)1 << 50));
	p = gm_os_bounce_alloc(BLOCK, &bus);
	assert_int_equal((uintptr_t)p, bus);
	gm_os_bounce_free(p, BLOCK, bus);
	proc_assert_same(before);
}

static void test_copy_plain(void **state)
{
	char *p = gm_os_alloc(4 * PAGE), *q = gm_os_alloc(4 * PAGE);

	(void)state;
	memset(p, 7, 4 * PAGE);
	assert_int_equal(gm_os_copy_plain(q + 1, p, 3 * PAGE), 0);
	assert_int_equal(q[0], 0);
	assert_int_equal(q[3 * PAGE], 7);
	assert_int_equal(q[3 * PAGE + 1], 0);
	munmap(p + 2 * PAGE, PAGE);
	assert_int_equal(gm_os_copy_plain(q, p, 4 * PAGE), -EFAULT);
	assert_int_equal(gm_os_copy_plain(p, q, 4 * PAGE), -EFAULT);
	gm_os_free(p, 4 * PAGE);
	gm_os_free(q, 4 * PAGE);
}

/* ----------------------------------------------------------------------- deferred work */

struct job {
	struct gm_os_work work;
	uint32_t runs, go, again;
};

static void run_job(struct gm_os_work *work)
{
	struct job *j = (struct job *)((char *)work - offsetof(struct job, work));

	__atomic_fetch_add(&j->runs, 1, __ATOMIC_RELEASE);
	gm_os_wake(&j->runs);
	while (!__atomic_load_n(&j->go, __ATOMIC_ACQUIRE))
		gm_os_wait(&j->go, 0);
	if (j->again) {
		j->again--;
		gm_os_work_schedule(work);
	}
}

static void await_runs(struct job *j, uint32_t n)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(&j->runs, __ATOMIC_ACQUIRE)) < n)
		gm_os_wait(&j->runs, seen);
}

static void let_go(struct job *j)
{
	__atomic_store_n(&j->go, 1, __ATOMIC_RELEASE);
	gm_os_wake(&j->go);
}

static void *let_go_later(void *arg)
{
	usleep(5000);
	let_go(arg);
	return NULL;
}

static void test_work(void **state)
{
	struct job j = { .work = { .fn = run_job } }, k = { .work = { .fn = run_job }, .go = 1 };
	struct job l = k;
	struct proc_resources before = proc_resources();
	pthread_t t;

	(void)state;
	/* Without an address space it waits for one. */
	gm_os_work_schedule(&j.work);
	gm_os_work_cancel(&j.work);
	gm_os_work_schedule(&j.work);
	assert_int_equal(gm_worker_get(), 0);
	assert_int_equal(gm_worker_get(), 0);
	await_runs(&j, 1);

	/* While one runs, others queue; what is pending is not queued twice. */
	gm_os_work_schedule(&k.work);
	gm_os_work_schedule(&k.work);
	gm_os_work_schedule(&l.work);
	gm_os_work_schedule(&j.work);
	gm_os_work_cancel(&l.work);
	gm_os_work_cancel(&l.work); /* idle: nothing to do */
	let_go(&j);
	await_runs(&j, 2);
	gm_os_work_cancel(&j.work);
	gm_os_work_cancel(&k.work);
	assert_int_equal(k.runs, 1);
	assert_int_equal(l.runs, 0);

	/* Cancel waits for a run that has begun. */
	j = (struct job){ .work = { .fn = run_job } };
	gm_os_work_schedule(&j.work);
	await_runs(&j, 1);
	pthread_create(&t, NULL, let_go_later, &j);
	gm_os_work_cancel(&j.work);
	assert_int_equal(__atomic_load_n(&j.go, __ATOMIC_ACQUIRE), 1);
	pthread_join(t, NULL);

	/* What is queued is finished before the worker ends, what it queues itself too. */
	j = (struct job){ .work = { .fn = run_job }, .go = 1, .again = 2 };
	gm_os_work_schedule(&j.work);
	gm_worker_put();
	gm_worker_put();
	assert_int_equal(j.runs, 3);
	proc_assert_same(before);
}

/* ------------------------------------------------------------------------ the machine */

static char dir[] = "/tmp/gmem-test-XXXXXX";

static void put_file(const char *name, const char *text)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void drop_file(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

static bool low_now(void)
{
	gm_memory_low_reset();
	return gm_os_host_memory_low();
}

static bool low_in_cgroup(const char *max, const char *current)
{
	put_file("memory.max", max);
	put_file("memory.current", current);
	return low_now();
}

static void test_memory_low(void **state)
{
	const char *meminfo = gm_path_meminfo, *self = gm_path_self_cgroup, *cg = gm_path_cgroup;
	char meminfo_path[64], self_path[64];

	(void)state;
	assert_true(gm_os_host_memory_total() > 1ULL << 20);
	assert_non_null(mkdtemp(dir));
	snprintf(meminfo_path, sizeof(meminfo_path), "%s/meminfo", dir);
	snprintf(self_path, sizeof(self_path), "%s/self", dir);
	gm_path_meminfo = meminfo_path;
	gm_path_self_cgroup = self_path;
	gm_path_cgroup = dir;

	assert_false(low_now()); /* nothing can be read */
	put_file("meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   51 kB\n");
	assert_false(low_now());
	put_file("meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   49 kB\n");
	assert_true(low_now());
	put_file("meminfo", "MemTotal:  1000 kB\nMemAvailable:   900 kB\n");
	put_file("self", "4:cpu:/elsewhere\n0::/\n");
	assert_false(low_in_cgroup("max\n", "999\n"));
	assert_false(low_in_cgroup("1000\n", "940\n"));
	assert_true(low_in_cgroup("1000\n", "960\n"));
	put_file("self", "4:cpu:/elsewhere\n");
	assert_true(gm_os_host_memory_low()); /* the answer is kept for a moment */
	assert_false(low_now());

	drop_file("meminfo");
	drop_file("self");
	drop_file("memory.max");
	drop_file("memory.current");
	rmdir(dir);
	gm_path_meminfo = meminfo;
	gm_path_self_cgroup = self;
	gm_path_cgroup = cg;
	gm_memory_low_reset();
}

static void run_for_ever(struct gm_os_work *work)
{
	struct job *j = (struct job *)((char *)work - offsetof(struct job, work));

	if (!__atomic_load_n(&j->go, __ATOMIC_ACQUIRE))
		gm_os_work_schedule(work);
}

/* While much is retained the worker looks by itself, once a second, and if it is @busy too. */
static void memory_watch(bool busy)
{
	struct job j = { .work = { .fn = busy ? run_for_ever : run_job }, .go = !busy };
	const char *meminfo = gm_path_meminfo;
	char path[] = "/tmp/gmem-meminfo-XXXXXX";
	const char text[] = "MemTotal: 1000 kB\nMemAvailable: 1 kB\n";
	int fd = mkstemp(path);

	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	gm_path_meminfo = path;
	gm_memory_low_reset();
	tc.low_calls = 0;
	__atomic_store_n(&tc.retained, 1ULL << 30, __ATOMIC_RELAXED);
	assert_int_equal(gm_worker_get(), 0);
	gm_os_work_schedule(&j.work); /* the core schedules something when it retains more */
	for (unsigned int i = 0; i < 600 && !__atomic_load_n(&tc.low_calls, __ATOMIC_RELAXED); i++)
		usleep(100000);
	assert_true(__atomic_load_n(&tc.low_calls, __ATOMIC_RELAXED) > 0);
	__atomic_store_n(&tc.retained, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&j.go, 1, __ATOMIC_RELEASE);
	gm_worker_put();
	gm_path_meminfo = meminfo;
	gm_memory_low_reset();
	unlink(path);
}

static void test_memory_watch(void **state)
{
	(void)state;
	memory_watch(false);
	memory_watch(true);
}

static int nodes_of(const char *text)
{
	const char *saved = gm_path_nodes;
	char path[] = "/tmp/gmem-nodes-XXXXXX";
	int fd = mkstemp(path), n;

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	gm_path_nodes = path;
	n = gm_os_numa_nodes();
	gm_path_nodes = saved;
	unlink(path);
	return n;
}

static void test_nodes(void **state)
{
	const char *saved = gm_path_nodes;

	(void)state;
	assert_true(gm_os_numa_nodes() >= 1);
	assert_int_equal(nodes_of("0\n"), 1);
	assert_int_equal(nodes_of("0-3\n"), 4);
	assert_int_equal(nodes_of("0,2-17\n"), 18);
	assert_int_equal(nodes_of("\n"), 1);
	assert_int_equal(nodes_of("99999999\n"), 1);
	gm_path_nodes = "/nonexistent";
	assert_int_equal(gm_os_numa_nodes(), 1);
	gm_path_nodes = saved;
}

/* ------------------------------------------------------------------------- diagnostics */

static int child_warn(void)
{
	char longest[1000];

	gm_os_warn("one line", NULL);
	gm_os_warn("another", "with an argument");
	setenv("GMEM_QUIET", "1", 1);
	gm_os_warn("unseen", NULL);
	unsetenv("GMEM_QUIET");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	gm_os_warn(longest, longest);
	return 0;
}

static int child_bug(void)
{
	gm_os_bug("file.c", 1234, "what happened");
}

static void test_diagnostics(void **state)
{
	char said[1024];
	int status;

	(void)state;
	assert_int_equal(proc_child("warn", said, sizeof(said)), 0);
	assert_ptr_equal(strstr(said, "gmem: one line\ngmem: another: with an argument\ngmem: xx"),
			 said);
	assert_true(strlen(said) < 500);
	assert_int_equal(said[strlen(said) - 1], '\n');
	status = proc_child("bug", said, sizeof(said));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_string_equal(said, "gmem: bug: file.c:1234: what happened\n");
}

static void test_bits(void **state)
{
	uint64_t bits[4] = { 0 };
	bool v;

	(void)state;
	gm_bits_set(bits, 60, 100);
	assert_int_equal(gm_bits_run(bits, 0, 256, &v), 60);
	assert_false(v);
	assert_int_equal(gm_bits_run(bits, 60, 196, &v), 100);
	assert_true(v);
	assert_int_equal(gm_bits_run(bits, 60, 50, &v), 50);
	assert_int_equal(gm_bits_run(bits, 160, 96, &v), 96);
	assert_false(v);
	gm_bits_clear(bits, 64, 64);
	assert_int_equal(gm_bits_run(bits, 60, 196, &v), 4);
	assert_int_equal(gm_bits_run(bits, 64, 100, &v), 64);
	gm_bits_set(bits, 0, 256);
	assert_int_equal(gm_bits_run(bits, 0, 256, &v), 256);
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
		cmocka_unit_test(test_bits),	       cmocka_unit_test(test_locks),
		cmocka_unit_test(test_writer_gets_in), cmocka_unit_test(test_wait_and_time),
		cmocka_unit_test(test_alloc),	       cmocka_unit_test(test_copy_plain),
		cmocka_unit_test(test_work),	       cmocka_unit_test(test_memory_low),
		cmocka_unit_test(test_memory_watch),   cmocka_unit_test(test_nodes),
		cmocka_unit_test(test_diagnostics),
	};

	if (argc == 3 && !strcmp(argv[1], "child"))
		return !strcmp(argv[2], "warn") ? child_warn() : child_bug();
	return cmocka_run_group_tests_name("host_user", tests, warm_up, NULL);
}
