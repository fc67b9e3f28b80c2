// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The limit: what is cold goes out to the device, and so the process stays within so much of the
 * host's memory.
 *
 * Theory. A thread looks how much anonymous memory the process has in the host's, and leaves room
 * for the rest: so many bytes may be mapped until it looks again. All of the heap is armed, so
 * each page of it is mapped by a fault of gmem's, the first time it is touched as when it comes
 * home; before a fault is serviced it takes its share of the room (the linker puts
 * gm_cpu_fault_try() here in between), and where there is none it waits for the next look. As
 * room gets scarce the thread goes round the heap, like the hand of a clock, and pushes out what
 * it passes (hmadvise(), PREFETCH to the device), until there is some.
 *
 * Who is cold? Nothing tells a process without privilege which of its pages are read. But what
 * was pushed out and is needed comes back, by a fault, 4 to 64 KiB at a time. So each unit of
 * 64 KiB is judged by that. One that came back before the hand came round once is hot: the hand passes it by, once;
 * and if it comes back the next time too, three times, then seven, then fifteen. One that stayed
 * away for a round has lost that, and so has nothing more to say than one that was never out.
 * So the hot few end up untouched, whatever is streamed past them, and a unit that has cooled
 * goes out after sixteen rounds at the latest.
 *
 * Nothing is pushed to a device that is nearly full, for it would push others back. Where
 * nothing can go, for that or because it is not heap, faults get some room all the same: the program
 * goes on, above its limit.
 *
 * Arming costs bits for each page, and the range is far larger than what is handed out. So it goes ahead of
 * that in steps, by the thread; who gets memory that is not armed yet waits for that a while.
 *
 * Locking. look_lock over the room, a leaf; no fault is ever waited for with it. In fork() the
 * thread waits for its end (hmadvise() does), so no fault waits for the thread then, for the one who
 * forks may fault.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <gmem/events.h>

#include "core/fault.h"
#include "host/linux-user/user.h"
#include "preload.h"

#define UNIT GM_HEAP_UNIT
#define UNIT_PAGES (UNIT / GM_PAGE_SIZE)
#define PRESENT (1ULL << 63)

#define LOOK_NS 20000000L /* the longest between two looks */
#define FORK_NS 1000000L  /* how soon who waits sees that a fork() is under way */
#define ARM_STEP (1ULL << 30)
#define ARM_NS 500000L /* who waits for arming looks so often */
#define ARM_WAITS 50

/* What is traced is to be as it is when it is not: so what the trace needs comes on top. */
#define TRACE_BYTES (GM_EVENTS_MAX * sizeof(struct gm_event_record) + (1U << 20))

#define RESERVE 32U /* of the limit */
#define MAX_RESERVE (16ULL << 20)

#define MAX_STREAK 4U
#define MAX_ROUNDS 16ULL

/* What is known of a unit. */
struct unit {
	bool out;	/* it was pushed out when the hand came by last */
	uint8_t streak; /* so many times in a row it came back within a round */
	uint8_t passes; /* so many times the hand still passes it by */
};

static struct {
	struct gm_as *as;
	int hnode;
	uint64_t limit, hand;
	uint64_t reserve; /* bytes to be free */
	struct unit *units;
	int statm, pagemap;
	bool full;	/* the device is, and that was said */
	uint64_t armed; /* atomic: up to here the CPU's faults are gmem's; 0: no thread */
} sweep = { .statm = -1, .pagemap = -1 };

static pthread_mutex_t look_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted, looked;
static uint64_t room, looks; /* look_lock */
static bool want;	     /* look_lock: room is scarce */

int __real_gm_cpu_fault_try(struct gm_as *as, uint64_t va, uint32_t access, uint64_t *until);
int __wrap_gm_cpu_fault_try(struct gm_as *as, uint64_t va, uint32_t access, uint64_t *until);

/* ------------------------------------------------------------------------- looking */

/* Anonymous memory of the process in host memory. */
static uint64_t host_bytes(void)
{
	unsigned long long resident, shared;
	char buf[128], *p;
	ssize_t n = pread(sweep.statm, buf, sizeof(buf) - 1, 0);

	if (n <= 0)
		return 0;
	buf[n] = '\0';
	strtoull(buf, &p, 10);
	resident = strtoull(p, &p, 10);
	shared = strtoull(p, &p, 10);
	return resident > shared ? (resident - shared) * GM_PAGE_SIZE : 0;
}

