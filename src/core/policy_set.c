// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Which policies there are, and choosing them for a device, at any time.
 *
 * Theory. A policy that is chosen gets a state of its own first, which may sleep and fail; then
 * it takes the old one's place in one hold of the policies' lock, under which all others call
 * them (policy.c); then the old one, which nobody can call any more, is stopped and its
 * state freed. Faults and evictions go on meanwhile: each asks the one or the other. A fault that
 * asked the old one and moves as it said does nothing wrong, for any answer is safe. What
 * was remembered of blocks goes at the exchange: histories by their generation (history.c),
 * words by a walk over the device's residents, in the same hold, so that a policy
 * never sees what another has written.
 *
 * density and lru-2m have no state, so falling back to them cannot fail.
 *
 * Locking. gm_core.lock over what is registered and over choosing; then the policies', and in
 * it the hnode's for the walk.
 */
#include "core/policy.h"

#define POLICIES_MAX 32U

/* The first of either is what others fall back to. */
static const struct gm_move_policy *moves[POLICIES_MAX] = {
	&gm_move_density,
	&gm_move_auto,
	&gm_move_fixed,
	&gm_move_stream,
};
static const struct gm_evict_policy *evicts[POLICIES_MAX] = {
	&gm_evict_lru,
	&gm_evict_clock,
	&gm_evict_rrip,
	&gm_evict_s3fifo,
};
#define BUILT_IN 4U

/* What a new device has. */
#define DEFAULT_MOVE (&gm_move_auto)
#define DEFAULT_EVICT (&gm_evict_rrip)

/* ------------------------------------------------------------------------- names */

/* How long a name is, with its 0; 0: it is none. */
static size_t name_size(const char *name)
{
	size_t n = 0;

	for (; name && name[n] && n < GM_POLICY_NAME; n++) {
		char c = name[n];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_')
			return 0;
	}
	return n && n < GM_POLICY_NAME ? n + 1 : 0;
}

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static unsigned int find_move(const char *name)
{
	unsigned int i = 0;

	while (i < POLICIES_MAX && !(moves[i] && same(moves[i]->name, name)))
		i++;
	return i;
}

static unsigned int find_evict(const char *name)
{
	unsigned int i = 0;

	while (i < POLICIES_MAX && !(evicts[i] && same(evicts[i]->name, name)))
		i++;
	return i;
}

/* ------------------------------------------------------------------- choosing one */

/* What is to take the places of a device's policies, or what has left them. NULL: nothing. */
struct pair {
	const struct gm_move_policy *move;
	const struct gm_evict_policy *evict;
	void *move_state, *evict_state;
};

static int start(size_t size, int (*fn)(void *state), void **state)
{
	int err;

	*state = NULL;
	if (size) {
		*state = gm_os_alloc(size);
		if (!*state)
			return -ENOMEM;
	}
	err = fn ? fn(*state) : 0;
	if (err && size)
		gm_os_free(*state, size);
	return err;
}

static void stop(size_t size, void (*fn)(void *state), void *state)
{
	if (fn)
		fn(state);
	if (size)
		gm_os_free(state, size);
}

static int pair_start(struct pair *p)
{
	int err = 0;

	if (p->move)
		err = start(p->move->state_size, p->move->start, &p->move_state);
	if (err || !p->evict)
		return err;
	err = start(p->evict->state_size, p->evict->start, &p->evict_state);
	if (err && p->move)
		stop(p->move->state_size, p->move->stop, p->move_state);
	return err;
}

static void pair_stop(const struct pair *p)
{
	if (p->move)
		stop(p->move->state_size, p->move->stop, p->move_state);
	if (p->evict)
		stop(p->evict->state_size, p->evict->stop, p->evict_state);
}

static void forget_words(struct gm_list *list)
{
	for (struct gm_list *l = list->next; l != list; l = l->next)
		gm_container(l, struct gm_resident, lru)->word = 0;
}

