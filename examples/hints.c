// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Where memory is, and how a program says where it should be: allocate, hint, ask.
#include <stdio.h>
#include <string.h>
#include <gmem/sim.h>

#define LEN (4 << 20)
#define PAGES (LEN / GM_PAGE_SIZE)

static void show(const char *what, const void *mem, int device)
{
	static struct gm_page_info page[PAGES];
	unsigned int host = 0, dev = 0, none = 0, pinned = 0;

	if (gm_query(mem, LEN, page))
		return;
	for (unsigned int i = 0; i < PAGES; i++) {
		host += page[i].node == GM_NODE_HOST;
		dev += page[i].node == device;
		none += page[i].node == GM_NODE_NONE;
		pinned += page[i].flags & GM_PAGE_PINNED ? 1 : 0;
	}
	printf("%-28s %4u host %4u device %4u nowhere %4u pinned\n", what, host, dev, none, pinned);
}

static int check(int err, const char *what)
{
	if (err)
		fprintf(stderr, "%s: %s\n", what, gm_strerror(err));
	return err;
}

static int look(struct gm_as *as, struct gm_sim_ctx *ctx, int device)
{
	uint64_t sum = 0;
	void *mem;
	int err;

	err = check(gm_alloc(as, LEN, 0, &mem), "gm_alloc");
	if (err)
		return err;
	show("allocated", mem, device);
	memset(mem, 1, LEN);
	show("written by the CPU", mem, device);

	/* Ahead of the device's work: it does not fault then. */
	err = check(hmadvise(device, mem, LEN, GM_PREFETCH), "GM_PREFETCH");
	if (err)
		return err;
	show("prefetched to the device", mem, device);

	/* A page or more at a time comes home as the CPU touches it. */
	sum += *(const unsigned char *)mem;
	show("one byte read by the CPU", mem, device);

	/* What every piece of work uses should not be evicted in favour of what one uses. */
	err = check(hmadvise(device, mem, LEN / 2, GM_PIN), "GM_PIN");
	if (err)
		return err;
	show("its first half pinned", mem, device);
	hmadvise(GM_NODE_NONE, mem, LEN, GM_UNPIN);

	/* What is not needed any more need not be copied by anybody. */
	err = check(hmadvise(GM_NODE_NONE, mem, LEN / 2, GM_DONTNEED), "GM_DONTNEED");
	if (err)
		return err;
	show("its first half dropped", mem, device);

	/* The device reads what the CPU would: zeros, then ones. */
	for (uint64_t at = 0; at < LEN; at += LEN / 2) {
		unsigned char byte;

		err = check(gm_sim_access(ctx, (char *)mem + at, &byte, 1, GM_READ), "a read");
		if (err)
			return err;
		sum += byte;
	}
	printf("sum %llu\n", (unsigned long long)sum);
	return check(gm_as_unmap(as, mem, LEN), "gm_as_unmap");
}

int main(void)
{
	struct gm_as *as;
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
	int err;

	if (check(gm_sim_create(NULL, &sim), "gm_sim_create"))
		return 1;
	err = check(gm_as_create(NULL, &as), "gm_as_create");
	if (!err) {
		err = check(gm_sim_attach(sim, as, &ctx), "gm_sim_attach");
		if (!err)
			err = look(as, ctx, gm_dev_hnode(gm_sim_dev(sim)));
		gm_as_destroy(as); /* detaches, and frees what is mapped */
	}
	gm_sim_destroy(sim);
	return err ? 1 : 0;
}
