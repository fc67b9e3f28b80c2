// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Accounts: nobody above his limit, not even for a moment; room at the limit is made at
 * one's own cost; what fails leaves nothing charged. The devices have 4 blocks each.
 */
#include <pthread.h>
#include <stdio.h>

#include "unit.h"

#include "core/check.h"
#include "core/core.h"

#define DEV_PAGES (4 * BLOCK / PAGE)
#define RW (GM_READ | GM_WRITE)

/* The long tests have but one thread, and are slow under the thread sanitizer. */
#ifdef __SANITIZE_THREAD__
#define SKIP_LONG true
#else
#define SKIP_LONG false
#endif

/* Two users. The percentages are what their accounts read. */
static struct gm_account *acct[2];
static uint32_t percent[2];

static struct gm_object *object_of(unsigned int who, uint64_t size)
{
	struct gm_object *obj = unit_object(size);

	gm_object_set_account(obj, acct[who]);
	return obj;
}

/* An object that lives as long as this mapping of it. */
static uint64_t memory_of(struct unit *u, unsigned int who, uint64_t size)
{
	struct gm_object *obj = object_of(who, size);
	uint64_t va = unit_map(u->as, obj, 0, size, RW);

	gm_object_put(obj);
	return va;
}

static uint64_t used(struct unit *u, unsigned int who, unsigned int dev)
{
	return gm_account_used(acct[who], unit_node(u, dev)) / PAGE;
}

static int setup(void **state)
{
	unit_setup(state);
	percent[0] = percent[1] = 50;
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(gm_account_create(&percent[i], &acct[i]), 0);
	return 0;
}

static int teardown(void **state)
{
	struct unit *u = *state;

	gm_fake_on_lock(NULL, NULL);
	gm_fake_inject_clear();
	unit_check();
	assert_int_equal(gm_as_destroy(u->as), 0);
	u->as = NULL;
	for (unsigned int i = 0; i < 2; i++) {
		for (unsigned int dev = 0; dev < UNIT_DEVS; dev++)
			assert_int_equal(used(u, i, dev), 0);
		gm_account_destroy(acct[i]);
	}
	return unit_teardown(state);
}

/* ------------------------------------------------------- at every moment */

/* Looks at every release of a lock: a count may be above its limit if it was before, and falls. */
static struct watch {
	uint64_t last[2][UNIT_DEVS];
	uint64_t looks;
} watch;

static void look(enum gm_fake_event event, void *arg)
{
	(void)event;
	(void)arg;
	watch.looks++;
	for (unsigned int who = 0; who < 2; who++) {
		for (unsigned int dev = 0; dev < UNIT_DEVS; dev++) {
			uint64_t now = acct[who]->charge[dev].used;

			if (now > DEV_PAGES * percent[who] / 100)
				assert_true(now <= watch.last[who][dev]);
			watch.last[who][dev] = now;
		}
	}
}

static void watch_begin(void)
{
	memset(&watch, 0, sizeof(watch));
	gm_fake_on_lock(look, NULL);
}

#define OBJECTS 6U /* of user 0, of user 1, of nobody, and again */
#define PAGES (2 * BLOCK / PAGE)

struct play {
	struct unit *u;
	unsigned int seed;
	uint64_t va[OBJECTS];
	uint64_t bytes[OBJECTS][PAGES]; /* a word of each page, as it should be */
	unsigned int done, full;
};

static unsigned int pick(struct play *p, unsigned int n)
{
	return (unsigned int)rand_r(&p->seed) % n;
}

static uint64_t make(struct play *p, unsigned int i)
{
	return i % 3 < 2 ? memory_of(p->u, i % 3, 2 * BLOCK) : unit_alloc(p->u, 2 * BLOCK);
}

/* What may be refused is refused for want of room alone. */
static bool went(struct play *p, int err)
{
	if (err)
		assert_int_equal(err, -ENOSPC);
	p->done += !err;
	p->full += err != 0;
	return !err;
}

