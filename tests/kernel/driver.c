// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver that is wrong: gmem_kt.ko tries, and loads if it was told what it should be
 * told. What the log says of it is read here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "kt.h"

/* One kind of checks: the module loads, has nothing to say for itself, and unloads. */
static void check(const char *params)
{
	int err = kt_load_with("gmem_kt", params);

	if (err)
		kt_fail(__FILE__, __LINE__, "gmem_kt %s: %s", params, strerror(-err));
	CHECK_EQ(kt_unload_soon("gmem_kt"), 0);
}

/* A reader of the log that begins at its end. */
static int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	CHECK(fd >= 0);
	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	return fd;
}

/* The next line of ours has to be this one, and what is behind it in the record nothing. */
static void log_says(int fd, const char *want)
{
	char line[2048], *text;
	ssize_t n;

	do {
		n = read(fd, line, sizeof(line) - 1);
		if (n < 0 && errno == EAGAIN)
			kt_fail(__FILE__, __LINE__, "the log does not say: %s", want);
		line[n > 0 ? n : 0] = 0;
		text = strchr(line, ';');
	} while (!text || !strstr(text, "gmem"));
	text[1 + strcspn(text + 1, "\n")] = 0;
	if (strcmp(text + 1, want))
		kt_fail(__FILE__, __LINE__, "the log says: %s, not: %s", text + 1, want);
}

static void log_ends(int fd)
{
	char line[2048];
	ssize_t n;

	while ((n = read(fd, line, sizeof(line) - 1)) > 0) {
		line[n] = 0;
		if (strstr(line, "gmem"))
			kt_fail(__FILE__, __LINE__, "the log says too: %s", line);
	}
	close(fd);
}

/* One line a function that is missing, and which it is. */
static void missing_functions(void)
{
	static const char *const names[] = { "pmap_create",  "pmap_destroy", "pmap_enter",
					     "pmap_release", "tlb_invl",     "copy",
					     "zero" };
	int fd = log_open();
	char want[128];

	check("check=functions");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(want, sizeof(want), "gmem: no %s in driver: kt-bad", names[i]);
		log_says(fd, want);
	}
	log_ends(fd);
}

static void wrong_tables(void)
{
	static const char size[] = "gmem: struct gm_mmu of a size that is not known, in driver: "
				   "kt-bad";
	static const char lacks[] = "gmem: pgsize_bitmap has no size up to 2 MiB, in driver: "
				    "kt-bad";
	static const char odd[] = "gmem: pgsize_bitmap has a size below 4 KiB or above 1 GiB, in "
				  "driver: kt-bad";
	static const char *const want[] = { size, size, size, lacks, lacks, odd, odd, odd };
	int fd;

	sleep(6); /* the core says no more than ten lines in five seconds */
	fd = log_open();
	check("check=tables");
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		log_says(fd, want[i]);
	log_ends(fd);
}

static void bad_physmem(void)
{
	int fd = log_open();

	check("check=physmem");
	log_ends(fd);
}

static void own_policies(void)
{
	int fd = log_open();

	check("check=policies");
	check("check=policies"); /* none was left */
	log_ends(fd);
}

static void too_many_devices(void)
{
	int fd = log_open();

	check("check=devices");
	check("check=devices"); /* none was left */
	log_ends(fd);
}

static void check_fd(int fd, int err)
{
	char params[64];

	snprintf(params, sizeof(params), "check=fd fd=%d fd_err=%d", fd, err);
	check(params);
}

/* What gm_as_from_fd() makes of descriptors, in the process that has them. */
static void bad_as_fd(void)
{
	int log = log_open(), as, sock[2];
	pid_t pid;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	as = kt_as(0);
	check_fd(as, 0);
	check_fd(-1, -EBADF);
	check_fd(1000, -EBADF);
	check_fd(sock[0], -EBADF);
	check_fd(kt_gmem(), -EBADF);
	check_fd(t.obj, -EBADF);
	check_fd(t.sim, -EBADF);
	pid = fork();
	if (!pid) { /* its parent's */
		check_fd(as, -EPERM);
		check_fd(kt_as(0), 0);
		_exit(0);
	}
	CHECK_EQ(kt_wait(pid), 0);
	kt_end(&t);
	log_ends(log);
}

/* A module that has a device is not unloaded, and neither is gmem. */
static void unload_with_device(void)
{
	static const char hold[] = "/sys/module/gmem_kt/parameters/hold";
	int fd;

	CHECK_EQ(kt_load_with("gmem_kt", "hold=1"), 0);
	CHECK_EQ(kt_unload("gmem_kt"), -EAGAIN);
	CHECK_EQ(kt_unload("gmem"), -EAGAIN);
	fd = open(hold, O_WRONLY);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "0", 1), 1);
	CHECK_EQ(write(fd, "1", 1), 1);
	CHECK_EQ(kt_unload("gmem_kt"), -EAGAIN);
	CHECK_EQ(write(fd, "0", 1), 1);
	close(fd);
	CHECK_EQ(kt_unload_soon("gmem_kt"), 0);
}

const struct kt_test kt_driver[] = {
	{ "missing_functions", missing_functions, 0 },
	{ "wrong_tables", wrong_tables, 60 },
	{ "bad_physmem", bad_physmem, 0 },
	{ "too_many_devices", too_many_devices, 60 },
	{ "policy_own", own_policies, 0 },
	{ "bad_as_fd", bad_as_fd, 60 },
	{ "unload_with_device", unload_with_device, 0 },
	{ 0 },
};
