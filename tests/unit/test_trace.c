// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Events: each says what happened, to whom, and how it ended; none where nobody asked. */
#include "unit.h"

#include "core/trace.h"
#include "toy.h"

#define MAX 64U
#define KIND(kind) (1U << GM_EVENT_##kind)
#define ALL (KIND(FAULT) | KIND(MIGRATE) | KIND(EVICT) | KIND(INVALIDATE))

static struct gm_event event[MAX];

/* What happened since gm_fake_trace(), which has to be just so many; recording begins anew. */
static void expect(unsigned int n, uint32_t next)
{
	assert_int_equal(gm_fake_events(event, MAX), n);
	gm_fake_trace(next);
}

static void expect_place(const struct gm_event *ev, struct unit *u, uint64_t va, uint64_t offset,
			 int from, int to)
{
	assert_ptr_equal(ev->as, u->as);
	assert_non_null(ev->obj);
	assert_true(ev->va == va);
	assert_true(ev->offset == offset);
	assert_int_equal(ev->from, from);
	assert_int_equal(ev->to, to);
}

static void off(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	gm_fake_trace(0);
	unit_fill(u, 0, va, BLOCK, 1);
	unit_verify(u, CPU, va, BLOCK, 1);
	unit_verify(u, 1, va, BLOCK, 1);
	assert_int_equal(gm_fake_events(event, MAX), 0);
	/* One kind alone brings no other: the fake host stops a test that gets one. */
	gm_fake_trace(KIND(EVICT));
	unit_fill(u, 0, va, BLOCK, 1);
	expect(0, 0);
}

static void faults(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	int node = unit_node(u, 0);

	gm_fake_trace(KIND(FAULT));
	unit_store(u, 0, va + 5 * PAGE + 8, 1);
	expect(1, KIND(FAULT));
	assert_int_equal(event[0].kind, GM_EVENT_FAULT);
	assert_int_equal(event[0].why, GM_WHY_DEV_FAULT);
	expect_place(&event[0], u, va + 5 * PAGE + 8, 5 * PAGE, GM_NODE_NONE, node);
	assert_int_equal(event[0].n, GM_WRITE);
	assert_int_equal(event[0].len, PAGE);
	assert_int_equal(event[0].err, 0);
	assert_true(event[0].ns > 0);
	assert_true(gm_as_id(event[0].as) != gm_object_id(event[0].obj));

	unit_load(u, CPU, va + 5 * PAGE);
	expect(1, KIND(FAULT));
	assert_int_equal(event[0].why, GM_WHY_CPU_FAULT);
	expect_place(&event[0], u, va + 5 * PAGE, 5 * PAGE, node, GM_NODE_HOST);
	assert_int_equal(event[0].n, GM_READ);
	assert_true(event[0].ns > 0);

	unit_load(u, 1, va + 5 * PAGE);
	unit_load(u, 0, va + 5 * PAGE);
	expect(2, KIND(FAULT));
	expect_place(&event[0], u, va + 5 * PAGE, 5 * PAGE, GM_NODE_HOST, unit_node(u, 1));
	expect_place(&event[1], u, va + 5 * PAGE, 5 * PAGE, unit_node(u, 1), node);
	assert_int_equal(event[1].n, GM_READ);
}