static void touch(struct play *p)
{
	unsigned int i = pick(p, OBJECTS), page = pick(p, PAGES);
	int who = (int)pick(p, 3) - 1;
	uint64_t value = (uint64_t)rand_r(&p->seed), was;

	if (went(p, unit_access(p->u, who, p->va[i] + page * PAGE, &was, 8, GM_READ)))
		assert_int_equal(was, p->bytes[i][page]);
	if (went(p, unit_access(p->u, who, p->va[i] + page * PAGE, &value, 8, GM_WRITE)))
		p->bytes[i][page] = value;
}

static void hint(struct play *p)
{
	static const uint32_t advice[] = { GM_PREFETCH, GM_PREFETCH, GM_PREFETCH,
					   GM_PIN,	GM_UNPIN,    GM_UNPIN,
					   GM_COLD,	GM_WILLNEED, GM_DONTNEED };
	unsigned int i = pick(p, OBJECTS), first = pick(p, PAGES), n = 1 + pick(p, PAGES - first);
	uint32_t a = advice[pick(p, 9)];
	int node = pick(p, 4) ? unit_node(p->u, pick(p, 2)) : GM_NODE_HOST;

	if (a == GM_PIN && node == GM_NODE_HOST)
		return;
	if (pick(p, 2))
		n = GM_MIN(n, 40U);
	went(p, gm_advise(p->u->as, node, p->va[i] + first * PAGE, n * PAGE, a));
	if (a == GM_DONTNEED)
		memset(&p->bytes[i][first], 0, n * sizeof(p->bytes[i][0]));
}

static void anew(struct play *p)
{
	unsigned int i = pick(p, OBJECTS);

	unit_unmap(p->u->as, p->va[i], 2 * BLOCK);
	p->va[i] = make(p, i);
	memset(p->bytes[i], 0, sizeof(p->bytes[i]));
}

/* Each user's count is what his objects have there. */
static void counts_are_right(struct play *p)
{
	for (unsigned int dev = 0; dev < UNIT_DEVS; dev++) {
		int node = unit_node(p->u, dev);

		for (unsigned int who = 0; who < 2; who++)
			assert_int_equal(used(p->u, who, dev),
					 unit_count_on(p->u->as, p->va[who], 2 * BLOCK, node) +
						 unit_count_on(p->u->as, p->va[who + 3], 2 * BLOCK,
							       node));
	}
}

static void random_operations(void **state)
{
	static const uint32_t percents[] = { 1, 10, 25, 33, 50, 75, 100 };
	static struct play p;

	if (SKIP_LONG)
		skip();
	for (unsigned int run = 0; run < 4; run++) {
		memset(&p, 0, sizeof(p));
		p.u = *state;
		p.seed = run + 1;
		print_message("seed %u\n", p.seed);
		for (unsigned int i = 0; i < UNIT_DEVS; i++)
			unit_tune(unit_dev(p.u, i), run & 1 ? 64 << 10 : BLOCK, run < 2, run & 1);
		for (unsigned int i = 0; i < OBJECTS; i++)
			p.va[i] = make(&p, i);
		watch_begin();
		for (unsigned int step = 0; step < 400; step++) {
			unsigned int what = pick(&p, 20);

			gm_fake_step();
			if (what < 10)
				touch(&p);
			else if (what < 18)
				hint(&p);
			else if (what < 19)
				anew(&p);
			else
				percent[pick(&p, 2)] = percents[pick(&p, 7)];
			gm_fake_run_work();
			counts_are_right(&p);
			if (!(step % 8))
				unit_check();
		}
		gm_fake_on_lock(NULL, NULL);
		assert_true(p.done > 300 && p.full > 0);
		assert_true(watch.looks > 1000);
		for (unsigned int i = 0; i < OBJECTS; i++)
			unit_unmap(p.u->as, p.va[i], 2 * BLOCK);
	}
}

/* ------------------------------------------------------------- whose victims */

