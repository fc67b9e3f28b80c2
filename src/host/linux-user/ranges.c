// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Which address space has an address.
 *
 * An application's address, be it in a call or in a SIGBUS, carries no address space.
 * But an address means one thing in a process, so one table of ranges, sorted, answers
 * for all: no address space is asked for an address of another's, and nobody waits
 * for a lock that another's map, unmap or detach holds.
 *
 * A range comes when a region is mapped and goes, in parts perhaps, when it is
 * unmapped. Cutting the middle out of one needs room for one more, which is made
 * before anything is unmapped; taking away an end, or all, cannot fail.
 *
 * Locking. The table is changed under both locks and read under either. change_lock
 * orders changes; it is held over munmap(), or the address might be mapped again, and
 * come into the table, before it has left it. The kernel lets one thread at a time
 * change its mappings anyway. ranges_lock is held over a search or the moving of a few
 * ranges, and is a leaf: a fault waits for no more than that. It prefers writers;
 * readers do not nest, for nothing under it touches managed memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "user.h"

struct range {
	uint64_t begin, end;
	struct gm_user_as *u;
	bool in_place; /* memory of the application's, which stays when the range goes */
};

static pthread_mutex_t change_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t ranges_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static struct range *ranges; /* by address; they do not overlap */
static size_t nr_ranges, max_ranges;

