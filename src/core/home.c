// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Pages that leave a device, or everything: home to the host, and into nothing.
 *
 * The transactions are those of migrate.c, which says what holds in each.
 *
 * Locking: block locked by the caller.
 */
#include "core/dma.h"
#include "core/peer_os.h"

/* -------------------------------------------------------------------- going home */

/*
 * A run of @n pages that begins with @e. Of a range of frames a run may have more; it goes as a
 * whole.
 */
static bool goes_home(uint64_t e, unsigned int n, const struct gm_dev *dev,
		      const struct gm_home *how)
{
	if (gm_entry_state(e) != GM_DEV || gm_entry_dev(e) != dev->index)
		return false;
	if (how->skip_pinned && (e & GM_E_PINNED))
		return false;
	return !how->end || (gm_entry_pfn(e) < how->end && gm_entry_pfn(e) + n > how->begin);
}

/*
 * For a device of larger units: what of a run goes together, so that units go as a whole or not at
 * all.
 */
static unsigned int unit_run(const struct gm_block *block, const struct gm_dev *dev,
			     const struct gm_home *how, unsigned int page, unsigned int n,
			     uint64_t e, bool *goes)
{
	uint64_t pfn = gm_entry_pfn(e);
	bool pinned;

	/*
	 * A flag may part a unit; the end of a range of frames does not. One entry goes as it is.
	 */
	if (how->end && block->pages && pfn < how->begin && how->begin - pfn < n)
		n = (unsigned int)(how->begin - pfn);
	if (how->end && block->pages && pfn < how->end && how->end - pfn < n)
		n = (unsigned int)(how->end - pfn);
	if (how->skip_pinned)
		n = gm_unit_run(block, dev, page, n, &pinned);
	*goes = !(how->skip_pinned && pinned) &&
		(!how->end || (pfn < how->end && pfn + n > how->begin));
	return n;
}

/* Of @n pages from @page on: how many are in the set, or are not, as the first is. */
static unsigned int mask_run(const struct gm_mask *mask, unsigned int page, unsigned int n,
			     bool *goes)
{
	unsigned int i = 1;

	*goes = gm_mask_test(mask, page);
	while (i < n && gm_mask_test(mask, page + i) == *goes)
		i++;
	return i;
}

/* How many pages from @page on, below @end, are alike, and go home from @dev or do not. */
static unsigned int home_run(const struct gm_block *block, const struct gm_dev *dev,
			     const struct gm_home *how, unsigned int page, unsigned int end,
			     uint64_t *e, bool *goes)
{
	unsigned int n = gm_block_run(block, page, end, e);

	*goes = goes_home(*e, n, dev, how);
	if (dev->unit > 1 && gm_entry_state(*e) == GM_DEV && gm_entry_dev(*e) == dev->index)
		n = unit_run(block, dev, how, page, n, *e, goes);
	return how->mask && *goes ? mask_run(how->mask, page, n, goes) : n;
}

/* Narrow [*first, *end) to the pages that go home from @dev; how many they are. */
static unsigned int home_bounds(struct gm_block *block, struct gm_dev *dev,
				const struct gm_home *how, unsigned int *first, unsigned int *end)
{
	unsigned int lo = *end, hi = *first, count = 0, n;
	uint64_t e;
	bool goes;

	for (unsigned int page = *first; page < *end; page += n) {
		n = home_run(block, dev, how, page, *end, &e, &goes);
		if (!goes)
			continue;
		lo = GM_MIN(lo, page);
		hi = page + n;
		count += n;
	}
	*first = lo;
	*end = hi;
	return count;
}

/* The copy was made, or has failed with @err: may they go? */
static int settle(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
		  unsigned int first, unsigned int end, int err)
{
	unsigned int n;
	uint64_t e;
	bool goes;

	if (!err && how->yields && gm_load(&block->willneed))
		err = -EAGAIN;
	if (!err)
		return 0;
	/* The pages stay on the device; host frames made for them go again. */
	for (unsigned int page = first; page < end; page += n) {
		n = home_run(block, dev, how, page, end, &e, &goes);
		if (goes && !gm_entry_retained(e))
			gm_free_backing(block, page, n);
	}
	return err;
}

static int copy_home(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
		     unsigned int first, unsigned int end)
{
	struct gm_dma dma gm_uninitialized;
	unsigned int n;
	uint64_t e;
	bool goes;
	int err;

	gm_dma_begin(&dma, dev, GM_DMA_OUT, block->obj);
	for (unsigned int page = first; page < end; page += n) {
		n = home_run(block, dev, how, page, end, &e, &goes);
		if (goes)
			gm_dma_add(&dma, gm_entry_pfn(e) << GM_PAGE_SHIFT, gm_page_off(block, page),
				   gm_page_bytes(n), gm_entry_retained(e));
	}
	err = gm_dma_end(&dma, how->as);
	if (how->engine)
		*how->engine = dma.engine && err != -ENOMEM; /* that the driver may have later */
	return settle(block, dev, how, first, end, err);
}

