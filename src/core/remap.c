// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Remapping: a mapping gets longer or shorter, or goes to another address.
 *
 * Theory. Bytes belong to objects, not to addresses; so nothing moves but addresses. A region
 * that moves is a new region onto the same bytes at the new place, and the end of the old one,
 * in one step of the object's list of regions: what is on a device stays there, its old
 * mappings are released and invalidated, and the new ones are made by faults.
 *
 * What is one mapping? mremap(2) takes a part of one, and so does this: regions that follow
 * one another in an object, with one protection, or such of memory of gm_alloc() of one
 * family. That is how the latter gets longer: by the bytes of its object behind its end, if
 * nothing maps them, or else by a further object of its family. Such an object is made longer
 * than it needs be, which costs nothing as long as nothing is there, so that memory which
 * grows step by step is made of few objects. What it gets is always zero.
 *
 * An object with a name does not get longer than it is.
 *
 * All or nothing. First what was carved, then everything that takes memory, then region by
 * region the move itself, which may fail for want of memory, or because a device does not let
 * go; then those that have moved go back. Only what a shrinking mapping loses is unmapped
 * before, as mremap(2) does it.
 *
 * Locking. as->lock for writing. An object for growth is made without it (gm_core.lock comes
 * before), when a try under the lock has said that it needs one.
 */
#include "core/core.h"

struct remap {
	struct gm_as *as;
	uint64_t va, old_len, new_len;
	uint64_t to; /* in: GM_REMAP_FIXED; out */
	uint32_t flags;
	struct gm_object *spare; /* to grow by; NULL: none was made yet */
	uint64_t spare_size;	 /* wanted, with its flags, if remap_locked() says NEED_SPARE */
	uint32_t spare_flags;
};

#define NEED_SPARE 1

/* -------------------------------------------------------------------------- what is there */

static bool one_mapping(const struct gm_region *r, const struct gm_region *next)
{
	if (r->prot != next->prot)
		return false;
	if (r->obj == next->obj && r->offset + r->len == next->offset)
		return true;
	return r->obj->family && r->obj->family == next->obj->family;
}

/* -EFAULT: not mapped, or not in one mapping. */
static int check(const struct remap *m)
{
	uint64_t end = m->va + m->old_len;
	struct gm_region *r = gm_region_find(m->as, m->va), *next;

	if (!r)
		return -EFAULT;
	for (; gm_region_end(r) < end; r = next) {
		next = gm_region_find(m->as, gm_region_end(r));
		if (!next || !one_mapping(r, next))
			return -EFAULT;
	}
	if (r->obj->flags & GM_OBJECT_REGISTERED)
		return -EINVAL;
	return gm_aligned(m->va | m->old_len | m->new_len | m->to, r->obj->granule) ? 0 : -EINVAL;
}

/* Does a region map any of these bytes? */
static bool is_mapped(struct gm_object *obj, uint64_t offset, uint64_t len)
{
	bool mapped = false;

	gm_rwlock_rdlock(&obj->maps_lock, GM_RANK_MAPS);
	for (struct gm_region *r = obj->regions; r && !mapped; r = r->next)
		mapped = r->offset < offset + len && offset < r->offset + r->len;
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	return mapped;
}

/* ---------------------------------------------------------------------------- one region */

/* To @to, all of it. An error: nothing has changed, but that devices may have to fault. */
static int move_region(struct gm_region *old, uint64_t to)
{
	struct gm_object *obj = old->obj;
	struct gm_region like = *old, *new;
	int err;

	like.va = to;
	err = gm_region_new(&like, true, &new);
	if (err)
		return err;
	gm_rwlock_wrlock(&obj->maps_lock, GM_RANK_MAPS);
	err = gm_region_arm(new);
	if (err)
		goto err_new;
	for (struct gm_context *ctx = old->as->contexts; ctx && !err; ctx = ctx->next)
		err = gm_release_region(old, ctx, false, 0);
	if (!err)
		err = gm_os_region_unmap(old, old->va, old->len);
	if (err)
		goto err_link;
	gm_region_unlink(old);
	new->attrs = old->attrs; /* nobody who comes from a block sees them meanwhile */
	old->attrs = NULL;
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	gm_region_drop(old); /* the new one has its reference to the object */
	gm_region_insert(new);
	return 0;

err_link:
	gm_region_unlink(new);
err_new:
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	gm_region_undo(new);
	return err;
}

