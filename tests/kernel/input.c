// SPDX-License-Identifier: GPL-2.0-only
/* Bad input: an errno as gmem(4) has it, and nothing changed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

struct request {
	int fd;
	unsigned long cmd;
	uint32_t size;
	unsigned char good[256]; /* a request that works */
};

static struct request all[32];
static unsigned int nr;

static void add(int fd, unsigned long cmd, uint32_t size, const void *good)
{
	all[nr].fd = fd;
	all[nr].cmd = cmd;
	all[nr].size = size;
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
	ADD(kt_gmem(), GMEM_HNODE_INFO, gmem_hnode_info, .hnode = t->node);
	ADD(t->as, GMEM_MAP, gmem_map, .fd = t->obj, .prot = RW, .len = PAGE);
	ADD(t->as, GMEM_ADVISE, gmem_advise, .advice = GMEM_COLD, .addr = va, .len = PAGE);
	ADD(t->as, GMEM_COPY, gmem_copy, .hnode = GMEM_NODE_NONE, .dst = va, .src = va + PAGE,
	    .len = PAGE);
	ADD(t->as, GMEM_QUERY, gmem_query, .addr = va, .len = PAGE,
	    .info = (uint64_t)(uintptr_t)info);
	ADD(t->as, GMEM_STATS, gmem_stats, .hnode = 0);
	ADD(kt_gmem(), GMEM_ADVISE, gmem_advise, .advice = GMEM_COLD, .addr = va, .len = PAGE);
	ADD(kt_gmem(), GMEM_COPY, gmem_copy, .hnode = GMEM_NODE_NONE, .dst = va, .src = va + PAGE,
	    .len = PAGE);
	ADD(kt_gmem(), GMEM_QUERY, gmem_query, .addr = va, .len = PAGE);
	ADD(kt_gmem(), GMEM_HNODE_STATS, gmem_stats, .hnode = t->node);
	ADD(kt_gmem(), GMEM_HNODE_TUNE, gmem_tune, .hnode = t->node);
	ADD(kt_gmem(), GMEM_RETAIN, gmem_retain, .op = GMEM_RETAIN_TRIM);
	ADD(kt_as(0), GMEM_UNMAP, gmem_unmap, .flags = GMEM_UNMAP_ALL);
	ADD(t->obj, GMEM_OBJECT_INFO, gmem_object_info, .flags = 0);
	ADD(t->sim, GMEM_SIM_IOC_TUNE, gmem_sim_tune, .granule = 0);
	ADD(t->sim, GMEM_SIM_IOC_STATS, gmem_sim_stats, .tables = 0);
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
		for (size = 0; size < r->size; size += 4) {
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
	CHECK_EQ(map(&t, 2, t.obj, RW, 0, PAGE, 0), -EINVAL);
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
	CHECK_EQ(kt_advise(t.as, 6, t.node, t.mem, PAGE), -EINVAL);
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

/* The backing file is nobody's to open, and a mapping of it nobody's but ours to make. */
static void no_side_door(void)
{
	char path[96];
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 5);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)t.mem,
		 (unsigned long)t.mem + BLOCK);
	CHECK_EQ(open(path, O_RDWR), -1);
	CHECK_EQ(errno, EACCES);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", t.obj);
	CHECK_EQ(open(path, O_RDWR), -1);
	CHECK_EQ(remap_file_pages(t.mem, PAGE, 0, 5, 0), -1);
	kt_end(&t);
}

const struct kt_test kt_input[] = {
	{ "sizes", sizes, 0 },
	{ "bad_maps", bad_maps, 0 },
	{ "bad_ranges", bad_ranges, 0 },
	{ "no_side_door", no_side_door, 0 },
	{ 0 },
};
