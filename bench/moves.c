// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What moving a whole block costs, there and back; and many of them. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define BLOCKS 16U
#define BLOCK ((size_t)GM_BLOCK_SIZE)

static void gmem_moves(struct setup *s, double *in, double *out)
{
	double begin = now_us();

	for (unsigned int i = 0; i < BLOCKS; i++)
		must(hmadvise(s->node, s->mem + i * BLOCK, BLOCK, GM_PREFETCH), "PREFETCH");
	*in = (now_us() - begin) / BLOCKS;
	begin = now_us();
	for (unsigned int i = 0; i < BLOCKS; i++)
		must(hmadvise(GM_NODE_HOST, s->mem + i * BLOCK, BLOCK, GM_PREFETCH), "PREFETCH");
	*out = (now_us() - begin) / BLOCKS;
}

static void bare_moves(struct bare *b, unsigned int n, double *in, double *out)
{
	double begin = now_us();

	for (unsigned int i = 0; i < n; i++) {
		bare_move_aside(b, i * BLOCK, BLOCK);
		memcpy(b->store + i * BLOCK, b->alias + i * BLOCK, BLOCK);
	}
	*in = (now_us() - begin) / n;
	begin = now_us();
	for (unsigned int i = 0; i < n; i++) {
		memcpy(b->alias + i * BLOCK, b->store + i * BLOCK, BLOCK);
		bare_move_back(b, i * BLOCK, BLOCK);
	}
	*out = (now_us() - begin) / n;
}

void bench_move_block(bool retained)
{
	double in[ROUNDS], out[ROUNDS], bare_in[ROUNDS], bare_out[ROUNDS];
	double ratio_in[ROUNDS], ratio_out[ROUNDS], r;
	struct setup s;
	struct bare b;

	progress("2 MiB moves");
	gm_retain_limit(retained ? 1UL << 30 : 0);
	setup_create(&s, BLOCKS * BLOCK, GM_AS_INLINE, 0, 0);
	bare_create(&b, BLOCKS * BLOCK, true);
	bare_map(&b, 0, b.size);
	gmem_moves(&s, &in[0], &out[0]); /* the first time is not like the others */
	for (unsigned int i = 0; i < ROUNDS; i++) {
		gmem_moves(&s, &in[i], &out[i]);
		bare_moves(&b, BLOCKS, &bare_in[i], &bare_out[i]);
		ratio_in[i] = in[i] / bare_in[i];
		ratio_out[i] = out[i] / bare_out[i];
	}
	r = median(ratio_in, ROUNDS);
	row(retained ? "2 MiB to the device, host frames retained"
		     : "2 MiB to the device, host frames freed",
	    median(in, ROUNDS), median(bare_in, ROUNDS), "us", r, retained ? "<= 1.25" : NULL,
	    r <= 1.25);
	r = median(ratio_out, ROUNDS);
	row(retained ? "2 MiB from the device, host frames retained"
		     : "2 MiB from the device, host frames allocated",
	    median(out, ROUNDS), median(bare_out, ROUNDS), "us", r, retained ? "<= 1.25" : NULL,
	    r <= 1.25);
	bare_destroy(&b);
	setup_destroy(&s);
	gm_retain_limit(1UL << 30);
}

/* As the device's memory is, in huge pages where there are any. */
static unsigned char *plain_memory(size_t size)
{
	unsigned char *p = aligned_alloc(BLOCK, size);

	must(p ? 0 : -ENOMEM, "aligned_alloc");
	madvise(p, size, MADV_HUGEPAGE);
	memset(p, 1, size);
	return p;
}

/* ----------------------------------------------------------------- a large prefetch */

#define BULK (256 * MIB)
#define BULK_ROUNDS 7U
#define COPIERS 4U

struct copier {
	unsigned char *to;
	const unsigned char *from;
	size_t size;
};

static void *copy_part(void *arg)
{
	const struct copier *c = arg;

	memcpy(c->to, c->from, c->size);
	return NULL;
}

/* GiB/s of memcpy() by @n threads between two pieces of memory that both exist. */
static double bulk_copy(unsigned char *to, const unsigned char *from, unsigned int n)
{
	struct copier part[COPIERS];
	pthread_t thread[COPIERS];
	double begin = now_us();

	for (unsigned int i = 0; i < n; i++) {
		part[i] = (struct copier){ to + i * (BULK / n), from + i * (BULK / n), BULK / n };
		if (i)
			must(-pthread_create(&thread[i], NULL, copy_part, &part[i]),
			     "pthread_create");
	}
	copy_part(&part[0]);
	for (unsigned int i = 1; i < n; i++)
		pthread_join(thread[i], NULL);
	return (double)BULK / (double)(1UL << 30) / ((now_us() - begin) / 1e6);
}

static double bulk_move(struct setup *s, int node)
{
	double begin = now_us();

	must(hmadvise(node, s->mem, BULK, GM_PREFETCH), "PREFETCH");
	return (double)BULK / (double)(1UL << 30) / ((now_us() - begin) / 1e6);
}

static double bulk_rate(double us_a_block)
{
	return (double)BLOCK / (double)(1UL << 30) / (us_a_block / 1e6);
}

/* One way: the rates of gmem, of the bare calls and of memcpy(), and the ratios round by round. */
struct bulk {
	double got[BULK_ROUNDS], bare[BULK_ROUNDS], ratio[BULK_ROUNDS], bare_ratio[BULK_ROUNDS];
};

