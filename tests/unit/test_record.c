// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Recording, on the linux-user host with the real core and the simulated accelerator: what was
 * done stands in the trace, in its order and nothing else; of several threads each one's own
 * order, and all of it; what cannot be written is told.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <gmem/driver.h>
#include <gmem/gmem.h>
#include <gmem/sim.h>

#include "trace/trace.h"

#define PAGE GM_PAGE_SIZE
#define BLOCK GM_BLOCK_SIZE

static char path[] = "/tmp/gmem-record-XXXXXX";

/* ------------------------------------------------------------------------ memory that is short */

static int calls_left = -1; /* until one fails; -1: none does */
static bool no_mmap;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off);

static bool fails(void)
{
	return calls_left >= 0 && calls_left-- == 0;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	if (no_mmap) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap64(addr, len, prot, flags, fd, off);
}

/* -------------------------------------------------------------------------------- the bench */

struct bench {
	struct gm_as *as;
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
};

static struct bench bench_open(uint32_t as_flags, uint32_t lanes)
{
	struct gm_as_options as_opt = { .size = sizeof(as_opt), .flags = as_flags };
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 8 * BLOCK,
				      .lanes = lanes,
				      .flags = lanes == 1 ? GM_SIM_SYNC_FAULTS : 0 };
	struct bench b;

	assert_int_equal(gm_as_create(&as_opt, &b.as), 0);
	assert_int_equal(gm_sim_create(&opt, &b.sim), 0);
	assert_int_equal(gm_sim_attach(b.sim, b.as, &b.ctx), 0);
	return b;
}

static void bench_close(struct bench *b)
{
	assert_int_equal(gm_sim_detach(b->ctx), 0);
	assert_int_equal(gm_sim_destroy(b->sim), 0);
	assert_int_equal(gm_as_destroy(b->as), 0);
}

static char *alloc(struct gm_as *as, uint64_t len)
{
	void *p;

	assert_int_equal(gm_alloc(as, len, 0, &p), 0);
	return p;
}

static void dev_touch(struct gm_sim_ctx *ctx, char *p, uint32_t access)
{
	char c = 1;

	assert_int_equal(gm_sim_access(ctx, p, &c, 1, access), 0);
}

static struct gm_trace_reader *reader(void)
{
	struct gm_trace_error error;
	struct gm_trace_reader *r;
	int err = gm_trace_reader_open(path, &r, &error);

	if (err)
		fail_msg("%s, at %llu", error.text, (unsigned long long)error.offset);
	return r;
}

static bool next(struct gm_trace_reader *r, struct gm_trace_record *rec)
{
	struct gm_trace_error error;
	int ret = gm_trace_reader_next(r, rec, &error);

	if (ret < 0)
		fail_msg("%s, at %llu", error.text, (unsigned long long)error.offset);
	return ret == 1;
}

/* kind, dev, object, what, page, pages, lines */
static void is_trace(const struct gm_trace_record *want, size_t n)
{
	struct gm_trace_reader *r = reader();
	struct gm_trace_record rec;

	for (size_t i = 0; i < n; i++) {
		assert_true(next(r, &rec));
		if (rec.kind != want[i].kind || rec.dev != want[i].dev ||
		    rec.object != want[i].object || rec.what != want[i].what ||
		    rec.page != want[i].page || rec.pages != want[i].pages ||
		    rec.lines != want[i].lines)
			fail_msg("record %zu: kind %d dev %u object %u what %u pages %llu+%llu "
				 "lines %u",
				 i, rec.kind, rec.dev, rec.object, rec.what,
				 (unsigned long long)rec.page, (unsigned long long)rec.pages,
				 rec.lines);
	}
	assert_false(next(r, &rec));
	gm_trace_reader_close(r);
}

#define IS_TRACE(want) is_trace(want, sizeof(want) / sizeof(*(want)))

/* ------------------------------------------------------------------------- what stands in it */

