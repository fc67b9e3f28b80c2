// SPDX-License-Identifier: GPL-2.0-only
/* Bad input: an errno as gmem(4) has it, and nothing changed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

struct request {
	int fd;
	unsigned long cmd;
	uint32_t size;
	uint32_t least;		 /* the smallest that is taken */
	unsigned char good[256]; /* a request that works */
};

static struct request all[36];
static struct gmem_hint hint;
static unsigned int nr;

static void add(int fd, unsigned long cmd, uint32_t size, const void *good)
{
	all[nr].fd = fd;
	all[nr].cmd = cmd;
	all[nr].size = all[nr].least = size;
	memcpy(all[nr++].good, good, size);
}
#define ADD(fd, cmd, type, ...)                                                                    \
	add(fd, cmd, sizeof(struct type),                                                          \
	    &(struct type){ .size = sizeof(struct type), __VA_ARGS__ })

static void collect(struct kt *t, struct gmem_page_info *info)
{
	uint64_t va = (uint64_t)(uintptr_t)t->mem;

	nr = 0;
	ADD(kt_gmem(), GMEM_INFO, gmem_info, .pad = 0);
	ADD(kt_gmem(), GMEM_AS_CREATE, gmem_as_create, .flags = 0);
	ADD(kt_gmem(), GMEM_OBJECT_CREATE, gmem_object_create, .bytes = PAGE);
	all[nr - 1].least = offsetof(struct gmem_object_create, tag);
	ADD(kt_gmem(), GMEM_HNODE_INFO, gmem_hnode_info, .hnode = t->node);
	all[nr - 1].least = offsetof(struct gmem_hnode_info, used);
	ADD(t->as, GMEM_MAP, gmem_map, .fd = t->obj, .prot = RW, .len = PAGE);
	ADD(t->as, GMEM_ADVISE, gmem_advise, .advice = GMEM_COLD, .addr = va, .len = PAGE);
	hint = (struct gmem_hint){ va, PAGE, 0, GMEM_COLD };
	ADD(t->as, GMEM_JOB_START, gmem_job_start, .n = 1, .hints = (uint64_t)(uintptr_t)&hint);
	ADD(kt_ioctl(t->as, GMEM_JOB_START, all[nr - 1].good), GMEM_JOB, gmem_job, .flags = 0);
	ADD(t->as, GMEM_COPY, gmem_copy, .hnode = GMEM_NODE_NONE, .dst = va, .src = va + PAGE,
	    .len = PAGE);
	ADD(t->as, GMEM_QUERY, gmem_query, .addr = va, .len = PAGE,
	    .info = (uint64_t)(uintptr_t)info);
	ADD(t->as, GMEM_STATS, gmem_stats, .hnode = 0);
	all[nr - 1].least = offsetof(struct gmem_stats, pages_peer);
	ADD(kt_gmem(), GMEM_ADVISE, gmem_advise, .advice = GMEM_COLD, .addr = va, .len = PAGE);
	ADD(kt_gmem(), GMEM_COPY, gmem_copy, .hnode = GMEM_NODE_NONE, .dst = va, .src = va + PAGE,
	    .len = PAGE);
	ADD(kt_gmem(), GMEM_QUERY, gmem_query, .addr = va, .len = PAGE);
	ADD(t->as, GMEM_ATTR, gmem_attr, .addr = va, .len = PAGE);
	ADD(kt_gmem(), GMEM_ATTR, gmem_attr, .addr = va, .len = PAGE);
	ADD(kt_gmem(), GMEM_HNODE_STATS, gmem_stats, .hnode = t->node);
	all[nr - 1].least = offsetof(struct gmem_stats, pages_peer);
	ADD(kt_gmem(), GMEM_HNODE_TUNE, gmem_tune, .hnode = t->node);
	all[nr - 1].least = offsetof(struct gmem_tune, limit);
	ADD(kt_gmem(), GMEM_POLICY, gmem_policy, .hnode = t->node);
	ADD(t->as, GMEM_MAPPING, gmem_mapping, .addr = va);
	ADD(t->as, GMEM_LIMIT, gmem_limit, .hnode = t->node);
	ADD(kt_gmem(), GMEM_RETAIN, gmem_retain, .op = GMEM_RETAIN_TRIM);
	ADD(kt_as(0), GMEM_UNMAP, gmem_unmap, .flags = GMEM_UNMAP_ALL);
	ADD(t->obj, GMEM_OBJECT_INFO, gmem_object_info, .flags = 0);
	ADD(t->sim, GMEM_SIM_IOC_TUNE, gmem_sim_tune, .granule = 0);
	ADD(t->sim, GMEM_SIM_IOC_STATS, gmem_sim_stats, .tables = 0);
	ADD(t->sim, GMEM_SIM_IOC_POISON, gmem_sim_poison, .pa = 4ULL << 30);
	ADD(t->sim, GMEM_SIM_IOC_REMOVE, gmem_sim_remove, .pad = 0); /* last: it is gone then */
}

