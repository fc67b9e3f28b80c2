// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What touches memory, by object and offset, for a host that records it.
 *
 * Faults say little of that: who has a page makes none. So whoever sees accesses tells them
 * here: drivers, of devices that can; the host, when the CPU faults; hints. Each becomes an
 * event, as does what a block has when it begins, and what is discarded.
 *
 * Order. An access is told once it has been made, and not yet by who waits for it to have been
 * made; what its fault has found is told before. A hint is told once all of it has been carried
 * out, and before who waits for it goes on; one that has failed is not told. So where one thing
 * happens after another, in one thread or because one waits for the other, it is told after it.
 *
 * Locking: the address space is read-locked, so that the region and its object stay.
 */
#include "core/trace.h"

uint32_t gm_recording;

static void tell_at(struct gm_as *as, uint64_t va, struct gm_event *ev)
{
	struct gm_region *r = gm_region_find(as, va);

	if (!r)
		return;
	ev->as = as;
	ev->obj = r->obj;
	ev->offset = gm_round_down(va - r->va + r->offset, GM_PAGE_SIZE);
	gm_os_trace(ev);
}

/* The device whose memory it is, see struct gm_event. */
static void name_device(struct gm_event *ev, const struct gm_context *ctx)
{
	const struct gm_dev *dev = ctx->owner->dev;

	ev->to = gm_dev_node(dev);
	ev->ns = dev->id;
	ev->bytes = GM_MAX(gm_load(&dev->hnode.total), 1) << GM_PAGE_SHIFT;
	ev->pages = dev->unit;
}

void gm_note_access(struct gm_context *ctx, uint64_t va, uint32_t access, uint32_t lines)
{
	struct gm_event ev = {
		.kind = GM_EVENT_ACCESS,
		.va = va,
		.len = GM_PAGE_SIZE,
		.n = access,
		.lines = lines,
	};
	struct gm_as *as = ctx->as;
	const struct gm_seen *w;

	if (!gm_tracing(GM_EVENT_ACCESS))
		return;
	gm_lock_check_none();
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	w = gm_window_at_dev(ctx->owner, va);
	name_device(&ev, ctx);
	if (w)
		tell_at(as, va - w->dev_va + w->va, &ev);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
}

void gm_note_cpu(struct gm_as *as, uint64_t va, uint32_t access)
{
	struct gm_event ev = {
		.kind = GM_EVENT_TOUCH, .len = GM_PAGE_SIZE, .n = access, .to = GM_NODE_HOST
	};

	if (!gm_tracing(GM_EVENT_TOUCH))
		return;
	gm_lock_check_none();
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	tell_at(as, va, &ev);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
}

void gm_note_hint(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice)
{
	uint64_t end = gm_round_up(va + len, GM_PAGE_SIZE);
	struct gm_event ev = { .kind = GM_EVENT_HINT, .n = advice, .to = GM_NODE_HOST };
	struct gm_region *r;

	if (!gm_tracing(GM_EVENT_HINT) || advice == GM_DONTNEED)
		return;
	gm_lock_check_none();
	va = gm_round_down(va, GM_PAGE_SIZE);
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	for (const struct gm_context *ctx = as->contexts; ctx; ctx = ctx->next)
		if (gm_dev_node(ctx->dev) == hnode)
			name_device(&ev, ctx);
	while (va < end && (r = gm_region_find(as, va))) {
		ev.va = va;
		ev.len = GM_MIN(end, r->va + r->len) - va;
		tell_at(as, va, &ev);
		va += ev.len;
	}
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
}

void gm_note_pages(enum gm_event_kind kind, struct gm_object *obj, uint64_t off, uint64_t len)
{
	struct gm_event ev = {
		.kind = kind,
		.obj = obj,
		.offset = off,
		.len = len,
		.from = GM_NODE_NONE,
		.to = GM_NODE_NONE,
	};

	gm_os_trace(&ev);
}
