/* SPDX-License-Identifier: MIT */
typedef int fp_not_yet;
