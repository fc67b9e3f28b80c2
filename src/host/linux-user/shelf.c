// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The shelf: where the page table of a block goes while the CPU may not use it.
 *
 * Theory. To revoke 2 MiB by MADV_DONTNEED the kernel touches its record of each of 512 pages,
 * and again to map them: 65 us and 130 us, where the copy takes 105. But the entries that are
 * dropped are those that are made later, if the pages are retained (gm_retain(3)). So they are
 * moved to another mapping of the same bytes of the same file and back, by mremap() with
 * MREMAP_DONTUNMAP: 10 us and 6 us, for the pages as such are not touched. Where they come from
 * stays mapped and armed, and is empty: that is what revoked means. Nobody but this file knows
 * the addresses of the shelf; what it has there need not be right, for if a page is freed, or
 * reclaimed, the kernel takes its entry away wherever it is, and one that lacks costs a fault.
 *
 * The shelf is reserved for all of an object when a block is first revoked as a whole, and has a
 * slot a block, which once used costs a page table, 4 KiB:
 *
 *	UNKNOWN		what is on it, if anything, is not worth to be put back
 *	MAPPED		a region has all pages of the block mapped, so that its page table is full
 *	SHELVED		on it is what a region had mapped, which may not have been all
 *	FULL		the same, and it was all
 *
 * A slot remembers the region too, but some bits of its address only: to be mistaken is to find
 * pages unmapped, which CPU faults map one by one. What may not be full when it is put back is
 * filled up by MADV_POPULATE_READ before the block is armed again; all its pages exist.
 *
 * What is put back is a mapping of its own, not the one that was there; so it must be like that.
 * It is not done, and the block mapped and revoked as any other piece is,
 *
 *	if there is no armed mapping of the application's any more, or several (it may call
 *	munmap(), mprotect() and madvise() as it likes): UFFDIO_CONTINUE of one page and of all
 *	tells
 *	if it is not readable and writable, as what is shelved is: MADV_POPULATE_WRITE of that
 *	page tells
 *	if it is locked, for mremap() undoes that: msync() with MS_INVALIDATE tells
 *	if address space is limited: where mremap() gives up after it has unmapped its target, as
 *	it does at that limit, the target is to be mapped again, and that would be refused too
 *	if some of its pages are to be mapped for reading only (map.c)
 *
 * From when it is put back until it is armed again, a page that lacks is the kernel's to map:
 * from the file, where the bytes are, for the block is home and locked. If it cannot be armed the
 * region says so, and nothing of it is revoked before it is (map.c).
 *
 * A core dump has what is on the shelf as it has the application's mapping, by the same flags.
 *
 * mremap() drops the registration with userfaultfd after it has tried to merge mappings, so
 * neighbouring slots are merged by another advice (MADV_RANDOM means nothing to shmem), and those
 * of the application when they are armed. A run of slots is a mapping between two others, and a
 * process may have 65530, so there is a bound to the number of runs.
 *
 * Locking. A slot is its block's, which the core has locked. shelf->lock over nr_runs and the
 * making of a slot, which looks at its neighbours. An address space's fail_lock over the way to
 * the shelf, so that poison (fail.c) is either wiped before or found in the application's
 * mapping.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "user.h"

#define MAX_RUNS 4096U /* of a process */

enum { UNKNOWN, MAPPED, SHELVED, FULL };
#define STATE 0x03U
#define MADE 0x04U /* it is a mapping of the object, not a part of the reservation */
#define LOST 0x08U /* mremap() has failed: whose addresses these are is not known */
#define WHOSE 0xf0U

struct gm_user_shelf {
	char *base;
	uint64_t blocks;
	pthread_mutex_t lock;
	uint32_t runs; /* of slots that are made [lock] */
	uint8_t slot[];
};

static uint32_t nr_runs; /* of all, atomic */

