// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The order of probes, and the verdict.
 *
 * A machine is as good as the host that a program gets on it: the kernel's where /dev/gmem
 * can be used, else the user host, unless GMEM_HOST says otherwise. What fails of the other
 * one is missing, and no more. That all of it works together is tried at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gmem/gmem.h>

#include "check.h"

void check_add(struct check *c, const char *name, enum check_state state, const char *fmt, ...)
{
	struct check_item *item;
	va_list ap;

	if (c->nr == CHECK_MAX_ITEMS)
		abort(); /* there are not so many probes */
	item = &c->items[c->nr++];
	memset(item, 0, sizeof(*item));
	item->name = name;
	item->state = state;
	va_start(ap, fmt);
	vsnprintf(item->found, sizeof(item->found), fmt, ap);
	va_end(ap);
}

void check_without(struct check *c, const char *fmt, ...)
{
	struct check_item *item = &c->items[c->nr - 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(item->without, sizeof(item->without), fmt, ap);
	va_end(ap);
}

void check_mend(struct check *c, bool root, const char *fmt, ...)
{
	struct check_item *item = &c->items[c->nr - 1];
	va_list ap;

	item->root = root;
	va_start(ap, fmt);
	vsnprintf(item->mend, sizeof(item->mend), fmt, ap);
	va_end(ap);
}

bool check_read(const struct check *c, const char *path, char *buf, size_t size)
{
	char full[512];
	ssize_t n;
	int fd;

	if ((size_t)snprintf(full, sizeof(full), "%s%s", c->sys->root, path) >= sizeof(full))
		return false;
	fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return false;
	buf[n] = '\0';
	if (n && buf[n - 1] == '\n')
		buf[n - 1] = '\0';
	return true;
}

/* "max" and the like are no number. */
bool check_number(const struct check *c, const char *path, uint64_t *value)
{
	char buf[32], *end;

	if (!check_read(c, path, buf, sizeof(buf)) || *buf < '0' || *buf > '9')
		return false;
	*value = strtoull(buf, &end, 10);
	return !*end;
}

static void group(struct check *c, const char *name, void (*probe)(struct check *c))
{
	unsigned int i = c->nr;

	probe(c);
	for (; i < c->nr; i++)
		c->items[i].group = name;
}

static const char *choose(const struct check *c)
{
	const char *wish = c->wish;

	if (!wish || !*wish || !strcmp(wish, "auto"))
		return c->kernel ? "kernel" : c->user ? "user" : NULL;
	if (!strcmp(wish, "user"))
		return c->user ? "user" : NULL;
	if (!strcmp(wish, "kernel"))
		return c->kernel ? "kernel" : NULL;
	return NULL;
}

static void choice(struct check *c)
{
	const char *wish = c->wish && *c->wish ? c->wish : "auto";
	bool known = !strcmp(wish, "auto") || !strcmp(wish, "user") || !strcmp(wish, "kernel");

	c->host = choose(c);
	if (c->host) {
		check_add(c, "host", CHECK_OK, "%s", c->host);
		return;
	}
	check_add(c, "host", CHECK_FAIL, known ? "none (GMEM_HOST=%s)" : "GMEM_HOST=%s is no host",
		  wish);
	if (!known || (!strcmp(wish, "kernel") ? c->user : c->kernel)) {
		check_without(c,
			      "the environment asks for what is not there; without it the %s "
			      "host would do",
			      c->kernel ? "kernel" : "user");
		check_mend(c, false, "unset GMEM_HOST");
	} else {
		check_without(c, "no program runs: mend what is said above");
	}
}

static void attempt(struct check *c)
{
	const char *what = NULL;
	int err;

	if (!c->host)
		return;
	err = c->sys->try(&what);
	if (!err) {
		check_add(c, "trial", CHECK_OK, "memory is written, moved and read back");
		return;
	}
	check_add(c, "trial", CHECK_FAIL, "cannot %s: %s", what, gm_strerror(err));
	check_without(c, "the parts are there, and do not work together");
}

static void verdict(struct check *c)
{
	unsigned int i;

	c->status = 0;
	for (i = 0; i < c->nr; i++)
		if (c->items[i].state == CHECK_WARN || c->items[i].state == CHECK_FAIL)
			c->status = 1;
	if (!c->host || c->items[c->nr - 1].state == CHECK_FAIL)
		c->status = 2;
}

void check_run(struct check *c)
{
	c->nr = 0;
	c->user = c->kernel = false;
	group(c, "machine", check_release);
	group(c, "user host", check_user);
	group(c, "kernel host", check_kernel);
	group(c, "limits", check_limits);
	group(c, "result", choice);
	group(c, "result", attempt);
	verdict(c);
}
