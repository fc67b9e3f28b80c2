// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem top` in a terminal, by ncurses: the lines of top_lines.c, cut to the screen, again after each
 * interval and when the size has changed. A blank asks for the next at once; q, Escape and Ctrl-C quit.
 *
 * Signals arrive while it waits for keys, and at no other time: one that came just before would go
 * unnoticed until the next key.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Signals of ours, and SIGWINCH, which is ncurses'. */
static void block_signals(sigset_t *before)
{
	static const int ours[] = { SIGINT, SIGTERM, SIGHUP };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		signal(ours[i], on_signal);
		sigaddset(&set, ours[i]);
	}
	sigprocmask(SIG_BLOCK, &set, before);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		sigdelset(before, ours[i]);
	sigdelset(before, SIGWINCH);
}

/* Until it is time for the next, or enough. @open: what is blocked while it waits. */
static void wait_for(const struct top *t, double until, const sigset_t *open)
{
	struct pollfd fd = { .fd = STDIN_FILENO, .events = POLLIN };

	for (;;) {
		double left = until - seconds_now();
		struct timespec time = { .tv_sec = (time_t)left };
		int c = getch();

		if (c == 'q' || c == 27 || c == 3)
			quit = 1;
		if (quit || left <= 0 || c == ' ')
			return;
		if (c == KEY_RESIZE)
			draw(t);
		if (c != ERR)
			continue;
		time.tv_nsec = (long)((left - (double)time.tv_sec) * 1e9);
		if (ppoll(&fd, 1, &time, open) > 0 && fd.revents & (POLLHUP | POLLERR))
			quit = 1; /* the terminal is gone */
	}
}

int top_screen(struct top *t, uint64_t n)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);
	sigset_t open;
	double next;

	if (!screen)
		return fail(RUN_FAILED, "this terminal cannot be used (TERM=%s): try -b",
			    getenv("TERM") ?: "");
	block_signals(&open);
	cbreak();
	timeout(0);
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
			wait_for(t, next, &open);
	}
	endwin();
	delscreen(screen);
	return RUN_OK;
}
