// SPDX-License-Identifier: GPL-2.0-only
/* What the tests of the kernel host share. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "kt.h"

void kt_fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	va_list ap;

	printf("  %s:%d: ", base ? base + 1 : file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

int kt_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

int kt_gmem(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/gmem", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

int kt_as(uint32_t granule)
{
	struct gmem_as_create c = { .size = sizeof(c), .cpu_granule = granule };

	return kt_ioctl(kt_gmem(), GMEM_AS_CREATE, &c);
}

int kt_object(uint64_t bytes)
{
	struct gmem_object_create c = { .size = sizeof(c), .bytes = bytes };

	return kt_ioctl(kt_gmem(), GMEM_OBJECT_CREATE, &c);
}

int kt_map_at(int as, int obj, uint64_t off, uint64_t len, uint32_t prot, uint64_t *va)
{
	struct gmem_map m = {
		.size = sizeof(m),
		.flags = *va ? GMEM_MAP_FIXED : 0,
		.fd = obj,
		.prot = prot,
		.offset = off,
		.len = len,
		.addr = *va,
	};
	int err = kt_ioctl(as, GMEM_MAP, &m);

	if (!err)
		*va = m.addr;
	return err;
}

void *kt_map(int as, int obj, uint64_t off, uint64_t len, uint32_t prot)
{
	uint64_t va = 0;

	CHECK_EQ(kt_map_at(as, obj, off, len, prot, &va), 0);
	return (void *)(uintptr_t)va;
}

int kt_sim(uint64_t memory, uint32_t flags, int *node)
{
	struct gmem_sim_create c = { .size = sizeof(c),
				     .memory = memory,
				     .flags = flags | GMEM_SIM_CHECK };
	int fd = open("/dev/gmem_sim", O_RDWR | O_CLOEXEC), ret;

	CHECK(fd >= 0);
	ret = kt_ioctl(fd, GMEM_SIM_IOC_CREATE, &c);
	CHECK(ret >= 0);
	if (node)
		*node = ret;
	kt_tune(fd, 0, true); /* tests send the same pages there and back */
	return fd;
}

int kt_attach(int sim, int as)
{
	struct gmem_sim_attach a = { .size = sizeof(a), .as = as };

	return kt_ioctl(sim, GMEM_SIM_IOC_ATTACH, &a);
}

void kt_tune(int sim, uint32_t granule, bool background)
{
	struct gmem_sim_tune t = {
		.size = sizeof(t),
		.granule = granule,
		.no_grow = granule != 0,
		.no_background = !background,
		.no_thrash = 1,
	};

	CHECK_EQ(kt_ioctl(sim, GMEM_SIM_IOC_TUNE, &t), 0);
}

int kt_dev_lane(int sim, int ctx, uint32_t lane, uint32_t op, const void *va, void *buf,
		uint64_t len)
{
	struct gmem_sim_access a = {
		.size = sizeof(a),
		.ctx = (uint32_t)ctx,
		.lane = lane,
		.op = op,
		.va = (uint64_t)(uintptr_t)va,
		.len = len,
		.buf = (uint64_t)(uintptr_t)buf,
	};

	return kt_ioctl(sim, GMEM_SIM_IOC_ACCESS, &a);
}

int kt_dev(int sim, int ctx, uint32_t op, const void *va, void *buf, uint64_t len)
{
	return kt_dev_lane(sim, ctx, 0, op, va, buf, len);
}

uint64_t kt_dev_load(int sim, int ctx, const void *va)
{
	uint64_t v;

	CHECK_EQ(kt_dev(sim, ctx, GMEM_SIM_READ, va, &v, sizeof(v)), 0);
	return v;
}

void kt_dev_store(int sim, int ctx, void *va, uint64_t v)
{
	CHECK_EQ(kt_dev(sim, ctx, GMEM_SIM_WRITE, va, &v, sizeof(v)), 0);
}

int kt_advise(int as, uint32_t advice, int node, void *va, uint64_t len)
{
	struct gmem_advise a = {
		.size = sizeof(a),
		.advice = advice,
		.hnode = node,
		.addr = (uint64_t)(uintptr_t)va,
		.len = len,
	};

	return kt_ioctl(as, GMEM_ADVISE, &a);
}

