// SPDX-License-Identifier: GPL-2.0-only
/* One coherent memory: the CPU and devices see each other's stores; hints; copies. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "kt.h"

static void coherence(void)
{
	struct kt t;
	uint64_t *words;

	kt_begin(&t, 4 * BLOCK, 0);
	words = (uint64_t *)t.mem;
	for (uint64_t i = 0; i < t.len / 8; i += 64)
		words[i] = kt_pattern(1, i);
	for (uint64_t i = 0; i < t.len / 8; i += 512) {
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, &words[i]), kt_pattern(1, i));
		kt_dev_store(t.sim, t.ctx, &words[i], kt_pattern(2, i));
	}
	CHECK_EQ(kt_node(t.as, t.mem), t.node);
	for (uint64_t i = 0; i < t.len / 8; i += 64)
		CHECK_EQ(words[i], kt_pattern(i % 512 ? 1 : 2, i));
	CHECK_EQ(kt_node(t.as, t.mem), GMEM_NODE_HOST);
	/* And back: what the device holds now are copies of what the CPU wrote last. */
	words[5] = 55;
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, &words[5]), 55);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, &words[0]), kt_pattern(2, 0));
	kt_end(&t);
}

static void untouched_is_zero(void)
{
	struct kt t;
	char page[PAGE], zero[PAGE] = { 0 };

	kt_begin(&t, 2 * BLOCK, 0);
	CHECK_EQ(kt_node(t.as, t.mem), GMEM_NODE_NONE);
	memset(page, 1, sizeof(page));
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem + 7 * PAGE, page, PAGE), 0);
	CHECK(!memcmp(page, zero, PAGE));
	CHECK_EQ(t.mem[BLOCK + 5], 0);
	CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_READ, t.mem + BLOCK, page, PAGE), 0);
	CHECK(!memcmp(page, zero, PAGE));
	kt_end(&t);
}

/* Host, device and nothing, page by page. */
static void mixed(void)
{
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_tune(t.sim, PAGE, false);
	for (unsigned int i = 0; i < 512; i += 3)
		memset(t.mem + i * PAGE, (int)i & 255, PAGE);
	for (unsigned int i = 1; i < 512; i += 3)
		kt_dev_store(t.sim, t.ctx, t.mem + i * PAGE + 8, i);
	for (unsigned int i = 0; i < 512; i += 3)
		CHECK_EQ(kt_node(t.as, t.mem + i * PAGE), GMEM_NODE_HOST);
	for (unsigned int i = 1; i < 512; i += 3)
		CHECK_EQ(kt_node(t.as, t.mem + i * PAGE), t.node);
	for (unsigned int i = 2; i < 512; i += 3)
		CHECK_EQ(kt_node(t.as, t.mem + i * PAGE), GMEM_NODE_NONE);
	for (unsigned int i = 0; i < 512; i += 3)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i * PAGE) & 255, i & 255);
	for (unsigned int i = 0; i < 512; i++) {
		uint64_t *p = (uint64_t *)(void *)(t.mem + i * PAGE);

		CHECK_EQ(p[1] & 255, i % 3 == 2 ? 0 : i & 255);
		CHECK_EQ(p[2] & 255, i % 3 ? 0 : i & 255);
	}
	kt_end(&t);
}

static void oversubscription(void)
{
	struct kt t;
	struct gmem_sim_stats stats;
	uint64_t n;

	kt_begin(&t, 16 * BLOCK, 4 * BLOCK);
	n = t.len / PAGE;
	for (uint64_t round = 1; round <= 2; round++)
		for (uint64_t i = 0; i < n; i++)
			kt_dev_store(t.sim, t.ctx, t.mem + i * PAGE + 16, kt_pattern(round, i));
	kt_sim_stats(t.sim, &stats);
	CHECK(stats.evictions > 12);
	for (uint64_t i = 0; i < n; i += 5)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i * PAGE + 16), kt_pattern(2, i));
	for (uint64_t i = 0; i < n; i++)
		CHECK_EQ(*(uint64_t *)(void *)(t.mem + i * PAGE + 16), kt_pattern(2, i));
	kt_end(&t);
}

