/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Policies: how much to bring for a fault of a device, and whom to evict from it.
 *
 * The mechanism is gmem's: it locks, allocates, unmaps, copies, maps, and keeps every byte
 * whatever a policy says. A policy is a table of functions that look at one block of 2 MiB, and at
 * what they remember, and give an answer. It needs no lock, no driver and nothing of gmem's
 * inside. gm_policy(3) has one as an example, docs/policy.md says how to write one.
 *
 * Calls. All functions of a device's policies but start and stop are called one at a time, under
 * one spinlock of the device's: they do not sleep, allocate, or call gmem. Those of
 * different devices run in parallel, with states of their own. start and stop may sleep and
 * allocate, and call nothing of gmem's either. Tables, and what they point to, stay as long as they
 * are registered. Any function but fault and evict may be missing.
 *
 * The order of calls, for a page. A fault finds it elsewhere: fault(). It came: came(). It was
 * mapped for who had faulted: used(). Its block is a candidate for eviction: evict(). It went:
 * went(). A fault that finds it on the device: used() alone. Pages that hints bring come without
 * fault() and used(). One that was left in place is asked about again when the device has counted
 * its uses, fault(), and may come then, came(), without used(). What fault() asks for is a wish: gmem clips it to the mapping, and where
 * it fails tries the page alone. Of what evict() chooses nothing may have gone, if the copy fails
 * or somebody wants the block meanwhile.
 *
 * A policy that is chosen at run time begins with pages on the device that it never saw come, and
 * with every word and all bytes 0.
 */
#ifndef GMEM_POLICY_H
#define GMEM_POLICY_H

#include <gmem/gmem.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GM_POLICY_PAGES 512U /* of 4 KiB, in a block */
#define GM_POLICY_NAME 32U   /* bytes of a name, the 0 at its end included */
#define GM_POLICY_WORDS 8U

/* ------------------------------------------------------------------ sets of pages */

/* A bit for each page of a block. */
struct gm_mask {
	uint64_t word[GM_POLICY_WORDS];
};

static inline int gm_mask_test(const struct gm_mask *m, unsigned int page)
{
	return (int)(m->word[page / 64] >> page % 64 & 1);
}

/* The bits of word @w that are of pages [first, first+n). */
static inline uint64_t gm_mask_of(unsigned int w, unsigned int first, unsigned int n)
{
	unsigned int lo = first > 64 * w ? first - 64 * w : 0;
	unsigned int end = first + n > 64 * w ? first + n - 64 * w : 0;

	if (lo >= 64 || end <= lo)
		return 0;
	return (end >= 64 ? ~0ULL : (1ULL << end) - 1) & ~0ULL << lo;
}

static inline void gm_mask_set(struct gm_mask *m, unsigned int first, unsigned int n)
{
	for (unsigned int w = first / 64; w < GM_POLICY_WORDS && 64 * w < first + n; w++)
		m->word[w] |= gm_mask_of(w, first, n);
}

static inline void gm_mask_clear(struct gm_mask *m, unsigned int first, unsigned int n)
{
	for (unsigned int w = first / 64; w < GM_POLICY_WORDS && 64 * w < first + n; w++)
		m->word[w] &= ~gm_mask_of(w, first, n);
}

static inline unsigned int gm_mask_weight(uint64_t v)
{
	v -= v >> 1 & 0x5555555555555555ULL;
	v = (v & 0x3333333333333333ULL) + (v >> 2 & 0x3333333333333333ULL);
	v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (unsigned int)(v * 0x0101010101010101ULL >> 56);
}

/* How many of [first, first+n) are set. */
static inline unsigned int gm_mask_count(const struct gm_mask *m, unsigned int first,
					 unsigned int n)
{
	unsigned int count = 0;

	for (unsigned int w = first / 64; w < GM_POLICY_WORDS && 64 * w < first + n; w++)
		count += gm_mask_weight(m->word[w] & gm_mask_of(w, first, n));
	return count;
}

/* ---------------------------------------------------------------- what is looked at */

struct gm_move_policy;
struct gm_evict_policy;

/* A block, as the device whose policy is asked has it. Good until the function returns. */
struct gm_policy_block {
	uint64_t object; /* whose it is: a number that no other object has or had */
	uint64_t index;	 /* which: offset in the object / 2 MiB */
	uint64_t clock;	 /* pages that came to the device so far: virtual time */
	uint64_t frames; /* pages that the device has room for */
	uint64_t free;	 /* for how many more there is room; a hint */

