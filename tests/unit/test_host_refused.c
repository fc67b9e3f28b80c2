// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The linux-user host where the kernel has no memory, or refuses: each call that memory
 * registered in place takes, and what a host's objects are made of. Nothing may be lost, by
 * the application least of all, and what failed works when it is tried again.
 *
 * Linked with -Wl,--wrap for the calls of enum call, so that each of them can be made to
 * fail. Faults are serviced inline: there is one thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/linux-user/user.h"
#include "host_user_core.h"

#define PAGES 24ULL
#define UFFD_TYPE 0xAA /* of an ioctl's number */

/* ------------------------------------------------------------- calls that can fail */

enum call {
	CALLOC,
	MMAP,
	MADVISE,
	MREMAP,
	MPROTECT,
	OPEN,
	READ,
	REGISTER,
	FILL,
	WRITEPROTECT,
	CONTINUE,
	NR_CALLS
};

static struct plan {
	unsigned int skip, count;
	int err;
} plan[NR_CALLS];
static bool target_goes;      /* a move that fails has unmapped its target */
static size_t short_read;     /* not 0: a read gives no more */
static uint64_t filled_first; /* FILL: so many bytes go before it fails */

static void fail_next(enum call call, unsigned int skip, unsigned int count, int err)
{
	plan[call] = (struct plan){ .skip = skip, .count = count, .err = err };
}

static void fail_no_more(void)
{
	memset(plan, 0, sizeof(plan));
	target_goes = false;
	short_read = 0;
	filled_first = 0;
}

static bool fails(enum call call)
{
	struct plan *p = &plan[call];

	if (!p->count)
		return false;
	if (p->skip) {
		p->skip--;
		return false;
	}
	p->count--;
	errno = p->err;
	return true;
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	return fails(CALLOC) ? NULL : __real_calloc(n, size);
}

void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return fails(MMAP) ? MAP_FAILED : __real_mmap64(addr, len, prot, flags, fd, off);
}

int __real_madvise(void *addr, size_t len, int advice);
int __wrap_madvise(void *addr, size_t len, int advice);
int __wrap_madvise(void *addr, size_t len, int advice)
{
	return fails(MADVISE) ? -1 : __real_madvise(addr, len, advice);
}

void *__real_mremap(void *from, size_t len, size_t new_len, int flags, ...);
void *__wrap_mremap(void *from, size_t len, size_t new_len, int flags, void *to);
void *__wrap_mremap(void *from, size_t len, size_t new_len, int flags, void *to)
{
	if (!fails(MREMAP))
		return __real_mremap(from, len, new_len, flags, to);
	if (target_goes)
		munmap(to, new_len);
	errno = ENOMEM;
	return MAP_FAILED;
}

int __real_mprotect(void *addr, size_t len, int prot);
int __wrap_mprotect(void *addr, size_t len, int prot);
int __wrap_mprotect(void *addr, size_t len, int prot)
{
	return fails(MPROTECT) ? -1 : __real_mprotect(addr, len, prot);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, unsigned int mode);
int __wrap_open64(const char *path, int flags, unsigned int mode)
{
	return fails(OPEN) ? -1 : __real_open64(path, flags, mode);
}

ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n)
{
	if (fails(READ))
		return -1;
	return __real_read(fd, buf, short_read && short_read < n ? short_read : n);
}

int __real_ioctl(int fd, unsigned long cmd, ...);

/* Part of the way, as the kernel does it where it is interrupted. */
static int fill_part(int fd, unsigned long cmd, void *arg)
{
	struct uffdio_copy c;
	int err = errno;

	if (!filled_first || cmd != UFFDIO_COPY)
		return -1;
	c = *(struct uffdio_copy *)arg;
	c.len = filled_first;
	filled_first = 0;
	assert_int_equal(__real_ioctl(fd, cmd, &c), 0);
	((struct uffdio_copy *)arg)->copy = c.copy;
	errno = err;
	return -1;
}

