// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Devices come and go, knobs are turned, work runs, and things are made to fail. */
#include <string.h>

#include "port.h"

static void check_err(struct model *m, int err, int expect)
{
	if (err != expect && !(err && m->inject_left && m_may_fail(m, err)))
		m_fail(m, "returned %d, should be %d", err, expect);
	m->failed += err && err != expect;
}

void m_op_attach(struct model *m)
{
	struct m_dev *d = &m->dev[m_below(m, m->nr_devs)];
	unsigned int as = (unsigned int)m_below(m, m->nr_as);
	int expect, err;

	if (!d->sim)
		return;
	if (d->ctx[as] && m_chance(m, 96)) {
		m_what(m, "detach dev%c from as%u", m_name(m, d), as);
		err = gm_sim_detach(d->ctx[as]);
		check_err(m, err, m_dev_shared(m, d, as) ? -EBUSY : 0);
		if (!err)
			d->ctx[as] = NULL;
		return;
	}
	m_what(m, "attach dev%c to as%u", m_name(m, d), as);
	expect = d->ctx[as] ? -EBUSY : 0;
	check_err(m, m_dev_attach(m, d, as), expect);
}

/* Destroy a device, attached or not, and plug it in again. */
void m_op_plug(struct model *m)
{
	struct m_dev *d = &m->dev[m_below(m, m->nr_devs)];
	bool attached = d->ctx[0] || d->ctx[1];
	struct gm_stats stats = { .size = sizeof(stats) };
	int err;

	if (!d->sim) {
		m_what(m, "plug dev%c in", m_name(m, d));
		err = m_dev_plug(m, d);
		check_err(m, err, 0);
		if (err)
			d->sim = NULL;
		return;
	}
	m_what(m, "destroy dev%c", m_name(m, d));
	gm_dev_stats(gm_sim_dev(d->sim), &stats);
	err = gm_sim_destroy(d->sim);
	check_err(m, err, attached ? -EBUSY : 0);
	if (err)
		return;
	m->evictions += stats.evictions;
	d->sim = NULL;
}

void m_op_tune(struct model *m)
{
	struct m_dev *d = &m->dev[m_below(m, m->nr_devs)];
	struct gm_dev_tunables t = { .size = sizeof(t) };
	uint64_t half = d->blocks * BLOCK / 2;

	t.granule = m_chance(m, 64) ? 0 : 1U << (12 + m_below(m, 10));
	t.no_grow = m_chance(m, 128);
	t.no_background = m_chance(m, 64);
	if (m_chance(m, 64)) {
		t.high = half / (1 + m_below(m, 8));
		t.low = t.high / (1 + m_below(m, 4));
	}
	if (!d->sim)
		return;
	m_what(m, "tune dev%c granule %u%s%s low %llu high %llu", m_name(m, d), t.granule,
	       t.no_grow ? " no_grow" : "", t.no_background ? " no_background" : "",
	       (unsigned long long)t.low, (unsigned long long)t.high);
	check_err(m, gm_dev_tune(gm_sim_dev(d->sim), &t), 0);
}

/* The name of one of all policies of a kind. */
static void pick_policy(struct model *m, uint32_t kind, struct gm_policy_info *info)
{
	unsigned int n = 0, at;

	info->size = sizeof(*info);
	for (unsigned int i = 0; !gm_policy_name(i, info); i++)
		n += info->kind == kind;
	at = (unsigned int)m_below(m, n);
	for (unsigned int i = 0; !gm_policy_name(i, info); i++)
		if (info->kind == kind && !at--)
			return;
}

/* Whatever a device's policies say, no byte is different for it. */
void m_op_policy(struct model *m)
{
	struct m_dev *d = &m->dev[m_below(m, m->nr_devs)];
	struct gm_policy_info move, evict;
	char names[2 * GM_POLICY_NAME];

	pick_policy(m, GM_POLICY_MOVES, &move);
	pick_policy(m, GM_POLICY_EVICTS, &evict);
	snprintf(names, sizeof(names), "%s/%s", move.name, evict.name);
	if (!d->sim)
		return;
	m_what(m, "policy of dev%c: %s", m_name(m, d), names);
	check_err(m, gm_dev_set_policy(gm_sim_dev(d->sim), names), 0);
}

