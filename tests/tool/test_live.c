// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * How `gmem stat`, `gmem top` and `gmem map` read what a process answers, where that is no answer:
 * too long, no JSON, an error, cut off, or late. The other end is the test's own.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "live.h"
#include "util.h"

#include <cmocka.h> /* after util.h: fail is a macro of its own */

struct pair {
	struct live live;
	int other;
};

static struct pair begin(const char *says)
{
	struct pair p;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	live_init(&p.live, fd[0]);
	p.other = fd[1];
	assert_int_equal(write(p.other, says, strlen(says)), strlen(says));
	return p;
}

static void end(struct pair *p)
{
	live_close(&p->live);
	if (p->other >= 0)
		close(p->other);
}

/* Nothing is had of it, and whether there is an end to it. */
static void nothing(struct pair *p, int is_end)
{
	int ended;

	assert_null(live_receive(&p->live, 0, &ended));
	assert_int_equal(ended, is_end);
}

static void too_long(void **state)
{
	struct pair p = begin("x");

	(void)state;
	/* As if it had come to so much, which is there for what comes now. */
	p.live.text = malloc(1);
	p.live.room = (512U << 20) + 1;
	nothing(&p, 1);
	end(&p);
}

static void no_json(void **state)
{
	static const char *const bad[] = {
		"\n", "{\n", "[]\n", "7\n", "{}}\n", "\xff\n", "null\n"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct pair p = begin(bad[i]);

		nothing(&p, 1);
		end(&p);
	}
}

static void cut_off(void **state)
{
	struct pair p = begin("{\"a\":1}");
	json_t *root;
	int ended;

	(void)state;
	nothing(&p, 0); /* it may still come */
	assert_int_equal(write(p.other, "\n{\"b\"", 5), 5);
	root = live_receive(&p.live, 0, &ended);
	assert_int_equal(live_number(root, "a"), 1);
	json_decref(root);
	close(p.other);
	p.other = -1;
	nothing(&p, 1);
	assert_int_equal(live_send(&p.live, "stats"), -1); /* without a signal */
	assert_null(live_ask(&p.live, "stats"));
	end(&p);
	assert_int_equal(live_send(&p.live, "stats"), -1);
}

/* A process that has no memory for an answer says so. */
static void error(void **state)
{
	struct pair p = begin("{\"error\":\"no memory for the answer\"}\n{\"n\":2}\n");
	json_t *root;

	(void)state;
	assert_null(live_ask(&p.live, "map"));
	root = live_ask(&p.live, "stats");
	assert_int_equal(live_number(root, "n"), 2);
	json_decref(root);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(too_long),
		cmocka_unit_test(no_json),
		cmocka_unit_test(cut_off),
		cmocka_unit_test(error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
