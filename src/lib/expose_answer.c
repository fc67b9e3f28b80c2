// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The answers: one JSON object a request, on one line. gmem(7) has what they hold.
 *
 * Where pages are is looked up a block at a time, with the tables locked for no longer than that: an
 * address space may end, and memory be unmapped, between two looks. So a large map is no snapshot, and
 * what went meanwhile is left out.
 *
 * Locking: things_lock, taken and let go of here. Called by one thread at a time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "expose.h"

#define TEXT_MAX (256U << 20)
#define LOOK_PAGES 512U
#define VA_END (1ULL << 47)

/* --------------------------------------------------------------------------------- text */

/* Room for @n bytes more, and the 0. */
static bool grow(struct gm_text *t, size_t n)
{
	size_t room = t->room ? t->room : 16384;
	void *s;

	while (room <= t->len + n && room <= TEXT_MAX)
		room *= 2;
	if (room == t->room)
		return true;
	if (room > TEXT_MAX)
		return false;
	s = t->s ? mremap(t->s, t->room, room, MREMAP_MAYMOVE)
		 : mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return false;
	t->s = s;
	t->room = room;
	return true;
}

void gm_text_add(struct gm_text *t, const char *fmt, ...)
{
	char some[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(some, sizeof(some), fmt, ap);
	va_end(ap);
	if (t->failed || n < 0 || (size_t)n >= sizeof(some) || !grow(t, (size_t)n)) {
		t->failed = true;
		return;
	}
	memcpy(t->s + t->len, some, (size_t)n + 1);
	t->len += (size_t)n;
}

void gm_text_free(struct gm_text *t)
{
	if (t->s)
		munmap(t->s, t->room);
	*t = (struct gm_text){ .s = NULL };
}

/* What stands between the elements of an array. */
static const char *comma(const struct gm_text *t)
{
	return t->len && t->s[t->len - 1] == '[' ? "" : ",";
}

/* A JSON string; what is no ASCII that can be printed becomes '?', for nobody said what it is. */
static void add_string(struct gm_text *t, const char *s)
{
	gm_text_add(t, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			gm_text_add(t, "\\%c", *s);
		else
			gm_text_add(t, "%c", *s < ' ' || *s > '~' ? '?' : *s);
	}
	gm_text_add(t, "\"");
}

/* ------------------------------------------------------------------------------ figures */

static void add_stats(struct gm_text *t, const struct gm_stats *stats)
{
	static const char *const names[] = {
		"cpu_faults",	    "cpu_faults_moved", "dev_faults",	    "dev_faults_moved",
		"dev_faults_map",   "fault_errors",	"pages_to_dev",	    "pages_to_host",
		"pages_zeroed",	    "pages_evicted",	"pages_prefetched", "bytes_to_dev",
		"bytes_to_host",    "evictions",	"evictions_direct", "evictions_cancelled",
		"tlb_ranges",	    "tlb_invls",	"ns_cpu_fault",	    "ns_dev_fault",
		"ns_copy",	    "ns_invl",		"ns_evict",	    "pages_peer",
		"pages_replicated", "thrashes",		"faults_held",	    "remote_maps",
		"remote_bytes",
	};
	const uint64_t *value = &stats->cpu_faults;
	size_t n = sizeof(names) / sizeof(*names);

	_Static_assert(sizeof(names) / sizeof(*names) ==
			       (sizeof(*stats) - offsetof(struct gm_stats, cpu_faults)) / 8,
		       "every counter has a name");
	for (size_t i = 0; i < n; i++)
		gm_text_add(t, "%c\"%s\":%llu", i ? ',' : '{', names[i],
			    (unsigned long long)value[i]);
	gm_text_add(t, "}");
}

/* What every answer begins with: whose it is, and when, by CLOCK_MONOTONIC. */
static void add_head(struct gm_text *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	gm_text_add(t, "{\"version\":1,\"pid\":%d,\"program\":", (int)getpid());
	add_string(t, program_invocation_short_name);
	gm_text_add(t, ",\"host\":\"%s\",\"time_ns\":%llu", gm_host()->name,
		    (unsigned long long)now.tv_sec * 1000000000ULL +
			    (unsigned long long)now.tv_nsec);
}

static void add_device(struct gm_text *t, const char *name, int hnode, struct gm_dev *dev,
		       const struct gm_stats *last)
{
	struct gm_hnode_info info = { .size = sizeof(info) };
	struct gm_stats stats = { .size = sizeof(stats) };
	char policy[128] = "";

	gm_text_add(t, "%s{\"hnode\":%d,\"name\":", comma(t), hnode);
	add_string(t, name);
	gm_text_add(t, ",\"ended\":%s", dev ? "false" : "true");
	if (dev && !gm_host()->hnode_info(hnode, &info)) {
		gm_text_add(t,
			    ",\"total\":%llu,\"free\":%llu,\"pinned\":%llu,\"blocks\":%llu,"
			    "\"metadata\":%llu,\"poisoned\":%llu,\"limit\":%llu",
			    (unsigned long long)info.total, (unsigned long long)info.free,
			    (unsigned long long)info.pinned, (unsigned long long)info.blocks,
			    (unsigned long long)info.metadata, (unsigned long long)info.poisoned,
			    (unsigned long long)info.limit);
		gm_host()->dev_policy(dev, policy, sizeof(policy));
		gm_text_add(t, ",\"policy\":");
		add_string(t, policy);
	}
	if (dev && !gm_host()->dev_stats(dev, &stats))
		last = &stats;
	gm_text_add(t, ",\"stats\":");
	add_stats(t, last);
	gm_text_add(t, "}");
}

/* Devices of the kernel's are there without anybody's having made them here. */
static void add_kernel_devices(struct gm_text *t)
{
	struct gm_stats none = { .size = sizeof(none) };
	struct gm_dev *dev;
	char name[32];

	for (unsigned int i = 0; i < GM_EXPOSE_DEVS; i++) {
		int hnode = gm_host()->first_hnode() + (int)i;

		if (gm_host()->dev_from_hnode(hnode, &dev))
			continue;
		snprintf(name, sizeof(name), "hnode%d", hnode);
		add_device(t, name, hnode, dev, &none);
	}
}

/* Locked. */
static void add_devices(struct gm_text *t)
{
	const struct gm_expose_dev *d = gm_expose_things.dev;

	gm_text_add(t, ",\"devices\":[");
	for (unsigned int i = 0; i < GM_EXPOSE_DEVS; i++)
		if (d[i].name[0])
			add_device(t, d[i].name, d[i].hnode, d[i].dev, &d[i].stats);
	if (gm_host()->first_hnode)
		add_kernel_devices(t);
	gm_text_add(t, "]");
}

static void answer_devices(struct gm_text *t)
{
	pthread_mutex_lock(&gm_expose_things_lock);
	add_devices(t);
	pthread_mutex_unlock(&gm_expose_things_lock);
}

static void answer_stats(struct gm_text *t)
{
	struct gm_expose_things *things = &gm_expose_things;
	struct gm_stats total, one = { .size = sizeof(one) };

	pthread_mutex_lock(&gm_expose_things_lock);
	total = things->ended_sum;
	gm_text_add(t, ",\"address_spaces\":[");
	for (size_t i = 0; i < things->nr; i++) {
		if (gm_host()->as_stats(things->space[i].as, &one))
			continue;
		gm_stats_add(&total, &one);
		gm_text_add(t, "%s{\"id\":%llu,\"stats\":", comma(t),
			    (unsigned long long)things->space[i].id);
		add_stats(t, &one);
		gm_text_add(t, "}");
	}
	gm_text_add(t, "],\"ended\":%llu,\"total\":", (unsigned long long)things->ended);
	add_stats(t, &total);
	add_devices(t);
	pthread_mutex_unlock(&gm_expose_things_lock);
	gm_text_add(t, ",\"metadata\":%llu,\"retained\":%llu",
		    (unsigned long long)gm_host()->metadata_bytes(),
		    (unsigned long long)gm_host()->retained_bytes());
}

/* Said at the end of the process; expose_serve.c waits until then. */
static void answer_final(struct gm_text *t)
{
	answer_stats(t);
	gm_text_add(t, ",\"final\":true");
}

/* ---------------------------------------------------------------------- where pages are */

#define NODES (GM_EXPOSE_DEVS + 2)

/* A region, as it is told of. */
struct look {
	struct gm_text *text;
	uint64_t id, addr, len;
	bool runs;		  /* one by one, or sums */
	uint64_t first, n;	  /* the run that goes on: its first page, how many */
	struct gm_page_info info; /* of the run */
	struct {
		int node;
		uint64_t pages;
	} sum[NODES];
	unsigned int nr_sums;
	uint64_t flagged[5]; /* pages with each of GM_PAGE_* */
};

/* Locked. */
static struct gm_as *space_of(uint64_t id)
{
	for (size_t i = 0; i < gm_expose_things.nr; i++)
		if (gm_expose_things.space[i].id == id)
			return gm_expose_things.space[i].as;
	return NULL;
}

static void end_run(struct look *l)
{
	unsigned int i = 0;

	if (!l->n)
		return;
	if (l->runs) {
		gm_text_add(l->text, "%s[%llu,%llu,%d,%u]", comma(l->text),
			    (unsigned long long)l->first, (unsigned long long)l->n, l->info.node,
			    l->info.flags);
		return;
	}
	while (i < l->nr_sums && l->sum[i].node != l->info.node)
		i++;
	if (i == l->nr_sums && i < NODES)
		l->sum[l->nr_sums++].node = l->info.node;
	if (i < NODES)
		l->sum[i].pages += l->n;
	for (i = 0; i < 5; i++)
		if (l->info.flags >> i & 1)
			l->flagged[i] += l->n;
}

static void add_pages(struct look *l, uint64_t page, const struct gm_page_info *info, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		if (l->n && info[i].node == l->info.node && info[i].flags == l->info.flags) {
			l->n++;
			continue;
		}
		end_run(l);
		l->first = page + i;
		l->n = 1;
		l->info = info[i];
	}
}

