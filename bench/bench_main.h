/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* `gmem bench`. */
#ifndef GMEM_BENCH_MAIN_H
#define GMEM_BENCH_MAIN_H

int bench_main(int argc, char **argv); /* returns the exit status */

#endif
