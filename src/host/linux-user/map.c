// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The CPU's mappings.
 *
 * A region is a MAP_SHARED mapping of its object's memfd. It begins like any other
 * shmem mapping: the kernel fills its pages, and memory no device has seen costs what
 * plain mmap costs. It is armed block by block, by registering the block with
 * userfaultfd for MISSING (the page does not exist) and MINOR (it exists and is not
 * mapped): from then on nothing is mapped but by UFFDIO_CONTINUE. Pages are taken
 * away by MADV_DONTNEED, which drops the page table's entries, not the pages; of a whole block
 * the entries are kept elsewhere and put back, where that can be (shelf.c).
 *
 * The kernel drops entries of its own accord too, when it reclaims a page; so a
 * fault may come for a page that the core has mapped, and mapping it again is right.
 * A page that has only been read it drops as a whole: there are no bytes in it but
 * zeros, and it is clean, so there is nothing to swap out. The core still knows the
 * page as one that exists, and rightly so: to map it is to make it again.
 *
 * Registering splits the kernel's own record of the mapping (VMA), and a process may
 * have 65530 of these. A region with more than MAX_RUNS separate armed pieces, or
 * one whose registration is refused for want of VMAs, is armed whole: one VMA again.
 *
 * A region's blocks are its object's, of 2 MiB of offset, cut at the region's ends;
 * the bitmap has a bit for each. A bit that is set stays right when the region is cut
 * to a part, and a split copies the bits, so that a piece is armed where its bit says
 * so. hugetlb regions are armed whole when they are mapped (see backing.c).
 *
 * A region of memory that is registered in place is armed in the same way; all else about
 * it is in place.c.
 *
 * For reading only. UFFDIO_CONTINUE can map a page write-protected, so that a write faults (Linux
 * 6.4), where the range is registered for WP as well. A region is so as a whole, from the first
 * time on that this is asked of it. To map such a page for writing takes the protection off. An
 * older kernel is recognised when it refuses; then, and for memory that is registered in place
 * or of huge pages, the core does without (replica.c).
 *
 * Locking. A region's lock guards its runs and the setting of bits; bits and `whole`
 * are read without it, for a bit that is seen set was set after the registration.
 * That the region stays where it is while it is armed, mapped or revoked is the
 * core's affair (the address space or the object's list of maps is locked).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "user.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#ifndef UFFDIO_CONTINUE_MODE_WP
#define UFFDIO_CONTINUE_MODE_WP 2
#endif

#define MAX_RUNS 32U

struct gm_user_region {
	pthread_mutex_t lock;
	bool whole;	   /* armed from end to end */
	bool protects;	   /* and so that pages can be mapped for reading only */
	bool lapsed;	   /* a part that was armed may be so no more; atomic */
	unsigned int runs; /* of armed blocks, at most [lock] */
	uint64_t first;	   /* the object's block that bit 0 stands for */
	uint64_t armed[];  /* a bit a block */
};

static uint64_t block_of(uint64_t off)
{
	return off / GM_BLOCK_SIZE;
}

static uint64_t to_offset(const struct gm_region *r, uint64_t va)
{
	return r->offset + (va - r->va);
}

static int prot_of(uint32_t prot)
{
	return (prot & GM_READ ? PROT_READ : 0) | (prot & GM_WRITE ? PROT_WRITE : 0);
}

/* ------------------------------------------------------------------- map and unmap */

static uint64_t nr_blocks(const struct gm_region *r)
{
	return block_of(r->offset + r->len - 1) - block_of(r->offset) + 1;
}

static struct gm_user_region *new_host(const struct gm_region *r)
{
	struct gm_user_region *h = calloc(1, sizeof(*h) + (nr_blocks(r) + 63) / 64 * 8);

	if (!h)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	h->first = block_of(r->offset);
	return h;
}

