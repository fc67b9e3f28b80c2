/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the files of the linux-user host share. Lock order, first to last; the
 * core's locks may be held over all:
 *
 *	worker life (os_work.c)		the worker thread's start and end
 *	change of the ranges (ranges.c)		held over munmap()
 *	region, failures (map.c, fail.c), shelf (shelf.c)
 *	places (place_fork.c)			the list of them
 *	place (place.c)				what of it is armed
 *	handler (sigbus.c)		its coming and going
 *	a job's descriptor (job.c)
 *	ranges (ranges.c), descriptors (fork.c), work queue (os_work.c), tasks (os_task.c),
 *	appending (record.c)
 *
 * Before the core's: registering, and fork against calls (place_fork.c). With none of the
 * core's: life and writing of a recording (record.c).
 */
#ifndef GM_HOST_LINUX_USER_H
#define GM_HOST_LINUX_USER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/userfaultfd.h>

#include <gmem/gmem.h>

#include "core/os.h"

#define GM_PAGE 4096ULL
#define GM_HUGE (2ULL << 20)

/* ------------------------------------------------- fork.c: what a child inherits */

/* A descriptor that a forked child must not keep. */
struct gm_user_fd {
	int fd;
	struct gm_user_fd *prev, *next;
};

void gm_fd_adopt(struct gm_user_fd *f, int fd);
void gm_fd_close(struct gm_user_fd *f);
void gm_fork_init(void);
bool gm_is_forked(void);

/* --------------------------------------------------------------- os_work.c: threads */

/* A thread of the host's: blocks all signals; its stack is its own, so that it can be given back. */
struct gm_user_thread {
	pthread_t id;
	void *stack;
};

int gm_thread_start(struct gm_user_thread *t, const char *name, void *(*fn)(void *), void *arg);
void gm_thread_join(struct gm_user_thread *t);

/* An address space needs the worker; without one there is no thread. */
int gm_worker_get(void);
void gm_worker_put(void);

/* os_task.c: -ENOMEM: tasks would not run, for there is no thread and none can be had. */
int gm_tasks_start(void);
/* Run what is queued and end the threads; the last address space is gone. */
void gm_tasks_stop(void);

/* ---------------------------------------------------------------- backing.c: objects */

struct gm_user_object {
	struct gm_user_fd mem;
	char *alias; /* gmem's own mapping of all bytes */
	uint64_t size;
	unsigned int shift;	     /* of a host page: 12, or 21 for hugetlb */
	uint64_t *known;	     /* hugetlb: a bit for each host page that exists */
	struct gm_user_place *place; /* the bytes are in memory of the application's: place.c */
	struct gm_user_shelf *shelf; /* once a block was revoked as a whole; atomic */
};

void gm_backing_count(int64_t bytes);

/* shelf.c */
bool gm_shelf_put(struct gm_region *r, uint64_t va, uint64_t len);
bool gm_shelf_get(struct gm_region *r, uint64_t va, uint64_t len);
void gm_shelf_mapped(struct gm_region *r, uint64_t va, uint64_t len);
void gm_shelf_forget(struct gm_user_object *o, uint64_t off, uint64_t len);
void gm_shelf_destroy(struct gm_user_object *o);

static inline struct gm_user_object *gm_user_object(struct gm_object *obj)
{
	return *gm_object_host(obj);
}

/* --------------------------------------------------------- address spaces and faults */

#define GM_NR_FAILS 8U

/* A page that could not be brought home; see fail.c. */
struct gm_user_fail {
	uint64_t page;	   /* its address; 0: free */
	uint32_t count;	   /* failures in a row */
	bool gone;	   /* the last one: its bytes are */
	uint64_t poisoned; /* not 0: [page, page + poisoned) is poisoned ... */
	uint64_t until;	   /* ... up to this time */
};

struct gm_user_as {
	struct gm_as *as;
	bool inline_faults;
	uint32_t in_flight; /* faults that are being serviced inline; see as.c */
	bool sigbus; /* our handler is needed; in thread mode from the first failure on [fail_lock] */

	struct gm_user_fd uffd;
	uint64_t features;	   /* UFFD_FEATURE_* that were granted */
	struct gm_user_fd pagemap; /* /proc/self/pagemap, once memory was registered; or fd is -1 */

