/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The kernel host as a client sees it: descriptors and requests of include/uapi/gmem.h.
 *
 * What is mapped where, and what belongs to which address space, only the kernel knows; no
 * record of it is kept here that could differ, and none that fork() could tear.
 */
#ifndef GM_LIB_KERNEL_H
#define GM_LIB_KERNEL_H

#include <errno.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include <uapi/gmem.h>

#include "lib/host.h"

/* To be called before an address space goes. */
struct gm_hook {
	int (*fn)(void *data);
	void *data;
	struct gm_hook *next;
};

struct gm_as {
	int fd;
	pthread_mutex_t lock;
	struct gm_hook *hooks; /* lock */
};

struct gm_object {
	int fd;
};

extern int gm_kernel_fd;	  /* /dev/gmem; -1: not open */
extern int gm_kernel_first_hnode; /* the first device's node, or the one it would have */

/* What ioctl(2) returns, or -errno. */
static inline int gm_request(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

/* The same of an address space, which may be another process's. */
int gm_as_request(struct gm_as *as, unsigned long cmd, void *arg);

/* as.c */
int gm_k_as_create(const struct gm_as_options *opt, struct gm_as **as);
int gm_k_as_destroy(struct gm_as *as);
int gm_k_as_fd(struct gm_as *as);
int gm_k_as_on_destroy(struct gm_as *as, int (*fn)(void *data), void *data);
int gm_k_as_attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
		   struct gm_context **ctx);
int gm_k_as_detach(struct gm_context *ctx);
int gm_k_as_limit(struct gm_as *as, int hnode, uint64_t bytes);

/* map.c */
int gm_k_object_create(uint64_t size, uint32_t flags, struct gm_object **obj);
int gm_k_object_from_fd(int fd, struct gm_object **obj);
int gm_k_object_fd(struct gm_object *obj);
void gm_k_object_put(struct gm_object *obj);
int gm_k_as_map(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len,
		uint32_t prot, uint32_t flags, void **addr);
int gm_k_as_unmap(struct gm_as *as, void *addr, uint64_t len);
int gm_k_as_protect(struct gm_as *as, void *addr, uint64_t len, uint32_t prot);
int gm_k_alloc(struct gm_as *as, uint64_t len, uint32_t flags, void **addr);
/* A descriptor of a new object, with a tag, or -errno. */
int gm_k_object_new(uint64_t size, uint32_t flags, uint64_t tag);
int gm_k_map_fd(struct gm_as *as, int fd, uint64_t offset, uint64_t len, uint32_t prot,
		uint32_t flags, void **addr);
int gm_k_register(struct gm_as *as, void *addr, uint64_t len);

/* remap.c */
int gm_k_as_remap(struct gm_as *as, void *addr, uint64_t old_len, uint64_t new_len, uint32_t flags,
		  void **new_addr);

/* maps.c */
uint64_t gm_k_as_next(struct gm_as *as, uint64_t va, uint64_t end, uint64_t *len);

/* job.c */
int gm_k_job_start(const struct gm_hint *hints, unsigned int n, struct gm_job **job);
int gm_k_job_wait(struct gm_job *job, uint64_t ns);
int gm_k_job_fd(struct gm_job *job);
int gm_k_job_cancel(struct gm_job *job);
void gm_k_job_free(struct gm_job *job);

/* events.c */
int gm_k_events_open(const struct gm_events_options *opt, struct gm_events **events);
int gm_k_events_read(struct gm_events *events, struct gm_event_record *buf, unsigned int n);
int gm_k_events_fd(struct gm_events *events);
int gm_k_events_lost(struct gm_events *events, uint64_t *lost);
void gm_k_events_close(struct gm_events *events);

/* dev.c */
int gm_k_dev_create(const struct gm_mmu *mmu, const char *name, void *data, struct gm_dev **dev);
int gm_k_dev_destroy(struct gm_dev *dev);
int gm_k_dev_from_hnode(int hnode, struct gm_dev **dev);
int gm_k_dev_hnode(const struct gm_dev *dev);
int gm_k_dev_physmem(struct gm_dev *dev, uint64_t begin, uint64_t end);
int gm_k_dev_poison(struct gm_dev *dev, uint64_t pa);
int gm_k_dev_physmem_cpu(struct gm_dev *dev, uint64_t begin, uint64_t end, uint64_t cpu);
int gm_k_dev_stats(struct gm_dev *dev, struct gm_stats *stats);
int gm_k_dev_tune(struct gm_dev *dev, const struct gm_dev_tunables *t);
int gm_k_dev_set_policy(struct gm_dev *dev, const char *names);
int gm_k_dev_policy(struct gm_dev *dev, char *names, size_t len);
int gm_k_policy_register(const struct gm_move_policy *move, const struct gm_evict_policy *evict);
int gm_k_policy_name(unsigned int i, struct gm_policy_info *info);
/* That drivers are the kernel's there: @err, and what gm_strerror() says of it. */
int gm_k_no_driver(int err);

#endif
