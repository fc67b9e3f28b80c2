/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The six functions of openEuler's libgmem, on gmem: for programs that are written for those.
 *
 *	gmemPrefetch, gmemFreeEager, gmemGetNumaId	as they are there
 *	malloc, free, realloc				gmem_malloc, gmem_free, gmem_realloc;
 *		by their own names too in a file that defines GMEM_MALLOC before it includes this
 *
 * There the kernel knows the process's one address space, and the runtime library of the device
 * which device is in use. Here the program says so, by two functions more: gmemAddressSpace()
 * has what devices are to be attached to, gmemSetDevice() names the one in use.
 * libgmem(3) has what differs besides.
 *
 * There is nothing to link but libgmem (-lgmem), and -pthread. Functions return 0 or -errno, of
 * gmem.h's meanings. What all files of a program share is in one weak variable.
 *
 * Locking: gmem_state.lock, over calls of libgmem that map and unmap; it is never held
 * while managed memory is touched, whose faults may take long.
 */
#ifndef GMEM_LIBGMEM_H
#define GMEM_LIBGMEM_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <gmem/gmem.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GMEM_MIN_SHIFT 6U /* the smallest object has 64 bytes, each order twice as many */
#define GMEM_ORDERS 14U	  /* up to 512 KiB; what is larger has blocks of its own */
#define GMEM_HASHES 1024U

/* What one gm_alloc() has given: one large object, or a block of objects of one order. */
struct gmem_piece {
	struct gmem_piece *next; /* with this hash */
	struct gmem_piece *room; /* of this order, with free objects */
	char *addr;
	size_t len;	  /* bytes that are mapped */
	unsigned int log; /* of an object's size; 0: it is one object */
	uint32_t nfree;
	uint16_t *free; /* which; of a large object there is none */
};

struct gmem_state {
	pthread_mutex_t lock;
	struct gm_as *as; /* made when it is first asked for */
	int device;	  /* its node, or -ENODEV */
	int (*wait)(void *stream);
	struct gmem_piece *piece[GMEM_HASHES]; /* by address */
	struct gmem_piece *room[GMEM_ORDERS];
};

__attribute__((weak)) struct gmem_state gmem_state = {
	PTHREAD_MUTEX_INITIALIZER, NULL, -ENODEV, NULL, { NULL }, { NULL }
};

/* ------------------------------------------------- what there needs no saying */

static inline int gmem_space(struct gm_as **as)
{
	int err = gmem_state.as ? 0 : gm_as_create(NULL, &gmem_state.as);

	*as = gmem_state.as;
	return err;
}

/**
 * gmemAddressSpace - the address space of gmem_malloc(), for devices to be attached to
 *
 * Made by the first call that needs it, as by gm_as_create(NULL); create the first device before,
 * see gm_sim(3). It ends with the process, or by gm_as_destroy(), after which nothing of this
 * header may be called.
 */
static inline int gmemAddressSpace(struct gm_as **as)
{
	int err;

	pthread_mutex_lock(&gmem_state.lock);
	err = gmem_space(as);
	pthread_mutex_unlock(&gmem_state.lock);
	return err;
}

/**
 * gmemSetDevice - which device is in use, in the whole process
 * @hnid: gm_dev_hnode() of a device that is attached to the address space
 * @wait: 0 when all that was queued in @stream is done, or -errno; NULL: there are no streams
 */
static inline void gmemSetDevice(int hnid, int (*wait)(void *stream))
{
	pthread_mutex_lock(&gmem_state.lock);
	gmem_state.device = hnid;
	gmem_state.wait = wait;
	pthread_mutex_unlock(&gmem_state.lock);
}

/* ----------------------------------------------------------------- the six */

/** gmemGetNumaId - the node of the device in use; -ENODEV: none is */
static inline int gmemGetNumaId(void)
{
	int device;

	pthread_mutex_lock(&gmem_state.lock);
	device = gmem_state.device;
	pthread_mutex_unlock(&gmem_state.lock);
	return device;
}

/**
 * gmemPrefetch - move [addr, addr+size), rounded outward, to a node, which then has no fault on it
 * @stream: whatever it is the call is done when it returns, before what the stream has yet to do
 */
