// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Policies by name, for a device: MOVE[:SIZE]/EVICT.
 */
#include <string.h>

#include "host/replay/internal.h"
#include "host/replay/policy.h"

static const struct {
	const char *name;
	uint32_t no_grow;
} moves[] = {
	{ "density", 0 },
	{ "fixed", 1 },
};
static const char *const evicts[] = { "lru-2m" };

static const char *const names[] = { "density/lru-2m", "fixed:4k/lru-2m", "fixed:64k/lru-2m",
				     "fixed:2m/lru-2m" };

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

static bool is(const char *name, const char *s, size_t len)
{
	return strlen(name) == len && !memcmp(name, s, len);
}

const char *replay_policy_parse(const char *name, struct gm_dev_tunables *t)
{
	const char *slash = strchr(name, '/'), *colon, *end;
	size_t i = 0;

	if (!slash)
		return "it is not of the form MOVE[:SIZE]/EVICT";
	colon = memchr(name, ':', (size_t)(slash - name));
	end = colon ? colon : slash;
	while (i < COUNT(moves) && !is(moves[i].name, name, (size_t)(end - name)))
		i++;
	if (i == COUNT(moves))
		return "there is no such policy of moving";
	t->no_grow = moves[i].no_grow;
	t->granule = colon ? size_of(colon + 1, slash) : 0;
	if (colon && !t->granule)
		return "its size is no power of two from 4k to 2m";
	for (i = 0; i < COUNT(evicts); i++)
		if (!strcmp(evicts[i], slash + 1))
			return NULL;
	return "there is no such policy of eviction";
}

const char *gm_replay_policy_check(const char *name)
{
	struct gm_dev_tunables t;

	return replay_policy_parse(name, &t);
}

const char *gm_replay_policy(unsigned int i)
{
	return i < COUNT(names) ? names[i] : NULL;
}
