// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Hints that stay with addresses: against a plain model, an array with what was said of each
 * page, under random changes of hints and mappings and with failures; and what
 * PREFERRED_LOCATION and ACCESSED_BY make of faults. READ_MOSTLY has test_replica.c.
 */
#include "unit.h"

#include "core/attr.h"

#define PAGES 256U
#define STEPS 6000U
#define BASE 0x40000000ULL
#define NODES 3U

static void *pointer(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

static int say(struct unit *u, int node, uint64_t va, uint64_t len, enum gm_advice advice)
{
	return gm_advise(u->as, node, va, len, advice);
}

static struct gm_attr ask(struct unit *u, uint64_t va, uint64_t len)
{
	struct gm_attr attr = { .size = sizeof(attr) };

	assert_int_equal(gm_as_attr(u->as, va, len, &attr), 0);
	return attr;
}

/* Is the device of @node in the set? */
static bool accesses(const struct gm_attr *attr, int node)
{
	return attr->accessed_by >> (node - attr->first_node) & 1;
}

/* ----------------------------------------------------------------------- the model */

struct page {
	bool mapped, mostly, accessed[NODES];
	int preferred;
};

struct model {
	struct unit *u;
	struct gm_object *obj;
	struct gm_sim *sim[NODES];
	struct gm_sim_ctx *ctx[NODES];
	int node[NODES];
	struct page page[PAGES];
	uint64_t seed;
};

static uint64_t below(struct model *m, uint64_t n)
{
	m->seed = m->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (m->seed >> 33) % n;
}

static bool alike(const struct page *a, const struct page *b)
{
	return a->mapped == b->mapped && a->mostly == b->mostly && a->preferred == b->preferred &&
	       !memcmp(a->accessed, b->accessed, sizeof(a->accessed));
}

static void forget_page(struct page *p, bool mapped)
{
	*p = (struct page){ .mapped = mapped, .preferred = GM_NODE_NONE };
}

/* What the core says is what the model has, in runs that are as long as can be. */
static void compare(struct model *m)
{
	for (unsigned int i = 0, n; i < PAGES; i += n) {
		const struct page *p = &m->page[i];
		struct gm_attr attr = { .size = sizeof(attr) };
		int err = gm_as_attr(m->u->as, BASE + i * PAGE, (PAGES - i) * PAGE, &attr);

		assert_int_equal(err, p->mapped ? 0 : -EFAULT);
		for (n = 1; i + n < PAGES && alike(p, &m->page[i + n]); n++)
			;
		if (err)
			continue;
		assert_int_equal(attr.len, n * PAGE);
		assert_int_equal(attr.flags, p->mostly ? GM_ATTR_READ_MOSTLY : 0);
		assert_int_equal(attr.preferred, p->preferred);
		for (unsigned int d = 0; d < NODES; d++)
			assert_int_equal(accesses(&attr, m->node[d]), p->accessed[d]);
	}
}

/* A region's ranges: sorted, apart, within it, none of nothing, none that could be one. */
static void check_regions(struct model *m)
{
	for (uint32_t i = 0; i < m->u->as->nr_regions; i++) {
		const struct gm_region *r = m->u->as->regions[i];
		uint64_t at = r->offset;

		assert_true(!r->attrs || r->attrs->nr);
		for (uint32_t j = 0; r->attrs && j < r->attrs->nr; j++) {
			const struct gm_attr_range *x = &r->attrs->range[j];
			const struct gm_range_hint *h = &x->hint, *before = j ? &x[-1].hint : NULL;

			assert_true(x->lo >= at && x->lo < x->hi && x->hi <= r->offset + r->len);
			assert_true(h->read_mostly || h->accessed || h->prefer);
			if (before && x->lo == at)
				assert_false(h->read_mostly == before->read_mostly &&
					     h->accessed == before->accessed &&
					     h->prefer == before->prefer);
			at = x->hi;
		}
	}
}

static bool all_mapped(const struct model *m, unsigned int first, unsigned int n)
{
	for (unsigned int i = first; i < first + n; i++)
		if (!m->page[i].mapped)
			return false;
	return true;
}

static bool none_mapped(const struct model *m, unsigned int first, unsigned int n)
{
	for (unsigned int i = first; i < first + n; i++)
		if (m->page[i].mapped)
			return false;
	return true;
}

static void apply(struct page *p, enum gm_advice advice, int node, unsigned int dev)
{
	switch (advice) {
	case GM_READ_MOSTLY:
	case GM_UNSET_READ_MOSTLY:
		p->mostly = advice == GM_READ_MOSTLY;
		break;
	case GM_PREFERRED_LOCATION:
		p->preferred = node;
		break;
	case GM_UNSET_PREFERRED_LOCATION:
		p->preferred = GM_NODE_NONE;
		break;
	default:
		p->accessed[dev] = advice == GM_ACCESSED_BY;
	}
}

static void step_advise(struct model *m, unsigned int first, unsigned int n)
{
	enum gm_advice advice = (enum gm_advice)(GM_READ_MOSTLY + below(m, 6));
	unsigned int dev = (unsigned int)below(m, NODES);
	int node = m->node[dev], err;

	if (advice == GM_PREFERRED_LOCATION && !below(m, 3))
		node = GM_NODE_HOST;
	err = say(m->u, node, BASE + first * PAGE + below(m, 8), n * PAGE - 8, advice);
	if (err == -ENOMEM)
		return;
	assert_int_equal(err, !all_mapped(m, first, n) ? -EFAULT : 0);
	for (unsigned int i = first; !err && i < first + n; i++)
		apply(&m->page[i], advice, node, dev);
}

static void step_map(struct model *m, unsigned int first, unsigned int n)
{
	void *addr = pointer(BASE + first * PAGE);
	int err = gm_as_map(m->u->as, m->obj, first * PAGE, n * PAGE, GM_READ | GM_WRITE,
			    GM_MAP_FIXED, &addr);

	if (err == -ENOMEM)
		return;
	assert_int_equal(err, none_mapped(m, first, n) ? 0 : -EEXIST);
	for (unsigned int i = first; !err && i < first + n; i++)
		forget_page(&m->page[i], true);
}

static void step_unmap(struct model *m, unsigned int first, unsigned int n)
{
	int err = gm_as_unmap(m->u->as, pointer(BASE + first * PAGE), n * PAGE);

	if (err == -ENOMEM) { /* carving it: the mappings are as they were, if in more pieces */
		for (unsigned int i = first; i < first + n; i++)
			if (!gm_as_covers(m->u->as, BASE + i * PAGE))
				forget_page(&m->page[i], false);
		return;
	}
	assert_int_equal(err, all_mapped(m, first, n) ? 0 : -EFAULT);
	for (unsigned int i = first; !err && i < first + n; i++)
		forget_page(&m->page[i], false);
}

static void step_remap(struct model *m, unsigned int first, unsigned int n)
{
	unsigned int to = (unsigned int)below(m, PAGES - n + 1);
	void *addr = pointer(BASE + to * PAGE);
	struct page was[PAGES];
	int err;

	if (!none_mapped(m, to, n) || (to < first + n && first < to + n))
		return;
	err = gm_as_remap(m->u->as, pointer(BASE + first * PAGE), n * PAGE, n * PAGE,
			  GM_REMAP_MAYMOVE | GM_REMAP_FIXED, &addr);
	if (err) /* not one mapping, or no memory: nothing has changed */
		return;
	memcpy(was, m->page, sizeof(was));
	for (unsigned int i = 0; i < n; i++) {
		m->page[to + i] = was[first + i];
		forget_page(&m->page[first + i], false);
	}
}

static void step_protect(struct model *m, unsigned int first, unsigned int n)
{
	uint32_t prot = below(m, 2) ? GM_READ : GM_READ | GM_WRITE;
	int err = gm_as_protect(m->u->as, pointer(BASE + first * PAGE), n * PAGE, prot);

	if (err != -ENOMEM)
		assert_int_equal(err, all_mapped(m, first, n) ? 0 : -EFAULT);
}

/* A device leaves, and with it what names it; and comes again. */
static void step_attach(struct model *m)
{
	unsigned int dev = (unsigned int)below(m, NODES);

	gm_fake_inject_clear();
	assert_int_equal(gm_sim_detach(m->ctx[dev]), 0);
	assert_int_equal(say(m->u, m->node[dev], BASE, PAGE, GM_ACCESSED_BY),
			 m->page[0].mapped ? -ENODEV : -EFAULT);
	assert_int_equal(gm_sim_attach(m->sim[dev], m->u->as, &m->ctx[dev]), 0);
	for (unsigned int i = 0; i < PAGES; i++) {
		m->page[i].accessed[dev] = false;
		if (m->page[i].preferred == m->node[dev])
			m->page[i].preferred = GM_NODE_NONE;
	}
}

/* Somebody uses the memory meanwhile. */
static void step_touch(struct model *m, unsigned int at)
{
	unsigned int dev = (unsigned int)below(m, NODES);
	uint64_t v;

	if (!m->page[at].mapped)
		return;
	gm_fake_inject_clear();
	assert_int_equal(gm_sim_access(m->ctx[dev], pointer(BASE + at * PAGE), &v, 8, GM_READ), 0);
}

static void step(struct model *m)
{
	unsigned int n = 1 + (unsigned int)below(m, below(m, 4) ? 12 : 120);
	unsigned int first = (unsigned int)below(m, PAGES - n + 1);

	if (!below(m, 6))
		gm_fake_inject(GM_FAKE_ALLOC, (uint32_t)below(m, 3), 1, -ENOMEM);
	switch (below(m, 16)) {
	case 0:
	case 1:
		step_unmap(m, first, n);
		break;
	case 2:
	case 3:
	case 4:
		step_map(m, first, n);
		break;
	case 5:
		step_remap(m, first, n);
		break;
	case 6:
		step_protect(m, first, n);
		break;
	case 7:
		if (!below(m, 8))
			step_attach(m);
		break;
	case 8:
		step_touch(m, first);
		break;
	default:
		step_advise(m, first, n);
	}
	gm_fake_inject_clear();
}

/* A seed of the environment's, or one that is always the same. */
static void model(void **state)
{
	const char *seed = getenv("GM_SEED");
	struct model m = { .u = *state, .seed = seed ? strtoull(seed, NULL, 0) : 1 };
	uint64_t told = 0;

	print_message("seed %llu\n", (unsigned long long)m.seed);
	m.obj = unit_object(PAGES * PAGE);
	for (unsigned int i = 0; i < NODES; i++) {
		m.sim[i] = unit_sim(4, i);
		m.node[i] = gm_dev_hnode(gm_sim_dev(m.sim[i]));
		assert_int_equal(gm_sim_attach(m.sim[i], m.u->as, &m.ctx[i]), 0);
	}
	for (unsigned int i = 0; i < PAGES; i++)
		forget_page(&m.page[i], false);
	for (unsigned int i = 0; i < STEPS; i++) {
		gm_fake_step();
		step(&m);
		compare(&m);
		check_regions(&m);
		for (unsigned int j = 0; j < PAGES; j++)
			told += m.page[j].mostly || m.page[j].preferred != GM_NODE_NONE;
	}
	unit_check();
	assert_true(told > STEPS * 16); /* it was about something */
	assert_int_equal(gm_as_destroy(m.u->as), 0);
	m.u->as = NULL;
	gm_object_put(m.obj);
	for (unsigned int i = 0; i < NODES; i++)
		assert_int_equal(gm_sim_destroy(m.sim[i]), 0);
}

/* ---------------------------------------------------------------------- plain cases */

static void bad_input(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), hole;
	struct gm_attr attr = { .size = sizeof(attr) };

	assert_int_equal(say(u, 0, va, 0, GM_READ_MOSTLY), -EINVAL);
	assert_int_equal(say(u, 0, va, PAGE, (enum gm_advice)(GM_UNSET_ACCESSED_BY + 1)), -EINVAL);
	assert_int_equal(say(u, GM_NODE_NONE, va, PAGE, GM_PREFERRED_LOCATION), -EINVAL);
	assert_int_equal(say(u, GM_NODE_NONE, va, PAGE, GM_ACCESSED_BY), -EINVAL);
	assert_int_equal(say(u, GM_NODE_HOST, va, PAGE, GM_ACCESSED_BY), -EOPNOTSUPP);
	assert_int_equal(say(u, 1000, va, PAGE, GM_ACCESSED_BY), -ENODEV);
	assert_int_equal(say(u, 1000, va, PAGE, GM_PREFERRED_LOCATION), -ENODEV);
	assert_int_equal(say(u, GM_NODE_HOST, va, 2 * BLOCK, GM_PREFERRED_LOCATION), -EFAULT);
	assert_int_equal(ask(u, va, BLOCK).preferred, GM_NODE_NONE);
	hole = va + 7 * PAGE;
	unit_unmap(u->as, hole, PAGE);
	assert_int_equal(say(u, 0, va, BLOCK, GM_READ_MOSTLY), -EFAULT);
	assert_int_equal(ask(u, va, BLOCK).flags, 0);
	assert_int_equal(ask(u, va, BLOCK).len, 7 * PAGE);
	assert_int_equal(gm_as_attr(u->as, hole, PAGE, &attr), -EFAULT);
	assert_int_equal(gm_as_attr(u->as, va, 0, &attr), -EINVAL);
	assert_int_equal(gm_as_attr(u->as, va, PAGE, NULL), -EINVAL);
	attr.size = 0;
	assert_int_equal(gm_as_attr(u->as, va, PAGE, &attr), -EINVAL);
	gm_fake_set_usable(-EPERM);
	attr.size = sizeof(attr);
	assert_int_equal(gm_as_attr(u->as, va, PAGE, &attr), -EPERM);
	gm_fake_set_usable(0);
	/* A query of bytes: what there is from the very byte on. */
	assert_int_equal(say(u, 0, va, PAGE, GM_READ_MOSTLY), 0);
	assert_int_equal(ask(u, va + 100, 2 * PAGE).len, PAGE - 100);
	assert_int_equal(ask(u, va + 100, 200).len, 200);
}

