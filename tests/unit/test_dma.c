// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Batches for a copy engine: what is merged, how it is handed over, and that host frames
 * are let go of whatever fails. Destroying an object whose frames are held is a bug.
 */
#include "unit.h"

#include "core/dma.h"
#include "toy.h"

#define MAX_CALLS 8

/* What the engine was given, call by call. */
static struct {
	struct toy toy;
	struct gm_object *obj;
	struct gm_extent ext[MAX_CALLS][GM_DMA_MAX];
	unsigned int n[MAX_CALLS], calls;
	enum gm_copy_dir dir;
	unsigned int zeros;	  /* of these calls */
	unsigned int fail;	  /* which call, from 1; 0: none */
	int start_err, fence_err; /* how */
} e;

static int note(const struct gm_extent *ext, unsigned int n, struct gm_fence *fence)
{
	bool fails;

	assert_true(e.calls < MAX_CALLS && n && n <= GM_DMA_MAX);
	memcpy(e.ext[e.calls], ext, n * sizeof(*ext));
	e.n[e.calls++] = n;
	fails = e.calls == e.fail;
	if (fails && e.start_err)
		return e.start_err;
	gm_fence_signal(fence, fails ? e.fence_err : 0);
	return 0;
}

static int note_copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		     unsigned int n, struct gm_fence *fence)
{
	assert_ptr_equal(dev, e.toy.dev);
	e.dir = dir;
	return note(ext, n, fence);
}

static int note_zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		     struct gm_fence *fence)
{
	assert_ptr_equal(dev, e.toy.dev);
	e.zeros++;
	return note(ext, n, fence);
}

static int setup(void **state)
{
	unit_setup_as(state);
	memset(&e, 0, sizeof(e));
	toy_init(&e.toy, 2);
	e.toy.mmu.copy = note_copy;
	e.toy.mmu.zero = note_zero;
	assert_int_equal(toy_plug(&e.toy), 0);
	e.obj = unit_object(2 * BLOCK);
	return 0;
}

/* Frames that are still held can neither be freed nor go with their object. */
static int teardown(void **state)
{
	gm_os_backing_free(e.obj, 0, 2 * BLOCK);
	gm_object_put(e.obj);
	assert_int_equal(toy_unplug(&e.toy), 0);
	return unit_teardown(state);
}

static uint64_t pa(uint64_t page)
{
	return e.toy.base + page * PAGE;
}

/* The host's bus address of a page of the object. */
static uint64_t bus(uint64_t page)
{
	uint64_t at, got;

	assert_int_equal(gm_os_backing_get(e.obj, page * PAGE, PAGE, false, &at, &got), 0);
	gm_os_backing_put(e.obj, page * PAGE, PAGE);
	return at;
}

static void extent(unsigned int call, unsigned int i, uint64_t page, uint64_t host, uint64_t pages)
{
	assert_int_equal(e.ext[call][i].pa, pa(page));
	assert_int_equal(e.ext[call][i].len, pages * PAGE);
	if (!e.zeros)
		assert_int_equal(e.ext[call][i].host, bus(host));
}

/* Pieces that adjoin on both sides are one, and no others. */
static void merged(void **state)
{
	static const enum gm_dma_op ops[] = { GM_DMA_IN, GM_DMA_OUT };
	struct gm_dma dma;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		e.calls = 0;
		gm_dma_begin(&dma, e.toy.dev, ops[i], e.obj);
		gm_dma_add(&dma, pa(0), 0, 3 * PAGE, false);
		gm_dma_add(&dma, pa(3), 3 * PAGE, PAGE, false);	  /* both adjoin */
		gm_dma_add(&dma, pa(9), 4 * PAGE, PAGE, false);	  /* the host's alone */
		gm_dma_add(&dma, pa(10), 20 * PAGE, PAGE, false); /* the device's alone */
		gm_dma_add(&dma, pa(11), 21 * PAGE, 2 * PAGE, false);
		gm_dma_add(&dma, pa(10), 20 * PAGE, PAGE, true); /* backwards is not adjoining */
		assert_int_equal(e.calls, 0);
		assert_int_equal(gm_dma_end(&dma, ((struct unit *)*state)->as), 0);
		assert_int_equal(e.calls, 1);
		assert_int_equal(e.dir, i ? GM_TO_HOST : GM_TO_DEV);
		assert_int_equal(e.n[0], 4);
		extent(0, 0, 0, 0, 4);
		extent(0, 1, 9, 4, 1);
		extent(0, 2, 10, 20, 3);
		extent(0, 3, 10, 20, 1);
	}
	assert_true(unit_dev_stats(e.toy.dev).ns_copy > 0);
	assert_int_equal(unit_as_stats(((struct unit *)*state)->as).ns_copy,
			 unit_dev_stats(e.toy.dev).ns_copy);
}

/* However few bytes the host gives at a time, what is contiguous is one extent. */
static void host_gives_little(void **state)
{
	struct gm_dma dma;
	bool present;

	(void)state;
	gm_fake_set_max_run(PAGE);
	gm_dma_begin(&dma, e.toy.dev, GM_DMA_OUT, e.obj);
	gm_dma_add(&dma, pa(5), 7 * PAGE, 100 * PAGE, false);
	assert_int_equal(gm_dma_end(&dma, NULL), 0);
	assert_int_equal(e.calls, 1);
	assert_int_equal(e.n[0], 1);
	extent(0, 0, 5, 7, 100);
	assert_int_equal(gm_os_backing_run(e.obj, 7 * PAGE, 100 * PAGE, &present), 100 * PAGE);
	assert_true(present);
}

