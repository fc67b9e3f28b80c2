// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The simulated accelerator's birth and death, the MMU functions that gmem calls,
 * and what makes them fail.
 *
 * A device is put together piece by piece, and made known to gmem last; it is taken
 * apart in reverse. gm_dev_destroy() comes first on the way down: it brings home
 * what the device holds, which takes a working copy engine, and if it fails nothing
 * has happened yet.
 */
#define _GNU_SOURCE
#include "sim_dev.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_LANES 256
#define MAX_TLB_ENTRIES (1U << 16)
#define MAX_COPY_THREADS 64
#define MAX_TABLE_MEMORY (1ULL << 43)		     /* their indices have 32 bits */
#define PGSIZES (GM_SIM_4K | GM_SIM_64K | GM_SIM_2M) /* by default */

/* ------------------------------------------------------------------- options */

static int options_read(const struct gm_sim_options *from, struct gm_sim_options *opt)
{
	size_t known = sizeof(*opt), i;

	memset(opt, 0, sizeof(*opt));
	if (!from)
		return 0;
	if (from->size < sizeof(from->size))
		return -EINVAL;
	for (i = known; i < from->size; i++)
		if (((const uint8_t *)from)[i])
			return -E2BIG;
	memcpy(opt, from, from->size < known ? from->size : known);
	return 0;
}

static void options_default(struct gm_sim_options *opt)
{
	if (!opt->name)
		opt->name = "sim";
	if (!opt->memory)
		opt->memory = 64ULL << 20;
	if (!opt->table_memory)
		opt->table_memory = opt->memory > 16 << 20 ? opt->memory / 64 : 256 << 10;
	if (!opt->base)
		opt->base = 4ULL << 30;
	if (!opt->pgsize_bitmap)
		opt->pgsize_bitmap = PGSIZES;
	if (!opt->lanes)
		opt->lanes = 4;
	if (!opt->tlb_entries)
		opt->tlb_entries = 64;
	if (!opt->fault_batch)
		opt->fault_batch = 256;
	if (!opt->va_bits)
		opt->va_bits = 48;
}

static bool options_ok(const struct gm_sim_options *opt)
{
	if (opt->memory % GM_SIM_2M || opt->base % GM_SIM_2M || opt->table_memory % GM_SIM_4K)
		return false;
	/* Entries of the page table hold 48 bits of address. */
	if (opt->base > GM_SIM_VA_END || opt->memory > GM_SIM_VA_END - opt->base ||
	    opt->table_memory > MAX_TABLE_MEMORY ||
	    opt->table_memory > GM_SIM_VA_END - opt->base - opt->memory)
		return false;
	if (!(opt->pgsize_bitmap & GM_SIM_BASE_SIZES) || (opt->pgsize_bitmap & ~GM_SIM_ALL_SIZES))
		return false;
	if (opt->tlb_entries & (opt->tlb_entries - 1))
		return false;
	return opt->lanes <= MAX_LANES && opt->tlb_entries <= MAX_TLB_ENTRIES &&
	       opt->copy_threads <= MAX_COPY_THREADS &&
	       !(opt->flags &
		 ~(GM_SIM_CHECK | GM_SIM_SYNC_FAULTS | GM_SIM_APERTURE | GM_SIM_NO_LINK |
		   GM_SIM_IN_PLACE | GM_SIM_SPARSE | GM_SIM_SHARE | GM_SIM_READ_PEER |
		   GM_SIM_NO_ATOMICS | GM_SIM_PEER_OPS | GM_SIM_NO_ACCESSED | GM_SIM_COUNTERS)) &&
	       opt->va_bits >= 22 && opt->va_bits <= 48;
}

/* ----------------------------------------------------------- birth and death */

int gm_sim_thread(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	sigset_t block, old;
	int err;

	/* What a thread brings upon itself cannot be blocked. */
	sigfillset(&block);
	sigdelset(&block, SIGSEGV);
	sigdelset(&block, SIGBUS);
	sigdelset(&block, SIGFPE);
	sigdelset(&block, SIGILL);
	sigdelset(&block, SIGTRAP);
	pthread_sigmask(SIG_SETMASK, &block, &old);
	err = pthread_create(thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

static void mmu_fini(struct gm_sim *sim)
{
	if (sim->map)
		munmap(sim->map, sim->map_len);
	free(sim->mmu.frame);
	free(sim->tlb_entries);
	free(sim->mmu.tlb);
	free(sim->mmu.table);
}

/*
 * Memory that is a file takes none of the machine's for long: the kernel writes it out. The file
 * has no name, so it goes with the mapping, however the process ends.
 */
static int memory_file(const char *directory, size_t len, void **map)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600), err = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)len)) {
		err = -errno;
	} else {
		*map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (*map == MAP_FAILED)
			err = -ENOMEM;
	}
	close(fd);
	return err;
}

