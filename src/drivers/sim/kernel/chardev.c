// SPDX-License-Identifier: GPL-2.0-only
/*
 * The simulated accelerator as a descriptor: for tests, so root's alone unless it says
 * otherwise. A process that has the descriptor may attach address spaces of its own.
 */
#include <linux/capability.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "sim_k.h"

#define BASE (4ULL << 30)
#define PGSIZES (GM_SIM_4K | GM_SIM_64K | GM_SIM_2M) /* by default */

static atomic_t number;

/* -------------------------------------------------------------------- birth and death */

static bool options_ok(const struct gmem_sim_create *c)
{
	return !(c->flags &
		 ~(GMEM_SIM_CHECK | GMEM_SIM_ASYNC | GMEM_SIM_NO_LINK | GMEM_SIM_IN_PLACE |
		   GMEM_SIM_SPARSE | GMEM_SIM_SHARE | GMEM_SIM_READ_PEER | GMEM_SIM_NO_ATOMICS |
		   GMEM_SIM_PEER_OPS | GMEM_SIM_NO_ACCESSED)) &&
	       c->memory <= 1ULL << 36 && !(c->memory % GM_SIM_2M) &&
	       c->table_memory <= 1ULL << 32 && !(c->table_memory % GM_SIM_4K) &&
	       (c->pgsize_bitmap & GM_SIM_BASE_SIZES) && !(c->pgsize_bitmap & ~GM_SIM_ALL_SIZES) &&
	       c->lanes <= 64 && c->tlb_entries <= 4096 &&
	       !(c->tlb_entries & (c->tlb_entries - 1)) && !(c->cpu % GM_SIM_2M) && !c->pad &&
	       (!c->va_bits || (c->va_bits >= 22 && c->va_bits <= 48));
}

static void unmap_memory(struct gm_ksim *sim)
{
	if (!sim->cpu) {
		vfree(sim->mmu.mem);
		return;
	}
	if (sim->mmu.mem)
		memunmap(sim->mmu.mem);
	release_mem_region(sim->cpu, sim->mmu.data + sim->mmu.tables);
	sim->cpu = 0;
}

/* Its memory: anywhere, or at an address that is ours alone. */
static int map_memory(struct gm_ksim *sim, u64 cpu, gfp_t gfp)
{
	u64 len = sim->mmu.data + sim->mmu.tables;

	if (!cpu) {
		sim->mmu.mem = __vmalloc(len, gfp | __GFP_ZERO);
		return sim->mmu.mem ? 0 : -ENOMEM;
	}
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (region_intersects(cpu, len, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) != REGION_DISJOINT)
		return -EINVAL;
	if (!request_mem_region(cpu, len, "gmem_sim"))
		return -EBUSY;
	sim->cpu = cpu;
	sim->mmu.mem = memremap(cpu, len, MEMREMAP_WB);
	if (!sim->mmu.mem)
		return -ENOMEM;
	memset(sim->mmu.mem, 0, len);
	return 0;
}

static void free_memory(struct gm_ksim *sim)
{
	unmap_memory(sim);
	kvfree(sim->mmu.table);
	kvfree(sim->mmu.tlb);
	kvfree(sim->mmu.frame);
	kvfree(sim->tlb_entries);
	memset(&sim->mmu, 0, sizeof(sim->mmu));
	sim->tlb_entries = NULL;
}

static int alloc_memory(struct gm_ksim *sim, const struct gmem_sim_create *c)
{
	struct gm_sim_mmu *mmu = &sim->mmu;
	struct gm_sim_tlb_entry *e;
	gfp_t gfp = GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL;
	unsigned int i, nr;
	int err;

	mmu->base = BASE;
	mmu->data = c->memory;
	mmu->tables = c->table_memory;
	mmu->pgsizes = c->pgsize_bitmap;
	mmu->nr_tlbs = c->lanes;
	nr = gm_sim_nr_sizes(mmu->pgsizes);
	/* However much is asked for: -ENOMEM is enough said. */
	err = map_memory(sim, c->cpu, gfp);
	mmu->table = kvcalloc(mmu->tables / GM_SIM_4K, sizeof(*mmu->table), gfp);
	mmu->tlb = kvcalloc(mmu->nr_tlbs, sizeof(*mmu->tlb), gfp);
	e = kvcalloc((size_t)mmu->nr_tlbs * nr * c->tlb_entries, sizeof(*e), gfp);
	sim->tlb_entries = e;
	if (c->flags & GMEM_SIM_CHECK)
		mmu->frame = kvcalloc(mmu->data / GM_SIM_4K, sizeof(*mmu->frame), gfp);
	if (!err &&
	    (!mmu->table || !mmu->tlb || !e || ((c->flags & GMEM_SIM_CHECK) && !mmu->frame)))
		err = -ENOMEM;
	if (err) {
		free_memory(sim);
		return err;
	}
	for (i = 0; i < mmu->nr_tlbs; i++)
		gm_sim_tlb_init(&mmu->tlb[i], mmu->pgsizes, e + (size_t)i * nr * c->tlb_entries,
				c->tlb_entries);
	gm_sim_mmu_init(mmu);
	return 0;
}

