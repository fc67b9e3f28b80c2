// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The simulated accelerator: accesses, and kernels on its lanes. See test_sim.h. */
#include "test_sim.h"

/* ------------------------------------------------------------------- accesses */

static void access_from_outside(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_SYNC_FAULTS | GM_SIM_CHECK);
	uint8_t in[3 * PAGE], out[3 * PAGE];
	struct rig r;
	size_t i;

	(void)state;
	calls_left = -1;
	rig_open(&r, &opt);
	for (i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	memcpy(r.gm->host + 5 * PAGE, in, sizeof(in));
	assert_int_equal(gm_sim_access(r.ctx, VA + 5 * PAGE + 1, out, 2 * PAGE, GM_READ), 0);
	assert_memory_equal(out, in + 1, 2 * PAGE);
	assert_int_equal(stats_of(&r).accesses, 3);
	assert_int_equal(stats_of(&r).tlb_misses, 3);
	assert_int_equal(stats_of(&r).faults, 3);
	assert_int_equal(stats_of(&r).copies, 3);
	assert_int_equal(gm_sim_access(r.ctx, VA + 5 * PAGE, out, 8, GM_READ), 0);
	assert_int_equal(stats_of(&r).accesses, 4);
	assert_int_equal(stats_of(&r).tlb_misses, 3);

	assert_int_equal(gm_sim_access(r.ctx, VA + 9, in + 2, 2 * PAGE, GM_WRITE), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(page_home(r.gm, i, true), 0);
	assert_memory_equal(r.gm->host + 9, in + 2, 2 * PAGE);
	assert_int_equal(stats_of(&r).stale, 0);

	/* It stops where it cannot go on. */
	memset(out, 0xee, sizeof(out));
	assert_int_equal(gm_sim_access(r.ctx, VA + PAGES * PAGE - 4, out, 8, GM_READ), -EFAULT);
	assert_int_equal(out[3], 0);
	assert_int_equal(out[4], 0xee);
	r.gm->readonly = 7;
	assert_int_equal(page_home(r.gm, 7, true), 0);
	assert_int_equal(gm_sim_access(r.ctx, VA + 7 * PAGE, in, 1, GM_WRITE), -EACCES);
	assert_int_equal(gm_sim_access(r.ctx, VA + 7 * PAGE, in, 1, GM_READ), 0);
	assert_int_equal(gm_sim_access(r.ctx, VA + 7 * PAGE, in, 1, GM_WRITE), -EACCES);

	assert_int_equal(gm_sim_access(NULL, VA, in, 1, GM_READ), -EINVAL);
	assert_int_equal(gm_sim_access(r.ctx, VA, NULL, 1, GM_READ), -EINVAL);
	assert_int_equal(gm_sim_access(r.ctx, VA, in, 0, GM_READ), -EINVAL);
	assert_int_equal(gm_sim_access(r.ctx, VA, in, 1, 0), -EINVAL);
	assert_int_equal(gm_sim_access(r.ctx, VA, in, 1, GM_READ | GM_WRITE), -EINVAL);
	assert_int_equal(gm_sim_access(r.ctx, (void *)-4, in, 8, GM_READ), -EINVAL);
	assert_int_equal(gm_sim_launch(r.ctx, NULL, NULL), -EINVAL);
	assert_int_equal(gm_sim_launch(NULL, NULL, NULL), -EINVAL);
	rig_close(&r);
}

static void busy_faults_are_replayed(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_SYNC_FAULTS);
	struct rig r;
	char c = 1;

	(void)state;
	rig_open(&r, &opt);
	r.gm->busy = 500;
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_WRITE), 0);
	assert_int_equal(r.gm->faults, 501);
	r.gm->busy = -1; /* for ever */
	assert_int_equal(gm_sim_access(r.ctx, VA + PAGE, &c, 1, GM_WRITE), -EBUSY);
	r.gm->busy = 0;
	rig_close(&r);
}