/* The last one wins; READ_MOSTLY is over the others, which are there again once it is unset. */
static void last_wins(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	assert_int_equal(say(u, unit_node(u, 0), va, BLOCK, GM_PREFERRED_LOCATION), 0);
	assert_int_equal(say(u, GM_NODE_HOST, va, BLOCK, GM_PREFERRED_LOCATION), 0);
	assert_int_equal(ask(u, va, BLOCK).preferred, GM_NODE_HOST);
	assert_int_equal(say(u, 0, va, BLOCK, GM_READ_MOSTLY), 0);
	unit_verify(u, 0, va, PAGE, 0);
	assert_true(unit_info(u->as, va).flags & GM_PAGE_REPLICATED);
	assert_int_equal(say(u, 0, va, BLOCK, GM_UNSET_READ_MOSTLY), 0);
	assert_int_equal(ask(u, va, BLOCK).preferred, GM_NODE_HOST);
	unit_fill(u, 0, va, PAGE, 1);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	assert_false(unit_info(u->as, va).flags & GM_PAGE_REPLICATED);
}

/* For a host that maps the new before it unmaps the old. */
static void follows(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t a = unit_map(u->as, obj, 0, BLOCK, GM_READ), b, c;

	assert_int_equal(say(u, 0, a + 8 * PAGE, 8 * PAGE, GM_READ_MOSTLY), 0);
	b = unit_map(u->as, obj, 10 * PAGE, 20 * PAGE, GM_READ);
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	gm_as_attrs_follow(u->as, b);
	gm_fake_inject_clear();
	assert_int_equal(ask(u, b, 20 * PAGE).len, 20 * PAGE);
	gm_as_attrs_follow(u->as, b);
	assert_int_equal(ask(u, b, 20 * PAGE).flags, GM_ATTR_READ_MOSTLY);
	assert_int_equal(ask(u, b, 20 * PAGE).len, 6 * PAGE);
	unit_unmap(u->as, a, BLOCK);
	c = unit_map(u->as, obj, 40 * PAGE, PAGE, GM_READ); /* nothing of the kind is mapped */
	gm_as_attrs_follow(u->as, c);
	gm_as_attrs_follow(u->as, a);
	assert_int_equal(ask(u, c, PAGE).flags, 0);
	gm_object_put(obj);
}

