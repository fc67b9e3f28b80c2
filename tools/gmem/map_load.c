// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem map`: a process's answer to "map", gmem(7), checked, for it may be a file that anybody wrote.
 */
#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "util.h"

static bool number(const json_t *v, uint64_t max, uint64_t *out)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) > max)
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}

/* ----------------------------------------------------------------------------- nodes */

static struct map_node *node_of(struct map *m, int id)
{
	unsigned int i;

	for (i = 0; i < m->nr_nodes; i++)
		if (m->nodes[i].id == id)
			return &m->nodes[i];
	if (m->nr_nodes == MAP_MAX_NODES)
		return NULL;
	m->nodes[i] = (struct map_node){ .id = id };
	snprintf(m->nodes[i].name, sizeof(m->nodes[i].name), "hnode %d", id);
	return &m->nodes[m->nr_nodes++];
}

static void add_device(struct map *m, const json_t *device)
{
	const char *name = json_string_value(json_object_get(device, "name"));
	const json_t *hnode = json_object_get(device, "hnode");
	struct map_node *n;

	if (!json_is_integer(hnode) || json_integer_value(hnode) < 0 || !name ||
	    json_is_true(json_object_get(device, "ended")))
		return;
	n = node_of(m, (int)json_integer_value(hnode));
	if (n)
		snprintf(n->name, sizeof(n->name), "hnode %d, %s", n->id, name);
}

/* Nowhere is the last. */
static int by_id(const void *a, const void *b)
{
	const struct map_node *x = a, *y = b;
	unsigned int i = (unsigned int)(x->id == MAP_NOWHERE ? INT32_MAX : x->id + 1);
	unsigned int k = (unsigned int)(y->id == MAP_NOWHERE ? INT32_MAX : y->id + 1);

	return (i > k) - (i < k);
}

static void mark_nodes(struct map *m)
{
	static const char marks[] = "123456789abcdefgijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	unsigned int i;

	qsort(m->nodes, m->nr_nodes, sizeof(m->nodes[0]), by_id);
	for (i = 0; i < m->nr_nodes; i++)
		m->nodes[i].mark = m->nodes[i].id == MAP_HOST	   ? 'h'
				   : m->nodes[i].id == MAP_NOWHERE ? '.'
								   : marks[(i - 1) % 60];
}

/* --------------------------------------------------------------------------- regions */

static bool load_run(struct map *m, const struct map_region *r, const json_t *from,
		     struct map_run *run)
{
	uint64_t pages = r->len / m->page, flags;
	const json_t *node = json_array_get(from, 2);
	struct map_node *n;

	if (!number(json_array_get(from, 0), pages, &run->first) ||
	    !number(json_array_get(from, 1), pages - run->first, &run->pages) ||
	    !number(json_array_get(from, 3), UINT32_MAX, &flags) || !json_is_integer(node) ||
	    json_integer_value(node) < MAP_NOWHERE || json_integer_value(node) > INT32_MAX)
		return false;
	n = node_of(m, (int)json_integer_value(node));
	if (!n)
		return false;
	run->node = (uint32_t)n->id;
	run->flags = (uint32_t)flags;
	n->bytes += run->pages * m->page;
	m->pinned += flags & MAP_PINNED ? run->pages * m->page : 0;
	m->poisoned += flags & MAP_POISONED ? run->pages * m->page : 0;
	return true;
}

static bool load_region(struct map *m, const json_t *from, struct map_region *r)
{
	const json_t *runs = json_object_get(from, "runs"), *run;
	size_t i;

	if (!number(json_object_get(from, "addr"), INT64_MAX, &r->addr) ||
	    !number(json_object_get(from, "len"), INT64_MAX, &r->len) ||
	    !number(json_object_get(from, "as"), INT64_MAX, &r->as) || !json_is_array(runs) ||
	    r->len < m->page)
		return false;
	r->runs = xrealloc(NULL, json_array_size(runs), sizeof(*r->runs));
	json_array_foreach(runs, i,
			   run) if (!load_run(m, r, run, &r->runs[r->nr_runs++])) return false;
	return true;
}

/* Runs have the ids of nodes until these are in order. */
static void number_nodes(struct map *m)
{
	size_t i, k;
	uint32_t n;

	mark_nodes(m);
	for (i = 0; i < m->nr_regions; i++)
		for (k = 0; k < m->regions[i].nr_runs; k++) {
			for (n = 0; (uint32_t)m->nodes[n].id != m->regions[i].runs[k].node; n++)
				;
			m->regions[i].runs[k].node = n;
		}
}

