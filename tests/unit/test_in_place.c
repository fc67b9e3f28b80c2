// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Mode GM_REPLICATE: a device that maps host memory in place. Device 0 does, device 1 has
 * pages migrate to it.
 */
#include <pthread.h>

#include "unit.h"

#include "core/core.h"
#include "toy.h"

#define RW (GM_READ | GM_WRITE)

static struct gm_sim *in_place_sim(uint64_t tables)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .table_memory = tables,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK |
					       GM_SIM_IN_PLACE };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	return sim;
}

static int setup(void **state)
{
	struct unit *u;

	unit_setup_as(state);
	u = *state;
	u->sim[0] = in_place_sim(1 << 20);
	u->sim[1] = unit_sim(4, 1);
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	unit_tune(unit_dev(u, 1), PAGE, true, true);
	return 0;
}

static int teardown(void **state)
{
	struct unit *u = *state;
	struct gm_sim_stats s = { .size = sizeof(s) };

	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		gm_sim_stats(u->sim[i], &s);
		assert_int_equal(s.stale, 0);
	}
	return unit_teardown(state);
}

static uint64_t faults(struct unit *u)
{
	return unit_dev_stats(unit_dev(u, 0)).dev_faults;
}

/* Both sides use the bytes where they are; one fault a block, and nothing moves. */
static void both_sides(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	for (unsigned int round = 1; round < 5; round++) {
		unit_verify(u, round % 2 ? 0 : CPU, va, 2 * BLOCK, round);
		unit_fill(u, round % 2 ? 0 : CPU, va, 2 * BLOCK, round + 1);
		unit_on(u->as, va, 2 * BLOCK, GM_NODE_HOST);
	}
	assert_int_equal(faults(u), 2);
	assert_int_equal(unit_as_stats(u->as).cpu_faults, 0); /* it kept its mappings */
	assert_int_equal(unit_as_stats(u->as).bytes_to_dev, 0);
	assert_int_equal(unit_as_stats(u->as).bytes_to_host, 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
}

/* Pages that the CPU has mapped since are mapped for the device, which need not fault. */
static void told_of_new_mappings(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_store(u, 0, va, 1); /* of nothing: zeros, a granule of them */
	assert_int_equal(faults(u), 1);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, GM_NODE_HOST), 16);
	unit_fill(u, CPU, va, BLOCK, 2);
	unit_verify(u, 0, va, BLOCK, 2);
	assert_int_equal(faults(u), 1);

	/* What another device had, and the CPU called back; by a fault, and by a hint. */
	unit_fill(u, 1, va, BLOCK, 3);
	unit_on(u->as, va, BLOCK, unit_node(u, 1));
	unit_verify(u, CPU, va, BLOCK / 2, 3);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	unit_verify(u, 0, va, BLOCK, 3);
	assert_int_equal(faults(u), 1);

	/* Where it cannot be told it faults. */
	unit_fill(u, 1, va, BLOCK, 4);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, 1, -EIO);
	unit_load(u, CPU, va);
	unit_verify(u, 0, va, PAGE, 4);
	assert_int_equal(faults(u), 2);
}

/* What migrates, or is dropped, is out of the device's reach first; then it is called back. */
static void revoked(void **state)
{
	struct unit *u = *state;
	struct gm_dev_tunables t = {
		.size = sizeof(t), .granule = PAGE, .no_grow = 1, .no_background = 1, .no_thrash = 1
	}; /* else it stays, for all */
	uint64_t va = unit_alloc(u, BLOCK), value;

	assert_int_equal(gm_dev_tune(unit_dev(u, 1), &t), 0);
	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 0, va, BLOCK, 1);
	for (uint64_t i = 0; i < 64; i++) { /* in turns, page by page */
		unit_store(u, 1, va + i * PAGE, i);
		assert_int_equal(unit_load(u, 0, va + i * PAGE), i);
		unit_store(u, 0, va + i * PAGE, i + 100);
		assert_int_equal(unit_load(u, i % 2 ? CPU : 1, va + i * PAGE), i + 100);
		unit_check();
	}
	unit_fill(u, 0, va, BLOCK, 2);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, BLOCK, GM_PREFETCH), 0);
	unit_fill(u, 1, va, BLOCK, 3);
	unit_verify(u, 0, va, BLOCK, 3);
	assert_int_equal(gm_advise(u->as, 0, va + 5 * PAGE, 7 * PAGE, GM_DONTNEED), 0);
	unit_verify(u, 0, va + 5 * PAGE, 7 * PAGE, 0);
	unit_verify(u, 0, va, 5 * PAGE, 3);

	/* Its table or its TLB does not let go: the page stays where it is. */
	unit_fill(u, CPU, va, BLOCK, 4);
	unit_verify(u, 0, va, BLOCK, 4);
	for (unsigned int i = 0; i < 2; i++) {
		enum gm_sim_op op = i ? GM_SIM_TLB_INVL : GM_SIM_PMAP_RELEASE;

		gm_sim_inject(u->sim[0], op, 0, UINT32_MAX, -EIO);
		assert_int_equal(unit_access(u, 1, va, &value, 8, GM_READ), -EIO);
		assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_DONTNEED), -EIO);
		unit_on(u->as, va, BLOCK, GM_NODE_HOST);
		gm_sim_inject(u->sim[0], op, 0, 0, 0);
		unit_verify(u, 0, va, BLOCK, 4);
	}
	unit_verify(u, 1, va, BLOCK, 4);
}