/* A device that was removed is not in any answer, nor in any fault's way; and cannot be named. */
static void removed(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	struct gm_attr attr;

	assert_int_equal(say(u, unit_node(u, 0), va, BLOCK, GM_PREFERRED_LOCATION), 0);
	assert_int_equal(say(u, unit_node(u, 0), va, PAGE, GM_ACCESSED_BY), 0);
	assert_int_equal(say(u, unit_node(u, 1), va, PAGE, GM_ACCESSED_BY), 0);
	unit_fill(u, 0, va, BLOCK, 1);
	assert_int_equal(gm_sim_unplug(u->sim[0]), 0);
	attr = ask(u, va, BLOCK);
	assert_int_equal(attr.len, PAGE);
	assert_int_equal(attr.preferred, GM_NODE_NONE);
	assert_false(accesses(&attr, unit_node(u, 0)));
	assert_true(accesses(&attr, unit_node(u, 1)));
	assert_int_equal(say(u, unit_node(u, 0), va, PAGE, GM_ACCESSED_BY), -ENODEV);
	unit_verify(u, 1, va, BLOCK, 1);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(ask(u, va + PAGE, PAGE).preferred, GM_NODE_NONE);
	unit_check();
}

/* ---------------------------------------------------------------- preferred location */

static struct gm_stats stats(struct unit *u, unsigned int dev)
{
	return unit_dev_stats(unit_dev(u, dev));
}

