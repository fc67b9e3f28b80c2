// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What a fault costs: of the CPU, of two threads at once, of a device. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define FAULTS 4096U /* a round: 16 MiB, page by page */
#define SPIN_US 500U /* longer than any gap between faults, as the bare handler spins */

static double touch(volatile unsigned char *p, unsigned int n)
{
	double begin = now_us();

	for (unsigned int i = 0; i < n; i++)
		p[(size_t)i * 4096];
	return (now_us() - begin) / n;
}

static void to_device(struct setup *s)
{
	must(hmadvise(s->node, s->mem, s->size, GM_PREFETCH), "PREFETCH");
}

/*
 * Where the kernel puts two threads that wake one another is luck, and doubles the time
 * if it is the same processor. So whoever services faults runs on processor 1, whoever
 * takes them on processor 0; a thread begins where its creator runs.
 */
void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (unsigned int i = 0; i < CPU_SETSIZE; i++)
		if (cpu < 0 || i == (unsigned int)cpu)
			CPU_SET(i, &set);
	sched_setaffinity(0, sizeof(set), &set); /* on one processor: stay there */
}

/*
 * Waking a processor that has halted costs more than all else, or nothing if it was still
 * polling, as the kernel's idle governor pleases. This keeps processor 0 awake without
 * taking any time from who wants to run there.
 */
static int awake;

static void *stay_awake(void *arg)
{
	struct sched_param none = { .sched_priority = 0 };

	(void)arg;
	sched_setscheduler(0, SCHED_IDLE, &none);
	while (__atomic_load_n(&awake, __ATOMIC_RELAXED))
		;
	return NULL;
}

/* A 4 KiB page that is on the device, brought home by a load. */
void bench_cpu_fault(bool threaded)
{
	double got[ROUNDS], limit[ROUNDS], ratio[ROUNDS], r;
	pthread_t idle;
	struct setup s;
	struct bare b;

	progress("CPU faults");
	run_on(1);
	setup_create(&s, 16 * MIB, threaded ? 0 : GM_AS_INLINE, SPIN_US, 4096);
	bare_create(&b, 16 * MIB, !threaded);
	run_on(0);
	__atomic_store_n(&awake, 1, __ATOMIC_RELAXED);
	must(-pthread_create(&idle, NULL, stay_awake, NULL), "thread");
	for (unsigned int i = 0; i < ROUNDS; i++) {
		to_device(&s);
		got[i] = touch(s.mem, FAULTS);
		bare_unmap(&b, 0, b.size);
		usleep(10 * SPIN_US); /* gmem's thread has gone to sleep */
		limit[i] = threaded ? bare_fault_thread(&b, 0, FAULTS)
				    : bare_fault_inline(&b, 0, FAULTS);
		ratio[i] = got[i] / limit[i];
	}
	r = median(ratio, ROUNDS);
	row(threaded ? "CPU fault, 4 KiB from the device, thread delivery"
		     : "CPU fault, 4 KiB from the device, inline delivery",
	    median(got, ROUNDS), median(limit, ROUNDS), "us", r, threaded ? "<= 1.3" : "<= 1.5",
	    r <= (threaded ? 1.3 : 1.5));
	__atomic_store_n(&awake, 0, __ATOMIC_RELAXED);
	pthread_join(idle, NULL);
	run_on(-1);
	bare_destroy(&b);
	setup_destroy(&s);
}

struct half {
	pthread_t thread;
	unsigned char *mem;
	pthread_barrier_t *barrier;
};

static void *touch_half(void *arg)
{
	struct half *h = arg;

	pthread_barrier_wait(h->barrier);
	touch(h->mem, FAULTS / 2);
	return NULL;
}

/* Faults a millisecond of two threads, each with a half of [mem, mem + size). */
static double two_threads(unsigned char *mem, size_t size)
{
	pthread_barrier_t barrier;
	struct half half[2];
	double begin;

	pthread_barrier_init(&barrier, NULL, 3);
	for (unsigned int i = 0; i < 2; i++) {
		half[i].mem = mem + i * (size / 2);
		half[i].barrier = &barrier;
		must(-pthread_create(&half[i].thread, NULL, touch_half, &half[i]), "thread");
	}
	begin = now_us();
	pthread_barrier_wait(&barrier);
	pthread_join(half[0].thread, NULL);
	pthread_join(half[1].thread, NULL);
	begin = now_us() - begin;
	pthread_barrier_destroy(&barrier);
	return 1e3 * FAULTS / begin;
}

