// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Hints that stay with addresses, as an application gives them, and what they make of accesses. */
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conformance.h"

static uint32_t flags_at(const void *p)
{
	struct gm_page_info info;

	assert_int_equal(gm_query(p, PAGE, &info), 0);
	return info.flags;
}

static struct gm_attr attr_of(const void *p, size_t len)
{
	struct gm_attr attr = { .size = sizeof(attr) };

	assert_int_equal(gm_attr_query(p, len, &attr), 0);
	return attr;
}

/* Memory that is read mostly, with @seed in it, of which both devices have replicas. */
static char *spread(struct cf *cf, uint64_t len, uint64_t seed)
{
	char *p = cf_alloc(cf, len);

	cf_fill(cf, CPU, p, len, seed);
	assert_int_equal(hmadvise(0, p, len, GM_READ_MOSTLY), 0);
	for (int i = 0; i < NR_DEVS; i++)
		cf_check(cf, i, p, len, seed);
	return p;
}

/* Does the CPU read what has replicas, and leave them? An old kernel cannot map for reading only. */
static bool cpu_shares(struct cf *cf)
{
	char *p = spread(cf, cf_unit(), 1);
	bool shares;

	cf_check(cf, CPU, p, PAGE, 1);
	shares = flags_at(p) & GM_PAGE_REPLICATED;
	cf_unmap(cf, p, cf_unit());
	return shares;
}

/* After the first read of each nothing moves any more. */
static void test_read_mostly(struct cf *cf)
{
	bool shares = !cf_not_here(!cpu_shares(cf), "the CPU's accesses drop replicas");
	uint64_t len = 2 * BLOCK;
	struct gm_stats before = cf_as_stats(cf), first, last;
	char *p = spread(cf, len, 3);

	if (shares)
		cf_check(cf, CPU, p, len, 3);
	first = cf_as_stats(cf);
	assert_int_equal(first.pages_to_dev - before.pages_to_dev, NR_DEVS * len / PAGE);
	assert_int_equal(first.pages_replicated - before.pages_replicated, NR_DEVS * len / PAGE);
	assert_int_equal(first.pages_to_host, before.pages_to_host);
	cf_on(p, len, GM_NODE_HOST);
	for (int round = 0; round < 3; round++) {
		for (int i = shares ? CPU : 0; i < NR_DEVS; i++)
			cf_check(cf, i, p, len, 3);
	}
	last = cf_as_stats(cf);
	assert_int_equal(last.pages_to_dev, first.pages_to_dev);
	assert_int_equal(last.pages_to_host, first.pages_to_host);
	assert_int_equal(last.dev_faults, first.dev_faults);
	assert_int_equal(last.cpu_faults_moved, first.cpu_faults_moved);
	cf_unmap(cf, p, len);
}

/* Whoever writes, all see it; what is written has no replicas. */
static void test_read_mostly_written(struct cf *cf)
{
	char *p = spread(cf, BLOCK, 1);

	for (uint64_t round = 0; round < 12; round++) {
		int who = (int)(round % (NR_DEVS + 1)) - 1;
		char *at = p + round * 20 * PAGE;

		cf_fill(cf, who, at, 8 * PAGE, 50 + round);
		assert_false(flags_at(at + PAGE) & GM_PAGE_REPLICATED);
		for (int i = NR_DEVS - 1; i >= CPU; i--)
			cf_check(cf, i, at, 8 * PAGE, 50 + round);
	}
	cf_fill(cf, 1, p, BLOCK, 2);
	cf_check(cf, 0, p, BLOCK, 2);
	cf_fill(cf, CPU, p, BLOCK, 3);
	for (int i = CPU; i < NR_DEVS; i++)
		cf_check(cf, i, p, BLOCK, 3);
	cf_unmap(cf, p, BLOCK);
}

/* System calls read and write it as everybody else does. */
static void test_read_mostly_calls(struct cf *cf)
{
	char *p = spread(cf, BLOCK, 1);
	int fd[2];

	if (cf_not_here(cf_flags & GM_AS_INLINE, "system calls do not fault in line"))
		return;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], p, PAGE), PAGE);
	assert_int_equal(read(fd[0], p + 10 * PAGE, PAGE), PAGE);
	close(fd[0]);
	close(fd[1]);
	for (int i = CPU; i < NR_DEVS; i++) {
		cf_check(cf, i, p, PAGE, 1);
		cf_check(cf, i, p + 10 * PAGE, PAGE, 1);
	}
	cf_unmap(cf, p, BLOCK);
}

