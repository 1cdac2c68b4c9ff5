/* SPDX-License-Identifier: MIT */
typedef int pl011_not_yet;
