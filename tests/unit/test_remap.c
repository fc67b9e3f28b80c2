// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * gm_as_remap(): mappings that grow, shrink and move, with pages everywhere. Nothing moves
 * but addresses, and what fails has changed nothing.
 */
#include "unit.h"

#include "core/core.h"

#define RW (GM_READ | GM_WRITE)
#define MAYMOVE GM_REMAP_MAYMOVE
#define FIXED (GM_REMAP_MAYMOVE | GM_REMAP_FIXED)

static int remap(struct unit *u, uint64_t va, uint64_t old_len, uint64_t new_len, uint32_t flags,
		 uint64_t *to)
{
	void *addr = (void *)(uintptr_t)*to;
	int err = gm_as_remap(u->as, (void *)(uintptr_t)va, old_len, new_len, flags, &addr);

	*to = (uintptr_t)addr;
	return err;
}

static void unmapped(struct unit *u, uint64_t va)
{
	uint64_t v = 0;

	for (int who = CPU; who < 2; who++)
		assert_int_equal(unit_access(u, who, va, &v, 8, GM_READ), -EFAULT);
}

/* A page, then pages on the first device, the second, home, pinned and poisoned. */
static uint64_t furnish(struct unit *u, uint64_t len)
{
	uint64_t va = unit_alloc(u, len);
	struct gm_lookup at = { .size = sizeof(at) };

	unit_fill(u, CPU, va, len, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	unit_fill(u, 1, va + BLOCK, 7 * PAGE, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + 3 * PAGE, PAGE, GM_PIN), 0);
	assert_int_equal(gm_advise(u->as, 0, va + 9 * PAGE, PAGE, GM_DONTNEED), 0);
	assert_int_equal(gm_as_lookup(u->as, va + 11 * PAGE, &at), 0);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), at.pa), 0);
	return va;
}

/* The address is in the pattern: these bytes were written at @was. */
static uint64_t word_at(struct unit *u, int who, uint64_t va, uint64_t was)
{
	return unit_load(u, who, va + was / PAGE % 500 * 8);
}

/* As furnish() has left it, at @va now; bytes written at @was. */
static void furnished(struct unit *u, uint64_t va, uint64_t len, uint64_t was)
{
	uint64_t v;

	assert_int_equal(unit_info(u->as, va).node, unit_node(u, 0));
	assert_int_equal(unit_info(u->as, va + BLOCK + PAGE).node, unit_node(u, 1));
	assert_int_equal(unit_info(u->as, va + 3 * PAGE).flags & GM_PAGE_PINNED, GM_PAGE_PINNED);
	assert_int_equal(unit_info(u->as, va + 9 * PAGE).node, GM_NODE_NONE);
	assert_int_equal(unit_info(u->as, va + 11 * PAGE).flags, GM_PAGE_POISONED);
	for (int who = 1; who >= CPU; who--) {
		assert_int_equal(unit_access(u, who, va + 11 * PAGE, &v, 8, GM_READ), -EHWPOISON);
		assert_int_equal(unit_load(u, who, va + 9 * PAGE), 0);
		for (uint64_t off = 0; off < len; off += PAGE)
			if (off != 9 * PAGE && off != 11 * PAGE)
				assert_int_equal(word_at(u, who, va + off, was + off),
						 0x9e3779b97f4a7c15ULL + (was + off) / PAGE);
	}
}

static void moves(void **state)
{
	struct unit *u = *state;
	uint64_t va = furnish(u, 3 * BLOCK), to = 0x7000000000ULL, was = va;
	struct gm_stats s = unit_dev_stats(unit_dev(u, 0)), after;

	assert_int_equal(remap(u, va, 3 * BLOCK, 3 * BLOCK, FIXED, &to), 0);
	assert_int_equal(to, 0x7000000000ULL);
	after = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(after.bytes_to_host, s.bytes_to_host);
	assert_int_equal(after.bytes_to_dev, s.bytes_to_dev);
	unmapped(u, va);
	unmapped(u, va + 3 * BLOCK - PAGE);
	furnished(u, to, 3 * BLOCK, was);
	/* Same length, and free to move: nothing happens. */
	va = to;
	assert_int_equal(remap(u, va, 3 * BLOCK, 3 * BLOCK, MAYMOVE, &to), 0);
	assert_int_equal(to, va);
	assert_int_equal(remap(u, va, 3 * BLOCK, 3 * BLOCK, 0, &to), 0);
	assert_int_equal(to, va);
	unit_unmap(u->as, to, 3 * BLOCK);
}