/* What is in @p takes its places, and what was there is in @p. */
static void pair_swap(struct gm_dev *dev, struct pair *p)
{
	struct gm_policies *now = &dev->policy;
	struct pair old = { .move = NULL };

	gm_spin_lock(&now->lock, GM_RANK_POLICY);
	if (p->move) {
		old.move = now->move;
		old.move_state = now->move_state;
		now->move = p->move;
		now->move_state = p->move_state;
	}
	if (p->evict) {
		old.evict = now->evict;
		old.evict_state = now->evict_state;
		now->evict = p->evict;
		now->evict_state = p->evict_state;
		now->generation = gm_add(&gm_core.ids, 1) + 1;
		gm_store(&now->page_bytes, p->evict->page_bytes);
		gm_store(&now->flags, p->evict->flags);
		gm_store(&now->hears, (p->evict->came ? GM_HEARS_CAME : 0) |
					      (p->evict->used ? GM_HEARS_USED : 0) |
					      (p->evict->went ? GM_HEARS_WENT : 0));
		gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
		forget_words(&dev->hnode.cold);
		forget_words(&dev->hnode.pinned_list);
		gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
	}
	gm_spin_unlock(&now->lock, GM_RANK_POLICY);
	*p = old;
}

/* A new device's; nobody knows it yet. */
int gm_policies_init(struct gm_dev *dev)
{
	struct pair p = { .move = DEFAULT_MOVE, .evict = DEFAULT_EVICT };
	int err = pair_start(&p);

	if (err)
		return err;
	gm_spin_init(&dev->policy.lock);
	pair_swap(dev, &p);
	return 0;
}

/* Nobody calls them any more. */
void gm_policies_destroy(struct gm_dev *dev)
{
	struct gm_policies *now = &dev->policy;
	struct pair p = { now->move, now->evict, now->move_state, now->evict_state };

	pair_stop(&p);
	gm_spin_destroy(&now->lock);
}

/* The names on either side of the slash; a side may be empty. */
static int parse(const char *names, char side[2][GM_POLICY_NAME])
{
	unsigned int s = 0, n = 0;

	if (!names)
		return -EINVAL;
	for (; *names; names++) {
		if (*names == '/' && !s) {
			side[s++][n] = 0;
			n = 0;
		} else if (n + 1 < GM_POLICY_NAME) {
			side[s][n++] = *names;
		} else {
			return -ENOENT; /* nobody has so long a name */
		}
	}
	side[s][n] = 0;
	return s && (side[0][0] || side[1][0]) ? 0 : -EINVAL;
}

static int find(const char *names, struct pair *p)
{
	char side[2][GM_POLICY_NAME];
	unsigned int i;
	int err = parse(names, side);

	if (err)
		return err;
	*p = (struct pair){ .move = NULL };
	if (side[0][0]) {
		i = find_move(side[0]);
		if (i == POLICIES_MAX)
			return -ENOENT;
		p->move = moves[i];
	}
	if (side[1][0]) {
		i = find_evict(side[1]);
		if (i == POLICIES_MAX)
			return -ENOENT;
		p->evict = evicts[i];
	}
	return 0;
}

/* @dev, or if it is NULL the device with this node. gm_core.lock held. */
static struct gm_dev *which(struct gm_dev *dev, int hnode)
{
	int i = hnode - gm_core.first_hnode;

	return dev ? dev : i >= 0 && i < (int)GM_MAX_DEVS ? gm_core.dev[i] : NULL;
}

