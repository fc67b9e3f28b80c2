// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The bench of the conformance tests: see conformance.h. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>

#include "conformance.h"

uint32_t cf_flags;
bool cf_kernel;
uint64_t cf_pgsizes;
uint32_t cf_dev_flags;
static struct proc_resources before;

bool cf_leaves;

int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return cf_leaves;
}

bool cf_not_here(bool when, const char *why)
{
	if (when)
		print_message("[  HERE NOT ] %s\n", why);
	return when;
}

/* --------------------------------------------------------------------- setup, teardown */

struct gm_as *cf_as(void)
{
	struct gm_as_options opt = { .size = sizeof(opt), .flags = cf_flags };
	struct gm_as *as;
	int err = gm_as_create(&opt, &as);

	if (err)
		fail_msg("gm_as_create: %s", gm_strerror(err));
	return as;
}

uint64_t cf_unit(void)
{
	return cf_pgsizes ? cf_pgsizes & -cf_pgsizes : PAGE;
}

static struct gm_sim *sim_of(uint64_t sizes)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = DEV_MEMORY,
				      .lanes = 2,
				      .pgsize_bitmap = sizes,
				      .flags = GM_SIM_CHECK | cf_dev_flags };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	return sim;
}

struct gm_sim *cf_sim(void)
{
	return sim_of(0);
}

/* From its first address space on a process has a thread and a socket for who asks: gmem(7). */
static void begin_to_tell(void)
{
	static pid_t told;

	if (told != getpid())
		assert_int_equal(gm_as_destroy(cf_as()), 0);
	told = getpid();
}

struct cf *cf_setup(void)
{
	struct cf *cf = calloc(1, sizeof(*cf));

	assert_non_null(cf);
	begin_to_tell();
	before = proc_resources();
	cf->as = cf_as();
	for (int i = 0; i < NR_DEVS; i++) {
		cf->sim[i] = sim_of(i ? 0 : cf_pgsizes);
		assert_int_equal(gm_sim_attach(cf->sim[i], cf->as, &cf->ctx[i]), 0);
	}
	return cf;
}

/* A missing invalidation is a device's translation that outlived a copy: there was none. */
static void check_sim(struct gm_sim *sim)
{
	struct gm_sim_stats s = { .size = sizeof(s) };

	gm_sim_stats(sim, &s);
	assert_int_equal(s.stale, 0);
}

void cf_teardown(struct cf *cf)
{
	for (int i = 0; i < NR_DEVS; i++)
		if (cf->ctx[i])
			assert_int_equal(gm_sim_detach(cf->ctx[i]), 0);
	assert_int_equal(gm_as_destroy(cf->as), 0);
	for (int i = 0; i < NR_DEVS; i++) {
		check_sim(cf->sim[i]);
		assert_int_equal(gm_sim_destroy(cf->sim[i]), 0);
	}
	free(cf);
	assert_int_equal(gm_retained_bytes(), 0);
	proc_assert_same(before);
}

void cf_run(void **state)
{
	cf_test_fn *fn = (cf_test_fn *)(uintptr_t)*state;
	struct cf *cf = cf_setup();

	fn(cf);
	cf_teardown(cf);
}

void cf_run_pages(void **state)
{
	if (!cf_not_here(cf_unit() > PAGE, "the device's pages are larger"))
		cf_run(state);
}

struct gm_dev *cf_dev(struct cf *cf, int i)
{
	return gm_sim_dev(cf->sim[i]);
}

int cf_node(struct cf *cf, int i)
{
	return gm_dev_hnode(cf_dev(cf, i));
}

char *cf_alloc(struct cf *cf, uint64_t len)
{
	void *p;

	assert_int_equal(gm_alloc(cf->as, len, 0, &p), 0);
	return p;
}

void cf_unmap(struct cf *cf, void *p, uint64_t len)
{
	assert_int_equal(gm_as_unmap(cf->as, p, len), 0);
}

/* ----------------------------------------------------------------------------- patterns */

struct job {
	char *p;
	uint64_t words, seed;
	uint64_t first; /* the first word's place in what was filled */
	unsigned int lanes;
	bool write, zero, by_page;
	uint64_t wrong;
};

uint64_t cf_word(uint64_t seed, uint64_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15ULL ^ seed;
}

static uint64_t value(const struct job *job, uint64_t i)
{
	return job->zero ? 0 : cf_word(job->seed, job->first + i);
}

/*
 * Page by page and not word by word: where an access is a system call, or takes very long, under
 * ThreadSanitizer and in an emulated machine (CONFORMANCE_BY_PAGE in the environment).
 */
static bool by_page(void)
{
#ifdef __SANITIZE_THREAD__
	return true;
#else
	return cf_kernel || getenv("CONFORMANCE_BY_PAGE");
#endif
}

static void lane_job_pages(struct gm_sim_lane *lane, struct job *job)
{
	uint64_t per_page = PAGE / 8, w[PAGE / 8];

	for (uint64_t at = gm_sim_lane_id(lane) * per_page; at < job->words;
	     at += job->lanes * per_page) {
		uint64_t n = job->words - at < per_page ? job->words - at : per_page, wrong = 0;

		for (uint64_t i = 0; job->write && i < n; i++)
			w[i] = value(job, at + i);
		if (job->write)
			gm_sim_write(lane, job->p + 8 * at, w, 8 * n);
		else
			gm_sim_read(lane, w, job->p + 8 * at, 8 * n);
		for (uint64_t i = 0; !job->write && i < n; i++)
			wrong += w[i] != value(job, at + i);
		__atomic_fetch_add(&job->wrong, wrong, __ATOMIC_RELAXED);
	}
}