static struct gmem_page_info query(int as, void *va)
{
	struct gmem_page_info info;
	struct gmem_query q = {
		.size = sizeof(q),
		.addr = (uint64_t)(uintptr_t)va & ~(PAGE - 1),
		.len = PAGE,
		.info = (uint64_t)(uintptr_t)&info,
	};

	CHECK_EQ(kt_ioctl(as, GMEM_QUERY, &q), 0);
	return info;
}

int kt_node(int as, void *va)
{
	return query(as, va).node;
}

unsigned int kt_flags(int as, void *va)
{
	return query(as, va).flags;
}

int kt_inject(int sim, uint32_t op, uint32_t skip, uint32_t count, int err)
{
	struct gmem_sim_inject in = {
		.size = sizeof(in), .op = op, .skip = skip, .count = count, .err = (uint32_t)err
	};

	return kt_ioctl(sim, GMEM_SIM_IOC_INJECT, &in);
}

void kt_sim_stats(int sim, struct gmem_sim_stats *stats)
{
	stats->size = sizeof(*stats);
	CHECK_EQ(kt_ioctl(sim, GMEM_SIM_IOC_STATS, stats), 0);
}

void kt_stats(int as, struct gmem_stats *stats)
{
	stats->size = sizeof(*stats);
	stats->hnode = 0;
	CHECK_EQ(kt_ioctl(as, GMEM_STATS, stats), 0);
}

uint64_t kt_went_home(struct kt *t)
{
	struct gmem_stats s;

	kt_stats(t->as, &s);
	return s.pages_to_host;
}

struct gmem_sim_lookup kt_look(struct kt *t, void *va)
{
	struct gmem_sim_lookup l = { .size = sizeof(l),
				     .ctx = (uint32_t)t->ctx,
				     .va = (uint64_t)(uintptr_t)va };

	CHECK_EQ(kt_ioctl(t->sim, GMEM_SIM_IOC_LOOKUP, &l), 0);
	return l;
}

void kt_hnode(int node, struct gmem_hnode_info *info)
{
	info->size = sizeof(*info);
	info->hnode = node;
	CHECK_EQ(kt_ioctl(kt_gmem(), GMEM_HNODE_INFO, info), 0);
}

void kt_begin(struct kt *t, uint64_t len, uint64_t dev_memory)
{
	t->len = len;
	t->as = kt_as(0);
	CHECK(t->as >= 0);
	t->sim = kt_sim(dev_memory, 0, &t->node);
	t->ctx = kt_attach(t->sim, t->as);
	CHECK(t->ctx >= 0);
	t->obj = kt_object(len);
	CHECK(t->obj >= 0);
	t->mem = kt_map(t->as, t->obj, 0, len, GMEM_PROT_READ | GMEM_PROT_WRITE);
}

void kt_end(struct kt *t)
{
	struct gmem_sim_detach d = { .size = sizeof(d), .ctx = (uint32_t)t->ctx };
	struct gmem_sim_stats stats;
	struct gmem_hnode_info info;

	munmap(t->mem, t->len);
	close(t->obj);
	CHECK_EQ(kt_ioctl(t->sim, GMEM_SIM_IOC_DETACH, &d), 0);
	kt_sim_stats(t->sim, &stats);
	CHECK_EQ(stats.stale, 0);
	CHECK_EQ(stats.tables, 0);
	kt_hnode(t->node, &info);
	CHECK_EQ(info.free, info.total);
	close(t->as);
	close(t->sim);
}

uint64_t kt_random(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ULL;
	return kt_pattern(*state, 1);
}

int kt_wait(pid_t pid)
{
	int status;

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int kt_load(const char *name)
{
	return kt_load_with(name, "");
}

int kt_load_with(const char *name, const char *params)
{
	char path[128];
	int fd, err;

	snprintf(path, sizeof(path), "/lib/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	return err;
}

int kt_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

/* A descriptor's last use may end a moment after its close: the kernel does that by itself. */
int kt_unload_soon(const char *name)
{
	int err = -EBUSY;

	for (int i = 0; i < 200 && (err == -EAGAIN || err == -EBUSY); i++) {
		err = kt_unload(name);
		if (err)
			nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	return err;
}

void kt_send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	CHECK_EQ(sendmsg(sock, &m, 0), 1);
}

int kt_receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec v = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	CHECK_EQ(recvmsg(sock, &m, MSG_CMSG_CLOEXEC), 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return fd;
}
