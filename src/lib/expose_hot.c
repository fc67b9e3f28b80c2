// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Which memory is hot: where faults, moves and evictions were since the same client asked last.
 *
 * Who asks for it gets a reader of events (events.h), and from then on has them for as long as it stays
 * connected; nobody pays for what nobody watches. Events wait in the reader's ring until the next
 * question, and are then added up by blocks. What did not fit into the ring is said to be lost, and
 * what does not fit into the table counts without an address.
 *
 * Locking: called by one thread at a time, under clients_lock; so the table is nobody else's.
 */
#include <string.h>

#include "expose.h"

#define BLOCKS 1024U /* a power of two */
#define TOLD 32U
#define BATCH 64U

struct heat {
	uint64_t addr; /* of the block */
	uint64_t faults, to_dev, to_host, evictions;
};

static struct heat table[BLOCKS];
static struct heat others; /* no address, or no room */

static struct heat *heat_of(uint64_t addr)
{
	uint64_t block = addr & ~(GM_BLOCK_SIZE - 1);
	uint64_t hash = (block / GM_BLOCK_SIZE) * 0x9e3779b97f4a7c15ULL >> 32;

	if (!block)
		return &others;
	for (unsigned int i = 0; i < BLOCKS; i++) {
		struct heat *h = &table[(hash + i) % BLOCKS];

		if (!h->addr)
			h->addr = block;
		if (h->addr == block)
			return h;
	}
	return &others;
}

static void count(const struct gm_event_record *r)
{
	struct heat *h = heat_of(r->addr);

	if (r->kind == GM_EVENT_FAULT)
		h->faults++;
	else if (r->kind == GM_EVENT_EVICT)
		h->evictions++;
	else if (r->to == GM_NODE_HOST)
		h->to_host += r->bytes;
	else
		h->to_dev += r->bytes;
}

/* What there is to do for it: faults, and as many as would have moved the bytes page by page. */
static uint64_t weight(const struct heat *h)
{
	return h->faults + (h->to_dev + h->to_host) / GM_PAGE_SIZE;
}

static struct heat *hottest(void)
{
	struct heat *most = NULL;

	for (unsigned int i = 0; i < BLOCKS; i++)
		if (table[i].addr && (!most || weight(&table[i]) > weight(most)))
			most = &table[i];
	return most;
}

static void add_heat(struct gm_text *t, const struct heat *h)
{
	gm_text_add(t,
		    "{\"addr\":%llu,\"len\":%llu,\"faults\":%llu,\"bytes_to_dev\":%llu,"
		    "\"bytes_to_host\":%llu,\"evictions\":%llu}",
		    (unsigned long long)h->addr, (unsigned long long)(h->addr ? GM_BLOCK_SIZE : 0),
		    (unsigned long long)h->faults, (unsigned long long)h->to_dev,
		    (unsigned long long)h->to_host, (unsigned long long)h->evictions);
}

static int open_reader(struct gm_events **events)
{
	const struct gm_events_options opt = {
		.size = sizeof(opt),
		.kinds = 1U << GM_EVENT_FAULT | 1U << GM_EVENT_MIGRATE | 1U << GM_EVENT_EVICT,
		.records = 16384,
	};

	return *events ? 0 : gm_host()->events_open(&opt, events);
}

void gm_expose_hot(struct gm_text *t, struct gm_events **events)
{
	struct gm_event_record some[BATCH];
	uint64_t lost = 0;
	struct heat *h;
	int n = 0;

	memset(table, 0, sizeof(table));
	others = (struct heat){ .addr = 0 };
	if (open_reader(events)) {
		gm_text_add(t, ",\"error\":\"no reader of events can be had\"");
		return;
	}
	/* No more than was there: who writes faster than this must not keep us here. */
	for (unsigned int left = 16384;
	     left && (n = gm_host()->events_read(*events, some, BATCH)) > 0;
	     left -= left < BATCH ? left : BATCH)
		for (int i = 0; i < n; i++)
			count(&some[i]);
	gm_host()->events_lost(*events, &lost);
	gm_text_add(t, ",\"hot\":[");
	for (unsigned int i = 0; i < TOLD && (h = hottest()); i++) {
		if (i)
			gm_text_add(t, ",");
		add_heat(t, h);
		h->addr = 0;
	}
	/* What is not told by itself is with the others. */
	while ((h = hottest())) {
		others.faults += h->faults;
		others.to_dev += h->to_dev;
		others.to_host += h->to_host;
		others.evictions += h->evictions;
		h->addr = 0;
	}
	gm_text_add(t, "],\"others\":");
	add_heat(t, &others);
	gm_text_add(t, ",\"lost\":%llu", (unsigned long long)lost);
}