/* More than fits: replicas go, and nothing is copied back for it. */
static void test_read_mostly_oversubscribed(struct cf *cf)
{
	uint64_t len = DEV_MEMORY + 2 * BLOCK;
	struct gm_stats before = cf_as_stats(cf), after;
	char *p = spread(cf, len, 7);

	for (int i = CPU; i < NR_DEVS; i++)
		cf_check(cf, i, p, len, 7);
	after = cf_as_stats(cf);
	assert_int_equal(after.pages_to_host, before.pages_to_host);
	cf_fill(cf, 0, p, len, 8);
	cf_check(cf, 1, p, len, 8);
	cf_check(cf, CPU, p, len, 8);
	cf_unmap(cf, p, len);
}

/* Two mappings of one object, and something said of one of them only; and parts that go. */
static void test_read_mostly_ranges(struct cf *cf)
{
	struct gm_object *obj;
	void *p = NULL, *q = NULL;
	char *c;

	assert_int_equal(gm_object_create(2 * BLOCK, 0, &obj), 0);
	assert_int_equal(gm_as_map(cf->as, obj, 0, 2 * BLOCK, GM_READ | GM_WRITE, 0, &p), 0);
	assert_int_equal(gm_as_map(cf->as, obj, 0, 2 * BLOCK, GM_READ | GM_WRITE, 0, &q), 0);
	gm_object_put(obj);
	c = p;
	cf_fill(cf, CPU, q, 2 * BLOCK, 1);
	assert_int_equal(hmadvise(0, p, 2 * BLOCK, GM_READ_MOSTLY), 0);
	assert_int_equal(attr_of(q, 2 * BLOCK).flags, 0);
	for (int i = 0; i < NR_DEVS; i++)
		cf_check(cf, i, p, 2 * BLOCK, 1);
	cf_fill(cf, CPU, q, 2 * BLOCK, 2);
	for (int i = 0; i < NR_DEVS; i++)
		cf_check(cf, i, p, 2 * BLOCK, 2);
	assert_int_equal(gm_as_protect(cf->as, p, 2 * BLOCK, GM_READ), 0);
	cf_check(cf, 0, p, 2 * BLOCK, 2);
	assert_int_equal(gm_as_protect(cf->as, p, 2 * BLOCK, GM_READ | GM_WRITE), 0);
	cf_fill(cf, CPU, p, 2 * BLOCK, 3);
	for (int i = 0; i < NR_DEVS; i++)
		cf_check(cf, i, p, 2 * BLOCK, 3);
	assert_int_equal(hmadvise(0, p, BLOCK, GM_DONTNEED), 0);
	for (int i = CPU; i < NR_DEVS; i++)
		cf_check_zero(cf, i, p, BLOCK);
	cf_unmap(cf, c, BLOCK);
	for (int i = CPU; i < NR_DEVS; i++)
		cf_check_at(cf, i, c + BLOCK, BLOCK, 3, BLOCK);
	cf_fill(cf, CPU, q, 2 * BLOCK, 4);
	for (int i = CPU; i < NR_DEVS; i++)
		cf_check_at(cf, i, c + BLOCK, BLOCK, 4, BLOCK);
	cf_unmap(cf, c + BLOCK, BLOCK);
	cf_unmap(cf, q, 2 * BLOCK);
}

/* Memory of the application's own: the CPU's accesses drop replicas, and a child has the bytes. */
static void test_read_mostly_registered(struct cf *cf)
{
	char *raw, *p;
	int status;
	pid_t pid;

	if (cf_not_here(cf_kernel, "no memory is registered in place there"))
		return;
	raw = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(raw != MAP_FAILED);
	p = (char *)(((uintptr_t)raw + BLOCK - 1) & ~(BLOCK - 1));
	assert_int_equal(gm_register(cf->as, p, BLOCK), 0);
	cf_fill(cf, CPU, p, BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, BLOCK, GM_ACCESSED_BY), -EOPNOTSUPP);
	assert_int_equal(hmadvise(0, p, BLOCK, GM_READ_MOSTLY), 0);
	for (int i = 0; i < NR_DEVS; i++)
		cf_check(cf, i, p, BLOCK, 1);
	assert_true(flags_at(p) & GM_PAGE_REPLICATED);
	pid = fork();
	if (!pid)
		_exit(memcmp(p + BLOCK / 2, &(uint64_t){ cf_word(1, BLOCK / 16) }, 8) ? 1 : 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	for (int i = CPU; i < NR_DEVS; i++)
		cf_check(cf, i, p, BLOCK, 1);
	cf_fill(cf, CPU, p, BLOCK, 2);
	for (int i = 0; i < NR_DEVS; i++)
		cf_check(cf, i, p, BLOCK, 2);
	assert_int_equal(gm_unregister(cf->as, p, BLOCK), 0);
	for (uint64_t i = 0; i < BLOCK / 8; i += 512)
		assert_int_equal(((uint64_t *)(void *)p)[i], cf_word(2, i));
	munmap(raw, 2 * BLOCK);
}

