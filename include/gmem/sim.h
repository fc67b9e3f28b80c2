/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The reference accelerator: a device in software, complete enough to catch a
 * memory manager out. Its memory is reached by its copy engine and its lanes
 * only; lanes translate every access through a TLB that really caches and a
 * page table that lies in the device's own memory.
 *
 * On the kernel host it is a device of the module gmem_sim, and a lane's access a system
 * call; gm_sim(3) has what differs. A program that is to run anywhere creates its device
 * before its address space.
 *
 * Link with -lgmem_sim -lgmem.
 */
#ifndef GMEM_SIM_H
#define GMEM_SIM_H

#include <gmem/gmem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gm_sim;	    /* a device */
struct gm_sim_ctx;  /* a device attached to an address space */
struct gm_sim_lane; /* one of its processors, while it runs a kernel */

#define GM_SIM_CHECK 1U /* name a missing invalidation: look for stale translations at every copy */
#define GM_SIM_SYNC_FAULTS 2U /* no fault thread: the lane that faults services its own fault */

#define GM_SIM_APERTURE 4U /* the CPU can address its memory too; for tests of the core only */
#define GM_SIM_NO_LINK 8U  /* no link to other devices: what moves between them goes by the host */

#define GM_SIM_IN_PLACE 16U /* its link is coherent: it is attached in mode GM_REPLICATE */

#define GM_SIM_SPARSE                                                                              \
	32U /* sees nothing of an address space but what gm_sim_window_add() shows it */

#define GM_SIM_SHARE                                                                               \
	64U /* it is attached in mode GM_SHARE: it uses another's page table, and memory */

#define GM_SIM_READ_PEER 128U /* it reads where they are pages that another such device has */

#define GM_SIM_NO_ATOMICS                                                                          \
	256U /* its link knows no atomic operations: for one it has to have the page alone */
/* It has an OS of its own: told in one message what to map or unmap, and to copy (peer_map, peer_unmap) */
#define GM_SIM_PEER_OPS 512U
#define GM_SIM_NO_ACCESSED 1024U /* its page table has no accessed bits (pmap_age) */
#define GM_SIM_COUNTERS 2048U /* it counts what it uses of host memory in place (GM_MMU_COUNTS) */

/* Zero is the default of every field. */
struct gm_sim_options {
	size_t size;	  /* of this struct; an unknown tail that is not zero is -E2BIG */
	const char *name; /* "sim" */
	uint64_t
		memory; /* bytes for data, a multiple of 2 MiB; 0: 64 MiB. Page tables come on top */
	uint64_t
		table_memory; /* bytes for page tables, a multiple of 4 KiB; 0: memory/64, 256 KiB at least */
	uint64_t base; /* physical address of its memory, a multiple of 2 MiB; 0: 4 GiB */
	uint64_t
		pgsize_bitmap; /* of 4 KiB to 1 GiB, one up to 2 MiB included; 0: 4 KiB | 64 KiB | 2 MiB */
	uint32_t lanes;	       /* 0: 4; at most 256 */
	uint32_t tlb_entries; /* per lane and page size, a power of two; 0: 64 */
	uint32_t
		copy_threads; /* asynchronous copy engines; 0: copies are done by whoever starts them */
	uint32_t fault_batch; /* faults the buffer holds; 0: 256 */
	uint32_t flags;	      /* GM_SIM_* */
	uint32_t va_bits;     /* of an address that it can name, 22 to 48; 0: 48 */
	const char *
		directory; /* its memory is a file without a name there; NULL: memory of the process's */
};

/** gm_sim_create - plug a device in: registers it and its memory with gmem */
GM_API int gm_sim_create(const struct gm_sim_options *opt, struct gm_sim **sim);
/** gm_sim_destroy - -EBUSY while it is attached; otherwise as gm_dev_destroy() */
GM_API int gm_sim_destroy(struct gm_sim *sim);
/**
 * gm_sim_unplug - pull the device out, whoever uses it: gm_dev_remove()
 *
 * Kernels that run end at their next access, with -ENODEV. How its copy engine does is up to
 * gm_sim_inject(). The contexts are still to be detached, and the device to be destroyed.
 */
GM_API int gm_sim_unplug(struct gm_sim *sim);
GM_API struct gm_dev *gm_sim_dev(struct gm_sim *sim);
GM_API unsigned int gm_sim_lanes(const struct gm_sim *sim);

/** gm_sim_attach - as gm_as_attach(); @ctx ends with gm_sim_detach() or gm_as_destroy() */
GM_API int gm_sim_attach(struct gm_sim *sim, struct gm_as *as, struct gm_sim_ctx **ctx);
/** gm_sim_detach - must not be called while a kernel runs (-EBUSY); otherwise as gm_as_detach() */
GM_API int gm_sim_detach(struct gm_sim_ctx *ctx);

/**
 * gm_sim_window_add - as gm_window_add(), of one window
 * @va: in the address space
 * @dev_va: where lanes see it; from then on addresses for lanes are these
 */
GM_API int gm_sim_window_add(struct gm_sim_ctx *ctx, const void *va, size_t len, uint64_t dev_va);
/** gm_sim_window_remove - as gm_window_remove() */
GM_API int gm_sim_window_remove(struct gm_sim_ctx *ctx, const void *va, size_t len);
/** gm_sim_set_mode - as gm_context_set_mode() */
GM_API int gm_sim_set_mode(struct gm_sim_ctx *ctx, const void *va, size_t len, enum gm_mode mode);

