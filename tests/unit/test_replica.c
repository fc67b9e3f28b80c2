// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Read duplication: what was said to be read mostly is read by everybody where it is, until
 * somebody writes it; and replicas go whenever anybody wants their frames, or the page, without
 * a copy and without a loss.
 */
#include "unit.h"

#include "core/core.h"

#define DEVS 4U
#define GRANULE (16 * PAGE)
#define ENOUGH 64U /* failures to inject one after another: more than any operation has */

struct duplication {
	struct unit u; /* its devices are the first two */
	struct gm_sim *sim[DEVS];
	struct gm_sim_ctx *ctx[DEVS];
};

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

static int setup(void **state)
{
	return setup_with(state, 0, 0);
}

static int setup_peers(void **state)
{
	return setup_with(state, GM_SIM_READ_PEER, 0);
}

static int setup_messages(void **state)
{
	return setup_with(state, GM_SIM_PEER_OPS, 0);
}

static int setup_units(void **state)
{
	return setup_with(state, 0, 16 * PAGE | BLOCK);
}

static int teardown(void **state)
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

/* --------------------------------------------------------------------------- looking */

static int node_of(struct duplication *t, unsigned int dev)
{
	return gm_dev_hnode(gm_sim_dev(t->sim[dev]));
}

static int dev_access(struct duplication *t, unsigned int dev, uint64_t va, void *buf, uint64_t len,
		      uint32_t access)
{
	return gm_sim_access(t->ctx[dev], (void *)(uintptr_t)va, buf, len, access);
}

static void read_by(struct duplication *t, unsigned int dev, uint64_t va, uint64_t len,
		    uint64_t tag)
{
	struct unit one = { .as = t->u.as, .sim = { t->sim[dev] }, .ctx = { t->ctx[dev] } };

	unit_verify(&one, 0, va, len, tag);
}

static void write_by(struct duplication *t, unsigned int dev, uint64_t va, uint64_t len,
		     uint64_t tag)
{
	struct unit one = { .as = t->u.as, .sim = { t->sim[dev] }, .ctx = { t->ctx[dev] } };

	unit_fill(&one, 0, va, len, tag);
}

static struct gm_stats stats(struct duplication *t, unsigned int dev)
{
	return unit_dev_stats(gm_sim_dev(t->sim[dev]));
}

static uint64_t used(struct duplication *t, unsigned int dev)
{
	struct gm_hnode_info info = unit_hnode(node_of(t, dev));

	return info.total - info.free;
}

static bool replicated(struct duplication *t, uint64_t va)
{
	return unit_info(t->u.as, va).flags & GM_PAGE_REPLICATED;
}

/* How many pages of the range have replicas. */
static unsigned int copied(struct duplication *t, uint64_t va, uint64_t len)
{
	unsigned int n = 0;

	for (uint64_t off = 0; off < len; off += PAGE)
		n += replicated(t, va + off);
	return n;
}

static int say(struct duplication *t, uint64_t va, uint64_t len, enum gm_advice advice)
{
	return gm_advise(t->u.as, GM_NODE_NONE, va, len, advice);
}

/* Read-mostly memory of @tag, in host backing. */
static uint64_t mostly(struct duplication *t, uint64_t len, uint64_t tag)
{
	uint64_t va = unit_alloc(&t->u, len);

	unit_fill(&t->u, CPU, va, len, tag);
	assert_int_equal(say(t, va, len, GM_READ_MOSTLY), 0);
	return va;
}

/* The same, and all devices have replicas. */
static uint64_t spread(struct duplication *t, uint64_t len, uint64_t tag)
{
	uint64_t va = mostly(t, len, tag);

	for (unsigned int i = 0; i < DEVS; i++)
		read_by(t, i, va, len, tag);
	return va;
}

static void read_by_all(struct duplication *t, uint64_t va, uint64_t len, uint64_t tag)
{
	for (unsigned int i = 0; i < DEVS; i++)
		read_by(t, i, va, len, tag);
	unit_verify(&t->u, CPU, va, len, tag);
}

static struct gm_block *block_at(struct duplication *t, uint64_t va)
{
	struct gm_region *r = gm_region_find(t->u.as, va);

	return gm_lpt_peek(r->obj, (va - r->va + r->offset) >> GM_BLOCK_SHIFT);
}

/* The physical address of a device's replica of a page. */
static uint64_t frame_of(struct duplication *t, unsigned int dev, uint64_t va)
{
	struct gm_resident *res = gm_resident_find(block_at(t, va), gm_sim_dev(t->sim[dev]));

	assert_non_null(res);
	assert_non_null(res->copies);
	return gm_entry_pfn(res->copies[va / PAGE % GM_BLOCK_PAGES]) << GM_PAGE_SHIFT;
}

