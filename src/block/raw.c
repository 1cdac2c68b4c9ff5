/* SPDX-License-Identifier: MIT */
typedef int raw_not_yet;
