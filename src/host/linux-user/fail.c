// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Thread mode: faults that could not be serviced, because the device that holds the
 * page failed to give it back. The bytes are still there (I4); it is the access that
 * must not go on.
 *
 * A thread that made the access in user mode gets SIGBUS with BUS_ADRERR and the
 * address. The signal is queued first, then the thread is woken and takes it before it
 * makes the access again. The kernel does not let one thread send another what looks
 * like a fault; so the signal carries a code of our own, which our handler, installed
 * at the first failure, makes BUS_ADRERR before it passes the signal on.
 *
 * A system call cannot take a signal in the midst of a copy, nor can a thread that
 * blocks SIGBUS: both fault again. After MAX_SIGNALS failures in a row the page is
 * poisoned (UFFDIO_POISON, Linux 6.6): the system call then fails with EFAULT, and a
 * blocked SIGBUS is forced. Poison is a mark in the page table only and stands for
 * POISON_NS, enough for the woken thread to run into it; then, or as soon as the core
 * maps or revokes the page, it is wiped away by MADV_DONTNEED. A thread that was too
 * slow faults again and starts anew. On a kernel without UFFDIO_POISON a system call
 * on such a page tries again and again until the device has recovered, and can be
 * killed; not to wake it would not help, for the kernel does not let a thread that has
 * a signal pending sleep on a fault.
 *
 * Wiping must never hit memory that is not ours any more. region_unmap() therefore
 * wipes the range before it unmaps it, and counts u->unmaps up; a page is poisoned
 * only if the count is what it was before the core was asked. The core holds the
 * address space over a fault and over an unmap: if the count is the same, the page
 * that the core found managed is managed still.
 *
 * A page whose bytes are gone (-EHWPOISON) is poisoned at once: what the kernel raises then
 * is SIGBUS with BUS_MCEERR_AR and the address, as for memory of its own that has failed. An
 * access after the mark has been wiped away marks the page anew. Without UFFDIO_POISON the
 * signal is ours, made to say the same; and a kernel that was built without the handling of
 * such memory says BUS_ADRERR, so our handler looks here what it is about.
 *
 * Memory that is registered in place (place.c) is never poisoned, for there wiping would
 * take the bytes along. A system call on it is as on a kernel without UFFDIO_POISON.
 *
 * The table is small, for it holds only pages that fail now; the oldest is forgotten,
 * which costs a signal more.
 *
 * Locking. fail_lock over the table. Counters are read without it: to see a stale one
 * is to act a moment later. So a page may be poisoned just after it was mapped for
 * somebody else's fault, and then raises one SIGBUS more, of a failure that was.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "user.h"

#define MAX_SIGNALS 3U
#define POISON_NS 100000000ULL

/* Debian 12's headers are older than the kernels that have it. */
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)
#endif
struct poison_args {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};
#define IOC_POISON _IOWR(UFFDIO, 0x08, struct poison_args)

static void send_sigbus(uint64_t va, uint32_t tid, int code)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = SIGBUS;
	info.si_code = code;
	info.si_addr = (void *)(uintptr_t)va;
	/* It may be gone, or another process's (ptrace): then there is nobody to tell. */
	syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, SIGBUS, &info);
}

static void forget(struct gm_user_as *u, struct gm_user_fail *f)
{
	if (f->poisoned) {
		gm_zap(f->page, f->poisoned);
		__atomic_fetch_sub(&u->nr_poisoned, 1, __ATOMIC_RELEASE);
	}
	*f = (struct gm_user_fail){ .page = 0 };
	__atomic_fetch_sub(&u->nr_fails, 1, __ATOMIC_RELAXED);
}

static struct gm_user_fail *lookup(struct gm_user_as *u, uint64_t page)
{
	for (unsigned int i = 0; i < GM_NR_FAILS; i++)
		if (u->fails[i].page == page)
			return &u->fails[i];
	return NULL;
}

static struct gm_user_fail *lookup_or_add(struct gm_user_as *u, uint64_t page)
{
	struct gm_user_fail *f = lookup(u, page);

	if (f)
		return f;
	f = &u->fails[u->next_fail++ % GM_NR_FAILS];
	if (f->page)
		forget(u, f);
	f->page = page;
	__atomic_fetch_add(&u->nr_fails, 1, __ATOMIC_RELAXED);
	return f;
}

