// SPDX-License-Identifier: GPL-2.0-only
/* The requests that a library makes besides: by address, of the machine, and to unmap. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

static uint64_t at(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

static int unmap(int as, uint32_t flags, uint64_t addr, uint64_t len)
{
	struct gmem_unmap u = { .size = sizeof(u), .flags = flags, .addr = addr, .len = len };

	return kt_ioctl(as, GMEM_UNMAP, &u);
}

static int is_mapped(int as, const void *p, uint64_t len)
{
	struct gmem_query q = { .size = sizeof(q), .addr = at(p), .len = len };

	return kt_ioctl(as, GMEM_QUERY, &q);
}

/* All or nothing; and everything, but not what another address space has. */
static void unmap_checked(void)
{
	struct kt t;
	unsigned char *mem, *far, *others;
	int other = kt_as(0);

	kt_begin(&t, 4 * BLOCK, 0);
	mem = t.mem;
	others = kt_map(other, t.obj, 0, PAGE, RW);
	far = kt_map(t.as, t.obj, BLOCK, PAGE, RW);
	kt_dev_store(t.sim, t.ctx, mem + BLOCK, 5);
	CHECK_EQ(unmap(t.as, 0, at(mem) + 1, PAGE), -EINVAL);
	CHECK_EQ(unmap(t.as, 0, at(mem), PAGE - 1), -EINVAL);
	CHECK_EQ(unmap(t.as, 0, at(mem), 0), -EINVAL);
	CHECK_EQ(unmap(t.as, 0, at(mem), -PAGE), -EINVAL);
	CHECK_EQ(unmap(t.as, 2, at(mem), PAGE), -EINVAL);
	CHECK_EQ(unmap(t.as, GMEM_UNMAP_ALL, at(mem), PAGE), -EINVAL);
	CHECK_EQ(unmap(t.as, 0, at(others), PAGE), -EFAULT);
	CHECK_EQ(unmap(other, 0, at(mem), PAGE), -EFAULT);
	CHECK_EQ(unmap(t.as, 0, 0xffff888000000000, PAGE), -EFAULT);

	CHECK_EQ(unmap(t.as, 0, at(mem) + PAGE, PAGE), 0);
	CHECK_EQ(is_mapped(t.as, mem, PAGE), 0);
	CHECK_EQ(is_mapped(t.as, mem, 2 * PAGE), -EFAULT);
	CHECK_EQ(unmap(t.as, 0, at(mem), 4 * BLOCK), -EFAULT); /* it has a hole */
	CHECK_EQ(is_mapped(t.as, mem + 2 * PAGE, 4 * BLOCK - 2 * PAGE), 0);
	CHECK_EQ(*(volatile uint64_t *)(mem + BLOCK), 5);
	CHECK_EQ(*(volatile uint64_t *)far, 5);
	CHECK_EQ(unmap(t.as, GMEM_UNMAP_ALL, 0, 0), 0);
	CHECK_EQ(is_mapped(t.as, mem, PAGE), -EFAULT);
	CHECK_EQ(is_mapped(t.as, far, PAGE), -EFAULT);
	CHECK_EQ(msync(far, PAGE, MS_ASYNC), -1);
	CHECK_EQ(is_mapped(other, others, PAGE), 0);
	CHECK_EQ(unmap(t.as, GMEM_UNMAP_ALL, 0, 0), 0);
	t.mem = kt_map(t.as, t.obj, 0, t.len, RW);
	kt_end(&t);
}

static int advise(uint32_t advice, int hnode, const void *p, uint64_t len)
{
	struct gmem_advise a = {
		.size = sizeof(a), .advice = advice, .hnode = hnode, .addr = at(p), .len = len
	};

	return kt_ioctl(kt_gmem(), GMEM_ADVISE, &a);
}

static int copy(int hnode, const void *dst, const void *src, uint64_t len)
{
	struct gmem_copy c = {
		.size = sizeof(c), .hnode = hnode, .dst = at(dst), .src = at(src), .len = len
	};

	return kt_ioctl(kt_gmem(), GMEM_COPY, &c);
}

