/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the unit tests share: a bench with an address space and simulated devices on
 * the fake host, patterns, and a look at where pages are. cmocka's assertions are
 * used throughout, so these may be called from a test only.
 */
#ifndef UNIT_H
#define UNIT_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <gmem/driver.h>
#include <gmem/gmem.h>
#include <gmem/sim.h>

#include "host/fake/fake.h"

#define PAGE GM_PAGE_SIZE
#define BLOCK GM_BLOCK_SIZE
#define UNIT_DEVS 2

struct unit {
	struct gm_as *as;
	struct gm_sim *sim[UNIT_DEVS];
	struct gm_sim_ctx *ctx[UNIT_DEVS];
};

/* cmocka's setup: two devices of 4 blocks each, attached; tuned to move what is touched, no more. */
int unit_setup(void **state);
/* cmocka's teardown: everything goes, and nothing may leak. */
int unit_teardown(void **state);
/* The same without devices, and with nothing but the core. */
int unit_setup_as(void **state);
int unit_setup_core(void **state);
/* The same with one device, whose memory, 4 blocks, is in an aperture. */
int unit_setup_aperture(void **state);

struct gm_sim *unit_sim(unsigned int blocks, unsigned int nr);
struct gm_dev *unit_dev(struct unit *u, unsigned int i);
int unit_node(struct unit *u, unsigned int i);
void unit_tune(struct gm_dev *dev, uint32_t granule, bool no_grow, bool no_background);

uint64_t unit_alloc(struct unit *u, uint64_t len);
struct gm_object *unit_object(uint64_t size);
uint64_t unit_map(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len,
		  uint32_t prot);
uint64_t unit_map_at(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len,
		     uint64_t va);
void unit_unmap(struct gm_as *as, uint64_t va, uint64_t len);

/* Who reads or writes: the CPU, or device number 0 or 1. */
#define CPU (-1)
int unit_access(struct unit *u, int who, uint64_t va, void *buf, uint64_t len, uint32_t access);
uint64_t unit_load(struct unit *u, int who, uint64_t va);
void unit_store(struct unit *u, int who, uint64_t va, uint64_t value);
/* A word in each page, of @tag and the address. */
void unit_fill(struct unit *u, int who, uint64_t va, uint64_t len, uint64_t tag);
void unit_verify(struct unit *u, int who, uint64_t va, uint64_t len, uint64_t tag);
/* The same look without moving anything; @tag 0: zeros. */
void unit_peek(struct gm_as *as, uint64_t va, uint64_t len, uint64_t tag);

/* Where the CPU has it. */
uint64_t unit_cpu_of(struct unit *u, uint64_t va);
struct gm_page_info unit_info(struct gm_as *as, uint64_t va);
void unit_on(struct gm_as *as, uint64_t va, uint64_t len, int node);
uint64_t unit_count_on(struct gm_as *as, uint64_t va, uint64_t len, int node);
struct gm_stats unit_as_stats(struct gm_as *as);
struct gm_stats unit_dev_stats(struct gm_dev *dev);
struct gm_hnode_info unit_hnode(int node);

/* fn(arg) in a thread of its own, to its end. The fake host must be told of threads. */
void unit_in_thread(void *(*fn)(void *arg), void *arg);

/* fn ends by gm_os_bug() with @text in its message. */
void unit_expect_bug(void (*fn)(void *arg), void *arg, const char *text);
/* gm_check_all() where the build has it. */
void unit_check(void);

#endif
