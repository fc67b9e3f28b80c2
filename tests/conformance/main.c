// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* conformance thread|inline|kernel [PATTERN of tests]: see conformance.h. */
#include <stdio.h>
#include <unistd.h>

#include "conformance.h"

static int warm_up(void **state)
{
	(void)state;
	cf_warm_up();
	return 0;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[96];
	size_t n = 0;

	if (argc == 3 && !strcmp(argv[1], "child"))
		_exit(cf_run_child(argv[2]));
	if (argc < 2 || argc > 3 ||
	    (strcmp(argv[1], "thread") && strcmp(argv[1], "inline") && strcmp(argv[1], "kernel"))) {
		fprintf(stderr, "usage: %s thread|inline|kernel [PATTERN]\n", argv[0]);
		return 2;
	}
	cf_kernel = !strcmp(argv[1], "kernel");
	setenv("GMEM_HOST", cf_kernel ? "kernel" : "user", 1);
	if (argc == 3)
		cmocka_set_test_filter(argv[2]);
	cf_flags = !strcmp(argv[1], "inline") ? GM_AS_INLINE : 0;
	for (size_t i = 0; i < cf_nr_data_tests; i++)
		tests[n++] = cf_data_tests[i];
	for (size_t i = 0; i < cf_nr_calls_tests; i++)
		tests[n++] = cf_calls_tests[i];
	for (size_t i = 0; i < cf_nr_hmm_tests; i++)
		tests[n++] = cf_hmm_tests[i];
	for (size_t i = 0; i < cf_nr_partial_tests; i++)
		tests[n++] = cf_partial_tests[i];
	for (size_t i = 0; i < cf_nr_peers_tests; i++)
		tests[n++] = cf_peers_tests[i];
	for (size_t i = 0; i < cf_nr_process_tests; i++)
		tests[n++] = cf_process_tests[i];
	for (size_t i = 0; i < cf_nr_place_tests; i++)
		tests[n++] = cf_place_tests[i];
	for (size_t i = 0; i < cf_nr_context_tests; i++)
		tests[n++] = cf_context_tests[i];
	/* What the macro of cmocka's calls, which wants an array of known length. */
	return _cmocka_run_group_tests(argv[1], tests, n, warm_up, NULL);
}
