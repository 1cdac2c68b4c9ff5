/* SPDX-License-Identifier: MIT */
typedef int exec_simd_not_yet;
