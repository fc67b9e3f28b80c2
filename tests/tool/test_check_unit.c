// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Every verdict of `gmem check`, on machines that are made up: a directory with the files
 * that probes read, and functions that say what its kernel would. test_check.py has the
 * machine that there is.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_machine.h"

static void test_good(void **state)
{
	unsigned int i;

	(void)state;
	run(NULL);
	for (i = 0; i < c.nr; i++)
		if (c.items[i].state != CHECK_OK)
			fail_msg("%s: %s", c.items[i].name, c.items[i].found);
	assert_int_equal(c.nr, 23);
	status(0, "kernel");
	run("user");
	status(0, "user");
	run("");
	status(0, "kernel");
}

static void test_release(void **state)
{
	(void)state;
	m.release = "6.0.19";
	run(NULL);
	found("kernel", CHECK_WARN, "apt install linux-image-amd64");
	status(1, "kernel");
	m.release = "5.15.0-generic";
	run(NULL);
	found("kernel", CHECK_WARN, "apt install linux-image-amd64");
	m.release = "10.0";
	run(NULL);
	found("kernel", CHECK_OK, "");
	m.release = "what";
	run(NULL);
	found("kernel", CHECK_WARN, "");
	m.release_err = -EFAULT;
	run(NULL);
	found("kernel", CHECK_WARN, "");
	m.release_err = 0;
	m.release = "6.1.0";
	m.machine = "riscv64";
	run(NULL);
	found("machine", CHECK_WARN, "");
	status(1, "kernel");
}

static void test_doors(void **state)
{
	(void)state;
	m.full = -EPERM;
	run(NULL);
	found("userfaultfd", CHECK_OK, "");
	assert_non_null(strstr(item("userfaultfd")->found, "/dev/userfaultfd"));

	m.dev = -EACCES;
	run(NULL);
	found("userfaultfd", CHECK_WARN, "sysctl vm.unprivileged_userfaultfd=1");
	assert_true(item("userfaultfd")->root);
	assert_true(c.user);
	status(1, "kernel");
	/* It is 1 already, and something else refuses. */
	put("/proc/sys/vm/unprivileged_userfaultfd", "1\n");
	run("user");
	found("userfaultfd", CHECK_WARN, "chmod a+rw /dev/userfaultfd");
	status(1, "user");
	m.dev = -ENOENT;
	run("user");
	found("userfaultfd", CHECK_WARN, "");
	put("/proc/sys/vm/unprivileged_userfaultfd", NULL);
	run("user");
	found("userfaultfd", CHECK_WARN, "");
}

static void test_refused(void **state)
{
	static const struct {
		int err;
		bool seccomp;
		const char *mend;
	} cases[] = {
		{ -EPERM, false, "" },
		{ -EPERM, true, "docker run --device /dev/userfaultfd ..." },
		{ -ENOSYS, true, "docker run --device /dev/userfaultfd ..." },
		{ -ENOSYS, false, "apt install linux-image-amd64" },
		{ -EMFILE, false, "ulimit -n 1024" },
		{ -ENFILE, false, "sysctl fs.file-max=100000" },
	};
	size_t i;

	(void)state;
	m.dev = -ENOENT;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		m.full = m.user_only = cases[i].err;
		m.seccomp = cases[i].seccomp;
		run(NULL);
		found("userfaultfd", CHECK_FAIL, cases[i].mend);
		assert_false(c.user);
		assert_null(item("poison")); /* nobody was asked */
		status(1, "kernel");
		run("user");
		status(2, NULL);
		found("host", CHECK_FAIL, "unset GMEM_HOST");
	}
	remove_module();
	run(NULL);
	status(2, NULL);
	found("host", CHECK_FAIL, "");
}

static void test_features(void **state)
{
	static const struct {
		uint64_t bit;
		const char *name;
		enum check_state state;
	} cases[] = {
		{ UFFD_FEATURE_MISSING_SHMEM, "shmem faults", CHECK_FAIL },
		{ UFFD_FEATURE_MINOR_SHMEM, "shmem faults", CHECK_FAIL },
		{ UFFD_FEATURE_THREAD_ID, "thread faults", CHECK_FAIL },
		{ UFFD_FEATURE_SIGBUS, "inline faults", CHECK_WARN },
		{ UFFD_FEATURE_MINOR_HUGETLBFS, "hugetlb faults", CHECK_NOTE },
		{ 1 << 14, "poison", CHECK_NOTE },
		{ 1 << 16, "move", CHECK_NOTE },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		m.features = ALL_FEATURES & ~cases[i].bit;
		run("user");
		found(cases[i].name, cases[i].state,
		      cases[i].state == CHECK_NOTE ? "" : "apt install linux-image-amd64");
		status(cases[i].state == CHECK_FAIL   ? 2
		       : cases[i].state == CHECK_WARN ? 1
						      : 0,
		       cases[i].state == CHECK_FAIL ? NULL : "user");
	}
	m.features = ALL_FEATURES;
	m.features_err = -EINVAL; /* it knows no such request */
	run("user");
	status(2, NULL);
	found("move", CHECK_NOTE, "");
}

