// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The reader of traces. Nothing in a file is believed: sizes are bounded before they are used,
 * each part has a checksum, and each record is checked (gm_trace_check()). The footer is read
 * first, for it has the devices, and says whether the file is whole.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "trace/format.h"

struct gm_trace_reader {
	int fd; /* -1: memory */
	const uint8_t *memory;
	uint64_t size;
	uint64_t end; /* of the chunks: where the footer is */
	struct gm_trace_info info;

	/* Where it is, and what it has seen so far. */
	uint64_t chunk, at; /* of this chunk, and behind it */
	uint32_t left;	    /* records of the chunk */
	struct gm_trace_info seen;
	struct gm_trace_known known;
	struct gm_trace_codec codec;
	struct gm_trace_columns columns;
	uint8_t *in;
};

__attribute__((format(printf, 4, 5))) static int wrong(struct gm_trace_error *error, int err,
						       uint64_t offset, const char *fmt, ...)
{
	va_list ap;

	error->offset = offset;
	va_start(ap, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, ap);
	va_end(ap);
	return err;
}

/* The caller knows that the file is so long. */
static int bytes_at(struct gm_trace_reader *r, uint64_t offset, void *buf, size_t len,
		    struct gm_trace_error *error)
{
	uint8_t *p = buf;

	if (r->fd < 0) {
		memcpy(p, r->memory + offset, len);
		return 0;
	}
	while (len) {
		ssize_t n = pread(r->fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return wrong(error, -errno, offset, "cannot read: %s", strerror(errno));
		if (!n)
			return wrong(error, -EBADMSG, offset, "the file ends here, all at once");
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* A fuzzer does not find checksums. */
static bool is_crc(const uint8_t *at, uint32_t crc)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	(void)at;
	(void)crc;
	return true;
#else
	return gm_trace_get32(at) == crc;
#endif
}

/* ------------------------------------------------------------------------- both ends */

static int read_header(struct gm_trace_reader *r, struct gm_trace_error *error)
{
	uint8_t h[GM_TRACE_HEADER];
	int err;

	if (r->size < sizeof(h))
		return wrong(error, -EBADMSG, 0, "no trace: it has %llu bytes",
			     (unsigned long long)r->size);
	err = bytes_at(r, 0, h, sizeof(h), error);
	if (err)
		return err;
	if (memcmp(h, GM_TRACE_MAGIC, 8))
		return wrong(error, -EBADMSG, 0, "no trace: it does not begin as one");
	r->info.version = gm_trace_get32(h + 8);
	r->info.page_size = gm_trace_get32(h + 12);
	if (!is_crc(h + 16, gm_trace_crc(0, h, 16)))
		return wrong(error, -EBADMSG, 8, "the header is damaged");
	if (!r->info.version || r->info.version > GM_TRACE_VERSION)
		return wrong(error, -EPROTONOSUPPORT, 8,
			     "it is of version %u, and up to %u is known", r->info.version,
			     GM_TRACE_VERSION);
	if (r->info.page_size != GM_PAGE_SIZE)
		return wrong(error, -EPROTONOSUPPORT, 12, "its pages have %u bytes, not %llu",
			     r->info.page_size, GM_PAGE_SIZE);
	return 0;
}

static void parse_footer(struct gm_trace_info *info, const uint8_t *f)
{
	const uint8_t *p = f + 4;

	info->chunks = gm_trace_get64(p);
	p += 8;
	for (unsigned int i = 0; i < GM_TRACE_KINDS; i++, p += 8)
		info->records[i] = gm_trace_get64(p);
	info->accesses = gm_trace_get64(p);
	info->footprint = gm_trace_get64(p + 8);
	info->nr_devs = gm_trace_get32(p + 16);
	p += 20;
	for (unsigned int i = 0; i < info->nr_devs && i < GM_TRACE_MAX_DEVS; i++, p += 16)
		info->dev[i] = (struct gm_trace_dev){ gm_trace_get64(p), gm_trace_get64(p + 8) };
}

static int read_footer(struct gm_trace_reader *r, struct gm_trace_error *error)
{
	uint8_t tail[GM_TRACE_TAIL], f[GM_TRACE_FOOTER_MAX] = { 0 };
	uint64_t at = r->size - GM_TRACE_TAIL, devs;
	uint32_t len;
	int err;

	if (r->size < GM_TRACE_HEADER + GM_TRACE_FOOTER + GM_TRACE_TAIL)
		return wrong(error, -EBADMSG, r->size, "cut off: it ends here, without a footer");
	err = bytes_at(r, at, tail, sizeof(tail), error);
	if (err)
		return err;
	len = gm_trace_get32(tail);
	if (memcmp(tail + 4, GM_TRACE_END_MAGIC, 8))
		return wrong(error, -EBADMSG, r->size, "cut off: it ends here, without a footer");
	if (len < GM_TRACE_FOOTER || len > GM_TRACE_FOOTER_MAX - GM_TRACE_TAIL ||
	    len > at - GM_TRACE_HEADER)
		return wrong(error, -EBADMSG, at, "the size of the footer is wrong");
	r->end = at - len;
	err = bytes_at(r, r->end, f, len, error);
	if (err)
		return err;
	devs = (len - GM_TRACE_FOOTER) / GM_TRACE_DEV;
	parse_footer(&r->info, f);
	if (gm_trace_get32(f) != GM_TRACE_FOOTER_MARK ||
	    !is_crc(f + len - 4, gm_trace_crc(0, f, len - 4)))
		return wrong(error, -EBADMSG, r->end, "the footer is damaged");
	if (r->info.nr_devs != devs || len != GM_TRACE_FOOTER + devs * GM_TRACE_DEV)
		return wrong(error, -EBADMSG, r->end, "the footer's table of devices is wrong");
	for (uint32_t i = 0; i < r->info.nr_devs; i++)
		if (!r->info.dev[i].pages || !r->info.dev[i].base_page)
			return wrong(error, -EBADMSG, r->end, "a device has no memory");
	r->known.nr_devs = r->info.nr_devs;
	return 0;
}

/* --------------------------------------------------------------------------- chunks */

static int unpack(struct gm_trace_reader *r, const uint8_t *head, struct gm_trace_error *error)
{
	const uint8_t *p = r->in;

	for (unsigned int i = 0; i < r->columns.n; i++) {
		uint32_t raw = gm_trace_get32(head + 8 + 4 * i);
		uint32_t packed = gm_trace_get32(head + 8 + 4 * (r->columns.n + i));
		size_t got = ZSTD_decompress(r->columns.data[i], gm_trace_column_max(i), p, packed);

		if (ZSTD_isError(got))
			return wrong(error, -EBADMSG, r->chunk, "a chunk cannot be unpacked: %s",
				     ZSTD_getErrorName(got));
		if (got != raw)
			return wrong(error, -EBADMSG, r->chunk, "a chunk has %zu bytes, not %u",
				     got, raw);
		r->columns.len[i] = raw;
		p += packed;
	}
	return 0;
}

static int read_chunk(struct gm_trace_reader *r, struct gm_trace_error *error)
{
	uint32_t before = gm_trace_chunk_head(r->columns.n);
	uint8_t head[GM_TRACE_CHUNK_MAX];
	uint64_t len = 0;
	int err;

	r->chunk = r->at;
	if (r->end - r->at < before)
		return wrong(error, -EBADMSG, r->at, "a chunk is cut off");
	err = bytes_at(r, r->at, head, before, error);
	if (err)
		return err;
	if (gm_trace_get32(head) != GM_TRACE_CHUNK_MARK)
		return wrong(error, -EBADMSG, r->at, "no chunk begins where one should");
	for (unsigned int i = 0; i < r->columns.n; i++) {
		if (gm_trace_get32(head + 8 + 4 * i) > gm_trace_column_max(i))
			return wrong(error, -EBADMSG, r->at, "a chunk is too large");
		len += gm_trace_get32(head + 8 + 4 * (r->columns.n + i));
	}
	r->left = gm_trace_get32(head + 4);
	if (!r->left || r->left != gm_trace_get32(head + 8) ||
	    len > gm_trace_seal_max() - GM_TRACE_CHUNK_MAX)
		return wrong(error, -EBADMSG, r->at, "the size of a chunk is wrong");
	if (len > r->end - r->at - before)
		return wrong(error, -EBADMSG, r->at, "a chunk is cut off");
	err = bytes_at(r, r->at + before, r->in, len, error);
	if (err)
		return err;
	if (!is_crc(head + before - 4, gm_trace_crc(gm_trace_crc(0, head, before - 4), r->in, len)))
		return wrong(error, -EBADMSG, r->at, "the checksum of a chunk is wrong");
	r->at += before + len;
	gm_trace_codec_init(&r->codec);
	r->seen.chunks++;
	return unpack(r, head, error);
}

/* All that the chunk has belongs to a record. */
static int end_chunk(struct gm_trace_reader *r, struct gm_trace_error *error)
{
	for (unsigned int i = 0; i < r->columns.n; i++)
		if (r->codec.at[i] != r->columns.len[i])
			return wrong(error, -EBADMSG, r->chunk, "a chunk has bytes of no record");
	return 0;
}

static int end_trace(struct gm_trace_reader *r, struct gm_trace_error *error)
{
	if (r->seen.chunks != r->info.chunks || r->seen.accesses != r->info.accesses ||
	    r->seen.footprint != r->info.footprint ||
	    memcmp(r->seen.records, r->info.records, sizeof(r->seen.records)))
		return wrong(error, -EBADMSG, r->end, "the footer counts other records");
	return 0;
}

int gm_trace_reader_next(struct gm_trace_reader *r, struct gm_trace_record *rec,
			 struct gm_trace_error *error)
{
	const char *what;
	int err;

	if (!r->left) {
		if (r->at == r->end)
			return end_trace(r, error);
		err = read_chunk(r, error);
		if (err) {
			r->left = 0;
			return err;
		}
	}
	what = gm_trace_decode(&r->codec, &r->columns, rec);
	if (!what && rec->kind == GM_TRACE_OBJECT)
		rec->object = r->known.nr_objects;
	if (!what && rec->kind == GM_TRACE_UNMAP && rec->object < r->known.nr_objects)
		rec->pages = r->known.pages[rec->object];
	if (!what)
		what = gm_trace_check(&r->known, rec);
	if (what)
		return wrong(error, -EBADMSG, r->chunk, "%s (record %u of the chunk here)", what,
			     r->codec.at[GM_TRACE_TAGS]);
	r->seen.records[rec->kind]++;
	if (rec->kind == GM_TRACE_ACCESS)
		r->seen.accesses += rec->pages;
	if (rec->kind == GM_TRACE_OBJECT)
		r->seen.footprint += rec->pages;
	err = --r->left ? 0 : end_chunk(r, error);
	return err ? err : 1;
}

void gm_trace_reader_rewind(struct gm_trace_reader *r)
{
	r->at = GM_TRACE_HEADER;
	r->left = 0;
	r->known.nr_objects = 0;
	r->seen = (struct gm_trace_info){ 0 };
}

/* --------------------------------------------------------------------- life of a reader */

void gm_trace_reader_close(struct gm_trace_reader *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	gm_trace_columns_free(&r->columns);
	free(r->known.pages);
	free(r->in);
	free(r);
}

/* @r has its bytes, and is closed if it fails. */
static int begin(struct gm_trace_reader *r, struct gm_trace_reader **out,
		 struct gm_trace_error *error)
{
	int err = read_header(r, error);

	if (!err)
		err = read_footer(r, error);
	if (!err) {
		r->in = malloc(gm_trace_seal_max());
		err = r->in ? gm_trace_columns_alloc(&r->columns) : -ENOMEM;
		if (err)
			wrong(error, err, 0, "there is no memory to read it");
	}
	if (err) {
		gm_trace_reader_close(r);
		return err;
	}
	r->columns.n = gm_trace_columns_of(r->info.version);
	gm_trace_reader_rewind(r);
	*out = r;
	return 0;
}

static struct gm_trace_reader *reader_new(struct gm_trace_error *error)
{
	struct gm_trace_reader *r = calloc(1, sizeof(*r));

	if (r)
		r->fd = -1;
	else
		wrong(error, -ENOMEM, 0, "there is no memory to read it");
	return r;
}

int gm_trace_reader_open_memory(const void *bytes, size_t len, struct gm_trace_reader **out,
				struct gm_trace_error *error)
{
	struct gm_trace_reader *r = reader_new(error);

	if (!r)
		return -ENOMEM;
	r->memory = bytes;
	r->size = len;
	return begin(r, out, error);
}

int gm_trace_reader_open(const char *path, struct gm_trace_reader **out,
			 struct gm_trace_error *error)
{
	struct gm_trace_reader *r = reader_new(error);
	struct stat st;
	int err;

	if (!r)
		return -ENOMEM;
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0 || fstat(r->fd, &st)) {
		err = wrong(error, -errno, 0, "cannot open it: %s", strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		err = wrong(error, -EBADMSG, 0, "no trace: not a regular file");
	} else {
		r->size = (uint64_t)st.st_size;
		return begin(r, out, error);
	}
	gm_trace_reader_close(r);
	return err;
}

const struct gm_trace_info *gm_trace_reader_info(const struct gm_trace_reader *r)
{
	return &r->info;
}
