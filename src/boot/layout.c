/* SPDX-License-Identifier: MIT */
typedef int layout_not_yet;
