// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The table of operations, and the loop. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "port.h"

static const struct {
	void (*fn)(struct model *m);
	unsigned int weight; /* of 1024 */
} ops[] = {
	{ m_op_cpu_read, 134 }, { m_op_view, 12 },	 { m_op_cpu_write, 166 },
	{ m_op_dev_read, 180 }, { m_op_dev_write, 180 }, { m_op_fill, 32 },
	{ m_op_copy, 64 },	{ m_op_hint, 24 },	 { m_op_prefetch, 24 },
	{ m_op_pin, 16 },	{ m_op_dontneed, 16 },	 { m_op_query, 32 },
	{ m_op_unmap, 12 },	{ m_op_map, 16 },	 { m_op_protect, 12 },
	{ m_op_object, 6 },	{ m_op_attach, 2 },	 { m_op_plug, 1 },
	{ m_op_tune, 6 },	{ m_op_retain, 8 },	 { port_op_work, 20 },
	{ m_op_inject, 34 },	{ port_op_host, 3 },	 { m_op_poison, 4 },
	{ m_op_remove, 2 },	{ m_op_remap, 8 },	 { m_op_large, 6 },
	{ m_op_policy, 4 },
};

static const struct model *running; /* for a crash */

static void one_op(struct model *m)
{
	uint64_t n = m_below(m, 1024);

	for (unsigned int i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (n < ops[i].weight) {
			ops[i].fn(m);
			return;
		}
		n -= ops[i].weight;
	}
	m_op_cpu_read(m); /* the weights need not add up */
}

static void after_op(struct model *m, uint64_t check_every)
{
	if (m->inject_left && --m->inject_left == 0)
		m_calm(m);
	if (m->op % 2048 == 2047)
		m_unpin_all(m);
	if (m->op % (check_every / 16) == 0)
		m_check_quick(m);
	if (m->op % check_every == check_every - 1)
		m_check_everything(m, true);
}

/* Pages that went straight from device to device. With a link, in a run of some length, there are some. */
static uint64_t count_straight(struct model *m)
{
	struct gm_stats s = { .size = sizeof(s) };
	bool linked = m->cfg->layout != 'b' && m->cfg->layout != 'd'; /* in d one has no pages */
	uint64_t n = 0;

	for (unsigned int i = 0; i < m->nr_as; i++)
		if (!gm_as_stats(m->as[i], &s))
			n += s.pages_peer;
	if (linked ? !n && m->op >= 2000 && !m->cfg->bytes : n != 0)
		m_fail(m, "%llu pages went from device to device", (unsigned long long)n);
	return n;
}

static void summary(struct model *m)
{
	uint64_t evictions = m->evictions, straight = count_straight(m);

	for (unsigned int d = 0; d < M_MAX_DEVS; d++) {
		struct gm_stats s = { .size = sizeof(s) };

		if (m->dev[d].sim && !gm_dev_stats(gm_sim_dev(m->dev[d].sim), &s))
			evictions += s.evictions;
	}
	printf("model: layout %c seed %llu: %llu operations, %llu CPU faults, %llu evictions, "
	       "%llu pages from device to device, %llu calls of the host failed, %llu operations "
	       "failed\n",
	       m->cfg->layout, (unsigned long long)m->cfg->seed, (unsigned long long)m->op,
	       (unsigned long long)port_cpu_faults(m), (unsigned long long)evictions,
	       (unsigned long long)straight, (unsigned long long)port_injected(),
	       (unsigned long long)m->failed);
}

void m_run(const struct m_config *cfg)
{
	struct model *m = calloc(1, sizeof(*m));
	uint64_t check_every = cfg->small ? 4096 : port.check_every;

	if (!m)
		abort();
	m->cfg = cfg;
	running = m;
	m->in.state = m_mix(cfg->seed);
	if (cfg->bytes) {
		m->in.p = cfg->bytes;
		m->in.end = cfg->bytes + cfg->nr_bytes;
	}
	m_what(m, "setup");
	port_begin(m);
	m_setup(m);
	for (m->op = 0; m->op < cfg->ops && !m->in.ended; m->op++) {
		port_step();
		if (!m->mapped)
			m_map_something(m);
		one_op(m);
		after_op(m, check_every);
	}
	m_what(m, "the last check");
	m_check_everything(m, false);
	if (!cfg->quiet)
		summary(m);
	m_teardown(m);
	port_end(m);
	running = NULL;
	free(m);
}

void m_run_bytes(const struct m_config *cfg, const uint8_t *bytes, size_t n)
{
	struct m_config one = *cfg;

	if (!n)
		return;
	one.layout = "abc"[bytes[0] % 3];
	one.small = true;
	one.quiet = true;
	one.ops = UINT64_MAX;
	one.bytes = bytes + 1;
	one.nr_bytes = n - 1;
	m_run(&one);
}

void m_crashed(int sig)
{
	fprintf(stderr, "FAILED: signal %d\n", sig);
	if (running)
		m_print_where(running);
	_exit(1);
}

void m_catch_crashes(void)
{
	signal(SIGABRT, m_crashed);
	signal(SIGSEGV, m_crashed);
	signal(SIGBUS, m_crashed);
	signal(SIGFPE, m_crashed);
}
