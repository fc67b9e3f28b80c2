// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Readers of events on the linux-user host: what each gets and loses, what poll says, readers that
 * come and go while events are told, and what a child of fork() has of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <gmem/driver.h>
#include <gmem/events.h>
#include <gmem/sim.h>

#include "core/os.h"
#include "process.h"

#define PAGE GM_PAGE_SIZE
#define KIND(kind) (1U << GM_EVENT_##kind)

/* An event of nobody's, with a number in it. */
static void tell(enum gm_event_kind kind, uint64_t n)
{
	struct gm_event ev = { .kind = kind, .offset = n, .time = n, .from = 7, .to = 8 };

	gm_os_trace(&ev);
}

static struct gm_events *reader(uint32_t kinds, uint32_t records)
{
	struct gm_events_options opt = { .size = sizeof(opt), .kinds = kinds, .records = records };
	struct gm_events *e;

	assert_int_equal(gm_events_open(&opt, &e), 0);
	return e;
}

static bool readable(struct gm_events *e)
{
	struct pollfd p = { .fd = gm_events_fd(e), .events = POLLIN };

	assert_true(p.fd >= 0);
	return poll(&p, 1, 0) == 1;
}

static uint64_t lost(struct gm_events *e)
{
	uint64_t n;

	assert_int_equal(gm_events_lost(e, &n), 0);
	return n;
}

static void bad_input(void **state)
{
	struct gm_events_options opt = { .size = sizeof(opt) };
	struct {
		struct gm_events_options opt;
		uint64_t more;
	} newer = { .opt = { .size = sizeof(newer) }, .more = 1 };
	struct gm_event_record r;
	struct gm_events *e;
	uint64_t n;

	(void)state;
	assert_int_equal(gm_events_open(&opt, NULL), -EINVAL);
	opt.flags = 2;
	assert_int_equal(gm_events_open(&opt, &e), -EINVAL);
	opt.flags = 0;
	opt.kinds = 1U << GM_EVENT_KINDS;
	assert_int_equal(gm_events_open(&opt, &e), -EINVAL);
	opt.kinds = 0;
	opt.records = GM_EVENTS_MAX + 1;
	assert_int_equal(gm_events_open(&opt, &e), -EINVAL);
	assert_int_equal(gm_events_open(&newer.opt, &e), -E2BIG);
	newer.more = 0;
	assert_int_equal(gm_events_open(&newer.opt, &e), 0);
	assert_int_equal(gm_events_read(NULL, &r, 1), -EINVAL);
	assert_int_equal(gm_events_read(e, NULL, 1), -EINVAL);
	assert_int_equal(gm_events_read(e, NULL, 0), 0);
	assert_int_equal(gm_events_read(e, &r, 0x80000000U), -EINVAL);
	assert_int_equal(gm_events_fd(NULL), -EINVAL);
	assert_int_equal(gm_events_lost(NULL, &n), -EINVAL);
	assert_int_equal(gm_events_lost(e, NULL), -EINVAL);
	gm_events_close(e);
	gm_events_close(NULL);
}

/* Each has those of its kinds, in order, and its own count of what did not fit. */
static void several(void **state)
{
	struct gm_events *all = reader(0, 0), *few = reader(KIND(THRASH) | KIND(REMOVE), 4);
	struct gm_event_record r[16];

	(void)state;
	assert_false(readable(all) || readable(few));
	for (uint64_t i = 0; i < 10; i++)
		tell(i % 2 ? GM_EVENT_THRASH : GM_EVENT_FAULT, i);
	assert_true(readable(all) && readable(few));
	assert_int_equal(gm_events_read(all, r, 16), 10);
	for (uint64_t i = 0; i < 10; i++) {
		assert_int_equal(r[i].version, GM_EVENT_VERSION);
		assert_int_equal(r[i].size, sizeof(r[i]));
		assert_int_equal(r[i].kind, i % 2 ? GM_EVENT_THRASH : GM_EVENT_FAULT);
		assert_true(r[i].offset == i && r[i].time == i);
		assert_true(r[i].from == 7 && r[i].to == 8 && !r[i].as && !r[i].object);
		assert_int_equal(r[i].tid, gettid());
		assert_int_equal(r[i].pid, 0); /* nobody's */
		assert_true(!r[i].reserved0 && !r[i].reserved);
	}
	assert_int_equal(lost(all), 0);
	assert_int_equal(lost(few), 1);
	assert_int_equal(gm_events_read(few, r, 3), 3);
	assert_true(readable(few)); /* there is one more */
	assert_int_equal(gm_events_read(few, r + 3, 3), 1);
	assert_false(readable(few) || readable(all));
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(r[i].offset, 2 * i + 1); /* the newest is what went */
	tell(GM_EVENT_REMOVE, 99);
	assert_true(readable(few));
	assert_int_equal(gm_events_read(few, r, 1), 1);
	assert_int_equal(r[0].offset, 99);
	gm_events_close(all);
	tell(GM_EVENT_REMOVE, 100);
	assert_int_equal(gm_events_read(few, r, 9), 1);
	gm_events_close(few);
	tell(GM_EVENT_REMOVE, 101); /* nobody, and no harm */
}