	struct gm_user_fd stop; /* eventfd */
	uint32_t stopping;
	uint64_t spin_ns;
	bool spin_adaptive;
	unsigned int nr_threads;
	struct gm_user_thread *threads;

	pthread_mutex_t fail_lock;
	struct gm_user_fail fails[GM_NR_FAILS]; /* fail_lock */
	uint32_t nr_fails, nr_poisoned;		/* written under fail_lock, read without */
	unsigned int next_fail;			/* fail_lock */
	uint64_t unmaps;			/* written under fail_lock, read without */
};

static inline struct gm_user_as *gm_user_as(struct gm_as *as)
{
	return *gm_as_host(as);
}

/* uffd_open.c */
int gm_uffd_open(bool inline_faults, int *fd, uint64_t *features);
void gm_set_detail(int err, const char *text);
const char *gm_get_detail(int err);

/* service.c */
int gm_service_start(struct gm_user_as *u, const struct gm_as_options *opt);
void gm_service_stop(struct gm_user_as *u);
/* Whose fault this service thread is at; 0: nobody's, or it is not known. */
extern __thread uint32_t gm_serviced_tid __attribute__((tls_model("initial-exec")));
/* And what it wants to do; 0: as above. */
extern __thread uint32_t gm_serviced_access __attribute__((tls_model("initial-exec")));
void gm_uffd_wake(const struct gm_user_as *u, uint64_t va, uint64_t len);
void gm_uffd_woken(uint64_t va, uint64_t len);

/* fail.c */
void gm_fail_report(struct gm_user_as *u, uint64_t va, uint32_t tid, uint64_t unmaps, int err);
bool gm_fail_gone(struct gm_user_as *u, uint64_t va);
void gm_fail_forget(struct gm_user_as *u, uint64_t va);
void gm_fail_unmap(struct gm_user_as *u, uint64_t va, uint64_t len);
void gm_fail_heal(struct gm_user_as *u, uint64_t va, uint64_t len);
void gm_fail_heal_locked(struct gm_user_as *u, uint64_t va, uint64_t len);
int gm_fail_expire(struct gm_user_as *u);

/* as.c */
int gm_user_as_fault(uint64_t va, uint32_t access);
void gm_user_as_put(struct gm_user_as *u);

/* ranges.c */
int gm_ranges_add(struct gm_user_as *u, uint64_t va, uint64_t len);
int gm_ranges_unmap(uint64_t va, uint64_t len);
struct gm_as *gm_ranges_find(uint64_t va);
struct gm_user_as *gm_ranges_get(uint64_t va);
int gm_ranges_add_in_place(struct gm_user_as *u, uint64_t va, uint64_t len);
int gm_ranges_give_back(struct gm_user_as *u, uint64_t va, uint64_t len);
bool gm_ranges_any(uint64_t va, uint64_t len);
bool gm_ranges_in_place(uint64_t va);
struct gm_user_as *gm_ranges_next_in_place(uint64_t *va, uint64_t *end);

/* map.c */
int gm_zap(uint64_t va, uint64_t len);
void gm_map_rearm(struct gm_region *r, uint64_t va, uint64_t len);

/* ------------------------------------------------------ memory registered in place */

/* Linux 6.8; Debian 12's headers are older. */
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
#endif

/* What an object has whose bytes are in memory of the application's. */
struct gm_user_place {
	struct gm_user_as *u;
	uint64_t base;	  /* where offset 0 would lie */
	uint64_t begin;	  /* the offset at which the memory begins */
	uint64_t *staged; /* a bit a page: its host bytes are in the staging area */
	uint64_t *armed;  /* a bit a page: the CPU faults where it is missing [lock] */
	pthread_mutex_t lock;
	bool protected;			   /* parts of the staging area may be; atomic */
	struct gm_user_place *prev, *next; /* [places] */
	uint64_t size;
};