/* The coldest of all is a neighbour's; there is room on the device, too. */
static void own_victims(void **state)
{
	struct unit *u = *state;
	uint64_t b = memory_of(u, 1, BLOCK), a = memory_of(u, 0, 4 * BLOCK);
	int node = unit_node(u, 0);

	watch_begin();
	unit_tune(unit_dev(u, 0), BLOCK, false, true);
	unit_fill(u, 0, b, BLOCK, 1);
	unit_fill(u, 0, a, 2 * BLOCK, 2);
	assert_int_equal(used(u, 0, 0), DEV_PAGES / 2);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).evictions, 0);
	unit_load(u, 0, a); /* the second is the coldest of this user's now */
	assert_int_equal(gm_advise(u->as, 0, a, BLOCK, GM_WILLNEED), 0);
	unit_store(u, 0, a + 2 * BLOCK, 3);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).evictions, 1);
	unit_on(u->as, a + BLOCK, BLOCK, GM_NODE_HOST);
	unit_on(u->as, a, BLOCK, node);
	unit_on(u->as, b, BLOCK, node);
	assert_int_equal(gm_advise(u->as, node, a, 4 * BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, b, BLOCK, node);
	assert_int_equal(used(u, 1, 0), BLOCK / PAGE);
	assert_int_equal(used(u, 0, 1), 0); /* a limit for each device */
	unit_peek(u->as, a, 2 * BLOCK, 2);

	/* Below the limit, and the device full: the coldest, whosever it is. */
	percent[0] = 100;
	unit_fill(u, 0, a, 4 * BLOCK, 4);
	unit_on(u->as, b, BLOCK, GM_NODE_HOST);
	unit_verify(u, CPU, b, BLOCK, 1);
	unit_verify(u, CPU, a, 4 * BLOCK, 4);
}

/* What makes room is bounded by who is at work, however many blocks of others there are. */
static void search_is_short(void **state)
{
	uint64_t calls[3], va[32], mine;
	struct unit *u = *state;
	int node;

	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	u->sim[0] = unit_sim(48, 0);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	unit_tune(unit_dev(u, 0), PAGE, true, true);
	node = unit_node(u, 0);
	percent[0] = 5; /* two blocks, and some pages */
	mine = memory_of(u, 0, 4 * BLOCK);
	for (unsigned int i = 0; i < 3; i++) { /* the first makes its pages */
		assert_int_equal(gm_advise(u->as, node, mine, 3 * BLOCK, GM_PREFETCH), 0);
		calls[i] = gm_fake_lock_calls();
		assert_int_equal(gm_advise(u->as, node, mine + 3 * BLOCK, BLOCK, GM_PREFETCH), 0);
		calls[i] = gm_fake_lock_calls() - calls[i];
		for (unsigned int k = 0; i == 1 && k < 32; k++) {
			va[k] = unit_alloc(u, BLOCK);
			assert_int_equal(gm_advise(u->as, node, va[k], BLOCK, GM_PREFETCH), 0);
		}
	}
	assert_int_equal(calls[1], calls[2]);
	for (unsigned int k = 0; k < 32; k++)
		unit_on(u->as, va[k], BLOCK, node);
}

