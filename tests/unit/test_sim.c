// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The simulated accelerator without gmem. In gmem's place stands the smallest thing
 * that answers a driver: one range of addresses, page i of which goes to frame i
 * when it is touched and comes home when a test says so. It is as careful as gmem,
 * or, where a test wants it, not.
 *
 * Linked with -Wl,--wrap for calloc, aligned_alloc, mmap and pthread_create, so that
 * each of them can be made to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include <gmem/driver.h>
#include <gmem/sim.h>

#define VA ((char *)0x7f1234000000ULL)
#define PAGES 512
#define PAGE 4096ULL
#define BASE (4ULL << 30)

/* --------------------------------------------------------- in place of gmem */

struct gm_fence {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int done; /* how often */
	int err;
	pthread_mutex_t *gate; /* whoever signals passes through here first, if there is one */
};

struct gm_dev {
	const struct gm_mmu *mmu;
	void *data;
	char name[40];
	uint64_t begin, end, cpu;
	int attached;
};

struct gm_context {
	struct gm_dev *dev;
	void *pmap;
	pthread_mutex_t lock;
	uint8_t *host; /* the bytes of VA, where a page is not on the device */
	bool on_dev[PAGES];
	int busy;     /* so many more faults meet -EBUSY */
	int readonly; /* page that may not be written, or -1 */
	unsigned int faults, largest_batch;
};

static int fail_register, fail_create;
static struct gm_context *last_context;

void gm_fence_signal(struct gm_fence *fence, int err)
{
	if (fence->gate) {
		pthread_mutex_lock(fence->gate);
		pthread_mutex_unlock(fence->gate);
	}
	pthread_mutex_lock(&fence->lock);
	fence->done++;
	fence->err = err;
	pthread_cond_signal(&fence->cond);
	pthread_mutex_unlock(&fence->lock);
}

static void fence_init(struct gm_fence *f)
{
	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->cond, NULL);
}

static int fence_wait(struct gm_fence *f)
{
	int err;

	pthread_mutex_lock(&f->lock);
	while (!f->done)
		pthread_cond_wait(&f->cond, &f->lock);
	err = f->err;
	pthread_mutex_unlock(&f->lock);
	return err;
}

int gm_dev_create(const struct gm_mmu *mmu, const char *name, void *data, struct gm_dev **dev)
{
	struct gm_dev *d;

	if (fail_create)
		return fail_create;
	d = malloc(sizeof(*d));
	assert_non_null(d);
	memset(d, 0, sizeof(*d));
	d->mmu = mmu;
	d->data = data;
	memcpy(d->name, name, strlen(name));
	*dev = d;
	return 0;
}

int gm_dev_destroy(struct gm_dev *dev)
{
	if (dev->attached)
		return -EBUSY;
	free(dev);
	return 0;
}

void *gm_dev_data(const struct gm_dev *dev)
{
	return dev->data;
}

int gm_dev_register_physmem(struct gm_dev *dev, uint64_t begin, uint64_t end)
{
	dev->begin = begin;
	dev->end = end;
	return fail_register;
}

int gm_dev_register_physmem_cpu(struct gm_dev *dev, uint64_t begin, uint64_t end, uint64_t cpu)
{
	dev->cpu = cpu;
	return gm_dev_register_physmem(dev, begin, end);
}

/* Windows are gmem's affair: see test_window.c. */
int gm_as_attach_sparse(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
			struct gm_context **ctx)
{
	return gm_as_attach(as, dev, mode, ctx);
}

int gm_window_add(struct gm_context *c, const struct gm_window *windows, unsigned int n)
{
	(void)c;
	(void)windows;
	return n == 1 ? 0 : -EINVAL;
}

int gm_window_remove(struct gm_context *c, const struct gm_window *ranges, unsigned int n)
{
	return gm_window_add(c, ranges, n);
}

int gm_context_set_mode(struct gm_context *c, uint64_t va, uint64_t len, enum gm_mode mode)
{
	(void)c;
	(void)va;
	(void)len;
	return mode == GM_SHARE ? -EINVAL : 0;
}

