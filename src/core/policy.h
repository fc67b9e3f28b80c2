/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What those who ask policies and those who choose them share; and the policies that are built in.
 */
#ifndef GM_CORE_POLICY_H
#define GM_CORE_POLICY_H

#include "core/core.h"

/* gm_policies.hears */
#define GM_HEARS_CAME 1U
#define GM_HEARS_USED 2U
#define GM_HEARS_WENT 4U

/* policy/ */
extern const struct gm_move_policy gm_move_auto, gm_move_density, gm_move_fixed, gm_move_stream;
extern const struct gm_evict_policy gm_evict_lru, gm_evict_clock, gm_evict_rrip, gm_evict_s3fifo;

#endif
