// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What `gmem stat` has counted, for people and for programs.
 *
 * Counters only grow, so what is ours of a process is its last figures less those it had when we came.
 * Sums are made over the members of JSON objects, so that a counter of a newer library is in the JSON
 * without being known here.
 */
#include <stdlib.h>
#include <string.h>

#include <gmem/gmem.h>

#include "stat.h"
#include "util.h"

static json_t *part(const json_t *answer, const char *key)
{
	return json_object_get(answer, key);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "?";
}

/* What process @p has counted since we came, or since @from. */
static json_t *counted(const struct stat_process *p, const json_t *from)
{
	json_t *sum = json_object();

	live_add(sum, part(p->last, "total"), 1);
	live_add(sum, part(from, "total"), -1);
	return sum;
}

json_t *stat_total(const struct stat_run *s)
{
	json_t *sum = json_object(), *one;

	for (size_t i = 0; i < s->nr; i++) {
		one = counted(&s->process[i], s->process[i].base);
		live_add(sum, one, 1);
		json_decref(one);
	}
	return sum;
}

/* ------------------------------------------------------------------------------ devices */

/* The device of an array by its node and its name: a node may have had several, one after another. */
static json_t *find_device(json_t *devices, const json_t *like)
{
	size_t i;
	json_t *d;

	json_array_foreach(devices, i,
			   d) if (live_number(d, "hnode") == live_number(like, "hnode") &&
				  !strcmp(text_of(d, "name"), text_of(like, "name"))) return d;
	d = json_pack("{s:I, s:s, s:{}}", "hnode", live_number(like, "hnode"), "name",
		      text_of(like, "name"), "stats");
	json_array_append_new(devices, d);
	return d;
}

static void add_devices(json_t *devices, const json_t *answer, int sign)
{
	size_t i;
	json_t *d;

	json_array_foreach(part(answer, "devices"), i, d)
		live_add(part(find_device(devices, d), "stats"), part(d, "stats"), sign);
}

static json_t *devices_of(const struct stat_run *s)
{
	json_t *devices = json_array();

	for (size_t i = 0; i < s->nr; i++) {
		const struct stat_process *p = &s->process[i];
		bool seen = false;

		/* The machine's devices are the same for all: they count once. */
		for (size_t j = 0; j < i; j++)
			seen |= s->process[j].last && !strcmp(text_of(p->last, "host"), "kernel");
		if (seen)
			continue;
		add_devices(devices, p->last, 1);
		add_devices(devices, p->base, -1);
	}
	return devices;
}

/* ------------------------------------------------------------------------------- people */

struct columns {
	const char *head;
	const char *key;
	bool bytes;
};

static const struct columns columns[] = {
	{ "CPU faults", "cpu_faults", false }, { "dev faults", "dev_faults", false },
	{ "to device", "bytes_to_dev", true }, { "to host", "bytes_to_host", true },
	{ "evictions", "evictions", false },   { "thrashes", "thrashes", false },
};
#define COLUMNS (sizeof(columns) / sizeof(*columns))

static void print_columns(FILE *out, const json_t *stats)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		uint64_t value = (uint64_t)live_number(stats, columns[i].key);

		fprintf(out, " %12s", columns[i].bytes ? size_text(value).s : count_text(value).s);
	}
	fputc('\n', out);
}

static void print_heads(FILE *out)
{
	for (size_t i = 0; i < COLUMNS; i++)
		fprintf(out, " %12s", columns[i].head);
	fputc('\n', out);
}

static uint64_t number(const json_t *stats, const char *key)
{
	return (uint64_t)live_number(stats, key);
}

static void print_line(FILE *out, struct text value, const char *what)
{
	fprintf(out, "  %15s  %s\n", value.s, what);
}

/* The same, and what else there is to say of it; @fmt has one %s. */
__attribute__((format(printf, 4, 0))) static void
print_more(FILE *out, struct text value, const char *what, const char *fmt, struct text more)
{
	fprintf(out, "  %15s  %-22s ", value.s, what);
	fprintf(out, fmt, more.s);
	fputc('\n', out);
}

static struct text micros_text(uint64_t ns, uint64_t n)
{
	struct text t;

	snprintf(t.s, sizeof(t.s), "%.1f us", n ? (double)ns / 1e3 / (double)n : 0);
	return t;
}

static void print_total(FILE *out, const json_t *t)
{
	uint64_t cpu = number(t, "cpu_faults"), dev = number(t, "dev_faults");

	print_more(out, count_text(cpu), "CPU faults", "%s each",
		   micros_text(number(t, "ns_cpu_fault"), cpu));
	print_line(out, count_text(number(t, "cpu_faults_moved")), "  brought pages home");
	print_more(out, count_text(dev), "device faults", "%s each",
		   micros_text(number(t, "ns_dev_fault"), dev));
	print_line(out, count_text(number(t, "dev_faults_moved")), "  moved pages there");
	print_line(out, count_text(number(t, "fault_errors")), "faults that failed");
	print_more(out, size_text(number(t, "bytes_to_dev")), "copied to devices",
		   "%s ahead of time", size_text(number(t, "pages_prefetched") * GM_PAGE_SIZE));
	print_more(out, size_text(number(t, "bytes_to_host")), "copied to the host", "%s evicted",
		   size_text(number(t, "pages_evicted") * GM_PAGE_SIZE));
	print_line(out, size_text(number(t, "pages_peer") * GM_PAGE_SIZE), "from device to device");
	print_more(out, count_text(number(t, "evictions")), "evictions", "%s while a fault waited",
		   count_text(number(t, "evictions_direct")));
	print_more(out, count_text(number(t, "thrashes")), "thrashes", "%s faults held for it",
		   count_text(number(t, "faults_held")));
	print_line(out, time_text((double)number(t, "ns_copy") * 1e-9), "waiting for copies");
	print_line(out, time_text((double)number(t, "ns_invl") * 1e-9),
		   "waiting for invalidations");
}

