// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Records to columns and back, and what makes a record sound; the theory is in format.h.
 *
 * Tag: kind in bits 0 to 2. Of an access: the slot in bits 3 to 5, by how many others have been
 * used since; NEAR: the second column has
 * the distance, zigzag, from where the slot's walk goes on, else the low byte of the page, whose
 * other bits are a varint; MORE: a byte of the third column says which fields differ from the
 * slot's, and these follow as varints, in this order: bit 0 device, 1 object, 2 kind of access,
 * 3 run length. Its byte of the fourth column has the lines. The others' fields, varints: OBJECT its pages, flags; PRESENT, DISCARD object,
 * page, pages; CPU_FAULT object, page, access; HINT object, page, pages, device, advice; UNMAP
 * object.
 *
 * The encoder takes the slot whose walk is nearest, and where none is near the one that was
 * used longest ago. A decoder need not know how it was chosen; both move it to the front.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "trace/format.h"

#define KIND 7U
#define SLOT_SHIFT 3U
#define NEAR (1U << 6)
#define MORE (1U << 7)

#define MORE_DEV 1U
#define MORE_OBJECT 2U
#define MORE_WHAT 4U
#define MORE_PAGES 8U

#define NEAR_PAGES 16
#define OTHER_FIELDS 16 /* as far away as so many pages */

int gm_trace_columns_alloc(struct gm_trace_columns *c)
{
	memset(c, 0, sizeof(*c));
	c->n = GM_TRACE_COLUMNS;
	for (unsigned int i = 0; i < GM_TRACE_COLUMNS; i++) {
		c->data[i] = malloc(gm_trace_column_max(i));
		if (!c->data[i]) {
			gm_trace_columns_free(c);
			return -ENOMEM;
		}
	}
	return 0;
}

void gm_trace_columns_free(struct gm_trace_columns *c)
{
	for (unsigned int i = 0; i < GM_TRACE_COLUMNS; i++)
		free(c->data[i]);
	memset(c, 0, sizeof(*c));
}

void gm_trace_codec_init(struct gm_trace_codec *codec)
{
	memset(codec, 0, sizeof(*codec));
	for (unsigned int i = 0; i < GM_TRACE_SLOTS; i++)
		codec->slot[i] = (struct gm_trace_slot){ .dev = 1, .what = GM_READ, .pages = 1 };
}

uint32_t gm_trace_crc(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		for (unsigned int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
	}
	return ~crc;
}

/* ------------------------------------------------------------------------- encoding */

static void put_byte(struct gm_trace_columns *c, unsigned int column, unsigned int byte)
{
	c->data[column][c->len[column]++] = (uint8_t)byte;
}

static void put_number(struct gm_trace_columns *c, uint64_t v)
{
	for (; v > 127; v >>= 7)
		put_byte(c, GM_TRACE_RESTS, (unsigned int)(v & 127) | 128);
	put_byte(c, GM_TRACE_RESTS, (unsigned int)v);
}

static int64_t distance(const struct gm_trace_slot *s, const struct gm_trace_record *rec)
{
	return (int64_t)(rec->page - s->next);
}

static bool is_near(const struct gm_trace_slot *s, const struct gm_trace_record *rec)
{
	int64_t d = distance(s, rec);

	return s->object == rec->object && d >= -NEAR_PAGES && d <= NEAR_PAGES;
}

static bool is_alike(const struct gm_trace_slot *s, const struct gm_trace_record *rec)
{
	return s->dev == rec->dev && s->object == rec->object && s->what == rec->what;
}

static unsigned int slot_near(const struct gm_trace_codec *codec, const struct gm_trace_record *rec)
{
	unsigned int best = GM_TRACE_SLOTS;
	int64_t least = INT64_MAX;

	for (unsigned int i = 0; i < GM_TRACE_SLOTS; i++) {
		const struct gm_trace_slot *s = &codec->slot[i];
		int64_t cost = distance(s, rec);

		if (!is_near(s, rec))
			continue;
		cost = (cost < 0 ? -cost : cost) + (is_alike(s, rec) ? 0 : OTHER_FIELDS);
		if (cost < least) {
			least = cost;
			best = i;
		}
	}
	return best;
}

/* Slots are in the order in which they were used last. */
static void slot_used(struct gm_trace_codec *codec, unsigned int i, struct gm_trace_slot now)
{
	memmove(&codec->slot[1], &codec->slot[0], i * sizeof(now));
	codec->slot[0] = now;
}

