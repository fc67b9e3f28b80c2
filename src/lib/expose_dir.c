// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Where the sockets are: a directory of the user's, in which each process has one whose name is
 * its number.
 *
 * It is gmem in $XDG_RUNTIME_DIR, or in /run/user/UID, or else /tmp/gmem-UID; the first that is
 * there or can be made, and is the user's alone. The last anybody might have made: what is not the
 * user's, is a link, or lets others in is not used, and then there is no socket.
 *
 * Locking: none.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "expose.h"

/* Is there such a directory now, for this user alone? */
static bool usable(const char *dir)
{
	struct stat st;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return false;
	return !lstat(dir, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       !(st.st_mode & 077);
}

int gm_expose_path(char *path, size_t size)
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	char dir[3][96] = { "", "", "" };
	unsigned int uid = geteuid();
	int n;

	if (runtime && *runtime == '/') {
		n = snprintf(dir[0], sizeof(dir[0]), "%s/gmem", runtime);
		if (n < 0 || (size_t)n >= sizeof(dir[0]))
			dir[0][0] = '\0';
	}
	snprintf(dir[1], sizeof(dir[1]), "/run/user/%u/gmem", uid);
	snprintf(dir[2], sizeof(dir[2]), "/tmp/gmem-%u", uid);
	for (unsigned int i = 0; i < 3; i++) {
		if (!dir[i][0] || !usable(dir[i]))
			continue;
		n = snprintf(path, size, "%s/%d", dir[i], (int)getpid());
		return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
	}
	return -EACCES;
}
