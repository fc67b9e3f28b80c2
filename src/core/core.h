/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The core's objects. A letter or name in brackets after a field is the lock that
 * guards it (see lock.h): (c) is constant once the object can be found, (a) is
 * atomic.
 */
#ifndef GM_CORE_CORE_H
#define GM_CORE_CORE_H

#include <gmem/driver.h>
#include <gmem/gmem.h>
#include <gmem/policy.h>

#include "core/buddy.h"
#include "core/lock.h"
#include "core/pool.h"

#define GM_PAGE_SHIFT 12U
#define GM_BLOCK_SHIFT 21U
#define GM_BLOCK_PAGES 512U
#define GM_BLOCK_ORDER 9U
#define GM_MAX_DEVS 64U
#define GM_PAGE_BYTES_MAX 4U

/* ------------------------------------------------------- the state of a page */

/*
 * An entry of the logical page table, 8 bytes: state, flags, and for a page on a
 * device which one and its frame.
 *
 *	bit   0- 1  state
 *	bit   2     GM_E_PINNED    not evicted; goes with the page wherever it moves
 *	bit   3     GM_E_RETAINED  on a device; its old host frame is kept, stale
 *	            GM_E_EXCLUSIVE in host backing, for the device of bits 4-15 alone
 *	bit   4-15  index of the device
 *	bit  16-63  frame number (physical address >> 12)
 *
 * NONE: reads as zero; no host frame, no device frame. HOST: the bytes are in the
 * object's host backing, and the CPU may have it mapped. DEV: the bytes are on a
 * device; the CPU does not have it mapped. BAD: the bytes are gone, with the memory
 * they were in (poison.c); the page is nowhere, has no flags, and cannot be accessed.
 */
enum gm_state { GM_NONE, GM_HOST, GM_DEV, GM_BAD };

#define GM_E_STATE 3ULL
#define GM_E_PINNED 4ULL
#define GM_E_RETAINED 8ULL
#define GM_E_EXCLUSIVE 8ULL /* see exclusive.c */
#define GM_E_DEV_SHIFT 4U
#define GM_E_DEV_MASK 0xfffULL
#define GM_E_PFN_SHIFT 16U

static inline enum gm_state gm_entry_state(uint64_t e)
{
	return (enum gm_state)(e & GM_E_STATE);
}

static inline bool gm_entry_exclusive(uint64_t e)
{
	return (e & (GM_E_STATE | GM_E_EXCLUSIVE)) == (GM_HOST | GM_E_EXCLUSIVE);
}

static inline bool gm_entry_retained(uint64_t e)
{
	return (e & (GM_E_STATE | GM_E_RETAINED)) == (GM_DEV | GM_E_RETAINED);
}

static inline unsigned int gm_entry_dev(uint64_t e)
{
	return (unsigned int)(e >> GM_E_DEV_SHIFT & GM_E_DEV_MASK);
}

static inline uint64_t gm_entry_pfn(uint64_t e)
{
	return e >> GM_E_PFN_SHIFT;
}

static inline uint64_t gm_entry_on_dev(unsigned int dev, uint64_t pfn, uint64_t flags)
{
	return pfn << GM_E_PFN_SHIFT | (uint64_t)dev << GM_E_DEV_SHIFT | flags | GM_DEV;
}

/* What to add to an entry for the next page, if both belong to one extent. */
static inline uint64_t gm_entry_step(uint64_t e)
{
	return gm_entry_state(e) == GM_DEV ? 1ULL << GM_E_PFN_SHIFT : 0;
}

/* ------------------------------------------------------------------ accounts */

/* Whose account it is. An object may be charged to one of each. */
enum gm_payer { GM_PAYER_MAKER, GM_PAYER_AS, GM_NR_PAYERS };

/* What an account has on one device. */
struct gm_charge {
	struct gm_account *account; /* (c) */
	uint64_t used;		    /* frames; written under [hnode] (a) */
	uint64_t resident; /* pages of blocks; less than used: a fault has frames in hand [hnode] */
	uint64_t limit; /* frames, of the device with this id; 0: none. Written under [hnode] (a) */
	uint64_t limit_dev;  /* (a) */
	struct gm_list cold; /* its residents on the hnode's list of that name [hnode] */
};

struct gm_account {
	enum gm_payer payer;	 /* (c) */
	const uint32_t *percent; /* of each device; the host's. NULL: charges have limits (a) */
	uint64_t refs;		 /* its owner, and objects that are charged to it (a) */
	struct gm_charge charge[GM_MAX_DEVS];
};

/* -------------------------------------------------------------------- blocks */

