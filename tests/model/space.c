// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Mappings and objects: map, unmap of any part, protect, remap, create, put. */
#include "port.h"

/* Whole pages of a mapping, now and then beyond its end. */
static void choose(struct model *m, unsigned int *as, uint64_t *va, uint64_t *len)
{
	const struct m_map *map = m_map_pick(m);
	uint64_t first = m_below(m, map->len / PAGE) * PAGE, room = map->len - first;

	*as = map->as;
	*va = map->va + first;
	*len = (1 + m_below(m, m_chance(m, 64) ? 1024 : 32)) * PAGE;
	if (*len > room && !m_chance(m, 64))
		*len = room;
}

static void check_err(struct model *m, int err, int expect)
{
	if (err != expect && !(err && m->inject_left && m_may_fail(m, err)))
		m_fail(m, "returned %d, should be %d", err, expect);
	m->failed += err && err != expect;
}

/* It failed: what comes before the mapping that failed is unmapped. */
static void settle_unmap(struct model *m, unsigned int as, uint64_t va, uint64_t len)
{
	uint64_t done = 0;

	m_calm(m);
	m_edge_add(m, as, va); /* it may have been cut there */
	m_edge_add(m, as, va + len);
	while (done < len && !port_covers(m->as[as], va + done))
		done += PAGE;
	if (done == len)
		m_fail(m, "gm_as_unmap failed, and all of it is unmapped");
	if (done)
		m_map_cut(m, as, va, done);
	m_edges_forget(m, as, va, done);
	for (; done < len; done += PAGE)
		if (!port_covers(m->as[as], va + done))
			m_fail(m, "%#llx is unmapped, and not what comes before it",
			       (unsigned long long)(va + done));
}

void m_op_unmap(struct model *m)
{
	unsigned int as;
	uint64_t va, len;
	int expect, err;

	choose(m, &as, &va, &len);
	if (m_maps_free(m) < 16) { /* one piece less, and none more */
		const struct m_map *map = m_map_pick(m);

		as = map->as;
		va = map->va;
		len = map->len;
	} else if (m->mapped < m->enough + len) {
		return;
	}
	m_what(m, "unmap as%u %#llx+%llu", as, (unsigned long long)va, (unsigned long long)len);
	m_mapped(m, as, va, len, GM_READ, &expect);
	err = gm_as_unmap(m->as[as], (void *)(uintptr_t)va, len);
	check_err(m, err, expect);
	if (err && !expect)
		settle_unmap(m, as, va, len);
	if (err)
		return;
	m_map_cut(m, as, va, len);
	m_edges_forget(m, as, va, len);
	port_unmapped(m, as, va, len);
}

void m_op_protect(struct model *m)
{
	uint32_t prot = m_chance(m, 64) ? GM_READ : GM_READ | GM_WRITE;
	unsigned int as;
	uint64_t va, len, end;
	int expect, err;

	choose(m, &as, &va, &len);
	m_what(m, "protect as%u %#llx+%llu %u", as, (unsigned long long)va, (unsigned long long)len,
	       prot);
	if (m_maps_free(m) < 16)
		return;
	m_mapped(m, as, va, len, GM_READ, &expect);
	err = gm_as_protect(m->as[as], (void *)(uintptr_t)va, len, prot);
	check_err(m, err, expect);
	if (err && !expect) { /* a part may have been changed; say it again */
		m_calm(m);
		err = gm_as_protect(m->as[as], (void *)(uintptr_t)va, len, prot);
		check_err(m, err, 0);
	}
	if (err)
		return;
	m_edge_add(m, as, va);
	m_edge_add(m, as, va + len);
	for (end = va + len; va < end;) {
		struct m_map *old = m_map_at(m, as, va), was = *old;
		uint64_t n = was.va + was.len - va;

		n = n < end - va ? n : end - va;
		if (was.prot != prot) {
			was.obj->maps++;
			m_map_cut(m, as, va, n);
			m_map_add(m, as, va, n, was.obj, was.offset + (va - was.va), prot);
			was.obj->maps--;
		}
		va += n;
	}
}

static unsigned int objects_free(const struct model *m)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < M_MAX_OBJECTS; i++)
		n += !m->object[i].size;
	return n;
}

/* [va, va+len) is seen again: which of it was lost meanwhile? */
static void seen_again(struct model *m, struct m_map *map, uint64_t va, uint64_t len)
{
	for (uint64_t at = va; at < va + len; at += PAGE) {
		struct gm_page_info info;

		if (*m_bad(map, at) != M_PERHAPS)
			continue;
		if (port_query(m->as[map->as], at, PAGE, &info))
			m_fail(m, "no query of %#llx", (unsigned long long)at);
		*m_bad(map, at) = !!(info.flags & GM_PAGE_POISONED);
	}
}

