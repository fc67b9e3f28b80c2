// SPDX-License-Identifier: GPL-2.0-only
/*
 * Objects in huge pages. Where the machine has none to give they work all the same, and
 * nothing is said of how they are mapped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static volatile uint64_t *at(void *p)
{
	return p;
}

static int huge_object(uint64_t bytes)
{
	struct gmem_object_create c = { .size = sizeof(c),
					.flags = GMEM_OBJECT_HUGE,
					.bytes = bytes };

	return kt_ioctl(kt_gmem(), GMEM_OBJECT_CREATE, &c);
}

static void begin(struct kt *t, uint64_t len)
{
	kt_begin(t, BLOCK, 8 * BLOCK);
	munmap(t->mem, t->len);
	close(t->obj);
	t->len = len;
	t->obj = huge_object(len);
	CHECK(t->obj >= 0);
	t->mem = kt_map(t->as, t->obj, 0, len, RW);
	CHECK_EQ((uintptr_t)t->mem % BLOCK, 0);
}

/* How much of the mapping at @va the CPU has in leaves of 2 MiB, in KiB. */
static unsigned long mapped_huge(void *va)
{
	unsigned long kib = ~0UL, start, end;
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[256];
	bool here = false;

	CHECK(f);
	while (kib == ~0UL && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = (unsigned long)va >= start && (unsigned long)va < end;
		else if (here)
			sscanf(line, "ShmemPmdMapped: %lu kB", &kib);
	}
	fclose(f);
	return kib;
}

static void fill(unsigned char *p, uint64_t len, uint64_t seed)
{
	for (uint64_t i = 0; i < len; i += PAGE)
		*at(p + i) = kt_pattern(seed, i);
}

static void check(unsigned char *p, uint64_t len, uint64_t seed)
{
	for (uint64_t i = 0; i < len; i += PAGE)
		CHECK_EQ(*at(p + i), kt_pattern(seed, i));
}

/* To the device and back, in part and as a whole; mapped in one leaf whenever it is home. */
static void huge_moves(void)
{
	unsigned long all;
	struct kt t;

	begin(&t, 2 * BLOCK);
	fill(t.mem, t.len, 1);
	all = mapped_huge(t.mem);
	CHECK_EQ(all, t.len >> 10); /* a machine that has just begun has them */
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i), kt_pattern(1, i));
	CHECK_EQ(kt_node(t.as, t.mem), t.node);
	CHECK_EQ(mapped_huge(t.mem), 0);
	check(t.mem, t.len, 1);
	CHECK_EQ(mapped_huge(t.mem), t.len >> 10);
	/* One page on the device: the whole leaf goes, and comes back with the next touch. */
	kt_tune(t.sim, PAGE, false);
	kt_dev_store(t.sim, t.ctx, t.mem + 7 * PAGE, 77);
	CHECK_EQ(kt_node(t.as, t.mem + 7 * PAGE), t.node);
	CHECK_EQ(kt_node(t.as, t.mem + 8 * PAGE), GMEM_NODE_HOST);
	CHECK_EQ(mapped_huge(t.mem), BLOCK >> 10);
	CHECK_EQ(*at(t.mem + 8 * PAGE), kt_pattern(1, 8 * PAGE));
	CHECK_EQ(kt_node(t.as, t.mem + 7 * PAGE), GMEM_NODE_HOST);
	CHECK_EQ(mapped_huge(t.mem), t.len >> 10);
	CHECK_EQ(*at(t.mem + 7 * PAGE), 77);
	kt_end(&t);
}

/* Zeros, whoever is first. */
static void huge_untouched(void)
{
	struct kt t;

	begin(&t, 2 * BLOCK);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 5 * PAGE), 0);
	for (uint64_t i = 0; i < t.len; i += 8)
		CHECK_EQ(*at(t.mem + i), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_DONTNEED, 0, t.mem, BLOCK), 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 3);
	CHECK_EQ(*at(t.mem + PAGE), 0);
	CHECK_EQ(*at(t.mem), 3);
	kt_end(&t);
}

static void huge_fails(void)
{
	struct kt t;

	begin(&t, BLOCK);
	fill(t.mem, t.len, 1);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_COPY_FENCE, 0, 1, EIO), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, GMEM_NODE_HOST, t.mem, t.len), -EIO);
	CHECK_EQ(kt_node(t.as, t.mem), t.node);
	check(t.mem, t.len, 1);
	kt_end(&t);
}

