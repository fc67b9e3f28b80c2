// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The toy driver: see toy.h. */
#include <stdio.h>

#include <gmem/policy.h>

#include "unit.h"

#include "toy.h"

#define count(toy, field, n) __atomic_fetch_add(&(toy)->field, n, __ATOMIC_RELAXED)

/* Not an assertion of cmocka's: it may be any thread that calls. */
static bool broken(struct toy *toy, bool is, const char *what)
{
	if (is) {
		fprintf(stderr, "toy: against the contract: %s\n", what);
		count(toy, broken, 1);
	}
	return is;
}

static int fails(struct toy *toy)
{
	bool now;

	pthread_mutex_lock(&toy->lock);
	now = toy->fail_at == 1;
	toy->fail_at -= toy->fail_at != 0;
	pthread_mutex_unlock(&toy->lock);
	return now ? -EIO : 0;
}

/* Of a device that is gone a pmap is only destroyed, as it is. */
static bool is_removed(struct toy *toy)
{
	return __atomic_load_n(&toy->removed, __ATOMIC_RELAXED);
}

static void works_on_pmap(struct toy *toy)
{
	broken(toy, is_removed(toy), "an operation on a pmap of a device that was removed");
}

static int toy_pmap_create(struct gm_dev *dev, void **pmap)
{
	struct toy *toy = gm_dev_data(dev);
	struct toy_pmap *p;
	int err = fails(toy);

	if (err)
		return err;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->toy = toy;
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_lock(&toy->lock);
	p->next = toy->pmaps;
	toy->pmaps = p;
	pthread_mutex_unlock(&toy->lock);
	*pmap = p;
	return 0;
}

static void toy_pmap_destroy(struct gm_dev *dev, void *pmap)
{
	struct toy_pmap *p = pmap, **link;

	(void)dev;
	pthread_mutex_lock(&p->toy->lock);
	for (link = &p->toy->pmaps; *link != p; link = &(*link)->next)
		;
	*link = p->next;
	pthread_mutex_unlock(&p->toy->lock);
	for (unsigned int i = 0; i < p->nr && !is_removed(p->toy); i++) {
		broken(p->toy, p->pte[i].valid, "a pmap destroyed with a leaf in it");
		broken(p->toy, p->pte[i].stale, "a pmap destroyed with a live translation");
	}
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static struct toy_pte *pte_new(struct toy_pmap *p)
{
	for (unsigned int i = 0; i < p->nr; i++)
		if (!p->pte[i].valid && !p->pte[i].stale)
			return &p->pte[i];
	return p->nr < TOY_PTES ? &p->pte[p->nr++] : NULL;
}

static int enter_leaf(struct toy_pmap *p, const struct toy_pte *new)
{
	struct toy_pte *slot;

	for (unsigned int i = 0; i < p->nr; i++) {
		struct toy_pte *e = &p->pte[i];

		if (!e->valid || e->va >= new->va + new->leaf || new->va >= e->va + e->leaf)
			continue;
		if (broken(p->toy, e->va - e->pa != new->va - new->pa, "entered over another pa") ||
		    broken(p->toy, e->leaf > new->leaf, "entered over a larger leaf"))
			return -EINVAL;
		e->valid = false;
	}
	slot = pte_new(p);
	if (!slot)
		return -ENOSPC;
	*slot = *new;
	return 0;
}

/* The contract: aligned, of a known size, and over nothing but the same frame. */
static int toy_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
		     uint32_t prot)
{
	struct toy_pmap *p = pmap;
	struct toy *toy = p->toy;
	int err = 0;

	works_on_pmap(toy);
	count(toy, enters, 1);
	if (broken(toy, !(toy->mmu.pgsize_bitmap & leaf) || (leaf & (leaf - 1)), "leaf size") ||
	    broken(toy, (va | pa | size) % leaf || !size, "leaf alignment") ||
	    broken(toy, pa < toy->base || pa + size > toy->base + toy->size, "foreign pa"))
		return -EINVAL;
	err = fails(toy);
	if (err)
		return err;
	pthread_mutex_lock(&p->lock);
	for (uint64_t off = 0; off < size && !err; off += leaf) {
		const struct toy_pte new = {
			.va = va + off, .pa = pa + off, .leaf = leaf, .prot = prot, .valid = true
		};

		err = enter_leaf(p, &new);
		count(toy, entered, !err);
	}
	pthread_mutex_unlock(&p->lock);
	return err;
}

/* No less than the smallest leaf is spoken of. */
static bool odd_range(struct toy *toy, uint64_t va, uint64_t size)
{
	uint64_t sizes = toy->mmu.pgsize_bitmap;

	return broken(toy, !size || (va | size) % (sizes & -sizes),
		      "a range that is no whole leaves");
}

