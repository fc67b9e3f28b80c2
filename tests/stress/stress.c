// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Stress: the CPU and two devices on the same pages at once, and no update is lost.
 *
 * Every worker, a CPU thread or a lane of a device, owns one word of every page. It
 * increments its own word of random pages with a plain load and store and checks each
 * time that the word is what it left there. All workers besides add to shared words
 * with atomics. The memory is larger than the devices, so pages are evicted all the
 * while; a further thread gives hints, copies, maps and unmaps, detaches a third
 * device or pulls it out, and destroys it. Another reads all events. At the end the CPU
 * reads every word.
 *
 * Within one worker everything depends on the seed alone; how workers interleave is
 * the machine's choice.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gmem/driver.h>
#include <gmem/events.h>
#include <gmem/gmem.h>
#include <gmem/policy.h>
#include <gmem/sim.h>

#define BLOCK ((size_t)GM_BLOCK_SIZE)
#define BLOCKS 12U
#define PAGES (BLOCKS * 512U)
#define CPUS 2U
#define DEVS 2U
#define LANES 2U
#define WORKERS (CPUS + DEVS * LANES)
#define SHARED_WORD 64U /* of a page: the word everybody adds to */
#define STEPS 6000U	/* a worker and round */

struct worker {
	uint64_t rng;
	uint32_t count[PAGES];
	uint64_t added[PAGES];
};

struct device {
	struct gm_sim *sim;
	struct gm_sim_ctx *ctx;
	unsigned int first_worker;
	int err;
};

static struct gm_as *as;
static uint64_t *mem;
static struct worker worker[WORKERS];
static struct device device[DEVS];
static int stopping;
static uint64_t seed = 1;
static const char *mode = "thread";
static uint64_t pages; /* the first device's page sizes; 0: the usual */

static void fail(const char *what, long err)
{
	fprintf(stderr, "stress: %s: %ld\nreproduce: stress --seed %llu --mode %s --pages %llu\n",
		what, err, (unsigned long long)seed, mode, (unsigned long long)pages);
	exit(1);
}

static void must(int err, const char *what)
{
	if (err)
		fail(what, err);
}

static uint64_t next_random(uint64_t *state) /* xorshift64* (Vigna 2016) */
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static uint64_t *word_of(unsigned int page, unsigned int word)
{
	return mem + (size_t)page * 512 + word;
}

/* Some locality, so that pages stay where they are for a few accesses. */
static unsigned int pick_page(struct worker *w, unsigned int step)
{
	uint64_t r = next_random(&w->rng);
	unsigned int base = (unsigned int)(w->rng >> 33) % BLOCKS;

	if (step % 8)
		return (unsigned int)(r % 64) + 512 * (step / 64 % BLOCKS);
	return base * 512 + (unsigned int)(r % 512);
}

/* ----------------------------------------------------------------------- workers */

static void *cpu_worker(void *arg)
{
	struct worker *w = arg;
	unsigned int id = (unsigned int)(w - worker);

	for (unsigned int step = 0; step < STEPS; step++) {
		unsigned int page = pick_page(w, step);
		volatile uint64_t *own = word_of(page, id);

		if (*own != w->count[page])
			fail("the CPU lost an update of page", page);
		*own = ++w->count[page];
		if (step % 4 == 0) {
			__atomic_fetch_add(word_of(page, SHARED_WORD), step, __ATOMIC_RELAXED);
			w->added[page] += step;
		}
	}
	return NULL;
}

static void lane_kernel(struct gm_sim_lane *lane, void *arg)
{
	struct device *d = arg;
	unsigned int id = d->first_worker + gm_sim_lane_id(lane);
	struct worker *w = &worker[id];

	for (unsigned int step = 0; step < STEPS; step++) {
		unsigned int page = pick_page(w, step);
		uint64_t *own = word_of(page, id);

		if (gm_sim_load64(lane, own) != w->count[page])
			fail("a lane lost an update of page", page);
		gm_sim_store64(lane, own, ++w->count[page]);
		if (step % 4 == 0) {
			gm_sim_add64(lane, word_of(page, SHARED_WORD), step);
			w->added[page] += step;
		}
	}
}

