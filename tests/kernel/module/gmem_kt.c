// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver that is wrong in every way a driver can be wrong, for the tests of what user
 * space cannot reach. What it does when it is loaded is a parameter; it loads if all was
 * as it should be, and else says what was not.
 *
 *	check=functions	tables that lack a function
 *	check=tables	tables that are wrong otherwise
 *	check=physmem	ranges of device memory
 *	check=policies	policies of its own, one that takes part while it is there
 *	check=devices	as many devices as there can be, and one more
 *	check=fd	gm_as_from_fd(@fd), which is to return @fd_err
 *	hold=1		a device stays until 0 is written to the parameter
 *
 * A refused table costs one line of the log, with the name "kt-bad" in it; the core limits
 * how many there are in five seconds to ten.
 */
#include <linux/module.h>
#include <linux/sizes.h>

#include <gmem/kernel.h>
#include <gmem/policy.h>

#define FAIL(fmt, ...)                                                                             \
	({                                                                                         \
		pr_err("gmem_kt: line %d: " fmt "\n", __LINE__, ##__VA_ARGS__);                    \
		-EPROTO;                                                                           \
	})
#define EXPECT(call, want)                                                                         \
	do {                                                                                       \
		int got = call;                                                                    \
		if (got != (want))                                                                 \
			return FAIL("%s is %d, not %d", #call, got, want);                         \
	} while (0)

static char *check = "";
module_param(check, charp, 0400);
static int fd = -1, fd_err;
module_param(fd, int, 0400);
module_param(fd_err, int, 0400);

static struct gm_dev *held;

/* ------------------------------------------------------------- a table that is right */

static int pmap_create(struct gm_dev *dev, void **pmap)
{
	*pmap = dev;
	return 0;
}

static void pmap_destroy(struct gm_dev *dev, void *pmap)
{
}

static int pmap_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
		      uint32_t prot)
{
	return -EIO;
}

static int on_range(void *pmap, uint64_t va, uint64_t size)
{
	return 0;
}

static int pmap_enter_host(void *pmap, uint64_t va, uint64_t host, uint64_t size, uint32_t prot)
{
	return 0;
}

static int copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		unsigned int n, struct gm_fence *fence)
{
	return -EIO;
}

static int zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		struct gm_fence *fence)
{
	return -EIO;
}

static const struct gm_mmu good = {
	.size = sizeof(struct gm_mmu),
	.pgsize_bitmap = SZ_4K | SZ_2M,
	.pmap_create = pmap_create,
	.pmap_destroy = pmap_destroy,
	.pmap_enter = pmap_enter,
	.pmap_release = on_range,
	.tlb_invl = on_range,
	.copy = copy,
	.zero = zero,
	.pmap_enter_host = pmap_enter_host,
};

/* ----------------------------------------------------------------------------- checks */

/* A refused table leaves nothing: the next device has the place that the first would have had. */
static int refused(const struct gm_mmu *bad)
{
	static int first;
	struct gm_dev *dev = ERR_PTR(-1);

	EXPECT(gm_dev_create(bad, "kt-bad", NULL, &dev), -EINVAL);
	if (dev != ERR_PTR(-1))
		return FAIL("a refused table made a device");
	EXPECT(gm_dev_create(&good, "kt-good", &first, &dev), 0);
	first = first ?: gm_dev_hnode(dev);
	if (gm_dev_hnode(dev) != first || gm_dev_data(dev) != &first)
		return FAIL("a device is not what it was made: node %d", gm_dev_hnode(dev));
	EXPECT(gm_dev_destroy(dev), 0);
	return 0;
}

static int check_functions(void)
{
	struct gm_mmu bad;
	int err = 0;

#define WITHOUT(function)                                                                          \
	do {                                                                                       \
		bad = good;                                                                        \
		bad.function = NULL;                                                               \
		err = err ?: refused(&bad);                                                        \
	} while (0)
	WITHOUT(pmap_create);
	WITHOUT(pmap_destroy);
	WITHOUT(pmap_enter);
	WITHOUT(pmap_release);
	WITHOUT(tlb_invl);
	WITHOUT(copy);
	WITHOUT(zero);
	return err;
}

static int check_tables(void)
{
	static const uint64_t bitmaps[] = { 0, SZ_1G, SZ_4K | 1, SZ_4K | 1ULL << 31, ~0ULL };
	static const size_t sizes[] = { 0, offsetof(struct gm_mmu, copy_peer) - 8, 2 * PAGE_SIZE };
	struct gm_mmu bad;
	struct gm_dev *dev;
	int err = 0, i;

	for (i = 0; i < ARRAY_SIZE(sizes) && !err; i++) {
		bad = good;
		bad.size = sizes[i];
		err = refused(&bad);
	}
	for (i = 0; i < ARRAY_SIZE(bitmaps) && !err; i++) {
		bad = good;
		bad.pgsize_bitmap = bitmaps[i];
		err = refused(&bad);
	}
	if (err)
		return err;
	/* A caller's own slip is no wrong driver: an error, and no line. */
	EXPECT(gm_dev_create(NULL, "kt-bad", NULL, &dev), -EINVAL);
	EXPECT(gm_dev_create(&good, NULL, NULL, &dev), -EINVAL);
	EXPECT(gm_dev_create(&good, "kt-bad", NULL, NULL), -EINVAL);
	EXPECT(gm_dev_destroy(NULL), -EINVAL);
	return 0;
}