/* Parts of a mapping are unmapped and protected; another address space moves its pages. */
static void regions(void **state)
{
	struct unit *u = *state, other = { 0 };
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, RW), alias, value = 0;

	assert_int_equal(gm_as_create(NULL, &other.as), 0);
	alias = unit_map(other.as, obj, 0, BLOCK, RW);
	gm_object_put(obj);
	unit_fill(u, 0, va, BLOCK, 1);
	assert_int_equal(gm_sim_attach(u->sim[1], other.as, &other.ctx[1]), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], other.as, &other.ctx[0]), 0);
	value = unit_load(&other, 1, alias + 9 * PAGE);
	assert_int_equal(unit_info(u->as, va + 9 * PAGE).node, unit_node(u, 1));
	unit_store(&other, 0, alias + 9 * PAGE, value + 1);
	assert_int_equal(unit_load(u, 0, va + 9 * PAGE), value + 1);
	unit_store(u, CPU, va + 9 * PAGE, value);
	assert_int_equal(unit_load(&other, 0, alias + 9 * PAGE), value);

	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)va, 8 * PAGE, GM_READ), 0);
	assert_int_equal(unit_access(u, 0, va, &value, 8, GM_WRITE), -EACCES);
	unit_verify(u, 0, va, 8 * PAGE, 1);
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)va, 8 * PAGE, RW), 0);
	unit_store(u, 0, va, 5);
	assert_int_equal(unit_load(u, CPU, va), 5);
	unit_unmap(u->as, va + 100 * PAGE, 3 * PAGE);
	assert_int_equal(unit_access(u, 0, va + 101 * PAGE, &value, 8, GM_READ), -EFAULT);
	unit_verify(u, 0, va + 103 * PAGE, 50 * PAGE, 1);
	assert_int_equal(gm_as_destroy(other.as), 0);
	unit_verify(u, 0, va + 10 * PAGE, 90 * PAGE, 1);
}

/* The device goes and comes; what it had mapped it has not. */
static void detached(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, 0, va, BLOCK, 1);
	assert_int_equal(gm_core.in_place, 1);
	gm_sim_inject(u->sim[0], GM_SIM_TLB_INVL, 0, 1, -EIO);
	assert_int_equal(gm_sim_detach(u->ctx[0]), -EIO);
	assert_int_equal(gm_core.in_place, 1);
	unit_verify(u, 0, va, BLOCK, 1);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(gm_core.in_place, 0);
	unit_verify(u, 1, va, BLOCK, 1);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	unit_verify(u, 0, va, BLOCK, 1);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
}

/* A prefetch maps, for there is nothing to move; a pin is refused; so are faults that fail. */
static void hints_and_errors(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK), value = 0, before;
	int node = unit_node(u, 0);

	unit_fill(u, CPU, va, 8 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, node, va, 8 * BLOCK, GM_PREFETCH), 0);
	before = faults(u);
	unit_verify(u, 0, va, 8 * BLOCK, 1);
	assert_int_equal(faults(u), before);
	unit_on(u->as, va, 8 * BLOCK, GM_NODE_HOST);
	assert_int_equal(gm_advise(u->as, node, va, PAGE, GM_PIN), -EOPNOTSUPP);

	unit_fill(u, 1, va, 32 * PAGE, 2);
	gm_sim_inject(u->sim[1], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(unit_access(u, 0, va, &value, 8, GM_READ), -EIO);
	assert_int_equal(gm_advise(u->as, node, va, PAGE, GM_PREFETCH), -EIO);
	gm_sim_inject(u->sim[1], GM_SIM_COPY_START, 1, 0, 0);
	gm_sim_inject(u->sim[1], GM_SIM_COPY_START, 0, 1,
		      -EIO); /* the granule fails, the page does not */
	unit_verify(u, 0, va, PAGE, 2);
	unit_on(u->as, va + PAGE, 31 * PAGE, unit_node(u, 1));
	for (unsigned int i = 0; i < 2; i++) {
		gm_fake_inject(i ? GM_FAKE_IN_PLACE_HOLD : GM_FAKE_BACKING_GET, 0, UINT32_MAX,
			       -ENOMEM);
		assert_int_equal(unit_access(u, 0, va + 9 * PAGE, &value, 8, GM_READ), -ENOMEM);
		gm_fake_inject_clear();
	}
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, UINT32_MAX, -ENODEV);
	assert_int_equal(unit_access(u, 0, va + 9 * PAGE, &value, 8, GM_READ), -ENODEV);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, 0, 0);
	unit_verify(u, 0, va, 32 * PAGE, 2);
}

