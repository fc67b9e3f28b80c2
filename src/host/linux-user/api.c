// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The public functions that need the host: those whose addresses carry no address
 * space, and what errors mean. And the library's beginning.
 */
#include <errno.h>
#include <unistd.h>

#include "user.h"

static int init_err = -ENOMEM;

/* Before constructors without a number: one of the same library's uses gmem (src/preload). */
__attribute__((constructor(101))) static void init(void)
{
	gm_fork_init();
	/* gmem's page is 4 KiB, and a part of a larger one can be neither mapped nor revoked. */
	init_err = sysconf(_SC_PAGESIZE) == (long)GM_PAGE ? gm_core_init() : -EOPNOTSUPP;
}

int gm_os_usable(void)
{
	if (__builtin_expect(gm_is_forked(), 0)) {
		gm_set_detail(-EPERM,
			      "gmem is not inherited over fork(): its objects belong to the "
			      "parent; a child may use gmem after execve()");
		return -EPERM;
	}
	return init_err;
}

static uint64_t addr_of(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

int hmadvise(int hnode, void *addr, size_t len, enum gm_advice advice)
{
	uint64_t va = addr_of(addr);
	struct gm_as *as;
	int err = gm_os_usable();
	bool begun;

	if (err)
		return err;
	if (!len || va + len < va || (unsigned int)advice > GM_UNSET_ACCESSED_BY)
		return -EINVAL;
	begun = gm_place_call_begin();
	as = gm_ranges_find(va);
	err = as ? gm_advise(as, hnode, va, len, (uint32_t)advice) : -EFAULT;
	gm_record_drain();
	gm_place_call_end(begun);
	return err;
}

int hmemcpy(int hnode, void *dst, const void *src, size_t len)
{
	uint64_t to = addr_of(dst), from = addr_of(src);
	int err = gm_os_usable();
	bool begun;

	if (err)
		return err;
	if (!len || to + len < to || from + len < from)
		return -EINVAL;
	begun = gm_place_call_begin();
	err = gm_copy(hnode, gm_ranges_find(to), to, gm_ranges_find(from), from, len);
	gm_record_drain();
	gm_place_call_end(begun);
	return err;
}

int gm_query(const void *addr, size_t len, struct gm_page_info *info)
{
	uint64_t va = addr_of(addr);
	struct gm_as *as;
	int err = gm_os_usable();

	if (err)
		return err;
	if (!len || va + len < va || !info)
		return -EINVAL;
	as = gm_ranges_find(va);
	return as ? gm_as_query(as, va, len, info) : -EFAULT;
}

int gm_attr_query(const void *addr, size_t len, struct gm_attr *attr)
{
	uint64_t va = addr_of(addr);
	struct gm_as *as;
	int err = gm_os_usable();

	if (err)
		return err;
	if (!len || va + len < va || !attr)
		return -EINVAL;
	as = gm_ranges_find(va);
	return as ? gm_as_attr(as, va, len, attr) : -EFAULT;
}

static const struct {
	int err;
	const char *text;
} meanings[] = {
	{ 0, "success" },
	{ EINVAL, "misuse: an unaligned, empty or overflowing range, or an unknown flag" },
	{ EFAULT, "the address is not managed memory" },
	{ EEXIST, "something is there already" },
	{ EACCES, "the memory is mapped read-only" },
	{ ENOMEM, "no host memory could be had" },
	{ ENOSPC, "device memory is full and nothing in it may be evicted" },
	{ EBUSY, "pinned or in use" },
	{ ENODEV, "there is no such node, or its device is not attached here" },
	{ EOPNOTSUPP, "the device, kernel or build lacks what was asked for" },
	{ EADDRINUSE, "a device uses these addresses for itself" },
	{ EIO, "the device failed; every byte is where it was" },
	{ E2BIG, "the caller is newer than the library and asks for what it does not know" },
	{ EPERM, "userfaultfd is refused, or the address space is another process's" },
	{ ENOSYS, "the kernel has no userfaultfd" },
	{ ENOENT, "there is nothing of that name or range" },
	{ EAGAIN, "too many hints are under way; try again once a job has ended" },
	{ ECANCELED, "the job was cancelled, or its address space is gone" },
	{ ETIMEDOUT, "the job has not ended yet" },
	{ EHWPOISON, "the bytes are gone: memory has failed" },
};

const char *gm_strerror(int err)
{
	const char *detail = gm_get_detail(err);

	if (detail)
		return detail;
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].err == -err)
			return meanings[i].text;
	return "unknown error";
}
