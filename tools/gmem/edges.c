// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Names and edges in ordinary memory, and the reader of plain edge lists.
 *
 * An edge list is what the SNAP collection uses: comments after '#', and a line
 * "from<TAB>to" (or spaces) for each edge. Ids may be any 64-bit numbers, with gaps;
 * an edge that is given twice counts once.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "edges.h"
#include "input.h"
#include "progress.h"
#include "util.h"

static uint32_t hash(const char *s, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL; /* FNV-1a */

	while (len--)
		h = (h ^ (unsigned char)*s++) * 0x100000001b3ULL;
	return (uint32_t)(h ^ h >> 32);
}

static void names_rehash(struct names *names)
{
	uint32_t i, at;

	if (names->slots == 1U << 31)
		exit(fail(RUN_BAD_INPUT, "more names than this command can number"));
	names->slots = names->slots ? names->slots * 2 : 1024;
	names->slot = xrealloc(names->slot, names->slots, sizeof(*names->slot));
	memset(names->slot, 0, names->slots * sizeof(*names->slot));
	for (i = 0; i < names->nr; i++) {
		at = hash(names->name[i], strlen(names->name[i])) & (names->slots - 1);
		while (names->slot[at])
			at = (at + 1) & (names->slots - 1);
		names->slot[at] = i + 1;
	}
}

uint32_t names_intern(struct names *names, const char *s, size_t len)
{
	uint32_t at, i;

	if (names->nr >= names->slots / 2)
		names_rehash(names);
	at = hash(s, len) & (names->slots - 1);
	while ((i = names->slot[at])) {
		if (!strncmp(names->name[i - 1], s, len) && !names->name[i - 1][len])
			return i - 1;
		at = (at + 1) & (names->slots - 1);
	}
	if (names->nr == names->cap) {
		names->cap = names->cap ? names->cap * 2 : 1024;
		names->name = xrealloc(names->name, names->cap, sizeof(*names->name));
	}
	names->name[names->nr++] = xstrndup(s, len);
	names->slot[at] = names->nr;
	return names->nr - 1;
}

void names_free(struct names *names)
{
	uint32_t i;

	for (i = 0; i < names->nr; i++)
		free(names->name[i]);
	free(names->name);
	free(names->slot);
	*names = (struct names){ 0 };
}

void edges_add(struct edges *edges, uint32_t from, uint32_t to)
{
	if (edges->nr_edges == edges->cap) {
		edges->cap = edges->cap ? edges->cap * 2 : 4096;
		edges->edge = xrealloc(edges->edge, edges->cap, sizeof(*edges->edge));
	}
	edges->edge[edges->nr_edges++] = (uint64_t)to << 32 | from;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void edges_finish(struct edges *edges)
{
	size_t i, nr = 0;

	if (edges->nr_edges)
		qsort(edges->edge, edges->nr_edges, sizeof(*edges->edge), compare);
	for (i = 0; i < edges->nr_edges; i++)
		if (!i || edges->edge[i] != edges->edge[i - 1])
			edges->edge[nr++] = edges->edge[i];
	edges->nr_edges = nr;
}

void edges_free(struct edges *edges)
{
	uint32_t i;

	for (i = 0; i < edges->nr_nodes; i++) {
		free(edges->name[i]);
		if (edges->version)
			free(edges->version[i]);
	}
	free(edges->name);
	free(edges->version);
	free(edges->edge);
	*edges = (struct edges){ 0 };
}

/* An id at *s: its digits without leading zeros, at *id. False if there is none. */
static bool parse_id(const char **s, const char *end, const char **id, size_t *len)
{
	static const char max[] = "18446744073709551615";
	const char *p = *s;

	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (p + 1 < end && p[0] == '0' && p[1] >= '0' && p[1] <= '9')
		p++;
	*id = p;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	*len = (size_t)(p - *id);
	*s = p;
	if (*len == sizeof(max) - 1 && strncmp(*id, max, *len) > 0)
		return false;
	return *len > 0 && *len < sizeof(max) && (p == end || *p == ' ' || *p == '\t');
}

/* One line; RUN_BAD_INPUT (and nothing printed) if it is neither an edge nor a comment. */
static int parse_line(const char *line, size_t len, struct names *names, struct edges *edges)
{
	const char *end = line + len, *from, *to;
	size_t from_len, to_len;
	uint32_t from_nr;

	while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (line == end || *line == '#')
		return RUN_OK;
	if (!parse_id(&line, end, &from, &from_len) || !parse_id(&line, end, &to, &to_len) ||
	    line != end)
		return RUN_BAD_INPUT;
	from_nr = names_intern(names, from, from_len);
	edges_add(edges, from_nr, names_intern(names, to, to_len));
	return RUN_OK;
}

int edges_read_list(const char *path, struct edges *edges)
{
	struct names names = { 0 };
	struct input *in;
	char *line;
	size_t len;
	int err;

	progress_phase("reading the edge list", 0);
	err = input_open(path,
			 "an edge list, plain or gzip: a line 'from<TAB>to' of two integer "
			 "ids for each edge, comments after '#'",
			 &in);
	if (err)
		return err;
	while (!(err = input_line(in, &line, &len)) && line) {
		if (parse_line(line, len, &names, edges)) {
			err = input_bad_line(in, "not two integer ids");
			break;
		}
	}
	if (!err && !edges->nr_edges)
		err = input_bad_line(in, "the file ends without an edge");
	input_close(in);
	/* The names are the nodes. */
	edges->name = names.name;
	edges->nr_nodes = names.nr;
	edges->nr_files = 1;
	free(names.slot);
	if (err)
		edges_free(edges);
	else
		edges_finish(edges);
	return err;
}
