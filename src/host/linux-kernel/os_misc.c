// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory, time, waiting, diagnostics, and what the machine is like.
 *
 * Memory is charged to whoever asks for it, and is asked for without waking the OOM
 * killer: the core can say -ENOMEM. It is allocated under the core's locks, so what
 * the kernel does to find some must not wait for these: the shrinker (main.c) only
 * schedules work.
 */
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/hrtimer.h>
#include <linux/io.h>
#include <linux/ktime.h>
#include <linux/nodemask.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/uaccess.h>
#include <linux/wait_bit.h>

#include "kernel.h"

void *gm_os_alloc(size_t size)
{
	return kvzalloc(size, GM_GFP);
}

void gm_os_free(void *p, size_t size)
{
	kvfree(p);
}

void *gm_os_bounce_alloc(uint64_t size, uint64_t *bus)
{
	/* The core does with less where much is not to be had in one piece. */
	void *p = alloc_pages_exact(size, size > SZ_64K ? GM_GFP_BASE | __GFP_NORETRY : GM_GFP);

	if (p)
		*bus = virt_to_phys(p);
	return p;
}

void gm_os_bounce_free(void *buf, uint64_t size, uint64_t bus)
{
	free_pages_exact(buf, size);
}

/*
 * Either is a user's address or the core's own buffer, which no user can name: the
 * entries from user space check theirs by access_ok().
 */
static int copy_step(void *dst, const void *src, size_t len)
{
	bool to_user = (unsigned long)dst < TASK_SIZE_MAX;
	bool from_user = (unsigned long)src < TASK_SIZE_MAX;
	u8 buf[256];

	if (!to_user)
		return copy_from_user(dst, (const void __user *)src, len) ? -EFAULT : 0;
	if (!from_user)
		return copy_to_user((void __user *)dst, src, len) ? -EFAULT : 0;
	if (copy_from_user(buf, (const void __user *)src, len) ||
	    copy_to_user((void __user *)dst, buf, len))
		return -EFAULT;
	return 0;
}

int gm_os_copy_plain(void *dst, const void *src, uint64_t len)
{
	int err = 0;

	while (len && !err) {
		size_t n = min_t(u64, len, 256);

		err = copy_step(dst, src, n);
		dst += n;
		src += n;
		len -= n;
		cond_resched();
	}
	return err;
}

/* ------------------------------------------------------------------- time, waiting */

uint64_t gm_os_now_ns(void)
{
	return ktime_get_ns();
}

unsigned int gm_os_cpu(void)
{
	return raw_smp_processor_id();
}

/* Whoever is waited for may be copying; tries are counted, so do not burn them. */
void gm_os_yield(unsigned int tries)
{
	usleep_range(20, 100 + 4 * min(tries, 200U));
}

void gm_os_sleep(uint64_t ns)
{
	ktime_t t = ns_to_ktime(ns);

	set_current_state(TASK_KILLABLE);
	schedule_hrtimeout(&t, HRTIMER_MODE_REL);
}

void gm_os_wait(uint32_t *word, uint32_t value)
{
	wait_var_event(word, READ_ONCE(*word) != value);
}

void gm_os_wake(uint32_t *word)
{
	smp_mb(); /* the word's change before the look at who waits */
	wake_up_var(word);
}

/* --------------------------------------------------------------------- diagnostics */

void gm_os_bug(const char *file, int line, const char *what)
{
	pr_emerg("gmem: bug: %s:%d: %s\n", file, line, what);
	BUG();
}

void gm_os_warn(const char *what, const char *arg)
{
	pr_warn_ratelimited("gmem: %s%s%s\n", what, arg ? ": " : "", arg ? arg : "");
}

int gm_os_usable(void)
{
	return 0;
}

/* --------------------------------------------------------------------- the machine */

bool gm_os_host_memory_low(void)
{
	return si_mem_available() < (long)(totalram_pages() / 20);
}

uint64_t gm_os_host_memory_total(void)
{
	return (u64)totalram_pages() << PAGE_SHIFT;
}

int gm_os_numa_nodes(void)
{
	return (int)nr_node_ids;
}
