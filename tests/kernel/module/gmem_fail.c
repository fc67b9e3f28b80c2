// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes an allocation fail: one of the slab allocator's, of one task.
 *
 * Who writes a number n to /proc/gmem_fail has its n-th allocation from then on fail (0 is the
 * next); a negative one calls it off. Reading says how many are still to come before it,
 * negative once it has failed. What must not fail does not.
 *
 * The kernel's own facility for this is for kernels of developers. So here is a kprobe on each
 * function that allocates: instead of the function it has one called that returns NULL. It is
 * at the function's entry, where the two look alike.
 *
 * Locking: none; one task at a time uses it, and the probes of others pass it by.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>

static struct task_struct *victim;
static int left = -1;

static noinline notrace void *no_memory(void)
{
	return NULL;
}

/* All of these have the flags as their second parameter. */
static int on_alloc(struct kprobe *p, struct pt_regs *regs)
{
	if (READ_ONCE(victim) != current || !in_task() || regs->si & __GFP_NOFAIL || left < 0)
		return 0;
	if (left--)
		return 0;
	instruction_pointer_set(regs, (unsigned long)no_memory);
	return 1;
}

/* That there is one keeps the kernel from turning the probe into a jump, which always returns. */
static void after(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

#define PROBE(function)                                                                            \
	{                                                                                          \
		.symbol_name = #function, .pre_handler = on_alloc, .post_handler = after,          \
	}
static struct kprobe probes[] = {
	PROBE(kmem_cache_alloc), PROBE(kmem_cache_alloc_node),
	PROBE(kmalloc_trace),	 PROBE(kmalloc_node_trace),
	PROBE(__kmalloc),	 PROBE(__kmalloc_node),
};

static ssize_t fail_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	char text[16];

	return simple_read_from_buffer(buf, len, pos, text,
				       scnprintf(text, sizeof(text), "%d\n", left));
}

static ssize_t fail_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	int n, err = kstrtoint_from_user(buf, len, 10, &n);

	if (err)
		return err;
	if (n < 0) {
		WRITE_ONCE(victim, NULL);
	} else {
		left = n;
		WRITE_ONCE(victim, current);
	}
	return len;
}

static const struct proc_ops fail_ops = { .proc_read = fail_read, .proc_write = fail_write };

static int __init fail_init(void)
{
	int i, err;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		err = register_kprobe(&probes[i]);
		if (err)
			goto err_probes;
	}
	err = -ENOMEM;
	if (proc_create("gmem_fail", 0600, NULL, &fail_ops))
		return 0;
err_probes:
	while (i--)
		unregister_kprobe(&probes[i]);
	return err;
}

static void __exit fail_exit(void)
{
	int i;

	remove_proc_entry("gmem_fail", NULL);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		unregister_kprobe(&probes[i]);
}

module_init(fail_init);
module_exit(fail_exit);
MODULE_DESCRIPTION("Makes allocations fail, for gmem's tests");
MODULE_LICENSE("GPL");
