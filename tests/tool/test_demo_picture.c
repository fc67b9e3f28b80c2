// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The picture of `gmem demo`, of runs that are made up: the clock, the counters and the pages are
 * this program's, and the thread that looks at them runs when it is created, to its end. So what
 * is drawn is known to the byte. Prints the seed of what is random.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gmem/gmem.h>

#include "demo_picture.h"
#include "picture.h"
#include "util.h"

#include <cmocka.h> /* after util.h: fail is a macro of its own */

#define SEED 1
#define MEMORY (4ULL << 20)

/* What happens at a look of the thread, and how often it looks; -1: there is no thread. */
static int looks;
static void (*passes)(void);
static double now, passed; /* seconds; since the look before */
static struct gm_stats stats;
static uint64_t used;
static int stats_err, info_err;

double __wrap_seconds_now(void);
double __wrap_seconds_now(void)
{
	return now;
}

int __wrap_gm_as_stats(struct gm_as *as, struct gm_stats *out);
int __wrap_gm_as_stats(struct gm_as *as, struct gm_stats *out)
{
	(void)as;
	*out = stats;
	return stats_err;
}

int __wrap_gm_hnode_info(int hnode, struct gm_hnode_info *info);
int __wrap_gm_hnode_info(int hnode, struct gm_hnode_info *info)
{
	assert_int_equal(hnode, 1);
	info->total = MEMORY;
	info->free = MEMORY - used;
	return info_err;
}

static struct timeline *watched;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg)
{
	(void)thread;
	(void)attr;
	if (looks < 0)
		return EAGAIN;
	watched = arg;
	run(arg);
	return 0;
}

int __wrap_pthread_join(pthread_t thread, void **value);
int __wrap_pthread_join(pthread_t thread, void **value)
{
	(void)thread;
	(void)value;
	return 0;
}

/* Time passes: a step of the timeline's. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
				  const struct timespec *ts);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
				  const struct timespec *ts)
{
	(void)cond;
	(void)lock;
	(void)ts;
	if (!looks--) {
		watched->stop = true;
		return 0;
	}
	passed = watched->step;
	now += passed;
	passes();
	return ETIMEDOUT;
}

/* ---------------------------------------------------------------------------- pages */

static struct gm_page_info pages[2048];
static int query_fails; /* at which call; 0: at none */

int __wrap_gm_query(const void *addr, size_t len, struct gm_page_info *info);
int __wrap_gm_query(const void *addr, size_t len, struct gm_page_info *info)
{
	size_t first = (uintptr_t)addr / GM_PAGE_SIZE, n = len / GM_PAGE_SIZE;

	assert_true(first + n <= sizeof(pages) / sizeof(*pages));
	if (query_fails && !--query_fails)
		return -EFAULT;
	memcpy(info, &pages[first], n * sizeof(*info));
	return 0;
}

/* ----------------------------------------------------------------------------- runs */

static unsigned int at_random;

static void at_an_even_rate(void)
{
	uint64_t ms = (uint64_t)(passed * 1e3 + 0.5);

	stats.bytes_to_dev += 3000 * ms;
	stats.bytes_to_host += 1000 * ms;
	stats.remote_bytes += 500 * ms;
	used = MEMORY / 2;
}

static void at_any_rate(void)
{
	stats.bytes_to_dev += random_at(SEED, at_random++) % 100000;
	stats.bytes_to_host += random_at(SEED, at_random++) % 5000;
	stats.remote_bytes += random_at(SEED, at_random++) % 3 * 512;
	used = random_at(SEED, at_random++) % (MEMORY / 2);
}

static void coming_home(void)
{
	stats.bytes_to_host += 70001;
	used -= used < 1000 ? used : 1000;
}

static void begin(struct demo_picture *p)
{
	*p = (struct demo_picture){ .workload = "made up",
				    .data = sizeof(pages) / sizeof(*pages) * GM_PAGE_SIZE,
				    .memory = MEMORY,
				    .seconds_plain = 0.5 };
	stats = (struct gm_stats){ .bytes_to_dev = 12345, .bytes_to_host = 77 };
	used = 0;
	now = 1000;
	stats_err = info_err = query_fails = 0;
	at_random = 0;
	timeline_init(&p->timeline, NULL, 1);
	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		pages[i] = (struct gm_page_info){ .node = i % 512 < 128 ? 1 : GM_NODE_HOST };
}

static void part(struct demo_picture *p, int n, void (*what)(void))
{
	unsigned int i = p->timeline.parts;
	double before = now;

	looks = n;
	passes = what;
	timeline_begin(&p->timeline);
	if (n < 0) {
		passed = 1;
		now += passed;
		what();
	}
	timeline_end(&p->timeline);
	assert_int_equal(p->timeline.parts, i + 1);
	p->seconds[i] = now - before;
	now += 5; /* nobody looks */
}