/* Index of the first range that ends behind @va. */
static size_t lower(uint64_t va)
{
	size_t lo = 0, hi = nr_ranges;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (ranges[mid].end <= va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct gm_user_as *find(uint64_t va)
{
	size_t i = lower(va);

	return i < nr_ranges && ranges[i].begin <= va ? ranges[i].u : NULL;
}

/* The address space that has @va mapped, or NULL. The caller keeps it from being destroyed. */
struct gm_as *gm_ranges_find(uint64_t va)
{
	struct gm_user_as *u;

	pthread_rwlock_rdlock(&ranges_lock);
	u = find(va);
	pthread_rwlock_unlock(&ranges_lock);
	return u ? u->as : NULL;
}

/* The same, with a reference in u->in_flight; see as.c. */
struct gm_user_as *gm_ranges_get(uint64_t va)
{
	struct gm_user_as *u;

	pthread_rwlock_rdlock(&ranges_lock);
	u = find(va);
	if (u)
		__atomic_fetch_add(&u->in_flight, 1, __ATOMIC_RELAXED);
	pthread_rwlock_unlock(&ranges_lock);
	return u;
}

/* ----------------------------------------------------------------------------- changes */

/* The table moves to @to, which has room for @max; NULL: there is nothing in it. */
static void move_table(struct range *to, size_t max)
{
	struct range *from = ranges;
	size_t from_max = max_ranges;

	if (from && to)
		memcpy(to, from, nr_ranges * sizeof(*to));
	pthread_rwlock_wrlock(&ranges_lock);
	ranges = to;
	max_ranges = max;
	pthread_rwlock_unlock(&ranges_lock);
	gm_os_free(from, from_max * sizeof(*from));
}

/* Room for one range more. */
static int reserve(void)
{
	size_t max = max_ranges ? 2 * max_ranges : GM_PAGE / sizeof(*ranges);
	struct range *to;

	if (nr_ranges < max_ranges)
		return 0;
	to = gm_os_alloc(max * sizeof(*to));
	if (!to)
		return -ENOMEM;
	move_table(to, max);
	return 0;
}

static void insert(size_t at, struct range r)
{
	memmove(&ranges[at + 1], &ranges[at], (nr_ranges - at) * sizeof(r));
	ranges[at] = r;
	nr_ranges++;
}

static void erase(size_t at)
{
	nr_ranges--;
	memmove(&ranges[at], &ranges[at + 1], (nr_ranges - at) * sizeof(*ranges));
}

/* Take [begin, end) out of range @at, which has all of it. */
static void cut(size_t at, uint64_t begin, uint64_t end)
{
	struct range *r = &ranges[at],
		     high = { .begin = end, .end = r->end, .u = r->u, .in_place = r->in_place };

	if (r->begin < begin) {
		r->end = begin;
		if (high.begin < high.end)
			insert(at + 1, high);
	} else if (high.begin < high.end) {
		*r = high;
	} else {
		erase(at);
	}
}

static bool overlaps(const struct range *r)
{
	size_t i = lower(r->begin);

	return i < nr_ranges && ranges[i].begin < r->end;
}

static int add(struct range r)
{
	int err;

	pthread_mutex_lock(&change_lock);
	err = reserve();
	/* What the kernel has just mapped cannot be there; what the application names can. */
	if (!err && r.in_place && overlaps(&r))
		err = -EEXIST;
	if (!err) {
		pthread_rwlock_wrlock(&ranges_lock);
		insert(lower(r.begin), r);
		pthread_rwlock_unlock(&ranges_lock);
	}
	if (!nr_ranges)
		move_table(NULL, 0);
	pthread_mutex_unlock(&change_lock);
	return err;
}

/* [va, va+len) was mapped. Fails: -ENOMEM. */
int gm_ranges_add(struct gm_user_as *u, uint64_t va, uint64_t len)
{
	return add((struct range){ .begin = va, .end = va + len, .u = u });
}

/* [va, va+len) is the application's and was registered. Fails: -ENOMEM, -EEXIST. */
int gm_ranges_add_in_place(struct gm_user_as *u, uint64_t va, uint64_t len)
{
	return add((struct range){ .begin = va, .end = va + len, .u = u, .in_place = true });
}

/* Take [va, va+len), which is one range or part of one, out of the table and unmap or disarm it. */
static int remove_range(struct gm_user_as *u, uint64_t va, uint64_t len)
{
	uint64_t end = va + len;
	int err = 0;
	size_t at;

	pthread_mutex_lock(&change_lock);
	at = lower(va);
	if (ranges[at].begin < va && end < ranges[at].end)
		err = reserve();
	if (!err && u)
		gm_place_disarm(u, va, len);
	else if (!err && munmap((void *)(uintptr_t)va, len))
		err = -ENOMEM;
	if (!err) {
		pthread_rwlock_wrlock(&ranges_lock);
		cut(at, va, end);
		pthread_rwlock_unlock(&ranges_lock);
	}
	if (!nr_ranges)
		move_table(NULL, 0);
	pthread_mutex_unlock(&change_lock);
	return err;
}

/* Unmap [va, va+len), which is one range or part of one. Fails: -ENOMEM, but for a whole one. */
int gm_ranges_unmap(uint64_t va, uint64_t len)
{
	return remove_range(NULL, va, len);
}

/* The same for what was registered in place with @u: it stays mapped. */
int gm_ranges_give_back(struct gm_user_as *u, uint64_t va, uint64_t len)
{
	return remove_range(u, va, len);
}

/* Is any of [va, va+len) managed? */
bool gm_ranges_any(uint64_t va, uint64_t len)
{
	struct range r = { .begin = va, .end = va + len };
	bool any;

	pthread_rwlock_rdlock(&ranges_lock);
	any = overlaps(&r);
	pthread_rwlock_unlock(&ranges_lock);
	return any;
}

bool gm_ranges_in_place(uint64_t va)
{
	bool in_place;
	size_t i;

	pthread_rwlock_rdlock(&ranges_lock);
	i = lower(va);
	in_place = i < nr_ranges && ranges[i].begin <= va && ranges[i].in_place;
	pthread_rwlock_unlock(&ranges_lock);
	return in_place;
}

/*
 * The first memory registered in place that ends behind *va: *va, *end, and its address
 * space, with a reference as by gm_ranges_get(). NULL: there is none.
 */
struct gm_user_as *gm_ranges_next_in_place(uint64_t *va, uint64_t *end)
{
	struct gm_user_as *u = NULL;

	pthread_rwlock_rdlock(&ranges_lock);
	for (size_t i = lower(*va); i < nr_ranges && !u; i++) {
		if (!ranges[i].in_place)
			continue;
		u = ranges[i].u;
		*va = *va > ranges[i].begin ? *va : ranges[i].begin;
		*end = ranges[i].end;
		__atomic_fetch_add(&u->in_flight, 1, __ATOMIC_RELAXED);
	}
	pthread_rwlock_unlock(&ranges_lock);
	return u;
}
