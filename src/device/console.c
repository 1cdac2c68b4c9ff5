/* SPDX-License-Identifier: MIT */
typedef int console_not_yet;
