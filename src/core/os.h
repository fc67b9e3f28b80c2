/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Everything the core asks of its host.
 *
 * The core is linked with exactly one implementation of these functions:
 * src/host/linux-user, src/host/fake (tests), src/host/linux-kernel. It uses no
 * other symbol, but memcpy, memset, memmove and memcmp, which a compiler emits by
 * itself. CI checks this list against the core's undefined symbols.
 *
 * "Fails: ..." names the errors; a function without it cannot fail.
 * "Fault path" marks what is called while a fault is serviced: such a function
 * never touches managed memory and never waits for a fault to be serviced (I7).
 */
#ifndef GM_CORE_OS_H
#define GM_CORE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gmem/events.h>

struct gm_as;
struct gm_as_options;
struct gm_attrs;
struct gm_object;

/* A mapping of [offset, offset+len) of an object at [va, va+len) of an address space. */
struct gm_region {
	struct gm_as *as;
	struct gm_object *obj;
	uint64_t va;
	uint64_t len;
	uint64_t offset;
	uint32_t prot;		       /* GM_READ, GM_WRITE */
	void *host;		       /* the host's own */
	struct gm_region *prev, *next; /* the core's: the object's regions */
	uint64_t spare; /* the core's: bytes at the end that complete a device's base page */
	struct gm_attrs *attrs; /* the core's: hints that stay with its addresses; NULL: none */
};

/*
 * Where the host chooses an address, it agrees with the offset modulo this: then the object's
 * blocks, the largest leaves that the region has room for, or what devices map at least, are
 * aligned in the address space too.
 */
uint64_t gm_map_align(const struct gm_region *region);

/*
 * For a host that maps by itself what gm_alloc() would have: @len, and what any device needs to
 * map the last of it; that the last @spare bytes before @end are that; how many are so behind @end.
 */
uint64_t gm_units_complete(uint64_t len);
void gm_as_set_spare(struct gm_as *as, uint64_t end, uint64_t spare);
uint64_t gm_as_spare(struct gm_as *as, uint64_t end);
/* The same of what ends at @end with what was added. */
uint64_t gm_as_spare_in(struct gm_as *as, uint64_t end);

/* ------------------------------------------------------------------- memory */

/* Zeroed, page-aligned memory for pools and tables. Fails: NULL. Fault path; may sleep. */
void *gm_os_alloc(size_t size);
void gm_os_free(void *p, size_t size);

/* -------------------------------------------------------------------- locks */

/*
 * Storage for the host's own locks; each host asserts that they fit, and a build
 * may widen it (a kernel with lockdep). All are fault path.
 */
#ifndef GM_OS_LOCK_WORDS
#define GM_OS_LOCK_WORDS 5
#endif
#ifndef GM_OS_RWLOCK_WORDS
#define GM_OS_RWLOCK_WORDS 7
#endif
struct gm_os_mutex {
	uint64_t word[GM_OS_LOCK_WORDS];
};
struct gm_os_spin {
	uint64_t word[GM_OS_LOCK_WORDS];
};
struct gm_os_rwlock {
	uint64_t word[GM_OS_RWLOCK_WORDS];
};

void gm_os_mutex_init(struct gm_os_mutex *m);
void gm_os_mutex_destroy(struct gm_os_mutex *m);
void gm_os_mutex_lock(struct gm_os_mutex *m);
bool gm_os_mutex_trylock(struct gm_os_mutex *m);
void gm_os_mutex_unlock(struct gm_os_mutex *m);

/* A holder does not sleep. */
void gm_os_spin_init(struct gm_os_spin *s);
void gm_os_spin_destroy(struct gm_os_spin *s);
void gm_os_spin_lock(struct gm_os_spin *s);
void gm_os_spin_unlock(struct gm_os_spin *s);