/* --------------------------------------------------------------------------- reading */

/* The figure: after the first read of each, nothing moves any more, and nobody faults. */
static void four_devices(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, 2 * BLOCK, 1), pages = 2 * BLOCK / PAGE, faults;
	struct gm_stats as;

	for (unsigned int i = 0; i < DEVS; i++) {
		read_by(t, i, va, 2 * BLOCK, 1);
		assert_int_equal(stats(t, i).pages_to_dev, pages);
		assert_int_equal(stats(t, i).pages_replicated, pages);
		assert_int_equal(stats(t, i).dev_faults, 2 * BLOCK / GRANULE);
		assert_int_equal(used(t, i), 2 * BLOCK);
	}
	unit_verify(&t->u, CPU, va, 2 * BLOCK, 1);
	as = unit_as_stats(t->u.as);
	assert_int_equal(as.pages_to_host, 0);
	assert_int_equal(as.pages_to_dev, DEVS * pages);
	faults = gm_fake_cpu_faults();
	for (unsigned int round = 0; round < 5; round++)
		read_by_all(t, va, 2 * BLOCK, 1);
	assert_int_equal(gm_fake_cpu_faults(), faults);
	assert_int_equal(unit_as_stats(t->u.as).pages_to_host, 0);
	assert_int_equal(unit_as_stats(t->u.as).pages_to_dev, DEVS * pages);
	assert_int_equal(unit_as_stats(t->u.as).dev_faults, as.dev_faults);
	unit_on(t->u.as, va, 2 * BLOCK, GM_NODE_HOST);
	assert_int_equal(copied(t, va, 2 * BLOCK), pages);
	assert_true(gm_fake_page(t->u.as, va) & GM_FAKE_READONLY);
}

/* Nobody has it yet: it begins as zeros in host memory. */
static void from_nothing(void **state)
{
	struct duplication *t = *state;
	uint64_t va = unit_alloc(&t->u, BLOCK);

	assert_int_equal(say(t, va, BLOCK, GM_READ_MOSTLY), 0);
	for (unsigned int i = 0; i < DEVS; i++)
		read_by(t, i, va, BLOCK, 0);
	unit_on(t->u.as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(copied(t, va, BLOCK), 512);
}

/* What is read densely is soon duplicated by the block. */
static void grows(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, BLOCK, 1);

	unit_tune(gm_sim_dev(t->sim[1]), GRANULE, false, true);
	read_by(t, 1, va, BLOCK, 1);
	assert_int_equal(used(t, 1), BLOCK);
	assert_in_range(stats(t, 1).dev_faults, 2, 8);
	assert_int_equal(stats(t, 1).pages_to_dev, 512);
}

/* What a device has goes home when another reads it; until then it is the device's to write. */
static void from_a_device(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, BLOCK, 1);

	write_by(t, 0, va, BLOCK, 2);
	unit_on(t->u.as, va, BLOCK, node_of(t, 0));
	read_by(t, 0, va, BLOCK, 2);
	assert_int_equal(copied(t, va, BLOCK), 0);
	read_by(t, 1, va, BLOCK, 2);
	unit_on(t->u.as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(used(t, 0), 0);
	read_by_all(t, va, BLOCK, 2);
	assert_int_equal(used(t, 0), BLOCK);
}

/* A hint for a part of what one fault would bring. */
static void hint_ends(void **state)
{
	struct duplication *t = *state;
	uint64_t va = unit_alloc(&t->u, BLOCK);

	unit_fill(&t->u, CPU, va, BLOCK, 1);
	assert_int_equal(say(t, va + 4 * PAGE, 8 * PAGE, GM_READ_MOSTLY), 0);
	read_by(t, 0, va + 5 * PAGE, PAGE, 1);
	assert_int_equal(copied(t, va, BLOCK), 8);
	assert_true(replicated(t, va + 4 * PAGE) && replicated(t, va + 11 * PAGE));
	/* And the other way round: what is not said to be so moves, up to there. */
	read_by(t, 0, va, PAGE, 1);
	unit_on(t->u.as, va, 4 * PAGE, node_of(t, 0));
	unit_on(t->u.as, va + 4 * PAGE, 12 * PAGE, GM_NODE_HOST);
	read_by(t, 0, va + 12 * PAGE, PAGE, 1);
	unit_on(t->u.as, va + 12 * PAGE, 4 * PAGE, node_of(t, 0));
	assert_int_equal(copied(t, va, BLOCK), 8);
	read_by_all(t, va, BLOCK, 1);
}

