# SPDX-License-Identifier: GPL-2.0-only OR MIT
# report_html.page as a string in C, by lines.
1i static const char report_page[] =
s/\\/\\\\/g
s/"/\\"/g
s/^/"/
s/$/\\n"/
$a ;
