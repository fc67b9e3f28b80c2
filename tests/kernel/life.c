// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings that are remapped, limits of address spaces and of devices, and addresses that a
 * device has for itself: what the requests say, and what mremap(2) and mmap(2) do then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)

static uint64_t *at(void *p)
{
	return p;
}

static int dev_read(struct kt *t, void *va)
{
	uint64_t v;

	return kt_dev(t->sim, t->ctx, GMEM_SIM_READ, va, &v, sizeof(v));
}

static int occupy(struct kt *t, uint64_t va, uint64_t len, bool on)
{
	struct gmem_sim_occupy o = { .size = sizeof(o), .on = on, .va = va, .len = len };

	return kt_ioctl(t->sim, GMEM_SIM_IOC_OCCUPY, &o);
}

static uint64_t addresses(struct kt *t)
{
	struct gmem_sim_stats s = { .size = sizeof(s) };

	kt_sim_stats(t->sim, &s);
	return s.addresses;
}

static int mapping(int as, void *va, uint32_t flags, struct gmem_mapping *m)
{
	*m = (struct gmem_mapping){ .size = sizeof(*m),
				    .flags = flags,
				    .addr = (uint64_t)(uintptr_t)va };
	return kt_ioctl(as, GMEM_MAPPING, m);
}

/* A move that is refused is undone: the mapping is where it was, for the CPU and the device. */
static void remap_refused(void)
{
	unsigned char *to;
	struct kt t;

	kt_begin(&t, 2 * BLOCK, 0);
	to = t.mem + (1UL << 32);
	munmap(t.mem + BLOCK, BLOCK);
	for (uint64_t i = 0; i < BLOCK; i += PAGE)
		kt_dev_store(t.sim, t.ctx, t.mem + i, i + 1);
	*at(t.mem + PAGE) = 11;
	/* Longer than the object. */
	CHECK(mremap(t.mem, BLOCK, 3 * BLOCK, FIXED, to) == MAP_FAILED);
	CHECK_EQ(errno, EINVAL);
	/* The device's own addresses. */
	CHECK_EQ(occupy(&t, (uint64_t)(uintptr_t)to + 5 * PAGE, 1, true), 0);
	CHECK(mremap(t.mem, BLOCK, BLOCK, FIXED, to) == MAP_FAILED);
	CHECK_EQ(errno, EADDRINUSE);
	CHECK_EQ(addresses(&t), BLOCK);
	CHECK_EQ(dev_read(&t, to), -EFAULT);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + PAGE), 11);
	CHECK_EQ(*at(t.mem + 7 * PAGE), 7 * PAGE + 1);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 9 * PAGE), 9 * PAGE + 1);
	/* Now it may. */
	CHECK_EQ(occupy(&t, (uint64_t)(uintptr_t)to + 5 * PAGE, 1, false), 0);
	CHECK(mremap(t.mem, BLOCK, 2 * BLOCK, FIXED, to) == to);
	CHECK_EQ(addresses(&t), 2 * BLOCK);
	CHECK_EQ(dev_read(&t, t.mem), -EFAULT);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, to + 8 * PAGE), 8 * PAGE + 1);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, to + 2 * BLOCK - 8), 0);
	t.mem = to;
	kt_end(&t);
}

/* What is at an address; and mremap(2) in place, which devices see when they are told. */
static void mapping_told(void)
{
	struct gmem_mapping m;
	unsigned char *half;
	uint64_t id;
	struct kt t;
	int as2;

	kt_begin(&t, 4 * BLOCK, 0);
	CHECK_EQ(mapping(t.as, t.mem + 5 * PAGE + 3, 0, &m), 0);
	CHECK_EQ(m.begin, (uintptr_t)t.mem);
	CHECK_EQ(m.len, t.len);
	CHECK_EQ(m.offset, 0);
	CHECK_EQ(m.prot, RW);
	CHECK_EQ(m.bytes, t.len);
	CHECK_EQ(m.top, t.len);
	CHECK_EQ(m.tag, 0);
	id = m.object;
	CHECK(id);
	half = t.mem + 2 * BLOCK;
	CHECK_EQ(mprotect(half, BLOCK, PROT_READ), 0);
	CHECK_EQ(mapping(t.as, half + PAGE, 0, &m), 0);
	CHECK_EQ(m.begin, (uintptr_t)half);
	CHECK_EQ(m.len, BLOCK);
	CHECK_EQ(m.offset, 2 * BLOCK);
	CHECK_EQ(m.prot, GMEM_PROT_READ);
	CHECK_EQ(m.object, id);
	munmap(half + BLOCK, BLOCK);
	CHECK_EQ(mapping(t.as, half + BLOCK, 0, &m), -EFAULT);
	CHECK_EQ(mapping(t.as, &m, 0, &m), -EFAULT);
	CHECK_EQ(mapping(t.as, half, 2, &m), -EINVAL);
	as2 = kt_as(0);
	CHECK_EQ(mapping(as2, half, 0, &m), -EFAULT);
	/* Longer, and told so; it keeps its protection. */
	CHECK(mremap(half, BLOCK, BLOCK + 3 * PAGE, 0) == half);
	CHECK_EQ(dev_read(&t, half + BLOCK), -EFAULT);
	CHECK_EQ(mapping(t.as, half, GMEM_MAPPING_SHOW, &m), 0);
	CHECK_EQ(m.len, BLOCK + 3 * PAGE);
	CHECK_EQ(dev_read(&t, half + BLOCK + 2 * PAGE), 0);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_WRITE, half + BLOCK, &m, 8), -EACCES);
	/* Longer than the object: the CPU gets SIGBUS there, devices nothing of it. */
	CHECK(mremap(half, BLOCK + 3 * PAGE, 3 * BLOCK, 0) == half);
	CHECK_EQ(mapping(t.as, half, GMEM_MAPPING_SHOW, &m), -EINVAL);
	CHECK_EQ(dev_read(&t, half + 2 * BLOCK), -EFAULT);
	CHECK_EQ(dev_read(&t, half + BLOCK + 2 * PAGE), 0);
	munmap(half + BLOCK, 2 * BLOCK);
	kt_end(&t);
}

