// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Policies by name, for a device: MOVE[:SIZE]/EVICT.
 */
#include <string.h>

#include <gmem/policy.h>

#include "host/replay/internal.h"
#include "host/replay/policy.h"

static const char *const names[] = {
	"auto/rrip",	    "density/lru-2m",	"fixed:4k/lru-2m", "fixed:64k/lru-2m",
	"fixed:2m/lru-2m", "stream:4k/clock", "stream:4k/s3fifo",
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* What "64k" means, up to @end; 0: nothing. */
static uint32_t size_of(const char *s, const char *end)
{
	uint64_t n = 0;

	for (; s < end && *s >= '0' && *s <= '9' && n < GM_BLOCK_SIZE; s++)
		n = n * 10 + (uint64_t)(*s - '0');
	if (s + 1 == end && (*s == 'k' || *s == 'K'))
		n <<= 10;
	else if (s + 1 == end && (*s == 'm' || *s == 'M'))
		n <<= 20;
	else if (s != end)
		return 0;
	return n < GM_PAGE_SIZE || n > GM_BLOCK_SIZE || (n & (n - 1)) ? 0 : (uint32_t)n;
}

/* Is there such a policy of this kind? */
static bool is_known(uint32_t kind, const char *name, size_t len)
{
	struct gm_policy_info info = { .size = sizeof(info) };

	for (unsigned int i = 0; !gm_policy_name(i, &info); i++)
		if (info.kind == kind && strlen(info.name) == len && !memcmp(info.name, name, len))
			return true;
	return false;
}

const char *replay_policy_parse(const char *name, struct gm_dev_tunables *t, char *pair, size_t size)
{
	const char *slash = strchr(name, '/'), *colon, *end;

	if (!slash || strlen(name) >= size)
		return "it is not of the form MOVE[:SIZE]/EVICT";
	colon = memchr(name, ':', (size_t)(slash - name));
	end = colon ? colon : slash;
	if (!is_known(GM_POLICY_MOVES, name, (size_t)(end - name)))
		return "there is no such policy of moving";
	t->granule = colon ? size_of(colon + 1, slash) : 0;
	if (colon && !t->granule)
		return "its size is no power of two from 4k to 2m";
	if (!is_known(GM_POLICY_EVICTS, slash + 1, strlen(slash + 1)))
		return "there is no such policy of eviction";
	memcpy(pair, name, (size_t)(end - name));
	strcpy(pair + (end - name), slash);
	return NULL;
}

const char *gm_replay_policy_check(const char *name)
{
	struct gm_dev_tunables t;
	char pair[2 * GM_POLICY_NAME];

	return replay_policy_parse(name, &t, pair, sizeof(pair));
}

const char *gm_replay_policy(unsigned int i)
{
	return i < COUNT(names) ? names[i] : NULL;
}
