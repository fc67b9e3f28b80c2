// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/gmem/hnodes: every device, its memory and its counters. in_place: bytes
 * of host memory that are held, for devices map them in place.
 *
 * Locking: the core's; a device that goes in between is not shown.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "kernel.h"

static struct dentry *dir;

static void show_hnode(struct seq_file *m, int hnode)
{
	struct gm_hnode_info info = { .size = sizeof(info) };
	struct gm_stats s = { .size = sizeof(s) };
	char name[GM_DEV_NAME];

	if (gm_hnode_info(hnode, &info) || gm_hnode_stats(hnode, name, &s))
		return;
	seq_printf(m, "hnode %d %.*s\n", hnode, (int)sizeof(name), name);
	seq_printf(m,
		   "  total %llu free %llu active %llu pinned %llu blocks %llu metadata %llu "
		   "poisoned %llu\n",
		   info.total, info.free, info.total - info.free, info.pinned, info.blocks,
		   info.metadata, info.poisoned);
	seq_printf(m, "  faults %llu moved %llu mapped %llu failed %llu\n", s.dev_faults,
		   s.dev_faults_moved, s.dev_faults_map, s.fault_errors);
	seq_printf(m,
		   "  pages in %llu zeroed %llu out %llu evicted %llu prefetched %llu peer %llu "
		   "replicated %llu\n",
		   s.pages_to_dev, s.pages_zeroed, s.pages_to_host, s.pages_evicted,
		   s.pages_prefetched, s.pages_peer, s.pages_replicated);
	seq_printf(m, "  evictions %llu direct %llu cancelled %llu tlb ranges %llu calls %llu\n",
		   s.evictions, s.evictions_direct, s.evictions_cancelled, s.tlb_ranges,
		   s.tlb_invls);
}

static int hnodes_show(struct seq_file *m, void *unused)
{
	int first = gm_os_numa_nodes(), i;

	for (i = first; i < first + GM_KDEVS; i++)
		show_hnode(m, i);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(hnodes);

static int in_place_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "%llu\n", gm_in_place_pages() << PAGE_SHIFT);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(in_place);

/* A kernel without debugfs does without. */
void gm_debugfs_init(void)
{
	dir = debugfs_create_dir("gmem", NULL);
	debugfs_create_file("hnodes", 0400, dir, NULL, &hnodes_fops);
	debugfs_create_file("in_place", 0400, dir, NULL, &in_place_fops);
}

void gm_debugfs_exit(void)
{
	debugfs_remove(dir);
}
