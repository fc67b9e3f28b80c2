/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Leaves larger than a block: span.c, for leaf.c and those who release by ranges. */
#ifndef GM_CORE_SPAN_H
#define GM_CORE_SPAN_H

#include "core/view.h"

/* 0 and NULL for a device without such leaves. Fails: -ENOMEM. */
int gm_spans_new(const struct gm_dev *dev, struct gm_spans **spans);
void gm_spans_free(struct gm_spans *spans);

/* Could a block at the device's address @dva, in memory at @pa, ever be part of such a leaf? */
bool gm_span_may(const struct gm_spans *spans, uint64_t dva, uint64_t pa);

/*
 * Of a block that is whole in the view, at @dva and in memory at @pa, and that gm_span_may()
 * is true of. Block locked.
 */
int gm_span_enter(const struct gm_view *v, uint64_t dva, uint64_t pa);
int gm_span_leave(const struct gm_view *v, uint64_t dva, uint64_t pa, bool *torn);

/* No leaf of this kind crosses @dva, which is not inside a block, until the next such call. */
int gm_span_cut(const struct gm_view *v, uint64_t dva, uint64_t pa);

/* [dva, end) of the device's addresses was released. */
void gm_span_forget(struct gm_context *ctx, uint64_t dva, uint64_t end);

#endif
