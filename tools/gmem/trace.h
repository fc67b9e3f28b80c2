/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem trace`, `gmem report`: traces of what happens to memory, and what is made of them. */
#ifndef GMEM_TOOL_TRACE_H
#define GMEM_TOOL_TRACE_H

#include <stdint.h>

#include <jansson.h>

/*
 * Each event of a trace, in the order of the file, until @fn returns something else than RUN_OK,
 * which is then returned; RUN_BAD_INPUT, with a message: it cannot be read, or is cut off within
 * an event, or is no trace.
 */
int trace_read(const char *path, int (*fn)(void *data, const json_t *event), void *data);

int trace_main(int argc, char **argv);	/* returns the exit status */
int report_main(int argc, char **argv); /* likewise */

#endif