void m_op_retain(struct model *m)
{
	static const uint64_t limits[] = { 0, 64 * PAGE, 3 * BLOCK, 1ULL << 30 };
	uint64_t before = gm_retained_bytes(), after, n, got;

	if (m_chance(m, 64)) {
		n = limits[m_below(m, 4)];
		m_what(m, "retain limit %llu", (unsigned long long)n);
		gm_retain_limit(n);
		if (port.alone && !m->inject_left && gm_retained_bytes() > n)
			m_fail(m, "%llu bytes retained", (unsigned long long)gm_retained_bytes());
		return;
	}
	n = (1 + m_below(m, 256)) * PAGE;
	m_what(m, "retain trim %llu of %llu", (unsigned long long)n, (unsigned long long)before);
	got = gm_retain_trim(n);
	after = gm_retained_bytes();
	if (before - got < after || (port.alone && before - got != after))
		m_fail(m, "trimmed %llu, left %llu", (unsigned long long)got,
		       (unsigned long long)after);
	if (port.alone && !m->inject_left && got < (n < before ? n : before))
		m_fail(m, "trimmed %llu only", (unsigned long long)got);
}

/* Frames of a device: enough must be left. Where its base page is larger, each costs one of these. */
static unsigned int poison_max(const struct m_dev *d)
{
	uint64_t units = d->blocks * BLOCK / PAGE / 4 / m_unit_pages(d);

	return units < 24 ? (unsigned int)units : 24;
}

/*
 * The memory that a page is in, on whatever device, fails; now and then just after the page
 * has left it. Only where nobody else moves pages: by the time that it failed, the memory of
 * another host's page might be another page's.
 */
void m_op_poison(struct model *m)
{
	struct gm_lookup at = { .size = sizeof(at) };
	const struct m_map *map = m_map_pick(m);
	uint64_t va = map->va + m_below(m, map->len / PAGE) * PAGE;
	bool drop = m_chance(m, 32) && (map->prot & GM_WRITE) && !m->inject_left;
	struct m_dev *d = NULL;
	int err;

	if (!port.alone)
		return;
	err = gm_as_lookup(m->as[map->as], va, &at);
	if (err)
		m_fail(m, "gm_as_lookup of %#llx: %d", (unsigned long long)va, err);
	for (unsigned int i = 0; i < M_MAX_DEVS; i++)
		if (m->dev[i].sim && at.node == gm_dev_hnode(gm_sim_dev(m->dev[i].sim)))
			d = &m->dev[i];
	if (!d || d->poisoned >= poison_max(d))
		return;
	m_what(m, "poison dev%c %#llx, as%u %#llx%s", m_name(m, d), (unsigned long long)at.pa,
	       map->as, (unsigned long long)va, drop ? " was there" : "");
	if (drop) {
		err = port_advise(m->as[map->as], 0, va, PAGE, GM_DONTNEED);
		if (err)
			m_fail(m, "dontneed: %d", err);
		memset(m_ref(map, va), 0, PAGE);
	}
	err = gm_dev_poison(gm_sim_dev(d->sim), at.pa);
	check_err(m, err, 0);
	if (err)
		return;
	d->poisoned++;
	if (!drop)
		*m_bad(map, va) = 1;
	if (m_chance(m, 64)) { /* once is enough */
		err = gm_dev_poison(gm_sim_dev(d->sim), at.pa);
		if (err)
			m_fail(m, "again: %d", err);
	}
}

/* Of everything one call fails, soon. */
static void inject_storm(struct model *m)
{
	m_what(m, "inject: a storm");
	port_inject_storm(m);
	for (unsigned int d = 0; d < M_MAX_DEVS; d++)
		for (unsigned int op = 0; m->dev[d].sim && op < GM_SIM_NR_OPS; op++)
			gm_sim_inject(m->dev[d].sim, (enum gm_sim_op)op, (uint32_t)m_below(m, 16),
				      1, -EIO);
}

void m_op_inject(struct model *m)
{
	static const int errs[] = { -EIO, -ENOMEM, -ENOSPC, -EIO };
	struct m_dev *d = &m->dev[m_below(m, m->nr_devs)];
	uint32_t skip = (uint32_t)m_below(m, m_chance(m, 64) ? 64 : 4);
	uint32_t count = m_chance(m, 64) ? UINT32_MAX : 1 + (uint32_t)m_below(m, 4);
	unsigned int op, how = m_u8(m), left = 2 + (unsigned int)m_below(m, 24);
	int err = errs[m_below(m, 4)];

	if (!m->cfg->inject)
		return;
	if (how < 32) {
		inject_storm(m);
	} else if ((how < 144 || !d->sim) && port_inject(m, how < 64, skip, count)) {
		/* a call of the host's */
	} else if (d->sim) {
		op = (unsigned int)m_below(m, GM_SIM_NR_OPS);
		m_what(m, "inject: dev%c op %u skip %u count %u err %d", m_name(m, d), op, skip,
		       count, err);
		gm_sim_inject(d->sim, (enum gm_sim_op)op, skip, count, err);
	}
	m->inject_left = left;
}
