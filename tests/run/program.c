// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What programs do with their heap and their processes, one thing by each name. It knows nothing
 * of gmem; run by `gmem run` with a limit far below what it uses, all of it must be as ever. A
 * byte that is wrong is exit status 1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MB (1UL << 20)
#define WORDS (MB / sizeof(uint64_t))

extern char **environ;

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "program.c:%d: %s\n", __LINE__, #what);                    \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static void fill(uint64_t *p, size_t words, uint64_t seed)
{
	for (size_t i = 0; i < words; i++)
		p[i] = seed * 0x9e3779b97f4a7c15ULL + i;
}

static void verify(const uint64_t *p, size_t words, uint64_t seed)
{
	for (size_t i = 0; i < words; i++)
		CHECK(p[i] == seed * 0x9e3779b97f4a7c15ULL + i);
}

static void verify_zero(const uint64_t *p, size_t words)
{
	for (size_t i = 0; i < words; i++)
		CHECK(!p[i]);
}

/* @n pieces of a MiB each. */
static uint64_t **fill_many(unsigned int n, uint64_t seed)
{
	uint64_t **p = calloc(n, sizeof(*p));

	CHECK(p);
	for (unsigned int i = 0; i < n; i++) {
		p[i] = malloc(MB);
		CHECK(p[i]);
		fill(p[i], WORDS, seed + i);
	}
	return p;
}

static void verify_many(uint64_t **p, unsigned int n, uint64_t seed)
{
	for (unsigned int i = 0; i < n; i++)
		verify(p[i], WORDS, seed + i);
}

static void *map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static unsigned long anonymous_kb(void)
{
	unsigned long kb = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "RssAnon: %lu", &kb);
	fclose(f);
	return kb;
}

/*
 * Within the limit, in KiB, at any time, whether memory is new or comes back, and nothing is lost by it.
 * The kernel counts pages of each processor apart, and adds them up later: hence SLACK.
 */
#define SLACK 1024UL

static void within(const char *text)
{
	const unsigned long most = strtoul(text, NULL, 10) + SLACK;
	uint64_t *large = malloc(64 * MB), **p;

	CHECK(large);
	for (unsigned int i = 0; i < 64; i++) {
		fill(large + i * WORDS, WORDS, i);
		CHECK(anonymous_kb() <= most);
	}
	p = fill_many(32, 1);
	CHECK(anonymous_kb() <= most);
	for (unsigned int i = 0; i < 64; i++) {
		verify(large + i * WORDS, WORDS, i);
		CHECK(anonymous_kb() <= most);
	}
	verify_many(p, 32, 1);
}

/* ------------------------------------------------------------------------ processes */

static void wait_ok(pid_t pid)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* A child has a copy, and a child of it another; what they write is their own. */
static void forks(const char *self)
{
	uint64_t **p = fill_many(48, 1);
	pid_t pid;

	(void)self;
	for (int round = 0; round < 3; round++) {
		pid = fork();
		if (!pid) {
			verify_many(p, 48, 1);
			fill(p[7], WORDS, 99);
			free(p[8]);
			p[8] = calloc(1, MB);
			CHECK(p[8]);
			verify_zero(p[8], WORDS);
			pid = fork();
			if (!pid) {
				verify(p[7], WORDS, 99);
				_exit(0);
			}
			wait_ok(pid);
			_exit(0);
		}
		verify_many(p, 48, 1);
		wait_ok(pid);
		verify_many(p, 48, 1);
	}
}

static void execs(const char *self)
{
	uint64_t **p = fill_many(48, 1);
	/* What the kernel reads of the parent's heap may be out. */
	char *argv[] = { strdup(self), strdup("maps"), NULL };
	pid_t pid = fork();

	if (!pid) {
		execv(argv[0], argv);
		_exit(1);
	}
	wait_ok(pid);
	pid = vfork();
	if (!pid) {
		execv(argv[0], argv);
		_exit(1);
	}
	wait_ok(pid);
	CHECK(!posix_spawn(&pid, argv[0], NULL, NULL, argv, environ));
	wait_ok(pid);
	CHECK(!system("exit 0"));
	verify_many(p, 48, 1);
}

/* ------------------------------------------------------------------------- threads */

static void *churn(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg, *p[24] = { 0 };

	for (unsigned int i = 0; i < 200; i++) {
		unsigned int slot = (unsigned int)((i * 7 + seed) % 24);
		size_t words = WORDS / 2 + slot * 1000;

		if (p[slot])
			verify(p[slot], words, seed + slot);
		free(p[slot]);
		p[slot] = i % 3 ? malloc(words * 8) : calloc(words, 8);
		CHECK(p[slot]);
		if (!(i % 3))
			verify_zero(p[slot], words);
		fill(p[slot], words, seed + slot);
	}
	for (unsigned int slot = 0; slot < 24; slot++)
		free(p[slot]);
	return NULL;
}

