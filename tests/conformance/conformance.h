/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * One suite for both hosts and every kind of fault delivery: `conformance thread`,
 * `conformance inline` and `conformance kernel`, on the library as it is installed and two
 * simulated accelerators. What differs on the kernel host docs/kernel.md lists.
 */
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <gmem/driver.h>
#include <gmem/gmem.h>
#include <gmem/sim.h>

#include "process.h"

#define PAGE GM_PAGE_SIZE
#define BLOCK GM_BLOCK_SIZE
#define DEV_MEMORY (4 * BLOCK)
#define NR_DEVS 2

/* How faults are delivered in this run; and is it the kernel host's? */
extern uint32_t cf_flags;
extern bool cf_kernel;
/* The first device's page sizes, 0: the usual; and the smallest of them. */
extern uint64_t cf_pgsizes;
/* GM_SIM_* of every device, beside its own. */
extern uint32_t cf_dev_flags;
uint64_t cf_unit(void);

struct cf {
	struct gm_as *as;
	struct gm_sim *sim[NR_DEVS];
	struct gm_sim_ctx *ctx[NR_DEVS];
};

/* An address space, two devices attached; and all of it gone again, with nothing left behind. */
struct cf *cf_setup(void);
void cf_teardown(struct cf *cf);

/* Once, before the first setup. */
void cf_warm_up(void);

/*
 * A test between the two. Not cmocka's own setup and teardown, for around each of these it
 * installs a SIGBUS handler of its own.
 */
typedef void cf_test_fn(struct cf *cf);
void cf_run(void **state);
void cf_run_pages(void **state);
#define CF_TEST(fn) CF_TEST_BY(cf_run, fn)
/* It is about single pages: where a device's are larger, another test says what holds. */
#define CF_TEST_PAGES(fn) CF_TEST_BY(cf_run_pages, fn)
#define CF_TEST_BY(run, fn)                                                                        \
	{                                                                                          \
#fn, run, NULL, NULL, (void *)(1 ? (fn) : (cf_test_fn *)NULL)                      \
	}

/* Does the test not apply? Says why. */
bool cf_not_here(bool when, const char *why);

struct gm_as *cf_as(void);
struct gm_sim *cf_sim(void);
struct gm_dev *cf_dev(struct cf *cf, int i);
int cf_node(struct cf *cf, int i);
char *cf_alloc(struct cf *cf, uint64_t len);
void cf_unmap(struct cf *cf, void *p, uint64_t len);

/* Who reads or writes: the CPU, or device number 0 or 1. */
#define CPU (-1)
/* Every word of [p, p+len) to a value of its place and @seed; or check that it is so. */
void cf_fill(struct cf *cf, int who, void *p, uint64_t len, uint64_t seed);
void cf_check(struct cf *cf, int who, const void *p, uint64_t len, uint64_t seed);
/* Word number @i of what was filled so. */
uint64_t cf_word(uint64_t seed, uint64_t i);
/* As cf_check(), of a part, which begins @at bytes into what was filled. */
void cf_check_at(struct cf *cf, int who, const void *p, uint64_t len, uint64_t seed, uint64_t at);
void cf_check_zero(struct cf *cf, int who, const void *p, uint64_t len);
/* One access of a word by a device: 0 or -errno. */
int cf_dev_load(struct cf *cf, int dev, const void *p, uint64_t *v);
int cf_dev_store(struct cf *cf, int dev, void *p, uint64_t v);

/* All pages of [p, p+len) are on @node. */
void cf_on(const void *p, uint64_t len, int node);
uint64_t cf_count_on(const void *p, uint64_t len, int node);
struct gm_stats cf_dev_stats(struct cf *cf, int i);
struct gm_stats cf_as_stats(struct cf *cf);

extern const struct CMUnitTest cf_async_tests[];
extern const size_t cf_nr_async_tests;
extern const struct CMUnitTest cf_hmm_tests[], cf_partial_tests[], cf_peers_tests[];
extern const struct CMUnitTest cf_attr_tests[];
extern const size_t cf_nr_attr_tests;
extern const size_t cf_nr_hmm_tests, cf_nr_partial_tests, cf_nr_peers_tests;

extern const struct CMUnitTest cf_expose_tests[];
extern const size_t cf_nr_expose_tests;
extern const struct CMUnitTest cf_events_tests[];
extern const size_t cf_nr_events_tests;

/* Does the CPU's access to @p end in @sig? -1: no; else the signal's si_code. */
int cf_cpu_dies(const void *p, bool write, int sig);

extern const struct CMUnitTest cf_data_tests[], cf_calls_tests[], cf_process_tests[],
	cf_place_tests[], cf_place_busy_tests[], cf_context_tests[], cf_remove_tests[],
	cf_in_place_tests[], cf_lifecycle_tests[];
extern const size_t cf_nr_data_tests, cf_nr_calls_tests, cf_nr_process_tests, cf_nr_place_tests,
	cf_nr_place_busy_tests, cf_nr_context_tests, cf_nr_remove_tests, cf_nr_in_place_tests,
	cf_nr_lifecycle_tests;
int cf_run_child(const char *name);
/* This process ends with memory that is somebody's: no leak, but the sanitizer, which asks, thinks so. */
extern bool cf_leaves;
int cf_exit_child(const char *name); /* lifecycle.c */

#endif
