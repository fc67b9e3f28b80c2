/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * /dev/gmem_sim: the simulated accelerator in the kernel, a device a descriptor.
 *
 * GMEM_SIM_CREATE plugs the device in, closing the descriptor pulls it out. A process that
 * was handed the descriptor uses the same device, for an address space of its own. Structs
 * as in gmem.h.
 */
#ifndef GMEM_SIM_UAPI_H
#define GMEM_SIM_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GMEM_SIM_MAGIC 'G'

#define GMEM_SIM_CHECK 1    /* look for stale translations at every copy */
#define GMEM_SIM_ASYNC 2    /* copies are done by another thread */
#define GMEM_SIM_NO_LINK 4  /* no link to other devices: what moves between them goes by the host */
#define GMEM_SIM_IN_PLACE 8 /* attached in mode GM_REPLICATE: it maps host memory in place */
#define GMEM_SIM_SPARSE 64  /* sees only what GMEM_SIM_IOC_WINDOW shows it */
#define GMEM_SIM_SHARE 128  /* attached in mode GM_SHARE */
#define GMEM_SIM_PEER_OPS 1024	  /* told in one message what to map, or to unmap, and to copy */
#define GMEM_SIM_READ_PEER 256	  /* reads where they are pages that another such device has */
#define GMEM_SIM_NO_ATOMICS 512	  /* for an atomic operation it has to have a page alone */
#define GMEM_SIM_NO_ACCESSED 2048 /* no accessed bits in its page table */

/* Returns the hnode. */
struct gmem_sim_create {
	__u32 size;
	__u32 flags;  /* GMEM_SIM_* */
	__u64 memory; /* bytes for data, a multiple of 2 MiB; 0: 16 MiB */
	__u64 table_memory; /* bytes for page tables, a multiple of 4 KiB; 0: memory / 64, 256 KiB at least */
	__u64 pgsize_bitmap; /* of 4 KiB to 1 GiB, one up to 2 MiB included; 0: 4 KiB, 64 KiB, 2 MiB */
	__u32 lanes;	     /* 0: 4; at most 64 */
	__u32 tlb_entries; /* a lane and page size, a power of two; 0: 64; at most 4096 */
	__u64 cpu; /* its memory, tables included, is at this address of the CPU's, no RAM the kernel uses; 0: anywhere, and not the CPU's. CAP_SYS_RAWIO */
	__u32 va_bits; /* of an address that it can name, 22 to 48; 0: 48 */
	__u32 pad;
};

/* As struct gm_dev_tunables of <gmem/driver.h>. */
struct gmem_sim_tune {
	__u32 size;
	__u32 granule;
	__u64 low;
	__u64 high;
	__u32 no_grow;
	__u32 no_background;
	__u32 no_thrash;
	__u32 pad;
};

/* Returns the number of the context. */
struct gmem_sim_attach {
	__u32 size;
	__s32 as; /* descriptor of an address space of this process */
};

struct gmem_sim_detach {
	__u32 size;
	__u32 ctx;
};

enum {
	GMEM_SIM_READ,
	GMEM_SIM_WRITE,
	GMEM_SIM_ADD64, /* buf: 8 bytes, the addend; afterwards what was there before */
	GMEM_SIM_XOR64, /* as ADD64 */
	GMEM_SIM_CAS64, /* buf: 16 bytes, what is expected and what it becomes; the first: as ADD64 */
};

struct gmem_sim_access {
	__u32 size;
	__u32 ctx;
	__u32 lane;
	__u32 op;
	__u64 va;
	__u64 len;
	__u64 buf;
};

enum {
	GMEM_SIM_PMAP_CREATE,
	GMEM_SIM_PMAP_ENTER,
	GMEM_SIM_PMAP_RELEASE,
	GMEM_SIM_PMAP_PROTECT,
	GMEM_SIM_TLB_INVL,
	GMEM_SIM_COPY_START,
	GMEM_SIM_COPY_FENCE,
	GMEM_SIM_PMAP_AGE,
	GMEM_SIM_NR_OPS,
};

