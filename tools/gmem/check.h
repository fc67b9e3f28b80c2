/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem check`: what a probe may ask of the machine, and what it has found. */
#ifndef GMEM_TOOL_CHECK_H
#define GMEM_TOOL_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <uapi/gmem.h>

enum check_state {
	CHECK_OK,
	CHECK_NOTE, /* not there, and few programs miss it: does not count */
	CHECK_WARN, /* works, but something is slower, or missing */
	CHECK_FAIL, /* a host does not work */
	CHECK_NR_STATES,
};

struct check_item {
	const char *group;
	const char *name;
	enum check_state state;
	char found[160];
	char without[256]; /* what is missing for it, and what works all the same; may be empty */
	char mend[160];	   /* one command; empty: no command does it */
	bool root;	   /* only as root */
};

/*
 * The machine: paths of files, and calls. A test has a directory and functions of its own.
 * Functions return a value, or 0, or -errno.
 */
struct check_sys {
	const char *root; /* what comes before every path */
	int (*release)(struct utsname *name);
	int (*userfaultfd)(int flags);		  /* by the system call: a descriptor */
	int (*userfaultfd_dev)(const char *path); /* by the device: a descriptor */
	int (*features)(int uffd, uint64_t *features);
	bool (*seccomp)(void); /* a filter is on */
	int (*memfd)(void);    /* a descriptor */
	int (*limit)(int resource, struct rlimit *limit);
	int (*info)(const char *path, struct gmem_info *info); /* of /dev/gmem */
	int (*hnode)(const char *path, int hnode);	       /* 0: there is one */
	int (*readable)(const char *path, int mode);	       /* as access(2) */
	int (*try)(const char **what); /* use gmem; on failure @what it is that failed */
};

extern const struct check_sys check_machine;

#define CHECK_MAX_ITEMS 32U

struct check {
	const struct check_sys *sys;
	const char *wish; /* the environment's GMEM_HOST; NULL: unset */
	struct check_item items[CHECK_MAX_ITEMS];
	unsigned int nr;
	bool user, kernel; /* this host works */
	const char *host;  /* what a program gets; NULL: none */
	int status;	   /* 0 ready, 1 works with something missing, 2 does not work */
};

/* check_run.c: all probes, in order; fills all of @c but sys and wish, which the caller has set. */
void check_run(struct check *c);

/* Add what a probe has found; then, of the same, what goes without it, and what mends it. */
__attribute__((format(printf, 4, 5))) void check_add(struct check *c, const char *name,
						     enum check_state state, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void check_without(struct check *c, const char *fmt, ...);
__attribute__((format(printf, 3, 4))) void check_mend(struct check *c, bool root, const char *fmt,
						      ...);

/* Probes. Each adds its items. */
void check_release(struct check *c);
void check_user(struct check *c);   /* sets c->user */
void check_kernel(struct check *c); /* sets c->kernel */
void check_limits(struct check *c);

/* The beginning of a file as a string without its last newline; false: it cannot be read. */
bool check_read(const struct check *c, const char *path, char *buf, size_t size);
bool check_number(const struct check *c, const char *path, uint64_t *value);

/* check_print.c: 0, or -1 if it could not be written. */
int check_print(const struct check *c, FILE *out, bool color, bool root);
int check_print_json(const struct check *c, FILE *out);

int check_main(int argc, char **argv); /* returns the exit status */

#endif
