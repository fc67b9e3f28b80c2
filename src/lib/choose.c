// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Which host it is: decided once a process, by the first call that needs to know.
 *
 * GMEM_HOST=user or kernel says so. Otherwise a program that brings a driver of its own
 * gets the user host, for the kernel's drivers are in the kernel; any other the kernel's,
 * if /dev/gmem can be opened.
 *
 * Locking: none, so that a child of fork() finds none taken. Threads that come at once may
 * each make up their minds; the first to say so decides for all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/os.h"
#include "host.h"

static const struct gm_host *chosen;

static int fail(int err, const char *text)
{
	gm_set_detail(err, text);
	return err;
}

static int open_kernel(void)
{
	int err = gm_kernel_open();

	if (err == -ENOENT || err == -ENODEV || err == -ENXIO)
		return fail(err,
			    "GMEM_HOST=kernel, but there is no /dev/gmem: load the module gmem, or "
			    "use GMEM_HOST=user");
	if (err == -EOPNOTSUPP)
		return fail(
			err,
			"GMEM_HOST=kernel, but /dev/gmem is not what this library knows: install "
			"the module gmem of its version, or use GMEM_HOST=user");
	if (err)
		return fail(
			err,
			"GMEM_HOST=kernel, but /dev/gmem cannot be opened: get the right to read "
			"and write it, or use GMEM_HOST=user");
	return 0;
}

static int decide(bool driver, const struct gm_host **host)
{
	const char *wish = secure_getenv("GMEM_HOST");
	int err = 0;

	if (wish && !strcmp(wish, "user")) {
		*host = &gm_host_user;
	} else if (wish && !strcmp(wish, "kernel")) {
		err = open_kernel();
		*host = &gm_host_kernel;
	} else if (!wish || !*wish || !strcmp(wish, "auto")) {
		*host = driver || gm_kernel_open() ? &gm_host_user : &gm_host_kernel;
	} else {
		err = fail(-EINVAL, "GMEM_HOST is none of user, kernel and auto");
	}
	return err;
}

/* For a program that does not ask for it itself. */
static void look_on(const struct gm_host *host)
{
	const char *path = secure_getenv("GMEM_RECORD"), *trace = secure_getenv("GMEM_TRACE");
	int err = path && *path ? host->record_start(path) : 0;

	if (err)
		gm_os_warn("GMEM_RECORD: cannot record", gm_strerror(err));
	err = trace && *trace ? gm_trace_start(host, trace) : 0;
	if (err)
		gm_os_warn("GMEM_TRACE: cannot trace",
			   err == -EEXIST ? "what is in the file is no trace" : strerror(-err));
}

int gm_host_choose(bool driver, const struct gm_host **host)
{
	const struct gm_host *mine = __atomic_load_n(&chosen, __ATOMIC_ACQUIRE), *none = NULL;
	int err;

	if (!mine) {
		err = decide(driver, &mine);
		if (err)
			return err;
		if (!__atomic_compare_exchange_n(&chosen, &none, mine, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_ACQUIRE))
			mine = none;
		else
			look_on(mine);
	}
	*host = mine;
	return 0;
}

const struct gm_host *gm_host(void)
{
	const struct gm_host *host = __atomic_load_n(&chosen, __ATOMIC_ACQUIRE);

	return host ? host : &gm_host_user;
}
