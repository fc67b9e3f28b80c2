/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The driver's interface: a table of MMU functions, and a handful of calls.
 *
 * A driver tells gmem how its device's page table, TLB and copy engine are
 * worked; gmem decides what is mapped, where data is and when it moves. The
 * names are those of the Linux RFC "GMEM" (Weixi Zhu, 2023).
 * docs/driver-guide.md leads through a whole driver.
 */
#ifndef GMEM_DRIVER_H
#define GMEM_DRIVER_H

#include <gmem/gmem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gm_fence;

/* A range of virtual addresses whose translations must go. */
struct gm_tlb_range {
	uint64_t va;
	uint64_t size;
};

/*
 * A piece of a copy: @len bytes between device memory at physical address @pa
 * and host memory at bus address @host. On the linux-user host a bus address
 * is a pointer of the process (private to gmem, not the application's); in the
 * kernel it is a DMA address. For copy_peer @host is the other device's physical address.
 */
struct gm_extent {
	uint64_t pa;
	uint64_t host;
	uint64_t len;
};

/*
 * A piece of what peer_map maps, or peer_unmap unmaps: @len bytes at @va of the device's
 * addresses, which are in its memory at @pa. @host is as in struct gm_extent, or GM_NO_ADDRESS.
 */
struct gm_peer_map {
	uint64_t va;
	uint64_t pa;
	uint64_t host;
	uint64_t len;
};

#define GM_NO_ADDRESS UINT64_MAX

enum gm_copy_dir {
	GM_TO_DEV,  /* host to device */
	GM_TO_HOST, /* device to host */
};

/**
 * struct gm_mmu - what a driver supplies
 *
 * Every operation returns 0 or -errno, may sleep, and may fail: gmem then leaves
 * every page where it was, with its bytes, and hands the error to whoever asked.
 * gmem calls operations from several threads at once, for the same pmap too; a
 * driver serialises what its hardware cannot do in parallel. An operation holds
 * no lock of the driver's when it calls back into gmem (only gm_fence_signal()
 * may be called from one).
 */
struct gm_mmu {
	size_t size; /* of this struct, as the driver was compiled with it */

	/*
	 * Leaf sizes of the page table: a bit for each, e.g. 4 KiB | 64 KiB |
	 * 2 MiB | 1 GiB. The smallest is the device's base page: 4 KiB to 2 MiB. Where it is larger
	 * than 4 KiB, pages come to the device and leave it in whole base pages, aligned in
	 * the object, and no operation below but copy and zero is asked for less.
	 */
	uint64_t pgsize_bitmap;

	/*
	 * pmap_create (required): make an empty page table.
	 * Locks held: the address space's, for writing.
	 */
	int (*pmap_create)(struct gm_dev *dev, void **pmap);

	/*
	 * pmap_destroy (required): free it. Nothing is mapped in it any more and
	 * its translations have been invalidated, but for what gm_dev_remove() has left.
	 * Locks held: as pmap_create. Of a table that is shared, see pmap_share.
	 */
	void (*pmap_destroy)(struct gm_dev *dev, void *pmap);

	/*
	 * pmap_enter (required): map [va, va+size) to device memory at
	 * [pa, pa+size) with leaves of @leaf bytes, one of pgsize_bitmap. va, pa
	 * and size are multiples of @leaf. What was mapped there before with the
	 * same pa is replaced, leaves of any smaller size included (the protection
	 * may differ), and their translations need not be invalidated; a larger leaf
	 * never covers the range. -ENOSPC if the device lacks memory for the table
	 * itself: gmem evicts something and tries again; a leaf of more than 2 MiB
	 * that cannot be entered is no error, what it would replace stays.
	 * Locks held: the block's; with a leaf larger than that, one block's of it,
	 * and nobody works on the others' part of the table.
	 */
	int (*pmap_enter)(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
			  uint32_t prot);

	/*
	 * pmap_release (required): unmap [va, va+size). Parts that are not mapped
	 * are passed over; no leaf reaches across an end of the range. Once it
	 * has returned no new translation of the range can enter a TLB. If it
	 * fails any part of the range may be unmapped. A leaf of more than 2 MiB that
	 * must be taken apart is released and invalidated as a whole, and what stays
	 * is entered again.
	 * Locks held: the block's, as for pmap_enter, or the address space's for writing.
	 */
	int (*pmap_release)(void *pmap, uint64_t va, uint64_t size);

