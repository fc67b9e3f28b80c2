// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A driver in the kernel: ../driver as a module.
 *
 * The device's memory is an array. Its addresses have 30 bits, its page table is a flat array with
 * a word for each page of them. It has no TLB, so every access looks there. Each open file is a
 * device: it is created when the file is opened, and destroyed when it is closed.
 *
 * Locking: an access holds the table's lock for reading while it looks, and while it loads or
 * stores. Changing the table takes it for writing, and so waits for accesses that are under way:
 * what tlb_invl promises pmap_release has done. No lock of it is held over gm_dev_fault(). The
 * requests of a file come one after another, by adder.lock, which no function of the table takes.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <gmem/kernel.h>
#include "adder.h"

#define VA_BITS 30
#define PAGES ((1ULL << VA_BITS) / GM_PAGE_SIZE)
#define BASE GM_BLOCK_SIZE /* physical address of the memory; any that is not 0 */
#define MEMORY (4ULL << 20)

struct adder {
	struct mutex lock; /* over ctx */
	struct gm_dev *dev;
	struct gm_context *ctx;
	u8 *memory;
};

struct table {
	struct rw_semaphore lock;
	u64 page[PAGES]; /* physical address | GM_READ | GM_WRITE; 0: nothing */
};

/* ------------------------------------------------------------ what gmem asks of it */

static int pmap_create(struct gm_dev *dev, void **pmap)
{
	struct table *t = vzalloc(sizeof(*t));

	if (!t)
		return -ENOMEM;
	init_rwsem(&t->lock);
	*pmap = t;
	return 0;
}

static void pmap_destroy(struct gm_dev *dev, void *pmap)
{
	vfree(pmap);
}

static int pmap_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
		      uint32_t prot)
{
	struct table *t = pmap;
	u64 at;

	down_write(&t->lock);
	for (at = 0; at < size; at += GM_PAGE_SIZE)
		t->page[(va + at) / GM_PAGE_SIZE] = (pa + at) | prot;
	up_write(&t->lock);
	return 0;
}

static int pmap_release(void *pmap, uint64_t va, uint64_t size)
{
	struct table *t = pmap;

	down_write(&t->lock);
	memset(&t->page[va / GM_PAGE_SIZE], 0, size / GM_PAGE_SIZE * sizeof(t->page[0]));
	up_write(&t->lock);
	return 0;
}

static int tlb_invl(void *pmap, uint64_t va, uint64_t size)
{
	return 0;
}

/* A driver of hardware would map gm_host_page(ext[i].host) for its struct device, and start DMA. */
static int copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		unsigned int n, struct gm_fence *fence)
{
	const struct adder *adder = gm_dev_data(dev);
	unsigned int i;

	for (i = 0; i < n; i++) {
		void *mine = adder->memory + (ext[i].pa - BASE), *host = gm_host_ptr(ext[i].host);

		memcpy(dir == GM_TO_DEV ? mine : host, dir == GM_TO_DEV ? host : mine, ext[i].len);
	}
	gm_fence_signal(fence, 0);
	return 0;
}

static int zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		struct gm_fence *fence)
{
	const struct adder *adder = gm_dev_data(dev);
	unsigned int i;

	for (i = 0; i < n; i++)
		memset(adder->memory + (ext[i].pa - BASE), 0, ext[i].len);
	gm_fence_signal(fence, 0);
	return 0;
}

static const struct gm_mmu adder_mmu = {
	.size = sizeof(struct gm_mmu),
	.pgsize_bitmap = GM_PAGE_SIZE,
	.va_bits = VA_BITS,
	.pmap_create = pmap_create,
	.pmap_destroy = pmap_destroy,
	.pmap_enter = pmap_enter,
	.pmap_release = pmap_release,
	.tlb_invl = tlb_invl,
	.copy = copy,
	.zero = zero,
};

/* ---------------------------------------------------------------- what it asks of gmem */

