// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Host backing: an object's bytes in host memory.
 *
 * An object is a memfd. gmem maps all of it once more for itself, the alias: copies
 * go there, whatever the application's mappings are doing, and a bus address is a
 * pointer into it. A page exists if the file has it, be it in memory or in swap.
 *
 * What exists is asked for at every migration, so the kernel is asked as little as
 * possible. A bitmap, "known", has a bit for each page that exists for sure: it was
 * populated by way of the alias and not freed since. It is a hint for shmem, whose
 * pages also appear when the CPU touches an unarmed mapping, and the whole truth for
 * hugetlb, which has no SEEK_DATA: there every mapping is armed from the first, so
 * that each page comes to be in gm_os_backing_get(). It is reserved without
 * commitment and costs memory only where bits were set.
 *
 * For pages that are not known the kernel has three answers, all of which were
 * measured on 2 MiB: lseek(SEEK_DATA) takes 0.3-0.6 us, for a hole is skipped as a
 * whole. lseek(SEEK_HOLE) takes 31 ns a page up to the next hole or the end of the
 * file: 1.6 ms in a full 256 MiB, and it cannot be bounded. mincore() takes 2 us
 * where the alias has the pages mapped and 50 us where it does not, and reports
 * pages in swap as absent. So: SEEK_DATA says where a hole ends; how far data goes
 * is told by mincore(), in windows that grow so that a chequered block costs no more
 * than it must, and by SEEK_DATA for each page that mincore() reports absent.
 *
 * Locking. None here: the core holds the block. Words of the bitmap are shared by
 * nobody (a block has eight of its own, hugetlb's bits are set atomically).
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

static int map_known(struct gm_user_object *o)
{
	uint64_t words = ((o->size >> o->shift) + 63) / 64;
	uint64_t bytes = (words * 8 + GM_PAGE - 1) & ~(GM_PAGE - 1);
	void *p;

	o->known_bytes = (bytes + bytes / GM_PAGE + GM_PAGE - 1) & ~(GM_PAGE - 1);
	p = mmap(NULL, o->known_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	o->known = p;
	o->known_used = (uint8_t *)p + bytes;
	return 0;
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
	err = map_known(o);
	if (err)
		goto err_fd;
	err = map_alias(o, fd);
	if (err)
		goto err_known;
	gm_fd_adopt(&o->mem, fd);
	*gm_object_host(obj) = o;
	return 0;

err_known:
	munmap(o->known, o->known_bytes);
err_fd:
	close(fd);
err_object:
	free(o);
	return err;
}

void gm_os_object_destroy(struct gm_object *obj)
{
	struct gm_user_object *o = gm_user_object(obj);

	munmap(o->alias, o->size);
	munmap(o->known, o->known_bytes);
	__atomic_fetch_sub(&metadata, o->metadata, __ATOMIC_RELAXED);
	gm_fd_close(&o->mem);
	free(o);
	*gm_object_host(obj) = NULL;
}

/* -------------------------------------------------------------------- what is known */

/* Count the pages of the bitmap that these bits are the first to write to. */
static void charge(struct gm_user_object *o, uint64_t first, uint64_t n)
{
	uint64_t per_page = GM_PAGE * 8;

	for (uint64_t i = first / per_page; i <= (first + n - 1) / per_page; i++) {
		if (__atomic_load_n(&o->known_used[i], __ATOMIC_RELAXED) ||
		    __atomic_exchange_n(&o->known_used[i], 1, __ATOMIC_RELAXED))
			continue;
		__atomic_fetch_add(&o->metadata, GM_PAGE, __ATOMIC_RELAXED);
		__atomic_fetch_add(&metadata, GM_PAGE, __ATOMIC_RELAXED);
	}
}

static int populate(struct gm_user_object *o, uint64_t first, uint64_t n)
{
	while (madvise(o->alias + (first << o->shift), n << o->shift, MADV_POPULATE_WRITE)) {
		if (errno != EAGAIN && errno != EINTR)
			return -ENOMEM; /* as a SIGBUS would have said: no page to be had */
		sched_yield();
	}
	charge(o, first, n);
	gm_bits_set(o->known, first, n);
	return 0;
}

int gm_os_backing_get(struct gm_object *obj, uint64_t off, uint64_t len, uint64_t *bus,
		      uint64_t *got)
{
	struct gm_user_object *o = gm_user_object(obj);
	uint64_t i = off >> o->shift;
	uint64_t end = (off + len + (1ULL << o->shift) - 1) >> o->shift;
	bool known;

	while (i < end) {
		uint64_t n = gm_bits_run(o->known, i, end - i, &known);
		int err = known ? 0 : populate(o, i, n);

		if (err)
			return err;
		i += n;
	}
	*bus = (uint64_t)(uintptr_t)(o->alias + off);
	*got = len;
	return 0;
}

void gm_os_backing_put(struct gm_object *obj, uint64_t off, uint64_t len)
{
	/* The alias keeps what it has. */
	(void)obj;
	(void)off;
	(void)len;
}

static int alias_bytes(struct gm_object *obj, uint64_t off, uint64_t len, char **p)
{
	uint64_t begin = off & ~(GM_PAGE - 1);
	uint64_t end = (off + len + GM_PAGE - 1) & ~(GM_PAGE - 1);
	uint64_t bus, got;
	int err;

	err = gm_os_backing_get(obj, begin, end - begin, &bus, &got);
	*p = gm_user_object(obj)->alias + off;
	return err;
}

int gm_os_backing_read(struct gm_object *obj, uint64_t off, void *buf, uint64_t len)
{
	char *p;
	int err = alias_bytes(obj, off, len, &p);

	if (!err)
		memcpy(buf, p, len);
	return err;
}

int gm_os_backing_write(struct gm_object *obj, uint64_t off, const void *buf, uint64_t len)
{
	char *p;
	int err = alias_bytes(obj, off, len, &p);

	if (!err)
		memcpy(p, buf, len);
	return err;
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

uint64_t gm_os_backing_run(struct gm_object *obj, uint64_t off, uint64_t len, bool *present)
{
	struct gm_user_object *o = gm_user_object(obj);
	uint64_t unit = 1ULL << o->shift, i = off >> o->shift;
	uint64_t end = (off + len + unit - 1) >> o->shift;
	uint64_t run, data;

	run = gm_bits_run(o->known, i, end - i, present);
	if (*present || o->shift != 12) {
		run = (i + run) * unit - off;
		return run < len ? run : len;
	}
	data = next_data(o, off, off + len);
	*present = data == off;
	return *present ? data_run(o, off, off + len) : data - off;
}

void gm_os_backing_free(struct gm_object *obj, uint64_t off, uint64_t len)
{
	struct gm_user_object *o = gm_user_object(obj);
	int err;

	gm_bits_clear(o->known, off >> o->shift, len >> o->shift);
	do {
		err = fallocate(o->mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
				(off_t)len);
	} while (err && errno == EINTR);
	if (err) /* bytes that were to be gone would come back */
		gm_os_bug(__FILE__, __LINE__, "cannot punch a hole into a memfd");
}
