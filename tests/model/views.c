// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What a device sees of an address space, where, and in what mode: windows of one that is
 * attached sparsely, ranges in mode GM_REPLICATE of another, and devices that share what a third
 * one has.
 *
 * Windows are at addresses of the device's below all that is mapped, with a gap between any
 * two: where a window ends the device sees nothing, neither there nor at the address space's own
 * addresses. They have nothing to do with mappings, and stay while these come and go.
 */
#include "port.h"

#define DEV_VA_FIRST (16ULL << 20)
#define DEV_VA_PAGES (1U << 19)

char m_name(const struct model *m, const struct m_dev *d)
{
	return (char)('A' + (d - m->dev));
}

/* ------------------------------------------------------------------ sets of ranges */

static const struct m_range *range_at(const struct m_ranges *set, uint64_t va)
{
	for (unsigned int i = 0; i < set->nr; i++)
		if (va >= set->range[i].va && va < set->range[i].end)
			return &set->range[i];
	return NULL;
}

static bool range_room(const struct m_ranges *set)
{
	return set->nr + 2 <= M_MAX_RANGES;
}

static void range_add(struct m_ranges *set, uint64_t va, uint64_t end, uint64_t dev_va)
{
	set->range[set->nr++] = (struct m_range){ .va = va, .end = end, .dev_va = dev_va };
}

/* Take [va, end) out. There is room. */
static void range_cut(struct m_ranges *set, uint64_t va, uint64_t end)
{
	for (unsigned int i = 0; i < set->nr;) {
		struct m_range r = set->range[i];

		if (r.va >= end || r.end <= va) {
			i++;
			continue;
		}
		set->range[i] = set->range[--set->nr];
		if (r.va < va)
			range_add(set, r.va, va, r.dev_va);
		if (r.end > end)
			range_add(set, end, r.end, r.dev_va + (end - r.va));
		i = 0;
	}
}

static bool range_meets(const struct m_ranges *set, uint64_t va, uint64_t end)
{
	for (unsigned int i = 0; i < set->nr; i++)
		if (set->range[i].va < end && set->range[i].end > va)
			return true;
	return false;
}

