/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What sim_mmu.c needs of its surroundings, in the kernel. It has the guard of the
 * user-space version, and is included before it.
 */
#ifndef GM_SIM_PORT_H
#define GM_SIM_PORT_H

#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/types.h>

/* A holder may have been preempted: after a while let it run. Nobody spins in atomic context. */
static inline void gm_sim_relax(unsigned int tries)
{
	if (tries > 64)
		usleep_range(5, 20);
	else
		cpu_relax();
}

#endif