/* A page that the kernel has handed out holds back the whole of its huge page. */
static void huge_pinned(void)
{
	struct iovec v;
	char page[PAGE];
	struct kt t;
	int fd[2];

	begin(&t, 2 * BLOCK);
	fill(t.mem, t.len, 1);
	CHECK_EQ(pipe(fd), 0);
	v = (struct iovec){ t.mem + 3 * PAGE, PAGE };
	CHECK_EQ(vmsplice(fd[1], &v, 1, 0), PAGE);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), -EBUSY);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem + BLOCK, BLOCK), 0);
	CHECK_EQ(read(fd[0], page, PAGE), PAGE);
	CHECK_EQ(*at(page), kt_pattern(1, 3 * PAGE));
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), 0);
	check(t.mem, t.len, 1);
	kt_end(&t);
}

/* Nothing makes the kernel map what is on a device: neither of huge objects nor of others. */
static void huge_collapse(void)
{
	struct kt t;

	begin(&t, BLOCK);
	fill(t.mem, t.len, 1);
	kt_tune(t.sim, PAGE, false);
	kt_dev_store(t.sim, t.ctx, t.mem + 9 * PAGE, 99);
	CHECK_EQ(madvise(t.mem, t.len, MADV_HUGEPAGE), 0);
	CHECK_EQ(madvise(t.mem, t.len, MADV_COLLAPSE), -1);
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(*at(t.mem + 9 * PAGE), 99);
	kt_end(&t);

	kt_begin(&t, BLOCK, BLOCK);
	fill(t.mem, t.len, 2);
	CHECK_EQ(madvise(t.mem, t.len, MADV_COLLAPSE), -1);
	CHECK_EQ(errno, EINVAL);
	kt_tune(t.sim, PAGE, false);
	kt_dev_store(t.sim, t.ctx, t.mem + 9 * PAGE, 99);
	CHECK_EQ(madvise(t.mem, t.len, MADV_HUGEPAGE), 0);
	CHECK_EQ(madvise(t.mem, t.len, MADV_COLLAPSE), -1);
	CHECK_EQ(*at(t.mem + 10 * PAGE), kt_pattern(2, 10 * PAGE));
	CHECK_EQ(*at(t.mem + 9 * PAGE), 99);
	kt_end(&t);
}

/* What is no multiple of 2 MiB. */
static void huge_bad(void)
{
	uint64_t va = 0x200000000000UL + PAGE;
	void *p;
	struct kt t;

	CHECK_EQ(huge_object(BLOCK + PAGE), -EINVAL);
	begin(&t, 3 * BLOCK);
	CHECK_EQ(kt_map_at(t.as, t.obj, 0, BLOCK, RW, &va), -EINVAL);
	va = 0;
	CHECK_EQ(kt_map_at(t.as, t.obj, PAGE, BLOCK, RW, &va), -EINVAL);
	CHECK_EQ(kt_map_at(t.as, t.obj, 0, PAGE, RW, &va), -EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, t.obj, 0) == MAP_FAILED);
	CHECK_EQ(errno, EINVAL);
	fill(t.mem, t.len, 1);
	CHECK_EQ(munmap(t.mem + PAGE, PAGE), -1);
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(mprotect(t.mem, PAGE, PROT_READ), -1);
	CHECK_EQ(errno, EINVAL);
	CHECK(mremap(t.mem, 3 * BLOCK, 4 * BLOCK, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK_EQ(errno, EFAULT);
	p = mremap(t.mem + BLOCK, BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED,
		   (void *)(0x200000000000UL + PAGE));
	CHECK(p == MAP_FAILED);
	CHECK_EQ(errno, EINVAL);
	check(t.mem, t.len, 1);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + BLOCK), kt_pattern(1, BLOCK));
	/* What is one works. */
	CHECK_EQ(mprotect(t.mem, BLOCK, PROT_READ), 0);
	CHECK_EQ(munmap(t.mem + BLOCK, BLOCK), 0);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem + BLOCK, (char[8]){ 0 }, 8), -EFAULT);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 2 * BLOCK), kt_pattern(1, 2 * BLOCK));
	kt_end(&t);
}

const struct kt_test kt_huge[] = {
	{ "huge_moves", huge_moves, 0 },
	{ "huge_untouched", huge_untouched, 0 },
	{ "huge_fails", huge_fails, 0 },
	{ "huge_pinned", huge_pinned, 0 },
	{ "huge_collapse", huge_collapse, 0 },
	{ "huge_bad", huge_bad, 0 },
	{ 0 },
};
