// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's beginning and end.
 *
 * Descriptors, mappings (by their file's operations) and drivers (by the symbols they
 * use) hold the module; when it goes there is no object, address space or device left.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/shrinker.h>

#include "kernel.h"

#ifdef GM_DEBUG
static unsigned int fault_delay;
module_param(fault_delay, uint, 0600);
MODULE_PARM_DESC(fault_delay, "microseconds that a CPU fault loses where it can be overtaken");

void gm_test_delay(void)
{
	unsigned int us = READ_ONCE(fault_delay);

	if (us)
		usleep_range(us, us + 50);
}
#endif

static void trim(struct gm_os_work *work)
{
	gm_memory_low();
}

static struct gm_os_work trim_work = { .fn = trim };

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	return gm_retained_bytes() >> PAGE_SHIFT;
}

/* Whoever is short of memory may hold locks of the core's: others do it. */
static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	gm_os_work_schedule(&trim_work);
	return SHRINK_STOP;
}

static struct shrinker shrinker = {
	.count_objects = shrink_count,
	.scan_objects = shrink_scan,
	.seeks = DEFAULT_SEEKS,
};

static int __init gmem_init(void)
{
	int err;

	err = gm_work_init();
	if (err)
		return err;
	err = gm_task_init();
	if (err)
		goto err_work;
	err = gm_backing_init();
	if (err)
		goto err_task;
	err = gm_core_init();
	if (err)
		goto err_backing;
	err = register_shrinker(&shrinker, "gmem");
	if (err)
		goto err_core;
	err = gm_chardev_init();
	if (err)
		goto err_shrinker;
	gm_debugfs_init();
	return 0;

err_shrinker:
	unregister_shrinker(&shrinker);
err_core:
	gm_core_exit();
err_backing:
	gm_backing_exit();
err_task:
	gm_task_exit();
err_work:
	gm_work_exit();
	return err;
}

static void __exit gmem_exit(void)
{
	gm_debugfs_exit();
	gm_chardev_exit();
	unregister_shrinker(&shrinker);
	gm_os_work_cancel(&trim_work);
	gm_core_exit();
	gm_backing_exit();
	gm_task_exit();
	gm_work_exit();
}

module_init(gmem_init);
module_exit(gmem_exit);
MODULE_DESCRIPTION("One coherent virtual address space over the CPU and external-memory devices");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