/* Preferred in host memory: devices use it there, whatever they do, and the CPU too. */
static void prefer_host(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	assert_int_equal(say(u, GM_NODE_HOST, va, BLOCK, GM_PREFERRED_LOCATION), 0);
	for (uint64_t tag = 1; tag < 10; tag++) {
		int who = (int)(tag % 3) - 1;

		unit_fill(u, who, va, BLOCK, tag);
		for (int by = CPU; by < 2; by++)
			unit_verify(u, by, va, BLOCK, tag);
		unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	}
	assert_int_equal(unit_as_stats(u->as).pages_to_dev, 0);
	assert_int_equal(unit_as_stats(u->as).pages_zeroed, 0);
	assert_int_equal(stats(u, 0).dev_faults, BLOCK / (16 * PAGE));
	unit_check();
	/* To be told to move it is to move it; and home it stays, as before. */
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	unit_verify(u, 0, va, BLOCK, 9);
	unit_fill(u, 1, va, BLOCK, 10);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	unit_verify(u, 0, va, BLOCK, 10);
	/* Dropped, unmapped in part, and for good. */
	assert_int_equal(gm_advise(u->as, 0, va, 32 * PAGE, GM_DONTNEED), 0);
	unit_verify(u, 0, va, 32 * PAGE, 0);
	unit_unmap(u->as, va + 64 * PAGE, 64 * PAGE);
	unit_verify(u, 1, va + 128 * PAGE, BLOCK - 128 * PAGE, 10);
	assert_int_equal(say(u, 0, va, 64 * PAGE, GM_UNSET_PREFERRED_LOCATION), 0);
	unit_fill(u, 1, va + 33 * PAGE, PAGE, 11); /* it is mapped, and nothing says that it go */
	unit_on(u->as, va + 33 * PAGE, PAGE, GM_NODE_HOST);
	unit_verify(u, CPU, va + 33 * PAGE, PAGE, 11);
	unit_check();
}