int __wrap_ioctl(int fd, unsigned long cmd, void *arg);
int __wrap_ioctl(int fd, unsigned long cmd, void *arg)
{
	bool fill = _IOC_TYPE(cmd) == UFFD_TYPE &&
		    (cmd == UFFDIO_COPY || cmd == UFFDIO_ZEROPAGE || _IOC_NR(cmd) == 5);

	if (cmd == UFFDIO_REGISTER && fails(REGISTER))
		return -1;
	if (cmd == UFFDIO_WRITEPROTECT && fails(WRITEPROTECT))
		return -1;
	if (_IOC_TYPE(cmd) == UFFD_TYPE && _IOC_NR(cmd) == _UFFDIO_CONTINUE && fails(CONTINUE)) {
		*(int64_t *)((char *)arg + _IOC_SIZE(cmd) - 8) = 0;
		return -1;
	}
	if (fill && fails(FILL)) {
		*(int64_t *)((char *)arg + _IOC_SIZE(cmd) - 8) = 0; /* how far it went */
		return fill_part(fd, cmd, arg);
	}
	return __real_ioctl(fd, cmd, arg);
}

/* -------------------------------------------------------------------------------- bench */

struct bench {
	struct gm_as *as;
	struct gm_object *obj;
	struct gm_region *r;
	char *p;
	uint64_t va;
};

static char *private(uint64_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

/* As the core does it for gm_as_register(); the region has no more than tc_map() gives one. */
static struct bench set_up(void)
{
	struct bench b = { .as = tc_as(GM_AS_INLINE), .p = private(PAGES * PAGE) };

	memset(&tc, 0, sizeof(tc));
	fail_no_more();
	/* By copies, which every kernel has. */
	gm_user_as(b.as)->features &= ~(uint64_t)UFFD_FEATURE_MOVE;
	b.va = (uint64_t)(uintptr_t)b.p;
	b.obj = tc_object(PAGES * PAGE, GM_OBJECT_REGISTERED);
	b.r = calloc(1, sizeof(*b.r));
	assert_non_null(b.r);
	*b.r = (struct gm_region){ .as = b.as,
				   .obj = b.obj,
				   .va = b.va,
				   .len = PAGES * PAGE,
				   .prot = GM_READ | GM_WRITE };
	assert_int_equal(gm_os_region_map(b.r, true), 0);
	tc_add(b.r);
	for (uint64_t page = 0; page < PAGES; page++)
		*tc_word(b.va + page * PAGE) = page + 1;
	return b;
}

static void tear_down(struct bench *b)
{
	fail_no_more();
	assert_int_equal(gm_as_home(b->as, b->va, PAGES * PAGE), 0);
	tc_unmap(b->r);
	tc_object_free(b->obj);
	tc_as_free(b->as);
	assert_int_equal(gm_os_metadata_bytes(), 0);
	munmap(b->p, PAGES * PAGE);
}

static void words(const struct bench *b, uint64_t from, uint64_t end)
{
	for (uint64_t page = from; page < end; page++)
		assert_int_equal(*tc_word(b->va + page * PAGE), page + 1);
}

static int take_away(const struct bench *b, uint64_t page, uint64_t n)
{
	return gm_os_cpu_revoke(b->r, b->va + page * PAGE, n * PAGE);
}

static uint64_t staging(const struct bench *b)
{
	return (uint64_t)(uintptr_t)gm_user_object(b->obj)->alias;
}

/* Does the mapping at @va have all of @flags, two letters each with a space before, in smaps? */
static bool has_flags(uint64_t va, const char *const *flags)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long begin, end;
	bool here = false, has = false;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			here = va >= begin && va < end;
		else if (here && !strncmp(line, "VmFlags:", 8))
			for (has = true; *flags; flags++)
				has &= strstr(line, *flags) != NULL;
	}
	fclose(f);
	return has;
}

/* Everything can be done after all. */
static void works(struct bench *b)
{
	fail_no_more();
	for (uint64_t page = 0; page < PAGES; page += 3)
		tc_to_dev(b->r, b->va + page * PAGE);
	words(b, 0, PAGES);
	assert_int_equal(take_away(b, 0, PAGES), 0);
	words(b, 0, PAGES);
}

