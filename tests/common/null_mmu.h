/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A driver's table that does nothing and always succeeds, for who needs a device and not its memory:
 * no byte of what goes there comes back. Each function costs next to nothing.
 */
#ifndef TESTS_COMMON_NULL_MMU_H
#define TESTS_COMMON_NULL_MMU_H

#include <gmem/driver.h>

extern const struct gm_mmu null_mmu;

#endif