static void exactly(uint32_t as_flags)
{
	static const struct gm_trace_record want[] = {
		{ GM_TRACE_OBJECT, 0, 0, 0, 0, 1024, 0 },
		{ GM_TRACE_PRESENT, 0, 0, 0, 2, 6, 0 },
		{ GM_TRACE_ACCESS, 1, 0, GM_READ, 3, 3, 1 },
		{ GM_TRACE_ACCESS, 1, 0, GM_WRITE, 5, 1, 2 },
		{ GM_TRACE_CPU_FAULT, 0, 0, GM_WRITE, 4, 1, 0 },
		{ GM_TRACE_ACCESS, 1, 0, GM_READ, 5, 1, 0 }, /* of the line used last */
		{ GM_TRACE_PRESENT, 0, 0, 0, 600, 1, 0 },
		{ GM_TRACE_ACCESS, 1, 0, GM_WRITE, 700, 1, 1 },
		{ GM_TRACE_CPU_FAULT, 0, 0, GM_READ, 700, 1, 0 },
		{ GM_TRACE_HINT, 1, 0, GM_PREFETCH, 5, 2, 0 },
		{ GM_TRACE_HINT, 1, 0, GM_COLD, 0, 1024, 0 },
		{ GM_TRACE_HINT, 0, 0, GM_PREFETCH, 5, 1, 0 },
		{ GM_TRACE_DISCARD, 0, 0, 0, 510, 4, 0 },
		{ GM_TRACE_DISCARD, 0, 0, 0, 0, 512, 0 },
		{ GM_TRACE_UNMAP, 0, 0, 0, 0, 1024, 0 },
	};
	struct bench b = bench_open(as_flags, 1);
	int node = gm_dev_hnode(gm_sim_dev(b.sim));
	volatile char *mem = alloc(b.as, 2 * BLOCK);
	char *p = (char *)(uintptr_t)mem;

	memset(p + 2 * PAGE, 1, 6 * PAGE);
	mem[600 * PAGE] = 1;
	assert_int_equal(gm_record_start(path), 0);
	assert_int_equal(gm_record_start(path), -EBUSY);
	for (uint64_t i = 3; i < 6; i++)
		dev_touch(b.ctx, p + i * PAGE, GM_READ);
	dev_touch(b.ctx, p + 5 * PAGE + 99, GM_WRITE);
	dev_touch(b.ctx, p + 5 * PAGE, GM_READ); /* another line, and else nothing new */
	mem[4 * PAGE] = 2;			 /* and with it come the pages around */
	mem[3 * PAGE] = 2;
	dev_touch(b.ctx, p + 5 * PAGE, GM_READ);
	dev_touch(b.ctx, p + 700 * PAGE, GM_WRITE);
	assert_int_equal(mem[700 * PAGE], 1);
	assert_int_equal(hmadvise(node, p + 5 * PAGE + 1, PAGE, GM_PREFETCH), 0);
	assert_int_equal(hmadvise(node, p, 2 * BLOCK, GM_COLD), 0);
	assert_int_equal(hmadvise(GM_NODE_HOST, p + 5 * PAGE, PAGE, GM_PREFETCH), 0);
	assert_int_equal(hmadvise(node + 1, p, PAGE, GM_PREFETCH), -ENODEV); /* not taken */
	assert_int_equal(hmadvise(0, p + 510 * PAGE - 1, 4 * PAGE + 2, GM_DONTNEED), 0);
	assert_int_equal(gm_as_unmap(b.as, p, BLOCK), 0);
	assert_int_equal(gm_as_unmap(b.as, p + BLOCK, BLOCK), 0);
	assert_int_equal(gm_record_stop(), 0);
	assert_int_equal(gm_record_stop(), -ENOENT);
	IS_TRACE(want);
	bench_close(&b);
}

static void exact(void **state)
{
	(void)state;
	exactly(0);
	exactly(GM_AS_INLINE);
}

static int job_ends(const struct gm_hint *hints, unsigned int n)
{
	struct gm_job *job;
	int err;

	assert_int_equal(gm_job_start(hints, n, &job), 0);
	err = gm_job_wait(job, GM_FOREVER);
	gm_job_free(job);
	return err;
}

/*
 * What a job does stands there in its order, and before what is done after it was waited for; of one
 * that fails only what was behind it when it did: hints that move are behind when another kind follows.
 */