static void free_host(struct gm_user_region *h)
{
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static int map_at(struct gm_region *r, uint64_t va, int flags)
{
	int fd = gm_user_object(r->obj)->mem.fd;
	void *p;

	p = mmap((void *)(uintptr_t)va, r->len, prot_of(r->prot), MAP_SHARED | flags, fd,
		 (off_t)r->offset);
	if (p != MAP_FAILED) {
		r->va = (uint64_t)(uintptr_t)p;
		return 0;
	}
	return errno == EEXIST ? -EEXIST : errno == ENOMEM ? -ENOMEM : -EINVAL;
}

/*
 * Anywhere, but so that address and offset agree in their place within a block: then
 * a block of the object is one of the address space, for the CPU's page table and
 * for devices' large leaves, as far as the region has room for them. Of what is smaller than
 * a block, in a device's base page.
 */
static int map_anywhere(struct gm_region *r)
{
	uint64_t va;
	int err;

	if (gm_map_align(r) == GM_PAGE)
		return map_at(r, 0, 0);
	err = gm_os_va_reserve(r->as, r->len, r->offset, &va);
	if (err)
		return err;
	err = map_at(r, va, MAP_FIXED);
	if (err)
		munmap((void *)(uintptr_t)va, r->len);
	return err;
}

static int arm_whole(struct gm_region *r, uint64_t more);

int gm_os_region_map(struct gm_region *r, bool fixed)
{
	struct gm_user_region *h = new_host(r);
	int err;

	if (!h)
		return -ENOMEM;
	if (gm_user_object(r->obj)->place) {
		err = gm_place_map(r);
		if (err)
			goto err_host;
		r->host = h;
		return 0;
	}
	err = fixed ? map_at(r, r->va, MAP_FIXED_NOREPLACE) : map_anywhere(r);
	if (err)
		goto err_host;
	r->host = h;
	err = -ENOMEM;
	if (madvise((void *)(uintptr_t)r->va, r->len, MADV_DONTFORK))
		goto err_map;
	if (gm_os_backing_granule(r->obj) > GM_PAGE) {
		err = arm_whole(r, 0);
		if (err)
			goto err_map;
	}
	err = gm_ranges_add(gm_user_as(r->as), r->va, r->len);
	if (err)
		goto err_map;
	return 0;

err_map:
	munmap((void *)(uintptr_t)r->va, r->len);
	r->host = NULL;
err_host:
	free_host(h);
	return err;
}

int gm_os_region_unmap(struct gm_region *r, uint64_t va, uint64_t len)
{
	gm_fail_unmap(gm_user_as(r->as), va, len);
	if (gm_user_object(r->obj)->place)
		return gm_ranges_give_back(gm_user_as(r->as), va, len);
	return gm_ranges_unmap(va, len);
}

int gm_os_va_reserve(struct gm_as *as, uint64_t len, uint64_t like, uint64_t *va)
{
	uint64_t room = len + GM_BLOCK_SIZE, base;
	void *p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)as;
	if (p == MAP_FAILED)
		return -ENOMEM;
	base = (uint64_t)(uintptr_t)p;
	*va = base + ((like - base) & (GM_BLOCK_SIZE - 1));
	if (*va > base)
		munmap(p, *va - base);
	if (base + room > *va + len)
		munmap((void *)(uintptr_t)(*va + len), base + room - (*va + len));
	return 0;
}

void gm_os_va_release(struct gm_as *as, uint64_t va, uint64_t len)
{
	(void)as;
	munmap((void *)(uintptr_t)va, len);
}

static unsigned int count_runs(const struct gm_user_region *h, uint64_t n)
{
	unsigned int runs = 0;
	bool armed;

	for (uint64_t i = 0; i < n; i += gm_bits_run(h->armed, i, n - i, &armed)) {
		gm_bits_run(h->armed, i, 1, &armed);
		runs += armed;
	}
	return runs;
}

int gm_os_region_split(struct gm_region *low, struct gm_region *high)
{
	struct gm_user_region *l = low->host, *h = new_host(high);
	uint64_t shift, n = nr_blocks(high);
	bool armed;

	if (!h)
		return -ENOMEM;
	pthread_mutex_lock(&l->lock);
	h->whole = l->whole;
	h->protects = l->protects;
	h->lapsed = l->lapsed;
	shift = h->first - l->first;
	for (uint64_t i = 0, run; i < n; i += run) {
		run = gm_bits_run(l->armed, shift + i, n - i, &armed);
		if (armed)
			gm_bits_set(h->armed, i, run);
	}
	h->runs = count_runs(h, n);
	l->runs = count_runs(l, nr_blocks(low));
	pthread_mutex_unlock(&l->lock);
	high->host = h;
	return 0;
}

void gm_os_region_free(struct gm_region *r)
{
	free_host(r->host);
	r->host = NULL;
}

int gm_os_region_protect(struct gm_region *r, uint64_t va, uint64_t len, uint32_t prot)
{
	(void)r;
	return mprotect((void *)(uintptr_t)va, len, prot_of(prot)) ? -ENOMEM : 0;
}

/* ------------------------------------------------------------------------------- arm */

static bool protects(const struct gm_region *r)
{
	const struct gm_user_region *h = r->host;

	return __atomic_load_n(&h->protects, __ATOMIC_ACQUIRE);
}

