// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A program that uses gmem, for tests of what it tells of itself. It says "ready", then does what the
 * lines on its standard input say, and says what came of each.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmem/driver.h>
#include <gmem/sim.h>

#define LEN (4ULL << 20)

static struct gm_sim *sim;
static struct gm_as *as;
static struct gm_sim_ctx *ctx;
static uint64_t *mem;

static void increment(struct gm_sim_lane *lane, void *counter)
{
	gm_sim_add64(lane, counter, 1);
}

/* Who ends with what it has of gmem's, or had it of its parent, has leaked nothing: for LeakSanitizer. */
static int leaves;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return leaves;
}

static int set_up(void)
{
	struct gm_sim_options opt = {
		.size = sizeof(opt), .memory = 2 << 20, .lanes = 1, .name = "small \"one\""
	};
	const struct gm_dev_tunables tune = { .size = sizeof(tune), .no_thrash = 1 };
	void *p = NULL;
	int err = gm_sim_create(&opt, &sim);

	if (!err) /* it is to go back and forth for ever */
		err = gm_dev_tune(gm_sim_dev(sim), &tune);
	if (!err)
		err = gm_as_create(NULL, &as);
	if (!err)
		err = gm_sim_attach(sim, as, &ctx);
	if (!err)
		err = gm_alloc(as, LEN, 0, &p);
	mem = p;
	leaves = !err;
	return err;
}

static int tear_down(void)
{
	int err = gm_sim_detach(ctx);

	if (!err)
		err = gm_sim_destroy(sim);
	if (!err)
		err = gm_as_destroy(as);
	leaves = err;
	return err;
}

/* Back and forth, @n times: 512 pages of the 1024 that there are. */
static int touch(int n)
{
	int err = 0;

	for (int i = 0; i < n && !err; i++) {
		for (unsigned int page = 0; page < 512; page++)
			mem[page * 512]++;
		err = gm_sim_launch(ctx, increment, mem);
	}
	return err;
}

/* A child that does nothing of gmem's has nothing to tell, and does not spoil what its parent has. */
static int fork_exit(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		leaves = 1;
		exit(0);
	}
	return waitpid(pid, &status, 0) == pid && !status ? 0 : -ECHILD;
}

/* Sockets that are not its own, as a daemon does; and others get the numbers. */
static int close_sockets(void)
{
	struct stat st;
	int n = 0;

	for (int fd = 3; fd < 256; fd++) {
		if (fstat(fd, &st) || !S_ISSOCK(st.st_mode))
			continue;
		close(fd);
		n += open("/dev/null", O_RDWR | O_CLOEXEC) == fd;
	}
	return n;
}

static int obey(const char *line, char **argv)
{
	if (!strncmp(line, "touch ", 6))
		return touch(atoi(line + 6));
	if (!strcmp(line, "prefetch"))
		return hmadvise(gm_dev_hnode(gm_sim_dev(sim)), mem, LEN / 4, GM_PREFETCH);
	if (!strcmp(line, "fork"))
		return fork_exit();
	if (!strcmp(line, "close"))
		return close_sockets();
	if (!strcmp(line, "destroy"))
		return tear_down();
	if (!strcmp(line, "create"))
		return set_up();
	if (!strcmp(line, "exec"))
		execv(argv[0], argv);
	if (!strcmp(line, "_exit"))
		_exit(3);
	if (!strncmp(line, "exit ", 5))
		exit(atoi(line + 5));
	if (!strcmp(line, "kill"))
		raise(SIGKILL);
	return -EINVAL;
}

/* With an argument: touch so often, clean up unless the second says how to end, and end. */
static int run(char **argv)
{
	int err = touch(atoi(argv[1]));

	if (err)
		return 1;
	if (!argv[2])
		return tear_down() ? 1 : 0;
	obey(argv[2], argv);
	return 1;
}

int main(int argc, char **argv)
{
	char line[64];
	int err = set_up();

	if (err) {
		fprintf(stderr, "cannot set up: %s\n", gm_strerror(err));
		return 77;
	}
	if (argc > 1)
		return run(argv);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		printf("%d\n", obey(line, argv));
		fflush(stdout);
	}
	return tear_down() ? 1 : 0;
}