/* Sizes and pointers, of every request. */
static void sizes(void)
{
	unsigned char buf[2 * PAGE] __attribute__((aligned(8)));
	struct gmem_page_info info;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	collect(&t, &info);
	for (unsigned int i = 0; i < nr; i++) {
		const struct request *r = &all[i];
		unsigned long bad_cmd = r->cmd + 1000, other = r->cmd ^ 0xff;
		unsigned char *edge;
		uint32_t size;
		int ret;

		memset(buf, 0, sizeof(buf));
		memcpy(buf, r->good, r->size);
		ret = kt_ioctl(r->fd, r->cmd, buf);
		if (ret < 0)
			kt_fail(__FILE__, __LINE__, "request %u fails: %s", i, strerror(-ret));
		if (ret > 2)
			close(ret);
		for (size = 0; size < r->least; size += 4) {
			memcpy(buf, r->good, r->size);
			memcpy(buf, &size, 4);
			CHECK_EQ(kt_ioctl(r->fd, r->cmd, buf), -EINVAL);
		}
		/* A caller from the future: zeros are fine, what we do not know is not. */
		memcpy(buf, r->good, r->size);
		size = r->size + 24;
		memcpy(buf, &size, 4);
		ret = kt_ioctl(r->fd, r->cmd, buf);
		CHECK(ret >= 0);
		if (ret > 2)
			close(ret);
		memcpy(buf, r->good, r->size);
		memcpy(buf, &size, 4);
		buf[r->size + 20] = 1;
		CHECK_EQ(kt_ioctl(r->fd, r->cmd, buf), -E2BIG);
		buf[r->size + 20] = 0;
		size = 1 << 20;
		memcpy(buf, &size, 4);
		CHECK_EQ(kt_ioctl(r->fd, r->cmd, buf), -E2BIG);
		/* Pointers. */
		CHECK_EQ(kt_ioctl(r->fd, r->cmd, NULL), -EFAULT);
		CHECK_EQ(kt_ioctl(r->fd, r->cmd, (void *)0xffff888000001000), -EFAULT);
		edge = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);
		munmap(edge + PAGE, PAGE);
		memcpy(edge + PAGE - 4, r->good, 4);
		CHECK_EQ(kt_ioctl(r->fd, r->cmd, edge + PAGE - 4), -EFAULT);
		munmap(edge, PAGE);
		CHECK_EQ(kt_ioctl(r->fd, bad_cmd, buf), -ENOTTY);
		CHECK_EQ(kt_ioctl(r->fd, other, buf), -ENOTTY);
	}
	kt_end(&t);
}

static int map(struct kt *t, uint32_t flags, int fd, uint32_t prot, uint64_t off, uint64_t len,
	       uint64_t addr)
{
	struct gmem_map m = { sizeof(m), flags, fd, prot, off, len, addr };

	return kt_ioctl(t->as, GMEM_MAP, &m);
}

