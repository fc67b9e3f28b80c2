// SPDX-License-Identifier: GPL-2.0-only
/*
 * What bringing memory home costs, in instructions: the machine is emulated, and runs with
 * one instruction a nanosecond of its own time (-icount shift=0), so its clock counts them.
 * Beside ours, the same with HMM's test device, in the same machine, where the kernel has
 * it. Ours is not to cost more.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "kt.h"

#define SINGLE 64U

struct cost {
	uint64_t one; /* a fault that brings a page home; the average of some */
	uint64_t all; /* touching all pages of 2 MiB that are on the device */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t touch(volatile unsigned char *mem, unsigned int pages, unsigned int step)
{
	uint64_t begin = now_ns();

	for (unsigned int i = 0; i < pages; i++)
		mem[i * step * PAGE]++;
	return now_ns() - begin;
}

static uint64_t gmem_cost(uint32_t granule, unsigned int pages, unsigned int step)
{
	/* Like HMM's test device: no TLB to speak of, and pages of 4 KiB. */
	struct gmem_sim_create c = {
		.size = sizeof(c),
		.memory = 4 * BLOCK,
		.pgsize_bitmap = PAGE,
		.lanes = 1,
		.tlb_entries = 1,
	};
	int sim = open("/dev/gmem_sim", O_RDWR), node = kt_ioctl(sim, GMEM_SIM_IOC_CREATE, &c);
	int as = kt_as(granule), obj = kt_object(BLOCK);
	unsigned char *mem = kt_map(as, obj, 0, BLOCK, GMEM_PROT_READ | GMEM_PROT_WRITE);
	uint64_t cost = 0;

	CHECK_EQ(kt_attach(sim, as), 0);
	for (int i = 0; i < 2; i++) { /* the first time warms up */
		memset(mem, 1, BLOCK);
		CHECK_EQ(kt_advise(as, GMEM_PREFETCH, node, mem, BLOCK), 0);
		cost = touch(mem, pages, step);
	}
	munmap(mem, BLOCK);
	close(obj);
	close(as);
	close(sim);
	return cost;
}

/* As in the kernel's lib/test_hmm_uapi.h. */
struct hmm_cmd {
	uint64_t addr, ptr, npages, cpages, faults;
};
#define HMM_MIGRATE_TO_DEV _IOWR('H', 0x02, struct hmm_cmd)

static uint64_t hmm_cost(unsigned int pages, unsigned int step)
{
	static unsigned char buf[BLOCK];
	unsigned char *mem = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct hmm_cmd cmd = { .ptr = (uint64_t)(uintptr_t)buf, .npages = 512 };
	int fd = open("/dev/hmm_dmirror0", O_RDWR);
	uint64_t cost = 0;

	CHECK(fd >= 0 && mem != MAP_FAILED);
	mem = (unsigned char *)(((uintptr_t)mem + BLOCK - 1) & ~(BLOCK - 1));
	CHECK_EQ(madvise(mem, BLOCK, MADV_NOHUGEPAGE), 0);
	for (int i = 0; i < 2; i++) {
		memset(mem, 1, BLOCK);
		cmd.addr = (uint64_t)(uintptr_t)mem;
		CHECK_EQ(kt_ioctl(fd, HMM_MIGRATE_TO_DEV, &cmd), 0);
		CHECK_EQ(cmd.cpages, 512);
		cost = touch(mem, pages, step);
	}
	close(fd);
	return cost;
}

static void figures(void)
{
	struct cost ours, hmm = { 0 };

	ours.one = gmem_cost(PAGE, SINGLE, 8) / SINGLE;
	ours.all = gmem_cost(BLOCK, 512, 1);
	printf("  gmem: %llu instructions to bring 4 KiB home, %llu for 2 MiB\n",
	       (unsigned long long)ours.one, (unsigned long long)ours.all);
	if (access("/lib/test_hmm.ko", F_OK))
		return;
	CHECK_EQ(kt_load("test_hmm"), 0);
	hmm.one = hmm_cost(SINGLE, 8) / SINGLE;
	hmm.all = hmm_cost(512, 1);
	printf("  HMM:  %llu instructions to bring 4 KiB home, %llu for 2 MiB\n",
	       (unsigned long long)hmm.one, (unsigned long long)hmm.all);
	printf("  gmem / HMM: %.2f and %.2f\n", (double)ours.one / (double)hmm.one,
	       (double)ours.all / (double)hmm.all);
	CHECK(ours.one <= hmm.one && ours.all <= hmm.all);
}

const struct kt_test kt_figures[] = {
	{ "figures", figures, 60 },
	{ 0 },
};