static void *launch(void *arg)
{
	struct device *d = arg;

	d->err = gm_sim_launch(d->ctx, lane_kernel, d);
	return NULL;
}

/* -------------------------------------------------------------------- the meddler */

static void come_and_go(uint64_t r)
{
	struct gm_sim_options opt = {
		.size = sizeof(opt), .memory = 2 * BLOCK, .lanes = 1, .flags = GM_SIM_SYNC_FAULTS
	};
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	uint64_t word;
	int err;

	must(gm_sim_create(&opt, &sim), "create a third device");
	must(gm_sim_attach(sim, as, &ctx), "attach it");
	for (unsigned int i = 0; i < 16; i++) {
		r = r * 6364136223846793005ULL + 1;
		err = gm_sim_access(ctx, word_of((unsigned int)(r >> 33) % PAGES, 100), &word, 8,
				    GM_READ);
		if (err && err != -EBUSY)
			fail("the third device's access", err);
		if (!err && word)
			fail("a word nobody wrote is", (long)word);
	}
	if (r >> 63)
		must(gm_sim_unplug(sim), "pull the third device out");
	must(gm_sim_detach(ctx), "detach the third device with pages on it");
	must(gm_sim_destroy(sim), "destroy it");
}

static void scratch(uint64_t r)
{
	size_t len = 3 * BLOCK + (r % 512) * 4096;
	struct gm_page_info info[16];
	unsigned char *p;
	void *addr;
	int err;

	must(gm_alloc(as, len, 0, &addr), "gm_alloc");
	p = addr;
	p[r % len] = 1;
	err = hmadvise(gm_dev_hnode(gm_sim_dev(device[r % DEVS].sim)), p, BLOCK + 4096,
		       GM_PREFETCH);
	if (err && err != -EBUSY)
		fail("PREFETCH", err);
		/*
	 * From what all the others count in. ThreadSanitizer sees where a device counts in host memory in
	 * place, and takes that for a race; it is one, and is allowed: who copies gets old bytes or new.
	 */
#ifdef __SANITIZE_THREAD__
	must(hmemcpy(GM_NODE_NONE, p + 5000, p + 2 * BLOCK, 9000), "hmemcpy");
#else
	must(hmemcpy(GM_NODE_NONE, p + 5000, word_of((unsigned int)(r >> 20) % (PAGES - 4), 0),
		     9000),
	     "hmemcpy");
#endif
	must(gm_query(mem, sizeof(info) / sizeof(*info) * 4096, info), "gm_query");
	must(gm_as_unmap(as, p + BLOCK / 2, BLOCK), "unmap the middle");
	must(gm_as_unmap(as, p, BLOCK / 2), "unmap the beginning");
	must(gm_as_unmap(as, p + BLOCK / 2 + BLOCK, len - BLOCK / 2 - BLOCK), "unmap the rest");
}

/* As a job, which is waited for, or cancelled, or, if it pins nothing, left alone. */
static int in_background(uint64_t r, int node, void *addr, size_t len, enum gm_advice a)
{
	struct gm_job *job;
	int err = hmadvise_async(node, addr, len, a, &job);

	if (err)
		return err;
	if ((r >> 50) % 3 == 0)
		must(gm_job_cancel(job), "gm_job_cancel");
	if (a == GM_PIN || (r >> 52) % 2)
		err = gm_job_wait(job, GM_FOREVER);
	gm_job_free(job);
	return err == -ECANCELED ? 0 : err;
}

