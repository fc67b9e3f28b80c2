// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * gmem in a process that has a life of its own: system calls, signals, fork, a device
 * that fails, a kernel that refuses.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conformance.h"

static bool is_inline(void)
{
	return cf_flags & GM_AS_INLINE;
}

/* read(2) and write(2) on memory that the device holds. */
static void test_syscalls(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK), *q = cf_alloc(cf, BLOCK);
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	cf_fill(cf, 0, p, BLOCK, 1);
	cf_fill(cf, 0, q, BLOCK, 2);
	if (is_inline()) {
		assert_int_equal(write(fds[1], p, 3 * PAGE), -1);
		assert_int_equal(errno, EFAULT);
		cf_check(cf, CPU, p, BLOCK, 1); /* home now: the same call works */
		cf_check(cf, CPU, q, BLOCK, 2);
	}
	assert_int_equal(write(fds[1], p, 3 * PAGE), 3 * PAGE);
	assert_int_equal(read(fds[0], q, 3 * PAGE), 3 * PAGE);
	cf_check(cf, 0, q, 3 * PAGE, 1);
	cf_check_at(cf, 0, q + 3 * PAGE, BLOCK - 3 * PAGE, 2, 3 * PAGE);
	close(fds[0]);
	close(fds[1]);
	cf_unmap(cf, p, BLOCK);
	cf_unmap(cf, q, BLOCK);
}

/* -------------------------------------------------------------------------- own signals */

static void *beyond_end(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	close(fd);
	return p;
}

static sigjmp_buf env;
static volatile int nr_signals;

static void on_signal(int sig)
{
	(void)sig;
	nr_signals++;
	siglongjmp(env, 1);
}

static void touch(const void *p)
{
	if (!sigsetjmp(env, 1))
		(void)*(volatile const char *)p;
}

/* Handlers that were there before gmem get what is theirs, and nothing else. */
static void test_own_signals(void **state)
{
	struct sigaction act = { .sa_handler = on_signal }, bus, segv, now;
	void *end = beyond_end();
	struct cf *cf;
	char *p;

	(void)state;
	sigaction(SIGBUS, &act, &bus);
	sigaction(SIGSEGV, &act, &segv);
	cf = cf_setup();
	p = cf_alloc(cf, BLOCK);
	nr_signals = 0;
	for (int i = 1; i <= 3; i++) {
		cf_fill(cf, 0, p, BLOCK, (uint64_t)i);
		touch(end);
		assert_int_equal(nr_signals, 2 * i - 1);
		cf_check(cf, CPU, p, BLOCK, (uint64_t)i);
		touch((void *)(uintptr_t)PAGE);
		assert_int_equal(nr_signals, 2 * i);
	}
	cf_unmap(cf, p, BLOCK);
	cf_teardown(cf);
	sigaction(SIGBUS, NULL, &now);
	assert_ptr_equal(now.sa_handler, on_signal);
	touch(end);
	assert_int_equal(nr_signals, 7);
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	munmap(end, PAGE);
}

/* --------------------------------------------------------------------------------- fork */

static int forked(struct cf *cf, char *p, int what)
{
	struct gm_page_info info;
	struct gm_as *as;
	void *q;

	signal(SIGSEGV, SIG_DFL);
	if (what)
		return *(volatile char *)p & 0;
	if (hmadvise(0, p, PAGE, GM_COLD) != -EPERM || gm_query(p, PAGE, &info) != -EPERM ||
	    hmemcpy(0, p, p, 8) != -EPERM)
		return 1;
	if (gm_alloc(cf->as, PAGE, 0, &q) != -EPERM || gm_as_create(NULL, &as) != -EPERM ||
	    gm_as_unmap(cf->as, p, PAGE) != -EPERM || gm_as_destroy(cf->as) != -EPERM)
		return 2;
	if (!strstr(gm_strerror(-EPERM), "fork") || proc_has_fd("memfd:gmem"))
		return 3;
	return 0;
}