/* One's own pins fill one's part: no room, at once, while others go on. */
static void pins(void **state)
{
	struct unit *u = *state;
	uint64_t a = memory_of(u, 0, 3 * BLOCK), b = memory_of(u, 1, 3 * BLOCK), value, calls;
	int node = unit_node(u, 0);

	watch_begin();
	assert_int_equal(gm_advise(u->as, node, a, 2 * BLOCK, GM_PIN), 0);
	calls = gm_fake_lock_calls();
	assert_int_equal(unit_access(u, 0, a + 2 * BLOCK, &value, 8, GM_READ), -ENOSPC);
	assert_true(gm_fake_lock_calls() - calls < 100);
	assert_int_equal(gm_advise(u->as, node, a + 2 * BLOCK, PAGE, GM_PREFETCH), -ENOSPC);
	assert_int_equal(gm_advise(u->as, node, a + 2 * BLOCK, PAGE, GM_PIN), -ENOSPC);
	unit_fill(u, 0, b, 3 * BLOCK, 1);
	unit_verify(u, 0, b, 3 * BLOCK, 1);
	assert_int_equal(used(u, 1, 0), DEV_PAGES / 2);
	assert_int_equal(unit_count_on(u->as, a, 3 * BLOCK, node), DEV_PAGES / 2);
	unit_store(u, CPU, a, 1); /* pinned pages come home for the CPU, and are not charged then */
	assert_int_equal(used(u, 0, 0), DEV_PAGES / 2 - 16);
	unit_store(u, 0, a + 2 * BLOCK, 2);
	assert_int_equal(gm_advise(u->as, 0, a, 2 * BLOCK, GM_UNPIN), 0);
	unit_fill(u, 0, a, 3 * BLOCK, 3);
	assert_true(used(u, 0, 0) <= DEV_PAGES / 2);
	unit_verify(u, 0, a, 3 * BLOCK, 3);
}

/* A part of a block is pinned, and the rest of the limit: the block makes room from itself. */
static void room_in_one_block(void **state)
{
	struct unit *u = *state;
	uint64_t a = memory_of(u, 0, BLOCK);
	int node = unit_node(u, 0);

	watch_begin();
	percent[0] = 1; /* 20 pages */
	assert_int_equal(gm_advise(u->as, node, a + 100 * PAGE, 15 * PAGE, GM_PIN), 0);
	unit_fill(u, 0, a, 64 * PAGE, 1);
	assert_true(used(u, 0, 0) <= 20);
	assert_int_equal(unit_count_on(u->as, a + 100 * PAGE, 15 * PAGE, node), 15);
	assert_int_equal(gm_advise(u->as, node, a, 64 * PAGE, GM_PREFETCH), -ENOSPC);
	unit_tune(unit_dev(u, 0), BLOCK, false, true); /* a guess too large is not insisted on */
	unit_verify(u, 0, a, 64 * PAGE, 1);
	assert_true(used(u, 0, 0) <= 20);
	assert_int_equal(unit_count_on(u->as, a + 100 * PAGE, 15 * PAGE, node), 15);
}

/* Who is above comes down by not getting more, and nobody takes away what he has. */
static void limit_lowered(void **state)
{
	struct unit *u = *state;
	uint64_t a = memory_of(u, 0, 4 * BLOCK);
	int node = unit_node(u, 0);

	watch_begin();
	percent[0] = 100;
	assert_int_equal(gm_advise(u->as, node, a, 3 * BLOCK, GM_PREFETCH), 0);
	unit_fill(u, 0, a, 3 * BLOCK, 1);
	percent[0] = 25;
	unit_verify(u, 0, a, 3 * BLOCK, 1);
	assert_int_equal(used(u, 0, 0), 3 * BLOCK / PAGE);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).evictions, 0);
	unit_store(u, 0, a + 3 * BLOCK, 1);
	assert_true(used(u, 0, 0) <= BLOCK / PAGE);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).evictions, 3);
	unit_peek(u->as, a, 3 * BLOCK, 1);

	/* Above it by pins: no more until they go. */
	percent[0] = 100;
	assert_int_equal(gm_advise(u->as, node, a, 3 * BLOCK, GM_PIN), 0);
	percent[0] = 25;
	assert_int_equal(gm_advise(u->as, node, a + 3 * BLOCK, BLOCK, GM_PREFETCH), -ENOSPC);
	assert_int_equal(gm_advise(u->as, 0, a, 3 * BLOCK, GM_UNPIN), 0);
	assert_int_equal(gm_advise(u->as, node, a + 3 * BLOCK, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(used(u, 0, 0), BLOCK / PAGE);
}

/* ------------------------------------------------------------ what comes and goes */

static void object_goes(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = object_of(0, 2 * BLOCK);
	uint64_t a = unit_map(u->as, obj, 0, 2 * BLOCK, RW), other = memory_of(u, 0, BLOCK);

	unit_fill(u, 0, a, 2 * BLOCK, 1);
	unit_fill(u, 1, other, 5 * PAGE, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), a, BLOCK, GM_PIN), 0);
	unit_unmap(u->as, a, 2 * BLOCK);
	assert_int_equal(used(u, 0, 0), 2 * BLOCK / PAGE);
	assert_int_equal(acct[0]->refs, 3);
	gm_object_put(obj);
	assert_int_equal(used(u, 0, 0), 0);
	assert_int_equal(used(u, 0, 1), 5);
	assert_int_equal(acct[0]->refs, 2);
	assert_int_equal(gm_advise(u->as, 0, other, PAGE, GM_DONTNEED), 0);
	assert_int_equal(used(u, 0, 1), 4);
}

