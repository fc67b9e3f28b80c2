// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Looking: where pages are, and what was counted, for callers of any version. */
#include <signal.h>
#include <sys/mman.h>

#include "unit.h"

static void query(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * PAGE);
	struct gm_page_info info[4];

	unit_store(u, CPU, va, 1);
	unit_store(u, CPU, va + PAGE, 1);
	unit_store(u, 0, va + PAGE, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va + 2 * PAGE, PAGE, GM_PIN), 0);
	assert_int_equal(gm_as_query(u->as, va, 4 * PAGE, info), 0);
	assert_int_equal(info[0].node, GM_NODE_HOST);
	assert_int_equal(info[0].flags, 0);
	assert_int_equal(info[1].node, unit_node(u, 0));
	assert_int_equal(info[1].flags, GM_PAGE_RETAINED);
	assert_int_equal(info[2].node, unit_node(u, 1));
	assert_int_equal(info[2].flags, GM_PAGE_PINNED);
	assert_int_equal(info[3].node, GM_NODE_NONE);
}

/* One array for a range over several regions, objects and blocks, some untouched. */
static void query_over_borders(void **state)
{
	struct unit *u = *state;
	struct gm_page_info info[2 + 3 * 512 + 7 * 20];
	struct gm_object *obj;
	uint64_t va = 0x7000003000ULL, n = 3 * 512 + 7 * 20;

	memset(info, 0xEE, sizeof(info));
	assert_int_equal(gm_object_create(4 * BLOCK, 0, &obj), 0);
	unit_map_at(u->as, obj, 5 * PAGE, 3 * BLOCK, va); /* five pages into the first block */
	for (uint64_t i = 0; i < 7; i++)
		unit_map_at(u->as, obj, 3 * BLOCK + (6 - i) * 60 * PAGE, 20 * PAGE,
			    va + 3 * BLOCK + i * 20 * PAGE);
	for (uint64_t i = 0; i < n; i++) /* pages 600 to 1200, in blocks 1 and 2, are untouched */
		if (i % 7 != 3 && (i < 600 || i >= 1200))
			unit_store(u, (int)(i % 3) - 1, va + i * PAGE, i);
	for (uint64_t i = 5; i < n; i += 7)
		if (i < 600 || i >= 1200)
			assert_int_equal(
				gm_advise(u->as, unit_node(u, 1), va + i * PAGE, 1, GM_PIN), 0);
	for (uint64_t from = 0; from < n; from += n / 2) {
		assert_int_equal(gm_as_query(u->as, va + from * PAGE, (n - from) * PAGE, info + 1),
				 0);
		for (uint64_t i = from; i < n; i++) {
			const struct gm_page_info one = unit_info(u->as, va + i * PAGE);

			assert_memory_equal(&info[1 + i - from], &one, sizeof(one));
			if (i % 7 == 5 && (i < 600 || i >= 1200)) {
				assert_int_equal(one.node, unit_node(u, 1));
				assert_true(one.flags & GM_PAGE_PINNED);
			} else if (i >= 616 && i < 1184) { /* the CPU's granule is 16 */
				assert_int_equal(one.node, GM_NODE_NONE);
			}
		}
		assert_int_equal(info[0].node, (int)0xEEEEEEEE);
		if (!from)
			assert_int_equal(info[1 + n].flags, 0xEEEEEEEE);
	}
	unit_unmap(u->as, va + 3 * BLOCK + 50 * PAGE, PAGE);
	assert_int_equal(gm_as_query(u->as, va, n * PAGE, info), -EFAULT);
	assert_int_equal(gm_as_query(u->as, va + 3 * BLOCK + 50 * PAGE, PAGE, info), -EFAULT);
	assert_int_equal(gm_as_query(u->as, va + 3 * BLOCK + 51 * PAGE, 89 * PAGE, info), 0);
	gm_object_put(obj);
}

/* The answer may go to memory that faults: no lock is held where it is written (I7). */
static struct {
	char *page;
	unsigned int faults, held;
} answer;

static void on_segv(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	(void)uc;
	if ((char *)si->si_addr < answer.page || (char *)si->si_addr >= answer.page + PAGE)
		abort();
	answer.faults++;
	answer.held += gm_fake_locks_held();
	mprotect(answer.page, PAGE, PROT_READ | PROT_WRITE);
}

static void query_into_memory_that_faults(void **state)
{
	struct unit *u = *state;
	struct sigaction act = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO }, saved;
	uint64_t va = unit_alloc(u, 4 * PAGE);

	unit_store(u, 0, va, 1);
	answer.page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(answer.page, MAP_FAILED);
	answer.faults = answer.held = 0;
	sigaction(SIGSEGV, &act, &saved);
	assert_int_equal(gm_as_query(u->as, va, 4 * PAGE, (void *)answer.page), 0);
	sigaction(SIGSEGV, &saved, NULL);
	assert_int_equal(answer.faults, 1);
	assert_int_equal(answer.held, 0);
	assert_int_equal(((struct gm_page_info *)(void *)answer.page)->node, unit_node(u, 0));
	munmap(answer.page, PAGE);
}

/* A caller built against another version of the struct. */
static void other_sizes(void **state)
{
	struct unit *u = *state;
	struct {
		struct gm_stats stats;
		uint64_t tail[4];
	} large;
	struct gm_stats small;

	memset(&large, 0xAA, sizeof(large));
	large.stats.size = sizeof(large);
	assert_int_equal(gm_as_stats(u->as, &large.stats), 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(large.tail[i], 0);
	memset(&small, 0xAA, sizeof(small));
	small.size = offsetof(struct gm_stats, dev_faults);
	assert_int_equal(gm_dev_stats(unit_dev(u, 0), &small), 0);
	assert_int_equal(small.cpu_faults, 0);
	assert_int_equal(small.dev_faults, 0xAAAAAAAAAAAAAAAAULL); /* not his */
	small.size = 0;
	assert_int_equal(gm_as_stats(u->as, &small), -EINVAL);
	assert_int_equal(gm_as_stats(NULL, &small), -EINVAL);
	assert_int_equal(gm_as_stats(u->as, NULL), -EINVAL);
	assert_int_equal(gm_dev_stats(NULL, &small), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(query, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(query_over_borders, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(query_into_memory_that_faults, unit_setup,
						unit_teardown),
		cmocka_unit_test_setup_teardown(other_sizes, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
