// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* gmem(4): its requests, which fail in this order where there is no /dev/gmem. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <gmem/gmem.h>
#include <uapi/gmem.h>

int main(void)
{
	struct gmem_as_create as_create = { .size = sizeof(as_create) };
	struct gmem_object_create object_create = { .size = sizeof(object_create), .bytes = 4096 };
	struct gmem_map map = { .size = sizeof(map), .len = 4096 };

#include "example.h"
	if (gmem < 0)
		return as >= 0 || object >= 0 || errno != EBADF;
	return as < 0 || object < 0;
}
