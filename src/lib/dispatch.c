// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The public functions that both hosts have. What takes a handle goes to the host that
 * made it, and there is but one; what makes the first handle chooses.
 */
#include <errno.h>

#include "expose.h"
#include "host.h"

const char *gm_host_name(void)
{
	const struct gm_host *host;

	return gm_host_choose(false, &host) ? NULL : host->name;
}

/* -------------------------------------------------------------------- these choose */

int gm_as_create(const struct gm_as_options *opt, struct gm_as **as)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	if (!err)
		err = host->as_create(opt, as);
	if (!err)
		gm_expose_as_created(*as);
	return err;
}

int gm_object_create(uint64_t size, uint32_t flags, struct gm_object **obj)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->object_create(size, flags, obj);
}

int gm_object_from_fd(int fd, struct gm_object **obj)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->object_from_fd(fd, obj);
}

int gm_dev_create(const struct gm_mmu *mmu, const char *name, void *data, struct gm_dev **dev)
{
	const struct gm_host *host;
	int err = gm_host_choose(true, &host);

	if (!err)
		err = host->dev_create(mmu, name, data, dev);
	if (!err)
		gm_expose_dev_created(*dev, name);
	return err;
}

int gm_dev_from_hnode(int hnode, struct gm_dev **dev)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->dev_from_hnode(hnode, dev);
}

int hmadvise(int hnode, void *addr, size_t len, enum gm_advice advice)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->advise(hnode, addr, len, advice);
}

int hmemcpy(int hnode, void *dst, const void *src, size_t len)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->copy(hnode, dst, src, len);
}

int gm_job_start(const struct gm_hint *hints, unsigned int n, struct gm_job **job)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->job_start(hints, n, job);
}

int hmadvise_async(int hnode, void *addr, size_t len, enum gm_advice advice, struct gm_job **job)
{
	struct gm_hint hint = {
		.addr = addr, .len = len, .hnode = hnode, .advice = (uint32_t)advice
	};

	return gm_job_start(&hint, 1, job);
}

int gm_query(const void *addr, size_t len, struct gm_page_info *info)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->query(addr, len, info);
}

int gm_attr_query(const void *addr, size_t len, struct gm_attr *attr)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->attr_query(addr, len, attr);
}

int gm_hnode_info(int hnode, struct gm_hnode_info *info)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->hnode_info(hnode, info);
}

/* What is code of this process is not for the kernel host, as drivers are not. */
int gm_policy_register(const struct gm_move_policy *move, const struct gm_evict_policy *evict)
{
	const struct gm_host *host;
	int err = gm_host_choose(true, &host);

	return err ? err : host->policy_register(move, evict);
}

int gm_events_open(const struct gm_events_options *opt, struct gm_events **events)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->events_open(opt, events);
}

int gm_policy_name(unsigned int i, struct gm_policy_info *info)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->policy_name(i, info);
}

int gm_record_start(const char *path)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->record_start(path);
}

int gm_record_stop(void)
{
	const struct gm_host *host;
	int err = gm_host_choose(false, &host);

	return err ? err : host->record_stop();
}

void gm_retain_limit(uint64_t bytes)
{
	const struct gm_host *host;

	if (!gm_host_choose(false, &host))
		host->retain_limit(bytes);
}

/* --------------------------------------------------------- these find it was chosen */

int gm_as_destroy(struct gm_as *as)
{
	struct gm_expose_ending end;
	int err;

	gm_expose_as_ending(as, &end);
	err = gm_host()->as_destroy(as);
	gm_expose_as_ended(as, &end, err);
	return err;
}

int gm_as_fd(struct gm_as *as)
{
	return gm_host()->as_fd(as);
}

int gm_as_on_destroy(struct gm_as *as, int (*fn)(void *data), void *data)
{
	return gm_host()->as_on_destroy(as, fn, data);
}

int gm_as_map(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len, uint32_t prot,
	      uint32_t flags, void **addr)
{
	return gm_host()->as_map(as, obj, offset, len, prot, flags, addr);
}

int gm_as_unmap(struct gm_as *as, void *addr, uint64_t len)
{
	return gm_host()->as_unmap(as, addr, len);
}

int gm_as_remap(struct gm_as *as, void *addr, uint64_t old_len, uint64_t new_len, uint32_t flags,
		void **new_addr)
{
	return gm_host()->as_remap(as, addr, old_len, new_len, flags, new_addr);
}

int gm_as_limit(struct gm_as *as, int hnode, uint64_t bytes)
{
	return gm_host()->as_limit(as, hnode, bytes);
}