/* False: it is not there any more. */
static bool look_at(struct look *l, uint64_t page, uint64_t n)
{
	struct gm_page_info info[LOOK_PAGES];
	const void *at = (const void *)(uintptr_t)(l->addr + page * GM_PAGE_SIZE);
	int err = -ENOENT;

	pthread_mutex_lock(&gm_expose_things_lock);
	if (space_of(l->id))
		err = gm_host()->query(at, n * GM_PAGE_SIZE, info);
	pthread_mutex_unlock(&gm_expose_things_lock);
	if (!err)
		add_pages(l, page, info, n);
	return !err;
}

static void add_sums(const struct look *l)
{
	static const char *const names[] = { "pinned", "retained", "poisoned", "exclusive",
					     "replicated" };
	_Static_assert(GM_PAGE_PINNED == 1 && GM_PAGE_RETAINED == 2 && GM_PAGE_POISONED == 4 &&
			       GM_PAGE_EXCLUSIVE == 8 && GM_PAGE_REPLICATED == 16,
		       "in the order of their bits");

	gm_text_add(l->text, ",\"nodes\":{");
	for (unsigned int i = 0; i < l->nr_sums; i++)
		gm_text_add(l->text, "%s\"%d\":%llu", i ? "," : "", l->sum[i].node,
			    (unsigned long long)(l->sum[i].pages * GM_PAGE_SIZE));
	gm_text_add(l->text, "}");
	for (unsigned int i = 0; i < 5; i++)
		gm_text_add(l->text, ",\"%s\":%llu", names[i],
			    (unsigned long long)(l->flagged[i] * GM_PAGE_SIZE));
}

