// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GMEM_TRACE: events as text, whose tracks nest whatever comes; and the file, where calls fail. The host
 * is made up, so that each event is known.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/host.h"
#include "lib/trace_json.h"

static char dir[] = "/tmp/gmem-test-XXXXXX", file[64];

/* ------------------------------------------------------------------ calls that fail */

static int fail_pwrite, fail_eventfd, fail_thread; /* 1: the next one */

ssize_t __real_pwrite64(int fd, const void *buf, size_t n, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t at);

/* As where the disk is full: half of it is written. */
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t at)
{
	if (!__atomic_exchange_n(&fail_pwrite, 0, __ATOMIC_SEQ_CST))
		return __real_pwrite64(fd, buf, n, at);
	return __real_pwrite64(fd, buf, n / 2, at);
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t at)
{
	return __wrap_pwrite64(fd, buf, n, at);
}

int __real_eventfd(unsigned int n, int flags);
int __wrap_eventfd(unsigned int n, int flags);
int __wrap_eventfd(unsigned int n, int flags)
{
	if (!fail_eventfd)
		return __real_eventfd(n, flags);
	fail_eventfd = 0;
	errno = EMFILE;
	return -1;
}

int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
	if (!fail_thread)
		return __real_pthread_create(t, a, fn, arg);
	fail_thread = 0;
	return EAGAIN;
}

/* --------------------------------------------------------------------------- a host */

static struct {
	int open, fail, fd;
	unsigned int left; /* events */
	uint64_t told, lost;
} made_up;

static struct gm_event_record event(uint32_t kind, uint64_t begin, uint64_t end, int tid)
{
	return (struct gm_event_record){
		.version = GM_EVENT_VERSION,
		.size = sizeof(struct gm_event_record),
		.kind = kind,
		.time = end,
		.took = end - begin,
		.object = 1,
		.addr = 0x7f0012345000,
		.from = GM_NODE_HOST,
		.to = GM_NODE_HOST,
		.pid = 10,
		.tid = tid,
	};
}

static int made_open(const struct gm_events_options *opt, struct gm_events **events)
{
	assert_true(opt->kinds && !(opt->kinds >> GM_EVENT_INVALIDATE & 1));
	if (made_up.fail)
		return made_up.fail;
	made_up.open++;
	*events = (struct gm_events *)&made_up;
	return 0;
}

static int made_read(struct gm_events *events, struct gm_event_record *buf, unsigned int n)
{
	unsigned int i;

	(void)events;
	for (i = 0; i < n && __atomic_load_n(&made_up.left, __ATOMIC_SEQ_CST); i++) {
		__atomic_fetch_sub(&made_up.left, 1, __ATOMIC_SEQ_CST);
		made_up.told += 1000;
		buf[i] = event(GM_EVENT_FAULT, made_up.told, made_up.told + 500, 10);
	}
	return (int)i;
}

static int made_fd(struct gm_events *events)
{
	(void)events;
	return made_up.fd;
}

static int made_lost(struct gm_events *events, uint64_t *lost)
{
	(void)events;
	*lost = made_up.lost;
	return 0;
}

static void made_close(struct gm_events *events)
{
	(void)events;
	made_up.open--;
}

static const struct gm_host host = {
	.events_open = made_open,
	.events_read = made_read,
	.events_fd = made_fd,
	.events_lost = made_lost,
	.events_close = made_close,
};

/* ----------------------------------------------------------------------------- text */

static struct gm_trace_json *json_new(void)
{
	struct gm_trace_json *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->pid = 10;
	return t;
}

/* The text of one event more, without names that come before. */
static const char *text_of(struct gm_trace_json *t, const struct gm_event_record *r)
{
	const char *last, *at;

	t->len = 0;
	gm_trace_json_event(t, r);
	t->text[t->len] = '\0';
	assert_true(t->len < GM_TRACE_EVENT);
	for (last = at = t->text; (at = strstr(at, ",\n{")); at++)
		last = at;
	return last;
}