static void lane_job(struct gm_sim_lane *lane, void *arg)
{
	struct job *job = arg;

	if (job->by_page) {
		lane_job_pages(lane, job);
		return;
	}
	for (uint64_t i = gm_sim_lane_id(lane); i < job->words; i += job->lanes) {
		if (job->write)
			gm_sim_store64(lane, job->p + 8 * i, value(job, i));
		else if (gm_sim_load64(lane, job->p + 8 * i) != value(job, i))
			__atomic_fetch_add(&job->wrong, 1, __ATOMIC_RELAXED);
	}
}

static void cpu_job(struct job *job)
{
	volatile uint64_t *w = (volatile uint64_t *)(void *)job->p;

	for (uint64_t i = 0; i < job->words; i++) {
		if (job->write)
			w[i] = value(job, i);
		else
			job->wrong += w[i] != value(job, i);
	}
}

static void do_job(struct cf *cf, int who, struct job job)
{
	if (who == CPU) {
		cpu_job(&job);
	} else {
		job.lanes = gm_sim_lanes(cf->sim[who]);
		job.by_page = by_page();
		assert_int_equal(gm_sim_launch(cf->ctx[who], lane_job, &job), 0);
	}
	assert_int_equal(job.wrong, 0);
}

void cf_fill(struct cf *cf, int who, void *p, uint64_t len, uint64_t seed)
{
	do_job(cf, who, (struct job){ .p = p, .words = len / 8, .seed = seed, .write = true });
}

void cf_check_at(struct cf *cf, int who, const void *p, uint64_t len, uint64_t seed, uint64_t at)
{
	do_job(cf, who,
	       (struct job){ .p = (char *)(uintptr_t)p,
			     .words = len / 8,
			     .seed = seed,
			     .first = at / 8 });
}

void cf_check(struct cf *cf, int who, const void *p, uint64_t len, uint64_t seed)
{
	cf_check_at(cf, who, p, len, seed, 0);
}

void cf_check_zero(struct cf *cf, int who, const void *p, uint64_t len)
{
	do_job(cf, who, (struct job){ .p = (char *)(uintptr_t)p, .words = len / 8, .zero = true });
}

int cf_dev_load(struct cf *cf, int dev, const void *p, uint64_t *v)
{
	return gm_sim_access(cf->ctx[dev], (void *)(uintptr_t)p, v, 8, GM_READ);
}

int cf_dev_store(struct cf *cf, int dev, void *p, uint64_t v)
{
	return gm_sim_access(cf->ctx[dev], p, &v, 8, GM_WRITE);
}

/* ------------------------------------------------------------------------------ looking */

uint64_t cf_count_on(const void *p, uint64_t len, int node)
{
	struct gm_page_info *info = calloc(len / PAGE, sizeof(*info));
	uint64_t n = 0;

	assert_non_null(info);
	assert_int_equal(gm_query(p, len, info), 0);
	for (uint64_t i = 0; i < len / PAGE; i++)
		n += info[i].node == node;
	free(info);
	return n;
}

void cf_on(const void *p, uint64_t len, int node)
{
	assert_int_equal(cf_count_on(p, len, node), len / PAGE);
}

struct gm_stats cf_dev_stats(struct cf *cf, int i)
{
	struct gm_stats s = { .size = sizeof(s) };

	assert_int_equal(gm_dev_stats(cf_dev(cf, i), &s), 0);
	return s;
}

struct gm_stats cf_as_stats(struct cf *cf)
{
	struct gm_stats s = { .size = sizeof(s) };

	assert_int_equal(gm_as_stats(cf->as, &s), 0);
	return s;
}

static sigjmp_buf env;
static volatile siginfo_t got;

static void on_signal(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	if (sig == SIGBUS && gm_sigbus(sig, si, uc))
		return; /* inline delivery: this handler came later than gmem's */
	got = *si;
	siglongjmp(env, 1);
}

int cf_cpu_dies(const void *p, bool write, int sig)
{
	struct sigaction act = { .sa_flags = SA_SIGINFO }, saved;
	volatile uint64_t *w = (volatile uint64_t *)(uintptr_t)p;
	volatile int code = -1;

	act.sa_sigaction = on_signal;
	sigaction(sig, &act, &saved);
	if (sigsetjmp(env, 1)) {
		assert_ptr_equal(got.si_addr, p);
		code = got.si_code;
	} else if (write) {
		*w = *w;
	} else {
		(void)*w;
	}
	sigaction(sig, &saved, NULL);
	return code;
}

/* ------------------------------------------------------------------------------ warm-up */

#define THREADS 24

static void *wait_for_all(void *arg)
{
	void *volatile p = malloc(100000); /* else the compiler finds it useless */

	free(p);
	pthread_barrier_wait(arg);
	return NULL;
}

/*
 * The C library keeps the stacks and arenas of threads that have ended. Let it have as
 * many as any test makes it need, so that what a test leaves behind can be counted.
 */
void cf_warm_up(void)
{
	pthread_barrier_t all;
	pthread_t t[THREADS];
	pthread_attr_t attr __attribute__((unused));
	struct cf *cf;

#ifndef __SANITIZE_THREAD__ /* which needs more */
	pthread_getattr_default_np(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
#endif
	pthread_barrier_init(&all, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, wait_for_all, &all);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&all);
	proc_settled();
	gm_host_name(); /* which may open /dev/gmem, for good */
	cf = cf_setup();
	cf_fill(cf, 0, cf_alloc(cf, BLOCK), BLOCK, 1);
	cf_teardown(cf);
}
