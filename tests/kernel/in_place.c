// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode GM_REPLICATE: a device that maps host memory in place. Beside it another one, to which
 * pages migrate. The pages that the first has mapped are held; how many, debugfs says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

/* The device in place is dev 0, the other dev 1. */
struct two {
	struct kt t;
	int sim[2], ctx[2], node[2];
};

static volatile uint64_t *at(void *p)
{
	return p;
}

uint64_t kt_held(void)
{
	FILE *f = fopen("/sys/kernel/debug/gmem/in_place", "r");
	unsigned long long bytes;

	CHECK(f);
	CHECK_EQ(fscanf(f, "%llu", &bytes), 1);
	fclose(f);
	return bytes;
}

static int plug_in_place(int *node)
{
	return kt_sim(2 * BLOCK, GMEM_SIM_IN_PLACE, node);
}

static void begin(struct two *w, uint64_t len)
{
	CHECK_EQ(kt_held(), 0);
	kt_begin(&w->t, len, 4 * BLOCK);
	w->sim[1] = w->t.sim;
	w->ctx[1] = w->t.ctx;
	w->node[1] = w->t.node;
	w->sim[0] = plug_in_place(&w->node[0]);
	w->ctx[0] = kt_attach(w->sim[0], w->t.as);
	CHECK(w->ctx[0] >= 0);
}

static void detach(struct two *w)
{
	struct gmem_sim_detach d = { .size = sizeof(d), .ctx = (uint32_t)w->ctx[0] };
	struct gmem_sim_stats stats;

	CHECK_EQ(kt_ioctl(w->sim[0], GMEM_SIM_IOC_DETACH, &d), 0);
	kt_sim_stats(w->sim[0], &stats);
	CHECK_EQ(stats.stale, 0);
	CHECK_EQ(stats.tables, 0);
}

static void end(struct two *w)
{
	detach(w);
	close(w->sim[0]);
	kt_end(&w->t);
	CHECK_EQ(kt_held(), 0);
}

static uint64_t load(struct two *w, int dev, const void *va)
{
	return kt_dev_load(w->sim[dev], w->ctx[dev], va);
}

static void store(struct two *w, int dev, void *va, uint64_t v)
{
	kt_dev_store(w->sim[dev], w->ctx[dev], va, v);
}

static uint64_t faults(struct two *w)
{
	struct gmem_sim_stats stats;

	kt_sim_stats(w->sim[0], &stats);
	return stats.faults;
}

#define CPU (-1)

/* A word of each page. */
static void fill(struct two *w, int who, unsigned char *mem, uint64_t len, uint64_t seed)
{
	for (uint64_t i = 0; i < len; i += PAGE) {
		if (who == CPU)
			*at(mem + i) = kt_pattern(seed, i);
		else
			store(w, who, mem + i, kt_pattern(seed, i));
	}
}

static void verify(struct two *w, int who, unsigned char *mem, uint64_t len, uint64_t seed)
{
	for (uint64_t i = 0; i < len; i += PAGE)
		CHECK_EQ(who == CPU ? *at(mem + i) : load(w, who, mem + i), kt_pattern(seed, i));
}

/* Both use the bytes where they are: a fault a block, and nothing moves. */
static void in_place_both_sides(void)
{
	struct gmem_stats stats;
	struct gmem_hnode_info info;
	struct two w;

	begin(&w, 3 * BLOCK);
	fill(&w, CPU, w.t.mem, w.t.len, 1);
	for (uint64_t round = 1; round < 4; round++) {
		verify(&w, 0, w.t.mem, w.t.len, round);
		fill(&w, 0, w.t.mem, w.t.len, 100);
		verify(&w, CPU, w.t.mem, w.t.len, 100);
		fill(&w, CPU, w.t.mem, w.t.len, round + 1);
		CHECK_EQ(kt_held(), w.t.len);
	}
	CHECK_EQ(faults(&w), 3);
	kt_stats(w.t.as, &stats);
	CHECK_EQ(stats.pages_to_dev + stats.pages_to_host + stats.bytes_to_dev, 0);
	CHECK_EQ(kt_node(w.t.as, w.t.mem), GMEM_NODE_HOST);
	kt_hnode(w.node[0], &info);
	CHECK_EQ(info.free, info.total);
	/* Hints: there is nothing to move there, and nothing to keep. */
	CHECK_EQ(kt_advise(w.t.as, GMEM_PREFETCH, w.node[0], w.t.mem, w.t.len), 0);
	CHECK_EQ(kt_advise(w.t.as, GMEM_PIN, w.node[0], w.t.mem, PAGE), -EOPNOTSUPP);
	end(&w);
}

