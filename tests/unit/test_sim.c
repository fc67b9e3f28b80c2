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
#include "test_sim.h"

/* --------------------------------------------------------- in place of gmem */

struct gm_dev {
	const struct gm_mmu *mmu;
	void *data;
	char name[40];
	uint64_t begin, end, cpu;
	int attached, removed;
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

void fence_init(struct gm_fence *f)
{
	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->cond, NULL);
}

int fence_wait(struct gm_fence *f)
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

/* Nothing of it is to be mapped by the time that gmem is told. */
int gm_dev_remove(struct gm_dev *dev)
{
	dev->removed++;
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

const struct gm_mmu *mmu_of(const struct gm_dev *dev)
{
	return dev->mmu;
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

int page_home(struct gm_context *c, uint64_t i, bool invl)
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

uint32_t gm_recording;

struct recorded recorded;

void gm_record_access(struct gm_context *c, uint64_t va, uint32_t access, uint32_t lines)
{
	(void)c;
	assert_true(recorded.n < 64);
	recorded.page[recorded.n] = (va - (uintptr_t)VA) / PAGE;
	recorded.lines[recorded.n] = lines;
	recorded.access[recorded.n++] = access;
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

int calls_left = -1; /* until one fails; -1: none does */

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

void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return call_fails() ? MAP_FAILED : __real_mmap64(addr, len, prot, flags, fd, off);
}

int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
	return call_fails() ? EAGAIN : __real_pthread_create(t, a, fn, arg);
}

/* ------------------------------------------------------------------ fixtures */

struct gm_sim_options small(uint32_t flags)
{
	return (struct gm_sim_options){ .size = sizeof(struct gm_sim_options),
					.memory = PAGES * PAGE,
					.flags = flags };
}

void rig_open(struct rig *r, const struct gm_sim_options *opt)
{
	assert_int_equal(gm_sim_create(opt, &r->sim), 0);
	assert_int_equal(gm_sim_attach(r->sim, NULL, &r->ctx), 0);
	r->gm = last_context;
}

struct gm_sim_stats stats_of(struct rig *r)
{
	struct gm_sim_stats s = { .size = sizeof(s) };

	gm_sim_stats(r->sim, &s);
	return s;
}

void rig_close(struct rig *r)
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
		{ { .size = sizeof(struct gm_sim_options), .pgsize_bitmap = 1 << 11 | 1 << 12 },
		  -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .pgsize_bitmap = 1 << 12 | 1ULL << 31 },
		  -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .pgsize_bitmap = 1 << 30 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .lanes = 257 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .tlb_entries = 48 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .tlb_entries = 1 << 20 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .copy_threads = 65 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .flags = 1U << 31 }, -EINVAL },
		{ { .size = sizeof(struct gm_sim_options), .directory = "/dev/null" }, -ENOTDIR },
		{ { .size = sizeof(struct gm_sim_options), .directory = "/nonexistent" }, -ENOENT },
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
		cmocka_unit_test(stats_sizes),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	/* What the macro of cmocka's calls, which wants an array of known length. */
	failed += _cmocka_run_group_tests("lanes", sim_lanes_tests, nr_sim_lanes_tests, NULL, NULL);
	failed += _cmocka_run_group_tests("engine", sim_engine_tests, nr_sim_engine_tests, NULL,
					  NULL);
	failed += _cmocka_run_group_tests("count", sim_count_tests, nr_sim_count_tests, NULL, NULL);
	return failed;
}