/* To an address that is not aligned as the old one was, over the leaves of a device. */
static void moves_askew(void **state)
{
	struct unit *u = *state;
	uint64_t va = furnish(u, 2 * BLOCK), to = 0x7000000000ULL + 5 * PAGE, was = va;

	assert_int_equal(remap(u, va, 2 * BLOCK, 2 * BLOCK, FIXED, &to), 0);
	furnished(u, to, 2 * BLOCK, was);
	unit_unmap(u->as, to, 2 * BLOCK);
}

/* Begin, middle and end, of what is on a device in a leaf of 2 MiB. */
static void moves_a_part(void **state)
{
	static const struct {
		uint64_t off, len;
	} parts[] = { { 0, PAGE }, { 100 * PAGE, 33 * PAGE }, { 2 * BLOCK - 7 * PAGE, 7 * PAGE } };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), to[3];

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	for (unsigned int i = 0; i < 3; i++) {
		to[i] = 0x7000000000ULL + i * BLOCK + PAGE;
		assert_int_equal(
			remap(u, va + parts[i].off, parts[i].len, parts[i].len, FIXED, &to[i]), 0);
		unmapped(u, va + parts[i].off);
		unmapped(u, va + parts[i].off + parts[i].len - PAGE);
	}
	unit_verify(u, 0, va + PAGE, 99 * PAGE, 1);
	unit_verify(u, 0, va + 133 * PAGE, 2 * BLOCK - 140 * PAGE, 1);
	for (unsigned int i = 0; i < 3; i++) {
		unit_on(u->as, to[i], parts[i].len, unit_node(u, 0));
		for (uint64_t off = 0; off < parts[i].len; off += PAGE)
			assert_int_equal(word_at(u, 0, to[i] + off, va + parts[i].off + off),
					 0x9e3779b97f4a7c15ULL + (va + parts[i].off + off) / PAGE);
		unit_unmap(u->as, to[i], parts[i].len);
	}
	/* What was unmapped of it is freed, wherever it was. */
	assert_int_equal(unit_hnode(unit_node(u, 0)).total - unit_hnode(unit_node(u, 0)).free,
			 2 * BLOCK - 41 * PAGE);
	unit_unmap(u->as, va + PAGE, 99 * PAGE);
	unit_unmap(u->as, va + 133 * PAGE, 2 * BLOCK - 140 * PAGE);
}

static void shrinks(void **state)
{
	struct unit *u = *state;
	uint64_t va = furnish(u, 3 * BLOCK), to = 0, was = va;

	assert_int_equal(remap(u, va, 3 * BLOCK, 2 * BLOCK, 0, &to), 0);
	assert_int_equal(to, va);
	unmapped(u, va + 2 * BLOCK);
	unmapped(u, va + 3 * BLOCK - PAGE);
	/* And moves. */
	to = 0x7000000000ULL;
	assert_int_equal(remap(u, va, 2 * BLOCK, BLOCK + 8 * PAGE, FIXED, &to), 0);
	unmapped(u, va + 2 * BLOCK - PAGE);
	unmapped(u, to + BLOCK + 8 * PAGE);
	furnished(u, to, BLOCK + 8 * PAGE, was);
	unit_unmap(u->as, to, BLOCK + 8 * PAGE);
}

static void grows_in_place(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 10 * PAGE), len = 10 * PAGE, to = 0;

	unit_fill(u, 0, va, len, 1);
	for (unsigned int i = 0; i < 12; i++) {
		assert_int_equal(remap(u, va, len, len + len / 2 / PAGE * PAGE, 0, &to), 0);
		assert_int_equal(to, va);
		unit_verify(u, i % 2 ? CPU : 0, va + len, len / 2 / PAGE * PAGE, 0);
		unit_fill(u, (int)(i % 3) - 1, va + len, len / 2 / PAGE * PAGE, 1);
		len += len / 2 / PAGE * PAGE;
	}
	unit_verify(u, 1, va, len, 1);
	/* All of it is one mapping. */
	to = 0x7000000000ULL;
	assert_int_equal(remap(u, va, len, len, FIXED, &to), 0);
	unmapped(u, va);
	assert_int_equal(unit_load(u, 1, to + va / PAGE % 500 * 8),
			 0x9e3779b97f4a7c15ULL + va / PAGE);
	unit_unmap(u->as, to, len);
}