/* A block that has pages on a device: its place in that hnode's recency list. */
struct gm_resident {
	struct gm_list lru;		  /* [hnode] */
	struct gm_list own[GM_NR_PAYERS]; /* in the lists of its charges [hnode] */
	struct gm_block *block;		  /* (c) */
	struct gm_dev *dev;		  /* (c) */
	struct gm_resident *next;	  /* of the block [block] */
	uint16_t nr;			  /* pages there, replicas included [block] */
	uint16_t nr_pinned;		  /* of these [block] */
	uint32_t word;			  /* the policies', until there is a history [policy] */
	uint64_t *copies; /* an entry for the replica of each page, or 0; NULL: none [block] */
};

#define GM_COPIES_NR GM_BLOCK_PAGES /* behind them: how many there are */

/* What the policies of a device remember of a block, also of pages that have gone (history.c). */
struct gm_history {
	struct gm_history *next; /* of the block [block] */
	uint64_t generation; /* of the policies whose it is; of others it says nothing [block] */
	uint32_t word;	     /* [policy] */
	uint16_t dev;	     /* index [block] */
	uint16_t page_bytes; /* [block] */
	uint8_t bytes[];     /* for each page [policy] */
};

struct gm_block {
	struct gm_mutex lock;
	struct gm_object *obj; /* NULL: free [block] */
	uint64_t index;	       /* offset in the object >> GM_BLOCK_SHIFT [block] */
	uint64_t uniform; /* the first page's entry, where all agree and pages is NULL [block] */
	uint64_t *pages;  /* else one entry a page, and a bit for each on a device [block] */
	struct gm_resident *residents; /* [block] */
	struct gm_more *more;	       /* what few blocks have, or NULL [block] */
	uint16_t willneed;	       /* (a) somebody wants it: an eviction under way gives up */
	uint16_t wanted;      /* (a) WILLNEED; no policy was asked about it as the coldest since */
	uint16_t nr_dev;      /* pages on devices, replicas included [block] */
	uint16_t nr_retained; /* pages on devices with a host frame kept [block] */
};

/*
 * What few blocks have: made when the first of it comes to be, gone with the last (more.c). [block]
 */
struct gm_more {
	struct gm_history *history;   /* of each device (history.c) */
	struct gm_pingpong *pingpong; /* or NULL (pingpong.c) */
	uint64_t readers;	      /* devices that may map what others have of it, a bit each */
	uint64_t remote;	      /* and host memory of it, in windows not of GM_REPLICATE */
	uint32_t nr_copies;	      /* replicas of pages in host backing (replica.c) */
};

static inline struct gm_history *gm_block_history(const struct gm_block *block)
{
	return block->more ? block->more->history : NULL;
}

static inline struct gm_pingpong *gm_block_pingpong(const struct gm_block *block)
{
	return block->more ? block->more->pingpong : NULL;
}

static inline uint64_t gm_block_readers(const struct gm_block *block)
{
	return block->more ? block->more->readers : 0;
}

static inline uint64_t gm_block_remote(const struct gm_block *block)
{
	return block->more ? block->more->remote : 0;
}

static inline uint32_t gm_block_copies(const struct gm_block *block)
{
	return block->more ? block->more->nr_copies : 0;
}

static inline uint32_t gm_resident_copies(const struct gm_resident *res)
{
	return res->copies ? (uint32_t)res->copies[GM_COPIES_NR] : 0;
}

/* ------------------------------------------------------------------- objects */

struct gm_object {
	uint64_t id;	  /* for events (c) */
	uint64_t size;	  /* (c) */
	uint64_t granule; /* of host backing: 4 KiB, or 2 MiB for hugetlb (c) */
	uint32_t flags;	  /* (c) */
	bool anonymous;	  /* of gm_alloc(): bytes that nothing maps are gone (c) */
	uint64_t family;  /* anonymous: id of the object that it makes longer, or its own (c) */
	uint32_t refs;	  /* (a) handle and regions */
	uint64_t near;	  /* (a) where block 0 would be, by the last that was placed (physmem.c) */
	void *host;	  /* the host's */
	void *root;	  /* (a) radix tree of blocks */
	uint32_t height;  /* its levels (c) */
	uint64_t nr_blocks; /* (a) */
	uint64_t nr_copies; /* replicas (a) */
	struct gm_rwlock maps_lock;
	struct gm_region *regions; /* [maps] */
	struct gm_list all;	   /* of gm_core.objects [core spin] */
	struct gm_account *account
		[GM_NR_PAYERS]; /* or NULL (c); the address space's: from the first mapping on */
};

/* ---------------------------------------------------------------- counters */

