// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Faults delivered to the thread that faults (inline mode): by SIGBUS.
 *
 * The signal is raised by the access itself, so the handler may do what the thread
 * could do there, but two things: touch managed memory, and use what the access may
 * have interrupted. No code of gmem's touches managed memory, so gmem's own locks are
 * free to be taken; malloc is not used.
 *
 * All signals but those of an access of its own are blocked in the handler: another
 * handler of the application's that ran on top of it and touched managed memory
 * would wait for locks that this thread holds. SIGBUS itself is not blocked, for the
 * kernel kills a thread that faults with SIGBUS blocked.
 *
 * A SIGBUS that is not ours, or whose page could not be brought home, goes to the
 * action that was there before, as if we were not: with its mask, SA_NODEFER,
 * SA_RESETHAND, or the default, which is reached by restoring it and making the access
 * again. The handler is in place while there is an address space that needs it (in
 * thread mode: once a device has failed, see fail.c). An application that installs its
 * own later passes the signal on by gm_sigbus().
 *
 * Locking. install_lock, for coming and going. `previous` is written, and `installed`
 * set with release, before our handler is installed; a handler that runs reads them
 * without a lock, as it may not wait for one that its own thread holds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "user.h"

static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int users; /* install_lock */
static struct sigaction previous;
static bool installed; /* once: previous is valid */

static uint32_t access_of(const ucontext_t *uc)
{
#ifdef __x86_64__
	return uc->uc_mcontext.gregs[REG_ERR] & 2 ? GM_WRITE : GM_READ;
#else
	(void)uc;
	return GM_WRITE; /* brings the page home and maps it, as a read would */
#endif
}

/* As the kernel says that a page's memory has failed. */
static void say_gone(siginfo_t *si)
{
	si->si_code = BUS_MCEERR_AR;
	si->si_addr_lsb = 12;
}

int gm_sigbus(int sig, void *info, void *uc)
{
	siginfo_t *si = info;
	int saved = errno, err;

	if (sig == SIGBUS && si->si_code == GM_SIGBUS_FAILED) {
		si->si_code = BUS_ADRERR; /* see fail.c; the address is there */
		return 0;
	}
	if (sig == SIGBUS && si->si_code == GM_SIGBUS_GONE) {
		say_gone(si);
		return 0;
	}
	if (sig != SIGBUS || si->si_code != BUS_ADRERR || gm_is_forked())
		return 0;
	err = gm_user_as_fault((uint64_t)(uintptr_t)si->si_addr, access_of(uc));
	errno = saved;
	if (err == -EHWPOISON)
		say_gone(si);
	return err == 0;
}

/* The default, or "ignore", which for a fault is the same: the access kills when it is made again. */
static void fall_to_default(const struct sigaction *act, siginfo_t *si)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	bool sent = si->si_code <=
		    0; /* by kill() and its like: there is no access to be made again */

	if (sent && act->sa_handler == SIG_IGN)
		return;
	sigaction(SIGBUS, &dfl, NULL);
	if (sent)
		syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, si);
}

static void pass_on(int sig, siginfo_t *si, ucontext_t *uc)
{
	struct sigaction act = { .sa_handler = SIG_DFL };
	sigset_t mask;

	if (__atomic_load_n(&installed, __ATOMIC_ACQUIRE))
		act = previous;
	if (!(act.sa_flags & SA_SIGINFO) &&
	    (act.sa_handler == SIG_DFL || act.sa_handler == SIG_IGN)) {
		fall_to_default(&act, si);
		return;
	}
	sigorset(&mask, &uc->uc_sigmask, &act.sa_mask);
	if (!(act.sa_flags & SA_NODEFER))
		sigaddset(&mask, sig);
	if (act.sa_flags & (int)SA_RESETHAND) {
		previous.sa_handler = SIG_DFL;
		previous.sa_flags = 0;
	}
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	/* The kernel restores the interrupted mask from uc when we return. */
	if (act.sa_flags & SA_SIGINFO)
		act.sa_sigaction(sig, si, uc);
	else
		act.sa_handler(sig);
}

static void handler(int sig, siginfo_t *si, void *uc)
{
	if (!gm_sigbus(sig, si, uc))
		pass_on(sig, si, uc);
}

static bool is_ours(const struct sigaction *act)
{
	return (act->sa_flags & SA_SIGINFO) && act->sa_sigaction == handler;
}

void gm_sigbus_get(void)
{
	struct sigaction act = { .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK | SA_RESTART };
	struct sigaction now;

	act.sa_sigaction = handler;
	sigfillset(&act.sa_mask);
	sigdelset(&act.sa_mask, SIGBUS);
	sigdelset(&act.sa_mask, SIGSEGV);
	sigdelset(&act.sa_mask, SIGILL);
	sigdelset(&act.sa_mask, SIGFPE);
	sigdelset(&act.sa_mask, SIGTRAP);
	pthread_mutex_lock(&install_lock);
	if (!users++) {
		sigaction(SIGBUS, NULL, &now);
		/* It is ours if the application saved it and put it back after we had left. */
		if (!is_ours(&now)) {
			previous = now;
			__atomic_store_n(&installed, true, __ATOMIC_RELEASE);
			sigaction(SIGBUS, &act, NULL);
		}
	}
	pthread_mutex_unlock(&install_lock);
}

void gm_sigbus_put(void)
{
	struct sigaction now;

	pthread_mutex_lock(&install_lock);
	if (!--users) {
		sigaction(SIGBUS, NULL, &now);
		if (is_ours(&now))
			sigaction(SIGBUS, &previous, NULL);
	}
	pthread_mutex_unlock(&install_lock);
}
