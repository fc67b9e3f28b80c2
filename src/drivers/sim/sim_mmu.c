// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The MMU of the simulated accelerator.
 *
 * There are two sides. Writers (pmap_enter, pmap_release, pmap_protect) change a
 * pmap's tables under the pmap's lock. Walkers (lanes that missed their TLB) read
 * them under no lock but their own lane's word, which they hold from before the
 * lookup until the access is done. Entries are written with release and read with
 * acquire, so a walker that sees a new table sees its entries, and one that sees a
 * leaf sees the bytes that were put there before it was entered.
 *
 * Taking a lane's word and letting it go therefore waits for that lane's walk and
 * access, and whatever the lane does next sees all that was written before.
 * gm_sim_pmap_release() does this once with every lane after it has cleared its
 * leaves: from then on nobody can put one of them into a TLB, and nobody is left in
 * a table that it took out, which can be freed. gm_sim_tlb_invl() does it too and
 * drops entries on the way: when it returns no access by one of them is under way.
 *
 * A table that has no valid entry left is taken out and freed at once. The number
 * of valid entries is kept beside it, not counted. Entering a range finds or makes
 * every table first, and only then writes a leaf: without memory for tables it
 * fails with nothing changed.
 *
 * Locks: pmap->lock, then mmu->lock. A lane's word is taken with neither held, so a
 * lane never waits for more than one entry or one other lane's invalidation. guest_lock, which
 * no lane takes, comes before words.
 *
 * This file is also meant to be part of a kernel module: it allocates nothing and
 * calls nothing but memset and what is in sim_port.h.
 */
#include "sim_mmu.h"

#define TOP 3
#define ENTRIES 512
#define FOREIGN (1ULL << 63) /* in an asid: the addresses are those of another device's memory */

/* One change to a pmap, under its lock. */
struct edit {
	struct gm_sim_pmap *pmap;
	enum { RELEASE, PROTECT, PRUNE } verb;
	uint64_t va, end;
	uint64_t bits; /* PROTECT: the new R and W */
	bool cleared;  /* an entry is gone: walkers may still hold a copy of it */
	uint32_t dead; /* tables taken out of the pmap, not free yet */
};

