// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The linux-user host's shelf where the kernel refuses: each call that it takes to put a page table
 * there and back. The block is revoked and mapped all the same, and what failed works when it is
 * tried again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "host_shelf.h"

static void no_shelf(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct tc_bench b = set_up(GM_AS_INLINE);
		struct proc_resources before = proc_resources();
		uint64_t plus = 0;

		fail_next(i < 2 ? MMAP : MADVISE, i % 2, 1, ENOMEM);
		round_trip(&b, &plus, 0);
		assert_int_equal(plan[i < 2 ? MMAP : MADVISE].count, 0);
		proc_assert_same(before);
		round_trip(&b, &plus, 2);
		is_armed(&b, plus);
		tear_down(&b);
	}
}

/* Not there: its place is as it was, or empty, or somebody else's; that is never touched again. */
static void cannot_be_put(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct tc_bench b = set_up(GM_AS_INLINE);
		uint64_t plus = 0;

		target_goes = i > 0;
		target_taken = i == 2;
		fail_next(MREMAP, 0, 1, ENOMEM);
		if (i == 3)
			fail_next(MADVISE, 2, 1, ENOMEM); /* two for the shelf, this for the slot */
		round_trip(&b, &plus, 0);
		round_trip(&b, &plus, i % 2 ? 2 : 0);
		is_armed(&b, plus);
		tear_down(&b);
	}
}

/* Its rights cannot be made what they should be: it is not put back. */
static void rights_are_refused(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	uint64_t plus = 0;

	(void)state;
	fail_next(MPROTECT, 0, 1, ENOMEM);
	round_trip(&b, &plus, 1);
	assert_int_equal(plan[MPROTECT].count, 0);
	round_trip(&b, &plus, 2);
	is_armed(&b, plus);
	tear_down(&b);
}

/* Not back: it is mapped page by page, at addresses that are mapped anew if they have to be. */
static void cannot_be_put_back(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct tc_bench b = set_up(GM_AS_INLINE);
		uint64_t plus = 0;

		target_goes = i;
		fail_next(MREMAP, 1, 1, ENOMEM);
		round_trip(&b, &plus, 1);
		assert_int_equal(plan[MREMAP].count, 0);
		assert_rights(b.va, "rw-s", " dc", true);
		round_trip(&b, &plus, 2);
		is_armed(&b, plus);
		fail_next(UNREGISTER, 0, 1, ENOMEM);
		round_trip(&b, &plus, 0);
		assert_int_equal(plan[UNREGISTER].count, 0);
		round_trip(&b, &plus, 2);
		is_armed(&b, plus);
		tear_down(&b);
	}
}

/* Not armed again: nothing of the region is revoked before it is. */
static void cannot_be_armed(void **state)
{
	struct tc_bench b = set_up(GM_AS_INLINE);
	uint64_t plus = 0;

	(void)state;
	fail_next(REGISTER, 0, 3, ENOMEM);
	round_trip(&b, &plus, 2);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va, BLOCK), -ENOMEM);
	assert_int_equal(gm_os_cpu_revoke(b.r, b.va + PAGE, PAGE), -ENOMEM);
	assert_int_equal(plan[REGISTER].count, 0);
	assert_int_equal(faults_to_read(&b, plus), 0);
	round_trip(&b, &plus, 2);
	is_armed(&b, plus);
	tear_down(&b);
}

static int child_hole(void)
{
	struct tc_bench b = set_up(GM_AS_INLINE);

	gm_os_cpu_revoke(b.r, b.va, BLOCK);
	target_goes = true;
	fail_next(MREMAP, 0, 1, ENOMEM);
	fail_next(MMAP, 0, 1, ENOMEM);
	return gm_os_cpu_map(b.r, b.va, BLOCK);
}

static void cannot_be_mended(void **state)
{
	char said[512];

	(void)state;
	assert_true(proc_died_of(proc_child("hole", said, sizeof(said)), SIGABRT));
	assert_non_null(strstr(said, "a part of managed memory is lost"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_shelf),	      cmocka_unit_test(cannot_be_put),
		cmocka_unit_test(rights_are_refused), cmocka_unit_test(cannot_be_put_back),
		cmocka_unit_test(cannot_be_armed),    cmocka_unit_test(cannot_be_mended),
	};

	if (argc == 3 && !strcmp(argv[1], "child"))
		return child_hole();
	return cmocka_run_group_tests_name("host_shelf_refused", tests, warm_up, NULL);
}