static void add_region(struct look *l)
{
	uint64_t pages = l->len / GM_PAGE_SIZE, n;

	gm_text_add(l->text, "%s{\"as\":%llu,\"addr\":%llu,\"len\":%llu%s", comma(l->text),
		    (unsigned long long)l->id, (unsigned long long)l->addr,
		    (unsigned long long)l->len, l->runs ? ",\"runs\":[" : "");
	for (uint64_t page = 0; page < pages && !l->text->failed; page += n) {
		n = pages - page < LOOK_PAGES ? pages - page : LOOK_PAGES;
		if (!look_at(l, page, n))
			break;
	}
	end_run(l);
	if (l->runs)
		gm_text_add(l->text, "]");
	else
		add_sums(l);
	gm_text_add(l->text, "}");
}

/* The first region of address space @id behind @va; false: there is none. */
static bool next_region(uint64_t id, uint64_t va, uint64_t *addr, uint64_t *len)
{
	struct gm_as *as;

	pthread_mutex_lock(&gm_expose_things_lock);
	as = space_of(id);
	*addr = as ? gm_host()->as_next(as, va, VA_END, len) : VA_END;
	pthread_mutex_unlock(&gm_expose_things_lock);
	return *addr < VA_END;
}

/* The smallest number of an address space that is larger than @id; 0: none. */
static uint64_t next_space(uint64_t id)
{
	uint64_t found = 0;

	pthread_mutex_lock(&gm_expose_things_lock);
	for (size_t i = 0; i < gm_expose_things.nr; i++) {
		uint64_t other = gm_expose_things.space[i].id;

		if (other > id && (!found || other < found))
			found = other;
	}
	pthread_mutex_unlock(&gm_expose_things_lock);
	return found;
}

