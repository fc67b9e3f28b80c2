/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A text file, plain or compressed, line by line. */
#ifndef GMEM_TOOL_INPUT_H
#define GMEM_TOOL_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input;

/* @expected: what the file should be, for messages. All but input_close() return RUN_*. */
int input_open(const char *path, const char *expected, struct input **in);
void input_close(struct input *in);

/*
 * The next line, without its end; valid until the next call. *line is NULL at the end
 * of the file.
 */
int input_line(struct input *in, char **line, size_t *len);

/* Complain about the line that was read last; returns RUN_BAD_INPUT. */
int input_bad_line(const struct input *in, const char *what);

#endif
