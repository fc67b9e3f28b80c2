// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What a trace that was just recorded holds, read from it, so that it is known to be good. */
#include <stdlib.h>
#include <sys/stat.h>

#include "trace/trace.h"

#include "demo.h"
#include "record.h"
#include "util.h"

/* Which pages of each object were accessed: a bit each. */
struct pages {
	uint64_t **bits;
	uint32_t objects;
};

static uint64_t touch(struct pages *p, const struct gm_trace_record *rec)
{
	uint64_t i, first = 0;

	if (rec->kind == GM_TRACE_OBJECT) {
		p->bits = xrealloc(p->bits, p->objects + 1, sizeof(*p->bits));
		p->bits[p->objects] = xrealloc(NULL, rec->pages / 64 + 1, 8);
		for (i = 0; i <= rec->pages / 64; i++)
			p->bits[p->objects][i] = 0;
		p->objects++;
	}
	for (i = rec->page; rec->kind == GM_TRACE_ACCESS && i < rec->page + rec->pages; i++) {
		uint64_t *word = &p->bits[rec->object][i / 64], bit = 1ULL << i % 64;

		first += !(*word & bit);
		*word |= bit;
	}
	return first;
}

int record_summary(const char *path, struct record_summary *sum)
{
	struct pages pages = { 0 };
	struct gm_trace_error error;
	struct gm_trace_reader *r;
	struct gm_trace_record rec;
	struct stat st;
	int ret;

	if (gm_trace_reader_open(path, &r, &error))
		return fail(RUN_FAILED, "%s: %s, at byte %llu", path, error.text,
			    (unsigned long long)error.offset);
	*sum = (struct record_summary){ .accesses = gm_trace_reader_info(r)->accesses };
	if (!stat(path, &st))
		sum->bytes = (uint64_t)st.st_size;
	while ((ret = gm_trace_reader_next(r, &rec, &error)) == 1) {
		sum->records++;
		sum->pages += touch(&pages, &rec);
	}
	gm_trace_reader_close(r);
	while (pages.objects)
		free(pages.bits[--pages.objects]);
	free(pages.bits);
	if (ret)
		return fail(RUN_FAILED, "%s: %s, at byte %llu", path, error.text,
			    (unsigned long long)error.offset);
	return RUN_OK;
}