int gm_as_attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode, struct gm_context **ctx)
{
	struct gm_context *c;
	int err;

	(void)as;
	assert_int_equal(mode, GM_EXCLUSIVE);
	c = malloc(sizeof(*c));
	assert_non_null(c);
	memset(c, 0, sizeof(*c));
	c->dev = dev;
	c->readonly = -1;
	err = dev->mmu->pmap_create(dev, &c->pmap);
	if (err) {
		free(c);
		return err;
	}
	c->host = malloc(PAGES * PAGE);
	assert_non_null(c->host);
	memset(c->host, 0, PAGES * PAGE);
	pthread_mutex_init(&c->lock, NULL);
	dev->attached++;
	last_context = c;
	*ctx = c;
	return 0;
}

int gm_as_detach(struct gm_context *c)
{
	assert_int_equal(c->dev->mmu->pmap_release(c->pmap, (uintptr_t)VA, PAGES * PAGE), 0);
	assert_int_equal(c->dev->mmu->tlb_invl(c->pmap, (uintptr_t)VA, PAGES * PAGE), 0);
	c->dev->mmu->pmap_destroy(c->dev, c->pmap);
	c->dev->attached--;
	pthread_mutex_destroy(&c->lock);
	free(c->host);
	free(c);
	return 0;
}

void *gm_context_pmap(const struct gm_context *ctx)
{
	return ctx->pmap;
}

static int page_copy(struct gm_context *c, uint64_t i, enum gm_copy_dir dir)
{
	struct gm_extent ext = { .pa = BASE + i * PAGE,
				 .host = (uintptr_t)c->host + i * PAGE,
				 .len = PAGE };
	struct gm_fence fence;
	int err;

	fence_init(&fence);
	err = c->dev->mmu->copy(c->dev, dir, &ext, 1, &fence);
	if (err)
		return err;
	err = fence_wait(&fence);
	assert_int_equal(fence.done, 1);
	return err;
}

