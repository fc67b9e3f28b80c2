// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The fake host: memory, diagnostics, options and the accounting of leaks.
 *
 * gm_os_alloc() puts a mark behind each allocation, which gm_os_free() checks: a
 * wrong size, a second free and an overrun by a little are found without a
 * sanitizer.
 */
#include <stdlib.h>
#include <string.h>

#include "host/fake/internal.h"

#define MARK 0x6b72616d65656666ULL

struct fake_count fake_count;
struct fake_options fake_opt = { .memory_total = 1ULL << 30 };

void gm_fake_reset(void)
{
	fake_bug_on(fake_count.bytes || fake_count.objects || fake_count.regions);
	memset(&fake_count, 0, sizeof(fake_count));
	memset(&fake_opt, 0, sizeof(fake_opt));
	fake_opt.memory_total = 1ULL << 30;
	fake_opt.tasks = 1;
	fake_inject_reset();
	fake_wait_reset();
	gm_fake_trace(0);
}

void gm_fake_set_threaded(bool threaded)
{
	fake_opt.threaded = threaded;
}

void gm_fake_set_tasks(unsigned int n)
{
	fake_opt.tasks = n;
}

void gm_fake_set_max_run(uint64_t bytes)
{
	fake_opt.max_run = bytes;
}

void gm_fake_set_arm_granule(uint64_t bytes)
{
	fake_opt.arm_granule = bytes;
}

void gm_fake_set_memory_low(bool low)
{
	fake_opt.memory_low = low;
}

void gm_fake_set_memory_total(uint64_t bytes)
{
	fake_opt.memory_total = bytes;
}

void gm_fake_set_auto_work(bool on)
{
	fake_opt.auto_work = on;
}

void gm_fake_set_verbose(bool on)
{
	fake_opt.verbose = on;
}

void gm_fake_on_bug(void (*fn)(void))
{
	fake_opt.on_bug = fn;
}

void gm_fake_on_lock(void (*fn)(enum gm_fake_event event, void *arg), void *arg)
{
	fake_opt.on_lock = fn;
	fake_opt.on_lock_arg = arg;
}

uint64_t gm_fake_lock_calls(void)
{
	return __atomic_load_n(&fake_count.lock_calls, __ATOMIC_RELAXED);
}

void gm_fake_set_usable(int err)
{
	fake_opt.usable = err;
}

int gm_os_usable(void)
{
	return fake_opt.usable;
}

void gm_fake_set_no_in_place(bool no)
{
	fake_opt.no_in_place = no;
}

void gm_fake_set_no_map_read(bool no)
{
	fake_opt.no_map_read = no;
}

bool gm_os_host_memory_low(void)
{
	return fake_opt.memory_low;
}

uint64_t gm_os_host_memory_total(void)
{
	return fake_opt.memory_total;
}

int gm_os_numa_nodes(void)
{
	return 1;
}

void *gm_os_alloc(size_t size)
{
	const uint64_t mark = MARK ^ size;
	void *p;

	fake_bug_on(size == 0);
	fake_check_may_sleep("alloc");
	if (fake_fail(GM_FAKE_ALLOC))
		return NULL;
	if (posix_memalign(&p, FAKE_PAGE, size + sizeof(mark)))
		return NULL;
	memset(p, 0, size);
	memcpy((char *)p + size, &mark, sizeof(mark));
	fake_add(bytes, size);
	return p;
}

void gm_os_free(void *p, size_t size)
{
	uint64_t mark;

	if (!p)
		return;
	fake_check_may_sleep("free");
	memcpy(&mark, (char *)p + size, sizeof(mark));
	fake_bug_on(mark != (MARK ^ size)); /* overrun, wrong size, or freed twice */
	memset(p, FAKE_POISON, size + sizeof(mark));
	__asm__ volatile("" : : "r"(p) : "memory"); /* lest the compiler leave it out */
	free(p);
	fake_sub(bytes, size);
}

void gm_os_bug(const char *file, int line, const char *what)
{
	fprintf(stderr, "BUG %s:%d: %s\n", file, line, what);
	if (fake_opt.on_bug)
		fake_opt.on_bug();
	abort();
}

void gm_os_warn(const char *what, const char *arg)
{
	fake_add(warnings, 1);
	if (fake_opt.verbose)
		fprintf(stderr, "warning: %s%s%s\n", what, arg ? ": " : "", arg ? arg : "");
}

void gm_fake_usage(struct gm_fake_usage *usage)
{
	usage->bytes = __atomic_load_n(&fake_count.bytes, __ATOMIC_RELAXED);
	usage->objects = __atomic_load_n(&fake_count.objects, __ATOMIC_RELAXED);
	usage->regions = __atomic_load_n(&fake_count.regions, __ATOMIC_RELAXED);
	usage->spaces = __atomic_load_n(&fake_count.spaces, __ATOMIC_RELAXED);
	usage->locks = __atomic_load_n(&fake_count.locks, __ATOMIC_RELAXED);
	usage->warnings = __atomic_load_n(&fake_count.warnings, __ATOMIC_RELAXED);
	usage->works = fake_works();
	usage->apertures = __atomic_load_n(&fake_count.apertures, __ATOMIC_RELAXED);
}

static bool is_zero(const char *what, uint64_t n)
{
	if (n)
		fprintf(stderr, "leak: %llu %s\n", (unsigned long long)n, what);
	return n == 0;
}

bool gm_fake_check_clean(void)
{
	struct gm_fake_usage u;
	bool clean = true;

	gm_fake_usage(&u);
	clean &= is_zero("bytes", u.bytes);
	clean &= is_zero("objects", u.objects);
	clean &= is_zero("regions", u.regions);
	clean &= is_zero("address spaces", u.spaces);
	clean &= is_zero("locks", u.locks);
	clean &= is_zero("works pending", u.works);
	clean &= is_zero("apertures", u.apertures);
	return clean;
}
