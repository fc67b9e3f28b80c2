/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What commands that draw have in common: the terminal's width and colors, and files of pictures. */
#ifndef GMEM_TOOL_PICTURE_H
#define GMEM_TOOL_PICTURE_H

#include <stdbool.h>
#include <stdio.h>

#define PICTURE_MIN_WIDTH 20U
#define PICTURE_MAX_WIDTH 1024U

/* Of text on standard output: the user's COLUMNS, or the terminal's, or 80. */
unsigned int picture_width(void);
/* Standard output is a terminal that has colors, and the user has nothing against them. */
bool picture_color(void);
/* It also shows the block elements of Unicode. */
bool picture_blocks(void);

/* Is it the name of a file that picture_write() can write? */
bool picture_name_ok(const char *path);
/*
 * Write what @draw makes of @what, SVG, to @path, as it is or, by rsvg-convert, as PNG. @draw
 * returns 0, or -1 if it cannot write. RUN_*, with a message.
 */
int picture_write(const char *path, int (*draw)(const void *what, FILE *out), const void *what);

#endif