/* The next @count calls of @op, after @skip more, return -@err. */
struct gmem_sim_inject {
	__u32 size;
	__u32 op;
	__u32 skip;
	__u32 count;
	__u32 err;
	__u32 pad;
};

/* Where the byte at va is: as struct gm_lookup of <gmem/driver.h>. */
struct gmem_sim_lookup {
	__u32 size;
	__u32 ctx;
	__u64 va;
	__s32 node; /* out, as the rest */
	__u32 flags;
	__u64 pa;
	__u64 cpu;
	__u64 len;
};

/* 4 KiB of the device's memory have failed: gm_dev_poison() of <gmem/driver.h>. */
struct gmem_sim_poison {
	__u32 size;
	__u32 pad;
	__u64 pa;
};

enum {
	GMEM_SIM_WINDOW_ADD,
	GMEM_SIM_WINDOW_REMOVE,
	GMEM_SIM_WINDOW_MODE,
};

/* What a context sees: gm_window_add(), gm_window_remove(), gm_context_set_mode() of <gmem/driver.h>. */
struct gmem_sim_window {
	__u32 size;
	__u32 ctx;
	__u32 op;
	__u32 mode; /* for MODE: an enum gm_mode */
	__u64 va;
	__u64 len;
	__u64 dev_va; /* for ADD */
};

/*
 * The device is pulled out while it is at work: gm_dev_remove() of <gmem/driver.h>. Accesses
 * that are under way end with ENODEV. Its contexts are detached as ever.
 */
struct gmem_sim_remove {
	__u32 size;
	__u32 pad;
};

struct gmem_sim_stats {
	__u32 size;
	__u32 tables; /* pages of page table in use now */
	__u64 faults;
	__u64 copies; /* extents */
	__u64 stale;  /* GMEM_SIM_CHECK: copies that found a translation alive */
	__u64 bytes_to_dev;
	__u64 bytes_to_host;
	__u64 evictions;
	__u64 addresses; /* bytes of virtual addresses that gmem has from it, now */
};

/* Addresses that the device uses for itself, or (on 0) no more; at most 16 ranges. */
struct gmem_sim_occupy {
	__u32 size;
	__u32 on;
	__u64 va;
	__u64 len;
};

#define GMEM_SIM_IOC_CREATE _IOW(GMEM_SIM_MAGIC, 0, struct gmem_sim_create)
#define GMEM_SIM_IOC_TUNE _IOW(GMEM_SIM_MAGIC, 1, struct gmem_sim_tune)
#define GMEM_SIM_IOC_ATTACH _IOW(GMEM_SIM_MAGIC, 2, struct gmem_sim_attach)
#define GMEM_SIM_IOC_DETACH _IOW(GMEM_SIM_MAGIC, 3, struct gmem_sim_detach)
#define GMEM_SIM_IOC_ACCESS _IOW(GMEM_SIM_MAGIC, 4, struct gmem_sim_access)
#define GMEM_SIM_IOC_INJECT _IOW(GMEM_SIM_MAGIC, 5, struct gmem_sim_inject)
#define GMEM_SIM_IOC_STATS _IOWR(GMEM_SIM_MAGIC, 6, struct gmem_sim_stats)
#define GMEM_SIM_IOC_LOOKUP _IOWR(GMEM_SIM_MAGIC, 7, struct gmem_sim_lookup)
#define GMEM_SIM_IOC_POISON _IOW(GMEM_SIM_MAGIC, 8, struct gmem_sim_poison)
#define GMEM_SIM_IOC_WINDOW _IOW(GMEM_SIM_MAGIC, 12, struct gmem_sim_window)
#define GMEM_SIM_IOC_REMOVE _IOW(GMEM_SIM_MAGIC, 9, struct gmem_sim_remove)
#define GMEM_SIM_IOC_OCCUPY _IOW(GMEM_SIM_MAGIC, 13, struct gmem_sim_occupy)

#endif
