// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem top` in a terminal, by ncurses: the lines of top_lines.c, cut to the screen, again after each
 * interval and when the size has changed. A blank asks for the next at once; q, Escape and Ctrl-C quit.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <curses.h>

#include "top.h"
#include "util.h"

static volatile sig_atomic_t quit;

static void on_signal(int sig)
{
	(void)sig;
	quit = 1;
}

static void draw_line(int row, int width, const struct top_line *line)
{
	static const chtype looks[] = { [TOP_PLAIN] = A_NORMAL,
					[TOP_TITLE] = A_BOLD,
					[TOP_HEAD] = A_REVERSE,
					[TOP_BAR] = A_NORMAL };
	int len = (int)strlen(line->s);

	attrset((int)looks[line->style]);
	mvaddnstr(row, 0, line->s, width);
	if (line->style == TOP_HEAD)
		for (int i = len; i < width; i++)
			addch(' ');
	if (line->style == TOP_BAR && line->bar_from < width)
		mvchgat(row, line->bar_from, line->bar_to - line->bar_from, A_BOLD,
			line->full ? 2 : 1, NULL);
}

static void draw(const struct top *t)
{
	struct top_line *lines;
	size_t n = top_lines(t, &lines);
	int rows, columns;

	getmaxyx(stdscr, rows, columns);
	erase();
	for (size_t i = 0; i < n && (int)i < rows; i++)
		draw_line((int)i, columns, &lines[i]);
	refresh();
	free(lines);
}

/* Until it is time for the next, or enough. */
static void wait_for(const struct top *t, double until)
{
	for (;;) {
		double left = until - seconds_now();
		int c;

		if (quit || left <= 0)
			return;
		timeout((int)(left * 1e3) + 1);
		c = getch();
		if (c == 'q' || c == 27 || c == 3)
			quit = 1;
		else if (c == ' ')
			return;
		else if (c == KEY_RESIZE)
			draw(t);
	}
}

int top_screen(struct top *t, uint64_t n)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);
	double next;

	if (!screen)
		return fail(RUN_FAILED, "this terminal cannot be used (TERM=%s): try -b",
			    getenv("TERM") ?: "");
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	set_escdelay(50);
	if (has_colors()) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_GREEN, -1);
		init_pair(2, COLOR_RED, -1);
	}
	next = seconds_now();
	for (uint64_t i = 0; !quit && (!n || i <= n); i++) {
		top_look(t);
		draw(t);
		next = next + t->delay > seconds_now() ? next + t->delay : seconds_now();
		if (!n || i < n)
			wait_for(t, next);
	}
	endwin();
	delscreen(screen);
	return RUN_OK;
}