/* Of what was reserved for what may come, most of it nothing, the begin is shown. */
static void choose_shown(const struct map *m, struct map_region *r)
{
	const struct map_run *last = r->runs + r->nr_runs - 1;

	r->shown = r->len;
	if (r->nr_runs > 1 && m->nodes[last->node].id == MAP_NOWHERE && last->pages > last->first)
		r->shown = last->first * m->page;
}

int map_load(struct map *m, const char *name, const json_t *answer)
{
	const json_t *regions = json_object_get(answer, "regions"), *v;
	const char *program = json_string_value(json_object_get(answer, "program"));
	size_t i;

	snprintf(m->program, sizeof(m->program), "%s", program ? program : "program");
	m->pid = (int)json_integer_value(json_object_get(answer, "pid"));
	if (!json_is_array(regions) ||
	    !number(json_object_get(answer, "page"), 1 << 30, &m->page) || !m->page)
		return fail(RUN_BAD_INPUT, "%s: not a map, as 'gmem map --json' prints it", name);
	snprintf(node_of(m, MAP_HOST)->name, sizeof(m->nodes[0].name), "host");
	snprintf(node_of(m, MAP_NOWHERE)->name, sizeof(m->nodes[0].name), "nowhere yet");
	json_array_foreach(json_object_get(answer, "devices"), i, v) add_device(m, v);
	m->regions = xrealloc(NULL, json_array_size(regions), sizeof(*m->regions));
	json_array_foreach(regions, i, v)
	{
		m->regions[i] = (struct map_region){ .runs = NULL };
		m->nr_regions++;
		if (!load_region(m, v, &m->regions[i]))
			return fail(RUN_BAD_INPUT, "%s: region %zu of the map is damaged", name,
				    i + 1);
	}
	number_nodes(m);
	for (i = 0; i < m->nr_regions; i++)
		choose_shown(m, &m->regions[i]);
	return RUN_OK;
}

void map_free(struct map *m)
{
	size_t i;

	for (i = 0; i < m->nr_regions; i++)
		free(m->regions[i].runs);
	free(m->regions);
}

/* ----------------------------------------------------------------------------- cells */

/* Where cell @i of @n begins. */
static uint64_t cell_begin(uint64_t pages, unsigned int i, unsigned int n)
{
	return (uint64_t)((double)pages * i / n);
}

/*
 * Of the places that a cell has pages at, the one that neighbours have shown too little of: so what is a
 * third of each cell is what a third of the cells show.
 */
static uint32_t choose(const struct map *m, const uint64_t *sum, double pages, double *owed)
{
	uint32_t best = m->nr_nodes - 1, i;
	bool any = false;

	for (i = 0; i < m->nr_nodes; i++) {
		owed[i] += (double)sum[i] / pages;
		if (sum[i] && (!any || owed[i] > owed[best])) {
			best = i;
			any = true;
		}
	}
	owed[best] -= 1;
	return best;
}

void map_cells(const struct map *m, const struct map_region *r, struct map_cell *cells,
	       unsigned int n)
{
	uint64_t pages = r->shown / m->page, begin, end, from, to, sum[MAP_MAX_NODES];
	double owed[MAP_MAX_NODES] = { 0 };
	const struct map_run *run;
	size_t k = 0, j;
	unsigned int i;

	for (i = 0; i < n; i++) {
		begin = cell_begin(pages, i, n);
		end = cell_begin(pages, i + 1, n);
		end = end > begin ? end : begin + 1;
		memset(sum, 0, sizeof(sum));
		cells[i].poisoned = false;
		while (k < r->nr_runs && r->runs[k].first + r->runs[k].pages <= begin)
			k++;
		for (j = k; j < r->nr_runs && r->runs[j].first < end; j++) {
			run = &r->runs[j];
			from = run->first > begin ? run->first : begin;
			to = run->first + run->pages < end ? run->first + run->pages : end;
			sum[run->node] += to > from ? to - from : 0;
			cells[i].poisoned |= (run->flags & MAP_POISONED) && to > from;
		}
		cells[i].node = choose(m, sum, (double)(end - begin), owed);
	}
}
