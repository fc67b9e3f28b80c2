// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Hints in the background: movers are deferred work here, which runs when a test says so, a
 * step of a sweep at a time.
 */
#include <pthread.h>
#include <stdio.h>

#include "unit.h"

#include "toy.h"

static struct gm_hint hint(int node, uint64_t va, uint64_t len, uint32_t advice)
{
	return (struct gm_hint){
		.addr = (void *)(uintptr_t)va, .len = len, .hnode = node, .advice = advice
	};
}

static struct gm_sweep *start(struct unit *u, struct gm_hint h, struct gm_fake_job *job)
{
	struct gm_sweep *s;

	memset(job, 0, sizeof(*job));
	assert_int_equal(gm_sweep_start(u->as, &h, 1, job, &s), 0);
	return s;
}

/* Until nothing is left to do; how many steps it took. */
static unsigned int run_all(void)
{
	unsigned int n, sum = 0;

	do {
		n = gm_fake_run_work();
		sum += n;
	} while (n);
	return sum;
}

static void begins_nothing_by_itself(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 3 * BLOCK);
	int node = unit_node(u, 0);
	struct gm_fake_job job;
	struct gm_sweep *s;

	unit_fill(u, CPU, va, 3 * BLOCK, 1);
	s = start(u, hint(node, va, 3 * BLOCK, GM_PREFETCH), &job);
	assert_int_equal(unit_count_on(u->as, va, 3 * BLOCK, node), 0);
	assert_int_equal(gm_fake_run_work(), 1); /* the check */
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(job.done, 0);
		gm_fake_run_work();
		assert_int_equal(unit_count_on(u->as, va, 3 * BLOCK, node), i * 512);
	}
	assert_int_equal(job.done, 1);
	assert_int_equal(job.err, 0);
	run_all();
	gm_sweep_put(s);
	unit_verify(u, 0, va, 3 * BLOCK, 1);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).dev_faults, 0);
}

/* After any number of steps: what was moved stays, what was not is where it was. */
static void cancel_at_every_point(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 3 * BLOCK);
	int node = unit_node(u, 0);
	struct gm_fake_job job;
	struct gm_sweep *s;

	for (unsigned int steps = 0; steps < 6; steps++) {
		unit_fill(u, CPU, va, 3 * BLOCK, steps + 1);
		s = start(u, hint(node, va, 3 * BLOCK, GM_PREFETCH), &job);
		for (unsigned int i = 0; i < steps; i++)
			gm_fake_run_work();
		gm_sweep_cancel(s);
		assert_int_equal(job.done, 1);
		assert_int_equal(job.err, steps < 4 ? -ECANCELED : 0);
		gm_sweep_cancel(s);
		run_all();
		assert_int_equal(job.done, 1);
		gm_sweep_put(s);
		assert_int_equal(unit_count_on(u->as, va, 3 * BLOCK, node),
				 512 * (steps < 1 ? 0 : (steps > 4 ? 3 : steps - 1)));
		unit_peek(u->as, va, 3 * BLOCK, steps + 1);
	}
}

/* The owner does not care, before the end or after. */
static void freed_before_the_end(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	int node = unit_node(u, 0);
	struct gm_fake_job job;

	gm_sweep_put(start(u, hint(node, va, 2 * BLOCK, GM_PREFETCH), &job));
	run_all();
	assert_int_equal(job.done, 1);
	unit_on(u->as, va, 2 * BLOCK, node);
	gm_sweep_put(start(u, hint(node, va, 2 * BLOCK, GM_DONTNEED), &job));
	run_all();
	assert_int_equal(job.done, 1);
	unit_on(u->as, va, 2 * BLOCK, GM_NODE_NONE);
}

