// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Hints and queries. What a hint promises is checked at once: a range that was
 * prefetched is where it should be, and its device does not fault on it.
 */
#include <string.h>

#include "port.h"

/* Any bytes of a mapping; now and then beyond its end. */
static void choose(struct model *m, unsigned int *as, uint64_t *va, uint64_t *len, uint64_t max)
{
	const struct m_map *map = m_map_pick(m);
	uint64_t off = m_below(m, map->len), room = map->len - off;

	*as = map->as;
	*va = map->va + off;
	*len = 1 + m_below(m, max);
	if (*len > room && !m_chance(m, 32))
		*len = room;
}

static void outward(uint64_t *va, uint64_t *len)
{
	uint64_t end = (*va + *len + PAGE - 1) & ~(PAGE - 1);

	*va &= ~(PAGE - 1);
	*len = end - *va;
}

static struct m_dev *some_dev(struct model *m)
{
	struct m_dev *d = &m->dev[m_below(m, m->nr_devs)];

	return d->sim ? d : NULL;
}

static int node_of(const struct m_dev *d)
{
	return gm_dev_hnode(gm_sim_dev(d->sim));
}

/*
 * Does all of the range fit beside what is pinned? Eviction is by blocks, so the range
 * counts with the whole of every block it touches.
 */
static bool fits(struct model *m, const struct m_dev *d, unsigned int as, uint64_t va, uint64_t len)
{
	struct gm_hnode_info info = { .size = sizeof(info) };
	uint64_t blocks = 0, end = va + len;

	for (uint64_t next; va < end; va = next) {
		const struct m_map *map = m_map_at(m, as, va);

		if (!map)
			return false;
		next = va + BLOCK - (map->offset + va - map->va) % BLOCK;
		if (next > map->va + map->len)
			next = map->va + map->len;
		blocks++;
	}
	if (gm_hnode_info(node_of(d), &info))
		m_fail(m, "no gm_hnode_info of a device that is there");
	return blocks * BLOCK + info.pinned <= info.total;
}

static void check_err(struct model *m, int err, int expect, bool may_be_full)
{
	if (err == expect || (err == -ENOSPC && may_be_full))
		return;
	if (err && m->inject_left && m_may_fail(m, err))
		return;
	m_fail(m, "returned %d, should be %d", err, expect);
}

/* @d: what this device cannot have is not looked at. */
static void check_nodes(struct model *m, const struct m_dev *d, unsigned int as, uint64_t va,
			uint64_t len, int node, uint32_t set, uint32_t clear)
{
	struct gm_page_info info[64];

	outward(&va, &len);
	while (len) {
		uint64_t n = len < 64 * PAGE ? len : 64 * PAGE;
		int err = port_query(m->as[as], va, n, info);

		if (err)
			m_fail(m, "query: %d", err);
		for (uint64_t i = 0; i < n / PAGE; i++) {
			bool home = node != GM_NODE_NONE && d &&
				    m_in_place_at(d, as, va + i * PAGE);
			int want = home ? GM_NODE_HOST : node;

			if (*m_bad(m_map_at(m, as, va + i * PAGE), va + i * PAGE))
				continue; /* is nowhere, and stays out of it */
			if (d && m_unit_odd(m, d, as, va + i * PAGE))
				continue;
			if (want == GM_NODE_HOST && info[i].node == GM_NODE_NONE)
				info[i].node = want;
			/* What is read mostly has a replica there. */
			if (d && !set && (info[i].flags & GM_PAGE_REPLICATED))
				continue;
			if (want != GM_NODE_NONE && info[i].node != want)
				m_fail(m, "%#llx is on %d, not on %d",
				       (unsigned long long)(va + i * PAGE), info[i].node, want);
			if ((info[i].flags & set) != set || (info[i].flags & clear))
				m_fail(m, "%#llx has flags %#x",
				       (unsigned long long)(va + i * PAGE), info[i].flags);
		}
		va += n;
		len -= n;
	}
}

/* The device reads a byte of each of some pages and, if nobody else moves them, does not fault. */
static void check_no_fault(struct model *m, const struct m_dev *d, unsigned int as, uint64_t va,
			   uint64_t len)
{
	struct gm_stats before = { .size = sizeof(before) }, after = { .size = sizeof(after) };
	uint64_t step = len / 8 ? len / 8 : 1;

	gm_dev_stats(gm_sim_dev(d->sim), &before);
	for (uint64_t i = 0; i < len; i += step) {
		uint64_t dev_va;
		int err;

		if (*m_bad(m_map_at(m, as, va + i), va + i) || m_unit_odd(m, d, as, va + i))
			continue;
		m_seen(d, as, va + i, 1, &dev_va);
		err = port_dev_access(d->ctx[as], dev_va, m->buf, 1, GM_READ);
		if (err)
			m_fail(m, "reading what was prefetched: %d", err);
		m_compare(m, as, va + i, m->buf, 1);
	}
	gm_dev_stats(gm_sim_dev(d->sim), &after);
	if (port.alone && after.dev_faults != before.dev_faults)
		m_fail(m, "faults on what was prefetched");
}

