/* SPDX-License-Identifier: MIT */
typedef int log_not_yet;
