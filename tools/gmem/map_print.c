// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem map`: the picture, of letters or as SVG.
 *
 * Each region is a bar, however large it is, of cells: each shows a place that pages of it are at, so
 * that of many cells each place has its share. A letter says which even where there is no color, and
 * the colors are those of Okabe and Ito, which people tell apart who do not see all.
 */
#include <string.h>

#include "map.h"
#include "util.h"

/* ------------------------------------------------------------------------------ text */

static const char *const colors[] = { "\033[30;46m", "\033[30;43m", "\033[30;42m",
				      "\033[30;45m", "\033[37;44m", "\033[30;47m" };

static const char *color_of(const struct map *m, uint32_t node)
{
	if (m->nodes[node].id == MAP_NOWHERE)
		return "\033[2m";
	return node ? colors[1 + (node - 1) % 5] : colors[0];
}

void map_print_bar(const struct map *m, const struct map_region *r, FILE *out, unsigned int width,
		   bool color)
{
	struct map_cell cells[MAP_MAX_CELLS];
	uint64_t pages = r->shown / m->page;
	unsigned int i, n = pages < width ? (unsigned int)pages : width;
	const char *now = "", *next;

	map_cells(m, r, cells, n);
	for (i = 0; i < n; i++) {
		next = cells[i].poisoned ? "\033[37;41m" : color_of(m, cells[i].node);
		if (color && next != now)
			fprintf(out, "\033[0m%s", next);
		now = next;
		fputc(cells[i].poisoned ? '!' : m->nodes[cells[i].node].mark, out);
	}
	fprintf(out, "%s\n", color ? "\033[0m" : "");
}

void map_print_legend(const struct map *m, FILE *out, bool color)
{
	unsigned int i;

	for (i = 0; i < m->nr_nodes; i++)
		fprintf(out, "  %s%c%s %-24s %10s\n", color ? color_of(m, i) : "", m->nodes[i].mark,
			color ? "\033[0m" : "", m->nodes[i].name, size_text(m->nodes[i].bytes).s);
	if (m->poisoned)
		fprintf(out, "  %s!%s %-24s %10s\n", color ? "\033[37;41m" : "",
			color ? "\033[0m" : "", "poisoned", size_text(m->poisoned).s);
	if (m->pinned)
		fprintf(out, "    %-24s %10s\n", "of these pinned", size_text(m->pinned).s);
}

int map_print(const struct map *m, FILE *out, unsigned int width, bool color)
{
	const unsigned int label = 27;
	const struct map_region *r;
	unsigned int bar;

	fprintf(out, "%s, process %d: %zu region%s\n", m->program, m->pid, m->nr_regions,
		m->nr_regions == 1 ? "" : "s");
	for (r = m->regions; r < m->regions + m->nr_regions; r++) {
		bar = width >= label + 20 ? width - label : width;
		bar = bar < MAP_MAX_CELLS ? bar : MAP_MAX_CELLS;
		fprintf(out, "%#014llx %10s%s", (unsigned long long)r->addr, size_text(r->shown).s,
			width >= label + 20 ? "  " : "\n");
		map_print_bar(m, r, out, bar ? bar : 1, color);
		if (r->shown < r->len)
			fprintf(out, "            of %10s  whose rest is nowhere yet\n",
				size_text(r->len).s);
	}
	map_print_legend(m, out, color);
	return fflush(out) || ferror(out) ? -1 : 0;
}

/* ------------------------------------------------------------------------------- SVG */

#define SVG_ROW 24U
#define SVG_TOP 44U

const char map_svg_style[] =
	"<style>"
	"text{font:13px 'DejaVu Sans',sans-serif;fill:#1d2329}"
	".m{font-family:'DejaVu Sans Mono',monospace;font-size:12px}"
	".t{font-size:16px;font-weight:bold}.s{fill:#5b6570}.b{fill:#ffffff}"
	".n{fill:#e4e8ec}.h{fill:#56b4e9}.p{fill:#000000}"
	".d0{fill:#e69f00}.d1{fill:#009e73}.d2{fill:#cc79a7}.d3{fill:#d55e00}.d4{fill:#0072b2}"
	"@media(prefers-color-scheme:dark){text{fill:#e6e9ec}.s{fill:#9aa5b0}.b{fill:#14181c}"
	".n{fill:#2c343b}.p{fill:#ffffff}}"
	"</style>\n";

