// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A driver, with <gmem/driver.h> alone.
 *
 * The device's memory is an array. Its addresses have 30 bits, its page table is a flat array
 * with a word for each page of them: where in the memory it is, and how it may be used. It has
 * no TLB, and so every access looks there.
 *
 * Locking: an access holds the table's lock for reading while it looks, and while it loads or
 * stores. Changing the table takes it for writing, and so waits for accesses that are under way:
 * what tlb_invl promises pmap_release has done. No lock is held over gm_dev_fault().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <gmem/driver.h>
#include "driver.h"

#define VA_BITS 30
#define PAGES ((1ULL << VA_BITS) / GM_PAGE_SIZE)
#define BASE GM_BLOCK_SIZE /* physical address of the memory; any that is not 0 */

struct adder {
	struct gm_dev *dev;
	unsigned char *memory;
};

struct table {
	pthread_rwlock_t lock;
	uint64_t page[PAGES]; /* physical address | GM_READ | GM_WRITE; 0: nothing */
};

/* ------------------------------------------------------------ what gmem asks of it */

static int pmap_create(struct gm_dev *dev, void **pmap)
{
	struct table *t = calloc(1, sizeof(*t));

	(void)dev;
	if (!t)
		return -ENOMEM;
	pthread_rwlock_init(&t->lock, NULL);
	*pmap = t;
	return 0;
}

static void pmap_destroy(struct gm_dev *dev, void *pmap)
{
	struct table *t = pmap;

	(void)dev;
	pthread_rwlock_destroy(&t->lock);
	free(t);
}

static int pmap_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
		      uint32_t prot)
{
	struct table *t = pmap;

	(void)leaf; /* there is but one size */
	pthread_rwlock_wrlock(&t->lock);
	for (uint64_t at = 0; at < size; at += GM_PAGE_SIZE)
		t->page[(va + at) / GM_PAGE_SIZE] = (pa + at) | prot;
	pthread_rwlock_unlock(&t->lock);
	return 0;
}

static int pmap_release(void *pmap, uint64_t va, uint64_t size)
{
	struct table *t = pmap;

	pthread_rwlock_wrlock(&t->lock);
	memset(&t->page[va / GM_PAGE_SIZE], 0, size / GM_PAGE_SIZE * sizeof(t->page[0]));
	pthread_rwlock_unlock(&t->lock);
	return 0;
}

static int tlb_invl(void *pmap, uint64_t va, uint64_t size)
{
	(void)pmap;
	(void)va;
	(void)size;
	return 0;
}

static int copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		unsigned int n, struct gm_fence *fence)
{
	const struct adder *adder = gm_dev_data(dev);

	for (unsigned int i = 0; i < n; i++) {
		void *mine = adder->memory + (ext[i].pa - BASE), *host = (void *)ext[i].host;

		memcpy(dir == GM_TO_DEV ? mine : host, dir == GM_TO_DEV ? host : mine, ext[i].len);
	}
	gm_fence_signal(fence, 0);
	return 0;
}

static int zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		struct gm_fence *fence)
{
	const struct adder *adder = gm_dev_data(dev);

	for (unsigned int i = 0; i < n; i++)
		memset(adder->memory + (ext[i].pa - BASE), 0, ext[i].len);
	gm_fence_signal(fence, 0);
	return 0;
}

static const struct gm_mmu adder_mmu = {
	.size = sizeof(struct gm_mmu),
	.pgsize_bitmap = GM_PAGE_SIZE,
	.va_bits = VA_BITS,
	.pmap_create = pmap_create,
	.pmap_destroy = pmap_destroy,
	.pmap_enter = pmap_enter,
	.pmap_release = pmap_release,
	.tlb_invl = tlb_invl,
	.copy = copy,
	.zero = zero,
};

/* ---------------------------------------------------------------- what it asks of gmem */

int adder_create(uint64_t memory, struct adder **out)
{
	struct adder *adder = calloc(1, sizeof(*adder));
	int err = -ENOMEM;

	if (!adder)
		return -ENOMEM;
	adder->memory = malloc(memory);
	if (!adder->memory)
		goto err_adder;
	err = gm_dev_create(&adder_mmu, "adder", adder, &adder->dev);
	if (err)
		goto err_memory;
	err = gm_dev_register_physmem(adder->dev, BASE, BASE + memory);
	if (err)
		goto err_dev;
	*out = adder;
	return 0;

err_dev:
	gm_dev_destroy(adder->dev);
err_memory:
	free(adder->memory);
err_adder:
	free(adder);
	return err;
}

int adder_destroy(struct adder *adder)
{
	int err = gm_dev_destroy(adder->dev);

	if (err)
		return err;
	free(adder->memory);
	free(adder);
	return 0;
}

int adder_attach(struct adder *adder, struct gm_as *as, void *mem, uint64_t len,
		 struct gm_context **ctx)
{
	struct gm_window window = { .va = (uintptr_t)mem, .len = len, .dev_va = 0 };
	int err = gm_as_attach_sparse(as, adder->dev, GM_EXCLUSIVE, ctx);

	if (err)
		return err;
	err = gm_window_add(*ctx, &window, 1);
	if (err)
		gm_as_detach(*ctx);
	return err;
}

/* One access of the hardware; false: it faults. */
static int access_once(const struct adder *adder, struct table *t, uint64_t va, uint64_t *value,
		       uint32_t access)
{
	uint64_t entry, *word;
	int done = 0;

	pthread_rwlock_rdlock(&t->lock);
	entry = t->page[va / GM_PAGE_SIZE];
	if (entry & access) {
		word = (uint64_t *)(adder->memory + (entry & ~(GM_PAGE_SIZE - 1)) - BASE +
				    va % GM_PAGE_SIZE);
		if (access == GM_WRITE)
			*word = *value;
		else
			*value = *word;
		done = 1;
	}
	pthread_rwlock_unlock(&t->lock);
	return done;
}

static int access_word(const struct adder *adder, struct gm_context *ctx, uint64_t va,
		       uint64_t *value, uint32_t access)
{
	if (va >= 1ULL << VA_BITS || va % sizeof(*value))
		return -EFAULT;
	while (!access_once(adder, gm_context_pmap(ctx), va, value, access)) {
		int err = gm_dev_fault(ctx, va, access);

		if (err)
			return err;
	}
	return 0;
}

int adder_run(struct adder *adder, struct gm_context *ctx, uint64_t va, unsigned int n)
{
	uint64_t sum = 0, value;

	for (unsigned int i = 0; i < n; i++, va += sizeof(value)) {
		int err = access_word(adder, ctx, va, &value, GM_READ);

		if (err)
			return err;
		sum += value;
	}
	return access_word(adder, ctx, va, &sum, GM_WRITE);
}
