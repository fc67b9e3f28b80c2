// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include <gmem/events.h>
#include <gmem/sim.h>

/* What moves while the CPU and the simulated accelerator use the same memory. */
int main(void)
{
	struct gm_events_options opt = {
		.size = sizeof(opt),
		.kinds = 1 << GM_EVENT_MIGRATE,
	};
	struct gm_event_record r[16];
	struct gm_events *events;
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	struct pollfd fd;
	struct gm_as *as;
	uint64_t lost, value = 43;
	void *mem;
	int n;

	if (gm_sim_create(NULL, &sim) || gm_as_create(NULL, &as) || gm_sim_attach(sim, as, &ctx) ||
	    gm_alloc(as, 1 << 20, 0, &mem) || gm_events_open(&opt, &events))
		return 1;
	*(uint64_t *)mem = 42;
	if (gm_sim_access(ctx, mem, &value, 8, GM_WRITE)) /* to the device */
		return 1;
	fd = (struct pollfd){ .fd = gm_events_fd(events), .events = POLLIN };
	while (poll(&fd, 1, 0) > 0 && (n = gm_events_read(events, r, 16)) > 0)
		for (int i = 0; i < n; i++)
			printf("%" PRIu32 " pages at %#" PRIx64 " went from node %d to %d\n",
			       r[i].pages, r[i].addr, r[i].from, r[i].to);
	if (gm_events_lost(events, &lost) || lost)
		printf("%" PRIu64 " more were lost\n", lost);
	gm_events_close(events);
	return gm_as_destroy(as) || gm_sim_destroy(sim);
}
