// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the policies cost a fault: all that they are asked and told of it, the views of the block and
 * the locks for that included.
 *
 * A fault that brings one page of a device which does nothing, with the policies, less the same
 * where nobody is asked (no_grow) and nobody is told (lru-2m). Every fourth page of some blocks, in no
 * order, so that no policy has a reason to bring more: then both do the same work.
 *
 * Once with room, and once with little: the default asks other policies then, and remembers. What
 * eviction costs is no part of it: no page goes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gmem/policy.h>

#include "bench.h"
#include "null_mmu.h"

#define BLOCK (2 * MIB)
#define MEMORY (64 * BLOCK)
#define SCARCE (MEMORY / 8) /* less than this is free while it is scarce */
#define BLOCKS 4U	    /* in which there are faults */
#define SPACING 4U	    /* pages */
#define FAULTS (BLOCKS * 512U / SPACING)
#define PASSES 8U

struct bench {
	struct gm_as *as;
	struct gm_dev *dev;
	struct gm_context *ctx;
	void *mem, *filler; /* BLOCKS blocks, and all of the memory but SCARCE */
	uint32_t order[FAULTS];
};

/* The same order each time. */
static void shuffle(uint32_t *order)
{
	uint64_t seed = 88172645463325252ULL;

	for (uint32_t i = 0; i < FAULTS; i++) {
		uint32_t at;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		at = (uint32_t)(seed % (i + 1));
		order[i] = order[at];
		order[at] = i;
	}
}

static uint64_t pages_brought(struct gm_dev *dev)
{
	struct gm_stats s = { .size = sizeof(s) };

	must(gm_dev_stats(dev, &s), "gm_dev_stats");
	return s.pages_zeroed;
}

static double thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void choose(struct bench *b, const char *names)
{
	struct gm_dev_tunables tune = {
		.size = sizeof(tune), .granule = 4096, .no_grow = !names, .no_background = 1
	};

	must(gm_dev_set_policy(b->dev, names ? names : "fixed/lru-2m"), "gm_dev_set_policy");
	must(gm_dev_tune(b->dev, &tune), "gm_dev_tune");
}

/* Of a fault, with these policies; NULL: nobody is asked. */
static double fault_ns(struct bench *b, const char *names)
{
	uint64_t before, brought;
	double begin, ns;

	choose(b, names);
	before = pages_brought(b->dev);
	begin = thread_ns();
	for (unsigned int i = 0; i < FAULTS; i++)
		must(gm_dev_fault(b->ctx, (uintptr_t)b->mem + b->order[i] * SPACING * 4096ULL,
				  GM_READ),
		     "gm_dev_fault");
	ns = thread_ns() - begin;
	must(hmadvise(GM_NODE_HOST, b->mem, BLOCKS * BLOCK, GM_DONTNEED), "DONTNEED");
	brought = pages_brought(b->dev) - before;
	if (brought != FAULTS) {
		fprintf(stderr, "policy: %s brought %u pages for %u faults\n",
			names ? names : "nobody", (unsigned int)brought, FAULTS);
		exit(1);
	}
	return ns / FAULTS;
}

/* The least of some passes is what it costs: all else that is in the way only adds to it. */
static void measure(struct bench *b, const char *names, const char *how)
{
	double with[ROUNDS], without[ROUNDS], own[ROUNDS], r;
	char text[2 * GM_POLICY_NAME + 64];

	for (unsigned int i = 0; i < ROUNDS; i++) {
		with[i] = without[i] = 1e9;
		for (unsigned int pass = 0; pass < PASSES; pass++) {
			double ns = fault_ns(b, names);

			with[i] = ns < with[i] ? ns : with[i];
			ns = fault_ns(b, NULL);
			without[i] = ns < without[i] ? ns : without[i];
		}
		own[i] = with[i] - without[i];
	}
	r = median(own, ROUNDS);
	snprintf(text, sizeof(text), "policy of a device fault, %s, %s (ns)", names, how);
	row(text, median(with, ROUNDS), median(without, ROUNDS), "ns", r, "<= 200", r <= 200);
}

static void begin(struct bench *b)
{
	shuffle(b->order);
	must(gm_as_create(NULL, &b->as), "gm_as_create");
	must(gm_dev_create(&null_mmu, "nothing", NULL, &b->dev), "gm_dev_create");
	must(gm_dev_register_physmem(b->dev, 0, MEMORY), "gm_dev_register_physmem");
	must(gm_as_attach(b->as, b->dev, GM_EXCLUSIVE, &b->ctx), "gm_as_attach");
	must(gm_alloc(b->as, BLOCKS * BLOCK, 0, &b->mem), "gm_alloc");
	must(gm_alloc(b->as, MEMORY - SCARCE, 0, &b->filler), "gm_alloc");
}

static void end(struct bench *b)
{
	must(gm_as_detach(b->ctx), "gm_as_detach");
	must(gm_as_destroy(b->as), "gm_as_destroy");
	must(gm_dev_destroy(b->dev), "gm_dev_destroy");
}

/* @all: every policy that is there, beside the other kind's that costs least; else the default. */
void bench_policy(bool all)
{
	struct gm_policy_info info = { .size = sizeof(info) };
	struct bench b = { .as = NULL };
	char names[2 * GM_POLICY_NAME];

	progress("policy");
	begin(&b);
	for (unsigned int scarce = 0; scarce < 2; scarce++) {
		const char *how = scarce ? "full" : "with room";

		if (scarce)
			must(hmadvise(gm_dev_hnode(b.dev), b.filler, MEMORY - SCARCE, GM_PREFETCH),
			     "PREFETCH");
		measure(&b, "auto/rrip", how);
		for (unsigned int i = 0; all && !gm_policy_name(i, &info); i++) {
			if (info.kind == GM_POLICY_MOVES)
				snprintf(names, sizeof(names), "%s/lru-2m", info.name);
			else if (strcmp(info.name, "lru-2m") != 0) /* that was fixed's */
				snprintf(names, sizeof(names), "fixed/%s", info.name);
			else
				continue;
			measure(&b, names, how);
		}
	}
	end(&b);
}