/**
 * gm_sim_launch - run @kernel on every lane and wait
 *
 * An access that cannot be serviced (an unmapped address, device memory full of
 * pinned pages, ...) ends the lane at once, and its -errno is returned when all
 * lanes have ended. Kernels of one device run one after another. A kernel must
 * touch managed memory by the accessors below only, and hold no resource when it
 * makes an access: the lane may end there.
 */
typedef void gm_sim_kernel_fn(struct gm_sim_lane *lane, void *arg);
GM_API int gm_sim_launch(struct gm_sim_ctx *ctx, gm_sim_kernel_fn *kernel, void *arg);

GM_API unsigned int gm_sim_lane_id(const struct gm_sim_lane *lane); /* 0 .. lanes-1 */
/** gm_sim_barrier - wait for all lanes that have not ended */
GM_API void gm_sim_barrier(struct gm_sim_lane *lane);

/* Loads and stores, naturally aligned; atomic in themselves. */
GM_API uint8_t gm_sim_load8(struct gm_sim_lane *lane, const void *va);
GM_API uint32_t gm_sim_load32(struct gm_sim_lane *lane, const void *va);
GM_API uint64_t gm_sim_load64(struct gm_sim_lane *lane, const void *va);
GM_API double gm_sim_loadf64(struct gm_sim_lane *lane, const void *va);
GM_API void *gm_sim_loadptr(struct gm_sim_lane *lane, const void *va);
GM_API void gm_sim_store8(struct gm_sim_lane *lane, void *va, uint8_t v);
GM_API void gm_sim_store32(struct gm_sim_lane *lane, void *va, uint32_t v);
GM_API void gm_sim_store64(struct gm_sim_lane *lane, void *va, uint64_t v);
GM_API void gm_sim_storef64(struct gm_sim_lane *lane, void *va, double v);
/* Atomic read-modify-writes; they return the value before. */
GM_API uint64_t gm_sim_add64(struct gm_sim_lane *lane, void *va, uint64_t v);
GM_API uint64_t gm_sim_xor64(struct gm_sim_lane *lane, void *va, uint64_t v);
GM_API double gm_sim_addf64(struct gm_sim_lane *lane, void *va, double v);
/* Any number of bytes, any alignment; not atomic, but each translation is used for the whole page. */
GM_API void gm_sim_read(struct gm_sim_lane *lane, void *buf, const void *va, size_t len);
GM_API void gm_sim_write(struct gm_sim_lane *lane, void *va, const void *buf, size_t len);

/**
 * gm_sim_access - one access from outside a kernel, as lane 0 would make it
 *
 * Reads (or, with GM_WRITE, writes) @len bytes at @va. -EBUSY while a kernel runs
 * on this device. Stops at the first page that cannot be accessed and returns its
 * error.
 */
GM_API int gm_sim_access(struct gm_sim_ctx *ctx, void *va, void *buf, size_t len, uint32_t access);

/* The operations that can be made to fail. */
enum gm_sim_op {
	GM_SIM_PMAP_CREATE,
	GM_SIM_PMAP_ENTER,
	GM_SIM_PMAP_RELEASE,
	GM_SIM_PMAP_PROTECT,
	GM_SIM_TLB_INVL,
	GM_SIM_COPY_START, /* copy or zero is refused */
	GM_SIM_COPY_FENCE, /* accepted, done in part, then the fence fails */
	GM_SIM_PMAP_AGE,
	GM_SIM_NR_OPS,
};

/**
 * gm_sim_inject - make the next @count calls of @op, after @skip more, return @err
 *
 * @err: -errno; @count 0 undoes it. UINT32_MAX: for ever.
 */
GM_API void gm_sim_inject(struct gm_sim *sim, enum gm_sim_op op, uint32_t skip, uint32_t count,
			  int err);

/**
 * gm_sim_occupy - let the device use addresses [va, va+len) for itself, or (@on 0) no more
 *
 * As a device does that has an operating system of its own: mappings that gmem chooses the
 * place of come elsewhere, others are refused (-EADDRINUSE). At most 16 ranges; what is mapped
 * already stays. -EINVAL: no range, too many, or not one that was named so before.
 */
GM_API int gm_sim_occupy(struct gm_sim *sim, uint64_t va, uint64_t len, int on);

struct gm_sim_stats {
	size_t size;		/* of this struct, set by the caller */
	uint64_t accesses;	/* translated accesses of ended kernels */
	uint64_t tlb_misses;	/* of these */
	uint64_t faults;	/* put into the fault buffer */
	uint64_t fault_batches; /* serviced */
	uint64_t copies;	/* extents */
	uint64_t tables;	/* pages of page table in use now */
	uint64_t stale;		/* GM_SIM_CHECK: copies that found a translation alive */
	uint64_t addresses;	/* bytes of virtual addresses that it has given to gmem, now */
	uint64_t messages;	/* operations on page tables and TLBs, and requests for copies */
	uint64_t peer_messages; /* of these: of GM_SIM_PEER_OPS */
};
GM_API void gm_sim_stats(struct gm_sim *sim, struct gm_sim_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
