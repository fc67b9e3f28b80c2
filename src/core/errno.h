/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Linux's error numbers, the same on every architecture; the core has no <errno.h>. */
#ifndef GM_CORE_ERRNO_H
#define GM_CORE_ERRNO_H

#ifndef EINVAL
#define EPERM 1
#define ENOENT 2
#define EIO 5
#define E2BIG 7
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EFAULT 14
#define EBUSY 16
#define EEXIST 17
#define ENODEV 19
#define EINVAL 22
#define ENOSPC 28
#define ERANGE 34
#define ENOSYS 38
#define EOPNOTSUPP 95
#define EADDRINUSE 98
#define EADDRNOTAVAIL 99
#define ECANCELED 125
#define EHWPOISON 133
#endif

#endif
