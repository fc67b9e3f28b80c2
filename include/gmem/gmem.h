/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * gmem - one coherent virtual address space over the CPU and any number of
 * external-memory devices.
 *
 * The application's interface. A driver's is in <gmem/driver.h>.
 *
 * Every function that can fail returns 0 or -errno; objects come back through
 * the last parameter. Nothing is changed by a call that fails, unless its
 * comment says otherwise. The meanings are the same everywhere:
 *
 *	-EINVAL      misuse: unaligned, overflowing, unknown flag, zero length
 *	-EFAULT      an address that is not managed memory
 *	-EEXIST      a fixed address that is taken
 *	-EACCES      a write to memory mapped read-only
 *	-ENOMEM      metadata, or host memory, could not be had
 *	-ENOSPC      device memory is full and nothing in it may be evicted
 *	-EBUSY       pinned, in use, or bounded retries used up
 *	-EADDRINUSE  a device uses these addresses for itself
 *	-ENODEV      no such hnode, or the device is going away
 *	-EOPNOTSUPP  the device, kernel or build lacks what was asked for
 *	-EIO         the device reported that a copy or an invalidation failed
 *	-EHWPOISON   the bytes are gone, with the memory or the device they were in
 *	-EAGAIN      too many hints are under way; try again once a job has ended
 *	-EADDRNOTAVAIL
 *		     the device's base page is larger than what is mapped there
 *
 * Unless said otherwise a function may sleep, may be called from any thread
 * and takes addresses of managed memory without touching them.
 */
#ifndef GMEM_GMEM_H
#define GMEM_GMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library is built with hidden visibility; what carries this is its ABI. */
#ifndef GM_API
#define GM_API __attribute__((visibility("default")))
#endif

struct gm_as;	   /* an address space */
struct gm_object;  /* bytes with an identity of their own, mappable at several addresses */
struct gm_dev;	   /* a device, as its driver registered it */
struct gm_context; /* a device attached to an address space */
struct gm_job;	   /* hints that are carried out in the background */

#define GM_PAGE_SIZE 4096ULL		/* the unit of state */
#define GM_BLOCK_SIZE (2ULL << 20)	/* the unit of locking, eviction and DMA batches */
#define GM_OBJECT_MAX_SIZE (1ULL << 46) /* the largest object, in bytes */

/* Where a page is, where data should go: a device's node id (see gm_dev_hnode()), or one of: */
#define GM_NODE_HOST (-1) /* host memory, any NUMA node */
#define GM_NODE_NONE (-2) /* nowhere yet: the page reads as zero */

/* Protection of a mapping; also the kind of an access. */
#define GM_READ 1U
#define GM_WRITE 2U
#define GM_ATOMIC 4U /* for drivers, with GM_WRITE: see gm_dev_fault() */

/* ------------------------------------------------------------------------- hosts */

/**
 * gm_host_name - where gmem runs: "user", in this process, or "kernel", as a module
 *
 * The first call that needs to know decides, once and for all; this is one. The
 * environment's GMEM_HOST says user, kernel or auto, the default: user for a program whose
 * first call is gm_dev_create(), else kernel if /dev/gmem can be opened, else user. NULL:
 * GMEM_HOST asks for what is not there; any other call says what by its error.
 * gmem(7) has what differs between the two.
 */
GM_API const char *gm_host_name(void);

/* ------------------------------------------------------------- address spaces */

#define GM_AS_INLINE 1U /* faults are serviced in the faulting thread (SIGBUS); see gmem(7) */
#define GM_AS_ADAPTIVE                                                                             \
	2U /* a CPU fault brings home less than cpu_granule where few pages are used */

/*
 * Zero is the default of every field. On the kernel host faults are always serviced in
 * the faulting thread, and system calls work: GM_AS_INLINE, service_threads and spin_us
 * are accepted and change nothing.
 */
