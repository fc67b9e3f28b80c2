// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The simulated accelerator of libgmem_sim: src/drivers/sim in this process, or, where gmem
 * is the kernel's, a device of the module gmem_sim behind a descriptor of /dev/gmem_sim.
 * Then only lanes are here (sim_lanes.c), and each of their accesses is a request.
 *
 * Locking: none of its own; the device counts its contexts by itself too.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <uapi/gmem_sim.h>

#include "sim_dev.h"

/* sim.c and driver.c of src/drivers/sim, see rename.h */
int gm_user_sim_create(const struct gm_sim_options *options, struct gm_sim **out);
int gm_user_sim_destroy(struct gm_sim *sim);
struct gm_dev *gm_user_sim_dev(struct gm_sim *sim);
int gm_user_sim_attach(struct gm_sim *sim, struct gm_as *as, struct gm_sim_ctx **ctx);
int gm_user_sim_detach(struct gm_sim_ctx *ctx);
void gm_user_sim_inject(struct gm_sim *sim, enum gm_sim_op op, uint32_t skip, uint32_t count,
			int err);
int gm_user_sim_occupy(struct gm_sim *sim, uint64_t va, uint64_t len, int on);
void gm_user_sim_stats(struct gm_sim *sim, struct gm_sim_stats *stats);
int gm_user_sim_window_add(struct gm_sim_ctx *ctx, const void *va, size_t len, uint64_t dev_va);
int gm_user_sim_window_remove(struct gm_sim_ctx *ctx, const void *va, size_t len);
int gm_user_sim_set_mode(struct gm_sim_ctx *ctx, const void *va, size_t len, enum gm_mode mode);
int gm_user_sim_unplug(struct gm_sim *sim);