static void bad_maps(void)
{
	uint64_t va;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	va = (uint64_t)(uintptr_t)t.mem;
	CHECK_EQ(map(&t, 4, t.obj, RW, 0, PAGE, 0), -EINVAL);
	CHECK_EQ(map(&t, 0, t.obj, 0, 0, PAGE, 0), -EINVAL);
	CHECK_EQ(map(&t, 0, t.obj, GMEM_PROT_WRITE, 0, PAGE, 0), -EINVAL);
	CHECK_EQ(map(&t, 0, t.obj, 7, 0, PAGE, 0), -EINVAL);
	CHECK_EQ(map(&t, 0, t.obj, RW, 1, PAGE, 0), -EINVAL);
	CHECK_EQ(map(&t, 0, t.obj, RW, 0, 0, 0), -EINVAL);
	CHECK_EQ(map(&t, 0, t.obj, RW, 0, PAGE + 1, 0), -EINVAL);
	CHECK_EQ(map(&t, 0, t.obj, RW, 0, BLOCK + PAGE, 0), -EINVAL);
	CHECK_EQ(map(&t, 0, t.obj, RW, BLOCK, PAGE, 0), -EINVAL);
	CHECK(map(&t, 0, t.obj, RW, -PAGE, PAGE, 0) < 0);
	CHECK(map(&t, 0, t.obj, RW, PAGE, -PAGE, 0) < 0);
	CHECK(map(&t, 0, t.obj, RW, 0, -PAGE, 0) < 0);
	CHECK_EQ(map(&t, 0, t.obj, RW, 0, PAGE, va + BLOCK), -EINVAL);
	CHECK_EQ(map(&t, GMEM_MAP_FIXED, t.obj, RW, 0, PAGE, 0), -EINVAL);
	CHECK_EQ(map(&t, GMEM_MAP_FIXED, t.obj, RW, 0, PAGE, va), -EEXIST);
	CHECK(map(&t, GMEM_MAP_FIXED, t.obj, RW, 0, PAGE, 0xffff888000000000) < 0);
	CHECK_EQ(map(&t, 0, -1, RW, 0, PAGE, 0), -EBADF);
	CHECK_EQ(map(&t, 0, t.as, RW, 0, PAGE, 0), -EBADF);
	CHECK_EQ(map(&t, 0, t.sim, RW, 0, PAGE, 0), -EBADF);
	CHECK_EQ(map(&t, 0, 0, RW, 0, PAGE, 0), -EBADF);
	CHECK_EQ(kt_attach(t.sim, t.obj), -EBADF);
	CHECK_EQ(kt_attach(t.sim, 999), -EBADF);
	CHECK_EQ(kt_attach(t.sim, t.as), -EBUSY);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, t.as, 0) == MAP_FAILED);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, t.obj, BLOCK) == MAP_FAILED);
	CHECK_EQ(kt_object(0), -EINVAL);
	CHECK_EQ(kt_object(PAGE + 1), -EINVAL);
	CHECK_EQ(kt_object(1ULL << 47), -EINVAL);
	CHECK_EQ(kt_object(-PAGE), -EINVAL);
	CHECK_EQ(kt_as(4095), -EINVAL);
	CHECK_EQ(kt_as(4 << 20), -EINVAL);
	kt_end(&t);
}