/* Sleeping; a waiting writer holds off new readers, so readers must not nest. */
void gm_os_rwlock_init(struct gm_os_rwlock *l);
void gm_os_rwlock_destroy(struct gm_os_rwlock *l);
void gm_os_rwlock_rdlock(struct gm_os_rwlock *l);
void gm_os_rwlock_wrlock(struct gm_os_rwlock *l);
void gm_os_rwlock_unlock(struct gm_os_rwlock *l); /* either kind */

/*
 * A word of this thread's, for the debug builds' check of the lock order (core's
 * lock.h). NULL: the host checks the order by other means (lockdep).
 */
uint64_t *gm_os_lock_state(void);

/* ---------------------------------------------------------- time and threads */

uint64_t gm_os_now_ns(void);  /* monotonic */
unsigned int gm_os_cpu(void); /* the processor we run on, or did: to spread counters */
/*
 * Let other threads get on before a @tries-th try: at first just yield, then sleep, longer
 * from try to try, up to a millisecond, since who has what we want may not even be running.
 */
void gm_os_yield(unsigned int tries);
/* Sleep for @ns, or until a signal that kills. No lock is held. */
void gm_os_sleep(uint64_t ns);

/* Sleep while *word == value (spurious returns allowed); wake all sleepers of word. Fault path. */
void gm_os_wait(uint32_t *word, uint32_t value);
void gm_os_wake(uint32_t *word);

/*
 * Deferred work: fn runs once after each gm_os_work_schedule(), in a thread of the
 * host's that holds no lock; scheduling what is pending already does nothing.
 * Cancel waits for a run that has begun. The fake host runs work when a test says.
 */
struct gm_os_work {
	void (*fn)(struct gm_os_work *work);
	struct gm_os_work *next; /* the host's */
	uint32_t state;		 /* the host's; 0: idle */
};
void gm_os_work_schedule(struct gm_os_work *work); /* fault path; may be called under a spinlock */
void gm_os_work_cancel(struct gm_os_work *work);

/*
 * The same in threads for what takes long, so that it does not hold up deferred work. As many
 * tasks as gm_os_tasks() says, at least 1, run at once; a process or a machine has no more such
 * threads, and while it has them the number does not change.
 */
unsigned int gm_os_tasks(void);
void gm_os_task_schedule(struct gm_os_work *task); /* called with no lock held */
void gm_os_task_cancel(struct gm_os_work *task);

/*
 * What gm_sweep_start() was told as @host has ended, with 0 or -errno: tell who waits. Called
 * once, with no lock held, by whatever thread; @host is the host's alone from now on.
 */
void gm_os_job_done(void *host, int err);

/* --------------------------------------------------------------- diagnostics */

/*
 * A broken invariant: report and stop. (Linux's objtool knows its own functions of this kind only.)
 */
#ifndef GM_OS_NORETURN
#define GM_OS_NORETURN __attribute__((noreturn))
#endif
GM_OS_NORETURN void gm_os_bug(const char *file, int line, const char *what);
/* A driver or a program is wrong: one line for whoever runs it. @arg may be NULL. */
void gm_os_warn(const char *what, const char *arg);

/* ------------------------------------------------------------------- tracing */

/*
 * Kinds of events besides those of <gmem/events.h>, for a host that records what touches memory
 * (record.c). Nobody else hears of them.
 */
#define GM_EVENT_ACCESS ((enum gm_event_kind)(GM_EVENT_KINDS + 0)) /* a device accessed a page */
#define GM_EVENT_TOUCH                                                                             \
	((enum gm_event_kind)(GM_EVENT_KINDS + 1)) /* the CPU is about to, unmapped */
#define GM_EVENT_HINT                                                                              \
	((enum gm_event_kind)(GM_EVENT_KINDS + 2)) /* one was taken, but for DONTNEED */
#define GM_EVENT_PRESENT ((enum gm_event_kind)(GM_EVENT_KINDS + 3)) /* what a block begins with */
#define GM_EVENT_DISCARD ((enum gm_event_kind)(GM_EVENT_KINDS + 4)) /* by DONTNEED, or unmapped */
#define GM_EVENT_ALL (GM_EVENT_KINDS + 5U)

