/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Between those who move pages (migrate.c, home.c) and peer_os.c, which does it by one message. */
#ifndef GM_CORE_PEER_OS_H
#define GM_CORE_PEER_OS_H

#include "core/move.h"
#include "core/peer.h"
#include "core/view.h"

#define GM_MESSAGE_MAX 16U /* pieces; what has more is composed */

/* A message to a device: pages of one block, as one view shows them. */
struct gm_message {
	const struct gm_mmu *mmu; /* whose operations; dev->mmu may change meanwhile */
	struct gm_block *block;
	struct gm_view view;
	uint64_t lo, dva, end, hi; /* home: what goes, and the leaves around it, at the device */
	unsigned int n;
	struct gm_peer_map op[GM_MESSAGE_MAX];
	uint64_t off[GM_MESSAGE_MAX]; /* in the object, of what host frames are held for */
};

int gm_message_add(struct gm_message *m, unsigned int page, unsigned int n, uint64_t pfn, bool copy,
		   bool exist);
void gm_message_put(struct gm_message *m);

/* To the device. All but 0: it is as it was, and -EOPNOTSUPP: compose it. */
int gm_message_fill(struct gm_block *block, struct gm_landing *to, const struct gm_run *runs,
		    unsigned int nr);
void gm_message_landed(const struct gm_block *block, struct gm_landing *to,
		       const struct gm_run *runs, unsigned int nr);

/* From the device: begin, add what has to go, send. -EOPNOTSUPP: compose it. */
int gm_message_begin_home(struct gm_message *m, struct gm_block *block, struct gm_dev *dev,
			  unsigned int first, unsigned int end);
int gm_message_send_home(struct gm_message *m, struct gm_dev *dev, struct gm_as *as,
			 unsigned int first, unsigned int end);

#endif
