// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Faults delivered to service threads (thread mode, the default).
 *
 * The kernel queues a message and puts the faulting thread to sleep. A service
 * thread reads it, has the core bring the page home and map it, and the thread goes
 * on; so do system calls that touch managed memory. Waking the service thread costs
 * more than all else, so a thread that has just serviced a fault looks for the next
 * one for a while before it sleeps. The wait is adaptive: as long as faults come soon
 * after one another. The average gap is taken with the waking included, hence twice
 * the limit still counts as soon: spinning would have seen that fault in time.
 *
 * Who waits for a page is woken by UFFDIO_CONTINUE. If the core had nothing to map
 * (it was mapped meanwhile, or the address is managed no more) the page is woken
 * here; a wake too many is harmless, for the access is made again.
 *
 * A page may be held by a device for a time (core's pingpong.c). Only the thread that wants it waits:
 * its fault is put aside, and serviced when the time is over. If too many are put aside its
 * thread is woken at once, and faults again.
 *
 * Service threads never touch managed memory (I7): a fault of their own would wait
 * for themselves. They block all signals.
 *
 * Locking. None; several threads read one descriptor and each message goes to one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "user.h"

#define MAX_THREADS 64U
#define BATCH 16U
#define ASIDE_MAX 32U
#define SPIN_LIMIT_NS 50000ULL
#define GAP_CAP_NS 400000ULL /* so that a long pause is forgotten after a few faults */

/* What gm_os_cpu_map() has woken since the fault began; of this thread. */
static __thread uint64_t woken_va __attribute__((tls_model("initial-exec")));
static __thread uint64_t woken_len __attribute__((tls_model("initial-exec")));

void gm_uffd_woken(uint64_t va, uint64_t len)
{
	woken_va = va;
	woken_len = len;
}

void gm_uffd_wake(const struct gm_user_as *u, uint64_t va, uint64_t len)
{
	struct uffdio_range range = { .start = va, .len = len };

	ioctl(u->uffd.fd, UFFDIO_WAKE, &range);
}

__thread uint32_t gm_serviced_tid, gm_serviced_access;

/* A fault; and those that a service thread has put aside. */
struct fault {
	uint64_t va, until;
	uint32_t access, tid;
};

struct aside {
	struct fault fault[ASIDE_MAX];
	unsigned int n;
};

/* *until not 0: it is to be tried again then, and is not put off twice. */
static void service(struct gm_user_as *u, const struct fault *f, uint64_t *until)
{
	uint64_t va = f->va, unmaps;
	int err;

	unmaps = __atomic_load_n(&u->unmaps, __ATOMIC_ACQUIRE);
	woken_len = 0;
	gm_note_cpu(u->as, va, f->access); /* before the thread that faulted goes on */
	gm_serviced_tid = f->tid;
	gm_serviced_access = f->access;
	err = gm_cpu_fault_try(u->as, va, f->access, until);
	gm_serviced_tid = gm_serviced_access = 0;
	if (until && *until)
		return;
	/* Of what is managed still, -EFAULT is a driver's; to wake would be to fault for ever. */
	if (err && (err != -EFAULT || gm_ranges_find(va) == u->as)) {
		gm_fail_report(u, va, f->tid, unmaps, err);
		return;
	}
	if (!err)
		gm_fail_forget(u, va);
	if (err || va - woken_va >= woken_len)
		gm_uffd_wake(u, va & ~(GM_PAGE - 1), GM_PAGE);
}

static void service_new(struct gm_user_as *u, const struct uffd_msg *msg, struct aside *aside)
{
	struct fault f = { .va = msg->arg.pagefault.address,
			   .tid = msg->arg.pagefault.feat.ptid,
			   .access = msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE
					     ? GM_WRITE
					     : GM_READ };

	if (msg->event != UFFD_EVENT_PAGEFAULT)
		return;
	service(u, &f, &f.until);
	if (f.until && aside->n < ASIDE_MAX)
		aside->fault[aside->n++] = f;
	else if (f.until)
		gm_uffd_wake(u, f.va & ~(GM_PAGE - 1), GM_PAGE);
}

/* Those whose time has come; returns how long it is until the next one's, or UINT64_MAX. */
static uint64_t service_aside(struct gm_user_as *u, struct aside *aside)
{
	uint64_t now = aside->n ? gm_os_now_ns() : 0, next = UINT64_MAX;
	unsigned int kept = 0;

	for (unsigned int i = 0; i < aside->n; i++) {
		struct fault *f = &aside->fault[i];

		if (f->until > now) {
			next = f->until - now < next ? f->until - now : next;
			aside->fault[kept++] = *f;
		} else {
			service(u, f, NULL);
		}
	}
	aside->n = kept;
	return next;
}

/* Until there is a message, or as long; @ms is -1, or as poll(2) has it. */
static void sleep_on(struct pollfd *fds, int ms, uint64_t ns)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	if (ms < 0 || ns < (uint64_t)ms * 1000000)
		t = (struct timespec){ .tv_sec = (time_t)(ns / 1000000000),
				       .tv_nsec = (long)(ns % 1000000000) };
	ppoll(fds, 2, ms < 0 && ns == UINT64_MAX ? NULL : &t, NULL);
}