	/*
	 * pmap_protect (optional): change the protection of what is mapped in
	 * [va, va+size). Without it gmem releases the range. Locks held: as
	 * pmap_release.
	 */
	int (*pmap_protect)(void *pmap, uint64_t va, uint64_t size, uint32_t prot);

	/*
	 * tlb_invl (required): drop every cached translation of [va, va+size). When
	 * it returns 0 no access by way of one is under way any more.
	 * Locks held: as pmap_release.
	 */
	int (*tlb_invl)(void *pmap, uint64_t va, uint64_t size);

	/*
	 * tlb_invl_coalesced (optional): the same for several ranges with one
	 * operation of the hardware. Without it tlb_invl is called for each.
	 */
	int (*tlb_invl_coalesced)(void *pmap, const struct gm_tlb_range *ranges, unsigned int n);

	/*
	 * copy (required): start copying all of @ext. 0: accepted; @fence will be
	 * signalled exactly once, perhaps before copy returns, with 0 when every
	 * byte is there or -errno. Not 0: nothing was started and @fence will not
	 * be signalled. @ext is valid only until copy returns. Lengths and
	 * addresses may be any number of bytes.
	 * Locks held: the block's.
	 */
	int (*copy)(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		    unsigned int n, struct gm_fence *fence);

	/* zero (required): the same, but fills device memory with zeros; @host is ignored. */
	int (*zero)(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		    struct gm_fence *fence);

	/*
	 * copy_peer (optional): as copy, but from another device's memory into @dev's: @pa
	 * is @dev's address, @host is @peer's. It is called only for two devices whose
	 * tables have the same copy_peer: that of a driver with several devices, or of what
	 * two drivers share. It finds what it needs of either by gm_dev_data(). -EOPNOTSUPP,
	 * at once or by @fence: these two have no link, and the bytes go by way of the host,
	 * as they do without the operation. No pmap of either device maps the memory, and
	 * @peer stays until @fence is signalled. A table that ends before this is accepted.
	 * Locks held: the block's.
	 */
	int (*copy_peer)(struct gm_dev *dev, struct gm_dev *peer, const struct gm_extent *ext,
			 unsigned int n, struct gm_fence *fence);

	/*
	 * pmap_enter_host (optional, for a link that is coherent with the CPU's caches): map
	 * [va, va+size) to host memory at bus addresses [host, host+size), with leaves of
	 * 4 KiB. @prot has GM_ATOMIC where nobody else has it mapped, see gm_dev_fault().
	 * Otherwise as pmap_enter, and undone by the same operations; the memory stays
	 * where it is until the tlb_invl after its pmap_release has returned 0. It is called in mode
	 * GM_REPLICATE, and in any other where hints want pages used where they are, see
	 * hmadvise(3), where pages go back and forth, see gmem(7), or where a policy says so. Without it, or with a base page larger than that, the device cannot be
	 * attached in mode GM_REPLICATE, nor named by such a hint. Locks held: the block's.
	 */
	int (*pmap_enter_host)(void *pmap, uint64_t va, uint64_t host, uint64_t size,
			       uint32_t prot);

	/*
	 * pmap_enter_peer (optional): map [va, va+size) to @peer's memory at [pa, pa+size), for
	 * reading, with leaves of 4 KiB; otherwise as pmap_enter, and undone by the same
	 * operations. It is called only for two devices whose tables have the same
	 * pmap_enter_peer, as copy_peer is, where a device reads what another has: the page
	 * stays, and moves when somebody else wants it, or this one writes. -EOPNOTSUPP: these
	 * two have no such link, and the page moves, as it does without the operation. The link
	 * must be coherent: what @peer writes is seen. Locks held: the block's.
	 */
	int (*pmap_enter_peer)(void *pmap, uint64_t va, struct gm_dev *peer, uint64_t pa,
			       uint64_t size);

	/*
	 * Bits of an address that the device can name; 0: 64. A context sees no more of the
	 * address space than that, or than its windows show, see gm_window_add().
	 */
	uint64_t va_bits;

