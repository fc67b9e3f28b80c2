// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Address spaces and regions: which addresses are taken, and for each page of a
 * region whether the CPU has it mapped, with what protection, and whether the core
 * is asked where it has not.
 *
 * A region keeps the addresses it was made with; unmapping a part marks its pages
 * as gone. So it does not matter whether the core shortens a region or splits it.
 *
 * Locking: see internal.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/fake/internal.h"

/* ----------------------------------------------------------- address spaces */

struct fake_as *fake_as(struct gm_as *as)
{
	struct fake_as *fas = *gm_as_host(as);

	fake_bug_on(!fas);
	return fas;
}

int gm_os_as_create(struct gm_as *as, const struct gm_as_options *opt)
{
	int err = fake_fail(GM_FAKE_AS_CREATE);
	struct fake_as *fas;

	(void)opt;
	fake_check_may_sleep("as_create");
	if (err)
		return err;
	fas = calloc(1, sizeof(*fas));
	if (!fas)
		return -ENOMEM;
	pthread_mutex_init(&fas->lock, NULL);
	*gm_as_host(as) = fas;
	fake_add(spaces, 1);
	return 0;
}

void gm_os_as_stop(struct gm_as *as)
{
	fake_check_no_lock("as_stop with a lock held");
	fake_as(as)->stopped = true;
}

void gm_os_as_destroy(struct gm_as *as)
{
	struct fake_as *fas = fake_as(as);

	fake_bug_on(fas->regions);
	pthread_mutex_destroy(&fas->lock);
	free(fas);
	*gm_as_host(as) = NULL;
	fake_sub(spaces, 1);
}

/* -------------------------------------------------------------------- lookup */

static bool is_gone(const struct fake_region *r, uint64_t va)
{
	bool gone;

	pthread_mutex_lock(&r->obj->lock);
	gone = *fake_region_page(r, va) & (FAKE_GONE | FAKE_FORGOTTEN);
	pthread_mutex_unlock(&r->obj->lock);
	return gone;
}

struct fake_region *fake_find(struct fake_as *fas, uint64_t va)
{
	struct fake_region *r;

	for (r = fas->regions; r; r = r->next)
		if (va >= r->va && va - r->va < r->len && !is_gone(r, va))
			return r;
	return NULL;
}

/* The end of what is taken in [va, va+len), or 0 if nothing is. */
static uint64_t taken_until(const struct fake_as *fas, uint64_t va, uint64_t len)
{
	for (struct fake_region *r = fas->regions; r; r = r->next) {
		uint64_t from = va > r->va ? va : r->va;
		uint64_t to = va + len < r->va + r->len ? va + len : r->va + r->len;

		for (; from < to; from += FAKE_PAGE)
			if (!is_gone(r, from))
				return from + FAKE_PAGE;
	}
	for (unsigned int i = 0; i < FAKE_RESERVED; i++)
		if (va < fas->reserved[i].va + fas->reserved[i].len &&
		    fas->reserved[i].va < va + len)
			return fas->reserved[i].va + fas->reserved[i].len;
	return 0;
}

/* First fit, @in bytes into a multiple of @to. */
static uint64_t first_fit(const struct fake_as *fas, uint64_t len, uint64_t to, uint64_t in)
{
	uint64_t va = FAKE_FIRST_VA + in, end;

	while ((end = taken_until(fas, va, len)))
		va = ((end - in + to - 1) & ~(to - 1)) + in;
	return va;
}

static uint64_t choose_va(const struct fake_as *fas, const struct gm_region *region)
{
	uint64_t align = gm_map_align(region);

	return first_fit(fas, region->len, align, region->offset & (align - 1));
}

int gm_os_va_reserve(struct gm_as *as, uint64_t len, uint64_t like, uint64_t *va)
{
	struct fake_as *fas = fake_as(as);
	int err = fake_fail(GM_FAKE_VA_RESERVE);
	unsigned int i = 0;

	fake_check_may_sleep("va_reserve");
	fake_bug_on(!len || (len | like) % FAKE_PAGE);
	if (err)
		return err;
	pthread_mutex_lock(&fas->lock);
	while (i < FAKE_RESERVED && fas->reserved[i].len)
		i++;
	fake_bug_on(i == FAKE_RESERVED);
	*va = first_fit(fas, len, GM_BLOCK_SIZE, like % GM_BLOCK_SIZE);
	fas->reserved[i].va = *va;
	fas->reserved[i].len = len;
	pthread_mutex_unlock(&fas->lock);
	return 0;
}