static void every_accessor(struct gm_sim_lane *lane, void *arg)
{
	uint8_t bytes[5] = { 1, 2, 3, 4, 5 }, back[5] = { 0 };
	int *ok = arg;

	if (gm_sim_lane_id(lane))
		return;
	gm_sim_store8(lane, VA + 1, 0x11);
	gm_sim_store32(lane, VA + 4, 0x22222222);
	gm_sim_store64(lane, VA + 8, 0x3333333333333333);
	gm_sim_storef64(lane, VA + 16, 1.5);
	gm_sim_store64(lane, VA + 24, (uintptr_t)VA);
	gm_sim_write(lane, VA + PAGE - 2, bytes, 5);
	gm_sim_read(lane, back, VA + PAGE - 2, 5);
	gm_sim_read(lane, back, VA, 0);
	*ok = gm_sim_load8(lane, VA + 1) == 0x11 && gm_sim_load32(lane, VA + 4) == 0x22222222 &&
	      gm_sim_load64(lane, VA + 8) == 0x3333333333333333 &&
	      gm_sim_loadf64(lane, VA + 16) == 1.5 && gm_sim_loadptr(lane, VA + 24) == VA &&
	      gm_sim_add64(lane, VA + 8, 1) == 0x3333333333333333 &&
	      gm_sim_xor64(lane, VA + 8, 0x4) == 0x3333333333333334 &&
	      gm_sim_load64(lane, VA + 8) == 0x3333333333333330 &&
	      gm_sim_addf64(lane, VA + 16, 2.0) == 1.5 && gm_sim_loadf64(lane, VA + 16) == 3.5 &&
	      !memcmp(bytes, back, 5);
}

static void accessors(void **state)
{
	struct gm_sim_options opt = small(0);
	int ok = 0;
	struct rig r;

	(void)state;
	rig_open(&r, &opt);
	assert_int_equal(gm_sim_launch(r.ctx, every_accessor, &ok), 0);
	assert_true(ok);
	assert_int_equal(page_home(r.gm, 0, true), 0);
	assert_int_equal(r.gm->host[1], 0x11);
	assert_int_equal(r.gm->host[PAGE - 1], 2);
	rig_close(&r);
}

/* -------------------------------------------------------------------- kernels */

#define ROUNDS 60

/*
 * All lanes count in the same words of every page, and race for the pages with a
 * thread that brings them home.
 */
static void counting(struct gm_sim_lane *lane, void *arg)
{
	unsigned int i, k;

	(void)arg;
	for (i = 0; i < ROUNDS; i++) {
		for (k = 0; k < 8; k++) {
			gm_sim_add64(lane, VA + k * PAGE, 1);
			gm_sim_addf64(lane, VA + k * PAGE + 8, 1.0);
			gm_sim_store64(lane, VA + k * PAGE + 64 + gm_sim_lane_id(lane) * 8, i + 1);
		}
		gm_sim_barrier(lane);
	}
}

struct thief {
	struct gm_context *gm;
	bool stop; /* atomic */
	int err;
};

static void *thief(void *arg)
{
	struct thief *t = arg;
	uint64_t i = 0;

	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED) && !t->err)
		t->err = page_home(t->gm, i++ % 8, true);
	return NULL;
}

static void count_with(struct gm_sim_options *opt)
{
	struct thief t = { 0 };
	pthread_t thread;
	struct rig r;
	uint64_t k, n[2];
	unsigned int lane;

	rig_open(&r, opt);
	t.gm = r.gm;
	assert_int_equal(pthread_create(&thread, NULL, thief, &t), 0);
	assert_int_equal(gm_sim_launch(r.ctx, counting, NULL), 0);
	assert_int_equal(gm_sim_launch(r.ctx, counting, NULL), 0);
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(t.err, 0);
	for (k = 0; k < 8; k++) {
		double d;

		assert_int_equal(page_home(r.gm, k, true), 0);
		memcpy(n, r.gm->host + k * PAGE, sizeof(n));
		memcpy(&d, &n[1], sizeof(d));
		assert_int_equal(n[0], 2 * ROUNDS * gm_sim_lanes(r.sim));
		assert_true(d == 2.0 * ROUNDS * gm_sim_lanes(r.sim));
		for (lane = 0; lane < gm_sim_lanes(r.sim); lane++) {
			memcpy(n, r.gm->host + k * PAGE + 64 + lane * 8, 8);
			assert_int_equal(n[0], ROUNDS);
		}
	}
	assert_int_equal(stats_of(&r).stale, 0);
	assert_int_equal(stats_of(&r).accesses, 2ULL * ROUNDS * 8 * 3 * gm_sim_lanes(r.sim));
	assert_true(stats_of(&r).tlb_misses > 0);
	assert_true(r.gm->largest_batch <= opt->lanes);
	rig_close(&r);
}

