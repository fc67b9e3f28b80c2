// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A run: the operations of a trace, one after another, done to the core.
 *
 * Objects and devices are all made at the start. Accesses of a device look into its page table,
 * as hardware does, and fault where that is not enough. Of the CPU's accesses a trace has those
 * that faulted when it was recorded; whether they fault now, the page table of the CPU says.
 *
 * What is in host backing at first. A trace says so when a device first came to a block (the
 * core asks at that moment, see lpt.c). Another policy may come there sooner, so this is
 * known from the start on, for each block up to the point where bytes of it are dropped; what
 * comes after that is told when it happened, if the core has not looked again by then.
 */
#include <errno.h>
#include <stdlib.h>

#include "host/replay/internal.h"
#include "host/replay/policy.h"

#define TRIES 64U /* of one access: it faults, and the page is gone again */
#define BLOCK_PAGES (GM_BLOCK_SIZE / GM_PAGE_SIZE)

struct replayed {
	struct gm_object *obj; /* held by its mapping */
	uint64_t va, mapped;   /* pages that still are; 0: the object is gone */
	uint8_t *dropped;      /* a byte for each block: some of it was dropped */
};

struct run {
	const struct gm_replay_trace *trace;
	const struct gm_replay_options *opt;
	struct gm_replay_result *result;
	struct gm_as *as;
	struct replayed *objects;
	struct replay_dev devs[GM_REPLAY_DEVS];
	uint64_t remote_ns; /* times bandwidth: what the clock has not been moved by */
};

/* ------------------------------------------------------------------ operations */

static uint64_t va_of(const struct run *r, uint32_t object, uint64_t page)
{
	return r->objects[object].va + page * GM_PAGE_SIZE;
}

static int fault(struct run *r, struct replay_dev *d, uint64_t va, const uint8_t *page,
		 unsigned int need, uint32_t access)
{
	int err = 0;

	for (unsigned int tries = 0; (*page & need) != need; tries++) {
		if (tries == TRIES)
			return err ? err : -EBUSY;
		replay_host.now += r->opt->costs.dev_fault_ns;
		err = gm_dev_fault(d->ctx, va, access);
		if (err && err != -EBUSY)
			return err;
		replay_run_work();
	}
	return 0;
}

/* A line of host memory in place; the core may take the page to the device for it. */
static void use_line(struct run *r, struct replay_dev *d, uint64_t va)
{
	uint8_t *lines = d->lines + (va - REPLAY_VA) / GM_PAGE_SIZE;

	r->result->remote_bytes += REPLAY_LINE;
	r->remote_ns += REPLAY_LINE * 1000000000ULL;
	replay_host.now += r->remote_ns / r->opt->costs.bandwidth;
	r->remote_ns %= r->opt->costs.bandwidth;
	if (++*lines < REPLAY_TELL)
		return;
	*lines = 0;
	(void)gm_dev_accessed(d->ctx, va, GM_PAGE_SIZE, REPLAY_TELL);
	replay_run_work();
}

/* It fetches a line as often as the trace says, for as long as the page is in host memory. */
static int use_page(struct run *r, struct replay_dev *d, uint64_t va, const struct gm_replay_op *op)
{
	unsigned int need = REPLAY_PRESENT | (op->access & GM_WRITE ? REPLAY_WRITABLE : 0);
	/* What changes memory is a write; atomic operations go over the link, where there is need. */
	uint32_t access = op->access & GM_WRITE ? GM_WRITE : GM_READ;
	uint8_t *page = d->page + (va - REPLAY_VA) / GM_PAGE_SIZE;
	int err = 0;

	for (uint32_t line = 0;; line++) {
		if ((*page & need) != need)
			err = fault(r, d, va, page, need, access);
		*page |= REPLAY_USED;
		if (err || line == op->lines || !(*page & REPLAY_IN_PLACE))
			return err;
		use_line(r, d, va);
	}
}

static int do_access(struct run *r, const struct gm_replay_op *op)
{
	struct replay_dev *d = &r->devs[op->dev - 1];
	uint64_t va = va_of(r, op->object, op->page);
	int err = 0;

	r->result->accesses += op->n;
	for (uint32_t i = 0; i < op->n && !err; i++, va += GM_PAGE_SIZE)
		err = use_page(r, d, va, op);
	return err;
}

static int do_cpu(struct run *r, const struct gm_replay_op *op)
{
	struct replay_object *o = replay_object(r->objects[op->object].obj);
	uint32_t access = op->access & GM_WRITE ? GM_WRITE : GM_READ;
	int err = 0;

	for (uint32_t i = op->page; i < op->page + op->n && !err; i++) {
		if (o->page[i] & REPLAY_MAPPED)
			continue;
		if (o->page[i] & REPLAY_ARMED) {
			replay_host.now += r->opt->costs.cpu_fault_ns;
			err = gm_cpu_fault(r->as, va_of(r, op->object, i), access);
		} else { /* the kernel does this by itself */
			o->page[i] |= REPLAY_EXISTS | REPLAY_MAPPED;
		}
	}
	return err;
}

