/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Included before everything else where the simulated accelerator is compiled for
 * libgmem_sim: what differs for a device of the kernel's steps aside for sim.c here.
 */
#ifndef GM_LIB_SIM_RENAME_H
#define GM_LIB_SIM_RENAME_H

#define gm_sim_attach(...) gm_user_sim_attach(__VA_ARGS__)
#define gm_sim_create(...) gm_user_sim_create(__VA_ARGS__)
#define gm_sim_destroy(...) gm_user_sim_destroy(__VA_ARGS__)
#define gm_sim_detach(...) gm_user_sim_detach(__VA_ARGS__)
#define gm_sim_dev(...) gm_user_sim_dev(__VA_ARGS__)
#define gm_sim_inject(...) gm_user_sim_inject(__VA_ARGS__)
#define gm_sim_set_mode(...) gm_user_sim_set_mode(__VA_ARGS__)
#define gm_sim_occupy(...) gm_user_sim_occupy(__VA_ARGS__)
#define gm_sim_stats(...) gm_user_sim_stats(__VA_ARGS__)
#define gm_sim_window_add(...) gm_user_sim_window_add(__VA_ARGS__)
#define gm_sim_window_remove(...) gm_user_sim_window_remove(__VA_ARGS__)
#define gm_sim_unplug(...) gm_user_sim_unplug(__VA_ARGS__)

#endif
