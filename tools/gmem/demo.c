// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A run of a workload: data into managed memory, the plain run, the run on the
 * simulated accelerator, and the check.
 */
#include <errno.h>
#include <string.h>

#include "demo.h"
#include "device.h"
#include "picture.h"
#include "progress.h"
#include "util.h"

const struct workload *const workloads[] = {
	&workload_pagerank, &workload_stream, &workload_gups, &workload_gemm, &workload_join,
	&workload_chase,    &workload_sort,   &workload_kv,   NULL,
};

int demo_arenas(struct demo *d, uint64_t size)
{
	int err;

	if (size > GM_OBJECT_MAX_SIZE)
		return fail(RUN_BAD_INPUT, "the data would be %s, and the most is %s: give less",
			    size_text(size).s, size_text(GM_OBJECT_MAX_SIZE).s);
	err = arena_init(&d->managed, d->as, size);
	if (err)
		return fail(RUN_FAILED, "cannot get %s of managed memory: %s", size_text(size).s,
			    gm_strerror(err));
	err = arena_init(&d->plain, NULL, size);
	if (err)
		return fail(RUN_FAILED, "cannot get %s of memory for the plain run: %s",
			    size_text(size).s, gm_strerror(err));
	return RUN_OK;
}

int demo_launch(struct demo *d, gm_sim_kernel_fn *kernel, void *arg)
{
	int err = gm_sim_launch(d->ctx, kernel, arg);

	return err ? fail(RUN_FAILED, "a kernel failed: %s", gm_strerror(err)) : RUN_OK;
}

static int create_as(struct demo *d)
{
	struct gm_as_options opt = {
		.size = sizeof(opt),
		.flags = d->opt.inline_faults ? GM_AS_INLINE : 0,
	};
	int err;

	device_choose_host(d->opt.record);
	err = gm_as_create(&opt, &d->as);
	if (err)
		return fail(RUN_FAILED, "cannot create an address space: %s", gm_strerror(err));
	progress_watch(d->as);
	return RUN_OK;
}

/*
 * So data that are used little stay in host memory, where the device can do that. Not in what is
 * recorded: a trace has what a workload touches, and not what a policy makes of it.
 */
static uint32_t device_flags(const struct demo *d)
{
	const char *host = gm_host_name();

	return !d->opt.record && host && !strcmp(host, "user") ? GM_SIM_COUNTERS : 0;
}

/* The device comes after the data, for its memory is a part of that. */
static int create_device(struct demo *d)
{
	struct gm_sim_options opt = {
		.size = sizeof(opt),
		.lanes = (uint32_t)d->opt.lanes,
		.flags = device_flags(d),
	};
	/* What is recorded should say nothing of this device: it has room for all. */
	uint64_t room = d->opt.record ? d->managed.used + GM_BLOCK_SIZE : d->managed.used / 4;
	uint64_t want = d->opt.hbm ? d->opt.hbm : room;
	int err;

	d->hbm = (want + GM_BLOCK_SIZE - 1) & ~(GM_BLOCK_SIZE - 1);
	if (!d->hbm)
		d->hbm = GM_BLOCK_SIZE;
	opt.memory = d->hbm;
	err = gm_sim_create(&opt, &d->sim);
	if (err)
		return fail(RUN_FAILED, "cannot create a device with %s of memory: %s",
			    size_text(d->hbm).s, gm_strerror(err));
	err = gm_sim_attach(d->sim, d->as, &d->ctx);
	if (err)
		return fail(RUN_FAILED, "cannot attach the device: %s", gm_strerror(err));
	timeline_init(&d->picture.timeline, d->as, gm_dev_hnode(gm_sim_dev(d->sim)));
	return RUN_OK;
}

static int take_stats(struct demo *d)
{
	int err;

	d->stats.size = sizeof(d->stats);
	d->dev_stats.size = sizeof(d->dev_stats);
	d->sim_stats.size = sizeof(d->sim_stats);
	err = gm_as_stats(d->as, &d->stats);
	if (!err)
		err = gm_dev_stats(gm_sim_dev(d->sim), &d->dev_stats);
	gm_sim_stats(d->sim, &d->sim_stats);
	return err ? fail(RUN_FAILED, "cannot read the counters: %s", gm_strerror(err)) : RUN_OK;
}