/* Counters are spread over the processors, lest they bounce between their caches. */
#define GM_SHARDS 8U

struct gm_counters {
	struct gm_shard {
		struct gm_stats stats;
	} __attribute__((aligned(64))) shard[GM_SHARDS]; /* (a) */
};

#define gm_tally_at(counters, at, field, n)                                                        \
	gm_add(&(counters)->shard[at].stats.field, (uint64_t)(n))
#define gm_tally(counters, field, n) gm_tally_at(counters, gm_os_cpu() % GM_SHARDS, field, n)

/* For a device, and for the address space, if any. */
#define gm_count(dev, as, field, n)                                                                \
	do {                                                                                       \
		unsigned int gm_at = gm_os_cpu() % GM_SHARDS;                                      \
		uint64_t gm_n = (uint64_t)(n);                                                     \
                                                                                                   \
		gm_tally_at(&(dev)->counters, gm_at, field, gm_n);                                 \
		if (as)                                                                            \
			gm_tally_at(&(as)->counters, gm_at, field, gm_n);                          \
	} while (0)

/* ------------------------------------------------------------ address spaces */

/* A window: what a context sees of its address space, and where (window.c). */
struct gm_seen {
	uint64_t va, end; /* in the address space */
	uint64_t dev_va;  /* where the device has it */
	enum gm_mode mode;
	bool gone; /* removed, and not out of the arrays yet */
};

struct gm_context {
	struct gm_as *as;	    /* (c) */
	struct gm_dev *dev;	    /* (c) */
	void *pmap;		    /* (c) */
	uint64_t id;		    /* for policies (c) */
	enum gm_mode mode;	    /* of new windows (c) */
	struct gm_context *next;    /* of the address space [ctx] */
	struct gm_context *owner;   /* of the pmap: itself, or whose it shares (c) */
	struct gm_context *sharers; /* who shares this one's, by next_sharer; as windows are */
	struct gm_context *next_sharer;
	bool asked; /* for the addresses of regions, see va.c (c) */

	/* Written under [as] and [ctx], read under either. */
	struct gm_seen **windows; /* sorted by address */
	struct gm_seen **by_dev;  /* the same, sorted by the device's */
	uint32_t nr_windows, max_windows;
	uint32_t nr_in_place; /* in mode GM_REPLICATE */

	struct gm_spans *spans; /* leaves larger than a block; or NULL (c) */
	uint64_t cut;		/* an address that none of them crosses [span] */
};

struct gm_as {
	struct gm_rwlock lock;
	struct gm_region **regions;	  /* sorted by address [as] */
	uint32_t nr_regions, max_regions; /* [as] */
	struct gm_rwlock ctx_lock;
	struct gm_context *contexts; /* written under [as] and [ctx], read under either */
	uint32_t cpu_granule;	     /* pages (c) */
	bool adaptive;		     /* less than that where few are used (c) */
	uint64_t id;		     /* for events (c) */
	void *host;		     /* the host's */
	struct gm_account *account;  /* (c) */
	struct gm_counters counters; /* (a) */
	struct gm_list sweeps;	     /* hints in the background, async.c [sweep] */
	uint32_t nr_sweeps;	     /* of these not told of yet; written under [sweep] (a) */
	uint32_t nr_hints;	     /* in them [sweep] */
};

/* ------------------------------------------------------------------- devices */

struct gm_physmem {
	struct gm_buddy buddy;	 /* [hnode] */
	bool closing;		 /* no more allocations [hnode] */
	uint64_t cpu;		 /* where the CPU has it, 0: nowhere (c) */
	uint64_t *bad;		 /* a bit for each retired frame; NULL: none was [core] */
	uint64_t nr_bad;	 /* retired; bits and sum are written under [core] and [hnode] */
	struct gm_physmem *next; /* [hnode] */
};

struct gm_hnode {
	struct gm_spin lock;
	struct gm_physmem *ranges;  /* [hnode], changed under [core] too */
	uint64_t total, free;	    /* frames that are fit for use; written under [hnode] (a) */
	uint64_t poisoned;	    /* frames that are not, in no other sum [hnode] */
	uint64_t resident;	    /* pages of blocks [hnode] */
	uint64_t pinned;	    /* of these [hnode] */
	uint64_t blocks;	    /* residents [hnode] */
	uint64_t low, high;	    /* watermarks, frames; written under [hnode] (a) */
	uint64_t limit;		    /* frames in use at most; 0: all. Written under [hnode] (a) */
	bool closing;		    /* no more allocations [hnode] */
	bool background;	    /* evict ahead of need (a) */
	struct gm_list cold;	    /* residents, coldest first [hnode] */
	struct gm_list pinned_list; /* residents with nothing but pinned pages [hnode] */
	struct gm_list *cursor; /* of a walk over a list; steps aside for what leaves it [hnode] */
	struct gm_os_work work; /* background eviction */
};