/* place.c */
bool gm_place_is_armed(const struct gm_user_as *u, uint64_t va, uint64_t len);
int gm_place_create(struct gm_object *obj);
void gm_place_destroy(struct gm_object *obj);
int gm_place_map(struct gm_region *r);
void gm_place_disarm(struct gm_user_as *u, uint64_t va, uint64_t len);
int gm_place_arm(const struct gm_region *r, uint64_t va, uint64_t len);
int gm_place_cpu_map(struct gm_region *r, uint64_t va, uint64_t len);
int gm_place_revoke(struct gm_region *r, uint64_t va, uint64_t len);
int gm_place_open(struct gm_user_object *o, uint64_t off, uint64_t len);
int gm_place_access(struct gm_user_object *o, uint64_t off, void *buf, uint64_t len, bool write);
uint64_t gm_place_run(struct gm_user_object *o, uint64_t off, uint64_t len, bool *present);
void gm_place_free(struct gm_user_object *o, uint64_t off, uint64_t len);

/* place_fork.c */
bool gm_place_gate_shut(void);
void gm_place_list(struct gm_user_place *p);
void gm_place_unlist(struct gm_user_place *p);
void gm_place_forget(uint64_t va, uint64_t len);
bool gm_place_call_begin(void);
void gm_place_call_end(bool begun);
void gm_place_register_lock(void);
void gm_place_register_unlock(void);
void gm_place_before_fork(void);
void gm_place_after_fork(void);
bool gm_place_given_back(void);

/* The core's (as.c) and libgmem's: structs that begin with their size. */
int gm_options_copy(void *to, size_t size, const void *from, size_t from_size);

/* record.c */
void gm_record_event(const struct gm_event *event);
void gm_record_object_end(struct gm_object *obj);
void gm_record_drain(void);

/* probes.c */
void gm_probe(const struct gm_event_record *record);

/* sigbus.c */
/* si_code of a SIGBUS that fail.c sends: the page could not be brought home; its bytes are gone */
#define GM_SIGBUS_FAILED (-0x676d)
#define GM_SIGBUS_GONE (-0x676e)
void gm_sigbus_get(void);
void gm_sigbus_put(void);

/* os_misc.c: where the figures are read; tests point them elsewhere */
extern const char *gm_path_meminfo, *gm_path_self_cgroup, *gm_path_cgroup, *gm_path_nodes;
void gm_memory_low_reset(void);

/* ------------------------------------------------------------------------------ bits */

/* Bits are set and cleared atomically: a word may be shared by blocks with locks of their own. */
static inline uint64_t gm_bits_mask(uint64_t first, uint64_t n)
{
	uint64_t left = 64 - first % 64;

	return (n < left ? (1ULL << n) - 1 : ~0ULL) << first % 64;
}

static inline void gm_bits_set(uint64_t *bits, uint64_t first, uint64_t n)
{
	while (n) {
		uint64_t step = 64 - first % 64 < n ? 64 - first % 64 : n;

		__atomic_fetch_or(&bits[first / 64], gm_bits_mask(first, n), __ATOMIC_RELEASE);
		first += step;
		n -= step;
	}
}

static inline void gm_bits_clear(uint64_t *bits, uint64_t first, uint64_t n)
{
	while (n) {
		uint64_t step = 64 - first % 64 < n ? 64 - first % 64 : n;
		uint64_t mask = gm_bits_mask(first, n);

		/* Most words are clear, and a page of them that was never written stays unused. */
		if (__atomic_load_n(&bits[first / 64], __ATOMIC_RELAXED) & mask)
			__atomic_fetch_and(&bits[first / 64], ~mask, __ATOMIC_RELEASE);
		first += step;
		n -= step;
	}
}

/* From bit @first on, how many (at most @n) have the same value, and which. */
static inline uint64_t gm_bits_run(const uint64_t *bits, uint64_t first, uint64_t n, bool *value)
{
	uint64_t len = 0;

	*value = __atomic_load_n(&bits[first / 64], __ATOMIC_ACQUIRE) >> first % 64 & 1;
	while (len < n) {
		uint64_t i = first + len;
		uint64_t left = 64 - i % 64;
		uint64_t w = __atomic_load_n(&bits[i / 64], __ATOMIC_ACQUIRE);
		uint64_t differ = (*value ? ~w : w) >> i % 64;
		uint64_t alike = differ ? (uint64_t)__builtin_ctzll(differ) : left;

		if (alike < left)
			return len + alike < n ? len + alike : n;
		len += left;
	}
	return n;
}

#endif
