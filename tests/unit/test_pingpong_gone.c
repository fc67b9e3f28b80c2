// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Pages that go back and forth between the CPU and a device that nobody has attached any more: when
 * the last of them comes home the device may be destroyed, while the fault is not over yet. A hook
 * of the fake host's locks lets another thread do that at once. There is one order of events.
 */
#include <pthread.h>

#include "unit.h"

#include "core/core.h"
#include "toy.h"

struct gone {
	struct toy toy;
	struct gm_as *as; /* without the device */
	struct gm_context *ctx;
	struct gm_object *obj;
	uint64_t dev_va, va; /* of the object, where the device is and where it is not */
	pthread_t self;
	bool destroyed;
	int err;
};

static struct gone *begin(struct unit *u)
{
	struct gm_as_options opt = { .size = sizeof(opt), .cpu_granule = PAGE };
	struct gone *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	gm_fake_set_threaded(true);
	g->self = pthread_self();
	toy_init(&g->toy, 1);
	assert_int_equal(toy_plug(&g->toy), 0);
	unit_tune(g->toy.dev, PAGE, true, true);
	assert_int_equal(gm_as_attach(u->as, g->toy.dev, GM_EXCLUSIVE, &g->ctx), 0);
	assert_int_equal(gm_object_create(BLOCK, 0, &g->obj), 0);
	g->dev_va = unit_map(u->as, g->obj, 0, BLOCK, GM_READ | GM_WRITE);
	assert_int_equal(gm_as_create(&opt, &g->as), 0);
	g->va = unit_map(g->as, g->obj, 0, BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, CPU, g->dev_va, BLOCK, 1);
	return g;
}

static void end(struct gone *g)
{
	gm_object_put(g->obj);
	assert_int_equal(gm_as_destroy(g->as), 0);
	gm_fake_set_threaded(false);
	free(g);
}

static void from_cpu(struct gone *g)
{
	uint64_t value;

	assert_int_equal(gm_fake_cpu_access(g->as, g->va, &value, sizeof(value), GM_READ), 0);
}

static void from_dev(struct gone *g)
{
	assert_int_equal(gm_dev_fault(g->ctx, g->dev_va, GM_WRITE), 0);
}

/* The next time that the CPU takes the page it is noticed. */
static void almost(struct gone *g)
{
	from_dev(g);
	for (unsigned int i = 0; i < 2; i++) {
		from_cpu(g);
		from_dev(g);
	}
	assert_int_equal(unit_as_stats(g->as).thrashes, 0);
}

static void *unplug(void *arg)
{
	struct gone *g = arg;

	g->err = toy_unplug(&g->toy);
	return NULL;
}

/* As soon as it holds nothing. */
static void on_spun(enum gm_fake_event event, void *arg)
{
	struct gone *g = arg;

	if (event != GM_FAKE_SPUN || g->destroyed || !pthread_equal(pthread_self(), g->self) ||
	    g->toy.dev->hnode.blocks)
		return;
	g->destroyed = true;
	unit_in_thread(unplug, g);
}

static void gone_while_noticed(void **state)
{
	struct unit *u = *state;
	struct gone *g = begin(u);
	struct gm_event ev;
	int node = gm_dev_hnode(g->toy.dev);

	almost(g);
	unit_unmap(u->as, g->dev_va, BLOCK);
	assert_int_equal(gm_as_detach(g->ctx), 0);
	unit_on(g->as, g->va, PAGE, node);
	gm_fake_trace(1U << GM_EVENT_THRASH);
	gm_fake_on_lock(on_spun, g);
	from_cpu(g);
	gm_fake_on_lock(NULL, NULL);
	assert_true(g->destroyed);
	assert_int_equal(g->err, 0);
	assert_int_equal(unit_as_stats(g->as).thrashes, 1);
	assert_int_equal(gm_fake_events(&ev, 1), 1);
	assert_int_equal(ev.from, node);
	assert_int_equal(ev.to, GM_NODE_HOST);
	assert_int_equal(ev.n, 3);
	gm_fake_trace(0);
	unit_peek(g->as, g->va, BLOCK, 1);
	end(g);
}

/* A device that is attached to another address space only is not told. */
static void counted_where_attached(void **state)
{
	struct unit *u = *state;
	struct gone *g = begin(u);

	almost(g);
	from_cpu(g);
	assert_int_equal(unit_as_stats(g->as).thrashes, 1);
	assert_int_equal(unit_dev_stats(g->toy.dev).thrashes, 0);
	unit_unmap(u->as, g->dev_va, BLOCK);
	assert_int_equal(gm_as_detach(g->ctx), 0);
	assert_int_equal(toy_unplug(&g->toy), 0);
	end(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(gone_while_noticed, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(counted_where_attached, unit_setup_as,
						unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
