// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The copy engine: the only way between device memory and the host's, or another
 * device's. Of two devices the one that the bytes go to makes the copy; any two of a
 * process have a link, unless one was made without (GM_SIM_NO_LINK).
 *
 * Without threads of its own a request is done before the call that starts it
 * returns. With threads it is put into a queue. Requests come from a pool made at
 * the beginning: a fault is being serviced while a copy is started, which is no
 * time to ask for memory. Where the pool is empty, or the request too long for it,
 * whoever starts the copy does it himself.
 *
 * A copy uses plain memcpy. It does not race with lanes: gmem has invalidated what
 * maps the memory before it starts a copy, and the invalidation took each lane's
 * word after the lane's last access; a lane gets at the memory again by an entry of
 * the page table that was written after the fence was signalled.
 *
 * GM_SIM_CHECK does not believe that. When a request begins and when it ends no
 * frame of it may be in any TLB or page table.
 */
#include "sim_dev.h"

#include <stdio.h>
#include <stdlib.h>

static void complain(struct gm_sim *sim, uint64_t frame, uint64_t va, int lane)
{
	char who[32] = "";

	if (lane >= 0)
		snprintf(who, sizeof(who), " lane %d", lane);
	fprintf(stderr, "gmem: %s: copy of frame 0x%llx, va 0x%llx%s: %s\n", sim->name,
		(unsigned long long)frame, (unsigned long long)va, who,
		lane >= 0 ? "missing tlb_invl" : "still mapped in a pmap");
	gm_sim_count(&sim->stats.stale, 1);
}

static bool range_is_stale(struct gm_sim *sim, uint64_t pa, uint64_t len)
{
	uint64_t frame, va;
	unsigned int lane;

	if (!(sim->flags & GM_SIM_CHECK) || !len)
		return false;
	if (gm_sim_frame_find(&sim->mmu, pa, len, &frame, &va)) {
		complain(sim, frame, va, -1);
		return true;
	}
	if (gm_sim_tlb_find(&sim->mmu, pa, len, &lane, &va)) {
		complain(sim, pa & ~(GM_SIM_4K - 1), va & ~(GM_SIM_4K - 1), (int)lane);
		return true;
	}
	return false;
}

/* A request is counted once, by the first thing that is wrong with it, on either device. */
static bool is_stale(struct gm_sim *sim, struct gm_sim *peer, const struct gm_extent *ext,
		     unsigned int n)
{
	bool stale = false;

	for (unsigned int i = 0; i < n && !stale; i++)
		stale = range_is_stale(sim, ext[i].pa, ext[i].len) ||
			(peer && range_is_stale(peer, ext[i].host, ext[i].len));
	return stale;
}

static void move(struct gm_sim *sim, enum gm_sim_verb verb, struct gm_sim *peer,
		 const struct gm_extent *ext, uint64_t len)
{
	void *mem = gm_sim_mem(&sim->mmu, ext->pa);
	void *host = (void *)(uintptr_t)ext->host;

	switch (verb) {
	case GM_SIM_COPY_IN:
		memcpy(mem, host, len);
		break;
	case GM_SIM_COPY_OUT:
		memcpy(host, mem, len);
		break;
	case GM_SIM_ZERO:
		memset(mem, 0, len);
		break;
	case GM_SIM_COPY_PEER:
		memcpy(mem, gm_sim_mem(&peer->mmu, ext->host), len);
		break;
	}
}

/* With @fail: half of it. */
static void perform(struct gm_sim *sim, enum gm_sim_verb verb, struct gm_sim *peer,
		    const struct gm_extent *ext, unsigned int n, int fail, bool stale)
{
	uint64_t total = 0;
	unsigned int i;

	for (i = 0; i < n; i++)
		total += ext[i].len;
	if (fail)
		total /= 2;
	for (i = 0; i < n && total; i++) {
		uint64_t len = ext[i].len < total ? ext[i].len : total;

		if (len)
			move(sim, verb, peer, &ext[i], len);
		total -= len;
	}
	if (!stale)
		is_stale(sim, peer, ext, n);
}

/* One extent, at once, as a part of something larger (sim_peer_os.c). */
int gm_sim_engine_run(struct gm_sim *sim, enum gm_sim_verb verb, const struct gm_extent *ext)
{
	int fail = gm_sim_fails(sim, GM_SIM_COPY_FENCE);

	if (verb != GM_SIM_ZERO)
		gm_sim_count(&sim->stats.copies, 1);
	perform(sim, verb, NULL, ext, 1, fail, is_stale(sim, NULL, ext, 1));
	return fail;
}

static struct gm_sim_request *request_get(struct gm_sim_engine *en, unsigned int n)
{
	struct gm_sim_request *req;