static void no_update_is_lost(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_CHECK);

	(void)state;
	opt.lanes = 5;
	count_with(&opt);
	opt.copy_threads = 2;
	opt.fault_batch = 1; /* so that lanes wait for room */
	opt.tlb_entries = 1;
	count_with(&opt);
	opt.flags |= GM_SIM_SYNC_FAULTS;
	count_with(&opt);
}

/* Lanes end at different times: by an error, by returning early, and at the end. */
static void ending(struct gm_sim_lane *lane, void *arg)
{
	unsigned int i;

	for (i = 0; i < 10; i++) {
		if (i == 3 && gm_sim_lane_id(lane) == 1)
			gm_sim_load64(lane, VA + PAGES * PAGE);
		if (i == 6 && gm_sim_lane_id(lane) == 2)
			return;
		gm_sim_barrier(lane);
	}
	__atomic_fetch_add((int *)arg, 1, __ATOMIC_RELAXED);
}

static void misaligned(struct gm_sim_lane *lane, void *arg)
{
	(void)arg;
	gm_sim_store32(lane, VA + 2, 1);
}

static void bulk_beyond(struct gm_sim_lane *lane, void *arg)
{
	char buf[8] = { 0 };

	if (arg)
		gm_sim_write(lane, VA + PAGES * PAGE - 4, buf, 8);
	else
		gm_sim_read(lane, buf, VA + PAGES * PAGE - 4, 8);
	abort();
}

static void lanes_that_end(void **state)
{
	struct gm_sim_options opt = small(0);
	struct rig r;
	int ended = 0;

	(void)state;
	rig_open(&r, &opt);
	assert_int_equal(gm_sim_launch(r.ctx, ending, &ended), -EFAULT);
	assert_int_equal(ended, 2);
	assert_int_equal(gm_sim_launch(r.ctx, misaligned, NULL), -EINVAL);
	assert_int_equal(gm_sim_launch(r.ctx, bulk_beyond, NULL), -EFAULT);
	assert_int_equal(gm_sim_launch(r.ctx, bulk_beyond, &r), -EFAULT);
	/* And it can go on. */
	r.gm->busy = 150; /* long enough for a nap */
	assert_int_equal(gm_sim_launch(r.ctx, counting, NULL), 0);
	rig_close(&r);
}

static int survivors; /* atomic */

/*
 * Lane 0 keeps the fault thread busy; meanwhile the others fill the buffer: a read
 * and a write of a page that may not be written, and the same read once more.
 */
static void four_faults(struct gm_sim_lane *lane, void *arg)
{
	struct gm_sim_stats s = { .size = sizeof(s) };

	while (gm_sim_lane_id(lane) && !s.fault_batches) {
		gm_sim_stats(arg, &s);
		sched_yield();
	}
	if (gm_sim_lane_id(lane) == 0)
		gm_sim_load8(lane, VA);
	else if (gm_sim_lane_id(lane) == 1)
		gm_sim_store8(lane, VA + 7 * PAGE, 1);
	else
		gm_sim_load8(lane, VA + 7 * PAGE + gm_sim_lane_id(lane));
	__atomic_fetch_add(&survivors, 1, __ATOMIC_RELAXED);
}

static void *run_four_faults(void *arg)
{
	struct rig *r = arg;

	return (void *)(intptr_t)gm_sim_launch(r->ctx, four_faults, r->sim);
}

