// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Address spaces: what the host keeps for each.
 *
 * Locking. None. A fault that is delivered inline finds its address space by its
 * address (ranges.c) and holds a reference, u->in_flight, while it is serviced;
 * gm_os_as_stop() waits until there is none. No new one comes by then: no region is
 * left. Service threads need no reference, for they are joined.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "user.h"

#define STOPPING (1U << 31) /* in u->in_flight: somebody waits for the last reference */

void gm_user_as_put(struct gm_user_as *u)
{
	/* The address is the key of the wake-up; what is there may be gone by then. */
	if (__atomic_sub_fetch(&u->in_flight, 1, __ATOMIC_RELEASE) == STOPPING)
		gm_os_wake(&u->in_flight);
}

/* A SIGBUS at @va. -EFAULT: of no address space that has its faults delivered so; -EHWPOISON: of any. */
int gm_user_as_fault(uint64_t va, uint32_t access)
{
	struct gm_user_as *u = gm_ranges_get(va);
	int err = -EFAULT;

	if (u) {
		if (u->inline_faults) {
			gm_note_cpu(u->as, va, access);
			err = gm_cpu_fault(u->as, va, access);
		} else if (gm_fail_gone(u, va)) {
			err = -EHWPOISON;
		}
		gm_user_as_put(u);
	}
	/* Memory that was given back since the access was made is there, and not ours. */
	if (err == -EFAULT && gm_place_given_back())
		err = 0;
	return err;
}

static void wait_for_faults(struct gm_user_as *u)
{
	uint32_t seen = __atomic_or_fetch(&u->in_flight, STOPPING, __ATOMIC_ACQUIRE);

	while (seen != STOPPING) {
		gm_os_wait(&u->in_flight, seen);
		seen = __atomic_load_n(&u->in_flight, __ATOMIC_ACQUIRE);
	}
}

/* ------------------------------------------------------------------------------ life */

static int start(struct gm_user_as *u, const struct gm_as_options *opt)
{
	if (!u->inline_faults)
		return gm_service_start(u, opt);
	gm_sigbus_get();
	u->sigbus = true;
	return 0;
}

int gm_os_as_create(struct gm_as *as, const struct gm_as_options *opt)
{
	struct gm_user_as *u = calloc(1, sizeof(*u));
	int fd, err;

	if (!u)
		return -ENOMEM;
	u->as = as;
	u->pagemap.fd = -1;
	u->inline_faults = opt && opt->flags & GM_AS_INLINE;
	pthread_mutex_init(&u->fail_lock, NULL);
	err = gm_worker_get();
	if (err)
		goto err_free;
	err = gm_uffd_open(u->inline_faults, &fd, &u->features);
	if (err)
		goto err_worker;
	gm_fd_adopt(&u->uffd, fd);
	*gm_as_host(as) = u;
	err = start(u, opt);
	if (err)
		goto err_uffd;
	return 0;

err_uffd:
	*gm_as_host(as) = NULL;
	gm_fd_close(&u->uffd);
err_worker:
	gm_worker_put();
err_free:
	pthread_mutex_destroy(&u->fail_lock);
	free(u);
	return err;
}

void gm_os_as_stop(struct gm_as *as)
{
	struct gm_user_as *u = gm_user_as(as);

	if (__atomic_load_n(&u->in_flight, __ATOMIC_RELAXED) & STOPPING)
		return;
	wait_for_faults(u);
	if (!u->inline_faults)
		gm_service_stop(u);
	if (u->sigbus)
		gm_sigbus_put();
}

void gm_os_as_destroy(struct gm_as *as)
{
	struct gm_user_as *u = gm_user_as(as);

	gm_os_as_stop(as);
	if (u->pagemap.fd >= 0)
		gm_fd_close(&u->pagemap);
	gm_fd_close(&u->uffd);
	gm_worker_put();
	pthread_mutex_destroy(&u->fail_lock);
	free(u);
	*gm_as_host(as) = NULL;
}
