// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What a process tells of itself where something fails: no memory, no socket, no directory, no thread,
 * a client that may not ask, and a GMEM_STAT that leads nowhere. The program goes on as if
 * nobody had wanted to know, and keeps no memory and no descriptor for it.
 *
 * Over a host of the test's own, and system calls that can be made to fail. What is begun in a process
 * is never begun again, so each test is a process of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/os.h"
#include "expose.h"
#include "host/linux-user/user.h"

#define expect(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #cond);                 \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static char dir[64] = "/tmp/gmem-test-XXXXXX";

/* ---------------------------------------------------------------- what can be refused */

enum call { ALLOC, MMAP, MREMAP, FSTAT, SOCKET, BIND, LISTEN, CRED, SEND, RECV, MKDIR, THREAD, NR };

static struct {
	unsigned int skip, count; /* let so many pass, refuse so many */
	int err;
} plan[NR];
static long mapped; /* bytes, of what gm_text_add() has */

/* By one thread at a time: the test waits for what the other one does. */
static void refuse(enum call call, unsigned int skip, unsigned int count, int err)
{
	plan[call].skip = skip;
	plan[call].count = count;
	plan[call].err = err;
}

static bool refused(enum call call)
{
	if (!plan[call].count)
		return false;
	if (plan[call].skip) {
		plan[call].skip--;
		return false;
	}
	plan[call].count--;
	errno = plan[call].err;
	return true;
}

#define WRAP(type, name, call, bad, params, args)                                                  \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		return refused(call) ? (bad) : __real_##name args;                                 \
	}

WRAP(int, socket, SOCKET, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, bind, BIND, -1, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len))
WRAP(int, listen, LISTEN, -1, (int fd, int n), (fd, n))
WRAP(ssize_t, send, SEND, -1, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags))
WRAP(ssize_t, recv, RECV, -1, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags))
WRAP(int, fstat64, FSTAT, -1, (int fd, void *st), (fd, st))
WRAP(int, mkdir, MKDIR, -1, (const char *path, mode_t mode), (path, mode))

/* Not refused but answered: somebody else's. */
int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int ret = __real_getsockopt(fd, level, name, value, len);

	if (!ret && refused(CRED))
		((struct ucred *)value)->uid = geteuid() + 1;
	return ret;
}

void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	if (refused(MMAP))
		return MAP_FAILED;
	mapped += (long)len;
	return __real_mmap64(at, len, prot, flags, fd, off);
}

int __real_munmap(void *at, size_t len);
int __wrap_munmap(void *at, size_t len);
int __wrap_munmap(void *at, size_t len)
{
	mapped -= (long)len;
	return __real_munmap(at, len);
}

void *__real_mremap(void *at, size_t from, size_t to, int flags, ...);
void *__wrap_mremap(void *at, size_t from, size_t to, int flags, ...);
void *__wrap_mremap(void *at, size_t from, size_t to, int flags, ...)
{
	if (refused(MREMAP))
		return MAP_FAILED;
	mapped += (long)to - (long)from;
	return __real_mremap(at, from, to, flags);
}

void *gm_os_alloc(size_t size)
{
	return refused(ALLOC) ? NULL : calloc(1, size);
}

void gm_os_free(void *p, size_t size)
{
	(void)size;
	free(p);
}

int gm_thread_start(struct gm_user_thread *t, const char *name, void *(*fn)(void *), void *arg)
{
	(void)name;
	return refused(THREAD) ? -ENOMEM : -pthread_create(&t->id, NULL, fn, arg);
}

/* ------------------------------------------------------------------------------ a host */

static int as_stats(struct gm_as *as, struct gm_stats *stats)
{
	stats->cpu_faults = (uintptr_t)as;
	return 0;
}

static int dev_stats(struct gm_dev *dev, struct gm_stats *stats)
{
	stats->dev_faults = (uintptr_t)dev;
	return 0;
}

static int dev_hnode(const struct gm_dev *dev)
{
	return (int)(uintptr_t)dev;
}

static int hnode_info(int hnode, struct gm_hnode_info *info)
{
	(void)hnode;
	(void)info;
	return -ENODEV;
}

static uint64_t no_bytes(void)
{
	return 0;
}