/* Of few objects: what is asked for page by page. */
static void grows_by_few_objects(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, PAGE), len = PAGE, to = 0;
	struct gm_fake_usage usage;

	for (; len < 300 * PAGE; len += PAGE) {
		assert_int_equal(remap(u, va, len, len + PAGE, 0, &to), 0);
		unit_store(u, CPU, va + len, len);
	}
	gm_fake_usage(&usage);
	assert_true(usage.objects <= 10);
	for (uint64_t off = PAGE; off < len; off += PAGE)
		assert_int_equal(unit_load(u, 0, va + off), off);
	unit_unmap(u->as, va, len);
}

/* What it has lost does not come back: what it gets is zero, though its object had bytes there. */
static void grows_by_zeros(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), to = 0x7000000000ULL, end = 0;

	for (int who = CPU; who < 2; who++) {
		unit_fill(u, who, va, 2 * BLOCK, 5);
		assert_int_equal(remap(u, va, 2 * BLOCK, 3 * PAGE, 0, &end), 0);
		assert_int_equal(remap(u, va, 3 * PAGE, 2 * BLOCK, 0, &end), 0);
		unit_verify(u, who == 1 ? CPU : who + 1, va + 3 * PAGE, 2 * BLOCK - 3 * PAGE, 0);
		unit_verify(u, who, va, 3 * PAGE, 5);
	}
	/* A part moves away and grows: by pages of its own, not by those that it left. */
	unit_fill(u, 0, va, 2 * BLOCK, 6);
	assert_int_equal(remap(u, va, PAGE, 4 * PAGE, FIXED, &to), 0);
	unit_verify(u, 0, to + PAGE, 3 * PAGE, 0);
	unit_fill(u, 1, to + PAGE, 3 * PAGE, 7);
	unit_verify(u, 0, va + PAGE, 2 * BLOCK - PAGE, 6);
	unit_unmap(u->as, to, 4 * PAGE);
	unit_unmap(u->as, va + PAGE, 2 * BLOCK - PAGE);
}

/* Nothing is behind it but somebody else: it moves if it may. */
static void grows_elsewhere(void **state)
{
	struct unit *u = *state;
	uint64_t va = furnish(u, 2 * BLOCK), wall, to = 0, was = va;

	wall = unit_map_at(u->as, unit_object(BLOCK), 0, BLOCK, va + 2 * BLOCK);
	assert_int_equal(remap(u, va, 2 * BLOCK, 4 * BLOCK, 0, &to), -ENOMEM);
	furnished(u, va, 2 * BLOCK, was);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(remap(u, va, 2 * BLOCK, 4 * BLOCK, MAYMOVE, &to), 0);
	assert_true(to != va);
	assert_int_equal((to - va) % BLOCK, 0);
	unmapped(u, va);
	unit_verify(u, 0, to + 2 * BLOCK, 2 * BLOCK, 0);
	assert_int_equal(word_at(u, 1, to, was), 0x9e3779b97f4a7c15ULL + was / PAGE);
	gm_object_put(gm_region_find(u->as, wall)->obj);
	unit_unmap(u->as, wall, BLOCK);
	unit_unmap(u->as, to, 4 * BLOCK);
}

