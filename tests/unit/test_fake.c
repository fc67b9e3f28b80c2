// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The fake host itself: what it promises tests, and what it finds. */
#include "unit.h"

#include "core/core.h"

/* ------------------------------------------------------------------- memory */

static void alloc_is_counted(void **state)
{
	struct gm_fake_usage before, u;
	uint8_t *p;

	(void)state;
	gm_fake_usage(&before);
	p = gm_os_alloc(1000);
	assert_int_equal((uintptr_t)p % PAGE, 0);
	for (unsigned int i = 0; i < 1000; i++)
		assert_int_equal(p[i], 0);
	gm_fake_usage(&u);
	assert_int_equal(u.bytes, before.bytes + 1000);
	gm_os_free(p, 1000);
	gm_fake_usage(&u);
	assert_int_equal(u.bytes, before.bytes);
}

static void free_wrong_size(void *arg)
{
	(void)arg;
	gm_os_free(gm_os_alloc(64), 72);
}

static void overrun(void *arg)
{
	volatile char *p = gm_os_alloc(64);

	(void)arg;
	p[64] = 1;
	gm_os_free((void *)p, 64);
}

static void alloc_under_spin(void *arg)
{
	struct gm_os_spin s;

	(void)arg;
	gm_os_spin_init(&s);
	gm_os_spin_lock(&s);
	gm_os_alloc(64);
}

static void memory_bugs(void **state)
{
	(void)state;
	unit_expect_bug(free_wrong_size, NULL, "mark");
	unit_expect_bug(overrun, NULL, "mark");
	unit_expect_bug(alloc_under_spin, NULL, "alloc");
}

/* -------------------------------------------------------------------- locks */

static void lock_twice(void *arg)
{
	struct gm_os_mutex m;

	(void)arg;
	gm_os_mutex_init(&m);
	gm_os_mutex_lock(&m);
	gm_os_mutex_lock(&m);
}

static void unlock_unlocked(void *arg)
{
	struct gm_os_mutex m;

	(void)arg;
	gm_os_mutex_init(&m);
	gm_os_mutex_unlock(&m);
}

static void lock_unmade(void *arg)
{
	struct gm_os_mutex m;

	(void)arg;
	memset(&m, 0, sizeof(m));
	gm_os_mutex_lock(&m);
}

static void lock_copied(void *arg)
{
	struct gm_os_spin a, b;

	(void)arg;
	gm_os_spin_init(&a);
	b = a;
	gm_os_spin_lock(&b);
}

static void readers_nest(void *arg)
{
	struct gm_os_rwlock l;

	(void)arg;
	gm_os_rwlock_init(&l);
	gm_os_rwlock_rdlock(&l);
	gm_os_rwlock_rdlock(&l);
}

static void destroy_held(void *arg)
{
	struct gm_os_rwlock l;

	(void)arg;
	gm_os_rwlock_init(&l);
	gm_os_rwlock_wrlock(&l);
	gm_os_rwlock_destroy(&l);
}

static void mutex_under_spin(void *arg)
{
	struct gm_os_spin s;
	struct gm_os_mutex m;

	(void)arg;
	gm_os_spin_init(&s);
	gm_os_mutex_init(&m);
	gm_os_spin_lock(&s);
	gm_os_mutex_lock(&m);
}

static void lock_bugs(void **state)
{
	(void)state;
	unit_expect_bug(lock_twice, NULL, "taken twice");
	unit_expect_bug(unlock_unlocked, NULL, "does not hold");
	unit_expect_bug(lock_unmade, NULL, "not initialised");
	unit_expect_bug(lock_copied, NULL, "not initialised");
	unit_expect_bug(readers_nest, NULL, "taken twice");
	unit_expect_bug(destroy_held, NULL, "destroyed while");
	unit_expect_bug(mutex_under_spin, NULL, "mutex_lock");
}

static void locks_are_counted(void **state)
{
	struct gm_fake_usage before, u;
	struct gm_os_mutex m;

	(void)state;
	gm_fake_usage(&before);
	gm_os_mutex_init(&m);
	assert_true(gm_os_mutex_trylock(&m));
	assert_false(gm_os_mutex_trylock(&m));
	gm_os_mutex_unlock(&m);
	gm_fake_inject(GM_FAKE_TRYLOCK, 0, 1, -EBUSY);
	assert_false(gm_os_mutex_trylock(&m));
	gm_fake_usage(&u);
	assert_int_equal(u.locks, before.locks + 1);
	gm_os_mutex_destroy(&m);
	gm_fake_usage(&u);
	assert_int_equal(u.locks, before.locks);
}

