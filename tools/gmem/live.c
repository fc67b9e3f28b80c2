// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Asking processes that use gmem for their figures.
 *
 * Their sockets are in directories of their users; the library chooses one of three, and all three are
 * looked at, of this user and, for root, of the process's. A process is believed to be who the
 * name says only if the kernel says so, too.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "live.h"
#include "util.h"

#define TEXT_MAX (512U << 20)
#define DIRS 3U

struct dir {
	char path[96];
};

/* Where those of user @uid are; "" for what cannot be. */
static void dirs_of(uid_t uid, struct dir *dir)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n;

	memset(dir, 0, DIRS * sizeof(*dir));
	if (runtime && *runtime == '/') {
		n = snprintf(dir[0].path, sizeof(dir[0].path), "%s/gmem", runtime);
		if (n < 0 || (size_t)n >= sizeof(dir[0].path))
			dir[0].path[0] = '\0';
	}
	snprintf(dir[1].path, sizeof(dir[1].path), "/run/user/%u/gmem", uid);
	snprintf(dir[2].path, sizeof(dir[2].path), "/tmp/gmem-%u", uid);
}

/*
 * Remove what is left of a process that is gone; not between bind(2) and listen(2) of one that begins,
 * and for nobody else: in a directory of another's, root might be shown anything.
 */
static void clean(const char *dir, const char *path, pid_t pid)
{
	struct stat st;

	if (kill(pid, 0) && errno == ESRCH && !lstat(dir, &st) && S_ISDIR(st.st_mode) &&
	    st.st_uid == geteuid())
		unlink(path);
}

/* Connected to the socket, or -errno. */
static int connect_to(const char *dir, pid_t pid)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const struct timeval second = { .tv_sec = 1 };
	struct ucred who;
	socklen_t len = sizeof(who);
	int n = snprintf(to.sun_path, sizeof(to.sun_path), "%s/%d", dir, (int)pid), fd, err = 0;

	if (n < 0 || (size_t)n >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof(second));
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)))
		err = -errno;
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) || who.pid != pid)
		err = -ECONNREFUSED;
	if (err == -ECONNREFUSED)
		clean(dir, to.sun_path, pid);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* ---------------------------------------------------------------------- a connection */

void live_init(struct live *l, int fd)
{
	*l = (struct live){ .fd = fd };
}

void live_close(struct live *l)
{
	if (l->fd >= 0)
		close(l->fd);
	free(l->text);
	live_init(l, -1);
}

enum live_error live_open(struct live *l, pid_t pid)
{
	struct dir dir[DIRS];
	struct stat st;
	char path[32];
	int fd;

	live_init(l, -1);
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &st))
		return LIVE_NO_PROCESS;
	if (geteuid() && st.st_uid != geteuid())
		return LIVE_NOT_OURS;
	dirs_of(st.st_uid, dir);
	for (unsigned int i = 0; i < DIRS; i++) {
		fd = dir[i].path[0] ? connect_to(dir[i].path, pid) : -ENOENT;
		if (fd >= 0) {
			live_init(l, fd);
			return LIVE_OK;
		}
	}
	return LIVE_NO_GMEM;
}

int live_fail(int status, enum live_error error, pid_t pid)
{
	switch (error) {
	case LIVE_NO_PROCESS:
		return fail(status, "there is no process %d", (int)pid);
	case LIVE_NOT_OURS:
		return fail(status, "process %d is another user's: only root may look at it",
			    (int)pid);
	case LIVE_NO_GMEM:
		return fail(status,
			    "process %d does not use gmem, or has no address space yet, or "
			    "GMEM_EXPOSE=0 is in its environment",
			    (int)pid);
	default:
		return fail(status, "process %d does not answer", (int)pid);
	}
}

int live_send(struct live *l, const char *request)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s\n", request);

	return l->fd >= 0 && send(l->fd, line, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -1;
}

