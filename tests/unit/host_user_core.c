// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* See host_user_core.h. One lock over everything; regions are added by one thread only. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "host_user_core.h"

struct tc tc;
uint64_t tc_align = PAGE;

static struct {
	struct gm_object *obj; /* NULL: free */
	uint64_t off;
	char bytes[PAGE];
} dev[TC_PAGES];
static pthread_mutex_t dev_lock = PTHREAD_MUTEX_INITIALIZER;

void tc_lock(void)
{
	pthread_mutex_lock(&dev_lock);
}

void tc_unlock(void)
{
	pthread_mutex_unlock(&dev_lock);
}

int gm_core_init(void)
{
	return 0;
}

void gm_core_exit(void)
{
}

void **gm_as_host(struct gm_as *as)
{
	return &as->host;
}

void **gm_object_host(struct gm_object *obj)
{
	return &obj->host;
}

uint64_t gm_object_size(const struct gm_object *obj)
{
	return obj->size;
}

uint32_t gm_object_flags(const struct gm_object *obj)
{
	return obj->flags;
}

/* Nobody listens here. */
void gm_trace(enum gm_event_kind kind, bool on)
{
	(void)kind;
	(void)on;
}

void gm_event_record(struct gm_event_record *to, const struct gm_event *event)
{
	(void)event;
	memset(to, 0, sizeof(*to));
}

int gm_options_copy(void *to, size_t size, const void *from, size_t from_size)
{
	memcpy(to, from, from_size < size ? from_size : size);
	return 0;
}

uint64_t gm_retained_bytes(void)
{
	return __atomic_load_n(&tc.retained, __ATOMIC_RELAXED);
}

void gm_memory_low(void)
{
	__atomic_fetch_add(&tc.low_calls, 1, __ATOMIC_RELAXED);
}

static struct gm_region *find(struct gm_as *as, uint64_t va)
{
	for (unsigned int i = 0; i < TC_REGIONS; i++) {
		struct gm_region *r = as->regions[i];

		if (r && va >= r->va && va < r->va + r->len)
			return r;
	}
	return NULL;
}

static int fault(struct gm_region *r, uint64_t va, uint32_t access)
{
	uint64_t unit, off, bus, got;
	int err = 0;

	unit = gm_os_backing_granule(r->obj);
	va &= ~(unit - 1);
	off = r->offset + (va - r->va);
	tc.faults++;
	tc.last_access = access;
	tc.last_va = va;
	for (unsigned int i = 0; i < TC_PAGES && !err; i++) {
		if (dev[i].obj != r->obj || dev[i].off < off || dev[i].off >= off + unit)
			continue;
		err = tc.fail;
		if (!err)
			err = gm_os_backing_get(r->obj, dev[i].off, PAGE, false, &bus, &got);
		if (err)
			continue;
		memcpy((void *)(uintptr_t)bus, dev[i].bytes, PAGE);
		gm_os_backing_put(r->obj, dev[i].off, PAGE);
		dev[i].obj = NULL;
	}
	if (!err && !tc.no_page)
		err = gm_os_backing_get(r->obj, off, unit, false, &bus, &got);
	if (!err)
		err = gm_os_cpu_map(r, va, unit);
	return err;
}

/* As a fault that waits for the lock of its address space. */
static void wait_if_held(struct gm_as *as)
{
	if (__atomic_load_n(&tc.held, __ATOMIC_ACQUIRE) != as)
		return;
	__atomic_fetch_add(&tc.waiting, 1, __ATOMIC_RELEASE);
	gm_os_wake(&tc.waiting);
	while (!__atomic_load_n(&tc.let_go, __ATOMIC_ACQUIRE))
		gm_os_wait(&tc.let_go, 0);
}

/* The region cannot go while it is serviced. */
int gm_cpu_fault(struct gm_as *as, uint64_t va, uint32_t access)
{
	struct gm_region *r;
	int err;

	wait_if_held(as);
	pthread_mutex_lock(&dev_lock);
	r = find(as, va);
	err = r ? fault(r, va, access) : -EFAULT;
	pthread_mutex_unlock(&dev_lock);
	return err;
}

