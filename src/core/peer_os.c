// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * One message to a device that has an operating system of its own, instead of several.
 *
 * Theory. To move pages to a device and map them is copy, zero and pmap_enter; to bring them
 * home pmap_release, tlb_invl and copy. Where each is a message and an answer, a driver offers
 * peer_map and peer_unmap, which are the same in one. Nothing else differs: they take the
 * places of the basic operations in the transactions of migrate.c and home.c. Whatever does
 * not fit is composed of the basic operations (-EOPNOTSUPP, here and from the driver), which
 * are always there.
 *
 * There. peer_map is the last step of the move that may fail: frames are ours, the CPU's
 * mappings are gone (I3), no other device has a part in it. If it succeeds the commit follows,
 * which cannot fail, and nobody sees the device's mappings without it, for the block is
 * locked. If it fails nothing is mapped, by the driver's word, so the frames are free to be
 * used for anything (I5), and the pages are where they were (I2, I4). That is why one message
 * has all: of two the first could not be taken back for certain.
 *
 * The view is that of the fault or hint. Others fault when they want it. The device chooses
 * the leaves, none larger than gm_leaf_of() would say now; where that reaches beyond what
 * came by the message, the caller enters it (gm_message_landed()).
 *
 * Home. peer_unmap is of one view, so nothing else may map the pages: exactly one view is
 * found, no peer reads them, nobody shares the pmap; nor has the device leaves larger than a block
 * (span.c), which are for many blocks to take apart. The block is locked and nobody maps any
 * of it meanwhile; but regions, windows and contexts may go or be cut before the message is
 * sent. So it is sent under the locks that keep them, if the view is there still as it was,
 * and is composed if not. Leaves that are cut are unmapped as a whole and their rest is entered
 * anew. If it fails some mappings may be gone, and the pages are where they were.
 *
 * Locking. Block locked. There: as->lock for reading keeps the view. Home: maps_lock and
 * ctx_lock for reading, taken by gm_for_views(); host frames are taken before, since that may
 * need memory.
 */
#include "core/peer_os.h"

static bool message_init(struct gm_message *m, struct gm_block *block, const struct gm_mmu *mmu)
{
	m->mmu = mmu;
	m->block = block;
	m->n = 0;
	m->view.ctx = NULL;
	return mmu->peer_map;
}

/* Does the view show all of these pages, and nobody else use its pmap? */
static bool usable(const struct gm_view *v, const struct gm_block *block, unsigned int first,
		   unsigned int end)
{
	return v->mode == GM_EXCLUSIVE && !v->ctx->sharers && !v->ctx->spans &&
	       v->lo <= gm_view_off(block, first) && gm_view_off(block, end) <= v->hi;
}

/* One piece, of the last if it goes on from there. -EOPNOTSUPP: there are too many. */
static int add(struct gm_message *m, const struct gm_peer_map *op, uint64_t off)
{
	struct gm_peer_map *last = m->n ? &m->op[m->n - 1] : NULL;
	bool host = op->host != GM_NO_ADDRESS;

	if (last && last->va + last->len == op->va && last->pa + last->len == op->pa &&
	    host == (last->host != GM_NO_ADDRESS) &&
	    (!host ||
	     (last->host + last->len == op->host && m->off[m->n - 1] + last->len == off))) {
		last->len += op->len;
		return 0;
	}
	if (m->n == GM_MESSAGE_MAX)
		return -EOPNOTSUPP;
	m->off[m->n] = off;
	m->op[m->n++] = *op;
	return 0;
}

/* Pages that are, or will be, in frames from @pfn on; with @copy host frames are held for them. */
int gm_message_add(struct gm_message *m, unsigned int page, unsigned int n, uint64_t pfn, bool copy,
		   bool exist)
{
	struct gm_object *obj = m->block->obj;
	uint64_t off = gm_page_off(m->block, page), end = off + gm_page_bytes(n), got;
	struct gm_peer_map op = { .va = off + m->view.delta, .pa = pfn << GM_PAGE_SHIFT };
	int err = 0;

	for (; off < end && !err; off += got, op.va += got, op.pa += got) {
		got = end - off;
		op.host = GM_NO_ADDRESS;
		if (copy)
			err = gm_os_backing_get(obj, off, end - off, exist, &op.host, &got);
		if (err)
			break;
		op.len = got;
		err = add(m, &op, off);
		if (err && copy)
			gm_os_backing_put(obj, off, got);
	}
	return err;
}

