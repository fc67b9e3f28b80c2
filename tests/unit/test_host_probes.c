// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * USDT probes, as a tracer uses them: found by the notes in the file, their counters raised, and a
 * breakpoint in the place of each nop.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ucontext.h>

#include <cmocka.h>

#include <gmem/events.h>

#include "core/trace.h"

static const struct {
	const char *name;
	unsigned int args;
} expected[GM_EVENT_KINDS] = {
	[GM_EVENT_FAULT] = { "fault", 8 },   [GM_EVENT_MIGRATE] = { "migrate", 8 },
	[GM_EVENT_EVICT] = { "evict", 6 },   [GM_EVENT_INVALIDATE] = { "invalidate", 5 },
	[GM_EVENT_POISON] = { "poison", 3 }, [GM_EVENT_THRASH] = { "thrash", 4 },
	[GM_EVENT_REMOVE] = { "remove", 1 },
};

static struct {
	unsigned char *pc;
	uint16_t *semaphore;
	unsigned int args, found, hits;
} probes[GM_EVENT_KINDS];

/* ------------------------------------------------------------------------- the notes */

static int bias_of(struct dl_phdr_info *info, size_t size, void *bias)
{
	(void)size;
	*(uintptr_t *)bias = info->dlpi_addr;
	return 1; /* the program is the first */
}

static void add_note(const char *desc, uintptr_t bias)
{
	const char *provider = desc + 24, *name = provider + strlen(provider) + 1;
	const char *args = name + strlen(name) + 1;
	uint64_t at[3]; /* probe, base, semaphore */

	memcpy(at, desc, sizeof(at));
	if (strcmp(provider, "gmem") != 0)
		return;
	for (unsigned int i = 0; i < GM_EVENT_KINDS; i++) {
		if (strcmp(name, expected[i].name) != 0)
			continue;
		probes[i].found++;
		probes[i].pc = (unsigned char *)(at[0] + bias);
		probes[i].semaphore = (uint16_t *)(at[2] + bias);
		assert_true(at[2] != 0);
		for (; (args = strchr(args, '@')); args++)
			probes[i].args++;
		return;
	}
	fail_msg("an unknown probe: %s", name);
}

static void read_notes(const char *note, const char *end, uintptr_t bias)
{
	Elf64_Nhdr h;

	for (; note + sizeof(h) <= end;
	     note += sizeof(h) + ((h.n_namesz + 3U) & ~3U) + ((h.n_descsz + 3U) & ~3U)) {
		memcpy(&h, note, sizeof(h));
		if (h.n_type == 3 && !strcmp(note + sizeof(h), "stapsdt"))
			add_note(note + sizeof(h) + 8, bias);
	}
}

static int find(void **state)
{
	const Elf64_Shdr *sections;
	const Elf64_Ehdr *e;
	uintptr_t bias = 0;
	char *file;
	long size = 0;
	FILE *f = fopen("/proc/self/exe", "re");

	(void)state;
	dl_iterate_phdr(bias_of, &bias);
	assert_true(f && !fseek(f, 0, SEEK_END) && (size = ftell(f)) > 0 && !fseek(f, 0, SEEK_SET));
	file = malloc((size_t)size);
	assert_true(file && fread(file, (size_t)size, 1, f) == 1);
	fclose(f);
	e = (const Elf64_Ehdr *)file;
	sections = (const Elf64_Shdr *)(file + e->e_shoff);
	for (unsigned int i = 0; i < e->e_shnum; i++) {
		const Elf64_Shdr *s = &sections[i];

		if (!strcmp(file + sections[e->e_shstrndx].sh_offset + s->sh_name, ".note.stapsdt"))
			read_notes(file + s->sh_offset, file + s->sh_offset + s->sh_size, bias);
	}
	free(file);
	return 0;
}

/* -------------------------------------------------------------------------- a tracer */

static void trap(int sig, siginfo_t *info, void *uc)
{
	const ucontext_t *u = uc;
	unsigned char *at = (unsigned char *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP] - 1;

	(void)sig;
	(void)info;
	/* The nop has one byte, as the breakpoint has: it goes on behind it. */
	for (unsigned int i = 0; i < GM_EVENT_KINDS; i++)
		probes[i].hits += at == probes[i].pc;
}

static void attach(unsigned int kind)
{
	uintptr_t page = (uintptr_t)probes[kind].pc & ~4095UL;

	assert_int_equal(*probes[kind].pc, 0x90);
	assert_int_equal(mprotect((void *)page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
	*probes[kind].pc = 0xcc;
	++*probes[kind].semaphore;
}

static void detach(unsigned int kind)
{
	*probes[kind].pc = 0x90;
	--*probes[kind].semaphore;
}

static void notes(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < GM_EVENT_KINDS; i++) {
		assert_int_equal(probes[i].found, 1);
		assert_int_equal(probes[i].args, expected[i].args);
	}
}

/* Each for its own kind: the core tells of it as soon as the counter is raised, and the probe fires. */
static void fires(void **state)
{
	const struct sigaction act = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO };

	(void)state;
	assert_int_equal(sigaction(SIGTRAP, &act, NULL), 0);
	for (unsigned int i = 0; i < GM_EVENT_KINDS; i++) {
		struct gm_event ev = { .kind = (enum gm_event_kind)i };

		assert_false(gm_tracing(ev.kind));
		attach(i);
		for (unsigned int k = 0; k < GM_EVENT_ALL; k++)
			assert_int_equal(gm_tracing((enum gm_event_kind)k), k == i);
		gm_os_trace(&ev);
		detach(i);
		assert_int_equal(probes[i].hits, 1);
		assert_false(gm_tracing(ev.kind));
		gm_os_trace(&ev);
		assert_int_equal(probes[i].hits, 1);
	}
}

/* Readers of events and tracers count in one word, and do not disturb each other. */
static void both(void **state)
{
	struct gm_events *e;

	(void)state;
	++*probes[GM_EVENT_FAULT].semaphore;
	assert_int_equal(gm_events_open(NULL, &e), 0);
	assert_int_equal(*probes[GM_EVENT_FAULT].semaphore, 1);
	--*probes[GM_EVENT_FAULT].semaphore;
	assert_true(gm_tracing(GM_EVENT_FAULT));
	++*probes[GM_EVENT_FAULT].semaphore;
	gm_events_close(e);
	assert_true(gm_tracing(GM_EVENT_FAULT));
	--*probes[GM_EVENT_FAULT].semaphore;
	assert_false(gm_tracing(GM_EVENT_FAULT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(notes),
		cmocka_unit_test(fires),
		cmocka_unit_test(both),
	};

	return cmocka_run_group_tests(tests, find, NULL);
}