static void bad_ranges(void)
{
	struct gmem_query q = { .size = sizeof(q), .len = PAGE, .info = 8 };
	struct gmem_hnode_info info = { .size = sizeof(info), .hnode = 12345 };
	uint64_t v = 0;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	munmap(t.mem + 8 * PAGE, PAGE);
	for (uint32_t advice = 0; advice <= GMEM_UNPIN; advice++) {
		CHECK_EQ(kt_advise(t.as, advice, t.node, t.mem, 0), -EINVAL);
		CHECK_EQ(kt_advise(t.as, advice, t.node, t.mem, -PAGE), -EINVAL);
		CHECK_EQ(kt_advise(t.as, advice, t.node, t.mem, 16 * PAGE), -EFAULT);
		CHECK_EQ(kt_advise(t.as, advice, t.node, (void *)16, PAGE), -EFAULT);
		CHECK_EQ(kt_advise(t.as, advice, t.node, (void *)0xffff888000000000, PAGE),
			 -EFAULT);
	}
	CHECK_EQ(kt_node(t.as, t.mem), GMEM_NODE_NONE); /* nothing has changed */
	CHECK_EQ(kt_advise(t.as, GMEM_UNSET_ACCESSED_BY + 1, t.node, t.mem, PAGE), -EINVAL);
	CHECK_EQ(kt_advise(t.as, ~0U, t.node, t.mem, PAGE), -EINVAL);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, -7, t.mem, PAGE), -EINVAL);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, 1 << 30, t.mem, PAGE), -ENODEV);
	q.addr = (uint64_t)(uintptr_t)t.mem;
	CHECK_EQ(kt_ioctl(t.as, GMEM_QUERY, &q), -EFAULT);
	q.len = 1;
	CHECK_EQ(kt_ioctl(t.as, GMEM_QUERY, &q), -EINVAL);
	q.len = -PAGE;
	CHECK_EQ(kt_ioctl(t.as, GMEM_QUERY, &q), -EINVAL);
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_HNODE_INFO, &info), -ENODEV);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_CAS64 + 1, t.mem, &v, 8), -EINVAL);
	CHECK_EQ(kt_dev(t.sim, 15, GMEM_SIM_READ, t.mem, &v, 8), -EINVAL);
	CHECK_EQ(kt_dev(t.sim, -1, GMEM_SIM_READ, t.mem, &v, 8), -EINVAL);
	CHECK_EQ(kt_dev_lane(t.sim, t.ctx, 99, GMEM_SIM_READ, t.mem, &v, 8), -EINVAL);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_ADD64, t.mem + 1, &v, 8), -EINVAL);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem, &v, 0), -EINVAL);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem, (void *)8, 8), -EFAULT);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, (void *)0xffff888000000000, &v, 8), -EFAULT);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem + BLOCK, &v, 8), -EFAULT);
	kt_end(&t);
}

/* The backing file is nobody's to open, or to cut, and a mapping of it nobody's but ours to make. */
static void no_side_door(void)
{
	struct gmem_object_create c = { .size = sizeof(c),
					.flags = GMEM_OBJECT_HUGE,
					.bytes = BLOCK };
	unsigned char *huge;
	char path[96];
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 5);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)t.mem,
		 (unsigned long)t.mem + BLOCK);
	CHECK_EQ(open(path, O_RDWR), -1);
	CHECK_EQ(errno, EACCES);
	CHECK_EQ(truncate(path, 0), -1);
	CHECK_EQ(errno, EINVAL);
	huge = kt_map(t.as, kt_ioctl(kt_gmem(), GMEM_OBJECT_CREATE, &c), 0, BLOCK, RW);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)huge,
		 (unsigned long)huge + BLOCK);
	CHECK_EQ(truncate(path, 0), -1);
	CHECK_EQ(errno, EPERM);
	huge[0] = 1;
	munmap(huge, BLOCK);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", t.obj);
	CHECK_EQ(open(path, O_RDWR), -1);
	CHECK_EQ(remap_file_pages(t.mem, PAGE, 0, 5, 0), -1);
	kt_end(&t);
}

/*
 * Every request with one field wrong, and the error that gmem(4) has for it. The rest of the
 * request works, as sizes() shows.
 */
#define FIELD(cmd, type, field, value, err)                                                        \
	{                                                                                          \
		cmd, #cmd "." #field, offsetof(struct type, field),                                \
			sizeof(((struct type *)0)->field), value, err                              \
	}
#define HIGH 0xffff888000000000ULL /* the kernel's */