static int toy_release(void *pmap, uint64_t va, uint64_t size)
{
	struct toy_pmap *p = pmap;
	int err = fails(p->toy);

	works_on_pmap(p->toy);
	count(p->toy, releases, 1);
	if (odd_range(p->toy, va, size))
		return -EINVAL;
	if (err)
		return err;
	pthread_mutex_lock(&p->lock);
	for (unsigned int i = 0; i < p->nr && !err; i++) {
		struct toy_pte *e = &p->pte[i];

		if (!e->valid || e->va >= va + size || va >= e->va + e->leaf)
			continue;
		if (broken(p->toy, e->va < va || e->va + e->leaf > va + size, "a leaf is cut"))
			err = -EINVAL;
		else
			e->valid = false;
		e->stale = !e->valid;
		count(p->toy, released, !e->valid);
	}
	pthread_mutex_unlock(&p->lock);
	return err;
}

static int toy_protect(void *pmap, uint64_t va, uint64_t size, uint32_t prot)
{
	struct toy_pmap *p = pmap;
	int err = fails(p->toy);

	works_on_pmap(p->toy);
	count(p->toy, protects, 1);
	if (odd_range(p->toy, va, size))
		return -EINVAL;
	if (err)
		return err;
	pthread_mutex_lock(&p->lock);
	for (unsigned int i = 0; i < p->nr; i++) {
		struct toy_pte *e = &p->pte[i];

		if (!e->valid || e->va >= va + size || va >= e->va + e->leaf)
			continue;
		broken(p->toy, e->va < va || e->va + e->leaf > va + size,
		       "a part of a leaf is protected");
		e->prot = prot;
	}
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static void forget(struct toy_pmap *p, uint64_t va, uint64_t size)
{
	pthread_mutex_lock(&p->lock);
	for (unsigned int i = 0; i < p->nr; i++) {
		struct toy_pte *e = &p->pte[i];

		if (e->va >= va && e->va + e->leaf <= va + size)
			e->stale = false;
	}
	pthread_mutex_unlock(&p->lock);
}

static int toy_invl(void *pmap, uint64_t va, uint64_t size)
{
	struct toy_pmap *p = pmap;
	int err = fails(p->toy);

	works_on_pmap(p->toy);
	count(p->toy, invls, 1);
	count(p->toy, ranges, 1);
	if (odd_range(p->toy, va, size))
		return -EINVAL;
	if (err)
		return err;
	forget(p, va, size);
	return 0;
}

static int toy_coalesced(void *pmap, const struct gm_tlb_range *ranges, unsigned int n)
{
	struct toy_pmap *p = pmap;
	int err = fails(p->toy);

	works_on_pmap(p->toy);
	count(p->toy, coalesced, 1);
	count(p->toy, ranges, n);
	if (err)
		return err;
	for (unsigned int i = 0; i < n; i++)
		forget(p, ranges[i].va, ranges[i].size);
	return 0;
}

static bool mapped(struct toy *toy, const struct gm_extent *ext)
{
	bool found = false;

	pthread_mutex_lock(&toy->lock);
	for (struct toy_pmap *p = toy->strict ? toy->pmaps : NULL; p; p = p->next) {
		pthread_mutex_lock(&p->lock);
		for (unsigned int i = 0; i < p->nr; i++)
			found |= (p->pte[i].valid || p->pte[i].stale) &&
				 p->pte[i].pa < ext->pa + ext->len &&
				 ext->pa < p->pte[i].pa + p->pte[i].leaf;
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&toy->lock);
	return found;
}

static bool foreign(struct toy *toy, const struct gm_extent *ext)
{
	broken(toy, mapped(toy, ext), "copied to or from while it is mapped");
	return broken(
		toy, !ext->len || ext->pa < toy->base || ext->pa + ext->len > toy->base + toy->size,
		"foreign extent");
}

static int toy_copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		    unsigned int n, struct gm_fence *fence)
{
	struct toy *toy = gm_dev_data(dev);
	int err = toy->on_copy ? toy->on_copy(toy, dir) : 0;

	count(toy, copies, 1);
	if (!err)
		err = fails(toy);
	if (err)
		return err;
	for (unsigned int i = 0; dir == GM_TO_HOST && i < n; i++)
		if (ext[i].pa < toy->bad_end && ext[i].pa + ext[i].len > toy->bad)
			return -EIO;
	for (unsigned int i = 0; i < n; i++) {
		uint8_t *mem = toy->memory + (ext[i].pa - toy->base);

		if (foreign(toy, &ext[i]))
			return -EINVAL;
		if (toy->hollow)
			continue;
		if (dir == GM_TO_DEV)
			memcpy(mem, (void *)(uintptr_t)ext[i].host, ext[i].len);
		else
			memcpy((void *)(uintptr_t)ext[i].host, mem, ext[i].len);
	}
	gm_fence_signal(fence, 0);
	return 0;
}

