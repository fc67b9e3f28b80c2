// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A device's memory that fails, seen by a program on the linux-user host: the real core, the
 * real host, the simulated accelerator.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <gmem/driver.h>
#include <gmem/gmem.h>
#include <gmem/sim.h>

#define PAGE GM_PAGE_SIZE
#define BLOCK GM_BLOCK_SIZE

static sigjmp_buf env;
static volatile siginfo_t got;

static void on_sigbus(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	got = *si;
	siglongjmp(env, sig);
}

static bool raises(volatile uint64_t *word, bool write)
{
	if (sigsetjmp(env, 1))
		return true;
	if (write)
		*word = 1;
	else
		(void)*word;
	return false;
}

static struct gm_page_info info_of(void *va)
{
	struct gm_page_info info;

	assert_int_equal(gm_query(va, PAGE, &info), 0);
	return info;
}

static void is_lost(struct gm_sim_ctx *ctx, unsigned char *page)
{
	uint64_t word = 1;

	assert_int_equal(info_of(page).node, GM_NODE_NONE);
	assert_int_equal(info_of(page).flags, GM_PAGE_POISONED);
	for (unsigned int i = 0; i < 4; i++) {
		assert_true(raises((uint64_t *)(void *)(page + 40), i & 1));
		assert_int_equal(got.si_code, BUS_MCEERR_AR);
		assert_ptr_equal(got.si_addr, page + 40);
	}
	assert_int_equal(gm_sim_access(ctx, page, &word, 8, GM_READ), -EHWPOISON);
	assert_int_equal(hmemcpy(GM_NODE_NONE, &word, page, 8), -EHWPOISON);
}

static void lose_one(uint32_t as_flags)
{
	struct gm_as_options opt = { .size = sizeof(opt), .flags = as_flags };
	struct gm_hnode_info hnode = { .size = sizeof(hnode) };
	struct gm_lookup at = { .size = sizeof(at) };
	struct sigaction act = { .sa_flags = SA_SIGINFO }, saved;
	unsigned char *mem, *bad;
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	struct gm_as *as;
	uint64_t word;
	void *addr;
	int node;

	act.sa_sigaction = on_sigbus;
	sigaction(SIGBUS, &act, &saved);
	assert_int_equal(gm_as_create(&opt, &as), 0);
	assert_int_equal(gm_sim_create(NULL, &sim), 0);
	assert_int_equal(gm_sim_attach(sim, as, &ctx), 0);
	node = gm_dev_hnode(gm_sim_dev(sim));
	assert_int_equal(gm_alloc(as, BLOCK, 0, &addr), 0);
	mem = addr;
	bad = mem + 77 * PAGE;
	for (uint64_t i = 0; i < BLOCK; i += PAGE)
		memcpy(mem + i, &i, 8);
	assert_int_equal(hmadvise(node, mem, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_as_lookup(as, (uintptr_t)bad, &at), 0);
	assert_int_equal(gm_dev_poison(gm_sim_dev(sim), at.pa), 0);
	assert_int_equal(gm_hnode_info(node, &hnode), 0);
	assert_int_equal(hnode.poisoned, PAGE);
	is_lost(ctx, bad);
	for (uint64_t i = 0; i < BLOCK; i += PAGE) {
		if (mem + i == bad)
			continue;
		assert_int_equal(info_of(mem + i).node, node);
		assert_int_equal(gm_sim_access(ctx, mem + i, &word, 8, GM_READ), 0);
		assert_int_equal(word, i);
	}
	for (uint64_t i = 0; i < BLOCK; i += PAGE)
		assert_true(mem + i == bad || *(uint64_t *)(void *)(mem + i) == i);
	is_lost(ctx, bad);
	assert_int_equal(hmadvise(0, bad, PAGE, GM_DONTNEED), 0);
	assert_false(raises((uint64_t *)(void *)bad, false));
	assert_int_equal(*bad, 0);
	*bad = 5;
	assert_int_equal(gm_sim_access(ctx, bad, &word, 8, GM_READ), 0);
	assert_int_equal(word, 5);
	assert_int_equal(gm_as_destroy(as), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
	sigaction(SIGBUS, &saved, NULL);
}

static void in_a_thread(void **state)
{
	(void)state;
	lose_one(0);
}

static void in_line(void **state)
{
	(void)state;
	lose_one(GM_AS_INLINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_a_thread),
		cmocka_unit_test(in_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
