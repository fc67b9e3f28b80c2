// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem run`: a program, unmodified, with its heap in managed memory.
 *
 * What the program then does is src/preload's. Here is said what cannot be, before it
 * begins: the options, the program, the machine. Then this process becomes the
 * program; so its exit status, its signals and its terminal are its own.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "../../src/preload/run_env.h"
#include "device.h"
#include "run.h"
#include "util.h"

#define LIBRARY "libgmem_preload.so"
#define SMALLEST_LIMIT (8ULL << 20)

enum key {
	KEY_DEVICE = 256,
	KEY_LIMIT,
};

static const struct argp_option options[] = {
	{ "device", KEY_DEVICE, "SPEC", 0, "The device that takes what is cold: " DEVICE_HELP, 1 },
	{ "host-limit", KEY_LIMIT, "SIZE", 0,
	  "Push what is cold out to the device, so that each process stays within so much host "
	  "memory; from 8M, with or without a suffix K, M, G or T",
	  1 },
	{ "help", 'h', NULL, 0, "Print this help", 2 },
	{ 0 },
};

static const char doc[] =
	"Run a program, unmodified, with its heap in managed memory.\n"
	"\v"
	"Examples:\n"
	"  gmem run -- sort big.txt\n"
	"  gmem run --host-limit 1G -- python3 train.py\n"
	"  gmem run --host-limit 1G --device sim,memory=8G,dir=/mnt/fast -- redis-server\n"
	"\n"
	"Exit status: the program's own; or 125 misuse, or gmem cannot; 126 the program "
	"cannot be run, or not by gmem (static, setuid); 127 there is no such program.";

struct line {
	const char *device;
	uint64_t limit;
	int program; /* where its name is in argv; 0: nowhere */
	bool help;
	const char *mistake;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;

