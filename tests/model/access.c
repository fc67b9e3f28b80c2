// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Loads and stores by the CPU and by devices, and copies.
 *
 * A store that fails has been done up to some page and not from there on; a copy
 * that fails may have been done in any part. What the bytes are afterwards is read
 * back and must be one or the other.
 */
#include <string.h>

#include "port.h"

/* Does the range reach the same bytes twice, by way of two mappings? */
static bool meets_itself(struct model *m, unsigned int as, uint64_t va, uint64_t len)
{
	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		const struct m_map *a = &m->map[i];

		if (!a->obj || a->as != as || a->va >= va + len || a->va + a->len <= va)
			continue;
		for (unsigned int j = 0; j < i; j++) {
			const struct m_map *b = &m->map[j];

			if (b->obj == a->obj && b->as == as && b->va < va + len &&
			    b->va + b->len > va)
				return true;
		}
	}
	return false;
}

static void choose(struct model *m, unsigned int *as, uint64_t *va, uint64_t *len)
{
	const struct m_map *map = m_map_pick(m);
	unsigned int how = m_u8(m);
	uint64_t off;

	if (how & 1) /* one of a few places, so that things meet */
		off = m_mix(m_below(m, 16)) % (map->len / PAGE) * PAGE + m_below(m, 256) * 16;
	else
		off = m_below(m, map->len);
	if (how < 160) {
		*len = 8;
		off &= ~7ULL;
	} else if (how < 220) {
		*len = 1 + m_below(m, 64);
	} else if (how < 252) {
		*len = 1 + m_below(m, 2 * PAGE);
	} else {
		*len = 1 + m_below(m, 16 * PAGE);
	}
	*as = map->as;
	*va = map->va + off;
	/* What a store or copy that fails in the midst of that leaves is hard to tell. */
	if (*len > map->len - off && meets_itself(m, *as, *va, *len))
		*len = map->len - off;
}

/* New bytes: of this operation and no other. */
static void fresh(struct model *m, uint8_t *buf, uint64_t len)
{
	for (uint64_t i = 0; i < len; i += 8) {
		uint64_t v = m_mix(m->op << 20 | i);

		memcpy(buf + i, &v, len - i < 8 ? len - i : 8);
	}
}

/* Store what buf holds in the model. */
static void apply(struct model *m, unsigned int as, uint64_t va, const uint8_t *buf, uint64_t len)
{
	while (len) {
		struct m_map *map = m_map_at(m, as, va);
		uint64_t n = map->va + map->len - va;

		n = n < len ? n : len;
		memcpy(m_ref(map, va), buf, n);
		va += n;
		buf += n;
		len -= n;
	}
}

/* A store failed on some page: those before it are new, it and those behind are old. */
static void settle_store(struct model *m, unsigned int as, uint64_t va, const uint8_t *buf,
			 uint64_t len)
{
	bool stopped = false;

	while (len) {
		uint64_t n = PAGE - va % PAGE;

		n = n < len ? n : len;
		m_fetch(m, as, va, m->buf2, n);
		if (!memcmp(m->buf2, buf, n) && !stopped)
			apply(m, as, va, buf, n);
		else
			stopped = true;
		m_compare(m, as, va, m->buf2, n);
		va += n;
		buf += n;
		len -= n;
	}
}

static int do_access(struct model *m, int dev, unsigned int as, uint64_t va, uint64_t len,
		     uint32_t access)
{
	if (dev < 0)
		return port_cpu_access(m, as, va, m->buf, len, access);
	m_seen(&m->dev[dev], as, va, len, &va);
	return port_dev_access(m->dev[dev].ctx[as], va, m->buf, len, access);
}

/* As m_span(), of what the device sees. */
static uint64_t dev_span(struct model *m, int dev, unsigned int as, uint64_t va, uint64_t len,
			 uint32_t access, int *err)
{
	uint64_t seen = len, span, dev_va;

	if (dev >= 0)
		seen = m_seen(&m->dev[dev], as, va, len, &dev_va);
	span = m_span(m, as, va, seen, access, err);
	if (!*err && seen < len)
		*err = -EFAULT;
	return span;
}

