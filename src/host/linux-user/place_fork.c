// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory registered in place: fork(), and giving it back.
 *
 * A child of fork() gets this memory as any private memory: as it was, and its own from
 * then on. So before the fork all of it must be where the kernel copies it from. The handler
 * that runs before it
 *
 *	1. waits until no call of hmadvise(), hmemcpy() or gm_register() is under way, and
 *	   holds off new ones;
 *	2. shuts the gate: no page leaves the application's memory any more. A device's fault
 *	   that would take one gets -EBUSY and is tried again, by the core or by the device,
 *	   so nobody who waits holds a lock that step 3 wants;
 *	3. brings home and maps what devices and the staging areas have, which is armed, block
 *	   by block, and says of it that a child inherits it.
 *
 * Armed memory is MADV_DONTFORK but for that time. The child of a clone() that runs no
 * handlers, or of a fork() for which a device failed to give pages back (a line on stderr
 * says so), gets SIGSEGV in the blocks concerned, not zeros or bytes of yesterday.
 * vfork() and posix_spawn() share the memory with the parent, and need nothing.
 *
 * Why nothing leaves after its block was brought home: who moves a page looks at the gate with
 * the block locked, and step 3 locks the block after it has shut the gate. A block that
 * step 3 did not find was published later, hence armed later, and arming looks at the gate
 * too, after the publishing; both are sequentially consistent.
 *
 * Giving back and inline faults. A thread may have taken the SIGBUS of an access before memory
 * was given back, and look the address up after. It is then let make the access again, once
 * for each time that something was given back since it was last let: so a SIGBUS that was
 * not gmem's reaches its handler, one access later at most.
 *
 * Locking, in this order; the first two before any lock of the core's, and held over fork():
 * register_lock, over gm_register(); calls_lock, read over a call, written over fork(). Then
 * places_lock over the list of places, and a place's own over what of it is armed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "user.h"

static pthread_mutex_t register_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t calls_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static struct gm_user_place places = { .prev = &places, .next = &places }; /* places_lock */
static uint32_t gate_shut;						   /* atomic */
static bool forking; /* register_lock: calls_lock is held too */
static uint32_t given_back;
static __thread uint32_t given_back_seen __attribute__((tls_model("initial-exec")));

bool gm_place_gate_shut(void)
{
	return __atomic_load_n(&gate_shut, __ATOMIC_SEQ_CST);
}

/* ---------------------------------------------------------------------- who waits */

/* False: this thread is amid a fork(), in a handler of somebody's. */
bool gm_place_call_begin(void)
{
	return !pthread_rwlock_rdlock(&calls_lock);
}

void gm_place_call_end(bool begun)
{
	if (begun)
		pthread_rwlock_unlock(&calls_lock);
}

void gm_place_register_lock(void)
{
	pthread_mutex_lock(&register_lock);
}

void gm_place_register_unlock(void)
{
	pthread_mutex_unlock(&register_lock);
}

/* ----------------------------------------------------------------------- the list */

void gm_place_list(struct gm_user_place *p)
{
	pthread_mutex_lock(&places_lock);
	p->prev = &places;
	p->next = places.next;
	p->next->prev = p;
	places.next = p;
	pthread_mutex_unlock(&places_lock);
}

void gm_place_unlist(struct gm_user_place *p)
{
	pthread_mutex_lock(&places_lock);
	p->prev->next = p->next;
	p->next->prev = p->prev;
	pthread_mutex_unlock(&places_lock);
}

typedef void armed_fn(struct gm_user_place *p, uint64_t va, uint64_t len);

/* Do @fn to what is armed of [va, va+len). */
static void for_armed(struct gm_user_place *p, uint64_t va, uint64_t len, armed_fn *fn)
{
	uint64_t page = (va - p->base) / GM_PAGE, end = page + len / GM_PAGE, run;
	bool armed;

	pthread_mutex_lock(&p->lock);
	for (; page < end; page += run) {
		run = gm_bits_run(p->armed, page, end - page, &armed);
		if (armed)
			fn(p, p->base + page * GM_PAGE, run * GM_PAGE);
	}
	pthread_mutex_unlock(&p->lock);
}

/* The same for [va, va+len), which is of one place. */
static void for_armed_at(const struct gm_user_as *u, uint64_t va, uint64_t len, armed_fn *fn)
{
	pthread_mutex_lock(&places_lock);
	for (struct gm_user_place *p = places.next; p != &places; p = p->next)
		if (p->u == u && va >= p->base + p->begin && va < p->base + p->size)
			for_armed(p, va, len, fn);
	pthread_mutex_unlock(&places_lock);
}

/* If the application has unmapped it, or mapped what is no memory there, it is gone already. */
static void dofork(struct gm_user_place *p, uint64_t va, uint64_t len)
{
	(void)p;
	madvise((void *)(uintptr_t)va, len, MADV_DOFORK);
}

static void dontfork(struct gm_user_place *p, uint64_t va, uint64_t len)
{
	(void)p;
	madvise((void *)(uintptr_t)va, len, MADV_DONTFORK);
}

