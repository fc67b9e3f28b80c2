// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The machine that `gmem check` runs on: its calls, and a trial of the library itself. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gmem/gmem.h>
#include <gmem/sim.h>

#include "check.h"
#include "device.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

static int result(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

static int sys_release(struct utsname *name)
{
	return result(uname(name));
}

static int sys_userfaultfd(int flags)
{
	return result(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags));
}

static int sys_userfaultfd_dev(const char *path)
{
	int dev = open(path, O_RDWR | O_CLOEXEC), fd;

	if (dev < 0)
		return -errno;
	fd = result(ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
	close(dev);
	return fd;
}

static int sys_features(int uffd, uint64_t *features)
{
	struct uffdio_api api = { .api = UFFD_API };
	int err = result(ioctl(uffd, UFFDIO_API, &api));

	*features = api.features;
	return err;
}

static bool sys_seccomp(void)
{
	return prctl(PR_GET_SECCOMP) == 2;
}

/* As the library does: Linux 6.3 can be told to refuse files that may be executed. */
static int sys_memfd(void)
{
	int fd = result(memfd_create("gmem", MFD_CLOEXEC | MFD_NOEXEC_SEAL));

	return fd == -EINVAL ? result(memfd_create("gmem", MFD_CLOEXEC)) : fd;
}

static int sys_limit(int resource, struct rlimit *limit)
{
	return result(getrlimit((__rlimit_resource_t)resource, limit));
}

/* One request of /dev/gmem. */
static int request(const char *path, unsigned long cmd, void *arg)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = result(ioctl(fd, cmd, arg));
	close(fd);
	return err;
}

static int sys_info(const char *path, struct gmem_info *info)
{
	*info = (struct gmem_info){ .size = sizeof(*info) };
	return request(path, GMEM_INFO, info);
}

static int sys_hnode(const char *path, int hnode)
{
	struct gmem_hnode_info info = { .size = sizeof(info), .hnode = hnode };

	return request(path, GMEM_HNODE_INFO, &info);
}

static int sys_readable(const char *path, int mode)
{
	return result(access(path, mode));
}

/* ---------------------------------------------------------------------------- the trial */

#define TRIAL_SIZE GM_BLOCK_SIZE

/* To the device and back: the CPU reads what it wrote. */
static int try_device(struct gm_as *as, unsigned char *mem, const char **what)
{
	struct gm_sim_options opt = { .size = sizeof(opt), .memory = TRIAL_SIZE, .lanes = 1 };
	struct gm_sim_ctx *ctx = NULL;
	struct gm_sim *sim = NULL;
	int err, end;

	*what = "create a simulated accelerator";
	err = gm_sim_create(&opt, &sim);
	if (err)
		return err;
	*what = "attach the simulated accelerator";
	err = gm_sim_attach(sim, as, &ctx);
	if (!err) {
		*what = "move memory to the simulated accelerator";
		err = hmadvise(gm_dev_hnode(gm_sim_dev(sim)), mem, TRIAL_SIZE, GM_PREFETCH);
	}
	if (!err && (mem[0] != 'g' || mem[TRIAL_SIZE - 1] != 'm')) {
		*what = "read back what was written";
		err = -EIO;
	}
	end = ctx ? gm_sim_detach(ctx) : 0;
	if (!end)
		end = gm_sim_destroy(sim);
	if (!err && end)
		*what = "unplug the simulated accelerator";
	return err ? err : end;
}

static int try_memory(struct gm_as *as, const char **what)
{
	void *addr = NULL;
	unsigned char *mem;
	int err;

	*what = "allocate managed memory";
	err = gm_alloc(as, TRIAL_SIZE, 0, &addr);
	if (err)
		return err;
	mem = addr;
	mem[0] = 'g';
	mem[TRIAL_SIZE - 1] = 'm';
	return device_possible() ? try_device(as, mem, what) : 0;
}

static int sys_try(const char **what)
{
	struct gm_as *as = NULL;
	int err, end;

	setenv("GMEM_QUIET", "1", 1); /* what the library would warn of has been said */
	*what = "create an address space";
	err = gm_as_create(NULL, &as);
	if (err)
		return err;
	err = try_memory(as, what);
	end = gm_as_destroy(as);
	if (!err && end)
		*what = "destroy the address space";
	return err ? err : end;
}

const struct check_sys check_machine = {
	.root = "",
	.release = sys_release,
	.userfaultfd = sys_userfaultfd,
	.userfaultfd_dev = sys_userfaultfd_dev,
	.features = sys_features,
	.seccomp = sys_seccomp,
	.memfd = sys_memfd,
	.limit = sys_limit,
	.info = sys_info,
	.hnode = sys_hnode,
	.readable = sys_readable,
	.try = sys_try,
};
