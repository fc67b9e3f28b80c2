// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The CPU: what a load or a store of managed memory does on this host.
 *
 * As on a real one, protection is looked at first, a page that is mapped is accessed
 * without the core, one in a disarmed place is filled by the "kernel" alone, and only
 * the rest is delivered to gm_cpu_fault() and tried again.
 *
 * Locking: the bytes of one page are accessed under fake_object.lock, which cpu_revoke
 * takes too: when revoke returns, no access by way of the old mapping is under way.
 */
#include <errno.h>
#include <string.h>

#include "host/fake/internal.h"

/* The kernel fills a page, or a huge one, and maps it. obj->lock held. */
static void fill(struct fake_region *r, uint64_t va)
{
	struct fake_object *o = r->obj;
	uint64_t in = (va - r->va + r->offset) % o->granule;

	fake_page_make(o, (va - r->va + r->offset) & ~(FAKE_PAGE - 1));
	va -= in;
	for (uint64_t end = va + o->granule; va < end; va += FAKE_PAGE)
		*fake_region_page(r, va) |= GM_FAKE_MAPPED;
	r->used = true;
}

/* -EAGAIN: ask the core and come again. as->lock held. */
static int access_page(struct fake_region *r, uint64_t va, uint8_t *buf, uint64_t len,
		       uint32_t access)
{
	struct fake_object *o = r->obj;
	uint64_t off = va - r->va + r->offset;
	uint8_t *page = fake_region_page(r, va), *bytes = o->bytes + off;
	int err = 0;

	pthread_mutex_lock(&o->lock);
	if (!(*page >> FAKE_PROT_SHIFT & access)) {
		err = -EACCES;
	} else if ((!(*page & GM_FAKE_MAPPED) && (*page & GM_FAKE_ARMED)) ||
		   ((*page & FAKE_READONLY) && access == GM_WRITE)) {
		err = -EAGAIN;
	} else {
		if (!(*page & GM_FAKE_MAPPED))
			fill(r, va);
		if (*fake_region_aperture(r, va))
			bytes = *fake_region_aperture(r, va) + va % FAKE_PAGE;
		if (access == GM_WRITE)
			memcpy(bytes, buf, len);
		else
			memcpy(buf, bytes, len);
	}
	pthread_mutex_unlock(&o->lock);
	return err;
}

static int access_once(struct gm_as *as, uint64_t va, uint8_t *buf, uint64_t len, uint32_t access)
{
	struct fake_as *fas = fake_as(as);
	struct fake_region *r;
	int err = -EFAULT;

	pthread_mutex_lock(&fas->lock);
	fake_bug_on(fas->stopped);
	r = fake_find(fas, va);
	if (r)
		err = access_page(r, va, buf, len, access);
	pthread_mutex_unlock(&fas->lock);
	return err;
}

static int access_retry(struct gm_as *as, uint64_t va, uint8_t *buf, uint64_t len, uint32_t access)
{
	for (unsigned int tries = 0; tries < FAKE_MAX_RETRIES; tries++) {
		int err = access_once(as, va, buf, len, access);

		if (err != -EAGAIN)
			return err;
		fake_add(cpu_faults, 1);
		err = gm_cpu_fault(as, va, access);
		fake_check_no_lock("gm_cpu_fault returned with a lock held");
		if (err)
			return err;
	}
	if (!fake_opt.threaded)
		fake_bug("gm_cpu_fault returns 0 and maps nothing");
	return -EBUSY;
}

int gm_fake_cpu_access(struct gm_as *as, uint64_t va, void *buf, uint64_t len, uint32_t access)
{
	uint8_t *p = buf;

	fake_bug_on(access != GM_READ && access != GM_WRITE);
	fake_check_no_lock("cpu_access with a lock held");
	if (fake_opt.auto_work)
		gm_fake_run_work();
	while (len) {
		uint64_t n = FAKE_PAGE - va % FAKE_PAGE;
		int err;

		n = n < len ? n : len;
		err = access_retry(as, va, p, n, access);
		if (err)
			return err;
		va += n;
		p += n;
		len -= n;
	}
	return 0;
}

uint32_t gm_fake_page(struct gm_as *as, uint64_t va)
{
	struct fake_as *fas = fake_as(as);
	struct fake_region *r;
	uint32_t flags = 0;

	pthread_mutex_lock(&fas->lock);
	r = fake_find(fas, va);
	if (r) {
		pthread_mutex_lock(&r->obj->lock);
		flags = *fake_region_page(r, va) & (GM_FAKE_MAPPED | GM_FAKE_ARMED);
		if (*fake_object_page(r, va) & FAKE_EXISTS)
			flags |= GM_FAKE_PRESENT;
		if (*fake_region_page(r, va) & FAKE_READONLY)
			flags |= GM_FAKE_READONLY;
		if (*fake_region_aperture(r, va))
			flags |= GM_FAKE_APERTURE;
		pthread_mutex_unlock(&r->obj->lock);
	}
	pthread_mutex_unlock(&fas->lock);
	return flags;
}

uint64_t gm_fake_cpu_faults(void)
{
	return __atomic_load_n(&fake_count.cpu_faults, __ATOMIC_RELAXED);
}
