// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Comparing the core's bytes with the model's, and checking what both must agree on. */
#include <string.h>

#include "port.h"

/* The bytes as they are, without moving anything: for a look after a failure. */
void m_fetch(struct model *m, unsigned int as, uint64_t va, void *buf, uint64_t len)
{
	int err = len ? port_copy(GM_NODE_NONE, NULL, (uintptr_t)buf, m->as[as], va, len) : 0;

	if (err)
		m_fail(m, "copying out of %#llx: %d", (unsigned long long)va, err);
}

void m_compare(struct model *m, unsigned int as, uint64_t va, const uint8_t *buf, uint64_t len)
{
	while (len) {
		struct m_map *map = m_map_at(m, as, va);
		const uint8_t *ref = m_ref(map, va);
		uint64_t n = map->va + map->len - va, i = 0;

		n = n < len ? n : len;
		if (memcmp(buf, ref, n)) {
			while (buf[i] == ref[i])
				i++;
			m_fail(m, "as%u %#llx (object offset %#llx): %#x, should be %#x", as,
			       (unsigned long long)(va + i),
			       (unsigned long long)(map->offset + va - map->va + i), buf[i],
			       ref[i]);
		}
		buf += n;
		va += n;
		len -= n;
	}
}

/* A page that the core has nowhere reads as zero. */
static void check_place(struct model *m, const struct m_map *map, uint64_t va,
			const struct gm_page_info *info)
{
	static const uint8_t zero[PAGE];
	bool bad = *m_bad(map, va);

	if (bad != !!(info->flags & GM_PAGE_POISONED) || (bad && info->node != GM_NODE_NONE))
		m_fail(m, "as%u %#llx on %d is%s lost", map->as, (unsigned long long)va, info->node,
		       bad ? "" : " not");
	if (!bad && info->node == GM_NODE_NONE && memcmp(m_ref(map, va), zero, PAGE))
		m_fail(m, "as%u %#llx is nowhere, and not zero", map->as, (unsigned long long)va);
	port_check_page(m, map->as, va, info);
}

/* How many pages of the range are somewhere. */
static unsigned int check_places(struct model *m, const struct m_map *map, uint64_t va,
				 uint64_t len)
{
	static struct gm_page_info info[16];
	unsigned int somewhere = 0;
	int err = port_query(m->as[map->as], va, len, info);

	if (err)
		m_fail(m, "query of %#llx: %d", (unsigned long long)va, err);
	for (uint64_t i = 0; i < len / PAGE; i++) {
		check_place(m, map, va + i * PAGE, &info[i]);
		somewhere += info[i].node != GM_NODE_NONE;
	}
	return somewhere;
}

static const struct m_dev *some_dev(const struct model *m, unsigned int as)
{
	for (unsigned int i = 0; i < M_MAX_DEVS; i++)
		if (m->dev[i].ctx[as])
			return &m->dev[i];
	return NULL;
}

static void check_bytes(struct model *m, const struct m_map *map, uint64_t va, uint64_t len,
			unsigned int how)
{
	const struct m_dev *d = how == 1 ? some_dev(m, map->as) : NULL;
	uint64_t dev_va;
	int err = 0;

	if (d && m_seen(d, map->as, va, len, &dev_va) < len)
		d = NULL;
	if (d)
		err = port_dev_access(d->ctx[map->as], dev_va, m->buf, len, GM_READ);
	else if (how == 2)
		err = port_cpu_access(m, map->as, va, m->buf, len, GM_READ);
	if ((!d && how != 2) || err == -ENOSPC || /* full of pinned pages */
	    (d && m_units_explain(m, d, map->as, va, len, err)))
		m_fetch(m, map->as, va, m->buf, len);
	else if (err)
		m_fail(m, "reading %#llx to compare: %d", (unsigned long long)va, err);
	m_compare(m, map->as, va, m->buf, len);
}

/* Whole pages, but for those that are lost: these cannot be read. */
static void check_good_bytes(struct model *m, const struct m_map *map, uint64_t va, uint64_t len,
			     unsigned int how)
{
	uint64_t end = va + len, n;
	int err;

	for (; va < end; va += n ? n : PAGE) {
		n = m_span(m, map->as, va, end - va, GM_READ, &err);
		if (n)
			check_bytes(m, map, va, n, how);
		else if (port_cpu_access(m, map->as, va, m->buf, 8, GM_READ) != -EHWPOISON)
			m_fail(m, "as%u %#llx is lost, and can be read", map->as,
			       (unsigned long long)va);
	}
}

/* The invariants, where the build can check them. */
void m_check_quick(struct model *m)
{
	for (unsigned int i = 0; i < M_MAX_DEVS; i++) {
		struct gm_sim_stats stats = { .size = sizeof(stats) };

		if (!m->dev[i].sim)
			continue;
		gm_sim_stats(m->dev[i].sim, &stats);
		if (stats.stale)
			m_fail(m, "dev%c had stale translations", 'A' + (int)i);
	}
	port_check();
}

/* Every byte; with @mix some by way of the CPU or a device, which moves them. */
void m_check_everything(struct model *m, bool mix)
{
	m_calm(m);
	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		struct m_map *map = &m->map[i];

		for (uint64_t done = 0, n; map->obj && done < map->len; done += n) {
			n = map->len - done < 16 * PAGE ? map->len - done : 16 * PAGE;
			if (!check_places(m, map, map->va + done, n) && m->cfg->small)
				continue; /* zeros, and there is much of that */
			check_good_bytes(m, map, map->va + done, n,
					 mix ? (unsigned int)(m_mix(m->op + i + done) % 16) : 0);
		}
	}
	m_check_quick(m);
}