/* All of it is where it was told to go, or chosen; @len bytes of it are those of @was. */
static void remapped(struct model *m, const struct m_map *was, uint64_t va, uint64_t len,
		     uint64_t to, uint64_t new_len)
{
	struct m_object *o = was->obj;
	uint64_t offset = was->offset + (va - was->va), kept = len < new_len ? len : new_len;
	uint32_t prot = was->prot;
	unsigned int as = was->as;

	o->maps++;
	m_edges_move(m, as, va, kept, to);
	m_map_cut(m, as, va, len);
	if (!m_range_free(m, as, to, new_len))
		m_fail(m, "remapped to %#llx, where something is", (unsigned long long)to);
	m_map_add(m, as, to, kept, o, offset, prot);
	if (new_len > len && o->named) {
		seen_again(m, m_map_add(m, as, to + len, new_len - len, o, offset + len, prot),
			   to + len, new_len - len);
	} else if (new_len > len) {
		struct m_object *more = m_object_new(m, new_len - len, NULL);

		more->loose = true;
		m_map_add(m, as, to + len, new_len - len, more, 0, prot);
	}
	o->maps--;
}

/*
 * A piece of one mapping moves, shrinks or grows. What fails half-way and cannot go back
 * either is for tests/unit/test_remap.c, so nothing is made to fail here.
 */
void m_op_remap(struct model *m)
{
	const struct m_map *map = m_map_pick(m);
	uint64_t first = m_below(m, map->len / PAGE), room = map->len / PAGE - first;
	uint64_t va = map->va + first * PAGE, len = (1 + m_below(m, room)) * PAGE, new_len = len;
	uint64_t to = port.base + m_below(m, 65536) * PAGE, more = m_below(m, 64) * PAGE;
	uint32_t flags = m_chance(m, 128) ? GM_REMAP_MAYMOVE | GM_REMAP_FIXED : GM_REMAP_MAYMOVE;
	bool fixed = flags & GM_REMAP_FIXED, named = map->obj->named;
	void *addr = (void *)(uintptr_t)to;
	int expect = 0, err;

	if (m_maps_free(m) < 16)
		return;
	if (m_chance(m, 96) && m->mapped >= m->enough + len)
		new_len = (1 + m_below(m, len / PAGE)) * PAGE;
	else if (m_chance(m, 128) && m->mapped < 3 * m->enough && objects_free(m))
		new_len += more;
	m_calm(m);
	m_what(m, "remap as%u %#llx+%llu to %llu %s %#llx", map->as, (unsigned long long)va,
	       (unsigned long long)len, (unsigned long long)new_len, fixed ? "at" : "not at",
	       (unsigned long long)to);
	if (fixed && to < va + len && va < to + new_len)
		expect = -EINVAL;
	else if (named && map->offset + (va - map->va) + new_len > map->obj->size)
		expect = -EINVAL;
	else if (fixed && !m_range_free(m, map->as, to, new_len))
		expect = -EEXIST;
	m_edge_add(m, map->as, va); /* it may have been cut there, whatever comes of it */
	m_edge_add(m, map->as, va + len);
	m_edge_add(m, map->as, va + new_len);
	err = gm_as_remap(m->as[map->as], (void *)(uintptr_t)va, len, new_len, flags, &addr);
	if (err == -EEXIST && new_len < len) { /* it has lost its end */
		m_map_cut(m, map->as, va + new_len, len - new_len);
		expect = err;
	}
	check_err(m, err, expect);
	if (err)
		return;
	remapped(m, &(struct m_map){ map->obj, map->as, map->va, map->len, map->offset, map->prot },
		 va, len, (uintptr_t)addr, new_len);
}

static struct m_object *some_handle(struct model *m)
{
	unsigned int first = (unsigned int)m_below(m, M_MAX_OBJECTS);

	for (unsigned int i = 0; i < M_MAX_OBJECTS; i++) {
		struct m_object *o = &m->object[(first + i) % M_MAX_OBJECTS];

		if (o->handle)
			return o;
	}
	return NULL;
}

static void map_object(struct model *m, unsigned int as, struct m_object *o)
{
	uint64_t pages = o->size / PAGE, offset = m_below(m, pages) * PAGE;
	uint64_t len = (1 + m_below(m, pages - offset / PAGE)) * PAGE, va;
	bool fixed = m_chance(m, 160);
	uint32_t prot = m_chance(m, 24) ? GM_READ : GM_READ | GM_WRITE;
	void *addr;
	int expect, err;

	va = port.base + m_below(m, 65536) * PAGE;
	if (m_chance(m, 96)) /* so that large leaves fit */
		va = (va & ~(BLOCK - 1)) + offset % BLOCK;
	addr = (void *)(uintptr_t)va;
	m_what(m, "map object %u offset %llu+%llu prot %u as%u %s %#llx",
	       (unsigned int)(o - m->object), (unsigned long long)offset, (unsigned long long)len,
	       prot, as, fixed ? "at" : "not at", (unsigned long long)va);
	expect = fixed && !m_range_free(m, as, va, len) ? -EEXIST : 0;
	err = gm_as_map(m->as[as], o->handle, offset, len, prot, fixed ? GM_MAP_FIXED : 0, &addr);
	check_err(m, err, expect);
	if (err)
		return;
	va = (uintptr_t)addr;
	if (!m_range_free(m, as, va, len))
		m_fail(m, "mapped at %#llx, where something is", (unsigned long long)va);
	m_map_add(m, as, va, len, o, offset, prot);
}