static void two_devices(void)
{
	struct kt t;
	int node, sim2, ctx2;

	kt_begin(&t, 2 * BLOCK, 0);
	sim2 = kt_sim(0, GMEM_SIM_ASYNC, &node);
	ctx2 = kt_attach(sim2, t.as);
	CHECK(ctx2 >= 0 && node != t.node);
	for (uint64_t i = 0; i < 600; i++) {
		uint64_t *p = (uint64_t *)(void *)(t.mem + i * 7 % 1000 * PAGE);
		uint64_t before = *p;

		kt_dev_store(t.sim, t.ctx, p, before + 1);
		CHECK_EQ(kt_dev_load(sim2, ctx2, p), before + 1);
		kt_dev_store(sim2, ctx2, p, before + 2);
		CHECK_EQ(kt_node(t.as, p), node);
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, p), before + 2);
		CHECK_EQ(*p, before + 2);
	}
	CHECK_EQ(kt_dev_load(sim2, ctx2, t.mem), 2);
	close(sim2); /* gone, with what it held */
	CHECK_EQ(*(uint64_t *)(void *)t.mem, 2);
	kt_end(&t);
}

static void hints(void)
{
	struct gmem_hnode_info info;
	struct gmem_stats before, after;
	struct kt t;

	kt_begin(&t, 4 * BLOCK, 4 * BLOCK);
	memset(t.mem, 3, t.len);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, 2 * BLOCK), 0);
	CHECK_EQ(kt_node(t.as, t.mem + 2 * BLOCK - 1), t.node);
	CHECK_EQ(kt_node(t.as, t.mem + 2 * BLOCK), GMEM_NODE_HOST);
	kt_stats(t.as, &before);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + BLOCK) & 255, 3);
	kt_stats(t.as, &after);
	CHECK_EQ(after.dev_faults, before.dev_faults);

	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, GMEM_NODE_HOST, t.mem, 2 * BLOCK), 0);
	CHECK_EQ(kt_node(t.as, t.mem), GMEM_NODE_HOST);
	CHECK_EQ(t.mem[BLOCK], 3);

	CHECK_EQ(kt_advise(t.as, GMEM_PIN, t.node, t.mem + BLOCK, BLOCK), 0);
	CHECK_EQ(kt_flags(t.as, t.mem + BLOCK), GMEM_PAGE_PINNED | GMEM_PAGE_RETAINED);
	kt_hnode(t.node, &info);
	CHECK_EQ(info.pinned, BLOCK);
	CHECK_EQ(kt_advise(t.as, GMEM_UNPIN, 0, t.mem + BLOCK, BLOCK), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_COLD, 0, t.mem, t.len), 0);
	CHECK_EQ(kt_advise(t.as, GMEM_WILLNEED, 0, t.mem, t.len), 0);

	/* Rounded inward: the pages at either end stay. */
	CHECK_EQ(kt_advise(t.as, GMEM_DONTNEED, 0, t.mem + 1, 2 * BLOCK), 0);
	CHECK_EQ(t.mem[PAGE - 1], 3);
	CHECK_EQ(t.mem[PAGE], 0);
	CHECK_EQ(t.mem[2 * BLOCK - 1], 0);
	CHECK_EQ(t.mem[2 * BLOCK], 3);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + BLOCK), 0);

	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node + 1, t.mem, BLOCK), -ENODEV);
	CHECK_EQ(kt_advise(t.as, GMEM_PIN, GMEM_NODE_HOST, t.mem, BLOCK), -EINVAL);
	kt_end(&t);
}

