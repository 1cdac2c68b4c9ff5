/* SPDX-License-Identifier: MIT */
typedef int loop_not_yet;
