// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks: what takes long, on a few workers of the kernel's, the whole machine's.
 *
 * As deferred work (os_work.c): a list of tasks, and work items of the kernel's that take from
 * it, as many as may run at once.
 *
 * Locking: tasks_lock, a spinlock, over the list and the runners.
 */
#include <linux/cpumask.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "kernel.h"

#define TASKS_MAX 4

struct runner {
	struct work_struct item;
	struct gm_os_work *task; /* that it runs [tasks_lock] */
	bool on;		 /* it is to look at the list [tasks_lock] */
};

static struct workqueue_struct *queue;
static DEFINE_SPINLOCK(tasks_lock);
static DECLARE_WAIT_QUEUE_HEAD(tasks_done);
static struct gm_os_work *head, **tail = &head; /* those with state 1 */
static struct runner runners[TASKS_MAX];
static unsigned int nr_runners;

/* One that waits for a copy engine needs no processor, so there are two at least. */
unsigned int gm_os_tasks(void)
{
	return nr_runners;
}

static void run_all(struct work_struct *item)
{
	struct runner *r = container_of(item, struct runner, item);

	spin_lock(&tasks_lock);
	while (head) {
		struct gm_os_work *task = head;

		head = task->next;
		if (!head)
			tail = &head;
		task->state = 0;
		r->task = task;
		spin_unlock(&tasks_lock);
		task->fn(task);
		cond_resched();
		spin_lock(&tasks_lock);
		r->task = NULL;
		wake_up_all(&tasks_done);
	}
	r->on = false;
	spin_unlock(&tasks_lock);
}

void gm_os_task_schedule(struct gm_os_work *task)
{
	unsigned int i;

	spin_lock(&tasks_lock);
	if (!task->state) {
		task->state = 1;
		task->next = NULL;
		*tail = task;
		tail = &task->next;
		for (i = 0; i < nr_runners && runners[i].on; i++)
			;
		if (i < nr_runners) {
			runners[i].on = true;
			queue_work(queue, &runners[i].item);
		}
	}
	spin_unlock(&tasks_lock);
}

static bool is_running(const struct gm_os_work *task)
{
	bool is = false;
	unsigned int i;

	spin_lock(&tasks_lock);
	for (i = 0; i < nr_runners; i++)
		is |= runners[i].task == task;
	spin_unlock(&tasks_lock);
	return is;
}

void gm_os_task_cancel(struct gm_os_work *task)
{
	struct gm_os_work **at;

	spin_lock(&tasks_lock);
	for (at = &head; task->state && *at != task; at = &(*at)->next)
		;
	if (task->state) {
		*at = task->next;
		if (!*at)
			tail = at;
		task->state = 0;
	}
	spin_unlock(&tasks_lock);
	wait_event(tasks_done, !is_running(task));
}

int gm_task_init(void)
{
	unsigned int i;

	nr_runners = clamp(num_possible_cpus(), 2U, (unsigned int)TASKS_MAX);
	for (i = 0; i < nr_runners; i++)
		INIT_WORK(&runners[i].item, run_all);
	queue = alloc_workqueue("gmem_task", WQ_UNBOUND, (int)nr_runners);
	return queue ? 0 : -ENOMEM;
}

void gm_task_exit(void)
{
	destroy_workqueue(queue);
}
