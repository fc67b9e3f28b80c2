// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Devices that the command makes: which host they are on, and what --device says of them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device.h"
#include "util.h"

#define SIM_DEVICE "/dev/gmem_sim"
#define MAX_LANES 256U
#define MAX_ENGINES 64U
#define PAGE_4K 4096ULL
#define PAGE_64K (64ULL << 10)

static bool sim_in_kernel(void)
{
	return !access(SIM_DEVICE, R_OK | W_OK);
}

/*
 * The memory is made first, and the device must be where it is: without the kernel's device,
 * to which few have the right, both are in this process, unless the user says otherwise; so too
 * to record, which the kernel host cannot.
 */
void device_choose_host(bool record)
{
	const char *wish = getenv("GMEM_HOST");

	if ((!wish || !*wish || !strcmp(wish, "auto")) && (record || !sim_in_kernel()))
		setenv("GMEM_HOST", "user", 1);
}

bool device_possible(void)
{
	const char *host = gm_host_name();

	return host && (!strcmp(host, "user") || sim_in_kernel());
}

static int bad(const char *spec, const char *key, const char *say)
{
	return fail(RUN_BAD_INPUT, "--device %s: %s: %s", spec, key, say);
}

static int set_number(const char *spec, const char *key, const char *value, uint64_t min,
		      uint64_t max, uint32_t *to)
{
	uint64_t v;

	if (!value || number_parse(value, min, max, &v))
		return fail(RUN_BAD_INPUT, "--device %s: %s: give a number from %llu to %llu", spec,
			    key, (unsigned long long)min, (unsigned long long)max);
	*to = (uint32_t)v;
	return RUN_OK;
}

static int set_memory(const char *spec, const char *value, struct gm_sim_options *opt)
{
	uint64_t v;

	if (!value || size_parse(value, &v) || v < GM_BLOCK_SIZE || v > GM_OBJECT_MAX_SIZE)
		return bad(spec, "memory", "give a size from 2M up, such as 64M");
	opt->memory = (v + GM_BLOCK_SIZE - 1) & ~(GM_BLOCK_SIZE - 1);
	return RUN_OK;
}

static int set_page(const char *spec, const char *value, struct gm_sim_options *opt)
{
	uint64_t v;

	if (!value || size_parse(value, &v) ||
	    (v != PAGE_4K && v != PAGE_64K && v != GM_BLOCK_SIZE))
		return bad(spec, "page", "give 4K, 64K or 2M");
	/* What the accelerator has by itself, from this size up. */
	opt->pgsize_bitmap = (PAGE_4K | PAGE_64K | GM_BLOCK_SIZE) & ~(v - 1);
	return RUN_OK;
}

/* The name is kept for as long as the command runs. */
static int set_directory(const char *spec, const char *value, struct gm_sim_options *opt)
{
	struct stat st;

	if (!value || stat(value, &st) || !S_ISDIR(st.st_mode))
		return bad(spec, "dir", "give a directory that there is");
	free((char *)opt->directory);
	opt->directory = xstrndup(value, strlen(value));
	return RUN_OK;
}

static int set(const char *spec, const char *key, const char *value, struct gm_sim_options *opt)
{
	if (!strcmp(key, "memory"))
		return set_memory(spec, value, opt);
	if (!strcmp(key, "lanes"))
		return set_number(spec, key, value, 1, MAX_LANES, &opt->lanes);
	if (!strcmp(key, "engines"))
		return set_number(spec, key, value, 0, MAX_ENGINES, &opt->copy_threads);
	if (!strcmp(key, "page"))
		return set_page(spec, value, opt);
	if (!strcmp(key, "dir"))
		return set_directory(spec, value, opt);
	if (strcmp(key, "link"))
		return bad(spec, key,
			   "no such key: choose from memory, lanes, page, engines, dir, link");
	if (!value || (strcmp(value, "yes") && strcmp(value, "no")))
		return bad(spec, key, "give yes or no");
	if (!strcmp(value, "no"))
		opt->flags |= GM_SIM_NO_LINK;
	else
		opt->flags &= ~GM_SIM_NO_LINK;
	return RUN_OK;
}

int device_parse(const char *spec, struct gm_sim_options *opt)
{
	char *copy = xstrndup(spec, strlen(spec)), *save = NULL, *word, *value;
	int err = RUN_OK;

	*opt = (struct gm_sim_options){ .size = sizeof(*opt) };
	word = strtok_r(copy, ",", &save);
	if (!word || strcmp(word, "sim"))
		err = fail(RUN_BAD_INPUT,
			   "--device %s: unknown kind of device: give sim, with or without "
			   "',memory=SIZE' and the like",
			   spec);
	while (!err && (word = strtok_r(NULL, ",", &save))) {
		value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		err = set(spec, word, value, opt);
	}
	free(copy);
	return err;
}