static uint64_t pte_get(const uint64_t *slot)
{
	return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

static void pte_set(uint64_t *slot, uint64_t pte)
{
	__atomic_store_n(slot, pte, __ATOMIC_RELEASE);
}

/* A walker notes that it used the leaf; not if a writer has changed it meanwhile. */
static void pte_use(uint64_t *slot, uint64_t pte)
{
	if (!(pte & GM_SIM_PTE_USED))
		__atomic_compare_exchange_n(slot, &pte, pte | GM_SIM_PTE_USED, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static uint64_t prot_bits(uint32_t prot)
{
	return (prot & GM_READ ? GM_SIM_PTE_R : 0) | (prot & GM_WRITE ? GM_SIM_PTE_W : 0) |
	       (prot & GM_ATOMIC ? GM_SIM_PTE_A : 0);
}

/* The device's own memory is its alone. */
static bool atomic_ok(uint64_t pte)
{
	return !(pte & GM_SIM_PTE_HOST) || (pte & GM_SIM_PTE_A);
}

/* Bytes an entry of @level stands for. */
static uint64_t span(unsigned int level)
{
	return GM_SIM_4K << (9 * level);
}

/* Bytes of the leaf that an entry of @level is, or is a part of. */
static uint64_t leaf_size(uint64_t pte, unsigned int level)
{
	return span(level) << ((pte & GM_SIM_PTE_RUN) >> GM_SIM_PTE_RUN_SHIFT);
}

static unsigned int level_of(uint64_t leaf)
{
	return leaf >= GM_SIM_1G ? 2 : leaf >= GM_SIM_2M ? 1 : 0;
}

static uint64_t run_bits(uint64_t leaf)
{
	uint64_t run = 0;

	while (span(level_of(leaf)) << run < leaf)
		run++;
	return run << GM_SIM_PTE_RUN_SHIFT;
}

static uint64_t *slot_of(struct gm_sim_mmu *mmu, uint64_t table, unsigned int level, uint64_t va)
{
	return (uint64_t *)gm_sim_mem(mmu, table) + va / span(level) % ENTRIES;
}

/* ---------------------------------------------------------- memory for tables */

static uint32_t nr_tables(const struct gm_sim_mmu *mmu)
{
	return (uint32_t)(mmu->tables / GM_SIM_4K);
}

static uint32_t table_index(const struct gm_sim_mmu *mmu, uint64_t table)
{
	return (uint32_t)((table - mmu->base - mmu->data) / GM_SIM_4K);
}

static uint32_t *table_live(const struct gm_sim_mmu *mmu, uint64_t table)
{
	return &mmu->table[table_index(mmu, table)].live;
}

static int table_alloc(struct gm_sim_mmu *mmu, uint64_t *table)
{
	uint32_t i;

	gm_sim_spin_lock(&mmu->lock);
	i = mmu->free;
	if (i < nr_tables(mmu))
		mmu->free = mmu->table[i].next;
	gm_sim_spin_unlock(&mmu->lock);
	if (i >= nr_tables(mmu))
		return -ENOSPC;

	__atomic_fetch_add(&mmu->used, 1, __ATOMIC_RELAXED);
	mmu->table[i].live = 0;
	*table = mmu->base + mmu->data + i * GM_SIM_4K;
	memset(gm_sim_mem(mmu, *table), 0, GM_SIM_4K);
	return 0;
}

static void table_bury(struct edit *ed, uint64_t table)
{
	struct gm_sim_mmu *mmu = ed->pmap->mmu;
	uint32_t i = table_index(mmu, table);

	mmu->table[i].next = ed->dead;
	ed->dead = i;
	ed->cleared = true;
}

static void table_free_list(struct gm_sim_mmu *mmu, uint32_t list)
{
	gm_sim_spin_lock(&mmu->lock);
	while (list < nr_tables(mmu)) {
		uint32_t next = mmu->table[list].next;

		mmu->table[list].next = mmu->free;
		mmu->free = list;
		__atomic_fetch_sub(&mmu->used, 1, __ATOMIC_RELAXED);
		list = next;
	}
	gm_sim_spin_unlock(&mmu->lock);
}

void gm_sim_mmu_init(struct gm_sim_mmu *mmu)
{
	uint32_t i;

	for (i = 0; i < nr_tables(mmu); i++)
		mmu->table[i].next = i + 1;
	mmu->free = 0;
	mmu->used = 0;
	mmu->lock = 0;
	mmu->asid = 0;
	mmu->guest_lock = 0;
	mmu->guests = NULL;
}

/* ------------------------------------------------------------------ the TLBs */

unsigned int gm_sim_nr_sizes(uint64_t pgsizes)
{
	unsigned int n = 0;

	for (pgsizes |= GM_SIM_4K; pgsizes; pgsizes &= pgsizes - 1)
		n++;
	return n;
}

void gm_sim_tlb_init(struct gm_sim_tlb *tlb, uint64_t pgsizes, struct gm_sim_tlb_entry *entry,
		     uint64_t n)
{
	unsigned int shift;

	tlb->mask = n - 1;
	tlb->entry = entry;
	for (shift = 12; shift <= 30; shift++)
		if ((pgsizes | GM_SIM_4K) >> shift & 1)
			tlb->shift[tlb->nr_sizes++] = (uint8_t)shift;
}

static struct gm_sim_tlb_entry *tlb_array(const struct gm_sim_tlb *tlb, unsigned int s)
{
	return tlb->entry + s * (tlb->mask + 1);
}

static void tlb_seize(struct gm_sim_tlb *tlb)
{
	__atomic_fetch_add(&tlb->waiting, 1, __ATOMIC_RELAXED);
	gm_sim_spin_lock(&tlb->word);
	__atomic_fetch_sub(&tlb->waiting, 1, __ATOMIC_RELAXED);
}

static void wait_for_lanes(struct gm_sim_mmu *mmu)
{
	unsigned int i;

	for (i = 0; i < mmu->nr_tlbs; i++) {
		tlb_seize(&mmu->tlb[i]);
		gm_sim_tlb_unlock(&mmu->tlb[i]);
	}
}

static void wait_for_walkers(struct gm_sim_pmap *pmap)
{
	struct gm_sim_pmap *p;

	wait_for_lanes(pmap->walker);
	for (p = pmap->sharers; p; p = p->next_sharer)
		wait_for_lanes(p->walker);
}

/* Drop what overlaps [va, last]: page by page, or entry by entry if that is less. */
static void tlb_drop(struct gm_sim_tlb *tlb, uint64_t asid, uint64_t va, uint64_t last)
{
	unsigned int s;

	for (s = 0; s < tlb->nr_sizes; s++) {
		uint64_t page = va >> tlb->shift[s];
		uint64_t n = (last >> tlb->shift[s]) - page;
		uint64_t i;

		for (i = 0; i <= n && i <= tlb->mask; i++) {
			struct gm_sim_tlb_entry *e = &tlb_array(tlb, s)[(page + i) & tlb->mask];

			if (e->asid == asid && e->va <= last &&
			    e->va + (1ULL << tlb->shift[s]) > va)
				e->asid = 0;
		}
	}
}

/* More ranges than this are not worth being looked for one by one: all of the pmap's goes. */
#define FEW_RANGES 32

void gm_sim_tlb_invl(struct gm_sim_pmap *pmap, const struct gm_tlb_range *ranges, unsigned int n)
{
	const struct gm_tlb_range all = { .size = GM_SIM_VA_END };
	struct gm_sim_mmu *mmu = pmap->walker;
	unsigned int i, k;

	if (n > FEW_RANGES) {
		ranges = &all;
		n = 1;
	}

	for (i = 0; i < mmu->nr_tlbs; i++) {
		tlb_seize(&mmu->tlb[i]);
		for (k = 0; k < n; k++)
			if (ranges[k].size)
				tlb_drop(&mmu->tlb[i], pmap->asid, ranges[k].va,
					 ranges[k].va + (ranges[k].size - 1));
		gm_sim_tlb_unlock(&mmu->tlb[i]);
	}
}

/* A walk that did not see it has filled its TLB by the time that the word is ours. */
void gm_sim_mmu_stop(struct gm_sim_mmu *mmu)
{
	struct gm_tlb_range all = { .size = GM_SIM_VA_END };
	struct gm_sim_pmap *p;
	unsigned int i;
	uint64_t k;

	__atomic_store_n(&mmu->stopped, 1, __ATOMIC_RELAXED);
	for (i = 0; i < mmu->nr_tlbs; i++) {
		struct gm_sim_tlb *tlb = &mmu->tlb[i];

		tlb_seize(tlb);
		for (k = 0; k < tlb->nr_sizes * (tlb->mask + 1); k++)
			tlb->entry[k].asid = 0;
		gm_sim_tlb_unlock(tlb);
	}
	gm_sim_spin_lock(&mmu->guest_lock);
	for (p = mmu->guests; p; p = p->next_guest)
		gm_sim_tlb_invl(p, &all, 1);
	gm_sim_spin_unlock(&mmu->guest_lock);
}

static uint64_t tlb_fill(struct gm_sim_tlb *tlb, uint64_t asid, uint64_t va, uint64_t pte,
			 unsigned int level)
{
	uint64_t leaf = leaf_size(pte, level), offset = va & (leaf - 1);
	struct gm_sim_tlb_entry *e;
	unsigned int s = 0;

	while (1ULL << tlb->shift[s] < leaf)
		s++;
	e = &tlb_array(tlb, s)[va / leaf & tlb->mask];
	e->asid = asid;
	e->va = va - offset;
	e->pa = pte & GM_SIM_PTE_ADDR & ~(leaf - 1);
	if (pte & GM_SIM_PTE_HOST)
		e->pa |= GM_SIM_HOST_PA;
	e->prot = (pte & GM_SIM_PTE_R ? GM_READ : 0) | (pte & GM_SIM_PTE_W ? GM_WRITE : 0) |
		  (atomic_ok(pte) ? GM_ATOMIC : 0);
	return e->pa + offset;
}

uint64_t gm_sim_mmu_walk(struct gm_sim_pmap *pmap, struct gm_sim_tlb *tlb, uint64_t va,
			 uint32_t access)
{
	uint64_t need = prot_bits(access & ~GM_ATOMIC);
	uint64_t table = pmap->root;
	unsigned int level;

	if (gm_sim_is_stopped(pmap->mmu) || gm_sim_is_stopped(pmap->walker))
		goto fault;
	for (level = TOP; va < GM_SIM_VA_END; level--) {
		uint64_t *slot = slot_of(pmap->mmu, table, level, va), pte = pte_get(slot);

		if (!(pte & GM_SIM_PTE_V))
			break;
		if (pte & GM_SIM_PTE_LEAF) {
			if ((pte & need) != need || ((access & GM_ATOMIC) && !atomic_ok(pte)))
				break;
			pte_use(slot, pte);
			return tlb_fill(tlb, pmap->asid, va, pte, level);
		}
		table = pte & GM_SIM_PTE_ADDR;
	}
fault:
	/* The access is not made; when it is replayed it counts. */
	tlb->lookups--;
	tlb->misses--;
	return GM_SIM_NO_PA;
}

/* --------------------------------------------------------- the debugging aids */

static void frames_count(struct gm_sim_mmu *mmu, uint64_t pte, uint64_t size, uint64_t va,
			 uint32_t delta)
{
	uint64_t off, pa = pte & GM_SIM_PTE_ADDR;

	if (!mmu->frame || (pte & GM_SIM_PTE_HOST))
		return;
	for (off = 0; off < size; off += GM_SIM_4K) {
		struct gm_sim_frame *f = &mmu->frame[(pa - mmu->base + off) / GM_SIM_4K];

		__atomic_store_n(&f->va, va + off, __ATOMIC_RELAXED);
		__atomic_fetch_add(&f->maps, delta, __ATOMIC_RELAXED);
	}
}

bool gm_sim_frame_find(struct gm_sim_mmu *mmu, uint64_t pa, uint64_t len, uint64_t *frame,
		       uint64_t *va)
{
	uint64_t p;

	if (!mmu->frame || gm_sim_is_stopped(mmu))
		return false;
	for (p = pa & ~(GM_SIM_4K - 1); p < pa + len; p += GM_SIM_4K) {
		struct gm_sim_frame *f = &mmu->frame[(p - mmu->base) / GM_SIM_4K];

		if (__atomic_load_n(&f->maps, __ATOMIC_RELAXED)) {
			*frame = p;
			*va = __atomic_load_n(&f->va, __ATOMIC_RELAXED);
			return true;
		}
	}
	return false;
}

static const struct gm_sim_tlb_entry *tlb_search(struct gm_sim_tlb *tlb, uint64_t pa, uint64_t len)
{
	unsigned int s;
	uint64_t i;

	for (s = 0; s < tlb->nr_sizes; s++)
		for (i = 0; i <= tlb->mask; i++) {
			const struct gm_sim_tlb_entry *e = &tlb_array(tlb, s)[i];

			if (e->asid && !(e->asid & FOREIGN) && e->pa < pa + len &&
			    e->pa + (1ULL << tlb->shift[s]) > pa)
				return e;
		}
	return NULL;
}

bool gm_sim_tlb_find(struct gm_sim_mmu *mmu, uint64_t pa, uint64_t len, unsigned int *lane,
		     uint64_t *va)
{
	unsigned int i;

	for (i = 0; i < mmu->nr_tlbs; i++) {
		const struct gm_sim_tlb_entry *e;

		tlb_seize(&mmu->tlb[i]);
		e = tlb_search(&mmu->tlb[i], pa, len);
		if (e) {
			*lane = i;
			*va = e->va + (pa > e->pa ? pa - e->pa : 0);
		}
		gm_sim_tlb_unlock(&mmu->tlb[i]);
		if (e)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ the pmaps */

static void edit_begin(struct edit *ed, struct gm_sim_pmap *pmap, uint64_t va, uint64_t size)
{
	memset(ed, 0, sizeof(*ed));
	ed->pmap = pmap;
	ed->va = va;
	ed->end = va + size;
	ed->dead = nr_tables(pmap->mmu);
	gm_sim_spin_lock(&pmap->lock);
}

static void edit_end(struct edit *ed)
{
	gm_sim_spin_unlock(&ed->pmap->lock);
	if (ed->cleared)
		wait_for_walkers(ed->pmap);
	table_free_list(ed->pmap->mmu, ed->dead);
}

static int edit_leaf(struct edit *ed, uint64_t table, uint64_t *slot, unsigned int level,
		     uint64_t va)
{
	uint64_t pte = pte_get(slot);
	uint64_t leaf = leaf_size(pte, level);
	uint64_t start = va & ~(leaf - 1);

	if (ed->verb == PRUNE)
		return 0;
	if (start < ed->va || start + leaf > ed->end)
		return -EINVAL;
	if (ed->verb == PROTECT) {
		pte_set(slot, (pte & ~(GM_SIM_PTE_R | GM_SIM_PTE_W)) | ed->bits);
		return 0;
	}
	pte_set(slot, 0);
	--*table_live(ed->pmap->mmu, table);
	frames_count(ed->pmap->mmu, pte, span(level), va, UINT32_MAX);
	ed->cleared = true;
	return 0;
}

/* Apply the edit to [va, end), which lies in one table; take out tables that are empty. */
static int edit_range(struct edit *ed, uint64_t table, unsigned int level, uint64_t va,
		      uint64_t end)
{
	struct gm_sim_mmu *mmu = ed->pmap->mmu;
	uint64_t next;
	int err;

	for (; va < end; va = next) {
		uint64_t *slot = slot_of(mmu, table, level, va);
		uint64_t pte = pte_get(slot);
		uint64_t below = pte & GM_SIM_PTE_ADDR;

		next = (va & ~(span(level) - 1)) + span(level);
		if (next > end)
			next = end;
		if (!(pte & GM_SIM_PTE_V))
			continue;
		if (pte & GM_SIM_PTE_LEAF) {
			err = edit_leaf(ed, table, slot, level, va);
			if (err)
				return err;
			continue;
		}
		err = edit_range(ed, below, level - 1, va, next);
		if (err)
			return err;
		if (!*table_live(mmu, below)) {
			pte_set(slot, 0);
			--*table_live(mmu, table);
			table_bury(ed, below);
		}
	}
	return 0;
}

/* Find the table of @level for @va; make it, and those on the way, if there is none. */
static int table_get(struct gm_sim_pmap *pmap, uint64_t va, unsigned int level, uint64_t *table)
{
	unsigned int l;
	int err;

	*table = pmap->root;
	for (l = TOP; l > level; l--) {
		uint64_t *slot = slot_of(pmap->mmu, *table, l, va);
		uint64_t pte = pte_get(slot);
		uint64_t below = pte & GM_SIM_PTE_ADDR;

		if (pte & GM_SIM_PTE_LEAF)
			return -EEXIST;
		if (!(pte & GM_SIM_PTE_V)) {
			err = table_alloc(pmap->mmu, &below);
			if (err)
				return err;
			++*table_live(pmap->mmu, *table);
			pte_set(slot, below | GM_SIM_PTE_V);
		}
		*table = below;
	}
	return 0;
}

/*
 * May a leaf of @leaf bytes at @level take the place of @pte, for memory at @pa, HOST bit
 * included? Only of nothing, or of the same memory.
 */
static bool leaf_fits(struct gm_sim_mmu *mmu, uint64_t pte, unsigned int level, uint64_t pa,
		      uint64_t leaf)
{
	unsigned int i;

	if (!(pte & GM_SIM_PTE_V))
		return true;
	if (pte & GM_SIM_PTE_LEAF)
		return (pte & (GM_SIM_PTE_ADDR | GM_SIM_PTE_HOST)) == pa &&
		       leaf_size(pte, level) <= leaf;
	for (i = 0; i < ENTRIES; i++) {
		uint64_t *below = gm_sim_mem(mmu, pte & GM_SIM_PTE_ADDR);

		if (!leaf_fits(mmu, pte_get(below + i), level - 1, pa + i * span(level - 1), leaf))
			return false;
	}
	return true;
}

/* A leaf took the place of a table of @level: what the table mapped is mapped once, not twice. */
static void table_replaced(struct edit *ed, uint64_t table, unsigned int level, uint64_t va)
{
	struct gm_sim_mmu *mmu = ed->pmap->mmu;
	uint64_t i;

	for (i = 0; i < ENTRIES; i++) {
		uint64_t pte = pte_get((uint64_t *)gm_sim_mem(mmu, table) + i);
		uint64_t at = va + i * span(level);

		if (!(pte & GM_SIM_PTE_V))
			continue;
		if (pte & GM_SIM_PTE_LEAF)
			frames_count(mmu, pte, span(level), at, UINT32_MAX);
		else
			table_replaced(ed, pte & GM_SIM_PTE_ADDR, level - 1, at);
	}
	table_bury(ed, table);
}

static void leaf_set(struct edit *ed, uint64_t table, unsigned int level, uint64_t va, uint64_t pte)
{
	struct gm_sim_mmu *mmu = ed->pmap->mmu;
	uint64_t *slot = slot_of(mmu, table, level, va);
	uint64_t old = pte_get(slot);

	pte_set(slot, pte);
	if (!(old & GM_SIM_PTE_V))
		++*table_live(mmu, table);
	if ((old & (GM_SIM_PTE_V | GM_SIM_PTE_LEAF)) != (GM_SIM_PTE_V | GM_SIM_PTE_LEAF))
		frames_count(mmu, pte, span(level), va, 1);
	if ((old & GM_SIM_PTE_V) && !(old & GM_SIM_PTE_LEAF))
		table_replaced(ed, old & GM_SIM_PTE_ADDR, level - 1, va);
}

/* With @write false: make the tables and see that nothing is in the way. */
static int enter_range(struct edit *ed, uint64_t pa, uint64_t leaf, uint64_t bits, bool write)
{
	unsigned int level = level_of(leaf);
	uint64_t va, table = 0;
	int err;

	for (va = ed->va; va < ed->end; va += span(level), pa += span(level)) {
		if (va == ed->va || !(va % span(level + 1))) {
			err = table_get(ed->pmap, va, level, &table);
			if (err)
				return err;
		}
		if (write)
			leaf_set(ed, table, level, va, pa | bits);
		else if (!leaf_fits(ed->pmap->mmu,
				    pte_get(slot_of(ed->pmap->mmu, table, level, va)), level, pa,
				    leaf))
			return -EEXIST;
	}
	return 0;
}

static bool range_ok(uint64_t va, uint64_t size, uint64_t align)
{
	return size && size <= GM_SIM_VA_END && va <= GM_SIM_VA_END - size &&
	       !((va | size) & (align - 1));
}

/* What is released or protected is whole leaves of the smallest size. */
static uint64_t least(const struct gm_sim_mmu *mmu)
{
	return mmu->pgsizes & -mmu->pgsizes;
}

static bool prot_ok(uint32_t prot)
{
	return prot && !(prot & ~(GM_READ | GM_WRITE));
}

static int pmap_enter(struct gm_sim_pmap *pmap, uint64_t va, uint64_t pa, uint64_t size,
		      uint64_t leaf, uint64_t bits)
{
	struct edit ed;
	int err;

	edit_begin(&ed, pmap, va, size);
	err = enter_range(&ed, pa, leaf, bits, false);
	if (err) {
		ed.verb = PRUNE;
		edit_range(&ed, pmap->root, TOP, va, va + size);
	} else {
		enter_range(&ed, pa, leaf, bits, true);
	}
	edit_end(&ed);
	return err;
}

int gm_sim_pmap_enter(struct gm_sim_pmap *pmap, uint64_t va, uint64_t pa, uint64_t size,
		      uint64_t leaf, uint32_t prot)
{
	uint64_t bits = GM_SIM_PTE_V | GM_SIM_PTE_LEAF | prot_bits(prot);

	if (!leaf || (leaf & (leaf - 1)) || !(leaf & pmap->mmu->pgsizes) ||
	    !range_ok(va, size, leaf) || (pa & (leaf - 1)) ||
	    !gm_sim_is_data(pmap->mmu, pa, size) || !prot_ok(prot))
		return -EINVAL;
	return pmap_enter(pmap, va, pa, size, leaf, bits | run_bits(leaf));
}

int gm_sim_pmap_enter_host(struct gm_sim_pmap *pmap, uint64_t va, uint64_t host, uint64_t size,
			   uint32_t prot)
{
	uint64_t bits = GM_SIM_PTE_V | GM_SIM_PTE_LEAF | prot_bits(prot);

	if (!range_ok(va, size, GM_SIM_4K) || !range_ok(host, size, GM_SIM_4K) ||
	    !prot_ok(prot & ~GM_ATOMIC))
		return -EINVAL;
	return pmap_enter(pmap, va, host | GM_SIM_PTE_HOST, size, GM_SIM_4K, bits);
}

int gm_sim_pmap_release(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size)
{
	struct edit ed;
	int err;

	if (!range_ok(va, size, least(pmap->mmu)))
		return -EINVAL;
	edit_begin(&ed, pmap, va, size);
	err = edit_range(&ed, pmap->root, TOP, va, va + size);
	edit_end(&ed);
	return err;
}

int gm_sim_pmap_protect(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size, uint32_t prot)
{
	struct edit ed;
	int err;

	if (!range_ok(va, size, least(pmap->mmu)) || !prot_ok(prot))
		return -EINVAL;
	edit_begin(&ed, pmap, va, size);
	ed.verb = PROTECT;
	ed.bits = prot_bits(prot);
	err = edit_range(&ed, pmap->root, TOP, va, va + size);
	edit_end(&ed);
	return err;
}

/* ------------------------------------------------------------------ accessed bits */

/* The entry of the leaf that maps @va, or of the hole there; and its level. */
static uint64_t *entry_find(struct gm_sim_pmap *pmap, uint64_t va, unsigned int *level)
{
	uint64_t table = pmap->root;

	for (*level = TOP;; --*level) {
		uint64_t *slot = slot_of(pmap->mmu, table, *level, va), pte = pte_get(slot);

		if (!(pte & GM_SIM_PTE_V) || (pte & GM_SIM_PTE_LEAF))
			return slot;
		table = pte & GM_SIM_PTE_ADDR;
	}
}

/* Was the leaf used that @slot, for @va, is or is a part of? Not any more. */
static bool leaf_age(uint64_t *slot, unsigned int level, uint64_t va, uint64_t leaf)
{
	uint64_t n = leaf / span(level), i, was = 0;

	slot -= va / span(level) % n;
	for (i = 0; i < n; i++)
		was |= __atomic_fetch_and(&slot[i], ~GM_SIM_PTE_USED, __ATOMIC_RELAXED);
	return was & GM_SIM_PTE_USED;
}

/* A walker may note a use that is older than the question; it is told the next time. */
int gm_sim_pmap_age(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size, uint64_t *used)
{
	uint64_t at = va, end = va + size, next, page, leaf, pte, *slot = NULL;
	unsigned int level = TOP;
	bool was;

	if (!range_ok(va, size, GM_SIM_4K))
		return -EINVAL;
	gm_sim_spin_lock(&pmap->lock);
	for (; at < end; slot += (next - at) / GM_SIM_4K, at = next) {
		if (level || at % span(1) == 0) /* else it is the next of the same table */
			slot = entry_find(pmap, at, &level);
		pte = pte_get(slot);
		next = at + GM_SIM_4K;
		if (!level && !(pte & (GM_SIM_PTE_RUN | GM_SIM_PTE_USED)))
			continue; /* a hole, or a page that was not used: most are */
		leaf = pte & GM_SIM_PTE_V ? leaf_size(pte, level) : span(level);
		was = (pte & GM_SIM_PTE_V) && leaf_age(slot, level, at, leaf);
		next = (at & ~(leaf - 1)) + leaf;
		next = next > end ? end : next;
		for (page = (at - va) / GM_SIM_4K; was && page < (next - va) / GM_SIM_4K; page++)
			used[page / 64] |= 1ULL << page % 64;
	}
	gm_sim_spin_unlock(&pmap->lock);
	return 0;
}

int gm_sim_pmap_init(struct gm_sim_pmap *pmap, struct gm_sim_mmu *mmu)
{
	pmap->mmu = mmu;
	pmap->lock = 0;
	pmap->walker = mmu;
	pmap->sharers = pmap->next_sharer = NULL;
	pmap->asid = __atomic_add_fetch(&mmu->asid, 1, __ATOMIC_RELAXED);
	return table_alloc(mmu, &pmap->root);
}

void gm_sim_pmap_fini(struct gm_sim_pmap *pmap)
{
	struct edit ed;

	edit_begin(&ed, pmap, 0, GM_SIM_VA_END);
	edit_range(&ed, pmap->root, TOP, 0, GM_SIM_VA_END);
	table_bury(&ed, pmap->root);
	edit_end(&ed);
}

void gm_sim_pmap_share(struct gm_sim_pmap *pmap, struct gm_sim_pmap *handle,
		       struct gm_sim_mmu *walker)
{
	*handle = *pmap;
	handle->walker = walker;
	handle->asid = FOREIGN | __atomic_add_fetch(&walker->asid, 1, __ATOMIC_RELAXED);
	handle->sharers = NULL;
	handle->next_sharer = pmap->sharers;
	pmap->sharers = handle;
	gm_sim_spin_lock(&pmap->mmu->guest_lock);
	handle->next_guest = pmap->mmu->guests;
	pmap->mmu->guests = handle;
	gm_sim_spin_unlock(&pmap->mmu->guest_lock);
}

void gm_sim_pmap_unshare(struct gm_sim_pmap *pmap, struct gm_sim_pmap *handle)
{
	struct gm_tlb_range all = { .size = GM_SIM_VA_END };
	struct gm_sim_pmap **link = &pmap->sharers;

	while (*link != handle)
		link = &(*link)->next_sharer;
	*link = handle->next_sharer;
	gm_sim_spin_lock(&pmap->mmu->guest_lock);
	for (link = &pmap->mmu->guests; *link != handle;)
		link = &(*link)->next_guest;
	*link = handle->next_guest;
	gm_sim_spin_unlock(&pmap->mmu->guest_lock);
	gm_sim_tlb_invl(handle, &all, 1);
}