/* Whole regions: [va, va+len) to @to. *done says how far it went if it fails. */
static int move_range(struct gm_as *as, uint64_t va, uint64_t len, uint64_t to, uint64_t *done)
{
	uint64_t n;
	int err = 0;

	for (*done = 0; *done < len && !err; *done += err ? 0 : n) {
		struct gm_region *r = gm_region_find(as, va + *done);

		n = r->len;
		err = move_region(r, to + *done);
	}
	return err;
}

static int move_all(struct gm_as *as, uint64_t va, uint64_t len, uint64_t to)
{
	uint64_t done, back;
	int err = move_range(as, va, len, to, &done);

	if (err && done && move_range(as, to, done, va, &back))
		gm_os_warn("a part of what was to be remapped stays at its new address", NULL);
	return err;
}

/* ----------------------------------------------------------------------------------- growing */

/* What is to follow @last: a region that is not mapped yet; it holds its object. */
static int growth(struct remap *m, const struct gm_region *last, struct gm_region *like)
{
	struct gm_object *obj = last->obj;
	uint64_t more = m->new_len - m->old_len, end = m->va + m->old_len;
	uint64_t offset = end - last->va + last->offset, pad = end & (GM_BLOCK_SIZE - 1);
	bool fits = more <= obj->size - offset;

	*like = *last;
	like->len = more;
	like->offset = offset;
	if (!obj->anonymous)
		return fits ? 0 : -EINVAL;
	if (fits && !is_mapped(obj, offset, more))
		return gm_object_forget(obj, offset, more);
	if (m->spare) {
		m->spare->family = obj->family;
		like->obj = m->spare;
		like->offset = pad;
		return 0;
	}
	/* So that a block of the object is one of the address space. */
	m->spare_flags = obj->flags;
	m->spare_size = pad + more;
	if (obj->granule == GM_PAGE_SIZE && m->new_len < GM_OBJECT_MAX_SIZE / 2)
		m->spare_size = pad + GM_MAX(more, m->old_len);
	return NEED_SPARE;
}

/* Make what was mapped by gm_region_new() a part of the address space. */
static int add_region(struct gm_region *region)
{
	struct gm_object *obj = region->obj;
	int err;

	gm_rwlock_wrlock(&obj->maps_lock, GM_RANK_MAPS);
	err = gm_region_arm(region);
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	if (err)
		return err;
	gm_object_get(obj);
	gm_region_insert(region);
	return 0;
}

static int grow_in_place(const struct remap *m, const struct gm_region *more)
{
	struct gm_region like = *more, *region;
	int err;

	like.va = m->va + m->old_len;
	err = gm_region_new(&like, true, &region);
	if (err)
		return err;
	err = add_region(region);
	if (err)
		gm_region_undo(region);
	return err;
}

/* ------------------------------------------------------------------------------------ moving */

/* To @to; @more, if there is any, comes behind. */
static int move_to(const struct remap *m, uint64_t len, const struct gm_region *more, uint64_t to)
{
	struct gm_region like, *region = NULL;
	int err = 0;

	if (more) {
		like = *more;
		like.va = to + len;
		err = gm_region_new(&like, true, &region);
	}
	if (err)
		return err;
	err = move_all(m->as, m->va, len, to);
	if (!err && region) {
		err = add_region(region);
		if (err && move_all(m->as, to, len, m->va))
			gm_os_warn("what was to be remapped stays at its new address", NULL);
	}
	if (err && region)
		gm_region_undo(region);
	return err;
}

/* Addresses that the host and all devices have to give, as things are. */
static int choose(const struct remap *m, uint32_t prot, uint64_t *to)
{
	uint64_t va[GM_VA_TRIES];
	unsigned int n = 0;
	int err;

	do {
		err = gm_os_va_reserve(m->as, m->new_len, m->va, &va[n]);
		if (err)
			break;
		*to = va[n++];
		err = gm_va_take(m->as, *to, m->new_len, prot);
	} while (err == -EADDRINUSE && n < GM_VA_TRIES);
	if (!err)
		gm_va_give(m->as, *to, m->new_len);
	while (n--)
		gm_os_va_release(m->as, va[n], m->new_len);
	return err;
}

