// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Readers of events.
 *
 * Theory. A reader is a ring (core's ring.c), an eventfd for poll(2), and a place in a table that
 * who has an event to tell walks along. A place is taken by a compare-and-swap and left in two
 * steps: it is cleared, then the closer waits until nobody is in it who came before. Who walks along
 * says that he is in a place (`tellers`) before he looks again who has it; all four steps are
 * sequentially consistent, so either the closer sees him or he sees that the place is empty. Only
 * who found it taken comes in at all, so the wait ends.
 *
 * Waking. `told` says that the eventfd has been written since the reader was last at the end of its
 * ring: one system call a burst. A reader at the end empties the eventfd, clears `told` and
 * looks into the ring once more; a writer puts its record and then looks at `told`. These are
 * sequentially consistent too, so one of them sees the other's, and the eventfd is written. What may
 * be left is an eventfd that is readable with nothing in the ring, once.
 *
 * Locking. None, so that events can be told with any of the host's and the core's locks held, and by a
 * SIGBUS handler that interrupted a thread of the application's in gm_events_read(), which
 * may write to managed memory.
 *
 * A child of fork() has no reader: the descriptors are closed there, and all calls say -EPERM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <gmem/events.h>

#include "user.h"

#define READERS 64U

struct gm_events {
	struct gm_ring *ring;
	uint32_t kinds;
	uint32_t told; /* (a) */
	unsigned int place;
	struct gm_user_fd wake;
};

static struct {
	struct gm_events *reader; /* (a) */
	uint32_t tellers;	  /* (a) */
} places[READERS];
static uint32_t nr_places; /* of these were used ever (a) */

static __thread pid_t tid __attribute__((tls_model("initial-exec")));

static void say(struct gm_events *e)
{
	if (!__atomic_exchange_n(&e->told, 1, __ATOMIC_SEQ_CST))
		eventfd_write(e->wake.fd, 1);
}

/* The thread's number does not change: a child of fork() tells nothing. */
static void who(struct gm_event_record *r)
{
	if (!tid)
		tid = gettid();
	r->tid = tid;
	r->for_tid = (int32_t)gm_serviced_tid;
	r->pid = r->as ? getpid() : 0;
}

void gm_os_trace(const struct gm_event *event)
{
	uint32_t n = __atomic_load_n(&nr_places, __ATOMIC_ACQUIRE);
	int saved = errno;
	struct gm_event_record record;
	struct gm_events *e;

	gm_record_event(event);
	if (event->kind >= GM_EVENT_KINDS)
		return;
	gm_event_record(&record, event);
	who(&record);
	gm_probe(&record);
	for (uint32_t i = 0; i < n; i++) {
		if (!__atomic_load_n(&places[i].reader, __ATOMIC_RELAXED))
			continue;
		__atomic_fetch_add(&places[i].tellers, 1, __ATOMIC_SEQ_CST);
		e = __atomic_load_n(&places[i].reader, __ATOMIC_SEQ_CST);
		if (e && (e->kinds >> event->kind & 1) && gm_ring_put(e->ring, &record))
			say(e);
		__atomic_fetch_sub(&places[i].tellers, 1, __ATOMIC_RELEASE);
	}
	errno = saved;
}

/* From now on it is told. */
static int take_place(struct gm_events *e)
{
	for (uint32_t i = 0; i < READERS; i++) {
		struct gm_events *none = NULL;
		uint32_t n;

		e->place = i;
		if (!__atomic_compare_exchange_n(&places[i].reader, &none, e, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			continue;
		n = __atomic_load_n(&nr_places, __ATOMIC_RELAXED);
		while (n <= i && !__atomic_compare_exchange_n(&nr_places, &n, i + 1, true,
							      __ATOMIC_RELEASE, __ATOMIC_RELAXED))
			;
		return 0;
	}
	return -ENOSPC;
}

static void leave_place(const struct gm_events *e)
{
	unsigned int tries = 0;

	__atomic_store_n(&places[e->place].reader, NULL, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&places[e->place].tellers, __ATOMIC_SEQ_CST))
		gm_os_yield(tries++);
}

static void ask_for(const struct gm_events *e, bool on)
{
	for (unsigned int kind = 0; kind < GM_EVENT_KINDS; kind++)
		if (e->kinds >> kind & 1)
			gm_trace((enum gm_event_kind)kind, on);
}

int gm_events_open(const struct gm_events_options *from, struct gm_events **out)
{
	const uint32_t all = (1U << GM_EVENT_KINDS) - 1;
	struct gm_events_options opt = { .size = sizeof(opt) };
	struct gm_events *e;
	int fd, err = gm_os_usable();

	if (err)
		return err;
	if (!out)
		return -EINVAL;
	if (from)
		err = gm_options_copy(&opt, sizeof(opt), from, from->size);
	if (err)
		return err;
	if ((opt.flags & ~GM_EVENTS_ALL) || (opt.kinds & ~all))
		return -EINVAL;
	e = gm_os_alloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->kinds = opt.kinds ? opt.kinds : all;
	err = gm_ring_create(opt.records, &e->ring);
	if (err)
		goto err_free;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		err = -errno;
		goto err_ring;
	}
	gm_fd_adopt(&e->wake, fd);
	err = take_place(e);
	if (err)
		goto err_fd;
	ask_for(e, true);
	*out = e;
	return 0;

err_fd:
	gm_fd_close(&e->wake);
err_ring:
	gm_ring_destroy(e->ring);
err_free:
	gm_os_free(e, sizeof(*e));
	return err;
}

int gm_events_read(struct gm_events *e, struct gm_event_record *buf, unsigned int n)
{
	struct gm_event_record record;
	unsigned int done = 0;
	eventfd_t count;
	int err = gm_os_usable();

	if (err)
		return err;
	if (!e || (!buf && n) || n > INT32_MAX)
		return -EINVAL;
	while (done < n && gm_ring_get(e->ring, &record))
		buf[done++] = record; /* perhaps managed memory: nothing is in hand meanwhile */
	if (done < n) {
		eventfd_read(e->wake.fd, &count);
		__atomic_store_n(&e->told, 0, __ATOMIC_SEQ_CST);
		if (!gm_ring_empty(e->ring))
			say(e);
	}
	return (int)done;
}

int gm_events_fd(struct gm_events *e)
{
	int err = gm_os_usable();

	if (err)
		return err;
	return e ? e->wake.fd : -EINVAL;
}

int gm_events_lost(struct gm_events *e, uint64_t *lost)
{
	int err = gm_os_usable();

	if (err)
		return err;
	if (!e || !lost)
		return -EINVAL;
	*lost = gm_ring_lost(e->ring);
	return 0;
}

/* What a child of fork() has inherited is its parent's, and stays as it is. */
void gm_events_close(struct gm_events *e)
{
	if (!e || gm_os_usable())
		return;
	ask_for(e, false);
	leave_place(e);
	gm_fd_close(&e->wake);
	gm_ring_destroy(e->ring);
	gm_os_free(e, sizeof(*e));
}
