// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The dependency graph of a Debian system: every package its lists know, and an edge
 * from each to whatever its Depends and Pre-Depends name.
 *
 * The lists are those apt has fetched (under var/lib/apt/lists), or, where there are
 * none, what dpkg has installed (var/lib/dpkg/status). Files are read in the order of
 * their names and the first stanza of a package counts, whatever its architecture.
 * Every alternative of a dependency counts; versions and architectures do not. A name
 * that no package has stands for all the packages that provide it; a name that nobody
 * provides is dropped.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "edges.h"
#include "input.h"
#include "progress.h"
#include "util.h"

#define EXPECTED "a list of packages: stanzas of 'Field: value' lines"
#define NONE UINT32_MAX

struct pair {
	uint32_t a, b;
};

struct pairs {
	struct pair *pair;
	size_t nr, cap;
};

struct packages {
	struct names names; /* of packages, and of all that is depended upon */
	uint32_t *node;	    /* of each name: its node, or NONE if no package has it */
	char **version;	    /* of each name */
	uint32_t cap;
	uint32_t nr_nodes;
	struct pairs deps;     /* a, a package, needs b, a name */
	struct pairs provides; /* a, a name, is provided by b, a package */
	size_t nr_files;
};

enum field { PACKAGE, VERSION, STATUS, DEPENDS, PRE_DEPENDS, PROVIDES, NR_FIELDS };

static const char *const field_names[NR_FIELDS] = {
	[PACKAGE] = "Package", [VERSION] = "Version",	      [STATUS] = "Status",
	[DEPENDS] = "Depends", [PRE_DEPENDS] = "Pre-Depends", [PROVIDES] = "Provides",
};

/* The fields of one package that matter here. */
struct stanza {
	struct {
		char *s;
		size_t len, cap;
	} field[NR_FIELDS];
};

static void pairs_add(struct pairs *pairs, uint32_t a, uint32_t b)
{
	if (pairs->nr == pairs->cap) {
		pairs->cap = pairs->cap ? pairs->cap * 2 : 4096;
		pairs->pair = xrealloc(pairs->pair, pairs->cap, sizeof(*pairs->pair));
	}
	pairs->pair[pairs->nr++] = (struct pair){ a, b };
}

static uint32_t intern(struct packages *p, const char *s, size_t len)
{
	uint32_t known = p->names.nr;
	uint32_t name = names_intern(&p->names, s, len);

	if (name < known)
		return name;
	if (name >= p->cap) {
		p->cap = p->names.cap;
		p->node = xrealloc(p->node, p->cap, sizeof(*p->node));
		p->version = xrealloc(p->version, p->cap, sizeof(*p->version));
	}
	p->node[name] = NONE;
	p->version[name] = NULL;
	return name;
}

/* Take up every name in "a (>= 1) | b:any, c [amd64]". */
static void add_names(struct packages *p, const char *s, uint32_t package, bool provides)
{
	uint32_t name;
	size_t len;

	for (;;) {
		s += strspn(s, " \t,|");
		if (!*s)
			return;
		len = strcspn(s, " \t,|:([<");
		if (len) {
			name = intern(p, s, len);
			if (provides)
				pairs_add(&p->provides, name, package);
			else
				pairs_add(&p->deps, package, name);
		}
		s += strcspn(s, ",|");
	}
}

static void stanza_append(struct stanza *st, enum field f, const char *s, size_t len)
{
	size_t need = st->field[f].len + len + 2;

	if (need > st->field[f].cap) {
		st->field[f].cap = 2 * need;
		st->field[f].s = xrealloc(st->field[f].s, st->field[f].cap, 1);
	}
	if (st->field[f].len)
		st->field[f].s[st->field[f].len++] = ' ';
	memcpy(st->field[f].s + st->field[f].len, s, len);
	st->field[f].len += len;
	st->field[f].s[st->field[f].len] = '\0';
}

static const char *stanza_get(const struct stanza *st, enum field f)
{
	return st->field[f].len ? st->field[f].s : "";
}

/* The stanza is complete: take the package up, and forget the stanza. */
static void stanza_commit(struct packages *p, struct stanza *st)
{
	const char *status = stanza_get(st, STATUS);
	const char *version = stanza_get(st, VERSION);
	uint32_t name;
	unsigned int f;

	if (st->field[PACKAGE].len && (!*status || strstr(status, " installed"))) {
		name = intern(p, stanza_get(st, PACKAGE), st->field[PACKAGE].len);
		if (p->node[name] == NONE) {
			p->node[name] = p->nr_nodes++;
			p->version[name] = xstrndup(version, strlen(version));
			add_names(p, stanza_get(st, PRE_DEPENDS), name, false);
			add_names(p, stanza_get(st, DEPENDS), name, false);
			add_names(p, stanza_get(st, PROVIDES), name, true);
		}
	}
	for (f = 0; f < NR_FIELDS; f++)
		st->field[f].len = 0;
}

static void stanza_free(struct stanza *st)
{
	unsigned int f;

	for (f = 0; f < NR_FIELDS; f++)
		free(st->field[f].s);
}

/* "Field: value": *field is NR_FIELDS for one that does not matter. False: it is none. */
static bool parse_field(const char *line, size_t len, enum field *field, const char **value)
{
	const char *colon = memchr(line, ':', len);
	unsigned int f;

	if (!colon || colon == line || memchr(line, ' ', (size_t)(colon - line)) ||
	    memchr(line, '\0', len))
		return false;
	for (f = 0; f < NR_FIELDS; f++)
		if (strlen(field_names[f]) == (size_t)(colon - line) &&
		    !strncasecmp(line, field_names[f], (size_t)(colon - line)))
			break;
	*field = f;
	*value = colon + 1;
	return true;
}