	if (n > GM_SIM_REQUEST_EXTENTS || !en->nr_threads)
		return NULL;
	pthread_mutex_lock(&en->lock);
	req = en->free;
	if (req)
		en->free = req->next;
	pthread_mutex_unlock(&en->lock);
	return req;
}

static void request_queue(struct gm_sim_engine *en, struct gm_sim_request *req)
{
	req->next = NULL;
	pthread_mutex_lock(&en->lock);
	*en->tail = req;
	en->tail = &req->next;
	pthread_cond_signal(&en->work);
	pthread_mutex_unlock(&en->lock);
}

static void request_put(struct gm_sim_engine *en, struct gm_sim_request *req)
{
	pthread_mutex_lock(&en->lock);
	req->next = en->free;
	en->free = req;
	pthread_mutex_unlock(&en->lock);
}

/* NULL: the engine is being taken down. */
static struct gm_sim_request *request_wait(struct gm_sim_engine *en)
{
	struct gm_sim_request *req;

	pthread_mutex_lock(&en->lock);
	while (!en->head && !en->stop)
		pthread_cond_wait(&en->work, &en->lock);
	req = en->head;
	if (req) {
		en->head = req->next;
		if (!en->head)
			en->tail = &en->head;
	}
	pthread_mutex_unlock(&en->lock);
	return req;
}

static void *engine_thread(void *arg)
{
	struct gm_sim *sim = arg;
	struct gm_sim_request *req;

	while ((req = request_wait(&sim->engine))) {
		perform(sim, req->verb, req->peer, req->ext, req->n, req->fail, req->stale);
		gm_fence_signal(req->fence, req->fail);
		request_put(&sim->engine, req);
	}
	return NULL;
}

int gm_sim_engine_start(struct gm_sim *sim, enum gm_sim_verb verb, struct gm_sim *peer,
			const struct gm_extent *ext, unsigned int n, struct gm_fence *fence)
{
	struct gm_sim_request *req;
	unsigned int i;
	bool stale;
	int err, fail;

	for (i = 0; i < n; i++)
		if (!gm_sim_is_data(&sim->mmu, ext[i].pa, ext[i].len) ||
		    (peer && !gm_sim_is_data(&peer->mmu, ext[i].host, ext[i].len)))
			return -EINVAL;
	gm_sim_count(&sim->stats.messages, 1);
	err = gm_sim_fails(sim, GM_SIM_COPY_START);
	if (err)
		return err;
	fail = gm_sim_fails(sim, GM_SIM_COPY_FENCE);
	if (verb != GM_SIM_ZERO)
		gm_sim_count(&sim->stats.copies, n);
	stale = is_stale(sim, peer, ext, n);

	req = request_get(&sim->engine, n);
	if (!req) {
		perform(sim, verb, peer, ext, n, fail, stale);
		gm_fence_signal(fence, fail);
		return 0;
	}
	req->verb = verb;
	req->peer = peer;
	req->fence = fence;
	req->fail = fail;
	req->stale = stale;
	req->n = n;
	memcpy(req->ext, ext, n * sizeof(*ext));
	request_queue(&sim->engine, req);
	return 0;
}

int gm_sim_engine_init(struct gm_sim *sim, unsigned int nr_threads)
{
	struct gm_sim_engine *en = &sim->engine;
	unsigned int i;
	int err;

	pthread_mutex_init(&en->lock, NULL);
	pthread_cond_init(&en->work, NULL);
	en->tail = &en->head;
	if (!nr_threads)
		return 0;

	en->threads = calloc(nr_threads, sizeof(*en->threads));
	en->requests = calloc(nr_threads, 4 * sizeof(*en->requests));
	if (!en->threads || !en->requests) {
		err = -ENOMEM;
		goto err_fini;
	}
	for (i = 0; i < 4 * nr_threads; i++)
		request_put(en, &en->requests[i]);
	for (i = 0; i < nr_threads; i++) {
		err = gm_sim_thread(&en->threads[i], engine_thread, sim);
		if (err)
			goto err_fini;
		en->nr_threads++;
	}
	return 0;

err_fini:
	gm_sim_engine_fini(sim);
	return err;
}

void gm_sim_engine_fini(struct gm_sim *sim)
{
	struct gm_sim_engine *en = &sim->engine;
	unsigned int i;

	pthread_mutex_lock(&en->lock);
	en->stop = true;
	pthread_cond_broadcast(&en->work);
	pthread_mutex_unlock(&en->lock);
	for (i = 0; i < en->nr_threads; i++)
		pthread_join(en->threads[i], NULL);
	free(en->requests);
	free(en->threads);
	pthread_cond_destroy(&en->work);
	pthread_mutex_destroy(&en->lock);
}
