// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the model knows: objects with their bytes, and mappings; what may fail now.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "port.h"

/* ------------------------------------------------------------------ messages */

void m_what(struct model *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->what, sizeof(m->what), fmt, ap);
	va_end(ap);
	if (m->cfg->verbose)
		fprintf(stderr, "%llu: %s%s\n", (unsigned long long)m->op, m->what,
			m->inject_left ? " (may fail)" : "");
}

void m_print_where(const struct model *m)
{
	const struct m_config *cfg = m->cfg;
	char options[64];

	snprintf(options, sizeof(options), "%s%s", cfg->inject ? "" : " --no-inject",
		 cfg->inline_faults ? " --inline" : "");
	fprintf(stderr, "model: at operation %llu: %s\n", (unsigned long long)m->op, m->what);
	if (cfg->bytes)
		fprintf(stderr, "reproduce: %s%s --from-bytes %s\n", port.program, options,
			cfg->file ? cfg->file : "FILE");
	else
		fprintf(stderr, "reproduce: %s --seed %llu --ops %llu --layout %c%s\n",
			port.program, (unsigned long long)cfg->seed, (unsigned long long)cfg->ops,
			cfg->layout, options);
}

void m_fail(struct model *m, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "FAILED: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	m_print_where(m);
	if (m->cfg->abort)
		abort();
	exit(1);
}

/* ------------------------------------------------------- objects and mappings */

struct m_object *m_object_new(struct model *m, uint64_t size, struct gm_object *handle)
{
	for (unsigned int i = 0; i < M_MAX_OBJECTS; i++) {
		struct m_object *o = &m->object[i];

		if (o->size)
			continue;
		/* Not by malloc(): its sanitizer is slow with so much that is hardly used. */
		o->ref = mmap(NULL, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (o->ref == MAP_FAILED)
			m_fail(m, "no memory for the reference");
		o->bad = calloc(size / PAGE, 1);
		if (!o->bad)
			m_fail(m, "no memory for the reference");
		o->size = size;
		o->handle = handle;
		o->named = handle != NULL;
		o->maps = 0;
		return o;
	}
	m_fail(m, "the model is out of objects");
}

void m_object_free(struct m_object *o)
{
	if (o->size)
		munmap(o->ref, o->size);
	free(o->bad);
	memset(o, 0, sizeof(*o));
}

/* Without a handle and without a mapping nobody can see its bytes again. */
void m_object_check_gone(struct model *m, struct m_object *o)
{
	(void)m;
	if (o->handle || o->maps)
		return;
	m_object_free(o);
}

unsigned int m_maps_free(const struct model *m)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < M_MAX_MAPS; i++)
		n += !m->map[i].obj;
	return n;
}

/* A mapping that goes on where another one of the same kind ends becomes part of it. */
static struct m_map *map_merge(struct model *m, const struct m_map *new)
{
	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		struct m_map *map = &m->map[i];

		if (map->obj != new->obj || map->as != new->as || map->prot != new->prot ||
		    map->va - map->offset != new->va - new->offset)
			continue;
		if (map->va + map->len == new->va) {
			map->len += new->len;
			return map;
		}
		if (new->va + new->len == map->va) {
			map->va = new->va;
			map->offset = new->offset;
			map->len += new->len;
			return map;
		}
	}
	return NULL;
}

struct m_map *m_map_add(struct model *m, unsigned int as, uint64_t va, uint64_t len,
			struct m_object *o, uint64_t offset, uint32_t prot)
{
	struct m_map new = {
		.obj = o, .as = as, .va = va, .len = len, .offset = offset, .prot = prot
	};
	struct m_map *merged = map_merge(m, &new);

	m_edge_add(m, as, va);
	m_edge_add(m, as, va + len);
	m->mapped += len;
	if (merged)
		return merged;
	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		struct m_map *map = &m->map[i];

		if (map->obj)
			continue;
		*map = new;
		o->maps++;
		return map;
	}
	m_fail(m, "the model is out of mappings");
}

static void map_drop(struct model *m, struct m_map *map)
{
	struct m_object *o = map->obj;

	m->mapped -= map->len;
	map->obj = NULL;
	o->maps--;
	m_object_check_gone(m, o);
}

