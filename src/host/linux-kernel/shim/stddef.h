/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's idea of <stddef.h>, for the core's headers. */
#include <linux/stddef.h>
#include <linux/types.h>
