// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Which host libgmem chooses, and what it says where that is not to be had. A process
 * decides once, so each case is a process of its own; /dev/gmem is where the test says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/host.h"
#include "null_mmu.h"
#include "process.h"

#define IS(err, want, text)                                                                        \
	do {                                                                                       \
		int is_err = (err);                                                                \
		if (is_err != (want) || !strstr(gm_strerror(is_err), text)) {                      \
			fprintf(stderr, "line %d: %d: %s\n", __LINE__, is_err,                     \
				gm_strerror(is_err));                                              \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static bool is_host(const char *name)
{
	const char *is = gm_host_name();

	return is && !strcmp(is, name);
}

/* Every call that chooses fails alike, with the reason; nothing is decided by it. */
static int all_fail(int want, const char *text)
{
	struct gm_hnode_info info = { .size = sizeof(info) };
	struct gm_attr attr = { .size = sizeof(attr) };
	struct gm_page_info page;
	struct gm_object *obj;
	struct gm_dev *dev;
	struct gm_as *as;

	if (gm_host_name())
		return 2;
	IS(gm_as_create(NULL, &as), want, text);
	IS(gm_object_create(GM_PAGE_SIZE, 0, &obj), want, text);
	IS(gm_object_from_fd(0, &obj), want, text);
	IS(gm_dev_create(&null_mmu, "toy", NULL, &dev), want, text);
	IS(gm_dev_from_hnode(1, &dev), want, text);
	IS(hmadvise(0, &page, 8, GM_COLD), want, text);
	IS(hmemcpy(0, &page, &page, 8), want, text);
	IS(gm_query(&page, 8, &page), want, text);
	IS(gm_attr_query(&page, 8, &attr), want, text);
	IS(gm_hnode_info(1, &info), want, text);
	gm_retain_limit(GM_PAGE_SIZE);
	if (gm_retained_bytes() || gm_metadata_bytes() || gm_retain_trim(1))
		return 3;
	setenv("GMEM_HOST", "user", 1);
	return is_host("user") ? 0 : 4;
}

static int kernel_absent(void)
{
	gm_path_gmem = "/dev/null/gmem"; /* ENOTDIR: whatever else is wrong */
	IS(gm_object_create(GM_PAGE_SIZE, 0, &(struct gm_object *){ NULL }), -ENOTDIR, "the right");
	gm_path_gmem = "/nonexistent/gmem";
	return all_fail(-ENOENT, "load the module gmem");
}

/* It can be opened, and is something else. */
static int kernel_other(void)
{
	gm_path_gmem = "/dev/null";
	return all_fail(-EOPNOTSUPP, "not what this library knows");
}

static int unknown(void)
{
	return all_fail(-EINVAL, "none of user, kernel and auto");
}

/* There is a /dev/gmem, but it is not used; or it cannot be. */
static int user(void)
{
	struct gm_object *obj, *same;
	struct gm_dev *dev;

	if (!is_host("user"))
		return 2;
	setenv("GMEM_HOST", "kernel", 1); /* too late */
	if (!is_host("user"))
		return 3;
	IS(gm_object_create(GM_PAGE_SIZE, 0, &obj), 0, "success");
	IS(gm_object_fd(obj), -EOPNOTSUPP, "GMEM_HOST");
	IS(gm_object_fd(NULL), -EINVAL, "misuse");
	IS(gm_object_from_fd(0, &same), -EOPNOTSUPP, "GMEM_HOST");
	IS(gm_object_from_fd(0, NULL), -EINVAL, "misuse");
	IS(gm_as_fd(NULL), -EINVAL, "misuse");
	IS(gm_as_on_destroy(NULL, NULL, NULL), -EINVAL, "misuse");
	/* No call touches it. */
	IS(gm_as_fd((struct gm_as *)(void *)obj), -EOPNOTSUPP, "GMEM_HOST");
	IS(gm_as_on_destroy((struct gm_as *)(void *)obj, NULL, NULL), -EOPNOTSUPP, "GMEM_HOST");
	IS(gm_dev_from_hnode(1, &dev), -EOPNOTSUPP, "");
	IS(gm_dev_from_hnode(1, NULL), -EINVAL, "");
	gm_object_put(obj);
	return 0;
}

static int by_file(const char *wish, int (*fn)(void))
{
	if (wish)
		setenv("GMEM_HOST", wish, 1);
	else
		unsetenv("GMEM_HOST");
	return fn();
}

static int falls_back(void)
{
	gm_path_gmem = "/nonexistent/gmem";
	return user();
}

/* A driver of the program's own, before anything else: its host, though GMEM_HOST leaves it open. */
static int driver_first(void)
{
	struct gm_dev *dev;

	IS(gm_dev_create(&null_mmu, "toy", NULL, &dev), 0, "success");
	if (!is_host("user") || gm_dev_hnode(dev) < 1)
		return 2;
	IS(gm_dev_register_physmem(dev, 0, GM_BLOCK_SIZE), 0, "success");
	IS(gm_dev_unregister_physmem(dev, 0, GM_BLOCK_SIZE), 0, "success");
	IS(gm_dev_destroy(dev), 0, "success");
	return 0;
}

/* Without a choice the calls that take a handle know that there is none. */
static int no_choice(void)
{
	IS(gm_as_destroy(NULL), -EINVAL, "misuse");
	IS(gm_as_detach(NULL), -EINVAL, "misuse");
	gm_object_put(NULL);
	return 0;
}

static int child(const char *name)
{
	static const struct {
		const char *name, *wish;
		int (*fn)(void);
	} cases[] = {
		{ "kernel-absent", "kernel", kernel_absent },
		{ "kernel-other", "kernel", kernel_other },
		{ "unknown", "kern", unknown },
		{ "user", "user", user },
		{ "auto", "auto", falls_back },
		{ "empty", "", falls_back },
		{ "unset", NULL, falls_back },
		{ "driver", "auto", driver_first },
		{ "driver-unset", NULL, driver_first },
		{ "no-choice", "auto", no_choice },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (!strcmp(cases[i].name, name))
			return by_file(cases[i].wish, cases[i].fn);
	return 99;
}

static void ends_well(const char *name)
{
	char said[1024];

	proc_ends_well(name, said, sizeof(said));
}

static void test_kernel(void **state)
{
	(void)state;
	ends_well("kernel-absent");
	ends_well("kernel-other");
}

static void test_unknown(void **state)
{
	(void)state;
	ends_well("unknown");
}

static void test_user(void **state)
{
	(void)state;
	ends_well("user");
}

static void test_auto_falls_back(void **state)
{
	(void)state;
	ends_well("auto");
	ends_well("empty");
	ends_well("unset");
}

static void test_driver_first(void **state)
{
	(void)state;
	ends_well("driver");
	ends_well("driver-unset");
}

static void test_no_choice(void **state)
{
	(void)state;
	ends_well("no-choice");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel),	     cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_user),	     cmocka_unit_test(test_auto_falls_back),
		cmocka_unit_test(test_driver_first), cmocka_unit_test(test_no_choice),
	};

	if (argc == 3 && !strcmp(argv[1], "child"))
		return child(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
