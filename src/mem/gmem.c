/* SPDX-License-Identifier: MIT */
typedef int gmem_not_yet;
