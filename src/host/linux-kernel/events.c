// SPDX-License-Identifier: GPL-2.0-only
/*
 * Descriptors from which a program reads events: GMEM_EVENTS of /dev/gmem.
 *
 * Theory. Each descriptor is a reader with a ring of its own (core's ring.c). It is told of the
 * address spaces of the process that made it, told by their mm, and nothing else; or, if that
 * process was privileged and asked for it, of all. Readers of one mm are in one list of a table, so
 * whoever has an event to tell looks at those of his own process, and those that hear everything,
 * and does not pay for who else listens. A device's removal concerns all, and tells nothing but
 * that: everybody hears of it.
 *
 * What is numbered by pids is numbered as the reader sees them.
 *
 * Locking. Lists are walked under RCU and changed under readers_lock; a reader is freed after a
 * grace period. Who tells takes no lock but the wait queue's, and that only if somebody sleeps there.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/module.h>
#include <linux/pid_namespace.h>
#include <linux/poll.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "request.h"

#define LIST_BITS 6
#define ALL_KINDS ((1U << GM_EVENT_KINDS) - 1)

struct reader {
	struct hlist_node node;	  /* readers_lock, RCU */
	struct mm_struct *mm;	  /* whose; held by mmgrab(). NULL: everybody's */
	struct pid_namespace *ns; /* held */
	struct gm_ring *ring;
	wait_queue_head_t wait;
	u32 kinds;
};

static struct hlist_head readers[1 << LIST_BITS], readers_of_all;
static DEFINE_SPINLOCK(readers_lock);

static struct hlist_head *list_of(const struct mm_struct *mm)
{
	return mm ? &readers[hash_ptr(mm, LIST_BITS)] : &readers_of_all;
}

/* ------------------------------------------------------------------------------ telling */

static void tell(struct reader *r, const struct gm_event *event, struct gm_event_record *record,
		 struct gm_kas *kas)
{
	struct pid *pid;

	if (!(r->kinds >> event->kind & 1))
		return;
	pid = kas ? find_pid_ns(kas->pid, &init_pid_ns) : NULL;
	record->pid = pid ? pid_nr_ns(pid, r->ns) : 0;
	record->tid = task_pid_nr_ns(current, r->ns);
	if (gm_ring_put(r->ring, record) && wq_has_sleeper(&r->wait))
		wake_up_interruptible_poll(&r->wait, EPOLLIN | EPOLLRDNORM);
}

static void tell_list(struct hlist_head *list, const struct mm_struct *mm,
		      const struct gm_event *event, struct gm_event_record *record,
		      struct gm_kas *kas)
{
	struct reader *r;

	hlist_for_each_entry_rcu(r, list, node) if (!r->mm || !mm || r->mm == mm)
		tell(r, event, record, kas);
}

static bool anybody(const struct mm_struct *mm)
{
	return !hlist_empty(&readers_of_all) || (mm && !hlist_empty(list_of(mm)));
}

void gm_events_tell(const struct gm_event *event)
{
	struct gm_as *as = event->as ?: event->at;
	struct gm_kas *kas = as ? *gm_as_host(as) : NULL;
	const struct mm_struct *mm = kas ? kas->mm : NULL;
	struct gm_event_record record;
	unsigned int i;

	if (event->kind != GM_EVENT_REMOVE && !anybody(mm))
		return;
	gm_event_record(&record, event);
	rcu_read_lock();
	tell_list(&readers_of_all, mm, event, &record, kas);
	if (mm)
		tell_list(list_of(mm), mm, event, &record, kas);
	for (i = 0; event->kind == GM_EVENT_REMOVE && i < ARRAY_SIZE(readers); i++)
		tell_list(&readers[i], NULL, event, &record, kas);
	rcu_read_unlock();
}

/* ------------------------------------------------------------------------ the descriptor */

static void ask_for(const struct reader *r, bool on)
{
	unsigned int kind;

	for (kind = 0; kind < GM_EVENT_KINDS; kind++)
		if (r->kinds >> kind & 1)
			gm_trace(kind, on);
}

