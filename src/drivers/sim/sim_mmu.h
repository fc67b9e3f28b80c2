/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The simulated accelerator's MMU: page tables in device memory, and a TLB for
 * each lane.
 *
 * Format. A virtual address has 48 bits: four indices of 9 bits, for levels 3 to
 * 0, and 12 bits of offset. A table is 4 KiB of device memory: 512 entries of 64
 * bits.
 *
 *	bit 0       V     valid; all else is ignored without it
 *	bit 1       R     reads allowed  } leaves only
 *	bit 2       W     writes allowed }
 *	bit 3       LEAF  maps memory; without it the entry points to a table of the
 *	                  level below. Level 0: always; level 3: never. An entry maps
 *	                  4 KiB at level 0, 2 MiB at level 1, 1 GiB at level 2
 *	bits 6-9    RUN   leaves only: one of 1 << RUN aligned entries, at level 0 or 1, that
 *	                  map aligned, contiguous memory with one protection: 4 is a leaf of
 *	                  64 KiB, or 32 MiB. A TLB may cache them as one
 *	bit 11      USED  leaves only: set by a walk that fills a TLB from it. Of a run it is set in
 *	                  the entry that was walked to, and asked of all
 *	bits 12-47  ADDR  physical address of the memory or the table
 *
 * A device whose smallest leaf is larger than 4 KiB is asked for nothing smaller, and says
 * -EINVAL if it is.
 *
 * sim_mmu.c says how it is locked.
 */
#ifndef GM_SIM_MMU_H
#define GM_SIM_MMU_H

#include <gmem/driver.h>

#include "sim_port.h"

#define GM_SIM_PTE_V (1ULL << 0)
#define GM_SIM_PTE_R (1ULL << 1)
#define GM_SIM_PTE_W (1ULL << 2)
#define GM_SIM_PTE_LEAF (1ULL << 3)
#define GM_SIM_PTE_HOST (1ULL << 5) /* the address is the host's, not of device memory */
#define GM_SIM_PTE_RUN_SHIFT 6
#define GM_SIM_PTE_RUN (15ULL << GM_SIM_PTE_RUN_SHIFT)
#define GM_SIM_PTE_A (1ULL << 10) /* atomic operations are good there */
#define GM_SIM_PTE_USED (1ULL << 11)
#define GM_SIM_PTE_ADDR 0x0000fffffffff000ULL

#define GM_SIM_VA_END (1ULL << 48)
#define GM_SIM_4K (1ULL << 12)
#define GM_SIM_16K (1ULL << 14)
#define GM_SIM_64K (1ULL << 16)
#define GM_SIM_2M (1ULL << 21)

#define GM_SIM_1G (1ULL << 30)
#define GM_SIM_ALL_SIZES (2 * GM_SIM_1G - GM_SIM_4K)

#define GM_SIM_BASE_SIZES (2 * GM_SIM_2M - GM_SIM_4K) /* one of these there must be */

#define GM_SIM_MAX_SIZES 19
#define GM_SIM_COOKIE 0x474d454d53494d31ULL /* of its page table's format: any number of our own */
#define GM_SIM_NO_PA UINT64_MAX
#define GM_SIM_HOST_PA (1ULL << 63) /* of what a translation gives: an address of the host's */

struct gm_sim_tlb_entry {
	uint64_t asid; /* of the pmap; 0: empty */
	uint64_t va;
	uint64_t pa;
	uint64_t prot;
};

/* A lane's TLB: direct-mapped, one array for each page size. All fields: the word's holder. */
struct gm_sim_tlb {
	uint32_t word;	  /* held over each access and each invalidation */
	uint32_t waiting; /* atomic: others who want the word; the lane lets them pass */
	uint64_t mask;	  /* entries of an array, less one */
	struct gm_sim_tlb_entry *entry; /* the arrays, one behind the other */
	uint32_t nr_sizes;
	uint8_t shift[GM_SIM_MAX_SIZES]; /* log2 of each size */
	uint64_t lookups;		 /* accesses that found a translation in the end, */
	uint64_t misses;		 /* and that did not find it here */
} __attribute__((aligned(64)));

