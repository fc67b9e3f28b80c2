// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Fences: what a copy engine signals when it is done.
 *
 * A fence lives on the stack of the one who waits. It is PENDING, SLEEPING once the
 * waiter has gone to sleep, then DONE, for good. The error is written before DONE
 * (release) and read after it (acquire). After it has set DONE the signaller uses
 * the fence's address only as the key of a wake-up, and only if somebody slept, so
 * the waiter may return, and the stack be reused, at once.
 */
#include "core/core.h"

enum { PENDING, SLEEPING, DONE };

void gm_fence_init(struct gm_fence *fence)
{
	fence->state = PENDING;
	fence->err = 0;
}

void gm_fence_signal(struct gm_fence *fence, int err)
{
	fence->err = err;
	if (__atomic_exchange_n(&fence->state, DONE, __ATOMIC_ACQ_REL) == SLEEPING)
		gm_os_wake(&fence->state);
}

int gm_fence_wait(struct gm_fence *fence)
{
	uint32_t state = gm_load_acquire(&fence->state);

	while (state != DONE) {
		if (state == SLEEPING || gm_publish(&fence->state, &state, SLEEPING))
			gm_os_wait(&fence->state, SLEEPING);
		state = gm_load_acquire(&fence->state);
	}
	return fence->err;
}
