/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Traces: what touched which page, in what order, kept in a file; gmem-trace(5) has the
 * format. A trace depends on no address: objects have small numbers, in order of appearance,
 * and pages are counted from an object's begin. Nor does it say what gmem did, but where
 * programs asked for it: it is what a policy has to cope with.
 *
 * A writer merges: accesses of one device, of one kind, to consecutive pages, of which as much
 * was used, are one record with a run length; an access to the page that the same device has
 * just accessed is none, but its lines are that one's.
 *
 * Locking: none; a writer or reader is used by one thread at a time.
 */
#ifndef GM_TRACE_TRACE_H
#define GM_TRACE_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include <gmem/gmem.h>

#define GM_TRACE_VERSION 2U
#define GM_TRACE_LINE 64U /* bytes that a device fetches at once */
#define GM_TRACE_MAX_LINES 255U
#define GM_TRACE_PAGE_LINES (GM_PAGE_SIZE / GM_TRACE_LINE) /* version 1 does not say: all */
#define GM_TRACE_MAX_DEVS 64U
#define GM_TRACE_MAX_OBJECTS (1U << 20)
#define GM_TRACE_MAX_PAGES (GM_OBJECT_MAX_SIZE / GM_PAGE_SIZE) /* of an object */
#define GM_TRACE_MAX_ADVICE 63U

enum gm_trace_kind {
	GM_TRACE_OBJECT,    /* it is mentioned from here on */
	GM_TRACE_PRESENT,   /* these pages have bytes, on the host, when gmem first looks */
	GM_TRACE_ACCESS,    /* by a device: each page of the run, ascending */
	GM_TRACE_CPU_FAULT, /* the CPU touched a page that it had no mapping of */
	GM_TRACE_HINT,	    /* an advice was taken */
	GM_TRACE_DISCARD,   /* bytes are gone: the pages are as if they never had been touched */
	GM_TRACE_UNMAP,	    /* so too, and the object with them */
	GM_TRACE_KINDS,
};

/*
 *		object	page, pages	dev		what
 * OBJECT	yes	0, its size	0		flags: GM_OBJECT_*
 * PRESENT	yes	yes		0		0
 * ACCESS	yes	yes		from 1		GM_READ, GM_WRITE, GM_WRITE | GM_ATOMIC
 * CPU_FAULT	yes	yes, 1		0		GM_READ or GM_WRITE
 * HINT		yes	yes		0: the host	enum gm_advice
 * DISCARD	yes	yes		0		0
 * UNMAP	yes	0, its size	0		0
 *
 * Lines, of an ACCESS: how often, while it was at each page of the run, the device went from one
 * line of the page to another, or came to the first. 0: it used the very line that it had used
 * last; GM_TRACE_MAX_LINES: as often, or more. Others have 0.
 */
struct gm_trace_record {
	enum gm_trace_kind kind;
	uint32_t dev;
	uint32_t object;
	uint32_t what;
	uint64_t page;
	uint64_t pages; /* 1 at least */
	uint32_t lines;
};

struct gm_trace_dev {
	uint64_t pages;	    /* of its memory */
	uint64_t base_page; /* its base page, in pages */
};

/* What is known of a trace before it is read. */
struct gm_trace_info {
	uint32_t version;
	uint32_t page_size;
	uint32_t nr_devs;
	struct gm_trace_dev dev[GM_TRACE_MAX_DEVS]; /* device 1 is dev[0] */
	uint64_t chunks;
	uint64_t records[GM_TRACE_KINDS];
	uint64_t accesses;  /* pages that ACCESS records mention, runs counted page by page */
	uint64_t footprint; /* pages of all objects */
};

/* ------------------------------------------------------------------------- writing */

struct gm_trace_writer;

/* Creates, or empties, the file. Fails: as open(2); -ENOMEM. */
int gm_trace_writer_open(const char *path, struct gm_trace_writer **w);

/*
 * The rest returns 0, or a number, or what went wrong first, which gm_trace_writer_close()
 * says again; then the file is no trace. -EINVAL: no reader would take it.
 */
int gm_trace_writer_dev(struct gm_trace_writer *w, uint64_t pages, uint64_t base_page);
int gm_trace_writer_object(struct gm_trace_writer *w, uint64_t pages, uint32_t flags);
int gm_trace_writer_put(struct gm_trace_writer *w, const struct gm_trace_record *record);
int gm_trace_writer_close(struct gm_trace_writer *w);

/* ------------------------------------------------------------------------- reading */

struct gm_trace_reader;

/* What is wrong, in words, and where in the file. */
struct gm_trace_error {
	uint64_t offset;
	char text[160];
};

/*
 * Opens a trace and looks at both its ends, so that one that was cut off is told at once. Fails:
 * -EBADMSG: damaged, cut off, or no trace; -EPROTONOSUPPORT: of a version that is not known;
 * as open(2) and read(2); -ENOMEM. @error has the words for each.
 */
int gm_trace_reader_open(const char *path, struct gm_trace_reader **r,
			 struct gm_trace_error *error);
/* The same of bytes in memory, which stay. */
int gm_trace_reader_open_memory(const void *bytes, size_t len, struct gm_trace_reader **r,
				struct gm_trace_error *error);
const struct gm_trace_info *gm_trace_reader_info(const struct gm_trace_reader *r);

/*
 * 1: there is a record; 0: that was the last; -errno, as above. What it gives is sound: objects
 * that were announced, pages within them, devices and accesses that there are.
 */
int gm_trace_reader_next(struct gm_trace_reader *r, struct gm_trace_record *record,
			 struct gm_trace_error *error);
/* From the first record again. */
void gm_trace_reader_rewind(struct gm_trace_reader *r);
void gm_trace_reader_close(struct gm_trace_reader *r);

#endif