/* The device has let go of the host frames, or never had them. */
void gm_message_put(struct gm_message *m)
{
	for (unsigned int i = 0; i < m->n; i++)
		if (m->op[i].host != GM_NO_ADDRESS)
			gm_os_backing_put(m->block->obj, m->off[i], m->op[i].len);
	m->n = 0;
}

/* --------------------------------------------------------------------- to the device */

/* The view that the pages of the runs are to be mapped by: false if it does not show them all. */
static bool landing_view(const struct gm_block *block, const struct gm_landing *to,
			 const struct gm_run *runs, unsigned int nr, struct gm_view *v)
{
	unsigned int first = runs[0].page, end = runs[nr - 1].page + runs[nr - 1].n;
	uint32_t i = 0;

	return gm_view_next(to->ctx, to->region, gm_view_off(block, first), gm_view_off(block, end),
			    &i, v) &&
	       usable(v, block, first, end);
}

static int add_runs(struct gm_message *m, const struct gm_run *runs, unsigned int nr)
{
	unsigned int n;
	uint64_t e;
	int err = 0;

	for (unsigned int i = 0; i < nr; i++) {
		const struct gm_run *r = &runs[i];

		for (unsigned int page = r->page; page < r->page + r->n && !err; page += n) {
			n = gm_block_run(m->block, page, r->page + r->n, &e);
			err = gm_message_add(m, page, n, r->pfn + page - r->page,
					     gm_entry_state(e) == GM_HOST, true);
		}
	}
	return err;
}

/* Fill the frames of the runs, and map them. */
int gm_message_fill(struct gm_block *block, struct gm_landing *to, const struct gm_run *runs,
		    unsigned int nr)
{
	struct gm_dev *dev = to->ctx->dev;
	struct gm_message m gm_uninitialized;
	struct gm_fence fence;
	uint64_t begin;
	int err;

	if (!message_init(&m, block, dev->mmu) || !landing_view(block, to, runs, nr, &m.view))
		return -EOPNOTSUPP;
	begin = gm_os_now_ns();
	if (add_runs(&m, runs, nr)) { /* whatever it is: composed, it may do, or says why not */
		gm_message_put(&m);
		return -EOPNOTSUPP;
	}
	gm_lock_check_may_sleep();
	gm_fence_init(&fence);
	err = m.mmu->peer_map(to->ctx->pmap, m.op, m.n, to->region->prot, &fence);
	if (!err)
		err = gm_fence_wait(&fence);
	gm_message_put(&m);
	gm_count(dev, to->ctx->as, ns_copy, gm_os_now_ns() - begin);
	to->sent = !err;
	return err == -ENOSPC ? -EOPNOTSUPP : err; /* composed, there is an eviction for it */
}

/* After the commit: which of the runs are mapped as well as they can be? */
void gm_message_landed(const struct gm_block *block, struct gm_landing *to,
		       const struct gm_run *runs, unsigned int nr)
{
	struct gm_view v;

	if (!to->sent || !landing_view(block, to, runs, nr, &v))
		return;
	for (unsigned int i = 0; i < nr; i++) {
		uint64_t dva = gm_view_off(block, runs[i].page) + v.delta;
		uint64_t len = gm_page_bytes(runs[i].n), leaf = gm_leaf_of(&v, block, dva, 0);
		uint64_t last = dva + len - GM_PAGE_SIZE, behind = gm_leaf_of(&v, block, last, 0);

		/* Leaves within these lie within the run: none is cut by its ends. */
		if (gm_aligned(dva, leaf) && leaf <= len && gm_aligned(dva + len, behind))
			to->mapped += runs[i].n;
	}
}

/* ------------------------------------------------------------------- from the device */