/* Pages that the device maps are held, once; and let go when it can reach them no more. */
static void held(void **state)
{
	struct unit *u = *state, other = { 0 };
	struct gm_object *obj = unit_object(2 * BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, 2 * BLOCK, RW), alias, far;

	assert_int_equal(gm_as_create(NULL, &other.as), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], other.as, &other.ctx[0]), 0);
	alias = unit_map(u->as, obj, 0, BLOCK, RW);
	far = unit_map(other.as, obj, 64 * PAGE, BLOCK, RW);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_fake_held(), 0);
	unit_verify(u, 0, va, 2 * BLOCK, 1);
	assert_int_equal(gm_fake_held(), 2 * BLOCK);
	unit_load(u, 0, alias);
	unit_load(&other, 0, far);
	unit_load(&other, 0, far + BLOCK - PAGE);
	assert_int_equal(gm_fake_held(), 2 * BLOCK);

	/* To another device, page by page, and back in place. */
	unit_store(u, 1, va + 7 * PAGE, 5);
	assert_int_equal(gm_fake_held(), 2 * BLOCK - PAGE);
	assert_int_equal(unit_load(u, 0, va + 7 * PAGE), 5);
	assert_int_equal(gm_fake_held(), 2 * BLOCK);
	assert_int_equal(gm_advise(u->as, 0, va + 9 * PAGE, 3 * PAGE, GM_DONTNEED), 0);
	assert_int_equal(gm_fake_held(), 2 * BLOCK - 3 * PAGE);
	unit_verify(u, 0, va + 9 * PAGE, 3 * PAGE, 0);
	assert_int_equal(gm_fake_held(), 2 * BLOCK);

	/* Mappings go: what another still sees stays held, the rest does not. */
	unit_unmap(u->as, va + BLOCK + 500 * PAGE, 12 * PAGE); /* nobody else sees it */
	assert_int_equal(gm_fake_held(), 2 * BLOCK - 12 * PAGE);
	unit_unmap(u->as, va, BLOCK + 500 * PAGE);
	assert_int_equal(gm_fake_held(), BLOCK + 64 * PAGE);
	unit_unmap(u->as, alias, BLOCK);
	assert_int_equal(gm_fake_held(), BLOCK);
	assert_int_equal(gm_sim_detach(other.ctx[0]), 0);
	assert_int_equal(gm_fake_held(), 0);

	/* And with the address space, the object last. */
	assert_int_equal(gm_sim_attach(u->sim[0], other.as, &other.ctx[0]), 0);
	unit_load(&other, 0, far);
	assert_int_equal(gm_fake_held(), BLOCK - 64 * PAGE);
	assert_int_equal(gm_as_destroy(other.as), 0);
	assert_int_equal(gm_fake_held(), 0);
	gm_object_put(obj);
}

/* The device does not let go: what it may reach stays held. */
static void held_on(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;

	unit_fill(u, 0, va, BLOCK, 1);
	assert_int_equal(gm_fake_held(), BLOCK);
	for (unsigned int i = 0; i < 2; i++) {
		enum gm_sim_op op = i ? GM_SIM_TLB_INVL : GM_SIM_PMAP_RELEASE;

		gm_sim_inject(u->sim[0], op, 0, UINT32_MAX, -EIO);
		assert_int_equal(unit_access(u, 1, va, &value, 8, GM_READ), -EIO);
		assert_int_equal(gm_sim_detach(u->ctx[0]), -EIO);
		assert_int_equal(gm_as_unmap(u->as, (void *)(uintptr_t)va, BLOCK), -EIO);
		assert_int_equal(gm_fake_held(), BLOCK);
		gm_sim_inject(u->sim[0], op, 0, 0, 0);
	}
	unit_unmap(u->as, va, BLOCK);
	assert_int_equal(gm_fake_held(), 0);
}