static void bulk_note(struct bulk *way, unsigned int i, double got, double bare_us, double one)
{
	way->got[i] = got;
	way->bare[i] = bulk_rate(bare_us);
	way->ratio[i] = got / one;
	way->bare_ratio[i] = way->bare[i] / one;
}

/*
 * Against memcpy() of as much by one thread, which is the limit that counts, and by all; and what
 * the same calls and copies come to with nothing around them, in one thread.
 */
void bench_prefetch(void)
{
	double one[BULK_ROUNDS], all[BULK_ROUNDS], r_all[BULK_ROUNDS], r, limit, bare_in, bare_out;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int n = cpus < 2 ? 2 : cpus > COPIERS ? COPIERS : (unsigned int)cpus;
	unsigned char *a = plain_memory(BULK), *b = plain_memory(BULK);
	struct bulk in, out;
	char what[80];
	struct setup s;
	struct bare bare;

	progress("a large prefetch");
	setup_create(&s, BULK, GM_AS_INLINE, 0, 0);
	bare_create(&bare, BULK, true);
	bare_map(&bare, 0, BULK);
	bulk_move(&s, s.node); /* the first time is not like the others */
	bulk_move(&s, GM_NODE_HOST);
	for (unsigned int i = 0; i < BULK_ROUNDS; i++) {
		double there, back;

		one[i] = bulk_copy(a, b, 1);
		there = bulk_move(&s, s.node);
		all[i] = bulk_copy(a, b, n);
		back = bulk_move(&s, GM_NODE_HOST);
		bare_moves(&bare, BULK / BLOCK, &bare_in, &bare_out);
		bulk_note(&in, i, there, bare_in, one[i]);
		bulk_note(&out, i, back, bare_out, one[i]);
		r_all[i] = there / all[i];
	}
	limit = median(one, BULK_ROUNDS);
	r = median(in.ratio, BULK_ROUNDS);
	row("256 MiB to the device, by PREFETCH, against memcpy", median(in.got, BULK_ROUNDS),
	    limit, "G/s", r, ">= 0.9", r >= 0.9);
	row("  the bare calls and copies, by one thread", median(in.bare, BULK_ROUNDS), limit,
	    "G/s", median(in.bare_ratio, BULK_ROUNDS), NULL, true);
	snprintf(what, sizeof(what), "  against memcpy by %u threads", n);
	row(what, median(in.got, BULK_ROUNDS), median(all, BULK_ROUNDS), "G/s",
	    median(r_all, BULK_ROUNDS), NULL, true);
	row("256 MiB home again, by PREFETCH, against memcpy", median(out.got, BULK_ROUNDS), limit,
	    "G/s", median(out.ratio, BULK_ROUNDS), NULL, true);
	row("  the bare calls and copies, by one thread", median(out.bare, BULK_ROUNDS), limit,
	    "G/s", median(out.bare_ratio, BULK_ROUNDS), NULL, true);
	bare_destroy(&bare);
	setup_destroy(&s);
	free(a);
	free(b);
}

/* ---------------------------------------------------------------- device to device */

/* 64 MiB from one device to another, straight; against memcpy() between two other such pieces. */
#define PEER_BLOCKS 32U

static void plug_peer(struct setup *s, struct gm_sim **sim, int *node)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = s->size + 16 * MIB,
				      .base = 1ULL << 40,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS };
	struct gm_sim_ctx *ctx; /* goes with the address space */

	must(gm_sim_create(&opt, sim), "gm_sim_create");
	must(gm_sim_attach(*sim, s->as, &ctx), "gm_sim_attach");
	*node = gm_dev_hnode(gm_sim_dev(*sim));
}

/* MiB/s of moving all of it to @node. */
static double peer_moves(struct setup *s, int node)
{
	double begin = now_us();

	must(hmadvise(node, s->mem, s->size, GM_PREFETCH), "PREFETCH");
	return (double)s->size / (double)MIB / ((now_us() - begin) / 1e6);
}

static double plain_copies(unsigned char *to, const unsigned char *from, size_t size)
{
	double begin = now_us();

	memcpy(to, from, size);
	return (double)size / (double)MIB / ((now_us() - begin) / 1e6);
}

void bench_peer(void)
{
	unsigned char *a = plain_memory(PEER_BLOCKS * BLOCK),
		      *b = plain_memory(PEER_BLOCKS * BLOCK);
	double got[ROUNDS], bare[ROUNDS], ratio[ROUNDS], r;
	struct gm_sim *sim;
	struct setup s;
	int node;

	progress("device to device");
	setup_create(&s, PEER_BLOCKS * BLOCK, GM_AS_INLINE, 0, 0);
	plug_peer(&s, &sim, &node);
	peer_moves(&s, s.node); /* the first times are not like the others */
	peer_moves(&s, node);
	peer_moves(&s, s.node);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		got[i] = peer_moves(&s, i % 2 ? s.node : node);
		bare[i] = plain_copies(i % 2 ? a : b, i % 2 ? b : a, PEER_BLOCKS * BLOCK);
		ratio[i] = got[i] / bare[i];
	}
	r = median(ratio, ROUNDS);
	row("64 MiB from device to device, by PREFETCH, against memcpy", median(got, ROUNDS) / 1024,
	    median(bare, ROUNDS) / 1024, "G/s", r, ">= 0.85", r >= 0.85);
	setup_destroy(&s);
	must(gm_sim_destroy(sim), "gm_sim_destroy");
	free(a);
	free(b);
}
