// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Host backing: an object's bytes are an array that exists page by page.
 *
 * A page that does not exist is poisoned, so a copy out of one is seen at the first
 * compare; it is zeroed when it comes to exist. Each page counts its backing_gets:
 * an unpaired put, or a page freed while a copy engine might use it, is a bug; so is one
 * that is freed, or whose object goes, while it is held for devices that map it in place.
 * Huge pages come and go as a whole.
 *
 * Locking: fake_object.lock over what is known of a page. The bytes themselves are
 * the core's to protect: backing_read and backing_write copy without the lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host/fake/internal.h"

struct fake_object *fake_object(struct gm_object *obj)
{
	struct fake_object *o = *gm_object_host(obj);

	fake_bug_on(!o);
	return o;
}

static void check_range(const struct fake_object *o, uint64_t off, uint64_t len, uint64_t to)
{
	fake_bug_on(off % to || len % to || !len);
	fake_bug_on(off >= o->size || len > o->size - off);
}

static uint64_t round_down(uint64_t v, uint64_t to)
{
	return v & ~(to - 1);
}

int gm_os_object_create(struct gm_object *obj, uint32_t flags)
{
	uint64_t size = gm_object_size(obj);
	struct fake_object *o;
	int err = fake_fail(GM_FAKE_OBJECT_CREATE);

	fake_check_may_sleep("object_create");
	if (err)
		return err;
	if (flags & ~(GM_OBJECT_HUGETLB | GM_OBJECT_REGISTERED))
		return -EINVAL;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->page = calloc(size / FAKE_PAGE, sizeof(*o->page));
	if (!o->page)
		goto err_free;
	o->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (o->bytes == MAP_FAILED)
		goto err_page;
	o->size = size;
	o->granule = flags & GM_OBJECT_HUGETLB ? GM_BLOCK_SIZE : FAKE_PAGE;
	pthread_mutex_init(&o->lock, NULL);
	*gm_object_host(obj) = o;
	fake_add(objects, 1);
	return 0;

err_page:
	free(o->page);
err_free:
	free(o);
	return -ENOMEM;
}

void gm_os_object_destroy(struct gm_object *obj)
{
	struct fake_object *o = fake_object(obj);

	fake_check_may_sleep("object_destroy");
	fake_bug_on(o->regions);
	for (uint64_t i = 0; i < o->size / FAKE_PAGE; i++)
		fake_bug_on(o->page[i] & (FAKE_GETS | FAKE_HELD));
	munmap(o->bytes, o->size);
	pthread_mutex_destroy(&o->lock);
	free(o->page);
	free(o);
	*gm_object_host(obj) = NULL;
	fake_sub(objects, 1);
}

uint64_t gm_os_backing_granule(struct gm_object *obj)
{
	return fake_object(obj)->granule;
}

void fake_page_make(struct fake_object *o, uint64_t off)
{
	if (o->page[off / FAKE_PAGE] & FAKE_EXISTS)
		return;
	off = round_down(off, o->granule);
	memset(o->bytes + off, 0, o->granule);
	for (uint64_t p = off; p < off + o->granule; p += FAKE_PAGE)
		o->page[p / FAKE_PAGE] |= FAKE_EXISTS;
}

static bool all_exist(struct fake_object *o, uint64_t off, uint64_t len)
{
	bool all = true;

	pthread_mutex_lock(&o->lock);
	for (uint64_t i = off / FAKE_PAGE; i <= (off + len - 1) / FAKE_PAGE; i++)
		all &= !!(o->page[i] & FAKE_EXISTS);
	pthread_mutex_unlock(&o->lock);
	return all;
}