static void test_memory_of_objects(void **state)
{
	(void)state;
	m.memfd = -EMFILE;
	run("user");
	found("memfd", CHECK_FAIL, "ulimit -n 1024");
	status(2, NULL);
	m.memfd = -ENOSYS;
	run(NULL);
	found("memfd", CHECK_FAIL, "");
	status(1, "kernel");
	m.memfd = 0;
	m.pagemap = -ENOENT;
	run("user");
	found("pagemap", CHECK_NOTE, "mount -t proc proc /proc");
	status(0, "user");

	put(HUGE "free_hugepages", "0\n");
	run("user");
	found("hugetlb", CHECK_NOTE, "sysctl vm.nr_hugepages=264");
	put(HUGE "nr_hugepages", "0\n");
	run("user");
	found("hugetlb", CHECK_NOTE, "sysctl vm.nr_hugepages=256");
	put(HUGE "nr_overcommit_hugepages", "5\n");
	run("user");
	found("hugetlb", CHECK_OK, "");
	put(HUGE "nr_hugepages", NULL);
	run("user");
	found("hugetlb", CHECK_NOTE, "");
	status(0, "user");
}

static void test_module(void **state)
{
	(void)state;
	put(MODULE, "0.0.9\n");
	run(NULL);
	found("module", CHECK_WARN, "make dkms && modprobe -r gmem_sim gmem && modprobe gmem");
	status(1, "kernel");

	remove_module();
	run(NULL);
	found("module", CHECK_NOTE, "make dkms && modprobe gmem # in gmem's sources");
	assert_null(item("/dev/gmem"));
	assert_null(item("locked memory"));
	status(0, "user");
	put("/lib/modules/6.9.1-test/modules.dep", "kernel/a/gmem.ko2: x\nextra/notgmem.ko:\n");
	run(NULL);
	found("module", CHECK_NOTE, "make dkms && modprobe gmem # in gmem's sources");
	put("/lib/modules/6.9.1-test/modules.dep", "kernel/a.ko: \nupdates/dkms/gmem.ko: b\n");
	run(NULL);
	found("module", CHECK_NOTE, "modprobe gmem");
	put("/lib/modules/6.9.1-test/modules.dep", "gmem.ko.xz:\n");
	run(NULL);
	found("module", CHECK_NOTE, "modprobe gmem");
	m.release_err = -EFAULT;
	run(NULL);
	found("module", CHECK_NOTE, "make dkms && modprobe gmem # in gmem's sources");
	m.release_err = 0;
	run("kernel");
	found("host", CHECK_FAIL, "unset GMEM_HOST");
	status(2, NULL);
}

static void test_device(void **state)
{
	static const char again[] = "make dkms && modprobe -r gmem_sim gmem && modprobe gmem";

	(void)state;
	m.info = -EACCES;
	run(NULL);
	found("/dev/gmem", CHECK_WARN, "chmod a+rw /dev/gmem");
	status(1, "user");
	run("kernel");
	status(2, NULL);
	m.info = -ENOENT;
	run(NULL);
	found("/dev/gmem", CHECK_WARN,
	      "mknod -m 666 /dev/gmem c 10 $(awk '$2 == \"gmem\" {print $1}' /proc/misc)");
	m.info = -ENOTTY;
	run(NULL);
	found("/dev/gmem", CHECK_WARN, again);
	m.info = 0;
	m.version = 2;
	run(NULL);
	found("/dev/gmem", CHECK_WARN, again);
	status(1, "user");
}

static void test_devices(void **state)
{
	(void)state;
	run(NULL);
	assert_non_null(strstr(item("devices")->found, "2 in use, and /dev/gmem_sim"));
	m.sim = -EACCES;
	run(NULL);
	found("devices", CHECK_OK, "");
	m.hnodes = 0;
	run(NULL);
	found("devices", CHECK_NOTE, "chmod a+rw /dev/gmem_sim");
	m.sim = -ENOENT;
	run(NULL);
	found("devices", CHECK_NOTE, "modprobe gmem_sim");
	status(0, "kernel");

	put(SHMEM, "always [deny] force\n");
	run(NULL);
	found("huge pages", CHECK_NOTE,
	      "echo never > /sys/kernel/mm/transparent_hugepage/shmem_enabled");
	put(SHMEM, NULL);
	run(NULL);
	found("huge pages", CHECK_NOTE, "");
	status(0, "kernel");
}

