// SPDX-License-Identifier: GPL-2.0-only
/* Modules that come and go; they do not while somebody uses them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "kt.h"

static void load_unload(void)
{
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(kt_load("gmem"), 0);
		CHECK_EQ(kt_load("gmem_sim"), 0);
		CHECK_EQ(kt_load("gmem"), -EEXIST);
		CHECK_EQ(kt_unload("gmem"), -EAGAIN); /* the driver uses it */
		if (i % 5 == 0) {
			pid_t pid = fork();
			struct kt t;

			if (!pid) {
				kt_begin(&t, BLOCK, 0);
				kt_dev_store(t.sim, t.ctx, t.mem, 1);
				_exit(0); /* nothing is closed but by that */
			}
			CHECK_EQ(kt_wait(pid), 0);
		}
		CHECK_EQ(kt_unload_soon("gmem_sim"), 0);
		CHECK_EQ(kt_unload_soon("gmem"), 0);
	}
}

/* A descriptor, and a mapping alone, keep the module. */
static void unload_in_use(void)
{
	uint64_t *mem;
	int as, obj;

	CHECK_EQ(kt_load("gmem"), 0);
	as = kt_as(0);
	obj = kt_object(BLOCK);
	CHECK_EQ(kt_unload("gmem"), -EAGAIN);
	mem = kt_map(as, obj, 0, BLOCK, GMEM_PROT_READ | GMEM_PROT_WRITE);
	mem[3] = 4;
	close(as);
	close(obj);
	close(kt_gmem());
	CHECK_EQ(kt_unload("gmem"), -EAGAIN);
	CHECK_EQ(mem[3], 4);
	CHECK_EQ(mem[PAGE], 0);
	munmap(mem, BLOCK);
	CHECK_EQ(kt_unload_soon("gmem"), 0);
}

/* Whoever looks at events keeps nobody from unloading; they go, and come back disabled. */
static void unload_traced(void)
{
	static const char enable[] = "/sys/kernel/tracing/events/gmem/enable";
	char on;
	int fd;

	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(kt_load("gmem"), 0);
		fd = open(enable, O_RDWR);
		CHECK(fd >= 0);
		CHECK_EQ(pread(fd, &on, 1, 0), 1);
		CHECK_EQ(on, '0');
		CHECK_EQ(pwrite(fd, "1", 1, 0), 1);
		close(fd);
		CHECK_EQ(kt_unload_soon("gmem"), 0);
		CHECK_EQ(open(enable, O_RDWR), -1);
	}
}

void kt_module_gone(void)
{
	CHECK_EQ(kt_unload_soon("gmem_sim"), 0);
	CHECK_EQ(kt_unload_soon("gmem"), 0);
}

const struct kt_test kt_module[] = {
	{ "load_unload", load_unload, 120 },
	{ "unload_in_use", unload_in_use, 0 },
	{ "unload_traced", unload_traced, 0 },
	{ 0 },
};