/* -------------------------------------------------------------------------------- birth */

/* At how many calls of the kind does @make fail? It must with -ENOMEM, and leave nothing. */
static unsigned int each_fails(enum call call, int (*make)(void *arg), void *arg)
{
	for (unsigned int skip = 0;; skip++) {
		int err;

		fail_next(call, skip, 1, ENOMEM);
		err = make(arg);
		if (plan[call].count) {
			fail_no_more();
			assert_int_equal(err, 0);
			return skip;
		}
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(gm_os_metadata_bytes(), 0);
	}
}

static int make_object(void *arg)
{
	struct gm_object *obj = arg;
	int err = gm_os_object_create(obj, obj->flags);

	if (!err)
		gm_os_object_destroy(obj);
	return err;
}

static int make_as(void *arg)
{
	struct gm_as as = { .host = NULL };
	int err = gm_os_as_create(&as, arg);

	if (!err) {
		gm_os_as_stop(&as);
		gm_os_as_destroy(&as);
	}
	return err;
}

static int make_region(void *arg)
{
	struct gm_region *r = arg;
	int err = gm_os_region_map(r, false);

	if (!err) {
		assert_int_equal(gm_os_region_unmap(r, r->va, r->len), 0);
		gm_os_region_free(r);
	}
	return err;
}

static void birth(void **state)
{
	struct gm_as_options opt = { .size = sizeof(opt) };
	struct gm_object obj = { .size = PAGES * PAGE };
	struct gm_region r = { .len = PAGES * PAGE, .prot = GM_READ };
	struct proc_resources before = proc_settled();

	(void)state;
	fail_no_more();
	assert_int_equal(each_fails(CALLOC, make_object, &obj), 1);
	assert_int_equal(each_fails(MMAP, make_object, &obj), 1);
	assert_int_equal(each_fails(MADVISE, make_object, &obj), 2);
	obj.flags = GM_OBJECT_REGISTERED;
	assert_int_equal(each_fails(CALLOC, make_object, &obj), 2);
	assert_int_equal(each_fails(MMAP, make_object, &obj), 3);
	assert_int_equal(each_fails(MADVISE, make_object, &obj), 3);
	fail_next(MADVISE, 2, 1, EINVAL); /* a kernel without huge pages */
	assert_int_equal(make_object(&obj), 0);
	fail_no_more();

	assert_int_equal(each_fails(CALLOC, make_as, &opt), 2);
	opt.flags = GM_AS_INLINE;
	assert_int_equal(each_fails(CALLOC, make_as, &opt), 1);

	obj.flags = 0;
	r.as = tc_as(GM_AS_INLINE);
	r.obj = &obj;
	assert_int_equal(gm_os_object_create(&obj, 0), 0);
	assert_true(each_fails(CALLOC, make_region, &r) > 0);
	assert_true(each_fails(MMAP, make_region, &r) >
		    1); /* the addresses, and the table of ranges */
	gm_os_object_destroy(&obj);
	tc_as_free(r.as);
	proc_assert_same(before);
}

/* ----------------------------------------------------------------------- gm_register() */

