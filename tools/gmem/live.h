/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Asking processes that use gmem for their figures: gmem(7), "What a process tells of itself".
 */
#ifndef GMEM_TOOL_LIVE_H
#define GMEM_TOOL_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

/* A connection, and what came of the line that is being read. */
struct live {
	int fd; /* -1: none */
	char *text;
	size_t len, room;
};

#define LIVE_TIMEOUT_MS 2000

/* Why there is no talking to a process. */
enum live_error {
	LIVE_OK,
	LIVE_NO_PROCESS,
	LIVE_NOT_OURS,
	LIVE_NO_GMEM, /* it does not use gmem, or not yet, or does not want to tell */
	LIVE_FAILED,
};

enum live_error live_open(struct live *l, pid_t pid);
/* Of a connection that there is already. */
void live_init(struct live *l, int fd);
void live_close(struct live *l);

/* 0 or -1. */
int live_send(struct live *l, const char *request);
/*
 * The next answer, after at most @ms. NULL: none; *end then says whether there will be one: 0 not yet,
 * 1 never, for the connection is over or what came is no JSON object.
 */
json_t *live_receive(struct live *l, int ms, int *end);
/* Both, and wait. NULL: nothing came, or an error. */
json_t *live_ask(struct live *l, const char *request);

/* One line about @error and @pid, to stderr; returns @status. */
int live_fail(int status, enum live_error error, pid_t pid);

/* All processes that can be asked, ascending; of dead ones the sockets are removed. xrealloc()ed. */
size_t live_list(pid_t **pids);

/* A member of an object, 0 if there is none. */
json_int_t live_number(const json_t *object, const char *key);
/* Add @sign times the numbers of @more to those of @sum, which gets what it has not. */
void live_add(json_t *sum, const json_t *more, int sign);

/* stat.c, top.c: the commands */
int stat_main(int argc, char **argv);
int top_main(int argc, char **argv);

#endif
