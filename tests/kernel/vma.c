// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Linux does to mappings, done to ours: the CPU sees what it would see of any shared
 * mapping, and a device sees the same.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

static uint64_t *at(void *p)
{
	return p;
}

static int dev_err(struct kt *t, uint32_t op, void *va)
{
	uint64_t v = 0;

	return kt_dev(t->sim, t->ctx, op, va, &v, sizeof(v));
}

/* Begin, middle and end of a mapping that is on the device, at odd and at block boundaries. */
static void partial_munmap(void)
{
	static const struct {
		uint64_t off, len;
	} holes[] = { { 0, PAGE },
		      { 5 * PAGE, 3 * PAGE },
		      { BLOCK, BLOCK },
		      { 3 * BLOCK - PAGE, 2 * PAGE },
		      { 4 * BLOCK - 17 * PAGE, 17 * PAGE } };
	struct kt t;

	kt_begin(&t, 4 * BLOCK, 0);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		*at(t.mem + i) = i;
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	for (unsigned int h = 0; h < 5; h++) {
		uint64_t off = holes[h].off, end = off + holes[h].len;

		CHECK_EQ(munmap(t.mem + off, holes[h].len), 0);
		CHECK_EQ(dev_err(&t, GMEM_SIM_READ, t.mem + off), -EFAULT);
		CHECK_EQ(dev_err(&t, GMEM_SIM_READ, t.mem + end - PAGE), -EFAULT);
		if (off)
			CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + off - PAGE), off - PAGE);
		if (end < t.len)
			CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + end), end);
		if (end < t.len) {
			kt_dev_store(t.sim, t.ctx, t.mem + end + 8, h + 1);
			CHECK_EQ(*at(t.mem + end + 8), h + 1);
		}
	}
	/* The bytes of a named object stay; mapped again they are there. */
	CHECK_EQ(mmap(t.mem + 5 * PAGE, 3 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, t.obj,
		      5 * PAGE) == t.mem + 5 * PAGE,
		 1);
	CHECK_EQ(*at(t.mem + 6 * PAGE), 6 * PAGE);
	kt_end(&t);
}

static void protect(void)
{
	struct kt t;

	kt_begin(&t, 2 * BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem + 3 * PAGE, 3);
	kt_dev_store(t.sim, t.ctx, t.mem + 4 * PAGE, 4);
	CHECK_EQ(mprotect(t.mem + 3 * PAGE, PAGE, PROT_READ), 0);
	CHECK_EQ(dev_err(&t, GMEM_SIM_WRITE, t.mem + 3 * PAGE), -EACCES);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 3 * PAGE), 3);
	CHECK_EQ(dev_err(&t, GMEM_SIM_WRITE, t.mem + 4 * PAGE), 0);
	CHECK_EQ(mprotect(t.mem + 3 * PAGE, PAGE, PROT_NONE), 0);
	CHECK_EQ(dev_err(&t, GMEM_SIM_READ, t.mem + 3 * PAGE), -EFAULT);
	CHECK_EQ(mprotect(t.mem, t.len, PROT_READ | PROT_WRITE), 0);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 3 * PAGE), 3);
	kt_dev_store(t.sim, t.ctx, t.mem + 3 * PAGE, 33);
	CHECK_EQ(*at(t.mem + 3 * PAGE), 33);
	/* A driver that does not let go of a mapping: mprotect says so, and nothing changes. */
	kt_dev_store(t.sim, t.ctx, t.mem, 1);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_PMAP_PROTECT, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_PMAP_RELEASE, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(mprotect(t.mem, t.len, PROT_READ), -1);
	CHECK_EQ(errno, EIO);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_PMAP_PROTECT, 0, 0, 0), 0);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_PMAP_RELEASE, 0, 0, 0), 0);
	*at(t.mem) = 9;
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 9);
	kt_end(&t);
}

static void move(void)
{
	unsigned char *to;
	struct kt t;

	kt_begin(&t, 4 * BLOCK, 0);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		kt_dev_store(t.sim, t.ctx, t.mem + i, i + 1);
	*at(t.mem + PAGE) = 11; /* one of them home */
	to = mremap(t.mem, t.len, t.len, MREMAP_MAYMOVE | MREMAP_FIXED, t.mem + (1UL << 32) + PAGE);
	CHECK(to == t.mem + (1UL << 32) + PAGE);
	CHECK_EQ(dev_err(&t, GMEM_SIM_READ, t.mem), -EFAULT);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, to + PAGE), 11);
	for (uint64_t i = 2 * PAGE; i < t.len; i += 16 * PAGE)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, to + i), i + 1);
	t.mem = to;
	/* A piece out of the middle. */
	to = mremap(t.mem + BLOCK, BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED,
		    t.mem + (1UL << 33));
	CHECK(to == t.mem + (1UL << 33));
	CHECK_EQ(dev_err(&t, GMEM_SIM_READ, t.mem + BLOCK), -EFAULT);
	CHECK_EQ(dev_err(&t, GMEM_SIM_READ, t.mem + 2 * BLOCK - 8), -EFAULT);
	kt_dev_store(t.sim, t.ctx, to + 5 * PAGE, 5);
	CHECK_EQ(*at(to + 5 * PAGE), 5);
	CHECK_EQ(*at(t.mem + 2 * BLOCK), 2 * BLOCK + 1);
	/* Shorter. */
	CHECK(mremap(to, BLOCK, PAGE, 0) == to);
	CHECK_EQ(dev_err(&t, GMEM_SIM_READ, to + PAGE), -EFAULT);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, to), BLOCK + 1);
	munmap(to, PAGE);
	kt_end(&t);
}

