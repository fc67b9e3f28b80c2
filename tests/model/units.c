// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Devices whose base page is larger than 4 KiB: which of an address space's pages can be on
 * them. A base page can if one region maps all of it, in step with the object, and nothing
 * of it is lost. Mappings here are merged where the core's regions are not, so where a region
 * ever ended is kept, until the address is unmapped.
 */
#include "port.h"

static uint64_t unit_of(const struct m_dev *d)
{
	return d->pgsizes & -d->pgsizes;
}

uint64_t m_unit_pages(const struct m_dev *d)
{
	return unit_of(d) / PAGE;
}

/* The base pages of all devices fit into it. */
uint64_t m_units_complete(const struct model *m, uint64_t len)
{
	uint64_t unit = PAGE;

	for (unsigned int i = 0; i < M_MAX_DEVS; i++)
		if (unit_of(&m->dev[i]) > unit)
			unit = unit_of(&m->dev[i]);
	return (len + unit - 1) & ~(unit - 1);
}

void m_edge_add(struct model *m, unsigned int as, uint64_t va)
{
	if (m_units_complete(m, va) == va) /* in no unit */
		return;
	for (unsigned int i = 0; i < m->nr_edges; i++)
		if (m->edge[i].as == as && m->edge[i].va == va)
			return;
	if (m->nr_edges == M_MAX_EDGES)
		m_fail(m, "the model is out of edges");
	m->edge[m->nr_edges++] = (struct m_edge){ .as = as, .va = va };
}

/* [va, va+len) is unmapped: what regions end in there do so no more. */
void m_edges_forget(struct model *m, unsigned int as, uint64_t va, uint64_t len)
{
	for (unsigned int i = 0; i < m->nr_edges;) {
		const struct m_edge *e = &m->edge[i];

		if (e->as == as && e->va > va && e->va < va + len)
			m->edge[i] = m->edge[--m->nr_edges];
		else
			i++;
	}
}

static bool edge_in(const struct model *m, unsigned int as, uint64_t va, uint64_t end)
{
	for (unsigned int i = 0; i < m->nr_edges; i++)
		if (m->edge[i].as == as && m->edge[i].va > va && m->edge[i].va < end)
			return true;
	return false;
}

static bool cut(struct model *m, const struct m_dev *d, unsigned int as, uint64_t va)
{
	uint64_t unit = unit_of(d), begin = va & ~(unit - 1);
	const struct m_map *map = m_map_at(m, as, va);

	return (map->va - map->offset) % unit || begin < map->va ||
	       begin + unit > map->va + map->len || edge_in(m, as, begin, begin + unit);
}

/* Has the base page a page that is lost? What the mapping does not reach is looked at as well. */
static bool bad(struct model *m, const struct m_dev *d, unsigned int as, uint64_t va)
{
	const struct m_map *map = m_map_at(m, as, va);
	uint64_t offset = map->offset + (va - map->va), begin = offset & ~(unit_of(d) - 1);

	for (uint64_t at = begin; at < begin + unit_of(d) && at < map->obj->size; at += PAGE)
		if (map->obj->bad[at / PAGE])
			return true;
	return false;
}

/* Can the device perhaps not have the page at @va, which is mapped, though others can? */
bool m_unit_odd(struct model *m, const struct m_dev *d, unsigned int as, uint64_t va)
{
	return unit_of(d) > PAGE && (cut(m, d, as, va) || bad(m, d, as, va));
}

/* May the device say @err of an access to, or a hint for, [va, va+len), which is mapped? */
bool m_units_explain(struct model *m, const struct m_dev *d, unsigned int as, uint64_t va,
		     uint64_t len, int err)
{
	if (unit_of(d) == PAGE)
		return false;
	for (uint64_t at = va & ~(PAGE - 1); at < va + len; at += PAGE)
		if ((err == -EADDRNOTAVAIL && cut(m, d, as, at)) ||
		    (err == -EHWPOISON && bad(m, d, as, at)))
			return true;
	return false;
}