/* Hints that move nothing wait for those before them, and keep those after them waiting. */
static void hints_are_in_order(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	int node = unit_node(u, 0);
	struct gm_fake_job job = { 0 };
	struct gm_hint h[] = {
		hint(node, va, BLOCK, GM_PIN),
		hint(node, va + BLOCK, BLOCK, GM_PREFETCH),
		hint(0, va, 2 * BLOCK, GM_DONTNEED),
		hint(node, va + 2 * BLOCK, BLOCK, GM_PREFETCH),
		hint(0, va + 2 * BLOCK, BLOCK, GM_COLD),
	};
	struct gm_sweep *s;

	unit_fill(u, CPU, va, 4 * BLOCK, 1);
	assert_int_equal(gm_sweep_start(u->as, h, 5, &job, &s), 0);
	run_all();
	assert_int_equal(job.done, 1);
	assert_int_equal(job.err, 0);
	gm_sweep_put(s);
	unit_on(u->as, va, 2 * BLOCK, GM_NODE_NONE);
	unit_on(u->as, va + 2 * BLOCK, BLOCK, node);
	unit_verify(u, CPU, va, 2 * BLOCK, 0);
	unit_verify(u, CPU, va + 2 * BLOCK, 2 * BLOCK, 1);
}

/* A short one does not wait for the end of a long one. */
static void they_take_turns(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	struct gm_fake_job first, second;
	struct gm_sweep *a, *b;

	a = start(u, hint(unit_node(u, 0), va, 3 * BLOCK, GM_PREFETCH), &first);
	b = start(u, hint(unit_node(u, 1), va + 3 * BLOCK, BLOCK, GM_PREFETCH), &second);
	for (unsigned int i = 0; i < 4; i++)
		gm_fake_run_work();
	assert_int_equal(second.done, 1);
	assert_int_equal(first.done, 0);
	run_all();
	assert_int_equal(first.done, 1);
	gm_sweep_put(a);
	gm_sweep_put(b);
}

/* All ranges are looked at before anything moves; what is only found later ends it there. */
static void errors(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK);
	int node = unit_node(u, 0);
	struct gm_hint h[2] = { hint(node, va, BLOCK, GM_PREFETCH) };
	const struct {
		struct gm_hint hint;
		int err;
	} wrong[] = {
		{ hint(77, va, BLOCK, GM_PREFETCH), -ENODEV },
		{ hint(-5, va, BLOCK, GM_PREFETCH), -EINVAL },
		{ hint(0, va, BLOCK, GM_PIN), -EINVAL },
		{ hint(node, va, 64 * BLOCK, GM_PREFETCH), -EFAULT },
		{ hint(node, va, 5 * BLOCK, GM_PIN), -ENOSPC },
	};
	struct gm_fake_job job;
	struct gm_sweep *s;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		h[1] = wrong[i].hint;
		memset(&job, 0, sizeof(job));
		assert_int_equal(gm_sweep_start(u->as, h, 2, &job, &s), 0);
		run_all();
		gm_sweep_put(s);
		assert_int_equal(job.done, 1);
		assert_int_equal(job.err, wrong[i].err);
		assert_int_equal(unit_count_on(u->as, va, BLOCK, node), 0);
	}
	h[1] = hint(0, va + 8 * BLOCK - PAGE, 80 * BLOCK, GM_DONTNEED);
	memset(&job, 0, sizeof(job));
	assert_int_equal(gm_sweep_start(u->as, h, 2, &job, &s), 0);
	run_all();
	gm_sweep_put(s);
	assert_int_equal(job.err, -EFAULT);
	unit_on(u->as, va, BLOCK, node);
	/* Refused at once. */
	h[1] = hint(node, va, 0, GM_PREFETCH);
	assert_int_equal(gm_sweep_start(u->as, h, 2, &job, &s), -EINVAL);
	h[1] = hint(node, va, UINT64_MAX - PAGE, GM_PREFETCH);
	assert_int_equal(gm_sweep_start(u->as, h, 2, &job, &s), -EINVAL);
	h[1] = hint(node, va, BLOCK, 1000);
	assert_int_equal(gm_sweep_start(u->as, h, 2, &job, &s), -EINVAL);
	assert_int_equal(gm_sweep_start(u->as, h, 0, &job, &s), -EINVAL);
	assert_int_equal(gm_sweep_start(u->as, h, GM_HINTS_MAX + 1, &job, &s), -EINVAL);
	gm_fake_set_usable(-EPERM);
	assert_int_equal(gm_sweep_start(u->as, h, 1, &job, &s), -EPERM);
	gm_fake_set_usable(0);
}

