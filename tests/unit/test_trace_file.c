// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The format of traces: what is written is read again, merged as promised; a file that is
 * damaged at any byte, or cut off at any, is told, and so is a writer that cannot write.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "trace/format.h"

static char path[] = "/tmp/gmem-trace-XXXXXX";

static int make_path(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

static uint64_t seed;

static uint64_t below(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

/* ------------------------------------------------------------------------- what is asked */

static struct gm_trace_record access_of(uint32_t dev, uint32_t object, uint32_t what, uint64_t page,
					uint64_t pages)
{
	return (struct gm_trace_record){ GM_TRACE_ACCESS, dev, object, what, page, pages, 3 };
}

static struct gm_trace_record lines_of(struct gm_trace_record rec, uint32_t lines)
{
	rec.lines = lines;
	return rec;
}

static void put(struct gm_trace_writer *w, struct gm_trace_record rec)
{
	assert_int_equal(gm_trace_writer_put(w, &rec), 0);
}

static void same(const struct gm_trace_record *a, const struct gm_trace_record *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->dev, b->dev);
	assert_int_equal(a->object, b->object);
	assert_int_equal(a->what, b->what);
	assert_int_equal(a->page, b->page);
	assert_int_equal(a->pages, b->pages);
	assert_int_equal(a->lines, b->lines);
}

static struct gm_trace_reader *reader(void)
{
	struct gm_trace_error error = { .text = "" };
	struct gm_trace_reader *r;
	int err = gm_trace_reader_open(path, &r, &error);

	if (err)
		fail_msg("%s", error.text);
	return r;
}

static void expect(struct gm_trace_reader *r, struct gm_trace_record want)
{
	struct gm_trace_record rec;
	struct gm_trace_error error;

	assert_int_equal(gm_trace_reader_next(r, &rec, &error), 1);
	same(&rec, &want);
}

static void expect_end(struct gm_trace_reader *r)
{
	struct gm_trace_record rec;
	struct gm_trace_error error = { .text = "" };
	int ret = gm_trace_reader_next(r, &rec, &error);

	if (ret)
		fail_msg("%d: %s", ret, error.text);
}

static struct gm_trace_writer *writer(void)
{
	struct gm_trace_writer *w;

	assert_int_equal(gm_trace_writer_open(path, &w), 0);
	return w;
}

/* ------------------------------------------------------------------------------- merging */

static void test_merge(void **state)
{
	struct gm_trace_writer *w = writer();
	struct gm_trace_reader *r;
	const struct gm_trace_info *info;

	(void)state;
	assert_int_equal(gm_trace_writer_dev(w, 1024, 1), 1);
	assert_int_equal(gm_trace_writer_dev(w, 512, 16), 2);
	assert_int_equal(gm_trace_writer_object(w, 100, 1), 0);
	assert_int_equal(gm_trace_writer_object(w, 7, 0), 1);
	put(w, (struct gm_trace_record){ .kind = GM_TRACE_PRESENT, .page = 3, .pages = 4 });
	put(w, (struct gm_trace_record){ .kind = GM_TRACE_PRESENT, .page = 7, .pages = 1 });
	for (uint64_t page = 10; page < 15; page++) {
		put(w, lines_of(access_of(1, 0, GM_READ, page, 1), 1));
		put(w, lines_of(access_of(1, 0, GM_READ, page, 1), 2)); /* again */
	}
	put(w, access_of(1, 0, GM_WRITE, 15, 1));	      /* of another kind */
	put(w, lines_of(access_of(1, 0, GM_READ, 15, 1), 0)); /* says nothing new */
	put(w, access_of(1, 0, GM_WRITE | GM_ATOMIC, 15, 1)); /* but this does */
	put(w, access_of(2, 0, GM_WRITE | GM_ATOMIC, 16, 1)); /* another device */
	put(w, access_of(2, 1, GM_WRITE | GM_ATOMIC, 0, 1));  /* another object */
	put(w, (struct gm_trace_record){ GM_TRACE_CPU_FAULT, 0, 1, GM_READ, 0, 1, 0 });
	put(w, (struct gm_trace_record){ GM_TRACE_CPU_FAULT, 0, 1, GM_READ, 1, 1, 0 });
	put(w, (struct gm_trace_record){ GM_TRACE_HINT, 2, 1, GM_PREFETCH, 0, 3, 0 });
	put(w, (struct gm_trace_record){ GM_TRACE_HINT, 2, 1, GM_PREFETCH, 3, 3, 0 });
	put(w, (struct gm_trace_record){ .kind = GM_TRACE_DISCARD, .object = 1, .pages = 2 });
	put(w, (struct gm_trace_record){ .kind = GM_TRACE_UNMAP, .object = 1, .pages = 7 });
	assert_int_equal(gm_trace_writer_close(w), 0);

	r = reader();
	info = gm_trace_reader_info(r);
	assert_int_equal(info->nr_devs, 2);
	assert_int_equal(info->dev[1].pages, 512);
	assert_int_equal(info->dev[1].base_page, 16);
	assert_int_equal(info->accesses, 9);
	assert_int_equal(info->footprint, 107);
	assert_int_equal(info->records[GM_TRACE_ACCESS], 5);
	for (int pass = 0; pass < 2; pass++) {
		expect(r, (struct gm_trace_record){ GM_TRACE_OBJECT, 0, 0, 1, 0, 100, 0 });
		expect(r, (struct gm_trace_record){ GM_TRACE_OBJECT, 0, 1, 0, 0, 7, 0 });
		expect(r, (struct gm_trace_record){ GM_TRACE_PRESENT, 0, 0, 0, 3, 5, 0 });
		expect(r, access_of(1, 0, GM_READ, 10, 5));
		expect(r, access_of(1, 0, GM_WRITE, 15, 1));
		expect(r, access_of(1, 0, GM_WRITE | GM_ATOMIC, 15, 1));
		expect(r, access_of(2, 0, GM_WRITE | GM_ATOMIC, 16, 1));
		expect(r, access_of(2, 1, GM_WRITE | GM_ATOMIC, 0, 1));
		expect(r, (struct gm_trace_record){ GM_TRACE_CPU_FAULT, 0, 1, GM_READ, 0, 1, 0 });
		expect(r, (struct gm_trace_record){ GM_TRACE_CPU_FAULT, 0, 1, GM_READ, 1, 1, 0 });
		expect(r, (struct gm_trace_record){ GM_TRACE_HINT, 2, 1, GM_PREFETCH, 0, 3, 0 });
		expect(r, (struct gm_trace_record){ GM_TRACE_HINT, 2, 1, GM_PREFETCH, 3, 3, 0 });
		expect(r, (struct gm_trace_record){ GM_TRACE_DISCARD, 0, 1, 0, 0, 2, 0 });
		expect(r, (struct gm_trace_record){ GM_TRACE_UNMAP, 0, 1, 0, 0, 7, 0 });
		expect_end(r);
		expect_end(r);
		gm_trace_reader_rewind(r);
	}
	gm_trace_reader_close(r);
}

/* A run has as many lines everywhere; what is gathered of a page ends where it cannot be told. */
static void test_lines(void **state)
{
	struct gm_trace_writer *w = writer();
	struct gm_trace_reader *r;

	(void)state;
	gm_trace_writer_dev(w, 1024, 1);
	gm_trace_writer_object(w, 100, 0);
	put(w, lines_of(access_of(1, 0, GM_READ, 0, 4), 64));
	put(w, lines_of(access_of(1, 0, GM_READ, 4, 1), 64));
	put(w, lines_of(access_of(1, 0, GM_READ, 5, 1), 60));
	put(w, lines_of(access_of(1, 0, GM_READ, 5, 1), 4));
	put(w, lines_of(access_of(1, 0, GM_READ, 6, 2), 64));
	put(w, lines_of(access_of(1, 0, GM_READ, 7, 1), 1)); /* the run's last page, once more */
	put(w, lines_of(access_of(1, 0, GM_READ, 8, 1), 0));
	put(w, lines_of(access_of(1, 0, GM_READ, 9, 1), 200));
	put(w, lines_of(access_of(1, 0, GM_READ, 9, 1), 200));
	put(w, lines_of(access_of(1, 0, GM_READ, 9, 1), 1));
	put(w, lines_of(access_of(1, 0, GM_READ, 10, 1), GM_TRACE_MAX_LINES));
	assert_int_equal(gm_trace_writer_close(w), 0);
	r = reader();
	assert_int_equal(gm_trace_reader_info(r)->version, 2);
	assert_int_equal(gm_trace_reader_info(r)->accesses, 11);
	expect(r, (struct gm_trace_record){ GM_TRACE_OBJECT, 0, 0, 0, 0, 100, 0 });
	expect(r, lines_of(access_of(1, 0, GM_READ, 0, 7), 64));
	expect(r, lines_of(access_of(1, 0, GM_READ, 7, 1), 65));
	expect(r, lines_of(access_of(1, 0, GM_READ, 8, 1), 0));
	expect(r, lines_of(access_of(1, 0, GM_READ, 9, 2), GM_TRACE_MAX_LINES));
	expect_end(r);
	gm_trace_reader_close(r);
}

static void test_empty(void **state)
{
	struct gm_trace_reader *r;

	(void)state;
	assert_int_equal(gm_trace_writer_close(writer()), 0);
	r = reader();
	assert_int_equal(gm_trace_reader_info(r)->chunks, 0);
	expect_end(r);
	gm_trace_reader_close(r);
}

/* ------------------------------------------------------------------------- random records */

#define RECORDS 2200000U /* some chunks */

/* Never what the writer would merge with the one before: page parity tells them apart. */
static struct gm_trace_record random_record(const uint64_t *sizes, uint32_t objects, uint32_t i)
{
	static const uint32_t whats[] = { GM_READ, GM_WRITE, GM_WRITE | GM_ATOMIC };
	uint32_t object = (uint32_t)below(objects);
	uint64_t page = below(sizes[object]), pages = 1 + below(sizes[object] - page);
	struct gm_trace_record rec = { .object = object, .page = page, .pages = pages };

	switch (below(12)) {
	case 0:
		rec.kind = i & 1 ? GM_TRACE_PRESENT : GM_TRACE_DISCARD;
		break;
	case 1:
		rec.kind = GM_TRACE_CPU_FAULT;
		rec.pages = 1;
		rec.what = whats[below(2)];
		break;
	case 2:
		rec.kind = GM_TRACE_HINT;
		rec.dev = (uint32_t)below(4);
		rec.what = (uint32_t)below(GM_TRACE_MAX_ADVICE + 1);
		break;
	case 3:
		rec.kind = GM_TRACE_UNMAP;
		rec.page = 0;
		rec.pages = sizes[object];
		break;
	default:
		rec.kind = GM_TRACE_ACCESS;
		rec.dev = 1 + (i & 1);
		rec.what = whats[below(3)];
		rec.lines = (uint32_t)below(GM_TRACE_MAX_LINES + 1);
		if (below(2)) {
			rec.page = (i * 7) % sizes[object];
			rec.pages = 1;
		}
	}
	return rec;
}

static void test_random(void **state)
{
	static const uint64_t sizes[] = { 1, 17, 300, 70000, GM_TRACE_MAX_PAGES };
	uint64_t begin = (uint64_t)time(NULL) | 1;
	struct gm_trace_writer *w = writer();
	struct gm_trace_reader *r;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)begin);
	for (unsigned int i = 0; i < 3; i++)
		gm_trace_writer_dev(w, 1 + i, 1);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(gm_trace_writer_object(w, sizes[i], i), i);
	seed = begin;
	for (uint32_t i = 0; i < RECORDS; i++)
		put(w, random_record(sizes, 5, i));
	assert_int_equal(gm_trace_writer_close(w), 0);

	r = reader();
	assert_true(gm_trace_reader_info(r)->chunks > 2);
	for (uint32_t i = 0; i < 5; i++)
		expect(r, (struct gm_trace_record){ GM_TRACE_OBJECT, 0, i, i, 0, sizes[i], 0 });
	seed = begin;
	for (uint32_t i = 0; i < RECORDS; i++)
		expect(r, random_record(sizes, 5, i));
	expect_end(r);
	gm_trace_reader_close(r);
}

