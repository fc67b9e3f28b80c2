/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem run`: a program with its heap in managed memory. */
#ifndef GMEM_TOOL_RUN_H
#define GMEM_TOOL_RUN_H

#include <stddef.h>

/* As env(1), timeout(1) and others have it: what is not the program's own. */
enum {
	RUN_NOT_BY_GMEM = 125,	/* misuse, or gmem cannot do what was asked for */
	RUN_NOT_RUNNABLE = 126, /* it is there, but cannot be run, or not by gmem */
	RUN_NO_SUCH_FILE = 127,
};

/*
 * Which file a name is, by the PATH that there is: into @path. 0, or an exit status and a message,
 * if there is none, or nothing can be preloaded into it.
 */
int run_target(const char *name, char *path, size_t size);

int run_main(int argc, char **argv); /* returns the exit status */

#endif