static void the_queue_is_bounded(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	struct gm_hint h[GM_HINTS_MAX];
	struct gm_fake_job job[3] = { 0 };
	struct gm_sweep *s[2], *none;

	for (unsigned int i = 0; i < GM_HINTS_MAX; i++)
		h[i] = hint(0, va, PAGE, GM_COLD);
	assert_int_equal(gm_sweep_start(u->as, h, GM_HINTS_MAX - 1, &job[0], &s[0]), 0);
	assert_int_equal(gm_sweep_start(u->as, h, 2, &job[1], &none), -EAGAIN);
	assert_int_equal(gm_sweep_start(u->as, h, 1, &job[1], &s[1]), 0);
	assert_int_equal(gm_sweep_start(u->as, h, 1, &job[2], &none), -EAGAIN);
	gm_sweep_cancel(s[0]);
	gm_sweep_put(s[0]);
	assert_int_equal(gm_sweep_start(u->as, h, GM_HINTS_MAX - 1, &job[2], &s[0]), 0);
	run_all();
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(job[i].done, 1);
	assert_int_equal(job[2].err, 0);
	gm_sweep_put(s[0]);
	gm_sweep_put(s[1]);
}

/* ------------------------------------------------------------ what goes meanwhile */

static void unmapped_meanwhile(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	int node = unit_node(u, 0);
	struct gm_fake_job job;
	struct gm_sweep *s = start(u, hint(node, va, 4 * BLOCK, GM_PREFETCH), &job);

	gm_fake_run_work();
	gm_fake_run_work();
	unit_unmap(u->as, va + 2 * BLOCK, BLOCK);
	run_all();
	assert_int_equal(job.done, 1);
	assert_int_equal(job.err, -EFAULT);
	unit_on(u->as, va, 2 * BLOCK, node);
	assert_int_equal(unit_count_on(u->as, va + 3 * BLOCK, BLOCK, node), 0);
	gm_sweep_put(s);
}

static void device_goes_meanwhile(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	struct gm_fake_job job[2];
	struct gm_sweep *s[2];

	unit_fill(u, CPU, va, 4 * BLOCK, 1);
	for (unsigned int i = 0; i < 2; i++)
		s[i] = start(u, hint(unit_node(u, i), va + 2 * i * BLOCK, 2 * BLOCK, GM_PIN),
			     &job[i]);
	for (unsigned int i = 0; i < 4; i++)
		gm_fake_run_work();
	assert_int_equal(gm_sim_unplug(u->sim[0]), 0);
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	u->ctx[1] = NULL;
	run_all();
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(job[i].done, 1);
		assert_int_equal(job[i].err, -ENODEV);
		gm_sweep_put(s[i]);
	}
	unit_verify(u, CPU, va, 4 * BLOCK, 1);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
}