	/*
	 * Not 0: the format of the page table, and of the memory that its entries may name.
	 * Devices with the same cookie, pgsize_bitmap and va_bits can share a table, in mode
	 * GM_SHARE; all of them have pmap_share, and whichever comes first has the data. Any
	 * number that no other driver has. 0 for a device that has pages for itself at times, see
	 * GM_ATOMIC in gm_dev_fault().
	 */
	uint64_t cookie;

	/*
	 * pmap_share (needed for GM_SHARE): let @dev use @pmap, which pmap_create made for
	 * another device with the same cookie. @shared is what tlb_invl, tlb_invl_coalesced
	 * and, in the end, pmap_destroy are called with for @dev: the former after every
	 * change that they follow on the table's owner; the latter drops @dev's cached
	 * translations and leaves the table. pmap_release's promise holds for @dev's TLB too.
	 * No other operation is called for @pmap meanwhile. Locks held: as pmap_create.
	 */
	int (*pmap_share)(struct gm_dev *dev, void *pmap, void **shared);

	/*
	 * peer_va_alloc_fixed (optional, for a device with an operating system of its own, which
	 * uses addresses for itself): the address space is to use [va, va+size). 0: nobody on the
	 * device takes them until they are freed. -EEXIST: something is there. gmem then tries
	 * other addresses if it may choose them, and else fails (-EADDRINUSE), as it does, with
	 * this error, for any other. Asked for what is mapped, before anybody can use it, and
	 * for what is mapped already when the device is attached; but not for a context of
	 * gm_as_attach_sparse(), whose windows name the device's addresses, nor beyond va_bits.
	 * A page is never asked for twice.
	 * Comes with peer_va_free. Locks held: the address space's, for writing.
	 */
	int (*peer_va_alloc_fixed)(void *pmap, uint64_t va, uint64_t size, uint32_t prot);

	/*
	 * peer_va_free: the addresses are not used any more, and nothing is mapped there. What
	 * was taken in one piece may be freed in several. Locks held: as
	 * peer_va_alloc_fixed.
	 */
	void (*peer_va_free)(void *pmap, uint64_t va, uint64_t size);

	/*
	 * peer_map (optional, for a device with an operating system of its own, to which each
	 * operation is a message and an answer): copy, zero and pmap_enter in one. Fill the memory of
	 * each of @ops with what is at its @host, or where that is GM_NO_ADDRESS with zeros, then
	 * map it. @ops are sorted by va, and valid only until peer_map returns. Where each begins,
	 * in va and in pa, where the one before it ends they make one piece, of whole base pages, to
	 * be mapped with any leaves of pgsize_bitmap up to 2 MiB that lie in it, aligned in both.
	 * Nothing is mapped there before. 0 and @fence are as with copy: signalled with 0 all of it is
	 * filled and mapped. An error, at once or by @fence: nothing of it is mapped, or cached as
	 * a translation. -EOPNOTSUPP, or -ENOSPC for want of memory for the table: gmem tries the
	 * basic operations. It uses these anyway where more is to be done than this can say.
	 * Comes with peer_unmap. Not for a pmap while it is shared. Locks held: the block's.
	 */
	int (*peer_map)(void *pmap, const struct gm_peer_map *ops, unsigned int n, uint32_t prot,
			struct gm_fence *fence);

	/*
	 * peer_unmap: pmap_release and tlb_invl of all of @ops, and then copy to @host where that
	 * is not GM_NO_ADDRESS, in one. Pieces are as with peer_map: parts of them that
	 * are not mapped are passed over, and no leaf reaches across an end of one. If it fails,
	 * at once or by @fence, any part may be unmapped; -EOPNOTSUPP: gmem goes on with the basic
	 * operations. Locks held: as pmap_release.
	 */
	int (*peer_unmap)(void *pmap, const struct gm_peer_map *ops, unsigned int n,
			  struct gm_fence *fence);