/* What comes to be, or comes home, for the CPU is mapped for the device too: no further fault. */
static void in_place_told(void)
{
	struct two w;

	begin(&w, BLOCK);
	store(&w, 0, w.t.mem, 1);
	CHECK_EQ(faults(&w), 1);
	fill(&w, CPU, w.t.mem, BLOCK, 2); /* pages that nobody had */
	verify(&w, 0, w.t.mem, BLOCK, 2);
	CHECK_EQ(faults(&w), 1);
	fill(&w, 1, w.t.mem, BLOCK, 3); /* away */
	CHECK_EQ(kt_node(w.t.as, w.t.mem), w.node[1]);
	CHECK_EQ(kt_held(), 0);
	verify(&w, CPU, w.t.mem, BLOCK / 2, 3); /* home, by faults and by a hint */
	CHECK_EQ(kt_advise(w.t.as, GMEM_PREFETCH, GMEM_NODE_HOST, w.t.mem, BLOCK), 0);
	CHECK_EQ(kt_held(), BLOCK);
	verify(&w, 0, w.t.mem, BLOCK, 3);
	CHECK_EQ(faults(&w), 1);
	/* Where it cannot be told it faults. */
	fill(&w, 1, w.t.mem, BLOCK, 4);
	CHECK_EQ(kt_inject(w.sim[0], GMEM_SIM_PMAP_ENTER, 0, 1, EIO), 0);
	CHECK_EQ(*at(w.t.mem), kt_pattern(4, 0));
	verify(&w, 0, w.t.mem, PAGE, 4);
	CHECK_EQ(faults(&w), 2);
	end(&w);
}

/* Who maps, who migrates, and the CPU, page by page; and nothing that is moved is still held. */
static void in_place_in_turns(void)
{
	struct two w;

	begin(&w, BLOCK);
	kt_tune(w.sim[1], PAGE, true);
	fill(&w, CPU, w.t.mem, BLOCK, 1);
	verify(&w, 0, w.t.mem, BLOCK, 1);
	for (uint64_t i = 0; i < 128; i++) {
		unsigned char *p = w.t.mem + i * PAGE;

		store(&w, 1, p, i);
		CHECK_EQ(kt_held(), BLOCK - PAGE);
		CHECK_EQ(load(&w, 0, p), i);
		store(&w, 0, p, i + 1);
		CHECK_EQ(i % 2 ? *at(p) : load(&w, 1, p), i + 1);
		load(&w, 0, p);
		CHECK_EQ(kt_held(), BLOCK);
	}
	end(&w);
}

/* One of several words of the object, changed by all at once: no update is lost. */
struct adder {
	struct two *w;
	int who;
	uint64_t n;
};

static void *add(void *arg)
{
	struct adder *a = arg;
	uint64_t state = (uint64_t)a->who + 7;

	for (uint64_t i = 0; i < a->n; i++) {
		unsigned char *p = a->w->t.mem + kt_random(&state) % 32 * PAGE;
		uint64_t one = 1;
		int err;

		if (a->who == CPU) {
			__atomic_fetch_add(at(p), 1, __ATOMIC_SEQ_CST);
			continue;
		}
		do
			err = kt_dev(a->w->sim[a->who], a->w->ctx[a->who], GMEM_SIM_ADD64, p, &one,
				     8);
		while (err == -EBUSY);
		CHECK_EQ(err, 0);
	}
	return NULL;
}

static void in_place_race(void)
{
	struct adder a[3];
	pthread_t thread[3];
	uint64_t sum = 0;
	struct two w;

	begin(&w, BLOCK);
	kt_tune(w.sim[1], PAGE, true);
	for (int i = 0; i < 3; i++) {
		a[i] = (struct adder){ &w, i - 1, 1500 };
		CHECK(!pthread_create(&thread[i], NULL, add, &a[i]));
	}
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	for (uint64_t i = 0; i < 32; i++)
		sum += *at(w.t.mem + i * PAGE);
	CHECK_EQ(sum, 3 * 1500);
	end(&w);
}

