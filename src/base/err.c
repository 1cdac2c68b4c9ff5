/* SPDX-License-Identifier: MIT */
typedef int err_not_yet;
