// SPDX-License-Identifier: GPL-2.0-only
/*
 * Those cases of the kernel's hmm-tests.c that no other test here has in it, under their
 * names; docs/checklist.md lists all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

static uint64_t *word(void *p)
{
	return p;
}

/* All to the device, half of it back by touching it, the mix to the device again. */
static void migrate_fault(void)
{
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	for (uint64_t i = 0; i < 512; i++)
		*word(t.mem + i * PAGE) = i + 1;
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	for (uint64_t i = 0; i < 256; i++)
		CHECK_EQ(*word(t.mem + i * PAGE), i + 1);
	CHECK_EQ(kt_node(t.as, t.mem + 255 * PAGE), GMEM_NODE_HOST);
	CHECK_EQ(kt_node(t.as, t.mem + 256 * PAGE), t.node);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	for (uint64_t i = 0; i < 512; i++) {
		CHECK_EQ(kt_node(t.as, t.mem + i * PAGE), t.node);
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i * PAGE), i + 1);
	}
	kt_end(&t);
}

/* One range of six kinds of pages: none, zero, read-only, its own, another device's, a hole. */
static void migrate_mixed(void)
{
	int node, other, ctx;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_tune(t.sim, PAGE, false);
	other = kt_sim(0, 0, &node);
	kt_tune(other, PAGE, false);
	ctx = kt_attach(other, t.as);
	CHECK(ctx >= 0);
	CHECK_EQ(*word(t.mem + PAGE), 0);
	*word(t.mem + 2 * PAGE) = 2;
	CHECK_EQ(mprotect(t.mem + 2 * PAGE, PAGE, PROT_READ), 0);
	kt_dev_store(t.sim, t.ctx, t.mem + 3 * PAGE, 3);
	kt_dev_store(other, ctx, t.mem + 4 * PAGE, 4);
	CHECK_EQ(munmap(t.mem + 5 * PAGE, PAGE), 0);
	*word(t.mem + 6 * PAGE) = 6;

	/* With the hole nothing moves; up to it everything does. */
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, 7 * PAGE), -EFAULT);
	CHECK_EQ(kt_node(t.as, t.mem), GMEM_NODE_NONE);
	CHECK_EQ(kt_node(t.as, t.mem + 4 * PAGE), node);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, 5 * PAGE), 0);
	for (uint64_t i = 0; i < 5; i++)
		CHECK_EQ(kt_node(t.as, t.mem + i * PAGE), t.node);
	CHECK_EQ(kt_node(t.as, t.mem + 6 * PAGE), GMEM_NODE_HOST);
	for (uint64_t i = 0; i < 7; i++) {
		uint64_t v;

		if (i == 5)
			CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem + i * PAGE, &v, 8),
				 -EFAULT);
		else
			CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i * PAGE), i < 2 ? 0 : i);
		CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_WRITE, t.mem + i * PAGE, &i, 8),
			 i == 2	  ? -EACCES
			 : i == 5 ? -EFAULT
				  : 0);
	}
	CHECK_EQ(kt_dev_load(other, ctx, t.mem + 4 * PAGE), 4);
	close(other);
	kt_end(&t);
}

/* Two devices read the same page in turn, then one keeps it. */
static void double_map(void)
{
	int node, other, ctx;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	other = kt_sim(0, 0, &node);
	ctx = kt_attach(other, t.as);
	CHECK(ctx >= 0);
	*word(t.mem) = 7;
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 7);
		CHECK_EQ(kt_dev_load(other, ctx, t.mem), 7);
	}
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, PAGE), 0);
	CHECK_EQ(kt_node(t.as, t.mem), t.node);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 7);
	kt_dev_store(t.sim, t.ctx, t.mem, 8);
	CHECK_EQ(kt_dev_load(other, ctx, t.mem), 8);
	close(other);
	kt_end(&t);
}

/* Ten times, each at an address of its own. */
static void anon_read_multiple(void)
{
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	for (uint64_t i = 0; i < 10; i++) {
		int obj = kt_object(16 * PAGE);
		unsigned char *mem = kt_map(t.as, obj, 0, 16 * PAGE, RW);

		for (uint64_t k = 0; k < 16; k++)
			*word(mem + k * PAGE) = i * 16 + k;
		for (uint64_t k = 0; k < 16; k++)
			CHECK_EQ(kt_dev_load(t.sim, t.ctx, mem + k * PAGE), i * 16 + k);
		CHECK_EQ(munmap(mem, 16 * PAGE), 0);
		close(obj);
	}
	kt_end(&t);
}

struct teardown {
	struct kt *t;
	unsigned char *mem;
	uint32_t reads;
};

/* Reads what is there, and EFAULT once it is not: never anything else. */
static void *read_on(void *arg)
{
	struct teardown *d = arg;
	int err = 0;

	while (!err) {
		for (uint64_t i = 0; i < 64 && !err; i++) {
			uint64_t v = 0;

			err = kt_dev(d->t->sim, d->t->ctx, GMEM_SIM_READ, d->mem + i * PAGE, &v, 8);
			if (!err)
				CHECK_EQ(v, i + 1);
			__atomic_fetch_add(&d->reads, 1, __ATOMIC_RELAXED);
		}
	}
	CHECK_EQ(err, -EFAULT);
	return NULL;
}

/* The process unmaps while its device reads. */
static void anon_teardown(void)
{
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	for (uint32_t round = 0; round < 20; round++) {
		int obj = kt_object(64 * PAGE);
		struct teardown d = { &t, kt_map(t.as, obj, 0, 64 * PAGE, RW), 0 };
		pthread_t thread;

		for (uint64_t i = 0; i < 64; i++)
			*word(d.mem + i * PAGE) = i + 1;
		CHECK(!pthread_create(&thread, NULL, read_on, &d));
		while (__atomic_load_n(&d.reads, __ATOMIC_RELAXED) < 1 + round * 9)
			sched_yield();
		CHECK_EQ(munmap(d.mem + round % 8 * PAGE, (64 - round % 8) * PAGE), 0);
		pthread_join(thread, NULL);
		munmap(d.mem, 64 * PAGE);
		close(obj);
	}
	kt_end(&t);
}

const struct kt_test kt_hmm[] = {
	{ "hmm_migrate_fault", migrate_fault, 0 },
	{ "hmm_migrate_mixed", migrate_mixed, 0 },
	{ "hmm_double_map", double_map, 0 },
	{ "hmm_anon_read_multiple", anon_read_multiple, 0 },
	{ "hmm_anon_teardown", anon_teardown, 60 },
	{ 0 },
};
