// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Faults of the CPU: it touched a page that it has no translation for.
 *
 * Lock block -> bring home what devices have of the piece -> give the pages that are
 * nowhere a zero page -> map -> unlock. What is in an aperture is mapped where it is; what has
 * replicas (replica.c) is mapped for reading, and loses them to a write.
 *
 * How much the piece is, is policy.c's to say; if the piece fails, the page alone is
 * tried, for the rest was only a guess. Servicing a fault twice is harmless (I8): the
 * second finds the page where the first put it, and maps it again.
 *
 * A page that goes back and forth may be held by a device (pingpong.c): the fault then lets go of
 * all its locks, waits until that is over, once at most, and begins anew. How it waits is
 * for whoever delivers it: gm_cpu_fault() sleeps, a host that must not sleep for one fault
 * while others wait asks gm_cpu_fault_try() and makes the thread wait that faulted.
 *
 * Locking. The address space is read-locked from lookup to the end, so that the region
 * stays; a host that names the object holds that.
 */
#include "core/fault.h"
#include "core/pingpong.h"

#define CPU_GRANULE 16U /* pages, where no address space says otherwise */

static int cpu_piece(struct gm_as *as, struct gm_block *block, const struct gm_place *place,
		     unsigned int first, unsigned int n, uint32_t access)
{
	struct gm_home how = { .as = as, .why = GM_WHY_CPU_FAULT };
	int err;

	gm_clip(place->region, place->index, &first, &n);
	err = gm_migrate_home(block, first, n, &how);
	if (!err)
		err = gm_make_host(block, first, n);
	if (!err)
		err = gm_exclusive_end(block, first, n, NULL);
	if (!err && (access & GM_WRITE))
		err = gm_collapse(block, first, n);
	if (err)
		return err;
	gm_mirror(block, first, n); /* before who waits for the page goes on */
	return gm_cpu_enter(place->region, block, first, n, access);
}

/* A bad page itself, or what the host would have to map along with one. */
static bool is_bad(const struct gm_block *block, unsigned int page)
{
	return gm_entry_state(gm_block_entry(block, page)) == GM_BAD || gm_block_unmappable(block);
}

/* Huge pages of the host's are mapped as a whole, so none of them may be elsewhere. */
static bool in_aperture(const struct gm_block *block, unsigned int page, unsigned int *lo,
			unsigned int *hi, uint64_t *cpu)
{
	return block->obj->granule == GM_PAGE_SIZE && gm_aperture_run(block, page, lo, hi, cpu);
}

/* What is in an aperture is mapped where it is: of pages [lo, hi) there, those in the granule. */
static int aperture_piece(struct gm_as *as, const struct gm_place *place, unsigned int lo,
			  unsigned int hi, uint64_t cpu)
{
	unsigned int granule = as->cpu_granule, around = place->page & ~(granule - 1);
	unsigned int first = GM_MAX(lo, around), n = GM_MIN(hi, around + granule) - first;
	const struct gm_region *r = place->region;
	uint64_t off;

	gm_clip(r, place->index, &first, &n);
	off = (place->index << GM_BLOCK_SHIFT) + ((uint64_t)first << GM_PAGE_SHIFT);
	return gm_os_cpu_map_aperture(place->region, r->va + (off - r->offset),
				      (uint64_t)n << GM_PAGE_SHIFT,
				      cpu + ((uint64_t)(first - lo) << GM_PAGE_SHIFT));
}

/* The pages that a fault on @page cannot but bring home, if it brings any. */
static void least_home(const struct gm_block *block, unsigned int page, unsigned int *first,
		       unsigned int *n)
{
	*n = GM_MAX(gm_unit_at(block, page), (unsigned int)(block->obj->granule >> GM_PAGE_SHIFT));
	*first = page & ~(*n - 1);
}

/* How long the CPU has to wait for the page; whoever holds it is counted as making it wait. */
static uint64_t held(struct gm_as *as, const struct gm_block *block, unsigned int page,
		     uint64_t now)
{
	unsigned int first, n;
	uint64_t ns;

	if (!gm_block_pingpong(block))
		return 0;
	least_home(block, page, &first, &n);
	ns = gm_pingpong_held(block, GM_PARTY_HOST, first, n, now);
	if (ns && as)
		gm_tally(&as->counters, faults_held, 1);
	return ns;
}

/* What a fault on @page is about to bring home, if anything. */
static bool comes_home(const struct gm_block *block, unsigned int page, unsigned int first,
		       unsigned int n, struct gm_pingpong_move *move)
{
	uint64_t e = gm_block_entry(block, page);
	unsigned int len;

	if (!block->nr_dev)
		return false;
	if (gm_entry_state(e) != GM_DEV) { /* a huge page: with the first that is away */
		least_home(block, page, &first, &n);
		for (unsigned int at = first; at < first + n && gm_entry_state(e) != GM_DEV;
		     at += len)
			len = gm_block_run(block, at, first + n, &e);
	}
	if (gm_entry_state(e) != GM_DEV)
		return false;
	/* It has a page of a block that is locked: it cannot go yet. */
	gm_pingpong_moving(move, block, gm_core.dev[gm_entry_dev(e)], gm_party_of(e), GM_PARTY_HOST,
			   first, n);
	return true;
}