	struct gm_mask here;   /* pages that are on the device */
	struct gm_mask pinned; /* of these, those that are not evicted */
	struct gm_mask used;   /* of these, see GM_EVICT_AGE; evict() only */

	/*
	 * For the policies to write. The word is the block's as long as it has pages here. bytes are
	 * gm_evict_policy.page_bytes for each page, one page behind the other, for as long as gmem
	 * knows the block: they are still there when evicted pages come back. They are made when
	 * the block is first a candidate for eviction, or soon after a function has set
	 * want_bytes; NULL: not yet, or there was no memory. With the bytes the word lasts as
	 * long as they.
	 */
	uint32_t word;
	uint32_t want_bytes;
	uint8_t *bytes;
	uint32_t aged;	  /* evict() only: the device could say what was used */
	uint32_t hottest; /* evict() only: it is at the hot end, not the cold one */
	uint32_t modest;  /* evict() only: nothing need go, see struct gm_policy_move */

	/* Who else is asked, and what they remember: for policies that know each other. */
	const struct gm_move_policy *move;
	const struct gm_evict_policy *evict;
	void *move_state;
	void *evict_state;
};

/* --------------------------------------------------------------------- what to move */

#define GM_FAULT_STAYS 1U /* the bytes can be used where they are: nothing moves, it is mapped */
/* The device can use the page in place, in host memory, and counts what it uses so: see in_place. */
#define GM_FAULT_IN_PLACE 2U
/*
 * No fault: the page is mapped in place, and the device's access counter says that it was used
 * times times, of 64 bytes each, since it last said so. Comes with GM_FAULT_IN_PLACE.
 */
#define GM_FAULT_COUNTED 4U

struct gm_policy_fault {
	uint64_t ctx;	  /* of the context that faults: a number that no other has or had */
	uint32_t page;	  /* of the block; not here */
	uint32_t access;  /* GM_READ, GM_WRITE; of a counter, which cannot tell: GM_READ */
	uint32_t flags;	  /* GM_FAULT_* */
	uint32_t granule; /* pages, as tuned (gm_dev_tune()): a power of two */
	uint64_t times;	  /* GM_FAULT_COUNTED: how often; else 0 */
};

/*
 * [first, first+n) of the block, @page among them, and @more pieces of that length, each @stride
 * pages behind the one before it (before, if negative). What is here already is no matter; what
 * lies outside of the block is left out. Comes filled in with the granule around the page.
 *
 * With GM_FAULT_IN_PLACE, and not without, two more answers are heard. in_place: nothing moves;
 * @page is mapped where it is, and what else of [first, first+n) is in host memory with it.
 * GM_FAULT_COUNTED will tell of their use. modest: the pages come only if the device has room for
 * them, or its evict policy, asked about one block and without pressure, lets go of enough; else
 * it is as if in_place had been said.
 */
struct gm_policy_move {
	uint32_t first, n;
	uint32_t more;
	int32_t stride;
	uint32_t in_place;
	uint32_t modest;
};

struct gm_move_policy {
	size_t size;	  /* of this struct */
	const char *name; /* letters, digits, - and _ */
	const char *text; /* one line */
	size_t state_size;

	int (*start)(void *state); /* @state: zeroed, 16-aligned. An error: it is not chosen */
	void (*stop)(void *state); /* nothing is called any more */
	/* A page of the block that is not here was touched, or counted; what to bring for it. */
	void (*fault)(void *state, struct gm_policy_block *block,
		      const struct gm_policy_fault *fault, struct gm_policy_move *move);
};

/* --------------------------------------------------------------------- whom to evict */

enum gm_policy_why {
	GM_POLICY_FAULT, /* came: for a fault. went: the CPU or another device wanted it */
	GM_POLICY_HINT,	 /* somebody said so */
	GM_POLICY_EVICT, /* went: to make room */
	GM_POLICY_DROP, /* went: unmapped or lost, the bytes are nobody's; or the device is emptied */
};

/* Comes empty. What is in it of pages that are not here, or pinned, is no matter. */
struct gm_policy_victims {
	struct gm_mask go;    /* pages that are to go */
	struct gm_mask probe; /* pages to unmap, and not to move: used() tells of their next use */
	uint32_t stays;	      /* it keeps its place in the list; else it is the hottest now */
	/* If passed over: ask about the block at the hot end next, but none that WILLNEED put there. */
	uint32_t hottest;
};

