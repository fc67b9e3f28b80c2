// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The topology for people, in the words and the order of `numactl -H`, and for programs.
 *
 * Sizes are MiB (numactl writes MB, and means the same).
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "topo.h"
#include "util.h"

#define MIB (1024.0 * 1024.0)

bool topo_node_free(hwloc_obj_t node, uint64_t *bytes)
{
	char path[96], line[128];
	unsigned long long kib;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", node->os_index);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "Node %*u MemFree: %llu kB", &kib) == 1;
	fclose(f);
	if (found)
		*bytes = (uint64_t)kib << 10;
	return found;
}

static void print_nodes(const struct topo *t, FILE *out)
{
	uint64_t unused;
	hwloc_obj_t node = NULL;
	int cpu;

	fprintf(out, "available: %d nodes, %u hnodes\n",
		hwloc_get_nbobjs_by_type(t->machine, HWLOC_OBJ_NUMANODE), t->nr);
	while ((node = hwloc_get_next_obj_by_type(t->machine, HWLOC_OBJ_NUMANODE, node))) {
		fprintf(out, "node %u cpus:", node->os_index);
		for (cpu = hwloc_bitmap_first(node->cpuset); cpu >= 0;
		     cpu = hwloc_bitmap_next(node->cpuset, cpu))
			fprintf(out, " %d", cpu);
		fprintf(out, "\nnode %u size: %.0f MiB\n", node->os_index,
			(double)node->attr->numanode.local_memory / MIB);
		if (topo_node_free(node, &unused))
			fprintf(out, "node %u free: %.0f MiB\n", node->os_index,
				(double)unused / MIB);
	}
}

static void print_hnodes(const struct topo *t, FILE *out)
{
	const struct topo_hnode *h;

	for (h = t->hnodes; h < t->hnodes + t->nr; h++) {
		if (h->sim)
			fprintf(out, "hnode %d device: %s, %u lanes\n", h->id, h->name,
				gm_sim_lanes(h->sim));
		else
			fprintf(out, "hnode %d device: another program's, or hardware\n", h->id);
		fprintf(out, "hnode %d size: %.0f MiB\n", h->id, (double)h->total / MIB);
		fprintf(out, "hnode %d free: %.0f MiB\n", h->id, (double)h->free / MIB);
	}
}

/* One figure of every link: rows are where it comes from, columns where it goes. */
static void print_matrix(const struct topo *t, FILE *out,
			 double (*figure)(const struct topo_link *), int digits)
{
	unsigned int i, j;

	fprintf(out, "node ");
	for (j = 0; j <= t->nr; j++) {
		if (j)
			fprintf(out, " %8d", topo_place(t, j));
		else
			fprintf(out, " %8s", "host");
	}
	fputc('\n', out);
	for (i = 0; i <= t->nr; i++) {
		if (i)
			fprintf(out, "%4d:", topo_place(t, i));
		else
			fprintf(out, "%4s:", "host");
		for (j = 0; j <= t->nr; j++) {
			if (t->links[i][j].bandwidth > 0)
				fprintf(out, " %8.*f", digits, figure(&t->links[i][j]));
			else
				fprintf(out, " %8s", "-");
		}
		fputc('\n', out);
	}
}

static double mib_per_s(const struct topo_link *link)
{
	return link->bandwidth / MIB;
}

static double microseconds(const struct topo_link *link)
{
	return link->latency * 1e6;
}

int topo_print(const struct topo *t, FILE *out)
{
	fprintf(out, "host: %s\n", t->host);
	print_nodes(t, out);
	print_hnodes(t, out);
	if (t->measured) {
		fprintf(out, "bandwidth, row to column, MiB/s (%s are moved, best of %llu):\n",
			size_text(t->size).s, (unsigned long long)t->repeat);
		print_matrix(t, out, mib_per_s, 0);
		fprintf(out, "latency, row to column, us (a page is moved, median):\n");
		print_matrix(t, out, microseconds, 1);
	}
	return fflush(out) || ferror(out) ? -1 : 0;
}

/* ----------------------------------------------------------------------- for programs */

static json_t *nodes_json(const struct topo *t)
{
	json_t *nodes = json_array(), *object;
	hwloc_obj_t node = NULL;
	uint64_t unused;
	char *cpus;

	while ((node = hwloc_get_next_obj_by_type(t->machine, HWLOC_OBJ_NUMANODE, node))) {
		if (hwloc_bitmap_list_asprintf(&cpus, node->cpuset) < 0)
			break;
		object = json_pack("{s:i, s:s, s:I}", "node", (int)node->os_index, "cpus", cpus,
				   "size", (json_int_t)node->attr->numanode.local_memory);
		if (topo_node_free(node, &unused))
			json_object_set_new(object, "free", json_integer((json_int_t)unused));
		json_array_append_new(nodes, object);
		free(cpus);
	}
	return nodes;
}

static json_t *hnodes_json(const struct topo *t)
{
	json_t *hnodes = json_array(), *object;
	const struct topo_hnode *h;

	for (h = t->hnodes; h < t->hnodes + t->nr; h++) {
		object = json_pack("{s:i, s:I, s:I}", "hnode", h->id, "size", (json_int_t)h->total,
				   "free", (json_int_t)h->free);
		if (h->sim) {
			json_object_set_new(object, "device", json_string(h->name));
			json_object_set_new(object, "lanes", json_integer(gm_sim_lanes(h->sim)));
		}
		json_array_append_new(hnodes, object);
	}
	return hnodes;
}

static json_t *links_json(const struct topo *t)
{
	json_t *links = json_array();
	unsigned int i, j;

	for (i = 0; i <= t->nr; i++)
		for (j = 0; j <= t->nr; j++)
			if (t->links[i][j].bandwidth > 0)
				json_array_append_new(
					links, json_pack("{s:i, s:i, s:f, s:f}", "from",
							 topo_place(t, i), "to", topo_place(t, j),
							 "bandwidth", t->links[i][j].bandwidth,
							 "latency", t->links[i][j].latency));
	return links;
}

int topo_print_json(const struct topo *t, FILE *out)
{
	json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "version", GMEM_VERSION,
				 "host", t->host, "moved", (json_int_t)t->size, "repeat",
				 (json_int_t)t->repeat, "nodes", nodes_json(t), "hnodes",
				 hnodes_json(t), "links", links_json(t));
	int err;

	if (!root)
		return -1;
	err = json_dumpf(root, out, JSON_INDENT(2));
	json_decref(root);
	return err || fputc('\n', out) == EOF || fflush(out) ? -1 : 0;
}
