/* SPDX-License-Identifier: MIT */
typedef int kernel_not_yet;
