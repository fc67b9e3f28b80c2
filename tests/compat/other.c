// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Another file of the program that test_libgmem.c is: it uses the same heap, by the plain names. */
#define GMEM_MALLOC
#include <gmem/libgmem.h>

#include "other.h"

void *other_malloc(size_t size)
{
	return malloc(size);
}

void *other_realloc(void *object, size_t size)
{
	return realloc(object, size);
}

void other_free(void *object)
{
	free(object);
}

int other_device(void)
{
	return gmemGetNumaId();
}
