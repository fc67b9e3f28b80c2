// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Recording: what touches memory, as a trace (src/trace).
 *
 * Events of the core's (core/record.c) are put in order by a lock that is held for the
 * copying of one; they are collected in batches. An event may come under the core's
 * locks, in a service thread, or in a signal handler, where nobody may wait for a disk. So who
 * tells of a fault, or of what it found, only appends; full batches are written by those who may
 * wait: a lane after its access, whoever gives a hint, and gm_record_stop(). They write
 * before they go on, so a program does not run away from its recording. Without memory
 * for a batch, or room in the file, the trace is not whole: recording ends there, and
 * gm_record_stop() says why.
 *
 * Devices and objects get their small numbers when they are written, in the order of the events.
 *
 * Locking. life_lock over start and stop; write_lock over the writer, and over taking the
 * batches, so that they are written in order; append_lock, innermost, over the list of them,
 * taken for writing to it only. Nothing of the core's is called under write_lock, nor does
 * anything under it touch managed memory: the path was copied by the system before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <gmem/driver.h>

#include "trace/trace.h"
#include "user.h"

#define BATCH 4096U
#define KINDS_OF_RECORDS                                                                           \
	(1U << GM_EVENT_ACCESS | 1U << GM_EVENT_TOUCH | 1U << GM_EVENT_HINT |                      \
	 1U << GM_EVENT_PRESENT | 1U << GM_EVENT_DISCARD)

/* An event, with what must be known of its object and device, which may be gone when it is written. */
struct entry {
	enum gm_trace_kind kind;
	uint32_t what, lines;
	uint32_t flags;	 /* of the object */
	uint64_t device; /* 0: none */
	uint64_t memory, base_page;
	uint64_t object, size;
	uint64_t offset, len;
};

struct batch {
	struct batch *next;
	unsigned int n;
	struct entry entry[BATCH];
};

/* An object that has been mentioned. */
struct known {
	uint64_t id; /* 0: free */
	uint32_t number;
};

static struct {
	pthread_mutex_t life_lock, write_lock, append_lock;
	uint32_t generation; /* life_lock */

	bool on;		    /* append_lock */
	int err;		    /* append_lock: no memory */
	struct batch *first, *last; /* append_lock */
	bool full;		    /* one of them is; append_lock, read without it */

	struct gm_trace_writer *writer; /* the rest: write_lock */
	int failed;			/* no memory */
	struct known *known;		/* a hash table, at most half full */
	uint32_t nr_known, room;
	uint64_t device[GM_TRACE_MAX_DEVS];
	uint32_t nr_devs;
} rec = {
	.life_lock = PTHREAD_MUTEX_INITIALIZER,
	.write_lock = PTHREAD_MUTEX_INITIALIZER,
	.append_lock = PTHREAD_MUTEX_INITIALIZER,
};

/* ------------------------------------------------------------------------ appending */

/* append_lock held: the batch that has room, or NULL. */
static struct batch *batch_open(void)
{
	struct batch *b;

	if (rec.first && rec.last->n < BATCH)
		return rec.last;
	b = gm_os_alloc(sizeof(*b));
	if (!b) {
		rec.err = -ENOMEM;
		rec.on = false;
		return NULL;
	}
	if (rec.first)
		rec.last->next = b;
	else
		rec.first = b;
	rec.last = b;
	return b;
}

static void append(const struct entry *e)
{
	struct batch *b;

	pthread_mutex_lock(&rec.append_lock);
	b = rec.on ? batch_open() : NULL;
	if (b)
		b->entry[b->n++] = *e;
	if (b && b->n == BATCH)
		__atomic_store_n(&rec.full, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&rec.append_lock);
}

static const enum gm_trace_kind kinds[GM_EVENT_ALL] = {
	[GM_EVENT_ACCESS] = GM_TRACE_ACCESS,   [GM_EVENT_TOUCH] = GM_TRACE_CPU_FAULT,
	[GM_EVENT_HINT] = GM_TRACE_HINT,       [GM_EVENT_PRESENT] = GM_TRACE_PRESENT,
	[GM_EVENT_DISCARD] = GM_TRACE_DISCARD,
};

void gm_record_event(const struct gm_event *ev)
{
	struct entry e = { .kind = kinds[ev->kind] };

	if (!(KINDS_OF_RECORDS >> ev->kind & 1))
		return;
	e.what = ev->n;
	if (ev->kind == GM_EVENT_ACCESS)
		e.what = ev->n & GM_ATOMIC  ? GM_WRITE | GM_ATOMIC
			 : ev->n & GM_WRITE ? GM_WRITE
					    : GM_READ;
	e.lines = ev->lines < GM_TRACE_MAX_LINES ? ev->lines : GM_TRACE_MAX_LINES;
	e.device = ev->ns;
	e.memory = ev->bytes / GM_PAGE;
	e.base_page = ev->pages;
	e.object = gm_object_id(ev->obj);
	e.size = gm_object_size(ev->obj) / GM_PAGE;
	e.flags = gm_object_flags(ev->obj);
	e.offset = ev->offset / GM_PAGE;
	e.len = ev->len / GM_PAGE;
	append(&e);
}

void gm_record_object_end(struct gm_object *obj)
{
	struct entry e = { .kind = GM_TRACE_UNMAP };

	if (!__atomic_load_n(&gm_recording, __ATOMIC_RELAXED))
		return;
	e.object = gm_object_id(obj);
	e.size = gm_object_size(obj) / GM_PAGE;
	e.len = e.size;
	append(&e);
}

/* -------------------------------------------------------------------------- writing */

static struct known *known_slot(struct known *table, uint32_t room, uint64_t id)
{
	uint64_t i = id * 0x9e3779b97f4a7c15ULL >> 32;