void m_op_prefetch(struct model *m)
{
	struct m_dev *d = some_dev(m);
	bool home = m_chance(m, 64), fit;
	unsigned int as;
	uint64_t va, len;
	int expect, err, node;

	choose(m, &as, &va, &len, m_chance(m, 48) ? 2 * BLOCK : 128 * PAGE);
	if (home)
		d = NULL;
	node = d ? node_of(d) : m_chance(m, 128) ? GM_NODE_HOST : 0;
	m_what(m, "prefetch as%u %#llx+%llu to %d", as, (unsigned long long)va,
	       (unsigned long long)len, node);
	m_mapped(m, as, va, len, GM_READ, &expect);
	if (!expect && d)
		expect = m_view_check(d, as, va, len, false);
	fit = !d || (d->ctx[as] && m_in_place(d, as, va, len)) || fits(m, d, as, va, len);
	err = port_advise(m->as[as], node, va, len, GM_PREFETCH);
	if (expect && err == -ENODEV && d && !d->ctx[as])
		expect = err; /* both are wrong */
	check_err(m, err, expect, d && !fit);
	m->failed += err != expect;
	if (err || m->inject_left || !fit) /* a part may have had to go for the rest */
		return;
	if (port.alone || !d) /* home is where a page stays until it is asked for */
		check_nodes(m, d, as, va, len, d ? node : GM_NODE_HOST, 0, 0);
	if (d)
		check_no_fault(m, d, as, va, len);
}

void m_op_pin(struct model *m)
{
	struct m_dev *d = some_dev(m);
	bool pin = m_chance(m, 96), full;
	unsigned int as;
	uint64_t va, len;
	int expect, err;

	choose(m, &as, &va, &len, pin ? 16 * PAGE : 4 * BLOCK);
	if (!d)
		return;
	m_what(m, "%s as%u %#llx+%llu on %d", pin ? "pin" : "unpin", as, (unsigned long long)va,
	       (unsigned long long)len, node_of(d));
	m_mapped(m, as, va, len, GM_READ, &expect);
	if (!expect && pin)
		expect = m_view_check(d, as, va, len, true);
	full = pin && !fits(m, d, as, va, len);
	err = port_advise(m->as[as], node_of(d), va, len, pin ? GM_PIN : GM_UNPIN);
	if (expect && pin && err == -ENODEV && !d->ctx[as])
		expect = err;
	if (!expect && pin && err == -EADDRNOTAVAIL && m_units_explain(m, d, as, va, len, err))
		expect = err;
	check_err(m, err, expect, full);
	m->failed += err != expect;
	if (!err && pin && !m->inject_left)
		check_nodes(m, d, as, va, len, node_of(d), GM_PAGE_PINNED, 0);
	else if (!err && !pin)
		check_nodes(m, NULL, as, va, len, GM_NODE_NONE, 0, GM_PAGE_PINNED);
}

void m_unpin_all(struct model *m)
{
	m_what(m, "unpin everything");
	m_calm(m);
	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		const struct m_map *map = &m->map[i];
		int err = map->obj ? port_advise(m->as[map->as], 0, map->va, map->len, GM_UNPIN)
				   : 0;

		if (err)
			m_fail(m, "unpin %#llx: %d", (unsigned long long)map->va, err);
	}
}

/* What a hint that stays says, if all of the range is mapped. */
static int expect_stay(const struct m_dev *d, unsigned int as, uint32_t advice)
{
	bool named = advice >= GM_PREFERRED_LOCATION && advice != GM_UNSET_PREFERRED_LOCATION;

	if (!named)
		return 0;
	if (!d)
		return advice == GM_PREFERRED_LOCATION ? 0 : -EOPNOTSUPP;
	if (!d->ctx[as])
		return -ENODEV;
	if (d->owner[as] && d->owner[as] != d)
		return -EOPNOTSUPP;
	return advice == GM_ACCESSED_BY && m_unit_pages(d) > 1 ? -EOPNOTSUPP : 0;
}

