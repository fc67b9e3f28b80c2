// SPDX-License-Identifier: GPL-2.0-only
/*
 * The init of the test machine: loads the modules, runs every test in a process of its
 * own, looks at what the kernel had to say, prints one last line and powers off.
 *
 * Options come from the kernel's command line: kt=NAME runs only tests whose name begins
 * so, kt_slow=N waits N times as long.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "kt.h"

static unsigned int passed, failed;
static unsigned int slow = 1; /* all time limits are so many times longer */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(const struct kt_test *test, const char *only)
{
	double begin = now();
	int how;
	pid_t pid;

	if (strncmp(test->name, only, strlen(only)))
		return;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		alarm(slow * (test->seconds ? test->seconds : 30));
		test->fn();
		_exit(0);
	}
	how = kt_wait(pid);
	kill(-pid, SIGKILL);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (how)
		failed++;
	else
		passed++;
	printf("%s %s (%.1f s)", how ? "not ok" : "ok", test->name, now() - begin);
	if (how < 0)
		printf(": %s", strsignal(-how));
	printf("\n");
}

static void run_all(const struct kt_test *tests, const char *only)
{
	for (; tests->name; tests++)
		run(tests, only);
}

/* The kernel's own complaints, and anything of ours: a module that works is silent. */
static void read_log(void)
{
	static const char *const bad[] = { "gmem",
					   "BUG",
					   "WARNING",
					   "Oops",
					   "INFO: task",
					   "KASAN",
					   "possible recursive",
					   "circular locking",
					   "unreferenced object",
					   "Bad page",
					   "Bad rss" };
	/* What Debian's kernel says of any module built elsewhere. */
	static const char *const fine[] = { "out-of-tree module", "module verification failed",
					    "Command line", "kernel command line",
					    /* Of the driver that is wrong on purpose. */
					    "in driver: kt-bad" };
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK), lines = 0;
	bool oom = false;
	char line[2048];
	ssize_t n;

	CHECK(fd >= 0);
	while ((n = read(fd, line, sizeof(line) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		bool is_bad = false;

		if (n < 0)
			continue;
		line[n] = 0;
		/* Whoever runs out of memory is shown with its stack, and may be in a call of ours. */
		oom = (oom || strstr(line, "invoked oom-killer")) &&
		      !strstr(line, "Out of memory: Killed");
		for (size_t i = oom; i < sizeof(bad) / sizeof(*bad); i++)
			is_bad |= strstr(line, bad[i]) != NULL;
		for (size_t i = 0; i < sizeof(fine) / sizeof(*fine); i++)
			is_bad &= strstr(line, fine[i]) == NULL;
		if (is_bad && lines++ < 40)
			printf("  log: %s", strchr(line, ';') ? strchr(line, ';') + 1 : line);
	}
	close(fd);
	if (lines)
		failed++;
	else
		passed++;
	printf("%s silent_log\n", lines ? "not ok" : "ok");
}

/* What kmemleak has found; two scans, for the first may see what is only on its way. */
static void read_leaks(void)
{
	static const char path[] = "/sys/kernel/debug/kmemleak";
	unsigned int lines = 0;
	char buf[4096];
	ssize_t n;
	int fd;

	for (int i = 0; i < 2; i++) {
		fd = open(path, O_RDWR);
		if (fd < 0)
			return; /* not this kernel */
		sleep(6);	/* what is younger does not count */
		CHECK(write(fd, "scan", 4) == 4);
		close(fd);
	}
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (lines++ < 10)
			printf("%.*s", (int)n, buf);
	close(fd);
	if (lines)
		failed++;
	else
		passed++;
	printf("%s no_leaks\n", lines ? "not ok" : "ok");
}

static void option(char *buf, size_t size, const char *name)
{
	char line[2048], *at;
	int fd = open("/proc/cmdline", O_RDONLY);
	ssize_t n = read(fd, line, sizeof(line) - 1);

	close(fd);
	buf[0] = 0;
	line[n > 0 ? n : 0] = 0;
	at = strstr(line, name);
	if (at)
		snprintf(buf, size, "%.*s", (int)strcspn(at + strlen(name), " \n"),
			 at + strlen(name));
}

int main(void)
{
	static const char *const disk[] = {
		"virtio_ring",		 "virtio",     "virtio_pci_modern_dev",
		"virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"
	};
	char only[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mkdir("/tmp", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	option(only, sizeof(only), " kt_slow=");
	if (*only)
		slow = (unsigned int)atoi(only);
	option(only, sizeof(only), " kt=");
	printf("kernel tests: begin\n");
	for (size_t i = 0; i < sizeof(disk) / sizeof(*disk); i++) {
		char path[64];
		int err;

		snprintf(path, sizeof(path), "/lib/%s.ko", disk[i]);
		err = access(path, F_OK) ? 0 : kt_load(disk[i]); /* else it is built in */
		if (err)
			printf("cannot load %s: %s\n", disk[i], strerror(-err));
	}
	run_all(kt_module, only); /* these load and unload for themselves */
	if (kt_load("gmem") || kt_load("gmem_sim")) {
		printf("cannot load the modules\n");
		failed++;
	} else {
		if (!strcmp(only, "figures")) /* they mean something with -icount only */
			run_all(kt_figures, only);
		run_all(kt_alloc, only);
		run_all(kt_basic, only);
		run_all(kt_vma, only);
		run_all(kt_aperture, only);
		run_all(kt_leaf, only);
		run_all(kt_poison, only);
		run_all(kt_huge, only);
		run_all(kt_peer, only);
		run_all(kt_remove, only);
		run_all(kt_in_place, only);
		run_all(kt_memlock, only);
		run_all(kt_life, only);
		run_all(kt_proc, only);
		run_all(kt_input, only);
		run_all(kt_hmm, only);
		run_all(kt_driver, only);
		run_all(kt_trace, only);
		run_all(kt_oom, only);
		run_all(kt_memory, only);
		run_all(kt_limits, only);
		run_all(kt_requests, only);
		run_all(kt_policy, only);
		run_all(kt_programs, only);
		run_all(kt_fuzz, only);
		run(&(struct kt_test){ "unload_at_the_end", kt_module_gone, 0 }, only);
	}
	read_leaks();
	read_log();
	printf("kernel tests: %u passed, %u failed\n", passed, failed);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}
