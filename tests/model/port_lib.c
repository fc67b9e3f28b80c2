// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The model on the library, as an application has it: see port.h. Nothing but the
 * public headers is used, so it runs on whatever host the library does.
 *
 * Theory. The CPU's accesses are loads and stores. One that must fail raises SIGSEGV or
 * SIGBUS, and the handler leaves it by siglongjmp(). The handler is installed before any
 * address space is made, so gmem's own handler, where there is one, is asked first and
 * passes on what it cannot service.
 *
 * Memory is accessed where the model has a mapping. Where it has none it is accessed,
 * and must fail, only among the addresses that the model maps at by choice, for all else
 * in the process belongs to somebody.
 *
 * Other threads take part, so a seed is the same operations, but not the same run in
 * every detail. -EBUSY is what the contract lets a host say while another holds what is
 * in the way: the background eviction, or, in the kernel, whoever has a page pinned for
 * a moment. So the call is made again, for as long as no moment lasts.
 *
 * Locking. None: one thread makes the operations, and the handler runs in it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <unistd.h>

#include "port.h"
#include "process.h"

/* Far from where the kernel puts what it may put anywhere, and from a sanitizer's shadow. */
#define BASE 0x7e9000000000ULL
#define BASE_SIZE (1ULL << 34)
#define BUSY_TRIES 5000	    /* a millisecond apart */
#define FILLER (16 * BLOCK) /* the largest mapping */
#define RETAIN (128ULL << 20)

const struct port port = {
	.program = "model_lib",
	.base = BASE,
	.ops = 20000,
	.check_every = 4096,
	.may_inline = true,
	.one_va = true,
};

static const struct model *running;
static struct proc_resources before;
static bool warm; /* what is there to stay is there */
static int pagemap;
static struct gm_object *filler; /* on the kernel host; see port_unmapped() */

/* --------------------------------------------------------------------- the CPU */

static sigjmp_buf env;
static volatile sig_atomic_t armed;
static volatile uint64_t at;
static volatile int failure;

static void handler(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	if (!armed || (uint64_t)(uintptr_t)si->si_addr / PAGE != at / PAGE)
		m_crashed(sig);
	armed = 0;
	if (sig == SIGSEGV)
		failure = si->si_code == SEGV_ACCERR ? -EACCES : -EFAULT;
	else
		failure = si->si_code == BUS_MCEERR_AR ? -EHWPOISON : -EIO;
	siglongjmp(env, 1);
}

static void catch (int sig)
{
	struct sigaction act = { .sa_flags = SA_SIGINFO };

	act.sa_sigaction = handler;
	sigaction(sig, &act, NULL);
}

/* In words where they are aligned, and never by a call that might be interrupted for good. */
static void load_or_store(uint64_t va, uint8_t *buf, uint64_t len, uint32_t access)
{
	for (uint64_t i = 0, n; i < len; i += n) {
		volatile uint8_t *byte = (volatile uint8_t *)(uintptr_t)(va + i);
		volatile uint64_t *word = (volatile uint64_t *)(uintptr_t)(va + i);
		uint64_t v;

		n = (va + i) % 8 || len - i < 8 ? 1 : 8;
		if (n == 1 && access == GM_WRITE) {
			*byte = buf[i];
		} else if (n == 1) {
			buf[i] = *byte;
		} else if (access == GM_WRITE) {
			memcpy(&v, buf + i, 8);
			*word = v;
		} else {
			v = *word;
			memcpy(buf + i, &v, 8);
		}
	}
}

static int access_once(uint64_t va, uint8_t *buf, uint64_t len, uint32_t access)
{
	at = va;
	if (sigsetjmp(env, 1))
		return failure;
	armed = 1;
	load_or_store(va, buf, len, access);
	armed = 0;
	return 0;
}

static bool is_ours(uint64_t va)
{
	return va >= BASE && va < BASE + BASE_SIZE;
}

static bool mapped(struct model *m, uint64_t va)
{
	for (unsigned int as = 0; as < m->nr_as; as++)
		if (m_map_at(m, as, va))
			return true;
	return false;
}

/*
 * A page that fails again and again is marked for a while (src/host/linux-user/fail.c),
 * and the mark may outlive the failure by as long.
 */