/*
 * What happened, once it has; <gmem/events.h> has the kinds and the fields, by these names:
 * @va is what it calls dev_addr, but in a fault of the CPU's the address touched, or 0; @n is
 * count.
 *
 * @as, @at and @obj may be NULL: not known, or nobody's; they live as long as the call. @at is
 * the address space that @addr is in.
 *
 * Of the kinds for recording @obj, @offset and @len are what it is about; @n is the access or
 * the advice; @to the node of who accesses, or of the hint. Where that is a device @bytes is its
 * memory, @pages its base page, and @ns a number that no other device has or had.
 */
struct gm_event {
	enum gm_event_kind kind;
	enum gm_why why;
	struct gm_as *as, *at;
	struct gm_object *obj;
	uint64_t offset, addr, va, len, bytes;
	uint64_t time; /* when it was over */
	uint64_t ns;   /* how long it took */
	uint32_t pages, n;
	uint32_t lines; /* ACCESS: of 64 bytes, see gm_record_access() */
	int from, to;	/* node ids */
	int err;
};

/*
 * An event of a kind that gm_trace() asked for. Called under any lock of the core's but a
 * spinlock: it does not sleep, and calls nothing of the core's but gm_as_id(),
 * gm_object_id() and gm_as_host(). Fault path.
 */
void gm_os_trace(const struct gm_event *event);

/* What the core has for its hosts to hand events on: ring.c. */
struct gm_ring;
int gm_ring_create(uint32_t records, struct gm_ring **ring); /* Fails: -EINVAL, -ENOMEM */
void gm_ring_destroy(struct gm_ring *ring);
/* From anywhere; false: it is full, and one more is lost. */
bool gm_ring_put(struct gm_ring *ring, const struct gm_event_record *record);
bool gm_ring_get(struct gm_ring *ring, struct gm_event_record *record);
bool gm_ring_empty(const struct gm_ring *ring);
uint64_t gm_ring_lost(const struct gm_ring *ring);
/* All but pid and tid. */
void gm_event_record(struct gm_event_record *to, const struct gm_event *event);

/* --------------------------------------------------------------- host backing */

/*
 * An object's bytes in host memory: pages that exist, or do not (and read as zero).
 * @off and @len are multiples of the page size. The host keeps what it needs in
 * obj->host.
 */
int gm_os_object_create(struct gm_object *obj, uint32_t flags); /* Fails: -ENOMEM, -EINVAL, ... */
/*
 * A flag that only gm_as_register() gives: the bytes that are in host backing are in the
 * application's own memory, where the object's one region lies. To map that region is to
 * take it into the address space, and to unmap it to give it back, as it is.
 */
#define GM_OBJECT_REGISTERED (1U << 31)
void gm_os_object_destroy(struct gm_object *obj);

/* The unit in which pages come, go and are mapped: 4 KiB, or 2 MiB. */
uint64_t gm_os_backing_granule(struct gm_object *obj);

/*
 * Make the pages exist (zero where they did not; @exist: the caller knows that all do)
 * and give the bus address of the first, for a copy engine, and how many bytes from
 * there on are contiguous: *got, a multiple of the page size, at least one page, at
 * most @len. Paired with backing_put of the same bytes. Fails: -ENOMEM (pages may exist
 * that did not); -EHWPOISON: the first page is in memory that has failed. Fault path.
 */
int gm_os_backing_get(struct gm_object *obj, uint64_t off, uint64_t len, bool exist, uint64_t *bus,
		      uint64_t *got);
void gm_os_backing_put(struct gm_object *obj, uint64_t off, uint64_t len);

/*
 * May a device map pages in place: do bus addresses of gm_os_backing_get() stay good, though
 * they were put, until gm_os_in_place_drop()? NULL: of any object at all?
 */
bool gm_os_backing_in_place(const struct gm_object *obj);

/*
 * A device is about to map bytes [off, off+len) in place, which are got at this moment: from
 * now on their pages stay where they are. To hold what is held already changes nothing. Fails:
 * -ENOMEM, also at a limit of the host's; some of the pages may be held then. Fault path.
 */
