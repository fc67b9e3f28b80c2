/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What a driver in the kernel has besides <gmem/driver.h>.
 *
 * There an address space comes from a descriptor that a program hands to the driver; and
 * the @host of an extent is a physical address of the machine's memory. A driver of
 * hardware maps it for its device, dma_map_page(dev, gm_host_page(host), ...), before it
 * tells its copy engine, and unmaps it when the copy is done. So is @host of pmap_enter_host():
 * that it maps there, and unmaps when the translations of what pmap_release() took are dropped.
 */
#ifndef GMEM_KERNEL_H
#define GMEM_KERNEL_H

#include <linux/export.h>
#include <linux/io.h>
#include <linux/mm.h>

#include <gmem/driver.h>

/**
 * gm_as_from_fd - the address space of a descriptor, held until gm_as_release()
 *
 * -EBADF: not a descriptor, or of something else; -EPERM: of another process's address
 * space. A context holds its address space by itself, so a driver may release it as soon as it
 * has attached its device.
 */
int gm_as_from_fd(int fd, struct gm_as **as);
void gm_as_release(struct gm_as *as);

/**
 * gm_dev_create, gm_dev_destroy - as in driver.h, and the caller's module stays
 *
 * gm_dev_destroy() may fail, for a page that cannot be brought home, and the end of a module
 * may not. So a device keeps its driver's module from being unloaded until it is destroyed:
 * when the driver is unbound, or its last user goes; not in the module's exit.
 */
int gm_kdev_create(struct module *owner, const struct gm_mmu *mmu, const char *name, void *data,
		   struct gm_dev **dev);
int gm_kdev_destroy(struct gm_dev *dev);
#define gm_dev_create(mmu, name, data, dev) gm_kdev_create(THIS_MODULE, mmu, name, data, dev)
#define gm_dev_destroy(dev) gm_kdev_destroy(dev)

/** gm_as_attach, gm_as_attach_sparse, gm_as_detach - as in driver.h; the context holds @as */
int gm_kas_attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode, struct gm_context **ctx);
int gm_kas_attach_sparse(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
			 struct gm_context **ctx);
int gm_kas_detach(struct gm_context *ctx);
#define gm_as_attach gm_kas_attach
#define gm_as_attach_sparse gm_kas_attach_sparse
#define gm_as_detach(ctx) gm_kas_detach(ctx)

static inline struct page *gm_host_page(uint64_t host)
{
	return pfn_to_page(host >> PAGE_SHIFT);
}

/* For a copy engine in software. */
static inline void *gm_host_ptr(uint64_t host)
{
	return phys_to_virt(host);
}

#endif
