/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A pair of policies that answer what a test says, and note what they were asked and told. cmocka's
 * assertions are used throughout.
 */
#ifndef POLICY_OWN_H
#define POLICY_OWN_H

#include "unit.h"

#include "core/policy.h"

/* What a function was called with. */
struct own_call {
	char what; /* f: fault, c: came, u: used, w: went, e: evict */
	unsigned int first, n, why;
	uint64_t index;
};

extern struct own {
	struct own_call call[64];
	unsigned int nr, started, stopped;
	int start_err;
	struct gm_policy_move move;  /* the answer to fault(), if n is not 0 */
	struct gm_mask go, probe;    /* and to evict() */
	struct gm_policy_block seen; /* by the last evict() */
	uint8_t *bytes;
	unsigned int evicts, pressure;
	uint64_t times;
} own;

extern const struct gm_move_policy own_move;
extern const struct gm_evict_policy own_evicts; /* page_bytes 4, and what is used is asked for */

/* cmocka's: unit_setup() with both registered, under the name "own", and not chosen. */
int own_setup(void **state);
int own_teardown(void **state);

/* Of device 0. */
void own_choose(struct unit *u, const char *names);
void own_expect_names(struct unit *u, const char *names);
struct gm_context *own_context(struct unit *u);

/* The calls since the last time. */
void own_expect_calls(const struct own_call *calls, unsigned int n);
#define OWN_EXPECT(...)                                                                            \
	do {                                                                                       \
		const struct own_call calls[] = { __VA_ARGS__ };                                   \
		own_expect_calls(calls, sizeof(calls) / sizeof(calls[0]));                         \
	} while (0)

#endif