/* ----------------------------------------------------------------- the kernel's ways */

/* Is the page in memory? */
static bool resident(void *va)
{
	unsigned char in = 0;

	CHECK_EQ(mincore(va, PAGE, &in), 0);
	return in & 1;
}

static uint64_t count_resident(unsigned char *mem, uint64_t len)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < len; i += PAGE)
		n += resident(mem + i);
	return n;
}

/*
 * The kernel is told to page all of it out, and then has to, for something else wants the
 * memory. What is mapped in place stays, the rest goes; the bytes of both are as they were.
 */
static void in_place_swap(void)
{
	const uint64_t mine = 4 * BLOCK, left = 80UL << 20;
	unsigned char *rest;
	struct two w;
	uint64_t before, used;

	kt_swap_on();
	kt_take_memory(left);
	begin(&w, left + (32UL << 20));
	rest = w.t.mem + mine;
	fill(&w, CPU, w.t.mem, mine, 1);
	fill(&w, 0, w.t.mem, mine, 2); /* by the device alone: the kernel has not seen it */
	before = faults(&w);
	CHECK_EQ(madvise(w.t.mem, mine, MADV_PAGEOUT), 0);
	CHECK_EQ(count_resident(w.t.mem, mine), mine / PAGE);
	fill(&w, CPU, rest, w.t.len - mine, 3);
	CHECK_EQ(madvise(rest, w.t.len - mine, MADV_PAGEOUT), 0);
	CHECK(kt_swap_used() > (w.t.len - mine) / 2);
	CHECK_EQ(count_resident(w.t.mem, mine), mine / PAGE);
	for (uint64_t i = 0; i < w.t.len - mine; i += 5 * PAGE)
		CHECK_EQ(*at(rest + i), kt_pattern(3, i));
	CHECK_EQ(count_resident(w.t.mem, mine), mine / PAGE);
	verify(&w, 0, w.t.mem, mine, 2);
	CHECK_EQ(faults(&w), before);
	verify(&w, CPU, w.t.mem, mine, 2);
	/* From swap it comes back in place. */
	CHECK_EQ(load(&w, 0, rest), kt_pattern(3, 0));
	CHECK_EQ(kt_held(), mine + BLOCK);
	/* Let go it can be swapped, with what the device wrote last. */
	fill(&w, 0, w.t.mem, mine, 4);
	detach(&w);
	CHECK_EQ(kt_held(), 0);
	used = kt_swap_used();
	CHECK_EQ(madvise(w.t.mem, mine, MADV_PAGEOUT), 0);
	CHECK(kt_swap_used() > used + mine / 2);
	verify(&w, CPU, w.t.mem, mine, 4);
	w.ctx[0] = kt_attach(w.sim[0], w.t.as);
	CHECK(w.ctx[0] >= 0);
	end(&w);
	kt_swap_off();
}

/* Physical frame numbers of the pages, as the CPU has them mapped; 0: it has not. */
static void frames(unsigned char *mem, uint64_t n, uint64_t *frame)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, frame, n * 8, (off_t)((uintptr_t)mem / PAGE * 8)), (long)(n * 8));
	close(fd);
	for (uint64_t i = 0; i < n; i++)
		frame[i] = frame[i] >> 63 ? frame[i] & ((1ULL << 55) - 1) : 0;
}

/* Does a zone that is to be emptied on demand have the frame? */
static bool movable(uint64_t frame)
{
	unsigned long long start = 0, spanned = 0, n;
	FILE *f = fopen("/proc/zoneinfo", "r");
	bool in_movable = false, found = false;
	char line[256], zone[32];

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Node %*d, zone %31s", zone) == 1)
			in_movable = !strcmp(zone, "Movable");
		else if (sscanf(line, " spanned %llu", &n) == 1)
			spanned = n;
		else if (sscanf(line, " start_pfn: %llu", &n) == 1) {
			start = n;
			found |= in_movable && frame >= start && frame < start + spanned;
		}
	}
	fclose(f);
	return found;
}

