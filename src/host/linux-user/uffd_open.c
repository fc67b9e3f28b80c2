// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Opening userfaultfd, and saying why when it is refused.
 *
 * Three doors, best first. The system call gives everything to a process with
 * CAP_SYS_PTRACE, or to all if vm.unprivileged_userfaultfd is 1. /dev/userfaultfd
 * (Linux 6.1) gives everything to whoever may open it. The system call with
 * UFFD_USER_MODE_ONLY is open to all, but faults that the kernel takes on a
 * process's behalf fail: read(2) into memory that a device holds gives EFAULT. In
 * thread mode that is said once; in inline mode it is so anyway.
 *
 * UFFDIO_API can be called once on a descriptor and fails if a feature is asked for
 * that the kernel lacks; so a descriptor is spent on asking what there is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "user.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)
#endif

#define WANTED                                                                                     \
	((uint64_t)(UFFD_FEATURE_EXACT_ADDRESS | UFFD_FEATURE_MISSING_HUGETLBFS |                  \
		    UFFD_FEATURE_MINOR_HUGETLBFS | UFFD_FEATURE_POISON | UFFD_FEATURE_MOVE |       \
		    UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM))

static __thread int detail_err __attribute__((tls_model("initial-exec")));
static __thread const char *detail_text __attribute__((tls_model("initial-exec")));

void gm_set_detail(int err, const char *text)
{
	detail_err = err;
	detail_text = text;
}

const char *gm_get_detail(int err)
{
	return err == detail_err ? detail_text : NULL;
}

static int fail(int err, const char *text)
{
	gm_set_detail(err, text);
	return err;
}

static int by_syscall(int flags)
{
	return (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);
}

static int by_device(void)
{
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd, err;

	if (dev < 0)
		return -1;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	err = errno;
	close(dev);
	errno = err;
	return fd;
}

/* Why the last door, which needs no privilege, is shut. */
static int refusal(int err)
{
	if (err == EMFILE || err == ENFILE)
		return fail(-ENOMEM, "no file descriptor is left for userfaultfd: raise ulimit -n");
	if (err == ENOMEM)
		return fail(-ENOMEM, "no kernel memory is left for userfaultfd");
	if (prctl(PR_GET_SECCOMP) == 2)
		return fail(-EPERM,
			    "a seccomp filter refuses the system call userfaultfd: allow it "
			    "in the container's seccomp profile, or give the container the "
			    "device (docker run --device /dev/userfaultfd)");
	if (err == ENOSYS)
		return fail(-ENOSYS, "this kernel has no userfaultfd: it needs Linux 6.1 or later "
				     "with CONFIG_USERFAULTFD=y");
	return fail(-EPERM, "the kernel refuses userfaultfd: run `sysctl "
			    "vm.unprivileged_userfaultfd=1` or `chmod a+rw /dev/userfaultfd` as "
			    "root, or give the program CAP_SYS_PTRACE; if none of these helps, a "
			    "security module forbids it");
}

static void warn_user_only(void)
{
	static bool warned;

	if (!__atomic_exchange_n(&warned, true, __ATOMIC_RELAXED))
		gm_os_warn(
			"system calls such as read(2) on managed memory that a device holds will "
			"fail with EFAULT, for this process may service user-mode faults only; "
			"as root run `sysctl vm.unprivileged_userfaultfd=1` or `chmod a+rw "
			"/dev/userfaultfd`, or give the program CAP_SYS_PTRACE",
			NULL);
}

static int new_uffd(bool *user_only)
{
	int fd = by_syscall(0);

	*user_only = false;
	if (fd < 0)
		fd = by_device();
	if (fd < 0) {
		fd = by_syscall(UFFD_USER_MODE_ONLY);
		*user_only = true;
	}
	return fd < 0 ? refusal(errno) : fd;
}

static int handshake(int fd, uint64_t *features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = *features };

	if (ioctl(fd, UFFDIO_API, &api))
		return -EINVAL;
	*features = api.features;
	return 0;
}

int gm_uffd_open(bool inline_faults, int *fd, uint64_t *features)
{
	uint64_t required = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM;
	uint64_t offered = 0, granted;
	bool user_only;
	int err;

	required |= inline_faults ? UFFD_FEATURE_SIGBUS : UFFD_FEATURE_THREAD_ID;
	gm_set_detail(0, NULL);
	*fd = new_uffd(&user_only);
	if (*fd < 0)
		return *fd;
	err = handshake(*fd, &offered);
	close(*fd);
	if (err || required & ~offered)
		return fail(-ENOSYS,
			    "this kernel's userfaultfd cannot do minor faults on shmem: it "
			    "needs Linux 6.1 or later on x86-64 or arm64");

	*fd = new_uffd(&user_only);
	if (*fd < 0)
		return *fd;
	granted = required | (WANTED & offered);
	*features = granted;
	if (handshake(*fd, &granted)) {
		close(*fd);
		return fail(-ENOSYS, "this kernel's userfaultfd refuses features that it offers");
	}
	if (user_only && !inline_faults)
		warn_user_only();
	return 0;
}