static int adder_open(struct inode *inode, struct file *file)
{
	struct adder *adder = kzalloc(sizeof(*adder), GFP_KERNEL);
	int err = -ENOMEM;

	if (!adder)
		return -ENOMEM;
	mutex_init(&adder->lock);
	adder->memory = vmalloc(MEMORY);
	if (!adder->memory)
		goto err_adder;
	err = gm_dev_create(&adder_mmu, "adder", adder, &adder->dev);
	if (err)
		goto err_memory;
	err = gm_dev_register_physmem(adder->dev, BASE, BASE + MEMORY);
	if (err)
		goto err_dev;
	file->private_data = adder;
	return 0;

err_dev:
	gm_dev_destroy(adder->dev);
err_memory:
	vfree(adder->memory);
err_adder:
	kfree(adder);
	return err;
}

/* What it holds comes home. Where that fails it is lost to us, and the module stays, held by gmem. */
static int adder_release(struct inode *inode, struct file *file)
{
	struct adder *adder = file->private_data;
	int err = adder->ctx ? gm_as_detach(adder->ctx) : 0;

	if (!err)
		err = gm_dev_destroy(adder->dev);
	if (err) {
		pr_err("adder: its memory cannot be brought home: %d\n", err);
		return 0;
	}
	vfree(adder->memory);
	kfree(adder);
	return 0;
}

static int adder_attach(struct adder *adder, const struct adder_attach *a)
{
	struct gm_window window = { .va = a->va, .len = a->len, .dev_va = 0 };
	struct gm_context *ctx;
	struct gm_as *as;
	int err;

	if (adder->ctx)
		return -EBUSY;
	err = gm_as_from_fd(a->as, &as);
	if (err)
		return err;
	err = gm_as_attach_sparse(as, adder->dev, GM_EXCLUSIVE, &ctx);
	gm_as_release(as);
	if (err)
		return err;
	err = gm_window_add(ctx, &window, 1);
	/* A context that cannot even be detached is detached when the file is closed. */
	if (!err || gm_as_detach(ctx))
		adder->ctx = ctx;
	return err;
}

/* One access of the hardware; false: it faults. */
static bool access_once(const struct adder *adder, struct table *t, u64 va, u64 *value, u32 access)
{
	u64 entry, *word;

	down_read(&t->lock);
	entry = t->page[va / GM_PAGE_SIZE];
	if (entry & access) {
		word = (u64 *)(adder->memory + (entry & ~(GM_PAGE_SIZE - 1)) - BASE +
			       va % GM_PAGE_SIZE);
		if (access == GM_WRITE)
			*word = *value;
		else
			*value = *word;
	}
	up_read(&t->lock);
	return entry & access;
}

static int access_word(const struct adder *adder, u64 va, u64 *value, u32 access)
{
	while (!access_once(adder, gm_context_pmap(adder->ctx), va, value, access)) {
		int err = gm_dev_fault(adder->ctx, va, access);

		if (err)
			return err;
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

static int adder_run(struct adder *adder, u64 n)
{
	u64 sum = 0, value, i;
	int err = 0;

	if (!adder->ctx || n >= (1ULL << VA_BITS) / sizeof(value))
		return -EINVAL;
	for (i = 0; i < n && !err; i++) {
		err = access_word(adder, i * sizeof(value), &value, GM_READ);
		sum += err ? 0 : value;
		cond_resched();
	}
	return err ? err : access_word(adder, n * sizeof(value), &sum, GM_WRITE);
}

static long adder_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	struct adder *adder = file->private_data;
	struct adder_attach a;
	u64 n;
	int err = -ENOTTY;

	if (cmd == ADDER_ATTACH && copy_from_user(&a, (void __user *)user, sizeof(a)))
		return -EFAULT;
	if (cmd == ADDER_RUN && copy_from_user(&n, (void __user *)user, sizeof(n)))
		return -EFAULT;
	if (mutex_lock_killable(&adder->lock))
		return -EINTR;
	if (cmd == ADDER_ATTACH)
		err = adder_attach(adder, &a);
	else if (cmd == ADDER_RUN)
		err = adder_run(adder, n);
	mutex_unlock(&adder->lock);
	return err;
}

static const struct file_operations adder_fops = {
	.owner = THIS_MODULE,
	.open = adder_open,
	.release = adder_release,
	.unlocked_ioctl = adder_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice adder_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "adder",
	.fops = &adder_fops,
};
module_misc_device(adder_misc);
MODULE_DESCRIPTION("an example of a driver on gmem");
MODULE_LICENSE("Dual MIT/GPL");
