// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* A static program, which `gmem run` refuses. */
int main(void)
{
	return 0;
}