/* The device goes, and another comes with its index; a part of its memory goes. */
static void device_goes(void **state)
{
	struct unit *u = *state;
	uint64_t a = memory_of(u, 0, 4 * BLOCK), base = 1ULL << 32, more = base + 64 * BLOCK;
	int node = unit_node(u, 0);

	unit_fill(u, 0, a, 2 * BLOCK, 1);
	unit_fill(u, 1, a + 2 * BLOCK, BLOCK, 1);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	assert_int_equal(gm_account_used(acct[0], node), 0);
	assert_int_equal(used(u, 0, 1), BLOCK / PAGE);
	u->sim[0] = unit_sim(8, 0);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	assert_int_equal(unit_node(u, 0), node);
	assert_int_equal(gm_advise(u->as, node, a, 4 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(used(u, 0, 0), 4 * BLOCK / PAGE); /* half of this one */
	unit_verify(u, 0, a, 3 * BLOCK, 1);

	/* Half of more, which then goes: the limit with it, and what was there is not charged. */
	assert_int_equal(gm_dev_register_physmem(unit_dev(u, 0), more, more + 8 * BLOCK), 0);
	assert_int_equal(gm_dev_unregister_physmem(unit_dev(u, 0), more, more + 8 * BLOCK), 0);
	assert_int_equal(used(u, 0, 0), 4 * BLOCK / PAGE);
	assert_int_equal(gm_dev_unregister_physmem(unit_dev(u, 0), base, base + 8 * BLOCK), 0);
	assert_int_equal(used(u, 0, 0), 0);
	unit_peek(u->as, a, 3 * BLOCK, 1);
	assert_int_equal(gm_dev_register_physmem(unit_dev(u, 0), base, base + 8 * BLOCK), 0);
	unit_verify(u, 0, a, 3 * BLOCK, 1);
}

static void no_account(void **state)
{
	struct gm_account *none = NULL;
	struct unit *u = *state;

	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	assert_int_equal(gm_account_create(&percent[0], &none), -ENOMEM);
	gm_account_destroy(NULL);
	assert_int_equal(gm_account_used(NULL, unit_node(u, 0)), 0);
	assert_int_equal(gm_account_used(acct[0], GM_NODE_HOST), 0);
	assert_int_equal(gm_account_used(acct[0], unit_node(u, 0) + 64), 0);
	assert_int_equal(gm_account_limit(2048, 50), 1024);
	assert_int_equal(gm_account_limit(1ULL << 46, 99), (1ULL << 46) / 100 * 99 + 63);
}

/* -------------------------------------------------------------------- failures */

/* At the limit: faults, prefetches and a pin that evict, of two users; then all goes. */
static int scenario(struct unit *u)
{
	uint64_t a = memory_of(u, 0, 3 * BLOCK), b = memory_of(u, 1, BLOCK + 5 * PAGE);
	int node = unit_node(u, 0), failed = 0;
	uint64_t value = 7;

	for (unsigned int i = 0; i < 3; i++)
		failed += !!gm_advise(u->as, node, a + i * BLOCK, BLOCK, GM_PREFETCH);
	failed += !!unit_access(u, 0, b + BLOCK, &value, 8, GM_WRITE);
	failed += !!unit_access(u, CPU, a + 2 * BLOCK, &value, 8, GM_WRITE);
	failed += !!unit_access(u, 0, a, &value, 8, GM_WRITE);
	failed += !!gm_advise(u->as, node, a + BLOCK, 9 * PAGE, GM_PIN);
	failed += !!gm_advise(u->as, unit_node(u, 1), a, BLOCK, GM_PREFETCH);
	for (unsigned int dev = 0; dev < UNIT_DEVS; dev++) {
		node = unit_node(u, dev);
		assert_int_equal(used(u, 0, dev), unit_count_on(u->as, a, 3 * BLOCK, node));
		assert_int_equal(used(u, 1, dev), unit_count_on(u->as, b, BLOCK + 5 * PAGE, node));
	}
	unit_check();
	gm_fake_inject_clear();
	for (unsigned int op = 0; op < GM_SIM_NR_OPS; op++)
		gm_sim_inject(u->sim[0], (enum gm_sim_op)op, 0, 0, 0);
	unit_unmap(u->as, a, 3 * BLOCK);
	unit_unmap(u->as, b, BLOCK + 5 * PAGE);
	for (unsigned int dev = 0; dev < UNIT_DEVS; dev++)
		assert_int_equal(used(u, 0, dev) + used(u, 1, dev), 0);
	return failed;
}

static void each_step_fails(void **state)
{
	struct unit *u = *state;
	unsigned int failed = 0;
	uint64_t n = 1, before;

	if (SKIP_LONG)
		skip();
	watch_begin();
	assert_int_equal(scenario(u), 0);
	/* Of each call of the host that may fail in the middle; making the objects is not ours. */
	for (unsigned int op = GM_FAKE_ALLOC; op < GM_FAKE_NR_OPS; op++) {
		if (op == GM_FAKE_OBJECT_CREATE || op == GM_FAKE_REGION_MAP ||
		    op == GM_FAKE_REGION_UNMAP)
			continue;
		for (uint32_t skip = 0; skip < 40; skip++) {
			before = gm_fake_injected();
			gm_fake_step();
			gm_core_reap(); /* memory is asked for anew */
			gm_fake_inject((enum gm_fake_op)op, skip + (op == GM_FAKE_ALLOC ? 1 : 0), 1,
				       op == GM_FAKE_TRYLOCK ? -EBUSY : -ENOMEM);
			failed += (unsigned int)scenario(u);
			if (gm_fake_injected() == before)
				break;
			n++;
		}
	}
	assert_true(n > 20 && failed > 10);
	for (unsigned int op = 0; op < GM_SIM_NR_OPS; op++) {
		for (uint32_t skip = 0; skip < 30; skip++) {
			gm_fake_step();
			gm_sim_inject(u->sim[0], (enum gm_sim_op)op, skip, 1 + skip % 3, -EIO);
			failed += (unsigned int)scenario(u);
		}
	}
	print_message("%u failed operations\n", failed);
	assert_true(failed > 30);
}

/* All of one's own are others' just now: a bounded number of tries, and then to be tried again. */
static void own_are_locked(void **state)
{
	struct unit *u = *state;
	uint64_t a = memory_of(u, 0, 3 * BLOCK), b = memory_of(u, 1, BLOCK), value;
	struct gm_charge *charge = &acct[0]->charge[unit_dev(u, 0)->index];
	int node = unit_node(u, 0);

	assert_int_equal(gm_advise(u->as, node, b, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, node, a, 2 * BLOCK, GM_PREFETCH), 0);
	gm_fake_inject(GM_FAKE_TRYLOCK, 0, UINT32_MAX, -EBUSY);
	gm_fake_step();
	assert_int_equal(unit_access(u, 0, a + 2 * BLOCK, &value, 8, GM_READ), -EBUSY);
	gm_fake_inject_clear();
	unit_on(u->as, b, BLOCK, node);

	/* Frames that another fault of the same user has in hand, and may give back. */
	assert_int_equal(gm_advise(u->as, 0, a, 2 * BLOCK, GM_DONTNEED), 0);
	gm_spin_lock(&unit_dev(u, 0)->hnode.lock, GM_RANK_HNODE);
	charge->used += DEV_PAGES / 2;
	gm_spin_unlock(&unit_dev(u, 0)->hnode.lock, GM_RANK_HNODE);
	gm_fake_step();
	assert_int_equal(unit_access(u, 0, a + 2 * BLOCK, &value, 8, GM_READ), -EBUSY);
	charge->used -= DEV_PAGES / 2;
	unit_load(u, 0, a + 2 * BLOCK);
}

/* --------------------------------------------------------------------- threads */

struct worker {
	struct unit *u;
	uint64_t va;
	unsigned int seed, dev, failures;
};

/* Looks, too: a count is never above, whoever is in the middle of what. */
static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned int i = 0; i < 200; i++) {
		unsigned int page = (unsigned int)rand_r(&w->seed) % 512;
		uint64_t va = w->va + page * PAGE;
		uint64_t value = va;
		int err;

		if (i % 8)
			err = unit_access(w->u, (int)w->dev, va, &value, 8, GM_WRITE);
		else
			err = gm_advise(w->u->as, unit_node(w->u, w->dev), w->va, BLOCK,
					GM_PREFETCH);
		w->failures += err && err != -EBUSY;
		for (unsigned int who = 0; who < 2; who++)
			w->failures += used(w->u, who, w->dev) > DEV_PAGES * percent[who] / 100;
	}
	return NULL;
}

