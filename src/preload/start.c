// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The beginning: a heap in managed memory, before the program's own code runs.
 *
 * Theory. The order counts. The allocator has been used by then, by the dynamic linker, so its
 * handlers of fork() are registered before ours, and run after them: see heap.c. All
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
#include <string.h>
#include <unistd.h>

#include <gmem/sim.h>

#include "preload.h"
#include "run_env.h"

/* This host alone can register memory in place; the program may use whichever it likes. */
static int choose_host(void)
{
	static const char name[] = "GMEM_HOST";
	const char *host, *was = getenv(name);

	if (setenv(name, "user", 1))
		return -ENOMEM;
	host = gm_host_name();
	if (was)
		setenv(name, was, 1);
	else
		unsetenv(name);
	return host ? 0 : -EOPNOTSUPP;
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
	return gm_limit_start(gm_dev_hnode(gm_sim_dev(sim)), env->limit);
}

static void in_child(void)
{
	gm_heap_in_child();
	gm_own_fds_in_child();
	gm_limit_in_child();
}

static int start(const struct gm_run_env *env)
{
	struct gm_as_options opt = { .size = sizeof(opt), .cpu_granule = GM_HEAP_UNIT };
	struct gm_as *as;
	int err = choose_host();

	if (!err)
		err = gm_heap_reserve();
	if (!err)
		err = gm_as_create(&opt, &as);
	if (!err)
		err = gm_register(as, (void *)(uintptr_t)gm_heap.begin,
				  gm_heap.end - gm_heap.begin);
	if (!err && env->limit)
		err = start_device(env, as);
	if (!err)
		err = -pthread_atfork(gm_heap_before_fork, gm_heap_in_parent, in_child);
	return err ? err : gm_heap_install();
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
