// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Lanes: the processors of the simulated accelerator.
 *
 * Every access translates its address, through the lane's TLB or by a walk of the
 * page table, and holds the lane's word from before the lookup until it is done;
 * sim_mmu.c says what that is good for. Nothing waits while it holds a word: a lane
 * that has no translation lets go, has its fault serviced and starts again. Where
 * that is not possible the lane jumps out of its kernel.
 *
 * Lanes reach memory by relaxed atomic operations: two of them may race on it, as on
 * real hardware. gm_sim_read() and gm_sim_write() promise less, and copy as fast as
 * they can; only under ThreadSanitizer are they made of atomics too, since it would
 * blame gmem for the races of a kernel.
 *
 * The device does one thing at a time (sim->use): a kernel, one access from outside,
 * or a detach. Lanes' threads are started by the first kernel, so a device that is
 * used by gm_sim_access() alone has none.
 *
 * Where the device is the kernel's the lanes are threads here all the same, which ask it
 * to make each access for them: it translates, faults and holds the word.
 */
#include "sim_dev.h"

#include <stdlib.h>
#include <time.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ATOMIC_COPY 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define ATOMIC_COPY 1
#endif

#define unlikely(x) __builtin_expect(!!(x), 0)

#define MAX_REPLAYS 1000 /* of a fault that meets -EBUSY or -EAGAIN */
#define NOTHING UINT64_MAX

/* ------------------------------------------------------------------ accesses */

/*
 * Who is in the way of a fault may be slow: yield, then sleep, then give up. A test with one
 * thread knows better than to wait.
 */
static bool busy_wait(struct gm_sim_lane *lane, int err, unsigned int *busy)
{
	static const struct timespec nap = { .tv_nsec = 50000 };

	if ((err != -EBUSY && err != -EAGAIN) || ++*busy > MAX_REPLAYS)
		return false;
	sched_yield();
	if (*busy > 100 &&
	    (lane->sim->use == GM_SIM_KERNEL || !(lane->sim->flags & GM_SIM_SYNC_FAULTS)))
		nanosleep(&nap, NULL);
	return true;
}

/*
 * The access has been made, all in one page; the lane's word is not held. An access to the line
 * of the one before says nothing new, as long as the lane has not lost its translation.
 */
__attribute__((noinline)) static void lane_record(struct gm_sim_lane *lane, uint64_t va, size_t len,
						  uint32_t access, uint32_t recording)
{
	uint64_t page = va / GM_SIM_4K, first = va / GM_SIM_LINE;
	uint64_t last = (va + len - 1) / GM_SIM_LINE;
	uint32_t lines = (uint32_t)(last - first) + 1;

	if (lane->recording != recording)
		lane->recorded_page = lane->recorded_line = NOTHING;
	lines -= first == lane->recorded_line;
	if (!lines && lane->recorded_page == page && !(access & ~lane->recorded_access & ~GM_READ))
		return;
	if (lane->recorded_page != page || access & GM_WRITE)
		lane->recorded_access = access;
	lane->recording = recording;
	lane->recorded_page = page;
	lane->recorded_line = last;
	gm_record_access(lane->ctx->gm, va, access, lines);
}

static inline void lane_made(struct gm_sim_lane *lane, const void *va, size_t len, uint32_t access)
{
	uint32_t recording = __atomic_load_n(&gm_recording, __ATOMIC_RELAXED);

	if (unlikely(recording))
		lane_record(lane, (uintptr_t)va, len, access, recording);
}

/*
 * Called with the lane's word, after a lookup that failed. 0: *pa is good and the
 * word is held; otherwise it is not.
 */
static int lane_miss(struct gm_sim_lane *lane, uint64_t va, uint32_t access, uint64_t *pa)
{
	unsigned int busy = 0;
	int err;

	lane->recorded_page = NOTHING;
	*pa = gm_sim_mmu_walk(&lane->ctx->pmap, lane->tlb, va, access);
	while (*pa == GM_SIM_NO_PA) {
		gm_sim_tlb_unlock(lane->tlb);
		err = gm_sim_fault(lane, va, access);
		if (err && !busy_wait(lane, err, &busy))
			return err;
		gm_sim_tlb_lock(lane->tlb);
		*pa = gm_sim_translate(&lane->ctx->pmap, lane->tlb, va, access);
	}
	return 0;
}