static const struct wrong {
	unsigned long cmd;
	const char *name;
	size_t at, size;
	uint64_t value;
	int err;
} wrong[] = {
	FIELD(GMEM_INFO, gmem_info, pad, 1, -EINVAL),
	FIELD(GMEM_AS_CREATE, gmem_as_create, flags, 2, -EINVAL),
	FIELD(GMEM_AS_CREATE, gmem_as_create, flags, 1U << 31, -EINVAL),
	FIELD(GMEM_AS_CREATE, gmem_as_create, pad, 1, -EINVAL),
	FIELD(GMEM_AS_CREATE, gmem_as_create, cpu_granule, 1, -EINVAL),
	FIELD(GMEM_AS_CREATE, gmem_as_create, cpu_granule, 3 * PAGE, -EINVAL),
	FIELD(GMEM_AS_CREATE, gmem_as_create, cpu_granule, 2 * BLOCK, -EINVAL),
	FIELD(GMEM_OBJECT_CREATE, gmem_object_create, flags, GMEM_OBJECT_HUGE,
	      -EINVAL), /* of a page */
	FIELD(GMEM_OBJECT_CREATE, gmem_object_create, flags, 4, -EINVAL),
	FIELD(GMEM_OBJECT_CREATE, gmem_object_create, bytes, 0, -EINVAL),
	FIELD(GMEM_OBJECT_CREATE, gmem_object_create, bytes, PAGE - 1, -EINVAL),
	FIELD(GMEM_OBJECT_CREATE, gmem_object_create, bytes, 1ULL << 63, -EINVAL),
	FIELD(GMEM_OBJECT_CREATE, gmem_object_create, bytes, -PAGE, -EINVAL),
	FIELD(GMEM_HNODE_INFO, gmem_hnode_info, hnode, 0, -ENODEV),
	FIELD(GMEM_HNODE_INFO, gmem_hnode_info, hnode, -1U, -ENODEV),
	FIELD(GMEM_HNODE_INFO, gmem_hnode_info, hnode, 1U << 31, -ENODEV),
	FIELD(GMEM_HNODE_INFO, gmem_hnode_info, hnode, INT32_MAX, -ENODEV),
	FIELD(GMEM_MAP, gmem_map, flags, 4, -EINVAL),
	FIELD(GMEM_MAP, gmem_map, flags, GMEM_MAP_FIXED, -EINVAL), /* at 0 */
	FIELD(GMEM_MAP, gmem_map, fd, -1U, -EBADF),
	FIELD(GMEM_MAP, gmem_map, fd, INT32_MAX, -EBADF),
	FIELD(GMEM_MAP, gmem_map, fd, 0, -EBADF), /* the console */
	FIELD(GMEM_MAP, gmem_map, prot, 0, -EINVAL),
	FIELD(GMEM_MAP, gmem_map, prot, GMEM_PROT_WRITE, -EINVAL),
	FIELD(GMEM_MAP, gmem_map, prot, RW | 4, -EINVAL),
	FIELD(GMEM_MAP, gmem_map, offset, 1, -EINVAL),
	FIELD(GMEM_MAP, gmem_map, offset, BLOCK, -EINVAL), /* where it ends */
	FIELD(GMEM_MAP, gmem_map, offset, -PAGE, -EINVAL),
	FIELD(GMEM_MAP, gmem_map, len, 0, -EINVAL),
	FIELD(GMEM_MAP, gmem_map, len, PAGE + 1, -EINVAL),
	FIELD(GMEM_MAP, gmem_map, len, BLOCK + PAGE, -EINVAL),
	FIELD(GMEM_MAP, gmem_map, len, -PAGE, -ENOMEM), /* there are no such addresses */
	FIELD(GMEM_MAP, gmem_map, addr, PAGE, -EINVAL), /* without GMEM_MAP_FIXED */
	FIELD(GMEM_ADVISE, gmem_advise, advice, GMEM_UNSET_ACCESSED_BY + 1, -EINVAL),
	FIELD(GMEM_ADVISE, gmem_advise, advice, -1U, -EINVAL),
	FIELD(GMEM_ADVISE, gmem_advise, pad, 1, -EINVAL),
	FIELD(GMEM_ADVISE, gmem_advise, addr, 0, -EFAULT),
	FIELD(GMEM_ADVISE, gmem_advise, addr, HIGH, -EFAULT),
	FIELD(GMEM_ADVISE, gmem_advise, addr, -1ULL, -EINVAL), /* wraps */
	FIELD(GMEM_ADVISE, gmem_advise, len, 0, -EINVAL),
	FIELD(GMEM_ADVISE, gmem_advise, len, BLOCK + 1, -EFAULT),
	FIELD(GMEM_ADVISE, gmem_advise, len, -1ULL, -EINVAL),
	FIELD(GMEM_COPY, gmem_copy, hnode, 1U << 30, -ENODEV),
	FIELD(GMEM_COPY, gmem_copy, hnode, -3U, -EINVAL),
	FIELD(GMEM_COPY, gmem_copy, dst, 0, -EFAULT),
	FIELD(GMEM_COPY, gmem_copy, dst, HIGH, -EFAULT),
	FIELD(GMEM_COPY, gmem_copy, dst, -1ULL, -EINVAL),
	FIELD(GMEM_COPY, gmem_copy, src, 16, -EFAULT),
	FIELD(GMEM_COPY, gmem_copy, src, HIGH, -EFAULT),
	FIELD(GMEM_COPY, gmem_copy, src, -1ULL, -EINVAL),
	FIELD(GMEM_COPY, gmem_copy, len, 0, -EINVAL),
	FIELD(GMEM_COPY, gmem_copy, len, 2 * PAGE, -EINVAL), /* onto itself */
	FIELD(GMEM_COPY, gmem_copy, len, -PAGE, -EINVAL),
	FIELD(GMEM_ATTR, gmem_attr, addr, 0, -EFAULT),
	FIELD(GMEM_ATTR, gmem_attr, addr, HIGH, -EFAULT),
	FIELD(GMEM_ATTR, gmem_attr, len, 0, -EINVAL),
	FIELD(GMEM_ATTR, gmem_attr, len, -PAGE, -EINVAL),
	FIELD(GMEM_QUERY, gmem_query, pad, 1, -EINVAL),
	FIELD(GMEM_QUERY, gmem_query, addr, 0, -EFAULT),
	FIELD(GMEM_QUERY, gmem_query, addr, 1, -EINVAL),
	FIELD(GMEM_QUERY, gmem_query, addr, HIGH, -EFAULT),
	FIELD(GMEM_QUERY, gmem_query, addr, -PAGE, -EINVAL), /* wraps */
	FIELD(GMEM_QUERY, gmem_query, len, 0, -EINVAL),
	FIELD(GMEM_QUERY, gmem_query, len, PAGE - 1, -EINVAL),
	FIELD(GMEM_QUERY, gmem_query, len, BLOCK + PAGE, -EFAULT),
	FIELD(GMEM_QUERY, gmem_query, len, -PAGE, -EINVAL),
	FIELD(GMEM_QUERY, gmem_query, info, 16, -EFAULT),
	FIELD(GMEM_QUERY, gmem_query, info, HIGH, -EFAULT),
	FIELD(GMEM_JOB_START, gmem_job_start, n, 0, -EINVAL),
	FIELD(GMEM_JOB_START, gmem_job_start, n, 1025, -EINVAL),
	FIELD(GMEM_JOB_START, gmem_job_start, hints, 16, -EFAULT),
	FIELD(GMEM_JOB_START, gmem_job_start, hints, HIGH, -EFAULT),
	FIELD(GMEM_JOB, gmem_job, flags, 2, -EINVAL),
	FIELD(GMEM_MAPPING, gmem_mapping, flags, 2, -EINVAL),
	FIELD(GMEM_MAPPING, gmem_mapping, addr, 16, -EFAULT),
	FIELD(GMEM_MAPPING, gmem_mapping, addr, HIGH, -EFAULT),
	FIELD(GMEM_LIMIT, gmem_limit, hnode, 40, -ENODEV),
	FIELD(GMEM_LIMIT, gmem_limit, bytes, 1, -EINVAL),
	FIELD(GMEM_HNODE_TUNE, gmem_tune, limit, 1, -EINVAL),
	FIELD(GMEM_POLICY, gmem_policy, pad, 1, -EINVAL),
	FIELD(GMEM_POLICY, gmem_policy, op, 3, -EINVAL),
	FIELD(GMEM_POLICY, gmem_policy, index, 1, -EINVAL),
	FIELD(GMEM_POLICY, gmem_policy, hnode, 40, -ENODEV),
	FIELD(GMEM_SIM_IOC_POISON, gmem_sim_poison, pad, 1, -EINVAL),
	FIELD(GMEM_SIM_IOC_POISON, gmem_sim_poison, pa, 0, -ENOENT),
	FIELD(GMEM_SIM_IOC_POISON, gmem_sim_poison, pa, -1ULL, -ENOENT),
	FIELD(GMEM_SIM_IOC_REMOVE, gmem_sim_remove, pad, 1, -EINVAL),
};