	/*
	 * pmap_age (optional, for hardware that notes in its page table what was used): which pages
	 * of [va, va+size), at most 2 MiB, were used by a translation that was read from the table
	 * since this was last asked for them? Set bit i of @used, which comes 0, for the 4 KiB at va +
	 * i * 4 KiB, and note from now on afresh. What is not mapped is passed over. A leaf
	 * is used as a whole; one that reaches beyond the range is asked for as much of it as lies
	 * there, and forgets the rest. Nothing need be invalidated: a use by a translation that a
	 * TLB has had since before may be missed, until the TLB drops it. An error: nothing is
	 * known. Policies are told, gm_policy(3); it costs nothing where they do not ask.
	 * Locks held: the block's.
	 */
	int (*pmap_age)(void *pmap, uint64_t va, uint64_t size, uint64_t *used);

	/* GM_MMU_*: what the device can do besides. Others are refused. */
	uint64_t flags;
};

/*
 * The device counts its uses of host memory that is mapped in place, page by page, and the driver
 * hands them on, gm_dev_accessed(). Then policies may leave pages where they are, see
 * gm_policy(3), which costs less than a move where little of a page is used, and have them
 * brought once they have proved worth it. Needs pmap_enter_host.
 */
#define GM_MMU_COUNTS 1ULL

/** gm_fence_signal - complete a fence with 0 or -errno; any context that can wake a thread */
GM_API void gm_fence_signal(struct gm_fence *fence, int err);

/**
 * gm_dev_create - register a device
 * @mmu: the driver's table; copied
 * @name: for messages; copied, up to 31 characters
 * @data: the driver's own, see gm_dev_data()
 *
 * -EINVAL if a required function is missing, @mmu->size is too small, or so large that
 * it has operations which this version does not know, or @mmu->pgsize_bitmap cannot be
 * used; the host's log names the fault. -ENOSPC: there
 * are 64 devices already. -EOPNOTSUPP: this process runs on the kernel host, where drivers
 * are the kernel's (gm_host_name()); a program that calls this first never does.
 */
GM_API int gm_dev_create(const struct gm_mmu *mmu, const char *name, void *data,
			 struct gm_dev **dev);

/**
 * gm_dev_destroy - bring home every page the device holds, then forget it
 *
 * -EBUSY while a context is attached. Another error: a page could not be brought
 * home; the device is as it was and holds what it still holds.
 */
GM_API int gm_dev_destroy(struct gm_dev *dev);

GM_API void *gm_dev_data(const struct gm_dev *dev);

/**
 * gm_dev_register_physmem - hand device memory [begin, end) to gmem
 *
 * Physical addresses as pmap_enter and copy take them, multiples of the base page. May
 * be called any number of times; ranges must not overlap (-EEXIST). 2 MiB-aligned
 * pieces are worth most: a range holding none of them is refused (-EINVAL).
 */
GM_API int gm_dev_register_physmem(struct gm_dev *dev, uint64_t begin, uint64_t end);

/**
 * gm_dev_register_physmem_cpu - the same, of memory that the CPU can address too
 * @cpu: the CPU's physical address of @begin, a multiple of 2 MiB, as @begin and @end are
 *
 * For memory that is coherent with the CPU's caches (CXL, NVLink-C2C, a coherent BAR). The
 * CPU then uses what is on the device where it is: its accesses move nothing home, and are
 * mapped with the largest leaf that fits. The idea is HMM's device-coherent memory and huge
 * PFN maps. The CPU's mappings go before a page moves, as the device's do; a page that the
 * kernel has handed out (direct I/O) does not move (-EBUSY) and its frame is not used for
 * anything else until it is given back.
 *
 * As gm_dev_register_physmem(), and -EBUSY: [@cpu, ...) is claimed by another range, of
 * whatever device; -EOPNOTSUPP: this host has no such mappings (linux-user).
 */
GM_API int gm_dev_register_physmem_cpu(struct gm_dev *dev, uint64_t begin, uint64_t end,
				       uint64_t cpu);

/**
 * gm_dev_unregister_physmem - take a registered range back
 *
 * Brings home what the device holds in it first; the rest of the device goes on.
 * -ENOENT if [begin, end) is not exactly a range that was registered; -EBUSY if
 * faults keep using it, or somebody holds pages of it.
 */
GM_API int gm_dev_unregister_physmem(struct gm_dev *dev, uint64_t begin, uint64_t end);

