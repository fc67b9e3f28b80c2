// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Exhaustive failure injection. One fixed scenario of some fifty operations, from
 * gm_core_init() to gm_core_exit(), is run once for every call of the host that may
 * fail, and once for every call of every operation of the devices, with that one call
 * failing. An operation may then fail, and is made again; the bytes must be as if
 * nothing had happened, and nothing may leak.
 */
#include <stdio.h>

#include "unit.h"

#define P(va) ((void *)(uintptr_t)(va))
#define AT 0x7000003000ULL

/* What is injected into one run. */
struct plan {
	uint64_t host; /* the n-th call of the host's, from 1; 0: none */
	unsigned int dev;
	enum gm_sim_op op;
	uint32_t skip;
	bool sim; /* the skip-th call of op of dev */
};

struct run {
	struct unit u; /* as and two devices */
	struct gm_object *obj;
	uint64_t a, b, c;    /* anonymous; object, at an odd address; the same again */
	unsigned int failed; /* operations that did */
};

/* An operation that may fail once, because one call is made to, must succeed when it is made again. */
#define again(r, call)                                                                             \
	do {                                                                                       \
		if (call) {                                                                        \
			(r)->failed++;                                                             \
			assert_int_equal(call, 0);                                                 \
		}                                                                                  \
	} while (0)

static void store(struct run *r, int who, uint64_t va, uint64_t len, uint64_t tag)
{
	for (uint64_t end = va + len; va < end; va += PAGE) {
		uint64_t value = tag + va;

		again(r, unit_access(&r->u, who, va, &value, 8, GM_WRITE));
	}
}

static void load(struct run *r, int who, uint64_t va, uint64_t len, uint64_t tag, uint64_t at)
{
	for (uint64_t off = 0; off < len; off += PAGE) {
		uint64_t value = 0;

		again(r, unit_access(&r->u, who, va + off, &value, 8, GM_READ));
		assert_int_equal(value, tag ? tag + at + off : 0);
	}
}

static void plug(struct run *r, unsigned int i)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 2 * BLOCK,
				      .lanes = 1,
				      .base = (i + 1ULL) << 32,
				      .table_memory = 1 << 20,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK };
	struct gm_dev_tunables t = { .size = sizeof(t), .granule = 64 << 10 };

	again(r, gm_sim_create(&opt, &r->u.sim[i]));
	again(r, gm_dev_tune(unit_dev(&r->u, i), &t));
}

/* Attaching is the first that the device's operations are called for: inject before it. */
static void inject_sim(struct run *r, const struct plan *p)
{
	if (p->sim)
		gm_sim_inject(r->u.sim[p->dev], p->op, p->skip, 1, -EIO);
}

static void setup(struct run *r, const struct plan *p)
{
	gm_fake_reset();
	gm_fake_set_max_run(40 * PAGE);
	if (p->host)
		gm_fake_inject_nth(p->host);
	again(r, gm_core_init());
	again(r, gm_as_create(NULL, &r->u.as));
	plug(r, 0);
	plug(r, 1);
	inject_sim(r, p);
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		again(r, gm_sim_attach(r->u.sim[i], r->u.as, &r->u.ctx[i]));
}

static void map_all(struct run *r)
{
	void *addr;

	again(r, gm_alloc(r->u.as, 3 * BLOCK, 0, &addr));
	r->a = (uintptr_t)addr;
	again(r, gm_object_create(BLOCK + 9 * PAGE, 0, &r->obj));
	r->b = AT;
	addr = P(r->b);
	again(r, gm_as_map(r->u.as, r->obj, 0, BLOCK + 9 * PAGE, GM_READ | GM_WRITE, GM_MAP_FIXED,
			   &addr));
	again(r, gm_as_map(r->u.as, r->obj, 5 * PAGE, 60 * PAGE, GM_READ, 0, &addr));
	r->c = (uintptr_t)addr;
}

/* Data goes round: host, device, other device, evicted, prefetched, copied, home. */
static void use(struct run *r)
{
	struct gm_as *as = r->u.as;
	int node = unit_node(&r->u, 0);
	void *late;

	store(r, CPU, r->a, 3 * BLOCK, 1);
	store(r, CPU, r->b, 50 * PAGE, 2);
	load(r, 0, r->a + 10 * PAGE, 3 * PAGE, 1, r->a + 10 * PAGE);
	load(r, 0, r->b + 300 * PAGE, 2 * PAGE, 0, 0);
	store(r, 0, r->b + 20 * PAGE, 40 * PAGE, 3);
	load(r, CPU, r->c + 15 * PAGE, 40 * PAGE, 3, r->b + 20 * PAGE);
	load(r, 1, r->b + 20 * PAGE, 40 * PAGE, 3, r->b + 20 * PAGE);
	store(r, 0, r->b + 25 * PAGE, 2 * PAGE, 4);
	load(r, 1, r->c, 15 * PAGE, 2, r->b + 5 * PAGE);

	again(r, gm_advise(as, node, r->a, BLOCK, GM_PREFETCH));
	again(r, gm_advise(as, node, r->a + 3 * PAGE, 4 * PAGE, GM_PIN));
	again(r, gm_advise(as, node, r->a + BLOCK, BLOCK, GM_PREFETCH)); /* evicts */
	load(r, 0, r->a + 2 * BLOCK, 20 * PAGE, 1, r->a + 2 * BLOCK);
	gm_fake_run_work();
	again(r, gm_advise(as, 0, r->a, BLOCK, GM_COLD));
	again(r, gm_advise(as, 0, r->a + BLOCK, BLOCK, GM_WILLNEED));
	again(r, gm_advise(as, 0, r->a, 3 * BLOCK, GM_UNPIN));
	store(r, 0, r->a + 2 * BLOCK, 100 * PAGE, 5);
	gm_retain_trim(BLOCK / 2);
	gm_memory_low();

	again(r, gm_copy(GM_NODE_NONE, as, r->b + 100 * PAGE, as, r->a + 50 * PAGE, 30 * PAGE));
	again(r,
	      gm_copy(unit_node(&r->u, 1), as, r->b + 140 * PAGE, as, r->a + 60 * PAGE, 9 * PAGE));
	load(r, 0, r->b + 100 * PAGE, 30 * PAGE, 1, r->a + 50 * PAGE);
	load(r, CPU, r->b + 140 * PAGE, 9 * PAGE, 1, r->a + 60 * PAGE);

	again(r, gm_as_map(as, r->obj, 0, 9 * PAGE, GM_READ | GM_WRITE, 0, &late));
	store(r, 1, (uintptr_t)late + PAGE, PAGE, 6);
	load(r, CPU, r->b + PAGE, PAGE, 6, (uintptr_t)late + PAGE);
	again(r, gm_as_unmap(as, late, 9 * PAGE));
}

