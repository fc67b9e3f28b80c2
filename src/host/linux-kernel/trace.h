/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The events gmem:fault, gmem:migrate, gmem:evict, gmem:invalidate, gmem:poison, gmem:thrash,
 * gmem:remove; docs/kernel.md has the fields. An event that somebody enables is asked of the core, and only then.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM gmem

#if !defined(GM_HOST_LINUX_KERNEL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define GM_HOST_LINUX_KERNEL_TRACE_H

#include <linux/tracepoint.h>

#include "core/os.h"

#ifndef GM_TRACE_FUNCTIONS
#define GM_TRACE_FUNCTIONS
int gm_trace_fault_on(void);
void gm_trace_fault_off(void);
int gm_trace_migrate_on(void);
void gm_trace_migrate_off(void);
int gm_trace_evict_on(void);
void gm_trace_evict_off(void);
int gm_trace_invalidate_on(void);
void gm_trace_invalidate_off(void);
int gm_trace_poison_on(void);
void gm_trace_poison_off(void);
int gm_trace_thrash_on(void);
void gm_trace_thrash_off(void);
int gm_trace_remove_on(void);
void gm_trace_remove_off(void);
u64 gm_trace_as(const struct gm_event *e);
u64 gm_trace_obj(const struct gm_event *e);
pid_t gm_trace_pid(const struct gm_event *e);
#endif

/* clang-format off */
#define show_why(why)                                                                              \
	__print_symbolic(why, { 0, "cpu_fault" }, { 1, "dev_fault" }, { 2, "prefetch" },           \
			 { 3, "evict" }, { 4, "drain" }, { 5, "poison" })

TRACE_EVENT_FN(fault,
	TP_PROTO(const struct gm_event *e),
	TP_ARGS(e),
	TP_STRUCT__entry(
		__field(u64, as)
		__field(u64, obj)
		__field(u64, offset)
		__field(u64, va)
		__field(u64, ns)
		__field(pid_t, pid)
		__field(u32, access)
		__field(u32, why)
		__field(int, from)
		__field(int, to)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->as = gm_trace_as(e);
		__entry->obj = gm_trace_obj(e);
		__entry->offset = e->offset;
		__entry->va = e->va;
		__entry->ns = e->ns;
		__entry->pid = gm_trace_pid(e);
		__entry->access = e->n;
		__entry->why = e->why;
		__entry->from = e->from;
		__entry->to = e->to;
		__entry->err = e->err;
	),
	TP_printk("as=%llu pid=%d obj=%llu offset=0x%llx va=0x%llx access=%s why=%s from=%d to=%d ns=%llu err=%d",
		__entry->as, __entry->pid, __entry->obj, __entry->offset, __entry->va,
		__print_symbolic(__entry->access, { 0, "any" }, { 1, "read" }, { 2, "write" },
				 { 3, "both" }),
		show_why(__entry->why), __entry->from, __entry->to, __entry->ns, __entry->err),
	gm_trace_fault_on, gm_trace_fault_off
);

TRACE_EVENT_FN(migrate,
	TP_PROTO(const struct gm_event *e),
	TP_ARGS(e),
	TP_STRUCT__entry(
		__field(u64, as)
		__field(u64, obj)
		__field(u64, offset)
		__field(u64, len)
		__field(u64, bytes)
		__field(u64, ns)
		__field(pid_t, pid)
		__field(u32, pages)
		__field(u32, why)
		__field(int, from)
		__field(int, to)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->as = gm_trace_as(e);
		__entry->obj = gm_trace_obj(e);
		__entry->offset = e->offset;
		__entry->len = e->len;
		__entry->bytes = e->bytes;
		__entry->ns = e->ns;
		__entry->pid = gm_trace_pid(e);
		__entry->pages = e->pages;
		__entry->why = e->why;
		__entry->from = e->from;
		__entry->to = e->to;
		__entry->err = e->err;
	),
	TP_printk("as=%llu pid=%d obj=%llu offset=0x%llx len=0x%llx pages=%u bytes=%llu why=%s from=%d to=%d ns=%llu err=%d",
		__entry->as, __entry->pid, __entry->obj, __entry->offset, __entry->len,
		__entry->pages, __entry->bytes, show_why(__entry->why), __entry->from,
		__entry->to, __entry->ns, __entry->err),
	gm_trace_migrate_on, gm_trace_migrate_off
);

