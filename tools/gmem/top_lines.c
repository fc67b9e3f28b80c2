// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What `gmem top` shows, as lines: hnodes and how full they are, processes and their rates, and the
 * memory that is hottest. The same for the terminal and for -b.
 *
 * Rates are of a process's own clock, between its last two answers.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gmem/gmem.h>

#include "top.h"
#include "util.h"

#define BAR 24
#define HOT_LINES 16U

struct page {
	struct top_line *line;
	size_t nr;
};

__attribute__((format(printf, 3, 4))) static struct top_line *
add(struct page *page, enum top_style style, const char *fmt, ...)
{
	struct top_line *line;
	va_list ap;

	page->line = xrealloc(page->line, page->nr + 1, sizeof(*page->line));
	line = &page->line[page->nr++];
	memset(line, 0, sizeof(*line));
	line->style = style;
	va_start(ap, fmt);
	vsnprintf(line->s, sizeof(line->s), fmt, ap);
	va_end(ap);
	return line;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "?";
}

/* Seconds between the two answers; 0: there are not two. */
static double seconds_of(const struct top_process *p)
{
	return p->before && p->now ? (double)(live_number(p->now, "time_ns") -
					      live_number(p->before, "time_ns")) *
					     1e-9
				   : 0;
}

static double rate(const struct top_process *p, const char *key)
{
	double seconds = seconds_of(p);
	json_int_t now = live_number(json_object_get(p->now, "total"), key);

	if (seconds <= 0)
		return 0;
	return (double)(now - live_number(json_object_get(p->before, "total"), key)) / seconds;
}

/* ----------------------------------------------------------------------------- hnodes */

static void add_hnode(struct page *page, const json_t *d, const char *whose)
{
	json_int_t total = live_number(d, "total"), used = total - live_number(d, "free");
	double part = total ? (double)used / (double)total : 0;
	char bar[BAR + 1];
	struct top_line *line;
	int n = (int)(part * BAR + 0.5);

	memset(bar, ' ', BAR);
	memset(bar, '|', (size_t)n);
	bar[BAR] = '\0';
	line = add(page, TOP_BAR, "%5lld  %-16.16s %-22.22s [%s] %5.1f%% of %-9s %9s %s",
		   (long long)live_number(d, "hnode"), text_of(d, "name"), whose, bar, part * 100,
		   size_text((uint64_t)total).s, size_text((uint64_t)live_number(d, "pinned")).s,
		   text_of(d, "policy"));
	line->bar_from = 48;
	line->bar_to = 48 + n;
	line->full = part >= 0.9;
}

static void add_hnodes(struct page *page, const struct top *t)
{
	bool kernel = false; /* the machine's devices are the same for all who are asked */
	char whose[64];
	size_t i;
	json_t *d;

	add(page, TOP_HEAD, "%5s  %-16s %-22s %-*s %17s %9s %s", "HNODE", "DEVICE", "OF", BAR + 2,
	    " USED", "", "PINNED", "POLICY");
	for (size_t j = 0; j < t->nr; j++) {
		const struct top_process *p = &t->process[j];
		bool machine = !strcmp(text_of(p->now, "host"), "kernel");

		if (!p->now || (machine && kernel))
			continue;
		kernel |= machine;
		snprintf(whose, sizeof(whose), "%d %s", (int)p->pid, text_of(p->now, "program"));
		json_array_foreach(json_object_get(p->now, "devices"), i,
				   d) if (!json_is_true(json_object_get(d, "ended")))
			add_hnode(page, d, machine ? "the machine" : whose);
	}
}

/* -------------------------------------------------------------------------- processes */

static int busier(const void *a, const void *b)
{
	const struct top_process *const *x = a, *const *y = b;
	double i = rate(*x, "bytes_to_dev") + rate(*x, "bytes_to_host");
	double j = rate(*y, "bytes_to_dev") + rate(*y, "bytes_to_host");

	if (i < j || i > j)
		return i < j ? 1 : -1;
	return ((*x)->pid > (*y)->pid) - ((*x)->pid < (*y)->pid);
}

