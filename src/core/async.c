// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Sweeps: hints carried out by several threads, in the background or for a caller who waits.
 *
 * Theory. A hint that moves is cut into pieces of one block each (advise.c), and what two
 * pieces do is independent but for locks that both have anyway. So several threads, the
 * movers, take pieces in order of address, and while one waits for a copy engine another
 * allocates, unmaps or maps. A sweep is an array of hints and how far it is. Who wants all of a
 * range moved now makes one on his stack, works on it himself, and only on it; movers help him.
 * Who does not want to wait leaves it to the movers, and is told when it has ended.
 *
 * Sweeps that have something left to take are in one list. A mover takes one step of the first
 * that is ready, which goes to the end of the list, so a short one does not wait for a long
 * one's end; then it schedules itself again. All movers are alike, and it does no harm if one
 * runs for nothing. A step is one of
 *
 *	the check of all ranges that are to move, so that nothing moves if one is wrong; alone
 *	a hint that moves nothing: the whole of it; alone
 *	a piece of a hint that moves: beside others of the same sweep
 *
 * "Alone" means that nothing else of the sweep is under way: so hints are carried out in order,
 * and those that move, one after the other in the array, at the same time.
 *
 * A sweep is closed when there is nothing left to take: all was, a step has failed, or it was
 * cancelled. It has ended once it is closed and nothing of it is under way; whoever brings that
 * about says so. The error is that of the first step which failed, in the order in which they
 * were taken, which is that of addresses; steps that were taken before a failing one go on to
 * their end. Memory is bounded by the number of hints under way in an address space.
 *
 * Lifetime. One in the background has two references: its owner's, and one that goes when it
 * has ended and its owner was told. It needs its address space only until then, and
 * gm_as_destroy() closes all that there are and waits. One on a stack is in no list once it is
 * closed, and is left alone by the last mover when its fence is signalled.
 *
 * Locking. gm_sweeps.lock, a spinlock, over the list and all sweeps' progress; pieces are
 * looked up under it, with the address space read-locked outside, and carried out without. A
 * mover that has begun a step (sweep->busy) keeps the sweep, and so the address space.
 */
#include "core/async.h"
#include "core/trace.h"

#define PAYS (4 * GM_BLOCK_SIZE) /* less is moved before a helper is awake */

struct gm_sweep {
	struct gm_list list;  /* of gm_core.sweeps, while it is not closed [sweep] */
	struct gm_list of_as; /* of the address space, in the background [sweep] */
	struct gm_as *as;     /* (c) */
	void *host;	      /* (c) */
	uint32_t refs;	      /* in the background (a) */
	uint32_t n;	      /* hints (c) */
	bool waited;	      /* on the stack of who waits for the fence (c) */
	struct gm_fence fence;
	uint32_t at;		     /* hint that the next step is of [sweep] */
	uint64_t lo, hi;	     /* what is left of it, if it moves [sweep] */
	uint32_t busy;		     /* steps under way [sweep] */
	bool alone;		     /* the one step under way is [sweep] */
	bool checked;		     /* [sweep] */
	bool closed, ended;	     /* [sweep] */
	uint64_t taken;		     /* pieces [sweep] */
	uint64_t failed;	     /* which piece err is of [sweep] */
	int err;		     /* [sweep] */
	uint32_t noted;		     /* hints recorded; of a step alone, or the end */
	const struct gm_hint *hints; /* (c) */
};

enum step { STEP_NONE, STEP_CHECK, STEP_WHOLE, STEP_PIECE };

static void lock(void)
{
	gm_spin_lock(&gm_core.sweeps.lock, GM_RANK_SWEEP);
}

static void unlock(void)
{
	gm_spin_unlock(&gm_core.sweeps.lock, GM_RANK_SWEEP);
}

/* Wake @n movers. */
static void kick(unsigned int n)
{
	for (unsigned int i = 0; i < GM_MIN(n, GM_MOVERS); i++)
		gm_os_task_schedule(&gm_core.sweeps.mover[i]);
}

static uint64_t hint_lo(const struct gm_hint *h)
{
	return gm_round_down((uint64_t)(uintptr_t)h->addr, GM_PAGE_SIZE);
}

static uint64_t hint_hi(const struct gm_hint *h)
{
	return gm_round_up((uint64_t)(uintptr_t)h->addr + h->len, GM_PAGE_SIZE);
}

/* --------------------------------------------------------------- progress, all locked */

static void close(struct gm_sweep *s)
{
	s->closed = true;
	gm_list_del(&s->list);
}

/* On to hint number @at. */
static void turn_to(struct gm_sweep *s, uint32_t at)
{
	s->at = at;
	if (at == s->n) {
		close(s);
	} else {
		s->lo = hint_lo(&s->hints[at]);
		s->hi = hint_hi(&s->hints[at]);
	}
}

static void fail(struct gm_sweep *s, uint64_t piece, int err)
{
	if (s->err && s->failed <= piece)
		return;
	s->err = err;
	s->failed = piece;
	if (!s->closed)
		close(s);
}

