// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Events as JSON, in the trace event format that Chrome's viewer has defined and Perfetto reads.
 *
 * Theory. The format has processes, which have threads, which have a track of spans each; spans of
 * a track nest. What the CPU does is on the tracks of the threads of its process: a fault on that
 * of the thread that touched, though a service thread may have serviced it. What a device's memory is
 * the cause of (its faults, evictions from it) is in a process of the device's own, there by
 * the thread that did it, since a device may have several faults at once. These processes have numbers
 * that no process has.
 *
 * Nesting. A thread does one thing after another, within another, so its spans nest; but a
 * thread that was woken by one service thread, which is not quite done, may fault again and have
 * that serviced by another. So of each track the last spans are known, and what would cut one of them
 * goes to the track of the service thread. Events come in the order of their ends, nearly.
 *
 * Names of threads are asked for when a thread is first seen; it may be gone, and then has a number
 * only. Written without printf: that would take longer than many a fault.
 *
 * Locking: none, there is one thread that writes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "trace_json.h"

#define DEVICE_GROUP (1U << 29) /* above any process's number, which has 22 bits */

/* ------------------------------------------------------------------------------ text */

static void put_text(struct gm_trace_json *t, const char *s)
{
	size_t len = strlen(s);

	memcpy(t->text + t->len, s, len);
	t->len += len;
}

static void put_number(struct gm_trace_json *t, uint64_t v, unsigned int base, unsigned int digits)
{
	char s[24];
	size_t i = sizeof(s);

	while (v || digits || i == sizeof(s)) {
		s[--i] = "0123456789abcdef"[v % base];
		v /= base;
		digits -= digits > 0;
	}
	memcpy(t->text + t->len, s + i, sizeof(s) - i);
	t->len += sizeof(s) - i;
}

static void put_unsigned(struct gm_trace_json *t, const char *key, uint64_t v)
{
	put_text(t, key);
	put_number(t, v, 10, 0);
}

static void put_signed(struct gm_trace_json *t, const char *key, int v)
{
	put_text(t, key);
	if (v < 0)
		put_text(t, "-");
	put_number(t, (uint64_t)(v < 0 ? -(int64_t)v : v), 10, 0);
}

/* In microseconds, as the format has all times. */
static void put_time(struct gm_trace_json *t, const char *key, uint64_t ns)
{
	put_unsigned(t, key, ns / 1000);
	put_text(t, ".");
	put_number(t, ns % 1000, 10, 3);
}

static void put_word(struct gm_trace_json *t, const char *key, const char *word)
{
	put_text(t, key);
	put_text(t, "\"");
	put_text(t, word);
	put_text(t, "\"");
}

/* What would have to be escaped, or is no ASCII, is not worth it in a name. */
static void clean(char *name)
{
	for (; *name; name++)
		if (*name < ' ' || *name > '~' || *name == '"' || *name == '\\')
			*name = '?';
}

/* ---------------------------------------------------------------------------- tracks */

static void put_name(struct gm_trace_json *t, const char *what, uint32_t group, uint32_t tid,
		     const char *name, int number, const char *rest)
{
	put_word(t, ",\n{\"name\":", what);
	put_unsigned(t, ",\"ph\":\"M\",\"pid\":", group);
	put_unsigned(t, ",\"tid\":", tid);
	put_text(t, ",\"args\":{\"name\":\"");
	put_text(t, name);
	if (number >= 0)
		put_signed(t, " ", number);
	put_text(t, rest);
	put_text(t, "\"}}");
}

/* /proc/self/FILE, without its newline; false: there is none. */
static bool read_proc(const char *file, char *buf, size_t size)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	clean(buf);
	return true;
}

static void name_thread(struct gm_trace_json *t, uint32_t group, uint32_t tid)
{
	char path[64], name[64];

	snprintf(path, sizeof(path), "/proc/self/task/%u/comm", tid);
	if (!read_proc(path, name, sizeof(name)))
		strcpy(name, "thread");
	put_name(t, "thread_name", group, tid, name, -1, "");
}

static void name_group(struct gm_trace_json *t, uint32_t group, int node)
{
	if (!*t->program && !read_proc("/proc/self/comm", t->program, sizeof(t->program)))
		strcpy(t->program, "program");
	if (node < 0) {
		put_name(t, "process_name", group, group, t->program, -1, "");
		return;
	}
	put_name(t, "process_name", group, 0, "device, hnode", node, " of ");
	t->len -= strlen("\"}}");
	put_text(t, t->program);
	put_text(t, "\"}}");
}

