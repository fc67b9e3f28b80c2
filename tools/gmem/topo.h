/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem topo`: CPU nodes, hnodes, and the links between them. */
#ifndef GMEM_TOOL_TOPO_H
#define GMEM_TOOL_TOPO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <hwloc.h>

#include <gmem/gmem.h>
#include <gmem/sim.h>

#define TOPO_MAX_DEVICES 16U
#define TOPO_MAX_HNODES 64U

/* A device's memory; where this command has made the device, also the device. */
struct topo_hnode {
	int id;
	uint64_t total, free; /* bytes */
	struct gm_sim_options opt;
	char name[16]; /* empty, as all below: somebody else's */
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
};

/* What moves from one place to another in a second, and how long it takes at least. */
struct topo_link {
	double bandwidth; /* bytes/s; 0: not measured */
	double latency;	  /* s */
};

struct topo {
	const char *host; /* "user" or "kernel" */
	hwloc_topology_t machine;
	struct topo_hnode hnodes[TOPO_MAX_HNODES];
	unsigned int nr; /* of them */
	struct gm_as *as;
	uint64_t size;	 /* bytes that are moved to measure a bandwidth */
	uint64_t repeat; /* measurements of which the best, or the median, counts */
	bool measured;
	/* From and to: 0 is the host, then hnodes in their order. */
	struct topo_link links[TOPO_MAX_HNODES + 1][TOPO_MAX_HNODES + 1];
};

static inline int topo_place(const struct topo *t, unsigned int i)
{
	return i ? t->hnodes[i - 1].id : GM_NODE_HOST;
}

/* Memory can be moved to and from it: what others have made is not attached here. */
static inline bool topo_reached(const struct topo *t, unsigned int i)
{
	return !i || t->hnodes[i - 1].ctx;
}

/* Of a CPU node in sysfs, as numactl(8) has it; false: unknown. */
bool topo_node_free(hwloc_obj_t node, uint64_t *bytes);

int topo_measure(struct topo *t); /* RUN_*, with a message */

/* 0, or -1 if it could not be written. */
int topo_print(const struct topo *t, FILE *out);
int topo_print_json(const struct topo *t, FILE *out);
/* RUN_*, with a message. */
int topo_print_xml(const struct topo *t, FILE *out);

int topo_main(int argc, char **argv); /* returns the exit status */

#endif
