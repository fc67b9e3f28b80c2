// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The bench of the unit tests: see unit.h. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmem/policy.h>

#include "unit.h"

#ifdef GM_DEBUG
#include "core/check.h"
#endif

/* ------------------------------------------------------------ setup, teardown */

int unit_setup_core(void **state)
{
	struct unit *u = calloc(1, sizeof(*u));

	gm_fake_reset();
	assert_non_null(u);
	assert_int_equal(gm_core_init(), 0);
	*state = u;
	return 0;
}

int unit_setup_as(void **state)
{
	struct unit *u;

	unit_setup_core(state);
	u = *state;
	assert_int_equal(gm_as_create(NULL, &u->as), 0);
	return 0;
}

struct gm_sim *unit_sim(unsigned int blocks, unsigned int nr)
{
	struct gm_sim_options opt = {
		.size = sizeof(opt),
		.memory = blocks * BLOCK,
		.base = (nr + 1ULL) << 32,
		.lanes = 1,
		.table_memory = 1 << 20,
		.flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK,
	};
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	/* Whom is evicted, and what moves, is to be known to the page. */
	assert_int_equal(gm_dev_set_policy(gm_sim_dev(sim), "density/lru-2m"), 0);
	return sim;
}

int unit_setup(void **state)
{
	struct unit *u;

	unit_setup_as(state);
	u = *state;
	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		u->sim[i] = unit_sim(4, i);
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
		unit_tune(unit_dev(u, i), PAGE, true, true);
	}
	return 0;
}

int unit_setup_aperture(void **state)
{
	struct gm_sim_options opt = {
		.size = sizeof(opt),
		.memory = 4 * BLOCK,
		.lanes = 1,
		.flags = GM_SIM_CHECK | GM_SIM_SYNC_FAULTS | GM_SIM_APERTURE,
	};
	struct unit *u;
	int err = unit_setup_as(state);

	if (err)
		return err;
	u = *state;
	err = gm_sim_create(&opt, &u->sim[0]);
	if (!err)
		err = gm_sim_attach(u->sim[0], u->as, &u->ctx[0]);
	if (!err)
		unit_tune(unit_dev(u, 0), PAGE, true, true);
	return err;
}

int unit_teardown(void **state)
{
	struct unit *u = *state;

	gm_fake_inject_clear();
	unit_check();
	if (u->as)
		assert_int_equal(gm_as_destroy(u->as), 0);
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		if (u->sim[i])
			assert_int_equal(gm_sim_destroy(u->sim[i]), 0);
	gm_core_exit();
	assert_true(gm_fake_check_clean());
	free(u);
	return 0;
}

/* -------------------------------------------------------------------- devices */

struct gm_dev *unit_dev(struct unit *u, unsigned int i)
{
	return gm_sim_dev(u->sim[i]);
}

int unit_node(struct unit *u, unsigned int i)
{
	return gm_dev_hnode(unit_dev(u, i));
}

void unit_tune(struct gm_dev *dev, uint32_t granule, bool no_grow, bool no_background)
{
	struct gm_dev_tunables t = {
		.size = sizeof(t),
		.granule = granule,
		.no_grow = no_grow,
		.no_background = no_background,
	};

	assert_int_equal(gm_dev_tune(dev, &t), 0);
}

/* -------------------------------------------------------------------- mappings */

uint64_t unit_alloc(struct unit *u, uint64_t len)
{
	void *addr;

	assert_int_equal(gm_alloc(u->as, len, 0, &addr), 0);
	return (uintptr_t)addr;
}

struct gm_object *unit_object(uint64_t size)
{
	struct gm_object *obj;

	assert_int_equal(gm_object_create(size, 0, &obj), 0);
	return obj;
}

uint64_t unit_map(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len,
		  uint32_t prot)
{
	void *addr;

	assert_int_equal(gm_as_map(as, obj, offset, len, prot, 0, &addr), 0);
	return (uintptr_t)addr;
}

uint64_t unit_map_at(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len,
		     uint64_t va)
{
	void *addr = (void *)(uintptr_t)va;

	assert_int_equal(gm_as_map(as, obj, offset, len, GM_READ | GM_WRITE, GM_MAP_FIXED, &addr),
			 0);
	assert_int_equal((uintptr_t)addr, va);
	return va;
}

void unit_unmap(struct gm_as *as, uint64_t va, uint64_t len)
{
	assert_int_equal(gm_as_unmap(as, (void *)(uintptr_t)va, len), 0);
}

/* -------------------------------------------------------------------- accesses */