/* Where it is, or 0. */
static uint64_t alloc(struct model *m, unsigned int as, uint64_t pages)
{
	void *addr;
	uint64_t len = m_units_complete(m, pages * PAGE); /* what is added then is added here */
	int err;

	m_what(m, "alloc as%u %llu", as, (unsigned long long)len);
	err = gm_alloc(m->as[as], len, 0, &addr);
	check_err(m, err, 0);
	if (err)
		return 0;
	if (!m_range_free(m, as, (uintptr_t)addr, len))
		m_fail(m, "allocated at %p, where something is", addr);
	if (len >= BLOCK && (uintptr_t)addr % BLOCK)
		m_fail(m, "allocated at %p, not aligned", addr);
	m_map_add(m, as, (uintptr_t)addr, len, m_object_new(m, len, NULL), 0, GM_READ | GM_WRITE);
	return (uintptr_t)addr;
}

void m_op_map(struct model *m)
{
	struct m_object *o = some_handle(m);
	unsigned int as = (unsigned int)m_below(m, m->nr_as);

	if (m_maps_free(m) < 8 || m->mapped > 3 * m->enough)
		return;
	if (o && m_chance(m, 192))
		map_object(m, as, o);
	else if (objects_free(m))
		alloc(m, as, 1 + m_below(m, m_chance(m, 64) ? 1536 : 64));
}

/* Unplug the device and plug it in again, empty and with no bad memory, if nothing fails. */
static void renew_dev(struct model *m, struct m_dev *d)
{
	struct gm_stats stats = { .size = sizeof(stats) };

	m_what(m, "renew dev%c", d == m->dev ? 'A' : 'B');
	for (unsigned int as = 0; as < m->nr_as; as++) {
		if (d->ctx[as] && gm_sim_detach(d->ctx[as]))
			return;
		d->ctx[as] = NULL;
	}
	gm_dev_stats(gm_sim_dev(d->sim), &stats);
	if (gm_sim_destroy(d->sim))
		return;
	m->evictions += stats.evictions;
	if (m_dev_plug(m, d))
		d->sim = NULL;
	for (unsigned int as = 0; as < m->nr_as && d->sim; as++)
		if (gm_sim_attach(d->sim, m->as[as], &d->ctx[as]))
			d->ctx[as] = NULL;
}

/* New memory in whole blocks, and all of it on a device with leaves that are larger. */
void m_op_large(struct model *m)
{
	unsigned int as = (unsigned int)m_below(m, m->nr_as);
	uint64_t blocks = 2 + m_below(m, 3), va;
	struct m_dev *d = &m->dev[0];
	int err, node;

	if (!d->sim || !(d->pgsizes >> 22) || m_maps_free(m) < 8 || !objects_free(m) ||
	    m->mapped > 3 * m->enough)
		return;
	va = alloc(m, as, blocks * 512);
	if (va && m_chance(m, 128))
		renew_dev(m, d);
	if (!va || !d->sim || !d->ctx[as])
		return;
	node = gm_dev_hnode(gm_sim_dev(d->sim));
	m_what(m, "prefetch as%u %#llx+%llu to %d", as, (unsigned long long)va,
	       (unsigned long long)(blocks * BLOCK), node);
	err = port_advise(m->as[as], node, va, blocks * BLOCK, GM_PREFETCH);
	if (err != -ENOSPC) /* what is pinned, or bad, may be in the way */
		check_err(m, err, 0);
}

/* There must always be something to work on. */
void m_map_something(struct model *m)
{
	m_calm(m);
	if (!objects_free(m) || !m_maps_free(m))
		m_fail(m, "nothing is mapped, and nothing can be");
	alloc(m, 0, 1024);
}

void m_op_object(struct model *m)
{
	struct m_object *o = some_handle(m);
	struct gm_object *handle;
	uint64_t size;
	int err;

	if (o && m_chance(m, 96)) {
		m_what(m, "put object %u", (unsigned int)(o - m->object));
		gm_object_put(o->handle);
		o->handle = NULL;
		m_object_check_gone(m, o);
		return;
	}
	if (objects_free(m) < M_MAX_OBJECTS / 2)
		return;
	size = (1 + m_below(m, m_chance(m, 64) ? 2048 : 700)) * PAGE;
	m_what(m, "create an object of %llu", (unsigned long long)size);
	err = gm_object_create(size, 0, &handle);
	check_err(m, err, 0);
	if (!err)
		m_object_new(m, size, handle);
}