/* An object with a name: no longer than it is, and what it has is what is seen. */
static void named(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(4 * BLOCK);
	uint64_t va = unit_map(u->as, obj, BLOCK, BLOCK, RW), to = 0;
	uint64_t whole = unit_map(u->as, obj, 0, 4 * BLOCK, RW);

	for (uint64_t off = 0; off < 4 * BLOCK; off += PAGE)
		unit_store(u, 0, whole + off, off);
	assert_int_equal(remap(u, va, BLOCK, 4 * BLOCK, MAYMOVE, &to), -EINVAL);
	assert_int_equal(remap(u, va, BLOCK, 3 * BLOCK, MAYMOVE, &to), 0);
	for (uint64_t off = 0; off < 3 * BLOCK; off += PAGE)
		assert_int_equal(unit_load(u, off / PAGE % 2 ? CPU : 1, to + off), off + BLOCK);
	unit_store(u, CPU, to + 2 * BLOCK, 77);
	assert_int_equal(unit_load(u, 0, whole + 3 * BLOCK), 77);
	/* Moved while it is mapped twice. */
	va = to;
	to = 0x7000000000ULL;
	assert_int_equal(remap(u, va, 3 * BLOCK, 3 * BLOCK, FIXED, &to), 0);
	assert_int_equal(unit_load(u, 0, to + 2 * BLOCK), 77);
	assert_int_equal(unit_load(u, 0, whole + BLOCK), BLOCK);
	unit_unmap(u->as, to, 3 * BLOCK);
	unit_unmap(u->as, whole, 4 * BLOCK);
	gm_object_put(obj);
}

static void bad_input(void **state)
{
	struct unit *u = *state;
	struct gm_object *a = unit_object(BLOCK);
	uint64_t va = unit_map_at(u->as, a, 0, BLOCK, 0x7000000000ULL), to = 0;
	uint64_t next = unit_map_at(u->as, a, 0, BLOCK, va + BLOCK);
	uint64_t mem = unit_alloc(u, BLOCK), other = unit_alloc(u, BLOCK);
	void *p = NULL, *addr = (void *)(uintptr_t)va;

	assert_int_equal(gm_as_remap(NULL, addr, PAGE, PAGE, 0, &p), -EINVAL);
	assert_int_equal(gm_as_remap(u->as, addr, PAGE, PAGE, 0, NULL), -EINVAL);
	assert_int_equal(remap(u, va + 1, PAGE, PAGE, 0, &to), -EINVAL);
	assert_int_equal(remap(u, va, PAGE + 1, PAGE, 0, &to), -EINVAL);
	assert_int_equal(remap(u, va, PAGE, PAGE - 1, 0, &to), -EINVAL);
	assert_int_equal(remap(u, va, 0, PAGE, MAYMOVE, &to), -EINVAL);
	assert_int_equal(remap(u, va, PAGE, 0, MAYMOVE, &to), -EINVAL);
	assert_int_equal(remap(u, va, -va, PAGE, MAYMOVE, &to), -EINVAL);
	assert_int_equal(remap(u, va, PAGE, -PAGE, MAYMOVE, &to), -EINVAL);
	assert_int_equal(remap(u, va, PAGE, GM_OBJECT_MAX_SIZE + PAGE, MAYMOVE, &to), -EINVAL);
	assert_int_equal(remap(u, va, PAGE, PAGE, 4, &to), -EINVAL);
	to = 0x7100000000ULL;
	assert_int_equal(remap(u, va, PAGE, PAGE, GM_REMAP_FIXED, &to), -EINVAL);
	to = 0;
	assert_int_equal(remap(u, va, PAGE, PAGE, FIXED, &to), -EINVAL);
	to = 0x7100000001ULL;
	assert_int_equal(remap(u, va, PAGE, PAGE, FIXED, &to), -EINVAL);
	to = -PAGE;
	assert_int_equal(remap(u, va, 2 * PAGE, 2 * PAGE, FIXED, &to), -EINVAL);
	to = va + PAGE; /* overlapping */
	assert_int_equal(remap(u, va, 2 * PAGE, 2 * PAGE, FIXED, &to), -EINVAL);
	to = next; /* taken */
	assert_int_equal(remap(u, va, PAGE, PAGE, FIXED, &to), -EEXIST);
	to = next - PAGE; /* in part, and the first page is free */
	unit_unmap(u->as, next - PAGE, PAGE);
	assert_int_equal(remap(u, va, 2 * PAGE, 2 * PAGE, FIXED, &to), -EEXIST);
	/* Not mapped, a hole, of two mappings, of two objects, of two protections. */
	assert_int_equal(remap(u, 0x100000, PAGE, 2 * PAGE, MAYMOVE, &to), -EFAULT);
	assert_int_equal(remap(u, va, BLOCK, PAGE, 0, &to), -EFAULT);
	assert_int_equal(remap(u, va, 2 * BLOCK, PAGE, 0, &to), -EFAULT);
	assert_int_equal(remap(u, next, 2 * BLOCK, PAGE, 0, &to), -EFAULT);
	if (other == mem + BLOCK)
		assert_int_equal(remap(u, mem, 2 * BLOCK, PAGE, MAYMOVE, &to), -EFAULT);
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)(mem + PAGE), PAGE, GM_READ), 0);
	to = 0x7200000000ULL;
	assert_int_equal(remap(u, mem, BLOCK, BLOCK, FIXED, &to), -EFAULT);
	/* What is as it was is one mapping again. */
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)(mem + PAGE), PAGE, RW), 0);
	unit_fill(u, 0, mem, BLOCK, 1);
	assert_int_equal(remap(u, mem, BLOCK, BLOCK, FIXED, &to), 0);
	unit_unmap(u->as, to, BLOCK);
	unit_unmap(u->as, other, BLOCK);
	unit_unmap(u->as, va, BLOCK - PAGE);
	unit_unmap(u->as, next, BLOCK);
	gm_object_put(a);
}