struct events {
	unsigned int picked, unlocked, let_go;
};

static void on_lock(enum gm_fake_event event, void *arg)
{
	struct events *e = arg;

	e->picked += event == GM_FAKE_PICKED;
	e->unlocked += event == GM_FAKE_UNLOCKED;
	e->let_go += event == GM_FAKE_LET_GO;
}

static void locks_are_told_of(void **state)
{
	struct events e = { .picked = 0 };
	struct gm_os_mutex a, b;
	struct gm_os_spin s;
	uint64_t calls;

	(void)state;
	gm_os_mutex_init(&a);
	gm_os_mutex_init(&b);
	gm_os_spin_init(&s);
	calls = gm_fake_lock_calls();
	gm_fake_on_lock(on_lock, &e);
	gm_os_mutex_lock(&a);
	gm_os_spin_lock(&s);
	assert_true(gm_os_mutex_trylock(&b));
	assert_false(gm_os_mutex_trylock(&a));
	assert_int_equal(e.picked, 1);
	assert_int_equal(gm_fake_locks_held(), 3);
	gm_os_spin_unlock(&s);
	gm_os_mutex_unlock(&b);
	assert_int_equal(e.unlocked, 1);
	assert_int_equal(e.let_go, 0);
	gm_os_mutex_unlock(&a);
	assert_true(gm_os_mutex_trylock(&a)); /* no victim */
	gm_os_mutex_unlock(&a);
	gm_fake_on_lock(NULL, NULL);
	assert_int_equal(e.picked, 1);
	assert_int_equal(e.unlocked, 3);
	assert_int_equal(e.let_go, 2);
	assert_int_equal(gm_fake_locks_held(), 0);
	assert_int_equal(gm_fake_lock_calls() - calls, 9);
	gm_os_spin_destroy(&s);
	gm_os_mutex_destroy(&b);
	gm_os_mutex_destroy(&a);
}

/* ------------------------------------------------------------- time and work */

static void yield_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		gm_os_yield(0);
}

static void wait_alone(void *arg)
{
	uint32_t word = 7;

	(void)arg;
	gm_os_wait(&word, 7);
}

static void waiting(void **state)
{
	uint32_t word = 7;
	uint64_t now;

	(void)state;
	gm_os_wait(&word, 6); /* returns */
	unit_expect_bug(wait_alone, NULL, "no other thread");
	unit_expect_bug(yield_for_ever, NULL, "endless retry");
	for (unsigned int i = 0; i < 3000000; i++) {
		if (i % 1000000 == 0)
			gm_fake_step();
		gm_os_yield(0);
	}
	now = gm_os_now_ns();
	assert_int_equal(gm_os_now_ns(), now + 1000);
}

struct counting {
	struct gm_os_work work;
	unsigned int runs, again;
};

static void count_run(struct gm_os_work *work)
{
	struct counting *c = (struct counting *)work;

	c->runs++;
	if (c->again) {
		c->again--;
		gm_os_work_schedule(work);
	}
}

static void work_runs_when_told(void **state)
{
	struct counting a = { .work.fn = count_run, .again = 2 }, b = { .work.fn = count_run };

	(void)state;
	gm_os_work_schedule(&a.work);
	gm_os_work_schedule(&a.work);
	gm_os_work_schedule(&b.work);
	assert_int_equal(a.runs, 0);
	gm_os_work_cancel(&b.work);
	assert_int_equal(gm_fake_run_work(), 1);
	assert_int_equal(gm_fake_run_work(), 1);
	assert_int_equal(gm_fake_run_work(), 1);
	assert_int_equal(gm_fake_run_work(), 0);
	assert_int_equal(a.runs, 3);
	assert_int_equal(b.runs, 0);
}

/* ------------------------------------------------------------------ backing */

static struct gm_object *object(uint64_t pages)
{
	struct gm_object *obj;

	assert_int_equal(gm_object_create(pages * PAGE, 0, &obj), 0);
	return obj;
}