int gm_os_in_place_hold(struct gm_object *obj, uint64_t off, uint64_t len);
/*
 * No device maps any of it in place, nor has a translation of it; devices may have written it.
 * What is not held is passed over. Fault path. Both: block locked.
 */
void gm_os_in_place_drop(struct gm_object *obj, uint64_t off, uint64_t len);
/* Is anything of the object held? A host that holds nothing, for nothing moves, says no. */
bool gm_os_in_place_any(struct gm_object *obj);

/*
 * Read or write bytes of pages that exist; for hmemcpy, where no device has them. Fails:
 * -ENOMEM, -EHWPOISON.
 */
int gm_os_backing_read(struct gm_object *obj, uint64_t off, void *buf, uint64_t len);
int gm_os_backing_write(struct gm_object *obj, uint64_t off, const void *buf, uint64_t len);

/* A buffer that is no object's and that a copy engine can reach at *bus. Fails: NULL. */
void *gm_os_bounce_alloc(uint64_t size, uint64_t *bus);
void gm_os_bounce_free(void *buf, uint64_t size, uint64_t bus);

/*
 * For memory of the application's that is not managed: copy, however the host reaches
 * it. Fails: -EFAULT, where the host can tell.
 */
int gm_os_copy_plain(void *dst, const void *src, uint64_t len);

/*
 * From @off on, how many bytes (at most @len) are alike: all existing (*present =
 * true) or all not. Returns at least one page. Fault path.
 */
uint64_t gm_os_backing_run(struct gm_object *obj, uint64_t off, uint64_t len, bool *present);

/* Free the pages: they no longer exist, and no CPU mapping of them is left. Fault path. */
void gm_os_backing_free(struct gm_object *obj, uint64_t off, uint64_t len);

/* Bytes of metadata that the host keeps for objects, in use now. */
uint64_t gm_os_metadata_bytes(void);

/* Is host memory short, so that retained frames should go? */
bool gm_os_host_memory_low(void);
uint64_t gm_os_host_memory_total(void); /* bytes */

/* ----------------------------------------------------------- the CPU's mappings */

int gm_os_as_create(struct gm_as *as, const struct gm_as_options *opt);
/* No fault of @as is being serviced when it returns; called with no lock held. */
void gm_os_as_stop(struct gm_as *as);
void gm_os_as_destroy(struct gm_as *as);

/*
 * Reserve addresses for the region and let the CPU use them: region->as, obj,
 * offset, len and prot are set; with @fixed region->va is too, else the host
 * chooses it. Fails: -ENOMEM, -EEXIST, -EINVAL. Address space locked for writing.
 */
int gm_os_region_map(struct gm_region *region, bool fixed);
/*
 * The reverse, for a part of a region. Fails: -ENOMEM; but not for the whole of a
 * region that was just mapped, be it armed, so that a map can be undone. Address space locked
 * for writing.
 */
int gm_os_region_unmap(struct gm_region *region, uint64_t va, uint64_t len);
/*
 * [*va, *va+len), which are free, and are kept free until they are released (gm_os_region_map()
 * does not map there either); *va is @like but for a multiple of 2 MiB. Fails: -ENOMEM.
 * Address space locked for writing. Asked by gm_as_remap() only: a host that lacks it moves
 * mappings in its own way.
 */
int gm_os_va_reserve(struct gm_as *as, uint64_t len, uint64_t like, uint64_t *va);
void gm_os_va_release(struct gm_as *as, uint64_t va, uint64_t len);
/* A region was split in two; both have all fields but host. Fails: -ENOMEM. */
int gm_os_region_split(struct gm_region *low, struct gm_region *high);
/* Its last part was unmapped: forget region->host. */
void gm_os_region_free(struct gm_region *region);
/* Change the CPU's protection. Fails: -ENOMEM. Address space locked for writing. */
int gm_os_region_protect(struct gm_region *region, uint64_t va, uint64_t len, uint32_t prot);

