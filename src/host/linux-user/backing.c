// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Host backing: an object's bytes in host memory.
 *
 * An object is a memfd. gmem maps all of it once more for itself, the alias: copies
 * go there, whatever the application's mappings are doing, and a bus address is a
 * pointer into it. A page exists if the file has it, be it in memory or in swap.
 *
 * The core mostly knows that a page exists, and then nothing is to be done: the alias
 * is touched and that is all. Where it does not, MADV_POPULATE_WRITE makes the pages
 * and says when there is no memory, where a touch would raise SIGBUS.
 *
 * hugetlb has no SEEK_DATA, so a bitmap says which pages exist. It is the whole truth,
 * for there every mapping is armed from the first: each page comes to be in
 * gm_os_backing_get().
 *
 * For shmem the kernel has three answers, all of which were measured on 2 MiB: lseek(SEEK_DATA) takes 0.3-0.6 us, for a hole is skipped as a
 * whole. lseek(SEEK_HOLE) takes 31 ns a page up to the next hole or the end of the
 * file: 1.6 ms in a full 256 MiB, and it cannot be bounded. mincore() takes 2 us
 * where the alias has the pages mapped and 50 us where it does not, and reports
 * pages in swap as absent. So: SEEK_DATA says where a hole ends; how far data goes
 * is told by mincore(), in windows that grow so that a chequered block costs no more
 * than it must, and by SEEK_DATA for each page that mincore() reports absent.
 *
 * Locking. None here: the core holds the block. Blocks share words of the bitmap, whose
 * bits are therefore set and cleared atomically.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "user.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21U << 26)
#endif

static uint64_t metadata; /* bytes, of all objects */

void gm_backing_count(int64_t bytes)
{
	__atomic_fetch_add(&metadata, (uint64_t)bytes, __ATOMIC_RELAXED);
}

uint64_t gm_os_metadata_bytes(void)
{
	return __atomic_load_n(&metadata, __ATOMIC_RELAXED);
}

uint64_t gm_os_backing_granule(struct gm_object *obj)
{
	return 1ULL << gm_user_object(obj)->shift;
}

/* ---------------------------------------------------------------- life of an object */

