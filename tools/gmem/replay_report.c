// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What a replay found, as text for people, CSV and JSON for programs. */
#include <string.h>

#include <gmem/gmem.h>
#include <jansson.h>

#include "replay.h"
#include "util.h"

static const char *const kind_names[] = {
	[REPLAY_GMEM] = "gmem",
	[REPLAY_OPTIMUM] = "optimum",
	[REPLAY_ONLINE] = "online",
};

unsigned int replay_baseline(const struct replay_options *opt)
{
	unsigned int i = 0;

	while (strcmp(opt->entrants[i].name, REPLAY_BASELINE))
		i++;
	return i;
}

unsigned int replay_optimum(const struct replay_options *opt)
{
	unsigned int i = 0;

	while (opt->entrants[i].kind != REPLAY_OPTIMUM)
		i++;
	return i;
}

unsigned int replay_best(const struct replay_options *opt, const struct replay_cell *cell)
{
	unsigned int best = opt->nr_entrants;

	for (unsigned int i = 0; i < opt->nr_entrants; i++)
		if (opt->entrants[i].kind == REPLAY_ONLINE &&
		    (best == opt->nr_entrants ||
		     replay_bytes(&cell->scores[i]) < replay_bytes(&cell->scores[best])))
			best = i;
	return best;
}

double replay_ratio(const struct replay_cell *cell, unsigned int of, unsigned int to)
{
	uint64_t all = replay_bytes(&cell->scores[to]);

	return all ? (double)replay_bytes(&cell->scores[of]) / (double)all : -1;
}

struct mean {
	double sum;
	unsigned int n;
};

static void mean_add(struct mean *m, double ratio)
{
	if (ratio < 0)
		return;
	m->sum += ratio;
	m->n++;
}

static double mean_of(const struct mean *m)
{
	return m->n ? m->sum / m->n : -1;
}

static unsigned int nr_cells(const struct replay_options *opt)
{
	return opt->nr_traces * opt->nr_memories;
}

double replay_mean(const struct replay_options *opt, const struct replay_cell *cells,
		   unsigned int of, unsigned int to)
{
	struct mean m = { 0 };

	for (unsigned int i = 0; i < nr_cells(opt); i++)
		mean_add(&m, replay_ratio(&cells[i], of, to));
	return mean_of(&m);
}

double replay_mean_best(const struct replay_options *opt, const struct replay_cell *cells,
			unsigned int to)
{
	struct mean m = { 0 };

	for (unsigned int i = 0; i < nr_cells(opt); i++)
		mean_add(&m, replay_ratio(&cells[i], replay_best(opt, &cells[i]), to));
	return mean_of(&m);
}

/* ------------------------------------------------------------------- for people */

static struct text ratio_text(double ratio)
{
	struct text t = { "-" };

	if (ratio >= 0)
		snprintf(t.s, sizeof(t.s), "%.3f", ratio);
	return t;
}

static void print_score(const struct replay_options *opt, const struct replay_cell *cell,
			unsigned int i, FILE *out)
{
	const struct replay_score *s = &cell->scores[i];

	fprintf(out, "  %-20s %11s %11s %9s %9s %9s %8s %10s %10s %9s %10s  %s\n",
		opt->entrants[i].name, count_text(s->in).s, count_text(s->out).s,
		size_text(s->remote).s, size_text(replay_bytes(s)).s,
		ratio_text(replay_ratio(cell, i, replay_optimum(opt))).s,
		ratio_text(replay_ratio(cell, i, replay_baseline(opt))).s, count_text(s->faults).s,
		count_text(s->soft).s, count_text(s->cpu).s, count_text(s->evictions).s,
		time_text((double)s->ns / 1e9).s);
}

static void print_cell(const struct replay_options *opt, const struct replay_cell *cell, FILE *out)
{
	unsigned int best = replay_best(opt, cell);

	fprintf(out, "%s, device memory %s: %s of %s pages, %s accesses\n", cell->trace,
		cell->memory, count_text(cell->pages).s, count_text(cell->footprint).s,
		count_text(cell->touches).s);
	fprintf(out, "  %-20s %11s %11s %9s %9s %9s %8s %10s %10s %9s %10s  %s\n", "", "in", "out",
		"in place", "bytes", "to opt", "to base", "faults", "soft", "CPU", "evictions",
		"time");
	for (unsigned int i = 0; i < opt->nr_entrants; i++)
		print_score(opt, cell, i, out);
	fprintf(out, "  best online: %s, %s of the optimum\n\n", opt->entrants[best].name,
		ratio_text(replay_ratio(cell, best, replay_optimum(opt))).s);
}

static void print_summary_line(const char *name, double to_optimum, double to_baseline, FILE *out)
{
	fprintf(out, "  %-20s %10s %11s\n", name, ratio_text(to_optimum).s,
		ratio_text(to_baseline).s);
}