static uint64_t free_memory(void)
{
	struct sysinfo si;

	CHECK_EQ(sysinfo(&si), 0);
	return (uint64_t)si.freeram * si.mem_unit;
}

static uint64_t frame_of(void *va)
{
	uint64_t frame = 0;

	(void)*at(va);
	frames(va, 1, &frame);
	CHECK(frame);
	return frame;
}

/*
 * The kernel is told to empty frames, by moving what they have elsewhere: not what is mapped in
 * place. In the end it can.
 */
static void in_place_stays(void)
{
	unsigned char *p;
	uint64_t frame;
	struct two w;

	if (madvise(NULL, 0, MADV_SOFT_OFFLINE)) {
		printf("  left out: this kernel cannot be told\n");
		return;
	}
	begin(&w, BLOCK);
	fill(&w, CPU, w.t.mem, BLOCK, 1);
	verify(&w, 0, w.t.mem, BLOCK, 1);
	for (uint64_t i = 0; i < 4; i++) {
		p = w.t.mem + i * 100 * PAGE;
		frame = frame_of(p);
		CHECK(madvise(p, PAGE, MADV_SOFT_OFFLINE) < 0);
		store(&w, 0, p, i);
		CHECK_EQ(*at(p), i);
		CHECK_EQ(frame_of(p), frame);
	}
	detach(&w);
	for (uint64_t i = 0; i < 4; i++) {
		p = w.t.mem + i * 100 * PAGE;
		frame = frame_of(p);
		CHECK_EQ(madvise(p, PAGE, MADV_SOFT_OFFLINE), 0);
		CHECK_EQ(*at(p), i);
		CHECK(frame_of(p) != frame);
	}
	w.ctx[0] = kt_attach(w.sim[0], w.t.as);
	CHECK(w.ctx[0] >= 0);
	for (uint64_t i = 0; i < 4; i++)
		CHECK_EQ(load(&w, 0, w.t.mem + i * 100 * PAGE), i);
	end(&w);
}

/* What comes to be once a device maps in place is in no memory that is to be emptied on demand. */
static void in_place_unmovable(void)
{
	unsigned char *mem;
	struct two w;
	int obj;

	begin(&w, BLOCK);
	obj = kt_object(BLOCK);
	mem = kt_map(w.t.as, obj, 0, BLOCK, RW);
	fill(&w, CPU, mem, BLOCK, 1);
	fill(&w, 0, w.t.mem, BLOCK, 1); /* an object that was made before */
	for (uint64_t i = 0; i < BLOCK; i += PAGE) {
		CHECK(!movable(frame_of(mem + i)));
		CHECK(i < 16 * PAGE || !movable(frame_of(w.t.mem + i)));
	}
	munmap(mem, BLOCK);
	close(obj);
	end(&w);
}

/* The application drops pages in the kernel's ways: bytes stay, or it is refused. In ours, they go. */
static void in_place_punch(void)
{
	struct two w;

	begin(&w, 2 * BLOCK);
	fill(&w, 0, w.t.mem, w.t.len, 1);
	CHECK_EQ(madvise(w.t.mem, BLOCK, MADV_DONTNEED), 0); /* of the CPU's table only */
	verify(&w, CPU, w.t.mem, BLOCK, 1);
	CHECK(madvise(w.t.mem, BLOCK, MADV_REMOVE) < 0); /* of the file */
	verify(&w, 0, w.t.mem, w.t.len, 1);
	CHECK_EQ(kt_held(), 2 * BLOCK);
	CHECK_EQ(kt_advise(w.t.as, GMEM_DONTNEED, 0, w.t.mem + 7 * PAGE, 9 * PAGE), 0);
	CHECK_EQ(kt_held(), 2 * BLOCK - 9 * PAGE);
	CHECK(!resident(w.t.mem + 8 * PAGE));
	CHECK_EQ(load(&w, 0, w.t.mem + 7 * PAGE), 0);
	CHECK_EQ(*at(w.t.mem + 15 * PAGE), 0);
	verify(&w, 0, w.t.mem, 7 * PAGE, 1);
	CHECK_EQ(kt_advise(w.t.as, GMEM_DONTNEED, 0, w.t.mem, w.t.len), 0);
	CHECK_EQ(kt_held(), 0);
	CHECK_EQ(count_resident(w.t.mem, w.t.len), 0);
	CHECK_EQ(load(&w, 0, w.t.mem), 0);
	end(&w);
}

