/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A device of a few pages, in software, and its driver: what driver.c does, main.c uses. */
#ifndef DRIVER_H
#define DRIVER_H

#include <gmem/gmem.h>

struct adder; /* the device: it adds up numbers */

/* Plug it in, with so many bytes of memory, a multiple of 2 MiB. */
int adder_create(uint64_t memory, struct adder **adder);
int adder_destroy(struct adder *adder);

/*
 * Let it see [mem, mem+len) of an address space, at its own addresses from 0 on. It ends with
 * gm_as_detach(), or gm_as_destroy().
 */
int adder_attach(struct adder *adder, struct gm_as *as, void *mem, uint64_t len,
		 struct gm_context **ctx);

/* Its one instruction: the sum of the @n numbers at its address @va, which it puts behind them. */
int adder_run(struct adder *adder, struct gm_context *ctx, uint64_t va, unsigned int n);

#endif
