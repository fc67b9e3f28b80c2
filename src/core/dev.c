// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Devices, and the checks of what a driver hands us.
 *
 * A device and its hnode are one: the hnode's id is that of the first id behind the
 * real NUMA nodes plus the device's place in the table. A device leaves only when it
 * holds no page: until then its index means something in somebody's entry. One that goes
 * whoever uses it is removed first (remove.c).
 *
 * Locking: gm_core.lock over the table, over ranges that come and go and over the
 * draining of a device. A new range is made without the hnode's spinlock and linked
 * under it.
 */
#include "core/core.h"

static int refuse(const char *what, const char *name)
{
	gm_os_warn(what, name);
	return -EINVAL;
}

/*
 * Tables only grow: this is the end of the first. What is behind the end of an older one is not
 * there.
 */
#define MMU_SIZE_MIN offsetof(struct gm_mmu, copy_peer)

static int copy_mmu(struct gm_mmu *mmu, const struct gm_mmu *from, const char *name)
{
	if (from->size < MMU_SIZE_MIN || from->size % sizeof(void *) ||
	    gm_options_copy(mmu, sizeof(*mmu), from, from->size))
		return refuse("struct gm_mmu of a size that is not known, in driver", name);
	return 0;
}

static int check_mmu(const struct gm_mmu *mmu, const char *name)
{
	uint64_t known = 2 * (1ULL << 30) - GM_PAGE_SIZE;

	if (!mmu->pmap_create)
		return refuse("no pmap_create in driver", name);
	if (!mmu->pmap_destroy)
		return refuse("no pmap_destroy in driver", name);
	if (!mmu->pmap_enter)
		return refuse("no pmap_enter in driver", name);
	if (!mmu->pmap_release)
		return refuse("no pmap_release in driver", name);
	if (!mmu->tlb_invl)
		return refuse("no tlb_invl in driver", name);
	if (!mmu->copy)
		return refuse("no copy in driver", name);
	if (!mmu->zero)
		return refuse("no zero in driver", name);
	if (!mmu->peer_va_alloc_fixed != !mmu->peer_va_free)
		return refuse("peer_va_alloc_fixed without peer_va_free, or the reverse, in driver",
			      name);
	if (mmu->flags & ~GM_MMU_COUNTS)
		return refuse("flags that are not known, in driver", name);
	if ((mmu->flags & GM_MMU_COUNTS) && !mmu->pmap_enter_host)
		return refuse("GM_MMU_COUNTS without pmap_enter_host, in driver", name);
	if (!mmu->peer_map != !mmu->peer_unmap)
		return refuse("peer_map without peer_unmap, or the reverse, in driver", name);
	if (!(mmu->pgsize_bitmap & (2 * GM_BLOCK_SIZE - 1)))
		return refuse("pgsize_bitmap has no size up to 2 MiB, in driver", name);
	if (mmu->pgsize_bitmap & ~known)
		return refuse("pgsize_bitmap has a size below 4 KiB or above 1 GiB, in driver",
			      name);
	if (mmu->va_bits && (mmu->va_bits > 64 || 1ULL << (mmu->va_bits - 1) < GM_BLOCK_SIZE))
		return refuse("va_bits is neither 0 nor 22 to 64, in driver", name);
	return 0;
}

static void set_thrash_defaults(struct gm_dev *dev)
{
	const struct gm_dev_tunables *t = &dev->tunables;

	gm_store(&dev->thrash_lapse, (t->thrash_lapse_us ? t->thrash_lapse_us : 500) * 1000ULL);
	gm_store(&dev->thrash_hold, (t->thrash_hold_us ? t->thrash_hold_us : 1000) * 1000ULL);
	gm_store(&dev->thrash_times, t->no_thrash ? 0 : t->thrash_times ? t->thrash_times : 3);
}

