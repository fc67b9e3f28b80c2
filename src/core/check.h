/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef GM_CORE_CHECK_H
#define GM_CORE_CHECK_H

/*
 * Debug builds: check the whole state against the invariants; stop at the first that
 * is broken. Nothing else may be under way.
 */
void gm_check_all(void);

#endif