	while (table[i & (room - 1)].id && table[i & (room - 1)].id != id)
		i++;
	return &table[i & (room - 1)];
}

static int known_grow(void)
{
	uint32_t room = rec.room ? 2 * rec.room : 64;
	struct known *table = calloc(room, sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (uint32_t i = 0; i < rec.room; i++)
		if (rec.known[i].id)
			*known_slot(table, room, rec.known[i].id) = rec.known[i];
	free(rec.known);
	rec.known = table;
	rec.room = room;
	return 0;
}

/* The number of the entry's object, which is announced if it is new; or -errno. */
static int number_of(const struct entry *e)
{
	struct known *k;
	int n;

	if (2 * rec.nr_known >= rec.room && known_grow())
		return -ENOMEM;
	k = known_slot(rec.known, rec.room, e->object);
	if (k->id)
		return (int)k->number;
	if (e->kind == GM_TRACE_UNMAP)
		return -ENOENT; /* it was never mentioned */
	n = gm_trace_writer_object(rec.writer, e->size, e->flags);
	if (n < 0)
		return n;
	*k = (struct known){ e->object, (uint32_t)n };
	rec.nr_known++;
	return n;
}

/* Likewise of its device, from 1; 0: it has none. */
static int device_of(const struct entry *e)
{
	int n;

	if (!e->device)
		return 0;
	for (uint32_t i = 0; i < rec.nr_devs; i++)
		if (rec.device[i] == e->device)
			return (int)i + 1;
	n = gm_trace_writer_dev(rec.writer, e->memory, e->base_page);
	if (n > 0)
		rec.device[rec.nr_devs++] = e->device;
	return n;
}

static int write_entry(const struct entry *e)
{
	int dev = device_of(e), object = number_of(e);
	struct gm_trace_record out = { .kind = e->kind, .what = e->what };

	if (dev < 0)
		return dev;
	if (object < 0)
		return object == -ENOENT ? 0 : object;
	out.dev = (uint32_t)dev;
	out.object = (uint32_t)object;
	out.page = e->offset;
	out.pages = e->len;
	out.lines = e->lines;
	return gm_trace_writer_put(rec.writer, &out);
}

/* Write all there is; if something is full, or in any case. write_lock held. */
static void write_batches(bool all)
{
	struct batch *b = NULL, *next;

	pthread_mutex_lock(&rec.append_lock);
	if (all || rec.full) {
		b = rec.first;
		rec.first = NULL;
		__atomic_store_n(&rec.full, false, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&rec.append_lock);
	for (; b; b = next) {
		for (unsigned int i = 0; i < b->n && !rec.failed; i++)
			rec.failed = write_entry(&b->entry[i]);
		next = b->next;
		gm_os_free(b, sizeof(*b));
	}
}

/* By a thread that holds no lock, and may wait. */
void gm_record_drain(void)
{
	if (!__atomic_load_n(&rec.full, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&rec.write_lock);
	write_batches(false);
	pthread_mutex_unlock(&rec.write_lock);
}

void gm_record_access(struct gm_context *ctx, uint64_t va, uint32_t access, uint32_t lines)
{
	gm_note_access(ctx, va, access, lines);
	gm_record_drain();
}

/* --------------------------------------------------------------------- start and stop */

static void ask(bool on)
{
	for (unsigned int kind = 0; kind < GM_EVENT_ALL; kind++)
		if (KINDS_OF_RECORDS >> kind & 1)
			gm_trace((enum gm_event_kind)kind, on);
}

static int start(const char *path)
{
	int err;

	if (rec.writer)
		return -EBUSY;
	err = gm_trace_writer_open(path, &rec.writer);
	if (err)
		return err;
	pthread_mutex_lock(&rec.append_lock);
	rec.on = true;
	rec.err = 0;
	pthread_mutex_unlock(&rec.append_lock);
	ask(true);
	if (!++rec.generation)
		rec.generation = 1;
	__atomic_store_n(&gm_recording, rec.generation, __ATOMIC_RELEASE);
	return 0;
}

int gm_record_start(const char *path)
{
	int err = gm_os_usable();

	if (!err && (!path || !*path))
		err = -EINVAL;
	if (err)
		return err;
	pthread_mutex_lock(&rec.life_lock);
	err = start(path);
	pthread_mutex_unlock(&rec.life_lock);
	return err;
}

static int stop(void)
{
	int err, closed;

	if (!rec.writer)
		return -ENOENT;
	__atomic_store_n(&gm_recording, 0, __ATOMIC_RELEASE);
	ask(false);
	pthread_mutex_lock(&rec.write_lock);
	pthread_mutex_lock(&rec.append_lock);
	rec.on = false;
	err = rec.err;
	pthread_mutex_unlock(&rec.append_lock);
	write_batches(true);
	closed = gm_trace_writer_close(rec.writer);
	if (!err)
		err = rec.failed ? rec.failed : closed;
	free(rec.known);
	rec.writer = NULL;
	rec.known = NULL;
	rec.nr_known = rec.room = rec.nr_devs = 0;
	rec.failed = 0;
	pthread_mutex_unlock(&rec.write_lock);
	return err;
}

int gm_record_stop(void)
{
	int err = gm_os_usable();

	if (err)
		return err;
	pthread_mutex_lock(&rec.life_lock);
	err = stop();
	pthread_mutex_unlock(&rec.life_lock);
	return err;
}

/* What GMEM_RECORD has begun ends with the program. A child of fork() leaves the file alone. */
__attribute__((destructor)) static void end(void)
{
	int err = rec.writer && !gm_is_forked() ? gm_record_stop() : 0;

	if (err)
		gm_os_warn("the recording is not whole", strerror(-err));
}