static void reader_end(struct reader *r)
{
	ask_for(r, false);
	spin_lock(&readers_lock);
	hlist_del_rcu(&r->node);
	spin_unlock(&readers_lock);
	synchronize_rcu();
	gm_ring_destroy(r->ring);
	put_pid_ns(r->ns);
	if (r->mm)
		mmdrop(r->mm);
	kfree(r);
}

static int events_release(struct inode *inode, struct file *file)
{
	reader_end(file->private_data);
	return 0;
}

/* Whole records only. */
static ssize_t events_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	struct reader *r = file->private_data;
	struct gm_event_record record;
	ssize_t done = 0;
	int err;

	if (len < sizeof(record))
		return -EINVAL;
	if (!(file->f_flags & O_NONBLOCK)) {
		err = wait_event_interruptible(r->wait, !gm_ring_empty(r->ring));
		if (err)
			return err;
	}
	while (len - done >= sizeof(record) && gm_ring_get(r->ring, &record)) {
		if (copy_to_user(buf + done, &record, sizeof(record)))
			return done ?: -EFAULT;
		done += sizeof(record);
		if (fatal_signal_pending(current))
			break;
	}
	return done ?: -EAGAIN;
}

static __poll_t events_poll(struct file *file, poll_table *table)
{
	struct reader *r = file->private_data;

	poll_wait(file, &r->wait, table);
	return gm_ring_empty(r->ring) ? 0 : EPOLLIN | EPOLLRDNORM;
}

static long events_lost(struct file *file, void *arg)
{
	struct gmem_events_lost *l = arg;
	struct reader *r = file->private_data;

	if (l->pad)
		return -EINVAL;
	l->lost = gm_ring_lost(r->ring);
	return 0;
}

static const struct gm_request events_requests[] = {
	REQUEST(GMEM_EVENTS_LOST, gmem_events_lost, true, events_lost),
};

static long events_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return gm_carry_out(file, cmd, (void __user *)arg, events_requests,
			    ARRAY_SIZE(events_requests));
}

static const struct file_operations events_fops = {
	.owner = THIS_MODULE,
	.read = events_read,
	.poll = events_poll,
	.unlocked_ioctl = events_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.release = events_release,
	.llseek = no_llseek,
};

/* Linked and listening; its file ends it. */
static int reader_create(const struct gmem_events *opt, struct reader **out)
{
	struct reader *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	int err;

	if (!r)
		return -ENOMEM;
	err = gm_ring_create(opt->records, &r->ring);
	if (err) {
		kfree(r);
		return err;
	}
	init_waitqueue_head(&r->wait);
	r->kinds = opt->kinds ?: ALL_KINDS;
	r->ns = get_pid_ns(task_active_pid_ns(current));
	if (!(opt->flags & GMEM_EVENTS_ALL)) {
		r->mm = current->mm;
		mmgrab(r->mm);
	}
	spin_lock(&readers_lock);
	hlist_add_head_rcu(&r->node, list_of(r->mm));
	spin_unlock(&readers_lock);
	ask_for(r, true);
	*out = r;
	return 0;
}

long gm_events_fd_create(struct file *file, void *arg)
{
	const struct gmem_events *opt = arg;
	struct reader *r;
	int err, fd;

	static_assert(sizeof(struct gmem_event) == sizeof(struct gm_event_record));
	static_assert(offsetof(struct gmem_event, tid) == offsetof(struct gm_event_record, tid));
	static_assert(GMEM_EVENTS_ALL == GM_EVENTS_ALL);
	if ((opt->flags & ~GMEM_EVENTS_ALL) || (opt->kinds & ~ALL_KINDS))
		return -EINVAL;
	if ((opt->flags & GMEM_EVENTS_ALL) && !perfmon_capable())
		return -EPERM;
	err = reader_create(opt, &r);
	if (err)
		return err;
	fd = anon_inode_getfd("[gmem-events]", &events_fops, r, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		reader_end(r);
	return fd;
}