/**
 * gm_dev_poison - memory of the device's has failed
 * @pa: a physical address in it; the 4 KiB around it are given up
 *
 * They are not used again as long as they are registered. If they held a page its bytes are
 * lost, and nothing else: it is unmapped from the device and, in an aperture, from the CPU;
 * the rest of its leaf stays mapped, and stays where it is, but what shares its base page goes
 * home, unharmed, and the memory of the whole base page is given up. Its next access by the CPU raises
 * SIGBUS (BUS_MCEERR_AR), its next fault by a device is -EHWPOISON; gm_query() says
 * GM_PAGE_POISONED, until the page is dropped.
 *
 * Twice is no error. -ENOENT: no memory of the device's; -EBUSY: a fault that has taken the
 * memory for itself keeps it for long; -ENOMEM; or an operation of struct gm_mmu failed: the
 * page is where it was then, the memory is in use, and the call may be repeated. Takes the
 * locks of gm_dev_unregister_physmem(): not from an operation of struct gm_mmu.
 */
GM_API int gm_dev_poison(struct gm_dev *dev, uint64_t pa);

/**
 * gm_dev_remove - the device goes, or is gone already, whoever uses it
 *
 * For surprise removal and hot unplug, at any time, from any thread: contexts may be attached,
 * faults, hints and evictions under way. The driver has stopped the device first: nothing reads
 * or writes memory by way of a pmap any more, by itself or because nobody is there; devices that
 * share its pmaps (GM_SHARE) among them: to them it is as if they were gone as well.
 *
 * From now on the device takes nothing in: gm_dev_fault(), PREFETCH and PIN say -ENODEV, as do
 * gm_as_attach() and gm_dev_register_physmem(). What it has comes home, pinned or not, by
 * @copy, which is the one operation that is still called, but for pmap_destroy: pmaps are left
 * as they are. Where copy or its fence fails the copy is tried again in smaller pieces, at last
 * page by page; a page that cannot be copied by itself is lost, as by gm_dev_poison(), and
 * nothing else. Nobody is given zeros, or bytes that are older. copy of a device that is gone
 * fails soon: there may be two calls a page. -ENOMEM of copy loses nothing: the driver may
 * have memory later. Apertures: the CPU's mappings go, and its accesses with them.
 *
 * 0: no page is there any more. Then gm_as_detach() and gm_as_destroy() of its contexts
 * succeed, whatever the device says, and gm_dev_destroy() once they are gone; an operation that
 * another thread began before may be running until gm_as_detach() of the context returns. Twice
 * is no error. -EBUSY: somebody holds pages of an aperture, or frames for long; -ENOMEM:
 * the host has no memory. What is still there is as it was, nothing is
 * taken in, and the call may be repeated. Takes the locks of gm_dev_unregister_physmem(): not
 * from an operation of struct gm_mmu.
 */
GM_API int gm_dev_remove(struct gm_dev *dev);

#define GM_THRASH_LAPSE_MAX 1000000U /* microseconds */
#define GM_THRASH_HOLD_MAX 10000U

/* Zero is the default of every field. */
struct gm_dev_tunables {
	size_t size;   /* of this struct */
	uint64_t low;  /* background eviction starts with less than this free, bytes; 0: total/64 */
	uint64_t high; /* and stops here; 0: 2 * low; low <= high <= half of all memory */
	/* bytes moved for one device fault: power of two, 4 KiB to 2 MiB; 0: 64 KiB; a base page at least */
	uint32_t granule;
	uint32_t no_grow; /* not 0: move just the granule, do not grow it where a block fills up */
	uint32_t no_background; /* not 0: evict only when a fault needs room */
	uint64_t limit; /* use so many bytes of the memory at most, a multiple of 4 KiB; 0: all */
	/*
	 * Ping-pong, see gmem(7): pages that came back so often, each time within about so many
	 * microseconds, then stay so long with whoever gets them, or 256 times as long in host memory.
	 */
	uint32_t thrash_times;	  /* 0: 3 */
	uint32_t thrash_lapse_us; /* 0: 500; at most a second */
	uint32_t thrash_hold_us;  /* 0: 1000; at most 10 ms */
	uint32_t no_thrash;	  /* not 0: do not look for it */
};

/**
 * gm_dev_tune - how gmem uses a device's memory; all of @t counts, at any time
 *
 * A limit that is lower than what is in use has the coldest evicted, as far as it may be:
 * what is pinned stays, and counts. At the limit the device is full: faults evict, or are
 * -ENOSPC. -EINVAL: something out of range.
 */