static void encode_access(struct gm_trace_codec *codec, struct gm_trace_columns *c,
			  const struct gm_trace_record *rec)
{
	unsigned int i = slot_near(codec, rec), tag = GM_TRACE_ACCESS, more = 0;
	bool near = i < GM_TRACE_SLOTS;
	struct gm_trace_slot *s;

	if (!near)
		i = GM_TRACE_SLOTS - 1;
	s = &codec->slot[i];
	more |= s->dev != rec->dev ? MORE_DEV : 0;
	more |= s->object != rec->object ? MORE_OBJECT : 0;
	more |= s->what != rec->what ? MORE_WHAT : 0;
	more |= s->pages != rec->pages ? MORE_PAGES : 0;
	tag |= i << SLOT_SHIFT | (near ? NEAR : 0) | (more ? MORE : 0);
	put_byte(c, GM_TRACE_TAGS, tag);
	if (more)
		put_byte(c, GM_TRACE_RESTS, more);
	if (more & MORE_DEV)
		put_number(c, rec->dev);
	if (more & MORE_OBJECT)
		put_number(c, rec->object);
	if (more & MORE_WHAT)
		put_number(c, rec->what);
	if (more & MORE_PAGES)
		put_number(c, rec->pages);
	if (near) {
		int64_t d = distance(s, rec);

		put_byte(c, GM_TRACE_LOWS, (unsigned int)(d < 0 ? -2 * d - 1 : 2 * d));
	} else {
		put_byte(c, GM_TRACE_LOWS, (unsigned int)(rec->page & 255));
		put_number(c, rec->page >> 8);
	}
	if (c->n > GM_TRACE_LINES)
		put_byte(c, GM_TRACE_LINES, rec->lines);
	slot_used(codec, i,
		  (struct gm_trace_slot){ rec->dev, rec->object, rec->what, rec->pages,
					  rec->page + rec->pages });
}

void gm_trace_encode(struct gm_trace_codec *codec, struct gm_trace_columns *c,
		     const struct gm_trace_record *rec)
{
	if (rec->kind == GM_TRACE_ACCESS) {
		encode_access(codec, c, rec);
		return;
	}
	put_byte(c, GM_TRACE_TAGS, rec->kind);
	if (rec->kind == GM_TRACE_OBJECT) {
		put_number(c, rec->pages);
		put_number(c, rec->what);
		return;
	}
	put_number(c, rec->object);
	if (rec->kind == GM_TRACE_UNMAP)
		return;
	put_number(c, rec->page);
	if (rec->kind != GM_TRACE_CPU_FAULT)
		put_number(c, rec->pages);
	if (rec->kind == GM_TRACE_HINT)
		put_number(c, rec->dev);
	if (rec->kind == GM_TRACE_HINT || rec->kind == GM_TRACE_CPU_FAULT)
		put_number(c, rec->what);
}

/* ------------------------------------------------------------------------- decoding */

struct input {
	struct gm_trace_codec *codec;
	const struct gm_trace_columns *c;
	const char *wrong;
};

/* What is wrong first says most. */
static void complain(struct input *in, const char *what)
{
	if (!in->wrong)
		in->wrong = what;
}

static unsigned int get_byte(struct input *in, unsigned int column)
{
	uint32_t *at = &in->codec->at[column];

	if (*at >= in->c->len[column]) {
		complain(in, "a record is not complete");
		return 0;
	}
	return in->c->data[column][(*at)++];
}

static uint64_t get_number(struct input *in)
{
	unsigned int shift = 0, byte;
	uint64_t v = 0;

	do {
		byte = get_byte(in, GM_TRACE_RESTS);
		if (shift > 63 || (shift == 63 && byte > 1)) {
			complain(in, "a number is too large");
			return 0;
		}
		v |= (uint64_t)(byte & 127) << shift;
		shift += 7;
	} while (byte & 128);
	return v;
}

static uint32_t get_small(struct input *in)
{
	uint64_t v = get_number(in);

	if (v > UINT32_MAX)
		complain(in, "a number is too large");
	return (uint32_t)v;
}

static void decode_access(struct input *in, unsigned int tag, struct gm_trace_record *rec)
{
	unsigned int i = tag >> SLOT_SHIFT & (GM_TRACE_SLOTS - 1);
	struct gm_trace_slot *s = &in->codec->slot[i];
	unsigned int more = tag & MORE ? get_byte(in, GM_TRACE_RESTS) : 0, low;

	if (more >= 2 * MORE_PAGES)
		complain(in, "an access has fields that are not known");
	if (more & MORE_DEV)
		s->dev = get_small(in);
	if (more & MORE_OBJECT)
		s->object = get_small(in);
	if (more & MORE_WHAT)
		s->what = get_small(in);
	if (more & MORE_PAGES)
		s->pages = get_number(in);
	low = get_byte(in, GM_TRACE_LOWS);
	if (tag & NEAR)
		rec->page = s->next + (low & 1 ? ~(uint64_t)(low >> 1) : low >> 1);
	else
		rec->page = low | get_number(in) << 8;
	rec->dev = s->dev;
	rec->object = s->object;
	rec->what = s->what;
	rec->pages = s->pages;
	rec->lines = in->c->n > GM_TRACE_LINES ? get_byte(in, GM_TRACE_LINES) : GM_TRACE_PAGE_LINES;
	s->next = rec->page + rec->pages;
	slot_used(in->codec, i, *s);
}