struct gm_as_options {
	size_t size;		  /* of this struct; an unknown tail that is not zero is -E2BIG */
	uint32_t flags;		  /* GM_AS_* */
	uint32_t service_threads; /* thread delivery: how many; 0: 1 */
	uint32_t
		spin_us; /* a service thread spins this long before it sleeps; 0: adaptive, at most 50; UINT32_MAX: never */
	uint32_t
		cpu_granule; /* bytes brought home for one CPU fault: a power of two, 4 KiB to 2 MiB; 0: 64 KiB */
};

/**
 * gm_as_create - create an empty address space
 * @opt: options, or NULL for the defaults
 * @as: the new address space
 *
 * A process may have any number. Errors: -EINVAL, -E2BIG, -ENOMEM, -EPERM
 * (userfaultfd is refused), -ENOSYS (the kernel has none); for the last two
 * gm_strerror() says what is missing and what to do.
 */
GM_API int gm_as_create(const struct gm_as_options *opt, struct gm_as **as);

/**
 * gm_as_destroy - detach all devices, unmap everything, free
 *
 * No other thread or device may use @as any more. Bytes of objects that outlive it
 * stay where they are, be it on a device. An error is a driver's, which would not
 * let go of a mapping: some mappings are gone, and the call may be repeated.
 */
GM_API int gm_as_destroy(struct gm_as *as);

/**
 * gm_as_fd - the descriptor of an address space, to hand to a kernel driver's ioctl
 *
 * It stays the address space's own, and is closed with it. -EOPNOTSUPP on the user host,
 * which has none.
 */
GM_API int gm_as_fd(struct gm_as *as);

/**
 * gm_as_on_destroy - have @fn(@data) called by gm_as_destroy()
 * @fn: 0 or -errno, with which gm_as_destroy() then fails; NULL: forget the call with @data
 *
 * For a library in front of a kernel driver, to detach what it attached by an ioctl: the
 * kernel keeps an address space for as long as a driver has it. Called once @as has no
 * mapping any more; @fn must not call back with @as. -EOPNOTSUPP on the user host, which
 * knows what is attached.
 */
GM_API int gm_as_on_destroy(struct gm_as *as, int (*fn)(void *data), void *data);

/* --------------------------------------------------------- objects and mappings */

#define GM_OBJECT_HUGETLB                                                                          \
	1U /* host backing from 2 MiB hugetlb pages; size and maps are multiples of 2 MiB */

/**
 * gm_object_create - create an object of @size bytes, all zero
 * @size: bytes, a multiple of GM_PAGE_SIZE, at most GM_OBJECT_MAX_SIZE
 * @flags: GM_OBJECT_*
 *
 * The object lives until gm_object_put() has been called and its last mapping
 * is gone. Its bytes are the same at every address, in every address space.
 */
GM_API int gm_object_create(uint64_t size, uint32_t flags, struct gm_object **obj);
GM_API void gm_object_put(struct gm_object *obj);

/**
 * gm_object_fd - the descriptor of an object, to pass to another process or to mmap()
 *
 * It stays the handle's own, and is closed by gm_object_put(). -EOPNOTSUPP on the user
 * host: an object is one process's there.
 */
GM_API int gm_object_fd(struct gm_object *obj);

/**
 * gm_object_from_fd - a handle of the object that a descriptor stands for
 * @fd: by SCM_RIGHTS or fork() from a process that has the object; stays the caller's
 *
 * Ends with gm_object_put(). -EBADF: not an object's descriptor; -EMFILE; -EOPNOTSUPP on
 * the user host.
 */
GM_API int gm_object_from_fd(int fd, struct gm_object **obj);

#define GM_MAP_FIXED 1U /* map at *addr exactly; -EEXIST if anything is there */

/**
 * gm_as_map - map @len bytes of @obj from @offset into @as
 * @prot: GM_READ, with or without GM_WRITE
 * @flags: GM_MAP_*
 * @addr: in: where, with GM_MAP_FIXED; out: where it is
 *
 * Offset, length and fixed address are multiples of GM_PAGE_SIZE (2 MiB for a
 * hugetlb object). One object may be mapped any number of times.
 */
GM_API int gm_as_map(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len,
		     uint32_t prot, uint32_t flags, void **addr);