/* One event a fault, in order of address; each took as long as the batch until then. */
static void fault_batch(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	struct gm_fault f[] = { { .va = va + BLOCK + 7, .access = GM_READ },
				{ .va = va + PAGE, .access = GM_WRITE },
				{ .va = va + 2 * BLOCK, .access = GM_READ },
				{ .va = va, .access = GM_READ | GM_WRITE } };
	static struct toy toy;
	struct gm_context *ctx;

	toy_init(&toy, 4);
	assert_int_equal(toy_plug(&toy), 0);
	unit_tune(toy.dev, PAGE, true, true);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	gm_fake_trace(KIND(FAULT));
	assert_int_equal(gm_dev_fault_batch(ctx, f, 4), 1);
	expect(4, 0);
	expect_place(&event[0], u, va, 0, GM_NODE_NONE, gm_dev_hnode(toy.dev));
	assert_int_equal(event[0].n, GM_READ | GM_WRITE);
	expect_place(&event[1], u, va + PAGE, PAGE, GM_NODE_NONE, gm_dev_hnode(toy.dev));
	expect_place(&event[2], u, va + BLOCK + 7, BLOCK, GM_NODE_NONE, gm_dev_hnode(toy.dev));
	assert_int_equal(event[3].err, -EFAULT);
	for (unsigned int i = 1; i < 4; i++)
		assert_true(event[i].ns > event[i - 1].ns);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* Faults that fail: nothing is mapped there; no metadata; the device does not copy. */
static void fault_errors(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;

	gm_fake_trace(KIND(FAULT));
	assert_int_equal(unit_access(u, 0, va + BLOCK, &value, 8, GM_READ), -EFAULT);
	expect(1, KIND(FAULT));
	assert_null(event[0].obj);
	assert_int_equal(event[0].err, -EFAULT);
	assert_true(event[0].va == va + BLOCK);
	assert_int_equal(event[0].from, GM_NODE_NONE);
	assert_int_equal(event[0].to, unit_node(u, 0));

	gm_fake_inject(GM_FAKE_CPU_ARM, 0, UINT32_MAX, -ENOMEM);
	assert_int_equal(unit_access(u, 0, va + PAGE, &value, 8, GM_READ), -ENOMEM);
	gm_fake_inject_clear();
	expect(1, KIND(FAULT));
	expect_place(&event[0], u, va + PAGE, PAGE, GM_NODE_NONE, unit_node(u, 0));
	assert_int_equal(event[0].err, -ENOMEM);

	unit_store(u, 0, va, 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(unit_access(u, 0, va + PAGE, &value, 8, GM_WRITE), -EIO);
	assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_READ), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 0, 0);
	expect(3, KIND(FAULT));
	expect_place(&event[1], u, va + PAGE, PAGE, GM_NODE_NONE, unit_node(u, 0));
	assert_int_equal(event[1].err, -EIO);
	expect_place(&event[2], u, va, 0, unit_node(u, 0), GM_NODE_HOST);
	assert_int_equal(event[2].err, -EIO);
	/* Not managed memory, and a fault of the CPU's all the same. */
	assert_int_equal(gm_cpu_fault(u->as, va + BLOCK, GM_READ), -EFAULT);
	expect(1, 0);
	assert_null(event[0].obj);
	assert_int_equal(event[0].err, -EFAULT);
}

/* A host that maps by itself names the object, and perhaps no address space. */
static void object_faults(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	struct gm_found found = { .write = true };

	gm_fake_trace(KIND(FAULT));
	assert_int_equal(gm_object_fault(obj, NULL, 0, false, &found), 0);
	assert_null(found.block);
	expect(0, 0); /* no device has touched the block: not the core's fault */
	unit_store(u, 0, va + 3 * PAGE, 1);
	gm_fake_trace(KIND(FAULT));
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_object_fault(obj, u->as, 3 * PAGE, false, &found), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 0, 0);
	assert_int_equal(gm_object_fault(obj, NULL, 3 * PAGE, false, &found), 0);
	gm_block_unlock(found.block);
	expect(2, 0);
	expect_place(&event[0], u, 0, 3 * PAGE, unit_node(u, 0), GM_NODE_HOST);
	assert_ptr_equal(event[0].obj, obj);
	assert_int_equal(event[0].err, -EIO);
	assert_null(event[1].as);
	assert_int_equal(event[1].err, 0);
	assert_int_equal(event[1].from, unit_node(u, 0));
	unit_unmap(u->as, va, BLOCK);
	gm_object_put(obj);
}