static void threads(const char *self)
{
	pthread_t t[3];

	(void)self;
	for (uintptr_t i = 0; i < 3; i++)
		CHECK(!pthread_create(&t[i], NULL, churn, (void *)(i * 100)));
	/* Forks beside threads that allocate and free. */
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (!pid) {
			free(malloc(MB));
			_exit(0);
		}
		wait_ok(pid);
	}
	for (int i = 0; i < 3; i++)
		CHECK(!pthread_join(t[i], NULL));
}

static uint64_t **shared;
static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	verify(shared[alarms % 48], WORDS, 1 + (uint64_t)alarms % 48);
	alarms++;
}

static void signals(const char *self)
{
	struct sigaction act = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	struct itimerspec every = { .it_interval.tv_nsec = 5000000, .it_value.tv_nsec = 1000000 };

	(void)self;
	shared = fill_many(48, 1);
	CHECK(!sigaction(SIGALRM, &act, NULL));
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	CHECK(!timer_settime(timer, 0, &every, NULL));
	while (alarms < 60)
		verify_many(shared, 48, 1);
	CHECK(!timer_delete(timer));
}

/* ---------------------------------------------------------------------- system calls */

static void calls(const char *self)
{
	uint64_t **p = fill_many(48, 1), *back = malloc(48 * MB);
	FILE *f = tmpfile();
	int fd = fileno(f);

	(void)self;
	CHECK(back && f);
	for (int i = 0; i < 48; i++)
		CHECK(write(fd, p[i], MB) == (ssize_t)MB);
	for (int i = 0; i < 48; i++)
		free(p[i]);
	CHECK(pread(fd, back, 48 * MB, 0) == (ssize_t)(48 * MB));
	for (unsigned int i = 0; i < 48; i++)
		verify(back + i * WORDS, WORDS, 1 + i);
}

/* A daemon closes what it knows nothing of; a shell uses the numbers that it likes. */
static void files(const char *self)
{
	uint64_t **p = fill_many(48, 1);

	(void)self;
	for (int fd = 3; fd < 10; fd++)
		CHECK(dup2(1, fd) == fd);
	for (int fd = 3; fd < 2000; fd++)
		close(fd);
	CHECK(!close_range(3, ~0U, 0));
	closefrom(3);
	CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) == 3);
	verify_many(p, 48, 1);
	for (int i = 0; i < 48; i++)
		p[i] = realloc(p[i], 2 * MB);
	verify_many(p, 48, 1);
}

/* -------------------------------------------------------------------- memory by mmap() */

static void maps(const char *self)
{
	uint64_t *p = map(48 * MB), *q;

	(void)self;
	fill(p, 48 * WORDS, 1);
	CHECK(!munmap(p + 8 * WORDS, 8 * MB));
	q = map(4 * MB);
	verify_zero(q, 4 * WORDS);
	fill(q, 4 * WORDS, 2);
	q = mremap(q, 4 * MB, 12 * MB, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED);
	verify(q, 4 * WORDS, 2);
	verify_zero(q + 4 * WORDS, 8 * WORDS);
	CHECK(mremap(q, 12 * MB, 2 * MB, 0) == q);
	verify(q, 2 * WORDS, 2);
	CHECK(mremap(q, 2 * MB, 64 * MB, 0) == MAP_FAILED);
	CHECK(!madvise(q, MB, MADV_DONTNEED));
	verify_zero(q, WORDS);
	verify(p, 8 * WORDS, 1);
	/* A part becomes a file, and then memory again. */
	CHECK(mmap(p, 2 * MB, PROT_READ, MAP_PRIVATE | MAP_FIXED,
		   open("/proc/self/exe", O_RDONLY | O_CLOEXEC), 0) == p);
	CHECK(!memcmp(p, "\177ELF", 4));
	CHECK(!munmap(p, 2 * MB));
	for (size_t i = 16 * WORDS; i < 48 * WORDS; i++)
		CHECK(p[i] == 0x9e3779b97f4a7c15ULL + i);
	CHECK(!mprotect(p + 16 * WORDS, MB, PROT_NONE));
	CHECK(!munmap(p + 16 * WORDS, 32 * MB));
	for (int i = 0; i < 40; i++) { /* the same addresses again */
		q = map(16 * MB);
		CHECK(!q[i * 100] && !q[2 * WORDS - 1]);
		fill(q, 2 * WORDS, 3);
		CHECK(!munmap(q, 16 * MB));
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(const char *self);
	} all[] = { { "forks", forks },	    { "execs", execs }, { "threads", threads },
		    { "signals", signals }, { "calls", calls }, { "files", files },
		    { "maps", maps } };

	if (argc > 2 && !strcmp(argv[1], "within")) {
		within(argv[2]);
		return 0;
	}
	for (unsigned int i = 0; argc == 2 && i < sizeof(all) / sizeof(all[0]); i++) {
		if (!strcmp(argv[1], all[i].name)) {
			all[i].fn(argv[0]);
			return 0;
		}
	}
	return 2;
}
