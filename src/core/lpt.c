// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The logical page table: from an object's offset to where the bytes are.
 *
 * Theory. A radix tree of 512-way nodes, as high as the object's size asks for, leads
 * to blocks of 2 MiB. There is no block where no device has ever been: such memory
 * is the host kernel's affair, costs no metadata and takes no fault of ours. A block
 * holds one entry (core.h) where all its pages agree, be it in state or in being one
 * contiguous device extent, and an array of 512 where they do not.
 *
 * Coming and going. The first device to touch a block creates it: the block is
 * published locked and empty; then the CPU's mappings of it are armed, in every
 * region; only then is the host asked which pages exist. From the arming on no page
 * can appear behind our back, so what the host says stays true. Blocks go when
 * their bytes go: on unmap, DONTNEED of the whole, end of the object.
 *
 * Locking. Lookups take no lock but the block's. Nodes are published by
 * compare-and-swap and live as long as the object. Blocks come from a type-stable
 * pool (pool.c): whoever locks a block checks that it still is the one looked up,
 * and looks again if not. Whoever needs "there is no block, and none comes to be
 * while I work" holds the object's maps_lock for writing: a new block asks the host
 * under maps_lock for reading (gm_arm_block()), after it was published.
 */
#include "core/core.h"

#define NODE_SHIFT 9U
#define NODE_SLOTS 512U

struct gm_node {
	void *slot[NODE_SLOTS];
};

