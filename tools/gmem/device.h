/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Devices that the command makes: which host they are on, and what --device says of them. */
#ifndef GMEM_TOOL_DEVICE_H
#define GMEM_TOOL_DEVICE_H

#include <stdbool.h>

#include <gmem/sim.h>

#define DEVICE_HELP                                                                                \
	"KIND[,KEY=VALUE...]: KIND is sim; keys are memory=SIZE, lanes=N, page=SIZE (the base "    \
	"page: 4K, 64K or 2M), engines=N (copy threads), dir=DIR (its memory is a file there) "    \
	"and "                                                                                     \
	"link=yes or no (to other devices)"

/* What --device says; @opt is whole afterwards. RUN_OK, or RUN_BAD_INPUT with a message. */
int device_parse(const char *spec, struct gm_sim_options *opt);

/*
 * Before anything else of gmem is called. Where the user has not said which host it is to be
 * (GMEM_HOST), it is the one that the process can have a device on.
 */
void device_choose_host(bool record);

/* This process can make a device on the host that was chosen. */
bool device_possible(void);

#endif