/* What is known of a page of table, beside its bytes. */
struct gm_sim_table {
	uint32_t next; /* free list, or list of tables about to be freed */
	uint32_t live; /* valid entries; the pmap's lock */
};

/* Debugging aid, for each 4 KiB of data. Atomic. */
struct gm_sim_frame {
	uint64_t va;   /* where it was mapped last */
	uint32_t maps; /* leaves that map it */
};

/*
 * Device memory is [base, base + data + tables). The owner fills in what is
 * marked o, zeroed where not said otherwise, then calls gm_sim_mmu_init().
 */
struct gm_sim_mmu {
	uint8_t *mem;		    /* o: the bytes at base */
	uint64_t base;		    /* o: multiple of 2 MiB */
	uint64_t data;		    /* o: bytes, multiple of 2 MiB */
	uint64_t tables;	    /* o: bytes, multiple of 4 KiB */
	uint64_t pgsizes;	    /* o: leaves allowed */
	struct gm_sim_table *table; /* o: one for each 4 KiB of tables */
	struct gm_sim_tlb *tlb;	    /* o: an array, masks and entries filled in */
	unsigned int nr_tlbs;	    /* o */
	struct gm_sim_frame *frame; /* o: one for each 4 KiB of data, or NULL */
	uint64_t asid;		    /* the last one given out; atomic */
	uint32_t lock;		    /* guards free, next */
	uint32_t free;		    /* index of a free table, or past the last */
	uint32_t used;		    /* tables in use; atomic */
	uint32_t stopped;	    /* nothing is translated any more; atomic */
	uint32_t guest_lock;	    /* guards guests; before lanes' words */
	struct gm_sim_pmap *guests; /* handles by which other devices' lanes use its tables */
};

struct gm_sim_pmap {
	struct gm_sim_mmu *mmu;
	uint64_t root; /* physical address of the level 3 table */
	uint64_t asid; /* unique on this device for ever */
	uint32_t lock; /* guards the tables' contents against other writers */
	struct gm_sim_mmu
		*walker; /* whose lanes use this: mmu's own, or another's that shares it */
	struct gm_sim_pmap *sharers, *next_sharer; /* gmem sees to it that nobody looks meanwhile */
	struct gm_sim_pmap *next_guest;		   /* mmu->guest_lock */
};

void gm_sim_mmu_init(struct gm_sim_mmu *mmu);

/* How many arrays a TLB has. */
unsigned int gm_sim_nr_sizes(uint64_t pgsizes);
/* Zeroed otherwise; @entry: as many arrays of @n entries, a power of two, zeroed. */
void gm_sim_tlb_init(struct gm_sim_tlb *tlb, uint64_t pgsizes, struct gm_sim_tlb_entry *entry,
		     uint64_t n);

/* Fails: -ENOSPC. The caller provides @pmap. */
int gm_sim_pmap_init(struct gm_sim_pmap *pmap, struct gm_sim_mmu *mmu);
void gm_sim_pmap_fini(struct gm_sim_pmap *pmap);

/* Let lanes of @walker use @pmap, by a handle of their own that takes invalidations only. */
void gm_sim_pmap_share(struct gm_sim_pmap *pmap, struct gm_sim_pmap *handle,
		       struct gm_sim_mmu *walker);
void gm_sim_pmap_unshare(struct gm_sim_pmap *pmap, struct gm_sim_pmap *handle);

/* As in struct gm_mmu. Fails: -EINVAL, -ENOSPC, -EEXIST (other memory or a larger leaf is there). */
int gm_sim_pmap_enter(struct gm_sim_pmap *pmap, uint64_t va, uint64_t pa, uint64_t size,
		      uint64_t leaf, uint32_t prot);
/* The same, with leaves of 4 KiB, to memory that the host has at @host: its pointer, or, in the kernel, physical address. */
int gm_sim_pmap_enter_host(struct gm_sim_pmap *pmap, uint64_t va, uint64_t host, uint64_t size,
			   uint32_t prot);
/* Fail: -EINVAL, also where a leaf reaches across an end of the range. */
int gm_sim_pmap_release(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size);
int gm_sim_pmap_protect(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size, uint32_t prot);

/* As in struct gm_mmu. */
int gm_sim_pmap_age(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size, uint64_t *used);