static void *pointer(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

static uint8_t slot_get(const struct gm_user_shelf *s, uint64_t i)
{
	return __atomic_load_n(&s->slot[i], __ATOMIC_RELAXED);
}

static void slot_set(struct gm_user_shelf *s, uint64_t i, unsigned int bits)
{
	__atomic_store_n(&s->slot[i], (uint8_t)bits, __ATOMIC_RELAXED);
}

static unsigned int whose(const struct gm_region *r)
{
	return (unsigned int)((uintptr_t)r * 0x9e3779b97f4a7c15ULL >> 56) & WHOSE;
}

static void set_state(struct gm_user_shelf *s, uint64_t i, const struct gm_region *r,
		      unsigned int state)
{
	slot_set(s, i, (slot_get(s, i) & (MADE | LOST)) | whose(r) | state);
}

/* The state, if it is about this region. */
static unsigned int state_of(const struct gm_user_shelf *s, uint64_t i, const struct gm_region *r)
{
	unsigned int slot = slot_get(s, i);

	return (slot & WHOSE) == whose(r) ? slot & STATE : UNKNOWN;
}

static void *slot_addr(const struct gm_user_shelf *s, uint64_t i)
{
	return s->base + i * GM_HUGE;
}

/* ------------------------------------------------------------------------------ life */

static size_t shelf_size(uint64_t blocks)
{
	return sizeof(struct gm_user_shelf) + blocks;
}

/* Aligned, so that page tables can be moved as a whole. */
static char *reserve(uint64_t blocks)
{
	uint64_t size = blocks * GM_HUGE, va;

	if (gm_os_va_reserve(NULL, size, 0, &va))
		return NULL;
	if (!madvise(pointer(va), size, MADV_DONTFORK) &&
	    !madvise(pointer(va), size, MADV_DONTDUMP))
		return pointer(va);
	munmap(pointer(va), size);
	return NULL;
}

static void shelf_free(struct gm_user_shelf *s)
{
	uint64_t from = 0;

	for (uint64_t i = 0; i <= s->blocks; i++) {
		if (i < s->blocks && !(slot_get(s, i) & LOST))
			continue;
		if (i > from)
			munmap(slot_addr(s, from), (i - from) * GM_HUGE);
		from = i + 1;
	}
	__atomic_fetch_sub(&nr_runs, s->runs, __ATOMIC_RELAXED);
	pthread_mutex_destroy(&s->lock);
	gm_os_free(s, shelf_size(s->blocks));
}

static struct gm_user_shelf *shelf_new(uint64_t size)
{
	uint64_t blocks = size / GM_HUGE;
	struct gm_user_shelf *s = gm_os_alloc(shelf_size(blocks));

	if (!s)
		return NULL;
	s->base = reserve(blocks);
	if (!s->base) {
		gm_os_free(s, shelf_size(blocks));
		return NULL;
	}
	s->blocks = blocks;
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

/* Blocks of an object are locked one by one, so two may come at once. */
static struct gm_user_shelf *shelf_get(struct gm_user_object *o)
{
	struct gm_user_shelf *s = __atomic_load_n(&o->shelf, __ATOMIC_ACQUIRE), *first = NULL;

	if (s)
		return s;
	s = shelf_new(o->size);
	if (!s)
		return NULL;
	if (!__atomic_compare_exchange_n(&o->shelf, &first, s, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE)) {
		shelf_free(s);
		return first;
	}
	gm_backing_count((int64_t)shelf_size(s->blocks));
	return s;
}

void gm_shelf_destroy(struct gm_user_object *o)
{
	if (!o->shelf)
		return;
	gm_backing_count(-(int64_t)shelf_size(o->shelf->blocks));
	shelf_free(o->shelf);
	o->shelf = NULL;
}

/* May the slot be used: is it made, or may it be? */
static bool slot_make(struct gm_user_shelf *s, uint64_t i)
{
	unsigned int slot = slot_get(s, i), joins = 0;
	bool may;

	if (slot & (MADE | LOST))
		return !(slot & LOST);
	pthread_mutex_lock(&s->lock);
	joins += i && (slot_get(s, i - 1) & MADE);
	joins += i + 1 < s->blocks && (slot_get(s, i + 1) & MADE);
	may = joins || __atomic_load_n(&nr_runs, __ATOMIC_RELAXED) < MAX_RUNS;
	if (may) {
		s->runs += 1 - joins;
		__atomic_fetch_add(&nr_runs, 1 - joins, __ATOMIC_RELAXED);
		slot_set(s, i, slot | MADE);
	}
	pthread_mutex_unlock(&s->lock);
	return may;
}

/* --------------------------------------------------------------------- there and back */

/* Is [va, va+len) a block of its object and of the address space, and nothing special? */
static bool is_plain(const struct gm_region *r, uint64_t va, uint64_t len)
{
	const struct gm_user_object *o = gm_user_object(r->obj);
	struct rlimit limit;

	return len == GM_HUGE && va % GM_HUGE == 0 && (r->offset + (va - r->va)) % GM_HUGE == 0 &&
	       !o->place && !o->known && r->prot == (GM_READ | GM_WRITE) &&
	       !getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur == RLIM_INFINITY &&
	       !msync(pointer(va), len, MS_INVALIDATE);
}

static bool move(void *from, void *to)
{
	return mremap(from, GM_HUGE, GM_HUGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
		      to) == to;
}

/* mremap() has failed. There may be nothing at the slot any more, or somebody else's by now. */
static void slot_mend(struct gm_user_shelf *s, uint64_t i)
{
	void *at = slot_addr(s, i);
	void *p = mmap(at, GM_HUGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != at)
		slot_set(s, i, (slot_get(s, i) & MADE) | LOST);
	else if (madvise(p, GM_HUGE, MADV_DONTFORK))
		slot_set(s, i, (slot_get(s, i) & MADE) | UNKNOWN); /* a child has addresses less */
}

/* Block @i, of which something is mapped at @va. False: it has to be unmapped otherwise. */
static bool put_on(struct gm_user_shelf *s, struct gm_region *r, uint64_t i, uint64_t va)
{
	struct gm_user_as *u = gm_user_as(r->as);
	unsigned int state = state_of(s, i, r);
	bool moved;

	/* What is there may be better than what the region has; else to drop it takes as long. */
	if ((slot_get(s, i) & STATE) >= SHELVED || !slot_make(s, i))
		return false;
	pthread_mutex_lock(&u->fail_lock);
	gm_fail_heal_locked(u, va, GM_HUGE);
	moved = move(pointer(va), slot_addr(s, i));
	pthread_mutex_unlock(&u->fail_lock);
	if (!moved) {
		slot_mend(s, i);
		return false;
	}
	/* The application may have changed its rights; what these were is found out later. */
	if (mprotect(slot_addr(s, i), GM_HUGE, PROT_READ | PROT_WRITE))
		state = UNKNOWN;
	else
		state = state == MAPPED ? FULL : SHELVED;
	madvise(slot_addr(s, i), GM_HUGE, MADV_RANDOM); /* or they stay two mappings */
	set_state(s, i, r, state);
	return true;
}

/* Revoke [va, va+len) by putting it on the shelf. False: nothing was done. Block locked. */
bool gm_shelf_put(struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_object *o = gm_user_object(r->obj);
	struct gm_user_shelf *s = __atomic_load_n(&o->shelf, __ATOMIC_ACQUIRE);
	uint64_t off = r->offset + (va - r->va), i = off / GM_HUGE;

	if (!is_plain(r, va, len)) {
		if (s && i < s->blocks && (slot_get(s, i) & STATE) == MAPPED)
			set_state(s, i, r, UNKNOWN);
		return false;
	}
	s = shelf_get(o);
	return s && put_on(s, r, i, va);
}

/* Does the kernel's answer to UFFDIO_CONTINUE say that all of it is one armed mapping? */
static bool is_armed(const struct gm_user_as *u, uint64_t va, uint64_t len)
{
	struct uffdio_continue c = { .range = { .start = va, .len = len } };

	return !ioctl(u->uffd.fd, UFFDIO_CONTINUE, &c) || errno == EEXIST;
}

/*
 * Is what the application has at @va what the host has mapped there, as far as can be told? One
 * page is mapped by this; but for that one, to map all is refused, once it is known to be one
 * mapping. If so it is not armed any more: then the last question cannot end in a fault that
 * waits for us.
 */
static bool disarm(const struct gm_user_as *u, uint64_t va)
{
	struct uffdio_range range = { .start = va, .len = GM_HUGE };

	return is_armed(u, va, GM_PAGE) && is_armed(u, va, GM_HUGE) &&
	       !ioctl(u->uffd.fd, UFFDIO_UNREGISTER, &range);
}

static bool is_writable(uint64_t va)
{
	return !madvise(pointer(va), GM_PAGE, MADV_POPULATE_WRITE);
}

/*
 * mremap() has failed. Where there is nothing at the application's addresses any more they are
 * mapped again; where there is something it is what was there.
 */
static void app_mend(struct gm_region *r, uint64_t va)
{
	void *p = mmap(pointer(va), GM_HUGE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED_NOREPLACE, gm_user_object(r->obj)->mem.fd,
		       (off_t)(r->offset + (va - r->va)));

	if (p == pointer(va))
		madvise(p, GM_HUGE, MADV_DONTFORK);
	else if (errno != EEXIST)
		gm_os_bug(__FILE__, __LINE__, "a part of managed memory is lost");
}

/* Disarmed. False: something is there, but not what was on the shelf. */
static bool put_back(struct gm_user_shelf *s, struct gm_region *r, uint64_t i, uint64_t va)
{
	bool full = (slot_get(s, i) & STATE) == FULL;

	if (!is_writable(va))
		return false;
	if (!move(slot_addr(s, i), pointer(va))) {
		set_state(s, i, r, UNKNOWN);
		app_mend(r, va);
		return false;
	}
	madvise(pointer(va), GM_HUGE, MADV_NORMAL);
	full = full || !madvise(pointer(va), GM_HUGE, MADV_POPULATE_READ);
	set_state(s, i, r, full ? MAPPED : UNKNOWN);
	return true;
}

/* Map [va, va+len), which exists. False: it is to be mapped otherwise. Block locked. */
bool gm_shelf_get(struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_shelf *s = __atomic_load_n(&gm_user_object(r->obj)->shelf, __ATOMIC_ACQUIRE);
	uint64_t i = (r->offset + (va - r->va)) / GM_HUGE;
	bool done;

	if (!s || len != GM_HUGE || i >= s->blocks || state_of(s, i, r) < SHELVED)
		return false;
	if (!is_plain(r, va, len) || !disarm(gm_user_as(r->as), va))
		return false;
	done = put_back(s, r, i, va);
	gm_map_rearm(r, va, len);
	return done;
}

/* All of [va, va+len) has been mapped by other means: what is on the shelf was another region's. */
void gm_shelf_mapped(struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_shelf *s = __atomic_load_n(&gm_user_object(r->obj)->shelf, __ATOMIC_ACQUIRE);
	uint64_t off = r->offset + (va - r->va), i = off / GM_HUGE;

	if (s && len == GM_HUGE && off % GM_HUGE == 0 && i < s->blocks)
		set_state(s, i, r, MAPPED);
}

/* Pages of [off, off+len) are freed. Blocks locked. */
void gm_shelf_forget(struct gm_user_object *o, uint64_t off, uint64_t len)
{
	struct gm_user_shelf *s = __atomic_load_n(&o->shelf, __ATOMIC_ACQUIRE);

	if (!s)
		return;
	for (uint64_t i = off / GM_HUGE; i * GM_HUGE < off + len && i < s->blocks; i++)
		set_state(s, i, NULL, UNKNOWN);
}
