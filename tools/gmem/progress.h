/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What is going on, said on stderr while it goes on. The command has one progress line. */
#ifndef GMEM_TOOL_PROGRESS_H
#define GMEM_TOOL_PROGRESS_H

#include <stdint.h>

struct gm_as;

void progress_start(void); /* not called: nothing is ever printed (--quiet) */
void progress_stop(void);  /* wipe the line and end; harmless where nothing was started */

/* Begin something that takes @total steps (0: not known); @what is a string constant. */
void progress_phase(const char *what, uint64_t total);
/* Some steps are done; from any thread, lanes of the accelerator too. */
void progress_add(uint64_t steps);
/* This is pass @n of @of. */
void progress_pass(uint64_t n, uint64_t of);
/* Show the faults of this address space (NULL: of none). */
void progress_watch(struct gm_as *as);

#endif