static bool device_is_full(void)
{
	struct gm_hnode_info info = { .size = sizeof(info) };
	static const char say[] = "gmem: run: device memory is full: the limit is not kept\n";

	if (!gm_hnode_info(sweep.hnode, &info) && info.free > info.total / 8)
		return false;
	if (!sweep.full && write(STDERR_FILENO, say, sizeof(say) - 1) < 0)
		return true;
	sweep.full = true;
	return true;
}

/* --------------------------------------------------------------------------- judging */

/* The hand comes by: is the unit to go? */
static bool judge(struct unit *u, bool present)
{
	if (!present) {
		if (u->out)
			u->streak = 0;
		return false;
	}
	if (u->out) {
		u->out = false;
		if (u->streak < MAX_STREAK)
			u->streak++;
		u->passes = (uint8_t)((1U << u->streak) - 1);
	}
	if (u->passes) {
		u->passes--;
		return false;
	}
	u->out = true;
	return true;
}

static void push_out(uint64_t from, uint64_t end)
{
	hmadvise(sweep.hnode, (void *)(uintptr_t)from, end - from, GM_PREFETCH);
}

static bool present(const uint64_t *entries)
{
	for (unsigned int i = 0; i < UNIT_PAGES; i++)
		if (entries[i] & PRESENT)
			return true;
	return false;
}

/*
 * From the hand on to the end of its block, or until @need bytes are out: what is cold. What cannot
 * go stays; it is judged again in a round.
 */
static void sweep_on(uint64_t need)
{
	uint64_t va = sweep.hand, end = (va | (GM_BLOCK_SIZE - 1)) + 1, from = va, gone = 0;
	struct unit *u = &sweep.units[(va - gm_heap.begin) / UNIT];
	uint64_t entries[GM_BLOCK_SIZE / GM_PAGE_SIZE], *e = entries;
	size_t bytes = (end - va) / GM_PAGE_SIZE * sizeof(*e);

	sweep.hand = end;
	if (pread(sweep.pagemap, entries, bytes, (off_t)(va / GM_PAGE_SIZE * sizeof(*e))) !=
	    (ssize_t)bytes)
		return;
	for (; va < end && gone < need; va += UNIT, u++, e += UNIT_PAGES) {
		bool out = judge(u, present(e));

		gone += out ? UNIT : 0;
		if (!out && from < va)
			push_out(from, va);
		from = out ? from : va + UNIT;
	}
	if (from < va)
		push_out(from, va);
	sweep.hand = va;
}

/* look_lock is held. Room for what is left below the limit, but for @least; returns what is used. */
static uint64_t measure(uint64_t least)
{
	uint64_t used = host_bytes();

	room = used + least < sweep.limit ? sweep.limit - used : least;
	return used;
}

static uint64_t look(uint64_t least)
{
	uint64_t used;

	pthread_mutex_lock(&look_lock);
	used = measure(least);
	looks++;
	pthread_cond_broadcast(&looked);
	pthread_mutex_unlock(&look_lock);
	return used;
}

/* Until there is as little as @goal; bounded, for it may not be to be had. */
static void sweep_down(uint64_t goal)
{
	uint64_t end = __atomic_load_n(&gm_heap.next, __ATOMIC_ACQUIRE), used;
	uint64_t left = (end - gm_heap.begin) * MAX_ROUNDS, from;

	while ((used = look(0)) > goal && !device_is_full()) {
		if (sweep.hand >= end)
			sweep.hand = gm_heap.begin;
		from = sweep.hand;
		sweep_on(used - goal);
		if (left < sweep.hand - from)
			return;
		left -= sweep.hand - from;
	}
}

/* --------------------------------------------------------------------------- the thread */

/* In fork() nothing can be armed; it will be. */
static int arm_ahead(void)
{
	uint64_t next = __atomic_load_n(&gm_heap.next, __ATOMIC_ACQUIRE), va = sweep.armed;
	struct gm_region *r;
	int err = 0;

	while (!err && va < gm_heap.end && next + ARM_STEP / 2 > va) {
		uint64_t len = va + ARM_STEP < gm_heap.end ? ARM_STEP : gm_heap.end - va;

		gm_rwlock_rdlock(&sweep.as->lock, GM_RANK_AS);
		r = gm_region_find(sweep.as, va);
		err = r ? gm_os_cpu_arm(r, va, len) : -EFAULT;
		gm_rwlock_unlock(&sweep.as->lock, GM_RANK_AS);
		if (!err)
			va += len;
		__atomic_store_n(&sweep.armed, va, __ATOMIC_RELEASE);
	}
	return err;
}

