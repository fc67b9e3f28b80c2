// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the user host needs: userfaultfd and its features, memfd, and what some of its
 * functions need besides.
 *
 * userfaultfd has three doors, and they are tried in the order in which the library does:
 * the system call, the device, and the system call for faults of user mode only.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

/* Headers may be older than the kernel that runs. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
#endif

#define SYSCTL "vm.unprivileged_userfaultfd"
#define SYSCTL_FILE "/proc/sys/vm/unprivileged_userfaultfd"
#define DEVICE "/dev/userfaultfd"
#define HUGE_DIR "/sys/kernel/mm/hugepages/hugepages-2048kB"

static const struct {
	uint64_t bits;
	const char *name;
	enum check_state state; /* where it is missing */
	const char *since;	/* Linux */
	const char *without;
} features[] = {
	{ UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM, "shmem faults", CHECK_FAIL, "5.14",
	  "nothing of the user host works" },
	{ UFFD_FEATURE_THREAD_ID, "thread faults", CHECK_FAIL, "4.14",
	  "faults cannot be serviced by a thread, the default" },
	{ UFFD_FEATURE_SIGBUS, "inline faults", CHECK_WARN, "4.14",
	  "GM_AS_INLINE fails; faults are serviced by a thread" },
	{ UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS, "hugetlb faults",
	  CHECK_NOTE, "5.13", "GM_OBJECT_HUGETLB fails; pages of 4 KiB work" },
	{ UFFD_FEATURE_POISON, "poison", CHECK_NOTE, "6.6",
	  "a system call on a page that a failed device keeps is tried for ever, instead of "
	  "failing; all else works" },
	{ UFFD_FEATURE_MOVE, "move", CHECK_NOTE, "6.8",
	  "memory of gm_register() comes home by a copy more; all else is the same" },
};

/* No door was open, not even the one that is everybody's. */
static void refused(struct check *c, int err)
{
	check_add(c, "userfaultfd", CHECK_FAIL, "refused: %s", strerror(-err));
	check_without(c, "the user host does not work");
	if (err == -EMFILE || err == -ENFILE) {
		check_mend(c, err == -ENFILE,
			   err == -EMFILE ? "ulimit -n 1024"
					  : "sysctl "
					    "fs.file-max=100000");
	} else if (c->sys->seccomp()) {
		check_without(c, "a seccomp filter forbids it, as containers have one: the user "
				 "host does not work");
		check_mend(c, false, "docker run --device " DEVICE " ...");
	} else if (err == -ENOSYS) {
		check_without(c, "this kernel was built without it (CONFIG_USERFAULTFD): the user "
				 "host does not work");
		check_mend(c, true, "apt install linux-image-amd64");
	} else {
		check_without(c, "a security module forbids it: the user host does not work");
	}
}

/* It works, but not for faults that the kernel takes. */
static void user_only(struct check *c, int dev_err)
{
	char value[8] = "";

	check_add(c, "userfaultfd", CHECK_WARN, "for faults of user mode only");
	check_without(c, "system calls such as read(2) on memory that a device holds fail with "
			 "EFAULT; all else works");
	if (check_read(c, SYSCTL_FILE, value, sizeof(value)) && strcmp(value, "1"))
		check_mend(c, true, "sysctl " SYSCTL "=1");
	else if (dev_err == -EACCES || dev_err == -EPERM)
		check_mend(c, true, "chmod a+rw " DEVICE);
}

/* A descriptor, or -1 and what is missing has been said. */
static int open_uffd(struct check *c)
{
	int fd, dev_err, flags = 0;
	char path[512];

	fd = c->sys->userfaultfd(flags);
	if (fd >= 0) {
		check_add(c, "userfaultfd", CHECK_OK, "by the system call");
		return fd;
	}
	snprintf(path, sizeof(path), "%s" DEVICE, c->sys->root);
	fd = c->sys->userfaultfd_dev(path);
	if (fd >= 0) {
		check_add(c, "userfaultfd", CHECK_OK, "by " DEVICE);
		return fd;
	}
	dev_err = fd;
	fd = c->sys->userfaultfd(UFFD_USER_MODE_ONLY);
	if (fd < 0)
		refused(c, fd);
	else
		user_only(c, dev_err);
	return fd < 0 ? -1 : fd;
}

static bool check_features(struct check *c, int fd)
{
	uint64_t offered = 0;
	bool good = true;
	unsigned int i;
	int err = c->sys->features(fd, &offered);

	for (i = 0; i < sizeof(features) / sizeof(*features); i++) {
		if (!err && !(features[i].bits & ~offered)) {
			check_add(c, features[i].name, CHECK_OK, "yes");
			continue;
		}
		check_add(c, features[i].name, features[i].state, "no: Linux %s and later",
			  features[i].since);
		check_without(c, "%s", features[i].without);
		if (features[i].state != CHECK_NOTE)
			check_mend(c, true, "apt install linux-image-amd64");
		good = good && features[i].state != CHECK_FAIL;
	}
	return good;
}

static bool check_memfd(struct check *c)
{
	int fd = c->sys->memfd();

	if (fd >= 0) {
		close(fd);
		check_add(c, "memfd", CHECK_OK, "yes");
		return true;
	}
	check_add(c, "memfd", CHECK_FAIL, "refused: %s", strerror(-fd));
	check_without(c, "no object can be made: the user host does not work");
	if (fd == -EMFILE)
		check_mend(c, false, "ulimit -n 1024");
	return false;
}

static void check_pagemap(struct check *c)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/proc/self/pagemap", c->sys->root);
	if (!c->sys->readable(path, R_OK)) {
		check_add(c, "pagemap", CHECK_OK, "yes");
		return;
	}
	check_add(c, "pagemap", CHECK_NOTE, "/proc/self/pagemap cannot be read");
	check_without(c, "gm_register() fails; memory of gm_alloc() works");
	check_mend(c, true, "mount -t proc proc /proc");
}

static void check_hugetlb(struct check *c)
{
	uint64_t nr = 0, unused = 0, more = 0;

	if (!check_number(c, HUGE_DIR "/nr_hugepages", &nr)) {
		check_add(c, "hugetlb", CHECK_NOTE, "this machine has no pages of 2 MiB");
		check_without(c, "GM_OBJECT_HUGETLB fails; pages of 4 KiB work");
		return;
	}
	check_number(c, HUGE_DIR "/free_hugepages", &unused);
	check_number(c, HUGE_DIR "/nr_overcommit_hugepages", &more);
	if (unused || more) {
		check_add(c, "hugetlb", CHECK_OK, "%llu of %llu pages of 2 MiB free%s",
			  (unsigned long long)unused, (unsigned long long)nr,
			  more ? ", more on demand" : "");
		return;
	}
	if (nr)
		check_add(c, "hugetlb", CHECK_NOTE, "%llu pages of 2 MiB, none of them free",
			  (unsigned long long)nr);
	else
		check_add(c, "hugetlb", CHECK_NOTE, "no page of 2 MiB is set aside");
	check_without(c, "GM_OBJECT_HUGETLB fails; pages of 4 KiB work");
	check_mend(c, true, "sysctl vm.nr_hugepages=%llu", (unsigned long long)nr + 256);
}

void check_user(struct check *c)
{
	int fd = open_uffd(c);

	if (fd >= 0) {
		c->user = check_features(c, fd);
		close(fd);
	}
	c->user = check_memfd(c) && c->user;
	check_pagemap(c);
	check_hugetlb(c);
}