/* Once it is unset there are no new ones; those that there are stay until they are written. */
static void unset(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, BLOCK, 1);

	read_by(t, 0, va, BLOCK, 1);
	assert_int_equal(say(t, va, BLOCK, GM_UNSET_READ_MOSTLY), 0);
	read_by(t, 0, va, BLOCK, 1);
	assert_int_equal(copied(t, va, BLOCK), 512);
	read_by(t, 1, va, GRANULE, 1);
	unit_on(t->u.as, va, GRANULE, node_of(t, 1));
	assert_int_equal(copied(t, va, BLOCK), 512 - 16);
	read_by_all(t, va, BLOCK, 1);
}

static void prefetched(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, BLOCK, 1);

	for (unsigned int i = 0; i < DEVS; i++) {
		assert_int_equal(gm_advise(t->u.as, node_of(t, i), va, BLOCK, GM_PREFETCH), 0);
		read_by(t, i, va, BLOCK, 1);
		assert_int_equal(stats(t, i).dev_faults, 0);
		assert_int_equal(stats(t, i).pages_prefetched, 512);
	}
	unit_on(t->u.as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(gm_advise(t->u.as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(copied(t, va, BLOCK), 512);
	assert_true(gm_fake_page(t->u.as, va) & GM_FAKE_READONLY);
	/* A range of which a part is said to be so. */
	va = unit_alloc(&t->u, BLOCK);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	assert_int_equal(say(t, va + 100 * PAGE, 50 * PAGE, GM_READ_MOSTLY), 0);
	assert_int_equal(gm_advise(t->u.as, node_of(t, 2), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(copied(t, va, BLOCK), 50);
	assert_int_equal(unit_count_on(t->u.as, va, BLOCK, node_of(t, 2)), 462);
	read_by_all(t, va, BLOCK, 2);
}

/* --------------------------------------------------------------------------- writing */

/* By the CPU, by one that has a replica, by one that has none: nobody has replicas of the granule then. */
static void written(void **state)
{
	struct duplication *t = *state;

	for (int who = CPU; who < 2; who++) {
		uint64_t va = mostly(t, BLOCK, 1);

		for (unsigned int i = 0; i < DEVS; i++)
			if (i != 1)
				read_by(t, i, va, BLOCK, 1);
		unit_verify(&t->u, CPU, va, BLOCK, 1);
		unit_store(&t->u, who, va + 20 * PAGE, 77);
		assert_int_equal(copied(t, va, BLOCK), 512 - 16);
		assert_int_equal(unit_info(t->u.as, va + 20 * PAGE).node,
				 who == CPU ? GM_NODE_HOST : node_of(t, (unsigned int)who));
		for (unsigned int i = 0; i < DEVS; i++) {
			uint64_t v;

			assert_int_equal(dev_access(t, i, va + 20 * PAGE, &v, 8, GM_READ), 0);
			assert_int_equal(v, 77);
		}
		assert_int_equal(copied(t, va, BLOCK), 512);
		unit_fill(&t->u, who, va, BLOCK, 3);
		read_by_all(t, va, BLOCK, 3);
		unit_unmap(t->u.as, va, BLOCK);
		for (unsigned int i = 0; i < DEVS; i++)
			assert_int_equal(used(t, i), 0);
	}
}

/* Every store is seen by everybody, whoever makes it. */
static void in_turns(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, GRANULE, 1), v;

	for (uint64_t round = 1; round < 60; round++) {
		unsigned int who = (unsigned int)(round * 7 % (DEVS + 1));

		v = round;
		if (who == DEVS)
			unit_store(&t->u, CPU, va + 3 * PAGE, round);
		else
			assert_int_equal(dev_access(t, who, va + 3 * PAGE, &v, 8, GM_WRITE), 0);
		for (unsigned int i = 0; i < DEVS; i++) {
			assert_int_equal(dev_access(t, i, va + 3 * PAGE, &v, 8, GM_READ), 0);
			assert_int_equal(v, round);
		}
		assert_int_equal(unit_load(&t->u, CPU, va + 3 * PAGE), round);
	}
	unit_check();
}

/* hmemcpy() reads without disturbing anybody, and what it writes everybody sees. */
static void copied_into(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1), one = 99, v;

	unit_peek(t->u.as, va, BLOCK, 1);
	assert_int_equal(copied(t, va, BLOCK), 512);
	assert_int_equal(gm_copy(GM_NODE_NONE, t->u.as, va + 5 * PAGE, NULL, (uintptr_t)&one, 8),
			 0);
	assert_int_equal(copied(t, va, BLOCK), 511);
	for (unsigned int i = 0; i < DEVS; i++) {
		assert_int_equal(dev_access(t, i, va + 5 * PAGE, &v, 8, GM_READ), 0);
		assert_int_equal(v, 99);
	}
}

static void dropped(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	assert_int_equal(say(t, va, BLOCK / 2, GM_DONTNEED), 0);
	assert_int_equal(copied(t, va, BLOCK), 256);
	assert_int_equal(used(t, 3), BLOCK / 2);
	read_by_all(t, va, BLOCK / 2, 0);
	read_by_all(t, va + BLOCK / 2, BLOCK / 2, 1);
	assert_int_equal(say(t, va, BLOCK, GM_DONTNEED), 0);
	for (unsigned int i = 0; i < DEVS; i++)
		assert_int_equal(used(t, i), 0);
	read_by_all(t, va, BLOCK, 0);
}

/* A host that cannot map for reading only: what the CPU touches has no replicas after it. */
static void old_kernel(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	gm_fake_set_no_map_read(true);
	unit_verify(&t->u, CPU, va + 3 * PAGE, PAGE, 1);
	assert_int_equal(copied(t, va, BLOCK), 512 - 16);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	assert_int_equal(copied(t, va, BLOCK), 0);
	read_by_all(t, va, BLOCK, 2);
}

/* ------------------------------------------------------------------- room, and no room */

/* Replicas make room like anything else, and nothing is copied for it. */
static void evicted(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, 3 * BLOCK, 1), other = unit_alloc(&t->u, 4 * BLOCK);
	struct gm_stats before = stats(t, 0);

	write_by(t, 0, other, 4 * BLOCK, 2);
	assert_int_equal(stats(t, 0).pages_to_host, before.pages_to_host);
	assert_int_equal(stats(t, 0).evictions - before.evictions, 3);
	unit_on(t->u.as, other, 4 * BLOCK, node_of(t, 0));
	/* The others have theirs still. */
	before = stats(t, 1);
	read_by(t, 1, va, 3 * BLOCK, 1);
	assert_int_equal(stats(t, 1).dev_faults, before.dev_faults);
	assert_int_equal(copied(t, va, 3 * BLOCK), 3 * 512);
	/* And a replica makes room for another. */
	read_by(t, 0, va, 3 * BLOCK, 1);
	unit_peek(t->u.as, other, 4 * BLOCK, 2);
	unit_check();
}

/* No other block is there to be evicted: the block's own make room. */
static void of_one_block(void **state)
{
	struct duplication *t = *state;
	struct gm_dev_tunables tune = { .size = sizeof(tune),
					.granule = GRANULE,
					.no_grow = 1,
					.no_background = 1,
					.limit = 3 * GRANULE };
	uint64_t va = mostly(t, BLOCK, 1);

	assert_int_equal(gm_dev_tune(gm_sim_dev(t->sim[0]), &tune), 0);
	read_by(t, 0, va, BLOCK, 1);
	assert_true(used(t, 0) <= 3 * GRANULE);
	/* So do they for a page that moves. */
	write_by(t, 0, va, 3 * GRANULE, 2);
	unit_on(t->u.as, va, 3 * GRANULE, node_of(t, 0));
	assert_int_equal(used(t, 0), 3 * GRANULE);
	/* And pages that have moved for a replica. */
	read_by(t, 0, va + 3 * GRANULE, GRANULE, 1);
	assert_true(replicated(t, va + 3 * GRANULE));
	read_by_all(t, va, 3 * GRANULE, 2);
	unit_check();
}

/* Replicas count for their object's accounts. */
static void limited(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, 3 * BLOCK, 1);

	assert_int_equal(gm_as_limit(t->u.as, node_of(t, 0), 2 * BLOCK), 0);
	read_by(t, 0, va, 3 * BLOCK, 1);
	assert_true(used(t, 0) <= 2 * BLOCK);
	unit_check();
	assert_int_equal(gm_as_limit(t->u.as, node_of(t, 0), BLOCK), 0);
	assert_true(used(t, 0) <= BLOCK);
	assert_int_equal(gm_as_limit(t->u.as, node_of(t, 0), 0), 0);
	read_by_all(t, va, 3 * BLOCK, 1);
	unit_check();
}

