// SPDX-License-Identifier: GPL-2.0-only
/*
 * The events of events/gmem: each kind is provoked, and its line has the fields that
 * docs/kernel.md promises, with what is known here in them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>

#include "kt.h"

#define TRACING "/sys/kernel/tracing/"

static void set(const char *file, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0)
		kt_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	CHECK_EQ(write(fd, value, strlen(value)), (ssize_t)strlen(value));
	close(fd);
}

/* From now on events of this kind are recorded; none is yet. */
static void begin(const char *event)
{
	char file[64];

	mount("tracefs", TRACING, "tracefs", 0, NULL); /* perhaps it is there */
	set("events/gmem/enable", "0");
	set("trace", "\n");
	snprintf(file, sizeof(file), "events/gmem/%s/enable", event);
	set(file, "1");
}

static char text[1 << 20];
static const char *rest;

/* Record no more; next_line() gives what there is. */
static void end(void)
{
	int fd = open(TRACING "trace", O_RDONLY);
	size_t n = 0;
	ssize_t got;

	set("events/gmem/enable", "0");
	CHECK(fd >= 0);
	while ((got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	CHECK(n < sizeof(text) - 1);
	text[n] = 0;
	close(fd);
	rest = text;
}

/* The next event: what follows "event: " in its line; NULL: there is none. */
static const char *next_line(const char *event)
{
	static char line[1024];
	char tag[64];

	snprintf(tag, sizeof(tag), ": %s: ", event);
	while (*rest) {
		const char *at = rest, *stop = rest + strcspn(rest, "\n");
		char *from;

		rest = *stop ? stop + 1 : stop;
		snprintf(line, sizeof(line), "%.*s", (int)(stop - at), at);
		from = line[0] == '#' ? NULL : strstr(line, tag);
		if (from)
			return from + strlen(tag);
		CHECK(line[0] == '#' || !line[0]); /* no other event was asked for */
	}
	return NULL;
}

/* The value of a field; every field of an event is there, or the test fails. */
static const char *field(const char *line, const char *name)
{
	static char value[64];
	char tag[32];
	const char *at;

	CHECK(line);
	snprintf(tag, sizeof(tag), "%s=", name);
	for (at = line; (at = strstr(at, tag)); at++)
		if (at == line || at[-1] == ' ')
			break;
	if (!at)
		kt_fail(__FILE__, __LINE__, "no %s in: %s", name, line);
	at += strlen(tag);
	snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, " "), at);
	return value;
}

static long long num(const char *line, const char *name)
{
	return strtoll(field(line, name), NULL, 0);
}

static void is(const char *line, const char *name, const char *want)
{
	if (strcmp(field(line, name), want))
		kt_fail(__FILE__, __LINE__, "%s is not %s in: %s", name, want, line);
}

static void number_is(const char *line, const char *name, long long want)
{
	if (num(line, name) != want)
		kt_fail(__FILE__, __LINE__, "%s is not %lld in: %s", name, want, line);
}

static void trace_faults(void)
{
	long long as, obj;
	const char *line;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_tune(t.sim, PAGE, false);
	begin("fault");
	kt_dev_store(t.sim, t.ctx, t.mem + 5 * PAGE + 8, 1);
	CHECK_EQ(*(uint64_t *)(void *)(t.mem + 5 * PAGE + 8), 1);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem + BLOCK, text, 8), -EFAULT);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_COPY_START, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem + PAGE, text, 8), -EIO);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_COPY_START, 0, 0, 0), 0);
	end();

	line = next_line("fault");
	as = num(line, "as");
	obj = num(line, "obj");
	CHECK(as > 0 && obj > 0 && as != obj);
	number_is(line, "pid", getpid());
	number_is(line, "offset", 5 * PAGE);
	number_is(line, "va", (long long)(uintptr_t)(t.mem + 5 * PAGE + 8));
	is(line, "access", "write");
	is(line, "why", "dev_fault");
	number_is(line, "from", GMEM_NODE_NONE);
	number_is(line, "to", t.node);
	CHECK(num(line, "ns") > 0);
	number_is(line, "err", 0);

	line = next_line("fault");
	number_is(line, "as", as);
	number_is(line, "obj", obj);
	number_is(line, "pid", getpid());
	number_is(line, "offset", 5 * PAGE);
	number_is(line, "va", 0);
	is(line, "access", "any");
	is(line, "why", "cpu_fault");
	number_is(line, "from", t.node);
	number_is(line, "to", GMEM_NODE_HOST);
	number_is(line, "err", 0);

	line = next_line("fault");
	number_is(line, "obj", 0);
	is(line, "access", "read");
	number_is(line, "va", (long long)(uintptr_t)(t.mem + BLOCK));
	number_is(line, "err", -EFAULT);

	line = next_line("fault");
	number_is(line, "obj", obj);
	number_is(line, "offset", PAGE);
	number_is(line, "err", -EIO);
	CHECK(!next_line("fault"));
	kt_end(&t);
}