/* Marks the page; of a hugetlb mapping only a whole page can be marked. */
static void poison(struct gm_user_as *u, struct gm_user_fail *f)
{
	struct poison_args a = { .range = { .start = f->page, .len = GM_PAGE } };

	if (!(u->features & UFFD_FEATURE_POISON) || gm_ranges_in_place(f->page))
		return;
	if (ioctl(u->uffd.fd, IOC_POISON, &a)) {
		if (errno != EINVAL)
			return; /* it was mapped meanwhile */
		a.range.start &= ~(GM_HUGE - 1);
		a.range.len = GM_HUGE;
		if (ioctl(u->uffd.fd, IOC_POISON, &a))
			return;
	}
	f->page = a.range.start;
	f->poisoned = a.range.len;
	f->until = gm_os_now_ns() + POISON_NS;
	__atomic_fetch_add(&u->nr_poisoned, 1, __ATOMIC_RELEASE);
}

void gm_fail_report(struct gm_user_as *u, uint64_t va, uint32_t tid, uint64_t unmaps, int err)
{
	uint64_t page = va & ~(GM_PAGE - 1);
	bool gone = err == -EHWPOISON;
	struct gm_user_fail *f;

	pthread_mutex_lock(&u->fail_lock);
	if (!u->sigbus) {
		gm_sigbus_get();
		u->sigbus = true;
	}
	f = lookup_or_add(u, page);
	f->gone = gone;
	if ((f->count++ >= MAX_SIGNALS || gone) && !f->poisoned && u->unmaps == unmaps)
		poison(u, f);
	if (!f->poisoned)
		send_sigbus(va, tid, gone ? GM_SIGBUS_GONE : GM_SIGBUS_FAILED);
	pthread_mutex_unlock(&u->fail_lock);
	gm_uffd_wake(u, page, GM_PAGE);
}

/* Is the page marked, because its bytes are gone? In the thread that ran into it. */
bool gm_fail_gone(struct gm_user_as *u, uint64_t va)
{
	bool gone = false;

	pthread_mutex_lock(&u->fail_lock);
	for (unsigned int i = 0; i < GM_NR_FAILS; i++) {
		const struct gm_user_fail *f = &u->fails[i];

		gone |= f->gone && f->poisoned && va >= f->page && va - f->page < f->poisoned;
	}
	pthread_mutex_unlock(&u->fail_lock);
	return gone;
}

/* The page could be brought home. */
void gm_fail_forget(struct gm_user_as *u, uint64_t va)
{
	struct gm_user_fail *f;

	if (!__atomic_load_n(&u->nr_fails, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&u->fail_lock);
	f = lookup(u, va & ~(GM_PAGE - 1));
	if (f)
		forget(u, f);
	pthread_mutex_unlock(&u->fail_lock);
}

/* As gm_fail_heal(), with fail_lock held. */
void gm_fail_heal_locked(struct gm_user_as *u, uint64_t va, uint64_t len)
{
	for (unsigned int i = 0; i < GM_NR_FAILS; i++) {
		struct gm_user_fail *f = &u->fails[i];

		if (f->page && f->page < va + len && va < f->page + (f->poisoned ?: GM_PAGE))
			forget(u, f);
	}
}

/* [va, va+len) is about to be mapped or revoked: no poison may be left on it. */
void gm_fail_heal(struct gm_user_as *u, uint64_t va, uint64_t len)
{
	if (!__atomic_load_n(&u->nr_poisoned, __ATOMIC_ACQUIRE))
		return;
	pthread_mutex_lock(&u->fail_lock);
	gm_fail_heal_locked(u, va, len);
	pthread_mutex_unlock(&u->fail_lock);
}

/* [va, va+len) is about to be unmapped. */
void gm_fail_unmap(struct gm_user_as *u, uint64_t va, uint64_t len)
{
	pthread_mutex_lock(&u->fail_lock);
	gm_fail_heal_locked(u, va, len);
	__atomic_fetch_add(&u->unmaps, 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&u->fail_lock);
}

/* Wipe poison whose time is over; for how many milliseconds poll() may sleep. */
int gm_fail_expire(struct gm_user_as *u)
{
	uint64_t now;
	int ms = -1;

	if (!__atomic_load_n(&u->nr_poisoned, __ATOMIC_RELAXED))
		return ms;
	now = gm_os_now_ns();
	pthread_mutex_lock(&u->fail_lock);
	for (unsigned int i = 0; i < GM_NR_FAILS; i++) {
		struct gm_user_fail *f = &u->fails[i];

		if (f->poisoned && now >= f->until)
			forget(u, f);
		else if (f->poisoned)
			ms = (int)(POISON_NS / 1000000);
	}
	pthread_mutex_unlock(&u->fail_lock);
	return ms;
}
