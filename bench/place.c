// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What memory registered in place costs against plain private memory: while no device has
 * used it, once one has, and on the way.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

#define BLOCKS 16U
#define BLOCK ((size_t)GM_BLOCK_SIZE)
#define SIZE (BLOCKS * BLOCK)

static unsigned char *map_private(void)
{
	unsigned char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0);

	must(p == MAP_FAILED ? -errno : 0, "mmap");
	madvise(p, SIZE,
		MADV_NOHUGEPAGE); /* lest the limit be another thing than what is measured */
	return p;
}

/* Microseconds for a store to each page. */
static double touch_pages(unsigned char *p)
{
	double begin = now_us();

	for (size_t i = 0; i < SIZE; i += 4096)
		((volatile unsigned char *)p)[i] = 1;
	return (now_us() - begin) / (double)(SIZE / 4096);
}

/* Microseconds for reading and writing a MiB, word by word. */
static double access_words(unsigned char *p)
{
	volatile uint64_t *w = (volatile uint64_t *)(void *)p;
	double begin = now_us();

	for (size_t i = 0; i < SIZE / 8; i++)
		w[i] += 1;
	return (now_us() - begin) / (double)(SIZE / MIB);
}

static void moves(struct setup *s, unsigned char *p, double *in, double *out)
{
	double begin = now_us();

	for (unsigned int i = 0; i < BLOCKS; i++)
		must(hmadvise(s->node, p + i * BLOCK, BLOCK, GM_PREFETCH), "PREFETCH");
	*in = (now_us() - begin) / BLOCKS;
	begin = now_us();
	for (unsigned int i = 0; i < BLOCKS; i++)
		must(hmadvise(GM_NODE_HOST, p + i * BLOCK, BLOCK, GM_PREFETCH), "PREFETCH");
	*out = (now_us() - begin) / BLOCKS;
}

static double copies(unsigned char *to, const unsigned char *from)
{
	double begin = now_us();

	for (unsigned int i = 0; i < BLOCKS; i++)
		memcpy(to + i * BLOCK, from + i * BLOCK, BLOCK);
	return (now_us() - begin) / BLOCKS;
}

/* Memory that no device uses. */
static void untouched(struct setup *s)
{
	double got[ROUNDS], plain[ROUNDS], ratio[ROUNDS], r;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned char *p = map_private(), *q = map_private();

		must(gm_register(s->as, p, SIZE), "gm_register");
		if (i % 2) /* who comes first pays for more than its own */
			plain[i] = touch_pages(q);
		got[i] = touch_pages(p);
		if (!(i % 2))
			plain[i] = touch_pages(q);
		ratio[i] = got[i] / plain[i];
		must(gm_unregister(s->as, p, SIZE), "gm_unregister");
		munmap(p, SIZE);
		munmap(q, SIZE);
	}
	r = median(ratio, ROUNDS);
	row("registered: first touch, 4 KiB, against plain memory", median(got, ROUNDS),
	    median(plain, ROUNDS), "us", r, "<= 1.1", r <= 1.1);
}

/* Memory that a device has used, home again; and the way there and back. */
static void used(struct setup *s, unsigned char *p, unsigned char *q)
{
	double got[ROUNDS], plain[ROUNDS], in[ROUNDS], out[ROUNDS], copy[ROUNDS];
	double ratio[ROUNDS], ratio_in[ROUNDS], ratio_out[ROUNDS], r;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		moves(s, p, &in[i], &out[i]);
		copy[i] = copies(q, p);
		plain[i] = access_words(q);
		got[i] = access_words(p);
		ratio[i] = got[i] / plain[i];
		ratio_in[i] = in[i] / copy[i];
		ratio_out[i] = out[i] / copy[i];
	}
	r = median(ratio, ROUNDS);
	row("registered: a MiB of loads and stores, against plain memory", median(got, ROUNDS),
	    median(plain, ROUNDS), "us", r, "<= 1.1", r <= 1.1);
	r = median(ratio_in, ROUNDS);
	row("registered: 2 MiB to the device, against memcpy", median(in, ROUNDS),
	    median(copy, ROUNDS), "us", r, NULL, true);
	r = median(ratio_out, ROUNDS);
	row("registered: 2 MiB from the device, against memcpy", median(out, ROUNDS),
	    median(copy, ROUNDS), "us", r, NULL, true);
}

void bench_place(void)
{
	unsigned char *p, *q;
	struct setup s;
	double in, out;

	progress("memory registered in place");
	setup_create(&s, SIZE, GM_AS_INLINE, 0, 0);
	untouched(&s);
	p = map_private();
	q = map_private();
	memset(p, 1, SIZE);
	memset(q, 1, SIZE);
	must(gm_register(s.as, p, SIZE), "gm_register");
	moves(&s, p, &in, &out); /* the first time is not like the others */
	used(&s, p, q);
	must(gm_unregister(s.as, p, SIZE), "gm_unregister");
	munmap(p, SIZE);
	munmap(q, SIZE);
	setup_destroy(&s);
}
