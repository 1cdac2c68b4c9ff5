/* SPDX-License-Identifier: MIT */
typedef int bus_not_yet;
