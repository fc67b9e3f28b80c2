// SPDX-License-Identifier: GPL-2.0-only
/*
 * More memory than the machine has: host backing goes to swap and comes back, be it
 * the CPU's, on its way to a device, or on its way home. Needs the disk /dev/vda.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysinfo.h>

#include "kt.h"

/* mkswap, version 1. */
static void make_swap(const char *path)
{
	struct {
		char boot[1024];
		uint32_t version, last_page, nr_bad;
		unsigned char pad[PAGE - 1024 - 12 - 10];
		char magic[10];
	} __attribute__((packed)) head = { .version = 1, .magic = "SWAPSPACE2" };
	int fd = open(path, O_RDWR);
	off_t size;

	_Static_assert(sizeof(head) == PAGE, "a page");
	CHECK(fd >= 0);
	size = lseek(fd, 0, SEEK_END);
	CHECK(size > 64 << 20);
	head.last_page = (uint32_t)((unsigned long)size / PAGE - 1);
	CHECK_EQ(pwrite(fd, &head, sizeof(head), 0), PAGE);
	CHECK_EQ(fsync(fd), 0);
	close(fd);
}

void kt_swap_on(void)
{
	make_swap("/dev/vda");
	CHECK_EQ(swapon("/dev/vda", 0), 0);
}

void kt_swap_off(void)
{
	CHECK_EQ(swapoff("/dev/vda"), 0);
}

void kt_take_memory(uint64_t left)
{
	struct sysinfo si;

	CHECK_EQ(sysinfo(&si), 0);
	CHECK(si.freeram * si.mem_unit > left);
	CHECK(mmap(NULL, si.freeram * si.mem_unit - left, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0) != MAP_FAILED);
}

uint64_t kt_swap_used(void)
{
	struct sysinfo si;

	CHECK_EQ(sysinfo(&si), 0);
	return (si.totalswap - si.freeswap) * si.mem_unit;
}

/* Locked memory leaves the machine small; an object larger than the rest, each page moved. */
static void swap(void)
{
	const uint64_t left = 80UL << 20;
	uint64_t pages, used;
	struct kt t;

	kt_swap_on();
	kt_take_memory(left);
	kt_begin(&t, left + (40UL << 20), 8 * BLOCK);
	pages = t.len / PAGE;
	for (uint64_t i = 0; i < pages; i++)
		*(uint64_t *)(void *)(t.mem + i * PAGE) = kt_pattern(4, i);
	used = kt_swap_used();
	CHECK(used > 16 << 20);
	/* A device sees all of it, most by way of swap and of eviction, and changes every other page. */
	for (uint64_t i = 0; i < pages; i += 2) {
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i * PAGE), kt_pattern(4, i));
		kt_dev_store(t.sim, t.ctx, t.mem + i * PAGE, kt_pattern(5, i));
	}
	for (uint64_t i = 0; i < pages; i++)
		CHECK_EQ(*(uint64_t *)(void *)(t.mem + i * PAGE), kt_pattern(i % 2 ? 4 : 5, i));
	kt_end(&t);
	kt_swap_off();
}

/* Pages that the kernel pages out while a device and the CPU use them in turn. */
static void pageout(void)
{
	struct kt t;

	kt_swap_on();
	kt_begin(&t, 4 * BLOCK, 2 * BLOCK);
	for (uint64_t round = 0; round < 6; round++) {
		for (uint64_t i = 0; i < t.len / PAGE; i += 3)
			*(uint64_t *)(void *)(t.mem + i * PAGE) = kt_pattern(round, i);
		CHECK_EQ(madvise(t.mem, t.len, MADV_PAGEOUT), 0);
		if (!round)
			CHECK(kt_swap_used() > 0);
		for (uint64_t i = 0; i < t.len / PAGE; i += 6) {
			CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i * PAGE), kt_pattern(round, i));
			kt_dev_store(t.sim, t.ctx, t.mem + i * PAGE, kt_pattern(round + 9, i));
		}
		CHECK_EQ(madvise(t.mem, t.len, MADV_PAGEOUT), 0);
		for (uint64_t i = 0; i < t.len / PAGE; i += 3)
			CHECK_EQ(*(uint64_t *)(void *)(t.mem + i * PAGE),
				 kt_pattern(i % 6 ? round : round + 9, i));
	}
	kt_end(&t);
	kt_swap_off();
}

/* Metadata and host memory go back with what they were for. */
static void gives_back(void)
{
	struct gmem_info before = { .size = sizeof(before) }, after = before;

	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_INFO, &before), 0);
	CHECK_EQ(before.retained, 0);
	for (int i = 0; i < 3; i++) {
		struct kt t;

		kt_begin(&t, 8 * BLOCK, 4 * BLOCK);
		for (uint64_t at = 0; at < t.len; at += 3 * PAGE)
			kt_dev_store(t.sim, t.ctx, t.mem + at, at);
		kt_end(&t);
	}
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_INFO, &after), 0);
	CHECK_EQ(after.metadata, before.metadata);
	CHECK_EQ(after.retained, 0);
}

static void put(const char *path, const char *s)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, s, strlen(s)), strlen(s));
	close(fd);
}

/* What a worker evicts is charged to the cgroup of who made the object, not to the system. */
static void evicted_is_charged(void)
{
	struct gmem_sim_tune tune = {
		.size = sizeof(tune), .low = 2 * BLOCK, .high = 2 * BLOCK, .granule = BLOCK
	};
	struct gmem_hnode_info info;
	uint64_t home = 0;
	char current[32] = "";
	struct kt t;
	int fd;

	mkdir("/tmp/cgroup", 0755);
	if (mount("cgroup2", "/tmp/cgroup", "cgroup2", 0, NULL)) {
		CHECK(errno == ENODEV);
		printf("  this kernel has no cgroups\n");
		return;
	}
	put("/tmp/cgroup/cgroup.subtree_control", "+memory");
	CHECK_EQ(mkdir("/tmp/cgroup/kt", 0755), 0);
	put("/tmp/cgroup/kt/cgroup.procs", "0");
	kt_begin(&t, 16 * BLOCK, 4 * BLOCK);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_TUNE, &tune), 0);
	for (uint64_t i = 0; i < t.len; i += BLOCK) {
		kt_dev_store(t.sim, t.ctx, t.mem + i, i);
		for (kt_hnode(t.node, &info); info.free < 2 * BLOCK; kt_hnode(t.node, &info))
			usleep(1000);
	}
	for (uint64_t i = 0; i < t.len; i += BLOCK)
		home += kt_node(t.as, t.mem + i) == GMEM_NODE_HOST;
	CHECK(home >= 12);
	fd = open("/tmp/cgroup/kt/memory.current", O_RDONLY);
	CHECK(fd >= 0);
	CHECK(read(fd, current, sizeof(current) - 1) > 0);
	close(fd);
	CHECK(strtoull(current, NULL, 10) >= home * BLOCK);
	kt_end(&t);
	put("/tmp/cgroup/cgroup.procs", "0");
	CHECK_EQ(rmdir("/tmp/cgroup/kt"), 0);
	CHECK_EQ(umount("/tmp/cgroup"), 0);
}

const struct kt_test kt_memory[] = {
	{ "evicted_is_charged", evicted_is_charged, 0 },
	{ "gives_back", gives_back, 0 },
	{ "swap", swap, 240 },
	{ "pageout", pageout, 60 },
	{ 0 },
};