/* ---------------------------------------------------------------------- coming, going */

/* What is unmapped, protected, moved: another mapping of the same pages keeps them held. */
static void in_place_unmap(void)
{
	unsigned char *alias, *moved;
	uint64_t v = 0;
	struct two w;

	begin(&w, 2 * BLOCK);
	fill(&w, CPU, w.t.mem, w.t.len, 1);
	alias = kt_map(w.t.as, w.t.obj, 0, BLOCK, RW);
	verify(&w, 0, w.t.mem, w.t.len, 1);
	CHECK_EQ(load(&w, 0, alias + 5 * PAGE), kt_pattern(1, 5 * PAGE));
	CHECK_EQ(kt_held(), 2 * BLOCK);
	CHECK_EQ(munmap(w.t.mem + BLOCK + 5 * PAGE, 3 * PAGE), 0);
	CHECK_EQ(kt_held(), 2 * BLOCK - 3 * PAGE);
	CHECK_EQ(munmap(w.t.mem, BLOCK), 0);
	CHECK_EQ(kt_held(), 2 * BLOCK - 3 * PAGE); /* by the alias */
	CHECK_EQ(kt_dev(w.sim[0], w.ctx[0], GMEM_SIM_READ, w.t.mem, &v, 8), -EFAULT);
	CHECK_EQ(load(&w, 0, alias), kt_pattern(1, 0));
	CHECK_EQ(mprotect(alias, BLOCK, PROT_READ), 0);
	CHECK_EQ(kt_dev(w.sim[0], w.ctx[0], GMEM_SIM_WRITE, alias, &v, 8), -EACCES);
	CHECK_EQ(load(&w, 0, alias), kt_pattern(1, 0));
	CHECK_EQ(mprotect(alias, BLOCK, PROT_NONE), 0);
	CHECK_EQ(kt_held(), BLOCK - 3 * PAGE); /* no device sees it */
	CHECK_EQ(mprotect(alias, BLOCK, PROT_READ | PROT_WRITE), 0);
	store(&w, 0, alias, 9);
	CHECK_EQ(kt_held(), 2 * BLOCK - 3 * PAGE);
	moved = mremap(alias, BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, w.t.mem);
	CHECK_EQ(moved - w.t.mem, 0);
	CHECK_EQ(kt_dev(w.sim[0], w.ctx[0], GMEM_SIM_READ, alias, &v, 8), -EFAULT);
	CHECK_EQ(load(&w, 0, moved), 9);
	CHECK_EQ(munmap(w.t.mem, w.t.len), 0);
	CHECK_EQ(kt_held(), 0); /* though the object is there, with its bytes */
	w.t.mem = kt_map(w.t.as, w.t.obj, 0, w.t.len, RW);
	CHECK_EQ(load(&w, 0, w.t.mem), 9);
	CHECK_EQ(load(&w, 0, w.t.mem + BLOCK + 6 * PAGE), kt_pattern(1, BLOCK + 6 * PAGE));
	end(&w);
}

/* Two address spaces, and devices that come and go. */
static void in_place_detach(void)
{
	struct gmem_sim_detach d = { .size = sizeof(d) };
	unsigned char *far;
	int as, other, ctx, node;
	struct two w;

	begin(&w, BLOCK);
	fill(&w, 0, w.t.mem, BLOCK, 1);
	other = plug_in_place(&node);
	as = kt_as(0);
	far = kt_map(as, w.t.obj, 100 * PAGE, BLOCK - 100 * PAGE, RW);
	ctx = kt_attach(other, as);
	CHECK(ctx >= 0);
	CHECK_EQ(kt_dev_load(other, ctx, far), kt_pattern(1, 100 * PAGE));
	CHECK_EQ(kt_held(), BLOCK);
	detach(&w);
	CHECK_EQ(kt_held(), BLOCK - 100 * PAGE);
	kt_dev_store(other, ctx, far, 5);
	store(&w, 1, w.t.mem + 100 * PAGE, 6); /* away from under the other */
	CHECK_EQ(kt_dev_load(other, ctx, far), 6);
	d.ctx = (uint32_t)ctx;
	CHECK_EQ(kt_ioctl(other, GMEM_SIM_IOC_DETACH, &d), 0);
	CHECK_EQ(kt_held(), 0);
	ctx = kt_attach(other, as);
	CHECK_EQ(kt_dev_load(other, ctx, far), 6);
	close(other); /* attached, with what it has mapped */
	CHECK_EQ(kt_held(), 0);
	munmap(far, BLOCK - 100 * PAGE);
	close(as);
	w.ctx[0] = kt_attach(w.sim[0], w.t.as);
	CHECK(w.ctx[0] >= 0);
	CHECK_EQ(load(&w, 0, w.t.mem + 100 * PAGE), 6);
	end(&w);
}

