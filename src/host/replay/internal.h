/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the files of the replay host share. There is one thread, so nothing here is locked.
 */
#ifndef GM_HOST_REPLAY_INTERNAL_H
#define GM_HOST_REPLAY_INTERNAL_H

#include <gmem/driver.h>

#include "core/os.h"
#include "host/replay/replay.h"

#define REPLAY_VA 0x200000000000ULL /* the first address there is; no pointer */

/* A page of an object: is it in host backing, does the CPU reach it, is the core asked where not? */
#define REPLAY_EXISTS 1U
#define REPLAY_MAPPED 2U
#define REPLAY_ARMED 4U

/* Each object is mapped once, so what the CPU has mapped is said of the object's pages. */
struct replay_object {
	uint64_t pages;
	uint64_t granule; /* pages that come and go together */
	uint8_t *page;
};

/* A page of a device's addresses. */
#define REPLAY_PRESENT 1U
#define REPLAY_WRITABLE 2U
#define REPLAY_USED 4U
#define REPLAY_LEAF_SHIFT 3  /* four bits: which size of a leaf maps it */
#define REPLAY_IN_PLACE 128U /* it is host memory */

#define REPLAY_LINE 64U /* bytes of host memory that a device fetches at once */
#define REPLAY_TELL 8U	/* lines of a page that it has counted when it tells the core */

/* A device; it is its own page table. */
struct replay_dev {
	struct gm_dev *dev;
	struct gm_context *ctx;
	uint8_t *page;	/* REPLAY_PRESENT, ... from REPLAY_VA on */
	uint8_t *lines; /* of each, used in place since the core was told */
	uint64_t len;	/* of that, in pages */
};

struct replay_host {
	uint64_t now; /* the clock, in ns */
	struct gm_replay_costs costs;
	uint64_t va_end;		 /* what is behind is free */
	struct gm_object *newest;	 /* the last that was made */
	struct gm_os_work *work, **last; /* scheduled, in order */
};
extern struct replay_host replay_host;

#define replay_bug_on(cond)                                                                        \
	do {                                                                                       \
		if (__builtin_expect(!!(cond), 0))                                                 \
			gm_os_bug(__FILE__, __LINE__, #cond);                                      \
	} while (0)

void replay_host_reset(const struct gm_replay_costs *costs);
/* Run what is scheduled, and what that schedules. */
void replay_run_work(void);

/* Zeroed bytes which cost nothing before they are written; NULL. */
void *replay_sparse_alloc(uint64_t bytes);
void replay_sparse_free(void *p, uint64_t bytes);

struct replay_object *replay_object(struct gm_object *obj);

int replay_dev_create(struct replay_dev *d, const struct gm_replay_options *opt, uint64_t pages,
		      uint32_t base_page);
int replay_dev_destroy(struct replay_dev *d);

#endif
