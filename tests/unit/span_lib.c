// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* See span_lib.h. */
#include "span_lib.h"

struct span_scene s;

void scene_begin(struct unit *u, uint64_t sizes, uint64_t blocks, uint64_t len, uint64_t va)
{
	memset(&s, 0, sizeof(s));
	toy_init(&s.toy, blocks);
	s.toy.mmu.pgsize_bitmap = sizes;
	s.toy.hollow = blocks > 64;
	s.toy.strict = true;
	s.toy.base = 0x740000000ULL;
	assert_int_equal(toy_plug(&s.toy), 0);
	unit_tune(s.toy.dev, PAGE, true, true);
	assert_int_equal(gm_as_attach(u->as, s.toy.dev, GM_EXCLUSIVE, &s.ctx), 0);
	s.obj = unit_object(len);
	s.len = len;
	s.va = unit_map_at(u->as, s.obj, 0, len, va);
}

int prefetch(struct unit *u, uint64_t va, uint64_t len)
{
	return gm_advise(u->as, gm_dev_hnode(s.toy.dev), va, len, GM_PREFETCH);
}

int home(struct unit *u, uint64_t va, uint64_t len)
{
	return gm_advise(u->as, GM_NODE_HOST, va, len, GM_PREFETCH);
}

void scene_end(struct unit *u)
{
	unit_check();
	assert_int_equal(gm_as_destroy(u->as), 0);
	u->as = NULL;
	assert_int_equal(gm_core.spans.in_use, 0);
	gm_object_put(s.obj);
	assert_int_equal(toy_unplug(&s.toy), 0);
	assert_int_equal(gm_as_create(NULL, &u->as), 0);
}

unsigned int leaves(void)
{
	return toy_leaves(s.ctx, s.toy.base, s.toy.base + s.toy.size);
}

/* ------------------------------------------------------------- what there should be */

void gone(uint64_t va, uint64_t len)
{
	s.gone[s.nr_gone][0] = va;
	s.gone[s.nr_gone++][1] = va + len;
}

/* Is [va, va+leaf) all gone, or none of it? */
static bool crosses(uint64_t va, uint64_t leaf)
{
	for (unsigned int i = 0; i < s.nr_gone; i++)
		if (va < s.gone[i][1] && s.gone[i][0] < va + leaf &&
		    !(s.gone[i][0] <= va && va + leaf <= s.gone[i][1]))
			return true;
	return false;
}

/* The largest leaf that can map @va, whose memory is at @pa and goes on as far as a leaf could. */
static uint64_t largest(uint64_t va, uint64_t pa)
{
	for (uint64_t leaf = GIB; leaf > PAGE; leaf /= 2) {
		uint64_t lo = ((va + s.offset) & ~(leaf - 1)) - s.offset;

		if ((s.toy.mmu.pgsize_bitmap & leaf) && !((va + s.offset - pa) & (leaf - 1)) &&
		    lo >= s.va && lo + leaf <= s.va + s.len && !crosses(lo, leaf))
			return leaf;
	}
	return PAGE;
}

static bool is_gone(uint64_t va)
{
	for (unsigned int i = 0; i < s.nr_gone; i++)
		if (va >= s.gone[i][0] && va < s.gone[i][1])
			return true;
	return false;
}

uint64_t where(uint64_t va)
{
	struct gm_lookup l = { .size = sizeof(l) };

	assert_int_equal(gm_as_lookup(s.ctx->as, va, &l), 0);
	return l.pa;
}

unsigned int mapped_well(bool another)
{
	unsigned int n = 0;

	for (uint64_t va = s.va; va < s.va + s.len;) {
		struct toy_pte *e = toy_find(s.ctx, va + s.offset);

		if (!another && is_gone(va)) {
			assert_null(e);
			va += PAGE;
			continue;
		}
		assert_non_null(e);
		assert_int_equal(e->va, va + s.offset);
		assert_int_equal(e->pa, where(va));
		assert_int_equal(e->leaf, largest(va, e->pa));
		va += e->leaf;
		n++;
	}
	assert_int_equal(leaves(), n);
	return n;
}