/* As lane_miss(). */
static inline int lane_translate(struct gm_sim_lane *lane, uint64_t va, uint32_t access,
				 uint64_t *pa)
{
	gm_sim_tlb_lock(lane->tlb);
	*pa = gm_sim_tlb_lookup(lane->tlb, lane->ctx->pmap.asid, va, access);
	return unlikely(*pa == GM_SIM_NO_PA) ? lane_miss(lane, va, access, pa) : 0;
}

/*
 * The device counts. What it uses in place it fetches, and counts first, line by line: gmem may
 * take the page to the device for it, and then the rest is there.
 */
__attribute__((noinline)) static int lane_counted(struct gm_sim_lane *lane, uint64_t va,
						  size_t *len, uint32_t access, uint64_t *pa)
{
	size_t line = GM_SIM_LINE - va % GM_SIM_LINE;

	if (!(*pa & GM_SIM_HOST_PA)) {
		lane->counted_line = (va + *len - 1) / GM_SIM_LINE;
		return 0;
	}
	*len = *len < line ? *len : line;
	gm_sim_tlb_unlock(lane->tlb);
	gm_sim_count_line(lane, va);
	return lane_translate(lane, va, access, pa);
}

/* As lane_translate(), for @len bytes, or the first of them: how many there are. */
static inline int lane_reach(struct gm_sim_lane *lane, uint64_t va, size_t *len, uint32_t access,
			     uint64_t *pa)
{
	int err = lane_translate(lane, va, access, pa);

	return !err && unlikely(lane->sim->flags & GM_SIM_COUNTERS)
		       ? lane_counted(lane, va, len, access, pa)
		       : err;
}

__attribute__((noreturn)) static void lane_end(struct gm_sim_lane *lane, int err)
{
	lane->err = err;
	longjmp(lane->end, 1);
}

/* An access that the kernel's device makes. */
static int lane_remote(struct gm_sim_lane *lane, enum gm_sim_request_op op, uint64_t va, void *buf,
		       size_t len)
{
	unsigned int busy = 0;
	int err;

	lane->tlb->lookups++;
	do {
		err = lane->sim->remote(lane, op, va, buf, len);
	} while (err && busy_wait(lane, err, &busy));
	return err;
}

/* For an accessor: the same, or the lane ends. */
static void lane_ask(struct gm_sim_lane *lane, enum gm_sim_request_op op, const void *va, void *buf,
		     size_t len)
{
	int err = (uintptr_t)va & (len - 1) ? -EINVAL
					    : lane_remote(lane, op, (uintptr_t)va, buf, len);

	if (err)
		lane_end(lane, err);
}

/* What a read-modify-write asks of a translation. */
static inline uint32_t atomic_access(const struct gm_sim *sim)
{
	return GM_READ | GM_WRITE | (sim->flags & GM_SIM_NO_ATOMICS ? GM_ATOMIC : 0);
}

static inline void *lane_begin_access(struct gm_sim_lane *lane, const void *p, size_t size,
				      uint32_t access)
{
	uint64_t va = (uintptr_t)p, pa;
	int err;

	if (unlikely(va & (size - 1)))
		lane_end(lane, -EINVAL);
	err = lane_reach(lane, va, &size, access, &pa);
	if (unlikely(err))
		lane_end(lane, err);
	return gm_sim_at(lane->ctx->pmap.mmu, pa);
}

#define LANE_LOAD(name, type)                                                                      \
	type name(struct gm_sim_lane *lane, const void *va)                                        \
	{                                                                                          \
		type v, *p;                                                                        \
                                                                                                   \
		if (unlikely(lane->sim->remote)) {                                                 \
			lane_ask(lane, GM_SIM_GET, va, &v, sizeof(v));                             \
			return v;                                                                  \
		}                                                                                  \
		p = lane_begin_access(lane, va, sizeof(type), GM_READ);                            \
		__atomic_load(p, &v, __ATOMIC_RELAXED);                                            \
		gm_sim_tlb_unlock(lane->tlb);                                                      \
		lane_made(lane, va, sizeof(v), GM_READ);                                           \
		return v;                                                                          \
	}

