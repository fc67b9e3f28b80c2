// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random requests: structs that are right, nearly right or noise, on descriptors that
 * other threads close and open meanwhile, at addresses that others map and unmap. Nothing
 * is checked but that the kernel lives and says nothing; kmemleak and KASAN see more.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "kt.h"

#define FDS 24
#define BASE 0x200000000000UL
#define SPAN (64UL << 20)

static int fds[FDS];
static uint64_t end_ns;
static __thread struct gmem_hint hint;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t number(uint64_t *seed)
{
	uint64_t r = kt_random(seed);

	switch (r & 7) {
	case 0:
		return r >> 3;
	case 1:
		return -(r >> 60);
	case 2:
		return r >> 50;
	default:
		return r >> 52 << 12;
	}
}

/* Mostly where things are mapped; else where nothing is, so that we do not hit ourselves. */
static uint64_t address(uint64_t *seed)
{
	uint64_t r = kt_random(seed);

	switch (r & 31) {
	case 0:
		return r >> 53; /* the first page */
	case 1:
		return r | 1ULL << 63; /* the kernel's */
	case 2:
		return BASE + SPAN + (r >> 40);
	default:
		return BASE + (r >> 8) % (SPAN / PAGE) * PAGE + (r >> 4 & 15 ? 0 : r >> 56);
	}
}

static int descriptor(uint64_t *seed)
{
	uint64_t r = kt_random(seed);

	return r & 31 ? __atomic_load_n(&fds[r >> 8 & 15], __ATOMIC_RELAXED) : (int)(r >> 60) - 1;
}

/* A request for each kind; fields are mostly sensible. */
static unsigned long fill(uint64_t *seed, void *buf)
{
	uint64_t len = number(seed) % (4UL << 20);

	switch (kt_random(seed) % 14) {
	case 0:
		*(struct gmem_as_create *)buf =
			(struct gmem_as_create){ sizeof(struct gmem_as_create) };
		return GMEM_AS_CREATE;
	case 1:
		*(struct gmem_object_create *)buf = (struct gmem_object_create){
			sizeof(struct gmem_object_create), 0, len & ~(PAGE - 1)
		};
		return GMEM_OBJECT_CREATE;
	case 2:
	case 3:
	case 4:
		*(struct gmem_map *)buf = (struct gmem_map){ sizeof(struct gmem_map),
							     GMEM_MAP_FIXED,
							     descriptor(seed),
							     1 | (kt_random(seed) & 2),
							     number(seed) % (2UL << 20) &
								     ~(PAGE - 1),
							     len & ~(PAGE - 1),
							     address(seed) };
		return GMEM_MAP;
	case 5:
	case 6:
		*(struct gmem_advise *)buf = (struct gmem_advise){ sizeof(struct gmem_advise),
								   kt_random(seed) % 13,
								   (int)(kt_random(seed) % 5) - 1,
								   0,
								   address(seed),
								   len };
		return GMEM_ADVISE;
	case 7:
		*(struct gmem_copy *)buf = (struct gmem_copy){ sizeof(struct gmem_copy),
							       (int)(kt_random(seed) % 5) - 2,
							       address(seed), address(seed), len };
		return GMEM_COPY;
	case 8:
		if (!(kt_random(seed) & 3)) {
			bool all = !(kt_random(seed) & 7);

			*(struct gmem_unmap *)buf =
				(struct gmem_unmap){ sizeof(struct gmem_unmap), all,
						     all ? 0 : address(seed) & ~(PAGE - 1),
						     all ? 0 : len & ~(PAGE - 1) };
			return GMEM_UNMAP;
		}
		if (!(kt_random(seed) & 3)) {
			*(struct gmem_mapping *)buf = (struct gmem_mapping){
				sizeof(struct gmem_mapping), kt_random(seed) % 3, address(seed)
			};
			return GMEM_MAPPING;
		}
		if (!(kt_random(seed) & 3)) {
			*(struct gmem_limit *)buf = (struct gmem_limit){ sizeof(struct gmem_limit),
									 (int)(kt_random(seed) % 4),
									 len & ~(PAGE - 1) };
			return GMEM_LIMIT;
		}
		if (!(kt_random(seed) & 3)) {
			hint = (struct gmem_hint){ address(seed), len,
						   (int)(kt_random(seed) % 5) - 1,
						   (uint32_t)kt_random(seed) % 7 };
			*(struct gmem_job_start *)buf = (struct gmem_job_start){
				sizeof(struct gmem_job_start), (uint32_t)kt_random(seed) % 3,
				kt_random(seed) & 7 ? (uint64_t)(uintptr_t)&hint : address(seed)
			};
			return GMEM_JOB_START;
		}
		if (!(kt_random(seed) & 3)) {
			*(struct gmem_job *)buf = (struct gmem_job){ sizeof(struct gmem_job),
								     kt_random(seed) % 3 };
			return GMEM_JOB;
		}
		if (!(kt_random(seed) & 3)) {
			*(struct gmem_attr *)buf = (struct gmem_attr){
				.size = sizeof(struct gmem_attr), .addr = address(seed), .len = len
			};
			return GMEM_ATTR;
		}
		*(struct gmem_query *)buf = (struct gmem_query){ sizeof(struct gmem_query), 0,
								 address(seed), len & ~(PAGE - 1),
								 address(seed) };
		return GMEM_QUERY;
	case 9:
		*(struct gmem_sim_create *)buf = (struct gmem_sim_create){
			.size = sizeof(struct gmem_sim_create),
			.flags = kt_random(seed) & 3,
			.memory = (kt_random(seed) & 3) * BLOCK,
		};
		return GMEM_SIM_IOC_CREATE;
	case 10:
		*(struct gmem_sim_attach *)buf = (struct gmem_sim_attach){
			sizeof(struct gmem_sim_attach), descriptor(seed)
		};
		return GMEM_SIM_IOC_ATTACH;
	case 11:
		if (kt_random(seed) & 1) {
			*(struct gmem_sim_detach *)buf = (struct gmem_sim_detach){
				sizeof(struct gmem_sim_detach), kt_random(seed) & 3
			};
			return GMEM_SIM_IOC_DETACH;
		}
		if (!(kt_random(seed) & 7)) {
			*(struct gmem_sim_poison *)buf = (struct gmem_sim_poison){
				sizeof(struct gmem_sim_poison), 0,
				(4ULL << 30) + kt_random(seed) % (4 * BLOCK)
			};
			return GMEM_SIM_IOC_POISON;
		}
		if (!(kt_random(seed) & 255)) {
			*(struct gmem_sim_remove *)buf =
				(struct gmem_sim_remove){ sizeof(struct gmem_sim_remove), 0 };
			return GMEM_SIM_IOC_REMOVE;
		}
		*(struct gmem_sim_inject *)buf =
			(struct gmem_sim_inject){ sizeof(struct gmem_sim_inject),
						  kt_random(seed) % 8,
						  kt_random(seed) & 3,
						  kt_random(seed) & 3,
						  5,
						  0 };
		return GMEM_SIM_IOC_INJECT;
	default:
		*(struct gmem_sim_access *)buf =
			(struct gmem_sim_access){ sizeof(struct gmem_sim_access),
						  kt_random(seed) & 3,
						  kt_random(seed) & 3,
						  kt_random(seed) % 6,
						  address(seed),
						  len % (4 * PAGE),
						  address(seed) };
		return GMEM_SIM_IOC_ACCESS;
	}
}