/* Bring page @i home; @invl false: without the invalidation, a bug. */
static int page_home(struct gm_context *c, uint64_t i, bool invl)
{
	uint64_t va = (uintptr_t)VA + i * PAGE;
	int err = 0;

	pthread_mutex_lock(&c->lock);
	if (c->on_dev[i]) {
		err = c->dev->mmu->pmap_release(c->pmap, va, PAGE);
		if (!err && invl)
			err = c->dev->mmu->tlb_invl(c->pmap, va, PAGE);
		if (!err)
			err = page_copy(c, i, GM_TO_HOST);
		if (!err)
			c->on_dev[i] = false;
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

int gm_dev_fault(struct gm_context *c, uint64_t va, uint32_t access)
{
	uint64_t i = (va - (uintptr_t)VA) / PAGE;
	int err = 0;

	assert_true(access == GM_READ || access == GM_WRITE);
	pthread_mutex_lock(&c->lock);
	c->faults++;
	if (va < (uintptr_t)VA || i >= PAGES)
		err = -EFAULT;
	else if ((int)i == c->readonly && access == GM_WRITE)
		err = -EACCES;
	else if (c->busy && c->busy--)
		err = -EBUSY;
	if (!err && !c->on_dev[i])
		err = page_copy(c, i, GM_TO_DEV);
	if (!err) {
		err = c->dev->mmu->pmap_enter(c->pmap, va & ~(PAGE - 1), BASE + i * PAGE, PAGE,
					      PAGE,
					      (int)i == c->readonly ? GM_READ : GM_READ | GM_WRITE);
		c->on_dev[i] = true;
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

static int by_va(const void *a, const void *b)
{
	const struct gm_fault *x = a, *y = b;

	return x->va < y->va ? 1 : x->va > y->va ? -1 : 0; /* not the order they came in */
}

unsigned int gm_dev_fault_batch(struct gm_context *c, struct gm_fault *faults, unsigned int n)
{
	unsigned int i, failed = 0;

	assert_true(n > 0);
	if (n > c->largest_batch)
		c->largest_batch = n;
	qsort(faults, n, sizeof(*faults), by_va);
	for (i = 0; i < n; i++) {
		faults[i].err = gm_dev_fault(c, faults[i].va, faults[i].access);
		failed += !!faults[i].err;
	}
	return failed;
}

/* ------------------------------------------------------- calls that can fail */

static int calls_left = -1; /* until one fails; -1: none does */

static bool call_fails(void)
{
	return calls_left >= 0 && calls_left-- == 0;
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	return call_fails() ? NULL : __real_calloc(n, size);
}

void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return call_fails() ? NULL : __real_aligned_alloc(align, size);
}

void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return call_fails() ? MAP_FAILED : __real_mmap(addr, len, prot, flags, fd, off);
}

int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
	return call_fails() ? EAGAIN : __real_pthread_create(t, a, fn, arg);
}

/* ------------------------------------------------------------------ fixtures */

struct rig {
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
	struct gm_context *gm; /* behind ctx */
};

static struct gm_sim_options small(uint32_t flags)
{
	return (struct gm_sim_options){ .size = sizeof(struct gm_sim_options),
					.memory = PAGES * PAGE,
					.flags = flags };
}

static void rig_open(struct rig *r, const struct gm_sim_options *opt)
{
	assert_int_equal(gm_sim_create(opt, &r->sim), 0);
	assert_int_equal(gm_sim_attach(r->sim, NULL, &r->ctx), 0);
	r->gm = last_context;
}

static struct gm_sim_stats stats_of(struct rig *r)
{
	struct gm_sim_stats s = { .size = sizeof(s) };

	gm_sim_stats(r->sim, &s);
	return s;
}

static void rig_close(struct rig *r)
{
	assert_int_equal(gm_sim_destroy(r->sim), -EBUSY);
	assert_int_equal(gm_sim_detach(r->ctx), 0);
	assert_int_equal(stats_of(r).tables, 0);
	assert_int_equal(gm_sim_destroy(r->sim), 0);
}

/* ------------------------------------------------------------- options, birth */

static void options(void **state)
{
	static const struct {
		struct gm_sim_options opt;
		int err;
	} bad[] = {
		{ { .size = 0 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .memory = 1 << 20 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .memory = 3 << 20 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .memory = 1ULL << 48 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .table_memory = 100 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .table_memory = 1ULL << 44 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .base = 4096 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .base = 1ULL << 50 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .pgsize_bitmap = 1 << 16 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .pgsize_bitmap = 1 << 11 | 1 << 12 },
		  -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .pgsize_bitmap = 1 << 12 | 1ULL << 31 },
		  -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .lanes = 257 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .tlb_entries = 48 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .tlb_entries = 1 << 20 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .copy_threads = 65 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .flags = 1U << 31 }, -EINVAL },
	};
	struct {
		struct gm_sim_options opt;
		uint64_t tail;
	} newer = { .opt = { .size = sizeof(newer) }, .tail = 1 };
	struct gm_sim *sim = NULL, *other = NULL;
	struct gm_sim_options older = { .size = offsetof(struct gm_sim_options, memory),
					.name = "a name of more than thirty-one characters" };
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (gm_sim_create(&bad[i].opt, &sim) != bad[i].err)
			fail_msg("options %u", i);
	assert_int_equal(gm_sim_create(&newer.opt, &sim), -E2BIG);
	assert_null(sim);
	assert_int_equal(gm_sim_create(NULL, NULL), -EINVAL);
	assert_int_equal(gm_sim_destroy(NULL), -EINVAL);

	assert_int_equal(gm_sim_create(NULL, &sim), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
	newer.tail = 0;
	assert_int_equal(gm_sim_create(&newer.opt, &sim), 0);
	assert_int_equal(gm_sim_lanes(sim), 4);
	assert_string_equal(gm_sim_dev(sim)->name, "sim");
	assert_int_equal(gm_sim_dev(sim)->begin, BASE);
	assert_int_equal(gm_sim_dev(sim)->cpu, 0);
	assert_int_equal(gm_sim_dev(sim)->end, BASE + (64 << 20));
	assert_int_equal(gm_sim_dev(sim)->mmu->pgsize_bitmap, 0x211000);
	assert_int_equal(gm_sim_create(&older, &other), 0);
	assert_string_equal(gm_sim_dev(other)->name, "a name of more than thirty-one ");
	assert_int_equal(gm_sim_attach(NULL, NULL, NULL), -EINVAL);
	assert_int_equal(gm_sim_destroy(sim), 0);
	assert_int_equal(gm_sim_destroy(other), 0);
}

static void birth_fails(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_CHECK);
	struct gm_sim *sim = NULL;
	int i, err;

	(void)state;
	opt.copy_threads = 2;
	for (i = 0;; i++) {
		calls_left = i;
		err = gm_sim_create(&opt, &sim);
		if (!err)
			break;
		assert_true(err == -ENOMEM || err == -EAGAIN);
		assert_null(sim);
	}
	calls_left = -1;
	assert_true(i >= 14); /* the allocations, and three threads */
	assert_int_equal(gm_sim_destroy(sim), 0);
	fail_create = -ENOMEM;
	assert_int_equal(gm_sim_create(&opt, &sim), -ENOMEM);
	fail_create = 0;
	fail_register = -EEXIST;
	assert_int_equal(gm_sim_create(&opt, &sim), -EEXIST);
	fail_register = 0;
}

