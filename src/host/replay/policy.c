// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Policies by name, for a device: MOVE[:SIZE]/EVICT. The core knows those there are; SIZE is the
 * granule that the device is tuned to.
 */
#include <stdio.h>
#include <string.h>

#include <gmem/policy.h>

#include "host/replay/internal.h"
#include "host/replay/policy.h"

#define NAMES_MAX 256U

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

static bool there_is(uint32_t kind, const char *name, size_t len)
{
	struct gm_policy_info info = { .size = sizeof(info) };

	for (unsigned int i = 0; !gm_policy_name(i, &info); i++)
		if (info.kind == kind && strlen(info.name) == len && !memcmp(info.name, name, len))
			return true;
	return false;
}

const char *replay_policy_parse(const char *name, uint32_t *granule, char plain[REPLAY_POLICY])
{
	const char *slash = strchr(name, '/'), *colon, *end;

	*granule = 0;
	if (!slash)
		return "it is not of the form MOVE[:SIZE]/EVICT";
	colon = memchr(name, ':', (size_t)(slash - name));
	end = colon ? colon : slash;
	if (!there_is(GM_POLICY_MOVES, name, (size_t)(end - name)))
		return "there is no such policy of moving";
	if (colon)
		*granule = size_of(colon + 1, slash);
	if (colon && !*granule)
		return "its size is no power of two from 4k to 2m";
	if (!there_is(GM_POLICY_EVICTS, slash + 1, strlen(slash + 1)))
		return "there is no such policy of eviction";
	snprintf(plain, REPLAY_POLICY, "%.*s%s", (int)(end - name), name, slash);
	return NULL;
}

const char *gm_replay_policy_check(const char *name)
{
	char plain[REPLAY_POLICY];
	uint32_t granule;

	return replay_policy_parse(name, &granule, plain);
}

const char *gm_replay_policy(unsigned int i)
{
	static char names[NAMES_MAX][REPLAY_POLICY];
	struct gm_policy_info move = { .size = sizeof(move) }, evict = { .size = sizeof(evict) };
	unsigned int n = 0;

	for (unsigned int m = 0; !gm_policy_name(m, &move); m++) {
		for (unsigned int e = 0; move.kind == GM_POLICY_MOVES && !gm_policy_name(e, &evict);
		     e++) {
			if (evict.kind != GM_POLICY_EVICTS || n++ != i)
				continue;
			if (i >= NAMES_MAX)
				return NULL;
			snprintf(names[i], REPLAY_POLICY, "%s/%s", move.name, evict.name);
			return names[i];
		}
	}
	return NULL;
}
