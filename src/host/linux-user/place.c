// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory of the application's, registered in place: its host backing.
 *
 * Theory. There is no second mapping through which gmem could reach private anonymous
 * memory: the bytes are the application's pages. So an object of this kind has a staging
 * area, addresses of gmem's own in place of the alias, and a page that is in host backing is
 * at one of two places. A bit says at which:
 *
 *	staged		in the staging area; the application's page is missing, and faults
 *	not staged	where the application has it; or missing there too: it reads as zero
 *
 * Going to a device. mremap(MREMAP_DONTUNMAP) moves the pages themselves to the staging area
 * and leaves the application's mapping behind, empty and armed: one step, after which no store
 * can reach them but by a fault (I3), without a copy, and huge pages stay huge. The copy engine
 * reads the staging area. So it never touches memory of the application's (I7), which might
 * fault, or be protected, or be gone. If the move to the device fails the pages are staged, and
 * come back when they are touched.
 *
 * Coming home. The copy engine writes to the staging area. UFFDIO_MOVE (Linux 6.8) puts the
 * pages in place as they are, huge ones included; UFFDIO_COPY does it where there is none, or
 * where a page cannot be moved because a child of fork() shares it. Both wake who waits.
 *
 * A retained host frame is one that the staging area keeps. A bit of a page on a device means
 * nothing but that: who brings it home writes the staging area first.
 *
 * A page in host backing that is missing in both places is one that the application has
 * dropped itself, by MADV_DONTNEED. It gets the zero page, which is what it asked for; a copy
 * engine finds zeros in the staging area. Of memory that it has unmapped without a word the
 * bytes are dropped when they come home: ENOENT says that it is not the armed mapping.
 *
 * What exists: /proc/self/pagemap says, for mincore() takes what is swapped out for absent.
 *
 * Locking. The core has locked the block whose pages these are; blocks share no word of a
 * bitmap. place->lock is over `armed`, which fork() reads (place_fork.c).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "user.h"

struct move_args {
	uint64_t dst, src, len, mode;
	int64_t moved;
};
#define IOC_MOVE _IOWR(UFFDIO, 0x05, struct move_args)

static uint64_t staging_of(const struct gm_user_object *o)
{
	return (uint64_t)(uintptr_t)o->alias;
}

