// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The rings that readers of events have.
 *
 * Theory. A bounded queue of many writers and many readers without a lock, of the kind that Dmitry
 * Vyukov described (1024cores.net, 2010). Positions count up for ever; position p is in slot
 * p mod size. A slot's number says whose turn it is: p, a writer may take position p; p + 1, it is
 * written; a reader that has taken it makes it p + size, the next writer's. Who takes a position
 * does so by a compare-and-swap of head or tail, and owns the slot until he sets its number. So
 * a writer that is interrupted in between keeps readers from what comes behind, for so long, but no
 * writer from anything as long as there is room.
 *
 * Full: the writer counts the event as lost, and goes. So what is in the ring is older than what
 * was lost while it was full, and has no gap before that. Each call of gm_ring_put() either leaves
 * its record or counts one, so after the last call read and lost sum up to what was told.
 *
 * Order. The slot's number is set with release and read with acquire, either way, so a record's
 * bytes are written before they are read, and read before they are written over. It is set, and
 * read by gm_ring_empty(), sequentially consistent besides: who puts a record and then finds that a
 * reader was told already, and who says that he was not told and then finds the ring empty, cannot
 * both be (the hosts' wake-ups).
 *
 * Locking. None; nothing here waits, so it may be called wherever events are told: under
 * locks, and in a signal handler that interrupted any of this.
 */
#include "core/util.h"

_Static_assert(sizeof(struct gm_event_record) == 128, "it is an ABI");

struct slot {
	uint64_t turn; /* (a) */
	struct gm_event_record record;
};

struct gm_ring {
	uint64_t head __attribute__((aligned(64))); /* readers' next (a) */
	uint64_t tail __attribute__((aligned(64))); /* writers' next (a) */
	uint64_t lost __attribute__((aligned(64))); /* (a) */
	uint64_t size;				    /* a power of two, at least 2 (c) */
	struct slot slot[];
};

static size_t ring_bytes(uint64_t size)
{
	return sizeof(struct gm_ring) + size * sizeof(struct slot);
}

int gm_ring_create(uint32_t records, struct gm_ring **ring)
{
	uint64_t size = 2;
	struct gm_ring *r;

	if (!records)
		records = 4096;
	if (records > GM_EVENTS_MAX)
		return -EINVAL;
	while (size < records)
		size *= 2;
	r = gm_os_alloc(ring_bytes(size));
	if (!r)
		return -ENOMEM;
	r->size = size;
	for (uint64_t i = 0; i < size; i++)
		gm_store(&r->slot[i].turn, i);
	*ring = r;
	return 0;
}

void gm_ring_destroy(struct gm_ring *ring)
{
	gm_os_free(ring, ring_bytes(ring->size));
}

/* Take the position at *end, whose slot's turn is @ahead of it; NULL: it is not there yet. */
static struct slot *take(struct gm_ring *ring, uint64_t *end, uint64_t ahead, uint64_t *pos)
{
	uint64_t p = gm_load(end);

	for (;;) {
		struct slot *s = &ring->slot[p & (ring->size - 1)];
		int64_t turn = (int64_t)(gm_load_acquire(&s->turn) - (p + ahead));

		if (turn < 0)
			return NULL;
		if (turn > 0) {
			p = gm_load(end); /* others were faster */
		} else if (__atomic_compare_exchange_n(end, &p, p + 1, true, __ATOMIC_RELAXED,
						       __ATOMIC_RELAXED)) {
			*pos = p;
			return s;
		}
	}
}

bool gm_ring_put(struct gm_ring *ring, const struct gm_event_record *record)
{
	uint64_t pos;
	struct slot *s = take(ring, &ring->tail, 0, &pos);

	if (!s) {
		gm_add(&ring->lost, 1);
		return false;
	}
	s->record = *record;
	__atomic_store_n(&s->turn, pos + 1, __ATOMIC_SEQ_CST);
	return true;
}

bool gm_ring_get(struct gm_ring *ring, struct gm_event_record *record)
{
	uint64_t pos;
	struct slot *s = take(ring, &ring->head, 1, &pos);

	if (!s)
		return false;
	*record = s->record;
	gm_store_release(&s->turn, pos + ring->size);
	return true;
}

bool gm_ring_empty(const struct gm_ring *ring)
{
	uint64_t p = __atomic_load_n(&ring->head, __ATOMIC_SEQ_CST);
	const struct slot *s = &ring->slot[p & (ring->size - 1)];

	return (int64_t)(__atomic_load_n(&s->turn, __ATOMIC_SEQ_CST) - (p + 1)) < 0;
}

uint64_t gm_ring_lost(const struct gm_ring *ring)
{
	return gm_load(&ring->lost);
}
