// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A key-value cache: an index, open addressing with linear probing, and a slab of values. Keys
 * are asked for as people do, a few very often: rank r with a probability of about 1 / r^0.99
 * (Zipf; drawn as in Gray et al., "Quickly generating billion-record synthetic databases",
 * SIGMOD 1994), and which key has which rank is random. Of twenty operations nineteen get and
 * one puts.
 *
 * A put adds to the words of a value, so that the order of lanes does not matter: in the end all
 * values are those of the plain run. A get checks that it has found its own key's.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "progress.h"
#include "util.h"

#define BATCH 1024U /* operations: what --iterations counts */
#define STEP 64U    /* operations between two reports of progress */
#define THETA 0.99
#define PUTS 20U /* one operation of so many */

#define VALUE_WORDS 30U

struct value {
	uint64_t key, puts;
	uint64_t word[VALUE_WORDS];
};

struct slot {
	uint64_t key; /* 0: free */
	uint64_t value;
};

struct kv {
	struct slot *index[2]; /* managed, plain */
	struct value *slab[2];
	uint64_t keys, slots, operations, seed;
	double zetan, eta; /* of the distribution */
	uint64_t nr_lost;  /* gets that found another key's value, or none; atomic */
	uint64_t nr_wrong;
};

static double zeta(uint64_t n)
{
	double sum = 0;
	uint64_t i;

	for (i = 1; i <= n; i++)
		sum += pow((double)i, -THETA);
	return sum;
}

static void zipf_init(struct kv *k)
{
	k->zetan = zeta(k->keys);
	k->eta = (1 - pow(2.0 / (double)k->keys, 1 - THETA)) / (1 - zeta(2) / k->zetan);
}

/* From 0, the most frequent; @u in [0, 1). */
static uint64_t zipf_rank(const struct kv *k, double u)
{
	double uz = u * k->zetan;
	uint64_t rank;

	if (uz < 1)
		return 0;
	if (uz < 1 + pow(0.5, THETA))
		return 1;
	rank = (uint64_t)((double)k->keys * pow(k->eta * u - k->eta + 1, 1 / (1 - THETA)));
	return rank < k->keys ? rank : k->keys - 1;
}

/* The key of a rank, never 0. The slab has values in the order of keys' coming, which is the ranks'. */
static uint64_t key_of(const struct kv *k, uint64_t rank)
{
	return random_at(k->seed, rank) | 1;
}

static uint64_t home_of(const struct kv *k, uint64_t key)
{
	return (key >> 1) & (k->slots - 1);
}

/* Operation number @i: what key, and whether it puts. */
static uint64_t operation(const struct kv *k, uint64_t i, bool *put)
{
	double u = (double)(random_at(k->seed ^ 0x6b76, i) >> 11) * 0x1p-53;

	*put = random_at(~k->seed, i) % PUTS == 0;
	return key_of(k, zipf_rank(k, u));
}

/* A value's place is random: keys come in an order that has nothing to do with their ranks. */
static void fill(struct kv *k, unsigned int which)
{
	uint64_t *place = xrealloc(NULL, k->keys, sizeof(*place)), i, j, at, t;
	struct slot *index = k->index[which];

	for (i = 0; i < k->keys; i++)
		place[i] = i;
	for (i = k->keys - 1; i > 0; i--) {
		j = random_at(k->seed ^ 0x706c, i) % (i + 1);
		t = place[i];
		place[i] = place[j];
		place[j] = t;
	}
	for (i = 0; i < k->keys; i++) {
		uint64_t key = key_of(k, i);

		for (at = home_of(k, key); index[at].key && index[at].key != key;)
			at = (at + 1) & (k->slots - 1);
		index[at] = (struct slot){ key, place[i] };
		k->slab[which][place[i]] = (struct value){ .key = key };
		for (j = 0; j < VALUE_WORDS; j++)
			k->slab[which][place[i]].word[j] = key + j;
	}
	free(place);
}

static int kv_prepare(struct demo *d)
{
	struct kv *k = xrealloc(NULL, 1, sizeof(*k));
	unsigned int i;
	int err;

	*k = (struct kv){
		.keys = d->opt.size / (sizeof(struct value) + 2 * sizeof(struct slot)),
		.operations = d->opt.iterations * BATCH,
		.seed = d->opt.seed,
	};
	d->data = k;
	if (k->keys < 3)
		return fail(RUN_BAD_INPUT,
			    "--size %llu is too small for kv: give at least %zu "
			    "bytes",
			    (unsigned long long)d->opt.size,
			    3 * (sizeof(struct value) + 2 * sizeof(struct slot)));
	for (k->slots = 1; 4 * k->slots < 5 * k->keys;)
		k->slots *= 2;
	err = demo_arenas(d, k->slots * sizeof(struct slot) + k->keys * sizeof(struct value));
	if (err)
		return err;
	progress_phase("filling the cache", 0);
	zipf_init(k);
	for (i = 0; i < 2; i++) {
		struct arena *a = i ? &d->plain : &d->managed;

		k->index[i] = arena_alloc(a, k->slots * sizeof(struct slot));
		k->slab[i] = arena_alloc(a, k->keys * sizeof(struct value));
		fill(k, i);
	}
	return RUN_OK;
}