/* A walk of each of several arrays in turn: a byte and a bit for an access is too much. */
static void test_small(void **state)
{
	struct gm_trace_writer *w = writer();
	struct gm_trace_reader *r;
	FILE *f;

	(void)state;
	gm_trace_writer_dev(w, 1, 1);
	gm_trace_writer_object(w, 300000, 0);
	for (uint64_t page = 0; page < 100000; page++)
		for (uint32_t array = 0; array < 3; array++)
			put(w, access_of(1, 0, array == 2 ? GM_WRITE : GM_READ,
					 page + 100000 * array, 1));
	assert_int_equal(gm_trace_writer_close(w), 0);
	f = fopen(path, "r");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	assert_true(ftell(f) < 2000);
	fclose(f);
	r = reader();
	assert_int_equal(gm_trace_reader_info(r)->accesses, 300000);
	gm_trace_reader_close(r);
}

/* ------------------------------------------------------------------------------- bad input */

/* Open it and read it all: 0, or what is wrong with it, which has words. */
static int read_bytes(const uint8_t *bytes, size_t len, struct gm_trace_error *error)
{
	struct gm_trace_record rec;
	struct gm_trace_reader *r;
	int ret;

	error->text[0] = '\0';
	ret = gm_trace_reader_open_memory(bytes, len, &r, error);
	if (!ret) {
		do {
			ret = gm_trace_reader_next(r, &rec, error);
		} while (ret == 1);
		gm_trace_reader_close(r);
	}
	assert_true(!ret == !error->text[0]);
	assert_true(!ret || error->offset <= len);
	return ret;
}

