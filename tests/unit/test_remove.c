// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A device that goes, whoever uses it: what it has comes home, what it cannot hand over is
 * lost and says so, and nothing else is.
 */
#include <pthread.h>
#include <sched.h>

#include "core/core.h"

#include "unit.h"

#include "toy.h"

static void remove_it(struct unit *u, unsigned int i)
{
	assert_int_equal(gm_sim_unplug(u->sim[i]), 0);
}

/* Nothing works on it, or by it, but to leave. */
static void is_gone(struct unit *u, unsigned int i, uint64_t va)
{
	struct gm_hnode_info info = unit_hnode(unit_node(u, i));
	struct gm_context *again;
	uint64_t value, base = (i + 9ULL) << 32;

	assert_int_equal(info.free, info.total);
	assert_int_equal(info.blocks, 0);
	assert_int_equal(info.pinned, 0);
	if (u->ctx[i]) {
		assert_int_equal(unit_access(u, (int)i, va, &value, 8, GM_READ), -ENODEV);
		assert_int_equal(unit_access(u, (int)i, va, &value, 8, GM_WRITE), -ENODEV);
	}
	assert_int_equal(gm_advise(u->as, unit_node(u, i), va, PAGE, GM_PREFETCH), -ENODEV);
	assert_int_equal(gm_advise(u->as, unit_node(u, i), va, PAGE, GM_PIN), -ENODEV);
	assert_int_equal(gm_as_attach(u->as, unit_dev(u, i), GM_EXCLUSIVE, &again),
			 u->ctx[i] ? -EBUSY : -ENODEV);
	assert_int_equal(gm_dev_register_physmem(unit_dev(u, i), base, base + BLOCK), -ENODEV);
	assert_int_equal(gm_sim_unplug(u->sim[i]), 0); /* once is enough */
	if (u->ctx[i])
		assert_int_equal(gm_sim_destroy(u->sim[i]), -EBUSY);
	unit_check();
}

/* The page is lost to the CPU and to device @who, and says so. */
static void is_lost(struct unit *u, int who, uint64_t va)
{
	struct gm_page_info info = unit_info(u->as, va);
	uint64_t value = 1;

	assert_int_equal(info.node, GM_NODE_NONE);
	assert_int_equal(info.flags, GM_PAGE_POISONED);
	assert_int_equal(gm_fake_page(u->as, va) & (GM_FAKE_PRESENT | GM_FAKE_MAPPED), 0);
	assert_int_equal(unit_access(u, CPU, va + 8, &value, 8, GM_READ), -EHWPOISON);
	assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_WRITE), -EHWPOISON);
	if (who >= 0)
		assert_int_equal(unit_access(u, who, va, &value, 8, GM_READ), -EHWPOISON);
}

/* ------------------------------------------------------------------- what it has comes home */

/* Dirty or clean, pinned or not, from wherever it is mapped; the page table need not be asked. */
static void comes_home(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 3 * BLOCK), freed = unit_alloc(u, BLOCK);
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t a = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	struct gm_sim_ctx *ctx;
	struct gm_as *other;
	uint64_t b, value;

	assert_int_equal(gm_as_create(NULL, &other), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], other, &ctx), 0);
	b = unit_map(other, obj, 0, BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, CPU, va, 3 * BLOCK, 1);
	unit_fill(u, 0, a, BLOCK, 2);
	assert_int_equal(gm_sim_access(ctx, (void *)(uintptr_t)b, &value, 8, GM_READ), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + BLOCK, 5 * PAGE, GM_PIN), 0);
	unit_fill(u, 0, va + 7 * PAGE, 20 * PAGE, 3);
	unit_verify(u, 1, va + 2 * BLOCK, 9 * PAGE, 1);
	/* The MMU is dead, the copy engine is not. */
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, UINT32_MAX, -ENODEV);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_PROTECT, 0, UINT32_MAX, -ENODEV);
	gm_sim_inject(u->sim[0], GM_SIM_TLB_INVL, 0, UINT32_MAX, -ENODEV);
	remove_it(u, 0);
	unit_on(u->as, va, 2 * BLOCK, GM_NODE_HOST);
	unit_on(u->as, va + 2 * BLOCK, 9 * PAGE, unit_node(u, 1)); /* not its own */
	unit_on(u->as, a, BLOCK, GM_NODE_HOST);
	assert_int_equal(unit_info(u->as, va + BLOCK).flags, GM_PAGE_PINNED);
	is_gone(u, 0, va);

	unit_verify(u, CPU, va, 7 * PAGE, 1);
	unit_verify(u, CPU, va + 7 * PAGE, 20 * PAGE, 3);
	unit_verify(u, 1, va + 27 * PAGE, 3 * BLOCK - 27 * PAGE, 1);
	unit_verify(u, CPU, a, BLOCK, 2);
	assert_int_equal(gm_fake_cpu_access(other, b, &value, 8, GM_READ), 0);

	/* Its address spaces are used as ever: changed, cut, and destroyed. */
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)(va + PAGE), BLOCK, GM_READ), 0);
	assert_int_equal(
		gm_as_protect(u->as, (void *)(uintptr_t)(va + PAGE), BLOCK, GM_READ | GM_WRITE), 0);
	unit_unmap(u->as, va + 5 * PAGE, 9 * PAGE);
	unit_fill(u, 1, va + BLOCK, BLOCK, 4);
	unit_unmap(u->as, freed, BLOCK);
	assert_int_equal(gm_as_destroy(other), 0);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	u->ctx[0] = NULL;
	is_gone(u, 0, va);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	u->sim[0] = NULL;
	unit_verify(u, CPU, va + BLOCK, BLOCK, 4);
	gm_object_put(obj);
}

