/* SPDX-License-Identifier: MIT */
typedef int vq_not_yet;
