// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a user may have of a device: users that use all they can, and the module's parameter.
 * The tests run as root; a user is a child with another uid.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "kt.h"

#define RW (GMEM_PROT_READ | GMEM_PROT_WRITE)
#define PARAMETER "/sys/module/gmem/parameters/user_limit"
#define BLOCKS 8

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int parameter(void)
{
	char text[16] = "";
	int fd = open(PARAMETER, O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return atoi(text);
}

static void set_limit(const char *percent)
{
	CHECK_EQ(write_file(PARAMETER, percent), 0);
	CHECK_EQ(parameter(), atoi(percent));
}

static void become(uid_t uid)
{
	CHECK_EQ(setgroups(0, NULL), 0);
	CHECK_EQ(setresgid(uid, uid, uid), 0);
	CHECK_EQ(setresuid(uid, uid, uid), 0);
}

/* Another uid for the next requests; root may come back. */
static void act_as(uid_t uid)
{
	CHECK_EQ(setresuid((uid_t)-1, 0, (uid_t)-1), 0);
	CHECK_EQ(setresuid(uid, uid, 0), 0);
}

static uint64_t used(int node)
{
	struct gmem_hnode_info info;

	kt_hnode(node, &info);
	return info.used;
}

static void within(int node, uint64_t limit)
{
	struct gmem_hnode_info info;

	kt_hnode(node, &info);
	CHECK_EQ(info.limit, limit);
	if (info.used > limit)
		kt_fail(__FILE__, __LINE__, "%llu used, of %llu", (unsigned long long)info.used,
			(unsigned long long)limit);
}

/* A user's own address space and object, and the device that root has made. */
static void user_begin(struct kt *t, const struct kt *root, uid_t uid)
{
	become(uid);
	*t = *root;
	t->as = kt_as(0);
	CHECK(t->as >= 0);
	t->ctx = kt_attach(t->sim, t->as);
	CHECK(t->ctx >= 0);
	t->len = BLOCKS * BLOCK;
	t->obj = kt_object(t->len);
	CHECK(t->obj >= 0);
	t->mem = kt_map(t->as, t->obj, 0, t->len, RW);
}

static void user_end(struct kt *t)
{
	struct gmem_sim_detach d = { .size = sizeof(d), .ctx = (uint32_t)t->ctx };

	munmap(t->mem, t->len);
	close(t->obj);
	CHECK_EQ(kt_ioctl(t->sim, GMEM_SIM_IOC_DETACH, &d), 0);
	close(t->as);
}

/* Waits for other processes of the same user, who hold all that could make room. */
static void insist(struct kt *t, uint32_t op, uint64_t at, uint64_t *v)
{
	int err;

	do
		err = kt_dev(t->sim, t->ctx, op, t->mem + at, v, 8);
	while (err == -EBUSY || err == -ENOSPC);
	CHECK_EQ(err, 0);
}

/* Touches, prefetches and pins more than all of the device, and finds every byte. */
static void use_all(struct kt *t, uint64_t seed, uint64_t limit)
{
	uint64_t state = seed, v;

	for (uint64_t at = 0; at < t->len; at += 16 * PAGE) {
		uint64_t r = kt_random(&state), block = r % BLOCKS * BLOCK;
		int err = 0;

		v = kt_pattern(seed, at);
		insist(t, GMEM_SIM_WRITE, at, &v);
		within(t->node, limit);
		switch (r >> 60) {
		case 0:
			err = kt_advise(t->as, GMEM_PREFETCH, t->node, t->mem + block, BLOCK);
			break;
		case 1:
			err = kt_advise(t->as, GMEM_PIN, t->node, t->mem + block, 30 * PAGE);
			within(t->node, limit);
			CHECK_EQ(kt_advise(t->as, GMEM_UNPIN, 0, t->mem + block, BLOCK), 0);
			break;
		case 2:
			*(volatile uint64_t *)(void *)(t->mem + block + 8) = r;
			break;
		case 3:
			err = kt_advise(t->as, GMEM_PREFETCH, t->node, t->mem, t->len);
			break;
		}
		CHECK(!err || err == -EBUSY || err == -ENOSPC);
		within(t->node, limit);
	}
	for (uint64_t at = 0; at < t->len; at += 16 * PAGE) {
		insist(t, GMEM_SIM_READ, at, &v);
		CHECK_EQ(v, kt_pattern(seed, at));
		within(t->node, limit);
	}
}

/* Two users, one of them with two processes, and root, who has no limit. */
static void limit_users(void)
{
	static const uid_t uids[] = { 1001, 1002, 1001 };
	struct gmem_hnode_info info;
	pid_t pid[3];
	struct kt t;

	set_limit("50");
	kt_begin(&t, BLOCKS * BLOCK, BLOCKS * BLOCK);
	for (unsigned int i = 0; i < 3; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			struct kt own;

			user_begin(&own, &t, uids[i]);
			use_all(&own, i + 1, BLOCKS * BLOCK / 2);
			user_end(&own);
			_exit(0);
		}
	}
	for (unsigned int i = 0; i < 3; i++)
		CHECK_EQ(kt_wait(pid[i]), 0);
	kt_hnode(t.node, &info);
	CHECK_EQ(info.free, info.total);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	kt_hnode(t.node, &info);
	CHECK_EQ(info.free, 0);
	CHECK_EQ(info.used, 0); /* charged to nobody */
	CHECK_EQ(info.limit, info.total);
	kt_end(&t);
	set_limit("100");
}