static void *meddler(void *arg)
{
	static const char *const policies[] = { "density/lru-2m", "stream/clock", "fixed/s3fifo",
						"/clock",	  "stream/",	  "density/s3fifo",
						"/s3fifo",	  "fixed/lru-2m" };
	static const enum gm_advice advice[] = {
		GM_PREFETCH,
		GM_WILLNEED,
		GM_COLD,
		GM_PIN,
		GM_UNPIN,
		GM_PREFETCH,
		GM_UNPIN,
		GM_UNPIN,
		GM_READ_MOSTLY,
		GM_READ_MOSTLY,
		GM_UNSET_READ_MOSTLY,
		GM_PREFERRED_LOCATION,
		GM_UNSET_PREFERRED_LOCATION,
		GM_ACCESSED_BY,
		GM_UNSET_ACCESSED_BY,
		GM_UNPIN,
	};
	uint64_t rng = *(uint64_t *)arg;

	for (unsigned int i = 0; !__atomic_load_n(&stopping, __ATOMIC_RELAXED); i++) {
		uint64_t r = next_random(&rng);
		enum gm_advice a = advice[r % 16];
		int node = gm_dev_hnode(gm_sim_dev(device[r >> 8 & 1].sim)), err;
		bool remote = a == GM_ACCESSED_BY || a == GM_UNSET_ACCESSED_BY;
		size_t at = (r >> 16) % (PAGES - 64),
		       len = a == GM_UNPIN ? PAGES - at : 1 + (r >> 40) % 64;

		if (a != GM_PIN && (r >> 12) % 4 == 0)
			node = GM_NODE_HOST;
		if ((r >> 16) % 4 == 0)
			err = in_background(r, node, mem + at * 512, len * 4096, a);
		else
			err = hmadvise(node, mem + at * 512, len * 4096, a);
		if (err && err != -EBUSY && err != -ENOSPC && !(remote && err == -EOPNOTSUPP))
			fail("hmadvise", err);
		if (i % 16 == 0)
			scratch(r);
		if (i % 64 == 1)
			come_and_go(r);
		if (i % 32 == 2)
			gm_retain_trim(r % (4 * BLOCK));
		if (i % 8 == 3)
			must(gm_dev_set_policy(gm_sim_dev(device[r >> 8 & 1].sim),
					       policies[r >> 32 & 7]),
			     "gm_dev_set_policy");
	}
	must(hmadvise(0, mem, BLOCKS * BLOCK, GM_UNPIN), "UNPIN");
	return NULL;
}

/* Reads what is told, through a ring that is too small for it, and opens it anew now and then. */
static void *reader(void *arg)
{
	struct gm_events_options opt = { .size = sizeof(opt), .records = 64 };
	struct gm_event_record r[16];
	struct gm_events *events;
	uint64_t lost;
	int n;

	while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
		must(gm_events_open(&opt, &events), "gm_events_open");
		for (unsigned int i = 0; i < 50; i++) {
			n = gm_events_read(events, r, 16);
			if (n < 0)
				fail("gm_events_read", n);
			for (int e = 0; e < n; e++)
				if (r[e].size != sizeof(r[e]) || r[e].kind >= GM_EVENT_KINDS)
					fail("an event that is none", e);
			*(uint64_t *)arg += (unsigned int)n;
			usleep(1000);
		}
		must(gm_events_lost(events, &lost), "gm_events_lost");
		*(uint64_t *)arg += lost;
		gm_events_close(events);
	}
	return NULL;
}

/* ------------------------------------------------------------------------ the test */

static void round_of_all(uint64_t round)
{
	pthread_t cpu[CPUS], dev[DEVS], other, events;
	uint64_t other_seed = seed * 1000003 + round + 1, told = 0;

	__atomic_store_n(&stopping, 0, __ATOMIC_RELAXED);
	must(-pthread_create(&other, NULL, meddler, &other_seed), "thread");
	must(-pthread_create(&events, NULL, reader, &told), "thread");
	for (unsigned int i = 0; i < DEVS; i++)
		must(-pthread_create(&dev[i], NULL, launch, &device[i]), "thread");
	for (unsigned int i = 0; i < CPUS; i++)
		must(-pthread_create(&cpu[i], NULL, cpu_worker, &worker[i]), "thread");
	for (unsigned int i = 0; i < CPUS; i++)
		pthread_join(cpu[i], NULL);
	for (unsigned int i = 0; i < DEVS; i++) {
		pthread_join(dev[i], NULL);
		must(device[i].err, "kernel");
	}
	__atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
	pthread_join(other, NULL);
	pthread_join(events, NULL);
	if (!told)
		fail("no event was told", 0);
}