/* The next step, if it may be taken now. What is alone is taken by this. */
static enum step begin_step(struct gm_sweep *s, uint32_t *at)
{
	enum step step = STEP_PIECE;

	if (s->closed || s->alone)
		return STEP_NONE;
	if (!s->checked)
		step = STEP_CHECK;
	else if (!gm_advice_moves(s->hints[s->at].advice))
		step = STEP_WHOLE;
	if (step != STEP_PIECE && s->busy)
		return STEP_NONE;
	*at = s->at;
	s->busy++;
	s->alone = step != STEP_PIECE;
	s->checked = true;
	if (step == STEP_WHOLE)
		turn_to(s, s->at + 1);
	return step;
}

/* Is it over? True once: then the caller says so, with no lock held. */
static bool ends(struct gm_sweep *s)
{
	if (!s->closed || s->busy || s->ended)
		return false;
	s->ended = true;
	return true;
}

/* A sweep that is ready, and its step; it was the first in the list, and is the last now. */
static struct gm_sweep *first_ready(enum step *step, uint32_t *at)
{
	struct gm_list *list = &gm_core.sweeps.list;

	for (struct gm_list *l = list->next; l != list; l = l->next) {
		struct gm_sweep *s = gm_container(l, struct gm_sweep, list);

		*step = begin_step(s, at);
		if (*step == STEP_NONE)
			continue;
		if (!s->closed) {
			gm_list_del(&s->list);
			gm_list_add_tail(&s->list, list);
		}
		return s;
	}
	return NULL;
}

/* ---------------------------------------------------------------------------- steps */

static int check_all(struct gm_sweep *s)
{
	int err = 0;

	for (uint32_t i = 0; i < s->n && !err; i++) {
		const struct gm_hint *h = &s->hints[i];

		if (gm_advice_moves(h->advice))
			err = gm_advise_check(s->as, h->hnode, hint_lo(h), hint_hi(h), h->advice);
	}
	return err;
}

/* Others may have taken the last one meanwhile: then there is nothing to do, and no error. */
static int do_piece(struct gm_sweep *s, uint64_t *nr)
{
	const struct gm_hint *h = NULL;
	struct gm_context *ctx;
	struct gm_piece piece;
	int err = 0;

	gm_rwlock_rdlock(&s->as->lock, GM_RANK_AS);
	lock();
	if (!s->closed && gm_advice_moves(s->hints[s->at].advice)) {
		h = &s->hints[s->at];
		*nr = s->taken++;
		err = gm_advise_next(s->as, h->hnode, &s->lo, s->hi, h->advice, &ctx, &piece);
		if (!err && s->lo >= s->hi)
			turn_to(s, s->at + 1);
	}
	unlock();
	if (h && !err)
		err = gm_advise_piece(s->as, ctx, &piece, h->advice);
	gm_rwlock_unlock(&s->as->lock, GM_RANK_AS);
	return err;
}

/*
 * Hints that move were carried out, all before number @at: those not recorded yet are. What moves
 * nothing gm_advise() has.
 */
static void note(struct gm_sweep *s, uint32_t at)
{
	for (; s->noted < at; s->noted++) {
		const struct gm_hint *h = &s->hints[s->noted];

		if (gm_advice_moves(h->advice))
			gm_note_hint(s->as, h->hnode, (uint64_t)(uintptr_t)h->addr, h->len,
				     h->advice);
	}
}

static int do_step(struct gm_sweep *s, enum step step, uint32_t at, uint64_t *nr)
{
	const struct gm_hint *h = &s->hints[at];

	*nr = 0;
	if (step == STEP_CHECK)
		return check_all(s);
	if (step == STEP_PIECE)
		return do_piece(s, nr);
	note(s, at);
	return gm_advise(s->as, h->hnode, (uint64_t)(uintptr_t)h->addr, h->len, h->advice);
}

/* Tell that it has ended. From here on a sweep on a stack is its owner's alone. */
static void tell(struct gm_sweep *s)
{
	struct gm_as *as = s->as;

	if (s->waited) {
		gm_fence_signal(&s->fence, s->err);
		return;
	}
	gm_os_job_done(s->host, s->err);
	lock();
	gm_list_del(&s->of_as);
	as->nr_hints -= s->n;
	gm_store_release(&as->nr_sweeps, as->nr_sweeps - 1);
	unlock();
	gm_os_wake(&as->nr_sweeps); /* only its address: it may be gone */
	gm_sweep_put(s);
}

/* Carry a step out. Is there anything to take after it, of whatever sweep? */
static bool carry_out(struct gm_sweep *s, enum step step, uint32_t at)
{
	bool alone = step != STEP_PIECE, more, end;
	uint64_t nr;
	int err = do_step(s, step, at, &nr);

	lock();
	if (err)
		fail(s, nr, err);
	s->busy--;
	if (alone)
		s->alone = false;
	end = ends(s);
	more = !gm_list_empty(&gm_core.sweeps.list);
	unlock();
	if (end && !s->waited && !s->err) /* gm_advise() has what is waited for */
		note(s, s->n);
	if (end)
		tell(s);
	if (alone && more) /* others have passed it over, and may have gone to sleep */
		kick(gm_os_tasks());
	return more;
}