static int timed(struct demo *d, int (*step)(struct demo *), double *seconds)
{
	double begin = seconds_now();
	int err = step(d);

	*seconds = seconds_now() - begin;
	return err;
}

/* What is not to be drawn is not watched. */
static bool is_drawn(const struct demo *d)
{
	return !d->opt.json || d->opt.picture;
}

/* A part of the picture. */
static int watched(struct demo *d, int (*step)(struct demo *), double *seconds)
{
	int err;

	if (is_drawn(d))
		timeline_begin(&d->picture.timeline);
	err = timed(d, step, seconds);
	if (is_drawn(d))
		timeline_end(&d->picture.timeline);
	return err;
}

/* From the first access of the device to the last; the check is not the workload's. */
static int run_recorded(struct demo *d)
{
	int err, stopped;

	err = gm_record_start(d->opt.record);
	if (err)
		return fail(RUN_FAILED, "cannot record to %s: %s", d->opt.record,
			    err == -EOPNOTSUPP ? gm_strerror(err) : strerror(-err));
	err = watched(d, d->opt.workload->run_device, &d->seconds_device);
	stopped = gm_record_stop();
	if (!err && stopped)
		err = fail(RUN_FAILED, "cannot write all of %s: %s", d->opt.record,
			   strerror(-stopped));
	return err ? err : record_summary(d->opt.record, &d->trace);
}

static int take_picture(struct demo *d)
{
	struct demo_picture *p = &d->picture;

	p->workload = d->opt.workload->name;
	p->data = d->managed.used;
	p->memory = d->hbm;
	p->seconds_plain = d->seconds_plain;
	p->seconds[0] = d->seconds_device;
	p->seconds[1] = d->seconds_read;
	return demo_picture_look(p, d->managed.base, d->managed.used,
				 gm_dev_hnode(gm_sim_dev(d->sim)));
}

static int run(struct demo *d)
{
	const struct workload *w = d->opt.workload;
	int err;

	err = create_as(d);
	if (!err)
		err = w->prepare(d);
	if (!err)
		err = create_device(d);
	if (!err)
		err = timed(d, w->run_cpu, &d->seconds_plain);
	if (!err && d->opt.record)
		err = run_recorded(d);
	else if (!err)
		err = watched(d, w->run_device, &d->seconds_device);
	if (!err) {
		progress_phase("checking", 0);
		err = watched(d, w->verify, &d->seconds_read);
	}
	if (!err)
		err = take_stats(d);
	if (!err && is_drawn(d))
		err = take_picture(d);
	return err;
}

/* Everything goes in the reverse order; what cannot be given back is worth a message. */
static int clean_up(struct demo *d)
{
	int err = 0;

	progress_watch(NULL);
	if (d->ctx)
		err = gm_sim_detach(d->ctx);
	if (!err && d->sim)
		err = gm_sim_destroy(d->sim);
	if (!err)
		err = arena_free(&d->managed);
	if (!err)
		err = arena_free(&d->plain);
	if (!err && d->as)
		err = gm_as_destroy(d->as);
	return err ? fail(RUN_FAILED, "cannot clean up: %s", gm_strerror(err)) : RUN_OK;
}

/* What was found, and then the picture of it: if that cannot be written the rest is there. */
static int show(const struct demo *d)
{
	const struct options *opt = &d->opt;
	int err;

	if (opt->json ? demo_print_json(d, stdout) : demo_print(d, stdout))
		return fail(RUN_FAILED, "cannot write the result");
	err = opt->picture ? picture_write(opt->picture, demo_picture_draw, &d->picture) : RUN_OK;
	if (!err && opt->picture && !opt->json)
		printf("Picture: %s\n", opt->picture);
	if (!err && fflush(stdout))
		return fail(RUN_FAILED, "cannot write the result");
	if (!err && !d->verified)
		return fail(RUN_FAILED, "%s: the result differs from the plain run's",
			    opt->workload->name);
	return err;
}

int demo_run(const struct options *opt)
{
	struct demo d = { .opt = *opt };
	int err, clean;

	if (!opt->quiet)
		progress_start();
	err = run(&d);
	progress_stop();
	if (!err)
		err = show(&d);
	clean = clean_up(&d);
	opt->workload->release(&d);
	demo_picture_free(&d.picture);
	return err ? err : clean;
}
