/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Private memory, registered in place: shared by place.c and place_busy.c. */
#ifndef CF_PLACE_H
#define CF_PLACE_H

#include "conformance.h"

char *place_map_private(uint64_t len);
char *place_registered(struct cf *cf, uint64_t len);
void place_give_back(struct cf *cf, char *p, uint64_t len);
/* A whole block that begins at a multiple of its size, of registered memory; *all has one more. */
char *place_registered_blocks(struct cf *cf, unsigned int n, char **all);
/* The suite runs on the kernel host too, which has but an error for this. */
bool place_not_here(struct cf *cf);
/* Nor what takes a device that has any page. */
bool place_not_in_parts(struct cf *cf);

#endif
