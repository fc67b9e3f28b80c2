// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The kernel host: /dev/gmem itself, what is asked of it, and the table.
 *
 * An address carries no address space; the kernel finds it.
 */
#include <fcntl.h>
#include <unistd.h>

#include "kernel.h"

const char *gm_path_gmem = "/dev/gmem";
int gm_kernel_fd = -1;
int gm_kernel_first_hnode;

/* Threads may come here at once: the first one's descriptor stays. */
int gm_kernel_open(void)
{
	struct gmem_info info = { .size = sizeof(info) };
	int none = -1, fd;

	if (__atomic_load_n(&gm_kernel_fd, __ATOMIC_ACQUIRE) >= 0)
		return 0;
	fd = open(gm_path_gmem, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (gm_request(fd, GMEM_INFO, &info) || info.version != 1) {
		close(fd);
		return -EOPNOTSUPP;
	}
	__atomic_store_n(&gm_kernel_first_hnode, (int)info.first_hnode, __ATOMIC_RELAXED);
	if (!__atomic_compare_exchange_n(&gm_kernel_fd, &none, fd, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		close(fd);
	return 0;
}

static int k_advise(int hnode, void *addr, size_t len, enum gm_advice advice)
{
	struct gmem_advise a = { .size = sizeof(a),
				 .advice = (uint32_t)advice,
				 .hnode = hnode,
				 .addr = (uint64_t)(uintptr_t)addr,
				 .len = len };

	_Static_assert((int)GM_UNSET_ACCESSED_BY == (int)GMEM_UNSET_ACCESSED_BY &&
			       (int)GM_UNPIN == (int)GMEM_UNPIN && (int)GM_COLD == (int)GMEM_COLD,
		       "the kernel's are the same");
	if (!len || a.addr + len < a.addr || (unsigned int)advice > GM_UNSET_ACCESSED_BY)
		return -EINVAL;
	return gm_request(gm_kernel_fd, GMEM_ADVISE, &a);
}

static int k_copy(int hnode, void *dst, const void *src, size_t len)
{
	struct gmem_copy c = { .size = sizeof(c),
			       .hnode = hnode,
			       .dst = (uint64_t)(uintptr_t)dst,
			       .src = (uint64_t)(uintptr_t)src,
			       .len = len };

	return gm_request(gm_kernel_fd, GMEM_COPY, &c);
}

static int k_query(const void *addr, size_t len, struct gm_page_info *info)
{
	struct gmem_query q = { .size = sizeof(q),
				.addr = (uint64_t)(uintptr_t)addr,
				.len = len,
				.info = (uint64_t)(uintptr_t)info };

	if (!len || q.addr + len < q.addr || !info)
		return -EINVAL;
	return gm_request(gm_kernel_fd, GMEM_QUERY, &q);
}

static int k_attr_query(const void *addr, size_t len, struct gm_attr *attr)
{
	struct gmem_attr a = { .size = sizeof(a), .addr = (uint64_t)(uintptr_t)addr, .len = len };
	struct gm_attr now = { .size = sizeof(now) };
	int err;

	if (!len || a.addr + len < a.addr || !attr)
		return -EINVAL;
	err = gm_request(gm_kernel_fd, GMEM_ATTR, &a);
	if (err)
		return err;
	now.len = a.len;
	now.flags = a.flags;
	now.preferred = a.preferred;
	now.accessed_by = a.accessed_by;
	now.first_node = a.first_node;
	return gm_struct_out(attr, &now, sizeof(now));
}

/* Frames are no affair of a program's. */
static int k_as_lookup(struct gm_as *as, uint64_t va, struct gm_lookup *info)
{
	(void)va;
	return as && info ? -EOPNOTSUPP : -EINVAL;
}

static int k_as_stats(struct gm_as *as, struct gm_stats *stats)
{
	struct gmem_stats s = { .size = sizeof(s) };
	int err = as && stats ? gm_as_request(as, GMEM_STATS, &s) : -EINVAL;

	return err ? err : gm_struct_out(stats, &s, sizeof(s));
}

static int k_hnode_info(int hnode, struct gm_hnode_info *info)
{
	struct gmem_hnode_info from = { .size = sizeof(from), .hnode = hnode };
	struct gm_hnode_info now = { .size = sizeof(now) };
	int err = info ? gm_request(gm_kernel_fd, GMEM_HNODE_INFO, &from) : -EINVAL;

	if (err)
		return err;
	now.total = from.total;
	now.free = from.free;
	now.pinned = from.pinned;
	now.blocks = from.blocks;
	now.metadata = from.metadata;
	now.poisoned = from.poisoned;
	now.limit = from.usable;
	return gm_struct_out(info, &now, sizeof(now));
}

static uint64_t k_metadata_bytes(void)
{
	struct gmem_info info = { .size = sizeof(info) };

	return gm_request(gm_kernel_fd, GMEM_INFO, &info) ? 0 : info.metadata;
}

static uint64_t k_retained_bytes(void)
{
	struct gmem_info info = { .size = sizeof(info) };

	return gm_request(gm_kernel_fd, GMEM_INFO, &info) ? 0 : info.retained;
}

static void k_retain_limit(uint64_t bytes)
{
	struct gmem_retain r = { .size = sizeof(r), .op = GMEM_RETAIN_LIMIT, .bytes = bytes };

	gm_request(gm_kernel_fd, GMEM_RETAIN, &r); /* root's alone, as the header says */
}

static uint64_t k_retain_trim(uint64_t bytes)
{
	struct gmem_retain r = { .size = sizeof(r), .op = GMEM_RETAIN_TRIM, .bytes = bytes };

	return gm_request(gm_kernel_fd, GMEM_RETAIN, &r) ? 0 : r.bytes;
}

/* What a device of the kernel's accesses is not told. */
static int k_record_start(const char *path)
{
	if (!path || !*path)
		return -EINVAL;
	gm_set_detail(-EOPNOTSUPP, "the kernel host cannot record: use GMEM_HOST=user");
	return -EOPNOTSUPP;
}

static int k_record_stop(void)
{
	return -ENOENT;
}

static int k_first_hnode(void)
{
	return gm_kernel_first_hnode;
}

const struct gm_host gm_host_kernel = {
	.name = "kernel",
	.as_create = gm_k_as_create,
	.as_destroy = gm_k_as_destroy,
	.as_fd = gm_k_as_fd,
	.as_on_destroy = gm_k_as_on_destroy,
	.as_map = gm_k_as_map,
	.as_unmap = gm_k_as_unmap,
	.as_protect = gm_k_as_protect,
	.as_remap = gm_k_as_remap,
	.as_limit = gm_k_as_limit,
	.alloc = gm_k_alloc,
	.reg = gm_k_register,
	.unreg = gm_k_register,
	.as_attach = gm_k_as_attach,
	.as_attach_sparse = gm_k_as_attach,
	.as_detach = gm_k_as_detach,
	.as_lookup = k_as_lookup,
	.as_stats = k_as_stats,
	.object_create = gm_k_object_create,
	.object_from_fd = gm_k_object_from_fd,
	.object_fd = gm_k_object_fd,
	.object_put = gm_k_object_put,
	.advise = k_advise,
	.copy = k_copy,
	.query = k_query,
	.attr_query = k_attr_query,
	.job_start = gm_k_job_start,
	.job_wait = gm_k_job_wait,
	.job_fd = gm_k_job_fd,
	.job_cancel = gm_k_job_cancel,
	.job_free = gm_k_job_free,
	.dev_create = gm_k_dev_create,
	.dev_destroy = gm_k_dev_destroy,
	.dev_from_hnode = gm_k_dev_from_hnode,
	.dev_hnode = gm_k_dev_hnode,
	.dev_poison = gm_k_dev_poison,
	.dev_remove = gm_k_dev_destroy,
	.dev_register_physmem = gm_k_dev_physmem,
	.dev_register_physmem_cpu = gm_k_dev_physmem_cpu,
	.dev_unregister_physmem = gm_k_dev_physmem,
	.dev_stats = gm_k_dev_stats,
	.dev_tune = gm_k_dev_tune,
	.dev_set_policy = gm_k_dev_set_policy,
	.dev_policy = gm_k_dev_policy,
	.policy_register = gm_k_policy_register,
	.policy_unregister = gm_k_policy_register,
	.policy_name = gm_k_policy_name,
	.events_open = gm_k_events_open,
	.events_read = gm_k_events_read,
	.events_fd = gm_k_events_fd,
	.events_lost = gm_k_events_lost,
	.events_close = gm_k_events_close,
	.hnode_info = k_hnode_info,
	.metadata_bytes = k_metadata_bytes,
	.retain_limit = k_retain_limit,
	.retain_trim = k_retain_trim,
	.retained_bytes = k_retained_bytes,
	.record_start = k_record_start,
	.record_stop = k_record_stop,
	.as_next = gm_k_as_next,
	.first_hnode = k_first_hnode,
};
