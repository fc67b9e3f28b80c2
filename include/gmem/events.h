/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Events: what gmem does, one by one, for a program that looks on.
 *
 * Each reader has a ring of its own, of the kinds that it asked for. Who has an event to tell
 * never waits for a reader: if a ring is full the event is lost for it, the newest that is, and
 * counted. With no reader of a kind an event costs the reading of one word.
 */
#ifndef GMEM_EVENTS_H
#define GMEM_EVENTS_H

#include <gmem/gmem.h>

#ifdef __cplusplus
extern "C" {
#endif

enum gm_event_kind {
	GM_EVENT_FAULT, /* a fault of the CPU or a device was serviced, or failed */
	GM_EVENT_MIGRATE, /* pages of one block went from one place to another, or could not; or have replicas there */
	GM_EVENT_EVICT, /* a block was a victim; its migration is an event of its own, before */
	GM_EVENT_INVALIDATE, /* a device's TLB was told to drop translations */
	GM_EVENT_POISON, /* a frame has failed, or went with its device; what was in it is lost */
	GM_EVENT_THRASH, /* a block was found to go back and forth; see gmem(7) */
	GM_EVENT_REMOVE, /* a device was removed, gm_dev_remove() */
	GM_EVENT_KINDS,
};

/* On whose behalf pages move. */
enum gm_why {
	GM_WHY_CPU_FAULT,
	GM_WHY_DEV_FAULT,
	GM_WHY_PREFETCH, /* PIN, too */
	GM_WHY_EVICT,
	GM_WHY_DRAIN, /* a device, or its memory, goes */
	GM_WHY_POISON,
};

/*
 * An event, once it has happened. A field that says nothing of a kind is 0, or GM_NODE_NONE.
 *
 *	field	FAULT		MIGRATE		EVICT		INVALIDATE	POISON	THRASH		REMOVE
 *	as	faulting	charged		charged		whose		of addr	faulting	-
 *	object	of the page	of the pages	of the block	-		of page	of the page	-
 *	offset	of the page	first page	of the block	-		of page	of the page	-
 *	addr	touched		first page	of the block	-		of page	of the page	-
 *	dev_addr the device's	-		-		first, device's	frame's	-		-
 *	len	a page		first to last	a block		of all ranges	a page	a page		-
 *	pages	-		moved		moved		-		lost	-		-
 *	bytes	-		copied		-		-		-	-		-
 *	from	page was at	node		the device	the device	device	taken from	device
 *	to	wanted at	node		host		-		-	stays at	-
 *	why	which fault	why		EVICT		-		why	which fault	DRAIN
 *	count	access		-		a fault waits	ranges		-	came back	-
 *
 * @addr is an address at which the CPU sees @offset: the one touched, where that is known (a fault,
 * but of the CPU on the kernel host); else the first mapping's that has it, one of @as if there is
 * one; 0 if none has. @as is then the address space of that mapping, if it is nobody's else. @err
 * is 0 or -errno; then @pages is what was to move, and @bytes is 0.
 */
struct gm_event_record {
	uint16_t version; /* GM_EVENT_VERSION */
	uint16_t size;	  /* of the record: always 128 */
	uint32_t kind;	  /* enum gm_event_kind */
	uint64_t time;	  /* CLOCK_MONOTONIC, when it was over, in nanoseconds */
	uint64_t took;	  /* nanoseconds */
	uint64_t as;	  /* a number that no other address space has or had; 0: nobody's */
	uint64_t object;  /* likewise */
	uint64_t offset;
	uint64_t addr;
	uint64_t dev_addr;
	uint64_t len;
	uint64_t bytes;
	uint32_t pages;
	uint32_t count;
	int32_t from, to; /* node ids */
	uint32_t why;	  /* enum gm_why */
	int32_t err;
	int32_t pid; /* the process that made the address space; 0: not known here */
	int32_t tid; /* the thread that told it; of a fault that a service thread serviced, that one */
	int32_t for_tid; /* the thread that waits for the service thread, if it is that one; or 0 */
	uint32_t reserved0;
	uint64_t reserved; /* 0, both; what later versions have to say */
};

#define GM_EVENT_VERSION 1U
#define GM_EVENTS_MAX 65536U /* records of a ring */

struct gm_events; /* a reader */

#define GM_EVENTS_ALL                                                                              \
	1U /* kernel host: those of all processes; takes CAP_PERFMON or CAP_SYS_ADMIN */

/* Zero is the default of every field. */
struct gm_events_options {
	size_t size;	/* of this struct; an unknown tail that is not zero is -E2BIG */
	uint32_t flags; /* GM_EVENTS_* */
	uint32_t kinds; /* 1 << GM_EVENT_*, or more of them; 0: all */
	uint32_t
		records; /* of the ring; rounded up to a power of two; 0: 4096; at most GM_EVENTS_MAX */
};

/**
 * gm_events_open - begin to listen
 * @opt: options, or NULL for the defaults
 *
 * To this process's address spaces, as many readers at once as there is room for. On the kernel host
 * what is told of no address space (EVICT, POISON of memory that nobody maps) takes
 * GM_EVENTS_ALL; REMOVE goes to everybody. -EINVAL: an unknown flag or kind, too many records;
 * -E2BIG; -ENOMEM; -EMFILE, -ENFILE: no descriptor; -ENOSPC: 64 readers are there already; -EPERM;
 * -EOPNOTSUPP: the kernel's module is older.
 */
GM_API int gm_events_open(const struct gm_events_options *opt, struct gm_events **events);

/**
 * gm_events_read - the oldest events that were not read yet, at most @n
 *
 * Returns how many; 0: there is none. It never waits. Threads may share a reader: each event goes
 * to one of them. @buf may be managed memory.
 */
GM_API int gm_events_read(struct gm_events *events, struct gm_event_record *buf, unsigned int n);

/**
 * gm_events_fd - a descriptor that poll(2) finds readable while there may be events
 *
 * The reader's own: closed with it, and for nothing but poll and its like. After gm_events_read()
 * has returned less than it was asked for it is readable no sooner than there is one more.
 */
GM_API int gm_events_fd(struct gm_events *events);

/** gm_events_lost - how many events this reader has lost so far, for its ring was full */
GM_API int gm_events_lost(struct gm_events *events, uint64_t *lost);

/** gm_events_close - listen no more; nobody else uses @events by then, and what was not read is gone */
GM_API void gm_events_close(struct gm_events *events);

#ifdef __cplusplus
}
#endif
#endif