static int memory_map(struct gm_sim *sim, const char *directory)
{
	void *map = MAP_FAILED;
	int err = -ENOMEM;
	uintptr_t p;

	sim->map_len = sim->mmu.data + sim->mmu.tables + GM_SIM_2M;
	if (directory)
		err = memory_file(directory, sim->map_len, &map);
	else
		map = mmap(NULL, sim->map_len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return err;
	sim->map = map;
	p = ((uintptr_t)sim->map + GM_SIM_2M - 1) & ~(uintptr_t)(GM_SIM_2M - 1);
	sim->mmu.mem = (uint8_t *)p;
	madvise(sim->mmu.mem, sim->mmu.data, MADV_HUGEPAGE); /* if it can */
	return 0;
}

static int tlbs_alloc(struct gm_sim *sim, size_t entries)
{
	struct gm_sim_mmu *mmu = &sim->mmu;
	struct gm_sim_tlb_entry *e;
	unsigned int i, nr = gm_sim_nr_sizes(mmu->pgsizes);

	mmu->tlb = aligned_alloc(__alignof__(*mmu->tlb), mmu->nr_tlbs * sizeof(*mmu->tlb));
	e = calloc(mmu->nr_tlbs * nr * entries, sizeof(*e));
	sim->tlb_entries = e;
	if (!mmu->tlb || !e)
		return -ENOMEM;
	memset(mmu->tlb, 0, mmu->nr_tlbs * sizeof(*mmu->tlb));
	for (i = 0; i < mmu->nr_tlbs; i++)
		gm_sim_tlb_init(&mmu->tlb[i], mmu->pgsizes, e + i * nr * entries, entries);
	return 0;
}

static int mmu_init(struct gm_sim *sim, const struct gm_sim_options *opt)
{
	struct gm_sim_mmu *mmu = &sim->mmu;
	int err = -ENOMEM;

	mmu->base = opt->base;
	mmu->data = opt->memory;
	mmu->tables = opt->table_memory;
	mmu->pgsizes = opt->pgsize_bitmap;
	mmu->nr_tlbs = opt->lanes;
	mmu->table = calloc(mmu->tables / GM_SIM_4K, sizeof(*mmu->table));
	if (!mmu->table)
		goto err_fini;
	if (opt->flags & GM_SIM_CHECK) {
		mmu->frame = calloc(mmu->data / GM_SIM_4K, sizeof(*mmu->frame));
		if (!mmu->frame)
			goto err_fini;
	}
	err = tlbs_alloc(sim, opt->tlb_entries);
	if (!err)
		err = memory_map(sim, opt->directory);
	if (err)
		goto err_fini;
	gm_sim_mmu_init(mmu);
	return 0;

err_fini:
	mmu_fini(sim);
	return err;
}

int gm_sim_options_get(const struct gm_sim_options *from, struct gm_sim_options *opt)
{
	int err = options_read(from, opt);

	if (err)
		return err;
	options_default(opt);
	return options_ok(opt) ? 0 : -EINVAL;
}

int gm_sim_create(const struct gm_sim_options *options, struct gm_sim **out)
{
	struct gm_sim_options opt;
	struct gm_sim *sim;
	int err;

	err = out ? gm_sim_options_get(options, &opt) : -EINVAL;
	if (err)
		return err;
	sim = calloc(1, sizeof(*sim));
	if (!sim)
		return -ENOMEM;
	memcpy(sim->name, opt.name, strnlen(opt.name, sizeof(sim->name) - 1));
	sim->flags = opt.flags;
	sim->va_bits = opt.va_bits;
	sim->mode = opt.flags & GM_SIM_IN_PLACE ? GM_REPLICATE
		    : opt.flags & GM_SIM_SHARE	? GM_SHARE
						: GM_EXCLUSIVE;
	pthread_mutex_init(&sim->inject_lock, NULL);
	pthread_mutex_init(&sim->count_lock, NULL);
	err = mmu_init(sim, &opt);
	if (err)
		goto err_free;
	err = gm_sim_lanes_init(sim, opt.lanes);
	if (err)
		goto err_mmu;
	err = gm_sim_faults_init(sim, opt.fault_batch);
	if (err)
		goto err_lanes;
	err = gm_sim_engine_init(sim, opt.copy_threads);
	if (err)
		goto err_faults;
	err = gm_sim_probe(sim);
	if (err)
		goto err_engine;
	*out = sim;
	return 0;

err_engine:
	gm_sim_engine_fini(sim);
err_faults:
	gm_sim_faults_fini(sim);
err_lanes:
	gm_sim_lanes_fini(sim);
err_mmu:
	mmu_fini(sim);
err_free:
	pthread_mutex_destroy(&sim->count_lock);
	pthread_mutex_destroy(&sim->inject_lock);
	free(sim);
	return err;
}

int gm_sim_destroy(struct gm_sim *sim)
{
	int err = sim ? gm_sim_remove(sim, false) : -EINVAL;

	if (err)
		return err;
	gm_sim_engine_fini(sim);
	gm_sim_lanes_fini(sim);
	gm_sim_faults_fini(sim);
	mmu_fini(sim);
	pthread_mutex_destroy(&sim->count_lock);
	pthread_mutex_destroy(&sim->inject_lock);
	free(sim);
	return 0;
}

int gm_sim_detach(struct gm_sim_ctx *ctx)
{
	struct gm_sim *sim = ctx->sim;
	int err = gm_sim_claim(sim);

	if (err)
		return err;
	err = gm_sim_leave(ctx);
	gm_sim_unclaim(sim);
	return err;
}

int gm_sim_unplug(struct gm_sim *sim)
{
	if (!sim)
		return -EINVAL;
	gm_sim_mmu_stop(&sim->mmu); /* no lane gets at memory any more */
	return gm_sim_remove(sim, true);
}

struct gm_dev *gm_sim_dev(struct gm_sim *sim)
{
	return sim->dev;
}

void gm_sim_stats_out(struct gm_sim_stats *to, struct gm_sim_stats *now)
{
	now->size = to->size;
	if (now->size > sizeof(*now)) {
		memset((char *)to + sizeof(*now), 0, now->size - sizeof(*now));
		memcpy(to, now, sizeof(*now));
	} else {
		memcpy(to, now, now->size);
	}
}

void gm_sim_stats(struct gm_sim *sim, struct gm_sim_stats *stats)
{
	struct gm_sim_stats now = {
		.accesses = __atomic_load_n(&sim->stats.accesses, __ATOMIC_RELAXED),
		.tlb_misses = __atomic_load_n(&sim->stats.tlb_misses, __ATOMIC_RELAXED),
		.faults = __atomic_load_n(&sim->stats.faults, __ATOMIC_RELAXED),
		.fault_batches = __atomic_load_n(&sim->stats.fault_batches, __ATOMIC_RELAXED),
		.copies = __atomic_load_n(&sim->stats.copies, __ATOMIC_RELAXED),
		.tables = __atomic_load_n(&sim->mmu.used, __ATOMIC_RELAXED),
		.stale = __atomic_load_n(&sim->stats.stale, __ATOMIC_RELAXED),
		.addresses = __atomic_load_n(&sim->stats.addresses, __ATOMIC_RELAXED),
		.messages = __atomic_load_n(&sim->stats.messages, __ATOMIC_RELAXED),
		.peer_messages = __atomic_load_n(&sim->stats.peer_messages, __ATOMIC_RELAXED),
	};

	gm_sim_stats_out(stats, &now);
}

/* ----------------------------------------------------------------- injection */

void gm_sim_inject(struct gm_sim *sim, enum gm_sim_op op, uint32_t skip, uint32_t count, int err)
{
	struct gm_sim_injection *in;

	if ((unsigned int)op >= GM_SIM_NR_OPS)
		return;
	in = &sim->inject[op];
	pthread_mutex_lock(&sim->inject_lock);
	in->skip = skip;
	in->err = err;
	__atomic_store_n(&in->count, count, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&sim->inject_lock);
}

int gm_sim_fails(struct gm_sim *sim, enum gm_sim_op op)
{
	struct gm_sim_injection *in = &sim->inject[op];
	int err = 0;

	if (!__atomic_load_n(&in->count, __ATOMIC_RELAXED))
		return 0;
	pthread_mutex_lock(&sim->inject_lock);
	if (in->count && in->skip) {
		in->skip--;
	} else if (in->count) {
		err = in->err;
		if (in->count != UINT32_MAX)
			__atomic_store_n(&in->count, in->count - 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&sim->inject_lock);
	return err;
}

/* --------------------------------------------------- what gmem calls: sim_ops */

int gm_sim_op_pmap_create(struct gm_dev *dev, void **pmap)
{
	struct gm_sim *sim = gm_dev_data(dev);
	struct gm_sim_ctx *ctx;
	int err;

	err = gm_sim_fails(sim, GM_SIM_PMAP_CREATE);
	if (err)
		return err;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->sim = sim;
	err = gm_sim_pmap_init(&ctx->pmap, &sim->mmu);
	if (err) {
		free(ctx);
		return err;
	}
	*pmap = ctx;
	return 0;
}

void gm_sim_op_pmap_destroy(struct gm_dev *dev, void *pmap)
{
	struct gm_sim_ctx *ctx = pmap;

	(void)dev;
	if (ctx->owner)
		gm_sim_pmap_unshare(&ctx->owner->pmap, &ctx->pmap);
	else
		gm_sim_pmap_fini(&ctx->pmap);
	free(ctx->counts.slot);
	free(ctx);
}

int gm_sim_op_pmap_share(struct gm_dev *dev, void *pmap, void **shared)
{
	struct gm_sim *sim = gm_dev_data(dev);
	struct gm_sim_ctx *ctx;
	int err;

	err = gm_sim_fails(sim, GM_SIM_PMAP_CREATE);
	if (err)
		return err;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->sim = sim;
	ctx->owner = pmap;
	gm_sim_pmap_share(&ctx->owner->pmap, &ctx->pmap, &sim->mmu);
	*shared = ctx;
	return 0;
}

static int message(struct gm_sim *sim, enum gm_sim_op op)
{
	gm_sim_count(&sim->stats.messages, 1);
	return gm_sim_fails(sim, op);
}

int gm_sim_op_pmap_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
			 uint32_t prot)
{
	struct gm_sim_ctx *ctx = pmap;
	int err = message(ctx->sim, GM_SIM_PMAP_ENTER);

	return err ? err : gm_sim_pmap_enter(&ctx->pmap, va, pa, size, leaf, prot);
}

int gm_sim_op_pmap_enter_host(void *pmap, uint64_t va, uint64_t host, uint64_t size, uint32_t prot)
{
	struct gm_sim_ctx *ctx = pmap;
	int err = message(ctx->sim, GM_SIM_PMAP_ENTER);

	return err ? err : gm_sim_pmap_enter_host(&ctx->pmap, va, host, size, prot);
}

/* The peer's memory is an array of this process: a link that needs no hardware. */
int gm_sim_op_pmap_enter_peer(void *pmap, uint64_t va, struct gm_dev *peer, uint64_t pa,
			      uint64_t size)
{
	struct gm_sim *from = gm_dev_data(peer);
	struct gm_sim_ctx *ctx = pmap;
	int err;

	if (!(from->flags & ctx->sim->flags & GM_SIM_READ_PEER))
		return -EOPNOTSUPP;
	err = message(ctx->sim, GM_SIM_PMAP_ENTER);
	return err ? err
		   : gm_sim_pmap_enter_host(&ctx->pmap, va, (uintptr_t)gm_sim_mem(&from->mmu, pa),
					    size, GM_READ);
}

int gm_sim_op_pmap_release(void *pmap, uint64_t va, uint64_t size)
{
	struct gm_sim_ctx *ctx = pmap;
	int err = message(ctx->sim, GM_SIM_PMAP_RELEASE);

	return err ? err : gm_sim_pmap_release(&ctx->pmap, va, size);
}

int gm_sim_op_pmap_protect(void *pmap, uint64_t va, uint64_t size, uint32_t prot)
{
	struct gm_sim_ctx *ctx = pmap;
	int err = message(ctx->sim, GM_SIM_PMAP_PROTECT);

	return err ? err : gm_sim_pmap_protect(&ctx->pmap, va, size, prot);
}

int gm_sim_op_pmap_age(void *pmap, uint64_t va, uint64_t size, uint64_t *used)
{
	struct gm_sim_ctx *ctx = pmap;
	int err = gm_sim_fails(ctx->sim, GM_SIM_PMAP_AGE);

	return err ? err : gm_sim_pmap_age(&ctx->pmap, va, size, used);
}

int gm_sim_op_tlb_invl(void *pmap, uint64_t va, uint64_t size)
{
	struct gm_tlb_range range = { .va = va, .size = size };

	return gm_sim_op_tlb_invl_coalesced(pmap, &range, 1);
}

int gm_sim_op_tlb_invl_coalesced(void *pmap, const struct gm_tlb_range *ranges, unsigned int n)
{
	struct gm_sim_ctx *ctx = pmap;
	int err = message(ctx->sim, GM_SIM_TLB_INVL);

	if (!err)
		gm_sim_tlb_invl(&ctx->pmap, ranges, n);
	return err;
}

int gm_sim_op_copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		   unsigned int n, struct gm_fence *fence)
{
	return gm_sim_engine_start(gm_dev_data(dev),
				   dir == GM_TO_DEV ? GM_SIM_COPY_IN : GM_SIM_COPY_OUT, NULL, ext,
				   n, fence);
}

int gm_sim_op_zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		   struct gm_fence *fence)
{
	return gm_sim_engine_start(gm_dev_data(dev), GM_SIM_ZERO, NULL, ext, n, fence);
}

int gm_sim_op_copy_peer(struct gm_dev *dev, struct gm_dev *peer, const struct gm_extent *ext,
			unsigned int n, struct gm_fence *fence)
{
	struct gm_sim *sim = gm_dev_data(dev), *from = gm_dev_data(peer);

	if ((sim->flags | from->flags) & GM_SIM_NO_LINK)
		return -EOPNOTSUPP;
	return gm_sim_engine_start(sim, GM_SIM_COPY_PEER, from, ext, n, fence);
}
