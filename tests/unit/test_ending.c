// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The end of an address space, of a mapping or of a context while work on it is in flight:
 * copies of the toy driver's that hang until the test lets them go, for whoever ends it waits.
 */
#include <pthread.h>
#include <sched.h>

#include "unit.h"

#include "core/core.h"
#include "toy.h"

#define RW (GM_READ | GM_WRITE)

static struct ending {
	struct toy toy;
	struct gm_context *ctx;
	struct gm_as *other; /* a second address space, and what it has */
	struct gm_context *other_ctx;
	uint64_t va, other_va;
	enum gm_copy_dir dir; /* copies this way hang ... */
	uint32_t hang;	      /* ... if this is set; atomic */
	uint32_t hanging;     /* how many do; atomic */
	uint32_t over;	      /* what was to end has; atomic */
	int err, end_err;
} e;

static int hang(struct toy *toy, enum gm_copy_dir dir)
{
	(void)toy;
	if (dir != e.dir || !__atomic_load_n(&e.hang, __ATOMIC_ACQUIRE))
		return 0;
	__atomic_fetch_add(&e.hanging, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&e.hang, __ATOMIC_ACQUIRE))
		sched_yield();
	__atomic_fetch_sub(&e.hanging, 1, __ATOMIC_RELEASE);
	return 0;
}

static void wait_for_hanging(void)
{
	while (!__atomic_load_n(&e.hanging, __ATOMIC_ACQUIRE))
		sched_yield();
}

/* A device of two blocks, and two address spaces that have it; the first has filled it. */
static void begin(struct unit *u, enum gm_copy_dir dir)
{
	void *addr;

	memset(&e, 0, sizeof(e));
	e.dir = dir;
	gm_fake_set_threaded(true);
	toy_init(&e.toy, 2);
	e.toy.on_copy = hang;
	assert_int_equal(toy_plug(&e.toy), 0);
	unit_tune(e.toy.dev, PAGE, true, true);
	assert_int_equal(gm_as_attach(u->as, e.toy.dev, GM_EXCLUSIVE, &e.ctx), 0);
	e.va = unit_alloc(u, 2 * BLOCK);
	unit_fill(u, CPU, e.va, 2 * BLOCK, 1);
	assert_int_equal(gm_as_create(NULL, &e.other), 0);
	assert_int_equal(gm_as_attach(e.other, e.toy.dev, GM_EXCLUSIVE, &e.other_ctx), 0);
	assert_int_equal(gm_alloc(e.other, 2 * BLOCK, 0, &addr), 0);
	e.other_va = (uintptr_t)addr;
}

static void end(struct unit *u)
{
	unit_check();
	if (e.other)
		assert_int_equal(gm_as_destroy(e.other), 0);
	if (u->as)
		assert_int_equal(gm_as_destroy(u->as), 0);
	u->as = NULL;
	assert_int_equal(toy_unplug(&e.toy), 0);
	gm_fake_set_threaded(false);
}

/* Run both; @ends must not be over while @works is in a copy that hangs. */
static void against(void *(*works)(void *), void *(*ends)(void *), void *arg, bool waits)
{
	pthread_t worker, ender;

	__atomic_store_n(&e.hang, 1, __ATOMIC_RELEASE);
	assert_int_equal(pthread_create(&worker, NULL, works, arg), 0);
	wait_for_hanging();
	assert_int_equal(pthread_create(&ender, NULL, ends, arg), 0);
	for (unsigned int i = 0; i < 200; i++)
		sched_yield();
	if (waits)
		assert_false(__atomic_load_n(&e.over, __ATOMIC_ACQUIRE));
	__atomic_store_n(&e.hang, 0, __ATOMIC_RELEASE);
	pthread_join(worker, NULL);
	pthread_join(ender, NULL);
	assert_int_equal(e.end_err, 0);
}

static void *finish(int err)
{
	e.end_err = err;
	__atomic_store_n(&e.over, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* -------------------------------------------------------------------- an eviction hangs */

static void *fault_of_other(void *arg)
{
	(void)arg;
	e.err = gm_dev_fault(e.other_ctx, e.other_va, GM_WRITE);
	return NULL;
}

static void *destroy(void *arg)
{
	struct unit *u = arg;
	int err = gm_as_destroy(u->as);

	u->as = NULL;
	return finish(err);
}

/* A fault of another address space's evicts ours, and its copy takes long; we go meanwhile. */
static void destroy_while_evicted(void **state)
{
	struct unit *u = *state;
	uint64_t value = 0;

	begin(u, GM_TO_HOST);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(e.toy.dev), e.va, 2 * BLOCK, GM_PREFETCH),
			 0);
	against(fault_of_other, destroy, u, true);
	assert_int_equal(e.err, 0);
	assert_int_equal(toy_access(e.other_ctx, e.other_va, &value, 8, GM_READ), 0);
	assert_int_equal(value, 0);
	/* Nothing of ours is left there. */
	assert_int_equal(unit_hnode(gm_dev_hnode(e.toy.dev)).blocks, 1);
	end(u);
}

