/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What hints (advise.c) and those who carry them out in several threads (async.c) share. */
#ifndef GM_CORE_ASYNC_H
#define GM_CORE_ASYNC_H

#include "core/core.h"

/* advise.c: a hint and its pieces */
bool gm_advice_ok(uint64_t va, uint64_t len, uint32_t advice);
int gm_advise_check(struct gm_as *as, int hnode, uint64_t lo, uint64_t hi, uint32_t advice);
int gm_advise_next(struct gm_as *as, int hnode, uint64_t *lo, uint64_t hi, uint32_t advice,
		   struct gm_context **ctx, struct gm_piece *piece);
int gm_advise_piece(struct gm_as *as, struct gm_context *ctx, const struct gm_piece *piece,
		    uint32_t advice);

/* Does it move pages, so that it is carried out piece by piece, several at once? */
static inline bool gm_advice_moves(uint32_t advice)
{
	return advice == GM_PREFETCH || advice == GM_PIN;
}

/* async.c */
void gm_sweeps_init(void);
void gm_sweeps_exit(void);
void gm_sweeps_stop(struct gm_as *as);
bool gm_sweep_pays(uint64_t len, uint32_t advice);
int gm_sweep(struct gm_as *as, int hnode, uint64_t lo, uint64_t hi, uint32_t advice);

#endif
