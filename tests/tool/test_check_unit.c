// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Every verdict of `gmem check`, on machines that are made up: a directory with the files
 * that probes read, and functions that say what its kernel would. test_check.py has the
 * machine that there is.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "check.h"

#define ALL_FEATURES (~0ULL)

static char root[] = "/tmp/gmem-check-XXXXXX";

/* What the made-up machine says: a value, or -errno. */
static struct {
	int full, dev, user_only; /* the doors of userfaultfd; 0: open */
	uint64_t features;
	int features_err;
	bool seccomp;
	int memfd;
	struct rlimit files, addresses, locked;
	int info;
	unsigned int version, hnodes;
	const char *release, *machine;
	int release_err;
	int try;
	int pagemap, sim;
} m;

static int fake_release(struct utsname *name)
{
	memset(name, 0, sizeof(*name));
	strcpy(name->sysname, "Linux");
	strcpy(name->release, m.release);
	strcpy(name->machine, m.machine);
	return m.release_err;
}

static int a_descriptor(int err)
{
	return err ? err : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int fake_userfaultfd(int flags)
{
	return a_descriptor(flags ? m.user_only : m.full);
}

static int fake_userfaultfd_dev(const char *path)
{
	assert_string_equal(path + strlen(root), "/dev/userfaultfd");
	return a_descriptor(m.dev);
}

static int fake_features(int uffd, uint64_t *features)
{
	assert_true(uffd >= 0);
	*features = m.features;
	return m.features_err;
}

static bool fake_seccomp(void)
{
	return m.seccomp;
}

static int fake_memfd(void)
{
	return a_descriptor(m.memfd);
}

static int fake_limit(int resource, struct rlimit *limit)
{
	*limit = resource == RLIMIT_NOFILE ? m.files
		 : resource == RLIMIT_AS   ? m.addresses
					   : m.locked;
	return 0;
}

static int fake_info(const char *path, struct gmem_info *info)
{
	assert_string_equal(path + strlen(root), "/dev/gmem");
	*info = (struct gmem_info){ .version = m.version, .first_hnode = 7 };
	return m.info;
}

static int fake_hnode(const char *path, int hnode)
{
	(void)path;
	assert_true(hnode >= 7);
	return hnode - 7 < (int)m.hnodes ? 0 : -ENODEV;
}

static int fake_readable(const char *path, int mode)
{
	(void)mode;
	if (strstr(path, "pagemap"))
		return m.pagemap;
	if (strstr(path, "gmem_sim"))
		return m.sim;
	return access(path, F_OK) ? -errno : 0;
}

static int fake_try(const char **what)
{
	*what = "do this";
	return m.try;
}

static const struct check_sys sys = {
	.root = root,
	.release = fake_release,
	.userfaultfd = fake_userfaultfd,
	.userfaultfd_dev = fake_userfaultfd_dev,
	.features = fake_features,
	.seccomp = fake_seccomp,
	.memfd = fake_memfd,
	.limit = fake_limit,
	.info = fake_info,
	.hnode = fake_hnode,
	.readable = fake_readable,
	.try = fake_try,
};

static struct check c;

/* text NULL: no such file */
static void put(const char *path, const char *text)
{
	char full[256], *slash;
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	if (!text) {
		unlink(full);
		return;
	}
	for (slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	f = fopen(full, "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

#define HUGE "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define SHMEM "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define MODULE "/sys/module/gmem/version"
#define V2 "/sys/fs/cgroup/a/memory.max"
#define V1 "/sys/fs/cgroup/memory/b/memory.limit_in_bytes"

static void remove_module(void)
{
	char path[256];

	put(MODULE, NULL);
	snprintf(path, sizeof(path), "%s/sys/module/gmem", root);
	rmdir(path);
}

/* A machine on which nothing is missing. */
static int good_machine(void **state)
{
	static const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	(void)state;
	memset(&m, 0, sizeof(m));
	m.features = ALL_FEATURES;
	m.files = m.addresses = m.locked = none;
	m.version = 1;
	m.hnodes = 2;
	m.release = "6.9.1-test";
	m.machine = "x86_64";
	put("/proc/sys/vm/unprivileged_userfaultfd", "0\n");
	put("/proc/sys/vm/max_map_count", "65530\n");
	put("/proc/self/cgroup", "3:cpu:/b\n2:memory:/b\n0::/a\n");
	put("/proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 5 kB\n");
	put("/lib/modules/6.9.1-test/modules.dep", NULL);
	put(HUGE "nr_hugepages", "8\n");
	put(HUGE "free_hugepages", "3\n");
	put(HUGE "nr_overcommit_hugepages", "0\n");
	put(SHMEM, "always within_size advise [never] deny force\n");
	put(MODULE, GMEM_VERSION "\n");
	put(V2, "max\n");
	put(V1, "9223372036854771712\n");
	return 0;
}

static void run(const char *wish)
{
	c.sys = &sys;
	c.wish = wish;
	check_run(&c);
}

static const struct check_item *item(const char *name)
{
	unsigned int i;

	for (i = 0; i < c.nr; i++)
		if (!strcmp(c.items[i].name, name))
			return &c.items[i];
	return NULL;
}

/* The item has that state and command; what is not well also says what goes without it. */
static void found(const char *name, enum check_state state, const char *mend)
{
	const struct check_item *i = item(name);

	if (!i)
		fail_msg("%s was not looked at", name);
	if (i->state != state)
		fail_msg("%s: state %d, not %d: %s", name, (int)i->state, (int)state, i->found);
	assert_string_equal(i->mend, mend);
	assert_true(state == CHECK_OK ? !*i->without : *i->without);
}

static void status(int want, const char *host)
{
	assert_int_equal(c.status, want);
	if (host)
		assert_string_equal(c.host, host);
	else
		assert_null(c.host);
}

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
		cmocka_unit_test_setup(test_text, good_machine),
		cmocka_unit_test_setup(test_json, good_machine),
		cmocka_unit_test_setup(test_full, good_machine),
		cmocka_unit_test_setup(test_read, good_machine),
	};
	char command[64];
	int failed;

	if (!mkdtemp(root)) {
		perror(root);
		return 1;
	}
	failed = cmocka_run_group_tests_name("check", tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	if (system(command))
		failed++;
	return failed;
}
