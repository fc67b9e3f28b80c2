// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The user host: the core and src/host/linux-user, by the names that rename.h gives them.
 * An object is a handle of this process there, so there are no descriptors to hand out.
 */
#include <errno.h>

#include "core/os.h"
#include "host.h"

static int no_descriptors(int err)
{
	gm_set_detail(err, "what the user host makes stays in its process: descriptors need the "
			   "kernel host, see GMEM_HOST in gmem(7)");
	return err;
}

static int user_as_fd(struct gm_as *as)
{
	return as ? no_descriptors(-EOPNOTSUPP) : -EINVAL;
}

static int user_as_on_destroy(struct gm_as *as, int (*fn)(void *data), void *data)
{
	(void)fn;
	(void)data;
	return user_as_fd(as);
}

static int user_object_fd(struct gm_object *obj)
{
	return obj ? no_descriptors(-EOPNOTSUPP) : -EINVAL;
}

static int user_object_from_fd(int fd, struct gm_object **obj)
{
	(void)fd;
	return obj ? no_descriptors(-EOPNOTSUPP) : -EINVAL;
}

static int user_dev_from_hnode(int hnode, struct gm_dev **dev)
{
	(void)hnode;
	return dev ? -EOPNOTSUPP : -EINVAL;
}

const struct gm_host gm_host_user = {
	.name = "user",
	.as_create = gm_core_as_create,
	.as_destroy = gm_core_as_destroy,
	.as_fd = user_as_fd,
	.as_on_destroy = user_as_on_destroy,
	.as_map = gm_core_as_map,
	.as_unmap = gm_core_as_unmap,
	.as_protect = gm_core_as_protect,
	.as_remap = gm_core_as_remap,
	.as_limit = gm_core_as_limit,
	.alloc = gm_core_alloc,
	.reg = gm_core_register,
	.unreg = gm_core_unregister,
	.as_attach = gm_core_as_attach,
	.as_attach_sparse = gm_core_as_attach_sparse,
	.as_detach = gm_core_as_detach,
	.as_lookup = gm_core_as_lookup,
	.as_stats = gm_core_as_stats,
	.object_create = gm_core_object_create,
	.object_from_fd = user_object_from_fd,
	.object_fd = user_object_fd,
	.object_put = gm_core_object_put,
	.advise = gm_core_hmadvise,
	.copy = gm_core_hmemcpy,
	.query = gm_core_query,
	.attr_query = gm_core_attr_query,
	.job_start = gm_core_job_start,
	.job_wait = gm_core_job_wait,
	.job_fd = gm_core_job_fd,
	.job_cancel = gm_core_job_cancel,
	.job_free = gm_core_job_free,
	.dev_create = gm_core_dev_create,
	.dev_destroy = gm_core_dev_destroy,
	.dev_from_hnode = user_dev_from_hnode,
	.dev_hnode = gm_core_dev_hnode,
	.dev_poison = gm_core_dev_poison,
	.dev_remove = gm_core_dev_remove,
	.dev_register_physmem = gm_core_dev_register_physmem,
	.dev_register_physmem_cpu = gm_core_dev_register_physmem_cpu,
	.dev_unregister_physmem = gm_core_dev_unregister_physmem,
	.dev_stats = gm_core_dev_stats,
	.dev_tune = gm_core_dev_tune,
	.dev_set_policy = gm_core_dev_set_policy,
	.dev_policy = gm_core_dev_policy,
	.policy_register = gm_core_policy_register,
	.policy_unregister = gm_core_policy_unregister,
	.policy_name = gm_core_policy_name,
	.events_open = gm_core_events_open,
	.events_read = gm_core_events_read,
	.events_fd = gm_core_events_fd,
	.events_lost = gm_core_events_lost,
	.events_close = gm_core_events_close,
	.hnode_info = gm_core_hnode_info,
	.metadata_bytes = gm_core_metadata_bytes,
	.retain_limit = gm_core_retain_limit,
	.retain_trim = gm_core_retain_trim,
	.retained_bytes = gm_core_retained_bytes,
	.record_start = gm_core_record_start,
	.record_stop = gm_core_record_stop,
	.as_next = gm_as_next,
};