int gm_os_backing_get(struct gm_object *obj, uint64_t off, uint64_t len, bool exist, uint64_t *bus,
		      uint64_t *got)
{
	struct fake_object *o = fake_object(obj);
	int err = fake_fail(GM_FAKE_BACKING_GET);

	fake_check_may_sleep("backing_get");
	check_range(o, off, len, FAKE_PAGE);
	fake_bug_on(exist && !all_exist(o, off, len));
	if (err)
		return err;
	if (fake_opt.max_run && len > fake_opt.max_run)
		len = fake_opt.max_run;
	pthread_mutex_lock(&o->lock);
	for (uint64_t p = off; p < off + len; p += FAKE_PAGE) {
		fake_page_make(o, p);
		o->page[p / FAKE_PAGE]++;
	}
	pthread_mutex_unlock(&o->lock);
	*bus = (uintptr_t)(o->bytes + off);
	*got = len;
	return 0;
}

void gm_os_backing_put(struct gm_object *obj, uint64_t off, uint64_t len)
{
	struct fake_object *o = fake_object(obj);
	bool paired = true;

	check_range(o, off, len, FAKE_PAGE);
	pthread_mutex_lock(&o->lock);
	for (uint64_t i = off / FAKE_PAGE; i < (off + len) / FAKE_PAGE; i++) {
		if (o->page[i] & FAKE_GETS)
			o->page[i]--;
		else
			paired = false;
	}
	pthread_mutex_unlock(&o->lock);
	fake_bug_on(!paired);
}

int gm_os_backing_read(struct gm_object *obj, uint64_t off, void *buf, uint64_t len)
{
	struct fake_object *o = fake_object(obj);
	int err = fake_fail(GM_FAKE_BACKING_READ);

	fake_check_may_sleep("backing_read");
	check_range(o, off, len, 1);
	fake_bug_on(!all_exist(o, off, len));
	if (!err)
		memcpy(buf, o->bytes + off, len);
	return err;
}

int gm_os_backing_write(struct gm_object *obj, uint64_t off, const void *buf, uint64_t len)
{
	struct fake_object *o = fake_object(obj);
	int err = fake_fail(GM_FAKE_BACKING_WRITE);

	fake_check_may_sleep("backing_write");
	check_range(o, off, len, 1);
	fake_bug_on(!all_exist(o, off, len));
	if (!err)
		memcpy(o->bytes + off, buf, len);
	return err;
}

void *gm_os_bounce_alloc(uint64_t size, uint64_t *bus)
{
	void *buf;

	fake_check_may_sleep("bounce_alloc");
	if (fake_fail(GM_FAKE_BOUNCE_ALLOC))
		return NULL;
	buf = malloc(size);
	if (!buf)
		return NULL;
	memset(buf, FAKE_POISON, size);
	*bus = (uintptr_t)buf;
	fake_add(bytes, size);
	return buf;
}

void gm_os_bounce_free(void *buf, uint64_t size, uint64_t bus)
{
	fake_bug_on(bus != (uintptr_t)buf);
	free(buf);
	fake_sub(bytes, size);
}

/* Memory that is not managed is the test's own. */
int gm_os_copy_plain(void *dst, const void *src, uint64_t len)
{
	int err = fake_fail(GM_FAKE_COPY_PLAIN);

	fake_check_may_sleep("copy_plain");
	if (!err)
		memcpy(dst, src, len);
	return err;
}

/* What the fake host keeps is the test's, and not metadata of gmem's. */
uint64_t gm_os_metadata_bytes(void)
{
	return 0;
}

uint64_t gm_os_backing_run(struct gm_object *obj, uint64_t off, uint64_t len, bool *present)
{
	struct fake_object *o = fake_object(obj);
	uint64_t end = (off + len) / FAKE_PAGE, i = off / FAKE_PAGE;
	uint16_t first;

	check_range(o, off, len, FAKE_PAGE);
	pthread_mutex_lock(&o->lock);
	first = o->page[i] & FAKE_EXISTS;
	while (i < end && (o->page[i] & FAKE_EXISTS) == first)
		i++;
	pthread_mutex_unlock(&o->lock);
	*present = first;
	return i * FAKE_PAGE - off;
}