/* A device's policies, and what they are told of (policy.c). */
struct gm_policies {
	struct gm_spin lock;
	const struct gm_move_policy *move;   /* written under [policy] and [core] */
	const struct gm_evict_policy *evict; /* the same */
	void *move_state, *evict_state;	     /* [policy] */
	uint64_t generation;		     /* of history; no other has or had it [policy] */
	uint64_t clock;			     /* pages that came (a) */
	uint32_t page_bytes, flags;	     /* of evict; written under [policy] (a) */
	uint32_t hears;			     /* what evict has a function for, the same (a) */
};

struct gm_dev {
	struct gm_mmu ops;		  /* the driver's, what it lacks is NULL (c) */
	struct gm_mmu gone;		  /* the same once the device was removed (c) */
	const struct gm_mmu *_Atomic mmu; /* ops; gone, for good (remove.c) (a) */
	void *data;			  /* the driver's (c) */
	char name[GM_DEV_NAME];		  /* (c) */
	uint64_t id;			  /* that no other device has or had (c) */
	unsigned int index;		  /* in gm_core.dev; hnode id less gm_os_numa_nodes() (c) */
	unsigned int unit;		  /* pages of its base page (c) */
	uint32_t granule;		  /* pages moved for a fault (a) */
	uint32_t no_grow;		  /* (a) */
	uint32_t thrash_times;		  /* 0: ping-pong is not looked for (a) */
	uint64_t thrash_lapse, thrash_hold; /* nanoseconds (a) */
	uint32_t contexts;		    /* attached [hnode] */
	uint32_t apertures; /* ranges that the CPU can address; written under [core] (a) */
	struct gm_dev_tunables tunables; /* as last set [core] */
	struct gm_policies policy;
	struct gm_hnode hnode;
	struct gm_counters counters; /* (a) */
};

/* ------------------------------------------------------------------ the core */

/* Hints that are carried out by several threads (async.c). */
#define GM_MOVERS 4U

struct gm_sweeps {
	struct gm_spin lock;
	struct gm_list list; /* those of which there is something left to take [sweep] */
	struct gm_os_work mover[GM_MOVERS];
};

struct gm_core {
	struct gm_mutex lock;
	struct gm_dev *dev[GM_MAX_DEVS]; /* [core]; an entry with pages there cannot go */
	int first_hnode;		 /* (c) */
	struct gm_spin objects_lock;	 /* GM_RANK_HNODE, never with an hnode's */
	struct gm_list objects;		 /* [objects_lock] */
	uint64_t nr_objects;		 /* [objects_lock] */
	uint64_t retained, retain_max;	 /* (a) pages */
	uint32_t in_place;		 /* (a) windows in mode GM_REPLICATE */
	uint32_t unit;			 /* the largest of any device, written under [core] (a) */
	uint64_t ids; /* given to objects, address spaces and devices so far (a) */
	struct gm_pool blocks, arrays, nodes, windows, spans;
	struct gm_pool residents; /* and what more.c has: no fault needs a chunk for these alone */
	struct gm_pool small;	  /* objects, regions */
	struct gm_pool history[GM_PAGE_BYTES_MAX]; /* of so many bytes a page, less one */
	struct gm_sweeps sweeps;
};

extern struct gm_core gm_core;

void gm_core_reap(void);

/* Entry of a public function that takes locks: none is held, and the host lets it be called. */
static inline int gm_enter(void)
{
	gm_lock_check_none();
	return gm_os_usable();
}

/* ------------------------------------------------------------ lpt.c: blocks */

int gm_lpt_init(struct gm_object *obj);
void gm_lpt_destroy(struct gm_object *obj);
struct gm_block *gm_lpt_peek(struct gm_object *obj, uint64_t index);
struct gm_block *gm_block_find(struct gm_object *obj, uint64_t index, bool wanted);
int gm_block_get(struct gm_object *obj, uint64_t index, bool wanted, struct gm_block **block);
struct gm_block *gm_block_find_or_hold(struct gm_object *obj, uint64_t index);
void gm_block_done(struct gm_block *block);
void gm_block_drop(struct gm_object *obj, struct gm_block *block);
void gm_block_unlock(struct gm_block *block);
void gm_block_free(struct gm_block *block);
uint64_t gm_lpt_next(struct gm_object *obj, uint64_t index, uint64_t end);

