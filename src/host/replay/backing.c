// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Host backing and the CPU's page table, without bytes: a few bits for each page.
 *
 * Objects are mapped once each, by gm_alloc(), at addresses that are never used again; so a
 * page of a region is a page of its object. Addresses are numbers, and bus addresses are
 * offsets: the only copy engine there is looks at neither.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/replay/internal.h"

static uint64_t page_of(uint64_t bytes)
{
	return bytes / GM_PAGE_SIZE;
}

struct replay_object *replay_object(struct gm_object *obj)
{
	return *gm_object_host(obj);
}

int gm_os_object_create(struct gm_object *obj, uint32_t flags)
{
	struct replay_object *o;

	if (flags & ~GM_OBJECT_HUGETLB)
		return -EINVAL;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->pages = page_of(gm_object_size(obj));
	o->granule = flags & GM_OBJECT_HUGETLB ? page_of(GM_BLOCK_SIZE) : 1;
	o->page = replay_sparse_alloc(o->pages);
	if (!o->page) {
		free(o);
		return -ENOMEM;
	}
	*gm_object_host(obj) = o;
	replay_host.newest = obj;
	return 0;
}

void gm_os_object_destroy(struct gm_object *obj)
{
	struct replay_object *o = replay_object(obj);

	replay_sparse_free(o->page, o->pages);
	free(o);
	*gm_object_host(obj) = NULL;
}

uint64_t gm_os_backing_granule(struct gm_object *obj)
{
	return replay_object(obj)->granule * GM_PAGE_SIZE;
}

static void set_bits(struct replay_object *o, uint64_t off, uint64_t len, unsigned int bits)
{
	for (uint64_t i = page_of(off), end = i + page_of(len); i < end; i++)
		o->page[i] |= (uint8_t)bits;
}

static void clear_bits(struct replay_object *o, uint64_t off, uint64_t len, unsigned int bits)
{
	for (uint64_t i = page_of(off), end = i + page_of(len); i < end; i++)
		o->page[i] &= (uint8_t)~bits;
}

int gm_os_backing_get(struct gm_object *obj, uint64_t off, uint64_t len, bool exist, uint64_t *bus,
		      uint64_t *got)
{
	struct replay_object *o = replay_object(obj);
	uint64_t granule = o->granule * GM_PAGE_SIZE, first = off & ~(granule - 1);
	uint64_t end = (off + len + granule - 1) & ~(granule - 1);

	if (!exist)
		set_bits(o, first, end - first, REPLAY_EXISTS);
	*bus = off;
	*got = len;
	return 0;
}

void gm_os_backing_put(struct gm_object *obj, uint64_t off, uint64_t len)
{
	(void)obj;
	(void)off;
	(void)len;
}

uint64_t gm_os_backing_run(struct gm_object *obj, uint64_t off, uint64_t len, bool *present)
{
	struct replay_object *o = replay_object(obj);
	uint64_t i = page_of(off), end = i + page_of(len);
	unsigned int first = o->page[i] & REPLAY_EXISTS;

	while (i < end && (o->page[i] & REPLAY_EXISTS) == first)
		i++;
	*present = first;
	return i * GM_PAGE_SIZE - off;
}

void gm_os_backing_free(struct gm_object *obj, uint64_t off, uint64_t len)
{
	clear_bits(replay_object(obj), off, len, REPLAY_EXISTS | REPLAY_MAPPED);
}

uint64_t gm_os_metadata_bytes(void)
{
	return 0;
}

/* ------------------------------------------------- what nobody has a use for here */

/* No trace has a copy of bytes in it, which are read where they are and move nothing. */
int gm_os_backing_read(struct gm_object *obj, uint64_t off, void *buf, uint64_t len)
{
	(void)obj;
	(void)off;
	memset(buf, 0, len);
	return 0;
}

int gm_os_backing_write(struct gm_object *obj, uint64_t off, const void *buf, uint64_t len)
{
	(void)obj;
	(void)off;
	(void)buf;
	(void)len;
	return 0;
}

void *gm_os_bounce_alloc(uint64_t size, uint64_t *bus)
{
	*bus = 0;
	return calloc(1, size);
}

void gm_os_bounce_free(void *buf, uint64_t size, uint64_t bus)
{
	(void)size;
	(void)bus;
	free(buf);
}

