// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The picture at the end of `gmem demo`.
 *
 * Rows over time: how much was on the accelerator, and how much went to it, came home, and was
 * used in place each second. The first is drawn to the scale of the device's memory. The others
 * have one scale, so they can be compared, and it is that of the accelerator's work: what the CPU
 * brings home to check may come in so short a time that beside it nothing else would be seen. Time
 * goes from left to right, first of the accelerator's work, then of the CPU's check, each at its
 * share, but a slice at least. Below is the bar of `gmem map`: where the pages are at the end.
 */
#include <stdlib.h>

#include <gmem/gmem.h>

#include "demo_picture.h"
#include "picture.h"
#include "util.h"

#define MAX_SLICES PICTURE_MAX_WIDTH
#define LEVELS 8U

enum row { USED, TO_DEV, TO_HOST, IN_PLACE, NR_ROWS };

/* The colors are those that the map has for the device, the host and a second device. */
static const struct {
	const char *name, *color, *svg;
} rows[] = {
	[USED] = { "on the accelerator", "\033[33m", "d0" },
	[TO_DEV] = { "to the accelerator", "\033[33m", "d0" },
	[TO_HOST] = { "to the host", "\033[36m", "h" },
	[IN_PLACE] = { "used in place", "\033[32m", "d1" },
};

struct strip {
	struct timeline_bytes slice[MAX_SLICES];
	unsigned int n, split;		/* the check begins with slice @split */
	double seconds[TIMELINE_PARTS]; /* of a slice */
	uint64_t sum[NR_ROWS];		/* USED: the most */
	double top;			/* bytes a second, the most there was of any row but USED */
};

static uint64_t bytes_of(const struct timeline_bytes *b, enum row row)
{
	return row == USED	? b->used
	       : row == TO_DEV	? b->to_dev
	       : row == TO_HOST ? b->to_host
				: b->in_place;
}

static double rate(const struct strip *s, unsigned int i, enum row row)
{
	return (double)bytes_of(&s->slice[i], row) / s->seconds[i >= s->split];
}

/* How high, from 0 to 1. */
static double height(const struct demo_picture *p, const struct strip *s, unsigned int i,
		     enum row row)
{
	double v = row == USED	? (double)s->slice[i].used / (double)p->memory
		   : s->top > 0 ? rate(s, i, row) / s->top
				: 0;

	return v < 1 ? v : 1;
}

static void lay_out(const struct demo_picture *p, struct strip *s, unsigned int n)
{
	const struct timeline *t = &p->timeline;
	double first = t->part[0], all = t->part[1];
	unsigned int i, row;

	*s = (struct strip){ .n = n,
			     .split = all > 0 ? (unsigned int)(n * (first / all) + 0.5) : 1 };
	s->split = s->split < 1 ? 1 : s->split > n - 1 ? n - 1 : s->split;
	timeline_cut(t, 0, first, s->slice, s->split);
	timeline_cut(t, first, all, s->slice + s->split, n - s->split);
	/* A clock that has not moved on is taken to have moved a little. */
	s->seconds[0] = first > 0 ? first / s->split : 1e-9;
	s->seconds[1] = all > first ? (all - first) / (n - s->split) : 1e-9;
	for (i = 0; i < n; i++) {
		for (row = TO_DEV; row < NR_ROWS; row++) {
			s->sum[row] += bytes_of(&s->slice[i], row);
			if (i < s->split && rate(s, i, row) > s->top)
				s->top = rate(s, i, row);
		}
		s->sum[USED] = s->slice[i].used > s->sum[USED] ? s->slice[i].used : s->sum[USED];
	}
}

/* Devices that cannot use host memory in place need no row that says so. */
static bool is_drawn(const struct strip *s, enum row row)
{
	return row != IN_PLACE || s->sum[IN_PLACE];
}

/* ------------------------------------------------------------------------------ text */

#define LABEL 22U
#define TOTAL 10U
#define NARROW (LABEL + TOTAL + 20U) /* else what a row is stands above it */

static const char *const ascii[LEVELS + 1] = { " ", ".", ":", "-", "=", "+", "*", "#", "@" };
static const char *const block[LEVELS + 1] = { " ",	 "\u2581", "\u2582", "\u2583", "\u2584",
					       "\u2585", "\u2586", "\u2587", "\u2588" };

static void print_row(const struct demo_picture *p, const struct strip *s, enum row row, FILE *out,
		      unsigned int width, bool color, bool blocks)
{
	const char *bar = blocks ? "\u2502" : "|", *total = size_text(s->sum[row]).s;
	unsigned int i, level;
	double v;

	if (width < NARROW)
		fprintf(out, "  %s %s\n  ", rows[row].name, total);
	else
		fprintf(out, "  %-*s", (int)LABEL - 2, rows[row].name);
	if (color)
		fputs(rows[row].color, out);
	for (i = 0; i < s->n; i++) {
		v = height(p, s, i, row) * LEVELS;
		level = (unsigned int)v + (v > (unsigned int)v); /* a little is not nothing */
		if (i == s->split)
			fprintf(out, "%s%s%s", color ? "\033[0m" : "", bar,
				color ? rows[row].color : "");
		fputs(blocks ? block[level] : ascii[level], out);
	}
	if (color)
		fputs("\033[0m", out);
	if (width >= NARROW)
		fprintf(out, "%*s", (int)TOTAL, total);
	fputc('\n', out);
}