uint64_t gm_block_entry(const struct gm_block *block, unsigned int page);
unsigned int gm_block_run(const struct gm_block *block, unsigned int page, unsigned int end,
			  uint64_t *entry);
int gm_block_split(struct gm_block *block);
void gm_block_set(struct gm_block *block, unsigned int page, unsigned int n, uint64_t entry);
void gm_block_fold(struct gm_block *block);

/* Of a block with an array: the pages on devices. */
static inline struct gm_mask *gm_block_mask(const struct gm_block *block)
{
	return (struct gm_mask *)(block->pages + GM_BLOCK_PAGES);
}

/* --------------------------------------------------- more.c: what few blocks have */

struct gm_more *gm_more_get(struct gm_block *block);
bool gm_more_empty(const struct gm_more *more);
void gm_more_trim(struct gm_block *block);
void gm_more_free(struct gm_block *block);
/* -ENOMEM: it is not, and must not map what these are about. */
int gm_block_add_reader(struct gm_block *block, const struct gm_dev *dev);
int gm_block_add_remote(struct gm_block *block, const struct gm_dev *dev);
void gm_block_no_readers(struct gm_block *block);

/* ---------------------------------------------------------- object.c, region.c, as.c */

int gm_object_new(uint64_t size, uint32_t flags, bool anonymous, struct gm_object **obj);
void gm_object_get(struct gm_object *obj);
struct gm_region *gm_region_find(struct gm_as *as, uint64_t va);
int gm_region_unmap(struct gm_as *as, struct gm_region *region);
int gm_region_new(const struct gm_region *like, bool fixed, struct gm_region **region);
void gm_region_undo(struct gm_region *region);
int gm_region_arm(struct gm_region *region);
void gm_region_unlink(struct gm_region *region);
void gm_region_insert(struct gm_region *region);
void gm_region_drop(struct gm_region *region);
int gm_range_carve(struct gm_as *as, uint64_t va, uint64_t len);
int gm_object_forget(struct gm_object *obj, uint64_t offset, uint64_t len);
int gm_struct_out(void *to, const void *from, size_t size);
int gm_options_copy(void *to, size_t size, const void *from, size_t from_size);
int gm_range_check(struct gm_as *as, uint64_t va, uint64_t len, uint32_t prot);
int gm_context_empty(struct gm_context *ctx);
struct gm_context *gm_context_find(struct gm_as *as, const struct gm_dev *dev);
int gm_mode_check(const struct gm_dev *dev, enum gm_mode mode);
int gm_range_home(struct gm_context *ctx, uint64_t va, uint64_t end);
uint64_t gm_region_after(const struct gm_as *as, uint64_t va, uint64_t end);

/* A piece of a range that lies in one region and one block. */
struct gm_piece {
	struct gm_region *region;
	uint64_t index;	       /* of the block */
	unsigned int first, n; /* pages of the block */
};
bool gm_piece_next(struct gm_as *as, uint64_t *va, uint64_t end, struct gm_piece *piece);

static inline uint64_t gm_region_end(const struct gm_region *r)
{
	return r->va + r->len;
}

/* ---------------------------------------- attr.c: hints that stay with addresses */

int gm_attr_set(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice);
void gm_attr_forget(struct gm_as *as, const struct gm_dev *dev);
int gm_attrs_cut(const struct gm_region *low, uint64_t cut, struct gm_attrs **high);
void gm_attrs_trim(struct gm_region *region, uint64_t end);
void gm_attrs_free(struct gm_attrs *attrs);

/* ------------------------------ va.c: addresses that a device has a say in */

#define GM_VA_TRIES 10U /* where addresses are ours to choose */
int gm_va_take(struct gm_as *as, uint64_t va, uint64_t len, uint32_t prot);
void gm_va_give(struct gm_as *as, uint64_t va, uint64_t len);
int gm_va_attach(struct gm_context *ctx);
void gm_va_detach(struct gm_context *ctx);

/* ---------------------------------------------------------------- window.c */

uint32_t gm_window_lower(const struct gm_context *ctx, uint64_t va);
const struct gm_seen *gm_window_at(const struct gm_context *ctx, uint64_t va);
const struct gm_seen *gm_window_at_dev(const struct gm_context *ctx, uint64_t dev_va);
int gm_window_check(const struct gm_context *ctx, uint64_t va, uint64_t end, uint32_t modes);
int gm_windows_init(struct gm_context *ctx, bool sparse);
void gm_windows_end(struct gm_context *ctx);
void gm_windows_free(struct gm_context *ctx);

/* ----------------- leaf.c, in_place.c, unmap.c: in and out of all page tables */