/*
 * For good: nothing is translated any more, and no access by way of a translation is under way,
 * nor by another device's lanes that use a table of this one.
 * What the page tables say is not true any more, nor are frames said to be mapped.
 */
void gm_sim_mmu_stop(struct gm_sim_mmu *mmu);

void gm_sim_tlb_invl(struct gm_sim_pmap *pmap, const struct gm_tlb_range *ranges, unsigned int n);

/*
 * The walk of the table after a miss: fills the TLB. Returns the physical address
 * or GM_SIM_NO_PA: a fault. The caller holds @tlb's word.
 */
uint64_t gm_sim_mmu_walk(struct gm_sim_pmap *pmap, struct gm_sim_tlb *tlb, uint64_t va,
			 uint32_t access);

/* Does a TLB translate to [pa, pa+len)? Then which one, and from where. */
bool gm_sim_tlb_find(struct gm_sim_mmu *mmu, uint64_t pa, uint64_t len, unsigned int *lane,
		     uint64_t *va);
/* Does a pmap map a frame of [pa, pa+len)? Always no without mmu->frame. */
bool gm_sim_frame_find(struct gm_sim_mmu *mmu, uint64_t pa, uint64_t len, uint64_t *frame,
		       uint64_t *va);

static inline bool gm_sim_is_stopped(const struct gm_sim_mmu *mmu)
{
	return __atomic_load_n(&mmu->stopped, __ATOMIC_RELAXED);
}

static inline bool gm_sim_is_data(const struct gm_sim_mmu *mmu, uint64_t pa, uint64_t len)
{
	return pa >= mmu->base && len <= mmu->data && pa - mmu->base <= mmu->data - len;
}

static inline void *gm_sim_mem(const struct gm_sim_mmu *mmu, uint64_t pa)
{
	return mmu->mem + (pa - mmu->base);
}

/* What a translation gave: a byte of the device's, or of the host's. */
static inline void *gm_sim_at(const struct gm_sim_mmu *mmu, uint64_t pa)
{
	if (pa & GM_SIM_HOST_PA)
		return (void *)(uintptr_t)(pa & ~GM_SIM_HOST_PA);
	return gm_sim_mem(mmu, pa);
}

static inline void gm_sim_spin_lock(uint32_t *word)
{
	unsigned int tries = 0;

	while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE))
		gm_sim_relax(++tries);
}

static inline void gm_sim_spin_unlock(uint32_t *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

/* The lane's own way to its word. */
static inline void gm_sim_tlb_lock(struct gm_sim_tlb *tlb)
{
	unsigned int tries = 0;

	while (__atomic_load_n(&tlb->waiting, __ATOMIC_RELAXED))
		gm_sim_relax(++tries);
	gm_sim_spin_lock(&tlb->word);
}

static inline void gm_sim_tlb_unlock(struct gm_sim_tlb *tlb)
{
	gm_sim_spin_unlock(&tlb->word);
}

/* The caller holds @tlb's word. */
static inline uint64_t gm_sim_tlb_lookup(struct gm_sim_tlb *tlb, uint64_t asid, uint64_t va,
					 uint32_t access)
{
	const struct gm_sim_tlb_entry *array = tlb->entry;
	unsigned int s;

	tlb->lookups++;
	for (s = 0; s < tlb->nr_sizes; s++, array += tlb->mask + 1) {
		unsigned int shift = tlb->shift[s];
		uint64_t offset = va & ((1ULL << shift) - 1);
		const struct gm_sim_tlb_entry *e = &array[(va >> shift) & tlb->mask];

		if (e->va == va - offset && e->asid == asid && (e->prot & access) == access)
			return e->pa + offset;
	}
	tlb->misses++;
	return GM_SIM_NO_PA;
}

static inline uint64_t gm_sim_translate(struct gm_sim_pmap *pmap, struct gm_sim_tlb *tlb,
					uint64_t va, uint32_t access)
{
	uint64_t pa = gm_sim_tlb_lookup(tlb, pmap->asid, va, access);

	return pa != GM_SIM_NO_PA ? pa : gm_sim_mmu_walk(pmap, tlb, va, access);
}

#endif
