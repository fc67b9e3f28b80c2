// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Bad input: unaligned, overflowing, overlapping, unmapped and foreign ranges, unknown
 * nodes, flags and advice, zero lengths. Each gets its -errno, and nothing changes: every
 * test ends with the same bytes in the same places.
 */
#include <sys/mman.h>

#include "unit.h"

#include "core/core.h"
#include "toy.h"

#define P(va) ((void *)(uintptr_t)(va))
#define BASE 0x7000000000ULL
#define PAGES 64

/* A region with bytes on the host and on a device, and a hole behind it. */
struct scene {
	uint64_t va;
	struct gm_page_info info[PAGES];
};

static struct scene scene_make(struct unit *u)
{
	struct scene s = { .va = unit_alloc(u, PAGES * PAGE) };

	unit_fill(u, CPU, s.va, PAGES * PAGE, 1);
	unit_verify(u, 0, s.va + 8 * PAGE, 16 * PAGE, 1);
	assert_int_equal(gm_as_query(u->as, s.va, PAGES * PAGE, s.info), 0);
	return s;
}

static void scene_same(struct unit *u, const struct scene *s)
{
	struct gm_page_info now[PAGES];

	unit_check();
	assert_int_equal(gm_as_query(u->as, s->va, PAGES * PAGE, now), 0);
	assert_memory_equal(now, s->info, sizeof(now));
	unit_peek(u->as, s->va, PAGES * PAGE, 1);
	unit_verify(u, CPU, s->va, PAGES * PAGE, 1);
}

static void objects(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj;
	void *addr;

	assert_int_equal(gm_object_create(0, 0, &obj), -EINVAL);
	assert_int_equal(gm_object_create(PAGE + 1, 0, &obj), -EINVAL);
	assert_int_equal(gm_object_create(GM_OBJECT_MAX_SIZE + PAGE, 0, &obj), -EINVAL);
	assert_int_equal(gm_object_create(~0ULL & ~(PAGE - 1), 0, &obj), -EINVAL);
	assert_int_equal(gm_object_create(PAGE, 0x40, &obj), -EINVAL);
	assert_int_equal(gm_object_create(PAGE, GM_OBJECT_HUGETLB, &obj), -EINVAL);
	assert_int_equal(gm_object_create(PAGE, 0, NULL), -EINVAL);
	gm_object_put(NULL);
	assert_int_equal(gm_alloc(u->as, 0, 0, &addr), -EINVAL);
	assert_int_equal(gm_alloc(u->as, 17, 0, &addr), -EINVAL);
	assert_int_equal(gm_alloc(u->as, GM_OBJECT_MAX_SIZE + PAGE, 0, &addr), -EINVAL);
	assert_int_equal(gm_alloc(u->as, PAGE, 0x40, &addr), -EINVAL);
	assert_int_equal(gm_alloc(u->as, PAGE, GM_OBJECT_HUGETLB, &addr), -EINVAL);
	assert_int_equal(gm_alloc(u->as, PAGE, 0, NULL), -EINVAL);
	assert_int_equal(gm_alloc(NULL, PAGE, 0, &addr), -EINVAL);
}

static void maps(void **state)
{
	struct unit *u = *state;
	struct scene s = scene_make(u);
	struct gm_object *obj;
	void *addr = NULL;

	assert_int_equal(gm_object_create(8 * PAGE, 0, &obj), 0);
	assert_int_equal(gm_as_map(NULL, obj, 0, PAGE, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, NULL, 0, PAGE, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE, GM_READ, 0, NULL), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 0, 0, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 1, PAGE, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE + 1, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 8 * PAGE, PAGE, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 4 * PAGE, 5 * PAGE, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 0 - PAGE, 2 * PAGE, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, PAGE, 0 - PAGE, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE, 0, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE, GM_WRITE, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE, GM_READ | 4, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE, GM_READ, 2, &addr), -EINVAL);
	addr = P(BASE + 1);
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE, GM_READ, GM_MAP_FIXED, &addr), -EINVAL);
	addr = P(~(PAGE - 1));
	assert_int_equal(gm_as_map(u->as, obj, 0, 2 * PAGE, GM_READ, GM_MAP_FIXED, &addr), -EINVAL);
	addr = P(s.va + (PAGES - 1) * PAGE);
	assert_int_equal(gm_as_map(u->as, obj, 0, 4 * PAGE, GM_READ, GM_MAP_FIXED, &addr), -EEXIST);
	addr = P(s.va - 3 * PAGE);
	assert_int_equal(gm_as_map(u->as, obj, 0, 4 * PAGE, GM_READ, GM_MAP_FIXED, &addr), -EEXIST);
	assert_ptr_equal(addr, P(s.va - 3 * PAGE)); /* not written to */
	gm_object_put(obj);
	scene_same(u, &s);
}