#define LANE_STORE(name, type)                                                                     \
	void name(struct gm_sim_lane *lane, void *va, type v)                                      \
	{                                                                                          \
		type *p;                                                                           \
                                                                                                   \
		if (unlikely(lane->sim->remote)) {                                                 \
			lane_ask(lane, GM_SIM_PUT, va, &v, sizeof(v));                             \
			return;                                                                    \
		}                                                                                  \
		p = lane_begin_access(lane, va, sizeof(type), GM_WRITE);                           \
		__atomic_store(p, &v, __ATOMIC_RELAXED);                                           \
		gm_sim_tlb_unlock(lane->tlb);                                                      \
		lane_made(lane, va, sizeof(v), GM_WRITE);                                          \
	}

#define LANE_RMW(name, op, far)                                                                    \
	uint64_t name(struct gm_sim_lane *lane, void *va, uint64_t v)                              \
	{                                                                                          \
		uint64_t *p;                                                                       \
                                                                                                   \
		if (unlikely(lane->sim->remote)) {                                                 \
			lane_ask(lane, far, va, &v, sizeof(v));                                    \
			return v;                                                                  \
		}                                                                                  \
		p = lane_begin_access(lane, va, sizeof(v), atomic_access(lane->sim));              \
		v = op(p, v, __ATOMIC_RELAXED);                                                    \
		gm_sim_tlb_unlock(lane->tlb);                                                      \
		lane_made(lane, va, sizeof(v), GM_WRITE | GM_ATOMIC);                              \
		return v;                                                                          \
	}

LANE_LOAD(gm_sim_load8, uint8_t)
LANE_LOAD(gm_sim_load32, uint32_t)
LANE_LOAD(gm_sim_load64, uint64_t)
LANE_LOAD(gm_sim_loadf64, double)
LANE_STORE(gm_sim_store8, uint8_t)
LANE_STORE(gm_sim_store32, uint32_t)
LANE_STORE(gm_sim_store64, uint64_t)
LANE_STORE(gm_sim_storef64, double)
LANE_RMW(gm_sim_add64, __atomic_fetch_add, GM_SIM_ADD)
LANE_RMW(gm_sim_xor64, __atomic_fetch_xor, GM_SIM_XOR)

void *gm_sim_loadptr(struct gm_sim_lane *lane, const void *va)
{
	return (void *)(uintptr_t)gm_sim_load64(lane, va);
}

/* As gm_sim_addf64(), where a word can be compared and exchanged only. */
static double addf64_remote(struct gm_sim_lane *lane, void *va, double v)
{
	uint64_t words[2], seen = gm_sim_load64(lane, va);
	double old, new;
	bool changed;

	do {
		words[0] = seen;
		memcpy(&old, &seen, sizeof(old));
		new = old + v;
		memcpy(&words[1], &new, sizeof(new));
		lane_ask(lane, GM_SIM_CAS, va, words, sizeof(seen));
		changed = words[0] == seen;
		seen = words[0];
	} while (!changed);
	return old;
}

double gm_sim_addf64(struct gm_sim_lane *lane, void *va, double v)
{
	double old, new, *p;

	if (unlikely(lane->sim->remote))
		return addf64_remote(lane, va, v);
	p = lane_begin_access(lane, va, sizeof(v), atomic_access(lane->sim));
	__atomic_load(p, &old, __ATOMIC_RELAXED);
	do {
		new = old + v;
	} while (!__atomic_compare_exchange(p, &old, &new, true, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED));
	gm_sim_tlb_unlock(lane->tlb);
	lane_made(lane, va, sizeof(v), GM_WRITE | GM_ATOMIC);
	return old;
}

#ifdef ATOMIC_COPY
static void copy_out(uint8_t *buf, uint8_t *mem, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = __atomic_load_n(mem + i, __ATOMIC_RELAXED);
}

static void copy_in(uint8_t *mem, const uint8_t *buf, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		__atomic_store_n(mem + i, buf[i], __ATOMIC_RELAXED);
}
#else
#define copy_out memcpy
#define copy_in memcpy
#endif

