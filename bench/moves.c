// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What moving a whole block costs, there and back. */
#include <stdio.h>
#include <string.h>

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

static void bare_moves(struct bare *b, double *in, double *out)
{
	double begin = now_us();

	for (unsigned int i = 0; i < BLOCKS; i++) {
		bare_unmap(b, i * BLOCK, BLOCK);
		memcpy(b->store + i * BLOCK, b->alias + i * BLOCK, BLOCK);
	}
	*in = (now_us() - begin) / BLOCKS;
	begin = now_us();
	for (unsigned int i = 0; i < BLOCKS; i++) {
		memcpy(b->alias + i * BLOCK, b->store + i * BLOCK, BLOCK);
		bare_map(b, i * BLOCK, BLOCK);
	}
	*out = (now_us() - begin) / BLOCKS;
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
		bare_moves(&b, &bare_in[i], &bare_out[i]);
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
