/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * /dev/gmem: gmem in the kernel, as a program sees it. gmem(4) describes it.
 *
 * Three kinds of descriptors: /dev/gmem itself, from which the others are made;
 * address spaces; objects. A mapping is made by GMEM_MAP on an address space, or, of
 * memory that no device of one's own address space is to see, by mmap(2) of an object;
 * munmap(2), mprotect(2) and mremap(2) then work on either as on any shared mapping.
 *
 * Every struct begins with its size as the caller knows it. A kernel that is older than
 * the caller says E2BIG if a field it does not know is not zero; a newer one takes
 * fields that the caller does not know for zero. Zero is the default of every field, and
 * flags and fields named pad must be zero.
 */
#ifndef GMEM_UAPI_H
#define GMEM_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GMEM_IOC_MAGIC 'g'

/* Ids that are no node's. */
#define GMEM_NODE_HOST (-1)
#define GMEM_NODE_NONE (-2)

#define GMEM_PROT_READ 1
#define GMEM_PROT_WRITE 2

/* ------------------------------------------------------------- on /dev/gmem */

struct gmem_info {
	__u32 size;
	__u32 version;	   /* out: 1 */
	__u32 first_hnode; /* out: ids of NUMA nodes are below, of hnodes from here on */
	__u32 pad;
	__u64 metadata; /* out: bytes of metadata in use for all objects */
	__u64 retained; /* out: bytes of host memory kept for pages that are on devices */
};

/* A CPU fault brings home less than cpu_granule where few pages are used. */
#define GMEM_AS_ADAPTIVE 1

/* Returns a descriptor; the address space belongs to the process that makes it. */
struct gmem_as_create {
	__u32 size;
	__u32 flags; /* GMEM_AS_* */
	__u32 cpu_granule; /* bytes brought home for a CPU fault: 4 KiB to 2 MiB; 0: 64 KiB */
	__u32 pad;
};

/*
 * Host memory in pages of 2 MiB, where there are any. The size, and what is mapped of it, are
 * multiples of 2 MiB; a block of 2 MiB comes home as a whole.
 */
#define GMEM_OBJECT_HUGE 1
/* With as many bytes more as complete the last page of the device whose pages are largest. */
#define GMEM_OBJECT_WHOLE 2

/* Returns a descriptor. */
struct gmem_object_create {
	__u32 size;
	__u32 flags; /* GMEM_OBJECT_* */
	__u64 bytes; /* a multiple of 4 KiB */
	__u64 tag; /* for its maker: GMEM_MAPPING tells it. A caller that does not know it is fine */
};

struct gmem_hnode_info {
	__u32 size;
	__s32 hnode;
	__u64 total; /* out, bytes, as the rest */
	__u64 free;
	__u64 pinned;
	__u64 blocks; /* number */
	__u64 metadata;
	/* The caller's own, of objects that count towards a limit; a caller that knew neither is fine. */
	__u64 used;
	__u64 limit;	/* what new objects are held to; total: none */
	__u64 poisoned; /* has failed, and is not used any more: in no other sum */
	__u64 usable;	/* of total: limit of GMEM_HNODE_TUNE */
};

/* ------------------------------------------------------ on an address space */

#define GMEM_MAP_FIXED 1 /* at addr exactly; EEXIST if anything is there */
/* All that GMEM_OBJECT_WHOLE added; it goes with what is before it, by GMEM_UNMAP of that. */
#define GMEM_MAP_WHOLE 2

struct gmem_map {
	__u32 size;
	__u32 flags;
	__s32 fd;   /* an object */
	__u32 prot; /* GMEM_PROT_* */
	__u64 offset;
	__u64 len;
	__u64 addr; /* in with GMEM_MAP_FIXED; out */
};

enum {
	GMEM_PREFETCH,
	GMEM_DONTNEED,
	GMEM_WILLNEED,
	GMEM_COLD,
	GMEM_PIN,
	GMEM_UNPIN,
	GMEM_READ_MOSTLY,
	GMEM_UNSET_READ_MOSTLY,
	GMEM_PREFERRED_LOCATION,
	GMEM_UNSET_PREFERRED_LOCATION,
	GMEM_ACCESSED_BY,
	GMEM_UNSET_ACCESSED_BY,
};

struct gmem_advise {
	__u32 size;
	__u32 advice;
	__s32 hnode;
	__u32 pad;
	__u64 addr;
	__u64 len;
};

/*
 * Hints that are carried out in the background: returns a descriptor of the job, which is
 * readable to poll(2) once it has ended. Closing it changes nothing for the job.
 */
struct gmem_hint {
	__u64 addr;
	__u64 len;
	__s32 hnode;
	__u32 advice;
};

struct gmem_job_start {
	__u32 size;
	__u32 n;     /* 1 to 1024 */
	__u64 hints; /* a pointer to struct gmem_hint, so many */
};

struct gmem_copy {
	__u32 size;
	__s32 hnode; /* where the destination should be, or GMEM_NODE_NONE */
	__u64 dst;
	__u64 src;
	__u64 len;
};