/* As many as there are places for; without a descriptor or a place nothing is left behind. */
static void no_room(void **state)
{
	struct gm_events *e[64], *more;
	struct rlimit was, now;
	unsigned int fds;

	(void)state;
	fds = proc_resources().fds;
	for (unsigned int i = 0; i < 64; i++)
		e[i] = reader(KIND(REMOVE), 2);
	assert_int_equal(gm_events_open(NULL, &more), -ENOSPC);
	tell(GM_EVENT_REMOVE, 1);
	for (unsigned int i = 0; i < 64; i++) {
		struct gm_event_record r;

		assert_int_equal(gm_events_read(e[i], &r, 1), 1);
		gm_events_close(e[i]);
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	now = was;
	now.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	assert_int_equal(gm_events_open(NULL, &more), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(gm_events_open(NULL, &more), 0);
	gm_events_close(more);
	assert_int_equal(proc_resources().fds, fds);
}

static int child_of_fork(struct gm_events *e)
{
	struct gm_event_record r;
	struct gm_events *own;
	uint64_t n;

	if (gm_events_open(NULL, &own) != -EPERM || gm_events_read(e, &r, 1) != -EPERM)
		return 1;
	if (gm_events_fd(e) != -EPERM || gm_events_lost(e, &n) != -EPERM)
		return 2;
	gm_events_close(e);
	return 0;
}

/* A child has none, and takes nothing from its parent's. */
static void fork_away(void **state)
{
	struct gm_events *e = reader(KIND(FAULT), 0);
	struct gm_event_record r;
	int status;
	pid_t pid;

	(void)state;
	tell(GM_EVENT_FAULT, 1);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(child_of_fork(e));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(readable(e));
	assert_int_equal(gm_events_read(e, &r, 1), 1);
	gm_events_close(e);
}

/* ------------------------------------------------------------------------ at once */

static struct {
	int stop; /* atomic */
	uint64_t told;
	bool bad; /* atomic */
} busy;

static void *keep_telling(void *arg)
{
	uint64_t n = 0;

	(void)arg;
	while (!__atomic_load_n(&busy.stop, __ATOMIC_RELAXED)) {
		tell(n % 3 ? GM_EVENT_MIGRATE : GM_EVENT_EVICT, n);
		n++;
	}
	__atomic_fetch_add(&busy.told, n, __ATOMIC_RELAXED);
	return NULL;
}

static void *come_and_go(void *arg)
{
	struct gm_event_record r[8];

	(void)arg;
	for (unsigned int i = 0; i < 200; i++) {
		struct gm_events *e = reader(i % 2 ? KIND(EVICT) : 0, 16);

		for (unsigned int j = 0; j < 20; j++) {
			int n = gm_events_read(e, r, 8);

			for (int k = 0; k < n; k++)
				if (r[k].size != sizeof(r[k]) || (i % 2 && r[k].offset % 3))
					__atomic_store_n(&busy.bad, true, __ATOMIC_RELAXED);
			sched_yield();
		}
		gm_events_close(e);
	}
	return NULL;
}

/* Readers are opened, read and closed while two threads tell. */
static void closed_while_told(void **state)
{
	pthread_t teller[2], other[2];

	(void)state;
	memset(&busy, 0, sizeof(busy));
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&teller[i], NULL, keep_telling, NULL), 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&other[i], NULL, come_and_go, NULL), 0);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(other[i], NULL);
	__atomic_store_n(&busy.stop, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(teller[i], NULL);
	assert_false(busy.bad);
	assert_true(busy.told > 0);
}