/* The line that is there, if it is whole; the rest stays. */
static json_t *take_line(struct live *l, int *end)
{
	char *eol = l->len ? memchr(l->text, '\n', l->len) : NULL;
	size_t n;
	json_t *root;

	if (!eol)
		return NULL;
	n = (size_t)(eol - l->text) + 1;
	root = json_loadb(l->text, n, 0, NULL);
	l->len -= n;
	memmove(l->text, l->text + n, l->len);
	if (json_is_object(root))
		return root;
	json_decref(root);
	*end = 1;
	return NULL;
}

json_t *live_receive(struct live *l, int ms, int *end)
{
	double until = seconds_now() + ms / 1e3;
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	json_t *root;
	ssize_t n;

	*end = 0;
	for (;;) {
		root = take_line(l, end);
		if (root || *end)
			return root;
		if (l->room - l->len < 65536) {
			l->room = l->room ? 2 * l->room : 131072;
			l->text = xrealloc(l->text, l->room, 1);
		}
		ms = (int)((until - seconds_now()) * 1e3);
		if (poll(&p, 1, ms > 0 ? ms : 0) <= 0) {
			if (ms <= 0)
				return NULL;
			continue;
		}
		n = recv(l->fd, l->text + l->len, l->room - l->len, 0);
		if (n <= 0 || l->room > TEXT_MAX) {
			*end = 1;
			return NULL;
		}
		l->len += (size_t)n;
	}
}

json_t *live_ask(struct live *l, const char *request)
{
	json_t *root;
	int end;

	if (live_send(l, request))
		return NULL;
	root = live_receive(l, LIVE_TIMEOUT_MS, &end);
	if (root && json_object_get(root, "error")) {
		json_decref(root);
		root = NULL;
	}
	return root;
}

/* -------------------------------------------------------------------------- all of them */

struct list {
	pid_t *pids;
	size_t nr, max;
};

static void list_dir(struct list *list, const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	uint64_t pid;
	int fd;

	while (d && (e = readdir(d))) {
		if (number_parse(e->d_name, 1, INT32_MAX, &pid))
			continue;
		fd = connect_to(path, (pid_t)pid);
		if (fd < 0)
			continue;
		close(fd);
		if (list->nr == list->max) {
			list->max = list->max ? 2 * list->max : 64;
			list->pids = xrealloc(list->pids, list->max, sizeof(*list->pids));
		}
		list->pids[list->nr++] = (pid_t)pid;
	}
	if (d)
		closedir(d);
}

static void list_user(struct list *list, uid_t uid)
{
	struct dir dir[DIRS];

	dirs_of(uid, dir);
	for (unsigned int i = 0; i < DIRS; i++)
		if (dir[i].path[0])
			list_dir(list, dir[i].path);
}

/* Users are who has a directory: /run/user/UID, or /tmp/gmem-UID. */
static void list_others(struct list *list, const char *path, const char *prefix)
{
	size_t len = strlen(prefix);
	DIR *d = opendir(path);
	struct dirent *e;
	uint64_t uid;

	while (d && (e = readdir(d)))
		if (!strncmp(e->d_name, prefix, len) &&
		    !number_parse(e->d_name + len, 0, UINT32_MAX, &uid) && uid != geteuid())
			list_user(list, (uid_t)uid);
	if (d)
		closedir(d);
}

static int compare(const void *a, const void *b)
{
	const pid_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

size_t live_list(pid_t **pids)
{
	struct list list = { .pids = NULL };
	size_t n = 0;

	list_user(&list, geteuid());
	if (!geteuid()) {
		list_others(&list, "/run/user", "");
		list_others(&list, "/tmp", "gmem-");
	}
	if (list.nr)
		qsort(list.pids, list.nr, sizeof(*list.pids), compare);
	for (size_t i = 0; i < list.nr; i++)
		if (!n || list.pids[n - 1] != list.pids[i])
			list.pids[n++] = list.pids[i];
	*pids = list.pids;
	return n;
}

/* ------------------------------------------------------------------------------ figures */

json_int_t live_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

void live_add(json_t *sum, const json_t *more, int sign)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)more, key, value) if (json_is_integer(value))
		json_object_set_new(
			sum, key,
			json_integer(live_number(sum, key) + sign * json_integer_value(value)));
}