/* ------------------------------------------------- a fault, or a hint, of one's own hangs */

static void *fault_of_own(void *arg)
{
	(void)arg;
	e.err = gm_dev_fault(e.ctx, e.va + 5 * PAGE, GM_WRITE);
	return NULL;
}

static void *prefetch(void *arg)
{
	struct unit *u = arg;

	e.err = gm_advise(u->as, gm_dev_hnode(e.toy.dev), e.va, 2 * BLOCK, GM_PREFETCH);
	return NULL;
}

static void *unmap(void *arg)
{
	struct unit *u = arg;

	return finish(gm_as_unmap(u->as, (void *)(uintptr_t)(e.va + 5 * PAGE), PAGE));
}

static void *move(void *arg)
{
	struct unit *u = arg;
	void *to = (void *)0x7000000000ULL;

	return finish(gm_as_remap(u->as, (void *)(uintptr_t)e.va, 2 * BLOCK, 2 * BLOCK,
				  GM_REMAP_MAYMOVE | GM_REMAP_FIXED, &to));
}

static void *detach(void *arg)
{
	(void)arg;
	return finish(gm_as_detach(e.ctx));
}

static void unmap_while_faulting(void **state)
{
	struct unit *u = *state;

	begin(u, GM_TO_DEV);
	against(fault_of_own, unmap, u, true);
	assert_int_equal(e.err, 0);
	assert_int_equal(gm_dev_fault(e.ctx, e.va + 5 * PAGE, GM_READ), -EFAULT);
	assert_null(toy_find(e.ctx, e.va + 5 * PAGE));
	assert_int_equal(unit_hnode(gm_dev_hnode(e.toy.dev)).blocks, 0);
	unit_verify(u, CPU, e.va, 5 * PAGE, 1);
	end(u);
}

static void unmap_while_prefetched(void **state)
{
	struct unit *u = *state;

	begin(u, GM_TO_DEV);
	against(prefetch, unmap, u, true);
	/* The hint went on behind, and met the hole; or was done before. */
	assert_true(e.err == 0 || e.err == -EFAULT);
	assert_null(toy_find(e.ctx, e.va + 5 * PAGE));
	unit_verify(u, CPU, e.va, 5 * PAGE, 1);
	unit_verify(u, CPU, e.va + 6 * PAGE, 2 * BLOCK - 6 * PAGE, 1);
	end(u);
}

static void move_while_faulting(void **state)
{
	struct unit *u = *state;
	uint64_t value;

	begin(u, GM_TO_DEV);
	against(fault_of_own, move, u, true);
	assert_int_equal(e.err, 0);
	assert_int_equal(gm_dev_fault(e.ctx, e.va + 5 * PAGE, GM_READ), -EFAULT);
	assert_null(toy_find(e.ctx, e.va + 5 * PAGE));
	assert_int_equal(unit_info(u->as, 0x7000005000ULL).node, gm_dev_hnode(e.toy.dev));
	assert_int_equal(toy_access(e.ctx, 0x7000005000ULL, &value, 8, GM_READ), 0);
	end(u);
}

/* gm_as_detach() wants no more faults; but a hint, and another address space's eviction, may be. */
static void detach_while_evicted(void **state)
{
	struct unit *u = *state;

	begin(u, GM_TO_HOST);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(e.toy.dev), e.va, 2 * BLOCK, GM_PREFETCH),
			 0);
	against(fault_of_other, detach, u, true);
	assert_int_equal(e.err, 0);
	unit_verify(u, CPU, e.va, 2 * BLOCK, 1);
	end(u);
}

/* ----------------------------------------------------------------- a limit while it hangs */

static void *limit(void *arg)
{
	struct unit *u = arg;

	return finish(gm_as_limit(u->as, gm_dev_hnode(e.toy.dev), PAGE));
}

/* What is in flight may land above a limit that was set meanwhile; it is met thereafter. */
static void limit_while_faulting(void **state)
{
	struct unit *u = *state;

	begin(u, GM_TO_DEV);
	against(fault_of_own, limit, u, false);
	assert_int_equal(e.err, 0);
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(gm_dev_fault(e.ctx, e.va + i * 40 * PAGE, GM_WRITE), 0);
	assert_true(u->as->account->charge[e.toy.dev->index].used <= 1);
	unit_verify(u, CPU, e.va, 2 * BLOCK, 1);
	end(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup_as, unit_teardown)
		TEST(destroy_while_evicted),  TEST(unmap_while_faulting),
		TEST(unmap_while_prefetched), TEST(move_while_faulting),
		TEST(detach_while_evicted),   TEST(limit_while_faulting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
