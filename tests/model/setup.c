// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The layouts, and the way in and out.
 *
 *	a  one gm_alloc of 16 blocks
 *	b  many small regions at odd addresses and odd offsets, some of them neighbours
 *	c  two address spaces; one object mapped twice in the first, once at an odd
 *	   offset, and once in the second; private memory in both
 *	d  as c, and the second device maps host memory in place
 *	e  as c, and the devices' base pages are of 16 KiB and 2 MiB
 *	f  as c, and the first device sees what windows show it, the second's mode changes for
 *	   ranges
 *	g  as c, and each device reads in place what another has; there is a third one, which shares
 *	   the page table of the first, or the other way round
 *
 * The devices are small, of different sizes and with different page sizes, in a and c up to 8 MiB; in layout a, the base page of
 * the second is of 64 KiB. They have a link, but in layout b. In b the second and in c the first has memory that the CPU can address,
 * if the host can do that. The first device, but in layout c, is told in one message what to map and to copy.
 */
#include <string.h>

#include "port.h"

int m_dev_plug(struct model *m, struct m_dev *d)
{
	struct gm_sim_options opt = {
		.size = sizeof(opt),
		.name = (char[]){ m_name(m, d), 0 },
		.memory = d->blocks * BLOCK,
		.base = d->base,
		.pgsize_bitmap = d->pgsizes,
		.lanes = 1,
		.tlb_entries = 16,
		.table_memory = 2 << 20,
		.flags = GM_SIM_CHECK | (m->cfg->layout == 'b' ? GM_SIM_NO_LINK : 0) |
			 (d->in_place ? GM_SIM_IN_PLACE : 0) | (d->share ? GM_SIM_SHARE : 0) |
			 (d->sparse ? GM_SIM_SPARSE : 0) |
			 (m->cfg->layout == 'g' ? GM_SIM_READ_PEER : 0) |
			 (m->cfg->layout != 'c' && d == &m->dev[0] ? GM_SIM_PEER_OPS : 0),
	};

	d->poisoned = 0;
	port_sim_options(d, &opt);
	return gm_sim_create(&opt, &d->sim);
}

static void must(struct model *m, const char *what, int err)
{
	if (err)
		m_fail(m, "%s: %d", what, err);
}

static struct m_object *make_object(struct model *m, uint64_t size)
{
	struct gm_object *obj;

	must(m, "gm_object_create", gm_object_create(size, 0, &obj));
	return m_object_new(m, size, obj);
}

static void map_fixed(struct model *m, unsigned int as, uint64_t va, uint64_t len,
		      struct m_object *o, uint64_t offset)
{
	void *addr = (void *)(uintptr_t)va;

	must(m, "gm_as_map",
	     gm_as_map(m->as[as], o->handle, offset, len, GM_READ | GM_WRITE, GM_MAP_FIXED, &addr));
	m_map_add(m, as, va, len, o, offset, GM_READ | GM_WRITE);
}

static void alloc_blocks(struct model *m, unsigned int as, uint64_t blocks)
{
	void *addr;

	must(m, "gm_alloc", gm_alloc(m->as[as], blocks * BLOCK, 0, &addr));
	m_map_add(m, as, (uintptr_t)addr, blocks * BLOCK, m_object_new(m, blocks * BLOCK, NULL), 0,
		  GM_READ | GM_WRITE);
}

static void layout_b(struct model *m, unsigned int regions)
{
	struct m_object *o = make_object(m, 6 * BLOCK + 5 * PAGE);
	uint64_t va = port.base + 3 * PAGE, offset = PAGE;

	for (unsigned int i = 0; i < regions; i++) {
		uint64_t len = (1 + m_mix(i) % (i % 3 ? 60 : 700)) * PAGE;

		if (offset + len > o->size) { /* a second object goes on where the first ended */
			o = make_object(m, 6 * BLOCK + 5 * PAGE);
			offset = 7 * PAGE;
		}
		map_fixed(m, 0, va, len, o, offset);
		offset += len + (i % 4) * PAGE;
		va += len + (i % 5 ? 0 : 11 * PAGE);
	}
}

static void layout_c(struct model *m, uint64_t blocks)
{
	struct m_object *o = make_object(m, blocks * BLOCK);

	map_fixed(m, 0, port.base, blocks * BLOCK, o, 0);
	map_fixed(m, 0, port.base + 0x10000000ULL + 5 * PAGE, (blocks - 1) * BLOCK, o, 77 * PAGE);
	map_fixed(m, 1, port.base + 0x20000000ULL + BLOCK, blocks * BLOCK, o, 0);
	alloc_blocks(m, 0, blocks / 2);
	alloc_blocks(m, 1, blocks / 2);
}