/* A child gets a plain fault, never stale bytes; its calls fail and do not hang. */
static void test_fork(struct cf *cf)
{
	char *p;
	int status;
	pid_t pid;

	if (cf_not_here(cf_kernel, "a child shares the bytes: test_fork_shares"))
		return;
	p = cf_alloc(cf, 2 * BLOCK);
	cf_fill(cf, 0, p, BLOCK, 1);
	cf_fill(cf, CPU, p + BLOCK, BLOCK, 2);
	for (int what = 0; what < 3; what++) {
		pid = fork();
		if (!pid)
			_exit(forked(cf, what == 1 ? p : p + BLOCK, what));
		status = proc_wait(pid);
		if (what)
			assert_true(proc_died_of(status, SIGSEGV));
		else
			assert_int_equal(status, 0);
	}
	fflush(NULL);
	pid = fork();
	if (!pid) {
		cf_leaves = true;
		exit(0);
	}
	assert_int_equal(proc_wait(pid), 0);
	cf_check(cf, CPU, p, BLOCK, 1);
	cf_check(cf, 0, p + BLOCK, BLOCK, 2);
	cf_unmap(cf, p, 2 * BLOCK);
}

/* What a child may do with what it inherits from a parent on the kernel host. */
static int shares(struct cf *cf, char *p)
{
	struct gm_as_options opt = { .size = sizeof(opt) };
	struct gm_page_info info;
	struct gm_sim_ctx *ctx;
	struct gm_as *as;
	void *q;

	if (hmadvise(0, p, PAGE, GM_COLD) != -EFAULT || gm_query(p, PAGE, &info) != -EFAULT)
		return 1;
	if (gm_alloc(cf->as, PAGE, 0, &q) != -EPERM || gm_as_unmap(cf->as, p, PAGE) != -EPERM ||
	    gm_as_protect(cf->as, p, PAGE, GM_READ) != -EPERM ||
	    gm_sim_attach(cf->sim[0], cf->as, &ctx) != -EPERM || gm_as_destroy(cf->as) != -EPERM)
		return 2;
	if (!strstr(gm_strerror(-EPERM), "fork"))
		return 3;
	/* An address space of its own, and the device that it inherited. */
	if (gm_as_create(&opt, &as) || gm_sim_attach(cf->sim[0], as, &ctx) ||
	    gm_alloc(as, PAGE, 0, &q))
		return 4;
	*(volatile uint64_t *)q = 5;
	if (gm_as_destroy(as)) /* with the device attached */
		return 5;
	++*(volatile uint64_t *)(void *)p;
	return 0;
}

static void test_fork_shares(struct cf *cf)
{
	uint64_t v = 7;
	char *p;
	pid_t pid;

	if (cf_not_here(!cf_kernel, "nothing is inherited: test_fork"))
		return;
	p = cf_alloc(cf, BLOCK);
	assert_int_equal(cf_dev_store(cf, 0, p, v), 0);
	pid = fork();
	if (!pid)
		_exit(shares(cf, p));
	assert_int_equal(proc_wait(pid), 0);
	assert_int_equal(cf_dev_load(cf, 0, p, &v), 0);
	assert_int_equal(v, 8);
	cf_unmap(cf, p, BLOCK);
}

