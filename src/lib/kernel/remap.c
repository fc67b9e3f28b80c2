// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * gm_as_remap() on the kernel host, by mremap(2).
 *
 * What is one mapping to us (core/remap.c has the rules, which are the same here) may be
 * several to mremap(2): what mprotect() has cut, and what memory of gm_alloc() has grown by.
 * These are asked for (GMEM_MAPPING) and moved one by one, to addresses that are kept free
 * for all of them; if one cannot go, those that have gone come back.
 *
 * Memory of gm_alloc() grows by bytes of its object that were never anybody's, or by a further
 * object with the same tag, so what it gets is zero.
 *
 * Locking: none. Who changes a mapping while another remaps it may see either half done, as
 * with mremap(2); no byte is lost.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel.h"

#define TRIES 10

struct remap {
	struct gm_as *as;
	uint64_t va, old_len, new_len, to;
	uint32_t flags;
	struct gmem_mapping last; /* the mapping that has the end */
	int fd;			  /* an object to grow by, or -1 */
	uint64_t offset;	  /* where in it */
	uint64_t held[TRIES];	  /* addresses that nobody else gets, new_len each */
	unsigned int nr_held;
};

static void *pointer(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

static int mapping_at(struct gm_as *as, uint64_t va, uint32_t flags, struct gmem_mapping *m)
{
	*m = (struct gmem_mapping){ .size = sizeof(*m), .flags = flags, .addr = va };
	return gm_as_request(as, GMEM_MAPPING, m);
}

static bool one_mapping(const struct gmem_mapping *a, const struct gmem_mapping *b)
{
	if (a->prot != b->prot)
		return false;
	if (a->object == b->object && a->offset + a->len == b->offset)
		return true;
	return a->tag && a->tag == b->tag;
}

static int check(struct remap *m)
{
	uint64_t end = m->va + m->old_len, unit;
	struct gmem_mapping next;
	int err = mapping_at(m->as, m->va, 0, &m->last);

	while (!err && m->last.begin + m->last.len < end) {
		err = mapping_at(m->as, m->last.begin + m->last.len, 0, &next);
		if (!err && !one_mapping(&m->last, &next))
			err = -EFAULT;
		m->last = next;
	}
	if (err)
		return err;
	/* What gm_alloc() has added to the last base page is in the way, and nobody's. */
	if (m->last.spare && m->last.begin + m->last.len - m->last.spare == end &&
	    (m->new_len != m->old_len || (m->flags & GM_REMAP_FIXED))) {
		munmap(pointer(end), m->last.spare);
		m->last.len -= m->last.spare;
	}
	unit = m->last.object_flags & GMEM_OBJECT_HUGE ? GM_BLOCK_SIZE : GM_PAGE_SIZE;
	if ((m->va | m->old_len | m->new_len | m->to) % unit)
		return -EINVAL;
	return m->new_len > m->old_len && unit > GM_PAGE_SIZE ? -EOPNOTSUPP : 0;
}

/* ----------------------------------------------------------------------------- addresses */

/* Take addresses that are free: [va, va+new_len), or anywhere in step with what is remapped. */
static int hold(struct remap *m, bool fixed)
{
	uint64_t room = fixed ? m->new_len : m->new_len + GM_BLOCK_SIZE, base, va;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (fixed ? MAP_FIXED_NOREPLACE : 0);
	void *p = mmap(fixed ? pointer(m->to) : NULL, room, PROT_NONE, flags, -1, 0);

	if (p == MAP_FAILED)
		return errno == EEXIST ? -EEXIST : -ENOMEM;
	base = (uint64_t)(uintptr_t)p;
	va = fixed ? base : base + ((m->va - base) & (GM_BLOCK_SIZE - 1));
	if (va > base)
		munmap(p, va - base);
	if (base + room > va + m->new_len)
		munmap(pointer(va + m->new_len), base + room - va - m->new_len);
	m->held[m->nr_held++] = m->to = va;
	return 0;
}

/* All that was held last, lest the kernel choose it again: an attempt has left holes in it. */
static void hold_again(struct remap *m)
{
	if (!m->nr_held || m->held[m->nr_held - 1] != m->to)
		return;
	munmap(pointer(m->to), m->new_len);
	if (mmap(pointer(m->to), m->new_len, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
		 0) != pointer(m->to))
		m->nr_held--;
}

/* One piece, which is all one mapping of the kernel's; @to is held. */
static int move_piece(uint64_t va, uint64_t len, uint64_t new_len, uint64_t to)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	return mremap(pointer(va), len, new_len, flags, pointer(to)) == MAP_FAILED ? -errno : 0;
}

/* The addresses that @va..+len has left are taken again first, lest somebody else's be lost. */
static bool move_back(const struct remap *m, uint64_t done)
{
	uint64_t at = 0, len;
	struct gmem_mapping piece;
	bool all = true;

	for (; at < done; at += len) {
		len = done - at;
		if (!mapping_at(m->as, m->to + at, 0, &piece) &&
		    piece.begin + piece.len < m->to + done)
			len = piece.begin + piece.len - m->to - at;
		if (mmap(pointer(m->va + at), len, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
			 0) != pointer(m->va + at) ||
		    move_piece(m->to + at, len, len, m->va + at))
			all = false;
	}
	return all;
}

/* ------------------------------------------------------------------------------- growing */

