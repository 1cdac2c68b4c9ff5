/* SPDX-License-Identifier: MIT */
typedef int exec_fp_not_yet;