/* A device that is attached still is detached by the end of the address space. */
static void test_destroy_attached(struct cf *cf)
{
	struct gm_sim *sim = cf_sim();
	struct gm_as *as = cf_as();
	struct gm_sim_ctx *ctx;
	uint64_t v = 1;
	void *p;

	(void)cf;
	assert_int_equal(gm_alloc(as, BLOCK, 0, &p), 0);
	assert_int_equal(gm_sim_attach(sim, as, &ctx), 0);
	assert_int_equal(gm_sim_access(ctx, p, &v, 8, GM_WRITE), 0);
	assert_int_equal(gm_sim_destroy(sim), -EBUSY);
	/* It does not let go; the end may be tried again. */
	gm_sim_inject(sim, GM_SIM_PMAP_RELEASE, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_as_destroy(as), -EIO);
	gm_sim_inject(sim, GM_SIM_PMAP_RELEASE, 0, 0, 0);
	assert_int_equal(gm_as_destroy(as), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
}

/* ---------------------------------------------------------------------- descriptors */

static void no_descriptors(struct cf *cf)
{
	struct gm_object *obj;
	struct gm_dev *dev;

	assert_int_equal(gm_object_create(PAGE, 0, &obj), 0);
	assert_int_equal(gm_as_fd(cf->as), -EOPNOTSUPP);
	assert_int_equal(gm_object_fd(obj), -EOPNOTSUPP);
	assert_non_null(strstr(gm_strerror(-EOPNOTSUPP), "GMEM_HOST"));
	gm_object_put(obj);
	assert_int_equal(gm_object_from_fd(0, &obj), -EOPNOTSUPP);
	assert_int_equal(gm_dev_from_hnode(cf_node(cf, 0), &dev), -EOPNOTSUPP);
	assert_int_equal(gm_as_on_destroy(cf->as, NULL, NULL), -EOPNOTSUPP);
}

/* An object by its descriptor, and the mapping of it that is the CPU's alone. */
static void test_descriptors(struct cf *cf)
{
	struct gm_object *obj, *same;
	void *p, *q;
	char *cpu;

	assert_string_equal(gm_host_name(), cf_kernel ? "kernel" : "user");
	if (!cf_kernel) {
		no_descriptors(cf);
		return;
	}
	assert_int_equal(gm_object_create(BLOCK, 0, &obj), 0);
	assert_int_equal(gm_object_from_fd(gm_object_fd(obj), &same), 0);
	assert_int_not_equal(gm_object_fd(obj), gm_object_fd(same));
	assert_int_equal(gm_as_map(cf->as, obj, 0, BLOCK, GM_READ | GM_WRITE, 0, &p), 0);
	gm_object_put(obj);
	assert_int_equal(gm_as_map(cf->as, same, 0, BLOCK, GM_READ, 0, &q), 0);
	cpu = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, gm_object_fd(same), 0);
	assert_true(cpu != MAP_FAILED);
	gm_object_put(same);
	cf_fill(cf, 0, p, BLOCK, 1);
	cf_check(cf, CPU, cpu, BLOCK, 1);
	cf_check(cf, 0, q, BLOCK, 1);
	assert_int_equal(gm_as_unmap(cf->as, cpu, BLOCK), -EFAULT); /* not the address space's */
	assert_int_equal(munmap(cpu, BLOCK), 0);
	cf_unmap(cf, p, BLOCK);
	cf_unmap(cf, q, BLOCK);
	assert_int_equal(gm_object_from_fd(gm_as_fd(cf->as), &obj), -EBADF);
	assert_int_equal(gm_object_from_fd(-1, &obj), -EBADF);
	assert_int_equal(gm_object_from_fd(STDIN_FILENO, &obj), -EBADF);
}

static int create_no_pmap(struct gm_dev *dev, void **pmap)
{
	(void)dev;
	(void)pmap;
	return -EIO;
}

/* A device that cannot be had, or cannot be attached: no trace of it stays. */
static void test_bad_devices(struct cf *cf)
{
	struct gm_sim_options opt = { .size = sizeof(opt), .lanes = 65, .table_memory = 4096 };
	struct gm_sim_ctx *ctx;
	struct gm_as *as = cf_as();
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(NULL, NULL), -EINVAL);
	opt.memory = 1;
	assert_int_equal(gm_sim_create(&opt, &sim), -EINVAL);
	opt.memory = BLOCK;
	if (cf_kernel) { /* whose device has no more than 64 */
		assert_int_equal(gm_sim_create(&opt, &sim), -EOPNOTSUPP);
	} else {
		assert_int_equal(gm_sim_create(&opt, &sim), 0);
		assert_int_equal(gm_sim_destroy(sim), 0);
	}
	assert_int_equal(gm_sim_destroy(NULL), -EINVAL);
	gm_sim_inject(cf->sim[0], GM_SIM_PMAP_CREATE, 0, 1, -EIO);
	assert_int_equal(gm_sim_attach(cf->sim[0], as, &ctx), -EIO);
	assert_int_equal(gm_sim_attach(cf->sim[0], cf->as, &ctx), -EBUSY);
	assert_int_equal(gm_sim_attach(cf->sim[0], NULL, &ctx), -EINVAL);
	assert_int_equal(gm_sim_attach(NULL, as, &ctx), -EINVAL);
	assert_int_equal(gm_as_destroy(as), 0);
}