static void jobs(void **state)
{
	static const struct gm_trace_record want[] = {
		{ GM_TRACE_OBJECT, 0, 0, 0, 0, 4096, 0 },
		{ GM_TRACE_HINT, 1, 0, GM_PREFETCH, 0, 1024, 0 },
		{ GM_TRACE_HINT, 1, 0, GM_PREFETCH, 1024, 3, 0 },
		{ GM_TRACE_HINT, 0, 0, GM_COLD, 1, 1, 0 },
		{ GM_TRACE_HINT, 0, 0, GM_PREFETCH, 512, 512, 0 },
		{ GM_TRACE_ACCESS, 1, 0, GM_WRITE, 0, 1, 1 },
		{ GM_TRACE_HINT, 1, 0, GM_PREFETCH, 512, 1, 0 },
		{ GM_TRACE_HINT, 0, 0, GM_WILLNEED, 0, 1, 0 },
		{ GM_TRACE_HINT, 1, 0, GM_PREFETCH, 1536, 1, 0 },
		{ GM_TRACE_ACCESS, 1, 0, GM_WRITE, 513, 1, 1 },
		{ GM_TRACE_HINT, 1, 0, GM_PREFETCH, 520, 1, 0 },
	};
	struct bench b = bench_open(0, 1);
	int node = gm_dev_hnode(gm_sim_dev(b.sim));
	char *p = alloc(b.as, 8 * BLOCK);
	const struct gm_hint good[] = {
		{ p, 2 * BLOCK, node, GM_PREFETCH },
		{ p + 2 * BLOCK, 3 * PAGE, node, GM_PREFETCH },
		{ p + PAGE, PAGE, GM_NODE_HOST, GM_COLD },
		{ p + BLOCK, BLOCK, GM_NODE_HOST, GM_PREFETCH },
	};
	const struct gm_hint bad[] = {
		{ p + BLOCK, PAGE, node, GM_PREFETCH },
		{ p, PAGE, GM_NODE_HOST, GM_WILLNEED },
		{ p + 3 * BLOCK, PAGE, node, GM_PREFETCH },
		{ p, PAGE, node + 1, GM_ACCESSED_BY }, /* there is none: not taken */
		{ p + 4 * BLOCK, PAGE, GM_NODE_HOST, GM_COLD },
	};
	const struct gm_hint nowhere[] = {
		{ p, PAGE, node, GM_PREFETCH },
		{ p + 7 * BLOCK, BLOCK + PAGE, node, GM_PREFETCH },
	};
	char c[PAGE] = { 0 };

	(void)state;
	assert_int_equal(gm_record_start(path), 0);
	assert_int_equal(job_ends(good, 4), 0);
	dev_touch(b.ctx, p, GM_WRITE);
	assert_int_equal(job_ends(bad, 5), -ENODEV);
	assert_int_equal(job_ends(nowhere, 2), -EFAULT);
	assert_int_equal(hmadvise(node, p, 8 * BLOCK + PAGE, GM_PREFETCH), -EFAULT);
	dev_touch(b.ctx, p + BLOCK + PAGE, GM_WRITE);
	assert_int_equal(hmemcpy(node, p + BLOCK + 8 * PAGE, c, PAGE), 0);
	assert_int_equal(gm_record_stop(), 0);
	IS_TRACE(want);
	bench_close(&b);
}

/* An object by its pages, wherever it is mapped, and wherever a device sees it; two devices. */
static void by_object(void **state)
{
	static const struct gm_trace_record want[] = {
		{ GM_TRACE_OBJECT, 0, 0, 0, 0, 1024, 0 },
		{ GM_TRACE_ACCESS, 1, 0, GM_WRITE, 517, 1, 1 },
		{ GM_TRACE_ACCESS, 2, 0, GM_READ, 513, 2, 1 },
		{ GM_TRACE_OBJECT, 0, 1, 0, 0, 512, 0 },
		{ GM_TRACE_PRESENT, 0, 1, 0, 1, 1, 0 },
		{ GM_TRACE_ACCESS, 2, 1, GM_WRITE, 1, 1, 1 },
	};
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = 64 * BLOCK,
				      .pgsize_bitmap = 64 << 10,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_SPARSE };
	struct bench b = bench_open(0, 1);
	const uint64_t dev_va = 5 * BLOCK;
	const struct gm_trace_info *info;
	struct gm_trace_reader *r;
	struct gm_sim_ctx *ctx;
	struct gm_object *obj;
	struct gm_sim *sim;
	char *other;
	void *p;

	(void)state;
	assert_int_equal(gm_object_create(2 * BLOCK, 0, &obj), 0);
	p = NULL;
	assert_int_equal(gm_as_map(b.as, obj, BLOCK, BLOCK, GM_READ | GM_WRITE, 0, &p), 0);
	other = alloc(b.as, BLOCK);
	other[PAGE] = 1;
	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	assert_int_equal(gm_sim_attach(sim, b.as, &ctx), 0);
	assert_int_equal(gm_sim_window_add(ctx, p, BLOCK, dev_va), 0);
	assert_int_equal(gm_sim_window_add(ctx, other, BLOCK, 9 * BLOCK), 0);
	assert_int_equal(gm_record_start(path), 0);
	dev_touch(b.ctx, (char *)p + 5 * PAGE, GM_WRITE);
	dev_touch(ctx, (char *)(uintptr_t)(dev_va + PAGE), GM_READ);
	dev_touch(ctx, (char *)(uintptr_t)(dev_va + 2 * PAGE), GM_READ);
	dev_touch(ctx, (char *)(uintptr_t)(9 * BLOCK + PAGE), GM_WRITE);
	assert_int_equal(gm_record_stop(), 0);
	dev_touch(b.ctx, other, GM_WRITE); /* nobody asks any more */
	IS_TRACE(want);
	r = reader();
	info = gm_trace_reader_info(r);
	assert_int_equal(info->nr_devs, 2);
	assert_int_equal(info->dev[0].pages, 8 * 512);
	assert_int_equal(info->dev[0].base_page, 1);
	assert_int_equal(info->dev[1].pages, 4 * 512);
	assert_int_equal(info->dev[1].base_page, 16);
	gm_trace_reader_close(r);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
	gm_object_put(obj);
	bench_close(&b);
}