/* Where no more can be mapped so, it moves. */
static void cannot_map(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(say(u, GM_NODE_HOST, va, BLOCK, GM_PREFERRED_LOCATION), 0);
	gm_fake_set_max_held(8 * PAGE);
	unit_verify(u, 0, va, BLOCK, 1);
	assert_true(gm_fake_held() <= 8 * PAGE);
	assert_true(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)) >= 512 - 8);
	unit_fill(u, 1, va, BLOCK, 2);
	unit_verify(u, 0, va, BLOCK, 2);
	gm_fake_set_max_held(0);
	/* A driver's error is whoever's it is. */
	unit_fill(u, CPU, va, BLOCK, 3);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, 2, -EIO);
	assert_int_equal(unit_access(u, 0, va, &(uint64_t){ 0 }, 8, GM_READ), -EIO);
	unit_verify(u, 0, va, BLOCK, 3);
	unit_check();
}

static int setup_peers(void **state)
{
	struct unit *u;

	unit_setup_as(state);
	u = *state;
	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		struct gm_sim_options opt = { .size = sizeof(opt),
					      .memory = 4 * BLOCK,
					      .base = (1ULL + i) << 32,
					      .table_memory = 256 << 10,
					      .lanes = 1,
					      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK |
						       GM_SIM_READ_PEER };

		assert_int_equal(gm_sim_create(&opt, &u->sim[i]), 0);
		unit_tune(unit_dev(u, i), 16 * PAGE, true, true);
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	}
	return 0;
}