static uint8_t *small_trace(size_t *len)
{
	struct gm_trace_writer *w = writer();
	uint8_t *bytes = malloc(4096);
	FILE *f;

	gm_trace_writer_dev(w, 64, 1);
	gm_trace_writer_object(w, 100, 0);
	put(w, (struct gm_trace_record){ .kind = GM_TRACE_PRESENT, .pages = 100 });
	for (uint64_t i = 0; i < 50; i++)
		put(w, access_of(1, 0, GM_READ, i * 37 % 100, 1));
	put(w, (struct gm_trace_record){ .kind = GM_TRACE_DISCARD, .pages = 100 });
	assert_int_equal(gm_trace_writer_close(w), 0);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(bytes);
	*len = fread(bytes, 1, 4096, f);
	assert_true(feof(f));
	fclose(f);
	return bytes;
}

static void test_damaged(void **state)
{
	struct gm_trace_error error;
	size_t len;
	uint8_t *bytes = small_trace(&len);

	(void)state;
	assert_int_equal(read_bytes(bytes, len, &error), 0);
	for (size_t i = 0; i < len; i++)
		for (unsigned int bit = 0; bit < 8; bit++) {
			bytes[i] ^= (uint8_t)(1U << bit);
			assert_int_equal(read_bytes(bytes, len, &error), -EBADMSG);
			bytes[i] ^= (uint8_t)(1U << bit);
		}
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(read_bytes(bytes, cut, &error), -EBADMSG);
	/* Something missing in the middle, and something twice. */
	memmove(bytes + 40, bytes + 41, len - 41);
	assert_int_equal(read_bytes(bytes, len - 1, &error), -EBADMSG);
	free(bytes);
}

