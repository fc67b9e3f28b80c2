// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs of user space, on either host of libgmem: what they do to a device in the kernel
 * by way of /dev/gmem, and, since here is an old kernel, what userfaultfd does on it.
 *
 * scripts/kernel-test.sh has put them into /prog, with the libraries they need. What a
 * program says is shown if it fails.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "kt.h"

static const char said[] = "/tmp/said";

static void show(void)
{
	char line[512];
	FILE *f = fopen(said, "r");

	while (f && fgets(line, sizeof(line), f))
		printf("  %s", line);
	if (f)
		fclose(f);
}

/* An end that is not the one that was asked for ends the test. */
static void run(const char *host, const char *const *argv, int status)
{
	char *const env[] = { (char *)host,
			      "PATH=/prog",
			      "HOME=/tmp",
			      "LD_LIBRARY_PATH=/prog",
			      "CONFORMANCE_BY_PAGE=1",
			      NULL };
	int how;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		int fd = open(said, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		close(fd);
		execve(argv[0], (char *const *)argv, env);
		_exit(127);
	}
	how = kt_wait(pid);
	if (how != status) {
		show();
		kt_fail(__FILE__, __LINE__, "%s %s, %s: ended with %d", argv[0],
			argv[1] ? argv[1] : "", host, how);
	}
	unlink(said);
}
#define RUN(host, status, ...) run("GMEM_HOST=" host, (const char *[]){ __VA_ARGS__, NULL }, status)

/* A kernel that was built to find our faults has no userfaultfd. */
static bool no_userfaultfd(void)
{
	long fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd >= 0)
		close((int)fd);
	else if (errno == ENOSYS)
		printf("  left out: this kernel has no userfaultfd\n");
	return fd < 0 && errno == ENOSYS;
}

static void conformance_kernel(void)
{
	RUN("kernel", 0, "/prog/conformance", "kernel");
}

/* The same, of devices that are told in one message. */
static void peer_conformance(void)
{
	RUN("kernel", 0, "/prog/conformance", "kernel-peer");
}

/* A device whose page is 16 of the kernel's, and one of the kernel's own. */
static void units_conformance(void)
{
	RUN("kernel", 0, "/prog/conformance", "kernel-64k");
}

/* 64 KiB; 16 KiB and 2 MiB. */
static void units_model(void)
{
	RUN("kernel", 0, "/prog/model_lib", "--seed", "305", "--ops", "2500", "--layout", "a");
	RUN("kernel", 0, "/prog/model_lib", "--seed", "306", "--ops", "1500", "--layout", "e");
}

static void conformance_thread(void)
{
	if (!no_userfaultfd())
		RUN("user", 0, "/prog/conformance", "thread");
}

static void conformance_inline(void)
{
	if (!no_userfaultfd())
		RUN("user", 0, "/prog/conformance", "inline");
}

/* The model test, shortened: layouts with one and two address spaces, failing or not. */
static void model_kernel(void)
{
	RUN("kernel", 0, "/prog/model_lib", "--seed", "301", "--ops", "6000");
	RUN("kernel", 0, "/prog/model_lib", "--seed", "302", "--ops", "3000", "--no-inject");
	RUN("kernel", 0, "/prog/model_lib", "--seed", "305", "--ops", "2000", "--layout", "d");
	RUN("kernel", 0, "/prog/model_lib", "--seed", "307", "--ops", "2000", "--layout", "f");
	RUN("kernel", 0, "/prog/model_lib", "--seed", "308", "--ops", "2000", "--layout", "g");
}

static void model_user(void)
{
	if (no_userfaultfd())
		return;
	RUN("user", 0, "/prog/model_lib", "--seed", "303", "--ops", "3000");
	RUN("user", 0, "/prog/model_lib", "--seed", "304", "--ops", "3000", "--inline");
}

static void programs_kernel(void)
{
	RUN("kernel", 0, "/prog/hello");
	RUN("auto", 0, "/prog/hello");
	RUN("kernel", 0, "/prog/hints");
	RUN("kernel", 0, "/prog/oversubscribe");
	RUN("kernel", 0, "/prog/six");
	RUN("kernel", 0, "/prog/gmem", "demo", "stream", "--size", "1M");
	RUN("kernel", no_userfaultfd(), "/prog/gmem", "check"); /* then that is to be mended */
	RUN("kernel", 0, "/prog/gmem", "stat", "-I", "100", "--", "/prog/oversubscribe");
	RUN("kernel", 0, "/prog/gmem", "top", "-b", "-n", "1", "-d", "0.1");
	RUN("auto", 0, "/prog/gmem", "topo", "--device", "sim,memory=4M", "--device",
	    "sim,memory=8M", "--size", "2M", "--repeat", "2");
	RUN("kernel", 0, "/prog/gmem", "topo", "--xml"); /* there is no device, so no link either */
}

/* The example of a driver in the kernel. Its module goes when its device has. */
static void programs_driver(void)
{
	CHECK_EQ(kt_load("adder"), 0);
	for (int i = 0; i < 3; i++)
		RUN("kernel", 0, "/prog/use-adder");
	CHECK_EQ(kt_unload_soon("adder"), 0);
	RUN("kernel", 1, "/prog/use-adder");
}

static void programs_libgmem(void)
{
	RUN("kernel", 0, "/prog/test_libgmem");
}

static void programs_user(void)
{
	if (no_userfaultfd())
		return;
	RUN("user", 0, "/prog/hello");
	RUN("user", 0, "/prog/gmem", "demo", "stream", "--size", "1M");
	RUN("user", 0, "/prog/gmem", "check");
	RUN("user", 0, "/prog/gmem", "topo", "--size", "2M", "--repeat", "2");
}

/* The simulated device is root's: who may use gmem but not that gets one of his own. */
static void programs_unprivileged(void)
{
	if (no_userfaultfd())
		return;
	CHECK(!chmod("/dev/gmem_sim", 0600) && !chmod("/tmp", 01777));
	CHECK(!setgid(65534) && !setuid(65534));
	RUN("auto", 0, "/prog/hello");
	RUN("auto", 0, "/prog/gmem", "demo", "stream", "--size", "1M");
	RUN("kernel", 1, "/prog/hello");
	RUN("auto", 1, "/prog/gmem", "check"); /* userfaultfd is for user mode only */
}

const struct kt_test kt_programs[] = {
	{ "conformance_kernel", conformance_kernel, 240 },
	{ "units_conformance", units_conformance, 240 },
	{ "peer_conformance", peer_conformance, 240 },
	{ "units_model", units_model, 480 },
	{ "conformance_thread", conformance_thread, 480 },
	{ "conformance_inline", conformance_inline, 480 },
	{ "model_kernel", model_kernel, 480 },
	{ "model_user", model_user, 240 },
	{ "programs_kernel", programs_kernel, 240 },
	{ "programs_driver", programs_driver, 240 },
	{ "programs_libgmem", programs_libgmem, 240 },
	{ "programs_user", programs_user, 240 },
	{ "programs_unprivileged", programs_unprivileged, 240 },
	{ 0 },
};
