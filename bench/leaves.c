// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Mappings in bulk, and in large leaves.
 *
 * Thousands of windows of 64 KiB are added and removed, onto memory that is on the device, in
 * one call each way against one call for each: what differs is how often the device's TLBs are
 * invalidated, and gmem entered. And 1 GiB is brought home from under one leaf, against 512.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define GIB (1UL << 30)
#define BUFFER (64UL << 10)
#define BUFFERS 2048U

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* All windows, @n a call; microseconds for one to come and go. */
static void map_and_unmap(struct gm_context *ctx, const struct gm_window *w, unsigned int n,
			  double *wall, double *cpu)
{
	double begin = now_us(), used = cpu_us();

	for (unsigned int i = 0; i < BUFFERS; i += n)
		must(gm_window_add(ctx, &w[i], n), "gm_window_add");
	for (unsigned int i = 0; i < BUFFERS; i += n)
		must(gm_window_remove(ctx, &w[i], n), "gm_window_remove");
	*wall = (now_us() - begin) / BUFFERS;
	*cpu = (cpu_us() - used) / BUFFERS;
}

/* A device that sees nothing, and memory of @size on it. */
static struct gm_context *sparse_create(struct setup *s, size_t size)
{
	struct gm_sim_options opt = { .size = sizeof(opt), .memory = size + 16 * MIB };
	struct gm_window all = { .len = size };
	struct gm_context *ctx;
	void *mem;

	must(gm_sim_create(&opt, &s->sim), "gm_sim_create");
	must(gm_as_create(NULL, &s->as), "gm_as_create");
	must(gm_as_attach_sparse(s->as, gm_sim_dev(s->sim), GM_EXCLUSIVE, &ctx), "attach");
	must(gm_alloc(s->as, size, 0, &mem), "gm_alloc");
	s->mem = mem;
	all.va = (uintptr_t)mem;
	must(gm_window_add(ctx, &all, 1), "gm_window_add");
	must(hmadvise(gm_dev_hnode(gm_sim_dev(s->sim)), mem, size, GM_PREFETCH), "PREFETCH");
	must(gm_window_remove(ctx, &all, 1), "gm_window_remove"); /* what is there stays */
	return ctx;
}

void bench_bulk(void)
{
	static struct gm_window w[BUFFERS];
	double bulk[ROUNDS], single[ROUNDS], bulk_cpu[ROUNDS], single_cpu[ROUNDS];
	double ratio[ROUNDS], ratio_cpu[ROUNDS], r;
	struct gm_context *ctx;
	struct setup s;

	progress("mappings in bulk");
	ctx = sparse_create(&s, BUFFERS * BUFFER);
	for (unsigned int i = 0; i < BUFFERS; i++)
		w[i] = (struct gm_window){ .va = (uintptr_t)s.mem + i * BUFFER,
					   .len = BUFFER,
					   .dev_va = 2 * i * BUFFER }; /* none adjoin */
	for (unsigned int i = 0; i < ROUNDS; i++) {
		map_and_unmap(ctx, w, BUFFERS, &bulk[i], &bulk_cpu[i]);
		map_and_unmap(ctx, w, 1, &single[i], &single_cpu[i]);
		ratio[i] = single[i] / bulk[i];
		ratio_cpu[i] = bulk_cpu[i] / single_cpu[i];
	}
	r = median(ratio, ROUNDS);
	row("64 KiB mapped and unmapped, in bulk, against one by one", median(bulk, ROUNDS),
	    median(single, ROUNDS), "us", r, ">= 1.54", r >= 1.54);
	r = median(ratio_cpu, ROUNDS);
	row("the same, time of the processors", median(bulk_cpu, ROUNDS),
	    median(single_cpu, ROUNDS), "us", r, "<= 0.68", r <= 0.68);
	must(gm_as_destroy(s.as), "gm_as_destroy");
	must(gm_sim_destroy(s.sim), "gm_sim_destroy");
}

/* ------------------------------------------------------------------ a large leaf */

/* An address space with 1 GiB, and a device that has room for it and such leaves. */
static void large_create(struct setup *s)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = GIB + GIB / 2,
				      .lanes = 1,
				      .pgsize_bitmap = 4096 | 2 * MIB | GIB,
				      .flags = GM_SIM_SYNC_FAULTS };
	struct gm_sim_ctx *ctx; /* goes with the address space */
	void *mem;

	must(gm_sim_create(&opt, &s->sim), "gm_sim_create");
	must(gm_as_create(NULL, &s->as), "gm_as_create");
	must(gm_sim_attach(s->sim, s->as, &ctx), "gm_sim_attach");
	must(gm_alloc(s->as, GIB, 0, &mem), "gm_alloc");
	s->mem = mem;
	s->node = gm_dev_hnode(gm_sim_dev(s->sim));
	memset(mem, 1, GIB);
}

/*
 * Milliseconds for 1 GiB to come home: from one leaf, or, after its last page has come, from
 * those of 2 MiB that the leaf was taken apart into. The same memory both times: from one piece
 * to another of what the kernel gives the copy differs by more than there is to see.
 */
static double come_home(struct setup *s, bool apart)
{
	double begin;

	must(hmadvise(s->node, s->mem, GIB, GM_PREFETCH), "PREFETCH");
	if (apart)
		must(hmadvise(GM_NODE_HOST, s->mem + GIB - 4096, 4096, GM_PREFETCH), "PREFETCH");
	begin = now_us();
	must(hmadvise(GM_NODE_HOST, s->mem, GIB, GM_PREFETCH), "PREFETCH");
	return (now_us() - begin) / 1000;
}

void bench_large_leaf(void)
{
	double got[ROUNDS], bare[ROUNDS], ratio[ROUNDS], r;
	struct setup s;

	progress("a leaf of 1 GiB");
	gm_retain_limit(2 * GIB);
	large_create(&s);
	come_home(&s, false); /* the first time is not like the others */
	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (i % 2)
			bare[i] = come_home(&s, true);
		got[i] = come_home(&s, false);
		if (!(i % 2))
			bare[i] = come_home(&s, true);
		ratio[i] = got[i] / bare[i];
	}
	r = median(ratio, ROUNDS);
	row("1 GiB home from one leaf, against 512 of 2 MiB", median(got, ROUNDS),
	    median(bare, ROUNDS), "ms", r, "<= 1.05", r <= 1.05);
	must(gm_as_destroy(s.as), "gm_as_destroy");
	must(gm_sim_destroy(s.sim), "gm_sim_destroy");
	gm_retain_limit(GIB);
}