static int request(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

/* --------------------------------------------------------------------- birth and death */

static int remote_access(struct gm_sim_lane *lane, enum gm_sim_request_op op, uint64_t va,
			 void *buf, size_t len)
{
	struct gmem_sim_access a = { .size = sizeof(a),
				     .ctx = lane->ctx->number,
				     .lane = lane->id,
				     .op = (uint32_t)op,
				     .va = va,
				     .len = len,
				     .buf = (uint64_t)(uintptr_t)buf };

	_Static_assert((int)GM_SIM_GET == (int)GMEM_SIM_READ &&
			       (int)GM_SIM_PUT == (int)GMEM_SIM_WRITE &&
			       (int)GM_SIM_ADD == (int)GMEM_SIM_ADD64 &&
			       (int)GM_SIM_XOR == (int)GMEM_SIM_XOR64 &&
			       (int)GM_SIM_CAS == (int)GMEM_SIM_CAS64,
		       "the kernel's are the same");
	return request(lane->sim->fd, GMEM_SIM_IOC_ACCESS, &a);
}

/* Its name, the address of its memory and its fault buffer are the kernel's affair. */
static int plug_in(struct gm_sim *sim, const struct gm_sim_options *opt)
{
	struct gmem_sim_create c = { .size = sizeof(c),
				     .memory = opt->memory,
				     .table_memory = opt->table_memory,
				     .pgsize_bitmap = opt->pgsize_bitmap,
				     .lanes = opt->lanes,
				     .tlb_entries = opt->tlb_entries,
				     .va_bits = opt->va_bits };

	if (opt->flags & GM_SIM_COUNTERS)
		return -EOPNOTSUPP; /* lanes are here, and memory in place is there */
	if (opt->directory)
		return -EOPNOTSUPP; /* the kernel's device has memory of the kernel's */
	if (opt->flags & GM_SIM_APERTURE)
		return -EOPNOTSUPP; /* where it would be is root's to say: gmem_sim.h */
	if (opt->flags & GM_SIM_CHECK)
		c.flags |= GMEM_SIM_CHECK;
	if (opt->flags & GM_SIM_NO_LINK)
		c.flags |= GMEM_SIM_NO_LINK;
	if (opt->flags & GM_SIM_NO_ATOMICS)
		c.flags |= GMEM_SIM_NO_ATOMICS;
	if (opt->flags & GM_SIM_READ_PEER)
		c.flags |= GMEM_SIM_READ_PEER;
	if (opt->flags & GM_SIM_PEER_OPS)
		c.flags |= GMEM_SIM_PEER_OPS;
	if (opt->flags & GM_SIM_NO_ACCESSED)
		c.flags |= GMEM_SIM_NO_ACCESSED;
	if (opt->flags & GM_SIM_SHARE)
		c.flags |= GMEM_SIM_SHARE;
	if (opt->flags & GM_SIM_SPARSE)
		c.flags |= GMEM_SIM_SPARSE;
	if (opt->flags & GM_SIM_IN_PLACE)
		c.flags |= GMEM_SIM_IN_PLACE;
	if (opt->copy_threads)
		c.flags |= GMEM_SIM_ASYNC;
	sim->hnode = request(sim->fd, GMEM_SIM_IOC_CREATE, &c);
	/* It was good, but for what the kernel's device has fewer of. */
	return sim->hnode == -EINVAL ? -EOPNOTSUPP : sim->hnode < 0 ? sim->hnode : 0;
}

static int create_remote(int fd, const struct gm_sim_options *opt, struct gm_sim **out)
{
	struct gm_sim *sim = calloc(1, sizeof(*sim));
	int err = -ENOMEM;

	if (!sim)
		return err;
	sim->fd = fd;
	sim->remote = remote_access;
	/* Lanes count in them what they do. */
	sim->mmu.tlb = aligned_alloc(__alignof__(*sim->mmu.tlb),
				     opt->lanes * sizeof(*sim->mmu.tlb));
	if (!sim->mmu.tlb)
		goto err_sim;
	memset(sim->mmu.tlb, 0, opt->lanes * sizeof(*sim->mmu.tlb));
	err = gm_sim_lanes_init(sim, opt->lanes);
	if (err)
		goto err_tlb;
	err = plug_in(sim, opt);
	if (!err)
		err = gm_dev_from_hnode(sim->hnode, &sim->dev);
	if (err)
		goto err_lanes;
	*out = sim;
	return 0;

err_lanes:
	gm_sim_lanes_fini(sim);
err_tlb:
	free(sim->mmu.tlb);
err_sim:
	free(sim);
	return err;
}

/* The kernel's, if it is there and gmem is the kernel's too. */
int gm_sim_create(const struct gm_sim_options *options, struct gm_sim **out)
{
	struct gm_sim_options opt;
	const char *host;
	int err, fd;

	err = out ? gm_sim_options_get(options, &opt) : -EINVAL;
	if (err)
		return err;
	fd = open("/dev/gmem_sim", O_RDWR | O_CLOEXEC);
	host = fd < 0 ? NULL : gm_host_name();
	if (!host || strcmp(host, "kernel")) {
		if (fd >= 0)
			close(fd);
		return gm_user_sim_create(options, out);
	}
	err = create_remote(fd, &opt, out);
	if (err)
		close(fd);
	return err;
}

int gm_sim_destroy(struct gm_sim *sim)
{
	if (!sim || !sim->remote)
		return gm_user_sim_destroy(sim);
	if (__atomic_load_n(&sim->nr_ctxs, __ATOMIC_ACQUIRE))
		return -EBUSY;
	gm_sim_lanes_fini(sim);
	close(sim->fd); /* pulls the device out, and brings home what it still holds */
	free(sim->mmu.tlb);
	free(sim);
	return 0;
}

int gm_sim_unplug(struct gm_sim *sim)
{
	struct gmem_sim_remove r = { .size = sizeof(r) };

	if (!sim || !sim->remote)
		return gm_user_sim_unplug(sim);
	return request(sim->fd, GMEM_SIM_IOC_REMOVE, &r);
}

struct gm_dev *gm_sim_dev(struct gm_sim *sim)
{
	return gm_user_sim_dev(sim);
}

/* ------------------------------------------------------------------ attach and detach */

static int detach_remote(struct gm_sim_ctx *ctx)
{
	struct gmem_sim_detach d = { .size = sizeof(d), .ctx = ctx->number };
	int err = request(ctx->sim->fd, GMEM_SIM_IOC_DETACH, &d);

	if (!err)
		__atomic_fetch_sub(&ctx->sim->nr_ctxs, 1, __ATOMIC_RELEASE);
	return err;
}

static int as_goes(void *data)
{
	int err = detach_remote(data);

	if (!err)
		free(data);
	return err;
}

static int attach_remote(struct gm_sim *sim, struct gm_as *as, struct gm_sim_ctx **out)
{
	struct gmem_sim_attach a = { .size = sizeof(a), .as = gm_as_fd(as) };
	struct gm_sim_ctx *ctx;
	int ret;

	if (a.as < 0)
		return a.as;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ret = request(sim->fd, GMEM_SIM_IOC_ATTACH, &a);
	if (ret < 0)
		goto err_ctx;
	__atomic_fetch_add(&sim->nr_ctxs, 1, __ATOMIC_RELAXED);
	*ctx = (struct gm_sim_ctx){ .sim = sim, .as = as, .number = (unsigned int)ret };
	ret = gm_as_on_destroy(as, as_goes, ctx);
	if (ret)
		goto err_attached;
	*out = ctx;
	return 0;

err_attached:
	detach_remote(ctx);
err_ctx:
	free(ctx);
	return ret;
}

int gm_sim_attach(struct gm_sim *sim, struct gm_as *as, struct gm_sim_ctx **ctx)
{
	if (!sim || !ctx || !sim->remote)
		return gm_user_sim_attach(sim, as, ctx);
	return attach_remote(sim, as, ctx);
}

int gm_sim_detach(struct gm_sim_ctx *ctx)
{
	struct gm_sim *sim = ctx->sim;
	int err;

	if (!sim->remote)
		return gm_user_sim_detach(ctx);
	err = gm_sim_claim(sim);
	if (err)
		return err;
	err = detach_remote(ctx);
	gm_sim_unclaim(sim);
	if (err)
		return err;
	gm_as_on_destroy(ctx->as, NULL, ctx);
	free(ctx);
	return 0;
}

/* ----------------------------------------------------------------- what a context sees */

static int request_window(struct gm_sim_ctx *ctx, uint32_t op, const void *va, size_t len,
			  uint64_t dev_va, enum gm_mode mode)
{
	struct gmem_sim_window w = { .size = sizeof(w),
				     .ctx = ctx->number,
				     .op = op,
				     .mode = (uint32_t)mode,
				     .va = (uint64_t)(uintptr_t)va,
				     .len = len,
				     .dev_va = dev_va };

	return request(ctx->sim->fd, GMEM_SIM_IOC_WINDOW, &w);
}

int gm_sim_window_add(struct gm_sim_ctx *ctx, const void *va, size_t len, uint64_t dev_va)
{
	if (!ctx->sim->remote)
		return gm_user_sim_window_add(ctx, va, len, dev_va);
	return request_window(ctx, GMEM_SIM_WINDOW_ADD, va, len, dev_va, GM_EXCLUSIVE);
}

int gm_sim_window_remove(struct gm_sim_ctx *ctx, const void *va, size_t len)
{
	if (!ctx->sim->remote)
		return gm_user_sim_window_remove(ctx, va, len);
	return request_window(ctx, GMEM_SIM_WINDOW_REMOVE, va, len, 0, GM_EXCLUSIVE);
}

int gm_sim_set_mode(struct gm_sim_ctx *ctx, const void *va, size_t len, enum gm_mode mode)
{
	if (!ctx->sim->remote)
		return gm_user_sim_set_mode(ctx, va, len, mode);
	return request_window(ctx, GMEM_SIM_WINDOW_MODE, va, len, 0, mode);
}

/* ------------------------------------------------------------- looking, making it fail */

void gm_sim_inject(struct gm_sim *sim, enum gm_sim_op op, uint32_t skip, uint32_t count, int err)
{
	struct gmem_sim_inject in = { .size = sizeof(in),
				      .op = (uint32_t)op,
				      .skip = skip,
				      .count = err ? count : 0,
				      .err = (uint32_t)-err };

	_Static_assert((int)GM_SIM_NR_OPS == (int)GMEM_SIM_NR_OPS &&
			       (int)GM_SIM_COPY_FENCE == (int)GMEM_SIM_COPY_FENCE,
		       "the kernel's are the same");
	if (sim->remote)
		request(sim->fd, GMEM_SIM_IOC_INJECT, &in);
	else
		gm_user_sim_inject(sim, op, skip, count, err);
}

int gm_sim_occupy(struct gm_sim *sim, uint64_t va, uint64_t len, int on)
{
	struct gmem_sim_occupy o = { .size = sizeof(o), .on = on != 0, .va = va, .len = len };

	if (!sim || !sim->remote)
		return gm_user_sim_occupy(sim, va, len, on);
	return request(sim->fd, GMEM_SIM_IOC_OCCUPY, &o);
}

/* What is not told of TLBs is 0. */
void gm_sim_stats(struct gm_sim *sim, struct gm_sim_stats *stats)
{
	struct gmem_sim_stats s = { .size = sizeof(s) };
	struct gm_sim_stats now = { 0 };

	if (!sim->remote) {
		gm_user_sim_stats(sim, stats);
		return;
	}
	request(sim->fd, GMEM_SIM_IOC_STATS, &s);
	now.accesses = __atomic_load_n(&sim->stats.accesses, __ATOMIC_RELAXED);
	now.faults = s.faults;
	now.fault_batches = s.faults; /* a lane services its own */
	now.copies = s.copies;
	now.tables = s.tables;
	now.stale = s.stale;
	now.addresses = s.addresses;
	gm_sim_stats_out(stats, &now);
}