static void fields(void)
{
	unsigned char buf[256] __attribute__((aligned(8)));
	struct gmem_page_info info;
	struct gmem_stats before, after;
	unsigned int failed = 0;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 5);
	collect(&t, &info);
	kt_stats(t.as, &before);
	for (const struct wrong *w = wrong; w < wrong + sizeof(wrong) / sizeof(*wrong); w++) {
		const struct request *r = all;
		int ret;

		while (r->cmd != w->cmd)
			r++;
		memcpy(buf, r->good, r->size);
		memcpy(buf + w->at, &w->value, w->size);
		ret = kt_ioctl(r->fd, r->cmd, buf);
		if (ret != w->err) {
			printf("  %s 0x%llx: %d, not %d\n", w->name, (unsigned long long)w->value,
			       ret, w->err);
			failed++;
		}
	}
	CHECK_EQ(failed, 0);
	kt_stats(t.as, &after);
	/* Nothing has happened; a copy may have read before it failed. */
	CHECK_EQ(after.pages_to_dev, before.pages_to_dev);
	CHECK_EQ(after.pages_to_host, before.pages_to_host);
	CHECK_EQ(after.cpu_faults, before.cpu_faults);
	CHECK_EQ(kt_node(t.as, t.mem), t.node);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 5);
	kt_end(&t);
}

