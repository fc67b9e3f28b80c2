// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* See check_machine.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check_machine.h"

static char root[] = "/tmp/gmem-check-XXXXXX";

struct machine m;
struct check c;

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

void put(const char *path, const char *text)
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

void remove_module(void)
{
	char path[256];

	put(MODULE, NULL);
	snprintf(path, sizeof(path), "%s/sys/module/gmem", root);
	rmdir(path);
}

int good_machine(void **state)
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

void run(const char *wish)
{
	c.sys = &sys;
	c.wish = wish;
	check_run(&c);
}

const struct check_item *item(const char *name)
{
	unsigned int i;

	for (i = 0; i < c.nr; i++)
		if (!strcmp(c.items[i].name, name))
			return &c.items[i];
	return NULL;
}

void found(const char *name, enum check_state state, const char *mend)
{
	const struct check_item *i = item(name);

	if (!i)
		fail_msg("%s was not looked at", name);
	if (i->state != state)
		fail_msg("%s: state %d, not %d: %s", name, (int)i->state, (int)state, i->found);
	assert_string_equal(i->mend, mend);
	assert_true(state == CHECK_OK ? !*i->without : *i->without);
}

void status(int want, const char *host)
{
	assert_int_equal(c.status, want);
	if (host)
		assert_string_equal(c.host, host);
	else
		assert_null(c.host);
}

int machines_begin(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

int machines_end(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}