/* Of a mapping, or of all of it; said, or taken back. */
void m_op_stay(struct model *m)
{
	uint32_t advice = GM_READ_MOSTLY + (uint32_t)m_below(m, 6);
	struct m_dev *d = some_dev(m);
	struct gm_attr attr = { .size = sizeof(attr) };
	unsigned int as;
	uint64_t va, len;
	int expect, err;

	choose(m, &as, &va, &len, m_chance(m, 128) ? 2 * BLOCK : 32 * PAGE);
	if (m_chance(m, 64))
		d = NULL;
	m_what(m, "stay %u as%u %#llx+%llu %d", advice, as, (unsigned long long)va,
	       (unsigned long long)len, d ? node_of(d) : GM_NODE_HOST);
	m_mapped(m, as, va, len, GM_READ, &expect);
	if (!expect)
		expect = expect_stay(d, as, advice);
	err = port_advise(m->as[as], d ? node_of(d) : GM_NODE_HOST, va, len, advice);
	check_err(m, err, expect, false);
	m->failed += err != expect;
	if (err)
		return;
	err = port_attr(m->as[as], va, len, &attr);
	if (err || !attr.len || attr.len > len)
		m_fail(m, "what was said cannot be asked: %d", err);
	if ((advice == GM_READ_MOSTLY && !attr.flags) ||
	    (advice == GM_UNSET_READ_MOSTLY && attr.flags))
		m_fail(m, "READ_MOSTLY is %u", attr.flags);
	if (advice == GM_PREFERRED_LOCATION && attr.preferred != (d ? node_of(d) : GM_NODE_HOST))
		m_fail(m, "PREFERRED_LOCATION is %d", attr.preferred);
	if (advice == GM_ACCESSED_BY && !(attr.accessed_by >> (node_of(d) - attr.first_node) & 1))
		m_fail(m, "ACCESSED_BY is %#llx", (unsigned long long)attr.accessed_by);
}

void m_op_hint(struct model *m)
{
	static const uint32_t advice[] = { GM_WILLNEED, GM_COLD };
	static const char *const name[] = { "willneed", "cold" };
	unsigned int as, i = (unsigned int)m_below(m, 2);
	uint64_t va, len;
	int expect, err;

	choose(m, &as, &va, &len, 2 * BLOCK);
	m_what(m, "%s as%u %#llx+%llu", name[i], as, (unsigned long long)va,
	       (unsigned long long)len);
	m_mapped(m, as, va, len, GM_READ, &expect);
	err = port_advise(m->as[as], 0, va, len, advice[i]);
	check_err(m, err, expect, false);
}

/* Is a page that was lost lost still? */
static bool still_bad(struct model *m, unsigned int as, uint64_t va)
{
	struct gm_page_info info;
	int err = port_query(m->as[as], va, PAGE, &info);

	if (err)
		m_fail(m, "query: %d", err);
	return info.flags & GM_PAGE_POISONED;
}

/* Whole pages in [va, va+len) are zero now; if it failed, each is zero or as it was. */
static void settle_dontneed(struct model *m, unsigned int as, uint64_t va, uint64_t len,
			    bool failed)
{
	uint64_t end = (va + len) & ~(PAGE - 1);

	for (va = (va + PAGE - 1) & ~(PAGE - 1); va < end; va += PAGE) {
		struct m_map *map = m_map_at(m, as, va);
		bool bad = *m_bad(map, va);

		if (failed && bad && still_bad(m, as, va))
			continue;
		*m_bad(map, va) = 0;
		if (failed) {
			m_fetch(m, as, va, m->buf, PAGE);
			if (!bad && !memcmp(m->buf, m_ref(map, va), PAGE))
				continue;
		}
		memset(m_ref(map, va), 0, PAGE);
		if (failed)
			m_compare(m, as, va, m->buf, PAGE);
	}
}

void m_op_dontneed(struct model *m)
{
	unsigned int as;
	uint64_t va, len;
	int expect, err;

	choose(m, &as, &va, &len, m_chance(m, 16) ? 2 * BLOCK : 8 * PAGE);
	m_what(m, "dontneed as%u %#llx+%llu", as, (unsigned long long)va, (unsigned long long)len);
	m_mapped(m, as, va, len, GM_WRITE, &expect);
	err = port_advise(m->as[as], 0, va, len, GM_DONTNEED);
	check_err(m, err, expect, false);
	if (expect)
		return;
	if (err) {
		m->failed++;
		m_calm(m);
	}
	settle_dontneed(m, as, va, len, err);
}

void m_op_query(struct model *m)
{
	static struct gm_page_info info[512];
	unsigned int as;
	uint64_t va, len;
	int expect, err;

	choose(m, &as, &va, &len, m_chance(m, 16) ? 256 * PAGE : 8 * PAGE);
	outward(&va, &len);
	m_what(m, "query as%u %#llx+%llu", as, (unsigned long long)va, (unsigned long long)len);
	m_mapped(m, as, va, len, GM_READ, &expect);
	err = port_query(m->as[as], va, len, info);
	if (err != expect)
		m_fail(m, "returned %d, should be %d", err, expect);
	for (uint64_t i = 0; !err && i < len / PAGE; i++) {
		bool known = info[i].node == GM_NODE_HOST || info[i].node == GM_NODE_NONE;
		uint64_t at = va + i * PAGE;
		uint32_t bad = *m_bad(m_map_at(m, as, at), at) ? GM_PAGE_POISONED : 0;

		for (unsigned int d = 0; d < M_MAX_DEVS; d++)
			known |= m->dev[d].sim && info[i].node == node_of(&m->dev[d]);
		if (!known || (info[i].flags &
			       ~(GM_PAGE_PINNED | GM_PAGE_RETAINED | GM_PAGE_REPLICATED)) != bad)
			m_fail(m, "%#llx: node %d, flags %#x", (unsigned long long)at, info[i].node,
			       info[i].flags);
	}
}