static void attach_fails(void **state)
{
	struct gm_sim_options opt = small(0);
	struct gm_sim_ctx *ctx[2];
	struct gm_sim *sim;

	(void)state;
	opt.table_memory = 2 * PAGE;
	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	calls_left = 0;
	assert_int_equal(gm_sim_attach(sim, NULL, &ctx[0]), -ENOMEM);
	calls_left = -1;
	gm_sim_inject(sim, GM_SIM_PMAP_CREATE, 0, 1, -EIO);
	assert_int_equal(gm_sim_attach(sim, NULL, &ctx[0]), -EIO);
	assert_int_equal(gm_sim_attach(sim, NULL, &ctx[0]), 0);
	assert_int_equal(gm_sim_attach(sim, NULL, &ctx[1]), 0);
	assert_int_equal(gm_sim_attach(sim, NULL, &ctx[1]), -ENOSPC);
	assert_int_equal(gm_sim_destroy(sim), -EBUSY);
	assert_int_equal(gm_sim_detach(ctx[0]), 0);
	assert_int_equal(gm_sim_detach(ctx[1]), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
}

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

/* ----------------------------------------------------- failures and their check */

static void missing_invalidation(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_CHECK | GM_SIM_SYNC_FAULTS);
	struct gm_extent ext = { .pa = BASE + PAGE, .len = 8 };
	struct gm_fence fence;
	char c = 'x';
	struct rig r;

	(void)state;
	rig_open(&r, &opt);
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_WRITE), 0);
	assert_int_equal(stats_of(&r).stale, 0);
	assert_int_equal(page_home(r.gm, 0, false), 0);
	assert_int_equal(stats_of(&r).stale, 1);
	/* Wrong data: the write by the stale translation is lost. */
	c = 'y';
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_WRITE), 0);
	assert_int_equal(r.gm->host[0], 'x');
	assert_int_equal(r.gm->dev->mmu->tlb_invl(r.ctx, (uintptr_t)VA, PAGE), 0);
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_READ), 0);
	assert_int_equal(c, 'x');

	/* Mapped, though in no TLB. */
	assert_int_equal(r.gm->dev->mmu->pmap_enter(r.ctx, (uintptr_t)VA + PAGE, BASE + PAGE, PAGE,
						    PAGE, GM_READ),
			 0);
	fence_init(&fence);
	assert_int_equal(r.gm->dev->mmu->zero(r.gm->dev, &ext, 1, &fence), 0);
	assert_int_equal(fence_wait(&fence), 0);
	assert_int_equal(stats_of(&r).stale, 2);
	rig_close(&r);
}

/* The translation comes to life after the copy has begun and before its fence. */
static void mapped_too_early(void **state)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct gm_extent ext = { .pa = BASE, .len = PAGE };
	struct gm_sim_options opt = small(GM_SIM_CHECK);
	struct gm_fence first, second;
	const struct gm_mmu *mmu;
	struct rig r;

	(void)state;
	opt.copy_threads = 1;
	rig_open(&r, &opt);
	mmu = r.gm->dev->mmu;
	fence_init(&first);
	fence_init(&second);
	first.gate = &gate;
	pthread_mutex_lock(&gate);
	assert_int_equal(mmu->zero(r.gm->dev, &ext, 1, &first), 0);
	ext.pa += PAGE; /* waits in the queue until the first fence is signalled */
	assert_int_equal(mmu->zero(r.gm->dev, &ext, 1, &second), 0);
	assert_int_equal(mmu->pmap_enter(r.ctx, (uintptr_t)VA, BASE + PAGE, PAGE, PAGE, GM_READ),
			 0);
	assert_int_equal(stats_of(&r).stale, 0);
	pthread_mutex_unlock(&gate);
	assert_int_equal(fence_wait(&first), 0);
	assert_int_equal(fence_wait(&second), 0);
	assert_int_equal(stats_of(&r).stale, 1);
	rig_close(&r);
}

