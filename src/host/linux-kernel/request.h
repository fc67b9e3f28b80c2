/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Requests: ioctls whose structs say how long they are (include/uapi/gmem.h).
 *
 * chardev.c		/dev/gmem; how a request is carried out
 * as_file.c		an address space's descriptor
 * object_file.c	an object's
 * job_file.c		a job's
 */
#ifndef GM_KERNEL_REQUEST_H
#define GM_KERNEL_REQUEST_H

#include <uapi/gmem.h>

#include "kernel.h"

struct gm_request {
	u32 cmd;
	u32 size;
	bool out; /* the struct has results, or the copy back says nothing */
	long (*fn)(struct file *file, void *arg);
	u32 least; /* its size when it was new; 0: as now */
};

#define REQUEST(cmd, type, out, fn)                                                                \
	{                                                                                          \
		cmd, sizeof(struct type), out, fn                                                  \
	}
/* Of a struct that has grown since, from @member on. */
#define REQUEST_GROWN(cmd, type, member, out, fn)                                                  \
	{                                                                                          \
		cmd, sizeof(struct type), out, fn, offsetof(struct type, member)                   \
	}

long gm_carry_out(struct file *file, unsigned int cmd, void __user *user,
		  const struct gm_request *r, unsigned int n);

/* as_file.c: what is done for an address space, whoever found it. */
int gm_as_fd_create(struct gm_kas *kas);
long gm_kas_advise(struct gm_kas *kas, struct gmem_advise *a);
long gm_kas_copy(struct gm_kas *to, struct gm_kas *from, const struct gmem_copy *c);
long gm_kas_query(struct gm_kas *kas, const struct gmem_query *q);
long gm_kas_attr(struct gm_kas *kas, struct gmem_attr *a);
long gm_kas_mapping(struct gm_kas *kas, struct gmem_mapping *m);	   /* mapping.c */
long gm_kas_job_start(struct gm_kas *kas, const struct gmem_job_start *s); /* job_file.c */
void gm_stats_out(struct gmem_stats *to, const struct gm_stats *stats);

/* events.c: GMEM_EVENTS */
long gm_events_fd_create(struct file *file, void *arg);

/* object_file.c */
int gm_object_fd_create(struct gm_object *obj);
/* NULL: not an object's descriptor. */
struct gm_object *gm_object_of_file(struct file *file);

#endif
