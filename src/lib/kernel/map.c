// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Objects of the kernel host, a descriptor each, and their mappings.
 *
 * Locking: none; two who unmap, protect or map one range at once may each see what the
 * other has done, as with mmap(2).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel.h"

static uint64_t addr_of(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* ---------------------------------------------------------------------------- objects */

static int wrap(int fd, struct gm_object **out)
{
	struct gm_object *obj = malloc(sizeof(*obj));

	if (!obj) {
		close(fd);
		return -ENOMEM;
	}
	obj->fd = fd;
	*out = obj;
	return 0;
}

int gm_k_object_new(uint64_t size, uint32_t flags, uint64_t tag)
{
	struct gmem_object_create c = {
		.size = sizeof(c), .flags = flags, .bytes = size, .tag = tag
	};

	_Static_assert(GM_OBJECT_HUGETLB == GMEM_OBJECT_HUGE, "the kernel's is the same");
	if ((flags & ~(uint32_t)(GMEM_OBJECT_HUGE | GMEM_OBJECT_WHOLE)) || !size ||
	    size > GM_OBJECT_MAX_SIZE ||
	    size % (flags & GMEM_OBJECT_HUGE ? GM_BLOCK_SIZE : GM_PAGE_SIZE))
		return -EINVAL;
	return gm_request(gm_kernel_fd, GMEM_OBJECT_CREATE, &c);
}

int gm_k_object_create(uint64_t size, uint32_t flags, struct gm_object **obj)
{
	int fd = obj && !(flags & ~GM_OBJECT_HUGETLB) ? gm_k_object_new(size, flags, 0) : -EINVAL;

	return fd < 0 ? fd : wrap(fd, obj);
}

int gm_k_object_from_fd(int fd, struct gm_object **obj)
{
	struct gmem_object_info info = { .size = sizeof(info) };
	int err = obj ? gm_request(fd, GMEM_OBJECT_INFO, &info) : -EINVAL;

	if (err)
		return err == -ENOTTY ? -EBADF : err;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : wrap(fd, obj);
}

int gm_k_object_fd(struct gm_object *obj)
{
	return obj ? obj->fd : -EINVAL;
}

void gm_k_object_put(struct gm_object *obj)
{
	if (!obj)
		return;
	close(obj->fd);
	free(obj);
}

/* --------------------------------------------------------------------------- mappings */

int gm_k_map_fd(struct gm_as *as, int fd, uint64_t offset, uint64_t len, uint32_t prot,
		uint32_t flags, void **addr)
{
	struct gmem_map m = { .size = sizeof(m),
			      .fd = fd,
			      .prot = prot,
			      .flags = flags,
			      .offset = offset,
			      .len = len };
	int err;

	if (flags & GM_MAP_FIXED)
		m.addr = addr_of(*addr);
	if (m.addr + len < len) /* what the kernel says of it is ENOMEM */
		return -EINVAL;
	err = gm_as_request(as, GMEM_MAP, &m);
	if (!err)
		*addr = (void *)(uintptr_t)m.addr;
	return err;
}

int gm_k_as_map(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len,
		uint32_t prot, uint32_t flags, void **addr)
{
	_Static_assert(GM_MAP_FIXED == GMEM_MAP_FIXED && GM_READ == GMEM_PROT_READ &&
			       GM_WRITE == GMEM_PROT_WRITE,
		       "the kernel's are the same");
	if (!as || !obj || !addr || offset + len < len || (flags & ~GM_MAP_FIXED))
		return -EINVAL;
	return gm_k_map_fd(as, obj->fd, offset, len, prot, flags, addr);
}

/* Of this memory, and what it grows by (remap.c); no other's in this process. */
static uint64_t new_tag(void)
{
	static uint64_t last;

	return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

/* The mapping holds the object. */
int gm_k_alloc(struct gm_as *as, uint64_t len, uint32_t flags, void **addr)
{
	int fd = -EINVAL, err;

	if (as && addr && !(flags & ~GM_OBJECT_HUGETLB))
		fd = gm_k_object_new(len, flags | GMEM_OBJECT_WHOLE, new_tag());
	if (fd < 0)
		return fd;
	err = gm_k_map_fd(as, fd, 0, len, GM_READ | GM_WRITE, GMEM_MAP_WHOLE, addr);
	close(fd);
	return err;
}

int gm_k_as_unmap(struct gm_as *as, void *addr, uint64_t len)
{
	struct gmem_unmap u = { .size = sizeof(u), .addr = addr_of(addr), .len = len };

	return as ? gm_as_request(as, GMEM_UNMAP, &u) : -EINVAL;
}

int gm_k_as_protect(struct gm_as *as, void *addr, uint64_t len, uint32_t prot)
{
	struct gmem_query q = { .size = sizeof(q), .addr = addr_of(addr), .len = len };
	int err;

	if (!as || (prot & ~(GM_READ | GM_WRITE)) || !(prot & GM_READ))
		return -EINVAL;
	err = gm_as_request(as, GMEM_QUERY, &q); /* is it all ours? */
	if (!err && mprotect(addr, len, PROT_READ | (prot & GM_WRITE ? PROT_WRITE : 0)))
		err = -errno;
	return err;
}

/* gm_register() and gm_unregister(): the module maps its own files, and no memory of others. */
int gm_k_register(struct gm_as *as, void *addr, uint64_t len)
{
	if (!as || !addr || !len)
		return -EINVAL;
	gm_set_detail(-EOPNOTSUPP, "private memory can be registered on the user host only: use "
				   "GMEM_HOST=user, or gm_alloc()");
	return -EOPNOTSUPP;
}