static int kv_run_cpu(struct demo *d)
{
	struct kv *k = d->data;
	uint64_t i, j, at, key;
	struct value *v;
	bool put;

	progress_phase("plain run", 0);
	for (i = 0; i < k->operations; i++) {
		key = operation(k, i, &put);
		for (at = home_of(k, key); k->index[1][at].key != key;)
			at = (at + 1) & (k->slots - 1);
		v = &k->slab[1][k->index[1][at].value];
		if (!put)
			continue;
		v->puts++;
		for (j = 0; j < VALUE_WORDS; j++)
			v->word[j] += i;
	}
	return RUN_OK;
}

struct kernel_arg {
	struct kv *kv;
	unsigned int lanes;
};

/* The value of a key; NULL: it is not there. */
static struct value *find(struct gm_sim_lane *lane, const struct kv *k, uint64_t key)
{
	uint64_t at = home_of(k, key);
	struct slot slot;

	for (;;) {
		gm_sim_read(lane, &slot, &k->index[0][at], sizeof(slot));
		if (slot.key == key)
			return &k->slab[0][slot.value];
		if (!slot.key)
			return NULL;
		at = (at + 1) & (k->slots - 1);
	}
}

static void kv_kernel(struct gm_sim_lane *lane, void *data)
{
	const struct kernel_arg *arg = data;
	struct kv *k = arg->kv;
	uint64_t i, j, nr = 0;
	struct value copy, *v;
	bool put;

	for (i = gm_sim_lane_id(lane); i < k->operations; i += arg->lanes) {
		uint64_t key = operation(k, i, &put);

		v = find(lane, k, key);
		if (v && put) {
			gm_sim_add64(lane, &v->puts, 1);
			for (j = 0; j < VALUE_WORDS; j++)
				gm_sim_add64(lane, &v->word[j], i);
		} else if (v) {
			gm_sim_read(lane, &copy, v, sizeof(copy));
		}
		if (!v || (!put && copy.key != key))
			__atomic_fetch_add(&k->nr_lost, 1, __ATOMIC_RELAXED);
		if (++nr % STEP == 0)
			progress_add(STEP);
	}
}

static int kv_run_device(struct demo *d)
{
	struct kv *k = d->data;
	struct kernel_arg arg = { .kv = k, .lanes = gm_sim_lanes(d->sim) };

	progress_phase("accelerator", k->operations);
	return demo_launch(d, kv_kernel, &arg);
}

static int kv_verify(struct demo *d)
{
	struct kv *k = d->data;
	uint64_t i;

	for (i = 0; i < k->keys; i++)
		if (memcmp(&k->slab[0][i], &k->slab[1][i], sizeof(struct value)))
			k->nr_wrong++;
	d->verified = !k->nr_wrong && !k->nr_lost;
	return RUN_OK;
}

static void kv_print(const struct demo *d, FILE *out)
{
	const struct kv *k = d->data;

	fprintf(out, "%s gets and puts of %s keys, a few of them often\n\n",
		count_text(k->operations).s, count_text(k->keys).s);
	if (k->nr_wrong || k->nr_lost)
		fprintf(out, "  %s values are wrong, %s were not found\n\n",
			count_text(k->nr_wrong).s, count_text(k->nr_lost).s);
}

static int kv_describe(const struct demo *d, json_t *object)
{
	const struct kv *k = d->data;

	if (json_object_set_new(object, "keys", json_integer((json_int_t)k->keys)) ||
	    json_object_set_new(object, "operations", json_integer((json_int_t)k->operations)) ||
	    json_object_set_new(object, "lost", json_integer((json_int_t)k->nr_lost)) ||
	    json_object_set_new(object, "wrong", json_integer((json_int_t)k->nr_wrong)))
		return -1;
	return 0;
}

static void kv_release(struct demo *d)
{
	free(d->data);
}

const struct workload workload_kv = {
	.name = "kv",
	.summary = "gets and puts of a key-value cache; few keys are asked for often",
	.takes = TAKES_ITERATIONS | TAKES_SIZE | TAKES_SEED,
	.default_size = 16ULL << 20,
	.default_iterations = 16,
	.prepare = kv_prepare,
	.run_cpu = kv_run_cpu,
	.run_device = kv_run_device,
	.verify = kv_verify,
	.print = kv_print,
	.describe = kv_describe,
	.release = kv_release,
};