/* An object's tag, and from where on its bytes were never anybody's. */
static void mapping_of_tagged(void)
{
	struct gmem_object_create c = { .size = sizeof(c),
					.bytes = 4 * BLOCK,
					.tag = 0x1234567890abcdefULL };
	struct gmem_mapping m;
	unsigned char *p;
	struct kt t;
	int obj;

	kt_begin(&t, BLOCK, 0);
	obj = kt_ioctl(kt_gmem(), GMEM_OBJECT_CREATE, &c);
	CHECK(obj >= 0);
	p = kt_map(t.as, obj, 0, BLOCK, RW);
	CHECK_EQ(mapping(t.as, p, 0, &m), 0);
	CHECK_EQ(m.tag, c.tag);
	CHECK_EQ(m.top, BLOCK);
	CHECK_EQ(m.bytes, 4 * BLOCK);
	munmap(p + BLOCK / 2, BLOCK / 2);
	CHECK_EQ(mapping(t.as, p, 0, &m), 0);
	CHECK_EQ(m.top, BLOCK); /* were somebody's */
	/* The CPU's touch counts, though no device was told of the mapping. */
	CHECK(mremap(p, BLOCK / 2, 2 * BLOCK, MREMAP_MAYMOVE) != MAP_FAILED);
	p = mmap(NULL, 4 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, obj, 0);
	CHECK(p != MAP_FAILED);
	*at(p + 3 * BLOCK) = 1;
	munmap(p, 4 * BLOCK);
	p = kt_map(t.as, obj, 0, PAGE, RW);
	CHECK_EQ(mapping(t.as, p, 0, &m), 0);
	CHECK_EQ(m.top, 3 * BLOCK + PAGE);
	kt_end(&t);
}

/* GMEM_LIMIT: an address space's own blocks go, nobody else's. */
static void limit_of_space(void)
{
	struct gmem_limit l = { .size = sizeof(l), .bytes = BLOCK };
	struct gmem_hnode_info info = { .size = sizeof(info) };
	struct kt t;
	int as2, ctx2;
	unsigned char *theirs;

	kt_begin(&t, 3 * BLOCK, 4 * BLOCK);
	as2 = kt_as(0);
	ctx2 = kt_attach(t.sim, as2);
	theirs = kt_map(as2, kt_object(BLOCK), 0, BLOCK, RW);
	kt_tune(t.sim, PAGE, false);
	CHECK_EQ(kt_advise(as2, GMEM_PREFETCH, t.node, theirs, BLOCK), 0);
	l.hnode = t.node;
	CHECK_EQ(kt_ioctl(t.as, GMEM_LIMIT, &l), 0);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		kt_dev_store(t.sim, t.ctx, t.mem + i, i);
	kt_hnode(t.node, &info);
	CHECK_EQ(info.total - info.free, 2 * BLOCK);
	for (uint64_t i = 0; i < BLOCK; i += 64 * PAGE)
		CHECK_EQ(kt_node(as2, theirs + i), t.node);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(*at(t.mem + i), i);
	/* Lowered, and lifted. */
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), 0);
	l.bytes = 5 * PAGE;
	CHECK_EQ(kt_ioctl(t.as, GMEM_LIMIT, &l), 0);
	kt_hnode(t.node, &info);
	CHECK(info.total - info.free <= BLOCK + 5 * PAGE);
	l.bytes = 0;
	CHECK_EQ(kt_ioctl(t.as, GMEM_LIMIT, &l), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, 3 * BLOCK), 0);
	l.bytes = 5;
	CHECK_EQ(kt_ioctl(t.as, GMEM_LIMIT, &l), -EINVAL);
	l.bytes = PAGE;
	l.hnode = t.node + 40;
	CHECK_EQ(kt_ioctl(t.as, GMEM_LIMIT, &l), -ENODEV);
	l.hnode = GMEM_NODE_HOST;
	CHECK_EQ(kt_ioctl(t.as, GMEM_LIMIT, &l), -ENODEV);
	CHECK_EQ(kt_ioctl(t.obj, GMEM_LIMIT, &l), -ENOTTY);
	close(as2);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_DETACH,
			  &(struct gmem_sim_detach){ 8, (uint32_t)ctx2 }),
		 0);
	munmap(theirs, BLOCK);
	kt_end(&t);
}