static int read_file(struct packages *p, const char *path)
{
	enum field field = NR_FIELDS;
	struct stanza st = { 0 };
	const char *value;
	struct input *in;
	char *line;
	size_t len;
	int err;

	err = input_open(path, EXPECTED, &in);
	if (err)
		return err;
	while (!(err = input_line(in, &line, &len)) && line) {
		if (!len) {
			stanza_commit(p, &st);
			field = NR_FIELDS;
			continue;
		}
		value = line;
		/* A line that begins with a blank continues the field before. */
		if (*line != ' ' && *line != '\t' && !parse_field(line, len, &field, &value)) {
			err = input_bad_line(in, "not a field");
			break;
		}
		while (value < line + len && (*value == ' ' || *value == '\t'))
			value++;
		if (field != NR_FIELDS)
			stanza_append(&st, field, value, len - (size_t)(value - line));
	}
	if (!err)
		stanza_commit(p, &st);
	stanza_free(&st);
	input_close(in);
	p->nr_files++;
	return err;
}

static int is_list(const struct dirent *entry)
{
	static const char *const endings[] = { "", ".gz", ".lz4", ".xz", ".zst", ".bz2", ".lzma" };
	const char *s = strstr(entry->d_name, "_Packages");
	size_t i;

	for (i = 0; s && i < sizeof(endings) / sizeof(*endings); i++)
		if (!strcmp(s + strlen("_Packages"), endings[i]))
			return 1;
	return 0;
}

static int read_lists(struct packages *p, const char *dir)
{
	struct dirent **entries;
	char *path;
	int i, n, err = RUN_OK;

	n = scandir(dir, &entries, is_list, alphasort);
	if (n < 0)
		return errno == ENOENT
			       ? RUN_OK
			       : fail(RUN_BAD_INPUT, "%s: cannot read: %s", dir, strerror(errno));
	for (i = 0; i < n; i++) {
		if (!err && asprintf(&path, "%s/%s", dir, entries[i]->d_name) < 0)
			err = fail(RUN_FAILED, "out of memory");
		else if (!err) {
			err = read_file(p, path);
			free(path);
		}
		free(entries[i]);
	}
	free(entries);
	return err;
}

static int compare(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	if (x->a != y->a)
		return x->a < y->a ? -1 : 1;
	return x->b < y->b ? -1 : x->b > y->b;
}

/* The first pair of @name in the sorted list, or its end. */
static size_t find_providers(const struct pairs *pairs, uint32_t name)
{
	size_t low = 0, high = pairs->nr, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (pairs->pair[mid].a < name)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Names to nodes, and names that are not to the nodes that provide them. */
static void resolve(struct packages *p, struct edges *edges)
{
	struct pairs *prov = &p->provides;
	uint32_t from, name, to;
	size_t i, j;

	if (prov->nr)
		qsort(prov->pair, prov->nr, sizeof(*prov->pair), compare);
	for (i = 0; i < p->deps.nr; i++) {
		from = p->node[p->deps.pair[i].a];
		name = p->deps.pair[i].b;
		to = p->node[name];
		if (to != NONE) {
			if (to != from)
				edges_add(edges, from, to);
			continue;
		}
		for (j = find_providers(prov, name); j < prov->nr && prov->pair[j].a == name; j++) {
			to = p->node[prov->pair[j].b];
			if (to != from)
				edges_add(edges, from, to);
		}
	}
}

/* Move the names and versions of packages over. */
static void take_names(struct packages *p, struct edges *edges)
{
	uint32_t i, node;

	edges->nr_nodes = p->nr_nodes;
	edges->name = xrealloc(NULL, p->nr_nodes, sizeof(*edges->name));
	edges->version = xrealloc(NULL, p->nr_nodes, sizeof(*edges->version));
	for (i = 0; i < p->names.nr; i++) {
		node = p->node[i];
		if (node == NONE)
			continue;
		edges->name[node] = p->names.name[i];
		edges->version[node] = p->version[i];
		p->names.name[i] = NULL;
		p->version[i] = NULL;
	}
}

static void packages_free(struct packages *p)
{
	uint32_t i;

	for (i = 0; i < p->names.nr; i++)
		free(p->version[i]);
	names_free(&p->names);
	free(p->version);
	free(p->node);
	free(p->deps.pair);
	free(p->provides.pair);
}

int edges_read_debian(const char *root, struct edges *edges)
{
	struct packages p = { 0 };
	char *lists = NULL, *status = NULL;
	int err;

	progress_phase("reading the package lists", 0);
	if (asprintf(&lists, "%s/var/lib/apt/lists", root) < 0 ||
	    asprintf(&status, "%s/var/lib/dpkg/status", root) < 0)
		exit(fail(RUN_FAILED, "out of memory"));
	err = read_lists(&p, lists);
	if (!err && !p.nr_nodes && !access(status, F_OK))
		err = read_file(&p, status);
	if (!err) {
		resolve(&p, edges);
		if (!edges->nr_edges)
			err = fail(RUN_BAD_INPUT,
				   "no package lists in %s, and none installed in %s: run "
				   "'apt-get update', or give an edge list with --input FILE",
				   lists, status);
	}
	if (!err) {
		take_names(&p, edges);
		edges->nr_files = p.nr_files;
		edges_finish(edges);
	} else {
		edges_free(edges);
	}
	packages_free(&p);
	free(lists);
	free(status);
	return err;
}