/* What is preferred in host memory stays there, whoever uses it. */
static void test_preferred_host(struct cf *cf)
{
	struct gm_stats before = cf_as_stats(cf);
	char *p = cf_alloc(cf, BLOCK);

	assert_int_equal(hmadvise(GM_NODE_HOST, p, BLOCK, GM_PREFERRED_LOCATION), 0);
	for (uint64_t round = 1; round < 7; round++) {
		cf_fill(cf, (int)(round % (NR_DEVS + 1)) - 1, p, BLOCK, round);
		for (int i = CPU; i < NR_DEVS; i++)
			cf_check(cf, i, p, BLOCK, round);
	}
	cf_on(p, BLOCK, GM_NODE_HOST);
	assert_int_equal(cf_as_stats(cf).pages_to_dev, before.pages_to_dev);
	assert_int_equal(hmadvise(0, p, BLOCK, GM_UNSET_PREFERRED_LOCATION), 0);
	assert_int_equal(hmadvise(cf_node(cf, 1), p, BLOCK, GM_PREFETCH), 0);
	cf_fill(cf, 0, p, BLOCK, 9);
	cf_on(p, BLOCK, cf_node(cf, 0));
	cf_check(cf, CPU, p, BLOCK, 9);
	cf_unmap(cf, p, BLOCK);
}

/* What a device is said to access it has mapped, wherever it has been meanwhile. */
static void test_accessed_by(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK);
	uint64_t faults;

	cf_fill(cf, CPU, p, BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 1), p, BLOCK, GM_ACCESSED_BY), 0);
	cf_check(cf, 1, p, BLOCK, 1);
	cf_fill(cf, 1, p, BLOCK, 2);
	cf_on(p, BLOCK, GM_NODE_HOST);
	cf_fill(cf, 0, p, BLOCK, 3);
	cf_on(p, BLOCK, cf_node(cf, 0));
	assert_int_equal(hmadvise(GM_NODE_HOST, p, BLOCK, GM_PREFETCH), 0);
	faults = cf_dev_stats(cf, 1).dev_faults;
	cf_check(cf, 1, p, BLOCK, 3);
	cf_fill(cf, 1, p, BLOCK, 4);
	assert_int_equal(cf_dev_stats(cf, 1).dev_faults, faults);
	cf_on(p, BLOCK, GM_NODE_HOST);
	cf_check(cf, CPU, p, BLOCK, 4);
	cf_check(cf, 0, p, BLOCK, 4);
	cf_unmap(cf, p, BLOCK);
}