/*
 * A region begins disarmed: the CPU fills its pages without the core's help. Arm:
 * from now on, an access of the CPU to [va, va+len) where nothing is mapped is
 * delivered to gm_cpu_fault(); mappings that exist stay. A host may arm more than
 * it is asked to. Arming twice is harmless. Fails: -ENOMEM. Fault path.
 */
int gm_os_cpu_arm(struct gm_region *region, uint64_t va, uint64_t len);

/*
 * Map the region's own pages at [va, va+len), which exist, and wake who waits for
 * them. Pages that are mapped already are passed over, but those that are mapped for
 * reading only can be written from now on. Fails: -ENOMEM; -EIO: it cannot
 * be done, so the fault fails (-EFAULT would say that the memory is not managed). Fault
 * path.
 */
int gm_os_cpu_map(struct gm_region *region, uint64_t va, uint64_t len);
/*
 * The same for reading only: to write one of these pages is a fault, with access GM_WRITE. None
 * of them is mapped so that it can be written. Fails: as above; -EOPNOTSUPP: this host, kernel or
 * region cannot do that, and nothing was mapped. Fault path.
 */
int gm_os_cpu_map_read(struct gm_region *region, uint64_t va, uint64_t len);

/*
 * Map memory of a device, which the CPU has at address @cpu (gm_os_aperture_open()), at
 * [va, va+len); as gm_os_cpu_map() otherwise.
 */
int gm_os_cpu_map_aperture(struct gm_region *region, uint64_t va, uint64_t len, uint64_t cpu);

/*
 * Unmap pages of an armed range: when it returns the CPU cannot reach them but by a
 * fault. The pages go on existing. Fails: -ENOMEM, -EINVAL. Fault path.
 */
int gm_os_cpu_revoke(struct gm_region *region, uint64_t va, uint64_t len);
/*
 * The same for bytes [off, off+len) of an object, at whatever address, be it in a region or
 * not; asked first. Fails: as above; -EOPNOTSUPP: all mappings are regions', ask for each. Block
 * locked. Fault path.
 */
int gm_os_object_revoke(struct gm_object *obj, uint64_t off, uint64_t len);

/*
 * Device memory at address @cpu of the CPU's own, coherent with its caches; multiples of
 * 2 MiB. Open: it may be mapped. Fails: -EOPNOTSUPP; -EINVAL, -EBUSY: no such memory, or
 * somebody else's; -ENOMEM. Close: nothing of it is mapped, and all is idle. Idle: no page
 * is held by anything but mappings; none comes to be held while it is not mapped.
 */
int gm_os_aperture_open(uint64_t cpu, uint64_t len);
void gm_os_aperture_close(uint64_t cpu, uint64_t len);
bool gm_os_aperture_idle(uint64_t cpu, uint64_t len);

/*
 * May this process use gmem? Every public function of the core's asks first, before it
 * takes a lock. Fails: -EPERM in a child of fork(), which inherits nothing; whatever
 * gm_core_init() failed with.
 */
int gm_os_usable(void);

/* Ids of NUMA nodes with memory of the CPU's own are below this; hnodes start here. */
int gm_os_numa_nodes(void);

/* ================================================ what the core offers its host */

/* Before the first call of anything else; after the last object is gone. Fails: -ENOMEM. */
int gm_core_init(void);
void gm_core_exit(void);

/*
 * Call gm_os_trace() for events of this kind as long as one more has said so than has taken it
 * back. At any time, in any context.
 */
void gm_trace(enum gm_event_kind kind, bool on);

/*
 * For a host that records: tell that a device has accessed @va, which is its own address of the
 * byte; that the CPU is about to. Each becomes an event, if it was asked
 * for. Called with no lock held.
 */
struct gm_context;
void gm_note_access(struct gm_context *ctx, uint64_t va, uint32_t access, uint32_t lines);
void gm_note_cpu(struct gm_as *as, uint64_t va, uint32_t access);