int replay_print(const struct replay_options *opt, const struct replay_cell *cells, FILE *out)
{
	unsigned int optimum = replay_optimum(opt), baseline = replay_baseline(opt);

	fprintf(out,
		"Pages that moved: in, copied to the device; out, copied from it; and what devices "
		"used in place. Faults of\ndevices, which moved something or only mapped it "
		"(soft), "
		"and of the CPU. Baseline: %s. Time is virtual.\n\n",
		REPLAY_BASELINE);
	for (unsigned int i = 0; i < nr_cells(opt); i++)
		print_cell(opt, &cells[i], out);
	fprintf(out, "Bytes moved, mean over %u %s\n", nr_cells(opt),
		nr_cells(opt) == 1 ? "cell" : "cells");
	fprintf(out, "  %-20s %10s %11s\n", "", "to optimum", "to baseline");
	for (unsigned int i = 0; i < opt->nr_entrants; i++)
		print_summary_line(opt->entrants[i].name, replay_mean(opt, cells, i, optimum),
				   replay_mean(opt, cells, i, baseline), out);
	print_summary_line("best online of each", replay_mean_best(opt, cells, optimum),
			   replay_mean_best(opt, cells, baseline), out);
	return fflush(out) || ferror(out) ? -1 : 0;
}

/* ---------------------------------------------------------------- for documents */

static void markdown_cell(const struct replay_options *opt, const struct replay_cell *cell,
			  FILE *out)
{
	unsigned int best = replay_best(opt, cell), optimum = replay_optimum(opt);

	fprintf(out, "| %s | %s | %s |", cell->trace, cell->memory,
		count_text(replay_moved(&cell->scores[optimum])).s);
	for (unsigned int i = 0; i < opt->nr_entrants; i++)
		if (opt->entrants[i].kind == REPLAY_GMEM)
			fprintf(out, " %s |", ratio_text(replay_ratio(cell, i, optimum)).s);
	fprintf(out, " %s, %s |\n", ratio_text(replay_ratio(cell, best, optimum)).s,
		opt->entrants[best].name);
}

static void markdown_means(const struct replay_options *opt, const struct replay_cell *cells,
			   const char *what, unsigned int to, FILE *out)
{
	fprintf(out, "| %s | | |", what);
	for (unsigned int i = 0; i < opt->nr_entrants; i++)
		if (opt->entrants[i].kind == REPLAY_GMEM)
			fprintf(out, " %s |", ratio_text(replay_mean(opt, cells, i, to)).s);
	fprintf(out, " %s |\n", ratio_text(replay_mean_best(opt, cells, to)).s);
}

/* How many times as many bytes as the optimum, a row a cell. */
int replay_print_markdown(const struct replay_options *opt, const struct replay_cell *cells,
			  FILE *out)
{
	unsigned int columns = 0;

	fputs("| trace | memory | optimum, pages |", out);
	for (unsigned int i = 0; i < opt->nr_entrants; i++) {
		if (opt->entrants[i].kind != REPLAY_GMEM)
			continue;
		fprintf(out, " %s |", opt->entrants[i].name);
		columns++;
	}
	fputs(" best online |\n| --- | ---: | ---: |", out);
	for (unsigned int i = 0; i < columns; i++)
		fputs(" ---: |", out);
	fputs(" --- |\n", out);
	for (unsigned int i = 0; i < nr_cells(opt); i++)
		markdown_cell(opt, &cells[i], out);
	markdown_means(opt, cells, "mean", replay_optimum(opt), out);
	markdown_means(opt, cells, "mean, to baseline", replay_baseline(opt), out);
	return fflush(out) || ferror(out) ? -1 : 0;
}

/* ----------------------------------------------------------------- for programs */

/* What could be a separator in a name is quoted. */
static void csv_text(const char *s, FILE *out)
{
	fputc('"', out);
	for (; *s; s++) {
		if (*s == '"')
			fputc('"', out);
		fputc(*s, out);
	}
	fputc('"', out);
}

static void csv_ratio(double ratio, FILE *out)
{
	if (ratio < 0)
		fputc(',', out);
	else
		fprintf(out, ",%.6f", ratio);
}

