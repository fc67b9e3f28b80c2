/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What the benchmarks share: timing, the table, and the raw limits. */
#ifndef GMEM_BENCH_H
#define GMEM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gmem/driver.h>
#include <gmem/gmem.h>
#include <gmem/sim.h>

#define MIB (1UL << 20)
#define ROUNDS 15U

double now_us(void);
double median(double *v, unsigned int n);
void must(int err, const char *what); /* print and exit 1 unless 0 */
void progress(const char *what);
void run_on(int cpu); /* this thread, and those it creates; -1: anywhere */

/*
 * A row: @got and @limit are per operation, in @unit; @ratio is the median of the
 * rounds' ratios. @goal as text ("<= 1.5"); @met says whether it holds; no goal: NULL.
 */
void row(const char *what, double got, double limit, const char *unit, double ratio,
	 const char *goal, bool met);

/* ---------------------------------------------------------------- raw limits */

/* A memfd mapped twice, the first mapping registered with userfaultfd: what gmem builds on. */
struct bare {
	unsigned char *app, *alias, *store; /* store: the "device" */
	unsigned char *aside;		    /* where page tables are moved */
	size_t size;
	int uffd, memfd;
};
void bare_create(struct bare *b, size_t size, bool sigbus);
void bare_destroy(struct bare *b);
void bare_unmap(struct bare *b, size_t off, size_t len);
void bare_map(struct bare *b, size_t off, size_t len);
/* The same for 2 MiB that are mapped, by moving the page table there and back. */
void bare_move_aside(struct bare *b, size_t off, size_t len);
void bare_move_back(struct bare *b, size_t off, size_t len);
void bare_handler(struct bare *b, bool on);
/* Touch @n pages from @off on, serviced by a SIGBUS handler, or by a thread that spins. */
double bare_fault_inline(struct bare *b, size_t off, unsigned int n);
double bare_fault_thread(struct bare *b, size_t off, unsigned int n);

/* ------------------------------------------------------------ the benchmarks */

/* An address space with a device, and memory that is used by both. */
struct setup {
	struct gm_as *as;
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
	unsigned char *mem;
	size_t size;
	int node;
};
void setup_create(struct setup *s, size_t size, uint32_t flags, uint32_t spin_us,
		  uint32_t cpu_granule);
void setup_destroy(struct setup *s);

void bench_cpu_fault(bool threaded);
void bench_two_threads(void);
void bench_dev_fault(void);
void bench_move_block(bool retained);
void bench_prefetch(void);
void bench_peer(void);
void bench_first_touch(void);
void bench_place(void);
void bench_bulk(void);
void bench_large_leaf(void);
void bench_metadata(void);
void bench_policy(bool all);

#endif
