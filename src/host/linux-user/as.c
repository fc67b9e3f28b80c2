// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Address spaces: what the host keeps for each, and the registry of all.
 *
 * An application's address, be it in a call or in a SIGBUS, carries no address space,
 * so all are asked in turn; there are few.
 *
 * Locking. The registry is held for reading while a SIGBUS is serviced: when
 * gm_registry_del() returns, none of that address space's is under way. An
 * application's call holds it only while it looks, for the application itself keeps
 * an address space that it uses from being destroyed. Readers do not nest: servicing
 * a fault takes no fault (I7).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "user.h"

static pthread_rwlock_t registry_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static struct gm_user_as *registry; /* registry_lock */

void gm_registry_add(struct gm_user_as *u)
{
	pthread_rwlock_wrlock(&registry_lock);
	u->next = registry;
	registry = u;
	u->listed = true;
	pthread_rwlock_unlock(&registry_lock);
}

void gm_registry_del(struct gm_user_as *u)
{
	struct gm_user_as **at = &registry;

	pthread_rwlock_wrlock(&registry_lock);
	while (*at != u)
		at = &(*at)->next;
	*at = u->next;
	u->listed = false;
	pthread_rwlock_unlock(&registry_lock);
}

/* The address space that has @va mapped, or NULL. */
struct gm_as *gm_registry_find(uint64_t va)
{
	struct gm_as *as = NULL;

	pthread_rwlock_rdlock(&registry_lock);
	for (struct gm_user_as *u = registry; u && !as; u = u->next)
		if (gm_as_covers(u->as, va))
			as = u->as;
	pthread_rwlock_unlock(&registry_lock);
	return as;
}

/* A SIGBUS at @va. -EFAULT: of no address space that has its faults delivered so. */
int gm_registry_fault(uint64_t va, uint32_t access)
{
	int err = -EFAULT;

	pthread_rwlock_rdlock(&registry_lock);
	for (struct gm_user_as *u = registry; u && err == -EFAULT; u = u->next)
		if (u->inline_faults)
			err = gm_cpu_fault(u->as, va, access);
	pthread_rwlock_unlock(&registry_lock);
	return err;
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
	gm_registry_add(u);
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

	if (!u->listed)
		return;
	gm_registry_del(u);
	if (!u->inline_faults)
		gm_service_stop(u);
	if (u->sigbus)
		gm_sigbus_put();
}

void gm_os_as_destroy(struct gm_as *as)
{
	struct gm_user_as *u = gm_user_as(as);

	gm_os_as_stop(as);
	gm_fd_close(&u->uffd);
	gm_worker_put();
	pthread_mutex_destroy(&u->fail_lock);
	free(u);
	*gm_as_host(as) = NULL;
}
