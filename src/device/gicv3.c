/* SPDX-License-Identifier: MIT */
typedef int gicv3_not_yet;
