// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * model [--seed N] [--ops N] [--layout a|b|c|d|e|f|g|all] [--no-inject] [--verbose]
 *	 [--from-bytes FILE]
 * model_lib, the same with [--inline]: faults are serviced in the faulting thread
 *
 * A failure of the model's, a broken invariant of the core's and a crash all end with
 * the operation and the command that reproduces it, and exit code 1. FILE is an input
 * of the fuzzer's: its first byte chooses the layout.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"

static struct m_config cfg = { .seed = 1, .inject = true };
static const char *layouts = "abc";

static void usage(void)
{
	fprintf(stderr,
		"usage: %s [--seed N] [--ops N] [--layout a|b|c|d|e|f|g|all] [--no-inject] "
		"[--verbose]%s "
		"[--from-bytes FILE]\n",
		port.program, port.may_inline ? " [--inline]" : "");
	exit(2);
}

static uint64_t number(const char *s)
{
	char *end;
	unsigned long long n = strtoull(s, &end, 0);

	if (!*s || *end)
		usage();
	return n;
}

static void parse(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "ops", required_argument, NULL, 'o' },
		{ "layout", required_argument, NULL, 'l' },
		{ "no-inject", no_argument, NULL, 'n' },
		{ "inline", no_argument, NULL, 'i' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "from-bytes", required_argument, NULL, 'b' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	cfg.ops = port.ops;
	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		if (c == 's')
			cfg.seed = number(optarg);
		else if (c == 'o')
			cfg.ops = number(optarg);
		else if (c == 'l' && strcmp(optarg, "all"))
			layouts = optarg;
		else if (c == 'n')
			cfg.inject = false;
		else if (c == 'i' && port.may_inline)
			cfg.inline_faults = true;
		else if (c == 'v')
			cfg.verbose = true;
		else if (c == 'b')
			cfg.file = optarg;
		else if (c != 'l')
			usage();
	}
	if (optind != argc || !*layouts || strspn(layouts, "abcdefg") != strlen(layouts))
		usage();
}

static void run_file(void)
{
	static uint8_t bytes[1 << 20];
	FILE *f = fopen(cfg.file, "rb");
	size_t n;

	if (!f) {
		perror(cfg.file);
		exit(2);
	}
	n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	m_run_bytes(&cfg, bytes, n);
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	m_catch_crashes();
	port_start(&cfg, argv);
	if (cfg.file) {
		run_file();
		return 0;
	}
	printf("%s: seed %llu\n", port.program, (unsigned long long)cfg.seed);
	for (; *layouts; layouts++) {
		cfg.layout = *layouts;
		m_run(&cfg);
	}
	return 0;
}