/* Preferred on a device: another that can read it there does, be it the first to touch it. */
static void prefer_device(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), other = unit_alloc(u, 4 * BLOCK);

	assert_int_equal(say(u, unit_node(u, 0), va, BLOCK, GM_PREFERRED_LOCATION), 0);
	unit_verify(u, 1, va, BLOCK / 2, 0);
	unit_on(u->as, va, BLOCK / 2, unit_node(u, 0));
	unit_fill(u, CPU, va + BLOCK / 2, BLOCK / 2, 1);
	unit_verify(u, 1, va + BLOCK / 2, BLOCK / 2, 1);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	assert_int_equal(stats(u, 1).pages_to_dev, 0);
	/* A write cannot be made from there. */
	unit_fill(u, 1, va, 16 * PAGE, 2);
	unit_on(u->as, va, 16 * PAGE, unit_node(u, 1));
	unit_fill(u, 0, va, BLOCK, 3);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	unit_verify(u, 1, va, BLOCK, 3);
	/* It is full of what stays: that is no reason to fail. */
	unit_fill(u, CPU, va, BLOCK, 4);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), other, 4 * BLOCK, GM_PIN), 0);
	unit_verify(u, 1, va, BLOCK, 4);
	unit_on(u->as, va, BLOCK, unit_node(u, 1));
	unit_check();
}

/* ------------------------------------------------------------------------- accessed by */

/* It uses host memory where it is, and does not fault again for what has been away. */
static void accessed_by(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), faults, v;

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(say(u, unit_node(u, 1), va, BLOCK, GM_ACCESSED_BY), 0);
	unit_verify(u, 1, va, BLOCK, 1);
	unit_fill(u, 1, va, BLOCK, 2);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(unit_as_stats(u->as).pages_to_dev, 0);
	/* It goes to the other device and comes back to the CPU. */
	unit_fill(u, 0, va, BLOCK, 3);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	faults = stats(u, 1).dev_faults;
	unit_verify(u, CPU, va, BLOCK, 3);
	unit_verify(u, 1, va, BLOCK, 3);
	unit_fill(u, 1, va, BLOCK, 4);
	assert_int_equal(stats(u, 1).dev_faults, faults);
	unit_verify(u, CPU, va, BLOCK, 4);
	/* It comes home by being evicted. */
	unit_fill(u, 0, va, BLOCK, 5);
	unit_fill(u, 0, unit_alloc(u, 4 * BLOCK), 4 * BLOCK, 6);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	unit_verify(u, 1, va, BLOCK, 5);
	assert_int_equal(stats(u, 1).dev_faults, faults);
	/* What is on the other device when it writes comes home. */
	unit_fill(u, 0, va, 16 * PAGE, 7);
	unit_fill(u, 1, va, 16 * PAGE, 8);
	unit_on(u->as, va, 16 * PAGE, GM_NODE_HOST);
	unit_verify(u, 0, va, 16 * PAGE, 8);
	/* Preferred on itself it moves there. */
	assert_int_equal(say(u, unit_node(u, 1), va, BLOCK, GM_PREFERRED_LOCATION), 0);
	unit_fill(u, CPU, va, BLOCK, 9);
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
	assert_int_equal(ask(u, va, BLOCK).accessed_by, 0);
	assert_int_equal(say(u, unit_node(u, 1), va, BLOCK, GM_ACCESSED_BY), 0);
	assert_int_equal(say(u, unit_node(u, 1), va, BLOCK, GM_PREFERRED_LOCATION), 0);
	unit_verify(u, 1, va, BLOCK, 9);
	unit_on(u->as, va, BLOCK, unit_node(u, 1));
	assert_int_equal(unit_access(u, CPU, va, &v, 8, GM_READ), 0);
	unit_check();
}