/* A part that may only be read stays so where it goes. */
static void keeps_protection(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, PAGE, GM_READ), to = 0x7000000000ULL, v = 1;

	gm_object_put(obj);
	assert_int_equal(remap(u, va, PAGE, 5 * PAGE, FIXED, &to), 0);
	for (int who = CPU; who < 2; who++) {
		assert_int_equal(unit_access(u, who, to + 4 * PAGE, &v, 8, GM_WRITE), -EACCES);
		assert_int_equal(unit_load(u, who, to), 0);
	}
	unit_unmap(u->as, to, 5 * PAGE);
}

static void huge(void **state)
{
	struct unit *u = *state;
	uint64_t va, to = 0, len = BLOCK;
	void *addr;

	assert_int_equal(gm_alloc(u->as, BLOCK, GM_OBJECT_HUGETLB, &addr), 0);
	va = (uintptr_t)addr;
	unit_fill(u, 0, va, BLOCK, 1);
	assert_int_equal(remap(u, va, BLOCK, BLOCK + PAGE, MAYMOVE, &to), -EINVAL);
	assert_int_equal(remap(u, va, BLOCK, PAGE, MAYMOVE, &to), -EINVAL);
	for (; len < 4 * BLOCK; len += BLOCK) {
		assert_int_equal(remap(u, va, len, len + BLOCK, 0, &to), 0);
		unit_fill(u, 0, va + len, BLOCK, 1);
	}
	unit_verify(u, CPU, va, len, 1);
	to = 0x7000000000ULL + PAGE;
	assert_int_equal(remap(u, va, len, len, FIXED, &to), -EINVAL);
	to = 0x7000000000ULL;
	assert_int_equal(remap(u, va, len, BLOCK, FIXED, &to), 0);
	assert_int_equal(word_at(u, 1, to, va), 0x9e3779b97f4a7c15ULL + va / PAGE);
	unit_unmap(u->as, to, BLOCK);
}

/* ------------------------------------------------------------------------------- failures */

/*
 * Memory that has grown, in several regions and with pages on both devices, is moved and
 * grown once more, while each call that may fail does, in turn.
 */
static uint64_t grown(struct unit *u, uint64_t *len)
{
	uint64_t va = unit_alloc(u, 20 * PAGE), to = va;

	unit_fill(u, 0, va, 20 * PAGE, 3);
	assert_int_equal(remap(u, va, 20 * PAGE, BLOCK + 3 * PAGE, MAYMOVE, &to), 0);
	assert_int_equal(to, va);
	*len = BLOCK + 3 * PAGE;
	unit_fill(u, 1, va + 20 * PAGE, *len - 20 * PAGE, 3);
	unit_map_at(u->as, unit_object(PAGE), 0, PAGE, va + *len);
	return va;
}

static void goes_or_stays(struct unit *u, uint64_t va, uint64_t len, int err, uint64_t to)
{
	if (err) {
		unit_verify(u, CPU, va, len, 3);
		unit_verify(u, 0, va, len, 3);
		return;
	}
	unmapped(u, va);
	for (uint64_t off = 0; off < len; off += PAGE)
		assert_int_equal(word_at(u, 1, to + off, va + off),
				 3 * 0x9e3779b97f4a7c15ULL + (va + off) / PAGE);
	unit_verify(u, CPU, to + len, 2 * BLOCK, 0);
}