/* One of @in and @out is NULL. Stops at the first page that cannot be accessed. */
static int lane_bulk(struct gm_sim_lane *lane, uint64_t va, uint8_t *out, const uint8_t *in,
		     size_t len)
{
	uint64_t pa;
	int err;

	if (lane->sim->remote && len)
		return lane_remote(lane, in ? GM_SIM_PUT : GM_SIM_GET, va,
				   in ? (void *)(uintptr_t)in : out, len);
	while (len) {
		size_t n = GM_SIM_4K - va % GM_SIM_4K;

		if (n > len)
			n = len;
		err = lane_reach(lane, va, &n, in ? GM_WRITE : GM_READ, &pa);
		if (err)
			return err;
		if (in) {
			copy_in(gm_sim_at(lane->ctx->pmap.mmu, pa), in, n);
			in += n;
		} else {
			copy_out(out, gm_sim_at(lane->ctx->pmap.mmu, pa), n);
			out += n;
		}
		gm_sim_tlb_unlock(lane->tlb);
		lane_made(lane, (const void *)(uintptr_t)va, n, in ? GM_WRITE : GM_READ);
		va += n;
		len -= n;
	}
	return 0;
}

void gm_sim_read(struct gm_sim_lane *lane, void *buf, const void *va, size_t len)
{
	int err = lane_bulk(lane, (uintptr_t)va, buf, NULL, len);

	if (err)
		lane_end(lane, err);
}

void gm_sim_write(struct gm_sim_lane *lane, void *va, const void *buf, size_t len)
{
	int err = lane_bulk(lane, (uintptr_t)va, NULL, buf, len);

	if (err)
		lane_end(lane, err);
}

/* -------------------------------------------------------- the use of the device */

int gm_sim_claim(struct gm_sim *sim)
{
	int err = 0;

	pthread_mutex_lock(&sim->run_lock);
	while (sim->use == GM_SIM_CLAIMED)
		pthread_cond_wait(&sim->run_idle, &sim->run_lock);
	if (sim->use == GM_SIM_IDLE)
		sim->use = GM_SIM_CLAIMED;
	else
		err = -EBUSY;
	pthread_mutex_unlock(&sim->run_lock);
	return err;
}

/* With run_lock held. */
static void use_end(struct gm_sim *sim)
{
	sim->use = GM_SIM_IDLE;
	pthread_cond_broadcast(&sim->run_idle);
}

void gm_sim_unclaim(struct gm_sim *sim)
{
	pthread_mutex_lock(&sim->run_lock);
	use_end(sim);
	pthread_mutex_unlock(&sim->run_lock);
}

static void lane_count(struct gm_sim_lane *lane)
{
	struct gm_sim_tlb *tlb = lane->tlb;

	gm_sim_tlb_lock(tlb);
	gm_sim_count(&lane->sim->stats.accesses, tlb->lookups);
	gm_sim_count(&lane->sim->stats.tlb_misses, tlb->misses);
	tlb->lookups = 0;
	tlb->misses = 0;
	gm_sim_tlb_unlock(tlb);
}

int gm_sim_access(struct gm_sim_ctx *ctx, void *va, void *buf, size_t len, uint32_t access)
{
	struct gm_sim_lane *lane;
	int err;

	if (!ctx || !buf || !len || (access != GM_READ && access != GM_WRITE) ||
	    (uintptr_t)va + (len - 1) < (uintptr_t)va)
		return -EINVAL;
	err = gm_sim_claim(ctx->sim);
	if (err)
		return err;
	lane = &ctx->sim->lanes[0];
	lane->ctx = ctx;
	err = lane_bulk(lane, (uintptr_t)va, buf, access == GM_WRITE ? buf : NULL, len);
	lane_count(lane);
	gm_sim_unclaim(ctx->sim);
	return err;
}

/* ------------------------------------------------------------------- kernels */

/* All that have not ended are at the barrier: open it. run_lock held. */
static void barrier_check(struct gm_sim *sim)
{
	if (!sim->arrived || sim->arrived < sim->alive)
		return;
	sim->arrived = 0;
	sim->barrier++;
	pthread_cond_broadcast(&sim->run_barrier);
}

void gm_sim_barrier(struct gm_sim_lane *lane)
{
	struct gm_sim *sim = lane->sim;
	uint64_t barrier;

	pthread_mutex_lock(&sim->run_lock);
	barrier = sim->barrier;
	sim->arrived++;
	barrier_check(sim);
	while (sim->barrier == barrier)
		pthread_cond_wait(&sim->run_barrier, &sim->run_lock);
	pthread_mutex_unlock(&sim->run_lock);
}

unsigned int gm_sim_lane_id(const struct gm_sim_lane *lane)
{
	return lane->id;
}

unsigned int gm_sim_lanes(const struct gm_sim *sim)
{
	return sim->nr_lanes;
}