/* A pin is the page's: it moves there, and replicas that others get of it are not pinned. */
static void pinned(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1), other = unit_alloc(&t->u, 4 * BLOCK);

	assert_int_equal(gm_advise(t->u.as, node_of(t, 0), va, GRANULE, GM_PIN), 0);
	unit_on(t->u.as, va, GRANULE, node_of(t, 0));
	assert_int_equal(copied(t, va, BLOCK), 512 - 16);
	assert_int_equal(unit_hnode(node_of(t, 0)).pinned, GRANULE);
	read_by(t, 1, va, GRANULE, 1);
	unit_on(t->u.as, va, GRANULE, GM_NODE_HOST);
	assert_true(unit_info(t->u.as, va).flags & GM_PAGE_PINNED);
	assert_int_equal(unit_hnode(node_of(t, 0)).pinned, 0);
	assert_int_equal(unit_hnode(node_of(t, 1)).pinned, 0);
	assert_int_equal(gm_advise(t->u.as, GM_NODE_NONE, va, BLOCK, GM_UNPIN), 0);
	/* Those of a wholly pinned block can be evicted, too. */
	assert_int_equal(gm_advise(t->u.as, node_of(t, 0), va, BLOCK, GM_PIN), 0);
	read_by(t, 2, va, BLOCK, 1);
	write_by(t, 2, other, 4 * BLOCK, 2);
	assert_int_equal(used(t, 2), 4 * BLOCK);
	unit_on(t->u.as, other, 4 * BLOCK, node_of(t, 2));
	unit_check();
	read_by_all(t, va, BLOCK, 1);
}

