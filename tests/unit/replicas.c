// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The bench of the tests of read duplication: see replicas.h. */
#include "replicas.h"

static struct gm_sim *sim_with(unsigned int nr, uint32_t flags, uint64_t pgsizes)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = (1ULL + nr) << 32,
				      .table_memory = 1 << 20,
				      .pgsize_bitmap = pgsizes,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK | flags };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	assert_int_equal(gm_dev_set_policy(gm_sim_dev(sim), "density/lru-2m"), 0);
	unit_tune(gm_sim_dev(sim), GRANULE, true, true);
	return sim;
}

static int setup_with(void **state, uint32_t flags, uint64_t pgsizes)
{
	struct duplication *t = calloc(1, sizeof(*t));

	gm_fake_reset();
	assert_non_null(t);
	assert_int_equal(gm_core_init(), 0);
	assert_int_equal(gm_as_create(NULL, &t->u.as), 0);
	for (unsigned int i = 0; i < DEVS; i++) {
		t->sim[i] = sim_with(i, flags, pgsizes);
		assert_int_equal(gm_sim_attach(t->sim[i], t->u.as, &t->ctx[i]), 0);
	}
	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		t->u.sim[i] = t->sim[i];
		t->u.ctx[i] = t->ctx[i];
	}
	*state = t;
	return 0;
}

int setup(void **state)
{
	return setup_with(state, 0, 0);
}

int setup_peers(void **state)
{
	return setup_with(state, GM_SIM_READ_PEER, 0);
}

int setup_messages(void **state)
{
	return setup_with(state, GM_SIM_PEER_OPS, 0);
}

int setup_units(void **state)
{
	return setup_with(state, 0, 16 * PAGE | BLOCK);
}

int teardown(void **state)
{
	struct duplication *t = *state;
	struct gm_sim_stats s = { .size = sizeof(s) };

	for (unsigned int i = 0; i < DEVS; i++) {
		gm_sim_stats(t->sim[i], &s);
		assert_int_equal(s.stale, 0);
	}
	gm_fake_inject_clear();
	unit_check();
	assert_int_equal(gm_as_destroy(t->u.as), 0);
	for (unsigned int i = 0; i < DEVS; i++)
		assert_int_equal(gm_sim_destroy(t->sim[i]), 0);
	gm_core_exit();
	assert_true(gm_fake_check_clean());
	free(t);
	return 0;
}

int node_of(struct duplication *t, unsigned int dev)
{
	return gm_dev_hnode(gm_sim_dev(t->sim[dev]));
}

int dev_access(struct duplication *t, unsigned int dev, uint64_t va, void *buf, uint64_t len,
	       uint32_t access)
{
	return gm_sim_access(t->ctx[dev], (void *)(uintptr_t)va, buf, len, access);
}

void read_by(struct duplication *t, unsigned int dev, uint64_t va, uint64_t len, uint64_t tag)
{
	struct unit one = { .as = t->u.as, .sim = { t->sim[dev] }, .ctx = { t->ctx[dev] } };

	unit_verify(&one, 0, va, len, tag);
}

void write_by(struct duplication *t, unsigned int dev, uint64_t va, uint64_t len, uint64_t tag)
{
	struct unit one = { .as = t->u.as, .sim = { t->sim[dev] }, .ctx = { t->ctx[dev] } };

	unit_fill(&one, 0, va, len, tag);
}

struct gm_stats stats(struct duplication *t, unsigned int dev)
{
	return unit_dev_stats(gm_sim_dev(t->sim[dev]));
}

uint64_t used(struct duplication *t, unsigned int dev)
{
	struct gm_hnode_info info = unit_hnode(node_of(t, dev));

	return info.total - info.free;
}

bool replicated(struct duplication *t, uint64_t va)
{
	return unit_info(t->u.as, va).flags & GM_PAGE_REPLICATED;
}

unsigned int copied(struct duplication *t, uint64_t va, uint64_t len)
{
	unsigned int n = 0;

	for (uint64_t off = 0; off < len; off += PAGE)
		n += replicated(t, va + off);
	return n;
}

int say(struct duplication *t, uint64_t va, uint64_t len, enum gm_advice advice)
{
	return gm_advise(t->u.as, GM_NODE_NONE, va, len, advice);
}

uint64_t mostly(struct duplication *t, uint64_t len, uint64_t tag)
{
	uint64_t va = unit_alloc(&t->u, len);

	unit_fill(&t->u, CPU, va, len, tag);
	assert_int_equal(say(t, va, len, GM_READ_MOSTLY), 0);
	return va;
}

uint64_t spread(struct duplication *t, uint64_t len, uint64_t tag)
{
	uint64_t va = mostly(t, len, tag);

	for (unsigned int i = 0; i < DEVS; i++)
		read_by(t, i, va, len, tag);
	return va;
}

void read_by_all(struct duplication *t, uint64_t va, uint64_t len, uint64_t tag)
{
	for (unsigned int i = 0; i < DEVS; i++)
		read_by(t, i, va, len, tag);
	unit_verify(&t->u, CPU, va, len, tag);
}

struct gm_block *block_at(struct duplication *t, uint64_t va)
{
	struct gm_region *r = gm_region_find(t->u.as, va);

	return gm_lpt_peek(r->obj, (va - r->va + r->offset) >> GM_BLOCK_SHIFT);
}

uint64_t frame_of(struct duplication *t, unsigned int dev, uint64_t va)
{
	struct gm_resident *res = gm_resident_find(block_at(t, va), gm_sim_dev(t->sim[dev]));

	assert_non_null(res);
	assert_non_null(res->copies);
	return gm_entry_pfn(res->copies[va / PAGE % GM_BLOCK_PAGES]) << GM_PAGE_SHIFT;
}