static bool should_spin(const struct gm_user_as *u, uint64_t gap, uint64_t idle)
{
	if (u->spin_adaptive && gap > 2 * SPIN_LIMIT_NS)
		return false;
	return idle < u->spin_ns;
}

static void *service_loop(void *arg)
{
	struct gm_user_as *u = arg;
	struct pollfd fds[2] = { { .fd = u->uffd.fd, .events = POLLIN },
				 { .fd = u->stop.fd, .events = POLLIN } };
	uint64_t since = gm_os_now_ns(), gap = GAP_CAP_NS, idle, next;
	struct aside aside = { .n = 0 };
	struct uffd_msg msg[BATCH];
	ssize_t n;

	while (!__atomic_load_n(&u->stopping, __ATOMIC_ACQUIRE)) {
		int timeout = gm_fail_expire(u);

		n = read(u->uffd.fd, msg, sizeof(msg));
		idle = gm_os_now_ns() - since;
		next = service_aside(u, &aside);
		if (n <= 0) {
			if (!should_spin(u, gap, idle))
				sleep_on(fds, timeout, next);
			continue;
		}
		gap += (idle < GAP_CAP_NS ? idle : GAP_CAP_NS) / 8 - gap / 8;
		for (size_t i = 0; i < (size_t)n / sizeof(msg[0]); i++)
			service_new(u, &msg[i], &aside);
		since = gm_os_now_ns();
	}
	return NULL;
}

/* A thread that is told to end finishes the messages it has read. */
static void stop_threads(struct gm_user_as *u)
{
	__atomic_store_n(&u->stopping, 1, __ATOMIC_RELEASE);
	eventfd_write(u->stop.fd, 1);
	while (u->nr_threads)
		gm_thread_join(&u->threads[--u->nr_threads]);
	free(u->threads);
	gm_fd_close(&u->stop);
}

static void choose_spin(struct gm_user_as *u, uint32_t spin_us)
{
	if (spin_us == UINT32_MAX) {
		u->spin_ns = 0;
	} else if (spin_us) {
		u->spin_ns = spin_us * 1000ULL;
	} else {
		/* On one processor the faulting thread could not run meanwhile. */
		u->spin_ns = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? SPIN_LIMIT_NS : 0;
		u->spin_adaptive = true;
	}
}

int gm_service_start(struct gm_user_as *u, const struct gm_as_options *opt)
{
	unsigned int n = opt && opt->service_threads ? opt->service_threads : 1;
	int fd;

	if (n > MAX_THREADS)
		return -EINVAL;
	choose_spin(u, opt ? opt->spin_us : 0);
	u->threads = calloc(n, sizeof(*u->threads));
	if (!u->threads)
		return -ENOMEM;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		free(u->threads);
		return -ENOMEM;
	}
	gm_fd_adopt(&u->stop, fd);
	for (; u->nr_threads < n; u->nr_threads++) {
		if (gm_thread_start(&u->threads[u->nr_threads], "gmem/uffd", service_loop, u)) {
			stop_threads(u);
			return -ENOMEM;
		}
	}
	return 0;
}

void gm_service_stop(struct gm_user_as *u)
{
	stop_threads(u);
}