/* Part of a mapping changes; what is next to it does not. */
static void change(struct run *r)
{
	struct gm_as *as = r->u.as;
	uint64_t value = 0;

	again(r, gm_advise(as, unit_node(&r->u, 0), r->a, BLOCK, GM_PREFETCH));
	again(r, gm_as_protect(as, P(r->a + 100 * PAGE), 20 * PAGE, GM_READ));
	assert_int_equal(unit_access(&r->u, CPU, r->a + 110 * PAGE, &value, 8, GM_WRITE), -EACCES);
	load(r, 0, r->a + 90 * PAGE, 40 * PAGE, 1, r->a + 90 * PAGE);
	again(r, gm_as_protect(as, P(r->a + 100 * PAGE), 20 * PAGE, GM_READ | GM_WRITE));
	store(r, 0, r->a + 118 * PAGE, 4 * PAGE, 7);
	again(r, gm_advise(as, 0, r->a + 200 * PAGE, 10 * PAGE, GM_DONTNEED));
	load(r, 0, r->a + 200 * PAGE, 10 * PAGE, 0, 0);
	load(r, CPU, r->a + 205 * PAGE, 4 * PAGE, 0, 0);
	again(r, gm_as_unmap(as, P(r->a + 300 * PAGE), 50 * PAGE));
	load(r, 1, r->a + 295 * PAGE, 5 * PAGE, 1, r->a + 295 * PAGE);
	load(r, 0, r->a + 350 * PAGE, 5 * PAGE, 1, r->a + 350 * PAGE);
	again(r, gm_advise(as, GM_NODE_HOST, r->a + 350 * PAGE, 162 * PAGE, GM_PREFETCH));
	again(r, gm_sim_detach(r->u.ctx[1]));
	load(r, CPU, r->a + 118 * PAGE, 4 * PAGE, 7, r->a + 118 * PAGE);
	unit_check();
}

static void leave(struct run *r)
{
	again(r, gm_as_unmap(r->u.as, P(r->c), 60 * PAGE));
	gm_object_put(r->obj);
	again(r, gm_as_destroy(r->u.as));
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		again(r, gm_sim_destroy(r->u.sim[i]));
	gm_core_exit();
	assert_true(gm_fake_check_clean());
}

static unsigned int scenario(const struct plan *p)
{
	struct run r = { .failed = 0 };

	setup(&r, p);
	map_all(&r);
	use(&r);
	change(&r);
	leave(&r);
	return r.failed;
}

/* ----------------------------------------------------------------- the tests */

static void undisturbed(void **state)
{
	const struct plan none = { .host = 0 };

	(void)state;
	assert_int_equal(scenario(&none), 0);
	assert_int_equal(gm_fake_injected(), 0);
}

static void every_call_of_the_host(void **state)
{
	struct plan p = { .host = 0 };
	unsigned int failed = 0;

	(void)state;
	do {
		p.host++;
		failed += scenario(&p);
	} while (gm_fake_injected());
	print_message("%llu calls, %u failed operations\n", (unsigned long long)p.host - 1, failed);
	assert_true(p.host > 100);
	assert_true(failed > 50);
}

/* Of the device's operations there is no count: the first run that nothing fails in was the last. */
static void every_call_of_the_device(void **state)
{
	(void)state;
	for (unsigned int dev = 0; dev < UNIT_DEVS; dev++) {
		for (unsigned int op = 0; op < GM_SIM_NR_OPS; op++) {
			struct plan p = { .sim = true, .dev = dev, .op = (enum gm_sim_op)op };
			unsigned int failed = 0, quiet = 0;

			/* Many failures are made good inside, so a few quiet runs say nothing. */
			for (; quiet < 60; p.skip++) {
				unsigned int n = scenario(&p);

				failed += n;
				quiet = n ? 0 : quiet + 1;
			}
			print_message("device %u operation %u: %u runs, %u failed operations\n",
				      dev, op, p.skip, failed);
			/* Without the new protection, or the accessed bits, it does too. */
			if (op != GM_SIM_PMAP_PROTECT && op != GM_SIM_PMAP_AGE)
				assert_true(failed > 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(undisturbed),
		cmocka_unit_test(every_call_of_the_host),
		cmocka_unit_test(every_call_of_the_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
