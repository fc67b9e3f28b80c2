// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * libFuzzer over the reader of traces. The first byte chooses: the rest is a file, whose
 * checksums then do not matter; or it is cut into the columns of a chunk, in a file that is
 * well otherwise, for a fuzzer does not find what zstd unpacks.
 */
#include <stdlib.h>
#include <string.h>

#include "trace/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the reader gives must be sound, whatever it reads. */
static void read_all(const uint8_t *bytes, size_t len)
{
	uint64_t pages[64] = { 0 };
	struct gm_trace_error error;
	struct gm_trace_record rec;
	struct gm_trace_reader *r;
	uint32_t objects = 0;

	if (gm_trace_reader_open_memory(bytes, len, &r, &error))
		return;
	while (gm_trace_reader_next(r, &rec, &error) == 1) {
		if (rec.kind == GM_TRACE_OBJECT && objects < 64)
			pages[objects++] = rec.pages;
		if (rec.object < 64 && (rec.object >= objects || !rec.pages ||
					rec.page + rec.pages > pages[rec.object]))
			abort();
	}
	gm_trace_reader_close(r);
}

static void read_columns(const uint8_t *data, size_t size)
{
	struct gm_trace_info info = { .chunks = 1, .nr_devs = 2, .dev = { { 9, 1 }, { 9, 1 } } };
	size_t room = GM_TRACE_HEADER + gm_trace_seal_max() + GM_TRACE_FOOTER_MAX;
	size_t tags = size > 3 ? data[0] : 0, lows = size > 3 ? data[1] : 0, len;
	size_t lines = size > 3 ? data[2] >> 1 : 0;
	uint32_t version = size > 3 && data[2] & 1 ? 1 : GM_TRACE_VERSION;
	struct gm_trace_columns c;
	uint8_t *out = malloc(room);

	data += 3;
	size -= size > 3 ? 3 : size;
	if (!out || !tags || tags + lows + lines > size || gm_trace_columns_alloc(&c)) {
		free(out);
		return;
	}
	memcpy(c.data[GM_TRACE_TAGS], data, tags);
	memcpy(c.data[GM_TRACE_LOWS], data + tags, lows);
	memcpy(c.data[GM_TRACE_LINES], data + tags + lows, lines);
	memcpy(c.data[GM_TRACE_RESTS], data + tags + lows + lines, size - tags - lows - lines);
	c.n = gm_trace_columns_of(version);
	c.len[GM_TRACE_TAGS] = (uint32_t)tags;
	c.len[GM_TRACE_LOWS] = (uint32_t)lows;
	c.len[GM_TRACE_RESTS] = (uint32_t)(size - tags - lows - lines);
	c.len[GM_TRACE_LINES] = (uint32_t)lines;
	len = gm_trace_header(version, out);
	len += (size_t)gm_trace_seal(&c, out + len, room - len);
	len += gm_trace_footer(&info, out + len);
	read_all(out, len);
	gm_trace_columns_free(&c);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		read_columns(data + 1, size - 1);
	else
		read_all(data + 1, size - 1);
	return 0;
}