/* The contexts go with their address space; huge pages of the host's; a device with nothing. */
static void destroyed(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj;
	uint64_t va;
	void *addr = NULL;

	assert_int_equal(gm_object_create(BLOCK, GM_OBJECT_HUGETLB, &obj), 0);
	assert_int_equal(gm_as_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE, 0, &addr), 0);
	va = (uint64_t)(uintptr_t)addr;
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, UINT32_MAX, -EIO);
	remove_it(u, 0);
	remove_it(u, 1);
	is_gone(u, 0, va);
	is_gone(u, 1, va);
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_as_destroy(u->as), 0);
	u->as = NULL;
	gm_object_put(obj);
}

/* A context that maps host memory in place: its mappings are left, and nobody minds. */
static void in_place(void **state)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = BLOCK,
				      .base = 9ULL << 32,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK |
					       GM_SIM_IN_PLACE };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;

	assert_int_equal(gm_sim_create(&opt, &u->sim[0]), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 0, va, BLOCK, 1);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_advise(u->as, 0, va, PAGE, GM_DONTNEED), -EIO);
	remove_it(u, 0);
	assert_int_equal(unit_access(u, 0, va + PAGE, &value, 8, GM_READ), -ENODEV);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, PAGE, GM_PREFETCH), -ENODEV);
	assert_int_equal(gm_advise(u->as, 0, va, PAGE, GM_DONTNEED), 0);
	unit_verify(u, CPU, va, PAGE, 0);
	unit_verify(u, CPU, va + PAGE, BLOCK - PAGE, 1);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0); /* mirrored */
}

/* --------------------------------------------------------------------- what it cannot give */

/* The copy engine is dead, one way or the other: what the device has is lost, all else is there. */
static void engine_dead(struct unit *u, enum gm_sim_op op, int err, bool retain)
{
	uint64_t va = unit_alloc(u, 2 * BLOCK), value;
	static struct gm_event ev[600];
	unsigned int n;

	if (!retain)
		gm_retain_limit(0);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + PAGE, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + 9 * PAGE, PAGE, GM_PIN), 0);
	unit_fill(u, 0, va + PAGE, 4 * PAGE, 2);
	unit_fill(u, 1, va + BLOCK + 3 * PAGE, 3 * PAGE, 3);
	gm_sim_inject(u->sim[0], op, 0, UINT32_MAX, err);
	gm_fake_trace(1U << GM_EVENT_POISON);
	remove_it(u, 0);
	n = gm_fake_events(ev, 600);
	gm_fake_trace(0);
	assert_int_equal(n, 512);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(ev[i].why, GM_WHY_DRAIN);
		assert_int_equal(ev[i].pages, 1);
		assert_int_equal(ev[i].len, PAGE);
		assert_int_equal(ev[i].from, unit_node(u, 0));
		assert_int_equal(ev[i].err, 0);
		assert_non_null(ev[i].obj);
	}
	is_gone(u, 0, va);
	assert_int_equal(unit_hnode(unit_node(u, 0)).poisoned, 0); /* its memory is not to blame */
	assert_int_equal(gm_retained_bytes(), retain ? 3 * PAGE : 0);
	for (uint64_t off = PAGE; off < BLOCK + PAGE; off += PAGE)
		is_lost(u, 1, va + off);
	unit_verify(u, CPU, va, PAGE, 1);
	unit_verify(u, 1, va + BLOCK + PAGE, 2 * PAGE, 1);
	unit_verify(u, CPU, va + BLOCK + 3 * PAGE, 3 * PAGE, 3);
	unit_verify(u, CPU, va + BLOCK + 6 * PAGE, BLOCK - 6 * PAGE, 1);
	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uint64_t)(uintptr_t)&value, u->as,
				 va + 5 * PAGE, 8),
			 -EHWPOISON);
	/* Dropped, it is a page like any other. */
	assert_int_equal(gm_advise(u->as, 0, va, 2 * BLOCK, GM_DONTNEED), 0);
	unit_verify(u, 1, va, BLOCK, 0);
	unit_verify(u, CPU, va, 2 * BLOCK, 0);
}