static void test_cut_words(void **state)
{
	struct gm_trace_error error;
	size_t len;
	uint8_t *bytes = small_trace(&len);

	(void)state;
	assert_int_equal(read_bytes(bytes, len - 1, &error), -EBADMSG);
	assert_non_null(strstr(error.text, "cut off"));
	assert_int_equal(error.offset, len - 1);
	bytes[60] ^= 1;
	assert_int_equal(read_bytes(bytes, len, &error), -EBADMSG);
	assert_non_null(strstr(error.text, "checksum"));
	assert_int_equal(error.offset, GM_TRACE_HEADER);
	bytes[60] ^= 1;
	bytes[8] = GM_TRACE_VERSION + 1;
	gm_trace_put32(bytes + 16, gm_trace_crc(0, bytes, 16));
	assert_int_equal(read_bytes(bytes, len, &error), -EPROTONOSUPPORT);
	assert_non_null(strstr(error.text, "up to 2"));
	bytes[8] = 0;
	gm_trace_put32(bytes + 16, gm_trace_crc(0, bytes, 16));
	assert_int_equal(read_bytes(bytes, len, &error), -EPROTONOSUPPORT);
	bytes[8] = GM_TRACE_VERSION;
	bytes[13] = 64;
	gm_trace_put32(bytes + 16, gm_trace_crc(0, bytes, 16));
	assert_int_equal(read_bytes(bytes, len, &error), -EPROTONOSUPPORT);
	free(bytes);
}

