// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The MMU functions that gmem calls, the copy engine, and what makes them fail.
 *
 * A copy is done by whoever starts it, or, with GMEM_SIM_ASYNC, by a worker, if there
 * is memory for the request.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "sim_k.h"

static struct workqueue_struct *engine;
static DEFINE_MUTEX(sharing_lock); /* who shares whose table */

/* ------------------------------------------------------------------------ injection */

void gm_ksim_inject(struct gm_ksim *sim, unsigned int op, u32 skip, u32 count, int err)
{
	spin_lock(&sim->inject_lock);
	sim->inject[op] = (struct gm_ksim_injection){ skip, count, err };
	spin_unlock(&sim->inject_lock);
}

int gm_ksim_fails(struct gm_ksim *sim, unsigned int op)
{
	struct gm_ksim_injection *in = &sim->inject[op];
	int err = 0;

	if (!READ_ONCE(in->count))
		return 0;
	spin_lock(&sim->inject_lock);
	if (in->count && in->skip) {
		in->skip--;
	} else if (in->count) {
		err = in->err;
		if (in->count != U32_MAX)
			in->count--;
	}
	spin_unlock(&sim->inject_lock);
	return err;
}

/* ----------------------------------------------------- addresses that are its own */

int gm_ksim_occupy(struct gm_ksim *sim, u64 va, u64 len, bool on)
{
	unsigned int i, n = ARRAY_SIZE(sim->occupied);

	spin_lock(&sim->inject_lock);
	for (i = 0; i < n; i++) {
		const struct gm_tlb_range *r = &sim->occupied[i];

		if (on ? !r->size : r->va == va && r->size == len)
			break;
	}
	if (i < n)
		sim->occupied[i] = (struct gm_tlb_range){ on ? va : 0, on ? len : 0 };
	spin_unlock(&sim->inject_lock);
	return i < n ? 0 : -EINVAL;
}

int gm_ksim_peer_va_alloc_fixed(void *pmap, uint64_t va, uint64_t size, uint32_t prot)
{
	struct gm_ksim *sim = ((struct gm_ksim_ctx *)pmap)->sim;
	unsigned int i;
	int err = 0;

	spin_lock(&sim->inject_lock);
	for (i = 0; i < ARRAY_SIZE(sim->occupied); i++) {
		const struct gm_tlb_range *r = &sim->occupied[i];

		if (r->va < va + size && va < r->va + r->size)
			err = -EEXIST;
	}
	spin_unlock(&sim->inject_lock);
	if (!err)
		atomic64_add(size, &sim->addresses);
	return err;
}

void gm_ksim_peer_va_free(void *pmap, uint64_t va, uint64_t size)
{
	struct gm_ksim *sim = ((struct gm_ksim_ctx *)pmap)->sim;

	atomic64_sub(size, &sim->addresses);
}

/* ------------------------------------------------------------------ page table, TLB */

int gm_ksim_pmap_create(struct gm_dev *dev, void **pmap)
{
	struct gm_ksim *sim = gm_dev_data(dev);
	struct gm_ksim_ctx *ctx;
	int err = gm_ksim_fails(sim, GMEM_SIM_PMAP_CREATE);

	if (err)
		return err;
	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL);
	if (!ctx)
		return -ENOMEM;
	ctx->sim = sim;
	err = gm_sim_pmap_init(&ctx->pmap, &sim->mmu);
	if (err)
		kfree(ctx);
	else
		*pmap = ctx;
	return err;
}

void gm_ksim_pmap_destroy(struct gm_dev *dev, void *pmap)
{
	struct gm_ksim_ctx *ctx = pmap, *owner = ctx->owner;

	if (owner) {
		gm_sim_pmap_unshare(&owner->pmap, &ctx->pmap);
		atomic_dec(&ctx->sim->sharing);
		atomic_dec(&owner->sim->shared);
		fput(owner->sim->file);
	} else {
		gm_sim_pmap_fini(&ctx->pmap);
	}
	kfree(ctx);
}

/*
 * The owner of the table stays as long as somebody shares it: his descriptor is held. No device
 * both shares and is shared, lest two hold each other for ever.
 */
static int hold_owner(struct gm_ksim *sim, struct gm_ksim *owner)
{
	int err = 0;

	mutex_lock(&sharing_lock);
	if (atomic_read(&sim->shared) || atomic_read(&owner->sharing))
		err = -EBUSY;
	else if (!get_file_rcu(owner->file)) /* it is being closed */
		err = -ENODEV;
	if (!err) {
		atomic_inc(&sim->sharing);
		atomic_inc(&owner->shared);
	}
	mutex_unlock(&sharing_lock);
	return err;
}