static void limit_of_device(void)
{
	struct gmem_tune tune = { .size = sizeof(tune), .no_background = 1 };
	struct gmem_hnode_info info = { .size = sizeof(info) };
	struct kt t;

	kt_begin(&t, 4 * BLOCK, 4 * BLOCK);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		*at(t.mem + i) = i;
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	tune.hnode = t.node;
	tune.limit = BLOCK;
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_HNODE_TUNE, &tune), 0);
	kt_hnode(t.node, &info);
	CHECK_EQ(info.total, 4 * BLOCK);
	CHECK_EQ(info.usable, BLOCK);
	CHECK_EQ(info.total - info.free, BLOCK);
	for (uint64_t i = 0; i < t.len; i += PAGE)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i), i);
	kt_hnode(t.node, &info);
	CHECK(info.total - info.free <= BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_PIN, t.node, t.mem, 2 * BLOCK), -ENOSPC);
	tune.limit = 77;
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_HNODE_TUNE, &tune), -EINVAL);
	tune.limit = 0;
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_HNODE_TUNE, &tune), 0);
	kt_hnode(t.node, &info);
	CHECK_EQ(info.usable, 4 * BLOCK);
	kt_end(&t);
}

/* mmap(2) of an address that a device needs; and GMEM_MAP, which chooses another. */
static void own_addresses(void)
{
	struct gmem_map map = { .size = sizeof(map), .prot = RW, .len = BLOCK };
	unsigned char *p, *q;
	uint64_t va;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	CHECK_EQ(addresses(&t), BLOCK);
	p = kt_map(t.as, t.obj, 0, BLOCK, RW);
	va = (uint64_t)(uintptr_t)p;
	munmap(p, BLOCK);
	CHECK_EQ(occupy(&t, va + PAGE, PAGE, true), 0);
	q = kt_map(t.as, t.obj, 0, BLOCK, RW);
	CHECK(q + BLOCK <= p || q >= p + BLOCK);
	kt_dev_store(t.sim, t.ctx, q, 5);
	CHECK_EQ(*at(t.mem), 5);
	CHECK_EQ(kt_map_at(t.as, t.obj, 0, BLOCK, RW, &va), -EADDRINUSE);
	CHECK_EQ(addresses(&t), 2 * BLOCK);
	/* A part of it comes back with a part of the mapping, and with PROT_NONE. */
	CHECK_EQ(munmap(q + 7 * PAGE, PAGE), 0);
	CHECK_EQ(mprotect(q + 9 * PAGE, 2 * PAGE, PROT_NONE), 0);
	CHECK_EQ(addresses(&t), 2 * BLOCK - 3 * PAGE);
	CHECK_EQ(occupy(&t, (uint64_t)(uintptr_t)q + 9 * PAGE, 1, true), 0);
	CHECK_EQ(mprotect(q + 9 * PAGE, 2 * PAGE, PROT_READ), -1);
	CHECK_EQ(errno, EADDRINUSE);
	/* No address at all: it ends. */
	CHECK_EQ(occupy(&t, 0, 1UL << 47, true), 0);
	map.fd = t.obj;
	CHECK_EQ(kt_ioctl(t.as, GMEM_MAP, &map), -EADDRINUSE);
	CHECK_EQ(addresses(&t), 2 * BLOCK - 3 * PAGE);
	CHECK_EQ(occupy(&t, 1, 0, true), -EINVAL);
	CHECK_EQ(occupy(&t, 1, 1, false), -EINVAL);
	munmap(q, BLOCK);
	kt_end(&t);
}

const struct kt_test kt_life[] = {
	{ "life_remap_refused", remap_refused, 0 },
	{ "life_mapping_told", mapping_told, 0 },
	{ "life_mapping_of_tagged", mapping_of_tagged, 0 },
	{ "life_limit_of_space", limit_of_space, 0 },
	{ "life_limit_of_device", limit_of_device, 0 },
	{ "life_own_addresses", own_addresses, 0 },
	{ 0 },
};
