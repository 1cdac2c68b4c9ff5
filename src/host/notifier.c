/* SPDX-License-Identifier: MIT */
typedef int notifier_not_yet;
