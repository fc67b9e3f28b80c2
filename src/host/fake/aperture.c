// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Device memory that the CPU can address: an address of the CPU's is a pointer here, and
 * a page mapped so is accessed by way of it (access.c).
 *
 * Locking: `hold.lock` over the pages that are held; a region's pages as in region.c.
 */
#include <errno.h>

#include "host/fake/internal.h"

#define MAX_HELD 16

static struct {
	pthread_mutex_t lock;
	uint64_t page[MAX_HELD]; /* 0: none */
} hold = { .lock = PTHREAD_MUTEX_INITIALIZER };

int gm_os_aperture_open(uint64_t cpu, uint64_t len)
{
	int err = fake_fail(GM_FAKE_APERTURE_OPEN);

	fake_check_may_sleep("aperture_open");
	fake_bug_on(!cpu || (cpu | len) % GM_BLOCK_SIZE);
	if (!err)
		fake_add(apertures, 1);
	return err;
}

void gm_os_aperture_close(uint64_t cpu, uint64_t len)
{
	fake_check_may_sleep("aperture_close");
	fake_bug_on(!gm_os_aperture_idle(cpu, len));
	fake_sub(apertures, 1);
}

bool gm_os_aperture_idle(uint64_t cpu, uint64_t len)
{
	bool idle = true;

	fake_check_may_sleep("aperture_idle");
	pthread_mutex_lock(&hold.lock);
	for (unsigned int i = 0; i < MAX_HELD; i++)
		idle &= hold.page[i] < cpu || hold.page[i] >= cpu + len;
	pthread_mutex_unlock(&hold.lock);
	return idle;
}

void gm_fake_hold(const void *page, bool held)
{
	uint64_t at = (uint64_t)(uintptr_t)page, from = held ? 0 : at;
	unsigned int i = 0;

	pthread_mutex_lock(&hold.lock);
	while (i < MAX_HELD && hold.page[i] != from)
		i++;
	if (i < MAX_HELD)
		hold.page[i] = held ? at : 0;
	pthread_mutex_unlock(&hold.lock);
	fake_bug_on(i == MAX_HELD);
}
