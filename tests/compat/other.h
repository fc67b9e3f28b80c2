/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What other.c does with the plain names of malloc(3), and the device that it sees. */
#ifndef OTHER_H
#define OTHER_H

#include <stddef.h>

void *other_malloc(size_t size);
void *other_realloc(void *object, size_t size);
void other_free(void *object);
int other_device(void);

#endif