static uint64_t as_next(struct gm_as *as, uint64_t va, uint64_t end, uint64_t *len)
{
	(void)as;
	*len = GM_PAGE_SIZE;
	return va ? end : GM_PAGE_SIZE;
}

static int query(const void *addr, size_t len, struct gm_page_info *info)
{
	(void)addr;
	(void)len;
	(void)info;
	return -ENOENT; /* it went between two looks */
}

static int events_open(const struct gm_events_options *opt, struct gm_events **events)
{
	(void)opt;
	(void)events;
	return -ENOMEM;
}

static const struct gm_host host = {
	.name = "test",
	.as_stats = as_stats,
	.as_next = as_next,
	.dev_stats = dev_stats,
	.dev_hnode = dev_hnode,
	.hnode_info = hnode_info,
	.metadata_bytes = no_bytes,
	.retained_bytes = no_bytes,
	.query = query,
	.events_open = events_open,
};

const struct gm_host *gm_host(void)
{
	return &host;
}

/* ----------------------------------------------------------------------------- a client */

static struct sockaddr_un path_of_socket(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	snprintf(to.sun_path, sizeof(to.sun_path), "%s/gmem/%d", dir, (int)getpid());
	return to;
}

static bool listens(void)
{
	return !access(path_of_socket().sun_path, F_OK);
}

/* The answer, or "" where the connection ended without one. */
static const char *ask(const char *request)
{
	struct sockaddr_un to = path_of_socket();
	static char text[1 << 16];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t len = 0;
	ssize_t n;

	expect(fd >= 0 && !connect(fd, (const struct sockaddr *)&to, sizeof(to)));
	if (*request) /* else it may be hung up by now */
		expect(write(fd, request, strlen(request)) == (ssize_t)strlen(request));
	shutdown(fd, SHUT_WR);
	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	text[len] = '\0';
	return text;
}

static bool answers(void)
{
	return strstr(ask("stats\n"), "\"total\":") != NULL;
}

static struct gm_as *as_nr(uintptr_t i)
{
	return (struct gm_as *)i;
}

static struct gm_dev *dev_nr(uintptr_t i)
{
	return (struct gm_dev *)i;
}

static unsigned int nr_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* One begins, with what is refused; nothing is left of it but a listener, if there is one. */
static void begins(bool there)
{
	unsigned int before = nr_fds();

	gm_expose_as_created(as_nr(1));
	expect(listens() == there);
	expect(nr_fds() == before + there);
	if (there)
		expect(answers());
}

/* -------------------------------------------------------------------------------- tests */

static void all_is_well(void)
{
	begins(true);
}

static void no_thread(void)
{
	refuse(THREAD, 0, 1, 0);
	begins(false);
}

static void no_socket(void)
{
	refuse(SOCKET, 0, 1, EMFILE);
	begins(false);
}

static void no_bind(void)
{
	refuse(BIND, 0, 1, EACCES);
	begins(false);
}

static void no_listen(void)
{
	refuse(LISTEN, 0, 1, EOPNOTSUPP);
	begins(false);
}

static void no_fstat(void)
{
	refuse(FSTAT, 0, 1, EIO);
	begins(false);
}

/* Whoever has the name lives still: it stays his, and this process has none. */
static void name_is_taken(void)
{
	struct sockaddr_un at = path_of_socket();
	char path[128];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	expect(!gm_expose_path(path, sizeof(path)) && !strcmp(path, at.sun_path));
	expect(!bind(fd, (const struct sockaddr *)&at, sizeof(at)) && !listen(fd, 1));
	gm_expose_as_created(as_nr(1));
	expect(fcntl(fd + 1, F_GETFD) < 0);
	close(fd);
	expect(listens() && !unlink(at.sun_path));
}

static void name_cannot_be_asked(void)
{
	refuse(BIND, 0, 1, EADDRINUSE);
	refuse(SOCKET, 1, 1, EMFILE);
	begins(false);
}

static void no_directory(void)
{
	char path[128];

	refuse(MKDIR, 0, 3, EROFS);
	expect(gm_expose_path(path, sizeof(path)) == -EACCES);
	expect(gm_expose_path(path, 8) == -ENAMETOOLONG);
	refuse(MKDIR, 0, 3, EROFS);
	begins(false);
}

static void a_client_of_anothers(void)
{
	begins(true);
	refuse(CRED, 0, 1, 0);
	expect(!*ask(""));
	expect(!plan[CRED].count);
	expect(answers());
}

