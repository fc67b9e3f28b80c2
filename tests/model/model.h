/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The model test: random operations on the core, against byte arrays.
 *
 * The model keeps what an application may rely on: which addresses are mapped, with
 * what protection, and every byte of every object. It does not know where a page
 * is, or should be. Operations are decoded from a stream of bytes, a generator's or
 * a fuzzer's; each says what it expects, and each that fails must leave the bytes as
 * gmem.h promises.
 *
 * One thread makes the operations; the devices are simulated ones. What differs
 * between hosts is in port.h.
 */
#ifndef MODEL_H
#define MODEL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <gmem/driver.h>
#include <gmem/gmem.h>
#include <gmem/policy.h>
#include <gmem/sim.h>

#define PAGE GM_PAGE_SIZE
#define BLOCK GM_BLOCK_SIZE
#define M_MAX_AS 2
#define M_MAX_DEVS 3
#define M_MAX_RANGES 64
#define M_PERHAPS 2
#define M_MAX_OBJECTS 64
#define M_MAX_MAPS 96
#define M_MAX_EDGES 65536

struct m_stream {
	const uint8_t *p, *end; /* NULL: the generator's */
	uint64_t state;
	uint64_t bits;
	unsigned int nr_bits;
	bool ended;
};

struct m_object {
	struct gm_object *handle; /* NULL: no handle (any more) */
	bool named;		  /* there was one */
	uint64_t size;		  /* 0: no such object */
	uint8_t *ref;
	uint8_t *bad; /* of each page: its bytes are lost; M_PERHAPS, while nothing shows it */
	unsigned int maps;
	bool loose; /* memory that has grown: whose bytes it is, and in step with what, is not said */
};

struct m_map {
	struct m_object *obj; /* NULL: no such mapping */
	unsigned int as;
	uint64_t va, len, offset;
	uint32_t prot;
};

struct m_edge {
	unsigned int as;
	uint64_t va;
};

/* Of an address space; @dev_va: where a device sees it. */
struct m_range {
	uint64_t va, end, dev_va;
};

struct m_ranges {
	struct m_range range[M_MAX_RANGES];
	unsigned int nr;
};

struct m_dev {
	struct gm_sim *sim; /* NULL: unplugged */
	struct gm_sim_ctx *ctx[M_MAX_AS];
	uint64_t blocks;
	uint64_t base;
	uint64_t pgsizes;
	bool aperture;
	unsigned int poisoned;	       /* frames */
	bool in_place;		       /* mode GM_REPLICATE */
	bool share;		       /* mode GM_SHARE */
	bool sparse;		       /* sees its windows only */
	struct m_dev *owner[M_MAX_AS]; /* whose page table it uses */
	struct m_ranges seen[M_MAX_AS], replicated[M_MAX_AS];
};

struct m_config {
	uint64_t seed;
	uint64_t ops;
	char layout; /* 'a' to 'g' */
	bool inject;
	bool inline_faults; /* GM_AS_INLINE */
	bool verbose;
	bool quiet; /* no summary */
	bool small; /* a few blocks only, as a fuzzer likes it */
	bool abort; /* on failure; else exit(1) */
	const uint8_t *bytes;
	size_t nr_bytes;
	const char *file; /* where they are from */
};

struct model {
	const struct m_config *cfg;
	struct m_stream in;
	struct gm_as *as[M_MAX_AS];
	unsigned int nr_as;
	struct m_dev dev[M_MAX_DEVS];
	unsigned int nr_devs;
	struct m_object object[M_MAX_OBJECTS];
	struct m_map map[M_MAX_MAPS];
	struct m_edge edge[M_MAX_EDGES]; /* where a region ended in a unit */
	unsigned int nr_edges;
	uint64_t mapped, enough; /* bytes */
	uint64_t op;
	char what[256];		  /* the operation under way */
	unsigned int inject_left; /* operations that may still fail; 0: none may */
	uint64_t failed;	  /* operations that did */
	uint64_t evictions;	  /* of devices that are gone */
	uint8_t *buf, *buf2;	  /* M_BUF bytes each */
};
#define M_BUF (2 * BLOCK)

/* stream.c */
uint64_t m_mix(uint64_t x);
uint8_t m_u8(struct model *m);
uint64_t m_below(struct model *m, uint64_t n);
bool m_chance(struct model *m, unsigned int of256);

/* state.c */
__attribute__((format(printf, 2, 3))) void m_what(struct model *m, const char *fmt, ...);
__attribute__((format(printf, 2, 3), noreturn)) void m_fail(struct model *m, const char *fmt, ...);
void m_print_where(const struct model *m);
struct m_object *m_object_new(struct model *m, uint64_t size, struct gm_object *handle);
void m_object_free(struct m_object *o);
void m_object_check_gone(struct model *m, struct m_object *o);
struct m_map *m_map_add(struct model *m, unsigned int as, uint64_t va, uint64_t len,
			struct m_object *o, uint64_t offset, uint32_t prot);
