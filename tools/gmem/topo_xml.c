// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The topology in hwloc's own XML, which lstopo(1) draws and every program that uses hwloc
 * reads: the machine as hwloc sees it, and in it a NUMANode of subtype "hnode" for each
 * device's memory, and two matrices of distances.
 *
 * hwloc has no call that adds a NUMA node. It reads them from XML, though; so the machine is
 * exported, the hnodes are written into it before the end of the outermost object, and the
 * whole is loaded again, which checks it. Nodes that no process was ever allowed to use hwloc
 * leaves out: so hnodes are allowed, explicitly.
 *
 * The host is the Machine in the matrices, for its memory is one to gmem, wherever it is.
 */
#include <stdlib.h>
#include <string.h>

#include "topo.h"
#include "util.h"

#define MIB (1024.0 * 1024.0)
#define OBJECT_END "</object>"

/* gp_index is a number that no two objects have. */
static unsigned long long highest_gp_index(const char *xml)
{
	static const char name[] = "gp_index=\"";
	unsigned long long v, max = 0;

	while ((xml = strstr(xml, name))) {
		xml += sizeof(name) - 1;
		v = strtoull(xml, NULL, 10);
		if (v > max)
			max = v;
	}
	return max;
}

static void write_hnode(const struct topo_hnode *h, const char *host, unsigned long long gp_index,
			FILE *f)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	char *bits = NULL;

	if (!set || hwloc_bitmap_set(set, (unsigned int)h->id) ||
	    hwloc_bitmap_asprintf(&bits, set) < 0)
		exit(fail(RUN_FAILED, "out of memory (a set of nodes)"));
	fprintf(f,
		"<object type=\"NUMANode\" subtype=\"hnode\" os_index=\"%d\" gp_index=\"%llu\" "
		"cpuset=\"0x0\" complete_cpuset=\"0x0\" nodeset=\"%s\" complete_nodeset=\"%s\" "
		"local_memory=\"%llu\"",
		h->id, gp_index, bits, bits, (unsigned long long)h->total);
	if (h->sim)
		fprintf(f, " name=\"%s\"", h->name);
	fprintf(f, "><info name=\"GmemHost\" value=\"%s\"/>", host);
	if (h->sim)
		fprintf(f,
			"<info name=\"GmemDevice\" value=\"%s\"/>"
			"<info name=\"GmemLanes\" value=\"%u\"/>",
			h->name, gm_sim_lanes(h->sim));
	fprintf(f, "<info name=\"GmemFreeMemory\" value=\"%llu\"/>" OBJECT_END,
		(unsigned long long)h->free);
	free(bits);
	hwloc_bitmap_free(set);
}

/* The one with the lowest id above @id: hwloc has nodes in the order of theirs. */
static const struct topo_hnode *next_hnode(const struct topo *t, int id)
{
	const struct topo_hnode *h, *next = NULL;

	for (h = t->hnodes; h < t->hnodes + t->nr; h++)
		if (h->id > id && (!next || h->id < next->id))
			next = h;
	return next;
}

/* The machine with hnodes in it, as text to be freed; NULL: hwloc does not write what it should. */
static char *compose(const struct topo *t)
{
	unsigned long long gp_index;
	char *xml, *end, *next, *out = NULL;
	const struct topo_hnode *h;
	size_t size;
	FILE *f;
	int len;

	if (hwloc_topology_export_xmlbuffer(t->machine, &xml, &len, 0))
		return NULL;
	end = strstr(xml, OBJECT_END);
	while (end && (next = strstr(end + 1, OBJECT_END)))
		end = next;
	f = end ? open_memstream(&out, &size) : NULL;
	if (f) {
		gp_index = highest_gp_index(xml);
		fwrite(xml, 1, (size_t)(end - xml), f);
		for (h = next_hnode(t, -1); h; h = next_hnode(t, h->id))
			write_hnode(h, t->host, ++gp_index, f);
		fputs(end, f);
		if (fclose(f)) {
			free(out);
			out = NULL;
		}
	}
	hwloc_free_xmlbuffer(t->machine, xml);
	return out;
}