/* Pins up to the limit and not beyond; room is made of one's own, a neighbour keeps his. */
static void limit_pins(void)
{
	const uint64_t half = BLOCKS * BLOCK / 2;
	struct kt t, own;
	uint64_t v = 1;
	pid_t pid;

	set_limit("50");
	kt_begin(&t, 2 * BLOCK, BLOCKS * BLOCK);
	kt_tune(t.sim, PAGE, false);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	pid = fork();
	if (!pid) {
		user_begin(&own, &t, 1001);
		CHECK_EQ(kt_advise(own.as, GMEM_PREFETCH, own.node, own.mem, own.len), 0);
		CHECK_EQ(used(own.node), half);
		CHECK_EQ(kt_advise(own.as, GMEM_PIN, own.node, own.mem, half), 0);
		CHECK_EQ(kt_advise(own.as, GMEM_PIN, own.node, own.mem + half, PAGE), -ENOSPC);
		CHECK_EQ(kt_advise(own.as, GMEM_PREFETCH, own.node, own.mem + half, PAGE), -ENOSPC);
		CHECK_EQ(kt_dev(own.sim, own.ctx, GMEM_SIM_WRITE, own.mem + half, &v, 8), -ENOSPC);
		CHECK_EQ(used(own.node), half);
		CHECK_EQ(kt_advise(own.as, GMEM_UNPIN, 0, own.mem, PAGE), 0);
		kt_dev_store(own.sim, own.ctx, own.mem + half, 2);
		CHECK_EQ(used(own.node), half);
		CHECK_EQ(*(uint64_t *)(void *)(own.mem + half), 2);
		user_end(&own);
		_exit(0);
	}
	CHECK_EQ(kt_wait(pid), 0);
	for (uint64_t at = 0; at < t.len; at += PAGE)
		CHECK_EQ(kt_node(t.as, t.mem + at), t.node);
	kt_end(&t);
	set_limit("100");
}

static void say(int sock)
{
	CHECK_EQ(write(sock, "", 1), 1);
}

static void hear(int sock)
{
	char byte;

	CHECK_EQ(read(sock, &byte, 1), 1);
}

/* The parameter changes while a user has memory: it takes effect when he next asks for some. */
static void limit_changes(void)
{
	const uint64_t all = BLOCKS * BLOCK;
	struct kt t, own;
	int sock[2];
	pid_t pid;

	set_limit("100");
	kt_begin(&t, PAGE, all + BLOCK);
	kt_tune(t.sim, PAGE, false);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	pid = fork();
	if (!pid) {
		user_begin(&own, &t, 1001);
		CHECK_EQ(write_file(PARAMETER, "90"), -EACCES);
		CHECK_EQ(kt_advise(own.as, GMEM_PREFETCH, own.node, own.mem, all - BLOCK), 0);
		say(sock[1]);
		hear(sock[1]); /* 25: he has more, and keeps it */
		CHECK_EQ(used(own.node), all - BLOCK);
		kt_dev_store(own.sim, own.ctx, own.mem + all - BLOCK, 3);
		within(own.node, (all + BLOCK) / 4);
		say(sock[1]);
		hear(sock[1]); /* 75 */
		CHECK_EQ(kt_advise(own.as, GMEM_PREFETCH, own.node, own.mem, all), 0);
		within(own.node, (all + BLOCK) / 4 * 3);
		CHECK(used(own.node) > all / 2);
		CHECK_EQ(*(uint64_t *)(void *)(own.mem + all - BLOCK), 3);
		user_end(&own);
		_exit(0);
	}
	hear(sock[0]);
	set_limit("25");
	say(sock[0]);
	hear(sock[0]);
	set_limit("75");
	say(sock[0]);
	CHECK_EQ(kt_wait(pid), 0);
	kt_end(&t);
	set_limit("100");
}

static void limit_bad_values(void)
{
	static const char *const bad[] = { "0", "101", "-1", "4294967346", "x", "50x", "5 0", " " };

	set_limit("50");
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int err = write_file(PARAMETER, bad[i]);

		CHECK(err == -EINVAL || err == -ERANGE);
		CHECK_EQ(parameter(), 50);
	}
	set_limit("1");
	set_limit("100");
}