static void backing_exists_page_by_page(void **state)
{
	struct gm_object *obj = object(8);
	uint64_t bus, got;
	bool present;

	(void)state;
	assert_int_equal(gm_os_backing_run(obj, 0, 8 * PAGE, &present), 8 * PAGE);
	assert_false(present);
	assert_int_equal(gm_os_backing_get(obj, 2 * PAGE, 3 * PAGE, false, &bus, &got), 0);
	assert_int_equal(got, 3 * PAGE);
	for (uint64_t i = 0; i < got; i++)
		assert_int_equal(((uint8_t *)(uintptr_t)bus)[i], 0);
	gm_os_backing_put(obj, 2 * PAGE, got);
	assert_int_equal(gm_os_backing_run(obj, 0, 8 * PAGE, &present), 2 * PAGE);
	assert_false(present);
	assert_int_equal(gm_os_backing_run(obj, 2 * PAGE, 6 * PAGE, &present), 3 * PAGE);
	assert_true(present);
	assert_int_equal(gm_os_backing_write(obj, 3 * PAGE - 2, "abcd", 4), 0);
	assert_memory_equal((void *)(uintptr_t)(bus + PAGE - 2), "abcd", 4);
	gm_os_backing_free(obj, 2 * PAGE, PAGE);
	assert_int_equal(((uint8_t *)(uintptr_t)bus)[17], 0xDD); /* stale bytes are seen */
	gm_fake_set_max_run(2 * PAGE);
	assert_int_equal(gm_os_backing_get(obj, 0, 8 * PAGE, false, &bus, &got), 0);
	assert_int_equal(got, 2 * PAGE);
	gm_os_backing_put(obj, 0, got);
	gm_object_put(obj);
}

static void put_unpaired(void *arg)
{
	uint64_t bus, got;

	gm_os_backing_get(arg, 0, PAGE, false, &bus, &got);
	gm_os_backing_put(arg, 0, PAGE);
	gm_os_backing_put(arg, 0, PAGE);
}

static void free_in_use(void *arg)
{
	uint64_t bus, got;

	gm_os_backing_get(arg, 0, PAGE, false, &bus, &got);
	gm_os_backing_free(arg, 0, PAGE);
}

static void read_absent(void *arg)
{
	char c;

	gm_os_backing_read(arg, PAGE, &c, 1);
}

static void get_outside(void *arg)
{
	uint64_t bus, got;

	gm_os_backing_get(arg, 7 * PAGE, 2 * PAGE, false, &bus, &got);
}

static void backing_bugs(void **state)
{
	struct gm_object *obj = object(8);

	(void)state;
	unit_expect_bug(put_unpaired, obj, "paired");
	unit_expect_bug(free_in_use, obj, "in_use");
	unit_expect_bug(read_absent, obj, "all_exist");
	unit_expect_bug(get_outside, obj, "size");
	gm_object_put(obj);
}

static void free_part_of_huge(void *arg)
{
	gm_os_backing_free(arg, 0, PAGE);
}

static void huge_pages_are_whole(void **state)
{
	struct gm_object *obj;
	uint64_t bus, got;
	bool present;

	(void)state;
	assert_int_equal(gm_object_create(2 * BLOCK, GM_OBJECT_HUGETLB, &obj), 0);
	assert_int_equal(gm_os_backing_granule(obj), BLOCK);
	assert_int_equal(gm_os_backing_get(obj, 7 * PAGE, PAGE, false, &bus, &got), 0);
	assert_int_equal(got, PAGE);
	gm_os_backing_put(obj, 7 * PAGE, PAGE);
	assert_int_equal(gm_os_backing_run(obj, 0, 2 * BLOCK, &present), BLOCK);
	assert_true(present);
	unit_expect_bug(free_part_of_huge, obj, "to");
	gm_object_put(obj);
}

/* ------------------------------------------------------------------ the CPU */

static struct gm_region *region_at(struct unit *u, uint64_t va)
{
	return gm_region_find(u->as, va);
}

static void cpu_fills_disarmed_pages(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * PAGE);

	assert_int_equal(gm_fake_page(u->as, va), 0);
	assert_int_equal(unit_load(u, CPU, va + PAGE), 0);
	assert_int_equal(gm_fake_page(u->as, va + PAGE), GM_FAKE_PRESENT | GM_FAKE_MAPPED);
	unit_store(u, CPU, va + 2 * PAGE - 4, 0x1122334455667788ULL); /* across a page */
	assert_int_equal(unit_load(u, CPU, va + 2 * PAGE - 4), 0x1122334455667788ULL);
	assert_int_equal(gm_fake_page(u->as, va + 2 * PAGE), GM_FAKE_PRESENT | GM_FAKE_MAPPED);
	assert_int_equal(gm_fake_page(u->as, va + 3 * PAGE), 0);
	assert_int_equal(gm_fake_cpu_faults(), 0);
}

