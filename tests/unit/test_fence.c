// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Fences: signalled before, while and after somebody waits; and a device whose copies
 * take long.
 */
#include <pthread.h>
#include <sched.h>

#include "unit.h"

#include "core/core.h"
#include "toy.h"

/* A fence that the signaller knows, and what it is to say. */
struct signal {
	struct gm_fence *fence;
	bool when_asleep;
	unsigned int spurious; /* wake-ups for nothing before the signal */
	int err;
	bool returned; /* atomic: the waiter has */
};

/* The values of fence.c. */
enum { PENDING, SLEEPING };

static void until_asleep(struct signal *s)
{
	while (gm_load(&s->fence->state) != SLEEPING && !gm_load(&s->returned))
		sched_yield();
}

static void *signaller(void *arg)
{
	struct signal *s = arg;

	if (s->when_asleep)
		until_asleep(s);
	for (unsigned int i = 0; i < s->spurious; i++) {
		gm_store(&s->fence->state, PENDING); /* lets the host's wait return */
		gm_os_wake(&s->fence->state);
		until_asleep(s);
	}
	gm_fence_signal(s->fence, s->err);
	return NULL;
}

static int signal_and_wait(struct signal *s)
{
	struct gm_fence fence;
	pthread_t thread;
	int err;

	gm_fence_init(&fence);
	s->fence = &fence;
	assert_int_equal(pthread_create(&thread, NULL, signaller, s), 0);
	err = gm_fence_wait(&fence);
	gm_store(&s->returned, true);
	/* The fence is nobody's now: the signaller reads it no more. */
	memset(&fence, 0xEE, sizeof(fence));
	pthread_join(thread, NULL);
	assert_int_equal(fence.err, (int)0xEEEEEEEE);
	return err;
}

/* Nobody sleeps: the fake host makes a bug of it where there is but one thread. */
static void signalled_before(void **state)
{
	static const int errs[] = { 0, -EIO, -ENOMEM };
	struct gm_fence fence;

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		gm_fence_init(&fence);
		gm_fence_signal(&fence, errs[i]);
		assert_int_equal(gm_fence_wait(&fence), errs[i]);
		assert_int_equal(gm_fence_wait(&fence), errs[i]); /* for good */
	}
}

static void wait_for_nobody(void *arg)
{
	struct gm_fence fence;

	(void)arg;
	gm_fence_init(&fence);
	gm_fence_wait(&fence);
}

static void never_signalled(void **state)
{
	(void)state;
	unit_expect_bug(wait_for_nobody, NULL, "wait");
}

/* The waiter sleeps already; woken for nothing it sleeps on. */
static void signalled_asleep(void **state)
{
	(void)state;
	gm_fake_set_threaded(true);
	for (unsigned int i = 0; i < 20; i++) {
		struct signal s = { .when_asleep = true, .spurious = i % 5, .err = -1 - (int)i };

		assert_int_equal(signal_and_wait(&s), -1 - (int)i);
	}
	gm_fake_set_threaded(false);
}

/* At whatever moment it comes, before the waiter has looked, while he lies down, or after. */
static void signalled_meanwhile(void **state)
{
	(void)state;
	gm_fake_set_threaded(true);
	for (unsigned int i = 0; i < 300; i++) {
		struct signal s = { .err = i % 3 ? -(int)i : 0 };

		assert_int_equal(signal_and_wait(&s), s.err);
	}
	gm_fake_set_threaded(false);
}

/*
 * A copy engine that is done only when somebody sleeps for it: each copy is seen to be
 * waited for.
 */
static struct {
	int (*copy)(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		    unsigned int n, struct gm_fence *fence);
	struct gm_fence *fence;
	pthread_t thread;
	unsigned int copies;
	int err;
} slow;

static void *signal_late(void *arg)
{
	(void)arg;
	while (gm_load(&slow.fence->state) != 1) /* SLEEPING, of fence.c */
		sched_yield();
	gm_fence_signal(slow.fence, slow.err);
	return NULL;
}

static int slow_copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		     unsigned int n, struct gm_fence *fence)
{
	struct gm_fence done;

	if (slow.copies++)
		pthread_join(slow.thread, NULL);
	gm_fence_init(&done);
	slow.copy(dev, dir, ext, n, &done);
	slow.fence = fence;
	return pthread_create(&slow.thread, NULL, signal_late, NULL) ? -EIO : 0;
}

static void copies_that_take_long(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct toy toy;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	int node;

	gm_fake_set_threaded(true);
	memset(&slow, 0, sizeof(slow));
	toy_init(&toy, 2);
	slow.copy = toy.mmu.copy;
	toy.mmu.copy = slow_copy;
	assert_int_equal(toy_plug(&toy), 0);
	node = gm_dev_hnode(toy.dev);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, node, va, 2 * BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, 2 * BLOCK, node);
	slow.err = -EIO;
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), -EIO);
	unit_on(u->as, va, BLOCK, node);
	slow.err = 0;
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
	assert_true(slow.copies > 4);
	assert_int_equal(gm_as_detach(ctx), 0);
	pthread_join(slow.thread, NULL);
	assert_int_equal(toy_unplug(&toy), 0);
	gm_fake_set_threaded(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(copies_that_take_long, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(signalled_before, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(never_signalled, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(signalled_asleep, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(signalled_meanwhile, unit_setup_core,
						unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
