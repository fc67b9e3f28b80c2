// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * hmemcpy: copying between any two places without moving them.
 *
 * The bytes go through a buffer that is nobody's: read under the lock of the block
 * they are in, written under the lock of the other. So two blocks are never locked at
 * once, and any pair of host, device and plain memory is two simple halves. A page on
 * a device is unmapped from it while its bytes are read or written, as in any other
 * copy (I3), and mapped again. From device to device there may be a shorter way, which is
 * tried first (copy_direct.c).
 *
 * Locking, by way of the buffer: for each half the address space for reading, then the block. Where
 * there is no block, gm_block_find_or_hold() keeps one from coming to be.
 */
#include "core/core.h"
#include "core/dma.h"

#define CHUNK GM_BLOCK_SIZE /* at most; a device's leaf is then cut at most twice a block */
#define CHUNK_MIN 65536ULL  /* if there is no memory for more */

/* Bytes [off, off+len) of an object, in one block; a half of a copy. */
struct gm_half {
	struct gm_object *obj;
	uint64_t off, len;
	unsigned char *buf;
	uint64_t bus; /* of buf */
	bool write;
};

/* A page range that is in host backing, or nowhere. */
static int half_host(const struct gm_half *h, bool present)
{
	if (h->write)
		return gm_os_backing_write(h->obj, h->off, h->buf, h->len);
	if (present)
		return gm_os_backing_read(h->obj, h->off, h->buf, h->len);
	__builtin_memset(h->buf, 0, h->len);
	return 0;
}

/* No device has ever seen the block: the host knows which pages exist. */
static int half_no_block(const struct gm_half *h)
{
	uint64_t begin = gm_round_down(h->off, GM_PAGE_SIZE);
	uint64_t end = gm_round_up(h->off + h->len, GM_PAGE_SIZE), got, bus;
	struct gm_half part = *h;
	bool present;
	int err = 0;

	for (; begin < end && !err; begin += got) {
		if (h->write) {
			err = gm_os_backing_get(h->obj, begin, end - begin, false, &bus, &got);
			if (err)
				break;
			gm_os_backing_put(h->obj, begin, got);
			present = true;
		} else {
			got = gm_os_backing_run(h->obj, begin, end - begin, &present);
		}
		part.len = GM_MIN(begin + got, h->off + h->len) - part.off;
		err = half_host(&part, present);
		part.off += part.len;
		part.buf += part.len;
	}
	return err;
}

static int half_dev(struct gm_block *block, const struct gm_half *h, unsigned int page,
		    unsigned int n, uint64_t e)
{
	struct gm_dev *dev = gm_core.dev[gm_entry_dev(e)];
	uint64_t pa = (gm_entry_pfn(e) << GM_PAGE_SHIFT) + (h->off & (GM_PAGE_SIZE - 1));
	int err = gm_unmap_dev(block, dev, page, n);

	if (err)
		return err;
	err = gm_dma_bytes(dev, h->write ? GM_DMA_IN : GM_DMA_OUT, pa, h->bus, h->len);
	gm_remap_dev(block, dev, page, n);
	return err;
}

static int half_block(struct gm_block *block, const struct gm_half *h)
{
	uint64_t base = block->index << GM_BLOCK_SHIFT, end = h->off + h->len;
	unsigned int last = (unsigned int)((end - 1 - base) >> GM_PAGE_SHIFT);
	struct gm_half part = *h;
	int err = 0;

	while (part.off < end && !err) {
		unsigned int page = (unsigned int)((part.off - base) >> GM_PAGE_SHIFT), n;
		uint64_t e;

		n = gm_block_run(block, page, last + 1, &e);
		part.len = GM_MIN(base + ((uint64_t)(page + n) << GM_PAGE_SHIFT), end) - part.off;
		if (gm_entry_state(e) == GM_BAD) {
			err = -EHWPOISON;
		} else if (gm_entry_state(e) == GM_DEV) {
			err = half_dev(block, &part, page, n, e);
		} else {
			if (h->write && gm_entry_state(e) == GM_NONE)
				err = h->obj->granule > GM_PAGE_SIZE
					      ? gm_make_host(block, 0, GM_BLOCK_PAGES)
					      : gm_make_host(block, page, n);
			if (!err)
				err = gm_exclusive_end(block, page, n, NULL);
			if (!err && h->write)
				err = gm_collapse(block, page, n);
			if (!err)
				err = half_host(&part, gm_entry_state(e) == GM_HOST);
		}
		part.off += part.len;
		part.buf += part.len;
		part.bus += part.len;
	}
	return err;
}

