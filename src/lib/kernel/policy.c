// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Policies of the kernel host: chosen by name, by a request; their code is the kernel's, where
 * modules may bring their own.
 */
#include <string.h>

#include "kernel.h"

int gm_k_dev_set_policy(struct gm_dev *dev, const char *names)
{
	struct gmem_policy p = { .size = sizeof(p), .op = GMEM_POLICY_SET };

	if (!dev || !names)
		return -EINVAL;
	if (strlen(names) >= sizeof(p.names))
		return -ENOENT; /* nobody has so long a name */
	p.hnode = gm_k_dev_hnode(dev);
	strcpy(p.names, names);
	return gm_request(gm_kernel_fd, GMEM_POLICY, &p);
}

int gm_k_dev_policy(struct gm_dev *dev, char *names, size_t len)
{
	struct gmem_policy p = { .size = sizeof(p), .op = GMEM_POLICY_GET };
	int err;

	if (!dev || !names)
		return -EINVAL;
	p.hnode = gm_k_dev_hnode(dev);
	err = gm_request(gm_kernel_fd, GMEM_POLICY, &p);
	if (err)
		return err;
	if (strlen(p.names) >= len)
		return -ERANGE;
	strcpy(names, p.names);
	return 0;
}

int gm_k_policy_register(const struct gm_move_policy *move, const struct gm_evict_policy *evict)
{
	return move || evict ? gm_k_no_driver(-EOPNOTSUPP) : -EINVAL;
}

int gm_k_policy_name(unsigned int i, struct gm_policy_info *info)
{
	struct gmem_policy p = { .size = sizeof(p), .op = GMEM_POLICY_NAME, .index = i };
	struct gm_policy_info now = { .size = sizeof(now) };
	int err;

	if (!info)
		return -EINVAL;
	err = gm_request(gm_kernel_fd, GMEM_POLICY, &p);
	if (err)
		return err;
	now.kind = p.kind;
	memcpy(now.name, p.names, sizeof(now.name));
	memcpy(now.text, p.text, sizeof(now.text));
	return gm_struct_out(info, &now, sizeof(now));
}
