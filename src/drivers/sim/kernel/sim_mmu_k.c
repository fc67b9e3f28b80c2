// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The MMU of the simulated accelerator: the very file of the user-space driver. */
#include "sim_port.h"

#include "../sim_mmu.c"
