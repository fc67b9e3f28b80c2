// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What `gmem topo` prints of hnodes that others have made, as on the kernel host, and its XML
 * where hwloc refuses a step. test_topo.py has the devices of the command's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topo.h"
#include "util.h"

#include <cmocka.h> /* after util.h: fail is a macro of its own */
#include <jansson.h>

/* Of the calls from now on this one fails; 0: none. */
static unsigned int fail_at, calls;

static bool refuse(void)
{
	return ++calls == fail_at;
}

#define WRAP(name, params, args)                                                                   \
	int __real_hwloc_##name params;                                                            \
	int __wrap_hwloc_##name params;                                                            \
	int __wrap_hwloc_##name params                                                             \
	{                                                                                          \
		return refuse() ? -1 : __real_hwloc_##name args;                                   \
	}

WRAP(topology_init, (hwloc_topology_t * t), (t))
WRAP(topology_set_io_types_filter, (hwloc_topology_t t, enum hwloc_type_filter_e filter),
     (t, filter))
WRAP(topology_set_flags, (hwloc_topology_t t, unsigned long flags), (t, flags))
WRAP(topology_set_xmlbuffer, (hwloc_topology_t t, const char *buf, int size), (t, buf, size))
WRAP(topology_load, (hwloc_topology_t t), (t))
WRAP(topology_allow,
     (hwloc_topology_t t, hwloc_const_cpuset_t cpus, hwloc_const_nodeset_t nodes,
      unsigned long flags),
     (t, cpus, nodes, flags))
WRAP(topology_export_xmlbuffer, (hwloc_topology_t t, char **buf, int *len, unsigned long flags),
     (t, buf, len, flags))

/* These two free the handle when they fail, so they are made to: no flag has such a number. */
#define WRAP_HANDLE(name, params, args)                                                            \
	int __real_hwloc_##name params;                                                            \
	int __wrap_hwloc_##name params;                                                            \
	int __wrap_hwloc_##name params                                                             \
	{                                                                                          \
		if (refuse())                                                                      \
			flags = 1UL << 31;                                                         \
		return __real_hwloc_##name args;                                                   \
	}

WRAP_HANDLE(distances_add_values,
	    (hwloc_topology_t t, hwloc_distances_add_handle_t handle, unsigned nr,
	     hwloc_obj_t *objs, hwloc_uint64_t *values, unsigned long flags),
	    (t, handle, nr, objs, values, flags))
WRAP_HANDLE(distances_add_commit,
	    (hwloc_topology_t t, hwloc_distances_add_handle_t handle, unsigned long flags),
	    (t, handle, flags))

hwloc_distances_add_handle_t __real_hwloc_distances_add_create(hwloc_topology_t t, const char *name,
							       unsigned long kind,
							       unsigned long flags);
hwloc_distances_add_handle_t __wrap_hwloc_distances_add_create(hwloc_topology_t t, const char *name,
							       unsigned long kind,
							       unsigned long flags);
hwloc_distances_add_handle_t __wrap_hwloc_distances_add_create(hwloc_topology_t t, const char *name,
							       unsigned long kind,
							       unsigned long flags)
{
	return refuse() ? NULL : __real_hwloc_distances_add_create(t, name, kind, flags);
}

/* Two nodes of two processors, and two hnodes with links between all. */
static struct topo topo;

static int setup(void **state)
{
	unsigned int i, j;

	(void)state;
	fail_at = 0;
	memset(&topo, 0, sizeof(topo));
	topo.host = "kernel";
	topo.size = 1 << 20;
	topo.repeat = 3;
	topo.nr = 2;
	topo.hnodes[0] = (struct topo_hnode){ .id = 70, .total = 64 << 20, .free = 6 << 20 };
	topo.hnodes[1] = (struct topo_hnode){ .id = 2, .total = 32 << 20, .free = 5 << 20 };
	topo.measured = true;
	for (i = 0; i < 3; i++)
		for (j = 0; j < 3; j++)
			if (i != j)
				topo.links[i][j] = (struct topo_link){ (10.0 * i + j) * 0x1p20,
								       (10.0 * i + j) * 1e-6 };
	return hwloc_topology_init(&topo.machine) ||
	       hwloc_topology_set_synthetic(topo.machine, "numa:2 pu:2") ||
	       hwloc_topology_load(topo.machine);
}

static int teardown(void **state)
{
	(void)state;
	hwloc_topology_destroy(topo.machine);
	return 0;
}

static char *printed(int (*print)(const struct topo *t, FILE *out), int want)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	assert_int_equal(print(&topo, f), want);
	fclose(f);
	return text;
}