/*
 * Before evict() gmem asks a device that has accessed bits (gm_mmu.pmap_age) which pages were used
 * since it was last asked: block->used; on one that has none that is empty, and used()
 * tells of faults alone, see gm_policy_victims.probe.
 */
#define GM_EVICT_AGE 1U

#define GM_PRESSURE_MAX 32U

struct gm_evict_policy {
	size_t size;	  /* of this struct */
	const char *name; /* as above */
	const char *text;
	size_t state_size;
	uint32_t page_bytes; /* 0 to 4, of each page's, see struct gm_policy_block */
	uint32_t flags;	     /* GM_EVICT_* */

	int (*start)(void *state); /* as above */
	void (*stop)(void *state);
	/* [first, first+n) are here now. @why: FAULT or HINT. */
	void (*came)(void *state, struct gm_policy_block *block, unsigned int first, unsigned int n,
		     enum gm_policy_why why);
	/*
	 * A device touched these pages, which are here: a fault that moved or mapped them, or
	 * gm_dev_accessed(), which says how often.
	 */
	void (*used)(void *state, struct gm_policy_block *block, const struct gm_mask *pages,
		     uint64_t times);
	/* [first, first+n) are not here any more. */
	void (*went)(void *state, struct gm_policy_block *block, unsigned int first, unsigned int n,
		     enum gm_policy_why why);
	/*
	 * Room is needed, for @want pages. The blocks with pages here that may go stand in a list; a
	 * fault or WILLNEED puts one at its hot end, COLD at its cold end, and here is the coldest
	 * whose lock was free. @pressure is how many the same search has passed over so far; at
	 * GM_PRESSURE_MAX nobody is asked any more and the whole block goes. Nor is anybody for
	 * hints (PREFETCH, PIN), and where the device has no room for its page table: the coldest
	 * block goes whole. Pages go as whole base pages of the device.
	 */
	void (*evict)(void *state, struct gm_policy_block *block, uint64_t want,
		      unsigned int pressure, struct gm_policy_victims *victims);
};

/* ------------------------------------------------------------------------- choosing */

/**
 * gm_policy_register - make policies known by their names
 * @move, @evict: either may be NULL
 *
 * Both or none. -EEXIST: one of that kind has the name; -EINVAL: a table that cannot be
 * used; -ENOSPC: there are 32 of a kind already. -EOPNOTSUPP: this process runs on the
 * kernel host, where modules register policies (gm_host_name()).
 */
GM_API int gm_policy_register(const struct gm_move_policy *move,
			      const struct gm_evict_policy *evict);

/**
 * gm_policy_unregister - forget them
 *
 * A device that uses one is given the built-in density, or lru-2m, in its place. When it
 * returns nothing of theirs is called any more. -ENOENT: one is not registered, and nothing
 * has changed.
 */
GM_API int gm_policy_unregister(const struct gm_move_policy *move,
				const struct gm_evict_policy *evict);

/* A policy that is there to be chosen. */
struct gm_policy_info {
	size_t size;   /* of this struct, set by the caller */
	uint32_t kind; /* GM_POLICY_MOVES, GM_POLICY_EVICTS */
	char name[GM_POLICY_NAME];
	char text[96];
};
#define GM_POLICY_MOVES 0U
#define GM_POLICY_EVICTS 1U

/** gm_policy_name - the @i-th policy that can be chosen, from 0 on; -ENOENT: there are no more */
GM_API int gm_policy_name(unsigned int i, struct gm_policy_info *info);

/**
 * gm_dev_set_policy - choose a device's policies, at any time
 * @names: what to move and whom to evict, "density/lru-2m"; a side that is empty stays as it is
 *
 * -ENOENT: there is no such policy; -EINVAL: no two names; -ENOMEM, or what start() said:
 * nothing has changed. On the kernel host, for those who have CAP_SYS_ADMIN: -EPERM.
 */
GM_API int gm_dev_set_policy(struct gm_dev *dev, const char *names);

/** gm_dev_policy - the same names, of what is chosen; -ERANGE: they take more than @len bytes */
GM_API int gm_dev_policy(struct gm_dev *dev, char *names, size_t len);

#ifdef __cplusplus
}
#endif
#endif
