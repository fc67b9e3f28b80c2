/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The simulated accelerator in the kernel.
 *
 * driver.c	what a driver has to do with gmem besides its MMU functions
 * ops.c	the MMU functions, the copy engine, and what makes them fail
 * peer_os.c	some of these in one message
 * access.c	the lanes: accesses by way of TLB and page table
 * chardev.c	the device as a descriptor
 *
 * Locking. `life` is held for reading by whoever uses the device or a context, and for
 * writing where they come and go. It is never held over an access to user memory, and
 * the MMU functions, which gmem calls with its own locks held, do not take it.
 */
#ifndef GM_SIM_K_H
#define GM_SIM_K_H

#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include <gmem/kernel.h>
#include <uapi/gmem_sim.h>

#include "sim_port.h"

#include "sim_mmu.h"

#define GM_KSIM_CTXS 16

struct gm_ksim;

struct gm_ksim_ctx {
	struct gm_sim_pmap pmap;
	struct gm_ksim_ctx *owner; /* whose page table it shares; NULL: it has its own */
	struct gm_ksim *sim;
	struct gm_context *gm;
};

struct gm_ksim_injection {
	u32 skip, count;
	int err;
};

struct gm_ksim {
	char name[32];
	u32 flags;
	u32 va_bits;
	enum gm_mode mode; /* of its contexts */
	struct gm_mmu ops;
	struct gm_dev *dev; /* NULL: not plugged in; life */
	struct gm_sim_mmu mmu;
	struct gm_sim_tlb_entry *tlb_entries;
	struct file *file;	  /* that it is */
	atomic_t sharing, shared; /* contexts that use another's table; and that use one of its */
	u64 cpu;		  /* the CPU's address of its memory, or 0 */
	struct rw_semaphore life;
	struct gm_ksim_ctx *ctx[GM_KSIM_CTXS]; /* life */
	spinlock_t inject_lock;
	struct gm_ksim_injection inject[GMEM_SIM_NR_OPS]; /* inject_lock */
	struct gm_tlb_range occupied[16];		  /* inject_lock */
	atomic64_t faults, copies, stale, addresses;
};

/* driver.c */
int gm_ksim_probe(struct gm_ksim *sim);
int gm_ksim_remove(struct gm_ksim *sim, bool in_use);
int gm_ksim_attach(struct gm_ksim *sim, int as_fd, struct gm_ksim_ctx **ctx);
int gm_ksim_detach(struct gm_ksim_ctx *ctx);
int gm_ksim_service(struct gm_ksim_ctx *ctx, u64 va, u32 access);

/* ops.c: the operations of struct gm_mmu */
int gm_ksim_pmap_create(struct gm_dev *dev, void **pmap);
int gm_ksim_pmap_share(struct gm_dev *dev, void *pmap, void **shared);
void gm_ksim_pmap_destroy(struct gm_dev *dev, void *pmap);
int gm_ksim_pmap_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
		       uint32_t prot);
int gm_ksim_pmap_enter_peer(void *pmap, uint64_t va, struct gm_dev *peer, uint64_t pa,
			    uint64_t size);
int gm_ksim_pmap_release(void *pmap, uint64_t va, uint64_t size);
int gm_ksim_pmap_protect(void *pmap, uint64_t va, uint64_t size, uint32_t prot);
int gm_ksim_pmap_age(void *pmap, uint64_t va, uint64_t size, uint64_t *used);
int gm_ksim_tlb_invl(void *pmap, uint64_t va, uint64_t size);
int gm_ksim_tlb_invl_coalesced(void *pmap, const struct gm_tlb_range *ranges, unsigned int n);
int gm_ksim_copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		 unsigned int n, struct gm_fence *fence);
int gm_ksim_zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		 struct gm_fence *fence);
int gm_ksim_copy_peer(struct gm_dev *dev, struct gm_dev *peer, const struct gm_extent *ext,
		      unsigned int n, struct gm_fence *fence);
int gm_ksim_peer_va_alloc_fixed(void *pmap, uint64_t va, uint64_t size, uint32_t prot);
void gm_ksim_peer_va_free(void *pmap, uint64_t va, uint64_t size);
int gm_ksim_occupy(struct gm_ksim *sim, u64 va, u64 len, bool on);
void gm_ksim_inject(struct gm_ksim *sim, unsigned int op, u32 skip, u32 count, int err);
int gm_ksim_pmap_enter_host(void *pmap, uint64_t va, uint64_t host, uint64_t size, uint32_t prot);
int gm_ksim_fails(struct gm_ksim *sim, unsigned int op);
int gm_ksim_copy_now(struct gm_ksim *sim, const struct gm_peer_map *op, bool out);
int gm_ksim_engine_init(void);
void gm_ksim_engine_exit(void);

/* peer_os.c: two more, if the device has them */
void gm_ksim_peer_ops(const struct gm_ksim *sim, struct gm_mmu *ops);

/* access.c; life held for reading */
int gm_ksim_access(struct gm_ksim_ctx *ctx, unsigned int lane, u32 op, u64 va, void *buf,
		   size_t len);

#endif