void gm_os_va_release(struct gm_as *as, uint64_t va, uint64_t len)
{
	struct fake_as *fas = fake_as(as);
	unsigned int i = 0;

	pthread_mutex_lock(&fas->lock);
	while (i < FAKE_RESERVED && (fas->reserved[i].va != va || fas->reserved[i].len != len))
		i++;
	fake_bug_on(i == FAKE_RESERVED);
	fas->reserved[i].va = fas->reserved[i].len = 0;
	pthread_mutex_unlock(&fas->lock);
}

/* ------------------------------------------------------------------- regions */

static struct fake_region *region_new(struct gm_region *owner, struct fake_object *o)
{
	struct fake_region *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->page = malloc(owner->len / FAKE_PAGE);
	r->aperture = calloc(owner->len / FAKE_PAGE, sizeof(*r->aperture));
	if (!r->page || !r->aperture) {
		free(r->page);
		free(r->aperture);
		free(r);
		return NULL;
	}
	memset(r->page, (int)(owner->prot << FAKE_PROT_SHIFT), owner->len / FAKE_PAGE);
	r->va = owner->va;
	r->len = owner->len;
	r->offset = owner->offset;
	r->obj = o;
	r->owner = owner;
	return r;
}

/* as->lock held. */
static void region_link(struct fake_as *fas, struct fake_region *r)
{
	pthread_mutex_lock(&r->obj->lock);
	r->next_of_obj = r->obj->regions;
	r->obj->regions = r;
	pthread_mutex_unlock(&r->obj->lock);
	r->next = fas->regions;
	fas->regions = r;
	r->owner->host = r;
	fake_add(regions, 1);
}

int gm_os_region_map(struct gm_region *region, bool fixed)
{
	struct fake_as *fas = fake_as(region->as);
	struct fake_object *o = fake_object(region->obj);
	int err = fake_fail(GM_FAKE_REGION_MAP);
	struct fake_region *r;

	fake_check_may_sleep("region_map");
	fake_bug_on(!region->len || region->len % FAKE_PAGE || region->offset % FAKE_PAGE);
	fake_bug_on(region->offset > o->size || region->len > o->size - region->offset);
	fake_bug_on(region->len % o->granule || region->offset % o->granule);
	if (err)
		return err;
	if (fixed && (region->va % FAKE_PAGE || region->va + region->len < region->va))
		return -EINVAL;

	pthread_mutex_lock(&fas->lock);
	if (!fixed)
		region->va = choose_va(fas, region);
	else if (taken_until(fas, region->va, region->len))
		err = -EEXIST;
	if (!err) {
		r = region_new(region, o);
		if (r)
			region_link(fas, r);
		else
			err = -ENOMEM;
	}
	pthread_mutex_unlock(&fas->lock);
	return err;
}

static struct fake_region *region_of(struct gm_region *region)
{
	struct fake_region *r = region->host;

	fake_bug_on(!r || r->owner != region);
	return r;
}

static void check_range(const struct fake_region *r, uint64_t va, uint64_t len)
{
	fake_bug_on(va % FAKE_PAGE || len % FAKE_PAGE || !len);
	fake_bug_on(va < r->va || va - r->va >= r->len || len > r->len - (va - r->va));
	/* A huge page is mapped, unmapped and protected as a whole. */
	fake_bug_on((va - r->va + r->offset) % r->obj->granule || len % r->obj->granule);
}

/* In each page of the range: false if one is gone; else clear and set bits. */
static bool change_pages(struct fake_region *r, uint64_t va, uint64_t len, uint32_t clear,
			 uint32_t set)
{
	bool ok = true;

	check_range(r, va, len);
	pthread_mutex_lock(&r->obj->lock);
	r->used |= clear || (set & ~GM_FAKE_ARMED);
	for (uint64_t end = va + len; va < end; va += FAKE_PAGE) {
		uint8_t *page = fake_region_page(r, va);

		ok &= !(*page & FAKE_GONE);
		*page = (uint8_t)((*page & ~clear) | set);
		if (clear & GM_FAKE_MAPPED)
			*fake_region_aperture(r, va) = NULL;
	}
	pthread_mutex_unlock(&r->obj->lock);
	return ok;
}

