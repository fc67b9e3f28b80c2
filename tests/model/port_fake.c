// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The model on the fake host: see port.h. Nothing moves but what the model moves, so
 * everything that it expects is exact, and a seed is the same run every time.
 */
#include "port.h"

#include "host/fake/fake.h"

#ifdef GM_DEBUG
#include "core/check.h"
#endif

const struct port port = {
	.program = "model",
	.base = 0x200000000ULL,
	.ops = 100000,
	.check_every = 32768,
	.alone = true,
};

void port_start(const struct m_config *cfg, char **argv)
{
	(void)cfg;
	(void)argv;
}

void port_begin(struct model *m)
{
	int err;

	gm_fake_reset();
	gm_fake_set_auto_work(true);
	err = gm_core_init();
	if (err)
		m_fail(m, "gm_core_init: %d", err);
}

void port_end(struct model *m)
{
	gm_core_exit();
	if (!gm_fake_check_clean())
		m_fail(m, "something leaked");
}

void port_step(void)
{
	gm_fake_step();
}

/* --------------------------------------------------------------------- accesses */

int port_cpu_access(struct model *m, unsigned int as, uint64_t va, void *buf, uint64_t len,
		    uint32_t access)
{
	return gm_fake_cpu_access(m->as[as], va, buf, len, access);
}

int port_dev_access(struct gm_sim_ctx *ctx, uint64_t va, void *buf, uint64_t len, uint32_t access)
{
	return gm_sim_access(ctx, (void *)(uintptr_t)va, buf, len, access);
}

int port_advise(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice)
{
	return gm_advise(as, hnode, va, len, advice);
}

int port_copy(int hnode, struct gm_as *dst_as, uint64_t dst, struct gm_as *src_as, uint64_t src,
	      uint64_t len)
{
	return gm_copy(hnode, dst_as, dst, src_as, src, len);
}

int port_query(struct gm_as *as, uint64_t va, uint64_t len, struct gm_page_info *info)
{
	return gm_as_query(as, va, len, info);
}

int port_attr(struct gm_as *as, uint64_t va, uint64_t len, struct gm_attr *attr)
{
	return gm_as_attr(as, va, len, attr);
}

bool port_covers(struct gm_as *as, uint64_t va)
{
	return gm_as_covers(as, va);
}

/* To have failed to let go is to have failed to unmap. */
void port_unmapped(struct model *m, unsigned int as, uint64_t va, uint64_t len)
{
	(void)m;
	(void)as;
	(void)va;
	(void)len;
}

/* Faults are serviced by whoever makes them, and copies done at once: there is one thread. */
void port_sim_options(const struct m_dev *d, struct gm_sim_options *opt)
{
	opt->flags |= GM_SIM_SYNC_FAULTS | (d->aperture ? GM_SIM_APERTURE : 0);
}

/* ----------------------------------------------------------------------- checks */

/*
 * A page on a device is out of the CPU's reach, or mapped where it is; and there are host frames where there
 * should be, and nowhere else.
 */
void port_check_page(struct model *m, unsigned int as, uint64_t va, const struct gm_page_info *info)
{
	uint32_t page = gm_fake_page(m->as[as], va);
	bool host = info->node == GM_NODE_HOST || (info->flags & GM_PAGE_RETAINED);

	if (info->node >= 0 && (page & GM_FAKE_MAPPED) && !(page & GM_FAKE_APERTURE))
		m_fail(m, "as%u %#llx is on a device, and mapped in the CPU", as,
		       (unsigned long long)va);
	if ((info->flags & GM_PAGE_REPLICATED) && (page & GM_FAKE_MAPPED) &&
	    !(page & GM_FAKE_READONLY))
		m_fail(m, "as%u %#llx has replicas, and the CPU can write it", as,
		       (unsigned long long)va);
	if (info->node < 0 && (page & GM_FAKE_APERTURE))
		m_fail(m, "as%u %#llx is mapped on a device, and on node %d", as,
		       (unsigned long long)va, info->node);
	if ((info->flags & GM_PAGE_POISONED) && (page & GM_FAKE_MAPPED))
		m_fail(m, "as%u %#llx is lost, and mapped", as, (unsigned long long)va);
	if (host != !!(page & GM_FAKE_PRESENT))
		m_fail(m, "as%u %#llx on node %d has%s host frame", as, (unsigned long long)va,
		       info->node, host ? " no" : " a");
}

void port_check(void)
{
#ifdef GM_DEBUG
	gm_check_all();
#endif
}

/* ------------------------------------------------------------------- operations */

void port_op_work(struct model *m)
{
	m_what(m, "run deferred work");
	gm_fake_run_work();
}

/* What of its freedoms the host makes use of. */
void port_op_host(struct model *m)
{
	static const uint64_t runs[] = { 0, 0, PAGE, 3 * PAGE, 64 * PAGE };
	uint64_t run = runs[m_below(m, 5)], granule = m_chance(m, 128) ? 0 : 16 * PAGE;
	bool low = m_chance(m, 32), work = m_chance(m, 128);

	m_what(m, "host: runs of %llu, arms %llu, memory %s, %s", (unsigned long long)run,
	       (unsigned long long)granule, low ? "low" : "enough",
	       work ? "auto work" : "no auto work");
	gm_fake_set_max_run(run);
	gm_fake_set_arm_granule(granule);
	gm_fake_set_memory_low(low);
	gm_fake_set_auto_work(work);
}

/* -------------------------------------------------------------------- injection */

/* The operations that are under way all the time; any other is chosen less often. */
static enum gm_fake_op host_op(struct model *m)
{
	static const enum gm_fake_op often[] = { GM_FAKE_ALLOC,	      GM_FAKE_TRYLOCK,
						 GM_FAKE_BACKING_GET, GM_FAKE_BACKING_GET,
						 GM_FAKE_CPU_ARM,     GM_FAKE_CPU_MAP,
						 GM_FAKE_CPU_REVOKE,  GM_FAKE_CPU_REVOKE };

	if (m_chance(m, 160))
		return often[m_below(m, 8)];
	return (enum gm_fake_op)m_below(m, GM_FAKE_NR_OPS);
}

void port_inject_storm(struct model *m)
{
	for (unsigned int op = 0; op < GM_FAKE_NR_OPS; op++)
		gm_fake_inject((enum gm_fake_op)op, (uint32_t)m_below(m, 16), 1, -ENOMEM);
}

bool port_inject(struct model *m, bool any, uint32_t skip, uint32_t count)
{
	enum gm_fake_op op;

	if (any) {
		m_what(m, "inject: call %u of the host's", skip + 1);
		gm_fake_inject_nth(skip + 1);
		return true;
	}
	op = host_op(m);
	if (op == GM_FAKE_TRYLOCK && count > 64) /* every try of every access: slow */
		count = 64;
	m_what(m, "inject: host %s skip %u count %u", gm_fake_op_name(op), skip, count);
	gm_fake_inject(op, skip, count, -ENOMEM);
	return true;
}

void port_inject_clear(void)
{
	gm_fake_inject_clear();
}

uint64_t port_injected(void)
{
	return gm_fake_injected();
}

uint64_t port_cpu_faults(struct model *m)
{
	(void)m;
	return gm_fake_cpu_faults();
}
