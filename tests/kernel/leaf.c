// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPU's mappings of device memory, where it is easy to lose one: by two faults at once,
 * of a process that no device works for, or behind gmem's back; and where a fault must wait.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
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

/*
 * A mapping that is in no address space has device memory mapped, and the address space that
 * the device worked for has let go of the object: what is evicted leaves the mapping all the
 * same, and whoever gets the memory then is not seen through it.
 */
static void aperture_without_region(void)
{
	unsigned char *alone, *other;
	struct kt t;
	int obj;

	kt_begin_aperture(&t, BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), 0);
	alone = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, t.obj, 0);
	CHECK(alone != MAP_FAILED);
	for (uint64_t i = 0; i < BLOCK; i += PAGE)
		*at(alone + i) = i + 1;
	CHECK_EQ(munmap(t.mem, BLOCK), 0);
	obj = kt_object(4 * BLOCK);
	other = kt_map(t.as, obj, 0, 4 * BLOCK, RW);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, other, 4 * BLOCK), 0);
	for (uint64_t i = 0; i < 4 * BLOCK; i += PAGE)
		kt_dev_store(t.sim, t.ctx, other + i, ~i);
	for (uint64_t i = 0; i < BLOCK; i += PAGE) {
		CHECK_EQ(*at(alone + i), i + 1);
		*at(alone + i) = i + 2;
	}
	for (uint64_t i = 0; i < 4 * BLOCK; i += PAGE)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, other + i), ~i);
	t.mem = kt_map(t.as, t.obj, 0, BLOCK, RW);
	for (uint64_t i = 0; i < BLOCK; i += PAGE)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i), i + 2);
	munmap(alone, BLOCK);
	munmap(other, 4 * BLOCK);
	close(obj);
	kt_end(&t);
}

/*
 * MADV_COLD makes this kernel forget a leaf without telling the TLB. What moves then is not
 * reached by the translation that is left.
 */
static void leaf_forgotten(void)
{
	struct kt t;

	kt_begin_aperture(&t, BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), 0);
	*at(t.mem) = 1;
	CHECK_EQ(madvise(t.mem, BLOCK, MADV_COLD), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, GMEM_NODE_HOST, t.mem, BLOCK), 0);
	*at(t.mem) = 2;
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 2);
	kt_end(&t);
}

/* What says it is busy is asked again before the CPU's fault fails. */
static void busy_for_a_moment(void)
{
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 5);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_PMAP_RELEASE, 0, 9, EBUSY), 0);
	CHECK_EQ(*at(t.mem), 5);
	CHECK_EQ(kt_node(t.as, t.mem), GMEM_NODE_HOST);
	kt_end(&t);
}

#define LARGE (8 * BLOCK)

/* A device with leaves of up to 32 MiB, and a mapping that has room for one of 16 MiB. */
static void large_begin(struct kt *t)
{
	struct gmem_sim_create c = { .size = sizeof(c),
				     .memory = 2 * LARGE,
				     .pgsize_bitmap = PAGE | 64 << 10 | BLOCK | 31 * 2 * BLOCK,
				     .flags = GMEM_SIM_CHECK };

	kt_begin(t, LARGE, 0);
	CHECK_EQ((uintptr_t)t->mem % LARGE, 0);
	kt_tune(t->sim, PAGE, false);
	close(t->sim);
	t->sim = open("/dev/gmem_sim", O_RDWR | O_CLOEXEC);
	CHECK(t->sim >= 0);
	t->node = kt_ioctl(t->sim, GMEM_SIM_IOC_CREATE, &c);
	CHECK(t->node >= 0);
	t->ctx = kt_attach(t->sim, t->as);
	CHECK(t->ctx >= 0);
}

/* A large leaf loses a page here and there, to the CPU, to another protection, and to bad memory. */
static void large_leaf(void)
{
	struct gmem_sim_poison bad = { .size = sizeof(bad) };
	struct kt t;

	large_begin(&t);
	for (uint64_t i = 0; i < LARGE; i += PAGE)
		*at(t.mem + i) = i + 1;
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, LARGE), 0);
	bad.pa = kt_look(&t, t.mem + 5 * BLOCK).pa;
	CHECK_EQ(kt_look(&t, t.mem).pa + 5 * BLOCK, bad.pa);
	CHECK_EQ(*at(t.mem + 3 * BLOCK + 7 * PAGE), 3 * BLOCK + 7 * PAGE + 1);
	kt_dev_store(t.sim, t.ctx, t.mem + 3 * BLOCK + 7 * PAGE, 9);
	CHECK_EQ(mprotect(t.mem + BLOCK, BLOCK, PROT_READ), 0);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_POISON, &bad), 0);
	CHECK_EQ(munmap(t.mem + 6 * BLOCK, PAGE), 0);
	for (uint64_t i = 0; i < LARGE; i += PAGE) {
		if (i == 5 * BLOCK || i == 6 * BLOCK)
			continue;
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i),
			 i == 3 * BLOCK + 7 * PAGE ? 9 : i + 1);
	}
	CHECK_EQ(munmap(t.mem, LARGE), 0);
	t.mem = kt_map(t.as, t.obj, 0, LARGE, RW);
	CHECK_EQ(kt_advise(t.as, GMEM_DONTNEED, 0, t.mem + 5 * BLOCK, PAGE), 0);
	for (uint64_t i = 0; i < LARGE; i += BLOCK)
		CHECK_EQ(*at(t.mem + i), i == 5 * BLOCK ? 0 : i + 1);
	munmap(t.mem, LARGE);
	close(t.obj);
	close(t.sim);
}

const struct kt_test kt_leaf[] = {
	{ "large_leaf", large_leaf, 0 },
	{ "aperture_two_faults", aperture_two_faults, 0 },
	{ "aperture_without_region", aperture_without_region, 0 },
	{ "leaf_forgotten", leaf_forgotten, 0 },
	{ "busy_for_a_moment", busy_for_a_moment, 0 },
	{ 0 },
};