/* What moves to a device that it can read is mapped for it there at once. */
static void accessed_peer(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), faults;

	assert_int_equal(say(u, unit_node(u, 1), va, BLOCK, GM_ACCESSED_BY), 0);
	unit_fill(u, 0, va, BLOCK, 1);
	faults = stats(u, 1).dev_faults;
	unit_verify(u, 1, va, BLOCK, 1);
	assert_int_equal(stats(u, 1).dev_faults, faults);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	unit_fill(u, CPU, va, BLOCK, 2);
	unit_verify(u, 1, va, BLOCK, 2);
	unit_fill(u, 1, va, BLOCK, 3);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	faults = stats(u, 1).dev_faults;
	unit_verify(u, 1, va, BLOCK, 3);
	assert_int_equal(stats(u, 1).dev_faults, faults);
	unit_fill(u, CPU, va, BLOCK, 4);
	unit_verify(u, 1, va, BLOCK, 4);
	unit_check();
}

/* Mapped in place by a hint, and then to be duplicated; and the other way round. */
static void changes_of_mind(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	for (uint64_t tag = 2; tag < 6; tag++) {
		assert_int_equal(say(u, unit_node(u, 0), va, BLOCK, GM_ACCESSED_BY), 0);
		unit_verify(u, 0, va, BLOCK, tag - 1);
		unit_fill(u, 0, va, BLOCK, tag);
		unit_on(u->as, va, BLOCK, GM_NODE_HOST);
		assert_int_equal(say(u, 0, va, BLOCK, GM_READ_MOSTLY), 0);
		unit_verify(u, 1, va, BLOCK, tag);
		assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
		unit_verify(u, 0, va, BLOCK, tag);
		assert_int_equal(unit_hnode(unit_node(u, 0)).free, 3 * BLOCK);
		assert_int_equal(say(u, 0, va, BLOCK, GM_UNSET_READ_MOSTLY), 0);
		unit_verify(u, CPU, va, BLOCK, tag);
		unit_check();
	}
}

/* A device whose base page is larger cannot map what is elsewhere. */
static void units(void **state)
{
	struct unit *u = *state;
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = 1ULL << 32,
				      .lanes = 1,
				      .pgsize_bitmap = 16 * PAGE,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK };
	uint64_t va;

	assert_int_equal(gm_sim_create(&opt, &u->sim[0]), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	va = unit_alloc(u, BLOCK);
	assert_int_equal(say(u, unit_node(u, 0), va, BLOCK, GM_ACCESSED_BY), -EOPNOTSUPP);
	assert_int_equal(ask(u, va, BLOCK).accessed_by, 0);
	assert_int_equal(say(u, GM_NODE_HOST, va, BLOCK, GM_PREFERRED_LOCATION), 0);
	unit_fill(u, 0, va, BLOCK, 1);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	unit_verify(u, CPU, va, BLOCK, 1);
}

static int setup_granules(void **state)
{
	struct unit *u;

	unit_setup(state);
	u = *state;
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		unit_tune(unit_dev(u, i), 16 * PAGE, true, true);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn, with) cmocka_unit_test_setup_teardown(fn, with, unit_teardown)
		T(model, unit_setup_as),
		T(bad_input, setup_granules),
		T(last_wins, setup_granules),
		T(follows, unit_setup_as),
		T(removed, setup_granules),
		T(prefer_host, setup_granules),
		T(cannot_map, setup_granules),
		T(prefer_device, setup_peers),
		T(accessed_by, setup_granules),
		T(accessed_peer, setup_peers),
		T(changes_of_mind, setup_granules),
		T(changes_of_mind, setup_peers),
		T(units, unit_setup_as),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