void gm_remap_dev(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n);
int gm_unmap_dev(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n);
int gm_unmap_in_place(struct gm_block *block, unsigned int first, unsigned int n);
int gm_unmap_cpu(struct gm_block *block, unsigned int first, unsigned int n);
int gm_map_dev(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
	       unsigned int first, unsigned int n);
int gm_map_peer(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
		struct gm_dev *peer, unsigned int first, unsigned int n);
bool gm_is_remote(const struct gm_block *block, const struct gm_dev *dev);
int gm_map_host(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
		unsigned int first, unsigned int n);
void gm_mirror(struct gm_block *block, unsigned int first, unsigned int n);
int gm_split_leaf(struct gm_region *region, struct gm_block *block, uint64_t va);
int gm_release_region(struct gm_region *region, struct gm_context *ctx, bool protect,
		      uint32_t prot);
int gm_arm_block(struct gm_block *block);

/* ------------------------------------------- span.c: leaves larger than a block */

size_t gm_span_size(void);

/* --------------------------- held.c: host pages that devices map where they are */

void gm_in_place_left(const struct gm_region *region, uint64_t va, uint64_t end);
int gm_in_place_take(const struct gm_region *region);

/* ---------------------------------------------------- physmem.c: the hnodes */

void gm_hnode_init(struct gm_hnode *h);
void gm_hnode_destroy(struct gm_hnode *h);
int gm_hnode_attached(struct gm_dev *dev);
void gm_hnode_detached(struct gm_dev *dev);
bool gm_hnode_alloc(struct gm_dev *dev, const struct gm_object *obj, unsigned int order,
		    uint64_t *pfn, struct gm_charge **limit);
bool gm_hnode_alloc_block(struct gm_dev *dev, const struct gm_block *block, uint64_t *pfn,
			  struct gm_charge **limit);
void gm_hnode_free(struct gm_dev *dev, const struct gm_object *obj, uint64_t pfn, uint64_t n);
uint64_t gm_hnode_avail(const struct gm_hnode *h);
void gm_hnode_set_marks(struct gm_dev *dev);
struct gm_resident *gm_resident_find(struct gm_block *block, const struct gm_dev *dev);
struct gm_resident *gm_resident_get(struct gm_block *block, struct gm_dev *dev);
void gm_resident_count(struct gm_block *block, struct gm_dev *dev, int pages, int pinned);
void gm_resident_touch(struct gm_block *block, struct gm_dev *dev, bool hot);
void gm_resident_put_idle(struct gm_block *block);
struct gm_block *gm_resident_walk(struct gm_hnode *h, struct gm_list *list);
void gm_resident_walk_end(struct gm_hnode *h);

/* ------------------------------------- aperture.c: memory that the CPU can address */

int gm_aperture_open(struct gm_dev *dev, struct gm_physmem *range);
bool gm_aperture_unused(const struct gm_physmem *range);
void gm_aperture_close(struct gm_dev *dev, const struct gm_physmem *range);
bool gm_aperture_idle(struct gm_dev *dev, uint64_t pfn, uint64_t n);
bool gm_aperture_run(const struct gm_block *block, unsigned int page, unsigned int *lo,
		     unsigned int *hi, uint64_t *cpu);
int gm_aperture_unmap(struct gm_block *block, struct gm_dev *dev, unsigned int page,
		      unsigned int n);

/* ------------------------------------------------------------- exclusive.c */

int gm_exclusive_begin(struct gm_block *block, unsigned int first, unsigned int n,
		       const struct gm_dev *dev);
int gm_exclusive_end(struct gm_block *block, unsigned int first, unsigned int n,
		     const struct gm_dev *keep);

/* --------------------------------------------------------------- replica.c */

bool gm_replica_on(struct gm_block *block, const struct gm_dev *dev, unsigned int page);
unsigned int gm_replica_run(const struct gm_block *block, unsigned int page, unsigned int end,
			    bool *has);
unsigned int gm_replicas(const struct gm_block *block, const struct gm_dev *dev, unsigned int first,
			 unsigned int n);
int gm_replicate(struct gm_context *ctx, struct gm_block *block, unsigned int first, unsigned int n,
		 enum gm_why why);
int gm_replica_map(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
		   unsigned int first, unsigned int n);
int gm_replica_drop(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n);
int gm_collapse(struct gm_block *block, unsigned int first, unsigned int n);
void gm_replicas_forget(struct gm_block *block, unsigned int first, unsigned int n);
bool gm_replica_lose(struct gm_block *block, struct gm_dev *dev, uint64_t pfn, int *err);
int gm_cpu_enter(struct gm_region *region, struct gm_block *block, unsigned int first,
		 unsigned int n, uint32_t access);