static void test_limits(void **state)
{
	(void)state;
	m.files = (struct rlimit){ 255, 4096 };
	run(NULL);
	found("open files", CHECK_WARN, "ulimit -n 1024");
	assert_false(item("open files")->root);
	m.files = (struct rlimit){ 64, 64 };
	run(NULL);
	found("open files", CHECK_WARN, "prlimit --nofile=1024:1024 --pid $$");
	assert_true(item("open files")->root);
	m.files = (struct rlimit){ 256, 256 };
	run(NULL);
	found("open files", CHECK_OK, "");

	put("/proc/sys/vm/max_map_count", "1000\n");
	run(NULL);
	found("mappings", CHECK_WARN, "sysctl vm.max_map_count=65530");
	put("/proc/sys/vm/max_map_count", NULL);
	run(NULL);
	assert_null(item("mappings"));
	status(0, "kernel");

	m.addresses = (struct rlimit){ 1 << 30, RLIM_INFINITY };
	run(NULL);
	found("addresses", CHECK_WARN, "ulimit -v unlimited");
	m.addresses.rlim_max = 1 << 30;
	run(NULL);
	found("addresses", CHECK_WARN, "prlimit --as=unlimited --pid $$");
	status(1, "kernel");
	m.addresses.rlim_cur = RLIM_INFINITY;

	m.locked = (struct rlimit){ 65536, 65536 };
	run(NULL);
	found("locked memory", CHECK_NOTE, "prlimit --memlock=unlimited --pid $$");
	m.locked.rlim_cur = 8 << 20;
	run(NULL);
	found("locked memory", CHECK_OK, "");
	status(0, "kernel");
}

/* The machine has 1 GiB. */
static void test_memory(void **state)
{
	char v2[128], v1[128];

	(void)state;
	/* Commands are for the machine, not for the directory that stands for it. */
	snprintf(v2, sizeof(v2), "echo max > %s", V2);
	snprintf(v1, sizeof(v1), "echo -1 > %s", V1);
	put(V2, "134217728\n");
	run(NULL);
	found("memory", CHECK_WARN, v2);
	status(1, "kernel");
	put(V2, "536870912\n");
	run(NULL);
	found("memory", CHECK_OK, "");
	assert_non_null(strstr(item("memory")->found, "512 MiB"));
	put(V1, "536870912\n");
	run(NULL);
	found("memory", CHECK_WARN, v1);
	put("/proc/self/cgroup", "0::/\n"); /* the root's has no limit */
	run(NULL);
	found("memory", CHECK_OK, "");
	put("/proc/self/cgroup", "");
	run(NULL);
	found("memory", CHECK_OK, "");
	put("/proc/self/cgroup", NULL);
	run(NULL);
	found("memory", CHECK_OK, "");
	put("/proc/meminfo", "MemFree: 5 kB\n");
	run(NULL);
	assert_null(item("memory"));
	put("/proc/meminfo", NULL);
	run(NULL);
	assert_null(item("memory"));
}

static void test_wish(void **state)
{
	(void)state;
	run("moon");
	found("host", CHECK_FAIL, "unset GMEM_HOST");
	status(2, NULL);
	assert_null(item("trial"));
	run("auto");
	status(0, "kernel");
}

static void test_trial(void **state)
{
	(void)state;
	m.try = -EIO;
	run(NULL);
	found("trial", CHECK_FAIL, "");
	assert_non_null(strstr(item("trial")->found, "cannot do this: "));
	status(2, "kernel");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_good, good_machine),
		cmocka_unit_test_setup(test_release, good_machine),
		cmocka_unit_test_setup(test_doors, good_machine),
		cmocka_unit_test_setup(test_refused, good_machine),
		cmocka_unit_test_setup(test_features, good_machine),
		cmocka_unit_test_setup(test_memory_of_objects, good_machine),
		cmocka_unit_test_setup(test_module, good_machine),
		cmocka_unit_test_setup(test_device, good_machine),
		cmocka_unit_test_setup(test_devices, good_machine),
		cmocka_unit_test_setup(test_limits, good_machine),
		cmocka_unit_test_setup(test_memory, good_machine),
		cmocka_unit_test_setup(test_wish, good_machine),
		cmocka_unit_test_setup(test_trial, good_machine),
	};

	return cmocka_run_group_tests(tests, machines_begin, machines_end);
}