/* The NUMANode of an hnode. */
static hwloc_obj_t find_hnode(hwloc_topology_t topology, int id)
{
	return hwloc_get_numanode_obj_by_os_index(topology, (unsigned int)id);
}

static int allow_hnodes(const struct topo *t, hwloc_topology_t full)
{
	hwloc_bitmap_t allowed = hwloc_bitmap_dup(hwloc_topology_get_allowed_nodeset(full));
	unsigned int i;
	int err = allowed ? 0 : -1;

	for (i = 0; !err && i < t->nr; i++)
		err = find_hnode(full, t->hnodes[i].id)
			      ? hwloc_bitmap_set(allowed, (unsigned int)t->hnodes[i].id)
			      : -1;
	if (!err)
		err = hwloc_topology_allow(full, NULL, allowed, HWLOC_ALLOW_FLAG_CUSTOM);
	hwloc_bitmap_free(allowed);
	return err;
}

/* Of all pairs that were measured one figure; a 0 stands for those that were not. */
static int add_matrix(const struct topo *t, hwloc_topology_t full, const char *name,
		      unsigned long kind, bool bandwidth)
{
	unsigned int n = t->nr + 1, i, j;
	hwloc_uint64_t *values = xrealloc(NULL, (size_t)n * n, sizeof(*values));
	hwloc_obj_t *objs = xrealloc(NULL, n, sizeof(*objs));
	hwloc_distances_add_handle_t handle;
	int err = -1;

	for (i = 0; i < n; i++) {
		objs[i] = i ? find_hnode(full, topo_place(t, i)) : hwloc_get_root_obj(full);
		for (j = 0; j < n; j++)
			values[i * n + j] =
				(hwloc_uint64_t)(bandwidth ? t->links[i][j].bandwidth / MIB
							   : t->links[i][j].latency * 1e9);
	}
	handle = hwloc_distances_add_create(full, name, HWLOC_DISTANCES_KIND_FROM_USER | kind, 0);
	if (handle && !hwloc_distances_add_values(full, handle, n, objs, values, 0))
		err = hwloc_distances_add_commit(full, handle, 0);
	free(values);
	free(objs);
	return err;
}

static int load(const struct topo *t, const char *xml, hwloc_topology_t full)
{
	if (hwloc_topology_set_io_types_filter(full, HWLOC_TYPE_FILTER_KEEP_IMPORTANT) ||
	    hwloc_topology_set_flags(full, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) ||
	    hwloc_topology_set_xmlbuffer(full, xml, (int)strlen(xml) + 1) ||
	    hwloc_topology_load(full) || allow_hnodes(t, full))
		return -1;
	if (!t->measured)
		return 0;
	if (add_matrix(t, full, "GmemBandwidth", HWLOC_DISTANCES_KIND_MEANS_BANDWIDTH, true))
		return -1;
	return add_matrix(t, full, "GmemLatency", HWLOC_DISTANCES_KIND_MEANS_LATENCY, false);
}

/* As where the environment has hwloc imagine a machine. */
static int check_ids(const struct topo *t)
{
	unsigned int i;

	for (i = 0; i < t->nr; i++)
		if (find_hnode(t->machine, t->hnodes[i].id))
			return fail(RUN_FAILED,
				    "hwloc has a node %d of its own, and so has gmem: unset "
				    "HWLOC_SYNTHETIC and HWLOC_XMLFILE",
				    t->hnodes[i].id);
	return RUN_OK;
}

int topo_print_xml(const struct topo *t, FILE *out)
{
	hwloc_topology_t full = NULL;
	int len, err = check_ids(t);
	char *xml, *buf;

	if (err)
		return err;
	xml = compose(t);
	if (!xml || hwloc_topology_init(&full) || load(t, xml, full) ||
	    hwloc_topology_export_xmlbuffer(full, &buf, &len, 0)) {
		err = fail(RUN_FAILED, "hwloc cannot write the topology; gmem topo prints it "
				       "without --xml");
	} else {
		if (fputs(buf, out) == EOF || fflush(out))
			err = fail(RUN_FAILED, "cannot write the result");
		hwloc_free_xmlbuffer(full, buf);
	}
	if (full)
		hwloc_topology_destroy(full);
	free(xml);
	return err;
}