/* ----------------------------------------------------------------------- giving back */

/* What the application has unmapped, or replaced, stops the kernel; the rest must go all the same. */
static void unregister(int uffd, uint64_t va, uint64_t len)
{
	struct uffdio_range range = { .start = va, .len = len };
	uint64_t half = len / 2 & ~(GM_PAGE - 1);

	if (!ioctl(uffd, UFFDIO_UNREGISTER, &range) || !half)
		return;
	unregister(uffd, va, half);
	unregister(uffd, va + half, len - half);
}

static void disarm(struct gm_user_place *p, uint64_t va, uint64_t len)
{
	unregister(p->u->uffd.fd, va, len);
	dofork(p, va, len);
	gm_bits_clear(p->armed, (va - p->base) / GM_PAGE, len / GM_PAGE);
}

/* All of it is home. Who waits there is woken by the kernel. */
void gm_place_disarm(struct gm_user_as *u, uint64_t va, uint64_t len)
{
	for_armed_at(u, va, len, disarm);
	__atomic_fetch_add(&given_back, 1, __ATOMIC_RELEASE);
}

/* Was anything given back since this thread asked last? In a signal handler, maybe. */
bool gm_place_given_back(void)
{
	uint32_t now = __atomic_load_n(&given_back, __ATOMIC_ACQUIRE);

	if (now == given_back_seen)
		return false;
	given_back_seen = now;
	return true;
}

/* ------------------------------------------------------------------------------ fork */

/* The first of [lo, hi) that is armed, and how long that is; 0: nothing is. */
static uint64_t first_armed(struct gm_user_place *p, uint64_t lo, uint64_t hi, uint64_t *va)
{
	uint64_t page = (lo - p->base) / GM_PAGE, end = (hi - p->base) / GM_PAGE, run = 0;
	bool armed = false;

	pthread_mutex_lock(&p->lock);
	for (; page < end && !armed; page += armed ? 0 : run)
		run = gm_bits_run(p->armed, page, end - page, &armed);
	pthread_mutex_unlock(&p->lock);
	*va = p->base + page * GM_PAGE;
	return armed ? run * GM_PAGE : 0;
}

/*
 * What of [*va, end) is armed first: nothing else can devices, or the staging area, have. It ends
 * at *stop. False: there is none.
 */
static bool next_armed(const struct gm_user_as *u, uint64_t *va, uint64_t end, uint64_t *stop)
{
	uint64_t best = end, at, len;

	pthread_mutex_lock(&places_lock);
	for (struct gm_user_place *p = places.next; p != &places; p = p->next) {
		uint64_t lo = p->base + p->begin, hi = p->base + p->size;

		lo = lo > *va ? lo : *va;
		hi = hi < best ? hi : best;
		len = p->u == u && lo < hi ? first_armed(p, lo, hi, &at) : 0;
		if (len) {
			best = at;
			*stop = at + len;
		}
	}
	pthread_mutex_unlock(&places_lock);
	*va = best;
	return best < end;
}

static void home_armed(struct gm_user_as *u, uint64_t va, uint64_t end)
{
	while (va < end) {
		uint64_t stop = (va | (GM_HUGE - 1)) + 1;
		uint64_t len = (stop < end ? stop : end) - va;

		if (gm_as_home(u->as, va, len))
			gm_os_warn("a device does not give back memory registered in place: "
				   "a child of fork() gets SIGSEGV there",
				   NULL);
		else
			for_armed_at(u, va, len, dofork);
		va += len;
	}
}

/* A range may be far larger than what is used of it. */
static void home_range(struct gm_user_as *u, uint64_t va, uint64_t end)
{
	for (uint64_t stop = va; next_armed(u, &va, end, &stop); va = stop)
		home_armed(u, va, stop);
}

static bool any_place(void)
{
	bool any;

	pthread_mutex_lock(&places_lock);
	any = places.next != &places;
	pthread_mutex_unlock(&places_lock);
	return any;
}

void gm_place_before_fork(void)
{
	struct gm_user_as *u;
	uint64_t va = 0, end;

	pthread_mutex_lock(&register_lock);
	forking = any_place();
	if (!forking)
		return;
	pthread_rwlock_wrlock(&calls_lock);
	__atomic_store_n(&gate_shut, 1, __ATOMIC_SEQ_CST);
	while ((u = gm_ranges_next_in_place(&va, &end))) {
		home_range(u, va, end);
		gm_user_as_put(u);
		va = end;
	}
}

/* In the parent. The child's gmem is dead, locks and all. */
void gm_place_after_fork(void)
{
	if (forking) {
		pthread_mutex_lock(&places_lock);
		for (struct gm_user_place *p = places.next; p != &places; p = p->next)
			for_armed(p, p->base + p->begin, p->size - p->begin, dontfork);
		pthread_mutex_unlock(&places_lock);
		__atomic_store_n(&gate_shut, 0, __ATOMIC_SEQ_CST);
		pthread_rwlock_unlock(&calls_lock);
	}
	pthread_mutex_unlock(&register_lock);
}