/* Said, asked, taken back; bad input changes nothing; and who leaves is in no answer. */
static void test_attr_query(struct cf *cf)
{
	char *p = cf_alloc(cf, 4 * BLOCK);
	struct gm_attr attr;
	int node = cf_node(cf, 1);

	attr = attr_of(p, 4 * BLOCK);
	assert_int_equal(attr.len, 4 * BLOCK);
	assert_int_equal(attr.flags, 0);
	assert_int_equal(attr.preferred, GM_NODE_NONE);
	assert_int_equal(attr.accessed_by, 0);
	assert_int_equal(hmadvise(0, p, BLOCK, GM_READ_MOSTLY), 0);
	assert_int_equal(hmadvise(node, p + BLOCK, BLOCK, GM_PREFERRED_LOCATION), 0);
	assert_int_equal(hmadvise(GM_NODE_HOST, p + 2 * BLOCK, BLOCK, GM_PREFERRED_LOCATION), 0);
	assert_int_equal(hmadvise(cf_node(cf, 0), p + 2 * BLOCK, 2 * BLOCK, GM_PREFERRED_LOCATION),
			 0);
	attr = attr_of(p, 4 * BLOCK);
	assert_int_equal(attr.len, BLOCK);
	assert_int_equal(attr.flags, GM_ATTR_READ_MOSTLY);
	assert_int_equal(attr_of(p + BLOCK, BLOCK).preferred, node);
	attr = attr_of(p + 2 * BLOCK, 4 * BLOCK);
	assert_int_equal(attr.preferred, cf_node(cf, 0));
	assert_int_equal(attr.len, 2 * BLOCK);
	assert_int_equal(hmadvise(node, p, BLOCK, (enum gm_advice)(GM_UNSET_ACCESSED_BY + 1)),
			 -EINVAL);
	assert_int_equal(hmadvise(GM_NODE_HOST, p, BLOCK, GM_ACCESSED_BY), -EOPNOTSUPP);
	assert_int_equal(hmadvise(4000, p, BLOCK, GM_PREFERRED_LOCATION), -ENODEV);
	assert_int_equal(hmadvise(0, p, 5 * BLOCK, GM_READ_MOSTLY), -EFAULT);
	assert_int_equal(gm_attr_query(p, 0, &attr), -EINVAL);
	assert_int_equal(gm_attr_query(p, PAGE, NULL), -EINVAL);
	assert_int_equal(gm_attr_query(&attr, 8, &attr), -EFAULT);
	assert_int_equal(attr_of(p + 2 * BLOCK, BLOCK).flags, 0);
	assert_int_equal(gm_sim_detach(cf->ctx[1]), 0);
	assert_int_equal(attr_of(p + BLOCK, BLOCK).preferred, GM_NODE_NONE);
	assert_int_equal(hmadvise(node, p, BLOCK, GM_ACCESSED_BY), -ENODEV);
	assert_int_equal(gm_sim_attach(cf->sim[1], cf->as, &cf->ctx[1]), 0);
	assert_int_equal(hmadvise(0, p, 4 * BLOCK, GM_UNSET_READ_MOSTLY), 0);
	assert_int_equal(hmadvise(0, p, 4 * BLOCK, GM_UNSET_PREFERRED_LOCATION), 0);
	assert_int_equal(attr_of(p, 4 * BLOCK).len, 4 * BLOCK);
	cf_unmap(cf, p, 4 * BLOCK);
}

/* They go with what is unmapped, and along with what is remapped. */
static void test_attr_remap(struct cf *cf)
{
	uint64_t unit = cf_unit();
	char *p = cf_alloc(cf, 2 * BLOCK);
	void *to;

	cf_fill(cf, CPU, p, 2 * BLOCK, 1);
	assert_int_equal(hmadvise(0, p + unit, 2 * BLOCK - unit, GM_READ_MOSTLY), 0);
	cf_check(cf, 0, p, 2 * BLOCK, 1);
	to = cf_alloc(cf, 4 * BLOCK);
	cf_unmap(cf, to, 4 * BLOCK);
	assert_int_equal(gm_as_remap(cf->as, p, 2 * BLOCK, 2 * BLOCK,
				     GM_REMAP_MAYMOVE | GM_REMAP_FIXED, &to),
			 0);
	p = to;
	assert_int_equal(attr_of(p, 2 * BLOCK).flags, 0);
	assert_int_equal(attr_of(p, 2 * BLOCK).len, unit);
	assert_int_equal(attr_of(p + unit, BLOCK).flags, GM_ATTR_READ_MOSTLY);
	assert_int_equal(attr_of(p + unit, 2 * BLOCK).len, 2 * BLOCK - unit);
	for (int i = NR_DEVS - 1; i >= CPU; i--)
		cf_check(cf, i, p, 2 * BLOCK, 1);
	cf_fill(cf, CPU, p, 2 * BLOCK, 2);
	for (int i = NR_DEVS - 1; i >= CPU; i--)
		cf_check(cf, i, p, 2 * BLOCK, 2);
	cf_unmap(cf, p, 2 * BLOCK);
	p = cf_alloc(cf, 2 * BLOCK);
	assert_int_equal(attr_of(p, 2 * BLOCK).flags, 0);
	cf_unmap(cf, p, 2 * BLOCK);
}

const struct CMUnitTest cf_attr_tests[] = {
	CF_TEST(test_read_mostly),	    CF_TEST(test_read_mostly_written),
	CF_TEST(test_read_mostly_calls),    CF_TEST(test_read_mostly_oversubscribed),
	CF_TEST(test_read_mostly_ranges),   CF_TEST(test_read_mostly_registered),
	CF_TEST_PAGES(test_preferred_host), CF_TEST_PAGES(test_accessed_by),
	CF_TEST(test_attr_query),	    CF_TEST(test_attr_remap),
};
const size_t cf_nr_attr_tests = sizeof(cf_attr_tests) / sizeof(cf_attr_tests[0]);
