// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much device memory a user may have.
 *
 * What users make is charged to an account of theirs, which holds it to the module's
 * user_limit percent of each device's memory (core/account.c). The user of an object is who
 * made it, whoever maps or touches it later. Whoever has CAP_SYS_RESOURCE makes objects that
 * are charged to nobody.
 *
 * A user is a real uid, as for the kernel's own limits by user. A user namespace gives its
 * maker further uids, but not further memory: as with ucounts, in which such limits end up
 * with the maker of each namespace on the way up, what is made there is charged to the maker
 * of the outermost one.
 *
 * A user is there as long as an object of its is.
 *
 * Locking: users_lock over the table, and the last reference. It is taken where an object goes,
 * so under mmap_lock or the core's gm_as.lock; what is done under it takes none of ours.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "kernel.h"

struct gm_user {
	struct hlist_node node; /* of the table [users_lock] */
	kuid_t uid;
	refcount_t refs; /* one an object */
	struct gm_account *account;
};

static DEFINE_MUTEX(users_lock);
static DEFINE_HASHTABLE(users, 6);

static unsigned int user_limit = 100;

static int limit_set(const char *value, const struct kernel_param *param)
{
	return param_set_uint_minmax(value, param, 1, 100);
}

static const struct kernel_param_ops limit_ops = {
	.set = limit_set,
	.get = param_get_uint,
};
module_param_cb(user_limit, &limit_ops, &user_limit, 0644);
MODULE_PARM_DESC(user_limit, "percent of each device's memory that one user may have, 1 to 100");

static bool unlimited(void)
{
	return ns_capable_noaudit(&init_user_ns, CAP_SYS_RESOURCE);
}

static kuid_t charged_uid(void)
{
	struct user_namespace *ns = current_user_ns();
	kuid_t uid = current_uid();

	for (; ns->parent; ns = ns->parent)
		uid = ns->owner;
	return uid;
}

/* users_lock held. */
static struct gm_user *user_find(kuid_t uid)
{
	struct gm_user *user;

	hash_for_each_possible(users, user, node,
			       __kuid_val(uid)) if (uid_eq(user->uid, uid)) return user;
	return NULL;
}

/* users_lock held. */
static struct gm_user *user_make(kuid_t uid)
{
	struct gm_user *user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);

	if (!user)
		return NULL;
	if (gm_account_create(&user_limit, &user->account)) {
		kfree(user);
		return NULL;
	}
	user->uid = uid;
	refcount_set(&user->refs, 1);
	hash_add(users, &user->node, __kuid_val(uid));
	return user;
}

static struct gm_user *user_get(void)
{
	kuid_t uid = charged_uid();
	struct gm_user *user;

	mutex_lock(&users_lock);
	user = user_find(uid);
	if (user)
		refcount_inc(&user->refs);
	else
		user = user_make(uid);
	mutex_unlock(&users_lock);
	return user;
}

void gm_user_put(struct gm_user *user)
{
	if (!user || !refcount_dec_and_mutex_lock(&user->refs, &users_lock))
		return;
	hash_del(&user->node);
	mutex_unlock(&users_lock);
	gm_account_destroy(user->account);
	kfree(user);
}

/* An object, charged to whoever calls. The object holds the user, see gm_os_object_destroy(). */
int gm_user_object_create(u64 bytes, u32 flags, struct gm_object **obj)
{
	struct gm_user *user = NULL;
	int err;

	if (!unlimited()) {
		user = user_get();
		if (!user)
			return -ENOMEM;
	}
	err = gm_object_create(bytes, flags, obj);
	if (err) {
		gm_user_put(user);
		return err;
	}
	gm_kobject(*obj)->user = user;
	if (user)
		gm_object_set_account(*obj, user->account);
	return 0;
}

/* What the caller has on a device of @total bytes, and may have, in bytes. */
void gm_user_usage(int hnode, u64 total, u64 *used, u64 *limit)
{
	struct gm_user *user;

	mutex_lock(&users_lock);
	user = user_find(charged_uid());
	*used = user ? gm_account_used(user->account, hnode) : 0;
	mutex_unlock(&users_lock);
	*limit = total;
	if (!unlimited())
		*limit = gm_account_limit(total >> PAGE_SHIFT, READ_ONCE(user_limit)) << PAGE_SHIFT;
}