static void client_without_a_look(void)
{
	begins(true);
	refuse(FSTAT, 1, 1, EIO); /* the first is of the listener */
	expect(!*ask(""));
	expect(!plan[FSTAT].count);
	expect(answers());
}

static void client_breaks_off(void)
{
	begins(true);
	refuse(SEND, 0, 1, EPIPE);
	expect(!*ask("stats\n"));
	refuse(RECV, 0, 1, ECONNRESET);
	expect(!*ask(""));
	expect(!plan[RECV].count);
	expect(answers());
}

static void no_memory_for_an_answer(void)
{
	long before;

	begins(true);
	before = mapped;
	refuse(MMAP, 0, 1, ENOMEM);
	expect(strstr(ask("stats\n"), "no memory for the answer"));
	refuse(MMAP, 0, 2, ENOMEM); /* nor for saying so */
	expect(!*ask("stats\n"));
	expect(mapped == before);
	expect(answers());
	expect(strstr(ask("hot\n"), "no reader of events can be had"));
	expect(mapped == before);
}

/* Where text grows, and where it has grown to the largest that there may be. */
static void answers_too_long(void)
{
	static const char says[] = "no memory for the answer\"}\n";
	struct gm_events *events = NULL;
	struct gm_text t = { .s = NULL };
	long before = mapped;

	gm_text_add(&t, "%600d", 1); /* more than a piece may be */
	expect(t.failed);
	gm_text_free(&t);
	gm_text_add(&t, "x");
	t.len = t.room - 2; /* as if it were full; what is skipped is never read */
	refuse(MREMAP, 0, 1, ENOMEM);
	gm_expose_answer(&t, "stats", &events);
	expect(!t.failed && strstr(t.s, says));
	gm_text_free(&t);
	gm_text_add(&t, "x");
	t.len = 255U << 20;
	gm_text_add(&t, "x");
	expect(!t.failed);
	t.len = t.room - 2;
	gm_expose_answer(&t, "stats", &events);
	expect(!t.failed && strstr(t.s, says));
	gm_text_free(&t);
	expect(mapped == before);
}

/* Those that there is no room for are not told of, and end like all others. */
static void no_memory_for_spaces(void)
{
	struct gm_expose_ending end;

	refuse(ALLOC, 0, 1, 0);
	begins(true);
	expect(!strstr(ask("stats\n"), "\"id\":"));
	gm_expose_as_ending(as_nr(1), &end);
	expect(!end.id);
	gm_expose_as_ended(as_nr(1), &end, 0);
	expect(strstr(ask("stats\n"), "\"ended\":0,"));
	for (uintptr_t i = 1; i <= 1000; i++)
		gm_expose_as_created(as_nr(i));
	expect(gm_expose_things.nr == 1000);
	refuse(ALLOC, 0, UINT32_MAX, 0);
	while (gm_expose_things.nr < gm_expose_things.max)
		gm_expose_as_created(as_nr(5000));
	gm_expose_as_created(as_nr(5001));
	refuse(ALLOC, 0, 0, 0);
	gm_expose_as_ending(as_nr(5001), &end);
	expect(!end.id);
	/* One that cannot end is told of again. */
	gm_expose_as_ending(as_nr(7), &end);
	expect(end.id && end.last.cpu_faults == 7);
	gm_expose_as_ended(as_nr(7), &end, -EBUSY);
	gm_expose_as_ending(as_nr(7), &end);
	gm_expose_as_ended(as_nr(7), &end, 0);
	expect(gm_expose_things.ended == 1 && gm_expose_things.ended_sum.cpu_faults == 7);
	gm_expose_forget();
}

static void too_many_devices(void)
{
	struct gm_expose_ending end;

	for (uintptr_t i = 1; i <= GM_EXPOSE_DEVS + 1; i++)
		gm_expose_dev_created(dev_nr(i), "d");
	gm_expose_dev_ending(dev_nr(GM_EXPOSE_DEVS + 1), &end);
	expect(!end.slot);
	gm_expose_dev_ended(dev_nr(GM_EXPOSE_DEVS + 1), &end, -EBUSY);
	gm_expose_dev_ending(NULL, &end);
	expect(!end.slot);
	gm_expose_dev_ending(dev_nr(3), &end); /* it cannot end, and has its place still */
	expect(end.slot && !end.slot->dev && end.last.dev_faults == 3);
	gm_expose_dev_ended(dev_nr(3), &end, -EBUSY);
	expect(end.slot->dev == dev_nr(3));
	gm_expose_dev_ending(dev_nr(3), &end); /* the same, but another has it now */
	gm_expose_dev_created(dev_nr(100), "d");
	gm_expose_dev_ended(dev_nr(3), &end, -EBUSY);
	expect(end.slot->dev == dev_nr(100));
}