/* Every kind of access that a lane can make, in words of one page. */
static void accesses(struct gm_sim_lane *lane, void *arg)
{
	char *p = arg;

	if (gm_sim_lane_id(lane))
		return;
	gm_sim_store8(lane, p, (uint8_t)(gm_sim_load8(lane, p + 1) + 1));
	gm_sim_store32(lane, p + 4, gm_sim_load32(lane, p + 8) + 1);
	gm_sim_storef64(lane, p + 16, gm_sim_loadf64(lane, p + 24) * 2);
	gm_sim_addf64(lane, p + 24, 0.25);
	gm_sim_xor64(lane, p + 32, 0xff);
	gm_sim_add64(lane, p + 32, gm_sim_loadptr(lane, p + 40) == p);
	gm_sim_store64(lane, p + 4, 0); /* not aligned: the lane ends */
	gm_sim_store8(lane, p, 0);
}

static void test_accesses(struct cf *cf)
{
	char *p = cf_alloc(cf, PAGE);
	double *f = (double *)(void *)p;
	uint64_t *w = (uint64_t *)(void *)p;
	uint32_t *i = (uint32_t *)(void *)p;

	p[1] = 4;
	i[2] = 70000;
	f[3] = 1.5;
	w[4] = 0xf0f;
	memcpy(p + 40, &p, sizeof(p));
	assert_int_equal(gm_sim_launch(cf->ctx[0], accesses, p), -EINVAL);
	assert_int_equal(p[0], 5);
	assert_int_equal(i[1], 70001);
	assert_true(f[2] >= 3.0 && f[2] <= 3.0 && f[3] >= 1.75 && f[3] <= 1.75);
	assert_int_equal(w[4], 0xff1);
	cf_unmap(cf, p, PAGE);
	/* Nothing is there any more. */
	assert_int_equal(gm_sim_launch(cf->ctx[0], accesses, p), -EFAULT);
}

/* Drivers are the kernel's there; of its devices there are handles, for looking and tuning. */
static void test_kernel_devices(struct cf *cf)
{
	static const struct gm_mmu mmu = { .size = sizeof(mmu), .pmap_create = create_no_pmap };
	struct gm_dev_tunables t = { .size = sizeof(t), .granule = PAGE, .no_grow = 1 };
	struct gm_hnode_info info = { .size = sizeof(info) };
	struct gm_context *gm;
	struct gm_dev *dev;
	char *p;

	if (cf_not_here(!cf_kernel, "drivers are in the process"))
		return;
	assert_int_equal(gm_dev_create(&mmu, "none", NULL, &dev), -EOPNOTSUPP);
	assert_non_null(strstr(gm_strerror(-EOPNOTSUPP), "GMEM_HOST=user"));
	assert_int_equal(gm_dev_from_hnode(cf_node(cf, 0), &dev), 0);
	assert_ptr_equal(dev, cf_dev(cf, 0));
	assert_int_equal(gm_as_attach(cf->as, dev, GM_EXCLUSIVE, &gm), -EOPNOTSUPP);
	assert_int_equal(gm_dev_register_physmem(dev, 0, BLOCK), -EOPNOTSUPP);
	assert_int_equal(gm_dev_unregister_physmem(dev, 0, BLOCK), -EOPNOTSUPP);
	assert_int_equal(gm_dev_destroy(dev), -EOPNOTSUPP);
	assert_int_equal(gm_dev_remove(dev), -EOPNOTSUPP);
	assert_int_equal(gm_dev_from_hnode(cf_node(cf, 0) + 50, &dev), -ENODEV);
	assert_int_equal(gm_dev_from_hnode(GM_NODE_HOST, &dev), -ENODEV);
	assert_int_equal(gm_hnode_info(cf_node(cf, 1), &info), 0);
	assert_int_equal(info.total, DEV_MEMORY);
	assert_int_equal(info.free, DEV_MEMORY);

	assert_int_equal(gm_dev_tune(dev, &t), 0);
	p = cf_alloc(cf, BLOCK);
	cf_fill(cf, CPU, p, BLOCK, 1);
	cf_check(cf, 0, p, PAGE, 1);
	assert_int_equal(cf_dev_stats(cf, 0).pages_to_dev, cf_unit() / PAGE);
	t.granule = 3;
	assert_int_equal(gm_dev_tune(dev, &t), -EINVAL);
	cf_unmap(cf, p, BLOCK);
}