static void deadline(struct timespec *t, long ns)
{
	clock_gettime(CLOCK_MONOTONIC, t);
	t->tv_nsec += ns;
	t->tv_sec += t->tv_nsec / 1000000000;
	t->tv_nsec %= 1000000000;
}

/* A program that does nothing is left alone, but for a look now and then. */
static void wait_until_wanted(void)
{
	struct timespec t;

	deadline(&t, LOOK_NS);
	pthread_mutex_lock(&look_lock);
	while (!want && !pthread_cond_timedwait(&wanted, &look_lock, &t))
		;
	want = false;
	pthread_mutex_unlock(&look_lock);
}

static void *sweep_loop(void *arg)
{
	const uint64_t high = sweep.limit - sweep.reserve;

	(void)arg;
	for (;;) {
		arm_ahead();
		if (look(0) > high) {
			sweep_down(high - sweep.reserve);
			look(sweep.reserve);
		}
		wait_until_wanted();
	}
	return NULL;
}

/* ----------------------------------------------------------------------------- who waits */

/* look_lock is held. The thread is wanted; one who sleeps is woken. */
static void call(void)
{
	if (!want)
		pthread_cond_signal(&wanted);
	want = true;
}

/*
 * A fault of the CPU's begins: is there room for what it maps, which is not known before? Waits for
 * that; not in fork().
 */
static void take_room(void)
{
	const uint64_t scarce = GM_HEAP_UNIT + sweep.reserve;
	struct timespec t;
	uint64_t seen;

	pthread_mutex_lock(&look_lock);
	if (room < scarce)
		measure(room); /* most faults map less than they took */
	if (room < scarce)
		call();
	while (room < GM_HEAP_UNIT && !gm_place_gate_shut()) {
		call();
		for (seen = looks; seen == looks && !gm_place_gate_shut();) {
			deadline(&t, FORK_NS);
			pthread_cond_timedwait(&looked, &look_lock, &t);
		}
	}
	room -= room < GM_HEAP_UNIT ? room : GM_HEAP_UNIT;
	pthread_mutex_unlock(&look_lock);
}

int __wrap_gm_cpu_fault_try(struct gm_as *as, uint64_t va, uint32_t access, uint64_t *until)
{
	if (as == sweep.as)
		take_room();
	return __real_gm_cpu_fault_try(as, va, access, until);
}

/* Amid the allocator: it got memory up to @end. */
void gm_limit_wait(uint64_t end)
{
	const struct timespec t = { .tv_nsec = ARM_NS };

	for (int i = 0; i < ARM_WAITS; i++) {
		uint64_t armed = __atomic_load_n(&sweep.armed, __ATOMIC_ACQUIRE);

		if (!armed || armed >= end)
			return;
		nanosleep(&t, NULL);
	}
}

void gm_limit_in_child(void)
{
	sweep.armed = 0;
	close(sweep.statm);
	close(sweep.pagemap);
}

static int open_own(const char *path, int *fd)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	*fd = gm_own_fd(*fd);
	return 0;
}

static void init_conditions(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&wanted, &attr);
	pthread_cond_init(&looked, &attr);
	pthread_condattr_destroy(&attr);
}

int gm_limit_start(struct gm_as *as, int hnode, uint64_t limit)
{
	uint64_t bytes = (gm_heap.end - gm_heap.begin) / UNIT * sizeof(struct unit);
	sigset_t all, old;
	pthread_t thread;
	int err;

	sweep.hnode = hnode;
	sweep.limit = limit + (getenv("GMEM_TRACE") ? TRACE_BYTES : 0);
	sweep.reserve = limit / RESERVE < MAX_RESERVE ? limit / RESERVE : MAX_RESERVE;
	sweep.hand = gm_heap.begin;
	sweep.armed = gm_heap.begin;
	init_conditions();
	err = open_own("/proc/self/statm", &sweep.statm);
	if (!err)
		err = open_own("/proc/self/pagemap", &sweep.pagemap);
	if (err)
		return err;
	sweep.units = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sweep.units == MAP_FAILED)
		return -ENOMEM;
	sweep.as = as;
	err = arm_ahead();
	if (err)
		return err;
	look(0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&thread, NULL, sweep_loop, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}