/* What an address space carries out, and /dev/gmem in whichever it is. */
static bool anywhere(unsigned long cmd)
{
	return cmd == GMEM_ADVISE || cmd == GMEM_JOB_START || cmd == GMEM_COPY ||
	       cmd == GMEM_QUERY || cmd == GMEM_UNMAP || cmd == GMEM_ATTR;
}

/* A request on descriptors of every other kind. */
static void foreign_descriptors(void)
{
	unsigned char buf[256] __attribute__((aligned(8)));
	struct gmem_page_info info;
	int fd[5], plain[2];
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	CHECK_EQ(pipe(plain), 0);
	collect(&t, &info);
	fd[0] = kt_gmem();
	fd[1] = t.as;
	fd[2] = t.obj;
	fd[3] = t.sim;
	fd[4] = plain[0];
	for (unsigned int i = 0; i < nr; i++) {
		for (unsigned int k = 0; k < 5; k++) {
			if (fd[k] == all[i].fd ||
			    (k < 2 && anywhere(all[i].cmd) && (k || all[i].cmd != GMEM_UNMAP)))
				continue;
			memcpy(buf, all[i].good, all[i].size);
			CHECK_EQ(kt_ioctl(fd[k], all[i].cmd, buf), -ENOTTY);
		}
		CHECK_EQ(kt_ioctl(-1, all[i].cmd, buf), -EBADF);
	}
	kt_end(&t);
}

/* What is not wrong but cannot be had: descriptors, addresses, room on the device. */
static void limits(void)
{
	struct rlimit old, none;
	struct kt t;

	kt_begin(&t, 4 * BLOCK, 2 * BLOCK);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ 3, old.rlim_max };
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	CHECK_EQ(kt_as(0), -EMFILE);
	CHECK_EQ(kt_object(PAGE), -EMFILE);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	CHECK_EQ(getrlimit(RLIMIT_AS, &old), 0);
	none = (struct rlimit){ PAGE, old.rlim_max };
	CHECK_EQ(setrlimit(RLIMIT_AS, &none), 0);
	CHECK_EQ(map(&t, 0, t.obj, RW, 0, PAGE, 0), -ENOMEM);
	CHECK_EQ(setrlimit(RLIMIT_AS, &old), 0);
	CHECK_EQ(map(&t, GMEM_MAP_FIXED, t.obj, RW, 0, PAGE, HIGH), -ENOMEM);

	CHECK_EQ(kt_advise(t.as, GMEM_PIN, t.node, t.mem, 2 * BLOCK), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem + 2 * BLOCK, PAGE), -ENOSPC);
	CHECK_EQ(kt_advise(t.as, GMEM_PIN, t.node, t.mem + 2 * BLOCK, PAGE), -ENOSPC);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem + 2 * BLOCK, &old, 8), -ENOSPC);
	CHECK_EQ(kt_advise(t.as, GMEM_UNPIN, 0, t.mem, 2 * BLOCK), 0);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem + 2 * BLOCK, &old, 8), 0);
	kt_end(&t);
}

/* ---------------------------------------------------- somebody else's address space */