static inline int gmemPrefetch(unsigned long addr, size_t size, int hnid, void *stream)
{
	(void)stream;
	return size ? hmadvise(hnid, (void *)addr, size, GM_PREFETCH) : 0;
}

/**
 * gmemFreeEager - drop the bytes of [addr, addr+size), rounded inward; it then reads as zero
 * @stream: not NULL: once all that is queued in it now is done, for which the call waits
 *
 * 0, too, where there is no whole page. -EOPNOTSUPP: a stream, and gmemSetDevice() has not said
 * how to wait for one.
 */
static inline int gmemFreeEager(unsigned long addr, size_t size, void *stream)
{
	unsigned long page = GM_PAGE_SIZE, end = (addr + size) & ~(page - 1);
	unsigned long begin = (addr + page - 1) & ~(page - 1);
	int (*wait)(void *queue);
	int err;

	if (addr + size < addr || begin < addr)
		return -EINVAL;
	if (begin >= end)
		return 0;
	if (stream) {
		pthread_mutex_lock(&gmem_state.lock);
		wait = gmem_state.wait;
		pthread_mutex_unlock(&gmem_state.lock);
		err = wait ? wait(stream) : -EOPNOTSUPP;
		if (err)
			return err;
	}
	return hmadvise(GM_NODE_NONE, (void *)begin, end - begin, GM_DONTNEED);
}

static inline struct gmem_piece **gmem_slot(const void *addr)
{
	return &gmem_state.piece[(uintptr_t)addr / GM_BLOCK_SIZE % GMEM_HASHES];
}

/* The piece that an object is in; NULL: it is none of ours. */
static inline struct gmem_piece *gmem_find(const void *object)
{
	struct gmem_piece *p = *gmem_slot(object);

	while (p && (object < (void *)p->addr || (const char *)object >= p->addr + p->len ||
		     (!p->log && object != (void *)p->addr)))
		p = p->next;
	return p;
}

static inline void gmem_forget(struct gmem_piece *piece)
{
	struct gmem_piece **at = gmem_slot(piece->addr);

	while (*at != piece)
		at = &(*at)->next;
	*at = piece->next;
}

static inline void gmem_remember(struct gmem_piece *piece)
{
	struct gmem_piece **at = gmem_slot(piece->addr);

	piece->next = *at;
	*at = piece;
}

/* @len: a multiple of blocks, so that it is whole base pages whatever the devices' are. */
static inline struct gmem_piece *gmem_piece_create(size_t len, unsigned int log)
{
	size_t n = log ? len >> log : 0;
	struct gmem_piece *piece = (struct gmem_piece *)malloc(sizeof(*piece) + n * 2);
	struct gm_as *as;
	void *addr;

	if (!piece)
		return NULL;
	if (gmem_space(&as) || gm_alloc(as, len, 0, &addr)) {
		free(piece);
		return NULL;
	}
	piece->room = NULL;
	piece->addr = (char *)addr;
	piece->len = len;
	piece->log = log;
	piece->nfree = (uint32_t)n;
	piece->free = (uint16_t *)(void *)(piece + 1);
	for (size_t i = 0; i < n; i++)
		piece->free[i] = (uint16_t)(n - 1 - i);
	gmem_remember(piece);
	return piece;
}

/* 0: a device does not let go of it, and it stays, to be freed again. */
static inline int gmem_piece_destroy(struct gmem_piece *piece)
{
	if (gm_as_unmap(gmem_state.as, piece->addr, piece->len))
		return 0;
	gmem_forget(piece);
	free(piece);
	return 1;
}

static inline unsigned int gmem_log(size_t size)
{
	unsigned int log = GMEM_MIN_SHIFT;

	while (log < GMEM_MIN_SHIFT + GMEM_ORDERS && (size_t)1 << log < size)
		log++;
	return log;
}

static inline void *gmem_small(unsigned int log)
{
	struct gmem_piece **room = &gmem_state.room[log - GMEM_MIN_SHIFT], *p = *room;

	if (!p) {
		p = gmem_piece_create(GM_BLOCK_SIZE, log);
		if (!p)
			return NULL;
		*room = p;
	}
	p->nfree--;
	if (!p->nfree)
		*room = p->room;
	return p->addr + ((size_t)p->free[p->nfree] << log);
}