static void refused(void **state)
{
	engine_dead(*state, GM_SIM_COPY_START, -ENODEV, true);
}

static void half_done(void **state)
{
	engine_dead(*state, GM_SIM_COPY_FENCE, -EIO, true);
}

static void nothing_kept(void **state)
{
	engine_dead(*state, GM_SIM_COPY_FENCE, -EIO, false);
}

/* Some of its memory cannot be read: that is lost, and found with few copies. */
static void holes(void **state)
{
	static const struct {
		unsigned int first, n, copies;
	} hole[] = { { 0, 1, 10 + 9 },
		     { 511, 1, 1 + 2 * 9 },
		     { 77, 1, 1 + 2 * 9 },
		     { 200, 48, 200 },
		     { 0, 512, 1023 } };
	struct unit *u = *state;

	for (unsigned int i = 0; i < sizeof(hole) / sizeof(hole[0]); i++) {
		uint64_t va = unit_alloc(u, BLOCK), lost = va + hole[i].first * PAGE;
		uint64_t len = hole[i].n * PAGE;
		struct gm_context *ctx;
		struct toy toy;

		toy_init(&toy, 2);
		assert_int_equal(toy_plug(&toy), 0);
		assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
		unit_fill(u, CPU, va, BLOCK, 1);
		assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, BLOCK, GM_PREFETCH),
				 0);
		toy.bad = toy_find(ctx, va)->pa + hole[i].first * PAGE;
		toy.bad_end = toy.bad + len;
		toy.copies = 0;
		assert_int_equal(gm_dev_remove(toy.dev), 0);
		toy.removed = true;
		assert_true(toy.copies <= hole[i].copies);
		for (uint64_t off = 0; off < len; off += PAGE)
			is_lost(u, -1, lost + off);
		if (lost > va)
			unit_verify(u, CPU, va, lost - va, 1);
		if (lost + len < va + BLOCK)
			unit_verify(u, CPU, lost + len, va + BLOCK - lost - len, 1);
		unit_check();
		assert_int_equal(gm_dev_fault(ctx, va, GM_READ), -ENODEV);
		unit_unmap(u->as, va, BLOCK);
		assert_int_equal(gm_as_detach(ctx), 0);
		assert_int_equal(toy_unplug(&toy), 0);
	}
}

/* Of huge pages of the host's one that is lost takes the CPU's view of the rest with it. */
static void huge(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	uint64_t va, value;
	void *addr = NULL;
	struct toy toy;

	assert_int_equal(gm_alloc(u->as, BLOCK, GM_OBJECT_HUGETLB, &addr), 0);
	va = (uint64_t)(uintptr_t)addr;
	toy_init(&toy, 2);
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, BLOCK, GM_PREFETCH), 0);
	toy.bad = toy_find(ctx, va)->pa + 5 * PAGE;
	toy.bad_end = toy.bad + 8;
	assert_int_equal(gm_dev_remove(toy.dev), 0);
	toy.removed = true;
	assert_int_equal(unit_info(u->as, va + 5 * PAGE).flags, GM_PAGE_POISONED);
	assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_READ), -EHWPOISON);
	unit_verify(u, 0, va, 5 * PAGE, 1); /* a device sees the rest */
	unit_verify(u, 0, va + 6 * PAGE, BLOCK - 6 * PAGE, 1);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* ------------------------------------------------------------------------------- not its fault */

