// SPDX-License-Identifier: GPL-2.0-only
/*
 * The descriptor of an object: it holds the object, can be mapped where no device is to
 * see it, and means the same in whatever process it is.
 */
#include <linux/anon_inodes.h>
#include <linux/module.h>

#include "request.h"

static long object_info(struct file *file, void *arg)
{
	struct gm_object *obj = file->private_data;
	struct gmem_object_info *info = arg;

	info->flags = gm_object_flags(obj);
	info->bytes = gm_object_size(obj);
	return 0;
}

static const struct gm_request object_requests[] = {
	REQUEST(GMEM_OBJECT_INFO, gmem_object_info, true, object_info),
};

static long object_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return gm_carry_out(file, cmd, (void __user *)arg, object_requests,
			    ARRAY_SIZE(object_requests));
}

static int object_mmap(struct file *file, struct vm_area_struct *vma)
{
	return gm_vma_map(vma, file->private_data, NULL);
}

static int object_release(struct inode *inode, struct file *file)
{
	gm_object_put(file->private_data);
	return 0;
}

static const struct file_operations object_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = object_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = object_mmap,
	.get_unmapped_area = gm_unmapped_area,
	.release = object_release,
	.llseek = noop_llseek,
};

struct gm_object *gm_object_of_file(struct file *file)
{
	return file->f_op == &object_fops ? file->private_data : NULL;
}

/* The descriptor holds the object from now on, if there is one. */
int gm_object_fd_create(struct gm_object *obj)
{
	return anon_inode_getfd("[gmem-object]", &object_fops, obj, O_RDWR | O_CLOEXEC);
}
