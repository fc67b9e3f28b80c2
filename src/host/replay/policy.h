/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Policies by name. */
#ifndef GM_HOST_REPLAY_POLICY_H
#define GM_HOST_REPLAY_POLICY_H

#include <gmem/driver.h>

/* What a device is to be tuned to for a policy, and its name without that; NULL, or what is wrong. */
const char *replay_policy_parse(const char *name, struct gm_dev_tunables *t, char *pair,
				size_t size);

#endif
