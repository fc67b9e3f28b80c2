// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* See peer_lib.h. */
#include "peer_lib.h"

int prefetch(struct unit *u, int node, uint64_t va, uint64_t len)
{
	return gm_advise(u->as, node, va, len, GM_PREFETCH);
}

void put_on(struct unit *u, unsigned int dev, uint64_t va, uint64_t len, uint64_t tag)
{
	unit_fill(u, CPU, va, len, tag);
	assert_int_equal(prefetch(u, unit_node(u, dev), va, len), 0);
}

uint64_t copies(struct unit *u, unsigned int dev)
{
	struct gm_sim_stats s = { .size = sizeof(s) };

	gm_sim_stats(u->sim[dev], &s);
	assert_int_equal(s.stale, 0);
	return s.copies;
}

struct gm_sim *sim_with(uint32_t flags, uint64_t base)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = base,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK | flags };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	unit_tune(gm_sim_dev(sim), PAGE, true, true);
	return sim;
}

void change_second(struct unit *u, uint32_t flags)
{
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[1]), 0);
	u->sim[1] = sim_with(flags, 2ULL << 32);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
}