static void test_text(void **state)
{
	char *text = printed(topo_print, 0);

	(void)state;
	assert_non_null(strstr(text, "host: kernel\navailable: 2 nodes, 2 hnodes\n"
				     "node 0 cpus: 0 1\nnode 0 size: "));
	assert_non_null(strstr(text, "\nnode 1 cpus: 2 3\n"));
	assert_non_null(strstr(text, "\nhnode 70 device: another program's, or hardware\n"
				     "hnode 70 size: 64 MiB\nhnode 70 free: 6 MiB\n"));
	assert_non_null(strstr(text, "MiB/s (1.0 MiB are moved, best of 3):\n"
				     "node      host       70        2\n"
				     "host:        -        1        2\n"
				     "  70:       10        -       12\n"
				     "   2:       20       21        -\n"));
	assert_non_null(strstr(text, "   2:     20.0     21.0        -\n"));
	free(text);

	/* What was not measured. */
	memset(&topo.links[0][1], 0, sizeof(topo.links[0][1]));
	text = printed(topo_print, 0);
	assert_non_null(strstr(text, "host:        -        -        2\n"));
	free(text);
}

static void test_json(void **state)
{
	char *text = printed(topo_print_json, 0);
	json_t *root = json_loads(text, 0, NULL), *h;

	(void)state;
	free(text);
	assert_non_null(root);
	h = json_array_get(json_object_get(root, "hnodes"), 1);
	assert_int_equal(json_integer_value(json_object_get(h, "hnode")), 2);
	assert_int_equal(json_integer_value(json_object_get(h, "free")), 5 << 20);
	assert_null(json_object_get(h, "device"));
	assert_int_equal(json_array_size(json_object_get(root, "links")), 6);
	json_decref(root);
}

/* hwloc reads back what was written: nodes, sizes, matrices. */
static void test_xml(void **state)
{
	char *text = printed(topo_print_xml, RUN_OK);
	struct hwloc_distances_s *distances;
	hwloc_topology_t back;
	unsigned int nr = 1;
	hwloc_obj_t node;

	(void)state;
	assert_int_equal(hwloc_topology_init(&back), 0);
	assert_int_equal(hwloc_topology_set_xmlbuffer(back, text, (int)strlen(text) + 1), 0);
	assert_int_equal(hwloc_topology_load(back), 0);
	hwloc_topology_check(back);
	free(text);
	assert_int_equal(hwloc_get_nbobjs_by_type(back, HWLOC_OBJ_NUMANODE), 4);
	assert_int_equal(hwloc_get_nbobjs_by_type(back, HWLOC_OBJ_PU), 4);
	node = hwloc_get_numanode_obj_by_os_index(back, 70);
	assert_non_null(node);
	assert_string_equal(node->subtype, "hnode");
	assert_int_equal(node->attr->numanode.local_memory, 64 << 20);
	assert_string_equal(hwloc_obj_get_info_by_name(node, "GmemHost"), "kernel");
	assert_string_equal(hwloc_obj_get_info_by_name(node, "GmemFreeMemory"), "6291456");
	assert_null(hwloc_obj_get_info_by_name(node, "GmemDevice"));

	assert_int_equal(hwloc_distances_get_by_name(back, "GmemBandwidth", &nr, &distances, 0), 0);
	assert_int_equal(nr, 1);
	assert_int_equal(distances->nbobjs, 3);
	assert_ptr_equal(distances->objs[0], hwloc_get_root_obj(back));
	assert_ptr_equal(distances->objs[1], node);
	assert_int_equal(distances->values[1], 1);
	assert_int_equal(distances->values[3 * 2 + 1], 21);
	hwloc_distances_release(back, distances);
	assert_int_equal(hwloc_distances_get_by_name(back, "GmemLatency", &nr, &distances, 0), 0);
	assert_int_equal(distances->values[3 * 1 + 2], 12000);
	hwloc_distances_release(back, distances);
	hwloc_topology_destroy(back);
}

/* Each call of hwloc fails in its turn: one line says so, and nothing is printed. */
static void test_refused(void **state)
{
	unsigned int steps;
	char *text;

	(void)state;
	calls = 0;
	free(printed(topo_print_xml, RUN_OK));
	steps = calls;
	assert_int_equal(steps, 14);
	for (unsigned int i = 1; i <= steps; i++) {
		calls = 0;
		fail_at = i;
		text = printed(topo_print_xml, RUN_FAILED);
		assert_string_equal(text, "");
		assert_int_equal(calls, i);
		free(text);
	}
}

/* There is no device, so there is no link. */
static void test_none(void **state)
{
	char *text;

	(void)state;
	topo.nr = 0;
	topo.measured = false;
	text = printed(topo_print_xml, RUN_OK);
	assert_null(strstr(text, "hnode"));
	assert_null(strstr(text, "distances"));
	free(text);
	text = printed(topo_print, 0);
	assert_non_null(strstr(text, "available: 2 nodes, 0 hnodes\n"));
	assert_null(strstr(text, "bandwidth"));
	free(text);
}

static void test_same_node(void **state)
{
	(void)state;
	topo.hnodes[1].id = 1;
	free(printed(topo_print_xml, RUN_FAILED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_xml, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_node, setup, teardown),
	};

	return cmocka_run_group_tests_name("topo", tests, NULL, NULL);
}
