// SPDX-License-Identifier: GPL-2.0-only OR MIT
// A program on the device of adder.ko: the CPU writes numbers, the device adds them up.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <gmem/gmem.h>
#include "adder.h"

#define N (1U << 20)	      /* 8 MiB of numbers, in a device of half as much */
#define LEN (8ULL * N + 4096) /* and room for the sum */

static int use(struct gm_as *as, int device)
{
	struct adder_attach attach = { .as = gm_as_fd(as), .len = LEN };
	uint64_t *number, n = N;
	void *mem;
	int err;

	if (attach.as < 0)
		return attach.as;
	err = gm_alloc(as, LEN, 0, &mem);
	if (err)
		return err;
	number = mem;
	attach.va = (uintptr_t)mem;
	for (unsigned int i = 0; i < N; i++)
		number[i] = i;
	if (ioctl(device, ADDER_ATTACH, &attach) || ioctl(device, ADDER_RUN, &n))
		return -errno;
	printf("%llu\n", (unsigned long long)number[N]);
	return number[N] == (uint64_t)N * (N - 1) / 2 ? 0 : -EIO;
}

int main(void)
{
	int device = open("/dev/adder", O_RDWR | O_CLOEXEC), err, end;
	struct gm_as *as;

	if (device < 0) {
		perror("/dev/adder");
		return 1;
	}
	err = gm_as_create(NULL, &as);
	if (!err) {
		err = use(as, device);
		close(device); /* it is detached: before the address space goes */
		end = gm_as_destroy(as);
		err = err ? err : end;
	}
	if (err)
		fprintf(stderr, "use: %s\n", gm_strerror(err));
	return err ? 1 : 0;
}