/* The host lets few pages be held: the device begins anew, and sees all of its memory all the same. */
static void held_few(void **state)
{
	struct unit *u = *state, other = { 0 };
	uint64_t va = unit_alloc(u, 3 * BLOCK), value, far;

	unit_fill(u, CPU, va, 3 * BLOCK, 1);
	gm_fake_set_max_run(5 * PAGE); /* each of several pieces may be the one too many */
	for (uint64_t pages = 1; pages <= 600; pages = pages * 3 + 1) {
		gm_fake_set_max_held(pages * PAGE);
		unit_verify(u, 0, va, 3 * BLOCK, 1);
		assert_int_equal(gm_fake_held(), pages * PAGE);
	}
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 3 * BLOCK, GM_PREFETCH), -ENOMEM);
	unit_check();

	/* Others have them all. */
	assert_int_equal(gm_as_create(NULL, &other.as), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], other.as, &other.ctx[0]), 0);
	far = unit_alloc(&other, BLOCK);
	unit_fill(&other, CPU, far, BLOCK, 2);
	gm_fake_set_max_held(gm_fake_held());
	assert_int_equal(unit_access(&other, 0, far, &value, 8, GM_READ), -ENOMEM);
	unit_unmap(u->as, va, 3 * BLOCK);
	unit_verify(&other, 0, far, BLOCK, 2);
	assert_int_equal(gm_as_destroy(other.as), 0);
	assert_int_equal(gm_fake_held(), 0);
}

/* Its table is smaller than what it maps: it is emptied, again and again. */
static void small_table(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 16 * BLOCK), value = 0;

	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	u->sim[0] = in_place_sim(8 * PAGE); /* three are upper levels */
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	unit_fill(u, CPU, va, 16 * BLOCK, 1);
	for (unsigned int round = 0; round < 2; round++)
		unit_verify(u, 0, va, 16 * BLOCK, 1);
	assert_true(faults(u) >= 32 && faults(u) <= 64);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 16 * BLOCK, GM_PREFETCH), -ENOSPC);
	/* It cannot be emptied: an error, and all is as it was. */
	unit_verify(u, 0, va, BLOCK, 1);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, UINT32_MAX, -ENOSPC);
	assert_int_equal(unit_access(u, 0, va + 9 * BLOCK, &value, 8, GM_READ), -ENOSPC);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, UINT32_MAX, -EIO);
	assert_int_equal(unit_access(u, 0, va + 9 * BLOCK, &value, 8, GM_READ), -ENOSPC);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, 0, 0);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, 0, 0);
	unit_verify(u, 0, va, 16 * BLOCK, 1);
}

/* Host memory in small pieces, and in huge pages. */
static void kinds_of_memory(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	struct gm_object *obj;

	gm_fake_set_max_run(3 * PAGE);
	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 0, va, BLOCK, 1);
	gm_fake_set_max_run(0);
	assert_int_equal(gm_object_create(BLOCK, GM_OBJECT_HUGETLB, &obj), 0);
	va = unit_map(u->as, obj, 0, BLOCK, RW);
	gm_object_put(obj);
	unit_fill(u, 0, va, BLOCK, 2);
	unit_verify(u, 1, va + 3 * PAGE, PAGE, 2);
	unit_verify(u, 0, va, BLOCK, 2);
	unit_verify(u, CPU, va, BLOCK, 2);
}

static void not_here(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct toy toy;

	toy_init(&toy, 1);
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_REPLICATE, &ctx), -EOPNOTSUPP);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

struct worker {
	struct unit *u;
	int who;
	uint64_t va;
	unsigned int seed, failures;
};

/* Adds to words of its own, on pages that all use. */
static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t count[32] = { 0 };

	for (unsigned int i = 0; i < 400; i++) {
		unsigned int page = (unsigned int)rand_r(&w->seed) % 32;
		uint64_t va = w->va + page * PAGE + (uint64_t)(w->who + 1) * 8, v = 0;
		int err = unit_access(w->u, w->who, va, &v, 8, GM_READ);

		w->failures += !err && v != count[page];
		v = count[page] + 1;
		if (!err)
			err = unit_access(w->u, w->who, va, &v, 8, GM_WRITE);
		if (!err)
			count[page]++;
		w->failures += err && err != -EBUSY;
	}
	return NULL;
}

/* The CPU, a device that maps in place and one that has pages migrate: no update is lost. */
static void together(void **state)
{
	struct unit *u = *state;
	struct worker w[3];
	pthread_t thread[3];
	uint64_t va = unit_alloc(u, BLOCK);

	gm_fake_set_threaded(true);
	for (int i = 0; i < 3; i++) {
		w[i] = (struct worker){ .u = u, .who = i - 1, .va = va, .seed = (unsigned int)i };
		assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(w[i].failures, 0);
	}
	gm_fake_set_threaded(false);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_sides),
		TEST(told_of_new_mappings),
		TEST(revoked),
		TEST(regions),
		TEST(detached),
		TEST(hints_and_errors),
		TEST(kinds_of_memory),
		TEST(small_table),
		TEST(not_here),
		TEST(together),
		TEST(held),
		TEST(held_on),
		TEST(held_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
