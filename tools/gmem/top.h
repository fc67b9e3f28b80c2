/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem top`: what all processes did in an interval, as lines. */
#ifndef GMEM_TOOL_TOP_H
#define GMEM_TOOL_TOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "live.h"

struct top_process {
	pid_t pid;
	struct live live;
	json_t *before, *now; /* answers to "stats"; NULL: none yet */
	json_t *hot;	      /* to "hot", of the same interval */
	bool mute;	      /* it does not answer */
	bool found;	      /* by the last look around */
};

struct top {
	pid_t only; /* 0: all */
	double delay;
	struct top_process *process;
	size_t nr;
};

/* top_look.c: look around, and ask all that there are. */
void top_look(struct top *t);
void top_end(struct top *t);

enum top_style { TOP_PLAIN, TOP_TITLE, TOP_HEAD, TOP_BAR };

/* One line of the screen. */
struct top_line {
	char s[256];
	enum top_style style;
	int bar_from, bar_to; /* of TOP_BAR: columns of what is used */
	bool full;	      /* nearly */
};

/* top_lines.c: all of them, xrealloc()ed. */
size_t top_lines(const struct top *t, struct top_line **lines);

/* top_screen.c: live in the terminal, @n times, 0: until q. RUN_*. */
int top_screen(struct top *t, uint64_t n);

#endif
