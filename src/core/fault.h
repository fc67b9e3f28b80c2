/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What faults of the CPU (cpu_fault.c) and of devices (dev_fault.c) share. */
#ifndef GM_CORE_FAULT_H
#define GM_CORE_FAULT_H

#include "core/core.h"
#include "core/trace.h"

/* Where an address lies: its region, block and page, and for a device the window that shows it. */
struct gm_place {
	struct gm_region *region;
	uint64_t index;
	unsigned int page;
	const struct gm_seen *window; /* of a context's */
};

static inline int gm_locate(struct gm_as *as, uint64_t va, uint32_t access, struct gm_place *place)
{
	uint64_t off;

	place->region = gm_region_find(as, va);
	if (!place->region)
		return -EFAULT;
	if (access & ~place->region->prot)
		return -EACCES;
	off = va - place->region->va + place->region->offset;
	place->index = off >> GM_BLOCK_SHIFT;
	place->page = (unsigned int)(off >> GM_PAGE_SHIFT & (GM_BLOCK_PAGES - 1));
	return 0;
}

static inline bool gm_is_on(const struct gm_dev *dev, const struct gm_block *block,
			    unsigned int page)
{
	uint64_t e = gm_block_entry(block, page);

	return gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == dev->index;
}

/* dev_fault.c */
typedef int gm_map_fn(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
		      unsigned int first, unsigned int n);
int gm_map_evicting(gm_map_fn *map, struct gm_context *ctx, struct gm_region *region,
		    struct gm_block *block, unsigned int first, unsigned int n);
void gm_place_clip(const struct gm_place *place, unsigned int *first, unsigned int *n);
int gm_dev_piece(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		 unsigned int first, unsigned int n, enum gm_why why);
int gm_read_peer(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place);
void gm_dev_counted(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		    uint64_t times);

/* hint_fault.c: what hints that stay make of it, and host memory in place */
bool gm_can_use_host(const struct gm_dev *dev, const struct gm_object *obj);
bool gm_policy_may_leave(const struct gm_context *ctx, const struct gm_block *block,
			 const struct gm_place *place);
int gm_use_host(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		unsigned int first, unsigned int n, uint32_t access);
bool gm_is_duplicated(const struct gm_place *place);
int gm_replica_piece(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		     unsigned int first, unsigned int n, enum gm_why why);
int gm_hint_fault(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		  uint32_t access);
void gm_hint_moved(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		   unsigned int first, unsigned int n);

/* The event of a fault whose place is not known yet. */
static inline struct gm_event gm_fault_event(struct gm_as *as, uint64_t va, uint32_t access,
					     enum gm_why why, int to)
{
	return (struct gm_event){
		.kind = GM_EVENT_FAULT,
		.why = why,
		.as = as,
		.va = va,
		.len = GM_PAGE_SIZE,
		.n = access,
		.from = GM_NODE_NONE,
		.to = to,
	};
}

static inline void gm_event_place(struct gm_event *ev, struct gm_object *obj, uint64_t index,
				  unsigned int page)
{
	ev->obj = obj;
	ev->offset = (index << GM_BLOCK_SHIFT) + ((uint64_t)page << GM_PAGE_SHIFT);
}

#endif
