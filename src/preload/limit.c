// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The limit: what is cold goes out to the device, and so the process stays within so much of the
 * host's memory.
 *
 * Theory. A thread looks how much anonymous memory the process has in the host's, more often the
 * nearer that is to the limit. Above fifteen sixteenths of it, it goes round the heap, like the
 * hand of a clock, and pushes out what it passes (hmadvise(), PREFETCH to the device), down to seven
 * eighths.
 *
 * Who is cold? Nothing tells a process without privilege which of its pages are read. But what
 * was pushed out and is needed comes back, by a fault, 64 KiB at a time. So each such unit is
 * judged by that. One that came back before the hand came round once is hot: the hand passes it by, once;
 * and if it comes back the next time too, three times, then seven, then fifteen. One that stayed
 * away for a round has lost that, and so has nothing more to say than one that was never out.
 * So the hot few end up untouched, whatever is streamed past them, and a unit that has cooled
 * goes out after sixteen rounds at the latest.
 *
 * Nothing is pushed to a device that is nearly full, for it would push others back.
 *
 * Who asks for new memory above the limit waits for the hand a while, so that a program which only grows
 * does not outrun it. The limit is a goal all the same: between two looks, and where all of it is
 * used at once, there may be more; what is not heap counts, and cannot be pushed out.
 *
 * Locking. None: one thread, and `over`, which is atomic. It touches nothing of the heap itself.
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

#include "preload.h"

#define PAGES (GM_BLOCK_SIZE / GM_PAGE_SIZE)
#define UNITS (GM_BLOCK_SIZE / GM_HEAP_UNIT)
#define UNIT_PAGES (GM_HEAP_UNIT / GM_PAGE_SIZE)
#define PRESENT (1ULL << 63)

#define SHORTEST_NS 500000ULL
#define LONGEST_NS 20000000ULL
#define BYTES_PER_NS 4ULL /* faster than that no program fills memory */

#define MAX_STREAK 4U
#define MAX_ROUNDS 16ULL
#define WAITS 50 /* of SHORTEST_NS */

/* What is known of a unit. */
struct unit {
	bool out;	/* it was pushed out when the hand came by last */
	uint8_t streak; /* so many times in a row it came back within a round */
	uint8_t passes; /* so many times the hand still passes it by */
};

static struct {
	int hnode;
	uint64_t limit, hand;
	struct unit *units;
	int statm, pagemap;
	bool full; /* the device is, and that was said */
	bool over; /* atomic: there is more than the limit */
} sweep = { .statm = -1, .pagemap = -1 };

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

static bool present(const uint64_t *entries)
{
	for (unsigned int i = 0; i < UNIT_PAGES; i++)
		if (entries[i] & PRESENT)
			return true;
	return false;
}

/* Push out what is cold of a block. What cannot go stays; it is judged again in a round. */
static void sweep_block(uint64_t va)
{
	struct unit *u = &sweep.units[(va - gm_heap.begin) / GM_HEAP_UNIT];
	uint64_t entries[PAGES], from = 0;
	unsigned int run = 0;

	if (pread(sweep.pagemap, entries, sizeof(entries),
		  (off_t)(va / GM_PAGE_SIZE * sizeof(entries[0]))) != (ssize_t)sizeof(entries))
		return;
	for (unsigned int i = 0; i <= UNITS; i++) {
		bool out = i < UNITS && judge(&u[i], present(&entries[i * UNIT_PAGES]));

		if (out && !run++)
			from = va + i * GM_HEAP_UNIT;
		if (!out && run) {
			hmadvise(sweep.hnode, (void *)(uintptr_t)from, run * GM_HEAP_UNIT,
				 GM_PREFETCH);
			run = 0;
		}
	}
}

/* Until there is as little as @goal; bounded, for it may not be to be had. */
static void sweep_down(uint64_t goal)
{
	uint64_t end = __atomic_load_n(&gm_heap.next, __ATOMIC_ACQUIRE);
	uint64_t left = (end - gm_heap.begin) / GM_BLOCK_SIZE * MAX_ROUNDS;

	for (; left && host_bytes() > goal && !device_is_full(); left--) {
		sweep_block(sweep.hand);
		sweep.hand += GM_BLOCK_SIZE;
		if (sweep.hand + GM_BLOCK_SIZE > end)
			sweep.hand = gm_heap.begin;
	}
}

/* --------------------------------------------------------------------------- the thread */

static void wait_ns(uint64_t ns)
{
	struct timespec t = { .tv_nsec = (long)ns };

	nanosleep(&t, NULL);
}

static void *sweep_loop(void *arg)
{
	const uint64_t high = sweep.limit - sweep.limit / 16, low = sweep.limit - sweep.limit / 8;
	uint64_t used, before = 0, ns = SHORTEST_NS;

	(void)arg;
	for (;;) {
		used = host_bytes();
		__atomic_store_n(&sweep.over, used > sweep.limit, __ATOMIC_RELAXED);
		if (used > high) {
			sweep_down(low);
			used = host_bytes();
			__atomic_store_n(&sweep.over, used > sweep.limit && !sweep.full,
					 __ATOMIC_RELAXED);
		}
		/* A program that does nothing is left alone, little by little. */
		ns = used == before ? ns * 2 : (used < high ? high - used : 0) / BYTES_PER_NS;
		before = used;
		ns = ns < SHORTEST_NS ? SHORTEST_NS : ns > LONGEST_NS ? LONGEST_NS : ns;
		wait_ns(ns);
	}
	return NULL;
}

/* Amid the allocator: new memory is asked for. */
void gm_limit_wait(void)
{
	for (int i = 0; i < WAITS && __atomic_load_n(&sweep.over, __ATOMIC_RELAXED); i++)
		wait_ns(SHORTEST_NS);
}

void gm_limit_in_child(void)
{
	sweep.over = false;
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

int gm_limit_start(int hnode, uint64_t limit)
{
	uint64_t bytes = (gm_heap.end - gm_heap.begin) / GM_HEAP_UNIT * sizeof(struct unit);
	sigset_t all, old;
	pthread_t thread;
	int err;

	sweep.hnode = hnode;
	sweep.limit = limit;
	sweep.hand = gm_heap.begin;
	err = open_own("/proc/self/statm", &sweep.statm);
	if (!err)
		err = open_own("/proc/self/pagemap", &sweep.pagemap);
	if (err)
		return err;
	sweep.units = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sweep.units == MAP_FAILED)
		return -ENOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&thread, NULL, sweep_loop, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}