static int node_of(const struct run *r, uint8_t dev)
{
	return dev == GM_REPLAY_CPU ? GM_NODE_HOST : gm_dev_hnode(r->devs[dev - 1].dev);
}

/* A hint that fails is no error of the program that gave it. */
static int do_hint(struct run *r, const struct gm_replay_op *op)
{
	int err = gm_advise(r->as, node_of(r, op->dev), va_of(r, op->object, op->page),
			    (uint64_t)op->n * GM_PAGE_SIZE, op->advice);

	r->result->hints_failed += err != 0;
	return 0;
}

static int do_unmap(struct run *r, const struct gm_replay_op *op)
{
	int err = gm_as_unmap(r->as, (void *)(uintptr_t)va_of(r, op->object, op->page),
			      (uint64_t)op->n * GM_PAGE_SIZE);

	if (!err)
		r->objects[op->object].mapped -= op->n;
	return err;
}

/* Pages that the CPU has filled without the core's knowledge. */
static void present(struct run *r, const struct gm_replay_op *op, bool early)
{
	struct replayed *o = &r->objects[op->object];
	uint8_t *page = replay_object(o->obj)->page;

	for (uint64_t i = op->page; i < (uint64_t)op->page + op->n; i++)
		if (early ? !o->dropped[i / BLOCK_PAGES]
			  : !gm_object_touched(o->obj, i * GM_PAGE_SIZE))
			page[i] |= REPLAY_EXISTS | REPLAY_MAPPED;
}

static void dropped(struct run *r, const struct gm_replay_op *op)
{
	for (uint64_t i = op->page / BLOCK_PAGES;
	     i <= ((uint64_t)op->page + op->n - 1) / BLOCK_PAGES; i++)
		r->objects[op->object].dropped[i] = 1;
}

static void present_early(struct run *r)
{
	for (uint64_t i = 0; i < r->trace->nr_ops; i++) {
		const struct gm_replay_op *op = &r->trace->ops[i];

		if (op->kind == GM_REPLAY_PRESENT)
			present(r, op, true);
		else if (op->kind == GM_REPLAY_UNMAP ||
			 (op->kind == GM_REPLAY_HINT && op->advice == GM_DONTNEED))
			dropped(r, op);
	}
}

static int do_op(struct run *r, const struct gm_replay_op *op)
{
	if (!r->objects[op->object].mapped)
		return -EFAULT;
	switch (op->kind) {
	case GM_REPLAY_ACCESS:
		return do_access(r, op);
	case GM_REPLAY_CPU_FAULT:
		return do_cpu(r, op);
	case GM_REPLAY_PRESENT:
		present(r, op, false);
		return 0;
	case GM_REPLAY_HINT:
		return do_hint(r, op);
	case GM_REPLAY_UNMAP:
		return do_unmap(r, op);
	default:
		return -EINVAL;
	}
}

static int do_all(struct run *r)
{
	for (uint64_t i = 0; i < r->trace->nr_ops; i++) {
		int err = do_op(r, &r->trace->ops[i]);

		if (err) {
			r->result->failed_op = i;
			return err;
		}
		replay_run_work();
	}
	return 0;
}

/* -------------------------------------------------------------- beginning and end */

/* Is the operation about what there is? */
static bool op_ok(const struct gm_replay_trace *t, const struct gm_replay_op *op)
{
	uint64_t pages;

	if (op->object >= t->nr_objects || !op->n)
		return false;
	pages = t->objects[op->object].pages;
	if (op->page >= pages || op->n > pages - op->page)
		return false;
	switch (op->kind) {
	case GM_REPLAY_ACCESS:
		return op->dev && op->dev <= t->nr_devs;
	case GM_REPLAY_HINT:
		return op->dev <= t->nr_devs;
	default:
		return op->kind <= GM_REPLAY_UNMAP;
	}
}

static int check(const struct gm_replay_trace *t, struct gm_replay_result *result)
{
	uint64_t pages = 0;

	if (t->nr_devs > GM_REPLAY_DEVS)
		return -EINVAL;
	for (uint32_t i = 0; i < t->nr_objects; i++) {
		if (!t->objects[i].pages || t->objects[i].pages > GM_REPLAY_PAGES - pages)
			return -EINVAL;
		pages += t->objects[i].pages;
	}
	for (uint64_t i = 0; i < t->nr_ops; i++) {
		result->failed_op = i;
		if (!op_ok(t, &t->ops[i]))
			return -EINVAL;
	}
	result->failed_op = 0;
	return 0;
}

