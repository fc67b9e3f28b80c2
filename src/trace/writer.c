// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The writer of traces. Accesses to one page are gathered until something else comes, and only
 * then is it known whether they continue a run; the run waits for what does not continue it.
 * Chunks are written when they are full. The first failure is kept: nothing is written after it, and
 * whoever closes the trace hears of it, for a trace with a hole is none.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "trace/format.h"

#define LEVEL 12 /* of zstd: small enough, and faster than what is recorded */

struct gm_trace_writer {
	int fd;
	int err; /* the first */
	struct gm_trace_info info;
	struct gm_trace_known known;
	struct gm_trace_codec codec;
	struct gm_trace_columns columns;
	struct gm_trace_record waiting; /* pages 0: none */
	struct gm_trace_record visit;	/* behind it: a page that is being accessed; so too */
	uint8_t *out;
};

/* --------------------------------------------------------------------------- bytes */

size_t gm_trace_seal_max(void)
{
	size_t size = GM_TRACE_CHUNK_MAX;

	for (unsigned int i = 0; i < GM_TRACE_COLUMNS; i++)
		size += ZSTD_compressBound(gm_trace_column_max(i));
	return size;
}

long gm_trace_seal(const struct gm_trace_columns *c, uint8_t *out, size_t room)
{
	uint8_t *head = gm_trace_put32(out, GM_TRACE_CHUNK_MARK);
	size_t before = gm_trace_chunk_head(c->n), used = before, len[GM_TRACE_COLUMNS];

	head = gm_trace_put32(head, c->len[GM_TRACE_TAGS]);
	for (unsigned int i = 0; i < c->n; i++) {
		len[i] = ZSTD_compress(out + used, room - used, c->data[i], c->len[i], LEVEL);
		if (ZSTD_isError(len[i]))
			return -ENOMEM;
		used += len[i];
		head = gm_trace_put32(head, c->len[i]);
	}
	for (unsigned int i = 0; i < c->n; i++)
		head = gm_trace_put32(head, (uint32_t)len[i]);
	gm_trace_put32(head,
		       gm_trace_crc(gm_trace_crc(0, out, before - 4), out + before, used - before));
	return (long)used;
}

size_t gm_trace_header(uint32_t version, uint8_t *out)
{
	memcpy(out, GM_TRACE_MAGIC, 8);
	gm_trace_put32(out + 8, version);
	gm_trace_put32(out + 12, (uint32_t)GM_PAGE_SIZE);
	gm_trace_put32(out + 16, gm_trace_crc(0, out, 16));
	return GM_TRACE_HEADER;
}

size_t gm_trace_footer(const struct gm_trace_info *info, uint8_t *out)
{
	uint8_t *p = gm_trace_put32(out, GM_TRACE_FOOTER_MARK);

	p = gm_trace_put64(p, info->chunks);
	for (unsigned int i = 0; i < GM_TRACE_KINDS; i++)
		p = gm_trace_put64(p, info->records[i]);
	p = gm_trace_put64(p, info->accesses);
	p = gm_trace_put64(p, info->footprint);
	p = gm_trace_put32(p, info->nr_devs);
	for (unsigned int i = 0; i < info->nr_devs; i++) {
		p = gm_trace_put64(p, info->dev[i].pages);
		p = gm_trace_put64(p, info->dev[i].base_page);
	}
	p = gm_trace_put32(p, gm_trace_crc(0, out, (size_t)(p - out)));
	p = gm_trace_put32(p, (uint32_t)(p - out));
	memcpy(p, GM_TRACE_END_MAGIC, 8);
	return (size_t)(p + 8 - out);
}

/* -------------------------------------------------------------------------- writing */

static int fail(struct gm_trace_writer *w, int err)
{
	if (!w->err)
		w->err = err;
	return w->err;
}