static void end_of(struct unit *u, uint64_t va, uint64_t len)
{
	struct gm_object *wall = gm_region_find(u->as, va + len)->obj;

	unit_unmap(u->as, va + len, PAGE);
	gm_object_put(wall);
}

static void any_host_call_fails(void **state)
{
	uint64_t calls = 1;

	for (uint64_t n = 1; n <= calls; n++) {
		uint64_t len, va, to = 0, before;
		struct unit *u;
		int err;

		if (n > 1)
			unit_setup(state);
		u = *state;
		va = grown(u, &len);
		before = gm_fake_fallible_calls();
		gm_fake_inject_nth(n);
		err = remap(u, va, len, len + 2 * BLOCK, MAYMOVE, &to);
		gm_fake_inject_nth(0);
		if (n == 1)
			calls = 100;
		if (!err)
			calls = gm_fake_fallible_calls() - before;
		goes_or_stays(u, va, len, err, to);
		end_of(u, va, len);
		unit_unmap(u->as, err ? va : to, err ? len : len + 2 * BLOCK);
		if (n < calls)
			unit_teardown(state);
	}
	assert_true(calls > 5 && calls < 100);
}

static void device_does_not_let_go(void **state)
{
	struct unit *u = *state;
	uint64_t len, va = grown(u, &len), to = 0;

	for (unsigned int dev = 0; dev < 2; dev++) {
		for (uint32_t skip = 0; skip < 2; skip++) {
			enum gm_sim_op ops[] = { GM_SIM_PMAP_RELEASE, GM_SIM_TLB_INVL };

			for (unsigned int i = 0; i < 2; i++) {
				gm_sim_inject(u->sim[dev], ops[i], skip, 1, -EIO);
				assert_int_equal(remap(u, va, len, len + 2 * BLOCK, MAYMOVE, &to),
						 -EIO);
				goes_or_stays(u, va, len, -EIO, 0);
			}
		}
	}
	assert_int_equal(remap(u, va, len, len + 2 * BLOCK, MAYMOVE, &to), 0);
	goes_or_stays(u, va, len, 0, to);
	end_of(u, va, len);
	/* Shrinking: what is before the end it was to lose is there. */
	va = to;
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, 1, -EIO);
	assert_int_equal(remap(u, va, len + 2 * BLOCK, len, 0, &to), -EIO);
	assert_int_equal(remap(u, va, len + 2 * BLOCK, len, 0, &to), 0);
	unit_unmap(u->as, va, len);
}

/* Memory that could not be freed when the mapping shrank is not what it gets when it grows. */
static void stale_bytes_stay_away(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), to = 0, v;

	unit_fill(u, 0, va, BLOCK, 4);
	/* gm_discard() releases once more than gm_region_unmap(), for what it frees. */
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 2, UINT32_MAX, -EIO);
	assert_int_equal(remap(u, va, BLOCK, PAGE, 0, &to), 0);
	if (remap(u, va, PAGE, BLOCK, 0, &to) == 0)
		unit_peek(u->as, va + PAGE, BLOCK - PAGE, 0);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, 0, 0);
	assert_int_equal(remap(u, va, PAGE, PAGE, 0, &to), 0);
	if (unit_access(u, CPU, va + PAGE, &v, 8, GM_READ) == -EFAULT)
		assert_int_equal(remap(u, va, PAGE, BLOCK, 0, &to), 0);
	unit_verify(u, 0, va + PAGE, BLOCK - PAGE, 0);
	unit_verify(u, 0, va, PAGE, 4);
	unit_unmap(u->as, va, BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup, unit_teardown)
		TEST(moves),
		TEST(moves_askew),
		TEST(moves_a_part),
		TEST(shrinks),
		TEST(grows_in_place),
		TEST(grows_by_few_objects),
		TEST(grows_by_zeros),
		TEST(grows_elsewhere),
		TEST(named),
		TEST(bad_input),
		TEST(keeps_protection),
		TEST(huge),
		TEST(any_host_call_fails),
		TEST(device_does_not_let_go),
		TEST(stale_bytes_stay_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