/**
 * gm_as_unmap - unmap a page-aligned range
 *
 * Any part of one or several mappings; -EFAULT if a page of it is not mapped.
 * Memory of gm_alloc() is freed by it; an object with a name keeps its bytes. If a
 * device fails to let go (its error), mappings before the one it fails for are gone.
 */
GM_API int gm_as_unmap(struct gm_as *as, void *addr, uint64_t len);

/**
 * gm_as_protect - change the protection of a page-aligned, wholly mapped range
 *
 * For the CPU and for every attached device. A device that cannot change a mapping
 * loses it and faults; if it cannot even do that its error is returned, and mappings
 * before the one it fails for have changed.
 */
GM_API int gm_as_protect(struct gm_as *as, void *addr, uint64_t len, uint32_t prot);

/**
 * gm_as_limit - how much of a device's memory an address space may have
 * @hnode: the device's node
 * @bytes: a multiple of GM_PAGE_SIZE; 0: no limit, as at first
 *
 * At the limit a fault or hint makes room by evicting the coldest blocks of this address
 * space, never another's, and is -ENOSPC if there is nothing to evict. What is above a limit that
 * was lowered is evicted at once, as far as it may be: what is pinned stays, and counts. What an
 * object has on the device counts for the address space that mapped the object first,
 * whoever else maps and touches it; once that is gone it counts for none. The limit ends with
 * the device. -EINVAL; -ENODEV: no such hnode.
 */
GM_API int gm_as_limit(struct gm_as *as, int hnode, uint64_t bytes);

#define GM_REMAP_MAYMOVE 1U /* to another address, if it cannot grow where it is */
#define GM_REMAP_FIXED 2U   /* with MAYMOVE: to *new_addr exactly; -EEXIST if anything is there */

/**
 * gm_as_remap - make a mapping longer or shorter, or move it: mremap(2) for managed memory
 * @addr, @old_len: all or a part of a mapping, page-aligned
 * @new_len: what it is to be, not 0
 * @flags: GM_REMAP_*
 * @new_addr: in: where, with GM_REMAP_FIXED; out: where it is
 *
 * Nothing moves but addresses: bytes stay where they are, be it on a device, with pins and
 * whatever else belongs to them. A mapping that shrinks loses its end, as by gm_as_unmap().
 * Memory of gm_alloc() grows by zeros; of an object with a name more is mapped, up to its
 * size (-EINVAL beyond). It grows where it is if the addresses behind it are free, and else
 * moves, if it may (-ENOMEM if not).
 *
 * -EFAULT: not mapped, or not by one mapping: what lies in it must be of one object and have
 * one protection; memory of gm_alloc() and what it has grown by are one. -EINVAL: memory that
 * is registered in place, or the old and the new place overlap. -EADDRINUSE: devices do not
 * give the addresses. Where it fails nothing has changed, but that a mapping which was to
 * shrink may have lost its end. gmem(7) has what differs on the kernel host.
 */
GM_API int gm_as_remap(struct gm_as *as, void *addr, uint64_t old_len, uint64_t new_len,
		       uint32_t flags, void **new_addr);

/**
 * gm_alloc - managed memory: an anonymous object and its mapping in one
 *
 * Zero-filled, readable and writable, 2 MiB aligned if 2 MiB or more. @flags:
 * GM_OBJECT_*. Free all or part of it with gm_as_unmap().
 *
 * If a device's base page is larger than 4 KiB it is aligned to that, and the last base page
 * is completed: the addresses up to its end are mapped too, and go with what is before them.
 * So every device that there is when the memory is made can use all of it.
 */
GM_API int gm_alloc(struct gm_as *as, uint64_t len, uint32_t flags, void **addr);

/**
 * gm_register - take memory of the application's into an address space, where it is
 * @addr, @len: whole pages of private anonymous memory, readable and writable
 *
 * It can then be used like memory of gm_alloc(), by devices too; it stays where it is, and
 * costs nothing more until a device uses it. Other threads may use it all the while. It is
 * mapped this once only. fork() copies it, as it does private memory; see gmem(7), also for
 * what must not be done to it. Errors: -EINVAL (not whole pages; shared, of a
 * file, hugetlb, a stack, protected), -EFAULT (a part is not mapped), -EEXIST (a part is
 * managed or registered already), -EBUSY (another userfaultfd has it), -ENOMEM,
 * -EOPNOTSUPP (the kernel host; no /proc); gm_strerror() says which.
 */
