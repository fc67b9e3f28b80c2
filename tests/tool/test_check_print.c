// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What `gmem check` prints of machines that are made up, and how it reads their files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "check_machine.h"

/* What is printed of a machine with something of every kind; the caller frees it. */
static char *printed(int (*print)(FILE *out))
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	assert_int_equal(print(f), 0);
	fclose(f);
	return text;
}

static int plain(FILE *out)
{
	return check_print(&c, out, false, false);
}

static int colored(FILE *out)
{
	return check_print(&c, out, true, true);
}

static int json(FILE *out)
{
	return check_print_json(&c, out);
}

static void test_text(void **state)
{
	char *text, *line, *save = NULL;

	(void)state;
	m.full = m.dev = -EPERM;
	m.memfd = -ENOSYS;
	put(HUGE "free_hugepages", "0\n");
	run(NULL);
	text = printed(plain);
	assert_non_null(strstr(text, "\nuser host\n"));
	assert_non_null(strstr(text, "  warn  userfaultfd     for faults of user mode only\n"));
	assert_non_null(strstr(text, " as root: sysctl vm.unprivileged_userfaultfd=1\n"));
	assert_non_null(strstr(text, "  FAIL  memfd           refused: "));
	assert_non_null(strstr(text, "  -     hugetlb "));
	assert_non_null(strstr(text, "\nWorks, on the kernel host; 2 things to mend.\n"));
	assert_null(strchr(text, '\033'));
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!strstr(line, "as root: "))
			assert_true(strlen(line) <= 78);
	free(text);
	text = printed(colored);
	assert_non_null(strstr(text, "\033[31mFAIL\033[0m  memfd"));
	assert_non_null(strstr(text, " mend it: sysctl vm.unpriv"));
	free(text);

	m.memfd = 0;
	run(NULL);
	text = printed(plain);
	assert_non_null(strstr(text, "; 1 thing to mend.\n"));
	free(text);
	run("moon");
	text = printed(plain);
	assert_non_null(strstr(text, "\nNot ready: "));
	free(text);
	good_machine(NULL);
	run(NULL);
	text = printed(plain);
	assert_non_null(strstr(text, "\nReady, on the kernel host.\n"));
	free(text);
}

static void test_json(void **state)
{
	json_t *root_object, *checks, *first, *memfd = NULL, *each;
	char *text;
	size_t i;

	(void)state;
	m.memfd = -EMFILE;
	run("user");
	text = printed(json);
	root_object = json_loads(text, 0, NULL);
	free(text);
	assert_non_null(root_object);
	assert_string_equal(json_string_value(json_object_get(root_object, "status")), "unusable");
	assert_null(json_object_get(root_object, "host"));
	assert_int_equal(json_integer_value(json_object_get(root_object, "missing")), 2);
	assert_true(json_is_false(json_object_get(root_object, "user_host")));
	assert_true(json_is_true(json_object_get(root_object, "kernel_host")));
	checks = json_object_get(root_object, "checks");
	assert_int_equal(json_array_size(checks), c.nr);
	first = json_array_get(checks, 0);
	assert_string_equal(json_string_value(json_object_get(first, "group")), "machine");
	assert_null(json_object_get(first, "mend"));
	json_array_foreach(checks, i,
			   each) if (!strcmp(json_string_value(json_object_get(each, "name")),
					     "memfd")) memfd = each;
	assert_non_null(memfd);
	assert_string_equal(json_string_value(json_object_get(memfd, "state")), "fail");
	assert_string_equal(json_string_value(json_object_get(memfd, "mend")), "ulimit -n 1024");
	assert_true(json_is_false(json_object_get(memfd, "root")));
	json_decref(root_object);
}

/* A disk that is full. */
static void test_full(void **state)
{
	FILE *full = fopen("/dev/full", "we");

	(void)state;
	run(NULL);
	assert_non_null(full);
	assert_int_equal(check_print(&c, full, false, false), -1);
	fclose(full);
	full = fopen("/dev/full", "we");
	assert_non_null(full);
	assert_int_equal(check_print_json(&c, full), -1);
	fclose(full);
}

/* Paths that are too long, and files that are no numbers, are as if they were not there. */
static void test_read(void **state)
{
	char path[600], buf[8];
	uint64_t v;

	(void)state;
	run(NULL);
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_false(check_read(&c, path, buf, sizeof(buf)));
	assert_false(check_read(&c, "/proc", buf, sizeof(buf))); /* a directory */
	put("/x", "12 34\n");
	assert_false(check_number(&c, "/x", &v));
	put("/x", "-1\n");
	assert_false(check_number(&c, "/x", &v));
	put("/x", "\n");
	assert_true(check_read(&c, "/x", buf, sizeof(buf)));
	assert_string_equal(buf, "");
	assert_false(check_number(&c, "/x", &v));
	put("/x", "42\n");
	assert_true(check_number(&c, "/x", &v));
	assert_int_equal(v, 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_text, good_machine),
		cmocka_unit_test_setup(test_json, good_machine),
		cmocka_unit_test_setup(test_full, good_machine),
		cmocka_unit_test_setup(test_read, good_machine),
	};

	return cmocka_run_group_tests(tests, machines_begin, machines_end);
}
