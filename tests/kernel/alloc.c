// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each request with each of its allocations failing in turn: gmem_fail.ko has them fail. An
 * error or none, but nothing is left behind, and the same request then works.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

static int fail_fd = -1;

/* Is there one? Not with a kernel that has no kprobes. */
static bool fail_begin(void)
{
	int err = kt_load("gmem_fail");

	if (err == -EOPNOTSUPP) {
		printf("  this kernel has no kprobes\n");
		return false;
	}
	CHECK_EQ(err, 0);
	fail_fd = open("/proc/gmem_fail", O_RDWR | O_CLOEXEC);
	CHECK(fail_fd >= 0);
	return true;
}

static void fail_end(void)
{
	close(fail_fd);
	CHECK_EQ(kt_unload_soon("gmem_fail"), 0);
}

static void fail_at(const char *nth)
{
	CHECK_EQ(pwrite(fail_fd, nth, strlen(nth), 0), strlen(nth));
}

/* Has it failed? */
static bool has_failed(void)
{
	char text[16] = "";

	fail_at("-1");
	CHECK(pread(fail_fd, text, sizeof(text) - 1, 0) > 0);
	return atoi(text) < 0;
}

/* @make until none of its allocations fails; it returns -errno, and takes back what it made. */
static void each_fails(const char *what, struct kt *t, int (*make)(struct kt *t))
{
	unsigned int n = 0, errors = 0;
	int err;

	CHECK_EQ(make(t), 0); /* so that what is made once is there */
	for (;; n++) {
		char nth[16];

		snprintf(nth, sizeof(nth), "%u", n);
		fail_at(nth);
		err = make(t);
		if (!has_failed())
			break;
		if (err && err != -ENOMEM)
			kt_fail(__FILE__, __LINE__, "%s: allocation %u: %d", what, n, err);
		errors += err != 0;
		CHECK_EQ(make(t), 0);
	}
	CHECK_EQ(err, 0);
	printf("  %s: %u allocations, %u errors\n", what, n, errors);
	CHECK(errors > 0);
}

/* What ends things may allocate too, and is not to fail: it is called when nothing does any more. */
static int close_it(int fd)
{
	fail_at("-1");
	return fd < 0 ? fd : close(fd);
}

static int make_as(struct kt *t)
{
	(void)t;
	return close_it(kt_as(0));
}

static int make_object(struct kt *t)
{
	return close_it(kt_object(t->len));
}

static int make_mapping(struct kt *t)
{
	uint64_t va = 0;
	int err = kt_map_at(t->as, t->obj, 0, t->len, RW, &va);

	fail_at("-1");
	return err ? err : munmap((void *)(uintptr_t)va, t->len);
}

static int make_context(struct kt *t)
{
	int as = kt_as(0), ctx = as < 0 ? as : kt_attach(t->sim, as);
	struct gmem_sim_detach d = { .size = sizeof(d), .ctx = (uint32_t)ctx };

	fail_at("-1");
	if (ctx >= 0)
		CHECK_EQ(kt_ioctl(t->sim, GMEM_SIM_IOC_DETACH, &d), 0);
	if (as >= 0)
		close(as);
	return ctx < 0 ? ctx : 0;
}

/* The first use of a block by a device, by a hint and by an access. */
static int use_block(struct kt *t, void *p)
{
	uint64_t v = 5;
	int err = kt_advise(t->as, GMEM_PREFETCH, t->node, p, 3 * PAGE);

	if (!err)
		err = kt_dev(t->sim, t->ctx, GMEM_SIM_WRITE, (char *)p + 8 * PAGE, &v, 8);
	fail_at("-1");
	if (!err)
		CHECK_EQ(kt_dev_load(t->sim, t->ctx, (char *)p + 8 * PAGE), 5);
	return err;
}

static int make_block(struct kt *t)
{
	int obj = kt_object(BLOCK), err = obj < 0 ? obj : 0;
	uint64_t va = 0;

	if (!err)
		err = kt_map_at(t->as, obj, 0, BLOCK, RW, &va);
	if (!err)
		err = use_block(t, (void *)(uintptr_t)va);
	fail_at("-1");
	if (va)
		munmap((void *)(uintptr_t)va, BLOCK);
	if (obj >= 0)
		close(obj);
	return err;
}

static int make_device(struct kt *t)
{
	struct gmem_sim_create c = { .size = sizeof(c), .memory = 2 * BLOCK };
	int fd = open("/dev/gmem_sim", O_RDWR | O_CLOEXEC), node;

	(void)t;
	if (fd < 0)
		return -errno;
	node = kt_ioctl(fd, GMEM_SIM_IOC_CREATE, &c);
	close_it(fd);
	return node < 0 ? node : 0;
}

static void alloc_fails(void)
{
	struct kt t;

	if (!fail_begin())
		return;
	kt_begin(&t, 2 * BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 7);
	each_fails("an address space", &t, make_as);
	each_fails("an object", &t, make_object);
	each_fails("a mapping", &t, make_mapping);
	each_fails("a context", &t, make_context);
	each_fails("the first use of a block", &t, make_block);
	each_fails("a device", &t, make_device);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 7);
	kt_end(&t);
	fail_end();
}

/* An object of a user that gmem does not know yet, and forgets with it. */
static void alloc_fails_user(void)
{
	struct gmem_hnode_info info;
	struct kt t;

	if (!fail_begin())
		return;
	kt_begin(&t, BLOCK, 0);
	CHECK_EQ(setresuid(1001, 1001, 0), 0);
	each_fails("a user's first object", &t, make_object);
	kt_hnode(t.node, &info);
	CHECK_EQ(info.used, 0);
	CHECK_EQ(setresuid(0, 0, 0), 0);
	kt_end(&t);
	fail_end();
}

const struct kt_test kt_alloc[] = {
	{ "alloc_fails", alloc_fails, 120 },
	{ "alloc_fails_user", alloc_fails_user, 60 },
	{ 0 },
};
