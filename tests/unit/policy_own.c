// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The policies of the tests' own: see policy_own.h. */
#include "policy_own.h"

struct own own;

static void note(char what, const struct gm_policy_block *b, unsigned int first, unsigned int n,
		 unsigned int why)
{
	if (own.nr < 64)
		own.call[own.nr] = (struct own_call){ what, first, n, why, b->index };
	own.nr++;
}

static int own_start(void *state)
{
	assert_int_equal(*(uint64_t *)state, 0);
	own.started++;
	return own.start_err;
}

static void own_stop(void *state)
{
	assert_non_null(state);
	own.stopped++;
}

static void own_fault(void *state, struct gm_policy_block *b, const struct gm_policy_fault *fault,
		      struct gm_policy_move *move)
{
	++*(uint64_t *)state;
	assert_false(gm_mask_test(&b->here, fault->page));
	note('f', b, fault->page, fault->granule, fault->flags);
	if (own.move.n)
		*move = own.move;
}

static void own_came(void *state, struct gm_policy_block *b, unsigned int first, unsigned int n,
		     enum gm_policy_why why)
{
	(void)state;
	assert_int_equal(gm_mask_count(&b->here, first, n), n);
	note('c', b, first, n, why);
}

static void own_used(void *state, struct gm_policy_block *b, const struct gm_mask *pages,
		     uint64_t times)
{
	unsigned int first = 0;

	(void)state;
	while (first < 512 && !gm_mask_test(pages, first))
		first++;
	note('u', b, first, gm_mask_count(pages, 0, 512), 0);
	own.times = times;
}

static void own_went(void *state, struct gm_policy_block *b, unsigned int first, unsigned int n,
		     enum gm_policy_why why)
{
	(void)state;
	assert_int_equal(gm_mask_count(&b->here, first, n), 0);
	note('w', b, first, n, why);
}

static void own_evict(void *state, struct gm_policy_block *b, uint64_t want, unsigned int pressure,
		      struct gm_policy_victims *victims)
{
	(void)state;
	assert_true(want);
	note('e', b, 0, 0, pressure);
	own.seen = *b;
	own.evicts++;
	own.pressure = GM_MAX(own.pressure, pressure);
	own.bytes = b->bytes;
	victims->go = own.go;
	victims->probe = own.probe;
	b->word += (uint32_t)b->index + 1;
	if (b->bytes)
		b->bytes[511 * 4 + 3]++;
}

const struct gm_move_policy own_move = {
	.size = sizeof(own_move),
	.name = "own",
	.text = "what the test says",
	.state_size = 8,
	.start = own_start,
	.stop = own_stop,
	.fault = own_fault,
};

const struct gm_evict_policy own_evicts = {
	.size = sizeof(own_evicts),
	.name = "own",
	.text = "whom the test says",
	.state_size = 8,
	.page_bytes = 4,
	.flags = GM_EVICT_AGE,
	.start = own_start,
	.stop = own_stop,
	.came = own_came,
	.used = own_used,
	.went = own_went,
	.evict = own_evict,
};

int own_setup(void **state)
{
	unit_setup(state);
	own = (struct own){ .nr = 0 };
	assert_int_equal(gm_policy_register(&own_move, &own_evicts), 0);
	return 0;
}

int own_teardown(void **state)
{
	assert_int_equal(gm_policy_unregister(&own_move, &own_evicts), 0);
	return unit_teardown(state);
}

void own_choose(struct unit *u, const char *names)
{
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), names), 0);
}

struct gm_context *own_context(struct unit *u)
{
	return gm_context_find(u->as, unit_dev(u, 0));
}

void own_expect_names(struct unit *u, const char *names)
{
	char now[2 * GM_POLICY_NAME];

	assert_int_equal(gm_dev_policy(unit_dev(u, 0), now, sizeof(now)), 0);
	assert_string_equal(now, names);
}

void own_expect_calls(const struct own_call *calls, unsigned int n)
{
	for (unsigned int i = 0; i < GM_MAX(n, own.nr); i++) {
		const struct own_call *c = &own.call[i];

		if (i >= n || i >= own.nr)
			fail_msg("%u calls, not %u; the last: %c [%u, +%u) why %u", own.nr, n,
				 own.call[own.nr ? own.nr - 1 : 0].what, c->first, c->n, c->why);
		if (c->what != calls[i].what || c->first != calls[i].first || c->n != calls[i].n ||
		    c->why != calls[i].why || c->index != calls[i].index)
			fail_msg("call %u: %c [%u, +%u) why %u of block %u", i, c->what, c->first,
				 c->n, c->why, (unsigned int)c->index);
	}
	own.nr = 0;
}