void m_setup(struct model *m)
{
	static uint8_t bufs[2][M_BUF];
	struct gm_as_options opt = { .size = sizeof(opt) };
	bool small = m->cfg->small;
	bool large = m->cfg->layout == 'a' || m->cfg->layout == 'c'; /* leaves of 4 and 8 MiB */

	m->buf = bufs[0];
	m->buf2 = bufs[1];
	opt.flags = m->cfg->inline_faults ? GM_AS_INLINE : 0;
	m->nr_as = m->cfg->layout >= 'c' ? 2 : 1;
	for (unsigned int i = 0; i < m->nr_as; i++)
		must(m, "gm_as_create", gm_as_create(&opt, &m->as[i]));

	m->dev[0] = (struct m_dev){ .blocks = small   ? 1
					      : large ? 4
						      : 2,
				    .base = 0x100000000ULL,
				    .pgsizes = m->cfg->layout == 'e'
						       ? 1 << 14 | 1 << 16
						       : 1 << 12 | 1 << 16 | 1 << 21 |
								 (large ? 3 << 22 : 0),
				    .aperture = m->cfg->layout == 'c',
				    .sparse = m->cfg->layout == 'f',
				    .share = m->cfg->layout == 'g' };
	m->dev[1] = (struct m_dev){ .blocks = small		      ? 1
					      : m->cfg->layout == 'e' ? 4
								      : 3,
				    .base = 0x4000000000ULL,
				    .pgsizes = m->cfg->layout == 'a'   ? 1 << 16
					       : m->cfg->layout == 'e' ? 1 << 21
								       : 1 << 12,
				    .aperture = m->cfg->layout == 'b',
				    .in_place = m->cfg->layout == 'd' };
	m->dev[2] = (struct m_dev){
		.blocks = 2, .base = 0x6000000000ULL, .pgsizes = m->dev[0].pgsizes, .share = true
	};
	m->nr_devs = m->cfg->layout == 'g' ? 3 : 2;
	for (unsigned int d = 0; d < m->nr_devs; d++) {
		must(m, "gm_sim_create", m_dev_plug(m, &m->dev[d]));
		for (unsigned int i = 0; i < m->nr_as; i++)
			must(m, "gm_sim_attach", m_dev_attach(m, &m->dev[d], i));
	}

	if (m->cfg->layout == 'a')
		alloc_blocks(m, 0, small ? 3 : 16);
	else if (m->cfg->layout == 'b')
		layout_b(m, small ? 8 : 48);
	else
		layout_c(m, small ? 2 : 8);
	for (unsigned int i = 0; i < m->nr_as; i++)
		m_dev_show(m, &m->dev[0], i);
	m->enough = m->mapped / 2;
}

/* Nothing refers to anything any more. */
static void check_empty(struct model *m, const struct m_dev *d)
{
	struct gm_hnode_info info = { .size = sizeof(info) };

	must(m, "gm_hnode_info", gm_hnode_info(gm_dev_hnode(gm_sim_dev(d->sim)), &info));
	if (info.free != info.total || info.blocks || info.pinned)
		m_fail(m, "dev%c has %llu bytes free of %llu, %llu pinned, %llu blocks",
		       m_name(m, d), (unsigned long long)info.free, (unsigned long long)info.total,
		       (unsigned long long)info.pinned, (unsigned long long)info.blocks);
}

/* Those that share another's page table first. */
static void detach_all(struct model *m)
{
	for (unsigned int i = 0; i < m->nr_as; i++)
		for (unsigned int d = 0; d < 2 * M_MAX_DEVS; d++) {
			struct m_dev *dev = &m->dev[d % M_MAX_DEVS];

			if (!dev->ctx[i] || (d < M_MAX_DEVS && dev->owner[i] == dev))
				continue;
			must(m, "gm_sim_detach", gm_sim_detach(dev->ctx[i]));
			dev->ctx[i] = NULL;
		}
}

/* Leave by different doors: what is not detached or unmapped, gm_as_destroy() must do. */
void m_teardown(struct model *m)
{
	bool detach = m->op % 2, put_first = m->op % 3 == 0;

	m_what(m, "teardown%s%s", detach ? ", detach first" : "", put_first ? ", put first" : "");
	m_calm(m);
	for (unsigned int i = 0; put_first && i < M_MAX_OBJECTS; i++)
		if (m->object[i].handle)
			gm_object_put(m->object[i].handle);
	if (detach)
		detach_all(m);
	for (unsigned int i = 0; i < m->nr_as; i++)
		must(m, "gm_as_destroy", gm_as_destroy(m->as[i]));
	for (unsigned int d = 0; d < M_MAX_DEVS; d++)
		if (m->dev[d].sim && put_first)
			check_empty(m, &m->dev[d]);
	for (unsigned int d = 0; d < M_MAX_DEVS; d++)
		if (m->dev[d].sim)
			must(m, "gm_sim_destroy", gm_sim_destroy(m->dev[d].sim));
	for (unsigned int i = 0; i < M_MAX_OBJECTS; i++) {
		if (m->object[i].handle && !put_first)
			gm_object_put(m->object[i].handle);
		m_object_free(&m->object[i]);
	}
}
