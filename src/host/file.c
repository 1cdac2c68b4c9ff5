/* SPDX-License-Identifier: MIT */
typedef int file_not_yet;