/* Some pages are copied, some zeroed; those that are there already are not told of. */
static void migrations(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	int node = unit_node(u, 0);

	unit_fill(u, CPU, va, 4 * PAGE, 1);
	unit_store(u, 0, va + 6 * PAGE, 1);
	gm_fake_trace(KIND(MIGRATE));
	assert_int_equal(gm_advise(u->as, node, va, 8 * PAGE, GM_PREFETCH), 0);
	expect(1, KIND(MIGRATE));
	assert_int_equal(event[0].kind, GM_EVENT_MIGRATE);
	assert_int_equal(event[0].why, GM_WHY_PREFETCH);
	expect_place(&event[0], u, 0, 0, GM_NODE_HOST, node);
	assert_int_equal(event[0].len, 8 * PAGE);
	assert_int_equal(event[0].pages, 7);
	assert_int_equal(event[0].bytes, 4 * PAGE);
	assert_int_equal(event[0].err, 0);
	assert_true(event[0].ns > 0);
	assert_int_equal(gm_advise(u->as, node, va, 8 * PAGE, GM_PREFETCH), 0);
	expect(0, KIND(MIGRATE));

	unit_load(u, CPU, va + 2 * PAGE); /* 64 KiB, of which it has half */
	expect(1, KIND(MIGRATE));
	assert_int_equal(event[0].why, GM_WHY_CPU_FAULT);
	expect_place(&event[0], u, 0, 0, node, GM_NODE_HOST);
	assert_int_equal(event[0].pages, 8);
	assert_int_equal(event[0].bytes, 8 * PAGE);

	/* From device to device: straight. */
	unit_store(u, 0, va + 9 * PAGE, 1);
	gm_fake_trace(KIND(MIGRATE));
	unit_load(u, 1, va + 9 * PAGE);
	expect(1, KIND(MIGRATE));
	expect_place(&event[0], u, 0, 9 * PAGE, node, unit_node(u, 1));
	assert_int_equal(event[0].why, GM_WHY_DEV_FAULT);
	assert_int_equal(event[0].pages, 1);

	/* A device that lets go. */
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[1]), 0);
	u->sim[1] = NULL;
	expect(1, 0);
	assert_int_equal(event[0].why, GM_WHY_DRAIN);
	assert_ptr_equal(event[0].as, u->as);
	assert_non_null(event[0].obj);
	assert_int_equal(event[0].pages, 1);
	assert_int_equal(event[0].from, node + 1);
}

static void migration_errors(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;

	unit_store(u, 0, va, 1);
	gm_fake_trace(KIND(MIGRATE));
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 3 * PAGE, GM_PREFETCH), -EIO);
	assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_READ), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
	expect(3, KIND(MIGRATE)); /* the CPU's is tried as a granule, and as a page */
	expect_place(&event[0], u, 0, PAGE, GM_NODE_HOST, unit_node(u, 0));
	assert_int_equal(event[0].pages, 2);
	assert_int_equal(event[0].bytes, 0);
	assert_int_equal(event[0].err, -EIO);
	expect_place(&event[1], u, 0, 0, unit_node(u, 0), GM_NODE_HOST);
	assert_int_equal(event[1].pages, 1);
	assert_int_equal(event[1].bytes, 0);
	assert_int_equal(event[1].err, -EIO);
	assert_int_equal(event[2].err, -EIO);
	/* No frame to be had: what was asked for. */
	unit_tune(unit_dev(u, 0), PAGE, true, true);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), unit_alloc(u, 4 * BLOCK),
				   4 * BLOCK - PAGE, GM_PIN),
			 0);
	gm_fake_trace(KIND(MIGRATE));
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + 9 * PAGE, 2 * PAGE, GM_PREFETCH),
			 -ENOSPC);
	assert_true(gm_fake_events(event, MAX) > 0);
	assert_true(event[0].offset == 9 * PAGE);
	assert_int_equal(event[0].pages, 2);
	assert_int_equal(event[0].err, -ENOSPC);
	gm_fake_trace(0);
}