/* ------------------------------------------------------------------ a device that fails */

/* The page cannot come home: SIGBUS, as for any other bad page; the bytes are still there. */
static void cpu_fault_fails(struct cf *cf, enum gm_sim_op op, int err)
{
	char *p = cf_alloc(cf, BLOCK);

	cf_fill(cf, 0, p, BLOCK, 1);
	gm_sim_inject(cf->sim[0], op, 0, UINT32_MAX, err);
	assert_int_equal(cf_cpu_dies(p + 5 * PAGE + 8, false, SIGBUS), BUS_ADRERR);
	assert_int_equal(cf_cpu_dies(p + 5 * PAGE + 8, true, SIGBUS), BUS_ADRERR);
	gm_sim_inject(cf->sim[0], op, 0, 0, 0);
	cf_on(p + 5 * PAGE, PAGE, cf_node(cf, 0));
	cf_check(cf, CPU, p, BLOCK, 1);
	cf_fill(cf, 0, p, BLOCK, 2);
	cf_check(cf, CPU, p, BLOCK, 2);
	cf_unmap(cf, p, BLOCK);
}

static void test_cpu_fault_fails(struct cf *cf)
{

	assert_true(cf_as_stats(cf).fault_errors == 0);
	cpu_fault_fails(cf, GM_SIM_COPY_START, -EIO);
	cpu_fault_fails(cf, GM_SIM_COPY_FENCE, -EIO);
	cpu_fault_fails(cf, GM_SIM_PMAP_RELEASE, -EIO);
	cpu_fault_fails(cf, GM_SIM_TLB_INVL, -EIO);
	assert_true(cf_as_stats(cf).fault_errors > 0);
}

/* The page cannot get to the device: the device's access fails, the CPU's does not. */
static void test_dev_fault_fails(struct cf *cf)
{
	static const enum gm_sim_op ops[] = { GM_SIM_COPY_START, GM_SIM_COPY_FENCE,
					      GM_SIM_PMAP_ENTER };
	char *p = cf_alloc(cf, BLOCK);
	uint64_t v;

	for (uint64_t i = 0; i < 3; i++) {
		cf_fill(cf, CPU, p, BLOCK, i);
		gm_sim_inject(cf->sim[0], ops[i], 0, UINT32_MAX, -EIO);
		assert_int_equal(cf_dev_load(cf, 0, p + PAGE, &v), -EIO);
		cf_check(cf, CPU, p, BLOCK, i);
		assert_int_equal(hmadvise(cf_node(cf, 0), p, BLOCK, GM_PREFETCH), -EIO);
		cf_check(cf, CPU, p, BLOCK, i);
		gm_sim_inject(cf->sim[0], ops[i], 0, 0, 0);
		cf_check(cf, 0, p, BLOCK, i);
		cf_check(cf, CPU, p, BLOCK, i);
	}
	cf_unmap(cf, p, BLOCK);
}