static void text(void **state)
{
	struct gm_event_record r = event(GM_EVENT_MIGRATE, 1234567, 1239573, 11);
	struct gm_trace_json *t = json_new();

	(void)state;
	r.as = 2;
	r.offset = 0x5000;
	r.len = r.bytes = 8192;
	r.pages = 2;
	r.to = 3;
	r.why = GM_WHY_DEV_FAULT;
	assert_string_equal(text_of(t, &r),
			    ",\n{\"name\":\"move in\",\"cat\":\"migrate\",\"ph\":\"X\","
			    "\"ts\":1234.567,\"dur\":5.006,\"pid\":536871555,\"tid\":11,"
			    "\"args\":{\"addr\":\"0x7f0012345000\",\"as\":2,\"object\":1,"
			    "\"offset\":20480,\"len\":8192,\"pages\":2,\"bytes\":8192,\"from\":-1,"
			    "\"to\":3,\"why\":\"device fault\"}}");
	r = event(GM_EVENT_THRASH, 5, 5, 12);
	r.err = -EIO;
	assert_non_null(strstr(text_of(t, &r), "\"ph\":\"i\",\"s\":\"t\",\"ts\":0.005,\"pid\":10"));
	assert_non_null(strstr(text_of(t, &r), "\"err\":-5}}"));
	r.kind = GM_EVENT_KINDS;
	t->len = 0;
	gm_trace_json_event(t, &r); /* nothing that is known */
	assert_int_equal(t->len, 0);
	gm_trace_json_counters(t, 2000);
	t->text[t->len] = '\0';
	assert_non_null(strstr(t->text, "\"to devices\":8192,\"to the host\":0"));
	t->len = 0;
	gm_trace_json_counters(t, 3000); /* no news */
	assert_int_equal(t->len, 0);
	gm_trace_json_lost(t, 4000, 77);
	t->text[t->len] = '\0';
	assert_non_null(strstr(t->text, "\"args\":{\"events\":77}}"));
	free(t);
}

/* The largest of everything fits into what is said to be room. */
static void longest(void **state)
{
	struct gm_trace_json *t = json_new();
	struct gm_event_record r;

	(void)state;
	memset(&r, 0xff, sizeof(r));
	r.kind = GM_EVENT_FAULT;
	r.why = GM_WHY_DEV_FAULT;
	r.pid = r.tid = r.for_tid = r.from = r.to = INT32_MAX;
	r.err = INT32_MIN;
	memset(t->program, 'x', sizeof(t->program) - 1);
	gm_trace_json_event(t, &r);
	assert_in_range(t->len, 1, GM_TRACE_EVENT);
	free(t);
}

static bool on_track(const char *text, int tid)
{
	char want[32];

	snprintf(want, sizeof(want), "\"tid\":%d,", tid);
	return strstr(text, want) != NULL;
}

/* What would cut a span of the thread that touched is the service thread's. */
static void nesting(void **state)
{
	static const struct {
		uint64_t begin, end;
		bool fits;
	} spans[] = {
		{ 0, 10, true },    { 20, 24, true },	 { 26, 30, true },   { 20, 40, true },
		{ 39, 50, false },  { 40, 60, true },	 { 70, 80, true },   { 90, 100, true },
		{ 110, 120, true }, { 130, 140, true },	 { 150, 160, true }, { 155, 170, false },
		{ 100, 200, true }, { 165, 210, false }, { 166, 180, true },
	};
	struct gm_trace_json *t = json_new();
	struct gm_event_record r;

	(void)state;
	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
		r = event(GM_EVENT_FAULT, spans[i].begin, spans[i].end, 21);
		r.for_tid = 20;
		if (!on_track(text_of(t, &r), spans[i].fits ? 20 : 21))
			fail_msg("span %zu: %s", i, t->text);
	}
	free(t);
}

/* More threads than tracks: what is not known has no name, and goes where it belongs. */
static void many_threads(void **state)
{
	struct gm_trace_json *t = json_new();
	struct gm_event_record r;

	(void)state;
	for (int tid = 1; tid <= 2 * (int)GM_TRACE_TRACKS; tid++) {
		r = event(GM_EVENT_FAULT, (uint64_t)tid, (uint64_t)tid + 1, 5);
		r.for_tid = 100 + tid;
		assert_true(on_track(text_of(t, &r), 100 + tid));
	}
	assert_int_equal(t->nr_tracks, GM_TRACE_TRACKS / 2);
	free(t);
}