static void trace_migrations(void)
{
	const char *line;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	memset(t.mem, 1, 4 * PAGE);
	begin("migrate");
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, 8 * PAGE), 0);
	CHECK_EQ(t.mem[2 * PAGE], 1);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_COPY_FENCE, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, 2 * PAGE), -EIO);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_COPY_FENCE, 0, 0, 0), 0);
	end();

	line = next_line("migrate");
	number_is(line, "pid", getpid());
	CHECK(num(line, "as") > 0 && num(line, "obj") > 0);
	number_is(line, "offset", 0);
	number_is(line, "len", 8 * PAGE);
	number_is(line, "pages", 8);
	number_is(line, "bytes", 4 * PAGE); /* the rest was zeroed */
	is(line, "why", "prefetch");
	number_is(line, "from", GMEM_NODE_HOST);
	number_is(line, "to", t.node);
	CHECK(num(line, "ns") > 0);
	number_is(line, "err", 0);

	line = next_line("migrate");
	number_is(line, "pages", 8);
	number_is(line, "bytes", 8 * PAGE);
	is(line, "why", "cpu_fault");
	number_is(line, "from", t.node);
	number_is(line, "to", GMEM_NODE_HOST);

	line = next_line("migrate");
	number_is(line, "pages", 2);
	number_is(line, "bytes", 0);
	number_is(line, "err", -EIO);
	kt_end(&t);
}

/* Twice the device's memory: what goes is what the counters say, and all of it is told. */
static void trace_evictions(void)
{
	struct gmem_sim_stats before, after;
	unsigned int n = 0;
	const char *line;
	struct kt t;

	kt_begin(&t, 4 * BLOCK, 2 * BLOCK);
	kt_tune(t.sim, BLOCK, false);
	kt_sim_stats(t.sim, &before);
	begin("evict");
	for (uint64_t i = 0; i < t.len; i += PAGE)
		kt_dev_store(t.sim, t.ctx, t.mem + i, i);
	end();
	kt_sim_stats(t.sim, &after);
	while ((line = next_line("evict"))) {
		CHECK(num(line, "obj") > 0);
		number_is(line, "as", 0); /* an object is nobody's own */
		number_is(line, "pid", 0);
		CHECK_EQ(num(line, "offset") % (long long)BLOCK, 0);
		CHECK(num(line, "pages") > 0 && num(line, "pages") <= 512);
		number_is(line, "direct", 1);
		number_is(line, "from", t.node);
		CHECK(num(line, "ns") > 0);
		n += num(line, "err") == 0;
	}
	CHECK(n >= 2);
	CHECK_EQ(n, after.evictions - before.evictions);
	kt_end(&t);
}

static void trace_invalidations(void)
{
	const char *line;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_tune(t.sim, PAGE, false);
	kt_dev_store(t.sim, t.ctx, t.mem + 3 * PAGE, 1);
	begin("invalidate");
	CHECK_EQ(t.mem[3 * PAGE], 1);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + 3 * PAGE), 1);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_TLB_INVL, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, GMEM_NODE_HOST, t.mem + 3 * PAGE, PAGE), -EIO);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_TLB_INVL, 0, 0, 0), 0);
	end();
	for (int err = 0; err >= -EIO; err -= EIO) {
		line = next_line("invalidate");
		CHECK(num(line, "as") > 0);
		number_is(line, "pid", getpid());
		number_is(line, "va", (long long)(uintptr_t)(t.mem + 3 * PAGE));
		number_is(line, "len", PAGE);
		number_is(line, "ranges", 1);
		number_is(line, "node", t.node);
		CHECK(num(line, "ns") > 0);
		number_is(line, "err", err);
	}
	CHECK(!next_line("invalidate"));
	kt_end(&t);
}

