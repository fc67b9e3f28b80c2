// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Addresses that a device has a say in: asked for what is mapped, and for nothing else, given
 * back page by page, and what a refusal does.
 */
#include "unit.h"

#include "toy.h"

#include "core/core.h"

#define RW (GM_READ | GM_WRITE)
#define AT 0x7000000000ULL

/* What the toy's operating system knows: each piece as it was given; strict. */
#define PIECES 256
static struct {
	struct gm_tlb_range piece[PIECES];
	unsigned int asked, refuse_after;
	unsigned int broken; /* what must not be; the core's locks are held, so no assertion */
	int err; /* what it refuses with, from the refuse_after-th question on; 0: never */
} os;

static int os_alloc(void *pmap, uint64_t va, uint64_t size, uint32_t prot)
{
	(void)pmap;
	os.broken += !(prot & GM_READ) || !size || (va | size) % PAGE;
	if (os.err && os.asked++ >= os.refuse_after)
		return os.err;
	for (unsigned int i = 0; i < PIECES; i++)
		os.broken += os.piece[i].size && os.piece[i].va < va + size &&
			     va < os.piece[i].va + os.piece[i].size;
	for (unsigned int i = 0; i < PIECES; i++) {
		if (!os.piece[i].size) {
			os.piece[i] = (struct gm_tlb_range){ .va = va, .size = size };
			return 0;
		}
	}
	return -ENOMEM;
}

static void os_free(void *pmap, uint64_t va, uint64_t size)
{
	struct gm_tlb_range high;

	(void)pmap;
	for (unsigned int i = 0; i < PIECES; i++) {
		struct gm_tlb_range *r = &os.piece[i];

		if (va < r->va || va + size > r->va + r->size)
			continue;
		high = (struct gm_tlb_range){ va + size, r->va + r->size - va - size };
		r->size = va - r->va;
		for (i = 0; high.size && i < PIECES; i++) {
			if (!os.piece[i].size) {
				os.piece[i] = high;
				high.size = 0;
			}
		}
		return;
	}
	os.broken++; /* freed what was not taken */
}

static uint64_t os_bytes(void)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < PIECES; i++)
		n += os.piece[i].size;
	return n;
}

static void refuse(unsigned int after, int err)
{
	os.asked = 0;
	os.refuse_after = after;
	os.err = err;
}

/* The toy beside the two simulated devices, which have occupied nothing. */
static struct toy toy;
static struct gm_context *toy_ctx;

static int setup(void **state)
{
	struct unit *u;

	unit_setup(state);
	u = *state;
	memset(&os, 0, sizeof(os));
	toy_init(&toy, 2);
	toy.mmu.peer_va_alloc_fixed = os_alloc;
	toy.mmu.peer_va_free = os_free;
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &toy_ctx), 0);
	return 0;
}

static uint64_t sim_bytes(struct unit *u, unsigned int i)
{
	struct gm_sim_stats s = { .size = sizeof(s) };

	gm_sim_stats(u->sim[i], &s);
	return s.addresses;
}

static int teardown(void **state)
{
	struct unit *u = *state;

	refuse(0, 0);
	assert_int_equal(gm_as_destroy(u->as), 0);
	u->as = NULL;
	assert_int_equal(os.broken, 0);
	assert_int_equal(os_bytes(), 0);
	assert_int_equal(sim_bytes(u, 0) + sim_bytes(u, 1), 0);
	assert_int_equal(toy_unplug(&toy), 0);
	return unit_teardown(state);
}

/* All three know of so many bytes. */
static void taken(struct unit *u, uint64_t bytes)
{
	assert_int_equal(os_bytes(), bytes);
	assert_int_equal(sim_bytes(u, 0), bytes);
	assert_int_equal(sim_bytes(u, 1), bytes);
}

static void follows_the_regions(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(4 * BLOCK);
	uint64_t a = unit_alloc(u, 2 * BLOCK), b = unit_map_at(u->as, obj, 0, BLOCK, AT);
	void *to = (void *)(uintptr_t)(AT + 8 * BLOCK);

	taken(u, 3 * BLOCK);
	unit_fill(u, 0, a, 2 * BLOCK, 1);
	unit_unmap(u->as, a + 7 * PAGE, 5 * PAGE);
	taken(u, 3 * BLOCK - 5 * PAGE);
	unit_unmap(u->as, a + BLOCK, BLOCK);
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)a, PAGE, GM_READ), 0);
	taken(u, 2 * BLOCK - 5 * PAGE);
	/* Moving, growing, shrinking. */
	assert_int_equal(gm_as_remap(u->as, (void *)(uintptr_t)b, BLOCK, 3 * BLOCK,
				     GM_REMAP_MAYMOVE | GM_REMAP_FIXED, &to),
			 0);
	taken(u, 4 * BLOCK - 5 * PAGE);
	assert_int_equal(gm_as_remap(u->as, to, 3 * BLOCK, 4 * BLOCK, 0, &to), 0);
	taken(u, 5 * BLOCK - 5 * PAGE);
	assert_int_equal(gm_as_remap(u->as, to, 4 * BLOCK, PAGE, 0, &to), 0);
	taken(u, BLOCK - 4 * PAGE);
	/* A device goes and comes again; others keep what they have. */
	assert_int_equal(gm_as_detach(toy_ctx), 0);
	assert_int_equal(os_bytes(), 0);
	unit_unmap(u->as, a, PAGE);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &toy_ctx), 0);
	taken(u, BLOCK - 5 * PAGE);
	gm_object_put(obj);
}

