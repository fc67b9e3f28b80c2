// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* gm_object(3): one object at two addresses. */
#include <gmem/gmem.h>

int main(void)
{
	const uint64_t len = 1 << 20;
	struct gm_as *as;
	int err;

	if (gm_as_create(NULL, &as))
		return 1;
#include "example.h"
	if (err || a == b || *(int *)b != 42)
		return 1;
	return gm_as_destroy(as);
}
