// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The raw limits: userfaultfd, memcpy, madvise and mremap with nothing around them.
 *
 * No locks, no states, no page table of any device: what remains if a memory manager
 * cost nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

static struct bare *current;
static volatile bool stopping;

static void arm(struct bare *b, size_t off, size_t len)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)b->app + off, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
	};

	must(ioctl(b->uffd, UFFDIO_REGISTER, &reg) ? -errno : 0, "UFFDIO_REGISTER");
}

void bare_create(struct bare *b, size_t size, bool sigbus)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM };
	int flags = MAP_SHARED, prot = PROT_READ | PROT_WRITE;

	if (sigbus)
		api.features |= UFFD_FEATURE_SIGBUS;
	b->size = size;
	b->memfd = memfd_create("bare", MFD_CLOEXEC);
	must(b->memfd < 0 || ftruncate(b->memfd, (off_t)size) ? -errno : 0, "memfd");
	b->app = mmap(NULL, size, prot, flags, b->memfd, 0);
	b->alias = mmap(NULL, size, prot, flags, b->memfd, 0);
	b->store = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b->aside = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b->app == MAP_FAILED || b->alias == MAP_FAILED || b->store == MAP_FAILED ||
	    b->aside == MAP_FAILED)
		must(-errno, "mmap");
	memset(b->alias, 1, size);
	memset(b->store, 2, size);
	b->uffd = (int)syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	must(b->uffd < 0 || ioctl(b->uffd, UFFDIO_API, &api) ? -errno : 0, "userfaultfd");
	arm(b, 0, size);
}

void bare_destroy(struct bare *b)
{
	munmap(b->app, b->size);
	munmap(b->alias, b->size);
	munmap(b->store, b->size);
	munmap(b->aside, b->size);
	close(b->uffd);
	close(b->memfd);
}

void bare_unmap(struct bare *b, size_t off, size_t len)
{
	must(madvise(b->app + off, len, MADV_DONTNEED) ? -errno : 0, "MADV_DONTNEED");
}

void bare_map(struct bare *b, size_t off, size_t len)
{
	struct uffdio_continue c = { .range = { (uintptr_t)b->app + off, len } };

	must(ioctl(b->uffd, UFFDIO_CONTINUE, &c) ? -errno : 0, "UFFDIO_CONTINUE");
}

static void move(unsigned char *from, unsigned char *to, size_t len)
{
	void *p = mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);

	must(p == to ? 0 : -errno, "mremap");
}

void bare_move_aside(struct bare *b, size_t off, size_t len)
{
	move(b->app + off, b->aside + off, len);
}

void bare_move_back(struct bare *b, size_t off, size_t len)
{
	move(b->aside + off, b->app + off, len);
	arm(b, off, len);
}

static void service(uintptr_t addr)
{
	size_t off = (addr & ~4095UL) - (uintptr_t)current->app;

	memcpy(current->alias + off, current->store + off, 4096);
	bare_map(current, off, 4096);
}

static void on_sigbus(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)uc;
	service((uintptr_t)info->si_addr);
}

static double touch(unsigned char *p, unsigned int n)
{
	double begin = now_us();

	for (unsigned int i = 0; i < n; i++)
		*(volatile unsigned char *)(p + (size_t)i * 4096);
	return (now_us() - begin) / n;
}

/* Deliver to the bare handler, or to whoever had SIGBUS before. */
void bare_handler(struct bare *b, bool on)
{
	static struct sigaction before;
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER };

	current = b;
	if (on)
		sigaction(SIGBUS, &sa, &before);
	else
		sigaction(SIGBUS, &before, NULL);
}

double bare_fault_inline(struct bare *b, size_t off, unsigned int n)
{
	double us;

	bare_handler(b, true);
	us = touch(b->app + off, n);
	bare_handler(b, false);
	return us;
}

static void *handler(void *arg)
{
	struct uffd_msg msg;

	(void)arg;
	while (!stopping)
		if (read(current->uffd, &msg, sizeof(msg)) == sizeof(msg))
			service(msg.arg.pagefault.address);
	return NULL;
}

double bare_fault_thread(struct bare *b, size_t off, unsigned int n)
{
	pthread_t thread;
	double us;

	current = b;
	stopping = false;
	run_on(1);
	must(-pthread_create(&thread, NULL, handler, NULL), "pthread_create");
	run_on(0);
	usleep(1000); /* it spins by now */
	us = touch(b->app + off, n);
	stopping = true;
	pthread_join(thread, NULL);
	return us;
}