static void access_range(struct model *m, int dev, unsigned int as, uint64_t va, uint64_t len,
			 uint32_t access)
{
	bool odd; /* the device stopped at a page that it cannot have as others can */
	uint64_t span;
	int expect, err;

	m_what(m, "%s%c %s as%u %#llx+%llu", dev < 0 ? "cp" : "dev", dev < 0 ? 'u' : 'A' + dev,
	       access == GM_READ ? "read" : "write", as, (unsigned long long)va,
	       (unsigned long long)len);
	span = dev_span(m, dev, as, va, len, access, &expect);
	if (access == GM_WRITE)
		fresh(m, m->buf, len);
	err = do_access(m, dev, as, va, len, access);
	odd = err && dev >= 0 && m_units_explain(m, &m->dev[dev], as, va, span, err);
	if (err != expect && !odd && !(err && m_may_fail(m, err) && (dev >= 0 || m->inject_left)))
		m_fail(m, "returned %d, should be %d", err, expect);
	if (err == expect && !odd) {
		if (access == GM_READ)
			m_compare(m, as, va, m->buf, span);
		else if (!err)
			apply(m, as, va, m->buf, span);
	}
	if (err && access == GM_WRITE) {
		bool calm = !m->inject_left;

		m->failed += err != expect;
		m_calm(m);
		settle_store(m, as, va, m->buf, span);
		if (calm && err == expect && !odd) /* nothing but the missing page stopped it */
			m_compare(m, as, va, m->buf, span);
	}
}

static void access_random(struct model *m, int dev, uint32_t access)
{
	unsigned int as;
	uint64_t va, len;

	choose(m, &as, &va, &len);
	if (dev >= 0 && !m->dev[dev].ctx[as])
		dev = -1;
	access_range(m, dev, as, va, len, access);
}

void m_op_cpu_read(struct model *m)
{
	access_random(m, -1, GM_READ);
}

void m_op_cpu_write(struct model *m)
{
	access_random(m, -1, GM_WRITE);
}

void m_op_dev_read(struct model *m)
{
	access_random(m, (int)m_below(m, m->nr_devs), GM_READ);
}

void m_op_dev_write(struct model *m)
{
	access_random(m, (int)m_below(m, m->nr_devs), GM_WRITE);
}

/* Whole pages, up to two blocks of them, so that it shows if one is lost. */
void m_op_fill(struct model *m)
{
	const struct m_map *map = m_map_pick(m);
	uint64_t first = m_below(m, map->len / PAGE) * PAGE, len = map->len - first;
	uint64_t max = m_chance(m, 24) ? M_BUF : 128 * PAGE;
	int dev = (int)(m_below(m, 2 * m->nr_devs + 1) + 1) / 2 -
		  1; /* a device's rather than the CPU's */

	len = len < max ? len : max;
	if (dev >= 0 && !m->dev[dev].ctx[map->as])
		dev = -1;
	access_range(m, dev, map->as, map->va + first, len, GM_WRITE);
}

/* --------------------------------------------------------------------- copies */

/* Do the two ranges share bytes of an object, be it by way of different mappings? */
static bool overlap(struct model *m, unsigned int as1, uint64_t va1, unsigned int as2, uint64_t va2,
		    uint64_t len)
{
	for (uint64_t i = 0; i < len;) {
		struct m_map *a = m_map_at(m, as1, va1 + i);
		uint64_t na, off;

		if (!a) {
			i += PAGE - (va1 + i) % PAGE;
			continue;
		}
		na = a->va + a->len - (va1 + i);
		na = na < len - i ? na : len - i;
		off = a->offset + (va1 + i - a->va);
		for (unsigned int j = 0; j < M_MAX_MAPS; j++) {
			const struct m_map *b = &m->map[j];
			uint64_t from, to;

			if (b->obj != a->obj || b->as != as2)
				continue;
			from = va2 > b->va ? va2 : b->va;
			to = va2 + len < b->va + b->len ? va2 + len : b->va + b->len;
			if (from < to && b->offset + (from - b->va) < off + na &&
			    b->offset + (to - b->va) > off)
				return true;
		}
		i += na;
	}
	return false;
}

/* A copy failed: each byte is new or old. */
static void settle_copy(struct model *m, unsigned int as, uint64_t va, const uint8_t *buf,
			uint64_t len)
{
	m_fetch(m, as, va, m->buf2, len);
	for (uint64_t i = 0; i < len; i++) {
		struct m_map *map = m_map_at(m, as, va + i);
		uint8_t old = *m_ref(map, va + i), now = m->buf2[i];

		if (now != buf[i] && now != old)
			m_fail(m, "as%u %#llx: %#x after a failed copy, neither %#x nor %#x", as,
			       (unsigned long long)(va + i), now, old, buf[i]);
	}
	apply(m, as, va, m->buf2, len);
}

static int some_node(struct model *m)
{
	unsigned int d = (unsigned int)m_below(m, 8);

	if (d < m->nr_devs && m->dev[d].sim)
		return gm_dev_hnode(gm_sim_dev(m->dev[d].sim));
	return d == m->nr_devs ? GM_NODE_HOST : GM_NODE_NONE;
}