/* What the devices use themselves: others are found, and those that are named are refused. */
static void conflict_moves(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), other;
	struct gm_object *obj = unit_object(2 * BLOCK);
	void *addr = (void *)(uintptr_t)(AT + PAGE);

	unit_unmap(u->as, va, BLOCK);
	assert_int_equal(gm_sim_occupy(u->sim[1], va + 5 * PAGE, PAGE, 1), 0);
	other = unit_alloc(u, BLOCK);
	assert_true(other >= va + BLOCK || other + BLOCK <= va);
	taken(u, BLOCK);
	unit_fill(u, 1, other, BLOCK, 1);
	unit_unmap(u->as, other, BLOCK);
	/* Not the host's either any more: what was refused on the way is free. */
	assert_int_equal(gm_sim_occupy(u->sim[1], va + 5 * PAGE, PAGE, 0), 0);
	assert_int_equal(unit_alloc(u, BLOCK), va);

	assert_int_equal(gm_sim_occupy(u->sim[0], AT + 2 * BLOCK, BLOCK, 1), 0);
	assert_int_equal(gm_as_map(u->as, obj, 0, 2 * BLOCK, RW, GM_MAP_FIXED, &addr), -EADDRINUSE);
	taken(u, BLOCK);
	unit_map_at(u->as, obj, 0, BLOCK, AT);
	taken(u, 2 * BLOCK);
	gm_object_put(obj);
}

/* Bounded: a device that refuses whatever it is asked. */
static void no_endless_retry(void **state)
{
	struct unit *u = *state;
	uint64_t value = 0;
	void *addr;

	assert_int_equal(gm_sim_occupy(u->sim[0], 0, 1ULL << 47, 1), 0);
	assert_int_equal(gm_alloc(u->as, BLOCK, 0, &addr), -EADDRINUSE);
	assert_int_equal(gm_sim_occupy(u->sim[0], 0, 1ULL << 47, 0), 0);
	taken(u, 0);
	refuse(0, -EEXIST);
	assert_int_equal(gm_alloc(u->as, BLOCK, 0, &addr), -EADDRINUSE);
	assert_int_equal(os.asked, GM_VA_TRIES);
	/* The last try is as good as the first. */
	refuse(0, 0);
	assert_int_equal(gm_sim_occupy(u->sim[0], 0x100000000ULL, (GM_VA_TRIES - 1) * BLOCK, 1), 0);
	assert_int_equal(gm_alloc(u->as, BLOCK, 0, &addr), 0);
	taken(u, BLOCK);
	assert_int_equal(unit_access(u, 0, (uintptr_t)addr, &value, 8, GM_WRITE), 0);
}

/* Any other error is the caller's, at once. */
static void another_error(void **state)
{
	struct unit *u = *state;
	void *addr;

	refuse(0, -EIO);
	assert_int_equal(gm_alloc(u->as, BLOCK, 0, &addr), -EIO);
	assert_int_equal(os.asked, 1);
	taken(u, 0);
}

