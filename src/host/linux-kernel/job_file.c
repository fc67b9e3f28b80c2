// SPDX-License-Identifier: GPL-2.0-only
/*
 * The descriptor of a job: hints that are carried out in the background (core's async.c).
 *
 * It is readable once the job has ended. A job is held by its descriptor, and by the core until
 * that has told of the end; it does not hold its address space, whose end ends it. What it is
 * told of before that by somebody else's process (the descriptor can be passed on) is the same.
 *
 * Locking: none. The end is written before `ended` (release), and read after it (acquire).
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "request.h"

struct job {
	struct kref ref;
	struct gm_sweep *sweep; /* (c) once there is a descriptor */
	wait_queue_head_t wait;
	int err;
	bool ended;
};

static void job_free(struct kref *ref)
{
	kfree(container_of(ref, struct job, ref));
}

void gm_os_job_done(void *host, int err)
{
	struct job *job = host;

	job->err = err;
	smp_store_release(&job->ended, true);
	wake_up_all(&job->wait);
	kref_put(&job->ref, job_free);
}

static __poll_t job_poll(struct file *file, poll_table *table)
{
	struct job *job = file->private_data;

	poll_wait(file, &job->wait, table);
	return smp_load_acquire(&job->ended) ? EPOLLIN | EPOLLRDNORM : 0;
}

static long job_request(struct file *file, void *arg)
{
	struct job *job = file->private_data;
	struct gmem_job *j = arg;

	if (j->flags & ~GMEM_JOB_CANCEL)
		return -EINVAL;
	if (j->flags & GMEM_JOB_CANCEL)
		gm_sweep_cancel(job->sweep);
	j->ended = smp_load_acquire(&job->ended);
	j->err = j->ended ? job->err : 0;
	return 0;
}

static const struct gm_request job_requests[] = {
	REQUEST(GMEM_JOB, gmem_job, true, job_request),
};

static long job_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return gm_carry_out(file, cmd, (void __user *)arg, job_requests, ARRAY_SIZE(job_requests));
}

static int job_release(struct inode *inode, struct file *file)
{
	struct job *job = file->private_data;

	if (job->sweep) /* else it never began, and nobody has seen this */
		gm_sweep_put(job->sweep);
	kref_put(&job->ref, job_free);
	return 0;
}

static const struct file_operations job_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = job_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = job_poll,
	.release = job_release,
	.llseek = noop_llseek,
};

/* A descriptor and its file, which is nobody's yet. */
static int job_file(struct job *job, struct file **file)
{
	int fd = get_unused_fd_flags(O_CLOEXEC);

	if (fd < 0)
		return fd;
	*file = anon_inode_getfile("[gmem-job]", &job_fops, job, O_RDWR);
	if (!IS_ERR(*file))
		return fd;
	put_unused_fd(fd);
	return PTR_ERR(*file);
}

static int start(struct gm_kas *kas, const struct gm_hint *hints, u32 n)
{
	struct job *job = kzalloc(sizeof(*job), GFP_KERNEL_ACCOUNT);
	struct file *file;
	int fd, err;

	if (!job)
		return -ENOMEM;
	kref_init(&job->ref);
	init_waitqueue_head(&job->wait);
	fd = job_file(job, &file);
	if (fd < 0) {
		kfree(job);
		return fd;
	}
	kref_get(&job->ref); /* the core's */
	err = gm_sweep_start(kas->as, hints, n, job, &job->sweep);
	if (!err) {
		fd_install(fd, file);
		return fd;
	}
	put_unused_fd(fd);
	fput(file);
	kref_put(&job->ref, job_free);
	return err;
}

/* The hints of a request. */
static struct gm_hint *hints_get(const struct gmem_job_start *s)
{
	struct gm_hint *hints;
	u32 i;

	static_assert(sizeof(struct gm_hint) == sizeof(struct gmem_hint));
	static_assert(offsetof(struct gm_hint, hnode) == offsetof(struct gmem_hint, hnode));
	if (!s->n || s->n > GM_HINTS_MAX)
		return ERR_PTR(-EINVAL);
	hints = vmemdup_user(u64_to_user_ptr(s->hints), s->n * sizeof(*hints));
	for (i = 0; !IS_ERR(hints) && i < s->n; i++) {
		if (hints[i].len && (u64)hints[i].addr + hints[i].len >= (u64)hints[i].addr)
			continue;
		kvfree(hints);
		return ERR_PTR(-EINVAL);
	}
	return hints;
}

static int check_as(struct gm_kas *kas, const struct gm_hint *hints, u32 n)
{
	struct gm_kas *other;
	u32 i;

	for (i = 0; i < n; i++) {
		if (gm_as_covers(kas->as, (u64)hints[i].addr))
			continue;
		other = gm_kas_at((u64)hints[i].addr);
		if (!other)
			return -EFAULT;
		gm_kas_put(other);
		return -EINVAL;
	}
	return 0;
}

/* @kas is NULL: the address space that the first one's address is mapped in. */
long gm_kas_job_start(struct gm_kas *kas, const struct gmem_job_start *s)
{
	struct gm_hint *hints = hints_get(s);
	struct gm_kas *found = NULL;
	long ret = 0;

	if (IS_ERR(hints))
		return PTR_ERR(hints);
	if (!kas)
		kas = found = gm_kas_at((u64)hints[0].addr);
	ret = kas ? check_as(kas, hints, s->n) : -EFAULT;
	if (!ret)
		ret = start(kas, hints, s->n);
	if (found)
		gm_kas_put(found);
	kvfree(hints);
	return ret;
}