/* More objects than a hash table begins with; each has the number of its coming. */
static void many_objects(void **state)
{
	struct bench b = bench_open(0, 1);
	struct gm_trace_reader *r;
	struct gm_trace_record rec;
	uint32_t objects = 0;

	(void)state;
	assert_int_equal(gm_record_start(path), 0);
	for (int i = 0; i < 200; i++) {
		char *p = alloc(b.as, PAGE);

		dev_touch(b.ctx, p, GM_WRITE);
		if (i % 3)
			assert_int_equal(gm_as_unmap(b.as, p, PAGE), 0);
	}
	assert_int_equal(gm_record_stop(), 0);
	r = reader();
	assert_int_equal(gm_trace_reader_info(r)->records[GM_TRACE_OBJECT], 200);
	assert_int_equal(gm_trace_reader_info(r)->records[GM_TRACE_UNMAP], 133);
	while (next(r, &rec)) {
		if (rec.kind == GM_TRACE_OBJECT)
			assert_int_equal(rec.object, objects++);
		else
			assert_int_equal(rec.object, objects - 1);
	}
	gm_trace_reader_close(r);
	bench_close(&b);
}

/* ------------------------------------------------------------------- several at the same time */

#define LANES 4U
#define WALK 256U /* pages that are a lane's own */
#define ROUNDS 10U

struct crowd {
	struct bench b;
	char *mem; /* of each lane its pages; behind them, the CPU threads' */
	bool stop; /* atomic */
	unsigned int seed;
};

static uint64_t step(uint32_t lane, uint32_t i)
{
	return lane * WALK + (i * 37 + lane) % WALK; /* never the page of the step before */
}

static void walk(struct gm_sim_lane *lane, void *arg)
{
	uint32_t id = gm_sim_lane_id(lane);
	struct crowd *c = arg;

	for (uint32_t i = 0; i < ROUNDS * WALK; i++)
		gm_sim_store8(lane, c->mem + step(id, i) * PAGE, (uint8_t)i);
}

/* Touches what the lanes write, which takes it from them, and makes memory come and go. */
static void *cpu(void *arg)
{
	struct crowd *c = arg;
	uint64_t n = 0;

	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		char *p = alloc(c->b.as, BLOCK), *page = c->mem + n++ * 29 % (LANES * WALK) * PAGE;

		__atomic_load_n(page + 100, __ATOMIC_RELAXED);
		assert_int_equal(
			hmadvise(gm_dev_hnode(gm_sim_dev(c->b.sim)), p, 16 * PAGE, GM_PREFETCH), 0);
		__atomic_store_n(p, 1, __ATOMIC_RELAXED);
		assert_int_equal(gm_as_unmap(c->b.as, p, BLOCK), 0);
	}
	return NULL;
}

/*
 * Each lane's steps are all there, in the lane's order, but that one may come twice if the page
 * was taken from the lane meanwhile and nothing else was between, and then it is merged.
 */
static void check_walks(void)
{
	uint32_t at[LANES] = { 0 };
	struct gm_trace_reader *r = reader();
	struct gm_trace_record rec;

	while (next(r, &rec)) {
		for (uint64_t page = rec.page; page < rec.page + rec.pages; page++) {
			uint32_t lane = (uint32_t)(page / WALK);

			if (rec.kind != GM_TRACE_ACCESS || rec.object || lane >= LANES)
				continue;
			assert_int_equal(rec.what, GM_WRITE);
			assert_true(at[lane] < ROUNDS * WALK);
			assert_int_equal(page, step(lane, at[lane]));
			at[lane]++;
		}
	}
	for (uint32_t lane = 0; lane < LANES; lane++)
		assert_int_equal(at[lane], ROUNDS * WALK);
	assert_true(gm_trace_reader_info(r)->records[GM_TRACE_UNMAP] > 0);
	gm_trace_reader_close(r);
}

