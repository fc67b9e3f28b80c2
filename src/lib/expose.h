/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What a process tells others of itself, without being asked to: its figures, at a socket. The
 * files: expose.c (what there is to tell of), expose_answer.c (what is said), expose_serve.c (to
 * whom), expose_dir.c (where).
 *
 * Locks, first to last; the host's may be taken under both:
 *	clients (expose_serve.c)	who is connected; not held while the thread sleeps
 *	things (expose.c)		address spaces and devices: none ends while it is held
 */
#ifndef GM_LIB_EXPOSE_H
#define GM_LIB_EXPOSE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host.h"

/* ------------------------------------------------------------------- expose.c */

#define GM_EXPOSE_DEVS 64U

struct gm_expose_dev {
	struct gm_dev *dev; /* NULL: it has ended, if there is a name, or there is none */
	uint64_t seq;	    /* which came first */
	int hnode;
	char name[32];
	struct gm_stats stats; /* the last, once it has ended */
};

struct gm_expose_space {
	struct gm_as *as;
	uint64_t id;
};

/* All under things_lock. */
struct gm_expose_things {
	struct gm_expose_space
		*space; /* memory of our own, never the application's: see expose.c */
	size_t nr, max;
	uint64_t ids;
	uint64_t ended;		   /* address spaces */
	struct gm_stats ended_sum; /* of their counters */
	struct gm_expose_dev dev[GM_EXPOSE_DEVS];
};

extern pthread_mutex_t gm_expose_things_lock;
extern struct gm_expose_things gm_expose_things;

/* What is about to end: who it was, and what it had counted. */
struct gm_expose_ending {
	uint64_t id; /* 0: it is not told of */
	struct gm_expose_dev *slot;
	struct gm_stats last;
};

/* dispatch.c: what came, what is about to end, and that it has (0) or has not (-errno). */
void gm_expose_as_created(struct gm_as *as);
void gm_expose_as_ending(struct gm_as *as, struct gm_expose_ending *end);
void gm_expose_as_ended(struct gm_as *as, const struct gm_expose_ending *end, int err);
void gm_expose_dev_created(struct gm_dev *dev, const char *name);
void gm_expose_dev_ending(struct gm_dev *dev, struct gm_expose_ending *end);
void gm_expose_dev_ended(struct gm_dev *dev, const struct gm_expose_ending *end, int err);
/* For the child of a fork. */
void gm_expose_forget(void);

void gm_stats_add(struct gm_stats *to, const struct gm_stats *from);

/* ------------------------------------------------------------ expose_answer.c */

/* Text that grows, in memory of our own. */
struct gm_text {
	char *s;
	size_t len, room;
	bool failed; /* no memory, or too long: what there is of it is worth nothing */
};

__attribute__((format(printf, 2, 3))) void gm_text_add(struct gm_text *t, const char *fmt, ...);
void gm_text_free(struct gm_text *t);

/*
 * The answer to a request's line, one line; of no request it says so. @events is the client's, for
 * "hot"; NULL until it has asked for that.
 */
void gm_expose_answer(struct gm_text *t, const char *request, struct gm_events **events);

/* -------------------------------------------------------------- expose_hot.c */

void gm_expose_hot(struct gm_text *t, struct gm_events **events);

/* ------------------------------------------------------------- expose_serve.c */

/* Begin to serve, if that was not begun; whatever goes wrong is nobody's concern. */
void gm_expose_serve(void);
void gm_expose_serve_before_fork(void);
void gm_expose_serve_after_fork(bool child);

/* --------------------------------------------------------------- expose_dir.c */

/* The path of this process's socket, where a directory for it can be had. 0 or -errno. */
int gm_expose_path(char *path, size_t size);

#endif