void m_map_cut(struct model *m, unsigned int as, uint64_t va, uint64_t len);
struct m_map *m_map_at(struct model *m, unsigned int as, uint64_t va);
struct m_map *m_map_pick(struct model *m);
unsigned int m_maps_free(const struct model *m);
bool m_range_free(struct model *m, unsigned int as, uint64_t va, uint64_t len);
uint8_t *m_ref(const struct m_map *map, uint64_t va);
/* How many bytes from va on can be accessed, and why not more: 0, -EFAULT, -EACCES. */
uint64_t m_span(struct model *m, unsigned int as, uint64_t va, uint64_t len, uint32_t access,
		int *err);
/* The same for who does not touch the bytes: -EHWPOISON, where they are lost, does not count. */
uint64_t m_mapped(struct model *m, unsigned int as, uint64_t va, uint64_t len, uint32_t access,
		  int *err);
uint8_t *m_bad(const struct m_map *map, uint64_t va);
bool m_may_fail(struct model *m, int err);
void m_calm(struct model *m);

/* units.c */
uint64_t m_unit_pages(const struct m_dev *d);
uint64_t m_units_complete(const struct model *m, uint64_t len);
void m_edge_add(struct model *m, unsigned int as, uint64_t va);
void m_edges_move(struct model *m, unsigned int as, uint64_t va, uint64_t len, uint64_t to);
void m_edges_forget(struct model *m, unsigned int as, uint64_t va, uint64_t len);
bool m_unit_odd(struct model *m, const struct m_dev *d, unsigned int as, uint64_t va);
bool m_units_explain(struct model *m, const struct m_dev *d, unsigned int as, uint64_t va,
		     uint64_t len, int err);

/* views.c */
char m_name(const struct model *m, const struct m_dev *d);
int m_dev_attach(struct model *m, struct m_dev *d, unsigned int as);
void m_dev_show(struct model *m, struct m_dev *d, unsigned int as);
bool m_dev_shared(const struct model *m, const struct m_dev *d, unsigned int as);
/* How many bytes from va on the device sees, and at what address of its own; 0: it sees nothing there. */
uint64_t m_seen(const struct m_dev *d, unsigned int as, uint64_t va, uint64_t len,
		uint64_t *dev_va);
/* What PREFETCH, or PIN, to it says of a range that is mapped. */
int m_view_check(const struct m_dev *d, unsigned int as, uint64_t va, uint64_t len, bool pin);
/* Does it use host memory in place there? */
bool m_in_place_at(const struct m_dev *d, unsigned int as, uint64_t va);
bool m_in_place(const struct m_dev *d, unsigned int as, uint64_t va, uint64_t len);
void m_op_view(struct model *m);

/* verify.c */
void m_fetch(struct model *m, unsigned int as, uint64_t va, void *buf, uint64_t len);
void m_compare(struct model *m, unsigned int as, uint64_t va, const uint8_t *buf, uint64_t len);
void m_check_everything(struct model *m, bool mix);
void m_check_quick(struct model *m);

/* setup.c */
void m_setup(struct model *m);
void m_teardown(struct model *m);
int m_dev_plug(struct model *m, struct m_dev *d);

/* access.c */
void m_op_cpu_read(struct model *m);
void m_op_cpu_write(struct model *m);
void m_op_dev_read(struct model *m);
void m_op_dev_write(struct model *m);
void m_op_fill(struct model *m);
void m_op_copy(struct model *m);

/* hints.c */
void m_op_hint(struct model *m);
void m_op_prefetch(struct model *m);
void m_op_pin(struct model *m);
void m_op_dontneed(struct model *m);
void m_op_query(struct model *m);
void m_unpin_all(struct model *m);

/* space.c */
void m_op_unmap(struct model *m);
void m_op_map(struct model *m);
void m_op_large(struct model *m);
void m_op_protect(struct model *m);
void m_op_remap(struct model *m);
void m_op_object(struct model *m);
void m_map_something(struct model *m);

/* control.c */
void m_op_attach(struct model *m);
void m_op_plug(struct model *m);
void m_op_tune(struct model *m);
void m_op_policy(struct model *m);
void m_op_retain(struct model *m);
void m_op_poison(struct model *m);
void m_op_inject(struct model *m);

/* remove.c */
void m_op_remove(struct model *m);

/* run.c */
void m_run(const struct m_config *cfg);
/* Small, and driven by the bytes; the first chooses the layout. */
void m_run_bytes(const struct m_config *cfg, const uint8_t *bytes, size_t n);
/* Let a crash name the operation under way, and exit(1). */
void m_catch_crashes(void);
void m_crashed(int sig);

#endif
