// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* See process.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"

int proc_child(const char *name, char *said, size_t size)
{
	char rest[256];
	size_t len = 0;
	int fds[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		execl("/proc/self/exe", "test", "child", name, (char *)NULL);
		_exit(126);
	}
	close(fds[1]);
	while (len + 1 < size && (n = read(fds[0], said + len, size - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = 0;
	while (read(fds[0], rest, sizeof(rest)) > 0)
		; /* or it would die of SIGPIPE */
	close(fds[0]);
	return proc_wait(pid);
}

int proc_wait(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

bool proc_died_of(int status, int sig)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	if (WIFEXITED(status) && (WEXITSTATUS(status) == 1 || WEXITSTATUS(status) == 66))
		return true; /* they catch the signal and leave by these */
#endif
	return WIFSIGNALED(status) && WTERMSIG(status) == sig;
}

void proc_dies(const char *name, int sig)
{
	char said[256];
	int status = proc_child(name, said, sizeof(said));

	if (!proc_died_of(status, sig))
		fail_msg("%s: status %x, said: %s", name, (unsigned int)status, said);
}

void proc_ends_well(const char *name, char *said, size_t size)
{
	int status = proc_child(name, said, size);

	if (status)
		fail_msg("%s: status %x, said: %s", name, (unsigned int)status, said);
}

void proc_says(const char *name, const char *text, const char *also)
{
	char said[1024];

	proc_ends_well(name, said, sizeof(said));
	if (!strstr(said, text) || !strstr(said, also))
		fail_msg("%s said: %s", name, said);
}

void proc_filter_userfaultfd(uint32_t err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = 4, .filter = code };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(77);
}

void proc_drop_privileges(void)
{
	if (!geteuid() && (setgid(65534) || setuid(65534)))
		_exit(77);
}

bool proc_unprivileged_may(void)
{
	FILE *f = fopen("/proc/sys/vm/unprivileged_userfaultfd", "r");
	int c = f ? fgetc(f) : '1';

	if (f)
		fclose(f);
	return c != '0';
}

bool proc_has_fd(const char *name)
{
	char path[64], to[128];
	ssize_t n;

	for (int fd = 3; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to, sizeof(to) - 1);
		if (n > 0 && (to[n] = 0, strstr(to, name)))
			return true;
	}
	return false;
}

static unsigned int entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

struct proc_resources proc_resources(void)
{
	struct proc_resources r = { .fds = entries("/proc/self/fd"),
				    .threads = entries("/proc/self/task") };
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		r.maps++;
		r.memfds += strstr(line, "memfd:gmem") != NULL;
	}
	fclose(f);
	return r;
}

static bool same(struct proc_resources a, struct proc_resources b)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	a.maps = b.maps; /* a sanitizer maps and unmaps as it likes */
#endif
	return a.fds == b.fds && a.threads == b.threads && a.memfds == b.memfds && a.maps == b.maps;
}

struct proc_resources proc_settled(void)
{
	struct proc_resources last, now = proc_resources();

	do {
		last = now;
		usleep(20000);
		now = proc_resources();
	} while (!same(last, now));
	return now;
}

void proc_assert_same(struct proc_resources before)
{
	struct proc_resources now = proc_resources();

	/* A thread that has been joined may be seen for a moment longer. */
	for (unsigned int i = 0; i < 500 && !same(before, now); i++) {
		usleep(10000);
		now = proc_resources();
	}
	if (!same(before, now))
		fail_msg("left behind: fds %u -> %u, threads %u -> %u, maps %u -> %u, memfds %u -> "
			 "%u",
			 before.fds, now.fds, before.threads, now.threads, before.maps, now.maps,
			 before.memfds, now.memfds);
}

long proc_huge_pages(long n)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "r+");
	long before = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &before) == 1 && n >= 0) {
		rewind(f);
		fprintf(f, "%ld", n);
	}
	fclose(f);
	return before;
}
