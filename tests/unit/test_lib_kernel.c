// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The libraries' side of the kernel host where something fails: an allocation of their own,
 * or a request. Nothing may be left behind: no descriptor, no memory (a sanitizer looks), no
 * device attached.
 *
 * The kernel is a function here: linked with -Wl,--wrap for ioctl and open, and for what
 * allocates. It hands out descriptors that lead nowhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <gmem/sim.h>
#include <uapi/gmem.h>
#include <uapi/gmem_sim.h>

#include "lib/host.h"
#include "process.h"

static int allocs_left = -1; /* until one fails; -1: none does */
static unsigned long refused_cmd;
static int refusal;  /* the errno, or 0 */
static int attached; /* devices, in the kernel */

static bool alloc_fails(void)
{
	return allocs_left >= 0 && allocs_left-- == 0;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return alloc_fails() ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return alloc_fails() ? NULL : __real_aligned_alloc(align, size);
}

static int descriptor(void)
{
	return dup(STDERR_FILENO);
}

int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	(void)path;
	(void)flags;
	return descriptor();
}

int __wrap_ioctl(int fd, unsigned long cmd, void *arg);
int __wrap_ioctl(int fd, unsigned long cmd, void *arg)
{
	(void)fd;
	if (refusal && cmd == refused_cmd) {
		errno = refusal;
		return -1;
	}
	switch (cmd) {
	case GMEM_INFO:
		((struct gmem_info *)arg)->version = 1;
		((struct gmem_info *)arg)->first_hnode = 1;
		return 0;
	case GMEM_AS_CREATE:
	case GMEM_OBJECT_CREATE:
	case GMEM_EVENTS:
		return descriptor();
	case GMEM_MAP:
		((struct gmem_map *)arg)->addr = 1 << 21;
		return 0;
	case GMEM_SIM_IOC_CREATE:
		return 1;
	case GMEM_SIM_IOC_ATTACH:
		return attached++;
	case GMEM_SIM_IOC_DETACH:
		attached--;
		return 0;
	default:
		return 0;
	}
}

static void refuse(unsigned long cmd, int err)
{
	refused_cmd = cmd;
	refusal = err;
}

static unsigned int fds(void)
{
	return proc_resources().fds;
}

/* ---------------------------------------------------------------- each makes one thing */

static struct gm_as *as;
static struct gm_sim *sim;
static struct gm_object *obj;

static int make_as(void)
{
	struct gm_as *made;
	int err = gm_as_create(NULL, &made);

	return err ? err : gm_as_destroy(made);
}

static int make_object(void)
{
	struct gm_object *made;
	int err = gm_object_create(GM_PAGE_SIZE, 0, &made);

	if (!err)
		gm_object_put(made);
	return err;
}

static int make_handle(void)
{
	struct gm_object *made;
	int err = gm_object_from_fd(gm_object_fd(obj), &made);

	if (!err)
		gm_object_put(made);
	return err;
}

static int make_memory(void)
{
	void *p;

	return gm_alloc(as, GM_PAGE_SIZE, 0, &p);
}

static int make_sim(void)
{
	struct gm_sim *made;
	int err = gm_sim_create(NULL, &made);

	return err ? err : gm_sim_destroy(made);
}

static int make_context(void)
{
	struct gm_sim_ctx *ctx;
	int err = gm_sim_attach(sim, as, &ctx);

	return err ? err : gm_sim_detach(ctx);
}

/* As that of an address space does, which has the device detached. */
static int make_context_of_as(void)
{
	struct gm_sim_ctx *ctx;
	struct gm_as *made;
	int err = gm_as_create(NULL, &made), end;

	if (err)
		return err;
	err = gm_sim_attach(sim, made, &ctx);
	end = gm_as_destroy(made);
	return err ? err : end;
}

static int make_events(void)
{
	struct gm_events *made;
	uint64_t lost = 1;
	int err = gm_events_open(NULL, &made);

	if (err)
		return err;
	err = gm_events_lost(made, &lost);
	assert_int_equal(lost, err ? 1 : 0);
	gm_events_close(made);
	return err;
}

