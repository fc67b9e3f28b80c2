// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Traces in Chrome's format: an array of objects, or an object with such an array in
 * "traceEvents". One event is in memory at a time. The format allows that the bracket at the end is
 * missing; an event that is cut off is something else.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "trace.h"
#include "util.h"

/* The next character that is no space, or EOF. */
static int next(FILE *f)
{
	int c;

	do
		c = getc_unlocked(f);
	while (c == ' ' || c == '\n' || c == '\r' || c == '\t');
	return c;
}

/* To the array in an object, of which "traceEvents" must be the first member. */
static int enter(FILE *f)
{
	static const char member[] = "\"traceEvents\":";
	int c = next(f);

	if (c != '{')
		return c;
	for (const char *m = member; *m; m++)
		if (next(f) != *m)
			return EOF;
	return next(f);
}

static int read_events(const char *path, FILE *f, int (*fn)(void *, const json_t *), void *data)
{
	uint64_t n = 0;
	json_error_t why;
	json_t *event;
	int c, err = RUN_OK;

	if (enter(f) != '[')
		return fail(RUN_BAD_INPUT,
			    "%s: not a trace: no array of JSON, as 'gmem trace' makes", path);
	for (c = next(f); c != ']' && c != EOF; c = next(f), n++) {
		if (c == ',' && n)
			c = next(f);
		if (c == EOF || c == ']')
			break;
		ungetc(c, f);
		event = c == '{' ? json_loadf(f, JSON_DISABLE_EOF_CHECK, &why) : NULL;
		if (!event && feof(f))
			return fail(RUN_BAD_INPUT, "%s: cut off in the middle of event %" PRIu64,
				    path, n + 1);
		if (!event)
			return fail(RUN_BAD_INPUT, "%s: damaged: event %" PRIu64 " is no JSON",
				    path, n + 1);
		err = fn(data, event);
		json_decref(event);
		if (err)
			return err;
	}
	if (ferror(f))
		return fail(RUN_BAD_INPUT, "cannot read %s: %s", path, strerror(errno));
	return RUN_OK;
}

int trace_read(const char *path, int (*fn)(void *data, const json_t *event), void *data)
{
	FILE *f = fopen(path, "re");
	int err;

	if (!f)
		return fail(RUN_BAD_INPUT, "cannot read %s: %s", path, strerror(errno));
	err = read_events(path, f, fn, data);
	fclose(f);
	return err;
}