/* What gm_for_views() is to find, or has found: its gather is the first member. */
struct gm_sending {
	struct gm_gather g; /* nothing is gathered: peer_unmap invalidates */
	struct gm_message *m;
	unsigned int views;
	int err;
};

static int find_view(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
		     struct gm_gather *g)
{
	struct gm_sending *s = gm_container(g, struct gm_sending, g);

	(void)block;
	(void)dva;
	(void)end;
	s->m->view = *v;
	s->views++;
	return 0;
}

/* The pages of the device's in [dva, end), which share leaves with those that go. */
static int add_rest(struct gm_message *m, uint64_t dva, uint64_t end)
{
	unsigned int page = gm_view_page(&m->view, m->block, dva), n;
	unsigned int last = page + (unsigned int)((end - dva) >> GM_PAGE_SHIFT);
	uint64_t e;
	int err = 0;

	for (; page < last && !err; page += n) {
		n = gm_block_run(m->block, page, last, &e);
		if (gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == m->view.ctx->dev->index)
			err = gm_message_add(m, page, n, gm_entry_pfn(e), false, true);
	}
	return err;
}

/* @m is to be a message about [first, end), of which some pages are to go home. */
int gm_message_begin_home(struct gm_message *m, struct gm_block *block, struct gm_dev *dev,
			  unsigned int first, unsigned int end)
{
	unsigned int page = first, n = end - first;
	struct gm_sending s;

	if (!message_init(m, block, dev->mmu) || gm_block_readers(block) ||
	    gm_load(&dev->apertures))
		return -EOPNOTSUPP;
	gm_unit_round(dev, &page, &n);
	if (dev->unit > 1 && gm_good_run(block, page, page + n) < n)
		return -EOPNOTSUPP; /* the rest of a base page is no whole one (poison.c) */
	s.m = m;
	s.views = 0;
	gm_gather_init(&s.g);
	if (gm_for_views(block, dev, first, end - first, find_view, &s.g) || s.views != 1 ||
	    !usable(&m->view, block, first, end))
		return -EOPNOTSUPP;
	m->dva = m->lo = gm_view_off(block, first) + m->view.delta;
	m->end = m->hi = gm_view_off(block, end) + m->view.delta;
	gm_leaf_round(&m->view, block, &m->lo, &m->hi);
	return add_rest(m, m->lo, m->dva);
}

static bool same_view(const struct gm_view *a, const struct gm_view *b)
{
	return a->ctx == b->ctx && a->lo == b->lo && a->hi == b->hi && a->delta == b->delta &&
	       a->mode == b->mode && !b->ctx->sharers;
}

static int send_view(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
		     struct gm_gather *g)
{
	struct gm_sending *s = gm_container(g, struct gm_sending, g);
	struct gm_message *m = s->m;
	struct gm_fence fence;

	(void)dva;
	(void)end;
	if (!same_view(&m->view, v)) /* it came meanwhile, and maps nothing of this; or is a part */
		return 0;
	gm_lock_check_may_sleep();
	gm_fence_init(&fence);
	s->err = m->mmu->peer_unmap(v->ctx->pmap, m->op, m->n, &fence);
	if (!s->err)
		s->err = gm_fence_wait(&fence);
	if (s->err)
		return 0;
	if (m->lo < m->dva) /* should it fail, the device faults */
		(void)gm_leaf_enter(v, block, m->lo, m->dva, m->dva);
	if (m->end < m->hi)
		(void)gm_leaf_enter(v, block, m->end, m->hi, m->end);
	return 0;
}

/*
 * Send what gm_message_begin_home() began. 0: [first, end) is not mapped, its bytes are where they
 * go.
 */
int gm_message_send_home(struct gm_message *m, struct gm_dev *dev, struct gm_as *as,
			 unsigned int first, unsigned int end)
{
	uint64_t begin = gm_os_now_ns();
	struct gm_sending s;

	s.m = m;
	s.err = -EOPNOTSUPP;
	gm_gather_init(&s.g);
	if (!add_rest(m, m->end, m->hi))
		gm_for_views(m->block, dev, first, end - first, send_view, &s.g);
	gm_message_put(m);
	gm_count(dev, as, ns_copy, gm_os_now_ns() - begin);
	return s.err;
}
