// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Who asks for a process's figures, and gets them: a socket (expose_dir.c says where), and a thread
 * that sleeps in poll(2) and costs nothing until somebody comes.
 *
 * A request is a line, the answer a line; a client may send any number of them, one after another.
 * "final" is answered when the process ends, with what "stats" would say then. Who is neither of
 * this user nor root is not heard. No client can hold up another, or the process: all is
 * non-blocking, an answer waits for its reader in memory of our own, and who comes when all
 * places are taken gets that of the client that was silent for longest.
 *
 * Who wants to know of every process that a command starts cannot look for sockets quickly enough: the
 * environment's GMEM_STAT has the name of a socket of gmem-stat(1)'s, which is connected to and then is a
 * client that has asked for "final".
 *
 * It begins with the first address space and ends with the process, so that what is asked at its end can
 * be told. The thread blocks all signals. GMEM_EXPOSE=0 in the environment: there is none of it.
 *
 * A program may close descriptors that are not its own, and open others with the same numbers, so
 * each is compared with what it was before it is used. If the socket is gone so a new one is made.
 *
 * A child of fork() has neither thread nor socket, and makes its own with an address space of its own.
 * A child that was made without handlers has them by number, and leaves them alone: `pid` says whose
 * they are. A socket whose process died otherwise than by exit() is removed by who finds it dead:
 * this file if its name is wanted again, and gmem-top(1).
 *
 * Locking. clients_lock guards all of it; the thread holds it but for its sleep. It may be held
 * for as long as a large map takes; exit() waits for it no longer than a second.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/os.h"
#include "expose.h"
#include "host/linux-user/user.h"

#define CLIENTS 16U
#define BACKLOG 64
#define LINE_MAX_BYTES 128U

/* A socket, and what tells it from another of the same number. */
struct sock {
	int fd; /* -1: none */
	ino_t ino;
};

struct client {
	struct sock sock;
	uint64_t seq; /* when it was last heard of */
	char line[LINE_MAX_BYTES];
	size_t nr;
	struct gm_text out;
	size_t sent;
	struct gm_events *events; /* of "hot" */
	bool eof;		  /* it says nothing more */
	bool last;		  /* nothing more is said to it after what is in @out */
	bool final;		  /* it waits for the end */
};

static pthread_mutex_t clients_lock = PTHREAD_MUTEX_INITIALIZER;
static struct client clients[CLIENTS];
static struct sock listener = { .fd = -1 };
static struct sockaddr_un address;
static pid_t pid; /* whose all this is; 0: it was not begun */
static uint64_t seq;

/* ------------------------------------------------------------------------------ sockets */

static bool sock_set(struct sock *s, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	*s = (struct sock){ .fd = fd, .ino = st.st_ino };
	return true;
}

static bool sock_is_ours(const struct sock *s)
{
	struct stat st;

	return s->fd >= 0 && !fstat(s->fd, &st) && S_ISSOCK(st.st_mode) && st.st_ino == s->ino;
}

static void sock_close(struct sock *s)
{
	if (sock_is_ours(s))
		close(s->fd);
	s->fd = -1;
}

/* Does nobody answer there, though there is a socket? */
static bool is_stale(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) &&
		     errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return stale;
}

static bool bind_to(int fd)
{
	const struct sockaddr *to = (const struct sockaddr *)&address;

	if (!bind(fd, to, sizeof(address)))
		return true;
	/* A process that had this number, or was this one before execve(). */
	return errno == EADDRINUSE && is_stale() && !unlink(address.sun_path) &&
	       !bind(fd, to, sizeof(address));
}

/* Locked. */
static bool open_listener(void)
{
	int fd;

	address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (gm_expose_path(address.sun_path, sizeof(address.sun_path)))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	if (!bind_to(fd))
		goto err_fd;
	if (listen(fd, BACKLOG) || !sock_set(&listener, fd)) {
		unlink(address.sun_path);
		goto err_fd;
	}
	return true;

err_fd:
	close(fd);
	return false;
}

/* ------------------------------------------------------------------------------ clients */