static void unmaps_and_protects(void **state)
{
	struct unit *u = *state;
	struct scene s = scene_make(u);
	static const struct {
		uint64_t off, len;
		int err;
	} bad[] = {
		{ 0, 0, -EINVAL },
		{ 1, PAGE, -EINVAL },
		{ 0, PAGE + 1, -EINVAL },
		{ PAGE, 0 - PAGE, -EINVAL },
		{ PAGES * PAGE, PAGE, -EFAULT },
		{ 10 * PAGE, PAGES * PAGE, -EFAULT },
		{ 0 - PAGE, 4 * PAGE, -EFAULT },
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(gm_as_unmap(u->as, P(s.va + bad[i].off), bad[i].len), bad[i].err);
		assert_int_equal(gm_as_protect(u->as, P(s.va + bad[i].off), bad[i].len, GM_READ),
				 bad[i].err);
	}
	assert_int_equal(gm_as_protect(u->as, P(s.va), PAGE, 0), -EINVAL);
	assert_int_equal(gm_as_protect(u->as, P(s.va), PAGE, GM_WRITE), -EINVAL);
	assert_int_equal(gm_as_protect(u->as, P(s.va), PAGE, 8 | GM_READ), -EINVAL);
	assert_int_equal(gm_as_protect(NULL, P(s.va), PAGE, GM_READ), -EINVAL);
	assert_int_equal(gm_as_unmap(NULL, P(s.va), PAGE), -EINVAL);
	scene_same(u, &s);
	unit_fill(u, CPU, s.va, PAGES * PAGE, 2); /* all of it can be written still */
}

static void hints(void **state)
{
	struct unit *u = *state;
	struct scene s = scene_make(u);
	int node = unit_node(u, 0);

	for (uint32_t advice = GM_PREFETCH; advice <= GM_UNPIN; advice++) {
		assert_int_equal(gm_advise(u->as, node, s.va, 0, advice), -EINVAL);
		assert_int_equal(gm_advise(u->as, node, s.va, 0 - s.va, advice), -EINVAL);
		assert_int_equal(gm_advise(u->as, node, s.va, UINT64_MAX, advice), -EINVAL);
		assert_int_equal(gm_advise(u->as, node, UINT64_MAX - 5, 6, advice), -EINVAL);
		assert_int_equal(gm_advise(u->as, node, s.va + PAGES * PAGE, 1, advice), -EFAULT);
		assert_int_equal(gm_advise(u->as, node, s.va, PAGES * PAGE + 1, advice), -EFAULT);
		assert_int_equal(gm_advise(u->as, node, 0, PAGE, advice), -EFAULT);
	}
	assert_int_equal(gm_advise(u->as, node, s.va, PAGE, GM_UNSET_ACCESSED_BY + 1), -EINVAL);
	assert_int_equal(gm_advise(u->as, node, s.va, PAGE, UINT32_MAX), -EINVAL);
	assert_int_equal(gm_advise(u->as, 77, s.va, PAGE, GM_PREFETCH), -ENODEV);
	assert_int_equal(gm_advise(u->as, INT32_MAX, s.va, PAGE, GM_PIN), -ENODEV);
	assert_int_equal(gm_advise(u->as, GM_NODE_NONE, s.va, PAGE, GM_PREFETCH), -EINVAL);
	assert_int_equal(gm_advise(u->as, INT32_MIN, s.va, PAGE, GM_PREFETCH), -EINVAL);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, s.va, PAGE, GM_PIN), -EINVAL);
	assert_int_equal(gm_advise(u->as, 0, s.va, PAGE, GM_PIN), -EINVAL);
	assert_int_equal(gm_as_protect(u->as, P(s.va + PAGE), PAGE, GM_READ), 0);
	assert_int_equal(gm_advise(u->as, 0, s.va, 2 * PAGE, GM_DONTNEED), -EACCES);
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), s.va, PAGE, GM_PREFETCH), -ENODEV);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
	scene_same(u, &s);
}

static void copies(void **state)
{
	struct unit *u = *state;
	struct scene s = scene_make(u);
	uint64_t end = s.va + PAGES * PAGE, buf = 0;
	int none = GM_NODE_NONE;

	assert_int_equal(gm_copy(none, u->as, s.va, u->as, s.va + PAGE, 0), -EINVAL);
	assert_int_equal(gm_copy(none, u->as, s.va, u->as, s.va + PAGE, PAGE + 1), -EINVAL);
	assert_int_equal(gm_copy(none, u->as, s.va + 9, u->as, s.va, 10), -EINVAL);
	assert_int_equal(gm_copy(none, u->as, s.va, u->as, s.va, 8), -EINVAL);
	assert_int_equal(gm_copy(none, u->as, s.va, u->as, UINT64_MAX - 3, 8), -EINVAL);
	assert_int_equal(gm_copy(none, u->as, UINT64_MAX - 3, u->as, s.va, 8), -EINVAL);
	assert_int_equal(gm_copy(none, u->as, end, NULL, (uintptr_t)&buf, 8), -EFAULT);
	assert_int_equal(gm_copy(none, NULL, (uintptr_t)&buf, u->as, end, 8), -EFAULT);
	assert_int_equal(gm_copy(77, u->as, s.va, NULL, (uintptr_t)&buf, 8), -ENODEV);
	assert_int_equal(gm_copy(-9, u->as, s.va, NULL, (uintptr_t)&buf, 8), -EINVAL);
	assert_int_equal(gm_copy(unit_node(u, 0), NULL, (uintptr_t)&buf, u->as, s.va, 8), -EFAULT);
	assert_int_equal(gm_as_protect(u->as, P(s.va), PAGE, GM_READ), 0);
	assert_int_equal(gm_copy(none, u->as, s.va, NULL, (uintptr_t)&buf, 8), -EACCES);
	scene_same(u, &s);
}