static void evictions(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);
	struct gm_dev_tunables t = {
		.size = sizeof(t), .low = BLOCK, .high = 2 * BLOCK, .granule = BLOCK
	};
	int node = unit_node(u, 0);

	assert_int_equal(gm_advise(u->as, node, va, 4 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, node, va + 9 * PAGE, PAGE, GM_PIN), 0);
	assert_int_equal(gm_advise(u->as, node, va, BLOCK, GM_COLD), 0);
	gm_fake_trace(KIND(MIGRATE) | KIND(EVICT));
	unit_store(u, 0, va + 4 * BLOCK, 1);
	expect(3, 0);
	/* The pages before the pinned one and behind it, then the block. */
	assert_int_equal(event[0].kind, GM_EVENT_MIGRATE);
	assert_int_equal(event[0].why, GM_WHY_EVICT);
	assert_int_equal(event[0].pages, 511);
	assert_int_equal(event[0].len, BLOCK);
	assert_int_equal(event[1].kind, GM_EVENT_EVICT);
	expect_place(&event[1], u, 0, 0, node, GM_NODE_HOST);
	assert_int_equal(event[1].pages, 511);
	assert_int_equal(event[1].len, BLOCK);
	assert_int_equal(event[1].n, 1);
	assert_int_equal(event[1].err, 0);
	assert_true(event[1].ns > event[0].ns);
	assert_int_equal(event[2].kind, GM_EVENT_MIGRATE);
	assert_int_equal(event[2].to, node);

	/* A victim that fails, and one that does not. */
	gm_fake_trace(KIND(EVICT));
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -EIO);
	assert_int_equal(gm_advise(u->as, node, va + 5 * BLOCK, BLOCK, GM_PREFETCH), 0);
	assert_true(gm_fake_events(event, MAX) >= 2);
	assert_int_equal(event[0].err, -EIO);
	assert_int_equal(event[0].pages, 512);
	assert_int_equal(event[1].err, 0);

	/* Ahead of need. */
	gm_fake_trace(0);
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), 0);
	unit_fill(u, 0, va + 2 * BLOCK, 4 * BLOCK, 1);
	gm_fake_trace(KIND(EVICT));
	assert_true(gm_fake_run_work() >= 1);
	assert_true(gm_fake_events(event, MAX) >= 1);
	assert_int_equal(event[0].n, 0);
	gm_fake_trace(0);
}

static void invalidations(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t a = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	uint64_t b = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE), value;
	int node = unit_node(u, 0);

	unit_store(u, 0, a + PAGE, 1);
	unit_store(u, 0, b + PAGE, 1);
	gm_fake_trace(KIND(INVALIDATE));
	unit_load(u, CPU, a + PAGE);
	expect(1, KIND(INVALIDATE));
	assert_int_equal(event[0].kind, GM_EVENT_INVALIDATE);
	assert_ptr_equal(event[0].as, u->as);
	assert_null(event[0].obj);
	assert_true(event[0].va == a + PAGE || event[0].va == b + PAGE);
	assert_int_equal(event[0].len, 2 * PAGE); /* at both addresses */
	assert_int_equal(event[0].n, 2);
	assert_int_equal(event[0].from, node);
	assert_int_equal(event[0].to, GM_NODE_NONE);
	assert_int_equal(event[0].err, 0);
	assert_true(event[0].ns > 0);

	unit_store(u, 0, a + PAGE, 1);
	gm_fake_trace(KIND(INVALIDATE));
	gm_sim_inject(u->sim[0], GM_SIM_TLB_INVL, 0, UINT32_MAX, -EIO);
	assert_int_equal(unit_access(u, CPU, a + PAGE, &value, 8, GM_READ), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_TLB_INVL, 0, 0, 0);
	assert_true(gm_fake_events(event, MAX) >= 1);
	assert_int_equal(event[0].err, -EIO);
	gm_fake_trace(0);
	unit_unmap(u->as, a, BLOCK);
	unit_unmap(u->as, b, BLOCK);
	gm_object_put(obj);
}