static void grow(void)
{
	unsigned char *p;
	struct kt t;

	kt_begin(&t, 2 * BLOCK, 0);
	munmap(t.mem + BLOCK, BLOCK);
	p = mremap(t.mem, BLOCK, 2 * BLOCK, 0);
	CHECK(p == t.mem);
	*at(p + BLOCK) = 7;
	/* gmem(4): a device sees what was added after mprotect(). */
	CHECK_EQ(dev_err(&t, GMEM_SIM_READ, p + BLOCK), -EFAULT);
	CHECK_EQ(mprotect(p, 2 * BLOCK, PROT_READ | PROT_WRITE), 0);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, p + BLOCK), 7);
	kt_dev_store(t.sim, t.ctx, p + BLOCK, 8);
	CHECK_EQ(*at(p + BLOCK), 8);
	kt_end(&t);
}

/* The same bytes at two addresses here, and in a second address space. */
static void aliases(void)
{
	unsigned char *a, *b;
	struct kt t;
	int as2, ctx2;

	kt_begin(&t, 2 * BLOCK, 0);
	as2 = kt_as(BLOCK);
	ctx2 = kt_attach(t.sim, as2);
	CHECK(as2 >= 0 && ctx2 >= 0 && ctx2 != t.ctx);
	CHECK_EQ(kt_attach(t.sim, as2), -EBUSY);
	a = kt_map(t.as, t.obj, PAGE, BLOCK, RW);
	b = kt_map(as2, t.obj, 0, 2 * BLOCK, GMEM_PROT_READ);
	*at(t.mem + 2 * PAGE) = 1;
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, a + PAGE), 1);
	kt_dev_store(t.sim, t.ctx, a + PAGE, 2);
	CHECK_EQ(kt_dev_load(t.sim, ctx2, b + 2 * PAGE), 2);
	CHECK_EQ(kt_dev(t.sim, ctx2, GMEM_SIM_READ, a, (char[8]){ 0 }, 8), -EFAULT);
	CHECK_EQ(*at(b + 2 * PAGE), 2);
	*at(t.mem + 2 * PAGE) = 3;
	CHECK_EQ(kt_dev_load(t.sim, ctx2, b + 2 * PAGE), 3);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 2 * PAGE), 3);
	munmap(a, BLOCK);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 2 * PAGE), 3);
	munmap(b, 2 * BLOCK);
	close(as2);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_DETACH,
			  &(struct gmem_sim_detach){ 8, (uint32_t)ctx2 }),
		 0);
	kt_end(&t);
}

static void advice_and_locks(void)
{
	unsigned char there[512];
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	memset(t.mem, 5, t.len);
	kt_dev_store(t.sim, t.ctx, t.mem, 6);
	CHECK_EQ(madvise(t.mem, t.len, MADV_DONTNEED), 0); /* of shared memory: bytes stay */
	CHECK_EQ(*at(t.mem), 6);
	CHECK_EQ(t.mem[BLOCK - 1], 5);
	kt_dev_store(t.sim, t.ctx, t.mem, 7);
	CHECK_EQ(mlock(t.mem, 4 * PAGE), 0); /* brings home, and keeps in memory what is home */
	CHECK_EQ(kt_node(t.as, t.mem), GMEM_NODE_HOST);
	kt_dev_store(t.sim, t.ctx, t.mem + PAGE, 8);
	CHECK_EQ(*at(t.mem + PAGE), 8);
	CHECK_EQ(munlock(t.mem, t.len), 0);
	CHECK_EQ(msync(t.mem, t.len, MS_SYNC), 0);
	CHECK_EQ(mincore(t.mem, t.len, there), 0);
	CHECK_EQ(there[0] & 1, 1);
	CHECK_EQ(madvise(t.mem, t.len, MADV_REMOVE), -1);
	CHECK_EQ(errno, ENODEV);
	CHECK_EQ(madvise(t.mem, t.len, MADV_WILLNEED), 0);
	CHECK_EQ(madvise(t.mem, t.len, MADV_HUGEPAGE), 0);
	CHECK_EQ(*at(t.mem), 7);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, t.obj, 0) == MAP_FAILED);
	CHECK_EQ(errno, EINVAL);
	kt_end(&t);
}