static int peer_copy(struct rig *to, struct rig *from, uint64_t pa, uint64_t peer_pa, uint64_t len)
{
	struct gm_extent ext = { .pa = pa, .host = peer_pa, .len = len };
	struct gm_dev *dev = gm_sim_dev(to->sim);
	struct gm_fence fence;
	int err;

	fence_init(&fence);
	err = dev->mmu->copy_peer(dev, gm_sim_dev(from->sim), &ext, 1, &fence);
	if (err)
		assert_int_equal(fence.done, 0);
	else
		err = fence_wait(&fence);
	return err;
}

/* From one device to another, which is checked too: bounds, failures, stale translations, no link. */
static void peers_with(unsigned int threads)
{
	struct gm_sim_options opt = small(GM_SIM_CHECK | GM_SIM_SYNC_FAULTS);
	char in[2 * PAGE], out[2 * PAGE];
	struct rig a, b, c;

	opt.copy_threads = threads;
	rig_open(&a, &opt);
	rig_open(&b, &opt);
	opt.flags |= GM_SIM_NO_LINK;
	rig_open(&c, &opt);
	for (unsigned int i = 0; i < sizeof(in); i++)
		in[i] = (char)(i * 7 + i / 256);
	assert_int_equal(gm_sim_access(a.ctx, VA, in, 2 * PAGE, GM_WRITE), 0);
	assert_int_equal(gm_sim_access(b.ctx, VA + 5 * PAGE, out, 2 * PAGE, GM_READ), 0);
	assert_int_equal(page_home(b.gm, 5, true) + page_home(b.gm, 6, true), 0);

	/* Mapped by the source; by the target; in a TLB of the source. */
	assert_int_equal(peer_copy(&b, &a, BASE + 5 * PAGE, BASE, PAGE), 0);
	assert_int_equal(stats_of(&a).stale, 1);
	assert_int_equal(stats_of(&b).stale, 0);
	assert_int_equal(peer_copy(&a, &b, BASE, BASE + 5 * PAGE, PAGE), 0);
	assert_int_equal(stats_of(&a).stale, 2);
	assert_int_equal(a.gm->dev->mmu->pmap_release(a.ctx, (uintptr_t)VA, 2 * PAGE), 0);
	assert_int_equal(peer_copy(&b, &a, BASE + 5 * PAGE, BASE, PAGE), 0);
	assert_int_equal(stats_of(&a).stale, 3);
	assert_int_equal(a.gm->dev->mmu->tlb_invl(a.ctx, (uintptr_t)VA, 2 * PAGE), 0);
	assert_int_equal(peer_copy(&b, &a, BASE + 5 * PAGE + 3, BASE + 3, 2 * PAGE - 3), 0);
	assert_int_equal(stats_of(&a).stale + stats_of(&b).stale, 3);
	assert_int_equal(b.gm->dev->mmu->pmap_enter(b.ctx, (uintptr_t)VA + 5 * PAGE,
						    BASE + 5 * PAGE, 2 * PAGE, PAGE, GM_READ),
			 0);
	assert_int_equal(gm_sim_access(b.ctx, VA + 5 * PAGE, out, 2 * PAGE, GM_READ), 0);
	assert_memory_equal(in, out, 2 * PAGE);

	/* It is the target's engine that fails, and counts. */
	gm_sim_inject(a.sim, GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(peer_copy(&b, &a, BASE + 9 * PAGE, BASE, PAGE), 0);
	assert_int_equal(peer_copy(&a, &b, BASE, BASE + 9 * PAGE, PAGE), -EIO);
	gm_sim_inject(b.sim, GM_SIM_COPY_FENCE, 0, 1, -ENOMEM);
	assert_int_equal(peer_copy(&b, &a, BASE + 9 * PAGE, BASE, PAGE), -ENOMEM);
	gm_sim_inject(a.sim, GM_SIM_COPY_START, 0, 0, 0);
	assert_int_equal(peer_copy(&b, &a, BASE - PAGE, BASE, PAGE), -EINVAL);
	assert_int_equal(peer_copy(&b, &a, BASE, BASE + PAGES * PAGE, PAGE), -EINVAL);
	assert_int_equal(peer_copy(&b, &a, BASE, BASE + PAGES * PAGE - 1, 2), -EINVAL);
	assert_int_equal(peer_copy(&b, &c, BASE, BASE, PAGE), -EOPNOTSUPP);
	assert_int_equal(peer_copy(&c, &b, BASE, BASE, PAGE), -EOPNOTSUPP);
	rig_close(&a);
	rig_close(&b);
	rig_close(&c);
}

static void peers(void **state)
{
	(void)state;
	peers_with(0);
	peers_with(2);
}

static void injection(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_SYNC_FAULTS);
	const struct gm_mmu *mmu;
	struct rig r;
	char c = 1;

	(void)state;
	rig_open(&r, &opt);
	mmu = r.gm->dev->mmu;
	gm_sim_inject(r.sim, GM_SIM_PMAP_ENTER, 1, 2, -EIO);
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_WRITE), 0);
	assert_int_equal(gm_sim_access(r.ctx, VA + PAGE, &c, 1, GM_WRITE), -EIO);
	assert_int_equal(gm_sim_access(r.ctx, VA + PAGE, &c, 1, GM_WRITE), -EIO);
	assert_int_equal(gm_sim_access(r.ctx, VA + PAGE, &c, 1, GM_WRITE), 0);
	gm_sim_inject(r.sim, GM_SIM_COPY_START, 0, UINT32_MAX, -ENOMEM);
	assert_int_equal(gm_sim_access(r.ctx, VA + 2 * PAGE, &c, 1, GM_WRITE), -ENOMEM);
	assert_int_equal(gm_sim_access(r.ctx, VA + 2 * PAGE, &c, 1, GM_WRITE), -ENOMEM);
	gm_sim_inject(r.sim, GM_SIM_COPY_START, 0, 0, 0);
	gm_sim_inject(r.sim, GM_SIM_NR_OPS, 0, 1, -EIO);
	assert_int_equal(gm_sim_access(r.ctx, VA + 2 * PAGE, &c, 1, GM_WRITE), 0);

	gm_sim_inject(r.sim, GM_SIM_PMAP_RELEASE, 0, 1, -EIO);
	assert_int_equal(page_home(r.gm, 0, true), -EIO);
	gm_sim_inject(r.sim, GM_SIM_TLB_INVL, 0, 2, -EIO);
	assert_int_equal(page_home(r.gm, 0, true), -EIO);
	assert_int_equal(mmu->tlb_invl_coalesced(r.ctx, NULL, 0), -EIO);
	assert_int_equal(page_home(r.gm, 0, true), 0);
	gm_sim_inject(r.sim, GM_SIM_PMAP_PROTECT, 0, 1, -EIO);
	assert_int_equal(mmu->pmap_protect(r.ctx, (uintptr_t)VA, PAGE, GM_READ), -EIO);
	assert_int_equal(mmu->pmap_protect(r.ctx, (uintptr_t)VA, PAGE, GM_READ), 0);
	rig_close(&r);
}

