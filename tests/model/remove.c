// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A device is pulled out, whoever uses it, and plugged in anew.
 *
 * What the model expects: every byte is what it was, or its page is lost and says so; that
 * only if the copy engine has failed, and only of what the device had. With a dead engine it
 * is lost, all of it: nobody is given bytes that are older. Where the host moves pages of its
 * own accord, what the device had by then is not known.
 *
 * Objects are looked at as a whole, by a mapping of the moment: bytes that nothing maps just
 * now are bytes too.
 */
#include <stdlib.h>
#include <string.h>

#include "port.h"

struct removal {
	struct m_dev *dev;
	int node;
	bool dead;		     /* its copy engine */
	bool may_lose;		     /* copies may fail */
	uint64_t at[M_MAX_OBJECTS];  /* where all of the object is mapped, in as0; or 0 */
	uint8_t *was[M_MAX_OBJECTS]; /* of each page: the device has it */
};

static void must(struct model *m, const char *what, int err)
{
	if (err)
		m_fail(m, "%s: %d", what, err);
}

static void map_objects(struct model *m, struct removal *r)
{
	for (unsigned int i = 0; i < M_MAX_OBJECTS; i++) {
		struct m_object *o = &m->object[i];
		void *addr = NULL;

		if (!o->size)
			continue;
		r->was[i] = calloc(o->size / PAGE, 1);
		if (!r->was[i])
			m_fail(m, "no memory");
		if (!o->handle)
			continue;
		must(m, "gm_as_map of an object",
		     gm_as_map(m->as[0], o->handle, 0, o->size, GM_READ, 0, &addr));
		r->at[i] = (uintptr_t)addr;
	}
}

static void unmap_objects(struct model *m, struct removal *r)
{
	for (unsigned int i = 0; i < M_MAX_OBJECTS; i++) {
		free(r->was[i]);
		if (r->at[i])
			must(m, "gm_as_unmap of an object",
			     gm_as_unmap(m->as[0], (void *)(uintptr_t)r->at[i], m->object[i].size));
	}
}

static void note(struct model *m, struct removal *r, unsigned int obj, uint64_t page,
		 const struct gm_page_info *info)
{
	(void)m;
	r->was[obj][page] = info->node == r->node;
}

static void judge(struct model *m, struct removal *r, unsigned int obj, uint64_t page,
		  const struct gm_page_info *info)
{
	uint8_t *bad = &m->object[obj].bad[page];
	bool lost = info->flags & GM_PAGE_POISONED, was = r->was[obj][page];

	if (info->node == r->node)
		m_fail(m, "page %llu of object %u is on the device still", (unsigned long long)page,
		       obj);
	if (lost == *bad) {
		if (!lost && was && r->dead && port.alone)
			m_fail(m, "page %llu of object %u came from a dead device",
			       (unsigned long long)page, obj);
		return;
	}
	if (!lost || !r->may_lose || (port.alone && !was))
		m_fail(m, "page %llu of object %u is%s lost", (unsigned long long)page, obj,
		       lost ? "" : " not");
	*bad = 1;
}

/* Call @fn for every page that there is, of an object that is seen at [va, va+len) from @offset on. */
static void look_at(struct model *m, struct removal *r, unsigned int as, uint64_t va, uint64_t len,
		    unsigned int obj, uint64_t offset,
		    void (*fn)(struct model *m, struct removal *r, unsigned int obj, uint64_t page,
			       const struct gm_page_info *info))
{
	static struct gm_page_info info[512];

	for (uint64_t done = 0, n; done < len; done += n) {
		n = len - done < BLOCK ? len - done : BLOCK;
		must(m, "gm_query", port_query(m->as[as], va + done, n, info));
		for (uint64_t i = 0; i < n / PAGE; i++)
			fn(m, r, obj, (offset + done) / PAGE + i, &info[i]);
	}
}

static void look(struct model *m, struct removal *r,
		 void (*fn)(struct model *m, struct removal *r, unsigned int obj, uint64_t page,
			    const struct gm_page_info *info))
{
	for (unsigned int i = 0; i < M_MAX_OBJECTS; i++)
		if (r->at[i])
			look_at(m, r, 0, r->at[i], m->object[i].size, i, 0, fn);
	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		const struct m_map *map = &m->map[i];

		if (map->obj && !map->obj->handle)
			look_at(m, r, map->as, map->va, map->len,
				(unsigned int)(map->obj - m->object), map->offset, fn);
	}
}

