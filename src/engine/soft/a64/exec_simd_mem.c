/* SPDX-License-Identifier: MIT */
typedef int exec_simd_mem_not_yet;
