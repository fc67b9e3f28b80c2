// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Address spaces: their options, several at once, and their end. */
#include <sys/mman.h>

#include "unit.h"

#define BASE 0x7000000000ULL

static void alloc_reads_zero(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 3 * BLOCK);

	assert_int_equal(va % BLOCK, 0);
	unit_verify(u, CPU, va, 3 * BLOCK, 0);
	unit_verify(u, 0, va, BLOCK, 0);
	unit_on(u->as, va + 2 * BLOCK, BLOCK, GM_NODE_HOST);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
}

/* The same bytes at two addresses and in two address spaces, whoever writes. */
static void aliases_agree(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(2 * BLOCK);
	struct unit other = { .as = NULL };

	assert_int_equal(gm_as_create(NULL, &other.as), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], other.as, &other.ctx[0]), 0);
	unit_map_at(u->as, obj, 0, 2 * BLOCK, BASE);
	unit_map_at(u->as, obj, 3 * PAGE, BLOCK, BASE + 8 * BLOCK + PAGE); /* an odd offset */
	unit_map_at(other.as, obj, 0, 2 * BLOCK, BASE + BLOCK);

	for (unsigned int round = 0; round < 4; round++) {
		uint64_t off = (10 + round) * PAGE;

		unit_store(u, CPU, BASE + off, round + 1);
		assert_int_equal(unit_load(u, 0, BASE + 8 * BLOCK + PAGE + off - 3 * PAGE),
				 round + 1);
		assert_int_equal(unit_load(&other, CPU, BASE + BLOCK + off), round + 1);
		unit_store(&other, 0, BASE + BLOCK + off, round + 100);
		assert_int_equal(unit_load(u, 1, BASE + off), round + 100);
		unit_store(u, 1, BASE + 8 * BLOCK + PAGE + off - 3 * PAGE, round + 200);
		assert_int_equal(unit_load(&other, CPU, BASE + BLOCK + off), round + 200);
		assert_int_equal(unit_load(u, CPU, BASE + off), round + 200);
	}
	gm_object_put(obj);
	assert_int_equal(gm_as_destroy(other.as), 0);
	assert_int_equal(unit_load(u, CPU, BASE + 10 * PAGE), 200);
}

static void destroy_with_all_in_place(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 3 * BLOCK);

	unit_fill(u, 0, va, BLOCK, 1);
	unit_fill(u, 1, va + BLOCK, BLOCK, 1);
	assert_int_equal(gm_as_destroy(u->as), 0);
	u->as = NULL;
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
	assert_int_equal(unit_hnode(unit_node(u, 1)).free, 4 * BLOCK);
}

/* Bytes that outlive the address space must come home before it can go. */
static void as_destroy_may_fail(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj;
	uint64_t va;
	int err;

	assert_int_equal(gm_object_create(BLOCK, 0, &obj), 0);
	va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, 0, va, BLOCK, 1);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, 1, -EIO);
	err = gm_as_destroy(u->as);
	assert_int_equal(err, -EIO);
	unit_verify(u, 1, va, BLOCK, 1); /* it is still whole */
	assert_int_equal(gm_as_destroy(u->as), 0);
	u->as = NULL;
	gm_object_put(obj);
}

static void options(void **state)
{
	struct {
		struct gm_as_options opt;
		uint64_t tail;
	} o;
	struct gm_as *as;

	(void)state;
	memset(&o, 0, sizeof(o));
	assert_int_equal(gm_as_create(&o.opt, &as), -EINVAL); /* size 0 */
	o.opt.size = sizeof(o);
	o.tail = 1;
	assert_int_equal(gm_as_create(&o.opt, &as), -E2BIG);
	o.tail = 0;
	assert_int_equal(gm_as_create(&o.opt, &as), 0);
	assert_int_equal(gm_as_destroy(as), 0);
	o.opt.size = offsetof(struct gm_as_options, cpu_granule); /* of an older version */
	o.opt.cpu_granule = 12345;
	assert_int_equal(gm_as_create(&o.opt, &as), 0);
	assert_int_equal(gm_as_destroy(as), 0);
	o.opt.size = sizeof(o);
	o.opt.cpu_granule = 0;
	o.opt.service_threads = 65;
	assert_int_equal(gm_as_create(&o.opt, &as), -EINVAL);
	o.opt.service_threads = 0;
	o.opt.flags = 0x80000000U;
	assert_int_equal(gm_as_create(&o.opt, &as), -EINVAL);
	o.opt.flags = 0;
	for (uint32_t g = 1; g; g <<= 1) {
		int expect = g >= PAGE && g <= BLOCK ? 0 : -EINVAL;

		o.opt.cpu_granule = g;
		assert_int_equal(gm_as_create(&o.opt, &as), expect);
		if (!expect)
			assert_int_equal(gm_as_destroy(as), 0);
	}
	o.opt.cpu_granule = 3 * PAGE;
	assert_int_equal(gm_as_create(&o.opt, &as), -EINVAL);
	assert_int_equal(gm_as_create(NULL, NULL), -EINVAL);
	assert_int_equal(gm_as_destroy(NULL), -EINVAL);
	for (unsigned int n = 1; n <= 2; n++) {
		gm_fake_inject_nth(n);
		assert_int_equal(gm_as_create(NULL, &as), -ENOMEM);
		gm_fake_inject_clear();
	}
}

/* A size that no struct of ours will ever have: not a byte of it is looked at. */
static void options_of_absurd_size(void **state)
{
	static const size_t sizes[] = { PAGE + 1, 2 * PAGE, 1ULL << 40, SIZE_MAX };
	struct unit *u = *state;
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			   0);
	struct gm_dev_tunables *t;
	struct gm_as_options *opt;
	struct gm_as *as;

	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
	opt = (void *)(pages + PAGE - sizeof(*opt));
	t = (void *)(pages + PAGE - sizeof(*opt) - sizeof(*t));
	for (unsigned int i = 0; i < 4; i++) {
		opt->size = t->size = sizes[i];
		assert_int_equal(gm_as_create(opt, &as), -E2BIG);
		assert_int_equal(gm_dev_tune(unit_dev(u, 0), t), -E2BIG);
	}
	opt->size = sizeof(*opt);
	assert_int_equal(gm_as_create(opt, &as), 0);
	assert_int_equal(gm_as_destroy(as), 0);
	munmap(pages, 2 * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(alloc_reads_zero, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(aliases_agree, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(destroy_with_all_in_place, unit_setup,
						unit_teardown),
		cmocka_unit_test_setup_teardown(as_destroy_may_fail, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(options, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(options_of_absurd_size, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
