// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What a process tells of itself, on either host: at a socket, what its own calls say. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conformance.h"

static char answer[1 << 16];

static int connect_in(const char *dir)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(to.sun_path, sizeof(to.sun_path), "%.90s/%d", dir, (int)getpid());
	if (!connect(fd, (const struct sockaddr *)&to, sizeof(to)))
		return fd;
	close(fd);
	return -1;
}

/* This process's answer, which is text that is looked for in it; it has no blanks. */
static void ask(const char *request)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char dir[3][96];
	size_t len = 0;
	ssize_t n;
	int fd = -1;

	snprintf(dir[0], sizeof(dir[0]), "%s/gmem", runtime ? runtime : "");
	snprintf(dir[1], sizeof(dir[1]), "/run/user/%u/gmem", geteuid());
	snprintf(dir[2], sizeof(dir[2]), "/tmp/gmem-%u", geteuid());
	for (int i = 0; i < 3 && fd < 0; i++)
		fd = connect_in(dir[i]);
	assert_true(fd >= 0);
	assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	while ((n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0)) > 0)
		len += (size_t)n;
	assert_int_equal(n, 0);
	answer[len] = '\0';
	assert_true(len && answer[len - 1] == '\n');
	close(fd);
}

__attribute__((format(printf, 1, 2))) static void says(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!strstr(answer, text))
		fail_msg("%s is not in %s", text, answer);
}

static void test_expose_stats(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK);
	struct gm_stats s;

	cf_fill(cf, CPU, p, BLOCK, 1);
	cf_check(cf, 0, p, BLOCK, 1);
	s = cf_as_stats(cf);
	ask("stats\n");
	says("{\"version\":1,\"pid\":%d,\"program\":\"conformance\",\"host\":\"%s\",",
	     (int)getpid(), gm_host_name());
	says("\"dev_faults\":%llu,", (unsigned long long)s.dev_faults);
	says("\"bytes_to_dev\":%llu,", (unsigned long long)s.bytes_to_dev);
	for (int i = 0; i < NR_DEVS; i++)
		says("{\"hnode\":%d,", cf_node(cf, i));
	says("\"free\":%llu,", (unsigned long long)(DEV_MEMORY - BLOCK));
	cf_unmap(cf, p, BLOCK);
}

/* Half a block is prefetched: whole units of any device. */
static void test_expose_map(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);
	unsigned long long at = (uintptr_t)p;
	int node = cf_node(cf, 1);

	cf_fill(cf, CPU, p, 2 * BLOCK, 2);
	assert_int_equal(hmadvise(node, p + BLOCK, BLOCK, GM_PREFETCH), 0);
	ask("map\n");
	says("\"addr\":%llu,\"len\":%llu,\"runs\":[[0,512,-1,0],[512,512,%d,", at, 2 * BLOCK, node);
	ask("ranges\n");
	says("\"addr\":%llu,\"len\":%llu,\"nodes\":{\"-1\":%llu,\"%d\":%llu},\"pinned\":0,", at,
	     2 * BLOCK, BLOCK, node, BLOCK);
	cf_unmap(cf, p, 2 * BLOCK);
	ask("map\n");
	says("\"regions\":[]");
}

const struct CMUnitTest cf_expose_tests[] = {
	CF_TEST(test_expose_stats),
	CF_TEST(test_expose_map),
};
const size_t cf_nr_expose_tests = sizeof(cf_expose_tests) / sizeof(cf_expose_tests[0]);