/* All of a region that nothing has been done with but to arm it: this never fails. */
static bool just_mapped(const struct fake_region *r, uint64_t len)
{
	bool used;

	pthread_mutex_lock(&r->obj->lock);
	used = r->used;
	pthread_mutex_unlock(&r->obj->lock);
	return !used && len == r->len;
}

int gm_os_region_unmap(struct gm_region *region, uint64_t va, uint64_t len)
{
	int err = 0;

	fake_check_may_sleep("region_unmap");
	if (!just_mapped(region_of(region), len))
		err = fake_fail(GM_FAKE_REGION_UNMAP);
	if (err)
		return err;
	if (!change_pages(region_of(region), va, len, 0xff, FAKE_GONE))
		fake_bug("region_unmap of what is not mapped");
	return 0;
}

int gm_os_region_split(struct gm_region *low, struct gm_region *high)
{
	struct fake_as *fas = fake_as(low->as);
	struct fake_region *r, *new;
	int err = fake_fail(GM_FAKE_REGION_SPLIT);

	fake_check_may_sleep("region_split");
	fake_bug_on(low->va + low->len != high->va || low->obj != high->obj || low->as != high->as);
	fake_bug_on(low->offset + low->len != high->offset);
	if (err)
		return err;
	r = region_of(low);
	check_range(r, high->va, high->len);
	new = region_new(high, r->obj);
	if (!new)
		return -ENOMEM;

	pthread_mutex_lock(&fas->lock);
	pthread_mutex_lock(&r->obj->lock);
	for (uint64_t va = high->va; va < high->va + high->len; va += FAKE_PAGE) {
		*fake_region_page(new, va) = *fake_region_page(r, va);
		*fake_region_aperture(new, va) = *fake_region_aperture(r, va);
		*fake_region_page(r, va) = FAKE_GONE;
	}
	r->used = new->used = true;
	pthread_mutex_unlock(&r->obj->lock);
	region_link(fas, new);
	pthread_mutex_unlock(&fas->lock);
	return 0;
}

void gm_os_region_free(struct gm_region *region)
{
	struct fake_as *fas = fake_as(region->as);
	struct fake_region *r = region_of(region), **p;
	bool gone = true;

	pthread_mutex_lock(&fas->lock);
	for (p = &fas->regions; *p != r; p = &(*p)->next)
		;
	*p = r->next;
	pthread_mutex_lock(&r->obj->lock);
	for (p = &r->obj->regions; *p != r; p = &(*p)->next_of_obj)
		;
	*p = r->next_of_obj;
	for (uint64_t i = 0; i < r->len / FAKE_PAGE; i++)
		gone &= !!(r->page[i] & FAKE_GONE);
	pthread_mutex_unlock(&r->obj->lock);
	pthread_mutex_unlock(&fas->lock);

	fake_bug_on(!gone); /* freed before it was unmapped */
	free(r->page);
	free(r->aperture);
	free(r);
	region->host = NULL;
	fake_sub(regions, 1);
}

int gm_os_region_protect(struct gm_region *region, uint64_t va, uint64_t len, uint32_t prot)
{
	int err = fake_fail(GM_FAKE_REGION_PROTECT);

	fake_check_may_sleep("region_protect");
	if (err)
		return err;
	if (!change_pages(region_of(region), va, len, 3U << FAKE_PROT_SHIFT,
			  prot << FAKE_PROT_SHIFT))
		fake_bug("region_protect of what is not mapped");
	return 0;
}

void gm_fake_forget(struct gm_as *as, uint64_t va, uint64_t len)
{
	struct fake_as *fas = fake_as(as);

	pthread_mutex_lock(&fas->lock);
	for (uint64_t end = va + len; va < end; va += FAKE_PAGE) {
		struct fake_region *r = fake_find(fas, va);

		fake_bug_on(!r);
		pthread_mutex_lock(&r->obj->lock);
		*fake_region_page(r, va) |= FAKE_FORGOTTEN;
		pthread_mutex_unlock(&r->obj->lock);
	}
	pthread_mutex_unlock(&fas->lock);
}

/* ----------------------------------------------------------- the page table */