static void duplicates(void **state)
{
	struct gm_sim_options opt = small(0);
	pthread_t thread;
	struct rig r;
	void *err;

	(void)state;
	rig_open(&r, &opt);
	r.gm->readonly = 7;
	pthread_mutex_lock(&r.gm->lock);
	assert_int_equal(pthread_create(&thread, NULL, run_four_faults, &r), 0);
	while (stats_of(&r).faults < 4)
		sched_yield();
	pthread_mutex_unlock(&r.gm->lock);
	pthread_join(thread, &err);
	assert_int_equal((intptr_t)err, -EACCES); /* the writer's; */
	assert_int_equal(survivors, 3);		  /* the others could go on, */
	assert_int_equal(r.gm->largest_batch, 2); /* and the two reads were one fault */
	rig_close(&r);
}

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool inside, open;
};

static void waiting(struct gm_sim_lane *lane, void *arg)
{
	struct gate *g = arg;

	if (gm_sim_lane_id(lane))
		return;
	pthread_mutex_lock(&g->lock);
	g->inside = true;
	pthread_cond_broadcast(&g->cond);
	while (!g->open)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

struct launch {
	struct rig *r;
	struct gate *gate;
	int err;
};

static void *launcher(void *arg)
{
	struct launch *l = arg;

	l->err = gm_sim_launch(l->r->ctx, waiting, l->gate);
	return NULL;
}

struct outsider {
	struct rig *r;
	int err;
	char c;
};

static void *outsider(void *arg)
{
	struct outsider *o = arg;

	o->err = gm_sim_access(o->r->ctx, VA + PAGE, &o->c, 1, GM_READ);
	return NULL;
}

static void accesses_wait_for_each_other(void **state)
{
	struct gm_sim_options opt = small(0);
	struct outsider o[2];
	pthread_t thread[2];
	struct rig r;
	unsigned int i;

	(void)state;
	rig_open(&r, &opt);
	r.gm->host[PAGE] = 'x';
	pthread_mutex_lock(&r.gm->lock);
	for (i = 0; i < 2; i++) {
		o[i] = (struct outsider){ .r = &r, .err = 1 };
		assert_int_equal(pthread_create(&thread[i], NULL, outsider, &o[i]), 0);
		while (!stats_of(&r).fault_batches) /* one of them is in the middle of it */
			sched_yield();
	}
	pthread_mutex_unlock(&r.gm->lock);
	for (i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(o[i].err, 0);
		assert_int_equal(o[i].c, 'x');
	}
	assert_int_equal(stats_of(&r).faults, 1);
	rig_close(&r);
}

static void one_thing_at_a_time(void **state)
{
	struct gate gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false };
	struct gm_sim_options opt = small(0);
	struct rig r;
	struct launch l[2] = { { &r, &gate, 1 }, { &r, &gate, 1 } };
	pthread_t thread[2];
	char c;

	(void)state;
	rig_open(&r, &opt);
	/* Not all threads start: nothing runs, and another time it does. */
	calls_left = 2;
	assert_int_equal(gm_sim_launch(r.ctx, counting, NULL), -EAGAIN);
	calls_left = -1;
	assert_int_equal(r.gm->faults, 0);

	assert_int_equal(pthread_create(&thread[0], NULL, launcher, &l[0]), 0);
	assert_int_equal(pthread_create(&thread[1], NULL, launcher, &l[1]), 0);
	pthread_mutex_lock(&gate.lock);
	while (!gate.inside)
		pthread_cond_wait(&gate.cond, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_READ), -EBUSY);
	assert_int_equal(gm_sim_detach(r.ctx), -EBUSY);
	pthread_mutex_lock(&gate.lock);
	gate.open = true;
	pthread_cond_broadcast(&gate.cond);
	pthread_mutex_unlock(&gate.lock);
	pthread_join(thread[0], NULL);
	assert_int_equal(l[0].err, 0);
	pthread_join(thread[1], NULL);
	assert_int_equal(l[1].err, 0);
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_READ), 0);
	rig_close(&r);
}

/* ------------------------------------------------------------------- recording */