static int do_register(const struct gm_region *r, uint64_t va, uint64_t len, uint64_t more)
{
	struct uffdio_register reg = {
		.range = { .start = va, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | more,
	};

	if (gm_user_object(r->obj)->place)
		return gm_place_arm(r, va, len);
	return ioctl(gm_user_as(r->as)->uffd.fd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

static int arm_whole(struct gm_region *r, uint64_t more)
{
	struct gm_user_region *h = r->host;
	int err = do_register(r, r->va, r->len, more);

	if (err)
		return err == -EINVAL ? -EOPNOTSUPP : err == -EBUSY ? -EBUSY : -ENOMEM;
	__atomic_store_n(&h->whole, true, __ATOMIC_RELEASE);
	return 0;
}

/* Blocks [i, i + n) of the bitmap; none is armed. Region locked. */
static int arm_blocks(struct gm_region *r, uint64_t i, uint64_t n)
{
	struct gm_user_region *h = r->host;
	uint64_t begin = (h->first + i) * GM_BLOCK_SIZE, end = begin + n * GM_BLOCK_SIZE;
	uint64_t last = block_of(r->offset + r->len - 1) - h->first;
	bool before = false, after = false;

	if (i)
		gm_bits_run(h->armed, i - 1, 1, &before);
	if (i + n <= last)
		gm_bits_run(h->armed, i + n, 1, &after);
	if (h->runs + 1 > MAX_RUNS + before + after)
		return arm_whole(r, 0);
	begin = begin > r->offset ? begin : r->offset;
	end = end < r->offset + r->len ? end : r->offset + r->len;
	if (do_register(r, r->va + (begin - r->offset), end - begin, 0))
		return arm_whole(r, 0);
	gm_bits_set(h->armed, i, n);
	h->runs = h->runs + 1 - before - after;
	return 0;
}

/*
 * Again, once something else was mapped there (shelf.c). What cannot be armed now will be before
 * any of the region is revoked.
 */
void gm_map_rearm(struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_region *h = r->host;

	pthread_mutex_lock(&h->lock); /* or protect_region() might come between */
	if (do_register(r, va, len, protects(r) ? UFFDIO_REGISTER_MODE_WP : 0))
		__atomic_store_n(&h->lapsed, true, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&h->lock);
}

/* All that the region had armed is. */
static int mend_lapsed(struct gm_region *r)
{
	struct gm_user_region *h = r->host;
	int err = 0;

	if (!__atomic_load_n(&h->lapsed, __ATOMIC_ACQUIRE))
		return 0;
	pthread_mutex_lock(&h->lock);
	/* First, for another block may lapse meanwhile. */
	if (__atomic_exchange_n(&h->lapsed, false, __ATOMIC_ACQ_REL)) {
		err = arm_whole(r, protects(r) ? UFFDIO_REGISTER_MODE_WP : 0);
		if (err)
			__atomic_store_n(&h->lapsed, true, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&h->lock);
	return err ? -ENOMEM : 0;
}

int gm_os_cpu_arm(struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_region *h = r->host;
	uint64_t i = block_of(to_offset(r, va)) - h->first;
	uint64_t end = block_of(to_offset(r, va + len - 1)) - h->first + 1;
	bool armed;
	int err = 0;

	if (__atomic_load_n(&h->whole, __ATOMIC_ACQUIRE) ||
	    (gm_bits_run(h->armed, i, end - i, &armed) == end - i && armed))
		return 0;
	pthread_mutex_lock(&h->lock);
	while (i < end && !err && !h->whole) {
		uint64_t n = gm_bits_run(h->armed, i, end - i, &armed);

		if (!armed)
			err = arm_blocks(r, i, n);
		i += n;
	}
	pthread_mutex_unlock(&h->lock);
	return err;
}

/* -------------------------------------------------------------------- map and revoke */

/* What is mapped for reading only can be written; who waits to do so is woken. */
static int unprotect(const struct gm_user_as *u, uint64_t va, uint64_t len)
{
	struct uffdio_writeprotect wp = { .range = { .start = va, .len = len } };

	while (ioctl(u->uffd.fd, UFFDIO_WRITEPROTECT, &wp)) {
		if (errno != EAGAIN) /* then it is tried again */
			return errno == ENOMEM ? -ENOMEM : -EIO;
		sched_yield();
	}
	return 0;
}

/*
 * Pages that are mapped already stop the kernel; they are stepped over, and whoever
 * waits for one is woken, for it may have queued just before it was mapped. Those that
 * the kernel has dropped (EFAULT) are made, once: made so, a page is not clean.
 */
static int map_pages(struct gm_region *r, uint64_t va, uint64_t len, uint64_t mode)
{
	struct gm_user_as *u = gm_user_as(r->as);
	uint64_t at = va, end = va + len, bus, got;
	bool passed = false, made = false;
	int err = 0;

	if (gm_user_object(r->obj)->place)
		return gm_place_cpu_map(r, va, len);
	if (!mode && protects(r))
		err = unprotect(u, va, len);
	while (at < end && !err) {
		struct uffdio_continue c = {
			.range = { .start = at, .len = end - at },
			.mode = mode,
		};

		if (!ioctl(u->uffd.fd, UFFDIO_CONTINUE, &c))
			break;
		if (c.mapped > 0) {
			at += (uint64_t)c.mapped;
		} else if (errno == EEXIST) {
			at += gm_os_backing_granule(r->obj);
			passed = true;
		} else if (errno == EAGAIN) {
			sched_yield(); /* the mappings are changing just now */
		} else if (errno == EINVAL && mode) {
			err = -EOPNOTSUPP;
		} else if (errno == EFAULT && !made) {
			err = gm_os_backing_get(r->obj, to_offset(r, at), end - at, false, &bus,
						&got);
			made = true;
		} else {
			/* It would fail again. */
			err = errno == ENOMEM ? -ENOMEM : -EIO;
		}
	}
	if (passed && !u->inline_faults)
		gm_uffd_wake(u, va, len);
	if (!err)
		gm_uffd_woken(va, len);
	return err;
}

/* From now on pages of the region can be mapped for reading only. */
static int protect_region(struct gm_region *r)
{
	struct gm_user_region *h = r->host;
	int err = 0;

	if (protects(r))
		return 0;
	pthread_mutex_lock(&h->lock);
	if (arm_whole(r, UFFDIO_REGISTER_MODE_WP))
		err = -EOPNOTSUPP;
	else
		__atomic_store_n(&h->protects, true, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&h->lock);
	return err;
}

int gm_os_cpu_map_read(struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_as *u = gm_user_as(r->as);
	int err;

	if (!(u->features & UFFD_FEATURE_WP_HUGETLBFS_SHMEM) || gm_user_object(r->obj)->place ||
	    gm_os_backing_granule(r->obj) > GM_PAGE)
		return -EOPNOTSUPP;
	gm_fail_heal(u, va, len);
	err = protect_region(r);
	return err ? err : map_pages(r, va, len, UFFDIO_CONTINUE_MODE_WP);
}

/* A piece that is armed. */
static int map_armed(struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_as *u = gm_user_as(r->as);
	int err;

	if (!protects(r) && gm_shelf_get(r, va, len)) {
		if (!u->inline_faults)
			gm_uffd_wake(u, va, len);
		gm_uffd_woken(va, len);
		return 0;
	}
	err = map_pages(r, va, len, 0);
	if (!err)
		gm_shelf_mapped(r, va, len);
	return err;
}

int gm_os_cpu_map(struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_region *h = r->host;
	uint64_t end = va + len;
	bool armed;
	int err = 0;

	gm_fail_heal(gm_user_as(r->as), va, len);
	if (__atomic_load_n(&h->whole, __ATOMIC_ACQUIRE))
		return map_armed(r, va, len);
	while (va < end && !err) {
		uint64_t off = to_offset(r, va);
		uint64_t n = GM_BLOCK_SIZE - off % GM_BLOCK_SIZE;

		n = n < end - va ? n : end - va;
		gm_bits_run(h->armed, block_of(off) - h->first, 1, &armed);
		if (armed) /* where it is not, the kernel maps them when they are touched */
			err = map_armed(r, va, n);
		va += n;
	}
	return err;
}

/* Drop what the page table has. _LOCKED: the application may have called mlock() or mlockall(). */
int gm_zap(uint64_t va, uint64_t len)
{
	return madvise((void *)(uintptr_t)va, len, MADV_DONTNEED_LOCKED) ? -errno : 0;
}

int gm_os_cpu_revoke(struct gm_region *r, uint64_t va, uint64_t len)
{
	int err;

	gm_fail_heal(gm_user_as(r->as), va, len);
	if (gm_user_object(r->obj)->place)
		return gm_place_revoke(r, va, len);
	err = mend_lapsed(r);
	if (err || (!protects(r) && gm_shelf_put(r, va, len)))
		return err;
	return gm_zap(va, len);
}

/* ------------------------------------------------------------------------- apertures */

/* userfaultfd maps no memory but the kernel's own. */
int gm_os_aperture_open(uint64_t cpu, uint64_t len)
{
	(void)cpu;
	(void)len;
	return -EOPNOTSUPP;
}

void gm_os_aperture_close(uint64_t cpu, uint64_t len)
{
	(void)cpu;
	(void)len;
}

bool gm_os_aperture_idle(uint64_t cpu, uint64_t len)
{
	(void)cpu;
	(void)len;
	return true;
}

/* Regions are all there is. */
int gm_os_object_revoke(struct gm_object *obj, uint64_t off, uint64_t len)
{
	(void)obj;
	(void)off;
	(void)len;
	return -EOPNOTSUPP;
}

int gm_os_cpu_map_aperture(struct gm_region *r, uint64_t va, uint64_t len, uint64_t cpu)
{
	(void)r;
	(void)va;
	(void)len;
	(void)cpu;
	return -EOPNOTSUPP;
}
