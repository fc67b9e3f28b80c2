/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What sim_mmu.c needs of its surroundings: memset, error numbers, and something to
 * do while it spins. This is the user-space version; a kernel supplies its own.
 */
#ifndef GM_SIM_PORT_H
#define GM_SIM_PORT_H

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

/* Called before try number @tries: first be polite to the core, then to the holder. */
static inline void gm_sim_relax(unsigned int tries)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
	if (tries > 64)
		sched_yield();
}

#endif
