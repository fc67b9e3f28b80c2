/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The two hosts of libgmem: the core and linux-user in this process (user.c), or the
 * module gmem by way of /dev/gmem (kernel/). A host is a table of the public functions
 * whose work it does; choose.c says which it is, dispatch.c calls it.
 *
 * Driver calls on the path of a fault are not in the table: who makes them has a driver in
 * this process, so it is the user host's.
 */
#ifndef GM_LIB_HOST_H
#define GM_LIB_HOST_H

#include <stdbool.h>

#include <gmem/driver.h>
#include <gmem/events.h>
#include <gmem/gmem.h>
#include <gmem/policy.h>

/* As the functions of <gmem/gmem.h> and <gmem/driver.h> with these names. */
struct gm_host {
	const char *name;

	int (*as_create)(const struct gm_as_options *opt, struct gm_as **as);
	int (*as_destroy)(struct gm_as *as);
	int (*as_fd)(struct gm_as *as);
	int (*as_on_destroy)(struct gm_as *as, int (*fn)(void *data), void *data);
	int (*as_map)(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len,
		      uint32_t prot, uint32_t flags, void **addr);
	int (*as_unmap)(struct gm_as *as, void *addr, uint64_t len);
	int (*as_protect)(struct gm_as *as, void *addr, uint64_t len, uint32_t prot);
	int (*as_remap)(struct gm_as *as, void *addr, uint64_t old_len, uint64_t new_len,
			uint32_t flags, void **new_addr);
	int (*as_limit)(struct gm_as *as, int hnode, uint64_t bytes);
	int (*alloc)(struct gm_as *as, uint64_t len, uint32_t flags, void **addr);
	int (*reg)(struct gm_as *as, void *addr, uint64_t len);
	int (*unreg)(struct gm_as *as, void *addr, uint64_t len);
	int (*as_attach)(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
			 struct gm_context **ctx);
	int (*as_attach_sparse)(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
				struct gm_context **ctx);
	int (*as_detach)(struct gm_context *ctx);
	int (*as_lookup)(struct gm_as *as, uint64_t va, struct gm_lookup *info);
	int (*as_stats)(struct gm_as *as, struct gm_stats *stats);

	int (*object_create)(uint64_t size, uint32_t flags, struct gm_object **obj);
	int (*object_from_fd)(int fd, struct gm_object **obj);
	int (*object_fd)(struct gm_object *obj);
	void (*object_put)(struct gm_object *obj);

	int (*advise)(int hnode, void *addr, size_t len, enum gm_advice advice);
	int (*copy)(int hnode, void *dst, const void *src, size_t len);
	int (*query)(const void *addr, size_t len, struct gm_page_info *info);
	int (*attr_query)(const void *addr, size_t len, struct gm_attr *attr);

	int (*job_start)(const struct gm_hint *hints, unsigned int n, struct gm_job **job);
	int (*job_wait)(struct gm_job *job, uint64_t ns);
	int (*job_fd)(struct gm_job *job);
	int (*job_cancel)(struct gm_job *job);
	void (*job_free)(struct gm_job *job);

	int (*dev_create)(const struct gm_mmu *mmu, const char *name, void *data,
			  struct gm_dev **dev);
	int (*dev_destroy)(struct gm_dev *dev);
	int (*dev_from_hnode)(int hnode, struct gm_dev **dev);
	int (*dev_hnode)(const struct gm_dev *dev);
	int (*dev_poison)(struct gm_dev *dev, uint64_t pa);
	int (*dev_remove)(struct gm_dev *dev);
	int (*dev_register_physmem)(struct gm_dev *dev, uint64_t begin, uint64_t end);
	int (*dev_register_physmem_cpu)(struct gm_dev *dev, uint64_t begin, uint64_t end,
					uint64_t cpu);
	int (*dev_unregister_physmem)(struct gm_dev *dev, uint64_t begin, uint64_t end);
	int (*dev_stats)(struct gm_dev *dev, struct gm_stats *stats);
	int (*dev_tune)(struct gm_dev *dev, const struct gm_dev_tunables *t);
	int (*dev_set_policy)(struct gm_dev *dev, const char *names);
	int (*dev_policy)(struct gm_dev *dev, char *names, size_t len);

	int (*policy_register)(const struct gm_move_policy *move,
			       const struct gm_evict_policy *evict);
	int (*policy_unregister)(const struct gm_move_policy *move,
				 const struct gm_evict_policy *evict);
	int (*policy_name)(unsigned int i, struct gm_policy_info *info);

	int (*events_open)(const struct gm_events_options *opt, struct gm_events **events);
	int (*events_read)(struct gm_events *events, struct gm_event_record *buf, unsigned int n);
	int (*events_fd)(struct gm_events *events);
	int (*events_lost)(struct gm_events *events, uint64_t *lost);
	void (*events_close)(struct gm_events *events);

	int (*hnode_info)(int hnode, struct gm_hnode_info *info);
	uint64_t (*metadata_bytes)(void);
	void (*retain_limit)(uint64_t bytes);
	uint64_t (*retain_trim)(uint64_t bytes);
	uint64_t (*retained_bytes)(void);
	int (*record_start)(const char *path);
	int (*record_stop)(void);

	/* For expose.c. The first address of [va, end) that is mapped, and how far; or @end. */
	uint64_t (*as_next)(struct gm_as *as, uint64_t va, uint64_t end, uint64_t *len);
	/* The node of the first device; NULL: devices are what this process has created. */
	int (*first_hnode)(void);
};

extern const struct gm_host gm_host_user, gm_host_kernel;

/* kernel/look.c: open /dev/gmem; harmless if it is open. Fails: as open(2); -EOPNOTSUPP. */
int gm_kernel_open(void);
extern const char *gm_path_gmem; /* tests point it elsewhere */

/*
 * choose.c: the host of this process; the first call that needs to know decides. @driver:
 * for a driver of this process. Fails: -EINVAL (GMEM_HOST is nonsense); GMEM_HOST asks for
 * the kernel: as gm_kernel_open().
 */
int gm_host_choose(bool driver, const struct gm_host **host);
/* The host that was chosen; if none was there is no handle either, and the user host knows. */
const struct gm_host *gm_host(void);

/* What a hint of gm_strerror() for the next @err in this thread is, see uffd_open.c. */
void gm_set_detail(int err, const char *text);

/*
 * trace_file.c: write what happens to a file, until the program ends, or gm_trace_stop(). Fails:
 * -EINVAL (no regular file); -EEXIST (there is something that is no trace); as open(2),
 * eventfd(2), gm_events_open().
 */
int gm_trace_start(const struct gm_host *host, const char *path);
void gm_trace_stop(void); /* harmless where nothing was started */

/* The core's (as.c): structs that begin with their size. */
int gm_struct_out(void *to, const void *from, size_t size);
int gm_options_copy(void *to, size_t size, const void *from, size_t from_size);

#endif