/* A chunk's columns, and which words say what is wrong with it. */
struct chunk {
	const char *column[GM_TRACE_COLUMNS];
	size_t len[GM_TRACE_COLUMNS];
	const char *words;
};

/* A file of a version that is well, but for what its one chunk says; the caller frees it. */
static uint8_t *file_of(uint32_t version, const struct chunk *chunk,
			const struct gm_trace_info *info, size_t *len)
{
	size_t room = GM_TRACE_HEADER + gm_trace_seal_max() + GM_TRACE_FOOTER_MAX;
	struct gm_trace_columns c;
	uint8_t *out = malloc(room);

	assert_non_null(out);
	assert_int_equal(gm_trace_columns_alloc(&c), 0);
	c.n = gm_trace_columns_of(version);
	for (unsigned int i = 0; i < c.n; i++) {
		memcpy(c.data[i], chunk->column[i], chunk->len[i]);
		c.len[i] = (uint32_t)chunk->len[i];
	}
	*len = gm_trace_header(version, out);
	*len += (size_t)gm_trace_seal(&c, out + *len, room - *len);
	*len += gm_trace_footer(info, out + *len);
	gm_trace_columns_free(&c);
	return out;
}

static void test_unsound(void **state)
{
	static const struct chunk chunks[] = {
#define CHUNK_LINES(t, l, r, n, words)                                                             \
	{ { t, l, r, n }, { sizeof(t) - 1, sizeof(l) - 1, sizeof(r) - 1, sizeof(n) - 1 }, words }
/* With as many lines as are looked at before something else is wrong. */
#define CHUNK(t, l, r, words) CHUNK_LINES(t, l, r, "\x01", words)
		CHUNK("\x07", "", "", "no kind"),
		CHUNK("\x08", "", "\x05\x00", "no kind"), /* a slot for an object */
		CHUNK("\x00", "", "", "not complete"),
		CHUNK("\x00", "", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "too large"),
		CHUNK("\x00", "", "\x05\xff\xff\xff\xff\x7f", "too large"),
		CHUNK("\x00", "", "\x00\x00", "size is wrong"),
		CHUNK("\x02", "\x00", "\x00", "object that there is not"),
		CHUNK("\x00\x02", "", "\x05\x00\x00", "not complete"),
		CHUNK("\x00\x02", "\x05", "\x05\x00\x00", "pages that its object has not"),
		CHUNK("\x00\x42", "\x01", "\x05\x00", "pages that its object has not"),
		CHUNK("\x00\x82", "\x00", "\x05\x00\x10\x00", "not known"),
		CHUNK("\x00\x82", "\x00", "\x05\x00\x01\x02\x00", "names a device"),
		CHUNK("\x00\x82", "\x00", "\x05\x00\x04\x07\x00", "names a device"),
		CHUNK("\x00\x82", "\x00", "\x05\x00\x08\x00\x00", "pages that its object has not"),
		CHUNK("\x00\x04", "", "\x05\x00\x00\x00\x01\x00\x40", "names a device"),
		CHUNK("\x00\x04", "", "\x05\x00\x00\x00\x01\x02\x00", "names a device"),
		CHUNK("\x00\x03", "", "\x05\x00\x00\x00\x03", "names a device"),
		CHUNK("\x00\x06", "", "\x05\x00\x01", "object that there is not"),
		CHUNK("\x00", "\x01", "\x05\x00", "bytes of no record"),
		CHUNK("\x00", "", "\x05\x00", "bytes of no record"),
		CHUNK_LINES("\x00", "", "\x05\x00", "", "counts other records"),
		CHUNK_LINES("\x00\x42", "\x00", "\x05\x00", "", "not complete"),
		CHUNK_LINES("\x00\x42", "\x00", "\x05\x00", "\x01\x01", "bytes of no record"),
	};
	struct gm_trace_info info = { .chunks = 1, .nr_devs = 1, .dev = { { 9, 1 } } };
	struct gm_trace_error error;

	(void)state;
	for (size_t i = 0; i < sizeof(chunks) / sizeof(*chunks); i++) {
		size_t len;
		uint8_t *bytes = file_of(GM_TRACE_VERSION, &chunks[i], &info, &len);

		assert_int_equal(read_bytes(bytes, len, &error), -EBADMSG);
		free(bytes);
		if (!strstr(error.text, chunks[i].words))
			fail_msg("chunk %zu: %s", i, error.text);
	}
}

