// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Messages, sizes and numbers.
 *
 * Messages are one line each and go to stderr, after the progress line, if there is
 * one, has been wiped.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "progress.h"
#include "util.h"

int fail(int status, const char *fmt, ...)
{
	va_list ap;

	progress_stop();
	fputs("gmem: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

void *xrealloc(void *p, size_t n, size_t size)
{
	void *q = reallocarray(p, n ? n : 1, size);

	if (!q)
		exit(fail(RUN_FAILED, "out of memory (%zu elements of %zu bytes)", n, size));
	return q;
}

char *xstrndup(const char *s, size_t len)
{
	char *copy = xrealloc(NULL, len + 1, 1);

	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

int number_parse(const char *s, uint64_t min, uint64_t max, uint64_t *value)
{
	unsigned long long v;
	char *end;

	if (*s < '0' || *s > '9')
		return -1;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno || *end || v < min || v > max)
		return -1;
	*value = v;
	return 0;
}

int size_parse(const char *s, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	unsigned int shift = 0;
	unsigned long long v;
	const char *suffix;
	char *end;

	if (*s < '0' || *s > '9')
		return -1;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno)
		return -1;
	if (*end) {
		suffix = strchr(suffixes, *end >= 'a' ? *end - 'a' + 'A' : *end);
		if (!suffix)
			return -1;
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
		end++;
		/* "64MiB" and "64MB" are what people write for it. */
		if (!strcmp(end, "iB") || !strcmp(end, "B"))
			end += strlen(end);
	}
	if (*end || v > UINT64_MAX >> shift)
		return -1;
	*bytes = v << shift;
	return 0;
}

const char *option_mistake(int argc, char **argv, int next)
{
	const char *s = next < argc ? argv[next] : "";

	if (s[0] == '-' && s[1] && s[1] != '-' && s[2])
		return "the command line";
	return next > 1 ? argv[next - 1] : "the command line";
}

struct text size_text(uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)bytes;
	unsigned int unit = 0;
	struct text t;

	while (v >= 1024 && unit < 6) {
		v /= 1024;
		unit++;
	}
	snprintf(t.s, sizeof(t.s), unit && v < 100 ? "%.1f %s" : "%.0f %s", v, units[unit]);
	return t;
}

struct text time_text(double seconds)
{
	struct text t;

	if (seconds >= 1)
		snprintf(t.s, sizeof(t.s), "%.2f s", seconds);
	else
		snprintf(t.s, sizeof(t.s), "%.1f ms", seconds * 1e3);
	return t;
}

struct text count_text(uint64_t count)
{
	char digits[24];
	struct text t;
	size_t out = 0;
	int n, i;

	n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
	for (i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			t.s[out++] = ',';
		t.s[out++] = digits[i];
	}
	t.s[out] = '\0';
	return t;
}

double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

bool line_parse(const struct argp *argp, unsigned int flags, const char *name, int argc,
		char **argv, void *line, const char *const *mistake, const bool *help, int *status)
{
	/* argp says two lines about a mistake; one is enough. */
	error_t err = argp_parse(argp, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | flags, NULL, line);
	char title[64];

	if (err == ECANCELED) /* the parser has said why */
		return false;
	if (err) {
		fail(*status, "%s: unknown option, or its argument is missing; see '%s --help'",
		     *mistake, name);
		return false;
	}
	if (!*help)
		return true;
	snprintf(title, sizeof(title), "%s", name);
	argp_help(argp, stdout, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK, title);
	*status = RUN_OK;
	return false;
}
