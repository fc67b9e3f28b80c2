// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Accounts: how much device memory somebody may use.
 *
 * Theory. An object may belong to an account, for ever; an account holds its objects to a
 * percentage of each device's memory. It has a charge for each device: the frames taken for
 * its objects there, and the blocks that could be evicted in its favour, coldest first. Who
 * is at the limit makes room among these, never at a neighbour's cost (evict.c).
 *
 * Never above the limit. A frame is taken and counted in one hold of the hnode's lock, if
 * the count then is within the limit (gm_hnode_alloc()), and given back and discounted in
 * another (gm_hnode_free()). Nothing else changes the count: a page stays in its object, and
 * its object in its account, so what is discounted is what was counted. The count is of
 * frames, not of pages, so what a fault has in hand and may give back again is counted too.
 * The limit is worked out anew each time. Where it falls below the count, because the
 * percentage or the device's memory is less than it was, the count can only go down until it
 * is below again.
 *
 * Lifetime. The host makes an account and destroys it when no object has it any more. By
 * then no frame is charged and no block is listed, for blocks go before their object.
 *
 * Locking. A charge is guarded by the lock of the hnode whose index it has, so it costs no
 * lock of its own. A device that goes leaves its charges empty to the next with that index;
 * gm_core.lock is between the two.
 */
#include "core/core.h"

int gm_account_create(const uint32_t *percent, struct gm_account **out)
{
	struct gm_account *account = gm_os_alloc(sizeof(*account));

	if (!account)
		return -ENOMEM;
	account->percent = percent;
	for (unsigned int i = 0; i < GM_MAX_DEVS; i++) {
		account->charge[i].account = account;
		gm_list_init(&account->charge[i].cold);
	}
	*out = account;
	return 0;
}

void gm_account_destroy(struct gm_account *account)
{
	if (!account)
		return;
	gm_bug_on(gm_load(&account->objects));
	for (unsigned int i = 0; i < GM_MAX_DEVS; i++) {
		gm_bug_on(account->charge[i].used || account->charge[i].resident);
		gm_bug_on(!gm_list_empty(&account->charge[i].cold));
	}
	gm_os_free(account, sizeof(*account));
}

void gm_object_set_account(struct gm_object *obj, struct gm_account *account)
{
	gm_bug_on(obj->nr_blocks);
	if (account)
		gm_add(&account->objects, 1);
	if (obj->account)
		gm_sub(&obj->account->objects, 1);
	obj->account = account;
}

uint64_t gm_account_used(const struct gm_account *account, int hnode)
{
	int i = hnode - gm_core.first_hnode;

	if (!account || i < 0 || i >= (int)GM_MAX_DEVS)
		return 0;
	return gm_load(&account->charge[i].used) << GM_PAGE_SHIFT;
}

/* Where to charge what @obj has on @dev; NULL: nowhere. */
struct gm_charge *gm_charge_of(const struct gm_object *obj, const struct gm_dev *dev)
{
	return obj && obj->account ? &obj->account->charge[dev->index] : NULL;
}

/* How many frames of @dev may be had before the limit: with the hnode locked, else a hint. */
uint64_t gm_charge_room(const struct gm_charge *charge, const struct gm_dev *dev)
{
	uint64_t used, limit;

	if (!charge)
		return UINT64_MAX;
	used = gm_load(&charge->used);
	limit = gm_account_limit(gm_load(&dev->hnode.total), gm_load(charge->account->percent));
	return used < limit ? limit - used : 0;
}