/* The same at the device, with @gap around. */
static bool range_meets_dev(const struct m_ranges *set, uint64_t dev_va, uint64_t len, uint64_t gap)
{
	for (unsigned int i = 0; i < set->nr; i++) {
		const struct m_range *r = &set->range[i];

		if (r->dev_va < dev_va + len + gap && r->dev_va + (r->end - r->va) + gap > dev_va)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ what others ask */

uint64_t m_seen(const struct m_dev *d, unsigned int as, uint64_t va, uint64_t len, uint64_t *dev_va)
{
	const struct m_range *r;

	*dev_va = va;
	if (!d->sparse)
		return len;
	r = range_at(&d->seen[as], va);
	if (!r)
		return 0;
	*dev_va = va - r->va + r->dev_va;
	return len < r->end - va ? len : r->end - va;
}

bool m_in_place_at(const struct m_dev *d, unsigned int as, uint64_t va)
{
	return d->in_place || range_at(&d->replicated[as], va);
}

bool m_in_place(const struct m_dev *d, unsigned int as, uint64_t va, uint64_t len)
{
	for (uint64_t at = va & ~(PAGE - 1); at < va + len; at += PAGE)
		if (!m_in_place_at(d, as, at))
			return false;
	return true;
}

int m_view_check(const struct m_dev *d, unsigned int as, uint64_t va, uint64_t len, bool pin)
{
	uint64_t dev_va;

	if (!d->ctx[as])
		return -ENODEV;
	if (d->owner[as] != d) /* its pages are on another's node */
		return -EOPNOTSUPP;
	for (uint64_t at = va & ~(PAGE - 1); at < va + len; at += PAGE) {
		if (!m_seen(d, as, at, PAGE, &dev_va))
			return -EFAULT;
		if (pin && m_in_place_at(d, as, at))
			return -EOPNOTSUPP;
	}
	return 0;
}

/* ------------------------------------------------------------------ to and fro */

static int window_add(struct model *m, struct m_dev *d, unsigned int as, uint64_t va, uint64_t len,
		      uint64_t dev_va)
{
	bool meets = range_meets(&d->seen[as], va, va + len) ||
		     range_meets_dev(&d->seen[as], dev_va, len, 0);
	int expect = meets ? -EEXIST : 0, err;

	if (!range_room(&d->seen[as]) ||
	    (!meets && range_meets_dev(&d->seen[as], dev_va, len, PAGE)))
		return 0;
	m_what(m, "window of dev%c as%u %#llx+%llu at %#llx", m_name(m, d), as,
	       (unsigned long long)va, (unsigned long long)len, (unsigned long long)dev_va);
	err = gm_sim_window_add(d->ctx[as], (void *)(uintptr_t)va, len, dev_va);
	if (err != expect && !(err && m->inject_left && m_may_fail(m, err)))
		m_fail(m, "returned %d, should be %d", err, expect);
	if (!err)
		range_add(&d->seen[as], va, va + len, dev_va);
	return err == expect ? 0 : err;
}

/* An address of the device's: offset by a number of pages, or by a multiple of a block. */
static uint64_t some_dev_va(struct model *m, uint64_t va)
{
	uint64_t dev_va = DEV_VA_FIRST + m_below(m, DEV_VA_PAGES) * PAGE;

	return m_chance(m, 160) ? (dev_va & ~(BLOCK - 1)) + va % BLOCK : dev_va;
}

/* Show the first part of [va, end) that is not shown. */
static void window_fill(struct model *m, struct m_dev *d, unsigned int as, uint64_t va,
			uint64_t end)
{
	uint64_t stop, dev_va = some_dev_va(m, va);

	while (va < end && range_at(&d->seen[as], va))
		va = range_at(&d->seen[as], va)->end;
	for (stop = va; stop < end && !range_at(&d->seen[as], stop);)
		stop += PAGE;
	if (va < stop)
		m->failed += window_add(m, d, as, va, stop - va, dev_va) != 0;
}

/* All that is mapped now. */
void m_dev_show(struct model *m, struct m_dev *d, unsigned int as)
{
	for (unsigned int i = 0; d->sparse && i < M_MAX_MAPS; i++) {
		const struct m_map *map = &m->map[i];

		if (map->obj && map->as == as)
			window_fill(m, d, as, map->va, map->va + map->len);
	}
}

int m_dev_attach(struct model *m, struct m_dev *d, unsigned int as)
{
	struct gm_sim_ctx *ctx;
	int err = gm_sim_attach(d->sim, m->as[as], &ctx);

	if (err)
		return err;
	d->owner[as] = d;
	for (unsigned int i = 0; d->share && i < m->nr_devs; i++)
		if (m->dev[i].share && m->dev[i].ctx[as])
			d->owner[as] = m->dev[i].owner[as];
	d->ctx[as] = ctx;
	d->seen[as].nr = 0;
	d->replicated[as].nr = 0;
	m_dev_show(m, d, as);
	return 0;
}

/* Do others use its page table? */
bool m_dev_shared(const struct model *m, const struct m_dev *d, unsigned int as)
{
	for (unsigned int i = 0; i < m->nr_devs; i++)
		if (&m->dev[i] != d && m->dev[i].ctx[as] && m->dev[i].owner[as] == d)
			return true;
	return false;
}

/* ------------------------------------------------------------------ operations */

/* Whole pages of a mapping, at times a little more. */
static void choose(struct model *m, unsigned int *as, uint64_t *va, uint64_t *end)
{
	const struct m_map *map = m_map_pick(m);
	uint64_t first = m_below(m, map->len / PAGE) * PAGE;
	uint64_t pages = 1 + m_below(m, m_chance(m, 64) ? 1024 : 64);
	bool beyond = m_chance(m, 32);

	*as = map->as;
	*va = map->va + first;
	*end = *va + pages * PAGE;
	if (*end > map->va + map->len && !beyond)
		*end = map->va + map->len;
}

static void window_remove(struct model *m, struct m_dev *d, unsigned int as, uint64_t va,
			  uint64_t end)
{
	int expect = 0, err;
	uint64_t dev_va;

	for (uint64_t at = va; at < end && !expect; at += PAGE)
		if (!m_seen(d, as, at, PAGE, &dev_va))
			expect = -ENOENT;
	if (!range_room(&d->seen[as]))
		return;
	m_what(m, "no window of dev%c as%u %#llx+%llu", m_name(m, d), as, (unsigned long long)va,
	       (unsigned long long)(end - va));
	err = gm_sim_window_remove(d->ctx[as], (void *)(uintptr_t)va, end - va);
	if (err != expect && !(err && m->inject_left && m_may_fail(m, err)))
		m_fail(m, "returned %d, should be %d", err, expect);
	m->failed += err != expect;
	if (!err)
		range_cut(&d->seen[as], va, end);
}

static void windows(struct model *m, struct m_dev *d, unsigned int as, uint64_t va, uint64_t end)
{
	const struct m_range *r = range_at(&d->seen[as], va);
	unsigned int how = m_u8(m);

	if (how < 96) {
		window_fill(m, d, as, va, end);
	} else if (how < 160) { /* perhaps it is there already, or something is at the device */
		uint64_t dev_va = some_dev_va(m, va);

		if (r && how < 112)
			dev_va = r->dev_va;
		m->failed += window_add(m, d, as, va, end - va, dev_va) != 0;
	} else if (r && how < 176) {
		window_remove(m, d, as, r->va, r->end);
	} else {
		window_remove(m, d, as, va, end);
	}
}

/* The device has nothing of the range: it has come home. */
static void check_home(struct model *m, const struct m_dev *d, unsigned int as, uint64_t va,
		       uint64_t end)
{
	int node = gm_dev_hnode(gm_sim_dev(d->sim));
	struct gm_page_info info;

	for (; va < end; va += PAGE) {
		if (!m_map_at(m, as, va))
			continue;
		if (port_query(m->as[as], va, PAGE, &info))
			m_fail(m, "no query of %#llx", (unsigned long long)va);
		if (info.node == node)
			m_fail(m, "%#llx is on the device", (unsigned long long)va);
	}
}

static void mode(struct model *m, struct m_dev *d, unsigned int as, uint64_t va, uint64_t end)
{
	bool replicate = m_chance(m, 128);
	int err;

	if (!range_room(&d->replicated[as]))
		replicate = false;
	if (!replicate && !range_room(&d->replicated[as])) { /* all of it */
		va = 0;
		end = 1ULL << 47;
	}
	m_what(m, "mode of dev%c as%u %#llx+%llu %s", m_name(m, d), as, (unsigned long long)va,
	       (unsigned long long)(end - va), replicate ? "replicate" : "exclusive");
	err = gm_sim_set_mode(d->ctx[as], (void *)(uintptr_t)va, end - va,
			      replicate ? GM_REPLICATE : GM_EXCLUSIVE);
	if (err && !(m->inject_left && m_may_fail(m, err)))
		m_fail(m, "returned %d", err);
	m->failed += err != 0;
	if (err)
		return;
	range_cut(&d->replicated[as], va, end);
	if (!replicate)
		return;
	range_add(&d->replicated[as], va, end, va);
	check_home(m, d, as, va, end);
}

/* In layouts where there is nothing of the kind, something else, as it were. */
void m_op_view(struct model *m)
{
	unsigned int as;
	struct m_dev *d;
	uint64_t va, end;

	if (m->cfg->layout != 'f') {
		m_op_cpu_read(m);
		return;
	}
	d = &m->dev[m_below(m, m->nr_devs)];
	choose(m, &as, &va, &end);
	if (!d->ctx[as])
		return;
	if (d->sparse)
		windows(m, d, as, va, end);
	else
		mode(m, d, as, va, end);
}