static void commit_home(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
			unsigned int first, unsigned int end)
{
	unsigned int n, moved = 0, pinned = 0, retained = 0;
	uint64_t e;
	bool goes;

	for (unsigned int page = first; page < end; page += n) {
		n = home_run(block, dev, how, page, end, &e, &goes);
		if (!goes)
			continue;
		moved += n;
		pinned += e & GM_E_PINNED ? n : 0;
		retained += gm_entry_retained(e) ? n : 0;
		gm_block_set(block, page, n, GM_HOST | (e & GM_E_PINNED));
		gm_hnode_free(dev, block->obj, gm_entry_pfn(e), n);
		gm_policy_went(block, dev, page, n, gm_policy_why(how->why));
	}
	block->nr_retained = (uint16_t)(block->nr_retained - retained);
	gm_retain_drop(block->obj, retained);

	gm_count(dev, how->as, pages_to_host, moved);
	gm_count(dev, how->as, bytes_to_host, gm_page_bytes(moved));
	if (how->why == GM_WHY_EVICT)
		gm_count(dev, how->as, pages_evicted, moved);
	else if (how->why == GM_WHY_PREFETCH)
		gm_count(dev, how->as, pages_prefetched, moved);
	/* Last: a device that holds nothing any more may be destroyed. */
	gm_resident_count(block, dev, -(int)moved, -(int)pinned);
}

/* The CPU may have mapped what goes home where it is, though not of a huge object (cpu_fault.c). */
static int unmap_apertures(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
			   unsigned int first, unsigned int end)
{
	unsigned int n;
	uint64_t e;
	bool goes;
	int err = 0;

	for (unsigned int page = first; page < end && !err; page += n) {
		n = home_run(block, dev, how, page, end, &e, &goes);
		if (goes)
			err = gm_aperture_unmap(block, dev, page, n);
	}
	return err;
}

/* A kept host frame that has failed is no loss: without the kept ones the copy is made again. */
static int copy_home_anyhow(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
			    unsigned int first, unsigned int end)
{
	int err = copy_home(block, dev, how, first, end);

	if (err != -EHWPOISON || !block->nr_retained)
		return err;
	gm_retain_trim_block(block);
	err = gm_prepare_change(block, how->mask ? 1 : end - first);
	return err ? err : copy_home(block, dev, how, first, end);
}

/*
 * Out of the page tables and to the host, by one operation of the driver's. -EOPNOTSUPP: compose
 * it.
 */
static int send_home(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
		     unsigned int first, unsigned int end)
{
	struct gm_message m gm_uninitialized;
	unsigned int n;
	uint64_t e;
	bool goes;
	int err = gm_message_begin_home(&m, block, dev, first, end);

	if (err)
		return err;
	for (unsigned int page = first; page < end && !err; page += n) {
		n = home_run(block, dev, how, page, end, &e, &goes);
		if (gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == dev->index)
			err = gm_message_add(&m, page, n, gm_entry_pfn(e), goes,
					     gm_entry_retained(e));
	}
	if (!err)
		return settle(block, dev, how, first, end,
			      gm_message_send_home(&m, dev, how->as, first, end));
	gm_message_put(&m);
	return settle(block, dev, how, first, end, -EOPNOTSUPP); /* composed, it may do */
}

/*
 * The same by several operations. Of a set of pages, what is between stays mapped, but for what
 * shares leaves with them: that is in *cut.
 */
static int compose_home(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
			unsigned int first, unsigned int end, struct gm_mask *cut)
{
	int err = how->mask ? gm_unmap_mask(block, dev, how->mask, cut)
			    : gm_unmap_dev(block, dev, first, end - first);

	if (!err && gm_load(&dev->apertures) && block->obj->granule == GM_PAGE_SIZE)
		err = unmap_apertures(block, dev, how, first, end);
	return err ? err : copy_home_anyhow(block, dev, how, first, end);
}

int gm_home_from(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
		 unsigned int first, unsigned int end)
{
	bool traced = gm_tracing(GM_EVENT_MIGRATE);
	int node = gm_dev_node(dev); /* the device may be gone when the pages are */
	uint64_t begin = traced ? gm_os_now_ns() : 0;
	unsigned int n = end - first, count;
	struct gm_mask cut = { { 0 } };
	int err;

	gm_unit_round(dev, &first, &n);
	end = first + n;
	count = home_bounds(block, dev, how, &first, &end);
	if (!count)
		return 0;
	err = gm_prepare_change(block, count);
	if (!err) {
		gm_mask_set(&cut, first, end - first); /* the message unmaps all of it */
		err = send_home(block, dev, how, first, end);
	}
	if (err == -EOPNOTSUPP)
		err = compose_home(block, dev, how, first, end, &cut);
	if (!err)
		commit_home(block, dev, how, first, end);
	if (how->mask)
		gm_remap_mask(block, dev, &cut);
	if (traced)
		gm_trace_move(block, first, end,
			      &(struct gm_event){ .as = how->as,
						  .why = how->why,
						  .pages = count,
						  .bytes = gm_page_bytes(count),
						  .from = node,
						  .to = GM_NODE_HOST },
			      begin, err);
	return err;
}