/* System calls reach memory that is on a device, either way. */
static void syscalls(void)
{
	struct iovec mine, its;
	struct kt t;
	int fd[2];

	kt_begin(&t, BLOCK, 0);
	for (uint64_t i = 0; i < 16 * PAGE; i += 8)
		kt_dev_store(t.sim, t.ctx, t.mem + i, i);
	CHECK_EQ(pipe(fd), 0);
	CHECK_EQ(write(fd[1], t.mem, 8 * PAGE), 8 * PAGE);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), 0);
	CHECK_EQ(read(fd[0], t.mem + 8 * PAGE, 8 * PAGE), 8 * PAGE);
	for (uint64_t i = 0; i < 16 * PAGE; i += 8)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i), i % (8 * PAGE));
	mine = (struct iovec){ t.mem + 20 * PAGE, PAGE };
	its = (struct iovec){ t.mem + PAGE, PAGE };
	CHECK_EQ(process_vm_readv(getpid(), &mine, 1, &its, 1, 0), PAGE);
	CHECK_EQ(*at(t.mem + 20 * PAGE), PAGE);
	kt_end(&t);
}

/*
 * Pages that the kernel has handed out (here to a pipe, which holds them until they are
 * read) are not migrated: the device is told so, and gets them afterwards.
 */
static void pinned_by_kernel(void)
{
	struct iovec v;
	char page[PAGE];
	struct kt t;
	int fd[2];

	kt_begin(&t, BLOCK, 0);
	kt_tune(t.sim, PAGE, false);
	*at(t.mem + PAGE) = 1;
	kt_dev_store(t.sim, t.ctx, t.mem, 2);
	CHECK_EQ(pipe(fd), 0);
	v = (struct iovec){ t.mem, 2 * PAGE }; /* the first is on the device: brought home */
	CHECK_EQ(vmsplice(fd[1], &v, 1, 0), 2 * PAGE);
	CHECK_EQ(kt_node(t.as, t.mem), GMEM_NODE_HOST);
	CHECK_EQ(dev_err(&t, GMEM_SIM_READ, t.mem), -EBUSY);
	CHECK_EQ(dev_err(&t, GMEM_SIM_WRITE, t.mem + PAGE), -EBUSY);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 2 * PAGE), 0); /* its neighbour is free */
	*at(t.mem) = 3;
	CHECK_EQ(read(fd[0], page, PAGE), PAGE);
	CHECK_EQ(*at(page), 3); /* the pipe had the page, not a copy */
	CHECK_EQ(read(fd[0], page, PAGE), PAGE);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 3);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + PAGE), 1);
	kt_end(&t);
}

/* A device that does not let go cannot keep the process from unmapping, nor get others' bytes. */
static void stubborn_device(void)
{
	uint64_t va;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 1);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_PMAP_RELEASE, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(munmap(t.mem, t.len), 0);
	va = (uint64_t)(uintptr_t)t.mem;
	CHECK_EQ(kt_map_at(t.as, t.obj, 0, t.len, RW, &va), -EBUSY);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_PMAP_RELEASE, 0, 0, 0), 0);
	CHECK_EQ(kt_map_at(t.as, t.obj, 0, t.len, RW, &va), 0);
	CHECK_EQ(*at(t.mem), 1);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 1);
	kt_end(&t);
}

/* Addresses of 57 bits, which the device's 48 do not reach: the CPU's alone, and no obstacle. */
static void high_addresses(void)
{
	uint64_t va = 1UL << 50;
	struct kt t;
	int err;

	kt_begin(&t, 2 * BLOCK, 0);
	err = kt_map_at(t.as, t.obj, 0, t.len, RW, &va);
	if (err) {
		printf("  no such addresses here\n");
		CHECK_EQ(err, -ENOMEM);
	} else {
		unsigned char *high = (unsigned char *)(uintptr_t)va;

		kt_dev_store(t.sim, t.ctx, t.mem, 5);
		CHECK_EQ(dev_err(&t, GMEM_SIM_READ, high), -EFAULT);
		CHECK_EQ(*at(high), 5);
		*at(high) = 6;
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 6);
		CHECK_EQ(mprotect(high, BLOCK, PROT_READ), 0);
		CHECK_EQ(munmap(high + PAGE, BLOCK), 0);
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 6);
		munmap(high, t.len);
	}
	kt_end(&t);
}

/*
 * One block at very many addresses: taking it from the CPU takes as long as there are mappings
 * to look at, and not the square of it.
 */
static void many_mappings(void)
{
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	for (unsigned int i = 0; i < 6000; i++)
		*at((unsigned char *)kt_map(t.as, t.obj, 0, BLOCK, RW) + i % 512 * PAGE) = i;
	for (unsigned int i = 0; i < 4; i++) {
		kt_dev_store(t.sim, t.ctx, t.mem, i);
		CHECK_EQ(*at(t.mem), i);
	}
}

const struct kt_test kt_vma[] = {
	{ "partial_munmap", partial_munmap, 0 },
	{ "protect", protect, 0 },
	{ "move", move, 0 },
	{ "grow", grow, 0 },
	{ "aliases", aliases, 0 },
	{ "advice_and_locks", advice_and_locks, 0 },
	{ "syscalls", syscalls, 0 },
	{ "pinned_by_kernel", pinned_by_kernel, 0 },
	{ "stubborn_device", stubborn_device, 0 },
	{ "high_addresses", high_addresses, 0 },
	{ "many_mappings", many_mappings, 0 },
	{ 0 },
};
