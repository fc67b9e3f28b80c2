// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Looking around for `gmem top`: which processes there are, and what they say.
 *
 * A connection stays for as long as its process: "hot" is what was since the same connection asked
 * last. One that does not answer is asked again when it has said what it was asked; until then it is
 * shown as mute, and waited for no more.
 */
#include <stdlib.h>
#include <string.h>

#include "top.h"
#include "util.h"

#define WAIT_MS 300 /* for a process that has not been mute */

static void forget(struct top_process *p)
{
	live_close(&p->live);
	json_decref(p->before);
	json_decref(p->now);
	json_decref(p->hot);
}

static struct top_process *find(struct top *t, pid_t pid)
{
	for (size_t i = 0; i < t->nr; i++)
		if (t->process[i].pid == pid)
			return &t->process[i];
	return NULL;
}

static void add(struct top *t, pid_t pid)
{
	struct top_process *p = find(t, pid);
	struct live live;

	if (p && p->live.fd >= 0) {
		p->found = true;
		return;
	}
	if (live_open(&live, pid))
		return;
	if (p) { /* another program of this number, or the socket is another */
		forget(p);
	} else {
		t->process = xrealloc(t->process, t->nr + 1, sizeof(*t->process));
		p = &t->process[t->nr++];
	}
	*p = (struct top_process){ .pid = pid, .live = live, .found = true };
}

static void look_around(struct top *t)
{
	pid_t *pids = NULL;
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < t->nr; i++)
		t->process[i].found = false;
	if (t->only)
		add(t, t->only);
	else
		n = live_list(&pids);
	for (size_t i = 0; i < n; i++)
		add(t, pids[i]);
	free(pids);
	for (size_t i = 0; i < t->nr; i++) {
		if (t->process[i].found)
			t->process[kept++] = t->process[i];
		else
			forget(&t->process[i]);
	}
	t->nr = kept;
}

/* One of the two answers of an interval. */
static void take(struct top_process *p, json_t *answer)
{
	if (json_object_get(answer, "total")) {
		json_decref(p->before);
		p->before = p->now;
		p->now = answer;
	} else {
		json_decref(p->hot);
		p->hot = answer;
	}
}

static void ask(struct top_process *p)
{
	json_t *answer;
	int end = 0;

	if (!p->mute && (live_send(&p->live, "stats") || live_send(&p->live, "hot")))
		end = 1;
	p->mute = false;
	for (int i = 0; i < 2 && !p->mute && !end; i++) {
		answer = live_receive(&p->live, WAIT_MS, &end);
		p->mute = !answer;
		if (answer)
			take(p, answer);
	}
	/* It is gone, or has closed what was not its own: the next look finds it, if it is there. */
	if (end)
		live_close(&p->live);
}

void top_look(struct top *t)
{
	look_around(t);
	for (size_t i = 0; i < t->nr; i++)
		ask(&t->process[i]);
}

void top_end(struct top *t)
{
	for (size_t i = 0; i < t->nr; i++)
		forget(&t->process[i]);
	free(t->process);
}