/* The track, which is named if it is new; NULL: there are too many. */
static struct gm_trace_track *track_of(struct gm_trace_json *t, uint32_t group, uint32_t tid,
				       int node)
{
	uint64_t hash = (((uint64_t)group << 32 | tid) * 0x9e3779b97f4a7c15ULL) >> 32;
	bool known = false;
	struct gm_trace_track *k;

	for (;; hash++) {
		k = &t->tracks[hash & (GM_TRACE_TRACKS - 1)];
		if (!k->group || (k->group == group && k->tid == tid))
			break;
	}
	if (k->group)
		return k;
	if (2 * t->nr_tracks >= GM_TRACE_TRACKS)
		return NULL;
	for (unsigned int i = 0; i < GM_TRACE_TRACKS && !known; i++)
		known = t->tracks[i].group == group;
	t->nr_tracks++;
	k->group = group;
	k->tid = tid;
	if (!known)
		name_group(t, group, node);
	name_thread(t, group, tid);
	return k;
}

/* Is there a place for this span: behind, around or within what is there? */
static bool track_fits(struct gm_trace_track *k, uint64_t begin, uint64_t end)
{
	unsigned int n = k->n;

	while (n && k->begin[n - 1] >= begin && k->end[n - 1] <= end)
		n--;
	if (n && begin < k->end[n - 1])
		return begin >= k->begin[n - 1] && end <= k->end[n - 1];
	if (n == GM_TRACE_SPANS) {
		n--;
		memmove(&k->begin[0], &k->begin[1], n * sizeof(k->begin[0]));
		memmove(&k->end[0], &k->end[1], n * sizeof(k->end[0]));
	}
	k->begin[n] = begin;
	k->end[n] = end;
	k->n = n + 1;
	return true;
}

/* The device that an event belongs to, or GM_NODE_NONE: to the CPU. */
static int device_of(const struct gm_event_record *r)
{
	if (r->kind == GM_EVENT_POISON || r->kind == GM_EVENT_REMOVE)
		return r->from;
	if (r->why == GM_WHY_CPU_FAULT || r->why == GM_WHY_PREFETCH)
		return GM_NODE_NONE;
	if (r->why == GM_WHY_DEV_FAULT && r->to >= 0)
		return r->to;
	return r->from;
}

struct place {
	uint32_t group, tid;
};

static struct place place_of(struct gm_trace_json *t, const struct gm_event_record *r,
			     uint64_t begin)
{
	int node = device_of(r);
	uint32_t pid = (uint32_t)(r->pid ? r->pid : t->pid), self = (uint32_t)r->tid;
	struct place p = { pid, self };
	struct gm_trace_track *k;

	if (node >= 0)
		p.group = DEVICE_GROUP | pid << 6 | ((uint32_t)node & 63);
	else if (r->for_tid)
		p.tid = (uint32_t)r->for_tid;
	k = track_of(t, p.group, p.tid, node);
	if (!k || track_fits(k, begin, r->time) || p.tid == self)
		return p;
	p.tid = self;
	k = track_of(t, p.group, p.tid, node);
	if (k)
		track_fits(k, begin, r->time);
	return p;
}

/* ---------------------------------------------------------------------------- events */

static const char *name_of(const struct gm_event_record *r)
{
	static const char *const kinds[GM_EVENT_KINDS] = {
		[GM_EVENT_EVICT] = "evict",	      [GM_EVENT_INVALIDATE] = "invalidate",
		[GM_EVENT_POISON] = "poison",	      [GM_EVENT_THRASH] = "thrash",
		[GM_EVENT_REMOVE] = "device removed",
	};

	if (r->kind == GM_EVENT_FAULT)
		return r->why == GM_WHY_CPU_FAULT ? "CPU fault" : "device fault";
	if (r->kind != GM_EVENT_MIGRATE)
		return kinds[r->kind];
	if (r->why == GM_WHY_PREFETCH)
		return "prefetch";
	if (r->why == GM_WHY_EVICT)
		return "move out";
	if (r->why == GM_WHY_DRAIN || r->why == GM_WHY_POISON)
		return "rescue";
	return r->to >= 0 ? "move in" : "move home";
}

