/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's idea of <stdint.h>, for the core's headers. */
#ifndef GM_SHIM_STDINT_H
#define GM_SHIM_STDINT_H

#include <linux/types.h>

#ifndef UINT32_MAX
#define UINT32_MAX 0xffffffffU
#endif
#ifndef UINT64_MAX
#define UINT64_MAX 0xffffffffffffffffULL
#endif

#endif