/* ----------------------------------------------------------------------------- file */

static size_t read_file(char *buf, size_t size)
{
	int fd = open(file, O_RDONLY);
	ssize_t n = read(fd, buf, size - 1);

	assert_true(fd >= 0 && n >= 0);
	close(fd);
	buf[n] = '\0';
	return (size_t)n;
}

static unsigned int events_in(const char *s)
{
	unsigned int n = 0;

	for (; (s = strstr(s, "\"ph\":\"X\"")); s++)
		n++;
	return n;
}

static char text_buf[1 << 20];

static void assert_whole(unsigned int events)
{
	size_t n = read_file(text_buf, sizeof(text_buf));

	assert_true(n > 4 && !strncmp(text_buf, "[\n{", 3) && !strcmp(text_buf + n - 4, "}\n]\n"));
	assert_int_equal(events_in(text_buf), events);
}

/* Twice the same file, and more events than text has room for. */
static void writes(void **state)
{
	(void)state;
	for (unsigned int i = 1; i <= 2; i++) {
		made_up.left = 1000;
		made_up.lost = i == 2 ? 7 : 0;
		assert_int_equal(gm_trace_start(&host, file), 0);
		gm_trace_stop();
		assert_int_equal(made_up.open, 0);
		assert_whole(1000 * i);
	}
	assert_non_null(strstr(text_buf, "\"name\":\"events lost\""));
	gm_trace_stop(); /* nothing to stop */
}

/* A full disk: what was there is, and is a trace; nothing more comes. */
static void full(void **state)
{
	(void)state;
	made_up.left = 10;
	assert_int_equal(gm_trace_start(&host, file), 0);
	gm_trace_stop();
	assert_whole(10);
	made_up.left = 3000;
	fail_pwrite = 1;
	assert_int_equal(gm_trace_start(&host, file), 0);
	gm_trace_stop();
	assert_false(fail_pwrite);
	assert_whole(10);
	assert_int_equal(unlink(file), 0);
	made_up.left = 10;
	fail_pwrite = 1;
	assert_int_equal(gm_trace_start(&host, file), 0);
	gm_trace_stop();
	assert_int_equal(read_file(text_buf, sizeof(text_buf)), 0);
}

static int free_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void refused(void **state)
{
	int before = free_fd();

	(void)state;
	fail_eventfd = 1;
	assert_int_equal(gm_trace_start(&host, file), -EMFILE);
	made_up.fail = -ENOSPC;
	assert_int_equal(gm_trace_start(&host, file), -ENOSPC);
	made_up.fail = 0;
	fail_thread = 1;
	assert_int_equal(gm_trace_start(&host, file), -EAGAIN);
	assert_int_equal(made_up.open, 0);
	assert_int_equal(gm_trace_start(&host, dir), -EISDIR);
	assert_int_equal(gm_trace_start(&host, "/dev/null"), -EINVAL);
	assert_int_equal(free_fd(), before);
}

/* A child that ends as usual leaves the parent's trace to the parent. */
static void forked(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	made_up.left = 0;
	assert_int_equal(gm_trace_start(&host, file), 0);
	pid = fork();
	if (!pid) {
		made_up.left = 5;
		gm_trace_stop();
		_exit(made_up.left != 5 || made_up.open != 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	__atomic_store_n(&made_up.left, 5, __ATOMIC_SEQ_CST);
	gm_trace_stop();
	assert_whole(5);
}

static int setup(void **state)
{
	(void)state;
	memset(&made_up, 0, sizeof(made_up));
	made_up.fd = __real_eventfd(0, EFD_CLOEXEC);
	unlink(file);
	return made_up.fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	close(made_up.fd);
	unlink(file);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text),
		cmocka_unit_test(longest),
		cmocka_unit_test(nesting),
		cmocka_unit_test(many_threads),
		cmocka_unit_test_setup_teardown(writes, setup, teardown),
		cmocka_unit_test_setup_teardown(full, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(forked, setup, teardown),
	};
	int failed;

	setenv("GMEM_QUIET", "1", 1);
	if (!mkdtemp(dir))
		return 1;
	snprintf(file, sizeof(file), "%s/t.json", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