/* /proc/self/maps comes in pieces of any size, is interrupted, is not there. */
static void list_of_mappings(void **state)
{
	char *p = private(3 * PAGE);
	struct gm_as *as = tc_as(GM_AS_INLINE);
	struct gm_object obj = { .size = PAGE, .flags = GM_OBJECT_REGISTERED };
	struct gm_region r = { .as = as, .obj = &obj, .va = (uint64_t)(uintptr_t)p, .len = PAGE };

	(void)state;
	memset(&tc, 0, sizeof(tc));
	fail_no_more();
	munmap(p + PAGE, PAGE);
	for (short_read = 1; short_read < 8000; short_read *= 3) {
		assert_int_equal(gm_register(as, p, PAGE), 0);
		assert_int_equal(gm_register(as, p + 2 * PAGE, PAGE), 0);
		assert_int_equal(gm_register(as, p, 3 * PAGE), -EFAULT);
	}
	short_read = 0;
	fail_next(READ, 0, 3, EINTR);
	assert_int_equal(gm_register(as, p, PAGE), 0);
	assert_int_equal(plan[READ].count, 0);
	fail_next(READ, 0, 1, EIO); /* an end like any other: what is asked for is not there */
	assert_int_equal(gm_register(as, p, PAGE), -EFAULT);
	fail_next(OPEN, 0, 1, EMFILE);
	assert_int_equal(gm_register(as, p, PAGE), -ENOMEM);
	fail_next(OPEN, 0, 1, ENOENT);
	assert_int_equal(gm_register(as, p, PAGE), -EOPNOTSUPP);
	assert_non_null(strstr(gm_strerror(-EOPNOTSUPP), "/proc"));
	assert_int_equal(gm_register(as, p, PAGE), 0);

	/* The core's part of it, which the tests' core leaves to them. */
	assert_int_equal(gm_os_object_create(&obj, obj.flags), 0);
	fail_next(OPEN, 0, 1, EACCES);
	assert_int_equal(gm_os_region_map(&r, true), -EOPNOTSUPP);
	fail_next(MMAP, 0, 1, ENOMEM); /* the table of ranges */
	assert_int_equal(gm_os_region_map(&r, true), -ENOMEM);
	assert_int_equal(gm_os_region_map(&r, true), 0);
	assert_int_equal(gm_os_region_unmap(&r, r.va, PAGE), 0);
	gm_os_region_free(&r);
	gm_os_object_destroy(&obj);
	tc_as_free(as);
	munmap(p, PAGE);
	munmap(p + 2 * PAGE, PAGE);
}

static void arming(void **state)
{
	static const char *const armed[] = { " um", NULL }, *const not_inherited[] = { " dc",
										       NULL };
	struct bench b = set_up();

	(void)state;
	/* Each time its block is tried, and then all of it. */
	fail_next(MADVISE, 0, UINT32_MAX, ENOMEM);
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, 4 * PAGE), -ENOMEM);
	fail_no_more();
	assert_false(has_flags(b.va, not_inherited));
	fail_next(REGISTER, 0, 2, ENOMEM);
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, 4 * PAGE), -ENOMEM);
	assert_false(has_flags(b.va, not_inherited));
	fail_next(REGISTER, 0, 2, EBUSY); /* somebody else's userfaultfd has it meanwhile */
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, 4 * PAGE), -EOPNOTSUPP);
	assert_false(has_flags(b.va, not_inherited));
	assert_false(has_flags(b.va, armed));
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, 4 * PAGE), 0);
	assert_true(has_flags(b.va, not_inherited));
	assert_true(has_flags(b.va, armed));
	works(&b);
	tear_down(&b);
}

/* ------------------------------------------------------------------ out of the way */

/* A move fails and has changed nothing; or has unmapped its target, which is mended. */
static void move_fails(void **state)
{
	static const char *const flags[] = { " dc", " dd", " nh", NULL };

	(void)state;
	for (unsigned int goes = 0; goes < 2; goes++) {
		struct bench b = set_up();
		char text[8] = "ABCDEFG";

		assert_int_equal(gm_os_cpu_arm(b.r, b.va, PAGES * PAGE), 0);
		assert_true(has_flags(staging(&b) + 3 * PAGE, flags));
		for (unsigned int round = 0; round < 3; round++) {
			target_goes = goes;
			fail_next(MREMAP, 0, 1, ENOMEM);
			assert_int_equal(take_away(&b, round, 8), -ENOMEM);
			assert_int_equal(plan[MREMAP].count, 0);
			assert_true(has_flags(staging(&b) + 3 * PAGE, flags));
			words(&b, 0, PAGES);
			assert_int_equal(tc.faults, 0); /* nothing has moved */
		}
		fail_next(MREMAP, 0, 1, ENOMEM);
		assert_int_equal(gm_os_backing_read(b.obj, 5, text, 8), -ENOMEM);
		assert_string_equal(text, "ABCDEFG");
		assert_int_equal(gm_os_backing_write(b.obj, 0, text, 8), 0);
		*tc_word(b.va) = 1;
		works(&b);
		tear_down(&b);
	}
}