static int access_page(struct model *m, unsigned int as, uint64_t va, uint8_t *buf, uint64_t len,
		       uint32_t access)
{
	int err;

	if (!m_map_at(m, as, va) && (mapped(m, va) || !is_ours(va)))
		return -EFAULT;
	err = access_once(va, buf, len, access);
	if (err && m_map_at(m, as, va) && *m_bad(m_map_at(m, as, va), va))
		return err == -EIO ? -EHWPOISON : err; /* a kernel may have but one way to say it */
	for (unsigned int i = 0; err == -EHWPOISON && !m->inject_left && i < BUSY_TRIES; i++) {
		usleep(1000);
		err = access_once(va, buf, len, access);
	}
	return err == -EHWPOISON ? -EIO : err;
}

int port_cpu_access(struct model *m, unsigned int as, uint64_t va, void *buf, uint64_t len,
		    uint32_t access)
{
	int err = 0;

	for (uint64_t i = 0, n; i < len && !err; i += n) {
		n = PAGE - (va + i) % PAGE;
		n = n < len - i ? n : len - i;
		err = access_page(m, as, va + i, (uint8_t *)buf + i, n, access);
	}
	return err;
}

/* ----------------------------------------------------------------------- calls */

static bool again(int err, unsigned int *tries)
{
	if (err != -EBUSY || running->inject_left || ++*tries > BUSY_TRIES)
		return false;
	usleep(1000);
	return true;
}