/* Take [va, va+len) out of all mappings. */
void m_map_cut(struct model *m, unsigned int as, uint64_t va, uint64_t len)
{
	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		struct m_map *map = &m->map[i], old = *map;
		uint64_t end = va + len, map_end = old.va + old.len;

		if (!old.obj || old.as != as || old.va >= end || map_end <= va)
			continue;
		old.obj->maps++; /* until its pieces are back */
		map_drop(m, map);
		if (old.va < va)
			m_map_add(m, as, old.va, va - old.va, old.obj, old.offset, old.prot);
		if (map_end > end)
			m_map_add(m, as, end, map_end - end, old.obj, old.offset + end - old.va,
				  old.prot);
		old.obj->maps--;
		m_object_check_gone(m, old.obj);
	}
}

struct m_map *m_map_at(struct model *m, unsigned int as, uint64_t va)
{
	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		struct m_map *map = &m->map[i];

		if (map->obj && map->as == as && va >= map->va && va - map->va < map->len)
			return map;
	}
	return NULL;
}

/* Any mapping; half of the time a large one is as likely as a small one. There is one. */
struct m_map *m_map_pick(struct model *m)
{
	bool by_size = m_chance(m, 128);
	uint64_t nr = by_size ? m->mapped / PAGE : M_MAX_MAPS - m_maps_free(m);
	uint64_t n = m_below(m, nr);

	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		struct m_map *map = &m->map[i];
		uint64_t weight = by_size ? map->len / PAGE : 1;

		if (!map->obj)
			continue;
		if (n < weight)
			return map;
		n -= weight;
	}
	m_fail(m, "the model has no mapping");
}

bool m_range_free(struct model *m, unsigned int as, uint64_t va, uint64_t len)
{
	for (unsigned int i = 0; i < M_MAX_MAPS; i++) {
		struct m_map *map = &m->map[i];

		if (map->obj && (port.one_va || map->as == as) && map->va < va + len &&
		    map->va + map->len > va)
			return false;
	}
	return true;
}

uint8_t *m_ref(const struct m_map *map, uint64_t va)
{
	return map->obj->ref + map->offset + (va - map->va);
}

uint8_t *m_bad(const struct m_map *map, uint64_t va)
{
	return &map->obj->bad[(map->offset + (va - map->va)) / PAGE];
}

uint64_t m_mapped(struct model *m, unsigned int as, uint64_t va, uint64_t len, uint32_t access,
		  int *err)
{
	uint64_t done = 0;

	*err = 0;
	while (done < len) {
		struct m_map *map = m_map_at(m, as, va + done);
		uint64_t n;

		if (!map)
			*err = -EFAULT;
		else if (access & ~map->prot)
			*err = -EACCES;
		if (*err)
			return done;
		n = map->va + map->len - (va + done);
		done += n < len - done ? n : len - done;
	}
	return done;
}

uint64_t m_span(struct model *m, unsigned int as, uint64_t va, uint64_t len, uint32_t access,
		int *err)
{
	uint64_t span = m_mapped(m, as, va, len, access, err), n;

	for (uint64_t done = 0; done < span; done += n) {
		n = PAGE - (va + done) % PAGE;
		if (*m_bad(m_map_at(m, as, va + done), va + done)) {
			*err = -EHWPOISON;
			return done;
		}
	}
	return span;
}

/* ------------------------------------------------------------------ failures */

/* Is this an error that an injected failure, or memory full of pinned pages, explains? */
bool m_may_fail(struct model *m, int err)
{
	struct gm_hnode_info info = { .size = sizeof(info) };
	bool ok = err == -ENOMEM || err == -EIO || err == -ENOSPC || err == -EBUSY;

	if (m->inject_left)
		return ok;
	for (unsigned int i = 0; err == -ENOSPC && i < M_MAX_DEVS; i++) {
		if (!m->dev[i].sim)
			continue;
		if (gm_hnode_info(gm_dev_hnode(gm_sim_dev(m->dev[i].sim)), &info))
			m_fail(m, "no gm_hnode_info of a device that is there");
		if (info.pinned)
			return true;
	}
	return false;
}

/* From now on nothing fails. */
void m_calm(struct model *m)
{
	m->inject_left = 0;
	port_inject_clear();
	for (unsigned int i = 0; i < M_MAX_DEVS; i++)
		for (unsigned int op = 0; m->dev[i].sim && op < GM_SIM_NR_OPS; op++)
			gm_sim_inject(m->dev[i].sim, (enum gm_sim_op)op, 0, 0, 0);
}