/* *until, if not NULL: it may be made to wait, -EAGAIN, until then. */
static int cpu_fault(struct gm_as *as, uint64_t va, uint32_t access, uint64_t now, uint64_t *until,
		     struct gm_event *ev)
{
	unsigned int first, n, lo, hi;
	struct gm_pingpong_move move;
	bool comes;
	uint64_t wait;
	struct gm_block *block;
	struct gm_place place;
	uint64_t cpu;
	int err;

	err = gm_locate(as, va, access, &place);
	if (!err && ev)
		gm_event_place(ev, place.region->obj, place.index, place.page);
	if (!err)
		err = gm_block_get(place.region->obj, place.index, false, &block);
	if (err)
		return err;
	if (ev)
		ev->from = gm_entry_node(gm_block_entry(block, place.page));
	if (is_bad(block, place.page)) {
		gm_block_unlock(block);
		return -EHWPOISON;
	}
	if (in_aperture(block, place.page, &lo, &hi, &cpu)) {
		if (ev)
			ev->to = ev->from; /* it stays */
		err = aperture_piece(as, &place, lo, hi, cpu);
		gm_block_unlock(block);
		return err;
	}
	wait = until ? held(as, block, place.page, now) : 0;
	if (wait) {
		*until = now + wait;
		gm_block_unlock(block);
		return -EAGAIN;
	}
	if (gm_entry_state(gm_block_entry(block, place.page)) == GM_DEV)
		gm_tally(&as->counters, cpu_faults_moved, 1);
	gm_policy_cpu(as, block, place.page, &first, &n);
	if (block->obj->granule > GM_PAGE_SIZE)
		least_home(block, place.page, &first, &n);
	else
		gm_pingpong_clip(block, GM_PARTY_HOST, place.page, &first, &n, now);
	comes = comes_home(block, place.page, first, n, &move);
	err = cpu_piece(as, block, &place, first, n, access);
	if (err && n > 1) {
		first = place.page;
		n = 1;
		err = cpu_piece(as, block, &place, first, n, access);
	}
	if (!err && comes)
		gm_pingpong_moved(&move, block, as, NULL, place.page, first, n);
	gm_block_unlock(block);
	return err;
}

int gm_cpu_fault_try(struct gm_as *as, uint64_t va, uint32_t access, uint64_t *until)
{
	uint64_t begin = gm_os_now_ns();
	bool traced = gm_tracing(GM_EVENT_FAULT);
	struct gm_event ev;
	int err;

	if (traced) {
		ev = gm_fault_event(as, va, access, GM_WHY_CPU_FAULT, GM_NODE_HOST);
		ev.addr = va;
	}
	gm_lock_check_none();
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	if (until)
		*until = 0;
	err = cpu_fault(as, gm_round_down(va, GM_PAGE_SIZE), access, begin, until,
			traced ? &ev : NULL);
	if (until && *until) { /* it is not over */
		gm_rwlock_unlock(&as->lock, GM_RANK_AS);
		return err;
	}
	if (traced)
		gm_trace_end(&ev, begin, err);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	gm_tally(&as->counters, cpu_faults, 1);
	if (err)
		gm_tally(&as->counters, fault_errors, 1);
	gm_tally(&as->counters, ns_cpu_fault, gm_os_now_ns() - begin);
	return err;
}

int gm_cpu_fault(struct gm_as *as, uint64_t va, uint32_t access)
{
	uint64_t until, now;
	int err = gm_cpu_fault_try(as, va, access, &until);

	if (!until)
		return err;
	now = gm_os_now_ns();
	if (now < until)
		gm_os_sleep(until - now);
	return gm_cpu_fault_try(as, va, access, NULL);
}

/* In host backing, for all. */
static bool is_home(const struct gm_block *block, unsigned int page)
{
	uint64_t e = gm_block_entry(block, page);

	return gm_entry_state(e) == GM_HOST && !gm_entry_exclusive(e);
}

/*
 * Make one page of a locked block the CPU's. What is home already is left alone, for a
 * host that maps page by page comes here for each; what is not brings its granule. Huge
 * pages of the host's come as a whole.
 */
