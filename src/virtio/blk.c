/* SPDX-License-Identifier: MIT */
typedef int blk_not_yet;
