// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Devices of the kernel host. Their drivers are in the kernel; here a device is but the
 * number of its node. So a handle is a place in an array of nothing, which says the number
 * by being there: it needs no memory, no end, and may outlive its device.
 */
#include "kernel.h"

#define MAX_DEVS 64 /* as many as the kernel takes */

static const char places[MAX_DEVS];

int gm_k_no_driver(int err)
{
	gm_set_detail(err,
		      "on the kernel host drivers are in the kernel: a program with one of its own "
		      "needs GMEM_HOST=user; the simulated accelerator, the module gmem_sim and "
		      "the right to open /dev/gmem_sim");
	return err;
}

int gm_k_dev_create(const struct gm_mmu *mmu, const char *name, void *data, struct gm_dev **dev)
{
	(void)name;
	(void)data;
	return mmu && dev ? gm_k_no_driver(-EOPNOTSUPP) : -EINVAL;
}

int gm_k_dev_destroy(struct gm_dev *dev)
{
	return dev ? gm_k_no_driver(-EOPNOTSUPP) : -EINVAL;
}

int gm_k_dev_physmem(struct gm_dev *dev, uint64_t begin, uint64_t end)
{
	(void)begin;
	(void)end;
	return gm_k_dev_destroy(dev);
}

int gm_k_dev_poison(struct gm_dev *dev, uint64_t pa)
{
	(void)pa;
	return gm_k_dev_destroy(dev);
}

int gm_k_dev_physmem_cpu(struct gm_dev *dev, uint64_t begin, uint64_t end, uint64_t cpu)
{
	(void)cpu;
	return gm_k_dev_physmem(dev, begin, end);
}

int gm_k_dev_from_hnode(int hnode, struct gm_dev **dev)
{
	struct gmem_hnode_info info = { .size = sizeof(info), .hnode = hnode };
	int first = gm_kernel_first_hnode, err;

	if (!dev)
		return -EINVAL;
	err = gm_request(gm_kernel_fd, GMEM_HNODE_INFO, &info);
	if (err)
		return err;
	if (hnode < first || hnode >= first + MAX_DEVS)
		return -ENODEV;
	*dev = (struct gm_dev *)(uintptr_t)&places[hnode - first];
	return 0;
}

int gm_k_dev_hnode(const struct gm_dev *dev)
{
	return gm_kernel_first_hnode + (int)((const char *)dev - places);
}

int gm_k_dev_stats(struct gm_dev *dev, struct gm_stats *stats)
{
	struct gmem_stats s = { .size = sizeof(s) };
	int err;

	_Static_assert(sizeof(s) == sizeof(*stats), "the kernel's are the same");
	if (!dev || !stats)
		return -EINVAL;
	s.hnode = gm_k_dev_hnode(dev);
	err = gm_request(gm_kernel_fd, GMEM_HNODE_STATS, &s);
	return err ? err : gm_struct_out(stats, &s, sizeof(s));
}

int gm_k_dev_tune(struct gm_dev *dev, const struct gm_dev_tunables *from)
{
	struct gm_dev_tunables t;
	struct gmem_tune to = { .size = sizeof(to) };
	int err;

	if (!dev || !from)
		return -EINVAL;
	err = gm_options_copy(&t, sizeof(t), from, from->size);
	if (err)
		return err;
	to.hnode = gm_k_dev_hnode(dev);
	to.low = t.low;
	to.high = t.high;
	to.granule = t.granule;
	to.no_grow = t.no_grow;
	to.no_background = t.no_background;
	to.limit = t.limit;
	to.thrash_times = t.thrash_times;
	to.thrash_lapse_us = t.thrash_lapse_us;
	to.thrash_hold_us = t.thrash_hold_us;
	to.no_thrash = t.no_thrash;
	return gm_request(gm_kernel_fd, GMEM_HNODE_TUNE, &to);
}