GM_API int gm_register(struct gm_as *as, void *addr, uint64_t len);

/**
 * gm_unregister - bring it home and give it back
 * @addr, @len: all or part of what was registered, in whole pages
 *
 * The memory is then the application's alone, as it was before, with the bytes of now.
 * gm_as_unmap() does the same, and gm_as_destroy(), with all there is. An error is a
 * device's, which would not give pages back: what comes before them may be given back, the
 * rest stays registered, no byte is lost, and the call may be repeated.
 * -EINVAL: managed, but not registered; -EFAULT: not managed.
 */
GM_API int gm_unregister(struct gm_as *as, void *addr, uint64_t len);

/* ------------------------------------------------------------------- devices */

enum gm_mode {
	GM_EXCLUSIVE, /* pages migrate to whoever touches them */
	/*
	 * Map host memory in place: nothing migrates to this device, see gmem(7). On the kernel
	 * host what is mapped counts against RLIMIT_MEMLOCK, and a fault beyond is -ENOMEM.
	 */
	GM_REPLICATE,
	GM_SHARE, /* one pmap for several contexts: pages are where the first one's device is */
};

/**
 * gm_as_attach - let a device see an address space
 *
 * In mode GM_SHARE the device uses the page table of a device that is attached already and has
 * the same kind of table, as their drivers say by a cookie: what is mapped for one is mapped for
 * all of them, in the memory of the first, and in its mode. If there is none it has a table of
 * its own, in mode GM_EXCLUSIVE, for others to share.
 *
 * -EBUSY if @dev is attached to @as already; -EOPNOTSUPP: it cannot be attached in that mode.
 * Drivers wrap this call: see gm_sim_attach() for the simulated accelerator.
 */
GM_API int gm_as_attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
			struct gm_context **ctx);

/**
 * gm_as_detach - bring home what the device holds of the address space; detach
 *
 * On failure the context is still attached and no byte is lost. -EBUSY: others share its
 * pmap; they go first.
 */
GM_API int gm_as_detach(struct gm_context *ctx);

/** gm_dev_hnode - the node id of a device's memory; past the ids of the real NUMA nodes */
GM_API int gm_dev_hnode(const struct gm_dev *dev);

/**
 * gm_dev_from_hnode - the device with this node, which a kernel driver has registered
 *
 * For gm_dev_hnode(), gm_dev_stats() and gm_dev_tune(). There is nothing to give back; once
 * the device is gone these fail with -ENODEV. -EOPNOTSUPP on the user host, where who
 * registered the device has its handle.
 */
GM_API int gm_dev_from_hnode(int hnode, struct gm_dev **dev);

/* --------------------------------------------------------------------- hints */

enum gm_advice {
	GM_PREFETCH, /* move [addr, addr+len), rounded outward, to hnode; it then does not fault on it */
	GM_DONTNEED, /* drop the bytes of the range, rounded inward; it then reads as zero */
	GM_WILLNEED, /* most recently used; an eviction of it under way is cancelled */
	GM_COLD,     /* first to be evicted */
	GM_PIN,	     /* PREFETCH, and not evicted until UNPIN */
	GM_UNPIN,
	/* These stay with the addresses until they are unset or unmapped; see hmadvise(3). */
	GM_READ_MOSTLY, /* who reads it has a replica of its own; a write drops all of them */
	GM_UNSET_READ_MOSTLY,
	GM_PREFERRED_LOCATION, /* hnode: a device's node, or GM_NODE_HOST: best kept there */
	GM_UNSET_PREFERRED_LOCATION,
	GM_ACCESSED_BY, /* hnode: a device's node: it keeps it mapped, and moves nothing */
	GM_UNSET_ACCESSED_BY,
};