/* Four blocks of one user and two of another's, on one device, with room for two and for one. */
static void together(void **state)
{
	struct unit *u = *state;
	struct worker w[6];
	pthread_t threads[6];

	gm_fake_set_threaded(true);
	percent[0] = 50;
	percent[1] = 25;
	for (unsigned int i = 0; i < 6; i++) {
		w[i] = (struct worker){ .u = u, .seed = i + 1 };
		w[i].va = memory_of(u, i / 4, BLOCK);
		assert_int_equal(pthread_create(&threads[i], NULL, work, &w[i]), 0);
	}
	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(w[i].failures, 0);
	}
	gm_fake_set_threaded(false);
	assert_true(used(u, 0, 0) <= DEV_PAGES / 2);
	assert_true(used(u, 1, 0) <= DEV_PAGES / 4);
}

/* -------------------------------------------------------------- what is broken */

static void destroy_too_early(void *arg)
{
	(void)arg;
	gm_account_destroy(acct[0]);
}

#ifdef GM_DEBUG
static void count_more(void *arg)
{
	struct unit *u = arg;

	acct[0]->charge[unit_dev(u, 0)->index].used++;
	gm_check_all();
}

static void off_the_list(void *arg)
{
	struct unit *u = arg;

	gm_list_del(acct[0]->charge[unit_dev(u, 0)->index].cold.next);
	gm_check_all();
}
#endif

static void broken_is_found(void **state)
{
	struct unit *u = *state;
	uint64_t a = memory_of(u, 0, BLOCK);

	unit_fill(u, 0, a, 5 * PAGE, 1);
	unit_expect_bug(destroy_too_early, NULL, "refs");
#ifdef GM_DEBUG
	unit_expect_bug(count_more, u, "charge->used != pages");
	unit_expect_bug(off_the_list, u, "listed != cold");
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_operations, setup, teardown),
		cmocka_unit_test_setup_teardown(own_victims, setup, teardown),
		cmocka_unit_test_setup_teardown(search_is_short, setup, teardown),
		cmocka_unit_test_setup_teardown(pins, setup, teardown),
		cmocka_unit_test_setup_teardown(room_in_one_block, setup, teardown),
		cmocka_unit_test_setup_teardown(limit_lowered, setup, teardown),
		cmocka_unit_test_setup_teardown(object_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(device_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(no_account, setup, teardown),
		cmocka_unit_test_setup_teardown(each_step_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(own_are_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(together, setup, teardown),
		cmocka_unit_test_setup_teardown(broken_is_found, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
