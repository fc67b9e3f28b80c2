// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The kernel: its version, and what the kernel host needs, the module gmem, the right to
 * /dev/gmem, and devices.
 *
 * A machine without the module is whole: programs take the user host. A module that is there
 * and cannot be used is a fault, for somebody has put it there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#define DEVICE "/dev/gmem"
#define SIM "/dev/gmem_sim"
#define SHMEM_HUGE "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define MAX_DEVICES 64 /* as many as gmem knows */

static const char *in_root(const struct check *c, const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s%s", c->sys->root, name);
	return path;
}

void check_release(struct check *c)
{
	unsigned int major = 0, minor = 0;
	struct utsname name;
	int err = c->sys->release(&name);

	if (err || sscanf(name.release, "%u.%u", &major, &minor) != 2) {
		check_add(c, "kernel", CHECK_WARN, "of unknown version");
		check_without(c, "gmem is made for Linux 6.1 and later");
		return;
	}
	if (major < 6 || (major == 6 && minor < 1)) {
		check_add(c, "kernel", CHECK_WARN, "%s %s", name.sysname, name.release);
		check_without(c, "gmem is made for Linux 6.1 and later; it may work all the same");
		check_mend(c, true, "apt install linux-image-amd64");
		return;
	}
	check_add(c, "kernel", CHECK_OK, "%s %s", name.sysname, name.release);
	if (strcmp(name.machine, "x86_64")) {
		check_add(c, "machine", CHECK_WARN, "%s", name.machine);
		check_without(c, "gmem is tested on x86_64 only; it may work all the same");
	} else {
		check_add(c, "machine", CHECK_OK, "%s", name.machine);
	}
}

/* A line of modules.dep names it, plain or compressed: "updates/dkms/gmem.ko.xz: ...". */
static bool names_gmem(const char *line)
{
	size_t len = strcspn(line, ":");
	const char *slash = memrchr(line, '/', len);
	const char *name = slash ? slash + 1 : line;

	return !strncmp(name, "gmem.ko:", 8) || !strncmp(name, "gmem.ko.", 8);
}

/* Is gmem.ko where modprobe finds it? */
static bool installed(const struct check *c)
{
	char path[512], *line = NULL;
	struct utsname name;
	bool found = false;
	size_t size = 0;
	FILE *f;

	if (c->sys->release(&name))
		return false;
	snprintf(path, sizeof(path), "%s/lib/modules/%s/modules.dep", c->sys->root, name.release);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && getline(&line, &size, f) > 0)
		found = names_gmem(line);
	free(line);
	fclose(f);
	return found;
}

/* Its module is there; false: there is none, which has been said. */
static bool check_module(struct check *c)
{
	char version[32] = "", path[512];

	if (!c->sys->readable(in_root(c, "/sys/module/gmem", path, sizeof(path)), F_OK)) {
		if (!check_read(c, "/sys/module/gmem/version", version, sizeof(version)) ||
		    !strcmp(version, GMEM_VERSION)) {
			check_add(c, "module", CHECK_OK, "gmem %s", version);
			return true;
		}
		check_add(c, "module", CHECK_WARN, "gmem %s, and this is gmem %s", version,
			  GMEM_VERSION);
		check_without(c, "what only the newer one knows fails with E2BIG or ENOTTY");
		check_mend(c, true, "make dkms && modprobe -r gmem_sim gmem && modprobe gmem");
		return true;
	}
	check_add(c, "module", CHECK_NOTE, "gmem is not loaded");
	check_without(c, "programs get the user host: processes share no object, and drivers are "
			 "libraries");
	if (installed(c))
		check_mend(c, true, "modprobe gmem");
	else
		check_mend(c, true, "make dkms && modprobe gmem # in gmem's sources");
	return false;
}

static void unusable(struct check *c, int err)
{
	if (err == -EACCES || err == -EPERM) {
		check_add(c, DEVICE, CHECK_WARN, "may not be read and written");
		check_mend(c, true, "chmod a+rw " DEVICE);
	} else if (err == -ENOENT || err == -ENXIO || err == -ENODEV) {
		check_add(c, DEVICE, CHECK_WARN, "is not there, though the module is");
		check_mend(c, true,
			   "mknod -m 666 " DEVICE " c 10 $(awk '$2 == \"gmem\" {print $1}' "
			   "/proc/misc)");
	} else {
		check_add(c, DEVICE, CHECK_WARN, "is not what this gmem knows: %s", strerror(-err));
		check_mend(c, true, "make dkms && modprobe -r gmem_sim gmem && modprobe gmem");
	}
	check_without(c, "programs get the user host");
}

static void check_devices(struct check *c, const char *path, const struct gmem_info *info)
{
	unsigned int i, nr = 0;
	char sim[512];
	int err;

	for (i = 0; i < MAX_DEVICES; i++)
		nr += !c->sys->hnode(path, (int)(info->first_hnode + i));
	err = c->sys->readable(in_root(c, SIM, sim, sizeof(sim)), R_OK | W_OK);
	if (nr || !err) {
		check_add(c, "devices", CHECK_OK, "%u in use%s", nr,
			  err ? "" : ", and " SIM " to make more");
		return;
	}
	check_add(c, "devices", CHECK_NOTE, "no driver has registered one");
	check_without(c, "memory is shared between processes, and nothing moves");
	if (err == -ENOENT)
		check_mend(c, true, "modprobe gmem_sim");
	else
		check_mend(c, true, "chmod a+rw " SIM);
}

/* deny is stronger than what the module asks for. */
static void check_huge(struct check *c)
{
	char now[128];

	if (!check_read(c, SHMEM_HUGE, now, sizeof(now))) {
		check_add(c, "huge pages", CHECK_NOTE, "this kernel has none of shmem");
		check_without(c, "GMEM_OBJECT_HUGE is made of pages of 4 KiB");
	} else if (strstr(now, "[deny]")) {
		check_add(c, "huge pages", CHECK_NOTE, "of shmem are denied");
		check_without(c, "GMEM_OBJECT_HUGE is made of pages of 4 KiB");
		check_mend(c, true, "echo never > " SHMEM_HUGE);
	} else {
		check_add(c, "huge pages", CHECK_OK, "yes");
	}
}

void check_kernel(struct check *c)
{
	struct gmem_info info;
	char path[512];
	int err;

	if (!check_module(c))
		return;
	in_root(c, DEVICE, path, sizeof(path));
	err = c->sys->info(path, &info);
	if (!err && info.version != 1)
		err = -EOPNOTSUPP;
	if (err) {
		unusable(c, err);
		return;
	}
	c->kernel = true;
	check_add(c, DEVICE, CHECK_OK, "may be used; version %u", info.version);
	check_devices(c, path, &info);
	check_huge(c);
}
