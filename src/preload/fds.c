// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Descriptors of gmem's own, in a program that does not know of them.
 *
 * Theory. Memory whose userfaultfd is closed is no longer gmem's: what is on a device would read as zeros.
 * Shells put files at low numbers without asking what is there, daemons close all numbers that
 * there are. So gmem's descriptors are moved to the highest numbers that the process may have, by
 * a function that the linker puts before gm_fd_adopt(), which sees each of them; and
 * what programs close numbers with leaves them alone, as if they were not open.
 *
 * Locking. Slots are filled once each, before the number is used, and read without a lock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/linux-user/user.h"
#include "preload.h"

#define MAX_FDS 32

static int fds[MAX_FDS]; /* number + 1; atomic */

void __real_gm_fd_adopt(struct gm_user_fd *f, int fd);
void __wrap_gm_fd_adopt(struct gm_user_fd *f, int fd);
int __wrap_close(int fd);
__attribute__((visibility("default"))) int close(int fd);
__attribute__((visibility("default"))) int close_range(unsigned int first, unsigned int last,
						       int flags);
__attribute__((visibility("default"))) void closefrom(int first);

static bool is_ours(unsigned int fd)
{
	for (int i = 0; i < MAX_FDS && fd < INT_MAX; i++)
		if (__atomic_load_n(&fds[i], __ATOMIC_RELAXED) == (int)fd + 1)
			return true;
	return false;
}

static void note(int fd)
{
	for (int i = 0; i < MAX_FDS; i++) {
		int none = 0;

		if (__atomic_compare_exchange_n(&fds[i], &none, fd + 1, false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED))
			return;
	}
}

/*
 * The same file at a high number, if there is one free; else it stays where it is. Not higher than
 * programs have them anyway: the kernel's table is as long as the highest.
 */
int gm_own_fd(int fd)
{
	struct rlimit limit;
	rlim_t most = 1024;
	int high = -1;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < most)
		most = limit.rlim_cur;
	if (most > 4 * MAX_FDS)
		high = fcntl(fd, F_DUPFD_CLOEXEC, (int)most - 2 * MAX_FDS);
	if (high >= 0) {
		__wrap_close(fd);
		fd = high;
	}
	note(fd);
	return fd;
}

void gm_own_fds_in_child(void)
{
	for (int i = 0; i < MAX_FDS; i++)
		__atomic_store_n(&fds[i], 0, __ATOMIC_RELAXED);
}

void __wrap_gm_fd_adopt(struct gm_user_fd *f, int fd)
{
	__real_gm_fd_adopt(f, gm_own_fd(fd));
}

/* gmem's own */
int __wrap_close(int fd)
{
	return (int)syscall(SYS_close, fd);
}

/* ---------------------------------------------------------------- the program's calls */

int close(int fd)
{
	if (fd >= 0 && is_ours((unsigned int)fd)) {
		errno = EBADF;
		return -1;
	}
	return (int)syscall(SYS_close, fd);
}

/* Piece by piece, between those of ours. */
int close_range(unsigned int first, unsigned int last, int flags)
{
	while (first <= last) {
		unsigned int stop = last;

		for (int i = 0; i < MAX_FDS; i++) {
			int fd = __atomic_load_n(&fds[i], __ATOMIC_RELAXED) - 1;

			if (fd >= 0 && (unsigned int)fd >= first && (unsigned int)fd <= stop)
				stop = (unsigned int)fd;
		}
		if (!is_ours(stop))
			return (int)syscall(SYS_close_range, first, stop, flags);
		if (stop > first && syscall(SYS_close_range, first, stop - 1, flags))
			return -1;
		first = stop + 1;
	}
	return 0;
}

void closefrom(int first)
{
	close_range(first > 0 ? (unsigned int)first : 0, UINT_MAX, 0);
}