static int move(struct remap *m, const struct gm_region *more)
{
	uint64_t len = GM_MIN(m->old_len, m->new_len);
	uint32_t prot = gm_region_find(m->as, m->va)->prot;
	unsigned int tries = 0;
	int err;

	err = gm_range_carve(m->as, m->va, len);
	if (err || (m->flags & GM_REMAP_FIXED))
		return err ? err : move_to(m, len, more, m->to);
	do {
		err = choose(m, prot, &m->to);
		if (!err) /* another thread may map something there first */
			err = move_to(m, len, more, m->to);
	} while (err == -EEXIST && ++tries < GM_VA_TRIES);
	return err;
}

/* ------------------------------------------------------------------------------- all together */

static int cut_tail(const struct remap *m)
{
	uint64_t va = m->va + m->new_len, end = m->va + m->old_len;
	int err = gm_range_carve(m->as, va, end - va);

	while (!err && va < end) {
		struct gm_region *r = gm_region_find(m->as, va);

		va = gm_region_end(r);
		err = gm_region_unmap(m->as, r);
	}
	return err;
}

/* What gm_alloc() has added to the last base page (unit.c) goes: it is in the way, and nobody's. */
static int drop_spare(const struct remap *m)
{
	uint64_t end = m->va + m->old_len, spare = gm_region_spare(m->as, end);
	int err = spare ? gm_range_carve(m->as, end, spare) : 0;

	return err || !spare ? err : gm_region_unmap(m->as, gm_region_find(m->as, end));
}

static int remap_locked(struct remap *m)
{
	struct gm_region more;
	bool fixed = m->flags & GM_REMAP_FIXED, grows = m->new_len > m->old_len;
	int err = check(m);

	if (err)
		return err;
	if (!fixed)
		m->to = m->va;
	if (m->new_len != m->old_len || fixed)
		err = drop_spare(m);
	if (err)
		return err;
	if (grows) {
		err = growth(m, gm_region_find(m->as, m->va + m->old_len - GM_PAGE_SIZE), &more);
		if (err)
			return err;
	} else if (m->new_len < m->old_len) {
		err = cut_tail(m);
	}
	if (err || fixed)
		return err ? err : move(m, grows ? &more : NULL);
	if (!grows)
		return 0;
	err = grow_in_place(m, &more);
	if (err != -EEXIST && err != -EADDRINUSE)
		return err;
	return m->flags & GM_REMAP_MAYMOVE ? move(m, &more) : -ENOMEM;
}

static int check_args(const struct remap *m)
{
	uint64_t end = m->va + m->old_len, to_end = m->to + m->new_len;

	if (!m->va || !m->old_len || !m->new_len || end < m->va || m->va + m->new_len < m->va ||
	    !gm_aligned(m->va | m->old_len | m->new_len, GM_PAGE_SIZE) ||
	    m->new_len > GM_OBJECT_MAX_SIZE || (m->flags & ~(GM_REMAP_MAYMOVE | GM_REMAP_FIXED)))
		return -EINVAL;
	if (!(m->flags & GM_REMAP_FIXED))
		return 0;
	if (!(m->flags & GM_REMAP_MAYMOVE) || !m->to || !gm_aligned(m->to, GM_PAGE_SIZE) ||
	    to_end < m->to || (m->to < end && m->va < to_end))
		return -EINVAL;
	return 0;
}

int gm_as_remap(struct gm_as *as, void *addr, uint64_t old_len, uint64_t new_len, uint32_t flags,
		void **new_addr)
{
	struct remap m = { .as = as,
			   .va = (uint64_t)(uintptr_t)addr,
			   .old_len = old_len,
			   .new_len = new_len,
			   .flags = flags };
	int err;

	if (!as || !new_addr)
		return -EINVAL;
	if (flags & GM_REMAP_FIXED)
		m.to = (uint64_t)(uintptr_t)*new_addr;
	err = check_args(&m);
	if (!err)
		err = gm_enter();
	if (err)
		return err;
	do {
		gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
		err = remap_locked(&m);
		gm_rwlock_unlock(&as->lock, GM_RANK_AS);
		if (err != NEED_SPARE)
			break;
		err = gm_object_new(m.spare_size, m.spare_flags, true, &m.spare);
	} while (!err);
	gm_object_put(m.spare); /* a region holds it now, or nobody */
	if (!err)
		*new_addr = (void *)(uintptr_t)m.to;
	return err;
}