/* Zeros come from nowhere: only the device's side must adjoin, and no frame is held. */
static void zeros(void **state)
{
	struct gm_dma dma;
	bool present;

	(void)state;
	gm_fake_inject(GM_FAKE_BACKING_GET, 0, UINT32_MAX, -ENOMEM);
	gm_dma_begin(&dma, e.toy.dev, GM_DMA_ZERO, NULL);
	gm_dma_add(&dma, pa(0), 0, PAGE, false);
	gm_dma_add(&dma, pa(1), 77 * PAGE, PAGE, false);
	gm_dma_add(&dma, pa(3), 78 * PAGE, PAGE, false);
	assert_int_equal(gm_dma_end(&dma, NULL), 0);
	gm_fake_inject_clear();
	assert_int_equal(e.zeros, 1);
	assert_int_equal(e.n[0], 2);
	extent(0, 0, 0, 0, 2);
	extent(0, 1, 3, 0, 1);
	assert_int_equal(gm_os_backing_run(e.obj, 0, 2 * BLOCK, &present), 2 * BLOCK);
	assert_false(present);
}

/* Every second page of both, so that nothing is merged. */
static int scattered(unsigned int pieces)
{
	struct gm_dma dma;

	e.calls = 0;
	gm_dma_begin(&dma, e.toy.dev, GM_DMA_IN, e.obj);
	for (uint64_t i = 0; i < pieces; i++)
		gm_dma_add(&dma, pa(2 * i), 2 * i * PAGE, PAGE, false);
	return gm_dma_end(&dma, NULL);
}

static void more_than_fit(void **state)
{
	(void)state;
	assert_int_equal(scattered(0), 0);
	assert_int_equal(e.calls, 0); /* nothing to do is nothing done */
	assert_int_equal(scattered(GM_DMA_MAX), 0);
	assert_int_equal(e.calls, 1);
	assert_int_equal(scattered(2 * GM_DMA_MAX + 6), 0);
	assert_int_equal(e.calls, 3);
	for (unsigned int i = 0; i < 2 * GM_DMA_MAX + 6; i++)
		extent(i / GM_DMA_MAX, i % GM_DMA_MAX, 2 * i, 2 * i, 1);
	assert_int_equal(e.n[2], 6);
}

/* The first error is what is told, and nothing more is started. */
static void first_error(void **state)
{
	(void)state;
	for (unsigned int fail = 1; fail <= 3; fail++) {
		e.fail = fail;
		for (unsigned int how = 0; how < 2; how++) {
			e.start_err = how ? -EIO : 0;
			e.fence_err = how ? 0 : -ENODEV;
			assert_int_equal(scattered(2 * GM_DMA_MAX + 6), how ? -EIO : -ENODEV);
			assert_int_equal(e.calls, fail);
		}
	}
	e.fail = 0;
	assert_int_equal(scattered(2 * GM_DMA_MAX + 6), 0);
}

/* The host has no frame for a piece: what was gathered is not copied, but let go of. */
static void no_frame(void **state)
{
	static const unsigned int skips[] = { 0, 5, GM_DMA_MAX - 1, GM_DMA_MAX, GM_DMA_MAX + 3 };

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		gm_fake_inject(GM_FAKE_BACKING_GET, skips[i], 1, -ENOMEM);
		assert_int_equal(scattered(2 * GM_DMA_MAX), -ENOMEM);
		assert_int_equal(e.calls, skips[i] > GM_DMA_MAX);
		assert_int_equal(gm_fake_injected(), i + 1);
		gm_os_backing_free(e.obj, 0, 2 * BLOCK);
	}
	/* In the middle of a piece, too. */
	gm_fake_set_max_run(PAGE);
	gm_fake_inject(GM_FAKE_BACKING_GET, 3, 1, -ENOMEM);
	assert_int_equal(scattered(2), 0);
	gm_fake_inject(GM_FAKE_BACKING_GET, 1, 1, -ENOMEM);
	assert_int_equal(scattered(2), -ENOMEM);
	gm_fake_inject_clear();
}

/* Memory that is no object's: any number of bytes, anywhere. */
static void bytes_of_nobody(void **state)
{
	(void)state;
	e.fail = 3;
	e.fence_err = -EIO;
	assert_int_equal(gm_dma_bytes(e.toy.dev, GM_DMA_IN, pa(0) + 5, 0x1237, 17), 0);
	assert_int_equal(e.dir, GM_TO_DEV);
	assert_int_equal(e.ext[0][0].pa, pa(0) + 5);
	assert_int_equal(e.ext[0][0].host, 0x1237);
	assert_int_equal(e.ext[0][0].len, 17);
	assert_int_equal(gm_dma_bytes(e.toy.dev, GM_DMA_OUT, pa(1) - 1, 0x99, 1), 0);
	assert_int_equal(e.dir, GM_TO_HOST);
	assert_int_equal(gm_dma_bytes(e.toy.dev, GM_DMA_OUT, pa(0), 0x99, 1), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(merged, setup, teardown),
		cmocka_unit_test_setup_teardown(host_gives_little, setup, teardown),
		cmocka_unit_test_setup_teardown(zeros, setup, teardown),
		cmocka_unit_test_setup_teardown(more_than_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(first_error, setup, teardown),
		cmocka_unit_test_setup_teardown(no_frame, setup, teardown),
		cmocka_unit_test_setup_teardown(bytes_of_nobody, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