/* Nothing goes back and forth but what a test says is held: pages below an address. */
int gm_cpu_fault_try(struct gm_as *as, uint64_t va, uint32_t access, uint64_t *until)
{
	uint64_t hold = __atomic_load_n(&tc.hold_until, __ATOMIC_ACQUIRE);

	if (until)
		*until = va < tc.hold_below && gm_os_now_ns() < hold ? hold : 0;
	return until && *until ? -EAGAIN : gm_cpu_fault(as, va, access);
}

static int slot_of(const struct gm_object *obj, uint64_t off)
{
	for (int i = 0; i < TC_PAGES; i++)
		if (dev[i].obj == obj && (!obj || dev[i].off == off))
			return i;
	return -1;
}

void tc_to_dev(struct gm_region *r, uint64_t va)
{
	uint64_t off = r->offset + (va - r->va), bus, got;
	int i;

	pthread_mutex_lock(&dev_lock);
	if (slot_of(r->obj, off) < 0) { /* else it is there */
		i = slot_of(NULL, 0);
		assert_true(i >= 0);
		assert_int_equal(gm_os_cpu_arm(r, va, PAGE), 0);
		assert_int_equal(gm_os_cpu_revoke(r, va, PAGE), 0);
		assert_int_equal(gm_os_backing_get(r->obj, off, PAGE, false, &bus, &got), 0);
		memcpy(dev[i].bytes, (void *)(uintptr_t)bus, PAGE);
		dev[i].obj = r->obj;
		dev[i].off = off;
		gm_os_backing_put(r->obj, off, PAGE);
		gm_os_backing_free(r->obj, off, PAGE);
	}
	pthread_mutex_unlock(&dev_lock);
}

/* A sweep ends at once, or, if tc.hold says so, when it is cancelled. */
struct gm_sweep {
	void *host;
	bool ended;
};

int gm_sweep_start(struct gm_as *as, const struct gm_hint *hints, unsigned int n, void *host,
		   struct gm_sweep **sweep)
{
	(void)as;
	(void)hints;
	(void)n;
	if (tc.refuse)
		return tc.refuse;
	*sweep = calloc(1, sizeof(**sweep));
	(*sweep)->host = host;
	(*sweep)->ended = !tc.hold;
	if (!tc.hold)
		gm_os_job_done(host, tc.job_err);
	return 0;
}

void gm_sweep_cancel(struct gm_sweep *sweep)
{
	if (!sweep->ended)
		gm_os_job_done(sweep->host, -ECANCELED);
	sweep->ended = true;
}

void gm_sweep_put(struct gm_sweep *sweep)
{
	free(sweep);
}

int gm_advise(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice)
{
	(void)as;
	(void)hnode;
	(void)va;
	(void)len;
	(void)advice;
	tc.advised++;
	return 0;
}

/* The copy says whether it was told of managed memory, by bits: 1 the target, 2 the source. */
int gm_copy(int hnode, struct gm_as *dst_as, uint64_t dst, struct gm_as *src_as, uint64_t src,
	    uint64_t len)
{
	(void)hnode;
	(void)dst;
	(void)src;
	(void)len;
	tc.copied = (dst_as ? 1U : 0U) | (src_as ? 2U : 0U);
	return 0;
}

/* What is registered the tests map themselves. */
int gm_as_register(struct gm_as *as, uint64_t va, uint64_t len)
{
	(void)as;
	(void)va;
	(void)len;
	return tc.fail;
}

int gm_as_unregister(struct gm_as *as, uint64_t va, uint64_t len)
{
	(void)as;
	(void)va;
	(void)len;
	return tc.fail;
}

static int home(struct gm_region *r, unsigned int i)
{
	uint64_t off = dev[i].off, bus, got;
	int err = tc.fail;

	if (!err)
		err = gm_os_backing_get(r->obj, off, PAGE, false, &bus, &got);
	if (err)
		return err;
	memcpy((void *)(uintptr_t)bus, dev[i].bytes, PAGE);
	gm_os_backing_put(r->obj, off, PAGE);
	dev[i].obj = NULL;
	return gm_os_cpu_map(r, r->va + (off - r->offset), PAGE);
}