#define GMEM_PAGE_PINNED 1
#define GMEM_PAGE_RETAINED 2
#define GMEM_PAGE_POISONED 4	/* the bytes are gone; GMEM_DONTNEED makes it zero */
#define GMEM_PAGE_REPLICATED 16 /* in host memory, and on devices besides */

struct gmem_page_info {
	__s32 node;
	__u32 flags;
};

struct gmem_query {
	__u32 size;
	__u32 pad;
	__u64 addr; /* multiples of 4 KiB */
	__u64 len;
	__u64 info; /* a pointer to struct gmem_page_info, one for each page; 0: is all of it mapped? */
};

/* The counters of struct gm_stats of <gmem/gmem.h>, in that order. */
struct gmem_stats {
	__u32 size;
	__s32 hnode; /* GMEM_HNODE_STATS: whose; GMEM_STATS: comes back 0 */
	__u64 cpu_faults;
	__u64 cpu_faults_moved;
	__u64 dev_faults;
	__u64 dev_faults_moved;
	__u64 dev_faults_map;
	__u64 fault_errors;
	__u64 pages_to_dev;
	__u64 pages_to_host;
	__u64 pages_zeroed;
	__u64 pages_evicted;
	__u64 pages_prefetched;
	__u64 bytes_to_dev;
	__u64 bytes_to_host;
	__u64 evictions;
	__u64 evictions_direct;
	__u64 evictions_cancelled;
	__u64 tlb_ranges;
	__u64 tlb_invls;
	__u64 ns_cpu_fault;
	__u64 ns_dev_fault;
	__u64 ns_copy;
	__u64 ns_invl;
	__u64 ns_evict;
	__u64 pages_peer; /* a caller that does not know it, or what follows, is fine */
	__u64 pages_replicated;
	__u64 thrashes;
	__u64 faults_held;
	__u64 remote_maps;
	__u64 remote_bytes;
};

/* ------------------------------------------------------------ on an object */

struct gmem_object_info {
	__u32 size;
	__u32 flags; /* out */
	__u64 bytes; /* out */
};

/* --------------------------------------------------------------- on a job */

#define GMEM_JOB_CANCEL 1 /* begin nothing more of it */

struct gmem_job {
	__u32 size;
	__u32 flags; /* GMEM_JOB_* */
	__u32 ended; /* out: 1, or 0 */
	__s32 err;   /* out: then how: 0, or an error number, negative */
};

/* ------------------------------------------------ what a library needs besides */

/* On an address space. Without GMEM_UNMAP_ALL as munmap(2), but all of it must be mapped here. */
#define GMEM_UNMAP_ALL 1 /* whatever is mapped in this address space; addr and len are 0 */

struct gmem_unmap {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 len;
};

/* On /dev/gmem, with CAP_SYS_ADMIN: host memory kept for pages that are on devices, of all. */
enum {
	GMEM_RETAIN_LIMIT, /* keep no more than so many bytes */
	GMEM_RETAIN_TRIM,  /* give back so many; bytes says how many went */
};

struct gmem_retain {
	__u32 size;
	__u32 op;
	__u64 bytes;
};

/* On /dev/gmem, with CAP_SYS_ADMIN: struct gm_dev_tunables of <gmem/driver.h>. */
struct gmem_tune {
	__u32 size;
	__s32 hnode;
	__u64 low;
	__u64 high;
	__u32 granule;
	__u32 no_grow;
	__u32 no_background;
	__u32 pad;
	__u64 limit; /* a caller that does not know it, or what follows, is fine */
	__u32 thrash_times;
	__u32 thrash_lapse_us;
	__u32 thrash_hold_us;
	__u32 no_thrash;
};

/* On /dev/gmem: a device's policies, see gm_policy(3). */
enum {
	GMEM_POLICY_GET, /* names of hnode's, "density/lru-2m" */
	GMEM_POLICY_SET, /* choose those in names, of which one may be empty; CAP_SYS_ADMIN */
	GMEM_POLICY_NAME, /* the index-th that there is: kind, names, text; ENOENT: there are no more */
};

#define GMEM_POLICY_MOVES 0
#define GMEM_POLICY_EVICTS 1

struct gmem_policy {
	__u32 size;
	__u32 op;
	__s32 hnode; /* GET, SET; else 0 */
	__u32 index; /* NAME; else 0 */
	__u32 kind;  /* out: GMEM_POLICY_MOVES, GMEM_POLICY_EVICTS */
	__u32 pad;
	char names[64]; /* with a 0 at the end; in: SET */
	char text[96];	/* out: what it does */
};

/* On an address space: what it may have of a device's memory, for what it was the first to map. */
struct gmem_limit {
	__u32 size;
	__s32 hnode;
	__u64 bytes; /* a multiple of 4 KiB; 0: no limit */
};

/*
 * On an address space: the mapping that has an address. GMEM_MAPPING_SHOW: devices are to see all
 * of it, after mremap(2) has made it longer where it is; EINVAL: it is longer than its object.
 */
#define GMEM_MAPPING_SHOW 1