static const char *const categories[GM_EVENT_KINDS] = {
	[GM_EVENT_FAULT] = "fault",   [GM_EVENT_MIGRATE] = "migrate",
	[GM_EVENT_EVICT] = "evict",   [GM_EVENT_INVALIDATE] = "invalidate",
	[GM_EVENT_POISON] = "poison", [GM_EVENT_THRASH] = "thrash",
	[GM_EVENT_REMOVE] = "remove",
};

static void put_args(struct gm_trace_json *t, const struct gm_event_record *r)
{
	static const char *const whys[] = {
		[GM_WHY_CPU_FAULT] = "CPU fault", [GM_WHY_DEV_FAULT] = "device fault",
		[GM_WHY_PREFETCH] = "prefetch",	  [GM_WHY_EVICT] = "evict",
		[GM_WHY_DRAIN] = "drain",	  [GM_WHY_POISON] = "poison",
	};

	put_text(t, ",\"args\":{\"addr\":\"0x");
	put_number(t, r->addr, 16, 0);
	put_unsigned(t, "\",\"as\":", r->as);
	put_unsigned(t, ",\"object\":", r->object);
	put_unsigned(t, ",\"offset\":", r->offset);
	put_unsigned(t, ",\"len\":", r->len);
	put_unsigned(t, ",\"pages\":", r->pages);
	put_unsigned(t, ",\"bytes\":", r->bytes);
	put_signed(t, ",\"from\":", r->from);
	put_signed(t, ",\"to\":", r->to);
	if (r->why < sizeof(whys) / sizeof(whys[0]))
		put_word(t, ",\"why\":", whys[r->why]);
	if (r->kind == GM_EVENT_FAULT)
		put_word(t, ",\"access\":",
			 r->count & GM_ATOMIC  ? "atomic"
			 : r->count & GM_WRITE ? "write"
					       : "read");
	if (r->err)
		put_signed(t, ",\"err\":", r->err);
	put_text(t, "}}");
}

static void count(struct gm_trace_json *t, const struct gm_event_record *r)
{
	if (r->kind != GM_EVENT_MIGRATE || !r->bytes)
		return;
	t->bytes[r->to < 0 ? 1 : r->from < 0 ? 0 : 2] += r->bytes;
	t->moved = true;
}

void gm_trace_json_event(struct gm_trace_json *t, const struct gm_event_record *r)
{
	bool span = r->kind == GM_EVENT_FAULT || r->kind == GM_EVENT_MIGRATE ||
		    r->kind == GM_EVENT_EVICT;
	uint64_t begin = span ? r->time - r->took : r->time;
	struct place p;

	if (r->kind >= GM_EVENT_KINDS)
		return; /* of a module that is newer */
	p = place_of(t, r, begin);
	put_word(t, ",\n{\"name\":", name_of(r));
	put_word(t, ",\"cat\":", categories[r->kind]);
	put_text(t, span ? ",\"ph\":\"X\"" : ",\"ph\":\"i\",\"s\":\"t\"");
	put_time(t, ",\"ts\":", begin);
	if (span)
		put_time(t, ",\"dur\":", r->took);
	put_unsigned(t, ",\"pid\":", p.group);
	put_unsigned(t, ",\"tid\":", p.tid);
	put_args(t, r);
	count(t, r);
}

void gm_trace_json_counters(struct gm_trace_json *t, uint64_t now)
{
	if (!t->moved)
		return;
	t->moved = false;
	put_time(t, ",\n{\"name\":\"bytes copied\",\"cat\":\"migrate\",\"ph\":\"C\",\"ts\":", now);
	put_signed(t, ",\"pid\":", t->pid);
	put_unsigned(t, ",\"args\":{\"to devices\":", t->bytes[0]);
	put_unsigned(t, ",\"to the host\":", t->bytes[1]);
	put_unsigned(t, ",\"between devices\":", t->bytes[2]);
	put_text(t, "}}");
}

void gm_trace_json_lost(struct gm_trace_json *t, uint64_t now, uint64_t events)
{
	put_time(t,
		 ",\n{\"name\":\"events lost\",\"cat\":\"lost\",\"ph\":\"i\",\"s\":\"p\",\"ts\":",
		 now);
	put_signed(t, ",\"pid\":", t->pid);
	put_signed(t, ",\"tid\":", t->pid);
	put_unsigned(t, ",\"args\":{\"events\":", events);
	put_text(t, "}}");
}