/* The engine itself: extents of any length, its bounds, and a fence that fails half-way. */
static void engine_with(unsigned int threads)
{
	static uint8_t host[PAGES * PAGE], back[PAGES * PAGE];
	static struct gm_extent ext[600];
	struct gm_sim_options opt = small(GM_SIM_CHECK);
	struct gm_fence fence[8];
	const struct gm_mmu *mmu;
	struct gm_sim *sim;
	struct gm_dev *dev;
	unsigned int i;

	opt.copy_threads = threads;
	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	dev = gm_sim_dev(sim);
	mmu = dev->mmu;
	for (i = 0; i < sizeof(host); i++)
		host[i] = (uint8_t)(i * 11 + i / 256);

	/* 600 pieces of uneven length, end to end: more than a request of the pool holds. */
	for (i = 0; i < 600; i++)
		ext[i] = (struct gm_extent){ .pa = BASE + 7 + i * 33,
					     .host = (uintptr_t)host + i * 33,
					     .len = i ? 33 : 0 };
	fence_init(&fence[0]);
	assert_int_equal(mmu->copy(dev, GM_TO_DEV, ext, 600, &fence[0]), 0);
	assert_int_equal(fence_wait(&fence[0]), 0);
	ext[0] = (struct gm_extent){ BASE + 7 + 33, (uintptr_t)back, 599 * 33 };
	fence_init(&fence[0]);
	assert_int_equal(mmu->copy(dev, GM_TO_HOST, ext, 1, &fence[0]), 0);
	assert_int_equal(fence_wait(&fence[0]), 0);
	assert_memory_equal(back, host + 33, 599 * 33);

	/* More at once than the pool has. The list of extents is gone when copy returns. */
	for (i = 0; i < 8; i++) {
		fence_init(&fence[i]);
		ext[0] = (struct gm_extent){ BASE + i * 64 * PAGE, (uintptr_t)host + i * 64 * PAGE,
					     64 * PAGE };
		assert_int_equal(mmu->copy(dev, GM_TO_DEV, ext, 1, &fence[i]), 0);
		memset(ext, 0, sizeof(ext[0]));
	}
	for (i = 0; i < 8; i++)
		assert_int_equal(fence_wait(&fence[i]), 0);
	ext[0] = (struct gm_extent){ BASE, (uintptr_t)back, PAGES * PAGE };
	fence_init(&fence[0]);
	assert_int_equal(mmu->copy(dev, GM_TO_HOST, ext, 1, &fence[0]), 0);
	assert_int_equal(fence_wait(&fence[0]), 0);
	assert_memory_equal(back, host, PAGES * PAGE);

	/* Half of what was asked for, nothing else, and the error. */
	gm_sim_inject(sim, GM_SIM_COPY_FENCE, 0, 1, -EIO);
	ext[0] = (struct gm_extent){ BASE + PAGE, 0, PAGE };
	ext[1] = (struct gm_extent){ BASE + 4 * PAGE, 0, PAGE };
	fence_init(&fence[0]);
	assert_int_equal(mmu->zero(dev, ext, 2, &fence[0]), 0);
	assert_int_equal(fence_wait(&fence[0]), -EIO);
	memset(host + PAGE, 0, PAGE);
	ext[0] = (struct gm_extent){ BASE, (uintptr_t)back, PAGES * PAGE };
	fence_init(&fence[0]);
	assert_int_equal(mmu->copy(dev, GM_TO_HOST, ext, 1, &fence[0]), 0);
	assert_int_equal(fence_wait(&fence[0]), 0);
	assert_memory_equal(back, host, PAGES * PAGE);

	/* What is not data is refused: tables, and what is not there. */
	ext[0] = (struct gm_extent){ BASE + PAGES * PAGE - 1, (uintptr_t)back, 2 };
	assert_int_equal(mmu->copy(dev, GM_TO_DEV, ext, 1, &fence[0]), -EINVAL);
	ext[0] = (struct gm_extent){ BASE - 1, (uintptr_t)back, 2 };
	assert_int_equal(mmu->zero(dev, ext, 1, &fence[0]), -EINVAL);
	ext[0] = (struct gm_extent){ BASE, (uintptr_t)back, UINT64_MAX };
	assert_int_equal(mmu->copy(dev, GM_TO_HOST, ext, 1, &fence[0]), -EINVAL);
	assert_int_equal(gm_sim_destroy(sim), 0);
}