/* The device fails to let go: what it may reach is held, whatever the process does, until it does. */
static void in_place_failures(void)
{
	uint64_t v;
	struct two w;

	begin(&w, BLOCK);
	fill(&w, 0, w.t.mem, BLOCK, 1);
	for (uint32_t op = GMEM_SIM_PMAP_RELEASE; op <= GMEM_SIM_TLB_INVL; op++) {
		if (op == GMEM_SIM_PMAP_PROTECT)
			continue;
		CHECK_EQ(kt_inject(w.sim[0], op, 0, ~0U, EIO), 0);
		CHECK_EQ(kt_dev(w.sim[1], w.ctx[1], GMEM_SIM_READ, w.t.mem, &v, 8), -EIO);
		CHECK_EQ(kt_advise(w.t.as, GMEM_DONTNEED, 0, w.t.mem, BLOCK), -EIO);
		CHECK_EQ(munmap(w.t.mem, BLOCK), 0); /* done all the same */
		CHECK_EQ(kt_held(), BLOCK);
		CHECK_EQ(kt_inject(w.sim[0], op, 0, 0, 0), 0);
		w.t.mem = kt_map(w.t.as, w.t.obj, 0, BLOCK, RW); /* there, or elsewhere */
		verify(&w, 0, w.t.mem, BLOCK, 1);
		CHECK_EQ(kt_held(), BLOCK);
	}
	CHECK_EQ(kt_advise(w.t.as, GMEM_DONTNEED, 0, w.t.mem, BLOCK), 0);
	CHECK_EQ(kt_inject(w.sim[0], GMEM_SIM_PMAP_ENTER, 0, ~0U, ENODEV), 0);
	CHECK_EQ(kt_dev(w.sim[0], w.ctx[0], GMEM_SIM_READ, w.t.mem, &v, 8), -ENODEV);
	CHECK_EQ(kt_inject(w.sim[0], GMEM_SIM_PMAP_ENTER, 0, 0, 0), 0);
	CHECK_EQ(load(&w, 0, w.t.mem), 0);
	end(&w);
}

static void in_place_fork(void)
{
	struct two w;
	pid_t pid;

	begin(&w, BLOCK);
	fill(&w, 0, w.t.mem, BLOCK, 1);
	pid = fork();
	if (!pid) {
		int as = kt_as(0), ctx = kt_attach(w.sim[0], as);
		unsigned char *mem = kt_map(as, w.t.obj, 0, BLOCK, RW);

		verify(&w, CPU, w.t.mem, BLOCK, 1); /* the very pages */
		CHECK(ctx >= 0);
		CHECK_EQ(kt_dev_load(w.sim[0], ctx, mem + PAGE), kt_pattern(1, PAGE));
		kt_dev_store(w.sim[0], ctx, mem, 7);
		store(&w, 0, w.t.mem + PAGE, 8); /* at the parent's addresses */
		CHECK_EQ(*at(w.t.mem + PAGE), 8);
		munmap(w.t.mem, BLOCK);
		CHECK_EQ(kt_held(), BLOCK);
		_exit(0);
	}
	CHECK_EQ(kt_wait(pid), 0);
	CHECK_EQ(load(&w, 0, w.t.mem), 7);
	CHECK_EQ(*at(w.t.mem + PAGE), 8);
	CHECK_EQ(kt_held(), BLOCK);
	CHECK_EQ(kt_ioctl(w.sim[0], GMEM_SIM_IOC_DETACH, &(struct gmem_sim_detach){ 8, 1 }), 0);
	end(&w);
}

