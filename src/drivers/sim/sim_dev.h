/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The simulated accelerator as a whole: what its files share.
 *
 *	driver.c      the driver proper
 *	sim.c         options, birth and death, the MMU functions gmem calls, injection
 *	sim_mmu.c     page tables and TLBs
 *	sim_engine.c  the copy engine
 *	sim_lanes.c   lanes, kernels, accessors
 *	sim_fault.c   fault buffer, fault thread, replay
 *	sim_count.c   access counters
 *	sim_va.c      addresses that are the device's own
 *	sim_peer_os.c what a device with an OS of its own does in one message
 *
 * Locks: run_lock, fault.lock, engine.lock, inject_lock and count_lock are each taken with no
 * other of them held, and no call into gmem is made under one. A letter after a
 * field names the lock that guards it; none: it does not change after creation.
 */
#ifndef GM_SIM_DEV_H
#define GM_SIM_DEV_H

#include <gmem/driver.h>
#include <gmem/sim.h>

#include <pthread.h>
#include <setjmp.h>

#include "sim_mmu.h"

#define GM_SIM_LINE 64U /* bytes of memory that are fetched at once */
#define GM_SIM_TELL 8U	/* lines of a page, until gmem is told */

struct gm_sim_slot {
	uint64_t key; /* page, and one; 0: free */
	uint32_t lines;
};

struct gm_sim_counts {
	struct gm_sim_slot *slot; /* count_lock */
	uint64_t size, used;	  /* count_lock */
};

/* A device attached to an address space; what gmem knows as the pmap. */
struct gm_sim_ctx {
	struct gm_sim_pmap pmap;
	struct gm_sim_ctx *owner; /* whose page table it shares; NULL: it has its own */
	struct gm_sim *sim;
	struct gm_context *gm;
	struct gm_as *as;    /* a device of the kernel's: what it is attached to, */
	unsigned int number; /* and the kernel's name for this */
	struct gm_sim_counts counts;
};

/* Fields without a letter: the thread that runs as this lane. */
struct gm_sim_lane {
	struct gm_sim *sim;
	struct gm_sim_tlb *tlb;
	struct gm_sim_ctx *ctx;
	unsigned int id;
	jmp_buf end; /* where a lane goes that cannot go on */
	int err;     /* why */
	/* The access that was recorded last, in which recording; no page: none since the last miss */
	uint32_t recording;
	uint32_t recorded_access;
	uint64_t recorded_page, recorded_line;
	uint64_t counted_line; /* of the last access, of a device that counts */
	pthread_t thread;
	uint64_t job; /* the last one it ran */
	/* The fault it waits for; fault.lock */
	pthread_cond_t replay;
	bool waiting;
	int fault_err;
};

/* An entry of the fault buffer. */
struct gm_sim_fault {
	struct gm_sim_lane *lane;
	uint64_t va;
	uint32_t access;
};

struct gm_sim_faults {
	pthread_mutex_t lock;
	pthread_cond_t work;	     /* for the fault thread */
	pthread_cond_t room;	     /* for lanes that found the buffer full */
	struct gm_sim_fault *buffer; /* lock */
	struct gm_sim_fault *batch;  /* the fault thread's, as is reports */
	struct gm_fault *reports;
	unsigned int size;
	unsigned int n; /* in the buffer; lock */
	bool started;
	bool stop; /* lock */
	pthread_t thread;
};

/* Copies of more extents are done by whoever starts them. */
#define GM_SIM_REQUEST_EXTENTS 512

enum gm_sim_verb { GM_SIM_COPY_IN, GM_SIM_COPY_OUT, GM_SIM_ZERO, GM_SIM_COPY_PEER };

struct gm_sim_request {
	struct gm_sim_request *next;
	enum gm_sim_verb verb;
	struct gm_sim *peer; /* GM_SIM_COPY_PEER: whose memory it reads */
	struct gm_fence *fence;
	int fail; /* injected */
	bool stale;
	unsigned int n;
	struct gm_extent ext[GM_SIM_REQUEST_EXTENTS];
};

