// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The beginning: a heap in managed memory, before the program's own code runs.
 *
 * Theory. The order counts. The allocator has been used by then, by the dynamic linker, so its
 * handlers of fork() are registered before ours, and run after them: see drop.c. All
 * threads of gmem's are started, and all it needs is allocated, while the heap is
 * plain memory still; so nothing of gmem's is in what it manages, not even what the C library
 * allocates for a thread. The allocator's hooks come last. What was allocated before stays where it is.
 *
 * Where a step fails the program runs on plain memory, and a line on stderr says so: it is
 * perhaps not the program that somebody gave a limit to, but one far down that it started.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <gmem/sim.h>

#include "preload.h"
#include "run_env.h"

static void put_back(const char *name, const char *was)
{
	if (was)
		setenv(name, was, 1);
	else
		unsetenv(name);
}

/*
 * The user host alone can register memory in place; the program may use whichever it likes. And
 * what gmem warns of is of no concern where no page is ever on a device.
 */
static int create(const struct gm_run_env *env, struct gm_as **as)
{
	struct gm_as_options opt = { .size = sizeof(opt),
				     .flags = GM_AS_ADAPTIVE,
				     .cpu_granule = GM_HEAP_UNIT };
	const char *host = getenv("GMEM_HOST"), *quiet = getenv("GMEM_QUIET");
	int err = setenv("GMEM_HOST", "user", 1) || (!env->limit && setenv("GMEM_QUIET", "1", 1));

	err = err ? -ENOMEM : gm_as_create(&opt, as);
	put_back("GMEM_HOST", host);
	put_back("GMEM_QUIET", quiet);
	return err;
}

static int start_device(const struct gm_run_env *env, struct gm_as *as)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .name = "gmem run",
				      .memory = env->memory,
				      .pgsize_bitmap = env->pgsize_bitmap,
				      .lanes = env->lanes,
				      .copy_threads = env->copy_threads,
				      .flags = env->flags,
				      .directory = env->directory };
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	int err = gm_sim_create(&opt, &sim);

	if (!err)
		err = gm_sim_attach(sim, as, &ctx);
	if (err)
		return err;
	gm_retain_limit(0); /* a page that was pushed out is to be out */
	gm_heap.devices = true;
	err = gm_drop_start();
	return err ? err : gm_limit_start(as, gm_dev_hnode(gm_sim_dev(sim)), env->limit);
}

static void before_fork(void)
{
	gm_drop_before_fork();
	gm_map_before_fork();
}

static void in_parent(void)
{
	gm_map_after_fork();
	gm_drop_in_parent();
}

static void in_child(void)
{
	gm_map_after_fork();
	gm_drop_in_child();
	gm_own_fds_in_child();
	gm_limit_in_child();
}

static int start(const struct gm_run_env *env)
{
	struct gm_as *as;
	int err = gm_heap_reserve();

	if (!err)
		err = create(env, &as);
	if (!err)
		err = gm_register(as, (void *)(uintptr_t)gm_heap.begin,
				  gm_heap.end - gm_heap.begin);
	if (!err && env->limit)
		err = start_device(env, as);
	if (!err)
		err = -pthread_atfork(before_fork, in_parent, in_child);
	if (!err)
		err = gm_heap_install();
	return err ? err : gm_map_start();
}

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv(GM_RUN_ENV);
	struct gm_run_env env;
	int err;

	if (!text)
		return;
	err = gm_run_env_parse(text, &env) ? -EINVAL : start(&env);
	if (err)
		fprintf(stderr, "gmem: run: %s goes on with plain memory: %s\n",
			program_invocation_short_name, gm_strerror(err));
}