int gm_ksim_pmap_share(struct gm_dev *dev, void *pmap, void **shared)
{
	struct gm_ksim *sim = gm_dev_data(dev);
	struct gm_ksim_ctx *ctx, *owner = pmap;
	int err = gm_ksim_fails(sim, GMEM_SIM_PMAP_CREATE);

	if (err)
		return err;
	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL);
	if (!ctx)
		return -ENOMEM;
	ctx->sim = sim;
	ctx->owner = owner;
	err = hold_owner(sim, owner->sim);
	if (err) {
		kfree(ctx);
		return err;
	}
	gm_sim_pmap_share(&owner->pmap, &ctx->pmap, &sim->mmu);
	*shared = ctx;
	return 0;
}

int gm_ksim_pmap_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
		       uint32_t prot)
{
	struct gm_ksim_ctx *ctx = pmap;
	int err = gm_ksim_fails(ctx->sim, GMEM_SIM_PMAP_ENTER);

	return err ? err : gm_sim_pmap_enter(&ctx->pmap, va, pa, size, leaf, prot);
}

int gm_ksim_pmap_enter_host(void *pmap, uint64_t va, uint64_t host, uint64_t size, uint32_t prot)
{
	struct gm_ksim_ctx *ctx = pmap;
	int err = gm_ksim_fails(ctx->sim, GMEM_SIM_PMAP_ENTER);

	return err ? err : gm_sim_pmap_enter_host(&ctx->pmap, va, host, size, prot);
}

/* The peer's memory, page by page: it is contiguous for the peer only. */
int gm_ksim_pmap_enter_peer(void *pmap, uint64_t va, struct gm_dev *peer, uint64_t pa,
			    uint64_t size)
{
	struct gm_ksim *from = gm_dev_data(peer);
	struct gm_ksim_ctx *ctx = pmap;
	u64 off;
	int err;

	if (!(from->flags & ctx->sim->flags & GMEM_SIM_READ_PEER) || from->cpu)
		return -EOPNOTSUPP;
	err = gm_ksim_fails(ctx->sim, GMEM_SIM_PMAP_ENTER);
	for (off = 0; off < size && !err; off += PAGE_SIZE)
		err = gm_sim_pmap_enter_host(&ctx->pmap, va + off,
					     (u64)vmalloc_to_pfn(gm_sim_mem(&from->mmu, pa + off))
						     << PAGE_SHIFT,
					     PAGE_SIZE, GM_READ);
	return err;
}

int gm_ksim_pmap_release(void *pmap, uint64_t va, uint64_t size)
{
	struct gm_ksim_ctx *ctx = pmap;
	int err = gm_ksim_fails(ctx->sim, GMEM_SIM_PMAP_RELEASE);

	return err ? err : gm_sim_pmap_release(&ctx->pmap, va, size);
}

int gm_ksim_pmap_protect(void *pmap, uint64_t va, uint64_t size, uint32_t prot)
{
	struct gm_ksim_ctx *ctx = pmap;
	int err = gm_ksim_fails(ctx->sim, GMEM_SIM_PMAP_PROTECT);

	return err ? err : gm_sim_pmap_protect(&ctx->pmap, va, size, prot);
}

int gm_ksim_pmap_age(void *pmap, uint64_t va, uint64_t size, uint64_t *used)
{
	struct gm_ksim_ctx *ctx = pmap;
	int err = gm_ksim_fails(ctx->sim, GMEM_SIM_PMAP_AGE);

	return err ? err : gm_sim_pmap_age(&ctx->pmap, va, size, used);
}

int gm_ksim_tlb_invl_coalesced(void *pmap, const struct gm_tlb_range *ranges, unsigned int n)
{
	struct gm_ksim_ctx *ctx = pmap;
	int err = gm_ksim_fails(ctx->sim, GMEM_SIM_TLB_INVL);

	if (!err)
		gm_sim_tlb_invl(&ctx->pmap, ranges, n);
	return err;
}

int gm_ksim_tlb_invl(void *pmap, uint64_t va, uint64_t size)
{
	struct gm_tlb_range range = { .va = va, .size = size };

	return gm_ksim_tlb_invl_coalesced(pmap, &range, 1);
}

/* ------------------------------------------------------------------- the copy engine */

enum verb { COPY_IN, COPY_OUT, ZERO, COPY_PEER };

struct copy_request {
	struct work_struct work;
	struct gm_ksim *sim, *peer;
	struct gm_fence *fence;
	enum verb verb;
	int err;
	unsigned int n;
	struct gm_extent ext[];
};

/* No frame of a copy may be in any TLB or page table while it is made. */
static void look_for_stale(struct gm_ksim *sim, u64 pa, u64 len)
{
	unsigned int lane;
	u64 frame, va;

	if (!(sim->flags & GMEM_SIM_CHECK))
		return;
	if (gm_sim_frame_find(&sim->mmu, pa, len, &frame, &va) ||
	    gm_sim_tlb_find(&sim->mmu, pa, len, &lane, &va))
		atomic64_inc(&sim->stale);
}