/* Half-way: what was moved is staged, and comes back; the rest never left. */
static void second_move_fails(void **state)
{
	struct bench b = set_up();

	(void)state;
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, PAGES * PAGE), 0);
	assert_int_equal(mprotect(b.p, 4 * PAGE, PROT_READ), 0); /* two mappings */
	target_goes = true;
	fail_next(MREMAP, 1, 1, ENOMEM);
	assert_int_equal(take_away(&b, 0, 8), -ENOMEM);
	assert_int_equal(*tc_word(b.va + 7 * PAGE), 8);
	assert_int_equal(tc.faults, 0);
	words(&b, 0, 4);
	assert_true(tc.faults > 0);
	assert_int_equal(mprotect(b.p, 4 * PAGE, PROT_READ | PROT_WRITE), 0);
	works(&b);
	tear_down(&b);
}

/*
 * The application has taken its rights away, so has the staging area them not, and they cannot
 * be given: nobody may read or write there before they are.
 */
static void rights_fail(void **state)
{
	struct bench b = set_up();
	uint64_t bus, got, v;

	(void)state;
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, PAGES * PAGE), 0);
	assert_int_equal(mprotect(b.p + 2 * PAGE, 2 * PAGE, PROT_NONE), 0);
	fail_next(MPROTECT, 0, 1, ENOMEM);
	assert_int_equal(take_away(&b, 2, 2), -ENOMEM);
	/* It goes on failing, for all who want the bytes. */
	fail_next(MPROTECT, 0, UINT32_MAX, ENOMEM);
	assert_int_equal(take_away(&b, 2, 2), -ENOMEM);
	assert_int_equal(gm_os_backing_get(b.obj, 2 * PAGE, 2 * PAGE, true, &bus, &got), -ENOMEM);
	assert_int_equal(gm_os_backing_read(b.obj, 2 * PAGE, &v, 8), -ENOMEM);
	assert_int_equal(gm_os_cpu_map(b.r, b.va + 2 * PAGE, 2 * PAGE), -ENOMEM);
	words(&b, 0, 2);
	words(&b, 4, PAGES);
	fail_no_more();
	assert_int_equal(take_away(&b, 2, 2), 0);
	assert_int_equal(gm_os_backing_get(b.obj, 2 * PAGE, 2 * PAGE, true, &bus, &got), 0);
	assert_int_equal(*tc_word(bus), 3);
	assert_int_equal(*tc_word(bus + PAGE), 4);
	gm_os_backing_put(b.obj, 2 * PAGE, 2 * PAGE);
	assert_int_equal(mprotect(b.p, PAGES * PAGE, PROT_READ | PROT_WRITE), 0);
	words(&b, 0, PAGES);

	/* They come back by the first touch, and a device's copy engine may write there again. */
	assert_int_equal(mprotect(b.p + 2 * PAGE, 2 * PAGE, PROT_NONE), 0);
	fail_next(MPROTECT, 0, 1, ENOMEM);
	assert_int_equal(take_away(&b, 2, 2), -ENOMEM);
	fail_no_more();
	assert_int_equal(mprotect(b.p, PAGES * PAGE, PROT_READ | PROT_WRITE), 0);
	words(&b, 0, PAGES);
	works(&b);
	tear_down(&b);
}

/* ----------------------------------------------------------------- for reading only */