static void remap_asks(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	void *mem = (void *)(uintptr_t)va, *to = (void *)(uintptr_t)AT;

	unit_fill(u, 0, va, 2 * BLOCK, 1);
	assert_int_equal(gm_sim_occupy(u->sim[1], AT + 2 * BLOCK - PAGE, 8, 1), 0);
	assert_int_equal(gm_as_remap(u->as, mem, 2 * BLOCK, 2 * BLOCK,
				     GM_REMAP_MAYMOVE | GM_REMAP_FIXED, &to),
			 -EADDRINUSE);
	unit_verify(u, 0, va, 2 * BLOCK, 1);
	taken(u, 2 * BLOCK);
	/* What is behind it is the device's: it moves, past what else is. */
	assert_int_equal(gm_sim_occupy(u->sim[1], va + 2 * BLOCK, 6 * BLOCK, 1), 0);
	assert_int_equal(gm_as_remap(u->as, mem, 2 * BLOCK, 3 * BLOCK, 0, &to), -ENOMEM);
	unit_verify(u, 1, va, 2 * BLOCK, 1);
	assert_int_equal(gm_as_remap(u->as, mem, 2 * BLOCK, 3 * BLOCK, GM_REMAP_MAYMOVE, &to), 0);
	assert_true((uintptr_t)to >= va + 8 * BLOCK);
	taken(u, 3 * BLOCK);
	/* Nowhere. */
	mem = to;
	assert_int_equal(gm_sim_occupy(u->sim[0], 0, 1ULL << 47, 1), 0);
	assert_int_equal(gm_as_remap(u->as, mem, 3 * BLOCK, 4 * BLOCK, GM_REMAP_MAYMOVE, &to),
			 -EADDRINUSE);
	taken(u, 3 * BLOCK);
	unit_store(u, 0, (uintptr_t)mem, 8);
	assert_int_equal(unit_load(u, CPU, (uintptr_t)mem), 8);
	unit_verify(u, CPU, (uintptr_t)mem + 2 * BLOCK, BLOCK, 0);
}

/* A device that finds its own addresses in use is not attached; what it gave goes back. */
static void attach_asks(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;

	unit_map_at(u->as, unit_object(BLOCK), 0, BLOCK, AT);
	gm_object_put(gm_region_find(u->as, AT)->obj);
	unit_alloc(u, BLOCK);
	unit_alloc(u, BLOCK);
	assert_int_equal(gm_as_detach(toy_ctx), 0);
	for (unsigned int n = 0; n < 3; n++) {
		refuse(n, -EEXIST);
		assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), -EADDRINUSE);
		assert_int_equal(os_bytes(), 0);
	}
	refuse(1, -ENOMEM);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), -ENOMEM);
	assert_int_equal(os_bytes(), 0);
	refuse(0, 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &toy_ctx), 0);
	taken(u, 3 * BLOCK);
}

static void gives_back(struct unit *u, enum gm_fake_op op)
{
	struct gm_object *obj = unit_object(2 * BLOCK);
	uint64_t first = unit_map(u->as, obj, 0, BLOCK, RW), before;
	void *addr;

	unit_fill(u, 0, first, PAGE, 1);
	before = os_bytes();
	gm_fake_inject(op, 0, 1, -ENOMEM);
	assert_int_equal(gm_as_map(u->as, obj, 0, 2 * BLOCK, RW, 0, &addr), -ENOMEM);
	gm_fake_inject_clear();
	taken(u, before);
	unit_unmap(u->as, first, BLOCK);
	gm_object_put(obj);
}

static void errors_give_back(void **state)
{
	struct unit *u = *state;

	gives_back(u, GM_FAKE_CPU_ARM);
	gives_back(u, GM_FAKE_REGION_MAP);
	taken(u, 0);
}

static void half_a_table(void **state)
{
	struct toy other;

	(void)state;
	toy_init(&other, 1);
	other.mmu.peer_va_free = os_free;
	assert_int_equal(gm_dev_create(&other.mmu, "half", &other, &other.dev), -EINVAL);
	other.mmu.peer_va_free = NULL;
	other.mmu.peer_va_alloc_fixed = os_alloc;
	assert_int_equal(gm_dev_create(&other.mmu, "half", &other, &other.dev), -EINVAL);
	/* A table of before there were such operations. */
	other.mmu.size = offsetof(struct gm_mmu, peer_va_alloc_fixed);
	assert_int_equal(toy_plug(&other), 0);
	assert_int_equal(toy_unplug(&other), 0);
}

static void occupying(void **state)
{
	struct unit *u = *state;

	assert_int_equal(gm_sim_occupy(NULL, 0, PAGE, 1), -EINVAL);
	assert_int_equal(gm_sim_occupy(u->sim[0], 0, 0, 1), -EINVAL);
	assert_int_equal(gm_sim_occupy(u->sim[0], -PAGE, 2 * PAGE, 1), -EINVAL);
	assert_int_equal(gm_sim_occupy(u->sim[0], 0, PAGE, 0), -EINVAL);
	for (uint64_t i = 0; i < 16; i++)
		assert_int_equal(gm_sim_occupy(u->sim[0], i * PAGE, PAGE, 1), 0);
	assert_int_equal(gm_sim_occupy(u->sim[0], 16 * PAGE, PAGE, 1), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		TEST(follows_the_regions), TEST(conflict_moves), TEST(no_endless_retry),
		TEST(another_error),	   TEST(remap_asks),	 TEST(attach_asks),
		TEST(errors_give_back),	   TEST(half_a_table),	 TEST(occupying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