static int devs_create(struct run *r)
{
	char policy[REPLAY_POLICY];
	int err = 0;

	for (uint32_t i = 0; i < r->trace->nr_devs && !err; i++) {
		struct gm_dev_tunables t = { .size = sizeof(t),
					     .no_background = !r->opt->background };
		uint64_t pages = r->opt->memory[i];

		if (!pages || replay_policy_parse(r->opt->policy, &t.granule, policy))
			return -EINVAL;
		if (pages % BLOCK_PAGES)
			t.limit = pages * GM_PAGE_SIZE;
		err = replay_dev_create(&r->devs[i], r->opt, pages, r->trace->base_page[i]);
		if (!err)
			err = gm_dev_tune(r->devs[i].dev, &t);
		if (!err)
			err = gm_dev_set_policy(r->devs[i].dev, policy);
	}
	return err;
}

static int objects_create(struct run *r)
{
	int err = 0;

	r->objects = calloc(r->trace->nr_objects + 1ULL, sizeof(*r->objects));
	if (!r->objects)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->trace->nr_objects && !err; i++) {
		const struct gm_replay_object *from = &r->trace->objects[i];
		struct replayed *o = &r->objects[i];
		void *va;

		o->dropped = calloc(from->pages / BLOCK_PAGES + 1, 1);
		if (!o->dropped)
			return -ENOMEM;
		err = gm_alloc(r->as, from->pages * GM_PAGE_SIZE, from->flags, &va);
		if (err)
			break;
		o->obj = replay_host.newest;
		o->va = (uintptr_t)va;
		o->mapped = from->pages;
	}
	return err;
}

static int devs_attach(struct run *r)
{
	int err = 0;

	for (uint32_t i = 0; i < r->trace->nr_devs && !err; i++) {
		struct replay_dev *d = &r->devs[i];

		d->len = (replay_host.va_end - REPLAY_VA) / GM_PAGE_SIZE;
		d->page = replay_sparse_alloc(d->len);
		d->lines = replay_sparse_alloc(d->len);
		if (!d->page || !d->lines)
			return -ENOMEM;
		err = gm_as_attach(r->as, d->dev, GM_EXCLUSIVE, &d->ctx);
	}
	return err;
}

/* Counters are sums but for the first field. */
static void add_stats(struct gm_stats *to, const struct gm_stats *from)
{
	uint64_t *sum = (uint64_t *)(void *)to;
	const uint64_t *n = (const uint64_t *)(const void *)from;

	_Static_assert(sizeof(to->size) == sizeof(*sum),
		       "the first field is as long as the others");
	for (size_t i = 1; i < sizeof(*to) / sizeof(*sum); i++)
		sum[i] += n[i];
}

static void collect(struct run *r)
{
	struct gm_replay_result *result = r->result;

	result->as.size = sizeof(result->as);
	gm_as_stats(r->as, &result->as);
	for (uint32_t i = 0; i < r->trace->nr_devs; i++) {
		struct gm_stats stats = { .size = sizeof(stats) };

		gm_dev_stats(r->devs[i].dev, &stats);
		add_stats(&result->dev, &stats);
	}
	result->ns = replay_host.now;
}

/* Nothing here can fail: no operation of the device's does, and the host has memory. */
static void end(struct run *r)
{
	replay_run_work();
	if (r->as)
		replay_bug_on(gm_as_destroy(r->as));
	for (uint32_t i = 0; i < r->trace->nr_devs; i++) {
		replay_bug_on(replay_dev_destroy(&r->devs[i]));
		replay_sparse_free(r->devs[i].page, r->devs[i].len);
		replay_sparse_free(r->devs[i].lines, r->devs[i].len);
	}
	for (uint32_t i = 0; r->objects && i < r->trace->nr_objects; i++)
		free(r->objects[i].dropped);
	free(r->objects);
	gm_core_exit();
}

int gm_replay_run(const struct gm_replay_trace *trace, const struct gm_replay_options *opt,
		  struct gm_replay_result *result)
{
	struct gm_as_options as = { .size = sizeof(as), .cpu_granule = opt->cpu_granule };
	struct run r = { .trace = trace, .opt = opt, .result = result };
	int err;

	*result = (struct gm_replay_result){ 0 };
	if (!opt->costs.bandwidth || !opt->costs.zero_bandwidth)
		return -EINVAL;
	err = check(trace, result);
	if (err)
		return err;
	replay_host_reset(&opt->costs);
	err = gm_core_init();
	if (err)
		return err;
	err = devs_create(&r);
	if (!err)
		err = gm_as_create(&as, &r.as);
	if (!err)
		err = objects_create(&r);
	if (!err)
		err = devs_attach(&r);
	if (!err) {
		present_early(&r);
		err = do_all(&r);
	}
	if (!err)
		collect(&r);
	end(&r);
	return err;
}