static void debugfs(void)
{
	char text[4096], want[64];
	struct kt t;
	ssize_t n;
	int fd;

	kt_begin(&t, BLOCK, 2 * BLOCK);
	kt_dev_store(t.sim, t.ctx, t.mem, 1);
	fd = open("/sys/kernel/debug/gmem/hnodes", O_RDONLY);
	CHECK(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	CHECK(n > 0);
	text[n] = 0;
	snprintf(want, sizeof(want), "hnode %d sim", t.node);
	CHECK(strstr(text, want));
	CHECK(strstr(text, "total 4194304 free 4128768 active 65536 pinned 0 blocks 1"));
	CHECK(strstr(text, "faults 1 moved 1 mapped 0 failed 0"));
	close(fd);
	kt_end(&t);
}

static int copy(int as, void *dst, const void *src, uint64_t len, int node)
{
	struct gmem_copy c = {
		.size = sizeof(c),
		.hnode = node,
		.dst = (uint64_t)(uintptr_t)dst,
		.src = (uint64_t)(uintptr_t)src,
		.len = len,
	};

	return kt_ioctl(as, GMEM_COPY, &c);
}

static void copies(void)
{
	unsigned char *plain = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kt t;

	kt_begin(&t, 4 * BLOCK, 0);
	for (uint64_t i = 0; i < BLOCK; i++)
		plain[i] = (unsigned char)kt_pattern(9, i);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, BLOCK), 0);
	CHECK_EQ(copy(t.as, t.mem + 100, plain, BLOCK - 100, GMEM_NODE_NONE), 0);
	CHECK_EQ(kt_node(t.as, t.mem), t.node); /* it did not move */
	CHECK_EQ(copy(t.as, t.mem + 2 * BLOCK + 7, t.mem + 100, BLOCK - 100, GMEM_NODE_NONE), 0);
	CHECK_EQ(kt_node(t.as, t.mem + 2 * BLOCK + PAGE), GMEM_NODE_HOST);
	CHECK(!memcmp(t.mem + 2 * BLOCK + 7, plain, BLOCK - 100));
	CHECK_EQ(copy(t.as, t.mem + 3 * BLOCK, t.mem + 100, 70000, t.node), 0);
	CHECK_EQ(kt_node(t.as, t.mem + 3 * BLOCK), t.node);
	memset(plain, 0, BLOCK);
	CHECK_EQ(copy(t.as, plain, t.mem + 3 * BLOCK, 70000, GMEM_NODE_NONE), 0);
	for (uint64_t i = 0; i < 70000; i++)
		CHECK_EQ(plain[i], (unsigned char)kt_pattern(9, i));
	CHECK_EQ(copy(t.as, t.mem, t.mem + 50, 100, GMEM_NODE_NONE), -EINVAL);
	CHECK_EQ(copy(t.as, t.mem, (void *)16, 100, GMEM_NODE_NONE), -EFAULT);
	CHECK_EQ(copy(t.as, (void *)0xffff888000000000, t.mem, 100, GMEM_NODE_NONE), -EFAULT);
	CHECK_EQ(copy(t.as, t.mem, (void *)0xffff888000000000, 100, GMEM_NODE_NONE), -EFAULT);
	kt_end(&t);
}

/* Each operation of the device fails in turn: an error, and every byte where it was. */
static void failures(void)
{
	struct kt t;

	kt_begin(&t, 2 * BLOCK, 0);
	for (unsigned int i = 0; i < 1024; i++)
		t.mem[i * PAGE] = (unsigned char)i;
	for (uint32_t op = GMEM_SIM_PMAP_ENTER; op < GMEM_SIM_PMAP_AGE; op++) {
		unsigned char *p = t.mem + op * 64 * PAGE, v = 77;
		bool to_dev = op == GMEM_SIM_PMAP_ENTER || op >= GMEM_SIM_COPY_START;

		CHECK_EQ(kt_inject(t.sim, op, 0, UINT32_MAX, EIO), 0);
		if (to_dev)
			CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_WRITE, p, &v, 1), -EIO);
		CHECK_EQ(kt_inject(t.sim, op, 0, 0, 0), 0);
		CHECK_EQ(kt_dev(t.sim, t.ctx, GMEM_SIM_WRITE, p + 1, &v, 1), 0);
		CHECK_EQ(kt_inject(t.sim, op, 0, UINT32_MAX, EIO), 0);
		if (op != GMEM_SIM_PMAP_ENTER && op != GMEM_SIM_PMAP_PROTECT)
			CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, GMEM_NODE_HOST, p, PAGE), -EIO);
		CHECK_EQ(kt_inject(t.sim, op, 0, 0, 0), 0);
		CHECK_EQ(p[0], (unsigned char)(op * 64));
		CHECK_EQ(p[1], 77);
	}
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_PMAP_CREATE, 0, 1, ENOMEM), 0);
	CHECK_EQ(kt_attach(t.sim, kt_as(0)), -ENOMEM);
	kt_end(&t);
}