struct gm_sim_engine {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct gm_sim_request *requests; /* the pool they all come from */
	struct gm_sim_request *free;	 /* lock */
	struct gm_sim_request *head;	 /* lock */
	struct gm_sim_request **tail;	 /* lock */
	bool stop;			 /* lock */
	unsigned int nr_threads;
	pthread_t *threads;
};

#define GM_SIM_OCCUPIED 16

struct gm_sim_injection {
	uint32_t skip;	/* inject_lock */
	uint32_t count; /* inject_lock; read without it to see that there is nothing to do */
	int err;	/* inject_lock */
};

/* What a lane asks of a device of the kernel's. */
enum gm_sim_request_op { GM_SIM_GET, GM_SIM_PUT, GM_SIM_ADD, GM_SIM_XOR, GM_SIM_CAS };

enum gm_sim_use { GM_SIM_IDLE, GM_SIM_CLAIMED, GM_SIM_KERNEL };

struct gm_sim {
	char name[32];
	uint32_t flags;
	uint32_t va_bits;
	enum gm_mode mode; /* that it is attached in */
	struct gm_mmu ops;
	struct gm_dev *dev;
	struct gm_sim_mmu mmu;
	void *map; /* the mapping that mmu.mem lies in */
	size_t map_len;
	struct gm_sim_tlb_entry *tlb_entries;

	/* Lanes. All of this: run_lock */
	pthread_mutex_t run_lock;
	pthread_cond_t run_idle;    /* use became GM_SIM_IDLE */
	pthread_cond_t run_job;	    /* job or stop changed */
	pthread_cond_t run_done;    /* alive became 0 */
	pthread_cond_t run_barrier; /* barrier changed */
	enum gm_sim_use use;
	bool stop;
	uint64_t job; /* number of the kernel */
	gm_sim_kernel_fn *kernel;
	void *arg;
	int err;	       /* the first lane's that failed */
	unsigned int alive;    /* lanes that have not ended */
	unsigned int arrived;  /* of these, at the barrier */
	uint64_t barrier;      /* how often it opened */
	unsigned int nr_lanes; /* does not change */
	unsigned int nr_threads;
	struct gm_sim_lane *lanes;

	struct gm_sim_faults fault;
	struct gm_sim_engine engine;

	/*
	 * NULL: this is the device. Else it is the kernel's, and only the lanes are here: one
	 * access (src/lib/sim). GET, PUT: @len bytes from or to @buf. ADD, XOR: a word; @buf has
	 * the operand, and gets what was there before. CAS: so too, but two words, what is
	 * expected and what it becomes. 0 or -errno; it does not wait for who is in the way.
	 */
	int (*remote)(struct gm_sim_lane *lane, enum gm_sim_request_op op, uint64_t va, void *buf,
		      size_t len);
	int fd;		      /* of the kernel's device */
	int hnode;	      /* its node */
	unsigned int nr_ctxs; /* atomic */

	pthread_mutex_t count_lock;
	pthread_mutex_t inject_lock;
	struct gm_sim_injection inject[GM_SIM_NR_OPS];
	struct gm_tlb_range occupied[GM_SIM_OCCUPIED]; /* gm_sim_occupy(); inject_lock */
	struct gm_sim_stats stats;		       /* atomic */
};

static inline void gm_sim_count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

/* driver.c */
int gm_sim_probe(struct gm_sim *sim);
int gm_sim_leave(struct gm_sim_ctx *ctx);
int gm_sim_remove(struct gm_sim *sim, bool in_use);
void gm_sim_service(struct gm_sim_ctx *ctx, struct gm_fault *faults, unsigned int n);
int gm_sim_service_one(struct gm_sim_ctx *ctx, uint64_t va, uint32_t access);