GM_API int gm_dev_tune(struct gm_dev *dev, const struct gm_dev_tunables *t);

/**
 * gm_as_attach_sparse - gm_as_attach(), but the device sees nothing yet
 *
 * What it is to see is opted in by gm_window_add(): a device that is trusted with a buffer
 * need not be trusted with a program's whole memory.
 */
GM_API int gm_as_attach_sparse(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
			       struct gm_context **ctx);

/* A part of an address space, and where a device sees it. */
struct gm_window {
	uint64_t va;	 /* in the address space */
	uint64_t len;	 /* bytes */
	uint64_t dev_va; /* at the device: what pmap_enter and gm_dev_fault() are told */
};

/*
 * For contexts that share a pmap (GM_SHARE) the functions below work on what all of them see.
 */

/**
 * gm_window_add - let a context see parts of its address space, at addresses of their own
 *
 * All three numbers of a window are multiples of the device's smallest page. A window may
 * show several mappings, or addresses where nothing is mapped yet; one that is not offset by a
 * multiple of a larger page than that is mapped with small leaves only. What the device can
 * map at once is mapped before the call returns, so that it need not fault for it.
 *
 * All or none: -EEXIST if one overlaps another of this context, in the address space or at the
 * device (an ordinary context sees everything its device can name, see gm_mmu.va_bits); -ERANGE:
 * beyond what the device can name; -EINVAL; -ENOMEM. Not from an operation of struct gm_mmu.
 */
GM_API int gm_window_add(struct gm_context *ctx, const struct gm_window *windows, unsigned int n);

/**
 * gm_window_remove - the context sees [va, va+len) of each range no more; dev_va is ignored
 *
 * Ranges need not be those that were added: part of a window leaves the rest, and an ordinary
 * context may be denied a part, too. Nothing moves: pages that are on the device stay there
 * until somebody else wants them. All ranges together cost one invalidation, if the driver has
 * tlb_invl_coalesced.
 *
 * -ENOENT: a part of a range is not seen, and nothing has changed; -ENOMEM, or an error of the
 * driver's: all windows are still there, though it may have to fault for what they show.
 * Stop the device's accesses to the ranges first: they are errors from then on.
 */
GM_API int gm_window_remove(struct gm_context *ctx, const struct gm_window *ranges, unsigned int n);

/**
 * gm_context_set_mode - another mode than the context's, for a part of what it sees
 * @mode: GM_EXCLUSIVE or GM_REPLICATE
 *
 * With GM_REPLICATE what the device has of [va, va+len) comes home first. -ENOENT: not all of
 * it is seen; -EOPNOTSUPP: the driver has no pmap_enter_host; -EINVAL, -ENOMEM; or why a page
 * could not be brought home: the mode is as it was.
 */
GM_API int gm_context_set_mode(struct gm_context *ctx, uint64_t va, uint64_t len,
			       enum gm_mode mode);

/** gm_context_pmap - what pmap_create, or pmap_share, returned for this context */
GM_API void *gm_context_pmap(const struct gm_context *ctx);
/** gm_context_as - the address space that it is attached to */
GM_API struct gm_as *gm_context_as(const struct gm_context *ctx);

/**
 * gm_dev_fault - a device touched a page it has no (sufficient) translation for
 * @va: the device's address, see gm_window_add()
 * @access: GM_READ or GM_WRITE; GM_WRITE | GM_ATOMIC: for an atomic operation, by a link that knows
 * none
 *
 * With GM_ATOMIC host memory that is mapped in place (GM_REPLICATE) becomes the device's alone:
 * nobody else has it mapped, and pmap_enter_host() is told GM_ATOMIC, until the CPU or another
 * device touches it. Elsewhere it means nothing more than GM_WRITE: what is on the device is its
 * alone. A driver whose link does know atomic operations never says it, one whose
 * link does not has no cookie: nothing in a table that is shared is for one device alone.
 *
 * When it returns 0 the page is mapped and the access can be replayed (and will
 * fault again in the rare case that the page was taken away meanwhile).
 * -EFAULT: nothing is mapped there, or the context does not see it; -EACCES: not writable;
 * -ENOSPC: device memory is full of pinned pages; -EHWPOISON: its bytes are gone, see
 * gm_dev_poison(), or those of a page that shares the device's base page; -EADDRNOTAVAIL: the
 * device's base page is not mapped as a whole by one mapping, or out of step with the object;
 * -ENODEV: the device is gone, see gm_dev_remove(); -EBUSY: all else is in use by other faults, or
 * somebody else holds the page for a time (thrash_hold_us of struct gm_dev_tunables): replay
 * later, for longer than that. Must not be called from an operation of struct gm_mmu, nor once the context is
 * being detached: stop the device's faults before gm_as_detach() or gm_as_destroy().
 */
