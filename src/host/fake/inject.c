// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Failures on demand: of one operation of the host, or of the n-th call of any.
 *
 * Every function of core/os.h that may fail asks fake_fail() once, before it has
 * changed anything. With the count of such calls in an undisturbed run a test can
 * fail each of them in turn.
 *
 * Locking: a mutex; no other lock is taken inside.
 */
#include <errno.h>
#include <string.h>

#include "host/fake/internal.h"

struct plan {
	uint32_t skip, count;
	int err;
};

static struct {
	pthread_mutex_t lock;
	struct plan plan[GM_FAKE_NR_OPS];
	uint64_t nth;
	uint64_t calls, injected;
} inj = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char *const names[GM_FAKE_NR_OPS] = {
	[GM_FAKE_ALLOC] = "alloc",
	[GM_FAKE_TRYLOCK] = "trylock",
	[GM_FAKE_OBJECT_CREATE] = "object_create",
	[GM_FAKE_BACKING_GET] = "backing_get",
	[GM_FAKE_BACKING_READ] = "backing_read",
	[GM_FAKE_BACKING_WRITE] = "backing_write",
	[GM_FAKE_IN_PLACE_HOLD] = "in_place_hold",
	[GM_FAKE_BOUNCE_ALLOC] = "bounce_alloc",
	[GM_FAKE_COPY_PLAIN] = "copy_plain",
	[GM_FAKE_AS_CREATE] = "as_create",
	[GM_FAKE_REGION_MAP] = "region_map",
	[GM_FAKE_REGION_UNMAP] = "region_unmap",
	[GM_FAKE_REGION_SPLIT] = "region_split",
	[GM_FAKE_REGION_PROTECT] = "region_protect",
	[GM_FAKE_CPU_ARM] = "cpu_arm",
	[GM_FAKE_CPU_MAP] = "cpu_map",
	[GM_FAKE_CPU_REVOKE] = "cpu_revoke",
	[GM_FAKE_APERTURE_OPEN] = "aperture_open",
	[GM_FAKE_VA_RESERVE] = "va_reserve",
};

const char *gm_fake_op_name(enum gm_fake_op op)
{
	return names[op];
}

static int plan_fail(struct plan *p)
{
	if (!p->count)
		return 0;
	if (p->skip) {
		p->skip--;
		return 0;
	}
	if (p->count != UINT32_MAX)
		p->count--;
	return p->err;
}

int fake_fail(enum gm_fake_op op)
{
	int err;

	pthread_mutex_lock(&inj.lock);
	inj.calls++;
	err = plan_fail(&inj.plan[op]);
	if (inj.nth && --inj.nth == 0)
		err = op == GM_FAKE_COPY_PLAIN ? -EFAULT : -ENOMEM;
	if (err)
		inj.injected++;
	pthread_mutex_unlock(&inj.lock);
	return err;
}

void gm_fake_inject(enum gm_fake_op op, uint32_t skip, uint32_t count, int err)
{
	pthread_mutex_lock(&inj.lock);
	inj.plan[op] = (struct plan){ .skip = skip, .count = count, .err = err };
	pthread_mutex_unlock(&inj.lock);
}

void gm_fake_inject_nth(uint64_t n)
{
	pthread_mutex_lock(&inj.lock);
	inj.nth = n;
	pthread_mutex_unlock(&inj.lock);
}

void gm_fake_inject_clear(void)
{
	pthread_mutex_lock(&inj.lock);
	memset(inj.plan, 0, sizeof(inj.plan));
	inj.nth = 0;
	pthread_mutex_unlock(&inj.lock);
}

uint64_t gm_fake_injected(void)
{
	uint64_t n;

	pthread_mutex_lock(&inj.lock);
	n = inj.injected;
	pthread_mutex_unlock(&inj.lock);
	return n;
}

uint64_t gm_fake_fallible_calls(void)
{
	uint64_t n;

	pthread_mutex_lock(&inj.lock);
	n = inj.calls;
	pthread_mutex_unlock(&inj.lock);
	return n;
}

void fake_inject_reset(void)
{
	gm_fake_inject_clear();
	pthread_mutex_lock(&inj.lock);
	inj.calls = inj.injected = 0;
	pthread_mutex_unlock(&inj.lock);
}
