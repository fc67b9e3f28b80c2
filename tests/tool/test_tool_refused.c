// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem topo`, and the trial of `gmem check`, where any one call of the library fails, on the
 * user host: each says what did, and ends. Where userfaultfd is refused there is nothing to
 * try (exit status 77).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "topo.h"
#include "util.h"

#include <cmocka.h> /* after util.h: fail is a macro of its own */

/* Of the calls from now on this one fails; 0: none. */
static unsigned int fail_at, calls;
static const char *failed; /* its name */

static bool refuse(const char *name)
{
	if (++calls != fail_at)
		return false;
	failed = name;
	return true;
}

/* What ends something does so, and says that it failed: nothing is left behind for others. */
#define WRAP(name, ends, params, args)                                                             \
	int __real_##name params;                                                                  \
	int __wrap_##name params;                                                                  \
	int __wrap_##name params                                                                   \
	{                                                                                          \
		int err;                                                                           \
                                                                                                   \
		if (!refuse(#name))                                                                \
			return __real_##name args;                                                 \
		err = ends ? __real_##name args : 0;                                               \
		assert_int_equal(err, 0);                                                          \
		return -EIO;                                                                       \
	}

WRAP(gm_as_create, false, (const struct gm_as_options *opt, struct gm_as **as), (opt, as))
WRAP(gm_as_destroy, true, (struct gm_as * as), (as))
WRAP(gm_alloc, false, (struct gm_as * as, uint64_t len, uint32_t flags, void **addr),
     (as, len, flags, addr))
WRAP(gm_as_unmap, true, (struct gm_as * as, void *addr, uint64_t len), (as, addr, len))
WRAP(hmadvise, false, (int hnode, void *addr, size_t len, enum gm_advice advice),
     (hnode, addr, len, advice))
WRAP(gm_query, false, (const void *addr, size_t len, struct gm_page_info *info), (addr, len, info))
WRAP(gm_sim_create, false, (const struct gm_sim_options *opt, struct gm_sim **sim), (opt, sim))
WRAP(gm_sim_destroy, true, (struct gm_sim * sim), (sim))
WRAP(gm_sim_attach, false, (struct gm_sim * sim, struct gm_as *as, struct gm_sim_ctx **ctx),
     (sim, as, ctx))
WRAP(gm_sim_detach, true, (struct gm_sim_ctx * ctx), (ctx))

/* Run with each call failing in turn, until none is left; how many there were. */
static unsigned int each(void (*run)(void))
{
	for (fail_at = 1;; fail_at++) {
		calls = 0;
		failed = NULL;
		run();
		if (!failed)
			return calls;
	}
}

static void run_trial(void)
{
	static const struct {
		const char *call, *what;
	} says[] = {
		{ "gm_as_create", "create an address space" },
		{ "gm_alloc", "allocate managed memory" },
		{ "gm_sim_create", "create a simulated accelerator" },
		{ "gm_sim_attach", "attach the simulated accelerator" },
		{ "hmadvise", "move memory to the simulated accelerator" },
		{ "gm_sim_detach", "unplug the simulated accelerator" },
		{ "gm_sim_destroy", "unplug the simulated accelerator" },
		{ "gm_as_destroy", "destroy the address space" },
	};
	const char *what = NULL;
	int err = check_machine.try(&what);
	size_t i;

	assert_int_equal(err, failed ? -EIO : 0);
	for (i = 0; failed && i < sizeof(says) / sizeof(*says); i++)
		if (!strcmp(says[i].call, failed))
			break;
	assert_true(i < sizeof(says) / sizeof(*says));
	if (failed)
		assert_string_equal(what, says[i].what);
}

static void test_trial(void **state)
{
	(void)state;
	assert_int_equal(each(run_trial), 8);
}

/* Two devices. What is printed goes to a file; what was said, to another. */
static void run_topo(void)
{
	char *argv[] = { (char *)"topo",
			 (char *)"--device",
			 (char *)"sim,memory=4M",
			 (char *)"--device",
			 (char *)"sim,memory=6M",
			 (char *)"--size",
			 (char *)"4K",
			 (char *)"--repeat",
			 (char *)"1",
			 NULL };
	FILE *said = tmpfile();
	int status, out, err, c, lines = 0;

	assert_non_null(said);
	fflush(stdout);
	out = dup(STDOUT_FILENO);
	err = dup(STDERR_FILENO);
	assert_non_null(freopen("/dev/null", "w", stdout));
	dup2(fileno(said), STDERR_FILENO);
	status = topo_main((int)(sizeof(argv) / sizeof(*argv)) - 1, argv);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	rewind(said);
	while ((c = fgetc(said)) != EOF)
		lines += c == '\n';
	fclose(said);
	assert_int_equal(status, failed ? RUN_FAILED : RUN_OK);
	assert_int_equal(lines, failed ? 1 : 0);
}

static void test_topo(void **state)
{
	(void)state;
	/* A link: 1 + 1 rounds, and 5 for the latency, of two hints and a query each; 6 links. */
	assert_int_equal(each(run_topo), 6 * 7 * 3 + 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trial),
		cmocka_unit_test(test_topo),
	};
	struct gm_as *as;

	setenv("GMEM_HOST", "user", 1);
	setenv("GMEM_QUIET", "1", 1);
	if (gm_as_create(NULL, &as))
		return 77;
	gm_as_destroy(as);
	return cmocka_run_group_tests_name("tool-refused", tests, NULL, NULL);
}
