/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Memory of a device that fails: shared by test_poison.c and test_poison_fail.c. */
#ifndef POISON_LIB_H
#define POISON_LIB_H

#include "core/core.h"

#include "unit.h"

#define BLOCKS 4 /* of each device, see unit_setup() */

uint64_t pa_of(struct gm_as *as, uint64_t va);
/* The frame of the page at @va fails, on device @i. */
uint64_t lose(struct unit *u, unsigned int i, uint64_t va);
/* The page is lost to everybody, and says so. */
void is_lost(struct unit *u, uint64_t va);
/* All of [va, va+len) but the page at @bad is as it was. */
void rest_verify(struct unit *u, int who, uint64_t va, uint64_t len, uint64_t bad, uint64_t tag);
void rest_on(struct unit *u, uint64_t va, uint64_t len, uint64_t bad, int node);

#endif
