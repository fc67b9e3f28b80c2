// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What an address space of the kernel host has mapped: the kernel's own mappings of this process,
 * as /proc/self/maps has them, of which the module says whose they are.
 *
 * Locking: none. Mappings may come and go meanwhile; what is found was there at some moment. The file
 * is read into memory on the stack, for malloc()'s may be managed (expose.c).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "kernel.h"

struct maps {
	int fd;
	char text[4096];
	size_t at, len;
};

/* The next line, without its end; one that is too long is cut. False: no more. */
static bool next_line(struct maps *m, char *line, size_t size)
{
	size_t n = 0;

	for (;;) {
		if (m->at == m->len) {
			ssize_t got = read(m->fd, m->text, sizeof(m->text));

			m->at = 0;
			m->len = got > 0 ? (size_t)got : 0;
			if (!m->len)
				return false;
		}
		if (m->text[m->at] == '\n')
			break;
		if (n < size - 1)
			line[n++] = m->text[m->at];
		m->at++;
	}
	m->at++;
	line[n] = '\0';
	return true;
}

/* Does @line tell of managed memory of @as, behind @va? What is *at and *to of it. */
static bool is_of(struct gm_as *as, const char *line, uint64_t va, uint64_t *at, uint64_t *to)
{
	struct gmem_mapping m = { .size = sizeof(m) };
	unsigned long long from, end;

	if (sscanf(line, "%llx-%llx", &from, &end) != 2 || end <= va)
		return false;
	m.addr = *at = from > va ? from : va;
	*to = end;
	return !gm_as_request(as, GMEM_MAPPING, &m);
}

uint64_t gm_k_as_next(struct gm_as *as, uint64_t va, uint64_t end, uint64_t *len)
{
	struct maps m = { .fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC) };
	uint64_t found = end, at, to;
	char line[256];

	if (m.fd < 0)
		return end;
	while (found == end && next_line(&m, line, sizeof(line))) {
		if (!is_of(as, line, va, &at, &to) || at >= end)
			continue;
		found = at;
		*len = (to < end ? to : end) - at;
	}
	close(m.fd);
	return found;
}
