// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Read duplication: what was said to be read mostly is read by everybody where it is, until
 * somebody writes it; and replicas go whenever anybody wants their frames, or the page, without
 * a copy and without a loss.
 */
#include "replicas.h"

#define ENOUGH 64U /* failures to inject one after another: more than any operation has */

/* --------------------------------------------------------------------------- reading */

/* The figure: after the first read of each, nothing moves any more, and nobody faults. */
static void four_devices(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, 2 * BLOCK, 1), pages = 2 * BLOCK / PAGE, faults;
	struct gm_stats as;

	for (unsigned int i = 0; i < DEVS; i++) {
		read_by(t, i, va, 2 * BLOCK, 1);
		assert_int_equal(stats(t, i).pages_to_dev, pages);
		assert_int_equal(stats(t, i).pages_replicated, pages);
		assert_int_equal(stats(t, i).dev_faults, 2 * BLOCK / GRANULE);
		assert_int_equal(used(t, i), 2 * BLOCK);
	}
	unit_verify(&t->u, CPU, va, 2 * BLOCK, 1);
	as = unit_as_stats(t->u.as);
	assert_int_equal(as.pages_to_host, 0);
	assert_int_equal(as.pages_to_dev, DEVS * pages);
	faults = gm_fake_cpu_faults();
	for (unsigned int round = 0; round < 5; round++)
		read_by_all(t, va, 2 * BLOCK, 1);
	assert_int_equal(gm_fake_cpu_faults(), faults);
	assert_int_equal(unit_as_stats(t->u.as).pages_to_host, 0);
	assert_int_equal(unit_as_stats(t->u.as).pages_to_dev, DEVS * pages);
	assert_int_equal(unit_as_stats(t->u.as).dev_faults, as.dev_faults);
	unit_on(t->u.as, va, 2 * BLOCK, GM_NODE_HOST);
	assert_int_equal(copied(t, va, 2 * BLOCK), pages);
	assert_true(gm_fake_page(t->u.as, va) & GM_FAKE_READONLY);
}

/* Nobody has it yet: it begins as zeros in host memory. */
static void from_nothing(void **state)
{
	struct duplication *t = *state;
	uint64_t va = unit_alloc(&t->u, BLOCK);

	assert_int_equal(say(t, va, BLOCK, GM_READ_MOSTLY), 0);
	for (unsigned int i = 0; i < DEVS; i++)
		read_by(t, i, va, BLOCK, 0);
	unit_on(t->u.as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(copied(t, va, BLOCK), 512);
}

/* What is read densely is soon duplicated by the block. */
static void grows(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, BLOCK, 1);

	unit_tune(gm_sim_dev(t->sim[1]), GRANULE, false, true);
	read_by(t, 1, va, BLOCK, 1);
	assert_int_equal(used(t, 1), BLOCK);
	assert_in_range(stats(t, 1).dev_faults, 2, 8);
	assert_int_equal(stats(t, 1).pages_to_dev, 512);
}

/* What a device has goes home when another reads it; until then it is the device's to write. */
static void from_a_device(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, BLOCK, 1);

	write_by(t, 0, va, BLOCK, 2);
	unit_on(t->u.as, va, BLOCK, node_of(t, 0));
	read_by(t, 0, va, BLOCK, 2);
	assert_int_equal(copied(t, va, BLOCK), 0);
	read_by(t, 1, va, BLOCK, 2);
	unit_on(t->u.as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(used(t, 0), 0);
	read_by_all(t, va, BLOCK, 2);
	assert_int_equal(used(t, 0), BLOCK);
}

/* A hint for a part of what one fault would bring. */
static void hint_ends(void **state)
{
	struct duplication *t = *state;
	uint64_t va = unit_alloc(&t->u, BLOCK);

	unit_fill(&t->u, CPU, va, BLOCK, 1);
	assert_int_equal(say(t, va + 4 * PAGE, 8 * PAGE, GM_READ_MOSTLY), 0);
	read_by(t, 0, va + 5 * PAGE, PAGE, 1);
	assert_int_equal(copied(t, va, BLOCK), 8);
	assert_true(replicated(t, va + 4 * PAGE) && replicated(t, va + 11 * PAGE));
	/* And the other way round: what is not said to be so moves, up to there. */
	read_by(t, 0, va, PAGE, 1);
	unit_on(t->u.as, va, 4 * PAGE, node_of(t, 0));
	unit_on(t->u.as, va + 4 * PAGE, 12 * PAGE, GM_NODE_HOST);
	read_by(t, 0, va + 12 * PAGE, PAGE, 1);
	unit_on(t->u.as, va + 12 * PAGE, 4 * PAGE, node_of(t, 0));
	assert_int_equal(copied(t, va, BLOCK), 8);
	read_by_all(t, va, BLOCK, 1);
}

