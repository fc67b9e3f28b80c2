// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory, time, diagnostics, and what the machine is like.
 *
 * Nothing here uses malloc or stdio: most of it runs while a fault is serviced, in
 * inline mode in a signal handler of a thread that may be anywhere in the C library.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "user.h"

/* ------------------------------------------------------------------------ memory */

static size_t whole_pages(size_t size)
{
	return (size + GM_PAGE - 1) & ~(size_t)(GM_PAGE - 1);
}

void *gm_os_alloc(size_t size)
{
	void *p = mmap(NULL, whole_pages(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void gm_os_free(void *p, size_t size)
{
	if (p)
		munmap(p, whole_pages(size));
}

void *gm_os_bounce_alloc(uint64_t size, uint64_t *bus)
{
	void *p = gm_os_alloc(size);

	*bus = (uint64_t)(uintptr_t)p;
	return p;
}

void gm_os_bounce_free(void *buf, uint64_t size, uint64_t bus)
{
	(void)bus;
	gm_os_free(buf, size);
}

/*
 * The kernel copies: a pointer that leads nowhere is then an error, not a signal in a
 * thread that holds locks, and one that leads to managed memory after all is a fault
 * of the kernel's, not of this thread's. Where a seccomp filter refuses the system
 * call it is a memcpy().
 */
int gm_os_copy_plain(void *dst, const void *src, uint64_t len)
{
	char *to = dst;
	const char *from = src;

	while (len) {
		size_t step = len < 1ULL << 30 ? len : 1ULL << 30;
		struct iovec local = { .iov_base = to, .iov_len = step };
		struct iovec remote = { .iov_base = (void *)(uintptr_t)from, .iov_len = step };
		ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

		if (n < 0 && (errno == EPERM || errno == ENOSYS || errno == EACCES)) {
			memcpy(to, from, step);
			n = (ssize_t)step;
		}
		if (n <= 0)
			return errno == ENOMEM ? -ENOMEM : -EFAULT;
		to += n;
		from += n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* -------------------------------------------------------------------------- time */

uint64_t gm_os_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

unsigned int gm_os_cpu(void)
{
	int cpu = sched_getcpu();

	return cpu < 0 ? 0 : (unsigned int)cpu;
}

#define YIELDS 16U	 /* tries that only yield */
#define NAP_NS 31250L	 /* then naps of so long, doubled every 8 tries ... */
#define NAP_DOUBLINGS 5U /* ... so often: a millisecond */

void gm_os_yield(unsigned int tries)
{
	struct timespec nap = { .tv_sec = 0 };
	unsigned int doublings;

	if (tries < YIELDS) {
		sched_yield();
		return;
	}
	doublings = (tries - YIELDS) / 8;
	nap.tv_nsec = NAP_NS << (doublings < NAP_DOUBLINGS ? doublings : NAP_DOUBLINGS);
	nanosleep(&nap, NULL); /* cut short by a signal is as well */
}

/* ------------------------------------------------------------------- diagnostics */

struct line {
	char text[400];
	size_t len;
};

static void put(struct line *l, const char *s)
{
	size_t n = strlen(s);

	if (n > sizeof(l->text) - 1 - l->len)
		n = sizeof(l->text) - 1 - l->len;
	memcpy(l->text + l->len, s, n);
	l->len += n;
}

/* One write, so that lines of several threads do not mix. */
static void emit(struct line *l)
{
	l->text[l->len++] = '\n';
	if (write(STDERR_FILENO, l->text, l->len) < 0)
		return; /* nobody can be told */
}

void gm_os_warn(const char *what, const char *arg)
{
	struct line l = { .len = 0 };

	if (getenv("GMEM_QUIET"))
		return;
	put(&l, "gmem: ");
	put(&l, what);
	if (arg) {
		put(&l, ": ");
		put(&l, arg);
	}
	emit(&l);
}

/* Only record.c asks for events. */
void gm_os_trace(const struct gm_event *event)
{
	gm_record_event(event);
}

void gm_os_bug(const char *file, int line, const char *what)
{
	char digits[16], *d = digits + sizeof(digits) - 1;
	struct line l = { .len = 0 };

	*d = 0;
	do {
		*--d = (char)('0' + line % 10);
		line /= 10;
	} while (line > 0);
	put(&l, "gmem: bug: ");
	put(&l, file);
	put(&l, ":");
	put(&l, d);
	put(&l, ": ");
	put(&l, what);
	emit(&l);
	abort();
}

/* ------------------------------------------------------------------- the machine */

const char *gm_path_meminfo = "/proc/meminfo";
const char *gm_path_self_cgroup = "/proc/self/cgroup";
const char *gm_path_cgroup = "/sys/fs/cgroup";
const char *gm_path_nodes = "/sys/devices/system/node/possible";

/* The beginning of a small file, as a string; false if it cannot be read. */
static bool slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = 0;
	return true;
}

static bool number(const char *s, uint64_t *v)
{
	while (*s == ' ' || *s == '\t')
		s++;
	if (!isdigit((unsigned char)*s))
		return false;
	for (*v = 0; isdigit((unsigned char)*s); s++)
		*v = *v * 10 + (uint64_t)(*s - '0');
	return true;
}

static bool field(const char *text, const char *name, uint64_t *v)
{
	const char *at = strstr(text, name);

	return at && number(at + strlen(name), v);
}

static bool machine_low(void)
{
	uint64_t total, avail;
	char buf[512];

	return slurp(gm_path_meminfo, buf, sizeof(buf)) && field(buf, "MemTotal:", &total) &&
	       field(buf, "MemAvailable:", &avail) && avail < total / 20;
}

static bool cgroup_value(const char *group, size_t len, const char *file, uint64_t *v)
{
	char path[512], buf[32];
	size_t head = strlen(gm_path_cgroup), tail = strlen(file);

	if (head + len + tail >= sizeof(path))
		return false;
	memcpy(path, gm_path_cgroup, head);
	memcpy(path + head, group, len);
	memcpy(path + head + len, file, tail + 1);
	return slurp(path, buf, sizeof(buf)) && number(buf, v); /* "max" is no number */
}

/* The process's own cgroup (version 2) is within 5 % of its limit. */
static bool cgroup_low(void)
{
	uint64_t max, current;
	const char *group;
	char buf[512];
	size_t len;

	if (!slurp(gm_path_self_cgroup, buf, sizeof(buf)))
		return false;
	group = strstr(buf, "0::");
	if (!group)
		return false;
	group += 3;
	len = strcspn(group, "\n");
	return cgroup_value(group, len, "/memory.max", &max) &&
	       cgroup_value(group, len, "/memory.current", &current) && current > max - max / 20;
}

/*
 * The answer is kept for 20 ms: reading the figures costs some 20 us, more than
 * servicing a fault, and they do not change faster than that.
 */
#define LOW_NS 20000000ULL

static uint64_t low_until; /* time up to which low_is holds */
static bool low_is;

bool gm_os_host_memory_low(void)
{
	uint64_t now = gm_os_now_ns();
	bool low;

	if (now < __atomic_load_n(&low_until, __ATOMIC_RELAXED))
		return __atomic_load_n(&low_is, __ATOMIC_RELAXED);
	/* Others go on with the old answer meanwhile. */
	__atomic_store_n(&low_until, now + LOW_NS, __ATOMIC_RELAXED);
	low = machine_low() || cgroup_low();
	__atomic_store_n(&low_is, low, __ATOMIC_RELAXED);
	return low;
}

void gm_memory_low_reset(void)
{
	__atomic_store_n(&low_until, 0, __ATOMIC_RELAXED);
}

uint64_t gm_os_host_memory_total(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The file is a list of ranges, "0-3,8": its last number is the highest node. */
int gm_os_numa_nodes(void)
{
	uint64_t last = 0;
	char buf[256], *s;

	if (!slurp(gm_path_nodes, buf, sizeof(buf)))
		return 1;
	s = strpbrk(buf, "\n");
	if (s)
		*s = 0;
	s = buf + strlen(buf);
	while (s > buf && isdigit((unsigned char)s[-1]))
		s--;
	if (!number(s, &last) || last > 4095)
		return 1;
	return (int)last + 1;
}