/* The address space goes after any number of steps: each job ends, and its handle is good. */
static void destroyed_meanwhile(void **state)
{
	struct unit *u = *state;

	for (unsigned int steps = 0; steps < 9; steps++) {
		struct gm_fake_job job[3] = { 0 };
		struct gm_sim_ctx *ctx;
		struct gm_sweep *s[3];
		struct gm_as *as;
		void *addr;
		struct gm_hint h;

		assert_int_equal(gm_as_create(NULL, &as), 0);
		assert_int_equal(gm_sim_attach(u->sim[0], as, &ctx), 0);
		assert_int_equal(gm_alloc(as, 3 * BLOCK, 0, &addr), 0);
		h = hint(unit_node(u, 0), (uint64_t)(uintptr_t)addr, 3 * BLOCK, GM_PREFETCH);
		for (unsigned int i = 0; i < 3; i++)
			assert_int_equal(gm_sweep_start(as, &h, 1, &job[i], &s[i]), 0);
		for (unsigned int i = 0; i < steps; i++)
			gm_fake_run_work();
		gm_sweep_put(s[2]);
		assert_int_equal(gm_as_destroy(as), 0);
		for (unsigned int i = 0; i < 3; i++) {
			assert_int_equal(job[i].done, 1);
			assert_int_equal(job[i].err, -ECANCELED);
		}
		gm_sweep_cancel(s[0]);
		gm_sweep_put(s[0]);
		gm_sweep_put(s[1]);
		run_all();
		assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
	}
}

/* Nothing that fails leaks, loses a byte, or keeps a job from its end. */
static void every_failure(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK) + BLOCK - 8 * PAGE, n = 1;
	struct gm_hint h[] = {
		hint(unit_node(u, 0), va + PAGE, 14 * PAGE, GM_PREFETCH),
		hint(unit_node(u, 1), va + 5 * PAGE, 6 * PAGE, GM_PIN),
		hint(GM_NODE_HOST, va, 12 * PAGE, GM_PREFETCH),
		hint(0, va, 16 * PAGE, GM_UNPIN),
	};
	uint64_t injected;

	do {
		struct gm_fake_job job = { 0 };
		struct gm_sweep *s;
		int err;

		unit_fill(u, CPU, va, 16 * PAGE, n);
		injected = gm_fake_injected();
		gm_fake_inject_nth(n++);
		err = gm_sweep_start(u->as, h, 4, &job, &s);
		if (err) {
			assert_int_equal(err, -ENOMEM);
		} else {
			run_all();
			assert_int_equal(job.done, 1);
			assert_true(!job.err || job.err == -ENOMEM);
			gm_sweep_put(s);
		}
		gm_fake_inject_clear();
		assert_int_equal(gm_advise(u->as, 0, va, 16 * PAGE, GM_UNPIN), 0);
		unit_peek(u->as, va, 16 * PAGE, n - 1);
		unit_check();
	} while (gm_fake_injected() > injected);
	assert_true(n > 20);
	print_message("%llu places\n", (unsigned long long)n - 2);
}

/* ------------------------------------------------------------------------- threads */

/* While a thread waits for all of a range another moves pieces of it. */
static void *help(void *arg)
{
	while (!__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE))
		gm_fake_run_work();
	run_all();
	return NULL;
}

static void helped(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK);
	struct gm_sim *sim = unit_sim(8, 2);
	int node = gm_dev_hnode(gm_sim_dev(sim));
	struct gm_sim_ctx *ctx;
	bool stop = false;
	pthread_t thread;

	assert_int_equal(gm_sim_attach(sim, u->as, &ctx), 0);
	gm_fake_set_threaded(true);
	gm_fake_set_tasks(2);
	assert_int_equal(pthread_create(&thread, NULL, help, &stop), 0);
	for (uint64_t round = 1; round < 6; round++) {
		unit_fill(u, CPU, va, 8 * BLOCK, round);
		assert_int_equal(gm_advise(u->as, node, va, 8 * BLOCK, GM_PREFETCH), 0);
		unit_on(u->as, va, 8 * BLOCK, node);
		assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, 8 * BLOCK, GM_PREFETCH), 0);
		unit_peek(u->as, va, 8 * BLOCK, round);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	gm_fake_set_tasks(1);
	gm_fake_set_threaded(false);
	unit_unmap(u->as, va, 8 * BLOCK);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
}

