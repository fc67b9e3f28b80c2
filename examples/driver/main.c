// SPDX-License-Identifier: GPL-2.0-only OR MIT
// A program on a device of its own: the CPU writes numbers, the device adds them up.
#include <stdio.h>

#include "driver.h"

#define N (1U << 20)	      /* 8 MiB of numbers, */
#define MEMORY (4ULL << 20)   /* in a device of half as much */
#define LEN (8ULL * N + 4096) /* and room for the sum */

static int use(struct adder *adder, struct gm_as *as)
{
	struct gm_context *ctx;
	uint64_t *number;
	void *mem;
	int err;

	err = gm_alloc(as, LEN, 0, &mem);
	if (err)
		return err;
	err = adder_attach(adder, as, mem, LEN, &ctx);
	if (err)
		return err;
	number = mem;
	for (unsigned int i = 0; i < N; i++)
		number[i] = i;
	err = adder_run(adder, ctx, 0, N);
	if (err)
		return err;
	printf("%llu\n", (unsigned long long)number[N]);
	return gm_as_detach(ctx);
}

int main(void)
{
	struct adder *adder;
	struct gm_as *as;
	int err, end;

	err = adder_create(MEMORY, &adder);
	if (err)
		goto out;
	err = gm_as_create(NULL, &as);
	if (!err) {
		err = use(adder, as);
		end = gm_as_destroy(as);
		err = err ? err : end;
	}
	end = adder_destroy(adder);
	err = err ? err : end;
out:
	if (err)
		fprintf(stderr, "driver: %s\n", gm_strerror(err));
	return err ? 1 : 0;
}