/* ---------------------------------------------------------------- devices that go, or fail */

static void poisoned(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1), total = unit_hnode(node_of(t, 0)).total;
	uint64_t unit = gm_unit_bytes(gm_sim_dev(t->sim[0]));

	assert_int_equal(gm_dev_poison(gm_sim_dev(t->sim[0]), frame_of(t, 0, va + 9 * PAGE)), 0);
	assert_int_equal(unit_hnode(node_of(t, 0)).total, total - unit);
	assert_int_equal(unit_hnode(node_of(t, 0)).poisoned, unit);
	assert_int_equal(used(t, 0), BLOCK - unit);
	unit_check();
	read_by_all(t, va, BLOCK, 1); /* nothing is lost */
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by_all(t, va, BLOCK, 2);
	/* A driver that does not let go has the frame as it was. */
	gm_sim_inject(t->sim[0], GM_SIM_TLB_INVL, 0, 1, -EIO);
	assert_int_equal(gm_dev_poison(gm_sim_dev(t->sim[0]), frame_of(t, 0, va + 50 * PAGE)),
			 -EIO);
	unit_check();
	read_by_all(t, va, BLOCK, 2);
}

static void removed(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	/* Its copy engine is dead, and nothing is lost. */
	gm_sim_inject(t->sim[1], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_sim_unplug(t->sim[1]), 0);
	assert_int_equal(used(t, 1), 0);
	assert_int_equal(copied(t, va, BLOCK), 512);
	unit_verify(&t->u, CPU, va, BLOCK, 1);
	read_by(t, 0, va, BLOCK, 1);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by(t, 3, va, BLOCK, 2);
}

static void detached(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	assert_int_equal(gm_sim_detach(t->ctx[2]), 0);
	assert_int_equal(used(t, 2), 0);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by(t, 0, va, BLOCK, 2);
	assert_int_equal(gm_sim_attach(t->sim[2], t->u.as, &t->ctx[2]), 0);
	read_by_all(t, va, BLOCK, 2);
	/* Its memory goes while it is attached. */
	assert_int_equal(gm_dev_unregister_physmem(gm_sim_dev(t->sim[3]), 4ULL << 32,
						   (4ULL << 32) + 4 * BLOCK),
			 0);
	assert_int_equal(copied(t, va, BLOCK), 512);
	unit_check();
	assert_int_equal(gm_dev_register_physmem(gm_sim_dev(t->sim[3]), 4ULL << 32,
						 (4ULL << 32) + 4 * BLOCK),
			 0);
	read_by_all(t, va, BLOCK, 2);
}

/* ------------------------------------------------------------------------- addresses */

static void unmapped(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	unit_unmap(t->u.as, va + 100 * PAGE, 56 * PAGE);
	for (unsigned int i = 0; i < DEVS; i++)
		assert_int_equal(used(t, i), BLOCK - 56 * PAGE);
	read_by_all(t, va, 96 * PAGE, 1);
	read_by_all(t, va + 160 * PAGE, BLOCK - 160 * PAGE, 1);
	assert_int_equal(say(t, va, BLOCK, GM_READ_MOSTLY), -EFAULT);
	unit_check();
}

/* What becomes writable is not so for those who have replicas. */
static void protected(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1), v = 5;
	void *addr = (void *)(uintptr_t)va;

	assert_int_equal(gm_as_protect(t->u.as, addr, BLOCK, GM_READ), 0);
	assert_int_equal(dev_access(t, 0, va, &v, 8, GM_WRITE), -EACCES);
	read_by_all(t, va, BLOCK, 1);
	assert_int_equal(gm_as_protect(t->u.as, addr, BLOCK, GM_READ | GM_WRITE), 0);
	assert_int_equal(copied(t, va, BLOCK), 512);
	assert_int_equal(dev_access(t, 0, va, &v, 8, GM_WRITE), 0);
	assert_int_equal(copied(t, va, BLOCK), 512 - 16);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by_all(t, va, BLOCK, 2);
}