/* Whatever the host cannot do at the moment: nothing is lost, and the removal goes on when it can. */
static void host_fails(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	unsigned int failed = 0;
	int err;

	gm_retain_limit(40 * PAGE);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + PAGE, BLOCK, GM_PREFETCH), 0);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 3, -ENOMEM);
	for (unsigned int i = 0; i < 3; i++) { /* the driver has no memory just now */
		assert_int_equal(gm_sim_unplug(u->sim[0]), -ENOMEM);
		unit_check();
	}
	gm_fake_inject(GM_FAKE_BACKING_GET, 1, 1, -ENOMEM);
	assert_int_equal(gm_sim_unplug(u->sim[0]), -ENOMEM);
	do {
		gm_fake_inject_nth(++failed % 8);
		err = gm_sim_unplug(u->sim[0]);
		unit_check();
	} while (err && failed < 100);
	gm_fake_inject_clear();
	assert_int_equal(err, 0);
	is_gone(u, 0, va);
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
}

/* While some is still there: no context leaves, the device does not, nor does anything come in. */
static void not_yet(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;
	struct gm_sim_ctx *ctx = u->ctx[0];

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 40 * PAGE, GM_PREFETCH), 0);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -ENOMEM);
	assert_int_equal(gm_sim_unplug(u->sim[0]), -ENOMEM);
	unit_on(u->as, va, 40 * PAGE, unit_node(u, 0));
	assert_int_equal(unit_access(u, 0, va, &value, 8, GM_READ), -ENODEV);
	assert_int_equal(unit_access(u, 0, va + 50 * PAGE, &value, 8, GM_READ), -ENODEV);
	assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_READ), -ENOMEM);
	assert_int_equal(gm_sim_detach(ctx), -ENOMEM);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 0, 0);
	unit_verify(u, CPU, va, PAGE, 1);
	assert_int_equal(gm_sim_detach(ctx), 0); /* brings home what there is */
	u->ctx[0] = NULL;
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	u->sim[0] = NULL;
	unit_verify(u, CPU, va, BLOCK, 1);
}

/* The device's bytes outlive its last context; gm_dev_destroy() saves what it can as well. */
static void destroy_saves(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);

	unit_fill(u, 0, va, 4 * PAGE, 1);
	unit_unmap(u->as, va, BLOCK);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	u->ctx[0] = NULL;
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -ENOMEM);
	assert_int_equal(gm_sim_unplug(u->sim[0]), -ENOMEM);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -ENOMEM);
	assert_int_equal(gm_sim_destroy(u->sim[0]), -ENOMEM);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	u->sim[0] = NULL;
	va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	for (unsigned int i = 0; i < 4; i++)
		is_lost(u, 1, va + i * PAGE);
	unit_verify(u, CPU, va + 4 * PAGE, BLOCK - 4 * PAGE, 0);
	gm_object_put(obj);
}

static void bad_calls(void **state)
{
	struct gm_charge *limit;
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, PAGE), pfn;
	struct gm_dev *dev = unit_dev(u, 0);

	assert_int_equal(gm_dev_remove(NULL), -EINVAL);
	assert_int_equal(gm_sim_unplug(NULL), -EINVAL);
	gm_fake_set_usable(-EPERM);
	assert_int_equal(gm_dev_remove(dev), -EPERM);
	gm_fake_set_usable(0);
	unit_fill(u, 0, va, PAGE, 1); /* nothing has happened yet */
	/* A fault has taken frames for itself, and keeps them. */
	assert_true(gm_hnode_alloc(dev, NULL, 4, &pfn, &limit));
	assert_int_equal(gm_dev_remove(dev), -EBUSY);
	unit_verify(u, CPU, va, PAGE, 1);
	gm_hnode_free(dev, NULL, pfn, 16);
	assert_int_equal(gm_dev_remove(dev), 0);
	/* Its memory may still be said to have failed, or be taken back. */
	assert_int_equal(gm_dev_poison(dev, 1ULL << 32), 0);
	assert_int_equal(gm_dev_unregister_physmem(dev, 1ULL << 32, (1ULL << 32) + 4 * BLOCK), 0);
	assert_int_equal(gm_dev_remove(dev), 0);
}