int unit_access(struct unit *u, int who, uint64_t va, void *buf, uint64_t len, uint32_t access)
{
	if (who == CPU)
		return gm_fake_cpu_access(u->as, va, buf, len, access);
	return gm_sim_access(u->ctx[who], (void *)(uintptr_t)va, buf, len, access);
}

uint64_t unit_load(struct unit *u, int who, uint64_t va)
{
	uint64_t value = ~0ULL;

	assert_int_equal(unit_access(u, who, va, &value, sizeof(value), GM_READ), 0);
	return value;
}

void unit_store(struct unit *u, int who, uint64_t va, uint64_t value)
{
	assert_int_equal(unit_access(u, who, va, &value, sizeof(value), GM_WRITE), 0);
}

static uint64_t word_of(uint64_t tag, uint64_t va)
{
	return tag * 0x9e3779b97f4a7c15ULL + va / PAGE;
}

/* A different place in each page, so that a page mistaken for another is found. */
static uint64_t place_of(uint64_t va)
{
	return va + va / PAGE % 500 * 8;
}

void unit_fill(struct unit *u, int who, uint64_t va, uint64_t len, uint64_t tag)
{
	for (uint64_t end = va + len; va < end; va += PAGE)
		unit_store(u, who, place_of(va), word_of(tag, va));
}

void unit_verify(struct unit *u, int who, uint64_t va, uint64_t len, uint64_t tag)
{
	for (uint64_t end = va + len; va < end; va += PAGE)
		assert_int_equal(unit_load(u, who, place_of(va)), tag ? word_of(tag, va) : 0);
}

void unit_peek(struct gm_as *as, uint64_t va, uint64_t len, uint64_t tag)
{
	for (uint64_t end = va + len; va < end; va += PAGE) {
		uint64_t value;

		assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uintptr_t)&value, as, place_of(va),
					 sizeof(value)),
				 0);
		assert_int_equal(value, tag ? word_of(tag, va) : 0);
	}
}

/* -------------------------------------------------------------------- looking */

uint64_t unit_cpu_of(struct unit *u, uint64_t va)
{
	struct gm_lookup at = { .size = sizeof(at) };

	assert_int_equal(gm_as_lookup(u->as, va, &at), 0);
	return at.cpu;
}

struct gm_page_info unit_info(struct gm_as *as, uint64_t va)
{
	struct gm_page_info info;

	assert_int_equal(gm_as_query(as, va, PAGE, &info), 0);
	return info;
}

uint64_t unit_count_on(struct gm_as *as, uint64_t va, uint64_t len, int node)
{
	uint64_t n = 0;

	for (uint64_t end = va + len; va < end; va += PAGE)
		n += unit_info(as, va).node == node;
	return n;
}

void unit_on(struct gm_as *as, uint64_t va, uint64_t len, int node)
{
	for (uint64_t end = va + len; va < end; va += PAGE)
		assert_int_equal(unit_info(as, va).node, node);
}

struct gm_stats unit_as_stats(struct gm_as *as)
{
	struct gm_stats stats = { .size = sizeof(stats) };

	assert_int_equal(gm_as_stats(as, &stats), 0);
	return stats;
}

struct gm_stats unit_dev_stats(struct gm_dev *dev)
{
	struct gm_stats stats = { .size = sizeof(stats) };

	assert_int_equal(gm_dev_stats(dev, &stats), 0);
	return stats;
}

struct gm_hnode_info unit_hnode(int node)
{
	struct gm_hnode_info info = { .size = sizeof(info) };

	assert_int_equal(gm_hnode_info(node, &info), 0);
	return info;
}

/* --------------------------------------------------------------- threads, bugs */

void unit_in_thread(void *(*fn)(void *arg), void *arg)
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, arg)) /* no assertion: any thread may call */
		abort();
	pthread_join(t, NULL);
}

void unit_expect_bug(void (*fn)(void *arg), void *arg, const char *text)
{
	char message[512] = "";
	size_t len = 0;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		fn(arg);
		_exit(0);
	}
	assert_true(pid > 0);
	close(fds[1]);
	while (len < sizeof(message) - 1 &&
	       (n = read(fds[0], message + len, sizeof(message) - 1 - len)) > 0)
		len += (size_t)n;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* A sanitizer may see it first. */
	if (!strstr(message, text) && !strstr(message, "Sanitizer"))
		fail_msg("no bug \"%s\" but \"%s\"", text, message);
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void unit_check(void)
{
#ifdef GM_DEBUG
	gm_check_all();
#endif
}
