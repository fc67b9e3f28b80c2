/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the model needs of the host it runs on; each program has one of two.
 *
 *	port_fake.c  the fake host: one thread, the CPU is simulated, every call of the
 *		     host can be made to fail, and the core's invariants can be checked
 *	port_lib.c   the library as an application has it: real loads and stores, the
 *		     host's own threads; only the devices can be made to fail
 *
 * The calls that take an address space are gmem.h's, or what these are made of.
 */
#ifndef MODEL_PORT_H
#define MODEL_PORT_H

#include "model.h"

struct port {
	const char *program;
	uint64_t base;	      /* of the addresses that are mapped at by choice */
	uint64_t ops;	      /* unless told otherwise */
	uint64_t check_every; /* operations: a look at every byte */
	bool may_inline;      /* --inline makes a difference */
	/*
	 * Nobody but the model moves pages. Where the host evicts in the background, of
	 * its own accord, where a page is can be told at no time, how much is retained may
	 * become less at any time, and a device that was not asked may fault.
	 */
	bool alone;
	/* An address means one thing in the whole process, not one in each address space. */
	bool one_va;
};
extern const struct port port;

/* Once, before anything else; may begin the program again. */
void port_start(const struct m_config *cfg, char **argv);
/* A run begins, and has ended: nothing may be left, or it fails. */
void port_begin(struct model *m);
void port_end(struct model *m);
/* An operation begins. */
void port_step(void);

/* As a load or a store of the CPU's; stops at the first page that cannot be accessed. */
int port_cpu_access(struct model *m, unsigned int as, uint64_t va, void *buf, uint64_t len,
		    uint32_t access);
int port_dev_access(struct gm_sim_ctx *ctx, uint64_t va, void *buf, uint64_t len, uint32_t access);
int port_advise(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice);
/* A NULL address space: the model's own memory. */
int port_copy(int hnode, struct gm_as *dst_as, uint64_t dst, struct gm_as *src_as, uint64_t src,
	      uint64_t len);
int port_query(struct gm_as *as, uint64_t va, uint64_t len, struct gm_page_info *info);
int port_attr(struct gm_as *as, uint64_t va, uint64_t len, struct gm_attr *attr);
bool port_covers(struct gm_as *as, uint64_t va);
/* The range was unmapped, perhaps while devices failed: nothing is to reach it any more. */
void port_unmapped(struct model *m, unsigned int as, uint64_t va, uint64_t len);
/* How faults are delivered to the device under test, and who copies. */
void port_sim_options(const struct m_dev *d, struct gm_sim_options *opt);

/* Is the page at @va, of which the core says @info, where it should be and nowhere else? */
void port_check_page(struct model *m, unsigned int as, uint64_t va,
		     const struct gm_page_info *info);
/* The invariants, where the build can check them. */
void port_check(void);

/* Operations: deferred work; what of its freedoms the host makes use of. */
void port_op_work(struct model *m);
void port_op_host(struct model *m);

/* Make calls of the host fail: of everything one; some. False: they cannot be made to. */
void port_inject_storm(struct model *m);
bool port_inject(struct model *m, bool any, uint32_t skip, uint32_t count);
void port_inject_clear(void);

uint64_t port_injected(void);
uint64_t port_cpu_faults(struct model *m);

#endif
