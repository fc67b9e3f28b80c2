/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* From device to device: shared by test_peer.c and test_peer_links.c. */
#ifndef PEER_LIB_H
#define PEER_LIB_H

#include "unit.h"

#include "core/core.h"

#define RW (GM_READ | GM_WRITE)

int prefetch(struct unit *u, int node, uint64_t va, uint64_t len);
/* All of [va, va+len) on device number @dev, of @tag. */
void put_on(struct unit *u, unsigned int dev, uint64_t va, uint64_t len, uint64_t tag);
uint64_t copies(struct unit *u, unsigned int dev);
struct gm_sim *sim_with(uint32_t flags, uint64_t base);
/* Instead of device 1, one of these options. */
void change_second(struct unit *u, uint32_t flags);

#endif