	switch (key) {
	case KEY_DEVICE:
		line->device = arg;
		return 0;
	case KEY_LIMIT:
		if (!size_parse(arg, &line->limit) && line->limit >= SMALLEST_LIMIT)
			return 0;
		fail(RUN_NOT_BY_GMEM,
		     "run: --host-limit %s: give a size from 8M up, such as 512M or 2G", arg);
		return ECANCELED;
	case 'h':
		line->help = true;
		return 0;
	case ARGP_KEY_ARG:
		line->program = state->next - 1;
		state->next = state->argc; /* the rest is the program's */
		return 0;
	case ARGP_KEY_ERROR:
		line->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --------------------------------------------------------------------------- the device */

/* So much as the machine's own memory, but not more than half of what is free there. */
static int default_memory(const char *dir, uint64_t *memory)
{
	struct statvfs fs;
	struct sysinfo info;
	uint64_t room;

	if (statvfs(dir, &fs) || sysinfo(&info))
		return fail(RUN_NOT_BY_GMEM, "run: --device: %s: %s", dir, strerror(errno));
	room = (uint64_t)fs.f_bavail * fs.f_frsize / 2;
	*memory = (uint64_t)info.totalram * info.mem_unit;
	*memory = (*memory < room ? *memory : room) & ~(GM_BLOCK_SIZE - 1);
	if (*memory < GM_BLOCK_SIZE)
		return fail(RUN_NOT_BY_GMEM, "run: --device: %s: the file system is full", dir);
	return 0;
}

/* The file that the device's memory is; it is made in each process, and tried here. */
static int check_directory(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail(RUN_NOT_BY_GMEM, "run: --device: no file can be made in %s: %s", dir,
			    strerror(errno));
	close(fd);
	return 0;
}

static int device(const struct line *line, struct gm_sim_options *opt)
{
	int err = device_parse(line->device ?: "sim", opt);

	if (err)
		return RUN_NOT_BY_GMEM;
	if (!opt->directory)
		opt->directory = getenv("TMPDIR");
	if (!opt->directory || !*opt->directory)
		opt->directory = "/var/tmp";
	if (!line->limit)
		return 0;
	err = check_directory(opt->directory);
	if (!err && !opt->memory)
		err = default_memory(opt->directory, &opt->memory);
	return err;
}

/* -------------------------------------------------------------------------- the machine */

static void put_back(const char *name, const char *was)
{
	if (was)
		setenv(name, was, 1);
	else
		unsetenv(name);
}

/* The two doors to a userfaultfd for faults of the kernel's. */
static bool kernel_faults(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Faults that the kernel takes, in system calls, must be gmem's too where pages go out. */
static int check_machine(bool limit)
{
	const char *wish = getenv("GMEM_HOST"), *quiet = getenv("GMEM_QUIET");
	struct gm_as *as;
	int err;

	if (wish && !strcmp(wish, "kernel"))
		return fail(RUN_NOT_BY_GMEM, "run: GMEM_HOST=kernel, but the kernel host does not "
					     "register memory in place: unset it");
	setenv("GMEM_HOST", "user", 1);
	setenv("GMEM_QUIET", "1", 1); /* what it would warn of is said below */
	err = gm_as_create(NULL, &as);
	if (err)
		return fail(RUN_NOT_BY_GMEM, "run: %s", gm_strerror(err));
	gm_as_destroy(as);
	put_back("GMEM_HOST", wish);
	put_back("GMEM_QUIET", quiet);
	if (limit && !kernel_faults())
		return fail(RUN_NOT_BY_GMEM,
			    "run: --host-limit: system calls on memory that is out would fail: be "
			    "root, or have 'sysctl vm.unprivileged_userfaultfd=1' done; see 'gmem "
			    "check'");
	return 0;
}

/* Where this command was built, or where it was installed. */
static int find_library(char *path, size_t size)
{
	static const char *const places[] = { "../../src/preload/" LIBRARY,
					      "../" GMEM_LIBDIR "/gmem/" LIBRARY,
					      GMEM_PREFIX_LIBDIR "/gmem/" LIBRARY };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *dir;

	if (n < 0)
		return fail(RUN_NOT_BY_GMEM, "run: no /proc: %s", strerror(errno));
	self[n] = '\0';
	dir = dirname(self);
	for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char name[2 * PATH_MAX];

		snprintf(name, sizeof(name), "%s%s%s", *places[i] == '/' ? "" : dir,
			 *places[i] == '/' ? "" : "/", places[i]);
		if (strlen(name) < size && realpath(name, path) && !strpbrk(path, ": "))
			return 0;
	}
	return fail(RUN_NOT_BY_GMEM, "run: " LIBRARY " is not where gmem was installed");
}

/* ------------------------------------------------------------------------------ the run */

static int environment(const struct line *line, const struct gm_sim_options *opt)
{
	struct gm_run_env env = { .limit = line->limit,
				  .memory = opt->memory,
				  .pgsize_bitmap = opt->pgsize_bitmap,
				  .lanes = opt->lanes,
				  .copy_threads = opt->copy_threads,
				  .flags = opt->flags,
				  .directory = opt->directory };
	const char *before = getenv("LD_PRELOAD");
	char text[GM_RUN_ENV_MAX], library[PATH_MAX], *all;
	int err = find_library(library, sizeof(library));

	if (err)
		return err;
	if (gm_run_env_format(&env, text, sizeof(text)))
		return fail(RUN_NOT_BY_GMEM, "run: --device: dir: too long");
	if (asprintf(&all, "%s%s%s", library, before && *before ? ":" : "", before ?: "") < 0 ||
	    setenv("LD_PRELOAD", all, 1) || setenv(GM_RUN_ENV, text, 1))
		return fail(RUN_NOT_BY_GMEM, "run: out of memory");
	free(all);
	return 0;
}

int run_main(int argc, char **argv)
{
	static const struct argp argp = { .options = options,
					  .parser = parse,
					  .args_doc = "[--] PROGRAM [ARGUMENT...]",
					  .doc = doc };
	struct gm_sim_options opt;
	struct line line = { 0 };
	char path[PATH_MAX];
	int status = RUN_NOT_BY_GMEM, err;

	if (!line_parse(&argp, ARGP_IN_ORDER, "gmem run", argc, argv, &line, &line.mistake,
			&line.help, &status))
		return status;
	if (!line.program)
		return fail(RUN_NOT_BY_GMEM, "run: which program? See 'gmem run --help'");
	err = device(&line, &opt);
	if (!err)
		err = run_target(argv[line.program], path, sizeof(path));
	if (!err)
		err = check_machine(line.limit);
	if (!err)
		err = environment(&line, &opt);
	if (err)
		return err;
	execv(path, argv + line.program);
	return fail(errno == ENOENT ? RUN_NO_SUCH_FILE : RUN_NOT_RUNNABLE, "run: %s: %s", path,
		    strerror(errno));
}
