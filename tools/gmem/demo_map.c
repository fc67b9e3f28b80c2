// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Where the data of a demo are: its pages are asked for, a block at a time, and put in the form
 * in which a process would answer `gmem map`, which makes the map of it.
 */
#include <string.h>
#include <unistd.h>

#include <gmem/gmem.h>

#include "demo_picture.h"
#include "util.h"

#define PAGES (GM_BLOCK_SIZE / GM_PAGE_SIZE)

/* As long as pages are in one place they are a run. */
struct runs {
	json_t *array;
	uint64_t first, n;
	struct gm_page_info of;
};

static void end_run(struct runs *r)
{
	if (r->n)
		json_array_append_new(r->array, json_pack("[I, I, i, I]", (json_int_t)r->first,
							  (json_int_t)r->n, r->of.node,
							  (json_int_t)r->of.flags));
	r->first += r->n;
	r->n = 0;
}

static int ask(struct runs *r, const char *addr, uint64_t pages)
{
	struct gm_page_info info[PAGES];
	uint64_t done, n, i;
	int err;

	for (done = 0; done < pages; done += n) {
		n = pages - done < PAGES ? pages - done : PAGES;
		err = gm_query(addr + done * GM_PAGE_SIZE, n * GM_PAGE_SIZE, info);
		if (err)
			return fail(RUN_FAILED, "cannot see where the pages are: %s",
				    gm_strerror(err));
		for (i = 0; i < n; i++) {
			info[i].flags &= MAP_PINNED | MAP_POISONED; /* what a map shows */
			if (r->n && (info[i].node != r->of.node || info[i].flags != r->of.flags))
				end_run(r);
			r->of = info[i];
			r->n++;
		}
	}
	end_run(r);
	return RUN_OK;
}

int demo_picture_look(struct demo_picture *p, const void *addr, uint64_t len, int hnode)
{
	uint64_t pages = (len + GM_PAGE_SIZE - 1) / GM_PAGE_SIZE;
	struct runs runs = { .array = json_array() };
	json_t *answer;
	int err;

	err = ask(&runs, addr, pages);
	answer = json_pack("{s:s, s:i, s:I, s:[{s:i, s:s}], s:[{s:i, s:I, s:I, s:o}]}", "program",
			   "gmem demo", "pid", (int)getpid(), "page", (json_int_t)GM_PAGE_SIZE,
			   "devices", "hnode", hnode, "name", "accelerator", "regions", "as", 1,
			   "addr", (json_int_t)(uintptr_t)addr, "len",
			   (json_int_t)(pages * GM_PAGE_SIZE), "runs", runs.array);
	if (!err)
		err = map_load(&p->map, "the demo", answer);
	json_decref(answer);
	return err;
}

void demo_picture_free(struct demo_picture *p)
{
	map_free(&p->map);
}
