/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef GM_CORE_DMA_H
#define GM_CORE_DMA_H

#include "core/core.h"

#define GM_DMA_MAX 32U

enum gm_dma_op { GM_DMA_IN, GM_DMA_OUT, GM_DMA_ZERO, GM_DMA_PEER };

struct gm_dma {
	struct gm_dev *dev;
	struct gm_dev *peer;   /* GM_DMA_PEER: whose memory it copies from */
	struct gm_object *obj; /* whose host frames; NULL: none */
	enum gm_dma_op op;
	unsigned int n;
	int err;
	bool engine; /* err is the copy engine's */
	uint64_t begin;
	uint64_t off[GM_DMA_MAX];
	struct gm_extent ext[GM_DMA_MAX];
};

void gm_dma_begin(struct gm_dma *dma, struct gm_dev *dev, enum gm_dma_op op, struct gm_object *obj);
void gm_dma_add(struct gm_dma *dma, uint64_t pa, uint64_t off, uint64_t len, bool exist);
void gm_dma_begin_peer(struct gm_dma *dma, struct gm_dev *dev, struct gm_dev *peer);
void gm_dma_add_peer(struct gm_dma *dma, uint64_t pa, uint64_t peer_pa, uint64_t len);
int gm_dma_end(struct gm_dma *dma, struct gm_as *as);
int gm_dma_bytes(struct gm_dev *dev, enum gm_dma_op op, uint64_t pa, uint64_t bus, uint64_t len);

#endif
