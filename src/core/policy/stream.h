/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What stream remembers, for who builds on it. */
#ifndef GM_CORE_POLICY_STREAM_H
#define GM_CORE_POLICY_STREAM_H

#include "core/policy.h"

#define GM_STREAMS 16U

enum gm_stream_way { GM_STREAM_AHEAD, GM_STREAM_BACK, GM_STREAM_STRIDE };

/* 64 bytes, a cache line: all of them are looked at for each fault. */
struct gm_stream {
	uint64_t ctx, object; /* object 0: free */
	uint64_t last;	      /* page of the object that was faulted on */
	uint64_t lo, hi;      /* what was brought for it, but for strides */
	uint64_t next;	      /* STRIDE: where the next fault should be */
	uint64_t at;	      /* fault number */
	int16_t stride;	      /* pages; 0: none was seen */
	uint16_t steps;	      /* in order; no more are counted than fit */
	uint16_t window;      /* granules */
	uint8_t way;	      /* enum gm_stream_way */
};

struct gm_stream_state {
	struct gm_stream stream[GM_STREAMS];
	uint64_t faults;
	uint32_t trust, steps;
};

#endif
