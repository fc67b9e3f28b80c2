// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What memory costs that no device uses, and what metadata costs that one does. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

#define TOUCH (64 * MIB)

static double touch_all(unsigned char *p, size_t size)
{
	double begin = now_us();

	for (size_t i = 0; i < size; i += 4096)
		((volatile unsigned char *)p)[i] = 1;
	return (now_us() - begin) / (double)(size / 4096);
}

static double touch_plain(int flags)
{
	unsigned char *p = mmap(NULL, TOUCH, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
	double us;

	must(p == MAP_FAILED ? -errno : 0, "mmap");
	us = touch_all(p, TOUCH);
	munmap(p, TOUCH);
	return us;
}

static double touch_managed(struct setup *s)
{
	void *p;
	double us;

	must(gm_alloc(s->as, TOUCH, 0, &p), "gm_alloc");
	us = touch_all(p, TOUCH);
	must(gm_as_unmap(s->as, p, TOUCH), "gm_as_unmap");
	return us;
}

void bench_first_touch(void)
{
	double got[ROUNDS], private[ROUNDS], shared[ROUNDS], ratio[ROUNDS], to_shared[ROUNDS], r;
	struct setup s;

	progress("first touch");
	setup_create(&s, 16 * MIB, 0, 0, 0);
	touch_managed(&s); /* the machine's own first touches are not ours to measure */
	touch_plain(MAP_PRIVATE);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		private[i] = touch_plain(MAP_PRIVATE);
		got[i] = touch_managed(&s);
		shared[i] = touch_plain(MAP_SHARED);
		ratio[i] = got[i] / private[i];
		to_shared[i] = got[i] / shared[i];
	}
	r = median(ratio, ROUNDS);
	row("first touch, 4 KiB, against private mmap", median(got, ROUNDS),
	    median(private, ROUNDS), "us", r, "<= 2", r <= 2);
	r = median(to_shared, ROUNDS);
	row("first touch, 4 KiB, against shared mmap", median(got, ROUNDS), median(shared, ROUNDS),
	    "us", r, NULL, true);
	setup_destroy(&s);
}

static void metadata_row(const char *what, uint64_t bytes, uint64_t size, double goal,
			 const char *goal_text)
{
	double percent = 100.0 * (double)bytes / (double)size;

	row(what, (double)bytes / 1024, (double)size / 1024, "KiB", percent, goal_text,
	    percent <= goal);
}

void bench_metadata(void)
{
	size_t size = 1024 * MIB;
	struct gm_hnode_info info = { .size = sizeof(info) };
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = size + size / 4, /* no policy remembers */
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS };
	struct gm_as *as;
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
	uint64_t before = gm_metadata_bytes();
	void *mem;
	int node;

	progress("metadata");
	gm_retain_limit(0);
	must(gm_as_create(NULL, &as), "gm_as_create");
	must(gm_sim_create(&opt, &sim), "gm_sim_create");
	must(gm_sim_attach(sim, as, &ctx), "gm_sim_attach");
	node = gm_dev_hnode(gm_sim_dev(sim));
	must(gm_alloc(as, size, 0, &mem), "gm_alloc");
	memset(mem, 1, size / 16);
	metadata_row("metadata of 1 GiB, untouched by devices (%)", gm_metadata_bytes() - before,
		     size, 0, "0");
	must(hmadvise(node, mem, size, GM_PREFETCH), "PREFETCH");
	metadata_row("metadata of 1 GiB, moved as whole blocks (%)", gm_metadata_bytes() - before,
		     size, 0.01, "<= 0.01");
	for (size_t i = 0; i < size; i += 8192)
		must(hmadvise(GM_NODE_HOST, (char *)mem + i, 4096, GM_DONTNEED), "DONTNEED");
	metadata_row("metadata of 1 GiB, every second page on the device (%)",
		     gm_metadata_bytes() - before, size, 0.4, "<= 0.4");
	must(gm_hnode_info(node, &info), "gm_hnode_info");
	metadata_row("frame metadata of the device's memory (%)", info.metadata, info.total, 0.4,
		     "<= 0.4");
	must(gm_sim_detach(ctx), "gm_sim_detach");
	must(gm_as_destroy(as), "gm_as_destroy");
	must(gm_sim_destroy(sim), "gm_sim_destroy");
}