static void crowd(void **state)
{
	struct crowd c = { .b = bench_open(0, LANES) };
	pthread_t threads[2];

	(void)state;
	c.mem = alloc(c.b.as, 4 * BLOCK);
	dev_touch(c.b.ctx, c.mem, GM_WRITE);
	assert_int_equal(gm_record_start(path), 0);
	dev_touch(c.b.ctx, c.mem + 4 * BLOCK - PAGE, GM_WRITE); /* so that this is object 0 */
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, cpu, &c), 0);
	assert_int_equal(gm_sim_launch(c.b.ctx, walk, &c), 0);
	__atomic_store_n(&c.stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(gm_record_stop(), 0);
	check_walks();
	bench_close(&c.b);
}

/* Recordings that begin and end in the middle of everything are whole. */
static void begin_and_end(void **state)
{
	struct crowd c = { .b = bench_open(GM_AS_INLINE, LANES) };
	struct gm_trace_record rec;
	struct gm_trace_reader *r;
	pthread_t thread;

	(void)state;
	c.mem = alloc(c.b.as, 4 * BLOCK);
	assert_int_equal(pthread_create(&thread, NULL, cpu, &c), 0);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(gm_record_start(path), 0);
		if (i & 1)
			assert_int_equal(gm_sim_launch(c.b.ctx, walk, &c), 0);
		else
			usleep(2000);
		assert_int_equal(gm_record_stop(), 0);
		r = reader();
		while (next(r, &rec))
			;
		gm_trace_reader_close(r);
	}
	__atomic_store_n(&c.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	bench_close(&c.b);
}

/* ----------------------------------------------------------------------------- what goes wrong */

static void refused(void **state)
{
	(void)state;
	assert_int_equal(gm_record_start(NULL), -EINVAL);
	assert_int_equal(gm_record_start(""), -EINVAL);
	assert_int_equal(gm_record_start("/nonexistent/t"), -ENOENT);
	assert_int_equal(gm_record_stop(), -ENOENT);
	for (int skip = 0;; skip++) {
		int err;

		calls_left = skip;
		err = gm_record_start(path);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		assert_true(skip < 10);
	}
	calls_left = -1;
	assert_int_equal(gm_record_stop(), 0);
}

/* The disk is full: the program goes on, and hears of it in the end. */
static void full_disk(void **state)
{
	struct crowd c = { .b = bench_open(0, LANES) };

	(void)state;
	c.mem = alloc(c.b.as, 4 * BLOCK);
	assert_int_equal(gm_record_start("/dev/full"), 0);
	assert_int_equal(gm_sim_launch(c.b.ctx, walk, &c), 0);
	assert_int_equal(gm_record_stop(), -ENOSPC);
	assert_int_equal(gm_record_start(path), 0); /* and may try again */
	dev_touch(c.b.ctx, c.mem, GM_WRITE);
	assert_int_equal(gm_record_stop(), 0);
	bench_close(&c.b);
}

/* No memory for what is recorded, and for the table of objects: the same. */
static void no_memory(void **state)
{
	struct bench b = bench_open(0, 1);
	char *p = alloc(b.as, BLOCK);

	(void)state;
	dev_touch(b.ctx, p, GM_WRITE);
	assert_int_equal(gm_record_start(path), 0);
	no_mmap = true;
	dev_touch(b.ctx, p, GM_WRITE);
	no_mmap = false;
	dev_touch(b.ctx, p, GM_READ);
	assert_int_equal(gm_record_stop(), -ENOMEM);

	assert_int_equal(gm_record_start(path), 0);
	dev_touch(b.ctx, p, GM_WRITE);
	calls_left = 0;
	assert_int_equal(gm_record_stop(), -ENOMEM);
	calls_left = -1;
	bench_close(&b);
}

static int make_path(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact),     cmocka_unit_test(by_object),
		cmocka_unit_test(jobs),	     cmocka_unit_test(many_objects),
		cmocka_unit_test(crowd),     cmocka_unit_test(begin_and_end),
		cmocka_unit_test(refused),   cmocka_unit_test(full_disk),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}