TRACE_EVENT_FN(evict,
	TP_PROTO(const struct gm_event *e),
	TP_ARGS(e),
	TP_STRUCT__entry(
		__field(u64, as)
		__field(u64, obj)
		__field(u64, offset)
		__field(u64, ns)
		__field(pid_t, pid)
		__field(u32, pages)
		__field(u32, direct)
		__field(int, from)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->as = gm_trace_as(e);
		__entry->obj = gm_trace_obj(e);
		__entry->offset = e->offset;
		__entry->ns = e->ns;
		__entry->pid = gm_trace_pid(e);
		__entry->pages = e->pages;
		__entry->direct = e->n;
		__entry->from = e->from;
		__entry->err = e->err;
	),
	TP_printk("as=%llu pid=%d obj=%llu offset=0x%llx pages=%u direct=%u from=%d ns=%llu err=%d",
		__entry->as, __entry->pid, __entry->obj, __entry->offset, __entry->pages,
		__entry->direct, __entry->from, __entry->ns, __entry->err),
	gm_trace_evict_on, gm_trace_evict_off
);

TRACE_EVENT_FN(invalidate,
	TP_PROTO(const struct gm_event *e),
	TP_ARGS(e),
	TP_STRUCT__entry(
		__field(u64, as)
		__field(u64, va)
		__field(u64, len)
		__field(u64, ns)
		__field(pid_t, pid)
		__field(u32, ranges)
		__field(int, node)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->as = gm_trace_as(e);
		__entry->va = e->va;
		__entry->len = e->len;
		__entry->ns = e->ns;
		__entry->pid = gm_trace_pid(e);
		__entry->ranges = e->n;
		__entry->node = e->from;
		__entry->err = e->err;
	),
	TP_printk("as=%llu pid=%d va=0x%llx len=0x%llx ranges=%u node=%d ns=%llu err=%d",
		__entry->as, __entry->pid, __entry->va, __entry->len, __entry->ranges,
		__entry->node, __entry->ns, __entry->err),
	gm_trace_invalidate_on, gm_trace_invalidate_off
);

TRACE_EVENT_FN(poison,
	TP_PROTO(const struct gm_event *e),
	TP_ARGS(e),
	TP_STRUCT__entry(
		__field(u64, obj)
		__field(u64, offset)
		__field(u64, pa)
		__field(u64, ns)
		__field(u32, pages)
		__field(u32, why)
		__field(int, node)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->obj = gm_trace_obj(e);
		__entry->offset = e->offset;
		__entry->pa = e->va;
		__entry->ns = e->ns;
		__entry->pages = e->pages;
		__entry->why = e->why;
		__entry->node = e->from;
		__entry->err = e->err;
	),
	TP_printk("obj=%llu offset=0x%llx pa=0x%llx pages=%u why=%s node=%d ns=%llu err=%d",
		__entry->obj, __entry->offset, __entry->pa, __entry->pages,
		show_why(__entry->why), __entry->node, __entry->ns, __entry->err),
	gm_trace_poison_on, gm_trace_poison_off
);

TRACE_EVENT_FN(thrash,
	TP_PROTO(const struct gm_event *e),
	TP_ARGS(e),
	TP_STRUCT__entry(
		__field(u64, as)
		__field(u64, obj)
		__field(u64, offset)
		__field(pid_t, pid)
		__field(u32, times)
		__field(u32, why)
		__field(int, from)
		__field(int, to)
	),
	TP_fast_assign(
		__entry->as = gm_trace_as(e);
		__entry->obj = gm_trace_obj(e);
		__entry->offset = e->offset;
		__entry->pid = gm_trace_pid(e);
		__entry->times = e->n;
		__entry->why = e->why;
		__entry->from = e->from;
		__entry->to = e->to;
	),
	TP_printk("as=%llu pid=%d obj=%llu offset=0x%llx times=%u why=%s from=%d to=%d",
		__entry->as, __entry->pid, __entry->obj, __entry->offset, __entry->times,
		show_why(__entry->why), __entry->from, __entry->to),
	gm_trace_thrash_on, gm_trace_thrash_off
);

TRACE_EVENT_FN(remove,
	TP_PROTO(const struct gm_event *e),
	TP_ARGS(e),
	TP_STRUCT__entry(
		__field(u64, ns)
		__field(int, node)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->ns = e->ns;
		__entry->node = e->from;
		__entry->err = e->err;
	),
	TP_printk("node=%d ns=%llu err=%d", __entry->node, __entry->ns, __entry->err),
	gm_trace_remove_on, gm_trace_remove_off
);
/* clang-format on */

#endif

/* Found by -I of this folder. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