static long sim_create(struct gm_ksim *sim, void *arg)
{
	struct gmem_sim_create *c = arg;
	int err, hnode;

	c->memory = c->memory ?: 16 << 20;
	c->table_memory = c->table_memory ?: max_t(u64, c->memory / 64, 256 << 10);
	c->table_memory = round_up(c->table_memory, GM_SIM_4K);
	c->pgsize_bitmap = c->pgsize_bitmap ?: PGSIZES;
	c->lanes = c->lanes ?: 4;
	c->tlb_entries = c->tlb_entries ?: 64;
	if (!options_ok(c))
		return -EINVAL;
	if (sim->dev)
		return -EBUSY;
	err = alloc_memory(sim, c);
	if (err)
		return err;
	sim->flags = c->flags;
	sim->va_bits = c->va_bits ?: 48;
	sim->mode = c->flags & GMEM_SIM_IN_PLACE ? GM_REPLICATE
		    : c->flags & GMEM_SIM_SHARE	 ? GM_SHARE
						 : GM_EXCLUSIVE;
	snprintf(sim->name, sizeof(sim->name), "sim%d", atomic_inc_return(&number));
	hnode = gm_ksim_probe(sim);
	if (hnode < 0)
		free_memory(sim);
	return hnode;
}

static int sim_open(struct inode *inode, struct file *file)
{
	struct gm_ksim *sim = kzalloc(sizeof(*sim), GFP_KERNEL);

	if (!sim)
		return -ENOMEM;
	init_rwsem(&sim->life);
	spin_lock_init(&sim->inject_lock);
	sim->file = file;
	file->private_data = sim;
	return 0;
}

/* What devices hold comes home; for want of memory that may take a while. */
static int unplug(struct gm_ksim *sim)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < GM_KSIM_CTXS && !err; i++) {
		err = sim->ctx[i] ? gm_ksim_detach(sim->ctx[i]) : 0;
		if (!err)
			sim->ctx[i] = NULL;
	}
	return err || !sim->dev ? err : gm_ksim_remove(sim, false);
}

static int sim_release(struct inode *inode, struct file *file)
{
	struct gm_ksim *sim = file->private_data;
	unsigned int op, tries = 0;
	int err;

	for (op = 0; op < GMEM_SIM_NR_OPS; op++)
		gm_ksim_inject(sim, op, 0, 0, 0);
	while ((err = unplug(sim))) {
		if (++tries == 1000) {
			pr_err("gmem: %s: cannot bring its memory home: %d\n", sim->name, err);
			__module_get(THIS_MODULE); /* it is lost, and so are we */
			return 0;
		}
		msleep(10);
	}
	free_memory(sim);
	kfree(sim);
	return 0;
}

/* -------------------------------------------------------------------------- requests */

static long sim_tune(struct gm_ksim *sim, void *arg)
{
	const struct gmem_sim_tune *t = arg;
	struct gm_dev_tunables to = {
		.size = sizeof(to),
		.low = t->low,
		.high = t->high,
		.granule = t->granule,
		.no_grow = t->no_grow,
		.no_background = t->no_background,
		.no_thrash = t->no_thrash,
	};

	return gm_dev_tune(sim->dev, &to);
}

static long sim_attach(struct gm_ksim *sim, void *arg)
{
	const struct gmem_sim_attach *a = arg;
	unsigned int i;
	int err;

	for (i = 0; i < GM_KSIM_CTXS && sim->ctx[i]; i++)
		;
	if (i == GM_KSIM_CTXS)
		return -ENOSPC;
	err = gm_ksim_attach(sim, a->as, &sim->ctx[i]);
	return err ? err : (long)i;
}