/*
 * The block, or NULL and none comes to be. Memory that is registered in place has one always:
 * without it the application's pages come and go as they like.
 */
static int half_lock(struct gm_object *obj, uint64_t index, struct gm_block **block)
{
	if (obj->flags & GM_OBJECT_REGISTERED)
		return gm_block_get(obj, index, false, block);
	*block = gm_block_find_or_hold(obj, index);
	return 0;
}

/* Between the buffer and [va, va+len) of an address space. */
static int half_as(struct gm_as *as, uint64_t va, uint64_t len, struct gm_half h)
{
	uint64_t end = va + len;
	int err = 0;

	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	while (va < end && !err) {
		struct gm_region *r = gm_region_find(as, va);
		struct gm_block *block;

		if (!r)
			err = -EFAULT;
		else if (h.write && !(r->prot & GM_WRITE))
			err = -EACCES;
		if (err)
			break;
		h.obj = r->obj;
		h.off = va - r->va + r->offset;
		h.len = GM_MIN(end, gm_region_end(r)) - va;
		h.len = GM_MIN(h.len, GM_BLOCK_SIZE - (h.off & (GM_BLOCK_SIZE - 1)));
		err = half_lock(h.obj, h.off >> GM_BLOCK_SHIFT, &block);
		if (err)
			break;
		err = block ? half_block(block, &h) : half_no_block(&h);
		gm_block_drop(h.obj, block);
		va += h.len;
		h.buf += h.len;
		h.bus += h.len;
	}
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

static int copy_chunk(struct gm_as *dst_as, uint64_t dst, struct gm_as *src_as, uint64_t src,
		      uint64_t len, unsigned char *buf, uint64_t bus)
{
	struct gm_half h = { .buf = buf, .bus = bus };
	int err;

	if (src_as)
		err = half_as(src_as, src, len, h);
	else
		err = gm_os_copy_plain(buf, (const void *)(uintptr_t)src, len);
	if (err)
		return err;
	h.write = true;
	if (dst_as)
		return half_as(dst_as, dst, len, h);
	return gm_os_copy_plain((void *)(uintptr_t)dst, buf, len);
}

/* A buffer for up to *chunk bytes, or for less, then *chunk says so. */
static unsigned char *buffer_get(uint64_t *chunk, uint64_t *bus)
{
	unsigned char *buf = gm_os_bounce_alloc(*chunk, bus);

	if (buf || *chunk <= CHUNK_MIN)
		return buf;
	*chunk = CHUNK_MIN;
	return gm_os_bounce_alloc(*chunk, bus);
}

int gm_copy(int hnode, struct gm_as *dst_as, uint64_t dst, struct gm_as *src_as, uint64_t src,
	    uint64_t len)
{
	bool direct = dst_as && dst_as == src_as;
	unsigned char *buf = NULL;
	uint64_t bus = 0, chunk;
	int err;

	if (!len || src + len < src || dst + len < dst ||
	    (src_as == dst_as && src < dst + len && dst < src + len))
		return -EINVAL;
	if (hnode != GM_NODE_NONE && !dst_as)
		return -EFAULT;
	err = gm_enter();
	if (err)
		return err;
	if (!src_as && !dst_as)
		return gm_os_copy_plain((void *)(uintptr_t)dst, (const void *)(uintptr_t)src, len);
	if (hnode != GM_NODE_NONE)
		err = gm_advise(dst_as, hnode, dst, len, GM_PREFETCH);
	if (err)
		return err;
	chunk = GM_MIN(gm_round_up(len, GM_PAGE_SIZE), CHUNK);
	for (uint64_t done = 0, n = 0; done < len && !err; done += n) {
		n = 0;
		if (direct)
			err = gm_copy_direct(dst_as, dst + done, src + done, len - done, &n);
		if (err == -EOPNOTSUPP) { /* no link */
			direct = false;
			err = 0;
		}
		if (err || n)
			continue;
		if (!buf)
			buf = buffer_get(&chunk, &bus);
		if (!buf)
			return -ENOMEM;
		n = GM_MIN(len - done, chunk);
		err = copy_chunk(dst_as, dst + done, src_as, src + done, n, buf, bus);
	}
	if (buf)
		gm_os_bounce_free(buf, chunk, bus);
	return err;
}
