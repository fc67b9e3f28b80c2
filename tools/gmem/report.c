// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What a run found, as text for people and as one JSON object for programs. */
#include <string.h>

#include "demo.h"
#include "picture.h"
#include "util.h"

static double ratio(const struct demo *d)
{
	return d->seconds_plain > 0 ? d->seconds_device / d->seconds_plain : 0;
}

static struct text pages_text(uint64_t pages)
{
	return size_text(pages * GM_PAGE_SIZE);
}

static void print_movement(const struct demo *d, FILE *out)
{
	const struct gm_stats *s = &d->stats;
	uint64_t called_back = s->pages_to_host > s->pages_evicted
				       ? s->pages_to_host - s->pages_evicted
				       : 0;

	fprintf(out, "What moved, and why\n");
	fprintf(out, "  %-11s to the accelerator, which faulted %s times\n",
		size_text(s->bytes_to_dev).s, count_text(s->dev_faults).s);
	fprintf(out, "  %-11s to the host:\n", size_text(s->bytes_to_host).s);
	fprintf(out, "  %13s %s evicted to make room, by %s evictions;\n", "",
		pages_text(s->pages_evicted).s, count_text(s->evictions).s);
	fprintf(out, "  %13s a fault waited for %s of them\n", "",
		count_text(s->evictions_direct).s);
	fprintf(out, "  %13s %s called back by the CPU, which faulted %s times\n", "",
		pages_text(called_back).s, count_text(s->cpu_faults).s);
	if (s->remote_maps)
		fprintf(out,
			"  %-11s used in host memory, in place: too little of it to be worth a "
			"move\n",
			size_text(s->remote_bytes).s);
	if (s->pages_zeroed)
		fprintf(out, "  %-11s appeared on the accelerator as zeros, without a copy\n",
			pages_text(s->pages_zeroed).s);
	fprintf(out, "  %s TLB invalidations covered %s ranges\n\n", count_text(s->tlb_invls).s,
		count_text(s->tlb_ranges).s);
}

int demo_print(const struct demo *d, FILE *out)
{
	fprintf(out, "gmem demo: %s\n\n", d->opt.workload->name);
	d->opt.workload->print(d, out);
	fprintf(out, "  %-11s of data in managed memory, built by the CPU\n",
		size_text(d->managed.used).s);
	fprintf(out, "  %-11s of device memory; %u lanes; CPU faults delivered %s\n\n",
		size_text(d->hbm).s, gm_sim_lanes(d->sim),
		d->opt.inline_faults ? "inline" : "by thread");
	print_movement(d, out);
	if (d->opt.record)
		fprintf(out, "Recorded in %s\n  %s accesses to %s pages, in %s records and %s\n\n",
			d->opt.record, count_text(d->trace.accesses).s,
			count_text(d->trace.pages).s, count_text(d->trace.records).s,
			size_text(d->trace.bytes).s);
	fprintf(out, "Time\n");
	fprintf(out, "  %-11s plain run: one CPU thread, ordinary memory\n",
		time_text(d->seconds_plain).s);
	fprintf(out, "  %-11s on the simulated accelerator: %.1f times the plain run\n",
		time_text(d->seconds_device).s, ratio(d));
	fprintf(out, "  %-11s the CPU reads the result in place and checks it\n\n",
		time_text(d->seconds_read).s);
	if (demo_picture_print(&d->picture, out, picture_width(), picture_color(),
			       picture_blocks()))
		return -1;
	fprintf(out, d->verified ? "Verified: equal to the plain run.\n"
				 : "WRONG: differs from the plain run.\n");
	return fflush(out) || ferror(out) ? -1 : 0;
}

static json_t *stats_json(const struct gm_stats *s)
{
	const struct {
		const char *name;
		uint64_t value;
	} counters[] = {
		{ "cpu_faults", s->cpu_faults },
		{ "cpu_faults_moved", s->cpu_faults_moved },
		{ "dev_faults", s->dev_faults },
		{ "dev_faults_moved", s->dev_faults_moved },
		{ "dev_faults_map", s->dev_faults_map },
		{ "fault_errors", s->fault_errors },
		{ "pages_to_dev", s->pages_to_dev },
		{ "pages_to_host", s->pages_to_host },
		{ "pages_zeroed", s->pages_zeroed },
		{ "pages_evicted", s->pages_evicted },
		{ "pages_prefetched", s->pages_prefetched },
		{ "bytes_to_dev", s->bytes_to_dev },
		{ "bytes_to_host", s->bytes_to_host },
		{ "evictions", s->evictions },
		{ "evictions_direct", s->evictions_direct },
		{ "evictions_cancelled", s->evictions_cancelled },
		{ "tlb_ranges", s->tlb_ranges },
		{ "tlb_invls", s->tlb_invls },
		{ "ns_cpu_fault", s->ns_cpu_fault },
		{ "ns_dev_fault", s->ns_dev_fault },
		{ "ns_copy", s->ns_copy },
		{ "ns_invl", s->ns_invl },
		{ "ns_evict", s->ns_evict },
		{ "pages_peer", s->pages_peer },
		{ "pages_replicated", s->pages_replicated },
		{ "remote_maps", s->remote_maps },
		{ "remote_bytes", s->remote_bytes },
	};
	json_t *object = json_object();
	size_t i;

	for (i = 0; i < sizeof(counters) / sizeof(*counters); i++) {
		if (json_object_set_new(object, counters[i].name,
					json_integer((json_int_t)counters[i].value))) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *sim_json(const struct gm_sim_stats *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "accesses", (json_int_t)s->accesses,
			 "tlb_misses", (json_int_t)s->tlb_misses, "faults", (json_int_t)s->faults,
			 "fault_batches", (json_int_t)s->fault_batches, "copies",
			 (json_int_t)s->copies);
}

int demo_print_json(const struct demo *d, FILE *out)
{
	json_t *root, *result = json_object();
	int err;

	if (d->opt.workload->describe(d, result)) {
		json_decref(result);
		return -1;
	}
	root = json_pack(
		"{s:s, s:s, s:b, s:I, s:I, s:I, s:s, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o}",
		"version", GMEM_VERSION, "workload", d->opt.workload->name, "verified", d->verified,
		"data_bytes", (json_int_t)d->managed.used, "device_bytes", (json_int_t)d->hbm,
		"lanes", (json_int_t)gm_sim_lanes(d->sim), "delivery",
		d->opt.inline_faults ? "inline" : "thread", "seconds_plain", d->seconds_plain,
		"seconds_device", d->seconds_device, "seconds_read", d->seconds_read, "ratio",
		ratio(d), "result", result, "address_space", stats_json(&d->stats), "device",
		stats_json(&d->dev_stats), "accelerator", sim_json(&d->sim_stats));
	if (!root)
		return -1;
	if (d->opt.record &&
	    json_object_set_new(root, "trace",
				json_pack("{s:s, s:I, s:I, s:I, s:I}", "file", d->opt.record,
					  "bytes", (json_int_t)d->trace.bytes, "records",
					  (json_int_t)d->trace.records, "accesses",
					  (json_int_t)d->trace.accesses, "pages",
					  (json_int_t)d->trace.pages))) {
		json_decref(root);
		return -1;
	}
	err = json_dumpf(root, out, JSON_INDENT(2));
	json_decref(root);
	if (err || fputc('\n', out) == EOF || fflush(out))
		return -1;
	return 0;
}
