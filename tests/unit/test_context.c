// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Contexts: a device is attached to an address space, and detached. */
#include "unit.h"

#include "toy.h"

static void attach_once(void **state)
{
	struct unit *u = *state;
	struct gm_sim_ctx *ctx;
	struct gm_context *gm;

	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &ctx), -EBUSY);
	assert_int_equal(gm_as_attach(u->as, unit_dev(u, 0), GM_SHARE, &gm), -EBUSY);
	assert_int_equal(gm_as_attach(u->as, unit_dev(u, 0), (enum gm_mode)9, &gm), -EINVAL);
	assert_int_equal(gm_as_attach(NULL, unit_dev(u, 0), GM_EXCLUSIVE, &gm), -EINVAL);
	assert_int_equal(gm_as_attach(u->as, NULL, GM_EXCLUSIVE, &gm), -EINVAL);
	assert_int_equal(gm_as_attach(u->as, unit_dev(u, 0), GM_EXCLUSIVE, NULL), -EINVAL);
	assert_int_equal(gm_as_detach(NULL), -EINVAL);
	assert_int_equal(gm_dev_destroy(NULL), -EINVAL);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_CREATE, 0, 1, -ENOMEM);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), -ENOMEM);
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), -ENOMEM);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
}

static void detach_brings_home(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	unit_fill(u, 0, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, PAGE, GM_PIN), 0);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, 1, -EIO);
	assert_int_equal(gm_sim_detach(u->ctx[0]), -EIO);
	unit_verify(u, 0, va, 2 * BLOCK, 1); /* still attached, nothing lost */
	assert_int_equal(gm_sim_destroy(u->sim[0]), -EBUSY);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	unit_on(u->as, va, 2 * BLOCK, GM_NODE_HOST);
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, PAGE, GM_PREFETCH), -ENODEV);
}

/* A driver that cannot let go just then: the context stays, and the next try succeeds. */
static int (*real_release)(void *pmap, uint64_t va, uint64_t size);
static unsigned int releases_left;

static int failing_release(void *pmap, uint64_t va, uint64_t size)
{
	return releases_left-- ? real_release(pmap, va, size) : -EIO;
}

static void detach_fails_late(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct toy toy;
	uint64_t va = unit_alloc(u, BLOCK), value;

	toy_init(&toy, 2);
	real_release = toy.mmu.pmap_release;
	toy.mmu.pmap_release = failing_release;
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, BLOCK, GM_PREFETCH), 0);
	releases_left = 1; /* the block comes home; the last look at the region fails */
	assert_int_equal(gm_as_detach(ctx), -EIO);
	releases_left = UINT32_MAX;
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(toy_access(ctx, va, &value, 8, GM_READ), 0);
	unit_on(u->as, va, PAGE, gm_dev_hnode(toy.dev));
	assert_int_equal(gm_dev_destroy(toy.dev), -EBUSY);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* A device in several address spaces, each with a page table of its own. */
static void several_of_a_device(void **state)
{
	struct unit *u = *state;
	struct unit other[3];
	uint64_t va[3];

	memset(other, 0, sizeof(other));
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(gm_as_create(NULL, &other[i].as), 0);
		assert_int_equal(gm_sim_attach(u->sim[0], other[i].as, &other[i].ctx[0]), 0);
		va[i] = unit_alloc(&other[i], BLOCK);
		unit_fill(&other[i], 0, va[i], BLOCK, i + 1);
	}
	assert_int_equal(gm_sim_detach(other[1].ctx[0]), 0);
	unit_on(other[1].as, va[1], BLOCK, GM_NODE_HOST);
	unit_on(other[2].as, va[2], BLOCK, unit_node(u, 0));
	unit_verify(&other[0], 0, va[0], BLOCK, 1);
	unit_verify(&other[1], CPU, va[1], BLOCK, 2);
	unit_verify(&other[2], 0, va[2], BLOCK, 3);
	assert_int_equal(gm_sim_attach(u->sim[0], other[1].as, &other[1].ctx[0]), 0);
	unit_verify(&other[1], 0, va[1], BLOCK, 2);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(gm_as_destroy(other[i].as), 0); /* detaches by itself */
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(attach_once, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(detach_brings_home, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(detach_fails_late, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(several_of_a_device, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