/** gmem_malloc - managed memory, as malloc(3): of 2 MiB or more its address is a multiple of that */
static inline void *gmem_malloc(size_t size)
{
	unsigned int log = gmem_log(size);
	struct gmem_piece *piece = NULL;
	void *object;

	pthread_mutex_lock(&gmem_state.lock);
	if (log < GMEM_MIN_SHIFT + GMEM_ORDERS) {
		object = gmem_small(log);
	} else {
		if (size <= GM_OBJECT_MAX_SIZE)
			piece = gmem_piece_create((size + GM_BLOCK_SIZE - 1) & ~(GM_BLOCK_SIZE - 1),
						  0);
		object = piece ? piece->addr : NULL;
	}
	pthread_mutex_unlock(&gmem_state.lock);
	if (!object)
		errno = ENOMEM;
	return object;
}

/* Take an object back; a block that has become free goes unless it is its order's only one. */
static inline void gmem_put(struct gmem_piece *p, const void *object)
{
	struct gmem_piece **room, *next;

	if (!p->log) {
		gmem_piece_destroy(p);
		return;
	}
	room = &gmem_state.room[p->log - GMEM_MIN_SHIFT];
	if (!p->nfree) {
		p->room = *room;
		*room = p;
	}
	p->free[p->nfree++] = (uint16_t)((size_t)((const char *)object - p->addr) >> p->log);
	if (p->nfree < p->len >> p->log || (*room == p && !p->room))
		return;
	while (*room != p)
		room = &(*room)->room;
	next = p->room;
	if (gmem_piece_destroy(p))
		*room = next;
}

/** gmem_free - of gmem_malloc()'s memory, or of malloc(3)'s */
static inline void gmem_free(void *object)
{
	struct gmem_piece *piece;
	int err = errno;

	pthread_mutex_lock(&gmem_state.lock);
	piece = gmem_find(object);
	if (piece)
		gmem_put(piece, object);
	pthread_mutex_unlock(&gmem_state.lock);
	if (!piece)
		free(object);
	errno = err;
}

/* A large object that stays one: what it holds stays where it is, be it on a device. */
static inline void *gmem_resize(struct gmem_piece *piece, size_t size)
{
	size_t len = (size + GM_BLOCK_SIZE - 1) & ~(GM_BLOCK_SIZE - 1);
	void *addr = piece->addr;

	if (size > GM_OBJECT_MAX_SIZE)
		return NULL;
	if (len == piece->len)
		return addr;
	if (gm_as_remap(gmem_state.as, piece->addr, piece->len, len, GM_REMAP_MAYMOVE, &addr))
		return NULL;
	gmem_forget(piece);
	piece->addr = (char *)addr;
	piece->len = len;
	gmem_remember(piece);
	return addr;
}

/** gmem_realloc - as realloc(3), of gmem_malloc()'s memory; of malloc(3)'s it is realloc(3) */
static inline void *gmem_realloc(void *object, size_t size)
{
	unsigned int log = gmem_log(size);
	int large = log == GMEM_MIN_SHIFT + GMEM_ORDERS, stays = 0;
	struct gmem_piece *piece;
	void *to = NULL;
	size_t had = 0;

	if (!object)
		return gmem_malloc(size);
	pthread_mutex_lock(&gmem_state.lock);
	piece = gmem_find(object);
	if (piece && size) {
		had = piece->log ? (size_t)1 << piece->log : piece->len;
		stays = piece->log ? piece->log == log : large;
		if (stays)
			to = piece->log ? object : gmem_resize(piece, size);
	}
	pthread_mutex_unlock(&gmem_state.lock);
	if (!piece)
		return realloc(object, size);
	if (!size) {
		gmem_free(object);
		return NULL;
	}
	if (!stays) {
		to = gmem_malloc(size);
		if (to) {
			memcpy(to, object, had < size ? had : size);
			gmem_free(object);
		}
	}
	if (!to)
		errno = ENOMEM;
	return to;
}

#ifdef GMEM_MALLOC
#define malloc(size) gmem_malloc(size)
#define free(object) gmem_free(object)
#define realloc(object, size) gmem_realloc(object, size)
#endif

#ifdef __cplusplus
}
#endif
#endif