static int set_policy(struct gm_dev *dev, int hnode, const char *names)
{
	struct pair p;
	int err = gm_enter();

	if (err)
		return err;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	dev = which(dev, hnode);
	err = dev ? find(names, &p) : -ENODEV;
	if (!err)
		err = pair_start(&p);
	if (!err) {
		pair_swap(dev, &p);
		pair_stop(&p);
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return err;
}

int gm_dev_set_policy(struct gm_dev *dev, const char *names)
{
	return dev && names ? set_policy(dev, 0, names) : -EINVAL;
}

int gm_hnode_set_policy(int hnode, const char *names)
{
	return set_policy(NULL, hnode, names);
}

static void put_text(char *to, size_t *at, const char *text)
{
	while (*text)
		to[(*at)++] = *text++;
}

static int get_policy(struct gm_dev *dev, int hnode, char *names, size_t len)
{
	char all[2 * GM_POLICY_NAME];
	size_t n = 0;
	int err;

	if (!names)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	dev = which(dev, hnode);
	if (dev) {
		put_text(all, &n, dev->policy.move->name);
		put_text(all, &n, "/");
		put_text(all, &n, dev->policy.evict->name);
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	all[n++] = 0;
	if (!dev || n > len)
		return dev ? -ERANGE : -ENODEV;
	for (size_t i = 0; i < n; i++)
		names[i] = all[i];
	return 0;
}

int gm_dev_policy(struct gm_dev *dev, char *names, size_t len)
{
	return dev ? get_policy(dev, 0, names, len) : -EINVAL;
}

int gm_hnode_policy(int hnode, char *names, size_t len)
{
	return get_policy(NULL, hnode, names, len);
}

/* ----------------------------------------------------------------- what there is */

static bool move_ok(const struct gm_move_policy *p)
{
	return p->size == sizeof(*p) && name_size(p->name) && p->text && p->fault;
}

static bool evict_ok(const struct gm_evict_policy *p)
{
	return p->size == sizeof(*p) && name_size(p->name) && p->text && p->evict &&
	       p->page_bytes <= GM_PAGE_BYTES_MAX && !(p->flags & ~GM_EVICT_AGE);
}

/* Where it may go: *at. gm_core.lock held. */
static int place(const struct gm_move_policy *move, const struct gm_evict_policy *evict,
		 unsigned int *move_at, unsigned int *evict_at)
{
	*move_at = *evict_at = 0;
	if ((move && find_move(move->name) < POLICIES_MAX) ||
	    (evict && find_evict(evict->name) < POLICIES_MAX))
		return -EEXIST;
	while (move && *move_at < POLICIES_MAX && moves[*move_at])
		++*move_at;
	while (evict && *evict_at < POLICIES_MAX && evicts[*evict_at])
		++*evict_at;
	return *move_at < POLICIES_MAX && *evict_at < POLICIES_MAX ? 0 : -ENOSPC;
}

int gm_policy_register(const struct gm_move_policy *move, const struct gm_evict_policy *evict)
{
	unsigned int move_at, evict_at;
	int err;

	if ((!move && !evict) || (move && !move_ok(move)) || (evict && !evict_ok(evict)))
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	err = place(move, evict, &move_at, &evict_at);
	if (!err && move)
		moves[move_at] = move;
	if (!err && evict)
		evicts[evict_at] = evict;
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return err;
}

/* No device uses them any more. gm_core.lock held. */
static void replace(const struct gm_move_policy *move, const struct gm_evict_policy *evict)
{
	for (unsigned int i = 0; i < GM_MAX_DEVS; i++) {
		struct gm_dev *dev = gm_core.dev[i];
		struct pair p = { .move = NULL };

		if (dev && move && dev->policy.move == move)
			p.move = moves[0];
		if (dev && evict && dev->policy.evict == evict)
			p.evict = evicts[0];
		if (p.move || p.evict) {
			pair_swap(dev, &p);
			pair_stop(&p);
		}
	}
}

int gm_policy_unregister(const struct gm_move_policy *move, const struct gm_evict_policy *evict)
{
	unsigned int m = BUILT_IN, e = BUILT_IN;
	int err;

	if (!move && !evict)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	while (move && m < POLICIES_MAX && moves[m] != move)
		m++;
	while (evict && e < POLICIES_MAX && evicts[e] != evict)
		e++;
	err = m < POLICIES_MAX && e < POLICIES_MAX ? 0 : -ENOENT;
	if (!err) {
		if (move)
			moves[m] = NULL;
		if (evict)
			evicts[e] = NULL;
		replace(move, evict);
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return err;
}

static void tell(struct gm_policy_info *info, uint32_t kind, const char *name, const char *text)
{
	size_t i;

	info->kind = kind;
	for (i = 0; name[i]; i++)
		info->name[i] = name[i];
	for (i = 0; text[i] && i + 1 < sizeof(info->text); i++)
		info->text[i] = text[i];
}

int gm_policy_name(unsigned int i, struct gm_policy_info *info)
{
	struct gm_policy_info now = { .size = sizeof(now) };
	int err;

	if (!info)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	err = -ENOENT;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	for (unsigned int k = 0; k < 2 * POLICIES_MAX && err; k++) {
		const struct gm_move_policy *move = k < POLICIES_MAX ? moves[k] : NULL;
		const struct gm_evict_policy *evict = k >= POLICIES_MAX ? evicts[k - POLICIES_MAX]
									: NULL;

		if ((!move && !evict) || i--)
			continue;
		tell(&now, move ? GM_POLICY_MOVES : GM_POLICY_EVICTS,
		     move ? move->name : evict->name, move ? move->text : evict->text);
		err = 0;
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return err ? err : gm_struct_out(info, &now, sizeof(now));
}