static int toy_zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		    struct gm_fence *fence)
{
	struct toy *toy = gm_dev_data(dev);
	int err = fails(toy);

	count(toy, zeros, 1);
	if (err)
		return err;
	for (unsigned int i = 0; i < n; i++) {
		if (foreign(toy, &ext[i]))
			return -EINVAL;
		if (!toy->hollow)
			memset(toy->memory + (ext[i].pa - toy->base), 0, ext[i].len);
	}
	gm_fence_signal(fence, 0);
	return 0;
}

void toy_init(struct toy *toy, uint64_t blocks)
{
	*toy = (struct toy){
		.mmu = {
			.size = sizeof(struct gm_mmu),
			.pgsize_bitmap = 1 << 12 | 1 << 16 | 1 << 21,
			.pmap_create = toy_pmap_create,
			.pmap_destroy = toy_pmap_destroy,
			.pmap_enter = toy_enter,
			.pmap_release = toy_release,
			.pmap_protect = toy_protect,
			.tlb_invl = toy_invl,
			.tlb_invl_coalesced = toy_coalesced,
			.copy = toy_copy,
			.zero = toy_zero,
		},
		.base = 0x700000000ULL,
		.size = blocks * BLOCK,
	};
	pthread_mutex_init(&toy->lock, NULL);
}

int toy_plug(struct toy *toy)
{
	/* It makes each fault once: what goes back and forth must not be held. */
	struct gm_dev_tunables t = { .size = sizeof(t), .no_thrash = 1 };
	int err = gm_dev_create(&toy->mmu, "toy", toy, &toy->dev);

	if (err)
		return err;
	toy->memory = malloc(toy->hollow ? 1 : toy->size);
	assert_non_null(toy->memory);
	memset(toy->memory, 0xEE, toy->hollow ? 1 : toy->size);
	assert_int_equal(gm_dev_tune(toy->dev, &t), 0);
	assert_int_equal(gm_dev_set_policy(toy->dev, "density/lru-2m"), 0);
	return gm_dev_register_physmem(toy->dev, toy->base, toy->base + toy->size);
}

int toy_unplug(struct toy *toy)
{
	int err = gm_dev_destroy(toy->dev);

	if (!err)
		free(toy->memory);
	assert_int_equal(toy->broken, 0);
	return err;
}

static struct toy_pte *find(struct toy_pmap *p, uint64_t va)
{
	for (unsigned int i = 0; i < p->nr; i++)
		if (p->pte[i].valid && va >= p->pte[i].va && va - p->pte[i].va < p->pte[i].leaf)
			return &p->pte[i];
	return NULL;
}

struct toy_pte *toy_find(struct gm_context *ctx, uint64_t va)
{
	return find(gm_context_pmap(ctx), va);
}

unsigned int toy_leaves(struct gm_context *ctx, uint64_t begin, uint64_t end)
{
	struct toy_pmap *p = gm_context_pmap(ctx);
	unsigned int n = 0;

	pthread_mutex_lock(&p->lock);
	for (unsigned int i = 0; i < p->nr; i++)
		n += p->pte[i].valid && p->pte[i].pa < end && begin < p->pte[i].pa + p->pte[i].leaf;
	pthread_mutex_unlock(&p->lock);
	return n;
}

/* Under the lock, which an invalidation takes: none returns while an access is under way. */
static bool access_once(struct toy_pmap *p, uint64_t va, void *buf, uint64_t len, uint32_t access)
{
	struct toy_pte *e;
	uint8_t *mem;
	bool may;

	pthread_mutex_lock(&p->lock);
	e = find(p, va);
	may = e && (e->prot & access);
	if (may) {
		mem = p->toy->memory + (e->pa + (va - e->va) - p->toy->base);
		if (access == GM_WRITE)
			memcpy(mem, buf, len);
		else
			memcpy(buf, mem, len);
	}
	pthread_mutex_unlock(&p->lock);
	return may;
}

int toy_access(struct gm_context *ctx, uint64_t va, void *buf, uint64_t len, uint32_t access)
{
	for (unsigned int tries = 0; !access_once(gm_context_pmap(ctx), va, buf, len, access);
	     tries++) {
		int err = tries < 4 ? gm_dev_fault(ctx, va, access) : -EAGAIN;

		if (err)
			return err;
	}
	return 0;
}