/* A reader of events that is none, and options that are not known. */
static void bad_events(void **state)
{
	struct {
		struct gm_events_options opt;
		uint64_t more;
	} newer = { .opt = { .size = sizeof(newer) }, .more = 1 };
	struct gm_event_record r;
	struct gm_events *made;
	uint64_t lost;

	(void)state;
	assert_int_equal(gm_events_open(NULL, NULL), -EINVAL);
	assert_int_equal(gm_events_open(&newer.opt, &made), -E2BIG);
	newer.more = 0;
	assert_int_equal(gm_events_open(&newer.opt, &made), 0);
	assert_int_equal(gm_events_read(NULL, &r, 1), -EINVAL);
	assert_int_equal(gm_events_read(made, NULL, 1), -EINVAL);
	assert_int_equal(gm_events_read(made, NULL, 0), 0);
	assert_int_equal(gm_events_fd(NULL), -EINVAL);
	assert_true(gm_events_fd(made) >= 0);
	assert_int_equal(gm_events_lost(NULL, &lost), -EINVAL);
	assert_int_equal(gm_events_lost(made, NULL), -EINVAL);
	close(gm_events_fd(made)); /* the descriptor fails */
	assert_int_equal(gm_events_read(made, &r, 1), -EBADF);
	assert_true(dup(STDERR_FILENO) >= 0);
	gm_events_close(made);
	gm_events_close(NULL);
}

static int set_up(void **state)
{
	(void)state;
	setenv("GMEM_HOST", "kernel", 1);
	assert_string_equal(gm_host_name(), "kernel");
	assert_int_equal(gm_as_create(NULL, &as), 0);
	assert_int_equal(gm_object_create(GM_PAGE_SIZE, 0, &obj), 0);
	assert_int_equal(gm_sim_create(NULL, &sim), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	gm_object_put(obj);
	assert_int_equal(gm_as_destroy(as), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
	assert_int_equal(attached, 0);
	return 0;
}

/* Every allocation in turn: -ENOMEM, and nothing is left. */
static void births_fail(void **state)
{
	static const struct {
		int (*make)(void);
		int allocs;
	} makers[] = {
		{ make_as, 1 },	 { make_object, 1 },  { make_handle, 1 },	 { make_memory, 0 },
		{ make_sim, 3 }, { make_context, 2 }, { make_context_of_as, 3 }, { make_events, 1 },
	};
	unsigned int before = fds();

	(void)state;
	for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
		for (int skip = 0; skip <= makers[i].allocs; skip++) {
			int err;

			allocs_left = skip;
			err = makers[i].make();
			assert_int_equal(allocs_left, skip < makers[i].allocs ? -1 : 0);
			allocs_left = -1;
			assert_int_equal(err, skip < makers[i].allocs ? -ENOMEM : 0);
			assert_int_equal(fds(), before);
			assert_int_equal(attached, 0);
		}
	}
}

/* Every request in turn, likewise, with the kernel's error. */
static void requests_fail(void **state)
{
	static const struct {
		int (*make)(void);
		unsigned long cmd;
		int err, want;
	} cases[] = {
		{ make_as, GMEM_AS_CREATE, EMFILE, -EMFILE },
		{ make_object, GMEM_OBJECT_CREATE, ENOMEM, -ENOMEM },
		{ make_handle, GMEM_OBJECT_INFO, ENOTTY, -EBADF },
		{ make_handle, GMEM_OBJECT_INFO, EIO, -EIO },
		{ make_memory, GMEM_OBJECT_CREATE, ENOMEM, -ENOMEM },
		{ make_memory, GMEM_MAP, EPERM, -EPERM },
		{ make_sim, GMEM_SIM_IOC_CREATE, EINVAL, -EOPNOTSUPP },
		{ make_sim, GMEM_SIM_IOC_CREATE, ENOMEM, -ENOMEM },
		{ make_sim, GMEM_HNODE_INFO, ENODEV, -ENODEV },
		{ make_context, GMEM_SIM_IOC_ATTACH, EBUSY, -EBUSY },
		{ make_context_of_as, GMEM_SIM_IOC_ATTACH, ENOMEM, -ENOMEM },
		{ make_events, GMEM_EVENTS, ENOTTY, -EOPNOTSUPP },
		{ make_events, GMEM_EVENTS, EPERM, -EPERM },
		{ make_events, GMEM_EVENTS_LOST, EIO, -EIO },
	};
	unsigned int before = fds();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		refuse(cases[i].cmd, cases[i].err);
		if (cases[i].make() != cases[i].want)
			fail_msg("case %zu", i);
		refuse(0, 0);
		assert_int_equal(fds(), before);
		assert_int_equal(attached, 0);
	}
}