/* Without anybody who helps the one who waits does it all; and with it in the middle of a copy. */
static void not_helped(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * BLOCK);

	gm_fake_set_tasks(4);
	unit_fill(u, CPU, va, 4 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 4 * BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, 4 * BLOCK, unit_node(u, 0));
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 2, 1, -EIO);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, 4 * BLOCK, GM_PREFETCH), -EIO);
	assert_int_equal(unit_count_on(u->as, va, 4 * BLOCK, GM_NODE_HOST), 1024);
	gm_fake_set_tasks(1);
	run_all();
	unit_verify(u, CPU, va, 4 * BLOCK, 1);
}

/* A toy's copy waits here until it is let go: the middle of a step. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool reached, open;
};

static int at_gate(struct toy *toy, enum gm_copy_dir dir)
{
	struct gate *g = toy->arg;

	if (dir != GM_TO_DEV)
		return 0;
	pthread_mutex_lock(&g->lock);
	g->reached = true;
	pthread_cond_broadcast(&g->changed);
	while (!g->open)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
	return 0;
}

static void open_gate(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->open = true;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

static void *run_in_thread(void *arg)
{
	(void)arg;
	run_all();
	return NULL;
}

static void *destroy_in_thread(void *as)
{
	assert_int_equal(gm_as_destroy(as), 0);
	return NULL;
}

/* Cancelled, or its address space destroyed, amid a step: it ends when that is done, not before. */
static void amid_a_step(bool destroy)
{
	struct gate gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false };
	struct gm_fake_job job = { 0 };
	struct gm_context *ctx;
	struct gm_sweep *s;
	struct gm_hint h;
	struct gm_as *as;
	pthread_t mover, destroyer;
	struct toy toy;
	uint64_t zero = 1;
	void *addr;

	gm_fake_set_threaded(true);
	toy_init(&toy, 4);
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_create(NULL, &as), 0);
	assert_int_equal(gm_as_attach(as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_alloc(as, 2 * BLOCK, 0, &addr), 0);
	h = hint(gm_dev_hnode(toy.dev), (uint64_t)(uintptr_t)addr, 2 * BLOCK, GM_PREFETCH);
	for (uint64_t i = 0; i < 2; i++)
		assert_int_equal(gm_fake_cpu_access(as, (uint64_t)(uintptr_t)addr + i * BLOCK,
						    &zero, sizeof(zero), GM_WRITE),
				 0);
	toy.arg = &gate;
	toy.on_copy = at_gate;
	assert_int_equal(gm_sweep_start(as, &h, 1, &job, &s), 0);
	assert_int_equal(pthread_create(&mover, NULL, run_in_thread, NULL), 0);
	pthread_mutex_lock(&gate.lock);
	while (!gate.reached)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
	if (destroy)
		assert_int_equal(pthread_create(&destroyer, NULL, destroy_in_thread, as), 0);
	gm_sweep_cancel(s);
	assert_int_equal(__atomic_load_n(&job.done, __ATOMIC_ACQUIRE), 0);
	open_gate(&gate);
	pthread_join(mover, NULL);
	assert_int_equal(job.done, 1);
	assert_int_equal(job.err, -ECANCELED);
	if (destroy)
		pthread_join(destroyer, NULL);
	else
		assert_int_equal(gm_as_destroy(as), 0);
	gm_sweep_put(s);
	run_all();
	gm_fake_set_threaded(false);
	assert_int_equal(toy_unplug(&toy), 0);
}

static void cancelled_amid_a_step(void **state)
{
	(void)state;
	amid_a_step(false);
}

static void destroyed_amid_a_step(void **state)
{
	(void)state;
	amid_a_step(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(begins_nothing_by_itself, unit_setup,
						unit_teardown),
		cmocka_unit_test_setup_teardown(cancel_at_every_point, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(freed_before_the_end, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(hints_are_in_order, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(they_take_turns, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(errors, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(the_queue_is_bounded, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(unmapped_meanwhile, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(device_goes_meanwhile, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(destroyed_meanwhile, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(every_failure, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(helped, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(not_helped, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(cancelled_amid_a_step, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(destroyed_amid_a_step, unit_setup_core,
						unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