/**
 * hmadvise - hint how a range will be used
 * @hnode: PREFETCH: a device's node, or GM_NODE_HOST (or a real NUMA node) to
 *	bring it home; PIN: a device's node; otherwise ignored
 * @addr, @len: a range of managed memory of one address space; need not be aligned
 *
 * A page that is pinned may still be moved by an access of the CPU or of another
 * device: every load sees the last store. It stays pinned wherever it goes.
 *
 * DONTNEED unpins what it drops, and mends what is poisoned (gm_query()): it is zero then. A
 * page that is poisoned is left out of any other hint. A PREFETCH of more than the device has room for,
 * counted in whole blocks and beside what is pinned, may evict its own beginning.
 *
 * Errors: -EINVAL (unknown advice, zero length, an hnode that makes no sense),
 * -EFAULT (not managed, or with a hole), -EACCES (DONTNEED of what is mapped
 * read-only), -ENODEV (unknown hnode, or it is not attached here, or was removed), -ENOSPC (it
 * does not fit, or all else is pinned). PREFETCH and PIN may have moved, and PIN may have
 * pinned, a part of the range when they fail.
 *
 * A device whose base page is larger than 4 KiB has whole base pages: what shares one is moved,
 * kept by a pin, and brought home together. What it cannot have, for a mapping ends within the
 * base page, PREFETCH leaves out, and PIN refuses (-EADDRNOTAVAIL).
 */
GM_API int hmadvise(int hnode, void *addr, size_t len, enum gm_advice advice);

/**
 * hmemcpy - copy between any two places, wherever the bytes are
 * @hnode: where the destination should be: a node, or GM_NODE_NONE to leave it
 * @dst, @src: managed memory or not, any alignment; must not overlap
 *
 * Each is read and written where it is; no fault is taken and nothing is moved
 * but for @hnode. On failure a part may have been copied.
 */
GM_API int hmemcpy(int hnode, void *dst, const void *src, size_t len);

/* ---------------------------------------------------------------------- jobs */

#define GM_HINTS_MAX 1024U /* hints under way in one address space */

/* As the arguments of hmadvise(). */
struct gm_hint {
	void *addr;
	size_t len;
	int32_t hnode;
	uint32_t advice; /* enum gm_advice */
};

/**
 * gm_job_start - carry hints out in the background
 * @hints, @n: 1 to GM_HINTS_MAX of them, of one address space; copied
 * @job: a handle to wait for them; NULL: nobody wants to
 *
 * Returns at once. PREFETCHes and PINs that follow one another in @hints are carried out at the
 * same time, all else in order. Ranges of PREFETCH and PIN are all checked before the first is
 * begun; what fails later ends the job, and what was moved stays where it is.
 *
 * The job always ends: with 0, with the error of the first hint that failed, as hmadvise()
 * would return it, or with -ECANCELED. A part of a range that is unmapped meanwhile is -EFAULT, a
 * device that is detached or removed is -ENODEV, and gm_as_destroy() cancels. A child of fork()
 * gets nothing of it on the user host.
 *
 * Nothing is begun if it fails: -EINVAL (an empty or overflowing range, unknown advice, ranges of
 * several address spaces, @n), -EFAULT (the first byte of a range is not managed), -EAGAIN
 * (more than GM_HINTS_MAX would be under way), -ENOMEM, -EMFILE.
 */
GM_API int gm_job_start(const struct gm_hint *hints, unsigned int n, struct gm_job **job);

/** hmadvise_async - gm_job_start() of one hint */
GM_API int hmadvise_async(int hnode, void *addr, size_t len, enum gm_advice advice,
			  struct gm_job **job);

#define GM_FOREVER UINT64_MAX

/**
 * gm_job_wait - wait until a job has ended
 * @ns: at most so many nanoseconds; 0: just look; GM_FOREVER
 *
 * How the job has ended (see gm_job_start()), any number of times; -ETIMEDOUT: it has not yet.
 * A signal does not end the wait.
 */
GM_API int gm_job_wait(struct gm_job *job, uint64_t ns);

/**
 * gm_job_fd - a descriptor that is readable (poll, epoll) from the job's end on
 *
 * It stays the job's, and is closed by gm_job_free(); do not read from it. -EMFILE, -ENFILE,
 * -ENOMEM.
 */