static long sim_detach(struct gm_ksim *sim, void *arg)
{
	const struct gmem_sim_detach *d = arg;
	int err;

	if (d->ctx >= GM_KSIM_CTXS || !sim->ctx[d->ctx])
		return -EINVAL;
	err = gm_ksim_detach(sim->ctx[d->ctx]);
	if (!err)
		sim->ctx[d->ctx] = NULL;
	return err;
}

static long sim_occupy(struct gm_ksim *sim, void *arg)
{
	const struct gmem_sim_occupy *o = arg;

	if (o->on > 1 || !o->len || o->va + o->len < o->va)
		return -EINVAL;
	return gm_ksim_occupy(sim, o->va, o->len, o->on);
}

static long sim_inject(struct gm_ksim *sim, void *arg)
{
	const struct gmem_sim_inject *in = arg;

	if (in->op >= GMEM_SIM_NR_OPS || in->pad || in->err >= MAX_ERRNO || (in->count && !in->err))
		return -EINVAL;
	gm_ksim_inject(sim, in->op, in->skip, in->count, -(int)in->err);
	return 0;
}

static long sim_lookup(struct gm_ksim *sim, void *arg)
{
	struct gmem_sim_lookup *l = arg;
	struct gm_lookup at = { .size = sizeof(at) };
	int err = -EINVAL;

	if (l->ctx < GM_KSIM_CTXS && sim->ctx[l->ctx])
		err = gm_as_lookup(gm_context_as(sim->ctx[l->ctx]->gm), l->va, &at);
	l->node = at.node;
	l->flags = at.flags;
	l->pa = at.pa;
	l->cpu = at.cpu;
	l->len = at.len;
	return err;
}

static long sim_window(struct gm_ksim *sim, void *arg)
{
	const struct gmem_sim_window *w = arg;
	struct gm_window win = { .va = w->va, .len = w->len, .dev_va = w->dev_va };
	struct gm_context *ctx;

	if (w->ctx >= GM_KSIM_CTXS || !sim->ctx[w->ctx])
		return -EINVAL;
	ctx = sim->ctx[w->ctx]->gm;
	switch (w->op) {
	case GMEM_SIM_WINDOW_ADD:
		return gm_window_add(ctx, &win, 1);
	case GMEM_SIM_WINDOW_REMOVE:
		return gm_window_remove(ctx, &win, 1);
	case GMEM_SIM_WINDOW_MODE:
		return gm_context_set_mode(ctx, w->va, w->len, w->mode);
	}
	return -EINVAL;
}

static long sim_poison(struct gm_ksim *sim, void *arg)
{
	const struct gmem_sim_poison *p = arg;

	return p->pad ? -EINVAL : gm_dev_poison(sim->dev, p->pa);
}

static long sim_remove(struct gm_ksim *sim, void *arg)
{
	const struct gmem_sim_remove *r = arg;

	if (r->pad)
		return -EINVAL;
	gm_sim_mmu_stop(&sim->mmu); /* no lane gets at memory any more */
	return gm_ksim_remove(sim, true);
}

static long sim_stats(struct gm_ksim *sim, void *arg)
{
	struct gmem_sim_stats *to = arg;
	struct gm_stats stats = { .size = sizeof(stats) };

	gm_dev_stats(sim->dev, &stats);
	to->tables = READ_ONCE(sim->mmu.used);
	to->faults = atomic64_read(&sim->faults);
	to->copies = atomic64_read(&sim->copies);
	to->stale = atomic64_read(&sim->stale);
	to->addresses = atomic64_read(&sim->addresses);
	to->bytes_to_dev = stats.bytes_to_dev;
	to->bytes_to_host = stats.bytes_to_host;
	to->evictions = stats.evictions;
	return 0;
}