static void remapped(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1), before;
	void *to;

	assert_int_equal(gm_as_remap(t->u.as, (void *)(uintptr_t)va, BLOCK, 2 * BLOCK,
				     GM_REMAP_MAYMOVE, &to),
			 0);
	va = (uintptr_t)to;
	before = stats(t, 0).pages_to_dev;
	read_by_all(t, va, BLOCK, 1);
	assert_int_equal(stats(t, 0).pages_to_dev, before); /* only mapped again */
	assert_int_equal(copied(t, va, BLOCK), 512);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by_all(t, va, BLOCK, 2);
	assert_int_equal(copied(t, va, BLOCK), 512); /* the hint has come along */
}

/* An object that is mapped twice, and in a second address space where nothing was said. */
static void shared(void **state)
{
	struct duplication *t = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t a = unit_map(t->u.as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	uint64_t b = unit_map(t->u.as, obj, 0, BLOCK, GM_READ | GM_WRITE), c, v;
	struct gm_sim_ctx *ctx;
	struct gm_as *as;

	assert_int_equal(gm_as_create(NULL, &as), 0);
	c = unit_map(as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	assert_int_equal(gm_sim_attach(t->sim[0], as, &ctx), 0);
	unit_fill(&t->u, CPU, a, PAGE, 1);
	unit_store(&t->u, CPU, a + 8, 1);
	assert_int_equal(say(t, a, BLOCK, GM_READ_MOSTLY), 0);
	for (uint64_t round = 1; round < 4; round++) {
		for (unsigned int i = 0; i < DEVS; i++) {
			assert_int_equal(dev_access(t, i, a + 8, &v, 8, GM_READ), 0);
			assert_int_equal(v, round);
			assert_int_equal(dev_access(t, i, b + 8, &v, 8, GM_READ), 0);
			assert_int_equal(v, round);
		}
		assert_true(replicated(t, b));
		/* Where nothing was said it moves, unless the device has a replica. */
		assert_int_equal(gm_sim_access(ctx, (void *)(uintptr_t)(c + 8), &v, 8, GM_READ), 0);
		assert_int_equal(v, round);
		assert_int_equal(gm_fake_cpu_access(as, c + 8, &v, 8, GM_READ), 0);
		v = round + 1;
		if (round & 1)
			assert_int_equal(gm_fake_cpu_access(as, c + 8, &v, 8, GM_WRITE), 0);
		else
			assert_int_equal(
				gm_sim_access(ctx, (void *)(uintptr_t)(c + 8), &v, 8, GM_WRITE), 0);
	}
	assert_int_equal(gm_as_destroy(as), 0);
	gm_object_put(obj);
	unit_check();
}

/* Huge pages of the host's: the CPU has all of one or nothing. */
static void huge(void **state)
{
	struct duplication *t = *state;
	void *addr;
	uint64_t va;

	assert_int_equal(gm_alloc(t->u.as, 2 * BLOCK, GM_OBJECT_HUGETLB, &addr), 0);
	va = (uintptr_t)addr;
	unit_fill(&t->u, CPU, va, BLOCK, 1);
	assert_int_equal(say(t, va, 2 * BLOCK, GM_READ_MOSTLY), 0);
	for (unsigned int i = 0; i < DEVS; i++) {
		read_by(t, i, va, BLOCK, 1);
		read_by(t, i, va + BLOCK, GRANULE, 0);
	}
	assert_int_equal(copied(t, va, BLOCK), 512);
	unit_verify(&t->u, CPU, va, BLOCK, 1);
	assert_int_equal(copied(t, va, BLOCK), 0);
	unit_fill(&t->u, CPU, va, 2 * BLOCK, 2);
	read_by_all(t, va, 2 * BLOCK, 2);
}

/* One that maps host memory in place reads the page where it is; what it writes others see. */
static void in_place(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, BLOCK, 1);

	assert_int_equal(gm_sim_set_mode(t->ctx[3], (void *)(uintptr_t)va, BLOCK, GM_REPLICATE), 0);
	read_by_all(t, va, BLOCK, 1);
	assert_int_equal(used(t, 3), 0);
	assert_int_equal(copied(t, va, BLOCK), 512);
	write_by(t, 3, va, BLOCK, 2);
	assert_int_equal(copied(t, va, BLOCK), 0);
	read_by_all(t, va, BLOCK, 2);
	unit_fill(&t->u, CPU, va, BLOCK, 3);
	read_by_all(t, va, BLOCK, 3);
	write_by(t, 0, va, BLOCK, 4);
	read_by_all(t, va, BLOCK, 4);
	/* It had replicas in the other mode. */
	va = spread(t, BLOCK, 5);
	assert_int_equal(gm_sim_set_mode(t->ctx[3], (void *)(uintptr_t)va, BLOCK, GM_REPLICATE), 0);
	assert_int_equal(used(t, 3), 0);
	read_by_all(t, va, BLOCK, 5);
	write_by(t, 3, va, BLOCK, 6);
	read_by_all(t, va, BLOCK, 6);
	unit_check();
}

/* A base page that is cut: its replica goes, and nothing is mapped across the cut. */
static void units(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	assert_int_equal(used(t, 0), BLOCK);
	unit_store(&t->u, CPU, va + 40 * PAGE, 7);
	assert_int_equal(copied(t, va, BLOCK), 512 - 16);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by_all(t, va, BLOCK, 2);
	unit_unmap(t->u.as, va + 100 * PAGE, PAGE);
	assert_int_equal(used(t, 0), BLOCK - 16 * PAGE);
	unit_verify(&t->u, CPU, va, 100 * PAGE, 2);
	read_by(t, 0, va, 96 * PAGE, 2);
	unit_check();
}

/* ---------------------------------------------------------------------------- failing */

/* Every driver operation fails, in a read and in a write: nothing is lost, and it can be done again. */
static void driver_fails(void **state)
{
	static const enum gm_sim_op op[] = { GM_SIM_PMAP_ENTER, GM_SIM_PMAP_RELEASE,
					     GM_SIM_TLB_INVL, GM_SIM_COPY_START,
					     GM_SIM_COPY_FENCE };
	struct duplication *t = *state;

	for (unsigned int i = 0; i < sizeof(op) / sizeof(op[0]); i++) {
		for (uint32_t count = 1; count <= 2; count++) { /* the guess; and the page */
			uint64_t va = mostly(t, BLOCK, 1), v = 9;
			int err;

			read_by(t, 1, va, BLOCK, 1);
			gm_sim_inject(t->sim[0], op[i], 0, count, -EIO);
			err = dev_access(t, 0, va, &v, 8, GM_READ);
			assert_true(!err || (err == -EIO && count == 2));
			gm_sim_inject(t->sim[0], op[i], 0, 0, 0);
			unit_check();
			read_by_all(t, va, BLOCK, 1);
			gm_sim_inject(t->sim[0], op[i], 0, count, -EIO);
			err = unit_access(&t->u, CPU, va + 8, &v, 8, GM_WRITE);
			assert_true(!err || (err == -EIO && count == 2));
			gm_sim_inject(t->sim[0], op[i], 0, 0, 0);
			unit_check();
			unit_fill(&t->u, CPU, va, BLOCK, 2);
			read_by_all(t, va, BLOCK, 2);
			unit_unmap(t->u.as, va, BLOCK);
		}
	}
}

typedef int step_fn(struct duplication *t, uint64_t va);

static int step_read(struct duplication *t, uint64_t va)
{
	uint64_t v;

	return dev_access(t, 2, va + 300 * PAGE, &v, 8, GM_READ);
}

static int step_write(struct duplication *t, uint64_t va)
{
	uint64_t v = 0; /* what is there */

	return dev_access(t, 0, va + 300 * PAGE + 16, &v, 8, GM_WRITE);
}

static int step_cpu(struct duplication *t, uint64_t va)
{
	uint64_t v = 0;

	return unit_access(&t->u, CPU, va + 300 * PAGE + 16, &v, 8, GM_WRITE);
}

static int step_prefetch(struct duplication *t, uint64_t va)
{
	return gm_advise(t->u.as, node_of(t, 2), va, BLOCK, GM_PREFETCH);
}

static int step_set(struct duplication *t, uint64_t va)
{
	return say(t, va + 10 * PAGE, PAGE, GM_UNSET_READ_MOSTLY);
}

static int step_cut(struct duplication *t, uint64_t va)
{
	return gm_as_protect(t->u.as, (void *)(uintptr_t)(va + 32 * PAGE), 32 * PAGE,
			     GM_READ | GM_WRITE);
}

/* One try of a step in which a call of the host's fails, the @skip-th and the next; false: there was none. */
static bool fails_at(struct duplication *t, step_fn *step, enum gm_fake_op op, uint32_t skip,
		     unsigned int *failed)
{
	uint64_t va = mostly(t, BLOCK, 1), before = gm_fake_injected();
	bool injected;
	int err;

	read_by(t, 0, va, BLOCK, 1);
	read_by(t, 1, va, GRANULE, 1);
	gm_fake_inject(op, skip, 2, -ENOMEM); /* the guess, and the page */
	err = step(t, va);
	gm_fake_inject_clear();
	injected = gm_fake_injected() != before;
	assert_true(injected || !err);
	*failed += err != 0;
	unit_check();
	read_by_all(t, va, BLOCK, 1);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by_all(t, va, BLOCK, 2);
	unit_unmap(t->u.as, va, BLOCK);
	return injected;
}

/* Whatever the host fails to give, nothing is lost and nothing leaks. */
static void host_fails(void **state)
{
	static step_fn *const step[] = { step_read, step_write,	   step_cpu,
					 step_set,  step_prefetch, step_cut };
	static const enum gm_fake_op op[] = { GM_FAKE_ALLOC, GM_FAKE_BACKING_GET, GM_FAKE_CPU_MAP,
					      GM_FAKE_CPU_REVOKE, GM_FAKE_REGION_SPLIT };
	unsigned int failed = 0;

	for (unsigned int i = 0; i < sizeof(step) / sizeof(step[0]); i++)
		for (unsigned int j = 0; j < sizeof(op) / sizeof(op[0]); j++)
			for (uint32_t skip = 0; fails_at(*state, step[i], op[j], skip, &failed);)
				assert_true(++skip < ENOUGH);
	assert_true(failed >= 9);
}

/* A replica that came is told of, and one that could not: of both, what was to be copied and where to. */
static void told(void **state)
{
	struct duplication *t = *state;
	uint64_t va = unit_alloc(&t->u, BLOCK), v;
	struct gm_event event[4];

	unit_fill(&t->u, CPU, va, BLOCK, 1);
	assert_int_equal(say(t, va, BLOCK, GM_READ_MOSTLY), 0);
	for (unsigned int i = 0; i < 2; i++) {
		int want = i ? 0 : -EIO;

		gm_fake_trace(1U << GM_EVENT_MIGRATE);
		gm_sim_inject(t->sim[0], GM_SIM_COPY_START, 0, i ? 0 : UINT32_MAX, -EIO);
		assert_int_equal(dev_access(t, 0, va + PAGE, &v, sizeof(v), GM_READ), want);
		/* The granule, and where that fails the page. */
		assert_int_equal(gm_fake_events(event, 4), i ? 1 : 2);
		assert_int_equal(event[0].err, want);
		assert_true(event[0].offset == 0 && event[0].len == GRANULE);
		assert_int_equal(event[0].pages, GRANULE / PAGE);
		assert_int_equal(event[0].bytes, i ? GRANULE : 0);
		assert_int_equal(event[0].from, GM_NODE_HOST);
		assert_int_equal(event[0].to, node_of(t, 0));
		assert_int_equal(event[0].why, GM_WHY_DEV_FAULT);
		if (!i)
			assert_true(event[1].offset == PAGE && event[1].len == PAGE);
	}
	gm_fake_trace(0);
}

/* The check sees what it is there to see. */
static void break_copies(void *arg)
{
	struct gm_block *block = arg;

	block->residents->copies[3] = 0;
	gm_check_block(block);
}

static void break_entry(void *arg)
{
	struct gm_block *block = arg;

	block->uniform = GM_NONE;
	gm_check_block(block);
}

static void checked(void **state)
{
#ifdef GM_DEBUG
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	unit_expect_bug(break_copies, block_at(t, va), "count != gm_resident_copies(res)");
	unit_expect_bug(break_entry, block_at(t, va), "!= GM_HOST");
#else
	(void)state;
	(void)break_copies;
	(void)break_entry;
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define T_WITH(fn, with) cmocka_unit_test_setup_teardown(fn, with, teardown)
		T(four_devices),
		T(from_nothing),
		T(grows),
		T(from_a_device),
		T(hint_ends),
		T(unset),
		T(prefetched),
		T(written),
		T(in_turns),
		T(copied_into),
		T(dropped),
		T(old_kernel),
		T(evicted),
		T(of_one_block),
		T(limited),
		T(pinned),
		T(poisoned),
		T(removed),
		T(detached),
		T(unmapped),
		T(protected),
		T(remapped),
		T(shared),
		T(huge),
		T_WITH(in_place, setup),
		T(driver_fails),
		T(host_fails),
		T(told),
		T(checked),
		T_WITH(four_devices, setup_peers),
		T_WITH(from_a_device, setup_peers),
		T_WITH(in_turns, setup_peers),
		T_WITH(written, setup_messages),
		T_WITH(evicted, setup_messages),
		T_WITH(host_fails, setup_messages),
		T_WITH(four_devices, setup_units),
		T_WITH(from_a_device, setup_units),
		T_WITH(units, setup_units),
		T_WITH(in_turns, setup_units),
		T_WITH(evicted, setup_units),
		T_WITH(pinned, setup_units),
		T_WITH(poisoned, setup_units),
		T_WITH(removed, setup_units),
		T_WITH(detached, setup_units),
		T_WITH(remapped, setup_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
