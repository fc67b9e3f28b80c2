// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Policies of one's own, beside those that are built in: the same work on a device a quarter as
 * large as its data, with either. gm_policy(3) shows the policies.
 */
#include <stdio.h>
#include <string.h>

#include <gmem/driver.h>
#include <gmem/policy.h>
#include <gmem/sim.h>

#define SIZE (32UL << 20)

/* Bring twice as much as for the last fault on the block, which its word remembers. */
static void twice(void *state, struct gm_policy_block *block, const struct gm_policy_fault *fault,
		  struct gm_policy_move *move)
{
	(void)state;
	move->n = block->word ? block->word * 2 : fault->granule;
	if (move->n > GM_POLICY_PAGES)
		move->n = GM_POLICY_PAGES;
	move->first = fault->page / move->n * move->n;
	block->word = move->n;
}

/* Evict the aligned 64 KiB pieces on which the dice fall. */
static void dice(void *state, struct gm_policy_block *block, uint64_t want, unsigned int pressure,
		 struct gm_policy_victims *victims)
{
	uint64_t *seed = state;

	(void)block;
	(void)want;
	(void)pressure;
	for (unsigned int page = 0; page < GM_POLICY_PAGES; page += 16) {
		*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
		if (*seed >> 62 == 0)
			gm_mask_set(&victims->go, page, 16);
	}
}

static const struct gm_move_policy twice_policy = {
	.size = sizeof(twice_policy),
	.name = "twice",
	.text = "twice as much as the last time",
	.fault = twice,
};

static const struct gm_evict_policy dice_policy = {
	.size = sizeof(dice_policy),
	.name = "dice",
	.text = "a quarter of a block, at random",
	.state_size = sizeof(uint64_t),
	.evict = dice,
};

static int must(int err, const char *what)
{
	if (err)
		fprintf(stderr, "policy: %s: %s\n", what, strerror(-err));
	return err;
}

/* Go through all of the memory on the device, twice. */
static int work(struct gm_sim *sim, struct gm_sim_ctx *ctx, unsigned char *mem, const char *names)
{
	struct gm_stats before = { .size = sizeof(before) }, after = before;
	struct gm_dev *dev = gm_sim_dev(sim);
	uint64_t word;
	int err = must(gm_dev_set_policy(dev, names), names);

	if (!err)
		err = must(gm_dev_stats(dev, &before), "gm_dev_stats");
	for (size_t at = 0; at < 2 * SIZE && !err; at += 4096)
		err = must(gm_sim_access(ctx, mem + at % SIZE, &word, 8, GM_READ), "access");
	if (!err)
		err = must(gm_dev_stats(dev, &after), "gm_dev_stats");
	if (!err)
		printf("%-16s %6llu faults, %6llu pages in, %6llu evicted\n", names,
		       (unsigned long long)(after.dev_faults - before.dev_faults),
		       (unsigned long long)(after.pages_to_dev - before.pages_to_dev),
		       (unsigned long long)(after.pages_evicted - before.pages_evicted));
	return err;
}

int main(void)
{
	struct gm_sim_options opt = { .size = sizeof(opt), .memory = SIZE / 4 };
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	struct gm_as *as;
	void *mem;
	int err;

	if (must(gm_policy_register(&twice_policy, &dice_policy), "gm_policy_register") ||
	    must(gm_sim_create(&opt, &sim), "gm_sim_create") ||
	    must(gm_as_create(NULL, &as), "gm_as_create") ||
	    must(gm_sim_attach(sim, as, &ctx), "gm_sim_attach") ||
	    must(gm_alloc(as, SIZE, 0, &mem), "gm_alloc"))
		return 1;
	memset(mem, 1, SIZE);
	err = work(sim, ctx, mem, "density/lru-2m");
	if (!err)
		err = work(sim, ctx, mem, "stream/s3fifo");
	if (!err)
		err = work(sim, ctx, mem, "twice/dice");
	if (gm_sim_detach(ctx) || gm_as_destroy(as) || gm_sim_destroy(sim))
		err = 1;
	/* After the last device that used them, or before: then it gets others. */
	return err || gm_policy_unregister(&twice_policy, &dice_policy);
}
