/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What every part of the command needs: exit statuses, messages, sizes, numbers. */
#ifndef GMEM_TOOL_UTIL_H
#define GMEM_TOOL_UTIL_H

#include <argp.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses; functions that can fail return one of them and have printed why. */
enum {
	RUN_OK,
	RUN_FAILED,    /* a result is wrong, or something broke while running */
	RUN_BAD_INPUT, /* misuse, or a file that cannot be used */
};

/* Print one line, "gmem: ...", to stderr; returns @status. */
__attribute__((format(printf, 2, 3))) int fail(int status, const char *fmt, ...);

/* Memory or a message and exit status 1: there is nothing else this command could do. */
void *xrealloc(void *p, size_t n, size_t size);
char *xstrndup(const char *s, size_t len);

/* "64M" and the like (K, M, G, T: powers of 1024) to bytes; 0 or -1. */
int size_parse(const char *s, uint64_t *bytes);
/* "1234" to a number in [min, max]; 0 or -1. */
int number_parse(const char *s, uint64_t min, uint64_t max, uint64_t *value);

/* Say what is wrong and return what makes argp_parse() stop. */
#define USAGE(...) (fail(RUN_BAD_INPUT, __VA_ARGS__), ECANCELED)

/*
 * argp_parse() into @line, with messages of our own. Of @line are @mistake, which the parser sets where
 * it stops (option_mistake()), and @help. True: go on. False: *@status is what to exit with; help
 * was printed, and that is 0, or what is wrong was said, and it stays as it was.
 */
bool line_parse(const struct argp *argp, unsigned int flags, const char *name, int argc,
		char **argv, void *line, const char *const *mistake, const bool *help, int *status);

/*
 * The option at which argp stopped, for a message: @next is its state's. Among several
 * letters behind one dash it does not tell which; then this does not name one.
 */
const char *option_mistake(int argc, char **argv, int next);

struct text {
	char s[32];
};
struct text size_text(uint64_t bytes);	/* "12.3 MiB" */
struct text time_text(double seconds);	/* "12.3 ms" */
struct text count_text(uint64_t count); /* "1,234,567" */

double seconds_now(void);

/* A number that looks random, the same for the same @seed and @n (the mixer of splitmix64). */
static inline uint64_t random_at(uint64_t seed, uint64_t n)
{
	uint64_t x = seed + (n + 1) * 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* The same as a number in [-1, 1). */
static inline double random_double_at(uint64_t seed, uint64_t n)
{
	return (double)(int64_t)(random_at(seed, n) >> 11) * 0x1p-52 - 1.0;
}

#endif