GM_API int gm_job_fd(struct gm_job *job);

/**
 * gm_job_cancel - begin nothing more of it
 *
 * Does not wait. The job ends with -ECANCELED as soon as what is under way is done, a few
 * blocks of PREFETCH or PIN, or one whole hint of another kind; unless it had failed, or all of it
 * was begun: then it ends as it would have. What was moved stays where it is.
 */
GM_API int gm_job_cancel(struct gm_job *job);

/** gm_job_free - give the handle back; the job goes on, unless it was cancelled. NULL is fine */
GM_API void gm_job_free(struct gm_job *job);

/* ------------------------------------------------------------------- looking */

#define GM_PAGE_PINNED 1U   /* not evicted */
#define GM_PAGE_RETAINED 2U /* on a device, with its host frame kept for the way back */
#define GM_PAGE_EXCLUSIVE                                                                          \
	8U /* in host memory, and for one device alone: it made atomic operations there */
#define GM_PAGE_POISONED                                                                           \
	4U /* GM_NODE_NONE, and not zero: lost with a device's memory that failed */
#define GM_PAGE_REPLICATED 16U /* in host memory, and on devices besides: see GM_READ_MOSTLY */

struct gm_page_info {
	int32_t node; /* a device's node, GM_NODE_HOST or GM_NODE_NONE */
	uint32_t flags;
};

/**
 * gm_query - where each page of a range is
 * @info: one entry for each page of [addr, addr+len), page-aligned
 *
 * A snapshot: pages may move while it is taken. @info may be managed memory itself.
 */
GM_API int gm_query(const void *addr, size_t len, struct gm_page_info *info);

#define GM_ATTR_READ_MOSTLY 1U

/* What hints that stay, see enum gm_advice, say of a range. */
struct gm_attr {
	size_t size;	      /* of this struct, set by the caller */
	uint64_t len;	      /* bytes from the address on of which the same is said */
	uint32_t flags;	      /* GM_ATTR_* */
	int32_t preferred;    /* PREFERRED_LOCATION: a node; GM_NODE_NONE: nowhere */
	uint64_t accessed_by; /* ACCESSED_BY: a bit for each device; bit i is node first_node + i */
	int32_t first_node;
	uint32_t pad;
};

/**
 * gm_attr_query - what hints say of the first bytes of a range
 *
 * To see all of a range, go on at @addr + @attr->len. A device that was removed is in none.
 * -EFAULT: @addr is not managed.
 */
GM_API int gm_attr_query(const void *addr, size_t len, struct gm_attr *attr);

/* Counters only grow. Times in nanoseconds, sizes in bytes. */
struct gm_stats {
	size_t size;		   /* of this struct, set by the caller */
	uint64_t cpu_faults;	   /* delivered to gmem */
	uint64_t cpu_faults_moved; /* of these: brought pages home from a device */
	uint64_t dev_faults;	   /* reported by the driver */
	uint64_t dev_faults_moved; /* of these: moved pages to the device */
	uint64_t dev_faults_map;   /* of these: the page was there, only its mapping was missing */
	uint64_t fault_errors;	   /* faults that failed, but for -EBUSY, which devices replay */
	uint64_t pages_to_dev;	   /* copied in */
	uint64_t pages_to_host;	   /* copied out */
	uint64_t pages_zeroed;	   /* appeared on the device without a copy */
	uint64_t pages_evicted;	   /* of pages_to_host: for want of device memory */
	uint64_t pages_prefetched; /* moved by PREFETCH or PIN */
	uint64_t bytes_to_dev;
	uint64_t bytes_to_host;
	uint64_t evictions;	      /* blocks evicted */
	uint64_t evictions_direct;    /* of these: while a fault waited */
	uint64_t evictions_cancelled; /* given up: needed again, or a step failed */
	uint64_t tlb_ranges;	      /* ranges invalidated */
	uint64_t tlb_invls;	      /* invalidation calls that took */
	uint64_t ns_cpu_fault;
	uint64_t ns_dev_fault;
	uint64_t ns_copy; /* waiting for copies and zero-fills */
	uint64_t ns_invl; /* waiting for invalidations */
	uint64_t ns_evict;
	uint64_t pages_peer; /* copied to a device straight from another */
	uint64_t
		pages_replicated; /* of pages_to_dev: stayed in host memory too, see GM_READ_MOSTLY */
	uint64_t thrashes;	  /* blocks found to go back and forth, see gmem(7) */
	uint64_t faults_held;	  /* faults that had to wait, or to be replayed, for that */
	uint64_t remote_maps;	  /* faults of devices that were answered by host memory in place */
	uint64_t remote_bytes;	  /* used so, as their access counters say: gm_dev_accessed() */
};