/* ---------------------------------------------------------------------------- GMEM_STAT */

/* A socket that calls come to; @len of its address. */
static int called_at(struct sockaddr_un *at, socklen_t *len, const char *name)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			   (size_t)snprintf(at->sun_path, sizeof(at->sun_path), "%s", name));
	if (*name == '@')
		at->sun_path[0] = '\0';
	expect(fd >= 0 && !bind(fd, (const struct sockaddr *)at, *len));
	return fd;
}

static void stat_leads_nowhere(void)
{
	char name[200];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	setenv("GMEM_STAT", name, 1); /* no address holds it */
	begins(true);
}

static void stat_is_empty(void)
{
	setenv("GMEM_STAT", "", 1);
	begins(true);
}

/* There is a socket, and nobody listens any more. */
static void stat_is_dead(void)
{
	char name[128];
	struct sockaddr_un at;
	socklen_t len;

	snprintf(name, sizeof(name), "%s/dead", dir);
	close(called_at(&at, &len, name));
	setenv("GMEM_STAT", name, 1);
	begins(true);
	unlink(name);
}

/* Who listens there is connected to, and then hung up on: it is told nothing. */
static void hung_up_on(enum call call, bool serves)
{
	char name[64], c;
	struct sockaddr_un at;
	socklen_t len;
	int fd, client;

	snprintf(name, sizeof(name), "@gmem-test-%d", (int)getpid());
	fd = called_at(&at, &len, name);
	expect(!listen(fd, 4));
	setenv("GMEM_STAT", name, 1);
	refuse(call, 0, 1, 0);
	begins(serves);
	client = accept(fd, NULL, NULL);
	expect(client >= 0 && read(client, &c, 1) == 0);
	close(client);
	close(fd);
}

/* It is another user. */
static void stat_is_anothers(void)
{
	hung_up_on(CRED, true);
}

static void stat_without_a_socket(void)
{
	setenv("GMEM_STAT", "@nobody", 1);
	refuse(SOCKET, 0, 1, EMFILE);
	begins(true);
}

static void stat_without_a_thread(void)
{
	hung_up_on(THREAD, false);
}

/* -------------------------------------------------------------------------------- main */

static const struct test {
	const char *name;
	void (*fn)(void);
} tests[] = {
#define TEST(fn)                                                                                   \
	{                                                                                          \
#fn, fn                                                                            \
	}
	TEST(all_is_well),
	TEST(no_thread),
	TEST(no_socket),
	TEST(no_bind),
	TEST(no_listen),
	TEST(no_fstat),
	TEST(name_is_taken),
	TEST(name_cannot_be_asked),
	TEST(no_directory),
	TEST(a_client_of_anothers),
	TEST(client_without_a_look),
	TEST(client_breaks_off),
	TEST(no_memory_for_an_answer),
	TEST(answers_too_long),
	TEST(no_memory_for_spaces),
	TEST(too_many_devices),
	TEST(stat_leads_nowhere),
	TEST(stat_is_empty),
	TEST(stat_is_dead),
	TEST(stat_is_anothers),
	TEST(stat_without_a_socket),
	TEST(stat_without_a_thread),
};

static int run(const struct test *test)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		alarm(60);
		test->fn();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	printf("%s: %s\n", status ? "FAILED" : "ok", test->name);
	fflush(stdout);
	return status != 0;
}

int main(void)
{
	char path[80];
	int failed = 0;

	if (!mkdtemp(dir))
		return 1;
	setenv("XDG_RUNTIME_DIR", dir, 1);
	unsetenv("GMEM_STAT");
	unsetenv("GMEM_EXPOSE");
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		failed += run(&tests[i]);
	snprintf(path, sizeof(path), "%s/gmem", dir);
	failed += rmdir(path) || rmdir(dir); /* no socket is left */
	return failed != 0;
}