static int drop_replicas(struct gm_block *block, const struct gm_home *how, unsigned int first,
			 unsigned int n)
{
	unsigned int end = first + n, len;
	bool goes = true;
	int err = 0;

	for (; first < end && !err && gm_block_copies(block); first += len) {
		len = how->mask ? mask_run(how->mask, first, end - first, &goes) : end - first;
		if (goes)
			err = gm_replica_drop(block, how->dev, first, len);
	}
	return err;
}

/*
 * Bring home what devices have of [first, first+n). An error: some pages may be home,
 * the others are where they were. If it is one device that is to have nothing there, replicas go
 * too.
 */
int gm_migrate_home(struct gm_block *block, unsigned int first, unsigned int n,
		    const struct gm_home *how)
{
	int err = 0;

	if (how->dev)
		err = drop_replicas(block, how, first, n);
	for (struct gm_resident *res = block->residents; res && !err; res = res->next)
		if (!how->dev || res->dev == how->dev)
			err = gm_home_from(block, res->dev, how, first, first + n);
	gm_block_fold(block);
	gm_resident_put_idle(block);
	if (!err && gm_block_remote(block)) /* who is said to access it does not fault for that */
		gm_mirror(block, first, n);
	return err;
}

/* ------------------------------------------------------------ the host, and nowhere */

/* Give the NONE pages of [first, first+n) a zeroed host frame. */
int gm_make_host(struct gm_block *block, unsigned int first, unsigned int n)
{
	unsigned int len;
	uint64_t e, bus, got;
	int err;

	for (unsigned int page = first; page < first + n; page += len) {
		len = gm_block_run(block, page, first + n, &e);
		if (gm_entry_state(e) != GM_NONE)
			continue;
		err = gm_prepare_change(block, len);
		if (!err)
			err = gm_os_backing_get(block->obj, gm_page_off(block, page),
						gm_page_bytes(len), false, &bus, &got);
		if (err)
			return err;
		gm_os_backing_put(block->obj, gm_page_off(block, page), got);
		len = (unsigned int)(got >> GM_PAGE_SHIFT);
		if (len != GM_BLOCK_PAGES) { /* the host had fewer to give in one piece */
			err = gm_block_split(block);
			if (err) {
				gm_free_backing(block, page, len);
				return err;
			}
		}
		gm_block_set(block, page, len, GM_HOST | (e & GM_E_PINNED));
	}
	gm_block_fold(block);
	return 0;
}

/* The pages of [first, first+n) are mapped nowhere: free their device frames and forget them. */
void gm_forget(struct gm_block *block, unsigned int first, unsigned int n)
{
	unsigned int len;
	uint64_t e;

	gm_replicas_forget(block, first, n);
	for (unsigned int page = first; page < first + n; page += len) {
		len = gm_block_run(block, page, first + n, &e);
		gm_block_set(block, page, len, GM_NONE);
		if (gm_entry_state(e) == GM_DEV) {
			struct gm_dev *dev = gm_core.dev[gm_entry_dev(e)];

			gm_hnode_free(dev, block->obj, gm_entry_pfn(e), len);
			gm_policy_went(block, dev, page, len, GM_POLICY_DROP);
			gm_resident_count(block, dev, -(int)len, e & GM_E_PINNED ? -(int)len : 0);
		}
		if (gm_entry_retained(e)) {
			block->nr_retained = (uint16_t)(block->nr_retained - len);
			gm_retain_drop(block->obj, len);
		}
	}
	gm_block_fold(block);
	gm_resident_put_idle(block);
}

/*
 * Drop the bytes of [first, first+n), wherever they are; the rest of a unit that is cut goes
 * home first. An error: nothing is dropped.
 */
int gm_discard(struct gm_block *block, unsigned int first, unsigned int n)
{
	uint64_t off = gm_page_off(block, first);
	int err;

	err = gm_collapse(block, first, n);
	if (!err)
		err = gm_units_cut(block, first, n, NULL);
	if (!err)
		err = gm_prepare_change(block, n);
	for (struct gm_resident *res = block->residents; res && !err; res = res->next)
		err = gm_unmap_dev(block, res->dev, first, n);
	if (!err)
		err = gm_unmap_cpu(block, first, n);
	if (err)
		return err;
	gm_forget(block, first, n);
	gm_os_backing_free(block->obj, off, GM_MIN(gm_page_bytes(n), block->obj->size - off));
	if (gm_tracing(GM_EVENT_DISCARD))
		gm_note_pages(GM_EVENT_DISCARD, block->obj, off,
			      GM_MIN(gm_page_bytes(n), block->obj->size - off));
	return 0;
}
