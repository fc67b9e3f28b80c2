// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * gm_register(): may this memory be registered in place?
 *
 * /proc/self/maps says what is mapped there. It must be private, anonymous (no file, so neither
 * hugetlb nor a device), readable and writable, and no stack that grows. Whether
 * somebody else's userfaultfd has it is told by gm_place_is_armed(). What the application changes between
 * this look and the registration, or later, is met where it is found (place.c).
 *
 * Locking: register_lock over all, which keeps fork() out. The file is read with
 * a buffer on the stack: the heap may be what is registered.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "user.h"

static int fail(int err, const char *text)
{
	gm_set_detail(err, text);
	return err;
}

/* A line of the file; of one that is too long the beginning. */
struct lines {
	int fd;
	size_t at, end;
	char buf[4096], line[256];
};

static bool next_line(struct lines *l)
{
	size_t n = 0;
	ssize_t got;

	for (;;) {
		if (l->at == l->end) {
			do {
				got = read(l->fd, l->buf, sizeof(l->buf));
			} while (got < 0 && errno == EINTR);
			if (got <= 0)
				return false;
			l->at = 0;
			l->end = (size_t)got;
		}
		if (l->buf[l->at] == '\n')
			break;
		if (n < sizeof(l->line) - 1)
			l->line[n++] = l->buf[l->at];
		l->at++;
	}
	l->at++;
	l->line[n] = 0;
	return true;
}

struct mapping {
	uint64_t begin, end;
	const char *perms, *inode, *name;
};

static const char *next_word(const char *s)
{
	s += strcspn(s, " ");
	return s + strspn(s, " ");
}

/* "begin-end perms offset device inode    name" */
static void parse(const char *s, struct mapping *m)
{
	char *end;

	m->begin = strtoull(s, &end, 16);
	m->end = strtoull(end + 1, NULL, 16);
	m->perms = next_word(s);
	m->inode = next_word(next_word(next_word(m->perms)));
	m->name = next_word(m->inode);
}

static int check_mapping(const struct gm_user_as *u, const struct mapping *m, uint64_t va)
{
	if (m->perms[3] != 'p')
		return fail(-EINVAL, "shared memory cannot be registered: only private memory can");
	if (strtoull(m->inode, NULL, 10))
		return fail(-EINVAL, "memory of a file, or of hugetlb, cannot be registered: only "
				     "anonymous memory can");
	if (!strncmp(m->name, "[stack", 6))
		return fail(-EINVAL, "a stack cannot be registered");
	if (m->perms[0] != 'r' || m->perms[1] != 'w')
		return fail(-EINVAL, "memory to be registered must be readable and writable");
	if (gm_place_is_armed(u, va, GM_PAGE))
		return fail(-EBUSY, "another userfaultfd of the process has this memory");
	return 0;
}

static int check_range(const struct gm_user_as *u, uint64_t va, uint64_t len)
{
	struct lines l = { .fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC) };
	uint64_t at = va, end = va + len;
	struct mapping m;
	int err = 0;

	if (l.fd < 0)
		return errno == EMFILE || errno == ENFILE
			       ? -ENOMEM
			       : fail(-EOPNOTSUPP, "registering memory needs /proc");
	while (!err && at < end && next_line(&l)) {
		parse(l.line, &m);
		if (m.end <= at)
			continue;
		if (m.begin > at)
			break;
		err = check_mapping(u, &m, at);
		at = m.end;
	}
	if (!err && at < end)
		err = fail(-EFAULT, "a part of the memory to be registered is not mapped");
	close(l.fd);
	return err;
}

int gm_register(struct gm_as *as, void *addr, uint64_t len)
{
	uint64_t va = (uint64_t)(uintptr_t)addr;
	int err = gm_os_usable();

	if (err)
		return err;
	gm_set_detail(0, NULL);
	if (!as || !va || !len || (va | len) % GM_PAGE || va + len < va)
		return fail(-EINVAL, "memory is registered in whole pages");
	gm_place_register_lock();
	if (gm_ranges_any(va, len))
		err = fail(-EEXIST, "a part of this memory is registered, or managed, already");
	if (!err)
		err = check_range(gm_user_as(as), va, len);
	if (!err)
		err = gm_as_register(as, va, len);
	gm_place_register_unlock();
	return err;
}

int gm_unregister(struct gm_as *as, void *addr, uint64_t len)
{
	int err = gm_os_usable();

	return err ? err : gm_as_unregister(as, (uint64_t)(uintptr_t)addr, len);
}