/* Once it is unset there are no new ones; those that there are stay until they are written. */
static void unset(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, BLOCK, 1);

	read_by(t, 0, va, BLOCK, 1);
	assert_int_equal(say(t, va, BLOCK, GM_UNSET_READ_MOSTLY), 0);
	read_by(t, 0, va, BLOCK, 1);
	assert_int_equal(copied(t, va, BLOCK), 512);
	read_by(t, 1, va, GRANULE, 1);
	unit_on(t->u.as, va, GRANULE, node_of(t, 1));
	assert_int_equal(copied(t, va, BLOCK), 512 - 16);
	read_by_all(t, va, BLOCK, 1);
}

static void prefetched(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, BLOCK, 1);

	for (unsigned int i = 0; i < DEVS; i++) {
		assert_int_equal(gm_advise(t->u.as, node_of(t, i), va, BLOCK, GM_PREFETCH), 0);
		read_by(t, i, va, BLOCK, 1);
		assert_int_equal(stats(t, i).dev_faults, 0);
		assert_int_equal(stats(t, i).pages_prefetched, 512);
	}
	unit_on(t->u.as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(gm_advise(t->u.as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(copied(t, va, BLOCK), 512);
	assert_true(gm_fake_page(t->u.as, va) & GM_FAKE_READONLY);
	/* A range of which a part is said to be so. */
	va = unit_alloc(&t->u, BLOCK);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	assert_int_equal(say(t, va + 100 * PAGE, 50 * PAGE, GM_READ_MOSTLY), 0);
	assert_int_equal(gm_advise(t->u.as, node_of(t, 2), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(copied(t, va, BLOCK), 50);
	assert_int_equal(unit_count_on(t->u.as, va, BLOCK, node_of(t, 2)), 462);
	read_by_all(t, va, BLOCK, 2);
}

/* --------------------------------------------------------------------------- writing */

/* By the CPU, by one that has a replica, by one that has none: nobody has replicas of the granule then. */
static void written(void **state)
{
	struct duplication *t = *state;

	for (int who = CPU; who < 2; who++) {
		uint64_t va = mostly(t, BLOCK, 1);

		for (unsigned int i = 0; i < DEVS; i++)
			if (i != 1)
				read_by(t, i, va, BLOCK, 1);
		unit_verify(&t->u, CPU, va, BLOCK, 1);
		unit_store(&t->u, who, va + 20 * PAGE, 77);
		assert_int_equal(copied(t, va, BLOCK), 512 - 16);
		assert_int_equal(unit_info(t->u.as, va + 20 * PAGE).node,
				 who == CPU ? GM_NODE_HOST : node_of(t, (unsigned int)who));
		for (unsigned int i = 0; i < DEVS; i++) {
			uint64_t v;

			assert_int_equal(dev_access(t, i, va + 20 * PAGE, &v, 8, GM_READ), 0);
			assert_int_equal(v, 77);
		}
		assert_int_equal(copied(t, va, BLOCK), 512);
		unit_fill(&t->u, who, va, BLOCK, 3);
		read_by_all(t, va, BLOCK, 3);
		unit_unmap(t->u.as, va, BLOCK);
		for (unsigned int i = 0; i < DEVS; i++)
			assert_int_equal(used(t, i), 0);
	}
}

/* Every store is seen by everybody, whoever makes it. */
static void in_turns(void **state)
{
	struct duplication *t = *state;
	uint64_t va = mostly(t, GRANULE, 1), v;

	for (uint64_t round = 1; round < 60; round++) {
		unsigned int who = (unsigned int)(round * 7 % (DEVS + 1));

		v = round;
		if (who == DEVS)
			unit_store(&t->u, CPU, va + 3 * PAGE, round);
		else
			assert_int_equal(dev_access(t, who, va + 3 * PAGE, &v, 8, GM_WRITE), 0);
		for (unsigned int i = 0; i < DEVS; i++) {
			assert_int_equal(dev_access(t, i, va + 3 * PAGE, &v, 8, GM_READ), 0);
			assert_int_equal(v, round);
		}
		assert_int_equal(unit_load(&t->u, CPU, va + 3 * PAGE), round);
	}
	unit_check();
}

/* hmemcpy() reads without disturbing anybody, and what it writes everybody sees. */
static void copied_into(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1), one = 99, v;

	unit_peek(t->u.as, va, BLOCK, 1);
	assert_int_equal(copied(t, va, BLOCK), 512);
	assert_int_equal(gm_copy(GM_NODE_NONE, t->u.as, va + 5 * PAGE, NULL, (uintptr_t)&one, 8),
			 0);
	assert_int_equal(copied(t, va, BLOCK), 511);
	for (unsigned int i = 0; i < DEVS; i++) {
		assert_int_equal(dev_access(t, i, va + 5 * PAGE, &v, 8, GM_READ), 0);
		assert_int_equal(v, 99);
	}
}

static void dropped(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	assert_int_equal(say(t, va, BLOCK / 2, GM_DONTNEED), 0);
	assert_int_equal(copied(t, va, BLOCK), 256);
	assert_int_equal(used(t, 3), BLOCK / 2);
	read_by_all(t, va, BLOCK / 2, 0);
	read_by_all(t, va + BLOCK / 2, BLOCK / 2, 1);
	assert_int_equal(say(t, va, BLOCK, GM_DONTNEED), 0);
	for (unsigned int i = 0; i < DEVS; i++)
		assert_int_equal(used(t, i), 0);
	read_by_all(t, va, BLOCK, 0);
}

/* A host that cannot map for reading only: what the CPU touches has no replicas after it. */
static void old_kernel(void **state)
{
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	gm_fake_set_no_map_read(true);
	unit_verify(&t->u, CPU, va + 3 * PAGE, PAGE, 1);
	assert_int_equal(copied(t, va, BLOCK), 512 - 16);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	assert_int_equal(copied(t, va, BLOCK), 0);
	read_by_all(t, va, BLOCK, 2);
}

/* ---------------------------------------------------------------------------- failing */

/* Every driver operation fails, in a read and in a write: nothing is lost, and it can be done again. */
static void driver_fails(void **state)
{
	static const enum gm_sim_op op[] = { GM_SIM_PMAP_ENTER, GM_SIM_PMAP_RELEASE,
					     GM_SIM_TLB_INVL, GM_SIM_COPY_START,
					     GM_SIM_COPY_FENCE };
	struct duplication *t = *state;

	for (unsigned int i = 0; i < sizeof(op) / sizeof(op[0]); i++) {
		for (uint32_t count = 1; count <= 2; count++) { /* the guess; and the page */
			uint64_t va = mostly(t, BLOCK, 1), v = 9;
			int err;

			read_by(t, 1, va, BLOCK, 1);
			gm_sim_inject(t->sim[0], op[i], 0, count, -EIO);
			err = dev_access(t, 0, va, &v, 8, GM_READ);
			assert_true(!err || (err == -EIO && count == 2));
			gm_sim_inject(t->sim[0], op[i], 0, 0, 0);
			unit_check();
			read_by_all(t, va, BLOCK, 1);
			gm_sim_inject(t->sim[0], op[i], 0, count, -EIO);
			err = unit_access(&t->u, CPU, va + 8, &v, 8, GM_WRITE);
			assert_true(!err || (err == -EIO && count == 2));
			gm_sim_inject(t->sim[0], op[i], 0, 0, 0);
			unit_check();
			unit_fill(&t->u, CPU, va, BLOCK, 2);
			read_by_all(t, va, BLOCK, 2);
			unit_unmap(t->u.as, va, BLOCK);
		}
	}
}

typedef int step_fn(struct duplication *t, uint64_t va);

static int step_read(struct duplication *t, uint64_t va)
{
	uint64_t v;

	return dev_access(t, 2, va + 300 * PAGE, &v, 8, GM_READ);
}

static int step_write(struct duplication *t, uint64_t va)
{
	uint64_t v = 0; /* what is there */

	return dev_access(t, 0, va + 300 * PAGE + 16, &v, 8, GM_WRITE);
}

static int step_cpu(struct duplication *t, uint64_t va)
{
	uint64_t v = 0;

	return unit_access(&t->u, CPU, va + 300 * PAGE + 16, &v, 8, GM_WRITE);
}

static int step_prefetch(struct duplication *t, uint64_t va)
{
	return gm_advise(t->u.as, node_of(t, 2), va, BLOCK, GM_PREFETCH);
}

static int step_set(struct duplication *t, uint64_t va)
{
	return say(t, va + 10 * PAGE, PAGE, GM_UNSET_READ_MOSTLY);
}

static int step_cut(struct duplication *t, uint64_t va)
{
	return gm_as_protect(t->u.as, (void *)(uintptr_t)(va + 32 * PAGE), 32 * PAGE,
			     GM_READ | GM_WRITE);
}

/* One try of a step in which a call of the host's fails, the @skip-th and the next; false: there was none. */
static bool fails_at(struct duplication *t, step_fn *step, enum gm_fake_op op, uint32_t skip,
		     unsigned int *failed)
{
	uint64_t va = mostly(t, BLOCK, 1), before = gm_fake_injected();
	bool injected;
	int err;

	read_by(t, 0, va, BLOCK, 1);
	read_by(t, 1, va, GRANULE, 1);
	gm_fake_inject(op, skip, 2, -ENOMEM); /* the guess, and the page */
	err = step(t, va);
	gm_fake_inject_clear();
	injected = gm_fake_injected() != before;
	assert_true(injected || !err);
	*failed += err != 0;
	unit_check();
	read_by_all(t, va, BLOCK, 1);
	unit_fill(&t->u, CPU, va, BLOCK, 2);
	read_by_all(t, va, BLOCK, 2);
	unit_unmap(t->u.as, va, BLOCK);
	return injected;
}

/* Whatever the host fails to give, nothing is lost and nothing leaks. */
static void host_fails(void **state)
{
	static step_fn *const step[] = { step_read, step_write,	   step_cpu,
					 step_set,  step_prefetch, step_cut };
	static const enum gm_fake_op op[] = { GM_FAKE_ALLOC, GM_FAKE_BACKING_GET, GM_FAKE_CPU_MAP,
					      GM_FAKE_CPU_REVOKE, GM_FAKE_REGION_SPLIT };
	unsigned int failed = 0;

	for (unsigned int i = 0; i < sizeof(step) / sizeof(step[0]); i++)
		for (unsigned int j = 0; j < sizeof(op) / sizeof(op[0]); j++)
			for (uint32_t skip = 0; fails_at(*state, step[i], op[j], skip, &failed);)
				assert_true(++skip < ENOUGH);
	assert_true(failed >= 9);
}

/* A replica that came is told of, and one that could not: of both, what was to be copied and where to. */
static void told(void **state)
{
	struct duplication *t = *state;
	uint64_t va = unit_alloc(&t->u, BLOCK), v;
	struct gm_event event[4];

	unit_fill(&t->u, CPU, va, BLOCK, 1);
	assert_int_equal(say(t, va, BLOCK, GM_READ_MOSTLY), 0);
	for (unsigned int i = 0; i < 2; i++) {
		int want = i ? 0 : -EIO;

		gm_fake_trace(1U << GM_EVENT_MIGRATE);
		gm_sim_inject(t->sim[0], GM_SIM_COPY_START, 0, i ? 0 : UINT32_MAX, -EIO);
		assert_int_equal(dev_access(t, 0, va + PAGE, &v, sizeof(v), GM_READ), want);
		/* The granule, and where that fails the page. */
		assert_int_equal(gm_fake_events(event, 4), i ? 1 : 2);
		assert_int_equal(event[0].err, want);
		assert_true(event[0].offset == 0 && event[0].len == GRANULE);
		assert_int_equal(event[0].pages, GRANULE / PAGE);
		assert_int_equal(event[0].bytes, i ? GRANULE : 0);
		assert_int_equal(event[0].from, GM_NODE_HOST);
		assert_int_equal(event[0].to, node_of(t, 0));
		assert_int_equal(event[0].why, GM_WHY_DEV_FAULT);
		if (!i)
			assert_true(event[1].offset == PAGE && event[1].len == PAGE);
	}
	gm_fake_trace(0);
}

/* The check sees what it is there to see. */
static void break_copies(void *arg)
{
	struct gm_block *block = arg;

	block->residents->copies[3] = 0;
	gm_check_block(block);
}

static void break_entry(void *arg)
{
	struct gm_block *block = arg;

	block->uniform = GM_NONE;
	gm_check_block(block);
}

static void checked(void **state)
{
#ifdef GM_DEBUG
	struct duplication *t = *state;
	uint64_t va = spread(t, BLOCK, 1);

	unit_expect_bug(break_copies, block_at(t, va), "count != gm_resident_copies(res)");
	unit_expect_bug(break_entry, block_at(t, va), "!= GM_HOST");
#else
	(void)state;
	(void)break_copies;
	(void)break_entry;
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define T_WITH(fn, with) cmocka_unit_test_setup_teardown(fn, with, teardown)
		T(four_devices),
		T(from_nothing),
		T(grows),
		T(from_a_device),
		T(hint_ends),
		T(unset),
		T(prefetched),
		T(written),
		T(in_turns),
		T(copied_into),
		T(dropped),
		T(old_kernel),
		T(driver_fails),
		T(host_fails),
		T(told),
		T(checked),
		T_WITH(four_devices, setup_peers),
		T_WITH(from_a_device, setup_peers),
		T_WITH(in_turns, setup_peers),
		T_WITH(written, setup_messages),
		T_WITH(host_fails, setup_messages),
		T_WITH(four_devices, setup_units),
		T_WITH(from_a_device, setup_units),
		T_WITH(in_turns, setup_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
