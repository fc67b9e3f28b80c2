// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * fork().
 *
 * A child inherits nothing of gmem: managed memory and the aliases are marked
 * MADV_DONTFORK, so that it gets a plain SIGSEGV instead of bytes that may be stale;
 * no service thread exists in it, and locks may be in any state. So the library is
 * dead there: gm_os_usable() makes every public call fail with -EPERM before it
 * takes a lock. All are close-on-exec, but a child that does not exec would keep
 * descriptors, and with them the memory of objects, for as long as it lives: they
 * are closed at once.
 *
 * Memory that is registered in place stays the child's, as private memory does: see
 * place_fork.c.
 *
 * Locking. fds_lock guards the list of descriptors and is held over fork(), so that
 * the child finds it whole. It is a leaf and nothing faults under it: another
 * library's fork handler that touches managed memory meanwhile does not hang.
 */
#include <errno.h>
#include <unistd.h>

#include "user.h"

static pthread_mutex_t fds_lock = PTHREAD_MUTEX_INITIALIZER;
static struct gm_user_fd fds = { .fd = -1, .prev = &fds, .next = &fds }; /* fds_lock */
static bool forked;

void gm_fd_adopt(struct gm_user_fd *f, int fd)
{
	f->fd = fd;
	pthread_mutex_lock(&fds_lock);
	f->prev = &fds;
	f->next = fds.next;
	f->next->prev = f;
	fds.next = f;
	pthread_mutex_unlock(&fds_lock);
}

void gm_fd_close(struct gm_user_fd *f)
{
	pthread_mutex_lock(&fds_lock);
	f->prev->next = f->next;
	f->next->prev = f->prev;
	/* Under the lock: a child must not close a number that is somebody else's by now. */
	close(f->fd);
	pthread_mutex_unlock(&fds_lock);
	f->fd = -1;
}

static void before_fork(void)
{
	if (!forked)
		gm_place_before_fork();
	pthread_mutex_lock(&fds_lock);
}

static void in_parent(void)
{
	pthread_mutex_unlock(&fds_lock);
	if (!forked)
		gm_place_after_fork();
}

static void in_child(void)
{
	for (struct gm_user_fd *f = fds.next; f != &fds; f = f->next)
		close(f->fd);
	forked = true;
	pthread_mutex_unlock(&fds_lock);
}

void gm_fork_init(void)
{
	pthread_atfork(before_fork, in_parent, in_child);
}

bool gm_is_forked(void)
{
	return forked;
}
