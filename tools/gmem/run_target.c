// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem run`: is it a program, and one that the dynamic linker preloads a library into?
 *
 * Nobody says so otherwise: a static program would run, on plain memory, and so would one
 * that gains rights, where the dynamic linker ignores LD_PRELOAD. Of a script it is the
 * interpreter that counts.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "run.h"
#include "util.h"

#define LOADER "/lib64/ld-linux-x86-64.so.2"
#define MAX_SCRIPTS 4 /* interpreters that are scripts themselves; as the kernel */
#define MAX_SEGMENTS 64

/* ------------------------------------------------------------------------- which file */

/* 0, or what is wrong with it. */
static int runnable(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno;
	if (!S_ISREG(st.st_mode))
		return EACCES;
	return access(path, X_OK) ? errno : 0;
}

/* As execvp(3): the first in PATH that can be run; if none can, what is wrong with the last. */
static int search(const char *name, char *path, size_t size)
{
	const char *dirs = getenv("PATH"), *end;
	int err = ENOENT, now;

	if (!dirs)
		dirs = "/usr/local/bin:/usr/bin:/bin";
	for (;; dirs = end + 1) {
		end = strchrnul(dirs, ':');
		if ((size_t)snprintf(path, size, "%.*s%s%s", (int)(end - dirs), dirs,
				     end > dirs ? "/" : "", name) < size) {
			now = runnable(path);
			if (!now)
				return 0;
			if (now != ENOENT && now != ENOTDIR)
				err = now;
		}
		if (!*end)
			return err;
	}
}

/* --------------------------------------------------------------------- what sort of one */

static int cannot(const char *path, const char *why)
{
	return fail(RUN_NOT_RUNNABLE, "run: %s %s", path, why);
}

static int check_elf(const char *path, int fd, const Elf64_Ehdr *h)
{
	Elf64_Phdr segments[MAX_SEGMENTS];
	size_t bytes = h->e_phnum * sizeof(segments[0]);
	char loader[sizeof(LOADER)] = "";

	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_machine != EM_X86_64)
		return cannot(path, "is a program for another machine: gmem's library is x86-64's");
	if (h->e_phnum > MAX_SEGMENTS || h->e_phentsize != sizeof(segments[0]) ||
	    pread(fd, segments, bytes, (off_t)h->e_phoff) != (ssize_t)bytes)
		return cannot(path, "is damaged");
	for (unsigned int i = 0; i < h->e_phnum; i++) {
		if (segments[i].p_type != PT_INTERP)
			continue;
		if (segments[i].p_filesz == sizeof(loader) &&
		    pread(fd, loader, sizeof(loader), (off_t)segments[i].p_offset) ==
			    (ssize_t)sizeof(loader) &&
		    !strcmp(loader, LOADER))
			return 0;
		return cannot(path, "has another dynamic linker than " LOADER
				    ": gmem's library is the GNU C library's");
	}
	return cannot(path, "is a static program: nothing can be preloaded into it");
}

/* Would the kernel give it rights that who runs it has not? Then the linker preloads nothing. */
static bool gains_rights(const char *path, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	if ((st.st_mode & S_ISUID && st.st_uid != getuid()) ||
	    (st.st_mode & S_ISGID && st.st_mode & S_IXGRP && st.st_gid != getgid()))
		return true;
	return getuid() && getxattr(path, "security.capability", NULL, 0) > 0;
}

/* The interpreter of a script. */
static bool interpreter(const char *line, char *path, size_t size)
{
	size_t len;

	line += strspn(line, " \t");
	len = strcspn(line, " \t\n");
	return len && (size_t)snprintf(path, size, "%.*s", (int)len, line) < size;
}

static int check_file(const char *path, int scripts)
{
	union {
		Elf64_Ehdr elf;
		char text[256];
	} head = { .text = "" };
	char other[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	ssize_t n;

	if (fd < 0)
		return 0; /* it may be run, but not read: the kernel will tell */
	n = read(fd, head.text, sizeof(head.text) - 1);
	if (gains_rights(path, fd))
		err = cannot(path, "is setuid, setgid or has capabilities: nothing can be "
				   "preloaded into it");
	else if (n >= (ssize_t)sizeof(head.elf) && !memcmp(head.text, ELFMAG, SELFMAG))
		err = check_elf(path, fd, &head.elf);
	else if (n < 2 || memcmp(head.text, "#!", 2) || !scripts ||
		 !interpreter(head.text + 2, other, sizeof(other)))
		err = cannot(path, "is neither a program nor a script that says by its first line "
				   "what runs it");
	else
		err = check_file(other, scripts - 1);
	close(fd);
	return err;
}

int run_target(const char *name, char *path, size_t size)
{
	int err;

	if (strchr(name, '/'))
		err = (size_t)snprintf(path, size, "%s", name) < size ? runnable(path)
								      : ENAMETOOLONG;
	else
		err = *name ? search(name, path, size) : ENOENT;
	if (err == ENOENT || err == ENOTDIR)
		return fail(RUN_NO_SUCH_FILE, "run: %s: no such program", name);
	if (err)
		return fail(RUN_NOT_RUNNABLE, "run: %s: cannot be run: %s", name, strerror(err));
	return check_file(path, MAX_SCRIPTS);
}