static void end(struct demo_picture *p)
{
	assert_int_equal(demo_picture_look(p, NULL, p->data, 1), RUN_OK);
}

/* However a run is cut, what its slices have is what there was. */
static void expect_sums(const struct demo_picture *p, uint64_t to_dev, uint64_t to_host,
			uint64_t in_place)
{
	const struct timeline *t = &p->timeline;
	struct timeline_bytes slice[700], sum;

	for (unsigned int n = 2; n <= 700; n += n < 20 ? 1 : 97) {
		sum = (struct timeline_bytes){ 0 };
		timeline_cut(t, 0, t->part[0], slice, n / 2);
		timeline_cut(t, t->part[0], t->part[1], slice + n / 2, n - n / 2);
		for (unsigned int i = 0; i < n; i++) {
			sum.to_dev += slice[i].to_dev;
			sum.to_host += slice[i].to_host;
			sum.in_place += slice[i].in_place;
			assert_true(slice[i].used <= MEMORY);
		}
		assert_int_equal(sum.to_dev, to_dev);
		assert_int_equal(sum.to_host, to_host);
		assert_int_equal(sum.in_place, in_place);
	}
}

/* ------------------------------------------------------------------------- timelines */

static void test_sums(void **state)
{
	static const int lengths[] = { 0, 1, 7, 508, 509, 510, 511, 512, 513, 5000 };
	struct demo_picture p;

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		begin(&p);
		part(&p, lengths[i], at_any_rate);
		part(&p, lengths[i] / 3, coming_home);
		assert_in_range(p.timeline.nr, 4, TIMELINE_SAMPLES);
		expect_sums(&p, stats.bytes_to_dev - 12345, stats.bytes_to_host - 77,
			    stats.remote_bytes);
	}
}

static void test_even(void **state)
{
	struct timeline_bytes slice[100];
	struct demo_picture p;

	(void)state;
	begin(&p);
	part(&p, 1500, at_an_even_rate);
	part(&p, 10, coming_home);
	assert_true(p.timeline.step > 4e-3); /* looks have come to be further apart */
	timeline_cut(&p.timeline, 0, 0.1, slice, 100);
	for (unsigned int i = 0; i < 100; i++) {
		assert_in_range(slice[i].to_dev, 2999, 3001);
		assert_in_range(slice[i].in_place, 499, 501);
		assert_true(slice[i].used == MEMORY / 2 || i < 64); /* it is reached by then */
	}
	/* What is between parts takes no time. */
	assert_true(p.timeline.part[1] < 1500 * p.timeline.step);
	assert_true(p.timeline.part[1] - p.timeline.part[0] < 11 * p.timeline.step);
}

static void test_without(void **state)
{
	struct demo_picture p;

	(void)state;
	begin(&p);
	part(&p, -1, at_an_even_rate); /* without the thread */
	part(&p, -1, coming_home);
	assert_int_equal(p.timeline.nr, 4);
	expect_sums(&p, 3000000, 1070001, 500000);

	for (int i = 0; i < 2; i++) { /* without counters */
		begin(&p);
		stats_err = i ? -EINVAL : 0;
		info_err = i ? 0 : -ENODEV;
		part(&p, 20, at_an_even_rate);
		part(&p, 20, coming_home);
		assert_int_equal(p.timeline.nr, 0);
		expect_sums(&p, 0, 0, 0);
		end(&p);
		assert_int_equal(demo_picture_print(&p, stdout, 80, false, false), 0);
		demo_picture_free(&p);
	}
}

/* ----------------------------------------------------------------------------- pages */

static void test_pages(void **state)
{
	struct demo_picture p;

	(void)state;
	begin(&p);
	pages[2047] = (struct gm_page_info){ .node = GM_NODE_NONE, .flags = GM_PAGE_POISONED };
	pages[0].flags = GM_PAGE_RETAINED; /* makes no run of its own */
	end(&p);
	assert_int_equal(p.map.nr_regions, 1);
	assert_int_equal(p.map.regions[0].len, p.data);
	assert_int_equal(p.map.regions[0].nr_runs, 9);
	assert_int_equal(p.map.nr_nodes, 3);
	assert_int_equal(p.map.nodes[0].bytes, 1535 * GM_PAGE_SIZE);
	assert_int_equal(p.map.nodes[1].bytes, 512 * GM_PAGE_SIZE);
	assert_string_equal(p.map.nodes[1].name, "hnode 1, accelerator");
	assert_int_equal(p.map.nodes[2].bytes, GM_PAGE_SIZE);
	assert_int_equal(p.map.poisoned, GM_PAGE_SIZE);
	demo_picture_free(&p);

	for (int i = 1; i <= 4; i++) {
		begin(&p);
		query_fails = i;
		assert_int_equal(demo_picture_look(&p, NULL, p.data, 1), RUN_FAILED);
		assert_int_equal(query_fails, 0);
		demo_picture_free(&p);
	}
}

/* ------------------------------------------------------------------------------ text */