static void set_defaults(struct gm_dev *dev)
{
	uint32_t granule = dev->tunables.granule ? dev->tunables.granule >> GM_PAGE_SHIFT : 16;

	gm_store(&dev->granule, GM_MAX(granule, dev->unit));
	gm_store(&dev->no_grow, dev->tunables.no_grow);
	set_thrash_defaults(dev);
	gm_store(&dev->hnode.background, !dev->tunables.no_background);
	gm_store(&dev->hnode.limit, dev->tunables.limit >> GM_PAGE_SHIFT);
	gm_hnode_set_marks(dev);
}

int gm_dev_create(const struct gm_mmu *mmu, const char *name, void *data, struct gm_dev **out)
{
	struct gm_mmu ops;
	struct gm_dev *dev;
	unsigned int i;
	int err;

	if (!mmu || !name || !out)
		return -EINVAL;
	err = copy_mmu(&ops, mmu, name);
	if (!err)
		err = check_mmu(&ops, name);
	if (!err)
		err = gm_enter();
	if (err)
		return err;
	dev = gm_os_alloc(sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	dev->ops = ops;
	dev->mmu = &dev->ops;
	gm_gone_init(dev);
	dev->unit = 1U << (gm_ctz(ops.pgsize_bitmap) - GM_PAGE_SHIFT);
	dev->data = data;
	dev->id = gm_add(&gm_core.ids, 1) + 1;
	for (i = 0; i < sizeof(dev->name) - 1 && name[i]; i++)
		dev->name[i] = name[i];
	dev->tunables.size = sizeof(dev->tunables);
	gm_hnode_init(&dev->hnode);
	set_defaults(dev);
	err = gm_policies_init(dev);
	if (err)
		goto err_dev;

	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	for (i = 0; i < GM_MAX_DEVS && gm_core.dev[i]; i++)
		;
	dev->index = i;
	if (i < GM_MAX_DEVS)
		gm_core.dev[i] = dev;
	gm_units_changed();
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	if (i == GM_MAX_DEVS) {
		err = -ENOSPC;
		goto err_policies;
	}
	*out = dev;
	return 0;

err_policies:
	gm_policies_destroy(dev);
err_dev:
	gm_hnode_destroy(&dev->hnode);
	gm_os_free(dev, sizeof(*dev));
	return err;
}

#define DRAIN_TRIES 1000U

/* Close or open a range, or the whole device; -EBUSY: contexts are attached. */
static int set_closing(struct gm_dev *dev, struct gm_physmem *range, bool closing)
{
	struct gm_hnode *h = &dev->hnode;
	int err = 0;

	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	if (range)
		range->closing = closing;
	else if (closing && dev->contexts)
		err = -EBUSY;
	else
		h->closing = closing;
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
	return err;
}

static bool in_use(struct gm_dev *dev, const struct gm_physmem *range)
{
	struct gm_hnode *h = &dev->hnode;
	bool used = false;

	for (struct gm_physmem *r = h->ranges; r && !used; r = r->next)
		used = (!range || r == range) && !gm_aperture_unused(r);
	if (used)
		return true;

	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	if (range)
		used = range->buddy.free + range->nr_bad != range->buddy.end - range->buddy.begin;
	else
		used = h->free != h->total || h->blocks;
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
	return used;
}

/*
 * Bring everything home; the doors are closed. Faults that have frames in hand, but no page
 * there yet, are waited for. gm_core.lock held.
 */
int gm_dev_empty(struct gm_dev *dev, struct gm_physmem *range)
{
	unsigned int tries = 0;
	int err;

	do {
		if (tries)
			gm_os_yield(tries);
		err = gm_drain(dev, range);
		if (!err && in_use(dev, range))
			err = -EBUSY;
	} while (err == -EBUSY && ++tries < DRAIN_TRIES);
	return err;
}

/* The same with doors that are open; on success they stay closed, and nothing is behind them. */
static int close_and_drain(struct gm_dev *dev, struct gm_physmem *range)
{
	int err = set_closing(dev, range, true);

	if (err)
		return err;
	err = gm_dev_empty(dev, range);
	if (err && (range || !gm_dev_gone(dev)))
		set_closing(dev, range, false);
	return err;
}

int gm_dev_destroy(struct gm_dev *dev)
{
	int err;

	if (!dev)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	err = close_and_drain(dev, NULL);
	if (!err) {
		for (struct gm_physmem *r = dev->hnode.ranges; r; r = r->next)
			gm_aperture_close(dev, r);
		gm_core.dev[dev->index] = NULL;
		gm_units_changed();
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	if (err)
		return err;
	gm_os_work_cancel(&dev->hnode.work);
	gm_policies_destroy(dev);
	gm_hnode_destroy(&dev->hnode);
	gm_os_free(dev, sizeof(*dev));
	gm_core_reap();
	return 0;
}

void *gm_dev_data(const struct gm_dev *dev)
{
	return dev->data;
}

int gm_dev_hnode(const struct gm_dev *dev)
{
	return gm_core.first_hnode + (int)dev->index;
}

/* -------------------------------------------------------------------- its memory */

static bool overlaps(const struct gm_dev *dev, uint64_t begin, uint64_t end)
{
	for (struct gm_physmem *r = dev->hnode.ranges; r; r = r->next)
		if (begin < r->buddy.end && r->buddy.begin < end)
			return true;
	return false;
}

static int register_range(struct gm_dev *dev, uint64_t begin, uint64_t end, uint64_t cpu)
{
	struct gm_physmem *range;
	int err;

	if (!dev || !gm_aligned(begin | end, gm_unit_bytes(dev)) || begin >= end ||
	    end > 1ULL << 58 || end - begin > 1ULL << 48 ||
	    gm_round_up(begin, GM_BLOCK_SIZE) + GM_BLOCK_SIZE > end)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	range = gm_os_alloc(sizeof(*range));
	if (!range)
		return -ENOMEM;
	begin >>= GM_PAGE_SHIFT;
	end >>= GM_PAGE_SHIFT;
	range->cpu = cpu;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	err = gm_dev_gone(dev) ? -ENODEV : overlaps(dev, begin, end) ? -EEXIST : 0;
	if (!err)
		err = gm_buddy_init(&range->buddy, begin, end);
	if (err)
		goto err_range;
	err = cpu ? gm_aperture_open(dev, range) : 0;
	if (err)
		goto err_buddy;
	gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
	range->next = dev->hnode.ranges;
	dev->hnode.ranges = range;
	gm_store(&dev->hnode.total, dev->hnode.total + (end - begin));
	gm_store(&dev->hnode.free, dev->hnode.free + (end - begin));
	gm_hnode_set_marks(dev);
	gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return 0;

err_buddy:
	gm_buddy_destroy(&range->buddy);
err_range:
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	gm_os_free(range, sizeof(*range));
	return err;
}

int gm_dev_register_physmem(struct gm_dev *dev, uint64_t begin, uint64_t end)
{
	return register_range(dev, begin, end, 0);
}

int gm_dev_register_physmem_cpu(struct gm_dev *dev, uint64_t begin, uint64_t end, uint64_t cpu)
{
	if (!cpu || !gm_aligned(cpu | begin | end, GM_BLOCK_SIZE) || cpu + (end - begin) < cpu)
		return -EINVAL;
	return register_range(dev, begin, end, cpu);
}

int gm_dev_unregister_physmem(struct gm_dev *dev, uint64_t begin, uint64_t end)
{
	struct gm_physmem **link, *range;
	int err;

	if (!dev || !gm_aligned(begin | end, GM_PAGE_SIZE))
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	begin >>= GM_PAGE_SHIFT;
	end >>= GM_PAGE_SHIFT;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	for (link = &dev->hnode.ranges; (range = *link); link = &range->next)
		if (range->buddy.begin == begin && range->buddy.end == end)
			break;
	err = range ? close_and_drain(dev, range) : -ENOENT;
	if (!err) {
		gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
		*link = range->next;
		gm_store(&dev->hnode.total, dev->hnode.total - (end - begin - range->nr_bad));
		gm_store(&dev->hnode.free, dev->hnode.free - (end - begin - range->nr_bad));
		dev->hnode.poisoned -= range->nr_bad;
		gm_hnode_set_marks(dev);
		gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
		gm_aperture_close(dev, range);
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	if (!err) {
		gm_bad_free(range);
		gm_buddy_destroy(&range->buddy);
		gm_os_free(range, sizeof(*range));
	}
	return err;
}

static int tune_locked(struct gm_dev *dev, const struct gm_dev_tunables *new)
{
	uint64_t half = (dev->hnode.total + dev->hnode.poisoned) << GM_PAGE_SHIFT >> 1;

	if (new->low > half || new->high > half || (new->high &&new->high < new->low))
		return -EINVAL;
	dev->tunables = *new;
	gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
	set_defaults(dev);
	gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
	gm_reclaim_limit(dev);
	return 0;
}

/* @dev, or if it is NULL the device with this node. */
static int tune(struct gm_dev *dev, int hnode, const struct gm_dev_tunables *t)
{
	struct gm_dev_tunables new;
	int i = hnode - gm_core.first_hnode, err;

	if (!t)
		return -EINVAL;
	err = gm_options_copy(&new, sizeof(new), t, t->size);
	if (!err)
		err = gm_enter();
	if (err)
		return err;
	new.size = sizeof(new);
	if (new.granule && (!gm_power_of_two(new.granule) || new.granule < GM_PAGE_SIZE ||
			    new.granule > GM_BLOCK_SIZE))
		return -EINVAL;
	if (!gm_aligned(new.limit, GM_PAGE_SIZE))
		return -EINVAL;
	if (new.thrash_lapse_us > GM_THRASH_LAPSE_MAX || new.thrash_hold_us > GM_THRASH_HOLD_MAX)
		return -EINVAL;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	if (!dev && i >= 0 && i < (int)GM_MAX_DEVS)
		dev = gm_core.dev[i];
	err = dev ? tune_locked(dev, &new) : -ENODEV;
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return err;
}

int gm_dev_tune(struct gm_dev *dev, const struct gm_dev_tunables *t)
{
	return dev ? tune(dev, 0, t) : -EINVAL;
}

int gm_hnode_tune(int hnode, const struct gm_dev_tunables *t)
{
	return tune(NULL, hnode, t);
}

int gm_hnode_info(int hnode, struct gm_hnode_info *info)
{
	int i = hnode - gm_core.first_hnode, err;
	struct gm_hnode_info now = { .size = sizeof(now) };

	if (!info)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	err = -ENODEV;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	if (i >= 0 && i < (int)GM_MAX_DEVS && gm_core.dev[i]) {
		struct gm_hnode *h = &gm_core.dev[i]->hnode;

		gm_spin_lock(&h->lock, GM_RANK_HNODE);
		now.total = h->total << GM_PAGE_SHIFT;
		now.free = h->free << GM_PAGE_SHIFT;
		now.pinned = h->pinned << GM_PAGE_SHIFT;
		now.blocks = h->blocks;
		now.poisoned = h->poisoned << GM_PAGE_SHIFT;
		now.limit = (h->limit ? GM_MIN(h->limit, h->total) : h->total) << GM_PAGE_SHIFT;
		for (struct gm_physmem *r = h->ranges; r; r = r->next)
			now.metadata += sizeof(*r) + r->buddy.memory_size + gm_bad_bytes(r);
		gm_spin_unlock(&h->lock, GM_RANK_HNODE);
		err = gm_struct_out(info, &now, sizeof(now));
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return err;
}

int gm_hnode_stats(int hnode, char name[GM_DEV_NAME], struct gm_stats *stats)
{
	int i = hnode - gm_core.first_hnode, err = -ENODEV;

	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	if (i >= 0 && i < (int)GM_MAX_DEVS && gm_core.dev[i]) {
		for (unsigned int c = 0; c < GM_DEV_NAME; c++)
			name[c] = gm_core.dev[i]->name[c];
		err = gm_dev_stats(gm_core.dev[i], stats);
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return err;
}
