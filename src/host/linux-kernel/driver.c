// SPDX-License-Identifier: GPL-2.0-only
/*
 * Drivers are modules, and a device has pointers into its driver's.
 *
 * Each device holds the module that made it, see <gmem/kernel.h>. Who that is stands in a
 * table by the device's place, which is the device's own from its creation to its end: it
 * is written by its creator before anybody else knows the device, and read before the end.
 *
 * A context holds the address space that it is attached to, which may not end under a device.
 */
#include <linux/module.h>

#include <gmem/kernel.h>

#undef gm_as_attach
#undef gm_as_attach_sparse

#include "kernel.h"

static struct module *owners[GM_KDEVS];

static struct module **owner_of(const struct gm_dev *dev)
{
	return &owners[gm_dev_hnode(dev) - gm_os_numa_nodes()];
}

int gm_kdev_create(struct module *owner, const struct gm_mmu *mmu, const char *name, void *data,
		   struct gm_dev **dev)
{
	int err;

	if (!try_module_get(owner))
		return -ENODEV; /* it is going already */
	err = (gm_dev_create)(mmu, name, data, dev);
	if (err)
		module_put(owner);
	else
		*owner_of(*dev) = owner;
	return err;
}

int gm_kdev_destroy(struct gm_dev *dev)
{
	struct module *owner = dev ? *owner_of(dev) : NULL;
	int err = (gm_dev_destroy)(dev);

	if (!err)
		module_put(owner);
	return err;
}

typedef int attach_fn(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
		      struct gm_context **ctx);

static int attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode, struct gm_context **ctx,
		  attach_fn *fn)
{
	int err = fn(as, dev, mode, ctx);

	if (!err)
		gm_kas_get(*gm_as_host(as));
	return err;
}

int gm_kas_attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode, struct gm_context **ctx)
{
	return attach(as, dev, mode, ctx, gm_as_attach);
}

int gm_kas_attach_sparse(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
			 struct gm_context **ctx)
{
	return attach(as, dev, mode, ctx, gm_as_attach_sparse);
}

int gm_kas_detach(struct gm_context *ctx)
{
	struct gm_as *as = ctx ? gm_context_as(ctx) : NULL;
	int err = (gm_as_detach)(ctx);

	if (!err)
		gm_as_release(as);
	return err;
}