/* A kernel that cannot, or does not want to: nothing is mapped, and the core does without. */
static void map_read_fails(void **state)
{
	struct tc_bench b = tc_set_up(GM_AS_INLINE);
	struct bench placed;
	uint64_t bus, got, had;

	(void)state;
	fail_no_more();
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, BLOCK), 0);
	assert_int_equal(gm_os_backing_get(b.obj, 0, BLOCK, false, &bus, &got), 0);
	had = gm_user_as(b.as)->features;
	gm_user_as(b.as)->features &= ~(uint64_t)UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
	assert_int_equal(gm_os_cpu_map_read(b.r, b.va, 8 * PAGE), -EOPNOTSUPP);
	gm_user_as(b.as)->features = had;
	fail_next(REGISTER, 0, 1, ENOMEM);
	assert_int_equal(gm_os_cpu_map_read(b.r, b.va, 8 * PAGE), -EOPNOTSUPP);
	fail_next(CONTINUE, 0, 1, EINVAL); /* it does not know the mode */
	assert_int_equal(gm_os_cpu_map_read(b.r, b.va, 8 * PAGE), -EOPNOTSUPP);
	assert_int_equal(*tc_word(b.va), 0);
	assert_int_equal(tc.faults, 1);
	fail_no_more();
	if (had & UFFD_FEATURE_WP_HUGETLBFS_SHMEM) {
		/* What is mapped so cannot be written, yet, and can be later. */
		fail_next(WRITEPROTECT, 0, 1, ENOMEM);
		assert_int_equal(gm_os_cpu_map(b.r, b.va, 8 * PAGE), -ENOMEM);
		fail_next(WRITEPROTECT, 0, 1, EINVAL);
		assert_int_equal(gm_os_cpu_map(b.r, b.va, 8 * PAGE), -EIO);
		fail_next(WRITEPROTECT, 0, 3, EAGAIN);
		assert_int_equal(gm_os_cpu_map(b.r, b.va, 8 * PAGE), 0);
		assert_int_equal(plan[WRITEPROTECT].count, 0);
	}
	fail_no_more();
	assert_int_equal(gm_os_cpu_map(b.r, b.va, 8 * PAGE), 0);
	*tc_word(b.va + 7 * PAGE) = 1;
	assert_int_equal(tc.faults, 1);
	tc_tear_down(&b);
	placed = set_up();
	assert_int_equal(gm_os_cpu_arm(placed.r, placed.va, PAGES * PAGE), 0);
	assert_int_equal(gm_os_cpu_map_read(placed.r, placed.va, PAGE), -EOPNOTSUPP);
	tear_down(&placed);
}

/* ------------------------------------------------------------------------ the way back */

/* What cannot be put back stays staged, with its bytes, and comes when it is touched. */
static void way_back_fails(void **state)
{
	static const int errs[] = { ENOMEM, EFAULT };
	struct bench b = set_up();

	(void)state;
	assert_int_equal(gm_os_cpu_arm(b.r, b.va, PAGES * PAGE), 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(take_away(&b, 0, 8), 0);
		fail_next(FILL, 0, UINT32_MAX, errs[i]);
		assert_int_equal(gm_os_cpu_map(b.r, b.va, 8 * PAGE), i ? -EIO : -ENOMEM);
		/* A part went, and counts. */
		fail_next(FILL, 0, UINT32_MAX, errs[i]);
		filled_first = 2 * PAGE;
		assert_int_equal(gm_os_cpu_map(b.r, b.va, 8 * PAGE), i ? -EIO : -ENOMEM);
		fail_no_more();
		words(&b, 0, 2);
		assert_int_equal(tc.faults, i);
		words(&b, 0, PAGES);
		tc.faults = i + 1;
	}
	/* The mappings change just now: again, until they do not. */
	assert_int_equal(take_away(&b, 0, 8), 0);
	fail_next(FILL, 0, 5, EAGAIN);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, 8 * PAGE), 0);
	assert_int_equal(plan[FILL].count, 0);
	words(&b, 0, PAGES);
	/* One page only is refused, by what is true of the range: the others go. */
	assert_int_equal(take_away(&b, 0, 8), 0);
	fail_next(FILL, 0, 3, EFAULT); /* 8 pages, 4, 2: then one goes, and so on */
	assert_int_equal(gm_os_cpu_map(b.r, b.va, 8 * PAGE), 0);
	words(&b, 0, PAGES);
	/* Zeros, where the application has dropped pages. */
	assert_int_equal(madvise(b.p, 4 * PAGE, MADV_DONTNEED), 0);
	fail_next(FILL, 0, UINT32_MAX, ENOMEM);
	assert_int_equal(gm_os_cpu_map(b.r, b.va, 4 * PAGE), -ENOMEM);
	fail_no_more();
	assert_int_equal(gm_os_cpu_map(b.r, b.va, 4 * PAGE), 0);
	for (uint64_t page = 0; page < 4; page++) {
		assert_int_equal(*tc_word(b.va + page * PAGE), 0);
		*tc_word(b.va + page * PAGE) = page + 1;
	}
	works(&b);
	tear_down(&b);
}