/* A process dies with a device that has its memory mapped, in the middle of its accesses. */
static void in_place_kill(void)
{
	for (unsigned int round = 0; round < 6; round++) {
		pid_t pid = fork();

		if (!pid) {
			struct two w;

			begin(&w, 4 * BLOCK);
			for (uint64_t i = 0;; i++) {
				fill(&w, 0, w.t.mem, w.t.len, i);
				kt_advise(w.t.as, GMEM_PREFETCH, w.node[1], w.t.mem, BLOCK);
			}
		}
		while (!kt_held())
			usleep(1000);
		usleep(7000 * round);
		CHECK_EQ(kill(pid, SIGKILL), 0);
		CHECK_EQ(kt_wait(pid), -SIGKILL);
		for (unsigned int i = 0; i < 1000 && kt_held(); i++)
			usleep(10000); /* its descriptors' last uses */
		CHECK_EQ(kt_held(), 0);
	}
}

/* A reference that was not given back would be memory that is never free: 32 MiB a round. */
static void in_place_leaks_none(void)
{
	uint64_t before = free_memory();

	for (unsigned int round = 0; round < 9; round++) {
		struct two w;

		begin(&w, 16 * BLOCK);
		fill(&w, CPU, w.t.mem, w.t.len, round);
		for (uint64_t i = 0; i < w.t.len; i += BLOCK)
			load(&w, 0, w.t.mem + i);
		CHECK_EQ(kt_held(), w.t.len);
		if (round % 3 == 1)
			CHECK_EQ(munmap(w.t.mem, w.t.len), 0);
		else if (round % 3 == 2)
			CHECK_EQ(kt_advise(w.t.as, GMEM_DONTNEED, 0, w.t.mem, w.t.len), 0);
		end(&w);
	}
	CHECK(free_memory() + 2 * 16 * BLOCK > before);
}

/* Host memory in huge pages: as a whole in place, and away. */
static void in_place_huge(void)
{
	struct gmem_object_create c = { .size = sizeof(c),
					.flags = GMEM_OBJECT_HUGE,
					.bytes = 2 * BLOCK };
	unsigned char *mem;
	struct two w;
	int obj;

	begin(&w, BLOCK);
	obj = kt_ioctl(kt_gmem(), GMEM_OBJECT_CREATE, &c);
	CHECK(obj >= 0);
	mem = kt_map(w.t.as, obj, 0, c.bytes, RW);
	fill(&w, CPU, mem, c.bytes, 1);
	verify(&w, 0, mem, c.bytes, 1);
	CHECK_EQ(kt_held(), 2 * BLOCK);
	fill(&w, 0, mem, c.bytes, 2);
	store(&w, 1, mem + 5 * PAGE, 3);
	CHECK_EQ(kt_held(), BLOCK);
	CHECK_EQ(load(&w, 0, mem + 5 * PAGE), 3);
	CHECK_EQ(load(&w, 0, mem + 6 * PAGE), kt_pattern(2, 6 * PAGE));
	CHECK_EQ(kt_held(), 2 * BLOCK);
	munmap(mem, c.bytes);
	CHECK_EQ(kt_held(), 0);
	close(obj);
	end(&w);
}

const struct kt_test kt_in_place[] = {
	{ "in_place_both_sides", in_place_both_sides, 0 },
	{ "in_place_told", in_place_told, 0 },
	{ "in_place_in_turns", in_place_in_turns, 0 },
	{ "in_place_race", in_place_race, 60 },
	{ "in_place_stays", in_place_stays, 60 },
	{ "in_place_unmovable", in_place_unmovable, 0 },
	{ "in_place_punch", in_place_punch, 0 },
	{ "in_place_unmap", in_place_unmap, 0 },
	{ "in_place_detach", in_place_detach, 0 },
	{ "in_place_failures", in_place_failures, 0 },
	{ "in_place_fork", in_place_fork, 0 },
	{ "in_place_kill", in_place_kill, 60 },
	{ "in_place_leaks_none", in_place_leaks_none, 60 },
	{ "in_place_huge", in_place_huge, 0 },
	{ "in_place_swap", in_place_swap, 120 },
	{ 0 },
};