/* Take the CPU's mappings of the object's pages away. obj->lock held. */
static void unmap_from_regions(struct fake_object *o, uint64_t off, uint64_t end)
{
	for (struct fake_region *r = o->regions; r; r = r->next_of_obj) {
		uint64_t from = off > r->offset ? off : r->offset;
		uint64_t to = end < r->offset + r->len ? end : r->offset + r->len;

		for (; from < to; from += FAKE_PAGE)
			r->page[(from - r->offset) / FAKE_PAGE] &= (uint8_t)~GM_FAKE_MAPPED;
	}
}

void gm_os_backing_free(struct gm_object *obj, uint64_t off, uint64_t len)
{
	struct fake_object *o = fake_object(obj);
	bool in_use = false;

	fake_check_may_sleep("backing_free");
	check_range(o, off, len, o->granule);
	pthread_mutex_lock(&o->lock);
	unmap_from_regions(o, off, off + len);
	for (uint64_t p = off; p < off + len; p += FAKE_PAGE) {
		uint16_t *page = &o->page[p / FAKE_PAGE];

		in_use |= !!(*page & (FAKE_GETS | FAKE_HELD));
		if (*page & FAKE_EXISTS)
			memset(o->bytes + p, FAKE_POISON, FAKE_PAGE);
		*page &= (uint16_t)~FAKE_EXISTS;
	}
	pthread_mutex_unlock(&o->lock);
	fake_bug_on(in_use); /* freed between get and put, or while a device maps it */
}

bool gm_os_backing_in_place(const struct gm_object *obj)
{
	return !fake_opt.no_in_place && (!obj || !(gm_object_flags(obj) & GM_OBJECT_REGISTERED));
}

/* ---------------------------------------------------------------- held in place */

void gm_fake_set_max_held(uint64_t bytes)
{
	fake_opt.max_held = bytes;
}

uint64_t gm_fake_held(void)
{
	return __atomic_load_n(&fake_count.held, __ATOMIC_RELAXED) * FAKE_PAGE;
}

/* obj->lock held. */
static int hold_page(struct fake_object *o, uint16_t *page)
{
	if (*page & FAKE_HELD)
		return 0;
	if (fake_opt.max_held && gm_fake_held() >= fake_opt.max_held)
		return -ENOMEM;
	*page |= FAKE_HELD;
	__atomic_fetch_add(&o->held, 1, __ATOMIC_RELAXED);
	fake_add(held, 1);
	return 0;
}

int gm_os_in_place_hold(struct gm_object *obj, uint64_t off, uint64_t len)
{
	struct fake_object *o = fake_object(obj);
	int err = fake_fail(GM_FAKE_IN_PLACE_HOLD);
	bool got = true;

	fake_check_may_sleep("in_place_hold");
	check_range(o, off, len, FAKE_PAGE);
	pthread_mutex_lock(&o->lock);
	for (uint64_t i = off / FAKE_PAGE; i < (off + len) / FAKE_PAGE && !err; i++) {
		got &= !!(o->page[i] & FAKE_GETS);
		err = hold_page(o, &o->page[i]);
	}
	pthread_mutex_unlock(&o->lock);
	fake_bug_on(!got);
	return err;
}

void gm_os_in_place_drop(struct gm_object *obj, uint64_t off, uint64_t len)
{
	struct fake_object *o = fake_object(obj);

	fake_check_may_sleep("in_place_drop");
	pthread_mutex_lock(&o->lock);
	for (uint64_t i = off / FAKE_PAGE; i < (off + len) / FAKE_PAGE && i < o->size / FAKE_PAGE;
	     i++) {
		if (!(o->page[i] & FAKE_HELD))
			continue;
		o->page[i] &= (uint16_t)~FAKE_HELD;
		__atomic_fetch_sub(&o->held, 1, __ATOMIC_RELAXED);
		fake_sub(held, 1);
	}
	pthread_mutex_unlock(&o->lock);
}

bool gm_os_in_place_any(struct gm_object *obj)
{
	return __atomic_load_n(&fake_object(obj)->held, __ATOMIC_RELAXED) != 0;
}