static void add_process(struct page *page, const struct top_process *p)
{
	if (!p->now) {
		add(page, TOP_PLAIN, "%7d  %-16s does not answer", (int)p->pid, "?");
		return;
	}
	add(page, TOP_PLAIN, "%7d  %-16.16s %-6s %10.0f %10.0f %11s %11s %9.0f %9.0f%s",
	    (int)p->pid, text_of(p->now, "program"), text_of(p->now, "host"), rate(p, "cpu_faults"),
	    rate(p, "dev_faults"), size_text((uint64_t)rate(p, "bytes_to_dev")).s,
	    size_text((uint64_t)rate(p, "bytes_to_host")).s, rate(p, "evictions"),
	    rate(p, "thrashes"), p->mute ? " does not answer" : "");
}

static void add_processes(struct page *page, const struct top *t)
{
	const struct top_process **sorted = xrealloc(NULL, t->nr, sizeof(*sorted));

	for (size_t i = 0; i < t->nr; i++)
		sorted[i] = &t->process[i];
	qsort(sorted, t->nr, sizeof(*sorted), busier);
	add(page, TOP_HEAD, "%7s  %-16s %-6s %10s %10s %11s %11s %9s %9s", "PID", "PROGRAM", "HOST",
	    "CPU FLT/S", "DEV FLT/S", "TO DEV/S", "TO HOST/S", "EVICT/S", "THRASH/S");
	for (size_t i = 0; i < t->nr; i++)
		add_process(page, sorted[i]);
	free(sorted);
}

/* ------------------------------------------------------------------------ what is hot */

struct hot {
	const struct top_process *p;
	const json_t *range;
	double faults, to_dev, to_host, evictions;
};

static double weight(const struct hot *h)
{
	return h->faults + (h->to_dev + h->to_host) / (double)GM_PAGE_SIZE;
}

static int hotter(const void *a, const void *b)
{
	double x = weight(a), y = weight(b);

	return (x < y) - (x > y);
}

static void add_hot(struct page *page, const struct top *t)
{
	struct hot *hot = NULL;
	json_int_t lost = 0;
	size_t n = 0, i;
	json_t *r;

	for (size_t j = 0; j < t->nr; j++) {
		const struct top_process *p = &t->process[j];
		double seconds = seconds_of(p);

		lost += live_number(p->hot, "lost");
		if (seconds <= 0)
			continue;
		json_array_foreach(json_object_get(p->hot, "hot"), i, r)
		{
			hot = xrealloc(hot, n + 1, sizeof(*hot));
			hot[n++] = (struct hot){
				.p = p,
				.range = r,
				.faults = (double)live_number(r, "faults") / seconds,
				.to_dev = (double)live_number(r, "bytes_to_dev") / seconds,
				.to_host = (double)live_number(r, "bytes_to_host") / seconds,
				.evictions = (double)live_number(r, "evictions") / seconds,
			};
		}
	}
	if (n)
		qsort(hot, n, sizeof(*hot), hotter);
	add(page, TOP_HEAD, "%7s  %-16s %-17s %10s %11s %11s %9s", "PID", "PROGRAM",
	    "HOTTEST (2 MiB)", "FAULTS/S", "TO DEV/S", "TO HOST/S", "EVICT/S");
	for (i = 0; i < n && i < HOT_LINES; i++)
		add(page, TOP_PLAIN, "%7d  %-16.16s %#-17llx %10.0f %11s %11s %9.0f",
		    (int)hot[i].p->pid, text_of(hot[i].p->now, "program"),
		    (unsigned long long)live_number(hot[i].range, "addr"), hot[i].faults,
		    size_text((uint64_t)hot[i].to_dev).s, size_text((uint64_t)hot[i].to_host).s,
		    hot[i].evictions);
	if (lost)
		add(page, TOP_PLAIN, "         %s events were lost: there were too many in between",
		    count_text((uint64_t)lost).s);
	free(hot);
}

size_t top_lines(const struct top *t, struct top_line **lines)
{
	struct page page = { .line = NULL };
	time_t now = time(NULL);
	struct tm tm;
	char clock[16] = "";

	if (localtime_r(&now, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	add(&page, TOP_TITLE, "gmem top - %s, %zu process%s", clock, t->nr, t->nr == 1 ? "" : "es");
	if (!t->nr)
		add(&page, TOP_PLAIN,
		    "no process that uses gmem, or none that this user may look at");
	add(&page, TOP_PLAIN, "%s", "");
	add_hnodes(&page, t);
	add(&page, TOP_PLAIN, "%s", "");
	add_processes(&page, t);
	add(&page, TOP_PLAIN, "%s", "");
	add_hot(&page, t);
	*lines = page.line;
	return page.nr;
}