static void walk(struct gm_sim_lane *lane, void *arg)
{
	char bytes[2 * PAGE];
	uint64_t *word = (void *)(VA + 7 * PAGE);

	(void)arg;
	gm_sim_load8(lane, VA + 3 * PAGE);
	gm_sim_load32(lane, VA + 3 * PAGE + 8);		   /* the same line: not told */
	gm_sim_load32(lane, VA + 3 * PAGE + 64);	   /* and another */
	gm_sim_store8(lane, VA + 3 * PAGE + 70, 1);	   /* this is of another kind, */
	gm_sim_load64(lane, VA + 3 * PAGE + 64);	   /* and this says less */
	gm_sim_read(lane, bytes, VA + 3 * PAGE + 127, 66); /* two more, with what is told */
	gm_sim_read(lane, bytes, VA + PAGE, PAGE + 1);	   /* a page after the other */
	gm_sim_write(lane, VA + 5 * PAGE, bytes, 2 * PAGE);
	gm_sim_add64(lane, word, 1);
	gm_sim_xor64(lane, word, 1);
	gm_sim_store64(lane, word, 0);
	gm_sim_loadf64(lane, VA);
	gm_sim_addf64(lane, word, 1);
}

static void accesses_are_recorded(void **state)
{
	static const struct {
		uint64_t page;
		uint32_t access;
		uint32_t lines;
	} want[] = {
		{ 3, GM_READ, 1 },
		{ 3, GM_READ, 1 },
		{ 3, GM_WRITE, 0 },
		{ 3, GM_READ, 2 },
		{ 1, GM_READ, 64 },
		{ 2, GM_READ, 1 },
		{ 5, GM_WRITE, 64 },
		{ 6, GM_WRITE, 64 },
		{ 7, GM_WRITE | GM_ATOMIC, 1 },
		{ 0, GM_READ, 1 },
		{ 7, GM_WRITE | GM_ATOMIC, 1 },
	};
	struct gm_sim_options opt = small(GM_SIM_SYNC_FAULTS);
	struct rig r;
	char c;

	(void)state;
	opt.lanes = 1;
	rig_open(&r, &opt);
	assert_int_equal(gm_sim_launch(r.ctx, walk, NULL), 0);
	assert_int_equal(recorded.n, 0); /* nobody asks */

	gm_recording = 1;
	assert_int_equal(gm_sim_launch(r.ctx, walk, NULL), 0);
	assert_int_equal(recorded.n, sizeof(want) / sizeof(*want));
	for (unsigned int i = 0; i < recorded.n; i++) {
		assert_int_equal(recorded.page[i], want[i].page);
		assert_int_equal(recorded.access[i], want[i].access);
		assert_int_equal(recorded.lines[i], want[i].lines);
	}

	/* The page of the last access is new once it was lost in between, the line is not; in another
	 * recording both are. */
	recorded.n = 0;
	assert_int_equal(gm_sim_access(r.ctx, VA + 7 * PAGE, &c, 1, GM_READ), 0);
	assert_int_equal(recorded.n, 0);
	assert_int_equal(page_home(r.gm, 7, true), 0);
	assert_int_equal(gm_sim_access(r.ctx, VA + 7 * PAGE, &c, 1, GM_READ), 0);
	assert_int_equal(recorded.n, 1);
	assert_int_equal(recorded.lines[0], 0);
	gm_recording = 2;
	assert_int_equal(gm_sim_access(r.ctx, VA + 7 * PAGE, &c, 1, GM_READ), 0);
	assert_int_equal(recorded.n, 2);
	assert_int_equal(recorded.lines[1], 1);

	/* What failed is none. */
	assert_int_equal(gm_sim_access(r.ctx, VA + PAGES * PAGE, &c, 1, GM_READ), -EFAULT);
	assert_int_equal(recorded.n, 2);
	gm_recording = 0;
	recorded.n = 0;
	rig_close(&r);
}

const struct CMUnitTest sim_lanes_tests[] = {
	cmocka_unit_test(access_from_outside),
	cmocka_unit_test(busy_faults_are_replayed),
	cmocka_unit_test(accessors),
	cmocka_unit_test(no_update_is_lost),
	cmocka_unit_test(lanes_that_end),
	cmocka_unit_test(duplicates),
	cmocka_unit_test(accesses_wait_for_each_other),
	cmocka_unit_test(one_thing_at_a_time),
	cmocka_unit_test(accesses_are_recorded),
};
const size_t nr_sim_lanes_tests = sizeof(sim_lanes_tests) / sizeof(sim_lanes_tests[0]);