static int home_page(struct gm_block *block, struct gm_as *as, unsigned int page,
		     unsigned int granule, bool write, uint64_t now)
{
	struct gm_home how = { .as = as, .why = GM_WHY_CPU_FAULT };
	bool huge = block->obj->granule > GM_PAGE_SIZE;
	unsigned int first = page & ~(granule - 1), n = granule;
	struct gm_pingpong_move move;
	bool comes;
	int err = 0;

	if (is_bad(block, page))
		return -EHWPOISON;
	if (gm_entry_state(gm_block_entry(block, page)) == GM_DEV || (huge && block->nr_dev)) {
		if (as)
			gm_tally(&as->counters, cpu_faults_moved, 1);
		if (!huge)
			gm_pingpong_clip(block, GM_PARTY_HOST, page, &first, &n, now);
		comes = comes_home(block, page, first, n, &move);
		err = gm_migrate_home(block, first, n, &how);
		/* The rest of the granule was only a guess. */
		if (err && n > 1 && !huge) {
			first = page;
			n = 1;
			err = gm_migrate_home(block, first, n, &how);
		}
		if (!err && comes)
			gm_pingpong_moved(&move, block, as, NULL, page, first, n);
	} else if (!huge && is_home(block, page)) {
		/* Who maps it in place has it already, or faults. */
		return write ? gm_collapse(block, first, granule) : 0;
	}
	if (!err && huge)
		err = gm_make_host(block, 0, GM_BLOCK_PAGES);
	else if (!err && gm_entry_state(gm_block_entry(block, page)) != GM_HOST)
		err = gm_make_host(block, page, 1);
	if (!err)
		err = gm_exclusive_end(block, first, n, NULL);
	if (!err && (write || huge))
		err = gm_collapse(block, first, n);
	if (!err)
		gm_mirror(block, first, n);
	return err;
}

/* The pages around @page, within its granule, that are in host backing as it is. */
static void home_run(const struct gm_block *block, unsigned int page, unsigned int granule,
		     unsigned int *lo, unsigned int *hi)
{
	unsigned int first = page & ~(granule - 1), end = first + granule;

	*lo = page;
	*hi = page + 1;
	while (*lo > first && is_home(block, *lo - 1))
		--*lo;
	while (*hi < end && is_home(block, *hi))
		++*hi;
}

static void trace_object_fault(const struct gm_found *found, struct gm_as *as, unsigned int page,
			       int from, uint64_t begin, int err)
{
	struct gm_event ev = gm_fault_event(as, 0, 0, GM_WHY_CPU_FAULT, GM_NODE_HOST);

	gm_event_place(&ev, found->block->obj, found->block->index, page);
	ev.from = from;
	if (found->cpu)
		ev.to = from; /* it stays */
	gm_trace_end_at(&ev, begin, err);
}

int gm_object_fault(struct gm_object *obj, struct gm_as *as, uint64_t off, bool apertures,
		    struct gm_found *found)
{
	unsigned int page = (unsigned int)(off >> GM_PAGE_SHIFT & (GM_BLOCK_PAGES - 1)), lo, hi;
	unsigned int granule = as ? as->cpu_granule : CPU_GRANULE, least;
	uint64_t begin = gm_os_now_ns(), base = off & ~(GM_BLOCK_SIZE - 1), wait;
	bool traced = gm_tracing(GM_EVENT_FAULT);
	int err = 0, was;

	gm_lock_check_none();
	found->until = 0;
	found->block = gm_block_find(obj, off >> GM_BLOCK_SHIFT, false);
	if (!found->block)
		return 0;
	was = traced ? gm_entry_node(gm_block_entry(found->block, page)) : GM_NODE_NONE;
	least = GM_MAX((unsigned int)(obj->granule >> GM_PAGE_SHIFT),
		       gm_unit_at(found->block, page));
	granule = GM_MAX(granule, least);
	found->cpu = 0;
	if (!apertures || !in_aperture(found->block, page, &lo, &hi, &found->cpu)) {
		wait = found->waits ? held(as, found->block, page, begin) : 0;
		if (wait) {
			gm_block_unlock(found->block);
			found->until = begin + wait;
			return -EAGAIN;
		}
		if (as)
			least = GM_MAX(least, gm_cpu_granule(as, found->block, page));
		err = home_page(found->block, as, page, as ? least : granule, found->write, begin);
		home_run(found->block, page, granule, &lo, &hi);
	}
	if (traced)
		trace_object_fault(found, as, page, was, begin, err);
	found->from = base + ((uint64_t)lo << GM_PAGE_SHIFT);
	found->to = base + ((uint64_t)hi << GM_PAGE_SHIFT);
	if (err)
		gm_block_unlock(found->block);
	if (as) {
		unsigned int at = gm_os_cpu() % GM_SHARDS;

		gm_tally_at(&as->counters, at, cpu_faults, 1);
		if (err)
			gm_tally_at(&as->counters, at, fault_errors, 1);
		gm_tally_at(&as->counters, at, ns_cpu_fault, gm_os_now_ns() - begin);
	}
	return err;
}
