// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Exclusive access: host memory in place, and for one device alone.
 *
 * Theory. A link may be coherent and yet know no atomic operations. A device on it makes them by
 * itself, which is good as long as nobody else has the page mapped: not the CPU, not another
 * device. So for such an access (GM_ATOMIC) the page is taken away from everybody, marked, and
 * mapped for this device only, which is told so. Whoever touches it next takes it away again, and
 * then all may have it. The bytes stay where they are throughout. The idea is Linux's
 * make_device_exclusive_range().
 *
 * The mark (GM_E_EXCLUSIVE, and the device's index) says that nobody but contexts of that device
 * may have it mapped; it does not say that they have. So nothing need be done when a context, or
 * the device, goes: its mappings go with it, and the mark is taken off by the next to come.
 *
 * Locking: block locked by the caller.
 */
#include "core/move.h"

/*
 * Take the mark, and with it the mappings, off pages of [first, first+n) that are not @keep's.
 * An error: some may still have it.
 */
int gm_exclusive_end(struct gm_block *block, unsigned int first, unsigned int n,
		     const struct gm_dev *keep)
{
	unsigned int len;
	uint64_t e;
	int err = 0;

	for (unsigned int page = first; page < first + n && !err; page += len) {
		len = gm_block_run(block, page, first + n, &e);
		if (!gm_entry_exclusive(e) || (keep && gm_entry_dev(e) == keep->index))
			continue;
		err = gm_prepare_change(block, len);
		if (!err)
			err = gm_unmap_in_place(block, page, len);
		if (!err)
			gm_block_set(block, page, len, GM_HOST | (e & GM_E_PINNED));
	}
	return err;
}

/* Of [first, first+n) in host backing, make what is not @dev's alone its own. */
int gm_exclusive_begin(struct gm_block *block, unsigned int first, unsigned int n,
		       const struct gm_dev *dev)
{
	unsigned int len;
	uint64_t e;
	int err = 0;

	for (unsigned int page = first; page < first + n && !err; page += len) {
		len = gm_block_run(block, page, first + n, &e);
		if (gm_entry_state(e) != GM_HOST ||
		    (gm_entry_exclusive(e) && gm_entry_dev(e) == dev->index))
			continue;
		err = gm_prepare_change(block, len);
		if (!err)
			err = gm_collapse(block, page, len);
		if (!err)
			err = gm_unmap_cpu(block, page, len);
		if (!err)
			gm_block_set(block, page, len,
				     GM_HOST | GM_E_EXCLUSIVE | (e & GM_E_PINNED) |
					     (uint64_t)dev->index << GM_E_DEV_SHIFT);
	}
	return err;
}