static int open_memfd(uint32_t flags)
{
	unsigned int mfd = MFD_CLOEXEC;
	int fd;

	if (flags & GM_OBJECT_HUGETLB)
		mfd |= MFD_HUGETLB | MFD_HUGE_2MB;
	/* Linux 6.3 can be told to refuse files that may be executed; 6.1 knows no such flag. */
	fd = memfd_create("gmem", mfd | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("gmem", mfd);
	if (fd >= 0)
		return fd;
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		return -ENOMEM;
	return (flags & GM_OBJECT_HUGETLB) && (errno == EINVAL || errno == ENOSYS) ? -EOPNOTSUPP
										   : -errno;
}

static uint64_t known_bytes(const struct gm_user_object *o)
{
	return ((o->size >> o->shift) + 63) / 64 * 8;
}

/* Only hugetlb needs it. */
static int make_known(struct gm_user_object *o)
{
	if (o->shift == 12)
		return 0;
	o->known = calloc(1, known_bytes(o));
	if (!o->known)
		return -ENOMEM;
	__atomic_fetch_add(&metadata, known_bytes(o), __ATOMIC_RELAXED);
	return 0;
}

static void free_known(struct gm_user_object *o)
{
	if (o->known)
		__atomic_fetch_sub(&metadata, known_bytes(o), __ATOMIC_RELAXED);
	free(o->known);
}

static int map_alias(struct gm_user_object *o, int fd)
{
	/* Huge pages are reserved now rather than found missing later. */
	int flags = MAP_SHARED | (o->shift == 12 ? MAP_NORESERVE : 0);
	void *p = mmap(NULL, o->size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	o->alias = p;
	/* DONTDUMP: a core dump has the bytes by way of the application's mapping. */
	if (madvise(p, o->size, MADV_DONTFORK) || madvise(p, o->size, MADV_DONTDUMP)) {
		munmap(p, o->size);
		return -ENOMEM;
	}
	return 0;
}

int gm_os_object_create(struct gm_object *obj, uint32_t flags)
{
	struct gm_user_object *o;
	int fd, err = -ENOMEM;

	if (flags & GM_OBJECT_REGISTERED)
		return gm_place_create(obj);
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->size = gm_object_size(obj);
	o->shift = flags & GM_OBJECT_HUGETLB ? 21 : 12;
	fd = open_memfd(flags);
	if (fd < 0) {
		err = fd;
		goto err_object;
	}
	if (ftruncate(fd, (off_t)o->size)) {
		err = errno == ENOMEM ? -ENOMEM : -EINVAL;
		goto err_fd;
	}
	err = make_known(o);
	if (err)
		goto err_fd;
	err = map_alias(o, fd);
	if (err)
		goto err_known;
	gm_fd_adopt(&o->mem, fd);
	*gm_object_host(obj) = o;
	return 0;

err_known:
	free_known(o);
err_fd:
	close(fd);
err_object:
	free(o);
	return err;
}

void gm_os_object_destroy(struct gm_object *obj)
{
	struct gm_user_object *o = gm_user_object(obj);

	gm_record_object_end(obj);
	if (o->place) {
		gm_place_destroy(obj);
		return;
	}
	gm_shelf_destroy(o);
	munmap(o->alias, o->size);
	/* Or close() would free all pages, which takes long, and under a lock that fork() takes. */
	gm_os_backing_free(obj, 0, o->size);
	free_known(o);
	gm_fd_close(&o->mem);
	free(o);
	*gm_object_host(obj) = NULL;
}

/* ------------------------------------------------------------------ making and using */

static int populate(const struct gm_user_object *o, uint64_t off, uint64_t len)
{
	while (madvise(o->alias + off, len, MADV_POPULATE_WRITE)) {
		if (errno != EAGAIN && errno != EINTR)
			return -ENOMEM; /* as a SIGBUS would have said: no page to be had */
		sched_yield();
	}
	return 0;
}

/* Huge pages are made whole, and only where they do not exist. */
static int make_huge(struct gm_user_object *o, uint64_t off, uint64_t len)
{
	uint64_t i = off >> o->shift, end = ((off + len - 1) >> o->shift) + 1, n;
	bool known;
	int err = 0;

	for (; i < end && !err; i += n) {
		n = gm_bits_run(o->known, i, end - i, &known);
		if (known)
			continue;
		err = populate(o, i << o->shift, n << o->shift);
		if (!err)
			gm_bits_set(o->known, i, n);
	}
	return err;
}

int gm_os_backing_get(struct gm_object *obj, uint64_t off, uint64_t len, bool exist, uint64_t *bus,
		      uint64_t *got)
{
	struct gm_user_object *o = gm_user_object(obj);
	int err = o->place ? gm_place_open(o, off, len) : 0;

	if (!exist && !err)
		err = o->known ? make_huge(o, off, len) : populate(o, off, len);
	*bus = (uint64_t)(uintptr_t)(o->alias + off);
	*got = len;
	if (o->place && !err)
		gm_bits_set(o->place->staged, off / GM_PAGE, len / GM_PAGE);
	return err;
}

void gm_os_backing_put(struct gm_object *obj, uint64_t off, uint64_t len)
{
	/* The alias keeps what it has. */
	(void)obj;
	(void)off;
	(void)len;
}

int gm_os_backing_read(struct gm_object *obj, uint64_t off, void *buf, uint64_t len)
{
	struct gm_user_object *o = gm_user_object(obj);

	if (o->place)
		return gm_place_access(o, off, buf, len, false);
	memcpy(buf, o->alias + off, len);
	return 0;
}

int gm_os_backing_write(struct gm_object *obj, uint64_t off, const void *buf, uint64_t len)
{
	struct gm_user_object *o = gm_user_object(obj);

	if (o->place)
		return gm_place_access(o, off, (void *)(uintptr_t)buf, len, true);
	memcpy(o->alias + off, buf, len);
	return 0;
}

/* ----------------------------------------------------------------------- what exists */

#define WINDOW_MIN 16U
#define WINDOW_MAX 512U

/* Where the next page that exists begins, from @off on; @end if none does before. */
static uint64_t next_data(const struct gm_user_object *o, uint64_t off, uint64_t end)
{
	off_t at = lseek(o->mem.fd, (off_t)off, SEEK_DATA);

	return at < 0 || (uint64_t)at > end ? end : (uint64_t)at;
}

/* How far from @off, which exists, the pages exist. */
static uint64_t data_run(const struct gm_user_object *o, uint64_t off, uint64_t end)
{
	unsigned char resident[WINDOW_MAX];
	uint64_t window = WINDOW_MIN, at = off;

	while (at < end) {
		uint64_t n = (end - at) / GM_PAGE < window ? (end - at) / GM_PAGE : window;

		/* Should it fail, every page is asked for one by one. */
		if (mincore(o->alias + at, n * GM_PAGE, resident))
			memset(resident, 0, n);
		for (uint64_t i = 0; i < n; i++, at += GM_PAGE)
			if (!(resident[i] & 1) && next_data(o, at, end) != at)
				return at - off;
		window = window < WINDOW_MAX / 2 ? window * 2 : WINDOW_MAX;
	}
	return end - off;
}

static uint64_t huge_run(const struct gm_user_object *o, uint64_t off, uint64_t len, bool *present)
{
	uint64_t i = off >> o->shift, end = ((off + len - 1) >> o->shift) + 1;
	uint64_t run = gm_bits_run(o->known, i, end - i, present);
	uint64_t bytes = ((i + run) << o->shift) - off;

	return bytes < len ? bytes : len;
}

uint64_t gm_os_backing_run(struct gm_object *obj, uint64_t off, uint64_t len, bool *present)
{
	struct gm_user_object *o = gm_user_object(obj);
	uint64_t data;

	if (o->place)
		return gm_place_run(o, off, len, present);
	if (o->known)
		return huge_run(o, off, len, present);
	data = next_data(o, off, off + len);
	*present = data == off;
	return *present ? data_run(o, off, off + len) : data - off;
}

void gm_os_backing_free(struct gm_object *obj, uint64_t off, uint64_t len)
{
	struct gm_user_object *o = gm_user_object(obj);
	int err;

	if (o->place) {
		gm_place_free(o, off, len);
		return;
	}
	if (o->known)
		gm_bits_clear(o->known, off >> o->shift, len >> o->shift);
	gm_shelf_forget(o, off, len);
	do {
		err = fallocate(o->mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
				(off_t)len);
	} while (err && errno == EINTR);
	if (err) /* bytes that were to be gone would come back */
		gm_os_bug(__FILE__, __LINE__, "cannot punch a hole into a memfd");
}

/* They are pointers into the alias, which the kernel fills anew if it has to; but for place.c's. */
bool gm_os_backing_in_place(const struct gm_object *obj)
{
	return !obj || !(gm_object_flags(obj) & GM_OBJECT_REGISTERED);
}

/* So there is nothing to hold. */
int gm_os_in_place_hold(struct gm_object *obj, uint64_t off, uint64_t len)
{
	(void)obj;
	(void)off;
	(void)len;
	return 0;
}

void gm_os_in_place_drop(struct gm_object *obj, uint64_t off, uint64_t len)
{
	(void)obj;
	(void)off;
	(void)len;
}

bool gm_os_in_place_any(struct gm_object *obj)
{
	(void)obj;
	return false;
}