static void expect_poison(const struct gm_event *ev, struct unit *u, enum gm_why why, uint64_t pa,
			  bool page, int err)
{
	assert_int_equal(ev->kind, GM_EVENT_POISON);
	assert_int_equal(ev->why, why);
	assert_null(ev->as);
	assert_int_equal(ev->obj != NULL, page);
	assert_int_equal(ev->offset, page ? 7 * PAGE : 0);
	assert_int_equal(ev->va, pa);
	assert_int_equal(ev->len, PAGE);
	assert_int_equal(ev->pages, page);
	assert_int_equal(ev->bytes, 0);
	assert_int_equal(ev->from, unit_node(u, 0));
	assert_int_equal(ev->to, GM_NODE_NONE);
	assert_int_equal(ev->err, err);
	assert_true(ev->ns > 0);
}

/* The device's address of the page at @va, which the device has written. */
static uint64_t pa_of(struct unit *u, uint64_t va)
{
	struct gm_lookup at = { .size = sizeof(at) };

	unit_store(u, 0, va, 1);
	assert_int_equal(gm_as_lookup(u->as, va, &at), 0);
	return at.pa;
}

/* A frame that is free; one that has a page, which at first will not go; one that is removed. */
static void poison(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), pa = pa_of(u, va + 7 * PAGE), other = pa ^ 64 * PAGE;
	struct gm_dev *dev = unit_dev(u, 0);

	gm_fake_trace(KIND(POISON));
	assert_int_equal(gm_dev_poison(dev, other + 5), 0);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, 1, -EIO);
	assert_int_equal(gm_dev_poison(dev, pa), -EIO);
	assert_int_equal(gm_dev_poison(dev, pa), 0);
	assert_int_equal(gm_dev_poison(dev, pa), 0); /* known */
	expect(3, KIND(POISON));
	expect_poison(&event[0], u, GM_WHY_POISON, other, false, 0);
	expect_poison(&event[1], u, GM_WHY_POISON, pa, true, -EIO);
	expect_poison(&event[2], u, GM_WHY_POISON, pa, true, 0);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_DONTNEED), 0);
	pa = pa_of(u, va + 7 * PAGE);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_sim_unplug(u->sim[0]), 0);
	expect(1, 0);
	expect_poison(&event[0], u, GM_WHY_DRAIN, pa, true, 0);
}

/* What is recorded agrees with what is counted. */
static void agrees_with_counters(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK), out = 0, in = 0, copied = 0;
	unsigned int evicted = 0, n;
	static struct gm_event many[2048];
	struct gm_stats s;

	unit_tune(unit_dev(u, 0), BLOCK, false, true);
	gm_fake_trace(ALL);
	unit_fill(u, 0, va, 6 * BLOCK, 1);
	unit_verify(u, CPU, va, 6 * BLOCK, 1);
	n = gm_fake_events(many, 2048);
	assert_true(n < 2048);
	for (unsigned int i = 0; i < n; i++) {
		if (many[i].kind == GM_EVENT_EVICT)
			evicted++;
		if (many[i].kind != GM_EVENT_MIGRATE)
			continue;
		if (many[i].to == GM_NODE_HOST)
			out += many[i].pages;
		else
			in += many[i].pages;
		copied += many[i].bytes;
	}
	gm_fake_trace(0);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(evicted, s.evictions);
	assert_int_equal(out, s.pages_to_host);
	assert_int_equal(in, s.pages_to_dev + s.pages_zeroed);
	assert_int_equal(copied, s.bytes_to_dev + s.bytes_to_host);
}

/* ------------------------------------------------------------------- for who records */

#define RECORDED (KIND(ACCESS) | KIND(TOUCH) | KIND(HINT) | KIND(PRESENT) | KIND(DISCARD))