/* User memory is touched with nothing held. */
static long sim_access(struct gm_ksim *sim, struct gmem_sim_access *a)
{
	void __user *user = u64_to_user_ptr(a->buf);
	u64 left = a->len, n, operands = a->op == GMEM_SIM_CAS64 ? 8 : 0;
	int err = 0;
	void *buf;

	if (a->op > GMEM_SIM_CAS64 || !left || a->va + left < a->va ||
	    (a->op >= GMEM_SIM_ADD64 && (left != 8 || a->va % 8)))
		return -EINVAL;
	buf = (void *)__get_free_page(GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	for (; left && !err; left -= n, a->va += n, user += n) {
		/* Page by page of the memory: what is read before one that fails is handed over. */
		n = min_t(u64, left, PAGE_SIZE - (a->va & ~PAGE_MASK));
		if (a->op != GMEM_SIM_READ && copy_from_user(buf, user, n + operands)) {
			err = -EFAULT;
			break;
		}
		down_read(&sim->life);
		if (!sim->dev)
			err = -ENODEV;
		else if (a->ctx >= GM_KSIM_CTXS || !sim->ctx[a->ctx] || a->lane >= sim->mmu.nr_tlbs)
			err = -EINVAL;
		else
			err = gm_ksim_access(sim->ctx[a->ctx], a->lane, a->op, a->va, buf, n);
		up_read(&sim->life);
		if (!err && a->op != GMEM_SIM_WRITE && copy_to_user(user, buf, n))
			err = -EFAULT;
	}
	free_page((unsigned long)buf);
	return err;
}

static const struct {
	u32 cmd, size;
	long (*fn)(struct gm_ksim *sim, void *arg);
} requests[] = {
	{ GMEM_SIM_IOC_CREATE, sizeof(struct gmem_sim_create), sim_create },
	{ GMEM_SIM_IOC_TUNE, sizeof(struct gmem_sim_tune), sim_tune },
	{ GMEM_SIM_IOC_ATTACH, sizeof(struct gmem_sim_attach), sim_attach },
	{ GMEM_SIM_IOC_DETACH, sizeof(struct gmem_sim_detach), sim_detach },
	{ GMEM_SIM_IOC_ACCESS, sizeof(struct gmem_sim_access), NULL },
	{ GMEM_SIM_IOC_INJECT, sizeof(struct gmem_sim_inject), sim_inject },
	{ GMEM_SIM_IOC_STATS, sizeof(struct gmem_sim_stats), sim_stats },
	{ GMEM_SIM_IOC_LOOKUP, sizeof(struct gmem_sim_lookup), sim_lookup },
	{ GMEM_SIM_IOC_POISON, sizeof(struct gmem_sim_poison), sim_poison },
	{ GMEM_SIM_IOC_WINDOW, sizeof(struct gmem_sim_window), sim_window },
	{ GMEM_SIM_IOC_REMOVE, sizeof(struct gmem_sim_remove), sim_remove },
	{ GMEM_SIM_IOC_OCCUPY, sizeof(struct gmem_sim_occupy), sim_occupy },
};

static long sim_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	struct gm_ksim *sim = file->private_data;
	u8 arg[64] __aligned(8);
	unsigned int i;
	u32 size;
	long ret;

	for (i = 0; i < ARRAY_SIZE(requests) && requests[i].cmd != cmd; i++)
		;
	if (i == ARRAY_SIZE(requests))
		return -ENOTTY;
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < requests[i].size)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(arg, requests[i].size, (void __user *)user, size);
	if (ret)
		return ret;
	if (cmd == GMEM_SIM_IOC_ACCESS)
		return sim_access(sim, (struct gmem_sim_access *)arg);
	/* To be pulled out is the one thing that waits for nobody. */
	if (cmd == GMEM_SIM_IOC_REMOVE)
		down_read(&sim->life);
	else
		down_write(&sim->life);
	ret = sim->dev || cmd == GMEM_SIM_IOC_CREATE ? requests[i].fn(sim, arg) : -ENODEV;
	if (cmd == GMEM_SIM_IOC_REMOVE)
		up_read(&sim->life);
	else
		up_write(&sim->life);
	if (!ret && (_IOC_DIR(cmd) & _IOC_READ) &&
	    copy_to_user((void __user *)user + 4, arg + 4, requests[i].size - 4))
		ret = -EFAULT;
	return ret;
}

static const struct file_operations sim_fops = {
	.owner = THIS_MODULE,
	.open = sim_open,
	.release = sim_release,
	.unlocked_ioctl = sim_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "gmem_sim",
	.fops = &sim_fops,
	.mode = 0600,
};

static int __init sim_init(void)
{
	int err = gm_ksim_engine_init();

	if (err)
		return err;
	err = misc_register(&misc);
	if (err)
		gm_ksim_engine_exit();
	return err;
}

static void __exit sim_exit(void)
{
	misc_deregister(&misc);
	gm_ksim_engine_exit();
}

module_init(sim_init);
module_exit(sim_exit);
MODULE_DESCRIPTION("gmem's reference accelerator");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