int gm_lpt_init(struct gm_object *obj)
{
	uint64_t blocks = (obj->size + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT;

	obj->root = NULL;
	obj->height = 1;
	while (blocks > 1ULL << (NODE_SHIFT * obj->height))
		obj->height++;
	return 0;
}

static void *node_new(void)
{
	struct gm_node *node = gm_pool_get(&gm_core.nodes);

	for (unsigned int i = 0; node && i < NODE_SLOTS; i++)
		node->slot[i] = NULL;
	return node;
}

/* The slot of a block; NULL if its node does not exist and cannot be, or must not be, made. */
static void **slot_of(struct gm_object *obj, uint64_t index, bool create)
{
	void **slot = &obj->root;

	for (uint32_t level = obj->height; level-- > 0;) {
		struct gm_node *node = gm_load_acquire(slot);

		if (!node) {
			void *expected = NULL;

			node = create ? node_new() : NULL;
			if (!node)
				return NULL;
			if (!gm_publish(slot, &expected, (void *)node)) {
				gm_pool_put(&gm_core.nodes, node);
				node = expected;
			}
		}
		slot = &node->slot[index >> (NODE_SHIFT * level) & (NODE_SLOTS - 1)];
	}
	return slot;
}

/* The block, not locked: good for a hint only. */
struct gm_block *gm_lpt_peek(struct gm_object *obj, uint64_t index)
{
	void **slot = slot_of(obj, index, false);

	return slot ? gm_load_acquire(slot) : NULL;
}

bool gm_object_touched(struct gm_object *obj, uint64_t off)
{
	return gm_lpt_peek(obj, off >> GM_BLOCK_SHIFT) != NULL;
}

/* Lock the block; @wanted tells an eviction of it that is under way to give up. */
static bool lock_if_same(struct gm_block *block, struct gm_object *obj, uint64_t index, bool wanted)
{
	if (!gm_mutex_trylock(&block->lock, GM_RANK_BLOCK)) {
		if (wanted)
			gm_store(&block->willneed, 1);
		gm_mutex_lock(&block->lock, GM_RANK_BLOCK);
		if (wanted)
			gm_store(&block->willneed, 0); /* here we are */
	}
	if (block->obj == obj && block->index == index)
		return true;
	gm_mutex_unlock(&block->lock, GM_RANK_BLOCK);
	return false;
}

/* The block, locked, or NULL. */
struct gm_block *gm_block_find(struct gm_object *obj, uint64_t index, bool wanted)
{
	struct gm_block *block;

	while ((block = gm_lpt_peek(obj, index)))
		if (lock_if_same(block, obj, index, wanted))
			return block;
	return NULL;
}

/* Like gm_block_find(), and if it is NULL no block comes to be until gm_block_drop(). */
struct gm_block *gm_block_find_or_hold(struct gm_object *obj, uint64_t index)
{
	struct gm_block *block;

	for (;;) {
		block = gm_block_find(obj, index, false);
		if (block)
			return block;
		gm_rwlock_wrlock(&obj->maps_lock, GM_RANK_MAPS);
		if (!gm_lpt_peek(obj, index))
			return NULL;
		gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	}
}

/* Unlock a block that pages may have gone from; one that holds nothing goes itself (I9). */
void gm_block_done(struct gm_block *block)
{
	if (!block->pages && block->uniform == GM_NONE)
		gm_block_free(block);
	else
		gm_block_unlock(block);
}

void gm_block_drop(struct gm_object *obj, struct gm_block *block)
{
	if (block)
		gm_block_done(block);
	else
		gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
}

/* Publish a new block, locked and empty. NULL without @err: somebody else was first. */
static struct gm_block *publish(struct gm_object *obj, uint64_t index, int *err)
{
	void **slot = slot_of(obj, index, true), *expected = NULL;
	struct gm_block *block = slot ? gm_pool_get(&gm_core.blocks) : NULL;

	*err = block ? 0 : -ENOMEM;
	if (!block)
		return NULL;
	gm_mutex_lock(&block->lock, GM_RANK_BLOCK);
	block->obj = obj;
	block->index = index;
	block->uniform = GM_NONE;
	block->pages = NULL;
	block->residents = NULL;
	block->more = NULL;
	block->nr_dev = 0;
	block->nr_retained = 0;
	gm_store(&block->willneed, 0);
	gm_store(&block->wanted, 0);
	gm_add(&obj->nr_blocks, 1);
	if (gm_publish(slot, &expected, (void *)block))
		return block;
	gm_sub(&obj->nr_blocks, 1);
	block->obj = NULL;
	gm_mutex_unlock(&block->lock, GM_RANK_BLOCK);
	gm_pool_put(&gm_core.blocks, block);
	return NULL;
}

/* The block, locked, made if there was none. -ENOMEM, or an error of arming the CPU's mappings. */
int gm_block_get(struct gm_object *obj, uint64_t index, bool wanted, struct gm_block **block)
{
	int err;

	for (;;) {
		*block = gm_block_find(obj, index, wanted);
		if (*block)
			return 0;
		*block = publish(obj, index, &err);
		if (err)
			return err;
		if (!*block)
			continue;
		err = gm_arm_block(*block);
		if (err)
			gm_block_free(*block);
		return err;
	}
}

void gm_block_unlock(struct gm_block *block)
{
	gm_check_block(block);
	gm_mutex_unlock(&block->lock, GM_RANK_BLOCK);
}

/* Forget a locked block that has no page on a device, and unlock it. */
void gm_block_free(struct gm_block *block)
{
	struct gm_object *obj = block->obj;
	void **slot = slot_of(obj, block->index, false);

	gm_bug_on(block->nr_dev);
	gm_resident_put_idle(block);
	gm_store_release(slot, NULL);
	gm_sub(&obj->nr_blocks, 1);
	gm_more_free(block);
	gm_pool_put(&gm_core.arrays, block->pages);
	block->pages = NULL;
	block->obj = NULL;
	gm_mutex_unlock(&block->lock, GM_RANK_BLOCK);
	gm_pool_put(&gm_core.blocks, block);
}

static uint64_t node_next(struct gm_node *node, uint32_t level, uint64_t base, uint64_t index,
			  uint64_t end)
{
	uint64_t span = 1ULL << (NODE_SHIFT * level);

	for (unsigned int i = 0; node && i < NODE_SLOTS; i++, base += span) {
		void *child = gm_load_acquire(&node->slot[i]);
		uint64_t found;

		if (base >= end)
			break;
		if (!child || base + span <= index)
			continue;
		found = level ? node_next(child, level - 1, base, index, end) : base;
		if (found < end)
			return found;
	}
	return end;
}

/* The index of the first block in [index, end), or end. */
uint64_t gm_lpt_next(struct gm_object *obj, uint64_t index, uint64_t end)
{
	return node_next(gm_load_acquire(&obj->root), obj->height - 1, 0, index, end);
}

static void node_destroy(struct gm_node *node, uint32_t level)
{
	for (unsigned int i = 0; node && level && i < NODE_SLOTS; i++)
		node_destroy(node->slot[i], level - 1);
	gm_pool_put(&gm_core.nodes, node);
}

/* The last reference is gone, and so are all blocks. */
void gm_lpt_destroy(struct gm_object *obj)
{
	gm_bug_on(obj->nr_blocks);
	node_destroy(obj->root, obj->height - 1);
	obj->root = NULL;
}

/* ------------------------------------------------------------------- entries */

uint64_t gm_block_entry(const struct gm_block *block, unsigned int page)
{
	if (block->pages)
		return block->pages[page];
	return block->uniform + page * gm_entry_step(block->uniform);
}

/* How many pages from @page on, below @end, are alike: one state, one extent, the same flags. */
unsigned int gm_block_run(const struct gm_block *block, unsigned int page, unsigned int end,
			  uint64_t *entry)
{
	uint64_t e = gm_block_entry(block, page), step = gm_entry_step(e);
	unsigned int n = 1;

	*entry = e;
	if (!block->pages)
		return end - page;
	while (page + n < end && block->pages[page + n] == e + n * step)
		n++;
	return n;
}

/* Give the block an array, so that its pages may differ. */
int gm_block_split(struct gm_block *block)
{
	uint64_t *pages;

	if (block->pages)
		return 0;
	pages = gm_pool_get(&gm_core.arrays);
	if (!pages)
		return -ENOMEM;
	for (unsigned int i = 0; i < GM_BLOCK_PAGES; i++)
		pages[i] = gm_block_entry(block, i);
	block->pages = pages;
	for (unsigned int i = 0; i < GM_POLICY_WORDS; i++)
		gm_block_mask(block)->word[i] = gm_entry_state(block->uniform) == GM_DEV ? ~0ULL
											 : 0;
	return 0;
}

/*
 * Set @n entries from @page on to one extent beginning with @entry; a part of a block needs an
 * array.
 */
void gm_block_set(struct gm_block *block, unsigned int page, unsigned int n, uint64_t entry)
{
	uint64_t step = gm_entry_step(entry);

	if (n == GM_BLOCK_PAGES) {
		gm_pool_put(&gm_core.arrays, block->pages);
		block->pages = NULL;
		block->uniform = entry;
		return;
	}
	gm_bug_on(!block->pages);
	for (unsigned int i = 0; i < n; i++)
		block->pages[page + i] = entry + i * step;
	if (gm_entry_state(entry) == GM_DEV)
		gm_mask_set(gm_block_mask(block), page, n);
	else
		gm_mask_clear(gm_block_mask(block), page, n);
}

/*
 * Give the array back if all pages agree again. The last page is looked at first: it mostly
 * differs.
 */
void gm_block_fold(struct gm_block *block)
{
	unsigned int last = GM_BLOCK_PAGES - 1;
	uint64_t entry;

	if (!block->pages ||
	    block->pages[last] != block->pages[0] + last * gm_entry_step(block->pages[0]))
		return;
	if (gm_block_run(block, 0, GM_BLOCK_PAGES, &entry) == GM_BLOCK_PAGES)
		gm_block_set(block, 0, GM_BLOCK_PAGES, entry);
}
