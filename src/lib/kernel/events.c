// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Readers of events on the kernel host: a descriptor that the kernel gives records by. */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel.h"

struct gm_events {
	int fd;
};

_Static_assert(sizeof(struct gm_event_record) == sizeof(struct gmem_event) &&
		       GM_EVENTS_ALL == GMEM_EVENTS_ALL,
	       "the kernel's are the same");

int gm_k_events_open(const struct gm_events_options *from, struct gm_events **out)
{
	struct gm_events_options opt = { .size = sizeof(opt) };
	struct gmem_events to = { .size = sizeof(to) };
	struct gm_events *e;
	int err = 0;

	if (!out)
		return -EINVAL;
	if (from)
		err = gm_options_copy(&opt, sizeof(opt), from, from->size);
	if (err)
		return err;
	to.flags = opt.flags;
	to.kinds = opt.kinds;
	to.records = opt.records;
	e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->fd = gm_request(gm_kernel_fd, GMEM_EVENTS, &to);
	if (e->fd < 0) {
		err = e->fd == -ENOTTY ? -EOPNOTSUPP : e->fd;
		free(e);
		return err;
	}
	*out = e;
	return 0;
}

int gm_k_events_read(struct gm_events *e, struct gm_event_record *buf, unsigned int n)
{
	ssize_t got;

	if (!e || (!buf && n) || n > INT_MAX)
		return -EINVAL;
	if (!n)
		return 0;
	got = read(e->fd, buf, (size_t)n * sizeof(*buf));
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return (int)((size_t)got / sizeof(*buf));
}

int gm_k_events_fd(struct gm_events *e)
{
	return e ? e->fd : -EINVAL;
}

int gm_k_events_lost(struct gm_events *e, uint64_t *lost)
{
	struct gmem_events_lost l = { .size = sizeof(l) };
	int err = e && lost ? gm_request(e->fd, GMEM_EVENTS_LOST, &l) : -EINVAL;

	if (!err)
		*lost = l.lost;
	return err;
}

void gm_k_events_close(struct gm_events *e)
{
	if (!e)
		return;
	close(e->fd);
	free(e);
}