struct gmem_mapping {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 begin; /* out, as the rest */
	__u64 len;
	__u64 offset; /* of the object, at begin */
	__u32 prot;
	__u32 object_flags;
	__u64 bytes;  /* of the object */
	__u64 object; /* a number that no other has or had */
	__u64 tag;    /* as it was made */
	__u64 top;    /* from this offset on the object's bytes were never anybody's */
	__u64 spare;  /* bytes at the mapping's end that GMEM_MAP_WHOLE has added */
};

/* struct gm_attr of <gmem/gmem.h>: what hints that stay say of the first bytes of a range. */
#define GMEM_ATTR_READ_MOSTLY 1

struct gmem_attr {
	__u32 size;
	__u32 flags; /* out, as the rest but addr and len */
	__u64 addr;
	__u64 len; /* in: of the range; out: so much is alike */
	__s32 preferred;
	__s32 first_node;
	__u64 accessed_by;
};

/*
 * On /dev/gmem: returns a descriptor that read(2) gives whole records by, of struct gmem_event, and that
 * can be polled; it does not block, unless fcntl(2) makes it. It tells of the address spaces of
 * the process that made it; with GMEM_EVENTS_ALL, which takes CAP_PERFMON or CAP_SYS_ADMIN, of all.
 */
#define GMEM_EVENTS_ALL 1

struct gmem_events {
	__u32 size;
	__u32 flags;
	__u32 kinds;   /* 1 << kind, or more of them; 0: all */
	__u32 records; /* of the ring; 0: 4096; at most 65536 */
};

/* struct gm_event_record of <gmem/events.h>, which says what it means. */
struct gmem_event {
	__u16 version; /* 1 */
	__u16 size;
	__u32 kind;
	__u64 time;
	__u64 took;
	__u64 as;
	__u64 object;
	__u64 offset;
	__u64 addr;
	__u64 dev_addr;
	__u64 len;
	__u64 bytes;
	__u32 pages;
	__u32 count;
	__s32 from;
	__s32 to;
	__u32 why;
	__s32 err;
	__s32 pid;
	__s32 tid;
	__u64 reserved[2];
};

/* On such a descriptor. */
struct gmem_events_lost {
	__u32 size;
	__u32 pad;
	__u64 lost; /* out: events that did not fit, so far */
};

#define GMEM_EVENTS _IOW(GMEM_IOC_MAGIC, 11, struct gmem_events)
#define GMEM_EVENTS_LOST _IOWR(GMEM_IOC_MAGIC, 40, struct gmem_events_lost)

#define GMEM_HNODE_STATS _IOWR(GMEM_IOC_MAGIC, 8, struct gmem_stats)
#define GMEM_RETAIN _IOWR(GMEM_IOC_MAGIC, 9, struct gmem_retain)
#define GMEM_HNODE_TUNE _IOW(GMEM_IOC_MAGIC, 10, struct gmem_tune)
#define GMEM_POLICY _IOWR(GMEM_IOC_MAGIC, 14, struct gmem_policy)
#define GMEM_UNMAP _IOW(GMEM_IOC_MAGIC, 24, struct gmem_unmap)
#define GMEM_MAPPING _IOWR(GMEM_IOC_MAGIC, 25, struct gmem_mapping)
#define GMEM_LIMIT _IOW(GMEM_IOC_MAGIC, 26, struct gmem_limit)
#define GMEM_ATTR _IOWR(GMEM_IOC_MAGIC, 29, struct gmem_attr)

/*
 * GMEM_ADVISE, GMEM_JOB_START, GMEM_COPY, GMEM_QUERY and GMEM_ATTR may be made of /dev/gmem too: then
 * the address space is the one of this process that has the (first) address mapped, EFAULT if none has.
 * Of the addresses of GMEM_COPY each may be in another one, or in none.
 */
#define GMEM_INFO _IOWR(GMEM_IOC_MAGIC, 0, struct gmem_info)
#define GMEM_AS_CREATE _IOW(GMEM_IOC_MAGIC, 1, struct gmem_as_create)
#define GMEM_OBJECT_CREATE _IOW(GMEM_IOC_MAGIC, 2, struct gmem_object_create)
#define GMEM_HNODE_INFO _IOWR(GMEM_IOC_MAGIC, 3, struct gmem_hnode_info)

#define GMEM_MAP _IOWR(GMEM_IOC_MAGIC, 16, struct gmem_map)
#define GMEM_ADVISE _IOW(GMEM_IOC_MAGIC, 17, struct gmem_advise)
#define GMEM_COPY _IOW(GMEM_IOC_MAGIC, 18, struct gmem_copy)
#define GMEM_QUERY _IOW(GMEM_IOC_MAGIC, 19, struct gmem_query)
#define GMEM_STATS _IOWR(GMEM_IOC_MAGIC, 20, struct gmem_stats)

#define GMEM_JOB_START _IOW(GMEM_IOC_MAGIC, 27, struct gmem_job_start)

#define GMEM_OBJECT_INFO _IOWR(GMEM_IOC_MAGIC, 32, struct gmem_object_info)

#define GMEM_JOB _IOWR(GMEM_IOC_MAGIC, 48, struct gmem_job)

#endif