static bool is_mapped(const struct model *m, const struct m_object *o, uint64_t offset)
{
	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		const struct m_map *map = &m->map[i];

		if (map->obj == o && offset >= map->offset && offset - map->offset < map->len)
			return true;
	}
	return false;
}

/* What nothing maps of an object without a handle may be seen again: a mapping of it can grow. */
static void forget_unseen(struct model *m, const struct removal *r)
{
	for (unsigned int i = 0; r->may_lose && i < M_MAX_OBJECTS; i++) {
		struct m_object *o = &m->object[i];

		for (uint64_t page = 0; o->named && !o->handle && page < o->size / PAGE; page++)
			if (!o->bad[page] && !is_mapped(m, o, page * PAGE))
				o->bad[page] = M_PERHAPS;
	}
}

static bool detach(struct model *m, struct m_dev *d, unsigned int as)
{
	must(m, "detach", gm_sim_detach(d->ctx[as]));
	d->ctx[as] = NULL;
	return true;
}

/* It is gone: out with it, and who shares its page table; and in with another. */
static void replace(struct model *m, struct m_dev *d)
{
	struct gm_stats stats = { .size = sizeof(stats) };
	bool attached[M_MAX_DEVS][M_MAX_AS] = { 0 };
	uint64_t v, dev_va;
	int err;

	for (unsigned int i = 0; i < m->nr_as; i++) {
		const struct m_map *map = m_map_pick(m);

		if (!d->ctx[i])
			continue;
		for (unsigned int s = 0; s < m->nr_devs; s++) {
			struct m_dev *user = &m->dev[s];

			if (map->as != i || !user->ctx[i] || (user != d && user->owner[i] != d))
				continue;
			if (!m_seen(user, i, map->va, 8, &dev_va))
				continue;
			err = port_dev_access(user->ctx[i], dev_va, &v, 8, GM_READ);
			if (err != -ENODEV)
				m_fail(m, "dev%c in as%u reads %#llx: %d", m_name(m, user), i,
				       (unsigned long long)dev_va, err);
		}
		for (unsigned int s = 0; s < m->nr_devs; s++)
			if (&m->dev[s] != d && m->dev[s].ctx[i] && m->dev[s].owner[i] == d)
				attached[s][i] = detach(m, &m->dev[s], i);
		attached[d - m->dev][i] = detach(m, d, i);
	}
	gm_dev_stats(gm_sim_dev(d->sim), &stats);
	m->evictions += stats.evictions;
	must(m, "destroy", gm_sim_destroy(d->sim));
	must(m, "plug in", m_dev_plug(m, d));
	for (unsigned int i = 0; i < m->nr_as; i++)
		for (unsigned int s = 0; s < m->nr_devs; s++)
			if (attached[s][i])
				must(m, "attach", m_dev_attach(m, &m->dev[s], i));
}

void m_op_remove(struct model *m)
{
	struct m_dev *d = &m->dev[m_below(m, m->nr_devs)];
	bool dead = m_chance(m, 96), start = m_chance(m, 128), mmu = m_chance(m, 128);
	bool host = m->cfg->inject && m_chance(m, 96);
	uint32_t skip = (uint32_t)m_below(m, 8);
	struct removal r = { .dev = d, .dead = dead, .may_lose = dead };
	int err;

	if (!d->sim)
		return;
	m_what(m, "remove dev%c%s%s", m_name(m, d), dead ? ", its engine dead" : "",
	       host ? ", a call of the host fails" : "");
	m_calm(m);
	r.node = gm_dev_hnode(gm_sim_dev(d->sim));
	map_objects(m, &r);
	look(m, &r, note);
	if (dead)
		gm_sim_inject(d->sim, start ? GM_SIM_COPY_START : GM_SIM_COPY_FENCE, 0, UINT32_MAX,
			      -EIO);
	if (mmu) {
		gm_sim_inject(d->sim, GM_SIM_PMAP_RELEASE, 0, UINT32_MAX, -EIO);
		gm_sim_inject(d->sim, GM_SIM_TLB_INVL, 0, UINT32_MAX, -EIO);
	}
	if (host && port_inject(m, true, skip, 1))
		m->inject_left = 1;
	err = gm_sim_unplug(d->sim);
	if (err && !m_may_fail(m, err))
		m_fail(m, "returned %d", err);
	if (err) { /* what is left is had when nothing fails any more */
		r.dead = false;
		m->failed++;
		m_calm(m);
		must(m, "again", gm_sim_unplug(d->sim));
	}
	m_calm(m);
	look(m, &r, judge);
	forget_unseen(m, &r);
	unmap_objects(m, &r);
	replace(m, d);
}