/* Put a descriptor into a place, and close what was there. */
static void keep(uint64_t *seed, int fd)
{
	int old;

	if (fd < 0)
		return;
	old = __atomic_exchange_n(&fds[kt_random(seed) & 15], fd, __ATOMIC_RELAXED);
	if (old > 2)
		close(old);
}

/* Mappings that come, go, move and change. */
static void change_mappings(uint64_t *seed)
{
	void *at = (void *)(address(seed) & ~(PAGE - 1));
	uint64_t len = (number(seed) % (2UL << 20) & ~(PAGE - 1)) + PAGE;

	if ((unsigned long)at < BASE || (unsigned long)at + len > BASE + SPAN)
		return;
	switch (kt_random(seed) % 6) {
	case 0:
		munmap(at, len);
		break;
	case 1:
		mprotect(at, len, (int)(kt_random(seed) & 3));
		break;
	case 2:
		mremap(at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
		       (void *)(BASE + kt_random(seed) % (SPAN / PAGE - 600) * PAGE));
		break;
	case 3:
		mremap(at, len, len + PAGE, 0);
		break;
	case 4:
		madvise(at, len, kt_random(seed) & 1 ? MADV_DONTNEED : MADV_PAGEOUT);
		break;
	default:
		if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor(seed),
			 0) == MAP_FAILED)
			munmap(at, len);
	}
}

static void *fuzz_thread(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;
	unsigned char buf[256] __attribute__((aligned(8)));

	while (now_ns() < end_ns) {
		unsigned long cmd;
		uint64_t r = kt_random(&seed);

		memset(buf, 0, sizeof(buf));
		cmd = fill(&seed, buf);
		if (!(r & 15)) /* a bit of noise */
			buf[r >> 8 & 63] ^= (unsigned char)(1 << (r >> 16 & 7));
		if (cmd == GMEM_SIM_IOC_CREATE) { /* not all of the machine's memory */
			struct gmem_sim_create *c = (void *)buf;

			c->memory %= 4 * BLOCK;
			c->table_memory %= BLOCK;
		}
		if (!(r & 0x3f0))
			cmd ^= 1UL << (r >> 32 & 31);
		if (cmd == GMEM_AS_CREATE || cmd == GMEM_OBJECT_CREATE) {
			keep(&seed, ioctl(kt_gmem(), cmd, buf));
		} else if (cmd == GMEM_JOB_START) {
			keep(&seed, ioctl(r >> 44 & 1 ? kt_gmem() : descriptor(&seed), cmd, buf));
		} else if (cmd == GMEM_SIM_IOC_CREATE && !(r >> 40 & 7)) {
			int fd = open("/dev/gmem_sim", O_RDWR);

			ioctl(fd, cmd, buf);
			keep(&seed, fd);
		} else {
			ioctl(descriptor(&seed), cmd, buf);
		}
		if (!(r >> 20 & 7))
			change_mappings(&seed);
	}
	return NULL;
}

static void run(uint64_t seed, unsigned int seconds)
{
	pthread_t thread[3];

	(void)mmap((void *)BASE, SPAN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	munmap((void *)BASE, SPAN);
	for (unsigned int i = 0; i < FDS; i++)
		fds[i] = -1;
	kt_gmem();
	end_ns = now_ns() + seconds * 1000000000ULL;
	for (unsigned int i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, fuzz_thread, (void *)(seed * 10 + i));
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
}

/* Processes one after another, so that much is left for exit to clean up; 60 s in all. */
static void fuzz(void)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		pid_t pid = fork();

		if (!pid) {
			run(seed, 3);
			_exit(0);
		}
		CHECK_EQ(kt_wait(pid), 0);
	}
}

const struct kt_test kt_fuzz[] = {
	{ "fuzz", fuzz, 240 },
	{ 0 },
};