int gm_as_home(struct gm_as *as, uint64_t va, uint64_t len)
{
	int err = 0;

	pthread_mutex_lock(&dev_lock);
	for (unsigned int i = 0; i < TC_PAGES && !err; i++) {
		for (uint64_t at = va; dev[i].obj && at < va + len; at += PAGE) {
			struct gm_region *r = find(as, at);

			if (r && r->obj == dev[i].obj && dev[i].off == r->offset + (at - r->va)) {
				err = home(r, i);
				break;
			}
		}
	}
	pthread_mutex_unlock(&dev_lock);
	return err;
}

int gm_as_query(struct gm_as *as, uint64_t va, uint64_t len, struct gm_page_info *info)
{
	(void)as;
	(void)va;
	(void)len;
	(void)info;
	tc.queried++;
	return 0;
}

int gm_as_attr(struct gm_as *as, uint64_t va, uint64_t len, struct gm_attr *attr)
{
	(void)as;
	(void)va;
	(void)len;
	(void)attr;
	tc.queried++;
	return 0;
}

/* ------------------------------------------------------------------- making and breaking */

struct gm_as *tc_as(uint32_t flags)
{
	struct gm_as_options opt = { .size = sizeof(opt), .flags = flags };
	struct gm_as *as = calloc(1, sizeof(*as));

	assert_non_null(as);
	assert_int_equal(gm_os_as_create(as, &opt), 0);
	return as;
}

void tc_as_free(struct gm_as *as)
{
	gm_os_as_stop(as);
	gm_os_as_destroy(as);
	free(as);
}

struct gm_object *tc_object(uint64_t size, uint32_t flags)
{
	struct gm_object *obj = calloc(1, sizeof(*obj));

	assert_non_null(obj);
	obj->size = size;
	obj->flags = flags;
	assert_int_equal(gm_os_object_create(obj, flags), 0);
	return obj;
}

void tc_object_free(struct gm_object *obj)
{
	pthread_mutex_lock(&dev_lock);
	for (unsigned int i = 0; i < TC_PAGES; i++)
		if (dev[i].obj == obj)
			dev[i].obj = NULL;
	pthread_mutex_unlock(&dev_lock);
	gm_os_object_destroy(obj);
	free(obj);
}

void tc_add(struct gm_region *r)
{
	unsigned int i = 0;

	while (r->as->regions[i])
		assert_true(++i < TC_REGIONS);
	pthread_mutex_lock(&dev_lock);
	r->as->regions[i] = r;
	pthread_mutex_unlock(&dev_lock);
}

uint64_t gm_map_align(const struct gm_region *r)
{
	return r->len >= BLOCK ? BLOCK : tc_align;
}

struct gm_region *tc_map(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len)
{
	struct gm_region *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	*r = (struct gm_region){
		.as = as, .obj = obj, .offset = offset, .len = len, .prot = GM_READ | GM_WRITE
	};
	assert_int_equal(gm_os_region_map(r, false), 0);
	tc_add(r);
	return r;
}

void tc_unmap(struct gm_region *r)
{
	pthread_mutex_lock(&dev_lock);
	assert_int_equal(gm_os_region_unmap(r, r->va, r->len), 0);
	for (unsigned int i = 0; i < TC_REGIONS; i++)
		if (r->as->regions[i] == r)
			r->as->regions[i] = NULL;
	pthread_mutex_unlock(&dev_lock);
	gm_os_region_free(r);
	free(r);
}

struct tc_bench tc_set_up(uint32_t flags)
{
	struct tc_bench b = { .as = tc_as(flags), .obj = tc_object(4 * BLOCK, 0) };

	b.r = tc_map(b.as, b.obj, 0, 4 * BLOCK);
	b.va = b.r->va;
	memset(&tc, 0, sizeof(tc));
	return b;
}

void tc_tear_down(struct tc_bench *b)
{
	tc_unmap(b->r);
	tc_object_free(b->obj);
	tc_as_free(b->as);
}

/* ------------------------------------------------------- recording: of no use without a core */

uint32_t gm_recording;

uint64_t gm_object_id(const struct gm_object *obj)
{
	(void)obj;
	return 1;
}

void gm_note_access(struct gm_context *ctx, uint64_t va, uint32_t access, uint32_t lines)
{
	(void)lines;
	(void)ctx;
	(void)va;
	(void)access;
}

void gm_note_cpu(struct gm_as *as, uint64_t va, uint32_t access)
{
	(void)as;
	(void)va;
	(void)access;
}