static void client_end(struct client *c)
{
	sock_close(&c->sock);
	gm_text_free(&c->out);
	if (c->events)
		gm_host()->events_close(c->events);
	*c = (struct client){ .sock = { .fd = -1 } };
}

static void client_flush(struct client *c)
{
	ssize_t n;

	while (c->sent < c->out.len) {
		n = send(c->sock.fd, c->out.s + c->sent, c->out.len - c->sent,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			client_end(c);
			return;
		}
		c->sent += (size_t)n;
	}
	gm_text_free(&c->out);
	c->sent = 0;
	if (c->last)
		client_end(c);
}

static void client_answer(struct client *c, const char *request)
{
	if (!strcmp(request, "final")) {
		c->final = true;
		return;
	}
	gm_expose_answer(&c->out, request, &c->events);
	c->last |= !c->out.s; /* there was no memory for a word */
	client_flush(c);
}

/* The first line that is whole, if the answer to the one before is on its way. */
static bool client_request(struct client *c)
{
	char request[LINE_MAX_BYTES + 1];
	char *end = memchr(c->line, '\n', c->nr);
	size_t n = end ? (size_t)(end - c->line) : c->nr;

	if (c->out.len || c->last || c->sock.fd < 0)
		return false;
	/* What ends without the end of a line is a line; a line that is too long is none. */
	if (!end && !(c->eof && c->nr) && c->nr < LINE_MAX_BYTES)
		return false;
	memcpy(request, c->line, n);
	request[n] = '\0';
	c->last |= !end && !c->eof;
	n += end != NULL;
	c->nr -= n;
	memmove(c->line, c->line + n, c->nr);
	if (strlen(request) && request[strlen(request) - 1] == '\r')
		request[strlen(request) - 1] = '\0';
	client_answer(c, request);
	return true;
}

static void client_read(struct client *c)
{
	ssize_t n = recv(c->sock.fd, c->line + c->nr, LINE_MAX_BYTES - c->nr, MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN) {
		client_end(c);
		return;
	}
	if (n > 0)
		c->nr += (size_t)n;
	c->eof |= n == 0;
	c->seq = ++seq;
}

/* @events: what poll(2) says of it. */
static void client_turn(struct client *c, short events)
{
	if (!sock_is_ours(&c->sock) || (events & POLLERR)) {
		client_end(c);
		return;
	}
	if (events & POLLOUT)
		client_flush(c);
	if (c->sock.fd >= 0 && (events & (POLLIN | POLLHUP)) && !c->eof)
		client_read(c);
	while (client_request(c))
		;
	/* It has heard all it wanted, or is gone: what hangs up reads no more. */
	if (c->sock.fd >= 0 &&
	    ((c->eof && !c->out.len && !c->final) || (c->eof && (events & POLLHUP))))
		client_end(c);
}

static bool client_may(int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) &&
	       (!who.uid || who.uid == geteuid());
}

/* @fd, which is connected, or -1; it is closed if there is to be none. */
static struct client *client_begin(int fd)
{
	struct client *c = clients;

	if (fd < 0)
		return NULL;
	for (unsigned int i = 1; i < CLIENTS && c->sock.fd >= 0; i++)
		if (clients[i].sock.fd < 0 || clients[i].seq < c->seq)
			c = &clients[i];
	if (!client_may(fd)) {
		close(fd);
		return NULL;
	}
	client_end(c);
	if (!sock_set(&c->sock, fd)) {
		close(fd);
		return NULL;
	}
	c->seq = ++seq;
	return c;
}

