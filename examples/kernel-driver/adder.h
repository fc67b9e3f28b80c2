/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The requests of /dev/adder: a descriptor of it is a device of its own, which adds up numbers. */
#ifndef ADDER_H
#define ADDER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Let it see [va, va+len) of an address space, at its own addresses from 0 on; once. */
struct adder_attach {
	__s32 as; /* gm_as_fd() */
	__u32 pad;
	__u64 va, len;
};

#define ADDER_ATTACH _IOW('A', 0, struct adder_attach)
/* Its one instruction: the sum of so many numbers at its address 0, which it puts behind them. */
#define ADDER_RUN _IOW('A', 1, __u64)

#endif