static void print_devices(FILE *out, json_t *devices)
{
	size_t i;
	json_t *d;

	if (!json_array_size(devices))
		return;
	fprintf(out, "\n  %-6s %-12s", "hnode", "device");
	print_heads(out);
	json_array_foreach(devices, i, d)
	{
		fprintf(out, "  %-6lld %-12s", (long long)live_number(d, "hnode"),
			text_of(d, "name"));
		print_columns(out, part(d, "stats"));
	}
}

static size_t nr_known(const struct stat_run *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nr; i++)
		n += s->process[i].last != NULL;
	return n;
}

/* What ended in a way that let it say nothing more. */
static size_t nr_cut(const struct stat_run *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nr; i++)
		n += s->process[i].cut;
	return n;
}

static void print_text(const struct stat_run *s, double seconds)
{
	json_t *total = stat_total(s), *devices = devices_of(s);
	FILE *out = s->out;

	fprintf(out, "\n gmem stat: ");
	if (s->command)
		for (char **arg = s->command; *arg; arg++)
			fprintf(out, "%s%s", arg == s->command ? "" : " ", *arg);
	else
		fprintf(out, "process %d, %s", (int)s->pid, text_of(s->process->last, "program"));
	fputs("\n\n", out);
	if (nr_known(s)) {
		print_total(out, total);
		print_devices(out, devices);
	} else {
		fprintf(out, "  no process of it had an address space of gmem's\n");
	}
	if (nr_known(s) > 1)
		fprintf(out, "\n  %15zu  processes\n", nr_known(s));
	if (nr_cut(s))
		fprintf(out,
			"\n  %15zu  of them did not end by exit(3): of these, what there was to be "
			"had "
			"before\n",
			nr_cut(s));
	fprintf(out, "\n  %15.3f  seconds elapsed\n\n", seconds);
	json_decref(devices);
	json_decref(total);
}

/* ----------------------------------------------------------------------------- programs */

static json_t *whom(const struct stat_run *s)
{
	json_t *command;

	if (!s->command)
		return json_integer(s->pid);
	command = json_array();
	for (char **arg = s->command; *arg; arg++)
		if (json_array_append_new(command, json_string(*arg)))
			json_array_append_new(command, json_string("?")); /* no UTF-8 */
	return command;
}

static json_t *process_json(const struct stat_process *p)
{
	return json_pack("{s:I, s:s, s:s, s:b, s:o}", "pid", live_number(p->last, "pid"), "program",
			 text_of(p->last, "program"), "host", text_of(p->last, "host"), "cut",
			 p->cut, "total", counted(p, p->base));
}

static void print_json(const struct stat_run *s, double seconds)
{
	json_t *processes = json_array(), *root;

	for (size_t i = 0; i < s->nr; i++)
		if (s->process[i].last)
			json_array_append_new(processes, process_json(&s->process[i]));
	root = json_pack("{s:o, s:f, s:i, s:o, s:o, s:o}", s->command ? "command" : "pid", whom(s),
			 "seconds", seconds, "status", s->status, "total", stat_total(s), "devices",
			 devices_of(s), "processes", processes);
	json_dumpf(root, s->out, JSON_COMPACT);
	fputc('\n', s->out);
	json_decref(root);
}

int stat_print(const struct stat_run *s, double seconds)
{
	if (s->json)
		print_json(s, seconds);
	else
		print_text(s, seconds);
	return fflush(s->out) || ferror(s->out) ? -1 : 0;
}

/* What was counted since the last time. */
void stat_print_interval(struct stat_run *s, double seconds)
{
	json_t *sum = json_object(), *one, *root;

	for (size_t i = 0; i < s->nr; i++) {
		struct stat_process *p = &s->process[i];

		one = counted(p, p->seen ? p->seen : p->base);
		live_add(sum, one, 1);
		json_decref(one);
		json_decref(p->seen);
		p->seen = json_incref(p->last);
	}
	if (s->json) {
		root = json_pack("{s:f, s:O}", "at", seconds, "interval", sum);
		json_dumpf(root, s->out, JSON_COMPACT);
		fputc('\n', s->out);
		json_decref(root);
	} else {
		if (!(s->lines++ % 20)) {
			fprintf(s->out, "%10s", "seconds");
			print_heads(s->out);
		}
		fprintf(s->out, "%10.3f", seconds);
		print_columns(s->out, sum);
	}
	fflush(s->out);
	json_decref(sum);
}