static int total_is(struct gm_dev *dev, uint64_t want)
{
	struct gm_hnode_info info = { .size = sizeof(info) };

	EXPECT(gm_hnode_info(gm_dev_hnode(dev), &info), 0);
	if (info.total != want || info.free != want)
		return FAIL("total %llu free %llu, not %llu", info.total, info.free, want);
	return 0;
}

static int ranges(struct gm_dev *dev, struct gm_dev *other)
{
	const uint64_t b = SZ_2M, at = 16 * b;
	static const struct {
		uint64_t begin, end;
		int err;
	} bad[] = {
		{ 16 * SZ_2M + 1, 18 * SZ_2M, -EINVAL },
		{ 16 * SZ_2M, 18 * SZ_2M - 8, -EINVAL },
		{ 16 * SZ_2M, 16 * SZ_2M, -EINVAL },
		{ 18 * SZ_2M, 16 * SZ_2M, -EINVAL },
		{ 0ULL - SZ_2M, SZ_2M, -EINVAL }, /* wraps */
		{ 0ULL - 4 * SZ_2M, 0ULL - SZ_4K, -EINVAL },
		{ 1ULL << 58, (1ULL << 58) + SZ_2M, -EINVAL },
		{ 0, (1ULL << 48) + SZ_4K, -EINVAL },
		{ SZ_4K, 2 * SZ_2M - SZ_4K, -EINVAL }, /* no aligned piece in it */
		{ 16 * SZ_2M, 17 * SZ_2M - SZ_4K, -EINVAL },
	}, taken[] = {
		{ 16 * SZ_2M, 18 * SZ_2M, -EEXIST },
		{ 15 * SZ_2M, 17 * SZ_2M, -EEXIST },
		{ 17 * SZ_2M, 19 * SZ_2M, -EEXIST },
		{ 16 * SZ_2M, 17 * SZ_2M, -EEXIST },
		{ 15 * SZ_2M, 19 * SZ_2M, -EEXIST },
		{ 18 * SZ_2M - SZ_4K, 20 * SZ_2M, -EEXIST },
		{ 14 * SZ_2M, 16 * SZ_2M + SZ_4K, -EEXIST },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT(gm_dev_register_physmem(dev, bad[i].begin, bad[i].end), bad[i].err);
	EXPECT(gm_dev_register_physmem(NULL, at, at + b), -EINVAL);
	EXPECT(total_is(dev, 0), 0);
	EXPECT(gm_dev_register_physmem(dev, at, at + 2 * b), 0);
	for (i = 0; i < ARRAY_SIZE(taken); i++)
		EXPECT(gm_dev_register_physmem(dev, taken[i].begin, taken[i].end), taken[i].err);
	EXPECT(total_is(dev, 2 * b), 0);
	EXPECT(gm_dev_register_physmem(dev, at - b, at), 0); /* next to one another */
	EXPECT(gm_dev_register_physmem(dev, at + 2 * b, at + 3 * b), 0);
	/* Addresses are a device's own: another may have the same. */
	EXPECT(gm_dev_register_physmem(other, at, at + 2 * b), 0);
	EXPECT(total_is(dev, 4 * b), 0);

	EXPECT(gm_dev_unregister_physmem(dev, at, at + b), -ENOENT);
	EXPECT(gm_dev_unregister_physmem(dev, at - b, at + 3 * b), -ENOENT);
	EXPECT(gm_dev_unregister_physmem(dev, at + 1, at + b), -EINVAL);
	EXPECT(gm_dev_unregister_physmem(NULL, at, at + b), -EINVAL);
	EXPECT(gm_dev_unregister_physmem(dev, at, at + 2 * b), 0);
	EXPECT(gm_dev_unregister_physmem(dev, at, at + 2 * b), -ENOENT);
	EXPECT(total_is(dev, 2 * b), 0);
	EXPECT(gm_dev_register_physmem(dev, at, at + 2 * b), 0);
	return 0;
}

/* ------------------------------------------------------------------------ policies */

static int policy_starts, policy_stops;

static int policy_start(void *state)
{
	policy_starts++;
	return *(u64 *)state ? -EPROTO : 0;
}

static void policy_stop(void *state)
{
	policy_stops++;
}

static void policy_fault(void *state, struct gm_policy_block *block,
			 const struct gm_policy_fault *fault, struct gm_policy_move *move)
{
}

static const struct gm_move_policy kt_policy = {
	.size = sizeof(kt_policy),
	.name = "kt",
	.text = "the granule",
	.state_size = 8,
	.start = policy_start,
	.stop = policy_stop,
	.fault = policy_fault,
};

static int check_policies(void)
{
	struct gm_dev *dev;
	char names[64];
	int err;

	EXPECT(gm_dev_create(&good, "kt", NULL, &dev), 0);
	EXPECT(gm_dev_set_policy(dev, "kt/clock"), -ENOENT);
	EXPECT(gm_policy_register(&kt_policy, NULL), 0);
	EXPECT(gm_policy_register(&kt_policy, NULL), -EEXIST);
	err = gm_dev_set_policy(dev, "kt/clock");
	EXPECT(gm_policy_unregister(&kt_policy, NULL), 0);
	EXPECT(err, 0);
	EXPECT(policy_starts, 1);
	EXPECT(policy_stops, 1);
	EXPECT(gm_policy_unregister(&kt_policy, NULL), -ENOENT);
	EXPECT(gm_dev_policy(dev, names, sizeof(names)), 0);
	EXPECT(strcmp(names, "density/clock"), 0);
	EXPECT(gm_dev_destroy(dev), 0);
	return 0;
}

static int check_physmem(void)
{
	struct gm_dev *dev, *other;
	int err;

	EXPECT(gm_dev_create(&good, "kt", NULL, &dev), 0);
	err = gm_dev_create(&good, "kt", NULL, &other);
	if (!err) {
		err = ranges(dev, other);
		err = gm_dev_destroy(other) ?: err;
	}
	return gm_dev_destroy(dev) ?: err;
}

static int check_devices(void)
{
	struct gm_dev *dev[64], *more;
	int n = 0, err = 0, i;

	while (n < ARRAY_SIZE(dev) && !err) {
		err = gm_dev_create(&good, "kt", NULL, &dev[n]);
		n += !err;
	}
	if (!err && gm_dev_create(&good, "kt", NULL, &more) != -ENOSPC)
		err = FAIL("there is a 65th device");
	for (i = 0; i < n; i++)
		err = gm_dev_destroy(dev[i]) ?: err;
	return err;
}

/* What a driver does with a descriptor; as the process that loads the module has it. */
static int check_fd(void)
{
	struct gm_as *as = ERR_PTR(-1);
	struct gm_context *ctx;
	struct gm_dev *dev;

	EXPECT(gm_as_from_fd(fd, &as), fd_err);
	if (fd_err)
		return as == ERR_PTR(-1) ? 0 : FAIL("an address space in spite of an error");
	EXPECT(gm_dev_create(&good, "kt", NULL, &dev), 0);
	EXPECT(gm_as_attach(as, dev, GM_EXCLUSIVE, NULL), -EINVAL);
	EXPECT(gm_as_attach(as, dev, GM_SHARE, &ctx), -EOPNOTSUPP);
	EXPECT(gm_as_attach(as, dev, GM_REPLICATE, &ctx), 0);
	EXPECT(gm_as_detach(ctx), 0);
	EXPECT(gm_as_attach(as, dev, GM_EXCLUSIVE, &ctx), 0);
	EXPECT(gm_as_attach(as, dev, GM_EXCLUSIVE, &ctx), -EBUSY);
	EXPECT(gm_dev_destroy(dev), -EBUSY);
	EXPECT(gm_dev_fault(ctx, SZ_4K, GM_READ), -EFAULT); /* the first pages are nobody's */
	EXPECT(gm_as_detach(ctx), 0);
	EXPECT(gm_dev_destroy(dev), 0);
	gm_as_release(as);
	return 0;
}

/* ------------------------------------------------------------------------------- hold */

static int hold_set(const char *val, const struct kernel_param *kp)
{
	bool on;
	int err = kstrtobool(val, &on);

	if (err || on == !!held)
		return err;
	if (on)
		return gm_dev_create(&good, "kt-held", NULL, &held);
	err = gm_dev_destroy(held);
	if (!err)
		held = NULL;
	return err;
}

static const struct kernel_param_ops hold_ops = { .set = hold_set };
module_param_cb(hold, &hold_ops, NULL, 0200);

static int __init kt_init(void)
{
	static const struct {
		const char *name;
		int (*fn)(void);
	} checks[] = {
		{ "functions", check_functions }, { "tables", check_tables },
		{ "physmem", check_physmem },	  { "devices", check_devices },
		{ "policies", check_policies },	  { "fd", check_fd },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(checks); i++)
		if (!strcmp(check, checks[i].name))
			return checks[i].fn();
	return *check ? FAIL("no check is called %s", check) : 0;
}

static void __exit kt_exit(void)
{
}

module_init(kt_init);
module_exit(kt_exit);
MODULE_DESCRIPTION("Tests of gmem's interface for drivers");
MODULE_LICENSE("GPL");