/* What cannot be ended is as it was, and can be ended later. */
static void ends_fail(void **state)
{
	struct gm_sim_ctx *ctx;
	struct gm_as *made;

	(void)state;
	assert_int_equal(gm_as_create(NULL, &made), 0);
	assert_int_equal(gm_sim_attach(sim, made, &ctx), 0);
	assert_int_equal(gm_sim_destroy(sim), -EBUSY);
	refuse(GMEM_SIM_IOC_DETACH, EIO);
	assert_int_equal(gm_sim_detach(ctx), -EIO);
	assert_int_equal(gm_as_destroy(made), -EIO);
	assert_int_equal(attached, 1);
	refuse(GMEM_UNMAP, EIO);
	assert_int_equal(gm_as_destroy(made), -EIO);
	assert_int_equal(attached, 1);
	refuse(0, 0);
	assert_int_equal(gm_as_destroy(made), 0); /* and the device is detached by it */
	assert_int_equal(attached, 0);

	assert_int_equal(gm_as_create(NULL, &made), 0);
	assert_int_equal(gm_sim_attach(sim, made, &ctx), 0);
	assert_int_equal(gm_sim_detach(ctx), 0); /* and the hook is gone with it */
	assert_int_equal(attached, 0);
	assert_int_equal(gm_as_destroy(made), 0);
	assert_int_equal(attached, 0);
}

/* The kernel's devices tell nobody what they access. */
static void no_recording(void **state)
{
	(void)state;
	assert_int_equal(gm_record_start("/dev/null"), -EOPNOTSUPP);
	assert_non_null(strstr(gm_strerror(-EOPNOTSUPP), "GMEM_HOST=user"));
	assert_int_equal(gm_record_start(NULL), -EINVAL);
	assert_int_equal(gm_record_stop(), -ENOENT);
}

/* Policies are the kernel's: by request, and none of a program's own. */
static void policies(void **state)
{
	static const struct gm_move_policy own = { .size = sizeof(own), .name = "own" };
	struct gm_policy_info info = { .size = sizeof(info) };
	char names[64], endless[100];
	struct gm_dev *dev;

	(void)state;
	assert_int_equal(gm_dev_from_hnode(1, &dev), 0);
	assert_int_equal(gm_dev_set_policy(dev, "stream/clock"), 0);
	memset(endless, 'x', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = 0;
	assert_int_equal(gm_dev_set_policy(dev, endless), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, NULL), -EINVAL);
	assert_int_equal(gm_dev_set_policy(NULL, "stream/clock"), -EINVAL);
	assert_int_equal(gm_dev_policy(dev, names, sizeof(names)), 0);
	assert_int_equal(gm_dev_policy(dev, names, 0), -ERANGE);
	assert_int_equal(gm_dev_policy(dev, NULL, 1), -EINVAL);
	assert_int_equal(gm_policy_name(0, &info), 0);
	assert_int_equal(gm_policy_name(0, NULL), -EINVAL);
	refuse(GMEM_POLICY, EPERM);
	assert_int_equal(gm_dev_set_policy(dev, "stream/clock"), -EPERM);
	assert_int_equal(gm_dev_policy(dev, names, sizeof(names)), -EPERM);
	assert_int_equal(gm_policy_name(0, &info), -EPERM);
	refuse(0, 0);
	assert_int_equal(gm_policy_unregister(&own, NULL), -EOPNOTSUPP);
	assert_int_equal(gm_policy_unregister(NULL, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(births_fail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(requests_fail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ends_fail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_recording, set_up, tear_down),
		cmocka_unit_test_setup_teardown(policies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_events, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