GM_API int gm_dev_fault(struct gm_context *ctx, uint64_t va, uint32_t access);

/**
 * gm_dev_accessed - the device's access counters have counted uses of what it has
 * @va: the device's address, as of gm_dev_fault(); @len: bytes; @times: how often, at least 1
 *
 * A hint, for hardware that counts: the device's policy is told, gm_policy(3), of the pages of the
 * range that are on the device, and their blocks are hot, as by a fault. Of pages that the device
 * has mapped in place in host memory @times is how often 64 bytes of each were used since
 * it was last said: struct gm_stats sums it up, and with GM_MMU_COUNTS the policy is asked whether
 * they are to come to the device, by now; they have come when this returns. A block that is being
 * worked on at the moment is passed over. -EINVAL: nothing of it can be an address; -EFAULT: a
 * part is not mapped, or the context does not see it; what is before that was told. Takes
 * locks as gm_dev_fault(), and may sleep: not from an interrupt, nor an operation of struct gm_mmu.
 */
GM_API int gm_dev_accessed(struct gm_context *ctx, uint64_t va, uint64_t len, uint64_t times);

struct gm_lookup {
	size_t size;	/* of this struct, set by the caller */
	int32_t node;	/* a device's node, GM_NODE_HOST or GM_NODE_NONE */
	uint32_t flags; /* GM_PAGE_* */
	uint64_t pa;	/* the device's address of the byte at va, or GM_NO_ADDRESS */
	uint64_t cpu;	/* the CPU's address of it, if it is on a device; or GM_NO_ADDRESS */
	uint64_t len;	/* bytes from va on that follow there, within the block and the mapping */
};

/**
 * gm_as_lookup - from an address to the frame that has its bytes
 *
 * For a driver that sets up hardware by hand, or looks into what it sees. The answer holds
 * only as long as the page stays, which a pmap_release() of it ends; pin it (GM_PIN) or
 * hold it by the host's own means if it must. -EFAULT: not mapped. Takes the locks of a
 * fault: not from an operation of struct gm_mmu.
 */
GM_API int gm_as_lookup(struct gm_as *as, uint64_t va, struct gm_lookup *info);

struct gm_fault {
	uint64_t va;
	uint32_t access;
	int32_t err; /* out: as gm_dev_fault() */
};

/**
 * gm_dev_fault_batch - service a buffer of faults
 *
 * Sorts @faults by address; each gets its own error. Returns the number that
 * failed. Faults of one block are serviced together. @faults is no managed memory.
 */
GM_API unsigned int gm_dev_fault_batch(struct gm_context *ctx, struct gm_fault *faults,
				       unsigned int n);

/* ----------------------------------------------------------------- recording */

/* Not 0: accesses are recorded (gm_record_start()); another number for each recording. Atomic. */
GM_API extern uint32_t gm_recording;

/**
 * gm_record_access - the device has accessed the page of @va
 * @va: the device's address
 * @access: GM_READ, GM_WRITE, or GM_WRITE | GM_ATOMIC
 * @lines: how many pieces of 64 bytes of the page it has used; the one that the same processor
 *	has used just before is not counted again, so this may be 0
 *
 * Optional, for a device that can tell; nobody else sees an access that does not fault. Told
 * once the access has been made, and before anybody learns that it was; asked gm_recording first.
 * An access to the piece that the same processor has just accessed need not be told. Called with no
 * lock held that a fault takes; it may wait for a disk. User host only.
 */
GM_API void gm_record_access(struct gm_context *ctx, uint64_t va, uint32_t access, uint32_t lines);

#ifdef __cplusplus
}
#endif
#endif
