// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Reading text, whatever it is compressed with.
 *
 * libarchive recognises the compression by the first bytes. It checks the sums of
 * every format but gzip's, of which it skips the trailer; so the last eight bytes of
 * the file and the sum of what came out are kept, and compared at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "input.h"
#include "util.h"

#define CHUNK (256UL << 10)
#define LINE_MAX_BYTES (16UL << 20) /* a longer line is no text */

struct input {
	struct archive *archive;
	char *path;
	const char *expected;
	int fd;
	int read_errno;
	char *raw;	       /* CHUNK bytes as they are in the file */
	unsigned char tail[8]; /* the last bytes of the file so far */
	size_t tail_len;
	char *buf; /* [start, end) is text not handed out yet */
	size_t cap, start, end;
	bool eof;
	uint64_t line;	/* of the line handed out last */
	uint64_t bytes; /* of text */
	uint32_t crc;	/* of the text */
};

static uint32_t crc_table[256];

/* CRC-32 as gzip has it: reflected, polynomial 0xedb88320. */
static void crc_init(void)
{
	uint32_t i, bit, c;

	for (i = 0; i < 256; i++) {
		c = i;
		for (bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ 0xedb88320U : c >> 1;
		crc_table[i] = c;
	}
}

static uint32_t crc_update(uint32_t crc, const char *p, size_t len)
{
	crc = ~crc;
	while (len--)
		crc = crc_table[(crc ^ (unsigned char)*p++) & 0xff] ^ crc >> 8;
	return ~crc;
}

/* libarchive asks for more of the file. */
static la_ssize_t raw_read(struct archive *a, void *data, const void **buffer)
{
	struct input *in = data;
	ssize_t n;
	size_t keep;

	n = read(in->fd, in->raw, CHUNK);
	if (n < 0) {
		in->read_errno = errno;
		archive_set_error(a, errno, "%s", strerror(errno));
		return -1;
	}
	if ((size_t)n >= sizeof(in->tail)) {
		memcpy(in->tail, in->raw + n - sizeof(in->tail), sizeof(in->tail));
		in->tail_len = sizeof(in->tail);
	} else if (n > 0) {
		keep = in->tail_len;
		if (keep > sizeof(in->tail) - (size_t)n)
			keep = sizeof(in->tail) - (size_t)n;
		memmove(in->tail, in->tail + in->tail_len - keep, keep);
		memcpy(in->tail + keep, in->raw, (size_t)n);
		in->tail_len = keep + (size_t)n;
	}
	*buffer = in->raw;
	return n;
}

/* The file cannot be read on: damaged, or the disk is. */
static int damaged(const struct input *in, const char *why)
{
	const char *filter = archive_filter_name(in->archive, 0);

	if (in->read_errno)
		return fail(RUN_BAD_INPUT, "%s: cannot read: %s", in->path,
			    strerror(in->read_errno));
	return fail(RUN_BAD_INPUT,
		    "%s: line %llu: damaged %s data (%s): fetch the file again; "
		    "expected %s",
		    in->path, (unsigned long long)in->line + 1,
		    filter && strcmp(filter, "none") ? filter : "compressed",
		    why ? why : "unreadable", in->expected);
}

int input_open(const char *path, const char *expected, struct input **result)
{
	struct archive_entry *entry;
	struct input *in;
	int err;

	in = xrealloc(NULL, 1, sizeof(*in));
	*in = (struct input){ .expected = expected, .path = xstrndup(path, strlen(path)) };
	in->raw = xrealloc(NULL, CHUNK, 1);
	crc_init();
	in->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (in->fd < 0) {
		err = fail(RUN_BAD_INPUT, "%s: cannot open: %s; expected %s", path, strerror(errno),
			   expected);
		goto err_close;
	}
	in->archive = archive_read_new();
	if (!in->archive) {
		err = fail(RUN_FAILED, "out of memory");
		goto err_close;
	}
	/* Not all filters there are: some take plain text for their own. */
	archive_read_support_filter_gzip(in->archive);
	archive_read_support_filter_bzip2(in->archive);
	archive_read_support_filter_xz(in->archive);
	archive_read_support_filter_lzma(in->archive);
	archive_read_support_filter_lz4(in->archive);
	archive_read_support_filter_zstd(in->archive);
	archive_read_support_format_raw(in->archive);
	archive_read_support_format_empty(in->archive);
	if (archive_read_open(in->archive, in, NULL, raw_read, NULL) != ARCHIVE_OK) {
		err = damaged(in, archive_error_string(in->archive));
		goto err_close;
	}
	switch (archive_read_next_header(in->archive, &entry)) {
	case ARCHIVE_OK:
	case ARCHIVE_WARN:
		break;
	case ARCHIVE_EOF:
		in->eof = true;
		break;
	default:
		err = damaged(in, archive_error_string(in->archive));
		goto err_close;
	}
	*result = in;
	return RUN_OK;

err_close:
	input_close(in);
	return err;
}

void input_close(struct input *in)
{
	if (in->archive)
		archive_read_free(in->archive);
	if (in->fd >= 0)
		close(in->fd);
	free(in->raw);
	free(in->buf);
	free(in->path);
	free(in);
}

static uint32_t little_endian(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int check_gzip(struct input *in)
{
	if (archive_filter_code(in->archive, 0) != ARCHIVE_FILTER_GZIP)
		return RUN_OK;
	if (in->tail_len == sizeof(in->tail) && little_endian(in->tail) == in->crc &&
	    little_endian(in->tail + 4) == (uint32_t)in->bytes)
		return RUN_OK;
	return damaged(in, "the checksum does not match, or it is several files in one");
}

/* Get more text behind what there is. */
static int refill(struct input *in)
{
	la_ssize_t n;

	if (in->end > in->start)
		memmove(in->buf, in->buf + in->start, in->end - in->start);
	in->end -= in->start;
	in->start = 0;
	if (in->cap - in->end < CHUNK) {
		if (in->cap > LINE_MAX_BYTES)
			return input_bad_line(in, "a line without an end");
		in->cap += in->cap + CHUNK;
		in->buf = xrealloc(in->buf, in->cap, 1);
	}
	n = archive_read_data(in->archive, in->buf + in->end, CHUNK);
	if (n < 0)
		return damaged(in, archive_error_string(in->archive));
	if (!n) {
		in->eof = true;
		return check_gzip(in);
	}
	in->crc = crc_update(in->crc, in->buf + in->end, (size_t)n);
	in->bytes += (uint64_t)n;
	in->end += (size_t)n;
	return RUN_OK;
}

int input_line(struct input *in, char **line, size_t *len)
{
	size_t seen = 0;
	char *nl = NULL;
	int err;

	for (;;) {
		if (in->end > in->start + seen)
			nl = memchr(in->buf + in->start + seen, '\n', in->end - in->start - seen);
		if (nl || in->eof)
			break;
		seen = in->end - in->start;
		err = refill(in);
		if (err)
			return err;
	}
	*line = NULL;
	*len = 0;
	if (in->start == in->end)
		return RUN_OK;
	in->line++;
	*line = in->buf + in->start;
	*len = nl ? (size_t)(nl - *line) : in->end - in->start;
	in->start += *len + (nl ? 1 : 0);
	if (*len && (*line)[*len - 1] == '\r')
		--*len;
	return RUN_OK;
}

int input_bad_line(const struct input *in, const char *what)
{
	return fail(RUN_BAD_INPUT, "%s: line %llu: %s: expected %s", in->path,
		    (unsigned long long)(in->line ? in->line : 1), what, in->expected);
}