/* The device does not give a page back: SIGBUS, an error to a system call; then it does. */
static void failed_cpu_fault(void)
{
	struct kt t;
	pid_t pid;
	int fd[2];

	kt_begin(&t, BLOCK, 0);
	kt_dev_store(t.sim, t.ctx, t.mem, 5);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_COPY_FENCE, 0, UINT32_MAX, EIO), 0);
	pid = fork();
	if (!pid)
		_exit(*t.mem);
	CHECK_EQ(kt_wait(pid), -SIGBUS);
	CHECK_EQ(pipe(fd), 0);
	CHECK_EQ(write(fd[1], t.mem, 8), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem), 5);
	CHECK_EQ(kt_inject(t.sim, GMEM_SIM_COPY_FENCE, 0, 1, EIO), 0);
	CHECK_EQ(*t.mem, 5); /* the granule fails, the page alone does not */
	kt_end(&t);
}

/* CPU threads and lanes add to the same words. */
struct adder {
	struct kt *t;
	unsigned int lane;
	bool device;
	uint64_t times;
};

#define WORDS 24

static uint64_t *word_of(struct kt *t, uint64_t i)
{
	return (uint64_t *)(void *)(t->mem + i % WORDS * 37 * PAGE + i % WORDS * 8);
}

static void *add(void *arg)
{
	struct adder *a = arg;

	for (uint64_t i = 0; i < a->times; i++) {
		uint64_t one = 1, *p = word_of(a->t, i * 7 + a->lane);

		if (a->device)
			CHECK_EQ(kt_dev_lane(a->t->sim, a->t->ctx, a->lane, GMEM_SIM_ADD64, p, &one,
					     8),
				 0);
		else
			__atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void race(void)
{
	struct kt t;
	struct adder a[6];
	pthread_t thread[6];
	uint64_t sum = 0;

	kt_begin(&t, 2 * BLOCK, 2 * BLOCK);
	kt_tune(t.sim, PAGE, true);
	for (unsigned int i = 0; i < 6; i++) {
		a[i] = (struct adder){ &t, i % 4, i < 3, 3000 };
		CHECK(!pthread_create(&thread[i], NULL, add, &a[i]));
	}
	for (unsigned int i = 0; i < 6; i++)
		pthread_join(thread[i], NULL);
	for (uint64_t i = 0; i < WORDS; i++)
		sum += *word_of(&t, i);
	CHECK_EQ(sum, 6 * 3000);
	kt_end(&t);
}

/*
 * The CPU fills pages of a block at the moment when a device touches it first: no page
 * may be theirs both. Each writes a word of its own on every page.
 */
struct filler {
	unsigned char *mem;
	uint32_t go;
};

static void *fill(void *arg)
{
	struct filler *f = arg;

	while (!__atomic_load_n(&f->go, __ATOMIC_ACQUIRE))
		;
	for (unsigned int i = 0; i < 512; i++)
		*(volatile uint64_t *)(void *)(f->mem + i * PAGE) = i + 1;
	return NULL;
}

static void first_touch_round(struct kt *t, unsigned int step)
{
	const unsigned int pages = 512;
	int obj = kt_object(BLOCK);
	struct filler f = { kt_map(t->as, obj, 0, BLOCK, 3), 0 };
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, fill, &f));
	__atomic_store_n(&f.go, 1, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < pages; i += step)
		kt_dev_store(t->sim, t->ctx, f.mem + i * PAGE + 8, i + 1);
	pthread_join(thread, NULL);
	for (unsigned int i = 0; i < pages; i++) {
		uint64_t *p = (uint64_t *)(void *)(f.mem + i * PAGE);

		CHECK_EQ(p[0], i + 1);
		CHECK_EQ(p[1], i % step ? 0 : i + 1);
	}
	munmap(f.mem, BLOCK);
	close(obj);
}

