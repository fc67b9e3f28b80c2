// SPDX-License-Identifier: GPL-2.0-only
/* Policies of the kernel's devices: choosing them by name, under load, and each at work. */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kt.h"

static int request(struct gmem_policy *p, int node, uint32_t op, const char *names)
{
	*p = (struct gmem_policy){ .size = sizeof(*p), .op = op, .hnode = node };
	if (names)
		strncpy(p->names, names, sizeof(p->names) - 1);
	return kt_ioctl(kt_gmem(), GMEM_POLICY, p);
}

static int set(int node, const char *names)
{
	struct gmem_policy p;

	return request(&p, node, GMEM_POLICY_SET, names);
}

static void expect(int node, const char *names)
{
	struct gmem_policy p;

	CHECK_EQ(request(&p, node, GMEM_POLICY_GET, NULL), 0);
	CHECK_EQ(strcmp(p.names, names), 0);
}

static void by_name(void)
{
	struct gmem_policy p;
	unsigned int n = 0, evicts = 0;
	struct kt t;

	kt_begin(&t, BLOCK, 0);
	CHECK_EQ(set(t.node, "density/lru-2m"), 0);
	expect(t.node, "density/lru-2m");
	CHECK_EQ(set(t.node, "stream/"), 0);
	CHECK_EQ(set(t.node, "/s3fifo"), 0);
	expect(t.node, "stream/s3fifo");
	CHECK_EQ(set(t.node, "stream/nobody"), -ENOENT);
	CHECK_EQ(set(t.node, "s3fifo/stream"), -ENOENT);
	CHECK_EQ(set(t.node, "stream"), -EINVAL);
	CHECK_EQ(set(t.node, ""), -EINVAL);
	CHECK_EQ(set(t.node + 40, "stream/"), -ENODEV);
	expect(t.node, "stream/s3fifo");
	CHECK_EQ(request(&p, t.node + 40, GMEM_POLICY_GET, NULL), -ENODEV);
	memset(&p, 'x', sizeof(p)); /* no end */
	p = (struct gmem_policy){ .size = sizeof(p), .op = GMEM_POLICY_SET, .hnode = t.node };
	memset(p.names, 'x', sizeof(p.names));
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_POLICY, &p), -EINVAL);
	p = (struct gmem_policy){ .size = sizeof(p), .op = 3 };
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_POLICY, &p), -EINVAL);
	p = (struct gmem_policy){ .size = sizeof(p), .op = GMEM_POLICY_NAME };
	while (!kt_ioctl(kt_gmem(), GMEM_POLICY, &p)) {
		CHECK(p.names[0] && p.text[0]);
		evicts += p.kind == GMEM_POLICY_EVICTS;
		p = (struct gmem_policy){ .size = sizeof(p), .op = GMEM_POLICY_NAME, .index = ++n };
	}
	CHECK(evicts >= 3 && n >= evicts + 3);
	p = (struct gmem_policy){ .size = sizeof(p), .op = GMEM_POLICY_NAME, .index = n };
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_POLICY, &p), -ENOENT);
	kt_end(&t);
	CHECK(!setgid(65534) && !setuid(65534));
	CHECK_EQ(set(t.node, "density/"), -EPERM);
}

/* Memory twice as large as the device, by each policy; a child changes them all the while. */
static void at_work(void)
{
	static const char *const names[] = { "density/lru-2m", "fixed/clock",	"stream/s3fifo",
					     "density/s3fifo", "stream/lru-2m", "density/clock" };
	unsigned int n = sizeof(names) / sizeof(names[0]);
	struct kt t;
	pid_t pid;

	kt_begin(&t, 4 * BLOCK, 2 * BLOCK);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		for (unsigned int i = 0; i < 200; i++)
			if (set(t.node, names[i % n]))
				_exit(1);
		_exit(0);
	}
	for (unsigned int round = 0; round < 4; round++)
		for (uint64_t i = 0; i < t.len; i += 3 * PAGE)
			kt_dev_store(t.sim, t.ctx, t.mem + i, kt_pattern(round, i));
	for (uint64_t i = 0; i < t.len; i += 3 * PAGE)
		CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i), kt_pattern(3, i));
	CHECK_EQ(kt_wait(pid), 0);
	for (unsigned int k = 0; k < n; k++) {
		CHECK_EQ(set(t.node, names[k]), 0);
		for (uint64_t i = 0; i < t.len; i += 3 * PAGE)
			CHECK_EQ(kt_dev_load(t.sim, t.ctx, t.mem + i), kt_pattern(3, i));
	}
	for (uint64_t i = 0; i < t.len; i += 3 * PAGE) {
		uint64_t v;

		memcpy(&v, t.mem + i, sizeof(v));
		CHECK_EQ(v, kt_pattern(3, i));
	}
	kt_end(&t);
}

const struct kt_test kt_policy[] = {
	{ "policy_names", by_name, 0 },
	{ "policy_at_work", at_work, 120 },
	{ 0 },
};
