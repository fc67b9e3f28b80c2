/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the tests of the linux-user host's shelf share: calls that can be made to fail, by
 * -Wl,--wrap, and a block that goes there and back.
 */
#ifndef TESTS_HOST_SHELF_H
#define TESTS_HOST_SHELF_H

#include "host/linux-user/user.h"
#include "host_user_core.h"

#define PAGES (BLOCK / PAGE)

enum call { MMAP, MADVISE, MREMAP, MPROTECT, REGISTER, UNREGISTER, NR_CALLS };

struct plan {
	unsigned int skip, count;
	int err;
};
extern struct plan plan[NR_CALLS];
extern bool target_goes;   /* a move that fails has unmapped its target */
extern bool target_taken;  /* and something else was mapped there */
extern unsigned int moves; /* that were made */

/* After @skip calls the next @count fail with @err. */
void fail_next(enum call call, unsigned int skip, unsigned int count, int err);

/* Of four blocks the second is used; all its words are written, and it is armed. */
struct tc_bench set_up(uint32_t flags);
void tear_down(struct tc_bench *b);
uint64_t *alias(const struct tc_bench *b, uint64_t page);
/* What the CPU has written is there; what is written while it may not, it finds. */
void rewrite(const struct tc_bench *b, uint64_t add);
/*
 * How many faults does it take to read all, each page being @plus more than its number, and to
 * write it?
 */
unsigned int faults_to_read(const struct tc_bench *b, uint64_t plus);
/* There and back once, in @moved moves; nothing is mapped between, and all of it after. */
void round_trip(const struct tc_bench *b, uint64_t *plus, unsigned int moved);
/* It is armed still: what is revoked faults. */
void is_armed(const struct tc_bench *b, uint64_t plus);
/* The rights ("rw-s") of the mapping at @va, "" if there is none; and has it that flag of smaps? */
void rights(uint64_t va, char perms[5], const char *flag, bool *has);
void assert_rights(uint64_t va, const char *expect, const char *flag, bool has);
/* What the C library and sanitizers set up with the first of each is there from here on. */
int warm_up(void **state);

#endif
