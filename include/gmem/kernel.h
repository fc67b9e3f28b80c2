/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What a driver in the kernel has besides <gmem/driver.h>.
 *
 * There an address space comes from a descriptor that a program hands to the driver; and
 * the @host of an extent is a physical address of the machine's memory. A driver of
 * hardware maps it for its device, dma_map_page(dev, gm_host_page(host), ...), before it
 * tells its copy engine, and unmaps it when the copy is done.
 */
#ifndef GMEM_KERNEL_H
#define GMEM_KERNEL_H

#include <linux/io.h>
#include <linux/mm.h>

#include <gmem/driver.h>

/**
 * gm_as_from_fd - the address space of a descriptor, held until gm_as_release()
 *
 * -EBADF: not a descriptor, or of something else; -EPERM: of another process's address
 * space. A driver holds it as long as a context of its own is attached to it.
 */
int gm_as_from_fd(int fd, struct gm_as **as);
void gm_as_release(struct gm_as *as);

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