static char *text_of(const struct demo_picture *p, unsigned int width, bool color, bool blocks)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	assert_int_equal(demo_picture_print(p, f, width, color, blocks), 0);
	fclose(f);
	return text;
}

/* Characters of the longest line with a bar. */
static size_t bars(const char *text)
{
	size_t most = 0, n;

	for (; *text; text += strcspn(text, "\n") + 1) {
		n = strcspn(text, "\n");
		if (!memmem(text, n, "full", 4) && !memmem(text, n, " then ", 6) && n > most)
			most = n;
	}
	return most;
}

static void test_text(void **state)
{
	struct demo_picture p;
	char *text;

	(void)state;
	begin(&p);
	part(&p, 300, at_an_even_rate);
	part(&p, 100, coming_home);
	end(&p);
	for (unsigned int width = PICTURE_MIN_WIDTH; width <= PICTURE_MAX_WIDTH; width += 7) {
		text = text_of(&p, width, false, false);
		assert_true(bars(text) <= (width < 40 ? 40 : width)); /* 40: the legend */
		for (const char *s = text; *s; s++)
			assert_true(*s == '\n' || (*s >= ' ' && *s <= '~'));
		free(text);
	}
	text = text_of(&p, 80, false, false);
	assert_non_null(strstr(text, "works for 300.0 ms | then the CPU checks for 100.0 ms\n"));
	assert_non_null(strstr(text, "\n  on the accelerator  =====")); /* half of it */
	assert_non_null(strstr(text, "@@@@@@|               879 KiB\n"));
	assert_non_null(strstr(text, "------|@@@@@@"));
	assert_non_null(strstr(text, "\n  used in place       :::::"));
	assert_non_null(strstr(text, "its memory of 4.0 MiB; of what moves, 2.9 MiB a second"));
	assert_non_null(strstr(text, "  h host                        6.0 MiB\n"));
	assert_non_null(strstr(text, "  1 hnode 1, accelerator        2.0 MiB\n"));
	free(text);
	text = text_of(&p, 80, true, true);
	assert_non_null(strstr(text, "\033[33m\u2584\u2584\u2584"));
	assert_non_null(strstr(text, "\033[0m\u2502\033[36m\u2588"));
	free(text);
	demo_picture_free(&p);
}

/* A device that cannot use anything in place has no row for that. */
static void test_no_row(void **state)
{
	struct demo_picture p;
	char *text;

	(void)state;
	begin(&p);
	part(&p, 50, coming_home);
	part(&p, 0, coming_home); /* no time at all */
	end(&p);
	text = text_of(&p, 80, false, false);
	assert_null(strstr(text, "in place"));
	free(text);
	demo_picture_free(&p);
}

/* ------------------------------------------------------------------------------- SVG */

/* The sum of the bytes of all titles that end so. */
static uint64_t drawn(const char *svg, const char *end)
{
	uint64_t sum = 0, v;
	const char *s;

	while ((svg = strstr(svg, "<title>"))) {
		svg = strchr(svg, ':') + 2;
		for (v = 0, s = svg; (*s >= '0' && *s <= '9') || *s == ','; s++)
			v = *s == ',' ? v : v * 10 + (uint64_t)(*s - '0');
		if (!strncmp(s, end, strlen(end)))
			sum += v;
	}
	return sum;
}

static void test_svg(void **state)
{
	struct demo_picture p;
	char *svg = NULL;
	size_t size;
	FILE *f;

	(void)state;
	begin(&p);
	part(&p, 1000, at_any_rate);
	part(&p, 30, coming_home);
	end(&p);
	f = open_memstream(&svg, &size);
	assert_non_null(f);
	assert_int_equal(demo_picture_draw(&p, f), 0);
	fclose(f);
	assert_int_equal(drawn(svg, " bytes to the accelerator<"), stats.bytes_to_dev - 12345);
	assert_int_equal(drawn(svg, " bytes to the host<"), stats.bytes_to_host - 77);
	assert_int_equal(drawn(svg, " bytes used in place<"), stats.remote_bytes);
	assert_non_null(strstr(svg, ">gmem demo: made up</text>"));
	free(svg);

	f = fopen("/dev/full", "w");
	assert_non_null(f);
	assert_int_equal(demo_picture_draw(&p, f), -1);
	fclose(f);
	f = fopen("/dev/full", "w");
	assert_non_null(f);
	setvbuf(f, NULL, _IONBF, 0);
	assert_int_equal(demo_picture_print(&p, f, 80, false, false), -1);
	fclose(f);
	demo_picture_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),	cmocka_unit_test(test_even),
		cmocka_unit_test(test_without), cmocka_unit_test(test_pages),
		cmocka_unit_test(test_text),	cmocka_unit_test(test_no_row),
		cmocka_unit_test(test_svg),
	};

	printf("seed %d\n", SEED);
	return cmocka_run_group_tests_name("demo-picture", tests, NULL, NULL);
}
