// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Bytes that nobody needs any more, dropped: by the kernel where there is no device, else by
 * gmem, which knows where they are.
 *
 * Theory. Who drops may be anywhere: amid the allocator, with its locks held, and on a stack that
 * is in managed memory itself, as coroutines have them. gmem works with a block locked, and
 * must not touch what may be in the block. So a thread does it, on a stack of its own, and the other
 * waits.
 *
 * fork(). Before it gmem brings all home, and waits until no call of its own is under way; the
 * allocator takes all its locks. Who waited for gmem with such a lock held would hold up
 * both. So all pass a gate, which the first handler to run before a fork shuts: where it is
 * shut the allocator is told that it cannot drop anything, which it puts up with; a program that
 * unmaps memory holds no lock of the allocator's, and waits. In the child gmem is dead, and all of
 * the range is plain memory.
 *
 * Locking. The gate, for reading over a request and for writing over fork(); turn_lock, for one
 * at a time; request_lock over the request.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "preload.h"

static pthread_rwlock_t gate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t request_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t asked = PTHREAD_COND_INITIALIZER, answered = PTHREAD_COND_INITIALIZER;
static struct {
	void *addr; /* NULL: none */
	size_t len;
	bool failed;
} request; /* request_lock */

static void *drop_loop(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&request_lock);
	for (;;) {
		while (!request.addr)
			pthread_cond_wait(&asked, &request_lock);
		request.failed = hmadvise(GM_NODE_HOST, request.addr, request.len, GM_DONTNEED);
		request.addr = NULL;
		pthread_cond_signal(&answered);
	}
	return NULL;
}

static bool drop_by_gmem(void *addr, size_t len)
{
	bool failed;

	pthread_mutex_lock(&turn_lock);
	pthread_mutex_lock(&request_lock);
	request.addr = addr;
	request.len = len;
	pthread_cond_signal(&asked);
	while (request.addr)
		pthread_cond_wait(&answered, &request_lock);
	failed = request.failed;
	pthread_mutex_unlock(&request_lock);
	pthread_mutex_unlock(&turn_lock);
	return failed;
}

bool gm_heap_drop(void *addr, size_t len, bool wait)
{
	bool failed;

	if (!gm_heap_has(addr) || !gm_heap.devices)
		return madvise(addr, len, MADV_DONTNEED);
	if (wait ? pthread_rwlock_rdlock(&gate) : pthread_rwlock_tryrdlock(&gate))
		return true;
	failed = drop_by_gmem(addr, len);
	pthread_rwlock_unlock(&gate);
	return failed;
}

int gm_drop_start(void)
{
	sigset_t all, old;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&thread, NULL, drop_loop, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

/* Nobody is in a request then. */
void gm_drop_before_fork(void)
{
	pthread_rwlock_wrlock(&gate);
}

void gm_drop_in_parent(void)
{
	pthread_rwlock_unlock(&gate);
}

void gm_drop_in_child(void)
{
	static const pthread_rwlock_t open = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

	gate = open; /* it was this thread's, which has another number now */
	gm_heap.devices = false;
}