/* How the mapping gets longer: by its own object (fd -1), or by another. */
static int prepare(struct remap *m)
{
	uint64_t end = m->va + m->old_len, more = m->new_len - m->old_len;
	uint64_t offset = end - m->last.begin + m->last.offset, size;

	m->fd = -1;
	if (more <= m->last.bytes - offset && (!m->last.tag || offset >= m->last.top))
		return 0;
	if (!m->last.tag)
		return -EINVAL;
	m->offset = end & (GM_BLOCK_SIZE - 1);
	size = m->offset + (more > m->old_len ? more : m->old_len);
	m->fd = gm_k_object_new(size < GM_OBJECT_MAX_SIZE ? size : m->offset + more,
				m->last.object_flags, m->last.tag);
	return m->fd < 0 ? m->fd : 0;
}

static int map_more(const struct remap *m, uint64_t va)
{
	void *p = pointer(va);

	return gm_k_map_fd(m->as, m->fd, m->offset, m->new_len - m->old_len, m->last.prot,
			   GM_MAP_FIXED, &p);
}

static int grow_in_place(const struct remap *m)
{
	uint64_t begin = m->last.begin > m->va ? m->last.begin : m->va;
	uint64_t end = m->va + m->old_len, more = m->new_len - m->old_len;
	struct gmem_mapping now;
	int err;

	if (end != m->last.begin + m->last.len)
		return -EEXIST;
	if (m->fd >= 0)
		return map_more(m, end);
	if (mremap(pointer(begin), end - begin, end - begin + more, 0) == MAP_FAILED)
		return errno == ENOMEM ? -EEXIST : -errno;
	err = mapping_at(m->as, begin, GMEM_MAPPING_SHOW, &now);
	if (err)
		munmap(pointer(end), more);
	return err;
}

/* -------------------------------------------------------------------------------- moving */

static int move_all(struct remap *m, uint64_t len, bool longer)
{
	uint64_t at = 0, n, more = longer ? m->new_len - m->old_len : 0;
	struct gmem_mapping piece;
	int err = 0;

	for (; at < len && !err; at += err ? 0 : n) {
		err = mapping_at(m->as, m->va + at, 0, &piece);
		if (err)
			break;
		n = piece.begin + piece.len - m->va - at;
		n = n < len - at ? n : len - at;
		err = move_piece(m->va + at, n, at + n == len ? n + more : n, m->to + at);
	}
	if (err && !move_back(m, at))
		m->nr_held--; /* what stays there is not to be unmapped */
	return err;
}

/* To addresses that are held, the last of m->held. */
static int move_to(struct remap *m)
{
	uint64_t len = m->old_len < m->new_len ? m->old_len : m->new_len;
	bool grows = m->new_len > m->old_len;
	int err = 0;

	if (grows && m->fd >= 0) {
		munmap(pointer(m->to + len), m->new_len - len);
		err = map_more(m, m->to + len);
	}
	if (!err)
		err = move_all(m, len, grows && m->fd < 0);
	if (!err)
		m->nr_held--; /* these are used */
	return err;
}

static int move(struct remap *m)
{
	bool fixed = m->flags & GM_REMAP_FIXED;
	int err = 0;

	for (int tries = 0; tries < TRIES; tries++) {
		err = hold(m, fixed);
		if (!err)
			err = move_to(m);
		if (fixed || (err != -EADDRINUSE && err != -EEXIST))
			break;
		hold_again(m);
	}
	return err;
}

static int remap(struct remap *m)
{
	struct gmem_unmap tail = { .size = sizeof(tail), .addr = m->va + m->new_len };
	bool fixed = m->flags & GM_REMAP_FIXED;
	int err = check(m);

	if (err)
		return err;
	if (m->new_len < m->old_len) {
		tail.len = m->old_len - m->new_len;
		err = gm_as_request(m->as, GMEM_UNMAP, &tail);
	} else if (m->new_len > m->old_len) {
		err = prepare(m);
	}
	if (err || fixed)
		return err ? err : move(m);
	m->to = m->va;
	if (m->new_len <= m->old_len)
		return 0;
	err = grow_in_place(m);
	if (err != -EEXIST && err != -EADDRINUSE)
		return err;
	return m->flags & GM_REMAP_MAYMOVE ? move(m) : -ENOMEM;
}

static bool args_ok(const struct remap *m)
{
	uint64_t end = m->va + m->old_len, to_end = m->to + m->new_len;

	if (!m->va || !m->old_len || !m->new_len || end < m->va || m->va + m->new_len < m->va ||
	    (m->va | m->old_len | m->new_len | m->to) % GM_PAGE_SIZE ||
	    m->new_len > GM_OBJECT_MAX_SIZE || (m->flags & ~(GM_REMAP_MAYMOVE | GM_REMAP_FIXED)))
		return false;
	return !(m->flags & GM_REMAP_FIXED) ||
	       ((m->flags & GM_REMAP_MAYMOVE) && m->to && to_end >= m->to &&
		(m->to >= end || m->va >= to_end));
}

int gm_k_as_remap(struct gm_as *as, void *addr, uint64_t old_len, uint64_t new_len, uint32_t flags,
		  void **new_addr)
{
	struct remap m = { .as = as,
			   .va = (uint64_t)(uintptr_t)addr,
			   .old_len = old_len,
			   .new_len = new_len,
			   .flags = flags,
			   .fd = -1 };
	int err;

	if (!as || !new_addr)
		return -EINVAL;
	if (flags & GM_REMAP_FIXED)
		m.to = (uint64_t)(uintptr_t)*new_addr;
	err = args_ok(&m) ? remap(&m) : -EINVAL;
	while (m.nr_held--) /* whatever of it has been mapped meanwhile is only what failed */
		munmap(pointer(m.held[m.nr_held]), new_len);
	if (m.fd >= 0)
		close(m.fd);
	if (!err)
		*new_addr = pointer(m.to);
	return err;
}
