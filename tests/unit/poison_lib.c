// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* See poison_lib.h. */
#include "poison_lib.h"

uint64_t pa_of(struct gm_as *as, uint64_t va)
{
	struct gm_lookup at = { .size = sizeof(at) };

	assert_int_equal(gm_as_lookup(as, va, &at), 0);
	assert_true(at.pa != GM_NO_ADDRESS);
	return at.pa;
}

uint64_t lose(struct unit *u, unsigned int i, uint64_t va)
{
	uint64_t pa = pa_of(u->as, va);

	assert_int_equal(gm_dev_poison(unit_dev(u, i), pa), 0);
	return pa;
}

void is_lost(struct unit *u, uint64_t va)
{
	struct gm_lookup at = { .size = sizeof(at) };
	struct gm_page_info info = unit_info(u->as, va);
	uint64_t value = 1;

	assert_int_equal(info.node, GM_NODE_NONE);
	assert_int_equal(info.flags, GM_PAGE_POISONED);
	assert_int_equal(gm_as_lookup(u->as, va, &at), 0);
	assert_int_equal(at.node, GM_NODE_NONE);
	assert_int_equal(at.flags, GM_PAGE_POISONED);
	assert_true(at.pa == GM_NO_ADDRESS && at.cpu == GM_NO_ADDRESS);
	assert_int_equal(gm_fake_page(u->as, va) & (GM_FAKE_PRESENT | GM_FAKE_MAPPED), 0);
	for (int who = CPU; who < UNIT_DEVS; who++) {
		if (who >= 0 && !u->ctx[who])
			continue;
		assert_int_equal(unit_access(u, who, va + 8, &value, 8, GM_READ), -EHWPOISON);
		assert_int_equal(unit_access(u, who, va, &value, 8, GM_WRITE), -EHWPOISON);
	}
	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uint64_t)(uintptr_t)&value, u->as, va + 64,
				 8),
			 -EHWPOISON);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, va, NULL, (uint64_t)(uintptr_t)&value, 8),
			 -EHWPOISON);
	unit_check();
}

void rest_verify(struct unit *u, int who, uint64_t va, uint64_t len, uint64_t bad, uint64_t tag)
{
	if (bad > va)
		unit_verify(u, who, va, bad - va, tag);
	if (bad + PAGE < va + len)
		unit_verify(u, who, bad + PAGE, va + len - bad - PAGE, tag);
}

void rest_on(struct unit *u, uint64_t va, uint64_t len, uint64_t bad, int node)
{
	unit_on(u->as, va, bad - va, node);
	unit_on(u->as, bad + PAGE, va + len - bad - PAGE, node);
}