static void queries(void **state)
{
	struct unit *u = *state;
	struct scene s = scene_make(u);
	struct gm_page_info info[4];

	assert_int_equal(gm_as_query(u->as, s.va, 0, info), -EINVAL);
	assert_int_equal(gm_as_query(u->as, s.va + 1, PAGE, info), -EINVAL);
	assert_int_equal(gm_as_query(u->as, s.va, PAGE + 1, info), -EINVAL);
	assert_int_equal(gm_as_query(u->as, s.va, PAGE, NULL), -EINVAL);
	assert_int_equal(gm_as_query(u->as, s.va, 0 - PAGE, info), -EINVAL);
	assert_int_equal(gm_as_query(u->as, s.va + (PAGES - 2) * PAGE, 4 * PAGE, info), -EFAULT);
	scene_same(u, &s);
}

/* Addresses of another address space are no addresses here. */
static void foreign_ranges(void **state)
{
	struct unit *u = *state;
	struct scene s = scene_make(u);
	struct gm_page_info info;
	struct gm_as *other;

	assert_int_equal(gm_as_create(NULL, &other), 0);
	assert_int_equal(gm_as_unmap(other, P(s.va), PAGE), -EFAULT);
	assert_int_equal(gm_as_protect(other, P(s.va), PAGE, GM_READ), -EFAULT);
	assert_int_equal(gm_advise(other, 0, s.va, PAGE, GM_DONTNEED), -EFAULT);
	assert_int_equal(gm_as_query(other, s.va, PAGE, &info), -EFAULT);
	assert_false(gm_as_covers(other, s.va));
	assert_int_equal(gm_as_destroy(other), 0);
	scene_same(u, &s);
}

/*
 * A process that may not use gmem, as a child of fork(): every public function says so,
 * before it takes a lock, and the memory is as it was.
 */
static void not_usable(void **state)
{
	struct unit *u = *state;
	struct scene s = scene_make(u);
	struct gm_dev *dev = unit_dev(u, 0), *new_dev;
	struct gm_dev_tunables t = { .size = sizeof(t) };
	struct gm_hnode_info hnode = { .size = sizeof(hnode) };
	struct gm_page_info info;
	struct gm_context *ctx;
	struct gm_object *obj, *new_obj;
	struct gm_as *new_as;
	struct toy toy;
	void *addr = NULL;
	uint64_t retained = gm_retained_bytes(), calls;

	toy_init(&toy, 1);
	assert_int_equal(gm_object_create(PAGE, 0, &obj), 0);
	assert_true(retained > 0);
	gm_fake_set_usable(-EPERM);
	calls = gm_fake_lock_calls();
	assert_int_equal(gm_as_create(NULL, &new_as), -EPERM);
	assert_int_equal(gm_as_destroy(u->as), -EPERM);
	assert_int_equal(gm_object_create(PAGE, 0, &new_obj), -EPERM);
	gm_object_put(obj);
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE, GM_READ, 0, &addr), -EPERM);
	assert_int_equal(gm_as_unmap(u->as, P(s.va), PAGE), -EPERM);
	assert_int_equal(gm_as_protect(u->as, P(s.va), PAGE, GM_READ), -EPERM);
	assert_int_equal(gm_alloc(u->as, PAGE, 0, &addr), -EPERM);
	assert_int_equal(gm_as_attach(u->as, dev, GM_EXCLUSIVE, &ctx), -EPERM);
	assert_int_equal(gm_as_detach(u->as->contexts), -EPERM);
	assert_int_equal(gm_advise(u->as, 0, s.va, PAGE, GM_DONTNEED), -EPERM);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, s.va, u->as, s.va + PAGE, 8), -EPERM);
	assert_int_equal(gm_as_query(u->as, s.va, PAGE, &info), -EPERM);
	assert_int_equal(gm_hnode_info(unit_node(u, 0), &hnode), -EPERM);
	assert_int_equal(gm_retain_trim(PAGE), 0);
	assert_int_equal(gm_dev_create(&toy.mmu, "toy", &toy, &new_dev), -EPERM);
	assert_int_equal(gm_dev_destroy(dev), -EPERM);
	assert_int_equal(gm_dev_register_physmem(dev, 0, BLOCK), -EPERM);
	assert_int_equal(gm_dev_unregister_physmem(dev, 0, BLOCK), -EPERM);
	assert_int_equal(gm_dev_tune(dev, &t), -EPERM);
	assert_int_equal(gm_fake_lock_calls(), calls);
	gm_fake_set_usable(0);
	assert_int_equal(gm_retained_bytes(), retained);
	gm_object_put(obj);
	scene_same(u, &s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(objects, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(maps, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(unmaps_and_protects, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(hints, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(copies, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(queries, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(foreign_ranges, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(not_usable, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