static void add_regions(struct gm_text *t, bool runs)
{
	uint64_t addr, len;

	gm_text_add(t, ",\"page\":%llu,\"regions\":[", GM_PAGE_SIZE);
	for (uint64_t id = 0; (id = next_space(id)) && !t->failed;) {
		for (uint64_t va = 0; !t->failed && next_region(id, va, &addr, &len);
		     va = addr + len) {
			struct look l = {
				.text = t, .id = id, .addr = addr, .len = len, .runs = runs
			};

			add_region(&l);
		}
	}
	gm_text_add(t, "]");
}

static void answer_ranges(struct gm_text *t)
{
	add_regions(t, false);
}

static void answer_map(struct gm_text *t)
{
	answer_devices(t);
	add_regions(t, true);
}

/* ----------------------------------------------------------------------------- requests */

static const struct {
	const char *name;
	void (*answer)(struct gm_text *t); /* NULL: expose_hot.c */
} requests[] = {
	{ "stats", answer_stats }, { "devices", answer_devices }, { "ranges", answer_ranges },
	{ "map", answer_map },	   { "final", answer_final },	  { "hot", NULL },
};

static void answer(struct gm_text *t, const char *request, struct gm_events **events)
{
	size_t n = sizeof(requests) / sizeof(*requests);

	add_head(t);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(requests[i].name, request) != 0)
			continue;
		if (requests[i].answer)
			requests[i].answer(t);
		else
			gm_expose_hot(t, events);
		gm_text_add(t, "}\n");
		return;
	}
	gm_text_add(t, ",\"error\":\"no such request\",\"requests\":[");
	for (size_t i = 0; i < n; i++)
		gm_text_add(t, "%s\"%s\"", comma(t), requests[i].name);
	gm_text_add(t, "]}\n");
}

void gm_expose_answer(struct gm_text *t, const char *request, struct gm_events **events)
{
	answer(t, request, events);
	if (!t->failed)
		return;
	gm_text_free(t);
	add_head(t);
	gm_text_add(t, ",\"error\":\"no memory for the answer\"}\n");
}
