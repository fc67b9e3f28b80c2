// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What `gmem check` has found, for people and for programs.
 *
 * A thing that is there is one line. One that is not has two more: what goes without it, and
 * the command, which is the last on its line so that it can be copied.
 */
#include <string.h>

#include <jansson.h>

#include "check.h"

static const struct {
	const char *mark; /* for people */
	const char *name; /* for programs */
	const char *color;
} states[CHECK_NR_STATES] = {
	[CHECK_OK] = { "ok", "ok", "\033[32m" },
	[CHECK_NOTE] = { "-", "note", "\033[2m" },
	[CHECK_WARN] = { "warn", "warn", "\033[33m" },
	[CHECK_FAIL] = { "FAIL", "fail", "\033[31m" },
};

static unsigned int missing(const struct check *c)
{
	unsigned int i, nr = 0;

	for (i = 0; i < c->nr; i++)
		nr += c->items[i].state == CHECK_WARN || c->items[i].state == CHECK_FAIL;
	return nr;
}

/* In lines of 78 columns, all but the first indented. */
static void wrap(FILE *out, const char *text)
{
	size_t column = 24, len;

	while (*text) {
		len = strcspn(text, " ");
		if (column > 24 && column + 1 + len > 78) {
			fprintf(out, "\n%24s", "");
			column = 24;
		} else if (column > 24) {
			fputc(' ', out);
			column++;
		}
		fprintf(out, "%.*s", (int)len, text);
		column += len;
		text += len + strspn(text + len, " ");
	}
	fputc('\n', out);
}

static void print_item(const struct check_item *item, FILE *out, bool color, bool root)
{
	fprintf(out, "  %s%-4s%s  %-14s  %s\n", color ? states[item->state].color : "",
		states[item->state].mark, color ? "\033[0m" : "", item->name, item->found);
	if (*item->without) {
		fprintf(out, "%24s", "");
		wrap(out, item->without);
	}
	if (*item->mend)
		fprintf(out, "%24s%s%s\n", "",
			item->root && !root ? "as root: " : "mend it: ", item->mend);
}

static void print_verdict(const struct check *c, FILE *out)
{
	unsigned int nr = missing(c);

	if (c->status == 2)
		fprintf(out, "\nNot ready: gmem does not work here.\n");
	else if (c->status == 1)
		fprintf(out, "\nWorks, on the %s host; %u thing%s to mend.\n", c->host, nr,
			nr == 1 ? "" : "s");
	else
		fprintf(out, "\nReady, on the %s host.\n", c->host);
}

int check_print(const struct check *c, FILE *out, bool color, bool root)
{
	const char *group = "";
	unsigned int i;

	for (i = 0; i < c->nr; i++) {
		if (strcmp(group, c->items[i].group)) {
			group = c->items[i].group;
			fprintf(out, "%s\n", group);
		}
		print_item(&c->items[i], out, color, root);
	}
	print_verdict(c, out);
	return fflush(out) || ferror(out) ? -1 : 0;
}

static json_t *item_json(const struct check_item *item)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s*, s:s*, s:b}", "group", item->group, "name",
			 item->name, "state", states[item->state].name, "found", item->found,
			 "without", *item->without ? item->without : NULL, "mend",
			 *item->mend ? item->mend : NULL, "root", item->root);
}

int check_print_json(const struct check *c, FILE *out)
{
	static const char *const status[] = { "ready", "works", "unusable" };
	json_t *items = json_array(), *root;
	unsigned int i;
	int err = 0;

	for (i = 0; i < c->nr; i++)
		err |= json_array_append_new(items, item_json(&c->items[i]));
	root = json_pack("{s:s, s:s, s:s*, s:b, s:b, s:i, s:o}", "version", GMEM_VERSION, "status",
			 status[c->status], "host", c->host, "user_host", c->user, "kernel_host",
			 c->kernel, "missing", (int)missing(c), "checks", items);
	if (!root)
		return -1;
	err |= json_dumpf(root, out, JSON_INDENT(2));
	json_decref(root);
	return err || fputc('\n', out) == EOF || fflush(out) ? -1 : 0;
}
