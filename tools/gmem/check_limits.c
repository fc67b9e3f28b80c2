// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Limits that a program on managed memory meets sooner than others: an object is a
 * descriptor and two mappings, and its host memory is charged as shmem is.
 *
 * The bounds are those of a Debian system as it is installed, or what a small program needs.
 */
#include <string.h>

#include "check.h"
#include "util.h"

#define MIN_FILES 256U
#define MIN_MAPS 65530U
#define MIN_MEMLOCK (8ULL << 20)
#define MIN_MEMORY (256ULL << 20)
#define CGROUP "/sys/fs/cgroup"

static void check_files(struct check *c)
{
	struct rlimit l;

	if (c->sys->limit(RLIMIT_NOFILE, &l) || l.rlim_cur == RLIM_INFINITY) {
		check_add(c, "open files", CHECK_OK, "unlimited");
	} else if (l.rlim_cur >= MIN_FILES) {
		check_add(c, "open files", CHECK_OK, "%llu; gm_alloc() takes one on the user host",
			  (unsigned long long)l.rlim_cur);
	} else {
		check_add(c, "open files", CHECK_WARN, "%llu", (unsigned long long)l.rlim_cur);
		check_without(c, "gm_alloc() takes one on the user host, and fails soon with "
				 "ENOMEM");
		if (l.rlim_max >= 1024)
			check_mend(c, false, "ulimit -n 1024");
		else
			check_mend(c, true, "prlimit --nofile=1024:1024 --pid $$");
	}
}

static void check_maps(struct check *c)
{
	uint64_t max;

	if (!check_number(c, "/proc/sys/vm/max_map_count", &max))
		return;
	if (max >= MIN_MAPS) {
		check_add(c, "mappings", CHECK_OK, "%llu", (unsigned long long)max);
		return;
	}
	check_add(c, "mappings", CHECK_WARN, "%llu", (unsigned long long)max);
	check_without(c, "gm_alloc() takes two on the user host, and fails soon with ENOMEM");
	check_mend(c, true, "sysctl vm.max_map_count=%u", MIN_MAPS);
}

static void check_addresses(struct check *c)
{
	struct rlimit l;

	if (c->sys->limit(RLIMIT_AS, &l) || l.rlim_cur == RLIM_INFINITY) {
		check_add(c, "addresses", CHECK_OK, "unlimited");
		return;
	}
	check_add(c, "addresses", CHECK_WARN, "%s", size_text(l.rlim_cur).s);
	check_without(c, "managed memory takes twice its size of it on the user host");
	check_mend(c, l.rlim_max != RLIM_INFINITY,
		   l.rlim_max == RLIM_INFINITY ? "ulimit -v unlimited"
					       : "prlimit --as=unlimited --pid $$");
}

/* Only the kernel host locks: host memory that a device uses in place. */
static void check_locked(struct check *c)
{
	struct rlimit l;

	if (!c->kernel)
		return;
	if (c->sys->limit(RLIMIT_MEMLOCK, &l) || l.rlim_cur == RLIM_INFINITY) {
		check_add(c, "locked memory", CHECK_OK, "unlimited");
		return;
	}
	if (l.rlim_cur >= MIN_MEMLOCK) {
		check_add(c, "locked memory", CHECK_OK, "%s", size_text(l.rlim_cur).s);
		return;
	}
	check_add(c, "locked memory", CHECK_NOTE, "%s", size_text(l.rlim_cur).s);
	check_without(c, "a device that uses host memory in place maps no more of it at a time");
	check_mend(c, true, "prlimit --memlock=unlimited --pid $$");
}

/* The limit of this process's own control group, of either version; false: it has none. */
static bool group_limit(struct check *c, bool v2, char *path, size_t size, uint64_t *max)
{
	char text[2048], *line, *save = NULL, *group = NULL;

	if (!check_read(c, "/proc/self/cgroup", text, sizeof(text)))
		return false;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (v2 && !strncmp(line, "0::", 3))
			group = line + 3;
		else if (!v2 && strstr(line, ":memory:"))
			group = strstr(line, ":memory:") + 8;
	}
	if (!group)
		return false;
	if (!strcmp(group, "/"))
		group++; /* the files are those of the hierarchy itself */
	if ((size_t)snprintf(path, size,
			     v2 ? CGROUP "%s/memory.max" : CGROUP "/memory%s/memory.limit_in_bytes",
			     group) >= size)
		return false;
	return check_number(c, path, max);
}

static bool machine_memory(struct check *c, uint64_t *total)
{
	char text[256], *at;
	unsigned long long kib;

	if (!check_read(c, "/proc/meminfo", text, sizeof(text)))
		return false;
	at = strstr(text, "MemTotal:");
	if (!at || sscanf(at, "MemTotal: %llu", &kib) != 1)
		return false;
	*total = (uint64_t)kib << 10;
	return true;
}

static void check_memory(struct check *c)
{
	uint64_t total, max = UINT64_MAX, v1 = UINT64_MAX;
	char path[1024], old[1024];

	if (!machine_memory(c, &total))
		return;
	group_limit(c, true, path, sizeof(path), &max);
	if (max < total && max < MIN_MEMORY) {
		check_add(c, "memory", CHECK_WARN, "%s, of which the control group may have %s",
			  size_text(total).s, size_text(max).s);
		check_without(c, "host memory of objects counts, and a program that has more is "
				 "killed");
		check_mend(c, true, "echo max > %s", path);
		return;
	}
	if (group_limit(c, false, old, sizeof(old), &v1) && v1 < total) {
		check_add(c, "memory", CHECK_WARN, "%s, of which the control group may have %s",
			  size_text(total).s, size_text(v1).s);
		check_without(c,
			      "gmem does not see limits of version 1, and keeps up to %s for "
			      "pages on devices: call gm_retain_limit()",
			      size_text(total / 8).s);
		check_mend(c, true, "echo -1 > %s", old);
		return;
	}
	if (max < total)
		check_add(c, "memory", CHECK_OK, "%s, of which the control group may have %s",
			  size_text(total).s, size_text(max).s);
	else
		check_add(c, "memory", CHECK_OK, "%s", size_text(total).s);
}

void check_limits(struct check *c)
{
	check_files(c);
	check_maps(c);
	check_addresses(c);
	check_locked(c);
	check_memory(c);
}
