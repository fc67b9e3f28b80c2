/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Between migrate.c, which moves pages to a device, and peer.c, which knows of other devices. */
#ifndef GM_CORE_PEER_H
#define GM_CORE_PEER_H

#include "core/core.h"

/* Pages of a block, and the extent of frames of the device that they go to. */
struct gm_run {
	unsigned int page, n;
	uint64_t pfn;
};

/* Where the pages of some runs are. */
struct gm_sources {
	uint64_t peers;	     /* devices that have some: a bit for the index of each */
	unsigned int others; /* pages that no device has */
	unsigned int lo, hi; /* and their bounds; 0, 0: none */
};

bool gm_peer_linked(const struct gm_dev *dev, const struct gm_dev *peer);
void gm_peer_sources(const struct gm_block *block, const struct gm_run *runs, unsigned int nr,
		     struct gm_sources *from);
int gm_peer_fill(struct gm_block *block, struct gm_dev *dev, struct gm_as *as,
		 const struct gm_run *runs, unsigned int nr, const struct gm_sources *from,
		 struct gm_dev **no_link);
void gm_peer_commit(struct gm_block *block, struct gm_dev *dev, struct gm_as *as, enum gm_why why,
		    const struct gm_run *runs, unsigned int nr, const struct gm_sources *from,
		    uint64_t begin);

#endif