/* ----------------------------------------------------------------------------------- apertures */

static int setup_aperture(void **state)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 2 * BLOCK,
				      .lanes = 1,
				      .flags = GM_SIM_CHECK | GM_SIM_SYNC_FAULTS |
					       GM_SIM_APERTURE };
	struct unit *u;

	unit_setup_as(state);
	u = *state;
	assert_int_equal(gm_sim_create(&opt, &u->sim[0]), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	return 0;
}

static const void *cpu_of(struct unit *u, uint64_t va)
{
	struct gm_lookup at = { .size = sizeof(at) };

	assert_int_equal(gm_as_lookup(u->as, va, &at), 0);
	assert_true(at.cpu != GM_NO_ADDRESS);
	return (const void *)(uintptr_t)at.cpu;
}

/* The CPU's mappings go too; what somebody holds keeps the removal waiting, not for ever. */
static void aperture(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	const void *held;

	unit_fill(u, 0, va, BLOCK, 1);
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_true(gm_fake_page(u->as, va) & GM_FAKE_APERTURE);
	held = cpu_of(u, va + 9 * PAGE);
	gm_fake_hold(held, true);
	assert_int_equal(gm_sim_unplug(u->sim[0]), -EBUSY);
	assert_int_equal(unit_info(u->as, va + 9 * PAGE).node, unit_node(u, 0));
	gm_fake_hold(held, false);
	gm_fake_inject(GM_FAKE_CPU_REVOKE, 0, 1, -ENOMEM);
	assert_int_equal(gm_sim_unplug(u->sim[0]), -ENOMEM);
	remove_it(u, 0);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(gm_fake_page(u->as, va) & GM_FAKE_APERTURE, 0);
	unit_verify(u, CPU, va, BLOCK, 1);
	is_gone(u, 0, va);
}

/* Its copy engine is dead: the CPU, which has had the bytes all along, must not go on having them. */
static void aperture_dead(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * PAGE);

	unit_fill(u, 0, va, 4 * PAGE, 1);
	unit_verify(u, CPU, va, 4 * PAGE, 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	remove_it(u, 0);
	for (unsigned int i = 0; i < 4; i++)
		is_lost(u, -1, va + i * PAGE);
	is_gone(u, 0, va);
}

/* ------------------------------------------------------------------------------ work in flight */

struct race {
	pthread_t thread;
	struct toy *victim; /* that is removed */
	bool started;
	int err, fail; /* of the removal; what the copy under way says */
};

static void *remove_victim(void *arg)
{
	struct race *r = arg;

	r->err = gm_dev_remove(r->victim->dev);
	return NULL;
}

/* The removal has begun, in another thread, and waits for the block that this one has locked. */
static int begin_removal(struct race *r)
{
	if (r->started)
		return 0;
	r->started = true;
	if (pthread_create(&r->thread, NULL, remove_victim, r))
		return -EAGAIN;
	while (!gm_dev_gone(r->victim->dev))
		sched_yield();
	return r->fail;
}

static void end_removal(struct race *r)
{
	assert_true(r->started);
	pthread_join(r->thread, NULL);
	assert_int_equal(r->err, 0);
	r->victim->removed = true;
}

static void plug(struct unit *u, struct toy *toy, struct gm_context **ctx)
{
	assert_int_equal(toy_plug(toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy->dev, GM_EXCLUSIVE, ctx), 0);
}

static void leave(struct toy *toy, struct gm_context *ctx)
{
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(toy), 0);
}

static int on_copy_in(struct toy *toy, enum gm_copy_dir dir)
{
	return dir == GM_TO_DEV ? begin_removal(toy->arg) : 0;
}

static int on_copy_out(struct toy *toy, enum gm_copy_dir dir)
{
	return dir == GM_TO_HOST ? begin_removal(toy->arg) : 0;
}