static void verify(void)
{
	for (unsigned int page = 0; page < PAGES; page++) {
		uint64_t sum = 0;

		for (unsigned int w = 0; w < WORKERS; w++) {
			if (*word_of(page, w) != worker[w].count[page])
				fail("an update was lost in page", page);
			sum += worker[w].added[page];
		}
		if (*word_of(page, SHARED_WORD) != sum)
			fail("a shared word is wrong in page", page);
	}
}

static void setup(void)
{
	struct gm_as_options opt = { .size = sizeof(opt),
				     .flags = strcmp(mode, "inline") ? 0 : GM_AS_INLINE };
	void *addr;

	must(gm_as_create(&opt, &as), "gm_as_create");
	must(gm_alloc(as, BLOCKS * BLOCK, 0, &addr), "gm_alloc");
	mem = addr;
	for (unsigned int i = 0; i < DEVS; i++) {
		struct gm_sim_options sim = { .size = sizeof(sim),
					      .memory = (4 + 2 * i) * BLOCK,
					      .lanes = LANES,
					      .copy_threads = i,
					      .tlb_entries = 16,
					      .pgsize_bitmap = i ? 0 : pages,
					      .flags = GM_SIM_CHECK };

		device[i].first_worker = CPUS + i * LANES;
		must(gm_sim_create(&sim, &device[i].sim), "gm_sim_create");
		must(gm_sim_attach(device[i].sim, as, &device[i].ctx), "gm_sim_attach");
	}
	for (unsigned int i = 0; i < WORKERS; i++)
		worker[i].rng = seed * 0x9e3779b97f4a7c15ULL + i + 1;
}

static void teardown(void)
{
	for (unsigned int i = 0; i < DEVS; i++) {
		struct gm_sim_stats stats = { .size = sizeof(stats) };

		gm_sim_stats(device[i].sim, &stats);
		if (stats.stale)
			fail("translations alive during a copy", (long)stats.stale);
		must(gm_sim_detach(device[i].ctx), "gm_sim_detach");
		must(gm_sim_destroy(device[i].sim), "gm_sim_destroy");
	}
	must(gm_as_destroy(as), "gm_as_destroy");
	if (gm_metadata_bytes())
		fail("metadata left", (long)gm_metadata_bytes());
}

int main(int argc, char **argv)
{
	struct gm_stats stats = { .size = sizeof(stats) };
	unsigned long rounds = 6;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--rounds"))
			rounds = strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--mode"))
			mode = argv[i + 1];
		else if (!strcmp(argv[i], "--pages"))
			pages = strtoull(argv[i + 1], NULL, 0);
		else
			return fprintf(stderr, "stress [--seed N] [--rounds N] [--mode "
					       "thread|inline] [--pages SIZES]\n"),
			       2;
	}
	printf("stress: seed %llu, %lu rounds of %u steps, %u CPU threads, %u devices of %u lanes, "
	       "%s\n",
	       (unsigned long long)seed, rounds, STEPS, CPUS, DEVS, LANES, mode);
	setup();
	for (uint64_t r = 0; r < rounds; r++)
		round_of_all(r);
	verify();
	must(gm_as_stats(as, &stats), "gm_as_stats");
	printf("%llu CPU faults, %llu device faults, %llu held; %llu evictions, %llu called off\n",
	       (unsigned long long)stats.cpu_faults, (unsigned long long)stats.dev_faults,
	       (unsigned long long)stats.faults_held, (unsigned long long)stats.evictions,
	       (unsigned long long)stats.evictions_cancelled);
	teardown();
	printf("stress: no update was lost\n");
	return 0;
}
