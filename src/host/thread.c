/* SPDX-License-Identifier: MIT */
typedef int thread_not_yet;