static void client_accept(void)
{
	client_begin(accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

/* A name that begins with @ is of no file. It waits for no longer than a second. */
static bool client_call(const char *name)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const struct timeval second = { .tv_sec = 1 };
	size_t len = strlen(name);
	struct client *c;
	int fd;

	if (!len || len >= sizeof(to.sun_path))
		return false;
	memcpy(to.sun_path, name, len);
	if (*name == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof(second));
	len += offsetof(struct sockaddr_un, sun_path);
	if (connect(fd, (const struct sockaddr *)&to, (socklen_t)len)) {
		close(fd);
		return false;
	}
	c = client_begin(fd);
	if (c)
		c->final = true;
	return c != NULL;
}

/* ------------------------------------------------------------------------------- thread */

/* Locked. How many of @fds are to be polled; the first is the listener. */
static nfds_t poll_set(struct pollfd *fds, struct client **of)
{
	nfds_t n = 1;

	fds[0] = (struct pollfd){ .fd = listener.fd, .events = POLLIN };
	for (unsigned int i = 0; i < CLIENTS; i++) {
		struct client *c = &clients[i];
		short events = c->out.len ? POLLOUT : c->eof ? 0 : POLLIN;

		if (c->sock.fd < 0)
			continue;
		fds[n] = (struct pollfd){ .fd = c->sock.fd, .events = events };
		of[n++] = c;
	}
	return n;
}

static void *serve(void *arg)
{
	struct pollfd fds[1 + CLIENTS];
	struct client *of[1 + CLIENTS];
	nfds_t n;

	(void)arg;
	for (;;) {
		pthread_mutex_lock(&clients_lock);
		n = poll_set(fds, of);
		pthread_mutex_unlock(&clients_lock);
		poll(fds, n, -1);
		pthread_mutex_lock(&clients_lock);
		for (nfds_t i = 1; i < n; i++)
			if (fds[i].revents)
				client_turn(of[i], fds[i].revents);
		if (fds[0].revents && sock_is_ours(&listener)) {
			client_accept();
		} else if (fds[0].revents) {
			unlink(address.sun_path);
			listener.fd = -1;
			open_listener();
		}
		pthread_mutex_unlock(&clients_lock);
	}
	return NULL; /* never */
}

/* Locked. */
static void begin(void)
{
	const char *wish = secure_getenv("GMEM_EXPOSE"), *stat = secure_getenv("GMEM_STAT");
	struct gm_user_thread thread;
	bool called, listens;

	pid = getpid(); /* once, whatever comes of it */
	for (unsigned int i = 0; i < CLIENTS; i++)
		clients[i].sock.fd = -1;
	if (wish && !strcmp(wish, "0"))
		return;
	called = stat && client_call(stat);
	listens = open_listener();
	if (!called && !listens)
		return;
	if (!gm_thread_start(&thread, "gmem/expose", serve, NULL)) {
		pthread_detach(thread.id);
		return;
	}
	if (listens)
		unlink(address.sun_path);
	sock_close(&listener);
	for (unsigned int i = 0; i < CLIENTS; i++)
		client_end(&clients[i]);
}

void gm_expose_serve(void)
{
	pthread_mutex_lock(&clients_lock);
	if (!pid)
		begin();
	pthread_mutex_unlock(&clients_lock);
}

/* ----------------------------------------------------------------------- fork, and the end */

static void before_fork(void)
{
	pthread_mutex_lock(&clients_lock);
	pthread_mutex_lock(&gm_expose_things_lock);
}

static void in_parent(void)
{
	pthread_mutex_unlock(&gm_expose_things_lock);
	pthread_mutex_unlock(&clients_lock);
}

static void in_child(void)
{
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (pid)
			client_end(&clients[i]);
	sock_close(&listener);
	pid = 0;
	gm_expose_forget();
	in_parent();
}

__attribute__((constructor)) static void init(void)
{
	pthread_atfork(before_fork, in_parent, in_child);
}

/* Who has asked for the end is told. */
__attribute__((destructor)) static void fini(void)
{
	struct timespec until;

	if (__atomic_load_n(&pid, __ATOMIC_RELAXED) != getpid())
		return;
	/* Of the wall's clock: what waits by another ThreadSanitizer does not know. */
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	if (pthread_mutex_timedlock(&clients_lock, &until))
		return;
	for (unsigned int i = 0; i < CLIENTS; i++) {
		struct client *c = &clients[i];

		if (!c->final || c->out.len || !sock_is_ours(&c->sock))
			continue;
		gm_expose_answer(&c->out, "final", &c->events);
		client_flush(c);
	}
	if (listener.fd >= 0)
		unlink(address.sun_path);
	pthread_mutex_unlock(&clients_lock);
}
