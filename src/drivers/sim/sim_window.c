// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What of gmem's interface for drivers this device hands on to programs: which parts of an
 * address space it sees, where, and in what mode.
 */
#include "sim_dev.h"

int gm_sim_window_add(struct gm_sim_ctx *ctx, const void *va, size_t len, uint64_t dev_va)
{
	struct gm_window w = { .va = (uintptr_t)va, .len = len, .dev_va = dev_va };

	return gm_window_add(ctx->gm, &w, 1);
}

int gm_sim_window_remove(struct gm_sim_ctx *ctx, const void *va, size_t len)
{
	struct gm_window w = { .va = (uintptr_t)va, .len = len };

	return gm_window_remove(ctx->gm, &w, 1);
}

int gm_sim_set_mode(struct gm_sim_ctx *ctx, const void *va, size_t len, enum gm_mode mode)
{
	return gm_context_set_mode(ctx->gm, (uintptr_t)va, len, mode);
}
