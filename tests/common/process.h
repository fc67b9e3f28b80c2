/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What tests on a real process share: children of another kind, what they die of, and
 * what of the process is gmem's doing. cmocka's assertions are used throughout.
 */
#ifndef TESTS_COMMON_PROCESS_H
#define TESTS_COMMON_PROCESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <cmocka.h>

/*
 * Run this program again as `PROGRAM child NAME`, in a process of its own that has not
 * forked; its wait status, and up to @size bytes of what it said on stderr.
 */
int proc_child(const char *name, char *said, size_t size);
/* The same, and it must: end with 0; and say both texts; die of a signal. */
void proc_ends_well(const char *name, char *said, size_t size);
void proc_says(const char *name, const char *text, const char *also);
void proc_dies(const char *name, int sig);

int proc_wait(pid_t pid);
bool proc_died_of(int status, int sig);

/* For a child: the system call userfaultfd fails with @err; no rights beyond a user's. */
void proc_filter_userfaultfd(uint32_t err);
void proc_drop_privileges(void);
/* Is nothing of userfaultfd refused to an unprivileged process? */
bool proc_unprivileged_may(void);

/* Has this process a descriptor whose link has @name in it? */
bool proc_has_fd(const char *name);

/* Descriptors, threads, mappings, and which of these are of gmem's memfds. */
struct proc_resources {
	unsigned int fds, threads, maps, memfds;
};
struct proc_resources proc_resources(void);
/* The same, once threads that have ended are gone. */
struct proc_resources proc_settled(void);
/* Nothing more and nothing less than @before. */
void proc_assert_same(struct proc_resources before);

/* Set the machine's pool of huge pages; how many there were, or -1 if it cannot be told. */
long proc_huge_pages(long n);

#endif