/* A device that fails cannot be detached; when it works again no byte is missing. */
static void test_detach_fails(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);

	cf_fill(cf, 0, p, 2 * BLOCK, 1);
	gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 1, UINT32_MAX, -EIO);
	assert_int_equal(gm_sim_detach(cf->ctx[0]), -EIO);
	gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
	cf_check(cf, 0, p, 2 * BLOCK, 1);
	assert_int_equal(gm_sim_detach(cf->ctx[0]), 0);
	cf->ctx[0] = NULL;
	cf_check(cf, CPU, p, 2 * BLOCK, 1);
	cf_unmap(cf, p, 2 * BLOCK);
}

/* ------------------------------------------------------------- a kernel that refuses it */

static int try_create(void)
{
	struct gm_as_options opt = { .size = sizeof(opt), .flags = cf_flags };
	struct gm_as *as;
	int err = gm_as_create(&opt, &as);

	fprintf(stderr, "%d: %s\n", err, gm_strerror(err));
	if (!err)
		gm_as_destroy(as);
	return 0;
}

static int refused_by_filter(uint32_t err)
{
	proc_filter_userfaultfd(err);
	proc_drop_privileges();
	return try_create();
}

/* Without rights it works, but for system calls, and says so once. */
static int user_mode_only(void)
{
	struct cf *cf;
	char *p;

	cf_warm_up();
	proc_drop_privileges();
	for (int i = 0; i < 2; i++) {
		cf = cf_setup();
		p = cf_alloc(cf, BLOCK);
		cf_fill(cf, 0, p, BLOCK, 1);
		if (write(STDOUT_FILENO, p, 8) != -1 || errno != EFAULT)
			return 1;
		cf_check(cf, CPU, p, BLOCK, 1);
		cf_unmap(cf, p, BLOCK);
		cf_teardown(cf);
	}
	return 0;
}

int cf_run_child(const char *name)
{
	cf_flags = strstr(name, "inline") ? GM_AS_INLINE : 0;
	if (strstr(name, "exit")) {
		cf_kernel = strstr(name, "kernel");
		return cf_exit_child(name);
	}
	if (strstr(name, "eperm"))
		return refused_by_filter(EPERM);
	if (strstr(name, "enosys"))
		return refused_by_filter(ENOSYS);
	return user_mode_only();
}

static void test_refused(void **state)
{
	(void)state;
	if (cf_not_here(cf_kernel, "userfaultfd is not used"))
		return;
	proc_says(is_inline() ? "eperm-inline" : "eperm", "-1: a seccomp filter refuses",
		  "/dev/userfaultfd");
	proc_says(is_inline() ? "enosys-inline" : "enosys", "-1: a seccomp filter refuses",
		  "/dev/userfaultfd");
}

static void test_user_mode_only(void **state)
{
	char said[1024];

	(void)state;
	if (cf_not_here(cf_kernel, "userfaultfd is not used"))
		return;
	if (proc_unprivileged_may())
		skip(); /* vm.unprivileged_userfaultfd is 1: nobody is refused anything */
	proc_ends_well(is_inline() ? "user-inline" : "user", said, sizeof(said));
	if (is_inline()) {
		assert_string_equal(said, "");
	} else {
		char *first = strstr(said, "gmem: system calls");

		assert_non_null(first);
		assert_null(strstr(first + 1, "gmem: "));
	}
}

const struct CMUnitTest cf_process_tests[] = {
	CF_TEST(test_syscalls),
	cmocka_unit_test(test_own_signals),
	CF_TEST(test_cpu_fault_fails),
	CF_TEST(test_dev_fault_fails),
	CF_TEST(test_detach_fails),
	cmocka_unit_test(test_refused),
	cmocka_unit_test(test_user_mode_only),
	CF_TEST(test_fork),
	CF_TEST(test_fork_shares),
	CF_TEST(test_destroy_attached),
	CF_TEST(test_descriptors),
	CF_TEST(test_kernel_devices),
	CF_TEST(test_bad_devices),
	CF_TEST(test_accesses),
};
const size_t cf_nr_process_tests = sizeof(cf_process_tests) / sizeof(cf_process_tests[0]);
