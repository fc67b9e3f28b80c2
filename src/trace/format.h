/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A trace in bytes. Numbers are little-endian.
 *
 *	header	magic (8), version (4), page size (4), CRC of these (4)
 *	chunk	mark (4), records (4), bytes of four columns (4 x 4), and of each compressed
 *		(4 x 4), CRC of these and of the data (4), data: a zstd frame for each column
 *	...
 *	footer	mark (4), chunks (8), records of each kind (7 x 8), pages accessed (8), pages of
 *		all objects (8), devices (4), of each its pages and base page (8 + 8), CRC of
 *		these (4)
 *	tail	bytes of the footer (4), magic (8)
 *
 * A record is a tag (first column) and, by its kind, bytes in the others. All but ACCESS
 * have varints in the third, see codec.c. Accesses are many, and programs walk through
 * memory in several places at once, so eight slots remember the last eight walks, each with
 * the device, object, kind of access and run length that it had. A tag names a slot; the
 * second column has the distance from where that walk would go on, or, far away, the low byte
 * of the page's number. Columns keep like with like: a random page then costs little more
 * than the bits that are random in it. The fourth has the lines of each access; it is not there
 * in version 1, in which accesses are of whole pages.
 */
#ifndef GM_TRACE_FORMAT_H
#define GM_TRACE_FORMAT_H

#include "trace/trace.h"

#define GM_TRACE_HEADER 20U
#define GM_TRACE_CHUNK_MAX 44U /* before its data, see gm_trace_chunk_head() */
#define GM_TRACE_FOOTER 92U    /* with the CRC, without devices */
#define GM_TRACE_DEV 16U
#define GM_TRACE_TAIL 12U

#define GM_TRACE_MAGIC "\x89GMT\r\n\x1a\n"
#define GM_TRACE_END_MAGIC "GMTEND\r\n"
#define GM_TRACE_CHUNK_MARK 0x4b4e4843U	 /* "CHNK" */
#define GM_TRACE_FOOTER_MARK 0x544f4f46U /* "FOOT" */

enum { GM_TRACE_TAGS, GM_TRACE_LOWS, GM_TRACE_RESTS, GM_TRACE_LINES, GM_TRACE_COLUMNS };

static inline unsigned int gm_trace_columns_of(uint32_t version)
{
	return version == 1 ? GM_TRACE_LINES : GM_TRACE_COLUMNS;
}

static inline uint32_t gm_trace_chunk_head(unsigned int columns)
{
	return 12 + 8 * columns;
}

#define GM_TRACE_CHUNK_RECORDS (1U << 20) /* what comes again within these costs little */
#define GM_TRACE_RECORD_MAX 64U		  /* no record's varints are longer */
#define GM_TRACE_RESTS_MAX (1U << 22)

/* A chunk's columns, not compressed. */
struct gm_trace_columns {
	unsigned int n; /* how many there are, by the version */
	uint8_t *data[GM_TRACE_COLUMNS];
	uint32_t len[GM_TRACE_COLUMNS]; /* of the first: how many records */
};

/* Room for a column, in bytes. */
static inline uint32_t gm_trace_column_max(unsigned int column)
{
	return column == GM_TRACE_RESTS ? GM_TRACE_RESTS_MAX : GM_TRACE_CHUNK_RECORDS;
}

int gm_trace_columns_alloc(struct gm_trace_columns *c); /* Fails: -ENOMEM, having nothing */
void gm_trace_columns_free(struct gm_trace_columns *c);

#define GM_TRACE_SLOTS 8U

/* A walk through memory, as the last access of it left it. */
struct gm_trace_slot {
	uint32_t dev, object, what;
	uint64_t pages;
	uint64_t next; /* the page behind it */
};

/* What the coding of a record depends on; begins anew with each chunk. */
struct gm_trace_codec {
	struct gm_trace_slot slot[GM_TRACE_SLOTS];
	uint32_t at[GM_TRACE_COLUMNS]; /* decoder */
};

/* What is announced so far, against which records are checked. */
struct gm_trace_known {
	uint32_t nr_devs;
	uint32_t nr_objects;
	uint64_t *pages; /* of each object */
	uint32_t room;
};

/* codec.c */
void gm_trace_codec_init(struct gm_trace_codec *codec);
/* There is room for GM_TRACE_RECORD_MAX bytes, and a tag. */
void gm_trace_encode(struct gm_trace_codec *codec, struct gm_trace_columns *c,
		     const struct gm_trace_record *record);
/* NULL: well; or what is wrong. There is a tag. */
const char *gm_trace_decode(struct gm_trace_codec *codec, const struct gm_trace_columns *c,
			    struct gm_trace_record *record);
/* NULL: the record is sound; or what is wrong with it. An OBJECT is known from then on. */
const char *gm_trace_check(struct gm_trace_known *known, const struct gm_trace_record *record);

uint32_t gm_trace_crc(uint32_t crc, const void *bytes, size_t len); /* CRC-32C; 0 at first */

/* writer.c: the bytes of a chunk; returns how many, or -errno. @out: gm_trace_seal_max(). */
size_t gm_trace_seal_max(void);
long gm_trace_seal(const struct gm_trace_columns *c, uint8_t *out, size_t room);
/* writer.c: the bytes of a header, and of a footer with its tail; how many. */
size_t gm_trace_header(uint32_t version, uint8_t *out);
size_t gm_trace_footer(const struct gm_trace_info *info, uint8_t *out);
#define GM_TRACE_FOOTER_MAX (GM_TRACE_FOOTER + GM_TRACE_MAX_DEVS * GM_TRACE_DEV + GM_TRACE_TAIL)

static inline uint8_t *gm_trace_put32(uint8_t *p, uint32_t v)
{
	for (unsigned int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
	return p + 4;
}

static inline uint8_t *gm_trace_put64(uint8_t *p, uint64_t v)
{
	return gm_trace_put32(gm_trace_put32(p, (uint32_t)v), (uint32_t)(v >> 32));
}

static inline uint32_t gm_trace_get32(const uint8_t *p)
{
	uint32_t v = 0;

	for (unsigned int i = 0; i < 4; i++)
		v |= (uint32_t)p[i] << 8 * i;
	return v;
}

static inline uint64_t gm_trace_get64(const uint8_t *p)
{
	return gm_trace_get32(p) | (uint64_t)gm_trace_get32(p + 4) << 32;
}

#endif
