// SPDX-License-Identifier: GPL-2.0-only
/*
 * Deferred work: a list of what is to be done, and one work item of the kernel's that
 * does it. It cannot be a work item each, for the core's struct has no room for one and
 * is scheduled under spinlocks.
 *
 * Locking: work_lock, a spinlock, over the list and `running`.
 */
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "kernel.h"

static struct workqueue_struct *queue, *cpu_queue;
static DEFINE_SPINLOCK(work_lock);
static DECLARE_WAIT_QUEUE_HEAD(work_done);
static struct gm_os_work *head, **tail = &head; /* those with state 1 */
static struct gm_os_work *running;

static void run_all(struct work_struct *item)
{
	spin_lock(&work_lock);
	while (head) {
		struct gm_os_work *work = head;

		head = work->next;
		if (!head)
			tail = &head;
		work->state = 0;
		running = work;
		spin_unlock(&work_lock);
		work->fn(work);
		spin_lock(&work_lock);
		running = NULL;
		wake_up_all(&work_done);
	}
	spin_unlock(&work_lock);
}

static DECLARE_WORK(runner, run_all);

void gm_os_work_schedule(struct gm_os_work *work)
{
	spin_lock(&work_lock);
	if (!work->state) {
		work->state = 1;
		work->next = NULL;
		*tail = work;
		tail = &work->next;
		queue_work(queue, &runner);
	}
	spin_unlock(&work_lock);
}

static bool is_running(const struct gm_os_work *work)
{
	bool is;

	spin_lock(&work_lock);
	is = running == work;
	spin_unlock(&work_lock);
	return is;
}

void gm_os_work_cancel(struct gm_os_work *work)
{
	struct gm_os_work **at;

	spin_lock(&work_lock);
	for (at = &head; work->state && *at != work; at = &(*at)->next)
		;
	if (work->state) {
		*at = work->next;
		if (!*at)
			tail = at;
		work->state = 0;
	}
	spin_unlock(&work_lock);
	wait_event(work_done, !is_running(work));
}

/*
 * A work item of the kernel's own, on one CPU, that deferred work may wait for: so not in a
 * queue of the system's, which may need memory to go on.
 */
void gm_work_on(int cpu, struct work_struct *item)
{
	queue_work_on(cpu, cpu_queue, item);
}

int gm_work_init(void)
{
	queue = alloc_workqueue("gmem", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	if (!queue)
		return -ENOMEM;
	cpu_queue = alloc_workqueue("gmem_cpu", WQ_MEM_RECLAIM, 0);
	if (cpu_queue)
		return 0;
	destroy_workqueue(queue);
	return -ENOMEM;
}

void gm_work_exit(void)
{
	destroy_workqueue(cpu_queue);
	destroy_workqueue(queue);
}