static void engine(void **state)
{
	(void)state;
	engine_with(0);
	engine_with(1);
	engine_with(3);
}

static void stats_sizes(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_SYNC_FAULTS);
	struct {
		struct gm_sim_stats s;
		uint64_t tail;
	} newer = { .tail = 5 };
	struct gm_sim_stats older;
	struct rig r;
	char c;

	(void)state;
	rig_open(&r, &opt);
	assert_int_equal(gm_sim_access(r.ctx, VA, &c, 1, GM_READ), 0);
	newer.s.size = sizeof(newer);
	gm_sim_stats(r.sim, &newer.s);
	assert_int_equal(newer.s.size, sizeof(newer));
	assert_int_equal(newer.s.faults, 1);
	assert_int_equal(newer.s.tables, 4);
	assert_int_equal(newer.tail, 0);
	memset(&older, 0xff, sizeof(older));
	older.size = offsetof(struct gm_sim_stats, tlb_misses);
	gm_sim_stats(r.sim, &older);
	assert_int_equal(older.accesses, 1);
	assert_int_equal(older.tlb_misses, UINT64_MAX);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options),
		cmocka_unit_test(birth_fails),
		cmocka_unit_test(attach_fails),
		cmocka_unit_test(access_from_outside),
		cmocka_unit_test(busy_faults_are_replayed),
		cmocka_unit_test(accessors),
		cmocka_unit_test(no_update_is_lost),
		cmocka_unit_test(lanes_that_end),
		cmocka_unit_test(duplicates),
		cmocka_unit_test(accesses_wait_for_each_other),
		cmocka_unit_test(one_thing_at_a_time),
		cmocka_unit_test(missing_invalidation),
		cmocka_unit_test(mapped_too_early),
		cmocka_unit_test(peers),
		cmocka_unit_test(injection),
		cmocka_unit_test(engine),
		cmocka_unit_test(stats_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