static int put_bytes(struct gm_trace_writer *w, const uint8_t *p, size_t len)
{
	while (len && !w->err) {
		ssize_t n = write(w->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(w, n ? -errno : -ENOSPC);
		p += n;
		len -= (size_t)n;
	}
	return w->err;
}

static int put_chunk(struct gm_trace_writer *w)
{
	long len;

	if (!w->columns.len[GM_TRACE_TAGS] || w->err)
		return w->err;
	len = gm_trace_seal(&w->columns, w->out, gm_trace_seal_max());
	if (len < 0)
		return fail(w, (int)len);
	memset(w->columns.len, 0, sizeof(w->columns.len));
	gm_trace_codec_init(&w->codec);
	w->info.chunks++;
	return put_bytes(w, w->out, (size_t)len);
}

/* The record that waits is complete. */
static int put_waiting(struct gm_trace_writer *w)
{
	struct gm_trace_record rec = w->waiting;
	int err = 0;

	w->waiting.pages = 0;
	if (!rec.pages)
		return w->err;
	if (w->columns.len[GM_TRACE_TAGS] == GM_TRACE_CHUNK_RECORDS ||
	    w->columns.len[GM_TRACE_RESTS] > GM_TRACE_RESTS_MAX - GM_TRACE_RECORD_MAX)
		err = put_chunk(w);
	if (err)
		return err;
	gm_trace_encode(&w->codec, &w->columns, &rec);
	w->info.records[rec.kind]++;
	if (rec.kind == GM_TRACE_ACCESS)
		w->info.accesses += rec.pages;
	if (rec.kind == GM_TRACE_OBJECT)
		w->info.footprint += rec.pages;
	return w->err;
}

/* Is it what the one that waits says, of the pages that come next? */
static bool continues(const struct gm_trace_record *old, const struct gm_trace_record *rec)
{
	return old->pages && old->kind == rec->kind && old->dev == rec->dev &&
	       old->object == rec->object && old->what == rec->what && old->lines == rec->lines &&
	       rec->page == old->page + old->pages && rec->kind != GM_TRACE_OBJECT &&
	       rec->kind != GM_TRACE_CPU_FAULT && rec->kind != GM_TRACE_HINT;
}

static int append(struct gm_trace_writer *w, const struct gm_trace_record *rec)
{
	int err;

	if (continues(&w->waiting, rec)) {
		w->waiting.pages += rec->pages;
		return w->err;
	}
	err = put_waiting(w);
	w->waiting = *rec;
	return err;
}

/* The page that was accessed is left. */
static int end_visit(struct gm_trace_writer *w)
{
	struct gm_trace_record rec = w->visit;

	w->visit.pages = 0;
	return rec.pages ? append(w, &rec) : w->err;
}

/* Is it of the page that is being accessed, and, but for lines, nothing new? */
static bool is_again(const struct gm_trace_record *visit, const struct gm_trace_record *rec)
{
	return visit->pages && visit->dev == rec->dev && visit->object == rec->object &&
	       visit->page == rec->page && rec->pages == 1 &&
	       !(rec->what & ~visit->what & ~GM_READ);
}

static int put_access(struct gm_trace_writer *w, const struct gm_trace_record *rec)
{
	struct gm_trace_record *visit = &w->visit, before = *rec;
	int err;

	if (is_again(visit, rec)) {
		visit->lines += rec->lines;
		if (visit->lines > GM_TRACE_MAX_LINES)
			visit->lines = GM_TRACE_MAX_LINES;
		return 0;
	}
	err = end_visit(w);
	before.pages--;
	if (before.pages && !err)
		err = append(w, &before);
	*visit = *rec;
	visit->page += before.pages;
	visit->pages = 1;
	return err;
}

int gm_trace_writer_put(struct gm_trace_writer *w, const struct gm_trace_record *rec)
{
	int err;

	if (w->err)
		return w->err;
	if (gm_trace_check(&w->known, rec))
		return fail(w, -EINVAL);
	if (rec->kind == GM_TRACE_ACCESS)
		return put_access(w, rec);
	err = end_visit(w);
	return err ? err : append(w, rec);
}

int gm_trace_writer_dev(struct gm_trace_writer *w, uint64_t pages, uint64_t base_page)
{
	if (w->err)
		return w->err;
	if (w->info.nr_devs == GM_TRACE_MAX_DEVS || !pages || !base_page)
		return fail(w, -EINVAL);
	w->info.dev[w->info.nr_devs++] = (struct gm_trace_dev){ pages, base_page };
	w->known.nr_devs = w->info.nr_devs;
	return (int)w->info.nr_devs;
}

int gm_trace_writer_object(struct gm_trace_writer *w, uint64_t pages, uint32_t flags)
{
	struct gm_trace_record rec = { .kind = GM_TRACE_OBJECT,
				       .object = w->known.nr_objects,
				       .what = flags,
				       .pages = pages };
	int err = gm_trace_writer_put(w, &rec);

	return err ? err : (int)rec.object;
}

static void writer_free(struct gm_trace_writer *w)
{
	gm_trace_columns_free(&w->columns);
	free(w->known.pages);
	free(w->out);
	free(w);
}

int gm_trace_writer_open(const char *path, struct gm_trace_writer **out)
{
	struct gm_trace_writer *w = calloc(1, sizeof(*w));
	uint8_t header[GM_TRACE_HEADER];
	int err = -ENOMEM;

	if (!w)
		return err;
	w->out = malloc(gm_trace_seal_max());
	if (!w->out || gm_trace_columns_alloc(&w->columns))
		goto err_free;
	gm_trace_codec_init(&w->codec);
	w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (w->fd < 0) {
		err = -errno;
		goto err_free;
	}
	put_bytes(w, header, gm_trace_header(GM_TRACE_VERSION, header)); /* a failure is kept */
	*out = w;
	return 0;

err_free:
	writer_free(w);
	return err;
}

int gm_trace_writer_close(struct gm_trace_writer *w)
{
	uint8_t footer[GM_TRACE_FOOTER_MAX];
	int err;

	end_visit(w);
	put_waiting(w);
	put_chunk(w);
	put_bytes(w, footer, gm_trace_footer(&w->info, footer));
	if (close(w->fd))
		fail(w, -errno);
	err = w->err;
	writer_free(w);
	return err;
}