/* A number that no other address space, or object, has or had; not 0. */
uint64_t gm_as_id(const struct gm_as *as);
uint64_t gm_object_id(const struct gm_object *obj);

/* The host's own pointers, NULL at first. */
void **gm_as_host(struct gm_as *as);
void **gm_object_host(struct gm_object *obj);
uint64_t gm_object_size(const struct gm_object *obj);
uint32_t gm_object_flags(const struct gm_object *obj);

/*
 * The CPU touched @va, where the host has nothing mapped. 0: it is mapped, or was
 * mapped meanwhile: let the access be made again. -EFAULT: not managed memory (any
 * more). -EHWPOISON: the page's bytes are gone. Another -errno: the page could not be
 * brought home and is where it was.
 * Called with no lock held. Sleeps for a while (gm_os_sleep()) if the page goes back and forth,
 * see pingpong.c.
 */
int gm_cpu_fault(struct gm_as *as, uint64_t va, uint32_t access);
/*
 * The same for a host that makes the thread which faulted wait by itself. *until not 0: the
 * fault is not serviced, and should be tried again at that time, with @until NULL: it
 * waits no more then.
 */
int gm_cpu_fault_try(struct gm_as *as, uint64_t va, uint32_t access, uint64_t *until);

/*
 * For a host whose CPU faults name an object and an offset, and which maps what they
 * find by itself: for reading only, unless @found->write is set. 0: the page at @off is in host
 * backing, where what devices had around it is home too, or, if @apertures says that the host can
 * map such memory, on a device where the CPU reaches it. *found says what may be mapped, and its
 * block is locked, so that all stays so until gm_block_unlock(); or found->block is NULL: no device
 * has touched the block, see gm_object_touched(). @as is charged; may be NULL. Fails: as
 * gm_cpu_fault(). Called with no lock held.
 */
struct gm_block;
struct gm_found {
	bool write; /* in: what is mapped can be written without a fault; replicas go */
	struct gm_block *block;
	uint64_t from, to; /* offsets of the object: what may be mapped along, @off included */
	uint64_t cpu;	   /* of the first byte at @from, on a device; 0: in host backing */
	bool waits;	   /* in: the caller can wait, as with gm_cpu_fault_try() */
	uint64_t until;	   /* not 0, and -EAGAIN: until then */
};
int gm_object_fault(struct gm_object *obj, struct gm_as *as, uint64_t off, bool apertures,
		    struct gm_found *found);
void gm_block_unlock(struct gm_block *block);

/*
 * The memory of a device's that the CPU has at address @cpu (gm_os_aperture_open()) has
 * failed: as gm_dev_poison(). gm_os_aperture_close() may be waiting for the caller, so this
 * gives up after a while: -EBUSY. Called with no lock held.
 */
int gm_aperture_poison(uint64_t cpu);

/*
 * Has a device touched the block of @off? Once gm_os_cpu_arm() was called for a block the
 * answer is yes; before that call a host may fill the block without the core's help.
 */
bool gm_object_touched(struct gm_object *obj, uint64_t off);

/* Is any device attached that maps host memory in place? */
bool gm_in_place(void);

/*
 * Accounts: the objects of one hold no more of any device's memory than a percentage of
 * it. *@percent, 1 to 100, is the host's and read at every allocation; it may change at any
 * time (one store) and outlives the account. An object gets its account before anybody else
 * can find it, and keeps it; the host destroys an account that no object has any more.
 * Fails: -ENOMEM.
 */
struct gm_account;
int gm_account_create(const uint32_t *percent, struct gm_account **account);
void gm_account_destroy(struct gm_account *account);
void gm_object_set_account(struct gm_object *obj, struct gm_account *account);
/* Bytes of the device with this node; 0 if there is neither account nor device. */
uint64_t gm_account_used(const struct gm_account *account, int hnode);

/* Of so many pages. */
static inline uint64_t gm_account_limit(uint64_t total, uint32_t percent)
{
	return total * percent / 100;
}

/* A reference more, for a mapping that belongs to no address space; gm_object_put() ends it. */
void gm_object_get(struct gm_object *obj);

