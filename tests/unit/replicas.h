/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What the tests of read duplication share: four devices, and a look at who has replicas. */
#ifndef REPLICAS_H
#define REPLICAS_H

#include "unit.h"

#include "core/core.h"

#define DEVS 4U
#define GRANULE (16 * PAGE)

struct duplication {
	struct unit u; /* its devices are the first two */
	struct gm_sim *sim[DEVS];
	struct gm_sim_ctx *ctx[DEVS];
};

/*
 * cmocka's. Besides the first: devices that read each other's memory; that take messages; with base
 * pages of 64 KiB.
 */
int setup(void **state);
int setup_peers(void **state);
int setup_messages(void **state);
int setup_units(void **state);
int teardown(void **state);

int node_of(struct duplication *t, unsigned int dev);
int dev_access(struct duplication *t, unsigned int dev, uint64_t va, void *buf, uint64_t len,
	       uint32_t access);
void read_by(struct duplication *t, unsigned int dev, uint64_t va, uint64_t len, uint64_t tag);
void write_by(struct duplication *t, unsigned int dev, uint64_t va, uint64_t len, uint64_t tag);
struct gm_stats stats(struct duplication *t, unsigned int dev);
uint64_t used(struct duplication *t, unsigned int dev);
bool replicated(struct duplication *t, uint64_t va);
/* How many pages of the range have replicas. */
unsigned int copied(struct duplication *t, uint64_t va, uint64_t len);
int say(struct duplication *t, uint64_t va, uint64_t len, enum gm_advice advice);
/* Read-mostly memory of @tag, in host backing. */
uint64_t mostly(struct duplication *t, uint64_t len, uint64_t tag);
/* The same, and all devices have replicas. */
uint64_t spread(struct duplication *t, uint64_t len, uint64_t tag);
void read_by_all(struct duplication *t, uint64_t va, uint64_t len, uint64_t tag);
struct gm_block *block_at(struct duplication *t, uint64_t va);
/* The physical address of a device's replica of a page. */
uint64_t frame_of(struct duplication *t, unsigned int dev, uint64_t va);

#endif
