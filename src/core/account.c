// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Accounts: how much device memory somebody may use.
 *
 * Theory. An object may belong to two accounts, for ever: its maker's, if the host gives him
 * one, and that of the address space which mapped it first. An account holds its objects to so
 * much of each device's memory, be it a percentage (makers) or a number of bytes for each
 * device (address spaces). It has a charge for each device: the frames taken for
 * its objects there, and the blocks that could be evicted in its favour, coldest first. Who
 * is at the limit makes room among these, never at a neighbour's cost (evict.c).
 *
 * Never above the limit. A frame is taken and counted in one hold of the hnode's lock, if
 * the counts then are within the limits (gm_hnode_alloc()), and given back and discounted in
 * another (gm_hnode_free()). Nothing else changes a count: a page stays in its object, and
 * its object in its accounts, so what is discounted is what was counted. The count is of
 * frames, not of pages, so what a fault has in hand and may give back again is counted too.
 * The limit is worked out anew each time. Where it falls below the count, because the
 * percentage, the bytes or the device's memory are less than they were, the count can only go
 * down until it is below again.
 *
 * Lifetime. The owner has a reference, the host or the address space, and so has each object.
 * An address space that goes leaves its account, without limits, to objects that others have
 * mapped too. When the last reference goes no frame is charged and no block is listed, for
 * blocks go before their object.
 *
 * Locking. A charge is guarded by the lock of the hnode whose index it has, so it costs no
 * lock of its own. A device that goes leaves its charges empty to the next with that index, but
 * for a limit, which names the device it is for; gm_core.lock is between the two.
 */
#include "core/core.h"

int gm_account_new(enum gm_payer payer, const uint32_t *percent, struct gm_account **out)
{
	struct gm_account *account = gm_os_alloc(sizeof(*account));

	if (!account)
		return -ENOMEM;
	account->payer = payer;
	account->percent = percent;
	account->refs = 1;
	for (unsigned int i = 0; i < GM_MAX_DEVS; i++) {
		account->charge[i].account = account;
		gm_list_init(&account->charge[i].cold);
	}
	*out = account;
	return 0;
}

void gm_account_put(struct gm_account *account)
{
	if (__atomic_sub_fetch(&account->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (unsigned int i = 0; i < GM_MAX_DEVS; i++) {
		gm_bug_on(account->charge[i].used || account->charge[i].resident);
		gm_bug_on(!gm_list_empty(&account->charge[i].cold));
	}
	gm_os_free(account, sizeof(*account));
}

int gm_account_create(const uint32_t *percent, struct gm_account **out)
{
	return gm_account_new(GM_PAYER_MAKER, percent, out);
}

void gm_account_destroy(struct gm_account *account)
{
	if (!account)
		return;
	gm_bug_on(gm_load(&account->refs) != 1);
	gm_account_put(account);
}

void gm_object_set_account(struct gm_object *obj, struct gm_account *account)
{
	gm_bug_on(obj->nr_blocks || obj->account[account->payer]);
	gm_add(&account->refs, 1);
	obj->account[account->payer] = account;
}

/* It comes into @as: maps_lock held for writing, no region linked for it yet. */
void gm_object_adopt(struct gm_object *obj, struct gm_as *as)
{
	if (!obj->account[GM_PAYER_AS])
		gm_object_set_account(obj, as->account);
}

/* The object's blocks are gone. */
void gm_object_unaccount(struct gm_object *obj)
{
	for (unsigned int i = 0; i < GM_NR_PAYERS; i++)
		if (obj->account[i])
			gm_account_put(obj->account[i]);
}

uint64_t gm_account_used(const struct gm_account *account, int hnode)
{
	int i = hnode - gm_core.first_hnode;

	if (!account || i < 0 || i >= (int)GM_MAX_DEVS)
		return 0;
	return gm_load(&account->charge[i].used) << GM_PAGE_SHIFT;
}

/* Where to charge what @obj has on @dev; NULL: nowhere. */
struct gm_charge *gm_charge_of(const struct gm_object *obj, const struct gm_dev *dev,
			       enum gm_payer payer)
{
	return obj && obj->account[payer] ? &obj->account[payer]->charge[dev->index] : NULL;
}

static uint64_t limit_of(const struct gm_charge *charge, const struct gm_dev *dev)
{
	uint64_t limit = gm_load(&charge->limit);

	if (charge->account->percent)
		return gm_account_limit(gm_load(&dev->hnode.total),
					gm_load(charge->account->percent));
	return limit && gm_load(&charge->limit_dev) == dev->id ? limit : UINT64_MAX;
}

/* How many frames of @dev may be had before the limit: with the hnode locked, else a hint. */
uint64_t gm_charge_room(const struct gm_charge *charge, const struct gm_dev *dev)
{
	uint64_t used, limit;

	if (!charge)
		return UINT64_MAX;
	used = gm_load(&charge->used);
	limit = limit_of(charge, dev);
	return used < limit ? limit - used : 0;
}

/* The charge of @obj whose limit is below @want frames more; NULL: none. As above. */
struct gm_charge *gm_at_limit(const struct gm_object *obj, const struct gm_dev *dev, uint64_t want)
{
	for (unsigned int i = 0; i < GM_NR_PAYERS; i++) {
		struct gm_charge *charge = gm_charge_of(obj, dev, i);

		if (gm_charge_room(charge, dev) < want)
			return charge;
	}
	return NULL;
}

/* Frames were taken for @obj, or given back. hnode locked. */
void gm_charge_add(const struct gm_object *obj, const struct gm_dev *dev, int64_t frames)
{
	for (unsigned int i = 0; i < GM_NR_PAYERS; i++) {
		struct gm_charge *charge = gm_charge_of(obj, dev, i);

		if (!charge)
			continue;
		gm_assert(frames >= 0 || charge->used >= (uint64_t)-frames);
		gm_store(&charge->used, charge->used + (uint64_t)frames);
	}
}

/* --------------------------------------------------------- the limits of an address space */

int gm_as_limit(struct gm_as *as, int hnode, uint64_t bytes)
{
	int i = hnode - gm_core.first_hnode, err;
	struct gm_charge *charge;
	struct gm_dev *dev = NULL;

	if (!as || !gm_aligned(bytes, GM_PAGE_SIZE))
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	if (i >= 0 && i < (int)GM_MAX_DEVS)
		dev = gm_core.dev[i];
	if (dev) {
		charge = &as->account->charge[i];
		gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
		gm_store(&charge->limit_dev, dev->id);
		gm_store(&charge->limit, bytes >> GM_PAGE_SHIFT);
		gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
		gm_reclaim_charge(dev, charge);
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return dev ? 0 : -ENODEV;
}

/* Its address space goes. */
void gm_account_unlimit(struct gm_account *account)
{
	for (unsigned int i = 0; i < GM_MAX_DEVS; i++)
		gm_store(&account->charge[i].limit, 0);
}