int gm_os_copy_plain(void *dst, const void *src, uint64_t len)
{
	(void)dst;
	(void)src;
	(void)len;
	return -EFAULT;
}

/* Nothing moves that a device maps in place, so nothing needs to be held. */
bool gm_os_backing_in_place(const struct gm_object *obj)
{
	(void)obj;
	return true;
}

int gm_os_in_place_hold(struct gm_object *obj, uint64_t off, uint64_t len)
{
	(void)obj;
	(void)off;
	(void)len;
	return 0;
}

void gm_os_in_place_drop(struct gm_object *obj, uint64_t off, uint64_t len)
{
	(void)obj;
	(void)off;
	(void)len;
}

bool gm_os_in_place_any(struct gm_object *obj)
{
	(void)obj;
	return false;
}

int gm_os_aperture_open(uint64_t cpu, uint64_t len)
{
	(void)cpu;
	(void)len;
	return -EOPNOTSUPP;
}

void gm_os_aperture_close(uint64_t cpu, uint64_t len)
{
	(void)cpu;
	(void)len;
}

bool gm_os_aperture_idle(uint64_t cpu, uint64_t len)
{
	(void)cpu;
	(void)len;
	return true;
}

int gm_os_cpu_map_aperture(struct gm_region *region, uint64_t va, uint64_t len, uint64_t cpu)
{
	(void)region;
	(void)va;
	(void)len;
	(void)cpu;
	return -EOPNOTSUPP;
}

/* ----------------------------------------------------------- the CPU's mappings */

int gm_os_as_create(struct gm_as *as, const struct gm_as_options *opt)
{
	(void)as;
	(void)opt;
	return 0;
}

void gm_os_as_stop(struct gm_as *as)
{
	(void)as;
}

void gm_os_as_destroy(struct gm_as *as)
{
	(void)as;
}

int gm_os_region_map(struct gm_region *region, bool fixed)
{
	uint64_t align = gm_map_align(region), va = replay_host.va_end;

	if (fixed)
		return -EEXIST;
	va = ((va + align - 1) & ~(align - 1)) + (region->offset & (align - 1));
	region->va = va;
	replay_host.va_end = va + region->len;
	return 0;
}

static uint64_t offset_of(const struct gm_region *region, uint64_t va)
{
	return va - region->va + region->offset;
}

int gm_os_region_unmap(struct gm_region *region, uint64_t va, uint64_t len)
{
	clear_bits(replay_object(region->obj), offset_of(region, va), len,
		   REPLAY_MAPPED | REPLAY_ARMED);
	return 0;
}

int gm_os_va_reserve(struct gm_as *as, uint64_t len, uint64_t like, uint64_t *va)
{
	(void)as;
	(void)len;
	(void)like;
	(void)va;
	return -ENOMEM;
}

void gm_os_va_release(struct gm_as *as, uint64_t va, uint64_t len)
{
	(void)as;
	(void)va;
	(void)len;
}

int gm_os_region_split(struct gm_region *low, struct gm_region *high)
{
	(void)low;
	(void)high;
	return 0;
}

void gm_os_region_free(struct gm_region *region)
{
	(void)region;
}

int gm_os_region_protect(struct gm_region *region, uint64_t va, uint64_t len, uint32_t prot)
{
	(void)region;
	(void)va;
	(void)len;
	(void)prot;
	return 0;
}

int gm_os_cpu_arm(struct gm_region *region, uint64_t va, uint64_t len)
{
	set_bits(replay_object(region->obj), offset_of(region, va), len, REPLAY_ARMED);
	return 0;
}

int gm_os_cpu_map(struct gm_region *region, uint64_t va, uint64_t len)
{
	set_bits(replay_object(region->obj), offset_of(region, va), len, REPLAY_MAPPED);
	return 0;
}

int gm_os_object_revoke(struct gm_object *obj, uint64_t off, uint64_t len)
{
	struct replay_object *o = replay_object(obj);
	uint64_t end = o->pages * GM_PAGE_SIZE;

	/* The last block may be longer than the object. */
	clear_bits(o, off, len < end - off ? len : end - off, REPLAY_MAPPED);
	return 0;
}

/* The object was asked first. */
int gm_os_cpu_revoke(struct gm_region *region, uint64_t va, uint64_t len)
{
	return gm_os_object_revoke(region->obj, offset_of(region, va), len);
}