static void decode_other(struct input *in, struct gm_trace_record *rec)
{
	if (rec->kind == GM_TRACE_OBJECT) {
		rec->pages = get_number(in);
		rec->what = get_small(in);
		return;
	}
	rec->object = get_small(in);
	if (rec->kind == GM_TRACE_UNMAP)
		return;
	rec->page = get_number(in);
	rec->pages = rec->kind == GM_TRACE_CPU_FAULT ? 1 : get_number(in);
	if (rec->kind == GM_TRACE_HINT)
		rec->dev = get_small(in);
	if (rec->kind == GM_TRACE_HINT || rec->kind == GM_TRACE_CPU_FAULT)
		rec->what = get_small(in);
}

/* An OBJECT's number, and an UNMAP's pages, are left to the caller, who knows them. */
const char *gm_trace_decode(struct gm_trace_codec *codec, const struct gm_trace_columns *c,
			    struct gm_trace_record *rec)
{
	struct input in = { .codec = codec, .c = c };
	unsigned int tag = get_byte(&in, GM_TRACE_TAGS);

	*rec = (struct gm_trace_record){ .kind = (enum gm_trace_kind)(tag & KIND) };
	if ((tag & KIND) >= GM_TRACE_KINDS || (rec->kind != GM_TRACE_ACCESS && tag > KIND))
		return "a record is of no kind that is known";
	if (rec->kind == GM_TRACE_ACCESS)
		decode_access(&in, tag, rec);
	else
		decode_other(&in, rec);
	return in.wrong;
}

/* ------------------------------------------------------------------------- checking */

static const char *object_add(struct gm_trace_known *known, const struct gm_trace_record *rec)
{
	if (rec->object != known->nr_objects || rec->object >= GM_TRACE_MAX_OBJECTS)
		return "there are too many objects, or their order is wrong";
	if (rec->page || rec->dev || !rec->pages || rec->pages > GM_TRACE_MAX_PAGES)
		return "an object's size is wrong";
	if (known->nr_objects == known->room) {
		uint32_t room = known->room ? 2 * known->room : 16;
		uint64_t *pages = reallocarray(known->pages, room, sizeof(*pages));

		if (!pages)
			return "there is no memory for so many objects";
		known->pages = pages;
		known->room = room;
	}
	known->pages[known->nr_objects++] = rec->pages;
	return NULL;
}

/* Does it name a device, and say things, that its kind may? */
static bool is_sound(const struct gm_trace_known *known, const struct gm_trace_record *rec)
{
	if (rec->lines > (rec->kind == GM_TRACE_ACCESS ? GM_TRACE_MAX_LINES : 0))
		return false;
	switch (rec->kind) {
	case GM_TRACE_ACCESS:
		return rec->dev && rec->dev <= known->nr_devs &&
		       (rec->what == GM_READ || rec->what == GM_WRITE ||
			rec->what == (GM_WRITE | GM_ATOMIC));
	case GM_TRACE_CPU_FAULT:
		return !rec->dev && rec->pages == 1 &&
		       (rec->what == GM_READ || rec->what == GM_WRITE);
	case GM_TRACE_HINT:
		return rec->dev <= known->nr_devs && rec->what <= GM_TRACE_MAX_ADVICE;
	case GM_TRACE_UNMAP:
		return !rec->dev && !rec->what && rec->pages == known->pages[rec->object];
	default:
		return !rec->dev && !rec->what;
	}
}

const char *gm_trace_check(struct gm_trace_known *known, const struct gm_trace_record *rec)
{
	if (rec->kind == GM_TRACE_OBJECT)
		return object_add(known, rec);
	if ((unsigned int)rec->kind >= GM_TRACE_KINDS)
		return "a record is of no kind that is known";
	if (rec->object >= known->nr_objects)
		return "a record is about an object that there is not";
	if (!rec->pages || rec->pages > known->pages[rec->object] ||
	    rec->page > known->pages[rec->object] - rec->pages)
		return "a record is about pages that its object has not";
	if (!is_sound(known, rec))
		return "a record names a device, an access or an advice that there is not";
	return NULL;
}
