// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The bytes that operations are decoded from: a generator's (SplitMix64), or given ones. */
#include "model.h"

uint64_t m_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

uint8_t m_u8(struct model *m)
{
	struct m_stream *in = &m->in;
	uint8_t b;

	if (in->p) {
		in->ended = in->p == in->end;
		return in->ended ? 0 : *in->p++;
	}
	if (!in->nr_bits) {
		in->state += 0x9e3779b97f4a7c15ULL;
		in->bits = m_mix(in->state);
		in->nr_bits = 64;
	}
	b = (uint8_t)in->bits;
	in->bits >>= 8;
	in->nr_bits -= 8;
	return b;
}

/* A number in [0, n); takes as few bytes as it can. */
uint64_t m_below(struct model *m, uint64_t n)
{
	uint64_t v = 0;

	for (uint64_t range = 1; range < n; range <<= 8)
		v = v << 8 | m_u8(m);
	return v % n;
}

bool m_chance(struct model *m, unsigned int of256)
{
	return m_u8(m) < of256;
}