#define TOLD 30000U

static void *tell_many(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < TOLD; i++) {
		tell(GM_EVENT_POISON, i);
		if (i % 50 == 0)
			sched_yield();
	}
	return NULL;
}

/* Who sleeps in poll until there is something never sleeps with something there; none is uncounted. */
static void no_wakeup_lost(void **state)
{
	struct gm_events *e = reader(KIND(POISON), 64);
	struct pollfd p = { .fd = gm_events_fd(e), .events = POLLIN };
	struct gm_event_record r[40];
	uint64_t got = 0;
	pthread_t t[2];

	(void)state;
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, tell_many, NULL), 0);
	while (got + lost(e) < 2 * TOLD) {
		int n = gm_events_read(e, r, 40);

		assert_true(n >= 0);
		got += (unsigned int)n;
		/* The last may have come, or been lost, since. */
		if (n < 40 && got + lost(e) < 2 * TOLD)
			assert_true(poll(&p, 1, 200) == 1 || got + lost(e) == 2 * TOLD);
	}
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(got + lost(e), 2 * TOLD);
	assert_false(gm_events_read(e, r, 1));
	gm_events_close(e);
}

/* ------------------------------------------------------------------- with faults */

/* The buffer is on a device: reading brings it home, and that is an event, too. */
static void into_managed_memory(void **state)
{
	static const uint32_t flags[] = { 0, GM_AS_INLINE };
	struct gm_sim_options opt = { .size = sizeof(opt), .memory = 8 << 20 };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct gm_as_options as_opt = { .size = sizeof(as_opt), .flags = flags[i] };
		struct pollfd fd = { .events = POLLIN };
		struct gm_event_record *r, last;
		struct gm_sim_ctx *ctx;
		struct gm_events *e;
		struct gm_sim *sim;
		struct gm_as *as;
		void *p;

		assert_int_equal(gm_as_create(&as_opt, &as), 0);
		assert_int_equal(gm_sim_create(&opt, &sim), 0);
		assert_int_equal(gm_sim_attach(sim, as, &ctx), 0);
		assert_int_equal(gm_alloc(as, 4 * PAGE, 0, &p), 0);
		assert_int_equal(hmadvise(gm_dev_hnode(gm_sim_dev(sim)), p, 4 * PAGE, GM_PREFETCH),
				 0);
		e = reader(KIND(FAULT), 8);
		tell(GM_EVENT_FAULT, 12345);
		r = p;
		assert_int_equal(gm_events_read(e, r, 1), 1);
		assert_int_equal(r->offset, 12345);
		fd.fd = gm_events_fd(e);
		/* A service thread tells when it is done; what was read before may have left a wake-up. */
		do
			assert_int_equal(poll(&fd, 1, 10000), 1);
		while (!gm_events_read(e, &last, 1));
		assert_int_equal(last.kind, GM_EVENT_FAULT);
		assert_int_equal(last.why, GM_WHY_CPU_FAULT);
		assert_true(last.addr >= (uintptr_t)p && last.addr < (uintptr_t)p + 128);
		assert_int_equal(last.dev_addr, 0);
		assert_int_equal(last.from, gm_dev_hnode(gm_sim_dev(sim)));
		assert_int_equal(last.pid, getpid());
		assert_int_equal(last.tid == gettid(), flags[i] == GM_AS_INLINE);
		gm_events_close(e);
		assert_int_equal(gm_as_destroy(as), 0);
		assert_int_equal(gm_sim_destroy(sim), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_input),
		cmocka_unit_test(several),
		cmocka_unit_test(no_room),
		cmocka_unit_test(fork_away),
		cmocka_unit_test(closed_while_told),
		cmocka_unit_test(no_wakeup_lost),
		cmocka_unit_test(into_managed_memory),
	};

	/* A SIGBUS of a fault is not cmocka's affair, see conformance.h. */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
