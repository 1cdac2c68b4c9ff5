/* SPDX-License-Identifier: MIT */
typedef int clock_not_yet;