#ifdef GM_DEBUG
void gm_check_replicas(const struct gm_block *block);
#endif

/* ---------------------------------------------------------------- poison.c */

bool gm_frame_bad(const struct gm_physmem *range, uint64_t pfn);
size_t gm_bad_bytes(const struct gm_physmem *range);
void gm_bad_free(struct gm_physmem *range);
unsigned int gm_good_run(const struct gm_block *block, unsigned int page, unsigned int end);
bool gm_block_unmappable(const struct gm_block *block);
void gm_unit_lose(struct gm_block *block, struct gm_dev *dev, unsigned int first);

/* ---------------------------------------------------------- copy_direct.c */

int gm_copy_direct(struct gm_as *as, uint64_t dst, uint64_t src, uint64_t len, uint64_t *done);

/* --------------------------------------------------------- remove.c, dev.c */

void gm_gone_init(struct gm_dev *dev);
int gm_salvage(struct gm_block *block, struct gm_dev *dev);
int gm_dev_empty(struct gm_dev *dev, struct gm_physmem *range);

/* Was it removed? Then it takes nothing in any more. */
static inline bool gm_dev_gone(const struct gm_dev *dev)
{
	return dev->mmu == &dev->gone;
}

/* --------------------------------------------------------------- account.c */

int gm_account_new(enum gm_payer payer, const uint32_t *percent, struct gm_account **account);
void gm_account_put(struct gm_account *account);
void gm_account_unlimit(struct gm_account *account);
void gm_object_adopt(struct gm_object *obj, struct gm_as *as);
void gm_object_unaccount(struct gm_object *obj);
struct gm_charge *gm_charge_of(const struct gm_object *obj, const struct gm_dev *dev,
			       enum gm_payer payer);
uint64_t gm_charge_room(const struct gm_charge *charge, const struct gm_dev *dev);
struct gm_charge *gm_at_limit(const struct gm_object *obj, const struct gm_dev *dev, uint64_t want);
void gm_charge_add(const struct gm_object *obj, const struct gm_dev *dev, int64_t frames);

static inline struct gm_resident *gm_resident_of(const struct gm_charge *charge, struct gm_list *l)
{
	return gm_container(l - charge->account->payer, struct gm_resident, own);
}

/* ------------------------------------------------------------- dev_fault.c */

int gm_prefetch_piece(struct gm_context *ctx, const struct gm_piece *piece, bool pin,
		      struct gm_block **block);

/* --------------------------------------------------------------- register.c */

int gm_region_home(struct gm_region *region);

/* ------------------------------------------------------- migrate.c, home.c */

struct gm_home {
	struct gm_dev *dev; /* only pages of this device, or NULL */
	struct gm_as *as;   /* charged, or NULL: the first that maps the block */
	enum gm_why why;
	bool skip_pinned;
	bool yields;		    /* gives up if somebody wants the block */
	bool *engine;		    /* out: it was the copy engine that failed; NULL: nobody asks */
	uint64_t begin, end;	    /* only frames in this range; end 0: any */
	const struct gm_mask *mask; /* only these pages, whole units; NULL: all */
};
int gm_migrate_home(struct gm_block *block, unsigned int first, unsigned int n,
		    const struct gm_home *how);
/* By whom pages that go to a device are to be mapped there. */
struct gm_landing {
	struct gm_context *ctx;
	const struct gm_region *region;
	unsigned int mapped; /* out: pages that came mapped (peer_os.c); begins with 0 */
	bool sent;	     /* peer_os.c's own: the last round was a message */
};
int gm_migrate_to_dev(struct gm_block *block, unsigned int first, unsigned int n,
		      struct gm_landing *to, enum gm_why why);
int gm_discard(struct gm_block *block, unsigned int first, unsigned int n);
void gm_forget(struct gm_block *block, unsigned int first, unsigned int n);
int gm_make_host(struct gm_block *block, unsigned int first, unsigned int n);

/* ----------------------------------------------------------------- evict.c */

int gm_reclaim(struct gm_dev *dev, struct gm_charge *charge, const struct gm_block *self,
	       uint64_t want, uint64_t in_hand, bool in_order);
bool gm_reclaim_cold(struct gm_dev *dev, const struct gm_block *self, uint64_t n);
void gm_reclaim_charge(struct gm_dev *dev, struct gm_charge *charge);
void gm_reclaim_limit(struct gm_dev *dev);
int gm_drain(struct gm_dev *dev, struct gm_physmem *range);
void gm_evict_work(struct gm_os_work *work);
void gm_evict_kick(struct gm_dev *dev);

