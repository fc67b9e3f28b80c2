// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * conformance thread|inline|kernel[-16k|-64k|-2m|-peer] [PATTERN of tests]: see conformance.h. With
 * a size, the first device's base page is that large; with peer, devices are told in one message
 * what to map and to copy (peer_map, peer_unmap).
 */
#include <stdio.h>
#include <unistd.h>

#include "conformance.h"

static int warm_up(void **state)
{
	(void)state;
	cf_warm_up();
	return 0;
}

/* How faults are delivered, and what is behind it: the base page. False: neither. */
static bool parse(const char *mode)
{
	static const char *const modes[] = { "thread", "inline", "kernel" };
	static const struct {
		const char *name;
		uint64_t sizes;
		uint32_t dev_flags;
	} pages[] = { { "", 0, 0 },
		      { "-16k", 1 << 14 | 1 << 21, 0 },
		      { "-64k", 1 << 16, 0 },
		      { "-2m", 1 << 21, 0 },
		      { "-peer", 0, GM_SIM_PEER_OPS } };

	for (unsigned int i = 0; i < 3 * 5; i++) {
		size_t len = strlen(modes[i % 3]);

		if (strncmp(mode, modes[i % 3], len) || strcmp(mode + len, pages[i / 3].name))
			continue;
		cf_flags = i % 3 == 1 ? GM_AS_INLINE : 0;
		cf_kernel = i % 3 == 2;
		cf_pgsizes = pages[i / 3].sizes;
		cf_dev_flags = pages[i / 3].dev_flags;
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[160];
	size_t n = 0;

	if (argc == 3 && !strcmp(argv[1], "child"))
		_exit(cf_run_child(argv[2]));
	if (argc < 2 || argc > 3 || !parse(argv[1])) {
		fprintf(stderr, "usage: %s thread|inline|kernel[-16k|-64k|-2m|-peer] [PATTERN]\n",
			argv[0]);
		return 2;
	}
	setenv("GMEM_HOST", cf_kernel ? "kernel" : "user", 1);
	if (argc == 3)
		cmocka_set_test_filter(argv[2]);
	for (size_t i = 0; i < cf_nr_data_tests; i++)
		tests[n++] = cf_data_tests[i];
	for (size_t i = 0; i < cf_nr_calls_tests; i++)
		tests[n++] = cf_calls_tests[i];
	for (size_t i = 0; i < cf_nr_async_tests; i++)
		tests[n++] = cf_async_tests[i];
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
	for (size_t i = 0; i < cf_nr_place_busy_tests; i++)
		tests[n++] = cf_place_busy_tests[i];
	for (size_t i = 0; i < cf_nr_context_tests; i++)
		tests[n++] = cf_context_tests[i];
	for (size_t i = 0; i < cf_nr_remove_tests; i++)
		tests[n++] = cf_remove_tests[i];
	for (size_t i = 0; i < cf_nr_in_place_tests; i++)
		tests[n++] = cf_in_place_tests[i];
	for (size_t i = 0; i < cf_nr_attr_tests; i++)
		tests[n++] = cf_attr_tests[i];
	for (size_t i = 0; i < cf_nr_lifecycle_tests; i++)
		tests[n++] = cf_lifecycle_tests[i];
	for (size_t i = 0; i < cf_nr_expose_tests; i++)
		tests[n++] = cf_expose_tests[i];
	for (size_t i = 0; i < cf_nr_events_tests; i++)
		tests[n++] = cf_events_tests[i];
	/* What the macro of cmocka's calls, which wants an array of known length. */
	return _cmocka_run_group_tests(argv[1], tests, n, warm_up, NULL);
}