/* Host memory for what comes home: none; or the kernel is interrupted while it makes it. */
static void no_memory_to_come_home(void **state)
{
	struct bench b = set_up();
	uint64_t bus, got;

	(void)state;
	tc_to_dev(b.r, b.va);
	fail_next(MADVISE, 0, 1, ENOMEM);
	assert_int_equal(gm_os_backing_get(b.obj, 0, PAGE, false, &bus, &got), -ENOMEM);
	fail_next(MADVISE, 0, 1, EINTR);
	assert_int_equal(gm_os_backing_get(b.obj, PAGES * PAGE - PAGE, PAGE, false, &bus, &got), 0);
	gm_os_backing_put(b.obj, PAGES * PAGE - PAGE, PAGE);
	gm_os_backing_free(b.obj, PAGES * PAGE - PAGE, PAGE);
	*tc_word(b.va + (PAGES - 1) * PAGE) = PAGES;
	works(&b);
	tear_down(&b);
}

/* --------------------------------------------------------- what cannot be mended is said */

/* The staging area has a hole that anybody may map into: not to go on is all that is left. */
static int child_hole(void)
{
	struct bench b = set_up();

	gm_os_cpu_arm(b.r, b.va, PAGES * PAGE);
	target_goes = true;
	fail_next(MREMAP, 0, 1, ENOMEM);
	fail_next(MMAP, 0, 1, ENOMEM);
	return take_away(&b, 0, 8);
}

/* Bytes that have gone would come back. */
static int child_stale(void)
{
	struct bench b = set_up();

	gm_os_cpu_arm(b.r, b.va, PAGES * PAGE);
	take_away(&b, 0, 8);
	fail_next(MADVISE, 0, 1, ENOMEM);
	gm_os_backing_free(b.obj, 0, PAGE);
	return 0;
}

static void cannot_be_mended(void **state)
{
	char said[512];

	(void)state;
	assert_true(proc_died_of(proc_child("hole", said, sizeof(said)), SIGABRT));
	assert_non_null(strstr(said, "a part of a staging area is lost"));
	assert_true(proc_died_of(proc_child("stale", said, sizeof(said)), SIGABRT));
	assert_non_null(strstr(said, "cannot drop pages of a staging area"));
}

/* What the C library and sanitizers set up with the first of each is there from here on. */
static int warm_up(void **state)
{
	struct bench b = set_up();

	(void)state;
	works(&b);
	tear_down(&b);
	tc_as_free(tc_as(0));
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(birth),
		cmocka_unit_test(list_of_mappings),
		cmocka_unit_test(arming),
		cmocka_unit_test(move_fails),
		cmocka_unit_test(second_move_fails),
		cmocka_unit_test(rights_fail),
		cmocka_unit_test(map_read_fails),
		cmocka_unit_test(way_back_fails),
		cmocka_unit_test(no_memory_to_come_home),
		cmocka_unit_test(cannot_be_mended),
	};

	if (argc == 2)
		cmocka_set_test_filter(argv[1]);
	if (argc == 3 && !strcmp(argv[1], "child"))
		_exit(!strcmp(argv[2], "hole") ? child_hole() : child_stale());
	return cmocka_run_group_tests(tests, warm_up, NULL);
}