int replay_print_csv(const struct replay_options *opt, const struct replay_cell *cells, FILE *out)
{
	fputs("trace,memory,memory_pages,footprint_pages,accesses,policy,kind,pages_in,pages_out,"
	      "pages_zeroed,remote_bytes,bytes,dev_faults,soft_faults,cpu_faults,pages_evicted,"
	      "evictions,ns,"
	      "hints_failed,to_optimum,to_baseline\n",
	      out);
	for (unsigned int c = 0; c < nr_cells(opt); c++) {
		const struct replay_cell *cell = &cells[c];

		for (unsigned int i = 0; i < opt->nr_entrants; i++) {
			const struct replay_score *s = &cell->scores[i];
			const uint64_t numbers[] = {
				s->in,		 s->out,       s->zeroed, s->remote,
				replay_bytes(s), s->faults,    s->soft,	  s->cpu,
				s->evicted,	 s->evictions, s->ns,	  s->hints_failed
			};

			csv_text(cell->trace, out);
			fprintf(out, ",%s,%llu,%llu,%llu,%s,%s", cell->memory,
				(unsigned long long)cell->pages,
				(unsigned long long)cell->footprint,
				(unsigned long long)cell->touches, opt->entrants[i].name,
				kind_names[opt->entrants[i].kind]);
			for (size_t k = 0; k < sizeof(numbers) / sizeof(*numbers); k++)
				fprintf(out, ",%llu", (unsigned long long)numbers[k]);
			csv_ratio(replay_ratio(cell, i, replay_optimum(opt)), out);
			csv_ratio(replay_ratio(cell, i, replay_baseline(opt)), out);
			fputc('\n', out);
		}
	}
	return fflush(out) || ferror(out) ? -1 : 0;
}

static json_t *ratio_json(double ratio)
{
	return ratio < 0 ? json_null() : json_real(ratio);
}

static json_t *score_json(const struct replay_options *opt, const struct replay_cell *cell,
			  unsigned int i)
{
	const struct replay_score *s = &cell->scores[i];

	return json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}",
		"policy", opt->entrants[i].name, "kind", kind_names[opt->entrants[i].kind],
		"pages_in", (json_int_t)s->in, "pages_out", (json_int_t)s->out, "pages_zeroed",
		(json_int_t)s->zeroed, "remote_bytes", (json_int_t)s->remote, "bytes",
		(json_int_t)replay_bytes(s), "dev_faults", (json_int_t)s->faults, "soft_faults",
		(json_int_t)s->soft, "cpu_faults", (json_int_t)s->cpu, "pages_evicted",
		(json_int_t)s->evicted, "evictions", (json_int_t)s->evictions, "ns",
		(json_int_t)s->ns, "hints_failed", (json_int_t)s->hints_failed, "to_optimum",
		ratio_json(replay_ratio(cell, i, replay_optimum(opt))), "to_baseline",
		ratio_json(replay_ratio(cell, i, replay_baseline(opt))));
}

static json_t *cell_json(const struct replay_options *opt, const struct replay_cell *cell)
{
	json_t *results = json_array();

	for (unsigned int i = 0; i < opt->nr_entrants; i++)
		json_array_append_new(results, score_json(opt, cell, i));
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:o}", "trace", cell->trace, "memory",
			 cell->memory, "memory_pages", (json_int_t)cell->pages, "footprint_pages",
			 (json_int_t)cell->footprint, "accesses", (json_int_t)cell->touches,
			 "best_online", opt->entrants[replay_best(opt, cell)].name, "results",
			 results);
}

static json_t *mean_json(const char *name, double to_optimum, double to_baseline)
{
	return json_pack("{s:s, s:o, s:o}", "policy", name, "to_optimum", ratio_json(to_optimum),
			 "to_baseline", ratio_json(to_baseline));
}

int replay_print_json(const struct replay_options *opt, const struct replay_cell *cells, FILE *out)
{
	unsigned int optimum = replay_optimum(opt), baseline = replay_baseline(opt);
	json_t *list = json_array(), *means = json_array(), *root;
	int err;

	for (unsigned int i = 0; i < nr_cells(opt); i++)
		json_array_append_new(list, cell_json(opt, &cells[i]));
	for (unsigned int i = 0; i < opt->nr_entrants; i++)
		json_array_append_new(means, mean_json(opt->entrants[i].name,
						       replay_mean(opt, cells, i, optimum),
						       replay_mean(opt, cells, i, baseline)));
	json_array_append_new(means, mean_json("best online of each",
					       replay_mean_best(opt, cells, optimum),
					       replay_mean_best(opt, cells, baseline)));
	root = json_pack("{s:s, s:s, s:b, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:o, s:o}", "version",
			 GMEM_VERSION, "baseline", REPLAY_BASELINE, "in_place", opt->in_place,
			 "costs", "bandwidth", (json_int_t)opt->costs.bandwidth, "zero_bandwidth",
			 (json_int_t)opt->costs.zero_bandwidth, "latency_ns",
			 (json_int_t)opt->costs.latency_ns, "dev_fault_ns",
			 (json_int_t)opt->costs.dev_fault_ns, "cpu_fault_ns",
			 (json_int_t)opt->costs.cpu_fault_ns, "invl_ns",
			 (json_int_t)opt->costs.invl_ns, "cells", list, "means", means);
	if (!root)
		return -1;
	err = json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	json_decref(root);
	return err || fputc('\n', out) == EOF || fflush(out) ? -1 : 0;
}