/* Who made an object is charged, whoever uses it. */
static void limit_maker(void)
{
	struct kt t;

	set_limit("50");
	kt_begin(&t, PAGE, BLOCKS * BLOCK);
	act_as(1001);
	close(t.obj);
	CHECK_EQ(kt_object(0), -EINVAL);
	t.obj = kt_object(BLOCKS * BLOCK);
	CHECK(t.obj >= 0);
	act_as(0);
	munmap(t.mem, t.len);
	t.len = BLOCKS * BLOCK;
	t.mem = kt_map(t.as, t.obj, 0, t.len, RW);
	CHECK_EQ(kt_advise(t.as, GMEM_PREFETCH, t.node, t.mem, t.len), 0);
	CHECK_EQ(used(t.node), 0);
	act_as(1001);
	CHECK_EQ(used(t.node), t.len / 2);
	act_as(1002);
	CHECK_EQ(used(t.node), 0);
	act_as(0);
	munmap(t.mem, t.len);
	close(t.obj);
	act_as(1001);
	CHECK_EQ(used(t.node), 0); /* gone with the object */
	act_as(0);
	t.obj = kt_object(PAGE);
	t.len = PAGE;
	t.mem = kt_map(t.as, t.obj, 0, t.len, RW);
	kt_end(&t);
	set_limit("100");
}

/* Further uids of a user namespace are further uids of its maker's. */
static void limit_namespace(void)
{
	struct kt t, own;
	char path[64];
	int sock[2];
	pid_t pid;

	if (access("/proc/self/ns/user", F_OK)) {
		printf("  this kernel has no user namespaces\n");
		return;
	}
	set_limit("50");
	kt_begin(&t, PAGE, BLOCKS * BLOCK);
	kt_tune(t.sim, PAGE, false);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	pid = fork();
	if (!pid) {
		user_begin(&own, &t, 1001);
		CHECK_EQ(kt_advise(own.as, GMEM_PREFETCH, own.node, own.mem, 5 * PAGE), 0);
		CHECK_EQ(unshare(CLONE_NEWUSER), 0);
		say(sock[1]);
		hear(sock[1]); /* root has given it uids, as newuidmap would */
		CHECK_EQ(setresuid(7, 7, 7), 0);
		CHECK_EQ(used(own.node), 5 * PAGE);
		close(own.obj);
		munmap(own.mem, own.len);
		own.obj = kt_object(own.len);
		CHECK(own.obj >= 0);
		own.mem = kt_map(own.as, own.obj, 0, own.len, RW);
		CHECK_EQ(kt_advise(own.as, GMEM_PREFETCH, own.node, own.mem, own.len), 0);
		within(own.node, BLOCKS * BLOCK / 2);
		CHECK_EQ(used(own.node), BLOCKS * BLOCK / 2);
		say(sock[1]);
		hear(sock[1]);
		user_end(&own);
		_exit(0);
	}
	close(sock[1]);
	hear(sock[0]);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	CHECK_EQ(write_file(path, "0 100000 1000"), 0);
	say(sock[0]);
	hear(sock[0]);
	act_as(1001);
	CHECK_EQ(used(t.node), BLOCKS * BLOCK / 2);
	act_as(0);
	say(sock[0]);
	CHECK_EQ(kt_wait(pid), 0);
	kt_end(&t);
	set_limit("100");
}

/* Callers of every age: one that knows neither field, one that knows the first, and us. */
static void limit_old_callers(void)
{
	struct gmem_hnode_info now, then;
	struct kt t;

	set_limit("50");
	kt_begin(&t, 2 * BLOCK, BLOCKS * BLOCK);
	kt_dev_store(t.sim, t.ctx, t.mem, 1);
	act_as(1001);
	kt_hnode(t.node, &now);
	CHECK_EQ(now.limit, BLOCKS * BLOCK / 2);
	for (uint32_t size = offsetof(struct gmem_hnode_info, used); size <= sizeof(now);
	     size += 8) {
		memset(&then, 0xa5, sizeof(then));
		then.size = size;
		then.hnode = t.node;
		CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_HNODE_INFO, &then), 0);
		CHECK_EQ(then.size, size);
		CHECK_EQ(memcmp(&then.hnode, &now.hnode, size - 4), 0);
		for (uint32_t i = size; i < sizeof(then); i++)
			CHECK_EQ(((unsigned char *)&then)[i], 0xa5);
	}
	then.size = offsetof(struct gmem_hnode_info, used) - 4;
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_HNODE_INFO, &then), -EINVAL);
	act_as(0);
	kt_end(&t);
	set_limit("100");
}

const struct kt_test kt_limits[] = {
	{ "limit_bad_values", limit_bad_values, 0 }, { "limit_old_callers", limit_old_callers, 0 },
	{ "limit_users", limit_users, 120 },	     { "limit_pins", limit_pins, 60 },
	{ "limit_changes", limit_changes, 60 },	     { "limit_maker", limit_maker, 0 },
	{ "limit_namespace", limit_namespace, 0 },   { 0 },
};
