/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Machines that are made up: a directory with the files that probes of `gmem check` read, and
 * functions that say what its kernel would. Of them there is one at a time, made by good_machine().
 */
#ifndef CHECK_MACHINE_H
#define CHECK_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "check.h"

#define ALL_FEATURES (~0ULL)

/* What the made-up machine says: a value, or -errno. */
extern struct machine {
	int full, dev, user_only; /* the doors of userfaultfd; 0: open */
	uint64_t features;
	int features_err;
	bool seccomp;
	int memfd;
	struct rlimit files, addresses, locked;
	int info;
	unsigned int version, hnodes;
	const char *release, *machine;
	int release_err;
	int try;
	int pagemap, sim;
} m;

extern struct check c; /* what was found */

#define HUGE "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define SHMEM "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define MODULE "/sys/module/gmem/version"
#define V2 "/sys/fs/cgroup/a/memory.max"
#define V1 "/sys/fs/cgroup/memory/b/memory.limit_in_bytes"

/* text NULL: no such file */
void put(const char *path, const char *text);
void remove_module(void);
/* A machine on which nothing is missing. */
int good_machine(void **state);
void run(const char *wish);
const struct check_item *item(const char *name);
/* The item has that state and command; what is not well also says what goes without it. */
void found(const char *name, enum check_state state, const char *mend);
void status(int want, const char *host);

/* cmocka's setup and teardown of a group: the directory. */
int machines_begin(void **state);
int machines_end(void **state);

#endif