/* A fault brings a page to the device that goes meanwhile: it goes back, and the fault says so. */
static void during_fault(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	gm_fake_set_threaded(true);
	for (int fail = 0; fail < 2; fail++) {
		struct race r = { .fail = fail ? -EIO : 0 };
		struct gm_context *ctx;
		struct toy toy;

		toy_init(&toy, 2);
		toy.on_copy = on_copy_in;
		toy.arg = &r;
		r.victim = &toy;
		plug(u, &toy, &ctx);
		unit_fill(u, CPU, va, BLOCK, 1);
		assert_int_equal(gm_dev_fault(ctx, va + 5 * PAGE, GM_WRITE), -ENODEV);
		end_removal(&r);
		unit_on(u->as, va, BLOCK, GM_NODE_HOST);
		unit_verify(u, CPU, va, BLOCK, 1);
		leave(&toy, ctx);
	}
	gm_fake_set_threaded(false);
}

/* The CPU's fault, an eviction: who has the block brings it home, or leaves it to the removal. */
static void during_copy_home(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;

	gm_fake_set_threaded(true);
	for (int fail = 0; fail < 2; fail++) {
		struct race r = { .fail = fail ? -EIO : 0 };
		struct gm_context *ctx;
		struct toy toy;

		toy_init(&toy, 2);
		toy.on_copy = on_copy_out;
		toy.arg = &r;
		r.victim = &toy;
		plug(u, &toy, &ctx);
		unit_fill(u, CPU, va, BLOCK, 1);
		assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, BLOCK, GM_PREFETCH),
				 0);
		assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_READ), 0);
		end_removal(&r);
		unit_on(u->as, va, BLOCK, GM_NODE_HOST);
		unit_verify(u, CPU, va, BLOCK, 1);
		leave(&toy, ctx);
	}
	gm_fake_set_threaded(false);
}

/* From @peer's memory, which is a toy's as @dev's is. */
static int copy_peer(struct gm_dev *dev, struct gm_dev *peer, const struct gm_extent *ext,
		     unsigned int n, struct gm_fence *fence)
{
	struct toy *to = gm_dev_data(dev), *from = gm_dev_data(peer);
	int err = begin_removal(to->arg);

	if (err)
		return err;
	for (unsigned int i = 0; i < n; i++)
		memcpy(to->memory + (ext[i].pa - to->base),
		       from->memory + (ext[i].host - from->base), ext[i].len);
	gm_fence_signal(fence, 0);
	return 0;
}

/*
 * B copies from A over their link. A is removed meanwhile, or B, and the copy succeeds, or
 * not: the page is where the copy has put it, or home, and what was B's stays B's.
 */
static void during_peer_copy(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	gm_fake_set_threaded(true);
	for (unsigned int i = 0; i < 4; i++) {
		struct race r = { .fail = i & 1 ? -EIO : 0 };
		struct gm_context *ctx[2];
		struct toy toy[2];
		int err;

		for (unsigned int k = 0; k < 2; k++) {
			toy_init(&toy[k], 3);
			toy[k].base += k << 30;
			toy[k].mmu.copy_peer = copy_peer;
			toy[k].arg = &r;
			plug(u, &toy[k], &ctx[k]);
		}
		r.victim = &toy[i >> 1];
		unit_fill(u, CPU, va, 2 * BLOCK, i + 1);
		for (unsigned int k = 0; k < 2; k++)
			assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy[k].dev), va + k * BLOCK,
						   BLOCK, GM_PREFETCH),
					 0);
		err = gm_dev_fault(ctx[1], va + 7 * PAGE, GM_WRITE);
		end_removal(&r);
		assert_int_equal(err, i == 0 ? 0 : i == 1 ? 0 : -ENODEV);
		if (i < 2) /* B is alive, and has what it had */
			unit_on(u->as, va + BLOCK, BLOCK, gm_dev_hnode(toy[1].dev));
		else
			unit_on(u->as, va + BLOCK, BLOCK, GM_NODE_HOST);
		assert_int_equal(unit_count_on(u->as, va, BLOCK, gm_dev_hnode(r.victim->dev)), 0);
		unit_verify(u, CPU, va, 2 * BLOCK, i + 1);
		unit_check();
		leave(&toy[0], ctx[0]);
		leave(&toy[1], ctx[1]);
	}
	gm_fake_set_threaded(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_home, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(destroyed, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(in_place, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(refused, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(half_done, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(nothing_kept, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(holes, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(huge, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(host_fails, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(not_yet, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(destroy_saves, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(bad_calls, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(aperture, setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(aperture_dead, setup_aperture, unit_teardown),
		cmocka_unit_test_setup_teardown(during_fault, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(during_copy_home, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(during_peer_copy, unit_setup_as, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