/* Is va mapped in as? A hint, unless the caller keeps others from unmapping. */
bool gm_as_covers(struct gm_as *as, uint64_t va);

/* The first address of [va, end) that is mapped, and how far its region goes; or @end. */
uint64_t gm_as_next(struct gm_as *as, uint64_t va, uint64_t end, uint64_t *len);

/*
 * Cut the region that covers va in two there, so that either part can go. Fails: as gm_as_unmap().
 */
int gm_as_carve(struct gm_as *as, uint64_t va);

/*
 * Take [va, va+len), page-aligned memory of the application's, into @as, through an object
 * of its own with GM_OBJECT_REGISTERED, and give it, or a part, back once all of it is home
 * and mapped; if that fails, what is not home stays registered. Fails: as gm_as_map(), and as
 * gm_as_unmap(); -EINVAL: not all of it was registered.
 */
int gm_as_register(struct gm_as *as, uint64_t va, uint64_t len);
int gm_as_unregister(struct gm_as *as, uint64_t va, uint64_t len);

/*
 * Bring home what devices have of [va, va+len) and map what is in host backing. What is not
 * mapped is passed over. Fails: as a CPU fault. Called with no lock held.
 */
int gm_as_home(struct gm_as *as, uint64_t va, uint64_t len);

/* Host memory is short: give a part of the retained frames back. Called with no lock held. */
void gm_memory_low(void);

/*
 * What hmadvise(), hmemcpy() and gm_query() do once the host has found the address
 * space: an application's addresses carry none. For gm_copy NULL means memory that
 * is not managed, and the address is a plain pointer.
 */
int gm_advise(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice);
int gm_copy(int hnode, struct gm_as *dst_as, uint64_t dst, struct gm_as *src_as, uint64_t src,
	    uint64_t len);

/*
 * Hints carried out in the background. Start: @n of them, which are copied; @host is the
 * host's own, for gm_os_job_done(), which may come before this returns. Fails: -EINVAL: a range
 * that is empty or overflows, an advice that does not exist, none or too many of them (nothing
 * else is looked at yet); -EAGAIN: too many are under way in @as; -ENOMEM.
 * Cancel: no more of it is begun; it ends soon, with -ECANCELED, unless it has failed or all of it
 * was begun before. Put: the caller needs *sweep no more, be it ended or not.
 * gm_as_destroy() cancels what is under way, and waits until all was told of.
 */
struct gm_sweep;
struct gm_hint;
int gm_sweep_start(struct gm_as *as, const struct gm_hint *hints, unsigned int n, void *host,
		   struct gm_sweep **sweep);
void gm_sweep_cancel(struct gm_sweep *sweep);
void gm_sweep_put(struct gm_sweep *sweep);

/* The name and the counters of the device with this node. Fails: -ENODEV. */
#define GM_DEV_NAME 32U
struct gm_stats;
int gm_hnode_stats(int hnode, char name[GM_DEV_NAME], struct gm_stats *stats);
/* gm_dev_tune() of the device with this node. Fails: as that, -ENODEV. */
struct gm_dev_tunables;
int gm_hnode_tune(int hnode, const struct gm_dev_tunables *t);
/*
 * gm_dev_set_policy() and gm_dev_policy() of the device with this node. Fails: as those, -ENODEV.
 */
int gm_hnode_set_policy(int hnode, const char *names);
int gm_hnode_policy(int hnode, char *names, size_t len);
struct gm_page_info;
int gm_as_query(struct gm_as *as, uint64_t va, uint64_t len, struct gm_page_info *info);
/*
 * A host that moves mappings in its own way has just mapped at @va what is mapped elsewhere in @as,
 * and goes from there next: hints that stay go along.
 */
void gm_as_attrs_follow(struct gm_as *as, uint64_t va);
/* gm_attr_query() in @as. */
struct gm_attr;
int gm_as_attr(struct gm_as *as, uint64_t va, uint64_t len, struct gm_attr *attr);

#endif