int demo_picture_print(const struct demo_picture *p, FILE *out, unsigned int width, bool color,
		       bool blocks)
{
	unsigned int row, cells = width - (width < NARROW ? 3 : LABEL + TOTAL + 1);
	struct strip s;

	lay_out(p, &s, cells < MAX_SLICES ? cells : MAX_SLICES);
	fprintf(out, "Over time\n  the accelerator works for %s %s then the CPU checks for %s\n",
		time_text(p->seconds[0]).s, blocks ? "\u2502" : "|", time_text(p->seconds[1]).s);
	for (row = 0; row < NR_ROWS; row++)
		if (is_drawn(&s, row))
			print_row(p, &s, row, out, width, color, blocks);
	fprintf(out, "  full height: its memory of %s; of what moves, %s a second or more\n\n",
		size_text(p->memory).s, size_text((uint64_t)s.top).s);
	fprintf(out, "Where the pages are at the end\n  ");
	map_print_bar(&p->map, p->map.regions, out, width - 2, color);
	map_print_legend(&p->map, out, color);
	fputc('\n', out);
	return ferror(out) ? -1 : 0;
}

/* ------------------------------------------------------------------------------- SVG */

#define SVG_SLICE 4U
#define SVG_ROW 66U
#define SVG_TRACK 52U
#define SVG_TOP 84U
#define SVG_RIGHT (MAP_SVG_LEFT + MAP_SVG_CELLS)

static void svg_row(const struct demo_picture *p, const struct strip *s, enum row row,
		    unsigned int y, FILE *out)
{
	double at = 0, high;
	unsigned int i;

	fprintf(out,
		"<text x=\"16\" y=\"%u\">%s</text><text x=\"16\" y=\"%u\" class=\"s\">%s%s</text>\n"
		"<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" class=\"n\"/>\n",
		y + 22, rows[row].name, y + 40, row == USED ? "at most " : "",
		size_text(s->sum[row]).s, MAP_SVG_LEFT, y, MAP_SVG_CELLS, SVG_TRACK);
	for (i = 0; i < s->n; i++) {
		double end = at + s->seconds[i >= s->split];

		high = height(p, s, i, row) * SVG_TRACK;
		if (bytes_of(&s->slice[i], row))
			fprintf(out,
				"<rect x=\"%u\" y=\"%.2f\" width=\"%u\" height=\"%.2f\" "
				"class=\"%s\"><title>%s to %s: %s bytes %s</title></rect>\n",
				MAP_SVG_LEFT + i * SVG_SLICE, y + SVG_TRACK - high, SVG_SLICE, high,
				rows[row].svg, time_text(at).s, time_text(end).s,
				count_text(bytes_of(&s->slice[i], row)).s, rows[row].name);
		at = end;
	}
}

static void svg_head(const struct demo_picture *p, unsigned int size, FILE *out)
{
	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" width=\"%u\" "
		"height=\"%u\">\n%s<rect width=\"%u\" height=\"%u\" class=\"b\"/>\n",
		MAP_SVG_WIDTH, size, MAP_SVG_WIDTH, size, map_svg_style, MAP_SVG_WIDTH, size);
	fprintf(out,
		"<text x=\"16\" y=\"27\" class=\"t\">gmem demo: %s</text>\n"
		"<text x=\"16\" y=\"48\" class=\"s\">%s of data, %s of device memory; the plain "
		"run "
		"took %s</text>\n",
		p->workload, size_text(p->data).s, size_text(p->memory).s,
		time_text(p->seconds_plain).s);
	fprintf(out,
		"<text x=\"%u\" y=\"%u\">the accelerator works: %s</text>\n"
		"<text x=\"%u\" y=\"%u\" text-anchor=\"end\">the CPU checks: %s</text>\n",
		MAP_SVG_LEFT, SVG_TOP - 10, time_text(p->seconds[0]).s, SVG_RIGHT, SVG_TOP - 10,
		time_text(p->seconds[1]).s);
}

int demo_picture_draw(const void *picture, FILE *out)
{
	const struct demo_picture *p = picture;
	unsigned int row, y = SVG_TOP, nr = 0, end;
	struct strip s;

	lay_out(p, &s, MAP_SVG_CELLS / SVG_SLICE);
	for (row = 0; row < NR_ROWS; row++)
		nr += is_drawn(&s, row);
	end = SVG_TOP + nr * SVG_ROW;
	svg_head(p, end + 124, out);
	for (row = 0; row < NR_ROWS; row++) {
		if (!is_drawn(&s, row))
			continue;
		svg_row(p, &s, row, y, out);
		y += SVG_ROW;
	}
	fprintf(out, "<rect x=\"%.1f\" y=\"%u\" width=\"1\" height=\"%u\" class=\"p\"/>\n",
		MAP_SVG_LEFT + s.split * SVG_SLICE - 0.5, SVG_TOP - 6, end - SVG_TOP + 6);
	fprintf(out,
		"<text x=\"%u\" y=\"%u\" class=\"s\">full height: the device's memory; of what "
		"moves, "
		"%s a second or more</text>\n<text x=\"16\" y=\"%u\">the pages at the end</text>\n",
		MAP_SVG_LEFT, end + 10, size_text((uint64_t)s.top).s, end + 45);
	map_svg_bar(&p->map, p->map.regions, end + 32, out);
	map_svg_legend(&p->map, end + 64, out);
	fputs("</svg>\n", out);
	return fflush(out) || ferror(out) ? -1 : 0;
}