/* ------------------------------------------------------------------ unit.c */

static inline uint64_t gm_unit_bytes(const struct gm_dev *dev)
{
	return (uint64_t)dev->unit << GM_PAGE_SHIFT;
}

/* Whole units of @dev around [*first, *first + *n). */
static inline void gm_unit_round(const struct gm_dev *dev, unsigned int *first, unsigned int *n)
{
	unsigned int end = (*first + *n + dev->unit - 1) & ~(dev->unit - 1);

	*first &= ~(dev->unit - 1);
	*n = end - *first;
}

void gm_units_changed(void);
unsigned int gm_unit_at(const struct gm_block *block, unsigned int page);
unsigned int gm_unit_run(const struct gm_block *block, const struct gm_dev *dev, unsigned int page,
			 unsigned int n, bool *pinned);
unsigned int gm_units_pinned(const struct gm_block *block, const struct gm_dev *dev);
bool gm_unit_bad(const struct gm_block *block, const struct gm_dev *dev, unsigned int page);
bool gm_unit_clip(struct gm_context *ctx, const struct gm_region *region, uint64_t index,
		  unsigned int *first, unsigned int *n);
bool gm_unit_fits(struct gm_context *ctx, const struct gm_region *region, uint64_t index,
		  unsigned int first, unsigned int n);
uint64_t gm_region_spare(struct gm_as *as, uint64_t end);
int gm_unit_cut(struct gm_block *block, struct gm_dev *dev, unsigned int page);
int gm_units_cut(struct gm_block *block, unsigned int first, unsigned int n,
		 const struct gm_dev *but);

/* ---------------------------------------------------------------- policy.c */

unsigned int gm_cpu_granule(const struct gm_as *as, const struct gm_block *block,
			    unsigned int page);
void gm_policy_cpu(const struct gm_as *as, const struct gm_block *block, unsigned int page,
		   unsigned int *first, unsigned int *n);
void gm_policy_fault(struct gm_context *ctx, struct gm_block *block, unsigned int page,
		     uint32_t access, uint32_t flags, struct gm_policy_move *move);
void gm_policy_counted(struct gm_context *ctx, struct gm_block *block, unsigned int page,
		       uint64_t times, struct gm_policy_move *move);
void gm_policy_came(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n,
		    enum gm_why why);
void gm_policy_used(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n,
		    uint64_t times);
void gm_policy_went(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n,
		    enum gm_policy_why why);
void gm_policy_evict(struct gm_block *block, struct gm_dev *dev, uint64_t want,
		     unsigned int pressure, bool hottest, bool modest,
		     struct gm_policy_victims *victims);
enum gm_policy_why gm_policy_why(enum gm_why why);
void gm_clip(const struct gm_region *region, uint64_t index, unsigned int *first, unsigned int *n);

/* ----------------------------------------------------- policy_set.c: choosing */

int gm_policies_init(struct gm_dev *dev);
void gm_policies_destroy(struct gm_dev *dev);

/* --------------------------------------------------------------- history.c */

struct gm_history *gm_history_find(const struct gm_block *block, const struct gm_dev *dev);
void gm_history_make(struct gm_block *block, struct gm_dev *dev);
void gm_history_free(struct gm_block *block);
uint64_t gm_history_bytes(void);

/* ------------------------------------------------------- age.c, leaf_mask.c */

bool gm_age_block(struct gm_block *block, struct gm_dev *dev, struct gm_mask *used);
int gm_unmap_mask(struct gm_block *block, struct gm_dev *dev, const struct gm_mask *mask,
		  struct gm_mask *cut);
void gm_remap_mask(struct gm_block *block, struct gm_dev *dev, const struct gm_mask *mask);

/* ---------------------------------------------------------------- retain.c */

bool gm_retain_take(const struct gm_object *obj, uint64_t pages);
void gm_retain_drop(const struct gm_object *obj, uint64_t pages);
void gm_retain_trim_block(struct gm_block *block);
void gm_retain_stop(void);

/* ----------------------------------------------------------------- fence.c */

struct gm_fence {
	uint32_t state;
	int err;
};
void gm_fence_init(struct gm_fence *fence);
int gm_fence_wait(struct gm_fence *fence);

/* ----------------------------------------------------------------- check.c */

#ifdef GM_DEBUG
void gm_check_block(const struct gm_block *block);
uint64_t gm_check_spans(const struct gm_context *ctx);
#else
static inline void gm_check_block(const struct gm_block *block)
{
	(void)block;
}
#endif

#endif
