// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What commands that draw have in common: the terminal's width and colors, and files of pictures. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "picture.h"
#include "util.h"

#define DEFAULT_WIDTH 80U

/* -------------------------------------------------------------------------- terminal */

unsigned int picture_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	uint64_t v;

	if (columns && !number_parse(columns, PICTURE_MIN_WIDTH, PICTURE_MAX_WIDTH, &v))
		return (unsigned int)v;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col >= PICTURE_MIN_WIDTH)
		return size.ws_col < PICTURE_MAX_WIDTH ? size.ws_col : PICTURE_MAX_WIDTH;
	return DEFAULT_WIDTH;
}

/* https://no-color.org has the variable. */
bool picture_color(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) && term && *term && strcmp(term, "dumb");
}

/* The locale is asked for, and not made the program's: numbers are to look as they do. */
bool picture_blocks(void)
{
	locale_t locale = picture_color() ? newlocale(LC_CTYPE_MASK, "", NULL) : NULL;
	bool utf8;

	if (!locale)
		return false;
	utf8 = !strcmp(nl_langinfo_l(CODESET, locale), "UTF-8");
	freelocale(locale);
	return utf8;
}

/* ----------------------------------------------------------------------------- files */

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && !strcmp(s + n - m, end);
}

bool picture_name_ok(const char *path)
{
	return ends_in(path, ".svg") || ends_in(path, ".png");
}

static int write_svg(const char *path, int (*draw)(const void *, FILE *), const void *what)
{
	FILE *out = fopen(path, "we");
	int err;

	if (!out)
		return fail(RUN_FAILED, "cannot write %s: %s", path, strerror(errno));
	err = draw(what, out);
	if (fclose(out) || err)
		return fail(RUN_FAILED, "cannot write %s: %s", path, strerror(errno));
	return RUN_OK;
}

/* By librsvg's command, from a file of our own: it is the only one that has to know of pixels. */
static int write_png(const char *path, int (*draw)(const void *, FILE *), const void *what)
{
	char svg[] = "/tmp/gmem-picture-XXXXXX", program[] = "rsvg-convert", zoom[] = "--zoom=2";
	char *out = xstrndup(path, strlen(path)), o[] = "-o";
	char *argv[] = { program, zoom, o, out, svg, NULL };
	int fd = mkstemp(svg), err, status = 0;
	pid_t pid;

	if (fd < 0) {
		free(out);
		return fail(RUN_FAILED, "cannot make a file in /tmp: %s", strerror(errno));
	}
	close(fd);
	err = write_svg(svg, draw, what);
	if (!err) {
		err = posix_spawnp(&pid, program, NULL, NULL, argv, environ);
		if (err)
			err = fail(RUN_FAILED,
				   "a PNG takes rsvg-convert, which cannot be run (%s): apt-get "
				   "install librsvg2-bin, or give the name of an .svg",
				   strerror(err));
		else if (waitpid(pid, &status, 0) != pid || status)
			err = fail(RUN_FAILED, "rsvg-convert could not write %s", path);
	}
	unlink(svg);
	free(out);
	return err;
}

int picture_write(const char *path, int (*draw)(const void *what, FILE *out), const void *what)
{
	return ends_in(path, ".png") ? write_png(path, draw, what) : write_svg(path, draw, what);
}