/* Why the range cannot be on the node, or 0. */
static int elsewhere(const struct model *m, int node, unsigned int as, uint64_t va, uint64_t len)
{
	for (unsigned int d = 0; d < M_MAX_DEVS; d++)
		if (m->dev[d].sim && gm_dev_hnode(gm_sim_dev(m->dev[d].sim)) == node)
			return m_view_check(&m->dev[d], as, va, len, false);
	return 0;
}

/* Is there a hole? Which error is found first, where there are several, is not said. */
static bool hole(struct model *m, unsigned int as, uint64_t va, uint64_t len)
{
	int err;

	m_mapped(m, as, va, len, GM_READ, &err);
	return err;
}

/* buf holds the source's bytes, @len of them; so many can be written at the destination. */
static void check_copied(struct model *m, int err, int expect, unsigned int as, uint64_t va,
			 const uint8_t *buf, uint64_t len)
{
	bool plain_failed = err == -EFAULT && m->inject_left;

	if (err != expect && !(err && m_may_fail(m, err)) && !plain_failed)
		m_fail(m, "returned %d, should be %d", err, expect);
	if (!err) {
		apply(m, as, va, buf, len);
		return;
	}
	m->failed += err != expect;
	m_calm(m);
	settle_copy(m, as, va, buf, len);
}

static void copy_out(struct model *m, unsigned int as, uint64_t va, uint64_t len)
{
	int expect, err;

	m_what(m, "copy out as%u %#llx+%llu", as, (unsigned long long)va, (unsigned long long)len);
	m_span(m, as, va, len, GM_READ, &expect);
	err = port_copy(GM_NODE_NONE, NULL, (uintptr_t)m->buf, m->as[as], va, len);
	if (err != expect && !(m->inject_left && (m_may_fail(m, err) || err == -EFAULT)))
		m_fail(m, "returned %d, should be %d", err, expect);
	if (!err)
		m_compare(m, as, va, m->buf, len);
}

static void copy_in(struct model *m, int node, unsigned int as, uint64_t va, uint64_t len)
{
	int expect, not_there, err;
	uint64_t span;

	m_what(m, "copy in as%u %#llx+%llu node %d", as, (unsigned long long)va,
	       (unsigned long long)len, node);
	span = m_span(m, as, va, len, GM_WRITE, &expect);
	fresh(m, m->buf, len);
	err = port_copy(node, m->as[as], va, NULL, (uintptr_t)m->buf, len);
	not_there = elsewhere(m, node, as, va, len);
	if (not_there && (!expect || err == not_there))
		expect = not_there;
	else if (expect && err == -EFAULT && hole(m, as, va, len))
		expect = err;
	check_copied(m, err, expect, as, va, m->buf, span);
}

static void copy_between(struct model *m, int node, unsigned int das, uint64_t dst,
			 unsigned int sas, uint64_t src, uint64_t len)
{
	int expect, expect_src, not_there, err;
	uint64_t span, span_src;

	m_what(m, "copy as%u %#llx to as%u %#llx +%llu node %d", sas, (unsigned long long)src, das,
	       (unsigned long long)dst, (unsigned long long)len, node);
	if (overlap(m, das, dst, sas, src, len))
		return;
	span = m_span(m, das, dst, len, GM_WRITE, &expect);
	span_src = m_span(m, sas, src, len, GM_READ, &expect_src);
	for (uint64_t i = 0; i < span_src; i++)
		m->buf[i] = *m_ref(m_map_at(m, sas, src + i), src + i);
	err = port_copy(node, m->as[das], dst, m->as[sas], src, len);
	not_there = elsewhere(m, node, das, dst, len);
	if (not_there && ((!expect && !expect_src) || err == not_there))
		expect = not_there;
	else if (expect_src && (!expect || err == expect_src))
		expect = expect_src;
	else if (expect && err == -EFAULT && hole(m, das, dst, len))
		expect = err;
	check_copied(m, err, expect, das, dst, m->buf, span < span_src ? span : span_src);
}

void m_op_copy(struct model *m)
{
	unsigned int sas, das, how = m_u8(m);
	uint64_t src, dst, len, ignored;
	int node = some_node(m);

	choose(m, &sas, &src, &len);
	choose(m, &das, &dst, &ignored);
	if (how < 64)
		copy_out(m, sas, src, len);
	else if (how < 128)
		copy_in(m, node, das, dst, len);
	else
		copy_between(m, node, das, dst, sas, src, len);
}