GM_API int gm_as_stats(struct gm_as *as, struct gm_stats *stats);
GM_API int gm_dev_stats(struct gm_dev *dev, struct gm_stats *stats);

struct gm_hnode_info {
	size_t size;	   /* of this struct, set by the caller */
	uint64_t total;	   /* bytes of device memory registered, less what is poisoned */
	uint64_t free;	   /* not in use */
	uint64_t pinned;   /* held by pinned pages */
	uint64_t blocks;   /* blocks that have pages here */
	uint64_t metadata; /* bytes gmem spends on managing the frames */
	uint64_t poisoned; /* bytes that have failed and are not used any more */
	uint64_t limit;	   /* bytes of total that are used at most, see gm_dev_tune() */
};

/** gm_hnode_info - -ENODEV if there is no such hnode */
GM_API int gm_hnode_info(int hnode, struct gm_hnode_info *info);

/** gm_metadata_bytes - bytes of metadata in use for all objects of the process; of the machine on the kernel host */
GM_API uint64_t gm_metadata_bytes(void);

/* -------------------------------------------------------------- host memory */

/*
 * The host frames of pages that moved to a device may be kept, so that bringing
 * them home needs no allocation. They are kept up to a bound, for the whole
 * process; the default is an eighth of the machine's memory. They are given
 * back when host memory runs low, and by gm_retain_trim(). On the kernel host all
 * of this is the whole machine's, and without CAP_SYS_ADMIN the first two do nothing.
 */

/** gm_retain_limit - set the bound in bytes (0: keep none) and trim to it */
GM_API void gm_retain_limit(uint64_t bytes);
/** gm_retain_trim - give back at least @bytes, but for blocks in use; returns how many */
GM_API uint64_t gm_retain_trim(uint64_t bytes);
/** gm_retained_bytes - bytes of host memory retained now */
GM_API uint64_t gm_retained_bytes(void);

/* ----------------------------------------------------------------- recording */

/**
 * gm_record_start - record what touches managed memory, as a trace: see gmem-trace(5)
 * @path: the file, which is made or emptied
 *
 * All that devices which can tell (the simulated one can) access from now on, by whatever
 * address space; CPU faults, hints, and what is discarded. One recording at a time: -EBUSY.
 * -EINVAL; as open(2); -ENOMEM; -EOPNOTSUPP on the kernel host. The environment's
 * GMEM_RECORD=FILE starts one with the first call that uses gmem; it ends with the program.
 */
GM_API int gm_record_start(const char *path);
/**
 * gm_record_stop - write what is left, and end
 *
 * -ENOENT: there is none. -ENOSPC and the like, -ENOMEM: not all could be written, and the
 * file is no whole trace; no recording goes on all the same.
 */
GM_API int gm_record_stop(void);

/**
 * gm_strerror - what a -errno means here, and what to do about it
 *
 * A static string; for the last failure of gm_as_create() or gm_register() in this
 * thread it names what was refused.
 */
GM_API const char *gm_strerror(int err);

/**
 * gm_sigbus - offer a SIGBUS to gmem
 * @sig, @info, @uc: as a SA_SIGINFO handler gets them
 *
 * Returns 1 if it was a fault on managed memory and has been serviced, else 0.
 * For a program that installs a SIGBUS handler of its own after it has created
 * an address space with GM_AS_INLINE: its handler calls this first.
 */
GM_API int gm_sigbus(int sig, void *info, void *uc);

#ifdef __cplusplus
}
#endif
#endif