static void mover(struct gm_os_work *work)
{
	struct gm_sweep *s;
	enum step step;
	uint32_t at;

	lock();
	s = first_ready(&step, &at);
	unlock();
	if (s && carry_out(s, step, at))
		gm_os_task_schedule(work);
}

/* -------------------------------------------------------------- for a caller who waits */

bool gm_sweep_pays(uint64_t len, uint32_t advice)
{
	return gm_advice_moves(advice) && len >= PAYS && gm_os_tasks() > 1;
}

/* The caller has checked [lo, hi). */
int gm_sweep(struct gm_as *as, int hnode, uint64_t lo, uint64_t hi, uint32_t advice)
{
	const struct gm_hint hint = {
		.addr = (void *)(uintptr_t)lo, .len = hi - lo, .hnode = hnode, .advice = advice
	};
	struct gm_sweep s = { .as = as, .hints = &hint, .n = 1, .waited = true, .checked = true };
	enum step step;
	uint32_t at;

	gm_fence_init(&s.fence);
	gm_list_init(&s.list);
	lock();
	turn_to(&s, 0);
	gm_list_add_tail(&s.list, &gm_core.sweeps.list);
	unlock();
	kick(gm_os_tasks() - 1);
	do {
		lock();
		step = begin_step(&s, &at);
		unlock();
		if (step != STEP_NONE)
			carry_out(&s, step, at);
	} while (step != STEP_NONE);
	return gm_fence_wait(&s.fence);
}

/* ------------------------------------------------------------------ in the background */

static size_t sweep_size(uint32_t n)
{
	return sizeof(struct gm_sweep) + n * sizeof(struct gm_hint);
}

int gm_sweep_start(struct gm_as *as, const struct gm_hint *hints, unsigned int n, void *host,
		   struct gm_sweep **out)
{
	struct gm_hint *copy;
	struct gm_sweep *s;
	bool full;
	int err;

	if (!n || n > GM_HINTS_MAX)
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++)
		if (!gm_advice_ok((uint64_t)(uintptr_t)hints[i].addr, hints[i].len,
				  hints[i].advice))
			return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	s = gm_os_alloc(sweep_size(n));
	if (!s)
		return -ENOMEM;
	s->as = as;
	s->host = host;
	s->refs = 2;
	s->n = n;
	gm_list_init(&s->list);
	gm_list_init(&s->of_as);
	copy = (struct gm_hint *)(s + 1);
	__builtin_memcpy(copy, hints, n * sizeof(*copy));
	s->hints = copy;
	lock();
	full = as->nr_hints + n > GM_HINTS_MAX;
	if (!full) {
		as->nr_hints += n;
		gm_store(&as->nr_sweeps, as->nr_sweeps + 1);
		turn_to(s, 0);
		gm_list_add_tail(&s->of_as, &as->sweeps);
		gm_list_add_tail(&s->list, &gm_core.sweeps.list);
	}
	unlock();
	if (full) {
		gm_os_free(s, sweep_size(n));
		return -EAGAIN;
	}
	*out = s;
	kick(gm_os_tasks());
	return 0;
}

void gm_sweep_cancel(struct gm_sweep *s)
{
	bool end;

	lock();
	if (!s->closed)
		fail(s, 0, -ECANCELED);
	end = ends(s);
	unlock();
	if (end)
		tell(s);
}

void gm_sweep_put(struct gm_sweep *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0)
		gm_os_free(s, sweep_size(s->n));
}

/* The address space goes: all of its sweeps end, and were told of when this returns. */
void gm_sweeps_stop(struct gm_as *as)
{
	struct gm_sweep *s;
	uint32_t n;

	lock();
	for (struct gm_list *l = as->sweeps.next; l != &as->sweeps;) {
		s = gm_container(l, struct gm_sweep, of_as);
		l = l->next;
		if (!s->closed)
			fail(s, 0, -ECANCELED);
		if (!ends(s))
			continue;
		unlock();
		tell(s);
		lock();
		l = as->sweeps.next; /* it may be another list by now */
	}
	unlock();
	while ((n = gm_load_acquire(&as->nr_sweeps)))
		gm_os_wait(&as->nr_sweeps, n);
}

void gm_sweeps_init(void)
{
	gm_spin_init(&gm_core.sweeps.lock);
	gm_list_init(&gm_core.sweeps.list);
	for (unsigned int i = 0; i < GM_MOVERS; i++)
		gm_core.sweeps.mover[i].fn = mover;
}

void gm_sweeps_exit(void)
{
	for (unsigned int i = 0; i < GM_MOVERS; i++)
		gm_os_task_cancel(&gm_core.sweeps.mover[i]);
	gm_spin_destroy(&gm_core.sweeps.lock);
}