static void *ptr(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

int port_dev_access(struct gm_sim_ctx *ctx, uint64_t va, void *buf, uint64_t len, uint32_t access)
{
	unsigned int tries = 0;
	int err;

	do
		err = gm_sim_access(ctx, ptr(va), buf, len, access);
	while (again(err, &tries));
	return err;
}

int port_advise(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice)
{
	unsigned int tries = 0;
	int err;

	(void)as;
	do
		err = hmadvise(hnode, ptr(va), len, (enum gm_advice)advice);
	while (again(err, &tries));
	return err;
}

int port_copy(int hnode, struct gm_as *dst_as, uint64_t dst, struct gm_as *src_as, uint64_t src,
	      uint64_t len)
{
	unsigned int tries = 0;
	int err;

	(void)dst_as;
	(void)src_as;
	do
		err = hmemcpy(hnode, ptr(dst), ptr(src), len);
	while (again(err, &tries));
	return err;
}

int port_query(struct gm_as *as, uint64_t va, uint64_t len, struct gm_page_info *info)
{
	(void)as;
	return gm_query(ptr(va), len, info);
}

int port_attr(struct gm_as *as, uint64_t va, uint64_t len, struct gm_attr *attr)
{
	(void)as;
	return gm_attr_query(ptr(va), len, attr);
}

bool port_covers(struct gm_as *as, uint64_t va)
{
	struct gm_page_info info;

	return !port_query(as, va, PAGE, &info);
}

static bool on_kernel(void)
{
	const char *host = getenv("GMEM_HOST");

	return host && !strcmp(host, "kernel");
}

/*
 * The kernel host unmaps though a device fails to let go, which then goes on seeing the
 * old bytes there, until it lets go or something else is mapped there (docs/kernel.md).
 * So nothing fails any more, and something else, made beforehand lest it takes the very
 * addresses, is mapped there for a moment.
 */
void port_unmapped(struct model *m, unsigned int as, uint64_t va, uint64_t len)
{
	void *addr = ptr(va);
	int err;

	if (!m->inject_left || !filler)
		return;
	m_calm(m);
	err = gm_as_map(m->as[as], filler, 0, len, GM_READ, GM_MAP_FIXED, &addr);
	err = err ? err : gm_as_unmap(m->as[as], addr, len);
	if (err)
		m_fail(m, "mapping what was unmapped: %d", err);
}

/* Of the two devices one has threads for its faults and its copies, and one has none. */
void port_sim_options(const struct m_dev *d, struct gm_sim_options *opt)
{
	if (d->pgsizes & BLOCK)
		opt->flags |= GM_SIM_SYNC_FAULTS;
	else
		opt->copy_threads = 1;
}

/* ---------------------------------------------------------------------- checks */

/*
 * A page on a device is out of the CPU's reach: it is not in the process' page table. A
 * device may have lost it since @info was taken, but only the model's thread maps it.
 */
void port_check_page(struct model *m, unsigned int as, uint64_t va, const struct gm_page_info *info)
{
	uint64_t entry = 0;

	if (info->node < 0)
		return;
	if (pread(pagemap, &entry, 8, (off_t)(va / PAGE * 8)) != 8)
		m_fail(m, "/proc/self/pagemap: %s", strerror(errno));
	if (entry >> 63)
		m_fail(m, "as%u %#llx is on a device, and mapped in the CPU", as,
		       (unsigned long long)va);
}

void port_check(void)
{
}

/* ------------------------------------------------------------------ operations */

/* What the kernel does when memory is short: it drops pages out of the page table. */
static void reclaim(struct model *m, int advice)
{
	const struct m_map *map = m_map_pick(m);
	uint64_t first = m_below(m, map->len / PAGE) * PAGE;
	uint64_t len = (1 + m_below(m, 64)) * PAGE;

	len = len < map->len - first ? len : map->len - first;
	m_what(m, "%s as%u %#llx+%llu", advice == MADV_PAGEOUT ? "page out" : "drop", map->as,
	       (unsigned long long)(map->va + first), (unsigned long long)len);
	if (madvise(ptr(map->va + first), len, advice))
		m_fail(m, "madvise: %s", strerror(errno));
}

void port_op_work(struct model *m)
{
	m_what(m, "let others run");
	if (m_chance(m, 128))
		reclaim(m, MADV_DONTNEED);
	else
		usleep(100);
}

void port_op_host(struct model *m)
{
	reclaim(m, MADV_PAGEOUT);
}

/* ------------------------------------------------------------------- injection */

void port_inject_storm(struct model *m)
{
	(void)m;
}

bool port_inject(struct model *m, bool any, uint32_t skip, uint32_t count)
{
	(void)m;
	(void)any;
	(void)skip;
	(void)count;
	return false;
}

void port_inject_clear(void)
{
}

uint64_t port_injected(void)
{
	return 0;
}

uint64_t port_cpu_faults(struct model *m)
{
	struct gm_stats s = { .size = sizeof(s) };
	uint64_t n = 0;

	for (unsigned int i = 0; i < m->nr_as; i++)
		if (!gm_as_stats(m->as[i], &s))
			n += s.cpu_faults;
	return n;
}

/* ------------------------------------------------------------------------ runs */

/* The kernel chooses the same addresses every time; where it may not, a run is a little less so. */
static void fix_addresses(char **argv)
{
	int now = personality(0xffffffff);

	if (now < 0 || now & ADDR_NO_RANDOMIZE ||
	    personality((unsigned long)(unsigned int)now | ADDR_NO_RANDOMIZE) < 0)
		return;
	execv("/proc/self/exe", argv);
}

/* What the C library keeps of a first run is kept for good: see proc_resources(). */
static void warm_up(const struct m_config *cfg)
{
	struct m_config one = *cfg;

	one.layout = 'c';
	one.ops = 512;
	one.quiet = true;
	m_run(&one);
	warm = true;
}

void port_start(const struct m_config *cfg, char **argv)
{
	fix_addresses(argv);
	setenv("CMOCKA_TEST_ABORT", "1", 1); /* so that what fails there says where */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 1 << 17);
	catch (SIGSEGV);
	catch (SIGBUS);
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0) {
		perror("/proc/self/pagemap");
		exit(2);
	}
	warm_up(cfg);
}

void port_begin(struct model *m)
{
	running = m;
	if (warm)
		before = proc_settled();
	gm_retain_limit(RETAIN);
	if (on_kernel() && gm_object_create(FILLER, 0, &filler))
		m_fail(m, "no object to fill holes with");
}

/* Pools go back when an address space ends or a device; an object may have outlived them all. */
static void give_pools_back(struct model *m)
{
	int err = gm_as_create(NULL, &m->as[0]);

	err = err ? err : gm_as_destroy(m->as[0]);
	if (err)
		m_fail(m, "an address space, to and fro: %d", err);
}

void port_end(struct model *m)
{
	gm_object_put(filler);
	filler = NULL;
	give_pools_back(m);
	if (gm_retained_bytes() || gm_metadata_bytes())
		m_fail(m, "%llu bytes retained, %llu of metadata",
		       (unsigned long long)gm_retained_bytes(),
		       (unsigned long long)gm_metadata_bytes());
	if (warm)
		proc_assert_same(before);
}

void port_step(void)
{
}
