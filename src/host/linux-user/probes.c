// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * USDT probes: events for bpftrace, perf, SystemTap and gdb.
 *
 * A probe is a nop, and a note in the file that says where it is and where its arguments are. Whoever
 * attaches to it raises a counter of 16 bits in this process, which its note names too: the probe's
 * semaphore. The core tells nothing of what nobody listens to; so that it need not look at two words
 * for that, the semaphore is the upper half of the word that it looks at anyway (core/trace.h),
 * and those words are here, in a section that the file has, for the kernel finds the counter
 * by its place in the file. Tracers change the upper half only, and by themselves; the library
 * adds to the lower one atomically, and as it writes back what the upper one was at that moment,
 * neither loses what the other counts.
 *
 * Without sys/sdt.h there are no probes, and the words are the core's own.
 *
 * Locking: none.
 */
#include <gmem/events.h>

#include "core/trace.h"
#include "user.h"

#ifdef GM_USDT

#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

_Static_assert(GM_EVENT_FAULT == 0 && GM_EVENT_MIGRATE == 1 && GM_EVENT_EVICT == 2 &&
		       GM_EVENT_INVALIDATE == 3 && GM_EVENT_POISON == 4 && GM_EVENT_THRASH == 5 &&
		       GM_EVENT_REMOVE == 6 && GM_EVENT_KINDS == 7 && GM_EVENT_ALL == 12,
	       "the words below are in their order");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the upper half is the second");

#define WORD(name)                                                                                 \
	".short 0\n"                                                                               \
	".globl gmem_" #name "_semaphore\n"                                                        \
	".hidden gmem_" #name "_semaphore\n"                                                       \
	"gmem_" #name "_semaphore:\n"                                                              \
	".short 0\n"

asm(".pushsection .probes, \"aw\", @progbits\n"
    ".balign 4\n"
    ".globl gm_traced\n"
    ".hidden gm_traced\n"
    ".type gm_traced, @object\n"
    ".size gm_traced, 48\n"
    "gm_traced:\n" WORD(fault) WORD(migrate) WORD(evict) WORD(invalidate) WORD(poison) WORD(thrash)
	    WORD(remove) ".zero 20\n"
			 ".popsection\n");

#define SEMAPHORE(name)                                                                            \
	extern unsigned short gmem_##name##_semaphore __attribute__((visibility("hidden")))

SEMAPHORE(fault);
SEMAPHORE(migrate);
SEMAPHORE(evict);
SEMAPHORE(invalidate);
SEMAPHORE(poison);
SEMAPHORE(thrash);
SEMAPHORE(remove);

/* The arguments stand in gmem-trace(1). */
void gm_probe(const struct gm_event_record *r)
{
	int thread = r->for_tid ? r->for_tid : r->tid;

	switch ((enum gm_event_kind)r->kind) {
	case GM_EVENT_FAULT:
		STAP_PROBE8(gmem, fault, r->addr, r->count, r->why, r->from, r->to, r->took, r->err,
			    thread);
		break;
	case GM_EVENT_MIGRATE:
		STAP_PROBE8(gmem, migrate, r->addr, r->pages, r->bytes, r->why, r->from, r->to,
			    r->took, r->err);
		break;
	case GM_EVENT_EVICT:
		STAP_PROBE6(gmem, evict, r->addr, r->pages, r->from, r->to, r->took, r->err);
		break;
	case GM_EVENT_INVALIDATE:
		STAP_PROBE5(gmem, invalidate, r->dev_addr, r->len, r->from, r->count, r->took);
		break;
	case GM_EVENT_POISON:
		STAP_PROBE3(gmem, poison, r->addr, r->pages, r->from);
		break;
	case GM_EVENT_THRASH:
		STAP_PROBE4(gmem, thrash, r->addr, r->count, r->from, r->to);
		break;
	case GM_EVENT_REMOVE:
		STAP_PROBE1(gmem, remove, r->from);
		break;
	default:
		break;
	}
}

#else

void gm_probe(const struct gm_event_record *r)
{
	(void)r;
}

#endif