int gm_os_cpu_arm(struct gm_region *region, uint64_t va, uint64_t len)
{
	struct fake_region *r = region_of(region);
	uint64_t granule = fake_opt.arm_granule, end = va + len;
	int err = fake_fail(GM_FAKE_CPU_ARM);

	fake_check_may_sleep("cpu_arm");
	check_range(r, va, len);
	if (err)
		return err;
	if (granule) { /* what a host rounds, it rounds within the region */
		va &= ~(granule - 1);
		end = (end + granule - 1) & ~(granule - 1);
		va = va > region->va ? va : region->va;
		end = end < region->va + region->len ? end : region->va + region->len;
	}
	if (!change_pages(r, va, end - va, 0, GM_FAKE_ARMED))
		fake_bug("cpu_arm of what is not mapped");
	return 0;
}

static int cpu_map(struct gm_region *region, uint64_t va, uint64_t len, bool read)
{
	struct fake_region *r = region_of(region);
	int err = fake_fail(GM_FAKE_CPU_MAP);
	bool exist = true, written = false;

	fake_check_may_sleep("cpu_map");
	check_range(r, va, len);
	if (err)
		return err;
	pthread_mutex_lock(&r->obj->lock);
	for (uint64_t p = va; p < va + len; p += FAKE_PAGE) {
		exist &= (*fake_object_page(r, p) & FAKE_EXISTS) && !*fake_region_aperture(r, p);
		written |= (*fake_region_page(r, p) & (GM_FAKE_MAPPED | FAKE_READONLY)) ==
			   GM_FAKE_MAPPED;
	}
	pthread_mutex_unlock(&r->obj->lock);
	fake_bug_on(!exist);	      /* or is still mapped where it was on a device */
	fake_bug_on(read && written); /* it can be written without a fault */
	if (!change_pages(r, va, len, read ? 0 : FAKE_READONLY,
			  GM_FAKE_MAPPED | (read ? FAKE_READONLY : 0)))
		fake_bug("cpu_map of what is not mapped");
	return 0;
}

int gm_os_cpu_map(struct gm_region *region, uint64_t va, uint64_t len)
{
	return cpu_map(region, va, len, false);
}

int gm_os_cpu_map_read(struct gm_region *region, uint64_t va, uint64_t len)
{
	return fake_opt.no_map_read ? -EOPNOTSUPP : cpu_map(region, va, len, true);
}

int gm_os_cpu_map_aperture(struct gm_region *region, uint64_t va, uint64_t len, uint64_t cpu)
{
	struct fake_region *r = region_of(region);
	int err = fake_fail(GM_FAKE_CPU_MAP);
	bool ok = true;

	fake_check_may_sleep("cpu_map_aperture");
	check_range(r, va, len);
	if (err)
		return err;
	pthread_mutex_lock(&r->obj->lock);
	for (uint64_t in = 0; in < len; in += FAKE_PAGE) {
		uint8_t *page = fake_region_page(r, va + in),
			**aperture = fake_region_aperture(r, va + in);
		uint8_t *at = (uint8_t *)(uintptr_t)(cpu + in);

		ok &= (*page & GM_FAKE_ARMED) && (!(*page & GM_FAKE_MAPPED) || *aperture == at);
		*page |= GM_FAKE_MAPPED;
		*aperture = at;
		r->used = true;
	}
	pthread_mutex_unlock(&r->obj->lock);
	fake_bug_on(!ok); /* it is mapped elsewhere */
	return 0;
}

/* All mappings are those of regions here. */
int gm_os_object_revoke(struct gm_object *obj, uint64_t off, uint64_t len)
{
	(void)obj;
	fake_check_may_sleep("object_revoke");
	fake_bug_on((off | len) % FAKE_PAGE || !len);
	return -EOPNOTSUPP;
}

int gm_os_cpu_revoke(struct gm_region *region, uint64_t va, uint64_t len)
{
	struct fake_region *r = region_of(region);
	int err = fake_fail(GM_FAKE_CPU_REVOKE);
	bool armed = true;

	fake_check_may_sleep("cpu_revoke");
	check_range(r, va, len);
	if (err)
		return err;
	pthread_mutex_lock(&r->obj->lock);
	for (uint64_t p = va; p < va + len; p += FAKE_PAGE)
		armed &= !!(*fake_region_page(r, p) & GM_FAKE_ARMED);
	pthread_mutex_unlock(&r->obj->lock);
	fake_bug_on(!armed);
	if (!change_pages(r, va, len, GM_FAKE_MAPPED | FAKE_READONLY, 0))
		fake_bug("cpu_revoke of what is not mapped");
	return 0;
}