static void put_class(const struct map *m, uint32_t node, bool poisoned, FILE *out)
{
	if (poisoned)
		fputs("p", out);
	else if (m->nodes[node].id == MAP_NOWHERE)
		fputs("n", out);
	else if (!node)
		fputs("h", out);
	else
		fprintf(out, "d%u", (node - 1) % 5);
}

/* Names are what somebody else wrote. */
static void put_escaped(const char *s, FILE *out)
{
	for (; *s; s++) {
		if (*s == '<' || *s == '>' || *s == '&' || *s == '"')
			fprintf(out, "&#%d;", *s);
		else
			fputc((unsigned char)*s < ' ' ? '?' : *s, out);
	}
}

void map_svg_bar(const struct map *m, const struct map_region *r, unsigned int y, FILE *out)
{
	struct map_cell cells[MAP_SVG_CELLS];
	uint64_t pages = r->shown / m->page;
	unsigned int i = 0, k;

	map_cells(m, r, cells, MAP_SVG_CELLS);
	for (; i < MAP_SVG_CELLS; i = k) {
		for (k = i + 1; k < MAP_SVG_CELLS && cells[k].node == cells[i].node &&
				cells[k].poisoned == cells[i].poisoned;
		     k++)
			;
		fprintf(out, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" class=\"",
			MAP_SVG_LEFT + i, y, k - i, SVG_ROW - 6);
		put_class(m, cells[i].node, cells[i].poisoned, out);
		fprintf(out, "\"><title>%#llx: ",
			(unsigned long long)(r->addr + pages * i / MAP_SVG_CELLS * m->page));
		put_escaped(cells[i].poisoned ? "poisoned" : m->nodes[cells[i].node].name, out);
		fputs("</title></rect>\n", out);
	}
}

/* What stands in the legend: the nodes, and memory that has failed, if there is any. */
static unsigned int nr_marks(const struct map *m)
{
	return m->nr_nodes + (m->poisoned > 0);
}

void map_svg_legend(const struct map *m, unsigned int y, FILE *out)
{
	unsigned int i;

	for (i = 0; i < nr_marks(m); i++) {
		bool node = i < m->nr_nodes;
		unsigned int x = MAP_SVG_LEFT + i % 3 * 235, row = y + i / 3 * 22;

		fprintf(out, "<rect x=\"%u\" y=\"%u\" width=\"14\" height=\"14\" rx=\"2\" class=\"",
			x, row);
		put_class(m, i, !node, out);
		fprintf(out, "\"/><text x=\"%u\" y=\"%u\">", x + 20, row + 12);
		put_escaped(node ? m->nodes[i].name : "poisoned", out);
		fprintf(out, " <tspan class=\"s\">%s</tspan></text>\n",
			size_text(node ? m->nodes[i].bytes : m->poisoned).s);
	}
}

int map_print_svg(const struct map *m, FILE *out)
{
	unsigned int rows = (unsigned int)m->nr_regions, legend = SVG_TOP + rows * SVG_ROW + 12, y;
	unsigned int height = legend + (nr_marks(m) + 2) / 3 * 22 + 10, i;

	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" width=\"%u\" "
		"height=\"%u\">\n%s<rect width=\"%u\" height=\"%u\" class=\"b\"/>\n"
		"<text x=\"16\" y=\"27\" class=\"t\">",
		MAP_SVG_WIDTH, height, MAP_SVG_WIDTH, height, map_svg_style, MAP_SVG_WIDTH, height);
	put_escaped(m->program, out);
	fprintf(out, ", process %d</text>\n", m->pid);
	for (i = 0; i < rows; i++) {
		y = SVG_TOP + i * SVG_ROW;
		fprintf(out,
			"<text x=\"16\" y=\"%u\" class=\"m\">%#llx</text>"
			"<text x=\"%u\" y=\"%u\" text-anchor=\"end\" class=\"m s\">%s</text>\n",
			y + 13, (unsigned long long)m->regions[i].addr, MAP_SVG_LEFT - 10, y + 13,
			size_text(m->regions[i].shown).s);
		map_svg_bar(m, &m->regions[i], y, out);
	}
	map_svg_legend(m, legend, out);
	fputs("</svg>\n", out);
	return fflush(out) || ferror(out) ? -1 : 0;
}