/* A function of its own: no variable of its caller's lives across the setjmp(). */
static void lane_kernel(struct gm_sim_lane *lane)
{
	lane->err = 0;
	if (!setjmp(lane->end))
		lane->sim->kernel(lane, lane->sim->arg);
}

static void *lane_thread(void *arg)
{
	struct gm_sim_lane *lane = arg;
	struct gm_sim *sim = lane->sim;

	pthread_mutex_lock(&sim->run_lock);
	for (;;) {
		while (lane->job == sim->job && !sim->stop)
			pthread_cond_wait(&sim->run_job, &sim->run_lock);
		if (sim->stop)
			break;
		lane->job = sim->job;
		pthread_mutex_unlock(&sim->run_lock);
		lane_kernel(lane);
		lane_count(lane);
		pthread_mutex_lock(&sim->run_lock);
		if (!sim->err)
			sim->err = lane->err;
		if (!--sim->alive)
			pthread_cond_signal(&sim->run_done);
		barrier_check(sim);
	}
	pthread_mutex_unlock(&sim->run_lock);
	return NULL;
}

/* run_lock held; the lanes' threads that could be started wait for a job. */
static int threads_start(struct gm_sim *sim)
{
	int err;

	while (sim->nr_threads < sim->nr_lanes) {
		struct gm_sim_lane *lane = &sim->lanes[sim->nr_threads];

		err = gm_sim_thread(&lane->thread, lane_thread, lane);
		if (err)
			return err;
		sim->nr_threads++;
	}
	return 0;
}

int gm_sim_launch(struct gm_sim_ctx *ctx, gm_sim_kernel_fn *kernel, void *arg)
{
	struct gm_sim *sim;
	unsigned int i;
	int err;

	if (!ctx || !kernel)
		return -EINVAL;
	sim = ctx->sim;
	pthread_mutex_lock(&sim->run_lock);
	while (sim->use != GM_SIM_IDLE)
		pthread_cond_wait(&sim->run_idle, &sim->run_lock);
	err = threads_start(sim);
	if (err)
		goto out;

	sim->use = GM_SIM_KERNEL;
	for (i = 0; i < sim->nr_lanes; i++)
		sim->lanes[i].ctx = ctx;
	sim->kernel = kernel;
	sim->arg = arg;
	sim->err = 0;
	sim->alive = sim->nr_lanes;
	sim->arrived = 0;
	sim->job++;
	pthread_cond_broadcast(&sim->run_job);
	while (sim->alive)
		pthread_cond_wait(&sim->run_done, &sim->run_lock);
	err = sim->err;
	use_end(sim);
out:
	pthread_mutex_unlock(&sim->run_lock);
	return err;
}

int gm_sim_lanes_init(struct gm_sim *sim, unsigned int n)
{
	unsigned int i;

	pthread_mutex_init(&sim->run_lock, NULL);
	pthread_cond_init(&sim->run_idle, NULL);
	pthread_cond_init(&sim->run_job, NULL);
	pthread_cond_init(&sim->run_done, NULL);
	pthread_cond_init(&sim->run_barrier, NULL);
	sim->lanes = calloc(n, sizeof(*sim->lanes));
	if (!sim->lanes) {
		gm_sim_lanes_fini(sim);
		return -ENOMEM;
	}
	sim->nr_lanes = n;
	for (i = 0; i < n; i++) {
		struct gm_sim_lane *lane = &sim->lanes[i];

		lane->sim = sim;
		lane->tlb = &sim->mmu.tlb[i];
		lane->id = i;
		pthread_cond_init(&lane->replay, NULL);
	}
	return 0;
}

void gm_sim_lanes_fini(struct gm_sim *sim)
{
	unsigned int i;

	pthread_mutex_lock(&sim->run_lock);
	sim->stop = true;
	pthread_cond_broadcast(&sim->run_job);
	pthread_mutex_unlock(&sim->run_lock);
	for (i = 0; i < sim->nr_threads; i++)
		pthread_join(sim->lanes[i].thread, NULL);
	for (i = 0; i < sim->nr_lanes; i++)
		pthread_cond_destroy(&sim->lanes[i].replay);
	free(sim->lanes);
	pthread_cond_destroy(&sim->run_barrier);
	pthread_cond_destroy(&sim->run_done);
	pthread_cond_destroy(&sim->run_job);
	pthread_cond_destroy(&sim->run_idle);
	pthread_mutex_destroy(&sim->run_lock);
}