static void *pointer(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

/* ------------------------------------------------------------------------------ life */

static uint64_t bits_bytes(uint64_t size)
{
	return (size / GM_PAGE + 63) / 64 * 8;
}

/* As a block of the memory, a block of the staging area begins at a multiple of its size. */
static char *map_staging(uint64_t size)
{
	uint64_t room = size + GM_HUGE, base, va;
	void *p = mmap(NULL, room, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	base = (uint64_t)(uintptr_t)p;
	va = (base + GM_HUGE - 1) & ~(GM_HUGE - 1);
	if (va > base)
		munmap(p, va - base);
	if (base + room > va + size)
		munmap(pointer(va + size), base + room - va - size);
	/* NOHUGEPAGE: a huge page for a few pages that come home would stay when they have left. */
	if (!madvise(pointer(va), size, MADV_DONTFORK) &&
	    !madvise(pointer(va), size, MADV_DONTDUMP) &&
	    (!madvise(pointer(va), size, MADV_NOHUGEPAGE) || errno == EINVAL))
		return pointer(va);
	munmap(pointer(va), size);
	return NULL;
}

int gm_place_create(struct gm_object *obj)
{
	uint64_t size = gm_object_size(obj), bytes = bits_bytes(size);
	struct gm_user_object *o = calloc(1, sizeof(*o));
	struct gm_user_place *p = calloc(1, sizeof(*p));

	if (!o || !p)
		goto err_free;
	p->size = size;
	p->staged = gm_os_alloc(bytes);
	p->armed = gm_os_alloc(bytes);
	o->alias = map_staging(size);
	if (!p->staged || !p->armed || !o->alias)
		goto err_maps;
	pthread_mutex_init(&p->lock, NULL);
	o->mem.fd = -1;
	o->size = size;
	o->shift = 12;
	o->place = p;
	gm_backing_count((int64_t)(2 * bytes));
	*gm_object_host(obj) = o;
	return 0;

err_maps:
	if (o->alias)
		munmap(o->alias, size);
	gm_os_free(p->staged, bytes);
	gm_os_free(p->armed, bytes);
err_free:
	free(p);
	free(o);
	return -ENOMEM;
}

void gm_place_destroy(struct gm_object *obj)
{
	struct gm_user_object *o = gm_user_object(obj);
	struct gm_user_place *p = o->place;
	uint64_t bytes = bits_bytes(o->size);

	if (p->u)
		gm_place_unlist(p);
	munmap(o->alias, o->size);
	gm_os_free(p->staged, bytes);
	gm_os_free(p->armed, bytes);
	gm_backing_count(-(int64_t)(2 * bytes));
	pthread_mutex_destroy(&p->lock);
	free(p);
	free(o);
	*gm_object_host(obj) = NULL;
}

/* Into the address space; nothing of the mapping changes. Address space locked for writing. */
int gm_place_map(struct gm_region *r)
{
	struct gm_user_as *u = gm_user_as(r->as);
	struct gm_user_place *p = gm_user_object(r->obj)->place;
	int err;

	if (u->pagemap.fd < 0) {
		int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return errno == EMFILE || errno == ENFILE ? -ENOMEM : -EOPNOTSUPP;
		gm_fd_adopt(&u->pagemap, fd);
	}
	p->base = r->va - r->offset;
	p->begin = r->offset;
	err = gm_ranges_add_in_place(u, r->va, r->len);
	if (err)
		return err;
	p->u = u;
	gm_place_list(p);
	return 0;
}

/*
 * From now on the CPU faults where pages of [va, va+len) are missing. DONTFORK: a child that
 * was not made by fork() gets a signal there, not zeros where bytes are on a device.
 */
int gm_place_arm(const struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_place *p = gm_user_object(r->obj)->place;
	struct uffdio_register reg = {
		.range = { .start = va, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int err = 0;

	pthread_mutex_lock(&p->lock);
	if (gm_place_gate_shut())
		err = -EBUSY;
	else if (madvise(pointer(va), len, MADV_DONTFORK))
		err = -ENOMEM;
	else if (ioctl(p->u->uffd.fd, UFFDIO_REGISTER, &reg))
		err = errno == ENOMEM ? -ENOMEM : -EINVAL;
	if (!err)
		gm_bits_set(p->armed, (va - p->base) / GM_PAGE, len / GM_PAGE);
	else if (err != -EBUSY)
		madvise(pointer(va), len, MADV_DOFORK);
	pthread_mutex_unlock(&p->lock);
	return err;
}

/* ------------------------------------------------------------------------ what exists */

#define LOOK 64U /* pages; the stack may be a signal's */

static bool exists(uint64_t entry)
{
	return entry >> 62; /* present, or swapped out */
}

/*
 * From @off on, how many bytes (at most @len) the application's mapping has, or has not.
 * Where the kernel does not say, the answer is @otherwise, for one page.
 */
static uint64_t app_run(const struct gm_user_place *p, uint64_t off, uint64_t len, bool otherwise,
			bool *present)
{
	uint64_t entry[LOOK], i = 1, n = len / GM_PAGE < LOOK ? len / GM_PAGE : LOOK;
	ssize_t got = pread(p->u->pagemap.fd, entry, n * sizeof(entry[0]),
			    (off_t)((p->base + off) / GM_PAGE * sizeof(entry[0])));

	*present = otherwise;
	if (got < (ssize_t)sizeof(entry[0]))
		return GM_PAGE;
	n = (uint64_t)got / sizeof(entry[0]);
	*present = exists(entry[0]);
	while (i < n && exists(entry[i]) == *present)
		i++;
	return i * GM_PAGE;
}

static uint64_t some_run(const struct gm_user_place *p, uint64_t off, uint64_t len, bool *present)
{
	uint64_t run;

	*present = false;
	if (off < p->begin)
		return p->begin - off < len ? p->begin - off : len;
	run = gm_bits_run(p->staged, off / GM_PAGE, len / GM_PAGE, present) * GM_PAGE;
	return *present ? run : app_run(p, off, run, true, present);
}

uint64_t gm_place_run(struct gm_user_object *o, uint64_t off, uint64_t len, bool *present)
{
	uint64_t run = some_run(o->place, off, len, present), more;
	bool next;

	while (run < len) {
		more = some_run(o->place, off + run, len - run, &next);
		if (next != *present)
			break;
		run += more;
	}
	return run;
}

/* --------------------------------------------------------- out of the application's memory */

/*
 * Is all of [va, va+len) one mapping that a userfaultfd has? For such, of anonymous memory,
 * the ioctl is refused with EINVAL, for all else with ENOENT; it never does anything.
 */
bool gm_place_is_armed(const struct gm_user_as *u, uint64_t va, uint64_t len)
{
	struct uffdio_continue c = { .range = { .start = va, .len = len } };

	return ioctl(u->uffd.fd, UFFDIO_CONTINUE, &c) && errno == EINVAL;
}

/*
 * A kernel that has no memory for a move mostly says so before it unmaps the target (EEXIST:
 * all is as it was). Where it has unmapped it, the addresses are taken again at once.
 */
static void repair(uint64_t va, uint64_t len)
{
	void *p = mmap(pointer(va), len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == pointer(va)) {
		madvise(p, len, MADV_DONTFORK);
		madvise(p, len, MADV_DONTDUMP);
		madvise(p, len, MADV_NOHUGEPAGE);
	} else if (errno != EEXIST) {
		gm_os_bug(__FILE__, __LINE__, "a part of a staging area is lost");
	}
}

/*
 * Pages are moved with the protection that the application's memory had, and so stays the part of
 * the staging area where they were; mostly it is what it should be, and nothing is to be done.
 */
static int make_accessible(struct gm_user_object *o, uint64_t off, uint64_t len)
{
	if (!mprotect(o->alias + off, len, PROT_READ | PROT_WRITE))
		return 0;
	__atomic_store_n(&o->place->protected, true, __ATOMIC_RELEASE);
	return -ENOMEM;
}

/* Before the staging area is used: the same again, if it has ever failed. */
int gm_place_open(struct gm_user_object *o, uint64_t off, uint64_t len)
{
	return __atomic_load_n(&o->place->protected, __ATOMIC_ACQUIRE)
		       ? make_accessible(o, off, len)
		       : 0;
}

/*
 * The pages of [off, off+len), none of which is staged. The range may lie in several mappings;
 * what is not armed is not what was registered, and is left alone.
 */
static int stage_run(struct gm_user_object *o, uint64_t off, uint64_t len)
{
	struct gm_user_place *p = o->place;
	uint64_t step = len, end = off + len;

	while (off < end) {
		uint64_t n = step < end - off ? step : end - off, to = staging_of(o) + off;

		if (!gm_place_is_armed(p->u, p->base + off, n)) {
			if (n == GM_PAGE)
				return -EFAULT;
			step = n / 2 & ~(GM_PAGE - 1);
			continue;
		}
		if (mremap(pointer(p->base + off), n, n,
			   MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
			   pointer(to)) == MAP_FAILED) {
			repair(to, n);
			return -ENOMEM;
		}
		gm_bits_set(p->staged, off / GM_PAGE, n / GM_PAGE);
		if (make_accessible(o, off, n))
			return -ENOMEM;
		off += n;
		step = n * 2;
	}
	return 0;
}

static int stage(struct gm_user_object *o, uint64_t off, uint64_t len)
{
	uint64_t end = off + len, run;
	int err = gm_place_open(o, off, len);
	bool staged;

	for (; off < end && !err; off += run) {
		run = gm_bits_run(o->place->staged, off / GM_PAGE, (end - off) / GM_PAGE, &staged) *
		      GM_PAGE;
		if (!staged)
			err = stage_run(o, off, run);
	}
	return err;
}

int gm_place_revoke(struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_object *o = gm_user_object(r->obj);

	if (gm_place_gate_shut())
		return -EBUSY;
	return stage(o, va - o->place->base, len);
}

/* The pages at @off are nobody's any more. */
static void unstage(struct gm_user_object *o, uint64_t off, uint64_t len)
{
	gm_bits_clear(o->place->staged, off / GM_PAGE, len / GM_PAGE);
	if (gm_zap(staging_of(o) + off, len)) /* stale bytes would come back */
		gm_os_bug(__FILE__, __LINE__, "cannot drop pages of a staging area");
}

void gm_place_free(struct gm_user_object *o, uint64_t off, uint64_t len)
{
	struct gm_user_place *p = o->place;
	uint64_t end = off + len, run;
	bool staged;

	off = off > p->begin ? off : p->begin;
	for (; off < end; off += run) {
		run = gm_bits_run(p->staged, off / GM_PAGE, (end - off) / GM_PAGE, &staged) *
		      GM_PAGE;
		if (staged)
			unstage(o, off, run);
		else
			gm_zap(p->base + off, run); /* if it is mapped at all */
	}
}

/* ------------------------------------------------------- into the application's memory */

/* As many bytes as went, or -errno. */
static int64_t copy_in(const struct gm_user_as *u, uint64_t dst, uint64_t src, uint64_t len)
{
	struct uffdio_copy c = { .dst = dst, .src = src, .len = len };

	if (!ioctl(u->uffd.fd, UFFDIO_COPY, &c))
		return (int64_t)len;
	return c.copy > 0 ? c.copy : -errno;
}

static int64_t move_in(const struct gm_user_as *u, uint64_t dst, uint64_t src, uint64_t len)
{
	struct move_args m = { .dst = dst, .src = src, .len = len };

	if (!ioctl(u->uffd.fd, IOC_MOVE, &m))
		return (int64_t)len;
	return m.moved > 0 ? m.moved : -errno;
}

static int64_t zero_in(const struct gm_user_as *u, uint64_t dst, uint64_t len)
{
	struct uffdio_zeropage z = { .range = { .start = dst, .len = len } };

	if (!ioctl(u->uffd.fd, UFFDIO_ZEROPAGE, &z))
		return (int64_t)len;
	return z.zeropage > 0 ? z.zeropage : -errno;
}

/* Who writes gets pages of his own at once; a zero page would only make him fault again. */
static int64_t nothing_in(const struct gm_user_as *u, uint64_t dst, uint64_t len)
{
	static const char zeros[64 << 10];

	if (!(gm_serviced_access & GM_WRITE))
		return zero_in(u, dst, len);
	return copy_in(u, dst, (uint64_t)(uintptr_t)zeros,
		       len < sizeof(zeros) ? len : sizeof(zeros));
}

/* @src 0: zeros. A page that cannot be moved is copied. */
static int64_t some_in(const struct gm_user_as *u, uint64_t dst, uint64_t src, uint64_t len)
{
	int64_t got;

	if (!src)
		return nothing_in(u, dst, len);
	if (!(u->features & UFFD_FEATURE_MOVE))
		return copy_in(u, dst, src, len);
	got = move_in(u, dst, src, len);
	if (got > 0 || got == -EAGAIN || len > GM_PAGE)
		return got;
	return copy_in(u, dst, src, len);
}

/*
 * What stops the kernel may be true of one page only, or the range may lie in several
 * mappings: it is halved until it goes. A page that is there already (EEXIST) is as the
 * application has made it; one whose mapping is not the armed one any more (ENOENT) has
 * nowhere to go. *done says how far it went if it fails.
 */
static int put_in(const struct gm_user_as *u, uint64_t dst, uint64_t src, uint64_t len,
		  uint64_t *done)
{
	uint64_t step = len;
	int64_t got;

	for (*done = 0; *done < len;) {
		uint64_t n = step < len - *done ? step : len - *done;

		got = some_in(u, dst + *done, src ? src + *done : 0, n);
		if (got == -EEXIST || got == -ENOENT)
			got = n == GM_PAGE ? (int64_t)GM_PAGE : got;
		if (got > 0) {
			*done += (uint64_t)got;
			step = n * 2;
		} else if (got == -EAGAIN) {
			sched_yield(); /* the mappings are changing just now */
		} else if (got == -ENOMEM || n == GM_PAGE) {
			return got == -ENOMEM ? -ENOMEM : -EIO;
		} else {
			step = n / 2 & ~(GM_PAGE - 1);
		}
	}
	return 0;
}

static int put_staged(struct gm_user_object *o, uint64_t off, uint64_t len)
{
	struct gm_user_place *p = o->place;
	uint64_t done;
	int err = gm_place_open(o, off, len);

	if (err)
		return err;
	err = put_in(p->u, p->base + off, staging_of(o) + off, len, &done);
	if (done)
		unstage(o, off, done);
	return err;
}

static int fill_holes(struct gm_user_object *o, uint64_t off, uint64_t len)
{
	const struct gm_user_place *p = o->place;
	uint64_t end = off + len, run, done;
	bool present;
	int err = 0;

	for (; off < end && !err; off += run) {
		run = app_run(p, off, end - off, false, &present);
		if (!present)
			err = put_in(p->u, p->base + off, 0, run, &done);
	}
	return err;
}

int gm_place_cpu_map(struct gm_region *r, uint64_t va, uint64_t len)
{
	struct gm_user_object *o = gm_user_object(r->obj);
	struct gm_user_place *p = o->place;
	uint64_t off = va - p->base, end = off + len, run;
	bool staged, passed = false;
	int err = 0;

	for (; off < end && !err; off += run) {
		run = gm_bits_run(p->staged, off / GM_PAGE, (end - off) / GM_PAGE, &staged) *
		      GM_PAGE;
		err = staged ? put_staged(o, off, run) : fill_holes(o, off, run);
		passed |= !staged;
	}
	/* Who waits for a page that was there may have queued just before it was. */
	if (passed && !p->u->inline_faults)
		gm_uffd_wake(p->u, va, len);
	if (!err)
		gm_uffd_woken(va, len);
	return err;
}

/*
 * Read or write bytes, by way of the staging area, for memory of the application's is not
 * touched here; the pages then go back. What does not comes back when it is touched.
 */
int gm_place_access(struct gm_user_object *o, uint64_t off, void *buf, uint64_t len, bool write)
{
	uint64_t lo = off & ~(GM_PAGE - 1), hi = (off + len + GM_PAGE - 1) & ~(GM_PAGE - 1);
	int err = stage(o, lo, hi - lo);

	if (err)
		return err;
	if (write)
		memcpy(o->alias + off, buf, len);
	else
		memcpy(buf, o->alias + off, len);
	(void)put_staged(o, lo, hi - lo);
	return 0;
}