/* sim.c: the operations of struct gm_mmu */
int gm_sim_op_pmap_create(struct gm_dev *dev, void **pmap);
int gm_sim_op_pmap_share(struct gm_dev *dev, void *pmap, void **shared);
void gm_sim_op_pmap_destroy(struct gm_dev *dev, void *pmap);
int gm_sim_op_pmap_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
			 uint32_t prot);
int gm_sim_op_pmap_enter_host(void *pmap, uint64_t va, uint64_t host, uint64_t size, uint32_t prot);
int gm_sim_op_pmap_enter_peer(void *pmap, uint64_t va, struct gm_dev *peer, uint64_t pa,
			      uint64_t size);
int gm_sim_op_pmap_release(void *pmap, uint64_t va, uint64_t size);
int gm_sim_op_pmap_protect(void *pmap, uint64_t va, uint64_t size, uint32_t prot);
int gm_sim_op_pmap_age(void *pmap, uint64_t va, uint64_t size, uint64_t *used);
int gm_sim_op_tlb_invl(void *pmap, uint64_t va, uint64_t size);
int gm_sim_op_tlb_invl_coalesced(void *pmap, const struct gm_tlb_range *ranges, unsigned int n);
int gm_sim_op_copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		   unsigned int n, struct gm_fence *fence);
int gm_sim_op_zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		   struct gm_fence *fence);
int gm_sim_op_copy_peer(struct gm_dev *dev, struct gm_dev *peer, const struct gm_extent *ext,
			unsigned int n, struct gm_fence *fence);

/* sim_va.c: operations of struct gm_mmu too */
int gm_sim_op_peer_va_alloc_fixed(void *pmap, uint64_t va, uint64_t size, uint32_t prot);
void gm_sim_op_peer_va_free(void *pmap, uint64_t va, uint64_t size);

/* sim_peer_os.c: those of them that not every device has */
void gm_sim_peer_ops(const struct gm_sim *sim, struct gm_mmu *ops);

/* sim.c: the options with their defaults. Fails: -EINVAL, -E2BIG */
int gm_sim_options_get(const struct gm_sim_options *from, struct gm_sim_options *opt);
/* sim.c: as much of @now as the caller has room for */
void gm_sim_stats_out(struct gm_sim_stats *to, struct gm_sim_stats *now);
/* sim.c: 0, or the error that this call of @op is to return */
int gm_sim_fails(struct gm_sim *sim, enum gm_sim_op op);
/* sim.c: a thread of the device's own; the program's signals are not for it */
int gm_sim_thread(pthread_t *thread, void *(*fn)(void *), void *arg);

/* sim_engine.c */
int gm_sim_engine_init(struct gm_sim *sim, unsigned int nr_threads);
void gm_sim_engine_fini(struct gm_sim *sim);
int gm_sim_engine_run(struct gm_sim *sim, enum gm_sim_verb verb, const struct gm_extent *ext);
int gm_sim_engine_start(struct gm_sim *sim, enum gm_sim_verb verb, struct gm_sim *peer,
			const struct gm_extent *ext, unsigned int n, struct gm_fence *fence);

/* sim_fault.c */
int gm_sim_faults_init(struct gm_sim *sim, unsigned int size);
void gm_sim_faults_fini(struct gm_sim *sim);
/* The access can be replayed (0), or what became of the fault. Called with no lock held. */
int gm_sim_fault(struct gm_sim_lane *lane, uint64_t va, uint32_t access);

/* sim_count.c */
void gm_sim_count_line(struct gm_sim_lane *lane, uint64_t va);

/* sim_lanes.c */
int gm_sim_lanes_init(struct gm_sim *sim, unsigned int n);
void gm_sim_lanes_fini(struct gm_sim *sim);
/* Keep kernels and others off the device, waiting for others. Fails: -EBUSY, a kernel runs. */
int gm_sim_claim(struct gm_sim *sim);
void gm_sim_unclaim(struct gm_sim *sim);

#endif