static void cpu_faults_on_armed_pages(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * PAGE);
	struct gm_region *r = region_at(u, va);

	unit_store(u, CPU, va, 42);
	assert_int_equal(gm_os_cpu_arm(r, va, 2 * PAGE), 0);
	assert_int_equal(unit_load(u, CPU, va), 42); /* what is mapped stays mapped */
	assert_int_equal(gm_fake_cpu_faults(), 0);
	assert_int_equal(gm_os_cpu_revoke(r, va, 2 * PAGE), 0);
	assert_int_equal(gm_fake_page(u->as, va), GM_FAKE_PRESENT | GM_FAKE_ARMED);
	assert_int_equal(unit_load(u, CPU, va), 42);
	assert_int_equal(gm_fake_cpu_faults(), 1);
}

static void cpu_respects_protection(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * PAGE), value = 1;

	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)(va + PAGE), PAGE, GM_READ), 0);
	assert_int_equal(gm_fake_cpu_access(u->as, va + PAGE, &value, 8, GM_WRITE), -EACCES);
	assert_int_equal(gm_fake_cpu_access(u->as, va + PAGE, &value, 8, GM_READ), 0);
	assert_int_equal(gm_fake_cpu_access(u->as, va + 8 * PAGE, &value, 8, GM_READ), -EFAULT);
	/* What comes before the page that fails is done. */
	value = 5;
	assert_int_equal(gm_fake_cpu_access(u->as, va + PAGE - 4, &value, 8, GM_WRITE), -EACCES);
	assert_int_equal(unit_load(u, CPU, va + PAGE - 8), 5ULL << 32);
}

static void revoke_disarmed(void *arg)
{
	struct unit *u = arg;
	uint64_t va = unit_alloc(u, PAGE);

	gm_os_cpu_revoke(region_at(u, va), va, PAGE);
}

static void map_absent(void *arg)
{
	struct unit *u = arg;
	uint64_t va = unit_alloc(u, PAGE);

	gm_os_cpu_map(region_at(u, va), va, PAGE);
}

static void cpu_bugs(void **state)
{
	unit_expect_bug(revoke_disarmed, *state, "armed");
	unit_expect_bug(map_absent, *state, "exist");
}

static void addresses_are_chosen(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = object(1024);
	void *addr;

	assert_int_equal(unit_alloc(u, BLOCK) % BLOCK, 0);
	unit_map_at(u->as, obj, 0, 10 * PAGE, 0x7000000000ULL);
	addr = (void *)0x7000009000ULL;
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE, GM_READ, GM_MAP_FIXED, &addr), -EEXIST);
	unit_unmap(u->as, 0x7000009000ULL, PAGE);
	unit_map_at(u->as, obj, 0, PAGE, 0x7000009000ULL);
	/* What somebody unmaps behind the core's back is free for the host. */
	assert_int_equal(unit_load(u, CPU, 0x7000001000ULL), 0);
	gm_fake_forget(u->as, 0x7000001000ULL, PAGE);
	assert_int_equal(gm_fake_page(u->as, 0x7000001000ULL), 0);
	assert_int_equal(gm_fake_page(u->as, 0x7000000000ULL), 0);
	unit_store(u, CPU, 0x7000002000ULL, 1);
	gm_object_put(obj);
}

/* ---------------------------------------------------------------- injection */

static void injection(void **state)
{
	uint64_t calls;

	(void)state;
	gm_fake_inject(GM_FAKE_ALLOC, 1, 2, -ENOMEM);
	for (unsigned int i = 0; i < 5; i++) {
		void *p = gm_os_alloc(16);

		assert_int_equal(!p, i == 1 || i == 2);
		gm_os_free(p, 16);
	}
	assert_int_equal(gm_fake_injected(), 2);
	calls = gm_fake_fallible_calls();
	gm_fake_inject_nth(2);
	for (unsigned int i = 0; i < 4; i++) {
		void *p = gm_os_alloc(16);

		assert_int_equal(!p, i == 1);
		gm_os_free(p, 16);
	}
	assert_int_equal(gm_fake_fallible_calls(), calls + 4);
}

static void leaks_are_found(void **state)
{
	struct gm_object *obj = object(4);

	(void)state;
	assert_false(gm_fake_check_clean());
	gm_object_put(obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(alloc_is_counted, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(memory_bugs, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(lock_bugs, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(locks_are_counted, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(locks_are_told_of, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(waiting, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(work_runs_when_told, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(backing_exists_page_by_page, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(backing_bugs, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(huge_pages_are_whole, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(cpu_fills_disarmed_pages, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(cpu_faults_on_armed_pages, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(cpu_respects_protection, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(cpu_bugs, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(addresses_are_chosen, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(injection, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(leaks_are_found, unit_setup_core, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