static void look_at_all(struct gm_ksim *sim, struct gm_ksim *peer, const struct gm_extent *ext,
			unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		look_for_stale(sim, ext[i].pa, ext[i].len);
		if (peer)
			look_for_stale(peer, ext[i].host, ext[i].len);
	}
}

/* Whole pages as the kernel copies them. */
static void copy_bytes(void *to, const void *from, u64 len)
{
	for (; PAGE_ALIGNED(to) && PAGE_ALIGNED(from) && len >= PAGE_SIZE; len -= PAGE_SIZE) {
		copy_page(to, (void *)from);
		to += PAGE_SIZE;
		from += PAGE_SIZE;
	}
	memcpy(to, from, len);
}

/* With an error to report: half of it. */
static void perform(struct gm_ksim *sim, enum verb verb, struct gm_ksim *peer,
		    const struct gm_extent *ext, unsigned int n, int err)
{
	unsigned int i;

	look_at_all(sim, peer, ext, n);
	for (i = 0; i < (err ? n / 2 : n); i++) {
		void *mem = gm_sim_mem(&sim->mmu, ext[i].pa);

		if (verb == ZERO)
			memset(mem, 0, ext[i].len);
		else if (verb == COPY_PEER)
			copy_bytes(mem, gm_sim_mem(&peer->mmu, ext[i].host), ext[i].len);
		else if (verb == COPY_IN)
			copy_bytes(mem, gm_host_ptr(ext[i].host), ext[i].len);
		else
			copy_bytes(gm_host_ptr(ext[i].host), mem, ext[i].len);
	}
	look_at_all(sim, peer, ext, n);
	atomic64_add(n, &sim->copies);
}

/* One piece of a message (peer_os.c), at once. */
int gm_ksim_copy_now(struct gm_ksim *sim, const struct gm_peer_map *op, bool out)
{
	struct gm_extent ext = { .pa = op->pa, .host = op->host, .len = op->len };
	int err = gm_ksim_fails(sim, GMEM_SIM_COPY_FENCE);

	perform(sim,
		out			    ? COPY_OUT
		: op->host == GM_NO_ADDRESS ? ZERO
					    : COPY_IN,
		NULL, &ext, 1, err);
	return err;
}

static void request_work(struct work_struct *work)
{
	struct copy_request *r = container_of(work, struct copy_request, work);
	struct gm_fence *fence = r->fence;
	int err = r->err;

	perform(r->sim, r->verb, r->peer, r->ext, r->n, err);
	kfree(r);
	gm_fence_signal(fence, err);
}

static int start(struct gm_ksim *sim, enum verb verb, struct gm_ksim *peer,
		 const struct gm_extent *ext, unsigned int n, struct gm_fence *fence)
{
	struct copy_request *r = NULL;
	int err = gm_ksim_fails(sim, GMEM_SIM_COPY_START);

	if (err)
		return err;
	err = gm_ksim_fails(sim, GMEM_SIM_COPY_FENCE);
	if (sim->flags & GMEM_SIM_ASYNC)
		r = kmalloc(struct_size(r, ext, n), GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (!r) {
		perform(sim, verb, peer, ext, n, err);
		gm_fence_signal(fence, err);
		return 0;
	}
	INIT_WORK(&r->work, request_work);
	r->sim = sim;
	r->peer = peer;
	r->fence = fence;
	r->verb = verb;
	r->err = err;
	r->n = n;
	memcpy(r->ext, ext, n * sizeof(*ext));
	queue_work(engine, &r->work);
	return 0;
}

int gm_ksim_copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		 unsigned int n, struct gm_fence *fence)
{
	return start(gm_dev_data(dev), dir == GM_TO_DEV ? COPY_IN : COPY_OUT, NULL, ext, n, fence);
}

int gm_ksim_zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		 struct gm_fence *fence)
{
	return start(gm_dev_data(dev), ZERO, NULL, ext, n, fence);
}

int gm_ksim_copy_peer(struct gm_dev *dev, struct gm_dev *peer, const struct gm_extent *ext,
		      unsigned int n, struct gm_fence *fence)
{
	struct gm_ksim *sim = gm_dev_data(dev), *from = gm_dev_data(peer);

	if ((sim->flags | from->flags) & GMEM_SIM_NO_LINK)
		return -EOPNOTSUPP;
	return start(sim, COPY_PEER, from, ext, n, fence);
}

int gm_ksim_engine_init(void)
{
	engine = alloc_workqueue("gmem_sim", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return engine ? 0 : -ENOMEM;
}

void gm_ksim_engine_exit(void)
{
	destroy_workqueue(engine);
}