static void first_touch(void)
{
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	kt_tune(t.sim, PAGE, true);
	for (unsigned int round = 0; round < 40; round++)
		first_touch_round(&t, 1 + round % 7);
	kt_end(&t);
}

/*
 * Debug builds make a fault of the CPU's wait at the places where a device can overtake
 * it; the device goes to the page where the CPU is, some time after it.
 */
struct chase {
	unsigned char *mem;
	uint32_t at;   /* the page that the CPU touches; the pages before, the device has too */
	uint32_t done; /* pages that the device has touched */
};

#define CHASED 40U

static void *flee(void *arg)
{
	struct chase *c = arg;

	for (uint32_t i = 0; i < CHASED; i++) {
		__atomic_store_n(&c->at, i + 1, __ATOMIC_RELEASE);
		*(volatile uint64_t *)(void *)(c->mem + i * PAGE) = i + 1;
		while (__atomic_load_n(&c->done, __ATOMIC_ACQUIRE) <= i)
			sched_yield();
	}
	return NULL;
}

static void chase_round(struct kt *t, unsigned int us)
{
	int obj = kt_object(BLOCK);
	struct chase c = { .mem = kt_map(t->as, obj, 0, BLOCK, 3) };
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, flee, &c));
	for (uint32_t i = 0; i < CHASED; i++) {
		while (__atomic_load_n(&c.at, __ATOMIC_ACQUIRE) <= i)
			sched_yield();
		usleep(us);
		kt_dev_store(t->sim, t->ctx, c.mem + i * PAGE + 8, i + 1);
		__atomic_store_n(&c.done, i + 1, __ATOMIC_RELEASE);
	}
	pthread_join(thread, NULL);
	for (unsigned int i = 0; i < CHASED; i++) {
		CHECK_EQ(kt_dev_load(t->sim, t->ctx, c.mem + i * PAGE), i + 1);
		CHECK_EQ(*(uint64_t *)(void *)(c.mem + i * PAGE), i + 1);
		CHECK_EQ(*(uint64_t *)(void *)(c.mem + i * PAGE + 8), i + 1);
	}
	munmap(c.mem, BLOCK);
	close(obj);
}

static void overtaken_faults(void)
{
	static const char path[] = "/sys/module/gmem/parameters/fault_delay";
	int fd = open(path, O_WRONLY);
	struct kt t;

	if (fd < 0) {
		printf("  not a debug build\n");
		return;
	}
	CHECK_EQ(write(fd, "800", 3), 3);
	kt_begin(&t, BLOCK, 0);
	kt_tune(t.sim, PAGE, true);
	for (unsigned int round = 0; round < 12; round++)
		chase_round(&t, 200 * round);
	kt_end(&t);
	CHECK_EQ(write(fd, "0", 1), 1);
}

const struct kt_test kt_basic[] = {
	{ "coherence", coherence, 0 },
	{ "untouched_is_zero", untouched_is_zero, 0 },
	{ "mixed", mixed, 0 },
	{ "oversubscription", oversubscription, 60 },
	{ "two_devices", two_devices, 60 },
	{ "hints", hints, 0 },
	{ "debugfs", debugfs, 0 },
	{ "copies", copies, 0 },
	{ "failures", failures, 0 },
	{ "failed_cpu_fault", failed_cpu_fault, 0 },
	{ "race", race, 60 },
	{ "first_touch", first_touch, 120 },
	{ "overtaken_faults", overtaken_faults, 120 },
	{ 0 },
};