int gm_as_protect(struct gm_as *as, void *addr, uint64_t len, uint32_t prot)
{
	return gm_host()->as_protect(as, addr, len, prot);
}

int gm_alloc(struct gm_as *as, uint64_t len, uint32_t flags, void **addr)
{
	return gm_host()->alloc(as, len, flags, addr);
}

int gm_register(struct gm_as *as, void *addr, uint64_t len)
{
	return gm_host()->reg(as, addr, len);
}

int gm_unregister(struct gm_as *as, void *addr, uint64_t len)
{
	return gm_host()->unreg(as, addr, len);
}

int gm_as_attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode, struct gm_context **ctx)
{
	return gm_host()->as_attach(as, dev, mode, ctx);
}

int gm_as_attach_sparse(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
			struct gm_context **ctx)
{
	return gm_host()->as_attach_sparse(as, dev, mode, ctx);
}

int gm_as_detach(struct gm_context *ctx)
{
	return gm_host()->as_detach(ctx);
}

int gm_as_lookup(struct gm_as *as, uint64_t va, struct gm_lookup *info)
{
	return gm_host()->as_lookup(as, va, info);
}

int gm_as_stats(struct gm_as *as, struct gm_stats *stats)
{
	return gm_host()->as_stats(as, stats);
}

int gm_job_wait(struct gm_job *job, uint64_t ns)
{
	return gm_host()->job_wait(job, ns);
}

int gm_job_fd(struct gm_job *job)
{
	return gm_host()->job_fd(job);
}

int gm_job_cancel(struct gm_job *job)
{
	return gm_host()->job_cancel(job);
}

void gm_job_free(struct gm_job *job)
{
	gm_host()->job_free(job);
}

int gm_object_fd(struct gm_object *obj)
{
	return gm_host()->object_fd(obj);
}

void gm_object_put(struct gm_object *obj)
{
	gm_host()->object_put(obj);
}

int gm_dev_destroy(struct gm_dev *dev)
{
	struct gm_expose_ending end;
	int err;

	gm_expose_dev_ending(dev, &end);
	err = gm_host()->dev_destroy(dev);
	gm_expose_dev_ended(dev, &end, err);
	return err;
}

int gm_dev_hnode(const struct gm_dev *dev)
{
	return gm_host()->dev_hnode(dev);
}

int gm_dev_poison(struct gm_dev *dev, uint64_t pa)
{
	return gm_host()->dev_poison(dev, pa);
}

int gm_dev_register_physmem(struct gm_dev *dev, uint64_t begin, uint64_t end)
{
	return gm_host()->dev_register_physmem(dev, begin, end);
}

int gm_dev_register_physmem_cpu(struct gm_dev *dev, uint64_t begin, uint64_t end, uint64_t cpu)
{
	return gm_host()->dev_register_physmem_cpu(dev, begin, end, cpu);
}

int gm_dev_unregister_physmem(struct gm_dev *dev, uint64_t begin, uint64_t end)
{
	return gm_host()->dev_unregister_physmem(dev, begin, end);
}

int gm_dev_remove(struct gm_dev *dev)
{
	return gm_host()->dev_remove(dev);
}

int gm_dev_stats(struct gm_dev *dev, struct gm_stats *stats)
{
	return gm_host()->dev_stats(dev, stats);
}

int gm_dev_tune(struct gm_dev *dev, const struct gm_dev_tunables *t)
{
	return gm_host()->dev_tune(dev, t);
}

int gm_dev_set_policy(struct gm_dev *dev, const char *names)
{
	return gm_host()->dev_set_policy(dev, names);
}

int gm_dev_policy(struct gm_dev *dev, char *names, size_t len)
{
	return gm_host()->dev_policy(dev, names, len);
}

int gm_policy_unregister(const struct gm_move_policy *move, const struct gm_evict_policy *evict)
{
	return gm_host()->policy_unregister(move, evict);
}

int gm_events_read(struct gm_events *events, struct gm_event_record *buf, unsigned int n)
{
	return gm_host()->events_read(events, buf, n);
}

int gm_events_fd(struct gm_events *events)
{
	return gm_host()->events_fd(events);
}

int gm_events_lost(struct gm_events *events, uint64_t *lost)
{
	return gm_host()->events_lost(events, lost);
}

void gm_events_close(struct gm_events *events)
{
	gm_host()->events_close(events);
}

uint64_t gm_metadata_bytes(void)
{
	return gm_host()->metadata_bytes();
}

uint64_t gm_retain_trim(uint64_t bytes)
{
	return gm_host()->retain_trim(bytes);
}

uint64_t gm_retained_bytes(void)
{
	return gm_host()->retained_bytes();
}
