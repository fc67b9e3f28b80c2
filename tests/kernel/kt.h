/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the kernel host share. Each test is a process of its own, with its
 * own time limit; what it opened goes with it, as it would with any program that dies.
 */
#ifndef GM_KT_H
#define GM_KT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <uapi/gmem.h>
#include <uapi/gmem_sim.h>

#define PAGE 4096UL
#define BLOCK (2UL << 20)

struct kt_test {
	const char *name;
	void (*fn)(void);
	unsigned int seconds; /* 0: 30 */
};

extern const struct kt_test kt_alloc[];
extern const struct kt_test kt_basic[], kt_vma[], kt_proc[], kt_input[], kt_memory[], kt_module[],
	kt_driver[], kt_hmm[], kt_trace[], kt_oom[], kt_fuzz[], kt_figures[], kt_aperture[],
	kt_huge[], kt_limits[], kt_policy[], kt_programs[], kt_requests[], kt_leaf[], kt_poison[],
	kt_peer[], kt_remove[], kt_in_place[], kt_memlock[], kt_life[];

/* Says what is wrong and ends the test. */
__attribute__((noreturn, format(printf, 3, 4))) void kt_fail(const char *file, int line,
							     const char *fmt, ...);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			kt_fail(__FILE__, __LINE__, "%s", #cond);                                  \
	} while (0)
#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long kt_a = (long long)(a), kt_b = (long long)(b);                            \
		if (kt_a != kt_b)                                                                  \
			kt_fail(__FILE__, __LINE__, "%s is %lld, not %s (%lld)", #a, kt_a, #b,     \
				kt_b);                                                             \
	} while (0)

/* Calls return what the system call did, or -errno. */
int kt_ioctl(int fd, unsigned long cmd, void *arg);
int kt_gmem(void); /* /dev/gmem, opened once a process */
int kt_as(uint32_t granule);
int kt_object(uint64_t bytes);
int kt_map_at(int as, int obj, uint64_t off, uint64_t len, uint32_t prot, uint64_t *va);
/* These end the test if they fail. */
void *kt_map(int as, int obj, uint64_t off, uint64_t len, uint32_t prot);
int kt_sim(uint64_t memory, uint32_t flags, int *node);
int kt_attach(int sim, int as);
void kt_tune(int sim, uint32_t granule, bool background);

int kt_dev(int sim, int ctx, uint32_t op, const void *va, void *buf, uint64_t len);
int kt_dev_lane(int sim, int ctx, uint32_t lane, uint32_t op, const void *va, void *buf,
		uint64_t len);
uint64_t kt_dev_load(int sim, int ctx, const void *va);
void kt_dev_store(int sim, int ctx, void *va, uint64_t v);
int kt_advise(int as, uint32_t advice, int node, void *va, uint64_t len);
int kt_node(int as, void *va);
unsigned int kt_flags(int as, void *va);
int kt_inject(int sim, uint32_t op, uint32_t skip, uint32_t count, int err);
void kt_sim_stats(int sim, struct gmem_sim_stats *stats);
void kt_stats(int as, struct gmem_stats *stats);
void kt_hnode(int node, struct gmem_hnode_info *info);

/* What most tests begin with: an address space, a device attached to it, an object mapped. */
struct kt {
	int as, sim, ctx, node, obj;
	unsigned char *mem;
	uint64_t len;
};
void kt_begin(struct kt *t, uint64_t len, uint64_t dev_memory);
/* The same with a device of 4 blocks whose memory the CPU can address, aperture.c. */
void kt_begin_aperture(struct kt *t, uint64_t len);
/* No translation was missed by an invalidation, and nothing of the device is lost. */
void kt_end(struct kt *t);
/* Where the byte at @va is; and pages that have come home, of all of the address space. */
struct gmem_sim_lookup kt_look(struct kt *t, void *va);
uint64_t kt_went_home(struct kt *t);

static inline uint64_t kt_pattern(uint64_t seed, uint64_t i)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + i * 0xd1342543de82ef95ULL + 1;

	x ^= x >> 29;
	return x * 0xbf58476d1ce4e5b9ULL;
}
uint64_t kt_random(uint64_t *state);

/* Waits for a child and says how it ended: its exit status, or minus the signal. */
int kt_wait(pid_t pid);
void kt_send_fd(int sock, int fd);
int kt_receive_fd(int sock);
/* Bytes of host memory that are held for devices which map them in place; of the machine. */
uint64_t kt_held(void);
/* Swap on the disk /dev/vda; lock all memory of the machine but @left bytes. memory.c */
void kt_swap_on(void);
void kt_swap_off(void);
uint64_t kt_swap_used(void);
void kt_take_memory(uint64_t left);
int kt_load(const char *name);
int kt_load_with(const char *name, const char *params);
int kt_unload_soon(const char *name); /* waits for the kernel to end its last uses */
int kt_unload(const char *name);
void kt_module_gone(void); /* a test: both modules unload */

#endif
