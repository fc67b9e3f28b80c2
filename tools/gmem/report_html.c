// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem report`: one page of HTML of a trace, with all that it needs in it.
 *
 * The page is report_html.page, which is part of this program, with the figures as JSON in one place.
 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_html.h"
#include "report_html_page.h"
#include "trace.h"
#include "util.h"

#define MARK "@DATA@"

enum key {
	KEY_JSON = 256,
};

static const struct argp_option options[] = {
	{ "output", 'o', "FILE", 0,
	  "Where the page goes; -: standard output; default: the trace's name, with .html", 1 },
	{ "json", KEY_JSON, NULL, 0, "Print what the page shows as one JSON object, and no page",
	  2 },
	{ "help", 'h', NULL, 0, "Print this help", 3 },
	{ 0 },
};

static const char doc[] =
	"Make one page of HTML of a trace of 'gmem trace': what happened when, which ranges "
	"faulted "
	"how often, bandwidth over time, thrashing, and what hints would have saved."
	"\v"
	"Examples:\n"
	"  gmem trace -o app.json -- ./app     a trace\n"
	"  gmem report app.json                app.html, for any browser\n"
	"  gmem report app.json --json | jq -r '.advice[] | .hint + \" \" + .gain'\n"
	"                                      nothing but the advice\n"
	"\n"
	"Exit status: 0 all is well; 1 the page cannot be written; 2 misuse, or a file that is no "
	"trace, "
	"or is cut off.";

struct line {
	const char *trace, *output, *mistake;
	bool json, help, several;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;

	switch (key) {
	case 'o':
		line->output = arg;
		return 0;
	case KEY_JSON:
		line->json = true;
		return 0;
	case 'h':
		line->help = true;
		return 0;
	case ARGP_KEY_ARG:
		line->several = line->trace != NULL;
		line->trace = arg;
		return 0;
	case ARGP_KEY_ERROR:
		line->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* "dir/app.json" to "dir/app.html", the caller's. */
static char *html_name(const char *trace)
{
	size_t len = strlen(trace);
	char *name;

	if (len > 5 && !strcmp(trace + len - 5, ".json"))
		len -= 5;
	name = xrealloc(NULL, len + sizeof(".html"), 1);
	memcpy(name, trace, len);
	strcpy(name + len, ".html");
	return name;
}

static int write_page(json_t *data, FILE *out)
{
	const char *mark = strstr(report_page, MARK);

	/* A "</script>" in a name would end the JSON. */
	return fwrite(report_page, 1, (size_t)(mark - report_page), out) !=
				       (size_t)(mark - report_page) ||
			       json_dumpf(data, out, JSON_COMPACT | JSON_ESCAPE_SLASH) ||
			       fputs(mark + strlen(MARK), out) == EOF
		       ? -1
		       : 0;
}

static int write_to(json_t *data, const char *path)
{
	FILE *out = strcmp(path, "-") ? fopen(path, "we") : stdout;
	int err;

	if (!out)
		return fail(RUN_FAILED, "cannot write %s: %s", path, strerror(errno));
	err = write_page(data, out) | (out == stdout ? fflush(out) : fclose(out));
	if (err)
		return fail(RUN_FAILED, "cannot write %s: %s", path, strerror(errno));
	if (out != stdout)
		fprintf(stderr, "gmem: %s: a page of %zu events is ready; open it in a browser\n",
			path,
			(size_t)json_integer_value(
				json_object_get(json_object_get(data, "totals"), "events")));
	return RUN_OK;
}

static int make(const struct line *line)
{
	struct report r = { .file = line->trace };
	json_t *data = NULL;
	char *path = NULL;
	int err = report_load(&r, line->trace);

	if (err)
		goto out;
	data = report_json(&r);
	if (!data) {
		err = fail(RUN_BAD_INPUT, "%s: a name in it is no UTF-8", line->trace);
	} else if (line->json) {
		if (json_dumpf(data, stdout, JSON_INDENT(1)) || puts("") == EOF || fflush(stdout))
			err = fail(RUN_FAILED, "cannot write the result");
	} else {
		path = line->output ? xstrndup(line->output, strlen(line->output))
				    : html_name(line->trace);
		err = write_to(data, path);
	}
out:
	json_decref(data);
	free(path);
	report_free(&r);
	return err;
}

int report_main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "FILE",
		.doc = doc,
	};
	struct line line = { 0 };
	int status = RUN_BAD_INPUT;

	if (!line_parse(&argp, 0, "gmem report", argc, argv, &line, &line.mistake, &line.help,
			&status))
		return status;
	if (!line.trace || line.several)
		return fail(RUN_BAD_INPUT,
			    "give one trace, of 'gmem trace'; see 'gmem report --help'");
	if (line.json && line.output)
		return fail(RUN_BAD_INPUT, "--json and -o exclude each other: give one");
	return make(&line);
}