/*
 * Two threads that fault on blocks of their own, against one that takes all the
 * faults; and what the bare loop gains, which is what the kernel and the machine allow.
 */
void bench_two_threads(void)
{
	double one[ROUNDS], two[ROUNDS], ratio[ROUNDS], bare1[ROUNDS], bare2[ROUNDS], gain[ROUNDS];
	struct setup s;
	struct bare b;
	double r;

	progress("two threads");
	setup_create(&s, 16 * MIB, GM_AS_INLINE, 0, 4096);
	bare_create(&b, 16 * MIB, true);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		to_device(&s);
		one[i] = 1e3 / touch(s.mem, FAULTS);
		to_device(&s);
		two[i] = two_threads(s.mem, s.size);
		ratio[i] = two[i] / one[i];
		bare_unmap(&b, 0, b.size);
		bare1[i] = 1e3 / bare_fault_inline(&b, 0, FAULTS);
		bare_unmap(&b, 0, b.size);
		bare_handler(&b, true);
		bare2[i] = two_threads(b.app, b.size);
		bare_handler(&b, false);
		gain[i] = bare2[i] / bare1[i];
	}
	r = median(ratio, ROUNDS);
	row("two threads faulting on distinct blocks, against one", median(two, ROUNDS),
	    median(one, ROUNDS), "/ms", r, ">= 1.6", r >= 1.6);
	row("  the bare loop: two threads against one", median(bare2, ROUNDS),
	    median(bare1, ROUNDS), "/ms", median(gain, ROUNDS), NULL, true);
	bare_destroy(&b);
	setup_destroy(&s);
}

/* One device fault a page; the time gmem was asked to service them. */
static double dev_faults(struct setup *s)
{
	struct gm_stats before = { .size = sizeof(before) }, after = before;
	struct gm_dev *dev = gm_sim_dev(s->sim);
	uint64_t word;

	must(gm_dev_stats(dev, &before), "gm_dev_stats");
	for (unsigned int p = 0; p < FAULTS; p++)
		must(gm_sim_access(s->ctx, s->mem + (size_t)p * 4096, &word, 8, GM_READ),
		     "device access");
	must(gm_dev_stats(dev, &after), "gm_dev_stats");
	return (double)(after.ns_dev_fault - before.ns_dev_fault) / 1e3 / FAULTS;
}

static double bare_in(struct bare *b)
{
	double begin;

	for (unsigned int p = 0; p < FAULTS; p++)
		bare_unmap(b, (size_t)p * 4096, 4096);
	bare_map(b, 0, b->size);
	begin = now_us();
	for (unsigned int p = 0; p < FAULTS; p++) {
		bare_unmap(b, (size_t)p * 4096, 4096);
		memcpy(b->store + (size_t)p * 4096, b->alias + (size_t)p * 4096, 4096);
	}
	return (now_us() - begin) / FAULTS;
}

/*
 * A page that the CPU has mapped, moved by a device fault: from the driver's call to its
 * return, less unmapping and copying alone. Entering the device's mapping is included.
 */
void bench_dev_fault(void)
{
	struct gm_dev_tunables tune = { .size = sizeof(tune), .granule = 4096, .no_grow = 1 };
	double own[ROUNDS], got[ROUNDS], limit[ROUNDS], r;
	struct setup s;
	struct bare b;

	progress("device faults");
	setup_create(&s, 16 * MIB, GM_AS_INLINE, 0, 4096);
	must(gm_dev_tune(gm_sim_dev(s.sim), &tune), "gm_dev_tune");
	bare_create(&b, 16 * MIB, true);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		must(hmadvise(GM_NODE_HOST, s.mem, s.size, GM_PREFETCH), "PREFETCH");
		got[i] = dev_faults(&s);
		limit[i] = bare_in(&b);
		own[i] = got[i] - limit[i];
	}
	r = median(own, ROUNDS);
	row("device fault, 4 KiB, beyond unmap and copy (us)", median(got, ROUNDS),
	    median(limit, ROUNDS), "us", r, "<= 1.5", r <= 1.5);
	bare_destroy(&b);
	setup_destroy(&s);
}