static void expect_pages(const struct gm_event *ev, enum gm_event_kind kind, uint64_t offset,
			 uint64_t len)
{
	assert_int_equal(ev->kind, kind);
	assert_non_null(ev->obj);
	assert_true(ev->offset == offset);
	assert_true(ev->len == len);
}

/* What others have told: where it is, by object; nothing of what is nowhere. */
static void told(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	static struct toy toy;
	struct gm_context *ctx;
	int node;

	toy_init(&toy, 4);
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	node = gm_dev_hnode(toy.dev);
	for (uint32_t kinds = 0; kinds <= RECORDED; kinds += RECORDED) {
		gm_fake_trace(kinds);
		gm_record_access(ctx, va + 3 * PAGE + 5, GM_WRITE, 7);
		gm_record_access(ctx, va + 2 * BLOCK, GM_WRITE, 1);
		gm_record_access(ctx, UINT64_MAX - PAGE, GM_WRITE, 1); /* no window shows it */
		gm_note_cpu(u->as, va + BLOCK + 1, GM_READ);
		gm_note_cpu(u->as, va + 2 * BLOCK, GM_READ);
		gm_note_hint(u->as, GM_NODE_HOST, va + PAGE + 1, BLOCK, GM_COLD);
		gm_note_hint(u->as, node, va + BLOCK, 2 * BLOCK, GM_PREFETCH);
		gm_note_hint(u->as, node, va, BLOCK, GM_DONTNEED);
		if (!kinds)
			expect(0, 0);
	}
	expect(4, 0);
	expect_pages(&event[0], GM_EVENT_ACCESS, 3 * PAGE, PAGE);
	assert_int_equal(event[0].n, GM_WRITE);
	assert_int_equal(event[0].lines, 7);
	assert_int_equal(event[0].to, node);
	assert_true(event[0].bytes > 0 && event[0].ns > 0);
	assert_int_equal(event[0].pages, 1);
	expect_pages(&event[1], GM_EVENT_TOUCH, BLOCK, PAGE);
	assert_int_equal(event[1].n, GM_READ);
	expect_pages(&event[2], GM_EVENT_HINT, PAGE, BLOCK + PAGE);
	assert_int_equal(event[2].ns, 0);
	expect_pages(&event[3], GM_EVENT_HINT, BLOCK, BLOCK);
	assert_int_equal(event[3].n, GM_PREFETCH);
	assert_true(event[3].ns == event[0].ns && event[3].bytes == event[0].bytes);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* What a block has when it begins, and what is discarded; a block that no device knew is not. */
static void bytes_come_and_go(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	unit_store(u, CPU, va + 3 * PAGE, 1);
	unit_store(u, CPU, va + 4 * PAGE, 1);
	unit_store(u, CPU, va + 511 * PAGE, 1);
	unit_store(u, CPU, va + BLOCK, 1);
	gm_fake_trace(RECORDED);
	unit_store(u, 0, va, 1);
	expect(2, RECORDED);
	expect_pages(&event[0], GM_EVENT_PRESENT, 3 * PAGE, 2 * PAGE);
	expect_pages(&event[1], GM_EVENT_PRESENT, 511 * PAGE, PAGE);
	assert_int_equal(gm_advise(u->as, 0, va + 511 * PAGE, 2 * PAGE, GM_DONTNEED), 0);
	expect(1, RECORDED);
	expect_pages(&event[0], GM_EVENT_DISCARD, 511 * PAGE, PAGE);
	unit_unmap(u->as, va, BLOCK);
	expect(1, 0);
	expect_pages(&event[0], GM_EVENT_DISCARD, 0, BLOCK);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(off),
		TEST(faults),
		TEST(fault_batch),
		TEST(fault_errors),
		TEST(object_faults),
		TEST(migrations),
		TEST(migration_errors),
		TEST(evictions),
		TEST(invalidations),
		TEST(poison),
		TEST(agrees_with_counters),
		TEST(told),
		TEST(bytes_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