/* A frame that is free, one that has a page, and one that goes with its device. */
static void trace_poison(void)
{
	struct gmem_sim_poison p = { .size = sizeof(p) };
	struct gmem_sim_remove r = { .size = sizeof(r) };
	unsigned long long pa[3];
	const char *line;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_tune(t.sim, PAGE, false);
	kt_dev_store(t.sim, t.ctx, t.mem + 3 * PAGE, 1);
	kt_dev_store(t.sim, t.ctx, t.mem + 5 * PAGE, 1);
	pa[1] = kt_look(&t, t.mem + 3 * PAGE).pa;
	pa[2] = kt_look(&t, t.mem + 5 * PAGE).pa;
	pa[0] = pa[1] ^ 8 * PAGE;
	begin("poison");
	for (int i = 0; i < 2; i++) {
		p.pa = pa[i];
		CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_POISON, &p), 0);
	}
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_COPY_START, 0, UINT32_MAX, EIO), 0);
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_REMOVE, &r), 0);
	end();
	for (int i = 0; i < 3; i++) {
		line = next_line("poison");
		CHECK(line);
		CHECK_EQ(num(line, "obj") > 0, i > 0);
		number_is(line, "offset", i == 0 ? 0 : (i == 1 ? 3 : 5) * (long long)PAGE);
		number_is(line, "pa", (long long)pa[i]);
		number_is(line, "pages", i > 0);
		is(line, "why", i < 2 ? "poison" : "drain");
		number_is(line, "node", t.node);
		number_is(line, "err", 0);
	}
	CHECK(!next_line("poison"));
	kt_end(&t);
}

/* A page that goes back and forth, three times within a second each; then its device goes. */
static void trace_thrash(void)
{
	struct gmem_tune tune = { .size = sizeof(tune),
				  .granule = PAGE,
				  .no_background = 1,
				  .thrash_lapse_us = 1000000,
				  .thrash_hold_us = 1 };
	struct gmem_sim_remove r = { .size = sizeof(r) };
	struct gmem_stats s;
	const char *line;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	tune.hnode = t.node;
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_HNODE_TUNE, &tune), 0);
	*(volatile uint64_t *)(void *)(t.mem + 3 * PAGE) = 1;
	begin("thrash");
	for (uint64_t i = 0; i < 6; i++) {
		kt_dev_store(t.sim, t.ctx, t.mem + 3 * PAGE, i);
		CHECK_EQ(*(volatile uint64_t *)(void *)(t.mem + 3 * PAGE), i);
	}
	end();
	line = next_line("thrash");
	number_is(line, "pid", getpid());
	number_is(line, "offset", 3 * PAGE);
	number_is(line, "times", 3);
	is(line, "why", "cpu_fault");
	number_is(line, "from", t.node);
	number_is(line, "to", GMEM_NODE_HOST);
	CHECK(num(line, "as") > 0 && num(line, "obj") > 0);
	CHECK(!next_line("thrash"));
	kt_stats(t.as, &s);
	CHECK_EQ(s.thrashes, 1);

	begin("remove");
	CHECK_EQ(kt_ioctl(t.sim, GMEM_SIM_IOC_REMOVE, &r), 0);
	end();
	line = next_line("remove");
	number_is(line, "node", t.node);
	number_is(line, "err", 0);
	CHECK(num(line, "ns") > 0);
	kt_end(&t);
}

/* Nothing is recorded of what nobody enabled, and all are there to enable. */
static void trace_off(void)
{
	static const char *const events[] = { "fault",	"migrate", "evict", "invalidate",
					      "poison", "thrash",  "remove" };
	struct kt t;

	for (unsigned int i = 0; i < 7; i++)
		begin(events[i]);
	begin("evict");
	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 1);
	CHECK_EQ(*t.mem, 1);
	end();
	CHECK(!next_line("evict")); /* and no line of another event */
	kt_end(&t);
}

const struct kt_test kt_trace[] = {
	{ "trace_faults", trace_faults, 0 },
	{ "trace_migrations", trace_migrations, 0 },
	{ "trace_evictions", trace_evictions, 60 },
	{ "trace_invalidations", trace_invalidations, 0 },
	{ "trace_poison", trace_poison, 0 },
	{ "trace_thrash", trace_thrash, 0 },
	{ "trace_off", trace_off, 0 },
	{ 0 },
};