/* Whose an address is the kernel finds, for each of two address spaces and for none. */
static void by_address(void)
{
	struct gmem_page_info info[2];
	struct gmem_query q = { .size = sizeof(q), .len = 2 * PAGE, .info = at(info) };
	uint64_t plain[2] = { 77, 0 };
	unsigned char *others, *cpu;
	int other = kt_as(0), obj = kt_object(BLOCK);
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	others = kt_map(other, obj, 0, BLOCK, RW);
	cpu = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, t.obj, 0);
	CHECK(cpu != MAP_FAILED);
	CHECK_EQ(advise(GMEM_PREFETCH, t.node, t.mem, PAGE), 0);
	CHECK_EQ(advise(GMEM_PREFETCH, t.node, others, PAGE), -ENODEV); /* not attached there */
	CHECK_EQ(advise(GMEM_COLD, 0, plain, 8), -EFAULT);
	CHECK_EQ(advise(GMEM_COLD, 0, cpu, 8), -EFAULT);
	CHECK_EQ(advise(GMEM_COLD, 0, (void *)0xffff888000000000, 8), -EFAULT);
	q.addr = at(t.mem);
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_QUERY, &q), 0);
	CHECK_EQ(info[0].node, t.node);
	CHECK_EQ(info[1].node, GMEM_NODE_NONE);
	q.addr = at(plain) & ~(PAGE - 1);
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_QUERY, &q), -EFAULT);

	kt_dev_store(t.sim, t.ctx, t.mem, 42);
	CHECK_EQ(copy(GMEM_NODE_NONE, others + 8, t.mem, 8), 0);
	CHECK_EQ(*(volatile uint64_t *)(others + 8), 42);
	CHECK_EQ(copy(GMEM_NODE_NONE, t.mem, plain, 8), 0);
	CHECK_EQ(kt_node(t.as, t.mem), t.node);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 77);
	CHECK_EQ(copy(GMEM_NODE_NONE, &plain[1], plain, 8), 0);
	CHECK_EQ(plain[1], 77);
	CHECK_EQ(copy(t.node, plain, t.mem, 8), -EFAULT);
	munmap(cpu, PAGE);
	kt_end(&t);
}

static int retain(uint32_t op, uint64_t bytes)
{
	struct gmem_retain r = { .size = sizeof(r), .op = op, .bytes = bytes };
	int err = kt_ioctl(kt_gmem(), GMEM_RETAIN, &r);

	return err ? err : (int)(r.bytes != bytes);
}

static int tune(int hnode, uint32_t granule)
{
	struct gmem_tune t = { .size = sizeof(t), .hnode = hnode, .granule = granule };

	return kt_ioctl(kt_gmem(), GMEM_HNODE_TUNE, &t);
}

/* Who is not root changes nothing for others. */
static void machine_is_roots(void)
{
	struct gmem_stats s = { .size = sizeof(s) };
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	s.hnode = t.node;
	CHECK_EQ(retain(2, 0), -EINVAL);
	CHECK_EQ(retain(GMEM_RETAIN_LIMIT, 32 * BLOCK), 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 1);
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_HNODE_STATS, &s), 0);
	CHECK(s.dev_faults > 0);
	CHECK_EQ(tune(t.node, 3), -EINVAL);
	CHECK_EQ(tune(t.node, PAGE), 0);
	CHECK_EQ(tune(t.node + 40, PAGE), -ENODEV);
	CHECK_EQ(tune(GMEM_NODE_HOST, PAGE), -ENODEV);
	s.hnode = t.node + 40;
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_HNODE_STATS, &s), -ENODEV);
	kt_end(&t);
	CHECK(!setgid(65534) && !setuid(65534));
	CHECK_EQ(retain(GMEM_RETAIN_LIMIT, 0), -EPERM);
	CHECK_EQ(retain(GMEM_RETAIN_TRIM, 0), -EPERM);
	CHECK_EQ(tune(t.node, PAGE), -EPERM);
}

/* What lanes do to a word as a whole. */
static void atomics(void)
{
	uint64_t w[2] = { 5, 0 };
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 12);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_XOR64, t.mem, w, 8), 0);
	CHECK_EQ(w[0], 12);
	w[0] = 8, w[1] = 20;
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_CAS64, t.mem, w, 8), 0);
	CHECK_EQ(w[0], 9); /* which it was, and is */
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_CAS64, t.mem, w, 8), 0);
	CHECK_EQ(w[0], 9);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 20);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_CAS64, t.mem, w, 16), -EINVAL);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_CAS64, t.mem + 4, w, 8), -EINVAL);
	kt_end(&t);
}

const struct kt_test kt_requests[] = {
	{ "requests_unmap", unmap_checked, 0 },
	{ "requests_by_address", by_address, 0 },
	{ "requests_of_machine", machine_is_roots, 0 },
	{ "requests_atomics", atomics, 0 },
	{ 0 },
};