/*
 * Nobody, who was given the descriptors: nothing of the address space is to be had by any
 * request, nor with the device; the object, which was given too, is.
 */
static void be_nobody(struct kt *t, int as, int obj, int sim)
{
	unsigned char buf[256] __attribute__((aligned(8)));
	struct gmem_page_info info;
	struct kt own = *t;
	uint64_t *p;

	CHECK_EQ(setgroups(0, NULL), 0);
	CHECK_EQ(setresgid(65534, 65534, 65534), 0);
	CHECK_EQ(setresuid(65534, 65534, 65534), 0);
	CHECK_EQ(open("/dev/gmem_sim", O_RDWR), -1);
	CHECK_EQ(errno, EACCES);
	own.as = as;
	own.obj = obj;
	own.sim = sim;
	collect(&own, &info);
	for (unsigned int i = 0; i < nr; i++) {
		if (all[i].fd != as)
			continue;
		memcpy(buf, all[i].good, all[i].size);
		CHECK_EQ(kt_ioctl(as, all[i].cmd, buf), -EPERM);
	}
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, as, 0) == MAP_FAILED);
	CHECK_EQ(kt_attach(sim, as), -EPERM);
	p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, obj, 0);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(*p, 5);
	/* /dev/gmem is for everybody: an address space of its own, on the device it was given. */
	own.as = kt_as(0);
	CHECK(own.as >= 0);
	own.mem = kt_map(own.as, obj, 0, BLOCK, RW);
	own.ctx = kt_attach(sim, own.as);
	CHECK(own.ctx >= 0);
	CHECK_EQ(kt_dev_load(sim, own.ctx, own.mem), 5);
	_exit(0);
}

static void nobody_inherits(void)
{
	struct kt t;
	pid_t pid;

	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 5);
	pid = fork();
	if (!pid)
		be_nobody(&t, t.as, t.obj, t.sim);
	CHECK_EQ(kt_wait(pid), 0);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 5);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_DETACH, &(struct gmem_sim_detach){ 8, 1 }), 0);
	kt_end(&t);
}

static void nobody_is_passed(void)
{
	int sock[2];
	struct kt t;
	pid_t pid;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	pid = fork();
	if (!pid) {
		int as, obj, sim;

		CHECK_EQ(read(sock[1], &t, sizeof(t)), sizeof(t));
		as = kt_receive_fd(sock[1]);
		obj = kt_receive_fd(sock[1]);
		sim = kt_receive_fd(sock[1]);
		be_nobody(&t, as, obj, sim);
	}
	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 5);
	CHECK_EQ(write(sock[0], &t, sizeof(t)), sizeof(t));
	kt_send_fd(sock[0], t.as);
	kt_send_fd(sock[0], t.obj);
	kt_send_fd(sock[0], t.sim);
	CHECK_EQ(kt_wait(pid), 0);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 5);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_DETACH, &(struct gmem_sim_detach){ 8, 1 }), 0);
	kt_end(&t);
}

/* After its maker has exited an address space is nobody's, however like the maker a process is. */
static void orphan(void)
{
	int sock[2], as;
	uint64_t va = 0;
	pid_t pid;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	pid = fork();
	if (!pid) {
		kt_send_fd(sock[1], kt_as(0));
		_exit(0);
	}
	as = kt_receive_fd(sock[0]);
	CHECK_EQ(kt_wait(pid), 0);
	for (int i = 0; i < 20; i++) {
		pid = fork();
		if (!pid)
			_exit(kt_map_at(as, kt_object(PAGE), 0, PAGE, RW, &va) == -EPERM ? 0 : 1);
		CHECK_EQ(kt_wait(pid), 0);
	}
}

const struct kt_test kt_input[] = {
	{ "sizes", sizes, 0 },
	{ "fields", fields, 0 },
	{ "foreign_descriptors", foreign_descriptors, 0 },
	{ "limits", limits, 0 },
	{ "nobody_inherits", nobody_inherits, 0 },
	{ "nobody_is_passed", nobody_is_passed, 0 },
	{ "orphan", orphan, 0 },
	{ "bad_maps", bad_maps, 0 },
	{ "bad_ranges", bad_ranges, 0 },
	{ "no_side_door", no_side_door, 0 },
	{ 0 },
};
