/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Policies by name. */
#ifndef GM_HOST_REPLAY_POLICY_H
#define GM_HOST_REPLAY_POLICY_H

#include <gmem/policy.h>

#define REPLAY_POLICY (2U * GM_POLICY_NAME) /* bytes of two names, with what is in between */

/*
 * NULL, or what is wrong with the name. Of one that is well the granule, 0 if it is not said,
 * and the names as gmem has them.
 */
const char *replay_policy_parse(const char *name, uint32_t *granule, char plain[REPLAY_POLICY]);

#endif
