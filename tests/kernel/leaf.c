// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPU's mappings of device memory, where it is easy to lose one: by two faults at once,
 * of a process that no device works for, or behind gmem's back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

static volatile uint64_t *at(void *p)
{
	return p;
}

struct pair {
	unsigned char *mem;
	int turn; /* the main thread's, then the other's answer */
};

static void *toucher(void *arg)
{
	struct pair *p = arg;

	for (int turn = 1;; turn += 2) {
		int now;

		while ((now = __atomic_load_n(&p->turn, __ATOMIC_ACQUIRE)) != turn)
			if (now < 0)
				return NULL;
		*at(p->mem + 300 * PAGE) = (uint64_t)turn;
		__atomic_store_n(&p->turn, turn + 1, __ATOMIC_RELEASE);
	}
}

/* Two faults at once for one leaf: the second finds it there, and its memory as it was. */
static void aperture_two_faults(void)
{
	struct pair pair = { 0 };
	pthread_t thread;
	struct kt t;

	kt_begin_aperture(&t, BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), 0);
	pthread_create(&thread, NULL, toucher, &pair);
	for (int i = 0; i < 200; i++) {
		pair.mem = kt_map(t.as, t.obj, 0, BLOCK, RW);
		__atomic_store_n(&pair.turn, 2 * i + 1, __ATOMIC_RELEASE);
		*at(pair.mem + 200 * PAGE) = 1;
		while (__atomic_load_n(&pair.turn, __ATOMIC_ACQUIRE) != 2 * i + 2)
			;
		CHECK_EQ(*at(pair.mem + 300 * PAGE), 2 * i + 1);
		for (uint64_t off = 0; off < PAGE; off += 8)
			CHECK_EQ(*at(pair.mem + off), 0);
		CHECK_EQ(munmap(pair.mem, BLOCK), 0);
	}
	__atomic_store_n(&pair.turn, -1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	kt_end(&t);
}

const struct kt_test kt_leaf[] = {
	{ "aperture_two_faults", aperture_two_faults, 0 },
	{ 0 },
};