/* Files of version 1 say nothing of lines: each page was used whole. */
static void test_old(void **state)
{
	static const struct chunk chunk = CHUNK("\x00\x42\xc2", "\x04\x00", "\x0a\x00\x08\x03", "");
	struct gm_trace_info info = { .chunks = 1,
				      .nr_devs = 1,
				      .dev = { { 9, 1 } },
				      .records = { [GM_TRACE_OBJECT] = 1, [GM_TRACE_ACCESS] = 2 },
				      .accesses = 4,
				      .footprint = 10 };
	struct gm_trace_error error;
	struct gm_trace_reader *r;
	size_t len;
	uint8_t *bytes = file_of(1, &chunk, &info, &len);

	(void)state;
	assert_int_equal(gm_trace_reader_open_memory(bytes, len, &r, &error), 0);
	assert_int_equal(gm_trace_reader_info(r)->version, 1);
	expect(r, (struct gm_trace_record){ GM_TRACE_OBJECT, 0, 0, 0, 0, 10, 0 });
	expect(r, lines_of(access_of(1, 0, GM_READ, 2, 1), 64));
	expect(r, lines_of(access_of(1, 0, GM_READ, 3, 3), 64));
	expect_end(r);
	gm_trace_reader_close(r);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(read_bytes(bytes, cut, &error), -EBADMSG);
	for (size_t i = 0; i < len; i++) {
		bytes[i] ^= 1;
		assert_int_equal(read_bytes(bytes, len, &error), -EBADMSG);
		bytes[i] ^= 1;
	}
	free(bytes);
}

static void test_no_file(void **state)
{
	struct gm_trace_error error;
	struct gm_trace_reader *r;
	struct gm_trace_writer *w;

	(void)state;
	assert_int_equal(gm_trace_reader_open("/nonexistent/x", &r, &error), -ENOENT);
	assert_non_null(strstr(error.text, "cannot open"));
	assert_int_equal(gm_trace_reader_open("/dev/null", &r, &error), -EBADMSG);
	assert_int_equal(gm_trace_writer_open("/nonexistent/x", &w), -ENOENT);
}

/* A full disk, told at the end; a record that makes no sense, told at once and at the end. */
static void test_writer_fails(void **state)
{
	struct gm_trace_record bad = access_of(1, 0, GM_READ, 0, 1);
	struct gm_trace_writer *w;

	(void)state;
	assert_int_equal(gm_trace_writer_open("/dev/full", &w), 0);
	assert_int_equal(gm_trace_writer_close(w), -ENOSPC);
	w = writer();
	assert_int_equal(gm_trace_writer_put(w, &bad), -EINVAL);
	assert_int_equal(gm_trace_writer_object(w, 1, 0), -EINVAL);
	assert_int_equal(gm_trace_writer_dev(w, 1, 1), -EINVAL);
	assert_int_equal(gm_trace_writer_close(w), -EINVAL);
	w = writer();
	assert_int_equal(gm_trace_writer_dev(w, 0, 1), -EINVAL);
	assert_int_equal(gm_trace_writer_close(w), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),	     cmocka_unit_test(test_empty),
		cmocka_unit_test(test_random),	     cmocka_unit_test(test_small),
		cmocka_unit_test(test_damaged),	     cmocka_unit_test(test_cut_words),
		cmocka_unit_test(test_unsound),	     cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_writer_fails), cmocka_unit_test(test_lines),
		cmocka_unit_test(test_old),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}
